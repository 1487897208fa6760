// SPDX-License-Identifier: GPL-2.0
/*
 * How idle pages go back: from the caches to the page heap, and from the page heap to
 * the system. spanheap_scav.c decides when and how much.
 *
 * A releaser isolates idle spans, the oldest first. Without the heap lock it unmaps those
 * of their pages that are old enough, flushes all TLBs once for the batch and frees the
 * pages. Then it puts the spans back. It allocates nothing, so reclaim may call it.
 */
#include <linux/cpuhotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define SHRINK_TICKS	(HZ / 10)	/* shortest time between two drains by the shrinker */

static int cpuhp_state;

/* ---- out of the caches ---- */

static void swap_visit(struct cache_visit *v, struct span_cache *c)
{
	spanheap_cache_swap(c, v->arg);
}

/* Put the spans of a set, which were in a CPU's cache, into the page heap; drain_lock */
static void put_set(struct spanheap *h, struct cache_set *set)
{
	struct llist_node *spans;

	while ((spans = spanheap_set_pop(set))) {
		spanheap_put_cached(h, spans);
		cond_resched();
	}
}

/* drain_lock */
static void drain_depots(struct spanheap *h)
{
	struct llist_node *spans;
	int nid;
	u32 nr;

	for_each_node(nid)
		for (nr = 1; nr <= SLOT_PAGES; nr++)
			while ((spans = spanheap_depot_empty(&h->caches, nid, nr))) {
				spanheap_put_cached(h, spans);
				cond_resched();
			}
}

/*
 * Put all cached spans into the page heap. Process context. Allocates nothing and waits
 * only for other tasks in this function, so reclaim may call it. drain_lock makes sure
 * that a caller that finds the caches empty finds their spans in the page heap. Only CPUs
 * that have spans get an IPI, one CPU after the other.
 */
void spanheap_cache_drain(struct spanheap *h)
{
	struct cache_visit v = { .fn = swap_visit };
	struct span_caches *cs = &h->caches;
	struct cache_set *set;
	int cpu;

	if (!cs->cpu)
		return;
	mutex_lock(&h->drain_lock);
	for_each_online_cpu(cpu) {
		struct span_cache *c = per_cpu_ptr(cs->cpu, cpu);

		set = &cs->node[c->node]->spare;
		v.arg = set;
		if (spanheap_cache_has_spans(c) && spanheap_cache_visit(cs, cpu, &v))
			put_set(h, set);
	}
	drain_depots(h);
	mutex_unlock(&h->drain_lock);
}

static void drain_offline(struct spanheap *h, int cpu)
{
	struct span_cache *c = per_cpu_ptr(h->caches.cpu, cpu);
	struct cache_set *set = &h->caches.node[c->node]->spare;

	mutex_lock(&h->drain_lock);
	spanheap_cache_swap(c, set);
	put_set(h, set);
	mutex_unlock(&h->drain_lock);
	scav_poke(h);
}

static int cpu_dead(unsigned int cpu, struct hlist_node *node)
{
	drain_offline(hlist_entry(node, struct spanheap, cpuhp), cpu);
	return 0;
}

/* Create the caches of a heap, see spanheap_caches_init(). CPU hotplug empties them. */
int spanheap_cache_init(struct spanheap *h, unsigned int kb)
{
	int err = spanheap_caches_init(&h->caches, kb, h->arena_pages);

	if (err || !h->caches.cpu)
		return err;
	err = cpuhp_state_add_instance_nocalls(cpuhp_state, &h->cpuhp);
	if (err)
		spanheap_caches_free(&h->caches);
	return err;
}

/* Called when no other task uses the heap */
void spanheap_cache_exit(struct spanheap *h)
{
	int cpu;

	if (!h->caches.cpu)
		return;
	cpuhp_state_remove_instance_nocalls(cpuhp_state, &h->cpuhp);
	/* The callback does not run for CPUs that go offline after this: empty all caches */
	for_each_possible_cpu(cpu)
		drain_offline(h, cpu);
	spanheap_cache_drain(h);
	spanheap_caches_free(&h->caches);
}

