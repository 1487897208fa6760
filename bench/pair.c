// SPDX-License-Identifier: GPL-2.0
/*
 * One CPU without concurrent load: warm pairs of allocation and free, with and without the
 * heap profile, allocations with zeroing, and cold spans for which the heap grows and
 * backs pages each time.
 */
#include <linux/genalloc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#include "bench.h"

#define SLICE_NS	NSEC_PER_MSEC	/* of one subject; short, to run undisturbed */
#define SLICES		4u		/* the best of them makes a repetition */
#define POOL_PAGES	(SZ_1G >> PAGE_SHIFT)
#define UNCACHED_PAGES	(SZ_512M >> PAGE_SHIFT)
#define RAM_PAGES	1024u			/* longest vm_map_ram() */

static struct spanheap_client *client;
static struct kmem_cache *objects;
static struct gen_pool *first_fit, *best_fit;
static struct page **ram_pages;
static void *ancestor;
static struct spanheap *uncached;	/* a second heap, without caches */

/* The cost of turning interrupts off and on, which each spin_lock_irqsave() includes */
static unsigned long *irqs_off(void)
{
	static unsigned long flags;

	local_irq_save(flags);
	return &flags;
}

/* Times n pairs of nr pages in ns; 0 if an allocation failed */
#define PAIRS(name, alloc, free)					\
static u64 name##_pairs(u32 nr, u32 n)					\
{									\
	u64 start = ktime_get_ns();					\
									\
	while (n--) {							\
		typeof(alloc) p = (alloc);				\
									\
		if (unlikely(!p))					\
			return 0;					\
		free;							\
	}								\
	/* a clock may be coarser than a pair is long */		\
	return max(ktime_get_ns() - start, 1ULL);			\
}

PAIRS(spanheap, spanheap_alloc(client, nr, GFP_KERNEL), spanheap_free(p))

#define HELD	64u

static void *held[HELD];

/* HELD spans are allocated, then freed: n pairs, one by one or all at once */
static u64 singles_pairs(u32 nr, u32 n)
{
	u64 start = ktime_get_ns();
	u32 i, done;

	for (done = 0; done < n; done += HELD) {
		for (i = 0; i < HELD; i++) {
			held[i] = spanheap_alloc(client, nr, GFP_KERNEL);
			if (unlikely(!held[i]))
				return 0;
		}
		for (i = 0; i < HELD; i++)
			spanheap_free(held[i]);
	}
	return max(div_u64((ktime_get_ns() - start) * n, done), 1ULL);
}

static u64 bulk_pairs(u32 nr, u32 n)
{
	u64 start = ktime_get_ns();
	u32 done;

	for (done = 0; done < n; done += HELD) {
		if (unlikely(spanheap_alloc_bulk(client, nr, GFP_KERNEL, HELD, held) != HELD))
			return 0;
		spanheap_free_bulk(HELD, held);
	}
	return max(div_u64((ktime_get_ns() - start) * n, done), 1ULL);
}

PAIRS(uncached, spanheap_heap_alloc(uncached, NULL, nr, 0, 0, GFP_KERNEL, _RET_IP_),
      spanheap_heap_free(uncached, p, _RET_IP_))
PAIRS(alloc_pages, alloc_pages(GFP_KERNEL, order_base_2(nr)), __free_pages(p, order_base_2(nr)))
PAIRS(kmem, kmem_cache_alloc(objects, GFP_KERNEL), kmem_cache_free(objects, p))
PAIRS(first_fit, gen_pool_alloc(first_fit, nr << PAGE_SHIFT),
      gen_pool_free(first_fit, p, nr << PAGE_SHIFT))
PAIRS(best_fit, gen_pool_alloc(best_fit, nr << PAGE_SHIFT),
      gen_pool_free(best_fit, p, nr << PAGE_SHIFT))
