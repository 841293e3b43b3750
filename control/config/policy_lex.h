/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tokens of policy files (docs/policy.md). Main only; private to the room.
 *
 * The tokens of a file, and of the files that it includes, are one array: the parser goes back to
 * the body of a function for each call.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <jansson.h>

enum token_kind {
	TOKEN_END,
	TOKEN_NAME, /* also keywords, and names with dots as `peer.asn` */
	TOKEN_NUMBER,
	TOKEN_STRING,
	TOKEN_ADDRESS,
	TOKEN_PREFIX,
	TOKEN_SIGN /* `number` is the character, of two-character signs the first plus 256 times the second */
};

struct token {
	enum token_kind kind;
	unsigned file; /* in policy_tokens.files */
	unsigned line, column;
	unsigned offset; /* in the text of the file */
	const char *text; /* of a name or a string; NUL-terminated */
	uint32_t number;
	struct prefix prefix; /* of a prefix; an address has its full length */
};

struct policy_file {
	char *path, *text;
	size_t size;
};

struct policy_tokens {
	unsigned count, size;
	struct token *at; /* ends with TOKEN_END */
	unsigned file_count, file_size;
	struct policy_file *files;
	/* {path: text}, lent: these files are not read from disk; NULL: all files are */
	const json_t *given;
	/* the first fault; path NULL: none */
	char *fault_path, *fault_reason;
};

/*
 * Appends the tokens of a text, owned by *t from then on, as file `path`. 0; -EINVAL with a fault;
 * -ENOMEM. The tokens end with TOKEN_END, which the next call replaces.
 */
int policy_lex(struct policy_tokens *t, const char *path, char *text, size_t size);
/* Reads a file and all included files, or takes the texts of `given`. As policy_lex(). */
int policy_lex_file(struct policy_tokens *t, const char *path);
/* The whole file, and a NUL. 0, -errno. */
int policy_file_read(const char *path, char **out, size_t *size);
/* A hash of the contents of a file, for the history. */
uint64_t policy_text_hash(const char *text, size_t size);
void policy_tokens_fini(struct policy_tokens *t);
