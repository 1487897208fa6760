// SPDX-License-Identifier: GPL-2.0
/*
 * Heaps with a thousand and a million free spans, on an arena that backs no page:
 * the cost of an operation, and how long the heap lock is held.
 */
#include <linux/cpumask.h>
#include <linux/genalloc.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "../kunit/nothing_arena.h"
#include "bench.h"

#define SCALE_PAGES	SZ_16M			/* of the arena: 64 GiB */
#define FEW		1000u
#define MANY		1000000u
#define SCALE_OPS	60000u
#define LIVE		512u

/* ---- an arena of addresses only ---- */

/* No per-CPU caches, because this measures the page heap */
static void *fake_create(unsigned long nr_pages)
{
	struct spanheap *h = spanheap_heap_create(&nothing_ops, nr_pages, bench_clock);

	if (IS_ERR(h))
		return NULL;
	h->anon->flags = SPANHEAP_SKIP_INIT;	/* pages without memory cannot be cleared */
	return h;
}

static void fake_destroy(void *heap)
{
	spanheap_heap_destroy(heap);
}

static void *fake_alloc(void *heap, u32 nr)
{
	return spanheap_heap_alloc(heap, NULL, nr, 0, 0,
				   GFP_KERNEL | __GFP_NOWARN, _RET_IP_);
}

static void fake_free(void *heap, void *p, u32 nr)
{
	spanheap_heap_free(heap, p, _RET_IP_);
}

const struct bench_heap_ops bench_fake_spanheap = {
	.name = "spanheap",
	.create = fake_create,
	.destroy = fake_destroy,
	.alloc = fake_alloc,
	.free = fake_free,
};

/* ---- gen_pool as a subject ---- */

static void *pool_create(unsigned long nr_pages, genpool_algo_t algo)
{
	struct gen_pool *pool = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);

	if (!pool)
		return NULL;
	gen_pool_set_algo(pool, algo, NULL);
	if (!gen_pool_add(pool, BENCH_NOWHERE, nr_pages << PAGE_SHIFT, NUMA_NO_NODE))
		return pool;
	gen_pool_destroy(pool);
	return NULL;
}

static void *first_fit_create(unsigned long nr_pages)
{
	return pool_create(nr_pages, gen_pool_first_fit);
}

static void *best_fit_create(unsigned long nr_pages)
{
	return pool_create(nr_pages, gen_pool_best_fit);
}

static void pool_destroy(void *heap)
{
	gen_pool_destroy(heap);
}

static void *pool_alloc(void *heap, u32 nr)
{
	return (void *)gen_pool_alloc(heap, (size_t)nr << PAGE_SHIFT);
}

static void pool_free(void *heap, void *p, u32 nr)
{
	gen_pool_free(heap, (unsigned long)p, (size_t)nr << PAGE_SHIFT);
}

const struct bench_heap_ops bench_first_fit = {
	.name = "gen_pool first fit",
	.create = first_fit_create,
	.destroy = pool_destroy,
	.alloc = pool_alloc,
	.free = pool_free,
};

const struct bench_heap_ops bench_best_fit = {
	.name = "gen_pool best fit",
	.create = best_fit_create,
	.destroy = pool_destroy,
	.alloc = pool_alloc,
	.free = pool_free,
};

/* ---- many free spans ---- */

struct filled {
	const struct bench_heap_ops *ops;
	void *heap;
	u32 nr_free;
	void **kept;		/* [nr_free] one page between two free spans */
	u32 nr_kept;
	struct rnd_state rnd;
	struct {
		void *p;
		u32 nr;
	} live[LIVE];
	struct bench_hist alloc, free;
	struct bench_hist slices;	/* the longest hold of the lock in each */
};

/* Half of all spans have one page, a quarter two or three, ... to 1,023 */
static u32 mixed(struct rnd_state *rnd)
{
	u32 r = prandom_u32_state(rnd);
	u32 bits = min(__ffs(r | BIT(9)), 9UL);

	return (1u << bits) + ((r >> 10) & ((1u << bits) - 1));
}

static int fill(struct filled *f, const struct bench_heap_ops *ops, u32 nr_free)
{
	void **p;
	u32 i, n, *nr;

	*f = (struct filled) { .ops = ops, .nr_free = nr_free };
	prandom_seed_state(&f->rnd, 4);
	f->kept = vzalloc(nr_free * sizeof(*f->kept));
	p = vzalloc(nr_free * sizeof(*p));
	nr = vzalloc(nr_free * sizeof(*nr));
	f->heap = ops->create(SCALE_PAGES);
	if (!f->kept || !p || !nr || !f->heap)
		goto fail;
	for (i = 0; i < nr_free; i++) {
		nr[i] = mixed(&f->rnd);
		p[i] = ops->alloc(f->heap, nr[i]);
		f->kept[i] = ops->alloc(f->heap, 1);
		f->nr_kept += !!f->kept[i];
		if (!p[i] || !f->kept[i])
			break;
		cond_resched();
	}
	for (n = i, i = 0; i < nr_free && p[i]; i++) {
		ops->free(f->heap, p[i], nr[i]);
		cond_resched();
	}
	if (n == nr_free) {
		vfree(nr);
		vfree(p);
		return 0;
	}
fail:
	vfree(nr);
	vfree(p);
	return -ENOMEM;
}

