// SPDX-License-Identifier: GPL-2.0
/*
 * The span map: page index -> span, look-ups without a lock, and which pages of
 * the arena are backed.
 *
 * A leaf maps 2 MiB of the arena. Only the pointers of a span's first and last page are
 * set, so an allocation writes two pointers however long the span is. A bitmap marks the
 * first pages. This file calls no other file of the heap, does not sleep and allocates
 * nothing.
 */
#include <linux/mm.h>
#include <linux/rcupdate.h>

#include "spanheap_internal.h"

#define REFAULT_SECONDS	60

void __spanheap_map_set(struct spanheap *h, struct span *s)
{
	u32 last = span_end(s) - 1;

	/*
	 * Store the fields before the pointer, which look-ups follow without a lock. Pairs with
	 * the address dependency in map_find() and spanheap_span_at().
	 */
	smp_store_release(map_slot(h, s->start), s);
	smp_store_release(map_slot(h, last), s);	/* as above */
	__set_bit(s->start & LEAF_MASK, h->map[s->start >> LEAF_SHIFT]->starts);
	h->seq++;
}

/* Needs no barrier: a look-up that still finds s validates the fields of s by its word */
void __spanheap_map_clear(struct spanheap *h, struct span *s)
{
	WRITE_ONCE(*map_slot(h, s->start), NULL);
	WRITE_ONCE(*map_slot(h, span_end(s) - 1), NULL);
	__clear_bit(s->start & LEAF_MASK, h->map[s->start >> LEAF_SHIFT]->starts);
	h->seq++;
}

/*
 * h->cover[] gives, for each leaf that begins inside an in-use span, the start of that
 * span. Set it for the leaves that begin in [from, end), pages of the span that starts at
 * page start. The caller owns these pages, and from > start.
 */
void spanheap_map_cover(struct spanheap *h, u32 start, u32 from, u32 end)
{
	u32 i;

	for (i = DIV_ROUND_UP(from, LEAF_PAGES); i < DIV_ROUND_UP(end, LEAF_PAGES); i++) {
		steps_done(1);
		WRITE_ONCE(h->cover[i], start);
	}
}

/*
 * The record of the span that may hold page idx, and the start of that span. The answer
 * is exact if an in-use span holds the page: its bit, its pointers and cover[] were set
 * before spanheap_publish() and do not change. Whoever knows the address sees them.
 * Otherwise other CPUs may change them during the reads, and the caller must validate
 * the answer.
 */
static struct span *map_find(struct spanheap *h, u32 idx, u32 *start)
{
	struct map_leaf *leaf = READ_ONCE(h->map[idx >> LEAF_SHIFT]);
	u32 off = idx & LEAF_MASK;
	unsigned long bit;

	if (!leaf)
		return NULL;
	bit = find_last_bit(leaf->starts, off + 1);
	if (bit <= off) {
		*start = (idx & ~LEAF_MASK) | bit;
		return READ_ONCE(leaf->span[bit]);
	}
	/*
	 * Earlier leaves were attached before this one, and cover refers to one of them. Pairs
	 * with the release of the leaf's pointer in __spanheap_grow().
	 */
	smp_rmb();
	*start = READ_ONCE(h->cover[idx >> LEAF_SHIFT]);
	return READ_ONCE(*map_slot(h, *start));
}

/*
 * The record of the span that may hold addr. The caller validates the record, and is in
 * an RCU read section.
 */
struct span *spanheap_span_guess(struct spanheap *h, const void *addr)
{
	u32 idx, start;

	return addr_to_idx(h, addr, &idx) ? map_find(h, idx, &start) : NULL;
}

/*
 * Look up the in-use span that holds addr; false if there is none. This takes no lock: a
 * span does not change while its user looks it up. Any other caller gets false, or a
 * span that was in use at some point of the call.
 */
