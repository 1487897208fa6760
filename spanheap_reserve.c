// SPDX-License-Identifier: GPL-2.0
/*
 * The reserve of a client: pages for allocations that may not block, when neither the heap
 * nor the system has any.
 *
 * The reserve is one span, RESERVED: idle, backed, and on no list, so that no releaser finds
 * it. Allocations cut their spans off its front, so it serves one long allocation as well as
 * many short ones. The reserve has a spare record for each cut. After that a worker replaces
 * what is left by a new span of the full length.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "spanheap_internal.h"

struct client_reserve {
	u32 pages;			/* full length, guard pages included; constant */
	struct delayed_work work;	/* fills the reserve up */
	struct spanheap_client *client;	/* constant */
	reserve_get_span_t get_span;	/* constant */
	struct span *span;		/* what is left, or NULL; heap lock */
	struct list_head records;	/* spare ones, for cuts; heap lock */
	u32 nr_records;			/* heap lock */
};

#define RETRY_TICKS	HZ		/* between two tries of the worker */

/* Move spare records for a few cuts to the heap */
static void __records_to_heap(struct spanheap *h, struct client_reserve *r, u32 nr)
{
	lockdep_assert_held(&h->lock);
	for (; nr; nr--) {
		list_move(r->records.next, &h->spare);
		r->nr_records--;
		h->nr_spare++;
	}
}

/* s, OWNED and backed, becomes the reserve */
static void __reserve(struct spanheap *h, struct client_reserve *r, struct span *s)
{
	lockdep_assert_held(&h->lock);
	if (!span_move(h, s, SPAN_OWNED, SPAN_RESERVED))
		return;
	h->unlisted_pages -= s->nr_pages;
	h->reserved_pages += s->nr_pages;
	s->client = NULL;
	s->obj_size = 0;
	r->span = s;
	h->seq++;
}

/* Take the span out of the reserve: OWNED, or NULL */
static struct span *__unreserve(struct spanheap *h, struct client_reserve *r)
{
	struct span *s = r->span;

	lockdep_assert_held(&h->lock);
	r->span = NULL;
	if (!s || !span_move(h, s, SPAN_RESERVED, SPAN_OWNED))
		return NULL;
	h->reserved_pages -= s->nr_pages;
	h->unlisted_pages += s->nr_pages;
	h->seq++;
	return s;
}

/*
 * Cut a span of nr pages off the front of the reserve. Pages before an aligned address become
 * free. The last page becomes a guard if the client wants one. NULL: the reserve is too short.
 */
static struct span *__cut_off(struct spanheap *h, struct client_reserve *r, u32 nr, u32 align,
			      u32 guard)
{
	struct span *s = r->span, *rest;
	u32 lead, cuts;

	if (!s)
		return NULL;
	lead = -((unsigned long)span_addr(h, s) >> PAGE_SHIFT) & (align - 1);
	cuts = !!lead + (lead + nr < s->nr_pages) + guard;
	if (lead + nr > s->nr_pages || r->nr_records < cuts)
		return NULL;
	s = __unreserve(h, r);
	if (!s)
		return NULL;
	__records_to_heap(h, r, cuts);
	if (lead) {
		rest = __spanheap_cut_tail(h, s, lead);
		spanheap_age_now(h, s);
		__spanheap_put(h, s);
		s = rest;
	}
	if (s->nr_pages > nr)
		__reserve(h, r, __spanheap_cut_tail(h, s, nr));
	if (guard)
		__spanheap_cut_guard(h, s);
	h->peak = max(h->peak, h->unlisted_pages);
	return s;
}

/*
 * A span of nr pages from the reserve of c, which has one: OWNED, backed and counted; or NULL.
 * Called in any context but NMI, after the pages were charged. Allocates no memory.
 */
struct span *spanheap_reserve_take(struct spanheap_client *c, u32 nr, u32 align, u32 obj_size)
{
	u32 guard = !!(c->flags & SPANHEAP_GUARD);
	struct client_reserve *r = c->reserve;
	struct spanheap *h = c->heap;
	unsigned long flags;
	struct span *s;

	spin_lock_irqsave(&h->lock, flags);
	s = __cut_off(h, r, nr + guard, align, guard);
	if (s)
		__spanheap_use_begin(h, s, c, obj_size);
	spin_unlock_irqrestore(&h->lock, flags);
	if (s)
		mod_delayed_work(spanheap_wq, &r->work, 0);
	return s;
}

/* s, OWNED, was in a reserve, and becomes free. Returns its pages; 0: s is NULL. */
static u32 make_free(struct spanheap *h, struct span *s)
{
	u32 n;

	if (!s)
		return 0;
	n = s->nr_pages;
	spanheap_age_now(h, s);
	spin_lock_irq(&h->lock);
	__spanheap_put(h, s);
	spin_unlock_irq(&h->lock);
	scav_poke(h);
	return n;
}

