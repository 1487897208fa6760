/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Unit tests count the steps of work that must be bounded: in one hold of a heap's lock,
 * in one interrupt of another CPU, and sums over all CPUs. A step is one record, one
 * pointer, one leaf of the map or one page. Without unit tests nothing of this is
 * compiled in.
 */
#ifndef _SPANHEAP_STEPS_H
#define _SPANHEAP_STEPS_H

#include <linux/spinlock.h>

enum spanheap_steps_of {
	STEPS_HOLD,	/* holds of the watched heap's lock */
	STEPS_VISIT,	/* visits of the watched heap's caches by their CPUs */
	STEPS_CLEAR,	/* clearing by the watched heap, without giving way */
	STEPS_PAUSE,	/* pauses of the watched heap's caches */
	STEPS_SUM,	/* sums over all CPUs of the watched heap's caches */
	NR_STEPS_OF,
};

#ifdef CONFIG_SPANHEAP_KUNIT
struct spanheap_steps {
	const void *watched;	/* a lock or caches; constant while a test counts */
	unsigned int times;	/* begun since a test set it to 0 */
	bool within;		/* begun and not ended */
	unsigned int now;	/* steps since the last beginning */
	unsigned int most;	/* steps from a beginning to its end, at most */
};

extern struct spanheap_steps spanheap_steps[NR_STEPS_OF];

static inline void steps_begin(enum spanheap_steps_of of, const void *what)
{
	struct spanheap_steps *n = &spanheap_steps[of];

	if (what != n->watched)
		return;
	n->times++;
	n->now = 0;
	n->within = true;
}

static inline void steps_end(enum spanheap_steps_of of, const void *what)
{
	if (what == spanheap_steps[of].watched)
		spanheap_steps[of].within = false;
}

/* nr steps were done: they count for whatever has begun and not ended */
static inline void steps_done(unsigned int nr)
{
	struct spanheap_steps *n;

	for (n = spanheap_steps; n < spanheap_steps + NR_STEPS_OF; n++) {
		if (!n->within)
			continue;
		n->now += nr;
		if (n->now > n->most)
			n->most = n->now;
	}
}
#else
static inline void steps_begin(enum spanheap_steps_of of, const void *what) { }
static inline void steps_end(enum spanheap_steps_of of, const void *what) { }
static inline void steps_done(unsigned int nr) { }
#endif

#endif /* _SPANHEAP_STEPS_H */
