/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes a new file on a thread of its own, so that a slow disk delays the file and no other work. The owner fills
 * chunks; a chunk is busy until the writer has written its octets. Memory is bounded by the number of chunks. After a
 * failed write further chunks are dropped.
 *
 * A file with a later name is written under its first name, and gets the later name when it is complete and on the disk.
 *
 * Owner: the thread that calls file_writer_create(); all functions are called there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_writer;
struct thread;

#define FILE_CHUNKS 4u
#define FILE_CHUNK_OCTETS (1u << 20)

struct file_chunk {
	size_t len;
	uint8_t octets[FILE_CHUNK_OCTETS];
};

/*
 * Creates the file, which must not exist; with `name`, a file of an earlier writer at `path` is removed first. `name`: of
 * the complete file; NULL: `path`. ready() is called on `owner` for each written chunk, and after file_writer_finish().
 * 0, -errno.
 */
int file_writer_create(const char *path, const char *name, struct thread *owner,
	void (*ready)(void *ctx), void *ctx, struct file_writer **out);
/* The chunk to fill; NULL: all chunks are busy. The same chunk until file_writer_send(). */
struct file_chunk *file_writer_chunk(struct file_writer *w);
void file_writer_send(struct file_writer *w);
/* No chunk is busy, and after file_writer_finish() the file is closed. */
bool file_writer_idle(const struct file_writer *w);
int file_writer_failed(const struct file_writer *w); /* 0, -errno of the first failed write */
/*
 * Once, after the last file_writer_send(), for a file with a later name: flushes the file to the disk, closes and renames
 * the file. Without `keep`, or after a failed write: removes the file.
 */
void file_writer_finish(struct file_writer *w, bool keep);
/* Idle: closes the file and frees `w`. 0, or as file_writer_failed(). */
int file_writer_close(struct file_writer *w);
/*
 * The process ends: waits for at most `patience_ns` for the writer, removes an unfinished file with a later name, and
 * frees `w`. After that time the memory stays. ready() is not called any more.
 */
void file_writer_abandon(struct file_writer *w, uint64_t patience_ns);
