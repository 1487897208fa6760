/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A driver as there are many: it knows vmalloc() and nothing of spans. It is built as it
 * is, and with <linux/spanheap_vmalloc.h>, by its Kbuild alone.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define EXPECT(cond) do {						\
	if (!(cond)) {							\
		pr_err("%d: not true: %s\n", __LINE__, #cond);		\
		return -EINVAL;						\
	}								\
} while (0)

#define MAP_BYTES	(5 * PAGE_SIZE)

/* Functions of the kernel's as members */
struct memory_ops {
	void (*vfree)(const void *addr);
	void (*kvfree)(const void *addr);
	struct page *(*to_page)(const void *addr);
};

static const struct memory_ops ops = { vfree, kvfree, vmalloc_to_page };

/* The memory that the driver has while it is loaded */
static struct {
	u8 *small, *zeroed, *user, *array, *cleared, *kv, *nofs, *node;
} has;

/* An object of many pages that readers may still look at when it is freed */
struct table {
	struct rcu_head rcu;
	u64 value[2 * PAGE_SIZE / sizeof(u64)];
};

struct item {
	u64 value;
	struct rcu_head rcu;
};

DEFINE_FREE(driver_kv, void *, if (_T) kvfree(_T))

static bool is(const u8 *p, u8 byte, size_t bytes)
{
	return p && is_vmalloc_addr(p) && !memchr_inv(p, byte, bytes);
}

static u8 *filled(u8 *p, u8 byte, size_t bytes)
{
	if (p)
		memset(p, byte, bytes);
	return p;
}

static int allocate(void)
{
	has.small = filled(vmalloc(1), 1, 1);
	has.zeroed = vzalloc(10000);
	has.user = vmalloc_user(MAP_BYTES);
	has.array = filled(vmalloc_array(300, 41), 4, 300 * 41);
	has.cleared = vcalloc(70, PAGE_SIZE);
	has.kv = filled(kvmalloc(SZ_1M, GFP_KERNEL), 6, SZ_1M);
	has.nofs = filled(__vmalloc(PAGE_SIZE + 1, GFP_NOFS), 7, PAGE_SIZE + 1);
	has.node = filled(vmalloc_node(SZ_64K, numa_node_id()), 8, SZ_64K);
	EXPECT(is(has.small, 1, 1) && is(has.zeroed, 0, 10000) && is(has.user, 0, MAP_BYTES));
	EXPECT(is(has.array, 4, 300 * 41) && is(has.cleared, 0, 70 * PAGE_SIZE));
	EXPECT(is(has.nofs, 7, PAGE_SIZE + 1) && is(has.node, 8, SZ_64K));
	EXPECT(has.kv && !memchr_inv(has.kv, 6, SZ_1M));
	filled(has.user, 3, MAP_BYTES);
	return 0;
}

/* All of it is as it was left */
static bool intact(void)
{
	return is(has.small, 1, 1) && is(has.zeroed, 0, 10000) && is(has.user, 3, MAP_BYTES) &&
	       is(has.array, 4, 300 * 41) && is(has.cleared, 0, 70 * PAGE_SIZE) &&
	       !memchr_inv(has.kv, 6, SZ_1M) && is(has.nofs, 7, PAGE_SIZE + 1) &&
	       is(has.node, 8, SZ_64K);
}

static void free_all(void)
{
	ops.vfree(has.small);
	vfree(has.zeroed);
	vfree(has.user);
	ops.kvfree(has.array);
	vfree(has.cleared);
	kvfree(has.kv);
	kvfree_sensitive(has.nofs, PAGE_SIZE + 1);
	vfree(has.node);
}

/* Impossible sizes are refused as ever; so the driver's own checks find what they look for */
static int sizes(void)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	u8 *p;

	EXPECT(!__vmalloc(array_size(SIZE_MAX, 2), gfp));
	EXPECT(!__vmalloc_array(SIZE_MAX / 2, 3, gfp) && !vmalloc_array(SIZE_MAX / 2, 3));
	EXPECT(!vcalloc(SIZE_MAX, SIZE_MAX) && !kvmalloc_array(SIZE_MAX, 2, gfp));
	EXPECT(!kvcalloc(SIZE_MAX / 8, 16, gfp));
	EXPECT(!kvmalloc((size_t)INT_MAX + 1, gfp) && !kvzalloc(SIZE_MAX, gfp));
	EXPECT(kvmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
	kvfree(ZERO_SIZE_PTR);
	kvfree(NULL);
	vfree(NULL);
	p = kvmalloc(100, GFP_KERNEL);	/* of the slab allocator */
	EXPECT(p && !is_vmalloc_addr(p));
	kvfree(p);
	p = vmalloc_32(SZ_64K);		/* no span for this one */
	EXPECT(p);
	vfree(p);
	p = kvzalloc_node(SZ_256K, GFP_KERNEL, numa_node_id());
	EXPECT(p && !memchr_inv(p, 0, SZ_256K));
	kvfree(p);
	p = kvcalloc(3000, 7, GFP_KERNEL);
	EXPECT(p && !memchr_inv(p, 0, 21000));
	kvfree(p);
	p = kvmalloc(SZ_64K, GFP_KERNEL_ACCOUNT);	/* nor for this one */
	EXPECT(p);
	kvfree(p);
	{
		u8 *scoped __free(driver_kv) = kvzalloc(SZ_64K, GFP_KERNEL);

		EXPECT(scoped && !memchr_inv(scoped, 0, SZ_64K));
	}
	return 0;
}

static int after_grace(void)
{
	struct table *t = kvzalloc(sizeof(*t), GFP_KERNEL), *u = kvzalloc(sizeof(*u), GFP_KERNEL);
	struct item *item = kmalloc(sizeof(*item), GFP_KERNEL);
	bool intact;

	EXPECT(t && u && item);
	rcu_read_lock();
	kvfree_rcu(t, rcu);
	intact = !memchr_inv(t->value, 0, sizeof(t->value));
	rcu_read_unlock();
	kvfree_rcu_mightsleep(u);
	kfree_rcu(item, rcu);
	synchronize_rcu();
	EXPECT(intact);
	return 0;
}

/* Pages by vmalloc_to_page(): as long as they are referred to, they are nobody else's */
static int references(void)
{
	u8 *p = filled(vmalloc(3 * PAGE_SIZE), 0x5a, 3 * PAGE_SIZE), *q;
	struct page *page;

	EXPECT(p);
	page = ops.to_page(p + PAGE_SIZE + 5);
	EXPECT(page && page_to_pfn(page) == vmalloc_to_pfn(p + PAGE_SIZE));
	get_page(page);
	vfree(p);
	q = filled(vmalloc(3 * PAGE_SIZE), 0xa5, 3 * PAGE_SIZE);
	EXPECT(q);
	EXPECT(!memchr_inv(page_address(page), 0x5a, PAGE_SIZE));
	vfree(q);
	put_page(page);
	return 0;
}

static int map_user(struct file *file, struct vm_area_struct *vma)
{
	return remap_vmalloc_range(vma, has.user, vma->vm_pgoff);
}

static const struct file_operations fops = { .owner = THIS_MODULE, .mmap = map_user };

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR, .name = KBUILD_MODNAME, .fops = &fops,
};

