/* SPDX-License-Identifier: BSD-3-Clause */
/* The attributes of a route as JSON (keel-rpc(7)), in both directions. */
#include "control/rpc/rpc_impl.h"

#include "control/config/policy_compile.h"
#include "rib/table/attr.h"
#include "rib/table/vpn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- to JSON ---- */

static uint32_t
be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static json_t *
communities_json(const struct attr_set *a)
{
	json_t *array = a->community_count > 0 ? json_array() : NULL;
	char text[POLICY_COMMUNITY_TEXT_MAX];

	for (unsigned i = 0; i < a->community_count; i++)
		json_array_append_new(array, json_string_nocheck(policy_community_text(
						     be32(attr_communities(a) + 4 * i), text)));
	return array;
}

static json_t *
large_communities_json(const struct attr_set *a)
{
	json_t *array = a->large_community_count > 0 ? json_array() : NULL;

	for (unsigned i = 0; i < a->large_community_count; i++) {
		const uint8_t *p = attr_large_communities(a) + 12 * i;
		char text[40];

		snprintf(text, sizeof(text), "%u:%u:%u", be32(p), be32(p + 4), be32(p + 8));
		json_array_append_new(array, json_string_nocheck(text));
	}
	return array;
}

static json_t *
ext_communities_json(const struct attr_set *a)
{
	json_t *array = a->ext_community_count > 0 ? json_array() : NULL;
	char text[VPN_TEXT_MAX];

	for (unsigned i = 0; i < a->ext_community_count; i++) {
		struct ext_community c = ext_community_get(attr_ext_communities(a) + 8 * i);

		json_array_append_new(array, json_string(ext_community_format(c, text)));
	}
	return array;
}

static json_t *
router_id_json(uint32_t id)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u.%u.%u", id >> 24, id >> 16 & 255, id >> 8 & 255,
		id & 255);
	return json_string(text);
}

#define PATH_USUAL 1024 /* octets of text */

static json_t *
as_path_json(const struct attr_set *a)
{
	char usual[PATH_USUAL], *text = usual;
	size_t len = attr_as_path_format(a, usual, sizeof(usual));
	json_t *path;

	if (len >= sizeof(usual)) {
		text = malloc(len + 1);
		if (text == NULL)
			return NULL;
		attr_as_path_format(a, text, len + 1);
	}
	path = json_string_nocheck(text);
	if (text != usual)
		free(text);
	return path;
}

static json_t *
origin_json(const struct attr_set *a)
{
	static const char *const origins[] = {"igp", "egp", "incomplete"};

	return json_string_nocheck(a->origin < 3 ? origins[a->origin] : "?");
}

static json_t *
address_json(const struct ip_addr *a)
{
	return a->afi != AFI_NONE ? rpc_addr(a) : NULL;
}

static json_t *
next_hop_json(const struct attr_set *a)
{
	return address_json(&a->next_hop);
}

static json_t *
link_local_json(const struct attr_set *a)
{
	return address_json(&a->next_hop_link_local);
}

static json_t *
local_pref_json(const struct attr_set *a)
{
	return a->has & ATTR_HAS_LOCAL_PREF ? json_integer(a->local_pref) : NULL;
}

static json_t *
med_json(const struct attr_set *a)
{
	return a->has & ATTR_HAS_MED ? json_integer(a->med) : NULL;
}

/* RFC 4271 5.1.6, 5.1.7. */
static json_t *
atomic_aggregate_json(const struct attr_set *a)
{
	return a->has & ATTR_HAS_ATOMIC_AGGREGATE ? json_true() : NULL;
}

static json_t *
aggregator_json(const struct attr_set *a)
{
	if (!(a->has & ATTR_HAS_AGGREGATOR))
		return NULL;
	return json_pack("{s:I, s:o}", "asn", (json_int_t)a->aggregator_asn, "address",
		router_id_json(a->aggregator_addr));
}

/* Originator and clusters of a reflected route (RFC 4456 8). */
static json_t *
originator_json(const struct attr_set *a)
{
	return a->has & ATTR_HAS_ORIGINATOR_ID ? router_id_json(a->originator_id) : NULL;
}

static json_t *
clusters_json(const struct attr_set *a)
{
	json_t *clusters = a->cluster_count > 0 ? json_array() : NULL;

	for (unsigned i = 0; i < a->cluster_count; i++)
		json_array_append_new(clusters, router_id_json(be32(attr_cluster_list(a) + 4 * i)));
	return clusters;
}