PAIRS(vmalloc, vmalloc((unsigned long)nr << PAGE_SHIFT), vfree(p))
PAIRS(kvmalloc, kvmalloc((size_t)nr << PAGE_SHIFT, GFP_KERNEL), kvfree(p))
PAIRS(vm_map_ram, vm_map_ram(ram_pages, nr, NUMA_NO_NODE), vm_unmap_ram(p, nr))
PAIRS(irqs, irqs_off(), local_irq_restore(*p))
PAIRS(ancestor, bench_ancestor.alloc(ancestor, nr), bench_ancestor.free(ancestor, p, nr))

/* Subjects and their lengths (pages); 0 ends a list */
#define LENGTHS 12
static const struct pair {
	const char *name;
	u64 (*pairs)(u32 nr, u32 n);
	u32 nr[LENGTHS];
	bool maps;	/* each time: a system call of the host in User-Mode Linux */
} pairs[] = {
	{ "spanheap", spanheap_pairs,
	  { 1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096, 16384, 65536 } },
	{ "spanheap, 64 held", singles_pairs, { 1, 2, 4, 16, 64 } },
	{ "spanheap, 64 in bulk", bulk_pairs, { 1, 2, 4, 16, 64 } },
	{ "spanheap, no caches", uncached_pairs,
	  { 1, 16, 32, 64, 256, 1024, 4096, 16384, 65536 } },
	{ "alloc_pages", alloc_pages_pairs, { 1, 2, 4, 8, 16, 64, 256 } },
	{ "kmem_cache 128 B", kmem_pairs, { 1 } },
	{ "gen_pool first fit", first_fit_pairs, { 1, 16, 256, 4096, 65536 } },
	{ "gen_pool best fit", best_fit_pairs, { 1, 16 } },
	{ "vmalloc", vmalloc_pairs, { 1, 4, 16, 64, 256, 1024 }, true },
	{ "kvmalloc", kvmalloc_pairs, { 1, 4, 16, 64, 256, 1024 }, true },
	{ "vm_map_ram", vm_map_ram_pairs, { 1, 4, 16, 64, 256, 1024 }, true },
	{ "ancestor", ancestor_pairs, { 1, 16, 256, 4096, 65536 } },
	{ "interrupts off and on", irqs_pairs, { 1 } },
};

#define PAIR_RUNS	(ARRAY_SIZE(pairs) * LENGTHS)

static void teardown(void)
{
	if (!IS_ERR_OR_NULL(uncached))
		spanheap_heap_destroy(uncached);
	uncached = NULL;
	if (ancestor)
		bench_ancestor.destroy(ancestor);
	ancestor = NULL;
	if (ram_pages && ram_pages[0])
		__free_page(ram_pages[0]);
	kvfree(ram_pages);
	ram_pages = NULL;
	if (best_fit)
		gen_pool_destroy(best_fit);
	best_fit = NULL;
	if (first_fit)
		gen_pool_destroy(first_fit);
	first_fit = NULL;
	kmem_cache_destroy(objects);
	objects = NULL;
	spanheap_client_unregister(client);
	client = NULL;
}

static struct gen_pool *new_pool(genpool_algo_t algo)
{
	struct gen_pool *pool = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);

	if (!pool)
		return NULL;
	gen_pool_set_algo(pool, algo, NULL);
	if (!gen_pool_add(pool, BENCH_NOWHERE, POOL_PAGES << PAGE_SHIFT, NUMA_NO_NODE))
		return pool;
	gen_pool_destroy(pool);
	return NULL;
}

static int setup(void)
{
	const struct spanheap_client_attr attr = { .name = "bench" };
	u32 i;

	client = spanheap_client_register(&attr);
	if (IS_ERR(client))
		return PTR_ERR(client);
	/* Of the heap's own size class, but merged with no other cache */
	objects = kmem_cache_create("spanheap_bench", 128, 0, SLAB_HWCACHE_ALIGN,
				    NULL);
	first_fit = new_pool(gen_pool_first_fit);
	best_fit = new_pool(gen_pool_best_fit);
	ram_pages = kvcalloc(RAM_PAGES, sizeof(*ram_pages), GFP_KERNEL);
	ancestor = bench_ancestor.create(POOL_PAGES);
	uncached = spanheap_heap_create(&spanheap_arena_ops, UNCACHED_PAGES, bench_clock);
	if (!objects || !first_fit || !best_fit || !ram_pages || !ancestor ||
	    IS_ERR(uncached))
		goto fail;
	ram_pages[0] = alloc_page(GFP_KERNEL);
	if (!ram_pages[0])
		goto fail;
	for (i = 1; i < RAM_PAGES; i++)
		ram_pages[i] = ram_pages[0];
	return 0;

fail:
	teardown();
	return -ENOMEM;
}

