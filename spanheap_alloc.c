// SPDX-License-Identifier: GPL-2.0
/*
 * One allocation and one free, top to bottom.
 *
 * An allocation pops a cached span. If no cache has one, the page heap carves one
 * out of its free lists, and sweeps or grows first if necessary. Then pages of the span
 * that have no memory get memory. A free pushes the span into the CPU's cache, or puts
 * it back into the page heap. Both fast paths come first below, then the slower steps in
 * the order in which they are tried.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <compat/kasan.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define RETRY_TICKS	max(HZ / 50, 1)	/* between two attempts of __GFP_NOFAIL */
#define RELEASE_WAITS	64u	/* batches of releasers an allocation waits for, at most */
#define CLEAR_BATCH	1024u	/* pages cleared between two checks for a fatal signal */
#define BULK_SPANS	64u	/* in one section of the caches, at most */

/* ---- allocation: a cached span ---- */

/* In the section: is the allocation that was just counted a sample of the profile? */
static bool prof_due(const struct span_cache *c)
{
	return unlikely(c->n.popped_pages > c->prof_at);
}

/* In the section: count spans, of so many pages together, as the client's */
static __always_inline void count_popped(struct span_cache *c, struct spanheap_client *client,
					 bool charged, u32 pages, u32 spans)
{
	struct client_counts *n = per_cpu_ptr(client->counts, c->cpu);

	if (likely(!charged))
		count_in(client, n, pages);
	n->allocs += spans;
	WRITE_ONCE(c->n.allocs, c->n.allocs + spans);	/* before the pages, see cache_sum() */
	WRITE_ONCE(c->n.popped_pages, c->n.popped_pages + pages);
}

/* In the section: must s, for the client, be cleared? Counts the answer. */
static __always_inline bool count_zero(struct span_cache *c, struct spanheap_client *client,
				       struct span *s, gfp_t gfp)
{
	if (!wants_zero(s, client, gfp))
		return false;
	if (s->needzero)
		c->n.zeroed_pages += s->nr_pages;
	else
		c->n.zero_skipped_pages += s->nr_pages;
	return s->needzero;
}

/* Push s into the cache and leave the section */
static void push_and_leave(struct spanheap *h, struct span_cache *c, struct span *s)
{
	struct llist_node *spill = cache_push(&h->caches, c, s);

	cache_leave(c);
	if (unlikely(spill)) {
		spanheap_put_cached(h, spill);
		scav_poke(h);
	}
}

/*
 * Returns a cached span's address, or NULL if there is none or the client is at its limit.
 * align is NULL unless the span must be aligned.
 */
static __always_inline void *alloc_cached(struct spanheap *h, struct spanheap_client *client,
					  u32 nr, const struct span_align *align,
					  u32 obj_size, gfp_t gfp, unsigned long caller)
{
	struct span_cache *c = cache_enter(&h->caches);
	bool limited, clear;
	u64 sample = 0, word;
	struct span *s;
	void *addr;

	if (!c)
		return NULL;
	s = cache_pop(&h->caches, c, nr, align);
	if (unlikely(!s)) {
		cache_leave(c);
		return NULL;
	}
	word = READ_ONCE(s->word);
	/* OWNED before it is counted: the invariant check compares both */
	if (unlikely(!span_move_seen(h, s, word, SPAN_CACHED, SPAN_OWNED))) {
		cache_leave(c);
		return NULL;
	}
	/* In the section: spanheap_set_limit() waits for sections that have read 0 */
	limited = READ_ONCE(client->limit_pages);
	if (unlikely(limited) && !spanheap_charge_exact(client, nr)) {
		span_move(h, s, SPAN_OWNED, SPAN_CACHED);
		push_and_leave(h, c, s);
		return NULL;
	}
	count_popped(c, client, limited, s->nr_pages, 1);
	if (obj_size)
		c->n.extra_objects += extra_objects(s->nr_pages, obj_size);
	clear = count_zero(c, client, s, gfp);
	if (static_branch_likely(&spanheap_prof_key) && prof_due(c))
		sample = spanheap_prof_due(h, c);
	cache_leave(c);

	addr = span_addr(h, s);
	if (clear)
		spanheap_clear(h, s->start, nr, gfpflags_allow_blocking(gfp));
	compat_kasan_use(&h->lost, addr, nr, true);
	/* Trace while s is OWNED: after its last free and before its next one */
	trace_spanheap_alloc((unsigned long)addr, nr, gfp, caller, client->name);
	if (!spanheap_publish(h, s, word, client, obj_size, caller, 0))
		return NULL;
	if (unlikely(sample))
		spanheap_prof_sample(h, addr, nr, sample, gfp, caller);
	return addr;
}

