// SPDX-License-Identifier: GPL-2.0
/*
 * Specials: records attached to addresses, finalizers, and the effect of sweeping,
 * freeing or cutting their span. Each case runs without and with per-CPU caches.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/prandom.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "fake_arena.h"

/* Profile records stand for the specials that are not finalizers */
struct mark {
	struct special sp;
	bool freed;
};

static u32 nr_freed;

static void mark_freed(struct special *sp)
{
	container_of(sp, struct mark, sp)->freed = true;
	nr_freed++;
}

static int add_mark(struct spanheap *h, const void *addr, struct mark *m)
{
	*m = (struct mark) { .sp.kind = SPECIAL_PROFILE };
	return spanheap_special_add(h, addr, &m->sp);
}

static struct mark *remove_mark(struct spanheap *h, const void *addr)
{
	return (struct mark *)spanheap_special_remove(h, addr, SPECIAL_PROFILE);
}

/* Do what a sweep does to a dead span. True: it has finalizers. */
static bool sweep_dead(struct spanheap *h, const void *addr)
{
	struct special key = {};
	bool kept = false, more;

	do {
		spin_lock_irq(&h->lock);
		more = __spanheap_specials_sweep(h, spanheap_span_at(h, addr), &key, &kept);
		spin_unlock_irq(&h->lock);
	} while (more);
	return kept;
}

static void wait_finalizers(struct spanheap_client *c)
{
	wait_var_event(&c->queued, !atomic_read(&c->queued));
}

/* A finalizer that records its calls */
struct note {
	struct spanheap *h;
	void *obj;
	u32 runs;
	bool bad_context;
	bool again;		/* add the finalizer once more */
	int err;		/* result of adding it again */
	void *freed;		/* free this span */
	u32 sleep_ms;
};

static void note_fn(void *obj, void *arg)
{
	struct note *n = arg;
	void *p;

	if (!in_task() || irqs_disabled())
		n->bad_context = true;
	msleep(n->sleep_ms);
	p = alloc(n->h, 3);
	release(n->h, p);
	release(n->h, n->freed);
	n->obj = obj;
	n->runs++;
	if (n->again)
		n->err = spanheap_finalizer_add(n->h, obj, note_fn, n, GFP_KERNEL);
	n->again = false;
}

static int add_note(struct spanheap *h, void *obj, struct note *n)
{
	n->h = h;
	return spanheap_finalizer_add(h, obj, note_fn, n, GFP_KERNEL);
}

static void *dead;	/* the sweep callback frees this span only */

static enum spanheap_verdict give_up_dead(void *addr, size_t nr_pages, void *priv)
{
	return addr == dead ? SPANHEAP_FREE : SPANHEAP_KEEP;
}

static struct spanheap_client *new_swept(struct spanheap *h, const char *name)
{
	static const struct spanheap_client_ops ops = { .sweep = give_up_dead };
	const struct spanheap_client_attr attr = { .name = name, .ops = &ops };

	return spanheap_heap_register(h, &attr);
}

/* The client of each case whose spans may have finalizers */
static struct spanheap_client *swept;

static void *salloc(struct spanheap *h, size_t nr, size_t obj_size)
{
	return alloc_as(h, swept, nr, 0, obj_size, GFP_KERNEL);
}

static int special_init_as(struct kunit *test, int (*init)(struct kunit *test))
{
	int err = init(test);

	if (!err) {
		((struct spanheap *)test->priv)->profile_freed = mark_freed;
		swept = new_swept(test->priv, "has finalizers");
		err = PTR_ERR_OR_ZERO(swept);
	}
	nr_freed = 0;
	dead = NULL;
	return err;
}

static void special_exit(struct kunit *test)
{
	if (!IS_ERR_OR_NULL(swept))
		spanheap_heap_unregister(swept);
	swept = NULL;
	test_heap_exit(test);
}

static int special_init(struct kunit *test)
{
	return special_init_as(test, test_heap_init);
}

static int special_cached_init(struct kunit *test)
{
	return special_init_as(test, test_tuned_heap_init);
}

