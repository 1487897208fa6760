/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Containers of backed free spans: per-CPU caches, and the depots and shelves through
 * which spans travel between CPUs. The containers do not know the heap. A push returns
 * to its caller the spans for which a cache has no room.
 *
 * A CPU's cache has no lock. Only that CPU touches the cache, inside a section: with
 * preemption off and "entered" set. An interrupt that finds "entered" set gets no
 * section, and its allocation or free takes the slow path. Another CPU reaches the
 * cache only through an IPI to the cache's CPU. spanheap_cache_visit() sends the IPI
 * again as long as it arrives inside a section. Only CPUs whose caches hold something
 * get an IPI, and the IPI only exchanges some pointers. models/section.pml is a model of this.
 */
#ifndef _SPANHEAP_CACHE_H
#define _SPANHEAP_CACHE_H

#include <linux/atomic.h>
#include <linux/llist.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/prefetch.h>
#include <linux/prandom.h>
#include <linux/spinlock.h>

#include "spanheap_span.h"
#include "spanheap_steps.h"

#define CACHE_PAGES	16u			/* longest span in a magazine */
#define MAG_MAX		256u			/* most spans in a magazine */
#define MAG_AHEAD	4u			/* distance of prefetched spans in it */
#define ALIGN_LOOKS	16u			/* spans read to find an aligned one, at most */
#define DEPOT_MAGS	8u			/* a node's magazines for each length */
#define SLOT_PAGES	256u			/* longest span in a slot */
#define CACHE_SLOTS	4u			/* slots of a CPU, for longer spans */

/* Free spans of one length, last in first out. The holder keeps their number. */
struct magazine {
	struct magazine *next;		/* in a depot */
	struct span *span[];
};

/* A CPU's magazines of one length: one in use, and one that is full or empty */
struct cache_bin {
	struct magazine *loaded;
	struct magazine *other;
	u32 nr;				/* spans in loaded */
	u32 size;			/* spans that fill one; constant */
	bool other_full;
};

/* A CPU's share of the heap's counters, or the sum of all CPUs' shares */
struct heap_counts {
	u64 allocs;
	u64 frees;
	s64 extra_objects;		/* objects beyond one per span */
	s64 pushed_pages;		/* put into caches */
	s64 popped_pages;		/* taken out of caches by allocations */
	u64 zeroed_pages;
	u64 zero_skipped_pages;
};

/* One CPU's cache and counters: written by that CPU only, in its section */
struct span_cache {
	bool entered;
	u32 cpu;			/* constant */
	u32 node;			/* of the CPU; constant */
	struct heap_counts n;
	s64 prof_at;			/* n.popped_pages beyond this: sample the allocation */
	u64 prof_distance;		/* mean of the distribution of prof_at; bytes */
	u64 prof_last;			/* time of the last sample, ns */
	struct rnd_state prof_rnd;
	struct cache_bin bin[CACHE_PAGES + 1];
	struct span *slot[CACHE_SLOTS];	/* longer spans; NULL: empty */
	u32 slot_nr[CACHE_SLOTS];	/* their pages, so that a search touches no span */
	u32 next_slot;			/* the slot to replace when all are full */
	void *magazines;		/* memory of the magazines; constant */
};

/*
 * A node's magazines of one length that are in no CPU's cache. A CPU exchanges magazines
 * with the depot, so their number is constant.
 */
struct cache_depot {
	raw_spinlock_t lock;
	struct magazine *full;
	struct magazine *empty;
} ____cacheline_aligned_in_smp;

/* Spans of one length for which CPUs had no slot */
struct cache_shelf {
	raw_spinlock_t lock;
	u32 nr;
	struct llist_node *first;
} ____cacheline_aligned_in_smp;

/* An aligned span starts at a page with (start & mask) == at */
struct span_align {
	u32 mask;
	u32 at;
};

/* Empty magazines, which an IPI exchanges for the magazines and slots of a CPU */
struct cache_set {
	struct cache_bin bin[CACHE_PAGES + 1];
	struct span *slot[CACHE_SLOTS];
};

/* The containers that the CPUs of a node share */
struct cache_node {
	struct cache_set spare;		/* spanheap.drain_lock; empty if not held */
	struct cache_depot depot[CACHE_PAGES + 1];
	struct cache_shelf shelf[SLOT_PAGES + 1];
	void *magazines;		/* memory of the magazines */
};

