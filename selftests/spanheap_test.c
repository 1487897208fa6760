// SPDX-License-Identifier: GPL-2.0
/*
 * A client that tests: "run" names a case; the module loads if it passed.
 */
#define pr_fmt(fmt) "spanheap_test: " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mempool.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/poll.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <compat/fault.h>

#include "expect.h"

RUN("process");
static unsigned int seconds = 20;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "how long the stress case runs");
static unsigned int pages = 1024;
module_param(pages, uint, 0444);
MODULE_PARM_DESC(pages, "what the idle case leaves behind; length of spans that travel");

static struct spanheap_client *client;

static bool readable(const void *p)
{
	u8 byte;

	return !copy_from_kernel_nofault(&byte, p, 1);
}

/* Allocate, fill, verify, free; several sizes at once */
static int exercise(gfp_t gfp)
{
	static const unsigned int sizes[] = { 1, 2, 3, 16, 64, 255, 256, 257 };
	void *p[ARRAY_SIZE(sizes)];
	int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		p[i] = spanheap_alloc(client, sizes[i], gfp);
		EXPECT(p[i] && is_vmalloc_addr(p[i]));
		memset(p[i], i + 1, sizes[i] * PAGE_SIZE);
	}
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT(!memchr_inv(p[i], i + 1, sizes[i] * PAGE_SIZE));
		EXPECT(*(u8 *)page_address(vmalloc_to_page(p[i])) == i + 1);
		EXPECT(spanheap_nr_pages(p[i]) == sizes[i]);
		spanheap_free(p[i]);
		EXPECT(!spanheap_nr_pages(p[i]));
	}
	return 0;
}

static int test_process(void)
{
	static const gfp_t flags[] = {
		GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT, GFP_ATOMIC,
		GFP_KERNEL | __GFP_NORETRY, GFP_KERNEL | __GFP_RETRY_MAYFAIL,
	};
	int i, err = 0;

	for (i = 0; i < ARRAY_SIZE(flags) && !err; i++)
		err = exercise(flags[i]);
	return err;
}

static int test_irqsoff(void)
{
	unsigned long flags;
	int err;

	local_irq_save(flags);
	err = exercise(GFP_ATOMIC);
	local_irq_restore(flags);
	return err;
}

static DECLARE_COMPLETION(done);
static int result;

static void softirq_fn(struct timer_list *unused)
{
	result = in_serving_softirq() ? exercise(GFP_ATOMIC) : -EINVAL;
	complete(&done);
}

static int test_softirq(void)
{
	static struct timer_list timer;

	timer_setup(&timer, softirq_fn, 0);
	mod_timer(&timer, jiffies + 1);
	wait_for_completion(&done);
	timer_delete_sync(&timer);
	return result;
}

static void in_hardirq_fn(struct irq_work *unused)
{
	result = in_hardirq() ? exercise(GFP_ATOMIC) : -EINVAL;
	complete(&done);
}

static int test_hardirq(void)
{
	static struct irq_work work;

	init_irq_work(&work, in_hardirq_fn);
	irq_work_queue(&work);
	wait_for_completion(&done);
	irq_work_sync(&work);
	return result;
}

static int test_lookup(void)
{
	u8 *p = spanheap_alloc_objects(client, 700, 3000, GFP_KERNEL);
	u8 *q = spanheap_alloc_aligned(client, 5, PMD_SHIFT, GFP_KERNEL);

	EXPECT(p && q);
	EXPECT(IS_ALIGNED((unsigned long)q, PMD_SIZE));
	EXPECT(spanheap_base(p + 699 * PAGE_SIZE + 17) == p);
	EXPECT(spanheap_nr_pages(p + 512 * PAGE_SIZE) == 700);
	EXPECT(spanheap_owner(p + 1) == client);
	EXPECT(spanheap_object(p + 7000) == p + 6000);
	EXPECT(!spanheap_object(p + 700 * PAGE_SIZE - 1));
	EXPECT(spanheap_object(q + 100) == q);
	EXPECT(!spanheap_base(&p) && !spanheap_base(NULL));
	spanheap_free(p);
	spanheap_free(q);
	return 0;
}

static int test_resize(void)
{
	u8 *p;

	/* Cached spans behind the span are not free: empty the caches */
	spanheap_release_memory();
	p = spanheap_alloc(client, 10, GFP_KERNEL);
	EXPECT(p);
	memset(p, 0x5a, 10 * PAGE_SIZE);
	EXPECT(spanheap_resize(p, 10, GFP_KERNEL));
	EXPECT(!spanheap_resize(p, 0, GFP_KERNEL));
	EXPECT(spanheap_resize(p, 4, GFP_KERNEL));
	EXPECT(spanheap_nr_pages(p) == 4 && !spanheap_nr_pages(p + 4 * PAGE_SIZE));
	EXPECT(spanheap_resize(p, 20, GFP_KERNEL | __GFP_ZERO));
	EXPECT(spanheap_base(p + 19 * PAGE_SIZE) == p);
	EXPECT(!memchr_inv(p, 0x5a, 4 * PAGE_SIZE));
	EXPECT(!memchr_inv(p + 4 * PAGE_SIZE, 0, 16 * PAGE_SIZE));
	EXPECT(!spanheap_resize(p, 1 << 30, GFP_KERNEL));
	spanheap_free(p);
	return 0;
}

