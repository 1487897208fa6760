// SPDX-License-Identifier: GPL-2.0
/*
 * The sampled heap profile: which call stacks have the memory that is in use.
 *
 * Allocations are sampled by bytes. The distance from one sample to the next is
 * random, exponentially distributed with the mean profile_rate; so an allocation
 * of n bytes is sampled with the probability 1 - exp(-n / rate), whatever went
 * before it, and no pattern of sizes is seen too often or too rarely. These are
 * the statistics of tcmalloc's and the Go runtime's heap profiles (malloc.goc,
 * mprof.goc of Go 1.3).
 *
 * A sample counts in the bucket of its call stack, size and rate, and hangs on
 * its span as a special, so that the free finds the bucket. A reader of the profile
 * divides a bucket by the probability of its size: exact, for it has only one.
 *
 * A CPU that allocates without ever touching the memory would spend its time on
 * samples. So from a rate of THROTTLE_RATE on, a CPU that samples so often that it
 * takes more than its share of the time (COST_SHARE) doubles its distance, and
 * shortens it again later. That stays unbiased, since the distance to a sample
 * depends on nothing that comes after its drawing; the sample counts for as many
 * samples as the rate would have taken.
 *
 * The hot path compares one counter, which is there anyway, with the next sample's
 * place in it.
 *
 * A bucket has its call stack itself, as in Go. The kernel's stack depot would keep it
 * once for all sizes, but never gives memory back: not that of a stack, and not the
 * hash table that its first user allocates.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/hashtable.h>
#include <linux/jhash.h>
#include <linux/math64.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sched.h>
#include <compat/stacktrace.h>

#include "spanheap_internal.h"

#define DEPTH		32u		/* frames kept of a call stack */
#define DEPTH_OWN	8u		/* frames between the caller and here, at most */
#define BUCKET_BITS	10
/*
 * Bits behind the binary point of a logarithm. A page at the longest distance is
 * 2^-28: with 48 bits its probability is right to a millionth.
 */
#define LOG_BITS	48
#define LN2		0xb17217f7d1cf79abULL	/* 2^64 ln(2) */
#define THROTTLE_RATE	SZ_512K		/* finer rates are kept whatever they cost */
#define THROTTLE_MAX	16384u	/* times the rate, at most */
/*
 * Taking samples may be 1 in so much of the time. As much again goes into the free
 * of their spans, which no cache takes, and allocations that find none cached.
 */
#define COST_SHARE	200

struct prof_bucket {
	struct hlist_node node;
	struct prof_bucket *next;	/* of all; constant */
	/* samples, by weight */
	atomic64_t allocs;
	atomic64_t frees;
	/* constant: the key; but call sites whose text goes become numbers, see
	 * spanheap_site.c, so that no later stack is the same
	 */
	u64 rate;
	u32 nr_pages;
	u32 depth;
	unsigned long stack[];		/* leaf first */
};

/* A sample whose span is in use */
struct prof_record {
	struct special sp;		/* first, see struct special */
	struct spanheap_prof *prof;
	struct prof_bucket *bucket;
	u32 weight;			/* samples that this one counts for */
};

struct spanheap_prof {
	u64 rate;			/* mean bytes between samples, 0: off */
	u64 last_rate;			/* the last one that was not 0 */
	u64 cost_ns;			/* of a sample, a moving average; 0: no throttling */
	atomic64_t dropped;		/* samples for which there was no memory */
	atomic64_t refused;		/* second records for a span */
	atomic64_t live;		/* records */
	atomic64_t bucket_bytes;
	spinlock_t lock;		/* adding a bucket; innermost */
	/* Buckets live as long as the heap: readers need no lock, and may sleep */
	DECLARE_HASHTABLE(bucket, BUCKET_BITS);
	struct prof_bucket *all;
};

/* On while a heap has a rate: off, the hot path has nothing of this file */
DEFINE_STATIC_KEY_FALSE(spanheap_prof_key);

/* ---- when to sample ---- */

/* -log2(u / 2^64), with LOG_BITS: the fraction bit by bit, by squaring */
static u64 neg_log2(u64 u)
{
	u64 log = ilog2(u), x = u << (63 - log) >> 1;	/* [1, 2), 62 bits behind the point */
	int i;

	for (i = 0; i < LOG_BITS; i++) {
		x = mul_u64_u64_shr(x, x, 62);
		log = log << 1 | x >> 63;
		x >>= x >> 63;
	}
	return (64ULL << LOG_BITS) - log;
}

