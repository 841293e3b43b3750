/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Network control, DSCP 48: what BIRD and FRR mark BGP with, so that routers on the way treat it alike. */
#define TOS_CS6 0xc0

static socklen_t
sockaddr_from(const struct ip_addr *a, enum afi afi, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;

	/* Zeroed bytes are the wildcard address of either family, which AFI_NONE asks for. */
	memset(out, 0, sizeof(*out));
	if (afi == AFI_IPV6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		if (a->afi == AFI_IPV6)
			memcpy(&v6->sin6_addr, a->b, 16);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	if (a->afi == AFI_IPV4)
		memcpy(&v4->sin_addr, a->b, 4);
	return sizeof(*v4);
}

static void
sockaddr_to(const struct sockaddr_storage *s, struct ip_addr *a, uint16_t *port)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)s;

	memset(a, 0, sizeof(*a));
	*port = 0;
	if (s->ss_family == AF_INET6) {
		a->afi = AFI_IPV6;
		memcpy(a->b, &v6->sin6_addr, 16);
		*port = ntohs(v6->sin6_port);
	} else if (s->ss_family == AF_INET) {
		a->afi = AFI_IPV4;
		memcpy(a->b, &v4->sin_addr, 4);
		*port = ntohs(v4->sin_port);
	}
}

static int
set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int
host_socket_apply(int fd, const struct host_socket_options *o, enum afi afi)
{
	bool v6 = afi == AFI_IPV6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int rc;

	rc = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (rc == 0)
		rc = set_int(fd, level, v6 ? IPV6_TCLASS : IP_TOS, TOS_CS6);
	if (rc == 0 && o->ttl != 0)
		rc = set_int(fd, level, v6 ? IPV6_UNICAST_HOPS : IP_TTL, o->ttl);
	return rc;
}

/* A descriptor, or -errno. */
static int
open_socket(const struct host_socket_options *o, enum afi afi)
{
	int fd, rc;

	if (o->vrf.v != VRF_DEFAULT.v)
		return -ENOTSUP;
	if ((afi != AFI_IPV4 && afi != AFI_IPV6) ||
		(o->source.afi != AFI_NONE && o->source.afi != afi))
		return -EAFNOSUPPORT;
	fd = socket(afi == AFI_IPV6 ? AF_INET6 : AF_INET,
		SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	rc = host_socket_apply(fd, o, afi);
	/* Both families are listened on, each by its own socket. */
	if (rc == 0 && afi == AFI_IPV6)
		rc = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int
host_socket_connect(const struct host_socket_options *o, const struct ip_addr *peer, uint16_t port)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, rc;

	fd = open_socket(o, peer->afi);
	if (fd < 0)
		return fd;
	if (o->source.afi != AFI_NONE) {
		/* Otherwise bind() takes a port for itself that other peers of this source could share. */
		set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		len = sockaddr_from(&o->source, peer->afi, 0, &ss);
		if (bind(fd, (struct sockaddr *)&ss, len) < 0)
			goto fail;
	}
	len = sockaddr_from(peer, peer->afi, port, &ss);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		goto fail;
	return fd;
fail:
	rc = -errno;
	close(fd);
	return rc;
}

int
host_socket_listen(const struct host_socket_options *o, enum afi afi, uint16_t port, int backlog)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, rc;

	fd = open_socket(o, afi);
	if (fd < 0)
		return fd;
	/* A restart must not wait for the old connections' TIME_WAIT. */
	rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (rc == 0) {
		len = sockaddr_from(&o->source, afi, port, &ss);
		if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, backlog) < 0)
			rc = -errno;
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int
host_socket_accept(int listener, struct ip_addr *peer, uint16_t *port)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	int fd;

	do {
		fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return -errno;
	sockaddr_to(&ss, peer, port);
	return fd;
}
