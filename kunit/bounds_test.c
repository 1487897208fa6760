// SPDX-License-Identifier: GPL-2.0
/*
 * What one task does to others: no reader takes the heap lock, and no hold of that
 * lock, no interrupt and no work without giving way grows with the machine, with the
 * span or with the number of spans. Steps are counted, not time.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/mm.h>

#include "fake_arena.h"

/* ---- limits ---- */

struct limit_writer {
	struct spanheap_client *c;
	struct completion done;
};

static int write_limit(void *data)
{
	struct limit_writer *w = data;

	spanheap_set_limit(w->c, 5);
	complete_all(&w->done);
	return 0;
}

/*
 * Two writers of a limit at once would both fold the share of a CPU that is offline:
 * the second waits for the first.
 */
static void one_writer_of_a_limit_at_a_time(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct limit_writer w = { .c = new_client(h, "limited", 0) };
	void *p = alloc_as(h, w.c, 2, 0, 0, GFP_KERNEL);

	release(h, p);
	p = alloc_as(h, w.c, 2, 0, 0, GFP_KERNEL);	/* charged to the CPU's share */
	init_completion(&w.done);
	mutex_lock(&w.c->limit_lock);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(write_limit, &w, "spanheap_limit")));
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&w.done, HZ / 10), 0ul);
	KUNIT_EXPECT_EQ(test, w.c->limit_pages, 0);
	mutex_unlock(&w.c->limit_lock);
	wait_for_completion(&w.done);
	KUNIT_EXPECT_EQ(test, w.c->limit_pages, 5);
	KUNIT_EXPECT_EQ(test, atomic64_read(&w.c->pages), 2);
	release(h, p);
	spanheap_heap_unregister(w.c);
	check(test, h);
}

/* Registration and the sysfs file round a limit by the same rule */
static void limit_is_rounded_in_one_way(struct kunit *test)
{
	static const struct { u64 bytes, pages; } limit[] = {
		{ 0, 0 }, { 1, 1 }, { PAGE_SIZE - 1, 1 }, { PAGE_SIZE, 1 },
		{ 2 * PAGE_SIZE - 1, 1 }, { 2 * PAGE_SIZE, 2 }, { U64_MAX, U64_MAX >> PAGE_SHIFT },
	};
	struct spanheap *h = test->priv;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(limit); i++) {
		const struct spanheap_client_attr attr = {
			.name = "limited", .limit_bytes = limit[i].bytes,
		};
		struct spanheap_client *c = spanheap_heap_register(h, &attr);

		KUNIT_EXPECT_EQ(test, c->limit_pages, limit[i].pages);
		KUNIT_EXPECT_EQ(test, limit_to_pages(limit[i].bytes), limit[i].pages);
		spanheap_heap_unregister(c);
	}
}

static struct kunit_case bounds_cases[] = {
	KUNIT_CASE(one_writer_of_a_limit_at_a_time),
	KUNIT_CASE(limit_is_rounded_in_one_way),
	{}
};

static struct kunit_suite bounds_suite = {
	.name = "spanheap_bounds",
	.init = test_cached_heap_init,
	.exit = test_heap_exit,
	.test_cases = bounds_cases,
};

kunit_test_suite(bounds_suite);
