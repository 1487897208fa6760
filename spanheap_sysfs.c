// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/spanheap: one value per file. No logic here.
 */
#include <linux/ctype.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "spanheap_internal.h"

static struct kobject *dir;

struct stat_attr {
	struct kobj_attribute attr;
	size_t offset;
	bool per_cpu;		/* see spanheap_heap_stats() */
};

static ssize_t stat_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct stat_attr *a = container_of(attr, struct stat_attr, attr);
	struct spanheap_stats st;

	spanheap_heap_stats(spanheap_heap, &st, a->per_cpu);
	return sysfs_emit(buf, "%llu\n", *(u64 *)((char *)&st + a->offset));
}

#define STAT(_name, _per_cpu)						\
static struct stat_attr stat_##_name = {				\
	.attr = __ATTR(_name, 0444, stat_show, NULL),			\
	.offset = offsetof(struct spanheap_stats, _name),		\
	.per_cpu = _per_cpu,						\
}

STAT(arena_bytes, false);
STAT(sys_bytes, false);
STAT(inuse_bytes, true);
STAT(idle_bytes, true);
STAT(released_bytes, false);
STAT(resident_bytes, false);
STAT(cached_bytes, true);
STAT(objects, true);
STAT(spans, true);
STAT(span_meta_bytes, false);
STAT(other_meta_bytes, false);
STAT(allocs, true);
STAT(frees, true);
STAT(failed_allocs, false);
STAT(invalid_frees, false);
STAT(grows, false);
STAT(scavenge_passes, false);
STAT(scavenged_bytes, false);
STAT(tlb_flushes, false);
STAT(largest_free_pages, false);
STAT(orphan_bytes, false);
STAT(refaulted_bytes, false);

struct knob_attr {
	struct kobj_attribute attr;
	struct kernel_param kp;
};

static ssize_t knob_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct knob_attr *a = container_of(attr, struct knob_attr, attr);

	return sysfs_emit(buf, "%u\n", READ_ONCE(*(unsigned int *)a->kp.arg));
}

static ssize_t knob_store(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t count)
{
	struct knob_attr *a = container_of(attr, struct knob_attr, attr);
	int err = spanheap_ms_ops.set(buf, &a->kp);

	return err ? err : count;
}

#define KNOB(_name)							\
static struct knob_attr knob_##_name = {				\
	.attr = __ATTR(_name, 0644, knob_show, knob_store),		\
	.kp = { .arg = &spanheap_##_name },				\
}

KNOB(scavenge_age_ms);
KNOB(scavenge_period_ms);
KNOB(force_cycle_ms);

static ssize_t heap_limit_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(spanheap_limit_bytes));
}

static ssize_t heap_limit_store(struct kobject *kobj, struct kobj_attribute *attr,
				const char *buf, size_t count)
{
	const struct kernel_param kp = { .arg = &spanheap_limit_bytes };
	int err = spanheap_limit_ops.set(buf, &kp);

	return err ? err : count;
}

static struct kobj_attribute heap_limit_attr = __ATTR(limit_bytes, 0644, heap_limit_show,
						      heap_limit_store);

/* A size with a unit, in pages, rounded up; 0, and what needs more than 64 bits, is none */
static int parse_size(const char *buf, u64 *pages)
{
	static const char units[] = "KMGTPE";
	char text[32], *last;
	const char *unit;
	u64 n;

	if (strscpy(text, buf, sizeof(text)) <= 0)
		return -EINVAL;
	last = text + strlen(text) - 1;
	if (*last == '\n' && last > text)
		last--;
	unit = strchr(units, toupper(*last));
	if (!*last || !unit)
		return -EINVAL;
	*last = 0;
	if (kstrtou64(text, 0, &n) || !n || n > U64_MAX >> (10 * (unit - units + 1)))
		return -EINVAL;
	n <<= 10 * (unit - units + 1);
	*pages = (n >> PAGE_SHIFT) + !!offset_in_page(n);
	return 0;
}

static u64 released_bytes;	/* by the last write to "release" */

static ssize_t release_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(released_bytes));
}

static ssize_t release_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	unsigned int one;
	u64 want, n;

	if (!kstrtouint(buf, 0, &one) && one == 1)
		n = spanheap_release_all(spanheap_heap);
	else if (!parse_size(buf, &want))
		n = spanheap_release_pages(spanheap_heap, want);
	else
		return -EINVAL;
	WRITE_ONCE(released_bytes, n << PAGE_SHIFT);
	return count;
}

static struct kobj_attribute release_attr = __ATTR(release, 0644, release_show, release_store);

static struct attribute *heap_attrs[] = {
	&stat_arena_bytes.attr.attr,
	&stat_sys_bytes.attr.attr,
	&stat_inuse_bytes.attr.attr,
	&stat_idle_bytes.attr.attr,
	&stat_released_bytes.attr.attr,
	&stat_resident_bytes.attr.attr,
	&stat_cached_bytes.attr.attr,
	&stat_objects.attr.attr,
	&stat_spans.attr.attr,
	&stat_span_meta_bytes.attr.attr,
	&stat_other_meta_bytes.attr.attr,
	&stat_allocs.attr.attr,
	&stat_frees.attr.attr,
	&stat_failed_allocs.attr.attr,
	&stat_invalid_frees.attr.attr,
	&stat_grows.attr.attr,
	&stat_scavenge_passes.attr.attr,
	&stat_scavenged_bytes.attr.attr,
	&stat_tlb_flushes.attr.attr,
	&stat_largest_free_pages.attr.attr,
	&stat_orphan_bytes.attr.attr,
	&stat_refaulted_bytes.attr.attr,
	&knob_scavenge_age_ms.attr.attr,
	&knob_scavenge_period_ms.attr.attr,
	&knob_force_cycle_ms.attr.attr,
	&heap_limit_attr.attr,
	&release_attr.attr,
	NULL,
};