/* The heap releases the pages of one span while its neighbours stay */
static int test_release(void)
{
	u8 *a = spanheap_alloc(client, 1, GFP_KERNEL);
	u8 *b = spanheap_alloc(client, 512, GFP_KERNEL);
	u8 *c = spanheap_alloc(client, 1, GFP_KERNEL);

	EXPECT(a && b && c);
	memset(a, 1, PAGE_SIZE);
	memset(c, 3, PAGE_SIZE);
	spanheap_free(b);
	EXPECT(readable(b) && readable(b + 511 * PAGE_SIZE));
	spanheap_release_memory();
	EXPECT(!readable(b) && !readable(b + 511 * PAGE_SIZE));
	EXPECT(!vmalloc_to_page(b));
	EXPECT(!memchr_inv(a, 1, PAGE_SIZE) && !memchr_inv(c, 3, PAGE_SIZE));
	spanheap_free(a);
	spanheap_free(c);
	return 0;
}

static int test_zero(void)
{
	int i;
	u8 *p;

	for (i = 0; i < 20; i++) {
		if (i % 7 == 3)
			spanheap_release_memory();
		p = spanheap_alloc(client, 33, GFP_KERNEL | __GFP_ZERO);
		EXPECT(p && !memchr_inv(p, 0, 33 * PAGE_SIZE));
		memset(p, 0xff, 33 * PAGE_SIZE);
		spanheap_free(p);
	}
	return 0;
}

/* p, n pages long, lies between two spans in use, so that it stays one span when freed */
struct guarded {
	u8 *before, *p, *after;
};

static int guarded_alloc(struct guarded *g, struct spanheap_client *c, size_t n)
{
	spanheap_release_memory();	/* leaves no hole, so addresses ascend */
	g->before = spanheap_alloc(c, 1, GFP_KERNEL);
	g->p = spanheap_alloc(c, n, GFP_KERNEL);
	g->after = spanheap_alloc(c, 1, GFP_KERNEL);
	EXPECT(g->before && g->p && g->after);
	return 0;
}

static void guarded_free(struct guarded *g)
{
	spanheap_free(g->before);
	spanheap_free(g->p);
	spanheap_free(g->after);
}

static const size_t init_sizes[] = { 1, 8, 300 };

/* init_on_free=1: a free clears the span, and an allocation does not clear it again */
static int init_free(size_t n)
{
	size_t size = n * PAGE_SIZE, cut = n / 2;
	u64 zeroed, skipped;
	struct guarded g;
	u8 *p;
	int i;

	EXPECT(!guarded_alloc(&g, client, n));
	p = g.p;
	memset(p, 0xff, size);
	spanheap_free(p);
	/* A worker clears a long span a little later */
	for (i = 0; n > 256 && i < 1000 && memchr_inv(p, 0, size); i++)
		msleep(20);
	EXPECT(readable(p) && !memchr_inv(p, 0, size));
	zeroed = stats().zeroed_bytes;
	skipped = stats().zero_skipped_bytes;
	g.p = spanheap_alloc(client, n, GFP_KERNEL | __GFP_ZERO);
	EXPECT(g.p == p && !memchr_inv(p, 0, size));
	EXPECT(stats().zeroed_bytes == zeroed);
	EXPECT(stats().zero_skipped_bytes == skipped + size);
	if (cut) {	/* a resize clears the pages that it frees */
		memset(p, 0xff, size);
		EXPECT(spanheap_resize(p, cut, GFP_KERNEL));
		EXPECT(!memchr_inv(p, 0xff, cut * PAGE_SIZE));
		EXPECT(readable(p + cut * PAGE_SIZE));
		EXPECT(!memchr_inv(p + cut * PAGE_SIZE, 0, size - cut * PAGE_SIZE));
	}
	guarded_free(&g);
	return 0;
}

static int test_initfree(void)
{
	int i, err = 0;

	EXPECT(want_init_on_free() && !want_init_on_alloc(GFP_KERNEL));
	migrate_disable();	/* the next allocation must use the same CPU's cache */
	for (i = 0; i < ARRAY_SIZE(init_sizes) && !err; i++)
		err = init_free(init_sizes[i]);
	migrate_enable();
	return err;
}

/* Memory that held 0xff is allocated again; the client's flag decides if it is cleared */
static int init_alloc(struct spanheap_client *c, size_t n, bool skip)
{
	size_t size = n * PAGE_SIZE;
	struct guarded g;
	u64 zeroed;
	u8 *p;

	EXPECT(!guarded_alloc(&g, c, n));
	p = g.p;
	memset(p, 0xff, size);
	spanheap_free(p);
	zeroed = stats().zeroed_bytes;
	g.p = spanheap_alloc(c, n, GFP_KERNEL);
	EXPECT(g.p == p);
	EXPECT(!memchr_inv(p, skip ? 0xff : 0, size));
	EXPECT(stats().zeroed_bytes == zeroed + (skip ? 0 : size));
	memset(p, 0xff, size);
	spanheap_free(p);
	g.p = spanheap_alloc(c, n, GFP_KERNEL | __GFP_ZERO);
	EXPECT(g.p == p && !memchr_inv(p, 0, size));
	guarded_free(&g);
	return 0;
}

static int test_initalloc(void)
{
	const struct spanheap_client_attr attr = {
		.name = "trusting", .flags = SPANHEAP_SKIP_INIT,
	};
	struct spanheap_client *c = spanheap_client_register(&attr);
	int i, err = 0;

	EXPECT(!IS_ERR(c));
	EXPECT(want_init_on_alloc(GFP_KERNEL) && !want_init_on_free());
	migrate_disable();
	for (i = 0; i < ARRAY_SIZE(init_sizes) && !err; i++) {
		err = init_alloc(client, init_sizes[i], false);
		if (!err)
			err = init_alloc(c, init_sizes[i], true);
	}
	migrate_enable();
	spanheap_client_unregister(c);
	return err;
}

