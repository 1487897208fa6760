// SPDX-License-Identifier: GPL-2.0
/*
 * When and how much to give back: by age at each tick, for growth, under memory
 * pressure, on request.
 *
 * A thread does the first two, beside the tasks that allocate. It works for 2 % of the
 * time at most, and sleeps for long while nothing is idle. It runs no callbacks: those
 * of clients may block, see the background of spanheap_sweep.c.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <compat/spanheap_compat.h>

#include "spanheap_internal.h"

#define SHRINK_PAGES	1024	/* the system asks for so many at once */
#define TICK_MIN_MS	10u
#define QUIET_TICKS	4u	/* between two ticks while nothing is idle */
#define REST		49u	/* times as long as a batch took */
#define BORROW_NS	NSEC_PER_SEC	/* of rest, that growth may do without for now */

/* Growth: what may be resident beyond the most that was in use lately */
#define CPU_PAGES	(SZ_128K >> PAGE_SHIFT)	/* for each CPU, at least two */
#define SLACK_MIN	64	/* released beyond that, so that the next one need not, at least */
#define DRAIN_TICKS	(HZ / 10)	/* between two drains for growth */

/* The net: what an allocation itself releases */
#define NET_EXTRA	(SZ_16M >> PAGE_SHIFT)
#define NET_PAGES	256u

unsigned int spanheap_scavenge_age_ms = 1000;
unsigned int spanheap_scavenge_period_ms;
bool spanheap_log_passes;

static struct task_struct *scav_task;
static bool scav_kicked;
static struct shrinker *shrinker;
static DEFINE_MUTEX(life_lock);		/* running; knobs outlive the heap */
static bool running;

/* ---- growth ---- */

/* Pages in caches, summed over all CPUs once in a tick of the clock at most */
static s64 cached_lately(struct spanheap *h)
{
	unsigned long now = h->clock();

	if (READ_ONCE(h->cached_at) != now) {
		WRITE_ONCE(h->cached_guess, heap_cached(h));
		WRITE_ONCE(h->cached_at, now);
	}
	return READ_ONCE(h->cached_guess);
}

/* What the heap has, and what it should have; a guess without the heap lock */
struct need {
	s64 peak;		/* most pages in use in this tick and the last */
	s64 limit;		/* pages that may be resident without any more ado */
	s64 resident;		/* pages that are, and are not about to go */
	s64 cached;
	s64 give_back;		/* pages; 0: not more than the limit are resident */
};

static struct need look(struct spanheap *h)
{
	s64 unlisted = READ_ONCE(h->unlisted_pages), idle, over;
	struct need n;

	n.cached = cached_lately(h);
	n.peak = max3((s64)READ_ONCE(h->peak), (s64)READ_ONCE(h->last_peak), unlisted);
	n.peak = max_t(s64, n.peak - n.cached, 0);
	n.limit = n.peak + n.peak / 16 + CPU_PAGES * max(num_online_cpus(), 2u);
	n.resident = heap_resident(h) - READ_ONCE(h->leaving_pages);
	idle = n.resident - unlisted + n.cached;
	over = n.resident - n.limit;
	n.give_back = over > 0 ? min(idle, over + max_t(s64, n.limit / 32, SLACK_MIN)) : 0;
	n.give_back = max_t(s64, n.give_back, 0);
	return n;
}

/*
 * An allocation is about to back pages. If more are resident by then than what was in use
 * lately explains, so that the heap grows by its fragmentation, idle pages go back: by
 * the thread, or, if that falls far behind, a few by the allocation itself.
 *
 * The thread is woken where the page allocator would wake kswapd.
 */
void spanheap_growing(struct spanheap *h, gfp_t gfp)
{
	struct need n = look(h);
	struct release r = {};

	if (!n.give_back)
		return;
	if (n.resident > n.peak + n.peak / 4 + NET_EXTRA && gfpflags_allow_blocking(gfp) &&
	    mutex_trylock(&h->release_lock)) {
		spanheap_release_batch(h, &r, min_t(s64, n.give_back, NET_PAGES));
		mutex_unlock(&h->release_lock);
	}
	if (gfp & __GFP_KSWAPD_RECLAIM && !READ_ONCE(h->growing)) {
		WRITE_ONCE(h->growing, true);
		wake_up(&h->scav_wait);
	}
}

