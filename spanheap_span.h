/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A span is one run of pages of the arena. Its record is struct span.
 */
#ifndef _SPANHEAP_SPAN_H
#define _SPANHEAP_SPAN_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/sizes.h>
#include <linux/types.h>

struct spanheap;
struct spanheap_client;
struct span;

#define LEAF_SHIFT	9			/* a leaf of the map: 512 pages */
#define LEAF_PAGES	(1u << LEAF_SHIFT)
#define LEAF_MASK	(LEAF_PAGES - 1)
#define LEAF_TABLE_BYTES	(LEAF_PAGES * sizeof(struct span *))
#define GROUP_SHIFT	(2 * LEAF_SHIFT)	/* a group: leaves that share a counter */
#define GROUP_PAGES	(1u << GROUP_SHIFT)
#define GROUP_MASK	(GROUP_PAGES - 1)
#define LEAVES_PER_GROUP	(GROUP_PAGES / LEAF_PAGES)
#define SMALL_PAGES	256u			/* free spans of this length are in a tree */
#define GROW_UNIT	(SZ_64K >> PAGE_SHIFT)
#define UNIT_PAGES	GROW_UNIT		/* a unit: pages that share one idle age */
#define LEAF_UNITS	(LEAF_PAGES / UNIT_PAGES)
#define AGES		4u			/* lists: idle for 0, 1, 2, 3 or more epochs */
#define GROW_MIN	(SZ_1M >> PAGE_SHIFT)

/*
 * The state of a span. Only the task that owns an OWNED or RELEASING span touches
 * the pages of that span. Freed neighbours do not coalesce with it.
 */
enum span_state {
	SPAN_DEAD,		/* the record is not in the map */
	SPAN_FREE,		/* on a free list; also on a list by age if a page is backed */
	SPAN_OWNED,		/* one task allocates, frees or resizes the span */
	SPAN_INUSE,		/* allocated to a client */
	SPAN_RELEASING,		/* one task unbacks or clears pages of the free span */
	SPAN_CACHED,		/* free and backed, in a CPU's cache or a depot */
	SPAN_GUARD,		/* the unbacked page behind an in-use span */
	SPAN_RESERVED,		/* idle and backed, in a client's reserve */
};

/*
 * span.word holds the state, a flag, and above them a count of the record's uses. A
 * free compares and swaps the whole word. If the span was freed and allocated again in
 * between, the count differs, and the late free changes nothing. models/claim.pml is a
 * model of everything that changes or reads the word.
 */
#define SPAN_STATE	0xffull
#define SPAN_SLOW	0x100ull		/* INUSE: the free must take the heap lock */
#define SPAN_USE	0x10000ull		/* one use */
#define SPAN_USES	(~(SPAN_USE - 1))

/*
 * Does a sweep callback run for the span? The span keeps its record and its pages until
 * the callback returns, even if the client frees the span.
 */
enum span_sweep {
	SWEEP_NONE,
	SWEEP_RUNNING,
	SWEEP_FREED,		/* OWNED; the sweeper completes the client's free */
};

/*
 * The record of a span. The task or cache that owns an OWNED, CACHED or RELEASING span
 * writes the fields; other writers hold the heap lock. Look-ups read the first group
 * without a lock and validate the values.
 */
struct span {
	u64 word;			/* SPAN_STATE, SPAN_SLOW, SPAN_USES */
	u32 start;			/* page index of the first page */
	u32 nr_pages;
	struct spanheap_client *client;	/* never NULL while in use */
	unsigned long caller;		/* allocating call site */
	u32 obj_size;			/* bytes; 0: the span is one object */

	u32 nr_released;		/* FREE, OWNED, RELEASING: unbacked pages */
	bool needzero;			/* backed pages may hold old data */
	u8 sweep;			/* enum span_sweep; spans of a swept client */
	bool shared;			/* INUSE: others may hold references to the pages */
	bool guarded : 1;		/* INUSE: the next page is a guard page; heap lock */
	bool guard : 1;			/* RELEASING: becomes GUARD, not FREE; heap lock */
	u32 writer;			/* spanheap_client.writer of the only client that wrote
					 * to the pages since they came from the system, or 0
					 */
	union {
		u32 epoch;		/* FREE: each backed page was last used in this epoch or
					 * later; set before __spanheap_put()
					 */
		u32 sweepgen;		/* INUSE, of a swept client */
		unsigned long freer;	/* CACHED: call site of the free */
	};
	union {
		struct list_head list;	/* FREE, small; spare record; busy list */
		struct rb_node node;	/* FREE, large */
		struct llist_node cached;	/* CACHED: shelf, or list out of a cache;
						 * RELEASING: spanheap.dropping or .freeing
						 */
		struct span *ahead;	/* INUSE: prefetched, as it is likely freed next */
		struct rcu_head rcu;	/* OWNED, to be freed after a grace period */
	};
	/* The allocation and free of a cached span use only the fields above: one cache line */
	union {
		struct list_head lru;	/* FREE with backed pages: spanheap.idle[] */
		unsigned long rcu_caller;	/* with rcu: call site of the free */
	};
	struct rb_root specials;	/* special lock; empty if the span is not in use */
};