/*
 * Is the request valid, and can a cache serve it? GFP_PLAIN excludes __GFP_NOFAIL, which is
 * valid with some flags only; the slow path checks these.
 */
static bool cacheable(struct spanheap *h, size_t nr_pages, unsigned int align_shift,
		      size_t obj_size, gfp_t gfp)
{
	return nr_pages - 1 < h->caches.max_pages && align_shift <= PAGE_SHIFT &&
	       obj_size <= nr_pages << PAGE_SHIFT && !(gfp & ~GFP_PLAIN);
}

static void *alloc_slow(struct spanheap *h, struct spanheap_client *client, size_t nr_pages,
			unsigned int align_shift, size_t obj_size, gfp_t gfp,
			unsigned long caller);

void *spanheap_heap_alloc(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, unsigned int align_shift,
			  size_t obj_size, gfp_t gfp, unsigned long caller)
{
	void *addr;

	might_alloc_or_sweep(gfp);
	if (!client)
		client = h->anon;
	if (cacheable(h, nr_pages, align_shift, obj_size, gfp) && !client->uncached) {
		addr = alloc_cached(h, client, nr_pages, NULL, obj_size, gfp, caller);
		if (likely(addr))
			return addr;
		align_shift = 0;	/* at most a page, which every span has; saves a register */
	}
	return alloc_slow(h, client, nr_pages, align_shift, obj_size, gfp, caller);
}

/* ---- free: into the cache ---- */

/* In the section: count the free of spans of one client, of so many pages together */
static __always_inline void count_pushed(struct span_cache *c, struct spanheap_client *client,
					 u32 pages, u32 spans)
{
	struct client_counts *n = per_cpu_ptr(client->counts, c->cpu);

	if (unlikely(READ_ONCE(client->limit_pages)))	/* as in alloc_cached() */
		spanheap_uncharge(client, pages);
	else
		count_out(client, n, pages);
	n->frees += spans;
	WRITE_ONCE(c->n.frees, c->n.frees + spans);	/* before the pages, see cache_sum() */
	WRITE_ONCE(c->n.pushed_pages, c->n.pushed_pages + pages);
}

/* In the section: s, OWNED, leaves its client, which is counted with others or alone */
static __always_inline void leave_client(struct span_cache *c, struct span *s,
					 const struct spanheap_client *client, bool needzero,
					 unsigned long caller)
{
	if (s->obj_size)
		c->n.extra_objects -= extra_objects(s->nr_pages, s->obj_size);
	s->writer = client->writer;
	WRITE_ONCE(s->client, NULL);
	s->needzero = needzero;
	s->freer = caller;
}

/* Clear s outside of the section, because that takes long, then push_and_leave() */
static noinline void leave_clear_push(struct spanheap *h, struct span_cache *c, struct span *s)
{
	cache_leave(c);
	spanheap_clear(h, s->start, s->nr_pages, false);
	c = cache_enter(&h->caches);
	if (c) {
		push_and_leave(h, c, s);
	} else {
		s->cached.next = NULL;
		spanheap_put_cached(h, &s->cached);
		scav_poke(h);
	}
}

/* The record and its use at the start of a free: the free ends this use, or none */
struct seen {
	struct span *s;			/* NULL: not looked up yet */
	u64 word;
};

/* Preemption is off or the heap lock is held, so the memory of the record stays a record */
static __always_inline struct seen look(struct spanheap *h, const void *addr)
{
	struct seen seen = { .s = spanheap_span_at(h, addr) };

	if (unlikely(!seen.s))
		return seen;
	/*
	 * Read the word before the fields: pairs with the release in spanheap_publish(). The
	 * compare-and-swap of the word then validates the fields.
	 */
	seen.word = smp_load_acquire(&seen.s->word);
	return seen;
}

/*
 * Does an in-use span that a cache may take start at addr? The map also has the last page
 * of a span, so compare the start.
 */
static __always_inline bool may_cache(struct spanheap *h, const void *addr, struct seen seen)
{
	return likely(seen.s && (seen.word & (SPAN_STATE | SPAN_SLOW)) == SPAN_INUSE &&
		      span_addr(h, seen.s) == addr &&
		      seen.s->nr_pages <= h->caches.max_pages);
}

/*
 * End the use that was seen, unless its free has to take the heap lock. cmpxchg() is a full
 * barrier: fields that were read before it belong to this use if it succeeds, and the
 * changes of the free come after it. Pairs as the cmpxchg() in span_claim().
 */
static __always_inline bool claim_seen(struct seen seen)
{
	return (seen.word & (SPAN_STATE | SPAN_SLOW)) == SPAN_INUSE &&
	       cmpxchg(&seen.s->word, seen.word, (seen.word & SPAN_USES) | SPAN_OWNED) ==
	       seen.word;
}

