/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Private structures of spanheap.
 *
 * Lock order, outermost first:
 *
 *	spanheap_client.collect_lock (mutex) one collect callback of a client at a time
 *	spanheap_client.cycle_lock (mutex) one task begins a cycle of a client at a time
 *	spanheap_client.limit_lock (mutex) writers of a client's limit
 *	spanheap.clients_lock	(mutex) client registry and sysfs folders of clients
 *	spanheap.sites_lock	(mutex) names of call sites; one walk over the map for
 *				a module's text at a time
 *	spanheap.drain_lock	(mutex) one task empties the caches at a time
 *	spanheap.finish_lock	(mutex) one task completes deferred frees at a time
 *	spanheap.release_lock	(mutex) one releaser at a time
 *	spanheap.lock		(spinlock, irqsave) the heap lock: the span map,
 *				free lists, lists by age, the heap's counters
 *	special_lock[]		(spinlocks, irqsave) specials of the spans that
 *				hash to the lock; no other lock is taken inside
 *	cache_depot.lock, cache_shelf.lock (raw spinlocks, trylock) spans that travel
 *				between CPUs; innermost, never with the heap lock.
 *				Raw, because a CPU takes them with preemption off
 *	spanheap_prof.lock	(spinlock, irqsave) adding a bucket of the profile;
 *				innermost, never with the heap lock
 *
 * Reclaim takes drain_lock, finish_lock and release_lock, so their holders allocate
 * nothing.
 *
 * Only bounded work is done under the heap lock: no page allocation, backing, clearing,
 * TLB flush or callback. A function named "__x" runs under the heap lock.
 *
 * A CPU's cache and its share of the counters have no lock, see spanheap_cache.h.
 *
 * A span leaves the in-use state by one compare-and-swap of span.word. The task that
 * wins owns the span, and every other free or resize of the span is a bad one.
 *
 * While a client's callback runs, the task holds none of these locks but the client's
 * collect_lock and cycle_lock. spanheap_client.users counts the tasks that run callbacks
 * of a client or resize its spans. Unregistering waits until there is none.
 *
 * Look-ups take no lock: leaves are not freed before the heap is, records are
 * SLAB_TYPESAFE_BY_RCU, and a reader validates the fields that it has read.
 */
#ifndef _SPANHEAP_INTERNAL_H
#define _SPANHEAP_INTERNAL_H

#include <linux/jump_label.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "spanheap_cache.h"
#include "spanheap_client.h"
#include "spanheap_hook.h"
#include "spanheap_span.h"

#define BATCH_PAGES	4096u			/* most pages released per TLB flush */
#define HOLD_SPANS	32u			/* most spans moved in one hold of the heap lock */
#define HOLD_LEAVES	256u			/* most leaves added or read in one hold */
#define HOLD_WANTED	4u			/* as HOLD_SPANS, while another CPU waits */
#define SPARE_RESERVE	2u			/* spare records that only a release may use */
#define SPECIAL_LOCKS	64u
#define LEAKS_SHOWN	10u			/* spans listed in a report */
#define SITE_MAX	0xffffu			/* highest number of a call site; below all text */
#define SITE_TEXT	128u			/* bytes of a call site's name */

#define COUNT_PAGES	512u			/* idle pages that come or go uncounted */

#define FREE_NOW_PAGES	SLOT_PAGES		/* a worker clears or checks longer spans */

#define CARVE_RECORDS	4u			/* for the lead, tail, guard and a growth */

/*
 * Flags that an allocation may have; the kernel-doc of spanheap_alloc() explains each
 * flag. Allocations of records and leaves get only the flags in GFP_META.
 */
#define GFP_META	(GFP_KERNEL | GFP_ATOMIC | __GFP_NORETRY | __GFP_RETRY_MAYFAIL | \
			 __GFP_NOMEMALLOC | __GFP_MEMALLOC | __GFP_NOLOCKDEP | __GFP_NOFAIL)
#define GFP_ALLOWED	(GFP_META | __GFP_ZERO | __GFP_NOWARN | __GFP_HIGHMEM | \
			 __GFP_HARDWALL | __GFP_THISNODE)
/* Every combination of these flags is allowed */
#define GFP_PLAIN	(GFP_ALLOWED & ~__GFP_NOFAIL)

struct node_pages;
struct spanheap;