/* Once per module: register the CPU hotplug state, which has an instance for each heap */
int spanheap_cache_setup(void)
{
	int state = cpuhp_setup_state_multi(CPUHP_BP_PREPARE_DYN, "spanheap:dead",
					    NULL, cpu_dead);

	if (state < 0)
		return state;
	cpuhp_state = state;
	return 0;
}

void spanheap_cache_teardown(void)
{
	cpuhp_remove_multi_state(cpuhp_state);
}

/* ---- out of the page heap ---- */

/*
 * Find the next run of backed pages in [*idx, end) whose units are all old, idle for age
 * epochs or more, or all young. The run starts at *idx; returns its end. *oldest is the
 * age of its oldest unit. The caller owns the pages, or holds the heap lock.
 */
static u32 next_run(struct spanheap *h, u32 *idx, u32 end, u32 age, u32 *oldest)
{
	u32 i = spanheap_next_backed(h, *idx, end, true), to, unit_age;
	bool old;

	*idx = i;
	if (i == end)
		return end;
	to = spanheap_next_backed(h, i, end, false);
	*oldest = spanheap_unit_age(h, i);
	old = *oldest >= age;
	for (i = round_up(i + 1, UNIT_PAGES); i < to; i += UNIT_PAGES) {
		unit_age = spanheap_unit_age(h, i);
		if (unit_age < age ? old : !old)
			return i;
		*oldest = max(*oldest, unit_age);
	}
	return to;
}

/*
 * Find up to want old pages in pages [i, end) of a free span. Returns how many it found.
 * They are in [*lo, *hi), perhaps with younger pages in between.
 */
static u32 find_old(struct spanheap *h, struct release *r, u32 i, u32 end, u32 want,
		    u32 *lo, u32 *hi)
{
	u32 age = AGES - 1 - r->younger, n = 0, to, oldest;

	for (; n < want; i = to) {
		to = next_run(h, &i, end, age, &oldest);
		if (i == end)
			break;
		if (oldest < age) {
			r->oldest = max(r->oldest, oldest);
			continue;
		}
		to = min(to, i + want - n);
		if (!n)
			*lo = i;
		*hi = to;
		n += to - i;
	}
	return n;
}

/*
 * Cut pages [lo, hi) out of s. The cuts at lo and at hi need a record each. Returns the
 * part, or all of s if there are no spare records. The pages before lo are young: the
 * releaser has looked at them.
 */
static struct span *__cut_out(struct spanheap *h, struct release *r, struct span *s,
			      u32 lo, u32 hi)
{
	struct span *young = s;

	if (h->nr_spare < SPARE_RESERVE)
		return s;
	if (lo > s->start) {
		s = __spanheap_split(h, s, lo - s->start);
		young->epoch = h->epoch - r->oldest;
		__spanheap_place(h, young);
	}
	if (hi < span_end(s))
		__spanheap_split(h, s, hi - s->start);
	return s;
}

/*
 * Isolate up to want old pages of spans on the list of the current age. A span is on the
 * list of its oldest unit or, after a merge or a split, on an older list. A span that
 * turns out to have only younger units moves to the list of its age. One hold of the lock
 * looks at BATCH_PAGES pages of a span at most. *more: the list has more spans.
 *
 * The releaser continues in a span at r->at, even if the span was changed meanwhile. So
 * old pages that a merge adds before r->at may wait for another AGES epochs.
 */
static u32 isolate_some(struct spanheap *h, struct release *r, u32 want,
			struct list_head *batch, bool *more)
{
	struct list_head *list = &h->idle[AGES - 1 - r->younger];
	u32 n = 0, work, i, end, lo, hi, got;
	unsigned long flags;
	struct span *s;

