/* SPDX-License-Identifier: GPL-2.0 */
/* Fault injection, where the kernel is built with it */
#ifndef _SPANHEAP_COMPAT_FAULT_H
#define _SPANHEAP_COMPAT_FAULT_H

#include <linux/errno.h>
#include <linux/sched.h>

/*
 * The nth allocation of this task from here on fails; 0: none does. Returns what
 * was left of the last count: 0 when that allocation has been come to.
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
