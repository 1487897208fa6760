#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The heap profile, of the RAM disk: call sites, estimates, the parameter.
. /lib.sh
P=/sys/module/spanheap/parameters/profile_rate
# Memory that a first use takes for ever is missing in the first cycle only. The first load
# has the profile off, which keeps no memory. With KASAN and kmemleak, free memory means
# nothing, but kmemleak finds leaks itself.
cycle() { insmod /spanheap.ko arena_mb=64 profile_rate=$1 && run process && rmmod spanheap; }
keeps_nothing() {
	cycle 0 && cycle 0 && cycle 0 && settle || return 1
	before=$(all_free)
	cycle 1 && settle || return 1
	after=$(all_free)
	echo "free before $before kB, after $after kB"
	[ $((before - after)) -lt 192 ]
}
n="what was sampled is gone with the module"
if slow || kasan; then skip "$n" "free memory is no measure on this kernel"; else t "$n" keeps_nothing; fi
insmod /spanheap.ko arena_mb=192
t "the mean distance is 512 KiB unless told otherwise" [ "$(cat $P)" = 524288 ]
good() { for v in 1 4096 1099511627776 0x10000 0 16384; do echo $v >$P && [ "$(cat $P)" = $((v)) ] || return 1; done; }
bad() { for v in -1 1099511627777 99999999999999999999 x ''; do refused sh -c "echo '$v' >$P" || return 1; done; [ "$(cat $P)" = 16384 ]; }
t "profile_rate takes a number" good
t "profile_rate refuses negative, huge and non-numeric" bad
t "the RAM disk loads" insmod /spanheap_ramdisk.ko size_mb=128
# Estimate bytes from the samples in column $1 (2: in use, 4: allocated), for call
# stacks whose leaf is in the RAM disk. busybox has no exp().
estimate() {
	awk -v f="$1" 'function e(x, i, t, s) { for (t = s = i = 1; i < 40; i++) s += t *= x / i; return s }
		/^heap profile:/ { sub(".*/", ""); rate = $0; next }
		/^[0-9]/ { gsub("[^0-9a-fx]", " "); n = $f; size = $3 ? $4 / $3 : 0; leaf = 1; next }
		/^#\t0x/ && leaf { leaf = 0
			if (/\[spanheap_ramdisk\]/) sum += n / (1 - 1 / e(size / rate)) }
		END { printf "%d\n", sum }' $D/profile
}
near() {	# near ESTIMATE TRUTH: within 10%
	echo "estimate $1, truth $2"
	d=$(($1 > $2 ? $1 - $2 : $2 - $1))
	[ "$2" -gt 0 ] && [ $((d * 10)) -le "$2" ]
}
write() { dd if=/dev/zero of=/dev/spanheap0 bs=1M count=$1 seek=$2 2>/dev/null && sync; }
site() { write 80 0 && near "$(estimate 2)" "$(val clients/ramdisk/inuse_bytes)" && near "$(estimate 4)" 83886080; }
t "the estimate of the RAM disk's bytes is within 10%" site
leaf() { grep -q '#.0x[0-9a-f]*.ramdisk_submit_bio+.* \[spanheap_ramdisk\]$' $D/profile && ! grep -q '\[spanheap\]$' $D/profile; }
t "stacks begin with the caller, by name" leaf
t "they go down to the system call" grep -q '#.0x[0-9a-f]*.\(do_syscall_64\|do_el0_svc\|kthread\)+' $D/profile
discard() {
	blkdiscard -l 41943040 /dev/spanheap0
	near "$(estimate 2)" "$(val clients/ramdisk/inuse_bytes)" && near "$(estimate 4)" 83886080
}
t "frees are matched: half is discarded, half is left" discard
off() {
	echo 0 >$P; a=$(estimate 4); write 40 80; [ "$(estimate 4)" = "$a" ] || return 1
	blkdiscard /dev/spanheap0
	grep -q '^# profile off$' $D/profile && head -n 1 $D/profile | grep '^heap profile: 0: 0 \[[1-9]'
}
t "with rate 0 nothing is sampled, and frees are still matched" off
# spanheap_prof.c has for each line a bucket of 56 bytes and its call stack
buckets() { awk '/^[0-9]/ { s += 56 + 8 * gsub("0x", "") } END { print s + 0 }' $D/profile; }
counted() {
	meta=$(val other_meta_bytes) sum=$(buckets)
	echo 1024 >$P; write 40 0; echo 0 >$P
	blkdiscard /dev/spanheap0
	meta=$(($(val other_meta_bytes) - meta)) sum=$(($(buckets) - sum))
	echo "other_meta_bytes $meta, buckets $sum"
	[ $sum -gt 0 ] && [ $meta = $sum ]
}
t "other_meta_bytes has all that the profile keeps" counted
change() {
	echo 1 >$P; write 2 0	# samples everything at once, whatever the distance was before
	head -n 1 $D/profile; head -n 1 $D/profile | grep -q "^heap profile: $((524288 / PAGE)): 2097152 .* @ heap_v2/1$" &&
		grep -q '^#.rate 16384$' $D/profile
}
t "a new rate holds from now on, and the old one's samples say theirs" change
all_bytes() { [ "$(sed -n 's/^# bytes in use, sampled or not: //p' $D/profile)" = "$(val inuse_bytes)" ] && ! grep 'profile off' $D/profile; }
t "the profile says how much is in use, sampled or not" all_bytes
t "no sample was lost" sh -c 'grep -q "lack of memory: 0$" /sys/kernel/debug/spanheap/profile'
only_root() {
	mkdir -p /etc
	[ "$(stat -c %a $D/profile)" = 400 ] || return 1
	chmod 755 /sys/kernel/debug
	echo 'user:x:1000:1000::/:/bin/sh' >/etc/passwd
	su user -c "ls $D" | grep -q profile || return 1	# it gets that far
	refused su user -c "cat $D/profile"
}
t "nobody but root reads it" only_root
stress() { run stress seconds=5 && run softirq && run hardirq; }
t "every allocation is sampled, on 2 CPUs and in interrupts" stress
t "invariants hold" check_ok
t "unload with samples live" rmmod spanheap_ramdisk
clean() { head -n 1 $D/profile | grep '^heap profile: 0: 0 \[' && [ "$(val inuse_bytes)" = 0 ]; }
t "nothing is in use after that" clean
t "unload the heap" rmmod spanheap
done_testing
