// SPDX-License-Identifier: GPL-2.0
/*
 * How idle pages go back: out of the caches into the page heap, out of the page heap
 * to the system. When and how much is up to spanheap_scav.c.
 *
 * A releaser isolates the oldest idle spans, unmaps their pages without the heap
 * lock, flushes all TLBs once for the batch, frees the pages and puts the spans
 * back. A releaser allocates nothing, so it may run inside reclaim.
 */
#include <linux/cpuhotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define SHRINK_TICKS	(HZ / 10)	/* between two drains for the shrinker */

static int cpuhp_state;

/* ---- out of the caches ---- */

static void take_visit(struct cache_visit *v, struct span_cache *c)
{
	spanheap_cache_take(c, v->arg);
}

/* What a CPU had goes into the page heap; drain_lock */
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
 * Put all that is cached into the page heap. Process context; sleeps only for others
 * in here, who allocate nothing either, so reclaim may call it. One emptying at a
 * time, so that a caller which finds the caches empty knows that the page heap has
 * what was in them. Interrupts only CPUs that have spans, one after the other.
 */
void spanheap_cache_drain(struct spanheap *h)
{
	struct cache_visit v = { .fn = take_visit };
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
	spanheap_cache_take(c, set);
	put_set(h, set);
	mutex_unlock(&h->drain_lock);
}

static int cpu_dead(unsigned int cpu, struct hlist_node *node)
{
	drain_offline(hlist_entry(node, struct spanheap, cpuhp), cpu);
	return 0;
}

/* Caches as spanheap_caches_init() makes them, emptied when a CPU goes offline */
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

/* Nobody is inside */
void spanheap_cache_exit(struct spanheap *h)
{
	int cpu;

	if (!h->caches.cpu)
		return;
	cpuhp_state_remove_instance_nocalls(cpuhp_state, &h->cpuhp);
	/* A CPU that went offline before its instance was removed has nobody to empty it */
	for_each_possible_cpu(cpu)
		drain_offline(h, cpu);
	spanheap_cache_drain(h);
	spanheap_caches_free(&h->caches);
}

/* Once per module: the CPU hotplug state that all heaps hang on */
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

/* Isolate up to want backed pages of a few spans idle since before; oldest first */
static u32 isolate_some(struct spanheap *h, unsigned long before, u32 want,
			struct list_head *batch)
{
	u32 n = 0, nr_spans, backed, cut;
	unsigned long flags;
	struct span *s;

	spin_lock_irqsave(&h->lock, flags);
	for (nr_spans = 0; n < want && !held_enough(h, nr_spans); nr_spans++) {
		s = list_first_entry_or_null(&h->lru, struct span, lru);
		if (!s || time_after(s->stamp, before))
			break;
		backed = s->nr_pages - s->nr_released;
		if (backed > want - n) {
			/* The reserve: __spanheap_carve() leaves a record for this split */
			if (!h->nr_spare)
				break;
			cut = spanheap_next_backed(h, s->start, span_end(s), true) -
			      s->start + want - n;
			if (cut < s->nr_pages)
				__spanheap_split(h, s, cut);
			backed = s->nr_pages - s->nr_released;
		}
		__spanheap_isolate(h, s, SPAN_RELEASING);
		list_add_tail(&s->lru, batch);
		n += backed;
	}
	spin_unlock_irqrestore(&h->lock, flags);
	return n;
}

/* A batch for one flush, out of many short holds of the lock */
static u32 isolate_batch(struct spanheap *h, unsigned long before, u32 want,
			 struct list_head *batch)
{
	u32 n = 0, got;

	do {
		got = isolate_some(h, before, want - n, batch);
		n += got;
	} while (got && n < want);
	return n;
}

/* Spans whose pages are the system's now go back into the free lists */
static u32 put_some(struct spanheap *h, struct list_head *batch)
{
	unsigned long flags;
	struct span *s;
	u32 n, released;

	spin_lock_irqsave(&h->lock, flags);
	for (n = 0; !list_empty(batch) && !held_enough(h, n); n++) {
		s = list_first_entry(batch, struct span, lru);
		list_del_init(&s->lru);
		released = s->nr_pages - s->nr_released;
		h->released_pages += released;
		h->scavenged_pages += released;
		s->nr_released = s->nr_pages;
		__spanheap_put(h, s);
	}
	h->tlb_flushes += list_empty(batch);
	spin_unlock_irqrestore(&h->lock, flags);
	return n;
}

