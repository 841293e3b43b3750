/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/netlink_impl.h"
#include "lpm/base/arena.h"

#include "lpm/base/netns.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <stdio.h>
#include <sys/socket.h>

#define GLEANS_MAX 64u /* unanswered, of a port and a family */
#define GLEANS_LEAST 8u /* of a port, whatever the other ports have */
#define GLEAN_NS UINT64_C(200000000) /* a host of a subnet answers in milliseconds */
#define HOPS_MAX 128u /* as GLEANS_MAX, of next hops */
#define HOPS_LEAST 8u
#define TURN_NS UINT64_C(1000000000) /* the kernel asks a second time after 1 s */
#define TURNS_NS 200000000u /* between two looks at those that wait */
#define TABLE_SIZE 1024u /* gc_thresh3 by default, and where it cannot be read */

int
netlink_request(struct mnl_socket *s, struct nlmsghdr *h)
{
	static _Atomic uint32_t seq;
	char buffer[MESSAGE_MAX];

	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++seq;
	if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		return -errno;
	/* The kernel answers within sendto. Earlier messages belong to an interrupted request. */
	for (;;) {
		ssize_t len = mnl_socket_recvfrom(s, buffer, sizeof(buffer));

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		const struct nlmsghdr *answer = (const struct nlmsghdr *)buffer;
		if (!mnl_nlmsg_ok(answer, (int)len) || answer->nlmsg_seq != h->nlmsg_seq ||
			answer->nlmsg_type != NLMSG_ERROR)
			continue;
		return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(answer))->error;
	}
}

/* Changes the kernel's tables after the start of the threads: by keelfwd if keeld has no right to. */
int
netlink_change(struct netlink *n, struct mnl_socket *s, struct nlmsghdr *h)
{
	if (n->config.change == NULL)
		return netlink_request(s, h);
	return n->config.change(n->config.ctx, s == n->host_requests, h, h->nlmsg_len);
}

static uint8_t
family_of(const struct ip_addr *addr)
{
	return addr->afi == AFI_IPV4 ? AF_INET : AF_INET6;
}

static void
put_address(struct nlmsghdr *h, uint16_t type, const struct ip_addr *addr)
{
	mnl_attr_put(h, type, addr->afi == AFI_IPV4 ? 4 : 16, addr->b);
}

/* ---- room ---- */

void
netlink_room_init(struct netlink_room *room)
{
	static const char *const path[2] = {"/proc/sys/net/ipv4/neigh/default/gc_thresh3",
		"/proc/sys/net/ipv6/neigh/default/gc_thresh3"};

	for (unsigned i = 0; i < 2; i++) {
		FILE *f = fopen(path[i], "re");

		if (f == NULL || fscanf(f, "%u", &room->size[i]) != 1)
			room->size[i] = TABLE_SIZE;
		if (f != NULL)
			fclose(f);
	}
}

void
netlink_room_join(struct netlink *n)
{
	n->room_next = n->room->mirrors;
	n->room->mirrors = n;
	n->in_room = true;
}

void
netlink_room_leave(struct netlink *n)
{
	struct netlink **at = &n->room->mirrors;

	if (!n->in_room)
		return;
	while (*at != n)
		at = &(*at)->room_next;
	*at = n->room_next;
	n->in_room = false;
}

static unsigned
family_index(const struct neighbor *e)
{
	return e->addr.afi == AFI_IPV6;
}

void
netlink_neighbor_unlist(struct neighbor *e)
{
	if (e->in == NULL)
		return;
	*(e->list_before != NULL ? &e->list_before->list_next : &e->in->first) = e->list_next;
	*(e->list_next != NULL ? &e->list_next->list_before : &e->in->last) = e->list_before;
	e->in->count--;
	if (e->in_room != NULL)
		--*e->in_room;
	e->in = NULL;
	e->waits = false;
}

static void
list_join(struct neighbor *e, struct neighbor_list *list, unsigned *in_room)
{
	e->list_next = NULL;
	e->list_before = list->last;
	*(list->last != NULL ? &list->last->list_next : &list->first) = e;
	list->last = e;
	list->count++;
	if (in_room != NULL)
		++*in_room;
	e->in = list;
	e->in_room = in_room;
}

