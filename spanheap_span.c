// SPDX-License-Identifier: GPL-2.0
/*
 * The page heap: span map, free lists, best fit, split, coalesce, grow.
 *
 * spanheap_take() gets what records it may need, __take() finds or grows a free
 * span and cuts it to size, spanheap_back() gives its missing pages memory
 * outside the lock, and spanheap_hand_out() publishes it. Descends from the page
 * heap of the Go 1.3 runtime (mheap.c).
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <compat/kasan.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define TAKE_RECORDS	3u	/* lead and tail of a split, a growth */
#define SPARE_KEEP	64u	/* records a trim leaves */
#define RELEASE_WAITS	64u	/* batches of releasers an allocation waits for, at most */

static struct kmem_cache *span_cache;

/* What an allocation got before it took the lock */
struct prep {
	struct list_head records;
	u32 nr_records;
	struct map_leaf *leaves;
	u32 nr_leaves;
	u32 want_leaves;	/* set by __grow() when it lacks leaves */
	bool reclaim;		/* sweep rather than grow, if anything is unswept */
	bool exact;		/* grow by no more than asked for */
};

/* ---- records and leaves ---- */

int spanheap_span_cache_create(void)
{
	span_cache = kmem_cache_create("spanheap_span", sizeof(struct span), 0,
				       SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN, NULL);
	return span_cache ? 0 : -ENOMEM;
}

void spanheap_span_cache_destroy(void)
{
	kmem_cache_destroy(span_cache);
}

static void free_leaf(struct map_leaf *leaf)
{
	kfree(leaf->span);
	kfree(leaf);
}

static struct map_leaf *new_leaf(gfp_t gfp)
{
	struct map_leaf *leaf = kzalloc(sizeof(*leaf), gfp);

	if (!leaf)
		return NULL;
	/* 512 pointers are one page where pages are 4 KiB */
	BUILD_BUG_ON(LEAF_PAGES * sizeof(struct span *) > PAGE_SIZE);
	/* A page of its own would do, but kmemleak would not look into it */
	leaf->span = kzalloc(PAGE_SIZE, gfp);
	if (!leaf->span) {
		kfree(leaf);
		return NULL;
	}
	return leaf;
}

/* Called without the lock. A record and a leaf more than the caller lacks. */
static bool prep_more(struct prep *p, u32 records, gfp_t gfp)
{
	gfp = (gfp & ~__GFP_ZERO) | __GFP_NOWARN;
	while (p->nr_records < records) {
		struct span *s = kmem_cache_alloc(span_cache, gfp);

		if (!s)
			return false;
		/* A reader may still look at its former life: no memset */
		WRITE_ONCE(s->state, SPAN_DEAD);
		s->specials = RB_ROOT;
		list_add(&s->list, &p->records);
		p->nr_records++;
	}
	while (p->nr_leaves < p->want_leaves) {
		struct map_leaf *leaf = new_leaf(gfp);

		if (!leaf)
			return false;
		leaf->next = p->leaves;
		p->leaves = leaf;
		p->nr_leaves++;
	}
	return true;
}

static void prep_done(struct prep *p)
{
	while (p->leaves) {
		struct map_leaf *leaf = p->leaves;

		p->leaves = leaf->next;
		free_leaf(leaf);
	}
}

static void __absorb(struct spanheap *h, struct prep *p)
{
	list_splice_init(&p->records, &h->spare);
	h->nr_spare += p->nr_records;
	h->nr_records += p->nr_records;
	p->nr_records = 0;
}

static struct span *__new_record(struct spanheap *h)
{
	struct span *s = list_first_entry(&h->spare, struct span, list);

	list_del(&s->list);
	h->nr_spare--;
	return s;
}

static void __drop_record(struct spanheap *h, struct span *s)
{
	WRITE_ONCE(s->state, SPAN_DEAD);
	list_add(&s->list, &h->spare);
	h->nr_spare++;
}

/* Coalescing leaves records behind; a pass of the scavenger gives them back. */
void spanheap_trim_records(struct spanheap *h)
{
	unsigned long flags;
	struct span *s;

	for (;;) {
		spin_lock_irqsave(&h->lock, flags);
		s = NULL;
		if (h->nr_spare > SPARE_KEEP) {
			s = __new_record(h);
			h->nr_records--;
		}
		spin_unlock_irqrestore(&h->lock, flags);
		if (!s)
			return;
		kmem_cache_free(span_cache, s);
	}
}

/* How many of the first nr pages of a free span are released: looks at the shorter part */
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

/* Backed spans first, so that an exact fit finds memory before holes */
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
}

u32 __spanheap_largest_free(struct spanheap *h)
{
	struct rb_node *node = rb_last(&h->large);
	u32 bit;

	lockdep_assert_held(&h->lock);
	if (node)
		return rb_entry(node, struct span, node)->nr_pages;
	bit = find_last_bit(h->nonempty, SMALL_PAGES);
	return bit < SMALL_PAGES ? bit : 0;
}

