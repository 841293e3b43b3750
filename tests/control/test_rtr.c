/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router's end of RTR (control/rpki/rtr.h), with the octets and the clock of the test: answers,
 * faults and timers. Each answer is passed whole and octet by octet.
 */
#include "control/rpki/rtr.h"

#include "lpm/base/arena.h"
#include "rib/table/vrp.h"
#include "tests/control/rtr_pdus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECOND UINT64_C(1000000000)
#define ASN 64500u

struct lab {
	struct arena *arena;
	struct rtr *r;
	struct rtr_pdus p;
	uint64_t now, next;
	bool changed;
};

static int
setup(void **state)
{
	struct lab *l = calloc(1, sizeof(*l));

	assert_int_equal(arena_create("rtr", &l->arena), 0);
	assert_int_equal(rtr_create(l->arena, &l->r), 0);
	l->now = 1000 * SECOND;
	*state = l;
	return 0;
}

static int
teardown(void **state)
{
	struct lab *l = *state;

	rtr_destroy(l->r);
	assert_int_equal(arena_bytes(l->arena), 0);
	arena_destroy(l->arena);
	free(l);
	return 0;
}

/* The type of the first PDU to send, and removes all; -1: none. */
static int
sent(struct lab *l)
{
	size_t len;
	const uint8_t *out = rtr_output(l->r, &len);
	int type = len > 0 ? out[1] : -1;

	rtr_sent(l->r, len);
	return type;
}

/* Passes the PDUs of l->p, each time `step` octets. */
static int
input(struct lab *l, size_t step)
{
	int err = 0;
	bool changed;

	l->changed = false;
	for (size_t at = 0; at < l->p.len && err == 0; at += step) {
		size_t len = l->p.len - at < step ? l->p.len - at : step;

		err = rtr_input(l->r, l->p.octet + at, len, l->now, &changed);
		l->changed |= changed;
	}
	l->p.len = 0;
	return err;
}

static int
tick(struct lab *l, uint64_t seconds)
{
	l->now += seconds * SECOND;
	return rtr_tick(l->r, l->now, &l->next, &l->changed);
}

static size_t
records(const struct lab *l)
{
	return vrps_count(rtr_vrps(l->r), AFI_NONE);
}

/* A synchronized cache with session 7, serial 1 and `count` records. */
static void
begin(struct lab *l, unsigned count, uint32_t refresh_s, uint32_t expire_s)
{
	rtr_connected(l->r, l->now);
	assert_int_equal(sent(l), RTR_RESET_QUERY);
	rtr_pdus_response(&l->p, 7);
	for (unsigned i = 0; i < count; i++)
		rtr_pdus_v4(&l->p, 1, 0x14000000 + (i << 8), 24, 24, ASN);
	rtr_pdus_end(&l->p, 7, 1, refresh_s, 600, expire_s);
	assert_int_equal(input(l, 1), 0);
	assert_true(l->changed);
	assert_int_equal(rtr_state(l->r), RTR_SYNCED);
	assert_int_equal(records(l), count);
}

static void
test_incremental(void **state)
{
	struct lab *l = *state;

	begin(l, 2, 3600, 7200);
	rtr_pdus_notify(&l->p, 7, 2);
	assert_int_equal(input(l, 1), 0);
	assert_int_equal(sent(l), RTR_SERIAL_QUERY);
	rtr_pdus_response(&l->p, 7);
	rtr_pdus_v4(&l->p, 0, 0x14000000, 24, 24, ASN);
	rtr_pdus_v6(&l->p, 1, 0x20010db800000000, 32, 48, ASN);
	rtr_pdus_v6(&l->p, 1, 0x20010db900000000, 32, 48, ASN);
	assert_int_equal(input(l, 3), 0);
	assert_int_equal(records(l), 2); /* not before End of Data */
	rtr_pdus_end(&l->p, 7, 2, 3600, 600, 7200);
	assert_int_equal(input(l, 3), 0);
	assert_int_equal(vrps_count(rtr_vrps(l->r), AFI_IPV4), 1);
	assert_int_equal(vrps_count(rtr_vrps(l->r), AFI_IPV6), 2);
}

