// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation on every path fails once: the n-th page or record, for n = 1, 2, ...
 * until the operation makes fewer allocations. A failed operation must change nothing,
 * and the same operation must then succeed. Needs fault injection, which cannot make the
 * per-CPU allocator fail.
 */
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spanheap_vmalloc_calls.h>

#include <compat/fault.h>
#include <compat/module.h>

#include "fake_arena.h"

#define SMALL_ARENA	600u	/* two leaves */

/* Write a switch of a fault injector in debugfs. Returns the previous value. */
static unsigned long set_switch(const char *injector, const char *name, size_t size,
				unsigned long val)
{
	struct dentry *dir, *file;
	unsigned long was = 0;

	dir = debugfs_lookup(injector, NULL);
	file = dir ? debugfs_lookup(name, dir) : NULL;
	if (!WARN_ON(!file)) {
		memcpy(&was, d_inode(file)->i_private, size);
		memcpy(d_inode(file)->i_private, &val, size);
	}
	dput(file);
	dput(dir);
	return was;
}

/* Also let requests that may sleep and single pages fail, without messages */
static void set_injectors(bool on)
{
	static const char * const injector[] = { "failslab", "fail_page_alloc" };
	static unsigned long was[2][2], order;
	u32 i;

	for (i = 0; i < 2; i++) {
		was[i][0] = set_switch(injector[i], "ignore-gfp-wait", sizeof(bool),
				       on ? 0 : was[i][0]);
		was[i][1] = set_switch(injector[i], "verbose", sizeof(long),
				       on ? 0 : was[i][1]);
	}
	order = set_switch("fail_page_alloc", "min-order", sizeof(u32), on ? 0 : order);
}

static int fault_init(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_FAILSLAB) || !IS_ENABLED(CONFIG_FAIL_PAGE_ALLOC) ||
	    !IS_ENABLED(CONFIG_FAULT_INJECTION_DEBUG_FS))
		kunit_skip(test, "no fault injection in this kernel");
	set_injectors(true);
	return test_heap_init(test);
}

static void fault_exit(struct kunit *test)
{
	compat_fail_nth(0);
	if (test->priv) {
		test_heap_exit(test);
		set_injectors(false);
	}
}

/* State that a failed operation must not change */
struct held {
	u64 inuse, spans, objects, allocs, frees;
	u64 pages, client_allocs, client_frees;
};

static struct held held(struct spanheap *h)
{
	struct spanheap_stats st = *stats(h);
	struct client_counts anon = counts(h->anon);

	return (struct held) {
		st.inuse_bytes, st.spans, st.objects, st.allocs, st.frees,
		anon.pages, anon.allocs, anon.frees,
	};
}

/* Operations; each returns true if it succeeds */
struct step {
	const char *name;
	bool (*prepare)(struct spanheap *h);
	bool (*run)(struct spanheap *h);
	void (*finish)(struct spanheap *h);
	u32 least;	/* least number of allocations that it makes */
	u32 fatal;	/* least number of these whose failure makes it fail */
};

static bool alloc_big(struct spanheap *h)
{
	return alloc(h, 520);
}

static bool alloc_big_nowait(struct spanheap *h)
{
	return alloc_as(h, NULL, 520, 0, 0, GFP_NOWAIT | __GFP_ZERO);
}

static bool alloc_one(struct spanheap *h)
{
	return alloc(h, 1);
}

static bool alloc_aligned(struct spanheap *h)
{
	return alloc_as(h, NULL, 5, PAGE_SHIFT + 6, 100, GFP_KERNEL);
}

/* Pages of another node first go, and then each may fail to come */
static bool prepare_foreign(struct spanheap *h)
{
	void *p;

	fake.node = 1;
	p = alloc(h, 40);
	release(h, p);
	spanheap_cache_drain(h);
	fake.node = 0;
	return p;
}

static bool alloc_of_node(struct spanheap *h)
{
	return spanheap_heap_alloc_node(h, NULL, 40, GFP_KERNEL | __GFP_NOWARN, 0, _RET_IP_);
}