/* Memory that an operation allocates before it takes the heap lock */
struct prep {
	struct list_head records;
	u32 nr_records;
	struct map_leaf *leaves;
	u32 nr_leaves;
	u32 want_leaves;	/* set by __spanheap_grow() when leaves are missing */
	bool exact;		/* grow by the requested pages only, not by GROW_MIN */
	struct spanheap_client *client;	/* for the trace; NULL: no client */
};

#define PREP_INIT(p)	{ .records = LIST_HEAD_INIT((p).records) }

/* A releaser's position in the lists of idle spans; starts as 0. See isolate_some(). */
struct release {
	u32 min_age;		/* least age, in epochs, of pages to release */
	u32 younger;		/* number of lists that are done, from the oldest on */
	u32 at;			/* page to continue at, in the first span of the list */
	u32 oldest;		/* age of the oldest unit that was skipped in that span */
};

/* The arena's back end: how pages get and lose physical memory */
struct arena_ops {
	const char *name;
	int (*reserve)(struct spanheap *h, unsigned long nr_pages);
	void (*unreserve)(struct spanheap *h);
	/*
	 * Back [start, start + nr); all are unbacked. Prefers memory of that node, unless it is
	 * NUMA_NO_NODE. Returns how many pages it backed.
	 */
	u32 (*back)(struct spanheap *h, u32 start, u32 nr, gfp_t gfp, int node);
	/* The node of the memory of page idx, which is backed */
	int (*node)(struct spanheap *h, u32 idx);
	/* Unmap nr backed pages and store them in pages[]. Returns how many it unmapped. */
	u32 (*unback)(struct spanheap *h, u32 start, u32 nr, struct page **pages);
	/*
	 * Map the memory of the nr backed pages from page "from" on at page "to", where no
	 * page is backed. Returns how many pages it moved: all, unless the arena is lost.
	 */
	u32 (*move)(struct spanheap *h, u32 from, u32 to, u32 nr);
	/* After this, no CPU can access an unbacked page of [start, end). */
	void (*flush)(struct spanheap *h, u32 start, u32 end);
	/* Does one of the backed pages [start, start + nr) have other references? */
	bool (*referenced)(struct spanheap *h, u32 start, u32 nr);
	/* Are the addresses still the arena's? */
	bool (*intact)(struct spanheap *h);
};

struct spanheap {
	/* Read by every operation, written seldom: one cache line */
	void *base;			/* constant */
	struct map_leaf **map;		/* [nr_leaves], set as used; lock-free readers */
	struct spanheap_client *anon;	/* constant; allocations without a client */
	u32 arena_pages;		/* constant */
	u32 used;			/* pages grown into; heap lock */
	struct span_caches caches;

	/* constant after init */
	const struct arena_ops *ops;
	void *backend;			/* private to the arena back end */
	struct page *sentinel;		/* mapped behind the last page of the arena */
	bool odd_entry;			/* a page table entry has an unexpected value */
	u32 nr_leaves;
	struct hlist_node cpuhp;
	unsigned long (*clock)(void);	/* ticks are jiffies; tests replace it */
	void (*profile_freed)(struct special *sp);	/* the sampled span was freed */
	struct page **release_pages;	/* [BATCH_PAGES]; release_lock */
	atomic_t *leaf_backed;		/* [nr_leaves] number of backed pages; the owner
					 * of a page counts it
					 */
	atomic_t *group_backed;		/* the same, for each group of leaves */
	unsigned long last_drain;	/* drain for growth; heap clock ticks, scavenger only */
	unsigned long last_shrink;	/* drain by the shrinker; heap clock ticks, no lock */
	unsigned long cached_at;	/* time of cached_guess; heap clock ticks, no lock */
	s64 cached_guess;		/* pages in caches; no lock */
	struct node_pages *nodes;	/* [nr_node_ids] */
	atomic_t counting;		/* 1: a CPU is in spanheap_count_idle() */
	s64 counted_listed;		/* heap_listed() at the last count; counting */
	bool growing;			/* the scavenger must release for growth; no lock */
	struct spanheap_prof *prof;
	struct kobject *kobj_dir;	/* sysfs folder "clients" */
	struct spanheap_client *orphan;	/* has the spans of clients that are gone */

	struct mutex clients_lock;	/* last_writer, clients */
	struct list_head clients;
	u32 last_writer;			/* highest spanheap_client.writer so far */
	wait_queue_head_t callback_wait;	/* for the end of users and callbacks */
	wait_queue_head_t scav_wait;	/* the scavenger's thread waits for work */

