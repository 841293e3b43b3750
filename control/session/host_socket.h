/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creates the BGP sockets: non-blocking, close-on-exec, in the network namespace of the VRF
 * (`default`: the namespace of keeld), with source address, TTL, GTSM (RFC 5082) and TCP-MD5 (RFC 2385).
 *
 * Any thread. Functions that open a socket return a descriptor or -errno. Link-local addresses
 * carry their zone (RFC 4007 11.2); -ENODEV: no interface has the name of the zone.
 */
#pragma once

#include "control/config/config.h"
#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <stdint.h>

struct netns;

struct host_socket_options {
	struct vrf_id vrf;
	const struct netns *netns; /* NULL for `default`; otherwise -ENONET without a namespace */
	struct ip_addr source; /* AFI_NONE: the kernel chooses; for a listener: any address */
	/* TTL or hop limit. 0: the default; 1 for single-hop external peers (RFC 4271 5.1.3) */
	uint8_t ttl;
	uint8_t min_ttl; /* drop packets with a lower TTL (RFC 5082 3); 0: accept all */
	uint16_t tcp_mss; /* limit of segments in both directions; 0: none */
	/* TCP-MD5: drop unsigned segments; NULL: no TCP-MD5. Lent for the call */
	const char *password;
};

/* For both connections of a peer; the password is lent from `k`. */
struct host_socket_options host_socket_options_of(
	const struct config_peer *k, const struct netns *netns);

#define HOST_SOCKET_PASSWORD_MAX 80 /* limit of the kernel */

/* Begins connect(2); EINPROGRESS is success. */
int host_socket_connect(
	const struct host_socket_options *o, const struct ip_addr *peer, uint16_t port);
/*
 * Opens a listener. SYN-ACKs have TTL 255, so that peers with GTSM accept them; host_socket_apply()
 * sets the TTL of an accepted connection, host_socket_password() the passwords of the listener.
 */
int host_socket_listen(
	const struct host_socket_options *o, enum afi afi, uint16_t port, int backlog);
/*
 * Sets the TCP-MD5 password for connections from `from` on a listener; a longer prefix takes
 * precedence. NULL removes the password (0 also if there was no password). Established connections
 * keep theirs. 0, -errno.
 */
int host_socket_password(int listener, const struct prefix *from, const char *password);
/* Bounds the segments of the connections that a listener accepts from now on. 0: no bound. 0, -errno. */
int host_socket_mss(int listener, uint16_t mss);
/* Accepts a connection and returns its source address and port. -EAGAIN: no connection waits. */
int host_socket_accept(
	int listener, const struct netns *netns, struct ip_addr *peer, uint16_t *port);
/*
 * Sets the options of a connected or accepted socket to `peer`. 0, -errno; -EPROTO: the TTL of the
 * SYN was below min_ttl, which the listener cannot check.
 */
int host_socket_apply(int fd, const struct host_socket_options *o, const struct ip_addr *peer);

/* What the kernel says of a connection; 0: unknown. */
struct host_socket_view {
	uint32_t rtt_us, retransmits, segment;
};
struct host_socket_view host_socket_peek(int fd);

/* True: the kernel has no route to the address. False also after any other error. */
bool host_socket_no_route(const struct host_socket_options *o, const struct ip_addr *peer);
/* The address of our end of a connected socket; AFI_NONE: none. */
void host_socket_local(int fd, const struct netns *netns, struct ip_addr *out);
