/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page tables and TLBs of arm64, for a loadable module. An entry must be none, and
 * flushed, before another page is mapped there (break before make): the page heap flushes
 * all that it has unmapped before it backs a page there again.
 */
#include <asm/sysreg.h>

static inline const char *compat_arena_unsupported(void)
{
	return NULL;
}

/*
 * The kernel's top page table. TTBR1 has its physical address, of which bits 51:48 are in
 * bits 5:2 where addresses are of 52 bits, the ASID in the top 16 bits, and CnP in bit 0.
 * With fewer virtual address bits than the kernel is built for it points into the table.
 */
static inline pgd_t *compat_kernel_pgd(void)
{
	u64 ttbr = read_sysreg(ttbr1_el1), phys = ttbr & GENMASK_ULL(47, 6);

	if (IS_ENABLED(CONFIG_ARM64_PA_BITS_52))
		phys |= (ttbr & GENMASK_ULL(5, 2)) << 46;
	return phys_to_virt(phys & PAGE_MASK);
}

/* The entries from addr to the end of their page table, at most nr of them */
static inline pte_t *compat_ptes(void *addr, u32 nr, u32 *run)
{
	unsigned long a = (unsigned long)addr;
	pgd_t *pgd = pgd_offset_pgd(compat_kernel_pgd(), a);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(READ_ONCE(*pgd)))
		return NULL;
	p4d = p4d_offset(pgd, a);
	if (p4d_none(READ_ONCE(*p4d)))
		return NULL;
	pud = pud_offset(p4d, a);
	if (pud_none(READ_ONCE(*pud)) || pud_leaf(READ_ONCE(*pud)))
		return NULL;
	pmd = pmd_offset(pud, a);
	if (pmd_none(READ_ONCE(*pmd)) || pmd_leaf(READ_ONCE(*pmd)))
		return NULL;
	*run = min_t(u32, nr, PTRS_PER_PTE - pte_index(a));
	return pte_offset_kernel(pmd, a);
}

/* Broadcast by the hardware: no other CPU is interrupted */
static inline void compat_flush_tlb_range(void *start, void *end)
{
	flush_tlb_kernel_range((unsigned long)start, (unsigned long)end);
}
