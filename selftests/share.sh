#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Pages of spans to which user space or others still refer; guard pages.
. /lib.sh
ins arena_mb=64
share() {	# share CASE
	insmod /spanheap_share_test.ko run="$1" || { dmesg | grep 'not true' | tail -n 2; return 1; }
	rmmod spanheap_share_test && check_ok
}
t "a mapped span that is freed stays its mapping's, and the next owner's is another" share mmap
t "spanheap_to_page() marks the span: a page outlives it" share to_page
t "SPANHEAP_SHARED_PAGES: so do pages that others took without the heap" share flag
t "a shared span that nobody refers to is reused with its pages" share reuse
t "SPANHEAP_GUARD: the byte behind each span faults" share guard
nothing_in_use() { [ "$(val inuse_bytes)" = 0 ] && [ "$(val spans)" = 0 ]; }
t "nothing is left in use" nothing_in_use
t "all goes back" sh -c "echo 1 >$H/release; [ \$(cat $H/resident_bytes) = 0 ]"
t "unload" rmmod spanheap
ins arena_mb=64
lost() {
	insmod /spanheap_share_test.ko run=vfree || { dmesg | grep 'not true' | tail -n 2; return 1; }
	grep -q 'the arena is gone' $D/check && rmmod spanheap_share_test
}
t "a span that is passed to vfree() is found out, and nothing else is written" lost
once() { [ "$(dmesg | grep -c 'the arena is gone')" = 1 ] && dmesg | grep -q '300 pages, allocated by test_vfree'; }
t "that is reported once, with the spans that are lost" once
t "unload after that" rmmod spanheap
fresh() { ins arena_mb=64 && insmod /spanheap_share_test.ko run=reuse && check_ok && rmmod spanheap_share_test spanheap; }
t "load again" fresh
done_testing
