/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Contract section 2 as tables of keys, and the C view. A peer is looked at three times: its group by itself, itself as given (both for
 * faults, with pointers to where the fault stands), and merged, muted, for the values.
 */
#include "control/config.h"
#include "control/config_impl.h"
#include "control/policy_compile.h"

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

static const struct config_key router_keys[] = {
	{"asn", config_take_asn, offsetof(struct config, asn), 0, 0, true},
	{"router_id", take_router_id, offsetof(struct config, router_id), 0, 0, true},
};

static void
take_router(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, router_keys, out);
}

/* Room for the read-only socket's `.ro`. */
#define SOCKET_PATH_MAX ((uint32_t)sizeof(((struct sockaddr_un *)0)->sun_path) - 4)

static const struct config_key management_keys[] = {
	{"socket", config_take_text, offsetof(struct config, socket), 1, SOCKET_PATH_MAX},
	{"http", config_take_unsupported},
	{"http_token_file", config_take_unsupported},
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
			config_fault(c, at, "%u is given twice", cpu);
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
		config_fault(c, at, "names no CPU");
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
take_rib_threads(CONFIG_TAKE_ARGS)
{
	uint32_t n;

	(void)key;
	if (!config_value_u32(c, at, value, 1, 64, &n))
		return;
	if (n != 1)
		config_fault(c, at, "%u: more than one is not supported in this version", n);
	*(unsigned *)out = n;
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

static const struct config_key dataplane_keys[] = {
	{"worker_cpus", take_worker_cpus},
	{"control_cpus", take_control_cpus},
	{"rib_threads", take_rib_threads, offsetof(struct config, dataplane.rib_threads)},
	{"memory_mb", config_take_u32, offsetof(struct config, dataplane.memory_mb), 64, 1048576},
	{"eal_args", take_eal_args},
};

static void
take_dataplane(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->dataplane.present = true;
	CONFIG_TAKE(c, at, value, dataplane_keys, config);
}

/* ---- vrfs ---- */

struct vrf_draft {
	const char *name;
};

static const struct config_key vrf_keys[] = {
	{"name", config_take_name, offsetof(struct vrf_draft, name), 0, 0, true},
	{"rd", config_take_unsupported},
	{"import_targets", config_take_unsupported},
	{"export_targets", config_take_unsupported},
	{"label_mode", config_take_unsupported},
};

static void
take_vrf(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct vrf_draft vrf = {0};

	(void)out;
	if (!CONFIG_TAKE(c, at, value, vrf_keys, &vrf) || !vrf.name)
		return;
	struct at name_at = AT_KEY(at, "name");
	if (strlen(vrf.name) > 10)
		config_fault(c, &name_at,
			"\"%s\" has %zu characters, at most 10 are allowed for a VRF", vrf.name,
			strlen(vrf.name));
	else if (strcmp(vrf.name, "default"))
		config_fault(c, at, "VRF \"%s\": not supported in this version", vrf.name);
}

static void
take_vrfs(CONFIG_TAKE_ARGS)
{
	(void)key;
	if (config_take_each(c, at, value, take_vrf, out))
		config_check_unique(c, at, value, "name");
}

static bool
vrf_is_declared(const struct check *c, const char *name)
{
	size_t i;
	json_t *vrf;

	json_array_foreach(json_object_get(c->document, "vrfs"), i, vrf)
	{
		const char *other = json_string_value(json_object_get(vrf, "name"));
		if (other && !strcmp(other, name))
			return true;
	}
	return false;
}

/* The key `vrf` of a port, network or peer. What `vrfs` declares beside `default` has its fault there. */
static void
take_vrf_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (strcmp(json_string_value(value), "default") &&
		 !vrf_is_declared(c, json_string_value(value)))
		config_fault(c, at, "there is no VRF %s", config_quote(value, buf));
	else
		*(struct vrf_id *)out = VRF_DEFAULT;
}

/* ---- ports ---- */

/* The kernel's rules for an interface (dev_valid_name) and ours: the TUN devices are named keel… */
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
		config_fault(c, at, "%s has %zu characters, not from 1 to 15",
			config_quote(value, buf), strlen(name));
	else if (!strcmp(name, "lo") || !strcmp(name, "keel0") || !strncmp(name, "keel-", 5))
		config_fault(c, at, "%s is reserved", config_quote(value, buf));
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
		config_fault(c, at, "%s names no interface (iface=…)", config_quote(value, buf));
	else
		*(const char **)out = device;
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
	} else if (a->addr.afi != AFI_IPV4) {
		config_fault(c, at, "%s: IPv6 is not supported in this version",
			config_quote(value, buf));
	} else if (a->len == 0 || a->addr.b[0] == 0 || a->addr.b[0] >= 224) {
		config_fault(
			c, at, "%s can't be the address of an interface", config_quote(value, buf));
	} else {
		for (unsigned i = 0; i < port->address_count; i++)
			if (addr_equal(&port->addresses[i].addr, &a->addr))
				config_fault(c, at, "%s is given twice", config_quote(value, buf));
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

/* RFC 791: an IPv4 link carries 68 octets at least. */
static const struct config_key port_keys[] = {
	{"name", take_port_name, offsetof(struct config_port, name), 0, 0, true},
	{"device", take_device, offsetof(struct config_port, device), 0, 0, true},
	{"vrf", take_vrf_name, offsetof(struct config_port, vrf)},
	{"mtu", config_take_u16, offsetof(struct config_port, mtu), 68, 9216},
	{"addresses", take_port_addresses},
};

static void
take_port(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_port *port = &config->ports[config->port_count++];

	port->mtu = 1500;
	CONFIG_TAKE(c, at, value, port_keys, port);
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
	}
}

