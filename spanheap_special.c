// SPDX-License-Identifier: GPL-2.0
/*
 * Specials: records attached to addresses in in-use spans. Finalizers live here;
 * profile records are spanheap_prof.c's, which is told when their span is freed.
 *
 * A span with specials has SPAN_SLOW, so that the frees of all other spans never look
 * for them. The first special of a span sets SPAN_SLOW, by a compare-and-swap that
 * succeeds on an in-use span only, under the special lock. A span with SPAN_SLOW is claimed
 * for freeing under that lock only. It follows that
 *
 *  - a free sees each special that was added before its claim, and none is added after it;
 *  - under the special lock, a tree that is not empty proves that the record is still the same
 *    span. Only spanheap_realloc() changes its start; specials have offsets, and move with it.
 *
 * The sweep that finds an object dead queues the object's finalizer. The finalizer stays
 * in the tree as SPECIAL_QUEUED until it has run. Until then the span stays in use, and a
 * new finalizer of the same object may be added.
 *
 * Modelled on the specials of the Go 1.3 runtime (mheap.c).
 */
#define pr_fmt(fmt) "spanheap: " fmt

#include <linux/hash.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "spanheap_internal.h"

#define BATCH	64u	/* most specials, or spans, visited in one hold of a lock */

struct finalizer {
	struct special sp;
	spanheap_finalizer_t fn;
	void *arg;
	/* valid once queued */
	struct spanheap *heap;
	struct span *span;
	struct spanheap_client *client;
	struct work_struct work;
};

static struct kmem_cache *finalizer_cache;
static struct workqueue_struct *finalizer_wq;

static struct finalizer *to_finalizer(struct special *sp)
{
	return container_of(sp, struct finalizer, sp);
}

static void free_finalizer(struct spanheap *h, struct finalizer *f)
{
	atomic_long_dec(&h->nr_finalizers);
	kmem_cache_free(finalizer_cache, f);
}

/* ---- the tree ---- */

static spinlock_t *special_lock(struct spanheap *h, const struct span *s)
{
	return &h->special_lock[hash_ptr(s, ilog2(SPECIAL_LOCKS))];
}

static int special_cmp(const struct special *a, const struct special *b)
{
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return (int)a->kind - b->kind;
}

static struct special *to_special(const struct rb_node *node)
{
	return rb_entry_safe(node, struct special, node);
}

static int key_cmp(const void *key, const struct rb_node *node)
{
	return special_cmp(key, to_special(node));
}

static int node_cmp(struct rb_node *new, const struct rb_node *node)
{
	return special_cmp(to_special(new), to_special(node));
}

/* The first special at or after key, or NULL */
static struct special *first_from(const struct rb_root *root, const struct special *key)
{
	struct rb_node *node = root->rb_node;
	struct special *found = NULL;

	while (node) {
		struct special *sp = to_special(node);

		if (special_cmp(sp, key) < 0) {
			node = node->rb_right;
		} else {
			found = sp;
			node = node->rb_left;
		}
	}
	return found;
}

static struct special *next_special(struct special *sp)
{
	return to_special(rb_next(&sp->node));
}

/* A finalizer of the span, queued or not. A span has at most one profile record. */
static struct finalizer *any_finalizer(const struct rb_root *root)
{
	struct special *sp = to_special(rb_first(root));

	while (sp && sp->kind == SPECIAL_PROFILE)
		sp = next_special(sp);
	return sp ? to_finalizer(sp) : NULL;
}

/* ---- add and remove ---- */

/* The offset of addr in s. False: addr is not in s. The caller ensures that s does not move. */
static bool offset_in(const struct spanheap *h, const struct span *s,
		      const void *addr, u64 *offset)
{
	*offset = (unsigned long)addr - (unsigned long)span_addr(h, s);
	return *offset < (u64)READ_ONCE(s->nr_pages) << PAGE_SHIFT;
}

