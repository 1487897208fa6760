// SPDX-License-Identifier: GPL-2.0
/*
 * The scavenger: which pages it releases at which age, releases for growth and on
 * request, forced collections, and its log and trace messages.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/moduleparam.h>
#include <linux/shrinker.h>
#include <compat/reclaim.h>
#include <trace/events/spanheap.h>

#include "fake_arena.h"
#include "nothing_arena.h"

/* M17, M24: pages idle for the age are released, the oldest first, with a flush per batch */
static void idle_pages_go_by_age(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a = alloc(h, 16), *wall = alloc(h, 1), *b = alloc(h, 16);

	release(h, a);
	KUNIT_EXPECT_EQ(test, tick(h), 0);
	release(h, b);
	KUNIT_EXPECT_EQ(test, tick(h), 0);
	KUNIT_EXPECT_EQ(test, fake.flushes, 0);
	KUNIT_EXPECT_EQ(test, tick(h), 16);
	KUNIT_EXPECT_EQ(test, fake.flushes, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->tlb_flushes, 1);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, 0));
	KUNIT_EXPECT_TRUE(test, fake_is_backed(h, 17));
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, 5), 5);
	KUNIT_EXPECT_EQ(test, tick(h), 11);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->scavenged_bytes, 32 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->scavenge_passes, 6);
	KUNIT_EXPECT_EQ(test, fake.flushes, 3);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 16), a);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 17 * PAGE_SIZE);
	release(h, wall);
	check(test, h);
}

/* M24: pages used within the age stay; all others are released after 1.5 ages at most */
static void age_is_kept_to_half_an_age(struct kunit *test)
{
	struct spanheap *h = test->priv;
	unsigned long age = ms_to_ticks(spanheap_scavenge_age_ms), freed;
	u32 off;
	void *p;

	for (off = 0; off < age / 2; off += age / 10) {
		spanheap_tick(h);
		p = alloc(h, 8);
		fake.now += off;
		release(h, p);
		freed = fake.now;
		fake.now += age / 2 - off;
		while (!spanheap_tick(h) && fake.now - freed < 2 * age)
			fake.now += age / 2;
		KUNIT_EXPECT_GE(test, fake.now - freed, age);
		KUNIT_EXPECT_LE(test, fake.now - freed, age + age / 2);
		fake.now += age / 2;
	}
}

/* M24: ages are right when the clock wraps */
static void ages_survive_a_wrap_of_the_clock(struct kunit *test)
{
	unsigned long half = ms_to_ticks(spanheap_scavenge_age_ms) / 2;
	struct spanheap *h = test->priv;

	fake.now = -half - half / 2;
	spanheap_tick(h);
	release(h, alloc(h, 8));
	KUNIT_EXPECT_EQ(test, tick(h), 0);
	fake.now += half - 1;	/* beyond the wrap */
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
	fake.now++;
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
	KUNIT_EXPECT_EQ(test, tick(h), 8);
}

/* After a jump of the clock, ahead or back, a tick makes pages older by one epoch only */
static void jump_of_the_clock_is_one_epoch(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static const long jump[] = { 1000000000, -1000000000, LONG_MAX };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(jump); i++) {
		tick(h);
		release(h, alloc(h, 8));
		fake.now += jump[i];
		KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
		KUNIT_EXPECT_EQ(test, tick(h), 0);
		KUNIT_EXPECT_EQ(test, tick(h), 8);
	}
}

static unsigned int knob_was[2];

/* Set the knobs; knobs_back() restores them */
static void knobs(unsigned int age_ms, unsigned int period_ms)
{
	knob_was[0] = spanheap_scavenge_age_ms;
	knob_was[1] = spanheap_scavenge_period_ms;
	spanheap_scavenge_age_ms = age_ms;
	spanheap_scavenge_period_ms = period_ms;
}

static void knobs_back(void)
{
	spanheap_scavenge_age_ms = knob_was[0];
	spanheap_scavenge_period_ms = knob_was[1];
}

