/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of policy_text: one compilation of policy files. A recursive descent over the
 * tokens emits nodes at once. After a fault of syntax `failed` is set, and reading functions return
 * without effect. Main only.
 *
 * policy_text.c             files, definitions, the interface of policy_text.h
 * policy_text_tokens.c      tokens, faults, names
 * policy_text_sets.c        sets, and the lists that sets become
 * policy_text_conditions.c  conditions, read into trees
 * policy_text_nodes.c       nodes and labels, also those of a condition
 * policy_text_changes.c     statements that change a route
 * policy_text_statements.c  other statements, and calls of functions
 * policy_text_calls.c       calls of policies, and nodes of the document
 */
#pragma once

#include "control/config/policy_compile_impl.h"
#include "control/config/policy_lex.h"
#include "control/config/policy_text.h"

#define DEPTH_MAX 64u /* of statements, conditions and calls */
#define ARGUMENTS_MAX 8u
#define PAIR(a, b) ((uint32_t)(a) + 256u * (uint32_t)(b))

/* ---- definitions of a file ---- */

enum set_kind { SET_NONE, SET_PREFIXES, SET_ASNS, SET_STANDARD, SET_LARGE, SET_EXTENDED };

enum symbol_kind { SYMBOL_NUMBER, SYMBOL_SET, SYMBOL_FUNCTION, SYMBOL_POLICY };

struct symbol {
	enum symbol_kind kind;
	uint32_t number;
	enum set_kind set;
	char list[16]; /* name of the list of a set */
	json_t *texts; /* of a set of communities: its elements, for `delete` and `add` */
	unsigned body; /* of a function: token of its opening brace */
	unsigned parameter_count;
	const char *parameters[ARGUMENTS_MAX];
};

/* ---- conditions ---- */

enum cond_kind { COND_CONSTANT, COND_LEAF, COND_AND, COND_OR, COND_CALL };

struct cond {
	enum cond_kind kind;
	bool value; /* of a constant; of a leaf or call: true unless negated */
	const char *key; /* of a leaf: key of `match` */
	json_t *values; /* of a leaf: array */
	const struct symbol *function;
	uint32_t arguments[ARGUMENTS_MAX];
	struct cond *a, *b, *next;
	unsigned depth;
};

/* ---- nodes ---- */

enum node_kind { NODE_PERMIT, NODE_DENY, NODE_JUMP };
#define NO_LABEL UINT32_MAX
#define NO_TOKEN UINT32_MAX

struct made_node {
	enum node_kind kind;
	json_t *match, *set; /* NULL: empty */
	unsigned label; /* where the walk continues; NO_LABEL: it ends here */
	unsigned token; /* NO_TOKEN: a node of the document */
	uint32_t report; /* `seq` of verdicts; 0: the place in the policy */
};

/* A call of a function, during its compilation. */
struct frame {
	const struct symbol *function; /* NULL: a policy */
	uint32_t arguments[ARGUMENTS_MAX];
	unsigned end; /* label behind a call as statement */
	unsigned yes, no; /* labels of a call as condition; NO_LABEL: a statement */
};

struct policy_text {
	struct policy_tokens tokens;
	const json_t *source;
	const char *folder; /* as of policy_text_compile() */
	struct faults *f;
	unsigned at, depth;
	bool failed; /* after a fault of syntax the rest of the files is not read */
	struct symbol **symbols;
	unsigned symbol_count, symbol_size;
	json_t *names; /* index in symbols */
	json_t *document;
	struct policy_text_prefixes *prefixes;
	unsigned prefix_count, prefix_size, list_count;
	/* of the policy */
	struct made_node *nodes;
	unsigned node_count, node_size;
	unsigned *labels;
	unsigned label_count, label_size, calls;
	json_t *pending; /* changes without a node yet */
	struct cond *conds;
	struct cond lost; /* stands for a condition without memory; never compiled */
	struct frame *frame;
	unsigned accept; /* where `accept` of a called policy leads; NO_LABEL: the end */
	/* policies that call each other, from the policy that is compiled */
	const char *chain[DEPTH_MAX];
	unsigned chain_count;
	/* of a policy of the document: pointer of its `call`, and the `seq` of that node */
	size_t own; /* its place in `route_policies` */
	char pointer[80];
	uint32_t report;
	json_t *expanded; /* names of the policies of the document with `call` */
	unsigned before; /* faults from other checks */
};

/* ---- policy_text_tokens.c: tokens, faults, definitions ---- */

/* The token that is read next. */
const struct token *text_here(const struct policy_text *t);
/* FILE:LINE:COLUMN, a new string, or NULL. */
char *text_place_of(const struct policy_text *t, const struct token *token);
/*
 * A fault whose place is in a policy file. Of a file outside of `folder` (NULL: no limit) nothing is shown: a
 * user who may edit the document could name any file that keeld may read.
 */
void text_file_fault(struct faults *f, const char *folder, const char *place, const char *reason);
/* `token` NULL: the place is the `call` of the document that is compiled. */
__attribute__((format(printf, 3, 4))) void text_fault(
	struct policy_text *t, const struct token *token, const char *format, ...);
