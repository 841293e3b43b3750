/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/updates.h"

#include "control/bgp/bgp_msg.h"
#include "control/bgp/wire.h"
#include "tests/bench/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MRT_BGP4MP 16
#define MRT_BGP4MP_ET 17
#define BGP4MP_MESSAGE 1
#define BGP4MP_MESSAGE_AS4 4
#define RECORD_MAX (1u << 20)
#define PEER_MAX 24 /* AS, interface and address in the form of the record */

struct updates {
	FILE *f;
	bool piped, begun;
	uint64_t first_ns;
	uint8_t peer[PEER_MAX];
	size_t peer_len;
	uint8_t record[RECORD_MAX];
};

int
updates_open(struct updates **out, const char *path)
{
	struct updates *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return -ENOMEM;
	u->f = table_open(path, &u->piped);
	if (u->f == NULL) {
		free(u);
		return -errno;
	}
	*out = u;
	return 0;
}

void
updates_close(struct updates *u)
{
	if (u->piped)
		pclose(u->f);
	else
		fclose(u->f);
	free(u);
}

/* True if the record belongs to the followed peer; the first peer is followed. */
static bool
followed(struct updates *u, const uint8_t *peer, size_t len)
{
	if (!u->begun) {
		u->begun = true;
		memcpy(u->peer, peer, len);
		u->peer_len = len;
	}
	return u->peer_len == len && memcmp(u->peer, peer, len) == 0;
}

/* RFC 6396 4.4.2 and 4.4.3: the message of a record. False: no UPDATE, or of a different peer. */
static bool
message_of(struct updates *u, struct rd r, uint16_t subtype, struct recorded *out)
{
	size_t as_len = subtype == BGP4MP_MESSAGE_AS4 ? 4 : 2, addr_len;
	const uint8_t *peer = r.p, *afi;
	uint8_t key[PEER_MAX];

	rd_bytes(&r, 2 * as_len + 2);
	afi = r.p;
	addr_len = rd_u16(&r) == 2 ? 16 : 4;
	rd_bytes(&r, 2 * addr_len);
	if (r.bad || rd_left(&r) < BGP_HEADER_LEN || r.p[18] != BGP_UPDATE)
		return false;
	/* the local AS between both can differ in each record of a collector */
	memcpy(key, peer, as_len);
	memcpy(key + as_len, afi + 2, addr_len);
	out->msg = r.p;
	out->len = rd_left(&r);
	out->as4 = as_len == 4;
	return followed(u, key, as_len + addr_len);
}

int
updates_next(struct updates *u, struct recorded *out)
{
	uint8_t header[12];

	while (fread(header, sizeof(header), 1, u->f) == 1) {
		struct rd h = rd_init(header, sizeof(header)), r;
		uint64_t at_ns = (uint64_t)rd_u32(&h) * 1000000000u;
		uint16_t type = rd_u16(&h), subtype = rd_u16(&h);
		uint32_t len = rd_u32(&h);

		if (len > RECORD_MAX || fread(u->record, 1, len, u->f) != len)
			return -EBADMSG;
		r = rd_init(u->record, len);
		if (type == MRT_BGP4MP_ET)
			at_ns += (uint64_t)rd_u32(&r) * 1000u;
		if ((type != MRT_BGP4MP && type != MRT_BGP4MP_ET) ||
			(subtype != BGP4MP_MESSAGE && subtype != BGP4MP_MESSAGE_AS4))
			continue;
		if (u->first_ns == 0)
			u->first_ns = at_ns;
		out->at_ns = at_ns > u->first_ns ? at_ns - u->first_ns : 0;
		if (message_of(u, r, subtype, out))
			return 1;
	}
	return 0;
}
