// SPDX-License-Identifier: GPL-2.0
/*
 * Replays traces of tools/record and loads of loads.c on a virtual clock, and compares
 * the memory that each subject holds with the memory in use.
 *
 * The clock jumps from event to event. An event is an operation of the load, or a tick of the
 * scavenger, which comes at its own time, however many ticks come between two operations. An
 * operation advances the clock by its measured time. A tick does not, because the scavenger
 * runs in parallel to the load; but the next tick waits for its end.
 */
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "bench.h"

#define TRACE_PAGES	(SZ_256M >> PAGE_SHIFT)	/* of an arena; recorded traces */
#define TRACE_FILE	SZ_1M
#define LOAD_REPS	5u	/* at most: a load has many operations, and takes seconds */
#define AGAIN_SECONDS	60u	/* a release was too early if the page is backed again by then */

static char *traces;
module_param(traces, charp, 0444);
MODULE_PARM_DESC(traces, "files to replay, separated by commas");
static char *loads;
module_param(loads, charp, 0444);
MODULE_PARM_DESC(loads, "loads to replay, separated by commas (default: all)");

struct alloc {
	void *p;
	u32 nr;
};

/* A subject: how to allocate, and how many pages it holds now */
struct subject {
	const char *name;
	const struct bench_heap_ops *ops;	/* of a subject that only manages addresses */
	bool scavenged;				/* a spanheap with a tick each half of age_ms */
	u32 age_ms;
};

enum doing { NOTHING, OPERATION, TICK };

struct replay {
	const struct subject *s;
	const struct bench_load *l;
	struct alloc *alloc;		/* by id */
	void *heap;
	struct spanheap *h;
	struct arena_ops arena_ops;	/* the arena's, counted */
	unsigned long *touched;		/* addresses only: pages that were ever in use */
	u32 nr_touched;
	u64 now, next_tick;		/* virtual ns */
	enum doing doing;

	/* pages, and their integrals over virtual ns */
	u64 live, resident, live_peak, resident_peak, live_ns, resident_ns;
	/* pages idle at the mark; the time of the mark; when 5 % of them are left */
	u64 mark_idle, marked_at, back_at;
	u64 scav_ns;			/* CPU time of ticks and of releases for growth */
	u64 flushes, op_flushes, tick_flushes;	/* total; during operations; during ticks */
	u64 released, again;		/* pages; pages backed again within AGAIN_SECONDS */
	u64 gone[AGAIN_SECONDS];	/* released in each of the last seconds, not backed since */
	u64 gone_second;		/* the last of them */
	struct bench_hist hist;		/* operations */
};

static unsigned long trace_now;

static unsigned long trace_clock(void)
{
	return trace_now;
}

/* ---- reading ---- */

static int parse(struct bench_load *l, char *text)
{
	u32 max_events = 1, us, arg;
	struct bench_event *e;
	char *line, *p, op;
	u64 ns = 0;

	for (p = text; *p; p++)
		max_events += *p == '\n';
	l->event = kvcalloc(max_events + 1, sizeof(*l->event), GFP_KERNEL);
	if (!l->event)
		return -ENOMEM;
	e = l->event;
	p = text;
	while ((line = strsep(&p, "\n"))) {
		if (!*line || *line == '#')
			continue;
		if (sscanf(line, "%c %u %u", &op, &us, &arg) != 3 ||
		    (op == 'f' ? arg >= l->nr_allocs : op != 'a' || !arg))
			return -EINVAL;
		ns += us * 1000ULL;
		*e++ = (struct bench_event) {
			.ns = ns,
			.id = op == 'a' ? l->nr_allocs++ : arg,
			.nr = op == 'a' ? arg : 0,
			.op = op,
		};
	}
	*e++ = (struct bench_event) { .ns = ns, .op = 'e' };
	l->nr_events = e - l->event;
	l->arena_pages = TRACE_PAGES;
	return l->nr_allocs ? 0 : -EINVAL;
}

static int load(struct bench_load *l, const char *path)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	loff_t pos = 0;
	char *text;
	ssize_t n;
	int err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	text = kvzalloc(TRACE_FILE + 1, GFP_KERNEL);
	n = text ? kernel_read(file, text, TRACE_FILE, &pos) : -ENOMEM;
	err = n < 0 ? n : parse(l, text);
	kvfree(text);
	filp_close(file, NULL);
	return err;
}

