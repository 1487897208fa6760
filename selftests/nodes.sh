#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Two nodes of two CPUs each: one node allocates the spans that the other has freed.
# vm: --smp 4 --nodes 2
. /lib.sh
keeping arena_mb=256
two() { [ "$(ls -d /sys/devices/system/node/node[0-9]* | wc -l)" = 2 ]; }
t "the machine has two nodes" two
travel() {
	run travel pages="$1" || return 1
	dmesg | grep "$1 pages from CPU 3 of node 1 to CPU 0 of node 0"
}
if caches; then
	for n in 1 16; do
		t "spans of $n pages come from the depot of the other node" travel $n
	done
else
	skip "spans come from the depot of the other node" "no caches"
fi
if [ $(($(cat /sys/module/spanheap/parameters/cache_kb) * 4096 / PAGE)) -ge 128 ]; then
	t "spans of 64 pages come from the shelf of the other node" travel 64
else
	skip "spans of 64 pages come from the shelf of the other node" "too long, or too many, for such caches"
fi
driver() { insmod /spanheap_driver_test.ko run="$1" || { dmesg | grep 'not true' | tail -n 2; return 1; }; rmmod spanheap_driver_test && check_ok; }
t "spans of a node have its memory, whatever the caches have" driver node
t "the API is the same there" run process
t "4 CPUs allocate, free and release for 8 s" run stress seconds=8
nothing() { [ "$(val inuse_bytes)" = 0 ] && echo 1 >$H/release && [ "$(val idle_bytes)" = "$(val released_bytes)" ]; }
t "nothing is in use, and all of it goes back" nothing
t "and unloads" rmmod spanheap
done_testing
