// SPDX-License-Identifier: GPL-2.0
/*
 * Operations on a page heap, decoded from bytes, and compared with a reference model:
 * every result and the state of every page must agree. Look-ups run between the stores of
 * an operation. Operations run between the loads of a look-up, and where the invariant
 * check calls cond_resched().
 */
#include "heap_fuzz.h"

#define NR_CLIENTS	4u
#define SWEPT		3u	/* the client with a sweep callback */
#define KEEP_RECORDS	8u

unsigned long long fuzz_ops;
struct spanheap *h;

static struct spanheap heap;
static struct prep prep;
static struct spanheap_client client[NR_CLIENTS];
static struct client_sweep sweep;
static struct span_cache cache;
static unsigned long now;
static bool nested;		/* inside a look-up or a check */

/* ---- input ---- */

static const u8 *in, *in_end;

static u32 get(void)
{
	return in < in_end ? *in++ : 0;
}

static u32 get16(void)
{
	return get() | get() << 8;
}

/* A number of pages: mostly small, sometimes up to the whole arena */
static u32 get_nr(void)
{
	u32 kind = get();

	if (kind < 160)
		return 1 + kind % 16;
	if (kind < 208)
		return 1 + get() + (kind & 1) * 100;
	return 1 + (u32)((u64)get16() * m.arena >> (kind < 224 ? 16 : 19));
}

/* A page of the used part, if there is one */
static u32 get_page(void)
{
	return (u64)get16() * m.used >> 16;
}

/* A span in this state, or -1 */
static int pick(int state)
{
	u32 at = get16(), i;

	for (i = 0; i < m.n; i++)
		if (m.span[(at + i) % m.n].state == state)
			return (at + i) % m.n;
	return -1;
}

/* ---- look-ups ---- */

static bool want_view(u32 page, struct span_view *v)
{
	int i = m_at(page);

	if (i < 0 || m.span[i].state != SPAN_INUSE)
		return false;
	v->start = m.span[i].start;
	v->nr_pages = m.span[i].nr;
	v->obj_size = m.span[i].obj_size;
	v->client = &client[m.span[i].client];
	return true;
}

static bool same_view(const struct span_view *a, const struct span_view *b)
{
	return a->start == b->start && a->nr_pages == b->nr_pages &&
	       a->obj_size == b->obj_size && a->client == b->client;
}

/* Look-ups during an operation: no span but the operation's comes into or out of use */
static struct {
	u32 page;
	bool found;
	struct span_view view;
} watch;

static void look(void)
{
	struct span_view v = {};
	bool found = spanheap_heap_lookup(h, page_addr(h, watch.page), &v);

	must(found == watch.found && (!found || same_view(&v, &watch.view)));
}

/* Look up a page after each store, until the operation ends */
static void watch_begin(void)
{
	u32 how = get();

	if (how < 0xc0 || shim_rcu)
		return;
	watch.page = get_page();
	watch.found = want_view(watch.page, &watch.view);
	shim_stored = look;
}

static void watch_end(void)
{
	shim_stored = NULL;
}

static unsigned long lock_flags;

static void lock(void)
{
	spin_lock_irqsave(&h->lock, lock_flags);
	m.spare += prep.nr_records;
	m.records += prep.nr_records;
	__spanheap_absorb(h, &prep);
	watch_begin();
}

static void unlock(void)
{
	watch_end();
	spin_unlock_irqrestore(&h->lock, lock_flags);
}

/* Compare span i and its neighbours with the model after an operation */
static void check_near(u32 i)
{
	u32 at;

	for (at = i ? i - 1 : 0; at < i + 3 && at < m.n; at++)
		m_check_span(at);
	must(h->used == m.used && h->nr_spare == m.spare);
}

/* An operation between two loads of a look-up */
static u32 loads_left, looked_at;
static bool reused;
static void loaded(void);

