// SPDX-License-Identifier: GPL-2.0
/*
 * The accounts of a client: its charge and limit, the lists of its in-use spans if it is
 * swept, the count of its users. Also the begin and the end of a span's use.
 *
 * A client without a limit is charged in per-CPU shares, which are folded into its total
 * when they become large. A client with a limit is charged exactly, with one atomic
 * operation for each allocation and each free.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <compat/kasan.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

/* ---- charges ---- */

/* A loop, because other CPUs raise it, too. It needs no order: nothing else depends on it. */
static void raise_peak(struct spanheap_client *c, s64 pages)
{
	s64 peak = atomic64_read(&c->peak_pages);

	while (pages > peak && !atomic64_try_cmpxchg(&c->peak_pages, &peak, pages))
		;
}

/* Add a CPU's share to the client's total: on that CPU, or under limit_lock if offline */
void spanheap_fold(struct spanheap_client *c, struct client_counts *n)
{
	raise_peak(c, atomic64_read(&c->pages) + n->peak);
	atomic64_add(n->pages, &c->pages);
	n->pages = 0;
	n->peak = 0;
}

bool spanheap_charge_exact(struct spanheap_client *c, u32 nr)
{
	s64 limit = READ_ONCE(c->limit_pages), old = atomic64_read(&c->pages);

	/*
	 * Add nothing before the test: a charge that is undone could make others fail. The
	 * compare-and-swap needs no order, as no other data depends on the sum.
	 */
	do {
		if (limit && old + nr > limit)
			return false;
	} while (!atomic64_try_cmpxchg(&c->pages, &old, old + nr));
	raise_peak(c, old + nr);
	return true;
}

/* Charge nr pages in the slow path. False: the client would exceed its limit. */
bool spanheap_charge(struct spanheap_client *c, u32 nr)
{
	struct span_caches *cs = &c->heap->caches;
	struct span_cache *cache = cs->cpu ? cache_enter(cs) : NULL;

	if (cache) {
		spanheap_fold(c, per_cpu_ptr(c->counts, cache->cpu));
		cache_leave(cache);
	}
	return spanheap_charge_exact(c, nr);
}

void spanheap_uncharge(struct spanheap_client *c, u32 nr)
{
	atomic64_sub(nr, &c->pages);
}

static bool has_share(struct cache_visit *v, struct span_cache *cache)
{
	struct spanheap_client *c = v->arg;
	struct client_counts *n = per_cpu_ptr(c->counts, cache->cpu);

	return READ_ONCE(n->pages) || READ_ONCE(n->peak);
}

static void fold_visit(struct cache_visit *v, struct span_cache *cache)
{
	struct spanheap_client *c = v->arg;

	spanheap_fold(c, per_cpu_ptr(c->counts, cache->cpu));
}

/*
 * Every allocation that begins after this call honours the limit. limit_lock prevents two
 * callers from folding the share of an offline CPU twice, as no section protects it.
 */
void spanheap_set_limit(struct spanheap_client *c, u64 limit_pages)
{
	struct cache_visit v = { .wanted = has_share, .fn = fold_visit, .arg = c };
	bool shares;

	mutex_lock(&c->limit_lock);
	shares = !c->limit_pages && c->heap->caches.cpu;
	WRITE_ONCE(c->limit_pages, limit_pages);
	if (limit_pages && shares) {
		/* Wait for sections that read no limit: later ones change no share */
		synchronize_rcu();
		spanheap_cache_visit_all(&c->heap->caches, &v);
	}
	mutex_unlock(&c->limit_lock);
}

#define TELL_TICKS	max(HZ / 10, 1)	/* between two notices that a limit was hit */

/*
 * An allocation was refused because of the limit. Called in any context but NMI, under any
 * locks of the client: a worker wakes the tasks that poll for this.
 */
void spanheap_limit_hit(struct spanheap_client *c)
{
	unsigned long since = jiffies - READ_ONCE(c->limit_told);

	if (!delayed_work_pending(&c->limit_work))
		queue_delayed_work(spanheap_wq, &c->limit_work,
				   since < TELL_TICKS ? TELL_TICKS - since : 0);
}

