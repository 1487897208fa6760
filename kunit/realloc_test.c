// SPDX-License-Identifier: GPL-2.0
/*
 * Spans that get another length, and another place for it.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "fake_arena.h"

static noinline void *realloc(struct spanheap *h, void *p, size_t nr, gfp_t gfp)
{
	return spanheap_heap_realloc(h, p, nr, gfp | __GFP_NOWARN, _RET_IP_);
}

/* Each page has bytes of its own */
static void fill(void *p, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		memset(p + i * PAGE_SIZE, i + 1, PAGE_SIZE);
}

static bool filled(const void *p, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (memchr_inv(p + i * PAGE_SIZE, (u8)(i + 1), PAGE_SIZE))
			return false;
	return true;
}

/* A span of nr pages, filled, that cannot grow in place */
static void *alloc_blocked(struct spanheap *h, struct spanheap_client *c, u32 nr, void **block)
{
	void *p = alloc_as(h, c, nr, 0, 0, GFP_KERNEL);

	*block = alloc(h, 1);
	fill(p, nr);
	return p;
}

/* In place where there is room behind; the same as a resize then */
static void in_place_where_there_is_room(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 10);

	fill(p, 10);
	KUNIT_EXPECT_PTR_EQ(test, realloc(h, p, 300, GFP_KERNEL), p);
	KUNIT_EXPECT_TRUE(test, filled(p, 10));
	KUNIT_EXPECT_PTR_EQ(test, realloc(h, p, 4, GFP_KERNEL), p);
	KUNIT_EXPECT_PTR_EQ(test, realloc(h, p, 4, GFP_ATOMIC), p);
	KUNIT_EXPECT_TRUE(test, filled(p, 4));
	KUNIT_EXPECT_EQ(test, stats(h)->moved_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 4 * PAGE_SIZE);
	check(test, h);
	release(h, p);
	check(test, h);
}

/* The same pages are at another address: by doubling, none is copied, zeroed or lost */
static void doubling_copies_no_byte(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &spanheap_arena_ops, 4096, 0);
	u32 nr, most = 1024, i, blocks = 0;
	struct page **pages = kcalloc(most, sizeof(*pages), GFP_KERNEL);
	void **block = kcalloc(4096, sizeof(*block), GFP_KERNEL);
	struct spanheap_stats before;
	void *p, *q;

	KUNIT_ASSERT_TRUE(test, pages && block);
	p = alloc(h, 16);
	KUNIT_ASSERT_NOT_NULL(test, p);
	fill(p, 16);
	for (nr = 16; nr < most; nr *= 2) {
		/* Fills the holes that the span has left, then what is behind it */
		do {
			block[blocks] = alloc(h, 1);
			KUNIT_ASSERT_NOT_NULL(test, block[blocks]);
		} while (block[blocks++] != p + nr * PAGE_SIZE);
		for (i = 0; i < nr; i++)
			pages[i] = vmalloc_to_page(p + i * PAGE_SIZE);
		before = *stats(h);
		q = realloc(h, p, 2 * nr, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, q);
		KUNIT_EXPECT_PTR_NE(test, q, p);
		for (i = 0; i < nr; i++) {
			KUNIT_EXPECT_PTR_EQ(test, vmalloc_to_page(q + i * PAGE_SIZE), pages[i]);
			KUNIT_EXPECT_FALSE(test, vmalloc_to_page(p + i * PAGE_SIZE));
		}
		KUNIT_EXPECT_TRUE(test, filled(q, nr));
		fill(q, 2 * nr);
		KUNIT_EXPECT_EQ(test, stats(h)->moved_bytes, before.moved_bytes + nr * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, stats(h)->zeroed_bytes, before.zeroed_bytes);
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, before.inuse_bytes + nr * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, stats(h)->allocs, before.allocs);
		KUNIT_EXPECT_EQ(test, stats(h)->frees, before.frees);
		KUNIT_EXPECT_EQ(test, stats(h)->refaulted_bytes, before.refaulted_bytes);
		check(test, h);
		p = q;
	}
	while (blocks)
		release(h, block[--blocks]);
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
	kfree(block);
	kfree(pages);
	test_heap_end(h);
}

