/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The readers of ports in keelfwd and keeld: in keelfwd its ports, in keeld the memory of keelfwd after
 * dataplane_adopt(). Needs no EAL.
 */
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/port_pull.h"
#include "lpm/base/monotonic.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCI_DEVICES "/sys/bus/pci/devices/"

/* At file scope, because a process has one EAL with one set of ethdev ports. NULL: no data plane. */
struct dataplane *dp;

void
text_end(char *text)
{
	size_t len = strlen(text), more = 0;

	while (more < 3 && more < len && ((uint8_t)text[len - more - 1] & 0xc0) == 0x80)
		more++;
	if (more < len) {
		uint8_t lead = (uint8_t)text[len - more - 1];
		size_t needs = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : more;

		if (needs > more)
			text[len - more - 1] = '\0';
	}
}

int
dataplane_fail(struct dataplane_error *err, int rc, const char *format, ...)
{
	va_list ap;

	if (err == NULL)
		return rc;
	va_start(ap, format);
	(void)vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	text_end(err->text);
	return rc;
}

const struct dataplane *
dataplane_address(void)
{
	return dp;
}

void
dataplane_adopt(const struct dataplane *d)
{
	/* only read: changes are requests to keelfwd (forwarder.h) */
	dp = (struct dataplane *)(uintptr_t)d;
}

static _Atomic bool forwarder_gone;

void
dataplane_lost(bool lost)
{
	atomic_store_explicit(&forwarder_gone, lost, memory_order_relaxed);
}

size_t
port_layout(void)
{
	return sizeof(struct dataplane) * 4096 + sizeof(struct port) * 64 +
	       offsetof(struct dataplane, port_count) % 64;
}

/* ---- PCI devices ---- */

/* The folder of the device. False: no PCI address. */
static bool
pci_folder(const char *device, char *out, size_t size)
{
	const char *at = strncmp(device, "pci:", 4) == 0 ? device + 4 : device;
	unsigned domain = 0, bus, number, function;
	int end = 0;

	if (sscanf(at, "%4x:%2x:%2x.%1x%n", &domain, &bus, &number, &function, &end) != 4) {
		domain = 0;
		if (sscanf(at, "%2x:%2x.%1x%n", &bus, &number, &function, &end) != 3)
			return false;
	}
	if (at[end] != '\0' && at[end] != ',')
		return false;
	(void)snprintf(out, size, PCI_DEVICES "%.4x:%.2x:%.2x.%x", domain, bus, number, function);
	return true;
}

bool
device_is_pci(const char *device)
{
	char folder[64];

	return pci_folder(device, folder, sizeof(folder));
}

/* A number in the folder of a PCI device. */
static int
pci_value(const char *device, const char *name, int none)
{
	char folder[64], path[80];
	int value = none;
	FILE *f;

	if (!pci_folder(device, folder, sizeof(folder)))
		return none;
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "re");
	if (f != NULL) {
		if (fscanf(f, "%i", &value) != 1)
			value = none;
		(void)fclose(f);
	}
	return value;
}

unsigned
device_vendor(const char *device)
{
	return (unsigned)pci_value(device, "vendor", 0);
}

/* The driver of DPDK opens an E810 only with the DDP package, without the argument safe-mode-support=1. */
bool
device_lacks_ddp(const char *device)
{
	int id = pci_value(device, "device", 0);

	return device_vendor(device) == 0x8086 && id >= 0x1591 && id <= 0x159b &&
	       access("/lib/firmware/updates/intel/ice/ddp/ice.pkg", R_OK) != 0 &&
	       access("/lib/firmware/intel/ice/ddp/ice.pkg", R_OK) != 0;
}

int
device_socket(const char *device)
{
	return pci_value(device, "numa_node", -1);
}