void
netlink_asked_set(struct netlink *n, struct neighbor *e, enum asked how)
{
	struct link *l = netlink_link_find(n, e->ifindex);
	unsigned f = family_index(e);

	netlink_neighbor_unlist(e);
	e->asked = how;
	e->asked_ns = now_ns();
	if (l != NULL && how == ASKED_GLEAN)
		list_join(e, &l->gleans[f], &n->room->gleans[f]);
	else if (l != NULL && how == ASKED_FOLLOW)
		list_join(e, &l->followed[f], &n->room->followed[f]);
}

static void
count_short(struct netlink *n, _Atomic uint64_t *counter, uint16_t port)
{
	(void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
	atomic_store_explicit(&n->room->short_port, port, memory_order_relaxed);
	atomic_store_explicit(&n->room->short_ns, now_ns(), memory_order_relaxed);
}

/* ---- neighbours ---- */

static int
resolve_request(struct netlink *n, const struct neighbor *e, bool managed)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ndmsg *m;

	h->nlmsg_type = RTM_NEWNEIGH;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ndm_family = family_of(&e->addr);
	m->ndm_ifindex = (int)e->ifindex;
	m->ndm_state = NUD_NONE;
	/* the kernel does not count such an entry in the table, so others cannot fill its place */
	m->ndm_flags = !managed ? NTF_USE : e->asked == ASKED_NEXT_HOP ? NTF_EXT_LEARNED : 0;
	put_address(h, NDA_DST, &e->addr);
	if (managed)
		mnl_attr_put_u32(h, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	return netlink_change(n, n->host_requests, h);
}

static int
forget_request(struct netlink *n, const struct neighbor *e)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ndmsg *m;

	h->nlmsg_type = RTM_DELNEIGH;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ndm_family = family_of(&e->addr);
	m->ndm_ifindex = (int)e->ifindex;
	put_address(h, NDA_DST, &e->addr);
	return netlink_change(n, n->host_requests, h);
}

/* Ends an unanswered request. The message of the kernel removes the neighbour from the mirror. */
static void
glean_end(struct netlink *n, struct neighbor *e)
{
	netlink_asked_set(n, e, ASKED_NOT);
	(void)forget_request(n, e);
	(void)atomic_fetch_add_explicit(&n->room->ended, 1, memory_order_relaxed);
}

/* False: too many addresses are not answered, and have been asked for a moment ago. */
static bool
glean_room(struct netlink *n, struct link *l, unsigned f)
{
	struct neighbor_list *list = &l->gleans[f];

	if (list->count < GLEANS_LEAST ||
		(list->count < GLEANS_MAX && n->room->gleans[f] < n->room->size[f] / 4))
		return true;
	if (now_ns() - list->first->asked_ns < GLEAN_NS)
		return false;
	glean_end(n, list->first);
	return true;
}

/* The list of this kind with the most neighbours, of all mirrors. NULL: all are empty. */
static struct neighbor_list *
list_most(const struct netlink_room *room, size_t kind, unsigned f, struct netlink **mirror)
{
	struct neighbor_list *most = NULL;

	for (struct netlink *m = room->mirrors; m != NULL; m = m->room_next) {
		for (struct link *l = m->links; l != NULL; l = l->next) {
			struct neighbor_list *list =
				(struct neighbor_list *)(void *)((char *)l + kind) + f;

			if (list->count > (most != NULL ? most->count : 0)) {
				most = list;
				*mirror = m;
			}
		}
	}
	return most;
}

/* The table of the kernel is full. True: an unanswered request of any mirror made room. */
static bool
glean_yield(struct netlink *n, unsigned f)
{
	struct netlink *m;
	struct neighbor_list *most = list_most(n->room, offsetof(struct link, gleans), f, &m);

	if (most != NULL)
		glean_end(m, most->first);
	return most != NULL;
}

static bool
is_permanent(const struct neighbor *e)
{
	return e->nud_state & (NUD_PERMANENT | NUD_NOARP);
}

bool
netlink_neighbor_unasked(const struct neighbor *e)
{
	return e->waits && e->nud_state == NUD_NONE;
}

/* Ends the management by the kernel: a usable neighbour ages, an unusable neighbour is deleted. */
static void
unmanage(struct netlink *n, const struct neighbor *e)
{
	if (e->asked >= ASKED_FOLLOW && !is_permanent(e) && !netlink_neighbor_unasked(e))
		(void)(e->usable ? resolve_request(n, e, false) : forget_request(n, e));
}