/* ---- a peer's parts ---- */

static const struct config_key timer_keys[] = {
	{"hold_s", config_take_u32, offsetof(struct config_timers, hold_s), 0, 65535},
	{"keepalive_s", config_take_u32, offsetof(struct config_timers, keepalive_s), 1, 21845},
	{"connect_retry_s", config_take_u32, offsetof(struct config_timers, connect_retry_s), 1,
		65535},
	{"idle_hold_s", config_take_u32, offsetof(struct config_timers, idle_hold_s), 1, 3600},
	{"open_sent_hold_s", config_take_u32, offsetof(struct config_timers, open_sent_hold_s), 1,
		65535},
	{"send_hold_s", config_take_u32, offsetof(struct config_timers, send_hold_s), 1, 65535},
	{"min_advertisement_s", config_take_u32,
		offsetof(struct config_timers, min_advertisement_s), 0, 600},
	{"stale_refresh_s", config_take_u32, offsetof(struct config_timers, stale_refresh_s), 1,
		65535},
};

static void
take_timers(CONFIG_TAKE_ARGS)
{
	struct config_timers *t = out;

	(void)key;
	if (!CONFIG_TAKE(c, at, value, timer_keys, t))
		return;
	struct at hold_at = AT_KEY(at, "hold_s");
	/* RFC 4271 4.2: zero or at least three seconds */
	if (t->hold_s == 1 || t->hold_s == 2)
		config_fault(c, &hold_at, "%u is neither 0 nor at least 3", t->hold_s);
}

#define CAPABILITY(name) offsetof(struct config_peer, capabilities.name)

static const struct config_key capability_keys[] = {
	{"route_refresh", config_take_bool, CAPABILITY(route_refresh)},
	{"enhanced_route_refresh", config_take_bool, CAPABILITY(enhanced_route_refresh)},
	{"four_octet_as", config_take_bool, CAPABILITY(four_octet_as)},
	{"extended_message", config_take_bool, CAPABILITY(extended_message)},
	{"graceful_restart", config_take_bool, CAPABILITY(graceful_restart)},
	{"add_path", config_take_unsupported},
	{"extended_next_hop", config_take_unsupported},
};

static void
take_capabilities(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, capability_keys, out);
}

static void
take_policy_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (!policy_is_defined(c->document, json_string_value(value)))
		config_fault(c, at, "there is no route policy %s", config_quote(value, buf));
	else
		*(const char **)out = json_string_value(value);
}

