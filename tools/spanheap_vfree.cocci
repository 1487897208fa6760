// SPDX-License-Identifier: GPL-2.0
/// Free a span with spanheap_free(). vfree(), kvfree() and kvfree_rcu() of any address
/// in a span unmap the whole arena, so that every client loses its spans. This patch finds
/// calls of these functions with a span of spanheap, in one function, or through a field or
/// variable of the same name in one file.
///
/// spatch -D report --sp-file spanheap_vfree.cocci FILE.c
// Confidence: High where both are in one function, moderate by name
// Options: --no-includes --include-headers
virtual report

@allocated@
expression E;
position p;
@@
 E =@p
(
 spanheap_alloc(...)
|
 spanheap_alloc_aligned(...)
|
 spanheap_alloc_objects(...)
|
 spanheap_mempool_alloc(...)
|
 devm_spanheap_alloc(...)
)

@wrong depends on allocated@
expression allocated.E;
identifier wrong_free =~ "^(vfree|kvfree|kvfree_rcu|kvfree_sensitive|vfree_atomic)$";
position q;
@@
 wrong_free@q(E, ...)

@by_name@
identifier f;
expression A;
@@
(
 A->f = spanheap_alloc(...)
|
 A->f = spanheap_alloc_aligned(...)
|
 A->f = spanheap_alloc_objects(...)
)

@wrong_by_name@
identifier by_name.f;
identifier wrong_free =~ "^(vfree|kvfree|kvfree_rcu|kvfree_sensitive|vfree_atomic)$";
expression B;
position q != wrong.q;
@@
 wrong_free@q(B->f, ...)

@script:python depends on report@
q << wrong.q;
@@
coccilib.report.print_report(q[0], "a span is passed to a free that unmaps the whole arena: use spanheap_free()")

@script:python depends on report@
q << wrong_by_name.q;
f << by_name.f;
@@
coccilib.report.print_report(q[0], "field %s has a span elsewhere: a free that unmaps the whole arena if it has one here" % f)