static bool grow_span(struct spanheap *h)
{
	return resize(h, h->base, 20);
}

static bool grow_span_and_arena(struct spanheap *h)
{
	return resize(h, h->base, CHUNK + 260);
}

static bool shrink_span(struct spanheap *h)
{
	return resize(h, h->base, 4);
}

static bool prepare_blocked(struct spanheap *h)
{
	return alloc(h, 10) && alloc(h, 1);
}

static bool move_span(struct spanheap *h)
{
	return spanheap_heap_realloc(h, h->base, 40, GFP_KERNEL | __GFP_NOWARN, _RET_IP_);
}

/* A heap with one span of 10 pages at the arena's start and almost no spare records */
static bool prepare_tight(struct spanheap *h)
{
	void *p = alloc(h, 10);
	struct span *s;

	spin_lock_irq(&h->lock);
	/* Use up the spare records, for pages that no step of the case allocates */
	while (h->nr_spare > 1) {
		s = __spanheap_next(h, 10);
		__spanheap_split(h, s, s->nr_pages - 1);
		__spanheap_isolate(h, __spanheap_next(h, span_end(s)), SPAN_RELEASING);
		h->nr_releasing++;
	}
	spin_unlock_irq(&h->lock);
	return p;
}

/* Give back what prepare_tight() took */
static void finish_tight(struct spanheap *h)
{
	struct span *s;
	u32 idx;

	spin_lock_irq(&h->lock);
	for (idx = 0; (s = __spanheap_next(h, idx)); idx = span_end(s)) {
		if (span_state(s) != SPAN_RELEASING)
			continue;
		__spanheap_put(h, s);
		h->nr_releasing--;
	}
	spin_unlock_irq(&h->lock);
}

static bool prepare_span(struct spanheap *h)
{
	return alloc(h, 10);
}

static const struct step steps[] = {
	{ "allocate", NULL, alloc_big, NULL, 4 + 2 * 2 + 520, 1 },
	{ "allocate, may not sleep", NULL, alloc_big_nowait, NULL, 4 + 2 * 2 + 520, 1 },
	{ "allocate a page", NULL, alloc_one, NULL, 4 + 2 + 1, 1 },
	{ "allocate aligned", NULL, alloc_aligned, NULL, 4 + 2 + 5, 1 },
	{ "allocate of a node", prepare_foreign, alloc_of_node, NULL, 40, 40 },
	{ "grow a span", prepare_span, grow_span, NULL, 10, 1 },
	{ "grow a span and the arena", prepare_span, grow_span_and_arena, NULL, 2 + CHUNK, 1 },
	{ "move a span", prepare_blocked, move_span, NULL, 30, 30 },
	/* Needs a record, but there are no spare records */
	{ "shrink a span", prepare_tight, shrink_span, finish_tight, 2, 2 },
};

static void fail_each(struct kunit *test, const struct step *step, unsigned int cache_kb)
{
	u32 n, failures = 0;
	int left = 0;

	for (n = 1; !left; n++) {
		struct spanheap *h = test_heap_new(test, &fake_ops, SMALL_ARENA, cache_kb);
		struct held before, after;
		bool done;

		KUNIT_ASSERT_TRUE(test, !step->prepare || step->prepare(h));
		before = held(h);
		compat_fail_nth(n);
		done = step->run(h);
		left = compat_fail_nth(0);
		check(test, h);
		if (left)
			KUNIT_EXPECT_TRUE_MSG(test, done, "%s: failed by itself", step->name);
		if (!done) {
			failures++;
			after = held(h);
			KUNIT_EXPECT_EQ_MSG(test, memcmp(&before, &after, sizeof(after)), 0,
					    "%s: failure %u changed something", step->name, n);
			KUNIT_EXPECT_TRUE_MSG(test, step->run(h),
					      "%s: failure %u lasts", step->name, n);
			check(test, h);
		}
		if (step->finish)
			step->finish(h);
		check(test, h);
		test_heap_end(h);
		KUNIT_ASSERT_EQ(test, fake.nr_backed, 0);
		KUNIT_ASSERT_LT(test, n, 2000u);
	}
	KUNIT_EXPECT_GE_MSG(test, n - 2, step->least, "%s", step->name);
	KUNIT_EXPECT_GE_MSG(test, failures, step->fatal, "%s", step->name);
	kunit_info(test, "%s: %u allocations, of which %u were fatal to it\n",
		   step->name, n - 2, failures);
}

