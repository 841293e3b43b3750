/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Received messages. UPDATEs become records in batches for the shards (session_batch.c). When no
 * batch is free or too many runs are unfinished, the message and all later input of the connection
 * wait.
 */
#include "control/session/session_batch.h"

#include "control/bgp/bgp_attr.h"
#include "control/base/log.h"

#include <string.h>

#define CLOCK_OCTETS 2048u /* octets between two reads of the clock: about 10 us */

/* ---- UPDATE ---- */

static_assert(RIB_BATCH_SIZE > sizeof(struct rib_record) + ATTR_PACKED_MAX + BGP_EXTENDED_MSG_MAX +
				       sizeof(struct rib_order) + 16,
	"an empty batch has room for a field of the largest message");

/* The prefixes of one field of an UPDATE, with their attributes. */
struct input_field {
	const struct attr_packed *attrs; /* NULL: withdraw */
	size_t attrs_len;
	uint32_t attrs_hash;
	/* without attrs: the cause for which the announced prefixes are refused */
	enum refused_cause refused;
	enum family family;
	enum shards_by by; /* of the table */
	uint8_t bulk; /* bulk_of() */
	uint32_t limit; /* limit_of() */
	/* in the form of records (rib/table/nlri.h): as received, or of a VPN family in speaker.vpn_nlri */
	struct rd nlri;
	uint8_t form; /* bits of enum rib_nlri_form */
	unsigned count;
};

/*
 * The fields of RFC 4271, of MP_UNREACH_NLRI and of MP_REACH_NLRI; of a VPN family the prefixes with
 * unusable labels are a field of their own.
 */
#define INPUT_FIELDS_MAX BATCH_SPARES_MAX

struct input_update {
	struct input_field field[INPUT_FIELDS_MAX];
	unsigned count;
	size_t vpn_len; /* octets used in speaker.vpn_nlri */
	/* prefixes with unusable labels, and the first of them */
	unsigned unusable_labels;
	struct nlri unusable;
};

/*
 * A peer has BURST_PREFIXES live changes at once, and one more each BURST_NS. An UPDATE beyond them begins a burst, which is bulk, so that the live changes of
 * other peers do not wait for a flap of the peer. The burst ends when all of the changes are left again: after a pause of 3.2 ms.
 */
#define BURST_PREFIXES 64u
#define BURST_NS 50000u

static void
burst_refill(struct peer *p, uint64_t now)
{
	uint64_t more = (now - p->burst.at_ns) / BURST_NS;

	p->burst.at_ns += more * BURST_NS;
	p->burst.left = more < BURST_PREFIXES - p->burst.left ? p->burst.left + (unsigned)more
							      : BURST_PREFIXES;
	p->burst.runs &= p->burst.left < BURST_PREFIXES;
}

/* Of the next `count` prefixes: enum shard_bulk, of a whole table while the peer sends the initial table, or the answer to our ROUTE-REFRESH. */
static uint8_t
bulk_of(const struct peer *p, enum family f, unsigned count)
{
	if (p->loading_table || p->family[f].refreshing || p->family[f].import_jobs.count > 0)
		return BULK_TABLE;
	return p->burst.runs || count > p->burst.left ? BULK_BURST : 0;
}

/* False: reserved, without a meaning at an edge router (RFC 7274 2), or the number of "no label" in the RIB. */
static bool
label_usable(uint32_t label)
{
	return label <= MPLS_IMPLICIT_NULL ||
	       (label >= MPLS_FIRST_UNRESERVED && label != RIB_LABEL_NONE);
}

/*
 * Converts prefixes of a VPN family from the form of messages to the form of records, which is not
 * longer. Of a field with attributes only the prefixes with usable labels; with `usable` false the
 * others. Of a field without attributes all prefixes.
 */
