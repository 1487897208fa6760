/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arena of a built-in spanheap, on any architecture. Reserving walks the
 * range once, so that its page tables exist and backing allocates none.
 * Included by spanheap_compat.h.
 */
#include <asm/cacheflush.h>

static inline int compat_arena_supported(void)
{
	return 0;
}

static inline int compat_pte_none(pte_t *pte, unsigned long addr, void *data)
{
	return 0;
}

static inline int compat_pte_set(pte_t *pte, unsigned long addr, void *data)
{
	struct page ***next = data;

	set_pte_at(&init_mm, addr, pte, mk_pte(*(*next)++, PAGE_KERNEL));
	return 0;
}

static inline int compat_pte_clear(pte_t *pte, unsigned long addr, void *data)
{
	struct page ***next = data;

	*(*next)++ = pte_page(*pte);
	pte_clear(&init_mm, addr, pte);
	return 0;
}

static inline void compat_set_ptes(void *addr, struct page **pages, u32 nr)
{
	unsigned long start = (unsigned long)addr, size = nr * PAGE_SIZE;

	if (!nr)
		return;
	apply_to_page_range(&init_mm, start, size, compat_pte_set, &pages);
	flush_cache_vmap(start, start + size);
}

static inline void compat_clear_ptes(void *addr, struct page **pages, u32 nr)
{
	unsigned long start = (unsigned long)addr, size = nr * PAGE_SIZE;

	flush_cache_vunmap(start, start + size);
	apply_to_page_range(&init_mm, start, size, compat_pte_clear, &pages);
}

static inline void compat_flush_tlb_range(void *start, void *end)
{
	flush_tlb_kernel_range((unsigned long)start, (unsigned long)end);
}

static inline void *compat_reserve(unsigned long nr, void **backend)
{
	struct vm_struct *area = get_vm_area(nr << PAGE_SHIFT, VM_MAP);

	if (!area)
		return NULL;
	*backend = area;
	if (apply_to_page_range(&init_mm, (unsigned long)area->addr,
				nr << PAGE_SHIFT, compat_pte_none, NULL)) {
		free_vm_area(area);
		return NULL;
	}
	return area->addr;
}

static inline void compat_unreserve(void *base, void *backend)
{
	free_vm_area(backend);
}
