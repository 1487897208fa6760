// SPDX-License-Identifier: GPL-2.0
/*
 * The functions for drivers that come from vmalloc(): sizes in bytes, look-ups, frees after a
 * grace period.
 */
#include <linux/device.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "fake_arena.h"

/* Bytes are rounded up to pages, and no size overflows into a small one */
static void bytes_are_rounded_up_to_pages(struct kunit *test)
{
	static const struct {
		size_t bytes, pages;
	} good[] = {
		{ 1, 1 }, { PAGE_SIZE - 1, 1 }, { PAGE_SIZE, 1 }, { PAGE_SIZE + 1, 2 },
		{ 300 * PAGE_SIZE, 300 }, { 300 * PAGE_SIZE + 1, 301 },
	};
	static const size_t bad[] = { 0, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - PAGE_SIZE + 2,
				      SIZE_MAX - PAGE_SIZE + 1, SIZE_MAX / 2 };
	struct spanheap_stats before = *stats(spanheap_heap);
	u32 i;
	u8 *p;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		p = spanheap_alloc_bytes(NULL, good[i].bytes, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_EQ(test, spanheap_nr_pages(p), good[i].pages);
		p[good[i].bytes - 1] = 1;
		spanheap_free(p);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_NULL(test, spanheap_alloc_bytes(NULL, bad[i],
							     GFP_KERNEL | __GFP_NOWARN));
	/* The product of an array that overflows is no small number */
	KUNIT_EXPECT_NULL(test, spanheap_alloc_bytes(NULL, array_size(SIZE_MAX / 4 + 2, 4),
						     GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_NULL(test, spanheap_alloc_bytes(ERR_PTR(-ENOMEM), 1, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->failed_allocs,
			before.failed_allocs + ARRAY_SIZE(bad) + 1);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, before.inuse_bytes);
}

/* Every address of an in-use span, and no other */
static void is_span_knows_its_addresses(struct kunit *test)
{
	u8 *p = spanheap_alloc(NULL, 3, GFP_KERNEL), *big = spanheap_alloc(NULL, 700, GFP_KERNEL);
	static u8 data;
	void *k = kmalloc(100, GFP_KERNEL), *v = vmalloc(100);
	int local;

	KUNIT_ASSERT_TRUE(test, p && big && k && v);
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p));
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p + 1));
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p + 3 * PAGE_SIZE - 1));
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(big + 699 * PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(NULL));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span((void *)-1));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(ERR_PTR(-ENOMEM)));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(k));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(v));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(&data));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(&local));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(spanheap_heap->base - 1));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(page_addr(spanheap_heap,
							    spanheap_heap->arena_pages)));
	spanheap_free(p);
	spanheap_free(big);
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(p));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(big + PAGE_SIZE));
	kfree(k);
	vfree(v);
}

static noinline void release_rcu(struct spanheap *h, const void *addr)
{
	spanheap_heap_free_rcu(h, addr, _RET_IP_);
}

/* Nothing happens to the memory before the grace period is over, and then it is free */
static void rcu_free_waits_for_readers(struct kunit *test)
{
	static const u32 sizes[] = { 1, 16, 200, 300 };
	struct spanheap *h = test->priv;
	struct spanheap_stats before;
	struct span_view v;
	u32 i, nr;
	u8 *p;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		nr = sizes[i];
		p = alloc(h, nr);
		KUNIT_ASSERT_NOT_NULL(test, p);
		memset(p, 7, nr * PAGE_SIZE);
		before = *stats(h);
		rcu_read_lock();
		release_rcu(h, p);
		KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p, &v));
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, before.inuse_bytes);
		KUNIT_EXPECT_EQ(test, stats(h)->spans, before.spans);
		KUNIT_EXPECT_NULL(test, memchr_inv(p, 7, nr * PAGE_SIZE));
		rcu_read_unlock();
		rcu_barrier();
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->frees, before.frees + 1);
		/* Where a free without RCU puts it, so that it comes from there again */
		KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes > before.cached_bytes,
				nr <= h->caches.max_pages);
		KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
		check(test, h);
	}
}

