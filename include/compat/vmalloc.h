/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's functions that make memory longer, and frees that newer kernels have */
#ifndef _SPANHEAP_COMPAT_VMALLOC_H
#define _SPANHEAP_COMPAT_VMALLOC_H

#include <linux/slab.h>
#include <linux/vmalloc.h>

/* kvrealloc() lost the old size in 6.12 */
static inline void *compat_kvrealloc(const void *p, size_t old, size_t size, gfp_t gfp)
{
#if defined(SPANHEAP_NEW_KVREALLOC) == defined(SPANHEAP_OLD_KVREALLOC)
#error "include/compat/probe.mk cannot tell which kvrealloc() this kernel has"
#elif defined(SPANHEAP_NEW_KVREALLOC)
	return kvrealloc(p, size, gfp);
#else
	return kvrealloc(p, old, size, gfp);
#endif
}

/* kvfree_atomic() came with 7.x */
static inline void compat_kvfree_atomic(const void *p)
{
#ifdef SPANHEAP_NEW_KVFREE_ATOMIC
	kvfree_atomic(p);
#else
	kvfree(p);
#endif
}

#endif /* _SPANHEAP_COMPAT_VMALLOC_H */
