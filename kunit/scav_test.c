// SPDX-License-Identifier: GPL-2.0
/*
 * The scavenger: what is released when, by whose clock, and what is said of it.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <trace/events/spanheap.h>

#include "fake_arena.h"

/* M17, M24: what has been idle for the age goes, oldest first, one flush a batch */
static void idle_pages_go_by_age(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a = alloc(h, 16), *wall = alloc(h, 1), *b = alloc(h, 16);

	release(h, a);
	fake.now += 100;
	release(h, b);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 101, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, fake.flushes, 0);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 100, U64_MAX), 16);
	KUNIT_EXPECT_EQ(test, fake.flushes, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->tlb_flushes, 1);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, 0));
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, 5), 5);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 11);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->scavenged_bytes, 32 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->scavenge_passes, 5);
	KUNIT_EXPECT_EQ(test, fake.flushes, 3);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 16), a);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 17 * PAGE_SIZE);
	release(h, wall);
	check(test, h);
}

/* M24: a clock that wraps is no excuse */
static void ages_survive_a_wrap_of_the_clock(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p;

	fake.now = -50ul;
	p = alloc(h, 8);
	release(h, p);
	fake.now += 40;		/* the end of the age is beyond the wrap, */
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 100, U64_MAX), 0);
	fake.now += 59;		/* ... and so is now */
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 100, U64_MAX), 0);
	fake.now++;
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 100, U64_MAX), 8);
}

/* M24: many spans and many pages: at least 512 pages or 64 spans a flush */
static void one_flush_serves_a_batch(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static void *p[128];
	u32 i;

	release(h, alloc(h, 2000));
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 2000);
	KUNIT_EXPECT_LE(test, fake.flushes, 2000 / 512 + 1u);
	fake.flushes = 0;
	for (i = 0; i < 128; i++)
		p[i] = alloc(h, 3);
	for (i = 0; i < 128; i += 2)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 64 * 3);
	KUNIT_EXPECT_LE(test, fake.flushes, 2u);
	check(test, h);
}

/* 40 spans of 16 pages, of which the first 2 * nr are free but for every other one */
static void fragment(struct spanheap *h, u32 nr)
{
	static void *p[40];
	u32 i;

	for (i = 0; i < 40; i++)
		p[i] = alloc(h, 16);
	for (i = 0; i < 2 * nr; i += 2)
		release(h, p[i]);
}

/*
 * M6, M24: what does not fit into idle pages gets new ones, and the system gets idle
 * ones for them, as soon as they are more than 1/7 of what is in use
 */
static void growth_gives_back_what_is_idle(struct kunit *test)
{
	struct spanheap *h = test->priv;

	fragment(h, 4);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 32));
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, (640 + 32) * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake.flushes, 0u);
	check(test, h);
	release(h, page_addr(h, 8 * 16));
	release(h, page_addr(h, 10 * 16));	/* now 96 pages in 6 holes, 1/6 of the rest */
	KUNIT_EXPECT_NOT_NULL(test, alloc_as(h, NULL, 32, 0, 0, GFP_NOWAIT));
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, (640 + 64) * PAGE_SIZE);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 8));	/* fits: has memory */
	KUNIT_EXPECT_EQ(test, fake.flushes, 0u);
	release(h, page_addr(h, 12 * 16));
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 32));
	KUNIT_EXPECT_EQ(test, fake.flushes, 1u);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes - stats(h)->inuse_bytes,
			rounddown(stats(h)->inuse_bytes / 14, PAGE_SIZE));
	check(test, h);

	h->resident_peak = ARENA;	/* as much memory as it ever had: no matter */
	release(h, page_addr(h, 14 * 16));
	release(h, page_addr(h, 16 * 16));
	release(h, page_addr(h, 18 * 16));
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 32));
	KUNIT_EXPECT_EQ(test, fake.flushes, 1u);
	spanheap_scavenge(h, 1000, U64_MAX);	/* ... before the last pass */
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 32));
	KUNIT_EXPECT_EQ(test, fake.flushes, 2u);
	check(test, h);
}

/* ... and before that, what caches keep is put together: it may fit */
static void growth_empties_the_caches(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 256);
	u32 i;

	fake.now += HZ / 10;
	fragment(h, 1);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 40));
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 16 * PAGE_SIZE);	/* not enough */
	for (i = 9; i < 20; i++)
		release(h, page_addr(h, i * 16));
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 12 * 16 * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, alloc_as(h, NULL, 176, 0, 0, GFP_NOWAIT), page_addr(h, 680));
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 12 * 16 * PAGE_SIZE);
	/* The last cycle of the clock in which it was looked at is over */
	fake.now += HZ / 10;
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 176), page_addr(h, 9 * 16));
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, (640 + 40 + 176) * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake.flushes, 0u);
	check(test, h);
	test_heap_end(h);
}

