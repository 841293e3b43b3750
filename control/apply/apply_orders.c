/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/apply_impl.h"

#include "rib/feed/fib_feed.h"

#include <errno.h>

static void
on_shard(void *arg) RUNS_ON(role_rib)
{
	struct shard_order *o = arg;

	switch (o->kind) {
	case SHARD_PEER_ADD:
		if (o->result == 0)
			o->result = shard_peer_add(o->shard, o->peer);
		break;
	case SHARD_PEER_REMOVE:
		if (!shard_peer_idle(o->shard, o->id))
			o->result = -EBUSY;
		else
			(void)shard_peer_remove(o->shard, o->id); /* -ENOENT: removed before */
		break;
	case SHARD_PEER_IMPORT:
		shard_peer_import(o->shard, o->id, o->family, o->import);
		break;
	case SHARD_PEER_KEEP:
		shard_peer_keep(o->shard, o->id, o->family, o->keep);
		break;
	case SHARD_SETTINGS:
		shard_settings(o->shard, o->settings);
		break;
	}
}

int
shard_order(const struct layers *l, struct shard_order *o)
{
	layers_on_shards(l, on_shard, o, &o->shard);
	return o->result;
}

static void
on_session(void *arg) RUNS_ON(role_session)
{
	struct session_order *o = arg;
	struct speaker *s = o->speaker;

	switch (o->kind) {
	case SESSION_ORDER_LISTEN:
		o->result = speaker_listen(s, o->listen.vrf, o->listen.netns);
		break;
	case SESSION_ORDER_UNLISTEN:
		speaker_unlisten(s, o->listen.vrf);
		break;
	case SESSION_ORDER_GROUPS_GONE:
		o->result = speaker_groups_gone(s);
		break;
	case SESSION_ORDER_RANGES:
		o->result = speaker_ranges(s, o->ranges.at, o->ranges.count);
		break;
	case SESSION_ORDER_REFUSE:
		speaker_refuse(s, o->refused->vrf, &o->refused->addr);
		break;
	case SESSION_ORDER_ADD:
		o->result = session_add(s, o->id, o->add.config, o->add.policies);
		break;
	case SESSION_ORDER_REMOVE:
		session_remove(s, o->id);
		break;
	case SESSION_ORDER_GONE:
		o->result = session_gone(s, o->id);
		break;
	case SESSION_ORDER_POLICIES:
		session_export_policies(s, o->id, o->policies);
		break;
	case SESSION_ORDER_RESET_CONFIG:
		o->result = session_reset_config(s, o->id);
		break;
	case SESSION_ORDER_PEEK:
		if (!session_peek(s, o->id, o->view))
			o->view->state = FSM_IDLE;
		break;
	case SESSION_ORDER_REFRESH_IMPORT:
		o->result = session_refresh_import(
			s, o->id, o->family, o->refresh.job, &o->refresh.reason);
		break;
	case SESSION_ORDER_REFRESH_FILL:
		o->result = session_refresh_fill(
			s, o->id, o->family, o->refresh.job, &o->refresh.reason);
		break;
	case SESSION_ORDER_REFRESH_EXPORT:
		/*
		 * One walk for the refresh and the delayed export policies (keel-policy(7) rule
		 * 14).
		 */
		if (o->refresh.policies != NULL) {
			session_export_policies(s, o->id, o->refresh.policies);
			speaker_plan_settle(s);
		}
		o->result = session_refresh_export(
			s, o->id, o->family, o->refresh.job, &o->refresh.reason);
		break;
	case SESSION_ORDER_PLAN_SUPPLIED:
		speaker_plan_supplied(s, o->family);
		break;
	case SESSION_ORDER_PLAN_END:
		speaker_plan_end(s, o->family);
		break;
	case SESSION_ORDER_TARGETS:
		o->result = speaker_targets(s, o->targets.at, o->targets.count);
		break;
	}
}

int
session_order(const struct layers *l, struct session_order *o)
{
	o->speaker = l->speaker;
	layers_call_session(l, on_session, o);
	return o->result;
}

struct via_default_call {
	struct fib_feed *feed;
	bool yes;
};

static void
on_fib_via_default(void *arg) RUNS_ON(role_fib)
{
	const struct via_default_call *c = arg;

	fib_feed_resolve_via_default(c->feed, c->yes);
}

void
fib_order_via_default(const struct layers *l, bool yes)
{
	struct via_default_call c = {.feed = l->feed, .yes = yes};

	layers_call_fib(l, on_fib_via_default, &c);
}
