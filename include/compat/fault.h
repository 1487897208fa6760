/* SPDX-License-Identifier: GPL-2.0 */
/* Fault injection, where the kernel is built with it */
#ifndef _SPANHEAP_COMPAT_FAULT_H
#define _SPANHEAP_COMPAT_FAULT_H

#include <linux/errno.h>
#include <linux/sched.h>

/*
 * Make the nth allocation of this task fail, counted from now on; 0: none. Returns what
 * remained of the previous count; 0: the allocation that had to fail has been reached.
 */
static inline int compat_fail_nth(unsigned int nth)
{
#ifdef CONFIG_FAULT_INJECTION
	unsigned int left = current->fail_nth;

	current->fail_nth = nth;
	return left;
#else
	return -EOPNOTSUPP;
#endif
}

#endif
