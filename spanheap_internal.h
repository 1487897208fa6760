/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Private structures of spanheap.
 *
 * Lock order, outermost first:
 *
 *	spanheap_client.collect_lock (mutex) one collect callback of a client at a time
 *	spanheap_client.cycle_lock (mutex) one beginner of a client's cycles at a time
 *	spanheap.clients_lock	(mutex) client registry and their sysfs folders
 *	spanheap.drain_lock	(mutex) one emptying of the caches at a time; as below
 *	spanheap.release_lock	(mutex) one releaser at a time; taken in reclaim, so
 *				its holder allocates nothing
 *	spanheap.lock		(spinlock, irqsave) the heap lock: the span map,
 *				free lists, LRU, the heap's counters
 *	special_lock[]		(spinlocks, irqsave) specials of the spans that
 *				hash to it; nothing is taken inside
 *	cache_depot.lock, cache_shelf.lock (raw spinlocks, tried) what travels
 *				between CPUs; innermost, never with the heap lock.
 *				Raw, as they are taken with preemption off
 *	spanheap_prof.lock	(spinlock, irqsave) adding a bucket of the profile;
 *				innermost, never with the heap lock
 *
 * The heap lock is held for bounded work only: never across page allocation,
 * backing, clearing, a TLB flush or a callback. "__x" runs under it.
 *
 * A CPU's cache (struct span_cache) has no lock. Only that CPU touches it, with
 * preemption off and "busy" set; an interrupt that finds it busy takes the slow
 * path. Others reach it with an interrupt to that CPU, which tries again when it
 * finds the cache busy. The same rule guards a CPU's share of the counters.
 *
 * A span leaves the in-use state by one compare-and-swap (spanheap_claim()):
 * whoever wins owns the span, and every other free or resize is a bad one.
 *
 * Callbacks of a client run without any of spanheap's locks but its collect_lock
 * and cycle_lock. A client is not unregistered while one of them runs, or while
 * anybody but its owner works with it: "users" counts them.
 *
 * Look-ups take no lock: leaves are never freed before the heap is, records are
 * SLAB_TYPESAFE_BY_RCU, and a reader validates what it found.
 */
#ifndef _SPANHEAP_INTERNAL_H
#define _SPANHEAP_INTERNAL_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/jump_label.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/moduleparam.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/prandom.h>
#include <linux/rbtree.h>
#include <linux/sizes.h>
#include <linux/spanheap.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#define LEAF_SHIFT	9			/* a leaf of the map: 2 MiB */
#define LEAF_PAGES	(1u << LEAF_SHIFT)
#define LEAF_MASK	(LEAF_PAGES - 1)
#define GROUP_SHIFT	(2 * LEAF_SHIFT)	/* leaves whose backed pages are summed: 1 GiB */
#define GROUP_PAGES	(1u << GROUP_SHIFT)
#define GROUP_MASK	(GROUP_PAGES - 1)
#define LEAVES_PER_GROUP	(GROUP_PAGES / LEAF_PAGES)
#define SMALL_PAGES	256u			/* from here on: the tree */
#define GROW_UNIT	(SZ_64K >> PAGE_SHIFT)
#define GROW_MIN	(SZ_1M >> PAGE_SHIFT)
#define BATCH_PAGES	4096u			/* released per TLB flush */
#define HOLD_SPANS	32u			/* moved per hold of the heap lock, at most */
#define HOLD_WANTED	4u			/* ... and while others are seen to wait */
#define SPARE_RESERVE	1u			/* records only a release may use */
#define CACHE_PAGES	16u			/* longest span in a magazine */
#define MAG_MAX		256u			/* spans in a magazine, at most */
#define MAG_AHEAD	4u			/* spans looked ahead in it */
#define DEPOT_MAGS	8u			/* a node's magazines for each length */
#define SLOT_PAGES	256u			/* longest span in a slot */
#define CACHE_SLOTS	4u			/* longer spans that a CPU keeps */
#define SPECIAL_LOCKS	64u

/* Where a record is in its life. Only the owner of TAKEN and RELEASING spans
 * touches their pages; neighbours do not coalesce with them.
 */
enum span_state {
	SPAN_DEAD,		/* record not in the map */
	SPAN_FREE,		/* on a free list; on the LRU if any page is backed */
	SPAN_TAKEN,		/* on its way in or out of use, being backed or cleared */
	SPAN_INUSE,		/* a client has it */
	SPAN_RELEASING,		/* a releaser is taking its pages away */
	SPAN_CACHED,		/* free and backed, in a CPU's cache or a depot */
};