/* Best fit: the smallest that fits; of the large, the lowest address */
static struct span *__fit(struct spanheap *h, u32 nr)
{
	struct rb_node *node = h->large.rb_node;
	struct span *best = NULL;

	if (nr < SMALL_PAGES) {
		u32 bit = find_next_bit(h->nonempty, SMALL_PAGES, nr);

		if (bit < SMALL_PAGES)
			return list_first_entry(&h->small[bit], struct span, list);
	}
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

/*
 * Cut a free span after nr pages. Both parts stay free, keep the idle age and
 * the place in the LRU; the second part is returned. Needs a spare record.
 */
struct span *__spanheap_split(struct spanheap *h, struct span *s, u32 nr)
{
	struct span *r = __new_record(h);
	u32 released = released_before(h, s, nr);

	lockdep_assert_held(&h->lock);
	__list_remove(h, s);
	__spanheap_map_clear(h, s);

	r->start = s->start + nr;
	r->nr_pages = s->nr_pages - nr;
	r->nr_released = s->nr_released - released;
	r->needzero = s->needzero && has_backed(r);
	r->dirt = s->dirt;
	r->stamp = s->stamp;
	r->obj_size = 0;
	r->client = NULL;
	r->caller = s->caller;
	INIT_LIST_HEAD(&r->lru);
	if (has_backed(r))
		list_add(&r->lru, &s->lru);
	WRITE_ONCE(r->state, SPAN_FREE);

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

/* Take a free span off the lists, for an allocation or a release */
void __spanheap_isolate(struct spanheap *h, struct span *s, enum span_state state)
{
	lockdep_assert_held(&h->lock);
	__list_remove(h, s);
	list_del_init(&s->lru);
	WRITE_ONCE(s->state, state);
	h->seq++;	/* even if it was not cut: who sums over the map must see it */
}

/* Free neighbour n goes into s. s may be on the LRU but on no free list. */
static void __merge(struct spanheap *h, struct span *s, struct span *n)
{
	__list_remove(h, n);
	__spanheap_map_clear(h, n);
	if (has_backed(n)) {
		/* The youngest backed part says how long the whole was idle */
		if (list_empty(&s->lru) || time_after(n->stamp, s->stamp)) {
			s->stamp = n->stamp;
			list_del_init(&s->lru);
			list_replace_init(&n->lru, &s->lru);
		} else {
			list_del_init(&n->lru);
		}
	}
	if (n->needzero)
		s->dirt = s->needzero && s->dirt != n->dirt ? 0 : n->dirt;
	s->needzero |= n->needzero;
	s->nr_released += n->nr_released;
	s->start = min(s->start, n->start);
	s->nr_pages += n->nr_pages;
	__drop_record(h, n);
}

/*
 * Make s free and coalesce it with its free neighbours. The caller has set
 * nr_released and needzero, and accounts. A span with backed pages becomes the
 * youngest of the LRU; one without takes over a neighbour's age.
 */
void __spanheap_put(struct spanheap *h, struct span *s)
{
	struct span *n;

	lockdep_assert_held(&h->lock);
	WRITE_ONCE(s->state, SPAN_FREE);
	WRITE_ONCE(s->seq, s->seq + 1);
	smp_wmb();	/* look-ups see both before the fields change */
	s->client = NULL;
	s->obj_size = 0;
	__spanheap_map_clear(h, s);
	INIT_LIST_HEAD(&s->lru);
	if (has_backed(s)) {
		s->stamp = h->clock();
		list_add_tail(&s->lru, &h->lru);
	} else {
		s->needzero = false;
	}

	if (s->start) {
		n = *map_slot(h, s->start - 1);
		if (n && n->state == SPAN_FREE)
			__merge(h, s, n);
	}
	if (span_end(s) < h->used) {
		n = *map_slot(h, span_end(s));
		if (n && n->state == SPAN_FREE)
			__merge(h, s, n);
	}
	__spanheap_map_set(h, s);
	__list_insert(h, s);
}

/* ---- growth ---- */

/*
 * Grow the used part so that a free span of nr pages exists. -EAGAIN: the
 * caller must bring p->want_leaves leaves. -ENOSPC: the arena is full.
 */
static int __grow(struct spanheap *h, u32 nr, struct prep *p)
{
	u32 room = h->arena_pages - h->used;
	u32 ask = max_t(u32, GROW_MIN, round_up(nr, GROW_UNIT));
	u32 i, have, need;
	struct span *s;

	if (ask > room || p->exact)
		ask = nr;
	if (ask > room && h->used) {
		/* The free tail counts: only the rest of the ask is grown */
		s = *map_slot(h, h->used - 1);
		if (s->state == SPAN_FREE && s->nr_pages < nr)
			ask = nr - s->nr_pages;
	}
	if (ask > room)
		return -ENOSPC;

	have = DIV_ROUND_UP(h->used, LEAF_PAGES);
	need = DIV_ROUND_UP(h->used + ask, LEAF_PAGES);
	if (need - have > p->nr_leaves) {
		p->want_leaves = need - have;
		return -EAGAIN;
	}
	for (i = have; i < need; i++) {
		struct map_leaf *leaf = p->leaves;

		p->leaves = leaf->next;
		p->nr_leaves--;
		h->nr_map_leaves++;
		/* A leaf is empty before it is seen */
		smp_store_release(&h->map[i], leaf);
	}

	s = __new_record(h);
	s->start = h->used;
	s->nr_pages = ask;
	s->nr_released = ask;
	s->needzero = false;
	s->stamp = h->clock();
	s->caller = 0;
	h->used += ask;
	h->released_pages += ask;
	h->grows++;
	__spanheap_map_set(h, s);
	__spanheap_put(h, s);
	trace_spanheap_grow(h->used, ask);
	return 0;
}

/* ---- allocation ---- */

/* Find and cut a span of nr pages at the alignment, or say why not */
static struct span *__take(struct spanheap *h, struct spanheap_client *client,
			   u32 nr, u32 align, u32 obj_size, struct prep *p)
{
	u32 ask = nr + align - 1, lead;
	struct span *s;
	int err;

	if (h->nr_spare < SPARE_RESERVE + TAKE_RECORDS)
		return ERR_PTR(-EAGAIN);
	s = __fit(h, ask);
	if (!s) {
		if (p->reclaim && !list_empty(&h->unswept))
			return ERR_PTR(-EBUSY);
		err = __grow(h, ask, p);
		if (err)
			return ERR_PTR(err);
		s = __fit(h, ask);
	}
	lead = -((unsigned long)span_addr(h, s) >> PAGE_SHIFT) & (align - 1);
	if (lead)
		s = __spanheap_split(h, s, lead);
	if (s->nr_pages > nr)
		__spanheap_split(h, s, nr);
	__spanheap_isolate(h, s, SPAN_TAKEN);
	s->client = client;
	s->obj_size = obj_size;
	h->released_pages -= s->nr_released;
	h->out_pages += nr;
	h->extra_objects += extra_objects(nr, obj_size);
	h->allocs++;
	client->allocs++;
	return s;
}

/* A releaser holds spans that will be free soon, then the next; it allocates nothing */
static bool wait_for_release(struct spanheap *h, gfp_t gfp, u32 *waited)
{
	if (*waited == RELEASE_WAITS || !gfpflags_allow_blocking(gfp))
		return false;
	++*waited;
	mutex_lock(&h->release_lock);
	mutex_unlock(&h->release_lock);
	return true;
}

static bool drain_caches(struct spanheap *h, gfp_t gfp, bool *drained)
{
	if (*drained || !h->cache || !gfpflags_allow_blocking(gfp))
		return false;
	*drained = true;
	spanheap_cache_drain(h);
	return true;
}

static void absorb(struct spanheap *h, struct prep *p)
{
	unsigned long flags;

	if (!list_empty(&p->records)) {
		spin_lock_irqsave(&h->lock, flags);
		__absorb(h, p);
		spin_unlock_irqrestore(&h->lock, flags);
	}
	prep_done(p);
}

/*
 * A span, TAKEN, charged and counted, that spanheap_hand_out() or
 * spanheap_untake() must follow. Drops and retakes the lock to get what it lacks.
 */
struct span *spanheap_take(struct spanheap *h, struct spanheap_client *client,
			   u32 nr, u32 align, u32 obj_size, gfp_t gfp)
{
	struct prep p = {
		.records = LIST_HEAD_INIT(p.records),
		.reclaim = spanheap_may_reclaim(gfp),
	};
	bool drained = false, releasing;
	unsigned long flags;
	struct span *s;
	u32 waited = 0;
	u64 limit;

	while (!spanheap_charge(client, nr)) {
		/* its own dead spans count until they are swept */
		limit = READ_ONCE(client->limit_pages);
		if (!p.reclaim || (limit && nr > limit) ||
		    !spanheap_reclaim(h, client, nr, false))
			return ERR_PTR(-EDQUOT);
	}
	for (;;) {
		spin_lock_irqsave(&h->lock, flags);
		__absorb(h, &p);
		s = __take(h, client, nr, align, obj_size, &p);
		releasing = h->nr_releasing;
		spin_unlock_irqrestore(&h->lock, flags);
		if (s == ERR_PTR(-EBUSY)) {
			p.reclaim = spanheap_reclaim(h, client, nr + align - 1, true);
			continue;
		}
		if (s == ERR_PTR(-ENOSPC) &&
		    ((releasing && wait_for_release(h, gfp, &waited)) ||
		     drain_caches(h, gfp, &drained)))
			continue;
		if (s != ERR_PTR(-EAGAIN))
			break;
		if (prep_more(&p, SPARE_RESERVE + TAKE_RECORDS, gfp))
			continue;
		if (!p.want_leaves || p.exact) {
			s = ERR_PTR(-ENOMEM);
			break;
		}
		p.exact = true;	/* fewer leaves may do */
		p.want_leaves = 0;
	}
	absorb(h, &p);
	if (IS_ERR(s))
		spanheap_uncharge(client, nr);
	return s;
}

/* A TAKEN span that will not be handed out goes back; it is uncharged */
void spanheap_untake(struct spanheap *h, struct span *s)
{
	struct spanheap_client *client = s->client;
	unsigned long flags;

	spanheap_uncharge(client, s->nr_pages);
	spin_lock_irqsave(&h->lock, flags);
	client->allocs--;
	h->allocs--;
	h->extra_objects -= extra_objects(s->nr_pages, s->obj_size);
	h->released_pages += s->nr_released;
	h->out_pages -= s->nr_pages;
	__spanheap_put(h, s);
	spin_unlock_irqrestore(&h->lock, flags);
}

void spanheap_clear(struct spanheap *h, u32 idx, u32 nr, bool may_sleep)
{
	for (; nr; idx++, nr--) {
		clear_page(page_addr(h, idx));
		if (may_sleep)
			cond_resched();
	}
}

/* It has pages with old data of the system's */
static void set_dirty(struct span *s)
{
	s->needzero = true;
	s->dirt = 0;
}

/*
 * Give a TAKEN span memory everywhere and clear what must be clear; no lock is
 * held. On failure the span is still consistent: nr_released is what is missing.
 */
static bool back_span(struct spanheap *h, struct span *s, bool zero, gfp_t gfp,
		      u32 *cleared)
{
	bool may_sleep = gfpflags_allow_blocking(gfp);
	u32 end = span_end(s), i = s->start, to, got;

	gfp = (gfp & ~__GFP_ZERO) | __GFP_NOWARN | (zero ? __GFP_ZERO : 0);
	while (i < end) {
		to = spanheap_next_backed(h, i, end, false);
		if (zero && s->needzero) {
			spanheap_clear(h, i, to - i, may_sleep);
			*cleared += to - i;
		}
		i = to;
		if (i == end)
			break;
		to = spanheap_next_backed(h, i, end, true);
		got = h->ops->back(h, i, to - i, gfp);
		spanheap_mark_backed(h, i, got, true);
		s->nr_released -= got;
		if (zero)
			*cleared += got;
		else
			set_dirty(s);
		if (got < to - i)
			return false;
		i = to;
	}
	return true;
}

/* What an allocation wants of its span, TAKEN by the caller: memory, and zeros */
bool spanheap_back(struct spanheap *h, struct span *s, gfp_t gfp)
{
	bool zero = wants_zero(s, s->client, gfp), grows = s->nr_released;
	u32 cleared = 0;

	if (grows)
		spanheap_release_to_grow(h, gfp);
	if ((grows || (zero && s->needzero)) &&
	    !back_span(h, s, zero, gfp, &cleared))
		return false;
	if (grows)
		spanheap_grown(h, gfp);
	if (zero) {
		atomic64_add(cleared, &h->zeroed_pages);
		atomic64_add(s->nr_pages - cleared, &h->zero_skipped_pages);
	}
	return true;
}

/* The end of an allocation that spanheap_take() began */
void spanheap_hand_out(struct spanheap *h, struct span *s, u32 obj_size,
		       unsigned long caller)
{
	unsigned long flags;

	spanheap_map_cover(h, s);
	compat_kasan_use(span_addr(h, s), s->nr_pages, true);
	if (likely(!s->client->sweep)) {
		s->ahead = s;
		spanheap_publish(s, s->client, obj_size, caller, SPAN_INUSE);
		return;
	}
	spin_lock_irqsave(&h->lock, flags);
	spanheap_publish(s, s->client, obj_size, caller, inuse_state(s));
	__spanheap_busy_add(h, s);
	spin_unlock_irqrestore(&h->lock, flags);
}

/* Count and report what the caller is refused */
void *spanheap_fail(struct spanheap *h, struct spanheap_client *client,
		    size_t nr_pages, gfp_t gfp, int err)
{
	struct spanheap_stats st;
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	h->failed_allocs++;
	client->failed_allocs++;
	spin_unlock_irqrestore(&h->lock, flags);
	if (gfp & __GFP_NOWARN)
		return NULL;
	spanheap_heap_stats(h, &st);
	pr_warn_ratelimited("%s: cannot allocate %zu pages (%llu bytes), %llu bytes in use: error %d\n",
			    client->name, nr_pages, (u64)nr_pages << PAGE_SHIFT,
			    st.inuse_bytes, err);
	return NULL;
}

/* ---- free ---- */

static const char * const state_names[] = {
	[SPAN_DEAD] = "dead", [SPAN_FREE] = "free", [SPAN_TAKEN] = "busy",
	[SPAN_INUSE] = "in use", [SPAN_RELEASING] = "being released",
};

/*
 * A free of something that is not an allocated span, or is one with the finalizer
 * fn: once per call site
 */
static void report_bad_free(struct spanheap *h, const void *addr,
			    unsigned long caller, spanheap_finalizer_t fn)
{
	struct span copy = {};
	unsigned long flags;
	struct span *s;
	u32 idx;
	int err;

	spin_lock_irqsave(&h->lock, flags);
	h->invalid_frees++;
	s = addr_to_idx(h, addr, &idx) ? __spanheap_span_holding(h, idx) : NULL;
	if (s)
		copy = *s;
	spin_unlock_irqrestore(&h->lock, flags);

	xa_lock_irqsave(&h->bad_callers, flags);
	err = __xa_insert(&h->bad_callers, caller, xa_mk_value(1),
			  GFP_ATOMIC | __GFP_NOWARN);
	xa_unlock_irqrestore(&h->bad_callers, flags);
	if (err == -EBUSY)
		return;
	if (!s)
		pr_err("invalid free of %p by %pS: not in a span\n", addr,
		       (void *)caller);
	else if (fn)
		pr_err("invalid free of %p by %pS: the span of %u pages, allocated by %pS, has the finalizer %pS\n",
		       addr, (void *)caller, copy.nr_pages, (void *)copy.caller, fn);
	else if (span_state(&copy) == SPAN_CACHED)
		pr_err("invalid free of %p by %pS: in the span of %u pages at %p, which is free (cached), last allocated by %pS, last freed by %pS\n",
		       addr, (void *)caller, copy.nr_pages, page_addr(h, copy.start),
		       (void *)copy.caller, (void *)copy.freer);
	else
		pr_err("invalid free of %p by %pS: in the span of %u pages at %p, which is %s, last allocated by %pS\n",
		       addr, (void *)caller, copy.nr_pages,
		       page_addr(h, copy.start), state_names[span_state(&copy)],
		       (void *)copy.caller);
}

/*
 * The in-use span that starts at addr is claimed (old: its state) and leaves its
 * busy list, or there is none
 */
static struct span *__claim_at(struct spanheap *h, const void *addr, u32 *old)
{
	struct span *s = spanheap_span_at(h, addr);

