/* SPDX-License-Identifier: GPL-2.0 */
/* The stack depot: stock kernels have it, but it can be configured out */
#ifndef _SPANHEAP_COMPAT_DEPOT_H
#define _SPANHEAP_COMPAT_DEPOT_H

#include <linux/stackdepot.h>

#ifdef CONFIG_STACKDEPOT

static inline int compat_depot_init(void)
{
	return stack_depot_init();
}

static inline u32 compat_depot_save(unsigned long *stack, unsigned int n, gfp_t gfp)
{
	return stack_depot_save(stack, n, gfp);
}

static inline unsigned int compat_depot_fetch(u32 handle, unsigned long **stack)
{
	return stack_depot_fetch(handle, stack);
}

#else

static inline int compat_depot_init(void)
{
	return -EOPNOTSUPP;
}

static inline u32 compat_depot_save(unsigned long *stack, unsigned int n, gfp_t gfp)
{
	return 0;
}

static inline unsigned int compat_depot_fetch(u32 handle, unsigned long **stack)
{
	return 0;
}

#endif

#endif
