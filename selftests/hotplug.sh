#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A CPU goes offline and comes back, with full caches and while the heap is busy.
. /lib.sh
CPU1=/sys/devices/system/cpu/cpu1/online
keeping arena_mb=64
# The scavenger would empty caches when the heap grows faster than the memory in use
filled() { run fill && c=$(val cached_bytes) && { ! caches || [ "$c" != 0 ]; }; }
off() {
	within 10 filled || return 1
	echo 0 >$CPU1 && check_ok || return 1
	echo "cached: $c, with one CPU $(val cached_bytes)"
	! caches || [ "$(val cached_bytes)" -lt "$c" ] || return 1
	[ "$(val inuse_bytes)" = 0 ] && echo 1 >$H/release && check_ok &&
		[ "$(val released_bytes)" = "$(val idle_bytes)" ]
}
t "a CPU that goes leaves its full cache to the heap" off
t "one CPU goes on" run process
on() { echo 1 >$CPU1 && run fill && [ "$(val inuse_bytes)" = 0 ]; }
t "a CPU that comes back is served" on
cross() {
	insmod /spanheap_test.ko run=keep && echo 0 >$CPU1 || return 1
	n=$(val clients/test/spans); check_ok && rmmod spanheap_test && check_ok || return 1
	echo "$n spans"; echo 1 >$CPU1
	[ "$n" = 200 ] && [ "$(val inuse_bytes)" = 0 ] && ! dmesg | grep 'has changed'
}
t "spans of a CPU that is gone are whole, and are freed elsewhere" cross
busy() {
	insmod /spanheap_test.ko run=stress seconds=8 & job=$!
	i=0 least=4
	! slow || least=1
	while kill -0 $job 2>/dev/null; do
		echo 0 >$CPU1 && echo 1 >$CPU1 || return 1
		cat $D/check >/tmp/check; [ "$(cat /tmp/check)" = ok ] || { cat /tmp/check; return 1; }
		i=$((i + 1))
	done
	wait $job || { dmesg | tail -n 5; return 1; }
	echo "$i times"; rmmod spanheap_test && check_ok && [ "$(val inuse_bytes)" = 0 ] && [ $i -ge $least ]
}
t "a CPU comes and goes for 8 s while spans are allocated, freed and released" busy
limited() {	# the offline CPU has charged 16 pages, too few to be added to the total yet
	insmod /spanheap_ramdisk.ko && L=$H/clients/ramdisk/limit_bytes || return 1
	taskset 2 dd if=/dev/zero of=/dev/spanheap0 bs=64k count=1 conv=fsync 2>/dev/null || return 1
	echo 0 >$CPU1 && echo 65536 >$L || return 1
	refused dd if=/dev/zero of=/dev/spanheap0 bs=64k count=1 seek=4 conv=fsync; rc=$?
	echo "in use $(val clients/ramdisk/inuse_bytes)"
	echo 1 >$CPU1; rmmod spanheap_ramdisk && check_ok && return $rc
}
t "a limit set while a CPU is away counts what was allocated there" limited
t "unload with a CPU away" sh -c "echo 0 >$CPU1 && rmmod spanheap"
t "load with a CPU away, that then comes" sh -c ". /lib.sh; ins arena_mb=64 && echo 1 >$CPU1 && run fill && rmmod spanheap"
done_testing
