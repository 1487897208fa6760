# SPDX-License-Identifier: GPL-2.0
# Thin: each target is a script in tools/ that installs or fetches what it lacks.
KVER ?= 6.1
T ?= 60
KDIR ?= $(firstword $(wildcard $(dir $(wildcard /lib/modules/$(shell uname -r)/build/Makefile))) $(KVER))
INSTALL_MOD_PATH ?= $(DESTDIR)
export INSTALL_MOD_PATH

.PHONY: all check kunit selftest matrix debug fuzz dkms-test host-test profile-test demo bench lint docs install dkms-install clean help

all:	## build the modules for KDIR (default: running kernel, else stock KVER)
	tools/make $(KDIR)
check:	## every test: kunit, fuzz, selftest, profile-test, dkms-test and host-test
	tools/check
kunit:	## unit tests in User-Mode Linux KVER (6.1 or 7.3), or in KVER=debug
	tools/kunit $(KVER)
selftest:	## tests in a VM with stock kernel KVER (6.1 or 6.12), or in KVER=debug
	tools/selftest $(KVER)
matrix:	## selftest with the per-CPU caches off, smallest, default and largest
	tools/selftest --matrix $(KVER)
debug:	## selftest in a 7.3 built with KASAN, lockdep, kmemleak and more
	tools/selftest debug
fuzz:	## the page heap in user space for T seconds, with sanitizers, under libFuzzer
	tools/fuzz $(T)
profile-test:	## a heap profile of the RAM disk, as pprof and tools/profile read it
	tools/profile-test $(KVER)
dkms-test:	## build, install and remove through DKMS, in a clean folder
	tools/dkms test
host-test:	## what the scripts do on other distributions, and without headers
	tools/host-test
demo:	## the RAM disk with a real tree of files, in a VM with stock kernel KVER
	tools/demo $(KVER)
bench:	## measure beside the other allocators; PART=traces: memory held only, minutes
	tools/bench $(PART)
lint:	## checkpatch, kernel-doc, shellcheck, layers, sparse, coccicheck
	tools/lint
docs:	## the documentation as text and HTML, below the cache
	tools/docs
install:	## install spanheap.ko, headers and Module.symvers for KDIR, below DESTDIR if given
	tools/install $(KDIR)
dkms-install:	## install through DKMS, for this kernel and those to come
	DESTDIR=$(DESTDIR) tools/dkms install
clean:	## forget the modules that were built (kernels stay)
	rm -rf $${XDG_CACHE_HOME:-$$HOME/.cache}/spanheap/build
help:	## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST)
