// SPDX-License-Identifier: GPL-2.0
/*
 * Module life, parameters, and the exported functions.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#define CREATE_TRACE_POINTS
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

/* ---- parameters ---- */

unsigned int spanheap_cache_kb = 256;
static unsigned long arena_mb;
static bool arena_mb_given;

static int set_arena_mb(const char *val, const struct kernel_param *kp)
{
	arena_mb_given = true;
	return param_set_ulong(val, kp);
}

static const struct kernel_param_ops arena_mb_ops = {
	.set = set_arena_mb,
	.get = param_get_ulong,
};

/* From 4 MiB on, a larger value only lets nodes keep more */
#define CACHE_KB_MAX	16384u

static int set_cache_kb(const char *val, const struct kernel_param *kp)
{
	unsigned int kb;
	int err = kstrtouint(val, 0, &kb);

	if (err)
		return err;
	if (kb > CACHE_KB_MAX) {
		pr_err("cache_kb must be between 0 and %u\n", CACHE_KB_MAX);
		return -ERANGE;
	}
	spanheap_cache_kb = kb;
	return 0;
}

static const struct kernel_param_ops cache_kb_ops = {
	.set = set_cache_kb,
	.get = param_get_uint,
};

module_param_cb(arena_mb, &arena_mb_ops, &arena_mb, 0444);
MODULE_PARM_DESC(arena_mb, "address space to reserve, in MiB (default: a quarter of RAM)");
module_param_cb(scavenge_age_ms, &spanheap_ms_ops, &spanheap_scavenge_age_ms, 0644);
MODULE_PARM_DESC(scavenge_age_ms, "release spans idle for so long (default 1000)");
module_param_cb(scavenge_period_ms, &spanheap_ms_ops, &spanheap_scavenge_period_ms, 0644);
MODULE_PARM_DESC(scavenge_period_ms, "time between passes of the scavenger (default 0: half the age)");
module_param_cb(force_cycle_ms, &spanheap_ms_ops, &spanheap_force_cycle_ms, 0644);
MODULE_PARM_DESC(force_cycle_ms, "ask clients to collect when they have not for so long (default 120000)");
module_param_cb(limit_bytes, &spanheap_limit_ops, &spanheap_limit_bytes, 0644);
MODULE_PARM_DESC(limit_bytes, "release what is idle at once while more is resident (default 0: no limit)");
module_param_cb(cache_kb, &cache_kb_ops, &spanheap_cache_kb, 0444);
MODULE_PARM_DESC(cache_kb, "size of the per-CPU caches in KiB: a quarter of the longest cached span (default 256, at most 16384, 0: no caches)");
module_param_named(trace, spanheap_log_passes, bool, 0644);
MODULE_PARM_DESC(trace, "log a line per pass of the scavenger");

/* ---- clients ---- */

/**
 * spanheap_client_register() - register a user of the heap
 * @attr: its name, limit, flags and callbacks; may be freed after the call
 *
 * The client appears in /sys/kernel/spanheap/clients/. The heap charges the client for its
 * allocations and refuses them beyond its limit. spanheap cannot be unloaded while the
 * client is registered.
 *
 * Context: Process context. May sleep. Takes the lock of the client registry.
 * Return: the client, or ERR_PTR: -EINVAL for no @attr, a bad name or flag, or a reserve
 * beyond the limit or the arena, -EEXIST for a name in use, -ENOMEM, also if there is no
 * memory for the reserve, -ENODEV before the heap exists (built in, early in the boot).
 */
struct spanheap_client *
spanheap_client_register(const struct spanheap_client_attr *attr)
{
	if (!spanheap_heap)
		return ERR_PTR(-ENODEV);
	return spanheap_heap_register(spanheap_heap, attr);
}
EXPORT_SYMBOL_GPL(spanheap_client_register);

/**
 * spanheap_client_unregister() - unregister a client
 * @client: from spanheap_client_register(); NULL and ERR_PTR are ignored
 *
 * The heap reports spans that the client has not freed (the first ten with address, pages
 * and allocating call site). They stay allocated as orphans and may still be freed;
 * spanheap cannot be unloaded before they are. When this function returns, callbacks of the
 * client and queued finalizers have completed, and none begins any more. The heap drops
 * the finalizers of orphans, with a message. Nobody may allocate for the client at the
 * same time or later.
 *
 * Context: Process context, interrupts enabled. May sleep. Takes the lock of the
 * client registry and the heap lock. The caller must not hold a lock that a callback or
 * finalizer takes. In a callback or a finalizer it warns and does nothing.
 */