/*
 * Sum up all counters of a client, without a lock. Without a limit the peak is an upper
 * bound: the CPUs' shares need not have had their peaks at the same time. For each CPU
 * but one it may be too high by twice the largest share (FOLD_PAGES or two spans).
 */
void spanheap_client_sum(struct spanheap_client *c, struct client_counts *sum)
{
	int cpu;

	sum->allocs = READ_ONCE(c->allocs);
	sum->frees = READ_ONCE(c->frees);
	sum->pages = atomic64_read(&c->pages);
	sum->peak = sum->pages;
	for_each_possible_cpu(cpu) {
		struct client_counts *n = per_cpu_ptr(c->counts, cpu);

		sum->allocs += READ_ONCE(n->allocs);
		sum->frees += READ_ONCE(n->frees);
		sum->pages += READ_ONCE(n->pages);
		sum->peak += READ_ONCE(n->peak);
	}
	sum->pages = max_t(s64, sum->pages, 0);	/* shares may change during the sum */
	sum->peak = max_t(s64, sum->peak, atomic64_read(&c->peak_pages));
}

int spanheap_account_init(struct spanheap_client *c)
{
	c->counts = alloc_percpu(struct client_counts);
	return c->counts ? 0 : -ENOMEM;
}

void spanheap_account_exit(struct spanheap_client *c)
{
	free_percpu(c->counts);
}

/* ---- the in-use spans of a swept client ---- */

void __spanheap_fewer_unswept(struct client_sweep *sw)
{
	if (!--sw->nr_unswept)
		list_del_init(&sw->node);
}

/* Add s, which comes into use. A cycle does not sweep spans allocated during it. */
void __spanheap_busy_add(struct spanheap *h, struct span *s)
{
	struct client_sweep *sw = s->client->sweep;

	lockdep_assert_held(&h->lock);
	s->sweepgen = sw->gen;
	s->sweep = SWEEP_NONE;
	list_add_tail(&s->list, &sw->busy[busy_index(s)]);
	sw->nr_busy++;
	h->nr_busy++;
	h->seq++;
}

/*
 * Remove s, which the caller has claimed to free or resize it. If a sweep callback runs
 * for s, the changed sweepgen tells the sweeper to ignore the verdict.
 */
void __spanheap_busy_del(struct spanheap *h, struct span *s)
{
	struct client_sweep *sw = s->client->sweep;

	lockdep_assert_held(&h->lock);
	list_del(&s->list);
	sw->nr_busy--;
	h->nr_busy--;
	h->seq++;
	if (unswept(sw, s))
		__spanheap_fewer_unswept(sw);
	else
		s->sweepgen = sw->gen;
}

/*
 * Must the free of s, which is claimed, wait? True: a sweep callback runs for s, and its
 * sweeper completes the free. So the memory gets no new user before the callback returns.
 */
bool __spanheap_free_later(struct spanheap *h, struct span *s)
{
	lockdep_assert_held(&h->lock);
	if (s->sweep == SWEEP_NONE)
		return false;
	s->sweep = SWEEP_FREED;
	return true;
}

/* End a resize. If s was unswept, or a cycle has begun meanwhile, s is unswept. */
void __spanheap_busy_back(struct spanheap *h, struct span *s)
{
	struct spanheap_client *c = s->client;
	struct client_sweep *sw = c->sweep;
	u32 gen = s->sweepgen;
	u8 sweep = s->sweep;

	__spanheap_busy_add(h, s);
	s->sweep = sweep;
	if (gen == sw->gen)
		return;
	s->sweepgen = sw->gen - 2;
	list_move(&s->list, &sw->busy[busy_index(s)]);
	__set_bit(busy_index(s), sw->todo);
	if (!sw->nr_unswept++ && !c->gone)
		list_add_tail(&sw->node, &h->unswept);
}

/*
 * A caller attaches a finalizer to an address in a span, so the span is live: mark it as
 * swept in this cycle. (The page heap of Go 1.3 sweeps the span here.)
 */
