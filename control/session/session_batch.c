/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batches of records for the shards. A batch is handed over when it is full, or with its run. A run
 * ends at the end of a turn, when it is full, or sooner for live changes. While too many runs are
 * unfinished, the run stays open.
 */
#include "control/session/session_batch.h"

#include "lpm/base/qsbr.h"

#include <string.h>

static_assert(sizeof(struct rib_record) % 8 == 0, "what follows a record's header is aligned");

/* ---- batches ---- */

static void
tidy_fire(struct timer *t) RUNS_ON(role_session)
{
	struct speaker *s = container_of(t, struct speaker, tidy);
	bool left = false;

	for (unsigned i = 0; i < s->shards.count; i++) {
		struct speaker_input *in = &s->input[i];

		if (in->batch != NULL && in->batch->used == 0) {
			shard_input_return(in->to, in->batch);
			in->batch = NULL;
		}
		left |= shard_input_tidy(in->to);
	}
	if (left)
		timer_arm(s->thread, t, BATCH_TIDY_NS);
}

void
input_init(struct speaker *s)
{
	s->tidy.fire = tidy_fire;
	s->shards = *s->config.shards;
	for (unsigned i = 0; i < s->shards.count; i++)
		s->input[i].to = shard_input(s->shards.at[i], 0);
}

void
input_end(struct speaker *s)
{
	for (unsigned i = 0; i < s->shards.count; i++) {
		struct speaker_input *in = &s->input[i];

		if (in->batch != NULL)
			shard_input_return(in->to, in->batch);
		in->batch = NULL;
		while (in->spare_count > 0)
			shard_input_return(in->to, in->spare[--in->spare_count]);
	}
}

static void
batch_push(struct speaker *s, unsigned shard) RUNS_ON(role_session)
{
	struct speaker_input *in = &s->input[shard];

	if (in->batch == NULL || in->batch->used == 0)
		return;
	shard_input_put(in->to, in->batch);
	in->batch = NULL;
	if (s->run.here)
		qsbr_offline(s->config.readers, s->reader);
	s->config.wake_shard(s->config.ctx, shard, s->run.here);
	if (s->run.here)
		qsbr_online(s->config.readers, s->reader);
}

/* ---- runs ---- */

/* After shorter runs a shard waits for the next turn of the session. */
#define RUN_PREFIXES 8192u
/* Work for a shard: prefixes can be dear, by policies or by imports into many instances. */
#define RUN_NS 4000000u
/* With several shards: less than the 4,096 entries that a group reads at once. */
#define RUN_PREFIXES_SPLIT 3840u
#define RUN_WAIT_NS 10000000u
/* While one peer sends a whole table and another peer sends live changes. */
#define RUN_PREFIXES_MIXED 256u
#define RUN_MIXED_NS NS_PER_S
/* A run of routes that costs a shard no more than HELP_NS is the work of this thread, if the shard sleeps. */
#define RUN_HERE_PREFIXES 16u

/* With several shards, one: the parts of an UPDATE come close together in the journal. */
static unsigned
runs_max(const struct speaker *s)
{
	return s->shards.count > 1 ? 1 : INPUT_RUNS_MAX;
}

static unsigned
run_prefixes(const struct speaker *s)
{
	if (s->shards.count > 1)
		return RUN_PREFIXES_SPLIT;
	return s->run.bulk_ns < s->run.live_ns + RUN_MIXED_NS &&
			       s->run.live_ns < s->run.bulk_ns + RUN_MIXED_NS
		       ? RUN_PREFIXES_MIXED
		       : RUN_PREFIXES;
}

bool
run_mixed(const struct speaker *s, uint64_t now)
{
	return s->run.live > 0 && now < s->run.bulk_ns + RUN_MIXED_NS;
}

void
input_mark(const struct speaker *s, uint64_t mark[SHARDS_MAX])
{
	for (unsigned i = 0; i < s->shards.count; i++)
		mark[i] = s->input[i].records;
}

