/* SPDX-License-Identifier: BSD-3-Clause */
/* libpcap's file format, as far as needed to write input for net_pcap and to read its output. */
#pragma once

#include <stdint.h>
#include <stdio.h>

struct pcap_file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snap_len, link_type;
};

struct pcap_record {
	uint32_t seconds, fraction, captured_len, len;
};

static inline FILE *
pcap_create(const char *path)
{
	struct pcap_file_header h = {0xa1b2c3d4, 2, 4, 0, 0, 65535, 1};
	FILE *f = fopen(path, "w");

	if (f != NULL)
		fwrite(&h, sizeof(h), 1, f);
	return f;
}

static inline void
pcap_put(FILE *f, const uint8_t *frame, uint32_t len)
{
	struct pcap_record r = {0, 0, len, len};

	fwrite(&r, sizeof(r), 1, f);
	fwrite(frame, len, 1, f);
}

static inline FILE *
pcap_open(const char *path)
{
	struct pcap_file_header h;
	FILE *f = fopen(path, "r");

	if (f != NULL && fread(&h, sizeof(h), 1, f) != 1) {
		fclose(f);
		return NULL;
	}
	return f;
}

/* Reads a frame and returns its length, or -1 at the end. */
static inline int
pcap_next(FILE *f, uint8_t *frame, uint32_t size)
{
	struct pcap_record r;

	if (fread(&r, sizeof(r), 1, f) != 1 || r.captured_len > size)
		return -1;
	return fread(frame, 1, r.captured_len, f) == r.captured_len ? (int)r.captured_len : -1;
}
