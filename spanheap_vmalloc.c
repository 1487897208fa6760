// SPDX-License-Identifier: GPL-2.0
/*
 * vmalloc() and its relatives, as they are in a module that is built with
 * <linux/spanheap_vmalloc.h>: a span, or what the kernel's function gives where the heap
 * has none. Frees and look-ups take addresses of either kind.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>
#include <linux/spanheap_vmalloc_calls.h>
#include <compat/vmalloc.h>

#include "spanheap_internal.h"

/* ---- clients: one for each such module ---- */

#define NO_CLIENT	xa_mk_value(0)	/* the name is another client's: anonymous */

static DEFINE_XARRAY(clients);		/* struct module * -> client; lock-free readers */
static DEFINE_MUTEX(register_lock);	/* one registration at a time */

static void *register_module(struct module *mod)
{
	/* Unlike the module's author, the heap does not know who refers to the pages */
	const struct spanheap_client_attr attr = {
		.name = module_name(mod), .flags = SPANHEAP_SHARED_PAGES,
	};
	struct spanheap_client *c = spanheap_heap_register(spanheap_heap, &attr);

	if (IS_ERR(c) && PTR_ERR(c) != -EEXIST)
		return NULL;	/* no memory: the next allocation tries again */
	if (IS_ERR(c))
		return NO_CLIENT;
	if (!xa_err(xa_store(&clients, (unsigned long)mod, c, GFP_KERNEL)))
		return c;
	spanheap_heap_unregister(c);
	return NULL;
}

/*
 * The client that pays for the module. The client comes with the first allocation that may
 * do all that registering one does; spans that were allocated before are anonymous.
 */
static struct spanheap_client *client_of(struct module *mod, gfp_t gfp)
{
	void *c;

	if (!mod)
		return NULL;
	c = xa_load(&clients, (unsigned long)mod);
	if (unlikely(!c) && (current_gfp_context(gfp) & GFP_KERNEL) == GFP_KERNEL) {
		mutex_lock(&register_lock);
		c = xa_load(&clients, (unsigned long)mod) ?: register_module(mod);
		mutex_unlock(&register_lock);
	}
	return xa_is_value(c) ? NULL : c;
}

/* The module is unloaded: nobody allocates for it any more */
void spanheap_vmalloc_gone(const struct module *mod)
{
	struct spanheap_client *c = xa_erase(&clients, (unsigned long)mod);

	if (c && !xa_is_value(c))
		spanheap_heap_unregister(c);
}

void spanheap_vmalloc_exit(void)
{
	xa_destroy(&clients);
}

/* ---- allocation ---- */

/* A span, or NULL: the kernel's function is called, and says in the log what fails */
static void *span_for(struct module *mod, size_t bytes, gfp_t gfp, int node,
		      unsigned long caller)
{
	struct spanheap *h = spanheap_heap;
	size_t nr = bytes_to_pages(bytes);

	if (!h || !nr || nr > h->arena_pages || gfp & ~GFP_ALLOWED)
		return NULL;
	return spanheap_heap_alloc_node(h, client_of(mod, gfp), nr,
					(gfp & ~__GFP_NOFAIL) | __GFP_NOWARN, node, caller);
}

/**
 * spanheap_vm_alloc() - vmalloc(), vzalloc(), vmalloc_node(), vzalloc_node()
 * @mod: the calling module
 * @size: in bytes
 * @zero: is the memory cleared?
 * @node: preferred node, or NUMA_NO_NODE
 *
 * Context: As vmalloc().
 * Return: as vmalloc().
 */
void *spanheap_vm_alloc(struct module *mod, unsigned long size, bool zero, int node)
{
	void *p = span_for(mod, size, GFP_KERNEL | (zero ? __GFP_ZERO : 0), node, _RET_IP_);

	if (likely(p))
		return p;
	return zero ? vzalloc_node(size, node) : vmalloc_node(size, node);
}
EXPORT_SYMBOL_GPL(spanheap_vm_alloc);

/**
 * spanheap_vm_alloc_user() - vmalloc_user()
 * @mod: the calling module
 * @size: in bytes
 *
 * Context: As vmalloc_user().
 * Return: as vmalloc_user().
 */
void *spanheap_vm_alloc_user(struct module *mod, unsigned long size)
{
	return span_for(mod, size, GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE, _RET_IP_) ?:
	       vmalloc_user(size);
}
EXPORT_SYMBOL_GPL(spanheap_vm_alloc_user);

