// SPDX-License-Identifier: GPL-2.0
/* The smallest client: allocates 16 pages when it loads and frees them when it unloads. */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/spanheap.h>

static struct spanheap_client *client;
static void *buf;

static int __init minimal_init(void)
{
	client = spanheap_client_register(&(struct spanheap_client_attr) {
		.name = "minimal" });
	if (IS_ERR(client))
		return PTR_ERR(client);
	buf = spanheap_alloc(client, 16, GFP_KERNEL | __GFP_ZERO);
	if (buf)
		return 0;
	spanheap_client_unregister(client);
	return -ENOMEM;
}

static void __exit minimal_exit(void)
{
	spanheap_free(buf);
	spanheap_client_unregister(client);
}

module_init(minimal_init);
module_exit(minimal_exit);
MODULE_DESCRIPTION("The smallest client of spanheap");
MODULE_LICENSE("GPL");