/*
 * What the thread does for growth: give back what is too much, the oldest first, however
 * young. What is cached is put together first if that is a good part. For tests and
 * benchmarks, whose heaps have no thread, too. Returns how many pages were released.
 */
u64 spanheap_release_growth(struct spanheap *h)
{
	unsigned long now = h->clock();
	struct need n;

	if (!READ_ONCE(h->growing))
		return 0;
	WRITE_ONCE(h->growing, false);
	n = look(h);
	if (!n.give_back)
		return 0;
	if (n.cached > max(n.peak / 64, n.limit - n.peak - n.peak / 16) &&
	    time_after_eq(now, h->last_drain + DRAIN_TICKS)) {
		h->last_drain = now;
		spanheap_cache_drain(h);
		WRITE_ONCE(h->cached_guess, 0);
	}
	return spanheap_release_idle(h, 0, n.give_back);
}

/* ---- ticks ---- */

/* How long it is from a tick to the next */
static unsigned long tick_ticks(void)
{
	unsigned int age = READ_ONCE(spanheap_scavenge_age_ms);
	unsigned int period = READ_ONCE(spanheap_scavenge_period_ms) ?: age / 2 + age % 2;

	return ms_to_ticks(max(period, TICK_MIN_MS));
}

/*
 * Pages whose last use ended in epoch E have been idle for all of the epochs since then.
 * How many epochs is the age, that of now included?
 */
static u32 age_in_epochs(void)
{
	unsigned long age = ms_to_ticks(READ_ONCE(spanheap_scavenge_age_ms));

	if (!age)
		return 0;
	return tick_ticks() >= age ? 2 : 3;
}

/*
 * A tick begins: what is cached becomes idle in the epoch that ends now, so that the tick
 * itself is no use; everything idle is older by an epoch. An epoch lasts for half the age
 * or for a tick, whatever is longer; after a long time without ticks, or a jump of the
 * clock, only one has gone by.
 */
static void begin_tick(struct spanheap *h)
{
	unsigned long age = ms_to_ticks(READ_ONCE(spanheap_scavenge_age_ms));
	unsigned long now, flags;

	spanheap_cache_drain(h);
	spanheap_finish_frees(h);
	spanheap_drop(h);

	spin_lock_irqsave(&h->lock, flags);
	now = h->clock();
	h->epoch_ticks = max(age / 2 + age % 2, tick_ticks());
	if (now - h->epoch_start >= h->epoch_ticks) {
		__spanheap_next_epoch(h);
		h->epoch_start = now;
	}
	h->last_peak = h->peak;
	h->peak = h->unlisted_pages;
	h->scavenge_passes++;
	spin_unlock_irqrestore(&h->lock, flags);
}

static void log_pass(struct spanheap *h, u64 released)
{
	struct spanheap_stats st;

	spanheap_heap_stats(h, &st, true);
	pr_info("scavenged %llu KiB: in use %llu, idle %llu, sys %llu, released %llu, resident %llu KiB\n",
		released << (PAGE_SHIFT - 10), st.inuse_bytes >> 10,
		st.idle_bytes >> 10, st.sys_bytes >> 10, st.released_bytes >> 10,
		st.resident_bytes >> 10);
}

/* All that this tick had to release is released */
static void end_pass(struct spanheap *h, u64 released)
{
	spanheap_trim_records(h);
	spanheap_trace_pass(h, released, ms_to_ticks(READ_ONCE(spanheap_scavenge_age_ms)));
	if (READ_ONCE(spanheap_log_passes))
		log_pass(h, released);
}

/*
 * A tick with its pass, on the clock of the heap, without rests: for tests and
 * benchmarks, whose heaps have no thread. Returns how many pages were released.
 */
u64 spanheap_tick(struct spanheap *h)
{
	u64 n;

	begin_tick(h);
	n = spanheap_release_idle(h, age_in_epochs(), U64_MAX);
	end_pass(h, n);
	return n;
}

/* ---- the thread ---- */

