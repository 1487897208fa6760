// SPDX-License-Identifier: GPL-2.0
/*
 * Other modules, when their text goes.
 *
 * A module that calls this one keeps it loaded. So when a module goes, this one is told
 * before anybody could unload it, and makes orphans of the anonymous spans that the
 * module leaves: they hold this module until the last of them is freed. Whatever names
 * a call site in text that goes gets a number for it, see spanheap_site.c.
 *
 * All that costs a walk over the span map for each module that goes, and for each that
 * is loaded; an allocation or a free pays nothing.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/sched.h>
#include <compat/module.h>

#include "spanheap_internal.h"

#define WALK_BATCH	64	/* spans looked at per hold of the heap lock */

/* Instead of a call site's number */
#define SITE_OTHERS	0			/* in the text of another module */
#define SITE_NOBODYS	(SITE_MAX + 1)		/* in no module's text */

struct text_walk {
	const struct text_end *end;
	struct xarray known;		/* call site -> its number, or one of the above */
	unsigned long unknown;		/* a call site to put there, or 0 */
	bool again;			/* a span was between two owners, or resized */

	u32 spans;			/* new orphans that the module leaves */
	u64 pages;
	struct span leaks[LEAKS_SHOWN];	/* the first of them */
};

/* Is the text of this call site, or number of one, about to go? */
static bool ends(struct spanheap *h, const struct text_end *end, unsigned long site)
{
	if (site > SITE_MAX)
		return end->within(site, end->mod);
	return site && spanheap_site_module(h, site) == end->mod;
}

/* What is known of a call site. False: nothing yet. */
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

/* Does nobody who is still there have the anonymous span that was allocated at this site? */
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

/* A number in the place of an address in text that goes. False: learn it first. */
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
	/* In a span, an allocation from a cache may write its own at the same time */
	cmpxchg(site, addr, number);
	return true;
}

/* The owner of s goes. False: learn its call site first. */
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
	/* With SPAN_SLOW, s stays as it is while the heap lock is held: look once more */
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

/* False: learn w->unknown, and look at s again */
static bool __look_at(struct spanheap *h, struct text_walk *w, struct span *s)
{
	if (w->end->mod_goes && READ_ONCE(s->client) == h->anon &&
	    (span_state(s) == SPAN_INUSE || span_state(s) == SPAN_OWNED)) {
		if (!__make_orphan(h, w, s))
			return false;
		if (span_state(s) == SPAN_OWNED)
			return true;	/* still the address, for the next time */
	}
	return rename_site(h, w, &s->caller) &&
	       (span_state(s) != SPAN_CACHED || rename_site(h, w, &s->freer));
}

/* Returns where to go on, U32_MAX: nowhere */
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

/* Outside of the lock: a name is looked up, and memory allocated */
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
	/* The text will not be there for a second try */
	xa_store(&w->known, w->unknown, xa_mk_value(number), GFP_KERNEL | __GFP_NOFAIL);
	w->unknown = 0;
}

/* Of a stack in the profile; no lock is held */
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

/* The call sites of bad frees: a module at the same addresses is reported anew */
static void forget_bad_callers(struct spanheap *h, const struct text_end *end)
{
	unsigned long caller;
	void *entry;

	xa_for_each(&h->bad_callers, caller, entry)
		if (end->within(caller, end->mod))
			xa_erase_irq(&h->bad_callers, caller);
}

/* Text is about to go, and perhaps the module with it. May sleep. */
void spanheap_text_ends(struct spanheap *h, const struct text_end *end)
{
	struct text_walk *w = kzalloc(sizeof(*w), GFP_KERNEL | __GFP_NOFAIL);
	u32 idx;

	w->end = end;
	xa_init(&w->known);
	mutex_lock(&h->sites_lock);
	forget_bad_callers(h, end);
	do {
		if (w->again)
			schedule_timeout_uninterruptible(1);
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