void
netlink_neighbors_forget(struct netlink *n, const struct link *l)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++) {
		for (struct neighbor *e = n->neighbors[i], *next; e != NULL; e = next) {
			next = e->next;
			if (e->ifindex != l->ifindex)
				continue;
			unmanage(n, e);
			netlink_neighbor_forget(n, e);
		}
	}
}

void
netlink_neighbors_unmanage(struct netlink *n)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (const struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			unmanage(n, e);
}

/* ---- next hops ---- */

static bool
is_down(const struct link *l)
{
	return l->reported && !l->up;
}

static bool
hops_room(const struct netlink *n, const struct link *l, unsigned f)
{
	unsigned count = l->hops[f].count;

	return count < HOPS_LEAST || (count < HOPS_MAX && n->room->hops[f] < n->room->size[f] / 4);
}

/* 0, -errno. */
static int
hop_resolve(struct netlink *n, const struct link *l, const struct neighbor *e)
{
	unsigned f = family_index(e);
	int rc = resolve_request(n, e, true);

	if (rc == -ENOBUFS) {
		count_short(n, &n->room->refused, l->port);
		if (glean_yield(n, f))
			rc = resolve_request(n, e, true);
		if (rc == -ENOBUFS)
			n->room->full_ns[f] = now_ns();
	}
	/*
	 * A kernel before 5.16 rejects NTF_EXT_MANAGED, or ignores the flag and refuses an entry
	 * without a state.
	 */
	return rc == 0 || rc == -ENOBUFS ? rc : resolve_request(n, e, false);
}

static void
hop_wait(struct link *l, struct neighbor *e)
{
	netlink_neighbor_unlist(e);
	list_join(e, &l->waiting[family_index(e)][e->tried], NULL);
	e->waits = true;
}

static void
hop_asked(struct netlink *n, struct link *l, struct neighbor *e)
{
	unsigned f = family_index(e);

	netlink_neighbor_unlist(e);
	list_join(e, &l->hops[f], &n->room->hops[f]);
	e->asked_ns = now_ns();
}

/* NULL: none waits. */
static struct neighbor *
hop_first(struct link *l, unsigned f)
{
	struct neighbor *e = l->waiting[f][l->turn[f]].first;

	return e != NULL ? e : l->waiting[f][!l->turn[f]].first;
}

static void turns_fire(struct timer *t);

/*
 * Asks for the next hops that wait, while there is room. A full table ends the pass, and passes for a
 * moment. 0, or the last error.
 */
static int
hops_ask(struct netlink *n, struct link *l, unsigned f)
{
	unsigned most = l->waiting[f][0].count + l->waiting[f][1].count;
	struct neighbor *e = NULL;
	int rc = 0, err = 0;

	/* each once; a failure that is not of the address ends the pass */
	for (unsigned i = 0;
		i < most && i < HOPS_MAX && !is_down(l) && rc != -ENOBUFS && rc != -ETIMEDOUT &&
		rc != -EPIPE && rc != -ENOTCONN && rc != -EPERM && rc != -ENODEV;
		i++) {
		e = hop_first(l, f);
		if (e == NULL || !hops_room(n, l, f) ||
			(n->room->full_ns[f] != 0 && now_ns() - n->room->full_ns[f] < TURNS_NS))
			break;
		rc = hop_resolve(n, l, e);
		if (rc == 0) {
			l->turn[f] = !l->turn[f];
			hop_asked(n, l, e);
		} else {
			err = rc;
			hop_wait(l, e); /* behind others: the address can be the reason */
		}
	}
	if (hop_first(l, f) != NULL && n->thread != NULL && n->turns.deadline_ns == 0) {
		n->turns.fire = turns_fire;
		(void)timer_arm(n->thread, &n->turns, TURNS_NS);
	}
	return err;
}

/* Ends requests without an answer for the next hops that wait. */
static void
turns_end(struct netlink *n, struct link *l, unsigned f)
{
	unsigned want = l->waiting[f][0].count + l->waiting[f][1].count;

	if (hops_room(n, l, f))
		return;
	for (unsigned i = 0; i < want && i < HOPS_MAX; i++) {
		struct neighbor *e = l->hops[f].first;

		if (e == NULL || now_ns() - e->asked_ns < TURN_NS)
			break;
		e->tried = true;
		hop_wait(l, e);
		(void)forget_request(n, e);
		(void)atomic_fetch_add_explicit(&n->room->ended, 1, memory_order_relaxed);
	}
}

