// SPDX-License-Identifier: GPL-2.0
/*
 * A content-addressed page cache: it stores a page once, however often the page is put,
 * and finds it by the hash of its content. No user holds a reference to an entry, and no
 * user frees an entry.
 *
 * Each cycle has a number. Putting or finding an entry marks it with the current number.
 * The sweep callback drops entries that were marked neither in this cycle nor in the last.
 * It runs when an allocation would grow the heap, and in the background. So
 * the cache fills only memory that the heap already has.
 *
 *	/sys/kernel/debug/spanheap_pagecache/put	write a page, then read its hash
 *	.../find	write a hash, then read the page
 *	.../cycle	write anything: a cycle begins
 *	.../stat	entries, hits, misses, dropped
 */
#define pr_fmt(fmt) "spanheap_pagecache: " fmt

#include <linux/debugfs.h>
#include <linux/hashtable.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/spanheap.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

struct entry {
	struct hlist_node node;
	u64 hash;
	u8 *page;
	u32 cycle;			/* the last one it was put or found in */
};

static struct spanheap_client *client;
static struct dentry *dir;
static siphash_key_t key;		/* random, so that nobody can make hashes collide */
static DEFINE_SPINLOCK(lock);		/* everything below, entries' cycle */
static DEFINE_HASHTABLE(table, 12);
static u32 cycle;
static u64 entries, hits, misses, dropped;

static u64 hash_page(const void *page)
{
	return siphash(page, PAGE_SIZE, &key);
}

static struct entry *lookup(u64 hash)
{
	struct entry *e;

	hash_for_each_possible(table, e, node, hash)
		if (e->hash == hash)
			return e;
	return NULL;
}

/* Take e out of the table, so that nobody finds it any more */
static void drop(struct entry *e)
{
	hash_del(&e->node);
	entries--;
	dropped++;
	kfree(e);
}

/*
 * Is the page of a span live? The hash of its content finds its entry. A page without an
 * entry is live: put() is about to insert it.
 */
static enum spanheap_verdict sweep(void *addr, size_t nr_pages, void *priv)
{
	enum spanheap_verdict verdict = SPANHEAP_KEEP;
	u64 hash = hash_page(addr);
	struct entry *e;

	spin_lock(&lock);
	e = lookup(hash);
	if (e && e->page == addr && cycle - e->cycle > 1) {
		drop(e);
		verdict = SPANHEAP_FREE;
	}
	spin_unlock(&lock);
	return verdict;
}

static void begin_cycle(void)
{
	spin_lock(&lock);
	cycle++;
	spin_unlock(&lock);
	spanheap_cycle_begin(client);
}

/* Called when no cycle has begun for long */
static void collect(void *priv)
{
	begin_cycle();
}

static const struct spanheap_client_ops ops = {
	.sweep = sweep,
	.collect = collect,
};

/* Mark the entry of hash with the current cycle. False: there is none. */
static bool touch(u64 hash)
{
	struct entry *e;

	spin_lock(&lock);
	e = lookup(hash);
	if (e)
		e->cycle = cycle;
	spin_unlock(&lock);
	return e;
}

/* Insert e into the table. False: the table has the same page already. */
static bool insert(struct entry *e)
{
	bool is_new;

	spin_lock(&lock);
	is_new = !lookup(e->hash);
	if (is_new) {
		e->cycle = cycle;
		hash_add(table, &e->node, e->hash);
		entries++;
	}
	spin_unlock(&lock);
	return is_new;
}

/* Allocate without a lock, because the allocation may call sweep() */
static int put(const u8 *page, u64 *hash)
{
	struct entry *e;

	*hash = hash_page(page);
	if (touch(*hash))
		return 0;
	e = kzalloc(sizeof(*e), GFP_KERNEL);
	if (!e)
		return -ENOMEM;
	e->page = spanheap_alloc(client, 1, GFP_KERNEL);
	if (!e->page) {
		kfree(e);
		return -ENOMEM;
	}
	memcpy(e->page, page, PAGE_SIZE);
	e->hash = *hash;
	if (!insert(e)) {
		spanheap_free(e->page);
		kfree(e);
	}
	return 0;
}

/* Copy the page under the lock: sweep() may drop the entry as soon as the lock is free */
static bool find(u64 hash, u8 *page)
{
	struct entry *e;

	spin_lock(&lock);
	e = lookup(hash);
	if (e) {
		e->cycle = cycle;
		memcpy(page, e->page, PAGE_SIZE);
		hits++;
	} else {
		misses++;
	}
	spin_unlock(&lock);
	return e;
}

/* ---- debugfs ---- */

