// SPDX-License-Identifier: GPL-2.0
/*
 * A heap for the unit tests. Its arena is one kvmalloc'ed block, so a test can also read
 * pages that are unbacked for the heap. For each backed page the arena allocates a page
 * of the system beside the block, and a release frees that page.
 */
#define pr_fmt(fmt) "spanheap_kunit: " fmt

#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <trace/events/printk.h>
#include <compat/kasan.h>

#include "fake_arena.h"

#define DIRTY	0xa5	/* content of a backed page without __GFP_ZERO */
#define GONE	0x6b	/* content of an unbacked page */

struct fake_arena fake;

unsigned long fake_clock(void)
{
	return fake.now;
}

static int fake_reserve(struct spanheap *h, unsigned long nr)
{
	if (fake.refuse_reserve)
		return -ENOMEM;
	h->base = kvmalloc(nr << PAGE_SHIFT, GFP_KERNEL);
	h->backend = kvcalloc(nr, sizeof(struct page *), GFP_KERNEL);
	if (!h->base || !h->backend) {
		kvfree(h->backend);
		kvfree(h->base);
		return -ENOMEM;
	}
	memset(h->base, GONE, nr << PAGE_SHIFT);
	return 0;
}

static void fake_unreserve(struct spanheap *h)
{
	kvfree(h->backend);
	kvfree(h->base);
}

bool fake_is_backed(struct spanheap *h, u32 idx)
{
	return ((struct page **)h->backend)[idx];
}

static void run_hook(void (**hook)(struct spanheap *h), struct spanheap *h)
{
	void (*fn)(struct spanheap *h) = *hook;

	*hook = NULL;
	if (fn)
		fn(h);
}

static u32 fake_back(struct spanheap *h, u32 start, u32 nr, gfp_t gfp, int node)
{
	struct page **page = (struct page **)h->backend + start;
	u32 i;

	run_hook(&fake.in_back, h);
	for (i = 0; i < nr && fake.pages_left; i++) {
		fake.faults += !!page[i];
		page[i] = alloc_page(gfp & ~__GFP_ZERO);
		if (!page[i])
			break;
		set_page_private(page[i], node == NUMA_NO_NODE ? fake.node : node);
		compat_kasan_use(&h->lost, page_addr(h, start + i), 1, true);
		memset(page_addr(h, start + i), gfp & __GFP_ZERO ? 0 : DIRTY, PAGE_SIZE);
		fake.pages_left--;
		fake.nr_backed++;
	}
	spanheap_count_nodes(h, page, i, true);
	return i;
}

static int fake_node(struct spanheap *h, u32 idx)
{
	return page_private(((struct page **)h->backend)[idx]);
}

static u32 fake_unback(struct spanheap *h, u32 start, u32 nr, struct page **pages)
{
	struct page **page = (struct page **)h->backend + start;
	u32 i;

	run_hook(&fake.in_unback, h);
	for (i = 0; i < nr; i++) {
		if (!page[i]) {
			fake.faults++;
			return i;
		}
		pages[i] = page[i];
		set_page_private(page[i], 0);
		page[i] = NULL;
		fake.nr_backed--;
	}
	spanheap_count_nodes(h, pages, nr, false);
	compat_kasan_use(&h->lost, page_addr(h, start), nr, true);
	memset(page_addr(h, start), GONE, (size_t)nr << PAGE_SHIFT);
	return nr;
}

/* Here memory has its place, so that what is read moves, too */
static u32 fake_move(struct spanheap *h, u32 from, u32 to, u32 nr)
{
	struct page **page = (struct page **)h->backend;
	u32 i;

	for (i = 0; i < nr; i++) {
		fake.faults += !page[from + i] || page[to + i];
		page[to + i] = page[from + i];
		page[from + i] = NULL;
	}
	compat_kasan_use(&h->lost, page_addr(h, from), nr, true);
	compat_kasan_use(&h->lost, page_addr(h, to), nr, true);
	memcpy(page_addr(h, to), page_addr(h, from), (size_t)nr << PAGE_SHIFT);
	memset(page_addr(h, from), GONE, (size_t)nr << PAGE_SHIFT);
	return nr;
}

static void fake_flush(struct spanheap *h, u32 start, u32 end)
{
	fake.flushes++;
}

static bool fake_referenced(struct spanheap *h, u32 start, u32 nr)
{
	struct page **page = (struct page **)h->backend + start;

	fake.asked_referenced++;
	for (; nr; page++, nr--)
		if (page_count(*page) > 1)
			return true;
	return false;
}

static bool fake_intact(struct spanheap *h)
{
	return !fake.lost;
}

struct page *fake_page(struct spanheap *h, const void *addr)
{
	return ((struct page **)h->backend)[page_of(h, addr)];
}

