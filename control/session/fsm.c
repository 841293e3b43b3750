/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/fsm.h"

#include "control/bgp/bgp_error.h"
#include "lpm/base/base.h"

/*
 * Actions of transitions to Idle. CLOSED: close the connection; FAILED: and start again after idle
 * hold; NOTIFY: and send a NOTIFICATION; LOST: an established session.
 */
#define CLOSED (ACT_CLOSE | ACT_STOP_TIMERS)
#define FAILED (CLOSED | ACT_IDLE_HOLD)
#define NOTIFY (FAILED | ACT_SEND_NOTIFICATION)
#define LOST (FAILED | ACT_DOWN)
#define OPENED (ACT_CONNECT_RETRY_STOP | ACT_SEND_OPEN | ACT_HOLD_START_OPEN)
#define RETRY (ACT_CONNECT_RETRY_START | ACT_LISTEN)

/*
 * RFC 4271 8.2.2, state by state. Events without an entry are ignored and leave the state as it is.
 *
 * RFC 4271 8.2.2, not done: after a TCP failure in Connect and Active the next state is Active, not
 * Idle. Idle refuses connections of the peer, so that two speakers with different start times would
 * not meet before the end of a back-off; BIRD and FRR do the same. A NOTIFICATION in OpenSent is
 * not answered with a NOTIFICATION (6.4).
 */