	if (!s || span_addr(h, s) != addr)
		return NULL;
	*old = spanheap_claim(s, SPAN_TAKEN);
	if (*old == SPAN_DEAD)
		return NULL;
	if (s->client->sweep)
		__spanheap_busy_del(h, s);
	return s;
}

/* As above, to free it, with what is attached; not if it has a finalizer, fn */
static struct span *__claim_to_free(struct spanheap *h, const void *addr,
				    struct rb_root *specials,
				    spanheap_finalizer_t *fn)
{
	struct span *s = spanheap_span_at(h, addr);

	if (!s || span_addr(h, s) != addr)
		return NULL;
	if (cmpxchg(&s->state, SPAN_INUSE, SPAN_TAKEN) != SPAN_INUSE &&
	    !spanheap_specials_claim(h, s, specials, fn))
		return NULL;
	if (s->client->sweep)
		__spanheap_busy_del(h, s);
	return s;
}

static void __orphan_done(struct spanheap *h, struct spanheap_client *client)
{
	if (client == h->orphan && client->allocs == client->frees && h->pinned) {
		h->pinned = false;
		module_put(THIS_MODULE);
	}
}

/* s, TAKEN and backed, is given back */
static void __end_use(struct spanheap *h, struct span *s, bool cleared)
{
	compat_kasan_use(span_addr(h, s), s->nr_pages, false);
	spanheap_uncharge(s->client, s->nr_pages);
	h->out_pages -= s->nr_pages;
	s->nr_released = 0;
	s->needzero = !cleared;
	s->dirt = s->client->dirt;
	__spanheap_put(h, s);
}

/* s was in use and is claimed: free it. The lock is dropped while it is cleared. */
void __spanheap_free_claimed(struct spanheap *h, struct span *s, unsigned long *flags)
{
	bool clear = want_init_on_free();
	struct spanheap_client *client;

	lockdep_assert_held(&h->lock);
	if (clear) {
		/* TAKEN and charged meanwhile: nobody else can have the pages */
		spin_unlock_irqrestore(&h->lock, *flags);
		spanheap_clear(h, s->start, s->nr_pages, false);
		spin_lock_irqsave(&h->lock, *flags);
	}
	client = s->client;
	h->extra_objects -= extra_objects(s->nr_pages, s->obj_size);
	h->frees++;
	client->frees++;
	__end_use(h, s, clear);
	__orphan_done(h, client);
}

/* A free that no cache takes */
void spanheap_span_free(struct spanheap *h, const void *addr, unsigned long caller)
{
	struct rb_root specials = RB_ROOT;
	spanheap_finalizer_t fn = NULL;
	unsigned long flags;
	struct span *s;
	u32 nr;

	spin_lock_irqsave(&h->lock, flags);
	s = __claim_to_free(h, addr, &specials, &fn);
	if (!s) {
		spin_unlock_irqrestore(&h->lock, flags);
		report_bad_free(h, addr, caller, fn);
		return;
	}
	nr = s->nr_pages;
	if (!s->client->sweep || !__spanheap_free_later(h, s))
		__spanheap_free_claimed(h, s, &flags);
	spin_unlock_irqrestore(&h->lock, flags);
	spanheap_specials_freed(h, &specials);
	trace_spanheap_free((unsigned long)addr, nr, caller);
}

/* Spans that came out of a cache go into the free lists */
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
			h->out_pages -= s->nr_pages;
			h->uncached_pages += s->nr_pages;
			__spanheap_put(h, s);
		}
		spin_unlock_irqrestore(&h->lock, flags);
	}
}

