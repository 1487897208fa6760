// SPDX-License-Identifier: GPL-2.0
/*
 * The arena: reserve addresses, back and unback pages. Only this file touches page
 * tables and TLBs.
 *
 * A loadable module can use neither init_mm nor get_vm_area(). The module reserves its
 * range with vmap() of one page repeated, which also builds every page table of the
 * range, and then clears the entries. To back a page is then one store into an existing
 * page table. Only the page itself is allocated, so any gfp is honoured.
 *
 * This file takes no locks: a page of the arena has one owner at a time, and each entry
 * of a page table is a word of its own.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <compat/spanheap_compat.h>

#include "spanheap_internal.h"

#define BACK_BATCH	32u

/*
 * Allocate up to BACK_BATCH pages. The bulk allocator may stop early although the system
 * has more pages, so single allocations get the rest.
 */
static u32 get_pages(struct page **pages, u32 nr, gfp_t gfp, int node)
{
	u32 got;

	memset(pages, 0, nr * sizeof(*pages));
	got = nr > 1 ? compat_alloc_pages_bulk(gfp, node, nr, pages) : 0;
	for (; got < nr; got++) {
		/* Without a node the task's memory policy decides */
		pages[got] = node == NUMA_NO_NODE ? alloc_page(gfp) :
						    alloc_pages_node(node, gfp, 0);
		if (!pages[got])
			break;
	}
	return got;
}

/*
 * page_private() of a page is the address at which the arena maps it. So an entry that
 * maps another page is noticed before it is cleared.
 */
static bool is_mapped_here(struct page *page, const void *addr, const void *unused)
{
	return page_private(page) == (unsigned long)addr;
}

/* Back up to BACK_BATCH pages. Returns how many pages it backed. */
static u32 back_batch(struct spanheap *h, void *addr, u32 nr, gfp_t gfp, int node)
{
	struct page *pages[BACK_BATCH];
	u32 got = get_pages(pages, nr, gfp, node), set, i;

	for (i = 0; i < got; i++)
		set_page_private(pages[i], (unsigned long)addr + i * PAGE_SIZE);
	set = compat_set_ptes(addr, pages, got);
	spanheap_count_nodes(h, pages, set, true);
	if (set < got)
		WRITE_ONCE(h->odd_entry, true);
	for (i = set; i < got; i++) {
		set_page_private(pages[i], 0);
		__free_page(pages[i]);
	}
	return set;
}

static u32 arena_back(struct spanheap *h, u32 start, u32 nr, gfp_t gfp, int node)
{
	bool may_block = gfpflags_allow_blocking(gfp);
	u32 done = 0;

	while (done < nr) {
		u32 want = min(nr - done, BACK_BATCH);
		u32 got = back_batch(h, page_addr(h, start + done), want, gfp, node);

		done += got;
		if (got < want)
			break;
		if (!may_block)
			continue;
		/* A victim of the OOM killer gets no more pages, as in vmalloc() */
		if (spanheap_killed(gfp))
			break;
		cond_resched();
	}
	return done;
}

static int arena_node(struct spanheap *h, u32 idx)
{
	return page_to_nid(vmalloc_to_page(page_addr(h, idx)));
}

static u32 arena_unback(struct spanheap *h, u32 start, u32 nr, struct page **pages)
{
	u32 done = compat_clear_ptes(page_addr(h, start), pages, nr, is_mapped_here, NULL), i;

	for (i = 0; i < done; i++)
		set_page_private(pages[i], 0);
	spanheap_count_nodes(h, pages, done, false);
	if (done < nr)
		WRITE_ONCE(h->odd_entry, true);
	return done;
}

/* Up to BACK_BATCH pages */
static u32 move_batch(struct spanheap *h, void *from, void *to, u32 nr)
{
	struct page *pages[BACK_BATCH];
	u32 got = compat_clear_ptes(from, pages, nr, is_mapped_here, NULL), set, i;

	for (i = 0; i < got; i++)
		set_page_private(pages[i], (unsigned long)to + i * PAGE_SIZE);
	set = compat_set_ptes(to, pages, got);
	if (set < nr)
		WRITE_ONCE(h->odd_entry, true);
	return set;
}

static u32 arena_move(struct spanheap *h, u32 from, u32 to, u32 nr)
{
	u32 done, n, moved;

	for (done = 0; done < nr; done += n) {
		n = min(nr - done, BACK_BATCH);
		moved = move_batch(h, page_addr(h, from + done), page_addr(h, to + done), n);
		if (moved < n)
			return done + moved;
		cond_resched();
	}
	return done;
}

static void arena_flush(struct spanheap *h, u32 start, u32 end)
{
	compat_flush_tlb_range(page_addr(h, start), page_addr(h, end));
}

/*
 * vfree() of the address of a span unmaps the whole arena, and others may get its
 * addresses. Then the sentinel is no longer mapped behind the last page.
 */
static bool arena_intact(struct spanheap *h)
{
	return !READ_ONCE(h->odd_entry) &&
	       vmalloc_to_page(page_addr(h, h->arena_pages)) == h->sentinel;
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
	const char *why = compat_arena_refused();

	if (why) {
		pr_err("this machine gives a module no way to release pages: %s\n", why);
		return -EOPNOTSUPP;
	}
	h->sentinel = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!h->sentinel)
		return -ENOMEM;
	h->base = compat_reserve(nr_pages, h->sentinel, &h->backend);
	if (!IS_ERR(h->base))
		return 0;
	__free_page(h->sentinel);
	return PTR_ERR(h->base);
}

/* vfree() has already freed the addresses of a lost arena */
static void arena_unreserve(struct spanheap *h)
{
	if (!atomic_read(&h->lost))
		compat_unreserve(h->base, h->backend);
	__free_page(h->sentinel);
}

const struct arena_ops spanheap_arena_ops = {
	.name = "vmalloc space",
	.reserve = arena_reserve,
	.unreserve = arena_unreserve,
	.back = arena_back,
	.node = arena_node,
	.unback = arena_unback,
	.move = arena_move,
	.flush = arena_flush,
	.referenced = arena_referenced,
	.intact = arena_intact,
};

/* Clear pages, unless the arena is lost: others may have its addresses by now */
void spanheap_clear(struct spanheap *h, u32 idx, u32 nr, bool may_sleep)
{
	if (unlikely(atomic_read(&h->lost)))
		return;
	steps_begin(STEPS_CLEAR, h);
	for (; nr; idx++, nr--) {
		clear_page(page_addr(h, idx));
		steps_done(1);
		if (!may_sleep)
			continue;
		cond_resched();
		steps_begin(STEPS_CLEAR, h);
	}
	steps_end(STEPS_CLEAR, h);
}
