// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/spanheap0: a RAM disk that stores its chunks in spans. The first write of a chunk
 * allocates its span, and a discard of the chunk frees it.
 */
#define pr_fmt(fmt) "spanheap_ramdisk: " fmt

#include <linux/blkdev.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/rwsem.h>
#include <linux/spanheap.h>
#include <linux/xarray.h>
#include <compat/disk.h>

#define CHUNK_PAGES	4
#define CHUNK_BYTES	(CHUNK_PAGES * PAGE_SIZE)
#define MAX_MB		(1024u * 1024)

static unsigned int size_mb = 64;
module_param(size_mb, uint, 0444);
MODULE_PARM_DESC(size_mb, "size of the disk in MiB");

static struct spanheap_client *client;
static struct gendisk *disk;
static int major;
static DEFINE_XARRAY(chunks);		/* chunk number -> span */
static DECLARE_RWSEM(discard_lock);	/* read: access to chunks; write: discard */

/* The chunk's memory; allocates it for a write. NULL: a hole, or no memory. */
static u8 *get_chunk(unsigned long nr, bool write)
{
	u8 *chunk = xa_load(&chunks, nr), *old;

	if (chunk || !write)
		return chunk;
	chunk = spanheap_alloc(client, CHUNK_PAGES, GFP_NOIO | __GFP_ZERO);
	if (!chunk)
		return NULL;
	old = xa_cmpxchg(&chunks, nr, NULL, chunk, GFP_NOIO);
	if (!old)
		return chunk;
	spanheap_free(chunk);	/* another writer was first, or xa_cmpxchg() failed */
	return xa_is_err(old) ? NULL : old;
}

static blk_status_t copy(struct bio_vec *bv, u64 pos, bool write)
{
	unsigned int off = 0;

	while (off < bv->bv_len) {
		unsigned int in = pos % CHUNK_BYTES;
		unsigned int len = min_t(unsigned int, bv->bv_len - off, CHUNK_BYTES - in);
		u8 *chunk = get_chunk(pos / CHUNK_BYTES, write);

		if (write && !chunk)
			return BLK_STS_NOSPC;
		if (write)
			memcpy_from_page(chunk + in, bv->bv_page, bv->bv_offset + off, len);
		else if (chunk)
			memcpy_to_page(bv->bv_page, bv->bv_offset + off, chunk + in, len);
		else
			memzero_page(bv->bv_page, bv->bv_offset + off, len);
		off += len;
		pos += len;
	}
	return BLK_STS_OK;
}

/* Free whole chunks, and clear the parts of chunks at both ends */
static void discard(u64 pos, u64 len)
{
	while (len) {
		unsigned int in = pos % CHUNK_BYTES;
		u64 n = min_t(u64, len, CHUNK_BYTES - in);
		u8 *chunk;

		if (n == CHUNK_BYTES) {
			spanheap_free(xa_erase(&chunks, pos / CHUNK_BYTES));
		} else {
			chunk = xa_load(&chunks, pos / CHUNK_BYTES);
			if (chunk)
				memset(chunk + in, 0, n);
		}
		pos += n;
		len -= n;
		cond_resched();
	}
}

/* A write is complete when it returns, so a flush has nothing to wait for */
static void ramdisk_submit_bio(struct bio *bio)
{
	u64 pos = bio->bi_iter.bi_sector << SECTOR_SHIFT;
	struct bvec_iter iter;
	struct bio_vec bv;

	if (bio_op(bio) == REQ_OP_DISCARD) {
		down_write(&discard_lock);
		discard(pos, bio->bi_iter.bi_size);
		up_write(&discard_lock);
		bio_endio(bio);
		return;
	}
	down_read(&discard_lock);
	bio_for_each_segment(bv, bio, iter) {
		bio->bi_status = copy(&bv, pos, op_is_write(bio_op(bio)));
		if (bio->bi_status)
			break;
		pos += bv.bv_len;
	}
	up_read(&discard_lock);
	bio_endio(bio);
}

static const struct block_device_operations ramdisk_ops = {
	.owner = THIS_MODULE,
	.submit_bio = ramdisk_submit_bio,
};

static int __init ramdisk_init(void)
{
	int err;

	if (!size_mb || size_mb > MAX_MB)
		return -EINVAL;
	client = spanheap_client_register(&(struct spanheap_client_attr) {
		.name = "ramdisk" });
	if (IS_ERR(client))
		return PTR_ERR(client);
	major = register_blkdev(0, "spanheap");
	if (major < 0) {
		err = major;
		goto out_client;
	}
	disk = compat_alloc_disk(CHUNK_BYTES);
	if (IS_ERR(disk)) {
		err = PTR_ERR(disk);
		goto out_blkdev;
	}
	disk->major = major;
	disk->minors = 1;
	disk->fops = &ramdisk_ops;
	disk->flags |= GENHD_FL_NO_PART;
	strscpy(disk->disk_name, "spanheap0", sizeof(disk->disk_name));
	set_capacity(disk, (u64)size_mb << (20 - SECTOR_SHIFT));
	err = add_disk(disk);
	if (!err)
		return 0;
	put_disk(disk);
out_blkdev:
	unregister_blkdev(major, "spanheap");
out_client:
	spanheap_client_unregister(client);
	return err;
}

static void __exit ramdisk_exit(void)
{
	unsigned long nr;
	void *chunk;

	del_gendisk(disk);
	put_disk(disk);
	unregister_blkdev(major, "spanheap");
	xa_for_each(&chunks, nr, chunk)
		spanheap_free(chunk);
	xa_destroy(&chunks);
	spanheap_client_unregister(client);
}

module_init(ramdisk_init);
module_exit(ramdisk_exit);

MODULE_DESCRIPTION("RAM disk on spanheap");
MODULE_LICENSE("GPL");
