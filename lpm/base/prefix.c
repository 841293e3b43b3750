/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *text;
	uint8_t afi, safi;
} families[FAMILY_COUNT] = {
	[FAMILY_IPV4_UNICAST] = {"ipv4-unicast", AFI_IPV4, SAFI_UNICAST},
	[FAMILY_IPV6_UNICAST] = {"ipv6-unicast", AFI_IPV6, SAFI_UNICAST},
	[FAMILY_VPNV4_UNICAST] = {"vpnv4-unicast", AFI_IPV4, SAFI_VPN},
	[FAMILY_VPNV6_UNICAST] = {"vpnv6-unicast", AFI_IPV6, SAFI_VPN},
};

enum family
family_from_text(const char *text)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		if (strcmp(text, families[f].text) == 0)
			return (enum family)f;
	return FAMILY_COUNT;
}

const char *
family_text(enum family f)
{
	return f < FAMILY_COUNT ? families[f].text : "unknown";
}

enum family
family_from_afi_safi(uint16_t afi, uint8_t safi)
{
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		if (afi == families[f].afi && safi == families[f].safi)
			return (enum family)f;
	return FAMILY_COUNT;
}

enum afi
family_afi(enum family f)
{
	return f < FAMILY_COUNT ? (enum afi)families[f].afi : AFI_NONE;
}

enum safi
family_safi(enum family f)
{
	return f < FAMILY_COUNT ? (enum safi)families[f].safi : SAFI_UNICAST;
}

unsigned
prefix_max_len(enum afi afi)
{
	return afi == AFI_IPV4 ? 32 : 128;
}

#define ZONE_NAME_MAX 16

/*
 * Names are only added. Each name is complete before the count includes it, so readers need no
 * lock.
 */
static struct {
	pthread_mutex_t adding;
	_Atomic unsigned count;
	char name[ZONE_MAX][ZONE_NAME_MAX];
} zones = {.adding = PTHREAD_MUTEX_INITIALIZER};

uint16_t
zone_find(const char *name)
{
	/* acquire: pairs with the release store in zone_intern */
	unsigned count = atomic_load_explicit(&zones.count, memory_order_acquire);

	for (unsigned i = 0; i < count; i++)
		if (strcmp(zones.name[i], name) == 0)
			return (uint16_t)(i + 1);
	return 0;
}

uint16_t
zone_intern(const char *name)
{
	size_t len = strlen(name);
	unsigned count;
	uint16_t zone;

	if (len == 0 || len >= ZONE_NAME_MAX)
		return 0;
	pthread_mutex_lock(&zones.adding);
	zone = zone_find(name);
	count = atomic_load_explicit(&zones.count, memory_order_relaxed);
	if (zone == 0 && count < ZONE_MAX) {
		memcpy(zones.name[count], name, len + 1);
		/* release: pairs with the acquire load in zone_find */
		atomic_store_explicit(&zones.count, count + 1, memory_order_release);
		zone = (uint16_t)(count + 1);
	}
	pthread_mutex_unlock(&zones.adding);
	return zone;
}

const char *
zone_name(uint16_t zone)
{
	/* acquire: pairs with the release store in zone_intern */
	if (zone == 0 || zone > atomic_load_explicit(&zones.count, memory_order_acquire))
		return "";
	return zones.name[zone - 1];
}

bool
addr_is_link_local(const struct ip_addr *a)
{
	return a->afi == AFI_IPV6 && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

bool
addr_is_unspecified(const struct ip_addr *a)
{
	static const uint8_t none[16];

	return a->afi == AFI_NONE || memcmp(a->b, none, sizeof(none)) == 0;
}

#define ZONE_DISCARD UINT16_MAX
static_assert(ZONE_DISCARD > ZONE_MAX, "no interface has this zone");

struct ip_addr
addr_discard(void)
{
	return (struct ip_addr){.b = {0x01}, .afi = AFI_IPV6, .zone = ZONE_DISCARD};
}

bool
addr_is_discard(const struct ip_addr *a)
{
	return a->zone == ZONE_DISCARD;
}

int
addr_parse(const char *text, struct ip_addr *out)
{
	const char *percent = strchr(text, '%');
	size_t len = percent != NULL ? (size_t)(percent - text) : strlen(text);
	char bare[INET6_ADDRSTRLEN];
	struct ip_addr a = {0};

	if (len >= sizeof(bare))
		return -EINVAL;
	memcpy(bare, text, len);
	bare[len] = '\0';
	a.afi = strchr(bare, ':') != NULL ? AFI_IPV6 : AFI_IPV4;
	if (inet_pton(a.afi == AFI_IPV6 ? AF_INET6 : AF_INET, bare, a.b) != 1)
		return -EINVAL;
	if (percent != NULL) {
		a.zone = zone_find(percent + 1);
		if (!addr_is_link_local(&a) || a.zone == 0)
			return -EINVAL;
	}
	*out = a;
	return 0;
}

/* Without snprintf(), which takes most of the time of a list of routes. Returns the end. */
static char *
format_octet(unsigned value, char *p)
{
	if (value >= 100)
		*p++ = (char)('0' + value / 100);
	if (value >= 10)
		*p++ = (char)('0' + value / 10 % 10);
	*p++ = (char)('0' + value % 10);
	*p = '\0';
	return p;
}

static char *
format_v4(const uint8_t *b, char *buf)
{
	char *p = format_octet(b[0], buf);

	for (unsigned i = 1; i < 4; i++) {
		*p++ = '.';
		p = format_octet(b[i], p);
	}
	return buf;
}

/*
 * RFC 5952 4.2: the longest run of at least two zero groups; the first of runs with equal length.
 */
static unsigned
longest_zero_run(const unsigned *group, unsigned *start)
{
	unsigned best = 1, run = 0;

	for (unsigned i = 0; i < 8; i++) {
		run = group[i] == 0 ? run + 1 : 0;
		if (run > best) {
			best = run;
			*start = i + 1 - run;
		}
	}
	return best > 1 ? best : 0;
}

/*
 * Replaces inet_ntop(), which writes all of ::/96 in mixed notation; RFC 5952 5 allows this only
 * for known IPv4 prefixes.
 */
static char *
format_v6(const uint8_t *b, char *buf)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	unsigned group[8], start = 8, run;
	char *p = buf;

	if (memcmp(b, mapped, sizeof(mapped)) == 0) {
		memcpy(buf, "::ffff:", 7);
		format_v4(b + 12, buf + 7);
		return buf;
	}
	for (unsigned i = 0; i < 8; i++)
		group[i] = (unsigned)b[2 * i] << 8 | b[2 * i + 1];
	run = longest_zero_run(group, &start);
	for (unsigned i = 0; i < 8;) {
		if (i == start) {
			*p++ = ':';
			*p++ = ':';
			i += run;
			continue;
		}
		if (i > 0 && i != start + run)
			*p++ = ':';
		p += snprintf(p, 5, "%x", group[i++]);
	}
	*p = '\0';
	return buf;
}