static int map_in(struct file *file)
{
	unsigned long at, i;
	u8 seen;

	EXPECT(IS_ERR_VALUE(vm_mmap(file, 0, MAP_BYTES + PAGE_SIZE, PROT_READ, MAP_SHARED, 0)));
	EXPECT(IS_ERR_VALUE(vm_mmap(file, 0, MAP_BYTES, PROT_READ, MAP_SHARED, PAGE_SIZE)));
	at = vm_mmap(file, 0, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	EXPECT(!IS_ERR_VALUE(at));
	for (i = 0; i < MAP_BYTES; i++)
		EXPECT(!get_user(seen, (u8 __user *)(at + i)) && seen == 3);
	EXPECT(!put_user(9, (u8 __user *)(at + MAP_BYTES - 1)));
	EXPECT(has.user[MAP_BYTES - 1] == 9);
	has.user[MAP_BYTES - 1] = 3;
	return vm_munmap(at, MAP_BYTES);
}

static int mappings(void)
{
	struct file *file;
	int err = misc_register(&dev);

	if (err)
		return err;
	file = filp_open("/dev/" KBUILD_MODNAME, O_RDWR, 0);
	err = IS_ERR(file) ? PTR_ERR(file) : map_in(file);
	if (!IS_ERR(file))
		filp_close(file, NULL);
	misc_deregister(&dev);
	return err;
}

static int __init test_init(void)
{
	int err = allocate();

	err = err ?: sizes();
	err = err ?: after_grace();
	err = err ?: references();
	err = err ?: mappings();
	if (!err && !intact())
		err = -EILSEQ;
	if (err)
		free_all();
	else
		pr_info("has all that it asked for\n");
	return err;
}

static void __exit test_exit(void)
{
	if (intact())
		pr_info("has found all as it left it\n");
	free_all();
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("A driver that knows vmalloc() only, for tests of spanheap");
MODULE_LICENSE("GPL");
