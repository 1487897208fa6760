#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run in the VM: loading the module runs the KUnit suites linked into it; its
# log is the result.
insmod /spanheap.ko && rmmod spanheap
