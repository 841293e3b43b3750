/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of ports: from events of the drivers (removal, reset), and from polls of the device or
 * of the kernel interface, which also say how fast the link is.
 */
#define ALLOW_EXPERIMENTAL_API /* rte_eth_fec_get() */
#include "dataplane/port/port_struct.h"
#include "dataplane/port/tap.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <pthread.h>
#include <rte_ethdev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* port_watch.link */
static uint64_t
link_word(uint32_t speed, unsigned duplex, unsigned autoneg, unsigned fec)
{
	return speed | (uint64_t)duplex << 32 | (uint64_t)autoneg << 34 | (uint64_t)fec << 36;
}

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
		atomic_store_explicit(&w->event, WHY_DEVICE_GONE, memory_order_relaxed);
	else if (type == RTE_ETH_EVENT_INTR_RESET)
		atomic_store_explicit(&w->event, WHY_RESET, memory_order_relaxed);
	else /* of the link */
		atomic_store_explicit(&w->asked, false, memory_order_relaxed);
	(void)eventfd_write(events_fd, 1);
	return 0;
}

static const enum rte_eth_event_type events[] = {
	RTE_ETH_EVENT_INTR_RMV, RTE_ETH_EVENT_INTR_RESET, RTE_ETH_EVENT_INTR_LSC};
#define EVENTS (sizeof(events) / sizeof(events[0]))

void
port_watch_pull(struct port_watch *w)
{
	/* relaxed: as on_event() */
	atomic_store_explicit(&w->event, WHY_DEVICE_GONE, memory_order_relaxed);
	(void)eventfd_write(events_fd, 1);
}

