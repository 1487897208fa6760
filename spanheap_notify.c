// SPDX-License-Identifier: GPL-2.0
/*
 * Moments at which all idle memory goes back, whatever its age: before hibernation, as
 * each page with content is in the image, and the kernel needs room for the image.
 *
 * Memory that is about to go offline is not such a moment: the kernel looks for pages that
 * it cannot move, and fails, before it calls the notifiers (offline_pages()).
 */
#include <linux/suspend.h>

#include "spanheap_internal.h"

static int pm_notify(struct notifier_block *nb, unsigned long action, void *unused)
{
	if (action == PM_HIBERNATION_PREPARE)
		spanheap_scavenge(spanheap_heap, 0, U64_MAX);
	return NOTIFY_OK;
}

static struct notifier_block pm_nb = { .notifier_call = pm_notify };

int spanheap_notify_start(void)
{
	return register_pm_notifier(&pm_nb);
}

void spanheap_notify_stop(void)
{
	unregister_pm_notifier(&pm_nb);
}
