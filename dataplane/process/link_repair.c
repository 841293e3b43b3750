/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/link_repair.h"
#include "dataplane/port/port_inner.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct link_repair {
	int events; /* socket: links of `default`; links of VPN instances are polled */
	bool down[PORTS_MAX];
	/* of a keeld that has ended; NULL: a keeld repairs */
	_Atomic uint64_t *words;
	const struct adjacency *adjacencies;
	uint32_t lost[NEXT_HOP_MAX]; /* adjacencies of next hops set down here */
};

int
link_repair_create(struct link_repair **out)
{
	const struct sockaddr_nl links = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	struct link_repair *r = calloc(1, sizeof(*r));
	int rc = 0;

	if (r == NULL)
		return -ENOMEM;
	r->events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (r->events < 0 || bind(r->events, (const struct sockaddr *)&links, sizeof(links)) != 0)
		rc = -errno;
	if (rc != 0) {
		link_repair_destroy(r);
		return rc;
	}
	*out = r;
	return 0;
}

void
link_repair_destroy(struct link_repair *r)
{
	if (r == NULL)
		return;
	if (r->events >= 0)
		(void)close(r->events);
	free(r);
}

int
link_repair_fd(const struct link_repair *r)
{
	return r->events;
}

static unsigned
repair(struct link_repair *r, uint16_t port)
{
	if (r->words == NULL)
		return 0;
	return r->down[port] ? next_hops_lose(r->words, r->adjacencies, port, r->lost)
			     : next_hops_restore(r->words, r->adjacencies, port, r->lost);
}

void
link_repair_begin(
	struct link_repair *r, _Atomic uint64_t *words, const struct adjacency *adjacencies)
{
	memset(r->lost, 0, sizeof(r->lost));
	r->words = words;
	r->adjacencies = adjacencies;
	for (uint16_t port = 0; port < port_count(); port++)
		if (r->down[port])
			(void)repair(r, port);
}

void
link_repair_end(struct link_repair *r)
{
	r->words = NULL;
}

void
link_repair_turn(struct link_repair *r, bool event,
	void (*changed)(uint16_t port, bool up, unsigned next_hops))
{
	char events[8192];

	/* An event means: read the state of all links. ENOBUFS means that events were lost. */
	while (event && (recv(r->events, events, sizeof(events), 0) > 0 || errno == EINTR ||
				errno == ENOBUFS))
		;
	for (uint16_t port = 0; (event || r->words != NULL) && port < port_count(); port++) {
		bool down = !port_interface_up(port);

		if (down == r->down[port])
			continue;
		r->down[port] = down;
		changed(port, !down, repair(r, port));
	}
}
