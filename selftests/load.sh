#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Loading, unloading, parameters.
. /lib.sh
cycle() {
	i=0
	while [ $i -lt "$1" ]; do
		insmod /spanheap.ko arena_mb=64 || return 1
		check_ok || return 1
		run process || return 1
		rmmod spanheap || return 1
		i=$((i + 1))
	done
}
# Freed memory rests in per-CPU lists, and with RCU, for a moment
settled() { echo 3 >/proc/sys/vm/drop_caches; sleep 1; echo 3 >/proc/sys/vm/drop_caches; mem_free; }
# A leak loses memory in every batch of 50 cycles; noise does not
leak() {
	cycle 10 || return 1
	for batch in 1 2 3; do
		before=$(settled)
		cycle "$(rounds 50)" || return 1
		after=$(settled)
		echo "batch $batch: MemFree before $before kB, after $after kB"
		# 50 leaked arenas would be 50 x 128 KiB of page tables alone
		[ $((before - after)) -ge 2048 ] || return 0
	done
	return 1
}
t "load/unload cycles leak nothing" leak
# vmalloc areas by size and caller, without those that the system itself comes and
# goes with: stacks of threads, other modules' text. A dead module's has no name.
areas() {
	grep -vE 'dup_task_struct|copy_process|alloc_thread_stack|load_module|move_module|layout_and_allocate|module_alloc|bpf|unpurged' \
		/proc/vmallocinfo | awk '{print $2, $3}' | sort
}
same_areas() {
	i=0
	while [ $i -lt 10 ]; do	# areas are freed by a worker, a little later
		areas >/tmp/areas.1
		cmp -s /tmp/areas.0 /tmp/areas.1 && return 0
		sleep 1
		i=$((i + 1))
	done
	diff /tmp/areas.0 /tmp/areas.1
}
left() {
	cycle 1 || return 1; sleep 1
	areas >/tmp/areas.0
	insmod /spanheap.ko arena_mb=64 || return 1
	areas | cmp -s /tmp/areas.0 - && { echo "the list does not show the arena"; return 1; }
	rmmod spanheap || return 1
	cycle 3 || return 1
	same_areas || return 1
	! ls -d $H $D 2>/dev/null && ! ps | grep '[s]panheap_scav'
}
t "nothing is left after unload" left
t "arena_mb=0 is refused" refused insmod /spanheap.ko arena_mb=0
t "an absurd arena_mb is refused" refused insmod /spanheap.ko arena_mb=99999999999
t "an overflowing arena_mb is refused" refused insmod /spanheap.ko arena_mb=18446744073709551616
t "a negative arena_mb is refused" refused insmod /spanheap.ko arena_mb=-1
t "a non-numeric knob is refused" refused insmod /spanheap.ko scavenge_age_ms=soon
big() { insmod /spanheap.ko arena_mb=1000000 && check_ok && run process && rmmod spanheap; }
t "arena_mb above RAM is capped and works" big
default() { insmod /spanheap.ko && a=$(val arena_bytes) && rmmod spanheap && [ "$a" -gt 67108864 ]; }
t "the default arena is a quarter of RAM" default
done_testing
