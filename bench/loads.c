// SPDX-License-Identifier: GPL-2.0
/*
 * Synthetic loads for the replayer in trace.c. Each shows one property of a release policy.
 * Times are virtual. A load is a set of items: a number of pages, in use from one moment
 * to another. Random numbers are the same in each run.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "bench.h"

#define US		NSEC_PER_USEC
#define MS		NSEC_PER_MSEC
#define SEC		NSEC_PER_SEC
#define FOREVER		U64_MAX

struct item {
	u64 from, until;	/* ns */
	u32 nr;			/* pages */
};

/* A generator runs twice: first items are counted, then they are stored */
struct gen {
	struct item *item;	/* NULL: count */
	u32 nr;
	struct rnd_state rnd;
};

static void add(struct gen *g, u64 from, u32 nr, u64 until)
{
	if (g->item)
		g->item[g->nr] = (struct item) { from, until, nr };
	g->nr++;
}

/* ---- random numbers; logarithms and powers of two in 1/65536, within 1 % ---- */

static u32 fix_log2(u32 v)
{
	u64 f = ((u64)v << 16 >> ilog2(v)) - 65536;

	return (ilog2(v) << 16) + (f * (88244 - (f * 22708 >> 16)) >> 16);
}

static u64 fix_exp2(u32 x)
{
	u64 f = x & 0xffff;

	return (65536 + (f * (43024 + (f * 22512 >> 16)) >> 16)) << (x >> 16);
}

/* A random number from lo to hi, uniformly distributed on a logarithmic scale */
static u32 log_uniform(struct gen *g, u32 lo, u32 hi)
{
	u64 range = fix_log2(hi + 1) - fix_log2(lo);
	u64 x = fix_log2(lo) + (prandom_u32_state(&g->rnd) * range >> 32);

	return clamp_t(u32, fix_exp2(x) >> 16, lo, hi);
}

/* Exponentially distributed */
static u64 exponential(struct gen *g, u64 mean)
{
	u64 x = (32 << 16) - fix_log2(prandom_u32_state(&g->rnd) | 1);

	return (mean * x >> 16) * 45426 >> 16;	/* ln 2 */
}

static u64 below(struct gen *g, u32 n)
{
	return prandom_u32_state(&g->rnd) % n;
}

/* ---- the loads ---- */

/* 64 MiB idle beside a page a second */
static void light(struct gen *g)
{
	u32 i;

	add(g, 0, 16384, SEC);
	for (i = 0; i < 119; i++)
		add(g, SEC / 2 + i * SEC, 1, SEC / 2 + i * SEC + MS);
}

/* 64 MiB idle beside 300 pages twice a second */
static void light300(struct gen *g)
{
	u32 i;

	add(g, 0, 16384, SEC);
	for (i = 0; i < 239; i++)
		add(g, SEC / 4 + i * SEC / 2, 300, SEC / 4 + i * SEC / 2 + MS);
}

/* 64 MiB idle beside 100 allocations a second of all lengths */
static void light100(struct gen *g)
{
	u64 t;
	u32 i;

	for (i = 0; i < 1024; i++)
		add(g, i * 100 * US, 16, SEC + below(g, 10000) * 10 * US);
	for (i = 0; i < 11900; i++) {
		t = 1200 * MS + i * 10 * MS;
		add(g, t, log_uniform(g, 1, 32), t + 50 * MS);
	}
}

/* 256 MiB idle, and nothing else */
static void idle(struct gen *g)
{
	u32 i;

	for (i = 0; i < 4096; i++)
		add(g, i * MS, 16, 10 * SEC + below(g, 10000) * 10 * US);
}

/* 64 MiB were in use; from then on half of that, in use each half a second */
static void half_hot(struct gen *g)
{
	u32 i;

	add(g, 0, 16384, SEC);
	for (i = 0; i < 119; i++)
		add(g, 1500 * MS + i * SEC, 8192, 2 * SEC + i * SEC);
}

/* 64 MiB always, 256 MiB for the first half of each period */
static void waves(struct gen *g, u64 period, u64 end)
{
	u64 t;
	u32 i;

	for (i = 0; i < 256; i++)
		add(g, i * 10 * US, 64, FOREVER);
	for (t = 100 * MS; t < end; t += period)
		for (i = 0; i < 768; i++)
			add(g, t + i * US, 64, t + period / 2 + i * US);
}

static void waves_1hz(struct gen *g)
{
	u64 t;
	u32 i;

	waves(g, SEC, 60 * SEC);
	for (i = 0; i < 11900; i++) {	/* churn beside them */
		t = 300 * MS + i * 5 * MS;
		add(g, t, log_uniform(g, 1, 128), t + exponential(g, 300 * MS));
	}
}

static void waves_minute(struct gen *g)
{
	waves(g, 60 * SEC, 900 * SEC);
}

static void waves_hour(struct gen *g)
{
	waves(g, 3600 * SEC, 14400 * SEC);
}

/* To 1 GiB in ten minutes and down again, with churn beside it */
static void ramp(struct gen *g)
{
	u64 t;
	u32 i;

	for (i = 0; i < 16384; i++) {
		t = 600 * SEC / 16384 * i;
		add(g, t, 16, 660 * SEC + t);
	}
	for (i = 0; i < 126000; i++) {
		t = i * 10 * MS;
		add(g, t, log_uniform(g, 1, 64), t + exponential(g, SEC / 2));
	}
}