static int test_scatter(void)
{
	size_t nr = 37, size = nr * PAGE_SIZE, i;
	u8 *p = spanheap_alloc(client, nr, GFP_KERNEL);
	u8 *buf = kvmalloc(size, GFP_KERNEL);
	struct scatterlist *sg;
	struct sg_table table;

	EXPECT(p && buf && !sg_alloc_table(&table, nr, GFP_KERNEL));
	for_each_sgtable_sg(&table, sg, i)
		sg_set_page(sg, vmalloc_to_page(p + i * PAGE_SIZE), PAGE_SIZE, 0);
	get_random_bytes(p, size);
	EXPECT(sg_copy_to_buffer(table.sgl, nr, buf, size) == size);
	EXPECT(!memcmp(p, buf, size));
	get_random_bytes(buf, size);
	EXPECT(sg_copy_from_buffer(table.sgl, nr, buf, size) == size);
	EXPECT(!memcmp(p, buf, size));
	for (i = 0; i < nr; i++)
		EXPECT(vmalloc_to_pfn(p + i * PAGE_SIZE) ==
		       page_to_pfn(vmalloc_to_page(p + i * PAGE_SIZE)));
	sg_free_table(&table);
	kvfree(buf);
	spanheap_free(p);
	return 0;
}

/* A span behind /dev/spanheap_test, for the script to read and write */
#define USER_BYTES	(8 * PAGE_SIZE)

static u8 *user_span;

static ssize_t user_read(struct file *file, char __user *buf, size_t n, loff_t *pos)
{
	return simple_read_from_buffer(buf, n, pos, user_span, USER_BYTES);
}

static ssize_t user_write(struct file *file, const char __user *buf, size_t n,
			  loff_t *pos)
{
	return simple_write_to_buffer(user_span, USER_BYTES, pos, buf, n);
}

static const struct file_operations user_fops = {
	.owner = THIS_MODULE,
	.read = user_read,
	.write = user_write,
	.llseek = default_llseek,
};

static struct miscdevice user_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "spanheap_test",
	.fops = &user_fops,
};

static int test_usercopy(void)
{
	int err;

	user_span = spanheap_alloc(client, USER_BYTES >> PAGE_SHIFT,
				   GFP_KERNEL | __GFP_ZERO);
	EXPECT(user_span);
	err = misc_register(&user_dev);
	if (err) {
		spanheap_free(user_span);
		user_span = NULL;
	}
	return err;
}

static int test_scoped(void)
{
	u64 inuse = stats().inuse_bytes;
	struct device *dev;

	{
		void *p __free(spanheap) = spanheap_alloc(client, 3, GFP_KERNEL);
		void *none __free(spanheap) = NULL;

		EXPECT(p && !none);
		EXPECT(stats().inuse_bytes == inuse + 3 * PAGE_SIZE);
	}
	EXPECT(stats().inuse_bytes == inuse);

	dev = root_device_register("spanheap_test");
	EXPECT(!IS_ERR(dev));
	EXPECT(devm_spanheap_alloc(dev, client, 5, GFP_KERNEL));
	EXPECT(devm_spanheap_alloc(dev, NULL, 20, GFP_KERNEL));
	EXPECT(!devm_spanheap_alloc(dev, client, 0, GFP_KERNEL | __GFP_NOWARN));
	EXPECT(stats().inuse_bytes == inuse + 25 * PAGE_SIZE);
	root_device_unregister(dev);
	EXPECT(stats().inuse_bytes == inuse);
	return 0;
}

static int test_limit(void)
{
	const struct spanheap_client_attr attr = {
		.name = "limited", .limit_bytes = 10 * PAGE_SIZE,
	};
	struct spanheap_client *c = spanheap_client_register(&attr);
	void *p, *q;

	EXPECT(!IS_ERR(c));
	p = spanheap_alloc(c, 8, GFP_KERNEL);
	EXPECT(p);
	EXPECT(!spanheap_alloc(c, 3, GFP_KERNEL | __GFP_NOWARN));
	EXPECT(!spanheap_resize(p, 11, GFP_KERNEL));
	q = spanheap_alloc(c, 2, GFP_KERNEL);
	EXPECT(q);
	spanheap_free(p);
	spanheap_free(q);
	spanheap_client_unregister(c);
	return 0;
}

/* Clients register, allocate, free and unregister, as with network namespaces */
#define CLIENTS		1000

static int test_clients(void)
{
	u64 start = ktime_get_ns();
	struct spanheap_client *c;
	char name[16];
	void *p, *q;
	int i;

	for (i = 0; i < CLIENTS; i++) {
		snprintf(name, sizeof(name), "client%d", i);
		c = spanheap_client_register(&(struct spanheap_client_attr) {
			.name = name, .limit_bytes = i % 2 ? SZ_1M : 0 });
		EXPECT(!IS_ERR(c));
		p = spanheap_alloc(c, 1, GFP_KERNEL);
		q = spanheap_alloc(c, 20, GFP_KERNEL);
		EXPECT(p && q);
		spanheap_free(p);
		spanheap_free(q);
		spanheap_client_unregister(c);
	}
	pr_info("%d clients came and went in %llu ms\n", CLIENTS,
		div_u64(ktime_get_ns() - start, NSEC_PER_MSEC));
	return 0;
}

