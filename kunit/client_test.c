// SPDX-License-Identifier: GPL-2.0
/*
 * Clients: registration, limits, counters, and orphans. Each case runs without and with
 * per-CPU caches.
 */
#include <linux/delay.h>

#include "fake_arena.h"

/* Registration refuses what could not be a sysfs folder of its own */
static void bad_registrations_are_refused(struct kunit *test)
{
	static char long_name[SPANHEAP_NAME_MAX + 2];
	const struct { const char *name; unsigned int flags; int err; } bad[] = {
		{ NULL, 0, -EINVAL }, { "", 0, -EINVAL }, { "a/b", 0, -EINVAL },
		{ "/", 0, -EINVAL }, { ".", 0, -EINVAL }, { "..", 0, -EINVAL },
		{ long_name, 0, -EINVAL }, { "flags", SPANHEAP_GUARD << 1, -EINVAL },
		{ "flags", SPANHEAP_SKIP_INIT | 1u << 31, -EINVAL }, { "twice", 0, -EEXIST },
	};
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "twice", 0), *d;
	u32 i;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	memset(long_name, 'x', SPANHEAP_NAME_MAX + 1);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct spanheap_client_attr attr = {
			.name = bad[i].name, .flags = bad[i].flags,
		};

		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR(spanheap_heap_register(h, &attr)),
				    bad[i].err, "registration %u", i);
	}
	KUNIT_EXPECT_EQ(test, PTR_ERR(spanheap_heap_register(h, NULL)), -EINVAL);
	long_name[SPANHEAP_NAME_MAX] = 0;	/* the longest name that is allowed */
	d = new_client(h, long_name, 0);
	KUNIT_EXPECT_FALSE(test, IS_ERR(d));
	spanheap_heap_unregister(c);
	c = new_client(h, "twice", 0);
	KUNIT_EXPECT_FALSE(test, IS_ERR(c));
	spanheap_heap_unregister(c);
	spanheap_heap_unregister(d);
	KUNIT_EXPECT_TRUE(test, list_empty(&h->clients));
	check(test, h);
}

/* M4, M15, M35: a client counts its own spans, and the heap counts their sum */
static void spans_are_counted_to_their_client(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *a = new_client(h, "a", 0), *b = new_client(h, "b", 100);
	void *p[20];
	struct span_view s;
	u32 i;

	for (i = 0; i < 20; i++)
		p[i] = alloc_as(h, i % 2 ? a : b, 1 + i % 4, 0, 0, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, counts(a).pages, 10 * 3);	/* 2 and 4 pages */
	KUNIT_EXPECT_EQ(test, counts(b).pages, 10 * 2);	/* 1 and 3 */
	KUNIT_EXPECT_EQ(test, counts(a).allocs, 10);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 50 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, counts(h->anon).allocs, 0);
	KUNIT_EXPECT_TRUE(test, spanheap_heap_lookup(h, p[3] + 100, &s));
	KUNIT_EXPECT_PTR_EQ(test, s.client, a);
	for (i = 0; i < 20; i++)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, counts(a).pages, 0);
	KUNIT_EXPECT_EQ(test, counts(a).frees, 10);
	KUNIT_EXPECT_EQ(test, counts(a).peak, 30);
	KUNIT_EXPECT_EQ(test, counts(b).peak, 20);
	KUNIT_EXPECT_EQ(test, stats(h)->frees, 20);
	/* The next client that allocates a cached span is charged */
	p[0] = alloc_as(h, a, 1, 0, 0, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, counts(a).pages, 1);
	KUNIT_EXPECT_EQ(test, counts(b).pages, 0);
	spanheap_cache_drain(h);	/* otherwise the cached spans prevent the growth */
	KUNIT_EXPECT_TRUE(test, resize(h, p[0], 5));
	KUNIT_EXPECT_EQ(test, counts(a).pages, 5);
	release(h, p[0]);
	KUNIT_EXPECT_EQ(test, counts(a).pages, 0);
	spanheap_heap_unregister(a);
	spanheap_heap_unregister(b);
	check(test, h);
}

