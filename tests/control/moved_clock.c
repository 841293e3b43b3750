/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For LD_PRELOAD: CLOCK_MONOTONIC of a process, moved by the number of seconds (8 octets) in the
 * file KEEL_TEST_CLOCK, which a test writes. A sleeping thread sees the new time when it wakes.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile uint64_t *moved_s;

__attribute__((constructor)) static void
clock_open(void)
{
	const char *path = getenv("KEEL_TEST_CLOCK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at =
		fd >= 0 ? mmap(NULL, sizeof(*moved_s), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	moved_s = at != MAP_FAILED ? at : NULL;
	if (fd >= 0)
		close(fd);
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	static int (*real)(clockid_t, struct timespec *);
	int rc;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	rc = real(id, t);
	if (rc == 0 && id == CLOCK_MONOTONIC && moved_s != NULL)
		t->tv_sec += (time_t)*moved_s;
	return rc;
}