static void empty(struct filled *f)
{
	u32 i;

	for (i = 0; i < LIVE; i++)
		if (f->live[i].p)
			f->ops->free(f->heap, f->live[i].p, f->live[i].nr);
	for (i = 0; i < f->nr_kept; i++) {
		f->ops->free(f->heap, f->kept[i], 1);
		cond_resched();
	}
	if (f->heap)
		f->ops->destroy(f->heap);
	vfree(f->kept);
	f->heap = NULL;
}

/* Allocations of mixed lengths; each is freed some hundred operations later */
static void operate(struct filled *f, u32 n)
{
	u64 start;
	u32 i;

	while (n--) {
		i = prandom_u32_state(&f->rnd) % LIVE;
		if (f->live[i].p) {
			start = bench_cycles();
			f->ops->free(f->heap, f->live[i].p, f->live[i].nr);
			bench_hist_add(&f->free, bench_cycles() - start);
			f->live[i].p = NULL;
		} else {
			f->live[i].nr = mixed(&f->rnd);
			start = bench_cycles();
			f->live[i].p = f->ops->alloc(f->heap, f->live[i].nr);
			bench_hist_add(&f->alloc, bench_cycles() - start);
		}
	}
}

static void forget(struct filled *f)
{
	memset(&f->alloc, 0, sizeof(f->alloc));
	memset(&f->free, 0, sizeof(f->free));
}

static void out(const char *what, struct filled *f, u64 param, u32 rep)
{
	bench_out_hist(what, f->ops->name, param, "alloc", rep, &f->alloc);
	bench_out_hist(what, f->ops->name, param, "free", rep, &f->free);
}

static int scale_of(const struct bench_heap_ops *ops, u32 many, u32 nr_ops)
{
	struct filled *f = vzalloc(2 * sizeof(*f));
	int err = -ENOMEM, i;
	u32 rep;

	if (!f)
		return -ENOMEM;
	err = fill(&f[0], ops, FEW) ?: fill(&f[1], ops, many);
	for (i = 0; i < 2 && !err; i++)
		operate(&f[i], nr_ops);
	for (rep = 1; rep <= bench_reps && !err; rep++) {
		for (i = 0; i < 2; i++) {
			forget(&f[i]);
			operate(&f[i], nr_ops);
			out("scale", &f[i], f[i].nr_free, rep);
			cond_resched();
		}
	}
	for (i = 0; i < 2; i++)
		if (f[i].ops)
			empty(&f[i]);
	vfree(f);
	return err;
}

int bench_scale(void)
{
	int err = scale_of(&bench_fake_spanheap, MANY, SCALE_OPS) ?:
		  scale_of(&bench_ancestor, MANY, SCALE_OPS);

	nothing_done();
	return err;
}

/* ---- 8 KiB holes at 64 KiB stride over 4 GiB ---- */

#define HOLES		(SZ_4G / SZ_64K)
#define HOLE_PAGES	(SZ_8K >> PAGE_SHIFT)
#define REST_PAGES	((SZ_64K - SZ_8K) >> PAGE_SHIFT)
#define MISFITS		16384u
#define MISFIT_PAGES	(HOLE_PAGES + 1)

struct holes {
	void *rest[HOLES];
	void *hole[HOLES];
	void *misfit[MISFITS];
	struct bench_hist alloc, free, rest_free;
};

/* Allocate spans that fit into none of n holes, then free everything in reverse */
static int holes_run(struct holes *b, const struct bench_heap_ops *ops, u32 n,
		     u32 rep)
{
	void *heap = ops->create(SCALE_PAGES);
	u32 i;
	int err = 0;
	u64 start;

	if (!heap)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	for (i = 0; i < n; i++) {
		b->hole[i] = ops->alloc(heap, HOLE_PAGES);
		b->rest[i] = ops->alloc(heap, REST_PAGES);
	}
	for (i = 0; i < n; i++)
		ops->free(heap, b->hole[i], HOLE_PAGES);
	cond_resched();
	for (i = 0; i < MISFITS; i++) {
		start = bench_cycles();
		b->misfit[i] = ops->alloc(heap, MISFIT_PAGES);
		bench_hist_add(&b->alloc, bench_cycles() - start);
		if (!b->misfit[i])
			err = -ENOMEM;
	}
	for (i = MISFITS; i--;) {
		if (!b->misfit[i])
			continue;
		start = bench_cycles();
		ops->free(heap, b->misfit[i], MISFIT_PAGES);
		bench_hist_add(&b->free, bench_cycles() - start);
	}
	cond_resched();
	for (i = n; i--;) {
		start = bench_cycles();
		ops->free(heap, b->rest[i], REST_PAGES);
		bench_hist_add(&b->rest_free, bench_cycles() - start);
	}
	if (rep && !err) {
		bench_out_hist("holes", ops->name, n, "alloc", rep, &b->alloc);
		bench_out_hist("holes", ops->name, n, "free", rep, &b->free);
		bench_out_hist("holes", ops->name, n, "free of the rest", rep, &b->rest_free);
	}
	ops->destroy(heap);
	cond_resched();
	return err;
}