bool spanheap_heap_lookup(struct spanheap *h, const void *addr, struct span_view *v)
{
	bool found = false;
	u32 idx, start;
	struct span *s;
	u64 word;

	if (!addr_to_idx(h, addr, &idx))
		return false;
	rcu_read_lock();	/* SLAB_TYPESAFE_BY_RCU: the memory remains a record */
	s = map_find(h, idx, &start);
	if (s) {
		/* Read the word before the fields: pairs with spanheap_publish() */
		word = smp_load_acquire(&s->word);
		v->start = READ_ONCE(s->start);
		v->nr_pages = READ_ONCE(s->nr_pages);
		v->obj_size = READ_ONCE(s->obj_size);
		v->client = READ_ONCE(s->client);
		test_hook(h, HOOK_LOOKUP_READ);
		/*
		 * Read the fields before the word is read again: pairs with the cmpxchg() of
		 * the claim that ends a use, which comes before every change of a field, and
		 * with the barrier of __spanheap_put(). If the word has not changed, except
		 * for SPAN_SLOW, all fields belong to the same use.
		 */
		smp_rmb();
		found = word_state(word) == SPAN_INUSE &&
			!((word ^ READ_ONCE(s->word)) & ~SPAN_SLOW) && v->client &&
			v->start == start && idx - start < v->nr_pages;
	}
	rcu_read_unlock();
	return found;
}

/* The start of the object that holds addr. NULL: no in-use span or no whole object does. */
void *spanheap_heap_object(struct spanheap *h, const void *addr)
{
	struct span_view v;
	void *base;
	u64 off;

	if (!spanheap_heap_lookup(h, addr, &v))
		return NULL;
	base = page_addr(h, v.start);
	if (!v.obj_size)
		return base;
	off = rounddown((u64)(addr - base), v.obj_size);
	return off + v.obj_size <= (u64)v.nr_pages << PAGE_SHIFT ? base + off : NULL;
}

/*
 * One step of a walk: find the first span that starts at or after page *idx. The step
 * looks at HOLD_LEAVES leaves at most, to bound the hold of the lock. NULL: no span starts
 * there; the walk continues at the new *idx, or is over if *idx >= h->used.
 */
struct span *__spanheap_walk(struct spanheap *h, u32 *idx)
{
	u32 n;

	lockdep_assert_held(&h->lock);
	for (n = 0; n < HOLD_LEAVES && *idx < h->used; n++) {
		struct map_leaf *leaf = h->map[*idx >> LEAF_SHIFT];
		u32 bit = find_next_bit(leaf->starts, LEAF_PAGES, *idx & LEAF_MASK);

		steps_done(1);
		if (bit < LEAF_PAGES)
			return leaf->span[bit];
		*idx = (*idx | LEAF_MASK) + 1;
	}
	return NULL;
}

/* The first span that starts at or after page idx */
struct span *__spanheap_next(struct spanheap *h, u32 idx)
{
	struct span *s;

	do {
		s = __spanheap_walk(h, &idx);
	} while (!s && idx < h->used);
	return s;
}

/*
 * The span that holds page idx, in any state. NULL: there is none, or page idx is more
 * than HOLD_LEAVES leaves behind the start of a span that is not in use.
 */
struct span *__spanheap_span_holding(struct spanheap *h, u32 idx)
{
	u32 at = idx, n;
	struct span *s;

	lockdep_assert_held(&h->lock);
	for (n = 0; n < HOLD_LEAVES && at < h->used; n++) {
		struct map_leaf *leaf = h->map[at >> LEAF_SHIFT];
		u32 off = at & LEAF_MASK;
		u32 bit = find_last_bit(leaf->starts, off + 1);

		steps_done(1);
		if (bit <= off)
			return leaf->span[bit];
		at = (at & ~LEAF_MASK) - 1;
	}
	if (n < HOLD_LEAVES)
		return NULL;
	s = *map_slot(h, h->cover[idx >> LEAF_SHIFT]);
	return s && s->start < idx && idx < span_end(s) ? s : NULL;
}

