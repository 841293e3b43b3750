/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/rpki/rtr.h"

#include "lpm/base/arena.h"
#include "rib/table/vrp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define VERSION_MAX 1u
#define HEADER 8u
#define PDU_MAX 1024u /* Error Reports with a long text or copy are cut, see pdu_end() */
#define COPY_MAX 64u /* octets of a faulty PDU in our Error Report */
#define OUTPUT_MAX 512u
#define CHANGES_FIRST 4096u

/* RFC 8210 5 */
enum pdu_type {
	PDU_SERIAL_NOTIFY = 0,
	PDU_SERIAL_QUERY = 1,
	PDU_RESET_QUERY = 2,
	PDU_CACHE_RESPONSE = 3,
	PDU_IPV4_PREFIX = 4,
	PDU_IPV6_PREFIX = 6,
	PDU_END_OF_DATA = 7,
	PDU_CACHE_RESET = 8,
	PDU_ROUTER_KEY = 9,
	PDU_ERROR_REPORT = 10,
};

/* RFC 8210 12 */
enum error_code {
	ERROR_CORRUPT = 0,
	ERROR_INTERNAL = 1,
	ERROR_NO_DATA = 2,
	ERROR_INVALID_REQUEST = 3,
	ERROR_VERSION = 4,
	ERROR_TYPE = 5,
	ERROR_WITHDRAWAL = 6,
	ERROR_DUPLICATE = 7,
	ERROR_UNEXPECTED_VERSION = 8,
};

struct rtr {
	struct arena *arena;
	enum rtr_state state;
	uint8_t version; /* of our next query */
	bool negotiated; /* the cache has answered in `version` on this connection */
	/* the query that the cache owes an answer to */
	enum query { QUERY_NONE, QUERY_SERIAL, QUERY_RESET } query;
	bool in_answer; /* between Cache Response and End of Data */
	bool query_due; /* a Serial Notify arrived during an answer */
	uint64_t asked_ns; /* the query */
	uint64_t heard_ns; /* last octets, or the query */
	uint64_t query_ns; /* time of the next query without Serial Notify */

	bool has_session;
	uint8_t session_version; /* RFC 8210 5.1: a session has one version */
	uint16_t session;
	uint32_t serial;
	struct vrps *vrps;
	uint64_t synced_ns, expires_ns;
	uint32_t refresh_s, retry_s, expire_s;
	uint64_t answers, resets, errors;
	char text[RTR_TEXT_MAX];

	/* records of the running answer */
	struct vrp *changes;
	size_t change_count, change_size;

	/* an incomplete PDU; of a long Error Report the rest is skipped */
	uint8_t pdu[PDU_MAX];
	size_t pdu_len, skip;

	uint8_t output[OUTPUT_MAX];
	size_t output_len;
};

static uint16_t
get_u16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

