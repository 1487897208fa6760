// SPDX-License-Identifier: GPL-2.0
/*
 * Per-CPU caches of backed spans.
 *
 * A CPU has two magazines for each length of 1 to CACHE_PAGES pages, so that a
 * workload on the edge of one magazine does not go to the depot each time. After
 * Bonwick and Adams, "Magazines and Vmem", USENIX 2001. Of longer spans a CPU keeps
 * the last few, for a user of one length again and again. Further spans go to other
 * CPUs through spanheap_depot.c, or back to the caller.
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
	v->missed = READ_ONCE(c->entered);
	if (!v->missed)
		v->fn(v, c);
	steps_end(STEPS_VISIT, v->caches);
}

/*
 * Run v->fn on that CPU, outside of its section. Sections are short, so a CPU is seldom
 * met inside one. False: the CPU is offline.
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
 * Run v->fn for the caches for which v->wanted is true: on its CPU if that is online,
 * else from here. The caller has waited until no CPU makes this true any more.
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

/* No CPU uses its cache until spanheap_cache_resume(). Interrupts no CPU. May sleep. */
void spanheap_cache_pause(struct span_caches *cs)
{
	if (!cs->cpu)
		return;
	steps_begin(STEPS_PAUSE, cs);
	atomic_inc(&cs->paused);
	synchronize_rcu();	/* see cache_enter() */
}

void spanheap_cache_resume(struct span_caches *cs)
{
	if (cs->cpu)
		atomic_dec(&cs->paused);
}

/* ---- the slower half of magazines, and slots; in the section ---- */

/* The loaded magazine is empty. False: so are the other one and the depot. */
bool spanheap_bin_reload(struct span_caches *cs, struct cache_bin *bin, u32 nr)
{
	u32 i;

	if (!bin->other_full && !spanheap_depot_swap(cs, nr, &bin->other, false))
		return false;
	swap(bin->loaded, bin->other);
	bin->other_full = false;
	bin->nr = bin->size;
	/* The caller waits for the first record; the next ones come with it */
	for (i = 2; i <= min(bin->size, MAG_AHEAD); i++)
		prefetchw(bin->loaded->span[bin->size - i]);
	return true;
}

/* The loaded magazine is full. Returns the other one's spans if the depot is full, too. */
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

/* No slot is free: the span that was in one goes to the shelf, or is returned */
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
 * A guess from another CPU. What its user's CPU has freed before the caller got here is
 * seen; of a CPU that is in its section, a magazine that changes hands may be missed.
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
 * The CPU gets the empty magazines of a set, and the set what the CPU had. Called on the
 * cache's CPU from an interrupt, or when that CPU is offline: a few dozen pointers
 * change hands, however many spans there are.
 */
void spanheap_cache_take(struct span_cache *c, struct cache_set *set)
{
	u32 nr, i;

	for (nr = 1; nr <= CACHE_PAGES; nr++)
		swap(c->bin[nr], set->bin[nr]);
	for (i = 0; i < CACHE_SLOTS; i++)
		swap(c->slot[i], set->slot[i]);
	steps_done(2 * CACHE_PAGES + CACHE_SLOTS);
}

/* A list of spans that are not in the set any more, MAG_MAX at most; NULL: it is empty */
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

/* All caches are empty, and nobody is in a section */
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
 * Magazines of up to four times kb KiB, and of as many spans as kb KiB have pages;
 * slots for spans of up to four times kb KiB. 0: no caches
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