/* Data that expires while the cache owes changes: the changes must not be taken as the whole. */
static void
test_expired_during_an_answer(void **state)
{
	struct lab *l = *state;

	begin(l, 3, 599, 600);
	assert_int_equal(tick(l, 599), 0);
	assert_int_equal(sent(l), RTR_SERIAL_QUERY);
	rtr_pdus_response(&l->p, 7);
	rtr_pdus_v4(&l->p, 1, 0x15000000, 24, 24, ASN);
	assert_int_equal(input(l, 1), 0);
	assert_int_equal(tick(l, 1), -ETIMEDOUT);
	assert_true(l->changed);
	assert_null(rtr_vrps(l->r));
	rtr_lost(l->r);
	rtr_connected(l->r, l->now);
	assert_int_equal(sent(l), RTR_RESET_QUERY);
}

/* Expired data on an idle connection is asked for at once, and the cache is not synchronized. */
static void
test_expired_between_answers(void **state)
{
	struct lab *l = *state;

	begin(l, 3, 3600, 7200);
	assert_int_equal(tick(l, 3600), 0);
	assert_int_equal(sent(l), RTR_SERIAL_QUERY);
	rtr_pdus_error(&l->p, 2, "no data");
	assert_int_equal(input(l, 1), 0);
	assert_int_equal(rtr_state(l->r), RTR_NO_DATA);
	assert_int_equal(records(l), 3);
	for (unsigned i = 0; i < 5; i++) { /* the retry interval is 600 s */
		assert_int_equal(tick(l, 600), 0);
		assert_int_equal(sent(l), RTR_SERIAL_QUERY);
		rtr_pdus_error(&l->p, 2, "no data");
		assert_int_equal(input(l, 1), 0);
	}
	assert_int_equal(tick(l, 599), 0);
	assert_int_equal(sent(l), -1);
	assert_int_equal(records(l), 3);
	assert_int_equal(l->next, l->now + SECOND);
	assert_int_equal(tick(l, 1), 0);
	assert_true(l->changed);
	assert_int_equal(records(l), 0);
	assert_int_equal(sent(l), RTR_RESET_QUERY);
	assert_int_equal(rtr_state(l->r), RTR_SYNCING);
}

/* A cache that sends a longer refresh interval than the expire interval. */
static void
test_refresh_before_expiry(void **state)
{
	struct lab *l = *state;
	struct rtr_view v;

	begin(l, 1, 86400, 600);
	rtr_peek(l->r, &v);
	assert_true(v.refresh_s < v.expire_s);
	assert_int_equal(tick(l, 0), 0);
	assert_true(l->next < l->now + 600 * SECOND);
}

/* An octet every 20 s is not silence; the answer is due as a whole, too. */
static void
test_a_slow_cache(void **state)
{
	struct lab *l = *state;
	int err = 0;

	begin(l, 1, 3600, 172800);
	assert_int_equal(tick(l, 3600), 0);
	assert_int_equal(sent(l), RTR_SERIAL_QUERY);
	rtr_pdus_response(&l->p, 7);
	assert_int_equal(input(l, 1), 0);
	for (unsigned i = 0; i < 100 && err == 0; i++) {
		rtr_pdus_v4(&l->p, 1, 0x15000000 + (i << 8), 24, 24, ASN);
		assert_int_equal(input(l, 1), 0);
		err = tick(l, 20);
		assert_true(l->next > l->now);
		assert_true(err != 0 || i < 30);
	}
	assert_int_equal(err, -ETIMEDOUT);
	assert_int_equal(records(l), 1);
}

static void
test_silence(void **state)
{
	struct lab *l = *state;

	begin(l, 1, 3600, 7200);
	assert_int_equal(tick(l, 3600), 0);
	assert_int_equal(l->next, l->now + RTR_ANSWER_NS);
	assert_int_equal(tick(l, 29), 0);
	assert_int_equal(tick(l, 1), -ETIMEDOUT);
	rtr_lost(l->r);
	assert_int_equal(records(l), 1);
}

