// SPDX-License-Identifier: GPL-2.0
/*
 * The per-CPU caches: where spans are kept, how they are counted, and how the caches are
 * emptied. Cases run on one CPU; cache_kb of the suite's heap is 256.
 */
#include <linux/jump_label.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/prandom.h>

#include <compat/kasan.h>

#include "fake_arena.h"

static u64 cached_pages(struct spanheap *h)
{
	return stats(h)->cached_bytes >> PAGE_SHIFT;
}

static u32 mag_size(struct spanheap *h, u32 nr)
{
	return raw_cpu_ptr(h->caches.cpu)->bin[nr].size;
}

/* Full magazines in the depot */
static u32 depot_full(struct spanheap *h, u32 nr)
{
	struct magazine *m = h->caches.node[numa_node_id()]->depot[nr].full;
	u32 n = 0;

	for (; m; m = m->next)
		n++;
	return n;
}

static u32 shelf_nr(struct spanheap *h, u32 nr)
{
	return h->caches.node[numa_node_id()]->shelf[nr].nr;
}

/* No span is in use, and the caches hold exactly kept spans of nr pages */
static void expect_cached(struct kunit *test, struct spanheap *h, u32 nr, u32 kept)
{
	u64 slow = h->allocs;
	u32 i;

	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	for (i = 0; i < kept; i++)
		KUNIT_EXPECT_NOT_NULL(test, alloc(h, nr));
	KUNIT_EXPECT_EQ(test, h->allocs, slow);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
	KUNIT_EXPECT_NOT_NULL(test, alloc(h, nr));
	KUNIT_EXPECT_EQ(test, h->allocs, slow + 1);
	check(test, h);
}

/* M35: a hit returns the span freed last, takes no lock and is counted on its CPU */
static void freed_span_is_handed_out_again(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p, *q;
	u64 slow;
	u32 nr;

	for (nr = 1; nr <= CACHE_PAGES; nr++) {
		p = alloc(h, nr);
		q = alloc(h, nr);
		slow = h->allocs + h->frees;
		release(h, p);
		release(h, q);
		KUNIT_EXPECT_EQ(test, cached_pages(h), 2 * nr);
		KUNIT_EXPECT_PTR_EQ(test, alloc(h, nr), q);
		KUNIT_EXPECT_PTR_EQ(test, alloc(h, nr), p);
		KUNIT_EXPECT_EQ(test, h->allocs + h->frees, slow);
		KUNIT_EXPECT_EQ(test, stats(h)->allocs, 4 * nr);
		KUNIT_EXPECT_EQ(test, stats(h)->frees, 2 * nr);
		check(test, h);
	}
	p = alloc(h, SLOT_PAGES + 1);
	release(h, p);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
	check(test, h);
}

/* M35: of longer spans a CPU keeps the last few, whatever their sizes */
static void longer_spans_have_slots(struct kunit *test)
{
	static const u32 nr[CACHE_SLOTS + 1] = { 17, 100, SLOT_PAGES, 99, 18 };
	struct spanheap *h = test->priv;
	void *p[CACHE_SLOTS + 1];
	u64 slow, kept = 0;
	u32 i;

	for (i = 0; i <= CACHE_SLOTS; i++)
		p[i] = alloc(h, nr[i]);
	slow = h->allocs + h->frees;
	for (i = 0; i < CACHE_SLOTS; i++) {
		release(h, p[i]);
		kept += nr[i];
		KUNIT_EXPECT_EQ(test, cached_pages(h), kept);
	}
	for (i = 0; i < CACHE_SLOTS; i++) {
		KUNIT_EXPECT_PTR_EQ(test, alloc(h, nr[i]), p[i]);
		release(h, p[i]);
		check(test, h);
	}
	for (i = 0; i < CACHE_SLOTS; i++)
		KUNIT_EXPECT_EQ(test, shelf_nr(h, nr[i]), 0u);
	release(h, p[CACHE_SLOTS]);	/* replaces the first span */
	KUNIT_EXPECT_EQ(test, cached_pages(h), kept + nr[CACHE_SLOTS]);
	KUNIT_EXPECT_EQ(test, shelf_nr(h, nr[0]), 1u);
	check(test, h);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, nr[CACHE_SLOTS]), p[CACHE_SLOTS]);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, nr[0]), p[0]);
	KUNIT_EXPECT_EQ(test, shelf_nr(h, nr[0]), 0u);
	KUNIT_EXPECT_EQ(test, h->allocs + h->frees, slow);
	release(h, p[0]);
	release(h, p[CACHE_SLOTS]);
	check(test, h);
	spanheap_cache_drain(h);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
	KUNIT_EXPECT_EQ(test, shelf_nr(h, nr[0]) + shelf_nr(h, nr[1]), 0u);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
	check(test, h);
}