static int test_names(void)
{
	static const char * const bad[] = { NULL, "", "a/b", ".", "..",
		"0123456789012345678901234567890123456789012345678901234567890123" };
	struct spanheap_client_attr attr = {};
	struct spanheap_client *c;
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		attr.name = bad[i];
		EXPECT(spanheap_client_register(&attr) == ERR_PTR(-EINVAL));
	}
	attr.name = "test";	/* this module's own */
	EXPECT(spanheap_client_register(&attr) == ERR_PTR(-EEXIST));
	attr.name = bad[5] + 1;
	c = spanheap_client_register(&attr);
	EXPECT(!IS_ERR(c));
	spanheap_client_unregister(c);
	attr.flags = 0x80;
	EXPECT(spanheap_client_register(&attr) == ERR_PTR(-EINVAL));
	EXPECT(spanheap_client_register(NULL) == ERR_PTR(-EINVAL));
	return 0;
}

static int test_badsize(void)
{
	static const size_t bad[] = { 0, 1UL << 30, 1UL << 32, 1UL << 52,
				      (1UL << 52) + 1, SIZE_MAX };
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT(!spanheap_alloc(client, bad[i], GFP_KERNEL | __GFP_NOWARN));
		EXPECT(!spanheap_alloc_aligned(client, bad[i], PMD_SHIFT,
					       GFP_KERNEL | __GFP_NOWARN));
	}
	EXPECT(!spanheap_alloc_aligned(client, 1, 63, GFP_KERNEL | __GFP_NOWARN));
	EXPECT(!spanheap_alloc_aligned(client, 1, ~0u, GFP_KERNEL | __GFP_NOWARN));
	EXPECT(!spanheap_alloc_objects(client, 1, PAGE_SIZE + 1, GFP_KERNEL | __GFP_NOWARN));
	return 0;
}

static int test_badgfp(void)
{
	EXPECT(!spanheap_alloc(client, 1, GFP_KERNEL | __GFP_DMA32));
	EXPECT(!spanheap_alloc(client, 1, GFP_HIGHUSER_MOVABLE));
	EXPECT(!spanheap_alloc(client, 1, GFP_KERNEL_ACCOUNT));
	EXPECT(!spanheap_alloc(client, 1, GFP_KERNEL | __GFP_COMP));
	return 0;
}

/* DEBUG_ATOMIC_SLEEP must report a sleeping allocation under a lock, even from a cache */
static int test_atomicsleep(void)
{
	static DEFINE_SPINLOCK(lock);	/* lockdep knows a lock by its address */

	spanheap_free(spanheap_alloc(client, 2, GFP_KERNEL));
	spin_lock(&lock);
	spanheap_free(spanheap_alloc(client, 2, GFP_ATOMIC));
	spanheap_free(spanheap_alloc(client, 2, GFP_KERNEL));
	spin_unlock(&lock);
	return 0;
}

static int test_badfree(void)
{
	u8 *p = spanheap_alloc(client, 4, GFP_KERNEL);
	u8 *foreign = kmalloc(PAGE_SIZE, GFP_KERNEL), *never;
	u64 inuse = stats().inuse_bytes, invalid = stats().invalid_frees;
	int local;

	EXPECT(p && foreign);
	spanheap_free(NULL);
	spanheap_free(p + PAGE_SIZE);		/* interior page */
	spanheap_free(p + 8);			/* interior byte */
	spanheap_free(foreign);
	spanheap_free(&local);
	kfree(foreign);
	EXPECT(stats().inuse_bytes == inuse);
	EXPECT(spanheap_nr_pages(p) == 4);
	never = p + (100UL << 20);
	spanheap_free(never);			/* in the arena, never used */
	spanheap_free((void *)-PAGE_SIZE);
	spanheap_free(p);
	spanheap_free(p);			/* double */
	spanheap_release_memory();
	spanheap_free(p);			/* released */
	EXPECT(stats().invalid_frees == invalid + 8);
	return 0;
}

/* KASAN must report both uses after free: of a cached span and of a long one */
static int test_afterfree(void)
{
	u8 *p = spanheap_alloc(client, 4, GFP_KERNEL);
	u8 *q = spanheap_alloc(client, 400, GFP_KERNEL);

	EXPECT(p && q);
	spanheap_free(q);
	spanheap_free(p);
	pr_info("byte %d\n", READ_ONCE(p[3 * PAGE_SIZE]));
	pr_info("byte %d\n", READ_ONCE(q[399 * PAGE_SIZE]));
	return 0;
}

static int test_hold(void)
{
	return 0;
}

static int test_orphan(void)
{
	const struct spanheap_client_attr attr = { .name = "leaker" };
	struct spanheap_client *c = spanheap_client_register(&attr);
	int i;

	EXPECT(!IS_ERR(c));
	for (i = 0; i < 15; i++)
		EXPECT(spanheap_alloc(c, 1, GFP_KERNEL));
	spanheap_client_unregister(c);
	return 0;
}

static int test_idle(void)
{
	void *p = spanheap_alloc(client, pages, GFP_KERNEL);

	EXPECT(p);
	spanheap_free(p);
	return 0;
}