/* M28, M29: a span can have many specials, one per offset and kind, found by both */
static void specials_are_kept_by_offset_and_kind(struct kunit *test)
{
	static const u32 at[] = { 4096, 0, 16383, 8, 4097, 1 };
	struct spanheap *h = test->priv;
	struct mark m[ARRAY_SIZE(at)], twin;
	u8 *p = alloc(h, 4);
	struct span s;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_EXPECT_EQ(test, add_mark(h, p + at[i], &m[i]), 0);
	check(test, h);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_EXPECT_EQ(test, add_mark(h, p + at[i], &twin), -EEXIST);
	/* Another kind at the same offset is another special */
	KUNIT_EXPECT_NULL(test, spanheap_special_remove(h, p, SPECIAL_FINALIZER));
	twin.sp.kind = SPECIAL_QUEUED;
	KUNIT_EXPECT_EQ(test, spanheap_special_add(h, p, &twin.sp), 0);
	check(test, h);
	KUNIT_EXPECT_PTR_EQ(test, spanheap_special_remove(h, p, SPECIAL_QUEUED), &twin.sp);
	s = peek(h, page_of(h, p));
	KUNIT_EXPECT_PTR_EQ(test, rb_first(&s.specials), &m[1].sp.node);
	KUNIT_EXPECT_PTR_EQ(test, rb_last(&s.specials), &m[2].sp.node);
	KUNIT_EXPECT_NULL(test, remove_mark(h, p + 2));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		KUNIT_EXPECT_PTR_EQ(test, remove_mark(h, p + at[i]), &m[i]);
		KUNIT_EXPECT_NULL(test, remove_mark(h, p + at[i]));
	}
	KUNIT_EXPECT_EQ(test, nr_freed, 0);
	release(h, p);
	KUNIT_EXPECT_EQ(test, nr_freed, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

/* M28: only addresses in in-use spans can have specials */
static void specials_need_a_span_in_use(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p = alloc(h, 2), *q = alloc(h, 2);
	struct mark m;

	KUNIT_EXPECT_EQ(test, add_mark(h, NULL, &m), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_mark(h, &m, &m), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_mark(h, p - 1, &m), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_mark(h, q + 2 * PAGE_SIZE, &m), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_mark(h, page_addr(h, ARENA - 1), &m), -EINVAL);
	release(h, p);
	KUNIT_EXPECT_EQ(test, add_mark(h, p, &m), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_mark(h, p + PAGE_SIZE + 1, &m), -EINVAL);
	KUNIT_EXPECT_NULL(test, remove_mark(h, p));
	KUNIT_EXPECT_NULL(test, remove_mark(h, NULL));
	KUNIT_EXPECT_NULL(test, remove_mark(h, &m));
	spanheap_scavenge(h, 0, U64_MAX);
	KUNIT_EXPECT_EQ(test, add_mark(h, p, &m), -EINVAL);
	check(test, h);
	release(h, q);
}

/* M31, M32: a free tells profile records, which do not keep the span in use */
static void profile_records_are_told_of_the_free(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct mark m, second;
	void *p;
	u32 nr;

	for (nr = 1; nr < 300; nr += 37) {
		p = alloc(h, nr);
		nr_freed = 0;
		KUNIT_EXPECT_EQ(test, add_mark(h, p, &m), 0);
		KUNIT_EXPECT_EQ(test, add_mark(h, p, &second), -EEXIST);
		KUNIT_EXPECT_FALSE(test, sweep_dead(h, p));
		KUNIT_EXPECT_FALSE(test, m.freed);
		release(h, p);
		KUNIT_EXPECT_TRUE(test, m.freed);
		KUNIT_EXPECT_EQ(test, nr_freed, 1);
		/* The next use of the span has no specials */
		KUNIT_EXPECT_PTR_EQ(test, alloc(h, nr), p);
		KUNIT_EXPECT_NULL(test, remove_mark(h, p));
		release(h, p);
		KUNIT_EXPECT_EQ(test, nr_freed, 1);
		check(test, h);
	}
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
}

/* M30: the finalizer functions refuse bad arguments */
static void bad_finalizers_are_refused(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p = salloc(h, 2, 0), *o = salloc(h, 2, 3000);
	u64 meta = stats(h)->other_meta_bytes;
	struct note n = {};

	KUNIT_EXPECT_EQ(test, add_note(h, NULL, &n), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_note(h, &n, &n), -EINVAL);		/* foreign */
	KUNIT_EXPECT_EQ(test, add_note(h, p + 8, &n), -EINVAL);		/* interior */
	KUNIT_EXPECT_EQ(test, add_note(h, p + PAGE_SIZE, &n), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_note(h, o + 1, &n), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_note(h, o + 6000, &n), -EINVAL);	/* half an object */
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_add(h, p, NULL, &n, GFP_KERNEL), -EINVAL);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p), -ENOENT);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, NULL), -ENOENT);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, &n), -ENOENT);
	KUNIT_EXPECT_EQ(test, stats(h)->other_meta_bytes, meta);

	KUNIT_EXPECT_EQ(test, add_note(h, p, &n), 0);
	KUNIT_EXPECT_GT(test, stats(h)->other_meta_bytes, meta);
	KUNIT_EXPECT_EQ(test, add_note(h, p, &n), -EEXIST);
	KUNIT_EXPECT_EQ(test, add_note(h, o + 3000, &n), 0);
	KUNIT_EXPECT_EQ(test, add_note(h, o, &n), 0);
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, o + 6000), -ENOENT);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, o + 3000), 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, o + 3000), -ENOENT);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, o), 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p), 0);
	KUNIT_EXPECT_EQ(test, stats(h)->other_meta_bytes, meta);
	release(h, p);
	release(h, o);
	KUNIT_EXPECT_EQ(test, add_note(h, p, &n), -EINVAL);		/* free */
	KUNIT_EXPECT_EQ(test, n.runs, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

/* M28: the current span defines where objects start, not an earlier span */
static void stale_objects_are_refused(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p = salloc(h, 2, PAGE_SIZE);
	struct special sp = { .kind = SPECIAL_FINALIZER };
	struct note n = {};

	KUNIT_EXPECT_EQ(test, add_note(h, p + PAGE_SIZE, &n), 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p + PAGE_SIZE), 0);
	release(h, p);
	/* One object */
	KUNIT_ASSERT_PTR_EQ(test, salloc(h, 2, 0), (void *)p);
	KUNIT_EXPECT_EQ(test, add_note(h, p + PAGE_SIZE, &n), -EINVAL);
	KUNIT_EXPECT_EQ(test, spanheap_special_add(h, p + PAGE_SIZE, &sp), -EINVAL);
	release(h, p);
	/* Two objects at other addresses, and a tail that is too short for a third */
	KUNIT_ASSERT_PTR_EQ(test, salloc(h, 2, 3000), (void *)p);
	KUNIT_EXPECT_EQ(test, add_note(h, p + PAGE_SIZE, &n), -EINVAL);
	KUNIT_EXPECT_EQ(test, spanheap_special_add(h, p + 6000, &sp), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_note(h, p + 3000, &n), 0);
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p + 3000), 0);
	release(h, p);
	/* Another span's second page: no object starts there */
	KUNIT_ASSERT_PTR_EQ(test, salloc(h, 1, 0), (void *)p);
	KUNIT_EXPECT_EQ(test, add_note(h, p + PAGE_SIZE, &n), -EINVAL);
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

