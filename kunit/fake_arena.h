/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the unit tests: a heap on an arena that can be told to fail, a clock that
 * the test sets, and a copy of the kernel log.
 */
#ifndef _SPANHEAP_FAKE_ARENA_H
#define _SPANHEAP_FAKE_ARENA_H

#include <kunit/test.h>

#include "spanheap_internal.h"

#define ARENA		2048u	/* pages: 8 MiB, four leaves */
#define CHUNK		GROW_MIN	/* pages of the smallest growth */

/* State of all fake arenas. test_heap_init() resets it before each case. */
struct fake_arena {
	unsigned long now;	/* the clock, in ticks */
	s64 pages_left;		/* how many more pages can be backed */
	bool refuse_reserve;
	bool lost;		/* as if vfree() had unmapped the arena */
	int node;		/* node of pages that are backed without a node */
	u32 flushes;
	s64 nr_backed;		/* pages with memory, of all fake arenas */
	u32 asked_referenced;	/* how often a free checked for references */
	u32 faults;		/* pages backed twice, or unbacked twice */
	/* Called once, in the middle of a backing or unbacking */
	void (*in_back)(struct spanheap *h);
	void (*in_unback)(struct spanheap *h);
};

extern struct fake_arena fake;
extern const struct arena_ops fake_ops;

unsigned long fake_clock(void);
bool fake_is_backed(struct spanheap *h, u32 idx);
struct page *fake_page(struct spanheap *h, const void *addr);

/* Create a heap of the case's own, and destroy it with all spans still in use */
struct spanheap *test_heap_new(struct kunit *test, const struct arena_ops *ops,
			       u32 pages, unsigned int cache_kb);
void test_heap_end(struct spanheap *h);

/*
 * Init functions of a suite. test->priv is a heap of ARENA pages: without caches, with
 * magazines of 256 KiB, or with caches of the size of the cache_kb parameter.
 */
int test_heap_init(struct kunit *test);
int test_cached_heap_init(struct kunit *test);
int test_tuned_heap_init(struct kunit *test);
void test_heap_exit(struct kunit *test);

/* Not inlined, so that each call has a call site, as calls of exported functions have */
void *alloc_as(struct spanheap *h, struct spanheap_client *client, size_t nr,
	       unsigned int align_shift, size_t obj_size, gfp_t gfp);
void release(struct spanheap *h, const void *addr);
bool resize(struct spanheap *h, void *addr, size_t nr);

static __always_inline void *alloc(struct spanheap *h, size_t nr)
{
	return alloc_as(h, NULL, nr, 0, 0, GFP_KERNEL);
}

static __always_inline void *zalloc(struct spanheap *h, size_t nr)
{
	return alloc_as(h, NULL, nr, 0, 0, GFP_KERNEL | __GFP_ZERO);
}

/* The result is valid until the next call */
const struct spanheap_stats *stats(struct spanheap *h);
struct client_counts counts(struct spanheap_client *c);
struct spanheap_client *new_client(struct spanheap *h, const char *name, u64 limit_pages);

/* Advance the clock by half the age and run a tick. Returns how many pages it released. */
u64 tick(struct spanheap *h);

/* A copy of the span that starts at page idx, in any state */
struct span peek(struct spanheap *h, u32 idx);

static inline enum span_state peek_state(struct spanheap *h, u32 idx)
{
	struct span s = peek(h, idx);

	return span_state(&s);
}

static inline u32 page_of(struct spanheap *h, const void *addr)
{
	return (addr - h->base) >> PAGE_SHIFT;
}

/* Check every invariant, and compare the counters with each other and with the arena */
void check(struct kunit *test, struct spanheap *h);

/* Count the steps of this heap from now on, see spanheap_steps.h */
void steps_watch(struct spanheap *h);

/* Record the messages that the kernel logs between log_start() and log_stop() */
void log_start(void);
unsigned int log_stop(void);		/* returns the number of characters */
unsigned int log_count(const char *needle);

/* Until unhook(), call fn at a point of the heap's code, see spanheap_hook.h */
void hook_at(enum spanheap_hook_point point, void (*fn)(struct spanheap *h));
unsigned int unhook(void);		/* returns how often fn was called */

/*
 * A case provokes warnings between warnings_begin() and warnings_end(). It gives for each
 * a text that is in no other line, and how often the warning comes, or ONCE since boot
 * (WARN_ONCE). Any other warning or report fails the case. tools/kunit ignores warnings,
 * and nothing else, between the two.
 */
struct expected_warning {
	const char *text;
	unsigned int times;
	bool once;
};

#define ONCE(text)		{ text, 0, true }
#define TIMES(text, n)		{ text, n, false }
#define warnings_end(test, ...)						\
	warnings_end_list(test, (const struct expected_warning[]) { __VA_ARGS__, {} })

void warnings_begin(void);
void warnings_end_list(struct kunit *test, const struct expected_warning *list);

#endif /* _SPANHEAP_FAKE_ARENA_H */
