# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Modules come and go: drivers, ciphers, file systems, network.
for round in 1 2 3; do
	for m in zstd_compress lz4 lzo lz4hc crypto_engine twofish_common serpent_generic camellia_generic \
		 des_generic wp512 sm4_generic aegis128 adiantum ccm xts cmac vmac essiv \
		 loop zram nbd dm-mod dm-crypt dm-snapshot dm-thin-pool raid1 raid456 md-mod \
		 ext4 xfs btrfs vfat udf isofs squashfs overlay fuse nfs ceph cifs \
		 bridge veth dummy bonding vxlan geneve wireguard macvlan ipvlan tun nf_conntrack \
		 nf_tables nft_ct nft_nat ip_vs sctp tipc; do
		modprobe "$m" 2>/dev/null || true
	done
	# whatever nothing uses any more goes, until nothing goes
	for pass in 1 2 3 4 5; do
		for m in $(awk '$3 == 0 { print $1 }' /proc/modules); do
			rmmod "$m" 2>/dev/null || true
		done
	done
	sleep "$round"
done
: "$pass"
