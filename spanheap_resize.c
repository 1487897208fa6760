// SPDX-License-Identifier: GPL-2.0
/*
 * Changing the length of a span: in place, or by mapping its pages at another place. The
 * span is OWNED during the change, so that the heap refuses a free or a second resize of it
 * as a bad one.
 */
#include <linux/mm.h>
#include <compat/kasan.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

/*
 * Claim the in-use span that starts at addr and take it off its busy list. Sets *old to the
 * word that the claim replaced. NULL: there is no such span.
 */
static struct span *__claim_at(struct spanheap *h, const void *addr, u64 *old)
{
	struct span *s = spanheap_span_at(h, addr);

	if (!s || span_addr(h, s) != addr)
		return NULL;
	*old = READ_ONCE(s->word);
	test_hook(h, HOOK_RESIZE_READ);
	if (!span_claim(s, old))
		return NULL;
	if (s->client->sweep)
		__spanheap_busy_del(h, s);
	return s;
}

/* Update the number of objects for a new length of nr pages */
static void __count_objects(struct spanheap *h, const struct span *s, u32 nr)
{
	h->extra_objects += extra_objects(nr, s->obj_size) -
			    extra_objects(s->nr_pages, s->obj_size);
}

/* Carve nr pages behind s, which the caller owns, and back them. ERR_PTR on failure. */
static struct span *carve_behind(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp)
{
	struct prep p = PREP_INIT(p);
	unsigned long flags;
	struct span *n;

	p.client = s->client;
	do {
		spin_lock_irqsave(&h->lock, flags);
		__spanheap_absorb(h, &p);
		n = __spanheap_carve_behind(h, s, nr, &p);
		if (!IS_ERR(n))
			n->client = s->client;
		spin_unlock_irqrestore(&h->lock, flags);
	} while (n == ERR_PTR(-EAGAIN) && spanheap_prep_more(&p, gfp));
	spanheap_prep_done(h, &p);
	if (IS_ERR(n) || spanheap_back(h, n, gfp, NUMA_NO_NODE))
		return n;

	spin_lock_irqsave(&h->lock, flags);
	__spanheap_put(h, n);
	spin_unlock_irqrestore(&h->lock, flags);
	return ERR_PTR(-ENOMEM);
}

/* n, OWNED and right behind s, becomes a part of it */
static void __join(struct spanheap *h, struct span *s, struct span *n)
{
	u32 nr = s->nr_pages + n->nr_pages;

	lockdep_assert_held(&h->lock);
	__spanheap_map_clear(h, n);
	WRITE_ONCE(*map_slot(h, span_end(s) - 1), NULL);
	__count_objects(h, s, nr);
	WRITE_ONCE(s->nr_pages, nr);
	s->nr_released += n->nr_released;
	s->needzero |= n->needzero;
	__spanheap_map_set(h, s);
	__spanheap_drop_record(h, n);
}

static bool grow_span(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp)
{
	u32 old = s->nr_pages;
	unsigned long flags;
	struct span *n;

	if (!spanheap_charge(s->client, nr - old)) {
		spanheap_limit_hit(s->client);
		return false;
	}
	n = carve_behind(h, s, nr - old, gfp);
	if (IS_ERR(n)) {
		spanheap_uncharge(s->client, nr - old);
		return false;
	}
	compat_kasan_use(&h->lost, span_addr(h, n), nr - old, true);
	/* Both spans are OWNED by this task, so no look-up depends on the second one's leaves */
	spanheap_map_cover(h, s->start, n->start, s->start + nr);
	spin_lock_irqsave(&h->lock, flags);
	__join(h, s, n);
	spin_unlock_irqrestore(&h->lock, flags);
	idle_moved(h);
	return true;
}

/* Cut s, OWNED, after nr pages. What is behind is OWNED, too; NULL: no memory for a record */
static struct span *cut_tail(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp)
{
	struct prep p = PREP_INIT(p);
	struct span *t = NULL;
	unsigned long flags;

	do {
		spin_lock_irqsave(&h->lock, flags);
		__spanheap_absorb(h, &p);
		if (h->nr_spare > SPARE_RESERVE) {
			__count_objects(h, s, nr);
			t = __spanheap_cut_tail(h, s, nr);
			/* A guard page is behind t now */
			t->guarded = s->guarded;
			s->guarded = false;
		}
		spin_unlock_irqrestore(&h->lock, flags);
	} while (!t && spanheap_prep_more(&p, gfp));
	spanheap_prep_done(h, &p);
	return t;
}

