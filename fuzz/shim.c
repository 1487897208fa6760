// SPDX-License-Identifier: GPL-2.0
/* The variables and the balanced tree that shim.h declares */
#include "shim.h"

unsigned int shim_warnings;
bool shim_may_warn;
void (*shim_stored)(void);
void (*shim_loaded)(void);
void (*shim_resched)(void);
int shim_atomic;
int shim_rcu;
bool shim_contended;

/* The tree is a treap: sorted by key, and a heap by this priority of each node */
static u32 priority(const struct rb_node *n)
{
	return (u32)((unsigned long)n >> 4) * 2654435761u;
}

static void replace(struct rb_root *tree, struct rb_node *old, struct rb_node *node)
{
	struct rb_node *parent = old->parent;

	if (!parent)
		tree->rb_node = node;
	else if (parent->rb_left == old)
		parent->rb_left = node;
	else
		parent->rb_right = node;
	if (node)
		node->parent = parent;
}

/* Rotate a node with its parent */
static void rotate_up(struct rb_root *tree, struct rb_node *n)
{
	struct rb_node *parent = n->parent, *inner;

	replace(tree, parent, n);
	if (parent->rb_left == n) {
		inner = n->rb_right;
		parent->rb_left = inner;
		n->rb_right = parent;
	} else {
		inner = n->rb_left;
		parent->rb_right = inner;
		n->rb_left = parent;
	}
	if (inner)
		inner->parent = parent;
	parent->parent = n;
}

void rb_add(struct rb_node *node, struct rb_root *tree,
	    bool (*less)(struct rb_node *a, const struct rb_node *b))
{
	struct rb_node **link = &tree->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = less(node, parent) ? &parent->rb_left : &parent->rb_right;
	}
	node->rb_left = NULL;
	node->rb_right = NULL;
	node->parent = parent;
	*link = node;
	while (node->parent && priority(node) > priority(node->parent))
		rotate_up(tree, node);
}

void rb_erase(struct rb_node *node, struct rb_root *tree)
{
	if (node->parent ? node->parent->rb_left != node && node->parent->rb_right != node :
			   tree->rb_node != node)
		shim_die("rb_erase() of what is in no tree");
	while (node->rb_left && node->rb_right)
		rotate_up(tree, priority(node->rb_left) > priority(node->rb_right) ?
				node->rb_left : node->rb_right);
	replace(tree, node, node->rb_left ? node->rb_left : node->rb_right);
	node->rb_left = NULL;
	node->rb_right = NULL;
	node->parent = node;	/* marks a node that is in no tree */
}

struct rb_node *rb_first(const struct rb_root *tree)
{
	struct rb_node *n = tree->rb_node;

	while (n && n->rb_left)
		n = n->rb_left;
	return n;
}

struct rb_node *rb_last(const struct rb_root *tree)
{
	struct rb_node *n = tree->rb_node;

	while (n && n->rb_right)
		n = n->rb_right;
	return n;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	struct rb_node *n = node->rb_right;

	if (n) {
		while (n->rb_left)
			n = n->rb_left;
		return n;
	}
	while (node->parent && node->parent->rb_right == node)
		node = node->parent;
	return node->parent;
}