/* Does a whole object start at that offset of s? s cannot be freed meanwhile. */
static bool object_at(const struct span *s, u64 offset)
{
	u32 size = s->obj_size;

	if (!size)
		return !offset;
	return !(offset % size) && offset + size <= (u64)s->nr_pages << PAGE_SHIFT;
}

/* Attach *sp at addr. Under the special lock; s may be the record of another span by now. */
static int add_to(struct spanheap *h, struct span *s, const void *addr,
		  struct special **sp)
{
	/* Once s has SPAN_SLOW, a free of s needs the special lock */
	if (!span_set_slow(s) || !offset_in(h, s, addr, &(*sp)->offset))
		return -EINVAL;
	/* Without sweeps the finalizer would never run, and the span never be freed */
	if ((*sp)->kind == SPECIAL_FINALIZER &&
	    (!READ_ONCE(s->client)->sweep || !object_at(s, (*sp)->offset)))
		return -EINVAL;
	return rb_find_add(&(*sp)->node, &s->specials, node_cmp) ? -EEXIST : 0;
}

/* Detach a special at addr. *sp is a key with its kind set, then the special. Special lock. */
static int remove_from(struct spanheap *h, struct span *s, const void *addr,
		       struct special **sp)
{
	if (RB_EMPTY_ROOT(&s->specials) || !offset_in(h, s, addr, &(*sp)->offset))
		return -ENOENT;
	*sp = to_special(rb_find(*sp, &s->specials, key_cmp));
	if (!*sp)
		return -ENOENT;
	rb_erase(&(*sp)->node, &s->specials);
	return 0;
}

/* Call fn() for the record that may be the span with addr, under its special lock */
static int locked(struct spanheap *h, const void *addr, struct special **sp,
		  int (*fn)(struct spanheap *h, struct span *s, const void *addr,
			    struct special **sp))
{
	unsigned long flags;
	int err = -EINVAL;
	spinlock_t *lock;	/* special lock of s */
	struct span *s;

	rcu_read_lock();	/* SLAB_TYPESAFE_BY_RCU: the memory remains a record */
	s = spanheap_span_guess(h, addr);
	if (s) {
		lock = special_lock(h, s);
		spin_lock_irqsave(lock, flags);
		err = fn(h, s, addr, sp);
		spin_unlock_irqrestore(lock, flags);
	}
	rcu_read_unlock();
	return err;
}

/**
 * spanheap_special_add() - attach a special to an address
 * @h: the heap
 * @addr: any address in an in-use span; of a finalizer, where an object of a client with
 *	a sweep callback starts
 * @sp: kind is set
 *
 * Context: Any but NMI. Takes a special lock (irqsave).
 * Return: 0. -EEXIST: the address has a special of this kind. -EINVAL: addr is not in an
 * in-use span, the span is being resized, or no object starts at addr.
 */
int spanheap_special_add(struct spanheap *h, const void *addr, struct special *sp)
{
	return locked(h, addr, &sp, add_to);
}

/**
 * spanheap_special_remove() - detach a special
 * @h: the heap
 * @addr: the address that the special is attached to
 * @kind: kind of the special
 *
 * Context: Any but NMI. Takes a special lock (irqsave).
 * Return: the special, which the caller owns now. NULL: there is none.
 */
struct special *spanheap_special_remove(struct spanheap *h, const void *addr,
					enum special_kind kind)
{
	struct special key = { .kind = kind }, *sp = &key;

	return locked(h, addr, &sp, remove_from) ? NULL : sp;
}

/* ---- spans that are freed, swept, cut ---- */

/*
 * Claim s, which has SPAN_SLOW, to free it: s becomes OWNED, and its specials move to
 * *specials, for spanheap_specials_freed(). False: the use in which the caller read word
 * has ended, or s has a finalizer (*fn); s does not change. Under the heap lock.
 */
bool spanheap_specials_claim(struct spanheap *h, struct span *s, u64 word,
			     struct rb_root *specials, spanheap_finalizer_t *fn)
{
	spinlock_t *lock = special_lock(h, s);
	struct finalizer *f;
	bool claimed = false;

