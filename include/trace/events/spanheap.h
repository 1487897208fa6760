/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM spanheap

#if !defined(_TRACE_SPANHEAP_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_SPANHEAP_H

#include <linux/gfp.h>
#include <linux/spanheap.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

/*
 * Lengths are in pages. A client's name may have spaces, so it is the last field. The name
 * is an array, because kernel versions assign strings of variable length differently.
 *
 * Only the owner of an OWNED span traces it: an allocation before the span can be freed, and
 * a free before the span can be allocated again. So a replay of alloc, free and resize, in
 * the order in which they happened, shows the spans in use at any moment, and no address twice.
 */

TRACE_EVENT(spanheap_alloc,
	TP_PROTO(unsigned long addr, unsigned long nr_pages, gfp_t gfp,
		 unsigned long caller, const char *client),
	TP_ARGS(addr, nr_pages, gfp, caller, client),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, nr_pages)
		__field(unsigned long, caller)
		__field(unsigned int, gfp)
		__array(char, client, SPANHEAP_NAME_MAX + 1)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->nr_pages = nr_pages;
		__entry->caller = caller;
		__entry->gfp = (__force unsigned int)gfp;
		strscpy(__entry->client, client, SPANHEAP_NAME_MAX + 1);
	),
	TP_printk("addr=%p nr_pages=%lu gfp=0x%x caller=%pS client=%s",
		  (void *)__entry->addr, __entry->nr_pages, __entry->gfp,
		  (void *)__entry->caller, __entry->client)
);

TRACE_EVENT(spanheap_alloc_failed,
	TP_PROTO(unsigned long nr_pages, gfp_t gfp, int error, unsigned long caller,
		 const char *client),
	TP_ARGS(nr_pages, gfp, error, caller, client),
	TP_STRUCT__entry(
		__field(unsigned long, nr_pages)
		__field(unsigned long, caller)
		__field(unsigned int, gfp)
		__field(int, error)
		__array(char, client, SPANHEAP_NAME_MAX + 1)
	),
	TP_fast_assign(
		__entry->nr_pages = nr_pages;
		__entry->caller = caller;
		__entry->gfp = (__force unsigned int)gfp;
		__entry->error = error;
		strscpy(__entry->client, client, SPANHEAP_NAME_MAX + 1);
	),
	TP_printk("nr_pages=%lu gfp=0x%x error=%d caller=%pS client=%s",
		  __entry->nr_pages, __entry->gfp, __entry->error,
		  (void *)__entry->caller, __entry->client)
);

TRACE_EVENT(spanheap_free,
	TP_PROTO(unsigned long addr, unsigned long nr_pages, unsigned long caller,
		 const char *client),
	TP_ARGS(addr, nr_pages, caller, client),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, nr_pages)
		__field(unsigned long, caller)
		__array(char, client, SPANHEAP_NAME_MAX + 1)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->nr_pages = nr_pages;
		__entry->caller = caller;
		strscpy(__entry->client, client, SPANHEAP_NAME_MAX + 1);
	),
	TP_printk("addr=%p nr_pages=%lu caller=%pS client=%s", (void *)__entry->addr,
		  __entry->nr_pages, (void *)__entry->caller, __entry->client)
);

TRACE_EVENT(spanheap_resize,
	TP_PROTO(unsigned long addr, unsigned long old_pages, unsigned long nr_pages,
		 bool done, unsigned long caller, const char *client),
	TP_ARGS(addr, old_pages, nr_pages, done, caller, client),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, old_pages)
		__field(unsigned long, nr_pages)
		__field(unsigned long, caller)
		__field(int, done)
		__array(char, client, SPANHEAP_NAME_MAX + 1)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->old_pages = old_pages;
		__entry->nr_pages = nr_pages;
		__entry->caller = caller;
		__entry->done = done;
		strscpy(__entry->client, client, SPANHEAP_NAME_MAX + 1);
	),
	TP_printk("addr=%p old_pages=%lu nr_pages=%lu done=%d caller=%pS client=%s",
		  (void *)__entry->addr, __entry->old_pages, __entry->nr_pages,
		  __entry->done, (void *)__entry->caller, __entry->client)
);

