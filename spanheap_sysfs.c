// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/spanheap: one value a file. No logic here.
 */
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/stddef.h>
#include <linux/sysfs.h>

#include "spanheap_internal.h"

static struct kobject *dir;

struct stat_attr {
	struct kobj_attribute attr;
	size_t offset;
};

static ssize_t stat_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct stat_attr *a = container_of(attr, struct stat_attr, attr);
	struct spanheap_stats st;

	spanheap_heap_stats(spanheap_heap, &st);
	return sysfs_emit(buf, "%llu\n", *(u64 *)((char *)&st + a->offset));
}

#define STAT(_name)							\
static struct stat_attr stat_##_name = {				\
	.attr = __ATTR(_name, 0444, stat_show, NULL),			\
	.offset = offsetof(struct spanheap_stats, _name),		\
}

STAT(arena_bytes);
STAT(sys_bytes);
STAT(inuse_bytes);
STAT(idle_bytes);
STAT(released_bytes);
STAT(resident_bytes);
STAT(cached_bytes);
STAT(objects);
STAT(spans);
STAT(span_meta_bytes);
STAT(other_meta_bytes);
STAT(allocs);
STAT(frees);
STAT(failed_allocs);
STAT(invalid_frees);
STAT(grows);
STAT(scavenge_passes);
STAT(scavenged_bytes);
STAT(tlb_flushes);
STAT(largest_free_pages);
STAT(orphan_bytes);

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

static ssize_t release_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	unsigned int one;
	int err = kstrtouint(buf, 0, &one);

	if (err)
		return err;
	if (one != 1)
		return -EINVAL;
	spanheap_release_all(spanheap_heap);
	return count;
}

static struct kobj_attribute release_attr = __ATTR(release, 0200, NULL, release_store);

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
	&knob_scavenge_age_ms.attr.attr,
	&knob_scavenge_period_ms.attr.attr,
	&knob_force_cycle_ms.attr.attr,
	&release_attr.attr,
	NULL,
};

static const struct attribute_group heap_group = { .attrs = heap_attrs };

/* ---- clients/<name>/ ---- */

struct client_attr {
	struct kobj_attribute attr;
	size_t offset;
	unsigned int shift;	/* PAGE_SHIFT where the field counts pages */
};

static ssize_t client_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct spanheap_client *c = container_of(kobj, struct spanheap_client, kobj);
	struct client_attr *a = container_of(attr, struct client_attr, attr);
	unsigned long flags;
	u64 val;

	spin_lock_irqsave(&c->heap->lock, flags);
	val = *(u64 *)((char *)c + a->offset);
	spin_unlock_irqrestore(&c->heap->lock, flags);
	return sysfs_emit(buf, "%llu\n", val << a->shift);
}

static ssize_t limit_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	struct spanheap_client *c = container_of(kobj, struct spanheap_client, kobj);
	unsigned long flags;
	u64 bytes;
	int err = kstrtou64(buf, 0, &bytes);

	if (err)
		return err;
	if (bytes && bytes < PAGE_SIZE)
		return -EINVAL;
	spin_lock_irqsave(&c->heap->lock, flags);
	c->limit_pages = bytes >> PAGE_SHIFT;
	spin_unlock_irqrestore(&c->heap->lock, flags);
	return count;
}

#define CLIENT(_name, _mode, _store, _field, _shift)			\
static struct client_attr client_##_name = {				\
	.attr = __ATTR(_name, _mode, client_show, _store),		\
	.offset = offsetof(struct spanheap_client, _field),		\
	.shift = _shift,						\
}

CLIENT(inuse_bytes, 0444, NULL, inuse_pages, PAGE_SHIFT);
CLIENT(peak_bytes, 0444, NULL, peak_pages, PAGE_SHIFT);
CLIENT(spans, 0444, NULL, spans, 0);
CLIENT(allocs, 0444, NULL, allocs, 0);
CLIENT(frees, 0444, NULL, frees, 0);
CLIENT(failed_allocs, 0444, NULL, failed_allocs, 0);
CLIENT(limit_bytes, 0644, limit_store, limit_pages, PAGE_SHIFT);

static struct attribute *client_attrs[] = {
	&client_inuse_bytes.attr.attr,
	&client_peak_bytes.attr.attr,
	&client_spans.attr.attr,
	&client_allocs.attr.attr,
	&client_frees.attr.attr,
	&client_failed_allocs.attr.attr,
	&client_limit_bytes.attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(client);

static void client_released(struct kobject *kobj)
{
	complete(&container_of(kobj, struct spanheap_client, kobj)->released);
}

static const struct kobj_type client_type = {
	.release = client_released,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = client_groups,
};

/* On failure the client has no kobject left and the caller frees it */
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

void spanheap_sysfs_exit(void)
{
	kobject_put(spanheap_heap->kobj_dir);
	spanheap_heap->kobj_dir = NULL;
	kobject_put(dir);
}
