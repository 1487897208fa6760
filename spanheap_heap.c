// SPDX-License-Identifier: GPL-2.0
/*
 * Creation and destruction of a heap, its statistics and its check.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "spanheap_internal.h"

struct spanheap *spanheap_heap;

/*
 * Takes no lock, so that readers delay no allocation. Counters may be read at different
 * moments of the call, so the results are clamped. inuse + idle = sys, sys - released =
 * resident and released + cached <= idle always hold.
 *
 * per_cpu: include the CPUs' counters, which inuse, idle, cached, zeroed, allocs, frees,
 * spans and objects need. Callers that need only other values pass false, because reading
 * the counters takes cache lines away from the CPUs.
 */
void spanheap_heap_stats(struct spanheap *h, struct spanheap_stats *st, bool per_cpu)
{
	struct heap_counts sum = {};
	u64 used = READ_ONCE(h->used);
	u64 unlisted = min(READ_ONCE(h->unlisted_pages), used);
	u64 released = min(READ_ONCE(h->released_pages), used - unlisted);
	u64 cached, inuse;

	if (per_cpu)
		sum = cache_sum(&h->caches);
	/* unlisted_pages includes the cached pages */
	cached = clamp_t(s64, sum.pushed_pages - sum.popped_pages -
			 READ_ONCE(h->uncached_pages), 0, unlisted);
	inuse = unlisted - cached;
	*st = (struct spanheap_stats) {
		.arena_bytes = (u64)h->arena_pages << PAGE_SHIFT,
		.sys_bytes = used << PAGE_SHIFT,
		.inuse_bytes = inuse << PAGE_SHIFT,
		.idle_bytes = (used - inuse) << PAGE_SHIFT,
		.released_bytes = released << PAGE_SHIFT,
		.resident_bytes = (used - released) << PAGE_SHIFT,
		.cached_bytes = cached << PAGE_SHIFT,
		.allocs = READ_ONCE(h->allocs) + sum.allocs,
		.frees = READ_ONCE(h->frees) + sum.frees,
		.span_meta_bytes = READ_ONCE(h->nr_records) * sizeof(struct span),
		.other_meta_bytes = sizeof(*h) +
			READ_ONCE(h->nr_map_leaves) * (sizeof(struct map_leaf) + LEAF_TABLE_BYTES) +
			h->nr_leaves * (sizeof(*h->map) + sizeof(*h->cover) +
					sizeof(*h->leaf_backed)) +
			DIV_ROUND_UP(h->nr_leaves, LEAVES_PER_GROUP) *
				sizeof(*h->group_backed) +
			BATCH_PAGES * sizeof(*h->release_pages) +
			spanheap_nodes_bytes() +
			spanheap_special_meta(h) +
			spanheap_prof_bytes(h) +
			h->caches.bytes,
		.failed_allocs = READ_ONCE(h->failed_allocs),
		.invalid_frees = READ_ONCE(h->invalid_frees),
		.grows = READ_ONCE(h->grows),
		.scavenge_passes = READ_ONCE(h->scavenge_passes),
		.scavenged_bytes = READ_ONCE(h->scavenged_pages) << PAGE_SHIFT,
		.tlb_flushes = READ_ONCE(h->tlb_flushes),
		.largest_free_pages = READ_ONCE(h->largest_free),
		.refaulted_bytes = (u64)atomic64_read(&h->refaulted_pages) << PAGE_SHIFT,
		.orphan_bytes = (u64)atomic64_read(&h->orphan->pages) << PAGE_SHIFT,
		.zeroed_bytes = (atomic64_read(&h->zeroed_pages) +
				 sum.zeroed_pages) << PAGE_SHIFT,
		.zero_skipped_bytes = (atomic64_read(&h->zero_skipped_pages) +
				       sum.zero_skipped_pages) << PAGE_SHIFT,
		.moved_bytes = (u64)atomic64_read(&h->moved_pages) << PAGE_SHIFT,
	};
	st->spans = max_t(s64, st->allocs - st->frees, 0);
	st->objects = max_t(s64, st->spans + READ_ONCE(h->extra_objects) +
			    sum.extra_objects, 0);
}

static struct spanheap_client *inner_client(struct spanheap *h, const char *name)
{
	struct spanheap_client *c = kzalloc(sizeof(*c), GFP_KERNEL);