	struct mutex release_lock;	/* release_pages */
	struct llist_head dropping;	/* spans that lose their pages, then become free */
	struct work_struct free_work;	/* completes the frees of freeing and dropping */
	struct mutex finish_lock;	/* one task in spanheap_finish_frees() at a time */
	struct llist_head freeing;	/* long spans to clear or check, then to free */

	struct mutex drain_lock;	/* one task empties the caches at a time */

	spinlock_t lock;		/* the heap lock: most fields below; map, used */
	u32 *cover;			/* [nr_leaves] start of the in-use span that holds
					 * the leaf's first page; may be stale
					 */
	DECLARE_BITMAP(nonempty, SMALL_PAGES);
	struct list_head small[SMALL_PAGES];
	u32 nr_small[SMALL_PAGES];	/* lengths of the lists */
	struct rb_root large;		/* by (nr_pages, start) */
	struct list_head idle[AGES];	/* free spans with backed pages, by epochs since
					 * span.epoch: 0, 1, 2, and more
					 */
	u32 epoch;			/* ticks of the scavenger increment this */
	unsigned long epoch_start;	/* heap clock ticks */
	unsigned long epoch_ticks;	/* shortest length of an epoch */
	u64 peak;			/* highest unlisted_pages since the last tick */
	u64 last_peak;			/* the same for the tick before */
	u64 leaving_pages;		/* pages that a releaser has isolated to release */
	bool quiet;			/* the scavenger sleeps until a span becomes idle */
	struct list_head spare;		/* records that no span uses */
	u32 nr_spare;
	u32 nr_free;			/* free spans */
	u32 largest_free;		/* pages of the longest free span; read without the lock */
	u32 nr_releasing;		/* RELEASING spans */
	u64 seq;			/* incremented when the map, the set of free spans
					 * or the set of unswept spans changes
					 */
	struct workqueue_struct *background;	/* runs client callbacks; NULL: none */
	struct delayed_work sweep_work;	/* sweeps while a span is unswept */
	struct delayed_work collect_work;	/* forces collections */
	struct list_head unswept;	/* clients with unswept spans */
	struct list_head callbacks;	/* struct callback */
	u32 nr_busy;			/* spans on clients' busy lists */

	u64 unlisted_pages;		/* of OWNED, INUSE and CACHED spans */
	u64 uncached_pages;		/* total of pages put from caches into the free lists */
	u64 released_pages;		/* unbacked, in FREE, RELEASING and GUARD spans */
	u64 reserved_pages;		/* in RESERVED spans */
	s64 extra_objects;
	u64 nr_records;			/* span records, spare ones included */
	u64 nr_map_leaves;			/* leaves [0, nr_map_leaves) are in the map */
	u64 allocs;			/* allocs and frees: those of the slow path */
	u64 frees;
	u64 failed_allocs;
	u64 invalid_frees;
	u64 grows;
	u64 scavenge_passes;
	u64 scavenged_pages;
	u64 tlb_flushes;
	atomic64_t refaulted_pages;	/* backed again soon after a release; no lock */
	atomic64_t zeroed_pages;	/* no lock */
	atomic64_t zero_skipped_pages;	/* no lock */
	atomic64_t moved_pages;		/* by a realloc; no lock */
	atomic_t lost;			/* the arena is gone, see spanheap_arena_ok() */
	atomic_t broken;		/* refused state changes, see span_move() */
	bool pinned;			/* orphans hold a reference to the module */

	struct xarray bad_callers;	/* call sites of reported bad frees */

	struct mutex sites_lock;	/* next_site; writers of sites */
	struct xarray sites;		/* call sites whose text is gone; lock-free readers */
	u32 next_site;

	spinlock_t special_lock[SPECIAL_LOCKS];	/* span.specials, by hash of the span */
	atomic_long_t nr_finalizers;	/* no lock */
};

/* spanheap_heap.c: the module's heap. Unit tests have heaps of their own. */
extern struct spanheap *spanheap_heap;
extern unsigned int spanheap_cache_kb;	/* spanheap_main.c */
extern u64 spanheap_limit_bytes;	/* spanheap_vmstat.c; whole pages; 0: none */

struct module;
struct seq_file;
struct sg_table;

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

/* Rounded up. No sum, so that nothing overflows: SIZE_MAX is more than any arena has. */
static inline size_t bytes_to_pages(size_t bytes)
{
	return (bytes >> PAGE_SHIFT) + !!offset_in_page(bytes);
}

static inline bool in_arena(const struct spanheap *h, const void *addr)
{
	u32 idx;

	return addr_to_idx(h, addr, &idx);
}

