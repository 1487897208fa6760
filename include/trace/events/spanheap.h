/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM spanheap

#if !defined(_TRACE_SPANHEAP_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_SPANHEAP_H

#include <linux/gfp.h>
#include <linux/tracepoint.h>

TRACE_EVENT(spanheap_alloc,
	TP_PROTO(unsigned long addr, unsigned long nr_pages, gfp_t gfp,
		 unsigned long caller),
	TP_ARGS(addr, nr_pages, gfp, caller),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, nr_pages)
		__field(unsigned int, gfp)
		__field(unsigned long, caller)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->nr_pages = nr_pages;
		__entry->gfp = (__force unsigned int)gfp;
		__entry->caller = caller;
	),
	TP_printk("addr=%p nr_pages=%lu gfp=0x%x caller=%pS",
		  (void *)__entry->addr, __entry->nr_pages, __entry->gfp,
		  (void *)__entry->caller)
);

TRACE_EVENT(spanheap_free,
	TP_PROTO(unsigned long addr, unsigned long nr_pages, unsigned long caller),
	TP_ARGS(addr, nr_pages, caller),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, nr_pages)
		__field(unsigned long, caller)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->nr_pages = nr_pages;
		__entry->caller = caller;
	),
	TP_printk("addr=%p nr_pages=%lu caller=%pS", (void *)__entry->addr,
		  __entry->nr_pages, (void *)__entry->caller)
);

TRACE_EVENT(spanheap_grow,
	TP_PROTO(unsigned long used, unsigned long nr_pages),
	TP_ARGS(used, nr_pages),
	TP_STRUCT__entry(
		__field(unsigned long, used)
		__field(unsigned long, nr_pages)
	),
	TP_fast_assign(
		__entry->used = used;
		__entry->nr_pages = nr_pages;
	),
	TP_printk("used=%lu nr_pages=%lu", __entry->used, __entry->nr_pages)
);

TRACE_EVENT(spanheap_scavenge,
	TP_PROTO(unsigned long nr_pages, unsigned long age),
	TP_ARGS(nr_pages, age),
	TP_STRUCT__entry(
		__field(unsigned long, nr_pages)
		__field(unsigned long, age)
	),
	TP_fast_assign(
		__entry->nr_pages = nr_pages;
		__entry->age = age;
	),
	TP_printk("nr_pages=%lu age=%lu", __entry->nr_pages, __entry->age)
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
		 unsigned long freed),
	TP_ARGS(addr, nr_pages, verdict, freed),
	TP_STRUCT__entry(
		__field(unsigned long, addr)
		__field(unsigned long, nr_pages)
		__field(int, verdict)
		__field(unsigned long, freed)
	),
	TP_fast_assign(
		__entry->addr = addr;
		__entry->nr_pages = nr_pages;
		__entry->verdict = verdict;
		__entry->freed = freed;
	),
	TP_printk("addr=%p nr_pages=%lu verdict=%d freed=%lu",
		  (void *)__entry->addr, __entry->nr_pages, __entry->verdict,
		  __entry->freed)
);

#endif /* _TRACE_SPANHEAP_H */

#include <trace/define_trace.h>