static void op_lookup(void)
{
	u32 how = get(), off = get16() % PAGE_SIZE, page, bytes;
	struct span_view before = {}, after = {}, v = {};
	bool was, is, held, found, outer = nested;
	void *addr;

	page = how & 1 ? get_page() : (u32)((u64)get16() * (m.arena + 2) >> 16);
	/* The address may be outside of the arena, and may wrap to the first pages */
	addr = (void *)((unsigned long)h->base + ((unsigned long)page << PAGE_SHIFT) + off);
	if (how == 255)
		addr = h->base - 1 - off;
	was = how != 255 && want_view(page, &before);
	if (!nested && how & 2) {
		nested = true;
		loads_left = get() % 12;
		looked_at = page;
		shim_loaded = loaded;
	}
	found = spanheap_heap_lookup(h, addr, &v);
	shim_loaded = NULL;
	nested = outer;
	held = !reused;
	reused = false;
	is = how != 255 && want_view(page, &after);
	if (was && is && held)
		must(found && same_view(&before, &after));
	if (found)
		must((was && same_view(&v, &before)) || (is && same_view(&v, &after)));
	if (found && is) {
		u64 at = ((u64)(page - after.start) << PAGE_SHIFT) + off;

		bytes = after.obj_size;
		at = bytes ? at / bytes * bytes : 0;
		must(spanheap_heap_object(h, addr) ==
		     (at + bytes <= (u64)after.nr_pages << PAGE_SHIFT ?
		      page_addr(h, after.start) + at : NULL));
		must(spanheap_span_guess(h, addr) == m.span[m_at(page)].s);
	} else if (!is) {
		must(!spanheap_heap_object(h, addr));
	}
	if (how == 255)
		must(!spanheap_span_guess(h, addr));
}

/* The look-ups that need the heap lock */
static void op_walk(void)
{
	u32 page = get_page();
	struct span *s;
	int i = m_at(page);

	lock();
	s = __spanheap_span_holding(h, page);
	if (s)
		must(i >= 0 && s == m.span[i].s);
	else
		must(i < 0 || (m.span[i].state != SPAN_INUSE &&
			       page - m.span[i].start >= (HOLD_LEAVES - 1) * LEAF_PAGES));
	s = __spanheap_next(h, page);
	if (i >= 0 && m.span[i].start < page)
		i = (u32)i + 1 < m.n ? i + 1 : -1;
	must(s == (i < 0 ? NULL : m.span[i].s));
	unlock();
}

/* ---- in and out of use ---- */

static void busy_add(struct span *s)
{
	s->sweepgen = sweep.gen;
	list_add_tail(&s->list, &sweep.busy[busy_index(s)]);
	sweep.nr_busy++;
	h->nr_busy++;
	m.busy++;
	h->seq++;
}

static void swept(struct span *s)
{
	if (!unswept(&sweep, s))
		return;
	s->sweepgen = sweep.gen;
	if (!--sweep.nr_unswept)
		list_del_init(&sweep.node);
}

static void busy_del(struct span *s)
{
	list_del(&s->list);
	sweep.nr_busy--;
	h->nr_busy--;
	m.busy--;
	h->seq++;
	swept(s);
}

/* Back up to max pages of span i, which is OWNED. True: all its pages are backed. */
static bool back(u32 i, u32 max, bool zero)
{
	struct mspan *e = &m.span[i];
	u32 at = e->start, end = at + e->nr, to, n;
	struct span *s = e->s;

	while (at < end) {
		to = spanheap_next_backed(h, at, end, false);
		must(to == m_next(at, end, false));
		if (zero && s->needzero)
			memset(m.page + at, ZERO, to - at);
		at = to;
		if (at == end)
			break;
		to = spanheap_next_backed(h, at, end, true);
		must(to == m_next(at, end, true));
		n = min(to - at, max);
		spanheap_mark_backed(h, at, n, true);
		memset(m.page + at, zero ? ZERO : DIRTY, n);
		s->nr_released -= n;
		max -= n;
		if (!zero) {
			s->needzero = true;
			s->writer = 0;
		}
		if (n < to - at)
			return false;
		at = to;
	}
	return true;
}

static void op_back(void)
{
	int i = pick(SPAN_OWNED);
	u32 max = get_nr();

	if (i < 0)
		return;
	back(i, max, get() & 1);
	m_check_span(i);
}

/* Give span i, OWNED and backed, to a client, which writes to all its pages */
static void publish(u32 i, u32 nr, bool by_cache)
{
	struct mspan *e = &m.span[i];
	struct spanheap_client *c = &client[nr % NR_CLIENTS];
	struct span *s = e->s;
	u32 obj_size = nr & 8 ? 1u << get() % 13 : 1 + get16() % (e->nr << PAGE_SHIFT);

	if (by_cache && c->sweep)
		c = client;
	spanheap_map_cover(h, e->start, e->start + 1, e->start + e->nr);
	if (nr & 16)
		obj_size = 0;
	s->shared = nr & 32;
	must(spanheap_publish(h, s, s->word, c, obj_size, nr, c->sweep ? SPAN_SLOW : 0));
	e->state = SPAN_INUSE;
	e->used = true;
	e->client = c - client;
	e->obj_size = obj_size;
	memset(m.page + e->start, DIRTY + c->writer, e->nr);
	if (c->sweep)
		busy_add(s);
	if (by_cache) {
		cache.n.allocs++;
		cache.n.popped_pages += e->nr;
	}
}