static void *meanwhile[3];

static void alloc_meanwhile(struct spanheap *h)
{
	gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN;

	/* No waiting for the releaser, which is this task */
	meanwhile[0] = alloc_as(h, NULL, 20, 0, 0, gfp);	/* all there is */
	meanwhile[1] = alloc_as(h, NULL, 3, 0, 0, gfp);		/* idle, not being released */
	release(h, page_addr(h, 0));				/* being released */
	fake.faults += spanheap_check(h, NULL, 0) != 0;
}

/*
 * M24: pages being released are nobody's, and no neighbour joins them; when they
 * are gone they are as good as any
 */
static void span_being_released_is_not_handed_out(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a, *wall, *b;

	a = alloc(h, 20);
	wall = alloc(h, 1);
	b = alloc(h, ARENA - 21);
	release(h, a);
	fake.now += 10;
	release(h, b);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, ARENA - 21 - 3), b);
	fake.in_unback = alloc_meanwhile;
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 10, U64_MAX), 20);
	KUNIT_EXPECT_NULL(test, meanwhile[0]);
	KUNIT_EXPECT_NOT_NULL(test, meanwhile[1]);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	check(test, h);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 20), a);
	release(h, wall);
	check(test, h);
}

static void free_wall(struct spanheap *h)
{
	release(h, meanwhile[2]);
	fake.faults += peek(h, 20).nr_pages != 1;
}

/* M18, M24: what is freed beside it joins it when it is put back */
static void neighbour_freed_meanwhile_joins_later(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a = alloc(h, 20);

	meanwhile[2] = alloc(h, 1);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 1));
	release(h, a);
	fake.in_unback = free_wall;
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, 20), 20);
	KUNIT_EXPECT_EQ(test, peek(h, 0).nr_pages, 21u);
	KUNIT_EXPECT_EQ(test, peek(h, 0).nr_released, 20u);
	check(test, h);
}

static int collected;
static void *hoard;

static void collect(void *priv)
{
	struct spanheap *h = priv;

	collected++;
	release(h, hoard);
	hoard = NULL;
}

/* M26: collect, then everything idle goes, however young; cached spans too */
static void release_all_collects_first(struct kunit *test)
{
	struct spanheap *h = test->priv;
	const struct spanheap_client_ops ops = { .collect = collect };
	const struct spanheap_client_attr attr = { .name = "hoarder", .ops = &ops, .priv = h };
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *p = alloc(h, 4);

	collected = 0;
	hoard = alloc_as(h, c, 10, 0, 0, GFP_KERNEL);
	release(h, alloc(h, 7));
	spanheap_release_all(h);
	KUNIT_EXPECT_EQ(test, collected, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 0);
	spanheap_release_all(h);	/* nothing left to free or release */
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 4 * PAGE_SIZE);
	spanheap_heap_unregister(c);
	release(h, p);
	check(test, h);
}

/* M23: collection is forced on those who have had none for so long, only */
static void collection_is_forced_when_due(struct kunit *test)
{
	struct spanheap *h = test->priv;
	const struct spanheap_client_ops ops = { .collect = collect };
	const struct spanheap_client_attr attr = { .name = "due", .ops = &ops, .priv = h };
	struct spanheap_client *c, *quiet = new_client(h, "no callback", 0);

	fake.now = -70ul;
	c = spanheap_heap_register(h, &attr);
	collected = 0;
	hoard = NULL;
	fake.now += 119;
	spanheap_collect(h, 120);
	KUNIT_EXPECT_EQ(test, collected, 0);
	fake.now++;
	spanheap_collect(h, 120);
	KUNIT_EXPECT_EQ(test, collected, 1);
	spanheap_collect(h, 120);
	KUNIT_EXPECT_EQ(test, collected, 1);
	spanheap_collect(h, 0);
	KUNIT_EXPECT_EQ(test, collected, 2);
	spanheap_heap_unregister(c);
	spanheap_heap_unregister(quiet);
}

static struct spanheap_client *recursive;

static void recur(void *priv)
{
	collected++;
	spanheap_release_all(priv);
	spanheap_heap_unregister(recursive);
}

