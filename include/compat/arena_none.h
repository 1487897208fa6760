/* SPDX-License-Identifier: GPL-2.0 */
/* On other architectures the module refuses to load */
static inline const char *compat_arena_unsupported(void)
{
	return "as a module, spanheap was never tried on this architecture";
}

static inline pte_t *compat_ptes(void *addr, u32 nr, u32 *run)
{
	return NULL;
}

static inline void compat_flush_tlb_range(void *start, void *end) { }