/* Number of pairs in a slice of slice_ns; also warms caches. 0: allocations fail. */
static u32 how_many(const struct pair *p, u32 nr, u64 slice_ns)
{
	u32 n = 1;
	u64 ns;

	for (;;) {
		ns = p->pairs(nr, n);
		if (!ns)
			return 0;
		if (ns >= slice_ns / 4 || n >= 1u << 20)
			break;
		n *= 2;
	}
	/* once more, now warm */
	ns = p->pairs(nr, n);
	return ns ? clamp_t(u64, div64_u64((u64)n * slice_ns, ns), 1, 1u << 20) : 0;
}

/* The fastest of some slices, ns; 0 when an allocation failed */
static u64 best_slice(const struct pair *p, u32 nr, u32 n)
{
	u64 best = U64_MAX;
	u32 i;

	for (i = 0; i < SLICES; i++) {
		best = min(best, p->pairs(nr, n));
		cond_resched();
	}
	return best;
}

int bench_pair(void)
{
	u32 *n, rep, i, k;
	int err = setup();

	if (err)
		return err;
	n = kcalloc(PAIR_RUNS, sizeof(*n), GFP_KERNEL);
	if (!n) {
		teardown();
		return -ENOMEM;
	}
	for (rep = 0; rep <= bench_reps; rep++) {
		for (i = 0; i < PAIR_RUNS; i++) {
			const struct pair *p = &pairs[i / LENGTHS];
			u32 nr = p->nr[i % LENGTHS];
			u64 ns;

			cond_resched();
			if (!nr || (p->maps && IS_ENABLED(CONFIG_UML)))
				continue;
			if (!rep) {
				n[i] = how_many(p, nr, SLICE_NS);
				continue;
			}
			if (!n[i])
				continue;
			ns = best_slice(p, nr, n[i]);
			if (ns)
				bench_out("pair", p->name, nr, "time", rep,
					  div_u64(ns * 1000, n[i]));
		}
	}
	for (i = 0, k = 0; i < PAIR_RUNS; i++)
		k += n[i] && pairs[i / LENGTHS].pairs == spanheap_pairs;
	kfree(n);
	teardown();
	return k == LENGTHS ? 0 : -ENOMEM;
}

/* ---- the cost of the heap profile ---- */

#define PROF_RATE	SZ_512K		/* the default */
#define PROF_ROUNDS	4u		/* of a repetition; each switches twice */
#define PROF_SLICES	4u
#define PROF_TIMES	(PROF_ROUNDS * PROF_SLICES)
#define PROF_SETTLE_NS	(10 * NSEC_PER_MSEC)	/* until the throttle has settled after a switch */
#define PROF_SLICE_NS	(4 * NSEC_PER_MSEC)	/* several samples, once settled */

/*
 * Uses of the memory. Memory that nobody touches is the worst case. Writing the same line of
 * each page would cause cache conflicts that differ from span to span, so vary the line.
 */
static void *some_lines(void *p, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		memset(p + i * (PAGE_SIZE + SMP_CACHE_BYTES), 0, SMP_CACHE_BYTES);
	return p;
}

static void *all_of_it(void *p, u32 nr)
{
	return memset(p, 0, nr * PAGE_SIZE);
}

PAIRS(lines, spanheap_alloc(client, nr, GFP_KERNEL), spanheap_free(some_lines(p, nr)))
PAIRS(written, spanheap_alloc(client, nr, GFP_KERNEL), spanheap_free(all_of_it(p, nr)))

