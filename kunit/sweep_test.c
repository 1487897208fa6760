// SPDX-License-Identifier: GPL-2.0
/*
 * Unit tests of generations, sweeping, reclaim before growth and forced collections.
 * Numbers like M24 refer to behaviours that the page heap of the Go 1.3 runtime has.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "fake_arena.h"

#define ASKED_MAX	64

/* A client whose callback frees the spans marked dead, and records its calls */
static struct swept {
	struct spanheap *h;
	struct spanheap_client *client;
	DECLARE_BITMAP(dead, ARENA);	/* by first page */
	u8 asked[ARENA];		/* number of callbacks, by first page */
	u32 order[ASKED_MAX];		/* lengths of the spans, in the order of callbacks */
	u32 nr_asked;
	u32 collected;
	int verdict;			/* verdict for dead spans */
	void (*in_sweep)(struct swept *c, void *addr);
	void (*in_collect)(struct swept *c);
} sc, other;

static enum spanheap_verdict sweep_cb(void *addr, size_t nr_pages, void *priv)
{
	struct swept *c = priv;
	u32 idx = page_of(c->h, addr);
	bool dead = test_bit(idx, c->dead);

	c->asked[idx]++;
	if (c->nr_asked < ASKED_MAX)
		c->order[c->nr_asked] = nr_pages;
	c->nr_asked++;
	if (c->in_sweep)
		c->in_sweep(c, addr);
	return dead ? c->verdict : SPANHEAP_KEEP;
}

static void collect_cb(void *priv)
{
	struct swept *c = priv;

	c->collected++;
	if (c->in_collect)
		c->in_collect(c);
}

static const struct spanheap_client_ops swept_ops = {
	.sweep = sweep_cb,
	.collect = collect_cb,
};

static struct spanheap_client *register_as(struct spanheap *h, const char *name,
					   const struct spanheap_client_ops *ops, void *priv)
{
	const struct spanheap_client_attr attr = {
		.name = name, .ops = ops, .priv = priv,
	};

	return spanheap_heap_register(h, &attr);
}

static void new_swept(struct kunit *test, struct swept *c, const char *name)
{
	memset(c, 0, sizeof(*c));
	c->h = test->priv;
	c->verdict = SPANHEAP_FREE;
	c->client = register_as(c->h, name, &swept_ops, c);
	KUNIT_ASSERT_FALSE(test, IS_ERR(c->client));
}

static int start(struct kunit *test, int err)
{
	if (err)
		return err;
	new_swept(test, &sc, "swept");
	other.client = NULL;
	return 0;
}

static int sweep_init(struct kunit *test)
{
	return start(test, test_heap_init(test));
}

static int sweep_cached_init(struct kunit *test)
{
	return start(test, test_tuned_heap_init(test));
}

static void end_swept(struct swept *c)
{
	u32 idx;

	if (!c->client)
		return;
	for (idx = 0; idx < ARENA; idx++) {
		struct span s = peek(c->h, idx);

		if (s.client == c->client && span_state(&s) == SPAN_INUSE)
			release(c->h, page_addr(c->h, idx));
	}
	spanheap_heap_unregister(c->client);
	c->client = NULL;
}

static void sweep_exit(struct kunit *test)
{
	if (test->priv) {
		end_swept(&sc);
		end_swept(&other);
	}
	test_heap_exit(test);
}

static void *get(struct swept *c, size_t nr)
{
	return alloc_as(c->h, c->client, nr, 0, 0, GFP_KERNEL);
}

static void set_dead(struct swept *c, const void *addr)
{
	set_bit(page_of(c->h, addr), c->dead);
}

static u32 asked(struct swept *c, const void *addr)
{
	return c->asked[page_of(c->h, addr)];
}

/* Sweep all unswept spans. Returns the number of freed pages. */
static long sweep_rest(struct swept *c)
{
	long n, freed = 0;

	while ((n = spanheap_sweep_one(c->client)) >= 0)
		freed += n;
	return freed;
}