void spanheap_client_unregister(struct spanheap_client *client)
{
	if (!IS_ERR_OR_NULL(client))
		spanheap_heap_unregister(client);
}
EXPORT_SYMBOL_GPL(spanheap_client_unregister);

/* ---- allocation and free ---- */

static void *do_alloc(struct spanheap_client *client, size_t nr_pages,
		      unsigned int align_shift, size_t obj_size, gfp_t gfp,
		      unsigned long caller)
{
	if (!spanheap_heap || IS_ERR(client))
		return NULL;
	return spanheap_heap_alloc(spanheap_heap, client, nr_pages, align_shift,
				   obj_size, gfp, caller);
}

/**
 * spanheap_alloc() - allocate a span of pages
 * @client: the client to charge, or NULL for an anonymous allocation
 * @nr_pages: length in pages, at least 1
 * @gfp: see below
 *
 * The span is contiguous in vmalloc space and backed by order-0 pages. Its content
 * is undefined without __GFP_ZERO, unless the system booted with init_on_alloc=1.
 *
 * If the module that allocated an anonymous span unloads without freeing it, the heap
 * reports the span and makes it an orphan, which may still be freed.
 *
 * Up to 256 pages come from the CPU's cache, if it has a span of that length. Otherwise
 * the heap takes the best fit: the shortest free span that is long enough, lowest address
 * among equals of 256 pages or more (page heap of the Go 1.3 runtime). If no free span
 * fits, the heap sweeps unswept spans first, if @gfp allows what GFP_KERNEL allows; then it
 * grows.
 *
 * @gfp is GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT, GFP_ATOMIC or GFP_USER, with any of
 *
 * * __GFP_ZERO: clear the span; __GFP_NOWARN: log no failure
 * * __GFP_NORETRY, __GFP_RETRY_MAYFAIL, __GFP_NOMEMALLOC, __GFP_MEMALLOC: passed on to
 *   the page allocator
 * * __GFP_HARDWALL, __GFP_THISNODE: passed on if the span needs new pages
 * * __GFP_HIGHMEM, __GFP_NOLOCKDEP: no effect on the span
 * * __GFP_NOFAIL: retry without end, logged as "Retrying", unless @nr_pages can never be
 *   had. The caches do not serve this flag. If @gfp forbids blocking, the heap refuses it
 *   with a warning
 *
 * The heap refuses __GFP_ACCOUNT with a message: spans are not charged to cgroups. It refuses
 * any other flag (a zone, __GFP_MOVABLE, __GFP_COMP) with a warning, once.
 *
 * The heap counts each failure and logs it (rate-limited) without __GFP_NOWARN. Errors in
 * the log: -28, the arena is full, or the rest of it is in caches, which the heap
 * empties first if @gfp may block; -122, the client is at its limit; -12, the system has no
 * memory; -4, the task is being killed, and gets at most 32 pages that the heap has
 * to take from the system; -22, the request is invalid; -14, the arena is lost, because
 * a module passed a span to vfree().
 *
 * If the allocation may not block and would fail, a client with a reserve gets pages from
 * its reserve.
 *
 * Context: Any but NMI, as @gfp allows. Takes the heap lock (irqsave) unless the
 * caches have a span. With a @gfp that may block, it empties the caches of all CPUs if
 * the arena is full, and gives some idle pages back, with one flush of all TLBs, if the
 * heap holds far more pages than are in use. With a @gfp like GFP_KERNEL, runs sweep
 * callbacks of any client: see &struct spanheap_client_ops.
 * Return: the page-aligned address, or NULL.
 */
