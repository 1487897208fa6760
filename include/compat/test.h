/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SPANHEAP_COMPAT_TEST_H
#define _SPANHEAP_COMPAT_TEST_H

#include <linux/timer.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define compat_timer_delete_sync(t) timer_delete_sync(t)
#else
#define compat_timer_delete_sync(t) del_timer_sync(t)
#endif

#endif
