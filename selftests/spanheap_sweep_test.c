// SPDX-License-Identifier: GPL-2.0
/*
 * A client that tests sweeping: "run" names a case; the module loads if it passed.
 */
#define pr_fmt(fmt) "spanheap_sweep_test: " fmt

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/random.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "expect.h"

RUN("stress");
static unsigned int seconds = 10;
module_param(seconds, uint, 0444);
MODULE_PARM_DESC(seconds, "how long the stress case runs");

static atomic_t errors;

/* May be used in any function: the case fails when it ends */
#undef EXPECT
#define EXPECT(cond) do {						\
	if (!(cond)) {							\
		pr_err("%s:%d: not true: %s\n", run, __LINE__, #cond);	\
		atomic_inc(&errors);					\
	}								\
} while (0)

/* ---- stress: sweepers, allocators, cycles, unregistration at once ---- */

#define SLOTS	512

/* A client of the test, with a slot for each of its spans */
struct cache {
	struct spanheap_client *client;
	struct rw_semaphore birth;	/* write: no allocation or free */
	unsigned int cycles;		/* begun so far; guarded by birth */
	atomic_t asked, freed;
	struct xarray index;		/* page number -> slot */
	struct slot {
		spinlock_t lock;	/* guards the slot */
		u8 *p;
		unsigned int nr;
		unsigned int born;	/* cycles begun before the span was allocated */
		unsigned int asked;
		u8 fill;
		bool busy;		/* a callback runs for the span */
	} slot[SLOTS];
};

static unsigned long page_nr(const void *p)
{
	return (unsigned long)p >> PAGE_SHIFT;
}

static bool damaged(const struct slot *s)
{
	return s->p[0] != s->fill || s->p[s->nr * PAGE_SIZE - 1] != s->fill;
}

static enum spanheap_verdict stress_sweep(void *addr, size_t nr_pages, void *priv)
{
	enum spanheap_verdict verdict = SPANHEAP_KEEP;
	struct cache *c = priv;
	void *entry = xa_load(&c->index, page_nr(addr));
	unsigned int last = nr_pages * PAGE_SIZE - 1;
	struct slot *s;
	u8 *p, fill;

	atomic_inc(&c->asked);
	if (!entry)
		return SPANHEAP_KEEP;	/* the owner is freeing the span */
	s = &c->slot[xa_to_value(entry)];
	spin_lock(&s->lock);
	if (s->p != addr) {
		spin_unlock(&s->lock);
		return SPANHEAP_KEEP;
	}
	EXPECT(!s->busy);
	EXPECT(s->nr == nr_pages);
	EXPECT(!damaged(s));
	s->busy = true;
	s->asked++;
	fill = s->fill;
	spin_unlock(&s->lock);

	/* a callback may allocate, free and sleep */
	p = spanheap_alloc(c->client, 1 + get_random_u32() % 4, GFP_KERNEL);
	spanheap_free(p);
	if (get_random_u32() % 8 == 0)
		usleep_range(100, 2000);
	/* Even if the owner frees the span now, nobody else gets it before this returns */
	p = addr;
	EXPECT(p[0] == fill && p[last] == fill);

	spin_lock(&s->lock);
	if (s->p == addr) {	/* the owner did not free the span meanwhile */
		s->busy = false;
		if (get_random_u32() % 2) {
			xa_erase(&c->index, page_nr(addr));
			s->p = NULL;
			atomic_inc(&c->freed);
			verdict = SPANHEAP_FREE;
		}
	}
	spin_unlock(&s->lock);
	return verdict;
}

static const struct spanheap_client_ops stress_ops = { .sweep = stress_sweep };

/* Each cycle that began after the allocation has run the callback once; the last cycle may */
static void check_asked(const struct cache *c, const struct slot *s)
{
	EXPECT(s->asked <= c->cycles - s->born);
	EXPECT(s->asked + 1 >= c->cycles - s->born);
}

static void put_in(struct cache *c, struct slot *s)
{
	unsigned int nr = get_random_u32() % 32 ? 1 + get_random_u32() % 6 :
						  1 + get_random_u32() % 300;
	u8 fill = get_random_u32();
	u8 *p = spanheap_alloc(c->client, nr, GFP_KERNEL);

	EXPECT(p);
	if (!p)
		return;
	p[0] = fill;
	p[nr * PAGE_SIZE - 1] = fill;
	EXPECT(!xa_err(xa_store(&c->index, page_nr(p), xa_mk_value(s - c->slot),
				GFP_KERNEL)));
	spin_lock(&s->lock);
	if (!s->p) {
		s->p = p;
		s->nr = nr;
		s->fill = fill;
		s->asked = 0;
		s->born = c->cycles;
		s->busy = false;
		p = NULL;
	}
	spin_unlock(&s->lock);
	if (p) {	/* another owner was faster */
		xa_erase(&c->index, page_nr(p));
		spanheap_free(p);
	}
}