/* Allocate the whole arena in pieces, until an allocation fails, then free all */
static int test_toobig(void)
{
	struct piece {
		struct piece *next;
	} *head = NULL, *p;
	unsigned int n = 0;

	while ((p = spanheap_alloc(client, 256, GFP_KERNEL))) {
		p->next = head;
		head = p;
		n++;
	}
	pr_info("%u MiB until the arena was full\n", n);
	while (head) {
		p = head;
		head = p->next;
		spanheap_free(p);
	}
	EXPECT(n > 100);
	p = spanheap_alloc(client, 25600, GFP_KERNEL);
	EXPECT(p);
	spanheap_free(p);
	return 0;
}

#define NTH_MAX	100

/*
 * Let the nth allocation fail, for every n in these calls. Each round keeps its pieces, so
 * that the heap grows, and releases the rest, so that the heap backs pages.
 */
static int test_nth(void)
{
	const struct spanheap_client_attr attr = {
		.name = "nth", .limit_bytes = 1000 * PAGE_SIZE,
	};
	static void *keep[NTH_MAX];
	int n, left = 0;

	for (n = 1; !left; n++) {
		struct spanheap_client *c;
		u8 *p = NULL, *z = NULL, *a = NULL;
		u64 inuse = stats().inuse_bytes;
		bool longer = false;

		EXPECT(n < NTH_MAX);
		spanheap_release_memory();
		EXPECT(!compat_fail_nth(n));
		c = spanheap_client_register(&attr);
		if (!IS_ERR(c)) {
			p = spanheap_alloc(c, 40, GFP_KERNEL);
			longer = p && spanheap_resize(p, 60, GFP_KERNEL);
			z = spanheap_alloc(c, 3, GFP_KERNEL | __GFP_ZERO);
			a = spanheap_alloc_aligned(c, 2, PMD_SHIFT, GFP_KERNEL);
		}
		keep[n] = spanheap_alloc(client, 257, GFP_KERNEL);
		left = compat_fail_nth(0);

		if (p)
			memset(p, n, (longer ? 60 : 40) * PAGE_SIZE);
		EXPECT(!z || !memchr_inv(z, 0, 3 * PAGE_SIZE));
		if (keep[n]) {
			memset(keep[n], n, 257 * PAGE_SIZE);
			inuse += 257 * PAGE_SIZE;
		}
		spanheap_free(p);
		spanheap_free(z);
		spanheap_free(a);
		if (!IS_ERR(c))
			spanheap_client_unregister(c);
		EXPECT(stats().inuse_bytes == inuse);
	}
	pr_info("%d allocations failed, one at a time\n", n - 2);
	EXPECT(n > 10);
	while (--n) {
		EXPECT(!keep[n] || !memchr_inv(keep[n], n, 257 * PAGE_SIZE));
		spanheap_free(keep[n]);
	}
	return 0;
}

/* All memory of a small machine is in use: allocations that must not wait fail */
struct hog {
	struct hog *next;
};

static struct hog *hogged;

static void hog_all(void)
{
	struct hog *h;

	while ((h = (void *)__get_free_page(GFP_ATOMIC | __GFP_NOWARN))) {
		h->next = hogged;
		hogged = h;
	}
}

static void unhog(void)
{
	struct hog *h;

	while ((h = hogged)) {
		hogged = h->next;
		free_page((unsigned long)h);
	}
}

/* Every second page of the free memory, but for the last of it */
#define LEAVE_FREE	(SZ_16M >> PAGE_SHIFT)

static void hog_every_second(void)
{
	struct hog *h, *next, *keep = NULL;

	while (global_zone_page_state(NR_FREE_PAGES) > LEAVE_FREE &&
	       (h = (void *)__get_free_page(__GFP_NOWARN))) {
		h->next = hogged;
		hogged = h;
	}
	for (h = hogged; h; h = next) {
		next = h->next;
		if (page_to_pfn(virt_to_page(h)) & 1) {
			free_page((unsigned long)h);
			continue;
		}
		h->next = keep;
		keep = h;
	}
	hogged = keep;
}

#define HUGE_ORDER	9

/* Half of the memory is free, but no 2 MiB of it are: to reclaim single pages is in vain */
static int test_highorder(void)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	u64 released = stats().released_bytes, idle = stats().idle_bytes;
	struct hog *huge = NULL, *h;
	unsigned long free, n = 0;
	int refused = 0;

	hog_every_second();
	free = global_zone_page_state(NR_FREE_PAGES);
	while (refused < 10) {
		h = (void *)__get_free_pages(gfp | __GFP_RETRY_MAYFAIL, HUGE_ORDER);
		if (!h) {
			refused++;
			continue;
		}
		h->next = huge;
		huge = h;
		n++;
	}
	while ((h = huge)) {
		huge = h->next;
		free_pages((unsigned long)h, HUGE_ORDER);
	}
	unhog();
	pr_info("%lu KiB free, %lu of 2 MiB, %d refused, %lld KiB of %llu KiB idle released\n",
		free << (PAGE_SHIFT - 10), n, refused,
		(s64)(stats().released_bytes - released) / 1024, (idle - released) / 1024);
	EXPECT(idle - released > SZ_32M);
	EXPECT(stats().released_bytes == released);
	return 0;
}

#define POOL	16

