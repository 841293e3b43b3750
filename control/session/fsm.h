/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The BGP finite state machine: (state, event) -> (state, actions), RFC 4271 8.2.2, and collision (6.8). A pure function over a
 * small table; the session performs the actions. Delay-open and the damping of peer oscillations are idle hold with
 * back-off (RFC 4271 8.1.1).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum fsm_state {
	FSM_IDLE,
	FSM_CONNECT,
	FSM_ACTIVE,
	FSM_OPEN_SENT,
	FSM_OPEN_CONFIRM,
	FSM_ESTABLISHED,
	FSM_STATE_COUNT
};

enum fsm_event {
	EV_START, /* RFC 4271 events 1, 3: also when idle hold ended */
	EV_START_PASSIVE, /* 4 */
	EV_STOP, /* 2: administrative shutdown, reset, configuration change */
	EV_CONNECT_RETRY_TIMER, /* 9 */
	EV_HOLD_TIMER, /* 10 */
	EV_KEEPALIVE_TIMER, /* 11 */
	EV_SEND_HOLD_TIMER, /* RFC 9687 */
	EV_TCP_OPEN, /* 16, 17: ours connected, or theirs was accepted */
	EV_TCP_FAIL, /* 18 */
	EV_OPEN, /* 19: a good OPEN */
	EV_OPEN_COLLISION, /* 23: this connection loses */
	EV_BAD_MESSAGE, /* 21, 22, 28: header, OPEN or UPDATE error; the NOTIFICATION is the session's to fill in */
	EV_NOTIFICATION, /* 24, 25 */
	EV_KEEPALIVE, /* 26 */
	EV_UPDATE, /* 27, and ROUTE-REFRESH */
	EV_EVENT_COUNT,
};

enum fsm_action {
	ACT_CONNECT = 1u << 0, /* begin a TCP connection */
	ACT_CLOSE = 1u << 1,
	ACT_SEND_OPEN = 1u << 2,
	ACT_SEND_KEEPALIVE = 1u << 3,
	ACT_SEND_NOTIFICATION =
		1u << 4, /* `code`/`subcode` when not 0, else the one the session has at hand */
	ACT_CONNECT_RETRY_START = 1u << 5,
	ACT_CONNECT_RETRY_STOP = 1u << 6,
	ACT_HOLD_START_OPEN = 1u << 7, /* the large one of OpenSent */
	ACT_HOLD_START = 1u << 8, /* negotiated; 0: not at all. Also restarts it */
	ACT_KEEPALIVE_START = 1u << 9,
	ACT_STOP_TIMERS = 1u << 10,
	ACT_ESTABLISHED = 1u << 11, /* tell the RIB, begin export */
	ACT_DOWN = 1u << 12, /* tell the RIB: it was established */
	ACT_IDLE_HOLD = 1u << 13, /* start again after the idle hold time, with back-off */
	ACT_DELIVER = 1u << 14, /* the UPDATE or ROUTE-REFRESH is to be handled */
	ACT_LISTEN = 1u << 15, /* wait for the peer to connect */
};

struct fsm_result {
	uint8_t state; /* enum fsm_state */
	uint32_t actions;
	uint8_t code, subcode; /* of the NOTIFICATION; 0: the session knows */
};

struct fsm_result fsm_step(enum fsm_state state, enum fsm_event event, bool passive);
const char *fsm_state_text(
	enum fsm_state s); /* "idle" "connect" "active" "open-sent" "open-confirm" "established" */
const char *fsm_event_text(enum fsm_event e);
/*
 * RFC 4271 6.8, RFC 6286 2.3: two connections, the other one in OpenConfirm. True: the connection that *we* opened stays.
 */
bool fsm_collision_keep_ours(
	uint32_t own_id, uint32_t own_asn, uint32_t peer_id, uint32_t peer_asn);
