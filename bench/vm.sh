# SPDX-License-Identifier: GPL-2.0
# Runs in the VM: tools/bench puts run=, reps=, arena= and loads= before it.
# shellcheck shell=sh disable=SC2154
printf 'INFO\t%s, 2 CPUs, emulated, booted with "%s"\n' "$(uname -r)" "$(cat /proc/cmdline)"
insmod /spanheap.ko arena_mb="$arena" scavenge_age_ms=4000000000 || exit 1
for r in $(echo "$run" | tr , ' '); do
	dmesg -c >/dev/null
	insmod /spanheap_bench.ko run="$r" reps="$reps" \
		traces="$(echo /traces/*.trace | tr ' ' ,)" ${loads:+loads="$loads"} || { dmesg; exit 1; }
	dmesg | sed -n 's/.*\(BENCH.*\)/\1/p'
	rmmod spanheap_bench
done
rmmod spanheap
dmesg | sed -n 's/.*\(WARNING:.*\|BUG:.*\|Oops.*\)/BENCH failed: \1/p'