static void *resized;
static int in_resize;

static void add_in_resize(struct spanheap *h)
{
	struct note n = {};

	in_resize = add_note(h, resized, &n);
}

/* M28: finalizers are refused while the span is resized; existing ones are kept */
static void finalizer_during_resize_is_refused(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct note n = {};

	resized = salloc(h, 20, 0);
	in_resize = 0;
	fake.in_back = add_in_resize;
	KUNIT_EXPECT_TRUE(test, resize(h, resized, 40));
	KUNIT_EXPECT_EQ(test, in_resize, -EINVAL);
	check(test, h);
	KUNIT_EXPECT_EQ(test, add_note(h, resized, &n), 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, resized), 0);
	release(h, resized);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&h->nr_finalizers), 0);
	check(test, h);
}

/* Count the log messages in which what is followed by the name of fn */
static unsigned int logged(const char *what, const char *fn)
{
	char needle[80];

	snprintf(needle, sizeof(needle), "%s %s+", what, fn);
	return log_count(needle);
}

/* A call site with a known name */
static noinline void free_site(struct spanheap *h, void *p)
{
	release(h, p);
	barrier();	/* no tail call: this is the call site */
}

/* M16, M33: the free of a span with finalizers is refused, counted, and reported once */
static void free_with_finalizers_is_refused(struct kunit *test)
{
	struct spanheap *h = test->priv;
	static const u32 sizes[] = { 1, 16, 17, 300 };
	struct note n = {};
	struct mark m;
	u32 i, bad = 0;
	void *p;

	log_start();
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		p = alloc_as(h, swept, sizes[i], 0, 0, GFP_KERNEL);
		memset(p, 0x77, PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, add_note(h, p, &n), 0);
		KUNIT_EXPECT_EQ(test, add_mark(h, p, &m), 0);
		free_site(h, p);
		free_site(h, p);
		bad += 2;
		KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, bad);
		KUNIT_EXPECT_EQ(test, stats(h)->spans, 1);
		KUNIT_EXPECT_FALSE(test, m.freed);
		KUNIT_EXPECT_NULL(test, memchr_inv(p, 0x77, PAGE_SIZE));
		check(test, h);
		/* The finalizer can still be removed, and then the span freed */
		KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p), 0);
		release(h, p);
		KUNIT_EXPECT_TRUE(test, m.freed);
		KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
		KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, bad);
	}
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("invalid free of"), 1);
	KUNIT_EXPECT_EQ(test, log_count("has the finalizer note_fn"), 1);
	KUNIT_EXPECT_EQ(test, logged("allocated by", __func__), 1);
	check(test, h);
}

/* M16: the report of a double free of a cached span names three call sites */
static void double_free_names_the_first(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = alloc_as(h, NULL, 2, 0, 0, GFP_KERNEL);

	free_site(h, p);
	log_start();
	release(h, p);
	log_stop();
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_EQ(test, logged("by", __func__), 2);
	KUNIT_EXPECT_EQ(test, logged("last allocated by", __func__), 1);
	KUNIT_EXPECT_EQ(test, log_count("last freed by free_site"), h->caches.cpu ? 1 : 0);
	check(test, h);
}