/* Free the span that was seen at addr, OWNED now, into the cache and leave the section */
static __always_inline void free_to_cache(struct spanheap *h, struct span_cache *c,
					  const void *addr, unsigned long caller,
					  struct seen seen)
{
	bool clear = want_init_on_free();
	struct span *s = seen.s;
	struct spanheap_client *client = s->client;
	u32 nr = s->nr_pages;

	prefetchw(s->ahead);
	compat_kasan_use(&h->lost, (void *)addr, nr, false);
	/* Trace while s is OWNED: once pushed, s may be allocated again */
	trace_spanheap_free((unsigned long)addr, nr, caller, client->name);
	count_pushed(c, client, nr, 1);
	leave_client(c, s, client, !clear, caller);
	/* CACHED after it is counted: the invariant check compares both */
	if (!span_move_seen(h, s, seen.word, SPAN_OWNED, SPAN_CACHED))
		cache_leave(c);
	else if (clear)
		leave_clear_push(h, c, s);
	else
		push_and_leave(h, c, s);
}

static void free_slow(struct spanheap *h, const void *addr, unsigned long caller,
		      struct seen seen);

void spanheap_heap_free(struct spanheap *h, const void *addr, unsigned long caller)
{
	struct seen seen = {};
	struct span_cache *c;

	if (!addr)
		return;
	c = h->caches.cpu ? cache_enter(&h->caches) : NULL;
	if (likely(c)) {
		seen = look(h, addr);
		test_hook(h, HOOK_FREE_LOOKED);
		if (may_cache(h, addr, seen) && claim_seen(seen)) {
			free_to_cache(h, c, addr, caller, seen);
			return;
		}
		cache_leave(c);
	}
	free_slow(h, addr, caller, seen);
}

/* ---- allocation: an aligned cached span ---- */

/*
 * As alloc_cached(). check_request() has passed, so align, in pages, is a power of 2 and at
 * most the arena's length. The free of an aligned span fills the caches; without this search,
 * a client that allocates and frees in turn would have pages backed each time.
 */
static noinline void *alloc_cached_aligned(struct spanheap *h, struct spanheap_client *client,
					   size_t nr_pages, u32 align, u32 obj_size,
					   gfp_t gfp, unsigned long caller)
{
	const struct span_align want = {
		.mask = align - 1,
		.at = -((unsigned long)h->base >> PAGE_SHIFT) & (align - 1),
	};

	if (nr_pages > h->caches.max_pages || client->uncached)
		return NULL;
	return alloc_cached(h, client, nr_pages, &want, obj_size, gfp, caller);
}

/* ---- allocation: out of the page heap ---- */

/* Charge nr pages. If the client is at its limit, sweep its own spans and try again. */
static bool charge_or_sweep(struct spanheap *h, struct spanheap_client *client, u32 nr,
			    bool may_sweep)
{
	while (!spanheap_charge(client, nr)) {
		u64 limit = READ_ONCE(client->limit_pages);

		if (!may_sweep || (limit && nr > limit) ||
		    !spanheap_reclaim(h, client, nr, false))
			return false;
	}
	return true;
}

/*
 * __spanheap_carve() with the memory that it may need: records, and map leaves if the
 * heap grows. -ENOSPC: nothing fits; -ENOMEM: no memory for records or leaves.
 */
static struct span *carve(struct spanheap *h, struct spanheap_client *client, u32 nr,
			  u32 align, u32 obj_size, gfp_t gfp, bool grow)
{
	u32 guard = !!(client->flags & SPANHEAP_GUARD);
	struct prep p = PREP_INIT(p);
	unsigned long flags;
	struct span *s;

	p.client = client;
	for (;;) {
		spin_lock_irqsave(&h->lock, flags);
		__spanheap_absorb(h, &p);
		s = atomic_read(&h->lost) ? ERR_PTR(-EFAULT) :
					    __spanheap_carve(h, nr + guard, align, grow, &p);
		if (!IS_ERR(s)) {
			if (guard)
				__spanheap_cut_guard(h, s);
			__spanheap_use_begin(h, s, client, obj_size);
		}
		spin_unlock_irqrestore(&h->lock, flags);
		if (s != ERR_PTR(-EAGAIN))
			break;
		if (spanheap_prep_more(&p, gfp))
			continue;
		if (!p.want_leaves || p.exact) {
			s = ERR_PTR(-ENOMEM);
			break;
		}
		p.exact = true;		/* growing by less takes fewer leaves */
		p.want_leaves = 0;
	}
	spanheap_prep_done(h, &p);
	return s;
}

