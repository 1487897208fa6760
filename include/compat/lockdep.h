/* SPDX-License-Identifier: GPL-2.0 */
/* A lockdep map without a lock. Without lockdep it does nothing. */
#ifndef _SPANHEAP_COMPAT_LOCKDEP_H
#define _SPANHEAP_COMPAT_LOCKDEP_H

#include <linux/lockdep.h>

#ifdef CONFIG_LOCKDEP
#define COMPAT_LOCKDEP_MAP(name)					\
static struct lockdep_map name = STATIC_LOCKDEP_MAP_INIT(#name, &name)

static inline bool compat_map_held(struct lockdep_map *map)
{
	return lock_is_held(map);
}
#else
#define COMPAT_LOCKDEP_MAP(name) static struct lockdep_map name

static inline bool compat_map_held(struct lockdep_map *map)
{
	return false;
}
#endif

#endif
