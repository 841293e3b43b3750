/* SPDX-License-Identifier: BSD-3-Clause */
/* Token bucket with TSC cycles as tokens, so that refilling needs no division. Owner: one worker. */
#pragma once

#include "lpm/base/base.h"

struct bucket {
	uint64_t tokens, tsc;
	uint64_t period; /* cycles for each event; 0: no limit */
	uint64_t most;
};

/* Room for the events of a tenth of a second, at least one. per_s 0: no limit. */
static inline void
bucket_init(struct bucket *b, uint64_t hz, unsigned per_s, uint64_t now)
{
	b->period = per_s > 0 ? hz / per_s : 0;
	b->most = hz / 10 > b->period ? hz / 10 : b->period;
	b->tokens = b->most;
	b->tsc = now;
}

static inline bool
bucket_take(struct bucket *b, uint64_t now)
{
	/* now may be below tsc after the kernel moved the worker between unsynchronized TSCs */
	b->tokens += now > b->tsc ? now - b->tsc : 0;
	b->tsc = now;
	if (b->tokens > b->most)
		b->tokens = b->most;
	if (b->tokens < b->period)
		return false;
	b->tokens -= b->period;
	return true;
}
