// SPDX-License-Identifier: GPL-2.0
/*
 * Proofs for CBMC: every value of what a function is given, within the bounds that are named
 * here. tools/prove runs them. The sources are included, so that static functions can be
 * called, too.
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
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))
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

/* How many pages of [a, b) are in [c, d) */
static u32 overlap(u32 a, u32 b, u32 c, u32 d)
{
	u32 from = max(a, c), to = min(b, d);

	return from < to ? to - from : 0;
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
	given(FIRST <= from && from <= page && page < end && end <= END);
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
 * spanheap_mark_backed() changes the bits of its pages and of no others, the counters by
 * as many pages as are theirs, and the times of all units that have such a page.
 */
static void mark(u32 from, u32 nr, bool backed)
{
	int first_was = nondet_u32() % GROUP_PAGES, second_was = nondet_u32() % GROUP_PAGES;
	u32 first = overlap(FIRST, BORDER << LEAF_SHIFT, from, from + nr);
	int sign = backed ? 1 : -1;
	struct map_leaf *at;
	u32 unit, in_unit;
	u16 released;
	bool was;
	u8 used;

	heap_with_leaves();
	page = nondet_u32();
	given(FIRST <= page && page < END);
	at = page >> LEAF_SHIFT == BORDER ? &leaf1 : &leaf0;
	was = test_bit(page & LEAF_MASK, at->backed);
	unit = (page & LEAF_MASK) / UNIT_PAGES;
	used = at->used[unit];
	released = at->released[unit];
	leaf_backed[FIRST_LEAF].counter = first_was;
	leaf_backed[BORDER].counter = second_was;
	group_backed[0].counter = first_was;
	group_backed[1].counter = second_was;

	spanheap_mark_backed(h, from, nr, backed);
	proven(test_bit(page & LEAF_MASK, at->backed) == (page - from < nr ? backed : was));
	proven(leaf_backed[FIRST_LEAF].counter == first_was + sign * (int)first);
	proven(leaf_backed[BORDER].counter == second_was + sign * (int)(nr - first));
	if (BORDER < LEAVES_PER_GROUP)
		proven(group_backed[0].counter == first_was + sign * (int)nr);
	else
		proven(group_backed[0].counter == leaf_backed[FIRST_LEAF].counter &&
		       group_backed[1].counter == leaf_backed[BORDER].counter);
	in_unit = page - page % UNIT_PAGES;
	in_unit = overlap(in_unit, in_unit + UNIT_PAGES, from, from + nr);
	proven(at->used[unit] == (in_unit && backed ? (u8)h->epoch : used));
	proven(at->released[unit] == (in_unit && !backed ? released_now(h) : released));
	proven(released_now(h));
}

/* Around borders of units, words and leaves; all contents */
void prove_mark_backed(void)
{
	static const int starts[] = { -65, -17, -1, 0 };
	static const u32 sizes[] = { 0, 2, 66 };
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(starts); i++)
		for (j = 0; j < ARRAY_SIZE(sizes); j++) {
			mark((BORDER << LEAF_SHIFT) + starts[i], sizes[j], true);
			mark((BORDER << LEAF_SHIFT) + starts[i], sizes[j], false);
		}
}

/*
 * spanheap_count_backed() and spanheap_count_backed_bits() count each page once, and no
 * other: all pages but three are alike, and these three are anywhere.
 */
void prove_count_backed(void)
{
	u32 from = nondet_u32(), nr = nondet_u32(), count = 0, last = 0, odd, i, w;
	struct map_leaf *leaf;
	bool fill = nondet_bool();

	heap_with_leaves();
	given(FIRST <= from && from <= END && nr <= END - from);
	for (i = FIRST_LEAF; i < END_LEAF; i++) {
		for (w = 0; w < BITS_TO_LONGS(LEAF_PAGES); w++)
			map[i]->backed[w] = fill ? ~0UL : 0;
		leaf_backed[i].counter = fill ? LEAF_PAGES : 0;
	}
	for (i = 0; i < 3; i++) {
		odd = nondet_u32();
		given(max(FIRST, last) <= odd && odd < END);
		last = odd + 1;
		leaf = map[odd >> LEAF_SHIFT];
		leaf->backed[BIT_WORD(odd & LEAF_MASK)] ^= 1UL << odd % BITS_PER_LONG;
		leaf_backed[odd >> LEAF_SHIFT].counter += fill ? -1 : 1;
		count += odd - from < nr;
	}
	if (fill)
		count = nr - count;
	proven(spanheap_count_backed(h, from, nr) == count);
	proven(spanheap_count_backed_bits(h, from, nr) == count);
}

/* ---- split and coalesce ---- */

/*
 * Spans of at least SMALL_PAGES, at any place of the two leaves: which list a span is on
 * does not matter here, and the tree only counts.
 */
static u32 in_tree;

void rb_add(struct rb_node *node, struct rb_root *root,
	    bool (*less)(struct rb_node *a, const struct rb_node *b))
{
	in_tree++;
}

void rb_erase(struct rb_node *node, struct rb_root *root)
{
	in_tree--;
}

struct rb_node *rb_last(const struct rb_root *root)
{
	return NULL;
}

static struct span first, second;

