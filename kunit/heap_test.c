// SPDX-License-Identifier: GPL-2.0
/*
 * The page heap without caches: fit, split, coalesce, grow, look-ups, refusals. Numbers
 * like M24 refer to behaviours that the page heap of the Go 1.3 runtime has.
 */
#include <linux/jump_label.h>
#include <linux/mm.h>
#include <linux/prandom.h>

#include <compat/kasan.h>

#include "fake_arena.h"
#include "nothing_arena.h"

/* M1: a new heap is empty; a failed creation leaves nothing */
static void new_heap_is_empty(struct kunit *test)
{
	struct spanheap *h = test->priv;

	KUNIT_EXPECT_EQ(test, stats(h)->arena_bytes, (u64)ARENA << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, stats(h)->sys_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->span_meta_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->largest_free_pages, 0);
	check(test, h);
	fake.refuse_reserve = true;
	KUNIT_EXPECT_EQ(test, PTR_ERR(spanheap_heap_create(&fake_ops, 16, fake_clock)), -ENOMEM);
	fake.refuse_reserve = false;
	KUNIT_EXPECT_EQ(test, PTR_ERR(spanheap_heap_create(&fake_ops, 0, fake_clock)), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR(spanheap_heap_create(&fake_ops, 1ul << 31, fake_clock)),
			-EINVAL);
}

/*
 * M2: a walk that drops the lock between spans finds, in order, every span that exists
 * during the whole walk, while other tasks allocate and free
 */
static void walk_sees_all_while_spans_come_and_go(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct rnd_state rnd;
	static void *lasting[100], *fleeting[100];
	u32 i, idx, seen, round;
	struct span s;

	prandom_seed_state(&rnd, 2);
	for (i = 0; i < 100; i++) {
		lasting[i] = alloc(h, 1 + i % 5);
		fleeting[i] = alloc(h, 1 + i % 7);
		KUNIT_ASSERT_NOT_NULL(test, lasting[i]);
		KUNIT_ASSERT_NOT_NULL(test, fleeting[i]);
	}
	for (round = 0; round < 20; round++) {
		for (idx = 0, seen = 0; idx < h->used; idx++) {
			s = peek(h, idx);
			if (s.nr_pages && s.start == page_of(h, lasting[min(seen, 99u)]))
				seen++;
			i = prandom_u32_state(&rnd) % 100;
			if (fleeting[i])
				release(h, fleeting[i]);
			fleeting[i] = fleeting[i] ? NULL :
				      alloc(h, 1 + prandom_u32_state(&rnd) % 9);
		}
		KUNIT_EXPECT_EQ(test, seen, 100u);
	}
	check(test, h);
}

/* M3: only a growth adds leaves to the map, and they are counted */
static void map_grows_with_the_arena(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u64 leaf = sizeof(struct map_leaf) + 512 * sizeof(struct span *);
	u64 meta = stats(h)->other_meta_bytes;
	u32 nr = 0;

	KUNIT_EXPECT_EQ(test, h->nr_map_leaves, 0);
	while (alloc(h, 100)) {
		nr += 100;
		KUNIT_EXPECT_EQ(test, h->nr_map_leaves, DIV_ROUND_UP(h->used, LEAF_PAGES));
		KUNIT_EXPECT_EQ(test, stats(h)->other_meta_bytes,
				meta + h->nr_map_leaves * leaf);
		KUNIT_EXPECT_EQ(test, stats(h)->span_meta_bytes,
				h->nr_records * sizeof(struct span));
	}
	KUNIT_EXPECT_EQ(test, nr, 2000u);
	KUNIT_EXPECT_EQ(test, h->nr_map_leaves, 4);
	KUNIT_EXPECT_NULL(test, h->map[3] ? NULL : h);
	check(test, h);
}

/* M4, M15, M34: bytes, spans and objects */
static void counters_follow_allocation_and_free(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 4);
	void *q = alloc_as(h, NULL, 4, 0, 100, GFP_KERNEL);
	u32 per_span = 4 * PAGE_SIZE / 100;

	KUNIT_EXPECT_EQ(test, stats(h)->spans, 2);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 1 + per_span);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->allocs, 2);
	release(h, q);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->frees, 1);
	q = alloc_as(h, NULL, 4, 0, 100, GFP_KERNEL);
	KUNIT_EXPECT_TRUE(test, resize(h, q, 2));
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 1 + 2 * PAGE_SIZE / 100);
	KUNIT_EXPECT_TRUE(test, resize(h, q, 4));
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 1 + per_span);
	release(h, p);
	release(h, q);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->idle_bytes, stats(h)->sys_bytes);
	KUNIT_EXPECT_EQ(test, stats(h)->frees, 3);
	check(test, h);
}