static const struct fsm_result table[FSM_STATE_COUNT][EV_EVENT_COUNT] =
	{
		[FSM_IDLE] =
			{
				[EV_START] = {FSM_CONNECT, ACT_CONNECT | ACT_CONNECT_RETRY_START},
				[EV_START_PASSIVE] = {FSM_ACTIVE, ACT_LISTEN},
				[EV_STOP] = {FSM_IDLE, ACT_STOP_TIMERS}, /* idle hold timer */
				[EV_TCP_OPEN] = {FSM_IDLE, ACT_CLOSE}, /* "refuses all incoming" */
			},
		[FSM_CONNECT] =
			{
				[EV_START] = {FSM_CONNECT, 0},
				[EV_START_PASSIVE] = {FSM_CONNECT, 0},
				[EV_STOP] = {FSM_IDLE, CLOSED},
				[EV_CONNECT_RETRY_TIMER] = {FSM_CONNECT,
					ACT_CLOSE | ACT_CONNECT | ACT_CONNECT_RETRY_START},
				[EV_HOLD_TIMER] = {FSM_IDLE, FAILED},
				[EV_KEEPALIVE_TIMER] = {FSM_IDLE, FAILED},
				[EV_SEND_HOLD_TIMER] = {FSM_IDLE, FAILED},
				[EV_TCP_OPEN] = {FSM_OPEN_SENT, OPENED},
				[EV_TCP_FAIL] = {FSM_ACTIVE, ACT_CLOSE | RETRY},
				[EV_LINK_DOWN] = {FSM_CONNECT, 0},
				[EV_OPEN] = {FSM_IDLE, FAILED},
				[EV_OPEN_COLLISION] = {FSM_IDLE, FAILED},
				[EV_BAD_MESSAGE] = {FSM_IDLE, FAILED},
				[EV_NOTIFICATION] = {FSM_IDLE, FAILED},
				[EV_KEEPALIVE] = {FSM_IDLE, FAILED},
				[EV_UPDATE] = {FSM_IDLE, FAILED},
			},
		[FSM_ACTIVE] =
			{
				[EV_START] = {FSM_ACTIVE, 0},
				[EV_START_PASSIVE] = {FSM_ACTIVE, 0},
				[EV_STOP] = {FSM_IDLE, CLOSED},
				[EV_CONNECT_RETRY_TIMER] = {FSM_CONNECT,
					ACT_CONNECT | ACT_CONNECT_RETRY_START},
				[EV_HOLD_TIMER] = {FSM_IDLE, FAILED},
				[EV_KEEPALIVE_TIMER] = {FSM_IDLE, FAILED},
				[EV_SEND_HOLD_TIMER] = {FSM_IDLE, FAILED},
				[EV_TCP_OPEN] = {FSM_OPEN_SENT, OPENED},
				[EV_TCP_FAIL] = {FSM_ACTIVE, ACT_CLOSE | RETRY},
				[EV_LINK_DOWN] = {FSM_ACTIVE, 0},
				[EV_OPEN] = {FSM_IDLE, FAILED},
				[EV_OPEN_COLLISION] = {FSM_IDLE, FAILED},
				[EV_BAD_MESSAGE] = {FSM_IDLE, FAILED},
				[EV_NOTIFICATION] = {FSM_IDLE, FAILED},
				[EV_KEEPALIVE] = {FSM_IDLE, FAILED},
				[EV_UPDATE] = {FSM_IDLE, FAILED},
			},
		[FSM_OPEN_SENT] =
			{
				[EV_START] = {FSM_OPEN_SENT, 0},
				[EV_START_PASSIVE] = {FSM_OPEN_SENT, 0},
				[EV_STOP] = {FSM_IDLE, CLOSED | ACT_SEND_NOTIFICATION},
				[EV_CONNECT_RETRY_TIMER] = {FSM_IDLE, NOTIFY, ERR_FSM, 0},
				[EV_HOLD_TIMER] = {FSM_IDLE, NOTIFY, ERR_HOLD_TIMER, 0},
				[EV_KEEPALIVE_TIMER] = {FSM_IDLE, NOTIFY, ERR_FSM, 0},
				[EV_SEND_HOLD_TIMER] = {FSM_IDLE, NOTIFY, ERR_SEND_HOLD_TIMER, 0},
				/* the second connection: the session resolves the collision (6.8) */
				[EV_TCP_OPEN] = {FSM_OPEN_SENT, 0},
				[EV_TCP_FAIL] = {FSM_ACTIVE, CLOSED | RETRY},
				[EV_LINK_DOWN] = {FSM_IDLE, CLOSED},
				[EV_OPEN] =
					{FSM_OPEN_CONFIRM,
						ACT_CONNECT_RETRY_STOP | ACT_SEND_KEEPALIVE |
							ACT_KEEPALIVE_START | ACT_HOLD_START},
				[EV_OPEN_COLLISION] =
					{FSM_IDLE, CLOSED | ACT_SEND_NOTIFICATION,
						ERR_CEASE, CEASE_COLLISION},
				[EV_BAD_MESSAGE] = {FSM_IDLE, NOTIFY},
				[EV_NOTIFICATION] = {FSM_IDLE, FAILED},
				[EV_KEEPALIVE] =
					{FSM_IDLE, NOTIFY, ERR_FSM, FSM_UNEXPECTED_IN_OPEN_SENT},
				[EV_UPDATE] =
					{FSM_IDLE, NOTIFY, ERR_FSM, FSM_UNEXPECTED_IN_OPEN_SENT},
			},
		[FSM_OPEN_CONFIRM] =
			{
				[EV_START] = {FSM_OPEN_CONFIRM, 0},
				[EV_START_PASSIVE] = {FSM_OPEN_CONFIRM, 0},
				[EV_STOP] = {FSM_IDLE, CLOSED | ACT_SEND_NOTIFICATION},
				[EV_CONNECT_RETRY_TIMER] = {FSM_IDLE, NOTIFY, ERR_FSM, 0},
				[EV_HOLD_TIMER] = {FSM_IDLE, NOTIFY, ERR_HOLD_TIMER, 0},
				[EV_KEEPALIVE_TIMER] = {FSM_OPEN_CONFIRM,
					ACT_SEND_KEEPALIVE | ACT_KEEPALIVE_START},
				[EV_SEND_HOLD_TIMER] = {FSM_IDLE, NOTIFY, ERR_SEND_HOLD_TIMER, 0},
				[EV_TCP_OPEN] = {FSM_OPEN_CONFIRM, 0},
				[EV_TCP_FAIL] = {FSM_IDLE, FAILED},
				[EV_LINK_DOWN] = {FSM_IDLE, CLOSED},
				[EV_OPEN] = {FSM_IDLE, NOTIFY, ERR_FSM,
					FSM_UNEXPECTED_IN_OPEN_CONFIRM},
				[EV_OPEN_COLLISION] =
					{FSM_IDLE, CLOSED | ACT_SEND_NOTIFICATION, ERR_CEASE,
						CEASE_COLLISION},
				[EV_BAD_MESSAGE] = {FSM_IDLE, NOTIFY},
				[EV_NOTIFICATION] = {FSM_IDLE, FAILED},
				[EV_KEEPALIVE] = {FSM_ESTABLISHED, ACT_HOLD_START |
									   ACT_ESTABLISHED},
				[EV_UPDATE] =
					{FSM_IDLE, NOTIFY, ERR_FSM, FSM_UNEXPECTED_IN_OPEN_CONFIRM},
			},
		[FSM_ESTABLISHED] =
			{
				[EV_START] = {FSM_ESTABLISHED, 0},
				[EV_START_PASSIVE] = {FSM_ESTABLISHED, 0},
				[EV_STOP] = {FSM_IDLE, CLOSED | ACT_SEND_NOTIFICATION | ACT_DOWN},
				[EV_CONNECT_RETRY_TIMER] = {FSM_IDLE, NOTIFY | ACT_DOWN, ERR_FSM,
					0},
				[EV_HOLD_TIMER] = {FSM_IDLE, NOTIFY | ACT_DOWN, ERR_HOLD_TIMER, 0},
				[EV_KEEPALIVE_TIMER] =
					{FSM_ESTABLISHED, ACT_SEND_KEEPALIVE | ACT_KEEPALIVE_START},
				/* RFC 9687 3.2 */
				[EV_SEND_HOLD_TIMER] =
					{FSM_IDLE, NOTIFY | ACT_DOWN, ERR_SEND_HOLD_TIMER, 0},
				[EV_TCP_OPEN] = {FSM_ESTABLISHED, 0},
				[EV_TCP_FAIL] = {FSM_IDLE, LOST},
				[EV_LINK_DOWN] = {FSM_IDLE, CLOSED | ACT_DOWN},
				[EV_OPEN] =
					{FSM_IDLE, NOTIFY | ACT_DOWN, ERR_FSM,
						FSM_UNEXPECTED_IN_ESTABLISHED},
				[EV_OPEN_COLLISION] =
					{FSM_IDLE, CLOSED | ACT_SEND_NOTIFICATION | ACT_DOWN,
						ERR_CEASE, CEASE_COLLISION},
				[EV_BAD_MESSAGE] = {FSM_IDLE, NOTIFY | ACT_DOWN},
				[EV_NOTIFICATION] = {FSM_IDLE, LOST},
				[EV_KEEPALIVE] = {FSM_ESTABLISHED, ACT_HOLD_START},
				[EV_UPDATE] = {FSM_ESTABLISHED, ACT_HOLD_START | ACT_DELIVER},
			},
};