/* The old address is nobody's, the new one is the span's, and who allocated it is the same */
static void moved_span_is_the_same_span(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *block, *p, *q;
	struct span_view v;
	struct span s;

	p = alloc_blocked(h, NULL, 10, &block);
	s = peek(h, page_of(h, p));
	fake.flushes = 0;
	q = realloc(h, p, 700, GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_PTR_NE(test, q, p);
	KUNIT_EXPECT_GE(test, fake.flushes, 1u);
	KUNIT_EXPECT_TRUE(test, filled(q, 10));
	KUNIT_EXPECT_NULL(test, memchr_inv(q + 10 * PAGE_SIZE, 0, 690 * PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p, &v));
	KUNIT_EXPECT_TRUE(test, spanheap_heap_lookup(h, q + 699 * PAGE_SIZE, &v));
	KUNIT_EXPECT_EQ(test, v.start, page_of(h, q));
	KUNIT_EXPECT_EQ(test, v.nr_pages, 700u);
	KUNIT_EXPECT_EQ(test, peek(h, page_of(h, q)).caller, s.caller);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, page_of(h, p)));
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 2);
	check(test, h);
	release(h, q);
	release(h, block);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
}

/* Idle pages at the new place go: the span brings its own pages there */
static void idle_memory_is_not_in_the_way(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *idle = alloc(h, 900), *end = alloc(h, 1), *block, *p, *q;

	memset(idle, 0xee, 900 * PAGE_SIZE);
	p = alloc_blocked(h, NULL, 300, &block);
	release(h, idle);
	q = realloc(h, p, 800, GFP_KERNEL);
	KUNIT_EXPECT_PTR_EQ(test, q, idle);
	KUNIT_EXPECT_TRUE(test, filled(q, 300));
	check(test, h);
	release(h, q);
	release(h, block);
	release(h, end);
	check(test, h);
}

/* Nothing has changed after each refusal */
static void refused(struct kunit *test, struct spanheap *h, void *p, size_t nr, gfp_t gfp)
{
	u32 old = peek(h, page_of(h, p)).nr_pages;
	struct spanheap_stats before = *stats(h);
	struct spanheap_client *c = peek(h, page_of(h, p)).client;
	struct client_counts n = counts(c), now;

	KUNIT_EXPECT_NULL(test, realloc(h, p, nr, gfp));
	now = counts(c);
	KUNIT_EXPECT_EQ(test, peek_state(h, page_of(h, p)), SPAN_INUSE);
	KUNIT_EXPECT_EQ(test, peek(h, page_of(h, p)).nr_pages, old);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, before.inuse_bytes);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, before.objects);
	KUNIT_EXPECT_EQ(test, stats(h)->allocs, before.allocs);
	KUNIT_EXPECT_EQ(test, stats(h)->moved_bytes, before.moved_bytes);
	KUNIT_EXPECT_EQ(test, n.pages, now.pages);
	KUNIT_EXPECT_EQ(test, n.allocs, now.allocs);
	KUNIT_EXPECT_TRUE(test, filled(p, old));
	check(test, h);
}

