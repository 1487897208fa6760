// SPDX-License-Identifier: GPL-2.0
/*
 * Giving idle pages back: the scavenger kthread, the shrinker, release-now, and
 * before the heap grows.
 *
 * A releaser isolates the oldest idle spans, unmaps their pages without the heap
 * lock, flushes all TLBs once for the batch, frees the pages and puts the spans
 * back. It allocates nothing, so it may run inside reclaim.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <compat/spanheap_compat.h>
#include <trace/events/spanheap.h>

#include "spanheap_internal.h"

#define SHRINK_PAGES	512	/* the system asks for so many at once */
#define SWEEP_BATCH	256	/* spans swept in the background per tick */
#define GROW_RELEASE	1024u	/* pages an allocation releases, at most */
#define DRAIN_TICKS	(HZ / 10)	/* between two drains because the heap grows */

unsigned int spanheap_scavenge_age_ms = 300000;
unsigned int spanheap_scavenge_period_ms = 60000;
unsigned int spanheap_force_cycle_ms = 120000;
bool spanheap_log_passes;

static struct task_struct *scav_task;
static bool scav_kicked;
static struct shrinker *shrinker;

/*
 * How many idle pages to give back when the heap is about to take more from the
 * system than it ever had since the last pass: none while at most 1/7 of what is in
 * use is idle, else down to half of that, so that the next growth need not do it again.
 */
static u64 excess(u64 inuse, u64 idle)
{
	u64 keep = max_t(u64, inuse / 7, GROW_UNIT);

	return idle > keep ? idle - keep / 2 : 0;
}

/*
 * A span without memory was found, while caches may have spans with memory. Empties
 * them if that is more than 1/64 of what is in use, now and then; true if it has done so.
 */
bool spanheap_drain_to_grow(struct spanheap *h, gfp_t gfp)
{
	unsigned long last = READ_ONCE(h->last_drain), now = h->clock();
	s64 pages;

	if (heap_resident(h) <= READ_ONCE(h->resident_peak) || !h->caches.cpu ||
	    !gfpflags_allow_blocking(gfp) || time_before(now, last + DRAIN_TICKS) ||
	    cmpxchg(&h->last_drain, last, now) != last)
		return false;
	pages = heap_cached(h);
	if (pages <= max_t(s64, ((s64)READ_ONCE(h->unlisted_pages) - pages) / 64, GROW_UNIT))
		return false;
	spanheap_cache_drain(h);
	return true;
}

/*
 * A span is about to be backed although other pages are idle: they go first, so
 * that the memory of a heap grows with what is in use, not with its fragmentation.
 * The Go runtime scavenges on growth since 1.13, for the same reason. Cached spans
 * are taken for used here.
 */
void spanheap_release_to_grow(struct spanheap *h, gfp_t gfp)
{
	s64 now = heap_resident(h), out = READ_ONCE(h->unlisted_pages);
	u64 want = now > out ? excess(out, now - out) : 0;

	/* All read without the lock: a guess will do. Another releaser will do, too. */
	if (now <= READ_ONCE(h->resident_peak) || !gfpflags_allow_blocking(gfp))
		return;
	if (want && mutex_trylock(&h->release_lock)) {
		spanheap_release_batch(h, h->clock(), min_t(u64, want, GROW_RELEASE));
		mutex_unlock(&h->release_lock);
	}
}

/* It has been backed. Who could give nothing back leaves that to the next one. */
void spanheap_grown(struct spanheap *h, gfp_t gfp)
{
	s64 now = heap_resident(h);

	if (gfpflags_allow_blocking(gfp) && now > READ_ONCE(h->resident_peak))
		WRITE_ONCE(h->resident_peak, now);
}

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

static void log_pass(struct spanheap *h, u64 released)
{
	struct spanheap_stats st;

	spanheap_heap_stats(h, &st, true);
	pr_info("scavenged %llu KiB: in use %llu, idle %llu, sys %llu, released %llu, resident %llu KiB\n",
		released << (PAGE_SHIFT - 10), st.inuse_bytes >> 10,
		st.idle_bytes >> 10, st.sys_bytes >> 10, st.released_bytes >> 10,
		st.resident_bytes >> 10);
}

static void pass(struct spanheap *h)
{
	u64 n;

	spanheap_collect(h, msecs_to_jiffies(READ_ONCE(spanheap_force_cycle_ms)));
	n = spanheap_scavenge(h, msecs_to_jiffies(READ_ONCE(spanheap_scavenge_age_ms)),
			      U64_MAX);
	if (READ_ONCE(spanheap_log_passes))
		log_pass(h, n);
}

/* Passes, and between them sweeping in the background, a little at a time */
static int scav_thread(void *data)
{
	unsigned long last = jiffies;
	struct spanheap *h = data;

	while (!kthread_should_stop()) {
		unsigned int ms = READ_ONCE(spanheap_scavenge_period_ms);
		unsigned long next = last + msecs_to_jiffies(ms);
		long left = max_t(long, next - jiffies, 0);

		wait_event_interruptible_timeout(h->scav_wait,
						 kthread_should_stop() ||
						 READ_ONCE(scav_kicked) ||
						 !list_empty_careful(&h->unswept),
						 left);
		if (kthread_should_stop())
			break;
		if (xchg(&scav_kicked, false)) {
			last = jiffies;		/* a knob changed: wait anew */
			continue;
		}
		if (spanheap_sweep_some(h, SWEEP_BATCH))
			schedule_timeout_interruptible(1);
		if (time_after_eq(jiffies, next)) {
			pass(h);
			last = jiffies;
		}
	}
	return 0;
}

void spanheap_scav_kick(void)
{
	WRITE_ONCE(scav_kicked, true);
	if (spanheap_heap)
		wake_up(&spanheap_heap->scav_wait);
}

/* Milliseconds, as a module parameter or a sysfs file: a plain number > 0 */
static int set_ms(const char *val, const struct kernel_param *kp)
{
	unsigned int ms;
	int err = kstrtouint(val, 0, &ms);

	if (err)
		return err;
	if (!ms && kp->arg != &spanheap_scavenge_age_ms)
		return -EINVAL;
	WRITE_ONCE(*(unsigned int *)kp->arg, ms);
	spanheap_scav_kick();
	return 0;
}

const struct kernel_param_ops spanheap_ms_ops = {
	.set = set_ms,
	.get = param_get_uint,
};

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

int spanheap_scav_start(struct spanheap *h)
{
	scav_task = kthread_run(scav_thread, h, "spanheap_scav");
	if (IS_ERR(scav_task))
		return PTR_ERR(scav_task);
	shrinker = compat_shrinker_register(shrink_count, shrink_scan,
					    SHRINK_PAGES);
	if (IS_ERR(shrinker)) {
		kthread_stop(scav_task);
		return PTR_ERR(shrinker);
	}
	return 0;
}

void spanheap_scav_stop(void)
{
	compat_shrinker_unregister(shrinker);
	kthread_stop(scav_task);
}