static const struct pair used[] = {
	{ "untouched", spanheap_pairs, { 1, 16 } },
	{ "a line of each page written", lines_pairs, { 1, 16 } },
	{ "all written", written_pairs, { 1, 16 } },
};

#define PROF_RUNS	(ARRAY_SIZE(used) * 2)

/* A sample is seen when its span is freed */
static u64 prof_samples;
static void (*prof_freed)(struct special *sp);

static void count_sample(struct special *sp)
{
	prof_samples++;
	prof_freed(sp);
}

/* Slices of n pairs at a rate into time[], ns; false when an allocation failed */
static bool prof_slices(const struct pair *p, u32 nr, u32 n, u64 rate, u64 *time)
{
	u64 settled;
	u32 i;

	if (spanheap_prof_set_rate(spanheap_heap, rate))
		return false;
	settled = ktime_get_ns() + PROF_SETTLE_NS;
	do {
		if (!p->pairs(nr, n))
			return false;
		cond_resched();
	} while (ktime_get_ns() < settled);
	prof_samples = 0;
	for (i = 0; i < PROF_SLICES; i++) {
		time[i] = p->pairs(nr, n);
		if (!time[i])
			return false;
		cond_resched();
	}
	return true;
}

static int cmp_u64(const void *a, const void *b)
{
	return *(u64 *)a < *(u64 *)b ? -1 : *(u64 *)a > *(u64 *)b;
}

/*
 * Take the median and not the best slice: samples are rare, and the best slice would be the one
 * with the fewest. Off and on take turns, and change their order in every other round.
 */
static bool prof_rep(const struct pair *p, u32 nr, u32 n, u32 rep)
{
	u64 time[2][PROF_TIMES], samples = 0;
	u32 i;

	for (i = 0; i < 2 * PROF_ROUNDS; i++) {
		bool on = (i + 1) / 2 % 2;

		if (!prof_slices(p, nr, n, on ? PROF_RATE : 0, time[on] + i / 2 * PROF_SLICES))
			return false;
		samples += prof_samples;
	}
	for (i = 0; i < 2; i++) {
		sort(time[i], PROF_TIMES, sizeof(u64), cmp_u64, NULL);
		bench_out("profile", p->name, nr, i ? "on" : "off", rep,
			  div_u64(time[i][PROF_TIMES / 2] * 1000, n));
	}
	bench_out("profile", p->name, nr, "samples/s", rep,
		  div64_u64(samples * NSEC_PER_SEC, PROF_TIMES * PROF_SLICE_NS));
	return true;
}

int bench_profile(void)
{
	u32 n[PROF_RUNS], rep, i;
	int err = setup();

	if (err)
		return err;
	prof_freed = spanheap_heap->profile_freed;
	spanheap_heap->profile_freed = count_sample;
	for (rep = 0; rep <= bench_reps && !err; rep++) {
		for (i = 0; i < PROF_RUNS && !err; i++) {
			const struct pair *p = &used[i / 2];
			u32 nr = p->nr[i % 2];

			if (!rep)
				n[i] = how_many(p, nr, PROF_SLICE_NS);
			if (!n[i] || (rep && !prof_rep(p, nr, n[i], rep)))
				err = -ENOMEM;
		}
	}
	spanheap_heap->profile_freed = prof_freed;
	teardown();
	return spanheap_prof_set_rate(spanheap_heap, PROF_RATE) ?: err;
}

/* ---- allocations alone, of known-zero pages ---- */

#define ZERO_PAGES	16u
#define ZERO_SPANS	8u
#define ZERO_ROUNDS	2000u

/* With init_on_free=1 a free span is known to be zero; otherwise __GFP_ZERO clears it */
static u64 alloc_only(gfp_t gfp)
{
	void *p[ZERO_SPANS];
	u64 start, cycles = 0;
	u32 i, n;

	for (n = 0; n < ZERO_ROUNDS; n++) {
		start = bench_cycles();
		for (i = 0; i < ZERO_SPANS; i++)
			p[i] = spanheap_alloc(client, ZERO_PAGES, gfp);
		cycles += bench_cycles() - start;
		for (i = 0; i < ZERO_SPANS; i++)
			spanheap_free(p[i]);
	}
	return div_u64(bench_ps(cycles), ZERO_ROUNDS * ZERO_SPANS);
}