/* With SPAN_INUSE: a free must take the heap lock, for there is more to do */
#define SPAN_SLOW	0x100u

/* Is a sweep callback running for the span? Until it is back the record and its
 * pages stay, even if the owner frees it.
 */
enum span_asked {
	ASKED_NOT,
	ASKED,
	ASKED_FREED,		/* TAKEN; who asked frees it */
};

/* One run of pages. Fields are written by the owner of a TAKEN, CACHED or
 * RELEASING span, or under the heap lock; the first group is read without either
 * by look-ups.
 */
struct span {
	u32 start;			/* page index of the first page */
	u32 nr_pages;
	u32 obj_size;			/* bytes, 0: the span is one object */
	u32 state;			/* enum span_state, SPAN_SLOW */
	struct spanheap_client *client;	/* never NULL while in use */
	unsigned long caller;		/* allocating call site */

	u32 nr_released;		/* FREE, TAKEN: pages without memory */
	bool needzero;			/* backed pages may hold old data */
	u8 asked;			/* of a swept client: enum span_asked */
	u32 dirt;			/* of whom alone; see spanheap_client.dirt */
	u32 seq;			/* grows when it becomes free; never reset */
	union {
		unsigned long stamp;	/* FREE: idle since, in heap clock ticks */
		u32 sweepgen;		/* INUSE, of a swept client */
		unsigned long freer;	/* CACHED: call site of the free */
	};
	union {
		struct list_head list;	/* FREE, small; spare; busy list */
		struct rb_node node;	/* FREE, large */
		struct llist_node cached;	/* CACHED, on a shelf or on its way out */
		struct span *ahead;	/* INUSE: may be freed soon after; only prefetched */
	};
	struct list_head lru;		/* FREE with backed pages, oldest first */
	struct rb_root specials;	/* special lock; empty unless in use */
};

/* In this order at one address */
enum special_kind {
	SPECIAL_FINALIZER,
	SPECIAL_QUEUED,			/* a finalizer that is about to run, or runs */
	SPECIAL_PROFILE,
};

/* A record attached to an address in an in-use span, at most one of a kind.
 * First member of what it is of: a finalizer, a profile record.
 */
struct special {
	struct rb_node node;		/* span.specials, by (offset, kind) */
	u64 offset;			/* bytes from the start of the span */
	u8 kind;			/* enum special_kind */
};

/* A piece of the span map, allocated when the arena grows into it */
struct map_leaf {
	struct span **span;		/* first and last page of each span */
	struct map_leaf *next;		/* while not yet in the map */
	DECLARE_BITMAP(starts, LEAF_PAGES);	/* first pages; heap lock */
	DECLARE_BITMAP(backed, LEAF_PAGES);	/* atomic: owner of the page */
};

/* What a look-up tells of an in-use span */
struct span_view {
	u32 start;
	u32 nr_pages;
	u32 obj_size;
	struct spanheap_client *client;
};

struct spanheap_client {
	struct spanheap *heap;
	unsigned int flags;
	u32 dirt;			/* with SPANHEAP_SKIP_INIT: its number, else 0 */
	char name[SPANHEAP_NAME_MAX + 1];
	const struct spanheap_client_ops *ops;
	void *priv;
	struct client_sweep *sweep;	/* constant; NULL: not swept */
	struct list_head list;		/* clients_lock */
	struct kobject kobj;
	struct completion released;	/* the last reference to kobj is gone */
	atomic_t queued;		/* finalizers queued or running */
	struct mutex collect_lock;	/* one collection at a time */
	struct mutex cycle_lock;	/* one beginning of a cycle at a time */

	u64 limit_pages;		/* 0: none; written under the heap lock */
	struct client_counts __percpu *counts;

	/*
	 * In use: pages plus every CPU's share. With a limit the shares are 0
	 * and pages is exact. Not in a line that each operation reads.
	 */
	atomic64_t pages ____cacheline_aligned_in_smp;
	atomic64_t peak_pages;

	/* heap lock */
	unsigned long last_cycle;	/* begun or asked for; heap clock ticks */
	u32 users;			/* in or about callbacks */
	bool gone;			/* being unregistered: no new users */