	spin_lock_irqsave(&h->lock, flags);
	for (work = 0; n < want && !held_enough(h, work); work++) {
		s = list_first_entry_or_null(list, struct span, lru);
		if (!s)
			break;
		steps_done(1);
		i = r->at - s->start < s->nr_pages ? r->at : s->start;
		if (i == s->start)
			r->oldest = 0;
		end = min(span_end(s), i + BATCH_PAGES);
		got = find_old(h, r, i, end, want - n, &lo, &hi);
		if (got) {
			s = __cut_out(h, r, s, lo, hi);
			r->at = span_end(s);
			__spanheap_isolate(h, s, SPAN_RELEASING);
			list_add_tail(&s->lru, batch);
			n += got;
		} else if (end < span_end(s)) {
			r->at = end;
		} else {
			s->epoch = h->epoch - r->oldest;
			__spanheap_place(h, s);
			r->at = 0;
		}
		if (end - i > LEAF_PAGES)	/* counts like several spans */
			work += HOLD_WANTED;
	}
	*more = !list_empty(list);
	h->leaving_pages += n;
	spin_unlock_irqrestore(&h->lock, flags);
	return n;
}

/* Isolate a batch of the oldest pages for one flush, in many short holds of the lock */
static u32 isolate_batch(struct spanheap *h, struct release *r, u32 want,
			 struct list_head *batch)
{
	u32 n = 0;
	bool more;

	for (;;) {
		do {
			n += isolate_some(h, r, want - n, batch, &more);
		} while (n < want && more);
		if (n || r->younger + r->min_age >= AGES - 1)
			return n;
		r->younger++;
		r->at = 0;
	}
}

/* Unmap up to want old pages of s, which is RELEASING, and update nr_released and epoch */
static u32 unback_old(struct spanheap *h, struct span *s, u32 age, u32 want,
		      struct page **pages)
{
	u32 i, to, end = span_end(s), oldest, left = 0, got, n = 0;

	for (i = s->start; (to = next_run(h, &i, end, age, &oldest)), i < end; i = to) {
		got = 0;
		if (oldest >= age && n < want) {
			to = min(to, i + want - n);
			got = h->ops->unback(h, i, to - i, pages + n);
			spanheap_mark_backed(h, i, got, false);
			n += got;
		}
		if (got < to - i)
			left = max(left, oldest);
	}
	s->nr_released += n;
	s->epoch = READ_ONCE(h->epoch) - left;
	return n;
}

/* Unmap up to want old pages of the batch, flush once and free them. No lock is needed. */
static u32 unback_batch(struct spanheap *h, u32 age, u32 want, struct list_head *batch)
{
	u32 n = 0, lo = U32_MAX, hi = 0;
	struct span *s;

	list_for_each_entry(s, batch, lru) {
		n += unback_old(h, s, age, want - n, h->release_pages + n);
		lo = min(lo, s->start);
		hi = max(hi, span_end(s));
	}
	h->ops->flush(h, lo, hi);
	release_pages(h->release_pages, n);
	return n;
}

/* Put spans of a released batch back into the free lists */
static u32 put_some(struct spanheap *h, struct list_head *batch)
{
	unsigned long flags;
	struct span *s;
	u32 n;

	spin_lock_irqsave(&h->lock, flags);
	for (n = 0; !list_empty(batch) && !held_enough(h, n); n++) {
		s = list_first_entry(batch, struct span, lru);
		list_del_init(&s->lru);
		__spanheap_put(h, s);
	}
	spin_unlock_irqrestore(&h->lock, flags);
	return n;
}

/* Count a released batch, before its spans are put back */
static void count_released(struct spanheap *h, u32 isolated, u32 released)
{
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	h->leaving_pages -= isolated;
	h->released_pages += released;
	h->scavenged_pages += released;
	h->tlb_flushes++;
	spin_unlock_irqrestore(&h->lock, flags);
}

/* ---- memory of another node ---- */

/* The first page of [i, end), the caller's, that is backed from another node, else end */
static u32 next_foreign(struct spanheap *h, u32 i, u32 end, int node)
{
	while ((i = spanheap_next_backed(h, i, end, true)) < end && h->ops->node(h, i) == node)
		i++;
	return i;
}

/* Unback such pages of s, so many as fit, flush and free. Returns how many; *from moves on. */
static u32 drop_some_foreign(struct spanheap *h, struct span *s, int node, u32 *from)
{
	u32 i = *from, end = span_end(s), lo = end, n = 0, got;

	while (n < BATCH_PAGES && (i = next_foreign(h, i, end, node)) < end) {
		lo = min(lo, i);
		got = h->ops->unback(h, i, 1, h->release_pages + n);
		spanheap_mark_backed(h, i, got, false);
		n += got;
		i++;
	}
	*from = i;
	if (n) {
		h->ops->flush(h, lo, i);
		release_pages(h->release_pages, n);
	}
	return n;
}

