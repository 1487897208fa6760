# SPDX-License-Identifier: GPL-2.0
KVER ?= 6.1
KDIR ?= $(if $(wildcard /lib/modules/$(shell uname -r)/build/Makefile),/lib/modules/$(shell uname -r)/build,$(KVER))

.PHONY: all check selftest help clean
all:	## build the modules for KDIR (default: running kernel, else stock 6.1)
	tools/need make gcc libelf-dev bc xz-utils kmod
	tools/build $(KDIR)
check: selftest	## every test
selftest:	## tests in a VM with stock kernel KVER (6.1 or 6.12)
	tools/selftest $(KVER)
clean:	## forget what was built (fetched kernels stay)
	rm -rf $${XDG_CACHE_HOME:-$$HOME/.cache}/spanheap/build
help:	## this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' $(MAKEFILE_LIST)
