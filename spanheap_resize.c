// SPDX-License-Identifier: GPL-2.0
/*
 * Changing the length of a span in place. The span is OWNED during the resize, so that the
 * heap refuses a free or a second resize of it as a bad one.
 */
#include <linux/mm.h>
#include <compat/kasan.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

/*
 * Claim the in-use span that starts at addr and take it off its busy list. Returns its
 * word in *old, or NULL if there is no such span.
 */
static struct span *__claim_at(struct spanheap *h, const void *addr, u64 *old)
{
	struct span *s = spanheap_span_at(h, addr);

	if (!s || span_addr(h, s) != addr)
		return NULL;
	*old = READ_ONCE(s->word);
	if (!span_claim(s, *old))
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
	compat_kasan_use(span_addr(h, n), nr - old, true);
	/* Both spans are OWNED by this task, so no look-up depends on the second one's leaves */
	spanheap_map_cover(h, s->start, n->start, s->start + nr);
	spin_lock_irqsave(&h->lock, flags);
	__spanheap_map_clear(h, n);
	WRITE_ONCE(*map_slot(h, span_end(s) - 1), NULL);
	__count_objects(h, s, nr);
	WRITE_ONCE(s->nr_pages, nr);
	__spanheap_map_set(h, s);
	__spanheap_drop_record(h, n);
	spin_unlock_irqrestore(&h->lock, flags);
	idle_moved(h);
	return true;
}

static bool shrink_span(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp,
			unsigned long caller)
{
	struct prep p = PREP_INIT(p);
	bool clear = want_init_on_free(), drop = false;
	u32 old = s->nr_pages;
	struct span *t = NULL;
	unsigned long flags;

	do {
		spin_lock_irqsave(&h->lock, flags);
		__spanheap_absorb(h, &p);
		if (h->nr_spare > SPARE_RESERVE) {
			__count_objects(h, s, nr);
			t = __spanheap_cut_tail(h, s, nr);
		}
		spin_unlock_irqrestore(&h->lock, flags);
	} while (!t && spanheap_prep_more(&p, gfp));
	spanheap_prep_done(h, &p);
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

bool spanheap_heap_resize(struct spanheap *h, void *addr, size_t nr_pages,
			  gfp_t gfp, unsigned long caller)
{
	struct spanheap_client *c;
	unsigned long flags;
	struct span *s;
	bool done;
	u64 word;
	u32 old;

	spanheap_might_alloc(gfp);
	if (!spanheap_gfp_ok(gfp) || !nr_pages || nr_pages > h->arena_pages)
		return false;
	spin_lock_irqsave(&h->lock, flags);
	s = __claim_at(h, addr, &word);
	c = s ? s->client : NULL;
	if (c && !__spanheap_client_get(c)) {
		/* c is being unregistered, and s becomes an orphan */
		WRITE_ONCE(s->word, word + SPAN_USE);
		if (c->sweep)
			__spanheap_busy_back(h, s);
		spin_unlock_irqrestore(&h->lock, flags);
		return false;
	}
	spin_unlock_irqrestore(&h->lock, flags);
	if (!s) {
		spanheap_report_bad_free(h, addr, caller, NULL);
		return false;
	}
	old = s->nr_pages;
	if ((u64)nr_pages << PAGE_SHIFT < s->obj_size)
		done = false;
	else if (s->guarded && nr_pages != s->nr_pages)
		done = false;	/* the guard page must stay right behind the span */
	else if (nr_pages > s->nr_pages)
		done = grow_span(h, s, nr_pages, gfp);
	else if (nr_pages < s->nr_pages && word & SPAN_SLOW &&
		 spanheap_specials_beyond(h, s, nr_pages))
		done = false;
	else if (nr_pages < s->nr_pages && s->client->sweep &&
		 READ_ONCE(s->sweep) != SWEEP_NONE && !spanheap_in_callback(h, true))
		done = false;	/* another task's sweep callback may read the tail */
	else if (nr_pages < s->nr_pages)
		done = shrink_span(h, s, nr_pages, gfp, caller);
	else
		done = true;
	if (!done || nr_pages >= old)	/* shrink_span() traces its own success */
		trace_spanheap_resize((unsigned long)addr, old, nr_pages, done, caller, c->name);
	spin_lock_irqsave(&h->lock, flags);
	/* Begin a new use, so that a free that has seen the old length fails */
	smp_store_release(&s->word, word + SPAN_USE);
	if (c->sweep)
		__spanheap_busy_back(h, s);
	spin_unlock_irqrestore(&h->lock, flags);
	spanheap_client_put(c);
	return done;
}
