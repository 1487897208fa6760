// SPDX-License-Identifier: GPL-2.0
/*
 * A module that unloads and leaves spans, and a module that uses them later: "run" names the
 * case. "addr" passes the spans as hexadecimal numbers.
 */
#define pr_fmt(fmt) "spanheap_leave_test: " fmt

#include <linux/device.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "expect.h"

#define SPANS	14u

RUN("leave");
static unsigned long addr[SPANS];
static unsigned int nr_addr = SPANS;
module_param_array_named(addr, addr, ulong, &nr_addr, 0444);
MODULE_PARM_DESC(addr, "the spans: of who leaves them, and for who takes them");

static const size_t sizes[] = { 1, 5, 300 };

static size_t size_of(unsigned int i)
{
	return sizes[i % ARRAY_SIZE(sizes)] * PAGE_SIZE;
}

/* Call sites with names: in text that stays until the module unloads, and in __init text */
static noinline void *left_by_function(size_t size)
{
	void *p = spanheap_alloc(NULL, size >> PAGE_SHIFT, GFP_KERNEL);

	barrier();	/* no tail call */
	return p;
}

static noinline void *__init left_by_init(size_t size)
{
	void *p = spanheap_alloc(NULL, size >> PAGE_SHIFT, GFP_KERNEL);

	barrier();
	return p;
}

static int __init fill(void *p, unsigned int i)
{
	EXPECT(p);
	memset(p, 0x40 + i, size_of(i));
	addr[i] = (unsigned long)p;
	return 0;
}

static int __init test_leave(void)
{
	unsigned int i;

	for (i = 0; i < SPANS; i++)
		EXPECT(!fill(i % 2 ? left_by_init(size_of(i)) : left_by_function(size_of(i)), i));
	return 0;
}

/* The spans that an earlier module left are unchanged */
static int __init test_look(void)
{
	unsigned int i;

	EXPECT(nr_addr == SPANS);
	for (i = 0; i < SPANS; i++) {
		EXPECT(spanheap_base((void *)addr[i]) == (void *)addr[i]);
		EXPECT(spanheap_nr_pages((void *)addr[i]) == size_of(i) >> PAGE_SHIFT);
		EXPECT(!spanheap_owner((void *)addr[i]));
		EXPECT(!memchr_inv((void *)addr[i], 0x40 + i, size_of(i)));
	}
	return 0;
}

static int __init test_take(void)
{
	unsigned int i;

	EXPECT(!test_look());
	/* An orphan may change its length like any other span */
	EXPECT(spanheap_resize((void *)addr[2], 200, GFP_KERNEL));
	for (i = 0; i < SPANS; i++)
		spanheap_free((void *)addr[i]);
	return 0;
}

/* A bad free of an orphan: the report names its allocating call site */
static noinline void interior_free(void *p)
{
	spanheap_free(p);
	barrier();
}

static int __init test_badfree(void)
{
	EXPECT(nr_addr == SPANS);
	interior_free((void *)addr[2] + 2 * PAGE_SIZE);
	interior_free((void *)addr[2] + 3 * PAGE_SIZE);	/* the same call site: no second report */
	EXPECT(!test_look());
	return 0;
}

/* The module unloads without unregistering its client and freeing its spans */
static int __init test_forget(void)
{
	const struct spanheap_client_attr attr = { .name = "forgotten" };
	struct spanheap_client *c = spanheap_client_register(&attr);
	void *p;

	EXPECT(!IS_ERR(c));
	p = spanheap_alloc(c, 3, GFP_KERNEL);
	EXPECT(p);
	return 0;
}

/*
 * A tail call: the call site is in the kernel's text, not in the module's. The attribute is
 * for kernels with frame pointers, which are compiled without tail calls.
 */
static __attribute__((__optimize__("optimize-sibling-calls")))
void *pool_alloc(gfp_t gfp, void *data)
{
	return spanheap_alloc(NULL, 1, gfp & GFP_KERNEL);
}

static void pool_free(void *p, void *data)
{
	spanheap_free(p);
}

static int __init test_pool(void)
{
	mempool_t *pool = mempool_create(1, pool_alloc, pool_free, NULL);

	EXPECT(pool);
	addr[0] = (unsigned long)mempool_alloc(pool, GFP_KERNEL);
	mempool_destroy(pool);
	EXPECT(addr[0]);
	return 0;
}

/* Free the spans that the pool case has left */
static int __init test_drop(void)
{
	spanheap_free((void *)addr[0]);
	return 0;
}

/* Anonymous spans of a module that stays */
static int __init test_stay(void)
{
	unsigned int i;

	for (i = 0; i < SPANS; i++)
		EXPECT(!fill(left_by_function(size_of(i)), i));
	return 0;
}

static void free_all(void)
{
	unsigned int i;

	for (i = 0; i < SPANS; i++)
		spanheap_free((void *)addr[i]);
}

/* The driver frees two spans of a device itself: each has its own call site */
static noinline void *devm_first(struct device *dev)
{
	void *p = devm_spanheap_alloc(dev, NULL, 2, GFP_KERNEL);

	barrier();
	return p;
}

static noinline void *devm_second(struct device *dev)
{
	void *p = devm_spanheap_alloc(dev, NULL, 3, GFP_KERNEL);

	barrier();
	return p;
}

static int __init test_devm(void)
{
	struct device *dev = root_device_register("spanheap_leave_test");
	void *p, *q;

	EXPECT(!IS_ERR(dev));
	p = devm_first(dev);
	q = devm_second(dev);
	EXPECT(p && q);
	spanheap_free(p);
	spanheap_free(q);
	root_device_unregister(dev);
	return 0;
}

static const struct test_case cases[] __initconst = {
	{ "leave", test_leave }, { "look", test_look }, { "take", test_take },
	{ "badfree", test_badfree }, { "forget", test_forget }, { "stay", test_stay },
	{ "devm", test_devm }, { "pool", test_pool }, { "drop", test_drop },
	{}
};

static int __init test_init(void)
{
	return run_case(cases, run);
}

static void __exit test_exit(void)
{
	if (!strcmp(run, "stay"))
		free_all();
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("Tests of spanheap: spans that outlive the module that allocated them");
MODULE_LICENSE("GPL");
