/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the dialects of `keelctl import` share: the document under construction, the verdict of each
 * line, helpers for lists, the end of a translation. One thread; no daemon.
 */
#pragma once

#include "control/cli/keelctl.h"

#include <stdio.h>
#include <string.h>

/*
 * Temporary keys; import_finish() removes keys with an underscore. WIDER: a condition of the node is not
 * carried. DENY_WIDER: a condition of a deny node is not carried. PARTIAL: an entry of the list is not carried. FAMILY: the family of the prefix list of a node.
 */
#define IMPORT_WIDER "_wider"
#define IMPORT_DENY_WIDER "_deny_wider"
#define IMPORT_PARTIAL "_partial"
#define IMPORT_FAMILY "_family"
#define IMPORT_AS_TRANS 23456 /* reserved */
#define IMPORT_WORDS 64
#define IMPORT_PREPEND_MAX 64u /* AS numbers of a node */
#define IMPORT_NODE_MAX 65535 /* the largest number of a node of bgpd and VRP */
#define IMPORT_PATHS_MAX 64 /* the largest bgp.max_paths */
#define IMPORT_PASSWORD_MAX 80 /* octets of a key of TCP MD5 */

struct import {
	const char *path; /* of the file */
	FILE *report; /* the verdicts of the lines */
	json_t *document, *bgp;
	json_t *names; /* {name in keel.json: name in the file} */
	json_t *prefixes; /* {section and prefix: [element]}; files have 100,000 */
	unsigned not_carried;
	unsigned line; /* the number of the present line */
	char verdict[256]; /* of the present line; "" while it is done */

	/* of the dialects that are read line by line */
	json_t *node; /* the entry of a route-map, or NULL */
	/* of an address-family block; ipv4-unicast outside; NULL: a family that is not carried */
	const char *family;
	bool in_bgp, in_rpki;
	bool no_default_family, no_policy_needed, no_import_check;
	unsigned filters; /* policies that join filters of a neighbour */
	bool missing_matches_all; /* a missing list matches all routes, not none */
	bool first_gateway; /* the daemon advertises the first of several gateways */
	bool own_next_hop; /* the daemon advertises no gateways, as keeld */
};

/*
 * Translates the text of `in`. `dialect`: bird, frr or vrp. `path`: of the file, for the files that it
 * includes. The verdicts go to `report`. Returns a new document. keeld accepts the document after missing
 * router.asn and router.router_id are added.
 */
json_t *import_document(
	const char *dialect, const char *path, FILE *in, FILE *report, unsigned *not_carried);