/* The specials of one address are sorted in this order */
enum special_kind {
	SPECIAL_FINALIZER,
	SPECIAL_QUEUED,			/* a finalizer that is queued or runs */
	SPECIAL_PROFILE,
};

/*
 * A record attached to an address in an in-use span. An address has at most one of each
 * kind. A finalizer and a profile record have this as their first member.
 */
struct special {
	struct rb_node node;		/* span.specials, by (offset, kind) */
	u64 offset;			/* bytes from the start of the span */
	u8 kind;			/* enum special_kind */
};

/* A piece of the span map, allocated when the arena grows into it */
struct map_leaf {
	struct span **span;		/* first and last page of each span */
	struct map_leaf *next;		/* before the leaf is in the map */
	DECLARE_BITMAP(starts, LEAF_PAGES);	/* first pages; heap lock */
	DECLARE_BITMAP(backed, LEAF_PAGES);	/* atomic; written by the page's owner */
	u8 used[LEAF_UNITS];		/* epoch, low bits, in which a page of the unit was
					 * last used; written by the pages' owners
					 */
	u16 released[LEAF_UNITS];	/* seconds, low bits, when a page of the unit was
					 * released; 0: never; written as used[]
					 */
};

/* Result of a look-up: a copy of the fields of an in-use span */
struct span_view {
	u32 start;
	u32 nr_pages;
	u32 obj_size;
	struct spanheap_client *client;
};

/* spanheap_span.c */
void spanheap_broken(struct spanheap *h, struct span *s, enum span_state from,
		     enum span_state to);

static inline u32 span_end(const struct span *s)
{
	return s->start + s->nr_pages;
}

static inline enum span_state word_state(u64 word)
{
	return word & SPAN_STATE;
}

/*
 * The owner of s gets the exact state. So does a holder of the heap lock if s is FREE,
 * RELEASING or GUARD. Otherwise another CPU may change the state at the same time.
 */
static inline enum span_state span_state(const struct span *s)
{
	return word_state(READ_ONCE(s->word));
}

/*
 * Move s, which the caller owns, from one state to another. False: s was in a wrong
 * state. The first such span is reported, and the caller must not use s any more. word is
 * an earlier value of s->word with the same use count. With it, the store to s->word does
 * not wait for the previous store. Allocating and freeing a cached span takes four stores.
 *
 * The store needs no barrier: the next owner gets s from this CPU's cache in a section, or
 * under a lock of a depot, a shelf or the heap.
 */
static inline bool span_move_seen(struct spanheap *h, struct span *s, u64 word,
				  enum span_state from, enum span_state to)
{
	if (unlikely(span_state(s) != from)) {
		spanheap_broken(h, s, from, to);
		return false;
	}
	WRITE_ONCE(s->word, (word & SPAN_USES) | to);
	return true;
}

/* As span_move_seen(), by a caller that has not read the word before */
static inline bool span_move(struct spanheap *h, struct span *s, enum span_state from,
			     enum span_state to)
{
	return span_move_seen(h, s, READ_ONCE(s->word), from, to);
}

/*
 * Take s out of use, if s is still in the use in which the caller read *word. Sets *word to
 * the word that the claim replaced, which may have got SPAN_SLOW meanwhile. False: that use
 * has ended, so the caller's free or resize is a bad one.
 *
 * cmpxchg() is a full barrier if it succeeds. It orders the claim before all changes of the
 * record by the new owner: pairs with the smp_rmb() in spanheap_heap_lookup(). It also pairs
 * with the release of spanheap_publish(), so the new owner sees the fields of the use.
 */
static inline bool span_claim(struct span *s, u64 *word)
{
	u64 now = READ_ONCE(s->word), old;

	for (; word_state(now) == SPAN_INUSE && !((now ^ *word) & SPAN_USES); now = old) {
		old = cmpxchg(&s->word, now, (now & SPAN_USES) | SPAN_OWNED);
		if (old == now) {
			*word = now;
			return true;
		}
	}
	return false;
}

/*
 * Make the free of s take the heap lock. False: s is not in use. A free without
 * SPAN_SLOW looks neither for specials nor for references to the pages.
 *
 * cmpxchg() orders what the caller has stored before, such as span.shared, before the
 * flag. Pairs with the cmpxchg() of the claim that ends the use.
 */
static inline bool span_set_slow(struct span *s)
{
	u64 word = READ_ONCE(s->word), old;

	for (; word_state(word) == SPAN_INUSE; word = old) {
		if (word & SPAN_SLOW)
			return true;
		old = cmpxchg(&s->word, word, word | SPAN_SLOW);
		if (old == word)
			return true;
	}
	return false;
}

/* Is any page of the span backed? The span is FREE, OWNED or RELEASING. */
static inline bool has_backed(const struct span *s)
{
	return s->nr_released < s->nr_pages;
}

/* The order of large free spans: the first span that is long enough is the best fit */
static inline bool large_less(const struct span *a, const struct span *b)
{
	return a->nr_pages != b->nr_pages ? a->nr_pages < b->nr_pages :
					    a->start < b->start;
}

/* A span counts as one object. How many more does this one hold? */
static inline s64 extra_objects(u32 nr_pages, u32 obj_size)
{
	return obj_size ? (s64)(((u64)nr_pages << PAGE_SHIFT) / obj_size) - 1 : 0;
}

#endif /* _SPANHEAP_SPAN_H */
