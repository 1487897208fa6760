// SPDX-License-Identifier: GPL-2.0
/*
 * The heap's part in the system's counters: idle pages with memory count as reclaimable memory
 * of the kernel (NR_KERNEL_MISC_RECLAIMABLE), and therefore in KReclaimable and MemAvailable.
 *
 * The sum over all nodes is the number of idle pages. No counter says on which nodes these
 * are, so each node gets a share in proportion to its share of all pages of the heap.
 *
 * The heap updates the counter after COUNT_PAGES pages have come or gone, and at each tick of
 * the scavenger, because caches take and give pages without the heap lock.
 */
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/slab.h>
#include <linux/vmstat.h>

#include "spanheap_internal.h"

u64 spanheap_limit_bytes;

struct node_pages {
	atomic_long_t backed;		/* pages of the heap on this node */
	long counted;			/* share in the system's counter; spanheap.counting */
};

size_t spanheap_nodes_bytes(void)
{
	return nr_node_ids * sizeof(struct node_pages);
}

int spanheap_nodes_init(struct spanheap *h)
{
	h->nodes = kcalloc(nr_node_ids, sizeof(*h->nodes), GFP_KERNEL);
	return h->nodes ? 0 : -ENOMEM;
}

/* Count pages that were backed, or unbacked. Called by their owner, in any context. */
void spanheap_count_nodes(struct spanheap *h, struct page **pages, u32 nr, bool backed)
{
	u32 i = 0, first;
	int nid;

	while (i < nr) {
		first = i;
		nid = page_to_nid(pages[i]);
		while (++i < nr && page_to_nid(pages[i]) == nid)
			;
		atomic_long_add(backed ? i - first : -(long)(i - first), &h->nodes[nid].backed);
	}
}

/* Pages in caches; sums over all CPUs at most once in a tick of the clock */
s64 spanheap_cached_lately(struct spanheap *h)
{
	unsigned long now = h->clock();

	if (READ_ONCE(h->cached_at) != now) {
		WRITE_ONCE(h->cached_guess, heap_cached(h));
		WRITE_ONCE(h->cached_at, now);
	}
	return READ_ONCE(h->cached_guess);
}

static void set_counted(struct spanheap *h, int nid, long pages)
{
	long change = pages - h->nodes[nid].counted;

	if (!change)
		return;
	h->nodes[nid].counted = pages;
	mod_node_page_state(NODE_DATA(nid), NR_KERNEL_MISC_RECLAIMABLE, change);
}

/* Distribute idle pages to the nodes. Rounding leaves nothing over: the last gets the rest. */
static void count_shares(struct spanheap *h, s64 idle)
{
	s64 backed, all = 0, share;
	u32 nid;

	for (nid = 0; nid < nr_node_ids; nid++)
		all += atomic_long_read(&h->nodes[nid].backed);
	idle = min(idle, all);
	for (nid = 0; nid < nr_node_ids; nid++) {
		backed = min_t(s64, atomic_long_read(&h->nodes[nid].backed), all);
		share = backed > 0 ? div64_s64(idle * backed, all) : 0;
		set_counted(h, nid, share);
		idle -= share;
		all -= backed;
	}
}

/*
 * Update the system's counter, in any context but NMI. If another CPU is updating it, this
 * call does nothing: the next update counts what the other CPU has missed. "counting" is a lock:
 * the release of its end pairs with the atomic_xchg() of the next update, which thus sees
 * the counts.
 */
void spanheap_count_idle(struct spanheap *h)
{
	s64 listed, cached;

	if (atomic_xchg(&h->counting, 1))
		return;
	listed = heap_listed(h);
	cached = spanheap_cached_lately(h);
	WRITE_ONCE(h->counted_listed, listed);
	count_shares(h, max_t(s64, listed + cached, 0));
	atomic_set_release(&h->counting, 0);
}

/* Pages of this heap in the system's counter; for tests */
s64 spanheap_counted(struct spanheap *h)
{
	s64 sum = 0;
	u32 nid;

	for (nid = 0; nid < nr_node_ids; nid++)
		sum += READ_ONCE(h->nodes[nid].counted);
	return sum;
}

/* Take the heap's pages out of the system's counter. Nobody uses the heap any more. */
void spanheap_nodes_exit(struct spanheap *h)
{
	if (h->nodes)
		count_shares(h, 0);
	kfree(h->nodes);
}