/* A descriptor of the driver of net_tap for its interface, or -1: the driver hides the descriptor. */
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
port_watch_start(struct port_watch *w, uint16_t ethdev, bool tap, unsigned ifindex, bool own)
{
	struct rte_eth_dev_info info;
	char iface[IF_NAMESIZE];

	w->ethdev = ethdev;
	w->ifindex = ifindex;
	w->own = own;
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

/* ---- the link ---- */

/* With the name of the interface in `r`. Room for the masks of link modes, which the kernel asks for. */
static uint64_t
interface_link(int fd, struct ifreq *r)
{
	union {
		struct ethtool_link_settings s;
		uint8_t room[sizeof(struct ethtool_link_settings) +
			     3 * SCHAR_MAX * sizeof(uint32_t)];
	} l = {.s = {.cmd = ETHTOOL_GLINKSETTINGS}};
	struct ethtool_fecparam f = {.cmd = ETHTOOL_GFECPARAM};
	unsigned speed, fec = MODE_UNKNOWN;

	r->ifr_data = (void *)&l;
	if (ioctl(fd, SIOCETHTOOL, r) != 0 || l.s.link_mode_masks_nwords >= 0)
		return 0;
	l.s = (struct ethtool_link_settings){.cmd = ETHTOOL_GLINKSETTINGS,
		.link_mode_masks_nwords = (int8_t)-l.s.link_mode_masks_nwords};
	if (ioctl(fd, SIOCETHTOOL, r) != 0)
		return 0;
	r->ifr_data = (void *)&f;
	if (ioctl(fd, SIOCETHTOOL, r) == 0)
		fec = f.active_fec & ETHTOOL_FEC_RS	 ? FEC_RS
		      : f.active_fec & ETHTOOL_FEC_BASER ? FEC_BASER
		      : f.active_fec & ETHTOOL_FEC_LLRS	 ? FEC_LLRS
		      : f.active_fec & ETHTOOL_FEC_AUTO	 ? FEC_AUTO
		      : f.active_fec & ETHTOOL_FEC_OFF	 ? FEC_OFF
							 : MODE_UNKNOWN;
	speed = l.s.speed != (uint32_t)SPEED_UNKNOWN ? l.s.speed : 0;
	return link_word(speed,
		l.s.duplex == DUPLEX_FULL   ? FULL
		: l.s.duplex == DUPLEX_HALF ? HALF
					    : MODE_UNKNOWN,
		l.s.autoneg == AUTONEG_ENABLE ? ON : OFF, fec);
}

static uint64_t
device_link(uint16_t ethdev, const struct rte_eth_link *l)
{
	uint32_t mode = 0;
	unsigned fec = MODE_UNKNOWN;

	if (rte_eth_fec_get(ethdev, &mode) == 0)
		fec = mode & RTE_ETH_FEC_MODE_CAPA_MASK(RS)	 ? FEC_RS
		      : mode & RTE_ETH_FEC_MODE_CAPA_MASK(BASER) ? FEC_BASER
		      : mode & RTE_ETH_FEC_MODE_CAPA_MASK(AUTO)	 ? FEC_AUTO
		      : mode & RTE_ETH_FEC_MODE_CAPA_MASK(NOFEC) ? FEC_OFF
								 : MODE_UNKNOWN;
	return link_word(l->link_speed != RTE_ETH_SPEED_NUM_UNKNOWN ? l->link_speed : 0,
		l->link_duplex == RTE_ETH_LINK_FULL_DUPLEX ? FULL : HALF,
		l->link_autoneg == RTE_ETH_LINK_AUTONEG ? ON : OFF, fec);
}

/* ---- polls ---- */

/* The link is read at a change of the state, and every PORT_LINK_NS. */
static bool
link_is_due(struct port_watch *w, enum port_why now)
{
	if (now == atomic_load_explicit(&w->why, memory_order_relaxed) &&
		++w->polls < PORT_LINK_NS / (w->costs ? PORT_QUERY_NS : PORT_STATES_NS))
		return false;
	w->polls = 0;
	return true;
}

/* By index: the interface may have been renamed. */
static enum port_why
interface_look(struct port_watch *w, uint64_t *link)
{
	struct ifreq r = {.ifr_ifindex = (int)w->ifindex};
	enum port_why why;

	if (ioctl(w->kernel, SIOCGIFNAME, &r) != 0 || ioctl(w->kernel, SIOCGIFFLAGS, &r) != 0)
		return WHY_INTERFACE_GONE;
	why = !(r.ifr_flags & IFF_UP)	     ? WHY_INTERFACE_DOWN
	      : !(r.ifr_flags & IFF_RUNNING) ? WHY_NO_LINK
					     : WHY_UP;
	if (link_is_due(w, why))
		*link = why == WHY_UP ? interface_link(w->kernel, &r) : 0;
	return why;
}

/*
 * IFF_RUNNING follows the carrier by a kernel thread, up to a second later; ETHTOOL_GLINK reads the carrier
 * itself.
 */
bool
port_interface_up(uint16_t port)
{
	const struct port_watch *w = port_watch(port);
	struct ethtool_value link = {.cmd = ETHTOOL_GLINK};
	struct ifreq r = {.ifr_flags = 0};
	bool running;

	if (w == NULL || w->kernel < 0)
		return true;
	r.ifr_ifindex = (int)w->ifindex;
	if (ioctl(w->kernel, SIOCGIFNAME, &r) != 0 || ioctl(w->kernel, SIOCGIFFLAGS, &r) != 0 ||
		!(r.ifr_flags & IFF_UP))
		return false;
	running = r.ifr_flags & IFF_RUNNING;
	r.ifr_data = (void *)&link;
	return ioctl(w->kernel, SIOCETHTOOL, &r) == 0 ? link.data != 0 : running;
}

static bool
tap_deleted(int fd)
{
	struct ifreq r = {.ifr_flags = 0};

	return ioctl(fd, TUNGETIFF, &r) != 0;
}

static enum port_why
look(struct port_watch *w, uint64_t *link)
{
	unsigned event = atomic_load_explicit(&w->event, memory_order_relaxed);
	struct rte_eth_link l = {0};
	enum port_why why;

	if (event != WHY_NO_LINK)
		return (enum port_why)event;
	if (w->kernel >= 0 && w->own)
		return interface_look(w, link);
	if (w->tap >= 0 && tap_deleted(w->tap))
		return WHY_INTERFACE_GONE;
	if (w->costs && atomic_load_explicit(&w->asked, memory_order_relaxed) &&
		++w->queries < PORT_QUERY_NS / PORT_STATES_NS)
		return atomic_load_explicit(&w->why, memory_order_relaxed);
	w->queries = 0;
	atomic_store_explicit(&w->asked, true, memory_order_relaxed);
	if (w->link_unknown || rte_eth_link_get_nowait(w->ethdev, &l) != 0)
		return WHY_UP;
	why = l.link_status == RTE_ETH_LINK_UP ? WHY_UP : WHY_NO_LINK;
	if (link_is_due(w, why))
		*link = why == WHY_UP ? device_link(w->ethdev, &l) : 0;
	return why;
}

/* Of a port on a VLAN. */
static enum port_why
look_at_parent(const struct port *p, uint64_t *link)
{
	const struct port_watch *on = port_watch(p->parent);

	if (on == NULL || atomic_load_explicit(&on->why, memory_order_relaxed) != WHY_UP)
		return WHY_PARENT;
	*link = atomic_load_explicit(&on->link, memory_order_relaxed);
	return WHY_UP;
}

static void
read_state(uint16_t port) RUNS_ON(role_host)
{
	const struct port *p = port_find(port);
	struct port_watch *w = port_watch(port);
	struct port_host *h = port_host(port);
	enum port_why why;
	uint64_t link;

	if (p == NULL || w == NULL || h == NULL || w->ethdev == RTE_MAX_ETHPORTS)
		return;
	link = atomic_load_explicit(&w->link, memory_order_relaxed);
	port_asks_begin(port);
	why = p->vlan.outer != 0 ? look_at_parent(p, &link) : look(w, &link);
	port_asks_end(port);
	if (h->fd >= 0 && (why == WHY_UP) != h->carrier &&
		tap_carrier_set(h->fd, why == WHY_UP) == 0)
		h->carrier = why == WHY_UP;
	/* the kernel receives nothing from the port any more */
	if (port_host_way(port) == HOST_WAY_TAP && h->fd < 0)
		why = WHY_INTERFACE_GONE;
	/* release: pairs with port_link_get(): the link belongs to the state */
	atomic_store_explicit(&w->link, why == WHY_UP ? link : 0, memory_order_relaxed);
	atomic_store_explicit(&w->why, why, memory_order_release);
}

void
port_states_read(void)
{
	eventfd_t n;

	if (events_fd >= 0)
		(void)eventfd_read(events_fd, &n);
	for (uint16_t port = 0; port < port_count(); port++)
		read_state(port);
}
