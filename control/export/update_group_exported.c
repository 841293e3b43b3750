/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exported attributes of a route after policy: AS_PATH and further attributes (RFC 4271 5, RFC 4456 8), next hop (RFC 2545 3, RFC 8950). The result is in
 * a scratch buffer of the groups, until the next call.
 */
#include "control/export/update_group_impl.h"

#include <errno.h>
#include <string.h>

#define LOCAL_PREF_DEFAULT 100u

/* ---- AS_PATH ---- */

static uint32_t
load_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
store_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* RFC 6996 5 */
static bool
as_is_private(uint32_t asn)
{
	return (asn >= 64512 && asn <= 65534) || (asn >= 4200000000u && asn <= 4294967294u);
}

/* The AS number of the peer itself stays: without it the peer could not detect a loop. */
static bool
as_removed(const struct update_rules *r, uint32_t asn)
{
	return r->remove_private_as && as_is_private(asn) && asn != r->peer_as;
}

void
as_path_edit(const struct update_rules *r, struct attr_set *s)
{
	uint8_t *in = s->var, *end = s->var + s->as_path_len, *out = s->var;
	size_t behind = attr_set_var_len(s) - s->as_path_len;
	uint8_t *rest = end;

	if (!r->remove_private_as && !r->as_override)
		return;
	while (in + 2 <= end) {
		uint8_t type = in[0], count = in[1], kept = 0, *segment = out;

		in += 2;
		out += 2;
		for (; count > 0 && in + 4 <= end; count--, in += 4) {
			uint32_t asn = load_u32(in);

			if (as_removed(r, asn))
				continue;
			if (r->as_override && asn == r->peer_as)
				asn = r->local_as;
			store_u32(out, asn);
			out += 4;
			kept++;
		}
		segment[0] = type;
		segment[1] = kept;
		if (kept == 0)
			out = segment;
	}
	memmove(out, rest, behind);
	s->as_path_len = (uint16_t)(out - s->var);
	attr_set_derive(s);
}

/*
 * RFC 4271 5.1.2: own_as in front of the path, and local_as before own_as. A private own_as behind local_as is removed as any other private number. `in` is
 * not scratch[1]; *s is the result, in one of the scratch buffers.
 */
static int
as_path_prepend(struct update_group *g, const struct attr_set *in, struct attr_set **s)
{
	struct update_groups *set = g->set;
	const struct update_rules *r = &g->rules;
	int err = 0;

	*s = set->scratch[1];
	if (r->local_as != r->own_as && !as_removed(r, r->own_as)) {
		err = attr_set_prepend(in, r->own_as, 1, set->scratch[1], set->scratch_size);
		in = set->scratch[1];
		*s = set->scratch[0];
	}
	return err == 0 ? attr_set_prepend(in, r->local_as, 1, *s, set->scratch_size) : err;
}

/* ---- the rest of the attributes ---- */

/* RFC 4360 6: non-transitive extended communities stay in the AS. */
static void
ext_communities_strip(struct attr_set *s)
{
	uint8_t *p = s->var + (attr_ext_communities(s) - s->var),
		*end = s->var + attr_set_var_len(s);

	for (unsigned i = s->ext_community_count; i > 0; i--) {
		if (!(p[0] & 0x40)) {
			p += 8;
			continue;
		}
		memmove(p, p + 8, (size_t)(end - p - 8));
		end -= 8;
		s->ext_community_count--;
	}
}

void
internal_attrs_strip(struct attr_set *s, unsigned policy_sets, enum route_source kind)
{
	size_t cluster_len = 4u * s->cluster_count;
	uint8_t *cluster;

	ext_communities_strip(s);
	cluster = s->var + (attr_cluster_list(s) - s->var);
	if (cluster_len > 0) {
		memmove(cluster, cluster + cluster_len, s->unknown_len);
		s->cluster_count = 0;
	}
	s->has &= ~(uint32_t)(ATTR_HAS_LOCAL_PREF | ATTR_HAS_ORIGINATOR_ID);
	s->local_pref = 0;
	s->originator_id = 0;
	if (!(policy_sets & POLICY_SETS_MED) &&
		(kind == SOURCE_EXTERNAL || kind == SOURCE_INTERNAL)) {
		s->has &= ~(uint32_t)ATTR_HAS_MED;
		s->med = 0;
	}
}

