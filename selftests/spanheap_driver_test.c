// SPDX-License-Identifier: GPL-2.0
/*
 * The functions for drivers that come from vmalloc(): "run" names a case; the module loads if it
 * passed.
 */
#define pr_fmt(fmt) "spanheap_driver_test: " fmt

#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "expect.h"

RUN("bytes");

static struct spanheap_client *client;

static bool readable(const void *p)
{
	u8 byte;

	return !copy_from_kernel_nofault(&byte, p, 1);
}

static u8 seed_byte(u32 i)
{
	return 0x11 * (i + 1);
}

static int test_bytes(void)
{
	static const size_t bad[] = { 0, SIZE_MAX, SIZE_MAX - PAGE_SIZE + 2, SIZE_MAX / 2 };
	u64 inuse = stats().inuse_bytes;
	u32 i, n = 1000;
	size_t size;
	u64 *p;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT(!spanheap_alloc_bytes(client, bad[i], GFP_KERNEL | __GFP_NOWARN));
	EXPECT(!spanheap_alloc_bytes(client, array_size(SIZE_MAX / 4 + 2, 4),
				     GFP_KERNEL | __GFP_NOWARN));
	size = array_size(n, sizeof(*p));
	p = spanheap_alloc_bytes(client, size, GFP_KERNEL | __GFP_ZERO);
	EXPECT(p && !memchr_inv(p, 0, size));
	EXPECT(spanheap_nr_pages(p) == DIV_ROUND_UP(size, PAGE_SIZE));
	p[n - 1] = 1;
	spanheap_free(p);
	EXPECT(stats().inuse_bytes == inuse);
	return 0;
}

static int test_isspan(void)
{
	u8 *p = spanheap_alloc(client, 600, GFP_KERNEL), *v = vmalloc(PAGE_SIZE);
	void *k = kmalloc(64, GFP_KERNEL);

	EXPECT(p && v && k);
	EXPECT(spanheap_is_span(p) && spanheap_is_span(p + 600 * PAGE_SIZE - 1));
	EXPECT(!spanheap_is_span(v) && !spanheap_is_span(k) && !spanheap_is_span(&p));
	EXPECT(!spanheap_is_span(NULL) && !spanheap_is_span(ERR_PTR(-ENOMEM)));
	spanheap_free(p);
	EXPECT(!spanheap_is_span(p) && !spanheap_is_span(p + 300 * PAGE_SIZE));
	vfree(v);
	kfree(k);
	return 0;
}

/* One task replaces and frees what others read in RCU read-side critical sections */
#define RCU_ROUNDS	3000

struct record {
	u64 value[PAGE_SIZE / sizeof(u64)];
};

static struct record __rcu *shared;
static atomic_t torn;

static void reader(void)
{
	struct record *r;
	u32 i;

	rcu_read_lock();
	r = rcu_dereference(shared);
	for (i = 1; i < ARRAY_SIZE(r->value); i++)
		if (READ_ONCE(r->value[i]) != READ_ONCE(r->value[0]))
			atomic_inc(&torn);
	rcu_read_unlock();
}

