/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the unit tests share: a heap on an arena that can be told to fail, a clock
 * that the test sets, and a look at the kernel log.
 */
#ifndef _SPANHEAP_FAKE_ARENA_H
#define _SPANHEAP_FAKE_ARENA_H

#include <kunit/test.h>

#include "spanheap_internal.h"

#define ARENA		2048u	/* pages: 8 MiB, four leaves */
#define CHUNK		GROW_MIN	/* pages of a growth of little */

/* The arenas' state. Each case finds it as test_heap_init() leaves it. */
struct fake_arena {
	unsigned long now;	/* the clock, in ticks */
	s64 pages_left;		/* so many more can be backed */
	bool refuse_reserve;
	bool lost;		/* somebody unmapped it */
	u32 flushes;
	s64 nr_backed;		/* pages with memory, of all fake arenas */
	u32 asked_referenced;	/* times that a free looked for references */
	u32 faults;		/* pages backed twice, or unbacked when they were not */
	/* Called once, in the middle of a backing or unbacking */
	void (*in_back)(struct spanheap *h);
	void (*in_unback)(struct spanheap *h);
};

extern struct fake_arena fake;
extern const struct arena_ops fake_ops;

unsigned long fake_clock(void);
bool fake_is_backed(struct spanheap *h, u32 idx);
struct page *fake_page(struct spanheap *h, const void *addr);

/* A heap of its own: create, and destroy with whatever is still in use */
struct spanheap *test_heap_new(struct kunit *test, const struct arena_ops *ops,
			       u32 pages, unsigned int cache_kb);
void test_heap_end(struct spanheap *h);

/*
 * Of a suite: test->priv is a heap of ARENA pages: without caches, with magazines
 * of 256 KiB, and with caches of the size that the cache_kb parameter says
 */
int test_heap_init(struct kunit *test);
int test_cached_heap_init(struct kunit *test);
int test_tuned_heap_init(struct kunit *test);
void test_heap_exit(struct kunit *test);

/* A call site each, as for the callers of the exported functions */
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

/* Until the next call */
const struct spanheap_stats *stats(struct spanheap *h);
struct client_counts counts(struct spanheap_client *c);
struct spanheap_client *new_client(struct spanheap *h, const char *name, u64 limit_pages);

/* Half the age later, a tick. Returns how many pages it released. */
u64 tick(struct spanheap *h);

/* A copy of the span that starts at page idx, whatever its state */
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

/* Every invariant, and the counters against each other and the arena's own */
void check(struct kunit *test, struct spanheap *h);

/* From here on the steps of this heap are counted, see spanheap_steps.h */
void steps_watch(struct spanheap *h);

/* What the kernel logs from log_start() to log_stop() */
void log_start(void);
unsigned int log_stop(void);		/* characters */
unsigned int log_count(const char *needle);

/* Have fn called at a point of the heap's code, see spanheap_hook.h; until unhook() */
void hook_at(enum spanheap_hook_point point, void (*fn)(struct spanheap *h));
unsigned int unhook(void);		/* how often it was called */

/*
 * Between these a case provokes warnings, each of which it names: by a text that is in no
 * other line, and how often it comes, or ONCE since boot (WARN_ONCE). Any further warning,
 * and a report of any other kind, fails the case. tools/kunit overlooks the warnings, and
 * nothing else, in between.
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