static void
vpn_convert(struct speaker *s, struct input_update *in, const struct bgp_nlri_field *from,
	bool usable, struct input_field *to)
{
	uint8_t *begin = s->vpn_nlri + in->vpn_len, *p = begin;
	bool all = usable && to->attrs == NULL;
	struct rd r = from->nlri;
	struct nlri n;

	to->form = (uint8_t)(RIB_NLRI_RD | (to->attrs != NULL ? RIB_NLRI_LABEL : 0));
	while (nlri_read_form(&r, from->form, &n)) {
		struct rib_nlri out = {.prefix = n.prefix, .label = n.label, .rd = n.rd};

		if (!all && label_usable(n.label) != usable)
			continue;
		p = rib_nlri_write(p, &out, to->form);
		to->count++;
		if (!usable && in->unusable_labels++ == 0)
			in->unusable = n;
	}
	to->nlri = rd_init(begin, (size_t)(p - begin));
	in->vpn_len += (size_t)(p - begin);
}

/* Adds the field if it has prefixes. */
static void
input_add_field(struct input_update *in, const struct connection *c, const struct bgp_nlri_field *f,
	bool usable, const struct input_field *with)
{
	struct input_field *to = &in->field[in->count];

	*to = *with;
	to->family = f->family;
	to->by = shards_by(c->peer->config.vrf, f->family);
	if (f->form.safi == SAFI_VPN) {
		vpn_convert(c->peer->speaker, in, f, usable, to);
	} else {
		to->nlri = f->nlri;
		to->count = nlri_count(f->nlri);
	}
	to->bulk = bulk_of(c->peer, f->family, to->count);
	in->count += to->count > 0;
}

/*
 * `attrs`: the packed set of an announced field, NULL: none. `from`: the same set, to be packed.
 * RFC 4760 7 permits ignoring a field of a family that was not negotiated.
 */
static void
input_add(struct input_update *in, const struct connection *c, const struct bgp_nlri_field *f,
	const struct attr_set *from, struct attr_packed *attrs, enum refused_cause refused)
{
	struct input_field with = {.refused = refused};

	if (f->family == FAMILY_COUNT || !(c->n.families & 1u << f->family) ||
		rd_left(&f->nlri) == 0)
		return;
	if (from != NULL) {
		with.attrs = attrs;
		with.attrs_len = attr_pack(from, attrs);
		with.attrs_hash = attr_packed_hash(attrs, with.attrs_len);
	}
	input_add_field(in, c, f, true, &with);
	if (f->form.safi == SAFI_VPN && from != NULL)
		input_add_field(
			in, c, f, false, &(struct input_field){.refused = REFUSED_UNUSABLE_LABEL});
}

/* The next prefix of a field that the decoder has checked. False: end of the field. */
static inline bool
field_next(const struct input_field *f, struct rd *r, struct prefix *out)
{
	struct rib_nlri_reader vpn = {
		.p = r->p, .end = r->end, .afi = (uint8_t)family_afi(f->family), .form = f->form};
	struct rib_nlri rib;
	struct nlri n;

	if (f->family == FAMILY_IPV4_UNICAST && r->p != r->end) {
		nlri_take_v4(r, out);
		return true;
	}
	if (f->form != 0) {
		if (!rib_nlri_next(&vpn, &rib))
			return false;
		r->p = vpn.p;
		*out = rib.prefix;
		return true;
	}
	if (!nlri_read(r, f->family, false, &n))
		return false;
	*out = n.prefix;
	return true;
}

/* Begins a record for prefixes of the field. Room must be reserved. */
static struct rib_record *
field_begin(const struct speaker_input *in, const struct peer *p, const struct input_field *f,
	uint64_t now)
{
	struct rib_record *r =
		record_begin(in, p, RIB_UPDATE, f->family, f->attrs, f->attrs_len, now);

	r->refused = (uint8_t)f->refused;
	r->bulk = f->bulk;
	r->limit = f->limit;
	r->attrs_hash = f->attrs_hash;
	r->nlri_form = f->form;
	return r;
}

/* Puts the whole field. `order` (may be NULL): for a wide record of the first shard. */
static void
field_put(struct speaker *s, const struct peer *p, const struct input_field *f, unsigned shard,
	const struct rib_order *order, uint64_t now) RUNS_ON(role_session)
{
	struct speaker_input *in = &s->input[shard];
	size_t len = rd_left(&f->nlri);
	struct rib_record *r;

	/* cannot fail after spares_reserve() */
	if (!batch_reserve(s, shard, record_len(f->attrs_len, len) + sizeof(*order)))
		return;
	r = field_begin(in, p, f, now);
	memcpy(record_nlri(r), f->nlri.p, len);
	r->nlri_count = (uint16_t)f->count;
	r->nlri_len = (uint32_t)len;
	record_end(in, r, order);
}

