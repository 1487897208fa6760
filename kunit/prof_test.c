// SPDX-License-Identifier: GPL-2.0
/*
 * The sampled heap profile. The tests compute estimates from its text, as a reader does.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/seq_file.h>
#include <compat/fault.h>

#include "fake_arena.h"

#define RATE		SZ_512K
#define DECAY		4261543595ull	/* exp(-PAGE_SIZE / RATE), 32 fraction bits */
#define TEXT_SIZE	SZ_1M
#define SITES		8

/* The profile's text */
static struct seq_file text;

/* Sums over the lines of a call site */
struct site {
	u64 inuse, inuse_bytes, allocs, alloc_bytes;	/* sums over the samples */
	u64 estimate;		/* allocated bytes, estimated from samples at RATE */
};

/* The leaf address identifies a call site here; any address can be used */
static unsigned long site_addr(u32 site)
{
	return (unsigned long)spanheap_prof_show + site;
}

static void *alloc_at(struct spanheap *h, u32 site, size_t nr, gfp_t gfp)
{
	return spanheap_heap_alloc(h, NULL, nr, 0, 0, gfp | __GFP_NOWARN, site_addr(site));
}

/* 2^32 times the probability that a span of nr pages is a sample: 1 - exp(-nr * page / RATE) */
static u64 probability(u64 nr)
{
	u64 left = 1ull << 32;

	while (nr--)
		left = left * DECAY >> 32;
	return (1ull << 32) - left;
}

static const char *read_profile(struct kunit *test, struct spanheap *h)
{
	text.count = 0;
	spanheap_prof_show(h, &text);
	KUNIT_ASSERT_LT(test, text.count, text.size);
	text.buf[text.count] = 0;
	return text.buf;
}

/* The sums in the profile for a call site; for all call sites, if site is SITES */
static struct site profile_of(struct kunit *test, struct spanheap *h, u32 site)
{
	const char *at = read_profile(test, h);
	struct site sum = {};

	while ((at = strchr(at, '\n'))) {
		u64 inuse, inuse_bytes, allocs, alloc_bytes;
		unsigned long leaf;
		int n;

		at++;
		n = sscanf(at, "%llu: %llu [%llu: %llu] @ 0x%lx", &inuse, &inuse_bytes,
			   &allocs, &alloc_bytes, &leaf);
		if (n != 5 || (site < SITES && leaf != site_addr(site)))
			continue;
		sum.inuse += inuse;
		sum.inuse_bytes += inuse_bytes;
		sum.allocs += allocs;
		sum.alloc_bytes += alloc_bytes;
		if (allocs)
			sum.estimate += div64_u64(alloc_bytes << 16,
				probability((alloc_bytes / allocs) >> PAGE_SHIFT) >> 16);
	}
	return sum;
}

static u64 header_rate(struct kunit *test, struct spanheap *h)
{
	u64 sum[4], rate;
	int n;

	n = sscanf(read_profile(test, h),
		   "heap profile: %llu: %llu [%llu: %llu] @ heap_v2/%llu\n",
		   &sum[0], &sum[1], &sum[2], &sum[3], &rate);
	KUNIT_ASSERT_EQ(test, n, 5);
	return rate;
}

/* Make every run take the same samples */
static void seed(struct spanheap *h)
{
	int cpu;

	for_each_possible_cpu(cpu)
		prandom_seed_state(&per_cpu_ptr(h->caches.cpu, cpu)->prof_rnd, 1964 + cpu);
}

/*
 * 2^64 (1 - exp(-x)) for x of 32, 16, ... 2^-28. In Python, with 60 digits:
 * int((1 - (-(Decimal(2) ** -i)).exp()) * 2 ** 64) for i in range(-5, 29)
 */
#define MAX_X		5
static const u64 exponential[] = {
	0xfffffffffffc6f73, 0xfffffe1caa445117, 0xffea03defbefd853, 0xfb4faa91f7b0c2e2,
	0xdd5aaab880fc68c0, 0xa1d2a7274c4320e5, 0x64ba681c834fb00c, 0x38a0830a9befa8bc,
	0x1e14aed893eef3c3, 0x0f82a021c7eae18d, 0x07e054abba514375, 0x03f80aa00882db6c,
	0x01fe0154aaeed834, 0x00ff802aa00221c7, 0x007fe00554aabbba, 0x003ff800aaa00088,
	0x001ffe001554aaae, 0x000fff8002aaa000, 0x0007ffe0005554aa, 0x0003fff8000aaaa0,
	0x0001fffe00015554, 0x0000ffff80002aaa, 0x00007fffe0000555, 0x00003ffff80000aa,
	0x00001ffffe000015, 0x00000fffff800002, 0x000007ffffe00000, 0x000003fffff80000,
	0x000001fffffe0000, 0x000000ffffff8000, 0x0000007fffffe000, 0x0000003ffffff800,
	0x0000001ffffffe00, 0x0000000fffffff80,
};

