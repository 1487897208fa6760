/* SPDX-License-Identifier: GPL-2.0 */
/* Stack traces; a kernel may be configured without them */
#ifndef _SPANHEAP_COMPAT_STACKTRACE_H
#define _SPANHEAP_COMPAT_STACKTRACE_H

#include <linux/stacktrace.h>

static inline unsigned int compat_stack_trace_save(unsigned long *stack, unsigned int size,
						   unsigned int skip)
{
#ifdef CONFIG_STACKTRACE
	return stack_trace_save(stack, size, skip);
#else
	return 0;
#endif
}

#endif
