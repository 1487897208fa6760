// SPDX-License-Identifier: GPL-2.0
/*
 * Bounds on how one task delays others. Readers of statistics do not take the heap lock.
 * A hold of that lock, an IPI and the work between two cond_resched() do not grow with
 * the machine, the span or the number of spans. The tests count steps, not time.
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

/* Readers of statistics take no lock that an allocation takes */
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
	KUNIT_EXPECT_EQ(test, times(STEPS_HOLD), 1u);	/* the test does count holds */
	spanheap_heap_unregister(c);
}

/* The identities hold even if a reader without the lock reads inconsistent counters */
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

/* A failed allocation that is not logged sums no counters over the CPUs */
static void refusal_sums_only_for_a_message(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 1);
	u32 i;

	steps_watch(h);
	for (i = 0; i < 100; i++)	/* the rate limit is 10 messages in 5 s */
		KUNIT_EXPECT_NULL(test, spanheap_heap_alloc(h, c, 2, 0, 0, GFP_KERNEL, _RET_IP_));
	KUNIT_EXPECT_LE(test, times(STEPS_SUM), 20u);
	steps_watch(h);
	for (i = 0; i < 100; i++)
		KUNIT_EXPECT_NULL(test, alloc_as(h, c, 2, 0, 0, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, times(STEPS_SUM), 0u);
	KUNIT_EXPECT_EQ(test, c->failed_allocs, 200);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 200);
	KUNIT_EXPECT_EQ(test, times(STEPS_SUM), 1u);	/* the test does count sums */
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

	/* A pause sends no IPI. A new limit sends one to CPUs that have a share of the client. */
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

/* Unregistering pauses the caches only if the client leaves spans */
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

/* The shrinker releases idle pages first, and cached ones only if these are too few */
static void shrinker_spares_the_caches(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 700), *q = alloc(h, 300);

	alloc(h, 1);	/* keeps the pages of q from coalescing */
	release(h, alloc(h, 3));
	release(h, p);
	steps_watch(h);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 512);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 0u);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 700 - 512 + 3);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	release(h, alloc(h, 3));
	release(h, q);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 300);	/* too soon to drain again */
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 512), 3);	/* drains: nothing was idle */
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

/* A new rate of the profile sends IPIs only to CPUs that have drawn a sample */
static void new_rate_visits_who_has_drawn(struct kunit *test)
{
	struct spanheap *h = test->priv;

	steps_watch(h);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 0u);
	release(h, alloc(h, 3));	/* the first allocation is sampled nevertheless */
	KUNIT_EXPECT_EQ(test, raw_cpu_ptr(h->caches.cpu)->prof_distance, 1);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 1 << 20), 0);
	KUNIT_EXPECT_EQ(test, times(STEPS_VISIT), 1u);
	KUNIT_EXPECT_EQ(test, raw_cpu_ptr(h->caches.cpu)->prof_distance, 1 << 20);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
	check(test, h);
}

/* An IPI only exchanges pointers; the spans go to the page heap later, some per hold */
static void visit_moves_pointers_only(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, 32768, 16384);
	static void *p[600];
	u32 nr, i, n;
	u64 cached;

	for (nr = 1; nr <= 16; nr += 5) {	/* fill two magazines, and the depot */
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
	/* The CPU has got empty magazines, which frees fill again */
	for (i = 0; i < n; i++)
		p[i] = alloc(h, 6);
	for (i = 0; i < n; i++)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, n * 6 * PAGE_SIZE);
	check(test, h);
	test_heap_end(h);
}

/* ---- aligned spans ---- */

#define ODD_PAGES	(128u << LEAF_SHIFT)

static int odd_reserve(struct spanheap *h, unsigned long nr)
{
	int err = nothing_reserve(h, nr);

	h->base += 3 * PAGE_SIZE;
	return err;
}

/* A heap without memory that begins at an odd page */
static struct spanheap *odd_heap(struct kunit *test)
{
	static struct arena_ops odd_ops;
	struct spanheap *h;

	odd_ops = nothing_ops;
	odd_ops.reserve = odd_reserve;
	h = test_heap_new(test, &odd_ops, ODD_PAGES, 256);
	h->anon->flags = SPANHEAP_SKIP_INIT;
	return h;
}

/* Addresses are aligned, not page indices: from caches as from the page heap */
static void cached_alignment_is_of_addresses(struct kunit *test)
{
	struct spanheap *h = odd_heap(test);
	u32 nr, round, i;
	void *p[64], *q;
	u64 slow;

	for (nr = 1; nr <= 20; nr++) {
		slow = h->allocs;
		for (round = 0; round < 4; round++) {
			for (i = 0; i < ARRAY_SIZE(p); i++)
				p[i] = alloc(h, nr);
			for (i = 0; i < ARRAY_SIZE(p); i++)
				release(h, p[i]);
			for (i = 0; i < 8; i++) {
				q = alloc_as(h, NULL, nr, PAGE_SHIFT + i, 0, GFP_KERNEL);
				KUNIT_EXPECT_TRUE(test, IS_ALIGNED((ulong)q, PAGE_SIZE << i));
				p[i] = q;
			}
			for (i = 0; i < 8; i++)
				release(h, p[i]);
		}
		KUNIT_EXPECT_LT(test, h->allocs - slow, 4 * ARRAY_SIZE(p));	/* caches served */
	}
	test_heap_end(h);
	nothing_done();
}