/* A client gets the last page of its limit, and no page more */
static void limit_is_exact(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 10);
	void *p[10], *q;
	u32 i;

	for (i = 0; i < 10; i++)
		KUNIT_EXPECT_NOT_NULL(test, p[i] = alloc_as(h, c, 1, 0, 0, GFP_KERNEL));
	for (i = 0; i < 10; i++) {
		KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_KERNEL));
		KUNIT_EXPECT_FALSE(test, resize(h, p[9], 2));
		release(h, p[i]);
		KUNIT_EXPECT_NULL(test, alloc_as(h, c, 2, 0, 0, GFP_KERNEL));
		p[i] = alloc_as(h, c, 1, 0, 0, GFP_KERNEL);
		KUNIT_EXPECT_NOT_NULL(test, p[i]);
	}
	KUNIT_EXPECT_EQ(test, c->failed_allocs, 20);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 20);
	KUNIT_EXPECT_EQ(test, counts(c).peak, 10);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 100));	/* others are not limited */

	spanheap_set_limit(c, 5);	/* less than c has: c gets no more pages */
	for (i = 0; i < 6; i++) {
		KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_KERNEL));
		release(h, p[i]);
	}
	KUNIT_EXPECT_NOT_NULL(test, p[0] = alloc_as(h, c, 1, 0, 0, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_KERNEL));
	spanheap_set_limit(c, 0);	/* no limit */
	q = alloc_as(h, c, 200, 0, 0, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, q);
	release(h, q);
	release(h, alloc(h, 3));
	for (i = 0; i < 20; i++)	/* with caches, these are counted per CPU */
		release(h, alloc_as(h, c, 3, 0, 0, GFP_KERNEL));
	q = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);
	spanheap_set_limit(c, 8);	/* exact again: 5 + 3 */
	KUNIT_EXPECT_EQ(test, counts(c).pages, 8);
	release(h, alloc(h, 1));	/* a cached span, which c must not get */
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_KERNEL));
	release(h, q);
	release(h, p[0]);
	for (i = 6; i < 10; i++)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, counts(c).pages, 0);
	KUNIT_EXPECT_EQ(test, counts(c).peak, 205);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* The peak includes spans from caches, which are counted on the CPU */
static void peak_outlives_the_spans(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "peak", 0);
	void *p[10];
	u32 i, round;

	for (i = 0; i < 10; i++)
		p[i] = alloc(h, 3);
	for (round = 1; round <= 10; round += 3) {
		for (i = 0; i < 10; i++)	/* into the caches, if there are any */
			release(h, p[i]);
		for (i = 0; i < 10; i++)
			p[i] = alloc_as(h, i < round ? c : NULL, 3, 0, 0, GFP_KERNEL);
		KUNIT_EXPECT_EQ(test, counts(c).pages, 3 * round);
		KUNIT_EXPECT_EQ(test, counts(c).peak, 3 * round);
	}
	for (i = 0; i < 10; i++) {
		release(h, p[i]);
		KUNIT_EXPECT_EQ(test, counts(c).peak, 30);
	}
	spanheap_heap_unregister(c);
	check(test, h);
}

static void limit_below_a_page_is_a_page(struct kunit *test)
{
	const struct spanheap_client_attr attr = { .name = "small", .limit_bytes = 1 };
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *p = alloc_as(h, c, 1, 0, 0, GFP_KERNEL);

	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_KERNEL));
	release(h, p);
	spanheap_heap_unregister(c);
}

/* After a failed backing or resize a limited client is not charged */
static void failure_is_not_charged(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 50);
	void *p;

	fake.pages_left = 20;
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 40, 0, 0, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, counts(c).pages, 0);
	p = alloc_as(h, c, 10, 0, 0, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_FALSE(test, resize(h, p, 30));
	KUNIT_EXPECT_EQ(test, counts(c).pages, 10);
	KUNIT_EXPECT_EQ(test, counts(c).allocs, 1);
	release(h, p);
	spanheap_heap_unregister(c);
	check(test, h);
}

/*
 * If a client is unregistered with spans in use, the kernel log says so and lists the
 * first ten by address. The spans stay allocated until they are freed.
 */
