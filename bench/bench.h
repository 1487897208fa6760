/* SPDX-License-Identifier: GPL-2.0 */
/* The declarations that the files of the benchmark share */
#ifndef _SPANHEAP_BENCH_H
#define _SPANHEAP_BENCH_H

#include <linux/bitops.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/prandom.h>
#include <linux/types.h>

#include "../spanheap_internal.h"

/*
 * Where in memory nothing is: subjects that only hand out addresses (gen_pool, the
 * ancestor) manage a range from here on.
 */
#define BENCH_NOWHERE	(1UL << 40)

/* ---- time of one operation, too short for ktime_get() ---- */

static inline u64 bench_cycles(void)
{
#ifdef __x86_64__
	u32 lo, hi;

	asm volatile("lfence; rdtsc" : "=a" (lo), "=d" (hi) : : "memory");
	return (u64)hi << 32 | lo;
#else
	return ktime_get_ns();
#endif
}

extern u64 bench_ps_per_kcycle;

static inline u64 bench_ps(u64 cycles)
{
	return mul_u64_u64_div_u64(cycles, bench_ps_per_kcycle, 1000);
}

/* ---- distribution of cycles: 16 buckets an octave, so within 6% ---- */

#define HIST_BUCKETS	(48 * 16)

struct bench_hist {
	u64 n;
	u64 sum;
	u64 max;
	u32 bucket[HIST_BUCKETS];
};

static inline void bench_hist_add(struct bench_hist *h, u64 v)
{
	int shift = max(fls64(v) - 5, 0);
	u32 i = min_t(u64, shift * 16 + (v >> shift), HIST_BUCKETS - 1);

	h->bucket[i]++;
	h->n++;
	h->sum += v;
	if (v > h->max)
		h->max = v;
}

/* The value that per100k of 100,000 stay below */
u64 bench_hist_at(const struct bench_hist *h, u32 per100k);

/* ---- results ---- */

/* One line: what was measured with whom, and the value of this repetition */
void bench_out(const char *what, const char *subject, u64 param,
	       const char *metric, u32 rep, u64 value);
/* Median, 99.9th percentile and maximum of a distribution, in ps */
void bench_out_hist(const char *what, const char *subject, u64 param,
		    const char *op, u32 rep, const struct bench_hist *h);

extern unsigned int bench_reps;

/* ---- what the bench build exports from the heap: inside.c ---- */

extern struct bench_hist spanheap_hold_hist;
extern u64 spanheap_hold_max;	/* cycles, since someone set it to 0 */
void spanheap_hold_watch(spinlock_t *lock);

u64 spanheap_bench_tick(struct spanheap *h, unsigned int age_ms);

/* The clock of heaps that the benchmark makes */
static inline unsigned long bench_clock(void)
{
	return jiffies;
}

/* ---- heaps that only hand out addresses ---- */

struct bench_heap_ops {
	const char *name;
	void *(*create)(unsigned long nr_pages);
	void (*destroy)(void *heap);
	void *(*alloc)(void *heap, u32 nr);
	void (*free)(void *heap, void *p, u32 nr);
};

extern const struct bench_heap_ops bench_ancestor, bench_fake_spanheap;
extern const struct bench_heap_ops bench_first_fit, bench_best_fit;

/* ---- what trace.c replays: what was recorded, and what loads.c makes ---- */

struct bench_event {
	u64 ns;		/* since the begin */
	u32 id;		/* of the allocation */
	u32 nr;		/* pages */
	char op;	/* a: allocate, f: free, m: mark, e: end */
};

struct bench_load {
	const char *name;
	struct bench_event *event;	/* by time; the last one is the end */
	u32 nr_events;
	u32 nr_allocs;			/* ids are below that */
	u32 arena_pages;		/* what a subject may manage */
};

int bench_load_make(struct bench_load *l, u32 i);

int bench_pair(void);
int bench_profile(void);
int bench_zero(void);
int bench_cold(void);
int bench_lookup(void);
int bench_smp(void);
int bench_align(void);
int bench_scale(void);
int bench_holes(void);
int bench_release(void);
int bench_hold(void);
int bench_meta(void);
int bench_trace(void);
int bench_loads(void);

#endif