static void refusal_changes_nothing(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 20);
	void *block, *block2, *p, *q, *objects;
	int local;

	p = alloc_blocked(h, c, 10, &block);
	refused(test, h, p, 0, GFP_KERNEL);
	refused(test, h, p, SIZE_MAX, GFP_KERNEL);
	refused(test, h, p, 1UL << 32, GFP_KERNEL);
	refused(test, h, p, ARENA, GFP_KERNEL);
	refused(test, h, p, 21, GFP_KERNEL);		/* the limit */
	refused(test, h, p, 12, GFP_ATOMIC);		/* no flush there */
	refused(test, h, p, 12, GFP_NOWAIT);
	fake.pages_left = 1;
	refused(test, h, p, 12, GFP_KERNEL);		/* one page short */
	fake.pages_left = S64_MAX;
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	KUNIT_EXPECT_NULL(test, realloc(h, NULL, 1, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, realloc(h, &local, 1, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, realloc(h, p + PAGE_SIZE, 1, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, realloc(h, p + 1, 1, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, realloc(h, h->base + (ARENA - 1) * PAGE_SIZE, 1, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 5);
	/* All of the limit, although both places are there for a moment */
	q = realloc(h, p, 20, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_TRUE(test, filled(q, 10));
	KUNIT_EXPECT_EQ(test, counts(c).pages, 20);
	KUNIT_EXPECT_EQ(test, counts(c).allocs, 1);
	KUNIT_EXPECT_NULL(test, realloc(h, p, 1, GFP_KERNEL));	/* it is not there any more */
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 6);
	release(h, q);
	release(h, block);
	spanheap_heap_unregister(c);

	/* Not less than an object; the number of them goes with the length */
	objects = alloc_as(h, NULL, 6, 0, 3 * PAGE_SIZE, GFP_KERNEL);
	block2 = alloc(h, 1);
	fill(objects, 6);
	refused(test, h, objects, 2, GFP_KERNEL);
	q = realloc(h, objects, 9, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, q);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 4);
	KUNIT_EXPECT_PTR_EQ(test, spanheap_heap_object(h, q + 8 * PAGE_SIZE), q + 6 * PAGE_SIZE);
	release(h, q);
	release(h, block2);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 0);
	check(test, h);
}

static struct spanheap_client *flagged(struct kunit *test, struct spanheap *h, unsigned int flags)
{
	const struct spanheap_client_attr attr = { .name = "flagged", .flags = flags };
	struct spanheap_client *c = spanheap_heap_register(h, &attr);

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	return c;
}

/* The guard is behind the span wherever it is, and the old one is gone */
static void guard_moves_with_its_span(struct kunit *test)
{
	static const u32 sizes[] = { 12, 300, 5, 1, 40, 40, 2 };
	struct spanheap *h = test->priv;
	struct spanheap_client *c = flagged(test, h, SPANHEAP_GUARD);
	void *p = alloc_as(h, c, 10, 0, 0, GFP_KERNEL), *q, *plain[100];
	u32 i, old = 10, at;

	fill(p, 10);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		at = page_of(h, p) + old;
		q = realloc(h, p, sizes[i], GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, q);
		KUNIT_EXPECT_EQ(test, q == p, sizes[i] == old);
		KUNIT_EXPECT_TRUE(test, filled(q, min(old, sizes[i])));
		KUNIT_EXPECT_EQ(test, counts(c).pages, sizes[i]);
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, sizes[i] * PAGE_SIZE);
		if (q != p)
			KUNIT_EXPECT_NE(test, peek_state(h, at), SPAN_GUARD);
		spanheap_drop(h);
		at = page_of(h, q) + sizes[i];
		KUNIT_EXPECT_EQ(test, peek_state(h, at), SPAN_GUARD);
		KUNIT_EXPECT_FALSE(test, fake_is_backed(h, at));
		check(test, h);
		fill(q, sizes[i]);
		p = q;
		old = sizes[i];
	}
	fake.pages_left = 3;
	spanheap_scavenge(h, 0, U64_MAX);
	KUNIT_EXPECT_NULL(test, realloc(h, p, 500, GFP_KERNEL));
	fake.pages_left = S64_MAX;
	KUNIT_EXPECT_EQ(test, peek_state(h, page_of(h, p) + old), SPAN_GUARD);
	check(test, h);
	release(h, p);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	check(test, h);
	/* No record keeps a guard for its next life */
	for (i = 0; i < ARRAY_SIZE(plain); i++) {
		plain[i] = alloc(h, 2);
		KUNIT_EXPECT_FALSE(test, peek(h, page_of(h, plain[i])).guarded);
	}
	for (i = 0; i < ARRAY_SIZE(plain); i++)
		release(h, plain[i]);
	check(test, h);
	spanheap_heap_unregister(c);
}

