// SPDX-License-Identifier: GPL-2.0
/*
 * Other modules unload: this file handles the spans and the call sites that they leave.
 *
 * A module that calls spanheap keeps spanheap loaded. When such a module unloads, the notifier
 * runs before spanheap could be unloaded. It makes orphans of the anonymous spans that the
 * module leaves, and orphans keep spanheap loaded. In records and stacks, it replaces each call
 * site in text that goes by a number, see spanheap_site.c.
 *
 * The price is a walk over the span map for each module that loads or unloads. An
 * allocation or a free pays nothing.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <compat/module.h>

#include "spanheap_internal.h"

#define WALK_BATCH	64	/* spans looked at per hold of the heap lock */

/* Values of text_walk.known that are not the number of a call site */
#define SITE_OTHERS	0			/* in the text of another module */
#define SITE_NOBODYS	(SITE_MAX + 1)		/* in no module's text */

struct text_walk {
	const struct text_end *end;
	struct xarray known;		/* call site -> its number, or one of the above */
	unsigned long unknown;		/* a call site to add to known, or 0 */
	bool again;			/* a span was OWNED: walk once more */

	u32 spans;			/* new orphans that the module leaves */
	u64 pages;
	struct span leaks[LEAKS_SHOWN];	/* the first of them, for the report */
};

/* Is a call site, or the number of one, in the text that goes? */
static bool ends(struct spanheap *h, const struct text_end *end, unsigned long site)
{
	if (site > SITE_MAX)
		return end->within(site, end->mod);
	return site && spanheap_site_module(h, site) == end->mod;
}

/* Look a call site up. False: learn() has to add it first. */
static bool known(struct text_walk *w, unsigned long site, unsigned long *number)
{
	void *entry = xa_load(&w->known, site);

	if (!entry) {
		w->unknown = site;
		return false;
	}
	*number = xa_to_value(entry);
	return true;
}

/*
 * Does the anonymous span that was allocated at this site belong to no loaded module?
 * Returns false if learn() has to add the site first.
 */
static bool leaves(struct spanheap *h, struct text_walk *w, unsigned long site, bool *left)
{
	unsigned long number;

	*left = true;
	if (ends(h, w->end, site))
		return true;
	if (site <= SITE_MAX) {
		*left = !spanheap_site_module(h, site);
		return true;
	}
	if (!known(w, site, &number))
		return false;
	*left = number == SITE_NOBODYS;
	return true;
}

/* Replace an address in text that goes by a number. False: learn() has to add it first. */
static bool rename_site(struct spanheap *h, struct text_walk *w, unsigned long *site)
{
	unsigned long addr = READ_ONCE(*site), number;

	if (addr <= SITE_MAX) {
		spanheap_site_use(h, addr);
		return true;
	}
	if (!ends(h, w->end, addr))
		return true;
	if (!known(w, addr, &number))
		return false;
	/* An allocation from a cache may write its own call site at the same time: keep that */
	cmpxchg(site, addr, number);
	return true;
}

/* Make s an orphan if its owner goes. False: learn() has to add its call site first. */
static bool __make_orphan(struct spanheap *h, struct text_walk *w, struct span *s)
{
	bool left;

	if (!leaves(h, w, READ_ONCE(s->caller), &left))
		return false;
	if (!left)
		return true;
	if (span_state(s) != SPAN_INUSE) {
		w->again = true;
		return true;
	}
	/* With SPAN_SLOW set, only holders of the heap lock change s. So check s again. */
	if (!span_set_slow(s) || s->client != h->anon)
		return true;
	if (!leaves(h, w, s->caller, &left))
		return false;
	if (!left)
		return true;
	if (!rename_site(h, w, &s->caller))
		return false;
	if (ends(h, w->end, s->caller)) {
		if (w->spans < LEAKS_SHOWN)
			w->leaks[w->spans] = *s;
		w->spans++;
		w->pages += s->nr_pages;
	}
	__spanheap_orphan(h, s);
	return true;
}

/* False: learn() has to add w->unknown, then look at s again */
static bool __look_at(struct spanheap *h, struct text_walk *w, struct span *s)
{
	if (w->end->mod_goes && READ_ONCE(s->client) == h->anon &&
	    (span_state(s) == SPAN_INUSE || span_state(s) == SPAN_OWNED)) {
		if (!__make_orphan(h, w, s))
			return false;
		if (span_state(s) == SPAN_OWNED)
			return true;	/* keep the address for the next walk */
	}
	return rename_site(h, w, &s->caller) &&
	       (span_state(s) != SPAN_CACHED || rename_site(h, w, &s->freer));
}

