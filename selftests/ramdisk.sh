#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The RAM disk under ext4.
# vm: --mem 512 --kmod ext4 --prog mke2fs --prog e2fsck
. /lib.sh
insmod /spanheap.ko arena_mb=256
t "the minimal sample loads and unloads" sh -c 'insmod /spanheap_minimal.ko && rmmod spanheap_minimal'
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
rest() { echo 1 >$H/release; grep -v ' f[0-9]$' /tmp/sums >/tmp/rest; echo 3 >/proc/sys/vm/drop_caches; (cd /mnt && sha256sum -cs /tmp/rest); }
t "the other files are whole" rest
t "unmount" umount /mnt
t "fsck finds nothing" /progs/e2fsck -fn /dev/spanheap0
t "an unwritten and a discarded block read as zero" sh -c 'blkdiscard /dev/spanheap0 && [ $(dd if=/dev/spanheap0 bs=1M 2>/dev/null | tr -d "\000" | wc -c) = 0 ]'
t "unload" rmmod spanheap_ramdisk
t "nothing in use, invariants hold" sh -c '. /lib.sh; [ $(val inuse_bytes) = 0 ] && check_ok'
t "unload the heap" rmmod spanheap
done_testing
