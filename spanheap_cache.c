// SPDX-License-Identifier: GPL-2.0
/*
 * Per-CPU caches of backed spans, and the way in and out of the heap.
 *
 * One allocation, top to bottom: spanheap_heap_alloc() below pops a cached span,
 * or has the page heap find one and give it memory (spanheap_span.c), clears it
 * where that is asked, and hands it out. A free pushes the span on the CPU's
 * cache, or puts it back into the page heap.
 *
 * A CPU has two magazines of each small size, so that a workload on the edge of
 * one does not go further each time; full magazines travel between CPUs through a
 * depot. After Bonwick and Adams, "Magazines and Vmem", USENIX 2001. Of longer
 * spans a CPU keeps the last few, for whoever uses one size again and again. Caches
 * are emptied by each pass of the scavenger, by memory pressure, and before the heap
 * grows; they fill with what is used, so their size follows the use.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <compat/kasan.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define GFP_ALLOWED	(GFP_KERNEL | GFP_ATOMIC | __GFP_ZERO | __GFP_NOWARN | \
			 __GFP_NORETRY | __GFP_RETRY_MAYFAIL)
#define FOLD_PAGES	32LL	/* a CPU's share of a client's pages, at most, or two spans */
#define MAG_MAX		256u	/* spans in a magazine, at most */

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
 * Run fn for each online CPU on that CPU, outside of its section; a section is a
 * few instructions long, so few are met twice. fn must bear being run again.
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

/* ---- magazines and slots ---- */

static struct span *bin_pop(struct cache_bin *bin)
{
	struct llist_node *n = bin->loaded;

	if (unlikely(!n)) {
		n = bin->full;
		if (!n)
			return NULL;
		bin->full = NULL;
		bin->nr = bin->size;
	}
	bin->loaded = n->next;
	bin->nr--;
	return llist_entry(n, struct span, cached);
}

/* Returns a full magazine that has no room here, or NULL */
static struct llist_node *bin_push(struct cache_bin *bin, struct span *s)
{
	struct llist_node *spill = NULL;

	if (unlikely(bin->nr == bin->size)) {
		spill = bin->full;
		bin->full = bin->loaded;
		bin->loaded = NULL;
		bin->nr = 0;
	}
	s->cached.next = bin->loaded;
	bin->loaded = &s->cached;
	bin->nr++;
	return spill;
}

static struct span *slot_pop(struct span_cache *c, u32 nr)
{
	struct span *s;
	u32 i;

	for (i = 0; i < CACHE_SLOTS; i++) {
		s = c->slot[i];
		if (s && c->slot_nr[i] == nr) {
			c->slot[i] = NULL;
			return s;
		}
	}
	return NULL;
}

/* Returns what was in the slot, as a list, or NULL */
static struct llist_node *slot_push(struct span_cache *c, struct span *s)
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
	if (!old)
		return NULL;
	old->cached.next = NULL;
	return &old->cached;
}

static struct span *cache_pop(struct span_cache *c, u32 nr)
{
	return nr <= CACHE_PAGES ? bin_pop(&c->bin[nr]) : slot_pop(c, nr);
}

/* Returns what has no room here any more */
static struct llist_node *cache_push(struct span_cache *c, struct span *s)
{
	return s->nr_pages <= CACHE_PAGES ? bin_push(&c->bin[s->nr_pages], s) :
					    slot_push(c, s);
}

static struct llist_node *depot_take(struct spanheap *h, u32 nr)
{
	struct llist_node *mag = NULL;
	struct cache_depot *d;
	unsigned long flags;

	if (nr > CACHE_PAGES)
		return NULL;
	d = &h->depot[nr];
	if (!READ_ONCE(d->nr))
		return NULL;
	spin_lock_irqsave(&d->lock, flags);
	if (d->nr)
		mag = d->mag[--d->nr];
	spin_unlock_irqrestore(&d->lock, flags);
	return mag;
}

