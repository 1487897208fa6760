// SPDX-License-Identifier: GPL-2.0
/*
 * The sampled heap profile: which call stacks allocated the memory that is in use.
 *
 * Allocations are sampled by bytes. The distance from one sample to the next is random,
 * exponentially distributed with the mean profile_rate. So an allocation of n bytes is
 * sampled with the probability 1 - exp(-n / rate), independent of all earlier allocations,
 * and no pattern of sizes is sampled too often or too rarely. The heap profiles of
 * tcmalloc and of the Go runtime (malloc.goc, mprof.goc of Go 1.3) use the same statistics.
 *
 * A sample is counted in the bucket of its call stack, size and rate. It is attached to
 * its span as a special, so that the free finds the bucket. A reader of the profile
 * divides the sums of a bucket by the probability of its size. This is exact, because a
 * bucket has one size.
 *
 * A CPU that allocates without touching the memory would spend its time on samples. So,
 * if the rate is THROTTLE_RATE or more, a CPU whose samples take more than their share of
 * the time (COST_SHARE) doubles its distance, and shortens it again later. The estimate
 * stays unbiased, because a distance does not depend on events after it was drawn. Such a
 * sample counts for as many samples as the rate would have taken.
 *
 * The hot path compares the existing counter popped_pages with prof_at.
 *
 * A bucket contains its call stack, as in Go. The kernel's stack depot would store the
 * stack once for all sizes, but never frees memory: neither a stack nor the hash table
 * that its first user allocates.
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
#define DEPTH_OWN	8u		/* most frames between the caller and here */
#define BUCKET_BITS	10
/*
 * Fraction bits of a logarithm. The smallest probability, of one page at the longest
 * distance, is 2^-28. With 48 bits its relative error is below a millionth.
 */
#define LOG_BITS	48
#define LN2		0xb17217f7d1cf79abULL	/* 2^64 ln(2) */
#define THROTTLE_RATE	SZ_512K		/* smaller rates are not throttled */
#define THROTTLE_MAX	16384u	/* longest distance, in multiples of the rate */
/*
 * Samples may take 1/COST_SHARE of the time. The frees of sampled spans take about the
 * same again, because these spans do not go to a cache and later allocations miss it.
 */
#define COST_SHARE	200

struct prof_bucket {
	struct hlist_node node;
	struct prof_bucket *next;	/* in the list of all buckets; constant */
	/* sums of the samples' weights */
	atomic64_t allocs;
	atomic64_t frees;
	/* The key; constant, but numbers replace call sites whose text is freed (see
	 * spanheap_site.c), so that no stack of new text matches
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
	u64 last_rate;			/* the last rate that was not 0 */
	u64 cost_ns;			/* moving average for a sample; 0: no throttling */
	atomic64_t dropped;		/* samples lost for lack of memory */
	atomic64_t refused;		/* records that could not be attached to the span */
	atomic64_t live;		/* records */
	atomic64_t bucket_bytes;
	spinlock_t lock;		/* adding a bucket; innermost */
	/* Buckets live as long as the heap: readers take no lock, and may sleep */
	DECLARE_HASHTABLE(bucket, BUCKET_BITS);
	struct prof_bucket *all;
};

/* Enabled while a heap has a rate. Disabled, the hot path skips the profile. */
DEFINE_STATIC_KEY_FALSE(spanheap_prof_key);

/* ---- when to sample ---- */

/* -log2(u / 2^64) with LOG_BITS fraction bits, which squaring finds one by one */
static u64 neg_log2(u64 u)
{
	u64 log = ilog2(u), x = u << (63 - log) >> 1;	/* in [1, 2), 62 fraction bits */
	int i;

	for (i = 0; i < LOG_BITS; i++) {
		x = mul_u64_u64_shr(x, x, 62);
		log = log << 1 | x >> 63;
		x >>= x >> 63;
	}
	return (64ULL << LOG_BITS) - log;
}

/*
 * Bytes to the next sample, rounded down, for a uniformly distributed u. Only odd values
 * are used: they lie evenly between 0 and 2^64, and are never 0.
 */
