// SPDX-License-Identifier: GPL-2.0
/*
 * Unloaded modules: their anonymous spans become orphans, and names replace their call
 * sites. A module here is a range of addresses.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>

#include "fake_arena.h"

#define SITES	256ul

struct fake_module {
	unsigned long text;
};

static bool in_module(unsigned long addr, const void *mod)
{
	return addr - ((const struct fake_module *)mod)->text < SITES;
}

static struct fake_module first = { 0x7000000000ul }, second = { 0x7100000000ul };

static void ends(struct spanheap *h, struct fake_module *mod, bool mod_goes)
{
	const struct text_end end = {
		.within = in_module, .mod = mod, .name = "fake", .mod_goes = mod_goes,
	};

	spanheap_text_ends(h, &end);
}

static void *alloc_at(struct spanheap *h, struct spanheap_client *c, size_t nr,
		      struct fake_module *mod, u32 site)
{
	return spanheap_heap_alloc(h, c, nr, 0, 0, GFP_KERNEL, mod->text + site);
}

static u32 nr_names(struct spanheap *h)
{
	unsigned long number;
	void *site;
	u32 n = 0;

	xa_for_each(&h->sites, number, site)
		n++;
	return n;
}

/* Does the span at p show this call site; by name (kept), or by address? */
static bool named(struct spanheap *h, void *p, struct fake_module *mod, u32 site, bool kept)
{
	struct span s = peek(h, page_of(h, p));
	char text[SITE_TEXT], want[32];

	snprintf(want, sizeof(want), "0x%lx", mod->text + site);
	return (s.caller <= SITE_MAX) == kept &&
	       !strcmp(spanheap_site_text(h, s.caller, text), want);
}

/* The anonymous spans of the module become orphans, and no other spans do */
static void anonymous_spans_of_a_module_that_goes_are_orphans(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "stays", 0);
	static void *p[200], *q[200];
	u64 pages = 0;
	u32 i;

	for (i = 0; i < 200; i++) {
		p[i] = alloc_at(h, NULL, 1 + i % 5, &first, i % 50);
		q[i] = alloc_at(h, c, 1, &first, i % 40);
		KUNIT_ASSERT_TRUE(test, p[i] && q[i]);
		pages += 1 + i % 5;
	}
	log_start();
	ends(h, &first, true);
	log_stop();
	KUNIT_EXPECT_EQ(test,
			log_count("fake is gone and leaves 200 spans without a client, 600 pages"),
			1u);
	KUNIT_EXPECT_EQ(test, log_count(" pages, allocated by 0x70000000"), 10u);
	KUNIT_EXPECT_TRUE(test, h->pinned);
	KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, pages * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, counts(h->anon).pages, 0);
	KUNIT_EXPECT_EQ(test, counts(c).pages, 200);
	for (i = 0; i < 200; i++) {
		KUNIT_EXPECT_TRUE(test, named(h, p[i], &first, i % 50, true));
		KUNIT_EXPECT_TRUE(test, named(h, q[i], &first, i % 40, true));
	}
	KUNIT_EXPECT_EQ(test, nr_names(h), 50);
	check(test, h);

	/* Text that is loaded at the same addresses belongs to another module */
	release(h, q[0]);
	q[0] = alloc_at(h, c, 1, &first, 0);
	KUNIT_EXPECT_TRUE(test, named(h, q[0], &first, 0, false));
	log_start();
	ends(h, &first, true);
	KUNIT_EXPECT_EQ(test, log_stop(), 0u);
	KUNIT_EXPECT_EQ(test, nr_names(h), 50);
	for (i = 0; i < 200; i++) {
		KUNIT_EXPECT_TRUE(test, h->pinned);
		release(h, p[i]);
		release(h, q[i]);
	}
	KUNIT_EXPECT_FALSE(test, h->pinned);
	KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* When __init text is freed, names replace its call sites, and the module keeps its spans */
static void init_text_is_kept_as_names(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc_at(h, NULL, 2, &first, 1), *q = alloc_at(h, NULL, 2, &second, 2);

	log_start();
	ends(h, &first, false);
	KUNIT_EXPECT_EQ(test, log_stop(), 0u);
	KUNIT_EXPECT_TRUE(test, named(h, p, &first, 1, true));
	KUNIT_EXPECT_TRUE(test, named(h, q, &second, 2, false));
	KUNIT_EXPECT_EQ(test, counts(h->anon).pages, 4);
	KUNIT_EXPECT_FALSE(test, h->pinned);
	/* When the module goes later, the name still shows that the span is the module's */
	ends(h, &first, true);
	KUNIT_EXPECT_TRUE(test, h->pinned);
	KUNIT_EXPECT_TRUE(test, named(h, p, &first, 1, true));
	release(h, p);
	release(h, q);
	KUNIT_EXPECT_FALSE(test, h->pinned);
	check(test, h);
}