/* M32: a dead object's finalizer runs once, and the object is kept until then */
static void sweep_runs_finalizers_and_keeps_the_object(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = salloc(h, 2, 0), *other = alloc(h, 5);
	struct note n = { .freed = other };
	struct mark m;

	KUNIT_EXPECT_EQ(test, add_note(h, p, &n), 0);
	KUNIT_EXPECT_EQ(test, add_mark(h, p, &m), 0);
	n.sleep_ms = 30;
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	/* A queued finalizer cannot be removed or queued again, nor its object be freed */
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p), -ENOENT);
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	check(test, h);
	wait_finalizers(swept);
	KUNIT_EXPECT_EQ(test, n.runs, 1);
	KUNIT_EXPECT_PTR_EQ(test, n.obj, p);
	KUNIT_EXPECT_FALSE(test, n.bad_context);
	KUNIT_EXPECT_FALSE(test, m.freed);
	KUNIT_EXPECT_EQ(test, stats(h)->inuse_bytes, 2 * PAGE_SIZE);
	/* The next sweep finds no finalizer */
	KUNIT_EXPECT_FALSE(test, sweep_dead(h, p));
	release(h, p);
	KUNIT_EXPECT_TRUE(test, m.freed);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	check(test, h);
}

/* M32: a finalizer may register itself again, also before it has returned */
static void finalizers_may_come_again(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p = salloc(h, 20, 0);
	struct note n = { .again = true, .err = -EIO, .sleep_ms = 30 }, second = {};

	KUNIT_EXPECT_EQ(test, add_note(h, p, &n), 0);
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	/* While a finalizer is queued, another can be added and runs later */
	KUNIT_EXPECT_EQ(test, add_note(h, p, &second), 0);
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	check(test, h);
	wait_finalizers(swept);
	KUNIT_EXPECT_EQ(test, n.runs, 1);
	KUNIT_EXPECT_EQ(test, n.err, -EEXIST);
	KUNIT_EXPECT_EQ(test, second.runs, 0);
	second.again = true;
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	wait_finalizers(swept);
	KUNIT_EXPECT_EQ(test, second.runs, 1);
	KUNIT_EXPECT_EQ(test, second.err, 0);
	check(test, h);
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	wait_finalizers(swept);
	KUNIT_EXPECT_EQ(test, second.runs, 2);
	KUNIT_EXPECT_FALSE(test, sweep_dead(h, p));
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	check(test, h);
}

#define MANY	1000u

/* M33: a free removes the specials of all objects of its span, and of no other span */
static void specials_go_with_their_span(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct mark *m = kunit_kcalloc(test, MANY, sizeof(*m), GFP_KERNEL), other;
	u8 *p = salloc(h, 16, 64), *q = salloc(h, 16, 64);
	struct note n = {};
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (i = 0; i < MANY; i++)
		KUNIT_ASSERT_EQ(test, add_mark(h, p + 64 * i, &m[i]), 0);
	KUNIT_ASSERT_EQ(test, add_mark(h, q, &other), 0);
	KUNIT_ASSERT_EQ(test, add_note(h, p + 64 * 100, &n), 0);
	release(h, p);				/* refused: it has a finalizer */
	KUNIT_EXPECT_EQ(test, nr_freed, 0);
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	wait_finalizers(swept);
	KUNIT_EXPECT_EQ(test, n.runs, 1);
	KUNIT_EXPECT_PTR_EQ(test, n.obj, p + 64 * 100);
	KUNIT_EXPECT_EQ(test, nr_freed, 0);
	check(test, h);
	release(h, p);
	KUNIT_EXPECT_EQ(test, nr_freed, MANY);
	KUNIT_EXPECT_FALSE(test, other.freed);
	release(h, q);
	KUNIT_EXPECT_TRUE(test, other.freed);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 1);
	check(test, h);
}

/* M30: spans that are never swept get no finalizer, and can still be freed */
static void spans_that_are_never_swept_get_no_finalizers(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_client(h, "not swept", 0), *gone = new_swept(h, "gone");
	void *p[] = {
		alloc(h, 2), alloc_as(h, c, 2, 0, 0, GFP_KERNEL),
		alloc_as(h, gone, 2, 0, 0, GFP_KERNEL),
	};
	struct note n = {};
	struct mark m;
	u32 i;

	KUNIT_EXPECT_EQ(test, add_note(h, p[2], &n), 0);
	warnings_begin();
	spanheap_heap_unregister(gone);		/* p[2] is an orphan */
	warnings_end(test, TIMES("client gone is gone and leaves 1 spans, 2 pages", 1));
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		KUNIT_EXPECT_EQ(test, add_note(h, p[i], &n), -EINVAL);
		KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p[i]), -ENOENT);
		KUNIT_EXPECT_EQ(test, add_mark(h, p[i], &m), 0);
		check(test, h);
		release(h, p[i]);
		KUNIT_EXPECT_TRUE(test, m.freed);
	}
	KUNIT_EXPECT_EQ(test, atomic_long_read(&h->nr_finalizers), 0);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	spanheap_heap_unregister(c);
}