/* A new span replaces the one that has been in its slot the longest */
static void oldest_slot_makes_room(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p[3 * CACHE_SLOTS];
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = alloc(h, 17 + i);
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		release(h, p[i]);
		for (k = 0; k <= i; k++)
			KUNIT_EXPECT_EQ_MSG(test, shelf_nr(h, 17 + k), k + CACHE_SLOTS <= i,
					    "span %u after span %u", k, i);
	}
	check(test, h);
}

/* Below its limit, a limited client allocates and frees without the slow path */
static void limited_client_is_served_by_the_cache(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 4);
	void *p = alloc_as(h, c, 4, 0, 0, GFP_KERNEL);
	u64 slow = h->allocs + h->frees;
	u32 i;

	for (i = 0; i < 100; i++) {
		release(h, p);
		p = alloc_as(h, c, 4, 0, 0, GFP_KERNEL);
		KUNIT_EXPECT_NOT_NULL(test, p);
	}
	KUNIT_EXPECT_EQ(test, h->allocs + h->frees, slow);
	release(h, p);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* A shelf holds 1/64 of the arena; further spans go to the page heap */
static void full_shelf_overflows_to_the_heap(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, 3 * ARENA, 256);
	u32 kept = CACHE_SLOTS + 4, round, i;	/* a shelf of 96 pages: 4 spans of 24 */
	void *p[CACHE_SLOTS + 4 + 3];

	for (round = 0; round < 2; round++) {	/* again after the caches were emptied */
		spanheap_cache_drain(h);
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = alloc(h, 24);
			KUNIT_ASSERT_NOT_NULL(test, p[i]);
		}
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			release(h, p[i]);
			KUNIT_EXPECT_EQ(test, cached_pages(h), 24 * min(i + 1, kept));
			check(test, h);
		}
		KUNIT_EXPECT_EQ(test, shelf_nr(h, 24), 4u);
	}
	expect_cached(test, h, 24, kept);
	test_heap_end(h);
}

/*
 * No operation waits for ever for a depot or a shelf: it uses the page heap instead. The
 * test takes the locks as if by another CPU, without telling lockdep, because this CPU
 * then does things that are not allowed under these locks.
 */
static void held_depot_is_done_without(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, 3 * ARENA, 64);
	struct cache_node *node = h->caches.node[numa_node_id()];
	u32 i, mag = mag_size(h, 2);	/* 16 */
	u64 slow;
	void *p[100], *q[CACHE_SLOTS + 2];

	if (!IS_ENABLED(CONFIG_SMP)) {
		test_heap_end(h);
		kunit_skip(test, "without SMP, a lock is never found held");
	}
	for (i = 0; i < 100; i++)
		p[i] = alloc(h, 2);
	for (i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = alloc(h, 24);
	for (i = 0; i < 3 * mag; i++)		/* fill two on the CPU and one in the depot */
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, depot_full(h, 2), 1u);
	arch_spin_lock(&node->depot[2].lock.raw_lock);
	for (; i < 5 * mag; i++)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, depot_full(h, 2), 1u);
	KUNIT_EXPECT_GT(test, h->uncached_pages, 0);
	check(test, h);
	for (i = 0; i < 5 * mag; i++)
		p[i] = alloc(h, 2);
	KUNIT_EXPECT_EQ(test, depot_full(h, 2), 1u);
	arch_spin_unlock(&node->depot[2].lock.raw_lock);
	check(test, h);

	for (i = 0; i <= CACHE_SLOTS; i++)
		release(h, q[i]);
	KUNIT_EXPECT_EQ(test, shelf_nr(h, 24), 1u);
	arch_spin_lock(&node->shelf[24].lock.raw_lock);
	slow = h->uncached_pages;
	release(h, q[i]);
	KUNIT_EXPECT_EQ(test, h->uncached_pages, slow + 24);
	for (i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = alloc(h, 24);
	KUNIT_EXPECT_EQ(test, shelf_nr(h, 24), 1u);
	arch_spin_unlock(&node->shelf[24].lock.raw_lock);
	check(test, h);
	test_heap_end(h);
}