/* A span that waits is nobody's to free or to resize; nor is what is no span */
static void rcu_free_is_the_last_use(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p = alloc(h, 4), *q = alloc(h, 4);
	int local;

	rcu_read_lock();
	release_rcu(h, p);
	release_rcu(h, p);
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 2);
	KUNIT_EXPECT_FALSE(test, spanheap_mark_shared(h, p));
	rcu_read_unlock();
	KUNIT_EXPECT_FALSE(test, resize(h, p, 2));
	rcu_barrier();
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 3);
	release_rcu(h, p);		/* freed */
	release_rcu(h, q + PAGE_SIZE);	/* interior */
	release_rcu(h, q + 1);
	release_rcu(h, &local);		/* foreign */
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 7);
	release_rcu(h, NULL);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 7);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 4 * PAGE_SIZE);
	release(h, q);
	check(test, h);
}

static enum spanheap_verdict sweep_dead(void *addr, size_t nr_pages, void *priv)
{
	struct spanheap *h = priv;

	release_rcu(h, addr);	/* the owner's free wins over the verdict */
	rcu_barrier();
	return SPANHEAP_FREE;
}

/* Spans of every kind of client; unregistering waits, and warns of nothing */
static void unregister_waits_for_rcu_frees(struct kunit *test)
{
	static const struct spanheap_client_ops swept = { .sweep = sweep_dead };
	struct spanheap *h = test->priv;
	const struct spanheap_client_attr attrs[] = {
		{ .name = "plain" }, { .name = "limited", .limit_bytes = 9 * PAGE_SIZE },
		{ .name = "shared", .flags = SPANHEAP_SHARED_PAGES },
		{ .name = "guarded", .flags = SPANHEAP_GUARD },
		{ .name = "swept", .ops = &swept, .priv = h },
	};
	struct spanheap_client *c;
	void *p[3];
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(attrs); i++) {
		c = spanheap_heap_register(h, &attrs[i]);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c));
		for (j = 0; j < ARRAY_SIZE(p); j++) {
			p[j] = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, p[j]);
		}
		KUNIT_EXPECT_EQ(test, counts(c).pages, 9);
		release_rcu(h, p[0]);
		release_rcu(h, p[1]);
		if (c->sweep)
			spanheap_cycle(c);
		while (c->sweep && spanheap_sweep(c, 1, SMALL_PAGES) >= 0)
			;
		if (!c->sweep)
			release_rcu(h, p[2]);
		spanheap_heap_unregister(c);
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->orphan_bytes, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
		check(test, h);
	}
}

static void no_fn(void *obj, void *arg)
{
}

/* As with any free */
static void rcu_free_of_a_span_with_finalizers_is_refused(struct kunit *test)
{
	static const struct spanheap_client_ops swept = { .sweep = sweep_dead };
	const struct spanheap_client_attr attr = { .name = "swept", .ops = &swept };
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *p = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);

	KUNIT_ASSERT_EQ(test, spanheap_finalizer_add(h, p, no_fn, NULL, GFP_KERNEL), 0);
	release_rcu(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p), 0);
	release_rcu(h, p);
	spanheap_heap_unregister(c);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
}

/* ---- nodes ---- */

#define OTHER_NODE	7

static void *alloc_node(struct spanheap *h, size_t nr, gfp_t gfp, int node)
{
	return spanheap_heap_alloc_node(h, NULL, nr, gfp | __GFP_NOWARN, node, _RET_IP_);
}

static bool all_of_node(struct spanheap *h, const void *p, u32 nr, int node)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (page_private(fake_page(h, p + i * PAGE_SIZE)) != node)
			return false;
	return true;
}

