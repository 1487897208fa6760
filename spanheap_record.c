// SPDX-License-Identifier: GPL-2.0
/*
 * Memory for span records and map leaves. The page heap allocates nothing under its
 * lock: callers allocate beforehand, with their own gfp, what an operation may need.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "spanheap_internal.h"

#define SPARE_KEEP	64u	/* spare records that a trim keeps */

static struct kmem_cache *span_cache;
struct workqueue_struct *spanheap_wq;	/* completes deferred frees */

/* The constructor runs once per slab object, so a reused record keeps its count of uses */
static void init_record(void *record)
{
	memset(record, 0, sizeof(struct span));
}

int spanheap_span_cache_create(void)
{
	span_cache = kmem_cache_create("spanheap_span", sizeof(struct span), 0,
				       SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN, init_record);
	spanheap_wq = alloc_workqueue("spanheap_free", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (span_cache && spanheap_wq)
		return 0;
	spanheap_span_cache_destroy();
	return -ENOMEM;
}

void spanheap_span_cache_destroy(void)
{
	if (spanheap_wq)
		destroy_workqueue(spanheap_wq);
	kmem_cache_destroy(span_cache);
}

void spanheap_free_leaf(struct map_leaf *leaf)
{
	kfree(leaf->span);
	kfree(leaf);
}

static struct map_leaf *new_leaf(gfp_t gfp)
{
	struct map_leaf *leaf = kzalloc(sizeof(*leaf), gfp);

	if (!leaf)
		return NULL;
	/* kzalloc(), not a page: kmemleak does not scan pages for pointers */
	leaf->span = kzalloc(LEAF_TABLE_BYTES, gfp);
	if (!leaf->span) {
		kfree(leaf);
		return NULL;
	}
	return leaf;
}

/* Add nr records to a list, or as many as there is memory for. Returns how many. */
u32 spanheap_alloc_records(struct list_head *records, u32 nr, gfp_t gfp)
{
	u32 n;

	for (n = 0; n < nr; n++) {
		struct span *s = kmem_cache_alloc(span_cache, gfp);

		if (!s)
			break;
		/* No memset: a reader may still read the record of its previous use */
		s->specials = RB_ROOT;
		list_add(&s->list, records);
		if (gfpflags_allow_blocking(gfp))
			cond_resched();
	}
	return n;
}

/*
 * Allocate into p enough records for any operation, and p->want_leaves leaves. Called
 * without the heap lock. False: there is no memory, or the task is being killed.
 */
bool spanheap_prep_more(struct prep *p, gfp_t gfp)
{
	const u32 want = SPARE_RESERVE + CARVE_RECORDS;

	gfp = (gfp & GFP_META) | __GFP_NOWARN;
	p->nr_records += spanheap_alloc_records(&p->records, want - p->nr_records, gfp);
	if (p->nr_records < want)
		return false;
	while (p->nr_leaves < p->want_leaves) {
		struct map_leaf *leaf;

		if (p->nr_leaves && spanheap_killed(gfp))
			return false;
		leaf = new_leaf(gfp);
		if (!leaf)
			return false;
		if (gfpflags_allow_blocking(gfp))
			cond_resched();
		leaf->next = p->leaves;
		p->leaves = leaf;
		p->nr_leaves++;
	}
	return true;
}

/* End an operation: give unused records to the heap and free unused leaves */
void spanheap_prep_done(struct spanheap *h, struct prep *p)
{
	unsigned long flags;

	if (!list_empty(&p->records)) {
		spin_lock_irqsave(&h->lock, flags);
		__spanheap_absorb(h, p);
		spin_unlock_irqrestore(&h->lock, flags);
	}
	while (p->leaves) {
		struct map_leaf *leaf = p->leaves;

		p->leaves = leaf->next;
		spanheap_free_leaf(leaf);
	}
}

void spanheap_free_record(struct span *s)
{
	kmem_cache_free(span_cache, s);
}

/* Move up to HOLD_SPANS surplus spare records to a list. Returns how many it moved. */
static u32 spare_records(struct spanheap *h, struct list_head *records)
{
	unsigned long flags;
	u32 n = 0;

	spin_lock_irqsave(&h->lock, flags);
	for (; n < HOLD_SPANS && h->nr_spare > SPARE_KEEP; n++) {
		steps_done(1);
		list_add(&__spanheap_new_record(h)->list, records);
		h->nr_records--;
	}
	spin_unlock_irqrestore(&h->lock, flags);
	return n;
}

/* Free the surplus records that coalescing leaves. The scavenger calls this. */
void spanheap_trim_records(struct spanheap *h)
{
	struct span *s, *next;
	LIST_HEAD(records);

	while (spare_records(h, &records)) {
		list_for_each_entry_safe(s, next, &records, list)
			spanheap_free_record(s);
		INIT_LIST_HEAD(&records);
		cond_resched();
	}
}
