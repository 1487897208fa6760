/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Spin model: the end of a span's use. Frees, resizes, SPAN_SLOW and specials against each
 * other, the reuse of the record, and look-ups that take no lock.
 *
 * The model stands for these functions:
 *
 *	Allocator	alloc_cached(), carve(), hand_out()		spanheap_alloc.c
 *			spanheap_publish()				spanheap_internal.h
 *	Freer		spanheap_heap_free(), look(), may_cache(), claim_seen(),
 *			free_to_cache(), free_slow(), __claim_to_free()	spanheap_alloc.c
 *			spanheap_specials_claim()			spanheap_special.c
 *			__spanheap_put()				spanheap_span.c
 *	Resizer		change_begin(), grow_span(), move_span(), change_end()
 *									spanheap_resize.c
 *	Adder, Remover	locked(), add_to(), remove_from()		spanheap_special.c
 *	Sharer		spanheap_mark_shared()				spanheap_share.c
 *	Looker		spanheap_heap_lookup(), map_find()		spanheap_map.c
 *	span_claim(), span_set_slow()					spanheap_span.h
 *
 * There is one record and two pages of the arena. When the record is free, Allocator uses
 * it again: from a cache it keeps its place; from the page heap it may get another place
 * and length, as after a merge and a split. A free into the cache ends with the state
 * CACHED: the push into the cache and the pop out of it (see section.pml) are left out, and
 * so are bitmaps of first pages, span.cover, and the callbacks of sweeps, which claim spans
 * as free_slow() does.
 *
 * Frees in the model come at any time, with any address: late, double and interior frees
 * are among them. Sharer and Resizer of the scenario SHARES are correct clients: the free
 * comes after both.
 *
 * Memory model: Spin executes one statement after the other (sequential consistency). The
 * code has less, and gets the order from:
 *
 *  - cmpxchg() that succeeds is a full barrier: what a free or a resize stores to the
 *    record after its claim is visible after the claim, and what it has read before (look())
 *    was read before the claim.
 *  - smp_store_release() of the word in spanheap_publish() and at the end of a resize:
 *    fields before the word. Pairs with smp_load_acquire() in look() and
 *    spanheap_heap_lookup(): the word before the fields.
 *  - smp_rmb() in spanheap_heap_lookup(): fields before the second read of the word. Pairs
 *    with the cmpxchg() of the claim.
 *  - smp_store_release() of the map's pointer in __spanheap_map_set(). Pairs with the
 *    address dependency of the reader.
 *  - the heap lock and the special lock, which order all that their holders access.
 *
 * The mutants PUBLISH_EARLY, LOOK_WORD_LATE, LOOK_SECOND_EARLY and CACHED_EARLY are what a
 * missing barrier would allow.
 *
 * The first word of each line below selects the processes. "make models" runs each line:
 * the model must pass, or with the mutant behind it must fail.
 *
 *	pass: FREES			frees at any time beside allocations
 *	pass: RESIZES			the same, and a resize
 *	pass: SPECIALS			frees, and specials that come and go
 *	pass: SHARES			pages are shared during a resize, then the free
 *	pass: LOOKS			look-ups beside frees, allocations and a resize
 *	fail: FREES CLAIM_TWO_STEPS	a claim compares the word, then stores it
 *	fail: FREES CLAIM_STATE		a claim compares the state, but not the use
 *	fail: FREES USE_KEPT		an allocation begins no new use
 *	fail: FREES NO_START		a free does not compare the start of the span
 *	fail: FREES LOOK_WORD_LATE	a free reads the word after the fields
 *	fail: FREES PUBLISH_EARLY	an allocation stores the word before the fields
 *	fail: FREES CACHED_EARLY	a free stores CACHED before the fields
 *	fail: RESIZES RESIZE_KEEPS_USE	a resize begins no new use
 *	fail: RESIZES RESIZE_IN_USE	a resize does not claim the span
 *	fail: SPECIALS SLOW_LATE	SPAN_SLOW is set after the special is linked
 *	fail: SPECIALS SLOW_UNLOCKED	SPAN_SLOW is set before the special lock is taken
 *	fail: SPECIALS SLOW_STORE	SPAN_SLOW is set by a load and a store
 *	fail: SPECIALS SLOW_ANY_STATE	SPAN_SLOW is set on a span that is not in use
 *	fail: SPECIALS FAST_SLOW	a free into the cache does not test SPAN_SLOW
 *	fail: SPECIALS CLAIM_UNLOCKED	a slow free claims without the special lock
 *	fail: SPECIALS FINALIZER_FIRST	a slow free looks for finalizers before it takes
 *					the special lock
 *	fail: SPECIALS REMOVE_EMPTY	a special is removed without a test for an empty tree
 *	fail: SHARES RESIZE_OLD_WORD	a resize ends with the word that it has read before
 *					its claim
 *	fail: LOOKS LOOK_ONCE		a look-up does not read the word a second time
 *	fail: LOOKS LOOK_SECOND_EARLY	a look-up reads the word twice before the fields
 *	fail: LOOKS LOOK_WORD_LATE	a look-up reads the word after the fields
 *	fail: LOOKS LOOK_NO_START	a look-up does not compare the start of the span
 *	fail: LOOKS PUBLISH_EARLY	an allocation stores the word before the fields
 *	fail: LOOKS USE_KEPT		an allocation begins no new use
 *	fail: LOOKS RESIZE_KEEPS_USE	a resize begins no new use
 */