/* Age 0: each tick releases all idle pages, cached ones included */
static void age_zero_releases_at_once(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 256);

	knobs(0, 0);
	release(h, alloc(h, 700));
	release(h, alloc(h, 3));
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 700);
	release(h, alloc(h, 3));
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 3);	/* no time has passed */
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 0);
	knobs_back();
	test_heap_end(h);
}

/* An age of 49 days, the longest possible one */
static void age_of_days_is_kept(struct kunit *test)
{
	struct spanheap *h = test->priv;
	unsigned long half;
	u32 i;

	knobs(U32_MAX, 0);
	half = ms_to_ticks(U32_MAX / 2 + 1);
	release(h, alloc(h, 8));
	for (i = 0; i < 1000; i++) {	/* early ticks, as after a knob was written */
		fake.now += half / 1000;
		KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
	}
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
	fake.now += half;
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
	fake.now += half;
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
	fake.now += half;
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 8);
	knobs_back();
}

/* With a period above the age, the first pass after the age releases */
static void period_longer_than_age(struct kunit *test)
{
	struct spanheap *h = test->priv;
	unsigned long period = ms_to_ticks(60000);

	knobs(1000, 60000);
	release(h, alloc(h, 8));
	fake.now += period;
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 0);
	fake.now += period;
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 8);
	knobs_back();
}

/* With a short period, pages are not released before the age */
static void period_shorter_than_half_the_age(struct kunit *test)
{
	struct spanheap *h = test->priv;
	unsigned long freed = fake.now;

	knobs(1000, 10);
	release(h, alloc(h, 8));
	do {
		fake.now += ms_to_ticks(10);
	} while (!spanheap_tick(h) && fake.now - freed < 10 * HZ);
	KUNIT_EXPECT_GE(test, fake.now - freed, HZ);
	KUNIT_EXPECT_LE(test, fake.now - freed, HZ + HZ / 2);
	knobs_back();
}

/* M18: a use makes only the pages of its own units (64 KiB) younger */
static void use_keeps_its_units_only(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 i;

	release(h, alloc(h, 1024));
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, tick(h), 0);
		release(h, alloc(h, 1));	/* the first page of the free span */
		KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
		check(test, h);
	}
	KUNIT_EXPECT_EQ(test, tick(h), 1024 - UNIT_PAGES);
	KUNIT_EXPECT_EQ(test, spanheap_count_backed(h, 0, UNIT_PAGES), UNIT_PAGES);
	check(test, h);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	KUNIT_EXPECT_EQ(test, tick(h), 0);
	KUNIT_EXPECT_EQ(test, tick(h), UNIT_PAGES);
	check(test, h);
}

/* Every second page is in use, and one free page is used repeatedly */
static void sieve_gives_back_its_holes(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static void *p[512];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = alloc(h, 1);
	for (i = 0; i < ARRAY_SIZE(p); i += 2)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, h->nr_free, 256u);
	for (i = 0; i < 3; i++) {
		if (i == 2)
			KUNIT_EXPECT_EQ(test, tick(h), 256 - UNIT_PAGES / 2);
		else
			KUNIT_EXPECT_EQ(test, tick(h), 0);
		p[0] = alloc(h, 1);
		release(h, p[0]);
		check(test, h);
	}
	KUNIT_EXPECT_EQ(test, fake.nr_backed, 256 + UNIT_PAGES / 2);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), UNIT_PAGES / 2);
	check(test, h);
}

/* A pass allocates nothing: without records for cuts, it isolates the whole span */
static void pass_needs_no_records(struct kunit *test)
{
	struct spanheap *h = test->priv;
	LIST_HEAD(hidden);
	u32 n;

	release(h, alloc(h, 1024));
	tick(h);
	release(h, alloc(h, 100));	/* young pages before the old ones */
	tick(h);
	spin_lock_irq(&h->lock);
	list_splice_init(&h->spare, &hidden);
	n = h->nr_spare;
	h->nr_spare = 0;
	spin_unlock_irq(&h->lock);
	KUNIT_EXPECT_EQ(test, tick(h), 1024 - round_up(100, UNIT_PAGES));
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, 10), 10);
	spin_lock_irq(&h->lock);
	list_splice_init(&hidden, &h->spare);
	h->nr_spare += n;
	spin_unlock_irq(&h->lock);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), round_up(100, UNIT_PAGES) - 10);
	check(test, h);
}

