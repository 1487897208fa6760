/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A span: one run of pages of the arena, and its record.
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

struct spanheap;
struct spanheap_client;
struct span;

#define LEAF_SHIFT	9			/* a leaf of the map: 512 pages */
#define LEAF_PAGES	(1u << LEAF_SHIFT)
#define LEAF_MASK	(LEAF_PAGES - 1)
#define GROUP_SHIFT	(2 * LEAF_SHIFT)	/* leaves whose backed pages are summed */
#define GROUP_PAGES	(1u << GROUP_SHIFT)
#define GROUP_MASK	(GROUP_PAGES - 1)
#define LEAVES_PER_GROUP	(GROUP_PAGES / LEAF_PAGES)
#define SMALL_PAGES	256u			/* from here on: the tree */
#define GROW_UNIT	(SZ_64K >> PAGE_SHIFT)
#define UNIT_PAGES	GROW_UNIT		/* how finely idle age is kept */
#define LEAF_UNITS	(LEAF_PAGES / UNIT_PAGES)
#define AGES		4u			/* idle for 0, 1, 2, and more epochs */
#define GROW_MIN	(SZ_1M >> PAGE_SHIFT)

/*
 * The state of a record. Only the owner of an OWNED or RELEASING span touches its
 * pages, and the free lists do not coalesce with such a span.
 */
enum span_state {
	SPAN_DEAD,		/* the record is not in the map */
	SPAN_FREE,		/* on a free list; on a list by age if any page is backed */
	SPAN_OWNED,		/* one task brings it into use or out of use */
	SPAN_INUSE,		/* a client has it */
	SPAN_RELEASING,		/* a releaser takes its pages away */
	SPAN_CACHED,		/* free and backed, in a CPU's cache or a depot */
	SPAN_GUARD,		/* the page without memory behind an in-use span */
};

/*
 * span.word: the state, a flag, and above them the number of times the record came
 * into use. A free compares and swaps all of it at once, so a free that was delayed
 * while the record got another life changes nothing.
 */
#define SPAN_STATE	0xffull
#define SPAN_SLOW	0x100ull		/* INUSE: the free must take the heap lock */
#define SPAN_USE	0x10000ull		/* one more use */
#define SPAN_USES	(~(SPAN_USE - 1))

/*
 * Does a sweep callback run for the span? Until the callback returns, the record
 * and its pages stay, even if the owner frees the span.
 */
enum span_sweep {
	SWEEP_NONE,
	SWEEP_RUNNING,
	SWEEP_FREED,		/* OWNED; the sweeper completes the owner's free */
};

/*
 * The record of a span. Fields are written by the owner of an OWNED, CACHED or
 * RELEASING span, or under the heap lock. Look-ups read the first group without
 * either, and validate what they read.
 */
struct span {
	u64 word;			/* SPAN_STATE, SPAN_SLOW, SPAN_USES */
	u32 start;			/* page index of the first page */
	u32 nr_pages;
	struct spanheap_client *client;	/* never NULL while in use */
	unsigned long caller;		/* allocating call site */
	u32 obj_size;			/* bytes; 0: the span is one object */

	u32 nr_released;		/* FREE, OWNED: pages without memory */
	bool needzero;			/* backed pages may hold old data */
	u8 sweep;			/* of a swept client: enum span_sweep */
	bool shared;			/* INUSE: others may refer to its pages */
	bool guarded : 1;		/* INUSE: a guard page is behind it; heap lock */
	bool guard : 1;			/* RELEASING: becomes GUARD, not FREE; heap lock */
	u32 writer;			/* the only client that wrote to the pages since they
					 * came from the system (spanheap_client.writer), or 0
					 */
	union {
		u32 epoch;		/* FREE: no backed page was last used before this epoch;
					 * set before __spanheap_put()
					 */
		u32 sweepgen;		/* INUSE, of a swept client */
		unsigned long freer;	/* CACHED: call site of the free */
	};
	union {
		struct list_head list;	/* FREE, small; spare record; busy list */
		struct rb_node node;	/* FREE, large */
		struct llist_node cached;	/* CACHED, on a shelf or on its way out;
						 * RELEASING, in spanheap.dropping
						 */
		struct span *ahead;	/* INUSE: a span likely to be freed next, to prefetch */
	};
	/* What the cached pair uses is above, in one cache line */
	struct list_head lru;		/* FREE with backed pages: in spanheap.idle, by age */
	struct rb_root specials;	/* special lock; empty unless in use */
};

/* Specials at one address are in this order */
enum special_kind {
	SPECIAL_FINALIZER,
	SPECIAL_QUEUED,			/* a finalizer that is about to run, or runs */
	SPECIAL_PROFILE,
};

/*
 * A record attached to an address in an in-use span, at most one of a kind at an
 * address. First member of a finalizer or of a profile record.
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
	DECLARE_BITMAP(backed, LEAF_PAGES);	/* atomic; written by the owner of the page */
	u8 used[LEAF_UNITS];		/* low bits of the epoch in which the last use of a page of
					 * the unit ended; written by the owners of its pages
					 */
	u16 released[LEAF_UNITS];	/* when a page of the unit went back to the system: low
					 * bits of seconds, 0: never; written as used[]
					 */
};

/* What a look-up tells of an in-use span */
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

static inline enum span_state span_state(const struct span *s)
{
	return word_state(READ_ONCE(s->word));
}

/*
 * Move s, which is the caller's alone, to another state. False: s was not in the state
 * it must have been in. That is reported once, and the caller leaves s alone. word is an
 * earlier value of s->word, and has the use count: with that, a store to s->word does not
 * wait for the store before. An allocation and a free of a cached span are four.
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
 * Take s out of use if it is still in the use in which word was read. False: it is
 * not, so that a free or resize that began then is a bad one by now.
 */
static inline bool span_claim(struct span *s, u64 word)
{
	u64 now = READ_ONCE(s->word), old;

	for (; word_state(now) == SPAN_INUSE && !((now ^ word) & SPAN_USES); now = old) {
		old = cmpxchg(&s->word, now, (now & SPAN_USES) | SPAN_OWNED);
		if (old == now)
			return true;
	}
	return false;
}

/*
 * Send the free of s, if it is in use, to the heap lock. False: it is not in use.
 * Frees of other spans never look for what this one has attached.
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

/* Has any page of a FREE or OWNED span memory? */
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

/* How many objects a span holds beyond the one that any span counts for */
static inline s64 extra_objects(u32 nr_pages, u32 obj_size)
{
	return obj_size ? (s64)(((u64)nr_pages << PAGE_SHIFT) / obj_size) - 1 : 0;
}

#endif /* _SPANHEAP_SPAN_H */
