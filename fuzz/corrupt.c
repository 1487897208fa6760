// SPDX-License-Identifier: GPL-2.0
/*
 * Corruptions of the heap that the invariant check must find. Each can be undone.
 */
#include "heap_fuzz.h"

static struct {
	void *at;
	size_t size;
	u64 old;
} poked[4];
static u32 nr_poked;
static struct span *erased;
static struct span *unguarded;	/* its guarded bit has no address to poke */

static bool poke_bytes(void *at, u64 value, size_t size)
{
	must(nr_poked < 4);
	poked[nr_poked].at = at;
	poked[nr_poked].size = size;
	memcpy(&poked[nr_poked++].old, at, size);
	memcpy(at, &value, size);
	return true;
}

#define poke(field, value)	poke_bytes(&(field), (u64)(value), sizeof(field))

static bool less(struct rb_node *a, const struct rb_node *b)
{
	return large_less(rb_entry(a, struct span, node), rb_entry(b, struct span, node));
}

void uncorrupt(void)
{
	if (erased)
		rb_add(&erased->node, &h->large, less);
	erased = NULL;
	if (unguarded)
		unguarded->guarded = true;
	unguarded = NULL;
	while (nr_poked) {
		nr_poked--;
		memcpy(poked[nr_poked].at, &poked[nr_poked].old, poked[nr_poked].size);
	}
}

static bool flip(unsigned long *map, u32 bit)
{
	return poke(map[BIT_WORD(bit)], map[BIT_WORD(bit)] ^ 1UL << bit % BITS_PER_LONG);
}

static bool settled(void)
{
	u32 i;

	for (i = 0; i < m.n; i++)
		if (m.span[i].state == SPAN_OWNED || m.span[i].state == SPAN_RELEASING ||
		    m.span[i].state == LOST)
			return false;
	return true;
}

static bool of_busy(struct client_sweep *sw, struct span *s, u32 kind)
{
	struct span *next;

	switch (kind) {
	case 26:
		return poke(s->word, s->word & ~SPAN_SLOW);
	case 27:
		return poke(s->sweepgen, sw->gen - 3);
	case 28:
		return poke(s->list.next, &s->list) && poke(s->list.prev, &h->spare);
	case 29:
		return unswept(sw, s) && flip(sw->todo, busy_index(s));
	case 30:
		return unswept(sw, s) && !s->client->gone && poke(sw->node.next, &sw->node);
	case 31:
		next = list_entry(s->list.next, struct span, list);
		return s->list.next != &sw->busy[busy_index(s)] && unswept(sw, next) &&
		       unswept(sw, s) && poke(s->sweepgen, sw->gen);
	case 32:
		return poke(s->list.prev, &h->spare);
	}
	return false;
}

static bool of_totals(u32 kind)
{
	switch (kind) {
	case 18:
		return poke(h->released_pages, h->released_pages + 1);
	case 19:
		return poke(h->unlisted_pages, h->unlisted_pages + 1);
	case 20:
		return poke(h->nr_free, h->nr_free + 1);
	case 21:
		return poke(h->nr_busy, h->nr_busy + 1);
	case 22:
		return m.arena % 2 ? poke(h->uncached_pages, h->uncached_pages + 1) :
			poke(h->caches.cpu->n.popped_pages, h->caches.cpu->n.popped_pages + 1);
	case 23:
		return poke(h->allocs, h->allocs + 1);
	}
	return poke(h->group_backed[0], h->group_backed[0].counter + 1) &&
	       poke(h->released_pages, h->released_pages - 1);
}

/* Corrupt the heap in this way, at span i if the kind needs a span. False: not possible. */
bool corrupt(u32 kind, u32 i)
{
	struct mspan *e = &m.span[i];
	struct span *s = e->s;
	struct map_leaf *leaf = h->map[e->start >> LEAF_SHIFT];
	bool owned = e->state == SPAN_OWNED || e->state == SPAN_RELEASING || e->state == LOST;
	u32 list;

	if (kind >= 26 && kind <= 32)
		return e->state == SPAN_INUSE && s->client->sweep &&
		       of_busy(s->client->sweep, s, kind);
	if (kind >= 18 && kind <= 24)
		return settled() && of_totals(kind);
	switch (kind) {
	case 0:
		return poke(s->start, s->start + 1);
	case 1:
		return e->nr > 1 && poke(*map_slot(h, e->start + e->nr - 1), NULL);
	case 2:
		return poke(*map_slot(h, e->start), NULL);
	case 3:
		return flip(leaf->starts, e->start & LEAF_MASK);
	case 4:
		return poke(s->nr_pages, 0);
	case 5:
		return poke(s->nr_pages, m.used + 1 - s->start);
	case 6:
		return poke(s->word, (s->word & SPAN_USES) | SPAN_DEAD);
	case 7:
		return poke(s->word, (s->word & SPAN_USES) | 99);
	case 8:
		return !owned && e->state != SPAN_GUARD && poke(s->nr_released, s->nr_released + 1);
	case 9:
		return !owned && flip(leaf->backed, e->start & LEAF_MASK);
	case 10:
		return e->state == SPAN_FREE && !m_backed(i) && poke(s->needzero, true);
	case 11:
		return i && e->state != SPAN_FREE && m.span[i - 1].state == SPAN_FREE &&
		       poke(s->word, SPAN_FREE);
	case 12:
		return e->state == SPAN_FREE && e->nr < SMALL_PAGES &&
		       poke(s->list.next, &h->spare);
	case 13:
		if (e->state != SPAN_FREE || e->nr < SMALL_PAGES)
			return false;
		rb_erase(&s->node, &h->large);
		erased = s;
		return true;
	case 14:
		list = e->nr % SMALL_PAGES;
		return poke(h->nr_small[list], list_empty(&h->small[list]));
	case 15:
		return flip(h->nonempty, e->nr % SMALL_PAGES);
	case 16:
		return poke(h->largest_free, h->largest_free + 1);
	case 17:
		return poke(h->broken, 1);
	case 25:
		if (e->state != SPAN_GUARD)
			return false;
		unguarded = m.span[i - 1].s;
		unguarded->guarded = false;
		return true;
	case 33:
		/* The check notices this if the span fills a leaf */
		list = DIV_ROUND_UP(e->start, LEAF_PAGES);
		return !owned && (list + 1) * LEAF_PAGES <= e->start + e->nr &&
		       poke(h->leaf_backed[list], h->leaf_backed[list].counter ^ 1);
	case 34:
		return e->state == SPAN_GUARD && i + 1 < m.n && poke(s->nr_pages, 2) &&
		       poke(*map_slot(h, e->start + 1), s);
	case 35:
		/* Make the next span include the pages of this one */
		return i + 1 < m.n && flip(leaf->starts, e->start & LEAF_MASK) &&
		       poke(m.span[i + 1].s->start, e->start);
	case 36:
		return e->state == SPAN_FREE && poke(s->lru.next, m_backed(i) ? &s->lru : NULL);
	case 37:
		list = m_next(e->start, e->start + e->nr, true);
		return e->state == SPAN_FREE && list < e->start + min(e->nr, LEAF_PAGES) &&
		       spanheap_unit_age(h, list) > 1 && poke(s->epoch, h->epoch);
	}
	return false;
}