/* ---- pages that move between the heap and the system ---- */

static struct replay *replaying;

/* Forgets what was released AGAIN_SECONDS ago or earlier */
static u64 *gone_now(struct replay *r)
{
	u64 second = div_u64(r->now, NSEC_PER_SEC);

	if (second - r->gone_second >= AGAIN_SECONDS) {
		memset(r->gone, 0, sizeof(r->gone));
		r->gone_second = second;
	}
	while (r->gone_second < second)
		r->gone[++r->gone_second % AGAIN_SECONDS] = 0;
	return &r->gone[second % AGAIN_SECONDS];
}

/* Each page that is backed counts as backed again for the oldest page that was released */
static u32 counted_back(struct spanheap *h, u32 start, u32 nr, gfp_t gfp, int node)
{
	u32 n = spanheap_arena_ops.back(h, start, nr, gfp, node), left = n, i;
	struct replay *r = replaying;

	gone_now(r);
	for (i = 1; i <= AGAIN_SECONDS && left; i++) {
		u64 *gone = &r->gone[(r->gone_second + i) % AGAIN_SECONDS];
		u32 some = min_t(u64, left, *gone);

		*gone -= some;
		left -= some;
		r->again += some;
	}
	return n;
}

static u32 counted_unback(struct spanheap *h, u32 start, u32 nr, struct page **pages)
{
	u32 n = spanheap_arena_ops.unback(h, start, nr, pages);

	*gone_now(replaying) += n;
	replaying->released += n;
	return n;
}

static void counted_flush(struct spanheap *h, u32 start, u32 end)
{
	spanheap_arena_ops.flush(h, start, end);
	replaying->flushes++;
	replaying->op_flushes += replaying->doing == OPERATION;
	replaying->tick_flushes += replaying->doing == TICK;
}

/* ---- replaying ---- */

static void *take(struct replay *r, u32 nr)
{
	if (r->h)
		return spanheap_heap_alloc(r->h, NULL, nr, 0, 0,
					   GFP_KERNEL | __GFP_NOWARN, _RET_IP_);
	if (r->heap)
		return r->s->ops->alloc(r->heap, nr);
	return vmalloc((unsigned long)nr << PAGE_SHIFT);
}

static void give(struct replay *r, void *p, u32 nr)
{
	if (r->h)
		spanheap_heap_free(r->h, p, _RET_IP_);
	else if (r->heap)
		r->s->ops->free(r->heap, p, nr);
	else
		vfree(p);
}

/* A subject that gives no pages back keeps each page that was ever used */
static void touch(struct replay *r, void *p, u32 nr)
{
	u32 page = ((unsigned long)p - BENCH_NOWHERE) >> PAGE_SHIFT;

	for (; nr; nr--, page++)
		r->nr_touched += !__test_and_set_bit(page, r->touched);
}

static void account(struct replay *r)
{
	if (r->h)
		r->resident = heap_resident(r->h);
	else if (r->heap)
		r->resident = r->nr_touched;
	else
		r->resident = r->live;
	r->live_peak = max(r->live_peak, r->live);
	r->resident_peak = max(r->resident_peak, r->resident);
	if (r->marked_at && !r->back_at && r->resident - r->live <= r->mark_idle / 20)
		r->back_at = r->now;
}

static void set_time(struct replay *r, u64 ns)
{
	if (ns <= r->now)
		return;
	r->live_ns += r->live * (ns - r->now);
	r->resident_ns += r->resident * (ns - r->now);
	r->now = ns;
	trace_now = nsecs_to_jiffies(ns);
}

static u64 period_ns(const struct subject *s)
{
	return s->age_ms / 2 * (u64)NSEC_PER_MSEC;
}

static void tick(struct replay *r)
{
	u64 start = ktime_get_ns(), took;

	r->doing = TICK;
	spanheap_bench_tick(r->h, r->s->age_ms);
	r->doing = NOTHING;
	took = ktime_get_ns() - start;
	r->scav_ns += took;
	r->next_tick = r->now + max(period_ns(r->s), took);
	account(r);
	cond_resched();
}

/* An allocation has woken the scavenger, which runs in parallel to the next operations */
static void grow(struct replay *r)
{
	u64 start = ktime_get_ns();

	spanheap_release_growth(r->h);
	r->scav_ns += ktime_get_ns() - start;
	account(r);
}