static uint32_t
get_u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void
put_u16(uint8_t *b, uint32_t v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

static void
put_u32(uint8_t *b, uint32_t v)
{
	put_u16(b, v >> 16);
	put_u16(b + 2, v);
}

/* ---- life ---- */

int
rtr_create(struct arena *a, struct rtr **out)
{
	struct rtr *r = arena_calloc(a, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->arena = a;
	r->version = VERSION_MAX;
	/* RFC 8210 6: initial values */
	r->refresh_s = 3600;
	r->retry_s = 600;
	r->expire_s = 7200;
	*out = r;
	return 0;
}

static void
changes_free(struct rtr *r)
{
	arena_free(r->arena, r->changes);
	r->changes = NULL;
	r->change_count = r->change_size = 0;
}

void
rtr_destroy(struct rtr *r)
{
	if (r == NULL)
		return;
	changes_free(r);
	vrps_unref(r->vrps);
	arena_free(r->arena, r);
}

/* ---- output ---- */

/* Queries and one Error Report always have room: each query waits for the answer of the last. */
static uint8_t *
output_add(struct rtr *r, enum pdu_type type, uint32_t session, size_t len)
{
	uint8_t *p = r->output + r->output_len;

	if (len > OUTPUT_MAX - r->output_len)
		return NULL;
	memset(p, 0, len);
	p[0] = r->version;
	p[1] = (uint8_t)type;
	put_u16(p + 2, session);
	put_u32(p + 4, (uint32_t)len);
	r->output_len += len;
	return p;
}

static void
query_send(struct rtr *r, uint64_t now)
{
	uint8_t *p;

	r->query_due = false;
	r->query = r->has_session && r->vrps != NULL && r->session_version == r->version
			   ? QUERY_SERIAL
			   : QUERY_RESET;
	if (r->query == QUERY_SERIAL) {
		p = output_add(r, PDU_SERIAL_QUERY, r->session, HEADER + 4);
		if (p != NULL)
			put_u32(p + HEADER, r->serial);
	} else {
		(void)output_add(r, PDU_RESET_QUERY, 0, HEADER);
	}
	r->asked_ns = r->heard_ns = now;
	if (r->state != RTR_SYNCED)
		r->state = RTR_SYNCING;
}

/* Reports an error in `pdu` to the cache; the connection ends. -EPROTO. */
static int fail(struct rtr *r, enum error_code code, const uint8_t *pdu, size_t len,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static int
fail(struct rtr *r, enum error_code code, const uint8_t *pdu, size_t len, const char *fmt, ...)
{
	size_t text_len, copy = len < COPY_MAX ? len : COPY_MAX;
	va_list args;
	uint8_t *p;

	va_start(args, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, args);
	va_end(args);
	r->errors++;
	text_len = strlen(r->text);
	p = output_add(r, PDU_ERROR_REPORT, code, HEADER + 8 + copy + text_len);
	if (p == NULL)
		return -EPROTO;
	put_u32(p + HEADER, (uint32_t)copy);
	if (copy > 0)
		memcpy(p + HEADER + 4, pdu, copy);
	put_u32(p + HEADER + 4 + copy, (uint32_t)text_len);
	memcpy(p + HEADER + 8 + copy, r->text, text_len);
	return -EPROTO;
}

const uint8_t *
rtr_output(const struct rtr *r, size_t *len)
{
	*len = r->output_len;
	return r->output;
}

void
rtr_sent(struct rtr *r, size_t len)
{
	memmove(r->output, r->output + len, r->output_len - len);
	r->output_len -= len;
}

/* ---- records ---- */

static int
change_add(struct rtr *r, const struct vrp *v)
{
	struct vrp *grown;
	size_t size;

	if (r->change_count == RTR_RECORDS_MAX)
		return -E2BIG;
	if (r->change_count == r->change_size) {
		size = r->change_size == 0 ? CHANGES_FIRST : r->change_size * 2;
		grown = arena_realloc(r->arena, r->changes, size * sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		r->changes = grown;
		r->change_size = size;
	}
	r->changes[r->change_count++] = *v;
	return 0;
}

/* RFC 8210 5.6, 5.7 */
static int
take_prefix(struct rtr *r, const uint8_t *pdu, size_t len)
{
	bool v4 = pdu[1] == PDU_IPV4_PREFIX;
	struct ip_addr addr = {.afi = v4 ? AFI_IPV4 : AFI_IPV6};
	uint8_t flags = pdu[8], prefix_len = pdu[9], max_len = pdu[10];
	unsigned bits = v4 ? 32 : 128;
	struct prefix prefix;
	struct vrp v;
	int err;

	if (!r->in_answer)
		return fail(r, ERROR_CORRUPT, pdu, len, "a prefix outside of an answer");
	if (prefix_len > max_len || max_len > bits)
		return fail(r, ERROR_CORRUPT, pdu, len, "prefix length %u, maximum length %u",
			prefix_len, max_len);
	memcpy(addr.b, pdu + 12, bits / 8);
	prefix = prefix_from_addr(&addr, prefix_len);
	v = vrp_make(&prefix, max_len, get_u32(pdu + len - 4));
	v.withdraw = (flags & 1) == 0;
	if (v.withdraw && r->query == QUERY_RESET)
		return fail(r, ERROR_WITHDRAWAL, pdu, len, "a withdrawal in a full answer");
	err = change_add(r, &v);
	if (err == -E2BIG)
		return fail(r, ERROR_INTERNAL, NULL, 0, "more than %u records in an answer",
			RTR_RECORDS_MAX);
	return err == 0 ? 0 : fail(r, ERROR_INTERNAL, NULL, 0, "out of memory");
}

/* ---- answers ---- */

static void
data_drop(struct rtr *r, bool *changed)
{
	*changed |= r->vrps != NULL;
	vrps_unref(r->vrps);
	r->vrps = NULL;
	r->has_session = false;
	r->synced_ns = r->expires_ns = 0;
}

static uint32_t
clamp(uint32_t v, uint32_t low, uint32_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* RFC 8210 6: the limits of the intervals */
static void
intervals_take(struct rtr *r, const uint8_t *pdu)
{
	if (r->version == 0)
		return;
	r->refresh_s = clamp(get_u32(pdu + 12), 1, 86400);
	r->retry_s = clamp(get_u32(pdu + 16), 1, 7200);
	r->expire_s = clamp(get_u32(pdu + 20), 600, 172800);
	/* the cache must send a shorter refresh interval; else the data would expire before a query */
	if (r->refresh_s >= r->expire_s)
		r->refresh_s = r->expire_s / 2;
}

static int
take_end_of_data(struct rtr *r, const uint8_t *pdu, size_t len, uint64_t now, bool *changed)
{
	bool full = r->query == QUERY_RESET;
	struct vrps *next;
	struct vrp at;
	int err;

	if (!r->in_answer)
		return fail(r, ERROR_CORRUPT, pdu, len, "End of Data outside of an answer");
	if (get_u16(pdu + 2) != r->session)
		return fail(r, ERROR_CORRUPT, pdu, len, "session %u within an answer of session %u",
			get_u16(pdu + 2), r->session);
	if (!full && r->change_count == 0) {
		next = vrps_ref(r->vrps);
		err = 0;
	} else {
		err = vrps_apply(
			r->arena, full ? NULL : r->vrps, r->changes, r->change_count, &next, &at);
	}
	changes_free(r);
	if (err != 0)
		r->has_session = false; /* the next query asks for everything */
	if (err == -ENOMEM)
		return fail(r, ERROR_INTERNAL, NULL, 0, "out of memory");
	if (err != 0)
		return fail(r, err == -EEXIST ? ERROR_DUPLICATE : ERROR_WITHDRAWAL, NULL, 0,
			err == -EEXIST ? "a record is announced twice (AS %u)"
				       : "an unknown record is withdrawn (AS %u)",
			at.asn);
	if (vrps_count(next, AFI_NONE) > RTR_RECORDS_MAX) {
		vrps_unref(next);
		r->has_session = false;
		return fail(r, ERROR_INTERNAL, NULL, 0, "more than %u records", RTR_RECORDS_MAX);
	}
	vrps_unref(r->vrps);
	r->vrps = next;
	r->serial = get_u32(pdu + 8);
	r->has_session = true;
	intervals_take(r, pdu);
	r->synced_ns = now;
	r->expires_ns = now + r->expire_s * SECOND;
	r->query_ns = now + r->refresh_s * SECOND;
	r->query = QUERY_NONE;
	r->in_answer = false;
	r->state = RTR_SYNCED;
	r->text[0] = '\0';
	r->answers++;
	r->resets += full;
	*changed = true;
	if (r->query_due)
		query_send(r, now);
	return 0;
}

/*
 * The cache has a different session. RFC 8210 5.1, not done: the router flushes the data. Routes
 * would be `not-found` until the full answer of a cache after a restart. The data stays until the
 * full answer, or expires.
 */
static int
session_fail(struct rtr *r, const uint8_t *pdu, size_t len)
{
	r->has_session = false;
	return fail(r, ERROR_CORRUPT, pdu, len,
		"session %u of version %u, expected session %u of version %u", get_u16(pdu + 2),
		pdu[0], r->session, r->session_version);
}

static int
take_response(struct rtr *r, const uint8_t *pdu, size_t len)
{
	uint16_t session = get_u16(pdu + 2);

	if (r->query == QUERY_NONE || r->in_answer)
		return fail(r, ERROR_CORRUPT, pdu, len, "an answer without a query");
	/* RFC 8210 5.5, 7: data of two sessions, or of two versions, must not meet */
	if (r->query == QUERY_SERIAL && (session != r->session || pdu[0] != r->session_version))
		return session_fail(r, pdu, len);
	r->session = session;
	r->session_version = pdu[0];
	r->in_answer = true;
	return 0;
}

static int
take_notify(struct rtr *r, const uint8_t *pdu, size_t len, uint64_t now)
{
	if (!r->negotiated)
		return 0; /* RFC 8210 7 */
	if (r->has_session && get_u16(pdu + 2) != r->session)
		return session_fail(r, pdu, len);
	if (r->query != QUERY_NONE)
		r->query_due = true;
	else if (!r->has_session || get_u32(pdu + 8) != r->serial)
		query_send(r, now);
	return 0;
}

/* RFC 8210 5.9: the cache cannot answer incrementally. The data stays until the full answer. */
static int
take_cache_reset(struct rtr *r, const uint8_t *pdu, size_t len, uint64_t now)
{
	if (r->query != QUERY_SERIAL || r->in_answer)
		return fail(r, ERROR_CORRUPT, pdu, len, "a Cache Reset without a Serial Query");
	r->has_session = false;
	query_send(r, now);
	return 0;
}

/* The text of an Error Report, printable, cut to the room. */
static void
report_text(struct rtr *r, const uint8_t *pdu, size_t len)
{
	size_t n = (size_t)snprintf(
		       r->text, sizeof(r->text), "the cache reports error %u: ", get_u16(pdu + 2)),
	       at = HEADER, part;

	if (len - at < 4 || (part = get_u32(pdu + at)) > len - at - 4 || len - at - 4 - part < 4) {
		r->text[n - 2] = '\0';
		return;
	}
	at += 4 + part + 4;
	for (; at < len && n + 1 < sizeof(r->text); at++)
		r->text[n++] = (char)(pdu[at] >= 0x20 && pdu[at] < 0x7f ? pdu[at] : '?');
	r->text[n] = '\0';
}

/* RFC 8210 5.11: an Error Report is never answered by one. */
static int
take_error(struct rtr *r, const uint8_t *pdu, size_t len, uint64_t now)
{
	uint16_t code = get_u16(pdu + 2);

	report_text(r, pdu, len);
	if (code == ERROR_NO_DATA && r->query != QUERY_NONE && !r->in_answer) {
		r->query = QUERY_NONE;
		r->state = RTR_NO_DATA;
		r->query_ns = now + r->retry_s * SECOND;
		return 0;
	}
	/* RFC 8210 7: the next connection begins with the lower version */
	if (code == ERROR_VERSION && r->version > 0 && pdu[0] < r->version)
		r->version = pdu[0];
	else if (code == ERROR_VERSION && r->version > 0 && !r->negotiated)
		r->version--;
	r->errors++;
	return -EPROTO;
}

/* ---- PDUs ---- */

/* The length that RFC 6810 5 and RFC 8210 5 give; 0: any, from HEADER on; 1: unknown type. */
static size_t
length_of(uint8_t version, uint8_t type)
{
	switch (type) {
	case PDU_SERIAL_NOTIFY:
		return HEADER + 4;
	case PDU_CACHE_RESPONSE:
	case PDU_CACHE_RESET:
		return HEADER;
	case PDU_IPV4_PREFIX:
		return HEADER + 12;
	case PDU_IPV6_PREFIX:
		return HEADER + 24;
	case PDU_END_OF_DATA:
		return version == 0 ? HEADER + 4 : HEADER + 16;
	case PDU_ROUTER_KEY:
		return version == 0 ? 1 : 0;
	case PDU_ERROR_REPORT:
		return 0;
	default:
		return 1;
	}
}

/* Version, type and length of a header. 0, -EPROTO. */
static int
header_check(struct rtr *r, const uint8_t *pdu)
{
	size_t len = get_u32(pdu + 4), expected;
	bool first = !r->negotiated && pdu[1] != PDU_SERIAL_NOTIFY && pdu[1] != PDU_ERROR_REPORT;

	if (first && pdu[0] < r->version)
		r->version = pdu[0]; /* RFC 8210 7: the cache is older */
	if (pdu[1] != PDU_ERROR_REPORT && pdu[0] != r->version &&
		(r->negotiated || pdu[1] != PDU_SERIAL_NOTIFY))
		return fail(r, r->negotiated ? ERROR_UNEXPECTED_VERSION : ERROR_VERSION, pdu,
			HEADER, "version %u, expected %u", pdu[0], r->version);
	expected = length_of(pdu[0], pdu[1]);
	if (expected == 1)
		return fail(r, ERROR_TYPE, pdu, HEADER, "unknown type %u", pdu[1]);
	if (len < HEADER || (expected != 0 && len != expected) || len > (64u << 10))
		return fail(r, ERROR_CORRUPT, pdu, HEADER, "length %zu of a PDU of type %u", len,
			pdu[1]);
	r->negotiated |= first;
	return 0;
}

static int
take_pdu(struct rtr *r, const uint8_t *pdu, size_t len, uint64_t now, bool *changed)
{
	switch (pdu[1]) {
	case PDU_SERIAL_NOTIFY:
		return take_notify(r, pdu, len, now);
	case PDU_CACHE_RESPONSE:
		return take_response(r, pdu, len);
	case PDU_IPV4_PREFIX:
	case PDU_IPV6_PREFIX:
		return take_prefix(r, pdu, len);
	case PDU_END_OF_DATA:
		return take_end_of_data(r, pdu, len, now, changed);
	case PDU_CACHE_RESET:
		return take_cache_reset(r, pdu, len, now);
	case PDU_ERROR_REPORT:
		return take_error(r, pdu, len, now);
	default:
		return 0; /* a router key: keeld validates no paths */
	}
}

/* The end of a PDU: takes the part in the buffer; the rest of a longer one is skipped. */
static int
pdu_end(struct rtr *r, uint64_t now, bool *changed)
{
	size_t len = r->pdu_len;

	r->skip = get_u32(r->pdu + 4) - len;
	r->pdu_len = 0;
	return take_pdu(r, r->pdu, len, now, changed);
}

int
rtr_input(struct rtr *r, const uint8_t *data, size_t len, uint64_t now, bool *changed)
{
	size_t whole, take;
	int err = 0;

	*changed = false;
	r->heard_ns = now;
	while (len > 0 && err == 0) {
		bool header = r->pdu_len < HEADER;

		whole = header ? HEADER : get_u32(r->pdu + 4);
		whole = whole < PDU_MAX ? whole : PDU_MAX;
		take = r->skip > 0 ? r->skip : whole - r->pdu_len;
		take = take < len ? take : len;
		if (r->skip > 0) {
			r->skip -= take;
		} else {
			memcpy(r->pdu + r->pdu_len, data, take);
			r->pdu_len += take;
			if (header && r->pdu_len == HEADER)
				err = header_check(r, r->pdu);
			if (err == 0 && r->pdu_len >= HEADER &&
				(r->pdu_len == PDU_MAX || r->pdu_len == get_u32(r->pdu + 4)))
				err = pdu_end(r, now, changed);
		}
		data += take;
		len -= take;
	}
	return err;
}

/* ---- connection and time ---- */

static void
answer_forget(struct rtr *r)
{
	changes_free(r);
	r->query = QUERY_NONE;
	r->in_answer = r->query_due = r->negotiated = false;
	r->pdu_len = r->skip = r->output_len = 0;
}

void
rtr_connected(struct rtr *r, uint64_t now)
{
	answer_forget(r);
	r->state = RTR_SYNCING;
	query_send(r, now);
}

bool
rtr_lost(struct rtr *r)
{
	bool serial = r->query == QUERY_SERIAL;

	/*
	 * No repetition of an unanswered query: a cache with a new session may end each connection
	 * with a query for the old session.
	 */
	if (r->query != QUERY_NONE)
		r->has_session = false;
	answer_forget(r);
	r->state = RTR_DOWN;
	return serial;
}

static_assert(
	RTR_ANSWER_NS == 30 * SECOND && RTR_WHOLE_NS == 600 * SECOND, "the texts of rtr_tick()");

static int
late(struct rtr *r, const char *text)
{
	snprintf(r->text, sizeof(r->text), "%s", text);
	r->errors++;
	return -ETIMEDOUT;
}

int
rtr_tick(struct rtr *r, uint64_t now, uint64_t *next, bool *changed)
{
	uint64_t due;

	*changed = false;
	*next = UINT64_MAX;
	if (r->vrps != NULL && now >= r->expires_ns)
		data_drop(r, changed);
	if (r->vrps != NULL)
		*next = r->expires_ns;
	if (r->state == RTR_DOWN)
		return 0;
	/* changes of expired data are no data */
	if (*changed && r->query == QUERY_SERIAL)
		return late(r, "the data expired before the answer to the Serial Query");
	if (r->query != QUERY_NONE && now >= r->heard_ns + RTR_ANSWER_NS)
		return late(r, "the cache was silent for 30 s");
	if (r->query != QUERY_NONE && now >= r->asked_ns + RTR_WHOLE_NS)
		return late(r, "no complete answer within 600 s");
	if (*changed && r->state == RTR_SYNCED)
		r->state = RTR_SYNCING;
	if (r->query == QUERY_NONE && (*changed || now >= r->query_ns))
		query_send(r, now);
	due = r->query_ns;
	if (r->query != QUERY_NONE) {
		due = r->heard_ns + RTR_ANSWER_NS;
		if (r->asked_ns + RTR_WHOLE_NS < due)
			due = r->asked_ns + RTR_WHOLE_NS;
	}
	*next = due < *next ? due : *next;
	return 0;
}

/* ---- views ---- */

enum rtr_state
rtr_state(const struct rtr *r)
{
	return r->state;
}

const char *
rtr_state_text(enum rtr_state s)
{
	static const char *const text[] = {"down", "syncing", "synced", "no-data"};

	return text[s];
}

struct vrps *
rtr_vrps(const struct rtr *r)
{
	return r->vrps;
}

const char *
rtr_text(const struct rtr *r)
{
	return r->text;
}

void
rtr_peek(const struct rtr *r, struct rtr_view *out)
{
	*out = (struct rtr_view){
		.version = r->version,
		.has_session = r->has_session,
		.session = r->session,
		.serial = r->serial,
		.synced_ns = r->synced_ns,
		.expires_ns = r->expires_ns,
		.answers = r->answers,
		.resets = r->resets,
		.errors = r->errors,
		.refresh_s = r->refresh_s,
		.retry_s = r->retry_s,
		.expire_s = r->expire_s,
	};
}
