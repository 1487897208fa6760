// SPDX-License-Identifier: GPL-2.0
/* The reference model: linear searches, and none of the heap's structures */
#include "heap_fuzz.h"

struct model m;

/* The span that holds a page, or -1 */
int m_at(u32 page)
{
	u32 lo = 0, hi = m.n;

	if (page >= m.used)
		return -1;
	while (hi - lo > 1) {
		u32 mid = (lo + hi) / 2;

		if (m.span[mid].start <= page)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

u32 m_backed(u32 i)
{
	const u8 *p = m.page + m.span[i].start, *end = p + m.span[i].nr;
	u32 n = 0;

	for (; p < end; p++)
		n += *p != NONE;
	return n;
}

/* The smallest free span of at least nr pages, the lowest on a tie; or -1 */
int m_fit(u32 nr)
{
	int best = -1;
	u32 i;

	for (i = 0; i < m.n; i++)
		if (m.span[i].state == SPAN_FREE && m.span[i].nr >= nr &&
		    (best < 0 || m.span[i].nr < m.span[best].nr))
			best = i;
	return best;
}

/* Has any free span of exactly nr pages a backed page? */
bool m_any_backed(u32 nr)
{
	u32 i;

	for (i = 0; i < m.n; i++)
		if (m.span[i].state == SPAN_FREE && m.span[i].nr == nr && m_backed(i))
			return true;
	return false;
}

static void insert(u32 i, struct mspan s)
{
	must(m.n < SPANS_MAX);
	memmove(m.span + i + 1, m.span + i, (m.n - i) * sizeof(s));
	m.span[i] = s;
	m.n++;
}

void m_remove(u32 i)
{
	m.n--;
	memmove(m.span + i, m.span + i + 1, (m.n - i) * sizeof(m.span[0]));
}

/* Coalesce span i, which became free. Returns the index of the result. */
u32 m_merge(u32 i)
{
	m.span[i].state = SPAN_FREE;
	m.span[i].guarded = false;
	m.span[i].guard = false;
	if (i + 1 < m.n && m.span[i + 1].state == SPAN_FREE) {
		m.span[i].nr += m.span[i + 1].nr;
		m_remove(i + 1);
		m.spare++;
	}
	if (i && m.span[i - 1].state == SPAN_FREE) {
		m.span[i - 1].nr += m.span[i].nr;
		m_remove(i);
		m.spare++;
		i--;
	}
	return i;
}

void m_split(u32 i, u32 nr)
{
	struct mspan r = m.span[i];

	r.start += nr;
	r.nr -= nr;
	m.span[i].nr = nr;
	insert(i + 1, r);
	m.spare--;
}

/* Grow the model. Returns what __spanheap_grow() must return. */
int m_grow(u32 nr, bool exact, u32 nr_leaves)
{
	u32 room = m.arena - m.used, ask = max(256u, (nr + 15) / 16 * 16), need, take;

	if (ask > room || exact)
		ask = nr;
	if (ask > room && m.n && m.span[m.n - 1].state == SPAN_FREE &&
	    m.span[m.n - 1].nr < nr)
		ask = nr - m.span[m.n - 1].nr;
	if (ask > room)
		return -ENOSPC;
	need = (m.used + ask + 511) / 512;
	if (need > m.leaves) {
		take = min(need - m.leaves, min(nr_leaves, 256u));
		m.leaves += take;
		if (m.leaves < need) {
			m.want_leaves = need - m.leaves;
			return -EAGAIN;
		}
	}
	m.spare--;
	m.grows++;
	insert(m.n, (struct mspan) { .start = m.used, .nr = ask });
	memset(m.page + m.used, NONE, ask);
	m.used += ask;
	m_merge(m.n - 1);
	return 0;
}

u32 m_next(u32 from, u32 end, bool backed)
{
	while (from < end && (m.page[from] != NONE) != backed)
		from++;
	return from;
}

/* Check that needzero and writer let no client see the data of another */
static void check_data(const struct mspan *e)
{
	const struct span *s = e->s;
	const u8 *p = m.page + e->start, *end = p + e->nr;
	u8 fine = s->needzero ? DIRTY + s->writer : ZERO;
	bool other = false;

	if (s->needzero && !s->writer)
		return;
	for (; p < end; p++)
		other |= (*p >= DIRTY) & (*p != fine);
	must(!other);
}

/* Compare span i in the heap with the model */
void m_check_span(u32 i)
{
	struct mspan *e = &m.span[i];
	struct span *s = *map_slot(h, e->start);
	u32 backed = m_backed(i);

	must(s);
	must(!e->s || e->s == s || e->state == SPAN_FREE);
	e->s = s;
	must(*map_slot(h, e->start + e->nr - 1) == s);
	must(s->start == e->start && s->nr_pages == e->nr);
	must(span_state(s) == (e->state == LOST ? SPAN_OWNED : (u32)e->state));
	must(s->nr_released == e->nr - backed);
	if (e->state == SPAN_INUSE) {
		must(s->guarded == e->guarded);
		must(s->obj_size == e->obj_size);
		must(backed == e->nr);
	} else if (e->state == SPAN_FREE) {
		must(!s->client);
		must(!s->guarded && !s->shared);
	}
	if (e->state != SPAN_INUSE && e->state != SPAN_GUARD && e->state != SPAN_RELEASING &&
	    e->state != LOST)
		check_data(e);
}

static void check_map(void)
{
	u32 page, i = 0;

	for (page = 0; page < m.leaves * LEAF_PAGES; page++) {
		struct span *s = *map_slot(h, page);

		must(test_bit(page & LEAF_MASK, h->map[page >> LEAF_SHIFT]->starts) ==
		     (i < m.n && m.span[i].start == page));
		must(!!test_bit(page & LEAF_MASK, h->map[page >> LEAF_SHIFT]->backed) ==
		     (page < m.used && m.page[page] != NONE));
		if (i < m.n && (page == m.span[i].start ||
				page == m.span[i].start + m.span[i].nr - 1))
			must(s == m.span[i].s);
		else
			must(!s);
		if (i < m.n && page == m.span[i].start + m.span[i].nr - 1)
			i++;
	}
	must(i == m.n);
}

static void check_lists(void)
{
	u32 count[SMALL_PAGES] = {}, large = 0, largest = 0, i, n;
	struct rb_node *node, *last = NULL;
	struct span *s;

	for (i = 0; i < m.n; i++) {
		if (m.span[i].state != SPAN_FREE)
			continue;
		if (m.span[i].nr < SMALL_PAGES)
			count[m.span[i].nr]++;
		else
			large++;
		largest = max(largest, m.span[i].nr);
	}
	must(h->largest_free == largest);
	for (i = 0; i < SMALL_PAGES; i++) {
		bool holes = false;

		must(h->nr_small[i] == count[i]);
		must(test_bit(i, h->nonempty) == !!count[i]);
		n = 0;
		list_for_each_entry(s, &h->small[i], list) {
			must(s->nr_pages == i && span_state(s) == SPAN_FREE);
			must(!holes || !has_backed(s));
			holes = !has_backed(s);
			n++;
		}
		must(n == count[i]);
	}
	for (node = rb_first(&h->large); node; node = rb_next(node)) {
		s = rb_entry(node, struct span, node);
		must(s->nr_pages >= SMALL_PAGES && span_state(s) == SPAN_FREE);
		must(!last || large_less(rb_entry(last, struct span, node), s));
		last = node;
		large--;
	}
	must(!large);
}

/* Compare the whole heap with the model */
void m_check_all(void)
{
	u64 unlisted = 0, released = 0, backed = 0;
	u32 free = 0, releasing = 0, at = 0, i, n;

	for (i = 0; i < m.n; i++) {
		struct mspan *e = &m.span[i];

		must(e->start == at && e->nr);
		at += e->nr;
		m_check_span(i);
		n = m_backed(i);
		backed += n;
		must(spanheap_count_backed(h, e->start, e->nr) == n);
		must(spanheap_count_backed_bits(h, e->start, e->nr) == n);
		switch (e->state) {
		case SPAN_FREE:
			must(!i || m.span[i - 1].state != SPAN_FREE);
			free++;
			released += e->nr - n;
			break;
		case SPAN_RELEASING:
			releasing++;
			released += e->nr - n;
			break;
		case SPAN_GUARD:
			must(i && m.span[i - 1].guarded);
			released++;
			break;
		case LOST:
			released += e->nr - n;
			break;
		default:
			unlisted += e->nr;
		}
	}
	must(at == m.used);
	must(h->used == m.used && h->nr_map_leaves == m.leaves && h->grows == m.grows);
	must(h->nr_spare == m.spare && h->nr_records == m.records);
	must(h->nr_records == h->nr_spare + m.n);
	must(h->unlisted_pages == unlisted && h->released_pages == released);
	must(h->nr_free == free && h->nr_releasing == releasing);
	must(h->nr_busy == m.busy && h->uncached_pages == m.uncached);
	must(!atomic_read(&h->broken));
	for (i = 0; i < DIV_ROUND_UP(h->nr_leaves, LEAVES_PER_GROUP); i++)
		backed -= atomic_read(&h->group_backed[i]);
	must(!backed);
	check_lists();
	if (m.arena < 8192)
		check_map();
}