static void expect_zeroed(struct kunit *test, struct spanheap *h, void *p, u32 nr,
			  u32 cleared, struct spanheap_stats *before)
{
	struct spanheap_stats st = *stats(h);

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, nr * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, st.zeroed_bytes - before->zeroed_bytes, cleared * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, st.zero_skipped_bytes - before->zero_skipped_bytes,
			(nr - cleared) * PAGE_SIZE);
	*before = st;
}

/* M5: pages that may hold old data are cleared, and only these */
static void zeroing_skips_pages_known_to_be_zero(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_stats st = *stats(h);
	void *p = zalloc(h, 4), *q;

	expect_zeroed(test, h, p, 4, 4, &st);	/* memory from the system */
	memset(p, 1, 4 * PAGE_SIZE);
	release(h, p);
	p = zalloc(h, 4);
	expect_zeroed(test, h, p, 4, 4, &st);	/* dirty */
	q = alloc(h, 40);
	KUNIT_EXPECT_EQ(test, stats(h)->zeroed_bytes, st.zeroed_bytes);
	fake.pages_left = 10;
	KUNIT_EXPECT_NULL(test, zalloc(h, 40));
	fake.pages_left = S64_MAX;
	KUNIT_EXPECT_EQ(test, stats(h)->zeroed_bytes, st.zeroed_bytes);
	p = zalloc(h, 40);	/* 10 of its pages are zero since the failed allocation */
	expect_zeroed(test, h, p, 40, 30, &st);
	release(h, q);
	release(h, p);
	spanheap_scavenge(h, 0, U64_MAX);
	expect_zeroed(test, h, zalloc(h, 80), 80, 80, &st);
	check(test, h);
}

/* Pages backed by a failed allocation hold old data of the system */
static void failed_backing_is_nobodys_data(struct kunit *test)
{
	const struct spanheap_client_attr skip = {
		.name = "skip", .flags = SPANHEAP_SKIP_INIT,
	};
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &skip);

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	release(h, alloc_as(h, c, 8, 0, 0, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, peek(h, 0).writer, c->writer);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, 4), 4);
	KUNIT_EXPECT_EQ(test, peek(h, 0).writer, c->writer);
	fake.pages_left = 1;
	KUNIT_EXPECT_NULL(test, alloc(h, 8));
	KUNIT_EXPECT_EQ(test, fake.nr_backed, 5);
	KUNIT_EXPECT_TRUE(test, peek(h, 0).needzero);
	KUNIT_EXPECT_EQ(test, peek(h, 0).writer, 0u);
	spanheap_heap_unregister(c);
	check(test, h);
}

/*
 * M5: with init_on_free, free pages are zero. With init_on_alloc, every allocation is
 * cleared, but a SPANHEAP_SKIP_INIT client may see its own old data. It sees no other
 * client's data, even if pages of both have coalesced. The test allocates nothing from
 * the system while the switches differ from their values at boot.
 */
static void boot_time_initialisation_is_honoured(struct kunit *test)
{
	const struct spanheap_client_attr skip = {
		.name = "skip", .flags = SPANHEAP_SKIP_INIT,
	};
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &skip);
	struct spanheap_stats st;
	void *p = alloc(h, 20), *q = alloc(h, 1);
	bool was_free = want_init_on_free(), was_alloc = want_init_on_alloc(0);

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	KUNIT_ASSERT_NOT_NULL(test, p);
	memset(p, 1, 20 * PAGE_SIZE);
	static_branch_enable(&init_on_free);
	release(h, p);
	if (!was_free)
		static_branch_disable(&init_on_free);
	compat_kasan_use(&h->lost, p, 20, true);	/* the test reads a free span */
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 20 * PAGE_SIZE));
	st = *stats(h);
	KUNIT_EXPECT_PTR_EQ(test, zalloc(h, 20), p);
	expect_zeroed(test, h, p, 20, 0, &st);

	memset(p, 1, 20 * PAGE_SIZE);
	release(h, p);
	static_branch_enable(&init_on_alloc);
	KUNIT_EXPECT_PTR_EQ(test, alloc_as(h, c, 20, 0, 0, GFP_KERNEL), p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 20 * PAGE_SIZE));
	memset(p, 1, 20 * PAGE_SIZE);
	release(h, p);
	KUNIT_EXPECT_PTR_EQ(test, alloc_as(h, c, 8, 0, 0, GFP_KERNEL), p);
	KUNIT_EXPECT_EQ(test, *(u8 *)p, 1);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 12), p + 8 * PAGE_SIZE);
	memset(p + 8 * PAGE_SIZE, 2, 12 * PAGE_SIZE);
	release(h, p);
	release(h, p + 8 * PAGE_SIZE);	/* coalesces the pages of both clients */
	KUNIT_EXPECT_PTR_EQ(test, alloc_as(h, c, 20, 0, 0, GFP_KERNEL), p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 20 * PAGE_SIZE));
	release(h, p);
	st = *stats(h);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 20), p);
	if (!was_alloc)
		static_branch_disable(&init_on_alloc);
	expect_zeroed(test, h, p, 20, 20, &st);
	release(h, q);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* M6: exact size first, then the next larger size, then best fit among large spans */