static void failed_allocation_loses_nothing(struct kunit *test)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		fail_each(test, &steps[i], 0);
}

static void failed_allocation_loses_nothing_cached(struct kunit *test)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		fail_each(test, &steps[i], 256);
}

/* A bulk allocation has what it got before the failure, and nothing else */
static void failed_bulk_keeps_what_it_has(struct kunit *test)
{
	u32 n, nr = 70, got, failures = 0, i;
	static void *p[70];
	int left = 0;

	for (n = 1; !left; n += 5) {
		struct spanheap *h = test_heap_new(test, &fake_ops, SMALL_ARENA, n % 2 ? 256 : 0);

		for (i = 0; i < 30; i++)	/* half of it is warm */
			p[i] = alloc(h, 3);
		spanheap_heap_free_bulk(h, 30, p, _RET_IP_);
		compat_fail_nth(n);
		got = spanheap_heap_alloc_bulk(h, NULL, 3, GFP_KERNEL | __GFP_NOWARN, nr, p,
					       _RET_IP_);
		left = compat_fail_nth(0);
		failures += got < nr;
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, got * 3 * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, got < nr);
		check(test, h);
		spanheap_heap_free_bulk(h, got, p, _RET_IP_);
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		check(test, h);
		test_heap_end(h);
		KUNIT_ASSERT_LT(test, n, 2000u);
	}
	KUNIT_EXPECT_GT(test, failures, 20u);
}

/* A scatterlist that finds no memory is none */
static void failed_sg_table_leaves_nothing(struct kunit *test)
{
	void *p = spanheap_alloc(NULL, 400, GFP_KERNEL);
	struct sg_table sgt;
	u32 n, failures = 0;
	int left = 0, err;

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (n = 1; !left; n++) {
		compat_fail_nth(n);
		err = spanheap_sg_table(p, &sgt, GFP_KERNEL);
		left = compat_fail_nth(0);
		failures += !!err;
		KUNIT_EXPECT_EQ(test, err, left ? 0 : -ENOMEM);
		KUNIT_ASSERT_LT(test, n, 50u);
	}
	KUNIT_EXPECT_GT(test, failures, 0u);
	sg_free_table(&sgt);
	spanheap_free(p);
}

/* Whatever fails for the span, vmalloc() is there, and the heap has lost nothing */
static void failed_span_is_memory_of_vmalloc(struct kunit *test)
{
	u32 n, nr = 289, others = 0;	/* nine times 32 pages, and a page alone */
	int left = 0;
	u64 inuse;
	u8 *p;

	for (n = 1; !left; n++) {
		spanheap_scavenge(spanheap_heap, 0, U64_MAX);
		inuse = stats(spanheap_heap)->inuse_bytes;
		compat_fail_nth(n);
		p = spanheap_kvmalloc(NULL, nr * PAGE_SIZE, GFP_KERNEL);
		left = compat_fail_nth(0);
		KUNIT_ASSERT_NOT_NULL(test, p);
		memset(p, 1, nr * PAGE_SIZE);
		others += !spanheap_is_span(p);
		spanheap_kvfree(p);
		KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, inuse);
		KUNIT_ASSERT_LT(test, n, 500u);
	}
	KUNIT_EXPECT_GT(test, n, 9u);
	KUNIT_EXPECT_GT(test, others, 0u);
}