/*
 * Bytes to the next sample, rounded down, for u uniform over all of its values.
 * Odd values only: they lie evenly between 0 and 2^64, and are never 0.
 */
s64 spanheap_prof_distance(u64 u, u64 rate)
{
	u64 ln = mul_u64_u64_shr(neg_log2(u | 1), LN2, 64);

	return mul_u64_u64_shr(ln, rate, LOG_BITS);
}

/*
 * 2^64 times the probability that n bytes are a sample: 1 - exp(-n / distance). n is
 * 2^44 at most, and a page at least: then all but some 30 bits of the result are right.
 */
u64 spanheap_prof_probability(u64 n, u64 distance)
{
	unsigned int doublings = 0;
	u64 x, x2, p;

	if (n >> 5 >= distance)
		return U64_MAX;		/* but for exp(-32) */
	for (; n << 10 > distance; doublings++)
		distance <<= 1;
	/* Below 1/1024 three terms of the series do */
	x = mul_u64_u64_div_u64(2 * n, 1ULL << 63, distance);
	x2 = mul_u64_u64_shr(x, x, 64);
	p = x - x2 / 2 + mul_u64_u64_shr(x, x2, 64) / 6;
	/* 1 - exp(-2x) is p (2 - p): what 2 p loses at the top, the difference does not have */
	while (doublings--)
		p = 2 * p - mul_u64_u64_shr(p, p, 64);
	return p;
}

/*
 * From there on. In pages, rounded down: what comes after the byte that is the sample
 * comes after all bytes of its page.
 */
static void draw_from(struct span_cache *c, s64 pages)
{
	u64 u = (u64)prandom_u32_state(&c->prof_rnd) << 32 | prandom_u32_state(&c->prof_rnd);
	s64 distance = spanheap_prof_distance(u, c->prof_distance);

	c->prof_at = c->prof_distance ? pages + (distance >> PAGE_SHIFT) : S64_MAX;
}

static void draw(struct span_cache *c)
{
	draw_from(c, c->n.popped_pages);
}

/* The rate is new: so is this CPU's next sample. In its section. */
void spanheap_prof_draw(struct spanheap *h, struct span_cache *c)
{
	c->prof_distance = READ_ONCE(h->prof->rate);
	draw(c);
}

/* A CPU that has not allocated yet draws when it does, see spanheap_prof_due() */
static bool has_drawn(struct cache_visit *v, struct span_cache *c)
{
	return READ_ONCE(c->prof_distance) || READ_ONCE(c->prof_at) ||
	       READ_ONCE(c->n.popped_pages);
}

static void redraw_visit(struct cache_visit *v, struct span_cache *c)
{
	spanheap_prof_draw(v->arg, c);
}

/* The rate has changed: what was drawn before does not matter any more */
void spanheap_cache_redraw(struct spanheap *h)
{
	struct cache_visit v = { .wanted = has_drawn, .fn = redraw_visit, .arg = h };

	if (!h->caches.cpu)
		return;
	synchronize_rcu();	/* a section that begins now draws with the new rate */
	spanheap_cache_visit_all(&h->caches, &v);
}

/*
 * This CPU is due a sample; in its section. Returns the distance it was drawn
 * with, 0: the profile is off. The next one's is doubled when samples come too
 * fast. When they are slow, it is halved until they would come about right.
 */
u64 spanheap_prof_due(struct spanheap *h, struct span_cache *c)
{
	u64 rate = READ_ONCE(h->prof->rate), distance = c->prof_distance, next = distance;
	u64 now = ktime_get_mono_fast_ns(), gap = now - c->prof_last;
	u64 least = COST_SHARE * READ_ONCE(h->prof->cost_ns);

	if (unlikely(!distance && rate)) {
		/* The first time: draw from where this CPU began */
		c->prof_distance = rate;
		draw_from(c, c->prof_at);
		if (c->n.popped_pages <= c->prof_at)
			return 0;
		distance = rate;
		next = rate;
	}
	c->prof_last = now;
	if (rate >= THROTTLE_RATE && gap < least)
		next = min(distance * 2, rate * THROTTLE_MAX);
	else if (distance > rate && gap > 4 * least)
		next = max(distance >> ilog2(div64_u64(gap, 2 * least + 1)), rate);
	c->prof_distance = min(next, SPANHEAP_PROF_RATE_MAX);
	draw(c);
	return rate ? distance : 0;
}

