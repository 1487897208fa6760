// SPDX-License-Identifier: GPL-2.0
/*
 * The functions that a driver that comes from vmalloc() looks for. Each is made of functions
 * in the files below.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "spanheap_internal.h"

/* ---- sizes in bytes ---- */

/**
 * spanheap_alloc_bytes() - allocate a span for so many bytes
 * @client: who pays, or NULL
 * @bytes: size in bytes, at least 1; rounded up to pages
 * @gfp: as for spanheap_alloc()
 *
 * For an array, @bytes is array_size(n, size): that saturates at SIZE_MAX, for which
 * there is never a span.
 *
 * Context: As spanheap_alloc().
 * Return: the page-aligned address, or NULL; NULL for 0 and for SIZE_MAX.
 */
void *spanheap_alloc_bytes(struct spanheap_client *client, size_t bytes, gfp_t gfp)
{
	if (!spanheap_heap || IS_ERR(client))
		return NULL;
	return spanheap_heap_alloc(spanheap_heap, client, bytes_to_pages(bytes), 0, 0, gfp,
				   _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_alloc_bytes);

/* ---- small and large in one call ---- */

/**
 * spanheap_kvmalloc() - memory of any size: of the slab allocator, a span, or of vmalloc()
 * @client: who pays for a span, or NULL
 * @bytes: size in bytes
 * @gfp: what kvmalloc() takes
 *
 * Up to a page it is kvmalloc(). Larger sizes are a span; where the heap has none, or @gfp
 * has flags that no span can have, it is kvmalloc() again, which says in the log what fails.
 *
 * Context: As kvmalloc() and spanheap_alloc().
 * Return: the address, to be freed with spanheap_kvfree(); NULL; or, for no bytes, what
 * kvmalloc() returns. More than INT_MAX bytes are refused, as kvmalloc() does.
 */
void *spanheap_kvmalloc(struct spanheap_client *client, size_t bytes, gfp_t gfp)
{
	void *p;

	if (IS_ERR(client))
		return NULL;
	if (spanheap_heap && bytes > PAGE_SIZE && bytes <= INT_MAX && !(gfp & ~GFP_ALLOWED)) {
		/* A failure here is none yet; and it is not for ever, as there is vmalloc() */
		p = spanheap_heap_alloc(spanheap_heap, client, bytes_to_pages(bytes), 0, 0,
					(gfp & ~__GFP_NOFAIL) | __GFP_NOWARN, _RET_IP_);
		if (p)
			return p;
	}
	return kvmalloc(bytes, gfp);
}
EXPORT_SYMBOL_GPL(spanheap_kvmalloc);

/**
 * spanheap_kvfree() - free what spanheap_kvmalloc() returned
 * @addr: that, anything that kvfree() takes, or any span
 *
 * An address of the heap that is no span's is reported as with spanheap_free(), and never
 * gets to vfree().
 *
 * Context: As kvfree().
 */
void spanheap_kvfree(const void *addr)
{
	if (in_heap(addr))
		spanheap_heap_free(spanheap_heap, addr, _RET_IP_);
	else
		kvfree(addr);
}
EXPORT_SYMBOL_GPL(spanheap_kvfree);

/* ---- nodes ---- */

/**
 * spanheap_alloc_node() - allocate a span with memory of a node
 * @client: who pays, or NULL
 * @nr_pages: length in pages, at least 1
 * @gfp: as for spanheap_alloc(). With __GFP_THISNODE all pages are of @node, or there is
 *	no span. Without it the system may take pages of another node, as alloc_pages_node()
 * @node: an online node, or NUMA_NO_NODE: then it is spanheap_alloc()
 *
 * Passes the caches by. Idle pages of other nodes that the span would get are given back
 * to the system first, with a flush of all TLBs. A @gfp that may not block can do no such
 * thing: the span keeps them, or with __GFP_THISNODE there is none. What other functions
 * allocate is of any node, memory included that this one has brought in.
 *
 * Error -22 is logged for a node that is not online, or that has no memory with
 * __GFP_THISNODE.
 *
 * Context: As spanheap_alloc(). Takes the lock of releasers if @gfp may block.
 * Return: the address, or NULL.
 */
void *spanheap_alloc_node(struct spanheap_client *client, size_t nr_pages, gfp_t gfp,
			  int node)
{
	if (!spanheap_heap || IS_ERR(client))
		return NULL;
	return spanheap_heap_alloc_node(spanheap_heap, client, nr_pages, gfp, node, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_alloc_node);

/* ---- pages of a span for a device ---- */

/**
 * spanheap_sg_table() - a scatterlist of all pages of a span
 * @addr: start of an in-use span that the caller holds
 * @sgt: table that holds nothing; ended by the caller with sg_free_table()
 * @gfp: as for spanheap_alloc()
 *
 * Pages that are physical neighbours share an entry. The pages count as shared from now on,
 * as with spanheap_to_page(). The table takes no references to them: unmap it from the
 * device before the span is freed.
 *
 * Context: Any but NMI, as @gfp allows.
 * Return: 0; -EINVAL: no in-use span starts at @addr, and @sgt is untouched; -ENOMEM.
 */
int spanheap_sg_table(const void *addr, struct sg_table *sgt, gfp_t gfp)
{
	return spanheap_heap ? spanheap_heap_sg_table(spanheap_heap, addr, sgt, gfp) : -EINVAL;
}
EXPORT_SYMBOL_GPL(spanheap_sg_table);

/* ---- another length ---- */

/**
 * spanheap_realloc() - change the length of a span, elsewhere if need be
 * @addr: start of an in-use span
 * @nr_pages: new length in pages, at least 1
 * @gfp: as for spanheap_alloc()
 *
 * In place where spanheap_resize() can do it. Else the span gets another address, at which
 * its pages are mapped: no byte is copied, however long it is, and all TLBs are flushed.
 * New pages are as from spanheap_alloc(). Client, obj_size, sharing and guard of the span
 * stay as they are; the address of a finalizer may not change, so that a span that has
 * any is resized in place or not at all, and so is one about which a sweep callback is being
 * asked, and any span with a @gfp that may not block.
 *
 * References that others have to pages of the span stay valid: they are the same pages.
 * Addresses in the old place are invalid when it has moved. For a moment the span takes the
 * addresses of both lengths, and is charged for the longer one.
 *
 * Context: As spanheap_alloc(). Until it returns the span must not be accessed or freed, and
 * look-ups do not find it.
 * Return: the address of the span, or NULL with nothing changed: no memory, no addresses,
 * the limit, or what is said above. An @addr at which no in-use span starts, NULL too,
 * counts as an invalid free. It is never freed, for @nr_pages 0 neither.
 */
void *spanheap_realloc(void *addr, size_t nr_pages, gfp_t gfp)
{
	if (!spanheap_heap)
		return NULL;
	return spanheap_heap_realloc(spanheap_heap, addr, nr_pages, gfp, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_realloc);

/* ---- many at once ---- */

/**
 * spanheap_alloc_bulk() - allocate several spans of one length
 * @client: who pays, or NULL
 * @nr_pages: length of each in pages, at least 1
 * @gfp: as for spanheap_alloc()
 * @n: how many
 * @addrs: array of @n addresses, to be written
 *
 * Spans from the CPU's cache cost less than as many calls of spanheap_alloc(); the others
 * cost as much. Ends at the first that cannot be had, which is counted and logged.
 *
 * Context: As spanheap_alloc(). Preemption is off for up to 64 spans at a time.
 * Return: how many spans there are, @n or less: the first elements of @addrs. What is in
 * the others is undefined.
 */
unsigned int spanheap_alloc_bulk(struct spanheap_client *client, size_t nr_pages, gfp_t gfp,
				 unsigned int n, void **addrs)
{
	if (!spanheap_heap || IS_ERR(client))
		return 0;
	return spanheap_heap_alloc_bulk(spanheap_heap, client, nr_pages, gfp, n, addrs, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_alloc_bulk);

/**
 * spanheap_free_bulk() - free several spans
 * @n: how many
 * @addrs: what allocations of any kind returned, or NULL; of any lengths and clients
 *
 * As spanheap_free() of each of them, for less where the CPU's cache takes it. An element
 * that is a bad free is reported, and the others are freed.
 *
 * Context: As spanheap_free(). Preemption is off for up to 64 spans at a time.
 */
void spanheap_free_bulk(unsigned int n, void **addrs)
{
	if (spanheap_heap)
		spanheap_heap_free_bulk(spanheap_heap, n, addrs, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_free_bulk);

/* ---- frees ---- */

/**
 * spanheap_free_rcu() - free a span after a grace period of RCU
 * @addr: what an allocation returned, or NULL
 *
 * Readers in RCU read-side critical sections may use the memory until they leave them.
 * From this call on the span is the heap's: look-ups do not find it, and any further free
 * or resize of it is a bad one. It counts as in use until it is freed.
 *
 * No rcu_barrier() is needed: spanheap_client_unregister() waits for the frees of its
 * client, and a module that allocated without a client is not unloaded before.
 *
 * Context: As spanheap_free(). Takes the heap lock (irqsave). Never allocates, never
 * sleeps, never fails.
 */
void spanheap_free_rcu(const void *addr)
{
	if (spanheap_heap)
		spanheap_heap_free_rcu(spanheap_heap, addr, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_free_rcu);

/* ---- look-ups ---- */

/**
 * spanheap_is_span() - is an address in an in-use span?
 * @addr: any address
 *
 * The counterpart of is_vmalloc_addr(), which is true of any span's address, too: who
 * frees memory of either kind asks this first.
 *
 * Context: Any. Takes no lock; constant time.
 * Return: true if @addr is in an in-use span, as spanheap_nr_pages().
 */
bool spanheap_is_span(const void *addr)
{
	struct span_view v;

	return spanheap_heap && spanheap_heap_lookup(spanheap_heap, addr, &v);
}
EXPORT_SYMBOL_GPL(spanheap_is_span);
