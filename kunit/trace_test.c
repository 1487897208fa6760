// SPDX-License-Identifier: GPL-2.0
/*
 * Trace events: a replay of the events gives, at any moment, the spans in use and their
 * clients.
 */
#include <linux/prandom.h>
#include <trace/events/spanheap.h>

#include "fake_arena.h"

static struct replay {
	struct spanheap *h;
	u32 errors;		/* events that contradict earlier ones */
	u32 early_or_late;	/* spans traced while they were not OWNED */
	s64 pages;
	struct {
		u32 nr;		/* 0: no span starts here */
		char client[SPANHEAP_NAME_MAX + 1];
	} span[ARENA];
	u32 allocs, frees, resizes, refused_resizes, orphans, failed;
	int error;		/* of the last failed allocation */
	char failed_client[SPANHEAP_NAME_MAX + 1];
} *replay;

/* May run under the heap lock */
static void expect_owned(unsigned long addr)
{
	struct span *s = spanheap_span_at(replay->h, (void *)addr);

	if (!s || span_state(s) != SPAN_OWNED)
		replay->early_or_late++;
}

static u32 index_of(unsigned long addr)
{
	u32 idx = page_of(replay->h, (void *)addr);

	if (idx < ARENA)
		return idx;
	replay->errors++;
	return 0;
}

static void on_alloc(void *data, unsigned long addr, unsigned long nr_pages, gfp_t gfp,
		     unsigned long caller, const char *client)
{
	u32 idx = index_of(addr);

	expect_owned(addr);
	replay->allocs++;
	replay->errors += replay->span[idx].nr != 0;
	replay->span[idx].nr = nr_pages;
	strscpy(replay->span[idx].client, client, SPANHEAP_NAME_MAX + 1);
	replay->pages += nr_pages;
}

static void on_free(void *data, unsigned long addr, unsigned long nr_pages,
		    unsigned long caller, const char *client)
{
	u32 idx = index_of(addr);

	expect_owned(addr);
	replay->frees++;
	replay->errors += replay->span[idx].nr != nr_pages ||
			  strcmp(replay->span[idx].client, client);
	replay->span[idx].nr = 0;
	replay->pages -= nr_pages;
}

static void on_resize(void *data, unsigned long addr, unsigned long old_pages,
		      unsigned long nr_pages, bool done, unsigned long caller,
		      const char *client)
{
	u32 idx = index_of(addr);

	expect_owned(addr);
	replay->errors += replay->span[idx].nr != old_pages ||
			  strcmp(replay->span[idx].client, client);
	if (!done) {
		replay->refused_resizes++;
		return;
	}
	replay->resizes++;
	replay->span[idx].nr = nr_pages;
	replay->pages += nr_pages - old_pages;
}

static void on_orphan(void *data, unsigned long addr, unsigned long nr_pages,
		      const char *client)
{
	u32 idx = index_of(addr);

	replay->orphans++;
	replay->errors += replay->span[idx].nr != nr_pages ||
			  strcmp(replay->span[idx].client, client);
	strscpy(replay->span[idx].client, "(orphan)", SPANHEAP_NAME_MAX + 1);
}

static void on_failed(void *data, unsigned long nr_pages, gfp_t gfp, int error,
		      unsigned long caller, const char *client)
{
	replay->failed++;
	replay->error = error;
	strscpy(replay->failed_client, client, SPANHEAP_NAME_MAX + 1);
}

static void replay_begin(struct kunit *test)
{
	replay = kunit_kzalloc(test, sizeof(*replay), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, replay);
	replay->h = test->priv;
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_alloc(on_alloc, NULL), 0);
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_free(on_free, NULL), 0);
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_resize(on_resize, NULL), 0);
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_orphan(on_orphan, NULL), 0);
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_alloc_failed(on_failed, NULL), 0);
}

static void replay_stop(void)
{
	unregister_trace_spanheap_alloc_failed(on_failed, NULL);
	unregister_trace_spanheap_orphan(on_orphan, NULL);
	unregister_trace_spanheap_resize(on_resize, NULL);
	unregister_trace_spanheap_free(on_free, NULL);
	unregister_trace_spanheap_alloc(on_alloc, NULL);
	tracepoint_synchronize_unregister();
}

static void replay_end(struct kunit *test)
{
	replay_stop();
	KUNIT_EXPECT_EQ(test, replay->errors, 0);
	KUNIT_EXPECT_EQ(test, replay->early_or_late, 0);
	replay = NULL;
}

/* Remove the probes that an aborted case has left */
static void trace_exit(struct kunit *test)
{
	if (replay)
		replay_stop();
	replay = NULL;
	test_heap_exit(test);
}

static u64 replayed_pages(const char *client)
{
	u64 pages = 0;
	u32 i;

	for (i = 0; i < ARENA; i++)
		if (replay->span[i].nr && !strcmp(replay->span[i].client, client))
			pages += replay->span[i].nr;
	return pages;
}

static void *dead;	/* the span that the callback reports dead, or frees itself */
static bool free_it;