/*
 * Pages of s, OWNED, that are from another node go back to the system, so that s gets
 * others. That flushes TLBs. False: it has such pages, must have none, and may not block.
 */
bool spanheap_drop_foreign(struct spanheap *h, struct span *s, int node, gfp_t gfp)
{
	u32 i = s->start, n;

	if (!spanheap_arena_ok(h))
		return false;
	if (!gfpflags_allow_blocking(gfp))
		return !(gfp & __GFP_THISNODE) ||
		       next_foreign(h, i, span_end(s), node) == span_end(s);
	while (i < span_end(s)) {
		mutex_lock(&h->release_lock);
		n = drop_some_foreign(h, s, node, &i);
		spin_lock_irq(&h->lock);
		h->tlb_flushes += !!n;
		h->scavenged_pages += n;
		spin_unlock_irq(&h->lock);
		mutex_unlock(&h->release_lock);
		s->nr_released += n;
		cond_resched();
	}
	return true;
}

/* ---- out of the page heap, again ---- */

/*
 * Release up to want pages of one age, the oldest that there are. Returns how many pages
 * it released; 0: nothing is left for r.
 */
u32 spanheap_release_batch(struct spanheap *h, struct release *r, u32 want)
{
	LIST_HEAD(batch);
	u32 isolated, n, nr_spans = 0;

	lockdep_assert_held(&h->release_lock);
	if (!spanheap_arena_ok(h))
		return 0;
	want = min(want, BATCH_PAGES);
	isolated = isolate_batch(h, r, want, &batch);
	if (list_empty(&batch))
		return 0;
	n = unback_batch(h, AGES - 1 - r->younger, want, &batch);
	count_released(h, isolated, n);
	while (!list_empty(&batch))
		nr_spans += put_some(h, &batch);
	idle_moved(h);
	trace_spanheap_release(n, nr_spans);
	return n;
}

/* Unback s, which is RELEASING, then flush and free: BATCH_PAGES pages at a time at most */
static u32 drop_pages(struct spanheap *h, struct span *s)
{
	u32 i, to, end = span_end(s), got, n = 0;

	if (!spanheap_arena_ok(h))
		return 0;
	for (i = s->start; i < end; i = to) {
		i = spanheap_next_backed(h, i, end, true);
		to = min(spanheap_next_backed(h, i, end, false), i + BATCH_PAGES);
		if (i == end)
			break;
		got = h->ops->unback(h, i, to - i, h->release_pages);
		spanheap_mark_backed(h, i, got, false);
		h->ops->flush(h, i, to);
		release_pages(h->release_pages, got);	/* other references keep a page */
		n += got;
		cond_resched();
	}
	return n;
}

/* As spanheap_must_drop(), but for a long span: may sleep */
static bool must_drop_long(struct spanheap *h, const struct span *s)
{
	u32 i, n;

	for (i = s->start; s->shared && spanheap_arena_ok(h) && i < span_end(s); i += n) {
		n = min(span_end(s) - i, FREE_NOW_PAGES);
		if (h->ops->referenced(h, i, n))
			return true;
		cond_resched();
	}
	return false;
}

/*
 * Complete the frees of long spans: clear the pages, or drop them. When this returns,
 * the spans that were freed before the call are free. Process context. Allocates nothing,
 * so that allocations and reclaim may call it.
 */
void spanheap_finish_frees(struct spanheap *h)
{
	struct llist_node *first;
	bool drop = false;
	struct span *s;

	mutex_lock(&h->finish_lock);
	first = llist_del_all(&h->freeing);
	while (first) {
		s = llist_entry(first, struct span, cached);
		first = first->next;
		if (must_drop_long(h, s)) {
			llist_add(&s->cached, &h->dropping);
			drop = true;
			continue;
		}
		if (want_init_on_free()) {
			spanheap_clear(h, s->start, s->nr_pages, true);
			s->needzero = false;
		}
		spanheap_age_now(h, s);
		spin_lock_irq(&h->lock);
		__spanheap_put(h, s);
		spin_unlock_irq(&h->lock);
	}
	mutex_unlock(&h->finish_lock);
	scav_poke(h);
	if (drop)
		spanheap_drop(h);
}