	/* heap lock: the slow path's part, a CPU's share comes on top */
	u64 allocs;
	u64 frees;
	u64 failed_allocs;
};

/* A CPU's share of a client's numbers; see struct span_cache for who writes */
struct client_counts {
	u64 allocs;
	u64 frees;
	s64 pages;			/* not yet in spanheap_client.pages */
	s64 peak;			/* highest value of pages since it was 0 */
};

/*
 * The in-use spans of a client with a sweep callback; heap lock.
 *
 * A span's sweepgen is gen - 2: unswept; gen - 1: being swept, the verdict counts;
 * gen: swept, or allocated in this cycle. Unswept spans are at the front of their
 * list, so an unswept span of a size is the first of its list or there is none.
 * A span that is being resized is on no list.
 */
struct client_sweep {
	struct spanheap_client *client;	/* constant */
	u32 gen;			/* grows by 2 a cycle, and wraps */
	u32 nr_busy;			/* spans on the lists */
	u32 nr_unswept;
	u32 running;			/* sweep callbacks */
	struct list_head node;		/* spanheap.unswept, if any span is */
	DECLARE_BITMAP(todo, SMALL_PAGES + 1);	/* 0: none unswept on that list */
	struct list_head busy[SMALL_PAGES + 1];	/* by pages; the last: larger ones */
};

/* A callback in progress, on the stack of who runs it */
struct callback {
	struct list_head list;		/* spanheap.callbacks */
	struct task_struct *task;
	bool sweep;			/* else collect, or a finalizer */
};

/* Free spans of one length, last in first out. Who has it knows how many. */
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

/* One CPU's cache and counters: only that CPU, with preemption off and busy set */
struct span_cache {
	bool busy;
	u32 cpu;			/* whose it is; constant */
	u64 allocs;
	u64 frees;
	s64 extra_objects;		/* objects beyond one a span */
	s64 cached_pages;		/* put into caches here; a sum: less those taken */
	s64 taken_pages;		/* taken out of caches here */
	u64 zeroed_pages;
	u64 zero_skipped_pages;
	s64 prof_at;			/* more taken_pages than this: a sample of the profile */
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

/* What the CPUs of a node share */
struct cache_node {
	struct cache_depot depot[CACHE_PAGES + 1];
	struct cache_shelf shelf[SLOT_PAGES + 1];
	void *magazines;		/* their memory */
};

struct spanheap;

/* The arena's back end: how pages get and lose physical memory */
struct arena_ops {
	const char *name;
	int (*reserve)(struct spanheap *h, unsigned long nr_pages);
	void (*unreserve)(struct spanheap *h);
	/* Back [start, start + nr), none of them backed. Returns how many were. */
	u32 (*back)(struct spanheap *h, u32 start, u32 nr, gfp_t gfp);
	/* Unmap nr backed pages; the pages go to pages[]. Returns how many. */
	u32 (*unback)(struct spanheap *h, u32 start, u32 nr, struct page **pages);
	/* After this no CPU can reach an unbacked page of [start, end). */
	void (*flush)(struct spanheap *h, u32 start, u32 end);
};

struct spanheap {
	/* Read by every operation, written seldom: one cache line */
	void *base;			/* constant */
	struct span_cache __percpu *cache;	/* constant; NULL: no caches */
	struct map_leaf **map;		/* [nr_leaves], set as used; lock-free readers */
	u32 cache_max;			/* constant; longest span that is cached */
	u32 arena_pages;		/* constant */
	u32 used;			/* pages grown into */
	unsigned int slow_only;		/* > 0: caches are passed by */
	struct spanheap_client *anon;	/* constant; allocations without a client */

	/* constant after init */
	const struct arena_ops *ops;
	void *backend;			/* of the arena back end */
	u32 nr_leaves;
	struct hlist_node cpuhp;
	unsigned long (*clock)(void);	/* ticks are jiffies; tests replace it */
	void (*profile_freed)(struct special *sp);	/* its span was freed */
	struct page **release_pages;	/* BATCH_PAGES; release_lock */
	atomic_t *leaf_backed;		/* [nr_leaves] pages of it that are backed: who
					 * owns a page counts it
					 */
	atomic_t *group_backed;		/* the same of LEAVES_PER_GROUP leaves */
	unsigned long last_drain;	/* to grow; heap clock ticks, no lock */
	s64 resident_peak;		/* pages, since the last pass; no lock */
	struct spanheap_prof *prof;
	struct kobject *kobj_dir;	/* "clients" */
	struct spanheap_client *orphan;	/* spans of clients that are gone */