/* All caches of a heap */
struct span_caches {
	/* read by every operation */
	struct span_cache __percpu *cpu;	/* constant; NULL: no caches */
	u32 max_pages;			/* longest span that is cached; constant */
	atomic_t paused;		/* > 0: no CPU enters a section */

	/* constant after init */
	struct cache_node **node;	/* [nr_node_ids]; NULL: no such node */
	unsigned long mag_pages;	/* the cache_kb parameter, in pages */
	unsigned long shelf_pages;	/* most pages on a shelf */
	size_t bytes;			/* memory of caches and nodes */
};

/* A function that runs on other CPUs, outside of their sections */
struct cache_visit {
	/* Must fn run for c? Called on any CPU, without a lock. */
	bool (*wanted)(struct cache_visit *v, struct span_cache *c);
	void (*fn)(struct cache_visit *v, struct span_cache *c);
	struct span_caches *caches;
	void *arg;
	bool missed;
};

/* spanheap_cache.c */
int spanheap_caches_init(struct span_caches *cs, unsigned int kb, unsigned long arena_pages);
void spanheap_caches_free(struct span_caches *cs);
bool spanheap_cache_visit(struct span_caches *cs, int cpu, struct cache_visit *v);
void spanheap_cache_visit_all(struct span_caches *cs, struct cache_visit *v);
void spanheap_cache_pause(struct span_caches *cs);
void spanheap_cache_resume(struct span_caches *cs);
bool spanheap_bin_reload(struct span_caches *cs, struct cache_bin *bin, u32 nr);
struct llist_node *spanheap_bin_unload(struct span_caches *cs, struct cache_bin *bin, u32 nr);
struct span *spanheap_cache_pop_aligned(struct span_caches *cs, struct span_cache *c, u32 nr,
					const struct span_align *align);
struct llist_node *spanheap_slot_replace(struct span_caches *cs, struct span_cache *c,
					 struct span *s);
bool spanheap_cache_has_spans(const struct span_cache *c);
void spanheap_cache_swap(struct span_cache *c, struct cache_set *set);
struct llist_node *spanheap_set_pop(struct cache_set *set);

/* spanheap_depot.c */
int spanheap_depot_create(struct span_caches *cs, unsigned long arena_pages);
void spanheap_depot_destroy(struct span_caches *cs);
u32 spanheap_mag_size(struct span_caches *cs, u32 nr);
void *spanheap_mags_alloc(struct span_caches *cs, u32 n, int nid);
struct magazine *spanheap_mag_next(void **mem, u32 size);
void spanheap_bins_init(struct span_caches *cs, struct cache_bin *bin, void **mem);
struct llist_node *spanheap_mag_chain(struct magazine *m, u32 n);
bool spanheap_depot_swap(struct span_caches *cs, u32 nr, struct magazine **m, bool full);
struct span *spanheap_shelf_pop(struct span_caches *cs, u32 nr,
				const struct span_align *align);
bool spanheap_shelf_push(struct span_caches *cs, struct span *s);
struct llist_node *spanheap_depot_empty(struct span_caches *cs, int nid, u32 nr);

/* ---- a CPU's section ---- */

/*
 * NULL: this interrupt has interrupted a section, or the caches are paused. "entered"
 * needs no atomic operation, because interrupts nest: an interrupt between the test and
 * the store has left its own section before the store.
 */
static inline struct span_cache *cache_enter(struct span_caches *cs)
{
	struct span_cache *c;

	preempt_disable();
	c = this_cpu_ptr(cs->cpu);
	if (unlikely(READ_ONCE(c->entered)))
		goto out;
	WRITE_ONCE(c->entered, true);
	/*
	 * The section begins. Only interrupts on this CPU read "entered", so the compiler's
	 * order is enough. Pairs with the tests of "entered" above and in visit_this_cpu().
	 */
	barrier();
	/*
	 * Test paused with preemption off: spanheap_cache_pause() increments paused, then
	 * waits for an RCU grace period. A section that has read 0 began before the
	 * grace period, and ends before it.
	 */
	if (unlikely(atomic_read(&cs->paused))) {
		WRITE_ONCE(c->entered, false);
		goto out;
	}
	return c;
out:
	preempt_enable();
	return NULL;
}

static inline void cache_leave(struct span_cache *c)
{
	barrier();	/* the section ends; pairs as the barrier in cache_enter() */
	WRITE_ONCE(c->entered, false);
	preempt_enable();
}

