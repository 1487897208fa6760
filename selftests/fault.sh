#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Let each allocation fail once: while spanheap loads, and in the calls of a client.
# expect: (vmap|vmalloc) error|page allocation failure
# vm: --prog insmod
. /lib.sh
F=/sys/kernel/debug
if [ ! -e $F/failslab ]; then
	echo "ok 1 - allocations fail one by one # SKIP no fault injection in this kernel"
	echo 1..1; exit 0
fi
for d in failslab fail_page_alloc; do
	echo N >$F/$d/ignore-gfp-wait; echo 0 >$F/$d/verbose
done
echo 0 >$F/fail_page_alloc/min-order
# Use kmod's insmod, because busybox's tries a second way when the first fails.
# 50 successful loads in a row mean that the last allocation is passed
load() {
	nth=1 row=0 failed=0
	while [ $row -lt 50 ]; do
		if sh -c "echo $nth >/proc/self/fail-nth && exec /progs/insmod /spanheap.ko arena_mb=16 $SPANHEAP_PARAMS" 2>/dev/null; then
			row=$((row + 1))
			check_ok && rmmod spanheap || { echo "allocation $nth"; return 1; }
		else
			row=0 failed=$((failed + 1))
			[ ! -e $H ] && [ ! -e $D ] && ! grep spanheap /proc/modules || { echo "allocation $nth"; return 1; }
		fi
		nth=$((nth + 1))
	done
	echo "$failed of $nth loads failed"
	[ $failed -gt 20 ]
}
t "a failed allocation in loading leaves nothing behind" load
ins arena_mb=128
t "a failed allocation in a call loses nothing" run nth
t "nothing is in use after all that" sh -c '[ $(cat /sys/kernel/spanheap/inuse_bytes) = 0 ]'
t "unload" rmmod spanheap
done_testing