/* The next walk frees the names that no span uses any more */
static void names_are_forgotten(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static void *p[60];
	u32 i, round;

	for (round = 0; round < 5; round++) {
		for (i = 0; i < 60; i++)
			p[i] = alloc_at(h, NULL, 1 + i % 3, &first, i);
		ends(h, &first, true);
		KUNIT_EXPECT_EQ(test, nr_names(h), 60);
		for (i = 0; i < 60; i++)
			release(h, p[i]);
		spanheap_cache_drain(h);
		/* All pages are one free span, which uses one name */
		ends(h, &second, true);
		KUNIT_EXPECT_LE(test, nr_names(h), 1);
		check(test, h);
	}
}

/* Names also replace the call sites of frees */
static void freers_of_cached_spans_are_named(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc_at(h, NULL, 2, &second, 7);

	spanheap_heap_free(h, p, first.text + 9);
	ends(h, &first, true);
	KUNIT_EXPECT_EQ(test, nr_names(h), h->caches.cpu ? 1 : 0);
	log_start();
	release(h, p);
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("last allocated by 0x7100000007"), 1u);
	KUNIT_EXPECT_EQ(test, log_count("which is free (cached)"), h->caches.cpu ? 1u : 0u);
	KUNIT_EXPECT_EQ(test, log_count("last freed by 0x7000000009"), h->caches.cpu ? 1u : 0u);
	check(test, h);
}

/* A call site is reported once for each life of its text */
static void bad_callers_go_with_their_text(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p = alloc(h, 4);
	u32 i;

	log_start();
	for (i = 0; i < 3; i++) {
		spanheap_heap_free(h, p + PAGE_SIZE + 17, first.text);
		spanheap_heap_free(h, p + PAGE_SIZE + 17, second.text);
		if (i == 1)
			ends(h, &first, false);
	}
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("by 0x7000000000: byte 4113 of the span of 4 pages"), 2u);
	KUNIT_EXPECT_EQ(test, log_count("by 0x7100000000: byte 4113 of the span of 4 pages"), 1u);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 6);
	release(h, p);
}

static DECLARE_COMPLETION(gone);

static int go(void *h)
{
	ends(h, &first, true);
	complete(&gone);
	return 0;
}

static void go_meanwhile(struct spanheap *h)
{
	struct task_struct *task = kthread_run(go, h, "spanheap_go");

	WARN_ON(IS_ERR(task));
	msleep(50);
}

/* The walk waits for a span that is being resized, and charges its new length */
static void a_span_in_a_resize_is_waited_for(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc_at(h, NULL, 300, &first, 3);

	reinit_completion(&gone);
	fake.in_back = go_meanwhile;
	KUNIT_EXPECT_TRUE(test, resize(h, p, 700));
	KUNIT_ASSERT_NE(test, wait_for_completion_timeout(&gone, 10 * HZ), 0);
	KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, 700 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, counts(h->anon).pages, 0);
	KUNIT_EXPECT_TRUE(test, named(h, p, &first, 3, true));
	check(test, h);
	release(h, p);
	KUNIT_EXPECT_FALSE(test, h->pinned);
	check(test, h);
}

static struct kunit_case module_cases[] = {
	KUNIT_CASE(anonymous_spans_of_a_module_that_goes_are_orphans),
	KUNIT_CASE(init_text_is_kept_as_names),
	KUNIT_CASE(names_are_forgotten),
	KUNIT_CASE(freers_of_cached_spans_are_named),
	KUNIT_CASE(bad_callers_go_with_their_text),
	KUNIT_CASE(a_span_in_a_resize_is_waited_for),
	{}
};

static struct kunit_suite module_suite = {
	.name = "spanheap_module",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = module_cases,
};

static struct kunit_suite module_cached_suite = {
	.name = "spanheap_module_cached",
	.init = test_tuned_heap_init,
	.exit = test_heap_exit,
	.test_cases = module_cases,
};

kunit_test_suites(&module_suite, &module_cached_suite);
