// SPDX-License-Identifier: GPL-2.0
/*
 * What one task does to others: no reader takes the heap lock, and no hold of that
 * lock, no interrupt and no work without giving way grows with the machine, with the
 * span or with the number of spans. Steps are counted, not time.
 */
#include <linux/completion.h>
#include <linux/jump_label.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

#include <compat/kasan.h>

#include "fake_arena.h"
#include "nothing_arena.h"

static u32 times(enum spanheap_steps_of of)
{
	return spanheap_steps[of].times;
}

static u32 most(enum spanheap_steps_of of)
{
	return spanheap_steps[of].most;
}

/* ---- readers ---- */

/* Whoever reads a number takes no lock that an allocation takes */
static void readers_take_no_lock(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "read", 0);
	void *p = alloc_as(h, c, 300, 0, 0, GFP_KERNEL);
	struct spanheap_stats st;

	steps_watch(h);
	st = *stats(h);
	KUNIT_EXPECT_EQ(test, st.inuse_bytes, 300 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, counts(c).pages, 300);
	spanheap_heap_stats(h, &st, false);
	KUNIT_EXPECT_EQ(test, st.resident_bytes, 300 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, times(STEPS_SUM), 1u);
	KUNIT_EXPECT_EQ(test, times(STEPS_HOLD), 0u);
	release(h, p);
	KUNIT_EXPECT_EQ(test, times(STEPS_HOLD), 1u);	/* holds are seen */
	spanheap_heap_unregister(c);
}

/* Identities hold for any numbers that a reader without the lock may meet */
static void torn_counters_still_add_up(struct kunit *test)
{
	static const struct { u32 used; u64 unlisted, released; s64 uncached; } torn[] = {
		{ 100, 150, 0, 0 }, { 100, 60, 70, 0 }, { 0, 10, 10, 0 },
		{ 100, 60, 20, -1000 }, { 100, 60, 40, 1000 }, { 100, 0, 200, -50 },
	};
	struct spanheap *h = test->priv;
	struct spanheap_stats st;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(torn); i++) {
		h->used = torn[i].used;
		h->unlisted_pages = torn[i].unlisted;
		h->released_pages = torn[i].released;
		h->uncached_pages = torn[i].uncached;
		st = *stats(h);
		KUNIT_EXPECT_EQ(test, st.sys_bytes, st.inuse_bytes + st.idle_bytes);
		KUNIT_EXPECT_EQ(test, st.resident_bytes, st.sys_bytes - st.released_bytes);
		KUNIT_EXPECT_LE(test, st.released_bytes + st.cached_bytes, st.idle_bytes);
		KUNIT_EXPECT_LE(test, st.idle_bytes, st.sys_bytes);
		KUNIT_EXPECT_LE(test, st.resident_bytes, st.sys_bytes);
	}
	h->used = 0;
	h->unlisted_pages = 0;
	h->released_pages = 0;
	h->uncached_pages = 0;
	check(test, h);
}

/* A refusal that is not logged sums nothing over the CPUs */
static void refusal_sums_only_for_a_message(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 1);
	u32 i;

	steps_watch(h);
	for (i = 0; i < 100; i++)	/* 10 in 5 s are logged */
		KUNIT_EXPECT_NULL(test, spanheap_heap_alloc(h, c, 2, 0, 0, GFP_KERNEL, _RET_IP_));
	KUNIT_EXPECT_LE(test, times(STEPS_SUM), 20u);
	steps_watch(h);
	for (i = 0; i < 100; i++)
		KUNIT_EXPECT_NULL(test, alloc_as(h, c, 2, 0, 0, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, times(STEPS_SUM), 0u);
	KUNIT_EXPECT_EQ(test, c->failed_allocs, 200);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 200);
	KUNIT_EXPECT_EQ(test, times(STEPS_SUM), 1u);	/* sums are seen */
	spanheap_heap_unregister(c);
}

/* ---- other CPUs ---- */