static void op_publish(void)
{
	int i = pick(SPAN_OWNED);
	u32 how = get(), at;

	if (i < 0)
		return;
	back(i, UINT_MAX, how & 64);
	/* All pages must be zero if requested, although not all were cleared */
	for (at = m.span[i].start; how & 64 && at < m.span[i].start + m.span[i].nr; at++)
		must(m.page[at] == ZERO);
	lock();
	watch_end();
	publish(i, how, false);
	unlock();
	m_check_span(i);
}

/* Claim span i, which is in use, for a free or a sweep */
static void claim(u32 i)
{
	struct mspan *e = &m.span[i];
	struct span *s = e->s;
	u64 word = s->word, other = word - SPAN_USE;

	must(!span_claim(s, &other));
	must(span_claim(s, &word));
	must(!span_claim(s, &word));
	if (client[e->client].sweep)
		busy_del(s);
	s->needzero = true;
	s->writer = client[e->client].writer;
	e->state = SPAN_OWNED;
}

/* The guard behind span i, if there is one, becomes free now or later */
static void end_guard(u32 i)
{
	struct mspan *e = &m.span[i + 1];

	if (!m.span[i].guarded)
		return;
	must(*map_slot(h, e->start) == e->s);
	m.span[i].guarded = false;
	e->s->guard = false;
	e->guard = false;
	if (e->state == SPAN_GUARD) {
		__spanheap_put(h, e->s);
		m_merge(i + 1);
	}
}

static void put(u32 i)
{
	end_guard(i);
	h->frees++;
	if (m.span[i].used)
		spanheap_age_now(h, m.span[i].s);
	__spanheap_put(h, m.span[i].s);
	m_merge(i);
}

static void op_free(void)
{
	int i = pick(SPAN_INUSE);
	u32 how = get();

	if (i < 0)
		return;
	lock();
	watch_end();
	claim(i);
	if (how & 7)
		put(i);
	unlock();
	check_near(i ? i - 1 : 0);
}

static void do_op(void);

static void loaded(void)
{
	int i = m_at(looked_at);
	u32 how;

	if (loads_left--)
		return;
	shim_loaded = NULL;
	how = get();
	if (how & 1 || i < 0 || m.span[i].state != SPAN_INUSE) {
		do_op();
		return;
	}
	/* Free the span and allocate it again at the same place */
	lock();
	claim(i);
	publish(i, how, false);
	unlock();
	reused = true;
}

static void op_put(void)
{
	int i = pick(SPAN_OWNED);

	if (i < 0)
		return;
	lock();
	put(i);
	unlock();
	check_near(i ? i - 1 : 0);
}

/* ---- carving ---- */

/* The result that a carve must have, and the span it must cut (or one as long) */
static void expect_carve(u32 ask, bool grow, u32 nr_leaves, int *err, int *fit)
{
	*err = 0;
	*fit = -1;
	if (m.spare < SPARE_RESERVE + CARVE_RECORDS) {
		*err = -EAGAIN;
		return;
	}
	*fit = m_fit(ask);
	if (*fit < 0) {
		*err = grow ? m_grow(ask, prep.exact, nr_leaves) : -ENOSPC;
		if (!*err)
			*fit = m_fit(ask);
	}
}

