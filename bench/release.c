// SPDX-License-Identifier: GPL-2.0
/*
 * Giving memory back: a release of idle spans, compared with a bare loop that clears page
 * table entries and frees the pages; allocation during a release; the memory that
 * the heap itself needs.
 */
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <compat/spanheap_compat.h>

#include "bench.h"

#define TOTAL_PAGES	(SZ_128M >> PAGE_SHIFT)
#define BESIDE_OPS	20000u

static bool any_page(struct page *page, const void *addr, const void *arg)
{
	return true;
}

/* Bare loop: clear all entries, flush once, free the pages */
static int bare_run(u32 rep)
{
	struct page **pages = kvcalloc(TOTAL_PAGES, sizeof(*pages), GFP_KERNEL);
	struct page *sentinel = alloc_page(GFP_KERNEL | __GFP_ZERO);
	void *backend = NULL, *base = NULL;
	u32 i, n;
	u64 t;

	if (pages && sentinel)
		base = compat_reserve(TOTAL_PAGES, sentinel, &backend);
	if (IS_ERR(base))
		base = NULL;
	for (n = 0; base && n < TOTAL_PAGES; n++) {
		pages[n] = alloc_page(GFP_KERNEL);
		if (!pages[n])
			break;
	}
	if (n) {
		compat_set_ptes(base, pages, n);
		t = ktime_get_ns();
		compat_clear_ptes(base, pages, n, any_page, NULL);
		compat_flush_tlb_range(base, base + n * PAGE_SIZE);
		for (i = 0; i < n; i++)
			__free_page(pages[i]);
		t = ktime_get_ns() - t;
		if (rep && n == TOTAL_PAGES)
			bench_out("release", "bare loop", TOTAL_PAGES, "pages/s", rep,
				  div64_u64((u64)n * NSEC_PER_SEC, t));
	}
	if (base)
		compat_unreserve(base, backend);
	if (sentinel)
		__free_page(sentinel);
	kvfree(pages);
	return n == TOTAL_PAGES ? 0 : -ENOMEM;
}

/* Release free spans of nr pages that are separated by one page in use */
static int release_run(u32 nr, u32 rep)
{
	u32 n = TOTAL_PAGES / nr, i, keep = n > 1;
	void **span = kvcalloc(n, sizeof(*span), GFP_KERNEL);
	void **kept = kvcalloc(n, sizeof(*kept), GFP_KERNEL);
	struct spanheap *h;
	int err = -ENOMEM;
	u64 t, pages, flushes;

	h = spanheap_heap_create(&spanheap_arena_ops,
				 TOTAL_PAGES + keep * n + GROW_MIN, bench_clock);
	if (!span || !kept || IS_ERR(h))
		goto out;
	err = 0;
	for (i = 0; i < n; i++) {
		span[i] = spanheap_heap_alloc(h, NULL, nr, 0, 0, GFP_KERNEL, _RET_IP_);
		if (keep)
			kept[i] = spanheap_heap_alloc(h, NULL, 1, 0, 0, GFP_KERNEL, _RET_IP_);
		if (!span[i])
			err = -ENOMEM;
	}
	for (i = 0; i < n; i++)
		spanheap_heap_free(h, span[i], _RET_IP_);
	pages = h->scavenged_pages;
	flushes = h->tlb_flushes;
	spanheap_hold_watch(&h->lock);
	t = ktime_get_ns();
	spanheap_scavenge(h, 0, U64_MAX);
	t = ktime_get_ns() - t;
	spanheap_hold_watch(NULL);
	pages = h->scavenged_pages - pages;
	flushes = h->tlb_flushes - flushes;
	for (i = 0; i < n; i++)
		spanheap_heap_free(h, kept[i], _RET_IP_);
	if (!rep || err)
		goto out;
	bench_out("release", "spanheap", nr, "pages/s", rep,
		  div64_u64(pages * NSEC_PER_SEC, t));
	bench_out("release", "spanheap", nr, "pages/flush", rep,
		  div64_u64(pages, max(flushes, 1ULL)));
	bench_out_hist("release", "spanheap", nr, "hold", rep, &spanheap_hold_hist);
out:
	if (!IS_ERR(h))
		spanheap_heap_destroy(h);
	kvfree(kept);
	kvfree(span);
	return err;
}

struct beside {
	struct spanheap *h;
	u32 stop;
	u64 pages;
};