/* What the thread is about */
struct scav {
	struct spanheap *h;
	unsigned long next;		/* jiffies of the next tick */
	bool pass;			/* there is more to release of the last one */
	bool batch;			/* ... and of that, a batch went at least */
	struct release r;		/* how far that is */
	u64 released;			/* pages, in that pass */
	bool worked;			/* pages were released since the last sleep */
	u64 ran;			/* ns of CPU time by the last sleep */
	u64 rested;			/* ns; when the thread has rested for its releases */
};

static struct timer_list quiet_timer;

static void quiet_over(struct timer_list *unused)
{
	scav_poke(spanheap_heap);
}

/*
 * Nothing is idle or cached: the thread sleeps until the heap lock is held to make a span
 * idle. What goes into caches from now on nobody tells, so the thread looks now and then,
 * but wakes no idle CPU for that.
 */
static void become_quiet(struct spanheap *h)
{
	unsigned long flags;
	bool idle = false;
	u32 i;

	if (heap_cached(h))
		return;
	spin_lock_irqsave(&h->lock, flags);
	for (i = 0; i < AGES; i++)
		idle |= !list_empty(&h->idle[i]);
	if (!idle && !h->nr_releasing)
		WRITE_ONCE(h->quiet, true);
	spin_unlock_irqrestore(&h->lock, flags);
	if (READ_ONCE(h->quiet))
		mod_timer(&quiet_timer, jiffies + QUIET_TICKS * tick_ticks());
}

/* How many ticks it is until the thread has rested enough, but for so many ns */
static unsigned long rest_ticks(const struct scav *scav, u64 but_for)
{
	u64 now = ktime_get_ns() + but_for;

	return scav->rested > now ? nsecs_to_jiffies(scav->rested - now) + 1 : 0;
}

/*
 * The thread has to rest for the CPU time that its releases take, but neither for waiting
 * nor for ticks, which are short and come at their time. Called after a sleep, when the
 * CPU time is exact; between two sleeps is one piece of work.
 */
static void count_rest(struct scav *scav)
{
	u64 ran = READ_ONCE(current->se.sum_exec_runtime);

	if (scav->worked)
		scav->rested = max(scav->rested, ktime_get_ns()) + REST * (ran - scav->ran);
	scav->worked = false;
	scav->ran = ran;
}

static bool has_news(struct spanheap *h, bool quiet, bool may_grow)
{
	return kthread_should_stop() || READ_ONCE(scav_kicked) ||
	       (may_grow && READ_ONCE(h->growing)) || (quiet && !READ_ONCE(h->quiet));
}

/* Sleep until there is something to do */
static void wait(struct scav *scav)
{
	unsigned long borrowed = rest_ticks(scav, BORROW_NS), left;
	struct spanheap *h = scav->h;
	bool quiet;

	if (!scav->pass)
		become_quiet(h);
	quiet = READ_ONCE(h->quiet);
	left = quiet ? MAX_SCHEDULE_TIMEOUT : max_t(long, scav->next - jiffies, 0);
	if (scav->pass && !scav->batch)
		left = max(rest_ticks(scav, 0), 1UL);
	else if (scav->pass)
		left = min(left, max(rest_ticks(scav, 0), 1UL));
	if (borrowed && READ_ONCE(h->growing))
		left = min(left, borrowed);
	wait_event_interruptible_timeout(h->scav_wait, has_news(h, quiet, !borrowed), left);
	WRITE_ONCE(h->quiet, false);
	count_rest(scav);
	if (xchg(&scav_kicked, false)) {
		/* A knob changed: wait anew, and do not go on by the old age */
		scav->next = jiffies + tick_ticks();
		scav->pass = false;
		scav->released = 0;
	}
}

/* A batch of the pass; false: there is none */
static bool one_batch(struct scav *scav)
{
	struct spanheap *h = scav->h;
	u32 n;

	mutex_lock(&h->release_lock);
	n = spanheap_release_batch(h, &scav->r, BATCH_PAGES);
	mutex_unlock(&h->release_lock);
	scav->released += n;
	scav->batch = true;
	return n;
}

static void pass_is_over(struct scav *scav)
{
	if (scav->pass)
		end_pass(scav->h, scav->released);
	scav->pass = false;
	scav->released = 0;
}

/*
 * One piece of work: for growth, a tick, or a batch of its pass. The pass of a tick may
 * take until after the next one, but each has a batch: ticks alone do not use up all time.
 */