/* A full magazine goes where other CPUs find it; what came from a slot does not */
static void depot_give(struct spanheap *h, u32 nr, struct llist_node *mag)
{
	struct cache_depot *d;
	unsigned long flags;
	bool full;

	if (nr > CACHE_PAGES) {
		spanheap_put_cached(h, mag);
		return;
	}
	d = &h->depot[nr];
	spin_lock_irqsave(&d->lock, flags);
	full = d->nr == DEPOT_MAGS;
	if (!full)
		d->mag[d->nr++] = mag;
	spin_unlock_irqrestore(&d->lock, flags);
	if (full)
		spanheap_put_cached(h, mag);
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

/* In the section: s goes to the client. False: it has reached its limit. */
static bool count_alloc(struct span_cache *c, struct spanheap_client *client,
			struct span *s, u32 obj_size, gfp_t gfp)
{
	bool zero = wants_zero(s, client, gfp);
	struct client_counts *n = per_cpu_ptr(client->counts, c->cpu);

	if (unlikely(READ_ONCE(client->limit_pages))) {
		if (!charge_exact(client, s->nr_pages))
			return false;
	} else {
		count_in(client, n, s->nr_pages);
	}
	n->allocs++;
	c->allocs++;
	c->taken_pages += s->nr_pages;
	if (obj_size)
		c->extra_objects += extra_objects(s->nr_pages, obj_size);
	if (zero && s->needzero)
		c->zeroed_pages += s->nr_pages;
	else if (zero)
		c->zero_skipped_pages += s->nr_pages;
	return true;
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
	c->frees++;
	c->cached_pages += s->nr_pages;
	if (s->obj_size)
		c->extra_objects -= extra_objects(s->nr_pages, s->obj_size);
	s->dirt = client->dirt;
	WRITE_ONCE(s->client, NULL);
}

/* A backed span, TAKEN, counted as the client's; NULL: none is cached */
static struct span *cache_get(struct spanheap *h, struct spanheap_client *client,
			      u32 nr, u32 obj_size, gfp_t gfp, u64 *sample)
{
	struct llist_node *mag = NULL;
	struct span_cache *c;
	struct span *s;

	do {
		s = NULL;
		c = enter(h);
		if (c) {
			if (mag && !c->bin[nr].full) {
				c->bin[nr].full = mag;
				mag = NULL;
			}
			s = cache_pop(c, nr);
			/* Before it is counted: the invariant check compares */
			if (s)
				WRITE_ONCE(s->state, SPAN_TAKEN);
			if (s && !count_alloc(c, client, s, obj_size, gfp)) {
				WRITE_ONCE(s->state, SPAN_CACHED);
				/* There is room: it was there */
				cache_push(c, s);
				s = ERR_PTR(-EDQUOT);
			} else if (static_branch_likely(&spanheap_prof_key) && s && prof_due(c)) {
				*sample = spanheap_prof_due(h, c);
			}
			leave(c);
		}
		if (mag) {
			depot_give(h, nr, mag);
			return s;
		}
	} while (!s && c && (mag = depot_take(h, nr)));
	return s;
}

/* s goes into the cache, and the section is left */
static void push_and_leave(struct spanheap *h, struct span_cache *c, struct span *s,
			   u32 nr)
{
	struct llist_node *spill = cache_push(c, s);

	leave(c);
	if (unlikely(spill))
		depot_give(h, nr, spill);
}

/* The span at addr goes into the cache; false: it is the slow path's business */
static bool cache_put(struct spanheap *h, const void *addr, unsigned long caller)
{
	bool clear = want_init_on_free();
	struct span_cache *c;
	struct span *s;
	u32 start, nr;

	c = enter(h);
	if (!c)
		return false;
	/* With preemption off, no record goes back to the system under us */
	s = spanheap_span_at(h, addr);
	if (!s)
		goto slow;
	start = READ_ONCE(s->start);
	nr = READ_ONCE(s->nr_pages);
	if (nr > h->cache_max ||
	    cmpxchg(&s->state, SPAN_INUSE, SPAN_TAKEN) != SPAN_INUSE)
		goto slow;
	if (unlikely(page_addr(h, s->start) != addr || s->nr_pages != nr)) {
		/* A second free got here late: the record is another span's now */
		WRITE_ONCE(s->state, SPAN_INUSE);
		goto slow;
	}
	compat_kasan_use((void *)addr, nr, false);
	count_free(c, s);
	s->needzero = !clear;
	s->freer = caller;
	/* Now that it is counted: the invariant check compares */
	WRITE_ONCE(s->state, SPAN_CACHED);
	if (!clear) {
		push_and_leave(h, c, s, nr);
	} else {
		leave(c);
		spanheap_clear(h, start, nr, false);
		c = enter(h);
		s->cached.next = NULL;
		if (c)
			push_and_leave(h, c, s, nr);
		else
			spanheap_put_cached(h, &s->cached);
	}
	trace_spanheap_free((unsigned long)addr, nr, caller);
	return true;
slow:
	leave(c);
	return false;
}

/* ---- emptying ---- */

/* May run in an interrupt: takes no lock */
static void take_out(struct spanheap *h, struct llist_node *n)
{
	while (n) {
		struct llist_node *next = n->next;

		llist_add(n, &h->drained);
		n = next;
	}
}

static void drain_visit(struct visit *v, struct span_cache *c, int cpu)
{
	u32 nr, i;

	for (nr = 1; nr <= CACHE_PAGES; nr++) {
		struct cache_bin *bin = &c->bin[nr];

		take_out(v->h, bin->loaded);
		take_out(v->h, bin->full);
		bin->loaded = NULL;
		bin->full = NULL;
		bin->nr = 0;
	}
	for (i = 0; i < CACHE_SLOTS; i++) {
		if (c->slot[i])
			llist_add(&c->slot[i]->cached, &v->h->drained);
		c->slot[i] = NULL;
	}
}

static void drain_depots(struct spanheap *h)
{
	struct llist_node *mag;
	u32 nr;

	for (nr = 1; nr <= CACHE_PAGES; nr++)
		while ((mag = depot_take(h, nr)))
			spanheap_put_cached(h, mag);
}

/*
 * Put what is cached into the page heap. Process context with interrupts on;
 * allocates nothing and sleeps nowhere, so reclaim may call it.
 */
void spanheap_cache_drain(struct spanheap *h)
{
	struct visit v = { .h = h, .fn = drain_visit };

	if (!h->cache)
		return;
	visit_all(&v);
	drain_depots(h);
	spanheap_put_cached(h, llist_del_all(&h->drained));
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

/* The sum of every CPU's counters; bins are not summed */
void spanheap_cache_sum(struct spanheap *h, struct span_cache *sum)
{
	int cpu;

	memset(sum, 0, sizeof(*sum));
	if (!h->cache)
		return;
	for_each_possible_cpu(cpu) {
		struct span_cache *c = per_cpu_ptr(h->cache, cpu);

		sum->allocs += READ_ONCE(c->allocs);
		sum->frees += READ_ONCE(c->frees);
		sum->extra_objects += READ_ONCE(c->extra_objects);
		sum->cached_pages += READ_ONCE(c->cached_pages) - READ_ONCE(c->taken_pages);
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

/* Magazines of at most kb KiB, slots of at most four times that; 0: no caches */
int spanheap_cache_init(struct spanheap *h, unsigned int kb)
{
	unsigned long pages = ((unsigned long)kb << 10) >> PAGE_SHIFT;
	int err, cpu;
	u32 nr;

	if (!kb)
		return 0;
	init_llist_head(&h->drained);
	for (nr = 1; nr <= CACHE_PAGES; nr++)
		spin_lock_init(&h->depot[nr].lock);
	h->cache = alloc_percpu(struct span_cache);
	if (!h->cache)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct span_cache *c = per_cpu_ptr(h->cache, cpu);

		c->cpu = cpu;
		for (nr = 1; nr <= CACHE_PAGES; nr++)
			c->bin[nr].size = clamp_t(unsigned long, pages / nr, 1, MAG_MAX);
		prandom_seed_state(&c->prof_rnd, get_random_u64());
		spanheap_prof_draw(h, c);
	}
	err = cpuhp_state_add_instance_nocalls(cpuhp_state, &h->cpuhp);
	if (err) {
		free_percpu(h->cache);
		h->cache = NULL;
		return err;
	}
	h->cache_max = clamp_t(unsigned long, 4 * pages, CACHE_PAGES, SLOT_PAGES);
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
	free_percpu(h->cache);
	h->cache = NULL;
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

void *spanheap_heap_alloc(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, unsigned int align_shift,
			  size_t obj_size, gfp_t gfp, unsigned long caller)
{
	u64 sample = 0;
	size_t align = 1;
	struct span *s;
	void *addr;
	int err;

	if (!client)
		client = h->anon;
	if (cacheable(h, nr_pages, align_shift, obj_size, gfp) && !client->sweep) {
		s = cache_get(h, client, nr_pages, obj_size, gfp, &sample);
		if (!IS_ERR_OR_NULL(s)) {
			addr = page_addr(h, s->start);
			if (s->needzero && wants_zero(s, client, gfp))
				spanheap_clear(h, s->start, nr_pages,
					       gfpflags_allow_blocking(gfp));
			compat_kasan_use(addr, nr_pages, true);
			spanheap_publish(s, client, obj_size, caller, SPAN_INUSE);
			goto out;
		}
		if (s)
			return spanheap_fail(h, client, nr_pages, gfp, PTR_ERR(s));
	}
	if (align_shift > PAGE_SHIFT)
		align = align_shift < BITS_PER_LONG ? 1UL << (align_shift - PAGE_SHIFT) :
						      ULONG_MAX;
	err = check_request(h, nr_pages, align, obj_size, gfp);
	if (unlikely(err))
		return spanheap_fail(h, client, nr_pages, gfp, err);
	s = take_backed(h, client, nr_pages, align, obj_size, gfp);
	if (IS_ERR(s))
		return spanheap_fail(h, client, nr_pages, gfp, PTR_ERR(s));
	addr = page_addr(h, s->start);
	spanheap_hand_out(h, s, obj_size, caller);
	if (static_branch_likely(&spanheap_prof_key))
		sample = prof_due_slow(h, nr_pages);
out:
	trace_spanheap_alloc((unsigned long)addr, nr_pages, gfp, caller);
	if (static_branch_likely(&spanheap_prof_key) && unlikely(sample))
		spanheap_prof_sample(h, addr, nr_pages, sample, gfp, caller);
	return addr;
}

void spanheap_heap_free(struct spanheap *h, const void *addr, unsigned long caller)
{
	if (!addr)
		return;
	if (!h->cache || !cache_put(h, addr, caller))
		spanheap_span_free(h, addr, caller);
}