/* ---- resize ---- */

/* The tail of a TAKEN span, cut off and TAKEN itself. Needs a spare record. */
static struct span *__cut_tail(struct spanheap *h, struct span *s, u32 nr)
{
	struct span *t = __new_record(h);

	WRITE_ONCE(*map_slot(h, span_end(s) - 1), NULL);
	t->start = s->start + nr;
	t->nr_pages = s->nr_pages - nr;
	t->client = s->client;
	t->caller = s->caller;
	t->obj_size = 0;
	WRITE_ONCE(t->state, SPAN_TAKEN);
	h->extra_objects += extra_objects(nr, s->obj_size) -
			    extra_objects(s->nr_pages, s->obj_size);
	WRITE_ONCE(s->nr_pages, nr);
	__spanheap_map_set(h, s);
	__spanheap_map_set(h, t);
	return t;
}

/* The free pages right behind s, cut to nr and TAKEN */
static struct span *__take_behind(struct spanheap *h, struct span *s, u32 nr,
				  struct prep *p)
{
	struct span *n;
	int err;

	n = span_end(s) < h->used ? *map_slot(h, span_end(s)) : NULL;
	if (n && n->state != SPAN_FREE)
		return ERR_PTR(-EBUSY);
	if (!n || (n->nr_pages < nr && span_end(n) == h->used)) {
		err = __grow(h, nr, p);
		if (err)
			return ERR_PTR(err);
		n = *map_slot(h, span_end(s));
	}
	if (n->nr_pages < nr)
		return ERR_PTR(-EBUSY);
	if (n->nr_pages > nr)
		__spanheap_split(h, n, nr);
	__spanheap_isolate(h, n, SPAN_TAKEN);
	n->client = s->client;
	h->released_pages -= n->nr_released;
	h->out_pages += nr;
	return n;
}