/* Pages that are backed again within a minute after their release are counted */
static void refaults_are_counted(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p;

	p = alloc(h, 64);
	KUNIT_EXPECT_EQ(test, stats(h)->refaulted_bytes, 0);
	release(h, p);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 64);
	fake.now += 59 * HZ;
	p = alloc(h, 32);
	KUNIT_EXPECT_EQ(test, stats(h)->refaulted_bytes, 32 * PAGE_SIZE);
	fake.now += 5 * HZ;
	alloc(h, 32);			/* the other half, after more than a minute */
	KUNIT_EXPECT_EQ(test, stats(h)->refaulted_bytes, 32 * PAGE_SIZE);
	release(h, p);
	p = alloc(h, 32);		/* is backed already */
	KUNIT_EXPECT_EQ(test, stats(h)->refaulted_bytes, 32 * PAGE_SIZE);
}

/* M24: one flush serves at least 512 pages or 64 spans */
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

/* A heap with caches, of that many pages, without memory of its own */
static struct spanheap *big_heap(struct kunit *test, u32 pages)
{
	struct spanheap *h = test_heap_new(test, &nothing_ops, pages, 256);

	h->anon->flags = SPANHEAP_SKIP_INIT;
	return h;
}

/* If the heap grows beyond its recent peak, the thread releases idle pages, oldest first */
static void growth_is_paid_beside_the_task(struct kunit *test)
{
	struct spanheap *h = big_heap(test, 65536);
	u32 slack = SZ_256K >> PAGE_SHIFT, i;
	void *p[40], *old;
	s64 resident;

	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = alloc(h, 300);
	old = p[1];
	release(h, old);
	fake.now += ms_to_ticks(500);
	spanheap_tick(h);
	for (i = 3; i < 21; i += 2)
		release(h, p[i]);
	fake.now += ms_to_ticks(500);
	spanheap_tick(h);
	fake.now += ms_to_ticks(500);
	KUNIT_EXPECT_EQ(test, spanheap_tick(h), 300);
	fake.now += ms_to_ticks(50);
	KUNIT_EXPECT_EQ(test, h->peak, 30 * 300u);
	KUNIT_EXPECT_EQ(test, spanheap_release_growth(h), 0);
	release(h, p[2]);		/* becomes the youngest free span */
	alloc(h, 600);			/* uses the oldest span; 300 of the pages are unbacked */
	resident = heap_resident(h);
	KUNIT_EXPECT_GT(test, resident, (30 * 300 + 300) * 17 / 16 + slack);
	KUNIT_EXPECT_TRUE(test, h->growing);
	KUNIT_EXPECT_EQ(test, h->tlb_flushes, 1u);	/* no release yet */
	KUNIT_EXPECT_GE(test, spanheap_release_growth(h),
			resident - (30 * 300 + 300) * 17 / 16 - slack);
	KUNIT_EXPECT_EQ(test, spanheap_count_backed(h, page_of(h, p[2]), 300), 300u);
	KUNIT_EXPECT_LE(test, heap_resident(h), (30 * 300 + 300) * 17 / 16 + slack);
	KUNIT_EXPECT_FALSE(test, h->growing);
	KUNIT_EXPECT_EQ(test, spanheap_release_growth(h), 0);
	check(test, h);
	test_heap_end(h);
	nothing_done();
}

static void *meanwhile[3];

static void alloc_meanwhile(struct spanheap *h)
{
	gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN;

	/* Must not wait for the releaser, which is this task */
	meanwhile[0] = alloc_as(h, NULL, 32, 0, 0, gfp);	/* needs the isolated pages */
	meanwhile[1] = alloc_as(h, NULL, 3, 0, 0, gfp);		/* idle pages, not isolated */
	release(h, page_addr(h, 0));				/* a bad free: isolated */
	fake.faults += spanheap_check(h, NULL, 0) != 0;
}

/*
 * M24: pages that are being released are not allocated and coalesce with no neighbour.
 * After the release they are allocated like others.
 */