/*
 * Wait until a releaser puts the spans of its batch back. This cannot deadlock in reclaim,
 * because releasers allocate nothing.
 */
static bool wait_for_release(struct spanheap *h)
{
	if (!READ_ONCE(h->nr_releasing))
		return false;
	if (!llist_empty(&h->dropping)) {
		spanheap_drop(h);
		return true;
	}
	spanheap_finish_frees(h);
	if (mutex_lock_killable(&h->release_lock))
		return false;
	mutex_unlock(&h->release_lock);
	return true;
}

/*
 * Returns a span from the free lists, OWNED and counted, or ERR_PTR. The caller charges it.
 * Tries in this order: free spans; spans that a sweep frees; growth; spans that releasers
 * hold at the moment; cached spans.
 */
struct span *spanheap_take(struct spanheap *h, struct spanheap_client *client, u32 nr,
			   u32 align, u32 obj_size, gfp_t gfp)
{
	bool may_sweep = spanheap_may_reclaim(gfp), may_wait = gfpflags_allow_blocking(gfp);
	struct span *s;
	u32 i;

	/* Complete deferred frees of long spans first, so that the heap need not grow */
	if (nr > FREE_NOW_PAGES && may_wait && READ_ONCE(h->nr_releasing))
		spanheap_finish_frees(h);
	s = carve(h, client, nr, align, obj_size, gfp, false);
	while (s == ERR_PTR(-ENOSPC) && may_sweep &&
	       spanheap_reclaim(h, client, nr + align - 1, true))
		s = carve(h, client, nr, align, obj_size, gfp, false);
	if (s == ERR_PTR(-ENOSPC))
		s = carve(h, client, nr, align, obj_size, gfp, true);
	for (i = 0; s == ERR_PTR(-ENOSPC) && may_wait && i < RELEASE_WAITS &&
	     wait_for_release(h); i++)
		s = carve(h, client, nr, align, obj_size, gfp, true);
	if (s == ERR_PTR(-ENOSPC) && may_wait && h->caches.cpu) {
		spanheap_cache_drain(h);
		s = carve(h, client, nr, align, obj_size, gfp, true);
	}
	return s;
}

/*
 * A span, OWNED, charged and counted, with memory for all of its pages, or ERR_PTR. The
 * memory is from that node, unless node is NUMA_NO_NODE.
 */
static struct span *alloc_backed_span(struct spanheap *h, struct spanheap_client *client,
				      u32 nr, u32 align, u32 obj_size, gfp_t gfp, int node)
{
	struct span *s;

	if (!charge_or_sweep(h, client, nr, spanheap_may_reclaim(gfp)))
		return ERR_PTR(-EDQUOT);
	s = spanheap_take(h, client, nr, align, obj_size, gfp);
	if (!IS_ERR(s)) {
		if ((node == NUMA_NO_NODE || spanheap_drop_foreign(h, s, node, gfp)) &&
		    spanheap_back(h, s, gfp, node))
			return s;
		spanheap_use_undo(h, s);
		s = ERR_PTR(-ENOMEM);
	}
	spanheap_uncharge(client, nr);
	return s;
}

/* A span for the reserve of a client, OWNED, backed and counted to the anonymous client */
struct span *spanheap_alloc_reserve(struct spanheap *h, u32 nr, gfp_t gfp)
{
	return alloc_backed_span(h, h->anon, nr, 1, 0, gfp, NUMA_NO_NODE);
}

/*
 * s is why an allocation has failed. If the allocation may not block, the reserve of its
 * client has a span instead. Returns this span, or s.
 */
static struct span *or_reserve(struct spanheap_client *client, struct span *s, u32 nr, u32 align,
			       u32 obj_size, gfp_t gfp)
{
	struct span *reserved;

	if (!client->reserve || gfpflags_allow_blocking(gfp) ||
	    (s != ERR_PTR(-ENOMEM) && s != ERR_PTR(-ENOSPC)) || !spanheap_charge(client, nr))
		return s;
	reserved = spanheap_reserve_take(client, nr, align, obj_size);
	if (!reserved) {
		spanheap_uncharge(client, nr);
		return s;
	}
	/* Clear it, if it must be clear */
	spanheap_back(client->heap, reserved, gfp, NUMA_NO_NODE);
	return reserved;
}

/* Take the memory of new guard pages away, now or in a worker */
static void arm_guards(struct spanheap *h, gfp_t gfp)
{
	if (gfpflags_allow_blocking(gfp))
		spanheap_drop(h);
	else
		queue_work(spanheap_wq, &h->free_work);
}

