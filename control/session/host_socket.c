/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/host_socket.h"

#include "lpm/base/netns.h"
#include "control/base/zones.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Network control, DSCP 48, as in BIRD and FRR. */
#define TOS_CS6 0xc0
/*
 * The kernel accepts octets only while fewer are unsent, and reports room below half of this.
 * Octets on their way do not count, so a long path keeps its throughput.
 */
#define UNSENT_MAX (64 << 10)

/* Returns the length, or -ENODEV: the interface does not exist. */
static int
sockaddr_from(const struct ip_addr *a, enum afi afi, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;

	/* All zero is the wildcard address of both families, for AFI_NONE. */
	memset(out, 0, sizeof(*out));
	if (afi == AFI_IPV6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		if (a->afi == AFI_IPV6)
			memcpy(&v6->sin6_addr, a->b, 16);
		if (a->afi == AFI_IPV6 && a->zone != 0) {
			v6->sin6_scope_id = zone_ifindex(a->zone);
			if (v6->sin6_scope_id == 0)
				return -ENODEV;
		}
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	if (a->afi == AFI_IPV4)
		memcpy(&v4->sin_addr, a->b, 4);
	return sizeof(*v4);
}

/*
 * RFC 4007 6: equal link-local addresses on different interfaces are distinct. 0: no zone is
 * interned for the interface.
 */
static uint16_t
zone_of_index(uint32_t index)
{
	return index != 0 ? zone_of_ifindex(index) : 0;
}

static void
sockaddr_to(const struct sockaddr *s, struct ip_addr *a, uint16_t *port)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)s;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)s;

	memset(a, 0, sizeof(*a));
	*port = 0;
	if (s->sa_family == AF_INET6) {
		a->afi = AFI_IPV6;
		memcpy(a->b, &v6->sin6_addr, 16);
		if (addr_is_link_local(a))
			a->zone = zone_of_index(v6->sin6_scope_id);
		*port = ntohs(v6->sin6_port);
	} else if (s->sa_family == AF_INET) {
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

/*
 * 0 selects the default of the kernel, also where an accepted socket inherited a TTL from its
 * listener.
 */
static int
set_ttl(int fd, enum afi afi, uint8_t ttl)
{
	bool v6 = afi == AFI_IPV6;

	return set_int(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL,
		ttl != 0 ? ttl : -1);
}

/* RFC 5082 3. The kernel checks each segment of a connection. */
static int
set_min_ttl(int fd, enum afi afi, uint8_t min_ttl)
{
	bool v6 = afi == AFI_IPV6;

	return set_int(
		fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MINHOPCOUNT : IP_MINTTL, min_ttl);
}

/*
 * RFC 2385. A `len` below the full length applies to the whole prefix. An empty key removes the
 * key.
 */
static int
set_md5(int fd, const struct ip_addr *a, unsigned len, const char *password)
{
	bool whole = len == prefix_max_len(a->afi);
	struct tcp_md5sig md5 = {
		.tcpm_flags = whole ? 0 : TCP_MD5SIG_FLAG_PREFIX, .tcpm_prefixlen = (uint8_t)len};
	struct sockaddr_storage ss;
	struct ip_addr plain = *a;
	size_t key_len = password != NULL ? strlen(password) : 0;
	int rc;

	if (key_len > sizeof(md5.tcpm_key))
		return -EINVAL;
	plain.zone = 0; /* the kernel compares the address only */
	rc = sockaddr_from(&plain, a->afi, 0, &ss);
	if (rc < 0)
		return rc;
	memcpy(&md5.tcpm_addr, &ss, sizeof(md5.tcpm_addr));
	md5.tcpm_keylen = (uint16_t)key_len;
	if (key_len > 0)
		memcpy(md5.tcpm_key, password, key_len);
	rc = setsockopt(fd, IPPROTO_TCP, whole ? TCP_MD5SIG : TCP_MD5SIG_EXT, &md5, sizeof(md5)) < 0
		     ? -errno
		     : 0;
	explicit_bzero(&md5, sizeof(md5));
	return rc;
}

static int
set_common(int fd, enum afi afi)
{
	bool v6 = afi == AFI_IPV6;
	int rc = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);

	if (rc == 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
	if (rc == 0)
		rc = set_int(
			fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, TOS_CS6);
	return rc;
}

/* TTL of the SYN of an accepted connection; 255 if unknown (outgoing). */
static uint8_t
syn_ttl(int fd)
{
	uint8_t header[512];
	socklen_t len = sizeof(header);

	if (getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, header, &len) < 0 || len < 20)
		return 255;
	return header[0] >> 4 == 6 ? header[7] : header[8];
}

struct host_socket_options
host_socket_options_of(const struct config_peer *k, const struct netns *netns)
{
	struct host_socket_options o = {.vrf = k->vrf,
		.netns = netns,
		.source = k->source,
		.tcp_mss = k->tcp_mss,
		.password = k->password};

	o.ttl = k->multihop != 0 ? k->multihop : k->external ? 1 : 0;
	if (k->gtsm) { /* RFC 5082 3: `multihop` is the maximum distance in hops */
		o.ttl = 255;
		o.min_ttl = (uint8_t)(k->multihop != 0 ? 256 - k->multihop : 255);
	}
	/* A link-local source has the same zone as the peer. */
	if (addr_is_link_local(&o.source) && o.source.zone == 0)
		o.source.zone = k->addr.zone;
	return o;
}