/* Unmap, flush once, free. The batch's pages are nobody else's. */
static void unback_batch(struct spanheap *h, struct list_head *batch)
{
	u32 n = 0, lo = U32_MAX, hi = 0, i, to, end, got;
	struct span *s;

	list_for_each_entry(s, batch, lru) {
		end = span_end(s);
		for (i = s->start; i < end; i = to) {
			to = end;
			if (s->nr_released) {
				i = spanheap_next_backed(h, i, end, true);
				to = spanheap_next_backed(h, i, end, false);
			}
			if (i == end)
				break;
			got = h->ops->unback(h, i, to - i, h->release_pages + n);
			spanheap_mark_backed(h, i, got, false);
			n += got;
		}
		lo = min(lo, s->start);
		hi = max(hi, end);
	}
	h->ops->flush(h, lo, hi);
	release_pages(h->release_pages, n);
}

u32 spanheap_release_batch(struct spanheap *h, unsigned long before, u32 want)
{
	LIST_HEAD(batch);
	u32 n, nr_spans = 0;

	lockdep_assert_held(&h->release_lock);
	if (!spanheap_arena_ok(h))
		return 0;
	n = isolate_batch(h, before, min(want, BATCH_PAGES), &batch);
	if (list_empty(&batch))
		return 0;
	unback_batch(h, &batch);
	while (!list_empty(&batch))
		nr_spans += put_some(h, &batch);
	trace_spanheap_release(n, nr_spans);
	return n;
}

/* Unback s, which is RELEASING, flush and free, so many pages at a time as fit */
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

/* As spanheap_must_drop(), of a long span */
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
 * Complete the frees of long spans: clear their pages, or have them dropped. When this
 * returns, what was freed before the call is free. Process context; gives way after each
 * page; allocates nothing, so that allocations and reclaim may wait for it.
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
		spin_lock_irq(&h->lock);
		__spanheap_put(h, s);
		spin_unlock_irq(&h->lock);
	}
	mutex_unlock(&h->finish_lock);
	if (drop)
		spanheap_drop(h);
}

/*
 * Complete what was put on h->dropping: the pages of these spans go to the system,
 * whoever else refers to them, and the spans become free, or guards. Process context;
 * allocates nothing.
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
}

/*
 * What is freed after the call began is not for it, or it might never end. The lock
 * is held for a batch only, for reclaim waits for it.
 */
u64 spanheap_release_idle(struct spanheap *h, unsigned long age, u64 max)
{
	unsigned long before = h->clock() - age;
	u64 total = 0;
	u32 n;

	while (total < max) {
		mutex_lock(&h->release_lock);
		n = spanheap_release_batch(h, before, min_t(u64, max - total, BATCH_PAGES));
		mutex_unlock(&h->release_lock);
		if (!n)
			break;
		total += n;
		cond_resched();
	}
	return total;
}

/*
 * Give want pages back, for the shrinker, which asks for a few at a time: idle ones. If
 * these fall short, also what long spans have that are about to be free, and what caches
 * have; now and then, unless nothing else came free.
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

/* Release pages idle for at least age ticks, at most max. Returns how many. */
u64 spanheap_scavenge(struct spanheap *h, unsigned long age, u64 max_pages)
{
	unsigned long flags, inuse, sys, released;
	u64 n;

	spanheap_cache_drain(h);
	spanheap_finish_frees(h);
	spanheap_drop(h);
	n = spanheap_release_idle(h, age, max_pages);
	spanheap_trim_records(h);

	spin_lock_irqsave(&h->lock, flags);
	h->scavenge_passes++;
	WRITE_ONCE(h->resident_peak, heap_resident(h));
	inuse = h->unlisted_pages;
	sys = h->used;
	released = h->released_pages;
	spin_unlock_irqrestore(&h->lock, flags);
	/* What CPUs have put into their caches since those were emptied is idle */
	inuse -= min_t(u64, inuse, heap_cached(h));
	trace_spanheap_scavenge(n, age, inuse, sys, released);
	return n;
}