/* Give s, which is OWNED, backed and counted, to its client. False: see span_move(). */
static bool hand_out(struct spanheap *h, struct span *s, u32 obj_size, unsigned long caller)
{
	struct spanheap_client *client = s->client;
	u64 word = READ_ONCE(s->word);
	unsigned long flags;
	bool ok;

	spanheap_map_cover(h, s->start, s->start + 1, span_end(s));
	compat_kasan_use(&h->lost, span_addr(h, s), s->nr_pages, true);
	if (likely(!client->uncached)) {
		s->ahead = s;
		return spanheap_publish(h, s, word, client, obj_size, caller, 0);
	}
	s->shared = client->flags & SPANHEAP_SHARED_PAGES;
	spin_lock_irqsave(&h->lock, flags);
	ok = spanheap_publish(h, s, word, client, obj_size, caller, SPAN_SLOW);
	if (ok && client->sweep)
		__spanheap_busy_add(h, s);
	spin_unlock_irqrestore(&h->lock, flags);
	return ok;
}

/* An allocation that no cache served: returns the distance if it is a sample, else 0 */
static u64 prof_due_slow(struct spanheap *h, u32 nr)
{
	struct span_cache *c = h->caches.cpu ? cache_enter(&h->caches) : NULL;
	u64 due = 0;

	if (!c)
		return spanheap_prof_chance(h, nr);
	c->prof_at -= nr;	/* allocated on this CPU, but not popped */
	if (prof_due(c))
		due = spanheap_prof_due(h, c);
	cache_leave(c);
	return due;
}

/* Does the node exist, and does it have memory if the request insists on it? */
static bool node_ok(int node, gfp_t gfp)
{
	return node == NUMA_NO_NODE ||
	       (node >= 0 && node < MAX_NUMNODES && node_online(node) &&
		(!(gfp & __GFP_THISNODE) || node_state(node, N_MEMORY)));
}

/* Returns 0, or the error of a request that can never succeed; align is in pages */
static int check_request(struct spanheap *h, size_t nr_pages, size_t align,
			 size_t obj_size, gfp_t gfp, int node)
{
	int err = 0;

	if (!spanheap_gfp_ok(gfp))
		return -EINVAL;
	if (!nr_pages)
		err = -EINVAL;
	else if (nr_pages > h->arena_pages || align > h->arena_pages ||
		 nr_pages + align - 1 > h->arena_pages)
		err = -ENOSPC;
	else if (obj_size > nr_pages << PAGE_SHIFT || obj_size > U32_MAX || !node_ok(node, gfp))
		err = -EINVAL;
	WARN_ONCE(err && gfp & __GFP_NOFAIL,
		  "spanheap: __GFP_NOFAIL, but %zu pages like these can never be had\n", nr_pages);
	return err;
}

/*
 * alloc_backed_span(). With __GFP_NOFAIL, retry until it succeeds, unless it never can: the
 * request is over the client's limit, or the arena is lost.
 */
static struct span *alloc_or_retry(struct spanheap *h, struct spanheap_client *client,
				   u32 nr, u32 align, u32 obj_size, gfp_t gfp, int node)
{
	struct span *s;

	for (;;) {
		u64 limit = READ_ONCE(client->limit_pages);

		s = alloc_backed_span(h, client, nr, align, obj_size, gfp, node);
		/* The memory of a reserve is of any node */
		if (IS_ERR(s) && (node == NUMA_NO_NODE || !(gfp & __GFP_THISNODE)))
			s = or_reserve(client, s, nr, align, obj_size, gfp);
		if (!IS_ERR(s) || !(gfp & __GFP_NOFAIL) || (limit && nr > limit) ||
		    atomic_read(&h->lost))
			return s;
		spanheap_log_failure(h, client, nr, gfp, PTR_ERR(s), ". Retrying.");
		schedule_timeout_uninterruptible(RETRY_TICKS);
	}
}

/* Count, trace and log a failure; returns NULL */
static void *refuse(struct spanheap *h, struct spanheap_client *client, size_t nr_pages,
		    gfp_t gfp, unsigned long caller, int err)
{
	trace_spanheap_alloc_failed(nr_pages, gfp, err, caller, client->name);
	if (err == -EDQUOT)
		spanheap_limit_hit(client);
	return spanheap_fail(h, client, nr_pages, gfp, err);
}