/* 512 MiB for 100 ms, each half a minute or so */
static void bursts(struct gen *g)
{
	u64 t;
	u32 i;

	for (i = 0; i < 1024; i++)
		add(g, i * 100 * US, 16, FOREVER);
	for (i = 0; i < 59900; i++) {
		t = 200 * MS + i * 10 * MS;
		add(g, t, log_uniform(g, 1, 16), t + exponential(g, 200 * MS));
	}
	for (t = 5 * SEC; t < 600 * SEC; t += SEC + exponential(g, 30 * SEC))
		for (i = 0; i < 512; i++)
			add(g, t + i * 100, 256, t + 100 * MS);
}

/* Holes of 4 pages and more, then only spans of 64 */
static void holes(struct gen *g)
{
	u32 i;

	for (i = 0; i < 16384; i++)
		add(g, i * US, 4, below(g, 4) ? SEC + i * 100 : FOREVER);
	for (i = 0; i < 768; i++)
		add(g, 1100 * MS + i * 100, 64, FOREVER);
}

/* 64 MiB of another length each second; a quarter of it lives for a second longer */
static void lengths(struct gen *g)
{
	static const u32 length[] = { 4, 40, 7, 100, 20, 200 };
	u32 i, k, nr;
	u64 life;

	for (k = 0; k < 60; k++) {
		nr = length[k % ARRAY_SIZE(length)];
		for (i = 0; i < 16384 / nr; i++) {
			life = (below(g, 4) ? 900 : 1900) * MS + below(g, 50000) * US;
			add(g, k * SEC + i * 10 * US, nr, k * SEC + life);
		}
	}
}

/*
 * 192 MiB are used for 50 ms, again and again, after they were idle for the age (1 s), a
 * tick (half of it) and a little more: released for nothing each time.
 */
static void adversary(struct gen *g)
{
	u64 t = 100 * MS;
	u32 i, k;

	for (i = 0; i < 256; i++)
		add(g, i * 10 * US, 64, FOREVER);
	for (k = 0; k < 20; k++, t += 1650 * MS)
		for (i = 0; i < 768; i++)
			add(g, t + i * 100, 64, t + 50 * MS);
}

/* The loads. From the mark on, the replayer times until 95 % of idle memory are given back. */
static const struct {
	const char *name;
	void (*fn)(struct gen *g);
	u64 end, mark;
	u32 arena_mb;
} loads[] = {
	{ "light", light, 120 * SEC, 1010 * MS, 256 },
	{ "light300", light300, 120 * SEC, 1010 * MS, 256 },
	{ "light100", light100, 121 * SEC, 1190 * MS, 512 },
	{ "idle", idle, 900 * SEC, 10200 * MS, 512 },
	{ "half-hot", half_hot, 120 * SEC, 0, 256 },
	{ "waves-1Hz", waves_1hz, 60 * SEC, 0, 1024 },
	{ "waves-minute", waves_minute, 900 * SEC, 0, 1024 },
	{ "waves-hour", waves_hour, 14400 * SEC, 0, 1024 },
	{ "ramp", ramp, 1300 * SEC, 0, 1536 },
	{ "bursts", bursts, 600 * SEC, 0, 1536 },
	{ "holes", holes, 60 * SEC, 0, 1024 },
	{ "lengths", lengths, 61 * SEC, 0, 1024 },
	{ "adversary", adversary, 33100 * MS, 0, 1024 },
};

/* ---- making a load ---- */

static int by_time(const void *a, const void *b)
{
	const struct bench_event *x = a, *y = b;

	return x->ns < y->ns ? -1 : x->ns > y->ns;
}

static int to_events(struct gen *g, u64 end, u64 mark, struct bench_load *l)
{
	struct bench_event *e = kvcalloc(2 * g->nr + 2, sizeof(*e), GFP_KERNEL);
	u32 i;

	l->event = e;
	if (!e)
		return -ENOMEM;
	for (i = 0; i < g->nr; i++) {
		const struct item *it = &g->item[i];

		*e++ = (struct bench_event) { it->from, i, it->nr, 'a' };
		if (it->until < end)
			*e++ = (struct bench_event) { it->until, i, 0, 'f' };
	}
	if (mark)
		*e++ = (struct bench_event) { .ns = mark, .op = 'm' };
	*e++ = (struct bench_event) { .ns = end, .op = 'e' };
	l->nr_events = e - l->event;
	l->nr_allocs = g->nr;
	sort(l->event, l->nr_events, sizeof(*e), by_time, NULL);
	return 0;
}

/* Make the i-th load; -ENOENT: there is none. The caller frees l->event. */
int bench_load_make(struct bench_load *l, u32 i)
{
	struct gen g = {};
	int err;

	if (i >= ARRAY_SIZE(loads))
		return -ENOENT;
	*l = (struct bench_load) {
		.name = loads[i].name,
		.arena_pages = loads[i].arena_mb << (20 - PAGE_SHIFT),
	};
	prandom_seed_state(&g.rnd, 42);
	loads[i].fn(&g);
	g.item = kvcalloc(g.nr, sizeof(*g.item), GFP_KERNEL);
	if (!g.item)
		return -ENOMEM;
	g.nr = 0;
	prandom_seed_state(&g.rnd, 42);
	loads[i].fn(&g);
	err = to_events(&g, loads[i].end, loads[i].mark, l);
	kvfree(g.item);
	return err;
}
