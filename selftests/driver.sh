#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The functions for drivers that come from vmalloc(), called by a client module.
# vm: --append init_on_alloc=0 --mem 1024
. /lib.sh
keeping arena_mb=512
driver() {	# driver CASE
	insmod /spanheap_driver_test.ko run="$1" || { dmesg | grep 'not true' | tail -n 2; return 1; }
	rmmod spanheap_driver_test && check_ok
}
t "sizes in bytes are rounded up, and none overflows" driver bytes
t "spanheap_is_span() knows every address of a span, and no other" driver isspan
t "what is freed after a grace period is there for its readers, and unload waits" driver rcu
silent() { ! dmesg | grep -E 'is gone and leaves'; }
t "spans of a node on a machine that has one" driver node
t "spans in bulk, by four tasks at once" driver bulk
t "a span grows from 64 KiB to 64 MiB, and its pages are the same ones" driver realloc
t "four tasks have spans that move all the time" driver moves
t "a scatterlist is the span" driver sg
t "small ones, spans, and what the heap has not, by one call" driver kvmalloc
t "a platform driver undoes nothing by hand" driver devm
t "nothing was left by a client or a module" silent
nothing() { [ "$(val inuse_bytes)" = 0 ] && [ "$(val spans)" = 0 ]; }
t "nothing is left in use" nothing
t "unload" rmmod spanheap
done_testing