/* Take nr pages behind s, which the caller has TAKEN, and back them */
static struct span *take_behind(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp)
{
	struct prep p = { .records = LIST_HEAD_INIT(p.records) };
	unsigned long flags;
	struct span *n;

	do {
		n = ERR_PTR(-EAGAIN);
		spin_lock_irqsave(&h->lock, flags);
		__absorb(h, &p);
		if (h->nr_spare >= SPARE_RESERVE + TAKE_RECORDS)
			n = __take_behind(h, s, nr, &p);
		spin_unlock_irqrestore(&h->lock, flags);
	} while (n == ERR_PTR(-EAGAIN) &&
		 prep_more(&p, SPARE_RESERVE + TAKE_RECORDS, gfp));
	absorb(h, &p);
	if (IS_ERR(n) || spanheap_back(h, n, gfp))
		return n;

	spin_lock_irqsave(&h->lock, flags);
	h->released_pages += n->nr_released;
	h->out_pages -= nr;
	__spanheap_put(h, n);
	spin_unlock_irqrestore(&h->lock, flags);
	return ERR_PTR(-ENOMEM);
}

static bool grow_span(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp)
{
	u32 old = s->nr_pages;
	unsigned long flags;
	struct span *n;

	if (!spanheap_charge(s->client, nr - old))
		return false;
	n = take_behind(h, s, nr - old, gfp);
	if (IS_ERR(n)) {
		spanheap_uncharge(s->client, nr - old);
		return false;
	}
	compat_kasan_use(span_addr(h, n), nr - old, true);
	spin_lock_irqsave(&h->lock, flags);
	h->extra_objects += extra_objects(nr, s->obj_size) -
			    extra_objects(old, s->obj_size);
	__spanheap_map_clear(h, n);
	WRITE_ONCE(*map_slot(h, span_end(s) - 1), NULL);
	WRITE_ONCE(s->nr_pages, nr);
	__spanheap_map_set(h, s);
	spanheap_map_cover(h, s);
	__drop_record(h, n);
	spin_unlock_irqrestore(&h->lock, flags);
	return true;
}