/* ---- UPDATE, for several shards ---- */

/* The division of a field between the shards. */
struct input_split {
	uint32_t shards; /* bits; len[] is valid for these shards only */
	uint32_t under; /* shards with prefixes covered by the wide prefixes of the field */
	uint32_t len[SHARDS_MAX]; /* octets of prefixes */
};

static void
field_split(const struct speaker *s, const struct input_field *f, struct input_split *out)
{
	struct rd r = f->nlri;
	const uint8_t *from = r.p;
	struct prefix p;

	out->shards = out->under = 0;
	for (; field_next(f, &r, &p); from = r.p) {
		unsigned i = shards_of(&s->shards, f->by, &p);

		if (!(out->shards >> i & 1))
			out->len[i] = 0;
		out->shards |= 1u << i;
		out->len[i] += (uint32_t)(r.p - from);
		if (i == 0 && shards_wide(f->by, &p))
			out->under |= shards_under(&s->shards, f->by, &p);
	}
}

/* The part of a field for one shard. */
struct input_part {
	struct rib_record *record;
	uint8_t *to; /* the next prefix */
};

/* False: no batch; cannot happen after update_put_split(). */
static bool
part_open(struct speaker *s, const struct peer *p, const struct input_field *f, unsigned shard,
	uint32_t len, struct input_part *part, uint64_t now) RUNS_ON(role_session)
{
	if (!batch_reserve(s, shard, record_len(f->attrs_len, len) + sizeof(struct rib_order)))
		return false;
	part->record = field_begin(&s->input[shard], p, f, now);
	part->record->nlri_len = len;
	part->to = record_nlri(part->record);
	return true;
}

static void
part_add(struct input_part *part, const uint8_t *from, size_t len)
{
	memcpy(part->to, from, len);
	part->to += len;
	part->record->nlri_count++;
}

static void
parts_put(struct speaker *s, const struct peer *p, const struct input_field *f,
	const struct input_split *split, const struct rib_order *order, uint64_t now)
	RUNS_ON(role_session)
{
	struct input_part part[SHARDS_MAX];
	struct rd r = f->nlri;
	const uint8_t *from = r.p;
	struct prefix prefix;

	for (uint32_t left = split->shards; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		if (!part_open(s, p, f, i, split->len[i], &part[i], now))
			return;
	}
	for (; field_next(f, &r, &prefix); from = r.p)
		part_add(&part[shards_of(&s->shards, f->by, &prefix)], from, (size_t)(r.p - from));
	for (uint32_t left = split->shards; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		record_end(&s->input[i], part[i].record, i == 0 ? order : NULL);
	}
}

/*
 * With a limit (session_limit.c), the part of each shard follows all earlier records of all shards,
 * including the parts of the same field, so that all shards together store no more prefixes than
 * the limit.
 */
static void
parts_put_limited(struct speaker *s, const struct peer *p, const struct input_field *f,
	const struct input_split *split, uint64_t now) RUNS_ON(role_session)
{
	uint32_t all = (1u << s->shards.count) - 1;

	for (uint32_t left = split->shards; left != 0; left &= left - 1) {
		unsigned shard = (unsigned)__builtin_ctz(left);
		struct rd r = f->nlri;
		const uint8_t *from = r.p;
		struct input_part part;
		struct rib_order order;
		struct prefix prefix;

		order_record(s, all & ~(1u << shard), &order);
		if (!part_open(s, p, f, shard, split->len[shard], &part, now))
			return;
		for (; field_next(f, &r, &prefix); from = r.p)
			if (shards_of(&s->shards, f->by, &prefix) == shard)
				part_add(&part, from, (size_t)(r.p - from));
		record_end(&s->input[shard], part.record, &order);
	}
}