/* A fault of syntax: the token and the expectation. */
void text_expected(struct policy_text *t, const char *what);
bool text_is_sign(const struct policy_text *t, uint32_t sign);
/* True if the next token is this sign; then reading continues behind the token. */
bool text_take_sign(struct policy_text *t, uint32_t sign);
/* A fault unless the next token is this sign. */
void text_need_sign(struct policy_text *t, uint32_t sign);
bool text_is_word(const struct policy_text *t, const char *word);
bool text_take_word(struct policy_text *t, const char *word);
/* NULL: a fault. */
const char *text_need_name(struct policy_text *t, const char *what);
/* One level deeper. False: too many levels (a fault), or an earlier fault. text_leave() follows in both cases. */
bool text_enter(struct policy_text *t);
void text_leave(struct policy_text *t);
/* `v` with room for one more element. NULL: out of memory, and the compilation has failed. */
void *text_grow(struct policy_text *t, void *v, unsigned count, unsigned *size, size_t element);
/* NULL: no such definition. */
struct symbol *text_symbol_find(const struct policy_text *t, const char *name);
/* A name that a definition or a parameter gets. */
void text_check_new_name(struct policy_text *t, const struct token *token);
/* NULL: out of memory. Faults of the name are reported. */
struct symbol *text_symbol_add(
	struct policy_text *t, const struct token *token, enum symbol_kind kind);
/* The argument of a parameter of the function that is compiled, or NULL. */
const uint32_t *text_parameter_find(const struct policy_text *t, const char *name);
/* A number, a constant or a parameter. */
uint32_t text_need_number(struct policy_text *t, const char *what);

/* ---- policy_text_sets.c ---- */

struct set_draft {
	enum set_kind kind;
	char name[16];
	struct policy_prefix_list *prefixes;
	uint64_t hash;
	json_t *asns, *communities;
};

/* The section of the compiled document; made when absent. */
json_t *text_section(struct policy_text *t, const char *name);
/* `[ ELEMENT, ... ]`, or an element. */
void text_set_read(struct policy_text *t, struct set_draft *d);
/* Adds the set as a list of the document. */
void text_set_store(struct policy_text *t, struct set_draft *d);
void text_set_drop(struct set_draft *d);
/* Reads a set of the kind after `~`. Returns the name of the list, a new string, or NULL. */
json_t *text_need_set(struct policy_text *t, enum set_kind kind);
/* The entry of a section of the document with this name, or NULL. */
const json_t *text_document_entry(
	const struct policy_text *t, const char *section, const char *name);

/* ---- policy_text_conditions.c ---- */

void text_conditions_drop(struct policy_text *t);
bool text_is_operand(const char *name);
struct cond *text_read_condition(struct policy_text *t);
/* The arguments of a call, behind the name. */
void text_read_arguments(struct policy_text *t, const struct token *token, const struct symbol *s,
	uint32_t arguments[ARGUMENTS_MAX]);

/* ---- policy_text_nodes.c ---- */

/* A label for the place of a later node. */
unsigned text_label_new(struct policy_text *t);
/* The label stands before the next node. */
void text_label_here(struct policy_text *t, unsigned label);
/* Takes `match` and `set`. `token` NULL: a node of the document. */
void text_emit(struct policy_text *t, enum node_kind kind, json_t *match, json_t *set,
	unsigned label, const struct token *token);
/* A node that matches all routes and continues at the label. */
void text_jump(struct policy_text *t, unsigned label, const struct token *token);
/* Gives the pending changes to a node of their own. */
void text_flush(struct policy_text *t, const struct token *token);
/* A `match`, or NULL. */
json_t *text_simple_match(const struct cond *c);
/* Nodes that lead to `yes` or `no`; the caller puts the label `next`, one of the two, behind them. */
void text_emit_condition(struct policy_text *t, const struct cond *c, unsigned yes, unsigned no,
	unsigned next, const struct token *token);
/* Drops what belongs to the policy compiled last. */
void text_nodes_drop(struct policy_text *t);
/* The nodes, in the form of a document. */
json_t *text_nodes_json(struct policy_text *t);

/* ---- policy_text_changes.c ---- */

/* A statement for a change of the route, without `;`. False: a statement of a different kind. */
bool text_read_change(struct policy_text *t, json_t *set);
/* True if the next change needs a node after the pending changes. */
bool text_change_waits(const struct policy_text *t);

/* ---- policy_text_statements.c ---- */

/* Reads a statement and emits its nodes. */
void text_read_statement(struct policy_text *t);
/*
 * Compiles the body of a function in place. A call as condition has the labels `yes` and `no`.
 * `accept` in a policy that is called leads behind the call.
 */
void text_call_function(struct policy_text *t, const struct symbol *s, const uint32_t *arguments,
	unsigned yes, unsigned no, const struct token *token);

/* ---- policy_text_calls.c: calls of policies ---- */

/*
 * Compiles a policy, of a file or of the document, in place of a call: denied there is denied here.
 * Faults are at `at`, nodes of the document belong to `token`.
 */
void text_call_policy(
	struct policy_text *t, const char *name, const struct token *at, const struct token *token);
/* Compiles the policies of the document that call policies. */
void text_expand_documents(struct policy_text *t);
