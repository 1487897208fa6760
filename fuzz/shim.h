/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of the kernel that the page heap needs, for a user-space program with one
 * CPU. For each kernel header that the sources include, tools/fuzz creates a file that
 * includes this one. A failed check of a kernel debug option aborts the program here.
 */
#ifndef _SPANHEAP_SHIM_H
#define _SPANHEAP_SHIM_H

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* ---- types and words ---- */

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef int32_t s32;
typedef int64_t s64;
/* As in the kernel, so that the compiler checks formats the same way */
typedef unsigned long long u64;
typedef unsigned int gfp_t;

#define U32_MAX		UINT32_MAX
#define S64_MAX		((s64)(~0ull >> 1))
#define MAX_ERRNO	4095
#define SZ_64K		0x10000
#define SZ_1M		0x100000
#define PAGE_SHIFT	12
#define HZ		250
#define MSEC_PER_SEC	1000
#define IS_ENABLED(config)	0
#define PAGE_SIZE	(1UL << PAGE_SHIFT)
#define offset_in_page(p)	((unsigned long)(p) & (PAGE_SIZE - 1))
#define PAGE_ALIGNED(p)	(!((unsigned long)(p) & (PAGE_SIZE - 1)))

#define __percpu
#define __cold
#define __must_hold(lock)
#define __malloc
#define __alloc_size(n)
#define __must_check
#define __force
#define noinline	__attribute__((noinline))
#undef __always_inline
#define __always_inline	inline __attribute__((always_inline))
#define ____cacheline_aligned_in_smp
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define barrier()	__asm__ volatile("" : : : "memory")
#define prefetchw(p)	__builtin_prefetch(p, 1)

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define min(a, b)	({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a < _b ? _a : _b; })
#define max(a, b)	({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a > _b ? _a : _b; })
#define min_t(t, a, b)	min((t)(a), (t)(b))
#define max_t(t, a, b)	max((t)(a), (t)(b))
#define DIV_ROUND_UP_ULL(n, d)	DIV_ROUND_UP(n, d)
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define round_up(x, y)		((((x) - 1) | ((__typeof__(x))(y) - 1)) + 1)
#define rounddown(x, y)		((x) - (x) % (y))
#define DEFINE_FREE(name, type, free)
#define DECLARE_STATIC_KEY_FALSE(name)	extern bool name

#define IS_ERR(p)	((unsigned long)(p) >= (unsigned long)-MAX_ERRNO)
#define ERR_PTR(e)	((void *)(long)(e))
#define PTR_ERR(p)	((long)(p))

static inline int scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(buf, size, fmt, args);
	va_end(args);
	return n;
}

/* ---- complaints ---- */

extern unsigned int shim_warnings;	/* number of warnings so far */
extern bool shim_may_warn;		/* a test expects a warning */

#define shim_die(...) do {						\
	fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);			\
	fprintf(stderr, __VA_ARGS__);					\
	fputc('\n', stderr);						\
	abort();							\
} while (0)

static inline __attribute__((format(printf, 2, 3)))
bool shim_warn(bool bad, const char *fmt, ...)
{
	va_list args;

	if (!bad)
		return false;
	shim_warnings++;
	if (shim_may_warn)
		return true;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	abort();
}

#define WARN(cond, ...)	shim_warn(cond, __VA_ARGS__)

/* ---- memory order: one CPU, and hooks between the accesses ---- */

/* Called after each store that a look-up may see, and after each load of a look-up */
extern void (*shim_stored)(void);
extern void (*shim_loaded)(void);

static inline void shim_after_store(void)
{
	if (unlikely(shim_stored))
		shim_stored();
}

static inline void shim_after_load(void)
{
	if (unlikely(shim_loaded))
		shim_loaded();
}

#define READ_ONCE(x) ({							\
	__typeof__(x) _v = *(const volatile __typeof__(x) *)&(x);	\
									\
	shim_after_load();						\
	_v;								\
})
#define WRITE_ONCE(x, v) do {						\
	*(volatile __typeof__(x) *)&(x) = (v);				\
	shim_after_store();						\
} while (0)
#define smp_store_release(p, v)	WRITE_ONCE(*(p), v)
#define smp_load_acquire(p)	READ_ONCE(*(p))
#define smp_rmb()	barrier()
#define smp_wmb()	shim_after_store()
#define cmpxchg(p, old, new) ({						\
	__typeof__(*(p)) _seen = *(p);					\
									\
	if (_seen == (old))						\
		*(p) = (new);						\
	_seen;								\
})