/* M4, M8, M21, M22: a cycle sweeps each span once, but no span allocated in the cycle */
static void cycle_test(struct kunit *test)
{
	static const u32 len[] = { 1, 1, 1, 7, 16, 17, 255, 256, 300 };
	void *p[ARRAY_SIZE(len)], *young;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(len); i++) {
		p[i] = get(&sc, len[i]);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);	/* no cycle yet */
	check(test, sc.h);

	spanheap_cycle_begin(sc.client);
	check(test, sc.h);
	young = get(&sc, 7);
	set_dead(&sc, young);
	set_dead(&sc, p[1]);
	set_dead(&sc, p[8]);
	for (i = 0; i < ARRAY_SIZE(len); i++) {
		long n = spanheap_sweep_one(sc.client);

		KUNIT_EXPECT_TRUE(test, n == 0 || n == 1 || n == 300);
		check(test, sc.h);
	}
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);
	KUNIT_EXPECT_EQ(test, sc.nr_asked, (u32)ARRAY_SIZE(len));
	for (i = 0; i < ARRAY_SIZE(len); i++)
		KUNIT_EXPECT_EQ(test, asked(&sc, p[i]), 1u);
	KUNIT_EXPECT_EQ(test, asked(&sc, young), 0u);
	KUNIT_EXPECT_EQ(test, counts(sc.client).pages, 854 + 7 - 301);
	KUNIT_EXPECT_EQ(test, counts(sc.client).frees, 2);

	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, sweep_rest(&sc), 7);
	KUNIT_EXPECT_EQ(test, asked(&sc, young), 1u);
	KUNIT_EXPECT_EQ(test, asked(&sc, p[0]), 2u);
	KUNIT_EXPECT_EQ(test, asked(&sc, p[1]), 1u);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->cached_bytes, 0);	/* no span is cached */
	KUNIT_EXPECT_EQ(test, stats(sc.h)->invalid_frees, 0);
	check(test, sc.h);
}

/* M21: the beginning of a cycle first finishes the previous cycle */
static void finish_test(struct kunit *test)
{
	void *p[20];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = get(&sc, 1 + i % 3);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 20u);
	check(test, sc.h);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 40u);
	for (i = 0; i < ARRAY_SIZE(p); i++)
		KUNIT_EXPECT_EQ(test, asked(&sc, p[i]), 2u);
	check(test, sc.h);
}

/* Generations wrap around between 2^32 - 2 and 0 */
static void wrap_test(struct kunit *test)
{
	void *p[10];
	u32 i, n;

	sc.client->sweep->gen = -4u;
	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = get(&sc, 2);
	for (n = 1; n <= 5; n++) {
		spanheap_cycle_begin(sc.client);
		check(test, sc.h);
		get(&sc, 3);
		KUNIT_EXPECT_EQ(test, sweep_rest(&sc), 0);
		for (i = 0; i < ARRAY_SIZE(p); i++)
			KUNIT_EXPECT_EQ(test, asked(&sc, p[i]), n);
		check(test, sc.h);
	}
	KUNIT_EXPECT_EQ(test, sc.client->sweep->gen, 6u);
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 5 * 10u + 1 + 2 + 3 + 4);
}

/* Fill the heap completely; spans of 5, 8, 3, 1, 1 and 256 pages belong to the client */
static void fill(struct kunit *test, void *p[6])
{
	static const u32 len[] = { 5, 8, 3, 1, 1, 256 };
	u32 i;

	for (i = 0; i < 6; i++) {
		if (i == 5)
			KUNIT_ASSERT_NOT_NULL(test, alloc(sc.h, CHUNK - 18));
		p[i] = get(&sc, len[i]);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	KUNIT_ASSERT_EQ(test, stats(sc.h)->idle_bytes, 0);
	KUNIT_ASSERT_EQ(test, stats(sc.h)->sys_bytes, 2 * CHUNK * PAGE_SIZE);
}

#define EXPECT_ORDER(test, ...) do {					\
	static const u32 want[] = { __VA_ARGS__ };			\
	u32 _i;								\
									\
	KUNIT_ASSERT_EQ(test, sc.nr_asked, (u32)ARRAY_SIZE(want));	\
	for (_i = 0; _i < ARRAY_SIZE(want); _i++)			\
		KUNIT_EXPECT_EQ(test, sc.order[_i], want[_i]);		\
} while (0)

/* M20: reclaim sweeps spans of the length, then longer, large, shorter; then the heap grows */
static void reclaim_order_test(struct kunit *test)
{
	void *p[6];

	fill(test, p);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_NOT_NULL(test, get(&sc, 4));
	EXPECT_ORDER(test, 5, 8, 256, 1, 1, 3);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->sys_bytes, 3 * CHUNK * PAGE_SIZE);
	check(test, sc.h);
}