static int rcu_thread(void *data)
{
	unsigned long n = (unsigned long)data;
	u32 i, j;

	for (i = 0; i < RCU_ROUNDS && n; i++)
		reader();
	for (i = 0; i < RCU_ROUNDS && !n; i++) {
		struct record *new = spanheap_alloc(client, 1, GFP_KERNEL), *old;

		if (!new) {
			atomic_inc(&torn);
			break;
		}
		for (j = 0; j < ARRAY_SIZE(new->value); j++)
			new->value[j] = i;
		old = rcu_replace_pointer(shared, new, true);
		spanheap_free_rcu(old);
		cond_resched();
	}
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/* The module goes at once, and so does its client: neither waits for a grace period itself */
static int test_rcu(void)
{
	u64 invalid = stats().invalid_frees;
	void *p;

	RCU_INIT_POINTER(shared, spanheap_alloc(client, 1, GFP_KERNEL | __GFP_ZERO));
	EXPECT(rcu_access_pointer(shared));
	EXPECT(!run_threads(rcu_thread));
	EXPECT(!atomic_read(&torn));
	spanheap_free_rcu(rcu_access_pointer(shared));
	p = spanheap_alloc(NULL, 300, GFP_KERNEL);
	EXPECT(p);
	spanheap_free_rcu(p);
	spanheap_free_rcu(NULL);
	EXPECT(stats().invalid_frees == invalid);
	spanheap_free_rcu(p);
	spanheap_free_rcu(&p);
	EXPECT(stats().invalid_frees == invalid + 2);
	return 0;
}

static bool all_of_node(const void *p, u32 nr, int node)
{
	for (; nr; nr--, p += PAGE_SIZE)
		if (page_to_nid(vmalloc_to_page(p)) != node)
			return false;
	return true;
}

static int of_node(u32 nr, int node)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	void *p, *q;

	/* Warm memory, of whatever node this task is on */
	p = spanheap_alloc(client, nr, GFP_KERNEL);
	q = spanheap_alloc_node(client, nr, GFP_KERNEL, 1 - node);
	EXPECT(p && (q || !node_online(1 - node)));
	spanheap_free(p);
	spanheap_free(q);
	p = spanheap_alloc_node(client, nr, gfp | __GFP_THISNODE, node);
	EXPECT(!!p == !!node_state(node, N_MEMORY));
	q = spanheap_alloc_node(client, nr, gfp, node);
	EXPECT(!!q == !!node_online(node));
	if (p) {
		EXPECT(all_of_node(p, nr, node) && all_of_node(q, nr, node));
		memset(p, 1, nr * PAGE_SIZE);
		memset(q, 2, nr * PAGE_SIZE);
		EXPECT(!memchr_inv(p, 1, nr * PAGE_SIZE));
	}
	spanheap_free(p);
	spanheap_free(q);
	return 0;
}

static int test_node(void)
{
	static const u32 sizes[] = { 1, 16, 300, 5000 };
	static const int bad[] = { -2, INT_MIN, INT_MAX, MAX_NUMNODES };
	int err = 0, node;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes) && !err; i++)
		for (node = 0; node < 2 && !err; node++)
			err = of_node(sizes[i], node);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT(!spanheap_alloc_node(client, 1, GFP_KERNEL | __GFP_NOWARN, bad[i]));
	return err;
}

#define BULK	1000

/* Four tasks at once, so that magazines travel; every span is its task's alone */
static atomic_t bulk_errors;