typedef struct { int counter; } atomic_t;
typedef struct { long counter; } atomic_long_t;
typedef struct { s64 counter; } atomic64_t;

#define atomic_read(a)			READ_ONCE((a)->counter)
#define atomic_add(n, a)		((void)((a)->counter += (n)))
#define atomic64_add(n, a)		((void)((a)->counter += (n)))
#define atomic_inc_return(a)		(++(a)->counter)
#define atomic_long_read(a)		READ_ONCE((a)->counter)
#define atomic_long_or(n, a)		((void)((a)->counter |= (n)))
#define atomic_long_andnot(n, a)	((void)((a)->counter &= ~(n)))

/* ---- bits ---- */

#define BITS_PER_LONG	64
#define BITS_TO_LONGS(n)	DIV_ROUND_UP(n, BITS_PER_LONG)
#define BIT_WORD(n)	((n) / BITS_PER_LONG)
#define GENMASK(h, l)	((~0UL << (l)) & (~0UL >> (BITS_PER_LONG - 1 - (h))))
#define DECLARE_BITMAP(name, n)	unsigned long name[BITS_TO_LONGS(n)]
#define hweight_long(w)	((unsigned int)__builtin_popcountl(w))

static inline void __set_bit(unsigned long n, unsigned long *map)
{
	map[BIT_WORD(n)] |= 1UL << n % BITS_PER_LONG;
}

static inline void __clear_bit(unsigned long n, unsigned long *map)
{
	map[BIT_WORD(n)] &= ~(1UL << n % BITS_PER_LONG);
}

static inline bool test_bit(unsigned long n, const unsigned long *map)
{
	return map[BIT_WORD(n)] >> n % BITS_PER_LONG & 1;
}

static inline unsigned long shim_find(const unsigned long *map, unsigned long size,
				      unsigned long at, unsigned long flip)
{
	while (at < size) {
		unsigned long word = (map[BIT_WORD(at)] ^ flip) >> at % BITS_PER_LONG;

		if (word)
			return min(at + __builtin_ctzl(word), size);
		at = (BIT_WORD(at) + 1) * BITS_PER_LONG;
	}
	return size;
}

#define find_next_bit(map, size, at)		shim_find(map, size, at, 0)
#define find_next_zero_bit(map, size, at)	shim_find(map, size, at, ~0UL)

static inline unsigned long find_last_bit(const unsigned long *map, unsigned long size)
{
	unsigned long end = size;

	while (end) {
		unsigned long i = BIT_WORD(end - 1);
		unsigned long word = map[i] & GENMASK((end - 1) % BITS_PER_LONG, 0);

		if (word)
			return i * BITS_PER_LONG + BITS_PER_LONG - 1 - __builtin_clzl(word);
		end = i * BITS_PER_LONG;
	}
	return size;
}

/* ---- lists ---- */

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_node {
	struct hlist_node *next;
};

#define LIST_HEAD_INIT(l)	{ &(l), &(l) }
#define LIST_HEAD(l)		struct list_head l = LIST_HEAD_INIT(l)
#define list_entry(p, t, m)	container_of(p, t, m)
#define list_first_entry(l, t, m)	list_entry((l)->next, t, m)
#define list_prev_entry(p, m)	list_entry((p)->m.prev, __typeof__(*(p)), m)
#define list_for_each_entry(p, l, m)					\
	for (p = list_entry((l)->next, __typeof__(*(p)), m); &p->m != (l);	\
	     p = list_entry(p->m.next, __typeof__(*(p)), m))

static inline void INIT_LIST_HEAD(struct list_head *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list_head *l)
{
	return l->next == l;
}

static inline void list_add(struct list_head *e, struct list_head *l)
{
	if (l->next->prev != l)
		shim_die("list_add() to a broken list");
	e->next = l->next;
	e->prev = l;
	l->next->prev = e;
	l->next = e;
}

static inline void list_add_tail(struct list_head *e, struct list_head *l)
{
	list_add(e, l->prev);
}

static inline void list_del(struct list_head *e)
{
	if (!e->next || e->next->prev != e || e->prev->next != e)
		shim_die("list_del() of what is on no list");
	e->next->prev = e->prev;
	e->prev->next = e->next;
	e->next = NULL;
	e->prev = NULL;
}

static inline void list_del_init(struct list_head *e)
{
	list_del(e);
	INIT_LIST_HEAD(e);
}

static inline void list_move_tail(struct list_head *e, struct list_head *l)
{
	list_del(e);
	list_add_tail(e, l);
}

