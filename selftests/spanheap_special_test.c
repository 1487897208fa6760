// SPDX-License-Identifier: GPL-2.0
/*
 * Finalizers of a client module: "run" names a case; the module loads if it
 * passed, except for cases that run while it unloads.
 */
#define pr_fmt(fmt) "spanheap_special_test: " fmt

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/random.h>
#include <linux/rwsem.h>

#include "expect.h"

RUN("context");
static unsigned int seconds = 10;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "how long the chaos case runs");

static struct spanheap_client *client;

/* ---- live spans are those in the table ---- */

#define SLOTS	64u

static void *slot[SLOTS];
static void *watched;			/* a span, and how often the callback ran for it */
static unsigned int asked;

/* A span that is in no slot is dead, also in the sweep after its finalizers ran */
static enum spanheap_verdict sweep(void *addr, size_t nr_pages, void *priv)
{
	unsigned int i;

	if (addr == watched)
		asked++;
	for (i = 0; i < SLOTS; i++)
		if (READ_ONCE(slot[i]) == addr)
			return SPANHEAP_KEEP;
	return SPANHEAP_FREE;
}

static const struct spanheap_client_ops ops = { .sweep = sweep };

/* Run one whole cycle; returns the number of pages that it freed */
static long cycle(struct spanheap_client *c)
{
	long n, freed = 0;

	spanheap_cycle_begin(c);
	while ((n = spanheap_sweep_one(c)) >= 0)
		freed += n;
	return freed;
}

/* Seen by a finalizer */
static struct {
	unsigned int runs;
	bool bad_context;
	void *obj;
	int err;
	bool again;
	unsigned int sleep_ms;
	void *other;		/* a span to free */
	bool heap_failed;
} seen;

static noinline void test_finalizer(void *obj, void *arg)
{
	void *p;

	if (!in_task() || irqs_disabled() || arg != &seen)
		seen.bad_context = true;
	/* Without the count of disabled preemption preemptible() is never true */
	if (IS_ENABLED(CONFIG_PREEMPT_COUNT) && !preemptible())
		seen.bad_context = true;
	might_sleep();
	msleep(seen.sleep_ms);
	/* The object is still allocated, and a finalizer may use the heap */
	memset(obj, 0x66, PAGE_SIZE);
	p = spanheap_alloc(client, 40, GFP_KERNEL);
	seen.heap_failed = !p || !spanheap_resize(p, 30, GFP_KERNEL);
	spanheap_free(p);
	spanheap_free(seen.other);
	seen.other = NULL;
	seen.obj = obj;
	if (seen.again)
		seen.err = spanheap_add_finalizer(obj, test_finalizer, arg, GFP_KERNEL);
	seen.again = false;
	WRITE_ONCE(seen.runs, seen.runs + 1);
}

/* Wait until the finalizer has run n times, at most 5 s */
static bool ran(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < 250 && READ_ONCE(seen.runs) < n; i++)
		msleep(20);
	msleep(20);	/* it must not run more than n times */
	return READ_ONCE(seen.runs) == n;
}

/* A cycle frees n pages within 5 s, once the finalizer is removed from the object */
static bool freed(long n)
{
	unsigned int i;
	long got;

	for (i = 0; i < 250; i++) {
		got = cycle(client);
		if (got)
			return got == n;
		msleep(20);
	}
	return false;
}

/* A finalizer runs in process context without a lock; the next sweep frees the span */
static int test_context(void)
{
	void *p = spanheap_alloc(client, 2, GFP_KERNEL);

	seen.other = spanheap_alloc(client, 5, GFP_KERNEL);
	slot[0] = seen.other;
	EXPECT(p && seen.other);
	watched = p;
	EXPECT(!spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL));
	EXPECT(!cycle(client));
	EXPECT(spanheap_base(p) == p && asked == 1);
	EXPECT(ran(1) && seen.obj == p && !seen.bad_context && !seen.heap_failed);
	slot[0] = NULL;
	EXPECT(spanheap_base(p) == p);
	EXPECT(freed(2));
	EXPECT(!spanheap_base(p));
	EXPECT(seen.runs == 1 && asked >= 2);	/* the client had forgotten the span */
	return 0;
}

/* A live object is not finalized; a finalizer that is added again runs again */
static int test_again(void)
{
	void *p = spanheap_alloc(client, 1, GFP_KERNEL);

	EXPECT(p);
	slot[0] = p;
	EXPECT(!spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL));
	EXPECT(!cycle(client));
	msleep(50);
	EXPECT(!seen.runs);
	slot[0] = NULL;
	seen.again = true;
	EXPECT(!cycle(client) && ran(1) && !seen.err);
	msleep(200);	/* wait until the finalizer is removed, or the next cycle skips it */
	EXPECT(!cycle(client) && ran(2));
	EXPECT(freed(1) && !spanheap_base(p));
	return 0;
}

