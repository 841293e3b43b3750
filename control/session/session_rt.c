/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memberships of route targets (RFC 4684, family `rt-constraint`). Memberships are kept by session, not in the RIB:
 *
 *  - received: the VPN families of the peer begin at the End-of-RIB of the memberships, or after RT_WAIT_NS (RFC 4684 6), or, because GoBGP sends no
 *    End-of-RIB, RT_QUIET_NS after the last membership. The memberships become a filter of
 *    the export rules. Changes are gathered for RT_GATHER_NS; the update group then sends the differences.
 *  - sent: the targets of our instances, with our AS number and next hop. A reflector also sends to a client the memberships of all internal peers, and to all
 *    other internal peers those of its clients: the memberships travel where routes travel (RFC 4456 6), in the reverse direction. Where routes pass on to a
 *    peer whose memberships are not known, or between autonomous systems, we send the default membership, which asks for all routes.
 *
 * While a peer restarts gracefully (RFC 4724 4.2), the memberships of the ended session count for all other peers, so that these do not withdraw
 * routes that the peer still uses: until the memberships of the new session are complete, or until no VPN family of the peer is retained any more.
 *
 * RFC 4684 3.2, not done: the memberships of external peers are not propagated, so no AS path is needed to find loops. A membership of our own AS number from
 * an external peer is ignored.
 */
#include "control/session/session_impl.h"

#include "control/base/log.h"
#include "lpm/base/hash.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define RT_WAIT_NS (60 * NS_PER_S)
#define RT_QUIET_NS (3 * NS_PER_S)
#define RT_GATHER_NS 100000000u
#define RT_RECEIVED_MAX 16384u
#define RT_MESSAGE 256u /* memberships of one message, of 13 octets at most */
#define RT_SLICE 16384u /* targets that a step reads at most: 0.1 ms */
#define RT_STEPS 4u /* of a peer in a turn */

/* ---- targets: each membership of any peer once, with counts ---- */

#define TARGET_NONE UINT32_MAX
#define TARGET_DEFAULT 0u /* the default membership; its id is never free */

static uint32_t *
target_bucket(const struct rt_targets *t, const struct rt_want *w)
{
	return &t->bucket[hash_words(w->target, w->origin, w->bits) & (t->size - 1)];
}

/* Twice the room, with the hash table of this size. 0, -ENOMEM. */
static int
targets_grow(struct speaker *s)
{
	struct rt_targets *t = &s->rt.targets;
	uint32_t size = t->size > 0 ? 2 * t->size : 64;
	struct rt_target *at = arena_realloc(s->config.arena, t->at, size * sizeof(*at));
	uint32_t *bucket;

	if (at == NULL)
		return -ENOMEM;
	t->at = at;
	bucket = arena_realloc(s->config.arena, t->bucket, size * sizeof(*bucket));
	if (bucket == NULL)
		return -ENOMEM;
	t->bucket = bucket;
	t->size = size;
	if (t->count == 0)
		t->at[t->count++] = (struct rt_target){.used = true}; /* TARGET_DEFAULT */
	memset(bucket, 0xff, size * sizeof(*bucket));
	t->free = TARGET_NONE;
	for (uint32_t id = t->count; id-- > 0;) {
		uint32_t *head = at[id].used ? target_bucket(t, &at[id].want) : &t->free;

		at[id].next = *head;
		*head = id;
	}
	return 0;
}

static uint32_t
target_find(const struct rt_targets *t, const struct rt_want *w)
{
	uint32_t id = t->size > 0 ? *target_bucket(t, w) : TARGET_NONE;

	while (id != TARGET_NONE && rt_want_compare(&t->at[id].want, w) != 0)
		id = t->at[id].next;
	return id;
}

/* The id of a membership, which is new if necessary. TARGET_NONE: no memory. */
static uint32_t
target_get(struct speaker *s, const struct rt_want *w)
{
	struct rt_targets *t = &s->rt.targets;
	uint32_t id, *head;

	if (t->size == 0 && targets_grow(s) < 0)
		return TARGET_NONE;
	id = target_find(t, w);
	if (id != TARGET_NONE)
		return id;
	if (t->free == TARGET_NONE && t->count == t->size && targets_grow(s) < 0)
		return TARGET_NONE;
	if (t->free != TARGET_NONE) {
		id = t->free;
		t->free = t->at[id].next;
	} else {
		id = t->count++;
	}
	head = target_bucket(t, w);
	t->at[id] = (struct rt_target){.want = *w, .next = *head, .used = true};
	*head = id;
	return id;
}