/* M20: reclaim stops when enough pages are free, and the allocation uses them */
static void reclaim_enough_test(struct kunit *test)
{
	void *p[6];

	fill(test, p);
	set_dead(&sc, p[1]);
	set_dead(&sc, p[5]);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_PTR_EQ(test, get(&sc, 6), p[1]);
	EXPECT_ORDER(test, 8);
	KUNIT_EXPECT_NOT_NULL(test, get(&sc, 2));	/* a free span fits: no sweep */
	EXPECT_ORDER(test, 8);
	KUNIT_EXPECT_PTR_EQ(test, get(&sc, 20), p[5]);
	EXPECT_ORDER(test, 8, 256);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->sys_bytes, 2 * CHUNK * PAGE_SIZE);
	check(test, sc.h);
}

/* M20: if the freed spans are too short, reclaim sweeps on, then the heap grows */
static void reclaim_pieces_test(struct kunit *test)
{
	void *p[6];

	fill(test, p);
	set_dead(&sc, p[0]);
	set_dead(&sc, p[2]);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_NOT_NULL(test, get(&sc, 7));
	EXPECT_ORDER(test, 8, 256, 1, 1, 3, 5);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->sys_bytes, 3 * CHUNK * PAGE_SIZE);
	check(test, sc.h);
}

/* M20: reclaim, for any client, needs a gfp that allows blocking, I/O and file systems */
static void reclaim_gfp_test(struct kunit *test)
{
	static const gfp_t no[] = { GFP_NOWAIT, GFP_ATOMIC, GFP_NOFS, GFP_NOIO };
	unsigned int scope;
	void *p[6];
	u32 i;

	fill(test, p);
	set_dead(&sc, p[5]);
	spanheap_cycle_begin(sc.client);
	for (i = 0; i < ARRAY_SIZE(no); i++)
		KUNIT_EXPECT_NOT_NULL(test, alloc_as(sc.h, NULL, CHUNK, 0, 0, no[i]));
	scope = memalloc_nofs_save();
	KUNIT_EXPECT_NOT_NULL(test, alloc(sc.h, CHUNK));
	memalloc_nofs_restore(scope);
	scope = memalloc_noreclaim_save();	/* reclaim must not wait for a callback */
	KUNIT_EXPECT_NOT_NULL(test, alloc(sc.h, CHUNK / 2));
	memalloc_noreclaim_restore(scope);
	KUNIT_EXPECT_NOT_NULL(test, alloc(sc.h, CHUNK / 2));
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 0u);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->sys_bytes, 8 * CHUNK * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, alloc(sc.h, CHUNK), p[5]);
	EXPECT_ORDER(test, 256);
	check(test, sc.h);
}

/* The allocating client's spans are swept before another's */
static void reclaim_own_first_test(struct kunit *test)
{
	void *p[6], *q;

	new_swept(test, &other, "other");
	q = get(&other, 18);
	KUNIT_ASSERT_NOT_NULL(test, alloc(sc.h, CHUNK - 18));
	p[0] = get(&sc, CHUNK);
	KUNIT_ASSERT_EQ(test, stats(sc.h)->idle_bytes, 0);
	set_dead(&other, q);
	set_dead(&sc, p[0]);
	spanheap_cycle_begin(other.client);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_PTR_EQ(test, get(&sc, 10), p[0]);
	KUNIT_EXPECT_EQ(test, other.nr_asked, 0u);
	KUNIT_EXPECT_NOT_NULL(test, get(&sc, CHUNK - 10));
	KUNIT_EXPECT_PTR_EQ(test, get(&sc, 18), q);
	KUNIT_EXPECT_EQ(test, other.nr_asked, 1u);
	check(test, sc.h);
}

/* Several rounds of a client that drops all its spans. Returns the heap's final size. */
static u64 drop_rounds(struct kunit *test, gfp_t gfp)
{
	u32 round, i;

	for (round = 0; round < 20; round++) {
		/* Existing spans are dead, new ones are not */
		bitmap_fill(sc.dead, ARENA);
		spanheap_cycle_begin(sc.client);
		for (i = 0; i < 20; i++)
			KUNIT_ASSERT_NOT_NULL(test, alloc_as(sc.h, sc.client, 3, 0, 0, gfp));
		check(test, sc.h);
	}
	return stats(sc.h)->sys_bytes;
}

