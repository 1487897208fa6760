// SPDX-License-Identifier: GPL-2.0
/*
 * A client that waits, is killed, or breaks a rule: "run" names a case; the module loads
 * if it passed.
 */
#define pr_fmt(fmt) "spanheap_gfp_test: " fmt

#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include "expect.h"

RUN("load");

static struct spanheap_client *client;

static int test_load(void)
{
	return 0;
}

/* ---- a client at its limit ---- */

static void *all_of_limit;

static void free_all_of_limit(struct work_struct *unused)
{
	spanheap_free(all_of_limit);
}

static int test_nofail(void)
{
	static DECLARE_DELAYED_WORK(free_some, free_all_of_limit);
	const struct spanheap_client_attr attr = {
		.name = "gfp_limited", .limit_bytes = 10 * PAGE_SIZE,
	};
	struct spanheap_client *c = spanheap_client_register(&attr);
	void *p;

	EXPECT(!IS_ERR(c));
	all_of_limit = spanheap_alloc(c, 10, GFP_KERNEL);
	EXPECT(all_of_limit);
	schedule_delayed_work(&free_some, HZ / 5);
	p = spanheap_alloc(c, 10, GFP_KERNEL | __GFP_NOFAIL);
	flush_delayed_work(&free_some);
	EXPECT(p);
	spanheap_free(p);
	spanheap_client_unregister(c);
	return 0;
}

/* ---- a process that is killed while it allocates ---- */

static unsigned int got;	/* pages of the span that the killed process got, or 0 */
module_param(got, uint, 0444);

/* A process that is already killed writes this parameter: its signal is still pending */
static int set_take(const char *val, const struct kernel_param *kp)
{
	unsigned int nr;
	int err = kstrtouint(val, 0, &nr);
	void *p;

	if (err)
		return err;
	send_sig(SIGKILL, current, 1);
	p = spanheap_alloc(client, nr, GFP_KERNEL);
	got = p ? nr : 0;
	spanheap_free(p);
	return 0;
}

static const struct kernel_param_ops take_ops = { .set = set_take };
module_param_cb(take, &take_ops, NULL, 0200);
MODULE_PARM_DESC(take, "kills the writer, and allocates so many pages for it");

/* ---- a lock that a sweep callback takes ---- */

static DEFINE_MUTEX(swept_lock);
static unsigned int nr_swept;

/* Allocates: nothing sweeps within a callback, so lockdep must not report this */
static enum spanheap_verdict sweep(void *addr, size_t nr_pages, void *priv)
{
	spanheap_free(spanheap_alloc(client, 1, GFP_KERNEL));
	mutex_lock(&swept_lock);
	nr_swept++;
	mutex_unlock(&swept_lock);
	return SPANHEAP_KEEP;
}

static const struct spanheap_client_ops swept_ops = { .sweep = sweep };

/* Let a callback run once, but not in an allocation */
static struct spanheap_client *swept_once(void)
{
	const struct spanheap_client_attr attr = { .name = "gfp_swept", .ops = &swept_ops };
	struct spanheap_client *c = spanheap_client_register(&attr);
	void *p;

	if (IS_ERR(c))
		return NULL;
	p = spanheap_alloc(c, 1, GFP_KERNEL);
	spanheap_cycle_begin(c);
	while (spanheap_sweep_one(c) >= 0)
		;
	spanheap_free(p);
	return c;
}

/* Lockdep must report this although nothing is unswept */
static int test_cycle_wrongly(void)
{
	struct spanheap_client *c = swept_once();

	EXPECT(c && nr_swept == 1);
	mutex_lock(&swept_lock);
	spanheap_cycle_begin(c);
	mutex_unlock(&swept_lock);
	spanheap_client_unregister(c);
	return 0;
}

static const struct test_case cases[] = {
	{ "load", test_load }, { "nofail", test_nofail }, { "cycle_wrongly", test_cycle_wrongly },
	{}
};

static int __init test_init(void)
{
	const struct spanheap_client_attr attr = { .name = "gfp_test" };

	return run_client_case(&attr, &client, cases, run);
}

static void __exit test_exit(void)
{
	spanheap_client_unregister(client);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("Tests of spanheap's gfp flags from a client module");
MODULE_LICENSE("GPL");
