#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# KASAN sees a use of a span that was freed, although its pages are still there.
# A script of its own: after a report lockdep is off.
# vm: --append kasan_multi_shot
# expect: KASAN: vmalloc-out-of-bounds in test_afterfree
. /lib.sh
if ! kasan; then
	skip "a use after free is reported" "no KASAN in this kernel"
	done_testing
fi
insmod /spanheap.ko arena_mb=64
report() {
	run afterfree || return 1
	[ "$(dmesg | grep -c 'KASAN: vmalloc-out-of-bounds in test_afterfree')" = 2 ]
}
t "a use after free is reported" report
done_testing