static void *alloc_uncached(struct spanheap *h, struct spanheap_client *client,
			    size_t nr_pages, unsigned int align_shift, size_t obj_size,
			    gfp_t gfp, int node, unsigned long caller)
{
	size_t align = 1;
	struct span *s;
	u64 sample = 0;
	void *addr;
	int err;

	if (align_shift > PAGE_SHIFT)
		align = align_shift < BITS_PER_LONG ? 1UL << (align_shift - PAGE_SHIFT) :
						      ULONG_MAX;
	err = check_request(h, nr_pages, align, obj_size, gfp, node);
	if (unlikely(err))
		return refuse(h, client, nr_pages, gfp, caller, err);
	if (align > 1) {
		addr = alloc_cached_aligned(h, client, nr_pages, align, obj_size, gfp, caller);
		if (addr)
			return addr;
	}
	s = alloc_or_retry(h, client, nr_pages, align, obj_size, gfp, node);
	if (s == ERR_PTR(-ENOMEM) && spanheap_killed(gfp))
		s = ERR_PTR(-EINTR);
	if (IS_ERR(s))
		return refuse(h, client, nr_pages, gfp, caller, PTR_ERR(s));
	if (!llist_empty(&h->dropping))
		arm_guards(h, gfp);
	idle_moved(h);
	addr = span_addr(h, s);
	trace_spanheap_alloc((unsigned long)addr, nr_pages, gfp, caller, client->name);
	if (!hand_out(h, s, obj_size, caller))
		return NULL;
	if (static_branch_likely(&spanheap_prof_key))
		sample = prof_due_slow(h, nr_pages);
	if (unlikely(sample))
		spanheap_prof_sample(h, addr, nr_pages, sample, gfp, caller);
	return addr;
}

static noinline void *alloc_slow(struct spanheap *h, struct spanheap_client *client,
				 size_t nr_pages, unsigned int align_shift, size_t obj_size,
				 gfp_t gfp, unsigned long caller)
{
	return alloc_uncached(h, client, nr_pages, align_shift, obj_size, gfp, NUMA_NO_NODE,
			      caller);
}

/* Caches have memory of any node, so that they are passed by */
void *spanheap_heap_alloc_node(struct spanheap *h, struct spanheap_client *client,
			       size_t nr_pages, gfp_t gfp, int node, unsigned long caller)
{
	if (node == NUMA_NO_NODE)
		return spanheap_heap_alloc(h, client, nr_pages, 0, 0, gfp, caller);
	might_alloc_or_sweep(gfp);
	return alloc_uncached(h, client ?: h->anon, nr_pages, 0, 0, gfp, node, caller);
}

/* ---- memory for a span ---- */

/* s has new pages from the system, which may hold old data */
static void set_dirty(struct span *s)
{
	s->needzero = true;
	s->writer = 0;
}

/*
 * Back all pages of an OWNED span and clear those that must be zero; no lock is held. On
 * failure the span is still consistent: nr_released counts the pages without memory.
 */