json_t *
rpc_octets(const uint8_t *octets, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * len + 1);
	json_t *o;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[octets[i] >> 4];
		text[2 * i + 1] = digits[octets[i] & 15];
	}
	o = json_stringn_nocheck(text, 2 * len);
	free(text);
	return o;
}

/* RFC 9234 5 */
static json_t *
only_to_customer_json(const struct attr_set *a)
{
	return a->has & ATTR_HAS_OTC ? json_integer(a->otc) : NULL;
}

/* Attributes without a decoder, which Keel passes on (RFC 4271 9). The flag of a 2-octet length belongs to the encoding. */
static json_t *
unknown_json(const struct attr_set *a)
{
	const uint8_t *p = attr_unknown(a), *end = p + a->unknown_len;
	json_t *array = p < end ? json_array() : NULL;

	while (p < end) {
		size_t len = (size_t)p[2] << 8 | p[3];

		json_array_append_new(
			array, json_pack("{s:i, s:i, s:o}", "type", (int)p[1], "flags",
				       p[0] & ~0x10, "value", rpc_octets(p + 4, len)));
		p += 4 + len;
	}
	return array;
}

/* `value`: NULL if the attribute is not in the set. */
static const struct {
	const char *key;
	json_t *(*value)(const struct attr_set *a);
} attrs[RPC_ATTR_COUNT] = {
	{"as_path", as_path_json},
	{"origin", origin_json},
	{"next_hop", next_hop_json},
	{"next_hop_link_local", link_local_json},
	{"local_pref", local_pref_json},
	{"med", med_json},
	{"communities", communities_json},
	{"large_communities", large_communities_json},
	{"ext_communities", ext_communities_json},
	{"atomic_aggregate", atomic_aggregate_json},
	{"aggregator", aggregator_json},
	{"originator_id", originator_json},
	{"cluster_list", clusters_json},
	{"only_to_customer", only_to_customer_json},
	{"unknown_attributes", unknown_json},
};

unsigned
rpc_attr_find(const char *key)
{
	unsigned i = 0;

	while (i < RPC_ATTR_COUNT && strcmp(attrs[i].key, key) != 0)
		i++;
	return i;
}

json_t *
rpc_attr(unsigned i, const struct attr_set *a)
{
	return attrs[i].value(a);
}

void
rpc_attrs(json_t *o, const struct attr_set *a)
{
	for (unsigned i = 0; i < RPC_ATTR_COUNT; i++) {
		json_t *value = attrs[i].value(a);

		/* The keys are ASCII: their check as UTF-8 would take a tenth of the time. */
		if (value != NULL)
			json_object_set_new_nocheck(o, attrs[i].key, value);
	}
}

/* ---- from JSON ---- */

#define SEGMENT_MAX 255
enum {
	SEGMENT_SET = 1,
	SEGMENT_SEQUENCE = 2,
	SEGMENT_CONFED_SEQUENCE = 3,
	SEGMENT_CONFED_SET = 4
}; /* RFC 4271 4.3, RFC 5065 3 */