/* An object stays until its finalizer has run, after any number of sweeps */
static int test_slow(void)
{
	void *p = spanheap_alloc(client, 1, GFP_KERNEL);
	int i;

	EXPECT(p);
	seen.sleep_ms = 1000;
	EXPECT(!spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL));
	for (i = 0; i < 5; i++)
		EXPECT(!cycle(client));
	EXPECT(spanheap_base(p) == p && !seen.runs);
	EXPECT(spanheap_remove_finalizer(p) == -ENOENT);
	EXPECT(ran(1));
	EXPECT(freed(1));
	return 0;
}

static noinline void bad_free(void *p)
{
	spanheap_free(p);
	barrier();	/* no tail call: this is the call site */
}

/* The heap refuses a free while the span has a finalizer */
static int test_refused(void)
{
	void *p = spanheap_alloc(client, 3, GFP_KERNEL);
	u64 invalid = stats().invalid_frees;

	EXPECT(p);
	EXPECT(!spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL));
	bad_free(p);
	bad_free(p);
	EXPECT(stats().invalid_frees == invalid + 2);
	EXPECT(spanheap_nr_pages(p) == 3 && spanheap_owner(p) == client);
	EXPECT(!spanheap_remove_finalizer(p));
	spanheap_free(p);
	EXPECT(!spanheap_nr_pages(p));
	EXPECT(stats().invalid_frees == invalid + 2);
	return 0;
}