/* A callback that asks for what it is part of is refused, and does not hang */
static void collect_within_collect_is_refused(struct kunit *test)
{
	struct spanheap *h = test->priv;
	const struct spanheap_client_ops ops = { .collect = recur };
	const struct spanheap_client_attr attr = { .name = "recursive", .ops = &ops, .priv = h };

	recursive = spanheap_heap_register(h, &attr);
	collected = 0;
	log_start();
	warnings_begin();
	spanheap_release_all(h);
	warnings_end(test, ONCE("release from within a callback"),
		     ONCE("unregistering from within a callback"));
	log_stop();
	KUNIT_EXPECT_EQ(test, collected, 1);
	KUNIT_EXPECT_EQ(test, log_count("release from within a callback"), 1u);
	KUNIT_EXPECT_EQ(test, log_count("unregistering from within a callback"), 1u);
	KUNIT_EXPECT_TRUE(test, list_empty(&h->callbacks));
	KUNIT_EXPECT_FALSE(test, list_empty(&h->clients));
	spanheap_heap_unregister(recursive);
	check(test, h);
}

/* M23: the knobs take milliseconds, and nothing else */
static void knobs_take_plain_numbers(struct kunit *test)
{
	static unsigned int *knob[] = {
		&spanheap_scavenge_age_ms, &spanheap_scavenge_period_ms, &spanheap_force_cycle_ms,
	};
	static const struct { const char *text; int err; unsigned int ms; } in[] = {
		{ "1234", 0, 1234 }, { "1234\n", 0, 1234 }, { "0x10", 0, 16 },
		{ "4294967295", 0, U32_MAX }, { "4294967296", -ERANGE },
		{ "99999999999999999999", -ERANGE }, { "-1", -EINVAL }, { "", -EINVAL },
		{ "\n", -EINVAL }, { "12s", -EINVAL }, { "1 2", -EINVAL }, { "ten", -EINVAL },
		{ "0", -EINVAL },
	};
	u32 i, k, was, err;

	for (k = 0; k < ARRAY_SIZE(knob); k++) {
		const struct kernel_param kp = { .arg = knob[k] };

		was = *knob[k];
		for (i = 0; i < ARRAY_SIZE(in); i++) {
			*knob[k] = 77;
			err = in[i].err;
			if (!strcmp(in[i].text, "0") && !k)
				err = 0;	/* an age of 0: release at once */
			KUNIT_EXPECT_EQ_MSG(test, spanheap_ms_ops.set(in[i].text, &kp), (int)err,
					    "knob %u, \"%s\"", k, in[i].text);
			KUNIT_EXPECT_EQ_MSG(test, *knob[k], err ? 77 : in[i].ms,
					    "knob %u, \"%s\"", k, in[i].text);
		}
		*knob[k] = was;
	}
	spanheap_scav_kick();
}

static bool wait_for(bool (*true_now)(void))
{
	unsigned long end = jiffies + 10 * HZ;

	while (!true_now() && time_before(jiffies, end))
		msleep(20);
	return true_now();
}

static bool live_heap_has_no_idle_memory(void)
{
	struct spanheap_stats st = *stats(spanheap_heap);

	return st.resident_bytes == st.inuse_bytes && collected;
}

static void count_collect(void *priv)
{
	collected++;
}

/*
 * M23, M25: the thread of the live heap wakes by its period, forces a
 * collection, releases by age, and says so where it is asked to
 */
static void thread_releases_by_its_knobs(struct kunit *test)
{
	unsigned int age = spanheap_scavenge_age_ms, period = spanheap_scavenge_period_ms;
	unsigned int cycle = spanheap_force_cycle_ms;
	const struct spanheap_client_ops ops = { .collect = count_collect };
	const struct spanheap_client_attr attr = { .name = "kunit scav", .ops = &ops };
	struct spanheap_client *c;
	bool was_trace = spanheap_log_passes;
	u64 passes;

	KUNIT_ASSERT_NOT_NULL(test, spanheap_heap);
	c = spanheap_client_register(&attr);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	spanheap_release_memory();
	release(spanheap_heap, alloc(spanheap_heap, 100));
	collected = 0;
	passes = stats(spanheap_heap)->scavenge_passes;
	msleep(100);		/* the period is far off */
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->scavenge_passes, passes);
	KUNIT_EXPECT_FALSE(test, live_heap_has_no_idle_memory());
	spanheap_scavenge_age_ms = 10;
	spanheap_force_cycle_ms = 10;
	spanheap_scavenge_period_ms = 20;
	spanheap_log_passes = true;
	log_start();
	spanheap_scav_kick();
	KUNIT_EXPECT_TRUE(test, wait_for(live_heap_has_no_idle_memory));
	spanheap_log_passes = was_trace;
	spanheap_scavenge_age_ms = age;
	spanheap_force_cycle_ms = cycle;
	spanheap_scavenge_period_ms = period;
	spanheap_scav_kick();
	log_stop();
	KUNIT_EXPECT_GE(test, log_count("scavenged 400 KiB: in use 0, idle "), 1u);
	KUNIT_EXPECT_GE(test, log_count(", sys "), 1u);
	KUNIT_EXPECT_GE(test, log_count(", resident 0 KiB"), 1u);
	spanheap_client_unregister(c);
}

