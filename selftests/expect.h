/* SPDX-License-Identifier: GPL-2.0 */
/* What the test modules have in common. Each has a parameter "run", the case. */
#ifndef _SPANHEAP_SELFTESTS_EXPECT_H
#define _SPANHEAP_SELFTESTS_EXPECT_H

#include <linux/module.h>
#include <linux/spanheap.h>

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

#endif
