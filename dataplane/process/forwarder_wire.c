/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/forwarder_wire.h"

#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker_struct.h"
#include "lpm/compact.h"
#include "lpm/fib_read.h"
#include "lpm/base/passed.h"
#include "lpm/base/qsbr.h"
#include "lpm/range_table.h"
#include "lpm/shared_tables.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

uint64_t
forwarder_abi(void)
{
	const size_t parts[] = {
		FORWARDER_ABI,
		sizeof(struct forwarder_message),
		sizeof(struct worker),
		offsetof(struct worker, fib),
		offsetof(struct worker, cpu),
		sizeof(struct worker_stats),
		DROP_COUNT,
		PORTS_MAX,
		port_layout(),
		sizeof(struct fib_reader),
		sizeof(struct range_table),
		sizeof(struct fib_generation),
		FIB_VRF_MAX,
		sizeof(struct path_list),
		sizeof(struct path_list_far),
		sizeof(struct path),
		sizeof(struct adjacency),
		sizeof(struct label_reader),
		sizeof(struct compact),
		sizeof(struct tunnel_reader),
	};
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		h = (h ^ parts[i]) * 0x100000001b3;
	return h;
}

unsigned long
forwarder_home(void)
{
	struct stat s;

	return stat("/proc/self/ns/net", &s) == 0 ? (unsigned long)s.st_ino : 0;
}

/* True if the bytes lie inside the region; `align` is a power of two. */
static bool
inside(uint64_t address, size_t align, size_t bytes, const void *region, size_t region_bytes)
{
	uint64_t base = (uintptr_t)region;

	return address % align == 0 && address >= base && bytes <= region_bytes &&
	       address - base <= region_bytes - bytes;
}

bool
forwarder_publish_inside(const struct forwarder_publish *p, const void *region, size_t region_bytes)
{
	unsigned readers = 0;

	if (p->worker_count > sizeof(p->reader) / sizeof(p->reader[0]))
		return false;
	for (unsigned i = 0; i < p->worker_count; i++) {
		if (p->reader[i] >= QSBR_READERS_MAX)
			return false;
		readers = p->reader[i] >= readers ? p->reader[i] + 1 : readers;
	}
	return inside(p->fib, alignof(struct fib_reader), sizeof(struct fib_reader), region,
		       region_bytes) &&
	       inside(p->path_lists, alignof(void *), path_lists_bytes(), region, region_bytes) &&
	       inside(p->qsbr, CACHE_LINE, qsbr_bytes(readers), region, region_bytes);
}

int
forwarder_send(int fd, const struct forwarder_message *m, size_t body, const void *tail,
	size_t tail_bytes, const int *fds, unsigned fd_count)
{
	const struct iovec part[2] = {
		{.iov_base = (void *)(uintptr_t)m, .iov_len = sizeof(m->head) + body},
		{.iov_base = (void *)(uintptr_t)tail, .iov_len = tail_bytes}};
	ssize_t n = passed_send(fd, part, tail_bytes > 0 ? 2 : 1, fds, fd_count, 0);

	return n < 0 ? (int)n : 0;
}

int
forwarder_receive(int fd, struct forwarder_message *m, size_t *body, void *tail, size_t tail_max,
	size_t *tail_bytes, int *fds, unsigned fd_max, unsigned *fd_count)
{
	struct iovec part[2] = {
		{.iov_base = m, .iov_len = sizeof(*m)}, {.iov_base = tail, .iov_len = tail_max}};
	unsigned got;
	ssize_t n = passed_receive(fd, part, tail_max > 0 ? 2 : 1, fds, fd_max, &got, 0);

	if (n > 0 && ((size_t)n < sizeof(m->head) || m->head.magic != FORWARDER_MAGIC)) {
		for (; got > 0; got--)
			(void)close(fds[got - 1]);
		n = -EPROTO;
	}
	if (fd_count != NULL)
		*fd_count = got;
	if (n <= 0)
		return n == 0 ? -EPIPE : n == -EMSGSIZE ? -EPROTO : (int)n;
	*body = (size_t)n < sizeof(*m) ? (size_t)n - sizeof(m->head) : sizeof(*m) - sizeof(m->head);
	if (tail_bytes != NULL)
		*tail_bytes = (size_t)n > sizeof(*m) ? (size_t)n - sizeof(*m) : 0;
	return 0;
}
