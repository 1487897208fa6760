// SPDX-License-Identifier: GPL-2.0
/*
 * Per-CPU caches of backed spans, and the way in and out of the heap.
 *
 * One allocation, top to bottom: spanheap_heap_alloc() below pops a cached span,
 * or has the page heap find one and give it memory (spanheap_span.c), clears it
 * where that is asked, and hands it out. A free pushes the span on the CPU's
 * cache, or puts it back into the page heap.
 *
 * A CPU has two magazines of each small length, so that a workload on the edge of
 * one does not go further each time. After Bonwick and Adams, "Magazines and Vmem",
 * USENIX 2001. Of longer spans a CPU keeps the last few, for whoever uses one length
 * again and again. What is beyond goes to other CPUs through spanheap_depot.c. Caches
 * are emptied by each pass of the scavenger, by memory pressure, and before the heap
 * grows; they fill with what is used, so their size follows the use.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <compat/kasan.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define GFP_ALLOWED	(GFP_KERNEL | GFP_ATOMIC | __GFP_ZERO | __GFP_NOWARN | \
			 __GFP_NORETRY | __GFP_RETRY_MAYFAIL)
#define FOLD_PAGES	128LL	/* a CPU's share of a client's pages, at most, or two spans */

unsigned int spanheap_cache_kb = 256;

static int cpuhp_state;

/* ---- this CPU's section ---- */

/*
 * NULL: the caller is an interrupt that came in between, or caches are paused.
 * Interrupts nest, so busy needs no atomic operation: one that comes between the
 * test and the store has left the section when the store is done.
 */
static struct span_cache *enter(struct spanheap *h)
{
	struct span_cache *c;

	preempt_disable();
	c = this_cpu_ptr(h->cache);
	if (unlikely(READ_ONCE(c->busy)))
		goto out;
	WRITE_ONCE(c->busy, true);
	barrier();	/* what follows is the section's */
	/* Only now: a visit that found us not busy has slow_only set before */
	if (unlikely(READ_ONCE(h->slow_only))) {
		WRITE_ONCE(c->busy, false);
		goto out;
	}
	return c;
out:
	preempt_enable();
	return NULL;
}

static void leave(struct span_cache *c)
{
	barrier();	/* what went before was the section's */
	WRITE_ONCE(c->busy, false);
	preempt_enable();
}

struct visit {
	struct spanheap *h;
	struct spanheap_client *client;
	void (*fn)(struct visit *v, struct span_cache *c, int cpu);
	atomic_t missed;
};

static void visit_this_cpu(void *arg)
{
	struct visit *v = arg;
	struct span_cache *c = this_cpu_ptr(v->h->cache);

	if (READ_ONCE(c->busy))
		atomic_inc(&v->missed);
	else if (v->fn)
		v->fn(v, c, smp_processor_id());
}

/*
 * Run fn for each online CPU on that CPU, outside of its section; a section is
 * short, so few are met twice. fn must bear being run again.
 */
static void visit_all(struct visit *v)
{
	int cpu;

	atomic_set(&v->missed, 0);
	on_each_cpu(visit_this_cpu, v, 1);
	if (!atomic_read(&v->missed))
		return;
	/* Each CPU until it is met outside: all at once may never be */
	for_each_online_cpu(cpu) {
		do {
			atomic_set(&v->missed, 0);
			if (smp_call_function_single(cpu, visit_this_cpu, v, 1))
				break;	/* offline by now */
		} while (atomic_read(&v->missed));
	}
}

/* No CPU uses its cache until spanheap_cache_resume() */
void spanheap_cache_pause(struct spanheap *h)
{
	struct visit v = { .h = h };

	if (!h->cache)
		return;
	spin_lock_irq(&h->lock);
	WRITE_ONCE(h->slow_only, h->slow_only + 1);
	spin_unlock_irq(&h->lock);
	visit_all(&v);
}

void spanheap_cache_resume(struct spanheap *h)
{
	if (!h->cache)
		return;
	spin_lock_irq(&h->lock);
	WRITE_ONCE(h->slow_only, h->slow_only - 1);
	spin_unlock_irq(&h->lock);
}

/* ---- what a client has ---- */