void *spanheap_alloc(struct spanheap_client *client, size_t nr_pages, gfp_t gfp)
{
	return do_alloc(client, nr_pages, 0, 0, gfp, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_alloc);

/**
 * spanheap_alloc_aligned() - allocate a span at an aligned virtual address
 * @client: the client to charge, or NULL
 * @nr_pages: length in pages, at least 1
 * @align_shift: log2 of the alignment in bytes, for example PMD_SHIFT; values up to
 *	PAGE_SHIFT change nothing
 * @gfp: as for spanheap_alloc()
 *
 * Needs contiguous free address space of @nr_pages plus the alignment minus one page.
 * Only the span itself gets memory. The caches serve spans of up to 256 pages, as with
 * spanheap_alloc(), if a short search finds an aligned span in them.
 *
 * Context: As spanheap_alloc().
 * Return: the address, or NULL.
 */
void *spanheap_alloc_aligned(struct spanheap_client *client, size_t nr_pages,
			     unsigned int align_shift, gfp_t gfp)
{
	return do_alloc(client, nr_pages, align_shift, 0, gfp, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_alloc_aligned);

/**
 * spanheap_alloc_objects() - allocate a span that holds objects of one size
 * @client: the client to charge, or NULL
 * @nr_pages: length in pages, at least 1
 * @obj_size: size of an object in bytes, at most the span's, and less than 4 GiB; 0:
 *	the span is one object
 * @gfp: as for spanheap_alloc()
 *
 * spanheap_object() then finds the object that holds an interior address.
 *
 * Context: As spanheap_alloc().
 * Return: the address, or NULL.
 */
void *spanheap_alloc_objects(struct spanheap_client *client, size_t nr_pages,
			     size_t obj_size, gfp_t gfp)
{
	return do_alloc(client, nr_pages, 0, obj_size, gfp, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_alloc_objects);

/**
 * spanheap_free() - free a span
 * @addr: address that an allocation returned, or NULL
 *
 * For any other address, and for a span that has finalizers, the heap counts an invalid
 * free, reports it once per call site, and changes nothing.
 *
 * Context: Any but NMI. Takes the heap lock (irqsave) unless the caches take the span.
 * Never allocates for the free itself, never sleeps, never fails.
 */
void spanheap_free(const void *addr)
{
	if (spanheap_heap)
		spanheap_heap_free(spanheap_heap, addr, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_free);

/**
 * spanheap_resize() - change the length of a span in place
 * @addr: start of an in-use span
 * @nr_pages: new length in pages, at least 1
 * @gfp: as for spanheap_alloc()
 *
 * The span grows into free pages right behind it, or the heap grows if the span is
 * the last one. New pages are as from spanheap_alloc(). Returns false if
 *
 * * the pages behind the span are not free (cached spans are not), are beyond the client's
 *   limit, or get no memory;
 * * a finalizer would lie beyond the new end, or less than one object would be left;
 * * the client is being unregistered, or has SPANHEAP_GUARD and the length would change;
 * * another task's sweep callback is running for a span that would shrink, or shrinking lacks
 *   memory for a record.
 *
 * If no in-use span starts at @addr, the heap counts and reports an invalid free.
 *
 * Context: Any but NMI, as @gfp allows. Takes the heap lock (irqsave). Does not
 * sweep. The span must not be freed before this function returns, and look-ups do not find it.
 * Return: true, or false with nothing changed.
 */
bool spanheap_resize(void *addr, size_t nr_pages, gfp_t gfp)
{
	return spanheap_heap && spanheap_heap_resize(spanheap_heap, addr, nr_pages,
						     gfp, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_resize);

/* ---- look-up ---- */

static bool find(const void *addr, struct span_view *s)
{
	return spanheap_heap && spanheap_heap_lookup(spanheap_heap, addr, s);
}

/**
 * spanheap_nr_pages() - length of the span that holds an address
 * @addr: any address
 *
 * Context: Any. Takes no lock; constant time.
 * Return: pages of the in-use span holding @addr, else 0. If the caller does not hold the
 * span, the answer was true at some time during the call.
 */
size_t spanheap_nr_pages(const void *addr)
{
	struct span_view s;

	return find(addr, &s) ? s.nr_pages : 0;
}
EXPORT_SYMBOL_GPL(spanheap_nr_pages);

/**
 * spanheap_base() - start of the span that holds an address
 * @addr: any address
 *
 * Context: Any. Takes no lock; constant time.
 * Return: start of the in-use span holding @addr, else NULL; valid as with
 * spanheap_nr_pages().
 */
void *spanheap_base(const void *addr)
{
	struct span_view s;

	return find(addr, &s) ? page_addr(spanheap_heap, s.start) : NULL;
}
EXPORT_SYMBOL_GPL(spanheap_base);

/**
 * spanheap_object() - start of the object that holds an address
 * @addr: any address
 *
 * Context: Any. Takes no lock; constant time.
 * Return: start of the object (of the span, if it has no object size), or
 * NULL: @addr is in no in-use span or behind its last object; valid as with
 * spanheap_nr_pages().
 */
void *spanheap_object(const void *addr)
{
	return spanheap_heap ? spanheap_heap_object(spanheap_heap, addr) : NULL;
}
EXPORT_SYMBOL_GPL(spanheap_object);

/**
 * spanheap_owner() - client of the span that holds an address
 * @addr: any address
 *
 * Context: Any. Takes no lock; constant time.
 * Return: the client; NULL for an anonymous span, an orphan, or no span; valid as with
 * spanheap_nr_pages(). The client may be unregistered at any time.
 */
struct spanheap_client *spanheap_owner(const void *addr)
{
	struct span_view s;

	if (!find(addr, &s) || s.client == spanheap_heap->anon ||
	    s.client == spanheap_heap->orphan)
		return NULL;
	return s.client;
}
EXPORT_SYMBOL_GPL(spanheap_owner);

/* ---- shared pages of a span ---- */

/**
 * spanheap_to_page() - the page behind an address in a span
 * @addr: an address in an in-use span that the caller holds
 *
 * Like vmalloc_to_page(), but marks the span's pages as shared: a page with a reference
 * survives the free of the span, and has no new owner before its last reference is gone.
 *
 * Context: Any. Takes no lock.
 * Return: the page, or NULL: @addr is in no in-use span.
 */
struct page *spanheap_to_page(const void *addr)
{
	return spanheap_heap ? spanheap_heap_to_page(spanheap_heap, addr) : NULL;
}
EXPORT_SYMBOL_GPL(spanheap_to_page);

/**
 * spanheap_mmap() - map a span into user space
 * @vma: area to map the span into; all of it is mapped
 * @addr: start of an in-use span that the caller holds
 * @pgoff: first page of the span to map
 *
 * The counterpart of remap_vmalloc_range(), for any span. Marks the pages as shared, as
 * spanheap_to_page() does: after a free of the span only the mapping has them.
 *
 * Context: Process context, with the mmap lock held for writing, as in a file's mmap
 * handler. May sleep.
 * Return: 0; -EINVAL: no in-use span starts at @addr, or @vma is longer than the rest of the
 * span from @pgoff on; -ENOMEM: no memory for page tables. If an mmap handler fails, its
 * caller unmaps the pages that are already mapped.
 */
int spanheap_mmap(struct vm_area_struct *vma, const void *addr, unsigned long pgoff)
{
	return spanheap_heap ? spanheap_heap_mmap(spanheap_heap, vma, addr, pgoff) : -EINVAL;
}
EXPORT_SYMBOL_GPL(spanheap_mmap);

/* ---- finalizers ---- */

/**
 * spanheap_add_finalizer() - call a function when an object is found dead
 * @obj: start of an object: of a span, or of one of the objects in a span from
 *	spanheap_alloc_objects()
 * @fn: the function
 * @arg: passed to @fn
 * @gfp: as for spanheap_alloc()
 *
 * When the client's sweep callback returns SPANHEAP_FREE for the span, the heap keeps the
 * span and queues the finalizers of all its objects. Each runs once, in process
 * context without a lock of the heap. It may allocate, free other spans, sleep,
 * and add a finalizer of @obj again. The next sweep calls the callback for the span again, in
 * a later cycle, and frees the span unless the callback then returns SPANHEAP_KEEP, or
 * the span has finalizers again. By then the client may have forgotten the span; the
 * callback must return SPANHEAP_FREE for it nevertheless.
 *
 * An unswept span that gets a finalizer counts as live in this cycle, so the heap calls the
 * callback for it in the next cycle at the earliest.
 *
 * While the span has finalizers, or they run, the heap refuses spanheap_free() of it
 * as an invalid free: remove the finalizers first. spanheap_client_unregister() waits for
 * queued finalizers and drops the others of the client's spans. Anonymous spans, orphans, and
 * spans of a client without a sweep callback are never swept, and cannot have finalizers.
 *
 * Context: Any but NMI, as @gfp allows. Takes the heap lock (irqsave) if any span is
 * unswept, and a special lock (irqsave). Not while the span is resized or freed.
 * Return: 0; -EEXIST: @obj has a finalizer; -EINVAL: @obj is no object in use, or its span
 * is being resized or never swept, @fn is NULL, or @gfp is not allowed; -ENOMEM.
 */
int spanheap_add_finalizer(void *obj, spanheap_finalizer_t fn, void *arg, gfp_t gfp)
{
	if (!spanheap_heap)
		return -EINVAL;
	return spanheap_finalizer_add(spanheap_heap, obj, fn, arg, gfp);
}
EXPORT_SYMBOL_GPL(spanheap_add_finalizer);

/**
 * spanheap_remove_finalizer() - remove a finalizer
 * @obj: as given to spanheap_add_finalizer()
 *
 * A finalizer that a sweep has queued cannot be removed; it will run.
 *
 * Context: Any but NMI. Takes a special lock (irqsave).
 * Return: 0, or -ENOENT: @obj has no finalizer, or it is queued.
 */
int spanheap_remove_finalizer(void *obj)
{
	return spanheap_heap ? spanheap_finalizer_remove(spanheap_heap, obj) : -ENOENT;
}
EXPORT_SYMBOL_GPL(spanheap_remove_finalizer);

/* ---- sweeping ---- */

/**
 * spanheap_cycle_begin() - begin a cycle: spans that are not live may be swept
 * @client: from spanheap_client_register(); it has marked what is live
 *
 * First sweeps the spans that are left of the old cycle, and waits for sweep callbacks of the
 * client that run on other CPUs. Then all spans of the client are unswept. For a
 * client without a sweep callback, this only records the time of its last cycle.
 *
 * Context: Process context. May sleep. Takes the client's cycle lock and the heap
 * lock. The caller must not hold a lock that a sweep callback takes. In a sweep callback it
 * warns and does nothing. Several tasks may begin cycles at once.
 */
void spanheap_cycle_begin(struct spanheap_client *client)
{
	if (!IS_ERR_OR_NULL(client))
		spanheap_cycle(client);
}
EXPORT_SYMBOL_GPL(spanheap_cycle_begin);

/**
 * spanheap_sweep_one() - sweep any one unswept span of a client
 * @client: from spanheap_client_register()
 *
 * No client needs to call this: allocations and a worker also sweep.
 *
 * Context: Process context. May sleep. Takes the heap lock. The caller must not hold a lock
 * that a sweep callback takes. In a sweep callback it warns and does nothing.
 * Return: pages of the span if the sweep freed it, 0 if it was kept (or its owner freed it
 * meanwhile), -1 if no span is unswept or the client has no sweep callback.
 */
long spanheap_sweep_one(struct spanheap_client *client)
{
	if (IS_ERR_OR_NULL(client) || !client->sweep)
		return -1;
	if (WARN_ONCE(spanheap_in_callback(client->heap, true),
		      "spanheap: sweep from within a sweep callback\n"))
		return -1;
	return spanheap_sweep(client, 1, SMALL_PAGES);
}
EXPORT_SYMBOL_GPL(spanheap_sweep_one);

/* ---- the whole heap ---- */

/**
 * spanheap_release_memory() - collect, sweep, then give all idle pages back now
 *
 * Calls every collect callback, sweeps all unswept spans, empties the caches, and waits until
 * all memory that is idle by then is released.
 *
 * Context: Process context, interrupts enabled. May sleep. Takes the locks of the
 * client registry and of releasers, and the heap lock. The caller must not hold a lock that
 * a callback takes. In a callback or a finalizer it warns, and gives idle memory back
 * without collecting or sweeping.
 */
void spanheap_release_memory(void)
{
	if (spanheap_heap)
		spanheap_release_all(spanheap_heap);
}
EXPORT_SYMBOL_GPL(spanheap_release_memory);

/**
 * spanheap_get_stats() - read the heap's counters
 * @stats: result; each value was true at some moment during the call. Always
 *	inuse + idle = sys, sys - released = resident and released + cached <= idle
 *
 * Context: Any. Takes no lock; reads a counter of each possible CPU.
 */
void spanheap_get_stats(struct spanheap_stats *stats)
{
	if (spanheap_heap)
		spanheap_heap_stats(spanheap_heap, stats, true);
	else
		memset(stats, 0, sizeof(*stats));
}
EXPORT_SYMBOL_GPL(spanheap_get_stats);

/**
 * spanheap_mempool_alloc() - a &mempool_alloc_t for mempools of spans
 * @gfp: as for spanheap_alloc()
 * @data: pool_data: a &struct spanheap_mempool; or the number of pages, cast to a
 *	pointer, for anonymous spans
 *
 * Context: As spanheap_alloc().
 * Return: the address, or NULL.
 */
void *spanheap_mempool_alloc(gfp_t gfp, void *data)
{
	struct spanheap_mempool *pool = data;

	if ((unsigned long)data <= U32_MAX)	/* not a kernel address */
		return do_alloc(NULL, (unsigned long)data, 0, 0, gfp, _RET_IP_);
	return do_alloc(pool->client, pool->nr_pages, 0, 0, gfp, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_mempool_alloc);

/**
 * spanheap_mempool_free() - a &mempool_free_t for mempools of spans
 * @addr: address that spanheap_mempool_alloc() returned
 * @data: not used
 *
 * Context: As spanheap_free().
 */
void spanheap_mempool_free(void *addr, void *data)
{
	if (spanheap_heap)
		spanheap_heap_free(spanheap_heap, addr, _RET_IP_);
}
EXPORT_SYMBOL_GPL(spanheap_mempool_free);

struct devm_span {
	void *addr;
	unsigned long caller;		/* of devm_spanheap_alloc() */
};

/* A bad free here means that the driver has freed the span: name the driver's call site */
static void devm_release(struct device *dev, void *res)
{
	struct devm_span *d = res;

	spanheap_heap_free(spanheap_heap, d->addr, d->caller);
}

/**
 * devm_spanheap_alloc() - allocate a span that is freed with a device
 * @dev: the device
 * @client: the client to charge, or NULL
 * @nr_pages: length in pages, at least 1
 * @gfp: as for spanheap_alloc()
 *
 * To free the span earlier, call devm_spanheap_free(), and no other function: the report of
 * the invalid free would name the caller of this function. Unregister @client only after
 * the device's resources are released, which is after the driver's remove function.
 * devm_spanheap_client_register(), called before, does that.
 *
 * Context: Process context, as @gfp allows. Otherwise as spanheap_alloc().
 * Return: the address, or NULL.
 */
void *devm_spanheap_alloc(struct device *dev, struct spanheap_client *client,
			  size_t nr_pages, gfp_t gfp)
{
	void *addr = do_alloc(client, nr_pages, 0, 0, gfp, _RET_IP_);
	struct devm_span *d;

	if (!addr)
		return NULL;
	d = devres_alloc(devm_release, sizeof(*d), gfp & (GFP_META | __GFP_NOWARN));
	if (!d) {
		spanheap_free(addr);
		return NULL;
	}
	d->caller = _RET_IP_;
	d->addr = addr;
	devres_add(dev, d);
	return addr;
}
EXPORT_SYMBOL_GPL(devm_spanheap_alloc);

static int devm_match(struct device *dev, void *res, void *addr)
{
	return ((struct devm_span *)res)->addr == addr;
}

/**
 * devm_spanheap_free() - free a span before its device goes
 * @dev: the device
 * @addr: what devm_spanheap_alloc() returned for @dev, or NULL
 *
 * Anything else is a bad free, as for spanheap_free().
 *
 * Context: Process context. Otherwise as spanheap_free().
 */
void devm_spanheap_free(struct device *dev, const void *addr)
{
	if (!addr || !spanheap_heap)
		return;
	if (devres_destroy(dev, devm_release, devm_match, (void *)addr))
		spanheap_report_bad_free(spanheap_heap, addr, _RET_IP_, NULL);
	else
		spanheap_heap_free(spanheap_heap, addr, _RET_IP_);
}
EXPORT_SYMBOL_GPL(devm_spanheap_free);

static void devm_unregister(struct device *dev, void *res)
{
	spanheap_client_unregister(*(struct spanheap_client **)res);
}

/**
 * devm_spanheap_client_register() - introduce a client that ends with a device
 * @dev: the device
 * @attr: as for spanheap_client_register()
 *
 * Called in the driver's probe function before devm_spanheap_alloc() for the client. When
 * the device goes, or the probe fails, the spans are freed and then the client ends: the
 * driver undoes nothing by hand. Spans that it has allocated otherwise are freed by its
 * remove function.
 *
 * Context: As spanheap_client_register().
 * Return: the client, or ERR_PTR as spanheap_client_register().
 */
struct spanheap_client *
devm_spanheap_client_register(struct device *dev, const struct spanheap_client_attr *attr)
{
	struct spanheap_client **res = devres_alloc(devm_unregister, sizeof(*res), GFP_KERNEL);
	struct spanheap_client *c;

	if (!res)
		return ERR_PTR(-ENOMEM);
	c = spanheap_client_register(attr);
	if (IS_ERR(c)) {
		devres_free(res);
		return c;
	}
	*res = c;
	devres_add(dev, res);
	return c;
}
EXPORT_SYMBOL_GPL(devm_spanheap_client_register);

/* ---- module life ---- */

static unsigned long heap_clock(void)
{
	return jiffies;
}

/* Pages to reserve, or 0 if arena_mb is out of range */
static unsigned long arena_pages(void)
{
	/* vmap() refuses more pages than the machine has; one is for the sentinel */
	unsigned long ram = totalram_pages() - 1, pages;

	if (!arena_mb_given)
		return min_t(unsigned long, ram / 4, S32_MAX);	/* a page index is 32 bits */
	if (!arena_mb || arena_mb > S32_MAX >> (20 - PAGE_SHIFT))
		return 0;
	pages = arena_mb << (20 - PAGE_SHIFT);
	if (pages <= ram)
		return pages;
	pr_warn("arena_mb=%lu is more than the machine has, using %lu\n",
		arena_mb, ram >> (20 - PAGE_SHIFT));
	return ram;
}

static int __init spanheap_init(void)
{
	unsigned long pages = arena_pages();
	struct spanheap *h;
	int err;

	if (!pages) {
		pr_err("arena_mb must be between 1 and %d\n",
		       S32_MAX >> (20 - PAGE_SHIFT));
		return -EINVAL;
	}
	err = spanheap_span_cache_create();
	if (err)
		return err;
	err = spanheap_special_setup();
	if (err)
		goto out_records;
	err = spanheap_cache_setup();
	if (err)
		goto out_special;
	h = spanheap_heap_create(&spanheap_arena_ops, pages, heap_clock);
	if (IS_ERR(h)) {
		err = PTR_ERR(h);
		goto out_cache;
	}
	spanheap_heap = h;
	arena_mb = pages >> (20 - PAGE_SHIFT);
	err = spanheap_cache_init(h, spanheap_cache_kb);
	if (err)
		goto out_heap;
	err = spanheap_sysfs_init(h);
	if (err)
		goto out_heap;
	err = spanheap_scav_start(h);
	if (err)
		goto out_sysfs;
	err = spanheap_module_start();
	if (err)
		goto out_scav;
	err = spanheap_notify_start();
	if (err)
		goto out_module;
	spanheap_prof_start(h);
	spanheap_debugfs_init(h);
	pr_info("%lu MiB of %s reserved\n", arena_mb, h->ops->name);
	return 0;

out_module:
	spanheap_module_stop();
out_scav:
	spanheap_scav_stop();
out_sysfs:
	spanheap_sysfs_exit();
out_heap:
	spanheap_heap = NULL;
	spanheap_heap_destroy(h);
out_cache:
	spanheap_cache_teardown();
out_special:
	spanheap_special_teardown();
out_records:
	spanheap_span_cache_destroy();
	return err;
}

static void __exit spanheap_exit(void)
{
	struct spanheap *h = spanheap_heap;

	spanheap_prof_stop();
	spanheap_debugfs_exit();
	spanheap_notify_stop();
	spanheap_module_stop();
	spanheap_vmalloc_exit();
	spanheap_scav_stop();
	spanheap_sysfs_exit();
	rcu_barrier();		/* what was to be freed after a grace period is */
	spanheap_heap = NULL;
	spanheap_heap_destroy(h);
	rcu_barrier();		/* wait for free_client_rcu() of unregistered clients */
	spanheap_cache_teardown();
	spanheap_special_teardown();
	spanheap_span_cache_destroy();
}

module_init(spanheap_init);
module_exit(spanheap_exit);

MODULE_DESCRIPTION("Page-span allocator that gives idle memory back");
MODULE_AUTHOR("The spanheap authors");
MODULE_LICENSE("GPL");
