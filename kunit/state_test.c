// SPDX-License-Identifier: GPL-2.0
/*
 * A span's record: which free or resize takes it out of use, and how the heap treats a
 * record in a wrong state. Hooks make the races deterministic.
 */
#include "fake_arena.h"

static struct {
	void *addr;		/* the span of the race */
	size_t nr;
	void *again;		/* the span that the hook allocated */
	bool found;
} race;

static void look_up(struct spanheap *h)
{
	struct span_view v;

	race.found = spanheap_heap_lookup(h, race.addr, &v) &&
		     page_addr(h, v.start) == race.addr && v.nr_pages == race.nr;
}

static void look_up_and_free(struct spanheap *h)
{
	look_up(h);
	release(h, race.addr);
}

static void free_and_allocate(struct spanheap *h)
{
	release(h, race.addr);
	race.again = alloc(h, race.nr);
}

/* M16: the map also has a span's last page, but a free of this page is a bad free */
static void bad_free_of_the_last_page_never_touches_the_span(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 nr;

	for (nr = 2; nr <= 300; nr += 149) {	/* for a magazine, for a slot, not cached */
		race.addr = alloc(h, nr);
		race.nr = nr;
		KUNIT_ASSERT_NOT_NULL(test, race.addr);
		hook_at(HOOK_FREE_LOOKED, look_up_and_free);
		release(h, race.addr + (nr - 1) * PAGE_SIZE);
		unhook();
		look_up(h);
		if (race.found)		/* this free does not reach the hook */
			release(h, race.addr);
		else
			KUNIT_EXPECT_FALSE(test, race.found);
		KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		check(test, h);
	}
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 3);
}

/* During the bad free, the owner's look-up finds the span and the owner's free succeeds */
static void owner_is_not_disturbed_by_a_bad_free(struct kunit *test)
{
	struct spanheap *h = test->priv;

	race.addr = alloc(h, 4);
	race.nr = 4;
	race.found = false;
	hook_at(HOOK_FREE_LOOKED, look_up_and_free);
	release(h, race.addr + 3 * PAGE_SIZE);
	if (h->caches.cpu)	/* without caches, a bad free does not reach the hook */
		KUNIT_EXPECT_EQ(test, unhook(), 1);
	else
		KUNIT_EXPECT_EQ(test, unhook(), 0);
	if (!h->caches.cpu)
		look_up_and_free(h);
	KUNIT_EXPECT_TRUE(test, race.found);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	check(test, h);
}

/* M16: a second free is refused even if the record came into use again meanwhile */
static void late_second_free_does_not_free_the_next_owners_span(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct span_view v;

	if (!h->caches.cpu)
		kunit_skip(test, "without caches a free looks and claims under the heap lock");
	race.addr = alloc(h, 4);
	race.nr = 4;
	hook_at(HOOK_FREE_LOOKED, free_and_allocate);
	release(h, race.addr);
	KUNIT_EXPECT_EQ(test, unhook(), 1);
	/* The span that the hook allocated is the same record at the same place */
	KUNIT_ASSERT_PTR_EQ(test, race.again, race.addr);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 1);
	KUNIT_EXPECT_TRUE(test, spanheap_heap_lookup(h, race.again, &v));
	release(h, race.again);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	check(test, h);
}

/* M14: a look-up returns the fields of one use of a record, never a mixture of two */
static void lookup_beside_a_new_use_finds_nothing(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct span_view v;

	race.addr = alloc(h, 4);
	race.nr = 4;
	hook_at(HOOK_LOOKUP_READ, free_and_allocate);
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, race.addr, &v));
	KUNIT_EXPECT_EQ(test, unhook(), 1);
	KUNIT_EXPECT_TRUE(test, spanheap_heap_lookup(h, race.again, &v));
	release(h, race.again);
	check(test, h);
}

static void set_state(struct spanheap *h, void *addr, enum span_state state)
{
	struct span *s = spanheap_span_at(h, addr);

	s->word = (s->word & SPAN_USES) | state;
}

/* Put an evicted span back into the free lists, so that the case leaves no span */
static void mend(struct spanheap *h, void *addr)
{
	struct span *s = spanheap_span_at(h, addr);

	spin_lock_irq(&h->lock);
	h->unlisted_pages += s->nr_pages;
	h->released_pages -= s->nr_released;
	set_state(h, addr, SPAN_OWNED);
	__spanheap_put(h, s);
	spin_unlock_irq(&h->lock);
}

