#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# KASAN reports a use of a freed span, although its pages are still mapped.
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
