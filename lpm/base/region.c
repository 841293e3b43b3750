/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Units of 64 KiB form runs. `unit` has an entry for each unit; the entry of the first unit of a run
 * has the length of the run, so the runs are a list without links. A run is free, a large block, or
 * a slab: one unit that is divided into blocks of one size class. Slabs are never returned; free runs
 * are all zero, because their pages are removed from the memfd.
 */
#include "lpm/base/monotonic.h"
#include "lpm/base/region.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNIT ((size_t)64 << 10)
#define HUGE_UNITS 32u /* 2 MiB */
#define CLASSES 40u /* 16 bytes to 32 KiB */
#define POPULATE_BYTES ((off_t)16 << 20) /* between two looks at the clock */

enum unit_kind { UNIT_FREE, UNIT_LARGE, UNIT_SLAB };

struct unit {
	uint32_t count; /* of the run that begins here */
	uint16_t kind; /* enum unit_kind */
	uint16_t size_class; /* of a slab */
};

struct region {
	pthread_mutex_t lock;
	unsigned place;
	int fd;
	bool detached; /* region_detach(): the mapping is private */
	size_t bytes;
	char *base;
	struct unit *unit; /* private */
	uint32_t units, top; /* units from `top` on have never been used */
	void *free[CLASSES]; /* free blocks of each class, linked by their first word */
};

void *
region_place(unsigned place)
{
	return (void *)(uintptr_t)(UINT64_C(0x7e9000000000) + place * REGION_PLACE_BYTES);
}

int
region_memfd(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) == 0 &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
		return fd;
	err = errno;
	(void)close(fd);
	return -err;
}

bool
region_is_memfd(int fd, size_t bytes)
{
	const int keeps = F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & keeps) == keeps && fstat(fd, &st) == 0 &&
	       st.st_size == (off_t)bytes;
}

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

int
region_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0 ? 0 : -errno;
}