/* ---- pop and push; in the section ---- */

/* Does s start where align says? NULL: any start is right. */
static inline bool is_aligned(const struct span *s, const struct span_align *align)
{
	return !align || (s->start & align->mask) == align->at;
}

/*
 * Prefetch the record of a span that is popped soon: another CPU may have written to
 * that record last. s->ahead lets the free of s prefetch it again, because spans are
 * often freed in the order of their allocation.
 */
static inline struct span *bin_pop(struct span_caches *cs, struct cache_bin *bin, u32 nr)
{
	struct span *s;
	u32 n;

	if (unlikely(!bin->nr) && !spanheap_bin_reload(cs, bin, nr))
		return NULL;
	n = --bin->nr;
	s = bin->loaded->span[n];
	s->ahead = bin->loaded->span[n - min(n, MAG_AHEAD)];
	prefetchw(s->ahead);
	return s;
}

static inline struct llist_node *bin_push(struct span_caches *cs, struct cache_bin *bin,
					  struct span *s)
{
	struct llist_node *spill = NULL;

	if (unlikely(bin->nr == bin->size))
		spill = spanheap_bin_unload(cs, bin, s->nr_pages);
	bin->loaded->span[bin->nr++] = s;
	return spill;
}

static __always_inline struct span *slot_pop(struct span_caches *cs, struct span_cache *c,
					     u32 nr, const struct span_align *align)
{
	struct span *s;
	u32 i;

	for (i = 0; i < CACHE_SLOTS; i++) {
		s = c->slot[i];
		if (s && c->slot_nr[i] == nr && is_aligned(s, align)) {
			c->slot[i] = NULL;
			goto found;
		}
	}
	s = spanheap_shelf_pop(cs, nr, align);
	if (!s)
		return NULL;
found:
	s->ahead = s;
	return s;
}

static inline struct llist_node *slot_push(struct span_caches *cs, struct span_cache *c,
					   struct span *s)
{
	u32 i;

	for (i = 0; i < CACHE_SLOTS; i++) {
		if (c->slot[i])
			continue;
		c->slot[i] = s;
		c->slot_nr[i] = s->nr_pages;
		return NULL;
	}
	return spanheap_slot_replace(cs, c, s);
}

/*
 * A cached span of nr pages, or NULL. The fast path passes the constant NULL as align, so
 * that the compiler leaves the search for an aligned span out.
 */
static __always_inline struct span *cache_pop(struct span_caches *cs, struct span_cache *c,
					      u32 nr, const struct span_align *align)
{
	if (align)
		return spanheap_cache_pop_aligned(cs, c, nr, align);
	return nr <= CACHE_PAGES ? bin_pop(cs, &c->bin[nr], nr) :
				   slot_pop(cs, c, nr, NULL);
}

/* Returns the list of spans for which there is no room; the caller frees them to the heap */
static inline struct llist_node *cache_push(struct span_caches *cs, struct span_cache *c,
					    struct span *s)
{
	return s->nr_pages <= CACHE_PAGES ? bin_push(cs, &c->bin[s->nr_pages], s) :
					    slot_push(cs, c, s);
}

/*
 * The sum of every CPU's share. Read the pages first, because a CPU counts an operation
 * before its pages. If check_cpus() then finds the number of operations unchanged, the
 * pages are those of the same moment. There is no barrier on either side: x86 keeps the
 * order of stores and of loads; a CPU that does not may make the check of a heap in use fail.
 */
static inline struct heap_counts cache_sum(const struct span_caches *cs)
{
	struct heap_counts sum = {};
	int cpu;

	if (!cs->cpu)
		return sum;
	steps_begin(STEPS_SUM, cs);
	for_each_possible_cpu(cpu) {
		const struct heap_counts *n = &per_cpu_ptr(cs->cpu, cpu)->n;

		sum.pushed_pages += READ_ONCE(n->pushed_pages);
		sum.popped_pages += READ_ONCE(n->popped_pages);
		sum.allocs += READ_ONCE(n->allocs);
		sum.frees += READ_ONCE(n->frees);
		sum.extra_objects += READ_ONCE(n->extra_objects);
		sum.zeroed_pages += READ_ONCE(n->zeroed_pages);
		sum.zero_skipped_pages += READ_ONCE(n->zero_skipped_pages);
	}
	return sum;
}

#endif /* _SPANHEAP_CACHE_H */
