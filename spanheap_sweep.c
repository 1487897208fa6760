// SPDX-License-Identifier: GPL-2.0
/*
 * Generations, sweeping, reclaim before growth, forced collections.
 *
 * A client with a sweep callback learns late which spans are dead. It marks what is live
 * and begins a cycle. From then on sweepers call the callback for each unswept span:
 * allocations that would otherwise grow the heap, a worker, and the client itself.
 * A sweeper works under the heap lock, but runs the callback without any lock. The design
 * is that of the sweeper of the Go 1.3 runtime (mheap.c, mgc0.c).
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <compat/lockdep.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

/*
 * For lockdep: a sweep callback holds this lock, and each function that may sweep takes it
 * for a moment. So lockdep reports an allocation that may sweep, and the beginning of a cycle,
 * under a lock that a sweep callback takes, even if nothing is unswept.
 */
COMPAT_LOCKDEP_MAP(spanheap_sweep_callback);

/* Nothing sweeps within a sweep callback, so report nothing there */
static void might_sweep(void)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP) || compat_map_held(&spanheap_sweep_callback))
		return;
	lock_map_acquire(&spanheap_sweep_callback);
	lock_map_release(&spanheap_sweep_callback);
}

/* Each allocation calls this first, with CONFIG_LOCKDEP only */
void spanheap_might_sweep(gfp_t gfp)
{
	if (spanheap_may_reclaim(gfp) && !(gfp & __GFP_NOLOCKDEP))
		might_sweep();
}

/* ---- sweeping ---- */

/* Let the caller sweep an unswept span of lo to hi pages (hi = SMALL_PAGES: or more) */
static struct span *__claim_unswept(struct spanheap *h, struct client_sweep *sw,
				    u32 lo, u32 hi)
{
	struct span *s;
	u32 i;

	lockdep_assert_held(&h->lock);
	for (i = lo; (i = find_next_bit(sw->todo, hi + 1, i)) <= hi;) {
		s = list_first_entry_or_null(&sw->busy[i], struct span, list);
		if (s && unswept(sw, s)) {
			/* The heap lock makes this the only sweeper of s in this cycle */
			s->sweepgen = sw->gen - 1;
			s->sweep = SWEEP_RUNNING;
			list_move_tail(&s->list, &sw->busy[i]);
			__spanheap_fewer_unswept(sw);
			h->seq++;
			return s;
		}
		__clear_bit(i, sw->todo);
	}
	return NULL;
}

static enum spanheap_verdict ask(struct spanheap_client *c, void *addr, u32 nr)
{
	enum spanheap_verdict verdict;

	lock_map_acquire(&spanheap_sweep_callback);
	verdict = c->ops->sweep(addr, nr, c->priv);
	lock_map_release(&spanheap_sweep_callback);
	if (WARN_ONCE(verdict != SPANHEAP_KEEP && verdict != SPANHEAP_FREE,
		      "spanheap: sweep callback %ps returned %d\n", c->ops->sweep,
		      verdict))
		return SPANHEAP_KEEP;
	return verdict;
}

/* Has its owner neither freed nor resized s since the sweeper claimed it? */
static bool still_swept(const struct client_sweep *sw, const struct span *s)
{
	return span_state(s) == SPAN_INUSE && s->sweepgen == sw->gen - 1;
}

/* Queue the finalizers of s, which is dead. True: there are some, and s is kept for them. */
static bool queue_finalizers(struct spanheap *h, const struct client_sweep *sw,
			     struct span *s)
{
	struct special key = {};
	bool kept = false, more;
	unsigned long flags;

	do {
		spin_lock_irqsave(&h->lock, flags);
		more = still_swept(sw, s) &&
		       __spanheap_specials_sweep(h, s, &key, &kept);
		spin_unlock_irqrestore(&h->lock, flags);
		cond_resched();
	} while (more);
	return kept;
}

/* Claim s, which is dead, with its specials. False: it has a finalizer or a new use. */
static bool __claim_dead(struct spanheap *h, struct client_sweep *sw, struct span *s,
			 struct rb_root *specials)
{
	spanheap_finalizer_t fn;

	if (!still_swept(sw, s) ||
	    !spanheap_specials_claim(h, s, READ_ONCE(s->word), specials, &fn))
		return false;
	__spanheap_busy_del(h, s);
	return true;
}

/*
 * Sweep one unswept span of lo to hi pages (hi = SMALL_PAGES: or more). Returns the number
 * of pages that it freed, or -1 if there is no such span.
 */