/* A resize does not cut off a tail with specials; growing keeps specials in place */
static void resize_minds_specials(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u8 *p = alloc(h, 10);
	struct mark m, first;

	KUNIT_EXPECT_EQ(test, add_mark(h, p, &first), 0);
	KUNIT_EXPECT_EQ(test, add_mark(h, p + 5 * PAGE_SIZE, &m), 0);
	KUNIT_EXPECT_FALSE(test, resize(h, p, 5));
	KUNIT_EXPECT_EQ(test, peek(h, page_of(h, p)).nr_pages, 10);
	KUNIT_EXPECT_TRUE(test, resize(h, p, 6));
	check(test, h);
	KUNIT_EXPECT_TRUE(test, resize(h, p, 40));
	KUNIT_EXPECT_PTR_EQ(test, remove_mark(h, p + 5 * PAGE_SIZE), &m);
	KUNIT_EXPECT_EQ(test, add_mark(h, p + 39 * PAGE_SIZE, &m), 0);
	check(test, h);
	KUNIT_EXPECT_FALSE(test, resize(h, p, 39));
	KUNIT_EXPECT_PTR_EQ(test, remove_mark(h, p + 39 * PAGE_SIZE), &m);
	KUNIT_EXPECT_TRUE(test, resize(h, p, 1));
	/* The span has kept SPAN_SLOW, so its free finds the specials */
	release(h, p);
	KUNIT_EXPECT_TRUE(test, first.freed);
	KUNIT_EXPECT_EQ(test, nr_freed, 1);
	check(test, h);
}

static void *slow_fn_obj;

static void slow_fn(void *obj, void *arg)
{
	msleep(50);
	WRITE_ONCE(slow_fn_obj, obj);
}

/* M32: unregistering waits for queued finalizers and drops the others */
static void unregistering_waits_for_finalizers(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_swept(h, "goes");
	void *a = alloc_as(h, c, 3, 0, 0, GFP_KERNEL), *b, *anon = salloc(h, 1, 0);
	struct note n = {}, kept = {};
	struct mark m;
	u32 i;

	b = alloc_as(h, c, 32, 0, 64, GFP_KERNEL);
	slow_fn_obj = NULL;
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_add(h, a, slow_fn, NULL, GFP_KERNEL), 0);
	for (i = 0; i < 200; i++)
		KUNIT_EXPECT_EQ(test, add_note(h, b + 64 * i, &n), 0);
	KUNIT_EXPECT_EQ(test, add_mark(h, b, &m), 0);
	KUNIT_EXPECT_EQ(test, add_note(h, anon, &kept), 0);
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, a));
	KUNIT_EXPECT_NULL(test, READ_ONCE(slow_fn_obj));
	log_start();
	warnings_begin();
	spanheap_heap_unregister(c);
	warnings_end(test, TIMES("is gone and leaves 2 spans", 1));
	log_stop();
	KUNIT_EXPECT_PTR_EQ(test, slow_fn_obj, a);
	KUNIT_EXPECT_EQ(test, n.runs, 0);
	KUNIT_EXPECT_EQ(test, log_count("leaves 200 finalizers that will not run"), 1);
	KUNIT_EXPECT_EQ(test, log_count("the first note_fn"), 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&h->nr_finalizers), 1);
	check(test, h);
	/* Orphans keep their profile records, which use no code of the client */
	KUNIT_EXPECT_FALSE(test, m.freed);
	release(h, a);
	release(h, b);
	KUNIT_EXPECT_TRUE(test, m.freed);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, anon), 0);
	release(h, anon);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	check(test, h);
}

static void leaving_fn(void *obj, void *arg)
{
	spanheap_heap_unregister(arg);
}

