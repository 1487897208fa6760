#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# KASAN sees a use of a span that was freed, although its pages are still there.
# A script of its own: after a report lockdep is off.
# vm: --append kasan_multi_shot
# expect: KASAN: vmalloc-out-of-bounds in test_afterfree
. /lib.sh
if ! grep -qw __asan_set_shadow_f8 /proc/kallsyms; then
	echo "ok 1 - a use after free is reported # SKIP no KASAN in this kernel"
	echo 1..1; exit 0
fi
insmod /spanheap.ko arena_mb=64
report() {
	run afterfree || return 1
	[ "$(dmesg | grep -c 'KASAN: vmalloc-out-of-bounds in test_afterfree')" = 2 ]
}
t "a use after free is reported" report
done_testing