/* Runs on another CPU, if there is one */
static int pairs_fn(void *data)
{
	struct spanheap *h = data;

	while (!kthread_should_stop()) {
		spanheap_heap_free(h, alloc(h, 3), 0);
		cond_resched();
	}
	return 0;
}

/* Caches take no lock, so the invariant check must bear concurrent changes of cached spans */
static void check_bears_a_busy_cache(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 64);
	struct task_struct *task = kthread_run(pairs_fn, h, "spanheap_pairs");
	char why[128] = "";
	int err = 0;
	u32 i;

	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 20000 && !err; i++) {
		err = spanheap_check(h, why, sizeof(why));
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s", why);
	KUNIT_EXPECT_GT(test, stats(h)->frees, 0);
	test_heap_end(h);
}

/* M34: cached spans are idle, backed, and found by no look-up */
static void cached_spans_are_idle(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 8);
	struct span_view s;

	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, stats(h)->idle_bytes, stats(h)->sys_bytes);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, peek_state(h, 0), SPAN_CACHED);
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p, &s));
	KUNIT_EXPECT_FALSE(test, spanheap_heap_lookup(h, p + 7 * PAGE_SIZE, &s));
	check(test, h);
	spanheap_cache_drain(h);
	KUNIT_EXPECT_EQ(test, stats(h)->cached_bytes, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->idle_bytes, stats(h)->sys_bytes);
	KUNIT_EXPECT_EQ(test, stats(h)->resident_bytes, 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, h->nr_free, 1u);	/* coalesced */
	check(test, h);
}

/* Spans fill two magazines on the CPU, then the depot, then go to the page heap */
static void magazines_overflow_to_depot_and_heap(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 16);
	u32 kept = (2 + DEPOT_MAGS) * 4, round, i;	/* spans of 2 pages, 4 per magazine */
	static void *p[200];
	u64 before;

	KUNIT_EXPECT_EQ(test, mag_size(h, 2), 4u);
	for (round = 0; round < 2; round++) {	/* again after they were emptied */
		spanheap_cache_drain(h);
		before = h->uncached_pages;
		for (i = 0; i < 200; i++)
			p[i] = alloc(h, 2);
		for (i = 0; i < 200; i++) {
			release(h, p[i]);
			check(test, h);
			if (i < 8)
				KUNIT_EXPECT_EQ(test, depot_full(h, 2), 0u);
		}
		KUNIT_EXPECT_EQ(test, depot_full(h, 2), DEPOT_MAGS);
		KUNIT_EXPECT_EQ(test, cached_pages(h), 2 * kept);
		KUNIT_EXPECT_EQ(test, h->uncached_pages - before, 2 * (200 - kept));
	}
	expect_cached(test, h, 2, kept);
	test_heap_end(h);
}

/* A workload at the boundary of a magazine does not use the depot each time */
static void edge_of_a_magazine_stays_on_the_cpu(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 mag = mag_size(h, 4), i, deep;
	static void *p[100];

	KUNIT_ASSERT_EQ(test, mag, 64u);
	for (i = 0; i < mag + 1; i++)
		p[i] = alloc(h, 4);
	for (i = 0; i < mag; i++)
		release(h, p[i]);
	for (i = 0; i < 50; i++) {
		for (deep = 0; deep < 2; deep++)
			p[deep] = deep ? alloc(h, 4) : p[mag];
		release(h, p[0]);
		release(h, p[1]);
		p[mag] = alloc(h, 4);
		KUNIT_EXPECT_EQ(test, depot_full(h, 4), 0u);
	}
	check(test, h);
}

/* While caches are paused all operations use the page heap; pauses nest */
static void paused_caches_are_passed_by(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 3), *q = alloc(h, 3), *r;

	release(h, p);
	spanheap_cache_pause(&h->caches);
	spanheap_cache_pause(&h->caches);
	release(h, q);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 3);
	spanheap_cache_resume(&h->caches);
	r = alloc(h, 3);
	KUNIT_EXPECT_PTR_EQ(test, r, q);	/* p stays in the cache */
	release(h, r);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 3);
	check(test, h);
	spanheap_cache_drain(h);	/* works during a pause */
	KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
	spanheap_cache_resume(&h->caches);
	release(h, alloc(h, 3));
	KUNIT_EXPECT_EQ(test, cached_pages(h), 3);
	check(test, h);
}

