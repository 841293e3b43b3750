/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The BGP finite state machine (RFC 4271 8.2.2) and connection collision (6.8). fsm_step() is a
 * pure function over a table: (state, event) -> (state, actions). The session performs the actions.
 * Idle hold with back-off replaces delay-open and the damping of peer oscillations (RFC 4271
 * 8.1.1).
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
	EV_START, /* RFC 4271 events 1, 3: also the end of idle hold */
	EV_START_PASSIVE, /* 4 */
	EV_STOP, /* 2: administrative shutdown, reset, configuration change */
	EV_CONNECT_RETRY_TIMER, /* 9 */
	EV_HOLD_TIMER, /* 10 */
	EV_KEEPALIVE_TIMER, /* 11 */
	EV_SEND_HOLD_TIMER, /* RFC 9687 */
	EV_TCP_OPEN, /* 16, 17: our connect succeeded, or a connection was accepted */
	EV_TCP_FAIL, /* 18 */
	EV_LINK_DOWN, /* 18: the link of the connection was lost (link_sensitive) */
	EV_OPEN, /* 19: a good OPEN */
	EV_OPEN_COLLISION, /* 23: this connection lost the collision */
	/* 21, 22, 28: header, OPEN or UPDATE error; the session supplies the NOTIFICATION */
	EV_BAD_MESSAGE,
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
	/* `code`/`subcode` when not 0, else supplied by the session */
	ACT_SEND_NOTIFICATION = 1u << 4,
	ACT_CONNECT_RETRY_START = 1u << 5,
	ACT_CONNECT_RETRY_STOP = 1u << 6,
	ACT_HOLD_START_OPEN = 1u << 7, /* the long hold timer of OpenSent */
	/* starts or restarts the negotiated hold timer; 0: no hold timer */
	ACT_HOLD_START = 1u << 8,
	ACT_KEEPALIVE_START = 1u << 9,
	ACT_STOP_TIMERS = 1u << 10,
	ACT_ESTABLISHED = 1u << 11, /* report the session to the RIB, begin export */
	ACT_DOWN = 1u << 12, /* report the end of an established session to the RIB */
	ACT_IDLE_HOLD = 1u << 13, /* start again after the idle hold time, with back-off */
	ACT_DELIVER = 1u << 14, /* handle the UPDATE or ROUTE-REFRESH */
	ACT_LISTEN = 1u << 15, /* wait for a connection of the peer */
};

struct fsm_result {
	uint8_t state; /* enum fsm_state */
	uint32_t actions;
	uint8_t code, subcode; /* of the NOTIFICATION; 0: supplied by the session */
};

struct fsm_result fsm_step(enum fsm_state state, enum fsm_event event, bool passive);
/* "idle" "connect" "active" "open-sent" "open-confirm" "established" */
const char *fsm_state_text(enum fsm_state s);
const char *fsm_event_text(enum fsm_event e);
/*
 * RFC 4271 6.8, RFC 6286 2.3: decides between two connections when one is in OpenConfirm. True:
 * keep the connection that *we* opened.
 */
bool fsm_collision_keep_ours(
	uint32_t own_id, uint32_t own_asn, uint32_t peer_id, uint32_t peer_asn);
