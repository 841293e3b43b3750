/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * oracle: the tables that receivers must hold after the tables of several feeds, computed without a daemon: one JSON line
 *   {"event": "tables", "held": [prefixes of receiver 0, ...], "sum": [...]}
 * in the form of fan's `tables`.
 *
 *   oracle [--ipv6] --count N [--seed N] --per-set N [--shuffle] [--hops N] [--communities N] --feeds N --asn N --us N
 *          [--origins ASN,ASN,...] [--receivers N [--denied ASN,ASN,...] [--tag N]]
 *
 * Feed i (from 0) is `feed --own-as --attributes i+1 --asn ASN+i` with the same options; a lower feed has a lower BGP identifier.
 * Each receiver gets the best path of each prefix with AS `us` prepended and without MED. With --origins only
 * paths that end with an ASN of this list are accepted. With --denied receiver r gets no path through the r-th ASN of the list, and its routes have the
 * further community US:TAG+r.
 *
 * The decision is RFC 4271 9.1.2.2 for these feeds: length of the path, ORIGIN, BGP identifier. MED is never compared, because the
 * feeds are different neighbours.
 */
#include "control/bgp/bgp_attr.h"
#include "control/bgp/bgp_msg.h"
#include "tests/bench/held.h"
#include "tests/bench/table.h"

#include <arpa/inet.h>

#define ASNS_MAX 8192
#define PATH_MAX_LEN (2 + 4 * (TABLE_OWN_MAX + 1))

static struct {
	uint32_t count, feeds, asn, us, receivers, tag;
	uint64_t seed;
	const char *denied, *origins;
	bool ipv6;
	struct table_own own;
} opt = {.seed = 1, .feeds = 1, .receivers = 1, .asn = 64601, .us = 64999, .own.per_set = 8};

/* The best path of a prefix so far. */
struct best {
	uint64_t prefix, sum; /* sum of the attributes as sent to a receiver, with the path */
	unsigned hops; /* 0: no path */
	uint8_t origin;
};

static struct table table;
static struct table_entry *generated; /* in the order of the generator */
static struct held index_of; /* prefix -> 1 + index into best */
static struct best *best;
static uint32_t *paths; /* of best[i] at paths[i * stride], host order */
static size_t stride;
struct asns {
	uint32_t asn[ASNS_MAX];
	unsigned count;
};
static struct asns denied; /* by receiver */
static struct asns origins; /* ascending; none: all are accepted */

/* An attribute set, encoded as the feed sends it: `a` points into `msg`. */
struct sent {
	struct wire_attributes a;
	uint8_t msg[BGP_MSG_MAX];
};

static void
encode_set(const struct table_entry *e, struct sent *out)
{
	static const struct bgp_encode_options encode = {.as4 = true, .send_communities = true};
	enum family family = opt.ipv6 ? FAMILY_IPV6_UNICAST : FAMILY_IPV4_UNICAST;
	struct update_packer packer;
	const uint8_t *at = out->msg + BGP_HEADER_LEN;
	size_t withdrawn;

	table.sets[e->set]->next_hop = (struct ip_addr){
		.b = {1}, .afi = opt.ipv6 ? AFI_IPV6 : AFI_IPV4}; /* left out of the sum */
	if (!update_packer_begin(
		    &packer, family, table.sets[e->set], &encode, out->msg, sizeof(out->msg)) ||
		!update_packer_add(&packer, &e->prefix, 0))
		die("set", EMSGSIZE);
	update_packer_finish(&packer);
	withdrawn = (size_t)at[0] << 8 | at[1];
	at += 2 + withdrawn;
	if (!wire_attributes_read(at + 2, (size_t)at[0] << 8 | at[1], &out->a) ||
		out->a.path.len < 6 || out->a.path.len > PATH_MAX_LEN || out->a.path.p[0] != 2)
		die("set", EPROTO);
}

/* RFC 4271 5.1.2 b: one AS_SEQUENCE with our number in front. */
static uint64_t
sent_sum(const struct sent *s)
{
	uint8_t path[PATH_MAX_LEN + 4] = {2, (uint8_t)(s->a.path.p[1] + 1)};
	uint32_t us = htonl(opt.us);

	memcpy(path + 2, &us, sizeof(us));
	memcpy(path + 6, s->a.path.p + 2, s->a.path.len - 2);
	return s->a.sum + held_path(path, s->a.path.len + 4);
}

