/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arena of a built-in spanheap, on any architecture. compat_reserve() creates all
 * page tables of the range, so that backing allocates none. Included by
 * spanheap_compat.h.
 */
#include <asm/cacheflush.h>

static inline const char *compat_arena_unsupported(void)
{
	return NULL;
}

/* Supplied by the caller: does page belong at addr? */
typedef bool (*compat_ours_fn)(struct page *page, const void *addr, const void *arg);

struct compat_walk {
	struct page **pages;
	u32 done;
	compat_ours_fn ours;
	const void *arg;
};

static inline int compat_pte_exists(pte_t *pte, unsigned long addr, void *data)
{
	return 0;
}

static inline int compat_pte_set(pte_t *pte, unsigned long addr, void *data)
{
	struct compat_walk *w = data;

	if (!pte_none(*pte))
		return -EEXIST;
	set_pte_at(&init_mm, addr, pte, mk_pte(w->pages[w->done++], PAGE_KERNEL));
	return 0;
}

static inline int compat_pte_clear(pte_t *pte, unsigned long addr, void *data)
{
	struct compat_walk *w = data;

	if (!pte_present(*pte) || !pfn_valid(pte_pfn(*pte)) ||
	    !w->ours(pte_page(*pte), (void *)addr, w->arg))
		return -ENOENT;
	w->pages[w->done++] = pte_page(*pte);
	pte_clear(&init_mm, addr, pte);
	return 0;
}

/* compat_set_ptes() and compat_clear_ptes() are described in arena_module.h */
static inline u32 compat_set_ptes(void *addr, struct page **pages, u32 nr)
{
	unsigned long start = (unsigned long)addr, size = nr * PAGE_SIZE;
	struct compat_walk w = { .pages = pages };

	if (!nr)
		return 0;
	apply_to_page_range(&init_mm, start, size, compat_pte_set, &w);
	flush_cache_vmap(start, start + size);
	return w.done;
}

static inline u32 compat_clear_ptes(void *addr, struct page **pages, u32 nr,
				    compat_ours_fn ours, const void *arg)
{
	unsigned long start = (unsigned long)addr, size = nr * PAGE_SIZE;
	struct compat_walk w = { .pages = pages, .ours = ours, .arg = arg };

	flush_cache_vunmap(start, start + size);
	apply_to_page_range(&init_mm, start, size, compat_pte_clear, &w);
	return w.done;
}

static inline void compat_flush_tlb_range(void *start, void *end)
{
	flush_tlb_kernel_range((unsigned long)start, (unsigned long)end);
}

static inline void *compat_reserve(unsigned long nr, struct page *sentinel, void **backend)
{
	struct vm_struct *area = get_vm_area((nr + 1) << PAGE_SHIFT, VM_MAP);

	if (!area)
		return ERR_PTR(-ENOMEM);
	*backend = area;
	if (apply_to_page_range(&init_mm, (unsigned long)area->addr, nr << PAGE_SHIFT,
				compat_pte_exists, NULL) ||
	    compat_set_ptes(area->addr + (nr << PAGE_SHIFT), &sentinel, 1) != 1) {
		free_vm_area(area);
		return ERR_PTR(-ENOMEM);
	}
	return area->addr;
}

static inline void compat_unreserve(void *base, void *backend)
{
	free_vm_area(backend);
}