static void
turns_fire(struct timer *t)
{
	struct netlink *n = (struct netlink *)((char *)t - offsetof(struct netlink, turns));

	for (struct link *l = n->links; l != NULL; l = l->next) {
		for (unsigned f = 0; f < 2; f++) {
			if (is_down(l) || hop_first(l, f) == NULL)
				continue;
			turns_end(n, l, f);
			if (hops_ask(n, l, f) != -ENOTCONN && hop_first(l, f) != NULL)
				count_short(n, &n->room->held, l->port);
		}
	}
}

static int
hop_request(struct netlink *n, struct link *l, struct neighbor *e)
{
	unsigned f = family_index(e);
	int rc;

	if ((e->usable || e->in == &l->hops[f]) && hop_resolve(n, l, e) == 0)
		return 0;
	if (!e->waits)
		hop_wait(l, e);
	rc = hops_ask(n, l, f);
	return e->waits ? rc : 0;
}

/* After a message of the kernel about a next hop. */
static void
hop_seen(struct netlink *n, struct link *l, struct neighbor *e)
{
	bool managed = !e->waits;

	if (!e->usable) {
		if (e->in == NULL && !is_down(l))
			hop_asked(n, l, e);
		return;
	}
	e->tried = false;
	if (e->in == NULL)
		return;
	netlink_neighbor_unlist(e);
	if (!managed)
		(void)netlink_neighbor_request(n, e);
	(void)hops_ask(n, l, family_index(e));
}

int
netlink_neighbor_request(struct netlink *n, struct neighbor *e)
{
	struct link *l = netlink_link_find(n, e->ifindex);
	int rc;

	/* A permanent entry needs no probing, and a request would make the entry dynamic. */
	if (is_permanent(e))
		return 0;
	if (l == NULL || is_down(l)) {
		if (e->asked == ASKED_NEXT_HOP)
			netlink_neighbor_unlist(e);
		return -ENETDOWN; /* link_set() requests next hops */
	}
	if (e->asked == ASKED_NEXT_HOP)
		return hop_request(n, l, e);
	rc = resolve_request(n, e, e->asked == ASKED_FOLLOW);
	if (rc == -ENOBUFS)
		count_short(n, &n->room->refused, l->port);
	else if (rc != 0 && e->asked == ASKED_FOLLOW) /* a kernel before 5.16 */
		rc = resolve_request(n, e, false);
	return rc;
}

void
netlink_neighbors_request(struct netlink *n, const struct link *l)
{
	for (unsigned i = 0; i < NEIGHBOR_BUCKETS; i++)
		for (struct neighbor *e = n->neighbors[i]; e != NULL; e = e->next)
			if (e->ifindex == l->ifindex && e->asked == ASKED_NEXT_HOP && !e->usable)
				(void)netlink_neighbor_request(n, e);
}

/* The oldest neighbour of the port with the most is not kept any more while too many are. */
static void
followed_bound(struct netlink *n, unsigned f)
{
	while (n->room->followed[f] > n->room->size[f] / 2) {
		struct netlink *m;
		struct neighbor_list *most =
			list_most(n->room, offsetof(struct link, followed), f, &m);

		if (most == NULL)
			return;
		unmanage(m, most->first);
		netlink_asked_set(m, most->first, ASKED_NOT);
		(void)atomic_fetch_add_explicit(&n->room->released, 1, memory_order_relaxed);
	}
}

/*
 * Keeps a neighbour of a waiting packet resolved after the first answer, because the kernel does
 * not see forwarded packets. Deletes a neighbour without an answer, so the table of the kernel has
 * no entries of absent hosts.
 */
void
netlink_neighbor_follow(struct netlink *n, struct neighbor *e)
{
	struct link *l = netlink_link_find(n, e->ifindex);

	if (e->asked == ASKED_GLEAN && e->usable) {
		netlink_asked_set(n, e, ASKED_FOLLOW);
		(void)resolve_request(n, e, true);
		followed_bound(n, family_index(e));
	} else if ((e->asked == ASKED_GLEAN || e->asked == ASKED_FOLLOW) &&
		   (e->nud_state & NUD_FAILED)) {
		netlink_asked_set(n, e, ASKED_NOT);
		(void)forget_request(n, e);
	} else if (e->asked == ASKED_NEXT_HOP && l != NULL) {
		hop_seen(n, l, e);
	}
}