/* Is addr the module's heap's business, and not vmalloc's? */
static inline bool in_heap(const void *addr)
{
	return spanheap_heap && in_arena(spanheap_heap, addr);
}

/* The map's entry for page idx, which must be below spanheap.used */
static inline struct span **map_slot(const struct spanheap *h, u32 idx)
{
	return &h->map[idx >> LEAF_SHIFT]->span[idx & LEAF_MASK];
}

/*
 * The map's record for the page at addr, or NULL; takes no lock. The address dependency
 * orders the reads of the leaf and the record after the reads of their pointers.
 * __spanheap_grow() and __spanheap_map_set() store these pointers with release.
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
 * The caller has moved n spans in this hold of the heap lock. Should it drop the lock?
 * spin_is_contended() is always false on PREEMPT_RT and in guests without paravirtual
 * locks; HOLD_SPANS bounds the hold there.
 */
static inline bool held_enough(struct spanheap *h, u32 n)
{
	return n >= HOLD_SPANS || (n >= HOLD_WANTED && spin_is_contended(&h->lock));
}

/*
 * Bring s, which is OWNED, backed and counted, into use by client. span_move_seen()
 * explains word and the result.
 */
static inline bool spanheap_publish(struct spanheap *h, struct span *s, u64 word,
				    struct spanheap_client *client, u32 obj_size,
				    unsigned long caller, u64 flags)
{
	if (unlikely(span_state(s) != SPAN_OWNED)) {
		spanheap_broken(h, s, SPAN_OWNED, SPAN_INUSE);
		return false;
	}
	s->client = client;
	s->obj_size = obj_size;
	s->caller = caller;
	/* Fields before the word: pairs with the acquire in spanheap_heap_lookup() and look() */
	smp_store_release(&s->word, ((word & SPAN_USES) + SPAN_USE) | SPAN_INUSE | flags);
	return true;
}

/* Ticks of the heap's clock. msecs_to_jiffies() treats 25 days and more as infinite. */
static inline unsigned long ms_to_ticks(unsigned int ms)
{
	return DIV_ROUND_UP_ULL((u64)ms * HZ, MSEC_PER_SEC);
}

/* Backed pages; an estimate without the heap lock */
static inline s64 heap_resident(const struct spanheap *h)
{
	return (s64)READ_ONCE(h->used) - READ_ONCE(h->released_pages);
}

/* Soft limit of the whole heap, in pages */
static inline s64 heap_limit(void)
{
	return READ_ONCE(spanheap_limit_bytes) >> PAGE_SHIFT ?: S64_MAX;
}

/* Resident pages beyond the limit that no releaser is giving back */
static inline s64 heap_over_limit(const struct spanheap *h)
{
	s64 limit = heap_limit();

	if (likely(limit == S64_MAX))
		return 0;
	return max_t(s64, heap_resident(h) - READ_ONCE(h->leaving_pages) - limit, 0);
}

/* Idle pages with memory in no cache and no reserve. An estimate, read without the heap lock. */
static inline s64 heap_listed(const struct spanheap *h)
{
	return heap_resident(h) - (s64)READ_ONCE(h->unlisted_pages) -
	       (s64)READ_ONCE(h->reserved_pages);
}

/* Pages in caches. An estimate: other CPUs change their counters during the sum. */
static inline s64 heap_cached(const struct spanheap *h)
{
	struct heap_counts sum = cache_sum(&h->caches);

	return max_t(s64, sum.pushed_pages - sum.popped_pages - READ_ONCE(h->uncached_pages), 0);
}

/*
 * Is the task being killed? Then it should get no more memory, as in vmalloc(). An
 * interrupt is no part of the current task, and its gfp may not block.
 */
static inline bool spanheap_killed(gfp_t gfp)
{
	return gfpflags_allow_blocking(gfp) && !(gfp & __GFP_NOFAIL) &&
	       fatal_signal_pending(current);
}

/*
 * might_alloc() for functions that seldom allocate. Without its checkers, this avoids the
 * cond_resched() that might_alloc() calls in kernels with voluntary preemption.
 */
static inline void spanheap_might_alloc(gfp_t gfp)
{
	if (IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP) || IS_ENABLED(CONFIG_LOCKDEP))
		might_alloc(gfp);
}

void spanheap_might_sweep(gfp_t gfp);

/* As spanheap_might_alloc(), for functions that may also sweep to find pages */
static inline void might_alloc_or_sweep(gfp_t gfp)
{
	spanheap_might_alloc(gfp);
	if (IS_ENABLED(CONFIG_LOCKDEP))
		spanheap_might_sweep(gfp);
}

