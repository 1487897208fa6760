// SPDX-License-Identifier: GPL-2.0
/*
 * Replays what tools/record recorded, and compares the memory that each subject
 * holds with what is in use. One repetition of each; only times vary.
 */
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bench.h"

#define TRACE_PAGES	(SZ_256M >> PAGE_SHIFT)	/* what a subject may manage */
#define TRACE_FILE	SZ_1M

static char *traces;
module_param(traces, charp, 0444);
MODULE_PARM_DESC(traces, "files to replay, separated by commas");

struct event {
	u32 us;		/* since the one before */
	u32 arg;	/* pages, or which allocation is freed */
	bool alloc;
};

struct alloc {
	void *p;
	u32 nr;
};

struct trace {
	struct event *event;
	struct alloc *alloc;
	u32 nr_events;
	u32 nr_allocs;
};

/* A subject: how to allocate, and how many pages it holds now */
struct subject {
	const char *name;
	const struct bench_heap_ops *ops;	/* one that only has addresses */
	u32 age_ms, period_ms;			/* spanheap's scavenger */
};

struct replay {
	const struct subject *s;
	void *heap;
	struct spanheap *h;
	unsigned long *touched;		/* addresses only: pages handed out so far */
	u32 nr_touched;
	u64 now_us, next_pass_us;
	u64 live, resident, live_peak, resident_peak;
	u64 live_us, resident_us;	/* integrals */
	u64 ns;				/* in the subject */
};

static unsigned long trace_now;

static unsigned long trace_clock(void)
{
	return trace_now;
}

/* ---- reading ---- */

static int parse(struct trace *t, char *text)
{
	u32 max_events = 0, max_allocs = 0, us, arg;
	char *line, *p, op;

	for (p = text; *p; p++)
		max_events += *p == '\n';
	t->event = kvcalloc(max_events + 1, sizeof(*t->event), GFP_KERNEL);
	t->alloc = kvcalloc(max_events + 1, sizeof(*t->alloc), GFP_KERNEL);
	if (!t->event || !t->alloc)
		return -ENOMEM;
	p = text;
	while ((line = strsep(&p, "\n")) && t->nr_events < max_events) {
		if (!*line || *line == '#')
			continue;
		if (sscanf(line, "%c %u %u", &op, &us, &arg) != 3 ||
		    (op == 'f' ? arg >= max_allocs : op != 'a' || !arg))
			return -EINVAL;
		max_allocs += op == 'a';
		t->event[t->nr_events++] = (struct event) { us, arg, op == 'a' };
	}
	t->nr_allocs = max_allocs;
	return t->nr_events ? 0 : -EINVAL;
}

static void drop(struct trace *t)
{
	kvfree(t->event);
	kvfree(t->alloc);
}

static int load(struct trace *t, const char *path)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	loff_t pos = 0;
	char *text;
	ssize_t n;
	int err;

	*t = (struct trace) {};
	if (IS_ERR(file))
		return PTR_ERR(file);
	text = kvzalloc(TRACE_FILE + 1, GFP_KERNEL);
	n = text ? kernel_read(file, text, TRACE_FILE, &pos) : -ENOMEM;
	err = n < 0 ? n : parse(t, text);
	kvfree(text);
	filp_close(file, NULL);
	return err;
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

/* Without a way to give pages back, what was used once stays resident */
static void touch(struct replay *r, void *p, u32 nr)
{
	u32 page = ((unsigned long)p - BENCH_NOWHERE) >> PAGE_SHIFT;

	for (; nr; nr--, page++)
		r->nr_touched += !__test_and_set_bit(page, r->touched);
}

static void account(struct replay *r)
{
	if (r->h)
		r->resident = r->h->used - r->h->released_pages;
	else if (r->heap)
		r->resident = r->nr_touched;
	else
		r->resident = r->live;
	r->live_peak = max(r->live_peak, r->live);
	r->resident_peak = max(r->resident_peak, r->resident);
}

