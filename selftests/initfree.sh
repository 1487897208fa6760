#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A system that clears memory when it is freed.
# vm: --mem 256 --append init_on_free=1 --append init_on_alloc=0
. /lib.sh
keeping arena_mb=64
name="what is freed is cleared, and not cleared again"
if kasan; then skip "$name" "reads freed spans, which KASAN reports"; else t "$name" run initfree; fi
t "zeros are zeros" run zero
t "the API works" run process
t "2 CPUs allocate, free and release for 3 s" run stress seconds=3
t "unload" rmmod spanheap
done_testing