/* An interrupt that finds its CPU in the section takes the slow path */
static void busy_cache_is_passed_by(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc(h, 3), *q = alloc(h, 3), *r;

	release(h, p);
	raw_cpu_ptr(h->caches.cpu)->entered = true;
	release(h, q);
	r = alloc_as(h, NULL, 3, 0, 0, GFP_ATOMIC);
	raw_cpu_ptr(h->caches.cpu)->entered = false;
	KUNIT_EXPECT_PTR_EQ(test, r, q);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 3);
	KUNIT_EXPECT_PTR_EQ(test, alloc(h, 3), p);
	check(test, h);
}

/* M5: a cached span whose pages are known to be zero is not cleared again */
static void known_zero_passes_through_the_cache(struct kunit *test)
{
	struct spanheap *h = test->priv;
	bool was_on = want_init_on_free();
	void *p = zalloc(h, 4);

	KUNIT_EXPECT_EQ(test, stats(h)->zeroed_bytes, 4 * PAGE_SIZE);
	memset(p, 1, 4 * PAGE_SIZE);
	release(h, p);
	KUNIT_EXPECT_PTR_EQ(test, zalloc(h, 4), p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 4 * PAGE_SIZE));
	if (!was_on)
		KUNIT_EXPECT_EQ(test, stats(h)->zeroed_bytes, 8 * PAGE_SIZE);

	memset(p, 1, 4 * PAGE_SIZE);
	static_branch_enable(&init_on_free);
	release(h, p);
	if (!was_on)
		static_branch_disable(&init_on_free);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 4);
	compat_kasan_use(&h->lost, p, 4, true);	/* the test reads a free span */
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 4 * PAGE_SIZE));
	KUNIT_EXPECT_PTR_EQ(test, zalloc(h, 4), p);
	KUNIT_EXPECT_EQ(test, stats(h)->zero_skipped_bytes, (was_on ? 8 : 4) * PAGE_SIZE);
	release(h, p);
	spanheap_cache_drain(h);
	KUNIT_EXPECT_EQ(test, peek(h, 0).needzero, !was_on);
	check(test, h);
}

/* M16: a double free is detected wherever the freed span is cached */
static void double_free_of_a_cached_span_is_detected(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 8);
	void *p[20], *q = alloc(h, 5);
	u32 i, k, bad = 0;

	for (i = 0; i < 20; i++)
		p[i] = alloc(h, 2);
	for (i = 0; i < 20; i++)	/* a magazine holds two, so most are in the depot */
		release(h, p[i]);
	log_start();
	for (i = 0; i < 20; i++) {
		release(h, p[i]);
		release(h, p[i] + PAGE_SIZE);
		KUNIT_EXPECT_FALSE(test, resize(h, p[i], 1));
		bad += 3;
		KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, bad);
	}
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("which is free (cached)"), 3u);	/* call sites */
	KUNIT_EXPECT_EQ(test, stats(h)->frees, 20);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 40);
	check(test, h);
	release(h, q + PAGE_SIZE);	/* inside a span in use */
	release(h, q + 1);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, bad + 2);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 5 * PAGE_SIZE);
	check(test, h);
	spanheap_cache_drain(h);
	for (i = 0; i < 20; i++)
		release(h, p[i]);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, bad + 22);
	for (i = 0; i < 20; i++)	/* no span is cached twice */
		p[i] = alloc(h, 2);
	for (i = 1; i < 20; i++)
		for (k = 0; k < i; k++)
			KUNIT_EXPECT_PTR_NE(test, p[i], p[k]);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 45 * PAGE_SIZE);
	check(test, h);
	test_heap_end(h);
}

