# SPDX-License-Identifier: GPL-2.0
# Sphinx, with the kernel's own kernel-doc directive; see tools/docs.
import os
import sys

kernel = os.environ["KERNEL_SOURCE"]
sys.path.insert(0, os.path.join(kernel, "Documentation/sphinx"))

project = "spanheap"
copyright = "the spanheap authors"
extensions = ["kerneldoc"]
kerneldoc_bin = os.environ["KERNEL_DOC"]
kerneldoc_srctree = os.environ["SPANHEAP_SOURCE"]
kerneldoc_verbosity = 1
exclude_patterns = ["ABI"]
primary_domain = "c"
highlight_language = "c"
html_theme = "alabaster"
html_copy_source = False
# What the kernel's sources use in prototypes
c_id_attributes = ["__malloc"]
nitpicky = False
