/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls from main into the session thread, for tests: each is for thread_call() with a struct
 * node_call.
 */
#pragma once

#include "tests/control/session_rig.h"

static inline void
call_reset(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = session_reset(c->n->speaker, c->id, c->text);
}

static inline void
call_reset_config(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = session_reset_config(c->n->speaker, c->id);
}

static inline void
call_remove(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	session_remove(c->n->speaker, c->id);
}

static inline void
call_gone(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = session_gone(c->n->speaker, c->id);
}

static inline void
call_refuse(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	speaker_refuse(c->n->speaker, VRF_DEFAULT, &c->addr);
}

static inline void
call_update(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = session_update(c->n->speaker, c->id, c->config, c->policies);
}

static inline void
call_refresh_import(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result =
		(int)session_refresh_import(c->n->speaker, c->id, c->family, c->job, &c->reason);
}

static inline void
call_refresh_fill(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = (int)session_refresh_fill(c->n->speaker, c->id, c->family, c->job, &c->reason);
}

static inline void
call_refresh_export(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result =
		(int)session_refresh_export(c->n->speaker, c->id, c->family, c->job, &c->reason);
}

/* As in a commit: the policies, and the job that waits for the routes they change. */
static inline void
call_export_policies(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	session_export_policies(c->n->speaker, c->id, c->policies);
	c->result = c->job != 0 && session_export_job(c->n->speaker, c->id, c->family, c->job);
}

static inline void
call_ranges(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = speaker_ranges(c->n->speaker, c->ranges, c->range_count);
}

/* A peer without a session: awaited. */
static inline enum speaker_awaited
every_peer(void *ctx, struct vrf_id vrf, const struct ip_addr *addr)
{
	return AWAITED;
}

static inline void
call_restart_complete(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = speaker_restart_complete(c->n->speaker, every_peer, NULL);
}

static inline void
node_do(struct node *n, void (*what)(void *arg), struct node_call *c)
{
	c->n = n;
	assert_int_equal(thread_call(n->session, what, c), 0);
}

static inline bool
node_gone(struct node *n, unsigned id)
{
	struct node_call c = {.id = {(uint16_t)id}};

	node_do(n, call_gone, &c);
	return c.result != 0;
}

static inline void
node_call_faults(void *arg)
{
	struct node_call *c = arg;

	role_enter_session();
	c->result = (int)session_faults(c->n->speaker, c->id, c->faults);
}

/* Reads the recorded faults of a peer into `faults`, and returns the number of recorded faults. */
static inline unsigned
node_faults(struct node *n, unsigned id, struct session_fault faults[SESSION_FAULTS])
{
	struct node_call c = {.n = n, .id = {(uint16_t)id}, .faults = faults};

	thread_call(n->session, node_call_faults, &c);
	return (unsigned)c.result;
}
