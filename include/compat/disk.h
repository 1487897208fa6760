/* SPDX-License-Identifier: GPL-2.0 */
/* Since 6.9 blk_alloc_disk() has an argument with the queue limits */
#ifndef _SPANHEAP_COMPAT_DISK_H
#define _SPANHEAP_COMPAT_DISK_H

#include <linux/blkdev.h>

static inline struct gendisk *compat_alloc_disk(unsigned int discard_bytes)
{
#if defined(SPANHEAP_NEW_DISK) == defined(SPANHEAP_OLD_DISK)
#error "include/compat/probe.mk cannot tell which blk_alloc_disk() this kernel has"
#elif defined(SPANHEAP_NEW_DISK)
	struct queue_limits lim = {
		.logical_block_size = SECTOR_SIZE,
		.physical_block_size = PAGE_SIZE,
		.discard_granularity = discard_bytes,
		.max_hw_discard_sectors = UINT_MAX,
	};

	return blk_alloc_disk(&lim, NUMA_NO_NODE);
#else
	struct gendisk *disk = blk_alloc_disk(NUMA_NO_NODE);

	if (!disk)
		return ERR_PTR(-ENOMEM);
	blk_queue_physical_block_size(disk->queue, PAGE_SIZE);
	disk->queue->limits.discard_granularity = discard_bytes;
	blk_queue_max_discard_sectors(disk->queue, UINT_MAX);
	return disk;
#endif
}

#endif