/* Nothing of a device stays that could not be set up; and all is there if it could */
static void failed_device_leaves_nothing(struct kunit *test)
{
	const struct spanheap_client_attr attr = { .name = "of a device" };
	struct spanheap_stats before = *stats(spanheap_heap);
	struct device *dev = root_device_register("spanheap_fault");
	u32 n, failures = 0, no_span = 0;
	struct spanheap_client *c;
	int left = 0;
	void *p;

	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	for (n = 1; !left; n++) {
		KUNIT_ASSERT_NOT_NULL(test, devres_open_group(dev, dev, GFP_KERNEL));
		compat_fail_nth(n);
		c = devm_spanheap_client_register(dev, &attr);
		p = IS_ERR(c) ? NULL : devm_spanheap_alloc(dev, c, 20, GFP_KERNEL | __GFP_NOWARN);
		left = compat_fail_nth(0);
		failures += IS_ERR(c);
		no_span += !IS_ERR(c) && !p;
		KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes,
				before.inuse_bytes + (p ? 20 * PAGE_SIZE : 0));
		devres_release_group(dev, dev);
		KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, before.inuse_bytes);
		KUNIT_ASSERT_LT(test, n, 500u);
	}
	KUNIT_EXPECT_GT(test, failures, 3u);
	KUNIT_EXPECT_GT(test, no_span, 0u);
	root_device_unregister(dev);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, before.invalid_frees);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->orphan_bytes, before.orphan_bytes);
}

/* A span that cannot be made longer is what it was; a module without a client is anonymous */
static void failed_vrealloc_changes_nothing(struct kunit *test)
{
	struct module *mod = compat_module_fake("kunit_fault");
	u64 inuse = stats(spanheap_heap)->inuse_bytes;
	u32 n, failures = 0;
	int left = 0;
	u8 *p, *q;

	KUNIT_ASSERT_NOT_NULL(test, mod);
	for (n = 1; !left; n++) {
		spanheap_scavenge(spanheap_heap, 0, U64_MAX);
		compat_fail_nth(n);
		p = spanheap_vm_alloc(mod, 3 * PAGE_SIZE, true, NUMA_NO_NODE);
		q = p ? spanheap_vm_realloc(mod, p, SPANHEAP_VM_ALL, 100 * PAGE_SIZE, GFP_KERNEL,
					    true) : NULL;
		left = compat_fail_nth(0);
		failures += !q;
		KUNIT_EXPECT_TRUE(test, q || !left);
		if (p)
			KUNIT_EXPECT_NULL(test, memchr_inv(q ?: p, 0, 3 * PAGE_SIZE));
		spanheap_kvfree(q ?: p);
		spanheap_vmalloc_gone(mod);
		KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, inuse);
		KUNIT_ASSERT_LT(test, n, 1000u);
	}
	kunit_info(test, "%u allocations, of which %u were fatal to it\n", n - 2, failures);
	KUNIT_EXPECT_GT(test, n, 15u);	/* pages come 32 at a time */
	kfree(mod);
}

/* Free and release spans. True: an allocation was made, and fault injection failed it. */
static bool free_and_release(struct kunit *test)
{
	bool allocated;

	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 0);
	struct spanheap *cached = test_heap_new(test, &fake_ops, ARENA, 4);
	static void *p[300], *q[300];
	u32 i;

	for (i = 0; i < 300; i++) {
		p[i] = alloc(h, 1 + i % 5);
		q[i] = alloc(cached, 1 + i % 5);
	}
	compat_fail_nth(1);
	for (i = 0; i < 300; i++)	/* leave holes first, so that frees need records */
		release(h, p[i * 7 % 300]);
	for (i = 0; i < 300; i++) {
		if (i % 2)
			release(cached, q[i * 7 % 300]);
		else
			spanheap_heap_free_rcu(cached, q[i * 7 % 300], _RET_IP_);
	}
	rcu_barrier();
	for (i = 0; i < 100; i++) {	/* each release cuts a span */
		spanheap_scavenge(h, 0, 3);
		spanheap_scavenge(cached, 0, 3);
	}
	allocated = compat_fail_nth(0) != 1;
	KUNIT_EXPECT_EQ(test, stats(h)->scavenged_bytes, 300 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(cached)->inuse_bytes, 0);
	test_heap_end(cached);
	check(test, h);
	test_heap_end(h);
	return allocated;
}

