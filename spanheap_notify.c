// SPDX-License-Identifier: GPL-2.0
/*
 * Moments at which idle memory goes back, whatever its age: before hibernation all of it, as
 * each page with content is in the image, and the kernel needs room for the image; and some,
 * before the kernel kills a process for lack of memory.
 *
 * Memory that is about to go offline is not such a moment: the kernel looks for pages that
 * it cannot move, and fails, before it calls the notifiers (offline_pages()).
 */
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/suspend.h>

#include "spanheap_internal.h"

static int pm_notify(struct notifier_block *nb, unsigned long action, void *unused)
{
	if (action == PM_HIBERNATION_PREPARE)
		spanheap_scavenge(spanheap_heap, 0, U64_MAX);
	return NOTIFY_OK;
}

static struct notifier_block pm_nb = { .notifier_call = pm_notify };

/*
 * Reclaim has failed: the kernel judges by what its own lists have, which may be nothing, and
 * another task may have taken what the shrinker gave. If a batch goes back now, the kernel
 * kills nobody, and calls again if the batch was too little.
 */
static int oom_notify(struct notifier_block *nb, unsigned long unused, void *freed)
{
	*(unsigned long *)freed += spanheap_shrink(spanheap_heap, BATCH_PAGES);
	return NOTIFY_OK;
}

static struct notifier_block oom_nb = { .notifier_call = oom_notify };

int spanheap_notify_start(void)
{
	int err = register_pm_notifier(&pm_nb);

	if (err)
		return err;
	err = register_oom_notifier(&oom_nb);
	if (err)
		unregister_pm_notifier(&pm_nb);
	return err;
}

void spanheap_notify_stop(void)
{
	unregister_oom_notifier(&oom_nb);
	unregister_pm_notifier(&pm_nb);
}