static void
put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* Reads a decimal number up to 4294967295. False: no number. */
static bool
read_asn(const char **text, uint32_t *asn)
{
	uint64_t v = 0;
	const char *p = *text;

	for (; *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	if (p == *text || v > UINT32_MAX)
		return false;
	*text = p;
	*asn = (uint32_t)v;
	return true;
}

/* Reads one segment at *text into `out` (room for SEGMENT_MAX AS numbers). Returns the octets; 0: not a segment. */
static size_t
read_segment(const char **text, uint8_t *out)
{
	static const char open[] = "{([", close[] = "})]";
	static const uint8_t types[] = {SEGMENT_SET, SEGMENT_CONFED_SEQUENCE, SEGMENT_CONFED_SET};
	const char *p = *text, *bracket = strchr(open, *p);
	unsigned n = 0;
	uint32_t asn;

	out[0] = SEGMENT_SEQUENCE;
	if (bracket != NULL) {
		out[0] = types[bracket - open];
		p++;
	}
	while (n < SEGMENT_MAX && read_asn(&p, &asn)) {
		put_u32(out + 2 + 4 * n++, asn);
		p += strspn(p, bracket != NULL ? " ," : " ");
	}
	if (bracket != NULL && *p++ != close[bracket - open])
		return 0;
	out[1] = (uint8_t)n;
	*text = p + strspn(p, " ");
	return n > 0 ? 2 + 4 * (size_t)n : 0;
}

/* A route in the making. `set` has room for ATTR_SET_MAX octets. */
struct reading {
	struct attr_set *set;
	size_t len; /* of `var` so far */
	struct rpc_call *call;
	const char *key; /* the present key */
};

static bool
fail(struct reading *r, const char *reason)
{
	char path[96];

	snprintf(path, sizeof(path), "/route/%s", r->key);
	rpc_fail(r->call, RPC_INVALID_PARAMS, path, "%s", reason);
	return false;
}

static bool
read_as_path(struct reading *r, json_t *v)
{
	const char *p = json_string_value(v);

	if (p == NULL)
		return fail(r, "is not a string");
	p += strspn(p, " ");
	while (*p != '\0') {
		size_t n = r->len < 32768 ? read_segment(&p, r->set->var + r->len) : 0;

		if (n == 0)
			return fail(r, "is not an AS path: plain numbers, sets {1,2}, "
				       "confederations (1 2)");
		r->len += n;
	}
	r->set->as_path_len = (uint16_t)r->len;
	return true;
}

#define LIST_MAX 1000

typedef int value_parse(const char *text, uint8_t *out);

static int
parse_community(const char *text, uint8_t *out)
{
	uint32_t c;
	int err = policy_community_parse(text, &c);

	if (err == 0)
		put_u32(out, c);
	return err;
}

/* Appends values of `size` octets each. */
static bool
read_list(struct reading *r, json_t *v, value_parse *parse, size_t size, uint16_t *count)
{
	json_t *item;
	size_t i;

	if (!json_is_array(v) || json_array_size(v) > LIST_MAX)
		return fail(r, "is not an array of at most 1000");
	json_array_foreach(v, i, item)
	{
		const char *text = json_string_value(item);

		if (text == NULL || parse(text, r->set->var + r->len) != 0)
			return fail(r, "has something that is not one of these communities");
		r->len += size;
	}
	*count = (uint16_t)json_array_size(v);
	return true;
}

static bool
read_number(struct reading *r, json_t *v, uint32_t bit, uint32_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
		return fail(r, "is not an integer from 0 to 4294967295");
	*out = (uint32_t)json_integer_value(v);
	r->set->has |= bit;
	return true;
}

static bool
read_origin(struct reading *r, json_t *v)
{
	static const char *const words[] = {"igp", "egp", "incomplete"};

	for (uint8_t i = 0; i < 3; i++) {
		if (json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0) {
			r->set->origin = i;
			return true;
		}
	}
	return fail(r, "is not one of igp, egp, incomplete");
}

static bool
read_address(struct reading *r, json_t *v, struct ip_addr *out)
{
	if (json_is_string(v) && addr_parse(json_string_value(v), out) == 0)
		return true;
	return fail(r, "is not an IP address");
}

/* In the order of the attributes in a set. */
static bool
read_one(struct reading *r, unsigned i, json_t *v)
{
	switch (i) {
	case 0:
		return read_as_path(r, v);
	case 1:
		return read_list(r, v, parse_community, 4, &r->set->community_count);
	case 2:
		return read_list(r, v, policy_ext_community_parse, 8, &r->set->ext_community_count);
	case 3:
		return read_list(
			r, v, policy_large_community_parse, 12, &r->set->large_community_count);
	case 4:
		return read_origin(r, v);
	case 5:
		return read_number(r, v, ATTR_HAS_MED, &r->set->med);
	case 6:
		return read_number(r, v, ATTR_HAS_LOCAL_PREF, &r->set->local_pref);
	case 7:
		if (json_is_string(v) && strcmp(json_string_value(v), "discard") == 0) {
			r->set->next_hop = addr_discard();
			return true;
		}
		return read_address(r, v, &r->set->next_hop);
	default:
		return read_address(r, v, &r->set->next_hop_link_local);
	}
}

bool
rpc_attrs_read(json_t *route, struct attr_set *out, struct rpc_call *call)
{
	static const char *const keys[] = {"as_path", "communities", "ext_communities",
		"large_communities", "origin", "med", "local_pref", "next_hop",
		"next_hop_link_local"};
	struct reading r = {.set = out, .call = call};

	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *v = json_object_get(route, keys[i]);

		r.key = keys[i];
		if (v != NULL && !read_one(&r, i, v))
			return false;
	}
	attr_set_derive(out);
	return true;
}
