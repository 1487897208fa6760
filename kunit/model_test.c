// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations, compared with a simple model: a bitmap of the pages in use. Without
 * caches the model predicts the address of each allocation, by the linear search of the
 * Go 1.3 page heap. With caches it predicts only whether the allocation succeeds.
 */
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sched.h>

#include "fake_arena.h"

#define OPS	200000
#define SLOTS	128
#define LIMIT	300u	/* pages of the limited client */

struct model {
	struct kunit *test;
	struct spanheap *h;
	struct spanheap_client *limited;
	u32 charged;		/* pages of the limited client */
	u32 live;		/* spans */
	u64 bad;		/* bad frees provoked */
	struct rnd_state rnd;
	DECLARE_BITMAP(used, ARENA);
	struct slot {
		u32 start, nr, obj;
		bool limited;
		unsigned long seed;
	} slot[SLOTS];
};

static u32 rnd(struct model *m, u32 below)
{
	return prandom_u32_state(&m->rnd) % below;
}

/* The words that the test writes into each page and checks later */
static unsigned long *words(struct model *m, struct slot *s, u32 page)
{
	return page_addr(m->h, s->start + page);
}

static void stamp(struct model *m, struct slot *s, u32 from)
{
	for (; from < s->nr; from++) {
		words(m, s, from)[0] = s->seed + from;
		words(m, s, from)[PAGE_SIZE / sizeof(long) - 1] = ~(s->seed + from);
	}
}

static void verify(struct model *m, struct slot *s)
{
	struct span_view found = {};
	u32 i, at = rnd(m, s->nr);
	bool wrong = false;

	for (i = 0; i < s->nr; i++)
		wrong |= words(m, s, i)[0] != s->seed + i ||
			 words(m, s, i)[PAGE_SIZE / sizeof(long) - 1] != ~(s->seed + i) ||
			 !fake_is_backed(m->h, s->start + i);
	KUNIT_ASSERT_FALSE(m->test, wrong);
	KUNIT_ASSERT_TRUE(m->test, spanheap_heap_lookup(m->h, page_addr(m->h, s->start + at) +
							rnd(m, PAGE_SIZE), &found));
	KUNIT_ASSERT_EQ(m->test, found.start, s->start);
	KUNIT_ASSERT_EQ(m->test, found.nr_pages, s->nr);
	KUNIT_ASSERT_EQ(m->test, found.obj_size, s->obj);
	KUNIT_ASSERT_PTR_EQ(m->test, found.client, s->limited ? m->limited : m->h->anon);
}

/*
 * Best fit among the pages grown into: returns the length of the smallest free run that
 * fits. *start is its lowest start, for runs of SMALL_PAGES and more.
 */
static u32 best_run(struct model *m, u32 nr, u32 *start)
{
	unsigned long from, to;
	u32 best = 0;

	for_each_clear_bitrange(from, to, m->used, m->h->used) {
		if (to - from < nr || (best && to - from >= best))
			continue;
		best = to - from;
		*start = from;
	}
	return best;
}

/* Check that the aligned span (start, nr) was cut from the best fit */
static void expect_best_fit(struct model *m, u32 start, u32 nr, u32 align, u32 was_used)
{
	u32 now = m->h->used, best, lowest, run, end;

	m->h->used = was_used;
	best = best_run(m, nr + align - 1, &lowest);
	m->h->used = now;
	if (best)
		KUNIT_ASSERT_EQ(m->test, now, was_used);
	else
		best = best_run(m, nr + align - 1, &lowest);
	run = find_last_bit(m->used, start);
	run = run == start ? 0 : run + 1;
	end = min_t(u32, find_next_bit(m->used, now, start), now);
	KUNIT_ASSERT_EQ(m->test, end - run, best);
	if (best >= SMALL_PAGES)
		KUNIT_ASSERT_EQ(m->test, run, lowest);
	KUNIT_ASSERT_LT(m->test, start - run, align);
}

static void do_alloc(struct model *m, struct slot *s)
{
	bool atomic = rnd(m, 8) == 0, zero = rnd(m, 4) == 0, over;
	gfp_t gfp = (atomic ? GFP_NOWAIT : GFP_KERNEL) | (zero ? __GFP_ZERO : 0);
	u32 nr = 1 + rnd(m, rnd(m, 16) ? 20 : 400), was_used = m->h->used;
	unsigned int shift = rnd(m, 16) ? 0 : PAGE_SHIFT + rnd(m, 7);
	u32 align = shift ? 1u << (shift - PAGE_SHIFT) : 1;
	bool limited = rnd(m, 8) == 0;
	unsigned long at;
	void *p;

	s->obj = rnd(m, 8) ? 0 : 1 + rnd(m, nr * PAGE_SIZE);
	over = limited && m->charged + nr > LIMIT;
	p = alloc_as(m->h, limited ? m->limited : NULL, nr, shift, s->obj, gfp);
	if (!p) {
		at = bitmap_find_next_zero_area(m->used, ARENA, 0, nr + align - 1, 0);
		KUNIT_ASSERT_TRUE(m->test, over || at >= ARENA || (m->h->caches.cpu && atomic));
		return;
	}
	KUNIT_ASSERT_FALSE(m->test, over);
	KUNIT_ASSERT_TRUE(m->test, IS_ALIGNED((unsigned long)p, align * PAGE_SIZE));
	s->start = page_of(m->h, p);
	KUNIT_ASSERT_LE(m->test, s->start + nr, m->h->used);
	KUNIT_ASSERT_GE(m->test, find_next_bit(m->used, s->start + nr, s->start), s->start + nr);
	if (!m->h->caches.cpu)
		expect_best_fit(m, s->start, nr, align, was_used);
	if (zero)
		KUNIT_ASSERT_NULL(m->test, memchr_inv(p, 0, nr * PAGE_SIZE));
	s->nr = nr;
	s->limited = limited;
	s->seed = prandom_u32_state(&m->rnd);
	bitmap_set(m->used, s->start, nr);
	m->charged += limited ? nr : 0;
	m->live++;
	stamp(m, s, 0);
}

