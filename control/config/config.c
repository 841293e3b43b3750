/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables of keys outside of `bgp`, and the C view of a document. The section `bgp` is in config_bgp.c and config_peer.c.
 */
#include "control/config/config.h"
#include "control/config/config_impl.h"
#include "control/config/policy_text.h"
#include "control/config/policy_compile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- router, management ---- */

static void
take_router_id(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];
	struct ip_addr addr;

	(void)key;
	if (!config_value_addr(c, at, value, &addr))
		return;
	/* RFC 6286 2.1: any four octets but zero */
	if (addr.afi != AFI_IPV4 || addr_v4(&addr) == 0)
		config_fault(c, at, "%s is not an IPv4 address other than 0.0.0.0",
			config_quote(value, buf));
	else
		*(uint32_t *)out = addr_v4(&addr);
}

/* Identity of this router in BGP. */
static const struct config_key router_keys[] = {
	/* The AS number of this router. 23456 (AS_TRANS) is reserved. */
	{"asn", config_take_asn, offsetof(struct config, asn), 0, 0, true, EFFECT(RESTART)},
	/*
	 * The BGP identifier that the router sends in OPEN (RFC 6286), written as an IPv4
	 * address other than 0.0.0.0. The identifier also breaks ties in the decision.
	 */
	{"router_id", take_router_id, offsetof(struct config, router_id), 0, 0, true,
		EFFECT(RESTART)},
};

static void
take_router(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, router_keys, out);
}

/* Room for the read-only socket's `.ro`. */
#define SOCKET_PATH_MAX ((uint32_t)sizeof(((struct sockaddr_un *)0)->sun_path) - 4)

/* "127.0.0.1:9179", "[::1]:9179". False: neither. */
static bool
endpoint_parse(const char *text, struct ip_addr *addr, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[' && colon && colon > text + 1 && colon[-1] == ']';
	char host[ADDR_TEXT_MAX], *end;

	if (!colon || colon[1] < '0' || colon[1] > '9' || (size_t)(colon - text) >= sizeof(host))
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text) - 2 * bracketed, text + bracketed);
	unsigned long n = strtoul(colon + 1, &end, 10);
	if (*end || n == 0 || n > 65535 || addr_parse(host, addr))
		return false;
	*port = (uint16_t)n;
	return bracketed == (addr->afi == AFI_IPV6);
}

static void
take_http(CONFIG_TAKE_ARGS)
{
	struct config *config = out;
	char buf[CONFIG_QUOTE_MAX];
	struct ip_addr addr;
	uint16_t port;

	(void)key;
	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
	} else if (!endpoint_parse(json_string_value(value), &addr, &port)) {
		config_fault(c, at,
			"%s is not an address with a port, as 127.0.0.1:9179 or [::1]:9179",
			config_quote(value, buf));
	} else {
		config->http_addr = addr;
		config->http_port = port;
	}
}

static void
take_output_dir(CONFIG_TAKE_ARGS)
{
	const char *folder = json_string_value(value);

	if (folder != NULL && (folder[0] != '/' || folder[strlen(folder) - 1] == '/' ||
				      strchr(folder, '%') != NULL))
		config_fault(
			c, at, "is not an absolute path without %% and without a / at its end");
	else
		config_take_text(c, at, value, key, out);
}

/* Where RPC clients and metrics collectors connect. */
static const struct config_key management_keys[] = {
	/*
	 * Path of the Unix socket for JSON-RPC (mode 0660). A second socket, with `.ro`
	 * appended to the path (mode 0666), accepts only methods that change nothing. The
	 * option `--socket` has precedence over this key. Default: /run/keel/keel.sock.
	 */
	{"socket", config_take_text, offsetof(struct config, socket), 1, SOCKET_PATH_MAX,
		EFFECT(RESTART)},
	/*
	 * Address and port of the HTTP server, which answers `POST /rpc` and `GET /metrics`:
	 * `127.0.0.1:9179` or `[::1]:9179`. Default: no HTTP server.
	 */
	{"http", take_http, EFFECT(RESTART)},
	/*
	 * File that holds the bearer token for HTTP, or a line `NAME: TOKEN` for each user.
	 * Requests with a token may call methods that change something. Requests without the token may read, from a loopback address
	 * only. Default: no token, and HTTP answers only reading requests from the loopback.
	 */
	{"http_token_file", config_take_text, offsetof(struct config, http_token_file), 1, 4095,
		EFFECT(RESTART)},
	/*
	 * Absolute path of the directory for files that users ask for: `mrt`, `mrt.dump`, captures of traces.
	 * keeld writes none of these elsewhere. keeld makes the directory at the start. Default: `output` in the
	 * state directory.
	 */
	{"output_dir", take_output_dir, offsetof(struct config, output_dir), 2, 1024,
		EFFECT(RESTART)},
	/* Name of the router in the prompts of keelctl(1). Default: the name of the host. */
	{"hostname", config_take_text, offsetof(struct config, hostname), 1, 64, EFFECT(RESTART)},
};

static void
take_management(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, management_keys, out);
}

/* ---- dataplane ---- */

struct cpu_list {
	unsigned *cpu, count;
};

static void
take_cpu(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct cpu_list *list = out;
	uint32_t cpu;

	if (!config_value_u32(c, at, value, 0, 1023, &cpu))
		return;
	for (unsigned i = 0; i < list->count; i++)
		if (list->cpu[i] == cpu) {
			config_fault(c, at, "%u is listed twice", cpu);
			return;
		}
	list->cpu[list->count++] = cpu;
}