bool
input_did(const struct speaker *s, const uint64_t mark[SHARDS_MAX])
{
	for (unsigned i = 0; i < s->shards.count; i++)
		if (!shard_input_did(s->input[i].to, mark[i]))
			return false;
	return true;
}

/* Forgets the finished runs. */
static void
runs_finish(struct speaker *s) RUNS_ON(role_session)
{
	while (s->run.count > 0 && input_did(s, s->run.end[0])) {
		s->run.count--;
		memmove(s->run.size, s->run.size + 1, s->run.count * sizeof(s->run.size[0]));
		memmove(s->run.end, s->run.end + 1, s->run.count * sizeof(s->run.end[0]));
	}
}

bool
input_handled(struct speaker *s)
{
	runs_finish(s);
	return s->run.count == 0 && s->run.open.prefixes == 0 && ring_empty(&s->owing);
}

uint64_t
input_whole(struct speaker *s, uint64_t now)
{
	if (s->shards.count == 1)
		return UINT64_MAX;
	runs_finish(s);
	return s->run.count > 0 && now < s->run.whole_ns + RUN_WAIT_NS ? s->run.whole : UINT64_MAX;
}

/* The open run, and the unfinished ones. */
static struct run_size
runs_all(const struct speaker *s)
{
	struct run_size all = s->run.open;

	for (unsigned i = 0; i < s->run.count; i++) {
		all.prefixes += s->run.size[i].prefixes;
		all.ns += s->run.size[i].ns;
	}
	return all;
}

/*
 * With several shards a run also ends after some time, because no shard waits for another without a
 * reason.
 */
static bool
run_may_begin(const struct speaker *s)
{
	struct run_size all = runs_all(s);

	if (s->shards.count > 1)
		return s->run.count == 0 || now_ns() - s->run.pushed_ns >= RUN_WAIT_NS;
	return s->run.count == 0 || (all.prefixes <= INPUT_RUNS_MAX * run_prefixes(s) &&
					    all.ns <= INPUT_RUNS_MAX * RUN_NS);
}

/* False: too many runs are unfinished, but for `must`. `here`: this thread may do the work of a sleeping shard. */
static bool
run_push(struct speaker *s, bool must, bool here) RUNS_ON(role_session)
{
	unsigned last;

	runs_finish(s);
	if (!must && !run_may_begin(s))
		return false;
	s->run.here = here && s->run.open.prefixes > 0 && s->run.count == 0 &&
		      s->run.open.prefixes <= RUN_HERE_PREFIXES && s->run.open.ns <= HELP_NS;
	s->run.pushed_ns = now_ns();
	if (s->run.count == 0) {
		s->run.whole = journal_head(shard_journal(s->shards.at[0]));
		s->run.whole_ns = s->run.pushed_ns;
	}
	if (s->run.count < runs_max(s))
		s->run.size[s->run.count++] = (struct run_size){0};
	last = s->run.count - 1;
	s->run.size[last].prefixes += s->run.open.prefixes;
	s->run.size[last].ns += s->run.open.ns;
	for (unsigned i = 0; i < s->shards.count; i++)
		batch_push(s, i);
	input_mark(s, s->run.end[last]);
	s->run.open = (struct run_size){0};
	s->run.live = 0;
	s->run.here = false;
	return true;
}

void
input_push(struct speaker *s)
{
	(void)run_push(s, true, false);
}

uint64_t
run_add(struct speaker *s, enum family family, unsigned prefixes, bool bulk, uint64_t now)
{
	uint64_t cost = 0;

	for (unsigned i = 0; i < s->shards.count; i++) {
		uint64_t one = shard_cost_ns(s->shards.at[i], family);

		cost = one > cost ? one : cost;
	}
	s->run.open.prefixes += prefixes;
	s->run.open.ns += prefixes * cost;
	if (bulk) {
		s->run.bulk_ns = now;
	} else {
		s->run.live += prefixes;
		s->run.live_ns = now;
	}
	return prefixes * cost;
}