void spanheap_sweep_live(struct spanheap *h, const void *addr)
{
	struct spanheap_client *c;
	struct client_sweep *sw;
	unsigned long flags;
	struct span *s;

	if (list_empty_careful(&h->unswept))
		return;
	spin_lock_irqsave(&h->lock, flags);
	s = spanheap_span_guess(h, addr);
	/* NULL: another CPU is freeing s into its cache; such a span is not swept */
	c = s && span_state(s) == SPAN_INUSE ? READ_ONCE(s->client) : NULL;
	sw = c ? c->sweep : NULL;
	if (sw && unswept(sw, s)) {
		s->sweepgen = sw->gen;
		list_move_tail(&s->list, &sw->busy[busy_index(s)]);
		__spanheap_fewer_unswept(sw);
		h->seq++;
	}
	spin_unlock_irqrestore(&h->lock, flags);
}

int spanheap_sweep_init(struct spanheap_client *c)
{
	struct client_sweep *sw;
	u32 i;

	if (!c->ops || !c->ops->sweep)
		return 0;
	sw = kvzalloc(sizeof(*sw), GFP_KERNEL);
	if (!sw)
		return -ENOMEM;
	INIT_LIST_HEAD(&sw->node);
	for (i = 0; i <= SMALL_PAGES; i++)
		INIT_LIST_HEAD(&sw->busy[i]);
	sw->client = c;
	c->sweep = sw;
	return 0;
}

void spanheap_sweep_exit(struct spanheap_client *c)
{
	WARN_ON_ONCE(c->sweep && c->sweep->nr_busy);
	kvfree(c->sweep);
}

/* ---- users of a client, and its callbacks ---- */

bool __spanheap_client_get(struct spanheap_client *c)
{
	lockdep_assert_held(&c->heap->lock);
	if (c->gone)
		return false;
	c->users++;
	return true;
}

/* Keep c until spanheap_client_put(). False: c is being unregistered. */
bool spanheap_client_get(struct spanheap_client *c)
{
	unsigned long flags;
	bool got;

	spin_lock_irqsave(&c->heap->lock, flags);
	got = __spanheap_client_get(c);
	spin_unlock_irqrestore(&c->heap->lock, flags);
	return got;
}

void spanheap_client_put(struct spanheap_client *c)
{
	struct spanheap *h = c->heap;
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	c->users--;		/* from here on c may be freed */
	spin_unlock_irqrestore(&h->lock, flags);
	wake_up_all(&h->callback_wait);
}

/* Wait until no callback of c runs and no task uses c. None will begin later. */
void spanheap_client_quiesce(struct spanheap_client *c)
{
	struct spanheap *h = c->heap;

	spin_lock_irq(&h->lock);
	c->gone = true;
	if (c->sweep)
		list_del_init(&c->sweep->node);
	spin_unlock_irq(&h->lock);
	/* spanheap_client_put() wakes this task after its last access to c */
	wait_event(h->callback_wait, !READ_ONCE(c->users));
}

/* Does this task run a callback (or, sweep_only, a sweep callback) of any client? */
bool spanheap_in_callback(struct spanheap *h, bool sweep_only)
{
	struct callback *cb;
	unsigned long flags;
	bool found = false;

	spin_lock_irqsave(&h->lock, flags);
	list_for_each_entry(cb, &h->callbacks, list)
		if (cb->task == current && (cb->sweep || !sweep_only)) {
			found = true;
			break;
		}
	spin_unlock_irqrestore(&h->lock, flags);
	return found;
}

/* ---- the end of use ---- */

static void __orphan_done(struct spanheap *h, struct spanheap_client *client)
{
	if (client == h->orphan && client->allocs == client->frees && h->pinned) {
		h->pinned = false;
		module_put(THIS_MODULE);
	}
}

/* Count s, OWNED and charged, as allocated by the page heap to client */
void __spanheap_use_begin(struct spanheap *h, struct span *s, struct spanheap_client *client,
			  u32 obj_size)
{
	lockdep_assert_held(&h->lock);
	s->client = client;
	s->obj_size = obj_size;
	h->extra_objects += extra_objects(s->nr_pages, obj_size);
	h->allocs++;
	client->allocs++;
}

/* Free the guard behind s. If spanheap_drop() still has to unback it, that also frees it. */
void __spanheap_end_guard(struct spanheap *h, struct span *s)
{
	struct span *guard = *map_slot(h, span_end(s));

	lockdep_assert_held(&h->lock);
	guard->guard = false;
	if (span_state(guard) != SPAN_RELEASING)
		__spanheap_put(h, guard);
}

