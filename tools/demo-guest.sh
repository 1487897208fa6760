#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The guest's side of tools/demo: an ext4 file system whose blocks are spans.
# Prints its steps, pictures of the arena, and a table of the counters. Stops at the first
# failed check.
#   /demo.env   NR, BYTES: how many files, and their size
#   /demo.sums  their SHA-256, made on the host
#   /dev/vda    the files, a tar
set -u
# shellcheck disable=SC3040	# busybox's sh has it
set -o pipefail
. /demo.env
H=/sys/kernel/spanheap
D=/sys/kernel/debug/spanheap
ARENA_MB=256 DISK_MB=192
DOTS=24
MiB=1048576

# ---- output ----

step() {	# step TEXT: begin a line
	nr=$((${nr:-0} + 1)) dots=0
	t0=$(awk '{print $1}' /proc/uptime)
	printf '%3d  %-38s ' "$nr" "$1"
}
# Print lines of input as dots, DOTS for all $1 lines; fail if the number of lines differs
progress() {
	awk -v all="$1" -v dots=$DOTS '
		{ for (; n < int(NR * dots / all) && n < dots; n++) { printf "."; fflush() } }
		END { exit NR != all }'
}
ok() {	# the line's end, with the dots that are still due
	while [ $dots -lt $DOTS ]; do printf .; dots=$((dots + 1)); done
	awk -v t0="$t0" '{printf " ok %6.1f s\n", $1 - t0}' /proc/uptime
}
say() { printf '     %s\n' "$*"; }
mib() { awk -v b="$1" "BEGIN {printf \"%.1f MiB\", b / $MiB}"; }
fail() {
	echo " FAILED"
	say "$*"
	table
	dmesg | grep -v drop_caches | tail -n 15
	exit 1
}

: >/tmp/rows
table() {
	echo
	echo "Counters in MiB; spans in numbers; MemFree with the page cache dropped"
	echo
	awk -v mib=$MiB '
		BEGIN { printf "%-22s%8s%8s%8s%9s%9s%7s%9s\n", "after", "sys", "in use", "idle",
			"released", "resident", "spans", "MemFree" }
		{ name = $1; gsub("_", " ", name); printf "%-22s", name
		  for (i = 2; i <= 6; i++)
			if ($i == "-") printf "%" (i < 5 ? 8 : 9) "s", "-"
			else printf "%" (i < 5 ? 8 : 9) ".1f", $i / mib
		  printf "%7s%9.1f\n", $7, $8 / mib }' /tmp/rows
	echo
}

# tools/arena, indented
picture() {
	sh /arena >/tmp/picture 2>&1 || fail "tools/arena: $(cat /tmp/picture)"
	echo
	echo "     The arena $1:"
	sed 's/^/     /' /tmp/picture
	echo
}

# ---- measurements ----

mem_free() { awk '/^MemFree/ {printf "%.0f\n", $2 * 1024}' /proc/meminfo; }
# Make MemFree comparable: drop the page cache, and wait until the kernel has added per-CPU
# counts, once a second. Do not write "3" while spans are idle: that calls all shrinkers,
# and the heap's shrinker gives idle pages back.
settle() {
	sync
	echo "${1:-1}" >/proc/sys/vm/drop_caches
	sleep 2
	echo "${1:-1}" >/proc/sys/vm/drop_caches
}
# Pages in the per-CPU lists are neither used nor free. This limits their number, which is
# tens of MiB by default, to the minimum. A free on each CPU makes its lists
# shrink to the limit.
echo 1000000 >/proc/sys/vm/percpu_pagelist_high_fraction
for cpu in $(seq 0 $(($(nproc) - 1))); do
	taskset -c "$cpu" sh -c 'cat /dev/vda >/dev/null; echo 1 >/proc/sys/vm/drop_caches' || exit 1
done
pcp_max() { awk '$1 == "high:" {n += $2} END {printf "%.0f\n", n * 4096}' /proc/zoneinfo; }
vmalloc_bytes() { awk '!/unpurged/ {n += $2} END {printf "%.0f\n", n}' /proc/vmallocinfo; }
counters() { cat $H/sys_bytes $H/inuse_bytes $H/idle_bytes $H/released_bytes $H/resident_bytes $H/spans; }
# Print a line of the table, and check what must be true at any time
row() {
	settle
	free=$(mem_free)
	if ! [ -d $H ]; then
		echo "$1 - - - - - - $free" >>/tmp/rows
		return
	fi
	# The files are read one after the other: the same values twice are one state
	until a=$(counters); b=$(counters); [ "$a" = "$b" ]; do :; done
	# shellcheck disable=SC2086
	set -- "$1" $a
	sys=$2 inuse=$3 idle=$4 released=$5 resident=$6
	echo "$* $free" >>/tmp/rows
	[ "$sys" = $((inuse + idle)) ] || fail "sys is not in use + idle: $*"
	[ "$released" -le "$idle" ] || fail "more is released than idle: $*"
	[ "$resident" = $((sys - released)) ] || fail "resident is not sys - released: $*"
	check=$(cat $D/check)
	[ "$check" = ok ] || fail "$D/check: $check"
}
# All files of list $1 exist and have the checksums that the host made
verify() {
	settle
	(cd /mnt && sha256sum -c "$1" 2>&1) | tee /tmp/verified | grep ': OK$' |
		progress "$(wc -l <"$1")" ||
		fail "$(grep -v ': OK$' /tmp/verified | head -n 5)"
	dots=$DOTS
}

# ---- steps ----