/* M32: a finalizer cannot unregister its client, because it would wait for itself */
static void finalizer_cannot_unregister_its_client(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct spanheap_client *c = new_swept(h, "stays");
	void *p = alloc_as(h, c, 3, 0, 0, GFP_KERNEL), *q;

	KUNIT_EXPECT_EQ(test, spanheap_finalizer_add(h, p, leaving_fn, c, GFP_KERNEL), 0);
	warnings_begin();
	KUNIT_EXPECT_TRUE(test, sweep_dead(h, p));
	wait_finalizers(c);
	warnings_end(test, ONCE("unregistering from within a callback"));
	q = alloc_as(h, c, 1, 0, 0, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, q);
	release(h, q);
	release(h, p);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* The shortest time, in ns, of 64 adds and removes in a span with nr other specials */
static u64 time_specials(struct kunit *test, struct spanheap *h, u32 nr)
{
	struct mark *m = kvcalloc(nr + 64, sizeof(*m), GFP_KERNEL);
	u64 best = U64_MAX, ns;
	u8 *p = alloc(h, 1024);
	u32 i, run;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (i = 0; i < nr; i++)	/* scattered, all different */
		KUNIT_EXPECT_EQ(test, add_mark(h, p + i * 40503u % 65536 * 64, &m[i]), 0);
	for (run = 0; run < 20; run++) {
		ns = ktime_get_ns();
		for (i = 0; i < 64; i++)
			add_mark(h, p + i * 64000 + 1, &m[nr + i]);
		for (i = 0; i < 64; i++)
			remove_mark(h, p + i * 64000 + 1);
		best = min(best, ktime_get_ns() - ns);
	}
	nr_freed = 0;
	release(h, p);
	KUNIT_EXPECT_EQ(test, nr_freed, nr);
	kvfree(m);
	return best;
}

/* M28: beside 65,536 specials about as fast as beside 64; a list would take 1,000 times */
static void many_specials_are_found_fast(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u64 few = time_specials(test, h, 64), many = time_specials(test, h, 65536);

	kunit_info(test, "64 pairs: %llu ns beside 64, %llu ns beside 65536\n", few, many);
	KUNIT_EXPECT_LT(test, many, 30 * few);
	check(test, h);
}

#define MODEL_OPS	100000u
#define MODEL_SPANS	6u
#define MODEL_PAGES	12u
#define MODEL_OBJS	(MODEL_PAGES * 64)	/* objects of 64 bytes */

struct model_span {
	u8 *p;
	u32 nr;			/* objects, 64 per page */
	DECLARE_BITMAP(fin, MODEL_OBJS);
	DECLARE_BITMAP(prof, MODEL_OBJS);
	DECLARE_BITMAP(ran, MODEL_OBJS);	/* finalizers run since the last model_ran() */
	struct mark mark[MODEL_OBJS];
};

struct special_model {
	struct kunit *test;
	struct spanheap *h;
	struct spanheap_client *c;
	struct rnd_state rnd;
	u64 bad_frees;
	u32 freed;		/* profile records whose free was reported so far */
	u32 ops[6];
	struct model_span span[MODEL_SPANS];
};

static u32 rnd(struct special_model *m, u32 below)
{
	return prandom_u32_state(&m->rnd) % below;
}

static void model_fn(void *obj, void *arg)
{
	struct model_span *ms = arg;

	set_bit(((u8 *)obj - ms->p) / 64, ms->ran);
}

static int model_add(struct special_model *m, struct model_span *ms, u32 i, bool fin)
{
	if (fin)
		return spanheap_finalizer_add(m->h, ms->p + 64 * i, model_fn, ms, GFP_KERNEL);
	if (test_bit(i, ms->prof)) {
		struct mark twin;

		return add_mark(m->h, ms->p + 64 * i, &twin);
	}
	return add_mark(m->h, ms->p + 64 * i, &ms->mark[i]);
}

/* Add specials to object i and to some after it */
static void model_add_some(struct special_model *m, struct model_span *ms, u32 i)
{
	u32 end = min(ms->nr, i + 1 + (rnd(m, 50) ? 0 : rnd(m, 200)));
	bool fin = rnd(m, 2);
	unsigned long *map = fin ? ms->fin : ms->prof;

	for (; i < end; i++) {
		KUNIT_ASSERT_EQ(m->test, model_add(m, ms, i, fin),
				test_bit(i, map) ? -EEXIST : 0);
		__set_bit(i, map);
	}
}

static void model_remove(struct special_model *m, struct model_span *ms, u32 i)
{
	if (rnd(m, 2)) {
		KUNIT_ASSERT_EQ(m->test, spanheap_finalizer_remove(m->h, ms->p + 64 * i),
				test_bit(i, ms->fin) ? 0 : -ENOENT);
		__clear_bit(i, ms->fin);
	} else {
		KUNIT_ASSERT_PTR_EQ(m->test, remove_mark(m->h, ms->p + 64 * i),
				    test_bit(i, ms->prof) ? &ms->mark[i] : NULL);
		__clear_bit(i, ms->prof);
	}
}

/* Check that exactly the finalizers of the reference have run, and forget them */
static void model_ran(struct special_model *m, struct model_span *ms)
{
	u32 i;

	wait_finalizers(m->c);
	for (i = 0; i < MODEL_OBJS; i++) {
		bool want = test_bit(i, ms->fin);

		KUNIT_ASSERT_EQ(m->test, test_bit(i, ms->ran), want);
		if (want)
			__clear_bit(i, ms->fin);
	}
	bitmap_zero(ms->ran, MODEL_OBJS);
}

/* Check that the free of the span has freed its remaining specials */
static void model_gone(struct special_model *m, struct model_span *ms)
{
	m->freed += bitmap_weight(ms->prof, MODEL_OBJS);
	bitmap_zero(ms->prof, MODEL_OBJS);
	ms->p = NULL;
}

/* Run a generation in which only the span at addr is dead. Returns the pages freed. */
static long sweep_all(struct spanheap_client *c, void *addr)
{
	long n, freed = 0;

	dead = addr;
	spanheap_cycle(c);
	while ((n = spanheap_sweep(c, 1, SMALL_PAGES)) >= 0)
		freed += n;
	dead = NULL;
	return freed;
}

static void model_sweep(struct special_model *m, struct model_span *ms)
{
	bool finalizers = !bitmap_empty(ms->fin, MODEL_OBJS);

	KUNIT_ASSERT_EQ(m->test, sweep_all(m->c, ms->p), finalizers ? 0 : ms->nr / 64);
	if (!finalizers)
		model_gone(m, ms);
	model_ran(m, ms);
}

static void model_resize(struct special_model *m, struct model_span *ms)
{
	u32 nr = 1 + rnd(m, MODEL_PAGES);
	bool lost = find_next_bit(ms->fin, MODEL_OBJS, nr * 64) < MODEL_OBJS ||
		    find_next_bit(ms->prof, MODEL_OBJS, nr * 64) < MODEL_OBJS;
	bool done = resize(m->h, ms->p, nr);

	if (nr * 64 <= ms->nr)
		KUNIT_ASSERT_EQ(m->test, done, !lost);
	if (done)
		ms->nr = nr * 64;
}

static void model_free(struct special_model *m, struct model_span *ms)
{
	release(m->h, ms->p);
	if (bitmap_empty(ms->fin, MODEL_OBJS))
		model_gone(m, ms);
	else
		m->bad_frees++;
}

/* Compare the tree with the reference, order included */
static void model_compare(struct special_model *m, struct model_span *ms)
{
	struct span s = peek(m->h, page_of(m->h, ms->p));
	struct rb_node *node = rb_first(&s.specials);
	u32 i, kind;

	for (i = 0; i < MODEL_OBJS; i++)
		for (kind = SPECIAL_FINALIZER; kind <= SPECIAL_PROFILE; kind++) {
			struct special *sp = rb_entry(node, struct special, node);

			if (kind == SPECIAL_QUEUED ||
			    !test_bit(i, kind == SPECIAL_PROFILE ? ms->prof : ms->fin))
				continue;
			KUNIT_ASSERT_NOT_NULL(m->test, node);
			KUNIT_ASSERT_EQ(m->test, sp->offset, 64 * i);
			KUNIT_ASSERT_EQ(m->test, sp->kind, kind);
			node = rb_next(node);
		}
	KUNIT_ASSERT_NULL(m->test, node);
}

static void model_step(struct special_model *m)
{
	struct model_span *ms = &m->span[rnd(m, MODEL_SPANS)];
	u32 what = rnd(m, 100), i;

	if (!ms->p) {
		ms->nr = (1 + rnd(m, MODEL_PAGES)) * 64;
		ms->p = alloc_as(m->h, m->c, ms->nr / 64, 0, 64, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(m->test, ms->p);
		m->ops[0]++;
		return;
	}
	i = rnd(m, ms->nr);
	if (what < 55) {
		model_add_some(m, ms, i);
		m->ops[1]++;
	} else if (what < 80) {
		model_remove(m, ms, i);
		m->ops[2]++;
	} else if (what < 82) {
		model_sweep(m, ms);
		m->ops[3]++;
	} else if (what < 92) {
		model_resize(m, ms);
		m->ops[4]++;
	} else {
		if (rnd(m, 2))	/* otherwise there mostly are finalizers */
			model_sweep(m, ms);
		if (ms->p)
			model_free(m, ms);
		m->ops[5]++;
	}
}

/* M28: adding a finalizer keeps the span in this cycle */
static void span_with_a_new_finalizer_is_swept(struct kunit *test)
{
	static const struct spanheap_client_ops ops = { .sweep = give_up_dead };
	const struct spanheap_client_attr attr = { .name = "swept", .ops = &ops };
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *p = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);
	void *q = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);
	struct note n = {};

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	dead = p;
	spanheap_cycle(c);
	KUNIT_EXPECT_EQ(test, add_note(h, p, &n), 0);
	check(test, h);
	KUNIT_EXPECT_EQ(test, spanheap_sweep(c, 1, SMALL_PAGES), 0);	/* q is kept */
	KUNIT_EXPECT_EQ(test, spanheap_sweep(c, 1, SMALL_PAGES), -1);
	wait_finalizers(c);
	KUNIT_EXPECT_EQ(test, n.runs, 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, p), 0);
	dead = NULL;
	release(h, p);
	release(h, q);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* M32: with real sweeps: the object outlives the sweep that finds it dead */
