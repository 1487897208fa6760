// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of the page heap, on an arena that is a kvmalloc'ed block, told to
 * fail at the n-th page, and a clock the test sets. Row numbers (M..) are those
 * of the behaviours the page heap has from the Go 1.3 runtime.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include <compat/kasan.h>

#include "spanheap_internal.h"

#define ARENA	2048u		/* pages: 8 MiB, four leaves */

static unsigned long now;	/* the clock, in ticks */
static s64 pages_left;		/* the arena backs so many more */
static u32 flushes;
static bool refuse_reserve;

static unsigned long test_clock(void)
{
	return now;
}

static int fake_reserve(struct spanheap *h, unsigned long nr)
{
	if (refuse_reserve)
		return -ENOMEM;
	h->base = kvzalloc(nr << PAGE_SHIFT, GFP_KERNEL);
	return h->base ? 0 : -ENOMEM;
}

static void fake_unreserve(struct spanheap *h)
{
	kvfree(h->base);
}

/* Memory is there always: backing is counted, and zeroed when asked */
static u32 fake_back(struct spanheap *h, u32 start, u32 nr, gfp_t gfp)
{
	u32 got = min_t(s64, nr, pages_left);

	pages_left -= got;
	compat_kasan_use(page_addr(h, start), got, true);
	memset(page_addr(h, start), gfp & __GFP_ZERO ? 0 : 0xa5,
	       (size_t)got << PAGE_SHIFT);
	return got;
}

/* The releaser frees what it is given: a page of the system for each */
static u32 fake_unback(struct spanheap *h, u32 start, u32 nr, struct page **pages)
{
	u32 i;

	for (i = 0; i < nr; i++)
		pages[i] = alloc_page(GFP_KERNEL | __GFP_NOFAIL);
	return nr;
}

static void fake_flush(struct spanheap *h, u32 start, u32 end)
{
	flushes++;
}

static const struct arena_ops fake_ops = {
	.name = "fake arena",
	.reserve = fake_reserve,
	.unreserve = fake_unreserve,
	.back = fake_back,
	.unback = fake_unback,
	.flush = fake_flush,
};

static void check(struct kunit *test, struct spanheap *h)
{
	char why[128] = "";

	KUNIT_ASSERT_EQ_MSG(test, spanheap_heap_check(h, why, sizeof(why)), 0,
			    "%s", why);
}

static int heap_init(struct kunit *test)
{
	struct spanheap *h;

	now = 1000;
	pages_left = S64_MAX;
	flushes = 0;
	refuse_reserve = false;
	h = spanheap_heap_create(&fake_ops, ARENA, test_clock);
	KUNIT_ASSERT_FALSE(test, IS_ERR(h));
	test->priv = h;
	return 0;
}

static void heap_exit(struct kunit *test)
{
	struct spanheap *h = test->priv;
	unsigned long flags;
	struct span *s;
	u32 idx = 0;

	if (!h)
		return;
	do {	/* a failed test may leave spans */
		spin_lock_irqsave(&h->lock, flags);
		s = __spanheap_next(h, idx);
		if (s)
			idx = s->start;
		spin_unlock_irqrestore(&h->lock, flags);
		if (s && s->state == SPAN_INUSE)
			spanheap_heap_free(h, page_addr(h, idx), _THIS_IP_);
		idx++;
	} while (s);
	spanheap_heap_destroy(h);
}

/* A call site each, as for the callers of the exported functions */
static noinline void *alloc(struct spanheap *h, size_t nr)
{
	return spanheap_heap_alloc(h, h->anon, nr, 0, 0,
				   GFP_KERNEL | __GFP_NOWARN, _RET_IP_);
}

static noinline void *zalloc(struct spanheap *h, size_t nr)
{
	return spanheap_heap_alloc(h, h->anon, nr, 0, 0,
				   GFP_KERNEL | __GFP_NOWARN | __GFP_ZERO,
				   _RET_IP_);
}

static noinline void release(struct spanheap *h, const void *p)
{
	spanheap_heap_free(h, p, _RET_IP_);
}

static struct spanheap_stats stats(struct spanheap *h)
{
	struct spanheap_stats st;

	spanheap_heap_stats(h, &st);
	return st;
}

/* M1: a new heap is empty; what fails half-way is torn down */
static void create_test(struct kunit *test)
{
	struct spanheap *h = test->priv;

	KUNIT_EXPECT_EQ(test, stats(h).sys_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h).largest_free_pages, 0);
	check(test, h);
	refuse_reserve = true;
	KUNIT_EXPECT_EQ(test, PTR_ERR(spanheap_heap_create(&fake_ops, 16, test_clock)), -ENOMEM);
	KUNIT_EXPECT_EQ(test, PTR_ERR(spanheap_heap_create(&fake_ops, 0, test_clock)), -EINVAL);
}

