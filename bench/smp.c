// SPDX-License-Identifier: GPL-2.0
/*
 * One CPU compared with two: pairs on each, allocation on one and free on the other, also of
 * aligned spans, and look-up with and without concurrent allocation.
 */
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bench.h"

#define WARM_NS		(3 * NSEC_PER_MSEC)	/* until the ring and the caches are full */
#define SLICE_NS	(4 * NSEC_PER_MSEC)
#define SLICES		15u	/* of each kind; the best makes a repetition */
#define RING		1024u	/* spans on their way to the other CPU, at most */
#define RING_PAGES	16384u	/* ... and pages */
#define BURST		64u	/* pairs between looks at the clock */

struct ring {
	void *slot[RING];
	u32 size;
	u32 put ____cacheline_aligned_in_smp;
	u32 got ____cacheline_aligned_in_smp;
};

enum role { PAIRS, PRODUCE, CONSUME, NOISE };

struct worker {
	struct task_struct *task;
	enum role role;
	const struct smp_subject *subject;
	u32 nr;
	struct ring *ring;
	u32 seen;		/* last position of the other worker that was read */
	atomic_t *ready;	/* number of workers that are ready */
	u32 *stop;		/* set to end the run */
	u32 wait_for;
	u64 ops;
	u64 ns;
} ____cacheline_aligned_in_smp;

struct smp_subject {
	const char *name;
	void *(*alloc)(u32 nr);
	void (*free)(void *p, u32 nr);
	u32 nr[4];
};

static struct spanheap_client *client;
static struct kmem_cache *objects;
static void *ancestor;

static void *heap_alloc(u32 nr)
{
	return spanheap_alloc(client, nr, GFP_KERNEL);
}

static void heap_free(void *p, u32 nr)
{
	spanheap_free(p);
}

static void *pages_alloc(u32 nr)
{
	return alloc_pages(GFP_KERNEL, order_base_2(nr));
}

static void pages_free(void *p, u32 nr)
{
	__free_pages(p, order_base_2(nr));
}

static void *object_alloc(u32 nr)
{
	return kmem_cache_alloc(objects, GFP_KERNEL);
}

static void object_free(void *p, u32 nr)
{
	kmem_cache_free(objects, p);
}

static void *ancestor_alloc(u32 nr)
{
	return bench_ancestor.alloc(ancestor, nr);
}

static void ancestor_free(void *p, u32 nr)
{
	bench_ancestor.free(ancestor, p, nr);
}

/* Measures the cost of the ring itself */
static void *nothing_alloc(u32 nr)
{
	return &client;
}

static void nothing_free(void *p, u32 nr)
{
}

static const struct smp_subject subjects[] = {
	{ "spanheap", heap_alloc, heap_free, { 1, 16, 64, 1024 } },
	{ "alloc_pages", pages_alloc, pages_free, { 1, 16 } },
	{ "kmem_cache 128 B", object_alloc, object_free, { 1 } },
	{ "ancestor", ancestor_alloc, ancestor_free, { 1, 16, 64 } },
	{ "nothing", nothing_alloc, nothing_free, { 1 } },
};

/* As fix_align_alloc_test() of the kernel's test_vmalloc.c: 5 pages, zeroed or not */
#define ALIGNED_PAGES	5u
#define ALIGN_SHIFT	15u

static void *aligned_alloc(u32 nr)
{
	return spanheap_alloc_aligned(client, nr, ALIGN_SHIFT, GFP_KERNEL);
}

static void *aligned_zalloc(u32 nr)
{
	return spanheap_alloc_aligned(client, nr, ALIGN_SHIFT, GFP_KERNEL | __GFP_ZERO);
}

/*
 * Aligned to a page only, which is less work: __vmalloc_node(), which takes an alignment,
 * is not exported
 */
static void *vmalloc_alloc(u32 nr)
{
	return __vmalloc((unsigned long)nr << PAGE_SHIFT, GFP_KERNEL);
}

