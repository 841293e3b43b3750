/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one factory for sockets: VRF (network namespace; `default` is ours), source address, TTL, GTSM (RFC 5082), TCP-MD5 (RFC 2385).
 * Non-blocking and close-on-exec. Any thread. Each returns a descriptor or -errno. Link-local addresses go with their zone both ways (RFC 4007 11.2):
 * -ENODEV when there is no interface of that name.
 */
#pragma once

#include "lpm/base.h"
#include "lpm/prefix.h"

#include <stdint.h>

struct host_socket_options {
	struct vrf_id vrf;
	struct ip_addr source; /* AFI_NONE: the kernel chooses; for listening: any address */
	uint8_t ttl; /* or hop limit. 0: the default; 1 for single-hop external peers (RFC 4271 5.1.3 users expect it) */
	uint8_t min_ttl; /* what comes with less is dropped (RFC 5082 3); 0: all is taken */
	const char *
		password; /* TCP-MD5: what is not signed with it is dropped; NULL: none. Lent for the call */
};

#define HOST_SOCKET_PASSWORD_MAX 80 /* the kernel's */

/* connect(2) has begun: EINPROGRESS is success. */
int host_socket_connect(
	const struct host_socket_options *o, const struct ip_addr *peer, uint16_t port);
/*
 * What answers a SYN has TTL 255, so that who asks for GTSM takes it; what was accepted gets its own by host_socket_apply(). Passwords
 * are those of host_socket_password().
 */
int host_socket_listen(
	const struct host_socket_options *o, enum afi afi, uint16_t port, int backlog);
/*
 * Of a listener: connections from `from` are signed with this password, unless a longer prefix has another one; NULL: they need no
 * password of this prefix any more (0 also when there was none). Those that are there keep theirs. 0, -errno.
 */
int host_socket_password(int listener, const struct prefix *from, const char *password);
/* With the address and port it came from. -EAGAIN: nobody waits. */
int host_socket_accept(int listener, struct ip_addr *peer, uint16_t *port);
/*
 * Options of one that is connected or accepted, to that peer. 0, -errno; -EPROTO: its SYN came from farther away than min_ttl allows,
 * which nobody could check before.
 */
int host_socket_apply(int fd, const struct host_socket_options *o, const struct ip_addr *peer);

/* Our end of a connected socket, and what else the interface that holds its address has (AFI_NONE: nothing). */
struct host_socket_local {
	struct ip_addr addr;
	struct ip_addr v4,
		v6; /* `addr` for its own family, else the first one; `v6` is never link-local */
	struct ip_addr link_local; /* with its zone; only where `zone` is known */
	uint16_t
		zone; /* of the link that we and the peer are both on; 0: it is some hops away, or the name was never interned */
};
void host_socket_local(int fd, const struct ip_addr *peer, struct host_socket_local *out);
