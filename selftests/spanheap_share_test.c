// SPDX-License-Identifier: GPL-2.0
/*
 * Shared pages of spans, and guard pages: "run" names a case; the module loads if it
 * passed. The insmod process is the user space into which a file is mapped.
 */
#define pr_fmt(fmt) "spanheap_share_test: " fmt

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "expect.h"

RUN("mmap");

#define PAGES	4
#define BYTES	(PAGES * PAGE_SIZE)
#define TRIES	64

static struct spanheap_client *client;
static u8 *span;		/* the span that the file maps */

static int map_span(struct file *file, struct vm_area_struct *vma)
{
	return spanheap_mmap(vma, span, vma->vm_pgoff);
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.mmap = map_span,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "spanheap_share",
	.fops = &fops,
};

static unsigned long map_file(struct file *file, unsigned long bytes, unsigned long pgoff)
{
	return vm_mmap(file, 0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		       pgoff << PAGE_SHIFT);
}

/* Does user space see this byte everywhere? */
static bool user_sees(unsigned long at, unsigned long bytes, u8 byte)
{
	u8 seen;

	for (; bytes; at++, bytes--)
		if (get_user(seen, (u8 __user *)at) || seen != byte)
			return false;
	return true;
}

/*
 * Allocate spans until one is at addr, and fill all of them; the last one is at addr. A
 * deferred free takes some time before its addresses are free.
 */
static int allocate_at(const void *addr, void **p, u8 fill)
{
	int n = 0;

	while (n < TRIES) {
		p[n] = spanheap_alloc(client, PAGES, GFP_KERNEL);
		if (!p[n])
			break;
		memset(p[n], fill, BYTES);
		if (p[n++] == addr)
			return n;
		msleep(20);
	}
	return n;
}

static void free_all(void **p, int n)
{
	while (n)
		spanheap_free(p[--n]);
}

static int map_and_free(struct file *file)
{
	unsigned long at;
	void *p[TRIES];
	int n;

	EXPECT(IS_ERR_VALUE(map_file(file, BYTES + PAGE_SIZE, 0)));
	EXPECT(IS_ERR_VALUE(map_file(file, PAGE_SIZE, PAGES)));
	EXPECT(IS_ERR_VALUE(map_file(file, 2 * PAGE_SIZE, PAGES - 1)));
	at = map_file(file, PAGE_SIZE, PAGES - 1);
	EXPECT(!IS_ERR_VALUE(at) && !vm_munmap(at, PAGE_SIZE));

	memset(span, 'A', BYTES);
	at = map_file(file, BYTES, 0);
	EXPECT(!IS_ERR_VALUE(at));
	EXPECT(user_sees(at, BYTES, 'A'));
	EXPECT(!put_user('A', (u8 __user *)at));

	spanheap_free(span);
	EXPECT(!spanheap_nr_pages(span));
	n = allocate_at(span, p, 'B');
	EXPECT(n && p[n - 1] == span);
	EXPECT(user_sees(at, BYTES, 'A'));	/* not the next owner's bytes */
	EXPECT(!clear_user((void __user *)at, BYTES));
	EXPECT(!memchr_inv(span, 'B', BYTES));	/* user space does not write to the next owner */
	EXPECT(user_sees(at, BYTES, 0));
	EXPECT(!vm_munmap(at, BYTES));
	free_all(p, n);
	return 0;
}

/* A span is freed while user space maps it: as with vfree(), the mapping keeps the pages */
static int test_mmap(void)
{
	struct file *file;
	int err;

	span = spanheap_alloc(client, PAGES, GFP_KERNEL);
	EXPECT(span);
	err = misc_register(&dev);
	if (err)
		return err;
	file = filp_open("/dev/spanheap_share", O_RDWR, 0);
	err = IS_ERR(file) ? PTR_ERR(file) : map_and_free(file);
	if (!IS_ERR(file))
		filp_close(file, NULL);
	misc_deregister(&dev);
	return err;
}

/* keep() takes a reference to a page of its span */
static int keep_beyond_free(struct spanheap_client *c, struct page *(*keep)(const void *addr))
{
	u8 *p = spanheap_alloc(c, PAGES, GFP_KERNEL);
	struct page *page;
	void *q[TRIES];
	int n;

	EXPECT(p);
	memset(p, 'A', BYTES);
	page = keep(p + PAGE_SIZE);
	EXPECT(page);
	get_page(page);
	spanheap_free(p);
	n = allocate_at(p, q, 'B');
	EXPECT(n && q[n - 1] == p);
	EXPECT(!memchr_inv(page_address(page), 'A', PAGE_SIZE));
	EXPECT(vmalloc_to_page(p + PAGE_SIZE) != page);
	EXPECT(page_count(page) == 1);
	put_page(page);
	free_all(q, n);
	return 0;
}

static int test_to_page(void)
{
	EXPECT(!spanheap_to_page(NULL) && !spanheap_to_page(&client));
	return keep_beyond_free(client, spanheap_to_page);
}