static void spans_of_a_gone_client_are_orphans(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "leaky", 0), *d = new_client(h, "other", 0);
	static void *p[200];
	void *other;
	struct span_view s;
	u32 i;

	other = alloc_as(h, d, 2, 0, 0, GFP_KERNEL);
	for (i = 0; i < 200; i++) {
		p[i] = alloc_as(h, c, 1 + i % 3, 0, 0, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	for (i = 0; i < 100; i++)
		release(h, p[i]);
	log_start();
	warnings_begin();
	spanheap_heap_unregister(c);
	warnings_end(test, TIMES("client leaky is gone and leaves 100 spans, 200 pages", 1));
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("client leaky is gone and leaves 100 spans, 200 pages"),
			1u);
	KUNIT_EXPECT_EQ(test, log_count(", 2 pages, allocated by spans_of_a_gone"), 4u);
	KUNIT_EXPECT_EQ(test, log_count(" pages, allocated by spans_of_a_gone"), 10u);
	KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, 200 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, counts(d).pages, 2);
	KUNIT_EXPECT_TRUE(test, spanheap_heap_lookup(h, p[100], &s));
	KUNIT_EXPECT_PTR_EQ(test, s.client, h->orphan);
	KUNIT_EXPECT_TRUE(test, h->pinned);
	check(test, h);

	KUNIT_EXPECT_TRUE(test, resize(h, p[199], 1));	/* from 2 pages */
	KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, 199 * PAGE_SIZE);
	for (i = 100; i < 200; i++) {
		KUNIT_EXPECT_TRUE(test, h->pinned);
		release(h, p[i]);
	}
	KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, 0);
	KUNIT_EXPECT_FALSE(test, h->pinned);	/* the module may go */
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	release(h, other);
	spanheap_heap_unregister(d);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
}

/* A client without spans in use is unregistered silently, even if caches have its spans */
static void tidy_client_goes_silently(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "tidy", 0);

	release(h, alloc_as(h, c, 2, 0, 0, GFP_KERNEL));
	log_start();
	spanheap_heap_unregister(c);
	KUNIT_EXPECT_EQ(test, log_stop(), 0u);
	KUNIT_EXPECT_FALSE(test, h->pinned);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 2));
	check(test, h);
}

static struct spanheap_client *with_reserve(struct spanheap *h, const char *name, u64 limit,
					    u64 reserve, unsigned int flags)
{
	const struct spanheap_client_attr attr = {
		.name = name, .limit_bytes = limit, .reserve_bytes = reserve, .flags = flags,
	};

	return spanheap_heap_register(h, &attr);
}

static bool refilled(struct spanheap_client *c, u64 pages)
{
	unsigned long end = jiffies + 10 * HZ;

	while (spanheap_reserve_pages(c) != pages && time_before(jiffies, end))
		msleep(20);
	return spanheap_reserve_pages(c) == pages;
}

#define RESERVE		40u

/* Lengths that add up to RESERVE; 0 ends a list */
static const u32 shares[][RESERVE + 1] = {
	{ RESERVE }, { 1, 2, 3, 4, 5, 6, 7, 8, 4 }, { RESERVE - 1, 1 },
	{ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
};

/* A client gets its whole reserve, in any lengths, while the system has no memory */
static void take_all(struct kunit *test, struct spanheap_client *c, const u32 *nr, gfp_t gfp)
{
	struct spanheap *h = test->priv;
	void *p[RESERVE];
	u32 i, n, zero = gfp & __GFP_ZERO;

	spanheap_scavenge(h, 0, U64_MAX);
	KUNIT_EXPECT_EQ(test, spanheap_shrink(h, 1000), 0);
	KUNIT_EXPECT_EQ(test, spanheap_reserve_pages(c), RESERVE);
	check(test, h);
	fake.pages_left = 0;
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 1, 0, 0, gfp));
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_KERNEL));	/* may wait: no reserve */
	for (n = 0; nr[n]; n++) {
		p[n] = alloc_as(h, c, nr[n], 0, 0, gfp);
		KUNIT_ASSERT_NOT_NULL(test, p[n]);
		if (zero)
			KUNIT_EXPECT_NULL(test, memchr_inv(p[n], 0, nr[n] * PAGE_SIZE));
		memset(p[n], n + 1, nr[n] * PAGE_SIZE);
	}
	if (!(c->flags & SPANHEAP_GUARD))	/* the reserve has pages for more guards */
		KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, gfp));
	KUNIT_EXPECT_EQ(test, counts(c).pages, RESERVE);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, RESERVE * PAGE_SIZE);
	flush_workqueue(spanheap_wq);	/* guards lose their memory; no refill, yet */
	check(test, h);
	fake.pages_left = S64_MAX;
	KUNIT_EXPECT_TRUE(test, refilled(c, RESERVE));	/* while the old pages are in use */
	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_NULL(test, memchr_inv(p[i], i + 1, nr[i] * PAGE_SIZE));
		release(h, p[i]);
	}
}

