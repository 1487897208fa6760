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
struct sg_table;
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
 * @sweep: returns whether the unswept span at addr (nr_pages pages) is still
 *	live. Called at most once per span and cycle, in process context, without a
 *	lock of the heap; may sleep, allocate and free. If the span has
 *	finalizers when @sweep returns SPANHEAP_FREE, the heap keeps the span until they
 *	have run, and calls @sweep for the span again in a later cycle.
 * @collect: finds out what is live and begins a new cycle
 *	with spanheap_cycle_begin(). Process context, may sleep; one call at a time.
 *
 * Both are optional. The priv argument is &spanheap_client_attr.priv.
 *
 * A sweep callback may run in an allocation of any client that may block, do I/O and enter
 * file systems (GFP_KERNEL), as a shrinker runs in any page allocation. Use GFP_NOFS
 * or GFP_NOIO to allocate under a lock that a sweep callback takes. Lockdep checks
 * this at each such allocation, once a callback has run; its reports name
 * "spanheap_sweep_callback". Sweep callbacks also run in a worker, which is frozen
 * while the system sleeps, in spanheap_cycle_begin(), spanheap_sweep_one() and
 * spanheap_release_memory(). Callbacks of one client run on several CPUs at once, for
 * different spans. An allocation within a sweep callback grows the heap instead of sweeping.
 *
 * The heap does not sweep a span in the cycle in which the span was allocated. But if a
 * cycle begins just after the allocation, the span may be swept in this cycle before
 * its owner has recorded it anywhere. To prevent that, either allocate and record under a
 * lock that is also held while a cycle begins (not a lock that @sweep takes), or let
 * @sweep keep every span that is not known to be dead.
 *
 * The owner may free or resize a span that is unswept, or for which @sweep is
 * running. The free or resize then overrides the verdict: a freed span is
 * freed once, and a resized span is kept. @sweep itself may free its span. The heap does
 * not reuse the memory of a freed span before @sweep returns, and only @sweep can shrink
 * the span meanwhile. So @sweep may read its span, and no other span has its address.
 * The heap warns of a verdict that is not in enum spanheap_verdict, and keeps the span.
 *
 * Within a sweep callback, spanheap_cycle_begin(), spanheap_sweep_one() and
 * spanheap_client_unregister() warn and do nothing. Within a collect callback
 * or a finalizer, this is so for spanheap_client_unregister(). Within any of the three,
 * spanheap_release_memory() warns, and neither collects nor sweeps.
 */
struct spanheap_client_ops {
	enum spanheap_verdict (*sweep)(void *addr, size_t nr_pages, void *priv);
	void (*collect)(void *priv);
};

/**
 * SPANHEAP_SKIP_INIT - client flag: do not clear the client's own old pages
 *
 * On a system that booted with init_on_alloc=1, the heap does not clear pages for such a
 * client if only this client has used them since they came from the system. The heap clears
 * all other pages, and the pages of a span that was coalesced from pages of several
 * clients. __GFP_ZERO is always honoured.
 */
#define SPANHEAP_SKIP_INIT	0x1u

/**
 * SPANHEAP_SHARED_PAGES - client flag: others may refer to the client's pages
 *
 * For a client that maps its pages into user space, pins them for DMA or passes them to
 * another subsystem without the heap's functions. A free of a span of this client looks for
 * references to its pages and drops referenced pages from the heap, as vfree() does: a page
 * lives until its last reference is gone, and has no new owner before. spanheap_to_page() and
 * spanheap_mmap() do the same for single spans, without this flag. The caches do not serve
 * such a client.
 */
#define SPANHEAP_SHARED_PAGES	0x2u

/**
 * SPANHEAP_GUARD - client flag: an unmapped page behind each span
 *
 * Without this flag the byte behind a span belongs to the next span. With it, an access
 * behind the end of a span faults, as with vmalloc(). Each span takes one more page of
 * addresses and cannot be resized, and the caches do not serve the client. A guard page that
 * had memory loses it before the allocation returns, or soon after if the gfp forbids blocking.
 */
#define SPANHEAP_GUARD		0x4u

/**
 * SPANHEAP_NAME_MAX - longest client name in bytes, without the NUL
 */
#define SPANHEAP_NAME_MAX	63

/**
 * struct spanheap_client_attr - what a client registers with
 * @name: name of its directory in /sys/kernel/spanheap/clients; unique, not
 *	empty, at most SPANHEAP_NAME_MAX bytes, no slash, not "." or ".."
 * @limit_bytes: maximum of bytes in use, 0 for no limit; rounded
 *	down to pages, but not below one page, as in the sysfs file limit_bytes
 * @reserve_bytes: memory that the client's allocations with GFP_NOWAIT and GFP_ATOMIC can
 *	have even if neither the heap nor the system has any; 0 for none; rounded up to
 *	pages, and not more than @limit_bytes, if there is a limit. It serves one span of
 *	this length, or several that add up to it; an aligned span uses the pages before
 *	its address, too. The pages are backed, and for this client only, from its
 *	registration on. After use, a worker fills the reserve up as soon as the system has
 *	memory
 * @flags: 0, or SPANHEAP_SKIP_INIT, SPANHEAP_SHARED_PAGES and SPANHEAP_GUARD as wanted
 * @ops: callbacks, or NULL
 * @priv: passed to the callbacks
 *
 * The heap copies @name. The objects at @ops and @priv must outlive the client.
 */
