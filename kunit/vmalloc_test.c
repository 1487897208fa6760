// SPDX-License-Identifier: GPL-2.0
/*
 * vmalloc() and its relatives, as they are in a module that is built with
 * <linux/spanheap_vmalloc.h>, here called by their inner names, on the module's heap.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/spanheap_vmalloc_calls.h>
#include <compat/module.h>

#include "fake_arena.h"

struct before {
	u64 inuse, invalid, spans;
};

static struct before before(void)
{
	struct spanheap_stats st = *stats(spanheap_heap);

	return (struct before) { st.inuse_bytes, st.invalid_frees, st.spans };
}

static void expect_as(struct kunit *test, const struct before *b, u32 invalid)
{
	char why[128] = "";

	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->inuse_bytes, b->inuse);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->spans, b->spans);
	KUNIT_EXPECT_EQ(test, stats(spanheap_heap)->invalid_frees, b->invalid + invalid);
	KUNIT_EXPECT_EQ_MSG(test, spanheap_check(spanheap_heap, why, sizeof(why)), 0, "%s", why);
}

static void memory_of_either_kind_is_freed(struct kunit *test)
{
	struct before b = before();
	u8 *p = spanheap_vm_alloc(NULL, 10000, true, NUMA_NO_NODE), *q;

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, spanheap_nr_pages(p), 3);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 0, 10000));
	KUNIT_EXPECT_PTR_EQ(test, spanheap_vm_to_page(p), vmalloc_to_page(p));
	spanheap_vm_free(p);
	p = spanheap_vm_alloc_user(NULL, 1);
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p));
	spanheap_vm_kvfree_sensitive(p, SIZE_MAX);
	p = spanheap_vm_alloc_gfp(NULL, 5000, GFP_NOFS, true);
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p) && !memchr_inv(p, 0, 5000));
	spanheap_vm_kvfree_atomic(p);
	p = spanheap_vm_kvalloc(NULL, SZ_1M / 4, GFP_KERNEL, 0);
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p));
	spanheap_kvfree(p);
	/* The kernel's: flags that no span can have, and what nobody asked the heap for */
	p = spanheap_vm_alloc_gfp(NULL, 5000, GFP_KERNEL_ACCOUNT, false);
	q = vmalloc(100);
	KUNIT_EXPECT_TRUE(test, p && q && !spanheap_is_span(p));
	KUNIT_EXPECT_PTR_EQ(test, spanheap_vm_to_page(q), vmalloc_to_page(q));
	spanheap_vm_free(p);
	spanheap_vm_free(q);
	spanheap_vm_kvfree_sensitive(kmalloc(10, GFP_KERNEL), 10);
	spanheap_vm_free(NULL);
	spanheap_vm_kvfree_sensitive(NULL, 0);
	expect_as(test, &b, 0);
	p = spanheap_vm_alloc(NULL, 5000, false, NUMA_NO_NODE);
	spanheap_vm_free(p + PAGE_SIZE);
	spanheap_vm_kvfree_sensitive(p + 8, 8);
	spanheap_vm_free(p);
	spanheap_vm_free(p);
	expect_as(test, &b, 3);
}

/* As vmalloc() and kvmalloc() have them */
static void impossible_sizes_are_refused(struct kunit *test)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	struct before b = before();

	KUNIT_EXPECT_NULL(test, spanheap_vm_alloc_gfp(NULL, SIZE_MAX, gfp, false));
	KUNIT_EXPECT_NULL(test, spanheap_vm_alloc_gfp(NULL, SIZE_MAX - PAGE_SIZE, gfp, true));
	KUNIT_EXPECT_NULL(test, spanheap_vm_kvalloc(NULL, (size_t)INT_MAX + 1, gfp, NUMA_NO_NODE));
	KUNIT_EXPECT_NULL(test, spanheap_vm_kvalloc(NULL, SIZE_MAX, gfp, NUMA_NO_NODE));
	KUNIT_EXPECT_PTR_EQ(test, spanheap_vm_kvalloc(NULL, 0, gfp, NUMA_NO_NODE), ZERO_SIZE_PTR);
	warnings_begin();
	KUNIT_EXPECT_NULL(test, spanheap_vm_alloc(NULL, 0, false, NUMA_NO_NODE));
	warnings_end(test, ONCE("mm/vmalloc.c:"));
	expect_as(test, &b, 0);
}