static void
take_cpus(struct check *c, const struct at *at, const json_t *value, struct cpu_list *list)
{
	free(list->cpu);
	list->count = 0;
	list->cpu = calloc(json_array_size(value) + 1, sizeof(*list->cpu));
	if (!list->cpu)
		config_fault(c, at, "out of memory");
	else if (config_take_each(c, at, value, take_cpu, list) && json_array_size(value) == 0)
		config_fault(c, at, "is empty; list at least one CPU");
}

static void
take_worker_cpus(CONFIG_TAKE_ARGS)
{
	struct config *config = out;
	struct cpu_list list = {config->dataplane.worker_cpus, 0};

	(void)key;
	take_cpus(c, at, value, &list);
	config->dataplane.worker_cpus = list.cpu;
	config->dataplane.worker_count = list.count;
}

static void
take_control_cpus(CONFIG_TAKE_ARGS)
{
	struct config *config = out;
	struct cpu_list list = {config->dataplane.control_cpus, 0};

	(void)key;
	take_cpus(c, at, value, &list);
	config->dataplane.control_cpus = list.cpu;
	config->dataplane.control_count = list.count;
}

static void
take_eal_arg(struct check *c, const struct at *at, const json_t *value, void *out)
{
	static const struct config_key text = {"", NULL, 0, 1, 4096, false};
	struct config *config = out;

	config_take_text(
		c, at, value, &text, &config->dataplane.eal_args[config->dataplane.eal_arg_count]);
	if (config->dataplane.eal_args[config->dataplane.eal_arg_count])
		config->dataplane.eal_arg_count++;
}

static void
take_eal_args(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->dataplane.eal_args = calloc(json_array_size(value) + 1, sizeof(char *));
	if (!config->dataplane.eal_args)
		config_fault(c, at, "out of memory");
	else
		config_take_each(c, at, value, take_eal_arg, config);
}

/*
 * Limits of the packets that each port hands to the kernel, because they are for this router. A
 * tenth of a second's packets may come at once. Dropped packets are counted by class in
 * `dataplane.stats`. Unit: packets/s.
 */
static const struct config_key policing_keys[] = {
	/*
	 * TCP from the address of a configured BGP peer, and ARP and neighbour discovery of such an
	 * address. Unit: packets/s.
	 */
	{"bgp_peers", config_take_u32,
		offsetof(struct config, dataplane.policing.pps[HOST_BGP_PEERS]), 1, 10000000,
		.def = 200000, EFFECT(RESTART)},
	/* Other ARP and neighbour discovery. Unit: packets/s. */
	{"neighbors", config_take_u32,
		offsetof(struct config, dataplane.policing.pps[HOST_NEIGHBORS]), 1, 10000000,
		.def = 1000, EFFECT(RESTART)},
	/* TCP at port 179 from all other addresses. Unit: packets/s. */
	{"bgp_others", config_take_u32,
		offsetof(struct config, dataplane.policing.pps[HOST_BGP_OTHERS]), 1, 10000000,
		.def = 100, EFFECT(RESTART)},
	/* ICMP and ICMPv6 except neighbour discovery. Unit: packets/s. */
	{"icmp", config_take_u32, offsetof(struct config, dataplane.policing.pps[HOST_ICMP]), 1,
		10000000, .def = 1000, EFFECT(RESTART)},
	/* All other packets for this router, such as SSH, BFD, OSPF, frames with a VLAN tag. Unit: packets/s. */
	{"others", config_take_u32, offsetof(struct config, dataplane.policing.pps[HOST_OTHERS]), 1,
		10000000, .def = 10000, EFFECT(RESTART)},
};

static void
take_policing(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, policing_keys, out);
}

static void
take_idle(CONFIG_TAKE_ARGS)
{
	static const char *const words[] = {"spin", "adaptive", NULL};
	struct config *config = out;

	(void)key;
	config->dataplane.idle_adaptive = config_value_word(c, at, value, words) == 1;
}

