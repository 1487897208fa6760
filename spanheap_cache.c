// SPDX-License-Identifier: GPL-2.0
/*
 * Per-CPU caches of backed spans.
 *
 * A CPU has two magazines for each length of 1 to CACHE_PAGES pages, so that a workload
 * at the boundary of one magazine does not use the depot each time. The design follows
 * Bonwick and Adams, "Magazines and Vmem", USENIX 2001. A CPU also has CACHE_SLOTS slots
 * for longer spans, because a client often uses one length repeatedly. Spans beyond these
 * go to the depots and shelves of spanheap_depot.c, or back to the caller.
 */
#include <linux/cpu.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include "spanheap_cache.h"

/* ---- visits: other CPUs' caches ---- */

static void visit_this_cpu(void *arg)
{
	struct cache_visit *v = arg;
	struct span_cache *c = this_cpu_ptr(v->caches->cpu);

	steps_begin(STEPS_VISIT, v->caches);
	/* In an IPI: what this CPU has stored in its sections is visible. See cache_enter(). */
	v->missed = READ_ONCE(c->entered);
	if (!v->missed)
		v->fn(v, c);
	steps_end(STEPS_VISIT, v->caches);
}

/*
 * Run v->fn on that CPU, outside of its section. Sections are short, so the IPI seldom
 * arrives inside one. False: the CPU is offline.
 */
bool spanheap_cache_visit(struct span_caches *cs, int cpu, struct cache_visit *v)
{
	v->caches = cs;
	do {
		if (smp_call_function_single(cpu, visit_this_cpu, v, 1))
			return false;
	} while (v->missed);
	return true;
}

/*
 * Run v->fn for each cache for which v->wanted is true: on the cache's CPU if the CPU is
 * online, else on this CPU. The caller ensures that no CPU makes v->wanted true any more.
 */
void spanheap_cache_visit_all(struct span_caches *cs, struct cache_visit *v)
{
	struct span_cache *c;
	int cpu;

	cpus_read_lock();
	for_each_possible_cpu(cpu) {
		c = per_cpu_ptr(cs->cpu, cpu);
		if (!v->wanted(v, c))
			continue;
		if (!spanheap_cache_visit(cs, cpu, v))
			v->fn(v, c);
	}
	cpus_read_unlock();
}

/* No CPU uses its cache until spanheap_cache_resume(). Sends no IPIs. May sleep. */
void spanheap_cache_pause(struct span_caches *cs)
{
	if (!cs->cpu)
		return;
	steps_begin(STEPS_PAUSE, cs);
	atomic_inc(&cs->paused);
	/* Pairs with preempt_disable() and the test of paused in cache_enter() */
	synchronize_rcu();
}

/*
 * Needs no barrier: a section that reads 0 takes spans from this CPU's cache only, and frees
 * a span only by a compare-and-swap of its whole word.
 */
void spanheap_cache_resume(struct span_caches *cs)
{
	if (cs->cpu)
		atomic_dec(&cs->paused);
}

/* ---- the slower half of magazines, and slots; in the section ---- */

/* Replace the empty loaded magazine. False: the other one and the depot are empty, too. */
bool spanheap_bin_reload(struct span_caches *cs, struct cache_bin *bin, u32 nr)
{
	u32 i;

	if (!bin->other_full && !spanheap_depot_swap(cs, nr, &bin->other, false))
		return false;
	swap(bin->loaded, bin->other);
	bin->other_full = false;
	bin->nr = bin->size;
	/* The caller waits for the first record anyway: prefetch the next ones with it */
	for (i = 2; i <= min(bin->size, MAG_AHEAD); i++)
		prefetchw(bin->loaded->span[bin->size - i]);
	return true;
}

/*
 * Replace the full loaded magazine. If the other magazine is full, too, and the depot has
 * no empty one, returns the list of its spans.
 */
struct llist_node *spanheap_bin_unload(struct span_caches *cs, struct cache_bin *bin, u32 nr)
{
	struct llist_node *spill = NULL;

	if (bin->other_full && !spanheap_depot_swap(cs, nr, &bin->other, true))
		spill = spanheap_mag_chain(bin->other, bin->size);
	swap(bin->loaded, bin->other);
	bin->other_full = true;
	bin->nr = 0;
	return spill;
}

/*
 * Read the last ALIGN_LOOKS spans of the loaded magazine, not all: each may miss the CPU's
 * caches, and preemption is off. A span that was just freed is the last one.
 */
static struct span *bin_pop_aligned(struct span_caches *cs, struct cache_bin *bin, u32 nr,
				    const struct span_align *align)
{
	struct span **span;
	u32 i;

	if (!bin->nr && !spanheap_bin_reload(cs, bin, nr))
		return NULL;
	span = bin->loaded->span;
	for (i = bin->nr; i && bin->nr - i < ALIGN_LOOKS; i--) {
		steps_done(1);
		if (!is_aligned(span[i - 1], align))
			continue;
		swap(span[i - 1], span[bin->nr - 1]);
		return bin_pop(cs, bin, nr);
	}
	return NULL;
}