s64 spanheap_prof_distance(u64 u, u64 rate)
{
	u64 ln = mul_u64_u64_shr(neg_log2(u | 1), LN2, 64);

	return mul_u64_u64_shr(ln, rate, LOG_BITS);
}

/*
 * 2^64 times the probability that n bytes are a sample: 1 - exp(-n / distance). n is
 * between a page and 2^44. The upper 34 bits or so of the result are exact.
 */
u64 spanheap_prof_probability(u64 n, u64 distance)
{
	unsigned int doublings = 0;
	u64 x, x2, p;

	if (n >> 5 >= distance)
		return U64_MAX;		/* the error is below exp(-32) */
	for (; n << 10 > distance; doublings++)
		distance <<= 1;
	/* For x below 1/1024 three terms of the series are enough */
	x = mul_u64_u64_div_u64(2 * n, 1ULL << 63, distance);
	x2 = mul_u64_u64_shr(x, x, 64);
	p = x - x2 / 2 + mul_u64_u64_shr(x, x2, 64) / 6;
	/* 1 - exp(-2x) = p (2 - p). If 2 p overflows, the subtraction corrects it. */
	while (doublings--)
		p = 2 * p - mul_u64_u64_shr(p, p, 64);
	return p;
}

/*
 * Draw the distance to the next sample, from a value of n.popped_pages on. It is rounded
 * down to pages: the page that contains the drawn byte is the sample.
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

/* The rate has changed: draw this CPU's next sample again. In its section. */
void spanheap_prof_draw(struct spanheap *h, struct span_cache *c)
{
	c->prof_distance = READ_ONCE(h->prof->rate);
	draw(c);
}

/* Has this CPU drawn? One that has not allocated yet will draw in spanheap_prof_due(). */
static bool has_drawn(struct cache_visit *v, struct span_cache *c)
{
	return READ_ONCE(c->prof_distance) || READ_ONCE(c->prof_at) ||
	       READ_ONCE(c->n.popped_pages);
}

static void redraw_visit(struct cache_visit *v, struct span_cache *c)
{
	spanheap_prof_draw(v->arg, c);
}

/* The rate has changed: all CPUs that have drawn a sample draw again */
void spanheap_cache_redraw(struct spanheap *h)
{
	struct cache_visit v = { .wanted = has_drawn, .fn = redraw_visit, .arg = h };

	if (!h->caches.cpu)
		return;
	synchronize_rcu();	/* a section that begins now draws with the new rate */
	spanheap_cache_visit_all(&h->caches, &v);
}

/*
 * This CPU has reached prof_at; in its section. Returns the distance with which this
 * sample was drawn; 0: it is no sample. If samples come too fast, the next distance is
 * doubled. If they come slowly, it is reduced towards the rate.
 */
