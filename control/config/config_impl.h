/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How config.c, config_bgp.c and policy_compile.c check a document: a table of keys for each object, and one walker. The walker adds each
 * fault with its JSON Pointer and continues. Main only; private to the room.
 */
#pragma once

#include "control/config/config.h"

/* The place of a value: a chain on the stack, converted to text only for a fault. `key` NULL: element `index` of an array. */
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
	bool muted; /* adds no faults: the value has been checked before */
	const struct config_host *host; /* NULL: a host with a data plane */
	const json_t *document;
	struct config *config; /* being filled; NULL in policy_set_compile */
	const struct policy_set *policies; /* NULL: names of policies are not looked up */
	json_t *groups_by_name, *policies_by_name,
		*prefix_lists_by_name; /* of the document; made by config_named() */
	const struct policy_text *text; /* NULL: names of policies are not checked */
	json_t *vrf_ids; /* name of an instance without faults -> id; NULL: no `vrfs` */
};

/*
 * When a committed change of a key takes effect; EFFECTS in scripts/reference.d/config.py has the words. A key with EFFECT_RESET in the
 * tables of a peer resets the session (config_peer_resets()).
 */
enum config_effect {
	EFFECT_NONE,
	EFFECT_RESTART,
	EFFECT_RESET,
	EFFECT_COMMIT,
	EFFECT_IMPORT,
	EFFECT_EXPORT,
	EFFECT_POLICY,
	EFFECT_TIMER
};

/*
 * A key of an object. The comment before an entry describes the key for the manual: the meaning, then `Unit:` and `Default:` (for defaults
 * without `def`). The comment before a table describes the object; `Default:` there applies to all keys without their own. scripts/reference
 * generates keel.json(5), keel-policy(7) and the schema, and fails for a key without a description.
 */
struct config_key {
	const char *name; /* NULL: an entry for the keys of `include` */
	/* Checks `value` and stores the result at `out`, the object's struct plus `offset`. */
	void (*take)(struct check *c, const struct at *at, const json_t *value,
		const struct config_key *key, void *out);
	size_t offset;
	uint32_t min, max; /* of an integer; of a string its length */
	bool required;
	uint32_t def; /* default of a boolean or an integer, set by config_set_defaults() */
	enum config_effect effect;
	const char *line, *help, *vrp, *frr, *bird; /* LINE() to BIRD() */
	const struct config_key *include; /* a table without includes of its own */
	size_t include_count;
};

#define EFFECT(when) .effect = EFFECT_##when
/*
 * Lines that set a key of a peer, after `peer NAME`, `neighbor NAME` or in a protocol of BIRD: words, and a value: NUMBER, [NUMBER=n] (n without
 * the word), AS-NUMBER, ADDRESS, TEXT; without a value the key is true. LINE: of keelctl, with the help for its last word; VRP, FRR, BIRD: of
 * these daemons, where the line has the same meaning; VRP_LINE: both. scripts/reference makes control/cli/keelctl_settings.def and
 * control/import/keel_import/keys.py of them.
 */
#define LINE(words, text) .line = (words), .help = (text)
#define VRP_LINE(words, text) LINE(words, text), VRP(words)
#define VRP(words) .vrp = (words)
#define FRR(words) .frr = (words)
#define BIRD(words) .bird = (words)

/* config_whole.c: faults that two places of a document make together. */
void config_check_whole(
	const struct config_host *host, const struct config *config, struct faults *f);

/*
 * The first element of `array` with the name; NULL: none. The first call builds *index, because thousands of peers look up thousands of groups
 * and policies; the caller frees *index after the check.
 */
