#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The effect of gfp flags when memory is short or a task is being killed.
# vm: --mem 256
. /lib.sh
ins arena_mb=96
gfp() { c=$1; shift; insmod /spanheap_gfp_test.ko run="$c" "$@" || { dmesg | grep 'not true'; return 1; }; }
G=/sys/module/spanheap_gfp_test/parameters
# Run this before cases that fill the rate-limited log. The arena has grown, and its pages
# are released, so that the killed process would have to back pages.
killed() {
	run idle pages=10000 && gfp load || return 1
	echo 1 >$H/release; r=$(val resident_bytes)
	rc=0; sh -c "echo 10000 >$G/take; echo lives on" || rc=$?
	r=$(($(val resident_bytes) - r)) g=$(cat $G/got)
	echo "status $rc, got $g pages, $r bytes were taken"
	rmmod spanheap_gfp_test && check_ok || return 1
	[ $rc = 137 ] && [ "$g" = 0 ] && [ $r -le $((32 * PAGE)) ] &&
		dmesg | grep -q 'gfp_test: cannot allocate 10000 pages .*error -4$'
}
t "a process that is killed takes no more memory" killed
nofail() {
	gfp nofail && rmmod spanheap_gfp_test && check_ok || return 1
	dmesg | grep -q 'gfp_limited: cannot allocate 10 pages .*error -122. Retrying.'
}
t "what must not fail waits for the limit, and says so" nofail
t "nothing is in use after all that" sh -c "[ \$(cat $H/inuse_bytes) = 0 ]"
t "and unloads" rmmod spanheap
done_testing