	lockdep_assert_held(&h->lock);
	spin_lock(lock);
	f = any_finalizer(&s->specials);
	if (f) {
		*fn = f->fn;
	} else if (span_claim(s, &word)) {
		*specials = s->specials;
		s->specials = RB_ROOT;
		claimed = true;
	}
	spin_unlock(lock);
	return claimed;
}

/* Free the specials of a freed span; none of them is a finalizer. No lock is held. */
void spanheap_specials_freed(struct spanheap *h, struct rb_root *specials)
{
	struct special *sp, *next;

	rbtree_postorder_for_each_entry_safe(sp, next, specials, node)
		h->profile_freed(sp);
}

static void run_finalizer(struct work_struct *work)
{
	struct finalizer *f = container_of(work, struct finalizer, work);
	struct spanheap_client *client = f->client;
	struct callback cb = { .task = current };
	struct spanheap *h = f->heap;
	struct span *s = f->span;
	spinlock_t *lock = special_lock(h, s);
	unsigned long flags;

	spin_lock_irq(&h->lock);
	list_add(&cb.list, &h->callbacks);
	spin_unlock_irq(&h->lock);

	f->fn(span_addr(h, s) + f->sp.offset, f->arg);

	spin_lock_irq(&h->lock);
	list_del(&cb.list);
	spin_unlock_irq(&h->lock);
	spin_lock_irqsave(lock, flags);
	rb_erase(&f->sp.node, &s->specials);
	spin_unlock_irqrestore(lock, flags);
	free_finalizer(h, f);
	/* At 0 the client may be freed at once; wake_up_var() uses only its address */
	if (atomic_dec_and_test(&client->queued))
		wake_up_var(&client->queued);
}

/* Queue sp, unless an earlier finalizer of the object has yet to run. Special lock. */
static void queue_finalizer(struct spanheap *h, struct span *s, struct special *sp)
{
	struct special *next = next_special(sp);
	struct finalizer *f = to_finalizer(sp);

	if (next && next->offset == sp->offset && next->kind == SPECIAL_QUEUED)
		return;
	sp->kind = SPECIAL_QUEUED;	/* does not change its place in the tree */
	f->heap = h;
	f->span = s;
	f->client = READ_ONCE(s->client);
	atomic_inc(&f->client->queued);
	INIT_WORK(&f->work, run_finalizer);
	queue_work(finalizer_wq, &f->work);
}

/*
 * A sweep found s, which is in use, dead: queue a batch of its finalizers, from *key on;
 * *key starts as 0. Sets *kept if s has finalizers, queued now or before: then s stays
 * until the next generation. True: there are more. The caller then drops the heap lock,
 * checks that s is still in the same use, and calls again. Under the heap lock.
 */
bool __spanheap_specials_sweep(struct spanheap *h, struct span *s,
			       struct special *key, bool *kept)
{
	spinlock_t *lock = special_lock(h, s);
	struct special *sp, *next;
	u32 n;

	lockdep_assert_held(&h->lock);
	spin_lock(lock);
	sp = first_from(&s->specials, key);
	for (n = 0; n < BATCH && sp; n++, sp = next) {
		next = next_special(sp);
		key->offset = sp->offset;
		key->kind = sp->kind + 1;
		if (sp->kind == SPECIAL_PROFILE)
			continue;
		*kept = true;
		if (sp->kind == SPECIAL_FINALIZER)
			queue_finalizer(h, s, sp);
	}
	spin_unlock(lock);
	return n == BATCH;
}

/* Has s, which is OWNED, specials beyond its first nr_pages pages? */
bool spanheap_specials_beyond(struct spanheap *h, struct span *s, u32 nr_pages)
{
	spinlock_t *lock = special_lock(h, s);
	unsigned long flags;
	struct special *sp;
	bool beyond;

	spin_lock_irqsave(lock, flags);
	sp = to_special(rb_last(&s->specials));
	beyond = sp && sp->offset >= (u64)nr_pages << PAGE_SHIFT;
	spin_unlock_irqrestore(lock, flags);
	return beyond;
}