static void dead_spans_go_a_generation_later(struct kunit *test)
{
	static const struct spanheap_client_ops ops = { .sweep = give_up_dead };
	const struct spanheap_client_attr attr = { .name = "swept", .ops = &ops };
	struct spanheap *h = test->priv;
	struct spanheap_client *c = spanheap_heap_register(h, &attr);
	void *p = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);
	void *live = alloc_as(h, c, 3, 0, 0, GFP_KERNEL);
	struct note n = { .again = true }, other = {};
	struct mark m;

	KUNIT_ASSERT_FALSE(test, IS_ERR(c));
	KUNIT_EXPECT_EQ(test, add_note(h, p, &n), 0);
	KUNIT_EXPECT_EQ(test, add_note(h, live, &other), 0);
	KUNIT_EXPECT_EQ(test, add_mark(h, p, &m), 0);
	KUNIT_EXPECT_EQ(test, sweep_all(c, NULL), 0);
	wait_finalizers(c);
	KUNIT_EXPECT_EQ(test, n.runs, 0);
	/* The finalizer adds itself again, once */
	KUNIT_EXPECT_EQ(test, sweep_all(c, p), 0);
	wait_finalizers(c);
	KUNIT_EXPECT_EQ(test, n.runs, 1);
	n.sleep_ms = 30;
	KUNIT_EXPECT_EQ(test, sweep_all(c, p), 0);
	KUNIT_EXPECT_EQ(test, sweep_all(c, p), 0);	/* kept until the finalizer has run */
	check(test, h);
	wait_finalizers(c);
	KUNIT_EXPECT_EQ(test, n.runs, 2);
	KUNIT_EXPECT_FALSE(test, m.freed);
	KUNIT_EXPECT_EQ(test, sweep_all(c, p), 3);
	KUNIT_EXPECT_TRUE(test, m.freed);
	KUNIT_EXPECT_EQ(test, other.runs, 0);
	KUNIT_EXPECT_EQ(test, spanheap_finalizer_remove(h, live), 0);
	KUNIT_EXPECT_EQ(test, sweep_all(c, live), 3);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0);
	spanheap_heap_unregister(c);
	check(test, h);
}