static void raise_peak(struct spanheap_client *c, s64 pages)
{
	s64 peak = atomic64_read(&c->peak_pages);

	while (pages > peak && !atomic64_try_cmpxchg(&c->peak_pages, &peak, pages))
		;
}

/* This CPU's share goes into the client's total; in the section */
static void fold(struct spanheap_client *c, struct client_counts *n)
{
	raise_peak(c, atomic64_read(&c->pages) + n->peak);
	atomic64_add(n->pages, &c->pages);
	n->pages = 0;
	n->peak = 0;
}

static bool charge_exact(struct spanheap_client *c, u32 nr)
{
	s64 limit = READ_ONCE(c->limit_pages), old = atomic64_read(&c->pages);

	/* What is refused is never seen in pages, or others were refused for it */
	do {
		if (limit && old + nr > limit)
			return false;
	} while (!atomic64_try_cmpxchg(&c->pages, &old, old + nr));
	raise_peak(c, old + nr);
	return true;
}

/* Charge nr pages from the slow path; false: over the limit */
bool spanheap_charge(struct spanheap_client *c, u32 nr)
{
	struct span_cache *cache = c->heap->cache ? enter(c->heap) : NULL;

	if (cache) {
		fold(c, per_cpu_ptr(c->counts, cache->cpu));
		leave(cache);
	}
	return charge_exact(c, nr);
}

void spanheap_uncharge(struct spanheap_client *c, u32 nr)
{
	atomic64_sub(nr, &c->pages);
}

/* A span of nr pages came; the shared total is touched for some at once */
static void count_in(struct spanheap_client *c, struct client_counts *n, u32 nr)
{
	s64 pages = n->pages + nr;

	n->pages = pages;
	if (pages > n->peak) {
		n->peak = pages;
		if (unlikely(pages > max(FOLD_PAGES, 2LL * nr)))
			fold(c, n);
	}
}

/* ... and went */
static void count_out(struct spanheap_client *c, struct client_counts *n, u32 nr)
{
	n->pages -= nr;
	if (unlikely(n->pages < -max(FOLD_PAGES, 2LL * nr)))
		fold(c, n);
}

static void fold_visit(struct visit *v, struct span_cache *c, int cpu)
{
	fold(v->client, per_cpu_ptr(v->client->counts, cpu));
}

/* From here on the limit holds for every allocation that begins */
void spanheap_set_limit(struct spanheap_client *c, u64 limit_pages)
{
	struct visit v = { .h = c->heap, .client = c, .fn = fold_visit };
	int cpu;

	spin_lock_irq(&c->heap->lock);
	WRITE_ONCE(c->limit_pages, limit_pages);
	spin_unlock_irq(&c->heap->lock);
	if (!c->heap->cache)
		return;
	/* Sections that begin now see the limit; shares of before are folded */
	cpus_read_lock();
	visit_all(&v);
	for_each_possible_cpu(cpu)
		if (!cpu_online(cpu))
			fold(c, per_cpu_ptr(c->counts, cpu));
	cpus_read_unlock();
}

/*
 * All numbers of a client. The peak of one without a limit may come out high by
 * twice the largest share, FOLD_PAGES or two spans, for each CPU but one: when one
 * had its share up before another had its own down.
 */
void spanheap_client_sum(struct spanheap_client *c, struct client_counts *sum)
{
	unsigned long flags;
	int cpu;

	spin_lock_irqsave(&c->heap->lock, flags);
	sum->allocs = c->allocs;
	sum->frees = c->frees;
	spin_unlock_irqrestore(&c->heap->lock, flags);
	sum->pages = atomic64_read(&c->pages);
	sum->peak = sum->pages;
	for_each_possible_cpu(cpu) {
		struct client_counts *n = per_cpu_ptr(c->counts, cpu);

		sum->allocs += READ_ONCE(n->allocs);
		sum->frees += READ_ONCE(n->frees);
		sum->pages += READ_ONCE(n->pages);
		sum->peak += READ_ONCE(n->peak);
	}
	sum->pages = max_t(s64, sum->pages, 0);	/* read while it moved */
	sum->peak = max_t(s64, sum->peak, atomic64_read(&c->peak_pages));
}