static bool shrink_span(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp,
			unsigned long caller)
{
	bool clear = want_init_on_free(), drop = false;
	u32 old = s->nr_pages;
	unsigned long flags;
	struct span *t;

	t = cut_tail(h, s, nr, gfp);
	if (!t)
		return false;
	if (spanheap_frees_later(t)) {
		clear = false;
	} else {
		drop = spanheap_must_drop(h, t);
		if (clear && !drop)
			spanheap_clear(h, t->start, t->nr_pages, gfpflags_allow_blocking(gfp));
		spanheap_age_now(h, t);
	}
	spin_lock_irqsave(&h->lock, flags);
	/* Trace before the tail can be allocated again */
	trace_spanheap_resize((unsigned long)span_addr(h, s), old, nr, true, caller,
			      s->client->name);
	__spanheap_use_end(h, t, clear, drop);
	spin_unlock_irqrestore(&h->lock, flags);
	scav_poke(h);
	return true;
}

/* ---- in place ---- */

/* An in-use span that is being changed, and the client, which stays meanwhile */
struct change {
	struct span *s;
	struct spanheap_client *client;
	u64 word;			/* of s before */
};

/* The span at addr becomes this task's to change. False: it may not be, or is none. */
static bool change_begin(struct spanheap *h, struct change *c, void *addr, unsigned long caller)
{
	unsigned long flags;
	struct span *s;

	spin_lock_irqsave(&h->lock, flags);
	s = __claim_at(h, addr, &c->word);
	c->s = s;
	c->client = s ? s->client : NULL;
	if (s && !__spanheap_client_get(c->client)) {
		/*
		 * The client is being unregistered, and s becomes an orphan. A new use begins,
		 * as in change_end(), but no field has changed, so the store needs no order.
		 */
		WRITE_ONCE(s->word, c->word + SPAN_USE);
		if (c->client->sweep)
			__spanheap_busy_back(h, s);
		spin_unlock_irqrestore(&h->lock, flags);
		return false;
	}
	spin_unlock_irqrestore(&h->lock, flags);
	if (!s)
		spanheap_report_bad_free(h, addr, caller, NULL);
	return s;
}

static void change_end(struct spanheap *h, struct change *c)
{
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	/*
	 * Begin a new use, so that a free that has seen the old length or place fails. The new
	 * fields before the word: pairs with the acquire in spanheap_heap_lookup() and look().
	 */
	smp_store_release(&c->s->word, c->word + SPAN_USE);
	if (c->client->sweep)
		__spanheap_busy_back(h, c->s);
	spin_unlock_irqrestore(&h->lock, flags);
	spanheap_client_put(c->client);
}

static bool change_in_place(struct spanheap *h, const struct change *c, u32 nr, gfp_t gfp,
			    unsigned long caller)
{
	struct span *s = c->s;

	if ((u64)nr << PAGE_SHIFT < s->obj_size)
		return false;
	if (s->guarded && nr != s->nr_pages)
		return false;	/* the guard page must stay right behind the span */
	if (nr > s->nr_pages)
		return grow_span(h, s, nr, gfp);
	if (nr == s->nr_pages)
		return true;
	if (c->word & SPAN_SLOW && spanheap_specials_beyond(h, s, nr))
		return false;
	if (c->client->sweep && READ_ONCE(s->sweep) != SWEEP_NONE && !spanheap_in_callback(h, true))
		return false;	/* another task's sweep callback may read the tail */
	return shrink_span(h, s, nr, gfp, caller);
}

bool spanheap_heap_resize(struct spanheap *h, void *addr, size_t nr_pages,
			  gfp_t gfp, unsigned long caller)
{
	struct change c;
	bool done;
	u32 old;

	spanheap_might_alloc(gfp);
	if (!spanheap_gfp_ok(gfp) || !nr_pages || nr_pages > h->arena_pages ||
	    !change_begin(h, &c, addr, caller))
		return false;
	old = c.s->nr_pages;
	done = change_in_place(h, &c, nr_pages, gfp, caller);
	if (!done || nr_pages >= old)	/* shrink_span() traces its own success */
		trace_spanheap_resize((unsigned long)addr, old, nr_pages, done, caller,
				      c.client->name);
	change_end(h, &c);
	return done;
}

/* ---- at another place ---- */

/* May the pages of the span be mapped elsewhere, so that it is nr pages long? */
static bool may_move(struct spanheap *h, const struct change *c, u32 nr, gfp_t gfp)
{
	struct span *s = c->s;

	return gfpflags_allow_blocking(gfp) && (u64)nr << PAGE_SHIFT >= s->obj_size &&
	       !(c->client->sweep && READ_ONCE(s->sweep) != SWEEP_NONE) &&
	       !(c->word & SPAN_SLOW && spanheap_has_finalizer(h, s)) && spanheap_arena_ok(h);
}

/*
 * A place for nr pages: n is OWNED, its first keep pages have no memory, and the others, if
 * there are any, are *tail and have it. NULL: nothing was changed.
 */
