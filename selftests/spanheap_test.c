// SPDX-License-Identifier: GPL-2.0
/*
 * A client that tests: "run" names a case; the module loads if it passed.
 */
#define pr_fmt(fmt) "spanheap_test: " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/spanheap.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <compat/fault.h>

static char *run = "process";
module_param(run, charp, 0444);
MODULE_PARM_DESC(run, "name of the case");
static unsigned int seconds = 20;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "how long the stress case runs");
static unsigned int pages = 1024;
module_param(pages, uint, 0444);
MODULE_PARM_DESC(pages, "what the idle case leaves behind");

static struct spanheap_client *client;

#define EXPECT(cond) do {						\
	if (!(cond)) {							\
		pr_err("%s:%d: not true: %s\n", run, __LINE__, #cond);	\
		return -EINVAL;						\
	}								\
} while (0)

static u64 stat_invalid(void)
{
	struct spanheap_stats st;

	spanheap_get_stats(&st);
	return st.invalid_frees;
}

static u64 stat_inuse(void)
{
	struct spanheap_stats st;

	spanheap_get_stats(&st);
	return st.inuse_bytes;
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
	return exercise(GFP_KERNEL);
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
	u8 *p = spanheap_alloc(client, 10, GFP_KERNEL);

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

static bool readable(const void *p)
{
	u8 byte;

	return !copy_from_kernel_nofault(&byte, p, 1);
}

/* Pages of one span go while its neighbours stay */
static int test_release(void)
{
	u8 *a = spanheap_alloc(client, 1, GFP_KERNEL);
	u8 *b = spanheap_alloc(client, 512, GFP_KERNEL);
	u8 *c = spanheap_alloc(client, 1, GFP_KERNEL);
	unsigned long before;

	EXPECT(a && b && c);
	memset(a, 1, PAGE_SIZE);
	memset(c, 3, PAGE_SIZE);
	spanheap_free(b);
	EXPECT(readable(b) && readable(b + 511 * PAGE_SIZE));
	before = global_zone_page_state(NR_FREE_PAGES);
	spanheap_release_memory();
	EXPECT(!readable(b) && !readable(b + 511 * PAGE_SIZE));
	EXPECT(!vmalloc_to_page(b));
	EXPECT(!memchr_inv(a, 1, PAGE_SIZE) && !memchr_inv(c, 3, PAGE_SIZE));
	pr_info("NR_FREE_PAGES %lu -> %lu\n", before,
		global_zone_page_state(NR_FREE_PAGES));
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

static int test_badfree(void)
{
	u8 *p = spanheap_alloc(client, 4, GFP_KERNEL);
	u8 *foreign = kmalloc(PAGE_SIZE, GFP_KERNEL), *never;
	u64 inuse = stat_inuse(), invalid = stat_invalid();
	int local;

	EXPECT(p && foreign);
	spanheap_free(NULL);
	spanheap_free(p + PAGE_SIZE);		/* interior page */
	spanheap_free(p + 8);			/* interior byte */
	spanheap_free(foreign);
	spanheap_free(&local);
	kfree(foreign);
	EXPECT(stat_inuse() == inuse);
	EXPECT(spanheap_nr_pages(p) == 4);
	never = p + (100UL << 20);
	spanheap_free(never);			/* in the arena, never used */
	spanheap_free((void *)-PAGE_SIZE);
	spanheap_free(p);
	spanheap_free(p);			/* double */
	spanheap_release_memory();
	spanheap_free(p);			/* released */
	EXPECT(stat_invalid() == invalid + 8);
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

/* Take the whole arena in pieces, be refused, give it all back */
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
 * The nth allocation fails, for every n there is in these calls. The heap grows
 * each time round, as the pieces are kept, and backs, as the rest is released.
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
		u64 inuse = stat_inuse();
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
		EXPECT(stat_inuse() == inuse);
	}
	pr_info("%d allocations failed, one at a time\n", n - 2);
	EXPECT(n > 10);
	while (--n) {
		EXPECT(!keep[n] || !memchr_inv(keep[n], n, 257 * PAGE_SIZE));
		spanheap_free(keep[n]);
	}
	return 0;
}

#define SLOTS	64
#define STRESS_THREADS	4

static atomic_t errors;

/* Each slot's bytes are the slot's own; a byte of another span is an error */
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
	struct task_struct *t[STRESS_THREADS];
	unsigned long i;

	for (i = 0; i < STRESS_THREADS; i++) {
		t[i] = kthread_create(stress_thread, (void *)i, "sh_stress%lu", i);
		EXPECT(!IS_ERR(t[i]));
		kthread_bind(t[i], i % num_online_cpus());
	}
	for (i = 0; i < STRESS_THREADS; i++)
		wake_up_process(t[i]);
	for (i = 0; i < STRESS_THREADS; i++)
		kthread_stop(t[i]);
	EXPECT(!atomic_read(&errors));
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(void);
} cases[] = {
	{ "process", test_process }, { "softirq", test_softirq },
	{ "hardirq", test_hardirq }, { "lookup", test_lookup },
	{ "resize", test_resize }, { "release", test_release },
	{ "zero", test_zero }, { "limit", test_limit },
	{ "names", test_names }, { "badsize", test_badsize },
	{ "badgfp", test_badgfp }, { "badfree", test_badfree },
	{ "hold", test_hold }, { "orphan", test_orphan },
	{ "idle", test_idle }, { "toobig", test_toobig },
	{ "stress", test_stress }, { "nth", test_nth },
};

static int __init test_init(void)
{
	const struct spanheap_client_attr attr = { .name = "test" };
	int i, err = -ENOENT;

	client = spanheap_client_register(&attr);
	if (IS_ERR(client))
		return PTR_ERR(client);
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		if (!strcmp(cases[i].name, run))
			err = cases[i].fn();
	if (err)
		spanheap_client_unregister(client);
	return err;
}

static void __exit test_exit(void)
{
	spanheap_client_unregister(client);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("Tests of spanheap from a client module");
MODULE_LICENSE("GPL");