/* A warm heap has memory of another node, in caches and in the page heap */
static void node_gets_memory_of_its_own(struct kunit *test)
{
	static const u32 sizes[] = { 1, 16, 200, 600 };
	struct spanheap *h = test->priv;
	u64 scavenged;
	u8 *p, *q;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fake.node = OTHER_NODE;
		p = alloc(h, sizes[i]);
		release(h, p);
		fake.node = 0;
		p = alloc_node(h, sizes[i], GFP_KERNEL | __GFP_THISNODE, 0);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_TRUE(test, all_of_node(h, p, sizes[i], 0));
		KUNIT_EXPECT_EQ(test, peek(h, page_of(h, p)).nr_released, 0u);
		q = alloc_node(h, sizes[i], GFP_KERNEL | __GFP_ZERO, 0);
		KUNIT_ASSERT_NOT_NULL(test, q);
		KUNIT_EXPECT_TRUE(test, all_of_node(h, q, sizes[i], 0));
		KUNIT_EXPECT_NULL(test, memchr_inv(q, 0, sizes[i] * PAGE_SIZE));
		check(test, h);
		release(h, p);
		release(h, q);
		/* Pages that are of the node already stay, and cost no flush */
		spanheap_cache_drain(h);
		spanheap_scavenge(h, 0, U64_MAX);
		release(h, alloc_node(h, sizes[i], GFP_KERNEL, 0));
		spanheap_cache_drain(h);
		scavenged = stats(h)->scavenged_bytes;
		p = alloc_node(h, sizes[i], GFP_KERNEL, 0);
		KUNIT_EXPECT_TRUE(test, all_of_node(h, p, sizes[i], 0));
		KUNIT_EXPECT_EQ(test, stats(h)->scavenged_bytes, scavenged);
		release(h, p);
		spanheap_cache_drain(h);
		spanheap_scavenge(h, 0, U64_MAX);
		check(test, h);
	}
}

/* More pages than one flush is for, with pages of the right node in between */
static void node_changes_a_long_span_in_batches(struct kunit *test)
{
	u32 nr = BATCH_PAGES + 100, i;
	struct spanheap *h = test_heap_new(test, &fake_ops, nr + 300, 0);
	u8 *p = alloc(h, nr);

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (i = 0; i < nr; i++)
		set_page_private(fake_page(h, p + i * PAGE_SIZE), i % 10 ? OTHER_NODE : 0);
	release(h, p);
	fake.flushes = 0;
	p = alloc_node(h, nr, GFP_KERNEL, 0);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_TRUE(test, all_of_node(h, p, nr, 0));
	KUNIT_EXPECT_EQ(test, fake.flushes, 1u);
	KUNIT_EXPECT_EQ(test, stats(h)->scavenged_bytes, (nr - DIV_ROUND_UP(nr, 10)) * PAGE_SIZE);
	check(test, h);
	release(h, p);
	test_heap_end(h);
}

/* Without blocking, no page can be taken from the arena: none is of the wrong node, or no span */
static void node_without_blocking(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p, *q;

	fake.node = OTHER_NODE;
	p = alloc(h, 300);
	release(h, p);
	p = alloc_node(h, 300, GFP_NOWAIT, 0);
	KUNIT_EXPECT_NOT_NULL(test, p);		/* preferred only */
	release(h, p);
	KUNIT_EXPECT_NULL(test, alloc_node(h, 300, GFP_NOWAIT | __GFP_THISNODE, 0));
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
	q = alloc_node(h, 300, GFP_NOWAIT | __GFP_THISNODE, 0);
	KUNIT_EXPECT_NULL(test, q);
	spanheap_scavenge(h, 0, U64_MAX);
	p = alloc_node(h, 300, GFP_NOWAIT | __GFP_THISNODE, 0);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_TRUE(test, all_of_node(h, p, 300, 0));
	release(h, p);
	check(test, h);
}