/* 2^64 times the probability that nr pages are a sample at a distance of 2^bits bytes */
static u64 exact_probability(struct kunit *test, u32 nr, u32 bits)
{
	u64 left = U64_MAX;
	int i, at;

	for (i = 0; nr >> i; i++) {
		if (!(nr >> i & 1))
			continue;
		at = (int)bits - PAGE_SHIFT - i + MAX_X;
		if (at < 0)
			return U64_MAX;		/* the error is at most exp(-64) */
		KUNIT_ASSERT_LT(test, at, (int)ARRAY_SIZE(exponential));
		left = mul_u64_u64_shr(left, ~exponential[at], 64);
	}
	return ~left;
}

static const u32 some_nr[] = { 1, 2, 3, 16, 31, 256, 1000, 1 << 18, (1 << 28) + 1 };

static u64 distance_of(u64 a, u64 b)
{
	return a > b ? a - b : b - a;
}

/* M36: the probability by which a reader divides is exact for each size and power of two */
static void probability_is_exact(struct kunit *test)
{
	u32 bits, i;

	for (bits = 0; bits <= 40; bits++) {
		for (i = 0; i < ARRAY_SIZE(some_nr); i++) {
			u64 want = exact_probability(test, some_nr[i], bits);
			u64 got = spanheap_prof_probability((u64)some_nr[i] << PAGE_SHIFT,
							    1ULL << bits);

			KUNIT_EXPECT_LE_MSG(test, distance_of(got, want), want >> 32,
					    "%u pages at 2^%u", some_nr[i], bits);
		}
	}
}

/*
 * For how many of the 2^64 values of u, less 1, nr pages are a sample: a larger u gives
 * a shorter distance
 */
static u64 nr_sampled(u32 nr, u64 rate)
{
	s64 bytes = (s64)nr << PAGE_SHIFT;
	u64 u = 0, bit;

	if (spanheap_prof_distance(0, rate) < bytes)
		return U64_MAX;
	for (bit = 1ULL << 63; bit; bit >>= 1)
		if (spanheap_prof_distance(u | bit, rate) >= bytes)
			u |= bit;
	return U64_MAX - u - 1;
}

/*
 * M36: distances are exponentially distributed with the rate as their mean: nr pages are
 * a sample with the probability 1 - exp(-nr pages / rate). The test has no sampling error,
 * because it searches the quantile among all u.
 */
static void distances_are_exponential(struct kunit *test)
{
	u32 bits, i;

	for (bits = 0; bits <= 40; bits++) {
		u64 rate = 1ULL << bits, longest = 44361 * rate / 1000;

		for (i = 0; i < ARRAY_SIZE(some_nr); i++) {
			u64 want = exact_probability(test, some_nr[i], bits);
			u64 got = nr_sampled(some_nr[i], rate);

			KUNIT_EXPECT_LE_MSG(test, distance_of(got, want), want >> 19,
					    "%u pages at 2^%u", some_nr[i], bits);
			/* the complement, too, because it is small for many pages */
			KUNIT_EXPECT_LE_MSG(test, distance_of(got, want),
					    (~want >> 19) + 8,
					    "all but %u pages at 2^%u", some_nr[i], bits);
		}
		/* The longest distance is 64 ln(2) times the rate */
		KUNIT_EXPECT_LE(test, distance_of(spanheap_prof_distance(0, rate), longest),
				rate / 1000 + 1);
		KUNIT_EXPECT_EQ(test, spanheap_prof_distance(U64_MAX, rate), 0);
	}
}