const json_t *config_named(json_t **index, const json_t *array, const char *name);
void config_fault(struct check *c, const struct at *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* `VALUE is not WHAT`; for null, that null is not allowed. */
void config_fault_type(struct check *c, const struct at *at, const json_t *value, const char *what);
void config_fault_unsupported(struct check *c, const struct at *at);
/* The text of a value for a reason, shortened. Returns `buf` or a string constant. */
#define CONFIG_QUOTE_MAX 100
const char *config_quote(const json_t *value, char buf[static CONFIG_QUOTE_MAX]);

/*
 * Checks every key of `object` against the table; every object may have `description`. Unknown keys, missing keys and null are faults. False
 * when `object` is no object.
 */
bool config_take_keys(struct check *c, const struct at *at, const json_t *object,
	const struct config_key *keys, size_t count, void *out);
#define CONFIG_TAKE(c, at, object, keys, out)                                                      \
	config_take_keys(c, at, object, keys, sizeof(keys) / sizeof((keys)[0]), out)
/* Stores `def` of every boolean and integer of the table. Nested objects have tables and defaults of their own. */
void config_set_defaults(const struct config_key *keys, size_t count, void *out);
#define CONFIG_DEFAULTS(keys, out) config_set_defaults(keys, sizeof(keys) / sizeof((keys)[0]), out)
/* Calls `take` for each element. False when `value` is no array. */
bool config_take_each(struct check *c, const struct at *at, const json_t *value,
	void (*take)(struct check *c, const struct at *at, const json_t *value, void *out),
	void *out);

/* ---- values: each function stores a value of its type in `out` ---- */
#define CONFIG_TAKE_ARGS                                                                           \
	struct check *c, const struct at *at, const json_t *value, const struct config_key *key,   \
		void *out
void config_take_bool(CONFIG_TAKE_ARGS);
void config_take_u8(CONFIG_TAKE_ARGS);
void config_take_u16(CONFIG_TAKE_ARGS);
void config_take_u32(CONFIG_TAKE_ARGS);
void config_take_text(CONFIG_TAKE_ARGS); /* const char *, lent from the document */
void config_take_name(CONFIG_TAKE_ARGS); /* as config_take_text(), for a name (keel.json(5)) */
void config_take_asn(CONFIG_TAKE_ARGS); /* uint32_t */
/* A key of a later version; false, [] and {} pass. */
void config_take_unsupported(CONFIG_TAKE_ARGS);
/* A known key with a check of its own outside of the table. */
void config_take_elsewhere(CONFIG_TAKE_ARGS);

/* config_vrf.c */
void config_take_vrfs(CONFIG_TAKE_ARGS); /* before every section with a key `vrf` */
void config_vrfs_free(struct config *config);
void config_take_vrf(CONFIG_TAKE_ARGS); /* struct vrf_id: the key `vrf` */

/* config_peer.c */
struct config_peer config_peer_defaults(void); /* without an enabled family */
const json_t *config_find_group(struct check *c, const char *name); /* NULL: there is none */
void config_take_group_name(CONFIG_TAKE_ARGS); /* const char *: a group of the document */
void config_take_group(struct check *c, const struct at *at, const json_t *value, void *out);
void config_take_peer(
	struct check *c, const struct at *at, const json_t *value, struct config_peer *out);

/* Between config.c, config_vrf.c and config_bgp.c. */
void config_take_policy_name(CONFIG_TAKE_ARGS); /* const char *: a route policy of the document */
void config_take_bgp(CONFIG_TAKE_ARGS);
void config_take_lsps(CONFIG_TAKE_ARGS); /* struct config */
void config_take_tunnels(CONFIG_TAKE_ARGS); /* struct config */
void config_take_rpki(CONFIG_TAKE_ARGS); /* struct config */
void config_take_bmp(CONFIG_TAKE_ARGS); /* struct config */
void config_take_mrt(CONFIG_TAKE_ARGS); /* struct config */
void config_bgp_defaults(struct config *config);
void config_take_preference(
	CONFIG_TAKE_ARGS); /* struct config: the key may be in the root or in `bgp` */

/* "ADDRESS/LEN", host bits allowed. 0, -EINVAL. */
int config_parse_addr_len(const char *text, struct ip_addr *addr, uint8_t *len);

/* False with a fault. */
bool config_value_u32(struct check *c, const struct at *at, const json_t *value, uint32_t min,
	uint32_t max, uint32_t *out);
bool config_value_prefix(
	struct check *c, const struct at *at, const json_t *value, struct prefix *out);
bool config_value_addr(
	struct check *c, const struct at *at, const json_t *value, struct ip_addr *out);
/* The address of a host. A link-local address must have a zone, and other addresses must not (RFC 4007 11). */
bool config_value_host(
	struct check *c, const struct at *at, const json_t *value, struct ip_addr *out);
bool config_addr_is_host(
	const struct ip_addr *a); /* neither unspecified nor multicast nor IPv4 in IPv6 */
/* Index of `value` in `words` (NULL-terminated); -1 with a fault. */
int config_value_word(
	struct check *c, const struct at *at, const json_t *value, const char *const *words);

/* Adds a fault for each element of `array` whose `key` equals the `key` of an earlier element. */
void config_check_unique(
	struct check *c, const struct at *at, const json_t *array, const char *key);
/* As config_check_unique() for the key `prefix` in an instance; compares prefixes, not texts. */
void config_check_unique_prefixes(struct check *c, const struct at *at, const json_t *array);
/* As config_check_unique(), in an instance: elements may have different keys `vrf`. */
void config_check_unique_in_vrf(
	struct check *c, const struct at *at, const json_t *array, const char *key);
/* One step of both functions: adds a fault when `seen` has `text`. `value` is the text of the document at `key`. */
void config_note_unique(struct check *c, const struct at *array_at, size_t index, const char *key,
	const json_t *value, const char *text, json_t *seen);