long spanheap_sweep(struct spanheap_client *c, u32 lo, u32 hi)
{
	struct callback cb = { .task = current, .sweep = true };
	struct client_sweep *sw = c->sweep;
	struct rb_root specials = RB_ROOT;
	struct spanheap *h = c->heap;
	enum spanheap_verdict verdict;
	unsigned long flags;
	u32 nr, freed = 0;
	struct span *s;
	void *addr;
	bool dead;

	might_sweep();
	spin_lock_irqsave(&h->lock, flags);
	s = c->gone ? NULL : __claim_unswept(h, sw, lo, hi);
	if (!s) {
		spin_unlock_irqrestore(&h->lock, flags);
		return -1;
	}
	c->users++;
	sw->running++;
	list_add(&cb.list, &h->callbacks);
	addr = span_addr(h, s);
	nr = s->nr_pages;
	spin_unlock_irqrestore(&h->lock, flags);

	verdict = ask(c, addr, nr);
	dead = verdict == SPANHEAP_FREE && !queue_finalizers(h, sw, s);

	spin_lock_irqsave(&h->lock, flags);
	if (dead && __claim_dead(h, sw, s, &specials))
		freed = s->nr_pages;
	else if (still_swept(sw, s))
		s->sweepgen = sw->gen;
	h->seq++;
	trace_spanheap_sweep((unsigned long)addr, nr, verdict, freed, c->name);
	if (freed || s->sweep == SWEEP_FREED)
		__spanheap_free_claimed(h, s, (unsigned long)c->ops->sweep, &flags);
	else
		s->sweep = SWEEP_NONE;
	list_del(&cb.list);
	sw->running--;
	spin_unlock_irqrestore(&h->lock, flags);
	scav_poke(h);
	spanheap_specials_freed(h, &specials);
	spanheap_client_put(c);
	return freed;
}

/* Get a client with unswept spans, or NULL. The caller calls spanheap_client_put(). */
static struct spanheap_client *unswept_client(struct spanheap *h)
{
	struct spanheap_client *c = NULL;
	struct client_sweep *sw;
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	sw = list_first_entry_or_null(&h->unswept, struct client_sweep, node);
	if (sw && __spanheap_client_get(sw->client))
		c = sw->client;
	spin_unlock_irqrestore(&h->lock, flags);
	return c;
}

/* Sweep up to max_spans spans of all clients; returns how many it swept */
u64 spanheap_sweep_some(struct spanheap *h, u64 max_spans)
{
	struct spanheap_client *c;
	u64 n = 0;

	might_sweep();
	while (n < max_spans && (c = unswept_client(h))) {
		while (n < max_spans && spanheap_sweep(c, 1, SMALL_PAGES) >= 0) {
			n++;
			cond_resched();
		}
		spanheap_client_put(c);
	}
	return n;
}

/* ---- cycles ---- */

/* Begin a cycle of c. False: the old cycle has unswept spans or running callbacks. */
static bool __begin(struct spanheap_client *c)
{
	struct client_sweep *sw = c->sweep;
	struct spanheap *h = c->heap;

	lockdep_assert_held(&h->lock);
	c->last_cycle = h->clock();
	if (!sw || c->gone)
		return true;
	if (sw->nr_unswept || sw->running)
		return false;
	sw->gen += 2;	/* makes every span on the lists unswept */
	sw->nr_unswept = sw->nr_busy;
	bitmap_fill(sw->todo, SMALL_PAGES + 1);
	if (sw->nr_unswept)
		list_add_tail(&sw->node, &h->unswept);
	h->seq++;
	return true;
}

void spanheap_cycle(struct spanheap_client *c)
{
	struct spanheap *h = c->heap;
	unsigned long flags;
	bool begun;

	if (WARN_ONCE(spanheap_in_callback(h, true),
		      "spanheap: cycle begun from within a sweep callback\n"))
		return;
	mutex_lock(&c->cycle_lock);
	do {
		if (c->sweep) {
			while (spanheap_sweep(c, 1, SMALL_PAGES) >= 0)
				cond_resched();
			wait_event(h->callback_wait, !READ_ONCE(c->sweep->running));
		}
		spin_lock_irqsave(&h->lock, flags);
		begun = __begin(c);
		spin_unlock_irqrestore(&h->lock, flags);
	} while (!begun);
	mutex_unlock(&c->cycle_lock);
	if (h->background)
		mod_delayed_work(h->background, &h->sweep_work, 0);
}

/* ---- reclaim before growth ---- */

/*
 * May an allocation sweep? Callbacks may do I/O and enter file systems, so the gfp must
 * allow both. A task that reclaims memory (PF_MEMALLOC) must not wait for callbacks.
 */
bool spanheap_may_reclaim(gfp_t gfp)
{
	const gfp_t need = __GFP_DIRECT_RECLAIM | __GFP_IO | __GFP_FS;

	return (current_gfp_context(gfp) & need) == need &&
	       !(current->flags & PF_MEMALLOC);
}

