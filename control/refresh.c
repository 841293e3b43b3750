/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/refresh.h"

static bool
begin(struct refresh_serve *r)
{
	r->walking = true;
	r->first_sent = false;
	r->for_peer = r->pending_for_peer;
	r->pending = r->pending_for_peer = false;
	r->served += r->for_peer;
	return true;
}

/* A walk that has sent nothing will say all there is to say to one that comes now, too. */
static bool
joins(const struct refresh_serve *r)
{
	return r->walking && !r->first_sent;
}

bool
refresh_serve_request(struct refresh_serve *r, bool end_of_rib_sent)
{
	r->requests_received++;
	if (joins(r)) {
		r->coalesced += r->for_peer;
		r->served += !r->for_peer;
		r->for_peer = true;
		return false;
	}
	r->coalesced += r->pending_for_peer;
	r->pending_for_peer = true;
	return refresh_serve_order(r, end_of_rib_sent);
}

bool
refresh_serve_order(struct refresh_serve *r, bool end_of_rib_sent)
{
	if (joins(r))
		return false;
	/* RFC 7313 4: no BoRR before the End-of-RIB. Behind a walk: one more serves all that come until it begins. */
	if (r->walking || !end_of_rib_sent) {
		r->pending = true;
		return false;
	}
	/* A walk owed from before the End-of-RIB that refresh_serve_end_of_rib() was not told of is this one. */
	return begin(r);
}

bool
refresh_serve_end_of_rib(struct refresh_serve *r)
{
	return r->pending && !r->walking ? begin(r) : false;
}

void
refresh_serve_first_entry(struct refresh_serve *r)
{
	r->first_sent = r->walking;
}

bool
refresh_serve_walk_done(struct refresh_serve *r)
{
	r->walking = false;
	r->first_sent = false;
	return r->pending ? begin(r) : false;
}

void
refresh_serve_reset(struct refresh_serve *r)
{
	r->walking = false;
	r->first_sent = false;
	r->for_peer = false;
	r->pending = r->pending_for_peer = false;
}
