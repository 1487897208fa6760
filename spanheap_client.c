// SPDX-License-Identifier: GPL-2.0
/*
 * The registry of clients. Spans that a client does not free before it unregisters become
 * orphans, which stay allocated until they are freed.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/module.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define CLIENT_FLAGS	(SPANHEAP_SKIP_INIT | SPANHEAP_SHARED_PAGES | SPANHEAP_GUARD)
#define WALK_BATCH	64	/* spans looked at per hold of the heap lock */

static int check_name(const char *name)
{
	if (!name || !*name || strnlen(name, SPANHEAP_NAME_MAX + 1) > SPANHEAP_NAME_MAX)
		return -EINVAL;
	if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return 0;
}

static bool name_taken(struct spanheap *h, const char *name)
{
	struct spanheap_client *c;

	list_for_each_entry(c, &h->clients, list)
		if (!strcmp(c->name, name))
			return true;
	return false;
}

static void free_client(struct spanheap_client *c)
{
	spanheap_reserve_exit(c);
	spanheap_sweep_exit(c);
	spanheap_account_exit(c);
	kfree(c);
}

struct spanheap_client *
spanheap_heap_register(struct spanheap *h, const struct spanheap_client_attr *attr)
{
	struct spanheap_client *c;
	int err = -ENOMEM;

	if (!attr || check_name(attr->name) || attr->flags & ~CLIENT_FLAGS)
		return ERR_PTR(-EINVAL);
	c = kzalloc(sizeof(*c), GFP_KERNEL);
	if (!c)
		return ERR_PTR(err);
	c->heap = h;
	strscpy(c->name, attr->name, sizeof(c->name));
	c->flags = attr->flags;
	c->ops = attr->ops;
	c->priv = attr->priv;
	c->limit_pages = limit_to_pages(attr->limit_bytes);
	c->last_cycle = h->clock();
	mutex_init(&c->collect_lock);
	mutex_init(&c->cycle_lock);
	mutex_init(&c->limit_lock);
	init_completion(&c->released);
	INIT_DELAYED_WORK(&c->limit_work, spanheap_sysfs_limit_hit);
	c->limit_told = jiffies - HZ;
	if (spanheap_account_init(c) || spanheap_sweep_init(c))
		goto out;
	err = spanheap_reserve_init(c, attr->reserve_bytes, spanheap_alloc_reserve);
	if (err)
		goto out;

	c->uncached = c->sweep || c->flags & (SPANHEAP_SHARED_PAGES | SPANHEAP_GUARD);

	mutex_lock(&h->clients_lock);
	if (c->flags & SPANHEAP_SKIP_INIT)
		c->writer = ++h->last_writer;
	err = name_taken(h, c->name) ? -EEXIST : spanheap_sysfs_add_client(c);
	if (!err)
		list_add_tail(&c->list, &h->clients);
	mutex_unlock(&h->clients_lock);
	if (!err) {
		/* Keeps the heap for a client whose module unloads without unregistering it */
		__module_get(THIS_MODULE);
		return c;
	}
out:
	free_client(c);
	return ERR_PTR(err);
}

/* Make s, whose owner is gone, an orphan. The caller makes sure that nobody else changes s. */
void __spanheap_orphan(struct spanheap *h, struct span *s)
{
	struct spanheap_client *c = s->client;

	lockdep_assert_held(&h->lock);
	if (!h->pinned) {	/* __orphan_done() puts the module */
		__module_get(THIS_MODULE);
		h->pinned = true;
	}
	trace_spanheap_orphan((unsigned long)span_addr(h, s), s->nr_pages, c->name);
	spanheap_uncharge(c, s->nr_pages);
	c->frees++;
	atomic64_add(s->nr_pages, &h->orphan->pages);
	h->orphan->allocs++;
	if (c->sweep && span_state(s) == SPAN_INUSE)
		__spanheap_busy_del(h, s);
	WRITE_ONCE(s->client, h->orphan);
	/* Send the free to the heap lock: the free of the last orphan puts the module */
	span_set_slow(s);
}

/* One batch of the walk: make orphans of c's spans, and report the first LEAKS_SHOWN */
static u32 orphan_batch(struct spanheap *h, struct spanheap_client *c, u32 idx,
			unsigned int *shown)
{
	struct span leaks[LEAKS_SHOWN], *s;
	unsigned int i, n = 0, seen = 0;
	char text[SITE_TEXT];
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	while (seen++ < WALK_BATCH && (s = __spanheap_walk(h, &idx))) {
		idx = span_end(s);
		steps_done(1);
		if (s->client != c)
			continue;
		if (*shown + n < LEAKS_SHOWN)
			leaks[n++] = *s;
		__spanheap_orphan(h, s);
	}
	if (idx >= h->used)
		idx = U32_MAX;	/* the walk is complete */
	spin_unlock_irqrestore(&h->lock, flags);
	for (i = 0; i < n; i++)
		pr_warn("  %p, %u pages, allocated by %s\n", span_addr(h, &leaks[i]),
			leaks[i].nr_pages, spanheap_site_text(h, leaks[i].caller, text));
	*shown += n;
	return idx;
}

/* Report that c leaves spans, and make orphans of them */
static void make_orphans(struct spanheap *h, struct spanheap_client *c,
			 struct client_counts *sum)
{
	unsigned int shown = 0;
	u32 idx = 0;

	WARN(1, "spanheap: client %s is gone and leaves %llu spans, %llu pages\n",
	     c->name, sum->allocs - sum->frees, sum->pages);
	while (idx != U32_MAX) {
		idx = orphan_batch(h, c, idx, &shown);
		cond_resched();
	}
}

/* No RCU reader uses the client any more. spanheap_exit() waits for this callback. */
static void free_client_rcu(struct rcu_head *rcu)
{
	free_client(container_of(rcu, struct spanheap_client, rcu));
}

/*
 * Has c freed all its spans? c allocates no more. While frees go on, the sum of frees is at
 * most the true number, so if it equals the allocations no free is missing.
 */
static bool all_freed(struct spanheap_client *c)
{
	struct client_counts sum;

	spanheap_client_sum(c, &sum);
	return sum.allocs == sum.frees;
}

/* c has spans left, or another CPU is freeing the last of them */
static void leave_spans(struct spanheap *h, struct spanheap_client *c)
{
	struct client_counts sum;

	/* Frees now take the heap lock, and find a span either before or after it is orphaned */
	spanheap_cache_pause(&h->caches);
	spanheap_client_sum(c, &sum);
	if (sum.pages)
		make_orphans(h, c, &sum);
	spanheap_cache_resume(&h->caches);
}

/* Interrupts no CPU, and waits for CPUs only if the client has spans left or not yet freed */
void spanheap_heap_unregister(struct spanheap_client *c)
{
	struct spanheap *h = c->heap;

	if (WARN_ONCE(spanheap_in_callback(h, false),
		      "spanheap: unregistering from within a callback\n"))
		return;
	spanheap_client_quiesce(c);
	cancel_delayed_work_sync(&c->limit_work);
	spanheap_reserve_exit(c);
	/* First, because a name that is not in the list must be free in sysfs */
	spanheap_sysfs_del_client(c);
	mutex_lock(&h->clients_lock);
	list_del(&c->list);
	mutex_unlock(&h->clients_lock);
	spanheap_specials_wait(c);
	if (!all_freed(c))
		rcu_barrier();	/* frees that wait for a grace period are over */
	if (!all_freed(c)) {
		spanheap_specials_leave(c);
		leave_spans(h, c);
	}
	call_rcu(&c->rcu, free_client_rcu);
	module_put(THIS_MODULE);
}