static void span_being_released_is_not_handed_out(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a, *wall, *b;

	a = alloc(h, 32);
	wall = alloc(h, 1);
	b = alloc(h, ARENA - 33);
	release(h, a);
	tick(h);
	tick(h);
	release(h, b);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, ARENA - 33 - 3), b);
	fake.in_unback = alloc_meanwhile;
	KUNIT_EXPECT_EQ(test, tick(h), 32);
	KUNIT_EXPECT_NULL(test, meanwhile[0]);
	KUNIT_EXPECT_NOT_NULL(test, meanwhile[1]);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	check(test, h);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 32), a);
	release(h, wall);
	check(test, h);
}

static void free_wall(struct spanheap *h)
{
	release(h, meanwhile[2]);
	fake.faults += peek(h, 20).nr_pages != 1;
}

/* M18, M24: a neighbour freed during the release coalesces when the span is put back */
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

/* M26: release-all collects, then releases all idle and cached pages of any age */
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
	spanheap_release_all(h);	/* finds nothing to free or release */
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 4 * PAGE_SIZE);
	spanheap_heap_unregister(c);
	release(h, p);
	check(test, h);
}

/*
 * A release of a number of pages takes exactly so many: the oldest free pages first, then
 * cached ones; it asks clients only if these are not enough
 */
static void release_of_so_much_takes_the_cheapest(struct kunit *test)
{
	struct spanheap *h = test->priv;
	const struct spanheap_client_ops ops = { .collect = collect };
	const struct spanheap_client_attr attr = { .name = "hoarder", .ops = &ops, .priv = h };
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *old = alloc(h, 300), *wall = alloc(h, 1), *young = alloc(h, 300), *small;

	collected = 0;
	hoard = alloc_as(h, c, 10, 0, 0, GFP_KERNEL);
	small = alloc(h, 7);
	release(h, old);
	tick(h);
	release(h, young);
	release(h, small);		/* cached, where there are caches */
	KUNIT_EXPECT_EQ(test, spanheap_release_pages(h, 200), 200);
	KUNIT_EXPECT_EQ(test, spanheap_count_backed(h, page_of(h, old), 300), 100u);
	KUNIT_EXPECT_EQ(test, spanheap_count_backed(h, page_of(h, young), 300), 300u);
	KUNIT_EXPECT_EQ(test, spanheap_release_pages(h, 405), 405);
	KUNIT_EXPECT_EQ(test, collected, 0);
	KUNIT_EXPECT_EQ(test, spanheap_release_pages(h, 3), 3);
	KUNIT_EXPECT_EQ(test, collected, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 10 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, spanheap_release_pages(h, U64_MAX), 9);
	KUNIT_EXPECT_EQ(test, collected, 2);
	KUNIT_EXPECT_EQ(test, spanheap_release_pages(h, 1), 0);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, PAGE_SIZE);
	release(h, wall);
	KUNIT_EXPECT_EQ(test, spanheap_release_all(h), 1);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* Idle pages with memory: what the system should count as reclaimable */
static s64 idle_pages(struct spanheap *h)
{
	struct spanheap_stats st = *stats(h);

	return (st.resident_bytes - st.inuse_bytes) >> PAGE_SHIFT;
}

/* The system counts idle pages: about right at any time, and exactly after a tick */
static void idle_pages_are_counted_by_the_system(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p, *q;
	u32 i;

	p = alloc(h, 1000);
	KUNIT_EXPECT_EQ(test, spanheap_counted(h), 0);
	release(h, p);
	KUNIT_EXPECT_EQ(test, spanheap_counted(h), 1000);
	p = alloc(h, 700);
	KUNIT_EXPECT_EQ(test, spanheap_counted(h), 300);
	release(h, p);
	for (i = 1; i <= 20; i++) {
		p = alloc(h, i);
		q = alloc(h, 21 - i);
		release(h, p);
		fake.now++;
		KUNIT_EXPECT_LT(test, abs(spanheap_counted(h) - idle_pages(h)), 2 * COUNT_PAGES);
		release(h, q);
		tick(h);
		KUNIT_EXPECT_EQ(test, spanheap_counted(h), idle_pages(h));
	}
	p = alloc(h, 1200);
	KUNIT_EXPECT_TRUE(test, resize(h, p, 1));
	KUNIT_EXPECT_EQ(test, spanheap_counted(h), idle_pages(h));
	KUNIT_EXPECT_TRUE(test, resize(h, p, 1100));
	KUNIT_EXPECT_LT(test, spanheap_counted(h) - idle_pages(h), COUNT_PAGES);
	release(h, p);
	spanheap_scavenge(h, 0, U64_MAX);
	KUNIT_EXPECT_LT(test, spanheap_counted(h), COUNT_PAGES);
	tick(h);
	KUNIT_EXPECT_EQ(test, spanheap_counted(h), 0);
	check(test, h);
}