static void op_carve(void)
{
	u32 how = get(), nr = get_nr(), align = how & 3 ? 1 : 1u << get() % 11;
	u32 lead, nr_leaves;
	bool grow = how & 12, guard = (how & 0x70) == 0x70 && nr > 1;
	struct mspan *e;
	struct span *s;
	int err, fit, i;

	prep.exact = how & 0x80;
	prep.client = how & 1 ? client : NULL;
	lock();
	nr_leaves = prep.nr_leaves;
	s = __spanheap_carve(h, nr, align, grow, &prep);
	expect_carve(nr + align - 1, grow, nr_leaves, &err, &fit);
	if (err) {
		unlock();
		must(IS_ERR(s) && PTR_ERR(s) == err);
		must(h->nr_map_leaves == m.leaves);
		if (err == -EAGAIN && m.spare >= SPARE_RESERVE + CARVE_RECORDS)
			must(prep.want_leaves == m.want_leaves);
		return;
	}
	must(!IS_ERR(s) && fit >= 0);
	i = m_at(s->start);
	/* Any small span of that length may be used, but backed ones come first */
	must(i >= 0 && m.span[i].state == SPAN_FREE && m.span[i].nr == m.span[fit].nr);
	if (m.span[fit].nr >= SMALL_PAGES)
		must(i == fit);
	else
		must(m_any_backed(m.span[i].nr) == !!m_backed(i));
	lead = -((unsigned long)page_addr(h, m.span[i].start) >> PAGE_SHIFT) % align;
	if (lead)
		m_split(i++, lead);
	if (m.span[i].nr > nr)
		m_split(i, nr);
	e = &m.span[i];
	e->state = SPAN_OWNED;
	e->used = false;
	e->s = s;
	h->allocs++;	/* in the same hold as the change of the map, like frees */
	must(e->start == s->start && e->nr == s->nr_pages);
	if (guard) {
		__spanheap_cut_guard(h, s);
		m_split(i, nr - 1);
		m.span[i].guarded = true;
		m.span[i + 1].s = NULL;
		if (m_backed(i + 1)) {
			m.span[i + 1].state = SPAN_RELEASING;
			m.span[i + 1].guard = true;
			m.span[i + 1].dropping = true;
		} else {
			m.span[i + 1].state = SPAN_GUARD;
		}
	}
	unlock();
	check_near(i);
}

static void op_cut_tail(void)
{
	int i = pick(SPAN_OWNED);
	u32 nr = get_nr();

	if (i < 0 || m.span[i].guarded || m.span[i].nr < 2)
		return;
	nr = 1 + nr % (m.span[i].nr - 1);
	lock();
	if (h->nr_spare > SPARE_RESERVE) {
		struct span *t = __spanheap_cut_tail(h, m.span[i].s, nr);

		m_split(i, nr);
		m.span[i + 1].s = t;
		m.span[i + 1].used = true;
		h->allocs++;
	}
	unlock();
	check_near(i);
}

static void op_carve_behind(void)
{
	int i = pick(SPAN_OWNED), err = 0;
	u32 nr = get_nr(), nr_leaves;
	struct mspan *n;
	struct span *s;

	if (i < 0 || m.span[i].guarded)
		return;
	lock();
	nr_leaves = prep.nr_leaves;
	s = __spanheap_carve_behind(h, m.span[i].s, nr, &prep);
	n = (u32)i + 1 < m.n ? &m.span[i + 1] : NULL;
	if (m.spare < SPARE_RESERVE + CARVE_RECORDS)
		err = -EAGAIN;
	else if (n && n->state != SPAN_FREE)
		err = -ENOSPC;
	else if (!n || (n->nr < nr && (u32)i + 2 == m.n))
		err = m_grow(nr, prep.exact, nr_leaves);
	n = &m.span[i + 1];
	if (!err && n->nr < nr)
		err = -ENOSPC;
	if (err) {
		must(IS_ERR(s) && PTR_ERR(s) == err);
	} else {
		must(!IS_ERR(s) && s->start == n->start && s->nr_pages == nr);
		if (n->nr > nr)
			m_split(i + 1, nr);
		m.span[i + 1].state = SPAN_OWNED;
		m.span[i + 1].used = false;
		m.span[i + 1].s = s;
		h->allocs++;
	}
	unlock();
	check_near(i);
}

/* Join an OWNED span with the OWNED span behind it, and bring it into use, as a resize does */
static void op_join(void)
{
	int i = pick(SPAN_OWNED);
	u32 how = get();
	struct mspan *e, *n;
	struct span *s;

	if (i < 0 || (u32)i + 1 == m.n)
		return;
	e = &m.span[i];
	n = e + 1;
	/* Join only spans as they are just after a carve */
	if (n->state != SPAN_OWNED || e->guarded || n->guarded || n->s->shared)
		return;
	back(i, UINT_MAX, false);
	back(i + 1, UINT_MAX, false);
	s = e->s;
	spanheap_map_cover(h, s->start, n->start, n->start + n->nr);
	lock();
	__spanheap_map_clear(h, n->s);
	WRITE_ONCE(*map_slot(h, span_end(s) - 1), NULL);
	WRITE_ONCE(s->nr_pages, e->nr + n->nr);
	__spanheap_map_set(h, s);
	__spanheap_drop_record(h, n->s);
	watch_end();
	m.spare++;
	h->frees++;
	e->nr += n->nr;
	m_remove(i + 1);
	publish(i, how, false);
	unlock();
	check_near(i);
}