/* Processors, memory and EAL arguments of the forwarding process. */
static const struct config_key dataplane_keys[] = {
	/*
	 * CPUs of the workers, one worker for each CPU. A worker polls without pause
	 * and uses the CPU fully, so isolate the CPUs from other processes. Default: [1].
	 */
	{"worker_cpus", take_worker_cpus, EFFECT(RESTART)},
	/*
	 * CPUs of all other threads of keeld. A CPU can't be in both `worker_cpus` and
	 * `control_cpus`. Default: each CPU that keeld may use and no worker has.
	 */
	{"control_cpus", take_control_cpus, EFFECT(RESTART)},
	/* Number of RIB threads (shards). Each shard holds a part of the destinations. */
	{"rib_threads", config_take_u32, offsetof(struct config, dataplane.rib_threads), 1, 16,
		.def = 1, EFFECT(RESTART)},
	/*
	 * Memory that EAL and the forwarding tables may use together. EAL gets a quarter (at
	 * least 64, at most 512); the rest holds two copies of the tables. keeld refuses a
	 * value that is too small for the empty tables and names the smallest value. Unit: MiB.
	 */
	{"memory_mb", config_take_u32, offsetof(struct config, dataplane.memory_mb), 64, 1048576,
		.def = 1024, EFFECT(RESTART)},
	/*
	 * Key of the hash for the choice among equal paths. Routers with equal keys give a flow the same
	 * next hop of a group. Default: a random key; keelfwd draws the key at the first start and keeps
	 * the key in the folder `--state-dir`, a keelfwd of keeld's own until an orderly end.
	 */
	{"ecmp_key", config_take_u32, offsetof(struct config, dataplane.ecmp_key), 1, UINT32_MAX,
		EFFECT(RESTART)},
	/*
	 * The TTL of packets with MPLS labels (RFC 3443). False, the uniform model: labels carry the
	 * TTL or hop limit of the packet, and each router on the way counts. True, the pipe model:
	 * labels have a TTL of their own, and the way of the labels counts as one router.
	 */
	{"mpls_pipe", config_take_bool, offsetof(struct config, dataplane.mpls_pipe),
		EFFECT(RESTART)},
	/*
	 * What a worker does without packets. `spin`: polls, with the whole CPU. `adaptive`: after 1 ms
	 * without a packet sleeps 50 us, then longer, up to 32 times as long as a poll of all ports takes
	 * (4 ms at most), and uses at most 5 % of the CPU. The first packet after a pause waits for the end
	 * of the sleep, and a burst of more packets than a receive queue of the device holds loses packets.
	 * Default: spin.
	 */
	{"idle", take_idle, EFFECT(RESTART)},
	/*
	 * True: forwards packets with a source route (the options LSRR and SSRR of IPv4, a routing header
	 * of type 0 of IPv6) like other packets, by their destination address. False: drops them with the
	 * reason `source-route` (RFC 7126 4.3, 4.4, RFC 5095 4.2).
	 */
	{"forward_source_routes", config_take_bool,
		offsetof(struct config, dataplane.forward_source_routes), EFFECT(RESTART)},
	/*
	 * Limits of packets for this router, by class, for each port. Except with AF_XDP, each
	 * worker of a port has the limit for itself.
	 */
	{"policing", take_policing},
	/*
	 * Further arguments for DPDK's environment abstraction layer, one array element for
	 * each argument. Default: none.
	 */
	{"eal_args", take_eal_args, EFFECT(RESTART)},
};

static void
take_dataplane(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->dataplane.present = true;
	CONFIG_TAKE(c, at, value, dataplane_keys, config);
}

/* ---- ports ---- */

/* The rules of the kernel for names of interfaces (dev_valid_name). Names of TUN devices begin with keel. */
static void
take_port_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
		return;
	}
	const char *name = json_string_value(value);
	if (strlen(name) < 1 || strlen(name) > 15)
		config_fault(c, at, "%s is %zu characters long, not 1 to 15",
			config_quote(value, buf), strlen(name));
	else if (!strcmp(name, "lo") || !strcmp(name, "keel0") || !strncmp(name, "keel-", 5))
		config_fault(c, at, "%s is reserved; give the port another name",
			config_quote(value, buf));
	else if (!strcmp(name, ".") || !strcmp(name, "..") || strpbrk(name, "/:%") ||
		 strpbrk(name, " \t\n\v\f\r"))
		config_fault(c, at, "%s can't be the name of a network interface",
			config_quote(value, buf));
	else
		*(const char **)out = name;
}

static size_t
hex_run(const char *s)
{
	return strspn(s, "0123456789abcdefABCDEF");
}

/* [DDDD:]BB:DD.F, arguments after a comma. */
static bool
device_is_pci(const char *device)
{
	size_t n = hex_run(device);

	if (n == 4 && device[n] == ':') {
		device += 5;
		n = hex_run(device);
	}
	return n == 2 && device[2] == ':' && hex_run(device + 3) == 2 && device[5] == '.' &&
	       device[6] >= '0' && device[6] <= '7' && (device[7] == '\0' || device[7] == ',');
}

static void
take_device(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
		return;
	}
	const char *device = json_string_value(value);
	if (!device_is_pci(device) && (strncmp(device, "net_", 4) || strlen(device) < 5))
		config_fault(c, at, "%s is neither a PCI address nor a virtual device (net_…)",
			config_quote(value, buf));
	else if (!strncmp(device, "net_af_xdp", 10) && !strstr(device, ",iface="))
		config_fault(c, at, "%s has no argument `iface`; write net_af_xdp0,iface=NAME",
			config_quote(value, buf));
	else
		*(const char **)out = device;
}

/* A number, or an array of the outer and the inner number. */
static void
take_vlan(CONFIG_TAKE_ARGS)
{
	uint16_t *vlan = out;
	size_t tags = json_is_array(value) ? json_array_size(value) : 1;
	uint32_t id = 0;

	(void)key;
	if (tags < 1 || tags > 2) {
		config_fault(c, at, "has %zu tags, not 1 or 2", tags);
		return;
	}
	for (size_t i = 0; i < tags; i++) {
		struct at index = AT_INDEX(at, i);

		if (json_is_array(value) ? config_value_u32(c, &index, json_array_get(value, i), 1,
						   4094, &id)
					 : config_value_u32(c, at, value, 1, 4094, &id))
			vlan[i] = (uint16_t)id;
	}
}

/* RFC 4291 2.5.3 */
static bool
is_loopback(const struct ip_addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	return a->afi == AFI_IPV6 && memcmp(a->b, one, sizeof(one)) == 0;
}