static void drain_visits_who_has_spans(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 0);
	void *p;

	steps_watch(h);
	spanheap_cache_drain(h);
	spanheap_scavenge(h, 0, U64_MAX);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 0u);
	release(h, alloc(h, 3));	/* in a magazine */
	spanheap_cache_drain(h);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	release(h, alloc(h, 100));	/* in a slot */
	spanheap_cache_drain(h);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 2u);
	spanheap_cache_drain(h);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 2u);
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 0);

	/* A pause interrupts nobody, a new limit those that have a share of the client */
	spanheap_cache_pause(&h->caches);
	spanheap_cache_resume(&h->caches);
	spanheap_set_limit(c, 10);
	spanheap_set_limit(c, 0);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 2u);
	release(h, alloc(h, 3));
	p = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);
	spanheap_set_limit(c, 10);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 3u);
	KUNIT_EXPECT_EQ(test, atomic64_read(&c->pages), 3);
	release(h, p);
	spanheap_set_limit(c, 20);
	spanheap_heap_unregister(c);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 3u);
	check(test, h);
}

/* A client that has freed its spans goes without a wait; one that leaves some does not */
static void tidy_client_disturbs_nobody(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c;
	void *p[3];
	u32 i, k;

	steps_watch(h);
	for (i = 0; i < 20; i++) {
		c = new_client(h, "tidy", i % 2 ? 1000 : 0);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c));
		for (k = 0; k < ARRAY_SIZE(p); k++)
			p[k] = alloc_as(h, c, 1 + i, 0, 0, GFP_KERNEL);
		KUNIT_EXPECT_TRUE(test, resize(h, p[2], 1 + i / 2));
		for (k = 0; k < ARRAY_SIZE(p); k++)
			release(h, p[k]);
		spanheap_heap_unregister(c);
	}
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 0u);
	KUNIT_EXPECT_EQ(test, times(STEPS_PAUSE), 0u);
	c = new_client(h, "leaky", 0);
	p[0] = alloc_as(h, c, 1, 0, 0, GFP_KERNEL);
	warnings_begin();
	spanheap_heap_unregister(c);
	warnings_end(test, TIMES("client leaky is gone and leaves 1 spans", 1));
	KUNIT_EXPECT_EQ(test, times(STEPS_PAUSE), 1u);
	KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, PAGE_SIZE);
	release(h, p[0]);
	check(test, h);
}

/* Memory pressure takes what is idle first, and what is cached if that fell short */
static void shrinker_spares_the_caches(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 700), *q = alloc(h, 300);

	alloc(h, 1);	/* what q had stays apart */
	release(h, alloc(h, 3));
	release(h, p);
	steps_watch(h);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 512);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 0u);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 700 - 512 + 3);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	release(h, alloc(h, 3));
	release(h, q);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 300);	/* not again so soon, */
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 3);	/* ... but for nothing else */
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 2u);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 0);
	release(h, alloc(h, 3));
	q = alloc(h, 300);
	release(h, q);
	fake.now += HZ;
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 303);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 3u);
	check(test, h);
}

/* A new rate of the profile is for those CPUs that have drawn a sample */
static void new_rate_visits_who_has_drawn(struct kunit *test)
{
	struct spanheap *h = test->priv;

	steps_watch(h);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 0u);
	release(h, alloc(h, 3));	/* and yet the first one is sampled */
	KUNIT_EXPECT_EQ(test, raw_cpu_ptr(h->caches.cpu)->prof_distance, 1);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 1 << 20), 0);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	KUNIT_EXPECT_EQ(test, raw_cpu_ptr(h->caches.cpu)->prof_distance, 1 << 20);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
	check(test, h);
}

