// SPDX-License-Identifier: GPL-2.0
/*
 * The arena of a loadable module, on any architecture: a walk of the page tables that
 * finds what vmap() made, and walks that find something else. The entries that the walk
 * gives are a copy, so that a wrong one harms nobody.
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "fake_arena.h"

#define NR_ENTRIES	40u
#define RUN		16u	/* entries of one page table */
#define WRONG_AT	21u

static struct {
	pte_t entry[NR_ENTRIES];
	void *base;		/* of what was walked first; entry[] is of these addresses */
	u32 end;		/* the walk finds no page table from there on */
	pte_t wrong;		/* is the entry WRONG_AT, if spoilt */
	bool spoilt;
	u32 flushed;		/* pages */
} walk;

static pte_t *compat_ptes(void *addr, u32 nr, u32 *run)
{
	u32 i;

	if (!walk.base) {
		walk.base = addr;
		for (i = 0; i < NR_ENTRIES; i++)
			walk.entry[i] = mk_pte(vmalloc_to_page(addr + i * PAGE_SIZE), PAGE_KERNEL);
		if (walk.spoilt)
			walk.entry[WRONG_AT] = walk.wrong;
	}
	i = (addr - walk.base) >> PAGE_SHIFT;
	if (i >= walk.end)
		return NULL;
	*run = min(nr, RUN - i % RUN);
	return walk.entry + i;
}

static void compat_flush_tlb_range(void *start, void *end)
{
	walk.flushed += (end - start) >> PAGE_SHIFT;
}

#include <compat/arena_module.h>

static struct page *sentinel, *other;

static void walk_start(void)
{
	memset(&walk, 0, sizeof(walk));
	walk.end = NR_ENTRIES;
}

static void walk_spoil(pte_t wrong)
{
	walk_start();
	walk.wrong = wrong;
	walk.spoilt = true;
}

static int entries_init(struct kunit *test)
{
	sentinel = alloc_page(GFP_KERNEL);
	other = alloc_page(GFP_KERNEL);
	walk_start();
	return sentinel && other ? 0 : -ENOMEM;
}

static void entries_exit(struct kunit *test)
{
	if (sentinel)
		__free_page(sentinel);
	if (other)
		__free_page(other);
}

static u32 count_none(u32 start, u32 end)
{
	u32 n = 0;

	for (; start < end; start++)
		n += !!pte_none(walk.entry[start]);
	return n;
}

/* All but the sentinel's entry are none, and flushed */
static void reserving_clears_what_vmap_made(struct kunit *test)
{
	void *backend, *base = compat_reserve(NR_ENTRIES, sentinel, &backend);

	KUNIT_ASSERT_FALSE(test, IS_ERR(base));
	KUNIT_EXPECT_PTR_EQ(test, base, walk.base);
	KUNIT_EXPECT_EQ(test, count_none(0, NR_ENTRIES), NR_ENTRIES);
	KUNIT_EXPECT_EQ(test, walk.flushed, NR_ENTRIES);
	KUNIT_EXPECT_PTR_EQ(test, vmalloc_to_page(base + NR_ENTRIES * PAGE_SIZE), sentinel);
	compat_unreserve(base, backend);
}

static void reserving_is_refused(struct kunit *test, u32 at)
{
	void *backend, *base;
	char line[80];

	log_start();
	base = compat_reserve(NR_ENTRIES, sentinel, &backend);
	log_stop();
	KUNIT_EXPECT_EQ(test, PTR_ERR(base), -EOPNOTSUPP);
	snprintf(line, sizeof(line), "spanheap: page %u of %u is not mapped as it was reserved",
		 at, NR_ENTRIES);
	KUNIT_EXPECT_EQ(test, log_count(line), 1u);
	/* None of what is behind the wrong entry was touched, and what was cleared is flushed */
	KUNIT_EXPECT_EQ(test, count_none(0, at), at);
	KUNIT_EXPECT_EQ(test, count_none(at + 1, NR_ENTRIES), 0u);
	KUNIT_EXPECT_GE(test, walk.flushed, at);
	KUNIT_EXPECT_NULL(test, vmalloc_to_page(walk.base));
}

/* A walk that is wrong on this machine: the module does not load */
static void wrong_walk_refuses(struct kunit *test)
{
	walk_spoil(mk_pte(other, PAGE_KERNEL));
	reserving_is_refused(test, WRONG_AT);
	KUNIT_EXPECT_PTR_EQ(test, pte_page(walk.entry[WRONG_AT]), other);
	walk_spoil(__pte(0));
	reserving_is_refused(test, WRONG_AT);
	walk_spoil(mk_pte(pfn_to_page(0), PAGE_KERNEL));
	reserving_is_refused(test, WRONG_AT);
	walk_start();
	walk.end = RUN;
	reserving_is_refused(test, RUN);
	walk_start();
	walk.end = 0;
	reserving_is_refused(test, 0);
}

static bool is_in_list(struct page *page, const void *addr, const void *arg)
{
	return page == ((struct page **)arg)[(addr - walk.base) >> PAGE_SHIFT];
}

/* Pages are unmapped up to the first that is not where it was mapped */
static void releasing_stops_at_what_is_not_ours(struct kunit *test)
{
	static struct page *mapped[NR_ENTRIES], *got[NR_ENTRIES];
	void *backend, *base = compat_reserve(NR_ENTRIES, sentinel, &backend);
	u32 i;

	KUNIT_ASSERT_FALSE(test, IS_ERR(base));
	for (i = 0; i < NR_ENTRIES; i++) {
		mapped[i] = i % 2 ? sentinel : other;
		got[i] = NULL;
	}
	KUNIT_EXPECT_EQ(test, compat_set_ptes(base, mapped, NR_ENTRIES), NR_ENTRIES);
	walk.entry[WRONG_AT] = mk_pte(other, PAGE_KERNEL);
	KUNIT_EXPECT_EQ(test, compat_clear_ptes(base, got, NR_ENTRIES, is_in_list, mapped),
			WRONG_AT);
	KUNIT_EXPECT_EQ(test, count_none(0, WRONG_AT), WRONG_AT);
	KUNIT_EXPECT_EQ(test, count_none(WRONG_AT, NR_ENTRIES), 0u);
	KUNIT_EXPECT_EQ(test, memcmp(got, mapped, WRONG_AT * sizeof(*got)), 0);
	KUNIT_EXPECT_NULL(test, got[WRONG_AT]);
	/* Nothing is mapped over it either */
	KUNIT_EXPECT_EQ(test, compat_set_ptes(base, mapped, NR_ENTRIES), WRONG_AT);
	KUNIT_EXPECT_PTR_EQ(test, pte_page(walk.entry[WRONG_AT]), other);
	compat_unreserve(base, backend);
}

static struct kunit_case entries_cases[] = {
	KUNIT_CASE(reserving_clears_what_vmap_made),
	KUNIT_CASE(wrong_walk_refuses),
	KUNIT_CASE(releasing_stops_at_what_is_not_ours),
	{}
};

static struct kunit_suite entries_suite = {
	.name = "spanheap_entries",
	.init = entries_init,
	.exit = entries_exit,
	.test_cases = entries_cases,
};

kunit_test_suite(entries_suite);