TRACE_EVENT(spanheap_orphan,
	TP_PROTO(unsigned long addr, unsigned long nr_pages, const char *client),
	TP_ARGS(addr, nr_pages, client),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, nr_pages)
		__array(char, client, SPANHEAP_NAME_MAX + 1)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->nr_pages = nr_pages;
		strscpy(__entry->client, client, SPANHEAP_NAME_MAX + 1);
	),
	TP_printk("addr=%p nr_pages=%lu client=%s", (void *)__entry->addr,
		  __entry->nr_pages, __entry->client)
);

TRACE_EVENT(spanheap_grow,
	TP_PROTO(unsigned long used, unsigned long nr_pages, const char *client),
	TP_ARGS(used, nr_pages, client),
	TP_STRUCT__entry(
		__field(unsigned long, used)
		__field(unsigned long, nr_pages)
		__array(char, client, SPANHEAP_NAME_MAX + 1)
	),
	TP_fast_assign(
		__entry->used = used;
		__entry->nr_pages = nr_pages;
		strscpy(__entry->client, client, SPANHEAP_NAME_MAX + 1);
	),
	TP_printk("used=%lu nr_pages=%lu client=%s", __entry->used, __entry->nr_pages,
		  __entry->client)
);

TRACE_EVENT(spanheap_scavenge,
	TP_PROTO(unsigned long nr_pages, unsigned long age, unsigned long inuse,
		 unsigned long sys, unsigned long released),
	TP_ARGS(nr_pages, age, inuse, sys, released),
	TP_STRUCT__entry(
		__field(unsigned long, nr_pages)
		__field(unsigned long, age)
		__field(unsigned long, inuse)
		__field(unsigned long, sys)
		__field(unsigned long, released)
	),
	TP_fast_assign(
		__entry->nr_pages = nr_pages;
		__entry->age = age;
		__entry->inuse = inuse;
		__entry->sys = sys;
		__entry->released = released;
	),
	TP_printk("nr_pages=%lu age=%lu inuse=%lu idle=%lu sys=%lu released=%lu resident=%lu",
		  __entry->nr_pages, __entry->age, __entry->inuse,
		  __entry->sys - __entry->inuse, __entry->sys, __entry->released,
		  __entry->sys - __entry->released)
);

TRACE_EVENT(spanheap_release,
	TP_PROTO(unsigned long nr_pages, unsigned int nr_spans),
	TP_ARGS(nr_pages, nr_spans),
	TP_STRUCT__entry(
		__field(unsigned long, nr_pages)
		__field(unsigned int, nr_spans)
	),
	TP_fast_assign(
		__entry->nr_pages = nr_pages;
		__entry->nr_spans = nr_spans;
	),
	TP_printk("nr_pages=%lu nr_spans=%u", __entry->nr_pages,
		  __entry->nr_spans)
);

TRACE_EVENT(spanheap_sweep,
	TP_PROTO(unsigned long addr, unsigned long nr_pages, int verdict,
		 unsigned long freed, const char *client),
	TP_ARGS(addr, nr_pages, verdict, freed, client),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, nr_pages)
		__field(unsigned long, freed)
		__field(int, verdict)
		__array(char, client, SPANHEAP_NAME_MAX + 1)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->nr_pages = nr_pages;
		__entry->freed = freed;
		__entry->verdict = verdict;
		strscpy(__entry->client, client, SPANHEAP_NAME_MAX + 1);
	),
	TP_printk("addr=%p nr_pages=%lu verdict=%d freed=%lu client=%s",
		  (void *)__entry->addr, __entry->nr_pages, __entry->verdict,
		  __entry->freed, __entry->client)
);

#endif /* _TRACE_SPANHEAP_H */

#include <trace/define_trace.h>
