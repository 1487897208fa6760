/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arena of a loadable module, with exported symbols and inline functions only. A
 * header for each architecture, included before this one, finds and flushes page table
 * entries: compat_ptes(), compat_flush_tlb_range().
 */

/* Supplied by the caller: does page belong at addr? */
typedef bool (*compat_ours_fn)(struct page *page, const void *addr, const void *arg);

/*
 * Map pages at addr, one by one. Stops at an entry that is not none. Returns how many
 * pages it mapped.
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
 * Unmap nr pages at addr, one by one, and store them in pages[], which may be NULL. Stops
 * at a page for which ours() is false. Returns how many pages it unmapped.
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
 * Reserve addresses for nr pages, with their page tables and with entries that are none.
 * The page behind them maps the sentinel. ERR_PTR(-ENOMEM): no addresses or no memory.
 * ERR_PTR(-EOPNOTSUPP): the walk of the page tables finds an entry that vmap() has not
 * written; that entry and those behind it stay as they are.
 */
static inline void *compat_reserve(unsigned long nr, struct page *sentinel, void **backend)
{
	struct page **pages;
	unsigned long i;
	void *base;
	u32 cleared;

	pages = vmalloc_array(nr + 1, sizeof(*pages));	/* may exceed INT_MAX bytes */
	if (!pages)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i <= nr; i++)
		pages[i] = sentinel;
	base = vmap(pages, nr + 1, VM_MAP, PAGE_KERNEL_RO);
	vfree(pages);
	if (!base)
		return ERR_PTR(-ENOMEM);
	cleared = compat_clear_ptes(base, NULL, nr, compat_is_page, sentinel);
	compat_flush_tlb_range(base, base + nr * PAGE_SIZE);
	if (cleared == nr)
		return base;
	pr_err("page %u of %lu is not mapped as it was reserved: this machine's page tables are not understood\n",
	       cleared, nr);
	vunmap(base);
	return ERR_PTR(-EOPNOTSUPP);
}

/* Called when all entries but the sentinel's are none and flushed */
static inline void compat_unreserve(void *base, void *backend)
{
	vunmap(base);
}