static enum spanheap_verdict give_up(void *addr, size_t nr_pages, void *priv)
{
	if (addr != dead)
		return SPANHEAP_KEEP;
	if (free_it)
		release(replay->h, addr);
	return SPANHEAP_FREE;
}

#define OPS	20000u
#define SPANS	40u

/* After each operation the replay has the same pages in use, by the same clients */
static void replay_is_what_is_in_use(struct kunit *test)
{
	static const struct spanheap_client_ops ops = { .sweep = give_up };
	const struct spanheap_client_attr attr = { .name = "swept", .ops = &ops };
	struct spanheap *h = test->priv;
	struct spanheap_client *c[3] = {	/* anonymous, swept, limited */
		NULL, spanheap_heap_register(h, &attr), new_client(h, "limited", 60),
	};
	static void *span[SPANS];
	struct rnd_state rnd;
	u32 op, i, r;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c[1]) || IS_ERR(c[2]));
	memset(span, 0, sizeof(span));
	prandom_seed_state(&rnd, 20121112);
	replay_begin(test);
	for (op = 0; op < OPS; op++) {
		i = prandom_u32_state(&rnd) % SPANS;
		r = prandom_u32_state(&rnd);
		if (!span[i]) {
			span[i] = alloc_as(h, c[r % 3], 1 + (r >> 8) % ((r >> 16) % 4 ? 8 : 120),
					   0, 0, GFP_KERNEL | __GFP_NOWARN);
		} else if (r % 4 == 0) {
			resize(h, span[i], 1 + (r >> 8) % 30);
		} else if (r % 4 == 1 && spanheap_heap_object(h, span[i])) {
			dead = span[i];
			free_it = r & 16;
			spanheap_cycle(c[1]);
			while (spanheap_sweep(c[1], 1, SMALL_PAGES) >= 0)
				;
			if (!replay->span[page_of(h, span[i])].nr)
				span[i] = NULL;
		} else {
			release(h, span[i]);
			span[i] = NULL;
		}
		KUNIT_ASSERT_EQ(test, replay->pages << PAGE_SHIFT, stats(h)->inuse_bytes);
		if (op % 64)
			continue;
		KUNIT_ASSERT_EQ(test, replayed_pages("(anonymous)"), counts(h->anon).pages);
		KUNIT_ASSERT_EQ(test, replayed_pages("swept"), counts(c[1]).pages);
		KUNIT_ASSERT_EQ(test, replayed_pages("limited"), counts(c[2]).pages);
		check(test, h);
	}
	KUNIT_EXPECT_GT(test, replay->resizes, 1000);
	KUNIT_EXPECT_GT(test, replay->refused_resizes, 100);
	KUNIT_EXPECT_GT(test, replay->frees, 4000);
	KUNIT_EXPECT_GT(test, replay->failed, 100);

	dead = NULL;
	warnings_begin();
	spanheap_heap_unregister(c[1]);
	spanheap_heap_unregister(c[2]);
	warnings_end(test, TIMES("client swept is gone and leaves ", 1),
		     TIMES("client limited is gone and leaves ", 1));
	KUNIT_EXPECT_GT(test, replay->orphans, 0);
	KUNIT_EXPECT_EQ(test, replayed_pages("(orphan)") << PAGE_SHIFT, stats(h)->orphan_bytes);
	KUNIT_EXPECT_EQ(test, replay->pages << PAGE_SHIFT, stats(h)->inuse_bytes);
	for (i = 0; i < SPANS; i++)
		release(h, span[i]);
	KUNIT_EXPECT_EQ(test, replay->pages, 0);
	replay_end(test);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

/* Failed allocations are traced with their client and error */
static void failures_are_traced(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 4);

	replay_begin(test);
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 5, 0, 0, GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_EQ(test, replay->error, -EDQUOT);
	KUNIT_EXPECT_STREQ(test, replay->failed_client, "limited");
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, ARENA + 1, 0, 0, GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_EQ(test, replay->error, -ENOSPC);
	KUNIT_EXPECT_STREQ(test, replay->failed_client, "(anonymous)");
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 0, 0, 0, GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_EQ(test, replay->error, -EINVAL);
	KUNIT_EXPECT_EQ(test, replay->failed, 3);
	KUNIT_EXPECT_EQ(test, replay->allocs, 0);
	replay_end(test);
	spanheap_heap_unregister(c);
}

static struct kunit_case trace_cases[] = {
	KUNIT_CASE(replay_is_what_is_in_use),
	KUNIT_CASE(failures_are_traced),
	{}
};

static struct kunit_suite trace_suite = {
	.name = "spanheap_trace",
	.init = test_heap_init,
	.exit = trace_exit,
	.test_cases = trace_cases,
};

static struct kunit_suite trace_cached_suite = {
	.name = "spanheap_trace_cached",
	.init = test_tuned_heap_init,
	.exit = trace_exit,
	.test_cases = trace_cases,
};

kunit_test_suites(&trace_suite, &trace_cached_suite);
