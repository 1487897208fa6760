#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run in the VM: loading the module runs the KUnit suites linked into it; its
# log is the result. Again with the smallest and the largest caches, what has any.
insmod /spanheap.ko && rmmod spanheap || exit 1
printf %s 'spanheap_*_cached' >/sys/module/kunit/parameters/filter_glob || exit 1
for kb in 1 16384; do
	insmod /spanheap.ko cache_kb=$kb && rmmod spanheap || exit 1
done