/* What a cache must not send between two answers: the connection ends, the data stays. */
static void
test_faults(void **state)
{
	struct lab *l = *state;
	struct rtr_view v;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t errors;

		if (i == 0)
			begin(l, 2, 3600, 7200);
		rtr_lost(l->r);
		rtr_connected(l->r, l->now);
		(void)sent(l);
		rtr_peek(l->r, &v);
		errors = v.errors;
		if (i != 0 && i != 9)
			rtr_pdus_response(&l->p, 7);
		switch (i) {
		case 0: /* no Cache Response */
			rtr_pdus_v4(&l->p, 1, 0x15000000, 24, 24, ASN);
			break;
		case 1:
			rtr_pdus_v4(&l->p, 1, 0x15000000, 33, 33, ASN);
			break;
		case 2:
			rtr_pdus_v4(&l->p, 1, 0x15000000, 24, 23, ASN);
			break;
		case 3:
			rtr_pdus_v6(&l->p, 1, 0x20010db800000000, 129, 129, ASN);
			break;
		case 4: /* a second one */
			rtr_pdus_response(&l->p, 7);
			break;
		case 5: /* another session */
			rtr_pdus_end(&l->p, 8, 2, 3600, 600, 7200);
			break;
		case 6: /* a short End of Data */
			rtr_pdus_header(&l->p, RTR_END, 7, 12);
			rtr_pdus_u32(&l->p, 2);
			break;
		case 7:
			rtr_pdus_header(&l->p, RTR_ROUTER_KEY, 7, 7);
			break;
		case 8: /* known, so announced twice */
			rtr_pdus_v4(&l->p, 1, 0x14000000, 24, 24, ASN);
			rtr_pdus_v4(&l->p, 1, 0x14000000, 24, 24, ASN);
			rtr_pdus_end(&l->p, 7, 2, 3600, 600, 7200);
			break;
		default: /* without data of a session */
			rtr_pdus_header(&l->p, RTR_CACHE_RESET, 0, 8);
			rtr_pdus_header(&l->p, RTR_CACHE_RESET, 0, 8);
			break;
		}
		assert_int_equal(input(l, 1 + i), -EPROTO);
		assert_int_equal(sent(l), RTR_ERROR);
		rtr_peek(l->r, &v);
		assert_int_equal(v.errors, errors + 1);
		assert_false(l->changed);
		assert_int_equal(records(l), 2);
	}
}

/* ---- every order of events, beside a model of RFC 8210 5, 6, 8 ---- */

enum event {
	CONNECTED,
	CLOSED,
	ANSWER, /* whole, of the session */
	HALF_ANSWER, /* and the connection closes */
	OTHER_ANSWER, /* whole, of a different session */
	CACHE_RESET,
	CORRUPT_DATA, /* error codes */
	NO_DATA,
	NOTIFY,
	OTHER_NOTIFY,
	WAIT, /* longer than all intervals but the expiry */
	EXPIRE,
	EVENTS,
};

struct model {
	bool up, negotiated;
	bool known; /* the session */
	bool due; /* a Serial Notify waits for the answer */
	int query; /* -1: none */
	uint16_t session;
	unsigned records, answers;
	uint64_t expires_ns;
};

/* A query that was not answered is not repeated: the next query is a Reset Query. */
static void
model_ends(struct model *m)
{
	m->known = m->known && m->query < 0;
	m->up = m->negotiated = m->due = false;
	m->query = -1;
}

static void
model_asks(struct model *m)
{
	m->query = m->known ? RTR_SERIAL_QUERY : RTR_RESET_QUERY;
	m->due = false;
}

static void
model_answered(struct model *m, uint16_t session, uint64_t now)
{
	m->records = m->query == RTR_RESET_QUERY ? 2 : m->records + 1;
	m->answers++;
	m->session = session;
	m->known = m->negotiated = true;
	m->expires_ns = now + 600 * SECOND;
	m->query = m->due ? RTR_SERIAL_QUERY : -1;
	m->due = false;
}

static void
model_event(struct model *m, enum event e, uint64_t now)
{
	if ((e == WAIT || e == EXPIRE) && m->records > 0 && now >= m->expires_ns) {
		m->records = 0;
		m->known = false;
		if (m->up && m->query >= 0)
			model_ends(m);
	}
	if (e == CONNECTED && !m->up) {
		m->up = true;
		model_asks(m);
	} else if (!m->up) {
		return;
	} else if (e == ANSWER && m->query >= 0) {
		model_answered(m, m->session, now);
	} else if (e == OTHER_ANSWER && m->query == RTR_RESET_QUERY) {
		model_answered(m, m->session + 1, now);
	} else if (e == CACHE_RESET && m->query == RTR_SERIAL_QUERY) {
		m->known = false;
		m->negotiated = true;
		model_asks(m);
	} else if (e == NO_DATA && m->query >= 0) {
		m->query = -1;
	} else if (e == NOTIFY || (e == OTHER_NOTIFY && !(m->negotiated && m->known))) {
		if (m->negotiated && m->query >= 0)
			m->due = true;
		else if (m->negotiated)
			model_asks(m);
	} else if ((e == WAIT || e == EXPIRE) && m->query < 0) {
		model_asks(m);
	} else if (e != CONNECTED) {
		m->known = m->known && e != OTHER_NOTIFY;
		model_ends(m);
	}
}