	struct mutex clients_lock;	/* last_dirt, clients */
	struct list_head clients;
	u32 last_dirt;			/* number of the last such client */
	wait_queue_head_t callback_wait;	/* fewer users, or callbacks running */

	struct mutex release_lock;	/* release_pages */

	struct mutex drain_lock;	/* one emptying of the caches at a time */
	struct llist_head drained;	/* taken out of caches, not yet put */
	struct cache_node **cache_node;	/* [nr_node_ids]; constant; NULL: no such node */
	unsigned long cache_pages;	/* constant; the cache_kb parameter */
	unsigned long shelf_pages;	/* constant; on a shelf, at most */
	size_t cache_bytes;		/* constant; of caches and nodes */

	spinlock_t lock;		/* the heap lock: all below; map, used, slow_only */
	u32 *cover;			/* [nr_leaves] start of the in-use span over
					 * the leaf's first page; may be stale
					 */
	DECLARE_BITMAP(nonempty, SMALL_PAGES);
	struct list_head small[SMALL_PAGES];
	u32 nr_small[SMALL_PAGES];	/* how many are on each */
	struct rb_root large;		/* by (nr_pages, start) */
	struct list_head lru;		/* oldest first */
	struct list_head spare;		/* records */
	u32 nr_spare;
	u32 nr_free;			/* free spans */
	u32 nr_releasing;		/* spans a releaser holds */
	u64 seq;			/* grows with every change of the map, of what is
					 * free in it, and of what is unswept
					 */
	struct list_head unswept;	/* clients with unswept spans */
	struct list_head callbacks;	/* struct callback */
	u32 nr_busy;			/* spans on clients' busy lists */

	u64 out_pages;			/* in no free list: TAKEN, INUSE, CACHED */
	u64 uncached_pages;		/* CACHED spans put so far */
	u64 released_pages;
	s64 extra_objects;
	u64 nr_records;			/* of spans, wherever they are */
	u64 nr_map_leaves;
	u64 allocs;			/* here and below: the slow path's part */
	u64 frees;
	u64 failed_allocs;
	u64 invalid_frees;
	u64 grows;
	u64 scavenge_passes;
	u64 scavenged_pages;
	u64 tlb_flushes;
	atomic64_t zeroed_pages;	/* no lock */
	atomic64_t zero_skipped_pages;	/* no lock */
	bool pinned;			/* orphans hold the module */

	struct xarray bad_callers;	/* call sites of reported bad frees */

