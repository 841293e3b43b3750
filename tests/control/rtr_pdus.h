/* SPDX-License-Identifier: BSD-3-Clause */
/* PDUs that an RPKI cache sends (RFC 8210 5), version 1, appended to a buffer. */
#pragma once

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum rtr_pdu {
	RTR_NOTIFY = 0,
	RTR_SERIAL_QUERY = 1,
	RTR_RESET_QUERY = 2,
	RTR_RESPONSE = 3,
	RTR_IPV4 = 4,
	RTR_IPV6 = 6,
	RTR_END = 7,
	RTR_CACHE_RESET = 8,
	RTR_ROUTER_KEY = 9,
	RTR_ERROR = 10,
};

struct rtr_pdus {
	uint8_t octet[4096];
	size_t len;
};

static inline void
rtr_pdus_u32(struct rtr_pdus *p, uint32_t v)
{
	assert(p->len + 4 <= sizeof(p->octet));
	for (unsigned i = 0; i < 4; i++)
		p->octet[p->len++] = (uint8_t)(v >> (24 - 8 * i));
}

static inline void
rtr_pdus_header(struct rtr_pdus *p, enum rtr_pdu type, uint16_t session, uint32_t len)
{
	rtr_pdus_u32(p, 1u << 24 | (uint32_t)type << 16 | session);
	rtr_pdus_u32(p, len);
}

static inline void
rtr_pdus_response(struct rtr_pdus *p, uint16_t session)
{
	rtr_pdus_header(p, RTR_RESPONSE, session, 8);
}

static inline void
rtr_pdus_notify(struct rtr_pdus *p, uint16_t session, uint32_t serial)
{
	rtr_pdus_header(p, RTR_NOTIFY, session, 12);
	rtr_pdus_u32(p, serial);
}

static inline void
rtr_pdus_lengths(struct rtr_pdus *p, uint8_t announce, uint8_t len, uint8_t max_len)
{
	rtr_pdus_u32(p, (uint32_t)announce << 24 | (uint32_t)len << 16 | (uint32_t)max_len << 8);
}

static inline void
rtr_pdus_v4(struct rtr_pdus *p, uint8_t announce, uint32_t addr, uint8_t len, uint8_t max_len,
	uint32_t asn)
{
	rtr_pdus_header(p, RTR_IPV4, 0, 20);
	rtr_pdus_lengths(p, announce, len, max_len);
	rtr_pdus_u32(p, addr);
	rtr_pdus_u32(p, asn);
}

/* `high`: the upper half of the address; the lower half is 0. */
static inline void
rtr_pdus_v6(struct rtr_pdus *p, uint8_t announce, uint64_t high, uint8_t len, uint8_t max_len,
	uint32_t asn)
{
	rtr_pdus_header(p, RTR_IPV6, 0, 32);
	rtr_pdus_lengths(p, announce, len, max_len);
	rtr_pdus_u32(p, (uint32_t)(high >> 32));
	rtr_pdus_u32(p, (uint32_t)high);
	rtr_pdus_u32(p, 0);
	rtr_pdus_u32(p, 0);
	rtr_pdus_u32(p, asn);
}

static inline void
rtr_pdus_end(struct rtr_pdus *p, uint16_t session, uint32_t serial, uint32_t refresh_s,
	uint32_t retry_s, uint32_t expire_s)
{
	rtr_pdus_header(p, RTR_END, session, 24);
	rtr_pdus_u32(p, serial);
	rtr_pdus_u32(p, refresh_s);
	rtr_pdus_u32(p, retry_s);
	rtr_pdus_u32(p, expire_s);
}

/* Without a copy of a PDU. */
static inline void
rtr_pdus_error(struct rtr_pdus *p, uint16_t code, const char *text)
{
	size_t len = strlen(text);

	rtr_pdus_header(p, RTR_ERROR, code, (uint32_t)(16 + len));
	rtr_pdus_u32(p, 0);
	rtr_pdus_u32(p, (uint32_t)len);
	assert(p->len + len <= sizeof(p->octet));
	memcpy(p->octet + p->len, text, len);
	p->len += len;
}