static inline bool
is(const char *a, const char *b)
{
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Sets the verdict of the present line; always true. */
bool import_verdict(struct import *im, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the verdict (NULL, "": done) of a line, and counts lines that are not carried. */
void import_report(struct import *im, unsigned line, const char *text, const char *verdict);
/* A verdict about the whole, after the lines of the file. */
void import_end_report(struct import *im, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with a place instead of a number, unless the place is NULL. */
void import_report_at(
	struct import *im, const char *place, unsigned line, const char *text, const char *verdict);

/* The element of an array with this value of `key`, or NULL. */
json_t *import_named(json_t *array, const char *key, const char *name);
/* The same of an array of the document; created if missing. */
json_t *import_element(json_t *home, const char *section, const char *key, const char *name);
/*
 * Reads a line as UTF-8 without NUL: an octet that is not UTF-8 becomes the letter of ISO 8859-1, so that
 * different names stay different. False: the end.
 */
bool import_read_line(FILE *in, char **text, size_t *size);
/* A number; false: not a number. */
bool import_number(const char *text, json_int_t *out);
/* Sets a number; a word that is not a number, or a number that keeld refuses, is not carried. */
bool import_set_number(struct import *im, json_t *o, const char *key, const char *text);
/* Sets bgp.max_paths, at most to the largest value. */
bool import_max_paths(struct import *im, const char *text);
/* The keepalive time and the hold time of `timers`, which are 0 where neither is in use. */
bool import_timers(struct import *im, json_t *timers, const char *keepalive, const char *hold);
/* The session is established again after a number of minutes, at most a day. */
void import_restart(struct import *im, json_t *limit, json_int_t minutes);
/* Takes a cache of ROAs; false, with the verdict: not carried. */
bool import_cache(struct import *im, json_t *cache);
/* The verdict if keeld refuses the password, or NULL. */
const char *import_password_fault(const char *text);
/* Sets the password of a neighbour or a group. */
bool import_password(struct import *im, json_t *o, const char *text);
/*
 * A name of keel.json begins with a letter, has letters, digits, `_`, `.` and `-`, and is no word of a
 * command. Different names stay different. Sets the verdict if the name is changed.
 */
const char *import_name(struct import *im, const char *name, char buf[64]);
/* Changes the text to a name by the rules alone, without a look at names of the document. */
void import_name_text(const char *name, char buf[64]);
/* Changes the name where keel.json has it for a different name of the file. */
void import_unique(struct import *im, const char *original, char buf[64]);
/* ADDRESS/LENGTH without host bits; false: not a prefix. */
bool import_prefix(const char *text, char buf[64]);
/* Sets the next hop of a node; a second one, of the other family, is not carried. */
bool import_next_hop(struct import *im, json_t *set, const char *address);
/* The number of an AS, also as HIGH.LOW; false: reserved (0, 23456), or not a number. */
bool import_asn(const char *text, json_int_t *out);

/*
 * Takes the entry. An entry without `seq` follows the last entry; an entry with a known `seq` replaces
 * the old entry. An entry that keeld refuses is not carried.
 */
bool import_list_entry(
	struct import *im, const char *section, const char *name, const char *seq, json_t *entry);
/* `source` is redistributed in the present family. `policy`: a name of the file; NULL: none. */
bool import_redistribute(struct import *im, const char *source, const char *policy);
/* An entry of the list is not carried: import_finish() treats the list as unknown. */
void import_list_partial(struct import *im, const char *section, const char *name);
/* A community as keeld reads it; false, with the verdict: not a community. */
bool import_community(struct import *im, const char *word, bool large, char buf[64]);
/* The community of a route target; false: no target. `text` has room for 64 octets. */
bool import_route_target(const char *word, char *text);
/* The node `seq` of a policy, made where it is missing, with its action: im->node from now on. */
bool import_node(struct import *im, const char *policy, json_int_t seq, const char *action);
/* {communities | large_communities} of a node: values, `none`, and `additive` at the end. */
bool import_set_communities(
	struct import *im, json_t *set, const char *key, char **words, unsigned n);
/*
 * A filter of a neighbour beside its policy: `key` of `match` and the name of a list. NULL: the
 * filter is not carried, and no route passes.
 */
void import_filter(json_t *family, bool in, const char *key, const char *name);
/* All routes pass in a direction of the family that has no policy. */
void import_accept_all(json_t *family, const json_t *inherited);

/*
 * The key `_KEY` of families as KEY of the neighbour or group, which holds for all families. It is not
 * carried unless all families in use have it. Call it before the families by default are added.
 */
void import_key_of_families(struct import *im, const char *key);

/* The group of a neighbour, or NULL. */
const json_t *import_group_of(const struct import *im, const json_t *o);
/* A key of the neighbour, or of the group. */
json_t *import_value_of(const json_t *o, const json_t *group, const char *key);

typedef void import_line(struct import *im, bool indented, char **words, unsigned count);
/* Calls `line` for each line that is no comment, and reports its verdict. */
void import_each_line(struct import *im, FILE *in, import_line *line);
/* ---- keelctl_import_finish.c ---- */

/*
 * Sorts lists and policies. Replaces missing lists and policies, lost conditions, jumps and filters of
 * neighbours. The result never permits more than the file.
 */
void import_finish(struct import *im);

/* True if the test is true of a node of the policy, or of a policy that it calls. */
bool import_any_node(const struct import *im, const char *policy, bool (*test)(const json_t *node));

/*
 * Puts deny-all in the place of a policy for export or redistribution with conditions on `validation`,
 * which keeld has in import policies alone.
 */
void import_check_validation(struct import *im);

/* ---- keelctl_import_check.c ---- */

/* True if the text is the address of a host as keeld accepts it: link-local only with %INTERFACE. */
bool import_is_host(const char *text);
/* Sets an id, an IPv4 address other than 0.0.0.0; other texts are not carried. */
bool import_set_id(struct import *im, json_t *o, const char *key, const char *text);
/* The neighbour with the address, or NULL. Equal addresses can differ as texts. */
json_t *import_peer(const struct import *im, const char *address);
/* A missing neighbour is created. */
json_t *import_peer_made(struct import *im, const char *address);
/*
 * True if keeld reads the regular expression, with the meaning of POSIX. False for escaped letters, lazy
 * repetitions and large repetitions.
 */
bool import_is_regex(const char *regex);
/* Takes a static route. False, with the verdict in `why`: keeld refuses the route. */
bool import_static_route(struct import *im, json_t *o, char why[64]);
/* Takes an element of bgp with a prefix. False: the section has the prefix. */
bool import_prefix_once(struct import *im, const char *section, json_t *o);
/* Removes keys that a session cannot have. Leaves out neighbours and ranges where the group has the key. */
void import_check_neighbours(struct import *im);
/* Shortens descriptions that are too long, with a verdict. */
void import_check_texts(struct import *im, json_t *value);

/* ---- keelctl_import_next_hop.c ---- */

/*
 * The verdict if an external neighbour gets the next hop of a third router on the subnet of the
 * neighbour, or NULL. `single_hop`: the daemon does so only without multihop.
 */
const char *import_third_party(const struct import *im, const json_t *peer, bool single_hop);
/* Reports this verdict for each neighbour. */
void import_third_parties(struct import *im);
/* True if a static route with one gateway is redistributed. */
bool import_has_gateways(const struct import *im);
/*
 * Sets the gateways of redistributed static routes as their next hops, for internal neighbours. Policies
 * are complete.
 */
void import_gateways(struct import *im);

/* ---- the dialects ---- */

void import_bird(struct import *im, FILE *in);
void import_frr(struct import *im, FILE *in);
void import_vrp(struct import *im, FILE *in);