	if (c && spanheap_account_init(c)) {
		kfree(c);
		return NULL;
	}
	if (c) {
		c->heap = h;
		strscpy(c->name, name, sizeof(c->name));
	}
	return c;
}

static void free_inner_client(struct spanheap_client *c)
{
	if (c)
		spanheap_account_exit(c);
	kfree(c);
}

static void free_work(struct work_struct *work)
{
	struct spanheap *h = container_of(work, struct spanheap, free_work);

	spanheap_finish_frees(h);
	spanheap_drop(h);
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
	h->last_shrink = h->last_drain - HZ;
	h->arena_pages = nr_pages;
	h->nr_leaves = DIV_ROUND_UP(nr_pages, LEAF_PAGES);
	mutex_init(&h->clients_lock);
	INIT_LIST_HEAD(&h->clients);
	INIT_LIST_HEAD(&h->unswept);
	INIT_LIST_HEAD(&h->callbacks);
	init_waitqueue_head(&h->callback_wait);
	init_waitqueue_head(&h->scav_wait);
	mutex_init(&h->release_lock);
	init_llist_head(&h->dropping);
	INIT_WORK(&h->free_work, free_work);
	init_llist_head(&h->freeing);
	mutex_init(&h->finish_lock);
	mutex_init(&h->drain_lock);
	spin_lock_init(&h->lock);
	for (i = 0; i < SMALL_PAGES; i++)
		INIT_LIST_HEAD(&h->small[i]);
	h->large = RB_ROOT;
	for (i = 0; i < AGES; i++)
		INIT_LIST_HEAD(&h->idle[i]);
	h->epoch_start = h->last_drain;
	h->cached_at = h->last_drain - 1;
	INIT_LIST_HEAD(&h->spare);
	xa_init_flags(&h->bad_callers, XA_FLAGS_LOCK_IRQ);
	spanheap_sites_init(h);
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
	if (!spanheap_nodes_init(h) && !spanheap_prof_create(h) && h->map && h->cover &&
	    h->leaf_backed && h->group_backed && h->release_pages && h->anon && h->orphan)
		err = ops->reserve(h, nr_pages);
	if (!err)
		return h;
	h->ops = NULL;
	spanheap_heap_destroy(h);
	return ERR_PTR(err);
}

/*
 * Called when no other task uses the heap. If pages are still in use, the heap and its
 * arena are leaked, because their users may still access the pages.
 */
void spanheap_heap_destroy(struct spanheap *h)
{
	struct span *s;
	u32 i;

	if (h->ops) {
		spanheap_cache_exit(h);
		flush_work(&h->free_work);
		if (WARN_ON(h->unlisted_pages)) {
			spanheap_nodes_exit(h);
			return;
		}
		spanheap_scavenge(h, 0, U64_MAX);
		/* All pages are free, so they are one span */
		spin_lock_irq(&h->lock);
		s = h->used ? __spanheap_next(h, 0) : NULL;
		if (s) {
			__spanheap_map_clear(h, s);
			__spanheap_drop_record(h, s);
		}
		spin_unlock_irq(&h->lock);
		while (!list_empty(&h->spare)) {
			spanheap_free_record(__spanheap_new_record(h));
			cond_resched();
		}
		h->ops->unreserve(h);
	}
	for (i = 0; h->map && i < h->nr_map_leaves; i++) {
		spanheap_free_leaf(h->map[i]);
		cond_resched();
	}
	xa_destroy(&h->bad_callers);
	spanheap_sites_exit(h);
	spanheap_prof_destroy(h);
	spanheap_nodes_exit(h);
	free_inner_client(h->orphan);
	free_inner_client(h->anon);
	kvfree(h->release_pages);
	kvfree(h->group_backed);
	kvfree(h->leaf_backed);
	kvfree(h->cover);
	kvfree(h->map);
	kvfree(h);
}

/* Walk every invariant. Returns 0, or -EUCLEAN with the reason. */
int spanheap_check(struct spanheap *h, char *why, size_t size)
{
	const char *bad;
	u32 idx;
	int err;

	if (!spanheap_arena_ok(h)) {
		strscpy(why, "the arena is gone: a span was passed to vfree()", size);
		return -EUCLEAN;
	}
	err = spanheap_heap_check(h, why, size);
	if (err)
		return err;
	bad = spanheap_specials_check(h, &idx);
	if (!bad)
		return 0;
	scnprintf(why, size, "%s (before page %u)", bad, idx);
	return -EUCLEAN;
}