/* Undo __spanheap_use_begin() */
static void __uncount(struct spanheap *h, struct span *s)
{
	lockdep_assert_held(&h->lock);
	s->client->allocs--;
	h->allocs--;
	h->extra_objects -= extra_objects(s->nr_pages, s->obj_size);
}

/* Undo the charge and the counting of s, OWNED, which was never handed out */
void __spanheap_use_cancel(struct spanheap *h, struct span *s)
{
	spanheap_uncharge(s->client, s->nr_pages);
	__uncount(h, s);
}

/* s, OWNED and not charged, was never handed out: undo the counting, and s becomes free */
void __spanheap_use_undo(struct spanheap *h, struct span *s)
{
	__uncount(h, s);
	if (s->guarded)
		__spanheap_end_guard(h, s);
	__spanheap_put(h, s);
}

void spanheap_use_undo(struct spanheap *h, struct span *s)
{
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	__spanheap_use_undo(h, s);
	spin_unlock_irqrestore(&h->lock, flags);
	scav_poke(h);
}

/*
 * Are there other references to a page of s? Then the free drops the pages of s, as
 * vfree() does, and a page lives until its last reference is put. No lock is held.
 */
bool spanheap_must_drop(struct spanheap *h, const struct span *s)
{
	return s->shared && spanheap_arena_ok(h) &&
	       h->ops->referenced(h, s->start, s->nr_pages);
}

/*
 * Must each page of s be cleared or checked for references, and are there too many pages
 * for a free, which may not sleep? Then a worker does this, see spanheap_finish_frees().
 */
bool spanheap_frees_later(const struct span *s)
{
	return s->nr_pages > FREE_NOW_PAGES && (want_init_on_free() || s->shared);
}

/*
 * End the use of s, which is OWNED and backed. cleared: its pages are zero. drop: its
 * pages must go to the system first. A worker may clear and drop the pages of a long span
 * later. The caller has called spanheap_age_now(), unless spanheap_frees_later().
 */
void __spanheap_use_end(struct spanheap *h, struct span *s, bool cleared, bool drop)
{
	lockdep_assert_held(&h->lock);
	compat_kasan_use(&h->lost, span_addr(h, s), s->nr_pages, false);
	spanheap_uncharge(s->client, s->nr_pages);
	s->nr_released = 0;
	s->needzero = !cleared;
	s->writer = s->client->writer;
	if (s->guarded)
		__spanheap_end_guard(h, s);
	if (drop || spanheap_frees_later(s)) {
		__spanheap_defer(h, s, drop ? &h->dropping : &h->freeing);
		queue_work(spanheap_wq, &h->free_work);
	} else {
		__spanheap_put(h, s);
	}
}

/*
 * Free s, which was in use and is claimed. The lock is dropped for work on each page, or
 * on each unit of a long span. The trace shows caller, a call site or the sweep callback.
 */
void __spanheap_free_claimed(struct spanheap *h, struct span *s, unsigned long caller,
			     unsigned long *flags)
	__must_hold(&h->lock)
{
	bool clear = want_init_on_free(), drop = false;
	struct spanheap_client *client;

	lockdep_assert_held(&h->lock);
	if (spanheap_frees_later(s)) {
		clear = false;
	} else if (clear || s->shared || s->nr_pages > BATCH_PAGES) {
		/* s is OWNED and charged, so no other task gets the pages meanwhile */
		spin_unlock_irqrestore(&h->lock, *flags);
		drop = spanheap_must_drop(h, s);
		if (clear && !drop)
			spanheap_clear(h, s->start, s->nr_pages, false);
		spanheap_age_now(h, s);
		spin_lock_irqsave(&h->lock, *flags);
	} else {
		spanheap_age_now(h, s);
	}
	client = s->client;
	/* Trace before s is in the free lists, where the next allocation may take it */
	trace_spanheap_free((unsigned long)span_addr(h, s), s->nr_pages, caller, client->name);
	h->extra_objects -= extra_objects(s->nr_pages, s->obj_size);
	h->frees++;
	client->frees++;
	__spanheap_use_end(h, s, clear, drop);
	__orphan_done(h, client);
}
