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

#include <errno.h>
#include <string.h>

#define RT_WAIT_NS (60 * NS_PER_S)
#define RT_QUIET_NS (3 * NS_PER_S)
#define RT_GATHER_NS 100000000u
#define RT_RECEIVED_MAX 16384u
#define RT_MESSAGE 256u /* memberships of one message, of 13 octets at most */

/* ---- lists ---- */

static void
list_free(struct speaker *s, struct rt_list *l)
{
	arena_free(s->config.arena, l->at);
	*l = (struct rt_list){0};
}

/* The place of `w`, or the place to insert it. */
static unsigned
list_find(const struct rt_list *l, const struct rt_want *w, bool *found)
{
	unsigned low = 0, high = l->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (rt_want_compare(&l->at[middle], w) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < l->count && rt_want_compare(&l->at[low], w) == 0;
	return low;
}

/* 0, -ENOMEM. */
static int
list_add(struct speaker *s, struct rt_list *l, const struct rt_want *w)
{
	bool found;
	unsigned at = list_find(l, w, &found);

	if (found)
		return 0;
	if (l->count == l->size) {
		unsigned size = l->size > 0 ? 2 * l->size : 16;
		struct rt_want *grown =
			arena_realloc(s->config.arena, l->at, size * sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		l->at = grown;
		l->size = size;
	}
	memmove(&l->at[at + 1], &l->at[at], (l->count - at) * sizeof(*l->at));
	l->at[at] = *w;
	l->count++;
	return 0;
}

static void
list_remove(struct rt_list *l, const struct rt_want *w)
{
	bool found;
	unsigned at = list_find(l, w, &found);

	if (!found)
		return;
	l->count--;
	memmove(&l->at[at], &l->at[at + 1], (l->count - at) * sizeof(*l->at));
}

/* ---- kept over a restart of the peer ---- */

static void
kept_forget(struct peer *p)
{
	list_free(p->speaker, &p->rt.kept);
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
			       list_add(p->speaker, &rt->kept, &rt->received.at[i]) < 0;
	if (rt->asks_all)
		list_free(p->speaker, &rt->kept);
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

/* False: no memory. *changed: the rules have another filter. */
static bool
filter_update(struct peer *p, bool *changed)
{
	static const struct rt_want everything = {0};
	struct speaker *s = p->speaker;
	struct rt_filter *f =
		p->rt.all ? rt_filter_get(s->config.arena, &s->rt.filters, &everything, 1)
			  : rt_filter_get(s->config.arena, &s->rt.filters, p->rt.received.at,
				    p->rt.received.count);

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

	/* RFC 4271 9.1.2: a loop */
	if (p->config.external && present && n->bits > 0 && n->origin == p->speaker->config.asn)
		return;
	if (!present) {
		list_remove(&p->rt.received, &w);
		return;
	}
	if (p->rt.received.count < RT_RECEIVED_MAX &&
		list_add(p->speaker, &p->rt.received, &w) == 0)
		return;
	if (!p->rt.all)
		log_event(LOG_WARNING, "memberships-too-many peer=%s vrf=%s action=all-routes",
			p->config.addr_text, p->vrf_name);
	p->rt.all = true; /* until the session ends */
}

void
rt_received(struct connection *c, const struct bgp_update *u)
{
	bool refused = u->error.severity >= TREAT_AS_WITHDRAW, any = false;
	struct rd withdrawn = u->rt_withdrawn, announced = u->rt_announced;
	struct peer *p = c->peer;
	struct rt_nlri n;

	if (!c->n.rt_constraint || p->up != c)
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

/* True if VPN routes of one of two peers can be advertised to the other one. */
static bool
routes_pass(const struct peer *a, const struct peer *b)
{
	return a->config.external || b->config.external || a->config.route_reflector_client ||
	       b->config.route_reflector_client;
}

/* Adds the memberships `l` of `q`, or the default membership. 0, -ENOMEM. */
static int
wanted_by(const struct peer *p, const struct peer *q, const struct rt_list *l, bool all,
	struct rt_list *out)
{
	bool travel = !p->config.external && !q->config.external;
	int err = 0;

	if (!travel || all)
		err = list_add(p->speaker, out, &(struct rt_want){0});
	for (unsigned i = 0; travel && i < l->count && err == 0; i++)
		err = list_add(p->speaker, out, &l->at[i]);
	return err;
}

/* The memberships for `p`. 0, -ENOMEM. */
static int
wanted(struct peer *p, struct rt_list *out)
{
	struct speaker *s = p->speaker;
	struct peer *q;
	int err = 0;

	*out = (struct rt_list){0};
	for (unsigned i = 0; i < s->rt.own.count && err == 0; i++)
		err = list_add(s, out, &s->rt.own.at[i]);
	RING_EACH(q, &s->established, established)
	{
		if (q == p || q->up == NULL || !(q->up->n.families & VPN_FAMILIES) ||
			!routes_pass(p, q) || err != 0)
			continue;
		err = wanted_by(p, q, &q->rt.received, !q->up->n.rt_constraint || q->rt.all, out);
	}
	RING_EACH(q, &s->rt.keepers, rt.keeper)
	{
		if (q != p && routes_pass(p, q) && err == 0)
			err = wanted_by(p, q, &q->rt.kept, q->rt.asks_all, out);
	}
	return err;
}

/* Up to `max` memberships of `a` that `b` lacks. */
static unsigned
difference(const struct rt_list *a, const struct rt_list *b, struct rt_want *out, unsigned max)
{
	unsigned n = 0, at = 0;

	for (unsigned i = 0; i < a->count && n < max; i++) {
		while (at < b->count && rt_want_compare(&b->at[at], &a->at[i]) < 0)
			at++;
		if (at == b->count || rt_want_compare(&b->at[at], &a->at[i]) != 0)
			out[n++] = a->at[i];
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

/* One message: new memberships first, so that no route is lost when a membership takes the place of another one. False: no room, or nothing is left. */
static bool
send_step(struct peer *p, const struct rt_list *want) RUNS_ON(role_session)
{
	struct connection *c = p->up;
	struct rt_want some[RT_MESSAGE];
	bool withdraw = false;
	unsigned n =
		difference(want, p->rt.resends ? &p->rt.resent : &p->rt.sent, some, RT_MESSAGE);
	uint8_t *tail;
	size_t room;

	if (n == 0) {
		n = difference(&p->rt.sent, want, some, RT_MESSAGE);
		withdraw = true;
	}
	if (n == 0 && p->rt.end_sent) {
		list_free(p->speaker, &p->rt.resent);
		p->rt.due = p->rt.resends = false;
		return false;
	}
	tail = connection_tail(c, BGP_MSG_MAX, &room);
	if (tail == NULL)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (withdraw) {
			list_remove(&p->rt.sent, &some[i]);
			list_remove(&p->rt.resent, &some[i]);
		} else if (list_add(p->speaker, &p->rt.sent, &some[i]) < 0 ||
			   (p->rt.resends && list_add(p->speaker, &p->rt.resent, &some[i]) < 0)) {
			n = i; /* again later */
		}
	}
	if (n == 0 && !withdraw)
		return false;
	p->rt.end_sent |= n == 0; /* End-of-RIB */
	connection_wrote(
		c, n > 0 ? update_write(c, some, n, withdraw, tail) : end_of_rib_write(tail), 1);
	p->updates_sent++;
	return true;
}

void
rt_send(struct peer *p)
{
	struct rt_list want;

	if (p->up == NULL || !p->up->n.rt_constraint)
		return;
	if (wanted(p, &want) == 0)
		while (send_step(p, &want))
			;
	p->export_more |= p->rt.due; /* again when the output drains */
	list_free(p->speaker, &want);
	connection_flush(p->up);
}

void
rt_work(struct speaker *s)
{
	struct peer *p;

	if (s->rt.dirty)
		RING_EACH(p, &s->established, established)
		{
			if (p->up == NULL || !p->up->n.rt_constraint)
				continue;
			p->rt.due = true;
			peer_export_due(p);
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
	list_free(p->speaker, &p->rt.resent);
	p->rt.resends = p->rt.due = true;
	p->rt.end_sent = false;
	peer_export_due(p);
}

int
speaker_targets(struct speaker *s, const uint64_t *target, unsigned count)
{
	struct rt_list own = {0};
	int err = 0;

	for (unsigned i = 0; i < count && err == 0; i++)
		err = list_add(s, &own,
			&(struct rt_want){
				.target = target[i], .origin = s->config.asn, .bits = 64});
	if (err < 0) {
		list_free(s, &own);
		return err;
	}
	list_free(s, &s->rt.own);
	s->rt.own = own;
	s->rt.dirty = true;
	return 0;
}

/* ---- sessions ---- */

void
rt_init(struct peer *p)
{
	p->rt.wait.fire = wait_fire;
}

void
rt_up(struct peer *p)
{
	p->speaker->rt.dirty |= (p->up->n.families & VPN_FAMILIES) != 0;
	if (p->up->n.rt_constraint)
		timer_arm(p->speaker->thread, &p->rt.wait, RT_WAIT_NS);
	else
		kept_forget(p);
}

/* The memberships of the session that ends. */
static void
session_free(struct peer *p)
{
	list_free(p->speaker, &p->rt.received);
	list_free(p->speaker, &p->rt.sent);
	list_free(p->speaker, &p->rt.resent);
	if (p->rt.filter != NULL)
		p->rt.filter->refs--;
	p->rt.filter = NULL;
}

void
rt_down(struct peer *p)
{
	timer_cancel(p->speaker->thread, &p->rt.wait);
	session_free(p);
	p->rt.all = p->rt.ended = p->rt.end_sent = p->rt.due = p->rt.resends = false;
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
	list_free(s, &s->rt.own);
}
