#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Spans that outlive the module that allocated them: they hold spanheap until they are
# freed, and their call sites are named although the text is gone.
. /lib.sh
M=spanheap_leave_test
leave() {	# leave CASE: load and unload the module; $spans is what it left
	insmod /$M.ko run="$1" || { dmesg | grep 'not true'; return 1; }
	spans=$(cat /sys/module/$M/parameters/addr) && rmmod $M
}
with() { insmod /$M.ko run="$1" addr="$2" || { dmesg | grep 'not true'; return 1; }; rmmod $M; }	# with CASE SPANS
ins arena_mb=64
stay() {
	insmod /$M.ko run=stay && insmod /spanheap_minimal.ko && rmmod spanheap_minimal || return 1
	[ "$(grep -c '(anonymous)' $D/spans)" = 14 ] && [ "$(val orphan_bytes)" = 0 ] || { cat $D/spans; return 1; }
	rmmod $M && [ "$(val inuse_bytes)" = 0 ] && ! dmesg | grep 'is gone and leaves'
}
t "spans of a module that stays stay anonymous when another goes" stay
left() {
	leave leave || return 1
	dmesg | grep -q "module $M is gone and leaves 14 spans without a client, 1230 pages" || { dmesg | tail -n 20; return 1; }
	[ "$(dmesg | grep -c "pages, allocated by left_by_[a-z]*+0x[0-9a-fx/]* \[$M\]")" = 10 ] && check_ok
}
t "spans that a module leaves are reported, with their call sites" left
held() { [ "$(val orphan_bytes)" = $((1230 * PAGE)) ] && refused rmmod spanheap && with look "$spans"; }
t "they hold spanheap, and their memory is as it was" held
named() {
	insmod /spanheap_test.ko run=keep	# other text at the same addresses
	grep '(orphan)' $D/spans >/tmp/orphans; rmmod spanheap_test
	[ "$(grep -c "inuse 0 0 (orphan) left_by_function+0x[0-9a-fx/]* \[$M\]" /tmp/orphans)" = 7 ] &&
		[ "$(grep -c "inuse 0 0 (orphan) left_by_init+0x[0-9a-fx/]* \[$M\]" /tmp/orphans)" = 7 ] || { cat /tmp/orphans; return 1; }
}
t "debugfs names a call site that is gone" named
badfree() {
	with badfree "$spans" || return 1
	r='invalid free of [^ ]* by interior_free+.*: byte '$((2 * PAGE))' of the span of 300 pages at page [0-9]*, which is in use, last allocated by left_by_function+.*'
	[ "$(dmesg | grep -c "$r\[$M\]")" = 1 ] || { dmesg | grep 'invalid free'; return 1; }
	# After a new load the module is reported again, at whatever address it is now
	with badfree "$spans" && [ "$(dmesg | grep -c "$r\[$M\]")" = 2 ]
}
t "a bad free of one is reported as numbers, once for each life of its call site" badfree
take() {
	with take "$spans" && check_ok && [ "$(val orphan_bytes)" = 0 ] && [ "$(val inuse_bytes)" = 0 ] || return 1
	rmmod spanheap
}
t "another module resizes and frees them, and the last free lets spanheap go" take
ins arena_mb=64
again() {
	i=0
	while [ $i -lt 20 ]; do
		leave leave && with take "$spans" || return 1
		i=$((i + 1))
	done
	[ "$(val orphan_bytes)" = 0 ] && check_ok
}
t "the same 20 times" again
devm() {
	leave devm || return 1
	for f in devm_first devm_second; do
		[ "$(dmesg | grep -c "invalid free of [^ ]* by $f+")" = 1 ] || { dmesg | grep 'invalid free'; return 1; }
	done
}
t "a device's bad free names who allocated for the device" devm
profile() {
	echo 4096 >/sys/module/spanheap/parameters/profile_rate
	leave leave && with take "$spans" || return 1
	echo 0 >/sys/module/spanheap/parameters/profile_rate
	insmod /spanheap_test.ko run=hold	# other text at the same addresses
	cat $D/profile >/tmp/profile; rmmod spanheap_test
	for f in left_by_function left_by_init test_leave; do
		grep "^#	0x[0-9a-f]*	$f+0x[0-9a-fx/]* \[$M\]" /tmp/profile || { grep '^#' /tmp/profile; return 1; }
	done
	! grep 'spanheap_test\]' /tmp/profile
}
t "the profile names call sites that are gone, too" profile
pool() {
	leave pool && grep '(orphan) mempool_' $D/spans && refused rmmod spanheap && with drop "${spans%%,*}" || return 1
	[ "$(val orphan_bytes)" = 0 ] && rmmod spanheap
}
t "a span whose call site is the kernel's holds spanheap, too" pool
ins arena_mb=64
forget() {
	leave forget && refused rmmod spanheap && [ "$(val clients/forgotten/spans)" = 1 ] &&
		grep "inuse 0 0 forgotten test_[a-z]*+0x[0-9a-fx/]* \[$M\]" $D/spans
}
t "so does a client that its module forgot; its span is named" forget
done_testing
