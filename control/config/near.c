/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/near.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SAME_WORD, WITH_SUFFIX, LETTERS /* plus their number */ };

/* Words of BIRD, FRR, GoBGP, OpenBGPD, IOS and Junos, each with Keel's key for it. */
static const char *const words[][2] = {
	{"address_families", "families"},
	{"address_family", "families"},
	{"afi_safis", "families"},
	{"allowas_in", "allow_as_in"},
	{"as", "asn"},
	{"as_number", "asn"},
	{"auth_password", "password"},
	{"authentication_key", "password"},
	{"bgp_id", "router_id"},
	{"connect_time", "connect_retry_s"},
	{"ebgp_multihop", "multihop"},
	{"export", "export_policy"},
	{"filter_in", "import_policy"},
	{"filter_out", "export_policy"},
	{"filters", "route_policies"},
	{"hold_time", "hold_s"},
	{"holdtime", "hold_s"},
	{"identifier", "router_id"},
	{"import", "import_policy"},
	{"import_limit", "max_prefixes"},
	{"import_table", "keep_all_routes"},
	{"interface", "device"},
	{"interfaces", "ports"},
	{"keepalive_interval", "keepalive_s"},
	{"keepalive_time", "keepalive_s"},
	{"local_address", "source"},
	{"local_asn", "local_as"},
	{"local_preference", "local_pref"},
	{"localpref", "local_pref"},
	{"max_prefix", "max_prefixes"},
	{"maximum_prefix", "max_prefixes"},
	{"maximum_paths", "max_paths"},
	{"md5", "password"},
	{"metric", "med"},
	{"multipath", "max_paths"},
	{"neighbor", "address"},
	{"neighbor_address", "address"},
	{"neighbors", "peers"},
	{"neighbour", "address"},
	{"neighbours", "peers"},
	{"network", "networks"},
	{"nexthop", "next_hop"},
	{"out_delay", "min_advertisement_s"},
	{"passive_mode", "passive"},
	{"path_prepend", "as_path_prepend"},
	{"peer_address", "address"},
	{"peer_as", "asn"},
	{"peer_group", "group"},
	{"peer_groups", "groups"},
	{"policies", "route_policies"},
	{"policy_statements", "route_policies"},
	{"prefix_limit", "max_prefixes"},
	{"prefix_sets", "prefix_lists"},
	{"prepend", "as_path_prepend"},
	{"protocol", "source"},
	{"remote_address", "address"},
	{"remote_as", "asn"},
	{"rib_in", "keep_all_routes"},
	{"route_map_in", "import_policy"},
	{"route_map_out", "export_policy"},
	{"route_maps", "route_policies"},
	{"routes", "static_routes"},
	{"rr_client", "route_reflector_client"},
	{"rr_cluster_id", "cluster_id"},
	{"sequence", "seq"},
	{"soft_reconfiguration", "keep_all_routes"},
	{"source_address", "source"},
	{"static", "static_routes"},
	{"tcp_md5", "password"},
	{"ttl_security", "gtsm"},
	{"update_source", "source"},
	{"vrf_name", "vrf"},
};

static void
plain(const char *text, char out[NEAR_KEY_MAX])
{
	unsigned i = 0;

	for (; text[i] != '\0' && i < NEAR_KEY_MAX - 1; i++)
		out[i] = text[i] == '-' ? '_' : (char)tolower((unsigned char)text[i]);
	out[i] = '\0';
}

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Number of letters to insert, drop, replace or swap with a neighbour. */
static unsigned
letters_between(const char *a, const char *b)
{
	unsigned row[3][NEAR_KEY_MAX];
	unsigned *before = row[0], *above = row[1], *now = row[2];
	size_t a_len = strlen(a), b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		above[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *free_row = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = least(least(above[j], now[j - 1]) + 1,
				above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], before[j - 2] + 1);
		}
		before = above;
		above = now;
		now = free_row;
	}
	return above[b_len];
}

static bool
same_word(const char *word, const char *allowed)
{
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i][0], word) == 0 && strcmp(words[i][1], allowed) == 0)
			return true;
	}
	return strcmp(word, allowed) == 0;
}

/* True if `text` has only characters of keys. Messages do not repeat other texts, which may contain control characters. */
static bool
is_key(const char *text)
{
	size_t len =
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");

	return text[len] == '\0' && len < NEAR_KEY_MAX;
}

struct near
near_begin(const char *key)
{
	struct near n = {.distance = ~0u};

	if (is_key(key))
		plain(key, n.key);
	return n;
}

void
near_consider(struct near *n, const char *allowed)
{
	char other[NEAR_KEY_MAX];
	size_t len = strlen(n->key);
	unsigned distance;

	if (len == 0 || strlen(allowed) >= NEAR_KEY_MAX)
		return;
	plain(allowed, other);
	if (same_word(n->key, other)) {
		distance = SAME_WORD;
	} else if (len > 2 && strncmp(n->key, other, len) == 0 && other[len] == '_') {
		distance = WITH_SUFFIX;
	} else {
		unsigned letters = letters_between(n->key, other);

		if (len <= 2 || letters > (len <= 5 ? 1 : 2))
			return;
		distance = LETTERS + letters;
	}
	if (distance >= n->distance)
		return;
	n->distance = distance;
	snprintf(n->found, sizeof(n->found), "%s", allowed);
}