/* A count has become zero. */
static void
target_put(struct speaker *s, uint32_t id)
{
	struct rt_targets *t = &s->rt.targets;
	struct rt_target *e = &t->at[id];
	uint32_t *at = target_bucket(t, &e->want);

	if (id == TARGET_DEFAULT || !e->used || e->own || e->lists > 0 || e->sent > 0)
		return;
	while (*at != id)
		at = &t->at[*at].next;
	*at = e->next;
	e->used = false;
	e->next = t->free;
	t->free = id;
}

/* ---- lists: ids in ascending order ---- */

static unsigned
list_find(const struct rt_list *l, uint32_t id)
{
	unsigned low = 0, high = l->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (l->at[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Counts a membership of an internal peer, which may travel. */
static void
target_count(const struct peer *p, uint32_t id, int by)
{
	struct rt_target *e = &p->speaker->rt.targets.at[id];

	e->lists += (uint32_t)by;
	if (!p->rt.external)
		*(p->rt.client ? &e->clients : &e->others) += (uint32_t)by;
}

/* 0, -ENOMEM. */
static int
list_add(struct peer *p, struct rt_list *l, uint32_t id)
{
	unsigned at = list_find(l, id);

	if (at < l->count && l->at[at] == id)
		return 0;
	if (l->count == l->size) {
		unsigned size = l->size > 0 ? 2 * l->size : 16;
		uint32_t *grown =
			arena_realloc(p->speaker->config.arena, l->at, size * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		l->at = grown;
		l->size = size;
	}
	memmove(&l->at[at + 1], &l->at[at], (l->count - at) * sizeof(*l->at));
	l->at[at] = id;
	l->count++;
	target_count(p, id, 1);
	return 0;
}

static void
list_remove(struct peer *p, struct rt_list *l, uint32_t id)
{
	unsigned at = list_find(l, id);

	if (at == l->count || l->at[at] != id)
		return;
	l->count--;
	memmove(&l->at[at], &l->at[at + 1], (l->count - at) * sizeof(*l->at));
	target_count(p, id, -1);
	target_put(p->speaker, id);
}

static void
list_free(struct peer *p, struct rt_list *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		target_count(p, l->at[i], -1);
		target_put(p->speaker, l->at[i]);
	}
	arena_free(p->speaker->config.arena, l->at);
	*l = (struct rt_list){0};
}

/* ---- kept over a restart of the peer ---- */

static void
kept_forget(struct peer *p)
{
	list_free(p, &p->rt.kept);
	p->rt.asks_all = false;
	p->speaker->rt.dirty |= ring_remove(&p->rt.keeper);
}

void
rt_keep(const struct connection *c, uint8_t retain)
{
	struct peer *p = c->peer;
	struct peer_rt *rt = &p->rt;

	if (!(retain & VPN_FAMILIES)) {
		kept_forget(p);
		return;
	}
	if (rt->keeper.next == NULL)
		ring_insert(&p->speaker->rt.keepers, &rt->keeper);
	rt->asks_all |= p->config.external || !c->n.rt_constraint || rt->all;
	/* sessions that end before End-of-RIB add to the list: the bound is that of one session */
	for (unsigned i = 0; i < rt->received.count && !rt->asks_all; i++)
		rt->asks_all = rt->kept.count >= RT_RECEIVED_MAX ||
			       list_add(p, &rt->kept, rt->received.at[i]) < 0;
	if (rt->asks_all)
		list_free(p, &rt->kept);
}

void
rt_retained(struct peer *p)
{
	bool any = p->up != NULL;

	for (enum family f = 0; f < FAMILY_COUNT; f++)
		any |= (VPN_FAMILIES >> f & 1) && p->family[f].retained;
	if (!any)
		kept_forget(p);
}

/* ---- received ---- */

static int
want_order(const void *a, const void *b)
{
	return rt_want_compare(a, b);
}

/* The memberships of the peer, sorted; NULL: no memory. */
static struct rt_want *
wants_of(const struct peer *p)
{
	const struct rt_list *l = &p->rt.received;
	struct rt_want *out = arena_alloc(p->speaker->config.arena, (l->count + 1) * sizeof(*out));

	for (unsigned i = 0; out != NULL && i < l->count; i++)
		out[i] = p->speaker->rt.targets.at[l->at[i]].want;
	if (out != NULL)
		qsort(out, l->count, sizeof(*out), want_order);
	return out;
}

/* False: no memory. *changed: the rules have another filter. */
static bool
filter_update(struct peer *p, bool *changed)
{
	static const struct rt_want everything = {0};
	struct speaker *s = p->speaker;
	struct rt_want *wants = p->rt.all ? NULL : wants_of(p);
	struct rt_filter *f = NULL;

	if (p->rt.all)
		f = rt_filter_get(s->config.arena, &s->rt.filters, &everything, 1);
	else if (wants != NULL)
		f = rt_filter_get(s->config.arena, &s->rt.filters, wants, p->rt.received.count);
	arena_free(s->config.arena, wants);
	if (f == NULL)
		return false;
	*changed = f != p->rt.filter;
	if (p->rt.filter != NULL)
		p->rt.filter->refs--;
	p->rt.filter = f;
	return true;
}

static void
filter_apply(struct peer *p) RUNS_ON(role_session)
{
	bool changed;

	if (!filter_update(p, &changed))
		timer_arm(p->speaker->thread, &p->rt.wait, NS_PER_S);
	else if (changed)
		export_rules(p);
}

/* The memberships are complete, or awaited no more: the VPN families begin. */
static void
wait_end(struct peer *p) RUNS_ON(role_session)
{
	struct note note = {.code = ERR_CEASE, .subcode = CEASE_OUT_OF_RESOURCES};
	bool changed;

	timer_cancel(p->speaker->thread, &p->rt.wait);
	kept_forget(p);
	p->rt.ended = true;
	p->speaker->rt.dirty = true;
	if (!filter_update(p, &changed) || export_up_vpn(p) < 0) {
		connection_event(p->up, EV_BAD_MESSAGE, &note);
		return;
	}
	peer_export_due(p);
}

static void
wait_fire(struct timer *t) RUNS_ON(role_session)
{
	struct peer *p = container_of(t, struct peer, rt.wait);

	if (p->rt.ended) {
		p->speaker->rt.dirty = true;
		filter_apply(p);
		return;
	}
	if (p->rt.received.count == 0)
		log_event(LOG_WARNING, "memberships-late peer=%s vrf=%s", p->config.addr_text,
			p->vrf_name);
	wait_end(p);
}

static void
membership(struct peer *p, const struct rt_nlri *n, bool present)
{
	struct rt_want w = {.target = n->target, .origin = n->origin, .bits = n->bits};
	uint32_t id;

	/* RFC 4271 9.1.2: a loop */
	if (p->config.external && present && n->bits > 0 && n->origin == p->speaker->config.asn)
		return;
	if (!present) {
		id = target_find(&p->speaker->rt.targets, &w);
		if (id != TARGET_NONE)
			list_remove(p, &p->rt.received, id);
		return;
	}
	id = p->rt.received.count < RT_RECEIVED_MAX ? target_get(p->speaker, &w) : TARGET_NONE;
	if (id != TARGET_NONE && list_add(p, &p->rt.received, id) == 0)
		return;
	if (id != TARGET_NONE)
		target_put(p->speaker, id);
	if (!p->rt.all)
		log_event(LOG_WARNING, "memberships-too-many peer=%s vrf=%s action=all-routes",
			p->config.addr_text, p->vrf_name);
	p->speaker->rt.dirty |= !p->rt.all;
	p->rt.all = true; /* until the session ends */
}

void
rt_received(struct connection *c, const struct bgp_update *u)
{
	bool refused = u->error.severity >= TREAT_AS_WITHDRAW, any = false;
	struct rd withdrawn = u->rt_withdrawn, announced = u->rt_announced;
	struct peer *p = c->peer;
	struct rt_nlri n;

	if (!c->n.rt_constraint || p->up != c || !(c->n.families & VPN_FAMILIES))
		return;
	for (; rt_nlri_read(&withdrawn, &n); any = true)
		membership(p, &n, false);
	for (; rt_nlri_read(&announced, &n); any = true)
		membership(p, &n, !refused);
	if (any && !p->rt.ended)
		timer_arm(p->speaker->thread, &p->rt.wait, RT_QUIET_NS);
	if (any && p->rt.ended)
		timer_arm_sooner(p->speaker->thread, &p->rt.wait, RT_GATHER_NS);
	if (u->rt_end_of_rib && !p->rt.ended)
		wait_end(p);
}

/* ---- sent ---- */

/* Peers with VPN families, and keepers. */
static void
census_add(struct rt_census *n, const struct peer *p)
{
	const struct connection *c = p->up;
	bool client = p->config.route_reflector_client;

	if (c != NULL && (c->n.families & VPN_FAMILIES)) {
		n->all++;
		n->external += p->config.external;
		n->asks_all[client] += !p->config.external && (!c->n.rt_constraint || p->rt.all);
	}
	if (p->rt.keeper.next != NULL) {
		n->all++;
		n->external += p->config.external;
		n->asks_all[client] += !p->config.external && p->rt.asks_all;
	}
}

/*
 * True if `p` gets the default membership: VPN routes pass to another peer whose memberships are not
 * known, or between autonomous systems.
 */
static bool
wants_default(const struct peer *p)
{
	const struct rt_census *n = &p->speaker->rt.census;
	struct rt_census own = {0};

	census_add(&own, p);
	if (p->config.external)
		return n->all > own.all;
	return n->external > own.external || n->asks_all[true] > own.asks_all[true] ||
	       (p->config.route_reflector_client && n->asks_all[false] > own.asks_all[false]);
}

/*
 * True if `p` gets the membership: one of our instances has it, or an internal peer whose VPN routes pass on
 * to `p`, or from `p`. `own`: the number of lists of `p` with the membership.
 */
static bool
wanted(const struct peer *p, uint32_t id, unsigned own)
{
	const struct rt_target *e = &p->speaker->rt.targets.at[id];
	uint32_t count = 0;

	if (e->own || (id == TARGET_DEFAULT && p->rt.wants_default))
		return true;
	if (!p->rt.external)
		count = p->rt.client ? e->clients + e->others - own : e->clients;
	return count > 0;
}

static bool
is_sent(const struct peer *p, uint32_t id)
{
	return id / 64 < p->rt.sent_words && (p->rt.sent[id / 64] >> id % 64 & 1) != 0;
}

/* 0, -ENOMEM. */
static int
sent_set(struct peer *p, uint32_t id, bool sent)
{
	struct rt_target *e = &p->speaker->rt.targets.at[id];
	uint32_t words = p->rt.sent_words;

	if (is_sent(p, id) == sent)
		return 0;
	if (id / 64 >= words) {
		uint32_t more = (p->speaker->rt.targets.size + 63) / 64;
		uint64_t *grown =
			arena_realloc(p->speaker->config.arena, p->rt.sent, more * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		memset(grown + words, 0, (more - words) * sizeof(*grown));
		p->rt.sent = grown;
		p->rt.sent_words = more;
	}
	p->rt.sent[id / 64] ^= UINT64_C(1) << id % 64;
	if (sent)
		e->sent++;
	else if (--e->sent == 0)
		target_put(p->speaker, id);
	return 0;
}

/* The number of lists of `p` with `id`; *r and *k advance with ascending ids. */
static unsigned
own_lists(const struct peer *p, uint32_t id, unsigned *r, unsigned *k)
{
	const struct rt_list *received = &p->rt.received, *kept = &p->rt.kept;

	while (*r < received->count && received->at[*r] < id)
		++*r;
	while (*k < kept->count && kept->at[*k] < id)
		++*k;
	return (*r < received->count && received->at[*r] == id) +
	       (*k < kept->count && kept->at[*k] == id);
}

/*
 * Up to RT_MESSAGE ids to announce, or to withdraw, from p->rt.next on, which advances. Reads at most
 * RT_SLICE ids.
 */
static unsigned
gather(struct peer *p, uint32_t *out)
{
	const struct rt_targets *t = &p->speaker->rt.targets;
	uint32_t end = t->count - p->rt.next > RT_SLICE ? p->rt.next + RT_SLICE : t->count;
	unsigned r = list_find(&p->rt.received, p->rt.next), k = list_find(&p->rt.kept, p->rt.next),
		 n = 0;

	for (; p->rt.next < end && n < RT_MESSAGE; p->rt.next++) {
		uint32_t id = p->rt.next;
		bool sent, want;

		if (!t->at[id].used)
			continue;
		sent = is_sent(p, id);
		want = wanted(p, id, own_lists(p, id, &r, &k));
		if (p->rt.withdraws ? sent && !want : want && (!sent || p->rt.resends))
			out[n++] = id;
	}
	return n;
}

static void
path_write(const struct connection *c, struct wr *w)
{
	const struct peer *p = c->peer;
	uint32_t asn[2] = {peer_local_as(p), p->speaker->config.asn};
	unsigned count = !p->config.external ? 0 : asn[0] == asn[1] ? 1 : 2;
	unsigned width = c->n.as4 ? 4 : 2;

	wr_u16(w, 0x4001); /* ORIGIN: IGP */
	wr_u16(w, 0x0100);
	wr_u16(w, 0x4002);
	wr_u8(w, (uint8_t)(count > 0 ? 2 + count * width : 0));
	if (count > 0)
		wr_u16(w, (uint16_t)(2u << 8 | count));
	for (unsigned i = 0; i < count; i++) {
		if (width == 4)
			wr_u32(w, asn[i]);
		else
			wr_u16(w, (uint16_t)(asn[i] > UINT16_MAX ? AS_TRANS : asn[i]));
	}
	if (!p->config.external) { /* LOCAL_PREF 100 */
		wr_u16(w, 0x4005);
		wr_u8(w, 4);
		wr_u32(w, 100);
	}
}

/* RFC 4724 2 */
static size_t
end_of_rib_write(uint8_t *buf)
{
	struct wr w = wr_init(buf, BGP_MSG_MAX);

	for (unsigned i = 0; i < 16; i++)
		wr_u8(&w, 0xff);
	wr_u16(&w, 29);
	wr_u8(&w, BGP_UPDATE);
	wr_u32(&w, 6);
	wr_u16(&w, 0x800f); /* MP_UNREACH_NLRI without prefixes */
	wr_u8(&w, 3);
	wr_u16(&w, AFI_IPV4);
	wr_u8(&w, SAFI_RT_CONSTRAINT);
	return wr_len(&w);
}

/* An UPDATE with MP_REACH_NLRI or MP_UNREACH_NLRI. Returns the length. */
static size_t
update_write(const struct connection *c, const struct rt_want *want, unsigned count, bool withdraw,
	uint8_t *buf)
{
	const struct ip_addr *hop = c->local.v4.afi == AFI_IPV4 ? &c->local.v4 : &c->local.v6;
	unsigned hop_len = hop->afi == AFI_IPV4 ? 4 : 16;
	struct wr w = wr_init(buf, BGP_MSG_MAX);
	size_t value, end;

	for (unsigned i = 0; i < 16; i++)
		wr_u8(&w, 0xff);
	wr_u16(&w, 0);
	wr_u8(&w, BGP_UPDATE);
	wr_u32(&w, 0); /* no withdrawn routes; the length of the attributes */
	/* optional, extended length; MP_UNREACH_NLRI is 15, MP_REACH_NLRI 14 (RFC 4760) */
	wr_u16(&w, withdraw ? 0x900f : 0x900e);
	wr_u16(&w, 0);
	value = wr_len(&w);
	wr_u16(&w, AFI_IPV4);
	wr_u8(&w, SAFI_RT_CONSTRAINT);
	if (!withdraw) {
		wr_u8(&w, (uint8_t)hop_len);
		wr_bytes(&w, hop->b, hop_len);
		wr_u8(&w, 0);
	}
	for (unsigned i = 0; i < count; i++)
		rt_nlri_write(&w, &(struct rt_nlri){want[i].origin, want[i].target, want[i].bits});
	end = wr_len(&w);
	buf[value - 2] = (uint8_t)((end - value) >> 8);
	buf[value - 1] = (uint8_t)(end - value);
	if (!withdraw)
		path_write(c, &w);
	end = wr_len(&w);
	buf[16] = (uint8_t)(end >> 8);
	buf[17] = (uint8_t)end;
	buf[21] = (uint8_t)((end - 23) >> 8);
	buf[22] = (uint8_t)(end - 23);
	return end;
}

/*
 * The end of a pass over all targets. New memberships come first, so that no route is lost when a membership takes the
 * place of another one; then End-of-RIB, once; then withdrawals. False: nothing is left.
 */
static bool
pass_end(struct peer *p)
{
	p->rt.next = 0;
	p->rt.withdraws = !p->rt.withdraws;
	if (p->rt.withdraws)
		return true;
	p->rt.resends = false;
	p->rt.due = p->rt.again;
	p->rt.again = false;
	return p->rt.due;
}

static void
pass_begin(struct peer *p)
{
	p->rt.wants_default = wants_default(p);
	p->rt.resends |= p->rt.refresh;
	p->rt.end_sent &= !p->rt.refresh;
	p->rt.refresh = false;
}

/* One message, or one slice without a message. False: no room, or nothing is left. */
static bool
send_step(struct peer *p) RUNS_ON(role_session)
{
	const struct rt_targets *t = &p->speaker->rt.targets;
	struct connection *c = p->up;
	struct rt_want some[RT_MESSAGE];
	uint32_t id[RT_MESSAGE];
	unsigned n = 0, done = 0;
	size_t room;
	uint8_t *tail = connection_tail(c, BGP_MSG_MAX, &room);

	if (tail == NULL)
		return false;
	if (t->size == 0 && targets_grow(p->speaker) < 0)
		return false;
	if (p->rt.next == 0 && !p->rt.withdraws)
		pass_begin(p);
	n = gather(p, id);
	for (unsigned i = 0; i < n; i++) {
		some[i] = t->at[id[i]].want;
		if (sent_set(p, id[i], !p->rt.withdraws) < 0) {
			p->rt.next = id[i]; /* again later */
			break;
		}
		done++;
	}
	if (done > 0) {
		connection_wrote(c, update_write(c, some, done, p->rt.withdraws, tail), 1);
		p->updates_sent++;
		return done == n;
	}
	if (n > 0)
		return false;
	if (p->rt.next < t->count)
		return true;
	if (!p->rt.withdraws && !p->rt.end_sent) {
		p->rt.end_sent = true;
		connection_wrote(c, end_of_rib_write(tail), 1);
		p->updates_sent++;
	}
	return pass_end(p);
}

void
rt_send(struct peer *p)
{
	/* while we restart nothing else is exported, and nothing waits */
	unsigned steps = p->speaker->restarting ? UINT_MAX : RT_STEPS;

	if (p->up == NULL || !p->up->n.rt_constraint)
		return;
	while (p->rt.due && steps-- > 0 && send_step(p))
		;
	p->export_more |= p->rt.due; /* again when the output drains */
	connection_flush(p->up);
}

/* A pass over all targets, or after the one that runs another. */
static void
pass_ask(struct peer *p) RUNS_ON(role_session)
{
	p->rt.again |= p->rt.due && (p->rt.next > 0 || p->rt.withdraws);
	p->rt.due = true;
	peer_export_due(p);
}

void
rt_work(struct speaker *s)
{
	struct peer *p;

	if (s->rt.dirty) {
		s->rt.census = (struct rt_census){0};
		RING_EACH(p, &s->established, established)
		census_add(&s->rt.census, p);
		RING_EACH(p, &s->rt.keepers, rt.keeper)
		{
			if (p->established.next == NULL)
				census_add(&s->rt.census, p);
		}
		RING_EACH(p, &s->established, established)
		{
			if (p->up != NULL && p->up->n.rt_constraint)
				pass_ask(p);
		}
	}
	s->rt.dirty = false;
	/* Exports wait until all peers have sent their tables. VPN tables wait for our memberships. */
	if (s->restarting)
		RING_EACH(p, &s->established, established)
		{
			if (p->rt.due)
				rt_send(p);
		}
}

void
rt_refresh(struct connection *c)
{
	struct peer *p = c->peer;

	if (!c->n.rt_constraint)
		return;
	p->rt.refresh = true;
	pass_ask(p);
}

int
speaker_targets(struct speaker *s, const uint64_t *target, unsigned count)
{
	uint32_t *own = arena_alloc(s->config.arena, (count + 1) * sizeof(*own));
	unsigned n = 0;

	while (own != NULL && n < count &&
		(own[n] = target_get(s, &(struct rt_want){.target = target[n],
						.origin = s->config.asn,
						.bits = 64})) != TARGET_NONE)
		n++;
	if (own == NULL || n < count) {
		while (n > 0)
			target_put(s, own[--n]);
		arena_free(s->config.arena, own);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < s->rt.own_count; i++)
		s->rt.targets.at[s->rt.own[i]].own = false;
	for (unsigned i = 0; i < count; i++)
		s->rt.targets.at[own[i]].own = true;
	for (unsigned i = 0; i < s->rt.own_count; i++)
		if (s->rt.targets.at[s->rt.own[i]].used)
			target_put(s, s->rt.own[i]);
	arena_free(s->config.arena, s->rt.own);
	s->rt.own = own;
	s->rt.own_count = count;
	s->rt.dirty = true;
	return 0;
}

/* ---- sessions ---- */

void
rt_init(struct peer *p)
{
	p->rt.wait.fire = wait_fire;
}

/* The memberships that are kept are those of the class that the peer has now. */
static void
class_set(struct peer *p)
{
	bool client = p->config.route_reflector_client, external = p->config.external;

	if (client == p->rt.client && external == p->rt.external)
		return;
	for (unsigned i = 0; i < p->rt.kept.count; i++)
		target_count(p, p->rt.kept.at[i], -1);
	p->rt.client = client;
	p->rt.external = external;
	for (unsigned i = 0; i < p->rt.kept.count; i++)
		target_count(p, p->rt.kept.at[i], 1);
}

void
rt_up(struct peer *p)
{
	p->speaker->rt.dirty |= (p->up->n.families & VPN_FAMILIES) != 0;
	class_set(p);
	if (p->up->n.rt_constraint)
		timer_arm(p->speaker->thread, &p->rt.wait, RT_WAIT_NS);
	else
		kept_forget(p);
}

/* The memberships of the session that ends. */
static void
session_free(struct peer *p)
{
	struct rt_targets *t = &p->speaker->rt.targets;

	list_free(p, &p->rt.received);
	for (uint32_t i = 0; i < p->rt.sent_words; i++)
		for (uint64_t word = p->rt.sent[i]; word != 0; word &= word - 1) {
			uint32_t id = i * 64 + (uint32_t)__builtin_ctzll(word);

			if (--t->at[id].sent == 0)
				target_put(p->speaker, id);
		}
	arena_free(p->speaker->config.arena, p->rt.sent);
	p->rt.sent = NULL;
	p->rt.sent_words = 0;
	if (p->rt.filter != NULL)
		p->rt.filter->refs--;
	p->rt.filter = NULL;
}

void
rt_down(struct peer *p)
{
	timer_cancel(p->speaker->thread, &p->rt.wait);
	session_free(p);
	p->rt.all = p->rt.ended = p->rt.end_sent = p->rt.due = false;
	p->rt.again = p->rt.refresh = p->rt.resends = p->rt.withdraws = false;
	p->rt.next = 0;
	p->speaker->rt.dirty = true;
}

void
rt_free(struct peer *p)
{
	kept_forget(p);
	session_free(p);
}

void
rt_sweep(struct speaker *s)
{
	bool unused = false;

	for (struct rt_filter *f = s->rt.filters; f != NULL; f = f->next) {
		f->marked = false;
		unused |= f->refs == 0;
	}
	if (!unused)
		return;
	if (s->groups != NULL)
		update_groups_filters(s->groups);
	for (struct rt_filter **at = &s->rt.filters, *f; (f = *at) != NULL;) {
		if (f->refs > 0 || f->marked) {
			at = &f->next;
			continue;
		}
		*at = f->next;
		arena_free(s->config.arena, f);
	}
}

void
rt_fini(struct speaker *s)
{
	for (struct rt_filter *f = s->rt.filters, *next; f != NULL; f = next) {
		next = f->next;
		arena_free(s->config.arena, f);
	}
	arena_free(s->config.arena, s->rt.own);
	arena_free(s->config.arena, s->rt.targets.at);
	arena_free(s->config.arena, s->rt.targets.bucket);
}