/* What is chained is chained outside, and in holds of some spans each */
static void visit_moves_pointers_only(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, 32768, 16384);
	static void *p[600];
	u32 nr, i, n;
	u64 cached;

	for (nr = 1; nr <= 16; nr += 5) {	/* two full magazines, and the depot's */
		for (n = 0; n < ARRAY_SIZE(p); n++)
			p[n] = alloc(h, nr);
		for (i = 0; i < n; i++)
			release(h, p[i]);
	}
	cached = stats(h)->cached_bytes >> PAGE_SHIFT;
	KUNIT_EXPECT_EQ(test, cached, 600 * (1 + 6 + 11 + 16));
	steps_watch(h);
	spanheap_cache_drain(h);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	KUNIT_EXPECT_LE(test, most(STEPS_VISIT), 2 * CACHE_PAGES + CACHE_SLOTS);
	KUNIT_EXPECT_GE(test, most(STEPS_VISIT), 1u);
	KUNIT_EXPECT_LE(test, most(STEPS_HOLD), HOLD_SPANS);
	KUNIT_EXPECT_GE(test, most(STEPS_HOLD), HOLD_WANTED);
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 0);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	check(test, h);
	/* The CPU got empty magazines for its full ones, and fills them again */
	for (i = 0; i < n; i++)
		p[i] = alloc(h, 6);
	for (i = 0; i < n; i++)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, n * 6 * PAGE_SIZE);
	check(test, h);
	test_heap_end(h);
}

/* ---- holds of the heap lock ---- */

#define LARGE	SZ_4M		/* pages of a heap of 16 GiB that has no memory */

static struct spanheap *large_heap(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &nothing_ops, LARGE, 0);

	h->anon->flags = SPANHEAP_SKIP_INIT;
	return h;
}

/* 16 GiB are grown into, resized, looked at and freed, some leaves of the map at a time */
static void hold_is_bounded_for_a_huge_span(struct kunit *test)
{
	struct spanheap *h = large_heap(test);
	u32 half = LARGE / 2;
	char why[128];
	void *p, *q;

	steps_watch(h);
	p = alloc(h, half);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_LE(test, most(STEPS_HOLD), 2 * HOLD_LEAVES);
	KUNIT_EXPECT_GE(test, times(STEPS_HOLD), half / LEAF_PAGES / HOLD_LEAVES);
	KUNIT_EXPECT_EQ(test, h->nr_map_leaves, half / LEAF_PAGES);
	steps_watch(h);
	KUNIT_EXPECT_TRUE(test, resize(h, p, half + 1));
	KUNIT_EXPECT_LE(test, most(STEPS_HOLD), 8u);
	KUNIT_EXPECT_TRUE(test, resize(h, p, LARGE - 1));
	KUNIT_EXPECT_LE(test, most(STEPS_HOLD), 2 * HOLD_LEAVES);
	KUNIT_EXPECT_PTR_EQ(test, spanheap_heap_object(h, p + (LARGE - 2ul) * PAGE_SIZE), p);
	KUNIT_EXPECT_PTR_EQ(test, spanheap_heap_object(h, p + ((ulong)half << PAGE_SHIFT)), p);

	steps_watch(h);
	KUNIT_EXPECT_EQ(test, spanheap_check(h, why, sizeof(why)), 0);
	KUNIT_EXPECT_GE(test, most(STEPS_HOLD), 100u);
	KUNIT_EXPECT_LE(test, most(STEPS_HOLD), 4 * HOLD_LEAVES);
	release(h, p + ((ulong)half << PAGE_SHIFT));	/* a report of what is wrong */
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_LE(test, most(STEPS_HOLD), 4 * HOLD_LEAVES);
	steps_watch(h);
	q = alloc(h, 1);
	release(h, p);
	KUNIT_EXPECT_LE(test, most(STEPS_HOLD), 8u);
	release(h, q);
	KUNIT_EXPECT_EQ(test, spanheap_check(h, why, sizeof(why)), 0);
	test_heap_end(h);
	nothing_done();
}

