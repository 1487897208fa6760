// SPDX-License-Identifier: GPL-2.0
/*
 * The release policy under loads of several seconds, on a clock that the tests set: how
 * soon idle memory is released, that hot memory is not, how much work allocations do for
 * it, and how much more memory a heap may have than is in use.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "fake_arena.h"
#include "nothing_arena.h"

#define MIB		(SZ_1M >> PAGE_SHIFT)
#define STEPS		100u			/* steps in a second */

/* A heap without memory of its own, with caches, and its load */
struct load {
	struct kunit *test;
	struct spanheap *h;
	u32 step;			/* since the beginning */
	u32 epoch_steps;		/* between two ticks */
	void (*at)(struct load *l);	/* runs one step of the load */
	u64 in_task;			/* TLB flushes by the load */
	u64 beside;			/* TLB flushes by the thread */
	u64 live, peak_live, peak;	/* pages, as counted by the load */
	u32 hot, nr_hot;		/* pages that should keep their memory */
	u32 lost;			/* hot pages that lost it, at a tick */
};

static void begin(struct load *l, struct kunit *test, u32 pages)
{
	*l = (struct load) { .test = test, .epoch_steps = STEPS / 2 };
	l->h = test_heap_new(test, &nothing_ops, pages, 256);
	l->h->anon->flags = SPANHEAP_SKIP_INIT;
}

static void end(struct load *l)
{
	check(l->test, l->h);
	test_heap_end(l->h);
	nothing_done();
}

/* Run the load for some seconds, with the ticks and growth releases of the thread */
static void run(struct load *l, u32 seconds)
{
	u32 until = l->step + seconds * STEPS;
	struct spanheap *h = l->h;
	u64 flushes;

	for (; l->step < until; l->step++) {
		fake.now = 1000 + (u64)l->step * HZ / STEPS;
		if (l->step % l->epoch_steps == 0) {
			if (l->nr_hot)
				l->lost += l->nr_hot - spanheap_count_backed(h, l->hot, l->nr_hot);
			spanheap_tick(h);
			if (l->nr_hot)
				l->lost += l->nr_hot - spanheap_count_backed(h, l->hot, l->nr_hot);
		}
		flushes = h->tlb_flushes;
		if (l->at)
			l->at(l);
		l->in_task += h->tlb_flushes - flushes;
		cond_resched();
	}
}

/* Is this one of the per_second steps in a second at which the load acts? */
static bool every(struct load *l, u32 per_second)
{
	return l->step % (STEPS / per_second) == 0;
}

static void one_page_a_second(struct load *l)
{
	if (every(l, 1))
		release(l->h, alloc(l->h, 1));
}

static void three_hundred_twice_a_second(struct load *l)
{
	if (every(l, 2))
		release(l->h, alloc(l->h, 300));
}

static void hundred_operations_a_second(struct load *l)
{
	release(l->h, alloc(l->h, 1 + l->step % 32));
}

/* With 64 MiB idle beside a light load, 95 % is released within 2 s, by the thread alone */
static void idle_memory_goes_beside_light_loads(struct kunit *test)
{
	static void (*const load[])(struct load *) = {
		NULL, one_page_a_second, three_hundred_twice_a_second,
		hundred_operations_a_second,
	};
	u64 flushes;
	struct load l;
	void *p;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(load); i++) {
		begin(&l, test, 256 * MIB);
		l.at = load[i];
		p = alloc(l.h, 64 * MIB);
		run(&l, 1);
		release(l.h, p);
		flushes = l.h->tlb_flushes;
		run(&l, 2);
		KUNIT_EXPECT_LE_MSG(test, heap_resident(l.h), 64 * MIB / 20, "load %u", i);
		KUNIT_EXPECT_LE_MSG(test, l.h->tlb_flushes - flushes,
				    64 * MIB / BATCH_PAGES + 4, "load %u", i);
		flushes = l.h->tlb_flushes;
		run(&l, 20);
		KUNIT_EXPECT_LE_MSG(test, l.h->tlb_flushes - flushes, 40u, "load %u", i);
		KUNIT_EXPECT_EQ_MSG(test, l.in_task, 0, "load %u", i);
		KUNIT_EXPECT_LE_MSG(test, heap_resident(l.h), 4 * MIB, "load %u", i);
		end(&l);
	}
}

/* 256 MiB are freed in 4096 pieces, some into caches; then there is no load */
static void quarter_gigabyte_goes_in_two_seconds(struct kunit *test)
{
	void **p = kvcalloc(4096, sizeof(*p), GFP_KERNEL);
	struct load l;
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, p);
	begin(&l, test, 512 * MIB);
	for (i = 0; i < 4096; i++)
		p[i] = alloc(l.h, 16);
	run(&l, 1);
	for (i = 0; i < 4096; i++)
		release(l.h, p[(i * 2731) % 4096]);
	KUNIT_EXPECT_GT(test, heap_cached(l.h), 0);
	run(&l, 2);
	KUNIT_EXPECT_EQ(test, heap_resident(l.h), 0);
	KUNIT_EXPECT_LE(test, l.h->tlb_flushes, 256 * MIB / BATCH_PAGES + 1);
	end(&l);
	kvfree(p);
}