/*
 * The first page of [idx, end) that is backed (or unbacked), or end. The caller owns all
 * these pages. The counters of leaves and groups let the search skip those without such
 * a page. Other tasks that own pages of the same leaf change its counter too, but each
 * task adds and subtracts only its own pages. So the counter is never less than the
 * number of the caller's backed pages, and never counts the caller's unbacked ones.
 */
u32 spanheap_next_backed(struct spanheap *h, u32 idx, u32 end, bool backed)
{
	while (idx < end) {
		u32 leaf = idx >> LEAF_SHIFT, group = idx >> GROUP_SHIFT, stop, bit;
		unsigned long *map = h->map[leaf]->backed;

		if (atomic_read(&h->group_backed[group]) == (backed ? 0 : GROUP_PAGES)) {
			idx = (group + 1) << GROUP_SHIFT;
			continue;
		}
		if (atomic_read(&h->leaf_backed[leaf]) == (backed ? 0 : LEAF_PAGES)) {
			idx = (leaf + 1) << LEAF_SHIFT;
			continue;
		}
		stop = min(end - (leaf << LEAF_SHIFT), LEAF_PAGES);
		bit = backed ? find_next_bit(map, stop, idx & LEAF_MASK) :
			       find_next_zero_bit(map, stop, idx & LEAF_MASK);
		idx = (leaf << LEAF_SHIFT) + bit;
		if (bit < stop)
			return idx;
	}
	return end;
}

/*
 * Find the word of the backed bitmap that has page idx, and the mask of those of its bits
 * that belong to [idx, idx + nr). Returns how many bits these are.
 */
static u32 backed_word(struct spanheap *h, u32 idx, u32 nr, atomic_long_t **word,
		       unsigned long *mask)
{
	u32 bit = idx % BITS_PER_LONG, n = min_t(u32, nr, BITS_PER_LONG - bit);

	*word = (atomic_long_t *)&h->map[idx >> LEAF_SHIFT]->backed[BIT_WORD(idx & LEAF_MASK)];
	*mask = GENMASK(bit + n - 1, bit);
	return n;
}

/* ---- idle age, in units ---- */

static u8 *unit_slot(const struct spanheap *h, u32 unit)
{
	return &h->map[unit / LEAF_UNITS]->used[unit % LEAF_UNITS];
}

static u16 *released_slot(const struct spanheap *h, u32 unit)
{
	return &h->map[unit / LEAF_UNITS]->released[unit % LEAF_UNITS];
}

/*
 * Record that the use of these pages ends now. Their owner calls this, with or without
 * the heap lock. The owners of other pages in the first and last unit may write to the
 * same bytes at the same time.
 */
void spanheap_mark_used(struct spanheap *h, u32 idx, u32 nr)
{
	u32 unit = idx / UNIT_PAGES, last = (idx + nr - 1) / UNIT_PAGES, n;
	u8 epoch = READ_ONCE(h->epoch);

	WRITE_ONCE(*unit_slot(h, unit), epoch);
	WRITE_ONCE(*unit_slot(h, last), epoch);
	/* The caller owns all pages of the units between: set these leaf by leaf */
	for (unit++; unit < last; unit += n) {
		n = min(last - unit, LEAF_UNITS - unit % LEAF_UNITS);
		memset(unit_slot(h, unit), epoch, n);
	}
}

/*
 * The number of epochs since the last use of a page in the unit of page idx. The number
 * wraps: after 256 epochs idle pages look young again.
 */
u32 spanheap_unit_age(const struct spanheap *h, u32 idx)
{
	return (u8)(READ_ONCE(h->epoch) - READ_ONCE(*unit_slot(h, idx / UNIT_PAGES)));
}

/* The current time as map_leaf.released stores it; the clock's ticks are jiffies */
static u16 released_now(const struct spanheap *h)
{
	return (u16)(h->clock() / HZ) ?: 1;
}