/**
 * spanheap_vm_alloc_gfp() - __vmalloc(), __vmalloc_array(), __vcalloc()
 * @mod: the calling module
 * @size: in bytes
 * @gfp: as for __vmalloc()
 * @zero: is the memory cleared, whatever @gfp says?
 *
 * Context: As __vmalloc().
 * Return: as __vmalloc().
 */
void *spanheap_vm_alloc_gfp(struct module *mod, unsigned long size, gfp_t gfp, bool zero)
{
	gfp |= zero ? __GFP_ZERO : 0;
	return span_for(mod, size, gfp, NUMA_NO_NODE, _RET_IP_) ?: __vmalloc(size, gfp);
}
EXPORT_SYMBOL_GPL(spanheap_vm_alloc_gfp);

static void *kvalloc(struct module *mod, size_t size, gfp_t gfp, int node, unsigned long caller)
{
	void *p = NULL;

	if (size > PAGE_SIZE && size <= INT_MAX)
		p = span_for(mod, size, gfp, node, caller);
	return p ?: kvmalloc_node(size, gfp, node);
}

/**
 * spanheap_vm_kvalloc() - kvmalloc() and its relatives
 * @mod: the calling module
 * @size: in bytes
 * @gfp: as for kvmalloc()
 * @node: preferred node, or NUMA_NO_NODE
 *
 * Context: As kvmalloc().
 * Return: as kvmalloc().
 */