static void
best_replace(struct best *b, const struct sent *s)
{
	uint32_t *path = paths + (size_t)(b - best) * stride;

	b->hops = s->a.path.p[1];
	b->origin = s->a.origin;
	b->sum = sent_sum(s);
	if (b->hops > stride)
		die("path", EMSGSIZE);
	memcpy(path, s->a.path.p + 2, 4 * b->hops);
	for (unsigned i = 0; i < b->hops; i++)
		path[i] = ntohl(path[i]);
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool
accepted(const struct sent *s)
{
	uint32_t origin;

	memcpy(&origin, s->a.path.p + s->a.path.len - 4, sizeof(origin));
	origin = ntohl(origin);
	return origins.count == 0 ||
	       bsearch(&origin, origins.asn, origins.count, sizeof(origin), by_number) != NULL;
}

static bool
better(const struct sent *s, const struct best *b)
{
	if (b->hops == 0 || s->a.path.p[1] != b->hops)
		return b->hops == 0 || s->a.path.p[1] < b->hops;
	return s->a.origin < b->origin; /* equal: the lower feed stays */
}

static void
feed_add(uint32_t feed)
{
	static struct sent sent;
	uint32_t set = UINT32_MAX;
	int err;

	memcpy(table.entry, generated, table.entry_count * sizeof(*generated));
	opt.own.seed = feed + 1;
	opt.own.first_asn = opt.asn + feed;
	err = table_own(&table, &opt.own);
	if (err != 0)
		die("table", err);
	for (uint32_t i = 0; i < table.entry_count; i++) {
		const struct table_entry *e = &table.entry[i];
		struct best *b;

		if (e->set != set)
			encode_set(e, &sent);
		set = e->set;
		b = &best[held_find(&index_of, held_prefix(e->prefix.len, e->prefix.b))->route - 1];
		if (accepted(&sent) && better(&sent, b))
			best_replace(b, &sent);
	}
}

static bool
denies(unsigned receiver, const struct best *b)
{
	const uint32_t *path = paths + (size_t)(b - best) * stride;

	if (receiver >= denied.count)
		return b->hops == 0;
	for (unsigned i = 0; i < b->hops; i++) {
		if (path[i] == denied.asn[receiver])
			return true;
	}
	return b->hops == 0;
}

static uint64_t
tag_sum(unsigned receiver)
{
	uint32_t community = htonl(opt.us << 16 | (opt.tag + receiver));

	return denied.count > 0 ? held_communities(WIRE_COMMUNITIES, (uint8_t *)&community, 4, 4)
				: 0;
}

static void
receivers_print(void)
{
	uint64_t *held = calloc(opt.receivers, sizeof(*held)),
		 *sum = calloc(opt.receivers, sizeof(*sum));

	if (held == NULL || sum == NULL)
		die("receivers", ENOMEM);
	for (unsigned r = 0; r < opt.receivers; r++) {
		uint64_t tag = tag_sum(r);

		for (uint32_t i = 0; i < opt.count; i++) {
			if (denies(r, &best[i]))
				continue;
			held[r]++;
			sum[r] += held_route(best[i].prefix, best[i].sum + tag);
		}
	}
	printf("{\"event\": \"tables\", \"held\": [");
	for (unsigned r = 0; r < opt.receivers; r++)
		printf("%s%llu", r > 0 ? ", " : "", (unsigned long long)held[r]);
	printf("], \"sum\": [");
	for (unsigned r = 0; r < opt.receivers; r++)
		printf("%s%llu", r > 0 ? ", " : "", (unsigned long long)sum[r]);
	printf("]}\n");
	free(held);
	free(sum);
}

static void
asns_read(const char *at, struct asns *out)
{
	while (at != NULL && *at != '\0') {
		char *end;

		if (out->count == ASNS_MAX)
			die("list", E2BIG);
		out->asn[out->count++] = (uint32_t)strtoul(at, &end, 10);
		if (end == at || (*end != ',' && *end != '\0'))
			die("list", EINVAL);
		at = *end == ',' ? end + 1 : end;
	}
}

static void
start(void)
{
	int err = table_generate(&table, opt.ipv6 ? AFI_IPV6 : AFI_IPV4, opt.count, opt.seed);

	if (err != 0)
		die("table", err);
	stride = opt.own.hops > 0 ? opt.own.hops : 16;
	generated = malloc(opt.count * sizeof(*generated));
	best = calloc(opt.count, sizeof(*best));
	paths = calloc(opt.count * stride, sizeof(*paths));
	if (generated == NULL || best == NULL || paths == NULL)
		die("table", ENOMEM);
	memcpy(generated, table.entry, opt.count * sizeof(*generated));
	for (uint32_t i = 0; i < opt.count; i++) {
		const struct prefix *p = &table.entry[i].prefix;

		best[i].prefix = held_prefix(p->len, p->b);
		held_set(&index_of, best[i].prefix, i + 1);
	}
	if (index_of.count != opt.count)
		die("prefixes with one hash", EEXIST);
}

int
main(int argc, char **argv)
{
	const struct tool_option options[] = {{"ipv6", OPTION_FLAG, &opt.ipv6},
		{"count", OPTION_U32, &opt.count}, {"seed", OPTION_U64, &opt.seed},
		{"per-set", OPTION_U32, &opt.own.per_set},
		{"shuffle", OPTION_FLAG, &opt.own.shuffle}, {"hops", OPTION_U32, &opt.own.hops},
		{"communities", OPTION_U32, &opt.own.communities},
		{"feeds", OPTION_U32, &opt.feeds}, {"asn", OPTION_U32, &opt.asn},
		{"us", OPTION_U32, &opt.us}, {"receivers", OPTION_U32, &opt.receivers},
		{"denied", OPTION_TEXT, &opt.denied}, {"origins", OPTION_TEXT, &opt.origins},
		{"tag", OPTION_U32, &opt.tag}};

	options_read(argc, argv, options, sizeof(options) / sizeof(options[0]));
	if (opt.count == 0 || opt.own.per_set == 0 || opt.receivers == 0 ||
		opt.own.hops > TABLE_OWN_MAX || opt.own.communities > TABLE_OWN_MAX) {
		fprintf(stderr, "oracle: --count, --per-set and --receivers are at least 1\n");
		return 2;
	}
	asns_read(opt.denied, &denied);
	asns_read(opt.origins, &origins);
	qsort(origins.asn, origins.count, sizeof(origins.asn[0]), by_number);
	start();
	for (uint32_t i = 0; i < opt.feeds; i++)
		feed_add(i);
	receivers_print();
	return 0;
}