static char *
format_bytes(const uint8_t *b, uint8_t afi, char *buf)
{
	if (afi == AFI_IPV4)
		return format_v4(b, buf);
	if (afi == AFI_IPV6)
		return format_v6(b, buf);
	*buf = '\0';
	return buf;
}

char *
addr_format(const struct ip_addr *a, char *buf)
{
	if (addr_is_discard(a)) {
		snprintf(buf, ADDR_TEXT_MAX, "discard");
		return buf;
	}
	format_bytes(a->b, a->afi, buf);
	if (a->zone != 0) {
		size_t n = strlen(buf);

		snprintf(buf + n, ADDR_TEXT_MAX - n, "%%%s", zone_name(a->zone));
	}
	return buf;
}

bool
addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int
addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	int order;

	if (a->afi != b->afi)
		return a->afi < b->afi ? -1 : 1;
	order = memcmp(a->b, b->b, sizeof(a->b));
	return order != 0 ? order : (int)a->zone - (int)b->zone;
}

static uint32_t
read_v4(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

struct ip_addr
addr_from_v4(uint32_t host_order)
{
	struct ip_addr a = {.afi = AFI_IPV4};

	for (unsigned i = 0; i < 4; i++)
		a.b[i] = (uint8_t)(host_order >> (24 - 8 * i));
	return a;
}

uint32_t
addr_v4(const struct ip_addr *a)
{
	return read_v4(a->b);
}

/* Parses "0" to "128" without sign and leading zeros. Returns -1 for anything else. */
static int
parse_length(const char *text)
{
	int v = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -1;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || p - text >= 3)
			return -1;
		v = v * 10 + (*p - '0');
	}
	return v;
}

int
prefix_parse(const char *text, struct prefix *out)
{
	const char *slash = strchr(text, '/');
	char addr_text[ADDR_TEXT_MAX];
	struct ip_addr a;
	struct prefix p;
	int len;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(addr_text))
		return -EINVAL;
	memcpy(addr_text, text, (size_t)(slash - text));
	addr_text[slash - text] = '\0';
	len = parse_length(slash + 1);
	if (addr_parse(addr_text, &a) < 0 || a.zone != 0 || len < 0 ||
		(unsigned)len > prefix_max_len(a.afi))
		return -EINVAL;
	p = prefix_from_addr(&a, (uint8_t)len);
	if (memcmp(p.b, a.b, sizeof(p.b)) != 0)
		return -EDOM;
	*out = p;
	return 0;
}

char *
prefix_format(const struct prefix *p, char *buf)
{
	char *end;

	format_bytes(p->b, p->afi, buf);
	end = buf + strlen(buf);
	*end++ = '/';
	format_octet(p->len, end);
	return buf;
}

bool
prefix_equal(const struct prefix *a, const struct prefix *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int
prefix_compare(const struct prefix *a, const struct prefix *b)
{
	int order;

	if (a->afi != b->afi)
		return a->afi < b->afi ? -1 : 1;
	order = memcmp(a->b, b->b, sizeof(a->b));
	return order != 0 ? order : (int)a->len - (int)b->len;
}

static bool
bits_equal(const uint8_t *a, const uint8_t *b, unsigned len)
{
	unsigned whole = len / 8, rest = len % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool
prefix_covers(const struct prefix *outer, const struct prefix *inner)
{
	return outer->afi == inner->afi && outer->len <= inner->len &&
	       bits_equal(outer->b, inner->b, outer->len);
}

bool
prefix_contains(const struct prefix *p, const struct ip_addr *a)
{
	return p->afi == a->afi && bits_equal(p->b, a->b, p->len);
}

struct prefix
prefix_from_addr(const struct ip_addr *a, uint8_t len)
{
	struct prefix p = {.afi = a->afi};
	unsigned max = prefix_max_len(a->afi), whole;

	p.len = len < max ? len : (uint8_t)max;
	whole = p.len / 8;
	memcpy(p.b, a->b, whole);
	if (p.len % 8 != 0)
		p.b[whole] = a->b[whole] & (uint8_t)(0xff00 >> (p.len % 8));
	return p;
}

struct prefix
prefix_from_v4(uint32_t host_order, uint8_t len)
{
	struct ip_addr a = addr_from_v4(host_order);

	return prefix_from_addr(&a, len);
}

uint32_t
prefix_v4(const struct prefix *p)
{
	return read_v4(p->b);
}