const struct arena_ops fake_ops = {
	.name = "fake arena",
	.reserve = fake_reserve,
	.unreserve = fake_unreserve,
	.back = fake_back,
	.node = fake_node,
	.unback = fake_unback,
	.move = fake_move,
	.flush = fake_flush,
	.referenced = fake_referenced,
	.intact = fake_intact,
};

struct spanheap *test_heap_new(struct kunit *test, const struct arena_ops *ops,
			       u32 pages, unsigned int cache_kb)
{
	struct spanheap *h = spanheap_heap_create(ops, pages, fake_clock);

	KUNIT_ASSERT_FALSE(test, IS_ERR(h));
	KUNIT_ASSERT_EQ(test, spanheap_cache_init(h, cache_kb), 0);
	return h;
}

/* Destroy the heap, even if a failed case has left spans in use */
void test_heap_end(struct spanheap *h)
{
	struct span *s;
	u32 idx = 0;

	do {
		spin_lock_irq(&h->lock);
		s = __spanheap_next(h, idx);
		if (s)
			idx = s->start;
		spin_unlock_irq(&h->lock);
		if (s && span_state(s) == SPAN_INUSE)
			release(h, page_addr(h, idx));
		idx++;
	} while (s);
	spanheap_heap_destroy(h);
}

static int suite_init(struct kunit *test, unsigned int cache_kb)
{
	fake = (struct fake_arena) { .now = 1000, .pages_left = S64_MAX };
	/* Stay on one CPU, so that cases can count cached spans */
	set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	test->priv = test_heap_new(test, &fake_ops, ARENA, cache_kb);
	return 0;
}

int test_heap_init(struct kunit *test)
{
	return suite_init(test, 0);
}

int test_cached_heap_init(struct kunit *test)
{
	return suite_init(test, 256);
}

/* Caches of the size of the cache_kb parameter, as the module has */
int test_tuned_heap_init(struct kunit *test)
{
	return suite_init(test, spanheap_cache_kb);
}

