// SPDX-License-Identifier: GPL-2.0
/*
 * The arena of the running kernel, and the exported functions, which use the module's
 * own heap.
 */
#include <linux/device.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sched/signal.h>
#include <linux/vmalloc.h>

#include "fake_arena.h"

/* M5, M8, M24: pages are backed, unbacked beside others, and backed again with zeros */
static void pages_come_and_go(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &spanheap_arena_ops, 1024, 0);
	u8 *a = alloc(h, 1), *b = zalloc(h, 600), *c = alloc(h, 1);
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, c);
	KUNIT_EXPECT_TRUE(test, is_vmalloc_addr(b));
	KUNIT_EXPECT_NULL(test, memchr_inv(b, 0, 600 * PAGE_SIZE));
	for (i = 0; i < 600; i++) {
		KUNIT_EXPECT_NOT_NULL(test, vmalloc_to_page(b + i * PAGE_SIZE));
		b[i * PAGE_SIZE] = i;
		KUNIT_EXPECT_EQ(test, *(u8 *)page_address(vmalloc_to_page(b + i * PAGE_SIZE)),
				(u8)i);
	}
	memset(a, 1, PAGE_SIZE);
	memset(b, 2, 600 * PAGE_SIZE);
	memset(c, 3, PAGE_SIZE);
	release(h, b);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 600);
	for (i = 0; i < 600; i++)
		KUNIT_EXPECT_NULL(test, vmalloc_to_page(b + i * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, memchr_inv(a, 1, PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, memchr_inv(c, 3, PAGE_SIZE));
	KUNIT_EXPECT_PTR_EQ(test, zalloc(h, 600), b);
	KUNIT_EXPECT_NULL(test, memchr_inv(b, 0, 600 * PAGE_SIZE));
	check(test, h);
	test_heap_end(h);
}

/* An arena for which there are no addresses is refused, and the page behind it goes back */
static void arena_without_addresses_is_refused(struct kunit *test)
{
	struct spanheap *h = spanheap_heap_create(&spanheap_arena_ops, 1ul << 28, fake_clock);

	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(h), -ENOMEM);
}

/* A task that is being killed gets no more pages, unless it uses __GFP_NOFAIL */
static void killed_task_backs_no_further(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &spanheap_arena_ops, 1024, 0);
	void *p, *atomic, *nofail;

	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	p = alloc(h, 300);
	atomic = alloc_as(h, NULL, 300, 0, 0, GFP_ATOMIC);
	nofail = alloc_as(h, NULL, 300, 0, 0, GFP_KERNEL | __GFP_NOFAIL);
	flush_signals(current);
	disallow_signal(SIGKILL);
	KUNIT_EXPECT_NULL(test, p);
	KUNIT_EXPECT_NOT_NULL(test, atomic);
	KUNIT_EXPECT_NOT_NULL(test, nofail);
	KUNIT_EXPECT_LE(test, stats(h)->resident_bytes, (600 + 64) * PAGE_SIZE);
	release(h, atomic);
	release(h, nofail);
	check(test, h);
	test_heap_end(h);
}

/*
 * vfree() of a span unmaps the whole arena. The heap notices this before it backs or
 * releases a page. It reports its spans once, refuses all further allocations, and does
 * not write to the addresses, which another user may have by then.
 */
static void lost_arena_is_fenced_off(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &spanheap_arena_ops, 1024, 64);
	void *a = alloc(h, 4), *b = alloc(h, 300), *other;
	char why[128] = "";
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, b);
	KUNIT_ASSERT_EQ(test, spanheap_check(h, why, sizeof(why)), 0);
	vfree(a);	/* the mistake */
	/* Let another user get the addresses */
	other = vmalloc(1024 * PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, other);
	memset(other, 0x5a, 1024 * PAGE_SIZE);
	log_start();
	KUNIT_EXPECT_NULL(test, alloc(h, 8));
	release(h, b);			/* bookkeeping only */
	KUNIT_EXPECT_NULL(test, alloc(h, 300));
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 0);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_NULL(test, alloc(h, 1));
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("the arena is gone"), 1);
	KUNIT_EXPECT_EQ(test, log_count("4 pages, allocated by lost_arena_is_fenced_off"), 1);
	KUNIT_EXPECT_EQ(test, log_count("300 pages, allocated by lost_arena_is_fenced_off"), 1);
	KUNIT_EXPECT_EQ(test, spanheap_check(h, why, sizeof(why)), -EUCLEAN);
	KUNIT_EXPECT_NOT_NULL(test, strstr(why, "the arena is gone"));
	KUNIT_EXPECT_NULL(test, memchr_inv(other, 0x5a, 1024 * PAGE_SIZE));
	release(h, a);
	test_heap_end(h);
	KUNIT_EXPECT_NULL(test, memchr_inv(other, 0x5a, 1024 * PAGE_SIZE));
	vfree(other);
}

/* Free pages of the system, including those in the per-CPU lists */
static s64 free_pages_of_all(void)
{
	s64 n = 0;
	int nid, cpu, i;

	for_each_online_node(nid) {
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[i];

			if (!populated_zone(zone))
				continue;
			n += zone_page_state_snapshot(zone, NR_FREE_PAGES);
			for_each_online_cpu(cpu)
				n += per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;
		}
	}
	return n;
}

