/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes a new file on a thread of its own, so that a slow disk delays the file and no other work. The owner fills
 * chunks; a chunk is busy until the writer has written its octets. Memory is bounded by the number of chunks. After a
 * failed write further chunks are dropped.
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

/* Creates the file, which must not exist. ready() is called on `owner` for each written chunk. 0, -errno. */
int file_writer_create(const char *path, struct thread *owner, void (*ready)(void *ctx), void *ctx,
	struct file_writer **out);
/* The chunk to fill; NULL: all chunks are busy. The same chunk until file_writer_send(). */
struct file_chunk *file_writer_chunk(struct file_writer *w);
void file_writer_send(struct file_writer *w);
bool file_writer_idle(const struct file_writer *w); /* no chunk is busy */
int file_writer_failed(const struct file_writer *w); /* 0, -errno of the first failed write */
/* Idle: closes the file and frees `w`. 0, or as file_writer_failed(). */
int file_writer_close(struct file_writer *w);
/* The process ends: waits for at most `patience_ns` for the writer. The memory stays. */
void file_writer_abandon(struct file_writer *w, uint64_t patience_ns);