static void work(struct scav *scav)
{
	struct spanheap *h = scav->h;

	if (READ_ONCE(h->growing) && !rest_ticks(scav, BORROW_NS)) {
		scav->worked = true;
		spanheap_release_growth(h);
	} else if (time_after_eq(jiffies, scav->next) && (!scav->pass || scav->batch)) {
		pass_is_over(scav);
		begin_tick(h);
		scav->pass = true;
		scav->batch = false;
		scav->r = (struct release) { .min_age = age_in_epochs() };
		scav->next = jiffies + tick_ticks();
	} else if (scav->pass && !rest_ticks(scav, 0)) {
		scav->worked = true;
		if (!one_batch(scav))
			pass_is_over(scav);
	}
}

static int scav_thread(void *data)
{
	struct scav scav = {
		.h = data, .next = jiffies + tick_ticks(),
		.ran = current->se.sum_exec_runtime,
	};

	while (!kthread_should_stop()) {
		wait(&scav);
		work(&scav);
	}
	return 0;
}

/* A knob has changed */
void spanheap_scav_kick(void)
{
	mutex_lock(&life_lock);
	if (running) {
		WRITE_ONCE(scav_kicked, true);
		wake_up(&spanheap_heap->scav_wait);
		spanheap_background_kick(spanheap_heap);
	}
	mutex_unlock(&life_lock);
}

/* ---- on request ---- */

void spanheap_release_all(struct spanheap *h)
{
	/* A callback that comes back here would wait for itself */
	if (!WARN_ONCE(spanheap_in_callback(h, false),
		       "spanheap: release from within a callback\n")) {
		spanheap_collect(h, 0);
		spanheap_sweep_some(h, U64_MAX);
	}
	spanheap_scavenge(h, 0, U64_MAX);
}

/* ---- knobs ---- */

/* Milliseconds, as a module parameter or a sysfs file: a plain number; > 0 for some */
static int set_ms(const char *val, const struct kernel_param *kp)
{
	unsigned int ms;
	int err = kstrtouint(val, 0, &ms);

	if (err)
		return err;
	if (!ms && kp->arg == &spanheap_force_cycle_ms)
		return -EINVAL;
	WRITE_ONCE(*(unsigned int *)kp->arg, ms);
	spanheap_scav_kick();
	return 0;
}

const struct kernel_param_ops spanheap_ms_ops = {
	.set = set_ms,
	.get = param_get_uint,
};

/* ---- memory pressure ---- */

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	struct spanheap *h = spanheap_heap;
	s64 idle = heap_resident(h) - (s64)READ_ONCE(h->unlisted_pages) + heap_cached(h);

	return idle > 0 ? idle : SHRINK_EMPTY;
}

/*
 * Waiting for another releaser is safe in reclaim, for it allocates nothing, and
 * needed: a reclaimer told of no progress would soon kill a process.
 */
static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	u64 n = spanheap_shrink(spanheap_heap, sc->nr_to_scan);

	return n ? n : SHRINK_STOP;
}

/* ---- life ---- */

int spanheap_scav_start(struct spanheap *h)
{
	int err = spanheap_background_start(h);

	if (err)
		return err;
	timer_setup(&quiet_timer, quiet_over, TIMER_DEFERRABLE);
	scav_task = kthread_run(scav_thread, h, "spanheap_scav");
	if (IS_ERR(scav_task)) {
		err = PTR_ERR(scav_task);
		goto out_background;
	}
	shrinker = compat_shrinker_register(shrink_count, shrink_scan,
					    SHRINK_PAGES);
	if (IS_ERR(shrinker)) {
		err = PTR_ERR(shrinker);
		goto out_thread;
	}
	mutex_lock(&life_lock);
	running = true;
	mutex_unlock(&life_lock);
	return 0;

out_thread:
	kthread_stop(scav_task);
	timer_shutdown_sync(&quiet_timer);
out_background:
	spanheap_background_stop(h);
	return err;
}

void spanheap_scav_stop(void)
{
	mutex_lock(&life_lock);
	running = false;
	mutex_unlock(&life_lock);
	compat_shrinker_unregister(shrinker);
	kthread_stop(scav_task);
	timer_shutdown_sync(&quiet_timer);
	spanheap_background_stop(spanheap_heap);
}
