#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Finalizers of a client module: when and in which context they run, and what waits for them.
# expect: spanheap: client (special|leaver) is gone and leaves [0-9]+ spans
. /lib.sh
ins arena_mb=128
srun() {
	c=$1; shift
	insmod /spanheap_special_test.ko run="$c" "$@" || { dmesg | grep -E 'not true|insmod' | tail -n 2; return 1; }
	rmmod spanheap_special_test && check_ok && [ "$(val inuse_bytes)" = 0 ]
}
t "finalizers run in process context, without locks, once" srun context
t "a finalizer may add itself again; what is live is left alone" srun again
t "the object is kept until its finalizer has run" srun slow
refuse() {
	srun refused || return 1
	dmesg | grep -q 'invalid free of .* by bad_free.*allocated by test_refused.*has the finalizer test_finalizer.*\[spanheap_special_test\]' || {
		dmesg | grep 'invalid free'; return 1; }
	[ "$(dmesg | grep -c 'invalid free of .* by bad_free')" = 1 ]
}
t "a free with a finalizer is refused, and names both" refuse
t "bad input to the finalizer calls" srun badinput
leave() { srun leave && dmesg | grep -q 'client leaver is gone and leaves 1 finalizers that will not run, the first test_finalizer'; }
t "an unregistered client's finalizers are dropped and named" leave
t "adders, removers, freers, sweepers and clients at once on 2 CPUs" srun chaos seconds=10
tail_of() { dmesg | grep spanheap_special_test | tail -n 6; }
tail_of | sed 's/^/# /'
unload() {	# leaves an orphan, which the next sweep would have freed
	insmod /spanheap_special_test.ko run=unload && rmmod spanheap_special_test || return 1
	dmesg | grep -q 'unregistered, and the finalizer has run 1 times' && check_ok
}
t "unloading a module waits for its queued finalizers" unload
done_testing
