// SPDX-License-Identifier: GPL-2.0
/*
 * Call sites, and their names after the kernel has freed their text.
 *
 * A span has the address of its allocating call site. The kernel frees a module's __init
 * text after the module is loaded, and the rest with the module. Then other text may get
 * the same addresses. So before text is freed, spanheap_module.c replaces addresses in
 * the text by numbers, and this file keeps the "%pS" name of each number. Numbers are at
 * most SITE_MAX, where no kernel has text.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "spanheap_internal.h"

struct site {
	struct rcu_head rcu;
	const void *mod;		/* the module, or NULL if it is gone; not dereferenced */
	bool used;			/* the walk has found a use of the number */
	char text[];
};

/* Print the name of a call site, an address or a number, to buf[SITE_TEXT]. Returns buf. */
const char *spanheap_site_text(struct spanheap *h, unsigned long site, char *buf)
{
	struct site *kept;

	if (!site || site > SITE_MAX) {
		snprintf(buf, SITE_TEXT, "%pS", (void *)site);
		return buf;
	}
	rcu_read_lock();	/* an entry that is forgotten is freed a grace period later */
	kept = xa_load(&h->sites, site);
	strscpy(buf, kept ? kept->text : "a module that is gone", SITE_TEXT);
	rcu_read_unlock();
	return buf;
}

/*
 * Return a number for a call site in the text of mod, which is still loaded. SITE_MAX,
 * which has no name: there is no memory. Under sites_lock.
 */
unsigned long spanheap_site_keep(struct spanheap *h, unsigned long addr, const void *mod)
{
	char text[SITE_TEXT];
	unsigned long number;
	struct site *site;
	u32 id;

	lockdep_assert_held(&h->sites_lock);
	snprintf(text, sizeof(text), "%pS", (void *)addr);
	xa_for_each(&h->sites, number, site)
		if (!strcmp(site->text, text) && (!site->mod || site->mod == mod)) {
			site->mod = mod;
			site->used = true;
			return number;
		}
	site = kmalloc(struct_size(site, text, strlen(text) + 1), GFP_KERNEL);
	if (!site)
		return SITE_MAX;
	site->mod = mod;
	site->used = true;
	strcpy(site->text, text);
	if (xa_alloc_cyclic(&h->sites, &id, site, XA_LIMIT(1, SITE_MAX - 1), &h->next_site,
			    GFP_KERNEL) >= 0)
		return id;
	kfree(site);
	return SITE_MAX;
}

/* The module of a numbered call site. NULL: the module is gone. Under sites_lock. */
const void *spanheap_site_module(struct spanheap *h, unsigned long number)
{
	struct site *site = xa_load(&h->sites, number);

	return site ? site->mod : NULL;
}

/* Mark a number as used by a span or a profile stack. Under sites_lock. */
void spanheap_site_use(struct spanheap *h, unsigned long number)
{
	struct site *site = xa_load(&h->sites, number);

	if (site)
		site->used = true;
}

/*
 * Called after a walk over all spans: forget the numbers that nothing uses. gone, if not
 * NULL, is a module that goes; another module may get its address. Under sites_lock.
 */
void spanheap_sites_forget(struct spanheap *h, const void *gone)
{
	unsigned long number;
	struct site *site;

	lockdep_assert_held(&h->sites_lock);
	xa_for_each(&h->sites, number, site) {
		if (gone && site->mod == gone)
			site->mod = NULL;
		if (site->used) {
			site->used = false;
		} else {
			xa_erase(&h->sites, number);
			kfree_rcu(site, rcu);
		}
	}
}

void spanheap_sites_init(struct spanheap *h)
{
	mutex_init(&h->sites_lock);
	xa_init_flags(&h->sites, XA_FLAGS_ALLOC1);
}

/* No other task uses the heap any more */
void spanheap_sites_exit(struct spanheap *h)
{
	unsigned long number;
	struct site *site;

	xa_for_each(&h->sites, number, site)
		kfree(site);
	xa_destroy(&h->sites);
}