int
host_socket_apply(int fd, const struct host_socket_options *o, const struct ip_addr *peer)
{
	int rc = set_common(fd, peer->afi);

	if (rc == 0)
		rc = set_ttl(fd, peer->afi, o->ttl);
	if (rc == 0 && o->min_ttl != 0)
		rc = set_min_ttl(fd, peer->afi, o->min_ttl);
	if (rc == 0 && o->tcp_mss != 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_MAXSEG, o->tcp_mss);
	if (rc == 0 && o->password != NULL)
		rc = set_md5(fd, peer, prefix_max_len(peer->afi), o->password);
	if (rc == 0 && o->min_ttl != 0 && syn_ttl(fd) < o->min_ttl)
		rc = -EPROTO;
	return rc;
}

int
host_socket_password(int listener, const struct prefix *from, const char *password)
{
	struct ip_addr a = {.afi = from->afi};
	int rc;

	memcpy(a.b, from->b, sizeof(a.b));
	rc = set_md5(listener, &a, from->len, password);
	return rc == -ENOENT && password == NULL ? 0 : rc;
}

int
host_socket_mss(int listener, uint16_t mss)
{
	return set_int(listener, IPPROTO_TCP, TCP_MAXSEG, mss);
}

/* A descriptor, or -errno. */
static int
open_socket(const struct host_socket_options *o, enum afi afi)
{
	int fd, rc;

	if (o->vrf.v != VRF_DEFAULT.v && o->netns == NULL)
		return -ENONET;
	if ((afi != AFI_IPV4 && afi != AFI_IPV6) ||
		(o->source.afi != AFI_NONE && o->source.afi != afi))
		return -EAFNOSUPPORT;
	fd = socket(afi == AFI_IPV6 ? AF_INET6 : AF_INET,
		SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	rc = set_common(fd, afi);
	/* Each family has its own listener. */
	if (rc == 0 && afi == AFI_IPV6)
		rc = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

static int
connect_here(const struct host_socket_options *o, const struct ip_addr *peer, uint16_t port)
{
	struct sockaddr_storage ss;
	int fd, len, rc = 0;

	fd = open_socket(o, peer->afi);
	if (fd < 0)
		return fd;
	rc = host_socket_apply(fd, o, peer);
	if (rc == 0 && o->source.afi != AFI_NONE) {
		/* Otherwise bind() reserves a port that connections to other peers could share. */
		set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		len = sockaddr_from(&o->source, peer->afi, 0, &ss);
		if (len < 0)
			rc = len;
		else if (bind(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0)
			rc = -errno;
	}
	len = rc == 0 ? sockaddr_from(peer, peer->afi, port, &ss) : rc;
	if (len < 0)
		rc = len;
	else if (connect(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0 && errno != EINPROGRESS)
		rc = -errno;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int
host_socket_connect(const struct host_socket_options *o, const struct ip_addr *peer, uint16_t port)
{
	int rc = netns_enter(o->netns);

	if (rc != 0)
		return rc;
	rc = connect_here(o, peer, port);
	netns_leave(o->netns);
	return rc;
}

bool
host_socket_no_route(const struct host_socket_options *o, const struct ip_addr *peer)
{
	struct sockaddr_storage ss;
	int fd, len;
	bool none;

	if ((o->vrf.v != VRF_DEFAULT.v && o->netns == NULL) || netns_enter(o->netns) != 0)
		return false;
	fd = socket(peer->afi == AFI_IPV6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	len = sockaddr_from(peer, peer->afi, 1, &ss);
	/* connect(2) finds the route, and sends nothing */
	none = len == -ENODEV ||
	       (fd >= 0 && connect(fd, (struct sockaddr *)&ss, (socklen_t)len) != 0 &&
		       (errno == ENETUNREACH || errno == EHOSTUNREACH));
	if (fd >= 0)
		close(fd);
	netns_leave(o->netns);
	return none;
}

static int
listen_here(const struct host_socket_options *o, enum afi afi, uint16_t port, int backlog)
{
	struct sockaddr_storage ss;
	int fd, len, rc;

	fd = open_socket(o, afi);
	if (fd < 0)
		return fd;
	/* Permits a restart during TIME_WAIT of old connections. */
	rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (rc == 0)
		rc = set_ttl(fd, afi, 255);
	/* For syn_ttl(). */
	if (rc == 0)
		rc = set_int(fd, IPPROTO_TCP, TCP_SAVE_SYN, 1);
	if (rc == 0) {
		len = sockaddr_from(&o->source, afi, port, &ss);
		if (len < 0)
			rc = len;
		else if (bind(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0 ||
			 listen(fd, backlog) < 0)
			rc = -errno;
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int
host_socket_listen(const struct host_socket_options *o, enum afi afi, uint16_t port, int backlog)
{
	int rc = netns_enter(o->netns);

	if (rc != 0)
		return rc;
	rc = listen_here(o, afi, port, backlog);
	netns_leave(o->netns);
	return rc;
}

int
host_socket_accept(int listener, const struct netns *netns, struct ip_addr *peer, uint16_t *port)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	int fd;

	do {
		fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return -errno;
	/* zones are interfaces of the namespace */
	if (netns_enter(netns) != 0) {
		close(fd);
		return -ECONNABORTED;
	}
	sockaddr_to((struct sockaddr *)&ss, peer, port);
	netns_leave(netns);
	return fd;
}

struct host_socket_view
host_socket_peek(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
		return (struct host_socket_view){0};
	return (struct host_socket_view){.rtt_us = info.tcpi_rtt,
		.retransmits = info.tcpi_total_retrans,
		.segment = info.tcpi_snd_mss};
}

void
host_socket_local(int fd, const struct netns *netns, struct ip_addr *out)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	uint16_t port;

	memset(out, 0, sizeof(*out));
	/* zones are interfaces of the namespace */
	if (netns_enter(netns) != 0)
		return;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
		sockaddr_to((struct sockaddr *)&ss, out, &port);
	netns_leave(netns);
}
