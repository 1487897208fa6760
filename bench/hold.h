/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included by the heap's files when the benchmark is built, and only then: times
 * how long one spinlock, chosen at run time, is held.
 */
#ifndef _SPANHEAP_BENCH_HOLD_H
#define _SPANHEAP_BENCH_HOLD_H

#include <linux/spinlock.h>

extern spinlock_t *spanheap_hold_lock;
void spanheap_hold_begin(void);
void spanheap_hold_end(void);

#undef spin_lock_irqsave
#define spin_lock_irqsave(lock, flags)					\
do {									\
	spinlock_t *__held = (lock);					\
									\
	raw_spin_lock_irqsave(spinlock_check(__held), flags);		\
	if (unlikely(__held == READ_ONCE(spanheap_hold_lock)))		\
		spanheap_hold_begin();					\
} while (0)

static inline void spanheap_unlock(spinlock_t *lock, unsigned long flags)
{
	if (unlikely(lock == READ_ONCE(spanheap_hold_lock)))
		spanheap_hold_end();
	spin_unlock_irqrestore(lock, flags);
}

#define spin_unlock_irqrestore(lock, flags) spanheap_unlock(lock, flags)

#endif