/*
 * Unback the spans on h->dropping, even pages that have other references, and make these
 * spans free, or guards. Process context; allocates nothing.
 */
void spanheap_drop(struct spanheap *h)
{
	struct llist_node *first;
	struct span *s;
	u32 n;

	mutex_lock(&h->release_lock);
	first = llist_del_all(&h->dropping);
	while (first) {
		s = llist_entry(first, struct span, cached);
		first = first->next;
		n = drop_pages(h, s);
		spin_lock_irq(&h->lock);
		h->tlb_flushes += DIV_ROUND_UP(n, BATCH_PAGES);
		h->released_pages += n;
		h->scavenged_pages += n;
		s->nr_released += n;
		if (!s->guard)
			__spanheap_put(h, s);
		else if (span_move(h, s, SPAN_RELEASING, SPAN_GUARD))
			h->nr_releasing--;
		spin_unlock_irq(&h->lock);
	}
	mutex_unlock(&h->release_lock);
	idle_moved(h);
}

/*
 * Release pages that have been idle for min_age epochs: the oldest first, and max pages
 * at most. The call also stops after as many pages as were idle when it began, because
 * otherwise it might never end. release_lock is held for one batch only, because reclaim
 * waits for it. Returns how many pages were released.
 */
u64 spanheap_release_idle(struct spanheap *h, u32 min_age, u64 max)
{
	s64 idle = heap_listed(h);
	struct release r = { .min_age = min_age };
	u64 total = 0;
	u32 n;

	max = min_t(u64, max, max_t(s64, idle, 0));
	while (total < max) {
		mutex_lock(&h->release_lock);
		n = spanheap_release_batch(h, &r, min_t(u64, max - total, BATCH_PAGES));
		mutex_unlock(&h->release_lock);
		if (!n)
			break;
		total += n;
		cond_resched();
	}
	return total;
}

/*
 * Release want pages for the shrinker, which asks for a few at a time. Idle pages are
 * released first. If they are too few, this also completes frees and empties the caches,
 * but only once per SHRINK_TICKS, or if no idle page was released.
 */
u64 spanheap_shrink(struct spanheap *h, u64 want)
{
	unsigned long now = h->clock();
	u64 n = spanheap_release_idle(h, 0, want);

	if (n >= want || (n && time_before(now, READ_ONCE(h->last_shrink) + SHRINK_TICKS)))
		return n;
	WRITE_ONCE(h->last_shrink, now);
	spanheap_finish_frees(h);
	spanheap_cache_drain(h);
	return n + spanheap_release_idle(h, 0, want - n);
}

/* Trace the end of a pass that has released n pages, which were idle for age ticks */
void spanheap_trace_pass(struct spanheap *h, u64 n, unsigned long age)
{
	unsigned long flags, inuse, sys, released;

	spin_lock_irqsave(&h->lock, flags);
	inuse = h->unlisted_pages;
	sys = h->used;
	released = h->released_pages;
	spin_unlock_irqrestore(&h->lock, flags);
	/* Cached spans are idle: CPUs may have filled their caches during the pass */
	inuse -= min_t(u64, inuse, heap_cached(h));
	trace_spanheap_scavenge(n, age, inuse, sys, released);
}

/* A pass on request, caches included. Returns how many pages were released. */
u64 spanheap_scavenge(struct spanheap *h, u32 min_age, u64 max_pages)
{
	unsigned long flags;
	u64 n;

	spanheap_cache_drain(h);
	spanheap_finish_frees(h);
	spanheap_drop(h);
	n = spanheap_release_idle(h, min_age, max_pages);
	spanheap_trim_records(h);

	spin_lock_irqsave(&h->lock, flags);
	h->scavenge_passes++;
	spin_unlock_irqrestore(&h->lock, flags);
	spanheap_trace_pass(h, n, 0);
	return n;
}