static void take_out(struct cache *c, struct slot *s)
{
	u8 *p;

	spin_lock(&s->lock);
	p = s->p;
	if (p) {
		EXPECT(!damaged(s));
		check_asked(c, s);
		xa_erase(&c->index, page_nr(p));
		s->p = NULL;
	}
	spin_unlock(&s->lock);
	spanheap_free(p);
}

static void begin(struct cache *c)
{
	down_write(&c->birth);
	c->cycles++;
	spanheap_cycle_begin(c->client);
	up_write(&c->birth);
}

static struct cache *shared;

static int owner_thread(void *data)
{
	while (!kthread_should_stop()) {
		struct slot *s = &shared->slot[get_random_u32() % SLOTS];

		down_read(&shared->birth);
		if (READ_ONCE(s->p))
			take_out(shared, s);
		else
			put_in(shared, s);
		up_read(&shared->birth);
		cond_resched();
	}
	return 0;
}

static int sweeper_thread(void *data)
{
	while (!kthread_should_stop()) {
		if (spanheap_sweep_one(shared->client) < 0)
			usleep_range(500, 1000);
		cond_resched();
	}
	return 0;
}

static int cycle_thread(void *data)
{
	while (!kthread_should_stop()) {
		begin(shared);
		usleep_range(2000, 20000);
	}
	return 0;
}

static struct cache *new_cache(const char *name)
{
	struct cache *c = kvzalloc(sizeof(*c), GFP_KERNEL);
	int i;

	if (!c)
		return NULL;
	init_rwsem(&c->birth);
	xa_init(&c->index);
	for (i = 0; i < SLOTS; i++)
		spin_lock_init(&c->slot[i].lock);
	c->client = spanheap_client_register(&(struct spanheap_client_attr) {
		.name = name, .ops = &stress_ops, .priv = c });
	if (IS_ERR(c->client)) {
		kvfree(c);
		return NULL;
	}
	return c;
}

static void end_cache(struct cache *c)
{
	int i;

	down_read(&c->birth);
	for (i = 0; i < SLOTS; i++)
		take_out(c, &c->slot[i]);
	up_read(&c->birth);
	spanheap_client_unregister(c->client);
	EXPECT(xa_empty(&c->index));
	xa_destroy(&c->index);
	kvfree(c);
}

/* Clients that register, allocate, begin a cycle and unregister in the middle of it */
static int comer_thread(void *data)
{
	unsigned int i, n = 0;

	while (!kthread_should_stop()) {
		struct cache *c = new_cache(data);

		EXPECT(c);
		if (!c) {
			msleep(20);
			continue;
		}
		down_read(&c->birth);
		for (i = 0; i < 64; i++)
			put_in(c, &c->slot[i]);
		up_read(&c->birth);
		begin(c);
		for (i = 0; i < 8; i++)
			spanheap_sweep_one(c->client);
		end_cache(c);
		n++;
		cond_resched();
	}
	pr_info("%u clients came and went\n", n);
	return 0;
}

static int test_stress(void)
{
	static const struct {
		int (*fn)(void *data);
		char *name;
	} threads[] = {
		{ owner_thread, "sh_owner0" }, { owner_thread, "sh_owner1" },
		{ sweeper_thread, "sh_sweeper0" }, { sweeper_thread, "sh_sweeper1" },
		{ cycle_thread, "sh_cycle0" }, { cycle_thread, "sh_cycle1" },
		{ comer_thread, "sh_comer0" }, { comer_thread, "sh_comer1" },
	};
	struct task_struct *t[ARRAY_SIZE(threads)];
	int i;

	shared = new_cache("stress");
	if (!shared)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		t[i] = kthread_run(threads[i].fn, threads[i].name, "%s", threads[i].name);
		EXPECT(!IS_ERR(t[i]));
	}
	msleep(seconds * 1000);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		if (!IS_ERR(t[i]))
			kthread_stop(t[i]);
	/* after two more cycles the callback has run for each span in all cycles of the span */
	begin(shared);
	while (spanheap_sweep_one(shared->client) >= 0)
		;
	begin(shared);
	for (i = 0; i < SLOTS; i++)
		if (shared->slot[i].p)
			check_asked(shared, &shared->slot[i]);
	pr_info("%u cycles, %d spans swept, %d freed\n", shared->cycles,
		atomic_read(&shared->asked), atomic_read(&shared->freed));
	EXPECT(shared->cycles > 10);
	EXPECT(atomic_read(&shared->freed) > 100);
	end_cache(shared);
	return 0;
}

/* ---- bad input ---- */

static struct spanheap_client *bad_client;
static unsigned int sweeps, collects;
static int verdict;
static bool recurse;