static void *vmalloc_zalloc(u32 nr)
{
	return __vmalloc((unsigned long)nr << PAGE_SHIFT, GFP_KERNEL | __GFP_ZERO);
}

static void vmalloc_free(void *p, u32 nr)
{
	vfree(p);
}

static const struct smp_subject aligned[] = {
	{ "spanheap", heap_alloc, heap_free, { ALIGNED_PAGES } },
	{ "spanheap, aligned", aligned_alloc, heap_free, { ALIGNED_PAGES } },
	{ "vmalloc", vmalloc_alloc, vmalloc_free, { ALIGNED_PAGES } },
	{ "spanheap, aligned, zeroed", aligned_zalloc, heap_free, { ALIGNED_PAGES } },
	{ "vmalloc, zeroed", vmalloc_zalloc, vmalloc_free, { ALIGNED_PAGES } },
};

static bool pair_burst(struct worker *w)
{
	u32 i;

	for (i = 0; i < BURST; i++) {
		void *p = w->subject->alloc(w->nr);

		if (!p)
			return false;
		w->subject->free(p, w->nr);
	}
	w->ops += BURST;
	return true;
}

/* Allocate some lengths, cached and not, and hold them for a while */
static bool noise_burst(struct worker *w)
{
	void *p[BURST];
	u32 i;

	for (i = 0; i < BURST; i++)
		p[i] = spanheap_alloc(client, 1 + i, GFP_KERNEL);
	for (i = 0; i < BURST; i++)
		spanheap_free(p[i]);
	w->ops += BURST;
	return true;
}

/* Publishes its position once per burst, and reads the other one only when the ring is full */
static bool produce_burst(struct worker *w)
{
	struct ring *r = w->ring;
	u32 put = r->put, i, n;
	bool ok = true;

	if (put - w->seen == r->size)
		/* pairs with the release in consume_burst() */
		w->seen = smp_load_acquire(&r->got);
	n = min(BURST, r->size - (put - w->seen));
	for (i = 0; i < n && ok; i++) {
		void *p = w->subject->alloc(w->nr);

		ok = p;
		if (ok)
			r->slot[put++ % RING] = p;
	}
	w->ops += put - r->put;
	if (n)
		/* pairs with the acquire in consume_burst() */
		smp_store_release(&r->put, put);
	else
		cpu_relax();
	return ok;
}

static bool consume_burst(struct worker *w)
{
	struct ring *r = w->ring;
	u32 got = r->got, i, n;

	if (got == w->seen)
		/* pairs with the release in produce_burst() */
		w->seen = smp_load_acquire(&r->put);
	n = min(BURST, w->seen - got);
	for (i = 0; i < n; i++)
		w->subject->free(r->slot[got++ % RING], w->nr);
	if (n)
		/* pairs with the acquire in produce_burst() */
		smp_store_release(&r->got, got);
	else
		cpu_relax();
	w->ops += n;
	return true;
}

/* Run bursts for ns, or until *stop; ops and ns are those of this run */
static void run_for(struct worker *w, u64 ns)
{
	static bool (*const burst[])(struct worker *w) = {
		[PAIRS] = pair_burst, [PRODUCE] = produce_burst,
		[CONSUME] = consume_burst, [NOISE] = noise_burst,
	};
	u64 start = ktime_get_ns();
	bool ok;

	w->ops = 0;
	do {
		ok = burst[w->role](w);
		w->ns = ktime_get_ns() - start;
	} while (ok && w->ns <= ns && !READ_ONCE(*w->stop));
}

