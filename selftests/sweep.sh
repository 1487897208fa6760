#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Sweeping: the page cache sample, in the background and under growth; callbacks
# on both CPUs at once, callbacks that recurse, and a client that unregisters meanwhile.
# expect: spanheap: client .* is gone and leaves [0-9]+ spans
# expect: spanheap: sweep callback .* returned 42
# expect: spanheap: cycle begun from within a sweep callback
# expect: spanheap: sweep from within a sweep callback
# expect: spanheap: release from within a callback
# expect: spanheap: unregistering from within a callback
. /lib.sh
P=/sys/kernel/debug/spanheap_pagecache
ins arena_mb=128
insmod /spanheap_pagecache.ko
stat() { sed -n "s/^$1 //p" $P/stat; }
entries() { [ "$(stat entries)" = "$1" ]; }
cycle() { echo 1 >$P/cycle; }
fill() { dd if=/dev/urandom of=$P/put bs=$PAGE count="$1" 2>/dev/null; }	# new pages
hash() { exec 3<>$P/put; cat "$1" >&3; read -r hash <&3; exec 3<&-; }
find() { exec 3<>$P/find; echo "$1" >&3; cat <&3; exec 3<&-; }
put_find() {
	i=0
	while [ $i -lt 8 ]; do
		dd if=/dev/urandom of=/tmp/page$i bs=$PAGE count=1 2>/dev/null
		hash /tmp/page$i; echo "$hash" >/tmp/hash$i
		i=$((i + 1))
	done
	while [ $i -gt 0 ]; do
		i=$((i - 1))
		find "$(cat /tmp/hash$i)" >/tmp/found
		cmp /tmp/page$i /tmp/found || return 1
	done
}
t "pages are found by the hash of their content" put_find
twice() { a=$(stat entries); hash /tmp/page0; hash /tmp/page7; [ "$(stat entries)" = "$a" ]; }
t "the same content is stored once" twice
wrong() {
	exec 3<>$P/find && echo 123 >&3 && cat <&3 >/tmp/found; rc=$?
	exec 3<&-
	[ $rc = 0 ] && [ ! -s /tmp/found ]
}
t "nothing is found by a wrong hash" wrong
used() {
	fill 200; cycle; i=0
	while [ $i -lt 3 ]; do
		find "$(cat /tmp/hash0)" >/tmp/found; cycle; i=$((i + 1))
	done
	within 10 entries 1 || { stat entries; return 1; }
	find "$(cat /tmp/hash0)" >/tmp/found
	cmp /tmp/page0 /tmp/found && entries 1 && check_ok
}
t "what is in use stays, the rest is swept in the background" used
# The pages of a round live for one more round: with cycles, at most three rounds are in use
rounds_of() {
	i=0
	while [ $i -lt 12 ]; do
		[ "$1" = without ] || cycle
		fill 800; i=$((i + 1))
		[ $i != 4 ] || early=$(val sys_bytes)
	done
	late=$(val sys_bytes)
	echo "$1 cycles: sys $early bytes after 4 rounds of 800 pages, $late after 12" | tee -a /tmp/flat
}
flat() { rounds_of with; check_ok && [ $((late - early)) -le $((800 * PAGE)) ]; }
t "with cycles the heap does not grow" flat
grows() { rounds_of without; check_ok && [ $((late - early)) -ge $((4 * 800 * PAGE)) ]; }
t "without cycles it does" grows
sed 's/^/# /' /tmp/flat
forced() {
	[ "$(stat entries)" -gt 5000 ] || return 1
	echo 100 >$H/force_cycle_ms
	within 10 entries 0; rc=$?
	echo 120000 >$H/force_cycle_ms
	[ $rc = 0 ] && [ "$(val inuse_bytes)" = 0 ] && check_ok
}
t "collections are forced" forced
release() {
	fill 300
	for i in 1 2 3; do echo 1 >$H/release; done
	[ "$(stat entries)" = 0 ] && [ "$(val resident_bytes)" = 0 ] && check_ok
}
t "release collects, sweeps and gives all of that back" release
trace() {
	T=/sys/kernel/tracing; [ -d $T/events ] || mount -t tracefs none $T || return 1
	echo 1 >$T/events/spanheap/spanheap_sweep/enable
	fill 10; for i in 1 2 3; do echo 1 >$H/release; done
	echo 0 >$T/events/spanheap/spanheap_sweep/enable
	[ "$(grep -c 'spanheap_sweep: .*nr_pages=1 verdict=0 freed=0' $T/trace)" -ge 10 ] &&
	[ "$(grep -c 'spanheap_sweep: .*nr_pages=1 verdict=1 freed=1' $T/trace)" = 10 ]
}
t "each sweep is traced" trace
unload() {
	fill 1000; cycle
	rmmod spanheap_pagecache && [ "$(val inuse_bytes)" = 0 ] && check_ok
}
t "the cache unloads in the middle of a cycle" unload
case_of() {	# like run(), with the test module for sweeping
	c=$1; shift
	insmod /spanheap_sweep_test.ko run="$c" "$@" || { dmesg | grep -E 'not true|insmod' | tail -n 5; return 1; }
	rmmod spanheap_sweep_test && [ "$(val inuse_bytes)" = 0 ] && [ "$(val invalid_frees)" = 0 ] && check_ok
}
t "bad verdicts and recursion are refused" case_of bad
t "a client goes in the middle of a cycle, its spans stay" case_of leave
t "sweepers, owners, cycles and unregistration at once for 10 s" case_of stress seconds=10
dmesg | sed -n 's/.*spanheap_sweep_test: /# /p'
t "the heap unloads" rmmod spanheap
done_testing
