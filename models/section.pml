/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Spin model: the section of a CPU against interrupts, visits and pauses.
 *
 * The model stands for these functions:
 *
 *	enter(), leave()	cache_enter(), cache_leave()	spanheap_cache.h
 *	visit()			visit_this_cpu(), spanheap_cache_visit()	spanheap_cache.c
 *	Pauser			spanheap_cache_pause(), _resume()	spanheap_cache.c
 *	Drainer			spanheap_cache_drain()		spanheap_release.c
 *	Limiter			spanheap_set_limit()		spanheap_account.c
 *	Task, Interrupt		an allocation or a free; its section reads
 *				client.limit_pages as count_alloc() does
 *
 * There is one CPU with a cache. Sections of two CPUs share only "paused" and the limit,
 * which sections only read. On the CPU run two tasks, which preempt each other, a soft
 * interrupt and a hard interrupt, each with the same section, and the IPIs of visits.
 * Pauser, Drainer and Limiter run on other CPUs. CPU hotplug is not in the model: the
 * cache of an offline CPU is used under cpus_read_lock() or in a hotplug callback.
 *
 * Memory model: Spin executes one statement after the other (sequential consistency). The
 * code has less, and gets the rest from:
 *
 *  - barrier() in cache_enter() and cache_leave(). It orders the section against "entered"
 *    for the compiler. The CPU needs no barrier, because all readers of "entered" run on
 *    the same CPU, and an interrupt sees the stores before it in program order.
 *  - IPIs. smp_call_function_single() waits until the function has returned, so the caller
 *    sees what the function has stored (csd_lock() and csd_unlock(): acquire and release).
 *  - synchronize_rcu(). Each region with preemption off, or with interrupts off, that began
 *    before the call ends before the return, and its stores are visible then. Every other
 *    region sees the stores before the call.
 *
 * The mutants ENTERED_LATE and LEAVE_EARLY are what a missing barrier() would allow.
 *
 * The first word of each line below selects the processes beside those of the CPU. "make
 * models" runs each line: the model must pass, or with the mutant behind it must fail.
 *
 *	pass: PAUSES			two pauses that overlap; one interrupt
 *	pass: DRAINS			a drain; two interrupts that nest
 *	pass: LIMITS			a client gets a limit; two interrupts that nest
 *	pass: PAUSES PAUSED_FIRST	paused is read before entered is stored. A grace
 *					period waits for both, so the order has no effect
 *	fail: PAUSES PAUSED_OUTSIDE	paused is read before preemption is off
 *	fail: PAUSES PREEMPTIBLE	preemption stays on in the section
 *	fail: PAUSES NO_GRACE		the pause does not wait for a grace period
 *	fail: PAUSES GRACE_FIRST	the pause waits before it increments paused
 *	fail: PAUSES PAUSED_FLAG	paused is a flag, not a count of pauses
 *	fail: PAUSES NOT_PAUSED		the section does not test paused
 *	fail: PAUSES PAUSED_STAYS	a section that a pause refuses leaves entered set
 *	fail: DRAINS NESTED		an interrupt does not test entered
 *	fail: DRAINS REFUSED_CLEARS	an interrupt that finds entered set clears it
 *	fail: DRAINS ENTERED_LATE	entered is stored after the section's first access
 *	fail: DRAINS LEAVE_EARLY	entered is cleared before the section's last access
 *	fail: DRAINS VISIT_INSIDE	a visit does not test entered
 *	fail: DRAINS VISIT_ONCE		a visit that arrived inside a section is not repeated
 *	fail: LIMITS LIMIT_NO_GRACE	shares are folded without a grace period before
 *	fail: LIMITS LIMIT_LATE		the limit is set after the grace period
 */

#define TASKS	2
#define IPI	3

/* span_cache.entered, span_caches.paused, spanheap_client.limit_pages */
bool entered, limit;
byte paused;

/* Two fields of the cache, which differ inside a section only */
bit a, b;
/* The CPU's share of the client's pages, and the exact count of a client with a limit */
byte share, total;

/* The CPU: what runs now. 0: a task, 1: soft interrupt, 2: hard interrupt, 3: IPI */
byte level;
byte preempt;		/* preempt_count() */
byte running = 1;	/* which task: 1 or 2 */

/* For the assertions */
byte sections;		/* that were executed */
byte alive;		/* processes that have not ended */
bool folded;		/* the limit is in force, and no share changes any more */

/* A grace period: the CPU has left each region that had begun before */
inline grace_period()
{
	preempt == 0 && level == 0
}

