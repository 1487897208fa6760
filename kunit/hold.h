/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The heap's files include this only when unit tests are linked in: it counts the steps
 * in each hold of the heap lock, see spanheap_steps.h.
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

static inline void steps_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
	__releases(lock)
{
	steps_end(STEPS_HOLD, lock);
	spin_unlock_irqrestore(lock, flags);
}

static inline void steps_unlock_irq(spinlock_t *lock) __releases(lock)
{
	steps_end(STEPS_HOLD, lock);
	spin_unlock_irq(lock);
}

#undef spin_lock_irqsave
#define spin_lock_irqsave(lock, flags) ((flags) = steps_lock_irqsave(lock))
#define spin_unlock_irqrestore(lock, flags) steps_unlock_irqrestore(lock, flags)
#define spin_lock_irq(lock) steps_lock_irq(lock)
#define spin_unlock_irq(lock) steps_unlock_irq(lock)

#endif