/* Reclaim keeps sys flat where without it the heap would grow */
static void reclaim_flat_test(struct kunit *test)
{
	u64 with, without, once;

	/* Live spans of another client leave room for little more than one round */
	KUNIT_ASSERT_NOT_NULL(test, alloc(sc.h, CHUNK - 60));
	once = stats(sc.h)->sys_bytes;
	with = drop_rounds(test, GFP_KERNEL);
	sweep_rest(&sc);
	spanheap_cycle_begin(sc.client);
	sweep_rest(&sc);
	KUNIT_ASSERT_EQ(test, counts(sc.client).pages, 0);
	without = drop_rounds(test, GFP_NOFS);
	kunit_info(test, "20 rounds of 240 KiB dropped: sys %llu KiB with reclaim, %llu KiB without\n",
		   with >> 10, without >> 10);
	KUNIT_EXPECT_EQ(test, with, once);
	KUNIT_EXPECT_GT(test, without, once);
}

static void *victim, *spawned;

/* A callback that frees another span, allocates and frees a span, and keeps one */
static void busy_callback(struct swept *c, void *addr)
{
	void *p = get(c, 9), *q = get(c, 400);

	if (victim && victim != addr) {
		release(c->h, victim);
		victim = NULL;
	}
	release(c->h, q);
	if (spawned)
		release(c->h, p);
	else
		spawned = p;
}

/* A callback may allocate and free spans, also unswept ones */
static void callback_allocates_test(struct kunit *test)
{
	void *p[30];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = get(&sc, 1 + i % 4);
	spawned = NULL;
	victim = p[29];
	sc.in_sweep = busy_callback;
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, sweep_rest(&sc), 0);
	sc.in_sweep = NULL;
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 29u);	/* no freed span, no new span */
	KUNIT_EXPECT_EQ(test, asked(&sc, p[29]), 0u);
	KUNIT_ASSERT_NOT_NULL(test, spawned);
	KUNIT_EXPECT_EQ(test, counts(sc.client).allocs - counts(sc.client).frees, 30);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->invalid_frees, 0);
	check(test, sc.h);
}

static void free_self(struct swept *c, void *addr)
{
	release(c->h, addr);
}

static void free_and_take_again(struct swept *c, void *addr)
{
	size_t nr = peek(c->h, page_of(c->h, addr)).nr_pages;

	release(c->h, addr);
	spawned = get(c, nr);
}

static void resize_self(struct swept *c, void *addr)
{
	resize(c->h, addr, 3);
}

static void resize_and_free(struct swept *c, void *addr)
{
	resize(c->h, addr, 2);
	free_and_take_again(c, addr);
}

/* Another task must not free pages that the callback may be reading */
static void shrinking_waits_for_the_callback_test(struct kunit *test)
{
	void *p = get(&sc, 8);
	struct span *s = spanheap_span_at(sc.h, p);

	s->sweep = SWEEP_RUNNING;	/* as if a callback ran on another CPU */
	KUNIT_EXPECT_FALSE(test, resize(sc.h, p, 2));
	KUNIT_EXPECT_EQ(test, counts(sc.client).pages, 8);
	KUNIT_EXPECT_TRUE(test, resize(sc.h, p, 10));
	KUNIT_EXPECT_FALSE(test, resize(sc.h, p, 9));	/* the callback still runs */
	s->sweep = SWEEP_NONE;
	KUNIT_EXPECT_TRUE(test, resize(sc.h, p, 2));
	check(test, sc.h);
	release(sc.h, p);
}

/* At its limit a client gets pages of its own dead spans, not of another client's */
static void limit_counts_no_dead_spans_test(struct kunit *test)
{
	void *p = get(&sc, 8), *q;

	new_swept(test, &other, "other");
	q = get(&other, 8);
	set_dead(&other, q);
	spanheap_cycle_begin(other.client);
	spanheap_set_limit(sc.client, 8);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_NULL(test, get(&sc, 9));	/* more than the limit */
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 0u);
	KUNIT_EXPECT_NULL(test, get(&sc, 1));
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 1u);
	set_dead(&sc, p);
	KUNIT_EXPECT_NULL(test, get(&sc, 1));
	spanheap_cycle_begin(sc.client);
	q = get(&sc, 4);
	KUNIT_EXPECT_NOT_NULL(test, q);
	KUNIT_EXPECT_EQ(test, counts(sc.client).pages, 4);
	KUNIT_EXPECT_EQ(test, other.nr_asked, 0u);
	check(test, sc.h);
}

