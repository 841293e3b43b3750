/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of records, a file for each interval of time, written by a thread of their own. A producer thread copies records
 * into a ring of fixed size and never waits. The writer thread empties the ring each RECORD_FILE_POLL_NS, and sooner when
 * the ring is half full.
 *
 * The name of a file is the pattern with the conversions of strftime(3) for the begin of the interval, in UTC. Intervals
 * begin at multiples of their length since 1970. A record belongs to the interval of its time. A file that exists is
 * continued. A batch of records that cannot be written is removed from the file and counted as lost.
 *
 * Writer of the ring: one producer thread. Owner: main.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_file;
struct thread;

#define RECORD_FILE_RING_OCTETS (4u << 20)
#define RECORD_FILE_POLL_NS 50000000u
#define RECORD_FILE_NAME_MAX 4096u

/* Begin of the interval with time `time_s`, and the name of its file. False: the name is too long. */
uint64_t record_file_begin(uint64_t time_s, uint32_t interval_s);
bool record_file_name(
	char name[static RECORD_FILE_NAME_MAX], const char *pattern, uint64_t begin_s);

/* Copies `pattern`. The first file is opened by the thread. 0, -errno. */
int record_file_create(
	const char *pattern, uint32_t interval_s, struct thread *owner, struct record_file **out);
/* Main: changes the interval. */
void record_file_interval(struct record_file *r, uint32_t interval_s);
/* The producer: a record of two parts, of at most 128 KiB. Without room the record is lost and counted. */
void record_file_put(struct record_file *r, uint32_t time_s, const void *head, size_t head_len,
	const void *body, size_t body_len);

struct record_file_figures {
	uint64_t records, octets, files; /* written */
	uint64_t lost;
	uint64_t begin_s; /* of the present file; 0: not opened yet */
	uint64_t written_s; /* Unix time of the last write; 0: none */
	int error; /* errno of the last write; 0: none */
};
/* Any thread. */
void record_file_figures(const struct record_file *r, struct record_file_figures *out);

/*
 * Main, when no producer has the ring any more. end(): writes the rest of the ring and closes the file; closed() follows
 * on `owner`, when `r` is free. destroy(): the same within `patience_ns`, also after end(); closed() is not called. After
 * that time the memory stays.
 */
void record_file_end(
	struct record_file *r, void (*closed)(void *ctx, struct record_file *r), void *ctx);
void record_file_destroy(struct record_file *r, uint64_t patience_ns);