static int test_badinput(void)
{
	u8 *p = spanheap_alloc(client, 4, GFP_KERNEL);
	u8 *o = spanheap_alloc_objects(client, 1, 1000, GFP_KERNEL);
	u8 *end = o + PAGE_SIZE / 1000 * 1000;	/* behind the last object */
	int local;

	EXPECT(p && o);
	EXPECT(spanheap_add_finalizer(NULL, test_finalizer, &seen, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_add_finalizer(&local, test_finalizer, &seen, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_add_finalizer(p + 1, test_finalizer, &seen, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_add_finalizer(p + PAGE_SIZE, test_finalizer, &seen, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_add_finalizer(end, test_finalizer, &seen, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_add_finalizer(p, NULL, &seen, GFP_KERNEL) == -EINVAL);
	EXPECT(spanheap_remove_finalizer(p) == -ENOENT);
	EXPECT(spanheap_remove_finalizer(NULL) == -ENOENT);
	EXPECT(spanheap_remove_finalizer(&local) == -ENOENT);
	EXPECT(!spanheap_add_finalizer(o + 3000, test_finalizer, &seen, GFP_ATOMIC));
	EXPECT(spanheap_add_finalizer(o + 3000, test_finalizer, &seen, GFP_KERNEL) == -EEXIST);
	EXPECT(!spanheap_remove_finalizer(o + 3000));
	EXPECT(spanheap_remove_finalizer(o + 3000) == -ENOENT);
	spanheap_free(o);
	spanheap_free(p);
	EXPECT(spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL) == -EINVAL);
	p = spanheap_alloc(NULL, 1, GFP_KERNEL);	/* never swept */
	EXPECT(p);
	EXPECT(spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL) == -EINVAL);
	spanheap_free(p);
	EXPECT(!spanheap_base(p));
	return 0;
}

/* The module unloads with a queued finalizer, which takes a second: see test_exit() */
static int test_unload(void)
{
	void *p = spanheap_alloc(client, 1, GFP_KERNEL);

	EXPECT(p);
	seen.sleep_ms = 1000;
	EXPECT(!spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL));
	EXPECT(!cycle(client) && !seen.runs);
	return 0;
}

/* A client unregisters with a finalizer that no sweep has queued */
static int test_leave(void)
{
	const struct spanheap_client_attr attr = { .name = "leaver", .ops = &ops };
	struct spanheap_client *c = spanheap_client_register(&attr);
	void *p;

	EXPECT(!IS_ERR(c));
	p = spanheap_alloc(c, 1, GFP_KERNEL);
	EXPECT(p && !spanheap_add_finalizer(p, test_finalizer, &seen, GFP_KERNEL));
	spanheap_client_unregister(c);
	EXPECT(spanheap_remove_finalizer(p) == -ENOENT);
	spanheap_free(p);
	EXPECT(!spanheap_base(p) && !seen.runs);
	return 0;
}

/* ---- everything at once ---- */

static atomic_t added, removed, finalized, cycles, errors;
static DECLARE_RWSEM(publish);	/* read: no cycle begins between an allocation and its slot */

static void chaos_finalizer(void *obj, void *arg)
{
	int tries;

	atomic_inc(&finalized);
	/* A look-up misses a span while another thread resizes it through a stale address */
	for (tries = 0; spanheap_object(obj) != obj && tries < 100; tries++)
		msleep(20);
	if (tries == 100)
		atomic_inc(&errors);
	if (get_random_u32() % 8 == 0) {
		spanheap_free(spanheap_alloc(client, 1 + get_random_u32() % 20, GFP_KERNEL));
		cond_resched();
	}
	if (get_random_u32() % 8 == 0 &&
	    !spanheap_add_finalizer(obj, chaos_finalizer, NULL, GFP_KERNEL))
		atomic_inc(&added);
}

/* Other threads may free or sweep any span in the table at any moment */
static void chaos_step(void)
{
	void **at = &slot[get_random_u32() % SLOTS];
	u8 *p = READ_ONCE(*at), *q;
	unsigned int off = get_random_u32() % 4 * 1024;

	switch (get_random_u32() % 16) {
	case 0:
	case 1:
	case 2:		/* the old one is garbage now */
		down_read(&publish);
		q = get_random_u32() % 2 ?
			spanheap_alloc(client, 1 + get_random_u32() % 20, GFP_KERNEL) :
			spanheap_alloc_objects(client, 1, 1024, GFP_KERNEL);
		xchg(at, q);
		up_read(&publish);
		break;
	case 3:
		p = xchg(at, NULL);
		if (p && !spanheap_remove_finalizer(p))
			atomic_inc(&removed);
		spanheap_free(p);	/* refused if the span has other finalizers */
		break;
	case 4:
		if (p)
			spanheap_resize(p, 1 + get_random_u32() % 20, GFP_KERNEL);
		break;
	case 5:
		if (get_random_u32() % 16) {
			spanheap_sweep_one(client);
			break;
		}
		down_write(&publish);
		spanheap_cycle_begin(client);
		up_write(&publish);
		atomic_inc(&cycles);
		break;
	case 6 ... 11:
		if (p && !spanheap_add_finalizer(p + off, chaos_finalizer, NULL, GFP_KERNEL))
			atomic_inc(&added);
		break;
	default:
		if (p && !spanheap_remove_finalizer(p + off))
			atomic_inc(&removed);
	}
}

/* A client registers, leaves dead spans to the sweep, and unregisters */
static enum spanheap_verdict sweep_all(void *addr, size_t nr_pages, void *priv)
{
	return SPANHEAP_FREE;
}

static void churn_step(void)
{
	static const struct spanheap_client_ops all = { .sweep = sweep_all };
	const struct spanheap_client_attr attr = { .name = "churn", .ops = &all };
	struct spanheap_client *c = spanheap_client_register(&attr);
	unsigned int i, left;
	void *p[8];

	if (IS_ERR(c)) {
		atomic_inc(&errors);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = spanheap_alloc(c, 1 + i, GFP_KERNEL);
		if (p[i] && !spanheap_add_finalizer(p[i], chaos_finalizer, NULL, GFP_KERNEL))
			atomic_inc(&added);
	}
	do {
		cycle(c);
		for (i = 0, left = 0; i < ARRAY_SIZE(p); i++)
			left += p[i] && spanheap_owner(p[i]) == c;
		cond_resched();
	} while (left);
	spanheap_client_unregister(c);
}

static int chaos_thread(void *data)
{
	unsigned long end = jiffies + seconds * HZ, ops = 0;

	while (time_before(jiffies, end)) {
		if (!data && ops % 256 == 0)
			churn_step();
		chaos_step();
		ops++;
		cond_resched();
	}
	pr_info("thread %lu: %lu operations\n", (unsigned long)data, ops);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/* Each finalizer ran once or was removed once, and all memory is freed */
static int test_chaos(void)
{
	unsigned int i;

	EXPECT(!run_threads(chaos_thread));
	memset(slot, 0, sizeof(slot));
	/* One of eight finalizers adds itself again each time */
	for (i = 0; i < 100; i++) {
		cycle(client);
		msleep(20);
	}
	pr_info("%d cycles, %d added, %d removed, %d run\n", atomic_read(&cycles),
		atomic_read(&added), atomic_read(&removed), atomic_read(&finalized));
	EXPECT(atomic_read(&added) == atomic_read(&removed) + atomic_read(&finalized));
	EXPECT(atomic_read(&added) > 1000 && atomic_read(&finalized) > 100);
	EXPECT(atomic_read(&removed) > 100 && atomic_read(&cycles) > 10);
	EXPECT(!atomic_read(&errors));
	return 0;
}

static const struct test_case cases[] = {
	{ "context", test_context }, { "again", test_again },
	{ "slow", test_slow }, { "refused", test_refused },
	{ "badinput", test_badinput }, { "unload", test_unload },
	{ "leave", test_leave }, { "chaos", test_chaos },
	{}
};

static int __init test_init(void)
{
	const struct spanheap_client_attr attr = { .name = "special", .ops = &ops };

	return run_client_case(&attr, &client, cases, run);
}

static void __exit test_exit(void)
{
	spanheap_client_unregister(client);
	if (!strcmp(run, "unload"))
		pr_info("unregistered, and the finalizer has run %u times\n",
			READ_ONCE(seen.runs));
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("Tests of spanheap's finalizers from a client module");
MODULE_LICENSE("GPL");