/* Has s, which the caller OWNs, a finalizer, queued or not? Those name the object's address. */
bool spanheap_has_finalizer(struct spanheap *h, struct span *s)
{
	spinlock_t *lock = special_lock(h, s);
	unsigned long flags;
	bool has;

	spin_lock_irqsave(lock, flags);
	has = any_finalizer(&s->specials);
	spin_unlock_irqrestore(lock, flags);
	return has;
}

/* ---- walks over all spans that have specials ---- */

/*
 * Find the next span of client c (NULL: any client) that has specials, from page *idx on.
 * NULL: none in this batch; the walk continues at *idx, or is over if *idx is U32_MAX.
 * In an RCU read section.
 */
static struct span *next_with_specials(struct spanheap *h, struct spanheap_client *c,
				       u32 *idx)
{
	unsigned long flags;
	struct span *s;
	u32 n;

	spin_lock_irqsave(&h->lock, flags);
	for (n = 0; n < BATCH; n++) {
		s = __spanheap_walk(h, idx);
		if (s)
			*idx = span_end(s);
		if (!s || (!RB_EMPTY_ROOT(&s->specials) && (!c || s->client == c)))
			break;
		s = NULL;
	}
	if (*idx >= h->used)
		*idx = U32_MAX;
	spin_unlock_irqrestore(&h->lock, flags);
	return s;
}

/* Free a batch of the finalizers of s that are not queued, from *key on */
static u32 drop_batch(struct spanheap *h, struct spanheap_client *c, struct span *s,
		      struct special *key, spanheap_finalizer_t *fn, u32 *dropped)
{
	spinlock_t *lock = special_lock(h, s);
	struct special *sp, *next;
	unsigned long flags;
	u32 n = 0;

	spin_lock_irqsave(lock, flags);
	sp = first_from(&s->specials, key);
	/* The record may belong to another client's span by now; s->client tells */
	if (sp && READ_ONCE(s->client) != c)
		sp = NULL;
	for (; sp && n < BATCH; sp = next, n++) {
		next = next_special(sp);
		key->offset = sp->offset;
		key->kind = sp->kind + 1;
		if (sp->kind != SPECIAL_FINALIZER)
			continue;
		rb_erase(&sp->node, &s->specials);
		if (!*fn)
			*fn = to_finalizer(sp)->fn;
		free_finalizer(h, to_finalizer(sp));
		(*dropped)++;
	}
	spin_unlock_irqrestore(lock, flags);
	return n;
}

/* Wait for the queued finalizers of c. The spans of c are not swept any more. */
void spanheap_specials_wait(struct spanheap_client *c)
{
	wait_var_event(&c->queued, !atomic_read(&c->queued));
}

/* Free the other finalizers of c, because their code may be freed with the client */
void spanheap_specials_leave(struct spanheap_client *c)
{
	struct spanheap *h = c->heap;
	spanheap_finalizer_t fn = NULL;
	u32 idx = 0, dropped = 0;
	struct span *s;

	while (atomic_long_read(&h->nr_finalizers) && idx != U32_MAX) {
		struct special key = {};

		rcu_read_lock();	/* as in locked(): s is used without the heap lock */
		s = next_with_specials(h, c, &idx);
		while (s && drop_batch(h, c, s, &key, &fn, &dropped) == BATCH)
			;
		rcu_read_unlock();
		cond_resched();
	}
	if (dropped)
		pr_warn("client %s is gone and leaves %u finalizers that will not run, the first %pS\n",
			c->name, dropped, fn);
}

/* Check a batch of the specials of s, from *key on. Returns the error or NULL. */
static const char *check_batch(struct spanheap *h, struct span *s,
			       struct special *key, bool *more)
{
	spinlock_t *lock = special_lock(h, s);
	struct special *sp, *prev = NULL;
	const char *bad = NULL;
	unsigned long flags;
	enum span_state state;
	u64 word;
	u32 n = 0;

