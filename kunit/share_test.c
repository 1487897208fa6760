// SPDX-License-Identifier: GPL-2.0
/*
 * Spans whose pages have other references, and spans with a guard page behind them.
 */
#include <linux/jump_label.h>
#include <linux/mm.h>

#include "fake_arena.h"

static struct spanheap_client *flagged(struct kunit *test, struct spanheap *h,
				       unsigned int flags)
{
	const struct spanheap_client_attr attr = { .name = "flagged", .flags = flags };
	struct spanheap_client *c = spanheap_heap_register(h, &attr);

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	return c;
}

static void *alloc_for(struct spanheap *h, struct spanheap_client *c, size_t nr)
{
	return alloc_as(h, c, nr, 0, 0, GFP_KERNEL);
}

/* A free drops pages with other references, as vfree() does; the last reference frees them */
static void referenced_page_goes_to_no_new_owner(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct page *page;
	void *p, *q;

	p = alloc(h, 5);
	KUNIT_ASSERT_TRUE(test, spanheap_mark_shared(h, p + PAGE_SIZE));
	page = fake_page(h, p + 3 * PAGE_SIZE);
	get_page(page);
	mutex_lock(&h->release_lock);	/* the worker does not drop the pages yet */
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	q = alloc_as(h, NULL, 5, 0, 0, GFP_NOWAIT);
	KUNIT_EXPECT_NOT_NULL(test, q);
	KUNIT_EXPECT_PTR_NE(test, q, p);
	mutex_unlock(&h->release_lock);
	spanheap_drop(h);
	check(test, h);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, page_of(h, p)));
	KUNIT_EXPECT_EQ(test, stats(h)->scavenged_bytes, 5 * PAGE_SIZE);
	put_page(page);
	release(h, q);
	check(test, h);
}

/* The same for a tail that a resize cuts off */
static void referenced_page_of_a_tail_is_dropped(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 8);
	struct page *page;

	spanheap_mark_shared(h, p);
	page = fake_page(h, p + 6 * PAGE_SIZE);
	get_page(page);
	KUNIT_EXPECT_TRUE(test, resize(h, p, 4));
	spanheap_drop(h);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, page_of(h, p) + 4));
	KUNIT_EXPECT_TRUE(test, fake_is_backed(h, page_of(h, p) + 3));
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	put_page(page);
	release(h, p);
	check(test, h);
}

static void *contested;

static void share_contested(struct spanheap *h)
{
	fake.faults += !spanheap_mark_shared(h, contested);
}

/* A span that becomes shared while a resize claims it stays shared after the resize */
static void span_shared_beside_a_resize_stays_shared(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct page *page;

	contested = alloc(h, 5);
	hook_at(HOOK_RESIZE_READ, share_contested);
	KUNIT_EXPECT_TRUE(test, resize(h, contested, 4));
	KUNIT_EXPECT_EQ(test, unhook(), 1);
	page = fake_page(h, contested);
	get_page(page);
	release(h, contested);
	spanheap_drop(h);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, page_of(h, contested)));
	put_page(page);
	check(test, h);
}

/* The free of a span that is not marked as shared does not check for references */
static void unmarked_free_pays_nothing(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 5), *q = alloc(h, 300);

	release(h, p);
	release(h, q);
	KUNIT_EXPECT_EQ(test, fake.asked_referenced, 0u);
	/* A record that was marked is not marked in its next use */
	p = alloc(h, 5);
	spanheap_mark_shared(h, p);
	release(h, p);
	KUNIT_EXPECT_EQ(test, fake.asked_referenced, 1u);
	p = alloc(h, 5);
	release(h, p);
	KUNIT_EXPECT_EQ(test, fake.asked_referenced, 1u);
	KUNIT_EXPECT_FALSE(test, spanheap_mark_shared(h, p));
	check(test, h);
}

/* If there are no other references any more, the pages stay in the heap */
static void shared_span_without_references_keeps_its_pages(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = flagged(test, h, SPANHEAP_SHARED_PAGES);
	void *p = alloc_for(h, c, 5);

	release(h, p);
	KUNIT_EXPECT_EQ(test, fake.asked_referenced, 1u);
	KUNIT_EXPECT_EQ(test, stats(h)->scavenged_bytes, 0);
	KUNIT_EXPECT_TRUE(test, fake_is_backed(h, page_of(h, p)));
	spanheap_heap_unregister(c);
	check(test, h);
}

/* init_on_free does not clear pages that other users may still access */
static void init_on_free_leaves_referenced_pages_alone(struct kunit *test)
{
	struct spanheap *h = test->priv;
	bool was_on = want_init_on_free();
	struct page *page;
	u8 *p = alloc(h, 3);

	memset(p, 7, 3 * PAGE_SIZE);
	spanheap_mark_shared(h, p);
	page = fake_page(h, p);
	get_page(page);
	if (!was_on)
		static_branch_enable(&init_on_free);
	release(h, p);
	KUNIT_EXPECT_EQ(test, p[0], 7);
	if (!was_on)
		static_branch_disable(&init_on_free);
	spanheap_drop(h);
	put_page(page);
	check(test, h);
}