	spinlock_t special_lock[SPECIAL_LOCKS];	/* span.specials of the spans that hash to it */
	atomic_long_t nr_finalizers;	/* records; no lock */
};

extern struct spanheap *spanheap_heap;

struct seq_file;

static inline u32 span_end(const struct span *s)
{
	return s->start + s->nr_pages;
}

static inline void *page_addr(const struct spanheap *h, u32 idx)
{
	return h->base + ((unsigned long)idx << PAGE_SHIFT);
}

static inline void *span_addr(const struct spanheap *h, const struct span *s)
{
	return page_addr(h, s->start);
}

static inline bool addr_to_idx(const struct spanheap *h, const void *addr, u32 *idx)
{
	unsigned long off = (unsigned long)addr - (unsigned long)h->base;

	if (off >> PAGE_SHIFT >= h->arena_pages)
		return false;
	*idx = off >> PAGE_SHIFT;
	return true;
}

/* The map's entry for a page below spanheap.used */
static inline struct span **map_slot(const struct spanheap *h, u32 idx)
{
	return &h->map[idx >> LEAF_SHIFT]->span[idx & LEAF_MASK];
}

/*
 * The record in the map for a span that starts at addr, if any; no lock. What it
 * points to is ordered by the address dependency; __grow() and __spanheap_map_set() are
 * the writers.
 */
static inline struct span *spanheap_span_at(const struct spanheap *h, const void *addr)
{
	struct map_leaf *leaf;
	u32 idx;

	if (!PAGE_ALIGNED(addr) || !addr_to_idx(h, addr, &idx))
		return NULL;
	leaf = READ_ONCE(h->map[idx >> LEAF_SHIFT]);
	return leaf ? READ_ONCE(leaf->span[idx & LEAF_MASK]) : NULL;
}

/*
 * n spans were moved in this hold of the heap lock: let others have it? Those are not
 * seen on PREEMPT_RT, or in a guest whose locks are not paravirtual.
 */
static inline bool held_enough(struct spanheap *h, u32 n)
{
	return n >= HOLD_SPANS || (n >= HOLD_WANTED && spin_is_contended(&h->lock));
}

static inline enum span_state span_state(const struct span *s)
{
	return READ_ONCE(s->state) & ~SPAN_SLOW;
}

/* Take an in-use span out of use. Returns the state it had, or SPAN_DEAD. */
static inline u32 spanheap_claim(struct span *s, enum span_state state)
{
	u32 old = READ_ONCE(s->state);

	if ((old & ~SPAN_SLOW) != SPAN_INUSE || cmpxchg(&s->state, old, state) != old)
		return SPAN_DEAD;
	return old;
}

/* The state of an in-use span: is there more to do when it is freed? */
static inline u32 inuse_state(const struct span *s)
{
	const struct spanheap_client *c = s->client;

	return SPAN_INUSE | (c->sweep || c == c->heap->orphan ? SPAN_SLOW : 0);
}

/* Has any page of a FREE or TAKEN span memory? */
static inline bool has_backed(const struct span *s)
{
	return s->nr_released < s->nr_pages;
}

/* The order of large free spans: best fit is the first that is long enough */
static inline bool large_less(const struct span *a, const struct span *b)
{
	return a->nr_pages != b->nr_pages ? a->nr_pages < b->nr_pages :
					    a->start < b->start;
}

/* The busy list of an in-use span of a swept client */
static inline u32 busy_index(const struct span *s)
{
	return min(s->nr_pages, SMALL_PAGES);
}

static inline bool unswept(const struct client_sweep *sw, const struct span *s)
{
	return s->sweepgen == sw->gen - 2;
}

static inline s64 extra_objects(u32 nr_pages, u32 obj_size)
{
	return obj_size ? (s64)(((u64)nr_pages << PAGE_SHIFT) / obj_size) - 1 : 0;
}

/* Must client c get s cleared? With SPANHEAP_SKIP_INIT it may see its own old data. */
static inline bool wants_zero(const struct span *s, const struct spanheap_client *c,
			      gfp_t gfp)
{
	if (unlikely(c->dirt) && s->dirt == c->dirt)
		return gfp & __GFP_ZERO;
	return want_init_on_alloc(gfp);
}

/* s, TAKEN, backed and counted, becomes the client's */
static inline void spanheap_publish(struct span *s, struct spanheap_client *client,
				    u32 obj_size, unsigned long caller, u32 state)
{
	s->client = client;
	s->obj_size = obj_size;
	s->caller = caller;
	smp_wmb();	/* pairs with the one in spanheap_heap_lookup() */
	WRITE_ONCE(s->state, state);
}

/* spanheap_arena.c */
extern const struct arena_ops spanheap_arena_ops;

/* spanheap_cache.c */
extern unsigned int spanheap_cache_kb;
void *spanheap_heap_alloc(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, unsigned int align_shift,
			  size_t obj_size, gfp_t gfp, unsigned long caller);
void spanheap_heap_free(struct spanheap *h, const void *addr,
			unsigned long caller);
bool spanheap_gfp_ok(gfp_t gfp);
int spanheap_cache_setup(void);
void spanheap_cache_teardown(void);
int spanheap_cache_init(struct spanheap *h, unsigned int kb);
void spanheap_cache_exit(struct spanheap *h);
void spanheap_cache_drain(struct spanheap *h);
void spanheap_cache_pause(struct spanheap *h);
void spanheap_cache_resume(struct spanheap *h);
void spanheap_cache_redraw(struct spanheap *h);
void spanheap_cache_sum(struct spanheap *h, struct span_cache *sum);
bool spanheap_charge(struct spanheap_client *c, u32 nr);
void spanheap_uncharge(struct spanheap_client *c, u32 nr);
void spanheap_set_limit(struct spanheap_client *c, u64 limit_pages);
void spanheap_client_sum(struct spanheap_client *c, struct client_counts *sum);
int spanheap_client_init(struct spanheap_client *c);
void spanheap_client_exit(struct spanheap_client *c);

/* spanheap_depot.c */
int spanheap_depot_create(struct spanheap *h);
void spanheap_depot_destroy(struct spanheap *h);
u32 spanheap_mag_size(struct spanheap *h, u32 nr);
void *spanheap_mags_alloc(struct spanheap *h, u32 n, int nid);
struct magazine *spanheap_mag_next(void **mem, u32 size);
struct llist_node *spanheap_mag_chain(struct magazine *m, u32 n);
bool spanheap_depot_swap(struct spanheap *h, u32 nr, struct magazine **m, bool full);
struct span *spanheap_shelf_take(struct spanheap *h, u32 nr);
bool spanheap_shelf_put(struct spanheap *h, struct span *s);
void spanheap_depot_drain(struct spanheap *h);

/* spanheap_map.c */
void __spanheap_map_set(struct spanheap *h, struct span *s);
void __spanheap_map_clear(struct spanheap *h, struct span *s);
void spanheap_map_cover(struct spanheap *h, struct span *s);
struct span *spanheap_span_guess(struct spanheap *h, const void *addr);
bool spanheap_heap_lookup(struct spanheap *h, const void *addr,
			  struct span_view *view);
void *spanheap_heap_object(struct spanheap *h, const void *addr);
struct span *__spanheap_next(struct spanheap *h, u32 idx);
struct span *__spanheap_span_holding(struct spanheap *h, u32 idx);
u32 spanheap_next_backed(struct spanheap *h, u32 idx, u32 end, bool backed);
void spanheap_mark_backed(struct spanheap *h, u32 idx, u32 nr, bool backed);
u32 spanheap_count_backed_bits(struct spanheap *h, u32 idx, u32 nr);
u32 spanheap_count_backed(struct spanheap *h, u32 idx, u32 nr);

/* spanheap_check.c */
int spanheap_heap_check(struct spanheap *h, char *why, size_t size);

/* spanheap_span.c */
int spanheap_span_cache_create(void);
void spanheap_span_cache_destroy(void);
struct spanheap *spanheap_heap_create(const struct arena_ops *ops,
				      unsigned long nr_pages,
				      unsigned long (*clock)(void));
void spanheap_heap_destroy(struct spanheap *h);
struct span *spanheap_take(struct spanheap *h, struct spanheap_client *client,
			   u32 nr, u32 align, u32 obj_size, gfp_t gfp);
bool spanheap_back(struct spanheap *h, struct span *s, gfp_t gfp);
void spanheap_untake(struct spanheap *h, struct span *s);
void spanheap_hand_out(struct spanheap *h, struct span *s, u32 obj_size,
		       unsigned long caller);
void *spanheap_fail(struct spanheap *h, struct spanheap_client *client,
		    size_t nr_pages, gfp_t gfp, int err);
void spanheap_span_free(struct spanheap *h, const void *addr,
			unsigned long caller);
void __spanheap_free_claimed(struct spanheap *h, struct span *s,
			     unsigned long *flags);
void spanheap_put_cached(struct spanheap *h, struct llist_node *first);
void spanheap_clear(struct spanheap *h, u32 idx, u32 nr, bool may_sleep);
bool spanheap_heap_resize(struct spanheap *h, void *addr, size_t nr_pages,
			  gfp_t gfp, unsigned long caller);
struct span *__spanheap_split(struct spanheap *h, struct span *s, u32 nr);
void __spanheap_isolate(struct spanheap *h, struct span *s,
			enum span_state state);
void __spanheap_put(struct spanheap *h, struct span *s);
void spanheap_trim_records(struct spanheap *h);
u32 __spanheap_largest_free(struct spanheap *h);
void spanheap_heap_stats(struct spanheap *h, struct spanheap_stats *st);

/* spanheap_special.c */
int spanheap_special_setup(void);
void spanheap_special_teardown(void);
void spanheap_special_init(struct spanheap *h);
int spanheap_special_add(struct spanheap *h, const void *addr, struct special *sp);
struct special *spanheap_special_remove(struct spanheap *h, const void *addr,
					enum special_kind kind);
bool spanheap_specials_claim(struct spanheap *h, struct span *s,
			     struct rb_root *specials, spanheap_finalizer_t *fn);
void spanheap_specials_freed(struct spanheap *h, struct rb_root *specials);
bool spanheap_specials_free_range(struct spanheap *h, const void *addr, u64 size);
bool __spanheap_specials_sweep(struct spanheap *h, struct span *s,
			       struct special *key, bool *kept);
bool spanheap_specials_beyond(struct spanheap *h, struct span *s, u32 nr_pages);
void spanheap_specials_leave(struct spanheap_client *c);
const char *spanheap_specials_check(struct spanheap *h, u32 *idx);
int spanheap_finalizer_add(struct spanheap *h, void *obj, spanheap_finalizer_t fn,
			   void *arg, gfp_t gfp);
int spanheap_finalizer_remove(struct spanheap *h, void *obj);
u64 spanheap_special_meta(struct spanheap *h);

/* spanheap_main.c */
struct spanheap_client *
spanheap_heap_register(struct spanheap *h,
		       const struct spanheap_client_attr *attr);
void spanheap_heap_unregister(struct spanheap_client *client);

/* spanheap_sweep.c */
int spanheap_sweep_init(struct spanheap_client *c);
void spanheap_sweep_exit(struct spanheap_client *c);
void __spanheap_busy_add(struct spanheap *h, struct span *s);
void __spanheap_busy_del(struct spanheap *h, struct span *s);
bool __spanheap_free_later(struct spanheap *h, struct span *s);
void __spanheap_busy_back(struct spanheap *h, struct span *s);
bool __spanheap_client_get(struct spanheap_client *c);
void spanheap_client_put(struct spanheap_client *c);
void spanheap_client_quiesce(struct spanheap_client *c);
bool spanheap_in_callback(struct spanheap *h, bool sweep_only);
void spanheap_cycle(struct spanheap_client *c);
long spanheap_sweep(struct spanheap_client *c, u32 lo, u32 hi);
u64 spanheap_sweep_some(struct spanheap *h, u64 max_spans);
void spanheap_sweep_live(struct spanheap *h, const void *addr);
bool spanheap_may_reclaim(gfp_t gfp);
u64 spanheap_reclaim(struct spanheap *h, struct spanheap_client *client, u32 nr, bool others);
void spanheap_collect(struct spanheap *h, unsigned long min_age);

/* spanheap_scav.c */
extern unsigned int spanheap_scavenge_age_ms;
extern unsigned int spanheap_scavenge_period_ms;
extern unsigned int spanheap_force_cycle_ms;
extern bool spanheap_trace;
u64 spanheap_scavenge(struct spanheap *h, unsigned long age, u64 max_pages);
bool spanheap_drain_to_grow(struct spanheap *h, gfp_t gfp);
void spanheap_release_to_grow(struct spanheap *h, gfp_t gfp);
void spanheap_grown(struct spanheap *h, gfp_t gfp);
void spanheap_release_all(struct spanheap *h);
int spanheap_scav_start(struct spanheap *h);
void spanheap_scav_stop(void);
void spanheap_scav_kick(void);
void spanheap_scav_wake(struct spanheap *h);
extern const struct kernel_param_ops spanheap_ms_ops;

/* spanheap_prof.c */
#define SPANHEAP_PROF_RATE_MAX	(1ULL << 40)
DECLARE_STATIC_KEY_FALSE(spanheap_prof_key);
s64 spanheap_prof_distance(u32 u, u64 rate);
void spanheap_prof_draw(struct spanheap *h, struct span_cache *c);
u64 spanheap_prof_due(struct spanheap *h, struct span_cache *c);
u64 spanheap_prof_chance(struct spanheap *h, u32 nr_pages);
void spanheap_prof_throttle(struct spanheap *h);
void spanheap_prof_sample(struct spanheap *h, void *addr, u32 nr_pages, u64 distance, gfp_t gfp,
			  unsigned long caller);
int spanheap_prof_set_rate(struct spanheap *h, u64 rate);
void spanheap_prof_show(struct spanheap *h, struct seq_file *m);
u64 spanheap_prof_bytes(struct spanheap *h);
int spanheap_prof_create(struct spanheap *h);
void spanheap_prof_destroy(struct spanheap *h);
void spanheap_prof_start(struct spanheap *h);
void spanheap_prof_stop(void);

/* spanheap_sysfs.c, spanheap_debugfs.c */
int spanheap_sysfs_init(struct spanheap *h);
void spanheap_sysfs_del_client(struct spanheap_client *client);
void spanheap_sysfs_exit(void);
int spanheap_sysfs_add_client(struct spanheap_client *client);
void spanheap_debugfs_init(struct spanheap *h);
void spanheap_debugfs_exit(void);

#ifdef SPANHEAP_BENCH
#include "bench/hold.h"
#endif

#endif /* _SPANHEAP_INTERNAL_H */
