// SPDX-License-Identifier: GPL-2.0
/*
 * Containers through which spans travel between the caches of CPUs: depots of magazines
 * for spans of 1 to CACHE_PAGES pages, and shelves of single longer spans.
 *
 * Each node has a depot or a shelf for each length, with a lock of its own. So a CPU does
 * not wait for CPUs that use another length. A CPU tries other nodes only if its own node
 * has no span. A CPU exchanges one magazine for another, so a free allocates no magazine,
 * and the number of magazines is constant.
 *
 * A CPU takes these locks inside its section, which an interrupt cannot enter. So it
 * leaves interrupts enabled. An interrupt or a hypervisor may then delay a lock's holder
 * for long. After LOCK_TRIES attempts a CPU therefore gives up, and its caller uses the
 * page heap instead.
 */
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/overflow.h>
#include <linux/prefetch.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "spanheap_cache.h"

#define LOCK_TRIES	200u
#define PREFETCH_LINES	3u	/* cache lines of a magazine of 16 spans */

/* ---- magazines ---- */

/* How many spans of nr pages fill a magazine */
u32 spanheap_mag_size(struct span_caches *cs, u32 nr)
{
	return clamp(4 * cs->mag_pages / nr, 1UL,
		     clamp_t(unsigned long, cs->mag_pages, 1, MAG_MAX));
}

static size_t mag_bytes(u32 size)
{
	return struct_size((struct magazine *)NULL, span, size);
}

/* Allocate memory for n magazines of each length. spanheap_mag_next() divides it. */
void *spanheap_mags_alloc(struct span_caches *cs, u32 n, int nid)
{
	size_t bytes = 0;
	u32 nr;

	for (nr = 1; nr <= CACHE_PAGES; nr++)
		bytes += n * mag_bytes(spanheap_mag_size(cs, nr));
	cs->bytes += bytes;
	return kvzalloc_node(bytes, GFP_KERNEL, nid);
}

/* Cut an empty magazine from memory of spanheap_mags_alloc() */
struct magazine *spanheap_mag_next(void **mem, u32 size)
{
	struct magazine *m = *mem;

	*mem += mag_bytes(size);
	return m;
}

/* Give each bin two empty magazines from memory of spanheap_mags_alloc() */
void spanheap_bins_init(struct span_caches *cs, struct cache_bin *bin, void **mem)
{
	u32 nr;

	for (nr = 1; nr <= CACHE_PAGES; nr++) {
		bin[nr].size = spanheap_mag_size(cs, nr);
		bin[nr].loaded = spanheap_mag_next(mem, bin[nr].size);
		bin[nr].other = spanheap_mag_next(mem, bin[nr].size);
	}
}

/* Empty m, which holds n spans. Returns the list of these spans, first to last. */
struct llist_node *spanheap_mag_chain(struct magazine *m, u32 n)
{
	struct llist_node *first = NULL;

	steps_done(n);
	while (n) {
		struct span *s = m->span[--n];

		s->cached.next = first;
		first = &s->cached;
	}
	return first;
}

/* Count a failed attempt to get a lock. True: this allocation or free must give up. */
static bool give_up(u32 *tries)
{
	cpu_relax();
	return ++*tries >= LOCK_TRIES;
}

static bool swap_at(struct cache_depot *d, struct magazine **m, bool full, u32 *tries)
{
	struct magazine **from = full ? &d->empty : &d->full;
	struct magazine **to = full ? &d->full : &d->empty;
	struct magazine *got = READ_ONCE(*from);	/* a hint; read again under the lock */
	u32 i;

	if (!got)
		return false;
	/* Another CPU has written the magazine: prefetch it before the lock is taken */
	for (i = 0; i < PREFETCH_LINES; i++)
		prefetchw((void *)got + i * SMP_CACHE_BYTES);
	while (!raw_spin_trylock(&d->lock))
		if (give_up(tries))
			return false;
	got = *from;
	if (got) {
		WRITE_ONCE(*from, got->next);
		(*m)->next = *to;
		WRITE_ONCE(*to, *m);
		*m = got;
	}
	raw_spin_unlock(&d->lock);
	return got;
}

/*
 * Exchange the full magazine *m for an empty one of this node's depot, or (full is false)
 * the empty magazine *m for a full one, of another node if this one has none. False:
 * there is none. In the section.
 */
bool spanheap_depot_swap(struct span_caches *cs, u32 nr, struct magazine **m, bool full)
{
	int here = numa_node_id(), nid;
	u32 tries = 0;

	if (swap_at(&cs->node[here]->depot[nr], m, full, &tries))
		return true;
	if (full)
		return false;
	for_each_node(nid)
		if (nid != here && swap_at(&cs->node[nid]->depot[nr], m, full, &tries))
			return true;
	return false;
}

/* ---- longer spans ---- */

/* A search for an aligned span reads the ALIGN_LOOKS spans that came last */
static struct span *shelf_pop(struct cache_shelf *shelf, const struct span_align *align,
			      u32 *tries)
{
	struct llist_node **from = &shelf->first;
	struct span *s = NULL;
	u32 i;

	if (!READ_ONCE(shelf->first))	/* a hint; read again under the lock */
		return NULL;
	while (!raw_spin_trylock(&shelf->lock))
		if (give_up(tries))
			return NULL;
	for (i = 0; *from && i < ALIGN_LOOKS; i++, from = &(*from)->next) {
		s = llist_entry(*from, struct span, cached);
		steps_done(1);
		if (is_aligned(s, align))
			break;
		s = NULL;
	}
	if (s) {
		WRITE_ONCE(*from, s->cached.next);
		shelf->nr--;
	}
	raw_spin_unlock(&shelf->lock);
	return s;
}

