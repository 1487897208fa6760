#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Two nodes of a CPU each, one of which has no memory.
# vm: --nodes 2:1
. /lib.sh
keeping arena_mb=128
without() { [ "$(cat /sys/devices/system/node/online)" = 0-1 ] && [ "$(cat /sys/devices/system/node/has_memory)" = 0 ]; }
t "node 1 is online and has no memory" without
driver() { insmod /spanheap_driver_test.ko run="$1" || { dmesg | grep 'not true' | tail -n 2; return 1; }; rmmod spanheap_driver_test && check_ok; }
t "spans of a node: of the one with memory, or none where it must be the other" driver node
t "the API is the same there" run process
nothing() { [ "$(val inuse_bytes)" = 0 ] && [ "$(val spans)" = 0 ]; }
t "nothing is in use" nothing
t "and unloads" rmmod spanheap
done_testing
