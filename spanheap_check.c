// SPDX-License-Identifier: GPL-2.0
/*
 * The invariants of the page heap: the spans tile the map, free spans are coalesced
 * and on their lists, and the counters agree with the sums of a walk over the map.
 *
 * This file changes nothing, and calls only the span map and the caches' counters.
 */
#include <linux/mm.h>
#include <linux/sched.h>

#include "spanheap_internal.h"

#define WALKS	4u	/* to find the map still */

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

/* The caller holds the heap lock, so no client that a span names is freed meanwhile */
static bool is_swept(const struct span *s)
{
	struct spanheap_client *c = READ_ONCE(s->client);

	return c && c->sweep;	/* NULL: another CPU is freeing s into its cache */
}

/* Check s, which a swept client uses. Returns the error, or NULL. */
static const char *__check_busy(struct spanheap *h, struct span *s)
{
	struct client_sweep *sw;
	struct list_head *head;

	lockdep_assert_held(&h->lock);
	if (!(READ_ONCE(s->word) & SPAN_SLOW))
		return "in-use span of a swept client without SPAN_SLOW";
	sw = s->client->sweep;
	head = &sw->busy[busy_index(s)];
	if (s->list.next->prev != &s->list || s->list.prev->next != &s->list)
		return "in-use span not on its busy list";
	if (sw->gen - s->sweepgen > 2)
		return "impossible generation";
	if (!unswept(sw, s))
		return NULL;
	if (!test_bit(busy_index(s), sw->todo))
		return "unswept span on a list whose todo bit is clear";
	if (!s->client->gone && list_empty(&sw->node))
		return "unswept span of a client that is not on the unswept list";
	if (s->list.prev != head && !unswept(sw, list_prev_entry(s, list)))
		return "unswept span behind a swept one";
	return NULL;
}

/* Check that span s starts at idx and that the map names it. Returns the error, or NULL. */
static const char *__check_place(struct spanheap *h, struct span *s, u32 idx)
{
	if (s->start != idx || !s->nr_pages || span_end(s) > h->used)
		return "spans do not tile the map";
	if (*map_slot(h, idx) != s || *map_slot(h, span_end(s) - 1) != s)
		return "map entries do not name the span";
	return NULL;
}

/*
 * Count the backed pages of [idx, idx + nr), once by their bits and once by the counters
 * of leaves and groups. One hold of the lock covers one group. False: the map has changed
 * between two holds.
 */
static bool count_backed(struct spanheap *h, u32 idx, u32 nr, u32 *bits, u32 *counted,
			 unsigned long *flags)
	__must_hold(&h->lock)
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
 * Check that each backed page of s was last used in s->epoch or later. The check allows
 * one epoch more, because an owner of other pages of a unit may write a late value. In a
 * long span it looks only at the first units.
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
 * Check span s, which has that state and that many backed pages. prev is the span before
 * s; it is NULL where the walk starts or resumes. Returns the error, or NULL.
 */
static const char *__check_span(struct spanheap *h, struct span *s, struct span *prev,
				enum span_state state, u32 backed)
{
	switch (state) {
	case SPAN_DEAD:
		return "dead record in the map";
	case SPAN_INUSE:
	case SPAN_CACHED:
	case SPAN_RESERVED:
		if (s->nr_released || backed != s->nr_pages)
			return "in-use, cached or reserved span with unbacked pages";
		return state == SPAN_INUSE && is_swept(s) ?
		       __check_busy(h, s) : NULL;
	case SPAN_GUARD:
		if (s->nr_pages != 1 || backed)
			return "guard page is backed";
		/* Without prev, the walk does not know the span before, except at page 0 */
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
		return "span without backed pages is marked needzero";
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
		return "largest_free is not the length of the longest free span";
	return NULL;
}

/* The fields of such a span may be inconsistent: its owner changes them without the lock */
static bool is_owned(enum span_state state)
{
	return state == SPAN_OWNED || state == SPAN_RELEASING;
}

struct check_sums {
	u64 unlisted, released, cached, reserved, inuse_spans, ops;
	u64 uncached_pages, allocs, frees;	/* of struct spanheap at the end of the walk */
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
	case SPAN_RESERVED:
		c->reserved += s->nr_pages;
		return;
	default:
		c->busy++;
		return;
	}
	c->unlisted += s->nr_pages;
}

/* Compare the heap's counters with a walk during which the map did not change */
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
	if (c->reserved != h->reserved_pages)
		return "reserved counter differs from the map";
	if (c->nr_free != h->nr_free)
		return "free span counter differs from the map";
	if (c->nr_swept != h->nr_busy)
		return "spans of swept clients differ from their busy lists";
	c->uncached_pages = h->uncached_pages;
	c->allocs = h->allocs;
	c->frees = h->frees;
	return NULL;
}

/* Compare also the CPUs' counters, which are summed without the lock */
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
 * One walk over all spans; a hold of the lock covers a bounded number of them. Returns what
 * is broken, with its page. Without a change of the map during the walk (*still), the
 * totals are compared, too.
 */
static const char *check_walk(struct spanheap *h, u32 *page, bool *still)
{
	struct heap_counts sum = cache_sum(&h->caches);
	struct check_sums sums = { .ops = sum.allocs + sum.frees };
	u32 idx = 0, work = 0, at, bits, counted;
	struct span *s, *prev = NULL;
	enum span_state state;
	const char *bad;
	bool resume = false;
	unsigned long flags;
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
			/* The map changed while unlocked: resume at the next span */
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
		/* Read once: CPUs free and allocate cached spans without the lock */
		state = span_state(s);
		if (!is_owned(state)) {
			if (!count_backed(h, idx, s->nr_pages, &bits, &counted, &flags)) {
				idx++;		/* s may be gone; resume behind idx */
				continue;
			}
			work += s->nr_pages >> LEAF_SHIFT;
			bad = bits != counted ?
			      "backed bits of a leaf or group differ from its counter" :
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
		*still = true;
	}
	spin_unlock_irqrestore(&h->lock, flags);
	if (!bad && *still)
		bad = check_cpus(h, &sums);
	*page = idx;
	return bad;
}

/*
 * Check every invariant. On a busy heap the map may change during each walk, and then the
 * totals are not checked. Returns 0, or -EUCLEAN with the reason in why.
 */
int spanheap_heap_check(struct spanheap *h, char *why, size_t size)
{
	const char *bad = NULL;
	bool still = false;
	u32 page, i;

	for (i = 0; i < WALKS && !bad && !still; i++)
		bad = check_walk(h, &page, &still);
	if (!bad)
		return 0;
	scnprintf(why, size, "%s (page %u)", bad, page);
	return -EUCLEAN;
}