/*
 * M24: frees and releases never allocate. KASAN may allocate for a stack of a free that
 * it has not seen yet, and SLUB since 6.18 may allocate a sheaf for the trimmed records.
 * The heap's own allocations would occur in every run, so the test repeats the run.
 */
static void freeing_and_releasing_never_allocate(struct kunit *test)
{
	u32 tries = 5;

	while (free_and_release(test))
		if (!--tries)
			break;
	KUNIT_EXPECT_GT(test, tries, 0u);
}

/* M1: a failed creation frees the half-built heap */
static void failed_creation_leaves_nothing(struct kunit *test)
{
	struct spanheap *h;
	int left = 0;
	u32 n;

	for (n = 1; !left; n++) {
		compat_fail_nth(n);
		h = spanheap_heap_create(&fake_ops, 64, fake_clock);
		left = compat_fail_nth(0);
		if (!IS_ERR(h)) {
			check(test, h);
			spanheap_heap_destroy(h);
		} else {
			KUNIT_EXPECT_EQ(test, PTR_ERR(h), -ENOMEM);
			KUNIT_EXPECT_EQ(test, left, 0);
		}
		KUNIT_ASSERT_LT(test, n, 200u);
	}
	KUNIT_EXPECT_GT(test, n, 6u);
}

static void failed_registration_leaves_nothing(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c;
	u32 n, failures = 0;
	int left = 0, round;

	for (round = 0; round < 2; round++, left = 0)
		for (n = 1; !left; n++) {	/* the outer loop: with and without sysfs */
			const struct spanheap_client_attr attr = { .name = "kunit fault" };

			compat_fail_nth(n);
			c = spanheap_heap_register(round ? spanheap_heap : h, &attr);
			left = compat_fail_nth(0);
			if (!IS_ERR(c)) {
				spanheap_heap_unregister(c);
				continue;
			}
			failures++;
			KUNIT_EXPECT_EQ(test, PTR_ERR(c), -ENOMEM);
			KUNIT_EXPECT_EQ(test, left, 0);
			KUNIT_ASSERT_LT(test, n, 500u);
		}
	KUNIT_EXPECT_GT(test, failures, 3u);
	KUNIT_EXPECT_TRUE(test, list_empty(&h->clients));
}

static void no_fn(void *obj, void *arg)
{
}

static enum spanheap_verdict keep(void *addr, size_t nr_pages, void *priv)
{
	return SPANHEAP_KEEP;
}

/* M30: a finalizer that cannot be allocated leaves nothing behind, also on the span */
static void failed_finalizer_leaves_nothing(struct kunit *test)
{
	static const struct spanheap_client_ops ops = { .sweep = keep };
	const struct spanheap_client_attr attr = { .name = "swept", .ops = &ops };
	static const gfp_t gfp[] = { GFP_KERNEL, GFP_NOWAIT };
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *p = alloc_as(h, c, 4, 0, PAGE_SIZE, GFP_KERNEL);
	void *obj = p + 2 * PAGE_SIZE;
	u64 meta = stats(h)->other_meta_bytes;
	u32 i, n, failures;
	int left, err;

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (i = 0; i < ARRAY_SIZE(gfp); i++) {
		for (n = 1, left = 0, failures = 0; !left; n++) {
			compat_fail_nth(n);
			err = spanheap_finalizer_add(h, obj, no_fn, NULL, gfp[i]);
			left = compat_fail_nth(0);
			check(test, h);
			if (err) {
				failures++;
				KUNIT_EXPECT_EQ(test, err, -ENOMEM);
				KUNIT_EXPECT_EQ(test, left, 0);
				KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, obj), -ENOENT);
			} else {
				KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, obj), 0);
			}
			KUNIT_EXPECT_EQ(test, atomic_long_read(&h->nr_finalizers), 0);
			KUNIT_EXPECT_EQ(test, stats(h)->other_meta_bytes, meta);
			KUNIT_ASSERT_LT(test, n, 50u);
		}
		KUNIT_EXPECT_GT(test, failures, 0u);
	}
	release(h, p);		/* no special keeps the span in use */
	spanheap_heap_unregister(c);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
}