static bool shrink_span(struct spanheap *h, struct span *s, u32 nr, gfp_t gfp)
{
	struct prep p = { .records = LIST_HEAD_INIT(p.records) };
	bool clear = want_init_on_free();
	struct span *t = NULL;
	unsigned long flags;

	do {
		spin_lock_irqsave(&h->lock, flags);
		__absorb(h, &p);
		if (h->nr_spare > SPARE_RESERVE)
			t = __cut_tail(h, s, nr);
		spin_unlock_irqrestore(&h->lock, flags);
	} while (!t && prep_more(&p, SPARE_RESERVE + 1, gfp));
	absorb(h, &p);
	if (!t)
		return false;
	if (clear)
		spanheap_clear(h, t->start, t->nr_pages, gfpflags_allow_blocking(gfp));
	spin_lock_irqsave(&h->lock, flags);
	__end_use(h, t, clear);
	spin_unlock_irqrestore(&h->lock, flags);
	return true;
}

/* The span is TAKEN meanwhile: a free or a second resize of it is a bad one */
bool spanheap_heap_resize(struct spanheap *h, void *addr, size_t nr_pages,
			  gfp_t gfp, unsigned long caller)
{
	struct spanheap_client *c;
	unsigned long flags;
	struct span *s;
	bool done;
	u32 state;

	if (!spanheap_gfp_ok(gfp) || !nr_pages || nr_pages > h->arena_pages)
		return false;
	spin_lock_irqsave(&h->lock, flags);
	s = __claim_at(h, addr, &state);
	c = s ? s->client : NULL;
	if (c && !__spanheap_client_get(c)) {
		/* c is being unregistered: s is becoming an orphan */
		WRITE_ONCE(s->state, state);
		if (c->sweep)
			__spanheap_busy_back(h, s);
		spin_unlock_irqrestore(&h->lock, flags);
		return false;
	}
	spin_unlock_irqrestore(&h->lock, flags);
	if (!s) {
		report_bad_free(h, addr, caller, NULL);
		return false;
	}
	if ((u64)nr_pages << PAGE_SHIFT < s->obj_size)
		done = false;
	else if (nr_pages > s->nr_pages)
		done = grow_span(h, s, nr_pages, gfp);
	else if (nr_pages < s->nr_pages && state & SPAN_SLOW &&
		 spanheap_specials_beyond(h, s, nr_pages))
		done = false;
	else if (nr_pages < s->nr_pages && s->client->sweep &&
		 READ_ONCE(s->asked) != ASKED_NOT && !spanheap_in_callback(h, true))
		done = false;	/* another task's sweep callback may read what would go */
	else if (nr_pages < s->nr_pages)
		done = shrink_span(h, s, nr_pages, gfp);
	else
		done = true;
	smp_wmb();	/* as in spanheap_publish() */
	spin_lock_irqsave(&h->lock, flags);
	WRITE_ONCE(s->state, state);
	if (c->sweep)
		__spanheap_busy_back(h, s);
	spin_unlock_irqrestore(&h->lock, flags);
	spanheap_client_put(c);
	return done;
}