static void smallest_that_fits_is_taken(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static const u32 len[] = { 8, 1, 3, 1, 20, 1, 300, 1, 260, 1, 260, 1 };
	void *p[ARRAY_SIZE(len)];
	int i;

	for (i = 0; i < ARRAY_SIZE(len); i++) {
		p[i] = alloc(h, len[i]);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	for (i = 0; i < ARRAY_SIZE(len); i += 2)
		release(h, p[i]);
	check(test, h);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 3), p[2]);	/* exact */
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 5), p[0]);	/* the next larger */
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 3), p[0] + 5 * PAGE_SIZE);	/* its tail */
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 257), p[8]);	/* smallest, lowest */
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 260), p[10]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 261), p[6]);
	check(test, h);
}

/* M19, M27: spans of one size are in a list, and the span freed last is allocated first.
 * A span can leave the list from any place. Unbacked spans are at the end.
 */
static void equal_sizes_are_taken_last_in_first_out(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p[5], *wall[5];
	int i;

	for (i = 0; i < 5; i++) {
		p[i] = alloc(h, 6);
		wall[i] = alloc(h, 1);
	}
	release(h, p[0]);
	release(h, p[1]);
	spanheap_scavenge(h, 0, U64_MAX);
	release(h, p[3]);
	release(h, p[2]);
	release(h, p[4]);
	release(h, wall[2]);	/* coalesces 2 and 3, from the middle of the list */
	check(test, h);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 6), p[4]);
	release(h, p[4]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 13), p[2]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 6), p[4]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 6), p[0]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 6), p[1]);
	check(test, h);
}

/* M7: senseless requests are refused and change nothing */
static void senseless_requests_are_refused(struct kunit *test)
{
	static const struct { size_t nr; unsigned int shift; size_t obj; } bad[] = {
		{ 0 }, { ARENA + 1 }, { SIZE_MAX }, { SIZE_MAX >> PAGE_SHIFT },
		{ (SIZE_MAX >> PAGE_SHIFT) + 1 }, { (1ul << 32) + 1 },
		{ 1, 63 }, { 1, 31 + PAGE_SHIFT }, { 1, UINT_MAX },
		{ ARENA, PAGE_SHIFT + 1 }, { 1, 24 },
		{ 1, 0, PAGE_SIZE + 1 }, { 1, 0, SIZE_MAX }, { 0, 0, 8 },
	};
	struct spanheap *h = test->priv;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_NULL_MSG(test, alloc_as(h, NULL, bad[i].nr, bad[i].shift,
						     bad[i].obj, GFP_KERNEL),
				      "request %u", i);
		KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, i + 1);
	}
	KUNIT_EXPECT_EQ(test, stats(h)->sys_bytes, 0);
	check(test, h);
}

/* M8: an allocation backs only the unbacked pages of its own span */
static void only_pages_taken_are_backed(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 10), *q;

	KUNIT_EXPECT_EQ(test, fake.nr_backed, 10);
	q = alloc(h, 5);
	KUNIT_EXPECT_EQ(test, fake.nr_backed, 15);
	release(h, p);
	release(h, q);		/* 15 backed pages; the others are unbacked */
	p = alloc(h, 20);
	KUNIT_EXPECT_EQ(test, page_of(h, p), 0);
	KUNIT_EXPECT_EQ(test, fake.nr_backed, 20);
	KUNIT_EXPECT_EQ(test, stats(h)->released_bytes, (CHUNK - 20) * PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, fake_is_backed(h, 19) && !fake_is_backed(h, 20));
	check(test, h);
}