int spanheap_client_init(struct spanheap_client *c)
{
	c->counts = alloc_percpu(struct client_counts);
	return c->counts ? 0 : -ENOMEM;
}

void spanheap_client_exit(struct spanheap_client *c)
{
	free_percpu(c->counts);
}

/* ---- magazines and slots; in the section ---- */

/* The loaded magazine is empty. False: so are the other one and the depot. */
static noinline bool bin_reload(struct spanheap *h, struct cache_bin *bin, u32 nr)
{
	u32 i;

	if (!bin->other_full && !spanheap_depot_swap(h, nr, &bin->other, false))
		return false;
	swap(bin->loaded, bin->other);
	bin->other_full = false;
	bin->nr = bin->size;
	/* The first has to be waited for; the next, which bin_pop() gets early, come with it */
	for (i = 2; i <= min(bin->size, MAG_AHEAD); i++)
		prefetchw(bin->loaded->span[bin->size - i]);
	return true;
}

/*
 * Ahead are the spans handed out next, and who frees this one may well free those next.
 * If another CPU had them last, it takes a while to get their records.
 */
static struct span *bin_pop(struct spanheap *h, struct cache_bin *bin, u32 nr)
{
	struct span *s;
	u32 n;

	if (unlikely(!bin->nr) && !bin_reload(h, bin, nr))
		return NULL;
	n = --bin->nr;
	s = bin->loaded->span[n];
	s->ahead = bin->loaded->span[n - min(n, MAG_AHEAD)];
	prefetchw(s->ahead);
	return s;
}

/* The loaded magazine is full. Returns the other one's spans if the depot is, too. */
static noinline struct llist_node *bin_unload(struct spanheap *h, struct cache_bin *bin, u32 nr)
{
	struct llist_node *spill = NULL;

	if (bin->other_full && !spanheap_depot_swap(h, nr, &bin->other, true))
		spill = spanheap_mag_chain(bin->other, bin->size);
	swap(bin->loaded, bin->other);
	bin->other_full = true;
	bin->nr = 0;
	return spill;
}

static struct llist_node *bin_push(struct spanheap *h, struct cache_bin *bin, struct span *s)
{
	struct llist_node *spill = NULL;

	if (unlikely(bin->nr == bin->size))
		spill = bin_unload(h, bin, s->nr_pages);
	bin->loaded->span[bin->nr++] = s;
	return spill;
}

static struct span *slot_pop(struct spanheap *h, struct span_cache *c, u32 nr)
{
	struct span *s;
	u32 i;

	for (i = 0; i < CACHE_SLOTS; i++) {
		s = c->slot[i];
		if (s && c->slot_nr[i] == nr) {
			c->slot[i] = NULL;
			s->ahead = s;
			return s;
		}
	}
	s = spanheap_shelf_take(h, nr);
	if (s)
		s->ahead = s;
	return s;
}

/* Without a free slot, the span that was in one goes to the shelf, or is returned */
static struct llist_node *slot_push(struct spanheap *h, struct span_cache *c, struct span *s)
{
	struct span *old;
	u32 i = 0;

	while (i < CACHE_SLOTS && c->slot[i])
		i++;
	if (i == CACHE_SLOTS) {
		i = c->next_slot;
		c->next_slot = (i + 1) % CACHE_SLOTS;
	}
	old = c->slot[i];
	c->slot[i] = s;
	c->slot_nr[i] = s->nr_pages;
	if (!old || spanheap_shelf_put(h, old))
		return NULL;
	old->cached.next = NULL;
	return &old->cached;
}

static struct span *cache_pop(struct spanheap *h, struct span_cache *c, u32 nr)
{
	return nr <= CACHE_PAGES ? bin_pop(h, &c->bin[nr], nr) : slot_pop(h, c, nr);
}

/* Returns what has no room here any more */
static struct llist_node *cache_push(struct spanheap *h, struct span_cache *c, struct span *s)
{
	return s->nr_pages <= CACHE_PAGES ? bin_push(h, &c->bin[s->nr_pages], s) :
					    slot_push(h, c, s);
}

/* ---- the profile ---- */

/* In the section: is the allocation just counted a sample? */
static bool prof_due(const struct span_cache *c)
{
	return unlikely(c->taken_pages > c->prof_at);
}