static void
take_port_address(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config_port *port = out;
	struct config_address *a = &port->addresses[port->address_count];
	char buf[CONFIG_QUOTE_MAX];

	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "an address with its length, as 192.0.2.1/24");
	} else if (config_parse_addr_len(json_string_value(value), &a->addr, &a->len)) {
		config_fault(c, at, "%s is not an address with its length, as 192.0.2.1/24",
			config_quote(value, buf));
	} else if (a->len == 0 || !config_addr_is_host(&a->addr) || is_loopback(&a->addr)) {
		config_fault(
			c, at, "%s can't be the address of an interface", config_quote(value, buf));
	} else {
		for (unsigned i = 0; i < port->address_count; i++)
			if (addr_equal(&port->addresses[i].addr, &a->addr))
				config_fault(c, at, "%s is listed twice", config_quote(value, buf));
		port->address_count++;
	}
}

static void
take_port_addresses(CONFIG_TAKE_ARGS)
{
	struct config_port *port = out;

	(void)key;
	port->addresses = calloc(json_array_size(value) + 1, sizeof(*port->addresses));
	if (!port->addresses)
		config_fault(c, at, "out of memory");
	else
		config_take_each(c, at, value, take_port_address, port);
}

static void
take_queue_worker(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config_port *port = out;
	uint32_t worker;

	if (config_value_u32(c, at, value, 0, 127, &worker))
		port->queue_workers[port->queue_worker_count++] = worker;
}

static void
take_queue_workers(CONFIG_TAKE_ARGS)
{
	struct config_port *port = out;

	(void)key;
	port->queue_workers = calloc(json_array_size(value) + 1, sizeof(*port->queue_workers));
	if (!port->queue_workers)
		config_fault(c, at, "out of memory");
	else if (json_array_size(value) > CONFIG_QUEUES_MAX)
		config_fault(c, at, "has more than %u workers", CONFIG_QUEUES_MAX);
	else
		config_take_each(c, at, value, take_queue_worker, port);
}

/* An interface that the workers forward on. */
static const struct config_key port_keys[] = {
	/*
	 * Name of the port and of its kernel interface: 1 to 15 characters, without `/`, `:`,
	 * `%` and white space. The names `lo`, `keel0` and all names that begin with `keel-`
	 * are reserved. For `net_af_xdp` the name may equal the interface of the device.
	 */
	{"name", take_port_name, offsetof(struct config_port, name), 0, 0, true, EFFECT(COMMIT)},
	/*
	 * DPDK device arguments: a PCI address (`0000:01:00.0`) or a virtual device
	 * (`net_af_xdp0,iface=eth1`, `net_tap0`, `net_pcap0`, `net_memif0`, `net_null0`),
	 * optionally with arguments after commas. A `net_af_xdp` device needs the argument
	 * `iface`. Two ports can't have the same device. A port on a VLAN has no device, but a `parent`. Default: none.
	 */
	{"device", take_device, offsetof(struct config_port, device), EFFECT(COMMIT)},
	/*
	 * Name of the port with the device. Frames with the tags `vlan` belong to the port on the VLAN, and the kernel has a TAP of
	 * the same name. Default: none; the port has a `device`.
	 */
	{"parent", take_port_name, offsetof(struct config_port, parent), EFFECT(COMMIT)},
	/*
	 * With `parent`: the VLAN, as `100` (IEEE 802.1Q), or as `[outer, inner]` (IEEE 802.1ad). Frames are sent with
	 * the EtherType 0x8100, of two tags the outer one with 0x88a8; both are accepted. Default: none.
	 */
	{"vlan", take_vlan, offsetof(struct config_port, vlan), EFFECT(COMMIT)},
	/*
	 * VPN instance of the port. keeld moves the kernel interface into the network namespace
	 * keel-NAME of the instance, and back at the stop. A commit refuses changes of ports with
	 * this key: change FILE and restart keeld. Default: default.
	 */
	{"vrf", config_take_vrf, offsetof(struct config_port, vrf), EFFECT(RESTART)},
	/*
	 * Largest IP packet that the port sends. keeld sets the MTU of the device and of the
	 * kernel interface to this value. Unit: octets. On a VLAN at most the MTU of `parent`. Default: the MTU of the kernel
	 * interface, unchanged; on a VLAN the MTU of `parent`.
	 */
	{"mtu", config_take_u16, offsetof(struct config_port, mtu), 68 /* RFC 791 3.2 */, 9216,
		EFFECT(COMMIT)},
	/*
	 * Pairs of a receive and a transmit queue of the device. The device divides packets among
	 * the receive queues by addresses and TCP or UDP ports (RSS). With fewer pairs than workers,
	 * workers share the transmit queues. A `net_af_xdp` port takes all queues of the interface
	 * (`ethtool -L`). Default: one for each worker, as far as the device has them.
	 */
	{"queues", config_take_u16, offsetof(struct config_port, queues), 1, 64, EFFECT(COMMIT)},
	/*
	 * Workers of the receive queues: the numbers of entries of `worker_cpus`, from 0. The list
	 * starts again when there are more queues. Default: queue Q of port P belongs to worker P + Q, modulo the
	 * number of workers.
	 */
	{"queue_workers", take_queue_workers, EFFECT(COMMIT)},
	/*
	 * Addresses of the port, each with its prefix length, as `192.0.2.1/24`. Addresses set by `ip address` on the kernel interface count
	 * as well. Default: none.
	 */
	{"addresses", take_port_addresses, EFFECT(COMMIT)},
	/*
	 * True: labelled packets (MPLS) from this port are forwarded by their labels. False: they are
	 * dropped, so that a customer cannot send into another VPN instance. Labelled packets leave by
	 * any port.
	 */
	{"mpls", config_take_bool, offsetof(struct config_port, mpls), EFFECT(COMMIT)},
};

