// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/debug/spanheap: spans, free, check, profile. No logic here.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "spanheap_internal.h"

static struct dentry *dir;

/* A copy of one span, so that a reader prints without a lock */
struct spans_iter {
	struct span span;
	char name[SPANHEAP_NAME_MAX + 1];
};

/* The file position is a page index, which stays valid while spans come and go */
static void *spans_start(struct seq_file *m, loff_t *pos)
{
	struct spanheap *h = spanheap_heap;
	struct spans_iter *it = m->private;
	struct spanheap_client *client;
	unsigned long flags;
	struct span *s;
	bool more;
	u32 idx;

	if (*pos >= U32_MAX)
		return NULL;
	idx = *pos;
	do {
		rcu_read_lock();	/* a client is freed a grace period after its last span */
		spin_lock_irqsave(&h->lock, flags);
		s = __spanheap_walk(h, &idx);
		if (s) {
			it->span = *s;
			client = it->span.client;
			strscpy(it->name, client ? client->name : "-", sizeof(it->name));
		}
		more = !s && idx < h->used;
		spin_unlock_irqrestore(&h->lock, flags);
		rcu_read_unlock();
		cond_resched();
	} while (more);
	return s ? it : NULL;
}

static void *spans_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct spans_iter *it = v;

	*pos = span_end(&it->span);
	return spans_start(m, pos);
}

static void spans_stop(struct seq_file *m, void *v)
{
}

/* Idle time of the oldest part of a free span, exact to an epoch; 0 without memory */
static unsigned int idle_ms(struct spanheap *h, const struct span *s)
{
	u32 epochs = READ_ONCE(h->epoch) - s->epoch;

	return has_backed(s) ? jiffies_to_msecs(epochs * READ_ONCE(h->epoch_ticks)) : 0;
}

/* Columns: page pages state released_pages idle_ms client caller */
static int spans_show(struct seq_file *m, void *v)
{
	static const char * const names[] = {
		[SPAN_DEAD] = "dead", [SPAN_FREE] = "free", [SPAN_OWNED] = "owned",
		[SPAN_INUSE] = "inuse", [SPAN_RELEASING] = "releasing",
		[SPAN_CACHED] = "cached", [SPAN_GUARD] = "guard",
		[SPAN_RESERVED] = "reserved",
	};
	struct spans_iter *it = v;
	struct span *s = &it->span;
	char text[SITE_TEXT];
	bool free = span_state(s) == SPAN_FREE;

	seq_printf(m, "%u %u %s %u %u %s %s\n", s->start, s->nr_pages,
		   names[span_state(s)], free ? s->nr_released : 0,
		   free ? idle_ms(spanheap_heap, s) : 0,
		   it->name, spanheap_site_text(spanheap_heap, s->caller, text));
	return 0;
}

static const struct seq_operations spans_sops = {
	.start = spans_start,
	.next = spans_next,
	.stop = spans_stop,
	.show = spans_show,
};

static int spans_open(struct inode *inode, struct file *file)
{
	return seq_open_private(file, &spans_sops, sizeof(struct spans_iter));
}

static const struct file_operations spans_fops = {
	.owner = THIS_MODULE,
	.open = spans_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release_private,
};

/* Free spans by length: pages, number of spans */
static int free_show(struct seq_file *m, void *v)
{
	struct spanheap *h = spanheap_heap;
	u32 i, nr, large, largest;
	unsigned long flags;

	spin_lock_irqsave(&h->lock, flags);
	large = h->nr_free;
	for (i = 1; i < SMALL_PAGES; i++)
		large -= h->nr_small[i];
	largest = h->largest_free;
	spin_unlock_irqrestore(&h->lock, flags);

	for (i = 1; i < SMALL_PAGES; i++) {
		nr = READ_ONCE(h->nr_small[i]);
		if (nr)
			seq_printf(m, "%u %u\n", i, nr);
	}
	if (large)
		seq_printf(m, "%u+ %u largest %u\n", SMALL_PAGES, large, largest);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(free);

static int check_show(struct seq_file *m, void *v)
{
	char why[128];

	if (spanheap_check(spanheap_heap, why, sizeof(why)))
		seq_printf(m, "%s\n", why);
	else
		seq_puts(m, "ok\n");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(check);

static int profile_show(struct seq_file *m, void *v)
{
	struct spanheap_stats st;

	spanheap_prof_show(spanheap_heap, m);
	spanheap_heap_stats(spanheap_heap, &st, true);
	seq_printf(m, "# bytes in use, sampled or not: %llu\n", st.inuse_bytes);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(profile);

void spanheap_debugfs_init(struct spanheap *h)
{
	dir = debugfs_create_dir("spanheap", NULL);
	debugfs_create_file("spans", 0400, dir, NULL, &spans_fops);
	debugfs_create_file("free", 0400, dir, NULL, &free_fops);
	debugfs_create_file("check", 0400, dir, NULL, &check_fops);
	debugfs_create_file("profile", 0400, dir, NULL, &profile_fops);
}

void spanheap_debugfs_exit(void)
{
	debugfs_remove(dir);
}
