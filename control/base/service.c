/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/base/service.h"

#include "control/base/threads.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NS_PER_US 1000u

/* Writer: main in service_open(), before other threads exist. */
static struct {
	int fd; /* -1: no service manager */
	struct sockaddr_un address;
	socklen_t address_len;
	uint64_t watchdog_ns;
} service = {.fd = -1};

/* A path, or '@' and a name in the abstract namespace. */
static int
address_parse(const char *text)
{
	size_t len = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || len < 2)
		return -EINVAL;
	if (len >= sizeof(service.address.sun_path))
		return -ENAMETOOLONG;
	service.address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(service.address.sun_path, text, len);
	if (text[0] == '@')
		service.address.sun_path[0] = '\0';
	service.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return 0;
}

/* Parses a decimal number; 0 if invalid. */
static uint64_t
parse_number(const char *text)
{
	char *end;
	uintmax_t n;

	if (text == NULL || *text < '0' || *text > '9')
		return 0;
	n = strtoumax(text, &end, 10);
	return *end == '\0' ? n : 0;
}

/*
 * sd_watchdog_enabled(3): the interval applies to the process of $WATCHDOG_PID, or to all processes
 * if $WATCHDOG_PID is not set.
 */
static uint64_t
watchdog_read(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t us = parse_number(getenv("WATCHDOG_USEC"));

	if (pid != NULL && parse_number(pid) != (uint64_t)getpid())
		return 0;
	return us < UINT64_MAX / NS_PER_US ? us * NS_PER_US : 0;
}

int
service_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int err;

	if (path == NULL || *path == '\0')
		return 0;
	err = address_parse(path);
	if (err != 0)
		return err;
	service.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (service.fd < 0)
		return -errno;
	service.watchdog_ns = watchdog_read();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return 0;
}

void
service_notify(const char *message)
{
	if (service.fd >= 0)
		(void)sendto(service.fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT,
			(const struct sockaddr *)&service.address, service.address_len);
}

void
service_reloading(void)
{
	char message[64];

	snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		now_ns() / NS_PER_US);
	service_notify(message);
}

uint64_t
service_watchdog_ns(void)
{
	return service.watchdog_ns;
}