static void
field_put_split(struct speaker *s, const struct peer *p, const struct input_field *f,
	const struct input_split *split, uint64_t now) RUNS_ON(role_session)
{
	struct rib_order order, *wide = split->under != 0 ? &order : NULL;

	if (split->shards == 0)
		return;
	if (wide != NULL)
		order_record(s, split->under, wide);
	if (f->limit != 0)
		parts_put_limited(s, p, f, split, now);
	/* most UPDATEs of neighbouring prefixes */
	else if ((split->shards & (split->shards - 1)) == 0)
		field_put(s, p, f, (unsigned)__builtin_ctz(split->shards), wide, now);
	else
		parts_put(s, p, f, split, wide, now);
	order_later_records(s, split->under);
}

/* Sets the limits of the fields of an UPDATE before the fields are put. All fields of a family have the same limit. */
static void
fields_limit(struct peer *p, struct input_update *in) RUNS_ON(role_session)
{
	unsigned count[FAMILY_COUNT] = {0};
	uint32_t limit[FAMILY_COUNT] = {0};

	if (!p->limited)
		return;
	for (unsigned i = 0; i < in->count; i++)
		if (in->field[i].attrs != NULL)
			count[in->field[i].family] += in->field[i].count;
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		if (count[f] > 0)
			limit[f] = limit_of(p, f, count[f]);
	for (unsigned i = 0; i < in->count; i++)
		if (in->field[i].attrs != NULL)
			in->field[i].limit = limit[in->field[i].family];
}

static void
run_count(struct peer *p, const struct input_update *in, uint64_t now) RUNS_ON(role_session)
{
	for (unsigned i = 0; i < in->count; i++) {
		const struct input_field *f = &in->field[i];
		uint64_t cost = run_add(p->speaker, f->family, f->count, f->bulk != 0, now);

		p->burst.runs |= (f->bulk & BULK_BURST) != 0;
		p->burst.left -= f->count < p->burst.left ? f->count : p->burst.left;
		/* tables advance together, by octets: the cost varies */
		if (!(f->bulk & BULK_TABLE))
			p->share.ns += cost;
	}
}

/* Puts all fields or none. False: no batch. */
static bool
update_put_split(struct speaker *s, struct peer *p, struct input_update *in, uint64_t now)
	RUNS_ON(role_session)
{
	struct input_split split[INPUT_FIELDS_MAX];
	uint32_t shards = 0;

	for (unsigned i = 0; i < in->count; i++) {
		field_split(s, &in->field[i], &split[i]);
		shards |= split[i].shards;
	}
	for (; shards != 0; shards &= shards - 1) {
		unsigned shard = (unsigned)__builtin_ctz(shards), batches = 0;
		size_t all = 0;

		for (unsigned i = 0; i < in->count; i++) {
			if (!(split[i].shards >> shard & 1))
				continue;
			all += record_len(in->field[i].attrs_len, split[i].len[shard]) +
			       sizeof(struct rib_order);
			batches++;
		}
		if (batch_room(&s->input[shard]) < all && !spares_reserve(s, shard, batches))
			return false;
	}
	fields_limit(p, in);
	run_count(p, in, now);
	for (unsigned i = 0; i < in->count; i++)
		field_put_split(s, p, &in->field[i], &split[i], now);
	return true;
}

/* Puts all fields or none. False: no batch. */
static bool
update_put(struct speaker *s, struct peer *p, struct input_update *in, uint64_t now)
	RUNS_ON(role_session)
{
	size_t all = 0;

	if (s->shards.count > 1)
		return update_put_split(s, p, in, now);
	for (unsigned i = 0; i < in->count; i++)
		all += record_len(in->field[i].attrs_len, rd_left(&in->field[i].nlri)) +
		       sizeof(struct rib_order);
	if (batch_room(&s->input[0]) < all && !spares_reserve(s, 0, in->count))
		return false;
	fields_limit(p, in);
	run_count(p, in, now);
	for (unsigned i = 0; i < in->count; i++)
		field_put(s, p, &in->field[i], 0, NULL, now);
	return true;
}

/* Live changes of `p` do not wait for the tables of other peers. */
static bool
run_has_live_room(const struct speaker *s, const struct peer *p)
{
	for (enum family f = 0; f < FAMILY_COUNT; f++)
		if (bulk_of(p, f, 1) != 0)
			return false;
	return run_live_room(s);
}

/*
 * False: the open run is full, and too many runs are unfinished. Until the end of the turn the peers
 * behind `p` get no room, so no peer overtakes `p`. Live changes are an exception.
 */
