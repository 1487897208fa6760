// SPDX-License-Identifier: GPL-2.0
/*
 * When and how much to give back: by age at each tick, for growth, under memory
 * pressure, on request.
 *
 * A thread does the first two. It takes at most 2 % of a CPU, and sleeps for long while
 * nothing is idle. It runs no callbacks of clients, because these may block; the workers of
 * spanheap_sweep.c run them.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/kstrtox.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mmzone.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/vmstat.h>
#include <compat/reclaim.h>
#include <compat/spanheap_compat.h>

#include "spanheap_internal.h"

#define SHRINK_PAGES	1024	/* batch of the shrinker */
#define TICK_MIN_MS	10u
#define QUIET_TICKS	4u	/* ticks between two checks while nothing is idle */
#define REST		49u	/* rest after a batch, in times of the batch */
#define REST_LIMIT	3u	/* the same, while more is resident than the limit */
#define BORROW_NS	NSEC_PER_SEC	/* rest that work for growth may postpone */

/* Growth: pages that may be resident beyond the recent peak of pages in use */
#define CPU_PAGES	(SZ_128K >> PAGE_SHIFT)	/* for each CPU, and for two at least */
#define SLACK_MIN	64	/* minimum released beyond the excess, to save the next release */
#define DRAIN_TICKS	(HZ / 10)	/* between two drains for growth */

/* The heap's limit: idle pages age faster as the heap nears it */
#define LIMIT_PART	4	/* over the last fourth of the limit */
#define LIMIT_AGE_MS	100u	/* age at the limit, unless the parameter is less */

/* Last resort: an allocation itself releases pages */
#define NET_EXTRA	(SZ_16M >> PAGE_SHIFT)
#define NET_PAGES	256u

unsigned int spanheap_scavenge_age_ms = 1000;
unsigned int spanheap_scavenge_period_ms;
bool spanheap_log_passes;

static struct task_struct *scav_task;
static bool scav_kicked;
static struct shrinker *shrinker;
static DEFINE_MUTEX(life_lock);		/* running; parameters can be written without a heap */
static bool running;

/* ---- the heap's limit ---- */

/* The age at which idle pages go back: less than the parameter as the heap nears its limit */
static unsigned int age_ms(struct spanheap *h)
{
	unsigned int age = READ_ONCE(spanheap_scavenge_age_ms);
	s64 limit = heap_limit(), part = max_t(s64, limit / LIMIT_PART, 1), room;

	if (limit == S64_MAX || age <= LIMIT_AGE_MS)
		return age;
	room = clamp_t(s64, limit - heap_resident(h), 0, part);
	if (room == part)
		return age;
	return LIMIT_AGE_MS + div64_u64((u64)room * (age - LIMIT_AGE_MS), part);
}

/* ---- growth ---- */

/* Pages that the heap has and should have; estimates, read without the heap lock */
struct need {
	s64 peak;		/* maximum of pages in use in this tick and the last */
	s64 limit;		/* pages that may be resident without a release */
	s64 resident;		/* pages with memory that no releaser is giving back */
	s64 cached;
	s64 give_back;		/* pages to release; 0: resident is within the limit */
};

static struct need look(struct spanheap *h)
{
	s64 unlisted = READ_ONCE(h->unlisted_pages), idle, over;
	struct need n;

	n.cached = spanheap_cached_lately(h);
	n.peak = max3((s64)READ_ONCE(h->peak), (s64)READ_ONCE(h->last_peak), unlisted);
	n.peak = max_t(s64, n.peak - n.cached, 0);
	n.limit = n.peak + n.peak / 16 + CPU_PAGES * max(num_online_cpus(), 2u);
	n.limit = min(n.limit, heap_limit());
	n.resident = heap_resident(h) - READ_ONCE(h->leaving_pages) -
		     READ_ONCE(h->reserved_pages);
	idle = n.resident - unlisted + n.cached;
	over = n.resident - n.limit;
	n.give_back = over > 0 ? min(idle, over + max_t(s64, n.limit / 32, SLACK_MIN)) : 0;
	n.give_back = max_t(s64, n.give_back, 0);
	return n;
}

