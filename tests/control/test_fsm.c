/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every (state, event) pair of RFC 4271 8.2.2 against expectations written out here, active and
 * passive; collision.
 */
#include "control/session/fsm.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

/* Words in the order of enum fsm_action, then the NOTIFICATION if fixed by the table. */
static const char *const words[] = {"connect", "close", "send-open", "send-keepalive", "notify",
	"retry-start", "retry-stop", "hold-open", "hold", "keepalive-timer", "stop-timers",
	"established", "down", "idle-hold", "deliver", "listen"};

struct row {
	const char *state, *event, *result;
};

static const struct row expected[] = {
	{"idle", "start", "connect: connect retry-start"},
	{"idle", "start-passive", "active: listen"},
	{"idle", "stop", "idle: stop-timers"},
	{"idle", "connect-retry-timer", "idle:"},
	{"idle", "hold-timer", "idle:"},
	{"idle", "keepalive-timer", "idle:"},
	{"idle", "send-hold-timer", "idle:"},
	{"idle", "tcp-open", "idle: close"},
	{"idle", "tcp-fail", "idle:"},
	{"idle", "link-down", "idle:"},
	{"idle", "open", "idle:"},
	{"idle", "open-collision", "idle:"},
	{"idle", "bad-message", "idle:"},
	{"idle", "notification", "idle:"},
	{"idle", "keepalive", "idle:"},
	{"idle", "update", "idle:"},
	{"connect", "start", "connect:"},
	{"connect", "start-passive", "connect:"},
	{"connect", "stop", "idle: close stop-timers"},
	{"connect", "connect-retry-timer", "connect: connect close retry-start"},
	{"connect", "hold-timer", "idle: close stop-timers idle-hold"},
	{"connect", "keepalive-timer", "idle: close stop-timers idle-hold"},
	{"connect", "send-hold-timer", "idle: close stop-timers idle-hold"},
	{"connect", "tcp-open", "open-sent: send-open retry-stop hold-open"},
	{"connect", "tcp-fail", "active: close retry-start listen"},
	{"connect", "link-down", "connect:"},
	{"connect", "open", "idle: close stop-timers idle-hold"},
	{"connect", "open-collision", "idle: close stop-timers idle-hold"},
	{"connect", "bad-message", "idle: close stop-timers idle-hold"},
	{"connect", "notification", "idle: close stop-timers idle-hold"},
	{"connect", "keepalive", "idle: close stop-timers idle-hold"},
	{"connect", "update", "idle: close stop-timers idle-hold"},
	{"active", "start", "active:"},
	{"active", "start-passive", "active:"},
	{"active", "stop", "idle: close stop-timers"},
	{"active", "connect-retry-timer", "connect: connect retry-start"},
	{"active", "hold-timer", "idle: close stop-timers idle-hold"},
	{"active", "keepalive-timer", "idle: close stop-timers idle-hold"},
	{"active", "send-hold-timer", "idle: close stop-timers idle-hold"},
	{"active", "tcp-open", "open-sent: send-open retry-stop hold-open"},
	{"active", "tcp-fail", "active: close retry-start listen"},
	{"active", "link-down", "active:"},
	{"active", "open", "idle: close stop-timers idle-hold"},
	{"active", "open-collision", "idle: close stop-timers idle-hold"},
	{"active", "bad-message", "idle: close stop-timers idle-hold"},
	{"active", "notification", "idle: close stop-timers idle-hold"},
	{"active", "keepalive", "idle: close stop-timers idle-hold"},
	{"active", "update", "idle: close stop-timers idle-hold"},
	{"open-sent", "start", "open-sent:"},
	{"open-sent", "start-passive", "open-sent:"},
	{"open-sent", "stop", "idle: close notify stop-timers"},
	{"open-sent", "connect-retry-timer", "idle: close notify stop-timers idle-hold 5/0"},
	{"open-sent", "hold-timer", "idle: close notify stop-timers idle-hold 4/0"},
	{"open-sent", "keepalive-timer", "idle: close notify stop-timers idle-hold 5/0"},
	{"open-sent", "send-hold-timer", "idle: close notify stop-timers idle-hold 8/0"},
	{"open-sent", "tcp-open", "open-sent:"},
	{"open-sent", "tcp-fail", "active: close retry-start stop-timers listen"},
	{"open-sent", "link-down", "idle: close stop-timers"},
	{"open-sent", "open", "open-confirm: send-keepalive retry-stop hold keepalive-timer"},
	{"open-sent", "open-collision", "idle: close notify stop-timers 6/7"},
	{"open-sent", "bad-message", "idle: close notify stop-timers idle-hold"},
	{"open-sent", "notification", "idle: close stop-timers idle-hold"},
	{"open-sent", "keepalive", "idle: close notify stop-timers idle-hold 5/1"},
	{"open-sent", "update", "idle: close notify stop-timers idle-hold 5/1"},
	{"open-confirm", "start", "open-confirm:"},
	{"open-confirm", "start-passive", "open-confirm:"},
	{"open-confirm", "stop", "idle: close notify stop-timers"},
	{"open-confirm", "connect-retry-timer", "idle: close notify stop-timers idle-hold 5/0"},
	{"open-confirm", "hold-timer", "idle: close notify stop-timers idle-hold 4/0"},
	{"open-confirm", "keepalive-timer", "open-confirm: send-keepalive keepalive-timer"},
	{"open-confirm", "send-hold-timer", "idle: close notify stop-timers idle-hold 8/0"},
	{"open-confirm", "tcp-open", "open-confirm:"},
	{"open-confirm", "tcp-fail", "idle: close stop-timers idle-hold"},
	{"open-confirm", "link-down", "idle: close stop-timers"},
	{"open-confirm", "open", "idle: close notify stop-timers idle-hold 5/2"},
	{"open-confirm", "open-collision", "idle: close notify stop-timers 6/7"},
	{"open-confirm", "bad-message", "idle: close notify stop-timers idle-hold"},
	{"open-confirm", "notification", "idle: close stop-timers idle-hold"},
	{"open-confirm", "keepalive", "established: hold established"},
	{"open-confirm", "update", "idle: close notify stop-timers idle-hold 5/2"},
	{"established", "start", "established:"},
	{"established", "start-passive", "established:"},
	{"established", "stop", "idle: close notify stop-timers down"},
	{"established", "connect-retry-timer", "idle: close notify stop-timers down idle-hold 5/0"},
	{"established", "hold-timer", "idle: close notify stop-timers down idle-hold 4/0"},
	{"established", "keepalive-timer", "established: send-keepalive keepalive-timer"},
	{"established", "send-hold-timer", "idle: close notify stop-timers down idle-hold 8/0"},
	{"established", "tcp-open", "established:"},
	{"established", "tcp-fail", "idle: close stop-timers down idle-hold"},
	{"established", "link-down", "idle: close stop-timers down"},
	{"established", "open", "idle: close notify stop-timers down idle-hold 5/3"},
	{"established", "open-collision", "idle: close notify stop-timers down 6/7"},
	{"established", "bad-message", "idle: close notify stop-timers down idle-hold"},
	{"established", "notification", "idle: close stop-timers down idle-hold"},
	{"established", "keepalive", "established: hold"},
	{"established", "update", "established: hold deliver"},
};

