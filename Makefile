# SPDX-License-Identifier: GPL-2.0
# Each target runs a script in tools/, which installs packages and fetches kernels it lacks.
KVER ?= 6.1
T ?= 60
KDIR ?= $(firstword $(wildcard $(dir $(wildcard /lib/modules/$(shell uname -r)/build/Makefile))) $(KVER))
INSTALL_MOD_PATH ?= $(DESTDIR)
export INSTALL_MOD_PATH

.PHONY: all check kunit selftest matrix debug fuzz models coverage prove dkms-test host-test profile-test top-test demo bench lint docs install dkms-install deb deb-test clean help

all:	## build the modules for KDIR (default: running kernel, else stock KVER)
	tools/make $(KDIR)
check:	## run every test: kunit, fuzz, models, selftest, profile-test, top-test, dkms-test and host-test
	tools/check
kunit:	## run unit tests in User-Mode Linux KVER (6.1 or 7.3), or in KVER=debug
	tools/kunit $(KVER)
selftest:	## run tests in a VM with stock KVER (6.1, 6.12, 6.1-arm64 ...) or KVER=debug
	tools/selftest $(KVER)
matrix:	## run selftest with the per-CPU caches off, smallest, default and largest
	tools/selftest --matrix $(KVER)
debug:	## run selftest in a 7.3 built with KASAN, lockdep, kmemleak and more
	tools/selftest debug
fuzz:	## fuzz the page heap in user space for T seconds, with sanitizers
	tools/fuzz $(T)
prove:	## prove the arithmetic of backed pages within bounds, with CBMC
	tools/prove
coverage:	## print which lines of each file kunit and selftests run; PART=kunit: kunit
	tools/coverage $(PART)
models:	## check the models of the lock-free protocols, and that broken ones fail
	tools/models
profile-test:	## take a heap profile of the RAM disk, read it with pprof and tools/profile
	tools/profile-test $(KVER)
top-test:	## run spanheap-top and the arena's picture on fake and real files
	tools/top-test $(KVER)
dkms-test:	## build, install and remove through DKMS, in a clean folder
	tools/dkms test
host-test:	## test the scripts for other distributions and for hosts without headers
	tools/host-test
demo:	## fill and trim the RAM disk with real files, in a VM with stock kernel KVER
	tools/demo $(KVER)
bench:	## measure spanheap and other allocators; PART=traces: memory held only (minutes)
	tools/bench $(PART)
lint:	## run checkpatch, kernel-doc, shellcheck, layers, sparse, coccicheck
	tools/lint
docs:	## build the documentation as text and HTML, in the cache folder
	tools/docs
install:	## install spanheap.ko, headers, tools and man pages for KDIR, below DESTDIR if given
	tools/install $(KDIR)
dkms-install:	## install through DKMS, for all kernels with headers, now and later
	DESTDIR=$(DESTDIR) tools/dkms install
deb:	## build the Debian packages spanheap-dkms and spanheap-tools
	tools/deb build
deb-test:	## install, upgrade, remove and purge them in a clean Debian 12, in a folder
	tools/deb test
clean:	## remove built modules (kernels stay)
	rm -rf $${XDG_CACHE_HOME:-$$HOME/.cache}/spanheap/build
help:	## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' $(MAKEFILE_LIST)