/* Either a device, or a VLAN of a parent. */
static bool
check_device(
	struct check *c, const struct at *at, const json_t *value, const struct config_port *port)
{
	static const char *const of_devices[] = {"device", "queues", "queue_workers"};
	struct at device_at = AT_KEY(at, "device"), vlan_at = AT_KEY(at, "vlan"),
		  parent_at = AT_KEY(at, "parent");
	bool parent = json_object_get(value, "parent") != NULL;
	bool vlan = json_object_get(value, "vlan") != NULL;

	if (!parent && vlan)
		return config_fault(c, &vlan_at, "only valid with `parent`"), false;
	if (!parent && json_object_get(value, "device") == NULL)
		return config_fault(c, &device_at,
			       "is missing; a port has a `device`, or `parent` and `vlan`"),
		       false;
	if (parent && !vlan)
		return config_fault(c, &vlan_at, "is missing; a port with `parent` is on a VLAN"),
		       false;
	if (port->parent != NULL && strchr(port->parent, ',') != NULL)
		return config_fault(c, &parent_at, "a port with a comma in its name has no VLANs"),
		       false;
	for (unsigned i = 0; parent && i < 3; i++) {
		struct at key_at = AT_KEY(at, of_devices[i]);

		if (json_object_get(value, of_devices[i]) != NULL)
			return config_fault(c, &key_at,
				       "only valid without `parent`, which has the device"),
			       false;
	}
	return true;
}

static void
take_port(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_port *port = &config->ports[config->port_count++];

	if (!CONFIG_TAKE(c, at, value, port_keys, port) || !check_device(c, at, value, port) ||
		port->parent == NULL || port->vlan[0] == 0)
		return;
	(void)snprintf(port->vlan_device, sizeof(port->vlan_device),
		port->vlan[1] != 0 ? "vlan,parent=%s,id=%u.%u" : "vlan,parent=%s,id=%u",
		port->parent, port->vlan[0], port->vlan[1]);
	port->device = port->vlan_device;
}

/* A VLAN of a port belongs to one port. */
static void
check_vlans(struct check *c, const struct at *at, const struct config *config)
{
	json_t *seen = json_object();

	for (unsigned i = 0; i < config->port_count; i++) {
		const struct config_port *p = &config->ports[i];
		json_t *id;

		if (p->parent == NULL || p->vlan[0] == 0 || p->device == NULL)
			continue;
		id = json_string(strrchr(p->device, '=') + 1);
		config_note_unique(c, at, i, "vlan", id, p->device, seen);
		json_decref(id);
	}
	json_decref(seen);
}

static void
take_ports(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->ports = calloc(json_array_size(value) + 1, sizeof(*config->ports));
	if (!config->ports) {
		config_fault(c, at, "out of memory");
	} else if (config_take_each(c, at, value, take_port, config)) {
		config_check_unique(c, at, value, "name");
		config_check_unique(c, at, value, "device");
		check_vlans(c, at, config);
	}
}

/* ---- static routes, loopbacks, preference ---- */

static void
take_static_prefix(CONFIG_TAKE_ARGS)
{
	struct prefix p;

	(void)key;
	if (config_value_prefix(c, at, value, &p))
		*(struct prefix *)out = p;
}

static void
take_static_next_hop(CONFIG_TAKE_ARGS)
{
	(void)key;
	config_value_host(c, at, value, out);
}

struct static_draft {
	struct config_static route;
	bool blackhole;
};

/* A static route: `prefix` and either `next_hop` or `blackhole`. */
static const struct config_key static_keys[] = {
	/* Destination of the route. */
	{"prefix", take_static_prefix, offsetof(struct static_draft, route.prefix), 0, 0, true,
		EFFECT(COMMIT)},
	/*
	 * Next hop of the route: an address on a connected subnet, an address resolved by a route, or a link-local address with a port, as
	 * `fe80::2%east`. An IPv4
	 * prefix may have an IPv6 next hop. A prefix may have several entries with different
	 * next hops. Default: none; `blackhole` must be true.
	 */
	{"next_hop", take_static_next_hop, offsetof(struct static_draft, route.next_hop),
		EFFECT(COMMIT)},
	/*
	 * Drops packets to the prefix and counts the packets under the reason `blackhole`. A BGP next hop inside a blackhole is valid; packets
	 * to routes with the next hop are dropped as well.
	 */
	{"blackhole", config_take_bool, offsetof(struct static_draft, blackhole), EFFECT(COMMIT)},
	/* VPN instance of the route. Default: default. */
	{"vrf", config_take_vrf, offsetof(struct static_draft, route.vrf), EFFECT(COMMIT)},
	/* A number that policies can match (`match.tag`) when the route is redistributed. */
	{"tag", config_take_u32, offsetof(struct static_draft, route.tag), 0, UINT32_MAX,
		EFFECT(COMMIT)},
};

/* Either a next hop or a blackhole. An IPv4 prefix may have an IPv6 next hop (RFC 8950), but an IPv6 prefix no IPv4 next hop. */
static void
check_static(
	struct check *c, const struct at *at, const json_t *value, const struct static_draft *d)
{
	struct at next_hop_at = AT_KEY(at, "next_hop"), blackhole_at = AT_KEY(at, "blackhole");
	bool has_next_hop = json_object_get(value, "next_hop");