int bench_zero(void)
{
	const char *pages = want_init_on_free() ? "known zero" : "old data";
	u32 rep;
	int err = setup();

	if (err)
		return err;
	alloc_only(GFP_KERNEL);
	for (rep = 1; rep <= bench_reps; rep++) {
		bench_out("zero", pages, ZERO_PAGES, "zeroed alloc", rep,
			  alloc_only(GFP_KERNEL | __GFP_ZERO));
		bench_out("zero", pages, ZERO_PAGES, "plain alloc", rep,
			  alloc_only(GFP_KERNEL));
		cond_resched();
	}
	teardown();
	return 0;
}

/* ---- cold: a new heap that grows and backs pages span by span ---- */

#define COLD_PAGES	(SZ_64M >> PAGE_SHIFT)
#define COLD_SPANS	512u

struct cold {
	struct spanheap *heap;
	void *span[COLD_SPANS];
};

static void *cold_vmalloc(struct cold *c, u32 nr)
{
	return vmalloc((unsigned long)nr << PAGE_SHIFT);
}

static void cold_vfree(struct cold *c, void *p)
{
	vfree(p);
}

static void *cold_alloc(struct cold *c, u32 nr)
{
	return spanheap_heap_alloc(c->heap, NULL, nr, 0, 0, GFP_KERNEL, _RET_IP_);
}

static void cold_free(struct cold *c, void *p)
{
	spanheap_heap_free(c->heap, p, _RET_IP_);
}

/* Times n allocations, their frees, and a release of everything */
static int cold_run(struct cold *c, const char *name, u32 nr, u32 rep,
		    void *(*alloc)(struct cold *c, u32 nr),
		    void (*free)(struct cold *c, void *p))
{
	u32 n = min(COLD_SPANS, COLD_PAGES / nr), i;
	u64 t0, t1, t2, t3;
	int err = 0;

	t0 = ktime_get_ns();
	for (i = 0; i < n; i++) {
		c->span[i] = alloc(c, nr);
		if (!c->span[i])
			err = -ENOMEM;
	}
	t1 = ktime_get_ns();
	for (i = 0; i < n; i++)
		free(c, c->span[i]);
	t2 = ktime_get_ns();
	if (c->heap)
		spanheap_scavenge(c->heap, 0, U64_MAX);
	t3 = ktime_get_ns();
	if (err || !rep)
		return err;
	bench_out("cold", name, nr, "alloc", rep, div_u64((t1 - t0) * 1000, n));
	bench_out("cold", name, nr, "alloc+free", rep, div_u64((t2 - t0) * 1000, n));
	bench_out("cold", name, nr, "alloc+free+release", rep,
		  div_u64((t3 - t0) * 1000, n));
	return 0;
}

int bench_cold(void)
{
	static const u32 nr[] = { 1, 4, 16, 64, 256, 1024 };
	struct cold *c = kzalloc(sizeof(*c), GFP_KERNEL);
	u32 rep, i;
	int err = 0;

	if (!c)
		return -ENOMEM;
	for (rep = 0; rep <= bench_reps && !err; rep++) {
		for (i = 0; i < ARRAY_SIZE(nr) && !err; i++) {
			c->heap = NULL;
			err = cold_run(c, "vmalloc", nr[i], rep, cold_vmalloc, cold_vfree);
			if (err)
				break;
			c->heap = spanheap_heap_create(&spanheap_arena_ops,
						       COLD_PAGES + GROW_MIN, bench_clock);
			if (IS_ERR(c->heap)) {
				err = PTR_ERR(c->heap);
				break;
			}
			err = spanheap_cache_init(c->heap, 256) ?:
			      cold_run(c, "spanheap", nr[i], rep, cold_alloc, cold_free);
			spanheap_heap_destroy(c->heap);
			cond_resched();
		}
	}
	kfree(c);
	return err;
}