/*
 * Called before an allocation backs pages. If the heap holds many more pages than were
 * in use lately, fragmentation makes it grow, and idle pages go back: the thread releases
 * them, or the allocation releases a few if the thread is far behind.
 *
 * Wakes the thread under the same gfp flag under which the page allocator wakes kswapd.
 */
void spanheap_growing(struct spanheap *h, gfp_t gfp)
{
	struct need n = look(h);
	struct release r = {};

	if (!n.give_back)
		return;
	if (n.resident > min(n.peak + n.peak / 4, heap_limit()) + NET_EXTRA &&
	    gfpflags_allow_blocking(gfp) && mutex_trylock(&h->release_lock)) {
		spanheap_release_batch(h, &r, min_t(s64, n.give_back, NET_PAGES));
		mutex_unlock(&h->release_lock);
	}
	if (gfp & __GFP_KSWAPD_RECLAIM && !READ_ONCE(h->growing)) {
		WRITE_ONCE(h->growing, true);
		wake_up(&h->scav_wait);
	}
}

/*
 * The thread's work for growth: give back the excess, the oldest pages first, of any age.
 * Empties the caches first if they hold many pages. Tests and benchmarks
 * call this directly, as their heaps have no thread. Returns the number of pages released.
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

/* Time between two ticks */
static unsigned long tick_ticks(struct spanheap *h)
{
	unsigned int age = age_ms(h);
	unsigned int period = READ_ONCE(spanheap_scavenge_period_ms) ?: age / 2 + age % 2;

	return ms_to_ticks(max(period, TICK_MIN_MS));
}

/*
 * A page whose last use ended in epoch E has certainly been idle for the epochs after E only.
 * Returns the age in epochs, including the current epoch.
 */
static u32 age_in_epochs(struct spanheap *h)
{
	unsigned long age = ms_to_ticks(age_ms(h));

	if (!age)
		return 0;
	return tick_ticks(h) >= age ? 2 : 3;
}

/*
 * Begin a tick. Emptying the caches dates cached spans to the epoch that ends now, so the
 * tick itself does not count as a use. Then everything idle becomes one epoch older. An
 * epoch lasts for half the age or for a tick, whichever is longer. After a long time without
 * ticks, or a jump of the clock, only one epoch ends.
 */
