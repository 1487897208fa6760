#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Loading, unloading, parameters.
. /lib.sh
# vmalloc areas of spanheap, by size and caller: the name of a loaded module, or an
# address after the module is gone. Areas of other modules come and go.
areas() { awk '$3 ~ /^0x/ || $4 ~ /^\[spanheap/ { print $2, $3, $4 }' /proc/vmallocinfo | sort; }
areas >/tmp/areas.0	# before anything was loaded
cycle() {
	i=0
	while [ $i -lt "$1" ]; do
		ins arena_mb=64 || return 1
		check_ok || return 1
		run process || return 1
		rmmod spanheap || return 1
		i=$((i + 1))
	done
}
# Free memory in kB, including memory that the kernel's caches keep for a moment
settled() {
	echo 3 >/proc/sys/vm/drop_caches
	for s in /sys/kernel/slab/*/shrink; do echo 1 >"$s"; done
	settle >&2 && all_free
}
# A page that leaks in each cycle fails the test, and so does half a page. The noise of
# other users of memory does not grow with the cycles, so the test counts the loss over all
# batches (at most 210 kB were seen, on a busy host). KASAN delays frees, and a kernel
# with KASAN has kmemleak, which finds single objects.
leak() {
	n=$(rounds 50) batch=0
	most=$((PAGE / 2048))	# kB
	! kasan || most=400
	cycle "$(rounds 20)" && before=$(settled) || return 1
	while [ $batch -lt 4 ]; do
		batch=$((batch + 1))
		cycle "$n" && after=$(settled) || return 1
		echo "free before $before kB, after $((batch * n)) cycles $after kB"
		[ $((before - after)) -ge $((most * batch * n)) ] || return 0
	done
	return 1
}
t "load/unload cycles leak nothing" leak
same_areas() { areas >/tmp/areas.1; cmp -s /tmp/areas.0 /tmp/areas.1; }
left() {
	ins arena_mb=64 || return 1
	areas | grep '\[spanheap\]' || { echo "the list does not show the arena"; return 1; }
	[ -n "$(slabs)" ] || { echo "there is no slab cache"; return 1; }
	rmmod spanheap || return 1
	cycle 3 || return 1
	# a worker frees areas a little later
	within 10 same_areas || { diff /tmp/areas.0 /tmp/areas.1; return 1; }
	absent $H $D && ! slabs | grep . && ! ps | grep '[s]panheap_scav'
}
t "nothing is left after unload" left
# the load fails, not because spanheap is loaded already, and leaves nothing loaded
bad_load() {
	absent /sys/module/spanheap && refused insmod /spanheap.ko "$@" && absent /sys/module/spanheap
}
for v in 0 -1 x 99999999999 18446744073709551616 ''; do
	t "arena_mb=$v is refused" bad_load arena_mb=$v
done
for p in scavenge_age_ms=soon scavenge_age_ms=-1 scavenge_period_ms=1s force_cycle_ms=0 force_cycle_ms=99999999999 trace=maybe; do
	t "$p is refused" bad_load $p
done
for v in -1 16385 4294967295 x; do
	t "cache_kb=$v is refused" bad_load cache_kb=$v
done
told() { dmesg | grep 'spanheap: cache_kb must be between 0 and 16384'; }
t "a cache_kb that is too large is told of" told
huge() { insmod /spanheap.ko arena_mb=64 cache_kb=16384 && run process && run fill && rmmod spanheap; }
t "the largest cache_kb works" huge
tiny() { ins arena_mb=1 && insmod /spanheap_minimal.ko && run zero && run badsize && rmmod spanheap_minimal && rmmod spanheap; }
t "an arena of 1 MiB works for what fits into it" tiny
# near FRACTION: the arena is this fraction of the machine's RAM, to a twentieth
near() {
	awk -v a="$(val arena_bytes)" -v f="$1" '/^MemTotal/ { r = a / ($2 * 1024 * f) } END { print "#", r; exit r < 0.95 || r > 1.05 }' /proc/meminfo
}
big() { ins arena_mb=1000000 && near 1 && check_ok && run process && rmmod spanheap; }
t "arena_mb above RAM is capped and works" big
default() { ins && near 0.25 && rmmod spanheap; }
t "the default arena is a quarter of RAM" default
done_testing