static const struct config_key family_keys[] = {
	{"enabled", config_take_bool, offsetof(struct config_family, enabled)},
	{"import_policy", take_policy_name, offsetof(struct config_family, import_policy)},
	{"export_policy", take_policy_name, offsetof(struct config_family, export_policy)},
	{"next_hop_self", config_take_bool, offsetof(struct config_family, next_hop_self)},
	{"next_hop_unchanged", config_take_bool,
		offsetof(struct config_family, next_hop_unchanged)},
	{"send_communities", config_take_bool, offsetof(struct config_family, send_communities)},
	{"keep_all_routes", config_take_unsupported},
	{"max_prefixes", config_take_unsupported},
	{"remove_private_as", config_take_unsupported},
	{"allow_as_in", config_take_unsupported},
	{"as_override", config_take_unsupported},
	{"site_of_origin", config_take_unsupported},
	{"default_originate", config_take_unsupported},
};

static void
take_ipv4_unicast(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;
	struct config_family *family = &peer->families[FAMILY_IPV4_UNICAST];

	(void)key;
	family->enabled = true;
	CONFIG_TAKE(c, at, value, family_keys, family);
	if (family->next_hop_self && family->next_hop_unchanged)
		config_fault(c, at, "`next_hop_self` and `next_hop_unchanged` exclude each other");
}

/* Not config_take_unsupported: `{}` asks for the family. */
static void
take_other_family(CONFIG_TAKE_ARGS)
{
	(void)value;
	(void)key;
	(void)out;
	config_fault_unsupported(c, at);
}

static const struct config_key families_keys[] = {
	{"ipv4-unicast", take_ipv4_unicast},
	{"ipv6-unicast", take_other_family},
	{"vpnv4-unicast", take_other_family},
	{"vpnv6-unicast", take_other_family},
};

static void
take_families(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;

	(void)key;
	peer->families[FAMILY_IPV4_UNICAST].enabled = false;
	CONFIG_TAKE(c, at, value, families_keys, peer);
}

static bool
usable_unicast_v4(struct check *c, const struct at *at, const json_t *value, struct ip_addr *addr)
{
	char buf[CONFIG_QUOTE_MAX];
	char text[ADDR_TEXT_MAX];
	const char *zone = json_is_string(value) ? strchr(json_string_value(value), '%') : NULL;

	/* fe80::2%east: an address with the port it is reached by. */
	if (zone && (size_t)(zone - json_string_value(value)) < sizeof(text)) {
		memcpy(text, json_string_value(value), (size_t)(zone - json_string_value(value)));
		text[zone - json_string_value(value)] = '\0';
		if (!addr_parse(text, addr) && addr->afi == AFI_IPV6) {
			config_fault(c, at, "%s: IPv6 is not supported in this version",
				config_quote(value, buf));
			return false;
		}
	}
	if (!config_value_addr(c, at, value, addr))
		return false;
	if (addr->afi == AFI_IPV6)
		config_fault(c, at, "%s: IPv6 is not supported in this version",
			config_quote(value, buf));
	else if (addr->b[0] == 0 || addr->b[0] >= 224)
		config_fault(c, at, "%s is not the address of a host", config_quote(value, buf));
	else
		return true;
	return false;
}

static void
take_peer_address(CONFIG_TAKE_ARGS)
{
	struct config_peer *peer = out;
	struct ip_addr addr;

	(void)key;
	if (!usable_unicast_v4(c, at, value, &addr))
		return;
	peer->addr = addr;
	addr_format(&addr, peer->addr_text);
}

static void
take_source(CONFIG_TAKE_ARGS)
{
	struct ip_addr addr;

	(void)key;
	if (usable_unicast_v4(c, at, value, &addr))
		*(struct ip_addr *)out = addr;
}

static const json_t *
find_group(const json_t *document, const char *name)
{
	size_t i;
	json_t *group;

	json_array_foreach(json_object_get(json_object_get(document, "bgp"), "groups"), i, group)
	{
		const char *other = json_string_value(json_object_get(group, "name"));
		if (other && !strcmp(other, name))
			return group;
	}
	return NULL;
}