struct fsm_result
fsm_step(enum fsm_state state, enum fsm_event event, bool passive)
{
	struct fsm_result r = table[state][event];

	if (!passive)
		return r;
	/* RFC 4271 8.1.1, PassiveTcpEstablishment: never connects, so there is no retry. */
	if (r.actions & ACT_CONNECT) {
		r.state = FSM_ACTIVE;
		r.actions = (r.actions & ~(uint32_t)ACT_CONNECT) | ACT_LISTEN;
	}
	if (r.actions & ACT_CONNECT_RETRY_START)
		r.actions =
			(r.actions & ~(uint32_t)ACT_CONNECT_RETRY_START) | ACT_CONNECT_RETRY_STOP;
	return r;
}

const char *
fsm_state_text(enum fsm_state s)
{
	static const char *const text[FSM_STATE_COUNT] = {
		"idle",
		"connect",
		"active",
		"open-sent",
		"open-confirm",
		"established",
	};

	return s < FSM_STATE_COUNT ? text[s] : "unknown";
}

const char *
fsm_event_text(enum fsm_event e)
{
	static const char *const text[EV_EVENT_COUNT] = {
		[EV_START] = "start",
		[EV_START_PASSIVE] = "start-passive",
		[EV_STOP] = "stop",
		[EV_CONNECT_RETRY_TIMER] = "connect-retry-timer",
		[EV_HOLD_TIMER] = "hold-timer",
		[EV_KEEPALIVE_TIMER] = "keepalive-timer",
		[EV_SEND_HOLD_TIMER] = "send-hold-timer",
		[EV_TCP_OPEN] = "tcp-open",
		[EV_TCP_FAIL] = "tcp-fail",
		[EV_LINK_DOWN] = "link-down",
		[EV_OPEN] = "open",
		[EV_OPEN_COLLISION] = "open-collision",
		[EV_BAD_MESSAGE] = "bad-message",
		[EV_NOTIFICATION] = "notification",
		[EV_KEEPALIVE] = "keepalive",
		[EV_UPDATE] = "update",
	};

	return e < EV_EVENT_COUNT ? text[e] : "unknown";
}

/*
 * RFC 4271 6.8: keep the connection of the side with the higher identifier; RFC 6286 2.3: if equal,
 * of the higher AS.
 */
bool
fsm_collision_keep_ours(uint32_t own_id, uint32_t own_asn, uint32_t peer_id, uint32_t peer_asn)
{
	return own_id != peer_id ? own_id > peer_id : own_asn > peer_asn;
}
