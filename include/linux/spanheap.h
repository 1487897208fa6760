/* SPDX-License-Identifier: GPL-2.0 */
/*
 * spanheap - spans of pages for kernel modules, from a heap that keeps them
 * backed while they are hot and gives them back to the system when they idle.
 */
#ifndef _LINUX_SPANHEAP_H
#define _LINUX_SPANHEAP_H

#include <linux/cleanup.h>
#include <linux/gfp.h>
#include <linux/types.h>

struct device;
struct page;
struct spanheap_client;
struct vm_area_struct;

/**
 * enum spanheap_verdict - what a sweep callback decides about a span
 * @SPANHEAP_KEEP: the span is live, it stays allocated
 * @SPANHEAP_FREE: nobody refers to the span any more, the heap frees it
 */
enum spanheap_verdict {
	SPANHEAP_KEEP,
	SPANHEAP_FREE,
};

/**
 * struct spanheap_client_ops - callbacks of a client that is swept
 * @sweep: says whether the unswept span at addr (nr_pages pages) is still
 *	live. Called at most once per span and cycle, in process context, with no
 *	lock of the heap's held; it may sleep, allocate and free. A span that had
 *	finalizers when @sweep said SPANHEAP_FREE is kept until they have run, and
 *	asked about again in a later cycle.
 * @collect: asks the client to find out what is live and to begin a new cycle
 *	with spanheap_cycle_begin(). Process context, may sleep; one call at a time.
 *
 * Both are optional. The priv argument is &spanheap_client_attr.priv.
 *
 * A sweep callback runs in anybody's allocation that may block, do I/O and enter
 * file systems (GFP_KERNEL), as a shrinker runs in anybody's page allocation: do
 * not allocate so while holding a lock that a sweep callback takes, use GFP_NOFS
 * or GFP_NOIO. Lockdep checks this with each allocation, swept or not, once a callback
 * has run: its reports name "spanheap_sweep_callback". It also runs in a worker of its
 * own, which is frozen when the system sleeps, in spanheap_cycle_begin(),
 * spanheap_sweep_one() and spanheap_release_memory(). Callbacks of one client run on
 * several CPUs at once, for different spans. Within a sweep callback allocations
 * grow the heap instead of sweeping.
 *
 * A span is allocated for the cycle it is handed out in, and is not swept in it. A
 * span handed out just before a cycle begins is swept in that one, perhaps before
 * its owner could note it anywhere: either allocate and note under a lock that is
 * also held while a cycle begins (not one that @sweep takes), or keep what is not
 * known to be dead.
 *
 * Freeing or resizing a span that is unswept, or about which @sweep is being asked
 * at the moment, is as valid as ever and wins over the verdict: a freed span is
 * freed once, and a resized one is kept. @sweep itself may free the span it is
 * asked about. The memory of a freed span is not reused before @sweep is back, and
 * nobody but @sweep can shrink the span meanwhile, so @sweep may read the span it
 * is asked about, and no other span is at its address.
 * A verdict that is no enum spanheap_verdict is warned about and keeps the span.
 *
 * From a sweep callback, spanheap_cycle_begin(), spanheap_sweep_one() and
 * spanheap_client_unregister() are refused with a warning; from a collect callback
 * or a finalizer, the last is. From any of the three, spanheap_release_memory()
 * warns, and neither collects nor sweeps.
 */
struct spanheap_client_ops {
	enum spanheap_verdict (*sweep)(void *addr, size_t nr_pages, void *priv);
	void (*collect)(void *priv);
};

/**
 * SPANHEAP_SKIP_INIT - client flag: its own pages need not be cleared
 *
 * On a system that booted with init_on_alloc=1, such a client gets pages uncleared if it
 * is the only client that has used them since they came from the system. All other pages
 * are cleared, and so are the pages of a span that was coalesced from pages of several
 * clients. __GFP_ZERO is always honoured.
 */
#define SPANHEAP_SKIP_INIT	0x1u

/**
 * SPANHEAP_SHARED_PAGES - client flag: others may refer to the client's pages
 *
 * For a client whose pages are mapped into user space, pinned for DMA or handed to
 * another subsystem by means that the heap does not see. A free of its spans looks for
 * such references and drops the pages, as vfree() does: they live as long as their last
 * reference, and nobody else gets them before. spanheap_to_page() and spanheap_mmap() do
 * the same for single spans, without this flag. The client's spans pass the caches by.
 */
#define SPANHEAP_SHARED_PAGES	0x2u

/**
 * SPANHEAP_GUARD - client flag: an unmapped page behind each span
 *
 * Without it the byte behind a span is its neighbour's. With it, an access behind the
 * end of a span faults, as it does with vmalloc(). Each span takes a page of addresses
 * more, passes the caches by and cannot be resized. A guard page that had memory loses
 * it before the allocation returns; with a gfp that may not block, soon after.
 */
#define SPANHEAP_GUARD		0x4u

/**
 * SPANHEAP_NAME_MAX - longest client name in bytes, without the NUL
 */
#define SPANHEAP_NAME_MAX	63

/**
 * struct spanheap_client_attr - how a client introduces itself
 * @name: name of its directory in /sys/kernel/spanheap/clients; unique, not
 *	empty, at most SPANHEAP_NAME_MAX bytes, no slash, not "." or ".."
 * @limit_bytes: most bytes it may have in use at once, 0 for no limit; rounded
 *	down to pages, but not below one page, as in the sysfs file limit_bytes
 * @flags: 0, or SPANHEAP_SKIP_INIT, SPANHEAP_SHARED_PAGES and SPANHEAP_GUARD as wanted
 * @ops: callbacks, or NULL
 * @priv: passed to the callbacks
 *
 * @name is copied; what @ops and @priv point to must outlive the client.
 */