/* M7: the heap works without the span, reports it once, and the check finds it */
static void expect_broken(struct kunit *test, struct spanheap *h, int times)
{
	char why[128] = "";

	KUNIT_EXPECT_EQ(test, atomic_read(&h->broken), times);
	KUNIT_EXPECT_EQ(test, spanheap_check(h, why, sizeof(why)), -EUCLEAN);
	KUNIT_EXPECT_STREQ(test, why, "a span record was found corrupt (page 0)");
	KUNIT_EXPECT_EQ(test, log_count("is corrupt"), 1);
}

/* M7: a cached span that is not CACHED is not handed out; the rest of the cache is */
static void cached_span_in_a_wrong_state_is_not_handed_out(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a, *b, *got, *next;

	if (!h->caches.cpu)
		kunit_skip(test, "there are no caches");
	a = alloc(h, 4);
	b = alloc(h, 4);
	release(h, a);
	release(h, b);		/* b is popped first */
	log_start();
	warnings_begin();
	set_state(h, b, SPAN_FREE);
	got = alloc(h, 4);
	warnings_end(test, TIMES("is corrupt: state 1, not 5", 1));
	log_stop();
	KUNIT_EXPECT_TRUE(test, got && got != a && got != b);	/* of the page heap */
	next = alloc(h, 4);
	KUNIT_EXPECT_PTR_EQ(test, next, a);
	expect_broken(test, h, 1);
	set_state(h, b, SPAN_CACHED);	/* for the end of the test */
	release(h, got);
	release(h, next);
	spanheap_span_at(h, b)->cached.next = NULL;
	spanheap_put_cached(h, &spanheap_span_at(h, b)->cached);
}

/* M7: a span on a free list that is not FREE, or of another length, is evicted */
static void listed_span_in_a_wrong_state_is_not_handed_out(struct kunit *test)
{
	const u32 lengths[] = { 4, 300 };	/* on a list, in the tree */
	struct spanheap *h = test->priv;
	void *before, *behind, *got, *bad;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		u32 nr = lengths[i];

		spanheap_cache_drain(h);
		before = alloc(h, 1);	/* prevents coalescing */
		bad = alloc(h, nr);
		behind = alloc(h, 1);
		release(h, bad);
		spanheap_cache_drain(h);
		log_start();
		warnings_begin();
		set_state(h, bad, SPAN_OWNED);
		got = alloc(h, nr);
		/* One report per heap */
		warnings_end(test, TIMES("is corrupt: state 2, not 1", !i));
		log_stop();
		KUNIT_ASSERT_NOT_NULL(test, got);
		KUNIT_EXPECT_PTR_NE(test, got, bad);
		KUNIT_EXPECT_EQ(test, atomic_read(&h->broken), i + 1);
		if (!i)
			expect_broken(test, h, 1);
		mend(h, bad);
		release(h, got);
		release(h, before);
		release(h, behind);
	}
}

/* M7: a span in a wrong state is not put into the free lists */
static void span_in_a_wrong_state_is_not_put(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *a = alloc(h, 4);
	struct span *s = spanheap_span_at(h, a);
	u32 nr_free = h->nr_free;

	log_start();
	warnings_begin();
	spin_lock_irq(&h->lock);
	__spanheap_put(h, s);
	spin_unlock_irq(&h->lock);
	KUNIT_EXPECT_FALSE(test, spanheap_publish(h, s, s->word, h->anon, 0, 0, 0));
	warnings_end(test, TIMES("is corrupt: state 3, not 2", 1));
	log_stop();
	KUNIT_EXPECT_EQ(test, h->nr_free, nr_free);
	expect_broken(test, h, 2);
	release(h, a);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(bad_free_of_the_last_page_never_touches_the_span),
	KUNIT_CASE(owner_is_not_disturbed_by_a_bad_free),
	KUNIT_CASE(late_second_free_does_not_free_the_next_owners_span),
	KUNIT_CASE(lookup_beside_a_new_use_finds_nothing),
	KUNIT_CASE(cached_span_in_a_wrong_state_is_not_handed_out),
	KUNIT_CASE(listed_span_in_a_wrong_state_is_not_handed_out),
	KUNIT_CASE(span_in_a_wrong_state_is_not_put),
	{}
};

static struct kunit_suite suite = {
	.name = "spanheap_state",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

static struct kunit_suite cached_suite = {
	.name = "spanheap_state_tuned",
	.init = test_cached_heap_init,
	.exit = test_heap_exit,
	.test_cases = cases,
};

kunit_test_suites(&suite, &cached_suite);