int
region_map(int fd, unsigned place, size_t bytes, bool writable)
{
	void *at = region_place(place), *p;
	int err;

	if (place >= REGION_PLACES || bytes > REGION_BYTES_MAX)
		return -EINVAL;
	p = mmap(at, REGION_PLACE_BYTES, PROT_READ,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (p != at) {
		/* before Linux 4.17 the address is a hint */
		(void)munmap(p, REGION_PLACE_BYTES);
		return -EEXIST;
	}
	p = mmap(at, bytes, PROT_READ | (writable ? PROT_WRITE : 0),
		MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
	if (p == at)
		return 0;
	err = -errno;
	region_unmap(place);
	return err;
}

void
region_unmap(unsigned place)
{
	(void)munmap(region_place(place), REGION_PLACE_BYTES);
}

int
region_map_free(int fd, unsigned from, size_t bytes)
{
	int rc = -EEXIST;

	for (unsigned place = from; rc == -EEXIST && place < REGION_PLACES; place++) {
		rc = region_map(fd, place, bytes, true);
		if (rc == 0)
			return (int)place;
	}
	return rc;
}

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; before, readers take the page faults */
#endif

bool
region_populate(int fd, unsigned place, uint64_t most_ns)
{
	uint64_t began_ns = monotonic_ns();
	off_t from = 0, end;

	while ((from = lseek(fd, from, SEEK_DATA)) >= 0 &&
		(end = lseek(fd, from, SEEK_HOLE)) > from) {
		for (off_t part; from < end; from += part) {
			if (monotonic_ns() - began_ns >= most_ns)
				return false;
			part = end - from < POPULATE_BYTES ? end - from : POPULATE_BYTES;
			(void)madvise((char *)region_place(place) + from, (size_t)part,
				MADV_POPULATE_READ);
		}
	}
	return true;
}

int
region_create(int fd, unsigned place, size_t bytes, struct region **out)
{
	struct region *r = calloc(1, sizeof(*r));
	size_t map = bytes / UNIT * sizeof(struct unit);
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->unit = mmap(NULL, map, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->unit == MAP_FAILED) {
		free(r);
		return -ENOMEM;
	}
	r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	err = r->fd >= 0 ? region_map(r->fd, place, bytes, true) : -errno;
	if (err != 0) {
		if (r->fd >= 0)
			(void)close(r->fd);
		(void)munmap(r->unit, map);
		free(r);
		return err;
	}
	pthread_mutex_init(&r->lock, NULL);
	r->place = place;
	r->bytes = bytes;
	r->base = region_place(place);
	r->units = (uint32_t)(bytes / UNIT);
	*out = r;
	return 0;
}

int
region_file(const struct region *r, unsigned *place, size_t *bytes)
{
	*place = r->place;
	*bytes = r->bytes;
	return r->fd;
}

void
region_destroy(struct region *r)
{
	if (r == NULL)
		return;
	region_unmap(r->place);
	(void)close(r->fd);
	(void)munmap(r->unit, r->bytes / UNIT * sizeof(struct unit));
	pthread_mutex_destroy(&r->lock);
	free(r);
}

int
region_detach(struct region *r)
{
	void *p = mmap(r->base, r->bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, r->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	r->detached = true;
	return 0;
}

/* ---- runs ---- */

static void
run_set(struct region *r, uint32_t first, uint32_t count, enum unit_kind kind)
{
	r->unit[first] = (struct unit){.count = count, .kind = (uint16_t)kind};
}

/* Joins the free runs that follow the free run at `i`. */
static void
run_join(struct region *r, uint32_t i)
{
	uint32_t next = i + r->unit[i].count;

	while (next < r->top && r->unit[next].kind == UNIT_FREE) {
		r->unit[i].count += r->unit[next].count;
		next = i + r->unit[i].count;
	}
	if (next == r->top)
		r->top = i;
}

/* Takes `count` units of the free run at `i`, from `first` on; the rest stays free. */
static void
run_cut(struct region *r, uint32_t i, uint32_t first, uint32_t count, enum unit_kind kind)
{
	uint32_t end = i + r->unit[i].count;

	if (first > i)
		run_set(r, i, first - i, UNIT_FREE);
	if (end > first + count)
		run_set(r, first + count, end - first - count, UNIT_FREE);
	run_set(r, first, count, kind);
}

/* First fit over all runs. Returns the first unit, or UINT32_MAX. */
static uint32_t
run_take(struct region *r, uint32_t count, uint32_t align, enum unit_kind kind)
{
	uint32_t first;

	for (uint32_t i = 0; i < r->top; i += r->unit[i].count) {
		if (r->unit[i].kind != UNIT_FREE)
			continue;
		run_join(r, i);
		if (i == r->top)
			break; /* the last runs were free */
		first = (i + align - 1) & ~(align - 1);
		if (first + count <= i + r->unit[i].count) {
			run_cut(r, i, first, count, kind);
			return first;
		}
	}
	first = (r->top + align - 1) & ~(align - 1);
	if (first > r->units || count > r->units - first)
		return UINT32_MAX;
	if (first > r->top)
		run_set(r, r->top, first - r->top, UNIT_FREE);
	run_set(r, first, count, kind);
	r->top = first + count;
	return first;
}

static void
run_give(struct region *r, uint32_t first)
{
	char *at = r->base + first * UNIT;
	size_t size = r->unit[first].count * UNIT;

	/* Without MADV_REMOVE the memory stays allocated. */
	if (!r->detached && madvise(at, size, MADV_REMOVE) != 0)
		memset(at, 0, size);
	r->unit[first].kind = UNIT_FREE;
	run_join(r, first);
}

/* ---- small blocks: four classes for each power of two ---- */

static size_t
class_size(unsigned c)
{
	return c < 8 ? (size_t)(c + 1) * 16 : (size_t)(4 + c % 4 + 1) << (c / 4 + 3);
}

/* The smallest class with room for `size` and blocks aligned to `align`; CLASSES: none. */
static unsigned
class_of(size_t size, size_t align)
{
	unsigned c = 0;

	while (c < CLASSES && (class_size(c) < size || class_size(c) % align != 0))
		c++;
	return c;
}

static bool
slab_make(struct region *r, unsigned c)
{
	size_t size = class_size(c);
	uint32_t first = run_take(r, 1, 1, UNIT_SLAB);
	char *at;

	if (first == UINT32_MAX)
		return false;
	r->unit[first].size_class = (uint16_t)c;
	at = r->base + first * UNIT;
	for (size_t k = UNIT / size; k-- > 0;) {
		void **block = (void **)(void *)(at + k * size);

		*block = r->free[c];
		r->free[c] = block;
	}
	return true;
}

static void *
small_take(struct region *r, unsigned c)
{
	void **block;

	if (r->free[c] == NULL && !slab_make(r, c))
		return NULL;
	block = r->free[c];
	r->free[c] = *block;
	return block;
}

/* ---- blocks ---- */

static void *
large_take(struct region *r, size_t size)
{
	size_t count = (size + UNIT - 1) / UNIT;
	uint32_t first;

	if (count > r->units)
		return NULL;
	first = run_take(r, (uint32_t)count, count >= HUGE_UNITS ? HUGE_UNITS : 1, UNIT_LARGE);
	return first != UINT32_MAX ? r->base + first * UNIT : NULL;
}

void *
region_alloc(struct region *r, size_t align, size_t size)
{
	unsigned c = class_of(size, align);
	void *p;

	pthread_mutex_lock(&r->lock);
	p = c < CLASSES ? small_take(r, c) : large_take(r, size);
	pthread_mutex_unlock(&r->lock);
	return p;
}

void *
region_alloc_pages(struct region *r, size_t size)
{
	void *p;

	pthread_mutex_lock(&r->lock);
	p = large_take(r, size);
	pthread_mutex_unlock(&r->lock);
	return p;
}

/* The entry of the run with the block `p`. The first unit of a large block has its entry. */
static uint32_t
unit_of(const struct region *r, const void *p)
{
	return (uint32_t)((size_t)((const char *)p - r->base) / UNIT);
}

size_t
region_usable(const struct region *r, const void *p)
{
	const struct unit *u = &r->unit[unit_of(r, p)];

	return u->kind == UNIT_SLAB ? class_size(u->size_class) : u->count * UNIT;
}

void
region_free(struct region *r, void *p)
{
	uint32_t i;

	if (p == NULL)
		return;
	i = unit_of(r, p);
	pthread_mutex_lock(&r->lock);
	if (r->unit[i].kind == UNIT_SLAB) {
		*(void **)p = r->free[r->unit[i].size_class];
		r->free[r->unit[i].size_class] = p;
	} else {
		run_give(r, i);
	}
	pthread_mutex_unlock(&r->lock);
}