/* Sweep spans that are long enough alone first, the shortest of them first; then the others */
static u64 reclaim_from(struct spanheap_client *c, u64 nr)
{
	u32 first = min_t(u64, nr, SMALL_PAGES);
	u64 freed = 0;
	long n;

	while (freed < nr && (n = spanheap_sweep(c, first, SMALL_PAGES)) >= 0) {
		freed += n;
		cond_resched();
	}
	while (freed < nr && (n = spanheap_sweep(c, 1, first - 1)) >= 0) {
		freed += n;
		cond_resched();
	}
	return freed;
}

/*
 * Sweep until nr pages are free or nothing is left unswept: spans of the allocating client
 * first, then, with others set, those of other clients. Returns the number of pages freed. Does
 * nothing in a sweep callback, as the recursion could be without end.
 */
u64 spanheap_reclaim(struct spanheap *h, struct spanheap_client *client, u32 nr, bool others)
{
	struct spanheap_client *c;
	u64 freed = 0;

	if (spanheap_in_callback(h, true))
		return 0;
	if (client->sweep)
		freed = reclaim_from(client, nr);
	while (others && freed < nr && (c = unswept_client(h))) {
		freed += reclaim_from(c, nr - freed);
		spanheap_client_put(c);
	}
	return freed;
}

/* ---- forced collection ---- */

static bool due(struct spanheap_client *c, unsigned long min_age)
{
	return c->ops && c->ops->collect &&
	       !(min_age && time_before(c->heap->clock(),
					READ_ONCE(c->last_cycle) + min_age));
}

/* Get the next client after prev that is due, and put prev, whose list entry is the position */
static struct spanheap_client *next_due(struct spanheap *h, struct spanheap_client *prev,
					unsigned long min_age)
{
	struct spanheap_client *c, *found = NULL;

	mutex_lock(&h->clients_lock);
	c = list_prepare_entry(prev, &h->clients, list);
	list_for_each_entry_continue(c, &h->clients, list)
		if (due(c, min_age) && spanheap_client_get(c)) {
			found = c;
			break;
		}
	mutex_unlock(&h->clients_lock);
	if (prev)
		spanheap_client_put(prev);
	return found;
}

/*
 * Call the collect callback of each client whose last cycle began min_age ticks ago or
 * earlier. The callback may register clients, allocate and begin cycles.
 */
void spanheap_collect(struct spanheap *h, unsigned long min_age)
{
	struct callback cb = { .task = current };
	struct spanheap_client *c = NULL;

	while ((c = next_due(h, c, min_age))) {
		mutex_lock(&c->collect_lock);
		spin_lock_irq(&h->lock);
		c->last_cycle = h->clock();
		list_add(&cb.list, &h->callbacks);
		spin_unlock_irq(&h->lock);

		c->ops->collect(c->priv);

		spin_lock_irq(&h->lock);
		list_del(&cb.list);
		spin_unlock_irq(&h->lock);
		mutex_unlock(&c->collect_lock);
	}
}

/* ---- in the background ---- */

/*
 * Callbacks of clients may block, so workers run them, and the scavenger's thread goes on
 * giving memory back. The workqueue is frozen while the system sleeps, so that no worker
 * calls a client whose device is suspended.
 */
unsigned int spanheap_force_cycle_ms = 120000;

#define SWEEP_BATCH	256	/* spans swept in a tick of the system's clock */

static void sweep_work(struct work_struct *work)
{
	struct spanheap *h = container_of(to_delayed_work(work), struct spanheap, sweep_work);

	if (spanheap_sweep_some(h, SWEEP_BATCH))
		queue_delayed_work(h->background, &h->sweep_work, 1);
}

static void collect_work(struct work_struct *work)
{
	struct spanheap *h = container_of(to_delayed_work(work), struct spanheap, collect_work);
	unsigned int ms = READ_ONCE(spanheap_force_cycle_ms);

	spanheap_collect(h, ms_to_ticks(ms));
	queue_delayed_work(h->background, &h->collect_work, ms_to_ticks(ms / 2 + 1));
}

/* spanheap_force_cycle_ms has changed */
void spanheap_background_kick(struct spanheap *h)
{
	unsigned int ms = READ_ONCE(spanheap_force_cycle_ms);

	mod_delayed_work(h->background, &h->collect_work, ms_to_ticks(ms / 2 + 1));
}

int spanheap_background_start(struct spanheap *h)
{
	INIT_DELAYED_WORK(&h->sweep_work, sweep_work);
	INIT_DEFERRABLE_WORK(&h->collect_work, collect_work);
	h->background = alloc_workqueue("spanheap_sweep", WQ_UNBOUND | WQ_FREEZABLE, 0);
	if (!h->background)
		return -ENOMEM;
	spanheap_background_kick(h);
	return 0;
}

/* All clients have unregistered */
void spanheap_background_stop(struct spanheap *h)
{
	cancel_delayed_work_sync(&h->collect_work);
	cancel_delayed_work_sync(&h->sweep_work);
	destroy_workqueue(h->background);
	h->background = NULL;
}
