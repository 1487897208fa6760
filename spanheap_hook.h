/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hooks for the unit tests. At each point named here a test can have a function called,
 * which does what another CPU or an interrupt could do between two instructions.
 * Without unit tests the hooks are empty.
 */
#ifndef _SPANHEAP_HOOK_H
#define _SPANHEAP_HOOK_H

struct spanheap;

enum spanheap_hook_point {
	HOOK_NONE,
	HOOK_FREE_LOOKED,	/* a free has read the span, but not yet claimed it */
	HOOK_RESIZE_READ,	/* a resize has read the span, but not yet claimed it */
	HOOK_LOOKUP_READ,	/* a look-up has read the span, but not yet validated it */
};

#ifdef CONFIG_SPANHEAP_KUNIT
extern void (*spanheap_hook)(struct spanheap *h, enum spanheap_hook_point point);

static inline void test_hook(struct spanheap *h, enum spanheap_hook_point point)
{
	if (unlikely(spanheap_hook))
		spanheap_hook(h, point);
}
#else
static inline void test_hook(struct spanheap *h, enum spanheap_hook_point point) { }
#endif

#endif /* _SPANHEAP_HOOK_H */