/* Set the high watermarks beyond what any machine has, or back */
static void set_watermarks(bool short_of_memory)
{
	static unsigned long was[MAX_NR_ZONES];
	struct zone *zone = NODE_DATA(numa_node_id())->node_zones;
	u32 i;

	for (i = 0; i < MAX_NR_ZONES; i++) {
		if (short_of_memory)
			was[i] = zone[i]._watermark[WMARK_HIGH];
		zone[i]._watermark[WMARK_HIGH] = short_of_memory ? LONG_MAX : was[i];
	}
}

/*
 * Reclaim gets idle pages if free pages are short, and learns how many; a request to drop
 * caches always gets them
 */
static void reclaim_gets_what_is_short(struct kunit *test)
{
	unsigned int age = spanheap_scavenge_age_ms;
	struct reclaim_state rs = {}, *was = current->reclaim_state;
	struct shrink_control sc = { .nid = numa_node_id() };
	u64 idle;

	spanheap_scavenge_age_ms = 300000;
	spanheap_scav_kick();
	release(spanheap_heap, alloc(spanheap_heap, 1000));
	idle = idle_pages(spanheap_heap);
	KUNIT_EXPECT_GE(test, idle, 1000);

	current->reclaim_state = &rs;
	sc.nr_to_scan = 100;
	KUNIT_EXPECT_EQ(test, spanheap_shrink_count(NULL, &sc), 0);
	KUNIT_EXPECT_EQ(test, spanheap_shrink_scan(NULL, &sc), SHRINK_STOP);
	KUNIT_EXPECT_EQ(test, idle_pages(spanheap_heap), idle);
	set_watermarks(true);
	KUNIT_EXPECT_EQ(test, spanheap_shrink_count(NULL, &sc), idle);
	KUNIT_EXPECT_EQ(test, spanheap_shrink_scan(NULL, &sc), 100);
	KUNIT_EXPECT_EQ(test, sc.nr_scanned, 100);
	set_watermarks(false);
	current->reclaim_state = was;
	KUNIT_EXPECT_EQ(test, rs.COMPAT_RECLAIMED, 100);
	KUNIT_EXPECT_EQ(test, idle_pages(spanheap_heap), idle - 100);

	sc.nr_to_scan = 100000;
	KUNIT_EXPECT_EQ(test, spanheap_shrink_scan(NULL, &sc), idle - 100);
	KUNIT_EXPECT_EQ(test, sc.nr_scanned, idle - 100);
	KUNIT_EXPECT_EQ(test, spanheap_shrink_count(NULL, &sc), SHRINK_EMPTY);
	KUNIT_EXPECT_EQ(test, spanheap_shrink_scan(NULL, &sc), SHRINK_STOP);
	spanheap_scavenge_age_ms = age;
	spanheap_scav_kick();
}

/* M23: only clients whose last collection is too long ago are forced to collect */
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

/* A collection requested by a collect callback is refused, and does not deadlock */
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

/* M23: the knobs accept milliseconds only */
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
			if (!strcmp(in[i].text, "0") && k < 2)
				err = 0;	/* age 0: release at once; period 0: half the age */
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
 * M23, M25: the thread of the module's heap wakes at its period, forces a collection,
 * releases by age, and logs its passes if the knob says so
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
	spanheap_scavenge_age_ms = 300000;
	spanheap_scavenge_period_ms = 60000;
	spanheap_scav_kick();
	spanheap_release_memory();
	release(spanheap_heap, alloc(spanheap_heap, 100));
	collected = 0;
	passes = stats(spanheap_heap)->scavenge_passes;
	msleep(100);		/* much less than the period */
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