/* M8, M9: the counters of leaves and groups are right if only some pages are backed */
static void backed_pages_are_counted_by_leaf_and_group(struct kunit *test)
{
	static const u32 cut[] = { 1, LEAF_PAGES - 1, GROUP_PAGES, GROUP_PAGES + LEAF_PAGES + 70 };
	u32 all = 3 * GROUP_PAGES + 1000, gone = GROUP_PAGES + 5 * LEAF_PAGES + 9, i;
	struct spanheap *h;
	void *p, *q;

	if (IS_ENABLED(CONFIG_KASAN) || want_init_on_alloc(0) || want_init_on_free())
		kunit_skip(test, "would write to what is no memory");
	h = test_heap_new(test, &nothing_ops, all, 0);
	p = alloc(h, all);
	check(test, h);
	release(h, p);
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_next_backed(h, 0, all, false), all);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, gone), gone);
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_next_backed(h, 0, all, true), gone);
	KUNIT_EXPECT_EQ(test, spanheap_next_backed(h, 0, gone, true), gone);
	KUNIT_EXPECT_EQ(test, spanheap_next_backed(h, gone, all, false), all);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	for (i = 0; i < ARRAY_SIZE(cut); i++) {
		p = alloc(h, cut[i]);		/* backs pages at the start */
		q = alloc(h, all - cut[i]);
		KUNIT_EXPECT_EQ(test, stats(h)->released_bytes, 0);
		check(test, h);
		release(h, q);
		KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, gone), gone);
		check(test, h);
		KUNIT_EXPECT_EQ(test, spanheap_next_backed(h, cut[i], all, true), cut[i] + gone);
		release(h, p);			/* one span, backed at both ends */
		check(test, h);
		p = alloc(h, all - 100);	/* the split counts in the shorter part */
		KUNIT_EXPECT_EQ(test, stats(h)->released_bytes, 0);
		check(test, h);
		release(h, p);
		KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, gone), gone);
		check(test, h);
	}
	test_heap_end(h);
	nothing_done();
}

/* M9, M17: both parts of a split keep the idle age and the known-zero state */
static void split_keeps_age_and_known_zero(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 20), *wall = alloc(h, 1);
	struct span s;

	release(h, p);
	KUNIT_EXPECT_EQ(test, peek(h, 0).epoch, h->epoch);
	KUNIT_EXPECT_TRUE(test, peek(h, 0).needzero);
	KUNIT_EXPECT_EQ(test, tick(h), 0);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 5), p);
	s = peek(h, 5);
	KUNIT_EXPECT_EQ(test, span_state(&s), SPAN_FREE);
	KUNIT_EXPECT_EQ(test, s.nr_pages, 15);
	KUNIT_EXPECT_EQ(test, s.epoch, h->epoch - 1);
	KUNIT_EXPECT_TRUE(test, s.needzero);
	check(test, h);

	KUNIT_EXPECT_EQ(test, tick(h), 0);
	KUNIT_EXPECT_EQ(test, tick(h), 15);
	fake.pages_left = 15;	/* known to be zero: these are backed with __GFP_ZERO */
	KUNIT_EXPECT_NULL(test, zalloc(h, 200));
	fake.pages_left = S64_MAX;
	s = peek(h, 21);
	KUNIT_EXPECT_FALSE(test, s.needzero);
	KUNIT_EXPECT_EQ(test, s.nr_released, s.nr_pages - 15);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 15));	/* the hole fits exactly; unbacked */
	KUNIT_EXPECT_PTR_EQ(test, zalloc(h, 5), wall + PAGE_SIZE);
	s = peek(h, 26);
	KUNIT_EXPECT_FALSE(test, s.needzero);
	KUNIT_EXPECT_EQ(test, s.nr_pages - s.nr_released, 10);
	KUNIT_EXPECT_EQ(test, stats(h)->zero_skipped_bytes, 5 * PAGE_SIZE);
	check(test, h);
}