/* M3, M11, M12: growth by 1 MiB, leaves as used, chunks coalesce, exact at the end */
static void grow_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u64 meta = stats(h).other_meta_bytes;
	void *a = alloc(h, 1), *b;

	KUNIT_ASSERT_NOT_NULL(test, a);
	KUNIT_EXPECT_EQ(test, stats(h).sys_bytes, SZ_1M);
	KUNIT_EXPECT_GT(test, stats(h).other_meta_bytes, meta);
	KUNIT_EXPECT_EQ(test, stats(h).released_bytes, SZ_1M - PAGE_SIZE);
	b = alloc(h, 300);	/* 255 idle pages are too few */
	KUNIT_ASSERT_NOT_NULL(test, b);
	KUNIT_EXPECT_PTR_EQ(test, b, a + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h).grows, 2);
	KUNIT_EXPECT_EQ(test, stats(h).sys_bytes, SZ_1M + 304 * PAGE_SIZE);
	KUNIT_EXPECT_NULL(test, alloc(h, ARENA));
	KUNIT_EXPECT_EQ(test, stats(h).failed_allocs, 1);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, ARENA - 301));	/* the exact rest */
	KUNIT_EXPECT_NULL(test, alloc(h, 1));
	check(test, h);
}

/* M6, M9, M18, M19: best fit, split, coalescing on both sides */
static void fit_test(struct kunit *test)
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
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 3), p[0] + 5 * PAGE_SIZE);	/* its rest */
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 257), p[8]);	/* smallest, lowest */
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 260), p[10]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 261), p[6]);
	check(test, h);
}

static void coalesce_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a = alloc(h, 10), *b = alloc(h, 10), *c = alloc(h, 10);

	release(h, a);
	release(h, c);	/* meets the rest of the chunk */
	check(test, h);
	KUNIT_EXPECT_EQ(test, h->nr_free, 2);
	release(h, b);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1);
	KUNIT_EXPECT_EQ(test, stats(h).largest_free_pages, SZ_1M >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, stats(h).released_bytes, SZ_1M - 30 * PAGE_SIZE);
	check(test, h);
}

/* M10, M14: interior look-up, also over leaves; nothing in free or foreign */
static void lookup_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 1500);
	struct span_view s;

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_TRUE(test, spanheap_heap_lookup(h, p, &s));
	KUNIT_EXPECT_TRUE(test, spanheap_heap_lookup(h, p + 1499 * PAGE_SIZE + 7, &s));
	KUNIT_EXPECT_EQ(test, s.start, 0);
	KUNIT_EXPECT_EQ(test, s.nr_pages, 1500);
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p + 1500 * PAGE_SIZE, &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p - 1, &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, &s, &s));
	release(h, p);
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p, &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p + 700 * PAGE_SIZE, &s));
}

/* M4, M15, M16, M34: counters; a bad free is counted and changes nothing */
static void free_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 4), *q = alloc(h, 4);

	KUNIT_EXPECT_EQ(test, stats(h).spans, 2);
	KUNIT_EXPECT_EQ(test, stats(h).inuse_bytes, 8 * PAGE_SIZE);
	release(h, NULL);
	KUNIT_EXPECT_EQ(test, stats(h).invalid_frees, 0);
	release(h, p + PAGE_SIZE);
	release(h, p + 8);
	release(h, test);
	release(h, &h);
	release(h, page_addr(h, 100));
	release(h, page_addr(h, ARENA - 1));
	KUNIT_EXPECT_EQ(test, stats(h).invalid_frees, 6);
	KUNIT_EXPECT_EQ(test, stats(h).spans, 2);
	release(h, p);
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h).invalid_frees, 7);
	KUNIT_EXPECT_EQ(test, stats(h).inuse_bytes, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h).frees, 1);
	release(h, q);
	KUNIT_EXPECT_EQ(test, stats(h).idle_bytes, stats(h).sys_bytes);
	check(test, h);
}

/* M7: what cannot be meant is refused */
static void refuse_test(struct kunit *test)
{
	struct spanheap *h = test->priv;

	KUNIT_EXPECT_NULL(test, alloc(h, 0));
	KUNIT_EXPECT_NULL(test, alloc(h, ARENA + 1));
	KUNIT_EXPECT_NULL(test, alloc(h, SIZE_MAX));
	KUNIT_EXPECT_NULL(test, alloc(h, SIZE_MAX >> PAGE_SHIFT));
	KUNIT_EXPECT_EQ(test, stats(h).failed_allocs, 4);
	KUNIT_EXPECT_EQ(test, stats(h).sys_bytes, 0);
	check(test, h);
}

/* M5: clears what may be dirty, and only that */
static void zero_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = zalloc(h, 4);
	u64 cleared;

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 4 * PAGE_SIZE));
	memset(p, 1, 4 * PAGE_SIZE);
	release(h, p);
	cleared = stats(h).zeroed_bytes;
	p = zalloc(h, 4);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 4 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, stats(h).zeroed_bytes, cleared + 4 * PAGE_SIZE);
}

