/* SPDX-License-Identifier: GPL-2.0 */
/* A kernel without loadable modules has no states of them, and tells of none. */
#ifndef _SPANHEAP_COMPAT_MODULE_H
#define _SPANHEAP_COMPAT_MODULE_H

#include <linux/module.h>

#ifdef CONFIG_MODULES
#define COMPAT_MODULE_LIVE	MODULE_STATE_LIVE
#define COMPAT_MODULE_GOING	MODULE_STATE_GOING
#else
#define COMPAT_MODULE_LIVE	1
#define COMPAT_MODULE_GOING	2
#endif

#endif /* _SPANHEAP_COMPAT_MODULE_H */
