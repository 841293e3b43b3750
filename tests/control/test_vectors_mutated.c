/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 1,000 mutations of each protocol vector: no crash (detected by sanitizers and harness.h), and
 * only a message that may or must reset the session does so (tests/fuzz/reset_rule.h, called from
 * harness.h for each UPDATE).
 */
#include "tests/control/vectors.h"
#include "tests/fuzz/mutate.h"
#include "tests/lpm/size.h"

#include <stdarg.h>

/* clang-format off */
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define MUTATIONS test_size(300, 1000)
#define MUTATED_MAX 70000
#define VECTORS_MAX 1000
#define ATTRS_MAX 64

static struct sample {
	char name[96];
	uint8_t *msg;
	size_t len;
	struct bgp_update_options options;
} samples[VECTORS_MAX];
static unsigned sample_count;

/* ---- mutations ---- */

struct draft {
	uint8_t p[MUTATED_MAX];
	size_t len;
	/*
	 * of a partly readable UPDATE: offset of the attributes, and of each attribute; the last
	 * entry is the end
	 */
	size_t attrs_at, attr[ATTRS_MAX + 1];
	unsigned attr_count;
};

static void
draft_read(struct draft *d)
{
	size_t end, i;

	d->attr_count = 0;
	if (d->len < 23 || d->p[18] != BGP_UPDATE)
		return;
	d->attrs_at = 23 + rule_u16(d->p + 19);
	if (d->attrs_at > d->len)
		return;
	i = d->attrs_at;
	end = i + rule_u16(d->p + i - 2);
	if (end > d->len)
		end = d->len;
	while (i + 4 <= end && d->attr_count < ATTRS_MAX) {
		size_t n = d->p[i] & 0x10 ? 4 + rule_u16(d->p + i + 2) : 3u + d->p[i + 2];

		if (n > end - i)
			break;
		d->attr[d->attr_count++] = i;
		i += n;
	}
	d->attr[d->attr_count] = i;
}

/* Replaces `cut` octets at `at` with `n` octets of `p`, and adjusts the attributes' length. */
static void
replace(struct draft *d, size_t at, size_t cut, const uint8_t *p, size_t n)
{
	unsigned attrs = rule_u16(d->p + d->attrs_at - 2);

	if (d->len - cut + n > MUTATED_MAX || attrs + n - cut > UINT16_MAX)
		return;
	memmove(d->p + at + n, d->p + at + cut, d->len - at - cut);
	if (n > 0)
		memcpy(d->p + at, p, n);
	d->len = d->len - cut + n;
	attrs = (unsigned)(attrs + n - cut);
	d->p[d->attrs_at - 2] = (uint8_t)(attrs >> 8);
	d->p[d->attrs_at - 1] = (uint8_t)attrs;
}