static void pass(struct replay *r, u32 us)
{
	r->live_us += r->live * us;
	r->resident_us += r->resident * us;
	r->now_us += us;
	trace_now = usecs_to_jiffies(r->now_us & U32_MAX) +
		    (r->now_us >> 32) * usecs_to_jiffies(U32_MAX);
	if (r->h && r->now_us >= r->next_pass_us) {
		spanheap_scavenge_age_ms = r->s->age_ms;
		spanheap_tick(r->h);
		r->next_pass_us = r->now_us + r->s->period_ms * 1000ULL;
		account(r);
	}
}

static int step(struct replay *r, struct trace *t, const struct event *e, u32 *nth)
{
	struct alloc *a = &t->alloc[e->alloc ? *nth : e->arg];
	u64 start;

	pass(r, e->us);
	start = ktime_get_ns();
	if (e->alloc) {
		a->p = take(r, e->arg);
		r->ns += ktime_get_ns() - start;
		if (!a->p)
			return -ENOMEM;
		a->nr = e->arg;
		(*nth)++;
		r->live += a->nr;
		if (r->touched)
			touch(r, a->p, a->nr);
	} else if (a->p) {
		give(r, a->p, a->nr);
		r->ns += ktime_get_ns() - start;
		a->p = NULL;
		r->live -= a->nr;
	}
	account(r);
	return 0;
}

static int open_subject(struct replay *r)
{
	if (r->s->ops) {
		r->heap = r->s->ops->create(TRACE_PAGES);
		r->touched = bitmap_zalloc(TRACE_PAGES, GFP_KERNEL);
		return r->heap && r->touched ? 0 : -ENOMEM;
	}
	if (!r->s->period_ms)
		return 0;	/* vmalloc() */
	r->next_pass_us = r->s->period_ms * 1000ULL;
	r->h = spanheap_heap_create(&spanheap_arena_ops, TRACE_PAGES, trace_clock);
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

static int replay(struct trace *t, const char *name, const struct subject *s, u32 rep)
{
	struct replay r = { .s = s };
	char what[48];
	u32 i, nth = 0;
	int err;

	trace_now = 0;
	err = open_subject(&r);
	for (i = 0; i < t->nr_events && !err; i++) {
		err = step(&r, t, &t->event[i], &nth);
		if (i % 64 == 0)
			cond_resched();
	}
	for (i = 0; i < nth; i++) {
		if (t->alloc[i].p)
			give(&r, t->alloc[i].p, t->alloc[i].nr);
		t->alloc[i].p = NULL;
	}
	close_subject(&r);
	if (err || !r.live_us)
		return err ?: -EINVAL;
	snprintf(what, sizeof(what), "trace %s", name);
	if (rep == 1) {
		bench_out(what, s->name, 0, "peak live pages", 1, r.live_peak);
		bench_out(what, s->name, 0, "resident/live peak permille", 1,
			  div64_u64(r.resident_peak * 1000, r.live_peak));
		bench_out(what, s->name, 0, "resident/live mean permille", 1,
			  div64_u64(r.resident_us * 1000, r.live_us));
	}
	if (!s->ops)
		bench_out(what, s->name, 0, "time of an operation", rep,
			  div_u64(r.ns * 1000, t->nr_events));
	return 0;
}

static int replay_all(const char *path, u32 rep)
{
	static const struct subject subjects[] = {
		{ .name = "vmalloc" },
		{ .name = "spanheap", .age_ms = 300000, .period_ms = 60000 },
		{ .name = "spanheap, age 1 s", .age_ms = 1000, .period_ms = 1000 },
		{ .name = "ancestor", .ops = &bench_ancestor },
		{ .name = "gen_pool first fit", .ops = &bench_first_fit },
		{ .name = "gen_pool best fit", .ops = &bench_best_fit },
	};
	char *name = kstrdup(kbasename(path), GFP_KERNEL);
	struct trace t;
	int err, i;

	if (!name)
		return -ENOMEM;
	*strchrnul(name, '.') = '\0';
	err = load(&t, path);
	for (i = 0; i < ARRAY_SIZE(subjects) && !err; i++)
		err = replay(&t, name, &subjects[i], rep);
	drop(&t);
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
			err = replay_all(path, rep);
		kfree(list);
	}
	return err;
}
