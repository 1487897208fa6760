#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Idle pages in the system's counters, and how many of them reclaim takes.
# vm: --mem 640
. /lib.sh
if [ $PAGE != 4096 ]; then
	skip "what the system sees of idle pages" "the sizes here are for pages of 4 KiB"
	done_testing
fi
# In kB: idle pages of the heap in the system's counter; nothing else here uses it
reclaimable() { cat /proc/sys/vm/stat_refresh; awk '$1 == "nr_kernel_misc_reclaimable" { print $2 * 4 }' /proc/vmstat; }
meminfo() { awk -v f="$1:" '$1 == f { print $2 }' /proc/meminfo; }
idle_kb() { echo $((($(val idle_bytes) - $(val released_bytes)) / 1024)); }
near() { [ $(($1 - $2)) -le "$3" ] && [ $(($2 - $1)) -le "$3" ]; }
before=$(reclaimable)
keeping arena_mb=256
counted() {
	settle && a=$(meminfo MemAvailable) k=$(meminfo KReclaimable) || return 1
	run idle pages=57344 && settle || return 1	# 224 MiB
	r=$(($(reclaimable) - before)) a=$(($(meminfo MemAvailable) - a)) k=$(($(meminfo KReclaimable) - k))
	# Of what is reclaimable the kernel holds as much as the low watermarks for not available
	low=$(awk '$1 == "low" { n += $2 } END { print n * 4 }' /proc/zoneinfo)
	echo "idle $(idle_kb) kB, counted $r kB; KReclaimable rose by $k kB, MemAvailable by $a kB, low $low kB"
	[ "$(idle_kb)" -ge 229376 ] && near $r "$(idle_kb)" 4096 && near $k "$(idle_kb)" 8192 && near $a 0 $((low + 8192))
}
t "idle pages are in KReclaimable and MemAvailable" counted
t "a demand of high order with memory free takes none of them" run highorder
# So much as tmpfs takes: 40 MiB more than what is free
demand() {
	r=$(val released_bytes) n=40
	cat /proc/sys/vm/stat_refresh
	high=$(awk '$1 == "high" { n += $2 } END { print n * 4096 }' /proc/zoneinfo)
	mount -t tmpfs -o size=600m none /mnt
	want=$(($(mem_free) / 1024 + n))
	dd if=/dev/zero of=/mnt/x bs=1M count=$want 2>/dev/null || return 1
	r=$(($(val released_bytes) - r))
	echo "$want MiB were taken, $((r >> 10)) kB released, high watermarks $((high >> 10)) kB, free $(mem_free) kB"
	rm /mnt/x; umount /mnt
	[ $r -ge $(((n - 16) * 1048576)) ] && [ $r -le $(((n + 64) * 1048576 + high)) ] && check_ok
}
t "memory pressure takes what it needs, and not much more" demand
t "no process was killed" sh -c '! dmesg | grep -i "out of memory"'
back() { near $(($(reclaimable) - before)) "$(idle_kb)" 4096 && echo 1 >$H/release && near "$(reclaimable)" "$before" 4096; }
t "what is released is not counted any more" back
run idle pages=8192
gone() { rmmod spanheap && [ "$(reclaimable)" = "$before" ]; }
t "after unload the counter is what it was, to the page" gone
done_testing