echo "The guest: Linux $(uname -r), $(nproc) CPUs, $(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo) MiB"
echo
settle 3
row start; free0=$free vmalloc0=$(vmalloc_bytes)
step "load spanheap.ko, an arena of $ARENA_MB MiB"
insmod /spanheap.ko arena_mb=$ARENA_MB scavenge_age_ms=300000 || fail "insmod"
[ $(($(vmalloc_bytes) - vmalloc0)) -ge $((ARENA_MB * MiB)) ] || fail "no arena in /proc/vmallocinfo"
ok; row heap_loaded
step "load spanheap_ramdisk.ko, $DISK_MB MiB"
insmod /spanheap_ramdisk.ko size_mb=$DISK_MB || fail "insmod"
ok; row disk_loaded
step "make an ext4 file system, mount it"
{ /progs/mke2fs -q -t ext4 -b 4096 /dev/spanheap0 && mount -t ext4 /dev/spanheap0 /mnt; } ||
	fail "mke2fs or mount"
ok; row mounted
step "copy $NR files, $(mib "$BYTES")"
tar -xvf /dev/vda -C /mnt 2>/tmp/err | progress "$NR" && sync || fail "$(tail -n 3 /tmp/err)"
dots=$DOTS
ok; row copied
[ "$inuse" -ge "$BYTES" ] || fail "less is in use than was copied"
step "drop caches, check every SHA-256"
verify /demo.sums
ok
picture "full"

awk 'NR % 2' /demo.sums >/tmp/keep
awk 'NR % 2 == 0 {print $2}' /demo.sums >/tmp/gone
# Minimum that a trim gives back: chunks of $g bytes of the disk that lie within one
# file, wherever in a chunk it starts. Minus a tenth, because a file may be in two pieces.
g=$(cat /sys/block/spanheap0/queue/discard_granularity)
# Use pipes: busybox's xargs reads a file again that its child has rewound
(cd /mnt && cat /tmp/gone | xargs stat -c %s) >/tmp/sizes || fail "stat"
gone=$(awk '{n += $1} END {printf "%.0f\n", n}' /tmp/sizes)
least=$(awk -v g="$g" '{n = int((int(($1 + 4095) / 4096) * 4096 - g + 4096) / g); if (n > 0) all += n * g}
	END {printf "%.0f\n", all * 0.9}' /tmp/sizes)
step "delete every second file, $(mib "$gone")"
{ (cd /mnt && cat /tmp/gone | xargs rm) && sync; } || fail "rm"
[ "$(find /mnt -type f | wc -l)" = "$(wc -l </tmp/keep)" ] || fail "not half of the files are left"
ok; row half_deleted
inuse0=$inuse idle0=$idle sys0=$sys
step "fstrim"
fstrim /mnt || fail "fstrim"
ok; row trimmed
fell=$((inuse0 - inuse)) rose=$((idle - idle0))
say "in use fell by $(mib $fell), idle rose by $(mib $rose)"
{ [ "$least" -gt 0 ] && [ $fell -ge "$least" ]; } || fail "in use fell by less than $(mib "$least")"
[ $rose = $((fell + sys - sys0)) ] || fail "idle did not rise by as much"
picture "with every second file gone"

free1=$free released0=$released
step "echo 1 >$H/release"
echo 1 >$H/release || fail "cannot write"
ok; row released
# Released memory went to the buddy allocator's free lists or to a per-CPU list on the
# way there; 1 MiB for what else a running system takes or frees in these seconds
rose=$((free - free1)) gave=$((released - released0)) tolerance=$(($(pcp_max) + MiB))
say "released $(mib $gave), MemFree rose by $(mib $rose); may differ by $(mib $tolerance)"
[ $gave -ge $fell ] || fail "what fstrim freed was not released"
[ "$resident" = "$inuse" ] || fail "idle pages are still backed"
[ $tolerance -lt $((gave / 2)) ] || fail "too little was released to tell"
{ [ $rose -ge $((gave - tolerance)) ] && [ $rose -le $((gave + tolerance)) ]; } ||
	fail "MemFree did not rise by what was released"
picture "after release"
step "drop caches, check the others' SHA-256"
verify /tmp/keep
ok; row other_half_checked

step "unmount, fsck"
{ umount /mnt && /progs/e2fsck -fn /dev/spanheap0 >/tmp/out 2>&1; } || fail "$(cat /tmp/out)"
ok; row unmounted
step "unload spanheap_ramdisk"
rmmod spanheap_ramdisk || fail "rmmod"
ok; row disk_unloaded
[ "$inuse" = 0 ] || fail "$inuse bytes are still in use"
step "unload spanheap"
rmmod spanheap || fail "rmmod"
ok; settle 3; row heap_unloaded
step "look for what is left"
left=$(ls -d $H $D /sys/module/spanheap* /sys/block/spanheap* 2>/dev/null
	ps | grep '[s]panheap_'; grep spanheap /proc/slabinfo /proc/devices /proc/modules)
[ -z "$left" ] || fail "$left"
[ $(($(vmalloc_bytes) - vmalloc0)) -lt $MiB ] || fail "vmalloc space is still taken"
lost=$((free0 - free))
# The lists again, page tables of the vmalloc range, which the kernel keeps, slabs of ext4
[ $lost -lt $((tolerance + 3 * MiB)) ] || fail "MemFree is $(mib $lost) lower than before"
bad=$(dmesg -r | grep -E 'WARNING|BUG|Oops|Call Trace|general protection|INFO: task|rcu.*stall|EXT4-fs (error|warning)|I/O error|^<[0-4]>.*spanheap' |
	grep -v taint)
[ -z "$bad" ] || fail "in dmesg: $bad"
ok
table