static bool
run_reserve(struct speaker *s, const struct peer *p) RUNS_ON(role_session)
{
	if (!s->starved && run_room(s))
		return true;
	if (run_has_live_room(s, p))
		return true;
	s->starved = true;
	return false;
}

static struct bgp_update_options
update_options(const struct connection *c)
{
	const struct peer *p = c->peer;

	return (struct bgp_update_options){
		.as4 = c->n.as4,
		.external = p->config.external,
		.enforce_first_as = p->config.enforce_first_as,
		.max_as_path_length = p->config.max_as_path_length,
		.refuse_as_sets = !p->config.allow_as_sets,
		.peer_as = c->open.asn,
		.own_as = peer_local_as(p),
		.role = p->config.role,
		.local_id = c->local_addr.afi == AFI_IPV4 ? addr_v4(&c->local_addr)
							  : p->speaker->config.router_id,
		.families = c->n.families,
		.rt_constraint = c->n.rt_constraint,
		.extended_message = c->n.extended_message,
		.extended_next_hop = c->n.extended_next_hop,
		.zone = c->local.zone,
		.local_v6 = c->local.v6,
	};
}

/*
 * Why the routes of an UPDATE are treated as withdrawn (RFC 7606 2); REFUSED_NOT: they are
 * accepted.
 */
static enum refused_cause
update_refused(const struct bgp_update *u)
{
	if (u->error.severity < TREAT_AS_WITHDRAW)
		return REFUSED_NOT;
	return u->error.refused != REFUSED_NOT ? (enum refused_cause)u->error.refused
					       : refused_malformed(u->error.attribute);
}

/*
 * Inserts the site of origin in front of the extended communities, which are in any order. False: none is configured, the set has the community, or the
 * set is full.
 */
static bool
site_add(struct attr_set *a, struct ext_community site)
{
	size_t size = attr_set_size(a);
	uint8_t *at = (uint8_t *)a + ((const uint8_t *)attr_ext_communities(a) - (uint8_t *)a);

	if (site.v == 0 || size + 8 > ATTR_SET_MAX)
		return false;
	for (unsigned i = 0; i < a->ext_community_count; i++)
		if (ext_community_get(at + 8u * i).v == site.v)
			return false;
	memmove(at + 8, at, size - (size_t)(at - (uint8_t *)a));
	ext_community_put(site, at);
	a->ext_community_count++;
	return true;
}

static void
site_remove(struct attr_set *a)
{
	uint8_t *at = (uint8_t *)a + ((const uint8_t *)attr_ext_communities(a) - (uint8_t *)a);

	memmove(at, at + 8, attr_set_size(a) - 8 - (size_t)(at - (uint8_t *)a));
	a->ext_community_count--;
}

/*
 * Withdrawn fields precede announced fields; with TREAT_AS_WITHDRAW (RFC 7606 2) all fields are
 * withdrawn.
 */
static void
update_fields(struct connection *c, const struct bgp_update *u, struct attr_set *attrs,
	struct input_update *in)
{
	struct speaker *s = c->peer->speaker;
	enum refused_cause refused = update_refused(u);

	in->count = in->unusable_labels = 0;
	in->vpn_len = 0;
	for (unsigned i = 0; i < u->withdrawn_count; i++)
		input_add(in, c, &u->withdrawn[i], NULL, NULL, REFUSED_NOT);
	for (unsigned i = 0; i < u->announced_count; i++) {
		const struct attr_set *a = refused != REFUSED_NOT || !u->has_attrs ? NULL : attrs;
		enum family f = u->announced[i].family;
		bool added;

		if (i == 1 && a != NULL) {
			attrs->next_hop = u->mp_next_hop;
			attrs->next_hop_link_local = u->mp_next_hop_link_local;
		}
		added = a != NULL && f < FAMILY_COUNT &&
			site_add(attrs, c->peer->config.families[f].site_of_origin);
		input_add(in, c, &u->announced[i], a, s->packed[i],
			a == NULL ? refused : REFUSED_NOT);
		if (added) /* another field has a site of origin of its own */
			site_remove(attrs);
	}
}

/* Without End-of-RIB, a pause of this length ends the initial table. No pause: messages of the peer waited for us meanwhile. */
#define TABLE_PAUSE_NS NS_PER_S