/* A walk that lost its place inside a span that is free by now */
static void walk_goes_on_in_steps(struct kunit *test)
{
	struct spanheap *h = large_heap(test);
	u32 idx = 1, steps = 0;
	struct span *s;

	KUNIT_ASSERT_NOT_NULL(test, alloc(h, LARGE - 1));
	KUNIT_ASSERT_NOT_NULL(test, alloc(h, 1));
	steps_watch(h);
	do {
		spin_lock_irq(&h->lock);
		steps_begin(STEPS_HOLD, &h->lock);
		s = __spanheap_walk(h, &idx);
		steps_end(STEPS_HOLD, &h->lock);
		spin_unlock_irq(&h->lock);
		steps++;
	} while (!s && idx < LARGE);
	KUNIT_ASSERT_NOT_NULL(test, s);
	KUNIT_EXPECT_EQ(test, s->start, LARGE - 1);
	KUNIT_EXPECT_EQ(test, steps, LARGE / LEAF_PAGES / HOLD_LEAVES);
	KUNIT_EXPECT_EQ(test, most(STEPS_HOLD), HOLD_LEAVES);
	test_heap_end(h);
	nothing_done();
}

/* Records that coalescing left go back some at a time */
static void records_are_trimmed_in_batches(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 0);
	static void *p[1000];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = alloc(h, 1);
	for (i = 0; i < ARRAY_SIZE(p); i++)
		release(h, p[i]);
	i = h->nr_spare;
	KUNIT_ASSERT_GT(test, i, 900u);
	steps_watch(h);
	spanheap_trim_records(h);
	KUNIT_EXPECT_LE(test, h->nr_spare, 64u);
	KUNIT_EXPECT_EQ(test, most(STEPS_HOLD), HOLD_SPANS);
	KUNIT_EXPECT_LE(test, times(STEPS_HOLD), i / HOLD_SPANS + 1);
	KUNIT_EXPECT_EQ(test, stats(h)->span_meta_bytes,
			(h->nr_spare + 1) * sizeof(struct span));
	check(test, h);
	test_heap_end(h);
}

/* ---- clearing what is freed ---- */

/* init_on_free: a free clears some pages itself, and leaves more to somebody who may sleep */
static void long_span_is_cleared_by_a_worker(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "clean", 1300);
	bool was_on = want_init_on_free();
	u8 *p, *q, *r;

	static_branch_enable(&init_on_free);
	p = alloc_as(h, c, 1000, 0, 0, GFP_KERNEL);
	r = alloc_as(h, c, FREE_NOW_PAGES, 0, 0, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, p && r);
	memset(p, 1, 1000 * PAGE_SIZE);
	memset(r, 1, FREE_NOW_PAGES * PAGE_SIZE);
	mutex_lock(&h->finish_lock);	/* nobody completes the free yet */
	steps_watch(h);
	release(h, r);
	KUNIT_EXPECT_EQ(test, most(STEPS_CLEAR), FREE_NOW_PAGES);
	compat_kasan_use(r, FREE_NOW_PAGES, true);
	KUNIT_EXPECT_NULL(test, memchr_inv(r, 0, FREE_NOW_PAGES * PAGE_SIZE));
	steps_watch(h);
	KUNIT_EXPECT_TRUE(test, spanheap_heap_resize(h, p, 600, GFP_ATOMIC, _RET_IP_));
	release(h, p);
	KUNIT_EXPECT_EQ(test, most(STEPS_CLEAR), 0u);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, counts(c).pages, 0);
	check(test, h);
	log_start();
	release(h, p);			/* meanwhile it is a bad free */
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	spanheap_heap_unregister(c);	/* silently */
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("gone"), 0u);
	/* What cannot wait takes other pages */
	q = alloc_as(h, NULL, 500, 0, 0, GFP_NOWAIT);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_TRUE(test, q >= p + 1000 * PAGE_SIZE || q + 500 * PAGE_SIZE <= p);
	mutex_unlock(&h->finish_lock);

	/* What can wait takes the same pages again, and finds them clear */
	r = alloc_as(h, NULL, 1000, 0, 0, GFP_KERNEL | __GFP_ZERO);
	KUNIT_EXPECT_PTR_EQ(test, r, p);
	KUNIT_EXPECT_NULL(test, memchr_inv(r, 0, 1000 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, most(STEPS_CLEAR), 1u);
	release(h, q);
	release(h, r);
	flush_work(&h->free_work);
	KUNIT_EXPECT_EQ(test, h->nr_releasing, 0u);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 1000 + 500 + FREE_NOW_PAGES);
	if (!was_on)
		static_branch_disable(&init_on_free);
	check(test, h);
}

