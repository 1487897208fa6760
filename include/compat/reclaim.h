/* SPDX-License-Identifier: GPL-2.0 */
/* How a shrinker tells reclaim what it has freed: mm_account_reclaimed_pages() since 6.4 */
#ifndef _SPANHEAP_COMPAT_RECLAIM_H
#define _SPANHEAP_COMPAT_RECLAIM_H

#include <linux/sched.h>
#include <linux/swap.h>

#if defined(SPANHEAP_NEW_RECLAIM) == defined(SPANHEAP_OLD_RECLAIM)
#error "include/compat/probe.mk cannot tell how this kernel counts what shrinkers free"
#elif defined(SPANHEAP_NEW_RECLAIM)
#define COMPAT_RECLAIMED	reclaimed
#else
#define COMPAT_RECLAIMED	reclaimed_slab
#endif

/* False where a shrinker is called on request, by /proc/sys/vm/drop_caches */
static inline bool compat_in_reclaim(void)
{
	return current->reclaim_state;
}

/* The task has freed so many pages; nothing is noted outside of reclaim */
static inline void compat_account_reclaimed(unsigned long pages)
{
	if (compat_in_reclaim())
		current->reclaim_state->COMPAT_RECLAIMED += pages;
}

#endif
