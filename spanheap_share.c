// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of spans in other hands: user space mappings, DMA, other subsystems.
 *
 * A span is marked before the first of its pages is handed out. Its free then looks for
 * references other than the heap's and drops such pages, see spanheap_must_drop(). The
 * free of a span that is not marked pays nothing for it.
 */
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <compat/spanheap_compat.h>

#include "spanheap_internal.h"

/* The in-use span with addr is shared from now on; false: there is none */
bool spanheap_mark_shared(struct spanheap *h, const void *addr)
{
	bool marked = false;
	struct span_view v;
	struct span *s;

	rcu_read_lock();	/* keeps the record a record */
	s = spanheap_span_guess(h, addr);
	if (s && spanheap_heap_lookup(h, addr, &v)) {
		/* Marked before the free is sent to the heap lock, where it looks at the mark */
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

	if (!spanheap_heap_lookup(h, addr, &v) || page_addr(h, v.start) != addr ||
	    pgoff > v.nr_pages || nr > v.nr_pages - pgoff || !spanheap_mark_shared(h, addr))
		return -EINVAL;
	compat_vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	for (addr += pgoff << PAGE_SHIFT; nr && !err; nr--) {
		err = vm_insert_page(vma, uaddr, vmalloc_to_page(addr));
		uaddr += PAGE_SIZE;
		addr += PAGE_SIZE;
	}
	return err;
}