static void
take_group_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!json_is_string(value))
		config_fault_type(c, at, value, "a string");
	else if (!find_group(c->document, json_string_value(value)))
		config_fault(c, at, "there is no group %s", config_quote(value, buf));
	else
		*(const char **)out = json_string_value(value);
}

#define PEER(member) offsetof(struct config_peer, member)

/* What a peer and a group have alike. */
#define SHARED_PEER_KEYS                                                                           \
	{"asn", config_take_asn, PEER(asn)},                                                       \
		{"description", config_take_text, PEER(description), 0, 4096},                     \
		{"passive", config_take_bool, PEER(passive)},                                      \
		{"shutdown", config_take_bool, PEER(shutdown)},                                    \
		{"source", take_source, PEER(source)},                                             \
		{"multihop", config_take_u8, PEER(multihop), 1, 255},                              \
		{"capabilities", take_capabilities}, {"timers", take_timers, PEER(timers)},        \
		{"families", take_families}, {"gtsm", config_take_unsupported},                    \
		{"password", config_take_unsupported}, {"local_as", config_take_unsupported},      \
		{"route_reflector_client", config_take_unsupported},                               \
	{                                                                                          \
		"slow_peer", config_take_unsupported                                               \
	}

static const struct config_key peer_keys[] = {
	{"address", take_peer_address, 0, 0, 0, true},
	{"port", config_take_u16, PEER(tcp_port), 1, 65535},
	{"group", take_group_name, PEER(group)},
	{"vrf", take_vrf_name, PEER(vrf)},
	SHARED_PEER_KEYS,
};

static const struct config_key group_keys[] = {
	{"name", config_take_name, PEER(group), 0, 0, true},
	SHARED_PEER_KEYS,
};

/* Contract section 2, `timers` and `capabilities`. */
static struct config_peer
peer_defaults(void)
{
	struct config_peer p = {
		.tcp_port = 179,
		.vrf = VRF_DEFAULT,
		.vrf_name = "default",
		.capabilities = {true, true, true, true, true},
		.timers = {.hold_s = 90,
			.connect_retry_s = 10,
			.idle_hold_s = 1,
			.open_sent_hold_s = 240,
			.stale_refresh_s = 600},
	};
	for (unsigned f = 0; f < FAMILY_COUNT; f++)
		p.families[f].send_communities = true;
	p.families[FAMILY_IPV4_UNICAST].enabled = true;
	return p;
}

/* ---- bgp ---- */

static void
take_group(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config_peer scratch = peer_defaults();

	(void)out;
	CONFIG_TAKE(c, at, value, group_keys, &scratch);
}

static void
take_groups(CONFIG_TAKE_ARGS)
{
	(void)key;
	if (config_take_each(c, at, value, take_group, out))
		config_check_unique(c, at, value, "name");
}

/*
 * `over` into `under`, key by key; RFC 7396 without its nulls. New, NULL when out of memory. As deep as the document, 64 levels.
 */
static json_t *
inherit(const json_t *under, const json_t *over)
{
	json_t *merged = json_object();
	const char *name;
	json_t *value;

	json_object_update(merged, (json_t *)(uintptr_t)under);
	json_object_foreach((json_t *)(uintptr_t)over, name, value)
	{
		json_t *base = json_object_get(under, name);
		if (json_is_object(base) && json_is_object(value))
			json_object_set_new(merged, name, inherit(base, value));
		else
			json_object_set(merged, name, value);
	}
	return merged;
}

/* What can only be said of a peer when its group has been added. */
static void
check_merged_peer(
	struct check *c, const struct at *at, const struct config_peer *p, const json_t *merged)
{
	struct at asn_at = AT_KEY(at, "asn"), families_at = AT_KEY(at, "families"),
		  timers_at = AT_KEY(at, "timers");
	struct at keepalive_at = AT_KEY(&timers_at, "keepalive_s");
	struct at family_at = AT_KEY(&families_at, family_text(FAMILY_IPV4_UNICAST));
	const struct config_family *family = &p->families[FAMILY_IPV4_UNICAST];

