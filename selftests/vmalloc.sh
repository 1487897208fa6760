#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A driver that knows vmalloc() only, as it is and built with <linux/spanheap_vmalloc.h>.
# vm: --mem 1024
. /lib.sh
keeping arena_mb=256
load() { insmod /spanheap_vm"$1"_test.ko || { dmesg | grep 'not true' | tail -n 2; return 1; }; dmesg | grep -q "spanheap_vm$1_test: has all"; }
unload() { rmmod spanheap_vm"$1"_test && dmesg | grep -q "spanheap_vm$1_test: has found all"; }
t "as it is, it works" load plain
no_spans() { [ "$(val spans)" = 0 ] && absent $H/clients/spanheap_vmplain_test; }
t "and has no spans" no_spans
t "as it is, it unloads" unload plain
t "built with the header, it works" load span
C=$H/clients/spanheap_vmspan_test
named() {
	# vmalloc(1), 10000, 5 pages, 12300, 70 pages, 1 MiB, a page and a byte, 64 KiB
	n=$((1 + (9999 + PAGE) / PAGE + 5 + (12299 + PAGE) / PAGE + 70 + 1048576 / PAGE + 2 + 65536 / PAGE))
	[ "$(cat $C/spans)" = 8 ] || { cat $C/spans; return 1; }
	[ "$(cat $C/inuse_bytes)" = $((n * PAGE)) ] || { cat $C/inuse_bytes; return 1; }
	[ "$(val inuse_bytes)" = "$(cat $C/inuse_bytes)" ] && [ "$(cat $C/allocs)" -gt 12 ]
}
t "what it has are spans under its name" named
listed() { [ "$(grep -c ' inuse .* spanheap_vmspan_test ' $D/spans)" = 8 ]; }
t "and are listed with it" listed
t "the invariants hold" check_ok
t "spanheap stays loaded with it" refused rmmod spanheap
t "built with the header, it unloads" unload span
gone() { [ "$(val spans)" = 0 ] && [ "$(val inuse_bytes)" = 0 ] && [ "$(val orphan_bytes)" = 0 ] && absent $C; }
t "its spans and its name are gone with it" gone
t "no free was a bad one" [ "$(val invalid_frees)" = 0 ]
again() { load span && named && unload span && gone; }
t "and again" again
full() {	# no room in the arena for any of it: the kernel's memory, and the same results
	rmmod spanheap && ins arena_mb=1 || return 1
	load span && [ "$(cat $C/spans)" -lt 8 ] && unload span && gone
}
t "with an arena that is too small it works as well" full
t "unload" rmmod spanheap
done_testing
