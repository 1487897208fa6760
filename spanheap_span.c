// SPDX-License-Identifier: GPL-2.0
/*
 * The page heap under its lock: free lists, best fit, split, coalesce, grow.
 *
 * Derived from the page heap of the Go 1.3 runtime (mheap.c). This file calls only the
 * span map, does not sleep and allocates nothing: before an operation, its caller
 * allocates the records and map leaves that the operation may need (struct prep).
 */
#include <linux/mm.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

/*
 * Report a record in a wrong state, because of memory corruption or a bug. The caller
 * does not use the span any more: its pages are lost, but no other span is damaged.
 */
void __cold spanheap_broken(struct spanheap *h, struct span *s, enum span_state from,
			    enum span_state to)
{
	u64 word = READ_ONCE(s->word);

	WARN(atomic_inc_return(&h->broken) == 1,
	     "spanheap: record of the span of %u pages at page %u is corrupt: state %u, not %u, before a change to %u. The span is not used any more.\n",
	     s->nr_pages, s->start, word_state(word), from, to);
}

/* ---- records ---- */

/* Move the records of p to the heap's spare records */
void __spanheap_absorb(struct spanheap *h, struct prep *p)
{
	list_splice_init(&p->records, &h->spare);
	h->nr_spare += p->nr_records;
	h->nr_records += p->nr_records;
	p->nr_records = 0;
}

struct span *__spanheap_new_record(struct spanheap *h)
{
	struct span *s = list_first_entry(&h->spare, struct span, list);

	list_del(&s->list);
	h->nr_spare--;
	return s;
}

/* The next life of the record, which a split may begin, has no guard and is not shared */
void __spanheap_drop_record(struct spanheap *h, struct span *s)
{
	s->shared = false;
	s->guarded = false;
	s->guard = false;
	/* A late look-up finds DEAD or a later state, never the use that has ended */
	WRITE_ONCE(s->word, (READ_ONCE(s->word) & SPAN_USES) | SPAN_DEAD);
	list_add(&s->list, &h->spare);
	h->nr_spare++;
}

/* How many of the first nr pages of s are unbacked? Counts in the shorter part of s. */
static u32 released_before(struct spanheap *h, struct span *s, u32 nr)
{
	if (!s->nr_released)
		return 0;
	if (s->nr_released == s->nr_pages)
		return nr;
	if (nr <= s->nr_pages / 2)
		return nr - spanheap_count_backed(h, s->start, nr);
	return nr - (s->nr_pages - s->nr_released) +
	       spanheap_count_backed(h, s->start + nr, s->nr_pages - nr);
}

/* ---- free lists ---- */

static bool rb_less(struct rb_node *a, const struct rb_node *b)
{
	return large_less(rb_entry(a, struct span, node),
			  rb_entry(b, struct span, node));
}

static u32 __longest(struct spanheap *h)
{
	struct rb_node *node = rb_last(&h->large);
	u32 bit;

	if (node)
		return rb_entry(node, struct span, node)->nr_pages;
	bit = find_last_bit(h->nonempty, SMALL_PAGES);
	return bit < SMALL_PAGES ? bit : 0;
}

/* Spans with backed pages go to the front, so that an exact fit finds memory first */
static void __list_insert(struct spanheap *h, struct span *s)
{
	if (s->nr_pages >= SMALL_PAGES) {
		rb_add(&s->node, &h->large, rb_less);
	} else {
		if (has_backed(s))
			list_add(&s->list, &h->small[s->nr_pages]);
		else
			list_add_tail(&s->list, &h->small[s->nr_pages]);
		__set_bit(s->nr_pages, h->nonempty);
		h->nr_small[s->nr_pages]++;
	}
	h->nr_free++;
	if (s->nr_pages > h->largest_free)
		WRITE_ONCE(h->largest_free, s->nr_pages);
}

static void __list_remove(struct spanheap *h, struct span *s)
{
	if (s->nr_pages >= SMALL_PAGES) {
		rb_erase(&s->node, &h->large);
	} else {
		list_del(&s->list);
		if (!--h->nr_small[s->nr_pages])
			__clear_bit(s->nr_pages, h->nonempty);
	}
	h->nr_free--;
	if (s->nr_pages == h->largest_free)
		WRITE_ONCE(h->largest_free, __longest(h));
}