static void bad_node_is_refused(struct kunit *test)
{
	static const int bad[] = { -2, INT_MIN, INT_MAX, MAX_NUMNODES, MAX_NUMNODES + 1 };
	struct spanheap *h = test->priv;
	u32 i, node;
	u8 *p;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_EXPECT_NULL(test, alloc_node(h, 1, GFP_KERNEL, bad[i]));
		KUNIT_EXPECT_NULL(test, alloc_node(h, 1, GFP_KERNEL | __GFP_THISNODE, bad[i]));
	}
	for (node = 0; node < MAX_NUMNODES; node++) {
		p = alloc_node(h, 1, GFP_KERNEL, node);
		KUNIT_EXPECT_EQ(test, !!p, !!node_online(node));
		release(h, p);
		p = alloc_node(h, 1, GFP_KERNEL | __GFP_THISNODE, node);
		KUNIT_EXPECT_EQ(test, !!p, !!node_state(node, N_MEMORY));
		release(h, p);
	}
	KUNIT_EXPECT_NULL(test, alloc_node(h, 0, GFP_KERNEL, 0));
	KUNIT_EXPECT_NULL(test, alloc_node(h, SIZE_MAX, GFP_KERNEL, 0));
	p = alloc_node(h, 3, GFP_KERNEL, NUMA_NO_NODE);
	KUNIT_EXPECT_NOT_NULL(test, p);
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
}

/* ---- many at once ---- */

#define MANY	150u

static noinline u32 alloc_bulk(struct spanheap *h, struct spanheap_client *c, size_t nr,
			       gfp_t gfp, u32 n, void **addrs)
{
	return spanheap_heap_alloc_bulk(h, c, nr, gfp | __GFP_NOWARN, n, addrs, _RET_IP_);
}

static noinline void free_bulk(struct spanheap *h, u32 n, void **addrs)
{
	spanheap_heap_free_bulk(h, n, addrs, _RET_IP_);
}

/* As many single allocations and frees, by contents and by all counters, cold and warm */
static void bulk_is_as_many_singles(struct kunit *test)
{
	static const u32 sizes[] = { 1, 3, 13 };
	struct spanheap *h = test->priv;
	static void *p[MANY];
	u32 i, j, round;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (round = 0; round < 3; round++) {
			u64 bytes = sizes[i] * PAGE_SIZE;
			struct spanheap_stats before = *stats(h);
			gfp_t gfp = round == 1 ? __GFP_ZERO : 0;

			KUNIT_ASSERT_EQ(test, alloc_bulk(h, NULL, sizes[i], GFP_KERNEL | gfp,
							 MANY, p), MANY);
			for (j = 0; j < MANY; j++) {
				KUNIT_EXPECT_TRUE(test, !gfp || !memchr_inv(p[j], 0, bytes));
				memset(p[j], j, bytes);
			}
			KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, MANY * bytes);
			KUNIT_EXPECT_EQ(test, stats(h)->spans, MANY);
			KUNIT_EXPECT_EQ(test, stats(h)->objects, MANY);
			KUNIT_EXPECT_EQ(test, stats(h)->allocs, before.allocs + MANY);
			KUNIT_EXPECT_EQ(test, counts(h->anon).pages, MANY * sizes[i]);
			KUNIT_EXPECT_EQ(test, gfp ? stats(h)->zeroed_bytes +
					stats(h)->zero_skipped_bytes - before.zeroed_bytes -
					before.zero_skipped_bytes : 0, gfp ? MANY * bytes : 0);
			for (j = 0; j < MANY; j++)
				KUNIT_EXPECT_NULL(test, memchr_inv(p[j], j, bytes));
			check(test, h);
			free_bulk(h, MANY, p);
			KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
			KUNIT_EXPECT_EQ(test, stats(h)->frees, before.frees + MANY);
			KUNIT_EXPECT_EQ(test, counts(h->anon).pages, 0);
			KUNIT_EXPECT_EQ(test, counts(h->anon).frees, before.frees + MANY);
			check(test, h);
		}
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 0);
}