	if (has_next_hop && d->blackhole)
		config_fault(c, &blackhole_at, "only valid without `next_hop`");
	else if (!has_next_hop && !d->blackhole)
		config_fault(c, &next_hop_at,
			"is missing; a static route needs `next_hop` or `blackhole`");
	else if (d->route.prefix.afi == AFI_IPV6 && d->route.next_hop.afi == AFI_IPV4)
		config_fault(c, &next_hop_at, "an IPv6 prefix needs an IPv6 next hop");
}

static void
take_static(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct static_draft d = {0};
	unsigned faults = c->f->count;

	if (CONFIG_TAKE(c, at, value, static_keys, &d) && c->f->count == faults)
		check_static(c, at, value, &d);
	config->statics[config->static_count++] = d.route;
}

/* A prefix of an instance has several next hops or one blackhole. */
static void
check_statics(
	struct check *c, const struct at *at, const json_t *value, const struct config *config)
{
	json_t *seen = json_object(), *ways = json_object();
	char prefix[PREFIX_TEXT_MAX], hop[ADDR_TEXT_MAX], key[PREFIX_TEXT_MAX + 8],
		text[sizeof(key) + ADDR_TEXT_MAX + 1];

	for (unsigned i = 0; i < config->static_count; i++) {
		const struct config_static *s = &config->statics[i];
		const json_t *prefix_value = json_object_get(json_array_get(value, i), "prefix");
		if (s->prefix.afi == AFI_NONE)
			continue;
		prefix_format(&s->prefix, prefix);
		snprintf(key, sizeof(key), "%u %s", s->vrf.v, prefix);
		snprintf(text, sizeof(text), "%s %s", key, addr_format(&s->next_hop, hop));
		const json_t *other = json_object_get(ways, key);
		if (other && json_boolean_value(other) != (s->next_hop.afi == AFI_NONE)) {
			struct at element_at = AT_INDEX(at, i),
				  here = AT_KEY(&element_at, "prefix");
			config_fault(c, &here,
				"%s has a next hop in another entry; a blackhole stands alone",
				prefix);
			continue;
		}
		json_object_set_new(ways, key, json_boolean(s->next_hop.afi == AFI_NONE));
		config_note_unique(c, at, i, "prefix", prefix_value, text, seen);
	}
	json_decref(seen);
	json_decref(ways);
}

static void
take_statics(CONFIG_TAKE_ARGS)
{
	struct config *config = out;
	unsigned faults = c->f->count;

	(void)key;
	config->statics = calloc(json_array_size(value) + 1, sizeof(*config->statics));
	if (!config->statics)
		config_fault(c, at, "out of memory");
	else if (config_take_each(c, at, value, take_static, config) && c->f->count == faults)
		check_statics(c, at, value, config);
}

static void
take_loopback(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_address *a = &config->loopbacks[config->loopback_count];
	char buf[CONFIG_QUOTE_MAX];

	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "an address with its length, as 192.0.2.1/32");
	} else if (config_parse_addr_len(json_string_value(value), &a->addr, &a->len)) {
		config_fault(c, at, "%s is not an address with its length, as 192.0.2.1/32",
			config_quote(value, buf));
	} else if (a->len == 0 || !config_addr_is_host(&a->addr) || is_loopback(&a->addr) ||
		   addr_is_link_local(&a->addr)) {
		config_fault(
			c, at, "%s can't be the address of an interface", config_quote(value, buf));
	} else {
		for (unsigned i = 0; i < config->loopback_count; i++)
			if (addr_equal(&config->loopbacks[i].addr, &a->addr))
				config_fault(c, at, "%s is listed twice", config_quote(value, buf));
		config->loopback_count++;
	}
}

static void
take_loopbacks(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->loopbacks = calloc(json_array_size(value) + 1, sizeof(*config->loopbacks));
	if (!config->loopbacks)
		config_fault(c, at, "out of memory");
	else
		config_take_each(c, at, value, take_loopback, config);
}

/*
 * When several sources have a route to the same prefix, the source with the lower value is used
 * for forwarding and for `redistribute`. The section stands in the root of the document or in
 * `bgp`, not in both.
 */
static const struct config_key preference_keys[] = {
	/* Preference of connected subnets. */
	{"connected", config_take_u8, SOURCE_CONNECTED, 0, 255, .def = 0, EFFECT(COMMIT)},
	/* Preference of `static_routes`. */
	{"static", config_take_u8, SOURCE_STATIC, 0, 255, .def = 1, EFFECT(COMMIT)},
	/* Preference of BGP routes from external peers. */
	{"external", config_take_u8, SOURCE_EXTERNAL, 0, 255, .def = 20, EFFECT(COMMIT)},
	/*
	 * Preference of routes in the kernel's main table, for example of an IGP daemon on this
	 * host.
	 */
	{"kernel", config_take_u8, SOURCE_KERNEL, 0, 255, .def = 110, EFFECT(COMMIT)},
	/* Preference of BGP routes from internal peers. */
	{"internal", config_take_u8, SOURCE_INTERNAL, 0, 255, .def = 200, EFFECT(COMMIT)},
};

void
config_take_preference(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	if (at->up->up && json_object_get(c->document, "preference"))
		config_fault(
			c, at, "only valid without /preference, which the document has as well");
	else
		CONFIG_TAKE(c, at, value, preference_keys, config->preference);
}

/* policy_text_compile() reads the files, and adds the faults. */
static void
take_policy_file(struct check *c, const struct at *at, const json_t *value, void *out)
{
	(void)c;
	(void)at;
	(void)value;
	(void)out;
}

