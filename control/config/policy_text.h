/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies that people write as text (docs/policy.md), compiled to the nodes of route policies. A
 * recursive descent over the tokens emits nodes at once; a function is compiled again for each
 * call, with its parameters in place. Main only; private to the room.
 */
#pragma once

#include "control/config/config_impl.h"
#include "rib/policy/policy_build.h"

struct policy_text;

/*
 * Compiles the files of `policy_files` of the document. Paths are relative to `folder` (NULL: the
 * current folder). `files`: {path: text} of the files that are not read from disk (NULL: none). A fault of a file has FILE:LINE:COLUMN as its path. NULL: at least one fault.
 * A document without `policy_files` gives an empty policy_text.
 */
struct policy_text *policy_text_compile(
	const json_t *document, const char *folder, const json_t *files, struct faults *f);
void policy_text_free(struct policy_text *t);
/* True if the files define the policy `name`. */
bool policy_text_defines(const struct policy_text *t, const char *name);
/* True if `name` is a policy of the document that calls policies: the sections below have it, too. */
bool policy_text_expands(const struct policy_text *t, const char *name);
/*
 * The policies and lists as sections of a document. Names of lists begin with #. Nodes have the
 * further keys `jump`, `line` and `report` (`seq` of verdicts), policies of files `line` and `text`. Prefix lists are apart: list `#N` of policy_text_prefixes().
 */
const json_t *policy_text_document(const struct policy_text *t);
struct policy_text_prefixes {
	char name[16];
	struct policy_prefix_list *list;
	uint64_t hash; /* of the entries */
};
const struct policy_text_prefixes *policy_text_prefixes(
	const struct policy_text *t, unsigned *count);
/* {path: text} of all files, also of included files. NULL: out of memory. */
json_t *policy_text_files(const struct policy_text *t);
