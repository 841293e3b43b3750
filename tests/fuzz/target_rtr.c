/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Octets of an RPKI cache after the first query, passed whole and octet by octet. Invariants: both
 * ways give the same state and the same records; each record has possible lengths; only a change
 * that is reported replaces the data; the output consists of whole PDUs; no memory is lost.
 */
#include "tests/fuzz/targets.h"

#include "control/rpki/rtr.h"
#include "lpm/base/arena.h"
#include "rib/table/vrp.h"

#include <errno.h>

static struct arena *arena; /* created once */

static void
check_output(struct rtr *r)
{
	size_t len, at = 0;
	const uint8_t *out = rtr_output(r, &len);

	while (at < len) {
		HARNESS_CHECK(len - at >= 8 && out[at] <= 1);
		HARNESS_CHECK(out[at + 1] == 1 || out[at + 1] == 2 || out[at + 1] == 10);
		HARNESS_CHECK(out[at + 4] == 0 && out[at + 5] == 0);
		at += (size_t)out[at + 6] << 8 | out[at + 7];
	}
	HARNESS_CHECK(at == len);
	rtr_sent(r, len);
}

static void
check_records(const struct vrps *v)
{
	for (size_t i = 0; i < vrps_count(v, AFI_NONE); i++) {
		const struct vrp *r = vrps_at(v, i);

		HARNESS_CHECK(r->afi == AFI_IPV4 || r->afi == AFI_IPV6);
		HARNESS_CHECK(
			r->len <= r->max_len && r->max_len <= (r->afi == AFI_IPV4 ? 32 : 128));
		HARNESS_CHECK(r->withdraw == 0);
	}
}

static int
pass(struct rtr *r, const uint8_t *data, size_t len, size_t step)
{
	int err = 0;

	rtr_connected(r, 1);
	check_output(r);
	for (size_t at = 0; at < len && err == 0; at += step) {
		const struct vrps *before = rtr_vrps(r);
		bool changed;

		err = rtr_input(r, data + at, len - at < step ? len - at : step, 1, &changed);
		HARNESS_CHECK(err == 0 || err == -EPROTO);
		HARNESS_CHECK(changed || rtr_vrps(r) == before);
		HARNESS_CHECK(err == 0 || rtr_text(r)[0] != '\0');
		check_output(r);
	}
	return err;
}

static void
check_equal(const struct rtr *one, const struct rtr *other)
{
	const struct vrps *a = rtr_vrps(one), *b = rtr_vrps(other);
	struct rtr_view v, w;

	rtr_peek(one, &v);
	rtr_peek(other, &w);
	HARNESS_CHECK(rtr_state(one) == rtr_state(other));
	HARNESS_CHECK(v.version == w.version && v.has_session == w.has_session);
	HARNESS_CHECK(v.session == w.session && v.serial == w.serial);
	HARNESS_CHECK(v.answers == w.answers && v.resets == w.resets && v.errors == w.errors);
	HARNESS_CHECK(v.refresh_s == w.refresh_s && v.expire_s == w.expire_s);
	HARNESS_CHECK((a == NULL) == (b == NULL));
	HARNESS_CHECK(vrps_count(a, AFI_NONE) == vrps_count(b, AFI_NONE));
	for (size_t i = 0; i < vrps_count(a, AFI_NONE); i++)
		HARNESS_CHECK(memcmp(vrps_at(a, i), vrps_at(b, i), sizeof(struct vrp)) == 0);
}

void
target_rtr(const uint8_t *data, size_t len)
{
	struct rtr *whole, *single;
	int err;

	if (arena == NULL)
		HARNESS_CHECK(arena_create("fuzz", &arena) == 0);
	HARNESS_CHECK(rtr_create(arena, &whole) == 0 && rtr_create(arena, &single) == 0);
	err = pass(whole, data, len, len + 1);
	HARNESS_CHECK(pass(single, data, len, 1) == err);
	check_equal(whole, single);
	check_records(rtr_vrps(whole));
	rtr_destroy(whole);
	rtr_destroy(single);
	HARNESS_CHECK(arena_bytes(arena) == 0);
}
