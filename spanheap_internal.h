/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Private structures of spanheap.
 *
 * Lock order, outermost first:
 *
 *	spanheap.clients_lock	(mutex) client registry and their sysfs folders
 *	spanheap.release_lock	(mutex) one releaser at a time; the shrinker only
 *				tries it, so reclaim never waits here
 *	spanheap.lock		(spinlock, irqsave) the heap lock: the span map,
 *				free lists, LRU, every counter
 *
 * The heap lock is held for bounded work only: never across page allocation,
 * backing, clearing, a TLB flush or a callback. "__x" runs under it.
 *
 * Look-ups take no lock: leaves are never freed before the heap is, records are
 * SLAB_TYPESAFE_BY_RCU, and a reader validates what it found.
 */
#ifndef _SPANHEAP_INTERNAL_H
#define _SPANHEAP_INTERNAL_H

#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mutex.h>
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
#define SMALL_PAGES	256u			/* from here on: the tree */
#define GROW_UNIT	(SZ_64K >> PAGE_SHIFT)
#define GROW_MIN	(SZ_1M >> PAGE_SHIFT)
#define BATCH_PAGES	1024u			/* released per TLB flush */
#define BATCH_SPANS	64u			/* ... out of so many spans */
#define SPARE_RESERVE	1u			/* records only a release may use */

/* Where a record is in its life. Only the owner of TAKEN and RELEASING spans
 * touches their pages; neighbours do not coalesce with them.
 */
enum span_state {
	SPAN_DEAD,		/* record not in the map */
	SPAN_FREE,		/* on a free list; on the LRU if any page is backed */
	SPAN_TAKEN,		/* on its way in or out of use, being backed or cleared */
	SPAN_INUSE,		/* a client has it */
	SPAN_RELEASING,		/* a releaser is taking its pages away */
};

/* One run of pages. All fields are written under the heap lock; the first group
 * is read without it by look-ups.
 */
struct span {
	u32 start;			/* page index of the first page */
	u32 nr_pages;
	u32 obj_size;			/* bytes, 0: the span is one object */
	u8 state;			/* enum span_state */
	bool needzero;			/* backed pages may hold old data */
	struct spanheap_client *client;	/* never NULL while in use */

	unsigned long caller;		/* allocating call site */
	u32 nr_released;		/* FREE: pages without memory */
	unsigned long stamp;		/* FREE: idle since, in heap clock ticks */
	union {
		struct list_head list;	/* FREE, small; spare record; batch */
		struct rb_node node;	/* FREE, large */
	};
	struct list_head lru;		/* FREE with backed pages, oldest first */
};

/* A piece of the span map, allocated when the arena grows into it */
struct map_leaf {
	struct span **span;		/* first and last page of each span */
	struct map_leaf *next;		/* while not yet in the map */
	DECLARE_BITMAP(starts, LEAF_PAGES);	/* first pages; heap lock */
	DECLARE_BITMAP(backed, LEAF_PAGES);	/* atomic: owner of the page */
};

struct spanheap_client {
	struct spanheap *heap;
	char name[SPANHEAP_NAME_MAX + 1];
	unsigned int flags;
	const struct spanheap_client_ops *ops;
	void *priv;
	struct list_head list;		/* clients_lock */
	struct kobject kobj;
	struct completion released;	/* the last reference to kobj is gone */
	unsigned long last_collect;	/* clients_lock; heap clock ticks */

	/* heap lock */
	u64 limit_pages;		/* 0: none */
	u64 inuse_pages;
	u64 peak_pages;
	u64 spans;
	u64 allocs;
	u64 frees;
	u64 failed_allocs;
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
	/* constant after init */
	const struct arena_ops *ops;
	void *base;
	void *backend;			/* of the arena back end */
	u32 arena_pages;
	u32 nr_leaves;
	unsigned long (*clock)(void);	/* ticks are jiffies; tests replace it */
	struct page **release_pages;	/* BATCH_PAGES; release_lock */
	struct kobject *kobj_dir;	/* "clients" */
	struct spanheap_client *anon;	/* allocations without a client */
	struct spanheap_client *orphan;	/* spans of clients that are gone */

	struct mutex clients_lock;
	struct list_head clients;
	struct task_struct *collector;	/* runs collect callbacks now */

	struct mutex release_lock;