/* Sample allocations of 1 and 31 pages in turn, by the CPU's counter */
static void one_and_31(struct kunit *test, struct spanheap *h, struct span_cache *c,
		       const char *what)
{
	static const u32 nr[] = { 1, 31 };
	u64 allocs[2] = {}, estimate[2] = {};	/* estimate has 16 fraction bits */
	u32 samples = 1 << 17, turn = 0, i;

	while (samples--) {
		u64 rounds = (c->prof_at - c->n.popped_pages) / 32, distance;

		/* Skip rounds without a sample */
		c->n.popped_pages += rounds * 32;
		allocs[0] += rounds;
		allocs[1] += rounds;
		do {
			i = turn;
			turn = !turn;
			c->n.popped_pages += nr[i];
			allocs[i]++;
		} while (c->n.popped_pages <= c->prof_at);
		distance = spanheap_prof_due(h, c);
		/* All distances are powers of two */
		estimate[i] += U64_MAX /
			       (exact_probability(test, nr[i], ilog2(distance)) >> 16);
	}
	/* At least 4,096 samples of one page; the bound is 5 standard deviations */
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_LE_MSG(test, distance_of(estimate[i] >> 16, allocs[i]),
				    allocs[i] / 13, "%u pages, distance %llu, %s", nr[i],
				    c->prof_distance, what);
}

/* M36: alternating sizes are both estimated right, at every distance of the throttle */
static void no_size_is_favoured(struct kunit *test)
{
	struct spanheap *h = test->priv;
	struct span_cache *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	u64 rate;

	KUNIT_ASSERT_NOT_NULL(test, c);
	prandom_seed_state(&c->prof_rnd, 1976);
	for (rate = 1; rate <= SPANHEAP_PROF_RATE_MAX; rate *= 2) {
		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, rate), 0);
		spanheap_prof_draw(h, c);
		one_and_31(test, h, c, "the rate");
	}
	/* No time passes, so the throttle stays at or near the longest distance */
	spanheap_prof_throttle(h);
	for (rate = SZ_512K; rate <= SPANHEAP_PROF_RATE_MAX; rate *= 8) {
		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, rate), 0);
		spanheap_prof_draw(h, c);
		c->prof_distance = min(16384 * rate, SPANHEAP_PROF_RATE_MAX);
		c->prof_last = ktime_get_mono_fast_ns();
		spanheap_prof_due(h, c);
		one_and_31(test, h, c, "throttled");
	}
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
}

/* M36: the same for allocations that no CPU's counter includes */
static void chance_is_as_good(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 i, hits, bits;

	for (bits = 0; bits <= 40; bits++) {
		u32 nr = 1 << max((int)bits - PAGE_SHIFT, 0);
		u64 want = exact_probability(test, nr, bits) >> 32, n = 40000;

		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1ULL << bits), 0);
		for (hits = i = 0; i < n; i++)
			hits += !!spanheap_prof_chance(h, nr);
		/* 8 standard deviations, because the random numbers differ in each run */
		KUNIT_EXPECT_LE_MSG(test, distance_of(hits, n * want >> 32), 800ull,
				    "%u pages at 2^%u", nr, bits);
	}
	/* Probability 2^-28: three samples in a million have a probability of 10^-8 */
	for (hits = i = 0; i < 1000000; i++)
		hits += !!spanheap_prof_chance(h, 1);
	KUNIT_EXPECT_LT(test, hits, 3u);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
}

/* Pages of the i-th allocation of a call site */
static u32 some_pages(struct rnd_state *rnd, u32 site)
{
	u32 r = prandom_u32_state(rnd);

	switch (site) {
	case 0:
		return 1;
	case 1:
		return 1 + r % 4;
	case 2:
		return 1 + r % CACHE_PAGES;
	case 3:
		return CACHE_PAGES;
	case 4:
		return CACHE_PAGES + 1 + r % 48;
	case 5:
		return 1 + r % SMALL_PAGES;
	case 6:
		return SMALL_PAGES;
	default:	/* mostly short spans, seldom long ones */
		return r % 256 ? 1 : 200;
	}
}

/*
 * M36: a million allocations of 1 to 256 pages, with and without the cache: the estimated
 * bytes of each call site are within 10 %, and freed spans are no longer in the profile
 */
