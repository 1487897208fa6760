// SPDX-License-Identifier: GPL-2.0
/*
 * What drivers call, on the heap of the module: sizes in bytes.
 */
#include <linux/mm.h>
#include <linux/overflow.h>

#include "fake_arena.h"

/* Bytes are rounded up to pages, and no size overflows into a small one */
static void bytes_are_rounded_up_to_pages(struct kunit *test)
{
	static const struct {
		size_t bytes, pages;
	} good[] = {
		{ 1, 1 }, { PAGE_SIZE - 1, 1 }, { PAGE_SIZE, 1 }, { PAGE_SIZE + 1, 2 },
		{ 300 * PAGE_SIZE, 300 }, { 300 * PAGE_SIZE + 1, 301 },
	};
	static const size_t bad[] = { 0, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - PAGE_SIZE + 2,
				      SIZE_MAX - PAGE_SIZE + 1, SIZE_MAX / 2 };
	struct spanheap_stats before = *stats(spanheap_heap);
	u32 i;
	u8 *p;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		p = spanheap_alloc_bytes(NULL, good[i].bytes, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_EQ(test, spanheap_nr_pages(p), good[i].pages);
		p[good[i].bytes - 1] = 1;
		spanheap_free(p);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_NULL(test, spanheap_alloc_bytes(NULL, bad[i],
							     GFP_KERNEL | __GFP_NOWARN));
	/* The product of an array that overflows is no small number */
	KUNIT_EXPECT_NULL(test, spanheap_alloc_bytes(NULL, array_size(SIZE_MAX / 4 + 2, 4),
						     GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_NULL(test, spanheap_alloc_bytes(ERR_PTR(-ENOMEM), 1, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->failed_allocs,
			before.failed_allocs + ARRAY_SIZE(bad) + 1);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, before.inuse_bytes);
}

static struct kunit_case driver_cases[] = {
	KUNIT_CASE(bytes_are_rounded_up_to_pages),
	{}
};

static struct kunit_suite driver_suite = {
	.name = "spanheap_driver",
	.test_cases = driver_cases,
};

kunit_test_suites(&driver_suite);
