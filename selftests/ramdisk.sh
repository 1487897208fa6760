#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The RAM disk under ext4.
# vm: --mem 512 --kmod ext4 --prog mke2fs --prog e2fsck
. /lib.sh
ins arena_mb=256
t "the minimal sample loads and unloads" sh -c 'insmod /spanheap_minimal.ko && rmmod spanheap_minimal'
for v in 0 -1 1048577 4294967297 x; do
	t "size_mb=$v is refused" refused insmod /spanheap_ramdisk.ko size_mb=$v
done
t "the RAM disk loads" insmod /spanheap_ramdisk.ko size_mb=64
t "mkfs" /progs/mke2fs -q -t ext4 -F /dev/spanheap0
t "mount" mount -t ext4 /dev/spanheap0 /mnt
fill() {
	i=0
	while [ $i -lt 40 ]; do
		dd if=/dev/urandom of=/mnt/f$i bs=64k count=16 2>/dev/null || return 1
		i=$((i + 1))
	done
	sync; (cd /mnt && sha256sum f*) >/tmp/sums
	echo 3 >/proc/sys/vm/drop_caches; (cd /mnt && sha256sum -cs /tmp/sums)
}
t "40 files survive dropping caches" fill
discard() {
	a=$(val inuse_bytes); rm /mnt/f[0-9]; sync; fstrim /mnt; b=$(val inuse_bytes)
	echo "in use before $a, after $b"; [ $((a - b)) -gt 8000000 ]
}
t "fstrim frees the spans" discard
inuse() { refused rmmod spanheap_ramdisk && refused rmmod spanheap; }
t "nothing is unloaded while the disk is mounted" inuse
writer() {	# writes three files at a time and deletes one of them
	for i in 1 2 3 4; do
		for f in a b c; do dd if=/tmp/src$1 of=/mnt/w$1$f$i bs=7000 conv=fsync 2>/dev/null || return 1; done
		rm /mnt/w$1b$i
	done
}
parallel() {
	for w in 1 2 3; do dd if=/dev/urandom of=/tmp/src$w bs=64k count=13 2>/dev/null; done
	for w in 1 2 3; do writer $w & done
	for i in 1 2 3 4 5 6 7 8; do fstrim /mnt; echo 1 >$H/release; echo 3 >/proc/sys/vm/drop_caches; done
	wait; fstrim /mnt; echo 3 >/proc/sys/vm/drop_caches
	for w in 1 2 3; do for i in 1 2 3 4; do for f in a c; do
		cmp /tmp/src$w /mnt/w$w$f$i || return 1
	done; done; done
	check_ok
}
t "three writers beside fstrim and release, every byte is checked" parallel
rest() { echo 1 >$H/release; grep -v ' f[0-9]$' /tmp/sums >/tmp/rest; echo 3 >/proc/sys/vm/drop_caches; (cd /mnt && sha256sum -cs /tmp/rest); }
t "the other files are whole" rest
t "unmount" umount /mnt
t "fsck finds nothing" /progs/e2fsck -fn /dev/spanheap0
t "an unwritten and a discarded block read as zero" sh -c 'blkdiscard /dev/spanheap0 && [ $(dd if=/dev/spanheap0 bs=1M 2>/dev/null | tr -d "\000" | wc -c) = 0 ]'
dev=/dev/spanheap0
edge() {	# a discard that begins and ends within a chunk clears exactly its bytes
	all=$((16 * PAGE)) hole=$((10 * PAGE))
	yes abcdefg | dd of=$dev bs=$all count=1 conv=fsync iflag=fullblock 2>/dev/null
	dd if=$dev of=/tmp/b bs=$all count=1 2>/dev/null
	blkdiscard -o 1024 -l $hole $dev; echo 3 >/proc/sys/vm/drop_caches
	{ head -c 1024 /tmp/b; head -c $hole /dev/zero; tail -c +$((hole + 1025)) /tmp/b; } >/tmp/want
	dd if=$dev bs=$all count=1 2>/dev/null | cmp - /tmp/want && [ "$(val inuse_bytes)" = $((12 * PAGE)) ]
}
t "a discard clears what it names and no more" edge
raw() {
	for w in 0 1 2 3; do
		dd if=/tmp/src1 of=$dev bs=4k count=200 seek=$((w * 200 + 1)) conv=fsync,notrunc 2>/dev/null &
	done
	wait; echo 3 >/proc/sys/vm/drop_caches
	for w in 0 1 2 3; do
		dd if=$dev bs=4k count=200 skip=$((w * 200 + 1)) 2>/dev/null | cmp -n 819200 - /tmp/src1 || return 1
	done
}
t "four writers to neighbouring parts of the disk" raw
limit() {
	blkdiscard $dev; L=$H/clients/ramdisk/limit_bytes; echo 1048576 >$L
	refused dd if=/dev/zero of=$dev bs=64k count=64 conv=fsync || return 1
	echo "in use $(val inuse_bytes)"
	[ "$(val inuse_bytes)" -le 1048576 ] && [ "$(val clients/ramdisk/failed_allocs)" != 0 ] && check_ok || return 1
	echo 0 >$L; dd if=/tmp/src1 of=$dev bs=64k conv=fsync 2>/dev/null
	echo 3 >/proc/sys/vm/drop_caches; dd if=$dev bs=64k count=13 2>/dev/null | cmp - /tmp/src1
}
t "at its limit the disk is full, above it works again" limit
t "unload" rmmod spanheap_ramdisk
t "nothing in use, invariants hold" sh -c '. /lib.sh; [ $(val inuse_bytes) = 0 ] && check_ok'
t "unload the heap" rmmod spanheap
full() {
	# shellcheck disable=SC2086
	insmod /spanheap.ko arena_mb=32 $SPANHEAP_PARAMS && insmod /spanheap_ramdisk.ko size_mb=64 || return 1
	dd if=/tmp/src1 of=$dev bs=64k conv=fsync 2>/dev/null
	refused dd if=/dev/zero of=$dev bs=1M count=48 seek=1 conv=fsync || { echo "took more than there is"; return 1; }
	echo "in use $(val inuse_bytes) of $(val arena_bytes)"
	[ "$(val inuse_bytes)" -gt 33000000 ] && [ "$(val failed_allocs)" != 0 ] && check_ok || return 1
	echo 3 >/proc/sys/vm/drop_caches; dd if=$dev bs=64k count=13 2>/dev/null | cmp - /tmp/src1 || return 1
	blkdiscard $dev && [ "$(val inuse_bytes)" = 0 ] || return 1
	dd if=/tmp/src1 of=$dev bs=64k conv=fsync 2>/dev/null && rmmod spanheap_ramdisk && check_ok && rmmod spanheap
}
t "a disk larger than the heap: no space when that is full, and what was written stays" full
done_testing