/* RFC 9234 5 */
static void
otc_add(const struct update_group *g, struct attr_set *s)
{
	if (s->has & ATTR_HAS_OTC || !role_adds_otc((enum session_role)g->rules.role))
		return;
	s->has |= ATTR_HAS_OTC;
	s->otc = g->rules.local_as;
}

#define COMMUNITY_GRACEFUL_SHUTDOWN 0xffff0000u

/* RFC 8326 4: an external peer gets the community, an internal peer the lowest preference. */
static int
graceful_shutdown(const struct update_group *g, struct attr_set *s)
{
	uint8_t *list = s->var + (attr_communities(s) - s->var);
	size_t len = 4u * s->community_count, behind = attr_set_var_len(s) - s->as_path_len - len;

	if (!g->rules.graceful_shutdown)
		return 0;
	if (g->rules.kind != UPDATE_EXTERNAL) {
		s->local_pref = 0;
		return 0;
	}
	for (unsigned i = 0; i < s->community_count; i++)
		if (load_u32(list + 4u * i) == COMMUNITY_GRACEFUL_SHUTDOWN)
			return 0;
	if (s->community_count == UINT16_MAX)
		return -E2BIG;
	memmove(list + len + 4, list + len, behind);
	store_u32(list + len, COMMUNITY_GRACEFUL_SHUTDOWN);
	s->community_count++;
	return 0;
}

/* RFC 4456 8 */
static int
reflect(const struct update_group *g, struct attr_set *s, const struct shard_peer *source)
{
	uint8_t *list = s->var + (attr_cluster_list(s) - s->var);

	if (s->cluster_count == UINT16_MAX)
		return -E2BIG;
	if (!(s->has & ATTR_HAS_ORIGINATOR_ID)) {
		s->has |= ATTR_HAS_ORIGINATOR_ID;
		s->originator_id = source != NULL ? source->router_id : 0;
	}
	memmove(list + 4, list, 4u * s->cluster_count + s->unknown_len);
	store_u32(list, g->rules.cluster_id);
	s->cluster_count++;
	return 0;
}

/* RFC 2545 3: a link-local address is sent only on the link of the address. */
static bool
next_hop_on_link(const struct update_group *g, const struct attr_set *s)
{
	const struct ip_addr *a =
		s->next_hop_link_local.afi != AFI_NONE ? &s->next_hop_link_local : &s->next_hop;

	return g->rules.link != 0 && addr_is_link_local(a) && a->zone == g->rules.link;
}

static bool
next_hop_permitted(const struct update_group *g, const struct ip_addr *a, bool on_link)
{
	if (a->afi == AFI_IPV6)
		return (on_link || (!addr_is_link_local(a) && !addr_is_unspecified(a))) &&
		       (family_afi(g->rules.family) == AFI_IPV6 ||
			       g->rules.encode.extended_next_hop);
	return a->afi == AFI_IPV4 && (g->labels || family_afi(g->rules.family) == AFI_IPV4);
}

/* Leaves room for the next hop of each member: zeros of the right length, and a mark. */
static bool
next_hop_own(const struct update_group *g, struct attr_set *s)
{
	memset(&s->next_hop, 0, sizeof(s->next_hop));
	memset(&s->next_hop_link_local, 0, sizeof(s->next_hop_link_local));
	s->unused = OWN_NEXT_HOP;
	s->next_hop.afi =
		g->rules.next_hop_len == 4 || g->rules.next_hop_len == 12 ? AFI_IPV4 : AFI_IPV6;
	if (g->rules.next_hop_len == 32 || g->rules.next_hop_len == 48)
		s->next_hop_link_local.afi = AFI_IPV6;
	return g->rules.next_hop_len != 0;
}