/* If the owner frees the span during the callback, the span is freed once */
static void free_wins_test(struct kunit *test)
{
	void *p = get(&sc, 5);

	set_dead(&sc, p);
	sc.in_sweep = free_self;
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	KUNIT_EXPECT_EQ(test, counts(sc.client).frees, 1);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->invalid_frees, 0);
	check(test, sc.h);

	/* Its address is not allocated again before the callback returns */
	p = get(&sc, 5);
	set_dead(&sc, p);
	sc.in_sweep = free_and_take_again;
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	KUNIT_EXPECT_NOT_NULL(test, spawned);
	KUNIT_EXPECT_PTR_NE(test, spawned, p);
	KUNIT_EXPECT_EQ(test, counts(sc.client).pages, 5);
	KUNIT_EXPECT_EQ(test, counts(sc.client).frees, 2);
	p = spawned;
	set_dead(&sc, p);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);
	check(test, sc.h);

	/* A span that is resized is live, so it is kept */
	sc.in_sweep = resize_self;
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	KUNIT_EXPECT_EQ(test, counts(sc.client).pages, 3);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);	/* once per cycle */
	sc.in_sweep = resize_and_free;
	check(test, sc.h);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	KUNIT_EXPECT_EQ(test, counts(sc.client).pages, 2);
	KUNIT_EXPECT_PTR_NE(test, spawned, p);
	sc.in_sweep = NULL;
	set_dead(&sc, spawned);
	check(test, sc.h);
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 2);
	check(test, sc.h);
}

static void cycle_in_back(struct spanheap *h)
{
	spanheap_cycle_begin(sc.client);
}

/* A resized span stays swept or unswept, on the list of its new length */
static void resize_test(struct kunit *test)
{
	void *p = get(&sc, 5);

	KUNIT_ASSERT_TRUE(test, resize(sc.h, p, 7));
	check(test, sc.h);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);
	spanheap_cycle_begin(sc.client);
	KUNIT_ASSERT_TRUE(test, resize(sc.h, p, 300));
	check(test, sc.h);
	KUNIT_ASSERT_TRUE(test, resize(sc.h, p, 2));
	check(test, sc.h);
	KUNIT_EXPECT_FALSE(test, resize(sc.h, p, ARENA + 1));
	check(test, sc.h);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);
	EXPECT_ORDER(test, 2);
	KUNIT_ASSERT_TRUE(test, resize(sc.h, p, 4));
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);

	/* Two cycles begin while the span is being resized */
	fake.in_back = cycle_in_back;
	KUNIT_ASSERT_TRUE(test, resize(sc.h, p, 310));
	KUNIT_ASSERT_PTR_EQ(test, fake.in_back, NULL);
	check(test, sc.h);
	fake.in_back = cycle_in_back;
	KUNIT_ASSERT_TRUE(test, resize(sc.h, p, 610));
	KUNIT_ASSERT_PTR_EQ(test, fake.in_back, NULL);
	check(test, sc.h);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);
	EXPECT_ORDER(test, 2, 610);
	check(test, sc.h);
}

/* After an unregistration during a cycle, the spans are not swept, and can be freed */
static void unregister_test(struct kunit *test)
{
	void *p[8];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = get(&sc, 1 + i * 40);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	warnings_begin();
	spanheap_heap_unregister(sc.client);
	warnings_end(test, TIMES("is gone and leaves 8 spans", 1));
	sc.client = NULL;
	check(test, sc.h);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_some(sc.h, U64_MAX), 0);
	KUNIT_EXPECT_NOT_NULL(test, alloc(sc.h, 450));	/* nothing to reclaim */
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 1u);
	for (i = 0; i < ARRAY_SIZE(p); i++)
		release(sc.h, p[i]);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->orphan_bytes, 0);
	KUNIT_EXPECT_FALSE(test, sc.h->pinned);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->invalid_frees, 0);
	check(test, sc.h);
}

static void go_in_back(struct spanheap *h)
{
	spanheap_cycle_begin(sc.client);
	spin_lock_irq(&h->lock);	/* as spanheap_client_quiesce() begins */
	sc.client->gone = true;
	list_del_init(&sc.client->sweep->node);
	spin_unlock_irq(&h->lock);
}

/* A resize that ends while its client is unregistered leaves no span to sweep */
static void resize_while_client_goes_test(struct kunit *test)
{
	void *p = get(&sc, 5);

	fake.in_back = go_in_back;
	KUNIT_EXPECT_TRUE(test, resize(sc.h, p, 300));
	KUNIT_EXPECT_NULL(test, fake.in_back);
	KUNIT_EXPECT_TRUE(test, list_empty(&sc.h->unswept));
	KUNIT_EXPECT_EQ(test, spanheap_sweep_some(sc.h, U64_MAX), 0);
	check(test, sc.h);
	release(sc.h, p);
	spanheap_heap_unregister(sc.client);
	sc.client = NULL;
	check(test, sc.h);
}

