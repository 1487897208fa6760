// SPDX-License-Identifier: GPL-2.0
/*
 * Clients: registration, limits, counters, and orphans. Each case runs without and with
 * per-CPU caches.
 */
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

static struct kunit_case client_cases[] = {
	KUNIT_CASE(bad_registrations_are_refused),
	KUNIT_CASE(spans_are_counted_to_their_client),
	KUNIT_CASE(limit_is_exact),
	KUNIT_CASE(limit_below_a_page_is_a_page),
	KUNIT_CASE(peak_outlives_the_spans),
	KUNIT_CASE(failure_is_not_charged),
	KUNIT_CASE(spans_of_a_gone_client_are_orphans),
	KUNIT_CASE(tidy_client_goes_silently),
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
