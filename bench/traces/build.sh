# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The process load of a build: many short processes, some at once, each with a
# kernel stack, and pipes between compressors.
mkdir -p /tmp/b
unit() {
	n=$1
	seq 1 $((n * 40)) | awk '{ print "int f" $1 "(int x) { return x * " $1 "; }" }' >"/tmp/b/$n.c"
	sed 's/int/long/g' "/tmp/b/$n.c" | sort -r | uniq | grep -v 77 | gzip >"/tmp/b/$n.o"
	md5sum "/tmp/b/$n.o" >"/tmp/b/$n.d"
}
for round in 1 2 3 4 5 6 7 8 9 10; do
	for j in 1 2 3 4 5 6 7 8; do
		unit $((round * 10 + j)) &
	done
	wait
	tar -cf - -C /tmp b | gzip | gunzip | tar -tf - >/dev/null
done
