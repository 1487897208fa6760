#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The API from a client module, in every context; bad input.
# expect: spanheap: client .* is gone and leaves [0-9]+ spans
# expect: has flags that no span can have
# vm: --append init_on_alloc=1
. /lib.sh
keeping arena_mb=128
for c in process softirq hardirq irqsoff lookup resize release zero limit poll names badsize; do
	t "$c" run $c
done
t "a scatterlist of a span's pages is the span" run scatter
t "__free() and a device free their spans" run scoped
t "init_on_alloc clears, and not what SPANHEAP_SKIP_INIT wants as it is" run initalloc
usercopy() {
	dd if=/dev/urandom of=/tmp/in bs=$PAGE count=8 2>/dev/null
	insmod /spanheap_test.ko run=usercopy || return 1
	dd if=/tmp/in of=/dev/spanheap_test bs=10000 2>/dev/null &&
		dd if=/dev/spanheap_test of=/tmp/back bs=32768 2>/dev/null &&
		cmp /tmp/in /tmp/back
	rc=$?
	rmmod spanheap_test && check_ok && return $rc
}
t "user space writes to a span and reads it" usercopy
badfree() {
	b=$(val invalid_frees); run badfree || return 1
	[ $(($(val invalid_frees) - b)) = 8 ] || { val invalid_frees; return 1; }
	[ "$(dmesg | grep -c 'invalid free of')" -ge 8 ]
}
t "bad frees are counted, reported and change nothing" badfree
t "a forbidden gfp is refused" run badgfp
nothing() { [ "$(val inuse_bytes)" = 0 ] && [ "$(val objects)" = 0 ] && [ "$(val spans)" = 0 ]; }
t "nothing is in use after all that" nothing
hold() { insmod /spanheap_test.ko run=hold && refused rmmod spanheap && rmmod spanheap_test; }
t "no unloading while a client module is there" hold
orphan() {
	run orphan || return 1
	[ "$(val orphan_bytes)" = $((15 * PAGE)) ] || { val orphan_bytes; return 1; }
	[ "$(dmesg | grep -c 'pages, allocated by')" = 10 ] || return 1
	refused rmmod spanheap
}
t "live spans of a gone client are listed and kept" orphan
released() {	# per-CPU lists of free pages are made short, and count as free memory
	echo 1000 >/proc/sys/vm/percpu_pagelist_high_fraction
	run idle pages=16384 && settle || return 1
	r=$(val released_bytes) m=$(mem_free) f=$(all_free)
	echo 1 >$H/release
	r=$((($(val released_bytes) - r) / 1024)) f=$(($(all_free) - f)) m=$(($(mem_free) - m))
	echo "released $r kB, free memory rose by $f kB, MemFree by $m kB"
	[ $r -ge 65536 ] && [ $((f - r)) -le 1024 ] && [ $((r - f)) -le 1024 ]
}
t "free memory rises by the 64 MiB that are released, give or take 1" released
idle() { run idle; echo 1 >$H/release; [ "$(val idle_bytes)" = "$(val released_bytes)" ] && check_ok; }
t "release gives all idle pages back" idle
# so_much SIZE BYTES: the file says how much it was, and that is what has gone
so_much() {
	r=$(val released_bytes); echo "$1" >$H/release || return 1
	n=$(val release) r=$(($(val released_bytes) - r))
	echo "$1: $n bytes, released $r"
	[ "$n" = "$2" ] && [ "$r" = "$2" ]
}
pieces() {
	echo 1 >$H/release; run idle pages=16384 || return 1
	for v in 16M,16777216 1K,4096 0x10m,16777216 4097k,4198400 8192K,8388608; do
		so_much "${v%,*}" "${v#*,}" || return 1
	done
	left=$(($(val idle_bytes) - $(val released_bytes)))
	so_much 15E "$left" && so_much 1G 0 && run idle && so_much 1 4194304 && check_ok
}
t "release gives so much back as is written, if there is, and says how much it was" pieces
under() { [ "$(val resident_bytes)" -le "$1" ]; }
limited() {	# the age is that of "keeping", so nothing goes by itself
	run idle pages=8192 && sleep 1 && [ "$(val resident_bytes)" -ge 33554432 ] || return 1
	echo 16777216 >$H/limit_bytes
	within 10 under 16777216 || { echo "limit 16 MiB, resident $(val resident_bytes)"; return 1; }
	[ "$(val resident_bytes)" -ge 12582912 ] || { echo "resident $(val resident_bytes)"; return 1; }
	run idle pages=8192 && within 10 under 16777216; rc=$?
	echo "limit 16 MiB, resident $(val resident_bytes)"
	echo 0 >$H/limit_bytes
	run idle pages=8192 && sleep 1 && [ "$(val resident_bytes)" -ge 33554432 ] && return $rc
}
t "a limit of the heap has idle pages go back at once, and no more than that" limited
shrinker() { run idle; echo 2 >/proc/sys/vm/drop_caches; [ "$(val idle_bytes)" = "$(val released_bytes)" ] && check_ok; }
t "the shrinker gives all idle pages back" shrinker
all_released() { [ "$(val idle_bytes)" = "$(val released_bytes)" ]; }
scav() {
	run idle; [ "$(val idle_bytes)" -gt "$(val released_bytes)" ] || return 1
	echo 0 >$H/scavenge_age_ms; echo 100 >$H/scavenge_period_ms
	p=$(val scavenge_passes); within 10 all_released && [ "$(val scavenge_passes)" -gt "$p" ]
}
t "the scavenger releases what is old" scav
young() {
	echo 300000 >$H/scavenge_age_ms; echo 0 >$H/scavenge_period_ms; run idle; sleep 1
	[ "$(val idle_bytes)" -gt "$(val released_bytes)" ]
}
t "the scavenger leaves what is young" young
# By default 95 % are released within 2 s; allow 10 s on a busy host
nearly_all() { [ $(($(val resident_bytes) - $(val inuse_bytes))) -lt $((64 * 1048576 / 20)) ]; }
quick() {
	echo 1000 >$H/scavenge_age_ms; run idle pages=16384 || return 1
	within 10 nearly_all || return 1
	p=$(val scavenge_passes); sleep 8; p=$(($(val scavenge_passes) - p))
	echo 300000 >$H/scavenge_age_ms
	echo "$p ticks in 8 s with nothing idle"
	[ $p -le 8 ]	# half as many as with idle memory
}
t "idle memory goes back by itself, and then the thread sleeps" quick
sum() { [ $(($(val inuse_bytes) + $(val idle_bytes))) = "$(val sys_bytes)" ] &&
	[ $(($(val sys_bytes) - $(val released_bytes))) = "$(val resident_bytes)" ]; }
t "in use + idle = sys, resident = sys - released" sum
t "2 CPUs allocate, free and release for 20 s, every byte is checked" run stress seconds=20
t "2 CPUs free and resize what the other has freed, for 5 s" run misuse seconds=5
tiles() {
	e=$(awk '{ if ($1 != e) bad = 1; e = $1 + $2 } END { print bad ? 0 : e * '$PAGE' }' $D/spans)
	[ "$e" = "$(val sys_bytes)" ]
}
# A pass that empties the caches between two reads of the file would change the list
tiling() { within 5 tiles && [ "$(wc -l <$D/spans)" -gt 15 ]; }
t "debugfs spans tile the used part" tiling
oom() {
	f=$(val failed_allocs); run toobig || return 1
	[ "$(val failed_allocs)" -gt "$f" ] && dmesg | grep -q 'cannot allocate'
}
t "a full arena refuses, says so, and loses nothing" oom
done_testing