static u64 prof_due_slow(struct spanheap *h, u32 nr)
{
	struct span_cache *c = h->cache ? enter(h) : NULL;
	u64 due = 0;

	if (!c)
		return spanheap_prof_chance(h, nr);
	c->prof_at -= nr;	/* taken, but not here */
	if (prof_due(c))
		due = spanheap_prof_due(h, c);
	leave(c);
	return due;
}

static void redraw_visit(struct visit *v, struct span_cache *c, int cpu)
{
	spanheap_prof_draw(v->h, c);
}

/* The rate has changed: what was drawn before does not matter any more */
void spanheap_cache_redraw(struct spanheap *h)
{
	struct visit v = { .h = h, .fn = redraw_visit };
	int cpu;

	if (!h->cache)
		return;
	cpus_read_lock();
	visit_all(&v);
	for_each_possible_cpu(cpu)
		if (!cpu_online(cpu))
			spanheap_prof_draw(h, per_cpu_ptr(h->cache, cpu));
	cpus_read_unlock();
}

/* ---- a span out of the cache and into it ---- */

/* In the section: s goes to the client. Must it be cleared? */
static bool count_alloc(struct span_cache *c, struct spanheap_client *client, bool charged,
			struct span *s, u32 obj_size, gfp_t gfp)
{
	struct client_counts *n = per_cpu_ptr(client->counts, c->cpu);

	if (likely(!charged))
		count_in(client, n, s->nr_pages);
	n->allocs++;
	WRITE_ONCE(c->allocs, c->allocs + 1);	/* before its pages */
	WRITE_ONCE(c->taken_pages, c->taken_pages + s->nr_pages);
	if (obj_size)
		c->extra_objects += extra_objects(s->nr_pages, obj_size);
	if (!wants_zero(s, client, gfp))
		return false;
	if (s->needzero)
		c->zeroed_pages += s->nr_pages;
	else
		c->zero_skipped_pages += s->nr_pages;
	return s->needzero;
}

/* In the section: s, TAKEN now, comes from the client that had it */
static void count_free(struct span_cache *c, struct span *s)
{
	struct spanheap_client *client = s->client;
	struct client_counts *n = per_cpu_ptr(client->counts, c->cpu);

	if (unlikely(READ_ONCE(client->limit_pages)))
		spanheap_uncharge(client, s->nr_pages);
	else
		count_out(client, n, s->nr_pages);
	n->frees++;
	WRITE_ONCE(c->frees, c->frees + 1);	/* before its pages */
	WRITE_ONCE(c->cached_pages, c->cached_pages + s->nr_pages);
	if (s->obj_size)
		c->extra_objects -= extra_objects(s->nr_pages, s->obj_size);
	s->dirt = client->dirt;
	WRITE_ONCE(s->client, NULL);
}

/* s goes into the cache, and the section is left */
static void push_and_leave(struct spanheap *h, struct span_cache *c, struct span *s)
{
	struct llist_node *spill = cache_push(h, c, s);

	leave(c);
	if (unlikely(spill))
		spanheap_put_cached(h, spill);
}

/* The address of a span that was cached; NULL: none is, or the client is at its limit */
static __always_inline void *cache_get(struct spanheap *h, struct spanheap_client *client,
				       u32 nr, u32 obj_size, gfp_t gfp, unsigned long caller)
{
	struct span_cache *c = enter(h);
	bool limited, clear;
	u64 sample = 0;
	struct span *s;
	void *addr;

	if (!c)
		return NULL;
	s = cache_pop(h, c, nr);
	if (unlikely(!s)) {
		leave(c);
		return NULL;
	}
	limited = READ_ONCE(client->limit_pages);
	if (unlikely(limited) && !charge_exact(client, nr)) {
		push_and_leave(h, c, s);
		return NULL;
	}
	/* Before it is counted: the invariant check compares */
	WRITE_ONCE(s->state, SPAN_TAKEN);
	clear = count_alloc(c, client, limited, s, obj_size, gfp);
	if (static_branch_likely(&spanheap_prof_key) && prof_due(c))
		sample = spanheap_prof_due(h, c);
	leave(c);

	addr = span_addr(h, s);
	if (clear)
		spanheap_clear(h, s->start, nr, gfpflags_allow_blocking(gfp));
	compat_kasan_use(addr, nr, true);
	spanheap_publish(s, client, obj_size, caller, SPAN_INUSE);
	trace_spanheap_alloc((unsigned long)addr, nr, gfp, caller);
	if (unlikely(sample))
		spanheap_prof_sample(h, addr, nr, sample, gfp, caller);
	return addr;
}