/* M35: objects are also counted on the CPU and summed by the reader */
static void objects_are_summed_over_cpus(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc_as(h, NULL, 2, 0, 512, GFP_KERNEL);
	u64 slow = h->extra_objects;
	u32 i;

	KUNIT_EXPECT_EQ(test, stats(h)->objects, 2 * PAGE_SIZE / 512);
	for (i = 0; i < 10; i++) {
		release(h, p);
		KUNIT_EXPECT_EQ(test, stats(h)->objects, 0);
		p = alloc_as(h, NULL, 2, 0, 100 + i, GFP_KERNEL);
		KUNIT_EXPECT_EQ(test, stats(h)->objects, 2 * PAGE_SIZE / (100 + i));
		KUNIT_EXPECT_EQ(test, peek(h, 0).obj_size, 100 + i);
		KUNIT_EXPECT_EQ(test, h->extra_objects, slow);
	}
	release(h, p);
	p = alloc(h, 2);	/* does not keep the old obj_size */
	KUNIT_EXPECT_EQ(test, peek(h, 0).obj_size, 0u);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 1);
	check(test, h);
}

/* M24, M26: a tick empties the caches, and does not count as a use of their spans */
static void scavenger_empties_the_caches(struct kunit *test)
{
	struct spanheap *h = test->priv;

	release(h, alloc(h, 6));
	KUNIT_EXPECT_EQ(test, tick(h), 0);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
	KUNIT_EXPECT_EQ(test, tick(h), 0);
	KUNIT_EXPECT_EQ(test, tick(h), 6);
	release(h, alloc(h, 6));
	KUNIT_EXPECT_EQ(test, spanheap_scavenge(h, 0, U64_MAX), 6);
	KUNIT_EXPECT_EQ(test, fake.nr_backed, 0);
	check(test, h);
}

/* M6, M11: an allocation from a full arena succeeds with pages from the caches */
static void full_arena_takes_back_what_is_cached(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p;

	while ((p = alloc(h, 16)))
		*(void **)p = p;
	check(test, h);
	for (p = h->base; p < page_addr(h, ARENA); p += 16 * PAGE_SIZE)
		release(h, p);
	KUNIT_EXPECT_GT(test, cached_pages(h), 16);
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, ARENA, 0, 0, GFP_NOWAIT));
	p = alloc(h, ARENA);
	KUNIT_EXPECT_PTR_EQ(test, p, h->base);
	KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
	release(h, p);
	check(test, h);
}

/* Any cache_kb works: 1 is the smallest, and no value is too large */
static void any_size_of_magazine_works(struct kunit *test)
{
	static const struct { unsigned int kb; u32 one, sixteen, max; } size[] = {
		{ 1, 1, 1, 16 }, { 4, 1, 1, 16 }, { 63, 15, 3, 60 }, { 64, 16, 4, 64 },
		{ 256, 64, 16, 256 }, { 1 << 20, 256, 256, 256 }, { UINT_MAX, 256, 256, 256 },
	};
	struct rnd_state rnd;
	struct spanheap *h;
	static void *p[100];
	u32 i, n, k;

	prandom_seed_state(&rnd, 16);
	for (i = 0; i < ARRAY_SIZE(size); i++) {
		h = test_heap_new(test, &fake_ops, ARENA, size[i].kb);
		KUNIT_EXPECT_EQ(test, mag_size(h, 1), size[i].one);
		KUNIT_EXPECT_EQ(test, mag_size(h, 16), size[i].sixteen);
		KUNIT_EXPECT_EQ(test, h->caches.max_pages, size[i].max);
		memset(p, 0, sizeof(p));
		for (n = 0; n < 10000; n++) {
			k = prandom_u32_state(&rnd) % 100;
			if (p[k])
				release(h, p[k]);
			p[k] = p[k] ? NULL : alloc(h, 1 + k % 22);
			if (n % 100 == 0)
				check(test, h);
		}
		for (k = 0; k < 100; k++)
			release(h, p[k]);
		KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 0);
		spanheap_cache_drain(h);
		KUNIT_EXPECT_EQ(test, h->nr_free, 1u);
		check(test, h);
		test_heap_end(h);
	}
}

/* ---- aligned spans ---- */

#define ALIGN_SHIFT	(PAGE_SHIFT + 3)	/* 32 KiB, if a page has 4 */

static void *alloc_aligned(struct spanheap *h, size_t nr)
{
	return alloc_as(h, NULL, nr, ALIGN_SHIFT, 0, GFP_KERNEL);
}

