/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Of <linux/spanheap_vmalloc.h>: the names of the kernel's functions that the kernel being
 * built for has, and those functions whose arguments differ between kernels. A client's
 * Kbuild has no probes; where none of these fits, the compiler says "conflicting types".
 */
#include <linux/version.h>

/*
 * With TINY_RCU, kfree_rcu() gives call_rcu() an offset, and the kernel frees the object
 * itself: no macro can send that free to the heap
 */
#ifdef CONFIG_TINY_RCU
#error "<linux/spanheap_vmalloc.h> needs a kernel with CONFIG_TREE_RCU"
#endif

#include <linux/version.h>

struct kmem_cache;

/*
 * Since 6.10 these are macros, around functions of other names, with what allocation
 * profiling needs
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)

#define vmalloc_noprof		spanheap_vm_vmalloc
#define vzalloc_noprof		spanheap_vm_vzalloc
#define vmalloc_node_noprof	spanheap_vm_vmalloc_node
#define vzalloc_node_noprof	spanheap_vm_vzalloc_node
#define vmalloc_user_noprof	spanheap_vm_vmalloc_user
#define __vmalloc_noprof	spanheap_vm___vmalloc
#define __vmalloc_array_noprof	spanheap_vm___vmalloc_array
#define vmalloc_array_noprof	spanheap_vm_vmalloc_array
#define __vcalloc_noprof	spanheap_vm___vcalloc
#define vcalloc_noprof		spanheap_vm_vcalloc

#else

#define vmalloc			spanheap_vm_vmalloc
#define vzalloc			spanheap_vm_vzalloc
#define vmalloc_node		spanheap_vm_vmalloc_node
#define vzalloc_node		spanheap_vm_vzalloc_node
#define vmalloc_user		spanheap_vm_vmalloc_user
#define __vmalloc		spanheap_vm___vmalloc
#define __vmalloc_array		spanheap_vm___vmalloc_array
#define vmalloc_array		spanheap_vm_vmalloc_array
#define __vcalloc		spanheap_vm___vcalloc
#define vcalloc			spanheap_vm_vcalloc

#endif

/*
 * kvmalloc() and its relatives are made of one function. Buckets are an array of caches that
 * the kernel's headers declare later.
 */
#ifdef CONFIG_SLAB_BUCKETS
#define SPANHEAP_VM_BUCKETS	, struct kmem_cache *(*buckets)[CONFIG_PAGE_SHIFT + 2]
#else
#define SPANHEAP_VM_BUCKETS
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)

#define kvmalloc_node		spanheap_vm_kvmalloc_node
static inline void *spanheap_vm_kvmalloc_node(size_t size, gfp_t gfp, int node)
{
	return spanheap_vm_kvalloc(SPANHEAP_VM_MODULE, size, gfp, node);
}

#define kvrealloc		spanheap_vm_kvrealloc
static inline void *spanheap_vm_kvrealloc(const void *p, size_t old, size_t size, gfp_t gfp)
{
	if (old >= size)
		return (void *)p;
	return spanheap_vm_realloc(SPANHEAP_VM_MODULE, p, old, size, gfp, true);
}

#define kvfree_call_rcu		spanheap_vm_kvfree_call_rcu
static inline void spanheap_vm_kvfree_call_rcu(struct rcu_head *head, rcu_callback_t func)
{
	spanheap_vm_kvfree_rcu(head, (void *)func);
}

#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)

#define __kvmalloc_node_noprof	spanheap_vm_kvmalloc_node
static inline void *spanheap_vm_kvmalloc_node(size_t size SPANHEAP_VM_BUCKETS, gfp_t gfp,
					      int node)
{
	return spanheap_vm_kvalloc(SPANHEAP_VM_MODULE, size, gfp, node);
}

#define kvrealloc_noprof	spanheap_vm_kvrealloc
static inline void *spanheap_vm_kvrealloc(const void *p, size_t size, gfp_t gfp)
{
	return spanheap_vm_realloc(SPANHEAP_VM_MODULE, p, SPANHEAP_VM_ALL, size, gfp, true);
}

#define vrealloc_noprof		spanheap_vm_vrealloc
static inline void *spanheap_vm_vrealloc(const void *p, size_t size, gfp_t gfp)
{
	return spanheap_vm_realloc(SPANHEAP_VM_MODULE, p, SPANHEAP_VM_ALL, size, gfp, false);
}

#define kvfree_call_rcu		spanheap_vm_kvfree_call_rcu
static inline void spanheap_vm_kvfree_call_rcu(struct rcu_head *head, void *ptr)
{
	spanheap_vm_kvfree_rcu(head, ptr);
}

#else

/* With these the function has an argument of a type that is declared later */
#ifndef CONFIG_KMALLOC_PARTITION_CACHES
#define __kvmalloc_node_noprof	spanheap_vm_kvmalloc_node
static inline void *spanheap_vm_kvmalloc_node(size_t size SPANHEAP_VM_BUCKETS,
					      unsigned long align, gfp_t gfp, int node)
{
	return spanheap_vm_kvalloc(SPANHEAP_VM_MODULE, size, gfp, node);
}

#define kvrealloc_node_align_noprof	spanheap_vm_kvrealloc
static inline void *spanheap_vm_kvrealloc(const void *p, size_t size, unsigned long align,
					  gfp_t gfp, int node)
{
	return spanheap_vm_realloc(SPANHEAP_VM_MODULE, p, SPANHEAP_VM_ALL, size, gfp, true);
}
#endif

#define vrealloc_node_align_noprof	spanheap_vm_vrealloc
static inline void *spanheap_vm_vrealloc(const void *p, size_t size, unsigned long align,
					 gfp_t gfp, int node)
{
	return spanheap_vm_realloc(SPANHEAP_VM_MODULE, p, SPANHEAP_VM_ALL, size, gfp, false);
}

#define kvfree_atomic		spanheap_vm_kvfree_atomic

struct kvfree_rcu_head;
#define kvfree_call_rcu		spanheap_vm_kvfree_call_rcu
static inline void spanheap_vm_kvfree_call_rcu(struct kvfree_rcu_head *head, void *ptr)
{
	spanheap_vm_kvfree_rcu(head, ptr);
}

#endif
