/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A module that calls vmalloc() gets spans, with one line in its Kbuild and none in its
 * source:
 *
 *	ccflags-y += -I$(SPANHEAP)/include -include linux/spanheap_vmalloc.h
 *
 * vmalloc(), vzalloc(), __vmalloc(), vmalloc_node(), vmalloc_user(), the functions for
 * arrays, the kvmalloc() family and their frees, kvfree_rcu(), vrealloc(),
 * remap_vmalloc_range(), vmalloc_to_page() and vmalloc_to_pfn() then know spans. Where the
 * heap has no span, the memory is the kernel's, as without this header; so are sizes that
 * vmalloc() refuses, and what kvmalloc() takes from the slab allocator. Any pointer may be
 * freed, whoever allocated it. The module appears as a client with its own name from its
 * first GFP_KERNEL allocation on, until it is unloaded. Its spans count as shared, since
 * the kernel may hold references to their pages that the heap does not see.
 *
 * Spans differ from vmalloc() memory in two ways: no guard page is behind a span, and no other
 * module may pass a span to vfree(), unless that module is built with this header, too.
 *
 * The kernel's names become macros before the kernel's headers declare them, so that those
 * declare the functions below instead. For that reason nothing but <linux/types.h> is
 * included: printk.h would define pr_fmt() before the source does, and a structure that is
 * known where it was not before would change the versions of the symbols that the module
 * exports. genksyms gets to see nothing of this.
 */
#if !defined(_LINUX_SPANHEAP_VMALLOC_H) && !defined(__GENKSYMS__) && !defined(__ASSEMBLY__)
#define _LINUX_SPANHEAP_VMALLOC_H

#include <linux/spanheap_vmalloc_calls.h>

#ifdef MODULE
extern struct module __this_module;
#define SPANHEAP_VM_MODULE	(&__this_module)
#else
#define SPANHEAP_VM_MODULE	((struct module *)0)
#endif

#define SPANHEAP_VM_NO_NODE	(-1)	/* NUMA_NO_NODE */

static inline void *spanheap_vm_vmalloc(unsigned long size)
{
	return spanheap_vm_alloc(SPANHEAP_VM_MODULE, size, false, SPANHEAP_VM_NO_NODE);
}

static inline void *spanheap_vm_vzalloc(unsigned long size)
{
	return spanheap_vm_alloc(SPANHEAP_VM_MODULE, size, true, SPANHEAP_VM_NO_NODE);
}

static inline void *spanheap_vm_vmalloc_node(unsigned long size, int node)
{
	return spanheap_vm_alloc(SPANHEAP_VM_MODULE, size, false, node);
}

static inline void *spanheap_vm_vzalloc_node(unsigned long size, int node)
{
	return spanheap_vm_alloc(SPANHEAP_VM_MODULE, size, true, node);
}

static inline void *spanheap_vm_vmalloc_user(unsigned long size)
{
	return spanheap_vm_alloc_user(SPANHEAP_VM_MODULE, size);
}

static inline void *spanheap_vm___vmalloc(unsigned long size, gfp_t gfp)
{
	return spanheap_vm_alloc_gfp(SPANHEAP_VM_MODULE, size, gfp, false);
}

/* As the kernel's: NULL if the product overflows */
static inline void *spanheap_vm___vmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return spanheap_vm_alloc_gfp(SPANHEAP_VM_MODULE, bytes, gfp, false);
}

static inline void *spanheap_vm___vcalloc(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return spanheap_vm_alloc_gfp(SPANHEAP_VM_MODULE, bytes, gfp, true);
}

static inline void *spanheap_vm_vmalloc_array(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return spanheap_vm_vmalloc(bytes);
}

static inline void *spanheap_vm_vcalloc(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return spanheap_vm_vzalloc(bytes);
}

#define vfree			spanheap_vm_free
#define kvfree			spanheap_kvfree
#define kvfree_sensitive	spanheap_vm_kvfree_sensitive
#define remap_vmalloc_range	spanheap_vm_remap
#define vmalloc_to_page		spanheap_vm_to_page
#define vmalloc_to_pfn		spanheap_vm_to_pfn

#include <compat/vmalloc_names.h>

#endif /* _LINUX_SPANHEAP_VMALLOC_H */
