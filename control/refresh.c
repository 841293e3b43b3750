/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/refresh.h"

static bool
begin(struct refresh_serve *r)
{
	r->walking = true;
	r->first_sent = false;
	r->pending = false;
	r->served++;
	return true;
}

bool
refresh_serve_request(struct refresh_serve *r, bool end_of_rib_sent)
{
	r->requests_received++;
	/* A walk that has sent nothing will say all there is to say to this one too. */
	if (r->walking && !r->first_sent) {
		r->coalesced++;
		return false;
	}
	/* RFC 7313 4: no BoRR before the End-of-RIB. Behind a walk: one more serves all that come until it begins. */
	if (r->walking || !end_of_rib_sent) {
		r->coalesced += r->pending;
		r->pending = true;
		return false;
	}
	/* A walk owed from before the End-of-RIB that refresh_serve_end_of_rib() was not told of is this one. */
	r->coalesced += r->pending;
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
	r->pending = false;
}
