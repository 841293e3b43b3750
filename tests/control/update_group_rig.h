/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of update groups: a shard with a small journal, policies from a configuration, and a
 * receiver of the group's messages.
 */
#pragma once

#include "control/bgp/bgp_msg.h"
#include "control/config/policy_compile.h"
#include "control/base/threads.h"
#include "control/export/update_group.h"
#include "tests/control/update_turn.h"
#include "tests/lpm/rng.h"
#include "tests/rib/shard_rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

static uint64_t seed __attribute__((unused)), rng;

static inline uint32_t
below(uint32_t n)
{
	return (uint32_t)((splitmix64(&rng) >> 32) * n >> 32);
}

/* ---- set-up ---- */

/* Entries of a prefix list: every third prefix. */
static inline json_t *
thirds(const struct prefix *prefix, unsigned count)
{
	json_t *entries = json_array();
	char text[PREFIX_TEXT_MAX];

	for (unsigned i = 0; i < count; i += 3)
		json_array_append_new(entries, json_pack("{s:s, s:s}", "action", "permit", "prefix",
						       prefix_format(&prefix[i], text)));
	return entries;
}

/* Takes ownership of `doc`. */
static inline struct policy_set *
policies_compile(json_t *doc)
{
	struct faults faults = {0};
	struct policy_set *set;

	assert_non_null(doc);
	set = policy_set_compile(doc, &faults);
	for (unsigned i = 0; i < faults.count; i++)
		fprintf(stderr, "%s: %s\n", faults.fault[i].path, faults.fault[i].reason);
	assert_non_null(set);
	json_decref(doc);
	faults_fini(&faults);
	return set;
}

/*
 * Distinct random prefixes, /8 to /32 within 10.0.0.0/8, stored after the `first` existing
 * prefixes.
 */
static inline void
prefixes_random(struct prefix *prefix, unsigned first, unsigned count)
{
	for (unsigned i = first; i < count; i++) {
		bool again = true;

		while (again) {
			prefix[i] = prefix_from_v4(
				0x0a000000u + below(1u << 24), (uint8_t)(8 + below(25)));
			again = false;
			for (unsigned k = 0; k < i; k++)
				again |= prefix_equal(&prefix[i], &prefix[k]);
		}
	}
}

static inline unsigned
prefix_index(const struct prefix *prefix, unsigned count, const struct prefix *p)
{
	for (unsigned i = 0; i < count; i++) {
		if (prefix_equal(p, &prefix[i]))
			return i;
	}
	fail_msg("a prefix that nobody announced");
	return 0;
}

/* Announces `p` from a peer (0: our own route), or withdraws `p` when `attrs` is NULL. */
static inline void
group_rig_say(struct rig *r, unsigned peer, const struct prefix *p, const struct attr_set *attrs)
{
	struct rib_nlri n = {.prefix = *p, .label = 0xfffff};
	int err;

	if (peer != 0) {
		rig_update(r, (uint16_t)peer, attrs, &n, 1);
		return;
	}
	err = shard_originate(r->shard, VRF_DEFAULT, FAMILY_IPV4_UNICAST, p, attrs);
	if (attrs != NULL)
		assert_int_equal(err, 0);
}

/* ---- a receiver ---- */

struct route {
	bool present, stale;
	uint16_t source, serial;
	uint32_t label; /* VPN families */
	union rig_attrs attrs;
};

struct receiver_ops {
	enum family family;
	bool as4, external;
	void (*announced)(void *ctx, const struct nlri *n, const struct attr_set *a);
	void (*withdrawn)(void *ctx, const struct nlri *n);
	void (*end_of_rib)(void *ctx);
	void (*refresh)(void *ctx, uint8_t subtype);
	void (*after)(void *ctx); /* after each message */
};

static inline void
route_set(struct route *r, const struct attr_set *a)
{
	r->present = true;
	r->stale = false;
	memset(&r->attrs, 0, sizeof(r->attrs));
	assert_true(attr_set_size(a) <= sizeof(r->attrs));
	memcpy(&r->attrs, a, attr_set_size(a));
}

/* RFC 7313 4: BoRR marks, EoRR sweeps. */
static inline void
routes_refresh(struct route *route, unsigned count, bool *refreshing, uint8_t subtype)
{
	bool begin = subtype == REFRESH_BEGIN;

	assert_true(begin || subtype == REFRESH_END);
	assert_int_equal(*refreshing, !begin);
	*refreshing = begin;
	for (unsigned i = 0; i < count; i++) {
		if (begin)
			route[i].stale = true;
		else if (route[i].stale)
			route[i].present = false;
	}
}

static inline void
receive_update(const struct receiver_ops *ops, void *ctx, const uint8_t *msg, size_t len)
{
	static union {
		struct attr_set a;
		uint8_t room[ATTR_SET_MAX];
	} attrs;
	struct bgp_update_options o = {.as4 = ops->as4,
		.external = ops->external,
		.families = (uint8_t)(1u << ops->family)};
	struct bgp_update u;
	struct nlri n;

	bgp_update_decode(msg, len, &o, &attrs.a, &u);
	assert_int_equal(u.error.severity, BGP_OK);
	if (u.end_of_rib)
		ops->end_of_rib(ctx);
	for (unsigned i = 0; i < u.withdrawn_count; i++) {
		while (nlri_read_form(&u.withdrawn[i].nlri, u.withdrawn[i].form, &n))
			ops->withdrawn(ctx, &n);
	}
	for (unsigned i = 0; i < u.announced_count; i++) {
		while (nlri_read_form(&u.announced[i].nlri, u.announced[i].form, &n))
			ops->announced(ctx, &n, &attrs.a);
	}
}

/* Decodes and applies whole messages. */
static inline void
receive(const struct receiver_ops *ops, void *ctx, const uint8_t *p, size_t len)
{
	while (len > 0) {
		struct bgp_refresh r;
		uint8_t type;
		uint16_t n;

		assert_true(len >= BGP_HEADER_LEN);
		assert_int_equal(bgp_header_decode(p, BGP_MSG_MAX, &type, &n).severity, BGP_OK);
		assert_true(n <= len);
		if (type == BGP_UPDATE) {
			receive_update(ops, ctx, p, n);
		} else {
			assert_int_equal(bgp_refresh_decode(p, n, true, &r).severity, BGP_OK);
			ops->refresh(ctx, r.subtype);
		}
		ops->after(ctx);
		p += n;
		len -= n;
	}
}

struct group_reader {
	struct qsbr *readers;
	unsigned reader;
	struct adj_records *records;
};

/*
 * One call of encode, with its output received. *others as in update_turn. True: the member has
 * more to send.
 */
static inline bool
encode_once(const struct group_reader *g, struct update_member *m, size_t size,
	void (*on_mark)(void *ctx, enum update_group_mark m), const struct receiver_ops *ops,
	void *ctx, bool *others)
{
	uint8_t *buf = malloc(size); /* of the exact size, for AddressSanitizer */
	bool more;
	size_t len;

	qsbr_online(g->readers, g->reader);
	len = turn_send(m, buf, size, below(20) == 0 ? 1 : UINT64_MAX, &more, others, on_mark, ctx);
	qsbr_offline(g->readers, g->reader);
	assert_true(len <= size);
	receive(ops, ctx, buf, len);
	free(buf);
	return more;
}