static void
table_received(struct peer *p, uint64_t now)
{
	struct speaker *s = p->speaker;
	uint64_t last = p->update_ns;

	p->update_ns = now;
	if (!p->loading_table)
		return;
	p->loading_table = last == 0 || !p->drained || now - last < TABLE_PAUSE_NS;
	p->drained = false;
	if (s->table_sender.v != p->id.v && now - s->table_update_ns < LOADING_NS)
		s->loading_ns = now;
	s->table_sender = p->id;
	s->table_update_ns = now;
}

static void
table_ended(struct peer *p)
{
	p->loading_table = false;
	p->speaker->loading_ns = 0; /* set again when two peers load */
}

/*
 * Marks a route of this router that comes back: from a reflector (the next hop is an address of this router), or from a neighbour that
 * advertises a route to its source too. A loop (RFC 4271 9.1.2, RFC 4456 8), not a fault of the peer.
 */
static bool
update_returns(const struct peer *p, struct bgp_update *u, const struct attr_set *attrs)
{
	if (u->error.severity == TREAT_AS_WITHDRAW && u->error.subcode == UPDATE_INVALID_NEXT_HOP &&
		!p->config.external && attrs->originator_id == p->speaker->config.router_id)
		u->error.refused = REFUSED_ORIGINATOR_LOOP;
	return u->error.refused == REFUSED_AS_LOOP || u->error.refused == REFUSED_ORIGINATOR_LOOP;
}

/* False: no batch; the message stays in the buffer. */
static bool
update_received(struct connection *c, const uint8_t *msg, size_t len, uint64_t now)
	RUNS_ON(role_session)
{
	struct peer *p = c->peer;
	struct speaker *s = p->speaker;
	struct bgp_update_options o = update_options(c);
	struct input_update in;
	struct bgp_update u;
	bool returns;

	if (!input_settle(s) || !run_reserve(s, p))
		return false;
	bgp_update_decode(msg, len, &o, s->attrs, &u);
	if (u.error.severity == SESSION_RESET) {
		struct note note = {.code = u.error.code,
			.subcode = u.error.subcode,
			.data = u.error.data,
			.data_len = u.error.data_len};

		p->updates_received++;
		peer_fault_update(p, &u, msg, len);
		connection_event(c, EV_BAD_MESSAGE, &note);
		return true;
	}
	if (u.end_of_rib && (c->n.families & 1u << u.end_of_rib_family)) {
		if (!record_put(s, p, RIB_END_OF_RIB, u.end_of_rib_family, NULL, 0))
			return false;
		p->family[u.end_of_rib_family].end_of_rib_received = true;
		refresh_end_of_rib(&p->family[u.end_of_rib_family]);
		table_ended(p);
		restart_end_of_rib(&p->family[u.end_of_rib_family]);
	}
	returns = update_returns(p, &u, s->attrs);
	update_fields(c, &u, s->attrs, &in);
	if (!update_put(s, p, &in, now))
		return false;
	p->updates_received++;
	table_received(p, now);
	limit_received(p);
	if (u.error.severity != BGP_OK && !returns)
		peer_fault_update(p, &u, msg, len);
	else if (in.unusable_labels > 0)
		peer_fault_labels(p, &in.unusable, in.unusable_labels, msg, len);
	connection_heard(c, now);
	rt_received(c, &u); /* last: may end the session */
	return true;
}

/* ---- the other messages ---- */

static void
message_refuse(struct connection *c, const struct bgp_error *e, const uint8_t *msg, size_t len)
	RUNS_ON(role_session)
{
	struct note note = {
		.code = e->code, .subcode = e->subcode, .data = e->data, .data_len = e->data_len};

	peer_fault_message(c->peer, e, msg, len);
	connection_event(c, EV_BAD_MESSAGE, &note);
}

/* RFC 8538 3.1: unwraps the NOTIFICATION inside a Hard Reset. False: not a Hard Reset, or empty. */
static bool
hard_reset_unwrap(struct bgp_notification *n)
{
	if (n->code != ERR_CEASE || n->subcode != CEASE_HARD_RESET || n->data_len < 2)
		return false;
	n->code = n->data[0];
	n->subcode = n->data[1];
	n->data += 2;
	n->data_len = (uint16_t)(n->data_len - 2);
	return true;
}

