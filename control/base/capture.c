/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Blocks and options of pcapng (draft-ietf-opsawg-pcapng). */
enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 6,
	BLOCK_JOURNAL = 9,
	OPTION_END = 0,
	OPTION_FLAGS = 2,
	OPTION_RESOLUTION = 9,
	MAGIC = 0x1a2b3c4d,
	LINK_RAW = 101, /* IPv4 or IPv6 without a link header */
	FLAG_RECEIVED = 1,
	FLAG_SENT = 2,
};

#define SEGMENT_MAX 32768u /* a message of 65,535 octets takes two segments */
#define FLOWS_MAX 256u /* sessions; beyond, the oldest begins anew */
#define HEADERS_MAX 60u /* IPv6 and TCP */

struct flow {
	struct ip_addr local, remote;
	uint16_t local_port, remote_port;
	uint32_t next[2]; /* sequence number: received, sent */
};

struct capture {
	FILE *file;
	uint64_t octets;
	int failed;
	struct flow flow[FLOWS_MAX];
	unsigned flows; /* ever */
};

static void
put(struct capture *c, const void *p, size_t len)
{
	if (c->failed == 0 && fwrite(p, 1, len, c->file) != len)
		c->failed = errno != 0 ? -errno : -EIO;
	c->octets += len;
}

static void
put_u32(struct capture *c, uint32_t v)
{
	put(c, &v, sizeof(v));
}

static void
put_padding(struct capture *c, size_t len)
{
	static const uint8_t zeros[4];

	put(c, zeros, (4 - len % 4) % 4);
}

static size_t
padded(size_t len)
{
	return (len + 3) / 4 * 4;
}

static void
head_write(struct capture *c)
{
	const uint64_t unknown = UINT64_MAX;
	const uint16_t version[2] = {1, 0}, link[2] = {LINK_RAW, 0},
		       resolution[2] = {OPTION_RESOLUTION, 1};
	const uint8_t nanoseconds[4] = {9};

	put_u32(c, BLOCK_SECTION);
	put_u32(c, 28);
	put_u32(c, MAGIC);
	put(c, version, sizeof(version));
	put(c, &unknown, sizeof(unknown));
	put_u32(c, 28);
	put_u32(c, BLOCK_INTERFACE);
	put_u32(c, 32);
	put(c, link, sizeof(link));
	put_u32(c, 0);
	put(c, resolution, sizeof(resolution));
	put(c, nanoseconds, sizeof(nanoseconds));
	put_u32(c, OPTION_END);
	put_u32(c, 32);
}

int
capture_create(const char *path, struct capture **out)
{
	struct capture *c = calloc(1, sizeof(*c));
	int fd, err = 0;

	if (c == NULL)
		return -ENOMEM;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd >= 0)
		c->file = fdopen(fd, "w");
	if (c->file == NULL) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		free(c);
		return err;
	}
	head_write(c);
	*out = c;
	return 0;
}

/* ---- packets ---- */

static void
be16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
be32(uint8_t *p, uint32_t v)
{
	be16(p, v >> 16);
	be16(p + 2, v & 0xffff);
}

static uint16_t
header_checksum(const uint8_t *p)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static struct flow *
flow_of(struct capture *c, const struct capture_segment *s)
{
	struct flow *f = c->flow;

	for (; f < c->flow + FLOWS_MAX && f < c->flow + c->flows; f++)
		if (f->local_port == s->local_port && f->remote_port == s->remote_port &&
			addr_equal(&f->local, &s->local) && addr_equal(&f->remote, &s->remote))
			return f;
	f = &c->flow[c->flows++ % FLOWS_MAX];
	*f = (struct flow){.local = s->local,
		.remote = s->remote,
		.local_port = s->local_port,
		.remote_port = s->remote_port,
		.next = {1, 1}};
	return f;
}