static void
put_length(uint8_t *p, size_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

/* Copies a whole attribute, from this or another message, between two attributes. */
static void
graft(struct draft *d, const struct draft *from, uint64_t *s)
{
	static uint8_t copy[MUTATED_MAX];
	unsigned i = (unsigned)(splitmix64(s) % from->attr_count);
	size_t n = from->attr[i + 1] - from->attr[i];

	memcpy(copy, from->p + from->attr[i], n);
	if (splitmix64(s) % 2)
		mutate(copy, n, n, s);
	replace(d, d->attr[splitmix64(s) % (d->attr_count + 1)], 0, copy, n);
}

/* A mutation that respects attribute boundaries. */
static void
mutate_attributes(struct draft *d, const struct draft *other, uint64_t *s)
{
	unsigned i = (unsigned)(splitmix64(s) % d->attr_count);
	size_t at = d->attr[i], n = d->attr[i + 1] - at;

	switch (splitmix64(s) % 8) {
	case 0: /* length, slightly off */
		d->p[at + (d->p[at] & 0x10 ? 3 : 2)] += (uint8_t)(splitmix64(s) % 9 - 4);
		break;
	case 1: /* flags */
		d->p[at] ^= (uint8_t)(0x10u << splitmix64(s) % 4);
		break;
	case 2: /* type */
		d->p[at + 1] = (uint8_t)(splitmix64(s) % 40);
		break;
	case 3: /* shorter or longer, with a matching length */
		if (d->p[at] & 0x10 || n < 4 || d->p[at + 2] == 255)
			break;
		if (splitmix64(s) % 2) {
			d->p[at + 2]--;
			replace(d, at + 3 + splitmix64(s) % (n - 3), 1, NULL, 0);
		} else {
			d->p[at + 2]++;
			replace(d, at + 3 + splitmix64(s) % (n - 3), 0, d->p + at + 3, 1);
		}
		break;
	case 4:
		graft(d, d, s);
		break;
	case 5:
		if (other->attr_count > 0)
			graft(d, other, s);
		break;
	case 6:
		replace(d, at, n, NULL, 0);
		break;
	default: /* value */
		for (unsigned k = 0; k < 1 + n / 64 && n > 4; k++)
			d->p[at + 3 + splitmix64(s) % (n - 3)] = (uint8_t)splitmix64(s);
		break;
	}
}

static void
truncate_or_splice(struct draft *d, const struct draft *other, uint64_t *s)
{
	size_t cut = splitmix64(s) % (d->len + 1), from;

	if (splitmix64(s) % 2) {
		d->len = cut;
	} else {
		from = splitmix64(s) % (other->len + 1);
		if (cut + other->len - from > MUTATED_MAX)
			return;
		memcpy(d->p + cut, other->p + from, other->len - from);
		d->len = cut + other->len - from;
	}
	/* Half of the time the attributes end with the message. */
	if (d->attr_count > 0 && d->len > d->attrs_at && d->len - d->attrs_at <= UINT16_MAX &&
		splitmix64(s) % 2)
		put_length(d->p + d->attrs_at - 2, d->len - d->attrs_at);
}

static void
mutate_draft(struct draft *d, const struct draft *other, uint64_t *s)
{
	for (unsigned changes = 1 + (unsigned)(splitmix64(s) % 3); changes > 0; changes--) {
		draft_read(d);
		if (d->attr_count > 0 && splitmix64(s) % 3)
			mutate_attributes(d, other, s);
		else if (splitmix64(s) % 3 == 0)
			truncate_or_splice(d, other, s);
		else
			d->len = mutate(d->p, d->len, MUTATED_MAX, s);
	}
	/* A wrong header hides all other errors, so most messages get a valid header. */
	if (d->len >= BGP_HEADER_LEN && d->len <= UINT16_MAX && splitmix64(s) % 16) {
		memset(d->p, 0xff, 16);
		put_length(d->p + 16, d->len);
	}
}

/* ---- results ---- */

static struct tally {
	unsigned header, waits, other, update[SESSION_RESET + 1];
} tally;

/* True if OPEN, NOTIFICATION and ROUTE-REFRESH follow their rules for ending a session. */
static bool
others_as_ruled(const uint8_t *msg, size_t len)
{
	struct bgp_notification n;
	struct bgp_refresh r;
	struct bgp_open o;
	struct bgp_error e;

	switch (msg[18]) {
	case BGP_OPEN:
		e = bgp_open_decode(msg, len, &o);
		return e.severity == BGP_OK || (e.severity == SESSION_RESET && e.code == ERR_OPEN);
	case BGP_NOTIFICATION:
		e = bgp_notification_decode(msg, len, &n);
		return (e.severity == SESSION_RESET) == (len < 21);
	case BGP_ROUTE_REFRESH:
		e = bgp_refresh_decode(msg, len, false, &r);
		if ((e.severity == SESSION_RESET) != (len < 23))
			return false;
		e = bgp_refresh_decode(msg, len, true, &r);
		return (e.severity == SESSION_RESET) ==
		       (len < 23 || (len != 23 && (msg[21] == 1 || msg[21] == 2)));
	default:
		return true;
	}
}

/*
 * Decodes like a session: the header, then the announced octets, in a block of exactly that size.
 */
static bool
as_ruled(const uint8_t *p, size_t len, const struct bgp_update_options *o)
{
	size_t max = o->extended_message ? BGP_EXTENDED_MSG_MAX : BGP_MSG_MAX;
	struct bgp_error e;
	uint8_t type, *msg;
	bool ok = true;
	uint16_t n;

	if (len < BGP_HEADER_LEN) {
		tally.waits++;
		return true;
	}
	e = bgp_header_decode(p, max, &type, &n);
	if ((e.severity == SESSION_RESET) != rule_header_is_wrong(p, max))
		return false;
	if (e.severity == SESSION_RESET || n > len) {
		tally.header += e.severity == SESSION_RESET;
		tally.waits += e.severity != SESSION_RESET;
		return true;
	}
	msg = harness_copy(p, n);
	harness_message(msg, n, 0);
	if (type == BGP_UPDATE) {
		e = harness_update_with(msg, n, o);
		tally.update[e.severity]++;
	} else {
		tally.other++;
		ok = others_as_ruled(msg, n);
	}
	free(msg);
	return ok;
}

static void
take_sample(const json_t *vector)
{
	struct sample *x = &samples[sample_count++];

	assert_true(sample_count <= VECTORS_MAX);
	snprintf(
		x->name, sizeof(x->name), "%s", json_string_value(json_object_get(vector, "name")));
	x->msg = from_hex(json_string_value(json_object_get(vector, "hex")), &x->len);
	x->options = update_options(json_object_get(vector, "options"));
}

static void
draft_of(struct draft *d, const struct sample *x)
{
	memcpy(d->p, x->msg, x->len);
	d->len = x->len;
	draft_read(d);
}

static void
mutate_sample(const struct sample *x, unsigned seed)
{
	static struct draft d, other;
	uint64_t s = seed;

	for (unsigned i = 0; i < MUTATIONS; i++) {
		struct bgp_update_options o = x->options;

		/* Sometimes with other session options than in the vector. */
		if (splitmix64(&s) % 4 == 0)
			o = harness_update_options((uint8_t)splitmix64(&s));
		if (i % 16 == 0)
			draft_of(&other, &samples[splitmix64(&s) % sample_count]);
		draft_of(&d, x);
		mutate_draft(&d, &other, &s);
		if (as_ruled(d.p, d.len, &o))
			continue;
		print_message("%s, seed %u, mutation %u: ", x->name, seed, i);
		for (size_t n = 0; n < d.len && n < 600; n++)
			print_message("%02x", d.p[n]);
		print_message("\n");
		fail();
	}
}

static void
test_mutated(void **state)
{
	static const char *const kinds[] = {"header", "open", "refresh", "notification", "update"};
	unsigned updates = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		each_vector(kinds[i], take_sample);
	for (unsigned i = 0; i < sample_count; i++)
		mutate_sample(&samples[i], i);
	for (unsigned i = 0; i <= SESSION_RESET; i++)
		updates += tally.update[i];
	print_message(
		"%u vectors, %u messages: %u wrong headers, %u unfinished, %u others, %u updates: "
		"%u ok, %u attribute discard, %u treat as withdraw, %u session reset\n",
		sample_count, sample_count * MUTATIONS, tally.header, tally.waits, tally.other,
		updates, tally.update[BGP_OK], tally.update[ATTRIBUTE_DISCARD],
		tally.update[TREAT_AS_WITHDRAW], tally.update[SESSION_RESET]);
	/* Otherwise the mutations test little. */
	assert_true(updates > sample_count * MUTATIONS / 2);
	for (unsigned i = 0; i <= SESSION_RESET; i++)
		assert_true(tally.update[i] > updates / 50);
	for (unsigned i = 0; i < sample_count; i++)
		free(samples[i].msg);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutated),
	};

	if (!vectors_found())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