/*
 * Is an allocation a sample that no CPU's counter sees? An exponential distance
 * has no memory, so each allocation can be asked by itself.
 */
u64 spanheap_prof_chance(struct spanheap *h, u32 nr_pages)
{
	u64 rate = READ_ONCE(h->prof->rate);

	if (rate && get_random_u64() <
		    spanheap_prof_probability((u64)nr_pages << PAGE_SHIFT, rate))
		return rate;
	return 0;
}

/* Process context; the callers exclude each other */
int spanheap_prof_set_rate(struct spanheap *h, u64 rate)
{
	struct spanheap_prof *p = h->prof;
	u64 old = p->rate;

	if (rate > SPANHEAP_PROF_RATE_MAX)
		return -ERANGE;
	if (rate)
		WRITE_ONCE(p->last_rate, rate);
	WRITE_ONCE(p->rate, rate);
	spanheap_cache_redraw(h);
	if (rate && !old)
		static_branch_inc(&spanheap_prof_key);
	else if (!rate && old)
		static_branch_dec(&spanheap_prof_key);
	return 0;
}

/* ---- samples ---- */

static struct prof_bucket *find_bucket(struct spanheap_prof *p, u32 hash,
				       const unsigned long *stack, u32 depth,
				       u32 nr_pages, u64 rate)
{
	struct prof_bucket *b;

	hash_for_each_possible_rcu_notrace(p->bucket, b, node, hash)
		if (b->nr_pages == nr_pages && b->rate == rate && b->depth == depth &&
		    !memcmp(b->stack, stack, depth * sizeof(*stack)))
			return b;
	return NULL;
}

static struct prof_bucket *get_bucket(struct spanheap_prof *p, const unsigned long *stack,
				      u32 depth, u32 nr_pages, u64 rate, gfp_t gfp)
{
	u32 hash = jhash(stack, depth * sizeof(*stack),
			 jhash_3words(nr_pages, rate, rate >> 32, 0));
	struct prof_bucket *b, *old;
	unsigned long flags;

	b = find_bucket(p, hash, stack, depth, nr_pages, rate);
	if (b)
		return b;
	b = kzalloc(struct_size(b, stack, depth), gfp);
	if (!b)
		return NULL;
	memcpy(b->stack, stack, depth * sizeof(*stack));
	b->depth = depth;
	b->nr_pages = nr_pages;
	b->rate = rate;
	spin_lock_irqsave(&p->lock, flags);
	old = find_bucket(p, hash, stack, depth, nr_pages, rate);
	if (!old) {
		b->next = p->all;
		smp_store_release(&p->all, b);	/* pairs with all_buckets() */
		hash_add_rcu(p->bucket, &b->node, hash);
	}
	spin_unlock_irqrestore(&p->lock, flags);
	if (old) {
		kfree(b);
		return old;
	}
	atomic64_add(struct_size(b, stack, depth), &p->bucket_bytes);
	return b;
}

/* The stack from the caller of the allocation on, without frames of the heap */
static noinline unsigned int call_stack(unsigned long *stack, unsigned long caller)
{
	unsigned int n = compat_stack_trace_save(stack, DEPTH + DEPTH_OWN, 1), i;

	for (i = 0; i < n; i++) {
		if (stack[i] == caller) {
			memmove(stack, stack + i, (n - i) * sizeof(*stack));
			return min(n - i, DEPTH);
		}
	}
	/* The unwinder missed it, or is missing: what it found is below the caller, or wrong */
	stack[0] = caller;
	return 1;
}

/*
 * How many samples of rate a sample of nr_pages counts for that was taken at distance.
 * On average: the fraction is the probability of one more. Rounding to the nearest
 * would be a bias where few samples have many sizes.
 */
static u32 sample_weight(u32 nr_pages, u64 rate, u64 distance)
{
	u64 bytes = (u64)nr_pages << PAGE_SHIFT;

	if (distance == rate)
		return 1;
	/* 32 bits behind the point. No probability is below 2^-28: the quotient has 60 */
	return (mul_u64_u64_div_u64(spanheap_prof_probability(bytes, rate), 1ULL << 32,
				    spanheap_prof_probability(bytes, distance)) +
		get_random_u32()) >> 32;
}

/*
 * The span at addr, which was just handed out, is a sample. No lock is held. What
 * cannot be recorded for lack of memory is dropped and counted; the allocation
 * must not wait or fail for it.
 */