/* ---- release ---- */

/* Unback those of the first max pages of span i that are backed */
static u32 unback(u32 i, u32 max)
{
	u32 at = m.span[i].start, end = at + min(m.span[i].nr, max), to, n = 0;

	for (; at < end; at = to) {
		at = spanheap_next_backed(h, at, end, true);
		to = spanheap_next_backed(h, at, end, false);
		must(to == m_next(at, end, false));
		if (at == end)
			break;
		spanheap_mark_backed(h, at, to - at, false);
		memset(m.page + at, NONE, to - at);
		n += to - at;
	}
	return n;
}

static void op_release(void)
{
	int i = pick(SPAN_FREE);
	u32 want = get_nr(), cut;
	struct mspan *e;
	struct span *s;

	if (i < 0 || !m_backed(i))
		return;
	e = &m.span[i];
	s = e->s;
	lock();
	cut = spanheap_next_backed(h, e->start, e->start + e->nr, true) - e->start;
	if (h->nr_spare >= SPARE_RESERVE && cut && want & 1) {
		m_split(i++, cut);
		s = __spanheap_split(h, s, cut);
		e++;
		cut = 0;
	}
	cut += want;
	if (h->nr_spare && cut < e->nr) {
		m_split(i, cut);
		__spanheap_split(h, s, cut);
	}
	e->s = s;
	__spanheap_isolate(h, s, SPAN_RELEASING);
	e->state = SPAN_RELEASING;
	e->dropping = false;
	unlock();
	check_near(i);
}

static void op_released(void)
{
	int i = pick(SPAN_RELEASING);
	u32 max = get_nr(), n;
	struct span *s;

	if (i < 0 || m.span[i].dropping)
		return;
	s = m.span[i].s;
	/* Unback all pages, or only some: those that are old enough */
	n = unback(i, max & 1 ? UINT_MAX : max);
	lock();
	h->released_pages += n;
	s->nr_released += n;
	__spanheap_put(h, s);
	m_merge(i);
	unlock();
	check_near(i ? i - 1 : 0);
}

static void op_defer(void)
{
	int i = pick(SPAN_OWNED);

	if (i < 0)
		return;
	lock();
	end_guard(i);
	h->frees++;
	__spanheap_defer(h, m.span[i].s, &h->dropping);
	m.span[i].state = SPAN_RELEASING;
	m.span[i].guard = false;
	m.span[i].dropping = true;
	m.span[i].s->guarded = false;
	m.span[i].s->guard = false;
	unlock();
	check_near(i);
}

static void op_drop(void)
{
	struct llist_node *first;
	struct span *s;
	u32 n;
	int i;

	lock();
	first = llist_del_all(&h->dropping);
	unlock();
	while (first) {
		s = llist_entry(first, struct span, cached);
		first = first->next;
		i = m_at(s->start);
		must(m.span[i].s == s && m.span[i].state == SPAN_RELEASING);
		must(m.span[i].guard == s->guard);
		n = unback(i, UINT_MAX);
		lock();
		h->released_pages += n;
		s->nr_released += n;
		if (!s->guard) {
			__spanheap_put(h, s);
			m_merge(i);
		} else {
			must(span_move(h, s, SPAN_RELEASING, SPAN_GUARD));
			h->nr_releasing--;
			m.span[i].state = SPAN_GUARD;
		}
		unlock();
		check_near(i ? i - 1 : 0);
	}
}

/* ---- a CPU's cache ---- */

static void op_cache(void)
{
	int i = pick(SPAN_INUSE);
	struct mspan *e;

	if (i < 0)
		return;
	e = &m.span[i];
	if (e->guarded || e->s->word & SPAN_SLOW)
		return;
	claim(i);
	cache.n.frees++;
	cache.n.pushed_pages += e->nr;
	WRITE_ONCE(e->s->client, NULL);
	must(span_move(h, e->s, SPAN_OWNED, SPAN_CACHED));
	e->state = SPAN_CACHED;
}

static void op_cached(void)
{
	int i = pick(SPAN_CACHED);
	u32 how = get();

	if (i < 0)
		return;
	must(span_move(h, m.span[i].s, SPAN_CACHED, SPAN_OWNED));
	m.span[i].state = SPAN_OWNED;
	publish(i, how, true);
	m_check_span(i);
}