static void estimate_is_near_the_truth(struct kunit *test)
{
	/* Room for 6 spans of 256 pages, also with bad fragmentation */
	struct spanheap *h = test_heap_new(test, &fake_ops, 2 * ARENA, 256);
	void *live[6] = {};
	struct rnd_state rnd;
	u64 bytes[SITES] = {}, samples = 0;
	u32 i;

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, RATE), 0);
	seed(h);
	prandom_seed_state(&rnd, 1968);
	for (i = 0; i < 1000000; i++) {
		u32 site = prandom_u32_state(&rnd) % SITES;
		u32 nr = some_pages(&rnd, site), slot = i % ARRAY_SIZE(live);

		release(h, live[slot]);
		live[slot] = alloc_at(h, site, nr, GFP_KERNEL);
		if (!live[slot])
			break;
		bytes[site] += (u64)nr << PAGE_SHIFT;
		if (i % 4096 == 0)
			cond_resched();
	}
	KUNIT_EXPECT_EQ(test, i, 1000000u);
	for (i = 0; i < ARRAY_SIZE(live); i++)
		release(h, live[i]);
	for (i = 0; i < SITES; i++) {
		struct site got = profile_of(test, h, i);

		kunit_info(test, "site %u: %llu bytes, %llu samples, estimated %llu\n",
			   i, bytes[i], got.allocs, got.estimate);
		KUNIT_EXPECT_LE(test, abs((s64)got.estimate - (s64)bytes[i]),
				(s64)div_u64(bytes[i], 10));
		KUNIT_EXPECT_GT(test, got.allocs, 500ull);
		KUNIT_EXPECT_EQ(test, got.inuse, 0ull);
		samples += got.allocs;
	}
	KUNIT_EXPECT_EQ(test, profile_of(test, h, SITES).allocs, samples);
	check(test, h);
	test_heap_end(h);
}

static u32 nr_samples;
static void (*record_freed)(struct special *sp);

static void count_freed(struct special *sp)
{
	nr_samples++;
	record_freed(sp);
}

/* M36: a sample of one page at the longest distance counts for many samples */
static void rare_sample_counts_for_many(struct kunit *test)
{
	static const u64 rate[] = { 600000, SZ_512K, SZ_4M + 1 };
	/* (1 - exp(-4096 / rate)) / (1 - exp(-4096 / (16384 rate))) */
	static const u64 want[] = { 16328, 16320, 16376 };
	struct spanheap *h = test->priv;
	struct span_cache *c;
	u64 before = 0, got;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(rate); i++) {
		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, rate[i]), 0);
		c = raw_cpu_ptr(h->caches.cpu);
		c->prof_distance = 16384 * rate[i];
		c->prof_at = c->n.popped_pages - 1;
		release(h, alloc_at(h, 0, 1, GFP_KERNEL));
		got = profile_of(test, h, 0).allocs - before;
		KUNIT_EXPECT_LE(test, abs((s64)got - (s64)want[i]), (s64)want[i] / 100);
		before += got;
	}
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
	check(test, h);
}

/*
 * M36: fractions of a sample's weight count on average, also if each size has one sample
 * only. Samples at different distances share a line of the profile.
 */
static void fractions_are_not_lost(struct kunit *test)
{
	const u32 sizes = 200, times = 20;
	struct spanheap *h = test->priv;
	u64 want = 0, rate = SZ_4M, distance;
	u32 nr, i, lines = 0;
	const char *at;
	void *p;

	/* With the rate 0 the allocations themselves are not sampled */
	for (i = 0; i < times * sizes; i++) {
		nr = 1 + i % sizes;
		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
		p = alloc_at(h, 1, nr, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, rate), 0);
		distance = i / sizes % 2 ? 4 * rate : 2 * rate;
		spanheap_prof_sample(h, p, nr, distance, GFP_KERNEL, site_addr(1));
		want += div64_u64(spanheap_prof_probability(nr * PAGE_SIZE, rate),
				  spanheap_prof_probability(nr * PAGE_SIZE, distance) >> 16);
		release(h, p);
	}
	/* The error of one is 1/2 at most, of 4,000 it is 32: 5 standard deviations */
	KUNIT_EXPECT_LE(test, distance_of(profile_of(test, h, 1).allocs, want >> 16), 160ull);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 1).inuse, 0ull);
	for (at = text.buf; (at = strstr(at, "] @ 0x")); at++)
		lines++;
	KUNIT_EXPECT_EQ(test, lines, sizes);
	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
	check(test, h);
}