inline enter()
{
	ok = false;
#ifdef PAUSED_OUTSIDE
	p = paused;
#endif
#ifndef PREEMPTIBLE
	preempt++;
#endif
	e = entered;
#ifdef NESTED
	e = false;
#endif
	if
	:: e ->
#ifdef REFUSED_CLEARS
		entered = false;
#endif
		p = 1
	:: else ->
#ifdef PAUSED_FIRST
		p = paused;
#endif
#ifndef ENTERED_LATE
		entered = true;
#endif
#if !defined(PAUSED_FIRST) && !defined(PAUSED_OUTSIDE)
		p = paused;
#endif
#ifdef NOT_PAUSED
		p = 0;
#endif
		if
		:: p ->
#ifndef PAUSED_STAYS
			entered = false
#else
			skip
#endif
		:: else -> ok = true
		fi
	fi;
	if
	:: ok
	:: else ->
#ifndef PREEMPTIBLE
		preempt--
#else
		skip
#endif
	fi
}

inline leave()
{
#ifndef LEAVE_EARLY
	entered = false;
#endif
#ifndef PREEMPTIBLE
	preempt--
#else
	skip
#endif
}

/* One allocation or free */
inline operate()
{
	enter();
	if
	:: ok ->
		d_step { assert(a == b); a = 1 - a };
#ifdef ENTERED_LATE
		entered = true;
#endif
		l = limit;
		if
		:: l -> total++
		:: else -> d_step { assert(!folded); share++ }
		fi;
#ifdef LEAVE_EARLY
		entered = false;
#endif
		d_step { b = 1 - b; sections++ };
		leave()
	:: else
	fi;
	d_step { p = 0; e = false; l = false; ok = false }
}

proctype Task() provided (level == 0 && running == _pid)
{
	bool e, ok, l;
	byte p;

	operate();
	alive--
}

/* Of level _pid - TASKS: 1 and 2. Interrupts a task or a lower level, and runs to its end. */
proctype Interrupt() provided (level <= _pid - TASKS)
{
	bool e, ok, l;
	byte p, below;

	d_step { below = level; level = _pid - TASKS };
	operate();
	d_step { level = below; alive-- }
}

/* The other CPU waits while the function runs, so its process executes the IPI */
inline visit(folds)
{
	do
	:: atomic { level < IPI -> below = level; level = IPI };
#ifdef VISIT_INSIDE
		missed = false;
#else
		missed = entered;
#endif
		if
		:: missed
		:: else ->
			if
			:: folds ->
				total = total + share;
				share = 0
			:: else ->
				assert(a == b);
				a = 0;
				b = 0;
				taken = true
			fi
		fi;
		d_step { level = below; below = 0 };
#ifdef VISIT_ONCE
		break
#else
		if
		:: missed
		:: else -> break
		fi
#endif
	od
}

proctype Drainer()
{
	bool missed, taken;
	byte below;

	visit(false);
	assert(taken);
	alive--
}

proctype Limiter()
{
	bool missed, taken;
	byte below;

#ifdef LIMIT_LATE
	grace_period();
	limit = true;
#else
	limit = true;
#ifndef LIMIT_NO_GRACE
	grace_period();
#endif
#endif
	if
	:: share -> visit(true)
	:: else
	fi;
	folded = true;
	assert(share == 0);
	alive--
}

/* Two of them: pauses may overlap */
proctype Pauser()
{
	byte before;

#ifdef GRACE_FIRST
	grace_period();
#endif
#ifdef PAUSED_FLAG
	paused = 1;
#else
	paused++;
#endif
#if !defined(GRACE_FIRST) && !defined(NO_GRACE)
	grace_period();
#endif
	before = sections;
	assert(a == b);
	assert(sections == before);
#ifdef PAUSED_FLAG
	paused = 0;
#else
	paused--;
#endif
	before = 0;
	alive--
}

/* Also the scheduler, which switches tasks where the kernel may preempt */
init
{
	atomic {
		run Task();		/* process 1 */
		run Task();
		run Interrupt();	/* process 3 */
		alive = 3;
#ifdef PAUSES
		run Pauser();
		run Pauser();
		alive = alive + 2;
#else
		run Interrupt();
		alive++;
#endif
#ifdef DRAINS
		run Drainer();
		alive++;
#endif
#ifdef LIMITS
		run Limiter();
		alive++;
#endif
	}
	do
	:: atomic { preempt == 0 && level == 0 && alive -> running = 3 - running }
	:: atomic { alive == 0 -> break }
	od;
	assert(!entered && !preempt && !paused);
	assert(a == b && total + share == sections)
}