/* Differences of a passive peer: no connect, no retry. */
static const struct row expected_passive[] = {
	{"idle", "start", "active: retry-stop listen"},
	{"connect", "connect-retry-timer", "active: close retry-stop listen"},
	{"connect", "tcp-fail", "active: close retry-stop listen"},
	{"active", "connect-retry-timer", "active: retry-stop listen"},
	{"active", "tcp-fail", "active: close retry-stop listen"},
	{"open-sent", "tcp-fail", "active: close retry-stop stop-timers listen"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
result_text(struct fsm_result r, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "%s:", fsm_state_text(r.state));

	for (unsigned i = 0; i < COUNT(words); i++) {
		if (r.actions & 1u << i)
			n += (size_t)snprintf(buf + n, size - n, " %s", words[i]);
	}
	if (r.code != 0)
		snprintf(buf + n, size - n, " %u/%u", r.code, r.subcode);
}

static const char *
look_up(const struct row *rows, size_t count, enum fsm_state s, enum fsm_event e)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].state, fsm_state_text(s)) == 0 &&
			strcmp(rows[i].event, fsm_event_text(e)) == 0)
			return rows[i].result;
	}
	return NULL;
}

static void
check_pair(enum fsm_state s, enum fsm_event e, bool passive)
{
	const char *want = look_up(expected, COUNT(expected), s, e);
	const char *other = look_up(expected_passive, COUNT(expected_passive), s, e);
	char got[256];

	assert_non_null(want);
	result_text(fsm_step(s, e, passive), got, sizeof(got));
	if (passive && other)
		want = other;
	if (strcmp(got, want) != 0)
		fail_msg("%s, %s%s: \"%s\", expected \"%s\"", fsm_state_text(s), fsm_event_text(e),
			passive ? ", passive" : "", got, want);
}

