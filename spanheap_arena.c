// SPDX-License-Identifier: GPL-2.0
/*
 * The arena: reserve addresses, back and unback pages. The only file that
 * touches page tables and TLBs.
 *
 * A loadable module has neither init_mm nor get_vm_area(). It reserves with
 * vmap() of one page repeated, which also builds every page table of the range,
 * and clears the entries. Backing a page is then one store into a page table
 * that exists: it allocates the page and nothing else, and so keeps to any gfp.
 *
 * Concurrency: the page heap gives each page one owner at a time, and neighbours
 * in a page table are separate words, so nothing here locks.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <compat/spanheap_compat.h>

#include "spanheap_internal.h"

#define BACK_BATCH	32u

/* Up to BACK_BATCH pages. The bulk allocator may give fewer than there are. */
static u32 get_pages(struct page **pages, u32 nr, gfp_t gfp)
{
	u32 got;

	memset(pages, 0, nr * sizeof(*pages));
	got = nr > 1 ? compat_alloc_pages_bulk(gfp, nr, pages) : 0;
	for (; got < nr; got++) {
		pages[got] = alloc_page(gfp);
		if (!pages[got])
			break;
	}
	return got;
}

static u32 arena_back(struct spanheap *h, u32 start, u32 nr, gfp_t gfp)
{
	struct page *pages[BACK_BATCH];
	u32 done = 0;

	while (done < nr) {
		u32 want = min(nr - done, BACK_BATCH);
		u32 got = get_pages(pages, want, gfp);

		compat_set_ptes(page_addr(h, start + done), pages, got);
		done += got;
		if (got < want)
			break;
		if (gfpflags_allow_blocking(gfp))
			cond_resched();
	}
	return done;
}

static u32 arena_unback(struct spanheap *h, u32 start, u32 nr, struct page **pages)
{
	compat_clear_ptes(page_addr(h, start), pages, nr);
	return nr;
}

static void arena_flush(struct spanheap *h, u32 start, u32 end)
{
	compat_flush_tlb_range(page_addr(h, start), page_addr(h, end));
}

static bool arena_referenced(struct spanheap *h, u32 start, u32 nr)
{
	for (; nr; start++, nr--)
		if (page_count(vmalloc_to_page(page_addr(h, start))) > 1)
			return true;
	return false;
}

static int arena_reserve(struct spanheap *h, unsigned long nr_pages)
{
	int err = compat_arena_supported();

	if (err) {
		pr_err("this machine gives a module no way to release pages\n");
		return err;
	}
	h->base = compat_reserve(nr_pages, &h->backend);
	return h->base ? 0 : -ENOMEM;
}

static void arena_unreserve(struct spanheap *h)
{
	compat_unreserve(h->base, h->backend);
}

const struct arena_ops spanheap_arena_ops = {
	.name = "vmalloc space",
	.reserve = arena_reserve,
	.unreserve = arena_unreserve,
	.back = arena_back,
	.unback = arena_unback,
	.flush = arena_flush,
	.referenced = arena_referenced,
};

void spanheap_clear(struct spanheap *h, u32 idx, u32 nr, bool may_sleep)
{
	for (; nr; idx++, nr--) {
		clear_page(page_addr(h, idx));
		if (may_sleep)
			cond_resched();
	}
}