static void
take_policy_files(CONFIG_TAKE_ARGS)
{
	(void)key;
	if (json_is_array(value))
		config_take_each(c, at, value, take_policy_file, out);
}

/* ---- the document ---- */

/*
 * The document. `router` and `vrfs` are read before all other sections, because peers are compared
 * with the AS number, and other sections name instances.
 */
static const struct config_key root_keys[] = {
	/* Identity of this router in BGP. */
	{"router", config_take_elsewhere},
	/*
	 * Processors, memory and EAL arguments of the forwarding process. Ignored with
	 * `--no-dataplane`, apart from `rib_threads` and `control_cpus`.
	 */
	{"dataplane", take_dataplane},
	/* Where RPC clients and metrics collectors connect. */
	{"management", take_management},
	/* VPN instances. The instance `default` always exists and need not be listed. */
	{"vrfs", config_take_elsewhere},
	/*
	 * The interfaces that the workers forward on. With `--no-dataplane` ports are checked
	 * and not opened.
	 */
	{"ports", take_ports},
	/* Named lists of prefixes, which policies match. See keel-policy(7). */
	{"prefix_lists", config_take_elsewhere},
	/*
	 * Named lists of regular expressions for AS paths, which policies match. See
	 * keel-policy(7).
	 */
	{"as_path_lists", config_take_elsewhere},
	/* Named lists of communities (RFC 1997), which policies match. See keel-policy(7). */
	{"community_lists", config_take_elsewhere},
	/*
	 * Files with policies as text (docs/policy.md). A path is relative to the folder of the
	 * configuration file. The files are read at start, at a reload, and by a commit of a
	 * candidate without edits or with `policy_files`; a rollback writes files that nobody has
	 * edited since. Default: none.
	 */
	{"policy_files", take_policy_files, EFFECT(POLICY)},
	/* Named sets of AS numbers, which policies match. See keel-policy(7). */
	{"as_sets", config_take_elsewhere},
	/* Named route policies. See keel-policy(7). */
	{"route_policies", config_take_elsewhere},
	/* BGP: what is originated, and the peers. */
	{"bgp", config_take_bgp},
	/*
	 * Named lists of large communities (RFC 8092), which policies match. See
	 * keel-policy(7).
	 */
	{"large_community_lists", config_take_elsewhere},
	/*
	 * Named lists of extended communities (RFC 4360), which policies match. See
	 * keel-policy(7).
	 */
	{"ext_community_lists", config_take_elsewhere},
	/*
	 * Static routes of this router. Entries with the same prefix and different next hops
	 * share the load.
	 */
	{"static_routes", take_statics},
	/*
	 * Addresses of this router without a port, with prefix lengths, as `192.0.2.1/32`. The kernel interface `keel0` holds these addresses.
	 * Link-local addresses are not allowed. Default: none.
	 */
	{"loopback_addresses", take_loopbacks, EFFECT(COMMIT)},
	/* Order of the sources of routes to a prefix. */
	{"preference", config_take_preference},
	/* Static label-switched paths (MPLS). */
	{"static_lsps", config_take_lsps},
	/* Tunnels of MPLS over UDP (RFC 7510) to remote edge routers. */
	{"udp_tunnels", config_take_tunnels},
	/* Origin validation (RFC 6811). */
	{"rpki", config_take_rpki},
	/* Collectors of BMP (RFC 7854), at most 8. Default: none. */
	{"bmp", config_take_bmp},
	/* Files in the format MRT (RFC 6396), at most 8. Default: none. */
	{"mrt", config_take_mrt},
	/* Aggregate routes. */
	{"aggregates", config_take_unsupported},
	/* Ranges of dynamic peers. This version supports `bgp.listen_ranges`. */
	{"listen_ranges", config_take_unsupported},
};

static void
take_root(struct check *c, const json_t *document)
{
	struct at root = AT_ROOT, router_at = AT_KEY(&root, "router"),
		  vrfs_at = AT_KEY(&root, "vrfs");
	const json_t *router = json_object_get(document, "router"),
		     *vrfs = json_object_get(document, "vrfs");
	json_t *nothing = json_object();

	/* An absent section is checked as an empty section, for faults that name the missing keys. */
	if (json_is_object(document))
		take_router(c, &router_at, router ? router : nothing, NULL, c->config);
	if (vrfs)
		config_take_vrfs(c, &vrfs_at, vrfs, NULL, c->config);
	CONFIG_TAKE(c, &root, document, root_keys, c->config);
	json_decref(nothing);
}

/* 0, -ENOMEM. */
static int
config_defaults(struct config *config)
{
	CONFIG_DEFAULTS(dataplane_keys, config);
	CONFIG_DEFAULTS(policing_keys, config);
	CONFIG_DEFAULTS(preference_keys, config->preference);
	config_bgp_defaults(config);
	config->dataplane.worker_cpus = calloc(1, sizeof(unsigned));
	if (!config->dataplane.worker_cpus)
		return -ENOMEM;
	config->dataplane.worker_cpus[0] = 1;
	config->dataplane.worker_count = 1;
	return 0;
}