/* As push_and_leave(), but s is cleared first, which takes too long for the section */
static noinline void leave_clear_push(struct spanheap *h, struct span_cache *c, struct span *s)
{
	leave(c);
	spanheap_clear(h, s->start, s->nr_pages, false);
	c = enter(h);
	if (c) {
		push_and_leave(h, c, s);
	} else {
		s->cached.next = NULL;
		spanheap_put_cached(h, &s->cached);
	}
}

/* The span at addr goes into the cache; false: it is the slow path's business */
static __always_inline bool cache_put(struct spanheap *h, const void *addr, unsigned long caller)
{
	bool clear = want_init_on_free();
	struct span_cache *c;
	struct span *s;
	u32 nr;

	c = enter(h);
	if (!c)
		return false;
	/* With preemption off, no record goes back to the system under us */
	s = spanheap_span_at(h, addr);
	if (!s)
		goto slow;
	nr = READ_ONCE(s->nr_pages);
	if (nr > h->cache_max ||
	    cmpxchg(&s->state, SPAN_INUSE, SPAN_TAKEN) != SPAN_INUSE)
		goto slow;
	if (unlikely(span_addr(h, s) != addr || s->nr_pages != nr)) {
		/* A second free got here late: the record is another span's now */
		WRITE_ONCE(s->state, SPAN_INUSE);
		goto slow;
	}
	prefetchw(s->ahead);
	compat_kasan_use((void *)addr, nr, false);
	count_free(c, s);
	s->needzero = !clear;
	s->freer = caller;
	/* Now that it is counted: the invariant check compares */
	WRITE_ONCE(s->state, SPAN_CACHED);
	if (clear)
		leave_clear_push(h, c, s);
	else
		push_and_leave(h, c, s);
	trace_spanheap_free((unsigned long)addr, nr, caller);
	return true;
slow:
	leave(c);
	return false;
}

/* ---- emptying ---- */

static void take_out(struct spanheap *h, struct magazine *m, u32 n)
{
	if (n)
		llist_add_batch(spanheap_mag_chain(m, n), &m->span[n - 1]->cached, &h->drained);
}

/* May run in an interrupt: takes no lock */
static void drain_visit(struct visit *v, struct span_cache *c, int cpu)
{
	u32 nr, i;

	for (nr = 1; nr <= CACHE_PAGES; nr++) {
		struct cache_bin *bin = &c->bin[nr];

		take_out(v->h, bin->loaded, bin->nr);
		take_out(v->h, bin->other, bin->other_full ? bin->size : 0);
		bin->nr = 0;
		bin->other_full = false;
	}
	for (i = 0; i < CACHE_SLOTS; i++) {
		if (c->slot[i])
			llist_add(&c->slot[i]->cached, &v->h->drained);
		c->slot[i] = NULL;
	}
}

/*
 * Put what is cached into the page heap: all of it, also what another caller took out.
 * Process context; may sleep, but only for others in here, who allocate nothing
 * either, so reclaim may call it.
 */
void spanheap_cache_drain(struct spanheap *h)
{
	struct visit v = { .h = h, .fn = drain_visit };

	if (!h->cache)
		return;
	mutex_lock(&h->drain_lock);
	visit_all(&v);
	spanheap_depot_drain(h);
	spanheap_put_cached(h, llist_del_all(&h->drained));
	mutex_unlock(&h->drain_lock);
}

static int cpu_dead(unsigned int cpu, struct hlist_node *node)
{
	struct spanheap *h = hlist_entry(node, struct spanheap, cpuhp);
	struct visit v = { .h = h };

	drain_visit(&v, per_cpu_ptr(h->cache, cpu), cpu);
	spanheap_put_cached(h, llist_del_all(&h->drained));
	return 0;
}