static void begin_tick(struct spanheap *h)
{
	unsigned long age = ms_to_ticks(age_ms(h));
	unsigned long now, flags;

	spanheap_cache_drain(h);
	spanheap_finish_frees(h);
	spanheap_drop(h);

	spin_lock_irqsave(&h->lock, flags);
	now = h->clock();
	h->epoch_ticks = max(age / 2 + age % 2, tick_ticks(h));
	if (now - h->epoch_start >= h->epoch_ticks) {
		__spanheap_next_epoch(h);
		h->epoch_start = now;
	}
	h->last_peak = h->peak;
	h->peak = h->unlisted_pages;
	h->scavenge_passes++;
	spin_unlock_irqrestore(&h->lock, flags);
	spanheap_count_idle(h);
	look_at_limit(h);
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

/* The pass of a tick has released everything that it had to */
static void end_pass(struct spanheap *h, u64 released)
{
	spanheap_trim_records(h);
	spanheap_trace_pass(h, released, ms_to_ticks(age_ms(h)));
	if (READ_ONCE(spanheap_log_passes))
		log_pass(h, released);
}

/*
 * A tick with its whole pass, without rests. Tests and benchmarks call this, as their heaps
 * have no thread. Returns the number of pages released.
 */
u64 spanheap_tick(struct spanheap *h)
{
	u64 n;

	begin_tick(h);
	n = heap_over_limit(h) ? spanheap_release_growth(h) : 0;
	n += spanheap_release_idle(h, age_in_epochs(h), U64_MAX);
	end_pass(h, n);
	return n;
}

/* ---- the thread ---- */

/* State of the thread */
struct scav {
	struct spanheap *h;
	unsigned long next;		/* jiffies of the next tick */
	bool pass;			/* the pass of the last tick is not over */
	bool batch;			/* this pass has released one batch at least */
	struct release r;		/* position of this pass */
	u64 released;			/* pages released by this pass */
	bool worked;			/* the thread has released since the last sleep */
	u64 ran;			/* CPU time at the last sleep, ns */
	u64 rested;			/* when the rest for all releases ends, ns */
};

static struct timer_list quiet_timer;

static void quiet_over(struct timer_list *unused)
{
	scav_poke(spanheap_heap);
}

/*
 * If nothing is idle or cached, let the thread sleep until a span becomes idle under the heap
 * lock. A free into a cache wakes nobody, so a deferrable timer makes the thread check the
 * caches now and then; it wakes no idle CPU.
 *
 * quiet is set under the heap lock. A span that became idle before is on the lists; a task
 * that makes one idle later takes the lock after this, so it sees quiet in scav_poke().
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
		mod_timer(&quiet_timer, jiffies + QUIET_TICKS * tick_ticks(h));
}

/* Ticks until only but_for ns of the thread's rest are left */
static unsigned long rest_ticks(const struct scav *scav, u64 but_for)
{
	u64 now = ktime_get_ns() + but_for;

	return scav->rested > now ? nsecs_to_jiffies(scav->rested - now) + 1 : 0;
}

/*
 * Extend the rest by REST times the CPU time of the last work, if this was a release. Waiting
 * and ticks cost no rest: ticks are short and come at fixed times. Called after a sleep,
 * because the scheduler has updated the CPU time then.
 */
static void count_rest(struct scav *scav)
{
	u64 ran = READ_ONCE(current->se.sum_exec_runtime);

	if (scav->worked)
		scav->rested = max(scav->rested, ktime_get_ns()) +
			       (heap_over_limit(scav->h) ? REST_LIMIT : REST) * (ran - scav->ran);
	scav->worked = false;
	scav->ran = ran;
}

/*
 * A flag that is set during the test is not missed: its writer then calls wake_up(), which
 * takes the lock of the queue on which this thread is already.
 */
static bool has_news(struct spanheap *h, bool quiet, bool may_grow)
{
	return kthread_should_stop() || READ_ONCE(scav_kicked) ||
	       (may_grow && READ_ONCE(h->growing)) || (quiet && !READ_ONCE(h->quiet));
}

/* Sleep until there is work */
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
		/* A parameter changed: begin a new period, and drop the pass of the old age */
		scav->next = jiffies + tick_ticks(h);
		scav->pass = false;
		scav->released = 0;
	}
}

/* Release one batch of the pass. False: nothing is left to release. */
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
 * Do one piece of work: for growth, a tick, or a batch of its pass. A pass may last beyond the
 * next tick, but releases at least one batch before that tick begins, so that short ticks
 * cannot starve releases.
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
		scav->r = (struct release) { .min_age = age_in_epochs(h) };
		scav->next = jiffies + tick_ticks(h);
	} else if (scav->pass && !rest_ticks(scav, 0)) {
		scav->worked = true;
		if (!one_batch(scav))
			pass_is_over(scav);
	}
}

static int scav_thread(void *data)
{
	struct scav scav = {
		.h = data, .next = jiffies + tick_ticks(data),
		.ran = current->se.sum_exec_runtime,
	};

	while (!kthread_should_stop()) {
		wait(&scav);
		work(&scav);
	}
	return 0;
}

/* A parameter has changed */
void spanheap_scav_kick(void)
{
	mutex_lock(&life_lock);
	if (running) {
		WRITE_ONCE(scav_kicked, true);
		look_at_limit(spanheap_heap);
		wake_up(&spanheap_heap->scav_wait);
		spanheap_background_kick(spanheap_heap);
	}
	mutex_unlock(&life_lock);
}

