// SPDX-License-Identifier: GPL-2.0
/*
 * Linked into the heap when the benchmark is built: exports of inner functions for the
 * benchmark, and the histogram of hold times of the heap lock.
 */
#include "bench.h"

spinlock_t *spanheap_hold_lock;		/* the watched lock; itself */
struct bench_hist spanheap_hold_hist;	/* the watched lock */
EXPORT_SYMBOL_GPL(spanheap_hold_hist);

u64 spanheap_hold_max;			/* the watched lock; reset by others */
EXPORT_SYMBOL_GPL(spanheap_hold_max);

static u64 hold_since;	/* the watched lock */

void spanheap_hold_begin(void)
{
	hold_since = bench_cycles();
}

void spanheap_hold_end(void)
{
	u64 held = bench_cycles() - hold_since;

	if (hold_since) {	/* 0: the watch began during this hold */
		bench_hist_add(&spanheap_hold_hist, held);
		if (held > READ_ONCE(spanheap_hold_max))
			WRITE_ONCE(spanheap_hold_max, held);
	}
	hold_since = 0;
}

/* Clear the histogram and time the holds of this lock; NULL: stop */
void spanheap_hold_watch(spinlock_t *lock)
{
	unsigned long flags;
	spinlock_t *l = lock ?: spanheap_hold_lock;

	if (!l)
		return;
	raw_spin_lock_irqsave(spinlock_check(l), flags);
	if (lock)
		memset(&spanheap_hold_hist, 0, sizeof(spanheap_hold_hist));
	hold_since = 0;
	WRITE_ONCE(spanheap_hold_lock, lock);
	raw_spin_unlock_irqrestore(spinlock_check(l), flags);
}
EXPORT_SYMBOL_GPL(spanheap_hold_watch);

/* One tick of the scavenger. Returns the number of pages released. */
u64 spanheap_bench_tick(struct spanheap *h, unsigned int age_ms)
{
	spanheap_scavenge_age_ms = age_ms;
	return spanheap_tick(h);
}
EXPORT_SYMBOL_GPL(spanheap_bench_tick);

EXPORT_SYMBOL_GPL(spanheap_heap);
EXPORT_SYMBOL_GPL(spanheap_arena_ops);
EXPORT_SYMBOL_GPL(spanheap_heap_create);
EXPORT_SYMBOL_GPL(spanheap_heap_destroy);
EXPORT_SYMBOL_GPL(spanheap_cache_init);
EXPORT_SYMBOL_GPL(spanheap_heap_alloc);
EXPORT_SYMBOL_GPL(spanheap_heap_free);
EXPORT_SYMBOL_GPL(spanheap_heap_stats);
EXPORT_SYMBOL_GPL(spanheap_scavenge);
EXPORT_SYMBOL_GPL(spanheap_release_growth);
EXPORT_SYMBOL_GPL(spanheap_cache_drain);
EXPORT_SYMBOL_GPL(spanheap_prof_set_rate);