/* kvrealloc() and vrealloc(), which know the old size on older kernels */
static void realloc_keeps_and_clears(struct kunit *test)
{
	const size_t all = SPANHEAP_VM_ALL;
	struct before b = before();
	u8 *p, *q;

	p = spanheap_vm_realloc(NULL, NULL, all, 5000, GFP_KERNEL | __GFP_ZERO, true);
	KUNIT_ASSERT_TRUE(test, spanheap_is_span(p));
	memset(p, 1, 5000);
	p = spanheap_vm_realloc(NULL, p, all, 300000, GFP_KERNEL | __GFP_ZERO, true);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 1, 5000));
	KUNIT_EXPECT_NULL(test, memchr_inv(p + 5000, 0, 295000));
	memset(p, 2, 300000);
	q = spanheap_vm_realloc(NULL, p, all, 10, GFP_KERNEL | __GFP_ZERO, false);
	KUNIT_EXPECT_PTR_EQ(test, q, p);
	KUNIT_EXPECT_EQ(test, spanheap_nr_pages(p), 1);
	KUNIT_EXPECT_NULL(test, memchr_inv(p + 10, 0, PAGE_SIZE - 10));
	p = spanheap_vm_realloc(NULL, p, all, 2 * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO, false);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, p[9], 2);
	KUNIT_EXPECT_NULL(test, memchr_inv(p + 10, 0, 2 * PAGE_SIZE - 10));
	/* An old size: what is behind it is not the caller's to rely on, and is cleared */
	memset(p, 3, 2 * PAGE_SIZE);
	p = spanheap_vm_realloc(NULL, p, 100, 4 * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO, true);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 3, 100));
	KUNIT_EXPECT_NULL(test, memchr_inv(p + 100, 0, 4 * PAGE_SIZE - 100));
	KUNIT_EXPECT_NULL(test, spanheap_vm_realloc(NULL, p + PAGE_SIZE, all, 1, GFP_KERNEL, true));
	KUNIT_EXPECT_NULL(test, spanheap_vm_realloc(NULL, p, all, 0, GFP_KERNEL, true));
	KUNIT_EXPECT_FALSE(test, spanheap_is_span(p));
	KUNIT_EXPECT_NULL(test, spanheap_vm_realloc(NULL, p, all, 1, GFP_KERNEL, true));
	expect_as(test, &b, 2);
	/* Memory of the slab allocator and of vmalloc() is the kernel's business */
	p = kmalloc(100, GFP_KERNEL);
	memset(p, 4, 100);
	p = spanheap_vm_realloc(NULL, p, 100, 200, GFP_KERNEL, true);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, memchr_inv(p, 4, 100));
	spanheap_kvfree(p);
	expect_as(test, &b, 2);
}

/* By the object, or by the offset of the head in it */
static void rcu_frees_find_the_object(struct kunit *test)
{
	struct before b = before();
	u8 *p = spanheap_vm_kvalloc(NULL, 3 * PAGE_SIZE, GFP_KERNEL, NUMA_NO_NODE);
	u8 *q = spanheap_vm_kvalloc(NULL, 3 * PAGE_SIZE, GFP_KERNEL, NUMA_NO_NODE);
	u8 *r = spanheap_vm_kvalloc(NULL, 3 * PAGE_SIZE, GFP_KERNEL, NUMA_NO_NODE);

	KUNIT_ASSERT_TRUE(test, p && q && r);
	spanheap_vm_kvfree_rcu(p + 200, (void *)200);
	spanheap_vm_kvfree_rcu(q + 4000, q);
	spanheap_vm_kvfree_rcu(NULL, r);
	rcu_barrier();
	expect_as(test, &b, 0);
}

/* A module gets its client with its first allocation that may block, and keeps no other's */
static void module_is_a_client_by_its_name(struct kunit *test)
{
	struct module *mod = compat_module_fake("kunit_vm");
	struct spanheap_client_attr attr = { .name = module_name(mod) };
	struct spanheap_client *other;
	struct before b = before();
	u8 *p, *q, *r;

	KUNIT_ASSERT_NOT_NULL(test, mod);
	p = spanheap_vm_alloc_gfp(mod, 5000, GFP_ATOMIC, false);
	q = spanheap_vm_alloc(mod, 5000, false, NUMA_NO_NODE);
	r = spanheap_vm_alloc_gfp(mod, 5000, GFP_ATOMIC, false);
	KUNIT_ASSERT_TRUE(test, p && q && r);
	KUNIT_EXPECT_NULL(test, spanheap_owner(p));
	KUNIT_ASSERT_NOT_NULL(test, spanheap_owner(q));
	KUNIT_EXPECT_STREQ(test, spanheap_owner(q)->name, attr.name);
	KUNIT_EXPECT_PTR_EQ(test, spanheap_owner(r), spanheap_owner(q));
	spanheap_vm_free(p);
	spanheap_vm_kvfree_rcu(NULL, q);
	spanheap_vm_free(r);
	spanheap_vmalloc_gone(mod);
	expect_as(test, &b, 0);
	other = spanheap_client_register(&attr);	/* the name is free again */
	KUNIT_ASSERT_FALSE(test, IS_ERR(other));
	p = spanheap_vm_alloc(mod, 5000, false, NUMA_NO_NODE);
	KUNIT_EXPECT_TRUE(test, spanheap_is_span(p) && !spanheap_owner(p));
	spanheap_vm_free(p);
	spanheap_vmalloc_gone(mod);
	spanheap_client_unregister(other);
	expect_as(test, &b, 0);
	kfree(mod);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(memory_of_either_kind_is_freed),
	KUNIT_CASE(impossible_sizes_are_refused),
	KUNIT_CASE(realloc_keeps_and_clears),
	KUNIT_CASE(rcu_frees_find_the_object),
	KUNIT_CASE(module_is_a_client_by_its_name),
	{}
};

static struct kunit_suite suite = {
	.name = "spanheap_vmalloc",
	.test_cases = cases,
};

kunit_test_suites(&suite);