/* The arena runs out of memory at the n-th page, for every n */
static void failed_backing_keeps_what_it_got(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 n;

	for (n = 0; n < 40; n++) {
		fake.pages_left = n;
		KUNIT_EXPECT_NULL(test, alloc(h, 40));
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, n * PAGE_SIZE);
		check(test, h);
		fake.pages_left = S64_MAX;
		spanheap_scavenge(h, 0, U64_MAX);
	}
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, 40));
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 40);
}

/* Without memory for all leaves, a growth uses fewer leaves and grows exactly */
static void growth_makes_do_without_a_leaf(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = NULL;
	int left = 1;
	u32 n;

	KUNIT_ASSERT_NOT_NULL(test, alloc(h, LEAF_PAGES - 100));
	KUNIT_ASSERT_LE(test, h->used, LEAF_PAGES - 50);
	for (n = 1; n < 10 && !p; n++) {	/* without records, allocated first, it fails */
		compat_fail_nth(n);
		p = alloc(h, 50);
		left = compat_fail_nth(0);
	}
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, left, 0);		/* an allocation did fail: a leaf */
	KUNIT_EXPECT_LE(test, h->used, LEAF_PAGES);
	check(test, h);
}

/* The real arena, which allocates its pages in bulk */
static void failed_page_of_the_real_arena_loses_nothing(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &spanheap_arena_ops, 256, 0);
	u32 n, nr = 97, failures = 0;	/* three batches of 32, and a single page */
	void *p = alloc(h, nr);
	int left = 0;

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (n = 1; !left; n++) {
		release(h, p);
		spanheap_scavenge(h, 0, U64_MAX);
		compat_fail_nth(n);
		p = zalloc(h, nr);
		left = compat_fail_nth(0);
		check(test, h);
		if (p) {
			KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, nr * PAGE_SIZE));
			continue;
		}
		failures++;
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, (nr - 1) * PAGE_SIZE);
		p = zalloc(h, nr);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, nr * PAGE_SIZE));
	}
	KUNIT_EXPECT_GT(test, n, 4u);
	KUNIT_EXPECT_GT(test, failures, 0u);
	release(h, p);
	test_heap_end(h);
}

static struct kunit_case fault_cases[] = {
	KUNIT_CASE(failed_allocation_loses_nothing),
	KUNIT_CASE(failed_allocation_loses_nothing_cached),
	KUNIT_CASE(failed_bulk_keeps_what_it_has),
	KUNIT_CASE(failed_sg_table_leaves_nothing),
	KUNIT_CASE(failed_span_is_memory_of_vmalloc),
	KUNIT_CASE(failed_device_leaves_nothing),
	KUNIT_CASE(failed_vrealloc_changes_nothing),
	KUNIT_CASE(failed_finalizer_leaves_nothing),
	KUNIT_CASE(freeing_and_releasing_never_allocate),
	KUNIT_CASE(failed_creation_leaves_nothing),
	KUNIT_CASE(failed_registration_leaves_nothing),
	KUNIT_CASE(failed_backing_keeps_what_it_got),
	KUNIT_CASE(growth_makes_do_without_a_leaf),
	KUNIT_CASE(failed_page_of_the_real_arena_loses_nothing),
	{}
};

static struct kunit_suite fault_suite = {
	.name = "spanheap_fault",
	.init = fault_init,
	.exit = fault_exit,
	.test_cases = fault_cases,
};

kunit_test_suite(fault_suite);