/* A mempool of spans serves from its reserve while the system has no memory */
static int test_mempool(void)
{
	struct spanheap_mempool of = { .client = client, .nr_pages = 20 };
	void *p[POOL], *beyond;
	mempool_t *pool;
	int i, got = 0;

	pool = mempool_create(POOL, spanheap_mempool_alloc, spanheap_mempool_free, &of);
	EXPECT(pool);
	spanheap_release_memory();	/* so that the heap has no idle pages */
	hog_all();
	for (i = 0; i < POOL; i++) {
		p[i] = mempool_alloc(pool, GFP_NOIO);	/* without the reserve this waits forever */
		got += !!p[i];
		if (p[i])
			memset(p[i], i, 20 * PAGE_SIZE);
	}
	hog_all();
	beyond = mempool_alloc(pool, GFP_NOWAIT);
	unhog();
	for (i = 0; i < POOL; i++) {
		if (p[i] && memchr_inv(p[i], i, 20 * PAGE_SIZE))
			got = 0;
		mempool_free(p[i], pool);
	}
	mempool_free(beyond, pool);
	mempool_destroy(pool);
	EXPECT(got == POOL);
	pool = mempool_create(2, spanheap_mempool_alloc, spanheap_mempool_free, (void *)3);
	EXPECT(pool);
	p[0] = mempool_alloc(pool, GFP_KERNEL);
	EXPECT(spanheap_nr_pages(p[0]) == 3);
	mempool_free(p[0], pool);
	mempool_destroy(pool);
	return 0;
}

/* A reserve gives all that it has while the system has nothing */
#define RESERVED	64

static const unsigned int reserve_parts[] = { 20, 1, 1, 1, 2, 7, 32 };	/* all of it */
static struct spanheap_client *careful;

static int reserve_init(void)
{
	const struct spanheap_client_attr attr = {
		.name = "careful", .reserve_bytes = RESERVED * PAGE_SIZE,
	};

	careful = spanheap_client_register(&attr);
	EXPECT(!IS_ERR(careful));
	spanheap_release_memory();	/* which leaves the reserve, and nothing else */
	return 0;
}

/* How many pages were had; each is written and read */
static int take_reserve(void)
{
	void *p[ARRAY_SIZE(reserve_parts)], *others;
	int i, got = 0;

	hog_all();
	others = spanheap_alloc(client, 40, GFP_ATOMIC | __GFP_NOWARN);
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		hog_all();
		p[i] = spanheap_alloc(careful, reserve_parts[i],
				      (i % 2 ? GFP_NOWAIT : GFP_ATOMIC) | __GFP_ZERO);
		if (p[i] && !memchr_inv(p[i], 0, reserve_parts[i] * PAGE_SIZE)) {
			memset(p[i], i + 1, reserve_parts[i] * PAGE_SIZE);
			got += reserve_parts[i];
		}
	}
	unhog();
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		if (p[i] && memchr_inv(p[i], i + 1, reserve_parts[i] * PAGE_SIZE))
			got = 0;
		spanheap_free(p[i]);
	}
	pr_info("%d pages of a reserve of %d; another client got %s\n", got, RESERVED,
		others ? "some" : "none");
	spanheap_free(others);
	return got;
}

static int test_reserve(void)
{
	int i;

	EXPECT(!reserve_init());
	for (i = 0; i < 5; i++) {
		EXPECT(take_reserve() == RESERVED);
		msleep(3000);		/* a worker fills it up */
		spanheap_release_memory();
	}
	spanheap_client_unregister(careful);
	return 0;
}

/* ... in the suspend callback of a device, which then has the system stay awake */
static int in_suspend;

static int suspend_cb(struct device *dev)
{
	in_suspend = take_reserve();
	return -EBUSY;
}

static const struct dev_pm_ops suspend_ops = { .suspend = suspend_cb };

static struct platform_driver suspend_driver = {
	.driver = { .name = "spanheap_suspend", .pm = &suspend_ops },
};

static struct platform_device *suspend_dev;

static int get_in_suspend(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", in_suspend);
}

static const struct kernel_param_ops in_suspend_ops = { .get = get_in_suspend };

module_param_cb(in_suspend, &in_suspend_ops, NULL, 0444);
MODULE_PARM_DESC(in_suspend, "pages of the reserve that the suspend callback got");

static int test_suspend(void)
{
	EXPECT(!reserve_init());
	EXPECT(!platform_driver_register(&suspend_driver));
	suspend_dev = platform_device_register_simple("spanheap_suspend", -1, NULL, 0);
	EXPECT(!IS_ERR(suspend_dev));
	return 0;
}

static void end_suspend(void)
{
	if (!suspend_dev)
		return;
	platform_device_unregister(suspend_dev);
	platform_driver_unregister(&suspend_driver);
	spanheap_client_unregister(careful);
}

/* poll() on a client's inuse_bytes: has something come since it was read? */
static bool polled(struct file *file)
{
	int i;

	for (i = 0; i < 50; i++) {
		if (vfs_poll(file, NULL) & EPOLLPRI)
			return true;
		msleep(20);
	}
	return false;
}

static int test_poll(void)
{
	const struct spanheap_client_attr attr = {
		.name = "polled", .limit_bytes = 4 * PAGE_SIZE,
	};
	struct spanheap_client *c = spanheap_client_register(&attr);
	struct file *file;
	char text[16];
	void *p, *q;
	loff_t pos;
	int i;

	EXPECT(!IS_ERR(c));
	file = filp_open("/sys/kernel/spanheap/clients/polled/inuse_bytes", O_RDONLY, 0);
	EXPECT(!IS_ERR(file));
	p = spanheap_alloc(c, 3, GFP_KERNEL);
	EXPECT(p);
	for (i = 0; i < 3; i++) {
		pos = 0;
		EXPECT(kernel_read(file, text, sizeof(text), &pos) > 0);
		q = spanheap_alloc(c, 1, GFP_KERNEL);	/* all of the limit */
		EXPECT(q && !polled(file));
		EXPECT(!spanheap_alloc(c, 1, GFP_ATOMIC | __GFP_NOWARN));
		EXPECT(polled(file));
		spanheap_free(q);
	}
	/* With a notice under way */
	EXPECT(!spanheap_alloc(c, 2, GFP_KERNEL | __GFP_NOWARN));
	fput(file);
	spanheap_free(p);
	spanheap_client_unregister(c);
	return 0;
}

