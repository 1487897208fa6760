/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included by the heap's files when unit tests are linked in, and only then: a hold of
 * the heap lock begins to count its steps, see spanheap_steps.h.
 */
#ifndef _SPANHEAP_KUNIT_HOLD_H
#define _SPANHEAP_KUNIT_HOLD_H

#include <linux/spinlock.h>

#include "../spanheap_steps.h"

static inline unsigned long steps_lock_irqsave(spinlock_t *lock) __acquires(lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	steps_begin(STEPS_HOLD, lock);
	return flags;
}

static inline void steps_lock_irq(spinlock_t *lock) __acquires(lock)
{
	spin_lock_irq(lock);
	steps_begin(STEPS_HOLD, lock);
}

#undef spin_lock_irqsave
#define spin_lock_irqsave(lock, flags) ((flags) = steps_lock_irqsave(lock))
#define spin_lock_irq(lock) steps_lock_irq(lock)

#endif