void test_heap_exit(struct kunit *test)
{
	if (test->priv)
		test_heap_end(test->priv);
	KUNIT_EXPECT_EQ(test, fake.nr_backed, 0);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

noinline void *alloc_as(struct spanheap *h, struct spanheap_client *client, size_t nr,
			unsigned int align_shift, size_t obj_size, gfp_t gfp)
{
	return spanheap_heap_alloc(h, client, nr, align_shift, obj_size,
				   gfp | __GFP_NOWARN, _RET_IP_);
}

noinline void release(struct spanheap *h, const void *addr)
{
	spanheap_heap_free(h, addr, _RET_IP_);
}

noinline bool resize(struct spanheap *h, void *addr, size_t nr)
{
	return spanheap_heap_resize(h, addr, nr, GFP_KERNEL, _RET_IP_);
}

const struct spanheap_stats *stats(struct spanheap *h)
{
	static struct spanheap_stats st;

	spanheap_heap_stats(h, &st, true);
	return &st;
}

struct client_counts counts(struct spanheap_client *c)
{
	struct client_counts n;

	spanheap_client_sum(c, &n);
	return n;
}

struct spanheap_client *new_client(struct spanheap *h, const char *name, u64 limit_pages)
{
	const struct spanheap_client_attr attr = {
		.name = name, .limit_bytes = limit_pages << PAGE_SHIFT,
	};

	return spanheap_heap_register(h, &attr);
}

u64 tick(struct spanheap *h)
{
	fake.now += ms_to_ticks(spanheap_scavenge_age_ms) / 2;
	return spanheap_tick(h);
}

struct span peek(struct spanheap *h, u32 idx)
{
	struct span copy = {};
	struct span *s;

	spin_lock_irq(&h->lock);
	s = __spanheap_next(h, idx);
	if (s && s->start == idx)
		copy = *s;
	spin_unlock_irq(&h->lock);
	return copy;
}

void check(struct kunit *test, struct spanheap *h)
{
	struct spanheap_stats st = *stats(h);
	char why[128] = "";

	KUNIT_ASSERT_EQ_MSG(test, spanheap_check(h, why, sizeof(why)), 0,
			    "%s", why);
	KUNIT_ASSERT_EQ(test, st.sys_bytes, st.inuse_bytes + st.idle_bytes);
	KUNIT_ASSERT_EQ(test, st.resident_bytes, st.sys_bytes - st.released_bytes);
	KUNIT_ASSERT_LE(test, st.released_bytes + st.cached_bytes, st.idle_bytes);
	KUNIT_ASSERT_EQ(test, st.spans, st.allocs - st.frees);
	KUNIT_ASSERT_LE(test, st.sys_bytes, st.arena_bytes);
	if (h->ops != &fake_ops)
		return;
	KUNIT_ASSERT_EQ(test, st.resident_bytes, fake.nr_backed << PAGE_SHIFT);
	KUNIT_ASSERT_EQ(test, fake.faults, 0u);
}

void (*spanheap_hook)(struct spanheap *h, enum spanheap_hook_point point);
static enum spanheap_hook_point hooked_point;
static void (*hooked_fn)(struct spanheap *h);
static unsigned int hook_calls;

/* Call the hook once only, because fn may reach the same point again */
static void call_hook(struct spanheap *h, enum spanheap_hook_point point)
{
	if (point != hooked_point)
		return;
	hooked_point = HOOK_NONE;
	hook_calls++;
	hooked_fn(h);
}

void hook_at(enum spanheap_hook_point point, void (*fn)(struct spanheap *h))
{
	hook_calls = 0;
	hooked_fn = fn;
	hooked_point = point;
	spanheap_hook = call_hook;
}

unsigned int unhook(void)
{
	spanheap_hook = NULL;
	hooked_point = HOOK_NONE;
	return hook_calls;
}

struct spanheap_steps spanheap_steps[NR_STEPS_OF];

/* Count the steps of this heap from now on */
void steps_watch(struct spanheap *h)
{
	u32 i;

	for (i = 0; i < NR_STEPS_OF; i++)
		spanheap_steps[i] = (struct spanheap_steps) { .watched = h };
	spanheap_steps[STEPS_HOLD].watched = &h->lock;
	spanheap_steps[STEPS_VISIT].watched = &h->caches;
	spanheap_steps[STEPS_PAUSE].watched = &h->caches;
	spanheap_steps[STEPS_ALIGN].watched = &h->caches;
	spanheap_steps[STEPS_SUM].watched = &h->caches;
}

/* Messages of the kernel log, for a case or for warnings_end() */
struct log_buffer {
	char text[1 << 16];
	size_t len;
};

static struct log_buffer case_log, warning_log;
static DEFINE_RAW_SPINLOCK(log_lock);

static void log_probe(void *buffer, const char *text, size_t len)
{
	struct log_buffer *log = buffer;
	unsigned long flags;

	raw_spin_lock_irqsave(&log_lock, flags);
	len = min(len, sizeof(log->text) - 1 - log->len);
	memcpy(log->text + log->len, text, len);
	log->len += len;
	log->text[log->len] = 0;
	raw_spin_unlock_irqrestore(&log_lock, flags);
}

static void log_open(struct log_buffer *log)
{
	log->len = 0;
	log->text[0] = 0;
	WARN_ON(register_trace_console(log_probe, log));
}

static void log_close(struct log_buffer *log)
{
	unregister_trace_console(log_probe, log);
	tracepoint_synchronize_unregister();
}

static unsigned int count_in_log(const struct log_buffer *log, const char *needle)
{
	const char *at = log->text;
	unsigned int n = 0;

	while ((at = strstr(at, needle))) {
		at++;
		n++;
	}
	return n;
}

void log_start(void)
{
	log_open(&case_log);
}

unsigned int log_stop(void)
{
	log_close(&case_log);
	return case_log.len;
}

unsigned int log_count(const char *needle)
{
	return count_in_log(&case_log, needle);
}

/* Has this WARN_ONCE() fired since boot? Records that it has fired now. */
static bool fired_before(const char *text)
{
	static const char *fired[16];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fired) && fired[i]; i++)
		if (!strcmp(fired[i], text))
			return true;
	if (!WARN_ON(i == ARRAY_SIZE(fired)))
		fired[i] = text;
	return false;
}

void warnings_begin(void)
{
	pr_info("warnings are expected from here\n");
	log_open(&warning_log);
}

void warnings_end_list(struct kunit *test, const struct expected_warning *list)
{
	/* Texts of other reports; each stands in one line of its report only */
	static const char * const other[] = {
		"KASAN:", "UBSAN:", "BUG:", "RCU usage", "lock held when", "unlock balance",
		"unreferenced object", "Oops",
	};
	unsigned int i, n, sum = 0;

	log_close(&warning_log);
	pr_info("warnings are expected no more\n");
	for (; list->text; list++) {
		n = list->once ? !fired_before(list->text) : list->times;
		sum += n;
		KUNIT_EXPECT_EQ_MSG(test, count_in_log(&warning_log, list->text), n,
				    "\"%s\"", list->text);
	}
	KUNIT_EXPECT_EQ_MSG(test, count_in_log(&warning_log, "WARNING: "), sum,
			    "warnings that the case does not name");
	for (i = 0; i < ARRAY_SIZE(other); i++)
		KUNIT_EXPECT_EQ_MSG(test, count_in_log(&warning_log, other[i]), 0, "%s",
				    other[i]);
}
