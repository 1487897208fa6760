/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arena of a loadable module, exported symbols and inline functions only. How an
 * entry is found, written and flushed is in a header for each architecture. Included by
 * spanheap_compat.h.
 */
/* User-Mode Linux has x86's CPUs, but not its page tables */
#if defined(CONFIG_X86_64) && !defined(CONFIG_UML)
#include "arena_x86.h"
#else
#include "arena_none.h"
#endif

/* Does the entry map a page that is in its right place, which only the caller knows? */
typedef bool (*compat_ours_fn)(struct page *page, const void *addr, const void *arg);

/*
 * Map pages at addr, one by one, as long as nothing is mapped there. Returns how many
 * were mapped.
 */
static inline u32 compat_set_ptes(void *addr, struct page **pages, u32 nr)
{
	u32 i, run, done = 0;

	for (; done < nr; done += run) {
		pte_t *pte = compat_ptes(addr + done * PAGE_SIZE, nr - done, &run);

		if (!pte)
			return done;
		for (i = 0; i < run; i++) {
			if (!pte_none(pte[i]))
				return done + i;
			set_pte(pte + i, mk_pte(pages[done + i], PAGE_KERNEL));
		}
	}
	return done;
}

/*
 * Unmap nr pages at addr, one by one, as long as each is ours; they go to pages[],
 * which may be NULL. Returns how many were unmapped.
 */
static inline u32 compat_clear_ptes(void *addr, struct page **pages, u32 nr,
				    compat_ours_fn ours, const void *arg)
{
	u32 i, run, done = 0;

	for (; done < nr; done += run) {
		pte_t *pte = compat_ptes(addr + done * PAGE_SIZE, nr - done, &run);

		if (!pte)
			return done;
		for (i = 0; i < run; i++) {
			void *at = addr + (done + i) * PAGE_SIZE;

			if (!pte_present(pte[i]) || !pfn_valid(pte_pfn(pte[i])) ||
			    !ours(pte_page(pte[i]), at, arg))
				return done + i;
			if (pages)
				pages[done + i] = pte_page(pte[i]);
			set_pte(pte + i, __pte(0));
		}
	}
	return done;
}

static inline bool compat_is_page(struct page *page, const void *addr, const void *arg)
{
	return page == arg;
}

/*
 * Reserve nr pages of addresses with their page tables, and a further page which maps
 * the sentinel. The entries of the others are none. NULL: no addresses or no memory, or
 * the walk of the page tables finds other entries than vmap() made.
 */
static inline void *compat_reserve(unsigned long nr, struct page *sentinel, void **backend)
{
	struct page **pages;
	unsigned long i;
	void *base = NULL;
	u32 cleared;

	pages = vmalloc_array(nr + 1, sizeof(*pages));	/* may be of more than INT_MAX bytes */
	if (!pages)
		return NULL;
	for (i = 0; i <= nr; i++)
		pages[i] = sentinel;
	base = vmap(pages, nr + 1, VM_MAP, PAGE_KERNEL_RO);
	vfree(pages);
	if (!base)
		return NULL;
	cleared = compat_clear_ptes(base, NULL, nr, compat_is_page, sentinel);
	compat_flush_tlb_range(base, base + nr * PAGE_SIZE);
	if (cleared == nr)
		return base;
	pr_err("page %u of %lu is not mapped as it was reserved: this machine's page tables are not understood\n",
	       cleared, nr);
	vunmap(base);
	return NULL;
}

/* By now every entry but the sentinel's is none, and flushed */
static inline void compat_unreserve(void *base, void *backend)
{
	vunmap(base);
}