static void op_put_cached(void)
{
	u32 nr = get() & 63, i;
	struct llist_node *first = NULL;

	for (i = 0; i < m.n && nr; i++)
		if (m.span[i].state == SPAN_CACHED) {
			m.span[i].s->cached.next = first;
			first = &m.span[i].s->cached;
			m.uncached += m.span[i].nr;
			m.span[i].state = SPAN_DEAD;	/* until the spans are put */
			nr--;
		}
	shim_contended = get() & 1;
	watch_begin();
	spanheap_put_cached(h, first);
	watch_end();
	shim_contended = false;
	for (i = 0; i < m.n; i++)
		if (m.span[i].state == SPAN_DEAD)
			i = m_merge(i);
	for (i = 0; i < m.n; i++)
		m_check_span(i);
}

/* ---- sweeping, time, memory ---- */

static void op_sweep(void)
{
	u32 how = get(), i;
	struct span *s;
	int at;

	if (how & 1) {
		at = pick(SPAN_INUSE);
		if (at >= 0)
			must(span_set_slow(m.span[at].s));
		return;
	}
	lock();
	if (how >= 0xf8) {
		/* As if the client were being unregistered: its spans are not swept any more */
		client[SWEPT].gone = true;
		list_del_init(&sweep.node);
	} else if (how & 2) {
		/* Unswept spans stay unswept */
		if (!sweep.nr_unswept)
			sweep.gen += 2;
		else
			goto out;
		sweep.nr_unswept = sweep.nr_busy;
		for (i = 0; i <= SMALL_PAGES; i++)
			if (!list_empty(&sweep.busy[i]))
				__set_bit(i, sweep.todo);
		if (sweep.nr_unswept && !client[SWEPT].gone)
			list_add_tail(&sweep.node, &h->unswept);
		h->seq++;
	} else {
		i = find_next_bit(sweep.todo, SMALL_PAGES + 1, get() % 4);
		if (i <= SMALL_PAGES && !list_empty(&sweep.busy[i])) {
			s = list_first_entry(&sweep.busy[i], struct span, list);
			list_move_tail(&s->list, &sweep.busy[i]);
			swept(s);
			h->seq++;
		}
	}
out:
	unlock();
}

static unsigned long clock_now(void)
{
	return now;
}

/* As a releaser that has found the age of the oldest page of a free span */
static void op_place(void)
{
	int i = pick(SPAN_FREE);
	u32 oldest = 0, at, end;
	struct mspan *e;

	if (i < 0 || !m_backed(i))
		return;
	e = &m.span[i];
	end = e->start + e->nr;
	lock();
	for (at = m_next(e->start, end, true); at < end; at = m_next(at + 1, end, true))
		oldest = max(oldest, spanheap_unit_age(h, at));
	e->s->epoch = h->epoch - oldest;
	__spanheap_place(h, e->s);
	unlock();
}

static void op_clock(void)
{
	u32 jump = get();

	now += jump < 64 ? 1UL << jump % 48 : jump - 64;
	if (jump & 1) {
		op_place();
		return;
	}
	lock();
	__spanheap_next_epoch(h);
	unlock();
}

static void op_bring(void)
{
	u32 records = get() & 15, leaves = get() & 7;

	if (leaves == 7)
		leaves = 300;
	for (; records && m.records + prep.nr_records < m.n + 64; records--) {
		struct span *s = calloc(1, sizeof(*s));

		list_add(&s->list, &prep.records);
		prep.nr_records++;
	}
	for (; leaves && m.leaves + prep.nr_leaves < h->nr_leaves; leaves--) {
		struct map_leaf *leaf = calloc(1, sizeof(*leaf));

		leaf->span = calloc(LEAF_PAGES, sizeof(*leaf->span));
		leaf->next = prep.leaves;
		prep.leaves = leaf;
		prep.nr_leaves++;
	}
}

/* Free surplus records, but not during a look-up, which may still read them */
static void op_trim(void)
{
	if (shim_rcu)
		return;
	lock();
	while (h->nr_spare > KEEP_RECORDS) {
		struct span *s = __spanheap_new_record(h);

		h->nr_records--;
		m.records--;
		m.spare--;
		free(s);
	}
	unlock();
}

/* ---- the invariant check ---- */

static void resched(void)
{
	u32 how = get();

	/* Run any operation, or one without the heap lock, after which the check goes on */
	if (how >= 0xa0)
		do_op();
	else if (how >= 0x80)
		op_cached();
	else if (how >= 0x60)
		op_cache();
}