/* Make memory idle and release it, again and again */
static int releaser_fn(void *data)
{
	struct beside *b = data;
	void *span[64];
	u32 i;

	while (!READ_ONCE(b->stop)) {
		for (i = 0; i < ARRAY_SIZE(span); i++)
			span[i] = spanheap_heap_alloc(b->h, NULL, 64, 0, 0,
						      GFP_KERNEL, _RET_IP_);
		for (i = 0; i < ARRAY_SIZE(span); i++)
			spanheap_heap_free(b->h, span[i], _RET_IP_);
		b->pages += spanheap_scavenge(b->h, 0, U64_MAX);
		cond_resched();
	}
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void time_allocs(struct spanheap *h, u32 nr, struct bench_hist *hist)
{
	u64 start;
	void *p;
	u32 i;

	memset(hist, 0, sizeof(*hist));
	for (i = 0; i < BESIDE_OPS; i++) {
		start = bench_cycles();
		p = spanheap_heap_alloc(h, NULL, nr, 0, 0, GFP_KERNEL, _RET_IP_);
		bench_hist_add(hist, bench_cycles() - start);
		spanheap_heap_free(h, p, _RET_IP_);
		if (i % 256 == 0)
			cond_resched();
	}
}

static int beside_run(u32 nr, struct bench_hist *hist, u32 rep)
{
	struct beside b = {};
	struct task_struct *task;
	int err;

	b.h = spanheap_heap_create(&spanheap_arena_ops, TOTAL_PAGES, bench_clock);
	if (IS_ERR(b.h))
		return PTR_ERR(b.h);
	err = spanheap_cache_init(b.h, 256);
	if (err)
		goto out;
	time_allocs(b.h, nr, hist);
	time_allocs(b.h, nr, hist);
	if (rep)
		bench_out_hist("beside release", "idle", nr, "alloc", rep, hist);
	task = kthread_create(releaser_fn, &b, "spanheap_bench");
	err = PTR_ERR_OR_ZERO(task);
	if (err)
		goto out;
	kthread_bind(task, cpumask_any_but(cpu_online_mask, cpumask_first(cpu_online_mask)));
	get_task_struct(task);
	wake_up_process(task);
	while (!READ_ONCE(b.pages))
		cond_resched();
	time_allocs(b.h, nr, hist);
	if (rep)
		bench_out_hist("beside release", "releasing", nr, "alloc", rep, hist);
	WRITE_ONCE(b.stop, 1);
	kthread_stop(task);
	put_task_struct(task);
out:
	spanheap_heap_destroy(b.h);
	return err;
}

int bench_release(void)
{
	struct bench_hist *hist = kvzalloc(sizeof(*hist), GFP_KERNEL);
	int err = hist ? 0 : -ENOMEM;
	u32 rep;

	set_cpus_allowed_ptr(current, cpumask_of(cpumask_first(cpu_online_mask)));
	for (rep = 0; rep <= bench_reps && !err; rep++) {
		err = bare_run(rep) ?:
		      release_run(16, rep) ?:
		      release_run(TOTAL_PAGES, rep);
		if (!err && num_online_cpus() > 1)
			err = beside_run(1, hist, rep) ?: beside_run(64, hist, rep);
	}
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	kvfree(hist);
	return err;
}

/* ---- memory of the heap itself ---- */

#define META_PAGES	16384u

static int meta_run(u32 nr)
{
	u32 n = META_PAGES / nr, i;
	void **span = kvcalloc(n, sizeof(*span), GFP_KERNEL);
	struct spanheap_stats st, empty;
	struct spanheap *h;
	int err = 0;

	h = spanheap_heap_create(&spanheap_arena_ops, META_PAGES, bench_clock);
	if (!span || IS_ERR(h)) {
		err = -ENOMEM;
		goto out;
	}
	spanheap_heap_stats(h, &empty, true);
	for (i = 0; i < n; i++) {
		span[i] = spanheap_heap_alloc(h, NULL, nr, 0, 0, GFP_KERNEL, _RET_IP_);
		if (!span[i])
			err = -ENOMEM;
	}
	spanheap_heap_stats(h, &st, true);
	for (i = 0; i < n; i++)
		spanheap_heap_free(h, span[i], _RET_IP_);
	if (err)
		goto out;
	bench_out("meta", "spanheap", nr, "record bytes/span", 1,
		  div_u64(st.span_meta_bytes, n));
	bench_out("meta", "spanheap", nr, "map bytes/MiB", 1,
		  div_u64(st.other_meta_bytes - empty.other_meta_bytes,
			  META_PAGES >> (20 - PAGE_SHIFT)));
	bench_out("meta", "spanheap", nr, "bytes/MiB", 1,
		  div_u64(st.span_meta_bytes - empty.span_meta_bytes +
			  st.other_meta_bytes - empty.other_meta_bytes,
			  META_PAGES >> (20 - PAGE_SHIFT)));
	/* spanheap has page tables for the whole arena, vmalloc for allocated areas only */
	bench_out("meta", "spanheap", nr, "page table bytes/MiB", 1,
		  sizeof(pte_t) << (20 - PAGE_SHIFT));
	bench_out("meta", "spanheap", nr, "fixed bytes", 1,
		  empty.other_meta_bytes + empty.span_meta_bytes);
out:
	if (!IS_ERR(h))
		spanheap_heap_destroy(h);
	kvfree(span);
	return err;
}

int bench_meta(void)
{
	static const u32 nr[] = { 1, 4, 16, 64, 256, 4096 };
	int err = 0, i;

	for (i = 0; i < ARRAY_SIZE(nr) && !err; i++)
		err = meta_run(nr[i]);
	return err;
}