	spinlock_t lock;
	u32 used;			/* pages grown into; lock-free readers */
	struct map_leaf **map;		/* [nr_leaves]; lock-free readers */
	u32 *cover;			/* [nr_leaves] start of the in-use span over
					 * the leaf's first page; may be stale
					 */
	DECLARE_BITMAP(nonempty, SMALL_PAGES);
	struct list_head small[SMALL_PAGES];
	struct rb_root large;		/* by (nr_pages, start) */
	struct list_head lru;		/* oldest first */
	struct list_head spare;		/* records */
	u32 nr_spare;
	u32 nr_free;			/* free spans */
	u32 nr_releasing;		/* spans a releaser holds */
	u64 seq;			/* grows with every change of the map */

	u64 inuse_pages;		/* TAKEN included */
	u64 released_pages;
	u64 objects;
	u64 spans;			/* in use */
	u64 nr_records;			/* of spans, wherever they are */
	u64 nr_map_leaves;
	u64 allocs;
	u64 frees;
	u64 failed_allocs;
	u64 invalid_frees;
	u64 grows;
	u64 scavenge_passes;
	u64 scavenged_pages;
	u64 tlb_flushes;
	u64 zeroed_pages;
	u64 zero_skipped_pages;
	bool pinned;			/* orphans hold the module */

	struct xarray bad_callers;	/* call sites of reported bad frees */
};

extern struct spanheap *spanheap_heap;

struct kernel_param_ops;

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

/* spanheap_arena.c */
extern const struct arena_ops spanheap_arena_ops;

/* spanheap_span.c */
int spanheap_span_cache_create(void);
void spanheap_span_cache_destroy(void);
struct spanheap *spanheap_heap_create(const struct arena_ops *ops,
				      unsigned long nr_pages,
				      unsigned long (*clock)(void));
void spanheap_heap_destroy(struct spanheap *h);
void *spanheap_heap_alloc(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, unsigned int align_shift,
			  size_t obj_size, gfp_t gfp, unsigned long caller);
void spanheap_heap_free(struct spanheap *h, const void *addr,
			unsigned long caller);
bool spanheap_heap_resize(struct spanheap *h, void *addr, size_t nr_pages,
			  gfp_t gfp, unsigned long caller);
bool spanheap_heap_lookup(struct spanheap *h, const void *addr,
			  struct span *copy);
struct span *__spanheap_next(struct spanheap *h, u32 idx);
struct span *__spanheap_split(struct spanheap *h, struct span *s, u32 nr);
void __spanheap_isolate(struct spanheap *h, struct span *s,
			enum span_state state);
void __spanheap_put(struct spanheap *h, struct span *s);
void spanheap_trim_records(struct spanheap *h);
u32 spanheap_next_backed(struct spanheap *h, u32 idx, u32 end, bool backed);
void spanheap_mark_backed(struct spanheap *h, u32 idx, u32 nr, bool backed);
u32 __spanheap_largest_free(struct spanheap *h);
void spanheap_heap_stats(struct spanheap *h, struct spanheap_stats *st);
int spanheap_heap_check(struct spanheap *h, char *why, size_t size);

/* spanheap_main.c */
struct spanheap_client *
spanheap_heap_register(struct spanheap *h,
		       const struct spanheap_client_attr *attr);
void spanheap_heap_unregister(struct spanheap_client *client);

/* spanheap_scav.c */
extern unsigned int spanheap_scavenge_age_ms;
extern unsigned int spanheap_scavenge_period_ms;
extern unsigned int spanheap_force_cycle_ms;
extern bool spanheap_trace;
u64 spanheap_scavenge(struct spanheap *h, unsigned long age, u64 max_pages);
void spanheap_release_all(struct spanheap *h);
void spanheap_collect(struct spanheap *h, unsigned long min_age);
int spanheap_scav_start(struct spanheap *h);
void spanheap_scav_stop(void);
void spanheap_scav_kick(void);
extern const struct kernel_param_ops spanheap_ms_ops;

/* spanheap_sysfs.c, spanheap_debugfs.c */
int spanheap_sysfs_init(struct spanheap *h);
void spanheap_sysfs_del_client(struct spanheap_client *client);
void spanheap_sysfs_exit(void);
int spanheap_sysfs_add_client(struct spanheap_client *client);
void spanheap_debugfs_init(struct spanheap *h);
void spanheap_debugfs_exit(void);

#endif /* _SPANHEAP_INTERNAL_H */
