/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/vpn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool
text_part_parse(const char **text, uint64_t max, char stop, uint64_t *out)
{
	const char *p = *text;
	uint64_t v = 0;

	for (; *p >= '0' && *p <= '9' && v <= max; p++)
		v = v * 10 + (unsigned)(*p - '0');
	if (p == *text || v > max || *p != stop)
		return false;
	*text = p + 1;
	*out = v;
	return true;
}

/* Reads ADMINISTRATOR:NUMBER: the type, and the six octets of the value. */
static bool
administered(const char *text, enum vpn_type *type, uint64_t *value)
{
	const char *colon = strchr(text, ':');
	struct ip_addr addr;
	uint64_t high, low;
	char part[16];

	if (colon == NULL)
		return false;
	if (memchr(text, '.', (size_t)(colon - text)) != NULL) {
		if ((size_t)(colon - text) >= sizeof(part))
			return false;
		snprintf(part, sizeof(part), "%.*s", (int)(colon - text), text);
		text = colon + 1;
		if (addr_parse(part, &addr) != 0 || !text_part_parse(&text, UINT16_MAX, '\0', &low))
			return false;
		*type = VPN_TYPE_IPV4;
		*value = (uint64_t)addr_v4(&addr) << 16 | low;
		return true;
	}
	if (!text_part_parse(&text, UINT32_MAX, ':', &high))
		return false;
	*type = high > UINT16_MAX ? VPN_TYPE_AS4 : VPN_TYPE_AS2;
	if (!text_part_parse(&text, *type == VPN_TYPE_AS4 ? UINT16_MAX : UINT32_MAX, '\0', &low))
		return false;
	*value = *type == VPN_TYPE_AS4 ? high << 16 | low : high << 32 | low;
	return true;
}

/* 0x and exactly 16 hexadecimal digits. */
static bool
opaque(const char *text, uint64_t *out)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	uint64_t v = 0;

	if (strncmp(text, "0x", 2) != 0 || strlen(text) != 18)
		return false;
	for (text += 2; *text != '\0'; text++) {
		const char *at = strchr(digits, *text);

		if (at == NULL)
			return false;
		v = v << 4 | (uint64_t)((at - digits) % 16);
	}
	*out = v;
	return true;
}

/* Writes `word` and ADMINISTRATOR:NUMBER. False: the value has no such text. */
static bool
format_administered(const char *word, unsigned type, uint64_t value, char *buf)
{
	uint64_t high = type == VPN_TYPE_AS2 ? value >> 32 : value >> 16;
	unsigned low = (unsigned)(type == VPN_TYPE_AS2 ? value & UINT32_MAX : value & UINT16_MAX);

	if (type == VPN_TYPE_IPV4)
		snprintf(buf, VPN_TEXT_MAX, "%s%u.%u.%u.%u:%u", word, (unsigned)(high >> 24),
			(unsigned)(high >> 16 & 0xff), (unsigned)(high >> 8 & 0xff),
			(unsigned)(high & 0xff), low);
	else if (type == VPN_TYPE_AS2 || (type == VPN_TYPE_AS4 && high > UINT16_MAX))
		snprintf(buf, VPN_TEXT_MAX, "%s%u:%u", word, (unsigned)high, low);
	else
		return false;
	return true;
}

int
vpn_rd_parse(const char *text, struct vpn_rd *out)
{
	enum vpn_type type;
	uint64_t value;

	if (opaque(text, &out->v))
		return 0;
	if (!administered(text, &type, &value))
		return -EINVAL;
	out->v = (uint64_t)type << 48 | value;
	return 0;
}

char *
vpn_rd_format(struct vpn_rd rd, char *buf)
{
	if (!format_administered("", vpn_rd_type(rd), rd.v & 0xffffffffffffu, buf))
		snprintf(buf, VPN_TEXT_MAX, "0x%016llx", (unsigned long long)rd.v);
	return buf;
}

static int
community_parse(const char *text, enum ext_subtype subtype, struct ext_community *out)
{
	enum vpn_type type;
	uint64_t value;

	if (!administered(text, &type, &value))
		return -EINVAL;
	out->v = (uint64_t)type << 56 | (uint64_t)subtype << 48 | value;
	return 0;
}

int
route_target_parse(const char *text, struct ext_community *out)
{
	return community_parse(text, EXT_ROUTE_TARGET, out);
}

int
ext_community_parse(const char *text, struct ext_community *out)
{
	if (strncmp(text, "rt:", 3) == 0)
		return community_parse(text + 3, EXT_ROUTE_TARGET, out);
	if (strncmp(text, "soo:", 4) == 0)
		return community_parse(text + 4, EXT_SITE_OF_ORIGIN, out);
	return opaque(text, &out->v) ? 0 : -EINVAL;
}

char *
ext_community_format(struct ext_community c, char *buf)
{
	const char *word = ext_community_is(c, EXT_ROUTE_TARGET)     ? "rt:"
			   : ext_community_is(c, EXT_SITE_OF_ORIGIN) ? "soo:"
								     : NULL;

	if (word == NULL ||
		!format_administered(word, (unsigned)(c.v >> 56), c.v & 0xffffffffffffu, buf))
		snprintf(buf, VPN_TEXT_MAX, "0x%016llx", (unsigned long long)c.v);
	return buf;
}
