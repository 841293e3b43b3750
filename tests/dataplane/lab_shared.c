/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/dataplane/lab_port.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALIGN(n) (((n) + 4095) & ~UINT64_C(4095))

static struct lab_shared *
map(int fd, uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct lab_shared *
lab_shared_create(const char *file, uint64_t v4_count, uint64_t v6_count)
{
	uint64_t v4_offset = ALIGN(sizeof(struct lab_shared));
	uint64_t v6_offset = v4_offset + ALIGN(v4_count * sizeof(struct lab_flow_v4));
	uint64_t bytes = v6_offset + ALIGN(v6_count * sizeof(struct lab_flow_v6));
	struct lab_shared *s = NULL;
	int fd = -1;

	if (file != NULL) {
		fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0)
			return NULL;
	}
	if (fd < 0 || ftruncate(fd, (off_t)bytes) == 0)
		s = map(fd, bytes);
	if (fd >= 0)
		close(fd);
	if (s == NULL)
		return NULL;
	s->bytes = bytes;
	s->v4_offset = v4_offset;
	s->v4_count = v4_count;
	s->v6_offset = v6_offset;
	s->v6_count = v6_count;
	s->v6_pattern = v4_count == 0 ? UINT64_MAX : 0;
	s->ttl_taken = 1;
	for (unsigned i = 0; i < LAB_CLASSES; i++)
		atomic_store_explicit(&s->allowed[i], UINT32_MAX, memory_order_relaxed);
	for (unsigned i = 0; i < LAB_QUEUES * LAB_PORTS; i++)
		atomic_store_explicit(&s->side[i].limit, UINT64_MAX, memory_order_relaxed);
	s->magic = LAB_MAGIC;
	return s;
}

struct lab_shared *
lab_shared_open(const char *file)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);
	struct lab_shared *s = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(*s))
		s = map(fd, (uint64_t)st.st_size);
	else
		errno = EPROTO;
	close(fd);
	if (s != NULL && (s->magic != LAB_MAGIC || s->bytes != (uint64_t)st.st_size)) {
		munmap(s, (size_t)st.st_size);
		errno = EPROTO;
		return NULL;
	}
	return s;
}

void
lab_shared_close(struct lab_shared *s)
{
	munmap(s, s->bytes);
}