static void *half;

static void half_of_the_time(struct load *l)
{
	if (!every(l, 2))
		return;
	if (l->step / (STEPS / 2) % 2 == 0)
		half = alloc(l->h, 32 * MIB);
	else
		release(l->h, half);
}

/* Of 64 MiB, the half that is used during half of each second keeps its memory */
static void hot_half_stays_cold_half_goes(struct kunit *test)
{
	struct load l;
	void *p;

	begin(&l, test, 256 * MIB);
	p = alloc(l.h, 64 * MIB);
	release(l.h, p);
	l.at = half_of_the_time;
	run(&l, 1);
	l.hot = page_of(l.h, half);
	l.nr_hot = 32 * MIB;
	run(&l, 60);
	KUNIT_EXPECT_EQ(test, l.lost, 0u);
	KUNIT_EXPECT_EQ(test, heap_resident(l.h), 32 * MIB);
	KUNIT_EXPECT_EQ(test, l.in_task, 0);
	KUNIT_EXPECT_LE(test, l.h->tlb_flushes, 32 * MIB / BATCH_PAGES + 1);
	KUNIT_EXPECT_EQ(test, stats(l.h)->refaulted_bytes, 0);
	end(&l);
}

static void just_before_each_tick(struct load *l)
{
	if (l->step % l->epoch_steps == l->epoch_steps - 1) {
		release(l->h, half);
		half = alloc(l->h, 192 * MIB);
	}
}

/* Use memory again right after the tick at which it became old */
static void just_after_the_age(struct load *l)
{
	u32 at = l->step % (3 * l->epoch_steps);

	if (at == 1)
		half = alloc(l->h, 192 * MIB);
	else if (at == 2)
		release(l->h, half);
}

/* A worst-case load costs the heap only as many pages as it uses, once for each use */
static void adversary_pays_for_itself(struct kunit *test)
{
	struct load l;

	begin(&l, test, 512 * MIB);
	half = alloc(l.h, 192 * MIB);
	l.at = just_before_each_tick;
	run(&l, 30);
	KUNIT_EXPECT_EQ(test, l.h->tlb_flushes, 0);
	KUNIT_EXPECT_EQ(test, l.in_task, 0);
	release(l.h, half);
	end(&l);

	begin(&l, test, 512 * MIB);
	l.at = just_after_the_age;
	run(&l, 30);
	KUNIT_EXPECT_LE(test, l.h->scavenged_pages, (30 * 2 / 3) * 192 * MIB);
	KUNIT_EXPECT_LE(test, l.h->tlb_flushes, (30 * 2 / 3) * 192 * MIB / BATCH_PAGES);
	KUNIT_EXPECT_EQ(test, l.in_task, 0);
	KUNIT_EXPECT_EQ(test, l.h->used, 192 * MIB);
	end(&l);
}

/* 64 MiB of spans whose length changes each second; a quarter lives for longer */
#define LENGTHS_PAGES	(64 * MIB)
#define LENGTHS_SPANS	(LENGTHS_PAGES / 4)

struct lengths {
	struct load l;
	void **p[2];			/* spans of this second, and of the one before */
	u32 nr[2];
	bool thread;			/* false: no thread releases for growth */
};

static void account(struct load *l, struct lengths *s)
{
	struct spanheap *h = l->h;
	u64 resident, flushes;

	if (s->thread) {
		flushes = h->tlb_flushes;
		spanheap_release_growth(h);
		l->beside += h->tlb_flushes - flushes;
	}
	resident = heap_resident(h);
	l->peak_live = max(l->peak_live, l->live);
	l->peak = max(l->peak, resident);
}

static void give(struct lengths *s, void **p, u32 nr)
{
	if (*p) {
		s->l.live -= nr;
		release(s->l.h, *p);
		*p = NULL;
		account(&s->l, s);
	}
}

static void lengths_change(struct load *l)
{
	static const u32 len[] = { 4, 40, 7, 100, 20, 200 };
	struct lengths *s = container_of(l, struct lengths, l);
	u32 second = l->step / STEPS, at = l->step % STEPS, i, n;
	u32 now = second % 2, old = 1 - now;

	if (at < 16) {
		s->nr[now] = len[second % ARRAY_SIZE(len)];
		n = LENGTHS_PAGES / s->nr[now];
		for (i = n * at / 16; i < n * (at + 1) / 16; i++) {
			s->p[now][i] = alloc(l->h, s->nr[now]);
			KUNIT_ASSERT_NOT_NULL(l->test, s->p[now][i]);
			l->live += s->nr[now];
			account(l, s);
		}
	}
	for (i = at - 90; at >= 90 && i < LENGTHS_SPANS; i += 10) {
		give(s, &s->p[old][i], s->nr[old]);
		if (i % 4)
			give(s, &s->p[now][i], s->nr[now]);
	}
}

