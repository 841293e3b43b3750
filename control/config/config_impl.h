/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How config.c, config_bgp.c and policy_compile.c check a document: one table of keys for an object, one walker. Every fault is noted with its
 * JSON Pointer and the walk goes on. Main only; shared inside the room only.
 */
#pragma once

#include "control/config/config.h"

/* Where we are: a chain on the stack, made text only for a fault. `key` NULL: element `index` of an array. */
struct at {
	const struct at *up; /* NULL: the document */
	const char *key;
	size_t index;
};

#define AT_ROOT ((struct at){NULL, NULL, 0})
#define AT_KEY(up, key) ((struct at){(up), (key), 0})
#define AT_INDEX(up, index) ((struct at){(up), NULL, (index)})

struct check {
	struct faults *f;
	bool muted; /* a second look at what was checked already */
	const json_t *document;
	struct config *config; /* being filled; NULL in policy_set_compile */
	const struct policy_set *policies; /* NULL: names of policies are not looked up */
	json_t *groups_by_name, *policies_by_name; /* of the document; made by config_named() */
};

/*
 * A key of an object. The comment before an entry describes the key for the manual: what the key means, then `Unit:`, `Default:` (where `def` can't
 * say it), `Effect:` (when a committed change takes effect). A table's own comment describes the object; its `Effect:` counts for all keys that name
 * none. scripts/reference makes keel.json(5), keel-policy(7) and the schema of both, and fails where a key has no description.
 */
struct config_key {
	const char *name; /* NULL: the keys of `include` stand here */
	/* Checks `value` and stores the result at `out`, the object's struct plus `offset`. */
	void (*take)(struct check *c, const struct at *at, const json_t *value,
		const struct config_key *key, void *out);
	size_t offset;
	uint32_t min, max; /* of an integer; of a string its length */
	bool required;
	uint32_t def; /* default of a boolean or an integer, set by config_set_defaults() */
	const struct config_key *include; /* a table without includes of its own */
	size_t include_count;
};

/* RFC 6901; allocated, NULL when out of memory. */
char *config_at_text(const struct at *at);
/* False after config_without_dataplane(). */
bool config_has_dataplane(void);
/* config_whole.c: faults that two places of a document make together. */
void config_check_whole(const struct config *config, struct faults *f);

/*
 * The first element of `array` that has this name; NULL: none. The first call makes *index, which the caller frees with the check:
 * thousands of peers name thousands of groups and policies.
 */
const json_t *config_named(json_t **index, const json_t *array, const char *name);
void config_fault(struct check *c, const struct at *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* `VALUE is not WHAT`, or the word on null. */
void config_fault_type(struct check *c, const struct at *at, const json_t *value, const char *what);
void config_fault_unsupported(struct check *c, const struct at *at);
/* A value as it stands in a reason, shortened; allocated by nobody: it lives in `buf`. */
#define CONFIG_QUOTE_MAX 100
const char *config_quote(const json_t *value, char buf[static CONFIG_QUOTE_MAX]);

/*
 * Every key of `object` against the table; `description` is taken everywhere. Unknown, missing and null are faults. False when `object` is no object.
 */
bool config_take_keys(struct check *c, const struct at *at, const json_t *object,
	const struct config_key *keys, size_t count, void *out);
#define CONFIG_TAKE(c, at, object, keys, out)                                                      \
	config_take_keys(c, at, object, keys, sizeof(keys) / sizeof((keys)[0]), out)
/* Stores `def` of every boolean and integer of the table. Nested objects have tables and defaults of their own. */
void config_set_defaults(const struct config_key *keys, size_t count, void *out);
#define CONFIG_DEFAULTS(keys, out) config_set_defaults(keys, sizeof(keys) / sizeof((keys)[0]), out)
/* Each element of an array by `take`. False when `value` is no array. */
bool config_take_each(struct check *c, const struct at *at, const json_t *value,
	void (*take)(struct check *c, const struct at *at, const json_t *value, void *out),
	void *out);

/* ---- values; the type of `out` is in the name ---- */
#define CONFIG_TAKE_ARGS                                                                           \
	struct check *c, const struct at *at, const json_t *value, const struct config_key *key,   \
		void *out
void config_take_bool(CONFIG_TAKE_ARGS);
void config_take_u8(CONFIG_TAKE_ARGS);
void config_take_u16(CONFIG_TAKE_ARGS);
void config_take_u32(CONFIG_TAKE_ARGS);
void config_take_text(CONFIG_TAKE_ARGS); /* const char *, lent from the document */
void config_take_name(CONFIG_TAKE_ARGS); /* the same, by the rule for names of all but ports */
void config_take_asn(CONFIG_TAKE_ARGS); /* uint32_t */
/* A key of a later version; false, [] and {} ask for nothing and pass. */
void config_take_unsupported(CONFIG_TAKE_ARGS);
/* Checked elsewhere; here only known. */
void config_take_elsewhere(CONFIG_TAKE_ARGS);

/* Between config.c and config_bgp.c. */
void config_take_vrf(CONFIG_TAKE_ARGS); /* struct vrf_id: the key `vrf` of whatever */
void config_take_bgp(CONFIG_TAKE_ARGS);
void config_bgp_defaults(struct config *config);
void config_take_preference(
	CONFIG_TAKE_ARGS); /* struct config; in the document's root or in `bgp` */

/* "ADDRESS/LEN", host bits allowed. 0, -EINVAL. */
int config_parse_addr_len(const char *text, struct ip_addr *addr, uint8_t *len);

/* False with a fault. */
bool config_value_u32(struct check *c, const struct at *at, const json_t *value, uint32_t min,
	uint32_t max, uint32_t *out);
bool config_value_prefix(
	struct check *c, const struct at *at, const json_t *value, struct prefix *out);
bool config_value_addr(
	struct check *c, const struct at *at, const json_t *value, struct ip_addr *out);
/* The address of one host; a link-local one with its zone, and only such a one (RFC 4007 11). */
bool config_value_host(
	struct check *c, const struct at *at, const json_t *value, struct ip_addr *out);
bool config_addr_is_host(
	const struct ip_addr *a); /* neither unspecified nor multicast nor IPv4 in IPv6 */
/* Index of `value` in `words` (NULL-terminated); -1 with a fault. */
int config_value_word(
	struct check *c, const struct at *at, const json_t *value, const char *const *words);

/* A second element of `array` with the same `key` is a fault that names the first. */
void config_check_unique(
	struct check *c, const struct at *at, const json_t *array, const char *key);
/* The same of `prefix`, however it is written. */
void config_check_unique_prefixes(struct check *c, const struct at *at, const json_t *array);
/* The step of both: `text` is what must not be in `seen`, `value` (at `key`) how the document says it. */
void config_note_unique(struct check *c, const struct at *array_at, size_t index, const char *key,
	const json_t *value, const char *text, json_t *seen);