/* ---- counters, check, life ---- */

void spanheap_heap_stats(struct spanheap *h, struct spanheap_stats *st)
{
	struct span_cache sum;
	unsigned long flags;
	u64 cached, inuse;

	spin_lock_irqsave(&h->lock, flags);
	spanheap_cache_sum(h, &sum);
	/* Caches move while they are summed; what they hold is in out_pages */
	cached = clamp_t(s64, sum.cached_pages - h->uncached_pages, 0, h->out_pages);
	inuse = h->out_pages - cached;
	*st = (struct spanheap_stats) {
		.arena_bytes = (u64)h->arena_pages << PAGE_SHIFT,
		.sys_bytes = (u64)h->used << PAGE_SHIFT,
		.inuse_bytes = inuse << PAGE_SHIFT,
		.idle_bytes = (h->used - inuse) << PAGE_SHIFT,
		.released_bytes = h->released_pages << PAGE_SHIFT,
		.resident_bytes = (h->used - h->released_pages) << PAGE_SHIFT,
		.cached_bytes = cached << PAGE_SHIFT,
		.allocs = h->allocs + sum.allocs,
		.frees = h->frees + sum.frees,
		.span_meta_bytes = h->nr_records * sizeof(struct span),
		.other_meta_bytes = sizeof(*h) +
			h->nr_map_leaves * (sizeof(struct map_leaf) + PAGE_SIZE) +
			h->nr_leaves * (sizeof(*h->map) + sizeof(*h->cover) +
					sizeof(*h->leaf_backed)) +
			DIV_ROUND_UP(h->nr_leaves, LEAVES_PER_GROUP) *
				sizeof(*h->group_backed) +
			BATCH_PAGES * sizeof(*h->release_pages) +
			spanheap_special_meta(h) +
			spanheap_prof_bytes(h) +
			h->cache_bytes,
		.failed_allocs = h->failed_allocs,
		.invalid_frees = h->invalid_frees,
		.grows = h->grows,
		.scavenge_passes = h->scavenge_passes,
		.scavenged_bytes = h->scavenged_pages << PAGE_SHIFT,
		.tlb_flushes = h->tlb_flushes,
		.largest_free_pages = __spanheap_largest_free(h),
		.orphan_bytes = (u64)atomic64_read(&h->orphan->pages) << PAGE_SHIFT,
		.zeroed_bytes = (atomic64_read(&h->zeroed_pages) +
				 sum.zeroed_pages) << PAGE_SHIFT,
		.zero_skipped_bytes = (atomic64_read(&h->zero_skipped_pages) +
				       sum.zero_skipped_pages) << PAGE_SHIFT,
	};
	st->spans = max_t(s64, st->allocs - st->frees, 0);
	st->objects = max_t(s64, st->spans + h->extra_objects + sum.extra_objects, 0);
	spin_unlock_irqrestore(&h->lock, flags);
}