static int test_exhaust(void)
{
	static const gfp_t flags[] = { GFP_NOWAIT, GFP_ATOMIC };
	/* The longest first, while records for the split are left */
	static const size_t sizes[] = { 300, 16, 1 };
	struct spanheap_stats st, before = stats();
	struct hog *spans = NULL, *s;
	int i, refused = 0;

	spanheap_release_memory();	/* so that spans are free, but have no pages */
	for (i = 0; i < ARRAY_SIZE(flags) * ARRAY_SIZE(sizes); i++) {
		for (;;) {
			hog_all();
			s = spanheap_alloc(client, sizes[i / 2], flags[i % 2]);
			if (!s)
				break;
			s->next = spans;
			spans = s;
		}
		refused++;
	}
	st = stats();
	unhog();
	while ((s = spans)) {
		spans = s->next;
		spanheap_free(s);
	}
	/* The arena was not full */
	EXPECT(st.arena_bytes - st.inuse_bytes > 600 * PAGE_SIZE);
	EXPECT(st.failed_allocs == before.failed_allocs + refused);
	EXPECT(stats().inuse_bytes == before.inuse_bytes);
	EXPECT(stats().spans == before.spans);
	return exercise(GFP_KERNEL);
}

/* Fill every CPU's cache with spans that were in use there at the same time */
#define FILL	40

static int fill_cpu(void *unused)
{
	void *p[FILL];
	size_t nr;
	int i;

	for (nr = 1; nr <= 16; nr++) {
		for (i = 0; i < FILL; i++) {
			p[i] = spanheap_alloc(client, nr, GFP_KERNEL);
			EXPECT(p[i]);
		}
		for (i = 0; i < FILL; i++)
			spanheap_free(p[i]);
	}
	return 0;
}

static int test_fill(void)
{
	int cpu, err = 0;

	for_each_online_cpu(cpu)
		err = err ?: smp_call_on_cpu(cpu, fill_cpu, NULL, false);
	return err;
}

/*
 * The last CPU frees more spans than its own cache holds. The first CPU allocates the
 * same spans. Their length is "pages".
 */
#define TRAVEL		8	/* a depot or a shelf holds at least this many */

static void *travellers[1024];

static int alloc_here(void *data)
{
	int i, n = (long)data;

	for (i = 0; i < n; i++) {
		travellers[i] = spanheap_alloc(client, pages, GFP_KERNEL);
		EXPECT(travellers[i]);
	}
	return 0;
}

static int free_here(void *data)
{
	int n = (long)data;

	while (n--)
		spanheap_free(travellers[n]);
	return 0;
}

static int test_travel(void)
{
	int first = cpumask_first(cpu_online_mask), last = cpumask_last(cpu_online_mask);
	long n = min_t(long, ARRAY_SIZE(travellers), 9600 / pages);
	struct spanheap_stats st;
	u64 taken;

	spanheap_release_memory();
	EXPECT(!smp_call_on_cpu(first, alloc_here, (void *)n, false));
	EXPECT(!smp_call_on_cpu(last, free_here, (void *)n, false));
	st = stats();
	EXPECT(!smp_call_on_cpu(first, alloc_here, (void *)TRAVEL, false));
	taken = st.cached_bytes - stats().cached_bytes;
	EXPECT(!smp_call_on_cpu(last, free_here, (void *)TRAVEL, false));
	EXPECT(taken == TRAVEL * pages * PAGE_SIZE);
	pr_info("%u pages from CPU %d of node %d to CPU %d of node %d\n", pages, last,
		cpu_to_node(last), first, cpu_to_node(first));
	return 0;
}

/* Spans allocated on every CPU, freed when the module unloads */
#define KEEP	200

static void *kept[KEEP];

static int keep_cpu(void *data)
{
	int i, cpu = (long)data, cpus = num_online_cpus();

	for (i = cpu; i < KEEP; i += cpus) {
		kept[i] = spanheap_alloc(client, 1 + i % 20, GFP_KERNEL);
		EXPECT(kept[i]);
		memset(kept[i], i, PAGE_SIZE);
	}
	return 0;
}

static int test_keep(void)
{
	int cpu, err = 0;

	for_each_online_cpu(cpu)
		err = err ?: smp_call_on_cpu(cpu, keep_cpu, (void *)(long)cpu, false);
	return err;
}

static void free_kept(void)
{
	int i;

	for (i = 0; i < KEEP; i++) {
		if (kept[i] && memchr_inv(kept[i], i, PAGE_SIZE))
			pr_err("kept span %d has changed\n", i);
		spanheap_free(kept[i]);
	}
}

#define SLOTS	64

static atomic_t errors;

