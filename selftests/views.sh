#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The views of the heap: sysfs and its writable files, parameters, debugfs, tracepoints.
# vm: --mem 256
. /lib.sh
P=/sys/module/spanheap/parameters
T=/sys/kernel/tracing
ins arena_mb=64
insmod /spanheap_test.ko run=keep
mode() { stat -c %a "$1"; }
sysfs() {
	{
		for f in arena sys inuse idle released resident cached span_meta other_meta scavenged orphan refaulted; do
			echo "${f}_bytes 444"
		done
		for f in objects spans allocs frees failed_allocs invalid_frees grows scavenge_passes tlb_flushes largest_free_pages; do
			echo "$f 444"
		done
		for f in scavenge_age_ms scavenge_period_ms force_cycle_ms limit_bytes; do echo "$f 644"; done
		echo "release 644"
	} | sort >/tmp/want
	(cd $H && for f in *; do [ -d "$f" ] || echo "$f $(mode "$f")"; done) | sort >/tmp/have
	# A build may have more files, never fewer or other modes
	grep -vxFf /tmp/have /tmp/want && return 1
	while read -r f m; do
		[ "$m" = 200 ] || cat $H/"$f" >/tmp/v || return 1
		[ "$m" = 200 ] || [ "$(grep -cE '^[0-9]+$' /tmp/v)" = 1 ] || { echo "$f"; cat /tmp/v; return 1; }
		[ "$m" != 444 ] || refused sh -c "echo 1 >$H/$f" || return 1
	done </tmp/want
}
t "each file of the heap is there, has its mode and holds one number" sysfs
client() {
	for f in inuse_bytes peak_bytes spans allocs frees failed_allocs reserve_bytes; do
		[ "$(mode $H/clients/test/$f)" = 444 ] && grep -qE '^[0-9]+$' $H/clients/test/$f || { echo $f; return 1; }
	done
	[ "$(mode $H/clients/test/limit_bytes)" = 644 ] || return 1
	[ "$(val clients/test/inuse_bytes)" = "$(val inuse_bytes)" ] && [ "$(val clients/test/spans)" = 200 ]
}
t "a client's files show what it has" client
limit() {
	L=$H/clients/test/limit_bytes
	echo 8388608 >$L && [ "$(cat $L)" = 8388608 ] || return 1
	for v in -1 x '' 18446744073709551616; do
		refused sh -c "echo '$v' >$L" || { echo "took '$v'"; return 1; }
	done
	[ "$(cat $L)" = 8388608 ] || return 1
	for v in 1 $((PAGE - 1)) $PAGE $((2 * PAGE - 1)); do	# as at registration
		echo $v >$L && [ "$(cat $L)" = $PAGE ] || { cat $L; return 1; }
	done
	echo 0 >$L && [ "$(cat $L)" = 0 ]
}
t "limit_bytes takes a size and refuses nonsense" limit
for f in scavenge_age_ms scavenge_period_ms force_cycle_ms; do
	good() {
		echo 1234 >$H/$f && [ "$(val $f)" = 1234 ] && [ "$(cat $P/$f)" = 1234 ] &&
			echo 4321 >$P/$f && [ "$(val $f)" = 4321 ] && [ "$(cat $P/$f)" = 4321 ]
	}
	bad() {
		for v in -1 99999999999 x ''; do
			refused sh -c "echo '$v' >$H/$f" && refused sh -c "echo '$v' >$P/$f" || return 1
		done
		[ "$(val $f)" = 4321 ]
	}
	t "$f takes a number, as a file and as a parameter" good
	t "$f refuses negative, huge and non-numeric" bad