static const struct attribute_group heap_group = { .attrs = heap_attrs };

/* ---- clients/<name>/ ---- */

static struct spanheap_client *to_client(struct kobject *kobj)
{
	return container_of(kobj, struct spanheap_client, kobj);
}

#define CLIENT(_name, _value)						\
static ssize_t _name##_show(struct kobject *kobj,			\
			    struct kobj_attribute *attr, char *buf)	\
{									\
	struct spanheap_client *c = to_client(kobj);			\
	struct client_counts n;						\
									\
	spanheap_client_sum(c, &n);					\
	return sysfs_emit(buf, "%llu\n", (u64)(_value));		\
}									\
static struct kobj_attribute client_##_name = __ATTR_RO(_name)

CLIENT(inuse_bytes, n.pages << PAGE_SHIFT);
CLIENT(peak_bytes, n.peak << PAGE_SHIFT);
CLIENT(spans, max_t(s64, n.allocs - n.frees, 0));
CLIENT(allocs, n.allocs);
CLIENT(frees, n.frees);

static ssize_t failed_allocs_show(struct kobject *kobj, struct kobj_attribute *attr,
				  char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_client(kobj)->failed_allocs));
}

static struct kobj_attribute client_failed_allocs = __ATTR_RO(failed_allocs);

static ssize_t reserve_bytes_show(struct kobject *kobj, struct kobj_attribute *attr,
				  char *buf)
{
	return sysfs_emit(buf, "%llu\n", spanheap_reserve_pages(to_client(kobj)) << PAGE_SHIFT);
}

static struct kobj_attribute client_reserve_bytes = __ATTR_RO(reserve_bytes);

static ssize_t limit_bytes_show(struct kobject *kobj, struct kobj_attribute *attr,
				char *buf)
{
	return sysfs_emit(buf, "%llu\n",
			  READ_ONCE(to_client(kobj)->limit_pages) << PAGE_SHIFT);
}

static ssize_t limit_bytes_store(struct kobject *kobj, struct kobj_attribute *attr,
				 const char *buf, size_t count)
{
	u64 bytes;
	int err = kstrtou64(buf, 0, &bytes);

	if (err)
		return err;
	spanheap_set_limit(to_client(kobj), limit_to_pages(bytes));
	return count;
}

static struct kobj_attribute client_limit_bytes = __ATTR_RW(limit_bytes);

static struct attribute *client_attrs[] = {
	&client_inuse_bytes.attr,
	&client_peak_bytes.attr,
	&client_spans.attr,
	&client_allocs.attr,
	&client_frees.attr,
	&client_failed_allocs.attr,
	&client_limit_bytes.attr,
	&client_reserve_bytes.attr,
	NULL,
};
ATTRIBUTE_GROUPS(client);

/* Wake the tasks that poll inuse_bytes: an allocation was refused because of the limit */
void spanheap_sysfs_limit_hit(struct work_struct *work)
{
	struct spanheap_client *c = container_of(to_delayed_work(work), struct spanheap_client,
						 limit_work);

	WRITE_ONCE(c->limit_told, jiffies);
	if (c->heap->kobj_dir)
		sysfs_notify(&c->kobj, NULL, "inuse_bytes");
}

static void client_released(struct kobject *kobj)
{
	complete(&container_of(kobj, struct spanheap_client, kobj)->released);
}

static const struct kobj_type client_type = {
	.release = client_released,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = client_groups,
};

/* On failure the kobject is already released; the caller frees the client */
int spanheap_sysfs_add_client(struct spanheap_client *c)
{
	int err;

	if (!c->heap->kobj_dir)
		return 0;	/* a heap of the unit tests */
	err = kobject_init_and_add(&c->kobj, &client_type, c->heap->kobj_dir,
				   "%s", c->name);
	if (err) {
		kobject_put(&c->kobj);
		wait_for_completion(&c->released);
	}
	return err;
}

void spanheap_sysfs_del_client(struct spanheap_client *c)
{
	if (!c->heap->kobj_dir)
		return;
	kobject_del(&c->kobj);
	kobject_put(&c->kobj);
	wait_for_completion(&c->released);
}

int spanheap_sysfs_init(struct spanheap *h)
{
	int err;

	dir = kobject_create_and_add("spanheap", kernel_kobj);
	if (!dir)
		return -ENOMEM;
	h->kobj_dir = kobject_create_and_add("clients", dir);
	err = h->kobj_dir ? sysfs_create_group(dir, &heap_group) : -ENOMEM;
	if (err)
		spanheap_sysfs_exit();
	return err;
}

/* Remove the files now: a later kobject_put() must not find this module's text gone */
void spanheap_sysfs_exit(void)
{
	kobject_del(spanheap_heap->kobj_dir);
	kobject_put(spanheap_heap->kobj_dir);
	spanheap_heap->kobj_dir = NULL;
	kobject_del(dir);
	kobject_put(dir);
}