static void bulk_of_nothing_and_of_nonsense(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p[2] = { NULL, NULL };

	KUNIT_EXPECT_EQ(test, alloc_bulk(h, NULL, 1, GFP_KERNEL, 0, p), 0u);
	KUNIT_EXPECT_EQ(test, alloc_bulk(h, NULL, 1, GFP_KERNEL, 0, NULL), 0u);
	free_bulk(h, 0, NULL);
	free_bulk(h, 2, p);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 0);
	KUNIT_EXPECT_EQ(test, alloc_bulk(h, NULL, 0, GFP_KERNEL, 2, p), 0u);
	KUNIT_EXPECT_EQ(test, alloc_bulk(h, NULL, SIZE_MAX, GFP_KERNEL, 2, p), 0u);
	KUNIT_EXPECT_EQ(test, alloc_bulk(h, NULL, 1UL << 32, GFP_KERNEL, 2, p), 0u);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 3);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

/* Each bad element is counted once, and the good ones beside it are freed */
static void bulk_free_of_bad_addresses(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *a = alloc(h, 2), *b = alloc(h, 20), *c = alloc(h, 2), *kept = alloc(h, 4), *freed;
	void *objects = alloc_as(h, NULL, 2, 0, 100, GFP_KERNEL);
	int local;
	void *p[] = { a, a, NULL, &local, b + PAGE_SIZE, b, kept + 8, objects, NULL, c, b };

	freed = alloc(h, 2);
	release(h, freed);
	p[8] = freed;
	free_bulk(h, ARRAY_SIZE(p), p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 6);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 1);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 1);
	release(h, kept);
	check(test, h);
}

/* Clients of every kind, mixed in one free; a limit ends an allocation where it should */
static void bulk_knows_its_clients(struct kunit *test)
{
	static const struct spanheap_client_ops swept = { .sweep = sweep_dead };
	struct spanheap *h = test->priv;
	const struct spanheap_client_attr attrs[] = {
		{ .name = "plain" }, { .name = "limited", .limit_bytes = 62 * PAGE_SIZE },
		{ .name = "shared", .flags = SPANHEAP_SHARED_PAGES },
		{ .name = "guarded", .flags = SPANHEAP_GUARD },
		{ .name = "swept", .ops = &swept, .priv = h },
		{ .name = "trusting", .flags = SPANHEAP_SKIP_INIT },
	};
	struct spanheap_client *c[ARRAY_SIZE(attrs)];
	static void *p[ARRAY_SIZE(attrs) * 30], *one[30];
	u32 i, j, n, got;

	for (i = 0; i < ARRAY_SIZE(attrs); i++) {
		c[i] = spanheap_heap_register(h, &attrs[i]);
		KUNIT_ASSERT_FALSE(test, IS_ERR(c[i]));
	}
	for (n = 0; n < 3; n++) {
		memset(p, 0, sizeof(p));
		for (i = 0; i < ARRAY_SIZE(attrs); i++) {
			got = alloc_bulk(h, c[i], 3, GFP_KERNEL, 30, one);
			KUNIT_EXPECT_EQ(test, got, i == 1 ? 20u : 30u);
			KUNIT_EXPECT_EQ(test, counts(c[i]).pages, got * 3);
			KUNIT_EXPECT_EQ(test, counts(c[i]).allocs, (n + 1) * got);
			for (j = 0; j < got; j++)
				p[j * ARRAY_SIZE(attrs) + i] = one[j];
		}
		check(test, h);
		free_bulk(h, ARRAY_SIZE(p), p);
		for (i = 0; i < ARRAY_SIZE(attrs); i++) {
			KUNIT_EXPECT_EQ(test, counts(c[i]).pages, 0);
			KUNIT_EXPECT_EQ(test, counts(c[i]).frees, counts(c[i]).allocs);
		}
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, n + 1);
		check(test, h);
	}
	for (i = 0; i < ARRAY_SIZE(attrs); i++)
		spanheap_heap_unregister(c[i]);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