/* Gives the event to the client. True: the client, or the cache, ends the connection. */
static bool
event_give(struct lab *l, const struct model *m, enum event e)
{
	uint16_t session = e == OTHER_ANSWER || e == OTHER_NOTIFY ? m->session + 1 : m->session;
	uint32_t record = 0x14000000 + (m->answers << 16);

	if (e == WAIT || e == EXPIRE)
		return tick(l, e == WAIT ? 100 : 601) != 0;
	if (e == CONNECTED && !m->up)
		rtr_connected(l->r, l->now);
	if (!m->up || e == CONNECTED)
		return false;
	if (e == ANSWER || e == HALF_ANSWER || e == OTHER_ANSWER) {
		rtr_pdus_response(&l->p, session);
		rtr_pdus_v4(&l->p, 1, record, 24, 24, ASN);
		if (m->query == RTR_RESET_QUERY)
			rtr_pdus_v4(&l->p, 1, record + 256, 24, 24, ASN);
		if (e != HALF_ANSWER)
			rtr_pdus_end(&l->p, session, m->answers, 99, 99, 600);
	} else if (e == CACHE_RESET) {
		rtr_pdus_header(&l->p, RTR_CACHE_RESET, 0, 8);
	} else if (e == CORRUPT_DATA || e == NO_DATA) {
		rtr_pdus_error(&l->p, e == NO_DATA ? 2 : 0, "");
	} else if (e == NOTIFY || e == OTHER_NOTIFY) {
		rtr_pdus_notify(&l->p, session, m->answers + 1);
	}
	return input(l, 7) != 0 || e == CLOSED || e == HALF_ANSWER;
}

/* The events are the digits of `order`, the first event first. */
static void
run_order(struct lab *l, unsigned order, unsigned count)
{
	struct model m = {.query = -1, .session = 7, .records = 0};
	unsigned begun[] = {CONNECTED, ANSWER};
	struct rtr_view v;

	for (unsigned i = 0; i < 2 + count; i++) {
		enum event e = i < 2 ? begun[i] : order % EVENTS;
		struct model was = m;
		bool ends = event_give(l, &m, e);
		int query;

		order = i < 2 ? order : order / EVENTS;
		model_event(&m, e, l->now);
		query = sent(l);
		if (ends)
			rtr_lost(l->r);
		rtr_peek(l->r, &v);
		if (ends == m.up && was.up)
			fail_msg("event %u of order %u: the connection", i, order);
		if (m.query >= 0 && (m.query != was.query || m.answers != was.answers) &&
			query != m.query)
			fail_msg("event %u (%u): query %d, expected %d", i, e, query, m.query);
		if (records(l) != m.records || v.has_session != m.known)
			fail_msg("event %u (%u): %zu records, session %d; expected %u, %d", i, e,
				records(l), v.has_session, m.records, m.known);
	}
}

/*
 * Every order of up to four events, from a synchronized cache on: a new session of the cache is
 * asked for as a whole, and the data stays until the answer is whole, or expires.
 */
static void
test_every_order(void **state)
{
	struct lab *l = *state;
	unsigned orders = 1;

	for (unsigned count = 1; count <= 4; count++) {
		orders *= EVENTS;
		for (unsigned order = 0; order < orders; order++) {
			rtr_destroy(l->r);
			assert_int_equal(rtr_create(l->arena, &l->r), 0);
			run_order(l, order, count);
		}
	}
}

/* A long Error Report is skipped in full, and its text is printable. */
static void
test_error_report(void **state)
{
	struct lab *l = *state;

	begin(l, 1, 3600, 7200);
	rtr_pdus_error(&l->p, 1, "two\nlines");
	assert_int_equal(input(l, 1), -EPROTO);
	assert_string_equal(rtr_text(l->r), "the cache reports error 1: two?lines");
	assert_int_equal(sent(l), -1); /* RFC 8210 5.11 */
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_incremental),
		TEST(test_expired_during_an_answer),
		TEST(test_expired_between_answers),
		TEST(test_refresh_before_expiry),
		TEST(test_a_slow_cache),
		TEST(test_silence),
		TEST(test_faults),
		TEST(test_error_report),
		TEST(test_every_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