int
port_device_check(const char *device, struct dataplane_error *err)
{
	char iface[IFNAMSIZ];

	if (device_is_pci(device) && !device_is_ready(device))
		return dataplane_fail(err, -ENODEV,
			device_vendor(device) == 0
				? "this host has no PCI device %.40s"
				: "on this host no driver that DPDK can use has the device %.40s: "
				  "keel-nic bind",
			device);
	if (port_kernel_of(device) == PORT_KERNEL_OWN &&
		device_argument(device, "iface", iface, sizeof(iface)) &&
		if_nametoindex(iface) == 0)
		return dataplane_fail(err, -ENODEV, "this host has no interface %s", iface);
	return 0;
}

bool
device_is_ready(const char *device)
{
	static const char *const drivers[] = {
		"vfio-pci", "uio_pci_generic", "igb_uio", "mlx4_core", "mlx5_core", "mana"};
	char folder[64], link[80], target[PATH_MAX];
	const char *driver;
	ssize_t n;

	if (!pci_folder(device, folder, sizeof(folder)))
		return false;
	(void)snprintf(link, sizeof(link), "%s/driver", folder);
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	driver = strrchr(target, '/');
	for (unsigned i = 0; driver != NULL && i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strcmp(driver + 1, drivers[i]) == 0)
			return true;
	return false;
}

/* ---- the table ---- */

struct port *
port_at(unsigned number)
{
	return &dp->port[number];
}

struct port *
port_find(uint16_t port)
{
	/* acquire: pairs with the release in port_show */
	return dp != NULL && port < PORTS_MAX &&
			       atomic_load_explicit(&dp->shown[port], memory_order_acquire)
		       ? &dp->port[port]
		       : NULL;
}

bool
port_exists(uint16_t port)
{
	return port_find(port) != NULL;
}

uint16_t
port_named(const char *name)
{
	for (uint16_t port = 0; port < port_count(); port++)
		if (strcmp(port_name(port), name) == 0)
			return port;
	return PORTS_MAX;
}

unsigned
port_count(void)
{
	/* acquire: pairs with the release in port_number_take */
	return dp != NULL ? atomic_load_explicit(&dp->port_count, memory_order_acquire) : 0;
}

const char *
port_name(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL ? p->name : "";
}

struct vrf_id
port_vrf(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL ? p->vrf : VRF_DEFAULT;
}

const struct netns *
port_netns(const struct port *p)
{
	return p->netns.fd >= 0 ? &p->netns : NULL;
}

unsigned
port_tun(struct vrf_id vrf)
{
	return dp != NULL && vrf.v < FIB_VRF_MAX
		       ? atomic_load_explicit(&dp->tun[vrf.v], memory_order_relaxed)
		       : 0;
}

struct port_vlan
port_vlan_get(uint16_t port, uint16_t *parent)
{
	const struct port *p = port_find(port);

	*parent = p != NULL ? p->parent : 0;
	return p != NULL ? p->vlan : (struct port_vlan){0};
}

bool
port_mpls(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && p->mpls;
}

uint16_t
port_mtu(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL ? atomic_load_explicit(&p->mtu, memory_order_relaxed) : 0;
}

uint16_t
port_mtu_own(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL ? atomic_load_explicit(&p->mtu_own, memory_order_relaxed) : 0;
}

void
port_mac(uint16_t port, uint8_t mac[6])
{
	const struct port *p = port_find(port);
	uint64_t word = p != NULL ? atomic_load_explicit(&p->mac, memory_order_relaxed) : 0;

	memcpy(mac, &word, 6);
}

unsigned
port_ifindex(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL ? p->ifindex : 0;
}

bool
port_is_xdp(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && p->xdp;
}

bool
port_runs(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && !p->skipped;
}

unsigned
port_rx_queues(uint16_t port)
{
	return dp->port[port].rx_queues;
}

unsigned
port_tx_queues(uint16_t port)
{
	return dp->port[port].tx_queues;
}

unsigned
port_queue_worker(uint16_t port, unsigned queue)
{
	const struct port *p = &dp->port[port];

	if (p->queue_worker_count > 0)
		return p->queue_worker[queue % p->queue_worker_count] % dp->worker_count;
	return (port + queue) % dp->worker_count;
}

/* ---- states ---- */

static const char *const state_text[] = {
	[PORT_DOWN] = "down",
	[PORT_UP] = "up",
	[PORT_MISSING] = "missing",
	[PORT_FAILED] = "failed",
};