/* M11, M12: growth is a multiple of 64 KiB, at least 1 MiB, and joins the free end */
static void growth_is_rounded_and_joins_the_end(struct kunit *test)
{
	static const struct { u32 nr, used, grows; } step[] = {
		{ 1, 256, 1 },		/* at least 1 MiB */
		{ 255, 256, 1 },
		{ 257, 528, 2 },	/* 257 pages are 272 in units of 64 KiB */
		{ 15, 528, 2 },
		{ 256, 784, 3 },
		{ 1, 1040, 4 },
		{ 300, 1344, 5 },	/* 304 pages, joined with 255 free ones */
		{ 248, 1344, 5 },	/* from the remaining free pages */
		{ ARENA - 1344 + 11, ARENA, 6 },	/* more than the rest of the arena */
	};
	struct spanheap *h = test->priv;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(step); i++) {
		KUNIT_EXPECT_NOT_NULL_MSG(test, alloc(h, step[i].nr), "step %u", i);
		KUNIT_EXPECT_EQ_MSG(test, h->used, step[i].used, "step %u", i);
		KUNIT_EXPECT_EQ(test, stats(h)->grows, step[i].grows);
		KUNIT_EXPECT_EQ(test, stats(h)->sys_bytes, (u64)step[i].used << PAGE_SHIFT);
		check(test, h);
	}
	KUNIT_EXPECT_EQ(test, h->nr_free, 0u);
	KUNIT_EXPECT_NULL(test, alloc(h, 1));
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 1);
	release(h, page_addr(h, 255));	/* a bad free: no span starts there */
	KUNIT_EXPECT_NULL(test, alloc(h, 1));
}

/* M11: one message gives the bytes requested and in use; __GFP_NOWARN prevents it */
static void failed_growth_says_so_once(struct kunit *test)
{
	struct spanheap *h = test->priv;

	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 3));
	log_start();
	KUNIT_EXPECT_NULL(test, alloc(h, ARENA));
	KUNIT_EXPECT_EQ(test, log_stop(), 0u);
	log_start();
	KUNIT_EXPECT_NULL(test, spanheap_heap_alloc(h, NULL, ARENA, 0, 0, GFP_KERNEL, _THIS_IP_));
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("2048 pages (8388608 bytes), 12288 bytes in use"), 1u);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 2);
	check(test, h);
}

/* M13, M10: the map has a span's first and last page, and no page between them */
static void span_is_found_by_its_ends(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 700);
	struct span *s = spanheap_span_at(h, p);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, s);
	KUNIT_EXPECT_EQ(test, s->start, 0u);
	KUNIT_EXPECT_EQ(test, s->nr_pages, 700u);
	KUNIT_EXPECT_PTR_EQ(test, spanheap_span_at(h, p + 699 * PAGE_SIZE), s);
	for (i = 1; i < 699; i++)
		KUNIT_EXPECT_NULL(test, spanheap_span_at(h, p + i * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, spanheap_span_at(h, p + 1));
	KUNIT_EXPECT_NULL(test, spanheap_span_at(h, p - PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, spanheap_span_at(h, page_addr(h, h->used)));
}

static void expect_lookup(struct kunit *test, struct spanheap *h, u32 idx, u32 start, u32 nr)
{
	struct span_view s = {};
	bool found = spanheap_heap_lookup(h, page_addr(h, idx) + idx % PAGE_SIZE, &s);

	KUNIT_EXPECT_EQ_MSG(test, found, nr > 0, "page %u", idx);
	if (nr) {
		KUNIT_EXPECT_EQ_MSG(test, s.start, start, "page %u", idx);
		KUNIT_EXPECT_EQ_MSG(test, s.nr_pages, nr, "page %u", idx);
	}
}

/* M14: look-ups find every address of an in-use span, across leaves, and no other address */
static void lookup_finds_spans_in_use_only(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 1500);
	struct span_view s;
	u32 i;

	for (i = 0; i < ARENA; i++)
		expect_lookup(test, h, i, 0, i < 1500 ? 1500 : 0);
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p - 1, &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, page_addr(h, ARENA), &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, &s, &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, NULL, &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, (void *)-1l, &s));
	release(h, p);
	for (i = 0; i < ARENA; i++)
		expect_lookup(test, h, i, 0, 0);
}

/* M14: a look-up ignores stale entries of merged spans */
static void lookup_ignores_stale_entries(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a = alloc(h, 500), *b = alloc(h, 100), *c = alloc(h, 600), *d;
	u32 i;

	release(h, a);
	release(h, b);
	release(h, c);
	for (i = 0; i < 1200; i++)
		expect_lookup(test, h, i, 0, 0);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 550), a);	/* covers b's start */
	d = alloc(h, 20);
	KUNIT_EXPECT_PTR_EQ(test, d, a + 550 * PAGE_SIZE);
	for (i = 0; i < 1200; i++)
		expect_lookup(test, h, i, i < 550 ? 0 : 550, i < 550 ? 550 : i < 570 ? 20 : 0);
	release(h, a);
	for (i = 0; i < 1200; i++)
		expect_lookup(test, h, i, 550, i >= 550 && i < 570 ? 20 : 0);
	/* The second leaf still names the span at 0, which no longer reaches it */
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 500), a);
	for (i = 500; i < 550; i++)
		expect_lookup(test, h, i, 0, 0);
	release(h, a);
	for (i = 0; i < 1200; i++)
		expect_lookup(test, h, i, 550, i >= 550 && i < 570 ? 20 : 0);
}