static struct span *new_place(struct spanheap *h, struct spanheap_client *client, u32 nr,
			      u32 keep, gfp_t gfp, struct span **tail)
{
	struct span *n = spanheap_take(h, client, nr, 1, 0, gfp);
	unsigned long flags;

	if (IS_ERR(n))
		return NULL;
	*tail = NULL;
	if (keep < nr) {
		*tail = cut_tail(h, n, keep, gfp);
		if (!*tail)
			goto fail;
	}
	/* Idle pages that are there would be in the way */
	if (spanheap_drop_foreign(h, n, NUMA_NO_NODE, gfp) &&
	    (!*tail || spanheap_back(h, *tail, gfp, NUMA_NO_NODE)))
		return n;
fail:
	spin_lock_irqsave(&h->lock, flags);
	if (*tail) {
		n->guarded = (*tail)->guarded;
		__join(h, n, *tail);
	}
	__spanheap_use_undo(h, n);
	spin_unlock_irqrestore(&h->lock, flags);
	scav_poke(h);
	return NULL;
}

/* s is at the place of n now, and n, without memory, at the old one of s */
static void __swap_places(struct spanheap *h, struct span *s, struct span *n)
{
	lockdep_assert_held(&h->lock);
	__spanheap_map_clear(h, s);
	__spanheap_map_clear(h, n);
	swap(s->start, n->start);
	n->nr_released = n->nr_pages;
	n->needzero = false;
	__spanheap_map_set(h, s);
	__spanheap_map_set(h, n);
}

/*
 * The memory of s is mapped at n, of the same length, and s goes on there with tail, if
 * that is not NULL, behind it. The flush is before the old addresses can be anybody's. No
 * byte is copied, and nothing here can fail unless the arena is lost.
 */
static void move_span(struct spanheap *h, struct span *s, struct span *n, struct span *tail,
		      gfp_t gfp, unsigned long caller)
{
	u32 from = s->start, to = n->start, keep = s->nr_pages;
	u32 nr = keep + (tail ? tail->nr_pages : 0);
	const char *name = s->client->name;
	unsigned long flags;
	bool guarded;

	compat_kasan_use(&h->lost, page_addr(h, to), nr, true);
	h->ops->move(h, from, to, keep);
	spanheap_mark_moved(h, from, to, keep);
	h->ops->flush(h, from, from + keep);
	compat_kasan_use(&h->lost, page_addr(h, from), keep, false);
	atomic64_add(keep, &h->moved_pages);
	spanheap_map_cover(h, to, to + 1, to + nr);
	trace_spanheap_alloc((unsigned long)page_addr(h, to), nr, gfp, caller, name);

	spin_lock_irqsave(&h->lock, flags);
	h->tlb_flushes++;
	__swap_places(h, s, n);
	/* The guard of the old place is behind n, and the new one behind the last of s */
	guarded = (tail ?: n)->guarded;
	n->guarded = s->guarded;
	if (tail)
		__join(h, s, tail);
	s->guarded = guarded;
	/* Before the old addresses can be anybody's */
	trace_spanheap_free((unsigned long)page_addr(h, from), keep, caller, name);
	__spanheap_use_undo(h, n);
	spin_unlock_irqrestore(&h->lock, flags);
	scav_poke(h);
}

/* False: nothing was changed */
static bool change_place(struct spanheap *h, const struct change *c, u32 nr, gfp_t gfp,
			 unsigned long caller)
{
	u32 old = c->s->nr_pages, more = nr > old ? nr - old : 0;
	struct span *n, *tail;

	if (more && !spanheap_charge(c->client, more))
		return false;
	n = new_place(h, c->client, nr, min(old, nr), gfp, &tail);
	if (!n)
		goto uncharge;
	if (nr < old && !shrink_span(h, c->s, nr, gfp, caller))
		goto undo;
	move_span(h, c->s, n, tail, gfp, caller);
	return true;

undo:
	spanheap_use_undo(h, n);
uncharge:
	spanheap_uncharge(c->client, more);
	return false;
}

void *spanheap_heap_realloc(struct spanheap *h, void *addr, size_t nr_pages, gfp_t gfp,
			    unsigned long caller)
{
	bool done, moved = false;
	struct change c;
	u32 old;

	might_alloc_or_sweep(gfp);
	if (!spanheap_gfp_ok(gfp) || !nr_pages || nr_pages > h->arena_pages ||
	    !change_begin(h, &c, addr, caller))
		return NULL;
	old = c.s->nr_pages;
	done = change_in_place(h, &c, nr_pages, gfp, caller);
	if (!done && may_move(h, &c, nr_pages, gfp))
		moved = change_place(h, &c, nr_pages, gfp, caller);
	if (done ? nr_pages >= old : !moved)	/* else that was traced */
		trace_spanheap_resize((unsigned long)addr, old, nr_pages, done, caller,
				      c.client->name);
	addr = done || moved ? span_addr(h, c.s) : NULL;
	change_end(h, &c);
	return addr;
}