static void take_sample(struct spanheap *h, void *addr, u32 nr_pages, u64 distance,
			gfp_t gfp, unsigned long caller)
{
	unsigned long stack[DEPTH + DEPTH_OWN];
	struct spanheap_prof *p = h->prof;
	u64 rate = READ_ONCE(p->rate);
	struct prof_record *r = NULL;
	struct prof_bucket *b;
	u32 depth, weight;

	if (!rate)
		return;		/* it was set to 0 just now */
	weight = sample_weight(nr_pages, rate, distance);
	if (!weight)
		return;		/* distance is an older and finer rate's */
	gfp = (gfp & (GFP_KERNEL | __GFP_NOMEMALLOC | __GFP_NOLOCKDEP)) |
	      __GFP_NORETRY | __GFP_NOWARN;
	depth = call_stack(stack, caller);
	b = get_bucket(p, stack, depth, nr_pages, rate, gfp);
	if (b)
		r = kmalloc(sizeof(*r), gfp);
	if (!r) {
		atomic64_inc(&p->dropped);
		return;
	}
	r->sp.kind = SPECIAL_PROFILE;
	r->prof = p;
	r->bucket = b;
	r->weight = weight;
	atomic64_inc(&p->live);
	atomic64_add(weight, &b->allocs);	/* before a free can be seen */
	if (!spanheap_special_add(h, addr, &r->sp))
		return;
	/* Somebody freed a span that he does not have, or this is its second record */
	atomic64_sub(weight, &b->allocs);
	atomic64_dec(&p->live);
	atomic64_inc(&p->refused);
	kfree(r);
	pr_warn_ratelimited("profile record refused: the span at %p, allocated by %pS, has one or is not in use\n",
			    addr, (void *)caller);
}

/* distance: the one that made it a sample */
void spanheap_prof_sample(struct spanheap *h, void *addr, u32 nr_pages, u64 distance,
			  gfp_t gfp, unsigned long caller)
{
	u64 start = ktime_get_mono_fast_ns(), cost = READ_ONCE(h->prof->cost_ns), took;

	take_sample(h, addr, nr_pages, distance, gfp, caller);
	if (!cost)
		return;
	/* An interrupt or a wait for memory is not the usual cost */
	took = min(ktime_get_mono_fast_ns() - start, 4 * cost);
	WRITE_ONCE(h->prof->cost_ns, max((7 * cost + took) / 8, 1ULL));
}

/* The span of a sample was freed; called with no lock, in the context of the free */
static void record_freed(struct special *sp)
{
	struct prof_record *r = container_of(sp, struct prof_record, sp);

	atomic64_add(r->weight, &r->bucket->frees);
	atomic64_dec(&r->prof->live);
	kfree(r);
}

/* ---- the profile as text ---- */

static struct prof_bucket *all_buckets(struct spanheap_prof *p)
{
	return smp_load_acquire(&p->all);	/* get_bucket(): fields before the pointer */
}

/* Show fn() each call site of all stacks, which it may replace. It may sleep. */
void spanheap_prof_sites(struct spanheap *h,
			 void (*fn)(struct spanheap *h, unsigned long *site, void *arg),
			 void *arg)
{
	struct prof_bucket *b;
	u32 i;

	for (b = all_buckets(h->prof); b; b = b->next) {
		for (i = 0; i < b->depth; i++)
			fn(h, &b->stack[i], arg);
		cond_resched();
	}
}

static void bucket_sums(struct prof_bucket *b, u64 *inuse, u64 *allocs)
{
	u64 frees = atomic64_read(&b->frees);

	smp_rmb();	/* a free comes after its allocation: never below 0 */
	*allocs = atomic64_read(&b->allocs);
	*inuse = *allocs - frees;
}

static void show_bucket(struct spanheap *h, struct seq_file *m, struct prof_bucket *b,
			u64 rate)
{
	u64 bytes = (u64)b->nr_pages << PAGE_SHIFT, inuse, allocs;
	unsigned long site;
	char text[SITE_TEXT];
	unsigned int i;

	bucket_sums(b, &inuse, &allocs);
	seq_printf(m, "%llu: %llu [%llu: %llu] @", inuse, inuse * bytes, allocs,
		   allocs * bytes);
	for (i = 0; i < b->depth; i++)
		seq_printf(m, " 0x%lx", b->stack[i]);
	seq_putc(m, '\n');
	if (b->rate != rate)
		seq_printf(m, "#\trate %llu\n", b->rate);
	for (i = 0; i < b->depth; i++) {
		site = READ_ONCE(b->stack[i]);
		if (site > SITE_MAX)
			seq_printf(m, "#\t0x%lx\t%pB\n", site, (void *)site);
		else
			seq_printf(m, "#\t0x%lx\t%s\n", site, spanheap_site_text(h, site, text));
	}
	cond_resched();
}