static void do_free(struct model *m, struct slot *s)
{
	void *p = page_addr(m->h, s->start);

	verify(m, s);
	release(m->h, p);
	bitmap_clear(m->used, s->start, s->nr);
	m->charged -= s->limited ? s->nr : 0;
	m->live--;
	s->nr = 0;
	if (rnd(m, 32) == 0) {	/* bad frees: twice, and inside a span or a free run */
		release(m->h, p);
		release(m->h, p + PAGE_SIZE / 2);
		m->bad += 2;
	}
}

static void do_resize(struct model *m, struct slot *s)
{
	u32 nr = 1 + rnd(m, rnd(m, 4) ? s->nr + 8 : 2 * s->nr), old = s->nr;
	u32 end = s->start + nr;
	bool can = nr * PAGE_SIZE >= s->obj, done;

	verify(m, s);
	if (nr > old && can)
		can = end <= ARENA && (!s->limited || m->charged + nr - old <= LIMIT) &&
		      find_next_bit(m->used, end, s->start + old) >= end;
	done = resize(m->h, page_addr(m->h, s->start), nr);
	/* The model does not know cached neighbours, which prevent a growth */
	KUNIT_ASSERT_TRUE(m->test, done == can || (!done && nr > old && m->h->caches.cpu));
	if (!done)
		return;
	s->nr = nr;
	bitmap_clear(m->used, s->start, old);
	bitmap_set(m->used, s->start, nr);
	m->charged += s->limited ? nr - old : 0;
	stamp(m, s, min(old, nr));
	verify(m, s);
}

static void check_all(struct model *m)
{
	struct spanheap_stats st = *stats(m->h);
	struct span_view found;
	u32 i, page;

	check(m->test, m->h);
	KUNIT_ASSERT_EQ(m->test, st.inuse_bytes, (u64)bitmap_weight(m->used, ARENA) << PAGE_SHIFT);
	KUNIT_ASSERT_EQ(m->test, st.spans, m->live);
	KUNIT_ASSERT_EQ(m->test, st.invalid_frees, m->bad);
	KUNIT_ASSERT_EQ(m->test, counts(m->limited).pages, m->charged);
	for (i = 0; i < SLOTS; i++)
		if (m->slot[i].nr)
			verify(m, &m->slot[i]);
	for (i = 0; i < 16; i++) {
		page = rnd(m, ARENA);
		KUNIT_ASSERT_EQ(m->test, spanheap_heap_lookup(m->h, page_addr(m->h, page), &found),
				test_bit(page, m->used));
	}
}

static void run_model(struct kunit *test, unsigned int cache_kb)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct slot *s;
	u32 op;

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->test = test;
	m->h = test_heap_new(test, &fake_ops, ARENA, cache_kb);
	m->limited = new_client(m->h, "limited", LIMIT);
	prandom_seed_state(&m->rnd, 20140618 + cache_kb);
	for (op = 0; op < OPS; op++) {
		fake.now += rnd(m, 4);
		s = &m->slot[rnd(m, SLOTS)];
		if (rnd(m, 64) == 0)
			spanheap_scavenge(m->h, rnd(m, AGES), rnd(m, 200));
		if (rnd(m, 64) == 0)
			spanheap_tick(m->h);
		if (rnd(m, 16) == 0)
			spanheap_release_growth(m->h);
		if (!s->nr)
			do_alloc(m, s);
		else if (rnd(m, 4) == 0)
			do_resize(m, s);
		else
			do_free(m, s);
		if (op % 64 == 0)
			check_all(m);
		cond_resched();
	}
	for (s = m->slot; s < m->slot + SLOTS; s++)
		if (s->nr)
			do_free(m, s);
	check_all(m);
	spanheap_heap_unregister(m->limited);
	KUNIT_EXPECT_EQ(test, stats(m->h)->inuse_bytes, 0);
	spanheap_scavenge(m->h, 0, U64_MAX);
	KUNIT_EXPECT_EQ(test, m->h->nr_free, 1u);
	KUNIT_EXPECT_EQ(test, fake.nr_backed, 0);
	check(test, m->h);
	test_heap_end(m->h);
}

/* M3-M19, M24, M34: every result is the one of the Go 1.3 page heap */
static void random_operations_agree_with_the_model(struct kunit *test)
{
	run_model(test, 0);
}

/* M35: the same with caches of the smallest, the default and the largest size */
static void random_operations_with_smallest_caches(struct kunit *test)
{
	run_model(test, 1);
}

static void random_operations_with_caches(struct kunit *test)
{
	run_model(test, 256);
}

static void random_operations_with_largest_caches(struct kunit *test)
{
	run_model(test, UINT_MAX);
}

static struct kunit_case model_cases[] = {
	KUNIT_CASE(random_operations_agree_with_the_model),
	KUNIT_CASE(random_operations_with_smallest_caches),
	KUNIT_CASE(random_operations_with_caches),
	KUNIT_CASE(random_operations_with_largest_caches),
	{}
};

static struct kunit_suite model_suite = {
	.name = "spanheap_model",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = model_cases,
};

kunit_test_suite(model_suite);