static int bulk_thread(void *data)
{
	void **p = kvcalloc(BULK, sizeof(*p), GFP_KERNEL);
	u32 nr = 1 + (unsigned long)data, round, i, n;

	for (round = 0; p && round < 30; round++) {
		n = spanheap_alloc_bulk(client, nr, GFP_KERNEL, BULK, p);
		if (n != BULK)
			atomic_inc(&bulk_errors);
		for (i = 0; i < n; i++)
			memset(p[i], i, nr * PAGE_SIZE);
		for (i = 0; i < n; i++)
			if (memchr_inv(p[i], i, nr * PAGE_SIZE))
				atomic_inc(&bulk_errors);
		spanheap_free_bulk(n, p);
		cond_resched();
	}
	if (!p)
		atomic_inc(&bulk_errors);
	kvfree(p);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static int test_bulk(void)
{
	struct spanheap_stats before = stats();
	void *p[3] = {};

	EXPECT(!run_threads(bulk_thread));
	EXPECT(!atomic_read(&bulk_errors));
	EXPECT(!spanheap_alloc_bulk(client, 1, GFP_KERNEL, 0, NULL));
	EXPECT(!spanheap_alloc_bulk(client, 0, GFP_KERNEL | __GFP_NOWARN, 3, p));
	EXPECT(!spanheap_alloc_bulk(client, SIZE_MAX, GFP_KERNEL | __GFP_NOWARN, 3, p));
	EXPECT(spanheap_alloc_bulk(client, 2, GFP_ATOMIC, 3, p) == 3);
	p[1] += PAGE_SIZE;
	spanheap_free_bulk(3, p);
	spanheap_free(p[1] - PAGE_SIZE);
	EXPECT(stats().invalid_frees == before.invalid_frees + 1);
	EXPECT(stats().inuse_bytes == before.inuse_bytes);
	return 0;
}

/* 64 KiB to 64 MiB by doubling, with a span right behind each time */
#define LEAST	16u
#define MOST	16384u

static int test_realloc(void)
{
	unsigned long *pfn = kvcalloc(MOST, sizeof(*pfn), GFP_KERNEL);
	struct spanheap_stats before = stats();
	void **block = kvcalloc(2 * MOST, sizeof(*block), GFP_KERNEL);
	u32 nr, i, blocks = 0, moves = 0;
	u64 *p, *q;

	spanheap_release_memory();	/* what was cached is one with its neighbours */
	p = spanheap_alloc(client, LEAST, GFP_KERNEL);
	EXPECT(pfn && block && p);
	for (i = 0; i < LEAST; i++)
		p[i * PAGE_SIZE / sizeof(*p)] = i;
	for (nr = LEAST; nr < MOST; nr *= 2) {
		/* Fills the holes that the span has left, then what is behind it */
		do {
			EXPECT(blocks < 2 * MOST);
			block[blocks] = spanheap_alloc(client, 1, GFP_KERNEL);
			EXPECT(block[blocks]);
		} while (block[blocks++] != (void *)p + nr * PAGE_SIZE);
		for (i = 0; i < nr; i++)
			pfn[i] = vmalloc_to_pfn((void *)p + i * PAGE_SIZE);
		q = spanheap_realloc(p, 2 * nr, GFP_KERNEL);
		EXPECT(q && q != p && spanheap_nr_pages(q) == 2 * nr);
		EXPECT(!spanheap_is_span(p) && !readable(p));
		moves++;
		for (i = 0; i < nr; i++)
			EXPECT(vmalloc_to_pfn((void *)q + i * PAGE_SIZE) == pfn[i]);
		p = q;
		for (i = nr; i < 2 * nr; i++)
			p[i * PAGE_SIZE / sizeof(*p)] = i;
	}
	for (i = 0; i < MOST; i++)
		EXPECT(p[i * PAGE_SIZE / sizeof(*p)] == i);
	EXPECT(stats().zeroed_bytes == before.zeroed_bytes);
	EXPECT(stats().inuse_bytes == before.inuse_bytes + (MOST + blocks) * PAGE_SIZE);
	pr_info("%u times doubled: %llu bytes mapped elsewhere\n", moves,
		stats().moved_bytes - before.moved_bytes);
	EXPECT(stats().moved_bytes - before.moved_bytes == (MOST - LEAST) * PAGE_SIZE);
	while (blocks)
		spanheap_free(block[--blocks]);
	EXPECT(!spanheap_realloc(p, 0, GFP_KERNEL) && !spanheap_realloc(p, SIZE_MAX, GFP_KERNEL));
	EXPECT(!spanheap_realloc(p, stats().arena_bytes >> PAGE_SHIFT, GFP_KERNEL));
	EXPECT(spanheap_nr_pages(p) == MOST);
	EXPECT(spanheap_realloc(p, 1, GFP_KERNEL) == p);
	spanheap_free(p);
	EXPECT(!spanheap_realloc(p, 1, GFP_KERNEL) && !spanheap_realloc(NULL, 1, GFP_KERNEL));
	EXPECT(stats().inuse_bytes == before.inuse_bytes);
	kvfree(block);
	kvfree(pfn);
	return 0;
}

/* Four tasks, each with spans that move all the time, beside the scavenger and each other */
static atomic_t realloc_errors;

static int realloc_thread(void *data)
{
	u32 seed = 7 + (unsigned long)data, i, nr, round;
	u8 *p[8] = {}, *q;
	u32 had[8];

	for (round = 0; round < 600; round++) {
		seed = seed * 1103515245 + 12345;
		i = (seed >> 16) % ARRAY_SIZE(p);
		nr = 1 + (seed >> 8) % 200;
		q = p[i] ? spanheap_realloc(p[i], nr, GFP_KERNEL) :
			   spanheap_alloc(client, nr, GFP_KERNEL);
		if (!q) {
			atomic_inc(&realloc_errors);
			break;
		}
		if (p[i] && memchr_inv(q, seed_byte(i), min(nr, had[i]) * PAGE_SIZE))
			atomic_inc(&realloc_errors);
		memset(q, seed_byte(i), nr * PAGE_SIZE);
		p[i] = q;
		had[i] = nr;
		if (round % 100 == 50)
			spanheap_release_memory();
		cond_resched();
	}
	for (i = 0; i < ARRAY_SIZE(p); i++)
		spanheap_free(p[i]);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static int test_moves(void)
{
	u64 moved = stats().moved_bytes, invalid = stats().invalid_frees;

	EXPECT(!run_threads(realloc_thread));
	EXPECT(!atomic_read(&realloc_errors));
	EXPECT(stats().moved_bytes > moved);
	EXPECT(stats().invalid_frees == invalid);
	return 0;
}

static int test_sg(void)
{
	size_t nr = 300, size = nr * PAGE_SIZE;
	u8 *p = spanheap_alloc(client, nr, GFP_KERNEL), *buf = kvmalloc(size, GFP_KERNEL);
	struct sg_table sgt;

	EXPECT(p && buf);
	memset(buf, 0x5a, size);
	EXPECT(spanheap_sg_table(p + PAGE_SIZE, &sgt, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_sg_table(NULL, &sgt, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_sg_table(buf, &sgt, GFP_KERNEL) == -EINVAL);
	EXPECT(!spanheap_sg_table(p, &sgt, GFP_KERNEL));
	EXPECT(sg_copy_from_buffer(sgt.sgl, sgt.nents, buf, size) == size);
	EXPECT(!memchr_inv(p, 0x5a, size));
	sg_free_table(&sgt);
	spanheap_free(p);
	kvfree(buf);
	return 0;
}

static int test_kvmalloc(void)
{
	static const size_t sizes[] = { 1, PAGE_SIZE, PAGE_SIZE + 1, SZ_1M, 600 * SZ_1M };
	u64 inuse = stats().inuse_bytes, invalid = stats().invalid_frees;
	u8 *p;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* The last is more than the arena, and may be more than the machine */
		p = spanheap_kvmalloc(client, sizes[i], GFP_KERNEL | __GFP_NOWARN);
		EXPECT(p || i == 4);
		EXPECT(spanheap_is_span(p) == (i == 2 || i == 3));
		if (i < 4)
			memset(p, i, sizes[i]);
		spanheap_kvfree(p);
	}
	EXPECT(!spanheap_kvmalloc(client, SIZE_MAX, GFP_KERNEL | __GFP_NOWARN));
	EXPECT(!spanheap_kvmalloc(client, (size_t)INT_MAX + 1, GFP_KERNEL | __GFP_NOWARN));
	p = spanheap_kvmalloc(client, 3 * PAGE_SIZE, GFP_KERNEL);
	spanheap_kvfree(p);
	spanheap_kvfree(p);
	spanheap_kvfree(NULL);
	spanheap_kvfree(ZERO_SIZE_PTR);
	EXPECT(stats().invalid_frees == invalid + 1);
	EXPECT(stats().inuse_bytes == inuse);
	return 0;
}

/* An ordinary driver: what it has of the heap goes with its device, or with a failed probe */
static bool probe_fails;
static int probes;

static int probe(struct platform_device *pdev)
{
	const struct spanheap_client_attr attr = { .name = "pdev" };
	struct spanheap_client *c = devm_spanheap_client_register(&pdev->dev, &attr);
	u8 *p, *early;

	if (IS_ERR(c))
		return PTR_ERR(c);
	p = devm_spanheap_alloc(&pdev->dev, c, 30, GFP_KERNEL);
	early = devm_spanheap_alloc(&pdev->dev, c, 3, GFP_KERNEL);
	if (!p || !early || !devm_spanheap_alloc(&pdev->dev, NULL, 300, GFP_KERNEL))
		return -ENOMEM;
	memset(p, 1, 30 * PAGE_SIZE);
	devm_spanheap_free(&pdev->dev, early);
	probes++;
	return probe_fails ? -EIO : 0;
}

static struct platform_driver pdrv = {
	.probe = probe,
	.driver = { .name = "spanheap_pdrv" },
};

static int test_devm(void)
{
	struct spanheap_stats before = stats();
	struct platform_device *pdev;
	int i;

	EXPECT(!platform_driver_register(&pdrv));
	for (i = 0; i < 6; i++) {
		probe_fails = i % 2;
		pdev = platform_device_register_simple("spanheap_pdrv", i, NULL, 0);
		EXPECT(!IS_ERR(pdev) && probes == i + 1);
		EXPECT(stats().inuse_bytes - before.inuse_bytes ==
		       (probe_fails ? 0 : 330 * PAGE_SIZE));
		platform_device_unregister(pdev);
		EXPECT(stats().inuse_bytes == before.inuse_bytes);
	}
	platform_driver_unregister(&pdrv);
	EXPECT(stats().invalid_frees == before.invalid_frees);
	EXPECT(stats().orphan_bytes == before.orphan_bytes);
	return 0;
}

static const struct test_case cases[] = {
	{ "bytes", test_bytes }, { "isspan", test_isspan }, { "rcu", test_rcu },
	{ "node", test_node }, { "bulk", test_bulk }, { "realloc", test_realloc },
	{ "moves", test_moves }, { "sg", test_sg }, { "kvmalloc", test_kvmalloc },
	{ "devm", test_devm },
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