/* The smallest large span of at least nr pages, the lowest address on a tie */
static struct span *__fit_large(struct spanheap *h, u32 nr)
{
	struct rb_node *node = h->large.rb_node;
	struct span *best = NULL;

	while (node) {
		struct span *s = rb_entry(node, struct span, node);

		if (s->nr_pages >= nr) {
			best = s;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return best;
}

/* Remove a corrupt span from the free lists; the heap does not use the span any more */
static void __evict_broken(struct spanheap *h, struct span *s, u32 list)
{
	spanheap_broken(h, s, SPAN_FREE, SPAN_OWNED);
	if (list < SMALL_PAGES) {
		list_del(&s->list);
		if (!--h->nr_small[list])
			__clear_bit(list, h->nonempty);
	} else {
		rb_erase(&s->node, &h->large);
	}
	list_del_init(&s->lru);
	h->nr_free--;
	WRITE_ONCE(h->largest_free, __longest(h));
	/* OWNED, so that no neighbour that becomes free coalesces with s */
	WRITE_ONCE(s->word, (READ_ONCE(s->word) & SPAN_USES) | SPAN_OWNED);
}

/* Best fit: the smallest span that fits; among large spans, the lowest address on a tie */
static struct span *__fit(struct spanheap *h, u32 nr)
{
	struct span *s;
	u32 list;

	for (;;) {
		list = nr < SMALL_PAGES ? find_next_bit(h->nonempty, SMALL_PAGES, nr) :
					  SMALL_PAGES;
		s = list < SMALL_PAGES ?
		    list_first_entry(&h->small[list], struct span, list) :
		    __fit_large(h, nr);
		if (!s || likely(span_state(s) == SPAN_FREE &&
				 (list == SMALL_PAGES || s->nr_pages == list)))
			return s;
		__evict_broken(h, s, list);
	}
}

/*
 * Cut a free span after nr pages. Both parts stay free and keep their place in the list
 * by age. Returns the second part. Needs a spare record.
 */
struct span *__spanheap_split(struct spanheap *h, struct span *s, u32 nr)
{
	struct span *r = __spanheap_new_record(h);
	u32 released = released_before(h, s, nr);

	lockdep_assert_held(&h->lock);
	__list_remove(h, s);
	__spanheap_map_clear(h, s);

	r->start = s->start + nr;
	r->nr_pages = s->nr_pages - nr;
	r->nr_released = s->nr_released - released;
	r->needzero = s->needzero && has_backed(r);
	r->writer = s->writer;
	r->epoch = s->epoch;
	r->obj_size = 0;
	r->client = NULL;
	r->caller = s->caller;
	INIT_LIST_HEAD(&r->lru);
	if (has_backed(r))
		list_add(&r->lru, &s->lru);
	span_move(h, r, SPAN_DEAD, SPAN_FREE);

	s->nr_pages = nr;
	s->nr_released = released;
	if (!has_backed(s)) {
		s->needzero = false;
		list_del_init(&s->lru);
	}

	__spanheap_map_set(h, s);
	__spanheap_map_set(h, r);
	__list_insert(h, s);
	__list_insert(h, r);
	return r;
}

/*
 * Take a free span off the lists, for an allocation (OWNED) or a release (RELEASING).
 * This function and __spanheap_put() move pages between idle and unlisted.
 */
void __spanheap_isolate(struct spanheap *h, struct span *s, enum span_state state)
{
	lockdep_assert_held(&h->lock);
	__list_remove(h, s);
	list_del_init(&s->lru);
	span_move(h, s, SPAN_FREE, state);	/* on a free list, so its state is FREE */
	if (state == SPAN_OWNED) {
		h->unlisted_pages += s->nr_pages;
		h->released_pages -= s->nr_released;
		h->peak = max(h->peak, h->unlisted_pages);
		if (!has_backed(s))	/* if s is put back, all its memory is new */
			s->epoch = h->epoch;
	} else {
		h->nr_releasing++;
	}
	h->seq++;	/* tells a walk that sums over the map, even without a split */
}

/* ---- idle age ---- */

/*
 * Record that the use of s, OWNED or CACHED, ends now. The heap lock is optional; for a
 * long span callers avoid it, because this writes a byte for each unit.
 */
void spanheap_age_now(struct spanheap *h, struct span *s)
{
	spanheap_mark_used(h, s->start, s->nr_pages);
	s->epoch = READ_ONCE(h->epoch);
}

/*
 * Put s, which is free and has backed pages, on the list of its age. A span that returns
 * from a releaser goes to the front, so that the releaser continues with it.
 */
static void __list_by_age(struct spanheap *h, struct span *s, bool front)
{
	struct list_head *list = &h->idle[min(h->epoch - s->epoch, AGES - 1)];

	if (front)
		list_add(&s->lru, list);
	else
		list_add_tail(&s->lru, list);
}

/* Move s to the list of its age, after s->epoch was changed */
void __spanheap_place(struct spanheap *h, struct span *s)
{
	lockdep_assert_held(&h->lock);
	list_del_init(&s->lru);
	if (has_backed(s))
		__list_by_age(h, s, false);
}

/* Make all idle spans older by one epoch. The work does not depend on their number. */
void __spanheap_next_epoch(struct spanheap *h)
{
	u32 i;

	lockdep_assert_held(&h->lock);
	WRITE_ONCE(h->epoch, h->epoch + 1);
	for (i = AGES - 1; i; i--)
		list_splice_tail_init(&h->idle[i - 1], &h->idle[i]);
}

/*
 * Merge the free neighbour n into s, which is on no list. The oldest backed pages
 * determine the age of the result, so that recent use of some pages does not delay the
 * release of the others.
 */
static void __merge(struct spanheap *h, struct span *s, struct span *n)
{
	__list_remove(h, n);
	__spanheap_map_clear(h, n);
	if (has_backed(n)) {
		if (!has_backed(s) || (s32)(n->epoch - s->epoch) < 0)
			s->epoch = n->epoch;
		list_del_init(&n->lru);
	}
	if (n->needzero)
		s->writer = s->needzero && s->writer != n->writer ? 0 : n->writer;
	s->needzero |= n->needzero;
	s->nr_released += n->nr_released;
	s->start = min(s->start, n->start);
	s->nr_pages += n->nr_pages;
	__spanheap_drop_record(h, n);
}

static bool may_put(enum span_state state)
{
	return state == SPAN_OWNED || state == SPAN_CACHED || state == SPAN_RELEASING ||
	       state == SPAN_GUARD || state == SPAN_RESERVED || state == SPAN_DEAD;
}

/*
 * Make s free and coalesce it with its free neighbours. The caller has set nr_released,
 * needzero and, if a page is backed, the epoch. After a use, spanheap_age_now() sets it.
 */
void __spanheap_put(struct spanheap *h, struct span *s)
{
	enum span_state old;
	struct span *n;

	lockdep_assert_held(&h->lock);
	steps_done(1);
	old = span_state(s);
	if (!may_put(old)) {
		spanheap_broken(h, s, SPAN_OWNED, SPAN_FREE);
		return;
	}
	if (old == SPAN_RELEASING) {
		h->nr_releasing--;
	} else if (old == SPAN_RESERVED) {
		h->reserved_pages -= s->nr_pages;
	} else if (old == SPAN_OWNED || old == SPAN_CACHED) {
		h->unlisted_pages -= s->nr_pages;
		h->released_pages += s->nr_released;
		h->uncached_pages += old == SPAN_CACHED ? s->nr_pages : 0;
	}
	span_move(h, s, old, SPAN_FREE);
	/* Store the word before the fields: pairs with the smp_rmb() in spanheap_heap_lookup() */
	smp_wmb();
	s->client = NULL;
	s->obj_size = 0;
	s->shared = false;
	s->guarded = false;
	__spanheap_map_clear(h, s);
	INIT_LIST_HEAD(&s->lru);
	if (!has_backed(s))
		s->needzero = false;

	if (s->start) {
		n = *map_slot(h, s->start - 1);
		if (n && span_state(n) == SPAN_FREE)
			__merge(h, s, n);
	}
	if (span_end(s) < h->used) {
		n = *map_slot(h, span_end(s));
		if (n && span_state(n) == SPAN_FREE)
			__merge(h, s, n);
	}
	__spanheap_map_set(h, s);
	__list_insert(h, s);
	if (has_backed(s))
		__list_by_age(h, s, old == SPAN_RELEASING);
}

/*
 * Count s, which is OWNED, as idle, and queue it on list. The task that empties the list
 * clears or unbacks the pages of s, then makes s free or a guard.
 */
void __spanheap_defer(struct spanheap *h, struct span *s, struct llist_head *list)
{
	lockdep_assert_held(&h->lock);
	if (!span_move(h, s, SPAN_OWNED, SPAN_RELEASING))
		return;
	h->unlisted_pages -= s->nr_pages;
	h->released_pages += s->nr_released;
	h->nr_releasing++;
	h->seq++;
	llist_add(&s->cached, list);
}

/* ---- growth ---- */

/*
 * Grow the used part so that a free span of nr pages exists. -EAGAIN: the caller must
 * allocate p->want_leaves leaves and call again. One call attaches HOLD_LEAVES leaves at
 * most. Attached leaves beyond the used part stay empty until a growth uses them.
 * -ENOSPC: the arena is full.
 */
int __spanheap_grow(struct spanheap *h, u32 nr, struct prep *p)
{
	u32 room = h->arena_pages - h->used;
	u32 ask = max_t(u32, GROW_MIN, round_up(nr, GROW_UNIT));
	struct span *s;
	u32 i, need;

	if (ask > room || p->exact)
		ask = nr;
	if (ask > room && h->used) {
		/* The free tail counts: grow only by the pages that it lacks */
		s = *map_slot(h, h->used - 1);
		if (span_state(s) == SPAN_FREE && s->nr_pages < nr)
			ask = nr - s->nr_pages;
	}
	if (ask > room)
		return -ENOSPC;

	need = DIV_ROUND_UP(h->used + ask, LEAF_PAGES);
	for (i = 0; h->nr_map_leaves < need && i < HOLD_LEAVES && p->nr_leaves; i++) {
		struct map_leaf *leaf = p->leaves;

		p->leaves = leaf->next;
		p->nr_leaves--;
		steps_done(1);
		/*
		 * Store the zeroed leaf before its pointer, which look-ups follow. Pairs with
		 * the address dependency and the smp_rmb() in map_find().
		 */
		smp_store_release(&h->map[h->nr_map_leaves], leaf);
		WRITE_ONCE(h->nr_map_leaves, h->nr_map_leaves + 1);
	}
	if (h->nr_map_leaves < need) {
		p->want_leaves = need - h->nr_map_leaves;
		return -EAGAIN;
	}

	s = __spanheap_new_record(h);
	s->start = h->used;
	s->nr_pages = ask;
	s->nr_released = ask;
	s->needzero = false;
	s->caller = 0;
	h->used += ask;
	h->released_pages += ask;
	h->grows++;
	__spanheap_map_set(h, s);
	__spanheap_put(h, s);
	trace_spanheap_grow(h->used, ask, p->client ? p->client->name : "-");
	return 0;
}

/* ---- carving ---- */

/*
 * Carve nr pages out of the free lists: find the best fit, or grow if the caller allows
 * it, then split off the pages before the aligned start and behind the end. The returned
 * span is OWNED. -EAGAIN: the caller must allocate what p lacks and call again. -ENOSPC:
 * no span fits, and the heap may not or cannot grow.
 */
struct span *__spanheap_carve(struct spanheap *h, u32 nr, u32 align, bool grow,
			      struct prep *p)
{
	u32 ask = nr + align - 1, lead;
	struct span *s;
	int err;

	lockdep_assert_held(&h->lock);
	if (h->nr_spare < SPARE_RESERVE + CARVE_RECORDS)
		return ERR_PTR(-EAGAIN);
	s = __fit(h, ask);
	if (!s) {
		err = grow ? __spanheap_grow(h, ask, p) : -ENOSPC;
		if (err)
			return ERR_PTR(err);
		s = __fit(h, ask);
		if (!s)		/* the grown span was corrupt, see __fit() */
			return ERR_PTR(-ENOSPC);
	}
	lead = -((unsigned long)span_addr(h, s) >> PAGE_SHIFT) & (align - 1);
	if (lead)
		s = __spanheap_split(h, s, lead);
	if (s->nr_pages > nr)
		__spanheap_split(h, s, nr);
	__spanheap_isolate(h, s, SPAN_OWNED);
	return s;
}

/* Cut an OWNED span after nr pages. The returned tail is OWNED. Needs a spare record. */
struct span *__spanheap_cut_tail(struct spanheap *h, struct span *s, u32 nr)
{
	struct span *t = __spanheap_new_record(h);
	u32 released = released_before(h, s, nr);

	WRITE_ONCE(*map_slot(h, span_end(s) - 1), NULL);
	t->start = s->start + nr;
	t->nr_pages = s->nr_pages - nr;
	t->nr_released = s->nr_released - released;
	t->needzero = s->needzero;
	t->writer = s->writer;
	t->client = s->client;
	t->caller = s->caller;
	t->obj_size = 0;
	t->shared = s->shared;
	t->guarded = false;
	t->guard = false;
	span_move(h, t, SPAN_DEAD, SPAN_OWNED);
	s->nr_released = released;
	WRITE_ONCE(s->nr_pages, nr);
	__spanheap_map_set(h, s);
	__spanheap_map_set(h, t);
	return t;
}

/*
 * Make the last page of an OWNED span its guard: an unbacked page that is no longer part
 * of the span. A backed page is queued to be unbacked first.
 */
void __spanheap_cut_guard(struct spanheap *h, struct span *s)
{
	struct span *guard = __spanheap_cut_tail(h, s, s->nr_pages - 1);

	lockdep_assert_held(&h->lock);
	s->guarded = true;
	guard->guard = true;
	guard->client = NULL;
	if (has_backed(guard)) {
		__spanheap_defer(h, guard, &h->dropping);
	} else if (span_move(h, guard, SPAN_OWNED, SPAN_GUARD)) {
		h->unlisted_pages--;
		h->released_pages++;
	}
}

/*
 * Carve the nr free pages right behind s. If the used part ends there, grow the heap.
 * -EAGAIN: as for __spanheap_carve(). -ENOSPC: these pages are not free.
 */
struct span *__spanheap_carve_behind(struct spanheap *h, struct span *s, u32 nr,
				     struct prep *p)
{
	struct span *n;
	int err;

	lockdep_assert_held(&h->lock);
	if (h->nr_spare < SPARE_RESERVE + CARVE_RECORDS)
		return ERR_PTR(-EAGAIN);
	n = span_end(s) < h->used ? *map_slot(h, span_end(s)) : NULL;
	if (n && span_state(n) != SPAN_FREE)
		return ERR_PTR(-ENOSPC);
	if (!n || (n->nr_pages < nr && span_end(n) == h->used)) {
		err = __spanheap_grow(h, nr, p);
		if (err)
			return ERR_PTR(err);
		n = *map_slot(h, span_end(s));
	}
	if (!n || span_state(n) != SPAN_FREE || n->nr_pages < nr)
		return ERR_PTR(-ENOSPC);
	if (n->nr_pages > nr)
		__spanheap_split(h, n, nr);
	__spanheap_isolate(h, n, SPAN_OWNED);
	return n;
}

/* ---- spans out of caches ---- */

/* Put spans that came out of a cache into the free lists */
void spanheap_put_cached(struct spanheap *h, struct llist_node *first)
{
	unsigned long flags;
	struct span *s;
	u32 n;

	while (first) {
		spin_lock_irqsave(&h->lock, flags);
		for (n = 0; first && !held_enough(h, n); n++) {
			s = llist_entry(first, struct span, cached);
			first = first->next;
			spanheap_age_now(h, s);
			__spanheap_put(h, s);
		}
		spin_unlock_irqrestore(&h->lock, flags);
	}
}