/* M36: a CPU that only allocates samples less often, without a bias */
static void throttled_estimate_is_near_the_truth(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 256);
	u64 bytes, distance = 0;
	struct site got;
	u32 i;
	int cpu;

	nr_samples = 0;
	record_freed = h->profile_freed;
	h->profile_freed = count_freed;
	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, RATE), 0);
	spanheap_prof_throttle(h);
	for (i = 0; i < 1000000 || (nr_samples < 400 && i < 400000000); i++) {
		release(h, alloc_at(h, 3, 16, GFP_KERNEL));
		if (i % 4096 == 0)
			cond_resched();
	}
	bytes = i * 16ull * PAGE_SIZE;
	for_each_possible_cpu(cpu)
		distance = max(distance, per_cpu_ptr(h->caches.cpu, cpu)->prof_distance);
	KUNIT_EXPECT_GT(test, distance, (u64)RATE);
	KUNIT_EXPECT_GE(test, nr_samples, 400u);
	got = profile_of(test, h, 3);
	kunit_info(test, "%llu bytes, %u samples, estimated %llu, mean distance %llu at the end\n",
		   bytes, nr_samples, got.estimate, distance);
	/* 4 to 6 standard deviations, because the weights of the samples differ */
	KUNIT_EXPECT_LE(test, abs((s64)got.estimate - (s64)bytes), (s64)div_u64(bytes * 3, 10));
	/* A smaller rate is not throttled */
	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 4096), 0);
	for (i = 0; i < 1000; i++)
		release(h, alloc_at(h, 4, 64, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 4).allocs, 1000ull);
	check(test, h);
	test_heap_end(h);
}

/* Allocations of 16 pages that take some ns each, by a throttled CPU */
struct throttled {
	struct spanheap *h;
	struct span_cache c;
	u64 gap;		/* ns since the last sample */
	u32 samples;
	u64 pages, estimate;
};

static void run_throttled(struct throttled *t, u32 n, u32 ns)
{
	struct span_cache *c = &t->c;
	u64 distance;

	t->pages += n * 16;
	while (n--) {
		c->n.popped_pages += 16;
		t->gap += ns;
		if (c->n.popped_pages <= c->prof_at)
			continue;
		c->prof_last = ktime_get_mono_fast_ns() - t->gap;
		distance = spanheap_prof_due(t->h, c);
		t->gap = 0;
		t->samples++;
		/* x / (1 - exp(-x)) is about 1 + x / 2 + x^2 / 12; x is 1/8 at most */
		t->estimate += (distance >> PAGE_SHIFT) + 8 +
			       div64_u64(16 * 16 * PAGE_SIZE / 12, distance);
	}
}

static struct throttled *begin_throttled(struct kunit *test)
{
	struct throttled *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->h = test->priv;
	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(t->h, RATE), 0);
	spanheap_prof_throttle(t->h);	/* assumes 1,000 ns for a sample */
	prandom_seed_state(&t->c.prof_rnd, 1970);
	spanheap_prof_draw(t->h, &t->c);
	return t;
}

/* M36: the throttle keeps its share of the (simulated) time, and ends when samples are slow */
static void throttle_keeps_its_share(struct kunit *test)
{
	struct throttled *t = begin_throttled(test);

	run_throttled(t, 20000000, 50);
	kunit_info(test, "%u samples in 1 s\n", t->samples);
	/* 0.5 % of the time is 5,000 samples: stay below, but do not stop sampling */
	KUNIT_EXPECT_LT(test, t->samples, 5000u);
	KUNIT_EXPECT_GT(test, t->samples, 1000u);
	/* With slow allocations the distance is the rate again after a few samples */
	run_throttled(t, 10 * div64_u64(t->c.prof_distance, 16 * PAGE_SIZE), 1000000);
	KUNIT_EXPECT_EQ(test, t->c.prof_distance, (u64)RATE);
	/* If no time passes, the distance stops at its bound */
	run_throttled(t, 10000000, 0);
	KUNIT_EXPECT_EQ(test, t->c.prof_distance, 16384ull * RATE);
}

/*
 * M36: a CPU alternates between fast and slow allocations. The throttle adapts, and a
 * sample of either kind counts with the distance with which it was drawn.
 */