/* A full arena: what fits is there */
static void bulk_ends_where_the_arena_does(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static void *p[ARENA];
	u32 n = alloc_bulk(h, NULL, 16, GFP_KERNEL, ARENA, p);

	KUNIT_EXPECT_EQ(test, n, ARENA / 16);
	KUNIT_EXPECT_EQ(test, stats(h)->failed_allocs, 1);
	free_bulk(h, n, p);
	n = alloc_bulk(h, NULL, 1, GFP_KERNEL, ARENA, p);
	KUNIT_EXPECT_EQ(test, n, ARENA);
	check(test, h);
	free_bulk(h, n, p);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	check(test, h);
}

/* ---- scatterlists ---- */

static void sg_table_is_the_span(struct kunit *test)
{
	static const u32 sizes[] = { 1, 37, 300 };
	u32 i, j, entries, pages;
	struct scatterlist *sg;
	struct sg_table sgt;
	struct page *page;
	u8 *p, *buf;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i] * PAGE_SIZE;

		p = spanheap_alloc(NULL, sizes[i], GFP_KERNEL);
		buf = vmalloc(size);
		KUNIT_ASSERT_TRUE(test, p && buf);
		for (j = 0; j < sizes[i]; j++)
			memset(p + j * PAGE_SIZE, j + 1, PAGE_SIZE);
		KUNIT_ASSERT_EQ(test, spanheap_sg_table(p, &sgt, GFP_KERNEL), 0);
		KUNIT_EXPECT_EQ(test, sg_copy_to_buffer(sgt.sgl, sgt.nents, buf, size), size);
		KUNIT_EXPECT_EQ(test, memcmp(p, buf, size), 0);
		entries = 0;
		pages = 0;
		for_each_sgtable_sg(&sgt, sg, j) {
			page = vmalloc_to_page(p + pages * PAGE_SIZE);
			KUNIT_EXPECT_PTR_EQ(test, sg_page(sg), page);
			pages += sg->length >> PAGE_SHIFT;
			entries++;
		}
		KUNIT_EXPECT_EQ(test, pages, sizes[i]);
		KUNIT_EXPECT_EQ(test, entries, sgt.nents);
		/* As few entries as there can be */
		for (j = 1; j < sizes[i]; j++)
			entries -= vmalloc_to_pfn(p + j * PAGE_SIZE) !=
				   vmalloc_to_pfn(p + (j - 1) * PAGE_SIZE) + 1;
		KUNIT_EXPECT_EQ(test, entries, 1u);
		page = sg_page(sgt.sgl);
		get_page(page);
		spanheap_free(p);	/* shared: the page lives on, and no span has it */
		flush_work(&spanheap_heap->free_work);
		KUNIT_EXPECT_EQ(test, page_count(page), 1);
		p = spanheap_alloc(NULL, sizes[i], GFP_KERNEL);
		for (j = 0; j < sizes[i]; j++)
			KUNIT_EXPECT_PTR_NE(test, vmalloc_to_page(p + j * PAGE_SIZE), page);
		spanheap_free(p);
		put_page(page);
		sg_free_table(&sgt);
		vfree(buf);
	}
}

