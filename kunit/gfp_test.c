// SPDX-License-Identifier: GPL-2.0
/*
 * The effect of each gfp flag, which flags are refused, and where allocations may sleep.
 */
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

#include "fake_arena.h"

static void *alloc_gfp(struct spanheap *h, size_t nr, gfp_t gfp)
{
	return spanheap_heap_alloc(h, NULL, nr, 0, 0, gfp, _THIS_IP_);
}

/* Zones, movable and compound pages: a warning once since boot, and NULL each time */
static void flag_that_makes_no_sense_is_warned_about_and_refused(struct kunit *test)
{
	static const gfp_t bad[] = {
		GFP_DMA, GFP_DMA32, GFP_HIGHUSER_MOVABLE, GFP_KERNEL | __GFP_COMP,
		GFP_KERNEL | __GFP_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE,
		GFP_KERNEL | __GFP_WRITE, GFP_ATOMIC | __GFP_DMA,
	};
	struct spanheap *h = test->priv;
	void *p = alloc(h, 1);
	u32 i;

	release(h, alloc(h, 1));	/* a cached span must not be handed out either */
	warnings_begin();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_NULL_MSG(test, alloc_gfp(h, 1, bad[i] | __GFP_NOWARN), "%u", i);
		KUNIT_EXPECT_FALSE(test, spanheap_heap_resize(h, p, 2, bad[i], _THIS_IP_));
	}
	warnings_end(test, ONCE("has flags that no span can have"));
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, ARRAY_SIZE(bad));
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, PAGE_SIZE);
	release(h, p);
	check(test, h);
}

/* __GFP_ACCOUNT is not ignored, and causes no panic with panic_on_warn */
static void accounting_is_refused_with_a_message(struct kunit *test)
{
	static bool told;
	struct spanheap *h = test->priv;

	log_start();
	KUNIT_EXPECT_NULL(test, alloc_gfp(h, 1, GFP_KERNEL_ACCOUNT | __GFP_NOWARN));
	KUNIT_EXPECT_NULL(test, alloc_gfp(h, 300, GFP_ATOMIC | __GFP_ACCOUNT | __GFP_NOWARN));
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("__GFP_ACCOUNT is refused"), told ? 0 : 1);
	KUNIT_EXPECT_EQ(test, log_count("WARNING:"), 0);
	told = true;
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 2);
}

/* Flags of mempools, file systems and drivers, also for records and leaves */
static void allowed_flags_are_honoured(struct kunit *test)
{
	static const gfp_t base[] = { GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT, GFP_ATOMIC,
				      GFP_USER, GFP_HIGHUSER };
	static const gfp_t with[] = { 0, __GFP_ZERO, __GFP_NOWARN, __GFP_NORETRY,
				      __GFP_RETRY_MAYFAIL, __GFP_HIGHMEM, __GFP_HARDWALL,
				      __GFP_NOMEMALLOC, __GFP_MEMALLOC, __GFP_NOLOCKDEP,
				      __GFP_THISNODE,
				      __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN };
	struct spanheap *h;
	u32 i, j;
	void *p;

	log_start();
	for (i = 0; i < ARRAY_SIZE(base); i++) {
		for (j = 0; j < ARRAY_SIZE(with); j++) {
			/* A new heap each time, so that records and leaves are allocated, too */
			h = test_heap_new(test, &fake_ops, ARENA, 64);
			p = alloc_gfp(h, 600, base[i] | with[j]);
			KUNIT_EXPECT_NOT_NULL_MSG(test, p, "%u, %u", i, j);
			if (with[j] & __GFP_ZERO)
				KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 600 * PAGE_SIZE));
			release(h, p);
			p = alloc_gfp(h, 4, base[i] | with[j]);
			KUNIT_EXPECT_NOT_NULL(test, p);
			release(h, p);
			KUNIT_EXPECT_PTR_EQ(test, alloc_gfp(h, 4, base[i] | with[j]), p);
			release(h, p);
			check(test, h);
			spanheap_heap_destroy(h);
		}
	}
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("WARNING:"), 0);
}

/* So many records that slab allocates pages: it would report a bad flag */
static void slab_sees_only_flags_of_its_own(struct kunit *test)
{
	const gfp_t gfp = GFP_HIGHUSER | __GFP_THISNODE | __GFP_ZERO;
	struct spanheap *h = test_heap_new(test, &fake_ops, 4096, 0);
	u8 *p = alloc_as(h, NULL, 1, 0, 1, gfp);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, p);
	log_start();
	for (i = 1; i < 4096; i++)
		KUNIT_EXPECT_NOT_NULL(test, alloc_as(h, NULL, 1, 0, 0, gfp));
	KUNIT_EXPECT_EQ(test, log_stop(), 0u);
	test_heap_end(h);
}

/* In atomic context: growth with leaves and records, clearing, and free */
static void atomic_allocation_sleeps_nowhere(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p;

	local_irq_disable();
	p = alloc_gfp(h, 400, GFP_ATOMIC | __GFP_ZERO);
	release(h, p);
	local_irq_enable();
	KUNIT_EXPECT_NOT_NULL(test, p);
	check(test, h);
}

static unsigned int backings;

