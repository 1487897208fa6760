/* SPDX-License-Identifier: GPL-2.0 */
/* Page tables and TLBs of x86-64, for a loadable module */
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/invpcid.h>

/* In a Xen PV guest the hypervisor owns the page tables */
static inline const char *compat_arena_unsupported(void)
{
	return boot_cpu_has(X86_FEATURE_XENPV) ?
	       "a Xen PV guest's page tables are the hypervisor's" : NULL;
}

/* The entry of addr. *run: the number of entries from there in its page table, at most nr. */
static inline pte_t *compat_ptes(void *addr, u32 nr, u32 *run)
{
	unsigned long a = (unsigned long)addr;
	unsigned int level;
	pte_t *pte = lookup_address(a, &level);

	if (!pte || level != PG_LEVEL_4K)
		return NULL;
	*run = min_t(u32, nr, PTRS_PER_PTE - pte_index(a));
	return pte;
}

/*
 * Flush this CPU's TLB as __flush_tlb_all() does, which modules cannot call since 6.19.
 * Kernel mappings are global, so the flush must include global entries.
 */
static inline void compat_flush_local(void *unused)
{
	unsigned long flags, cr4;

	if (boot_cpu_has(X86_FEATURE_INVPCID)) {
		invpcid_flush_all();
		return;
	}
	/* An interrupt between the read and the writes could change another bit of CR4 */
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