void spanheap_count_idle(struct spanheap *h);

/* Wake the scavenger if pages are idle that are beyond the limit of the heap */
static inline void look_at_limit(struct spanheap *h)
{
	if (likely(!heap_over_limit(h)) || heap_listed(h) <= 0 || READ_ONCE(h->growing))
		return;
	WRITE_ONCE(h->growing, true);
	wake_up(&h->scav_wait);
}

/*
 * Pages have become idle, or are not idle any more. Called without the heap lock, after an
 * operation that has taken it. Most calls do nothing.
 */
static inline void idle_moved(struct spanheap *h)
{
	s64 moved = heap_listed(h) - READ_ONCE(h->counted_listed);

	if (unlikely(moved >= COUNT_PAGES || -moved >= COUNT_PAGES))
		spanheap_count_idle(h);
	look_at_limit(h);
}

/* Wake the scavenger after a span became idle. Called without the heap lock. */
static inline void scav_poke(struct spanheap *h)
{
	idle_moved(h);
	if (unlikely(READ_ONCE(h->quiet))) {
		WRITE_ONCE(h->quiet, false);
		wake_up(&h->scav_wait);
	}
}

/* spanheap_arena.c */
extern const struct arena_ops spanheap_arena_ops;
void spanheap_clear(struct spanheap *h, u32 idx, u32 nr, bool may_sleep);

/* spanheap_map.c */
void __spanheap_map_set(struct spanheap *h, struct span *s);
void __spanheap_map_clear(struct spanheap *h, struct span *s);
void spanheap_map_cover(struct spanheap *h, u32 start, u32 from, u32 end);
struct span *spanheap_span_guess(struct spanheap *h, const void *addr);
bool spanheap_heap_lookup(struct spanheap *h, const void *addr,
			  struct span_view *view);

/* As spanheap_heap_lookup(), but the in-use span must start at addr */
static inline bool lookup_start(struct spanheap *h, const void *addr, struct span_view *v)
{
	return spanheap_heap_lookup(h, addr, v) && page_addr(h, v->start) == addr;
}

void *spanheap_heap_object(struct spanheap *h, const void *addr);
struct span *__spanheap_walk(struct spanheap *h, u32 *idx);
struct span *__spanheap_next(struct spanheap *h, u32 idx);
struct span *__spanheap_span_holding(struct spanheap *h, u32 idx);
u32 spanheap_next_backed(struct spanheap *h, u32 idx, u32 end, bool backed);
void spanheap_mark_backed(struct spanheap *h, u32 idx, u32 nr, bool backed);
void spanheap_mark_moved(struct spanheap *h, u32 from, u32 to, u32 nr);
void spanheap_mark_used(struct spanheap *h, u32 idx, u32 nr);
u32 spanheap_unit_age(const struct spanheap *h, u32 idx);
u32 spanheap_count_backed_bits(struct spanheap *h, u32 idx, u32 nr);
u32 spanheap_count_backed(struct spanheap *h, u32 idx, u32 nr);

/* spanheap_span.c */
void __spanheap_absorb(struct spanheap *h, struct prep *p);
struct span *__spanheap_new_record(struct spanheap *h);
void __spanheap_drop_record(struct spanheap *h, struct span *s);
struct span *__spanheap_split(struct spanheap *h, struct span *s, u32 nr);
void __spanheap_isolate(struct spanheap *h, struct span *s,
			enum span_state state);
void spanheap_age_now(struct spanheap *h, struct span *s);
void __spanheap_place(struct spanheap *h, struct span *s);
void __spanheap_next_epoch(struct spanheap *h);
void __spanheap_put(struct spanheap *h, struct span *s);
void __spanheap_defer(struct spanheap *h, struct span *s, struct llist_head *list);
int __spanheap_grow(struct spanheap *h, u32 nr, struct prep *p);
struct span *__spanheap_carve(struct spanheap *h, u32 nr, u32 align, bool grow,
			      struct prep *p);
void __spanheap_cut_guard(struct spanheap *h, struct span *s);
struct span *__spanheap_cut_tail(struct spanheap *h, struct span *s, u32 nr);
struct span *__spanheap_carve_behind(struct spanheap *h, struct span *s, u32 nr,
				     struct prep *p);
void spanheap_put_cached(struct spanheap *h, struct llist_node *first);

/* spanheap_check.c */
int spanheap_heap_check(struct spanheap *h, char *why, size_t size);