u64 spanheap_prof_due(struct spanheap *h, struct span_cache *c)
{
	u64 rate = READ_ONCE(h->prof->rate), distance = c->prof_distance, next = distance;
	u64 now = ktime_get_mono_fast_ns(), gap = now - c->prof_last;
	u64 least = COST_SHARE * READ_ONCE(h->prof->cost_ns);

	if (unlikely(!distance && rate)) {
		/* The CPU's first draw: prof_at is where its count began */
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
 * Is an allocation a sample? For allocations that no CPU's counter includes. The
 * exponential distribution has no memory, so each allocation is decided on its own.
 */
u64 spanheap_prof_chance(struct spanheap *h, u32 nr_pages)
{
	u64 rate = READ_ONCE(h->prof->rate);

	if (rate && get_random_u64() <
		    spanheap_prof_probability((u64)nr_pages << PAGE_SHIFT, rate))
		return rate;
	return 0;
}

/* Process context; callers serialise */
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
		/* b before the pointer to it: pairs with the acquire in all_buckets() */
		smp_store_release(&p->all, b);
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

/* Save the stack from the caller of the allocation on, without frames of the heap */
static noinline unsigned int call_stack(unsigned long *stack, unsigned long caller)
{
	unsigned int n = compat_stack_trace_save(stack, DEPTH + DEPTH_OWN, 1), i;

	for (i = 0; i < n; i++) {
		if (stack[i] == caller) {
			memmove(stack, stack + i, (n - i) * sizeof(*stack));
			return min(n - i, DEPTH);
		}
	}
	/* The stack lacks the caller, or there is no unwinder: the other frames are no help */
	stack[0] = caller;
	return 1;
}

/*
 * The number of samples at the rate for which one sample of nr_pages at distance counts.
 * A fraction is the probability of one more, so the average is exact. Rounding to the
 * nearest would cause a bias when few samples have many sizes.
 */
static u32 sample_weight(u32 nr_pages, u64 rate, u64 distance)
{
	u64 bytes = (u64)nr_pages << PAGE_SHIFT;

	if (distance == rate)
		return 1;
	/* 32 fraction bits. No probability is below 2^-28, so the quotient fits in 60 bits. */
	return (mul_u64_u64_div_u64(spanheap_prof_probability(bytes, rate), 1ULL << 32,
				    spanheap_prof_probability(bytes, distance)) +
		get_random_u32()) >> 32;
}

/*
 * Record the span at addr, which was just allocated, as a sample. No lock is held. If
 * there is no memory, the sample is dropped and counted, because the allocation must
 * neither wait nor fail for it.
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
		return;		/* the profile was switched off meanwhile */
	weight = sample_weight(nr_pages, rate, distance);
	if (!weight)
		return;		/* distance was drawn with an older, smaller rate */
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
	atomic64_add(weight, &b->allocs);	/* before a free can count it */
	if (!spanheap_special_add(h, addr, &r->sp))
		return;
	/* A bad free has already freed the span, or the span has a record already */
	atomic64_sub(weight, &b->allocs);
	atomic64_dec(&p->live);
	atomic64_inc(&p->refused);
	kfree(r);
	pr_warn_ratelimited("profile record refused: the span at %p, allocated by %pS, has one or is not in use\n",
			    addr, (void *)caller);
}

/* Take a sample and measure its cost. distance: as returned by spanheap_prof_due() */
void spanheap_prof_sample(struct spanheap *h, void *addr, u32 nr_pages, u64 distance,
			  gfp_t gfp, unsigned long caller)
{
	u64 start = ktime_get_mono_fast_ns(), cost = READ_ONCE(h->prof->cost_ns), took;

	take_sample(h, addr, nr_pages, distance, gfp, caller);
	if (!cost)
		return;
	/* Limit the effect of an interrupt or of a wait for memory on the average */
	took = min(ktime_get_mono_fast_ns() - start, 4 * cost);
	WRITE_ONCE(h->prof->cost_ns, max((7 * cost + took) / 8, 1ULL));
}

/* Count the free of a sampled span; called without a lock, in the context of the free */
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
	return smp_load_acquire(&p->all);	/* pairs with get_bucket() */
}

/* Call fn() for each call site of all stacks. fn() may replace the site, and may sleep. */
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

	/*
	 * Read frees before allocs, so that inuse is never negative. Pairs with the special
	 * lock, under which a sample is added after it was counted in allocs, and taken
	 * before it is counted in frees.
	 */
	smp_rmb();
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
 * Print the profile in pprof's text format. The numbers are sums of samples; "heap_v2"
 * tells the reader to divide them by the probability. pprof skips comment lines. These
 * give the names of the addresses, as in a Go program's heap profile, and a bucket's rate
 * if it differs from the header's.
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

/* Called when no sample is live any more */
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

/* Limit the cost of samples from now on. Heaps of unit tests have no limit by default. */
void spanheap_prof_throttle(struct spanheap *h)
{
	WRITE_ONCE(h->prof->cost_ns, 1000);	/* estimate until samples are measured */
}

/* ---- the parameter ---- */

static DEFINE_MUTEX(param_lock);
static unsigned long profile_rate = SZ_512K;
static struct spanheap *param_heap;	/* param_lock; NULL before start and after stop */

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

/* Apply the module parameter to h, now and whenever the parameter changes */
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