/* ---- counters, life ---- */

/*
 * The sum of every CPU's counters; bins are not summed. Pages first: the invariant
 * check compares them if no operation was counted, and that comes before its pages.
 */
void spanheap_cache_sum(struct spanheap *h, struct span_cache *sum)
{
	int cpu;

	memset(sum, 0, sizeof(*sum));
	if (!h->cache)
		return;
	for_each_possible_cpu(cpu) {
		struct span_cache *c = per_cpu_ptr(h->cache, cpu);

		sum->cached_pages += READ_ONCE(c->cached_pages) - READ_ONCE(c->taken_pages);
		sum->allocs += READ_ONCE(c->allocs);
		sum->frees += READ_ONCE(c->frees);
		sum->extra_objects += READ_ONCE(c->extra_objects);
		sum->zeroed_pages += READ_ONCE(c->zeroed_pages);
		sum->zero_skipped_pages += READ_ONCE(c->zero_skipped_pages);
	}
}

/* Once per module: the CPU hotplug state that all heaps hang on */
int spanheap_cache_setup(void)
{
	int state = cpuhp_setup_state_multi(CPUHP_BP_PREPARE_DYN, "spanheap:dead",
					    NULL, cpu_dead);

	if (state < 0)
		return state;
	cpuhp_state = state;
	return 0;
}

void spanheap_cache_teardown(void)
{
	cpuhp_remove_multi_state(cpuhp_state);
}

static void free_caches(struct spanheap *h)
{
	int cpu;

	for_each_possible_cpu(cpu)
		kvfree(per_cpu_ptr(h->cache, cpu)->magazines);
	spanheap_depot_destroy(h);
	free_percpu(h->cache);
	h->cache = NULL;
}

static bool init_cpu(struct spanheap *h, int cpu)
{
	struct span_cache *c = per_cpu_ptr(h->cache, cpu);
	void *mem = spanheap_mags_alloc(h, 2, cpu_to_node(cpu));
	u32 nr;

	c->cpu = cpu;
	c->magazines = mem;
	if (!mem)
		return false;
	for (nr = 1; nr <= CACHE_PAGES; nr++) {
		struct cache_bin *bin = &c->bin[nr];

		bin->size = spanheap_mag_size(h, nr);
		bin->loaded = spanheap_mag_next(&mem, bin->size);
		bin->other = spanheap_mag_next(&mem, bin->size);
	}
	prandom_seed_state(&c->prof_rnd, get_random_u64());
	spanheap_prof_draw(h, c);
	return true;
}

/*
 * Magazines of up to four times kb KiB, and of as many spans as kb KiB have pages;
 * slots for spans of up to four times kb KiB. 0: no caches
 */
int spanheap_cache_init(struct spanheap *h, unsigned int kb)
{
	int err, cpu;

	if (!kb)
		return 0;
	mutex_init(&h->drain_lock);
	init_llist_head(&h->drained);
	h->cache_pages = ((unsigned long)kb << 10) >> PAGE_SHIFT;
	h->cache_bytes = num_possible_cpus() * sizeof(*h->cache);
	h->cache = alloc_percpu(struct span_cache);
	if (!h->cache)
		return -ENOMEM;
	err = spanheap_depot_create(h);
	for_each_possible_cpu(cpu)
		if (!err && !init_cpu(h, cpu))
			err = -ENOMEM;
	if (!err)
		err = cpuhp_state_add_instance_nocalls(cpuhp_state, &h->cpuhp);
	if (err) {
		free_caches(h);
		return err;
	}
	h->cache_max = clamp_t(unsigned long, 4 * h->cache_pages, CACHE_PAGES, SLOT_PAGES);
	return 0;
}

void spanheap_cache_exit(struct spanheap *h)
{
	struct visit v = { .h = h };
	int cpu;

	if (!h->cache)
		return;
	cpuhp_state_remove_instance_nocalls(cpuhp_state, &h->cpuhp);
	/* Nobody is inside; one that went offline just now has nobody to empty it */
	for_each_possible_cpu(cpu)
		drain_visit(&v, per_cpu_ptr(h->cache, cpu), cpu);
	spanheap_cache_drain(h);
	h->cache_max = 0;
	free_caches(h);
}

