/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files that translate filters of BIRD: the program of one filter, conditions and operands.
 * A program belongs to one call of bird_filter(). A condition, a scope and a value of a program live until
 * bird_filter() returns; a value of the pool of `struct bird` lives until the import ends.
 */
#pragma once

#include "control/cli/keelctl_import_bird.h"

#define DEPTH_MAX 64 /* of statements, expressions and calls together */
#define STEPS_MAX 200000 /* statements and operands of one filter, functions inlined */
#define NO_LABEL (-1)
/* A value is read where its name stands, and a function may reject or change the route. */
#define VALUE_CALLS "a value that a function computes"

/* What conditions read and statements change. */
enum attribute {
	A_PATH = 1 << 0,
	A_COMMUNITIES = 1 << 1,
	A_LARGE = 1 << 2,
	A_EXT = 1 << 3,
	A_LOCAL_PREF = 1 << 4,
	A_MED = 1 << 5,
	A_ORIGIN = 1 << 6,
	A_NEXT_HOP = 1 << 7,
	A_FIRST_AS = 1 << 8, /* the first AS number of the path */
};

enum operand_kind {
	O_BAD,
	O_CONDITION,
	O_NET,
	O_NET_LEN,
	O_NET_TYPE,
	O_PATH,
	O_PATH_LEN,
	O_PATH_FIRST,
	O_PATH_LAST,
	O_COMMUNITIES, /* of three kinds; `text`: the key of a list */
	O_LOCAL_PREF,
	O_ORIGIN,
	O_NEXT_HOP,
	O_SOURCE,
	O_PROTO,
	O_ROA, /* `text`: the family of the table */
	O_NUMBER,
	O_PREFIX, /* `value`: entries of a prefix list */
	O_ADDRESS,
	O_TEXT,
	O_COMMUNITY, /* `text`: the key; `value`: an array of texts */
	O_SET, /* `value`: elements; `element`: their kind */
	O_MASK, /* `text`: a regular expression */
	O_WORD, /* a constant of BIRD */
};

struct condition {
	/* C_DEFINED: rejects routes that are not of BGP, then `a` */
	enum { C_TRUE, C_FALSE, C_LEAF, C_NOT, C_AND, C_OR, C_CALL, C_DEFINED } kind;
	json_t *match; /* of a leaf: members of `match` */
	unsigned reads; /* of the leaf */
	json_t *values; /* of a leaf on communities: which ones */
	struct condition *a, *b;
	struct bird_definition *function;
	struct scope *scope; /* the parameters of the call */
};

struct operand {
	enum operand_kind kind, element;
	json_t *value;
	json_int_t number;
	const char *text, *name; /* name: of the constant */
	bool any_member; /* of a mask: the regular expression sees members of AS sets as BIRD does */
	struct condition *condition;
};

/* A name with a value; the value is read in `scope`. A variable without a value has an empty range. */
struct scope {
	const char *name;
	struct bird_range value;
	struct scope *scope, *next;
};

struct cell {
	struct cell *next;
	union {
		struct condition condition;
		struct scope scope;
	} u;
};

struct program {
	struct bird *b;
	const char *name;
	json_t *nodes; /* with the key "label" in place of "goto" */
	json_t *pending; /* changes that are not in a node yet */
	struct label {
		int place; /* index of a node; -1: not placed */
		bool used;
		/* what the filter may have changed on some way to the label */
		unsigned changed;
		json_t *touched;
	} * label;
	int label_count;
	unsigned changed; /* enum attribute: what the filter may have changed so far */
	json_t *touched; /* communities that the filter may have added or removed so far */
	bool reachable;
	bool undefined; /* routes without BGP attributes pass the filter */
	bool in_case; /* the values of a branch */
	unsigned depth, steps, lists; /* lists: made for this policy */
	int return_true, return_false; /* in a function */
	struct scope *scope;
	struct cell *cells;
	const char *why; /* why the present statement is not carried */
};

/* ---- keelctl_import_bird_filter.c ---- */

/* Zeroed memory that is freed at the end of the filter. */
struct cell *filter_cell(struct program *p);
struct condition *filter_condition(struct program *p, int kind);
struct condition *filter_combined(
	struct program *p, int kind, struct condition *a, struct condition *b);
/* A condition of one member of `match`; takes `value`. */
struct condition *filter_leaf(struct program *p, const char *key, json_t *value, unsigned reads);
/* NULL, with the reason. */
void *filter_bad(struct program *p, const char *why);
/* An operand of the kind O_BAD, with the reason. */
struct operand filter_bad_operand(struct program *p, const char *why);
/* A new label, which has no place and no jumps yet. */
int filter_label(struct program *p);
/* The label is reached from here, with the changes so far. */
void filter_jump(struct program *p, int l);
/* Appends a node. `to`: the label that the node jumps to, or NO_LABEL. */
void filter_append(struct program *p, const char *action, json_t *match, json_t *set, int to);
/* Writes the pending changes to a node that continues at the next node. */
void filter_flush(struct program *p);
/* An unconditional end of this path: permit, deny, or a jump. */
void filter_leave(struct program *p, const char *action, int to);
/* Places a label at the next node, if a jump uses the label. */
void filter_place(struct program *p, int l);
/* The condition as members of one `match`, or NULL. */
json_t *filter_simple(struct program *p, const struct condition *c);
/* The condition sees something that the filter may have changed before. */
bool filter_is_changed(const struct program *p, const struct condition *c);
/* Inlines the function of a C_CALL; `return` jumps to `yes` or `no`. */
void filter_call(struct program *p, const struct condition *c, int yes, int no);
/* Jumps to `yes` or `no`; one of them may be `next`, the label that is placed next. */
void filter_branch(struct program *p, const struct condition *c, int yes, int no, int next);

/* ---- keelctl_import_bird_operand.c ---- */

/* True if a function of the file is called between the tokens. */
bool filter_calls(const struct program *p, struct bird_range r);
/* Takes the tokens of an operand. */
struct operand filter_operand(struct program *p);
bool filter_take_number(struct program *p, json_int_t *out);
/* The arguments of a call, bound to the parameters of a function. False: a different count. */
bool filter_bound(struct program *p, const struct bird_definition *f, struct scope **out);
/* An attribute of the route, a constant of BIRD, true or false. */
struct operand filter_attribute_of(struct program *p, const char *name);

/* ---- keelctl_import_bird_compare.c ---- */

struct condition *filter_compared(
	struct program *p, struct operand *l, const char *op, struct operand *r);
/* Takes the tokens of a condition. NULL: the condition is not carried. */
struct condition *filter_expression(struct program *p);

/* ---- keelctl_import_bird_statement.c ---- */

/* Takes the tokens of a statement. */
void filter_statement(struct program *p);
/* Variables of a function or filter, declared before the body. */
void filter_declarations(struct program *p, struct bird_range header);
