#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A replay of the trace gives the spans in use: no address is live twice, and while nothing
# runs the sums equal those of sysfs.
# vm: --mem 768 --append no_hash_pointers
# expect: spanheap: client leaker is gone and leaves [0-9]+ spans
. /lib.sh
T=/sys/kernel/tracing
ins arena_mb=128
mount -t tracefs none $T
events() {
	for e in alloc alloc_failed free resize orphan grow scavenge release sweep; do
		[ -e $T/events/spanheap/spanheap_$e/format ] || { echo "no event $e"; return 1; }
	done
	# One clock for all CPUs, so that the trace is in the order of the events
	echo counter >$T/trace_clock && echo 32768 >$T/buffer_size_kb && echo 1 >$T/events/spanheap/enable
}
t "all events are there" events
# In pages, as in the events
quiet() {
	echo "quiet inuse=$(($(val inuse_bytes) / PAGE)) orphan=$(($(val orphan_bytes) / PAGE)) test=$((($(cat $H/clients/test/inuse_bytes 2>/dev/null || echo 0)) / PAGE))" >$T/trace_marker
}
load() {
	quiet
	insmod /spanheap_test.ko run=keep && quiet && rmmod spanheap_test && quiet || return 1
	run resize && run badsize && quiet || return 1
	insmod /spanheap_test.ko run=stress seconds=1 && quiet && rmmod spanheap_test && quiet || return 1
	run misuse seconds=1 && quiet || return 1
	insmod /spanheap_special_test.ko run=chaos seconds=2 && quiet && rmmod spanheap_special_test && quiet || return 1
	insmod /spanheap_leave_test.ko run=leave || return 1
	spans=$(cat /sys/module/spanheap_leave_test/parameters/addr)
	quiet; rmmod spanheap_leave_test; quiet
	insmod /spanheap_leave_test.ko run=take addr="$spans" && rmmod spanheap_leave_test && quiet || return 1
	run orphan && quiet || return 1
	run process; quiet
	echo 0 >$T/tracing_on; cat $T/trace >/tmp/trace
	# shellcheck disable=SC2046
	set -- $(sed -n 's,^# entries-in-buffer/entries-written: \([0-9]*\)/\([0-9]*\).*,\1 \2,p' /tmp/trace)
	echo "$1 of $2 events"
	[ "$1" = "$2" ] && [ "$1" -gt 10000 ]
}
t "2 CPUs allocate, free, resize, sweep and leave spans behind; no event is lost" load
# A client's name comes last in a line; those here have no spaces
replay() {
	awk '
	function bad(what) { print what ": " $0; if (++errors > 10) exit 1 }
	{ delete v; for (i = 4; i <= NF; i++) if (p = index($i, "=")) v[substr($i, 1, p - 1)] = substr($i, p + 1) }
	/ spanheap_alloc: / {
		if (v["addr"] in live) bad("allocated twice")
		live[v["addr"]] = v["nr_pages"]; who[v["addr"]] = v["client"]
		sum += v["nr_pages"]; of[v["client"]] += v["nr_pages"]; n["alloc"]++
	}
	/ spanheap_free: / {
		if (live[v["addr"]] != v["nr_pages"] || who[v["addr"]] != v["client"]) bad("freed, was " live[v["addr"]] " of " who[v["addr"]])
		delete live[v["addr"]]
		sum -= v["nr_pages"]; of[v["client"]] -= v["nr_pages"]; n["free"]++
	}
	/ spanheap_resize: / {
		if (live[v["addr"]] != v["old_pages"] || who[v["addr"]] != v["client"]) bad("resized, was " live[v["addr"]] " of " who[v["addr"]])
		if (!(v["done"] + 0)) { n["refused resize"]++; next }
		live[v["addr"]] = v["nr_pages"]
		sum += v["nr_pages"] - v["old_pages"]; of[v["client"]] += v["nr_pages"] - v["old_pages"]; n["resize"]++
	}
	/ spanheap_orphan: / {
		if (live[v["addr"]] != v["nr_pages"] || who[v["addr"]] != v["client"]) bad("orphan, was " live[v["addr"]] " of " who[v["addr"]])
		who[v["addr"]] = "(orphan)"
		of[v["client"]] -= v["nr_pages"]; of["(orphan)"] += v["nr_pages"]; n["orphan"]++
	}
	/ spanheap_sweep: / { n["sweep"]++; if (v["freed"] + 0) n["freeing sweep"]++ }
	/ spanheap_alloc_failed: / { n["failed alloc"]++; if (v["client"] == "" || v["error"] + 0 >= 0) bad("failure") }
	/ quiet / {
		n["quiet moment"]++
		if (v["inuse"] + 0 != sum + 0 || v["orphan"] + 0 != of["(orphan)"] + 0 || v["test"] + 0 != of["test"] + 0)
			bad("replayed inuse=" sum " orphan=" of["(orphan)"] + 0 " test=" of["test"] + 0)
	}
	END {
		for (k in n) printf "# %d %ss\n", n[k], k
		if (n["quiet moment"] != 14 || n["resize"] < 100 || n["refused resize"] < 10 || n["freeing sweep"] < 50 || n["orphan"] != 29 || n["failed alloc"] < 10)
			{ print "too little of something"; errors++ }
		exit errors > 0
	}' /tmp/trace
}
t "no address is live twice, and each sum is that of sysfs" replay
sed 's/^/# /' /tmp/out | head -n 20
named() { ! grep -E 'spanheap_(alloc|alloc_failed|free|resize|orphan|grow|sweep): ' /tmp/trace | grep -vE ' client=[^ ]' | head -n 5 | grep .; }
t "each event of a span names the client" named
done_testing
