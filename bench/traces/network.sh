# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Network namespaces with bridges, tunnels and connection tracking are set up,
# used and taken down; a compressed swap comes and goes beside it.
for m in bridge veth dummy bonding vxlan macvlan tun nf_conntrack nf_tables ip_tables iptable_filter \
	 iptable_nat xt_conntrack nf_nat ip_vs zram; do
	modprobe "$m" 2>/dev/null || true
done
ip link set lo up
for round in 1 2 3 4; do
	pids=
	for i in 1 2 3 4 5 6 7 8; do
		unshare -n sh -c "ip link set lo up
			ip link add d0 type dummy; ip link set d0 up
			ip link add br0 type bridge; ip link set br0 up
			ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
			ip link add x0 type vxlan id $i dstport 4789 dev d0
			for j in 1 2 3 4; do ip link add m\$j link d0 type macvlan; done
			echo 262144 >/proc/sys/net/netfilter/nf_conntrack_max
			ping -c 2 127.0.0.1 >/dev/null
			sleep $(((i * round) % 5))" 2>/dev/null &
		pids="$pids $!"
	done
	echo $((16 * round))M >/sys/block/zram0/disksize 2>/dev/null || true
	mkswap /dev/zram0 >/dev/null && swapon /dev/zram0 && sleep 1 && swapoff /dev/zram0
	echo 1 >/sys/block/zram0/reset 2>/dev/null || true
	echo $((4096 << round)) >/sys/module/nf_conntrack/parameters/hashsize 2>/dev/null || true
	# shellcheck disable=SC2086
	wait $pids
done