/* Again and again: neither the page heap is asked nor a page backed */
static void aligned_span_comes_from_the_cache(struct kunit *test)
{
	static const u32 lengths[] = { 1, 5, CACHE_PAGES, CACHE_PAGES + 1, 100, SLOT_PAGES };
	struct spanheap *h = test->priv;
	u64 slow, backed;
	void *p, *q;
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		p = alloc_aligned(h, lengths[i]);
		slow = h->allocs + h->frees;
		backed = fake.nr_backed;
		for (k = 0; k < 100; k++) {
			release(h, p);
			q = alloc_aligned(h, lengths[i]);
			KUNIT_EXPECT_PTR_EQ_MSG(test, q, p, "%u pages", lengths[i]);
			KUNIT_ASSERT_NOT_NULL(test, q);
			p = q;
		}
		KUNIT_EXPECT_EQ(test, h->allocs + h->frees, slow);
		KUNIT_EXPECT_EQ(test, fake.nr_backed, backed);
		check(test, h);
	}
}

/* ... wherever they went meanwhile: to the depot, to other slots, to a shelf */
static void aligned_spans_come_back_from_depot_and_shelf(struct kunit *test)
{
	static const struct { u32 nr, n; } load[] = {
		{ 5, 300 }, { CACHE_PAGES + 1, CACHE_SLOTS + 3 },
	};
	struct spanheap *h = test_heap_new(test, &fake_ops, 3 * ARENA, 256);
	static void *p[300];
	u64 slow, backed;
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(load); i++) {
		for (k = 0; k < load[i].n; k++)
			p[k] = alloc_aligned(h, load[i].nr);
		for (k = 0; k < load[i].n; k++)
			release(h, p[k]);
		if (load[i].nr <= CACHE_PAGES)
			KUNIT_EXPECT_GT(test, depot_full(h, load[i].nr), 0u);
		else
			KUNIT_EXPECT_EQ(test, shelf_nr(h, load[i].nr), 3u);
		slow = h->allocs;
		backed = fake.nr_backed;
		for (k = 0; k < load[i].n; k++) {
			p[k] = alloc_aligned(h, load[i].nr);
			KUNIT_EXPECT_TRUE(test, IS_ALIGNED((ulong)p[k], 1ul << ALIGN_SHIFT));
		}
		KUNIT_EXPECT_EQ(test, h->allocs, slow);
		KUNIT_EXPECT_EQ(test, fake.nr_backed, backed);
		KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
		check(test, h);
	}
	test_heap_end(h);
}

/* A span below others is taken, and none of the others is lost */
static void aligned_span_is_found_among_others(struct kunit *test)
{
	static const u32 lengths[] = { 2, CACHE_PAGES + 1 };
	struct spanheap *h = test_heap_new(test, &fake_ops, 3 * ARENA, 256);
	void *p, *q[CACHE_SLOTS];
	u32 i, k, at;
	u64 slow;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		p = alloc_aligned(h, lengths[i]);
		for (k = 0; k < ARRAY_SIZE(q); ) {
			q[k] = alloc(h, lengths[i]);
			if (!IS_ALIGNED((ulong)q[k], 1ul << ALIGN_SHIFT))
				k++;	/* an aligned one stays in use */
		}
		for (at = 0; at < ARRAY_SIZE(q); at++) {
			for (k = 0; k < ARRAY_SIZE(q); k++) {
				if (k == at)
					release(h, p);
				release(h, q[k]);
			}
			slow = h->allocs;
			KUNIT_EXPECT_PTR_EQ(test, alloc_aligned(h, lengths[i]), p);
			KUNIT_EXPECT_EQ(test, cached_pages(h), ARRAY_SIZE(q) * lengths[i]);
			check(test, h);
			for (k = 0; k < ARRAY_SIZE(q); k++)
				q[k] = alloc(h, lengths[i]);
			KUNIT_EXPECT_EQ(test, h->allocs, slow);
			KUNIT_EXPECT_EQ(test, cached_pages(h), 0);
			for (k = 0; k < ARRAY_SIZE(q); k++)
				KUNIT_EXPECT_PTR_NE(test, q[k], p);
		}
		check(test, h);
	}
	test_heap_end(h);
}