static bool back_span(struct spanheap *h, struct span *s, bool zero, gfp_t gfp, int node,
		      u32 *cleared)
{
	bool may_sleep = gfpflags_allow_blocking(gfp);
	u32 end = span_end(s), i = s->start, to, got;

	gfp = (gfp & ~__GFP_ZERO) | __GFP_NOWARN | (zero ? __GFP_ZERO : 0);
	while (i < end) {
		if (i > s->start && spanheap_killed(gfp))
			return false;
		to = spanheap_next_backed(h, i, min(i + CLEAR_BATCH, end), false);
		if (to > i) {
			if (zero && s->needzero) {
				spanheap_clear(h, i, to - i, may_sleep);
				*cleared += to - i;
			}
			i = to;
			continue;
		}
		to = spanheap_next_backed(h, i, end, true);
		got = h->ops->back(h, i, to - i, gfp, node);
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

/* Give s, OWNED by the caller, the memory and the zeros that gfp asks for */
bool spanheap_back(struct spanheap *h, struct span *s, gfp_t gfp, int node)
{
	bool zero = wants_zero(s, s->client, gfp), grows = s->nr_released;
	u32 cleared = 0;

	if (grows) {
		if (!spanheap_arena_ok(h))
			return false;
		spanheap_growing(h, gfp);
	}
	if ((grows || (zero && s->needzero)) &&
	    !back_span(h, s, zero, gfp, node, &cleared))
		return false;
	if (zero) {
		atomic64_add(cleared, &h->zeroed_pages);
		atomic64_add(s->nr_pages - cleared, &h->zero_skipped_pages);
	}
	return true;
}

/* ---- free: into the page heap ---- */

/*
 * Claim the in-use span that starts at addr, with its specials. NULL: there is no such
 * span, its use is not the one that was seen, or it has the finalizer *fn.
 */
static struct span *__claim_to_free(struct spanheap *h, const void *addr, struct seen seen,
				    struct rb_root *specials, spanheap_finalizer_t *fn)
{
	struct span *s = spanheap_span_at(h, addr);

	/* Under the heap lock a record in the map keeps its start */
	if (!s || span_addr(h, s) != addr)
		return NULL;
	if (!seen.s)
		seen = look(h, addr);
	if (seen.s != s)
		return NULL;
	if (!claim_seen(seen) && !spanheap_specials_claim(h, s, seen.word, specials, fn))
		return NULL;
	if (s->client->sweep)
		__spanheap_busy_del(h, s);
	return s;
}

/* s, OWNED by its free and off its busy list, goes back to the page heap */
static void __free_owned(struct spanheap *h, struct span *s, unsigned long caller,
			 unsigned long *flags)
{
	if (!s->client->sweep || !__spanheap_free_later(h, s))
		__spanheap_free_claimed(h, s, caller, flags);
}

static noinline void free_slow(struct spanheap *h, const void *addr, unsigned long caller,
			       struct seen seen)
{
	struct rb_root specials = RB_ROOT;
	spanheap_finalizer_t fn = NULL;
	unsigned long flags;
	struct span *s;

	spin_lock_irqsave(&h->lock, flags);
	s = __claim_to_free(h, addr, seen, &specials, &fn);
	if (s)
		__free_owned(h, s, caller, &flags);
	spin_unlock_irqrestore(&h->lock, flags);
	if (!s) {
		spanheap_report_bad_free(h, addr, caller, fn);
		return;
	}
	scav_poke(h);
	spanheap_specials_freed(h, &specials);
}

/* ---- free: after a grace period ---- */

/* May s, OWNED, go into a cache? Whatever else makes a free slow was off it by its claim. */
static bool free_cacheable(const struct spanheap *h, const struct span *s)
{
	return s->nr_pages <= h->caches.max_pages && !s->shared && !s->client->uncached &&
	       s->client != h->orphan;
}

/* The client is there: spanheap_heap_unregister() waits for this */
static void free_after_grace(struct rcu_head *rcu)
{
	struct span *s = container_of(rcu, struct span, rcu);
	struct spanheap *h = s->client->heap;
	unsigned long caller = s->rcu_caller, flags;
	struct span_cache *c = free_cacheable(h, s) ? cache_enter(&h->caches) : NULL;

	if (c) {
		s->ahead = s;	/* was overwritten by rcu */
		free_to_cache(h, c, span_addr(h, s), caller,
			      (struct seen) { .s = s, .word = READ_ONCE(s->word) });
		return;
	}
	spin_lock_irqsave(&h->lock, flags);
	__free_owned(h, s, caller, &flags);
	spin_unlock_irqrestore(&h->lock, flags);
	scav_poke(h);
}

/*
 * The span is claimed now, so that no other free of it is a good one, and stays OWNED, in
 * use and paid for until the grace period is over. The record has room for what waits.
 */
void spanheap_heap_free_rcu(struct spanheap *h, const void *addr, unsigned long caller)
{
	struct rb_root specials = RB_ROOT;
	spanheap_finalizer_t fn = NULL;
	struct seen seen = {};
	unsigned long flags;
	struct span *s;

	if (!addr)
		return;
	spin_lock_irqsave(&h->lock, flags);
	s = __claim_to_free(h, addr, seen, &specials, &fn);
	spin_unlock_irqrestore(&h->lock, flags);
	if (!s) {
		spanheap_report_bad_free(h, addr, caller, fn);
		return;
	}
	spanheap_specials_freed(h, &specials);
	s->rcu_caller = caller;
	call_rcu(&s->rcu, free_after_grace);
}

/* ---- many at once: one section of the caches for up to BULK_SPANS spans ---- */

/* How many spans of nr pages come before the next sample of the profile, n at most */
static u32 before_sample(const struct span_cache *c, u32 nr, u32 n)
{
	s64 room = c->prof_at - c->n.popped_pages;

	return room < 0 ? 0 : min_t(s64, n, div_s64(room, nr));
}

/* Up to n spans out of the cache, OWNED and counted. What a cache lacks, single ones get. */
static u32 pop_bulk(struct spanheap *h, struct spanheap_client *client, u32 nr, gfp_t gfp,
		    struct span **spans, u32 n)
{
	struct span_cache *c = cache_enter(&h->caches);
	bool limited;
	u32 i = 0;

	if (!c)
		return 0;
	if (static_branch_likely(&spanheap_prof_key))
		n = before_sample(c, nr, n);
	limited = READ_ONCE(client->limit_pages);
	if (unlikely(limited) && !spanheap_charge_exact(client, nr * n))
		n = 0;
	while (i < n) {
		struct span *s = cache_pop(&h->caches, c, nr, NULL);

		if (!s)
			break;
		if (unlikely(!span_move(h, s, SPAN_CACHED, SPAN_OWNED)))
			continue;
		spans[i++] = s;
		count_zero(c, client, s, gfp);
	}
	if (unlikely(limited))
		spanheap_uncharge(client, nr * (n - i));
	count_popped(c, client, limited, nr * i, i);
	cache_leave(c);
	return i;
}

/* Up to n spans of nr pages that were cached; as alloc_cached() */
static u32 alloc_bulk_cached(struct spanheap *h, struct spanheap_client *client, u32 nr,
			     gfp_t gfp, u32 n, void **addrs, unsigned long caller)
{
	struct span *spans[BULK_SPANS];
	u32 got = pop_bulk(h, client, nr, gfp, spans, min(n, BULK_SPANS)), done = 0, i;

	for (i = 0; i < got; i++) {
		struct span *s = spans[i];
		void *addr = span_addr(h, s);

		if (wants_zero(s, client, gfp) && s->needzero)
			spanheap_clear(h, s->start, nr, gfpflags_allow_blocking(gfp));
		compat_kasan_use(&h->lost, addr, nr, true);
		trace_spanheap_alloc((unsigned long)addr, nr, gfp, caller, client->name);
		if (likely(spanheap_publish(h, s, READ_ONCE(s->word), client, 0, caller, 0)))
			addrs[done++] = addr;
	}
	return done;
}

u32 spanheap_heap_alloc_bulk(struct spanheap *h, struct spanheap_client *client, size_t nr_pages,
			     gfp_t gfp, u32 n, void **addrs, unsigned long caller)
{
	u32 done = 0;
	bool cached;

	might_alloc_or_sweep(gfp);
	if (!client)
		client = h->anon;
	cached = cacheable(h, nr_pages, 0, 0, gfp) && !client->uncached;
	while (done < n) {
		if (cached)
			done += alloc_bulk_cached(h, client, nr_pages, gfp, n - done,
						  addrs + done, caller);
		if (done == n)
			break;
		addrs[done] = spanheap_heap_alloc(h, client, nr_pages, 0, 0, gfp, caller);
		if (!addrs[done])
			break;
		done++;
	}
	return done;
}

/*
 * Claim spans of one client at addrs that a cache may take, and count them. Returns how
 * many, up to the first other. The claim validates the client that was read before it.
 */
static u32 claim_bulk(struct spanheap *h, struct span_cache *c, void **addrs, u32 n,
		      struct span **spans, unsigned long caller)
{
	struct spanheap_client *client = NULL;
	u32 i, nr, pages = 0;

	for (i = 0; i < n; i++) {
		struct seen seen = look(h, addrs[i]);
		struct span *s = seen.s;

		if (!may_cache(h, addrs[i], seen) || (i && s->client != client) ||
		    !claim_seen(seen))
			break;
		client = s->client;
		nr = s->nr_pages;
		pages += nr;
		compat_kasan_use(&h->lost, addrs[i], nr, false);
		trace_spanheap_free((unsigned long)addrs[i], nr, caller, client->name);
		leave_client(c, s, client, true, caller);
		spans[i] = s;
	}
	if (i)
		count_pushed(c, client, pages, i);
	return i;
}

/* The spans at addrs go into the cache: how many, up to the first that may not */
static u32 free_bulk_cached(struct spanheap *h, void **addrs, u32 n, unsigned long caller)
{
	struct span_cache *c = cache_enter(&h->caches);
	struct llist_node *spill[BULK_SPANS];
	struct span *spans[BULK_SPANS];
	u32 got, i, spills = 0;

	if (!c)
		return 0;
	got = claim_bulk(h, c, addrs, min(n, BULK_SPANS), spans, caller);
	for (i = 0; i < got; i++) {
		/* CACHED now that it is counted: the invariant check compares */
		if (unlikely(!span_move(h, spans[i], SPAN_OWNED, SPAN_CACHED)))
			continue;
		spill[spills] = cache_push(&h->caches, c, spans[i]);
		if (unlikely(spill[spills]))
			spills++;
	}
	cache_leave(c);
	if (unlikely(spills)) {
		for (i = 0; i < spills; i++)
			spanheap_put_cached(h, spill[i]);
		scav_poke(h);
	}
	return got;
}

void spanheap_heap_free_bulk(struct spanheap *h, u32 n, void **addrs, unsigned long caller)
{
	u32 i = 0;

	while (i < n) {
		/* Spans that are cleared when they are freed are cleared one by one */
		if (h->caches.cpu && !want_init_on_free())
			i += free_bulk_cached(h, addrs + i, n - i, caller);
		if (i < n)
			spanheap_heap_free(h, addrs[i++], caller);
	}
}
