// SPDX-License-Identifier: GPL-2.0
/*
 * Shared pages of spans: user space mappings, DMA, other subsystems.
 *
 * A span is marked before its first page is shared. Its free then looks for references
 * other than the heap's and drops referenced pages from the heap, see spanheap_must_drop().
 * The free of a span without the mark pays nothing for this.
 */
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <compat/spanheap_compat.h>

#include "spanheap_internal.h"

/* Mark the in-use span that holds addr as shared. False: there is no such span. */
bool spanheap_mark_shared(struct spanheap *h, const void *addr)
{
	bool marked = false;
	struct span_view v;
	struct span *s;

	rcu_read_lock();	/* the record's memory stays a record */
	s = spanheap_span_guess(h, addr);
	if (s && spanheap_heap_lookup(h, addr, &v)) {
		/*
		 * Mark before SPAN_SLOW is set: a free that sees SPAN_SLOW reads the mark. The
		 * cmpxchg() in span_set_slow() pairs with that of the claim.
		 */
		WRITE_ONCE(s->shared, true);
		marked = span_set_slow(s);
	}
	rcu_read_unlock();
	return marked;
}

struct page *spanheap_heap_to_page(struct spanheap *h, const void *addr)
{
	return spanheap_mark_shared(h, addr) ? vmalloc_to_page(addr) : NULL;
}

int spanheap_heap_mmap(struct spanheap *h, struct vm_area_struct *vma, const void *addr,
		       unsigned long pgoff)
{
	unsigned long nr = vma_pages(vma), uaddr = vma->vm_start;
	struct span_view v;
	int err = 0;

	if (!lookup_start(h, addr, &v) || pgoff > v.nr_pages || nr > v.nr_pages - pgoff ||
	    !spanheap_mark_shared(h, addr))
		return -EINVAL;
	compat_vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	for (addr += pgoff << PAGE_SHIFT; nr && !err; nr--) {
		err = vm_insert_page(vma, uaddr, vmalloc_to_page(addr));
		uaddr += PAGE_SIZE;
		addr += PAGE_SIZE;
	}
	return err;
}

/* How many of nr pages from addr on are one piece of memory that an entry can hold */
static u32 contiguous(const void *addr, u32 nr)
{
	unsigned long pfn = vmalloc_to_pfn(addr);
	u32 n = 1;

	nr = min_t(u32, nr, UINT_MAX >> PAGE_SHIFT);
	while (n < nr && vmalloc_to_pfn(addr + n * PAGE_SIZE) == pfn + n)
		n++;
	return n;
}

int spanheap_heap_sg_table(struct spanheap *h, const void *addr, struct sg_table *sgt, gfp_t gfp)
{
	struct scatterlist *sg;
	struct span_view v;
	u32 i, n, entries;
	int err;

	spanheap_might_alloc(gfp);
	if (!lookup_start(h, addr, &v) || !spanheap_mark_shared(h, addr))
		return -EINVAL;
	for (i = 0, entries = 0; i < v.nr_pages; entries++)
		i += contiguous(addr + i * PAGE_SIZE, v.nr_pages - i);
	err = sg_alloc_table(sgt, entries, gfp & (GFP_META | __GFP_NOWARN));
	if (err)
		return err;
	sg = sgt->sgl;
	for (i = 0; i < v.nr_pages; i += n, sg = sg_next(sg)) {
		n = contiguous(addr + i * PAGE_SIZE, v.nr_pages - i);
		sg_set_page(sg, vmalloc_to_page(addr + i * PAGE_SIZE), n << PAGE_SHIFT, 0);
	}
	return 0;
}