/* span.word: the state, SPAN_SLOW, and above them the count of uses */
#define FREE	1
#define OWNED	2
#define INUSE	3
#define CACHED	4
#define SLOW	8
#define USE	16
#define STATE(w)	((w) & 7)
#define USES(w)		((w) / USE * USE)

#define MAX	1	/* span_caches.max_pages: longer spans are not cached */
#define ALLOCS	2

/* The record */
short word = FREE;
byte start, nr, client;
bool shared, special, finalizer;	/* span.specials: at most one, and of which kind */

bool map[2];		/* does the page's entry in the map name the record? */
bool heap_lock, special_lock;

/* For the assertions: the record's fields in each use, and whether the use is live */
byte use_start[6], use_nr[6], use_client[6];
bool live, referenced;
byte special_start;	/* where the span with the special starts */

#define NOW	(word / USE)

inline lock(l)
{
	atomic { !l -> l = true }
}

inline unlock(l)
{
	l = false
}

inline map_set()
{
	map[start] = true;
	map[start + nr - 1] = true
}

/* In the step in which a free has claimed the span */
inline ended(at)
{
	assert(live);
	live = false;
	assert(!finalizer);
	assert(use_start[NOW] == at && start == at);
	assert(use_nr[NOW] == nr && use_client[NOW] == client)
}

/* ---- allocation ---- */

/* In the step that makes the use known */
inline begun()
{
	assert(!live && !special && !finalizer);
	live = true
}

proctype Allocator()
{
	short w;
	byte n;

	do
	:: n < ALLOCS ->
		/* alloc_cached(), or __spanheap_carve() under the heap lock */
end:		if
		:: atomic { STATE(word) == CACHED -> w = word; word = USES(w) + OWNED }
		:: atomic { STATE(word) == FREE && !heap_lock -> heap_lock = true };
			if
			:: start = 0; nr = 1
#ifndef SHARES
			:: start = 1; nr = 1
			:: start = 0; nr = 2
#endif
			fi;
			map_set();
			w = word;
			word = USES(w) + OWNED;
			unlock(heap_lock)
		fi;
		n++;
		/* spanheap_publish() */
#ifdef USE_KEPT
		if
		:: USES(w) == 0 -> w = w + USE
		:: else
		fi;
		w = USES(w) + INUSE;
#else
		w = USES(w) + USE + INUSE;
#endif
		d_step {
			use_start[w / USE] = start;
			use_nr[w / USE] = nr;
			use_client[w / USE] = n
		};
#ifdef PUBLISH_EARLY
		d_step { begun(); word = w };
		client = n;
#else
		client = n;
		d_step { begun(); word = w };
#endif
		w = 0
	:: else -> break
	od
}

/* ---- free ---- */

inline look()
{
	found = map[addr];
	if
	:: found ->
#ifdef LOOK_WORD_LATE
		s = start;
		length = nr;
		w = word
#else
		w = word;
		s = start;
		length = nr
#endif
#ifdef NO_START
		;
		s = addr
#endif
	:: else
	fi
}

