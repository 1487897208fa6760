/* SPDX-License-Identifier: GPL-2.0 */
/* The reference model of the page heap, and the heap under test */
#ifndef _SPANHEAP_HEAP_FUZZ_H
#define _SPANHEAP_HEAP_FUZZ_H

#include "spanheap_internal.h"

#define ARENA_MAX	(2 * GROUP_PAGES + 1234)
#define SPANS_MAX	8192
#define LOST		(-1)	/* evicted as corrupt; OWNED in the heap, but by no task */

#define must(cond) do {							\
	if (!(cond))							\
		shim_die("operation %llu: not so: %s", fuzz_ops, #cond);\
} while (0)

/* A span of the model */
struct mspan {
	struct span *s;
	u32 start, nr;
	int state;		/* enum span_state or LOST */
	u32 client;		/* INUSE */
	u32 obj_size;
	bool used;		/* OWNED: claimed from a client; else from the free lists */
	bool guarded;
	bool guard;		/* RELEASING: becomes a guard */
	bool dropping;		/* RELEASING: on h->dropping; else a releaser owns it */
};

/*
 * The model is an array of spans, sorted by address, and a byte for each page: unbacked,
 * zeroed, or written to by client number (byte - DIRTY).
 */
struct model {
	struct mspan span[SPANS_MAX];
	u32 n;
	u32 arena, used, leaves, want_leaves, grows, spare, records, busy;
	u64 uncached;
	u8 page[ARENA_MAX];
};

enum { NONE, ZERO, DIRTY };

extern unsigned long long fuzz_ops;
extern struct model m;
extern struct spanheap *h;

void fuzz_one(const u8 *data, size_t size);

/* model.c */
int m_at(u32 page);
u32 m_backed(u32 i);
int m_fit(u32 nr);
bool m_any_backed(u32 nr);
u32 m_merge(u32 i);
void m_split(u32 i, u32 nr);
void m_remove(u32 i);
int m_grow(u32 nr, bool exact, u32 nr_leaves);
u32 m_next(u32 from, u32 end, bool backed);
void m_check_span(u32 i);
void m_check_all(void);

/* corrupt.c */
bool corrupt(u32 kind, u32 i);
void uncorrupt(void);
#define CORRUPTIONS 38u

#endif