/* Returns the page index to continue at, or U32_MAX at the end */
static u32 look_at_some(struct spanheap *h, struct text_walk *w, u32 idx)
{
	unsigned long flags;
	struct span *s;
	u32 n;

	spin_lock_irqsave(&h->lock, flags);
	for (n = 0; n < WALK_BATCH; n++) {
		s = __spanheap_walk(h, &idx);
		if (!s)
			break;
		steps_done(1);
		if (!__look_at(h, w, s)) {
			idx = s->start;
			break;
		}
		idx = span_end(s);
	}
	if (idx >= h->used)
		idx = U32_MAX;
	spin_unlock_irqrestore(&h->lock, flags);
	return idx;
}

/* Add w->unknown to w->known. Allocates memory, so the heap lock must not be held. */
static void learn(struct spanheap *h, struct text_walk *w)
{
	unsigned long number;
	char text[SITE_TEXT];

	if (ends(h, w->end, w->unknown)) {
		number = spanheap_site_keep(h, w->unknown, w->end->mod);
	} else {
		snprintf(text, sizeof(text), "%ps", (void *)w->unknown);
		number = strchr(text, '[') ? SITE_OTHERS : SITE_NOBODYS;
	}
	/* Do not fail: the text is gone when the notifier returns */
	xa_store(&w->known, w->unknown, xa_mk_value(number), GFP_KERNEL | __GFP_NOFAIL);
	w->unknown = 0;
}

/* rename_site() for a stack in the profile; no lock is held */
static void rename_in_stack(struct spanheap *h, unsigned long *site, void *arg)
{
	struct text_walk *w = arg;

	while (!rename_site(h, w, site))
		learn(h, w);
}

static void report(struct spanheap *h, const struct text_walk *w)
{
	char buf[SITE_TEXT];
	u32 i;

	pr_warn("module %s is gone and leaves %u spans without a client, %llu pages\n",
		w->end->name, w->spans, w->pages);
	for (i = 0; i < min(w->spans, LEAKS_SHOWN); i++)
		pr_warn("  %p, %u pages, allocated by %s\n", span_addr(h, &w->leaks[i]),
			w->leaks[i].nr_pages,
			spanheap_site_text(h, w->leaks[i].caller, buf));
}

/* Forget call sites of bad frees, so that a new module at the same address is reported */
static void forget_bad_callers(struct spanheap *h, const struct text_end *end)
{
	unsigned long caller;
	void *entry;

	xa_for_each(&h->bad_callers, caller, entry)
		if (end->within(caller, end->mod))
			xa_erase_irq(&h->bad_callers, caller);
}

/* Handle text, and perhaps a module, that is about to go. May sleep. */
void spanheap_text_ends(struct spanheap *h, const struct text_end *end)
{
	struct text_walk *w = kzalloc(sizeof(*w), GFP_KERNEL | __GFP_NOFAIL);
	u32 idx;

	w->end = end;
	xa_init(&w->known);
	mutex_lock(&h->sites_lock);
	forget_bad_callers(h, end);
	do {
		if (w->again) {
			rcu_barrier();	/* it may wait for a grace period to be freed */
			schedule_timeout_uninterruptible(1);
		}
		w->again = false;
		for (idx = 0; idx != U32_MAX; cond_resched()) {
			idx = look_at_some(h, w, idx);
			if (w->unknown)
				learn(h, w);
		}
	} while (w->again);
	spanheap_prof_sites(h, rename_in_stack, w);
	if (w->spans)
		report(h, w);
	spanheap_sites_forget(h, end->mod_goes ? end->mod : NULL);
	mutex_unlock(&h->sites_lock);
	xa_destroy(&w->known);
	kfree(w);
}

static bool in_init_text(unsigned long addr, const void *mod)
{
	return within_module_init(addr, mod);
}

static bool in_text(unsigned long addr, const void *mod)
{
	return within_module(addr, mod);
}

static int module_notify(struct notifier_block *nb, unsigned long action, void *mod)
{
	struct text_end end = { .mod = mod, .name = module_name((struct module *)mod) };

	if (action == COMPAT_MODULE_LIVE) {
		end.within = in_init_text;
	} else if (action == COMPAT_MODULE_GOING) {
		end.within = in_text;
		end.mod_goes = true;
	} else {
		return NOTIFY_DONE;
	}
	spanheap_text_ends(spanheap_heap, &end);
	if (end.mod_goes)
		spanheap_vmalloc_gone(mod);
	return NOTIFY_OK;
}

static struct notifier_block module_nb = { .notifier_call = module_notify };

int spanheap_module_start(void)
{
	return register_module_notifier(&module_nb);
}

void spanheap_module_stop(void)
{
	unregister_module_notifier(&module_nb);
}