/* ---- the way in and out ---- */

/* False, and a warning once: flags that a page heap cannot honour */
bool spanheap_gfp_ok(gfp_t gfp)
{
	return !WARN_ON_ONCE(gfp & ~GFP_ALLOWED);
}

/* 0, or why this can never be had; align in pages */
static int check_request(struct spanheap *h, size_t nr_pages, size_t align,
			 size_t obj_size, gfp_t gfp)
{
	if (!spanheap_gfp_ok(gfp) || !nr_pages)
		return -EINVAL;
	if (nr_pages > h->arena_pages || align > h->arena_pages ||
	    nr_pages + align - 1 > h->arena_pages)
		return -ENOSPC;
	if (obj_size > nr_pages << PAGE_SHIFT || obj_size > U32_MAX)
		return -EINVAL;
	return 0;
}

/* A good request, and of what caches have */
static bool cacheable(struct spanheap *h, size_t nr_pages, unsigned int align_shift,
		      size_t obj_size, gfp_t gfp)
{
	return nr_pages - 1 < h->cache_max && align_shift <= PAGE_SHIFT &&
	       obj_size <= nr_pages << PAGE_SHIFT && !(gfp & ~GFP_ALLOWED);
}

/* A span that no cache has, backed, or ERR_PTR */
static struct span *take_backed(struct spanheap *h, struct spanheap_client *client,
				u32 nr, u32 align, u32 obj_size, gfp_t gfp)
{
	struct span *s = spanheap_take(h, client, nr, align, obj_size, gfp);

	if (!IS_ERR(s) && s->nr_released && spanheap_drain_to_grow(h, gfp)) {
		/* What was cached may fit, and need no memory */
		spanheap_untake(h, s);
		s = spanheap_take(h, client, nr, align, obj_size, gfp);
	}
	if (IS_ERR(s) || spanheap_back(h, s, gfp))
		return s;
	spanheap_untake(h, s);
	return ERR_PTR(-ENOMEM);
}

/* What no cache serves */
static noinline void *
spanheap_alloc_slow(struct spanheap *h, struct spanheap_client *client, size_t nr_pages,
		    unsigned int align_shift, size_t obj_size, gfp_t gfp, unsigned long caller)
{
	size_t align = 1;
	struct span *s;
	u64 sample = 0;
	void *addr;
	int err;

	if (align_shift > PAGE_SHIFT)
		align = align_shift < BITS_PER_LONG ? 1UL << (align_shift - PAGE_SHIFT) :
						      ULONG_MAX;
	err = check_request(h, nr_pages, align, obj_size, gfp);
	if (unlikely(err))
		return spanheap_fail(h, client, nr_pages, gfp, err);
	s = take_backed(h, client, nr_pages, align, obj_size, gfp);
	if (IS_ERR(s))
		return spanheap_fail(h, client, nr_pages, gfp, PTR_ERR(s));
	addr = span_addr(h, s);
	spanheap_hand_out(h, s, obj_size, caller);
	if (static_branch_likely(&spanheap_prof_key))
		sample = prof_due_slow(h, nr_pages);
	trace_spanheap_alloc((unsigned long)addr, nr_pages, gfp, caller);
	if (unlikely(sample))
		spanheap_prof_sample(h, addr, nr_pages, sample, gfp, caller);
	return addr;
}

void *spanheap_heap_alloc(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, unsigned int align_shift,
			  size_t obj_size, gfp_t gfp, unsigned long caller)
{
	void *addr;

	if (!client)
		client = h->anon;
	if (cacheable(h, nr_pages, align_shift, obj_size, gfp) && !client->sweep) {
		addr = cache_get(h, client, nr_pages, obj_size, gfp, caller);
		if (likely(addr))
			return addr;
	}
	return spanheap_alloc_slow(h, client, nr_pages, align_shift, obj_size, gfp, caller);
}

void spanheap_heap_free(struct spanheap *h, const void *addr, unsigned long caller)
{
	if (!addr)
		return;
	if (!h->cache || !cache_put(h, addr, caller))
		spanheap_span_free(h, addr, caller);
}
