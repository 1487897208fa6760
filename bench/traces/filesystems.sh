# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# File systems are made, mounted, filled, read and unmounted, on loop and zram.
modprobe loop
modprobe zram num_devices=2
modprobe ext4
modprobe overlay
mkdir -p /mnt/a /mnt/b /mnt/o
for round in 1 2 3 4 5 6; do
	dd if=/dev/zero of=/tmp/img bs=1M count=0 seek=$((40 + 8 * round)) 2>/dev/null
	losetup /dev/loop0 /tmp/img
	mke2fs /dev/loop0 >/dev/null
	mount -t ext4 /dev/loop0 /mnt/a
	echo $((32 + 16 * (round % 3)))M >/sys/block/zram0/disksize
	mke2fs /dev/zram0 >/dev/null
	mount -t ext4 /dev/zram0 /mnt/b || true
	mkdir -p /mnt/a/up /mnt/a/work
	mount -t overlay -o "lowerdir=/lib/modules,upperdir=/mnt/a/up,workdir=/mnt/a/work" o /mnt/o || true
	cp -r /lib/modules/*/kernel/crypto /lib/modules/*/kernel/lib /mnt/a/ 2>/dev/null || true
	cp /lib/modules/*/kernel/crypto/*.xz /mnt/b/ 2>/dev/null || true
	cp -r /mnt/a/crypto /mnt/o/copy 2>/dev/null || true
	tar -cf - -C /mnt/a . | gzip -1 >/mnt/b/all.tar.gz 2>/dev/null || true
	find /mnt/a /mnt/b -type f -exec md5sum {} + >/dev/null
	umount /mnt/o 2>/dev/null || true
	umount /mnt/b
	umount /mnt/a
	losetup -d /dev/loop0
	echo 1 >/sys/block/zram0/reset
	sleep 1
done
