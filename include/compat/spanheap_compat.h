/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences between kernels, and between a module and a built-in: page tables, TLB
 * flushes, bulk page allocation, shrinkers. Only this folder has #if on such
 * differences. probe.mk defines SPANHEAP_NEW_* and SPANHEAP_OLD_*.
 */
#ifndef _SPANHEAP_COMPAT_H
#define _SPANHEAP_COMPAT_H

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <asm/tlbflush.h>

/* alloc_pages_bulk_array() lost its suffix in 6.14 */
#if defined(SPANHEAP_NEW_BULK) == defined(SPANHEAP_OLD_BULK)
#error "include/compat/probe.mk cannot tell which alloc_pages_bulk() this kernel has"
#elif defined(SPANHEAP_NEW_BULK)
#define compat_alloc_pages_bulk(gfp, node, nr, pages) \
	alloc_pages_bulk_node(gfp, node, nr, pages)
#else
#define compat_alloc_pages_bulk(gfp, node, nr, pages) \
	alloc_pages_bulk_array_node(gfp, node, nr, pages)
#endif

/* Since 6.3 a function sets the flags of a mapping */
static inline void compat_vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
#if defined(SPANHEAP_NEW_VMFLAGS) == defined(SPANHEAP_OLD_VMFLAGS)
#error "include/compat/probe.mk cannot tell how this kernel sets the flags of a mapping"
#elif defined(SPANHEAP_NEW_VMFLAGS)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

#ifdef MODULE
/* User-Mode Linux on x86 sets CONFIG_X86_64, but has other page tables */
#if defined(CONFIG_X86_64) && !defined(CONFIG_UML)
#include "arena_x86.h"
#elif defined(CONFIG_ARM64)
#include "arena_arm64.h"
#else
#include "arena_none.h"
#endif
#include "arena_module.h"
#else
#include "arena_builtin.h"
#endif

/*
 * Why this kernel cannot have an arena, or NULL. KMSAN creates shadow memory for the pages
 * that vmap() maps, but exports no function that does so for pages mapped later.
 */
static inline const char *compat_arena_refused(void)
{
	return IS_ENABLED(CONFIG_KMSAN) ? "KMSAN knows no pages that are mapped one by one" :
					  compat_arena_unsupported();
}

/* Shrinkers are allocated dynamically since 6.7 */
typedef unsigned long (*compat_shrink_fn)(struct shrinker *s,
					  struct shrink_control *sc);

#if defined(SPANHEAP_NEW_SHRINKER) == defined(SPANHEAP_OLD_SHRINKER)
#error "include/compat/probe.mk cannot tell how this kernel registers shrinkers"
#elif defined(SPANHEAP_NEW_SHRINKER)
static inline struct shrinker *
compat_shrinker_register(compat_shrink_fn count, compat_shrink_fn scan, long batch)
{
	struct shrinker *s = shrinker_alloc(0, "spanheap");

	if (!s)
		return ERR_PTR(-ENOMEM);
	s->count_objects = count;
	s->scan_objects = scan;
	s->batch = batch;
	shrinker_register(s);
	return s;
}

static inline void compat_shrinker_unregister(struct shrinker *s)
{
	shrinker_free(s);
}
#else
static inline struct shrinker *
compat_shrinker_register(compat_shrink_fn count, compat_shrink_fn scan, long batch)
{
	struct shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);
	int err;

	if (!s)
		return ERR_PTR(-ENOMEM);
	s->count_objects = count;
	s->scan_objects = scan;
	s->batch = batch;
	s->seeks = DEFAULT_SEEKS;
	err = register_shrinker(s, "spanheap");
	if (err) {
		kfree(s);
		return ERR_PTR(err);
	}
	return s;
}

static inline void compat_shrinker_unregister(struct shrinker *s)
{
	unregister_shrinker(s);
	kfree(s);
}
#endif

#endif /* _SPANHEAP_COMPAT_H */
