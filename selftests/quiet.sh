#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The heap on one CPU interrupts no other CPU, unless that CPU has spans.
# vm: --mem 256 --append isolcpus=1 --append nohz_full=1 --append init_on_alloc=0
. /lib.sh
# Number of function call interrupts of CPU 1
calls() { awk '/Function call interrupts/ { print $3 }' /proc/interrupts; }
# few LIMIT COMMAND...: it passes on CPU 0, with fewer interrupts of CPU 1. LIMIT allows
# for interrupts of the kernel itself: wake-ups, code patching
few() {
	limit=$1 before=$(calls); shift
	taskset 1 "$@" || return 1
	n=$(($(calls) - before))
	echo "$n calls interrupted CPU 1"
	[ $n -lt "$limit" ]
}
keeping arena_mb=64
run_there() { taskset 1 insmod /spanheap_test.ko run=idle && rmmod spanheap_test; }
t "CPU 0 leaves something idle, which keeps the scavenger busy" run_there
cat >/tmp/passes <<'EOF'
. /lib.sh
n=$(val scavenge_passes)
echo 10 >$H/scavenge_period_ms; sleep 6; echo 0 >$H/scavenge_period_ms
n=$(($(val scavenge_passes) - n))
echo "$n passes"
[ $n -ge 200 ]
EOF
t "200 passes of the scavenger leave a CPU alone that has not used the heap" few 100 sh /tmp/passes
clients() {
	few 250 insmod /spanheap_test.ko run=clients; rc=$?
	dmesg | grep 'clients came and went'
	rmmod spanheap_test && return $rc
}
t "1000 clients come and go and leave it alone" clients
cat >/tmp/limits <<'EOF'
. /lib.sh
insmod /spanheap_test.ko || exit 1
L=$H/clients/test/limit_bytes i=0
while [ $i -lt 100 ]; do
	echo 1048576 >$L && echo 0 >$L || exit 1
	i=$((i + 1))
done
rmmod spanheap_test
EOF
t "200 limits that are set leave it alone" few 100 sh /tmp/limits
# Seconds of load; 300 is what the design promises
load_s=10
cat >/tmp/load <<EOF
. /lib.sh
insmod /spanheap_test.ko run=stress seconds=$load_s && rmmod spanheap_test
EOF
# With the default age, so that passes, growth and releases on request all have their share.
# On x86-64 a flush of kernel addresses interrupts all CPUs, as vmalloc's does.
load() {
	echo 1000 >$H/scavenge_age_ms
	f=$(val tlb_flushes) p=$(val scavenge_passes)
	few 1000000 sh /tmp/load || return 1
	f=$(($(val tlb_flushes) - f))
	echo "$f flushes, $(($(val scavenge_passes) - p)) passes"
	[ $n -le $((f + 100)) ] && [ $f -gt 0 ]
}
t "load on CPU 0 interrupts CPU 1 for flushes only" load
# The counter works: CPU 1 has spans, and the heap interrupts it for them
asked() {
	i=0 before=$(calls)
	while [ $i -lt 30 ]; do
		taskset 2 insmod /spanheap_test.ko run=fill && rmmod spanheap_test || return 1
		taskset 1 sh -c "echo 1 >$H/release" || return 1
		i=$((i + 1))
	done
	n=$(($(calls) - before))
	echo "$n calls interrupted CPU 1"
	! caches || [ $n -ge 30 ]
}
t "a CPU that has spans is interrupted for them" asked
t "unload" rmmod spanheap
done_testing
