// SPDX-License-Identifier: GPL-2.0
/*
 * Proofs for CBMC, which tools/prove runs: what is proven holds for all values within the
 * bounds that are given here. This file includes the sources, as it calls static functions.
 */
#include <stdlib.h>

#undef abort
#define abort()	__CPROVER_assert(false, "the shim, or a warning of the heap, ends the program")

#include "spanheap_internal.h"

/* Of the kernel's functions on bits only what their kernel-doc says, see some_bit() */
#undef find_next_bit
#undef find_next_zero_bit
#define find_next_bit(map, size, at)		some_bit(map, size, at, true)
#define find_next_zero_bit(map, size, at)	some_bit(map, size, at, false)
static u32 some_bit(const unsigned long *map, u32 size, u32 at, bool set);

#include "spanheap_map.c"

/* See count_of_parts() */
static u32 count_of_parts(struct spanheap *heap, u32 idx, u32 nr);
#define spanheap_count_backed	count_of_parts
#include "spanheap_span.c"
#undef spanheap_count_backed

#define S32_MAX		INT32_MAX
#define S32_MAX		INT32_MAX
#define given(cond)	__CPROVER_assume(cond)
#define proven(cond)	__CPROVER_assert(cond, #cond)

/* Values of which nothing is known */
bool nondet_bool(void);
u32 nondet_u32(void);
u64 nondet_u64(void);
struct map_leaf nondet_leaf(void);

/* Two leaves; those of BORDER=512 are of different groups */
#ifndef BORDER
#define BORDER		1u
#endif
#define FIRST_LEAF	(BORDER - 1)
#define END_LEAF	(BORDER + 1)
#define FIRST		(FIRST_LEAF * LEAF_PAGES)
#define END		(END_LEAF * LEAF_PAGES)

unsigned int shim_warnings;
bool shim_may_warn, shim_contended;
void (*shim_stored)(void);
void (*shim_loaded)(void);
void (*shim_resched)(void);
int shim_atomic, shim_rcu;

static struct spanheap heap, *h = &heap;
static struct map_leaf leaf0, leaf1;
static struct map_leaf *map[END_LEAF];
static atomic_t leaf_backed[END_LEAF], group_backed[2];
static unsigned long now;

static unsigned long clock_now(void)
{
	return now;
}

static void heap_with_leaves(void)
{
	leaf0 = nondet_leaf();
	leaf1 = nondet_leaf();
	map[FIRST_LEAF] = &leaf0;
	map[BORDER] = &leaf1;
	h->map = map;
	h->leaf_backed = leaf_backed;
	h->group_backed = group_backed;
	h->arena_pages = END;
	h->used = END;
	h->clock = clock_now;
	now = nondet_u64();
	h->epoch = nondet_u32();
}

static bool is_backed(u32 page)
{
	return test_bit(page & LEAF_MASK, map[page >> LEAF_SHIFT]->backed);
}

/* ---- backed pages ---- */

/* A page about which a proof asks: any, so that what is proven of it is so of all */
static u32 page;

static u32 some_bit(const unsigned long *bits, u32 size, u32 at, bool set)
{
	u32 found = nondet_u32(), bit = page & LEAF_MASK;

	given(at <= found && found <= size);
	given(found == size || test_bit(found, bits) == set);
	if (bits == map[page >> LEAF_SHIFT]->backed && at <= bit && bit < found)
		given(test_bit(bit, bits) != set);
	return found;
}

/* A counter is 0 or full only if that is so of each page of the caller's */
static bool fits(int counter, u32 full)
{
	return is_backed(page) ? counter != 0 : counter != full;
}

/*
 * spanheap_next_backed() finds the first page of the state that is asked for: the page
 * that it returns has that state, and no page before has.
 */
void prove_next_backed(void)
{
	u32 from = nondet_u32(), end = nondet_u32(), found, i;
	bool backed = nondet_bool();

	heap_with_leaves();
	page = nondet_u32();
	given(from >= FIRST && from <= page && page < end && end <= END);
	for (i = FIRST_LEAF; i < END_LEAF; i++)
		leaf_backed[i].counter = nondet_u32();
	for (i = 0; i < 2; i++)
		group_backed[i].counter = nondet_u32();
	given(fits(leaf_backed[page >> LEAF_SHIFT].counter, LEAF_PAGES));
	given(fits(group_backed[page >> GROUP_SHIFT].counter, GROUP_PAGES));

	found = spanheap_next_backed(h, from, end, backed);
	proven(from <= found && found <= end);
	proven(found == end || is_backed(found) == backed);
	proven(found <= page || is_backed(page) != backed);
}

/*
 * backed_word() names the word of page idx, and of its bits those of the pages asked for and
 * no others. All of [idx, idx + nr) is done when each call goes on behind the last.
 */
void prove_backed_word(void)
{
	u32 idx = nondet_u32(), nr = nondet_u32(), bit = nondet_u32(), n, at;
	unsigned long mask;
	atomic_long_t *word;

	heap_with_leaves();
	given(idx >= FIRST && idx < END && nr && nr <= END - idx);
	n = backed_word(h, idx, nr, &word, &mask);
	proven(n && n <= nr);
	proven(n == nr || (idx + n) % BITS_PER_LONG == 0);
	proven((idx + n - 1) / BITS_PER_LONG == idx / BITS_PER_LONG);
	proven((void *)word == &map[idx >> LEAF_SHIFT]->backed[(idx & LEAF_MASK) / BITS_PER_LONG]);
	given(bit < BITS_PER_LONG);
	at = idx / BITS_PER_LONG * BITS_PER_LONG + bit;
	proven((mask >> bit & 1) == (idx <= at && at < idx + n));
}

/* ---- split ---- */

/* Pages with memory before a cut of span s, and behind */
static u32 backed_before, backed_behind;
static struct span s;
static u32 cut;

static u32 count_of_parts(struct spanheap *heap, u32 idx, u32 nr)
{
	if (idx == s.start) {
		proven(nr == cut);
		return backed_before;
	}
	proven(idx == s.start + cut && nr == s.nr_pages - cut);
	return backed_behind;
}

/* Whichever part released_before() looks at, a split loses no page and finds no memory */
void prove_released_before(void)
{
	s.start = nondet_u32();
	s.nr_pages = nondet_u32();
	cut = nondet_u32();
	backed_before = nondet_u32();
	backed_behind = nondet_u32();
	given(s.start <= S32_MAX && cut && cut < s.nr_pages && s.nr_pages <= GROUP_PAGES);
	given(backed_before <= cut && backed_behind <= s.nr_pages - cut);
	s.nr_released = s.nr_pages - backed_before - backed_behind;
	proven(released_before(h, &s, cut) == cut - backed_before);
}

/* No proof comes here */
void rb_add(struct rb_node *node, struct rb_root *tree,
	    bool (*less)(struct rb_node *a, const struct rb_node *b))
{
}

void rb_erase(struct rb_node *node, struct rb_root *tree)
{
}

struct rb_node *rb_last(const struct rb_root *tree)
{
	return NULL;
}