int bench_holes(void)
{
	struct holes *b = vzalloc(sizeof(*b));
	int err = b ? 0 : -ENOMEM;
	u32 rep;

	for (rep = 0; rep <= bench_reps && !err; rep++)
		err = holes_run(b, &bench_fake_spanheap, FEW, rep) ?:
		      holes_run(b, &bench_fake_spanheap, HOLES, rep) ?:
		      holes_run(b, &bench_ancestor, FEW, rep) ?:
		      holes_run(b, &bench_ancestor, HOLES, rep);
	vfree(b);
	nothing_done();
	return err;
}

/* ---- how long the heap lock is held, and how long allocations wait for it ---- */

#define RELEASE_SLICE_NS	(10 * NSEC_PER_MSEC)
#define RELEASE_PAGES		16384u	/* between looks at the clock */

/*
 * Releases in slices: a long hold that the heap causes is in nearly all slices, a long hold
 * because the host took the CPU away is in few.
 */
static int release_fn(void *data)
{
	struct filled *f = data;
	u64 n, released, end;

	do {
		WRITE_ONCE(spanheap_hold_max, 0);
		released = 0;
		end = ktime_get_ns() + RELEASE_SLICE_NS;
		do {
			n = spanheap_scavenge(f->heap, 0, RELEASE_PAGES);
			released += n;
		} while (n && ktime_get_ns() < end);
		if (released)
			bench_hist_add(&f->slices, READ_ONCE(spanheap_hold_max));
	} while (n && !kthread_should_stop());
	WRITE_ONCE(f->nr_free, 0);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* Median of the longest gap per 10 ms, on a CPU that only reads the clock: caused by the host */
static u64 median_gap(struct bench_hist *hist)
{
	u64 last, now, longest, end;
	u32 i;

	memset(hist, 0, sizeof(*hist));
	for (i = 0; i < 50; i++) {
		longest = 0;
		end = ktime_get_ns() + RELEASE_SLICE_NS;
		last = bench_cycles();
		while (ktime_get_ns() < end) {
			now = bench_cycles();
			longest = max(longest, now - last);
			last = now;
		}
		bench_hist_add(hist, longest);
		cond_resched();
	}
	return bench_ps(bench_hist_at(hist, 50000));
}

/* Allocate while another CPU releases everything */
static int hold_run(struct filled *f, u32 nr_free, u32 rep)
{
	u32 cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	struct task_struct *task;
	struct spanheap *h;
	u64 before, pages, t;
	int err;

	err = fill(f, &bench_fake_spanheap, nr_free);
	if (err)
		goto out;
	h = f->heap;
	operate(f, SCALE_OPS);
	forget(f);
	operate(f, SCALE_OPS);
	out("hold idle", f, nr_free, rep);
	forget(f);

	task = kthread_create(release_fn, f, "spanheap_bench");
	if (IS_ERR(task)) {
		err = PTR_ERR(task);
		goto out;
	}
	if (cpu < nr_cpu_ids)
		kthread_bind(task, cpu);
	get_task_struct(task);
	before = h->tlb_flushes;
	pages = h->scavenged_pages;
	spanheap_hold_watch(&h->lock);
	t = ktime_get_ns();
	wake_up_process(task);
	while (READ_ONCE(f->nr_free)) {
		operate(f, 64);
		cond_resched();
	}
	t = ktime_get_ns() - t;
	spanheap_hold_watch(NULL);
	kthread_stop(task);
	put_task_struct(task);

	out("hold release", f, nr_free, rep);
	bench_out_hist("hold", "spanheap", nr_free, "hold", rep, &spanheap_hold_hist);
	bench_out("hold", "spanheap", nr_free, "longest hold of 10 ms", rep,
		  bench_ps(bench_hist_at(&f->slices, 50000)));
	bench_out("hold", "spanheap", nr_free, "longest gap of 10 ms without a lock", rep,
		  median_gap(&f->slices));
	bench_out("hold", "spanheap", nr_free, "holds", rep, spanheap_hold_hist.n);
	pages = h->scavenged_pages - pages;
	bench_out("hold", "spanheap", nr_free, "pages/s", rep,
		  div64_u64(pages * NSEC_PER_SEC, t));
	bench_out("hold", "spanheap", nr_free, "pages/flush", rep,
		  div64_u64(pages, max(h->tlb_flushes - before, 1ULL)));
out:
	empty(f);
	return err;
}

int bench_hold(void)
{
	struct filled *f = vzalloc(sizeof(*f));
	u32 rep, reps = min(bench_reps, 5u);
	int err = f ? 0 : -ENOMEM;

	if (num_online_cpus() < 2)
		err = -EOPNOTSUPP;
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	for (rep = 1; rep <= reps && !err; rep++)
		err = hold_run(f, FEW, rep) ?: hold_run(f, MANY, rep);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	vfree(f);
	nothing_done();
	return err;
}
