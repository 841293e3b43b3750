/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of ports: from events of the drivers (removal, reset), and from polls of the device or
 * of the kernel interface.
 */
#include "dataplane/forwarder.h"
#include "dataplane/port_impl.h"
#include "dataplane/tap.h"

#include <dirent.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <rte_ethdev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const state_text[] = {
	[PORT_DOWN] = "down",
	[PORT_UP] = "up",
	[PORT_MISSING] = "missing",
	[PORT_FAILED] = "failed",
};

/* At file scope, because drivers call back without a context of the process. -1: no data plane. */
static int events_fd = -1;

static pthread_mutex_t asks[PORTS_MAX];

void
port_asks_begin(uint16_t port)
{
	(void)pthread_mutex_lock(&asks[port]);
}

void
port_asks_end(uint16_t port)
{
	(void)pthread_mutex_unlock(&asks[port]);
}

const char *
port_state_text(enum port_state s)
{
	return (unsigned)s < sizeof(state_text) / sizeof(state_text[0]) ? state_text[s] : "unknown";
}

int
port_events_fd(void)
{
	return events_fd;
}

int
port_watches_create(void)
{
	events_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return events_fd >= 0 ? 0 : -errno;
}

void
port_watches_destroy(void)
{
	if (events_fd >= 0)
		(void)close(events_fd);
	events_fd = -1;
}

/* ---- events of drivers, on EAL's interrupt thread or on the thread that removes a device ---- */

static int
on_event(uint16_t ethdev, enum rte_eth_event_type type, void *arg, void *more)
{
	struct port_watch *w = arg;

	(void)ethdev;
	(void)more;
	/* relaxed: a single value; the state says the same to all readers */
	if (type == RTE_ETH_EVENT_INTR_RMV)
		atomic_store_explicit(&w->event, PORT_MISSING, memory_order_relaxed);
	else if (type == RTE_ETH_EVENT_INTR_RESET)
		atomic_store_explicit(&w->event, PORT_FAILED, memory_order_relaxed);
	(void)eventfd_write(events_fd, 1);
	return 0;
}

static const enum rte_eth_event_type events[] = {RTE_ETH_EVENT_INTR_RMV, RTE_ETH_EVENT_INTR_RESET};
#define EVENTS (sizeof(events) / sizeof(events[0]))

void
port_watch_pull(struct port_watch *w)
{
	/* relaxed: as on_event() */
	atomic_store_explicit(&w->event, PORT_MISSING, memory_order_relaxed);
	(void)eventfd_write(events_fd, 1);
}

bool
port_watch_pulled(const struct port_watch *w)
{
	return atomic_load_explicit(&w->event, memory_order_relaxed) == PORT_MISSING;
}

/* A descriptor of the driver of net_tap for its interface, or -1: the driver gives no access to it. */
static int
find_tap(const char *iface)
{
	DIR *d = opendir("/proc/self/fd");
	int found = -1;
	struct dirent *e;

	while (d != NULL && found < 0 && (e = readdir(d)) != NULL) {
		struct ifreq r = {.ifr_flags = 0};
		char *end;
		long fd = strtol(e->d_name, &end, 10);

		if (*end == '\0' && end != e->d_name && ioctl((int)fd, TUNGETIFF, &r) == 0 &&
			strncmp(r.ifr_name, iface, IFNAMSIZ) == 0)
			found = (int)fd;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

void
port_watch_start(struct port_watch *w, uint16_t ethdev, bool tap, unsigned ifindex)
{
	struct rte_eth_dev_info info;
	char iface[IF_NAMESIZE];

	w->ethdev = ethdev;
	w->ifindex = ifindex;
	w->kernel = ifindex != 0 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
	w->tap = -1;
	if (tap && rte_eth_dev_info_get(ethdev, &info) == 0 &&
		if_indextoname(info.if_index, iface) != NULL)
		w->tap = find_tap(iface);
	for (unsigned i = 0; i < EVENTS; i++)
		(void)rte_eth_dev_callback_register(ethdev, events[i], on_event, w);
}

void
port_watch_stop(struct port_watch *w)
{
	for (unsigned i = 0; w->ethdev < RTE_MAX_ETHPORTS && i < EVENTS; i++)
		(void)rte_eth_dev_callback_unregister(w->ethdev, events[i], on_event, w);
	if (w->kernel >= 0)
		(void)close(w->kernel);
	w->kernel = w->tap = -1;
	w->ethdev = RTE_MAX_ETHPORTS;
}

/* ---- polls ---- */

/* By index: the interface may have been renamed. */
static enum port_state
interface_state(int fd, unsigned ifindex)
{
	struct ifreq r = {.ifr_ifindex = (int)ifindex};

	if (ioctl(fd, SIOCGIFNAME, &r) != 0 || ioctl(fd, SIOCGIFFLAGS, &r) != 0)
		return PORT_MISSING;
	return (r.ifr_flags & IFF_UP) && (r.ifr_flags & IFF_RUNNING) ? PORT_UP : PORT_DOWN;
}

static bool
tap_deleted(int fd)
{
	struct ifreq r = {.ifr_flags = 0};

	return ioctl(fd, TUNGETIFF, &r) != 0;
}

static enum port_state
present_state(const struct port_watch *w)
{
	unsigned event = atomic_load_explicit(&w->event, memory_order_relaxed);
	struct rte_eth_link link = {0};

	if (event != PORT_DOWN)
		return (enum port_state)event;
	if (w->kernel >= 0)
		return interface_state(w->kernel, w->ifindex);
	if (w->tap >= 0 && tap_deleted(w->tap))
		return PORT_MISSING;
	if (w->link_unknown || rte_eth_link_get_nowait(w->ethdev, &link) != 0)
		return PORT_UP;
	return link.link_status == RTE_ETH_LINK_UP ? PORT_UP : PORT_DOWN;
}

static void
read_state(uint16_t port) RUNS_ON(role_host)
{
	struct port_watch *w = port_watch(port);
	struct port_host *h = port_host(port);
	enum port_state s;

	if (w == NULL || h == NULL || w->ethdev == RTE_MAX_ETHPORTS)
		return;
	port_asks_begin(port);
	s = present_state(w);
	port_asks_end(port);
	if (h->fd >= 0 && (s == PORT_UP) != h->carrier && tap_carrier_set(h->fd, s == PORT_UP) == 0)
		h->carrier = s == PORT_UP;
	/* the kernel receives nothing from the port any more */
	if (port_host_way(port) == HOST_WAY_TAP && h->fd < 0)
		s = PORT_MISSING;
	atomic_store_explicit(&w->state, s, memory_order_relaxed);
}

void
port_states_read(void)
{
	eventfd_t n;

	if (forwarder_is_used())
		return;
	if (events_fd >= 0)
		(void)eventfd_read(events_fd, &n);
	for (uint16_t port = 0; port < port_count(); port++)
		read_state(port);
}

enum port_state
port_state(uint16_t port)
{
	struct port_watch *w = port_watch(port);

	return w != NULL ? (enum port_state)atomic_load_explicit(&w->state, memory_order_relaxed)
			 : PORT_MISSING;
}
