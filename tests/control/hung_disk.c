/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For LD_PRELOAD: a disk without an answer. A test writes the first octet of the file KEEL_TEST_DISK. Until the octet is 0,
 * fsync() and write() wait, for files with a word of KEEL_TEST_FILES in their path, and read() for those of KEEL_TEST_READS. Colons
 * separate the words.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const volatile uint8_t *hangs;

__attribute__((constructor)) static void
disk_open(void)
{
	const char *path = getenv("KEEL_TEST_DISK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at = fd >= 0 ? mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	hangs = at != MAP_FAILED ? at : NULL;
	if (fd >= 0)
		close(fd);
}

static int
is_meant(int fd, const char *variable)
{
	char words[256], link[64], path[4096], *save = NULL;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return 0;
	path[n] = '\0';
	snprintf(words, sizeof(words), "%s", getenv(variable));
	for (char *word = strtok_r(words, ":", &save); word != NULL;
		word = strtok_r(NULL, ":", &save))
		if (strstr(path, word) != NULL)
			return 1;
	return 0;
}

static void
hang(int fd, const char *variable)
{
	if (hangs == NULL || *hangs == 0 || !is_meant(fd, variable))
		return;
	while (*hangs != 0)
		(void)poll(NULL, 0, 10);
}

int
fsync(int fd)
{
	static int (*real)(int);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "fsync");
	hang(fd, "KEEL_TEST_FILES");
	return real(fd);
}

ssize_t
read(int fd, void *octets, size_t len)
{
	static ssize_t (*real)(int, void *, size_t);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "read");
	hang(fd, "KEEL_TEST_READS");
	return real(fd, octets, len);
}

ssize_t
write(int fd, const void *octets, size_t len)
{
	static ssize_t (*real)(int, const void *, size_t);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "write");
	hang(fd, "KEEL_TEST_FILES");
	return real(fd, octets, len);
}