static void throttle_favours_nobody(struct kunit *test)
{
	struct throttled *fast = begin_throttled(test), *slow = begin_throttled(test);
	u32 i;

	for (i = 0; i < 3000; i++) {
		run_throttled(fast, 40000, 50);
		slow->c = fast->c;
		slow->gap = fast->gap;
		run_throttled(slow, 4000, 5000);
		fast->c = slow->c;
		fast->gap = slow->gap;
		cond_resched();
	}
	kunit_info(test, "fast: %llu pages, %u samples, estimated %llu\n", fast->pages,
		   fast->samples, fast->estimate);
	kunit_info(test, "slow: %llu pages, %u samples, estimated %llu\n", slow->pages,
		   slow->samples, slow->estimate);
	KUNIT_EXPECT_LE(test, abs((s64)(fast->estimate - fast->pages)),
			(s64)div_u64(fast->pages, 10));
	/* Fewer samples, with weights that differ more: 5 standard deviations */
	KUNIT_EXPECT_LE(test, abs((s64)(slow->estimate - slow->pages)),
			(s64)div_u64(slow->pages * 15, 100));
}

/* The same in a heap without caches, where no CPU has a counter */
static void estimate_needs_no_cache(struct kunit *test)
{
	struct spanheap *h = test_heap_new(test, &fake_ops, ARENA, 0);
	const u64 bytes = 200000ull * 16 * PAGE_SIZE;
	struct site got;
	u32 i;

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, RATE), 0);
	for (i = 0; i < 200000; i++)
		release(h, alloc_at(h, 3, 16, GFP_KERNEL));
	got = profile_of(test, h, 3);
	kunit_info(test, "%llu bytes, %llu samples, estimated %llu\n", bytes, got.allocs,
		   got.estimate);
	/* 18 standard deviations, because the samples differ in each run */
	KUNIT_EXPECT_LE(test, abs((s64)got.estimate - (s64)bytes), (s64)div_u64(bytes, 10));
	test_heap_end(h);
}

/* M32, M36: at rate 1 every span is sampled, and a free finds the bucket of its span */
static void frees_are_matched(struct kunit *test)
{
	static const u32 pages[] = { 1, 3, 16, 17, 256, 300 };
	struct spanheap *h = test->priv;
	void *p[2 * ARRAY_SIZE(pages)];
	u64 meta, total = 0;
	struct site got;
	u32 i, n = ARRAY_SIZE(pages);

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	meta = stats(h)->other_meta_bytes;
	for (i = 0; i < 2 * n; i++) {	/* the second half comes from the cache */
		p[i] = alloc_at(h, 2, pages[i % n], GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
		total += (u64)pages[i % n] << PAGE_SHIFT;
		if (i < n)
			release(h, p[i]);
	}
	got = profile_of(test, h, 2);
	KUNIT_EXPECT_EQ(test, got.allocs, 2ull * n);
	KUNIT_EXPECT_EQ(test, got.alloc_bytes, total);
	KUNIT_EXPECT_EQ(test, got.inuse, (u64)n);
	KUNIT_EXPECT_EQ(test, got.inuse_bytes, total / 2);
	KUNIT_EXPECT_GT(test, stats(h)->other_meta_bytes, meta);
	check(test, h);

	/* The bucket keeps the size at allocation */
	KUNIT_EXPECT_TRUE(test, resize(h, p[2 * n - 1], 2));
	release(h, p[2 * n - 1]);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 2).inuse_bytes,
			total / 2 - pages[n - 1] * PAGE_SIZE);

	/* With sampling off, frees of spans sampled before are still matched */
	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
	meta = stats(h)->other_meta_bytes;
	for (i = n; i < 2 * n - 1; i++)
		release(h, p[i]);
	got = profile_of(test, h, 2);
	KUNIT_EXPECT_EQ(test, got.allocs, 2ull * n);
	KUNIT_EXPECT_EQ(test, got.inuse, 0ull);
	KUNIT_EXPECT_EQ(test, got.inuse_bytes, 0ull);
	KUNIT_EXPECT_LT(test, stats(h)->other_meta_bytes, meta);
	check(test, h);
}

