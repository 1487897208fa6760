// SPDX-License-Identifier: GPL-2.0
/*
 * A task that is being killed gets as little memory as possible, and does not wait.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>

#include "fake_arena.h"

static void kill_myself(struct kunit *test)
{
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	KUNIT_ASSERT_TRUE(test, fatal_signal_pending(current));
}

static void live_again(void)
{
	disallow_signal(SIGKILL);
	flush_signals(current);
}

#define BIG	4096u	/* pages: eight leaves */

/* The real arena stops after the first 32 pages, and leaks none of them */
static void killed_task_gets_no_more_pages(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &spanheap_arena_ops, BIG, 0);
	void *p = alloc(h, BIG);

	KUNIT_ASSERT_NOT_NULL(test, p);
	release(h, p);
	spanheap_scavenge(h, 0, U64_MAX);
	KUNIT_ASSERT_EQ(test, stats(h)->resident_bytes, 0);

	kill_myself(test);
	KUNIT_EXPECT_NULL(test, alloc(h, BIG));
	KUNIT_EXPECT_LE(test, stats(h)->resident_bytes >> PAGE_SHIFT, 32u);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);

	/* A short span is allocated, as by alloc_pages(), which ignores the signal */
	p = alloc(h, 32);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_FALSE(test, resize(h, p, BIG));
	KUNIT_EXPECT_LE(test, stats(h)->resident_bytes >> PAGE_SHIFT, 64u);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 32 * PAGE_SIZE);
	release(h, p);
	p = alloc_as(h, NULL, BIG, 0, 0, GFP_NOWAIT);
	KUNIT_EXPECT_NOT_NULL(test, p);
	release(h, p);
	spanheap_scavenge(h, 0, U64_MAX);
	p = alloc_as(h, NULL, BIG, 0, 0, GFP_KERNEL | __GFP_NOFAIL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	release(h, p);
	spanheap_scavenge(h, 0, U64_MAX);
	live_again();

	p = alloc(h, BIG);
	KUNIT_EXPECT_NOT_NULL(test, p);
	release(h, p);
	check(test, h);
	test_heap_end(h);
}

/* Unbacked runs of 32 pages between backed runs of 32 pages: each run alone is short */
static void killed_task_gets_no_more_holes_filled(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, BIG, 0);
	static void *piece[BIG / 32];
	s64 backed;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(piece); i++) {
		piece[i] = alloc(h, 32);
		KUNIT_ASSERT_NOT_NULL(test, piece[i]);
	}
	for (i = 1; i < ARRAY_SIZE(piece); i += 2)
		release(h, piece[i]);
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), BIG / 2);
	for (i = 0; i < ARRAY_SIZE(piece); i += 2)
		release(h, piece[i]);
	backed = fake.nr_backed;
	kill_myself(test);
	KUNIT_EXPECT_NULL(test, alloc(h, BIG));
	live_again();
	KUNIT_EXPECT_LE(test, fake.nr_backed, backed + 32);
	check(test, h);
	test_heap_end(h);
}

/* All pages are backed, but must be cleared */
static void killed_task_waits_for_no_long_clearing(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, BIG, 0);
	void *p = alloc(h, BIG);

	KUNIT_ASSERT_NOT_NULL(test, p);
	release(h, p);
	kill_myself(test);
	KUNIT_EXPECT_NULL(test, zalloc(h, BIG));
	p = zalloc(h, 1000);
	live_again();
	KUNIT_EXPECT_NOT_NULL(test, p);
	release(h, p);
	p = zalloc(h, BIG);
	KUNIT_EXPECT_TRUE(test, p && !memchr_inv(p, 0, BIG * PAGE_SIZE));
	release(h, p);
	check(test, h);
	test_heap_end(h);
}

/* A growth allocates a leaf for each 2 MiB */
static void killed_task_gets_one_leaf(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, BIG, 0);

	kill_myself(test);
	KUNIT_EXPECT_NULL(test, alloc(h, BIG));
	KUNIT_EXPECT_EQ(test, stats(h)->sys_bytes, 0);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 1));
	live_again();
	check(test, h);
	test_heap_end(h);
}

/* A task that acts as a releaser in the middle of a batch, for at most two seconds */
static struct releaser {
	struct completion holds, end;
	struct mutex *lock;	/* the heap's release_lock */
	bool let_go;
} releaser;

static int hold_release_lock(void *unused)
{
	mutex_lock(releaser.lock);
	complete(&releaser.holds);
	wait_for_completion_timeout(&releaser.end, 2 * HZ);
	WRITE_ONCE(releaser.let_go, true);
	mutex_unlock(releaser.lock);
	return 0;
}

static void killed_task_waits_for_no_releaser(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct task_struct *t;
	bool waited;
	void *p;

	p = alloc(h, ARENA);
	KUNIT_ASSERT_NOT_NULL(test, p);
	releaser = (struct releaser) { .lock = &h->release_lock };
	init_completion(&releaser.holds);
	init_completion(&releaser.end);
	t = kthread_run(hold_release_lock, NULL, "sh_releaser");
	KUNIT_ASSERT_FALSE(test, IS_ERR(t));
	get_task_struct(t);
	wait_for_completion(&releaser.holds);
	WRITE_ONCE(h->nr_releasing, 1);		/* as if it had isolated a span */
	kill_myself(test);
	KUNIT_EXPECT_NULL(test, alloc(h, 1));
	live_again();
	waited = READ_ONCE(releaser.let_go);
	WRITE_ONCE(h->nr_releasing, 0);
	complete(&releaser.end);
	kthread_stop(t);
	put_task_struct(t);
	KUNIT_EXPECT_FALSE(test, waited);
	release(h, p);
	check(test, h);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(killed_task_gets_no_more_pages),
	KUNIT_CASE(killed_task_gets_no_more_holes_filled),
	KUNIT_CASE(killed_task_waits_for_no_long_clearing),
	KUNIT_CASE(killed_task_gets_one_leaf),
	KUNIT_CASE(killed_task_waits_for_no_releaser),
	{}
};

static struct kunit_suite suite = {
	.name = "spanheap_killed",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

kunit_test_suite(suite);