struct spanheap_client_attr {
	const char *name;
	u64 limit_bytes;
	unsigned int flags;
	const struct spanheap_client_ops *ops;
	void *priv;
};

/**
 * struct spanheap_stats - the heap's counters, as in /sys/kernel/spanheap, which
 * lacks the last two
 * @arena_bytes: address space reserved
 * @sys_bytes: address space grown into; inuse_bytes + idle_bytes
 * @inuse_bytes: in spans that clients hold
 * @idle_bytes: in free spans, cached ones included
 * @released_bytes: idle and without physical memory
 * @resident_bytes: backed by physical memory; sys_bytes - released_bytes
 * @cached_bytes: idle and in a CPU's or a node's cache
 * @objects: objects in use (a span with an obj_size counts as
 *	nr_pages * PAGE_SIZE / obj_size, any other as one)
 * @spans: spans in use
 * @span_meta_bytes: memory of span records, in use and spare
 * @other_meta_bytes: memory of the span map, the cache heads, finalizers and the
 *	profile; not the arena's page tables, clients, call stacks
 * @allocs: successful allocations
 * @frees: spans freed, swept ones included
 * @failed_allocs: refused or failed allocations
 * @invalid_frees: frees and resizes of what was not an allocated span, frees of
 *	spans with finalizers
 * @grows: times the heap grew
 * @scavenge_passes: passes over the idle spans, by the scavenger or on request
 * @scavenged_bytes: given back to the system so far
 * @tlb_flushes: flushes of all CPUs' TLBs, one per batch released
 * @largest_free_pages: length of the longest free span, in pages
 * @orphan_bytes: in use by clients that have unregistered, or left by modules that
 *	allocated without a client and are gone
 * @refaulted_bytes: backed within 60 s after their unit of 64 KiB had lost pages
 * @zeroed_bytes: cleared for __GFP_ZERO or init_on_alloc
 * @zero_skipped_bytes: not cleared, because known to be zero
 */
struct spanheap_stats {
	u64 arena_bytes;
	u64 sys_bytes;
	u64 inuse_bytes;
	u64 idle_bytes;
	u64 released_bytes;
	u64 resident_bytes;
	u64 cached_bytes;
	u64 objects;
	u64 spans;
	u64 span_meta_bytes;
	u64 other_meta_bytes;
	u64 allocs;
	u64 frees;
	u64 failed_allocs;
	u64 invalid_frees;
	u64 grows;
	u64 scavenge_passes;
	u64 scavenged_bytes;
	u64 tlb_flushes;
	u64 largest_free_pages;
	u64 orphan_bytes;
	u64 refaulted_bytes;
	u64 zeroed_bytes;
	u64 zero_skipped_bytes;
};

/**
 * typedef spanheap_finalizer_t - called after a sweep found an object dead
 * @obj: the object, still allocated
 * @arg: as given to spanheap_add_finalizer()
 *
 * Process context, may sleep; no lock of the heap's is held.
 */
typedef void (*spanheap_finalizer_t)(void *obj, void *arg);

struct spanheap_client *
spanheap_client_register(const struct spanheap_client_attr *attr);
void spanheap_client_unregister(struct spanheap_client *client);

void *spanheap_alloc(struct spanheap_client *client, size_t nr_pages,
		     gfp_t gfp) __malloc;
void *spanheap_alloc_aligned(struct spanheap_client *client, size_t nr_pages,
			     unsigned int align_shift, gfp_t gfp) __malloc;
void *spanheap_alloc_objects(struct spanheap_client *client, size_t nr_pages,
			     size_t obj_size, gfp_t gfp) __malloc;
void spanheap_free(const void *addr);
bool spanheap_resize(void *addr, size_t nr_pages, gfp_t gfp);

size_t spanheap_nr_pages(const void *addr);
void *spanheap_base(const void *addr);
void *spanheap_object(const void *addr);
struct spanheap_client *spanheap_owner(const void *addr);

struct page *spanheap_to_page(const void *addr);
int spanheap_mmap(struct vm_area_struct *vma, const void *addr, unsigned long pgoff);

int spanheap_add_finalizer(void *obj, spanheap_finalizer_t fn, void *arg, gfp_t gfp);
int spanheap_remove_finalizer(void *obj);

void spanheap_cycle_begin(struct spanheap_client *client);
long spanheap_sweep_one(struct spanheap_client *client);
void spanheap_release_memory(void);
void spanheap_get_stats(struct spanheap_stats *stats);

void *devm_spanheap_alloc(struct device *dev, struct spanheap_client *client,
			  size_t nr_pages, gfp_t gfp);

/**
 * struct spanheap_mempool - the pool_data of a mempool of spans
 * @client: who pays, or NULL
 * @nr_pages: length of each span in pages
 *
 * mempool_create(min_nr, spanheap_mempool_alloc, spanheap_mempool_free, &pool)
 */
struct spanheap_mempool {
	struct spanheap_client *client;
	size_t nr_pages;
};

void *spanheap_mempool_alloc(gfp_t gfp, void *data);
void spanheap_mempool_free(void *addr, void *data);

DEFINE_FREE(spanheap, void *, if (_T) spanheap_free(_T))

#endif /* _LINUX_SPANHEAP_H */