static void sg_table_of_no_span(struct kunit *test)
{
	struct sg_table sgt = { .nents = 77 };
	u8 *p = spanheap_alloc(NULL, 3, GFP_KERNEL);
	int local;

	KUNIT_EXPECT_EQ(test, spanheap_sg_table(NULL, &sgt, GFP_KERNEL), -EINVAL);
	KUNIT_EXPECT_EQ(test, spanheap_sg_table(&local, &sgt, GFP_KERNEL), -EINVAL);
	KUNIT_EXPECT_EQ(test, spanheap_sg_table(p + 1, &sgt, GFP_KERNEL), -EINVAL);
	KUNIT_EXPECT_EQ(test, spanheap_sg_table(p + PAGE_SIZE, &sgt, GFP_KERNEL), -EINVAL);
	spanheap_free(p);
	KUNIT_EXPECT_EQ(test, spanheap_sg_table(p, &sgt, GFP_KERNEL), -EINVAL);
	KUNIT_EXPECT_EQ(test, sgt.nents, 77u);
}

/* ---- small and large ---- */

static void kvmalloc_takes_what_fits(struct kunit *test)
{
	struct spanheap_stats before = *stats(spanheap_heap);
	const struct spanheap_client_attr attr = { .name = "small", .limit_bytes = 4 * PAGE_SIZE };
	struct spanheap_client *c = spanheap_client_register(&attr);
	static const struct {
		size_t bytes;
		bool span;
	} sizes[] = {
		{ 1, false }, { PAGE_SIZE, false }, { PAGE_SIZE + 1, true },
		{ 4 * PAGE_SIZE, true },
		{ 4 * PAGE_SIZE + 1, false },	/* beyond the limit: vmalloc() */
	};
	u8 *p;
	u32 i;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		p = spanheap_kvmalloc(c, sizes[i].bytes, GFP_KERNEL | __GFP_ZERO);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_EQ(test, spanheap_is_span(p), sizes[i].span);
		KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, sizes[i].bytes));
		memset(p, 1, sizes[i].bytes);
		spanheap_kvfree(p);
		KUNIT_EXPECT_FALSE(test, spanheap_is_span(p));
	}
	/* Flags that no span can have: kvmalloc() knows them */
	p = spanheap_kvmalloc(c, 3 * PAGE_SIZE, GFP_KERNEL_ACCOUNT);
	KUNIT_EXPECT_TRUE(test, p && !spanheap_is_span(p));
	spanheap_kvfree(p);
	p = spanheap_kvmalloc(c, 3 * PAGE_SIZE, GFP_KERNEL | __GFP_NOFAIL);
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p));
	spanheap_kvfree(p);
	{
		void *scoped __free(spanheap_kv) = spanheap_kvmalloc(c, 2 * PAGE_SIZE, GFP_KERNEL);

		KUNIT_EXPECT_TRUE(test, spanheap_is_span(scoped));
	}
	KUNIT_EXPECT_PTR_EQ(test, spanheap_kvmalloc(c, 0, GFP_KERNEL), ZERO_SIZE_PTR);
	KUNIT_EXPECT_NULL(test, spanheap_kvmalloc(ERR_PTR(-ENOMEM), 1, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, spanheap_kvmalloc(c, (size_t)INT_MAX + 1,
						  GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_NULL(test, spanheap_kvmalloc(c, SIZE_MAX, GFP_KERNEL | __GFP_NOWARN));
	KUNIT_EXPECT_EQ(test, counts(c).pages, 0);
	spanheap_client_unregister(c);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, before.invalid_frees);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, before.inuse_bytes);
}

/* Nothing in the arena gets to vfree(), which would unmap all of it */
static void kvfree_keeps_the_arena(struct kunit *test)
{
	u64 invalid = stats(spanheap_heap)->invalid_frees;
	u8 *p = spanheap_kvmalloc(NULL, 3 * PAGE_SIZE, GFP_KERNEL), *v = vmalloc(100);
	char why[128];

	spanheap_kvfree(p + PAGE_SIZE);
	spanheap_kvfree(p + 8);
	spanheap_kvfree(p);
	spanheap_kvfree(p);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, invalid + 3);
	spanheap_kvfree(NULL);
	spanheap_kvfree(ZERO_SIZE_PTR);
	spanheap_kvfree(v);
	spanheap_kvfree(kmalloc(10, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, invalid + 3);
	KUNIT_EXPECT_EQ(test, spanheap_check(spanheap_heap, why, sizeof(why)), 0);
}

