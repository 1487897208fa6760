// SPDX-License-Identifier: GPL-2.0
/*
 * What drivers that come from vmalloc() call: "run" names a case; the module loads if it
 * passed.
 */
#define pr_fmt(fmt) "spanheap_driver_test: " fmt

#include <linux/mm.h>
#include <linux/overflow.h>

#include "expect.h"

RUN("bytes");

static struct spanheap_client *client;

static int test_bytes(void)
{
	static const size_t bad[] = { 0, SIZE_MAX, SIZE_MAX - PAGE_SIZE + 2, SIZE_MAX / 2 };
	u64 inuse = stats().inuse_bytes;
	u32 i, n = 1000;
	u64 *p;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT(!spanheap_alloc_bytes(client, bad[i], GFP_KERNEL | __GFP_NOWARN));
	EXPECT(!spanheap_alloc_bytes(client, array_size(SIZE_MAX / 4 + 2, 4),
				     GFP_KERNEL | __GFP_NOWARN));
	p = spanheap_alloc_bytes(client, array_size(n, sizeof(*p)), GFP_KERNEL | __GFP_ZERO);
	EXPECT(p && !memchr_inv(p, 0, n * sizeof(*p)));
	EXPECT(spanheap_nr_pages(p) == DIV_ROUND_UP(n * sizeof(*p), PAGE_SIZE));
	p[n - 1] = 1;
	spanheap_free(p);
	EXPECT(stats().inuse_bytes == inuse);
	return 0;
}

static const struct test_case cases[] = {
	{ "bytes", test_bytes },
	{}
};

static int __init test_init(void)
{
	const struct spanheap_client_attr attr = { .name = "driver" };

	return run_client_case(&attr, &client, cases, run);
}

static void __exit test_exit(void)
{
	spanheap_client_unregister(client);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("Tests of what drivers call of spanheap");
MODULE_LICENSE("GPL");