static void free_client(struct spanheap_client *c)
{
	if (c)
		spanheap_client_exit(c);
	kfree(c);
}

static struct spanheap_client *inner_client(struct spanheap *h, const char *name)
{
	struct spanheap_client *c = kzalloc(sizeof(*c), GFP_KERNEL);

	if (c && spanheap_client_init(c)) {
		kfree(c);
		return NULL;
	}
	if (c) {
		c->heap = h;
		strscpy(c->name, name, sizeof(c->name));
	}
	return c;
}

struct spanheap *spanheap_heap_create(const struct arena_ops *ops,
				      unsigned long nr_pages,
				      unsigned long (*clock)(void))
{
	struct spanheap *h;
	int i, err = -ENOMEM;

	if (!nr_pages || nr_pages > S32_MAX)
		return ERR_PTR(-EINVAL);
	h = kvzalloc(sizeof(*h), GFP_KERNEL);
	if (!h)
		return ERR_PTR(-ENOMEM);
	h->ops = ops;
	h->clock = clock;
	h->last_drain = clock();
	h->arena_pages = nr_pages;
	h->nr_leaves = DIV_ROUND_UP(nr_pages, LEAF_PAGES);
	mutex_init(&h->clients_lock);
	INIT_LIST_HEAD(&h->clients);
	INIT_LIST_HEAD(&h->unswept);
	INIT_LIST_HEAD(&h->callbacks);
	init_waitqueue_head(&h->callback_wait);
	mutex_init(&h->release_lock);
	spin_lock_init(&h->lock);
	for (i = 0; i < SMALL_PAGES; i++)
		INIT_LIST_HEAD(&h->small[i]);
	h->large = RB_ROOT;
	INIT_LIST_HEAD(&h->lru);
	INIT_LIST_HEAD(&h->spare);
	xa_init_flags(&h->bad_callers, XA_FLAGS_LOCK_IRQ);
	spanheap_special_init(h);

	h->map = kvcalloc(h->nr_leaves, sizeof(*h->map), GFP_KERNEL);
	h->cover = kvcalloc(h->nr_leaves, sizeof(*h->cover), GFP_KERNEL);
	h->leaf_backed = kvcalloc(h->nr_leaves, sizeof(*h->leaf_backed), GFP_KERNEL);
	h->group_backed = kvcalloc(DIV_ROUND_UP(h->nr_leaves, LEAVES_PER_GROUP),
				   sizeof(*h->group_backed), GFP_KERNEL);
	h->release_pages = kvcalloc(BATCH_PAGES, sizeof(*h->release_pages),
				    GFP_KERNEL);
	h->anon = inner_client(h, "(anonymous)");
	h->orphan = inner_client(h, "(orphan)");
	if (!spanheap_prof_create(h) && h->map && h->cover && h->leaf_backed &&
	    h->group_backed && h->release_pages && h->anon && h->orphan)
		err = ops->reserve(h, nr_pages);
	if (!err)
		return h;
	h->ops = NULL;
	spanheap_heap_destroy(h);
	return ERR_PTR(err);
}

/*
 * No caller may be inside. Pages still in use are leaked with their arena, for
 * whoever holds them may touch them yet.
 */
void spanheap_heap_destroy(struct spanheap *h)
{
	struct span *s;
	u32 i;

	if (h->ops) {
		spanheap_cache_exit(h);
		if (WARN_ON(h->out_pages))
			return;
		spanheap_scavenge(h, 0, U64_MAX);
		spin_lock_irq(&h->lock);
		while ((s = __spanheap_next(h, 0))) {
			__spanheap_map_clear(h, s);
			__drop_record(h, s);
		}
		spin_unlock_irq(&h->lock);
		while (!list_empty(&h->spare))
			kmem_cache_free(span_cache, __new_record(h));
		h->ops->unreserve(h);
	}
	for (i = 0; h->map && i < h->nr_map_leaves; i++)
		free_leaf(h->map[i]);
	xa_destroy(&h->bad_callers);
	spanheap_prof_destroy(h);
	free_client(h->orphan);
	free_client(h->anon);
	kvfree(h->release_pages);
	kvfree(h->group_backed);
	kvfree(h->leaf_backed);
	kvfree(h->cover);
	kvfree(h->map);
	kvfree(h);
}
