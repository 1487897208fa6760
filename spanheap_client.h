/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A client, its counters, and the lists of its spans that are swept.
 */
#ifndef _SPANHEAP_CLIENT_H
#define _SPANHEAP_CLIENT_H

#include <linux/completion.h>
#include <linux/kobject.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spanheap.h>
#include <linux/workqueue.h>

#include "spanheap_span.h"

struct spanheap;

#define FOLD_PAGES	128LL	/* a CPU's largest share of a client's pages; or two spans */

/* A CPU's share of a client's numbers: written by that CPU only, in its section */
struct client_counts {
	u64 allocs;
	u64 frees;
	s64 pages;			/* not yet in spanheap_client.pages; may be negative */
	s64 peak;			/* highest value of pages since the last fold */
};

struct spanheap_client {
	struct spanheap *heap;
	unsigned int flags;
	u32 writer;			/* number of a SPANHEAP_SKIP_INIT client; others: 0 */
	char name[SPANHEAP_NAME_MAX + 1];
	const struct spanheap_client_ops *ops;
	void *priv;
	struct client_sweep *sweep;	/* constant; NULL: not swept */
	struct client_reserve *reserve;	/* constant; NULL: none */
	bool uncached;			/* constant; swept, guarded or shared: uses no caches */
	struct list_head list;		/* clients_lock */
	struct kobject kobj;
	struct completion released;	/* completed by the last put of kobj */
	struct rcu_head rcu;		/* frees the client after it was unregistered */
	atomic_t queued;		/* finalizers queued or running */
	struct mutex collect_lock;	/* one collect callback at a time */
	struct mutex cycle_lock;	/* one task begins a cycle at a time */

	struct mutex limit_lock;	/* writers of limit_pages */
	u64 limit_pages;		/* 0: no limit; read without a lock */
	struct client_counts __percpu *counts;

	/*
	 * Pages in use are this plus every CPU's share. With a limit the shares are 0 and
	 * this is exact. The fast path reads nothing in this cache line.
	 */
	atomic64_t pages ____cacheline_aligned_in_smp;
	atomic64_t peak_pages;

	/* heap lock */
	unsigned long last_cycle;	/* last begin or forced collection; heap clock ticks */
	u32 users;			/* tasks that run or prepare callbacks, or resize */
	bool gone;			/* being unregistered: no new users */

	struct delayed_work limit_work;	/* wakes the tasks that poll for a hit limit */
	unsigned long limit_told;	/* when limit_work ran last; jiffies; no lock */

	/* heap lock: counted by the slow path; the CPUs' shares are extra */
	u64 allocs;
	u64 frees;
	u64 failed_allocs;
};

/*
 * The in-use spans of a client with a sweep callback; heap lock.
 *
 * Values of a span's sweepgen: gen - 2 is unswept. gen - 1 is being swept, and the
 * verdict will be used. gen is swept, or allocated in this cycle. Unswept spans are at
 * the front of their list, so it is enough to look at the first span of a list. A span
 * that is being resized is on no list.
 */
struct client_sweep {
	struct spanheap_client *client;	/* constant */
	u32 gen;			/* each cycle adds 2; wraps */
	u32 nr_busy;			/* spans on the lists */
	u32 nr_unswept;
	u32 running;			/* sweep callbacks that run */
	struct list_head node;		/* in spanheap.unswept, if nr_unswept is not 0 */
	DECLARE_BITMAP(todo, SMALL_PAGES + 1);	/* bit 0: no unswept span on that list */
	struct list_head busy[SMALL_PAGES + 1];	/* by pages; longer spans: the last list */
};

/* A callback in progress, on the stack of the task that runs it */
struct callback {
	struct list_head list;		/* spanheap.callbacks */
	struct task_struct *task;
	bool sweep;			/* false: a collect callback or a finalizer */
};

/* The busy list of an in-use span of a swept client */
static inline u32 busy_index(const struct span *s)
{
	return min(s->nr_pages, SMALL_PAGES);
}

static inline bool unswept(const struct client_sweep *sw, const struct span *s)
{
	return s->sweepgen == sw->gen - 2;
}

/*
 * Convert a limit, from an attribute or from sysfs, to pages. Round down, but to at
 * least one page, because 0 pages means no limit.
 */
static inline u64 limit_to_pages(u64 bytes)
{
	return bytes ? max_t(u64, bytes >> PAGE_SHIFT, 1) : 0;
}

/* Must s be cleared for client c? A SPANHEAP_SKIP_INIT client may see its own old data. */
static inline bool wants_zero(const struct span *s, const struct spanheap_client *c,
			      gfp_t gfp)
{
	if (unlikely(c->writer) && s->writer == c->writer)
		return gfp & __GFP_ZERO;
	return want_init_on_alloc(gfp);
}

/* spanheap_account.c */
int spanheap_account_init(struct spanheap_client *c);
void spanheap_account_exit(struct spanheap_client *c);
bool spanheap_charge(struct spanheap_client *c, u32 nr);
bool spanheap_charge_exact(struct spanheap_client *c, u32 nr);
void spanheap_uncharge(struct spanheap_client *c, u32 nr);
void spanheap_fold(struct spanheap_client *c, struct client_counts *n);
void spanheap_set_limit(struct spanheap_client *c, u64 limit_pages);
void spanheap_limit_hit(struct spanheap_client *c);
void spanheap_client_sum(struct spanheap_client *c, struct client_counts *sum);
bool __spanheap_client_get(struct spanheap_client *c);
bool spanheap_client_get(struct spanheap_client *c);
void spanheap_client_put(struct spanheap_client *c);
void spanheap_client_quiesce(struct spanheap_client *c);
bool spanheap_in_callback(struct spanheap *h, bool sweep_only);

/* Count an allocated span of nr pages, in the section. Folding seldom keeps this cheap. */
static inline void count_in(struct spanheap_client *c, struct client_counts *n, u32 nr)
{
	s64 pages = n->pages + nr;

	n->pages = pages;
	if (pages > n->peak) {
		n->peak = pages;
		if (unlikely(pages > max(FOLD_PAGES, 2LL * nr)))
			spanheap_fold(c, n);
	}
}

/* Count a freed span of nr pages, in the section */
static inline void count_out(struct spanheap_client *c, struct client_counts *n, u32 nr)
{
	n->pages -= nr;
	if (unlikely(n->pages < -max(FOLD_PAGES, 2LL * nr)))
		spanheap_fold(c, n);
}

#endif /* _SPANHEAP_CLIENT_H */