/* cmpxchg(&s->word, seen.word, OWNED) */
inline claim_seen()
{
	ok = false;
#ifdef CLAIM_TWO_STEPS
	ok = STATE(w) == INUSE && !(w & SLOW) && word == w;
	if
	:: ok -> d_step { ended(addr); word = USES(word) + OWNED }
	:: else
	fi
#else
	if
#ifdef FAST_SLOW
	:: STATE(w) == INUSE ->
#else
	:: STATE(w) == INUSE && !(w & SLOW) ->
#endif
		d_step {
#ifdef CLAIM_STATE
			if
			:: STATE(word) == INUSE && !(word & SLOW) ->
#else
			if
			:: word == w ->
#endif
				ended(addr);
				word = USES(word) + OWNED;
				ok = true
			:: else
			fi
		}
	:: else
	fi
#endif
}

/*
 * span_claim(): the loop of the code ends when nobody has changed the word in between, so
 * one step that reads and writes the word stands for it
 */
inline span_claim()
{
	d_step {
		ok = STATE(word) == INUSE && USES(word) == USES(w);
		if
		:: ok ->
			ended(addr);
			word = USES(word) + OWNED
		:: else
		fi
	}
}

inline specials_claim()
{
#ifdef FINALIZER_FIRST
	ok = !finalizer;
	lock(special_lock);
#else
#ifndef CLAIM_UNLOCKED
	lock(special_lock);
#endif
	ok = !finalizer;
#endif
	if
	:: ok ->
		span_claim();
		if
		:: ok -> special = false
		:: else
		fi
	:: else
	fi;
#ifndef CLAIM_UNLOCKED
	unlock(special_lock)
#else
	skip
#endif
}

/* Under the heap lock */
inline put()
{
	assert(!referenced || shared);
	referenced = false;
	word = USES(word) + FREE;
	client = 0;
	shared = false;
	map[start] = false;
	map[start + nr - 1] = false
}

/* One free of addr */
inline free()
{
	look();
	if
	:: found && STATE(w) == INUSE && !(w & SLOW) && s == addr && length <= MAX ->
		claim_seen()
	:: else -> ok = false
	fi;
	if
	:: ok ->
		/* free_to_cache() */
		assert(nr <= MAX && !special && !referenced);
#ifdef CACHED_EARLY
		word = USES(word) + CACHED;
		client = 0
#else
		client = 0;
		word = USES(word) + CACHED
#endif
	:: else ->
		/* free_slow() */
		lock(heap_lock);
		if
#ifdef NO_START
		:: map[addr] ->
#else
		:: map[addr] && start == addr ->
#endif
			if
			:: found
			:: else -> look()
			fi;
			if
			:: found ->
				claim_seen();
				if
				:: ok ->
					assert(!special)
				:: else -> specials_claim()
				fi
			:: else
			fi;
			if
			:: ok -> put()
			:: else
			fi
		:: else
		fi;
		unlock(heap_lock)
	fi;
	d_step { w = 0; s = 0; length = 0; found = false; ok = false }
}

proctype Freer(byte addr, n)
{
	short w;		/* struct seen */
	byte s, length;
	bool found, ok;

	do
	:: n -> free(); n--
	:: else -> break
	od
}

/* ---- resize ---- */

/* To two pages, to another place, or to the length that the span has */
inline resize()
{
	lock(heap_lock);
	if
	:: map[addr] && start == addr ->
		w = word;
		/* span_claim() */
		d_step {
			ok = STATE(word) == INUSE && USES(word) == USES(w);
			if
			:: ok ->
#ifndef RESIZE_OLD_WORD
				w = word;
#endif
#ifndef RESIZE_IN_USE
				word = USES(word) + OWNED
#endif
			:: else
			fi
		};
		unlock(heap_lock);
		if
		:: ok ->
			lock(heap_lock);
			if
			:: start == 0 -> nr = 2; map_set()
			:: nr == 1 -> map[start] = false; start = 1 - start; map_set()
			:: skip
			fi;
			unlock(heap_lock);
			lock(heap_lock);
#ifndef RESIZE_KEEPS_USE
			w = w + USE;
#endif
			d_step {
				use_start[w / USE] = start;
				use_nr[w / USE] = nr;
				use_client[w / USE] = client;
				word = w
			};
			unlock(heap_lock)
		:: else
		fi
	:: else -> unlock(heap_lock)
	fi
}