/* ---- limits ---- */

struct limit_writer {
	struct spanheap_client *c;
	struct completion done;
};

static int write_limit(void *data)
{
	struct limit_writer *w = data;

	spanheap_set_limit(w->c, 5);
	complete_all(&w->done);
	return 0;
}

/*
 * Two writers of a limit at once would both fold the share of a CPU that is offline:
 * the second waits for the first.
 */
static void one_writer_of_a_limit_at_a_time(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct limit_writer w = { .c = new_client(h, "limited", 0) };
	void *p = alloc_as(h, w.c, 2, 0, 0, GFP_KERNEL);

	release(h, p);
	p = alloc_as(h, w.c, 2, 0, 0, GFP_KERNEL);	/* charged to the CPU's share */
	init_completion(&w.done);
	mutex_lock(&w.c->limit_lock);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(write_limit, &w, "spanheap_limit")));
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&w.done, HZ / 10), 0ul);
	KUNIT_EXPECT_EQ(test, w.c->limit_pages, 0);
	mutex_unlock(&w.c->limit_lock);
	wait_for_completion(&w.done);
	KUNIT_EXPECT_EQ(test, w.c->limit_pages, 5);
	KUNIT_EXPECT_EQ(test, atomic64_read(&w.c->pages), 2);
	release(h, p);
	spanheap_heap_unregister(w.c);
	check(test, h);
}

/* Registration and the sysfs file round a limit by the same rule */
static void limit_is_rounded_in_one_way(struct kunit *test)
{
	static const struct { u64 bytes, pages; } limit[] = {
		{ 0, 0 }, { 1, 1 }, { PAGE_SIZE - 1, 1 }, { PAGE_SIZE, 1 },
		{ 2 * PAGE_SIZE - 1, 1 }, { 2 * PAGE_SIZE, 2 }, { U64_MAX, U64_MAX >> PAGE_SHIFT },
	};
	struct spanheap *h = test->priv;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(limit); i++) {
		const struct spanheap_client_attr attr = {
			.name = "limited", .limit_bytes = limit[i].bytes,
		};
		struct spanheap_client *c = spanheap_heap_register(h, &attr);

		KUNIT_EXPECT_EQ(test, c->limit_pages, limit[i].pages);
		KUNIT_EXPECT_EQ(test, limit_to_pages(limit[i].bytes), limit[i].pages);
		spanheap_heap_unregister(c);
	}
}

static struct kunit_case bounds_cases[] = {
	KUNIT_CASE(readers_take_no_lock),
	KUNIT_CASE(torn_counters_still_add_up),
	KUNIT_CASE(refusal_sums_only_for_a_message),
	KUNIT_CASE(drain_visits_who_has_spans),
	KUNIT_CASE(tidy_client_disturbs_nobody),
	KUNIT_CASE(shrinker_spares_the_caches),
	KUNIT_CASE(new_rate_visits_who_has_drawn),
	KUNIT_CASE(visit_moves_pointers_only),
	KUNIT_CASE(hold_is_bounded_for_a_huge_span),
	KUNIT_CASE(walk_goes_on_in_steps),
	KUNIT_CASE(records_are_trimmed_in_batches),
	KUNIT_CASE(long_span_is_cleared_by_a_worker),
	KUNIT_CASE(one_writer_of_a_limit_at_a_time),
	KUNIT_CASE(limit_is_rounded_in_one_way),
	{}
};

static struct kunit_suite bounds_suite = {
	.name = "spanheap_bounds",
	.init = test_cached_heap_init,
	.exit = test_heap_exit,
	.test_cases = bounds_cases,
};

kunit_test_suite(bounds_suite);
