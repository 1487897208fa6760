/* SPDX-License-Identifier: GPL-2.0 */
/* Without CONFIG_MODULES the kernel has no module states and calls no module notifiers */
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
