/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An arena of addresses only, for one file of the unit tests and one of the benchmark:
 * heaps of any size that take no memory, and whose pages must not be touched.
 */
#ifndef _SPANHEAP_NOTHING_ARENA_H
#define _SPANHEAP_NOTHING_ARENA_H

#include <linux/gfp.h>
#include <linux/mm.h>

#include "../spanheap_internal.h"

#define NOTHING_BASE	BIT(40)	/* where in memory nothing is */

static struct page *nothing;	/* what every page of the arena is */

static int nothing_reserve(struct spanheap *h, unsigned long nr)
{
	nothing = nothing ?: alloc_page(GFP_KERNEL);
	h->base = (void *)NOTHING_BASE;
	return nothing ? 0 : -ENOMEM;
}

static void nothing_unreserve(struct spanheap *h)
{
}

static u32 nothing_back(struct spanheap *h, u32 start, u32 nr, gfp_t gfp)
{
	return nr;
}

/* The releaser drops a reference to each page */
static u32 nothing_unback(struct spanheap *h, u32 start, u32 nr, struct page **pages)
{
	u32 i;

	for (i = 0; i < nr; i++) {
		get_page(nothing);
		pages[i] = nothing;
	}
	return nr;
}

static void nothing_flush(struct spanheap *h, u32 start, u32 end)
{
}

static bool nothing_referenced(struct spanheap *h, u32 start, u32 nr)
{
	return false;
}

static bool nothing_intact(struct spanheap *h)
{
	return true;
}

static const struct arena_ops nothing_ops = {
	.name = "nothing",
	.reserve = nothing_reserve,
	.unreserve = nothing_unreserve,
	.back = nothing_back,
	.unback = nothing_unback,
	.flush = nothing_flush,
	.referenced = nothing_referenced,
	.intact = nothing_intact,
};

/* When the last heap with this arena is gone */
static void nothing_done(void)
{
	if (nothing)
		__free_page(nothing);
	nothing = NULL;
}

#endif