static struct completion entered, go_on;

static void block(void *priv)
{
	complete(&entered);
	wait_for_completion(&go_on);
}

static enum spanheap_verdict block_sweep(void *addr, size_t nr_pages, void *priv)
{
	block(priv);
	return SPANHEAP_KEEP;
}

static bool live_heap_is_all_in_use(void)
{
	struct spanheap_stats st = *stats(spanheap_heap);

	return st.resident_bytes == st.inuse_bytes;
}

/* M23: a callback that blocks, of any kind, does not delay releases */
static void blocking_callback_stops_nobody(struct kunit *test)
{
	const struct spanheap_client_ops ops[] = {
		{ .collect = block }, { .sweep = block_sweep },
	};
	unsigned int cycle = spanheap_force_cycle_ms, i;
	struct spanheap_client_attr attr = { .name = "kunit block" };
	struct spanheap_client *c;
	void *p;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		init_completion(&entered);
		init_completion(&go_on);
		attr.ops = &ops[i];
		c = spanheap_client_register(&attr);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c));
		p = spanheap_alloc(c, 3, GFP_KERNEL);
		knobs(100, 0);
		spanheap_force_cycle_ms = ops[i].collect ? 10 : cycle;
		spanheap_scav_kick();
		if (ops[i].sweep)
			spanheap_cycle_begin(c);
		KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&entered, 10 * HZ), 0);
		release(spanheap_heap, alloc(spanheap_heap, 700));
		release(spanheap_heap, alloc(spanheap_heap, 7));
		KUNIT_EXPECT_TRUE(test, wait_for(live_heap_is_all_in_use));
		spanheap_force_cycle_ms = cycle;
		knobs_back();
		spanheap_scav_kick();
		complete_all(&go_on);
		spanheap_free(p);
		spanheap_client_unregister(c);
	}
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

/* M25: tracepoints report passes, too */
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
	tick(h);
	tick(h);
	tick(h);
	unregister_trace_spanheap_grow(see_grow, NULL);
	unregister_trace_spanheap_release(see_release, NULL);
	unregister_trace_spanheap_scavenge(see_scavenge, NULL);
	tracepoint_synchronize_unregister();
	KUNIT_EXPECT_EQ(test, seen_grown, CHUNK);
	KUNIT_EXPECT_EQ(test, seen_spans, 2);
	KUNIT_EXPECT_EQ(test, seen_pages, 14);
	KUNIT_EXPECT_EQ(test, seen_age, ms_to_ticks(spanheap_scavenge_age_ms));
	KUNIT_EXPECT_EQ(test, seen_sums.inuse, stats(h)->inuse_bytes >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, seen_sums.sys, stats(h)->sys_bytes >> PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, seen_sums.released, stats(h)->released_bytes >> PAGE_SHIFT);
}

/*
 * The limit of the heap is soft: no allocation is refused. Idle pages beyond the limit go
 * back at once, however young, and near the limit pages age faster.
 */