static void reserve_is_had_without_memory(struct kunit *test)
{
	static const unsigned int flags[] = { 0, SPANHEAP_SKIP_INIT, SPANHEAP_GUARD };
	static const gfp_t gfp[] = { GFP_NOWAIT, GFP_ATOMIC, GFP_ATOMIC | __GFP_ZERO };
	struct spanheap *h = test->priv;
	struct spanheap_client *c;
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		c = with_reserve(h, "careful", 0, RESERVE * PAGE_SIZE, flags[i]);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c));
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		for (k = 0; k < ARRAY_SIZE(shares); k++)
			take_all(test, c, shares[k], gfp[(i + k) % ARRAY_SIZE(gfp)]);
		spanheap_heap_unregister(c);
		spanheap_scavenge(h, 0, U64_MAX);
		KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 0);
		KUNIT_EXPECT_EQ(test, h->reserved_pages, 0);
		check(test, h);
	}
}

/* A partly used reserve becomes full again; an aligned span uses more than its length */
static void reserve_is_made_up_for(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = with_reserve(h, "careful", 0, RESERVE * PAGE_SIZE, 0);
	void *p, *q;

	spanheap_scavenge(h, 0, U64_MAX);
	fake.pages_left = 0;
	p = alloc_as(h, c, 5, 0, 0, GFP_NOWAIT);
	q = alloc_as(h, c, 8, PAGE_SHIFT + 3, 0, GFP_NOWAIT);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_NOT_NULL(test, q);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)q, 8 * PAGE_SIZE));
	KUNIT_EXPECT_LE(test, spanheap_reserve_pages(c), RESERVE - 13);
	KUNIT_EXPECT_GE(test, spanheap_reserve_pages(c), RESERVE - 13 - 7);
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, RESERVE - 12, 0, 0, GFP_NOWAIT));
	release(h, p);
	check(test, h);
	fake.pages_left = S64_MAX;
	KUNIT_EXPECT_TRUE(test, refilled(c, RESERVE));
	spanheap_scavenge(h, 0, U64_MAX);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, (RESERVE + 8) * PAGE_SIZE);
	/* Idle pages of the heap are used before the reserve */
	release(h, alloc(h, 3));
	p = alloc_as(h, c, 3, 0, 0, GFP_NOWAIT);
	KUNIT_EXPECT_EQ(test, spanheap_reserve_pages(c), RESERVE);
	release(h, p);
	release(h, q);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* The arena has no room for the old reserve and a new one */
static void reserve_is_refilled_in_a_full_arena(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = with_reserve(h, "careful", 0, 1500 * PAGE_SIZE, 0);
	void *p;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	spanheap_scavenge(h, 0, U64_MAX);
	fake.pages_left = 0;
	p = alloc_as(h, c, 300, 0, 0, GFP_ATOMIC);
	KUNIT_EXPECT_NOT_NULL(test, p);
	flush_workqueue(spanheap_wq);
	KUNIT_EXPECT_EQ(test, spanheap_reserve_pages(c), 1200);	/* no less for having tried */
	fake.pages_left = S64_MAX;
	release(h, p);
	KUNIT_EXPECT_TRUE(test, refilled(c, 1500));
	check(test, h);
	spanheap_heap_unregister(c);
	check(test, h);
}