/* IP and TCP headers for `len` octets. The TCP checksum is 0: Wireshark shows it as not verified. */
static size_t
headers_write(uint8_t h[HEADERS_MAX], const struct flow *f, bool sent, size_t len)
{
	const struct ip_addr *from = sent ? &f->local : &f->remote,
			     *to = sent ? &f->remote : &f->local;
	bool v4 = from->afi == AFI_IPV4;
	uint8_t *tcp = h + (v4 ? 20 : 40);

	memset(h, 0, HEADERS_MAX);
	if (v4) {
		h[0] = 0x45;
		be16(h + 2, 40 + len);
		h[8] = 64; /* TTL */
		h[9] = 6;
		memcpy(h + 12, from->b, 4);
		memcpy(h + 16, to->b, 4);
		be16(h + 10, header_checksum(h));
	} else {
		h[0] = 0x60;
		be16(h + 4, 20 + len);
		h[6] = 6;
		h[7] = 64;
		memcpy(h + 8, from->b, 16);
		memcpy(h + 24, to->b, 16);
	}
	be16(tcp, sent ? f->local_port : f->remote_port);
	be16(tcp + 2, sent ? f->remote_port : f->local_port);
	be32(tcp + 4, f->next[sent]);
	be32(tcp + 8, f->next[!sent]);
	tcp[12] = 5 << 4;
	tcp[13] = 0x18; /* PSH, ACK */
	be16(tcp + 14, 65535);
	return (size_t)(tcp + 20 - h);
}

static void
packet_write(struct capture *c, const struct capture_segment *s, struct flow *f,
	const uint8_t *octets, size_t len)
{
	const uint16_t option[2] = {OPTION_FLAGS, 4};
	uint8_t headers[HEADERS_MAX];
	size_t head = headers_write(headers, f, s->sent, len);
	uint32_t block = (uint32_t)(28 + padded(head + len) + 12 + 4);

	put_u32(c, BLOCK_PACKET);
	put_u32(c, block);
	put_u32(c, 0); /* the interface */
	put_u32(c, (uint32_t)(s->time_ns >> 32));
	put_u32(c, (uint32_t)s->time_ns);
	put_u32(c, (uint32_t)(head + len));
	put_u32(c, (uint32_t)(head + len));
	put(c, headers, head);
	put(c, octets, len);
	put_padding(c, head + len);
	put(c, option, sizeof(option));
	put_u32(c, s->sent ? FLAG_SENT : FLAG_RECEIVED);
	put_u32(c, OPTION_END);
	put_u32(c, block);
	f->next[s->sent] += (uint32_t)len;
}

void
capture_segment(struct capture *c, const struct capture_segment *s)
{
	struct flow *f = flow_of(c, s);

	for (size_t at = 0; at < s->len;) {
		size_t len = s->len - at < SEGMENT_MAX ? s->len - at : SEGMENT_MAX;

		packet_write(c, s, f, s->octets + at, len);
		at += len;
	}
}

void
capture_note(struct capture *c, uint64_t time_ns, const char *text)
{
	char head[64];
	int n = snprintf(head, sizeof(head),
		"__REALTIME_TIMESTAMP=%llu\nMESSAGE=", (unsigned long long)(time_ns / 1000));
	size_t len = (size_t)n + strlen(text) + 1;
	uint32_t block = (uint32_t)(12 + padded(len));

	put_u32(c, BLOCK_JOURNAL);
	put_u32(c, block);
	put(c, head, (size_t)n);
	put(c, text, strlen(text));
	put(c, "\n", 1);
	put_padding(c, len);
	put_u32(c, block);
}

uint64_t
capture_octets(const struct capture *c)
{
	return c->octets;
}

int
capture_failed(const struct capture *c)
{
	return c->failed;
}

int
capture_close(struct capture *c)
{
	int err;

	if (c == NULL)
		return 0;
	err = c->failed;
	if (fclose(c->file) != 0 && err == 0)
		err = -errno;
	free(c);
	return err;
}