/* spanheap_record.c */
extern struct workqueue_struct *spanheap_wq;
int spanheap_span_cache_create(void);
void spanheap_span_cache_destroy(void);
void spanheap_free_leaf(struct map_leaf *leaf);
void spanheap_free_record(struct span *s);
u32 spanheap_alloc_records(struct list_head *records, u32 nr, gfp_t gfp);
bool spanheap_prep_more(struct prep *p, gfp_t gfp);
void spanheap_prep_done(struct spanheap *h, struct prep *p);
void spanheap_trim_records(struct spanheap *h);

/* spanheap_vmstat.c */
size_t spanheap_nodes_bytes(void);
int spanheap_nodes_init(struct spanheap *h);
void spanheap_nodes_exit(struct spanheap *h);
void spanheap_count_nodes(struct spanheap *h, struct page **pages, u32 nr, bool backed);
s64 spanheap_cached_lately(struct spanheap *h);
s64 spanheap_counted(struct spanheap *h);

/* spanheap_account.c; see also spanheap_client.h */
void __spanheap_fewer_unswept(struct client_sweep *sw);
void __spanheap_busy_add(struct spanheap *h, struct span *s);
void __spanheap_busy_del(struct spanheap *h, struct span *s);
bool __spanheap_free_later(struct spanheap *h, struct span *s);
void __spanheap_busy_back(struct spanheap *h, struct span *s);
void spanheap_sweep_live(struct spanheap *h, const void *addr);
int spanheap_sweep_init(struct spanheap_client *c);
void spanheap_sweep_exit(struct spanheap_client *c);
void __spanheap_use_begin(struct spanheap *h, struct span *s,
			  struct spanheap_client *client, u32 obj_size);
void __spanheap_use_cancel(struct spanheap *h, struct span *s);
void __spanheap_end_guard(struct spanheap *h, struct span *s);
void __spanheap_use_undo(struct spanheap *h, struct span *s);
void spanheap_use_undo(struct spanheap *h, struct span *s);
bool spanheap_frees_later(const struct span *s);
bool spanheap_must_drop(struct spanheap *h, const struct span *s);
void __spanheap_use_end(struct spanheap *h, struct span *s, bool cleared, bool drop);
void __spanheap_free_claimed(struct spanheap *h, struct span *s, unsigned long caller,
			     unsigned long *flags);

/* A span for a reserve: OWNED, backed, and counted to the anonymous client; or ERR_PTR */
typedef struct span *(*reserve_get_span_t)(struct spanheap *h, u32 nr, gfp_t gfp);

/* spanheap_reserve.c */
int spanheap_reserve_init(struct spanheap_client *c, u64 bytes, reserve_get_span_t get_span);
void spanheap_reserve_exit(struct spanheap_client *c);
struct span *spanheap_reserve_take(struct spanheap_client *c, u32 nr, u32 align, u32 obj_size);
u64 spanheap_reserve_pages(struct spanheap_client *c);

/* spanheap_site.c */
const char *spanheap_site_text(struct spanheap *h, unsigned long site, char *buf);
unsigned long spanheap_site_keep(struct spanheap *h, unsigned long addr, const void *mod);
const void *spanheap_site_module(struct spanheap *h, unsigned long number);
void spanheap_site_use(struct spanheap *h, unsigned long number);
void spanheap_sites_forget(struct spanheap *h, const void *gone);
void spanheap_sites_init(struct spanheap *h);
void spanheap_sites_exit(struct spanheap *h);

/* spanheap_debug.c */
bool spanheap_arena_ok(struct spanheap *h);
bool spanheap_gfp_ok(gfp_t gfp);
void spanheap_report_bad_free(struct spanheap *h, const void *addr,
			      unsigned long caller, spanheap_finalizer_t fn);
void *spanheap_fail(struct spanheap *h, struct spanheap_client *client,
		    size_t nr_pages, gfp_t gfp, int err);
void spanheap_log_failure(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, gfp_t gfp, int err, const char *then);

/* spanheap_special.c */
int spanheap_special_setup(void);
void spanheap_special_teardown(void);
void spanheap_special_init(struct spanheap *h);
int spanheap_special_add(struct spanheap *h, const void *addr, struct special *sp);
struct special *spanheap_special_remove(struct spanheap *h, const void *addr,
					enum special_kind kind);
bool spanheap_specials_claim(struct spanheap *h, struct span *s, u64 word,
			     struct rb_root *specials, spanheap_finalizer_t *fn);
