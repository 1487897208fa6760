/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tell KASAN which pages of the arena are in use. Idle pages may stay backed, and vmap()
 * marks the whole range accessible, so otherwise KASAN would miss a use after free. Of
 * the functions that write shadow memory, only those that the compiler calls are
 * exported. KASAN reports the value 0xf8 as "use after scope".
 */
#ifndef _SPANHEAP_COMPAT_KASAN_H
#define _SPANHEAP_COMPAT_KASAN_H

#include <linux/kasan.h>
#include <linux/mm.h>

#if defined(CONFIG_KASAN_GENERIC) && defined(CONFIG_KASAN_VMALLOC)
void __asan_set_shadow_00(const void *addr, ssize_t size);
void __asan_set_shadow_f8(const void *addr, ssize_t size);

/* Once the arena is lost, its shadow memory is gone, too */
static inline void compat_kasan_use(const atomic_t *lost, void *addr, size_t nr_pages, bool use)
{
	void *shadow = kasan_mem_to_shadow(addr);
	size_t size = nr_pages << (PAGE_SHIFT - KASAN_SHADOW_SCALE_SHIFT);

	if (atomic_read(lost))
		return;
	if (use)
		__asan_set_shadow_00(shadow, size);
	else
		__asan_set_shadow_f8(shadow, size);
}
#else
static inline void compat_kasan_use(const atomic_t *lost, void *addr, size_t nr_pages,
				    bool use) { }
#endif

#endif