/* ---- what ends with a device ---- */

/* In the order of a probe function, without a remove function */
static void device_takes_all_with_it(struct kunit *test)
{
	const struct spanheap_client_attr attr = { .name = "of a device" };
	struct spanheap_stats before = *stats(spanheap_heap);
	struct device *dev = root_device_register("spanheap_kunit");
	struct spanheap_client *c;
	void *p, *q, *other;

	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	KUNIT_EXPECT_PTR_EQ(test, devm_spanheap_client_register(dev, NULL), ERR_PTR(-EINVAL));
	c = devm_spanheap_client_register(dev, &attr);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	KUNIT_EXPECT_PTR_EQ(test, devm_spanheap_client_register(dev, &attr), ERR_PTR(-EEXIST));
	p = devm_spanheap_alloc(dev, c, 5, GFP_KERNEL);
	q = devm_spanheap_alloc(dev, c, 300, GFP_KERNEL);
	other = spanheap_alloc(NULL, 2, GFP_KERNEL);
	KUNIT_EXPECT_TRUE(test, p && q && other);
	devm_spanheap_free(dev, p);
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(p));
	devm_spanheap_free(dev, NULL);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, before.invalid_frees);
	devm_spanheap_free(dev, p);		/* freed */
	devm_spanheap_free(dev, q + PAGE_SIZE);
	devm_spanheap_free(dev, other);		/* not of this device */
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, before.invalid_frees + 3);
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(q) && spanheap_is_span(other));
	spanheap_free(other);
	root_device_unregister(dev);
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(q));
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, before.inuse_bytes);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->orphan_bytes, before.orphan_bytes);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, before.invalid_frees + 3);
	c = spanheap_client_register(&attr);	/* the name is free */
	KUNIT_EXPECT_FALSE(test, IS_ERR(c));
	spanheap_client_unregister(c);
}

static struct kunit_case driver_cases[] = {
	KUNIT_CASE(is_span_knows_its_addresses),
	KUNIT_CASE(rcu_free_waits_for_readers),
	KUNIT_CASE(rcu_free_is_the_last_use),
	KUNIT_CASE(unregister_waits_for_rcu_frees),
	KUNIT_CASE(rcu_free_of_a_span_with_finalizers_is_refused),
	KUNIT_CASE(bytes_are_rounded_up_to_pages),
	KUNIT_CASE(node_gets_memory_of_its_own),
	KUNIT_CASE(node_changes_a_long_span_in_batches),
	KUNIT_CASE(node_without_blocking),
	KUNIT_CASE(bad_node_is_refused),
	KUNIT_CASE(bulk_is_as_many_singles),
	KUNIT_CASE(bulk_of_nothing_and_of_nonsense),
	KUNIT_CASE(bulk_free_of_bad_addresses),
	KUNIT_CASE(bulk_knows_its_clients),
	KUNIT_CASE(bulk_ends_where_the_arena_does),
	KUNIT_CASE(sg_table_is_the_span),
	KUNIT_CASE(sg_table_of_no_span),
	KUNIT_CASE(kvmalloc_takes_what_fits),
	KUNIT_CASE(kvfree_keeps_the_arena),
	KUNIT_CASE(device_takes_all_with_it),
	{}
};

static struct kunit_suite driver_suite = {
	.name = "spanheap_driver",
	.init = test_heap_init,
	.exit = test_heap_exit,
	.test_cases = driver_cases,
};

static struct kunit_suite cached_driver_suite = {
	.name = "spanheap_driver_cached",
	.init = test_tuned_heap_init,
	.exit = test_heap_exit,
	.test_cases = driver_cases,
};

kunit_test_suites(&driver_suite, &cached_driver_suite);
