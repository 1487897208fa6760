/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Unit tests count the steps of work that must be bounded, such as the work in one hold
 * of the heap lock or in one IPI. A step handles one record, one pointer, one leaf of the
 * map or one page. Without unit tests the counters are empty functions.
 */
#ifndef _SPANHEAP_STEPS_H
#define _SPANHEAP_STEPS_H

#include <linux/spinlock.h>

enum spanheap_steps_of {
	STEPS_HOLD,	/* one hold of the watched heap's lock */
	STEPS_VISIT,	/* one IPI for a cache of the watched heap */
	STEPS_CLEAR,	/* clearing pages of the watched heap between two cond_resched() */
	STEPS_PAUSE,	/* one pause of the watched heap's caches */
	STEPS_ALIGN,	/* one search for an aligned span in the watched heap's caches */
	STEPS_SUM,	/* one sum over the caches of the watched heap */
	NR_STEPS_OF,
};

#ifdef CONFIG_SPANHEAP_KUNIT
struct spanheap_steps {
	const void *watched;	/* a lock or caches; constant while a test counts */
	unsigned int times;	/* calls of steps_begin() since a test set this to 0 */
	bool within;		/* between steps_begin() and steps_end() */
	unsigned int now;	/* steps since the last steps_begin() */
	unsigned int most;	/* highest value of now */
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

/* Add nr steps to each kind of work that has begun and not ended */
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
