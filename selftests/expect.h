/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the test modules. Each has a parameter "run", which names a case. */
#ifndef _SPANHEAP_SELFTESTS_EXPECT_H
#define _SPANHEAP_SELFTESTS_EXPECT_H

#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/spanheap.h>
#include <linux/string.h>

#define RUN(default_case)						\
static char *run = default_case;					\
module_param(run, charp, 0444);						\
MODULE_PARM_DESC(run, "name of the case")

#define EXPECT(cond) do {						\
	if (!(cond)) {							\
		pr_err("%s:%d: not true: %s\n", run, __LINE__, #cond);	\
		return -EINVAL;						\
	}								\
} while (0)

static inline struct spanheap_stats stats(void)
{
	struct spanheap_stats st;

	spanheap_get_stats(&st);
	return st;
}

struct test_case {
	const char *name;
	int (*fn)(void);
};

/* Run the named case; the list ends with {} */
static inline int run_case(const struct test_case *c, const char *name)
{
	for (; c->name; c++)
		if (!strcmp(c->name, name))
			return c->fn();
	pr_err("there is no case %s\n", name);
	return -ENOENT;
}

/* Like run_case() with a client, which stays registered if the case passes */
static inline int run_client_case(const struct spanheap_client_attr *attr,
				  struct spanheap_client **client,
				  const struct test_case *c, const char *name)
{
	int err;

	*client = spanheap_client_register(attr);
	if (IS_ERR(*client))
		return PTR_ERR(*client);
	err = run_case(c, name);
	if (err)
		spanheap_client_unregister(*client);
	return err;
}

#define TEST_THREADS	4

/* Run fn(number) in each of several threads, spread over the CPUs; returns when all ended */
static inline int run_threads(int (*fn)(void *data))
{
	struct task_struct *t[TEST_THREADS];
	unsigned long i, n;
	int err = 0;

	for (n = 0; n < TEST_THREADS; n++) {
		t[n] = kthread_create(fn, (void *)n, "sh_test%lu", n);
		if (IS_ERR(t[n])) {
			err = PTR_ERR(t[n]);
			break;		/* the others never run */
		}
		kthread_bind(t[n], n % num_online_cpus());
	}
	for (i = 0; i < n && !err; i++)
		wake_up_process(t[i]);
	for (i = 0; i < n; i++)
		kthread_stop(t[i]);
	return err;
}

#endif