static struct link *
link_of_port(const struct netlink *n, uint16_t port)
{
	struct link *l = n->links;

	while (l != NULL && (l->port != port || l->kind != LINK_PORT))
		l = l->next;
	return l;
}

/* 0, -errno. 0 also for a next hop on a link that is down: link_set() repeats the request. */
static int
request_neighbor(struct netlink *n, uint16_t port, const struct ip_addr *addr, enum asked how)
{
	struct link *l = link_of_port(n, port);
	struct ip_addr zoned = *addr;
	struct neighbor *e;
	int rc;

	if (l == NULL)
		return -ENODEV;
	netlink_zone_set(l, &zoned);
	e = netlink_neighbor_get(n, l->ifindex, &zoned);
	if (e == NULL)
		return -ENOMEM;
	if (how == ASKED_GLEAN && e->asked == ASKED_NOT && !glean_room(n, l, family_index(e))) {
		count_short(n, &n->room->held, port);
		if (e->nud_state == NUD_NONE)
			netlink_neighbor_forget(n, e);
		return -EBUSY;
	}
	if (e->asked < how)
		netlink_asked_set(n, e, how);
	rc = netlink_neighbor_request(n, e);
	if (rc == 0 || e->asked == ASKED_NEXT_HOP)
		return rc == -ENETDOWN || rc == -ENOTCONN ? 0 : rc; /* repeated later */
	/* No answer will come: the table of the kernel is full, or the interface is gone. */
	if (e->nud_state == NUD_NONE)
		netlink_neighbor_forget(n, e);
	return rc;
}

int
netlink_resolve(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	return request_neighbor(n, port, addr, ASKED_NEXT_HOP);
}

int
netlink_glean(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	return request_neighbor(n, port, addr, ASKED_GLEAN);
}

void
netlink_release(struct netlink *n, uint16_t port, const struct ip_addr *addr)
{
	struct link *l = link_of_port(n, port);
	struct ip_addr zoned = *addr;
	struct neighbor *e;

	if (l == NULL)
		return;
	netlink_zone_set(l, &zoned);
	e = netlink_neighbor_get(n, l->ifindex, &zoned);
	if (e == NULL)
		return;
	if (e->asked == ASKED_NEXT_HOP) {
		unmanage(n, e);
		netlink_asked_set(n, e, ASKED_NOT);
		(void)hops_ask(n, l, family_index(e));
	}
	if (e->asked == ASKED_NOT && e->nud_state == NUD_NONE)
		netlink_neighbor_forget(n, e);
}

/* ---- addresses, links, routes: main ---- */

static int
address_request(
	struct netlink *n, uint16_t type, unsigned ifindex, const struct ip_addr *addr, uint8_t len)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifaddrmsg *m;

	h->nlmsg_type = type;
	h->nlmsg_flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ifa_family = family_of(addr);
	m->ifa_prefixlen = len;
	m->ifa_index = ifindex;
	put_address(h, IFA_LOCAL, addr);
	put_address(h, IFA_ADDRESS, addr);
	return netlink_change(n, n->main_requests, h);
}

int
netlink_address_add(struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len)
{
	int rc = address_request(n, RTM_NEWADDR, ifindex, addr, len);

	return rc == -EEXIST ? 0 : rc;
}

int
netlink_address_remove(struct netlink *n, unsigned ifindex, const struct ip_addr *addr, uint8_t len)
{
	int rc = address_request(n, RTM_DELADDR, ifindex, addr, len);

	return rc == -EADDRNOTAVAIL ? 0 : rc;
}

int
netlink_link_up(struct netlink *n, unsigned ifindex)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *m;

	h->nlmsg_type = RTM_NEWLINK;
	m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	m->ifi_index = (int)ifindex;
	m->ifi_flags = IFF_UP;
	m->ifi_change = IFF_UP;
	return netlink_change(n, n->main_requests, h);
}

int
netlink_tun_up(struct netlink *n, const char *name, unsigned ifindex)
{
	int rc = netns_enter(n->config.netns);

	if (rc != 0)
		return rc;
	port_guard_tun(n->guard, name);
	netns_leave(n->config.netns);
	return netlink_link_up(n, ifindex); /* own_routes_sync() adds the routes */
}