/*
 * pprof's text format. Numbers are those of the samples at the rate; heap_v2 tells the
 * reader to divide them. Comments, which pprof skips, name the addresses, as those of a
 * Go program's heap profile do, and a rate other than the header's.
 */
void spanheap_prof_show(struct spanheap *h, struct seq_file *m)
{
	struct spanheap_prof *p = h->prof;
	u64 sum[4] = {}, inuse, allocs, rate = READ_ONCE(p->last_rate) ?: 1;
	struct prof_bucket *b;

	for (b = all_buckets(p); b; b = b->next) {
		bucket_sums(b, &inuse, &allocs);
		sum[0] += inuse;
		sum[1] += inuse * b->nr_pages << PAGE_SHIFT;
		sum[2] += allocs;
		sum[3] += allocs * b->nr_pages << PAGE_SHIFT;
	}
	seq_printf(m, "heap profile: %llu: %llu [%llu: %llu] @ heap_v2/%llu\n",
		   sum[0], sum[1], sum[2], sum[3], rate);
	for (b = all_buckets(p); b; b = b->next)
		show_bucket(h, m, b, rate);
	if (!READ_ONCE(p->rate))
		seq_puts(m, "# profile off\n");
	seq_printf(m, "# samples dropped for lack of memory: %llu\n# records refused: %llu\n",
		   (u64)atomic64_read(&p->dropped), (u64)atomic64_read(&p->refused));
}

u64 spanheap_prof_bytes(struct spanheap *h)
{
	return sizeof(*h->prof) + atomic64_read(&h->prof->bucket_bytes) +
	       atomic64_read(&h->prof->live) * sizeof(struct prof_record);
}

/* ---- life ---- */

int spanheap_prof_create(struct spanheap *h)
{
	h->prof = kvzalloc(sizeof(*h->prof), GFP_KERNEL);
	if (!h->prof)
		return -ENOMEM;
	spin_lock_init(&h->prof->lock);
	hash_init(h->prof->bucket);
	h->profile_freed = record_freed;
	return 0;
}

/* No sample is live any more */
void spanheap_prof_destroy(struct spanheap *h)
{
	struct prof_bucket *b, *next;

	if (!h->prof)
		return;
	if (h->prof->rate)
		static_branch_dec(&spanheap_prof_key);
	for (b = h->prof->all; b; b = next) {
		next = b->next;
		kfree(b);
	}
	kvfree(h->prof);
}

/* From here on samples cost no more than their share of the time */
void spanheap_prof_throttle(struct spanheap *h)
{
	WRITE_ONCE(h->prof->cost_ns, 1000);	/* a guess, until there are samples */
}

/* ---- the parameter ---- */

static DEFINE_MUTEX(param_lock);
static unsigned long profile_rate = SZ_512K;
static struct spanheap *param_heap;	/* param_lock; NULL: not yet, or no more */

static int set_profile_rate(const char *val, const struct kernel_param *kp)
{
	unsigned long rate;
	int err = kstrtoul(val, 0, &rate);

	if (err)
		return err;
	if (rate > SPANHEAP_PROF_RATE_MAX)
		return -ERANGE;
	mutex_lock(&param_lock);
	if (param_heap)
		err = spanheap_prof_set_rate(param_heap, rate);
	if (!err)
		profile_rate = rate;
	mutex_unlock(&param_lock);
	return err;
}

static const struct kernel_param_ops profile_rate_ops = {
	.set = set_profile_rate,
	.get = param_get_ulong,
};

module_param_cb(profile_rate, &profile_rate_ops, &profile_rate, 0644);
MODULE_PARM_DESC(profile_rate, "mean bytes allocated between two samples of the heap profile (default 524288, 0: no profile)");

/* h's rate is the parameter's from now on */
void spanheap_prof_start(struct spanheap *h)
{
	spanheap_prof_throttle(h);
	mutex_lock(&param_lock);
	spanheap_prof_set_rate(h, profile_rate);	/* in range, see set_profile_rate() */
	param_heap = h;
	mutex_unlock(&param_lock);
}

void spanheap_prof_stop(void)
{
	mutex_lock(&param_lock);
	param_heap = NULL;
	mutex_unlock(&param_lock);
}