void *spanheap_vm_kvalloc(struct module *mod, size_t size, gfp_t gfp, int node)
{
	return kvalloc(mod, size, gfp, node, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_vm_kvalloc);

/*
 * Another length for the span at p, of cap bytes. With __GFP_ZERO, whatever comes in behind
 * what the caller had is zero, in pages that the span had before, too.
 */
static void *realloc_span(struct module *mod, void *p, size_t cap, size_t old, size_t size,
			  gfp_t gfp, unsigned long caller)
{
	size_t from = old == SPANHEAP_VM_ALL ? size : old;
	void *q;

	if (gfp & __GFP_ZERO && from < cap)
		memset(p + from, 0, cap - from);
	if (size <= cap) {
		/* Not less where the caller may still use what it had */
		if (old == SPANHEAP_VM_ALL)
			spanheap_heap_resize(spanheap_heap, p, bytes_to_pages(size), gfp, caller);
		return p;
	}
	q = gfp & ~GFP_ALLOWED ? NULL :
	    spanheap_heap_realloc(spanheap_heap, p, bytes_to_pages(size), gfp | __GFP_NOWARN,
				  caller);
	if (q)
		return q;
	q = kvalloc(mod, size, gfp, NUMA_NO_NODE, caller);
	if (q) {
		memcpy(q, p, cap);
		spanheap_heap_free(spanheap_heap, p, caller);
	}
	return q;
}

/**
 * spanheap_vm_realloc() - kvrealloc(), vrealloc()
 * @mod: the calling module
 * @addr: memory that it has, or NULL
 * @old: bytes that it had asked for, or SPANHEAP_VM_ALL
 * @size: in bytes
 * @gfp: as for the kernel's function
 * @kv: is it kvrealloc()?
 *
 * A span is made longer without a copy if it can be, see spanheap_realloc().
 *
 * Context: As the kernel's function.
 * Return: as the kernel's function.
 */
void *spanheap_vm_realloc(struct module *mod, const void *addr, size_t old, size_t size,
			  gfp_t gfp, bool kv)
{
	struct span_view v;

	if (!addr)
		return kv ? kvalloc(mod, size, gfp, NUMA_NO_NODE, _RET_IP_) :
			    spanheap_vm_alloc_gfp(mod, size, gfp, false);
	if (!in_heap(addr))
		/* Handles vmalloc memory, too. Not every kernel exports vrealloc(). */
		return compat_kvrealloc(addr, old, size, gfp);
	if (!size) {
		spanheap_heap_free(spanheap_heap, addr, _RET_IP_);
		return NULL;
	}
	if (!lookup_start(spanheap_heap, addr, &v)) {
		spanheap_report_bad_free(spanheap_heap, addr, _RET_IP_, NULL);
		return NULL;
	}
	return realloc_span(mod, (void *)addr, (size_t)v.nr_pages << PAGE_SHIFT, old, size, gfp,
			    _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_vm_realloc);

/* ---- frees ---- */

static bool free_span(const void *addr, unsigned long caller)
{
	if (!in_heap(addr))
		return false;
	spanheap_heap_free(spanheap_heap, addr, caller);
	return true;
}

/**
 * spanheap_vm_free() - vfree()
 * @addr: a span, memory of vmalloc(), or NULL
 *
 * Context: As vfree().
 */
void spanheap_vm_free(const void *addr)
{
	if (!free_span(addr, _RET_IP_))
		vfree(addr);
}
EXPORT_SYMBOL_GPL(spanheap_vm_free);

/**
 * spanheap_vm_kvfree_atomic() - kvfree_atomic()
 * @addr: what kvfree() takes
 *
 * Context: As kvfree_atomic().
 */
void spanheap_vm_kvfree_atomic(const void *addr)
{
	if (!free_span(addr, _RET_IP_))
		compat_kvfree_atomic(addr);
}
EXPORT_SYMBOL_GPL(spanheap_vm_kvfree_atomic);

/**
 * spanheap_vm_kvfree_sensitive() - kvfree_sensitive()
 * @addr: what kvfree() takes
 * @len: so many bytes are cleared before, at most all that a span has
 *
 * Context: As kvfree().
 */
void spanheap_vm_kvfree_sensitive(const void *addr, size_t len)
{
	struct span_view v;

	if (!in_heap(addr)) {
		kvfree_sensitive(addr, len);
		return;
	}
	if (lookup_start(spanheap_heap, addr, &v))
		memzero_explicit((void *)addr, min(len, (size_t)v.nr_pages << PAGE_SHIFT));
	spanheap_heap_free(spanheap_heap, addr, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_vm_kvfree_sensitive);

/**
 * spanheap_vm_kvfree_rcu() - kvfree_rcu(), kfree_rcu() and kvfree_rcu_mightsleep()
 * @head: the struct rcu_head in the object, or NULL
 * @ptr: the object, or on older kernels the offset of @head in it
 *
 * Context: As the kernel's function; for a span, any but NMI.
 */
void spanheap_vm_kvfree_rcu(void *head, void *ptr)
{
	void *obj = head && (unsigned long)ptr < PAGE_SIZE ? head - (unsigned long)ptr : ptr;

	if (in_heap(obj))
		spanheap_heap_free_rcu(spanheap_heap, obj, _RET_IP_);
	else
		kvfree_call_rcu(head, ptr);
}
EXPORT_SYMBOL_GPL(spanheap_vm_kvfree_rcu);

/* ---- pages ---- */

/**
 * spanheap_vm_remap() - remap_vmalloc_range()
 * @vma: where to; the whole of it is mapped
 * @addr: page-aligned address in a span, or in memory of vmalloc_user()
 * @pgoff: first page to map, from @addr on
 *
 * Context: As spanheap_mmap().
 * Return: as remap_vmalloc_range().
 */
int spanheap_vm_remap(struct vm_area_struct *vma, void *addr, unsigned long pgoff)
{
	struct spanheap *h = spanheap_heap;
	struct span_view v;
	u32 idx;

	if (!h || !addr_to_idx(h, addr, &idx))
		return remap_vmalloc_range(vma, addr, pgoff);
	if (!PAGE_ALIGNED(addr) || !spanheap_heap_lookup(h, addr, &v) || pgoff > v.nr_pages)
		return -EINVAL;
	return spanheap_heap_mmap(h, vma, page_addr(h, v.start), pgoff + idx - v.start);
}
EXPORT_SYMBOL_GPL(spanheap_vm_remap);

/**
 * spanheap_vm_to_page() - vmalloc_to_page()
 * @addr: an address in a span or in vmalloc space
 *
 * Context: As vmalloc_to_page().
 * Return: as vmalloc_to_page(); the pages of a span are shared from then on.
 */
struct page *spanheap_vm_to_page(const void *addr)
{
	if (in_heap(addr))
		return spanheap_heap_to_page(spanheap_heap, addr);
	return vmalloc_to_page(addr);
}
EXPORT_SYMBOL_GPL(spanheap_vm_to_page);

/**
 * spanheap_vm_to_pfn() - vmalloc_to_pfn()
 * @addr: an address in a span or in vmalloc space
 *
 * Context: As vmalloc_to_pfn().
 * Return: as vmalloc_to_pfn(); the pages of a span are shared from then on.
 */
unsigned long spanheap_vm_to_pfn(const void *addr)
{
	return page_to_pfn(spanheap_vm_to_page(addr));
}
EXPORT_SYMBOL_GPL(spanheap_vm_to_pfn);
