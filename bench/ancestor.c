// SPDX-License-Identifier: GPL-2.0
/*
 * The page heap of the Go 1.3 runtime (mheap.c) with its original algorithm:
 * a list for each size below 1 MiB, one list for all larger spans, which it searches from
 * end to end for the best fit, one lock around everything, and one map entry
 * written for each page of a span. It allocates addresses and backs no page.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include "bench.h"

#define LISTS	256u

struct mspan {
	struct list_head list;
	u32 start;
	u32 npages;
	bool inuse;
};

struct mheap {
	spinlock_t lock;	/* everything */
	struct list_head free[LISTS];
	struct list_head large;
	struct mspan **spans;	/* [nr_pages] */
	u32 nr_pages;
	u32 used;
	struct kmem_cache *records;
};

static struct mspan *new_span(struct mheap *h, u32 start, u32 npages)
{
	struct mspan *s = kmem_cache_alloc(h->records, GFP_ATOMIC | __GFP_NOWARN);

	if (!s)
		return NULL;
	INIT_LIST_HEAD(&s->list);
	s->start = start;
	s->npages = npages;
	s->inuse = true;
	return s;
}

static void free_locked(struct mheap *h, struct mspan *s)
{
	struct mspan *t;

	s->inuse = false;
	t = s->start ? h->spans[s->start - 1] : NULL;
	if (t && !t->inuse) {
		s->start = t->start;
		s->npages += t->npages;
		list_del(&t->list);
		kmem_cache_free(h->records, t);
	}
	t = s->start + s->npages < h->used ? h->spans[s->start + s->npages] : NULL;
	if (t && !t->inuse) {
		s->npages += t->npages;
		list_del(&t->list);
		kmem_cache_free(h->records, t);
	}
	h->spans[s->start] = s;
	h->spans[s->start + s->npages - 1] = s;
	list_add(&s->list, s->npages < LISTS ? &h->free[s->npages] : &h->large);
}

static bool grow(struct mheap *h, u32 npage)
{
	u32 ask = max_t(u32, round_up(npage, GROW_UNIT), GROW_MIN);
	struct mspan *s;

	if (ask > h->nr_pages - h->used)
		ask = npage;
	if (ask > h->nr_pages - h->used)
		return false;
	s = new_span(h, h->used, ask);
	if (!s)
		return false;
	h->used += ask;
	free_locked(h, s);
	return true;
}

static struct mspan *best_fit(struct mheap *h, u32 npage)
{
	struct mspan *s, *best = NULL;

	list_for_each_entry(s, &h->large, list)
		if (s->npages >= npage &&
		    (!best || s->npages < best->npages ||
		     (s->npages == best->npages && s->start < best->start)))
			best = s;
	return best;
}

static struct mspan *alloc_locked(struct mheap *h, u32 npage)
{
	struct mspan *s, *t;
	u32 n;

	for (n = npage; n < LISTS; n++) {
		s = list_first_entry_or_null(&h->free[n], struct mspan, list);
		if (s)
			goto found;
	}
	s = best_fit(h, npage);
	if (!s) {
		if (!grow(h, npage))
			return NULL;
		s = best_fit(h, npage);
	}
	if (!s)		/* what grew is on a list, being smaller than 1 MiB */
		return NULL;
found:
	list_del_init(&s->list);
	s->inuse = true;
	if (s->npages > npage) {
		t = new_span(h, s->start + npage, s->npages - npage);
		if (!t) {
			free_locked(h, s);
			return NULL;
		}
		s->npages = npage;
		h->spans[t->start - 1] = s;
		free_locked(h, t);
	}
	for (n = 0; n < npage; n++)
		h->spans[s->start + n] = s;
	return s;
}

static void *ancestor_alloc(void *heap, u32 nr)
{
	struct mheap *h = heap;
	unsigned long flags;
	struct mspan *s;

	spin_lock_irqsave(&h->lock, flags);
	s = alloc_locked(h, nr);
	spin_unlock_irqrestore(&h->lock, flags);
	return s ? (void *)(BENCH_NOWHERE + ((unsigned long)s->start << PAGE_SHIFT)) : NULL;
}

static void ancestor_free(void *heap, void *p, u32 nr)
{
	u32 page = ((unsigned long)p - BENCH_NOWHERE) >> PAGE_SHIFT;
	struct mheap *h = heap;
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	free_locked(h, h->spans[page]);
	spin_unlock_irqrestore(&h->lock, flags);
}

static void ancestor_destroy(void *heap)
{
	struct mheap *h = heap;
	u32 i;

	for (i = 0; i < h->used;) {
		struct mspan *s = h->spans[i];

		i += s->npages;
		kmem_cache_free(h->records, s);
	}
	kmem_cache_destroy(h->records);
	vfree(h->spans);
	kfree(h);
}

static void *ancestor_create(unsigned long nr_pages)
{
	struct mheap *h = kzalloc(sizeof(*h), GFP_KERNEL);
	u32 i;

	if (!h)
		return NULL;
	spin_lock_init(&h->lock);
	for (i = 0; i < LISTS; i++)
		INIT_LIST_HEAD(&h->free[i]);
	INIT_LIST_HEAD(&h->large);
	h->nr_pages = nr_pages;
	h->records = kmem_cache_create("spanheap_bench_mspan", sizeof(struct mspan),
				       0, 0, NULL);
	h->spans = vzalloc(nr_pages * sizeof(*h->spans));
	if (h->records && h->spans)
		return h;
	ancestor_destroy(h);
	return NULL;
}

const struct bench_heap_ops bench_ancestor = {
	.name = "ancestor",
	.create = ancestor_create,
	.destroy = ancestor_destroy,
	.alloc = ancestor_alloc,
	.free = ancestor_free,
};