/* RFC 9003: records the shutdown message of the peer. */
static void
notification_received(struct connection *c, const uint8_t *msg, size_t len) RUNS_ON(role_session)
{
	struct peer *p = c->peer;
	struct bgp_notification n;
	struct bgp_error e = bgp_notification_decode(msg, len, &n);
	char text[340] = ""; /* RFC 9003 2: up to 255 octets, escaped; fits last_error */
	bool hard;

	monitor_notification(c, false, msg, len);
	if (e.severity != BGP_OK) { /* RFC 4271 6.4: an invalid NOTIFICATION is not answered */
		peer_fault_message(p, &e, msg, len);
		peer_error(p, "received a malformed notification");
		if (p->up == c)
			peer_cause(p, "received", "malformed-notification");
		connection_event(c, EV_NOTIFICATION, NULL);
		return;
	}
	c->hard_reset = n.code == ERR_CEASE && n.subcode == CEASE_HARD_RESET;
	hard = hard_reset_unwrap(&n);
	if (p->up == c)
		peer_cause(p, "received", bgp_notification_text(n.code, n.subcode));
	if (n.code == ERR_CEASE &&
		(n.subcode == CEASE_ADMIN_SHUTDOWN || n.subcode == CEASE_ADMIN_RESET) &&
		n.data_len > 1 && n.data[0] < n.data_len)
		log_escape((const char *)n.data + 1, n.data[0], text, sizeof(text));
	/* The session survives a collision: no error to record. */
	if (n.code != ERR_CEASE || n.subcode != CEASE_COLLISION || c->state == FSM_ESTABLISHED)
		peer_error(p, "received %s%s%s%s", hard ? "hard reset, " : "",
			bgp_notification_text(n.code, n.subcode), text[0] != '\0' ? ": " : "",
			text);
	/*
	 * After an administrative reset the peer expects the session back at once. A session
	 * shorter than a second still gets idle hold.
	 */
	c->peer->again_at_once = n.code == ERR_CEASE && n.subcode == CEASE_ADMIN_RESET &&
				 p->up == c && now_ns() - p->established_ns >= NS_PER_S;
	connection_event(c, EV_NOTIFICATION, NULL);
	c->peer->again_at_once = false;
}

/*
 * RFC 7313 4: BoRR is ignored before the End-of-RIB of a peer that sends End-of-RIB, here and in
 * the shard.
 */
static bool
borr_is_early(const struct peer *p, enum family f)
{
	return p->up_record.end_of_rib & 1u << f && !p->family[f].end_of_rib_received;
}

/* False: no batch. */
static bool
refresh_message(struct connection *c, const uint8_t *msg, size_t len) RUNS_ON(role_session)
{
	struct peer *p = c->peer;
	struct speaker *s = p->speaker;
	struct bgp_refresh r;
	struct bgp_error e;
	enum family f;

	if (!p->config.capabilities.route_refresh) { /* unknown message type in this session */
		e = (struct bgp_error){
			.severity = SESSION_RESET, .code = ERR_HEADER, .subcode = HEADER_BAD_TYPE};
		e.data = msg + BGP_HEADER_LEN - 1;
		e.data_len = 1;
		message_refuse(c, &e, msg, len);
		return true;
	}
	e = bgp_refresh_decode(msg, len, c->n.enhanced_route_refresh, &r);
	if (e.severity == SESSION_RESET) {
		message_refuse(c, &e, msg, len);
		return true;
	}
	if (!r.ignore && r.subtype == REFRESH_REQUEST && r.afi == AFI_IPV4 &&
		r.safi == SAFI_RT_CONSTRAINT)
		rt_refresh(c);
	f = family_from_afi_safi(r.afi, r.safi);
	/* RFC 2918 4: ignored for a family that was not negotiated. */
	if (!r.ignore && f != FAMILY_COUNT && (c->n.families & 1u << f)) {
		if (r.subtype == REFRESH_BEGIN &&
			!(input_settle(s) && record_put(s, p, RIB_BEGIN_REFRESH, f, NULL, 0)))
			return false;
		if (r.subtype == REFRESH_END &&
			!(input_settle(s) && record_put(s, p, RIB_END_REFRESH, f, NULL, 0)))
			return false;
		if (r.subtype == REFRESH_REQUEST)
			refresh_received(&p->family[f]);
		else if (r.subtype == REFRESH_BEGIN && borr_is_early(p, f))
			p->family[f].borr_received++;
		else if (r.subtype == REFRESH_BEGIN)
			refresh_begun(&p->family[f]);
		else
			refresh_ended(&p->family[f]);
	}
	connection_event(c, EV_UPDATE, NULL);
	return true;
}