/* A heap with the rate 0 samples nothing, even if another heap samples */
static void rate_0_samples_nothing(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 i;

	for (i = 0; i < 10000; i++)
		release(h, alloc_at(h, 1, 1 + i % 32, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, profile_of(test, h, SITES).allocs, 0ull);
	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
	for (i = 0; i < 10000; i++)
		release(h, alloc_at(h, 1, 1 + i % 32, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, profile_of(test, h, SITES).allocs, 0ull);
	/* Without samples any rate but 0 may be in the header */
	KUNIT_EXPECT_EQ(test, header_rate(test, h), 1ull);
}

/* A new rate takes effect before the next sample of the old rate */
static void rate_changes_at_once(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 i;

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, SPANHEAP_PROF_RATE_MAX), 0);
	seed(h);
	for (i = 0; i < 100; i++)
		release(h, alloc_at(h, 1, 1 + i % 32, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 1).allocs, 0ull);
	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 4096), 0);
	for (i = 0; i < 1000; i++)
		release(h, alloc_at(h, 1, 16, GFP_KERNEL));
	KUNIT_EXPECT_GE(test, profile_of(test, h, 1).allocs, 999ull);
	KUNIT_EXPECT_EQ(test, header_rate(test, h), 4096ull);
	KUNIT_EXPECT_NULL(test, strstr(text.buf, "#\trate"));

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	release(h, alloc_at(h, 1, 16, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, header_rate(test, h), 1ull);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text.buf, "#\trate 4096\n"));
	KUNIT_EXPECT_NOT_NULL(test, strstr(text.buf, "0: 0 [1: 65536] @"));

	KUNIT_EXPECT_EQ(test, spanheap_prof_set_rate(h, SPANHEAP_PROF_RATE_MAX + 1), -ERANGE);
	KUNIT_EXPECT_EQ(test, header_rate(test, h), 1ull);
}

/* M31: a span has one record; a second one is refused and reported */
static void second_record_is_refused(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p;

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	p = alloc_at(h, 1, 4, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	log_start();
	spanheap_prof_sample(h, p, 4, 1, GFP_KERNEL, site_addr(2));
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("profile record refused"), 1u);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 1).inuse, 1ull);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 2).allocs, 0ull);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text.buf, "# records refused: 1\n"));
	check(test, h);
	release(h, p);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 1).inuse, 0ull);

	log_start();
	spanheap_prof_sample(h, p, 4, 1, GFP_KERNEL, site_addr(2));	/* p is not in use */
	log_stop();
	KUNIT_EXPECT_EQ(test, log_count("profile record refused"), 1u);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, SITES).allocs, 1ull);
	KUNIT_EXPECT_EQ(test, stats(h)->invalid_frees, 0ull);
	check(test, h);
}

/* Frames in the only line of the profile with in-use spans of nr pages. 0: not one line. */
static u32 depth_of(struct kunit *test, struct spanheap *h, u32 nr)
{
	u32 depth = 0;
	char line[40];
	const char *at;

	snprintf(line, sizeof(line), "\n1: %lu [1: %lu] @", nr * PAGE_SIZE, nr * PAGE_SIZE);
	at = strstr(read_profile(test, h), line);
	if (!at || strstr(at + 1, line))
		return 0;
	for (at += strlen(line); *at && *at != '\n'; at++)
		depth += *at == ' ';
	return depth;
}

/* Call stacks with different frames are different; equal stacks are stored once */
static void stacks_are_counted(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u64 meta[5], record = sizeof(struct special) + 3 * sizeof(u64);
	u32 depth;
	void *p[5];

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	/* Let the page heap allocate its own structures first */
	release(h, alloc_at(h, 2, 1, GFP_KERNEL));
	p[0] = alloc_at(h, 2, 1, GFP_KERNEL);
	meta[0] = stats(h)->other_meta_bytes;
	/* A caller that is not on the stack gets one frame, this function more (not in UML) */
	p[1] = alloc_at(h, 1, 3, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, depth_of(test, h, 3), 1u);
	meta[1] = stats(h)->other_meta_bytes;
	p[2] = spanheap_heap_alloc(h, NULL, 4, 0, 0, GFP_KERNEL, _RET_IP_);
	depth = depth_of(test, h, 4);
	KUNIT_EXPECT_GE(test, depth, IS_ENABLED(CONFIG_UML) ? 1u : 2u);
	KUNIT_EXPECT_LE(test, depth, 32u);
	meta[2] = stats(h)->other_meta_bytes;
	KUNIT_EXPECT_EQ(test, meta[1] - meta[0], record + 56 + sizeof(long));
	KUNIT_EXPECT_EQ(test, meta[2] - meta[1], record + 56 + depth * sizeof(long));
	/* The same stack and size again, and the same size with another stack */
	p[3] = alloc_at(h, 1, 3, GFP_KERNEL);
	meta[3] = stats(h)->other_meta_bytes;
	KUNIT_EXPECT_EQ(test, meta[3] - meta[2], record);
	p[4] = alloc_at(h, 2, 3, GFP_KERNEL);
	meta[4] = stats(h)->other_meta_bytes;
	KUNIT_EXPECT_EQ(test, meta[4] - meta[3], record + 56 + sizeof(long));
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 1).inuse, 2ull);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 2).inuse, 2ull);
	check(test, h);
	release(h, p[0]);
	release(h, p[1]);
	release(h, p[2]);
	release(h, p[3]);
	release(h, p[4]);
	KUNIT_EXPECT_EQ(test, meta[4] - stats(h)->other_meta_bytes, 5 * record);
}