void spanheap_specials_freed(struct spanheap *h, struct rb_root *specials);
bool __spanheap_specials_sweep(struct spanheap *h, struct span *s,
			       struct special *key, bool *kept);
bool spanheap_specials_beyond(struct spanheap *h, struct span *s, u32 nr_pages);
bool spanheap_has_finalizer(struct spanheap *h, struct span *s);
void spanheap_specials_wait(struct spanheap_client *c);
void spanheap_specials_leave(struct spanheap_client *c);
const char *spanheap_specials_check(struct spanheap *h, u32 *idx);
int spanheap_finalizer_add(struct spanheap *h, void *obj, spanheap_finalizer_t fn,
			   void *arg, gfp_t gfp);
int spanheap_finalizer_remove(struct spanheap *h, void *obj);
u64 spanheap_special_meta(struct spanheap *h);

/* spanheap_release.c */
int spanheap_cache_setup(void);
void spanheap_cache_teardown(void);
int spanheap_cache_init(struct spanheap *h, unsigned int kb);
void spanheap_cache_exit(struct spanheap *h);
void spanheap_cache_drain(struct spanheap *h);
u32 spanheap_release_batch(struct spanheap *h, struct release *r, u32 want);
u64 spanheap_release_idle(struct spanheap *h, u32 min_age, u64 max);
void spanheap_finish_frees(struct spanheap *h);
void spanheap_drop(struct spanheap *h);
bool spanheap_drop_foreign(struct spanheap *h, struct span *s, int node, gfp_t gfp);
u64 spanheap_shrink(struct spanheap *h, u64 want);
void spanheap_trace_pass(struct spanheap *h, u64 n, unsigned long age);
u64 spanheap_scavenge(struct spanheap *h, u32 min_age, u64 max_pages);

/* spanheap_sweep.c */
void spanheap_cycle(struct spanheap_client *c);
long spanheap_sweep(struct spanheap_client *c, u32 lo, u32 hi);
u64 spanheap_sweep_some(struct spanheap *h, u64 max_spans);
bool spanheap_may_reclaim(gfp_t gfp);
u64 spanheap_reclaim(struct spanheap *h, struct spanheap_client *client, u32 nr, bool others);
void spanheap_collect(struct spanheap *h, unsigned long min_age);
extern unsigned int spanheap_force_cycle_ms;
int spanheap_background_start(struct spanheap *h);
void spanheap_background_stop(struct spanheap *h);
void spanheap_background_kick(struct spanheap *h);

/* spanheap_heap.c */
struct spanheap *spanheap_heap_create(const struct arena_ops *ops,
				      unsigned long nr_pages,
				      unsigned long (*clock)(void));
void spanheap_heap_destroy(struct spanheap *h);
void spanheap_heap_stats(struct spanheap *h, struct spanheap_stats *st, bool per_cpu);
int spanheap_check(struct spanheap *h, char *why, size_t size);

/* spanheap_scav.c */
extern unsigned int spanheap_scavenge_age_ms;
extern unsigned int spanheap_scavenge_period_ms;
extern const struct kernel_param_ops spanheap_limit_ops;
extern bool spanheap_log_passes;
void spanheap_growing(struct spanheap *h, gfp_t gfp);
u64 spanheap_release_growth(struct spanheap *h);
u64 spanheap_tick(struct spanheap *h);
u64 spanheap_release_all(struct spanheap *h);
u64 spanheap_release_pages(struct spanheap *h, u64 want);
struct shrinker;
struct shrink_control;
unsigned long spanheap_shrink_count(struct shrinker *s, struct shrink_control *sc);
unsigned long spanheap_shrink_scan(struct shrinker *s, struct shrink_control *sc);
int spanheap_scav_start(struct spanheap *h);
void spanheap_scav_stop(void);
void spanheap_scav_kick(void);
extern const struct kernel_param_ops spanheap_ms_ops;

/* spanheap_alloc.c */
void *spanheap_heap_alloc(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, unsigned int align_shift,
			  size_t obj_size, gfp_t gfp, unsigned long caller);
void spanheap_heap_free(struct spanheap *h, const void *addr,
			unsigned long caller);
void spanheap_heap_free_rcu(struct spanheap *h, const void *addr, unsigned long caller);
void *spanheap_heap_alloc_node(struct spanheap *h, struct spanheap_client *client,
			       size_t nr_pages, gfp_t gfp, int node, unsigned long caller);
struct span *spanheap_take(struct spanheap *h, struct spanheap_client *client, u32 nr,
			   u32 align, u32 obj_size, gfp_t gfp);