struct spanheap_client_attr {
	const char *name;
	u64 limit_bytes;
	u64 reserve_bytes;
	unsigned int flags;
	const struct spanheap_client_ops *ops;
	void *priv;
};

/**
 * struct spanheap_stats - the heap's counters; /sys/kernel/spanheap has all but the
 * last three
 * @arena_bytes: address space reserved
 * @sys_bytes: address space used so far; inuse_bytes + idle_bytes
 * @inuse_bytes: in spans that clients hold
 * @idle_bytes: in free spans, cached ones included
 * @released_bytes: idle and without physical memory
 * @resident_bytes: backed by physical memory; sys_bytes - released_bytes
 * @cached_bytes: idle, in the caches of CPUs and nodes
 * @objects: objects in use (a span with an obj_size counts as
 *	nr_pages * PAGE_SIZE / obj_size, any other span as one)
 * @spans: spans in use
 * @span_meta_bytes: memory of span records, in use and spare
 * @other_meta_bytes: memory of the span map, the structures of the caches, finalizers and
 *	the profile with its call stacks; without page tables of the arena and clients
 * @allocs: successful allocations
 * @frees: spans freed, including swept spans
 * @failed_allocs: refused or failed allocations
 * @invalid_frees: frees and resizes of an address at which no allocated span starts, and
 *	frees of spans with finalizers
 * @grows: times the heap grew
 * @scavenge_passes: passes over the idle spans, by the scavenger or on request
 * @scavenged_bytes: given back to the system so far
 * @tlb_flushes: flushes of the TLBs of all CPUs, one per batch released
 * @largest_free_pages: length of the longest free span, in pages
 * @orphan_bytes: in spans of unregistered clients, and in spans that unloaded modules
 *	allocated without a client
 * @refaulted_bytes: backed within 60 s after their unit of 64 KiB had lost pages
 * @zeroed_bytes: cleared for __GFP_ZERO or init_on_alloc
 * @zero_skipped_bytes: not cleared for them, because known to be zero
 * @moved_bytes: mapped at another address by spanheap_realloc(), not copied
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
	u64 moved_bytes;
};

/**
 * typedef spanheap_finalizer_t - called after a sweep found an object dead
 * @obj: the object, still allocated
 * @arg: as given to spanheap_add_finalizer()
 *
 * Process context, may sleep; the heap holds no lock.
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
void *spanheap_alloc_bytes(struct spanheap_client *client, size_t bytes,
			   gfp_t gfp) __malloc __alloc_size(2);
void *spanheap_kvmalloc(struct spanheap_client *client, size_t bytes,
			gfp_t gfp) __malloc __alloc_size(2);
void *spanheap_alloc_node(struct spanheap_client *client, size_t nr_pages, gfp_t gfp,
			  int node) __malloc;
unsigned int spanheap_alloc_bulk(struct spanheap_client *client, size_t nr_pages, gfp_t gfp,
				 unsigned int n, void **addrs);
void spanheap_free(const void *addr);
void spanheap_free_bulk(unsigned int n, void **addrs);
void spanheap_free_rcu(const void *addr);
void spanheap_kvfree(const void *addr);
bool spanheap_resize(void *addr, size_t nr_pages, gfp_t gfp);
void *spanheap_realloc(void *addr, size_t nr_pages, gfp_t gfp) __must_check;

size_t spanheap_nr_pages(const void *addr);
void *spanheap_base(const void *addr);
bool spanheap_is_span(const void *addr);
void *spanheap_object(const void *addr);
struct spanheap_client *spanheap_owner(const void *addr);

struct page *spanheap_to_page(const void *addr);
int spanheap_mmap(struct vm_area_struct *vma, const void *addr, unsigned long pgoff);
int spanheap_sg_table(const void *addr, struct sg_table *sgt, gfp_t gfp);

int spanheap_add_finalizer(void *obj, spanheap_finalizer_t fn, void *arg, gfp_t gfp);
int spanheap_remove_finalizer(void *obj);

void spanheap_cycle_begin(struct spanheap_client *client);
long spanheap_sweep_one(struct spanheap_client *client);
void spanheap_release_memory(void);
void spanheap_get_stats(struct spanheap_stats *stats);

struct spanheap_client *
devm_spanheap_client_register(struct device *dev, const struct spanheap_client_attr *attr);
void *devm_spanheap_alloc(struct device *dev, struct spanheap_client *client,
			  size_t nr_pages, gfp_t gfp);
void devm_spanheap_free(struct device *dev, const void *addr);

/**
 * struct spanheap_mempool - the pool_data of a mempool of spans
 * @client: the client to charge, or NULL
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
DEFINE_FREE(spanheap_kv, void *, if (_T) spanheap_kvfree(_T))

#endif /* _LINUX_SPANHEAP_H */