/* Random operations, compared with bitmaps of each span's specials, and whole generations */
static void specials_match_the_model(struct kunit *test)
{
	struct special_model *m = kvzalloc(sizeof(*m), GFP_KERNEL);
	struct spanheap *h = test->priv;
	u32 op, i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->test = test;
	m->h = h;
	m->c = new_swept(h, "model");
	KUNIT_ASSERT_FALSE(test, IS_ERR(m->c));
	prandom_seed_state(&m->rnd, 20140618);
	for (op = 0; op < MODEL_OPS; op++) {
		model_step(m);
		KUNIT_ASSERT_EQ(test, nr_freed, m->freed);
		if (op % 64)
			continue;
		check(test, h);
		KUNIT_ASSERT_EQ(test, stats(h)->invalid_frees, m->bad_frees);
		for (i = 0; i < MODEL_SPANS; i++)
			if (m->span[i].p)
				model_compare(m, &m->span[i]);
	}
	kunit_info(test, "allocations %u, additions %u, removals %u, sweeps %u, resizes %u, frees %u, refused %llu\n",
		   m->ops[0], m->ops[1], m->ops[2], m->ops[3], m->ops[4], m->ops[5],
		   m->bad_frees);
	for (i = 0; i < 6; i++)
		KUNIT_EXPECT_GT(test, m->ops[i], 100);
	KUNIT_EXPECT_GT(test, m->bad_frees, 100);
	for (i = 0; i < MODEL_SPANS; i++)
		if (m->span[i].p) {
			model_sweep(m, &m->span[i]);
			if (m->span[i].p)
				model_free(m, &m->span[i]);
		}
	KUNIT_EXPECT_EQ(test, atomic_long_read(&h->nr_finalizers), 0);
	KUNIT_EXPECT_EQ(test, stats(h)->spans, 0);
	spanheap_heap_unregister(m->c);
	check(test, h);
	kvfree(m);
}

static struct kunit_case special_cases[] = {
	KUNIT_CASE(specials_are_kept_by_offset_and_kind),
	KUNIT_CASE(specials_need_a_span_in_use),
	KUNIT_CASE(profile_records_are_told_of_the_free),
	KUNIT_CASE(bad_finalizers_are_refused),
	KUNIT_CASE(stale_objects_are_refused),
	KUNIT_CASE(finalizer_during_resize_is_refused),
	KUNIT_CASE(free_with_finalizers_is_refused),
	KUNIT_CASE(double_free_names_the_first),
	KUNIT_CASE(sweep_runs_finalizers_and_keeps_the_object),
	KUNIT_CASE(finalizers_may_come_again),
	KUNIT_CASE(specials_go_with_their_span),
	KUNIT_CASE(spans_that_are_never_swept_get_no_finalizers),
	KUNIT_CASE(resize_minds_specials),
	KUNIT_CASE(unregistering_waits_for_finalizers),
	KUNIT_CASE(finalizer_cannot_unregister_its_client),
	KUNIT_CASE(many_specials_are_found_fast),
	KUNIT_CASE(span_with_a_new_finalizer_is_swept),
	KUNIT_CASE(dead_spans_go_a_generation_later),
	KUNIT_CASE(specials_match_the_model),
	{}
};

static struct kunit_suite special_suite = {
	.name = "spanheap_special",
	.init = special_init,
	.exit = special_exit,
	.test_cases = special_cases,
};

static struct kunit_suite special_cached_suite = {
	.name = "spanheap_special_cached",
	.init = special_cached_init,
	.exit = special_exit,
	.test_cases = special_cases,
};

kunit_test_suites(&special_suite, &special_cached_suite);
