// SPDX-License-Identifier: GPL-2.0
/*
 * Measures spanheap and the kernel's other allocators. run=NAME,... selects measurements,
 * which run when the module is loaded, or at boot if it is built in. Each prints one line
 * per repetition; tools/bench computes medians and ratios from these lines.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "bench.h"

static char *run;
module_param(run, charp, 0444);
MODULE_PARM_DESC(run, "measurements, separated by commas");
unsigned int bench_reps = 15;
module_param_named(reps, bench_reps, uint, 0444);
MODULE_PARM_DESC(reps, "repetitions of each (default 15)");
static bool poweroff;
module_param(poweroff, bool, 0444);
MODULE_PARM_DESC(poweroff, "turn the machine off afterwards");

static const struct {
	const char *name;
	int (*fn)(void);
} measurements[] = {
	{ "pair", bench_pair },
	{ "profile", bench_profile },
	{ "zero", bench_zero },
	{ "cold", bench_cold },
	{ "lookup", bench_lookup },
	{ "smp", bench_smp },
	{ "align", bench_align },
	{ "scale", bench_scale },
	{ "holes", bench_holes },
	{ "hold", bench_hold },
	{ "release", bench_release },
	{ "meta", bench_meta },
	{ "trace", bench_trace },
	{ "loads", bench_loads },
};

u64 bench_ps_per_kcycle;

static void calibrate(void)
{
	u64 ns = ktime_get_ns(), cycles = bench_cycles();

	mdelay(50);
	cycles = bench_cycles() - cycles;
	ns = ktime_get_ns() - ns;
	bench_ps_per_kcycle = div64_u64(ns * 1000000, cycles);
}

u64 bench_hist_at(const struct bench_hist *h, u32 per100k)
{
	u64 want = div_u64(h->n * per100k + 99999, 100000), seen = 0;
	u32 i;

	for (i = 0; i < HIST_BUCKETS - 1; i++) {
		seen += h->bucket[i];
		if (seen >= want)
			break;
	}
	if (i < 32)
		return i;
	/* the bucket's middle: 16 to 31 of them, shifted */
	return ((u64)(i % 16 + 16) << (i / 16 - 1)) + (1ULL << (i / 16 - 1)) / 2;
}

void bench_out(const char *what, const char *subject, u64 param,
	       const char *metric, u32 rep, u64 value)
{
	pr_info("BENCH\t%s\t%s\t%llu\t%s\t%u\t%llu\n", what, subject, param,
		metric, rep, value);
}

void bench_out_hist(const char *what, const char *subject, u64 param,
		    const char *op, u32 rep, const struct bench_hist *h)
{
	char metric[32];

	snprintf(metric, sizeof(metric), "%s p50", op);
	bench_out(what, subject, param, metric, rep, bench_ps(bench_hist_at(h, 50000)));
	snprintf(metric, sizeof(metric), "%s p99.9", op);
	bench_out(what, subject, param, metric, rep, bench_ps(bench_hist_at(h, 99900)));
	snprintf(metric, sizeof(metric), "%s max", op);
	bench_out(what, subject, param, metric, rep, bench_ps(h->max));
}

static int measure(const char *name)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(measurements); i++) {
		if (strcmp(measurements[i].name, name))
			continue;
		err = measurements[i].fn();
		if (err)
			pr_err("BENCH failed: %s: %d\n", name, err);
		else
			pr_info("BENCH done: %s\n", name);
		return err;
	}
	pr_err("BENCH failed: there is no %s\n", name);
	return -EINVAL;
}

static int __init bench_init(void)
{
	char *list, *p, *name;
	int err = 0;

	if (!run)
		return 0;
	calibrate();
	list = kstrdup(run, GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	p = list;
	while (!err && (name = strsep(&p, ",")))
		err = measure(name);
	kfree(list);
	if (poweroff)
		kernel_power_off();
	return err;
}

static void __exit bench_exit(void)
{
}

late_initcall_sync(bench_init);	/* built in: when there is a console */
module_exit(bench_exit);

MODULE_DESCRIPTION("Benchmark of spanheap");
MODULE_AUTHOR("The spanheap authors");
MODULE_LICENSE("GPL");
