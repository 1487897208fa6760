#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Hibernation with most of the memory idle in the heap. There is no swap, so that the
# image cannot be written; the kernel makes it before it finds out.
# vm: --mem 512
. /lib.sh
keeping arena_mb=384 || exit 1
total=$(awk '/^MemTotal/ { print int($2 / '$((PAGE / 1024))') }' /proc/meminfo)	# in pages
hibernate() {
	run idle pages=$((total * 6 / 10)) || return 1
	echo "idle $(val idle_bytes), released $(val released_bytes)"
	[ $(($(val resident_bytes) / PAGE)) -gt $((total / 2)) ] || return 1
	echo 0 >/sys/power/pm_async
	echo disk >/sys/power/state
	dmesg | grep 'PM: '
	echo "resident $(val resident_bytes)"
	# The image was made, at the first attempt, and the heap is not in it
	dmesg | grep -q 'Creating image' || return 1
	copied=$(dmesg | sed -n 's/.*Need to copy \([0-9]*\) pages.*/\1/p')
	[ "$copied" -lt $((total * 4 / 10)) ] && [ "$(val resident_bytes)" -lt 1000000 ] && check_ok
}
t "idle pages are in no image of hibernation" hibernate
t "the heap works on after that" run process
t "and unloads" rmmod spanheap
done_testing