static enum spanheap_verdict bad_sweep(void *addr, size_t nr_pages, void *priv)
{
	sweeps++;
	if (recurse) {
		spanheap_cycle_begin(bad_client);
		EXPECT(spanheap_sweep_one(bad_client) == -1);
		spanheap_release_memory();
		spanheap_client_unregister(bad_client);
	}
	return verdict;
}

static void bad_collect(void *priv)
{
	collects++;
	if (recurse) {
		spanheap_release_memory();
		spanheap_client_unregister(bad_client);
	}
}

static const struct spanheap_client_ops bad_ops = {
	.sweep = bad_sweep,
	.collect = bad_collect,
};

/*
 * The background worker may sweep first. Wait until no span is unswept and no callback
 * runs; the beginning of a cycle does that.
 */
static void sweep_all(void)
{
	spanheap_cycle_begin(bad_client);
	spanheap_cycle_begin(bad_client);
}

static int test_bad(void)
{
	void *p;

	bad_client = spanheap_client_register(&(struct spanheap_client_attr) {
		.name = "bad", .ops = &bad_ops });
	if (IS_ERR(bad_client))
		return PTR_ERR(bad_client);
	p = spanheap_alloc(bad_client, 2, GFP_KERNEL);
	EXPECT(p);
	verdict = 42;
	sweep_all();
	EXPECT(sweeps > 0 && spanheap_nr_pages(p) == 2);

	verdict = SPANHEAP_KEEP;
	recurse = true;
	sweep_all();
	EXPECT(!collects);
	spanheap_release_memory();
	EXPECT(collects == 1);
	recurse = false;
	EXPECT(spanheap_owner(p) == bad_client);

	verdict = SPANHEAP_FREE;
	sweep_all();
	EXPECT(!spanheap_nr_pages(p));
	spanheap_client_unregister(bad_client);

	/* no callbacks, no client */
	bad_client = spanheap_client_register(&(struct spanheap_client_attr) {
		.name = "plain" });
	EXPECT(!IS_ERR(bad_client));
	p = spanheap_alloc(bad_client, 2, GFP_KERNEL);
	spanheap_cycle_begin(bad_client);
	EXPECT(spanheap_sweep_one(bad_client) == -1);
	spanheap_cycle_begin(NULL);
	EXPECT(spanheap_sweep_one(NULL) == -1);
	spanheap_cycle_begin(ERR_PTR(-ENOMEM));
	EXPECT(spanheap_sweep_one(ERR_PTR(-ENOMEM)) == -1);
	spanheap_free(p);
	spanheap_client_unregister(bad_client);
	return 0;
}

/* ---- a client unregisters in the middle of a cycle and leaves spans ---- */

static enum spanheap_verdict slow_sweep(void *addr, size_t nr_pages, void *priv)
{
	sweeps++;
	msleep(50);
	EXPECT(*(unsigned int *)priv == 0x600d);	/* the client's data is still valid */
	return SPANHEAP_KEEP;
}

static const struct spanheap_client_ops slow_ops = { .sweep = slow_sweep };

static int test_leave(void)
{
	unsigned int *alive = kmalloc(sizeof(*alive), GFP_KERNEL);
	struct spanheap_client *c;
	unsigned int swept;
	void *p[40];
	int i;

	EXPECT(alive);
	*alive = 0x600d;
	c = spanheap_client_register(&(struct spanheap_client_attr) {
		.name = "leaver", .ops = &slow_ops, .priv = alive });
	if (IS_ERR(c))
		return PTR_ERR(c);
	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = spanheap_alloc(c, 1 + i, GFP_KERNEL);
	spanheap_cycle_begin(c);
	msleep(120);		/* the background sweeper is in a callback */
	EXPECT(sweeps > 0);
	spanheap_client_unregister(c);
	*alive = 0xdead;
	swept = sweeps;
	EXPECT(swept < ARRAY_SIZE(p));
	msleep(200);
	EXPECT(sweeps == swept);
	for (i = 0; i < ARRAY_SIZE(p); i++) {
		EXPECT(spanheap_nr_pages(p[i]) == 1 + i);
		EXPECT(!spanheap_owner(p[i]));
		spanheap_free(p[i]);
	}
	kfree(alive);
	return 0;
}

static const struct test_case cases[] = {
	{ "stress", test_stress }, { "bad", test_bad }, { "leave", test_leave },
	{}
};

static int __init sweep_test_init(void)
{
	int err = run_case(cases, run);

	return err ? err : atomic_read(&errors) ? -EINVAL : 0;
}

static void __exit sweep_test_exit(void)
{
}

module_init(sweep_test_init);
module_exit(sweep_test_exit);

MODULE_DESCRIPTION("Tests of sweeping from a client module");
MODULE_LICENSE("GPL");
