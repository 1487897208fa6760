#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A small guest in which another consumer takes the memory while the heap is idle.
# vm: --mem 256
. /lib.sh
keeping arena_mb=96 || exit 1
pressure() {
	run idle pages=20480 || return 1	# 80 MiB idle and backed
	echo "idle $(val idle_bytes), released $(val released_bytes), free $(mem_free) kB"
	mount -t tmpfs -o size=$((PAGE / 1024 * 50))m none /mnt
	want=$(( $(mem_free) / 1024 + 40 ))	# cannot fit without the heap's pages
	dd if=/dev/zero of=/mnt/x bs=1M count=$want || return 1
	echo "after $want MiB: released $(val released_bytes)"
	[ "$(val released_bytes)" -gt 20000000 ] && check_ok
}
t "idle pages go back under memory pressure" pressure
t "no process was killed" sh -c '! dmesg | grep -i "out of memory"'
umount /mnt
t "the heap works on after that" run process
exhaust() {
	f=$(val failed_allocs); insmod /spanheap_test.ko run=exhaust || { dmesg | grep 'not true'; return 1; }
	u=$(val clients/test/inuse_bytes)
	echo "charged $u"; rmmod spanheap_test && [ "$u" = 0 ] && [ "$(val failed_allocs)" -gt "$f" ] && check_ok
}
t "without memory, an allocation that must not wait is refused and loses nothing" exhaust
t "a mempool of spans works without memory" run mempool
t "a reserve gives all of its pages without memory, five times" run reserve
suspend() {
	insmod /spanheap_test.ko run=suspend || return 1
	[ "$(val clients/careful/reserve_bytes)" = 262144 ] && [ "$(val idle_bytes)" -ge 262144 ] || return 1
	refused sh -c 'echo freeze >/sys/power/state'	# as the callback wants
	n=$(cat /sys/module/spanheap_test/parameters/in_suspend)
	echo "$n pages in the callback"
	rmmod spanheap_test && check_ok && [ "$n" = 64 ]
}
if grep -qw freeze /sys/power/state; then
	t "... in a suspend callback, too" suspend
else
	skip "... in a suspend callback, too" "the kernel cannot suspend"
fi
t "no process was killed then either" sh -c '! dmesg | grep -i "out of memory"'
t "and unloads" rmmod spanheap
done_testing