	if (!json_object_get(merged, "asn"))
		config_fault(c, &asn_at, "is missing here and in the group");
	if (p->timers.hold_s && p->timers.keepalive_s >= p->timers.hold_s)
		config_fault(c, &keepalive_at, "%u is not less than the hold time, %u",
			p->timers.keepalive_s, p->timers.hold_s);
	if (family->next_hop_self && family->next_hop_unchanged)
		config_fault(c, &family_at,
			"`next_hop_self` and `next_hop_unchanged` exclude each other");
}

static void
check_same_peer(struct check *c, const struct at *at, const struct config *config,
	const struct config_peer *p)
{
	for (const struct config_peer *other = config->peers; p->addr.afi != AFI_NONE && other < p;
		other++)
		if (other->vrf.v == p->vrf.v && addr_equal(&other->addr, &p->addr)) {
			struct at here = AT_KEY(at, "address");
			config_fault(c, &here,
				other->tcp_port == p->tcp_port
					? "\"%s\" is the same peer as /bgp/peers/%td"
					: "\"%s\" is the peer /bgp/peers/%td on another port, "
					  "which is not supported in this version",
				p->addr_text, other - config->peers);
			return;
		}
}

static void
take_peer(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_peer *peer = &config->peers[config->peer_count];
	struct config_peer scratch = peer_defaults();
	unsigned faults = c->f->count;

	CONFIG_TAKE(c, at, value, peer_keys, &scratch);
	const char *group_name = json_string_value(json_object_get(value, "group"));
	const json_t *group = group_name ? find_group(c->document, group_name) : NULL;
	json_t *merged = inherit(json_is_object(group) ? group : NULL, value);
	json_object_del(merged, "name");
	if (json_array_append_new(config->merged, merged)) {
		config_fault(c, at, "out of memory");
		return;
	}
	*peer = peer_defaults();
	c->muted = true;
	CONFIG_TAKE(c, at, merged, peer_keys, peer);
	c->muted = false;
	config->peer_count++;
	peer->local_as = config->asn;
	peer->external = peer->asn != config->asn;
	if (c->f->count == faults)
		check_merged_peer(c, at, peer, merged);
	check_same_peer(c, at, config, peer);
}

static void
take_peers(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->peers = calloc(json_array_size(value) + 1, sizeof(*config->peers));
	config->merged = json_array();
	if (!config->peers || !config->merged)
		config_fault(c, at, "out of memory");
	else
		config_take_each(c, at, value, take_peer, config);
}

static void
take_network_prefix(CONFIG_TAKE_ARGS)
{
	struct prefix p;
	char buf[CONFIG_QUOTE_MAX];

	(void)key;
	if (!config_value_prefix(c, at, value, &p))
		return;
	if (p.afi != AFI_IPV4)
		config_fault(c, at, "%s: IPv6 is not supported in this version",
			config_quote(value, buf));
	else
		*(struct prefix *)out = p;
}

static const struct config_key network_keys[] = {
	{"prefix", take_network_prefix, offsetof(struct config_network, prefix), 0, 0, true},
	{"vrf", take_vrf_name, offsetof(struct config_network, vrf)},
	{"require_route", config_take_unsupported},
};

static void
take_network(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;

	CONFIG_TAKE(c, at, value, network_keys, &config->networks[config->network_count++]);
}

static void
take_networks(CONFIG_TAKE_ARGS)
{
	struct config *config = out;

	(void)key;
	config->networks = calloc(json_array_size(value) + 1, sizeof(*config->networks));
	if (!config->networks)
		config_fault(c, at, "out of memory");
	/* There is one VRF, so the prefix is the key. */
	else if (config_take_each(c, at, value, take_network, config))
		config_check_unique(c, at, value, "prefix");
}

/* The one value that this version has. */
static void
take_max_paths(CONFIG_TAKE_ARGS)
{
	uint32_t n;

	(void)key;
	(void)out;
	if (config_value_u32(c, at, value, 1, 1024, &n) && n != 1)
		config_fault(c, at, "%u: more than one is not supported in this version", n);
}