bool
run_room(struct speaker *s)
{
	return (s->run.open.prefixes < run_prefixes(s) && s->run.open.ns < RUN_NS) ||
	       run_push(s, false, false);
}

bool
run_live_room(const struct speaker *s)
{
	return s->shards.count == 1 && s->run.live < RUN_PREFIXES_MIXED &&
	       runs_all(s).ns < (INPUT_RUNS_MAX + 1) * RUN_NS;
}

void
input_push_run(struct speaker *s)
{
	for (unsigned i = 0; i < s->shards.count; i++) {
		if (s->input[i].batch == NULL || s->input[i].batch->used == 0)
			continue;
		s->starved |= !run_push(s, false, true);
		return;
	}
}

/* ---- room for records ---- */

size_t
batch_room(const struct speaker_input *in)
{
	return in->batch != NULL ? in->batch->size - in->batch->used : 0;
}

/* NULL: no batch is free. */
static struct rib_batch *
batch_get(struct speaker *s, unsigned shard) RUNS_ON(role_session)
{
	if (s->tidy.deadline_ns == 0)
		timer_arm(s->thread, &s->tidy, BATCH_TIDY_NS);
	return shard_input_get(s->input[shard].to);
}

/* Hands over the open batch and opens an empty one. */
static bool
batch_next(struct speaker *s, unsigned shard) RUNS_ON(role_session)
{
	struct speaker_input *in = &s->input[shard];

	batch_push(s, shard);
	if (in->batch == NULL)
		in->batch =
			in->spare_count > 0 ? in->spare[--in->spare_count] : batch_get(s, shard);
	if (in->batch != NULL)
		in->batch->before = in->records;
	s->starved |= in->batch == NULL;
	return in->batch != NULL;
}

bool
batch_reserve(struct speaker *s, unsigned shard, size_t len)
{
	return batch_room(&s->input[shard]) >= len || batch_next(s, shard);
}

bool
spares_reserve(struct speaker *s, unsigned shard, unsigned count)
{
	struct speaker_input *in = &s->input[shard];

	while (in->spare_count < count) {
		struct rib_batch *b =
			in->spare_count < BATCH_SPARES_MAX ? batch_get(s, shard) : NULL;

		if (b == NULL) {
			s->starved = true;
			return false;
		}
		in->spare[in->spare_count++] = b;
	}
	return true;
}

/* ---- records ---- */

void
order_record(const struct speaker *s, uint32_t under, struct rib_order *out)
{
	*out = (struct rib_order){0};
	for (; under != 0; under &= under - 1) {
		unsigned i = (unsigned)__builtin_ctz(under);

		out->after[i] = s->input[i].records;
	}
}

void
order_later_records(struct speaker *s, uint32_t under)
{
	for (; under != 0; under &= under - 1)
		s->input[__builtin_ctz(under)].after = s->input[0].records;
}