/* Pop a span of nr pages, from this node's shelf or another node's; in the section */
struct span *spanheap_shelf_pop(struct span_caches *cs, u32 nr, const struct span_align *align)
{
	int here = numa_node_id(), nid;
	struct span *s;
	u32 tries = 0;

	s = shelf_pop(&cs->node[here]->shelf[nr], align, &tries);
	for_each_node(nid) {
		if (s)
			break;
		if (nid != here)
			s = shelf_pop(&cs->node[nid]->shelf[nr], align, &tries);
	}
	return s;
}

/* Put s on this node's shelf. False: no room, or no lock in time. In the section. */
bool spanheap_shelf_push(struct span_caches *cs, struct span *s)
{
	struct cache_shelf *shelf = &cs->node[numa_node_id()]->shelf[s->nr_pages];
	u32 tries = 0;
	bool room;

	while (!raw_spin_trylock(&shelf->lock))
		if (give_up(&tries))
			return false;
	room = shelf->nr < cs->shelf_pages / s->nr_pages;
	if (room) {
		s->cached.next = shelf->first;
		WRITE_ONCE(shelf->first, &s->cached);
		shelf->nr++;
	}
	raw_spin_unlock(&shelf->lock);
	return room;
}

/* ---- emptying ---- */

/*
 * Take a lock outside of a section. Interrupts are disabled while the lock is held,
 * because an interrupt on this CPU may enter a section and want the lock. The wait keeps
 * interrupts enabled, because the holder may be delayed for long.
 */
static void lock_irq(raw_spinlock_t *lock) __acquires(lock)
{
	for (;;) {
		local_irq_disable();
		if (raw_spin_trylock(lock))
			return;
		local_irq_enable();
		cpu_relax();
	}
}

/* Empty a full magazine and return its spans. The magazine stays in the depot. */
static struct llist_node *depot_pop(struct cache_depot *d, u32 size)
{
	struct llist_node *spans;
	struct magazine *m;

	if (!READ_ONCE(d->full))	/* a hint; read again under the lock */
		return NULL;
	lock_irq(&d->lock);
	m = d->full;
	if (m)
		WRITE_ONCE(d->full, m->next);
	raw_spin_unlock_irq(&d->lock);
	if (!m)
		return NULL;
	spans = spanheap_mag_chain(m, size);
	lock_irq(&d->lock);
	m->next = d->empty;
	WRITE_ONCE(d->empty, m);
	raw_spin_unlock_irq(&d->lock);
	return spans;
}

static struct llist_node *shelf_pop_all(struct cache_shelf *shelf)
{
	struct llist_node *first;

	if (!READ_ONCE(shelf->first))	/* a hint; read again under the lock */
		return NULL;
	lock_irq(&shelf->lock);
	first = shelf->first;
	WRITE_ONCE(shelf->first, NULL);
	shelf->nr = 0;
	raw_spin_unlock_irq(&shelf->lock);
	return first;
}

/*
 * Remove some spans of nr pages from a node's depot or shelf. NULL: it is empty. Process
 * context, interrupts enabled.
 */
struct llist_node *spanheap_depot_empty(struct span_caches *cs, int nid, u32 nr)
{
	struct cache_node *node = cs->node[nid];

	return nr <= CACHE_PAGES ? depot_pop(&node->depot[nr], spanheap_mag_size(cs, nr)) :
				   shelf_pop_all(&node->shelf[nr]);
}

/* ---- life ---- */

static struct cache_node *new_node(struct span_caches *cs, int nid)
{
	struct cache_node *node = kvzalloc_node(sizeof(*node), GFP_KERNEL, nid);
	void *mem;
	u32 nr, i;

	if (!node)
		return NULL;
	node->magazines = spanheap_mags_alloc(cs, DEPOT_MAGS + 2, nid);
	if (!node->magazines) {
		kvfree(node);
		return NULL;
	}
	cs->bytes += sizeof(*node);
	mem = node->magazines;
	spanheap_bins_init(cs, node->spare.bin, &mem);
	for (nr = 1; nr <= CACHE_PAGES; nr++) {
		struct cache_depot *d = &node->depot[nr];

		raw_spin_lock_init(&d->lock);
		for (i = 0; i < DEPOT_MAGS; i++) {
			struct magazine *m = spanheap_mag_next(&mem, spanheap_mag_size(cs, nr));

			m->next = d->empty;
			d->empty = m;
		}
	}
	for (; nr <= SLOT_PAGES; nr++)
		raw_spin_lock_init(&node->shelf[nr].lock);
	return node;
}

int spanheap_depot_create(struct span_caches *cs, unsigned long arena_pages)
{
	int nid;

	cs->shelf_pages = min(16 * cs->mag_pages, arena_pages / 64);
	cs->bytes += nr_node_ids * sizeof(*cs->node);
	cs->node = kcalloc(nr_node_ids, sizeof(*cs->node), GFP_KERNEL);
	if (!cs->node)
		return -ENOMEM;
	for_each_node(nid) {
		cs->node[nid] = new_node(cs, nid);
		if (!cs->node[nid])
			return -ENOMEM;	/* the caller destroys what is there */
	}
	return 0;
}

/* The depots are drained, and no CPU uses them any more */
void spanheap_depot_destroy(struct span_caches *cs)
{
	int nid;

	if (!cs->node)
		return;
	for_each_node(nid) {
		if (cs->node[nid])
			kvfree(cs->node[nid]->magazines);
		kvfree(cs->node[nid]);
	}
	kfree(cs->node);
	cs->node = NULL;
}