/* An aligned cached span of nr pages, or NULL if a short search finds none */
struct span *spanheap_cache_pop_aligned(struct span_caches *cs, struct span_cache *c, u32 nr,
					const struct span_align *align)
{
	struct span *s;

	steps_begin(STEPS_ALIGN, cs);
	s = nr <= CACHE_PAGES ? bin_pop_aligned(cs, &c->bin[nr], nr, align) :
				slot_pop(cs, c, nr, align);
	steps_end(STEPS_ALIGN, cs);
	return s;
}

/* All slots are full: s replaces a span, which goes to the shelf, or is returned */
struct llist_node *spanheap_slot_replace(struct span_caches *cs, struct span_cache *c,
					 struct span *s)
{
	u32 i = c->next_slot;
	struct span *old = c->slot[i];

	c->next_slot = (i + 1) % CACHE_SLOTS;
	c->slot[i] = s;
	c->slot_nr[i] = s->nr_pages;
	if (spanheap_shelf_push(cs, old))
		return NULL;
	old->cached.next = NULL;
	return &old->cached;
}

/* ---- emptying ---- */

/*
 * Does c hold spans? Called from another CPU, without a lock. The answer includes frees
 * that the caller knows to be complete. It may miss spans if the CPU is in its section.
 */
bool spanheap_cache_has_spans(const struct span_cache *c)
{
	u32 nr, i;

	for (nr = 1; nr <= CACHE_PAGES; nr++)
		if (READ_ONCE(c->bin[nr].nr) || READ_ONCE(c->bin[nr].other_full))
			return true;
	for (i = 0; i < CACHE_SLOTS; i++)
		if (READ_ONCE(c->slot[i]))
			return true;
	return false;
}

/*
 * Exchange the magazines and slots of c for the empty ones of the set. Called from an IPI
 * on the cache's CPU, or when that CPU is offline. The work is a few dozen pointers,
 * however many spans c holds.
 */
void spanheap_cache_swap(struct span_cache *c, struct cache_set *set)
{
	u32 nr, i;

	for (nr = 1; nr <= CACHE_PAGES; nr++)
		swap(c->bin[nr], set->bin[nr]);
	for (i = 0; i < CACHE_SLOTS; i++)
		swap(c->slot[i], set->slot[i]);
	steps_done(2 * CACHE_PAGES + CACHE_SLOTS);
}

/* Remove up to MAG_MAX spans from the set and return their list. NULL: the set is empty. */
struct llist_node *spanheap_set_pop(struct cache_set *set)
{
	struct llist_node *spans;
	u32 nr, i;

	for (nr = 1; nr <= CACHE_PAGES; nr++) {
		struct cache_bin *bin = &set->bin[nr];

		if (bin->nr) {
			spans = spanheap_mag_chain(bin->loaded, bin->nr);
			bin->nr = 0;
			return spans;
		}
		if (bin->other_full) {
			bin->other_full = false;
			return spanheap_mag_chain(bin->other, bin->size);
		}
	}
	for (i = 0; i < CACHE_SLOTS; i++) {
		if (!set->slot[i])
			continue;
		spans = &set->slot[i]->cached;
		spans->next = NULL;
		set->slot[i] = NULL;
		return spans;
	}
	return NULL;
}

/* ---- life ---- */

/* Called when all caches are empty and no CPU is in a section */
void spanheap_caches_free(struct span_caches *cs)
{
	int cpu;

	if (!cs->cpu)
		return;
	for_each_possible_cpu(cpu)
		kvfree(per_cpu_ptr(cs->cpu, cpu)->magazines);
	spanheap_depot_destroy(cs);
	free_percpu(cs->cpu);
	cs->cpu = NULL;
	cs->max_pages = 0;
}

static bool init_cpu(struct span_caches *cs, int cpu)
{
	struct span_cache *c = per_cpu_ptr(cs->cpu, cpu);
	int nid = cpu_to_node(cpu);
	void *mem = spanheap_mags_alloc(cs, 2, nid);

	c->cpu = cpu;
	c->node = nid == NUMA_NO_NODE ? first_online_node : nid;
	c->magazines = mem;
	if (!mem)
		return false;
	spanheap_bins_init(cs, c->bin, &mem);
	prandom_seed_state(&c->prof_rnd, get_random_u64());
	return true;
}

/*
 * kb bounds the caches: a magazine holds at most four times kb KiB, and at most as many
 * spans as kb KiB have pages. A slot holds a span of at most four times kb KiB. With 0
 * there are no caches.
 */
int spanheap_caches_init(struct span_caches *cs, unsigned int kb, unsigned long arena_pages)
{
	int err, cpu;

	if (!kb)
		return 0;
	cs->mag_pages = ((unsigned long)kb << 10) >> PAGE_SHIFT;
	cs->bytes = num_possible_cpus() * sizeof(*cs->cpu);
	cs->cpu = alloc_percpu(struct span_cache);
	if (!cs->cpu)
		return -ENOMEM;
	err = spanheap_depot_create(cs, arena_pages);
	for_each_possible_cpu(cpu)
		if (!err && !init_cpu(cs, cpu))
			err = -ENOMEM;
	if (err) {
		spanheap_caches_free(cs);
		return err;
	}
	cs->max_pages = clamp_t(unsigned long, 4 * cs->mag_pages, CACHE_PAGES, SLOT_PAGES);
	return 0;
}