static struct completion in_callback, let_go, swept, waited;

static void wait_in_sweep(struct swept *c, void *addr)
{
	complete(&in_callback);
	wait_for_completion(&let_go);
}

static int sweep_one_thread(void *unused)
{
	spanheap_sweep_one(sc.client);
	complete(&swept);
	return 0;
}

static int begin_thread(void *unused)
{
	spanheap_cycle_begin(sc.client);
	complete(&waited);
	return 0;
}

static int unregister_thread(void *unused)
{
	spanheap_heap_unregister(sc.client);
	complete(&waited);
	return 0;
}

/* fn() waits while another task is in the callback, and returns afterwards */
static void expect_wait(struct kunit *test, int (*fn)(void *unused))
{
	init_completion(&in_callback);
	init_completion(&let_go);
	init_completion(&swept);
	init_completion(&waited);
	sc.in_sweep = wait_in_sweep;
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(sweep_one_thread, NULL, "kunit_sweep")));
	wait_for_completion(&in_callback);
	sc.in_sweep = NULL;
	KUNIT_EXPECT_FALSE(test, IS_ERR(kthread_run(fn, NULL, "kunit_wait")));
	msleep(50);
	KUNIT_EXPECT_FALSE(test, completion_done(&waited));
	complete(&let_go);
	wait_for_completion(&swept);
	wait_for_completion(&waited);
}

static void cycle_waits_for_the_callback_test(struct kunit *test)
{
	void *p = get(&sc, 3);

	spanheap_cycle_begin(sc.client);
	expect_wait(test, begin_thread);
	check(test, sc.h);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	KUNIT_EXPECT_EQ(test, asked(&sc, p), 2u);
}

static void unregister_waits_for_the_callback_test(struct kunit *test)
{
	void *p = get(&sc, 3);

	spanheap_cycle_begin(sc.client);
	warnings_begin();
	expect_wait(test, unregister_thread);
	warnings_end(test, TIMES("client swept is gone and leaves 1 spans, 3 pages", 1));
	sc.client = NULL;
	check(test, sc.h);
	release(sc.h, p);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->invalid_frees, 0);
	check(test, sc.h);
}

/* Clients without callbacks have no spans to sweep and no cost */
static void no_callback_test(struct kunit *test)
{
	static const struct spanheap_client_ops collect_only = { .collect = collect_cb };
	struct spanheap_client *c = register_as(sc.h, "plain", NULL, NULL);
	struct spanheap_client *d = register_as(sc.h, "collect", &collect_only, &sc);
	void *p, *q;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c) || IS_ERR(d));
	p = alloc_as(sc.h, c, 4, 0, 0, GFP_KERNEL);
	q = alloc_as(sc.h, d, 4, 0, 0, GFP_KERNEL);
	spanheap_cycle_begin(c);
	spanheap_cycle_begin(d);
	spanheap_cycle_begin(NULL);
	spanheap_cycle_begin(ERR_PTR(-EINVAL));
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(c), -1);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(d), -1);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(NULL), -1);
	spanheap_collect(sc.h, 0);
	KUNIT_EXPECT_EQ(test, sc.collected, 2u);	/* of d and of the suite's client */
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 0u);
	release(sc.h, p);
	release(sc.h, q);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->cached_bytes, sc.h->caches.cpu ? 8 * PAGE_SIZE : 0);
	spanheap_heap_unregister(c);
	spanheap_heap_unregister(d);
	check(test, sc.h);
}

static void collect_registers(struct swept *c)
{
	spawned = register_as(c->h, "registered meanwhile", NULL, NULL);
	spanheap_cycle_begin(c->client);
}

/* M23: a client without a cycle for long gets a collect callback, which may begin one */
static void collect_test(struct kunit *test)
{
	void *p = get(&sc, 3);

	set_dead(&sc, p);
	sc.in_collect = collect_registers;
	fake.now += 99;
	spanheap_collect(sc.h, 100);
	KUNIT_EXPECT_EQ(test, sc.collected, 0u);
	fake.now += 1;
	spanheap_collect(sc.h, 100);
	KUNIT_EXPECT_EQ(test, sc.collected, 1u);
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL(spawned));
	spanheap_heap_unregister(spawned);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 3);

	sc.in_collect = NULL;
	fake.now += 60;
	spanheap_cycle_begin(sc.client);	/* counts as a collection */
	fake.now += 60;
	spanheap_collect(sc.h, 100);
	KUNIT_EXPECT_EQ(test, sc.collected, 1u);
	fake.now += 40;
	spanheap_collect(sc.h, 100);
	spanheap_collect(sc.h, 100);	/* a callback that began no cycle counts, too */
	KUNIT_EXPECT_EQ(test, sc.collected, 2u);
	check(test, sc.h);
}