static int with_client(unsigned int flags, int (*fn)(struct spanheap_client *c))
{
	const struct spanheap_client_attr attr = { .name = "flagged", .flags = flags };
	struct spanheap_client *c = spanheap_client_register(&attr);
	int err;

	EXPECT(!IS_ERR(c));
	err = fn(c);
	spanheap_client_unregister(c);
	return err;
}

/* Refers to a page without a function of the heap */
static struct page *unseen(const void *addr)
{
	return vmalloc_to_page(addr);
}

static int keep_unseen(struct spanheap_client *c)
{
	return keep_beyond_free(c, unseen);
}

static int test_flag(void)
{
	return with_client(SPANHEAP_SHARED_PAGES, keep_unseen);
}

/* The heap reuses a shared span without references and keeps its pages */
static int reuse(struct spanheap_client *c)
{
	u64 scavenged = stats().scavenged_bytes;
	void *p;
	int i;

	for (i = 0; i < 100; i++) {
		p = spanheap_alloc(c, PAGES, GFP_KERNEL);
		EXPECT(p && spanheap_to_page(p) == vmalloc_to_page(p));
		spanheap_free(p);
	}
	EXPECT(stats().scavenged_bytes == scavenged);
	return 0;
}

static int test_reuse(void)
{
	return with_client(SPANHEAP_SHARED_PAGES, reuse);
}

static bool readable(const void *p)
{
	u8 byte;

	return !copy_from_kernel_nofault(&byte, p, 1);
}

/* Does a guard page fault? It may take a while after an allocation that may not block. */
static bool guarded(const u8 *p, size_t nr)
{
	int tries;

	for (tries = 0; tries < 100 && readable(p + nr * PAGE_SIZE); tries++)
		msleep(20);
	return readable(p) && readable(p + nr * PAGE_SIZE - 1) && !readable(p + nr * PAGE_SIZE);
}

static int guards(struct spanheap_client *c)
{
	static const unsigned int sizes[] = { 1, 2, 16, 17, 255, 256, 400 };
	u8 *p[2 * ARRAY_SIZE(sizes)], *all;
	unsigned int i, round;

	/* Back many pages first, so that guard pages have memory to lose */
	all = spanheap_alloc(client, 4096, GFP_KERNEL);
	EXPECT(all);
	spanheap_free(all);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			gfp_t gfp = i % 2 ? GFP_ATOMIC : GFP_KERNEL;

			p[i] = spanheap_alloc(c, sizes[i / 2], gfp);
			EXPECT(p[i] && spanheap_nr_pages(p[i]) == sizes[i / 2]);
			memset(p[i], i, sizes[i / 2] * PAGE_SIZE);
			EXPECT(gfp == GFP_ATOMIC ||
			       !readable(p[i] + sizes[i / 2] * PAGE_SIZE));
			EXPECT(!spanheap_base(p[i] + sizes[i / 2] * PAGE_SIZE));
			EXPECT(!spanheap_resize(p[i], sizes[i / 2] + 1, GFP_KERNEL));
			EXPECT(spanheap_resize(p[i], sizes[i / 2], GFP_KERNEL));
		}
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			EXPECT(guarded(p[i], sizes[i / 2]));
			EXPECT(!memchr_inv(p[i], i, sizes[i / 2] * PAGE_SIZE));
			spanheap_free(p[i]);
		}
	}
	return 0;
}

static int test_guard(void)
{
	return with_client(SPANHEAP_GUARD, guards);
}

/* vfree() of a span unmaps the spans of all clients: the heap detects it and stops */
static int test_vfree(void)
{
	u8 *wrong = spanheap_alloc(client, 4, GFP_KERNEL), *other, *p;
	void *held = spanheap_alloc(client, 300, GFP_KERNEL);
	unsigned long bytes = stats().arena_bytes / 2;

	EXPECT(wrong && held);
	vfree(wrong);
	other = vmalloc(bytes);		/* most likely in the former range of the arena */
	EXPECT(other);
	memset(other, 0x5a, bytes);
	p = spanheap_alloc(client, 8, GFP_KERNEL | __GFP_NOWARN);
	EXPECT(!p && !spanheap_alloc(NULL, 300, GFP_ATOMIC | __GFP_NOWARN));
	spanheap_free(held);
	spanheap_free(wrong);
	spanheap_release_memory();
	EXPECT(stats().spans == 0);
	EXPECT(!memchr_inv(other, 0x5a, bytes));
	vfree(other);
	return 0;
}

static const struct test_case cases[] = {
	{ "mmap", test_mmap }, { "to_page", test_to_page }, { "flag", test_flag },
	{ "reuse", test_reuse }, { "guard", test_guard },
	{ "vfree", test_vfree },
	{}
};

static int __init test_init(void)
{
	const struct spanheap_client_attr attr = { .name = "share" };

	return run_client_case(&attr, &client, cases, run);
}

static void __exit test_exit(void)
{
	spanheap_client_unregister(client);
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("Tests of shared and guard pages of spanheap");
MODULE_LICENSE("GPL");
