# SPDX-License-Identifier: GPL-2.0
# Sphinx, with the directive by which the kernel's documents include kernel-doc; the
# kernel's own extension is in no package but its whole source. See tools/docs.
import os
import subprocess

import sphinx
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.util.docutils import switch_source_input

project = "spanheap"
copyright = "the spanheap authors"
exclude_patterns = ["ABI"]
primary_domain = "c"
highlight_language = "c"
html_theme = "alabaster"
html_copy_source = False
# What the kernel's sources use in prototypes
c_id_attributes = ["__malloc"]
nitpicky = False


class KernelDoc(Directive):
    """The comments of one source file; any remark of kernel-doc is an error."""

    required_arguments = 1
    option_spec = {"export": directives.flag, "internal": directives.flag}

    def run(self):
        path = os.path.join(os.environ["SPANHEAP_SOURCE"], self.arguments[0])
        self.state.document.settings.env.note_dependency(path)
        done = subprocess.run(
            [os.environ["KERNEL_DOC"], "-rst", "-sphinx-version", sphinx.__version__]
            + [f"-{option}" for option in self.options] + [path],
            capture_output=True, text=True, check=False)
        if done.returncode or done.stderr or not done.stdout:
            raise self.error(f"kernel-doc {path}: status {done.returncode}\n{done.stderr}")
        lines = StringList(done.stdout.expandtabs(8).splitlines(), source=path)
        node = nodes.section()
        with switch_source_input(self.state, lines):
            self.state.nested_parse(lines, 0, node, match_titles=1)
        return node.children


def setup(app):
    app.add_directive("kernel-doc", KernelDoc)
    return {"parallel_read_safe": True}