/* M26: release-all collects, sweeps, and releases all freed pages */
static void release_all_test(struct kunit *test)
{
	void *dead = get(&sc, 100), *live = get(&sc, 50);

	KUNIT_ASSERT_TRUE(test, dead && live);
	set_dead(&sc, dead);
	sc.in_collect = collect_registers;
	spanheap_release_all(sc.h);
	spanheap_heap_unregister(spawned);
	KUNIT_EXPECT_EQ(test, stats(sc.h)->resident_bytes, 50 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, asked(&sc, live), 1u);
	check(test, sc.h);
}

static void do_wrong_in_sweep(struct swept *c, void *addr)
{
	spanheap_cycle_begin(c->client);
	spanheap_cycle_begin(other.client);
	spawned = (void *)spanheap_sweep_one(c->client);
	spanheap_release_all(c->h);
	spanheap_heap_unregister(c->client);
}

static void do_wrong_in_collect(struct swept *c)
{
	spanheap_release_all(c->h);
	spanheap_heap_unregister(c->client);
	spanheap_cycle_begin(c->client);
}

/* Operations that are refused in a callback warn and change nothing */
static void recursion_test(struct kunit *test)
{
	u32 gen, i;

	new_swept(test, &other, "other");
	for (i = 0; i < 5; i++)
		get(&sc, 2);
	spanheap_cycle_begin(sc.client);
	gen = sc.client->sweep->gen;
	sc.in_sweep = do_wrong_in_sweep;
	warnings_begin();
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	warnings_end(test, ONCE("sweep from within a sweep callback"),
		     ONCE("cycle begun from within a sweep callback"),
		     ONCE("unregistering from within a callback"),
		     ONCE("release from within a callback"));
	sc.in_sweep = NULL;
	KUNIT_EXPECT_EQ(test, (long)spawned, -1);
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 1u);
	KUNIT_EXPECT_EQ(test, sc.collected, 0u);
	KUNIT_EXPECT_EQ(test, sc.client->sweep->gen, gen);
	KUNIT_EXPECT_EQ(test, other.client->sweep->gen, 0u);
	KUNIT_EXPECT_FALSE(test, sc.client->gone);
	check(test, sc.h);

	sc.in_collect = do_wrong_in_collect;
	warnings_begin();
	spanheap_collect(sc.h, 0);
	warnings_end(test, ONCE("unregistering from within a callback"),
		     ONCE("release from within a callback"));
	sc.in_collect = NULL;
	KUNIT_EXPECT_EQ(test, sc.collected, 1u);
	KUNIT_EXPECT_EQ(test, sc.nr_asked, 5u);
	KUNIT_EXPECT_EQ(test, sc.client->sweep->gen, gen + 2);
	KUNIT_EXPECT_FALSE(test, sc.client->gone);
	check(test, sc.h);
}

/* An invalid verdict keeps the span */
static void garbage_verdict_test(struct kunit *test)
{
	void *p = get(&sc, 2);

	set_dead(&sc, p);
	spanheap_cycle_begin(sc.client);
	sc.verdict = 42;
	warnings_begin();
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 0);
	warnings_end(test, ONCE("returned 42"));
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), -1);
	KUNIT_EXPECT_EQ(test, counts(sc.client).pages, 2);
	check(test, sc.h);
	sc.verdict = SPANHEAP_FREE;
	spanheap_cycle_begin(sc.client);
	KUNIT_EXPECT_EQ(test, spanheap_sweep_one(sc.client), 2);
}

#define MODEL_OPS	50000
#define MODEL_SLOTS	96

static struct sweep_model {
	struct kunit *test;
	struct rnd_state rnd;
	struct {
		void *p;
		bool unswept;
	} slot[MODEL_SLOTS];
	u32 nr_unswept;
	u32 nr_bad;
} model;

static enum spanheap_verdict model_sweep(void *addr, size_t nr_pages, void *priv)
{
	u32 i;