/* Pages to which others refer move with the span, and its free drops them */
static void shared_pages_stay_shared(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *block, *p = alloc_blocked(h, NULL, 10, &block), *q;
	struct page *page;

	KUNIT_ASSERT_TRUE(test, spanheap_mark_shared(h, p));
	page = fake_page(h, p + 3 * PAGE_SIZE);
	get_page(page);
	q = realloc(h, p, 30, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_PTR_EQ(test, fake_page(h, q + 3 * PAGE_SIZE), page);
	KUNIT_EXPECT_EQ(test, page_count(page), 2);
	release(h, q);
	spanheap_drop(h);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	put_page(page);
	release(h, block);
	check(test, h);
}

static void no_fn(void *obj, void *arg)
{
}

static struct spanheap *sweeping;
static void *in_sweep;

/* A callback sees its span at the address that it was told */
static enum spanheap_verdict realloc_swept(void *addr, size_t nr_pages, void *priv)
{
	in_sweep = realloc(sweeping, addr, nr_pages + 1, GFP_KERNEL);
	return SPANHEAP_KEEP;
}

static void swept_span_moves_between_sweeps(struct kunit *test)
{
	static const struct spanheap_client_ops ops = { .sweep = realloc_swept };
	const struct spanheap_client_attr attr = { .name = "swept", .ops = &ops };
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *block, *p, *q;

	sweeping = h;
	p = alloc_blocked(h, c, 10, &block);
	KUNIT_ASSERT_EQ(test, spanheap_finalizer_add(h, p, no_fn, NULL, GFP_KERNEL), 0);
	refused(test, h, p, 12, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p), 0);
	in_sweep = p;
	spanheap_cycle(c);
	KUNIT_EXPECT_EQ(test, spanheap_sweep(c, 1, SMALL_PAGES), 0);
	KUNIT_EXPECT_NULL(test, in_sweep);
	spanheap_cycle(c);		/* unswept, and moved: it still is, at its new address */
	q = realloc(h, p, 12, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_PTR_NE(test, q, p);
	check(test, h);
	fill(q, 12);
	KUNIT_EXPECT_EQ(test, spanheap_sweep(c, 1, SMALL_PAGES), 0);
	KUNIT_EXPECT_EQ(test, spanheap_sweep(c, 1, SMALL_PAGES), -1);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_add(h, q, no_fn, NULL, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, q), 0);
	if (in_sweep)
		q = in_sweep;
	release(h, q);
	release(h, block);
	check(test, h);
	spanheap_heap_unregister(c);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
}

/* Random lengths of many spans, each with its bytes, beside allocations and releases */
static void many_spans_move_at_random(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 nr[12] = {}, i, round, n, old, seed = 1, moves;
	void *p[12] = {}, *q;

	for (round = 0; round < 2000; round++) {
		seed = seed * 1103515245 + 12345;
		i = (seed >> 16) % ARRAY_SIZE(p);
		n = 1 + (seed >> 8) % 120;
		if (!p[i]) {
			p[i] = alloc(h, n);
			KUNIT_ASSERT_NOT_NULL(test, p[i]);
			old = n;
		} else if (seed & 1 << 28) {
			KUNIT_ASSERT_TRUE(test, filled(p[i], nr[i]));
			release(h, p[i]);
			p[i] = NULL;
			continue;
		} else {
			q = realloc(h, p[i], n, GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, q);
			p[i] = q;
			old = nr[i];
		}
		if (p[i] && old != n)
			KUNIT_ASSERT_TRUE(test, filled(p[i], min(old, n)));
		nr[i] = n;
		fill(p[i], n);
		if (round % 50)
			continue;
		spanheap_scavenge(h, 0, 100);
		check(test, h);
	}
	moves = stats(h)->moved_bytes >> PAGE_SHIFT;
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		KUNIT_EXPECT_TRUE(test, !p[i] || filled(p[i], nr[i]));
		release(h, p[i]);
	}
	KUNIT_EXPECT_GT(test, moves, 1000u);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(in_place_where_there_is_room),
	KUNIT_CASE(doubling_copies_no_byte),
	KUNIT_CASE(moved_span_is_the_same_span),
	KUNIT_CASE(idle_memory_is_not_in_the_way),
	KUNIT_CASE(refusal_changes_nothing),
	KUNIT_CASE(guard_moves_with_its_span),
	KUNIT_CASE(shared_pages_stay_shared),
	KUNIT_CASE(swept_span_moves_between_sweeps),
	KUNIT_CASE(many_spans_move_at_random),
	{}
};

static struct kunit_suite suite = {
	.name = "spanheap_realloc",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

static struct kunit_suite cached_suite = {
	.name = "spanheap_realloc_cached",
	.init = test_tuned_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

kunit_test_suites(&suite, &cached_suite);