u32 spanheap_heap_alloc_bulk(struct spanheap *h, struct spanheap_client *client,
			     size_t nr_pages, gfp_t gfp, u32 n, void **addrs,
			     unsigned long caller);
void spanheap_heap_free_bulk(struct spanheap *h, u32 n, void **addrs, unsigned long caller);
bool spanheap_back(struct spanheap *h, struct span *s, gfp_t gfp, int node);
struct span *spanheap_alloc_reserve(struct spanheap *h, u32 nr, gfp_t gfp);

/* spanheap_share.c */
bool spanheap_mark_shared(struct spanheap *h, const void *addr);
struct page *spanheap_heap_to_page(struct spanheap *h, const void *addr);
int spanheap_heap_mmap(struct spanheap *h, struct vm_area_struct *vma, const void *addr,
		       unsigned long pgoff);
int spanheap_heap_sg_table(struct spanheap *h, const void *addr, struct sg_table *sgt, gfp_t gfp);

/* spanheap_resize.c */
bool spanheap_heap_resize(struct spanheap *h, void *addr, size_t nr_pages,
			  gfp_t gfp, unsigned long caller);
void *spanheap_heap_realloc(struct spanheap *h, void *addr, size_t nr_pages,
			    gfp_t gfp, unsigned long caller);

/* spanheap_client.c */
struct spanheap_client *
spanheap_heap_register(struct spanheap *h,
		       const struct spanheap_client_attr *attr);
void spanheap_heap_unregister(struct spanheap_client *client);
void __spanheap_orphan(struct spanheap *h, struct span *s);

/* Module text that the kernel is about to free */
struct text_end {
	bool (*within)(unsigned long addr, const void *mod);	/* is addr in that text? */
	const void *mod;		/* the module; never dereferenced */
	const char *name;		/* of the module */
	bool mod_goes;			/* false: only its __init text is freed */
};

/* spanheap_module.c */
void spanheap_text_ends(struct spanheap *h, const struct text_end *end);
int spanheap_module_start(void);
void spanheap_module_stop(void);

/* spanheap_notify.c */
int spanheap_notify_start(void);
void spanheap_notify_stop(void);

/* spanheap_vmalloc.c */
void spanheap_vmalloc_gone(const struct module *mod);
void spanheap_vmalloc_exit(void);

/* spanheap_prof.c */
#define SPANHEAP_PROF_RATE_MAX	(1ULL << 40)
DECLARE_STATIC_KEY_FALSE(spanheap_prof_key);
s64 spanheap_prof_distance(u64 u, u64 rate);
u64 spanheap_prof_probability(u64 n, u64 distance);
void spanheap_prof_draw(struct spanheap *h, struct span_cache *c);
u64 spanheap_prof_due(struct spanheap *h, struct span_cache *c);
u64 spanheap_prof_chance(struct spanheap *h, u32 nr_pages);
void spanheap_prof_throttle(struct spanheap *h);
void spanheap_prof_sample(struct spanheap *h, void *addr, u32 nr_pages, u64 distance, gfp_t gfp,
			  unsigned long caller);
int spanheap_prof_set_rate(struct spanheap *h, u64 rate);
void spanheap_prof_show(struct spanheap *h, struct seq_file *m);
void spanheap_prof_sites(struct spanheap *h,
			 void (*fn)(struct spanheap *h, unsigned long *site, void *arg),
			 void *arg);
void spanheap_cache_redraw(struct spanheap *h);
u64 spanheap_prof_bytes(struct spanheap *h);
int spanheap_prof_create(struct spanheap *h);
void spanheap_prof_destroy(struct spanheap *h);
void spanheap_prof_start(struct spanheap *h);
void spanheap_prof_stop(void);

/* spanheap_sysfs.c, spanheap_debugfs.c */
int spanheap_sysfs_init(struct spanheap *h);
void spanheap_sysfs_del_client(struct spanheap_client *client);
void spanheap_sysfs_limit_hit(struct work_struct *work);
void spanheap_sysfs_exit(void);
int spanheap_sysfs_add_client(struct spanheap_client *client);
void spanheap_debugfs_init(struct spanheap *h);
void spanheap_debugfs_exit(void);

#ifdef SPANHEAP_BENCH
#include "bench/hold.h"
#elif defined(CONFIG_SPANHEAP_KUNIT)
#include "kunit/hold.h"
#endif

#endif /* _SPANHEAP_INTERNAL_H */