static void op_check(void)
{
	char why[128] = "";

	if (nested)
		return;
	nested = true;
	shim_resched = get() & 1 ? resched : NULL;
	if (spanheap_heap_check(h, why, sizeof(why)))
		shim_die("operation %llu: %s", fuzz_ops, why);
	shim_resched = NULL;
	nested = false;
}

/* Finish all OWNED and RELEASING spans, so that the check compares the totals, too */
static void op_settle(void)
{
	u32 i;

	op_drop();
	for (i = 0; i < m.n; i++) {
		if (m.span[i].state == SPAN_RELEASING) {
			u32 n = unback(i, UINT_MAX);

			lock();
			h->released_pages += n;
			m.span[i].s->nr_released = m.span[i].nr;
			__spanheap_put(h, m.span[i].s);
			i = m_merge(i);
			unlock();
		} else if (m.span[i].state == SPAN_OWNED) {
			lock();
			put(i);
			unlock();
			i = -1;	/* start again: the indices have changed */
		}
	}
	m_check_all();
	op_check();
	m_check_all();
}

static void op_corrupt(void)
{
	u32 kind = get() % CORRUPTIONS, at = get16(), i;
	char why[128] = "";

	if (!m.n || m.used > 100000)
		return;
	if (kind & 1)
		op_settle();
	m_check_all();
	for (i = 0; i < m.n; i++) {
		if (corrupt(kind, (at + i) % m.n)) {
			if (spanheap_heap_check(h, why, sizeof(why)) != -EUCLEAN || !*why)
				shim_die("corruption %u of span %u of %u is not seen", kind,
					 (at + i) % m.n, m.n);
			i = m.n;
		}
		uncorrupt();
	}
}

/* Operations that do not fit the state of a span are refused and change nothing */
static void op_misuse(void)
{
	int i = pick(get() & 1 ? SPAN_FREE : SPAN_INUSE);
	u32 warned = shim_warnings, how = get() % 3;

	if (i < 0)
		return;
	lock();
	shim_may_warn = true;
	if (how == 0)
		__spanheap_put(h, m.span[i].s);
	else if (how == 1)
		__spanheap_defer(h, m.span[i].s, &h->dropping);
	else
		must(!spanheap_publish(h, m.span[i].s, 0, client, 0, 0, 0));
	shim_may_warn = false;
	must(shim_warnings == warned + 1 && atomic_read(&h->broken) == 1);
	h->broken.counter = 0;
	unlock();
	m_check_span(i);
}

/*
 * Overwrite the record of a free span. The next allocation that finds the span evicts it
 * and uses another one. The heap does not touch the evicted span any more.
 */
static void op_evict(void)
{
	u32 nr = get_nr(), how = get() % 3, old;
	struct span *s, *other;
	int i, err, fit;

	fit = m_fit(nr);
	if (fit < 0 || m.spare < SPARE_RESERVE + CARVE_RECORDS)
		return;
	lock();
	watch_end();
	s = m.span[fit].nr < SMALL_PAGES ?
	    list_first_entry(&h->small[m.span[fit].nr], struct span, list) : m.span[fit].s;
	i = m_at(s->start);
	old = s->nr_pages;
	if (how == 0)
		s->word = (s->word & SPAN_USES) | SPAN_OWNED;
	else if (how == 1)
		s->word = (s->word & SPAN_USES) | SPAN_DEAD;
	else if (old < SMALL_PAGES)
		s->nr_pages++;
	else
		s->word = 77;
	m.span[i].state = LOST;
	shim_may_warn = true;
	other = __spanheap_carve(h, nr, 1, false, &prep);
	shim_may_warn = false;
	must(atomic_read(&h->broken) == 1);
	expect_carve(nr, false, 0, &err, &fit);
	h->broken.counter = 0;
	s->nr_pages = old;
	if (err) {
		must(IS_ERR(other) && PTR_ERR(other) == err);
	} else {
		i = m_at(other->start);
		must(m.span[i].state == SPAN_FREE && m.span[i].nr == m.span[fit].nr);
		must(m.span[i].start == other->start && other->nr_pages == nr);
		if (m.span[i].nr > nr)
			m_split(i, nr);
		m.span[i].state = SPAN_OWNED;
		m.span[i].used = false;
		h->allocs++;
	}
	unlock();
	m_check_all();
}

/* ---- an input ---- */

