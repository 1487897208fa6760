#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel reports an allocation that may sleep in atomic context, even with warm caches.
# expect: sleeping function called from invalid context
. /lib.sh
if ! grep -qw __might_sleep /proc/kallsyms; then
	skip "GFP_KERNEL under a spinlock" "the kernel is built without DEBUG_ATOMIC_SLEEP"
	done_testing
fi
ins arena_mb=64
splat() {
	run atomicsleep && [ "$(dmesg | grep -c 'sleeping function called from invalid context')" = 1 ]
}
t "GFP_KERNEL under a spinlock is told of, with a warm cache" splat
t "unload" rmmod spanheap
done_testing