static void span_heap(void)
{
	static struct span *slots[2][LEAF_PAGES];

	heap_with_leaves();
	leaf0.span = slots[0];
	leaf1.span = slots[1];
	INIT_LIST_HEAD(&h->spare);
	INIT_LIST_HEAD(&h->idle[0]);
	h->lock.held = true;
	in_tree = 1;
}

/* A free span of which all is unknown but the place */
static void some_span(struct span *s, u32 start, u32 nr)
{
	s->start = start;
	s->nr_pages = nr;
	s->word = nondet_u64();
	given(span_state(s) == SPAN_FREE);
	s->nr_released = nondet_u32();
	given(s->nr_released <= nr);
	s->needzero = nondet_bool();
	given(has_backed(s) || !s->needzero);
	s->writer = nondet_u32();
	s->epoch = h->epoch - nondet_u32() % S32_MAX / 2;
	INIT_LIST_HEAD(&s->lru);
}

/* Of a span that is cut: pages with memory before the cut, and behind */
static u32 cut_at, backed_before, backed_behind;

static u32 count_of_parts(struct spanheap *heap, u32 idx, u32 nr)
{
	if (idx == first.start) {
		proven(nr == cut_at);
		return backed_before;
	}
	proven(idx == first.start + cut_at && nr == first.nr_pages - cut_at);
	return backed_behind;
}

/* A split loses no page, no memory, and nothing of what is known of old data */
void prove_split(void)
{
	u32 start = nondet_u32(), nr = nondet_u32(), epoch;
	struct span *tail;
	bool needzero;

	span_heap();
	cut_at = nondet_u32();
	given(FIRST <= start && start < END && nr <= END - start);
	given(SMALL_PAGES <= cut_at && cut_at < nr && SMALL_PAGES <= nr - cut_at);
	some_span(&first, start, nr);
	__spanheap_map_set(h, &first);
	if (has_backed(&first))
		list_add(&first.lru, &h->idle[0]);
	second.word = nondet_u64();
	given(span_state(&second) == SPAN_DEAD);
	list_add(&second.list, &h->spare);
	h->nr_spare = 1;
	h->nr_free = 1;
	h->largest_free = nr;
	backed_before = nondet_u32();
	backed_behind = nondet_u32();
	given(backed_before <= cut_at && backed_behind <= nr - cut_at);
	given(first.nr_released == nr - backed_before - backed_behind);
	needzero = first.needzero;
	epoch = first.epoch;

	tail = __spanheap_split(h, &first, cut_at);
	proven(tail == &second && span_state(&first) == SPAN_FREE && span_state(tail) == SPAN_FREE);
	proven(first.start == start && first.nr_pages == cut_at);
	proven(tail->start == start + cut_at && tail->nr_pages == nr - cut_at);
	proven(first.nr_released == cut_at - backed_before);
	proven(tail->nr_released == nr - cut_at - backed_behind);
	proven(first.needzero == (needzero && backed_before));
	proven(tail->needzero == (needzero && backed_behind));
	proven(tail->writer == first.writer && first.epoch == epoch && tail->epoch == epoch);
	proven(list_empty(&first.lru) == !backed_before && list_empty(&tail->lru) == !backed_behind);
	proven(*map_slot(h, start) == &first && *map_slot(h, start + cut_at - 1) == &first);
	proven(*map_slot(h, tail->start) == tail && *map_slot(h, start + nr - 1) == tail);
	proven(in_tree == 2 && h->nr_free == 2 && !h->nr_spare);
	proven(h->largest_free == max(cut_at, nr - cut_at));
}

/* A free neighbour, before or behind, goes into a span with all that is known of it */
void prove_merge(void)
{
	u32 start = nondet_u32(), nr = nondet_u32(), nr_n = nondet_u32(), at_n, word;
	bool before = nondet_bool();
	struct span s, n;

	span_heap();
	given(FIRST <= start && start < END && nr && SMALL_PAGES <= nr_n);
	given(nr < END && nr_n < END && nr + nr_n <= END - start);
	some_span(&second, before ? start : start + nr, nr_n);
	some_span(&first, before ? start + nr_n : start, nr);
	__spanheap_map_set(h, &second);
	if (has_backed(&second))
		list_add(&second.lru, &h->idle[0]);
	h->nr_free = 1;
	s = first;
	n = second;
	at_n = n.start;
	word = at_n & LEAF_MASK;

	__merge(h, &first, &second);
	proven(first.start == start && first.nr_pages == nr + nr_n);
	proven(first.nr_released == s.nr_released + n.nr_released);
	proven(first.needzero == (s.needzero || n.needzero));
	/* Another client must not see old data: of two writers, none is known */
	proven(!s.needzero || !first.writer || first.writer == s.writer);
	proven(!n.needzero || !first.writer || first.writer == n.writer);
	/* As old as the oldest page with memory */
	proven(!has_backed(&s) || (s32)(first.epoch - s.epoch) <= 0);
	proven(!has_backed(&n) || (s32)(first.epoch - n.epoch) <= 0);
	proven(span_state(&second) == SPAN_DEAD && h->nr_spare == 1 && !h->nr_free && !in_tree);
	proven((second.word & SPAN_USES) == (n.word & SPAN_USES));
	proven(list_empty(&h->idle[0]));
	proven(!*map_slot(h, at_n) && !*map_slot(h, at_n + nr_n - 1));
	proven(!test_bit(word, map[at_n >> LEAF_SHIFT]->starts));
}