static unsigned long seen_pages, seen_age, seen_spans, seen_grown;

static struct {
	unsigned long inuse, sys, released;
} seen_sums;

static void see_scavenge(void *data, unsigned long nr_pages, unsigned long age,
			 unsigned long inuse, unsigned long sys, unsigned long released)
{
	seen_pages += nr_pages;
	seen_age = age;
	seen_sums.inuse = inuse;
	seen_sums.sys = sys;
	seen_sums.released = released;
}

static void see_release(void *data, unsigned long nr_pages, unsigned int nr_spans)
{
	seen_spans += nr_spans;
}

static void see_grow(void *data, unsigned long used, unsigned long nr_pages,
		     const char *client)
{
	seen_grown += nr_pages;
}

/* M25: the same in tracepoints */
static void passes_are_traced(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a, *b;

	seen_pages = 0;
	seen_spans = 0;
	seen_grown = 0;
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_scavenge(see_scavenge, NULL), 0);
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_release(see_release, NULL), 0);
	KUNIT_ASSERT_EQ(test, register_trace_spanheap_grow(see_grow, NULL), 0);
	a = alloc(h, 7);
	alloc(h, 1);
	b = alloc(h, 7);
	release(h, a);
	release(h, b);
	fake.now += 9;
	spanheap_scavenge(h, 9, U64_MAX);
	unregister_trace_spanheap_grow(see_grow, NULL);
	unregister_trace_spanheap_release(see_release, NULL);
	unregister_trace_spanheap_scavenge(see_scavenge, NULL);
	tracepoint_synchronize_unregister();
	KUNIT_EXPECT_EQ(test, seen_grown, CHUNK);
	KUNIT_EXPECT_EQ(test, seen_spans, 2);
	KUNIT_EXPECT_EQ(test, seen_pages, 14);
	KUNIT_EXPECT_EQ(test, seen_age, 9);
	KUNIT_EXPECT_EQ(test, seen_sums.inuse, stats(h)->inuse_bytes >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, seen_sums.sys, stats(h)->sys_bytes >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, seen_sums.released, stats(h)->released_bytes >> PAGE_SHIFT);
}

static struct kunit_case scav_cases[] = {
	KUNIT_CASE(idle_pages_go_by_age),
	KUNIT_CASE(ages_survive_a_wrap_of_the_clock),
	KUNIT_CASE(one_flush_serves_a_batch),
	KUNIT_CASE(growth_gives_back_what_is_idle),
	KUNIT_CASE(growth_empties_the_caches),
	KUNIT_CASE(span_being_released_is_not_handed_out),
	KUNIT_CASE(neighbour_freed_meanwhile_joins_later),
	KUNIT_CASE(release_all_collects_first),
	KUNIT_CASE(collection_is_forced_when_due),
	KUNIT_CASE(collect_within_collect_is_refused),
	KUNIT_CASE(knobs_take_plain_numbers),
	KUNIT_CASE(thread_releases_by_its_knobs),
	KUNIT_CASE(passes_are_traced),
	{}
};

/* Not those of ages, which cached spans do not have, and of the module's own heap */
static struct kunit_case scav_cached_cases[] = {
	KUNIT_CASE(one_flush_serves_a_batch),
	KUNIT_CASE(release_all_collects_first),
	KUNIT_CASE(collection_is_forced_when_due),
	{}
};

static struct kunit_suite scav_suite = {
	.name = "spanheap_scav",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = scav_cases,
};

static struct kunit_suite scav_cached_suite = {
	.name = "spanheap_scav_cached",
	.init = test_tuned_heap_init,
	.exit = test_heap_exit,
	.test_cases = scav_cached_cases,
};

kunit_test_suites(&scav_suite, &scav_cached_suite);
