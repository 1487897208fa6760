#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The one-liners for bpftrace in Documentation/admin-guide.rst work as they are there.
# vm: --mem 2048 --timeout 900 --may-prog bpftrace
. /lib.sh
sed -n "s/^    bpftrace -e '\(.*\)'\$/\1/p" /admin-guide.rst >/tmp/lines
nr=$(wc -l </tmp/lines)
t "the guide has one-liners" [ "$nr" -ge 5 ]
if ! [ -e /progs/bpftrace ]; then
	for i in $(seq "$nr"); do skip "one-liner $i" "this machine has no bpftrace, which Debian packages"; done
	done_testing
fi
ins arena_mb=128 scavenge_age_ms=300000
insmod /spanheap_ramdisk.ko size_mb=64
# bpftrace finds the names of call sites when it ends, so one of them is in a module that stays
load() {
	run resize && run badsize || return 1
	dd if=/dev/zero of=/dev/spanheap0 bs=1M count=4 2>/dev/null && sync && blkdiscard /dev/spanheap0 &&
		echo 1 >$H/release
}
says() {	# says NUMBER: run a one-liner; it has a line for the test's client, or numbers of the heap
	program=$(sed -n "$1p" /tmp/lines)
	echo "$program"
	/progs/bpftrace -e "$program" >/tmp/said 2>&1 &
	pid=$!
	within 200 grep -q '^Attaching' /tmp/said || { kill $pid; cat /tmp/said; return 1; }
	# It attaches some time after it says so, and ignores an interrupt until then
	for _ in 1 2 3; do
		sleep 2
		load || { kill $pid; return 1; }
	done
	{
		for _ in $(seq 20); do kill -INT $pid || exit; sleep 3; done
		kill -KILL $pid
	} 2>/dev/null &
	wait $pid || { echo "bpftrace did not end by itself"; head -n 20 /tmp/said; return 1; }
	head -n 60 /tmp/said
	case $program in
	*args-\>client*) grep -qE '(@[a-z]*\[|^).*test.*:' /tmp/said ;;
	*caller*) grep -qE '^@bytes\[ramdisk_submit_bio\]: [1-9]' /tmp/said ;;
	*spanheap_release*) grep -qE '^@bytes: [1-9]' /tmp/said ;;
	*) false ;;
	esac
}
for i in $(seq "$nr"); do
	t "one-liner $i: $(sed -n "$i p" /tmp/lines | grep -o 'spanheap_[a-z_]*' | head -n 1)" says "$i"
	sed 's/^/# /' /tmp/out | head -n 12
done
done_testing