/* M16: a bad free is counted, reported once per call site, and changes nothing */
static noinline void free_twenty_times(struct spanheap *h, const void *addr)
{
	int i;

	for (i = 0; i < 20; i++)
		spanheap_heap_free(h, addr, _RET_IP_);
}

static void bad_frees_are_detected(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 4), *q = alloc(h, 4), *r = alloc(h, 4);
	const void *bad[] = {
		p + PAGE_SIZE, p + 3 * PAGE_SIZE, p + 8, p - 1,	/* inside, just before */
		r,			/* freed */
		page_addr(h, 100),	/* idle */
		page_addr(h, ARENA - 1), page_addr(h, ARENA),	/* never used, outside */
		test, &h, (void *)8, (void *)-8l,	/* foreign, stack, wild */
		"text",
	};
	struct spanheap_stats before, after;
	u32 i;

	release(h, r);
	before = *stats(h);
	release(h, NULL);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		release(h, bad[i]);
		KUNIT_EXPECT_FALSE(test, resize(h, (void *)bad[i], 1));
	}
	after = *stats(h);
	KUNIT_EXPECT_EQ(test, after.invalid_frees, 2 * ARRAY_SIZE(bad));
	after.invalid_frees = 0;
	KUNIT_EXPECT_EQ(test, memcmp(&before, &after, sizeof(after)), 0);
	check(test, h);

	log_start();
	free_twenty_times(h, p + PAGE_SIZE);
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("invalid free of"), 1u);
	KUNIT_EXPECT_EQ(test, log_count(": byte 4096 of the span of 4 pages at page"), 1u);
	KUNIT_EXPECT_EQ(test, log_count("which is in use"), 1u);
	KUNIT_EXPECT_EQ(test, log_count("by bad_frees_are_det"), 2u);	/* both sites */
	log_start();
	free_twenty_times(h, r);
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("which is free"), 1u);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 2 * ARRAY_SIZE(bad) + 40);
	release(h, p);
	release(h, q);
	KUNIT_EXPECT_EQ(test, stats(h)->frees, 3);
	check(test, h);
}

/* The state of a neighbour of a span that is freed */
enum side { BUSY, DIRTY, ZERO, RELEASED };

/*
 * M18, M24: a freed span coalesces with free spans on both sides. The result has the sum
 * of their pages and released pages, and the right known-zero state.
 */
static void neighbours_coalesce(struct kunit *test)
{
	struct spanheap *h = test->priv;
	bool was_on = want_init_on_free(), clear;
	enum side left, right, side;
	u32 kind, i, start, end, gone, aged;
	struct span s;
	void *p[4];

	for (kind = 0; kind < 32; kind++) {
		left = kind & 3;
		right = (kind >> 2) & 3;
		clear = kind & 16;
		for (i = 0; i < 4; i++)	/* left, the span, right, wall */
			p[i] = alloc(h, 4);
		for (i = 0; i <= 2; i += 2)
			if ((i ? right : left) == RELEASED)
				release(h, p[i]);
		spanheap_scavenge(h, 0, U64_MAX);
		start = 4;
		end = 8;
		gone = 0;
		for (i = 0; i <= 2; i += 2) {
			side = i ? right : left;
			if (side == BUSY)
				continue;
			if (side != RELEASED)
				release(h, p[i]);
			else
				gone += 4;
			if (side == ZERO) {
				memset(p[i], 0, 4 * PAGE_SIZE);
				spanheap_span_at(h, p[i])->needzero = false;
			}
			if (i)
				end += 4;
			else
				start -= 4;
		}
		tick(h);
		if (clear)
			static_branch_enable(&init_on_free);
		release(h, p[1]);
		if (clear && !was_on)
			static_branch_disable(&init_on_free);
		s = peek(h, start);
		KUNIT_EXPECT_EQ_MSG(test, span_state(&s), SPAN_FREE, "kind %u", kind);
		KUNIT_EXPECT_EQ_MSG(test, s.nr_pages, end - start, "kind %u", kind);
		KUNIT_EXPECT_EQ_MSG(test, s.nr_released, gone, "kind %u", kind);
		KUNIT_EXPECT_EQ_MSG(test, s.needzero,
				    (!clear && !was_on) || left == DIRTY || right == DIRTY,
				    "kind %u", kind);
		aged = (left != BUSY && left != RELEASED) || (right != BUSY && right != RELEASED);
		KUNIT_EXPECT_EQ_MSG(test, h->epoch - s.epoch, aged, "kind %u", kind);
		check(test, h);
		if (left == BUSY)
			release(h, p[0]);
		if (right == BUSY)
			release(h, p[2]);
		release(h, p[3]);
		KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	}
}