/* Cache n spans of nr pages, none of which is aligned to eight */
static void cache_unaligned(struct spanheap *h, u32 nr, u32 n, void **p)
{
	u32 i = 0;

	while (i < n) {
		p[i] = alloc(h, nr);
		if (!IS_ALIGNED((ulong)p[i], 8 * PAGE_SIZE))
			i++;	/* an aligned one stays in use */
	}
	while (i)
		release(h, p[--i]);
}

/* However many spans there are that are not aligned, few are looked at */
static void look_for_an_aligned_span_is_bounded(struct kunit *test)
{
	static const struct { u32 nr, n; } load[] = { { 1, 60 }, { CACHE_PAGES + 1, 40 } };
	struct spanheap *h = odd_heap(test);
	void *p[60], *q;
	u64 slow;
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(load); i++) {
		cache_unaligned(h, load[i].nr, load[i].n, p);
		slow = h->allocs;
		steps_watch(h);
		q = alloc_as(h, NULL, load[i].nr, PAGE_SHIFT + 3, 0, GFP_KERNEL);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((ulong)q, 8 * PAGE_SIZE));
		KUNIT_EXPECT_EQ(test, h->allocs, slow + 1);
		KUNIT_EXPECT_EQ(test, times(STEPS_ALIGN), 1u);
		KUNIT_EXPECT_EQ(test, most(STEPS_ALIGN), ALIGN_LOOKS);

		/* Freed, it is found with the first look, whatever else is cached */
		release(h, q);
		steps_watch(h);
		KUNIT_EXPECT_PTR_EQ(test, q, alloc_as(h, NULL, load[i].nr, PAGE_SHIFT + 3, 0,
						      GFP_KERNEL));
		KUNIT_EXPECT_EQ(test, h->allocs, slow + 1);
		KUNIT_EXPECT_LE(test, most(STEPS_ALIGN), 1u);

		/* An allocation without an alignment looks at nothing */
		steps_watch(h);
		for (k = 0; k < load[i].n; k++)
			KUNIT_EXPECT_NOT_NULL(test, alloc(h, load[i].nr));
		KUNIT_EXPECT_EQ(test, h->allocs, slow + 1);
		KUNIT_EXPECT_EQ(test, times(STEPS_ALIGN), 0u);
	}
	test_heap_end(h);
	nothing_done();
}

/* ---- holds of the heap lock ---- */

#define LARGE	SZ_4M		/* pages: a heap of 16 GiB without memory */

static struct spanheap *large_heap(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &nothing_ops, LARGE, 0);

	h->anon->flags = SPANHEAP_SKIP_INIT;
	return h;
}

/* A hold of the lock handles some leaves of the map, also when a span of 16 GiB changes */
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
	release(h, p + ((ulong)half << PAGE_SHIFT));	/* a bad free, which is reported */
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

/* A walk that resumes inside a span that was freed meanwhile */
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

/* Surplus records are freed in batches */
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

/* init_on_free: a free clears a short span itself, and leaves a long one to a worker */
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
	mutex_lock(&h->finish_lock);	/* delays the worker */
	steps_watch(h);
	release(h, r);
	KUNIT_EXPECT_EQ(test, most(STEPS_CLEAR), FREE_NOW_PAGES);
	compat_kasan_use(&h->lost, r, FREE_NOW_PAGES, true);
	KUNIT_EXPECT_NULL(test, memchr_inv(r, 0, FREE_NOW_PAGES * PAGE_SIZE));
	steps_watch(h);
	KUNIT_EXPECT_TRUE(test, spanheap_heap_resize(h, p, 600, GFP_ATOMIC, _RET_IP_));
	release(h, p);
	KUNIT_EXPECT_EQ(test, most(STEPS_CLEAR), 0u);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, counts(c).pages, 0);
	check(test, h);
	log_start();
	release(h, p);			/* a second free is a bad one */
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	spanheap_heap_unregister(c);	/* without a warning */
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("gone"), 0u);
	/* An allocation that cannot wait gets other pages */
	q = alloc_as(h, NULL, 500, 0, 0, GFP_NOWAIT);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_TRUE(test, q >= p + 1000 * PAGE_SIZE || q + 500 * PAGE_SIZE <= p);
	mutex_unlock(&h->finish_lock);

	/* An allocation that can wait gets the same pages, cleared */
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
 * Two concurrent writers of a limit would both fold the share of an offline CPU, so the
 * second writer waits for the first.
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

/* Registration and the sysfs file round a limit in the same way */
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
	KUNIT_CASE(cached_alignment_is_of_addresses),
	KUNIT_CASE(look_for_an_aligned_span_is_bounded),
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