static const struct config_key bgp_keys[] = {
	{"networks", take_networks},
	{"policy_change_delay_s", config_take_u32, offsetof(struct config, policy_change_delay_s),
		0, 86400},
	{"policy_change_max_delay_s", config_take_u32,
		offsetof(struct config, policy_change_max_delay_s), 0, 86400},
	{"groups", take_groups},
	{"peers", take_peers},
	{"next_hop_tracking", config_take_bool, offsetof(struct config, next_hop_tracking)},
	{"resolve_via_default", config_take_unsupported},
	{"max_paths", take_max_paths},
	{"tombstones_max", config_take_unsupported},
	{"cluster_id", config_take_unsupported},
	{"listen_ranges", config_take_unsupported},
	{"aggregates", config_take_unsupported},
	{"redistribute", config_take_unsupported},
	{"preference", config_take_unsupported},
	{"suppress_fib_pending", config_take_unsupported},
};

static void
take_bgp(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, bgp_keys, out);
}

/* ---- the document ---- */

/* `router` comes first whatever the order in the document: peers look at its asn. */
static const struct config_key root_keys[] = {
	{"router", config_take_elsewhere},
	{"dataplane", take_dataplane},
	{"management", take_management},
	{"vrfs", take_vrfs},
	{"ports", take_ports},
	{"prefix_lists", config_take_elsewhere},
	{"as_path_lists", config_take_elsewhere},
	{"community_lists", config_take_elsewhere},
	{"route_policies", config_take_elsewhere},
	{"bgp", take_bgp},
	{"large_community_lists", config_take_unsupported},
	{"ext_community_lists", config_take_unsupported},
	{"static_routes", config_take_unsupported},
	{"static_lsps", config_take_unsupported},
	{"aggregates", config_take_unsupported},
	{"listen_ranges", config_take_unsupported},
	{"loopback_addresses", config_take_unsupported},
	{"preference", config_take_unsupported},
};

static void
take_root(struct check *c, const json_t *document)
{
	struct at root = AT_ROOT, router_at = AT_KEY(&root, "router");
	const json_t *router = json_object_get(document, "router");
	json_t *nothing = json_object();

	/* An absent section is looked at as an empty one: its missing keys are what to tell. */
	if (json_is_object(document))
		take_router(c, &router_at, router ? router : nothing, NULL, c->config);
	CONFIG_TAKE(c, &root, document, root_keys, c->config);
	json_decref(nothing);
}

/* Contract section 2, example and table of defaults. */
static int
config_defaults(struct config *config)
{
	config->dataplane.rib_threads = 1;
	config->dataplane.memory_mb = 1024;
	config->next_hop_tracking = true;
	config->policy_change_max_delay_s = 30;
	config->dataplane.worker_cpus = calloc(1, sizeof(unsigned));
	if (!config->dataplane.worker_cpus)
		return -ENOMEM;
	config->dataplane.worker_cpus[0] = 1;
	config->dataplane.worker_count = 1;
	return 0;
}

struct config *
config_parse(json_t *document, struct faults *f)
{
	struct config *config = calloc(1, sizeof(*config));
	struct check c = {.f = f, .document = document, .config = config};
	unsigned before = f->count, lost_before = f->lost;

	if (!config || config_defaults(config)) {
		faults_add(f, "", "out of memory");
		config_free(config);
		return NULL;
	}
	config->document = json_incref(document);
	take_root(&c, document);
	if (json_is_object(document))
		config->policies = policy_set_compile(document, f);
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
	for (unsigned i = 0; i < c->port_count; i++)
		free(c->ports[i].addresses);
	free(c->ports);
	free(c->peers);
	free(c->networks);
	free(c->dataplane.worker_cpus);
	free(c->dataplane.control_cpus);
	free(c->dataplane.eal_args);
	policy_set_free(c->policies);
	json_decref(c->merged);
	json_decref(c->document);
	free(c);
}

const struct config_peer *
config_peer_find(const struct config *c, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < c->peer_count; i++)
		if (c->peers[i].vrf.v == vrf.v && addr_equal(&c->peers[i].addr, addr))
			return &c->peers[i];
	return NULL;
}
