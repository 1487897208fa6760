/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions that <linux/spanheap_vmalloc.h> puts in place of vmalloc() and its relatives.
 * Not to be called by name. @mod is the calling module.
 */
#ifndef _LINUX_SPANHEAP_VMALLOC_CALLS_H
#define _LINUX_SPANHEAP_VMALLOC_CALLS_H

#include <linux/types.h>

struct module;
struct page;
struct vm_area_struct;

#define SPANHEAP_VM_ALL	((size_t)-1)	/* spanheap_vm_realloc(): the old size is not known */

void *spanheap_vm_alloc(struct module *mod, unsigned long size, bool zero, int node);
void *spanheap_vm_alloc_user(struct module *mod, unsigned long size);
void *spanheap_vm_alloc_gfp(struct module *mod, unsigned long size, gfp_t gfp, bool zero);
void *spanheap_vm_kvalloc(struct module *mod, size_t size, gfp_t gfp, int node);
void *spanheap_vm_realloc(struct module *mod, const void *addr, size_t old, size_t size,
			  gfp_t gfp, bool kv);
void spanheap_vm_free(const void *addr);
void spanheap_kvfree(const void *addr);
void spanheap_vm_kvfree_atomic(const void *addr);
void spanheap_vm_kvfree_sensitive(const void *addr, size_t len);
void spanheap_vm_kvfree_rcu(void *head, void *ptr);
int spanheap_vm_remap(struct vm_area_struct *vma, void *addr, unsigned long pgoff);
struct page *spanheap_vm_to_page(const void *addr);
unsigned long spanheap_vm_to_pfn(const void *addr);

#endif /* _LINUX_SPANHEAP_VMALLOC_CALLS_H */