/* An aligned hit obeys the limit, obj_size and __GFP_ZERO as every other hit does */
static void aligned_hit_obeys_limit_objects_and_zero(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "limited", 5);
	u8 *p = alloc_as(h, c, 5, ALIGN_SHIFT, 0, GFP_KERNEL), *q = alloc_aligned(h, 5);
	u64 slow;

	release(h, q);
	slow = h->allocs;
	KUNIT_EXPECT_NULL(test, alloc_as(h, c, 5, ALIGN_SHIFT, 0, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, cached_pages(h), 5);
	KUNIT_EXPECT_EQ(test, c->failed_allocs, 1);
	release(h, p);
	memset(p, 1, 5 * PAGE_SIZE);
	p = alloc_as(h, c, 5, ALIGN_SHIFT, 100, GFP_NOWAIT | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, h->allocs, slow);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 5 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, counts(c).pages, 5);
	KUNIT_EXPECT_EQ(test, stats(h)->objects, 5 * PAGE_SIZE / 100);
	KUNIT_EXPECT_EQ(test, peek(h, page_of(h, p)).obj_size, 100u);
	check(test, h);
	release(h, p);
	KUNIT_EXPECT_EQ(test, counts(c).pages, 0);
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 5, 62, 0, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 5, UINT_MAX, 0, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, alloc_as(h, NULL, 5, ALIGN_SHIFT, 6 * PAGE_SIZE, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, cached_pages(h), 10);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* A cached span has no guard page and no mark as shared: no cache serves such clients */
static void aligned_hit_is_for_no_uncached_client(struct kunit *test)
{
	static const unsigned int flags[] = { SPANHEAP_GUARD, SPANHEAP_SHARED_PAGES };
	struct spanheap *h = test->priv;
	u64 slow = h->allocs;
	struct span s;
	void *p;
	u32 i;

	release(h, alloc_aligned(h, 5));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		const struct spanheap_client_attr attr = { .name = "own", .flags = flags[i] };
		struct spanheap_client *c = spanheap_heap_register(h, &attr);

		p = alloc_as(h, c, 5, ALIGN_SHIFT, 0, GFP_KERNEL);
		s = peek(h, page_of(h, p));
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((ulong)p, 1ul << ALIGN_SHIFT));
		KUNIT_EXPECT_EQ(test, !!s.guarded, flags[i] == SPANHEAP_GUARD);
		KUNIT_EXPECT_EQ(test, !!s.shared, flags[i] == SPANHEAP_SHARED_PAGES);
		KUNIT_EXPECT_EQ(test, h->allocs, slow + 2 + i);
		KUNIT_EXPECT_EQ(test, cached_pages(h), 5);
		check(test, h);
		release(h, p);
		spanheap_heap_unregister(c);
	}
	check(test, h);
}

static struct kunit_case cache_cases[] = {
	KUNIT_CASE(freed_span_is_handed_out_again),
	KUNIT_CASE(longer_spans_have_slots),
	KUNIT_CASE(oldest_slot_makes_room),
	KUNIT_CASE(limited_client_is_served_by_the_cache),
	KUNIT_CASE(full_shelf_overflows_to_the_heap),
	KUNIT_CASE(held_depot_is_done_without),
	KUNIT_CASE(check_bears_a_busy_cache),
	KUNIT_CASE(cached_spans_are_idle),
	KUNIT_CASE(magazines_overflow_to_depot_and_heap),
	KUNIT_CASE(edge_of_a_magazine_stays_on_the_cpu),
	KUNIT_CASE(paused_caches_are_passed_by),
	KUNIT_CASE(busy_cache_is_passed_by),
	KUNIT_CASE(known_zero_passes_through_the_cache),
	KUNIT_CASE(double_free_of_a_cached_span_is_detected),
	KUNIT_CASE(objects_are_summed_over_cpus),
	KUNIT_CASE(scavenger_empties_the_caches),
	KUNIT_CASE(full_arena_takes_back_what_is_cached),
	KUNIT_CASE(any_size_of_magazine_works),
	KUNIT_CASE(aligned_span_comes_from_the_cache),
	KUNIT_CASE(aligned_spans_come_back_from_depot_and_shelf),
	KUNIT_CASE(aligned_span_is_found_among_others),
	KUNIT_CASE(aligned_hit_obeys_limit_objects_and_zero),
	KUNIT_CASE(aligned_hit_is_for_no_uncached_client),
	{}
};

static struct kunit_suite cache_suite = {
	.name = "spanheap_cache",
	.init = test_cached_heap_init,
	.exit = test_heap_exit,
	.test_cases = cache_cases,
};

kunit_test_suite(cache_suite);
