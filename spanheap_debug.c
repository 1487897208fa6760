// SPDX-License-Identifier: GPL-2.0
/*
 * Checks of arguments, and reports of misuse. A bad free is reported once per call site.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/xarray.h>

#include "spanheap_internal.h"

#define FENCE_LOOKS	4096u	/* most spans searched for the report of a lost arena */

/*
 * False: gfp has flags that the heap cannot honour. Pages of a cached span would stay
 * charged to the cgroup that allocated them first. So __GFP_ACCOUNT is refused, with a
 * message only, because its use is no mistake. All other flags get a warning.
 */
bool spanheap_gfp_ok(gfp_t gfp)
{
	if (gfp & __GFP_ACCOUNT) {
		pr_warn_once("__GFP_ACCOUNT is refused, as spans are not charged to a cgroup: allocate without it, or with vmalloc()\n");
		return false;
	}
	return !WARN_ONCE(gfp & ~GFP_ALLOWED,
			  "spanheap: gfp 0x%x has flags that no span can have\n",
			  (__force unsigned int)gfp) &&
	       !WARN_ONCE(gfp & __GFP_NOFAIL && !gfpflags_allow_blocking(gfp),
			  "spanheap: __GFP_NOFAIL where nothing may block\n");
}

/*
 * The arena is lost: a caller passed the address of a span to vfree(), kvfree() or
 * kvfree_rcu(), which unmap the whole vmalloc area of an address. The heap cannot prevent
 * this. From now on it allocates nothing, and touches neither the addresses nor their
 * page tables, because the kernel may have reused them.
 */
static void fence_off(struct spanheap *h)
{
	struct span found[LEAKS_SHOWN], *s;
	char text[SITE_TEXT];
	unsigned long flags;
	u32 idx = 0, n = 0, i;

	atomic_inc(&h->caches.paused);
	spin_lock_irqsave(&h->lock, flags);
	for (i = 0; i < FENCE_LOOKS && n < LEAKS_SHOWN && (s = __spanheap_next(h, idx)); i++) {
		idx = span_end(s);
		if (span_state(s) == SPAN_INUSE)
			found[n++] = *s;
	}
	spin_unlock_irqrestore(&h->lock, flags);
	pr_err("the arena is gone: a span was passed to vfree(), kvfree() or kvfree_rcu(), or its page tables were changed. All spans are lost, %llu pages were not free; nothing is allocated any more. Spans in use, the first of them:\n",
	       READ_ONCE(h->unlisted_pages));
	for (i = 0; i < n; i++)
		pr_err("  page %u, %u pages, allocated by %s\n", found[i].start,
		       found[i].nr_pages, spanheap_site_text(h, found[i].caller, text));
}

/* Does the heap still have its arena? The first caller that finds it lost reports this. */
bool spanheap_arena_ok(struct spanheap *h)
{
	if (unlikely(atomic_read(&h->lost)))
		return false;
	if (likely(h->ops->intact(h)))
		return true;
	if (!atomic_xchg(&h->lost, 1))
		fence_off(h);
	return false;
}

static const char * const state_names[] = {
	[SPAN_DEAD] = "dead", [SPAN_FREE] = "free", [SPAN_OWNED] = "owned by a task",
	[SPAN_INUSE] = "in use", [SPAN_RELEASING] = "being released",
	[SPAN_GUARD] = "a guard page", [SPAN_RESERVED] = "in a client's reserve",
};

/*
 * Count a bad free or resize: no in-use span starts at addr, or the span has the
 * finalizer fn. Report it once per call site.
 */
void spanheap_report_bad_free(struct spanheap *h, const void *addr,
			      unsigned long caller, spanheap_finalizer_t fn)
{
	char site[SITE_TEXT], owner[SITE_TEXT], freer[SITE_TEXT];
	struct span copy = {};
	unsigned long flags;
	struct span *s;
	bool inside;
	u64 byte;
	u32 idx;
	int err;

	spin_lock_irqsave(&h->lock, flags);
	h->invalid_frees++;
	inside = addr_to_idx(h, addr, &idx);
	s = inside ? __spanheap_span_holding(h, idx) : NULL;
	if (s)
		copy = *s;
	spin_unlock_irqrestore(&h->lock, flags);

	xa_lock_irqsave(&h->bad_callers, flags);
	err = __xa_insert(&h->bad_callers, caller, xa_mk_value(1),
			  GFP_ATOMIC | __GFP_NOWARN);
	xa_unlock_irqrestore(&h->bad_callers, flags);
	if (err == -EBUSY)
		return;
	spanheap_site_text(h, caller, site);
	if (!inside) {
		pr_err("invalid free of %p by %s: not in the arena\n", addr, site);
		return;
	}
	if (!s) {
		pr_err("invalid free of %p by %s: page %u of the arena, which was never used\n",
		       addr, site, idx);
		return;
	}
	/* Print page numbers and offsets, because %p prints a hash */
	byte = (unsigned long)addr - (unsigned long)span_addr(h, &copy);
	spanheap_site_text(h, copy.caller, owner);
	if (fn)
		pr_err("invalid free of %p by %s: byte %llu of the span of %u pages at page %u, allocated by %s, which has the finalizer %pS\n",
		       addr, site, byte, copy.nr_pages, copy.start, owner, fn);
	else if (span_state(&copy) == SPAN_CACHED)
		pr_err("invalid free of %p by %s: byte %llu of the span of %u pages at page %u, which is free (cached), last allocated by %s, last freed by %s\n",
		       addr, site, byte, copy.nr_pages, copy.start, owner,
		       spanheap_site_text(h, copy.freer, freer));
	else
		pr_err("invalid free of %p by %s: byte %llu of the span of %u pages at page %u, which is %s, last allocated by %s\n",
		       addr, site, byte, copy.nr_pages, copy.start,
		       state_names[span_state(&copy)], owner);
}

/* Log a failed allocation, or one that is retried; rate-limited */
void spanheap_log_failure(struct spanheap *h, struct spanheap_client *client,
			  size_t nr_pages, gfp_t gfp, int err, const char *then)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);
	s64 inuse;

	/* heap_cached() sums over all CPUs: call it only if a message is printed */
	if (gfp & __GFP_NOWARN || !__ratelimit(&limit))
		return;
	inuse = (s64)READ_ONCE(h->unlisted_pages) - heap_cached(h);
	pr_warn("%s: cannot allocate %zu pages (%llu bytes), %lld bytes in use: error %d%s\n",
		client->name, nr_pages, (u64)nr_pages << PAGE_SHIFT,
		max(inuse, 0LL) << PAGE_SHIFT, err, then);
}

/* Count and log a failed allocation */
void *spanheap_fail(struct spanheap *h, struct spanheap_client *client,
		    size_t nr_pages, gfp_t gfp, int err)
{
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	h->failed_allocs++;
	client->failed_allocs++;
	spin_unlock_irqrestore(&h->lock, flags);
	spanheap_log_failure(h, client, nr_pages, gfp, err, "");
	return NULL;
}
