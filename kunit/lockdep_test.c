// SPDX-License-Identifier: GPL-2.0
/*
 * Rules of the heap that lockdep checks. Linked last, because lockdep switches itself off
 * after its first report.
 */
#include <linux/mutex.h>

#include "fake_arena.h"

static DEFINE_MUTEX(callback_lock);

static enum spanheap_verdict takes_lock(void *addr, size_t nr_pages, void *priv)
{
	mutex_lock(&callback_lock);
	mutex_unlock(&callback_lock);
	return SPANHEAP_KEEP;
}

/*
 * An allocation that may sweep runs under a lock that a sweep callback takes. Lockdep
 * reports this, although the allocation finds a cached span and does not sweep.
 */
static void lockdep_knows_the_rule_about_callbacks_locks(struct kunit *test)
{
	static const struct spanheap_client_ops ops = { .sweep = takes_lock };
	const struct spanheap_client_attr attr = { .name = "swept", .ops = &ops };
	struct spanheap *h = test->priv;
	struct spanheap_client *c;
	void *p;

	if (!IS_ENABLED(CONFIG_PROVE_LOCKING))
		kunit_skip(test, "the kernel is built without PROVE_LOCKING");
	c = spanheap_heap_register(h, &attr);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	release(h, alloc(h, 2));	/* fill the cache */
	p = alloc_as(h, c, 1, 0, 0, GFP_KERNEL);
	spanheap_cycle(c);
	spanheap_sweep(c, 1, SMALL_PAGES);
	log_start();
	mutex_lock(&callback_lock);
	release(h, alloc_as(h, NULL, 2, 0, 0, GFP_NOFS));	/* never sweeps: no report */
	release(h, alloc_as(h, NULL, 2, 0, 0, GFP_NOWAIT));
	release(h, alloc_as(h, NULL, 2, 0, 0, GFP_KERNEL | __GFP_NOLOCKDEP));
	KUNIT_EXPECT_TRUE(test, resize(h, p, 1));	/* never sweeps */
	mutex_unlock(&callback_lock);
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("locking dependency"), 0);
	log_start();
	warnings_begin();
	mutex_lock(&callback_lock);
	release(h, alloc_as(h, NULL, 2, 0, 0, GFP_KERNEL));
	mutex_unlock(&callback_lock);
	warnings_end(test, TIMES("WARNING: possible circular locking dependency", 1));
	log_stop();
	KUNIT_EXPECT_GE(test, log_count("spanheap_sweep_callback"), 1);
	release(h, p);
	spanheap_heap_unregister(c);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(lockdep_knows_the_rule_about_callbacks_locks),
	{}
};

static struct kunit_suite suite = {
	.name = "spanheap_lockdep",
	.init = test_cached_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

kunit_test_suite(suite);