static void mark_released(struct spanheap *h, u32 idx, u32 nr)
{
	u32 unit, last = (idx + nr - 1) / UNIT_PAGES;
	u16 now = released_now(h);

	for (unit = idx / UNIT_PAGES; unit <= last; unit++)
		WRITE_ONCE(*released_slot(h, unit), now);
}

/* How many of these pages are in units with a release in the last REFAULT_SECONDS? */
static u32 count_refaulted(struct spanheap *h, u32 idx, u32 nr)
{
	u16 now = released_now(h), then;
	u32 unit, n, count = 0;

	for (; nr; idx += n, nr -= n) {
		unit = idx / UNIT_PAGES;
		n = min(nr, UNIT_PAGES - idx % UNIT_PAGES);
		then = READ_ONCE(*released_slot(h, unit));
		if (then && (u16)(now - then) <= REFAULT_SECONDS)
			count += n;
	}
	return count;
}

/* ---- which pages are backed ---- */

/* Atomic, as a word may have bits of other owners */
static void set_backed(struct spanheap *h, u32 idx, u32 nr, bool backed)
{
	u32 in_leaf = 0, n;
	atomic_long_t *word;
	unsigned long mask;

	for (; nr; idx += n, nr -= n) {
		n = backed_word(h, idx, nr, &word, &mask);
		if (backed)
			atomic_long_or(mask, word);
		else
			atomic_long_andnot(mask, word);
		in_leaf += n;
		if (n == nr || !((idx + n) & LEAF_MASK)) {
			int change = backed ? in_leaf : -in_leaf;

			atomic_add(change, &h->leaf_backed[idx >> LEAF_SHIFT]);
			atomic_add(change, &h->group_backed[idx >> GROUP_SHIFT]);
			in_leaf = 0;
		}
	}
}

/* Only the owner of the pages calls this */
void spanheap_mark_backed(struct spanheap *h, u32 idx, u32 nr, bool backed)
{
	if (!nr)
		return;
	if (backed) {
		atomic64_add(count_refaulted(h, idx, nr), &h->refaulted_pages);
		spanheap_mark_used(h, idx, nr);
	} else {
		mark_released(h, idx, nr);
	}
	set_backed(h, idx, nr, backed);
}

/*
 * The memory of nr pages is at another place: none came from the system, and none went.
 * Only the owner of the pages calls this. Others may see it at both places for a while.
 */
void spanheap_mark_moved(struct spanheap *h, u32 from, u32 to, u32 nr)
{
	if (!nr)
		return;
	spanheap_mark_used(h, to, nr);
	set_backed(h, to, nr, true);
	set_backed(h, from, nr, false);
}

u32 spanheap_count_backed_bits(struct spanheap *h, u32 idx, u32 nr)
{
	unsigned long mask;
	atomic_long_t *word;
	u32 n, count = 0;

	for (; nr; idx += n, nr -= n) {
		n = backed_word(h, idx, nr, &word, &mask);
		count += hweight_long(atomic_long_read(word) & mask);
	}
	return count;
}

/* How many of these pages are backed? The caller is their only owner. */
u32 spanheap_count_backed(struct spanheap *h, u32 idx, u32 nr)
{
	u32 n, count = 0;

	for (; nr; idx += n, nr -= n) {
		if (!(idx & GROUP_MASK) && nr >= GROUP_PAGES) {
			n = GROUP_PAGES;
			count += atomic_read(&h->group_backed[idx >> GROUP_SHIFT]);
		} else if (!(idx & LEAF_MASK) && nr >= LEAF_PAGES) {
			n = LEAF_PAGES;
			count += atomic_read(&h->leaf_backed[idx >> LEAF_SHIFT]);
		} else {
			n = min(nr, LEAF_PAGES - (idx & LEAF_MASK));
			count += spanheap_count_backed_bits(h, idx, n);
		}
	}
	return count;
}