/* ---- on request ---- */

/* Ask clients to collect, and sweep */
static void collect_and_sweep(struct spanheap *h)
{
	/* Called from a callback, collecting or sweeping would wait for this callback */
	if (WARN_ONCE(spanheap_in_callback(h, false),
		      "spanheap: release from within a callback\n"))
		return;
	spanheap_collect(h, 0);
	spanheap_sweep_some(h, U64_MAX);
}

/* Returns how many pages were released */
u64 spanheap_release_all(struct spanheap *h)
{
	collect_and_sweep(h);
	return spanheap_scavenge(h, 0, U64_MAX);
}

/*
 * Release want pages, or as many as there are: the oldest in the free lists first, then those
 * in caches. Collections cost clients most, so they come last. Returns how many pages were
 * released.
 */
u64 spanheap_release_pages(struct spanheap *h, u64 want)
{
	u64 n = spanheap_release_idle(h, 0, want);

	if (n < want)
		n += spanheap_scavenge(h, 0, want - n);
	if (n < want) {
		collect_and_sweep(h);
		n += spanheap_scavenge(h, 0, want - n);
	}
	return n;
}

/* ---- knobs ---- */

/* Set a time in ms, of a module parameter or a sysfs file; force_cycle_ms must not be 0 */
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

/* The module parameter and sysfs file limit_bytes: a plain number of bytes */
static int set_bytes(const char *val, const struct kernel_param *kp)
{
	u64 bytes;
	int err = kstrtou64(val, 0, &bytes);

	if (err)
		return err;
	WRITE_ONCE(*(u64 *)kp->arg, bytes ? limit_to_pages(bytes) << PAGE_SHIFT : 0);
	spanheap_scav_kick();
	return 0;
}

const struct kernel_param_ops spanheap_limit_ops = {
	.set = set_bytes,
	.get = param_get_ullong,
};

/* ---- memory pressure ---- */

/*
 * Has each zone of the node as many free pages as kswapd aims at? Then reclaim is about
 * neighbouring pages, and the heap's single pages hardly help. Free pages that only some
 * allocations can have do not count, nor does the boost of the watermarks, which is for
 * neighbouring pages, too.
 */
static bool node_has_free(int nid)
{
	struct zone *zone = NODE_DATA(nid)->node_zones, *end = zone + MAX_NR_ZONES;
	unsigned long apart, high;

	for (; zone < end; zone++) {
		if (!populated_zone(zone))
			continue;
		apart = zone_page_state(zone, NR_FREE_CMA_PAGES) +
			READ_ONCE(zone->nr_reserved_highatomic);
		high = high_wmark_pages(zone) - READ_ONCE(zone->watermark_boost);
		if (zone_page_state(zone, NR_FREE_PAGES) < high + apart)
			return false;
	}
	return true;
}

unsigned long spanheap_shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	struct spanheap *h = spanheap_heap;
	s64 idle;

	if (compat_in_reclaim() && node_has_free(sc->nid))
		return 0;
	idle = heap_listed(h) + heap_cached(h);
	return idle > 0 ? idle : SHRINK_EMPTY;
}

/*
 * spanheap_shrink() may wait for another releaser. This is safe in reclaim, because
 * releasers allocate nothing. It is needed, because reclaim without progress soon ends in
 * the OOM killer. Reclaim asks for one batch after another, so each call checks whether
 * there is enough free memory by now.
 */
unsigned long spanheap_shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	u64 n;

	if (compat_in_reclaim() && node_has_free(sc->nid))
		return SHRINK_STOP;
	n = spanheap_shrink(spanheap_heap, sc->nr_to_scan);
	if (!n)
		return SHRINK_STOP;
	sc->nr_scanned = n;
	compat_account_reclaimed(n);
	return n;
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
	shrinker = compat_shrinker_register(spanheap_shrink_count, spanheap_shrink_scan,
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