static void
test_pairs(void **state)
{
	assert_int_equal(COUNT(expected), FSM_STATE_COUNT * EV_EVENT_COUNT);
	for (enum fsm_state s = 0; s < FSM_STATE_COUNT; s++) {
		for (enum fsm_event e = 0; e < EV_EVENT_COUNT; e++) {
			check_pair(s, e, false);
			check_pair(s, e, true);
		}
	}
}

/* Invariants of all rows. */
static void
test_rules(void **state)
{
	for (unsigned i = 0; i < FSM_STATE_COUNT * EV_EVENT_COUNT * 2; i++) {
		enum fsm_state s = i / 2 / EV_EVENT_COUNT;
		struct fsm_result r = fsm_step(s, i / 2 % EV_EVENT_COUNT, i % 2);

		/*
		 * ACT_DOWN exactly when Established ends, ACT_ESTABLISHED exactly when Established
		 * begins.
		 */
		assert_int_equal(!!(r.actions & ACT_DOWN),
			s == FSM_ESTABLISHED && r.state != FSM_ESTABLISHED);
		assert_int_equal(!!(r.actions & ACT_ESTABLISHED),
			s != FSM_ESTABLISHED && r.state == FSM_ESTABLISHED);
		/* No NOTIFICATION without a close, and none before a connection. */
		if (r.actions & ACT_SEND_NOTIFICATION) {
			assert_true(r.actions & ACT_CLOSE);
			assert_true(s >= FSM_OPEN_SENT);
		}
		if (r.state == FSM_IDLE && s != FSM_IDLE)
			assert_int_equal(r.actions & (ACT_CLOSE | ACT_STOP_TIMERS),
				ACT_CLOSE | ACT_STOP_TIMERS);
		if (i % 2)
			assert_false(r.actions & (ACT_CONNECT | ACT_CONNECT_RETRY_START));
	}
}

/* RFC 4271 6.8; RFC 6286 2.3 */
static void
test_collision(void **state)
{
	assert_true(fsm_collision_keep_ours(0xc0000202, 64512, 0xc0000201, 65001));
	assert_false(fsm_collision_keep_ours(0xc0000201, 64512, 0xc0000202, 65001));
	assert_true(fsm_collision_keep_ours(0xf0000001, 64512, 0x10000001, 65001)); /* unsigned */
	assert_true(fsm_collision_keep_ours(7, 4200000000, 7, 65001));
	assert_false(fsm_collision_keep_ours(7, 65001, 7, 4200000000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_collision),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
