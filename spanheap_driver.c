// SPDX-License-Identifier: GPL-2.0
/*
 * What a driver that comes from vmalloc() looks for. Each function here is made of those
 * in the files below.
 */
#include <linux/mm.h>
#include <linux/module.h>

#include "spanheap_internal.h"

/* ---- sizes in bytes ---- */

/* Rounded up. No sum, so that nothing overflows: SIZE_MAX is more than any arena has. */
static size_t bytes_to_pages(size_t bytes)
{
	return (bytes >> PAGE_SHIFT) + !!offset_in_page(bytes);
}

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
