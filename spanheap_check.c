// SPDX-License-Identifier: GPL-2.0
/*
 * The invariants of the page heap: the spans tile the map, free spans are coalesced
 * and on their lists, counters agree with what a walk over the map adds up to.
 *
 * This file only reads. It calls nothing above the span map.
 */
#include <linux/mm.h>
#include <linux/sched.h>

#include "spanheap_internal.h"

static bool __on_free_list(struct spanheap *h, struct span *s)
{
	struct rb_node *node = h->large.rb_node;

	if (s->nr_pages < SMALL_PAGES)
		return test_bit(s->nr_pages, h->nonempty) &&
		       s->list.next->prev == &s->list &&
		       s->list.prev->next == &s->list;
	while (node) {
		struct span *at = rb_entry(node, struct span, node);

		if (at == s)
			return true;
		node = large_less(s, at) ? node->rb_left : node->rb_right;
	}
	return false;
}

/* Under the heap lock, which keeps any client that is seen from being freed */
static bool is_swept(const struct span *s)
{
	struct spanheap_client *c = READ_ONCE(s->client);

	return c && c->sweep;	/* NULL: a cache takes s at the moment */
}

/* What is wrong with s, in use by a swept client; NULL: nothing */
static const char *__check_busy(struct spanheap *h, struct span *s)
{
	struct client_sweep *sw;
	struct list_head *head;

	lockdep_assert_held(&h->lock);
	if (!(READ_ONCE(s->word) & SPAN_SLOW))
		return "span of a swept client that a cache would take";
	sw = s->client->sweep;
	head = &sw->busy[busy_index(s)];
	if (s->list.next->prev != &s->list || s->list.prev->next != &s->list)
		return "in-use span not on its busy list";
	if (sw->gen - s->sweepgen > 2)
		return "impossible generation";
	if (!unswept(sw, s))
		return NULL;
	if (!test_bit(busy_index(s), sw->todo))
		return "unswept span on a list known as swept";
	if (!s->client->gone && list_empty(&sw->node))
		return "unswept span of a client known as swept";
	if (s->list.prev != head && !unswept(sw, list_prev_entry(s, list)))
		return "unswept span behind a swept one";
	return NULL;
}

/* What is wrong with the place of span s, which should start at idx; NULL: nothing */
static const char *__check_place(struct spanheap *h, struct span *s, u32 idx)
{
	if (s->start != idx || !s->nr_pages || span_end(s) > h->used)
		return "spans do not tile the map";
	if (*map_slot(h, idx) != s || *map_slot(h, span_end(s) - 1) != s)
		return "map entries do not name the span";
	return NULL;
}

/*
 * How many of nr pages from idx on have memory, by their bits and by the counters of
 * leaves and groups. One group is looked at in a hold of the lock. False: the map has
 * changed in between.
 */
static bool count_backed(struct spanheap *h, u32 idx, u32 nr, u32 *bits, u32 *counted,
			 unsigned long *flags)
{
	u64 seq = h->seq;
	u32 n;

	*bits = 0;
	*counted = 0;
	for (; nr; idx += n, nr -= n) {
		n = min(nr, GROUP_PAGES - (idx & GROUP_MASK));
		steps_done(DIV_ROUND_UP(n, LEAF_PAGES));
		*bits += spanheap_count_backed_bits(h, idx, n);
		*counted += spanheap_count_backed(h, idx, n);
		if (n == nr)
			break;
		spin_unlock_irqrestore(&h->lock, *flags);
		cond_resched();
		spin_lock_irqsave(&h->lock, *flags);
		if (h->seq != seq)
			return false;
	}
	return true;
}

/*
 * No backed page of s was last used before s says. Owners of other pages in a unit may be
 * late by an epoch. Of a long span the first units are looked at.
 */
static bool __old_enough(struct spanheap *h, const struct span *s)
{
	u32 i, end = min(span_end(s), s->start + LEAF_PAGES);

	for (i = s->start; i < end; i = round_up(i + 1, UNIT_PAGES)) {
		i = spanheap_next_backed(h, i, end, true);
		if (i < end && spanheap_unit_age(h, i) > h->epoch - s->epoch + 1)
			return false;
	}
	return true;
}

/*
 * What is wrong with span s, in that state, behind prev, which is NULL where the walk
 * began or has just gone on; NULL: nothing
 */
static const char *__check_span(struct spanheap *h, struct span *s, struct span *prev,
				enum span_state state, u32 backed)
{
	switch (state) {
	case SPAN_DEAD:
		return "dead record in the map";
	case SPAN_INUSE:
	case SPAN_CACHED:
		if (s->nr_released || backed != s->nr_pages)
			return "in-use or cached span with unbacked pages";
		return state == SPAN_INUSE && is_swept(s) ?
		       __check_busy(h, s) : NULL;
	case SPAN_GUARD:
		if (s->nr_pages != 1 || backed)
			return "guard with memory";
		/* Without prev, what is before is not known, but for page 0 */
		return (prev ? prev->guarded : s->start) ? NULL : "guard without a span";
	case SPAN_FREE:
		break;
	default:
		return "impossible state";
	}
	if (prev && span_state(prev) == SPAN_FREE)
		return "free neighbours not coalesced";
	if (s->nr_pages - backed != s->nr_released)
		return "released count differs from the map";
	if (s->needzero && !has_backed(s))
		return "pages without memory are held for dirty";
	if (!__on_free_list(h, s))
		return "free span not on its list";
	if (has_backed(s) == list_empty(&s->lru))
		return "lists by age do not match backed pages";
	if (!__old_enough(h, s))
		return "idle pages are older than their span";
	return NULL;
}

