/* SPDX-License-Identifier: GPL-2.0 */
/* Without CONFIG_MODULES the kernel has no module states and calls no module notifiers */
#ifndef _SPANHEAP_COMPAT_MODULE_H
#define _SPANHEAP_COMPAT_MODULE_H

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#ifdef CONFIG_MODULES
#define COMPAT_MODULE_LIVE	MODULE_STATE_LIVE
#define COMPAT_MODULE_GOING	MODULE_STATE_GOING

/* For unit tests: a module that is none, with a name; to be freed with kfree() */
static inline struct module *compat_module_fake(const char *name)
{
	struct module *mod = kzalloc(sizeof(*mod), GFP_KERNEL);

	if (mod)
		strscpy(mod->name, name, sizeof(mod->name));
	return mod;
}
#else
#define COMPAT_MODULE_LIVE	1
#define COMPAT_MODULE_GOING	2

/* All modules have one name here, see module_name() */
static inline struct module *compat_module_fake(const char *name)
{
	return kzalloc(1, GFP_KERNEL);
}
#endif

#endif /* _SPANHEAP_COMPAT_MODULE_H */