proctype Resizer(byte addr)
{
	short w;
	bool ok;

	resize()
}

/* ---- SPAN_SLOW ---- */

/* The loop of the code ends when nobody has changed the word in between, as above */
inline span_set_slow()
{
#ifdef SLOW_STORE
	w = word;
	ok = STATE(w) == INUSE;
	if
	:: ok -> word = w | SLOW
	:: else
	fi;
	w = 0
#else
	d_step {
		ok = STATE(word) == INUSE;
#ifdef SLOW_ANY_STATE
		ok = true;
#endif
		if
		:: ok -> word = word | SLOW
		:: else
		fi
	}
#endif
}

/* In the step that links the special, of either kind */
inline link()
{
	assert(live);
	special = true;
	if
	:: finalizer = true
	:: finalizer = false
	fi;
	special_start = start
}

proctype Adder(byte addr)
{
	short w;
	bool ok;

	if
	:: map[addr] ->
#ifdef SLOW_UNLOCKED
		span_set_slow();
		lock(special_lock);
#else
		lock(special_lock);
#ifdef SLOW_LATE
		ok = STATE(word) == INUSE;
#else
		span_set_slow();
#endif
#endif
		ok = ok && addr - start < nr && addr >= start;
		if
		:: ok && !special -> atomic { link() }
		:: else -> ok = false
		fi;
#ifdef SLOW_LATE
		if
		:: ok -> span_set_slow()
		:: else
		fi;
#endif
		unlock(special_lock)
	:: else
	fi
}

proctype Remover(byte addr)
{
	bool ok;

	if
	:: map[addr] ->
		lock(special_lock);
#ifdef REMOVE_EMPTY
		ok = true;
#else
		ok = special;
#endif
		/* A tree that is not empty proves that the span is still the same */
		if
		:: ok ->
			assert(live && special_start == start);
			ok = addr >= start && addr - start < nr
		:: else
		fi;
		if
		:: ok -> d_step { special = false; finalizer = false }
		:: else
		fi;
		unlock(special_lock)
	:: else
	fi
}

/* A client shares pages of its span, and another task of the client resizes it */
proctype Sharer()
{
	short w;
	bool ok;

	live;
	w = word;
	if
	:: STATE(w) == INUSE && map[0] ->
		shared = true;
		span_set_slow();
		if
		:: ok -> referenced = true
		:: else
		fi
	:: else
	fi
}

/* ---- look-up ---- */

proctype Looker(byte addr)
{
	short w, again;
	byte s, length, c;
	bool found;

	found = map[addr];
	if
	:: found ->
#ifdef LOOK_WORD_LATE
		s = start;
		length = nr;
		c = client;
		w = word;
#else
		w = word;
#ifdef LOOK_SECOND_EARLY
		again = word;
#endif
		s = start;
		length = nr;
		c = client;
#endif
#if defined(LOOK_ONCE)
		again = w;
#elif !defined(LOOK_SECOND_EARLY)
		again = word;
#endif
		found = STATE(w) == INUSE && (w | SLOW) == (again | SLOW) && c && addr - s < length;
#ifndef LOOK_NO_START
		found = found && s == addr;
#endif
		if
		:: found ->
			w = w / USE;
			assert(s == addr && use_start[w] == s && use_nr[w] == length &&
			       use_client[w] == c)
		:: else
		fi
	:: else
	fi
}

init
{
	atomic {
		run Allocator();
#ifdef FREES
		run Freer(0, 1);
		run Freer(0, 1);
		run Freer(1, 1);
#endif
#ifdef RESIZES
		run Freer(0, 1);
		run Freer(0, 1);
		run Resizer(0);
#endif
#ifdef SPECIALS
		run Freer(0, 1);
		run Freer(0, 1);
		run Adder(0);
		run Remover(0);
#endif
#ifdef LOOKS
		run Freer(0, 1);
		run Resizer(0);
		run Looker(0);
#endif
#ifdef SHARES
		run Sharer();
		run Resizer(0);
#endif
	}
#ifdef SHARES
	/* The free comes after both */
	_nr_pr <= 2;
	run Freer(0, 1)
#endif
}