/* The import policies of a peer, with the additions of its keys. */
static void
guard_peer(struct config *config, struct config_peer *p, struct faults *f)
{
	for (enum family id = 0; id < FAMILY_COUNT && p->external; id++) {
		struct config_family *k = &p->families[id];
		uint8_t host = (uint8_t)prefix_max_len(family_afi(id));
		struct policy_guard g = {.shutdown = p->graceful_shutdown.send ? SHUTDOWN_ALL
						     : p->graceful_shutdown.honour
							     ? SHUTDOWN_BY_COMMUNITY
							     : SHUTDOWN_IGNORED,
			.blackhole_list = k->blackhole.prefix_list,
			.blackhole_min_length =
				k->blackhole.min_length != 0 ? k->blackhole.min_length : host,
			.blackhole_add = k->blackhole.community,
			.afi = (uint8_t)family_afi(id)};

		if (k->import_policy == NULL || strcmp(k->import_policy, "deny-all") == 0 ||
			(g.shutdown == SHUTDOWN_IGNORED && g.blackhole_list == NULL))
			continue;
		k->import_policy =
			policy_set_guard(config->policies, config->document, k->import_policy, &g);
		if (k->import_policy == NULL)
			faults_add(f, "", "out of memory");
	}
}

static void
guard_imports(struct config *config, struct faults *f)
{
	for (unsigned i = 0; i < config->peer_count; i++)
		guard_peer(config, &config->peers[i], f);
	for (unsigned i = 0; i < config->range_count; i++)
		guard_peer(config, &config->ranges[i].peer, f);
}

struct config *
config_parse(const struct config_host *host, json_t *document, struct faults *f)
{
	return config_parse_with(host, document, NULL, NULL, f);
}

struct config *
config_parse_with(const struct config_host *host, json_t *document, const json_t *policy_files,
	const struct config *like, struct faults *f)
{
	struct config *config = calloc(1, sizeof(*config));
	struct check c = {.f = f, .host = host, .document = document, .config = config};
	unsigned before = f->count, lost_before = f->lost;
	struct policy_text *text = NULL;

	if (!config || config_defaults(config)) {
		faults_add(f, "", "out of memory");
		config_free(config);
		return NULL;
	}
	config->document = json_incref(document);
	config->vrf_names = host != NULL ? host->vrf_names : NULL;
	/* before the keys: `mrt` may precede `management` */
	config->output_dir = json_string_value(
		json_object_get(json_object_get(document, "management"), "output_dir"));
	if (config->output_dir == NULL && host != NULL)
		config->output_dir = host->output_dir;
	if (json_is_object(document))
		text = policy_text_compile(
			document, host != NULL ? host->folder : NULL, policy_files, f);
	c.text = text;
	if (text != NULL) {
		config->policy_files = policy_text_files(text);
		if (config->policy_files == NULL)
			faults_add(f, "", "out of memory");
	}
	take_root(&c, document);
	json_decref(c.groups_by_name);
	json_decref(c.policies_by_name);
	json_decref(c.prefix_lists_by_name);
	json_decref(c.vrf_ids);
	if (json_is_object(document))
		config->policies = policy_set_compile_text(
			document, text, like != NULL ? like->policies : NULL, f);
	policy_text_free(text);
	if (f->count == before && f->lost == lost_before)
		guard_imports(config, f);
	if (f->count == before && f->lost == lost_before)
		config_check_whole(host, config, f);
	if (f->count == before && f->lost == lost_before && host != NULL && host->check != NULL)
		host->check(host, config, f);
	if (f->count == before && f->lost == lost_before && config->policies)
		return config;
	if (f->count == before)
		faults_add(f, "", "out of memory");
	config_free(config);
	return NULL;
}

void
config_free(struct config *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->port_count; i++) {
		free(c->ports[i].addresses);
		free(c->ports[i].queue_workers);
	}
	free(c->ports);
	config_vrfs_free(c);
	free(c->peers);
	free(c->peer_index);
	free(c->ranges);
	free(c->networks);
	free(c->statics);
	free(c->lsps);
	free(c->tunnels);
	free(c->redistribute);
	free(c->loopbacks);
	for (unsigned i = 0; i < c->mrt_count; i++)
		free(c->mrt[i].file);
	free(c->dataplane.worker_cpus);
	free(c->dataplane.control_cpus);
	free(c->dataplane.eal_args);
	policy_set_free(c->policies);
	json_decref(c->policy_files);
	json_decref(c->merged);
	json_decref(c->document);
	free(c);
}

const struct config_peer *
config_peer_find(const struct config *c, struct vrf_id vrf, const struct ip_addr *addr)
{
	if (c->peer_index == NULL)
		return NULL;
	for (uint32_t i = (uint32_t)addr_hash(addr, vrf.v);; i++) {
		uint32_t at = c->peer_index[i & c->peer_index_mask];

		if (at == 0)
			return NULL;
		if (c->peers[at - 1].vrf.v == vrf.v && addr_equal(&c->peers[at - 1].addr, addr))
			return &c->peers[at - 1];
	}
}

const struct config_range *
config_range_find(const struct config *c, struct vrf_id vrf, const struct ip_addr *addr)
{
	const struct config_range *best = NULL;

	for (unsigned i = 0; i < c->range_count; i++) {
		const struct config_range *r = &c->ranges[i];
		if (r->vrf.v == vrf.v && prefix_contains(&r->prefix, addr) &&
			(!best || r->prefix.len > best->prefix.len))
			best = r;
	}
	return best;
}

void
config_range_peer(const struct config_range *r, const struct ip_addr *addr, struct config_peer *out)
{
	*out = r->peer;
	out->addr = *addr;
	addr_format(addr, out->addr_text);
}