/* M18: records of merged spans are reused */
static void merged_records_are_recycled(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static void *p[200];
	u64 records;
	u32 i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 200; i++)
			p[i] = alloc(h, 2);
		if (!round)
			records = h->nr_records;
		KUNIT_EXPECT_EQ(test, h->nr_records, records);
		for (i = 0; i < 200; i++)
			release(h, p[i]);
	}
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	spanheap_scavenge(h, 0, 1);	/* a pass frees the surplus records */
	KUNIT_EXPECT_LE(test, h->nr_records, 70);
	check(test, h);
}

static void alignment_is_kept_and_loses_nothing(struct kunit *test)
{
	struct spanheap *h = test->priv;
	unsigned int shift;
	void *p, *got[12];
	u32 n = 0;

	for (shift = 0; shift <= PAGE_SHIFT + 9; shift++) {
		p = alloc_as(h, NULL, 3, shift, 0, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)p, 1ul << shift));
		KUNIT_EXPECT_EQ(test, fake.nr_backed, 3);
		check(test, h);
		release(h, p);
		KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
		spanheap_scavenge(h, 0, U64_MAX);
	}
	while (n < 12 && (p = alloc_as(h, NULL, 10, PAGE_SHIFT + 6, 0, GFP_KERNEL)))
		got[n++] = p;
	check(test, h);
	KUNIT_EXPECT_EQ(test, n, 12u);
	while (n)
		release(h, got[--n]);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
}

static void resize_changes_the_end_or_nothing(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p = alloc(h, 8), *wall = alloc(h, 1), *last;
	struct spanheap_stats st;

	memset(p, 7, 8 * PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, resize(h, p, 9));	/* the next page is in use */
	KUNIT_EXPECT_FALSE(test, resize(h, p, 0));
	KUNIT_EXPECT_FALSE(test, resize(h, p, ARENA + 1));
	KUNIT_EXPECT_FALSE(test, resize(h, p, SIZE_MAX));
	KUNIT_EXPECT_TRUE(test, resize(h, p, 8));
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	KUNIT_EXPECT_TRUE(test, resize(h, p, 3));
	expect_lookup(test, h, 2, 0, 3);
	expect_lookup(test, h, 3, 0, 0);
	expect_lookup(test, h, 7, 0, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 2);
	check(test, h);
	KUNIT_EXPECT_FALSE(test, resize(h, p, 9));
	KUNIT_EXPECT_TRUE(test, resize(h, p, 6));
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 7, 3 * PAGE_SIZE));
	expect_lookup(test, h, 5, 0, 6);
	expect_lookup(test, h, 6, 0, 0);
	check(test, h);

	/* Added pages are cleared if requested */
	compat_kasan_use(&h->lost, p + 7 * PAGE_SIZE, 1, true);	/* the test writes to a free page */
	p[7 * PAGE_SIZE] = 7;
	KUNIT_EXPECT_TRUE(test, spanheap_heap_resize(h, p, 8, GFP_KERNEL | __GFP_ZERO, _THIS_IP_));
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 7, 3 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, memchr_inv(p + 6 * PAGE_SIZE, 0, 2 * PAGE_SIZE));

	/* The last span can grow to the end of the arena, and no further */
	last = alloc(h, CHUNK - 9);
	KUNIT_EXPECT_EQ(test, page_of(h, last), 9u);
	KUNIT_EXPECT_TRUE(test, resize(h, last, CHUNK));
	KUNIT_EXPECT_EQ(test, stats(h)->grows, 2);
	KUNIT_EXPECT_TRUE(test, resize(h, last, 2 * CHUNK + 100));
	expect_lookup(test, h, 9 + 2 * CHUNK + 99, 9, 2 * CHUNK + 100);
	expect_lookup(test, h, LEAF_PAGES, 9, 2 * CHUNK + 100);
	KUNIT_EXPECT_TRUE(test, resize(h, last, ARENA - 9));
	KUNIT_EXPECT_FALSE(test, resize(h, last, ARENA - 8));
	check(test, h);

	/* A span of objects cannot be made shorter than one object */
	release(h, last);
	last = alloc_as(h, NULL, 9, 0, 3 * PAGE_SIZE, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 2 + 3);
	KUNIT_EXPECT_FALSE(test, resize(h, last, 2));
	KUNIT_EXPECT_TRUE(test, resize(h, last, 3));
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 2 + 1);

	/* A failed backing changes nothing either */
	spanheap_scavenge(h, 0, U64_MAX);
	fake.pages_left = 5;
	st = *stats(h);
	KUNIT_EXPECT_FALSE(test, resize(h, last, 20));
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, st.inuse_bytes);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, st.objects);
	check(test, h);
	release(h, wall);
	check(test, h);
}