static int operate(struct replay *r, const struct bench_event *e)
{
	struct alloc *a = &r->alloc[e->id];
	u64 start, cycles;

	r->doing = OPERATION;
	start = bench_cycles();
	if (e->op == 'a')
		a->p = take(r, e->nr);
	else
		give(r, a->p, a->nr);
	cycles = bench_cycles() - start;
	r->doing = NOTHING;
	bench_hist_add(&r->hist, cycles);
	if (e->op == 'a') {
		if (!a->p)
			return -ENOMEM;
		a->nr = e->nr;
		r->live += a->nr;
		if (r->touched)
			touch(r, a->p, a->nr);
	} else {
		a->p = NULL;
		r->live -= a->nr;
	}
	account(r);
	set_time(r, r->now + div_u64(bench_ps(cycles), 1000));
	if (r->h && READ_ONCE(r->h->growing))
		grow(r);
	return 0;
}

static int step(struct replay *r, const struct bench_event *e)
{
	while (r->next_tick <= e->ns) {
		set_time(r, r->next_tick);
		tick(r);
	}
	set_time(r, e->ns);
	switch (e->op) {
	case 'a':
	case 'f':
		return operate(r, e);
	case 'm':
		r->mark_idle = r->resident - r->live;
		r->marked_at = r->now;
		account(r);
		break;
	}
	return 0;
}

static int open_subject(struct replay *r)
{
	r->next_tick = U64_MAX;
	if (r->s->ops) {
		r->heap = r->s->ops->create(r->l->arena_pages);
		r->touched = bitmap_zalloc(r->l->arena_pages, GFP_KERNEL);
		return r->heap && r->touched ? 0 : -ENOMEM;
	}
	if (!r->s->scavenged)
		return 0;	/* vmalloc() */
	r->next_tick = period_ns(r->s);
	r->arena_ops = spanheap_arena_ops;
	r->arena_ops.back = counted_back;
	r->arena_ops.unback = counted_unback;
	r->arena_ops.flush = counted_flush;
	r->h = spanheap_heap_create(&r->arena_ops, r->l->arena_pages, trace_clock);
	if (IS_ERR(r->h)) {
		int err = PTR_ERR(r->h);

		r->h = NULL;
		return err;
	}
	return spanheap_cache_init(r->h, 256);
}

static void close_subject(struct replay *r)
{
	if (r->heap)
		r->s->ops->destroy(r->heap);
	bitmap_free(r->touched);
	if (r->h)
		spanheap_heap_destroy(r->h);
}

static void print_memory(struct replay *r, const char *what, u32 rep)
{
	const char *who = r->s->name;

	bench_out(what, who, 0, "peak live pages", rep, r->live_peak);
	bench_out(what, who, 0, "peak resident pages", rep, r->resident_peak);
	bench_out(what, who, 0, "resident/live peak permille", rep,
		  div64_u64(r->resident_peak * 1000, r->live_peak));
	bench_out(what, who, 0, "resident/live mean permille", rep,
		  div64_u64(r->resident_ns, div_u64(r->live_ns, 1000)));
	bench_out(what, who, 0, "idle resident pages, mean", rep,
		  div64_u64(r->resident_ns - r->live_ns, r->now));
}

static void print_scavenger(struct replay *r, const char *what, u32 rep)
{
	const char *who = r->s->name;
	u64 ms = div_u64(r->now, NSEC_PER_MSEC);

	bench_out(what, who, 0, "flushes/s permille", rep, div64_u64(r->flushes * 1000000, ms));
	bench_out(what, who, 0, "flushes of ticks/s permille", rep,
		  div64_u64(r->tick_flushes * 1000000, ms));
	bench_out(what, who, 0, "flushes in operations", rep, r->op_flushes);
	bench_out(what, who, 0, "pages released", rep, r->released);
	bench_out(what, who, 0, "pages backed again within 60 s", rep, r->again);
	bench_out(what, who, 0, "background CPU ppm", rep, div64_u64(r->scav_ns, ms));
	if (r->marked_at)
		bench_out(what, who, 0, "95 % back after", rep,
			  r->back_at ? max(r->back_at - r->marked_at, 1ULL) * 1000 : 0);
}