/* Each slot has its own byte value; another value in its span is an error */
static int stress_thread(void *data)
{
	unsigned long end = jiffies + seconds * HZ, ops = 0;
	unsigned int id = (unsigned long)data, i, nr;
	struct {
		u8 *p;
		unsigned int nr;
		u8 fill;
	} *slot = kcalloc(SLOTS, sizeof(*slot), GFP_KERNEL);

	if (!slot)
		atomic_inc(&errors);
	while (slot && time_before(jiffies, end)) {
		i = get_random_u32() % SLOTS;
		if (slot[i].p) {
			if (memchr_inv(slot[i].p, slot[i].fill, slot[i].nr * PAGE_SIZE))
				atomic_inc(&errors);
			spanheap_free(slot[i].p);
			slot[i].p = NULL;
		} else {
			nr = get_random_u32() % 16 ? 1 + get_random_u32() % 8 :
						     1 + get_random_u32() % 300;
			slot[i].p = spanheap_alloc(client, nr, GFP_KERNEL);
			slot[i].nr = nr;
			slot[i].fill = id * 61 + i + ops;
			if (slot[i].p)
				memset(slot[i].p, slot[i].fill, nr * PAGE_SIZE);
			else
				atomic_inc(&errors);
		}
		if (id == 0 && ops % 64 == 0)
			spanheap_release_memory();
		ops++;
		cond_resched();
	}
	for (i = 0; slot && i < SLOTS; i++)
		spanheap_free(slot[i].p);
	kfree(slot);
	pr_info("thread %u: %lu operations\n", id, ops);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static int test_stress(void)
{
	EXPECT(!run_threads(stress_thread));
	EXPECT(!atomic_read(&errors));
	return 0;
}

/*
 * Threads that free spans which others have freed, and resize spans which others free. No
 * thread touches the memory, because an address may be another thread's span. A free during a
 * resize is refused, so in the end the leftover spans are found by their addresses.
 */
#define SHARED	8	/* few, so that threads collide */

static void *shared[SHARED];
static struct {
	void *first, *last;
} seen[TEST_THREADS];

static int misuse_thread(void *data)
{
	unsigned long end = jiffies + seconds * HZ, ops = 0;
	unsigned int id = (unsigned long)data;
	void *p;

	while (time_before(jiffies, end)) {
		u32 rnd = get_random_u32();
		void **slot = &shared[rnd % SHARED];
		size_t nr = 1 + (rnd >> 8) % ((rnd >> 16) % 8 ? 16 : 60);

		switch (rnd >> 30) {
		case 0:
		case 1:
			p = spanheap_alloc(client, nr, GFP_KERNEL);
			if (!p)
				atomic_inc(&errors);
			else if (!seen[id].first || p < seen[id].first)
				seen[id].first = p;
			if (p > seen[id].last)
				seen[id].last = p;
			spanheap_free(xchg(slot, p));
			break;
		case 2:
			spanheap_free(READ_ONCE(*slot));
			break;
		case 3:
			p = READ_ONCE(*slot);
			if (p)
				spanheap_resize(p, nr, GFP_KERNEL);
			break;
		}
		if (id == 0 && ops % 1024 == 0)
			spanheap_release_memory();
		ops++;
		cond_resched();
	}
	pr_info("thread %u: %lu operations\n", id, ops);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static int test_misuse(void)
{
	struct spanheap_stats before = stats();
	int i, err = run_threads(misuse_thread);
	void *p;

	EXPECT(!err && !atomic_read(&errors));
	EXPECT(stats().invalid_frees > before.invalid_frees + 1000);
	for (i = 0; i < TEST_THREADS; i++)
		for (p = seen[i].first; p && p <= seen[i].last; p += PAGE_SIZE)
			if (spanheap_base(p) == p && spanheap_owner(p) == client)
				spanheap_free(p);
	EXPECT(stats().inuse_bytes == before.inuse_bytes);
	EXPECT(stats().spans == before.spans);
	return exercise(GFP_KERNEL);
}

static const struct test_case cases[] = {
	{ "process", test_process }, { "softirq", test_softirq },
	{ "hardirq", test_hardirq }, { "lookup", test_lookup },
	{ "resize", test_resize }, { "release", test_release },
	{ "zero", test_zero }, { "limit", test_limit },
	{ "names", test_names }, { "badsize", test_badsize },
	{ "atomicsleep", test_atomicsleep },
	{ "badgfp", test_badgfp }, { "badfree", test_badfree },
	{ "hold", test_hold }, { "orphan", test_orphan },
	{ "idle", test_idle }, { "toobig", test_toobig },
	{ "stress", test_stress }, { "nth", test_nth },
	{ "misuse", test_misuse },
	{ "irqsoff", test_irqsoff }, { "initfree", test_initfree },
	{ "initalloc", test_initalloc }, { "scatter", test_scatter },
	{ "usercopy", test_usercopy }, { "scoped", test_scoped },
	{ "exhaust", test_exhaust }, { "mempool", test_mempool }, { "fill", test_fill },
	{ "travel", test_travel }, { "keep", test_keep }, { "afterfree", test_afterfree },
	{ "clients", test_clients }, { "reserve", test_reserve },
	{ "suspend", test_suspend }, { "poll", test_poll }, { "highorder", test_highorder },
	{}
};

static int __init test_init(void)
{
	const struct spanheap_client_attr attr = { .name = "test" };

	return run_client_case(&attr, &client, cases, run);
}

static void __exit test_exit(void)
{
	if (user_span)
		misc_deregister(&user_dev);
	spanheap_free(user_span);
	free_kept();
	end_suspend();
	spanheap_client_unregister(client);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("Tests of spanheap from a client module");
MODULE_LICENSE("GPL");
