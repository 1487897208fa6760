/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Containers of backed free spans: per-CPU caches, and the depots and shelves by
 * which spans travel between CPUs. They know no heap: a span goes in, a span comes
 * out, and what a cache has no room for is returned to the caller.
 *
 * A CPU's cache has no lock. Only that CPU touches it, in its section: with
 * preemption off and "entered" set. An interrupt that finds "entered" set gets no
 * section and its caller takes the slow path. Another CPU reaches the cache only by
 * an interrupt to its owner, see spanheap_cache_visit(), which retries while it finds
 * the owner in its section. Such an interrupt is sent only to a CPU that has something,
 * and exchanges some pointers: what it got is worked on outside.
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
#define MAG_MAX		256u			/* spans in a magazine, at most */
#define MAG_AHEAD	4u			/* spans looked ahead in it */
#define DEPOT_MAGS	8u			/* a node's magazines for each length */
#define SLOT_PAGES	256u			/* longest span in a slot */
#define CACHE_SLOTS	4u			/* longer spans that a CPU keeps */

/* Free spans of one length, last in first out. Its holder knows how many. */
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
	s64 extra_objects;		/* objects beyond one a span */
	s64 pushed_pages;		/* put into caches */
	s64 popped_pages;		/* taken out of caches by allocations */
	u64 zeroed_pages;
	u64 zero_skipped_pages;
};

/* One CPU's cache and counters: written by that CPU only, in its section */
struct span_cache {
	bool entered;
	u32 cpu;			/* whose it is; constant */
	u32 node;			/* where that CPU is; constant */
	struct heap_counts n;
	s64 prof_at;			/* more n.popped_pages than this: a sample of the profile */
	u64 prof_distance;		/* what that was drawn from: mean bytes */
	u64 prof_last;			/* when the last one was, in ns */
	struct rnd_state prof_rnd;
	struct cache_bin bin[CACHE_PAGES + 1];
	struct span *slot[CACHE_SLOTS];	/* longer ones; NULL: empty */
	u32 slot_nr[CACHE_SLOTS];	/* their pages, so that a search touches no span */
	u32 next_slot;			/* emptied next when all are full */
	void *magazines;		/* their memory; constant */
};

/* Magazines of one length that no CPU has; one is left there for each taken */
struct cache_depot {
	raw_spinlock_t lock;
	struct magazine *full;
	struct magazine *empty;
} ____cacheline_aligned_in_smp;

/* Spans of one length that had no slot */
struct cache_shelf {
	raw_spinlock_t lock;
	u32 nr;
	struct llist_node *first;
} ____cacheline_aligned_in_smp;

/* Empty magazines, to be exchanged for those of a CPU; and what the CPU had */
struct cache_set {
	struct cache_bin bin[CACHE_PAGES + 1];
	struct span *slot[CACHE_SLOTS];
};

/* What the CPUs of a node share */
struct cache_node {
	struct cache_set spare;		/* the heap's drain_lock; else empty */
	struct cache_depot depot[CACHE_PAGES + 1];
	struct cache_shelf shelf[SLOT_PAGES + 1];
	void *magazines;		/* their memory */
};

/* All caches of a heap */
struct span_caches {
	/* read by every operation */
	struct span_cache __percpu *cpu;	/* constant; NULL: no caches */
	u32 max_pages;			/* constant; longest span that is cached */
	atomic_t paused;		/* > 0: nobody enters a section */

	/* constant after init */
	struct cache_node **node;	/* [nr_node_ids]; NULL: no such node */
	unsigned long mag_pages;	/* the cache_kb parameter, in pages */
	unsigned long shelf_pages;	/* on a shelf, at most */
	size_t bytes;			/* memory of caches and nodes */
};

/* A function that runs on CPUs, outside of their sections */
struct cache_visit {
	/* Has c anything for fn? Called on any CPU, without a lock. */
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
struct llist_node *spanheap_slot_replace(struct span_caches *cs, struct span_cache *c,
					 struct span *s);
bool spanheap_cache_has_spans(const struct span_cache *c);
void spanheap_cache_take(struct span_cache *c, struct cache_set *set);
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
struct span *spanheap_shelf_pop(struct span_caches *cs, u32 nr);
bool spanheap_shelf_push(struct span_caches *cs, struct span *s);
struct llist_node *spanheap_depot_empty(struct span_caches *cs, int nid, u32 nr);

/* ---- a CPU's section ---- */

/*
 * NULL: the caller is an interrupt that came into a section, or caches are paused.
 * Interrupts nest, so "entered" needs no atomic operation: an interrupt that comes
 * between the test and the store has left its section when the store is done.
 */
static inline struct span_cache *cache_enter(struct span_caches *cs)
{
	struct span_cache *c;

	preempt_disable();
	c = this_cpu_ptr(cs->cpu);
	if (unlikely(READ_ONCE(c->entered)))
		goto out;
	WRITE_ONCE(c->entered, true);
	barrier();	/* the section begins */
	/*
	 * Test paused after preemption is off: spanheap_cache_pause() raises it, then
	 * waits for a grace period of RCU. A section that has not seen paused began
	 * before that, and is over when the grace period is.
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
	barrier();	/* the section ends */
	WRITE_ONCE(c->entered, false);
	preempt_enable();
}

/* ---- pop and push; in the section ---- */

/*
 * The spans ahead are handed out next, and their user may well free them after this
 * one. If another CPU had them last, fetching their records takes a while.
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

static inline struct span *slot_pop(struct span_caches *cs, struct span_cache *c, u32 nr)
{
	struct span *s;
	u32 i;

	for (i = 0; i < CACHE_SLOTS; i++) {
		s = c->slot[i];
		if (s && c->slot_nr[i] == nr) {
			c->slot[i] = NULL;
			goto found;
		}
	}
	s = spanheap_shelf_pop(cs, nr);
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

/* A cached span of nr pages, or NULL */
static inline struct span *cache_pop(struct span_caches *cs, struct span_cache *c, u32 nr)
{
	return nr <= CACHE_PAGES ? bin_pop(cs, &c->bin[nr], nr) :
				   slot_pop(cs, c, nr);
}

/* Returns a list of spans that have no room here any more, for the page heap */
static inline struct llist_node *cache_push(struct span_caches *cs, struct span_cache *c,
					    struct span *s)
{
	return s->nr_pages <= CACHE_PAGES ? bin_push(cs, &c->bin[s->nr_pages], s) :
					    slot_push(cs, c, s);
}

/*
 * The sum of every CPU's share. Pages first: the invariant check compares them if
 * no operation was counted meanwhile, and a CPU counts an operation before its pages.
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