/* M24: released pages are free pages of the system */
static void release_gives_memory_back(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &spanheap_arena_ops, 4096, 0);
	void *p = alloc(h, 4096);
	s64 before, after;

	KUNIT_ASSERT_NOT_NULL(test, p);
	release(h, p);
	before = free_pages_of_all();
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 4096);
	after = free_pages_of_all();
	/* Other tasks may allocate or free some pages meanwhile */
	KUNIT_EXPECT_GE(test, after, before + 4096 - 256);
	KUNIT_EXPECT_LE(test, after, before + 4096 + 256);
	check(test, h);
	test_heap_end(h);
}

static u64 inuse(void)
{
	struct spanheap_stats st;

	spanheap_get_stats(&st);
	return st.inuse_bytes >> PAGE_SHIFT;
}

/* M10, M14: the exported look-ups; objects from any interior address */
static void exported_lookups(struct kunit *test)
{
	const struct spanheap_client_attr attr = { .name = "kunit api" };
	struct spanheap_client *c = spanheap_client_register(&attr);
	static const size_t size[] = { 1, 8, 100, 4096, 5000, 12288 };
	u32 i, off, len = 3 * PAGE_SIZE;
	u8 *p, *q, *obj;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	KUNIT_EXPECT_EQ(test, PTR_ERR(spanheap_client_register(&attr)), -EEXIST);
	p = spanheap_alloc(c, 700, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	for (i = 0; i < 700; i++) {
		KUNIT_EXPECT_PTR_EQ(test, spanheap_base(p + i * PAGE_SIZE + i), (void *)p);
		KUNIT_EXPECT_EQ(test, spanheap_nr_pages(p + i * PAGE_SIZE), 700);
		KUNIT_EXPECT_PTR_EQ(test, spanheap_object(p + i * PAGE_SIZE + i), (void *)p);
	}
	KUNIT_EXPECT_PTR_EQ(test, spanheap_owner(p + 9), c);
	for (i = 0; i < ARRAY_SIZE(size); i++) {
		q = spanheap_alloc_objects(c, 3, size[i], GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, q);
		for (off = 0; off < len; off += 7) {
			obj = q + off / size[i] * size[i];
			if (obj + size[i] > q + len)
				obj = NULL;	/* behind the last object */
			KUNIT_ASSERT_PTR_EQ(test, spanheap_object(q + off), (void *)obj);
		}
		spanheap_free(q);
	}
	spanheap_free(p);
	KUNIT_EXPECT_NULL(test, spanheap_base(p));
	KUNIT_EXPECT_NULL(test, spanheap_object(p));
	KUNIT_EXPECT_NULL(test, spanheap_owner(p));
	KUNIT_EXPECT_EQ(test, spanheap_nr_pages(p), 0);
	KUNIT_EXPECT_EQ(test, spanheap_nr_pages(NULL), 0);
	KUNIT_EXPECT_NULL(test, spanheap_base(&off));
	KUNIT_EXPECT_NULL(test, spanheap_base(test));
	p = spanheap_alloc(NULL, 1, GFP_KERNEL);
	KUNIT_EXPECT_NULL(test, spanheap_owner(p));
	spanheap_free(p);
	spanheap_client_unregister(c);
	check(test, spanheap_heap);
}

/* The other exported functions, and the arguments that they refuse */
static void exported_allocation(struct kunit *test)
{
	struct device *dev = root_device_register("spanheap_kunit");
	u64 was = inuse();
	u8 *p;

	KUNIT_EXPECT_NULL(test, spanheap_alloc(ERR_PTR(-ENOMEM), 1, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, spanheap_alloc(NULL, 0, GFP_KERNEL | __GFP_NOWARN));
	spanheap_free(NULL);
	spanheap_client_unregister(NULL);
	spanheap_client_unregister(ERR_PTR(-EINVAL));
	KUNIT_EXPECT_FALSE(test, spanheap_resize(NULL, 1, GFP_KERNEL));
	p = spanheap_alloc_aligned(NULL, 3, 21, GFP_KERNEL | __GFP_ZERO);
	KUNIT_EXPECT_TRUE(test, p && IS_ALIGNED((unsigned long)p, SZ_2M));
	KUNIT_EXPECT_EQ(test, inuse(), was + 3);
	KUNIT_EXPECT_TRUE(test, spanheap_resize(p, 30, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, spanheap_nr_pages(p + 29 * PAGE_SIZE), 30);
	spanheap_free(p);
	{
		void *q __free(spanheap) = spanheap_alloc(NULL, 4, GFP_KERNEL);

		KUNIT_EXPECT_NOT_NULL(test, q);
		KUNIT_EXPECT_EQ(test, inuse(), was + 4);
	}
	KUNIT_EXPECT_EQ(test, inuse(), was);
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	KUNIT_EXPECT_NOT_NULL(test, devm_spanheap_alloc(dev, NULL, 5, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, devm_spanheap_alloc(dev, NULL, 0, GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_EQ(test, inuse(), was + 5);
	root_device_unregister(dev);	/* frees the span, too */
	KUNIT_EXPECT_EQ(test, inuse(), was);
	spanheap_release_memory();
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->resident_bytes,
			stats(spanheap_heap)->inuse_bytes);
	check(test, spanheap_heap);
}

static struct kunit_case arena_cases[] = {
	KUNIT_CASE(pages_come_and_go),
	KUNIT_CASE(arena_without_addresses_is_refused),
	KUNIT_CASE(killed_task_backs_no_further),
	KUNIT_CASE(lost_arena_is_fenced_off),
	KUNIT_CASE(release_gives_memory_back),
	KUNIT_CASE(exported_lookups),
	KUNIT_CASE(exported_allocation),
	{}
};

static struct kunit_suite arena_suite = {
	.name = "spanheap_arena",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = arena_cases,
};

kunit_test_suite(arena_suite);