bool
next_hop_is_own(const struct update_group *g, unsigned policy_sets, const struct attr_set *s,
	enum route_source kind, struct peer_id from)
{
	const struct ip_addr *a = &s->next_hop;
	bool self;

	if (g->labels && from.v == PEER_SELF.v)
		self = true; /* the label is ours, whatever the next hop in the instance */
	else if (g->rules.kind == UPDATE_EXTERNAL)
		self = !g->rules.next_hop_unchanged; /* RFC 4271 5.1.3 */
	else
		self = g->rules.next_hop_self && kind != SOURCE_INTERNAL; /* RFC 4456 10 */
	/* `discard` is no address: we drop the packets, and the peer needs an address of ours */
	return addr_is_discard(a) ||
	       (!(policy_sets & POLICY_SETS_NEXT_HOP) &&
		       (self || ((addr_is_unspecified(a) || addr_is_link_local(a)) &&
					!next_hop_on_link(g, s))));
}

/* False: there is no next hop for this session. */
static bool
next_hop_choose(const struct update_group *g, unsigned policy_sets, struct attr_set *s,
	enum route_source kind, struct peer_id from)
{
	bool on_link;

	if (next_hop_is_own(g, policy_sets, s, kind, from))
		return next_hop_own(g, s);
	on_link = next_hop_on_link(g, s);
	if (!on_link)
		memset(&s->next_hop_link_local, 0, sizeof(s->next_hop_link_local));
	return next_hop_permitted(g, &s->next_hop, on_link);
}

/* ---- an exported set ---- */

int
scratch_reserve(struct update_groups *s, size_t size)
{
	for (unsigned i = 0; i < 2 && size > s->scratch_size; i++) {
		struct attr_set *p = arena_realloc(s->c.arena, s->scratch[i], size);

		if (p == NULL)
			return -ENOMEM; /* the first may be larger than needed, which does no harm */
		s->scratch[i] = p;
	}
	if (size > s->scratch_size)
		s->scratch_size = size;
	return 0;
}

int
exported_edit(struct update_group *g, unsigned policy_sets, const struct attr_set *after,
	struct attr_set **s, const struct adj_path *path, const struct shard_peer *source)
{
	enum route_source kind = (enum route_source)path->kind;
	bool external = g->rules.kind == UPDATE_EXTERNAL;
	bool edits = external && !policy_runs(&g->rules) &&
		     (g->rules.remove_private_as || g->rules.as_override);
	/* RFC 7947 2.2.2, 2.2.3 */
	bool transparent = g->rules.route_server_client;
	int err = 0;

	*s = g->set->scratch[0];
	if (!external || edits || transparent)
		memcpy(*s, after, attr_set_size(after));
	if (external) {
		if (edits)
			as_path_edit(&g->rules, *s);
		if (!transparent)
			err = as_path_prepend(g, edits ? *s : after, s);
		if (err == 0) {
			internal_attrs_strip(
				*s, policy_sets | (transparent ? POLICY_SETS_MED : 0u), kind);
			otc_add(g, *s);
		}
	} else {
		if (is_internal(kind, path->source))
			err = reflect(g, *s, source);
		if (!((*s)->has & ATTR_HAS_LOCAL_PREF)) { /* RFC 4271 5.1.5 */
			(*s)->has |= ATTR_HAS_LOCAL_PREF;
			(*s)->local_pref = LOCAL_PREF_DEFAULT;
		}
	}
	if (err == 0)
		err = graceful_shutdown(g, *s);
	if (err < 0 || !next_hop_choose(g, policy_sets, *s, kind, path->source))
		return -E2BIG;
	return 0;
}