static size_t
pad8(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

size_t
record_len(size_t payload_len, size_t nlri_len)
{
	return pad8(sizeof(struct rib_record) + pad8(payload_len) + nlri_len);
}

struct rib_record *
record_begin(const struct speaker_input *in, const struct peer *p, enum rib_record_kind kind,
	enum family f, const void *payload, size_t payload_len, uint64_t now)
{
	struct rib_record *r = (struct rib_record *)(void *)(in->batch->data + in->batch->used);

	memset(r, 0, sizeof(*r));
	r->kind = (uint8_t)kind;
	r->family = (uint8_t)f;
	r->peer = p->id;
	r->vrf = p->config.vrf;
	r->attrs_len = (uint32_t)payload_len;
	r->received_ns = now;
	r->after = in->after;
	if (payload_len > 0) {
		uint8_t *to = (uint8_t *)(r + 1);

		memcpy(to, payload, payload_len);
		memset(to + payload_len, 0, pad8(payload_len) - payload_len);
	}
	return r;
}

uint8_t *
record_nlri(struct rib_record *r)
{
	return (uint8_t *)(r + 1) + pad8(r->attrs_len);
}

void
record_end(struct speaker_input *in, struct rib_record *r, const struct rib_order *order)
{
	r->record_len = (uint32_t)record_len(r->attrs_len, r->nlri_len);
	if (order != NULL) {
		memcpy((uint8_t *)r + r->record_len, order, sizeof(*order));
		r->record_len += sizeof(*order);
		r->wide = true;
	}
	in->batch->used += r->record_len;
	in->batch->records++;
	in->records++;
}

bool
record_put(struct speaker *s, const struct peer *p, enum rib_record_kind kind, enum family f,
	const void *payload, size_t payload_len)
{
	uint32_t others = (1u << s->shards.count) - 2;
	uint64_t now = now_ns();
	struct rib_order order, earlier;

	for (unsigned i = 0; i < s->shards.count; i++) {
		if (!batch_reserve(s, i, record_len(payload_len, 0) + sizeof(order)))
			return false;
	}
	order_record(s, others | 1, &earlier);
	for (unsigned i = s->shards.count; i-- > 0;) {
		struct speaker_input *in = &s->input[i];
		const struct rib_order *o = i == 0 && others != 0 ? &order : NULL;

		if (i == 0)
			order_record(s, others, &order);
		else if (p->limited)
			o = &earlier;
		record_end(in, record_begin(in, p, kind, f, payload, payload_len, now), o);
	}
	order_later_records(s, others);
	return true;
}

/* ---- records that must not be lost ---- */

bool
peer_owes(const struct peer *p)
{
	if (p->owed_down || p->owed_up)
		return true;
	for (unsigned f = 0; f < FAMILY_COUNT; f++) {
		if (p->family[f].owed_stale || p->family[f].owed_long_lived)
			return true;
	}
	return false;
}

static void
owe(struct peer *p)
{
	if (p->owing.next == NULL)
		ring_insert(&p->speaker->owing, &p->owing);
}

void
input_owe_up(struct peer *p)
{
	p->owed_up = true;
	owe(p);
}

void
input_owe_down(struct peer *p, struct rib_session_down down)
{
	/* The shard does not know the session yet: nothing to withdraw. */
	if (p->owed_up) {
		p->owed_up = false;
		return;
	}
	/* The DOWN record makes the retained routes stale and flushes all earlier stale routes. */
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		p->family[f].owed_stale = p->family[f].owed_long_lived = false;
	p->down_record = down;
	p->owed_down = true;
	owe(p);
}

void
input_owe_stale(struct peer_family *f)
{
	f->owed_stale = true;
	owe(f->peer);
}

void
input_owe_long_lived(struct peer_family *f)
{
	f->owed_long_lived = true;
	owe(f->peer);
}

static bool
peer_settle(struct speaker *s, struct peer *p) RUNS_ON(role_session)
{
	if (p->owed_down &&
		!record_put(s, p, RIB_SESSION_DOWN, 0, &p->down_record, sizeof(p->down_record)))
		return false;
	p->owed_down = false;
	if (p->owed_up) {
		if (!record_put(s, p, RIB_SESSION_UP, 0, &p->up_record, sizeof(p->up_record)))
			return false;
		input_mark(s, p->limit_from);
	}
	p->owed_up = false;
	for (enum family f = 0; f < FAMILY_COUNT; f++) {
		if (p->family[f].owed_long_lived && !record_put(s, p, RIB_LONG_LIVED, f, NULL, 0))
			return false;
		p->family[f].owed_long_lived = false;
		if (p->family[f].owed_stale && !record_put(s, p, RIB_STALE_TIMEOUT, f, NULL, 0))
			return false;
		p->family[f].owed_stale = false;
	}
	return true;
}

bool
input_settle(struct speaker *s)
{
	while (!ring_empty(&s->owing)) {
		struct peer *p = container_of(s->owing.next, struct peer, owing);

		if (!peer_settle(s, p))
			return false;
		ring_remove(&p->owing);
	}
	return true;
}