static const struct {
	enum port_state state;
	const char *text; /* NULL: the text is in struct port, or there is none */
} causes[] = {
	[WHY_NO_LINK] = {PORT_DOWN, "no carrier"},
	[WHY_UP] = {PORT_UP, NULL},
	[WHY_INTERFACE_DOWN] = {PORT_DOWN, "the interface is set down"},
	[WHY_INTERFACE_GONE] = {PORT_MISSING, "the interface was deleted"},
	[WHY_DEVICE_GONE] = {PORT_MISSING, "the device was removed"},
	[WHY_RESET] = {PORT_FAILED, "the device was reset"},
	[WHY_ABSENT] = {PORT_MISSING, NULL},
	[WHY_NOT_OPENED] = {PORT_FAILED, NULL},
	[WHY_FORWARDER_GONE] = {PORT_FAILED, "keelfwd has ended"},
	[WHY_PARENT] = {PORT_DOWN, "its parent is not up"},
};

static const char *const duplex_text[4] = {[HALF] = "half", [FULL] = "full"};
static const char *const autoneg_text[4] = {[OFF] = "off", [ON] = "on"};
static const char *const fec_text[8] = {[FEC_OFF] = "off",
	[FEC_AUTO] = "auto",
	[FEC_BASER] = "base-r",
	[FEC_RS] = "rs",
	[FEC_LLRS] = "llrs"};

struct port_watch *
port_watch(uint16_t port)
{
	struct port *p = port_find(port);

	return p != NULL ? &p->watch : NULL;
}

bool
port_watch_pulled(const struct port_watch *w)
{
	return atomic_load_explicit(&w->event, memory_order_relaxed) == WHY_DEVICE_GONE;
}

const char *
port_state_text(enum port_state s)
{
	return (unsigned)s < sizeof(state_text) / sizeof(state_text[0]) ? state_text[s] : "unknown";
}

enum port_state
port_state(uint16_t port)
{
	struct port_link l;

	port_link_get(port, &l);
	return l.state;
}

void
port_link_get(uint16_t port, struct port_link *out)
{
	const struct port *p = port_find(port);
	unsigned why = WHY_DEVICE_GONE;
	uint64_t link = 0;

	if (p != NULL) {
		/* acquire: pairs with read_state() */
		why = atomic_load_explicit(&p->watch.why, memory_order_acquire);
		link = atomic_load_explicit(&p->watch.link, memory_order_relaxed);
	}
	if (p != NULL && atomic_load_explicit(&forwarder_gone, memory_order_relaxed))
		why = WHY_FORWARDER_GONE, link = 0;
	why = why < sizeof(causes) / sizeof(causes[0]) ? why : WHY_NOT_OPENED;
	*out = (struct port_link){.state = causes[why].state,
		.cause = (uint8_t)why,
		.reason = causes[why].text,
		.speed_mbps = (uint32_t)link,
		.duplex = duplex_text[link >> 32 & 3],
		.autoneg = autoneg_text[link >> 34 & 3],
		.fec = fec_text[link >> 36 & 7]};
	if (why == WHY_ABSENT || why == WHY_NOT_OPENED)
		out->reason = p->fault;
}

/* ---- devices that leave and return ---- */

bool
port_device_is_there(const struct port_config *c)
{
	char iface[IFNAMSIZ], parent[PORT_NAME_MAX];
	struct port_vlan vlan;
	bool there;

	if (port_vlan_parse(c->device, parent, &vlan))
		return port_runs(port_named(parent));
	if (device_is_pci(c->device))
		return device_is_ready(c->device);
	if (port_kernel_of(c->device) != PORT_KERNEL_OWN ||
		!device_argument(c->device, "iface", iface, sizeof(iface)))
		return true;
	if (netns_enter(c->netns) != 0)
		return false;
	there = if_nametoindex(iface) != 0;
	netns_leave(c->netns);
	return there;
}