/* If the arena is full, an allocation waits for spans that are being dropped */
static void allocation_waits_for_dropped_pages(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, ARENA);
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, p);
	spanheap_mark_shared(h, p);
	page = fake_page(h, p);
	get_page(page);
	release(h, p);
	p = alloc(h, ARENA);
	KUNIT_EXPECT_NOT_NULL(test, p);
	release(h, p);
	put_page(page);
	check(test, h);
}

/* The guard page is unbacked, belongs to no span in use, and is not charged */
static void guard_is_behind_the_span_and_goes_with_it(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = flagged(test, h, SPANHEAP_GUARD);
	struct span_view v;
	u32 nr, at;
	void *p;

	for (nr = 1; nr <= 300; nr += 299) {
		p = alloc_for(h, c, nr);
		KUNIT_ASSERT_NOT_NULL(test, p);
		at = page_of(h, p) + nr;
		KUNIT_EXPECT_EQ(test, peek_state(h, at), SPAN_GUARD);
		KUNIT_EXPECT_FALSE(test, fake_is_backed(h, at));
		KUNIT_EXPECT_TRUE(test, fake_is_backed(h, at - 1));
		KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, page_addr(h, at), &v));
		KUNIT_EXPECT_EQ(test, counts(c).pages, nr);
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, nr * PAGE_SIZE);
		check(test, h);
		KUNIT_EXPECT_FALSE(test, resize(h, p, nr + 1));
		KUNIT_EXPECT_TRUE(test, resize(h, p, nr));
		release(h, page_addr(h, at));	/* a bad free */
		KUNIT_EXPECT_EQ(test, peek_state(h, at), SPAN_GUARD);
		check(test, h);
		release(h, p);
		KUNIT_EXPECT_NE(test, peek_state(h, at), SPAN_GUARD);
		check(test, h);
	}
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 2);
	spanheap_heap_unregister(c);
}

/* A backed page that becomes a guard is unbacked, at once or, in atomic context, by a worker */
static void guard_with_memory_loses_it(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = flagged(test, h, SPANHEAP_GUARD);
	void *p;

	release(h, alloc(h, 600));	/* all backed, and not cached */
	p = alloc_for(h, c, 4);
	KUNIT_EXPECT_EQ(test, peek_state(h, page_of(h, p) + 4), SPAN_GUARD);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, page_of(h, p) + 4));
	check(test, h);
	release(h, p);
	release(h, alloc(h, 600));
	p = alloc_as(h, c, 4, 0, 0, GFP_ATOMIC);
	flush_work(&h->free_work);
	KUNIT_EXPECT_EQ(test, peek_state(h, page_of(h, p) + 4), SPAN_GUARD);
	KUNIT_EXPECT_FALSE(test, fake_is_backed(h, page_of(h, p) + 4));
	check(test, h);
	release(h, p);
	check(test, h);
	spanheap_heap_unregister(c);
}

/* If the span is freed before its guard is unbacked, the guard page becomes free */
static void guard_that_is_late_becomes_free(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = flagged(test, h, SPANHEAP_GUARD);
	void *p;

	release(h, alloc(h, 600));
	mutex_lock(&h->release_lock);	/* delays the drop */
	p = alloc_as(h, c, 4, 0, 0, GFP_ATOMIC);
	release(h, p);
	mutex_unlock(&h->release_lock);
	flush_work(&h->free_work);
	KUNIT_EXPECT_EQ(test, h->nr_releasing, 0u);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	check(test, h);
	spanheap_heap_unregister(c);
}

/* If the span cannot be backed, its guard becomes free with it */
static void failed_allocation_leaves_no_guard(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = flagged(test, h, SPANHEAP_GUARD);

	fake.pages_left = 3;
	KUNIT_EXPECT_NULL(test, alloc_for(h, c, 4));
	fake.pages_left = S64_MAX;
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	KUNIT_EXPECT_EQ(test, counts(c).pages, 0);
	check(test, h);
	spanheap_heap_unregister(c);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(referenced_page_goes_to_no_new_owner),
	KUNIT_CASE(referenced_page_of_a_tail_is_dropped),
	KUNIT_CASE(span_shared_beside_a_resize_stays_shared),
	KUNIT_CASE(unmarked_free_pays_nothing),
	KUNIT_CASE(shared_span_without_references_keeps_its_pages),
	KUNIT_CASE(init_on_free_leaves_referenced_pages_alone),
	KUNIT_CASE(allocation_waits_for_dropped_pages),
	KUNIT_CASE(guard_is_behind_the_span_and_goes_with_it),
	KUNIT_CASE(guard_with_memory_loses_it),
	KUNIT_CASE(guard_that_is_late_becomes_free),
	KUNIT_CASE(failed_allocation_leaves_no_guard),
	{}
};

static struct kunit_suite suite = {
	.name = "spanheap_share",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

static struct kunit_suite cached_suite = {
	.name = "spanheap_share_tuned",
	.init = test_cached_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

kunit_test_suites(&suite, &cached_suite);