static void limit_of_the_heap_is_soft(struct kunit *test)
{
	struct spanheap *h = test->priv;
	unsigned long age = ms_to_ticks(spanheap_scavenge_age_ms), start;
	static const u32 inuse[] = { 100, 850, 985 };
	void *p, *wall, *q, *small[3];
	u32 gone[3], i;

	spanheap_limit_bytes = 1000 << PAGE_SHIFT;
	p = alloc(h, 900);
	wall = alloc(h, 1);
	q = alloc(h, 600);
	KUNIT_EXPECT_NOT_NULL(test, q);
	KUNIT_EXPECT_EQ(test, spanheap_release_growth(h), 0);	/* all is in use */
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 1501 * PAGE_SIZE);
	release(h, p);
	KUNIT_EXPECT_TRUE(test, h->growing);		/* the thread is to look */
	KUNIT_EXPECT_GE(test, spanheap_release_growth(h), 501);
	KUNIT_EXPECT_LE(test, stats(h)->resident_bytes, 1000 * PAGE_SIZE);
	KUNIT_EXPECT_GE(test, stats(h)->resident_bytes, 900 * PAGE_SIZE);
	release(h, q);
	KUNIT_EXPECT_FALSE(test, h->growing);
	release(h, wall);
	spanheap_scavenge(h, 0, U64_MAX);

	/* How long idle pages stay: far below the limit, near it, and close to it */
	for (i = 0; i < 3; i++) {
		p = alloc(h, inuse[i]);
		release(h, alloc(h, 5));
		start = fake.now;
		while (stats(h)->resident_bytes > inuse[i] * PAGE_SIZE &&
		       fake.now - start < 2 * age) {
			fake.now += age / 100;
			spanheap_tick(h);
		}
		gone[i] = fake.now - start;
		release(h, p);
		spanheap_scavenge(h, 0, U64_MAX);
	}
	KUNIT_EXPECT_GE(test, gone[0], age);
	KUNIT_EXPECT_LE(test, gone[0], age + age / 2 + age / 100);
	KUNIT_EXPECT_LE(test, gone[1], age);
	KUNIT_EXPECT_GE(test, gone[1], age / 3);
	KUNIT_EXPECT_LE(test, gone[2], age / 3);

	/* Beyond the limit at a tick, which empties the caches */
	p = alloc(h, 990);
	for (i = 0; i < 3; i++)
		small[i] = alloc(h, 7);
	for (i = 0; i < 3; i++)
		release(h, small[i]);
	spanheap_tick(h);
	KUNIT_EXPECT_LE(test, stats(h)->resident_bytes, 1000 * PAGE_SIZE);
	spanheap_limit_bytes = 0;
	h->growing = false;
	release(h, p);
	KUNIT_EXPECT_FALSE(test, h->growing);
	check(test, h);
}

static struct kunit_case scav_cases[] = {
	KUNIT_CASE(idle_pages_go_by_age),
	KUNIT_CASE(age_is_kept_to_half_an_age),
	KUNIT_CASE(ages_survive_a_wrap_of_the_clock),
	KUNIT_CASE(jump_of_the_clock_is_one_epoch),
	KUNIT_CASE(age_zero_releases_at_once),
	KUNIT_CASE(age_of_days_is_kept),
	KUNIT_CASE(period_longer_than_age),
	KUNIT_CASE(period_shorter_than_half_the_age),
	KUNIT_CASE(use_keeps_its_units_only),
	KUNIT_CASE(sieve_gives_back_its_holes),
	KUNIT_CASE(pass_needs_no_records),
	KUNIT_CASE(refaults_are_counted),
	KUNIT_CASE(one_flush_serves_a_batch),
	KUNIT_CASE(growth_is_paid_beside_the_task),
	KUNIT_CASE(span_being_released_is_not_handed_out),
	KUNIT_CASE(neighbour_freed_meanwhile_joins_later),
	KUNIT_CASE(release_all_collects_first),
	KUNIT_CASE(release_of_so_much_takes_the_cheapest),
	KUNIT_CASE(idle_pages_are_counted_by_the_system),
	KUNIT_CASE(reclaim_gets_what_is_short),
	KUNIT_CASE(limit_of_the_heap_is_soft),
	KUNIT_CASE(collection_is_forced_when_due),
	KUNIT_CASE(collect_within_collect_is_refused),
	KUNIT_CASE(knobs_take_plain_numbers),
	KUNIT_CASE(thread_releases_by_its_knobs),
	KUNIT_CASE(blocking_callback_stops_nobody),
	KUNIT_CASE(passes_are_traced),
	{}
};

/* Without the cases for ages, which cached spans do not have, and for the module's heap */
static struct kunit_case scav_cached_cases[] = {
	KUNIT_CASE(one_flush_serves_a_batch),
	KUNIT_CASE(release_all_collects_first),
	KUNIT_CASE(release_of_so_much_takes_the_cheapest),
	KUNIT_CASE(idle_pages_are_counted_by_the_system),
	KUNIT_CASE(limit_of_the_heap_is_soft),
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