	for (i = 0; i < MODEL_SLOTS && model.slot[i].p != addr; i++)
		;
	if (i == MODEL_SLOTS || !model.slot[i].unswept ||
	    peek(sc.h, page_of(sc.h, addr)).nr_pages != nr_pages) {
		model.nr_bad++;
		return SPANHEAP_KEEP;
	}
	model.slot[i].unswept = false;
	model.nr_unswept--;
	if (prandom_u32_state(&model.rnd) % 4)
		return SPANHEAP_KEEP;
	model.slot[i].p = NULL;
	if (prandom_u32_state(&model.rnd) % 8 == 0)
		release(sc.h, addr);
	return SPANHEAP_FREE;
}

static void model_op(struct spanheap_client *c, u32 i)
{
	u32 r = prandom_u32_state(&model.rnd), len = 1 + prandom_u32_state(&model.rnd) %
		(r % 16 ? 12 : 300);
	void *p;

	switch (r >> 16 & 15) {
	case 0:
		spanheap_cycle_begin(c);
		if (model.nr_unswept)
			model.nr_bad++;
		for (i = 0; i < MODEL_SLOTS; i++) {
			model.slot[i].unswept = model.slot[i].p;
			model.nr_unswept += model.slot[i].unswept;
		}
		break;
	case 1 ... 6:
		spanheap_sweep_one(c);
		break;
	case 7 ... 8:
		if (model.slot[i].p)
			resize(sc.h, model.slot[i].p, len);
		break;
	default:
		if (model.slot[i].p) {
			p = model.slot[i].p;
			model.nr_unswept -= model.slot[i].unswept;
			model.slot[i].p = NULL;
			model.slot[i].unswept = false;
			release(sc.h, p);
		} else {
			/* Store the span first: the callback must not find the slot before */
			p = alloc_as(sc.h, c, len, 0, 0, GFP_KERNEL);
			model.slot[i].p = p;
		}
	}
}

/* Random operations, compared with a model of the unswept spans */
static void sweep_model_test(struct kunit *test)
{
	static const struct spanheap_client_ops ops = { .sweep = model_sweep };
	struct spanheap_client *c = register_as(sc.h, "model", &ops, NULL);
	u32 op, i;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	memset(&model, 0, sizeof(model));
	prandom_seed_state(&model.rnd, 20140618);
	for (op = 0; op < MODEL_OPS; op++) {
		model_op(c, prandom_u32_state(&model.rnd) % MODEL_SLOTS);
		KUNIT_ASSERT_EQ(test, model.nr_bad, 0u);
		KUNIT_ASSERT_EQ(test, model.nr_unswept, c->sweep->nr_unswept);
		if (op % 64 == 0)
			check(test, sc.h);
	}
	KUNIT_EXPECT_EQ(test, stats(sc.h)->invalid_frees, 0);
	for (i = 0; i < MODEL_SLOTS; i++)
		release(sc.h, model.slot[i].p);
	spanheap_heap_unregister(c);
	check(test, sc.h);
}

static struct kunit_case sweep_cases[] = {
	KUNIT_CASE(cycle_test),
	KUNIT_CASE(finish_test),
	KUNIT_CASE(wrap_test),
	KUNIT_CASE(reclaim_order_test),
	KUNIT_CASE(reclaim_enough_test),
	KUNIT_CASE(reclaim_pieces_test),
	KUNIT_CASE(reclaim_gfp_test),
	KUNIT_CASE(reclaim_own_first_test),
	KUNIT_CASE(reclaim_flat_test),
	KUNIT_CASE(callback_allocates_test),
	KUNIT_CASE(shrinking_waits_for_the_callback_test),
	KUNIT_CASE(limit_counts_no_dead_spans_test),
	KUNIT_CASE(free_wins_test),
	KUNIT_CASE(resize_test),
	KUNIT_CASE(unregister_test),
	KUNIT_CASE(resize_while_client_goes_test),
	KUNIT_CASE(cycle_waits_for_the_callback_test),
	KUNIT_CASE(unregister_waits_for_the_callback_test),
	KUNIT_CASE(no_callback_test),
	KUNIT_CASE(collect_test),
	KUNIT_CASE(release_all_test),
	KUNIT_CASE(recursion_test),
	KUNIT_CASE(garbage_verdict_test),
	KUNIT_CASE(sweep_model_test),
	{}
};

static struct kunit_suite sweep_suite = {
	.name = "spanheap_sweep",
	.init = sweep_init,
	.exit = sweep_exit,
	.test_cases = sweep_cases,
};

static struct kunit_suite sweep_cached_suite = {
	.name = "spanheap_sweep_cached",
	.init = sweep_cached_init,
	.exit = sweep_exit,
	.test_cases = sweep_cases,
};

kunit_test_suites(&sweep_suite, &sweep_cached_suite);