static void run_lengths(struct kunit *test, bool thread, u64 *allowed, struct lengths *s)
{
	u32 i, k;

	begin(&s->l, test, 1024 * MIB);
	s->thread = thread;
	s->l.at = lengths_change;
	for (k = 0; k < 2; k++) {
		s->nr[k] = 0;
		s->p[k] = kvcalloc(LENGTHS_SPANS, sizeof(void *), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, s->p[k]);
	}
	run(&s->l, 30);
	*allowed = s->l.peak_live * 17 / 16 + 2 * (SZ_128K >> PAGE_SHIFT) + 16 * MIB;
	for (k = 0; k < 2; k++) {
		for (i = 0; i < LENGTHS_SPANS; i++)
			give(s, &s->p[k][i], s->nr[k]);
		kvfree(s->p[k]);
	}
}

/* Fragmentation does not make the heap grow, whether the thread runs soon or never */
static void changing_lengths_peak_with_what_is_live(struct kunit *test)
{
	struct lengths *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	u64 allowed;

	KUNIT_ASSERT_NOT_NULL(test, s);
	run_lengths(test, true, &allowed, s);
	KUNIT_EXPECT_LE(test, s->l.peak, allowed);
	KUNIT_EXPECT_EQ(test, s->l.in_task, s->l.beside);
	kunit_info(test, "peak %llu of %llu live pages, flushes for growth %llu",
		   s->l.peak, s->l.peak_live, s->l.beside);
	end(&s->l);

	run_lengths(test, false, &allowed, s);
	KUNIT_EXPECT_LE(test, s->l.peak, s->l.peak_live * 5 / 4 + 17 * MIB);
	kunit_info(test, "without a thread: peak %llu of %llu live pages, in the task %llu flushes",
		   s->l.peak, s->l.peak_live, s->l.in_task);
	KUNIT_EXPECT_GT(test, s->l.in_task, 0);
	end(&s->l);
}

/* A quarter of a million one-page free spans become old at one tick: each hold is short */
static void hold_is_bounded_for_very_many_spans(struct kunit *test)
{
	u32 nr = SZ_512K, i;
	struct load l;
	void *p;

	begin(&l, test, nr);
	spanheap_cache_pause(&l.h->caches);	/* all spans go to the page heap */
	for (i = 0; i < nr; i++) {
		p = alloc(l.h, 1);
		KUNIT_ASSERT_PTR_EQ(test, p, page_addr(l.h, i));
		if (i % 64 == 0)
			cond_resched();
	}
	for (i = 0; i < nr; i += 2)
		release(l.h, page_addr(l.h, i));
	KUNIT_EXPECT_EQ(test, l.h->nr_free, nr / 2);
	tick(l.h);
	tick(l.h);
	steps_watch(l.h);
	KUNIT_EXPECT_EQ(test, tick(l.h), nr / 2);
	KUNIT_EXPECT_LE(test, spanheap_steps[STEPS_HOLD].most, 2 * HOLD_SPANS);
	KUNIT_EXPECT_GE(test, spanheap_steps[STEPS_HOLD].times, nr / 2 / HOLD_SPANS);
	KUNIT_EXPECT_EQ(test, l.h->tlb_flushes, nr / 2 / BATCH_PAGES);
	spanheap_cache_resume(&l.h->caches);
	for (i = 1; i < nr; i += 2)
		release(l.h, page_addr(l.h, i));
	end(&l);
}

/* One span of 16 GiB whose last 64 KiB are old: a hold looks at a part of its pages only */
static void hold_is_bounded_for_a_very_long_span(struct kunit *test)
{
	u32 nr = 16384 * MIB;
	struct load l;
	void *p, *q;

	begin(&l, test, nr);
	p = alloc(l.h, nr - UNIT_PAGES);
	q = alloc(l.h, UNIT_PAGES);
	release(l.h, q);
	tick(l.h);
	tick(l.h);
	release(l.h, p);
	KUNIT_EXPECT_EQ(test, l.h->nr_free, 1u);
	steps_watch(l.h);
	KUNIT_EXPECT_EQ(test, tick(l.h), UNIT_PAGES);
	KUNIT_EXPECT_LE(test, spanheap_steps[STEPS_HOLD].most, 2 * HOLD_SPANS);
	KUNIT_EXPECT_GE(test, spanheap_steps[STEPS_HOLD].times, nr / BATCH_PAGES / HOLD_SPANS);
	KUNIT_EXPECT_FALSE(test, l.h->released_pages != UNIT_PAGES);
	KUNIT_EXPECT_EQ(test, tick(l.h), 0);
	KUNIT_EXPECT_EQ(test, tick(l.h), nr - UNIT_PAGES);
	end(&l);
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(idle_memory_goes_beside_light_loads),
	KUNIT_CASE(quarter_gigabyte_goes_in_two_seconds),
	KUNIT_CASE(hot_half_stays_cold_half_goes),
	KUNIT_CASE(adversary_pays_for_itself),
	KUNIT_CASE(changing_lengths_peak_with_what_is_live),
	KUNIT_CASE(hold_is_bounded_for_very_many_spans),
	KUNIT_CASE(hold_is_bounded_for_a_very_long_span),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "spanheap_policy",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