static inline void list_splice_init(struct list_head *from, struct list_head *l)
{
	while (!list_empty(from)) {
		struct list_head *e = from->prev;

		list_del(e);
		list_add(e, l);
	}
}

static inline void list_splice_tail_init(struct list_head *from, struct list_head *l)
{
	while (!list_empty(from)) {
		struct list_head *e = from->next;

		list_del(e);
		list_add_tail(e, l);
	}
}

struct llist_node {
	struct llist_node *next;
};

struct llist_head {
	struct llist_node *first;
};

#define llist_entry(p, t, m)	container_of(p, t, m)

static inline void llist_add(struct llist_node *n, struct llist_head *l)
{
	n->next = l->first;
	l->first = n;
}

static inline struct llist_node *llist_del_all(struct llist_head *l)
{
	struct llist_node *n = l->first;

	l->first = NULL;
	return n;
}

/* ---- trees: a treap with the names of the kernel's red-black tree ---- */

struct rb_node {
	struct rb_node *rb_left, *rb_right, *parent;
};

struct rb_root {
	struct rb_node *rb_node;
};

#define RB_ROOT		((struct rb_root) { NULL })
#define rb_entry(p, t, m)	container_of(p, t, m)

void rb_add(struct rb_node *node, struct rb_root *tree,
	    bool (*less)(struct rb_node *a, const struct rb_node *b));
void rb_erase(struct rb_node *node, struct rb_root *tree);
struct rb_node *rb_first(const struct rb_root *tree);
struct rb_node *rb_last(const struct rb_root *tree);
struct rb_node *rb_next(const struct rb_node *node);

/* ---- locks ---- */

typedef struct { bool held; } spinlock_t;
typedef struct { bool held; } raw_spinlock_t;
struct mutex { bool held; };

extern int shim_atomic;		/* number of spinlocks held */
extern int shim_rcu;		/* nesting of RCU read sections */
extern bool shim_contended;	/* result of spin_is_contended() */
extern void (*shim_resched)(void);	/* called by cond_resched(): other tasks run */

/* Functions, so that coverage counts no aborting branch in the heap's files */
static inline unsigned long shim_lock(bool *held)
{
	if (*held)
		shim_die("a spinlock is taken twice");
	*held = true;
	return ++shim_atomic;
}

static inline void shim_unlock(bool *held, unsigned long flags)
{
	if (!*held || (int)flags != shim_atomic)
		shim_die("a spinlock is left that is not held");
	shim_atomic--;
	*held = false;
}

static inline void shim_must_hold(bool held, const char *who)
{
	if (!held)
		shim_die("%s without its lock", who);
}

#define spin_lock_irqsave(l, flags)	((flags) = shim_lock(&(l)->held))
#define spin_unlock_irqrestore(l, flags)	shim_unlock(&(l)->held, flags)
#define spin_is_contended(l)	(shim_contended)
#define lockdep_assert_held(l)	shim_must_hold((l)->held, __func__)
#define rcu_read_lock()		((void)shim_rcu++)
#define rcu_read_unlock()	((void)shim_rcu--)
#define preempt_disable()	do { } while (0)
#define preempt_enable()	do { } while (0)

static inline void cond_resched(void)
{
	if (shim_atomic)
		shim_die("sleeps under a spinlock");
	if (shim_resched)
		shim_resched();
}

/* ---- one CPU ---- */

#define for_each_possible_cpu(cpu)	for ((cpu) = 0; (cpu) < 1; (cpu)++)
#define per_cpu_ptr(p, cpu)		((void)(cpu), (p))
#define this_cpu_ptr(p)			(p)

/* ---- names that are declared but not used ---- */

typedef struct { char unused; } wait_queue_head_t;
struct work_struct { char unused; };
struct delayed_work { char unused; };
struct completion { char unused; };
struct kobject { char unused; };
struct rcu_head { char unused; };
struct rnd_state { char unused; };
struct xarray { char unused; };
struct page;
struct task_struct;
struct workqueue_struct;
struct kernel_param_ops;

#define want_init_on_alloc(gfp)	((gfp) & __GFP_ZERO)
#define __GFP_ZERO		1u

#define gfpflags_allow_blocking(gfp)	((gfp) & 2u)
#define __GFP_NOFAIL		4u
#define current			NULL
#define fatal_signal_pending(task)	false
#define might_alloc(gfp)	((void)(gfp))
#define wake_up(queue)		((void)(queue))

static inline void trace_spanheap_grow(unsigned long used, unsigned long nr_pages,
				       const char *name) { }

#endif