bool
port_left(uint16_t port)
{
	const struct port *p = port_find(port);

	if (p != NULL && p->vlan.outer != 0)
		return port_left(p->parent);
	return p != NULL && !p->skipped && p->vrf.v == VRF_DEFAULT.v && device_is_pci(p->device) &&
	       port_watch_pulled(&p->watch);
}

static bool
is_new_interface(const char *name, unsigned was)
{
	unsigned now = if_nametoindex(name);

	return now != 0 && now != was;
}

/* True if an interface that the port has lost was made again. */
static bool
interface_returned(const struct port *p)
{
	char iface[IFNAMSIZ];
	bool named = device_argument(p->device, "iface", iface, sizeof(iface));

	if (port_kernel_of(p->device) == PORT_KERNEL_OWN)
		return named && is_new_interface(iface, p->ifindex);
	if (named && p->tap_ifindex != 0 && is_new_interface(iface, p->tap_ifindex))
		return true;
	return p->way == HOST_WAY_TAP && is_new_interface(p->name, p->ifindex);
}

static bool
returned_in(const struct port *p, const struct netns *n)
{
	bool returned;

	if (netns_enter(n) != 0)
		return false;
	returned = p->skipped ? port_device_is_there(&(struct port_config){.device = p->device})
			      : interface_returned(p);
	netns_leave(n);
	return returned;
}

bool
port_returned(uint16_t port, const struct netns *netns)
{
	const struct port *p = port_find(port);

	if (p == NULL || (p->vrf.v != VRF_DEFAULT.v && netns == NULL))
		return false;
	/* at once after a reset (of a VF by the PF), later after a failure to open */
	if (port_state(port) == PORT_FAILED)
		return !p->skipped || monotonic_ns() >= p->retry_ns;
	/* a new interface is in the namespace of keeld, until the port of an instance opens */
	return port_state(port) == PORT_MISSING &&
	       (returned_in(p, NULL) || (netns != NULL && returned_in(p, netns)));
}

/* ---- configurations ---- */

bool
port_config_get(uint16_t port, struct port_config *c, unsigned queue_workers[PORT_QUEUES_MAX])
{
	const struct port *p = &dp->port[port];

	if (!dp->open[port])
		return false;
	for (unsigned i = 0; i < p->queue_worker_count; i++)
		queue_workers[i] = p->queue_worker[i];
	*c = (struct port_config){.name = p->name,
		.device = p->device,
		.vrf = p->vrf,
		.netns = port_netns(p),
		.mpls = p->mpls,
		.mtu = p->mtu_wanted,
		.queues = p->queues_wanted,
		.queue_workers = queue_workers,
		.queue_worker_count = p->queue_worker_count,
		.host_path = p->host_path};
	return true;
}

static bool
same_config(const struct port_config *a, const struct port_config *b)
{
	if (strcmp(a->name, b->name) != 0 || strcmp(a->device, b->device) != 0 ||
		a->vrf.v != b->vrf.v || a->mpls != b->mpls || a->mtu != b->mtu ||
		a->queues != b->queues || a->queue_worker_count != b->queue_worker_count)
		return false;
	for (unsigned i = 0; i < a->queue_worker_count; i++)
		if (a->queue_workers[i] != b->queue_workers[i])
			return false;
	return true;
}

bool
port_is_open_as(uint16_t port, const struct port_config *c)
{
	unsigned workers[PORT_QUEUES_MAX];
	struct port_config is;

	return !c->leaves && !c->returns && port_config_get(port, &is, workers) &&
	       same_config(&is, c);
}

bool
port_set_has(const struct port_config *c)
{
	uint16_t port = port_named(c->name);

	return port != PORTS_MAX && port_is_open_as(port, c);
}

/* ---- classes of packets for this router ---- */

static const char *const class_text[HOST_CLASSES] = {
	[HOST_BGP_PEERS] = "bgp_peers",
	[HOST_NEIGHBORS] = "neighbors",
	[HOST_BGP_OTHERS] = "bgp_others",
	[HOST_ICMP] = "icmp",
	[HOST_OTHERS] = "others",
};

const char *
host_class_text(enum host_class c)
{
	return (unsigned)c < HOST_CLASSES ? class_text[c] : "unknown";
}