/* M8, M17, M24: age, release, one flush a batch; only what is taken is backed */
static void scavenge_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a = alloc(h, 16), *wall = alloc(h, 1), *b = alloc(h, 16);

	release(h, a);
	now += 100;
	release(h, b);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 101, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, flushes, 0);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 100, U64_MAX), 16);
	KUNIT_EXPECT_EQ(test, flushes, 1);
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, 5), 5);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 11);
	KUNIT_EXPECT_EQ(test, stats(h).resident_bytes, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h).scavenged_bytes, 32 * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 16), a);
	KUNIT_EXPECT_EQ(test, stats(h).resident_bytes, 17 * PAGE_SIZE);
	release(h, wall);
	check(test, h);
}

/* A backing that fails at the n-th page loses nothing, for every n */
static void back_failure_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 n;

	for (n = 0; n < 40; n++) {
		pages_left = n;
		KUNIT_EXPECT_NULL(test, alloc(h, 40));
		KUNIT_EXPECT_EQ(test, stats(h).inuse_bytes, 0);
		KUNIT_EXPECT_EQ(test, stats(h).resident_bytes, n * PAGE_SIZE);
		check(test, h);
		pages_left = S64_MAX;
		spanheap_scavenge(h, 0, U64_MAX);
	}
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 40));
}

#define MODEL_OPS	200000
#define MODEL_SLOTS	128

struct model {
	DECLARE_BITMAP(used, ARENA);
	struct { u32 start, nr; } slot[MODEL_SLOTS];
};

/* Random operations beside a bitmap of pages in use */
static void model_test(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct rnd_state rnd;
	u32 op, i, nr, start;
	unsigned long at;
	void *p;

	KUNIT_ASSERT_NOT_NULL(test, m);
	prandom_seed_state(&rnd, 20140618);
	for (op = 0; op < MODEL_OPS; op++) {
		i = prandom_u32_state(&rnd) % MODEL_SLOTS;
		now += prandom_u32_state(&rnd) % 4;
		if (prandom_u32_state(&rnd) % 64 == 0)
			spanheap_scavenge(h, prandom_u32_state(&rnd) % 100,
					  prandom_u32_state(&rnd) % 200);
		if (m->slot[i].nr) {
			start = m->slot[i].start;
			release(h, page_addr(h, start));
			bitmap_clear(m->used, start, m->slot[i].nr);
			m->slot[i].nr = 0;
		} else {
			nr = 1 + prandom_u32_state(&rnd) %
			     (prandom_u32_state(&rnd) % 16 ? 16 : 400);
			p = alloc(h, nr);
			if (!p) {
				at = bitmap_find_next_zero_area(m->used, ARENA,
								0, nr, 0);
				KUNIT_ASSERT_GE(test, at, ARENA);
				continue;
			}
			start = (p - h->base) >> PAGE_SHIFT;
			KUNIT_ASSERT_LE(test, start + nr, ARENA);
			KUNIT_ASSERT_GE(test, find_next_bit(m->used, start + nr, start),
					start + nr);
			bitmap_set(m->used, start, nr);
			m->slot[i].start = start;
			m->slot[i].nr = nr;
		}
		if (op % 64 == 0) {
			check(test, h);
			KUNIT_ASSERT_EQ(test, stats(h).inuse_bytes,
					(u64)bitmap_weight(m->used, ARENA) << PAGE_SHIFT);
		}
	}
	check(test, h);
}

/* The arena of the running kernel: pages come, go and come back zeroed */
static void real_arena_test(struct kunit *test)
{
	struct spanheap *h = spanheap_heap_create(&spanheap_arena_ops, 1024, test_clock);
	void *p;

	KUNIT_ASSERT_FALSE(test, IS_ERR(h));
	p = zalloc(h, 600);
	KUNIT_EXPECT_NOT_NULL(test, p);
	if (p) {
		KUNIT_EXPECT_TRUE(test, is_vmalloc_addr(p));
		memset(p, 0x5a, 600 * PAGE_SIZE);
		release(h, p);
		KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 600);
		KUNIT_EXPECT_PTR_EQ(test, zalloc(h, 600), p);
		KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 600 * PAGE_SIZE));
		release(h, p);
	}
	check(test, h);
	spanheap_heap_destroy(h);
}

static struct kunit_case heap_cases[] = {
	KUNIT_CASE(create_test),
	KUNIT_CASE(grow_test),
	KUNIT_CASE(fit_test),
	KUNIT_CASE(coalesce_test),
	KUNIT_CASE(lookup_test),
	KUNIT_CASE(free_test),
	KUNIT_CASE(refuse_test),
	KUNIT_CASE(zero_test),
	KUNIT_CASE(scavenge_test),
	KUNIT_CASE(back_failure_test),
	KUNIT_CASE(model_test),
	KUNIT_CASE(real_arena_test),
	{}
};

static struct kunit_suite heap_suite = {
	.name = "spanheap",
	.init = heap_init,
	.exit = heap_exit,
	.test_cases = heap_cases,
};

kunit_test_suite(heap_suite);

MODULE_DESCRIPTION("Unit tests of spanheap");
MODULE_LICENSE("GPL");