static void *contested;

static void free_contested(struct spanheap *h)
{
	release(h, contested);
}

static void resize_contested(struct spanheap *h)
{
	fake.faults += resize(h, contested, 1);
}

static void span_being_resized_is_nobody_elses(struct kunit *test)
{
	struct spanheap *h = test->priv;

	contested = alloc(h, 4);
	fake.in_back = free_contested;
	KUNIT_EXPECT_TRUE(test, resize(h, contested, 8));
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	fake.in_back = resize_contested;
	KUNIT_EXPECT_TRUE(test, resize(h, contested, 12));
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 2);
	expect_lookup(test, h, 11, 0, 12);
	check(test, h);
	release(h, contested);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
}

static struct kunit_case heap_cases[] = {
	KUNIT_CASE(new_heap_is_empty),
	KUNIT_CASE(walk_sees_all_while_spans_come_and_go),
	KUNIT_CASE(map_grows_with_the_arena),
	KUNIT_CASE(counters_follow_allocation_and_free),
	KUNIT_CASE(zeroing_skips_pages_known_to_be_zero),
	KUNIT_CASE(boot_time_initialisation_is_honoured),
	KUNIT_CASE(failed_backing_is_nobodys_data),
	KUNIT_CASE(smallest_that_fits_is_taken),
	KUNIT_CASE(equal_sizes_are_taken_last_in_first_out),
	KUNIT_CASE(senseless_requests_are_refused),
	KUNIT_CASE(only_pages_taken_are_backed),
	KUNIT_CASE(backed_pages_are_counted_by_leaf_and_group),
	KUNIT_CASE(split_keeps_age_and_known_zero),
	KUNIT_CASE(growth_is_rounded_and_joins_the_end),
	KUNIT_CASE(failed_growth_says_so_once),
	KUNIT_CASE(span_is_found_by_its_ends),
	KUNIT_CASE(lookup_finds_spans_in_use_only),
	KUNIT_CASE(lookup_ignores_stale_entries),
	KUNIT_CASE(bad_frees_are_detected),
	KUNIT_CASE(neighbours_coalesce),
	KUNIT_CASE(merged_records_are_recycled),
	KUNIT_CASE(alignment_is_kept_and_loses_nothing),
	KUNIT_CASE(resize_changes_the_end_or_nothing),
	KUNIT_CASE(span_being_resized_is_nobody_elses),
	{}
};

/* Only cases that do not depend on the place of free spans, which caches change */
static struct kunit_case heap_cached_cases[] = {
	KUNIT_CASE(new_heap_is_empty),
	KUNIT_CASE(walk_sees_all_while_spans_come_and_go),
	KUNIT_CASE(map_grows_with_the_arena),
	KUNIT_CASE(counters_follow_allocation_and_free),
	KUNIT_CASE(zeroing_skips_pages_known_to_be_zero),
	KUNIT_CASE(senseless_requests_are_refused),
	KUNIT_CASE(growth_is_rounded_and_joins_the_end),
	KUNIT_CASE(failed_growth_says_so_once),
	KUNIT_CASE(span_is_found_by_its_ends),
	KUNIT_CASE(lookup_finds_spans_in_use_only),
	KUNIT_CASE(bad_frees_are_detected),
	KUNIT_CASE(resize_changes_the_end_or_nothing),
	KUNIT_CASE(span_being_resized_is_nobody_elses),
	{}
};

static struct kunit_suite heap_suite = {
	.name = "spanheap_heap",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = heap_cases,
};

static struct kunit_suite heap_cached_suite = {
	.name = "spanheap_heap_cached",
	.init = test_tuned_heap_init,
	.exit = test_heap_exit,
	.test_cases = heap_cached_cases,
};

kunit_test_suites(&heap_suite, &heap_cached_suite);