/* More stacks than hash chains, so that a chain has several buckets */
static void many_stacks_are_told_apart(struct kunit *test)
{
	struct spanheap *h = test->priv;
	u32 i, lines = 0, n = 2000;
	const char *at;

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	for (i = 0; i < 2 * n; i++)
		release(h, alloc_at(h, i % n, 1, GFP_KERNEL));
	at = read_profile(test, h);
	while ((at = strstr(at, "\n0: 0 [2: 8192] @"))) {
		lines++;
		at++;
	}
	KUNIT_EXPECT_EQ(test, lines, n);
	KUNIT_EXPECT_EQ(test, profile_of(test, h, SITES).allocs, 2ull * n);
}

/* Without memory for its record a sample is dropped and counted */
static void sample_may_find_no_memory(struct kunit *test)
{
	struct spanheap *h = test->priv;
	void *p;
	u32 n;

	KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
	release(h, alloc_at(h, 1, 1, GFP_KERNEL));
	/* The failing allocation is the record of a span of one page, or the bucket of others */
	for (n = 1; n < 10; n++) {
		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 0), 0);
		release(h, alloc_at(h, 1, n, GFP_KERNEL));	/* into the cache */
		KUNIT_ASSERT_EQ(test, spanheap_prof_set_rate(h, 1), 0);
		if (compat_fail_nth(1) < 0)
			kunit_skip(test, "needs CONFIG_FAULT_INJECTION");
		p = alloc_at(h, 1, n, GFP_NOWAIT);
		KUNIT_EXPECT_EQ(test, compat_fail_nth(0), 0);
		KUNIT_EXPECT_NOT_NULL(test, p);
		release(h, p);
	}
	KUNIT_EXPECT_EQ(test, profile_of(test, h, 1).allocs, 1ull);
	KUNIT_EXPECT_NOT_NULL(test, strstr(text.buf, "# samples dropped for lack of memory: 9\n"));
	check(test, h);
}

static int prof_init(struct kunit *test)
{
	text.buf = kvmalloc(TEXT_SIZE, GFP_KERNEL);
	text.size = TEXT_SIZE;
	return text.buf ? test_cached_heap_init(test) : -ENOMEM;
}

static void prof_exit(struct kunit *test)
{
	test_heap_exit(test);
	kvfree(text.buf);
}

static struct kunit_case prof_cases[] = {
	KUNIT_CASE(probability_is_exact),
	KUNIT_CASE(distances_are_exponential),
	KUNIT_CASE(no_size_is_favoured),
	KUNIT_CASE(chance_is_as_good),
	KUNIT_CASE(estimate_is_near_the_truth),
	KUNIT_CASE(rare_sample_counts_for_many),
	KUNIT_CASE(fractions_are_not_lost),
	KUNIT_CASE(throttled_estimate_is_near_the_truth),
	KUNIT_CASE(throttle_keeps_its_share),
	KUNIT_CASE(throttle_favours_nobody),
	KUNIT_CASE(estimate_needs_no_cache),
	KUNIT_CASE(frees_are_matched),
	KUNIT_CASE(rate_0_samples_nothing),
	KUNIT_CASE(rate_changes_at_once),
	KUNIT_CASE(second_record_is_refused),
	KUNIT_CASE(stacks_are_counted),
	KUNIT_CASE(many_stacks_are_told_apart),
	KUNIT_CASE(sample_may_find_no_memory),
	{}
};

static struct kunit_suite prof_suite = {
	.name = "spanheap_prof",
	.init = prof_init,
	.exit = prof_exit,
	.test_cases = prof_cases,
};

kunit_test_suite(prof_suite);
