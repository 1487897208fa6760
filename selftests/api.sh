#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The API from a client module, in every context; bad input.
# expect: spanheap: client .* is gone and leaves
# expect: WARNING: .*at .*spanheap_heap_(alloc|resize)
# expect: WARNING: .*at .*spanheap_heap_unregister
. /lib.sh
insmod /spanheap.ko arena_mb=128
for c in process softirq hardirq lookup resize release zero limit names badsize; do
	t "$c" run $c
done
badfree() {
	b=$(val invalid_frees); run badfree || return 1
	[ $(($(val invalid_frees) - b)) = 8 ] || { val invalid_frees; return 1; }
	[ "$(dmesg | grep -c 'invalid free of')" -ge 8 ]
}
t "bad frees are counted, reported and change nothing" badfree
t "a forbidden gfp is refused" run badgfp
t "nothing is in use after all that" sh -c '[ $(cat /sys/kernel/spanheap/inuse_bytes) = 0 ]'
hold() { insmod /spanheap_test.ko run=hold && refused rmmod spanheap && rmmod spanheap_test; }
t "no unloading while a client module is there" hold
orphan() {
	run orphan || return 1
	[ "$(val orphan_bytes)" = 61440 ] || { val orphan_bytes; return 1; }
	[ "$(dmesg | grep -c 'pages, allocated by')" = 10 ] || return 1
	refused rmmod spanheap
}
t "live spans of a gone client are listed and kept" orphan
for f in scavenge_age_ms scavenge_period_ms force_cycle_ms; do
	good() { echo 1234 >$H/$f && [ "$(val $f)" = 1234 ]; }
	bad() { for v in -1 99999999999 x ''; do refused sh -c "echo '$v' >$H/$f" || return 1; done; [ "$(val $f)" = 1234 ]; }
	t "$f takes a number" good
	t "$f refuses negative, huge and non-numeric" bad
done
t "scavenge_period_ms refuses 0" refused sh -c "echo 0 >$H/scavenge_period_ms"
t "release refuses anything but 1" refused sh -c "echo 2 >$H/release"
idle() { run idle; echo 1 >$H/release; [ "$(val idle_bytes)" = "$(val released_bytes)" ] && check_ok; }
t "release gives all idle pages back" idle
scav() {
	run idle; [ "$(val idle_bytes)" -gt "$(val released_bytes)" ] || return 1
	echo 0 >$H/scavenge_age_ms; echo 100 >$H/scavenge_period_ms; sleep 2
	[ "$(val idle_bytes)" = "$(val released_bytes)" ] && [ "$(val scavenge_passes)" -gt 3 ]
}
t "the scavenger releases what is old" scav
young() {
	echo 300000 >$H/scavenge_age_ms; run idle; sleep 1
	[ "$(val idle_bytes)" -gt "$(val released_bytes)" ]
}
t "the scavenger leaves what is young" young
sum() { [ $(($(val inuse_bytes) + $(val idle_bytes))) = "$(val sys_bytes)" ] &&
	[ $(($(val sys_bytes) - $(val released_bytes))) = "$(val resident_bytes)" ]; }
t "in use + idle = sys, resident = sys - released" sum
t "2 CPUs allocate, free and release for 20 s" run stress seconds=20
t "debugfs spans tile the used part" sh -c '[ $(awk "{ if (\$1 != e) bad = 1; e = \$1 + \$2 } END { print bad ? 0 : e * 4096 }" /sys/kernel/debug/spanheap/spans) = $(cat /sys/kernel/spanheap/sys_bytes) ]'
oom() {
	f=$(val failed_allocs); run toobig || return 1
	[ "$(val failed_allocs)" -gt "$f" ] && dmesg | grep -q 'cannot allocate'
}
t "a full arena refuses, says so, and loses nothing" oom
done_testing
