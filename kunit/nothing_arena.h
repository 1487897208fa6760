/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An arena of addresses without memory, for unit tests and benchmarks: a heap of any size
 * uses no memory, and its pages must not be accessed.
 */
#ifndef _SPANHEAP_NOTHING_ARENA_H
#define _SPANHEAP_NOTHING_ARENA_H

#include <linux/gfp.h>
#include <linux/mm.h>

#include "../spanheap_internal.h"

#define NOTHING_BASE	BIT(40)	/* nothing is mapped from here on */

static struct page *nothing;	/* stands for every page of the arena */

static int nothing_reserve(struct spanheap *h, unsigned long nr)
{
	nothing = nothing ?: alloc_page(GFP_KERNEL);
	h->base = (void *)NOTHING_BASE;
	return nothing ? 0 : -ENOMEM;
}

static void nothing_unreserve(struct spanheap *h)
{
}

static u32 nothing_back(struct spanheap *h, u32 start, u32 nr, gfp_t gfp, int node)
{
	return nr;
}

/* Get a reference for each page, because the releaser puts one */
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

/* Called when the last heap with this arena is destroyed */
static void nothing_done(void)
{
	if (nothing)
		__free_page(nothing);
	nothing = NULL;
}

#endif