/* State of an open file: the answer to the last write, for the next read */
struct reply {
	struct mutex lock;		/* both below */
	size_t len;
	u8 data[PAGE_SIZE];
};

static int reply_open(struct inode *inode, struct file *file)
{
	struct reply *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return -ENOMEM;
	mutex_init(&r->lock);
	file->private_data = r;
	return 0;
}

static int reply_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static ssize_t reply_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	struct reply *r = file->private_data;
	ssize_t n;

	mutex_lock(&r->lock);
	n = simple_read_from_buffer(buf, count, pos, r->data, r->len);
	mutex_unlock(&r->lock);
	return n;
}

/* A write is one page; a shorter write is padded with zeros */
static ssize_t put_write(struct file *file, const char __user *buf, size_t count,
			 loff_t *pos)
{
	struct reply *r = file->private_data;
	int err = -EFAULT;
	u64 hash;

	count = min_t(size_t, count, PAGE_SIZE);
	mutex_lock(&r->lock);
	memset(r->data, 0, PAGE_SIZE);
	if (!copy_from_user(r->data, buf, count))
		err = put(r->data, &hash);
	r->len = err ? 0 : scnprintf(r->data, PAGE_SIZE, "%016llx\n", hash);
	mutex_unlock(&r->lock);
	*pos = 0;
	return err ? err : count;
}

static const struct file_operations put_fops = {
	.owner = THIS_MODULE,
	.open = reply_open,
	.release = reply_release,
	.write = put_write,
	.read = reply_read,
};

static ssize_t find_write(struct file *file, const char __user *buf, size_t count,
			  loff_t *pos)
{
	struct reply *r = file->private_data;
	u64 hash;
	int err = kstrtou64_from_user(buf, count, 16, &hash);

	if (err)
		return err;
	mutex_lock(&r->lock);
	r->len = find(hash, r->data) ? PAGE_SIZE : 0;
	mutex_unlock(&r->lock);
	*pos = 0;
	return count;
}

static const struct file_operations find_fops = {
	.owner = THIS_MODULE,
	.open = reply_open,
	.release = reply_release,
	.write = find_write,
	.read = reply_read,
};

static ssize_t cycle_write(struct file *file, const char __user *buf, size_t count,
			   loff_t *pos)
{
	begin_cycle();
	return count;
}

static const struct file_operations cycle_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = cycle_write,
};

static int stat_show(struct seq_file *m, void *v)
{
	spin_lock(&lock);
	seq_printf(m, "entries %llu\nhits %llu\nmisses %llu\ndropped %llu\n", entries,
		   hits, misses, dropped);
	spin_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stat);

static int __init pagecache_init(void)
{
	get_random_bytes(&key, sizeof(key));
	client = spanheap_client_register(&(struct spanheap_client_attr) {
		.name = "pagecache", .ops = &ops });
	if (IS_ERR(client))
		return PTR_ERR(client);
	dir = debugfs_create_dir("spanheap_pagecache", NULL);
	debugfs_create_file("put", 0200, dir, NULL, &put_fops);
	debugfs_create_file("find", 0600, dir, NULL, &find_fops);
	debugfs_create_file("cycle", 0200, dir, NULL, &cycle_fops);
	debugfs_create_file("stat", 0400, dir, NULL, &stat_fops);
	return 0;
}

#define DROP_BATCH	64	/* maximum of entries dropped per hold of the lock */

/* Drop up to a batch of a bucket's entries; returns the number of pages[] */
static unsigned int drop_some(struct hlist_head *bucket, u8 **pages)
{
	unsigned int n = 0;
	struct entry *e;

	spin_lock(&lock);
	while (n < DROP_BATCH && !hlist_empty(bucket)) {
		e = hlist_entry(bucket->first, struct entry, node);
		pages[n++] = e->page;
		drop(e);
	}
	spin_unlock(&lock);
	return n;
}

/* Drop all entries, of any age. Frees the pages without the lock. */
static void drop_all(void)
{
	u8 *pages[DROP_BATCH];
	unsigned int i, n;

	for (i = 0; i < HASH_SIZE(table); i++) {
		while ((n = drop_some(&table[i], pages))) {
			while (n)
				spanheap_free(pages[--n]);
			cond_resched();
		}
	}
}

static void __exit pagecache_exit(void)
{
	debugfs_remove(dir);
	drop_all();
	spanheap_client_unregister(client);	/* waits for callbacks */
}

module_init(pagecache_init);
module_exit(pagecache_exit);

MODULE_DESCRIPTION("Content-addressed page cache on spanheap");
MODULE_LICENSE("GPL");
