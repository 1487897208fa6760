/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arena of a loadable module on x86-64: page tables through
 * lookup_address(), exported symbols only. Included by spanheap_compat.h.
 */
/* User-Mode Linux has x86's CPUs, but not its page tables */
#if !defined(CONFIG_X86_64) || defined(CONFIG_UML)

static inline int compat_arena_supported(void)
{
	return -EOPNOTSUPP;
}

static inline void *compat_reserve(unsigned long nr, void **backend)
{
	return NULL;
}

static inline void compat_unreserve(void *base, void *backend) { }
static inline void compat_set_ptes(void *addr, struct page **pages, u32 nr) { }
static inline void compat_clear_ptes(void *addr, struct page **pages, u32 nr) { }
static inline void compat_flush_tlb_range(void *start, void *end) { }

#else

#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/invpcid.h>

/* A Xen PV guest's page tables belong to the hypervisor */
static inline int compat_arena_supported(void)
{
	return boot_cpu_has(X86_FEATURE_XENPV) ? -EOPNOTSUPP : 0;
}

/* The entries from addr to the end of their page table, at most nr of them */
static inline pte_t *compat_ptes(void *addr, u32 nr, u32 *run)
{
	unsigned long a = (unsigned long)addr;
	unsigned int level;
	pte_t *pte = lookup_address(a, &level);

	if (WARN_ON_ONCE(!pte || level != PG_LEVEL_4K))
		return NULL;
	*run = min_t(u32, nr, PTRS_PER_PTE - pte_index(a));
	return pte;
}

static inline void compat_set_ptes(void *addr, struct page **pages, u32 nr)
{
	u32 i, run;

	for (; nr; nr -= run, addr += run * PAGE_SIZE) {
		pte_t *pte = compat_ptes(addr, nr, &run);

		if (!pte)
			return;
		for (i = 0; i < run; i++)
			set_pte(pte + i, mk_pte(*pages++, PAGE_KERNEL));
	}
}

/* pages may be NULL: the caller does not want to know them */
static inline void compat_clear_ptes(void *addr, struct page **pages, u32 nr)
{
	u32 i, run;

	for (; nr; nr -= run, addr += run * PAGE_SIZE) {
		pte_t *pte = compat_ptes(addr, nr, &run);

		if (!pte)
			return;
		for (i = 0; i < run; i++) {
			if (pages)
				*pages++ = pte_page(pte[i]);
			set_pte(pte + i, __pte(0));
		}
	}
}

/*
 * What the kernel's __flush_tlb_all() does, which modules cannot call since 6.19.
 * Kernel mappings are global: a flush that keeps global entries will not do.
 */
static inline void compat_flush_local(void *unused)
{
	unsigned long flags, cr4;

	if (boot_cpu_has(X86_FEATURE_INVPCID)) {
		invpcid_flush_all();
		return;
	}
	/* An interrupt between read and write might change another bit */
	local_irq_save(flags);
	asm volatile("mov %%cr4,%0" : "=r" (cr4));
	asm volatile("mov %0,%%cr4" : : "r" (cr4 ^ X86_CR4_PGE) : "memory");
	asm volatile("mov %0,%%cr4" : : "r" (cr4) : "memory");
	local_irq_restore(flags);
}

static inline void compat_flush_tlb_range(void *start, void *end)
{
	on_each_cpu(compat_flush_local, NULL, 1);
}

static inline void *compat_reserve(unsigned long nr, void **backend)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	struct page **pages;
	unsigned long i;
	void *base = NULL;

	if (!page)
		return NULL;
	pages = vmalloc_array(nr, sizeof(*pages));	/* may be of more than INT_MAX bytes */
	if (pages) {
		for (i = 0; i < nr; i++)
			pages[i] = page;
		base = vmap(pages, nr, VM_MAP, PAGE_KERNEL_RO);
		vfree(pages);
	}
	if (base) {
		compat_clear_ptes(base, NULL, nr);
		compat_flush_tlb_range(base, base + nr * PAGE_SIZE);
	}
	__free_page(page);
	return base;
}

/* By now every entry is none, and flushed */
static inline void compat_unreserve(void *base, void *backend)
{
	vunmap(base);
}

#endif