static const char *__check_lists(struct spanheap *h)
{
	struct rb_node *last;
	u32 i, largest;

	for (i = 0; i < SMALL_PAGES; i++)
		if (list_empty(&h->small[i]) == test_bit(i, h->nonempty) ||
		    list_empty(&h->small[i]) != !h->nr_small[i])
			return "list bitmap or count differs from the lists";
	last = rb_last(&h->large);
	largest = last ? rb_entry(last, struct span, node)->nr_pages :
			 find_last_bit(h->nonempty, SMALL_PAGES) % SMALL_PAGES;
	if (largest != h->largest_free)
		return "longest free span is not the one that is counted";
	return NULL;
}

/* Nobody but its owner knows what is true of such a span */
static bool is_owned(enum span_state state)
{
	return state == SPAN_OWNED || state == SPAN_RELEASING;
}

struct check_sums {
	u64 unlisted, released, cached, inuse_spans, ops;
	u64 uncached_pages, allocs, frees;	/* the heap's own, when the walk ended */
	u32 nr_free, busy, nr_swept;
};

static void __check_count(struct check_sums *c, const struct span *s)
{
	switch (span_state(s)) {
	case SPAN_FREE:
		c->nr_free++;
		c->released += s->nr_released;
		return;
	case SPAN_INUSE:
		c->inuse_spans++;
		c->nr_swept += is_swept(s);
		break;
	case SPAN_CACHED:
		c->cached += s->nr_pages;
		break;
	case SPAN_GUARD:
		c->released++;
		return;
	default:
		c->busy++;
		return;
	}
	c->unlisted += s->nr_pages;
}

/* Totals of a walk during which the map stood still */
static const char *__check_totals(struct spanheap *h, struct check_sums *c)
{
	u64 backed = 0;
	u32 i;

	for (i = 0; i < DIV_ROUND_UP(h->nr_leaves, LEAVES_PER_GROUP); i++)
		backed += atomic_read(&h->group_backed[i]);
	if (backed != h->used - h->released_pages)
		return "backed pages differ from the released counter";
	if (c->unlisted != h->unlisted_pages)
		return "unlisted pages differ from the map";
	if (c->released != h->released_pages)
		return "released counter differs from the map";
	if (c->nr_free != h->nr_free)
		return "free span counter differs from the map";
	if (c->nr_swept != h->nr_busy)
		return "spans of swept clients differ from their busy lists";
	c->uncached_pages = h->uncached_pages;
	c->allocs = h->allocs;
	c->frees = h->frees;
	return NULL;
}

/* ... and what CPUs have counted, which is summed without the lock */
static const char *check_cpus(struct spanheap *h, const struct check_sums *c)
{
	struct heap_counts sum = cache_sum(&h->caches);

	if (sum.allocs + sum.frees != c->ops)
		return NULL;	/* caches were used meanwhile */
	if (sum.pushed_pages - sum.popped_pages - c->uncached_pages != c->cached)
		return "cached counter differs from the map";
	if (c->allocs + sum.allocs - c->frees - sum.frees != c->inuse_spans)
		return "spans in use differ from the map";
	return NULL;
}

/*
 * Walk every invariant, a bounded number of spans per hold of the lock. Totals
 * are compared when nothing changed meanwhile; on a busy heap after some tries
 * they are not, which is no error. Returns 0, or -EUCLEAN with the reason.
 */
int spanheap_heap_check(struct spanheap *h, char *why, size_t size)
{
	const char *bad = NULL;
	unsigned long flags;
	int try;

	for (try = 0; try < 4 && !bad; try++) {
		struct heap_counts sum = cache_sum(&h->caches);
		struct check_sums sums = { .ops = sum.allocs + sum.frees };
		u32 idx = 0, work = 0, at, bits, counted;
		struct span *s, *prev = NULL;
		enum span_state state;
		bool still = false, resume = false;
		u64 seq, last;

		spin_lock_irqsave(&h->lock, flags);
		bad = atomic_read(&h->broken) ? "a span record was found corrupt" :
						__check_lists(h);
		seq = h->seq;
		last = seq;
		while (!bad && idx < h->used) {
			if (work >= HOLD_LEAVES) {
				work = 0;
				spin_unlock_irqrestore(&h->lock, flags);
				cond_resched();
				spin_lock_irqsave(&h->lock, flags);
			}
			at = idx;
			s = __spanheap_walk(h, &at);
			if (h->seq != last) {
				last = h->seq;
				prev = NULL;
				resume = true;
			}
			if (resume) {
				/* Changed while unlocked: go on from the next span, however far */
				work = HOLD_LEAVES;
				idx = s ? s->start : at;
				if (!s)
					continue;
				resume = false;
			}
			if (!s) {
				bad = "no span where one should start";
				break;
			}
			bad = __check_place(h, s, idx);
			if (bad)
				break;
			/* Once: caches take spans in use and give them back without the lock */
			state = span_state(s);
			if (!is_owned(state)) {
				if (!count_backed(h, idx, s->nr_pages, &bits, &counted, &flags)) {
					idx++;		/* s may be gone: on to the next */
					continue;
				}
				work += s->nr_pages >> LEAF_SHIFT;
				bad = bits != counted ?
				      "backed pages of a leaf or group are not as counted" :
				      __check_span(h, s, prev, state, bits);
				if (bad)
					break;
			}
			__check_count(&sums, s);
			idx = span_end(s);
			prev = s;
			work += 4;
			steps_done(4);
		}
		if (!bad && seq == h->seq && !sums.busy) {
			bad = __check_totals(h, &sums);
			still = !bad;
			try = 4;
		}
		spin_unlock_irqrestore(&h->lock, flags);
		if (still)
			bad = check_cpus(h, &sums);
		if (bad)
			scnprintf(why, size, "%s (page %u)", bad, idx);
	}
	return bad ? -EUCLEAN : 0;
}