static void print(struct replay *r, const char *kind, u32 rep)
{
	char what[48];

	snprintf(what, sizeof(what), "%s %s", kind, r->l->name);
	print_memory(r, what, rep);
	if (!r->s->ops) {
		bench_out(what, r->s->name, 0, "time of an operation", rep,
			  div64_u64(bench_ps(r->hist.sum), r->hist.n));
		bench_out(what, r->s->name, 0, "time of an operation p99", rep,
			  bench_ps(bench_hist_at(&r->hist, 99000)));
	}
	if (r->h)
		print_scavenger(r, what, rep);
}

static int replay(const struct bench_load *l, const struct subject *s, const char *kind, u32 rep)
{
	struct replay *r = kvzalloc(sizeof(*r), GFP_KERNEL);
	int err = -ENOMEM;
	u32 i;

	if (!r)
		return -ENOMEM;
	r->s = s;
	r->l = l;
	replaying = r;
	trace_now = 0;
	r->alloc = kvcalloc(l->nr_allocs, sizeof(*r->alloc), GFP_KERNEL);
	if (r->alloc)
		err = open_subject(r);
	for (i = 0; i < l->nr_events && !err; i++) {
		err = step(r, &l->event[i]);
		if (i % 64 == 0)
			cond_resched();
	}
	if (!err && (r->now < NSEC_PER_MSEC || r->live_ns < 1000))
		err = -EINVAL;	/* nothing to divide by */
	if (!err)
		print(r, kind, rep);
	for (i = 0; r->alloc && i < l->nr_allocs; i++)
		if (r->alloc[i].p)
			give(r, r->alloc[i].p, r->alloc[i].nr);
	close_subject(r);
	kvfree(r->alloc);
	kvfree(r);
	return err;
}

static const struct subject subjects[] = {
	{ .name = "vmalloc" },
	{ .name = "spanheap", .scavenged = true, .age_ms = 1000 },
	{ .name = "spanheap, age 1 min", .scavenged = true, .age_ms = 60000 },
	/* These keep each page that was ever in use; for traces only */
	{ .name = "ancestor", .ops = &bench_ancestor },
	{ .name = "gen_pool first fit", .ops = &bench_first_fit },
	{ .name = "gen_pool best fit", .ops = &bench_best_fit },
};

static int replay_file(const char *path, u32 rep)
{
	struct bench_load l = {};
	char *name = kstrdup(kbasename(path), GFP_KERNEL);
	int err, i;

	if (!name)
		return -ENOMEM;
	*strchrnul(name, '.') = '\0';
	err = load(&l, path);
	l.name = name;
	for (i = 0; i < ARRAY_SIZE(subjects) && !err; i++)
		err = replay(&l, &subjects[i], "trace", rep);
	kvfree(l.event);
	kfree(name);
	return err;
}

int bench_trace(void)
{
	char *list, *p, *path;
	int err = 0;
	u32 rep;

	if (!traces)
		return -EINVAL;
	for (rep = 1; rep <= bench_reps && !err; rep++) {
		list = kstrdup(traces, GFP_KERNEL);
		if (!list)
			return -ENOMEM;
		p = list;
		while (!err && (path = strsep(&p, ",")))
			err = replay_file(path, rep);
		kfree(list);
	}
	return err;
}

/* Is name in a list with commas? */
static bool is_in(const char *list, const char *name)
{
	size_t n = strlen(name);
	const char *p;

	for (p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
		if (!strncmp(p, name, n) && (!p[n] || p[n] == ','))
			return true;
	return false;
}

static int replay_load(const struct bench_load *l, u32 rep)
{
	int err = 0, i;

	for (i = 0; i < ARRAY_SIZE(subjects) && !err; i++)
		if (!subjects[i].ops)
			err = replay(l, &subjects[i], "load", rep);
	return err;
}

/* Make each load once and run all its repetitions */
int bench_loads(void)
{
	struct bench_load l;
	u32 i, rep;
	int err;

	for (i = 0; ; i++) {
		err = bench_load_make(&l, i);
		if (err == -ENOENT)
			return 0;
		for (rep = 1; rep <= min(bench_reps, LOAD_REPS) && !err; rep++)
			if (!loads || is_in(loads, l.name))
				err = replay_load(&l, rep);
		kvfree(l.event);
		if (err)
			return err;
	}
}