static int worker_fn(void *data)
{
	struct worker *w = data;

	atomic_inc(w->ready);
	while (atomic_read(w->ready) < w->wait_for)
		cond_resched();	/* this CPU may have to start the other workers */
	if (w->role == NOISE) {
		run_for(w, U64_MAX);
	} else {
		run_for(w, WARM_NS);
		run_for(w, SLICE_NS);
	}
	if (w->role != NOISE)
		WRITE_ONCE(*w->stop, 1);	/* a worker that ran alone would seem fast */
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* The n-th online CPU */
static int nth_cpu(u32 n)
{
	int cpu;

	for_each_online_cpu(cpu)
		if (!n--)
			return cpu;
	return cpumask_first(cpu_online_mask);
}

static int start(struct worker *w, u32 cpu)
{
	w->task = kthread_create(worker_fn, w, "spanheap_bench");
	if (IS_ERR(w->task))
		return PTR_ERR(w->task);
	kthread_bind(w->task, nth_cpu(cpu));
	get_task_struct(w->task);
	wake_up_process(w->task);
	return 0;
}

static void stop(struct worker *w)
{
	if (IS_ERR_OR_NULL(w->task))
		return;
	kthread_stop(w->task);
	put_task_struct(w->task);
}

/* Pairs per second of n workers with role[0 .. n) together */
static u64 run_slice(const struct smp_subject *s, u32 nr, const enum role *role, u32 n)
{
	struct worker *w = kcalloc(n, sizeof(*w), GFP_KERNEL);
	struct ring *ring = kzalloc(sizeof(*ring), GFP_KERNEL);
	atomic_t ready = ATOMIC_INIT(0);
	u32 stopped = 0, i;
	u64 rate = 0;

	if (ring)
		ring->size = clamp(RING_PAGES / nr, 1u, RING);
	for (i = 0; w && ring && i < n; i++) {
		w[i] = (struct worker) {
			.role = role[i], .subject = s, .nr = nr, .ring = ring,
			.ready = &ready, .stop = &stopped, .wait_for = n,
		};
		if (start(&w[i], i)) {
			atomic_set(&ready, n);
			WRITE_ONCE(stopped, 1);
			break;
		}
	}
	if (!w || !ring)
		stopped = 1;
	while (!READ_ONCE(stopped))
		schedule_timeout_interruptible(1);
	for (i = 0; w && i < n; i++)
		stop(&w[i]);
	for (i = 0; w && i < n; i++)
		if (w[i].ns && w[i].role != CONSUME)
			rate += div64_u64(w[i].ops * NSEC_PER_SEC, w[i].ns);
	for (; ring && ring->got != ring->put; ring->got++)
		s->free(ring->slot[ring->got % RING], nr);
	kfree(ring);
	kfree(w);
	return rate;
}

static const struct {
	const char *metric;
	enum role role[2];
	u32 workers;
} hows[] = {
	{ "1 CPU pairs/s", { PAIRS }, 1 },
	{ "2 CPUs pairs/s", { PAIRS, PAIRS }, 2 },
	{ "producer/consumer pairs/s", { PRODUCE, CONSUME }, 2 },
};

/* The kinds take turns slice by slice, so that a disturbance meets all of them */
static void run(const char *what, const struct smp_subject *s, u32 nr, u32 rep)
{
	u64 best[ARRAY_SIZE(hows)] = {};
	u32 i, k;

	for (i = 0; i < SLICES; i++)
		for (k = 0; k < ARRAY_SIZE(hows); k++)
			best[k] = max(best[k], run_slice(s, nr, hows[k].role, hows[k].workers));
	for (k = 0; rep && k < ARRAY_SIZE(hows); k++)	/* rep 0 only warms */
		bench_out(what, s->name, nr, hows[k].metric, rep, best[k]);
}

static void teardown(void)
{
	if (ancestor)
		bench_ancestor.destroy(ancestor);
	kmem_cache_destroy(objects);
	spanheap_client_unregister(client);
	ancestor = NULL;
	objects = NULL;
	client = NULL;
}

static int setup(void)
{
	const struct spanheap_client_attr attr = { .name = "bench" };

	client = spanheap_client_register(&attr);
	if (IS_ERR(client))
		return PTR_ERR(client);
	objects = kmem_cache_create("spanheap_bench", 128, 0, SLAB_HWCACHE_ALIGN,
				    NULL);
	ancestor = bench_ancestor.create(SZ_1G >> PAGE_SHIFT);
	if (objects && ancestor)
		return 0;
	teardown();
	return -ENOMEM;
}

static int run_all(const char *what, const struct smp_subject *s, u32 n)
{
	u32 rep, i, k;
	int err;

	if (num_online_cpus() < 2)
		return -EOPNOTSUPP;
	err = setup();
	if (err)
		return err;
	for (rep = 0; rep <= bench_reps; rep++) {
		for (i = 0; i < n; i++)
			for (k = 0; k < ARRAY_SIZE(s[i].nr) && s[i].nr[k]; k++)
				run(what, &s[i], s[i].nr[k], rep);
	}
	teardown();
	return 0;
}

int bench_smp(void)
{
	return run_all("smp", subjects, ARRAY_SIZE(subjects));
}

int bench_align(void)
{
	return run_all("align", aligned, ARRAY_SIZE(aligned));
}

/* ---- look-up ---- */

#define LOOK_SPANS	64u
#define LOOK_PAGES	700u	/* longer than a leaf of the map */
#define LOOKS		20000u
#define LOOK_SLICES	10u

/* Time of one look-up in ps, the best of some slices; 0: not found */
static u64 look(void *const *at)
{
	u64 best = U64_MAX, start;
	u32 i, slice, found;

	for (slice = 0; slice < LOOK_SLICES; slice++) {
		start = ktime_get_ns();
		for (i = 0, found = 0; i < LOOKS; i++)
			found += !!spanheap_base(at[i % LOOK_SPANS]);
		best = min(best, ktime_get_ns() - start);
		if (found != LOOKS)
			return 0;
	}
	return div_u64(best * 1000, LOOKS);
}

/* Interior addresses, of long spans and of short ones */
static int look_all(void **at, u32 nr_pages, u32 rep)
{
	struct worker w;
	atomic_t ready = ATOMIC_INIT(0);
	u32 stopped = 0, i;
	u64 alone, beside;
	int err;

	for (i = 0; i < LOOK_SPANS; i++) {
		at[i] = spanheap_alloc(client, nr_pages, GFP_KERNEL);
		if (!at[i])
			break;
		at[i] += (nr_pages * i / LOOK_SPANS) * PAGE_SIZE + i;
	}
	alone = i == LOOK_SPANS ? look(at) : 0;
	w = (struct worker) {
		.role = NOISE, .ready = &ready, .stop = &stopped, .wait_for = 1,
	};
	err = start(&w, 1);
	while (!err && !atomic_read(&ready))
		cond_resched();
	beside = err || !alone ? 0 : look(at);
	WRITE_ONCE(stopped, 1);
	if (!err)
		stop(&w);
	while (i--)
		spanheap_free(spanheap_base(at[i]));
	if (!alone || !beside)
		return -ENOMEM;
	if (rep) {
		bench_out("lookup", "spanheap", nr_pages, "alone", rep, alone);
		bench_out("lookup", "spanheap", nr_pages, "beside", rep, beside);
	}
	return 0;
}

int bench_lookup(void)
{
	void **at = kcalloc(LOOK_SPANS, sizeof(*at), GFP_KERNEL);
	int err = at ? setup() : -ENOMEM;
	u32 rep;

	if (err) {
		kfree(at);
		return err;
	}
	/* not on the CPU of the noise */
	set_cpus_allowed_ptr(current, cpumask_of(nth_cpu(0)));
	for (rep = 0; rep <= bench_reps && !err; rep++)
		err = look_all(at, 8, rep) ?: look_all(at, LOOK_PAGES, rep);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	teardown();
	kfree(at);
	return err;
}
