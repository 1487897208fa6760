#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Lockdep reports a cycle that is begun under a lock that a sweep callback takes.
# A script of its own: after a report lockdep is off.
# expect: WARNING: possible circular locking dependency detected
. /lib.sh
if [ ! -e /proc/lockdep ]; then
	skip "a cycle begun with the wrong lock is reported" "no lockdep in this kernel"
	done_testing
fi
insmod /spanheap.ko arena_mb=64
wrongly() {
	insmod /spanheap_gfp_test.ko run=cycle_wrongly && rmmod spanheap_gfp_test && check_ok &&
		[ "$(dmesg | grep -c 'possible circular')" = 1 ]
}
t "a cycle begun with the wrong lock is reported, though nothing is unswept" wrongly
done_testing
