/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/refresh.h"

void
refresh_pace_spent(struct refresh_pace *p, uint64_t now_ns, uint64_t spent_ns)
{
	uint64_t end;

	if (p->free_ns < now_ns - spent_ns)
		p->free_ns = now_ns - spent_ns;
	end = p->free_ns + REFRESH_SHARE * spent_ns;
	p->free_ns = end < now_ns + REFRESH_REST_MAX_NS ? end : now_ns + REFRESH_REST_MAX_NS;
}

static bool
begin_walk(struct refresh_serve *r, uint64_t now_ns)
{
	r->walking = true;
	r->first_sent = false;
	r->for_peer = r->pending_for_peer;
	if (r->for_peer)
		r->began_ns = now_ns;
	r->pending = r->pending_for_peer = r->pending_order = r->resting = false;
	r->served += r->for_peer;
	return true;
}

/* Begins the due walk now, or defers the walk to the end of the rest. */
static bool
begin_walk_paced(struct refresh_serve *r, const struct refresh_pace *p, uint64_t now_ns)
{
	bool seldom = r->began_ns == 0 || now_ns - r->began_ns >= REFRESH_SELDOM_NS;

	if (now_ns >= p->free_ns || seldom || r->pending_order)
		return begin_walk(r, now_ns);
	r->pending = r->resting = true;
	return false;
}

/* True if a new request can share the running walk: nothing has been sent yet. */
static bool
can_join(const struct refresh_serve *r)
{
	return r->walking && !r->first_sent;
}

bool
refresh_serve_request(struct refresh_serve *r, const struct refresh_pace *p, bool end_of_rib_sent,
	uint64_t now_ns)
{
	r->requests_received++;
	if (can_join(r)) {
		r->coalesced += r->for_peer;
		r->served += !r->for_peer;
		r->for_peer = true;
		r->began_ns = now_ns;
		return false;
	}
	r->coalesced += r->pending_for_peer;
	r->pending_for_peer = true;
	/*
	 * RFC 7313 4: no BoRR before the End-of-RIB. Requests during a running walk share the next
	 * walk.
	 */
	if (r->walking || !end_of_rib_sent) {
		r->pending = true;
		return false;
	}
	/* The walk may already be due, if the caller has not called refresh_serve_end_of_rib(). */
	return begin_walk_paced(r, p, now_ns);
}

bool
refresh_serve_order(struct refresh_serve *r, bool end_of_rib_sent, uint64_t now_ns)
{
	if (can_join(r))
		return false;
	if (r->walking || !end_of_rib_sent) {
		r->pending = r->pending_order = true;
		return false;
	}
	return begin_walk(r, now_ns);
}

bool
refresh_serve_end_of_rib(struct refresh_serve *r, const struct refresh_pace *p, uint64_t now_ns)
{
	return r->pending && !r->walking && !r->resting ? begin_walk_paced(r, p, now_ns) : false;
}

void
refresh_serve_first_message(struct refresh_serve *r)
{
	r->first_sent = r->walking;
}

bool
refresh_serve_walk_done(struct refresh_serve *r, const struct refresh_pace *p, uint64_t now_ns)
{
	r->walking = false;
	r->first_sent = false;
	return r->pending ? begin_walk_paced(r, p, now_ns) : false;
}

bool
refresh_serve_resume(struct refresh_serve *r, uint64_t now_ns)
{
	return r->resting ? begin_walk(r, now_ns) : false;
}

void
refresh_serve_reset(struct refresh_serve *r)
{
	r->walking = false;
	r->first_sent = false;
	r->for_peer = false;
	r->pending = r->pending_for_peer = r->pending_order = r->resting = false;
}