/*
 * Handles a message with a valid header. False: the message waits for a batch or for the end of a
 * collision.
 */
static bool
message_received(struct connection *c, uint8_t type, const uint8_t *msg, size_t len, uint64_t now)
	RUNS_ON(role_session)
{
	switch (type) {
	case BGP_OPEN:
		return connection_open_received(c, msg, len);
	case BGP_NOTIFICATION:
		notification_received(c, msg, len);
		return true;
	case BGP_KEEPALIVE:
		connection_event(c, EV_KEEPALIVE, NULL);
		return true;
	case BGP_UPDATE:
	case BGP_ROUTE_REFRESH:
	default:
		break;
	}
	if (c->state != FSM_ESTABLISHED) {
		connection_event(c, EV_UPDATE, NULL); /* fsm_step() determines the error */
		return true;
	}
	return type == BGP_UPDATE ? update_received(c, msg, len, now)
				  : refresh_message(c, msg, len);
}

static void
connection_lost(struct connection *c) RUNS_ON(role_session)
{
	struct peer *p = c->peer;

	if (c->error != 0)
		peer_error(p, "connection lost: %s", strerrordesc_np(c->error));
	else if (c->state >= FSM_OPEN_CONFIRM || p->last_error[0] == '\0')
		peer_error(p, "connection closed by the peer");
	if (p->up == c)
		peer_cause(p, "lost", c->error != 0 ? "connection-lost" : "connection-closed");
	connection_event(c, EV_TCP_FAIL, NULL);
}

bool
connection_input(struct connection *c, uint64_t now, uint64_t deadline_ns)
{
	bool more = true;
	size_t octets = 0;

	burst_refill(c->peer, now);
	while (c->watch.fd >= 0 && !c->connecting) {
		const uint8_t *msg = c->rx + c->rx_head;
		bool large = c->n.extended_message && c->state >= FSM_OPEN_CONFIRM;
		struct bgp_error e;
		uint8_t type;
		uint16_t len;

		if (c->rx_tail - c->rx_head < BGP_HEADER_LEN) {
			more = false;
			break;
		}
		e = bgp_header_decode(msg, large ? BGP_EXTENDED_MSG_MAX : BGP_MSG_MAX, &type, &len);
		if (e.severity != BGP_OK) {
			c->peer->messages_received++;
			message_refuse(c, &e, msg, BGP_HEADER_LEN);
			return false;
		}
		if (c->rx_tail - c->rx_head < len) {
			more = false;
			break;
		}
		if (__builtin_expect(c->peer->speaker->tap != NULL, 0) && !c->waiting)
			trace_received(c, msg, len);
		if (__builtin_expect(c->peer->speaker->record_count != 0, 0) && !c->waiting)
			mrt_received(c, msg, len);
		c->waiting = !message_received(c, type, msg, len, now);
		if (c->waiting) {
			more = false;
			break;
		}
		c->peer->messages_received++;
		if (c->watch.fd < 0 || c->connecting) /* closed, or connecting again */
			return false;
		c->rx_head += len;
		c->peer->share.octets += len;
		octets += len;
		if (share_is_used(c->peer))
			break;
		if (octets < CLOCK_OCTETS)
			continue;
		octets = 0;
		if (now_ns() >= deadline_ns)
			break;
	}
	if (c->watch.fd < 0 || c->connecting)
		return false;
	connection_handled(c);
	c->peer->drained |= !more && !c->waiting;
	if (c->peer->speaker->shards.count == 1 && run_mixed(c->peer->speaker, now))
		input_push(c->peer->speaker);
	if (c->ended && !more && !c->waiting) {
		connection_lost(c);
		return false;
	}
	connection_interest(c);
	return more;
}