	spin_lock_irqsave(lock, flags);
	word = READ_ONCE(s->word);
	state = word_state(word);
	sp = first_from(&s->specials, key);
	if (sp && state != SPAN_OWNED &&
	    !(state == SPAN_INUSE && word & SPAN_SLOW))
		bad = "specials on a span that is not in use or has no SPAN_SLOW";
	for (; sp && !bad && n < BATCH; sp = next_special(sp), n++) {
		if (sp->kind > SPECIAL_PROFILE)
			bad = "special of an unknown kind";
		else if (prev && special_cmp(prev, sp) >= 0)
			bad = "specials out of order";
		else if (state != SPAN_OWNED &&
			 sp->offset >= (u64)READ_ONCE(s->nr_pages) << PAGE_SHIFT)
			bad = "special beyond the end of its span";
		key->offset = sp->offset;
		key->kind = sp->kind + 1;
		prev = sp;
	}
	*more = sp && !bad;
	spin_unlock_irqrestore(lock, flags);
	return bad;
}

/* Check all specials. Returns NULL, or an error in the span that ends at *idx. */
const char *spanheap_specials_check(struct spanheap *h, u32 *idx)
{
	const char *bad = NULL;
	struct span *s;

	*idx = 0;
	while (!bad && *idx != U32_MAX) {
		struct special key = {};
		bool more = true;

		rcu_read_lock();	/* as in locked(): s is used without the heap lock */
		s = next_with_specials(h, NULL, idx);
		while (s && more && !bad)
			bad = check_batch(h, s, &key, &more);
		rcu_read_unlock();
		cond_resched();
	}
	return bad;
}

/* ---- finalizers ---- */

int spanheap_finalizer_add(struct spanheap *h, void *obj, spanheap_finalizer_t fn,
			   void *arg, gfp_t gfp)
{
	struct finalizer *f;
	int err;

	spanheap_might_alloc(gfp);
	if (!fn || !spanheap_gfp_ok(gfp))
		return -EINVAL;
	f = kmem_cache_alloc(finalizer_cache, gfp & (GFP_META | __GFP_NOWARN));
	if (!f)
		return -ENOMEM;
	f->sp.kind = SPECIAL_FINALIZER;
	f->fn = fn;
	f->arg = arg;
	atomic_long_inc(&h->nr_finalizers);
	/* First, so that no sweep of this cycle finds the object dead and queues f */
	spanheap_sweep_live(h, obj);
	err = spanheap_special_add(h, obj, &f->sp);
	if (err)
		free_finalizer(h, f);
	return err;
}

int spanheap_finalizer_remove(struct spanheap *h, void *obj)
{
	struct special *sp = spanheap_special_remove(h, obj, SPECIAL_FINALIZER);

	if (!sp)
		return -ENOENT;
	free_finalizer(h, to_finalizer(sp));
	return 0;
}

/* ---- life ---- */

/* Bytes of memory that finalizers use */
u64 spanheap_special_meta(struct spanheap *h)
{
	return atomic_long_read(&h->nr_finalizers) * sizeof(struct finalizer);
}

void spanheap_special_init(struct spanheap *h)
{
	u32 i;

	for (i = 0; i < SPECIAL_LOCKS; i++)
		spin_lock_init(&h->special_lock[i]);
}

/* Once per module */
int spanheap_special_setup(void)
{
	BUILD_BUG_ON(offsetof(struct finalizer, sp));
	finalizer_cache = kmem_cache_create("spanheap_finalizer",
					    sizeof(struct finalizer), 0, 0, NULL);
	if (!finalizer_cache)
		return -ENOMEM;
	/* Unbound, because finalizers may run for long and need no specific CPU */
	finalizer_wq = alloc_workqueue("spanheap", WQ_UNBOUND, 0);
	if (!finalizer_wq) {
		kmem_cache_destroy(finalizer_cache);
		return -ENOMEM;
	}
	return 0;
}

void spanheap_special_teardown(void)
{
	destroy_workqueue(finalizer_wq);
	kmem_cache_destroy(finalizer_cache);
}