/* The first two backings find no memory */
static void short_of_memory(struct spanheap *h)
{
	fake.pages_left = ++backings < 3 ? 0 : S64_MAX;
	fake.in_back = short_of_memory;
}

static void nofail_is_tried_until_it_works(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p;

	backings = 0;
	fake.in_back = short_of_memory;
	p = alloc_gfp(h, 4, GFP_KERNEL | __GFP_NOFAIL);
	fake.in_back = NULL;
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, backings, 3u);
	release(h, p);
	check(test, h);
}

/* Work that lets a waiting allocation succeed, some ticks later */
static struct relief {
	struct delayed_work work;
	struct spanheap *h;
	void *span;		/* to free */
	bool came;
} relief;

static void relieve(struct work_struct *unused)
{
	WRITE_ONCE(relief.came, true);
	release(relief.h, relief.span);
}

/* An allocation of nr pages waits for the relief, and counts as no failure */
static void expect_wait(struct kunit *test, struct spanheap_client *c, size_t nr, void *span)
{
	struct spanheap *h = test->priv;
	u64 failed = stats(h)->failed_allocs;
	void *p;

	relief.h = h;
	relief.span = span;
	relief.came = false;
	INIT_DELAYED_WORK_ONSTACK(&relief.work, relieve);
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, nr, 0, 0, GFP_KERNEL));
	schedule_delayed_work(&relief.work, 5);
	p = alloc_as(h, c, nr, 0, 0, GFP_KERNEL | __GFP_NOFAIL);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(relief.came));
	flush_delayed_work(&relief.work);
	destroy_delayed_work_on_stack(&relief.work);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, failed + 1);
	check(test, h);
	release(h, p);
}

static void nofail_waits_for_room(struct kunit *test)
{
	void *p = alloc(test->priv, ARENA);

	KUNIT_ASSERT_NOT_NULL(test, p);
	expect_wait(test, NULL, 100, p);
}

static void nofail_waits_for_the_limit(struct kunit *test)
{
	struct spanheap_client *c = new_client(test->priv, "limited", 20);
	void *p = alloc_as(test->priv, c, 15, 0, 0, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	expect_wait(test, c, 10, p);
	spanheap_heap_unregister(c);
}

/* __GFP_NOFAIL fails for requests that could never succeed, instead of retrying for ever */
static void nofail_of_the_impossible_fails(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 8);

	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 9, 0, 0, GFP_KERNEL | __GFP_NOFAIL));
	warnings_begin();
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, ARENA + 1, 0, 0, GFP_KERNEL | __GFP_NOFAIL));
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 0, 0, 0, GFP_KERNEL | __GFP_NOFAIL));
	warnings_end(test, ONCE("__GFP_NOFAIL, but "));
	release(h, alloc(h, 4));	/* refused even if a cached span would fit */
	warnings_begin();
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 4, 0, 0, GFP_ATOMIC | __GFP_NOFAIL));
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 300, 0, 0, GFP_ATOMIC | __GFP_NOFAIL));
	warnings_end(test, ONCE("__GFP_NOFAIL where nothing may block"));
	spanheap_heap_unregister(c);
	check(test, h);
}

static struct spanheap *pool_heap;

static void *pool_alloc(gfp_t gfp, void *data)
{
	return spanheap_heap_alloc(pool_heap, NULL, (unsigned long)data, 0, 0, gfp, _RET_IP_);
}

static void pool_free(void *addr, void *data)
{
	spanheap_heap_free(pool_heap, addr, _RET_IP_);
}

/* A mempool allocates with NOMEMALLOC, NORETRY and NOWARN, then uses its reserve */
static void mempool_of_spans_works_without_memory(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p[4];
	mempool_t *pool;
	u32 i;

	pool_heap = h;
	pool = mempool_create(4, pool_alloc, pool_free, (void *)4);
	KUNIT_ASSERT_NOT_NULL(test, pool);
	fake.pages_left = 0;
	for (i = 0; i < 4; i++) {
		p[i] = mempool_alloc(pool, GFP_NOIO);
		KUNIT_EXPECT_NOT_NULL(test, p[i]);
	}
	KUNIT_EXPECT_NULL(test, mempool_alloc(pool, GFP_NOWAIT));
	for (i = 0; i < 4; i++)
		mempool_free(p[i], pool);
	fake.pages_left = S64_MAX;
	mempool_destroy(pool);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	check(test, h);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(flag_that_makes_no_sense_is_warned_about_and_refused),
	KUNIT_CASE(accounting_is_refused_with_a_message),
	KUNIT_CASE(allowed_flags_are_honoured),
	KUNIT_CASE(slab_sees_only_flags_of_its_own),
	KUNIT_CASE(atomic_allocation_sleeps_nowhere),
	KUNIT_CASE(nofail_is_tried_until_it_works),
	KUNIT_CASE(nofail_waits_for_room),
	KUNIT_CASE(nofail_waits_for_the_limit),
	KUNIT_CASE(nofail_of_the_impossible_fails),
	KUNIT_CASE(mempool_of_spans_works_without_memory),
	{}
};

static struct kunit_suite suite = {
	.name = "spanheap_gfp",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

static struct kunit_suite cached_suite = {
	.name = "spanheap_gfp_tuned",
	.init = test_cached_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

kunit_test_suites(&suite, &cached_suite);