static u32 drop(struct spanheap_client *c)
{
	struct spanheap *h = c->heap;
	struct span *s;

	spin_lock_irq(&h->lock);
	s = __unreserve(h, c->reserve);
	spin_unlock_irq(&h->lock);
	return make_free(h, s);
}

/* Allocate records until there is one for each page of a full reserve */
static bool bring_records(struct spanheap_client *c, gfp_t gfp)
{
	struct client_reserve *r = c->reserve;
	struct spanheap *h = c->heap;
	LIST_HEAD(records);
	u32 want, n;

	want = r->pages - READ_ONCE(r->nr_records);	/* allocations only take some */
	n = spanheap_alloc_records(&records, want, gfp);
	spin_lock_irq(&h->lock);
	list_splice(&records, &r->records);
	WRITE_ONCE(r->nr_records, r->nr_records + n);
	h->nr_records += n;
	spin_unlock_irq(&h->lock);
	return n == want;
}

/*
 * Fill the reserve up: replace what is left, unless it is of the full length. If the arena has
 * no room for both, the old span becomes free first, and comes back if there is nothing
 * longer. -ENOMEM: the reserve is not full.
 */
static int fill(struct spanheap_client *c, gfp_t gfp)
{
	struct client_reserve *r = c->reserve;
	struct spanheap *h = c->heap;
	struct span *s, *old;
	bool full;
	u32 left;

	if (!bring_records(c, gfp))
		return -ENOMEM;
	spin_lock_irq(&h->lock);
	old = r->span && r->span->nr_pages == r->pages ? r->span : NULL;
	spin_unlock_irq(&h->lock);
	if (old)
		return 0;
	s = r->get_span(h, r->pages, gfp);
	left = s == ERR_PTR(-ENOSPC) ? drop(c) : 0;
	if (left) {
		s = r->get_span(h, r->pages, gfp);
		if (IS_ERR(s))
			s = r->get_span(h, left, gfp);
	}
	if (IS_ERR(s))
		return -ENOMEM;
	full = s->nr_pages == r->pages;
	spin_lock_irq(&h->lock);
	__spanheap_use_cancel(h, s);
	old = __unreserve(h, r);
	__reserve(h, r, s);
	spin_unlock_irq(&h->lock);
	make_free(h, old);
	return full ? 0 : -ENOMEM;
}

/*
 * GFP_NOIO because the system may be about to sleep, and because an allocation without I/O
 * runs no sweep callbacks. The worker retries until the reserve is full.
 */
static void reserve_work(struct work_struct *work)
{
	struct client_reserve *r = container_of(to_delayed_work(work), struct client_reserve,
						work);

	if (fill(r->client, GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN))
		queue_delayed_work(spanheap_wq, &r->work, RETRY_TICKS);
}

/* Pages that the reserve can serve at the moment */
u64 spanheap_reserve_pages(struct spanheap_client *c)
{
	struct client_reserve *r = c->reserve;
	struct spanheap *h = c->heap;
	unsigned long flags;
	u64 n;

	if (!r)
		return 0;
	spin_lock_irqsave(&h->lock, flags);
	n = r->span ? r->span->nr_pages : 0;
	spin_unlock_irqrestore(&h->lock, flags);
	return c->flags & SPANHEAP_GUARD ? n / 2 : n;
}

/*
 * Give c a reserve, unless bytes is 0. -EINVAL: the reserve can never be so large; -ENOMEM:
 * there is no memory now. spanheap_reserve_exit() must follow, also after an error.
 */
int spanheap_reserve_init(struct spanheap_client *c, u64 bytes, reserve_get_span_t get_span)
{
	u64 pages = DIV_ROUND_UP_ULL(bytes, PAGE_SIZE);
	struct client_reserve *r;

	if (!bytes)
		return 0;
	if (bytes > U64_MAX - PAGE_SIZE || (c->limit_pages && pages > c->limit_pages))
		return -EINVAL;
	if (c->flags & SPANHEAP_GUARD)
		pages *= 2;		/* all may be spans of a page */
	if (pages > c->heap->arena_pages)
		return -EINVAL;
	r = kzalloc(sizeof(*r), GFP_KERNEL);
	if (!r)
		return -ENOMEM;
	r->pages = pages;
	r->client = c;
	r->get_span = get_span;
	INIT_DELAYED_WORK(&r->work, reserve_work);
	INIT_LIST_HEAD(&r->records);
	c->reserve = r;
	return fill(c, GFP_NOFS | __GFP_NOWARN);
}

/* Called when nobody allocates for the client any more */
void spanheap_reserve_exit(struct spanheap_client *c)
{
	struct client_reserve *r = c->reserve;
	struct span *s, *next;

	if (!r)
		return;
	cancel_delayed_work_sync(&r->work);
	drop(c);
	spin_lock_irq(&c->heap->lock);
	c->heap->nr_records -= r->nr_records;
	spin_unlock_irq(&c->heap->lock);
	list_for_each_entry_safe(s, next, &r->records, list)
		spanheap_free_record(s);
	c->reserve = NULL;
	kfree(r);
}