done
t "force_cycle_ms refuses 0" refused sh -c "echo 0 >$H/force_cycle_ms"
t "scavenge_period_ms of 0 is half the age" sh -c "echo 0 >$H/scavenge_period_ms"
heap_limit() {
	[ "$(val limit_bytes)" = 0 ] || return 1
	for v in 1,$PAGE $((PAGE - 1)),$PAGE $((2 * PAGE - 1)),$PAGE 0x10000,65536 \
		 18446744073709551615,"$(printf %u -$PAGE)"; do
		echo "${v%,*}" >$H/limit_bytes && [ "$(val limit_bytes)" = "${v#*,}" ] || { val limit_bytes; return 1; }
	done
	echo 8388608 >$P/limit_bytes && [ "$(val limit_bytes)" = 8388608 ] || return 1
	for v in -1 x '' 1M 18446744073709551616; do
		refused sh -c "echo '$v' >$H/limit_bytes" && refused sh -c "echo '$v' >$P/limit_bytes" || { echo "took '$v'"; return 1; }
	done
	[ "$(val limit_bytes)" = 8388608 ] && [ "$(cat $P/limit_bytes)" = 8388608 ] && echo 0 >$H/limit_bytes
}
t "limit_bytes of the heap takes a size and refuses nonsense" heap_limit
bad_release() {
	n=$(val scavenge_passes)
	for v in 0 2 -1 67108864 0M -1M M '' ' ' x 1x 1MM 1.5M '1 M' 1MB 0x 18446744073709551616 18446744073709551616K \
		16E 17179869184G 99999999999999999999999999999999999999999M; do
		! echo "$v" >$H/release || { echo "took '$v'"; return 1; }
	done 2>/tmp/err
	sed 's/.*: //' /tmp/err | sort -u
	[ "$(sed 's/.*: //' /tmp/err | sort -u)" = 'Invalid argument' ] && [ "$(val scavenge_passes)" = "$n" ]
}
t "release refuses what is neither 1 nor a size with a unit" bad_release
params() {
	[ "$(cat $P/arena_mb)" = $((64 * PAGE / 4096)) ] && [ "$(mode $P/arena_mb)" = 444 ] && [ "$(mode $P/cache_kb)" = 444 ] || return 1
	refused sh -c "echo 1 >$P/arena_mb" && refused sh -c "echo maybe >$P/trace"
}
t "parameters show what was chosen; those of loading cannot be changed" params
rmmod spanheap_test
traced() { dmesg | grep -E 'spanheap: scavenged [0-9]+ KiB: in use [0-9]+, idle [0-9]+, sys [0-9]+, released [0-9]+, resident [0-9]+ KiB'; }
trace() {
	echo 100 >$H/scavenge_period_ms; echo 0 >$H/scavenge_age_ms; sleep 1
	! dmesg | grep 'spanheap: scavenged' || return 1
	echo 1 >$P/trace; run idle; within 10 traced; rc=$?
	echo 0 >$P/trace; echo 0 >$H/scavenge_period_ms; echo 300000 >$H/scavenge_age_ms
	return $rc
}
t "the trace parameter logs a line per pass" trace
events() {
	echo 8192 >$T/buffer_size_kb; echo 1 >$T/events/spanheap/enable || return 1
	run idle pages=8192 && insmod /spanheap_test.ko run=process; echo 1 >$H/release; echo 0 >$T/events/spanheap/enable
	cat $T/trace >/tmp/trace; rmmod spanheap_test
	for e in 'alloc: addr=[^ ]* nr_pages=257 gfp=0x[0-9a-f]* caller=exercise.*\[spanheap_test\] client=test' \
		'free: addr=[^ ]* nr_pages=257 caller=exercise.*\[spanheap_test\] client=test' 'grow: used=[0-9]* nr_pages=[0-9]* client=test' \
		'release: nr_pages=[0-9]* nr_spans=[0-9]*' 'scavenge: nr_pages=[0-9]* age=0 inuse=[0-9]* idle=[0-9]* sys=[0-9]* released=[0-9]* resident=[0-9]*'; do
		grep -q "spanheap_$e" /tmp/trace || { echo "no $e"; head -n 40 /tmp/trace; return 1; }
	done
	a=$(grep -c spanheap_alloc: /tmp/trace) f=$(grep -c spanheap_free: /tmp/trace)
	echo "$a allocations, $f frees traced"; [ "$a" = "$f" ]
}
mount -t tracefs none $T
t "tracepoints tell of allocation, free, growth, release" events
mkdir /etc; echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd
nobody() { su -s /bin/sh nobody -c "$1"; }
secret() {
	chmod 755 /sys/kernel/debug	# the files themselves must refuse
	[ -n "$(ls $D)" ] || return 1
	for f in "$D"/*; do
		cat "$f" >/tmp/v || return 1
		refused nobody "cat $f" || { echo "$f is open to all"; return 1; }
	done
	refused nobody "echo 1 >$H/release" && refused nobody "echo 1 >$H/scavenge_age_ms" &&
		nobody "cat $H/inuse_bytes"
}
t "debugfs is for root, sysfs for all to read" secret
writers() {
	find $H $P $D -type f >/tmp/files
	while read -r f; do
		refused nobody "echo 1 >$f" || { echo "$f is open to all"; return 1; }
	done </tmp/files
}
t "nobody but root can write" writers
garbage() {
	tr '\0' 'x' </dev/zero | head -c 65536 >/tmp/junk
	find $H $P $D -type f >/tmp/files
	while read -r f; do
		refused sh -c "cat /tmp/junk >$f" || { echo "$f takes garbage"; return 1; }
	done </tmp/files
	check_ok
}
t "64 KiB of garbage are refused by every file" garbage
addresses() {
	{
		grep spanheap_ /tmp/trace | grep addr= && cat $D/spans $D/free && dmesg | grep spanheap &&
			find $H -type f -exec cat {} +
	} >/tmp/all || return 1
	# An address of the kernel, with page tables of 4 or 5 levels; a hash has 8 digits
	! grep -E '(^|[^0-9a-f])ff[0-9a-f]{14}([^0-9a-f]|$)' /tmp/all
}
t "no message or view has an address" addresses
open() {
	exec 3<$D/spans; read -r _ <&3
	refused rmmod spanheap; rc=$?
	exec 3<&-; return $rc
}
t "no unloading while a debugfs file is open" open
t "unload" rmmod spanheap
gone() {
	absent $H $D $T/events/spanheap /sys/module/spanheap && ! slabs | grep . &&
		! cat /proc/slabinfo /sys/devices/system/cpu/hotplug/states | grep spanheap
}
t "files, events, slab and hotplug state are gone" gone
done_testing