static void do_op(void)
{
	static void (*const ops[64])(void) = {
		op_carve, op_carve, op_carve, op_carve, op_carve, op_carve, op_carve, op_carve,
		op_carve, op_carve, op_publish, op_publish, op_publish, op_publish, op_publish,
		op_publish, op_publish, op_publish, op_free, op_free, op_free, op_free, op_free,
		op_free, op_free, op_put, op_put, op_back, op_back, op_bring, op_bring, op_bring,
		op_cut_tail, op_cut_tail, op_carve_behind, op_carve_behind, op_carve_behind,
		op_join, op_join, op_release, op_release, op_release, op_released, op_released,
		op_defer, op_drop, op_cache, op_cache, op_cache, op_cached, op_put_cached,
		op_put_cached, op_lookup, op_lookup, op_lookup, op_lookup, op_lookup, op_walk,
		op_sweep, op_sweep, op_sweep, op_clock, op_trim, NULL,
	};
	static void (*const rare[8])(void) = {
		op_settle, op_check, op_check, op_corrupt, op_corrupt, op_corrupt, op_misuse,
		op_evict,
	};
	u32 op = get() % 64;

	fuzz_ops++;
	if (ops[op])
		ops[op]();
	else if (!nested)
		rare[get() % 8]();
}

static void heap_begin(void)
{
	static const u32 arenas[8] = { 300, 700, 1573, 1573, 5000, 5000, 20000, ARENA_MAX };
	u32 how = get(), i;

	memset(&heap, 0, sizeof(heap));
	memset(client, 0, sizeof(client));
	memset(&cache, 0, sizeof(cache));
	memset(&sweep, 0, sizeof(sweep));
	memset(&m, 0, offsetof(struct model, page));
	h = &heap;
	/* The largest arena is slow and seldom used: it has several groups of leaves */
	m.arena = arenas[how % 8 == 7 && how & 0x40 ? 5 : how % 8];
	h->arena_pages = m.arena;
	/* The base is low and odd, or the arena ends one page below the last address */
	h->base = how & 0x80 ? (void *)(-(unsigned long)(m.arena + 1) << PAGE_SHIFT) :
			       (void *)(0x123457UL << PAGE_SHIFT);
	h->nr_leaves = DIV_ROUND_UP(m.arena, LEAF_PAGES);
	h->map = calloc(h->nr_leaves, sizeof(*h->map));
	h->cover = calloc(h->nr_leaves, sizeof(*h->cover));
	h->leaf_backed = calloc(h->nr_leaves, sizeof(*h->leaf_backed));
	h->group_backed = calloc(DIV_ROUND_UP(h->nr_leaves, LEAVES_PER_GROUP),
				 sizeof(*h->group_backed));
	for (i = 0; i < SMALL_PAGES; i++)
		INIT_LIST_HEAD(&h->small[i]);
	for (i = 0; i < AGES; i++)
		INIT_LIST_HEAD(&h->idle[i]);
	INIT_LIST_HEAD(&h->spare);
	INIT_LIST_HEAD(&h->unswept);
	h->clock = clock_now;
	now = -500UL;
	h->caches.cpu = &cache;
	for (i = 0; i < NR_CLIENTS; i++)
		client[i].writer = i < SWEPT ? i : 0;
	client[SWEPT].sweep = &sweep;
	sweep.gen = -4u;	/* wraps soon */
	sweep.client = &client[SWEPT];
	INIT_LIST_HEAD(&sweep.node);
	for (i = 0; i <= SMALL_PAGES; i++)
		INIT_LIST_HEAD(&sweep.busy[i]);
	memset(&prep, 0, sizeof(prep));
	INIT_LIST_HEAD(&prep.records);
}

static void heap_end(void)
{
	struct map_leaf *leaf;
	u32 i;

	lock();
	unlock();
	for (i = 0; i < m.n; i++)
		free(m.span[i].s);
	while (!list_empty(&h->spare))
		free(__spanheap_new_record(h));
	for (i = 0; i < m.leaves; i++) {
		free(h->map[i]->span);
		free(h->map[i]);
	}
	while (prep.leaves) {
		leaf = prep.leaves;
		prep.leaves = leaf->next;
		free(leaf->span);
		free(leaf);
	}
	free(h->map);
	free(h->cover);
	free(h->leaf_backed);
	free(h->group_backed);
}

void fuzz_one(const u8 *data, size_t size)
{
	u32 n = 0;

	in = data;
	in_end = data + size;
	heap_begin();
	while (in < in_end) {
		do_op();
		if (!(++n % 256) && m.arena < 100000)
			m_check_all();
	}
	op_settle();
	heap_end();
}