static void bad_reserves_are_refused(struct kunit *test)
{
	static const u64 never[] = { U64_MAX, U64_MAX - PAGE_SIZE + 1, 1ULL << 63,
				     1ULL << 44, ((u64)ARENA + 1) << PAGE_SHIFT };
	struct spanheap *h = test->priv;
	struct spanheap_client *c;
	void *p;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(never); i++)
		KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(with_reserve(h, "r", 0, never[i], 0)),
				-EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(with_reserve(h, "r", 5 * PAGE_SIZE,
							   5 * PAGE_SIZE + 1, 0)), -EINVAL);
	/* A guard for each page does not fit */
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(with_reserve(h, "r", 0,
							   (ARENA / 2 + 1) * PAGE_SIZE,
							   SPANHEAP_GUARD)), -EINVAL);
	fake.pages_left = 10;
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(with_reserve(h, "r", 0, 11 * PAGE_SIZE, 0)),
			-ENOMEM);
	fake.pages_left = S64_MAX;
	KUNIT_EXPECT_TRUE(test, list_empty(&h->clients));
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);

	/* A byte becomes a page; the reserve serves nothing beyond the limit */
	c = with_reserve(h, "r", PAGE_SIZE, 1, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	KUNIT_EXPECT_EQ(test, spanheap_reserve_pages(c), 1);
	p = alloc_as(h, c, 1, 0, 0, GFP_KERNEL);
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_ATOMIC));
	KUNIT_EXPECT_EQ(test, spanheap_reserve_pages(c), 1);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(with_reserve(h, "r", 0, 1, 0)), -EEXIST);
	release(h, p);
	spanheap_heap_unregister(c);
	KUNIT_EXPECT_EQ(test, h->reserved_pages, 0);
	check(test, h);
}

/* A worker notifies pollers that the limit was hit, but not too often */
static void limit_that_was_hit_is_told(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 4);
	unsigned long never = c->limit_told, told, start = jiffies;
	u32 i, n = 0;
	void *p;

	p = alloc_as(h, c, 4, 0, 0, GFP_KERNEL);
	flush_delayed_work(&c->limit_work);
	KUNIT_EXPECT_EQ(test, c->limit_told, never);
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 1, 0, 0, GFP_ATOMIC));
	flush_delayed_work(&c->limit_work);
	told = c->limit_told;
	KUNIT_EXPECT_NE(test, told, never);
	for (i = 0; i < 30; i++) {
		KUNIT_EXPECT_FALSE(test, resize(h, p, 5));
		msleep(20);
		n += READ_ONCE(c->limit_told) != told;
		told = READ_ONCE(c->limit_told);
	}
	KUNIT_EXPECT_GE(test, n, 1u);
	KUNIT_EXPECT_LE(test, n, (jiffies - start) / (HZ / 10) + 1);
	KUNIT_EXPECT_FALSE(test, resize(h, p, 5));	/* unregisters with a notice due */
	release(h, p);
	spanheap_heap_unregister(c);
	check(test, h);
}

static struct kunit_case client_cases[] = {
	KUNIT_CASE(bad_registrations_are_refused),
	KUNIT_CASE(spans_are_counted_to_their_client),
	KUNIT_CASE(limit_is_exact),
	KUNIT_CASE(limit_below_a_page_is_a_page),
	KUNIT_CASE(peak_outlives_the_spans),
	KUNIT_CASE(failure_is_not_charged),
	KUNIT_CASE(spans_of_a_gone_client_are_orphans),
	KUNIT_CASE(tidy_client_goes_silently),
	KUNIT_CASE(reserve_is_had_without_memory),
	KUNIT_CASE(reserve_is_made_up_for),
	KUNIT_CASE(reserve_is_refilled_in_a_full_arena),
	KUNIT_CASE(bad_reserves_are_refused),
	KUNIT_CASE(limit_that_was_hit_is_told),
	{}
};

static struct kunit_case cached_client_cases[] = {
	KUNIT_CASE(spans_are_counted_to_their_client),
	KUNIT_CASE(limit_is_exact),
	KUNIT_CASE(limit_below_a_page_is_a_page),
	KUNIT_CASE(peak_outlives_the_spans),
	KUNIT_CASE(failure_is_not_charged),
	KUNIT_CASE(spans_of_a_gone_client_are_orphans),
	KUNIT_CASE(tidy_client_goes_silently),
	KUNIT_CASE(reserve_is_had_without_memory),
	KUNIT_CASE(reserve_is_made_up_for),
	KUNIT_CASE(reserve_is_refilled_in_a_full_arena),
	KUNIT_CASE(bad_reserves_are_refused),
	KUNIT_CASE(limit_that_was_hit_is_told),
	{}
};

static struct kunit_suite client_suite = {
	.name = "spanheap_client",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = client_cases,
};

static struct kunit_suite cached_client_suite = {
	.name = "spanheap_client_cached",
	.init = test_tuned_heap_init,
	.exit = test_heap_exit,
	.test_cases = cached_client_cases,
};

kunit_test_suites(&client_suite, &cached_client_suite);
