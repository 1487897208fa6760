// SPDX-License-Identifier: GPL-2.0
/*
 * Call sites, and what is left of them when the text they are in is gone.
 *
 * A span has the address of its allocating call site. A module's text goes with the
 * module, and its __init text when the module is loaded, and other text may come to the
 * same addresses. So before text goes, spanheap_module.c puts numbers in the place of
 * addresses in it, and this file keeps for each number what "%pS" had said. Numbers
 * are below SITE_MAX, where no kernel has text.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "spanheap_internal.h"

struct site {
	struct rcu_head rcu;
	const void *mod;		/* it is loaded, or NULL; never dereferenced */
	bool used;			/* by a span, as far as the walk has come */
	char text[];
};

/* What a call site, or the number of one, is called. Returns buf, of SITE_TEXT bytes. */
const char *spanheap_site_text(struct spanheap *h, unsigned long site, char *buf)
{
	struct site *kept;

	if (!site || site > SITE_MAX) {
		snprintf(buf, SITE_TEXT, "%pS", (void *)site);
		return buf;
	}
	rcu_read_lock();
	kept = xa_load(&h->sites, site);
	strscpy(buf, kept ? kept->text : "a module that is gone", SITE_TEXT);
	rcu_read_unlock();
	return buf;
}

/*
 * The number of a call site in the text of mod, which is still there. SITE_MAX, which
 * has no text, if there is no memory. Under sites_lock.
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

/* Whose text was it? NULL: that of a module that is gone. Under sites_lock. */
const void *spanheap_site_module(struct spanheap *h, unsigned long number)
{
	struct site *site = xa_load(&h->sites, number);

	return site ? site->mod : NULL;
}

/* A span has this number. Under sites_lock. */
void spanheap_site_use(struct spanheap *h, unsigned long number)
{
	struct site *site = xa_load(&h->sites, number);

	if (site)
		site->used = true;
}

/*
 * All spans have been looked at: forget what none of them names. The module gone, if not
 * NULL, may have its address used for another. Under sites_lock.
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

/* Nobody is inside */
void spanheap_sites_exit(struct spanheap *h)
{
	unsigned long number;
	struct site *site;

	xa_for_each(&h->sites, number, site)
		kfree(site);
	xa_destroy(&h->sites);
}
