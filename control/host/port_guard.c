/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/netlink_impl.h"
#include "control/base/log.h"
#include "control/host/vlan_offload.h"
#include "lpm/base/net_feature.h"
#include "lpm/base/note_file.h"
#include "lpm/base/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Behind the local table (0), before the main table (32766) and the rules of routing daemons. */
#define RULE_PRIORITY 100 /* own_table.h has the next one */
#define VALUE_MAX 32
#define FAULTS_MAX 64
#define BOOT_ID_MAX 40

struct setting {
	const char *path, *value;
};

/*
 * Below /proc/sys/net/, with the interface for %s. The kernel uses the greater rp_filter of the
 * port and of `all`; `all` stays, because `all` also guards other interfaces. Without forwarding in
 * the kernel accept_redirects of `all` suffices, so port_guard_create() clears accept_redirects of
 * `all`.
 */
static const struct setting port_settings[] = {
	{"ipv4/conf/%s/rp_filter", "0"},
	{"ipv4/conf/%s/arp_ignore", "1"},
	{"ipv4/conf/%s/accept_redirects", "0"},
	/*
	 * RFC 4861 7.2.6: neighbours learn a new MAC address at once, and not after probes of the
	 * old address.
	 */
	{"ipv4/conf/%s/arp_notify", "1"},
	{"ipv6/conf/%s/ndisc_notify", "1"},
	{"ipv4/conf/%s/send_redirects", "0"},
	{"ipv6/conf/%s/accept_ra", "0"},
	{"ipv6/conf/%s/autoconf", "0"},
	{"ipv6/conf/%s/accept_redirects", "0"},
	/* Otherwise the kernel removes configured addresses when an operator sets the link down. */
	{"ipv6/conf/%s/keep_addr_on_down", "1"},
};
#define PORT_SETTINGS (sizeof(port_settings) / sizeof(port_settings[0]))

/*
 * Of the TUN: packets of all ports reach the kernel by the TUN, so no reverse path fits. The kernel
 * adds no address.
 */
static const struct setting tun_settings[] = {
	{"ipv4/conf/%s/rp_filter", "0"},
	{"ipv6/conf/%s/disable_ipv6", "0"},
	{"ipv6/conf/%s/addr_gen_mode", "1"},
	{"ipv6/conf/%s/accept_ra", "0"},
	{"ipv6/conf/%s/autoconf", "0"},
};
#define TUN_SETTINGS (sizeof(tun_settings) / sizeof(tun_settings[0]))

/* The previous value of a setting. */
struct saved {
	struct saved *next; /* newest first, as values are restored */
	char path[96];
	char value[VALUE_MAX];
};

struct rule {
	struct rule *next;
	uint8_t family;
	bool remains; /* the removal has failed */
	char iface[IFNAMSIZ];
};

/* Main. */
struct port_guard {
	struct arena *arena;
	struct mnl_socket *socket;
	const struct netlink_config
		*config; /* the requests without the right go to its callbacks */
	bool ipv6; /* the kernel supports IPv6 */
	struct saved *saved;
	struct saved *left; /* values from the note of a killed process */
	struct rule *rules;
	char state[160]; /* the path of the note; empty: no note */
	bool state_failed; /* a failure to write the note is in fault[] */
	bool killed; /* a killed process has left rules */
	struct netlink_fault fault[FAULTS_MAX];
	unsigned fault_count;
	bool all; /* guard_all() */
};

static void
add_fault(struct port_guard *g, const char *what, int error)
{
	struct netlink_fault *f;

	if (g->fault_count == FAULTS_MAX)
		return;
	f = &g->fault[g->fault_count++];
	(void)snprintf(f->what, sizeof(f->what), "%.95s", what);
	f->error = error;
}

/* ---- sysctls, and VLAN offload ---- */

static int
read_value(const char *path, char value[VALUE_MAX])
{
	int fd;
	ssize_t n;

	if (net_setting_is_feature(path))
		return net_feature_get(path, value, VALUE_MAX);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, value, VALUE_MAX - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	value[n] = '\0';
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

static int
value_set(const struct port_guard *g, const char *path, const char *value)
{
	int rc = net_setting_write(path, value);

	return (rc == -EPERM || rc == -EACCES) && g->config->setting != NULL
		       ? g->config->setting(g->config->ctx, path, value)
		       : rc;
}

/* The value of a path that is noted already stays: it is the oldest. */
static int
saved_push(struct port_guard *g, struct saved **list, const char *path, const char *value)
{
	struct saved *s = *list;

	while (s != NULL && strcmp(s->path, path) != 0)
		s = s->next;
	if (s != NULL)
		return 0;
	s = arena_calloc(g->arena, sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	(void)snprintf(s->path, sizeof(s->path), "%.95s", path);
	(void)snprintf(s->value, sizeof(s->value), "%.31s", value);
	s->next = *list;
	*list = s;
	return 0;
}

static void
saved_pop(struct port_guard *g, struct saved **list)
{
	struct saved *s = *list;

	*list = s->next;
	arena_free(g->arena, s);
}

/* ---- the note for the next start after a kill ---- */

static bool
boot_id(char out[BOOT_ID_MAX])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	bool good = f != NULL && fgets(out, BOOT_ID_MAX, f) != NULL;

	if (f != NULL)
		(void)fclose(f);
	return good;
}

/* The name has the network namespace, because several keelds may use the folder. */
static void
note_name(struct port_guard *g, const char *state_dir)
{
	struct stat st;

	if (state_dir == NULL || stat("/proc/thread-self/ns/net", &st) != 0)
		return;
	if (snprintf(g->state, sizeof(g->state), "%s/host-%lu", state_dir,
		    (unsigned long)st.st_ino) >= (int)sizeof(g->state))
		g->state[0] = '\0';
}

static void
saved_write(struct port_guard *g)
{
	char boot[BOOT_ID_MAX], *text = NULL;
	size_t bytes;
	FILE *f;
	int rc = -ENOMEM;

	if (g->state[0] == '\0' || !boot_id(boot))
		return;
	f = open_memstream(&text, &bytes);
	if (f != NULL) {
		(void)fputs(boot, f);
		for (const struct saved *s = g->saved; s != NULL; s = s->next)
			(void)fprintf(f, "%s %s\n", s->path, s->value);
		rc = fclose(f) == 0 ? note_write(g->state, text, bytes) : -ENOMEM;
	}
	free(text);
	if (rc != 0 && !g->state_failed) {
		add_fault(g, g->state, rc);
		g->state_failed = true;
	}
}

/* Ignores a note from before the last boot. */
static void
saved_read(struct port_guard *g)
{
	FILE *f = g->state[0] != '\0' ? note_open(g->state) : NULL;
	char line[sizeof(((struct saved *)NULL)->path) + VALUE_MAX + 2], boot[BOOT_ID_MAX];
	bool ours = f != NULL && boot_id(boot) && fgets(line, sizeof(line), f) != NULL &&
		    strcmp(line, boot) == 0;

	while (ours && fgets(line, sizeof(line), f) != NULL) {
		char *value = strchr(line, ' ');

		if (value == NULL || line[strcspn(line, "\n")] == '\0')
			continue;
		*value++ = '\0';
		value[strcspn(value, "\n")] = '\0';
		if (saved_push(g, &g->left, line, value) != 0)
			break;
	}
	if (f != NULL)
		(void)fclose(f);
}

/* ---- one sysctl ---- */

/*
 * The value to restore: the present value `there`. If `there` is `ours`, the value in the note of a
 * killed process comes first.
 */
static const char *
value_to_restore(const struct saved *left, const char *path, const char *there, const char *ours)
{
	for (; left != NULL && strcmp(there, ours) == 0; left = left->next)
		if (strcmp(left->path, path) == 0)
			return left->value;
	return there;
}

static int
set_value(struct port_guard *g, const char *path, const char *value)
{
	const struct saved *newest = g->saved;
	char there[VALUE_MAX];
	const char *old;
	int rc = read_value(path, there);

	if (rc != 0)
		return rc;
	old = value_to_restore(g->left, path, there, value);
	if (strcmp(old, value) == 0)
		return 0; /* nothing to restore */
	rc = saved_push(g, &g->saved, path, old);
	if (rc != 0 || strcmp(there, value) == 0)
		return rc;
	saved_write(g); /* before the change, so that a kill never leaves a change without a note */
	rc = value_set(g, path, value);
	if (rc != 0 && g->saved != newest)
		saved_pop(g, &g->saved);
	return rc;
}

static void
set_values(struct port_guard *g, const struct setting *settings, unsigned count, const char *iface)
{
	for (unsigned i = 0; i < count; i++) {
		char path[96], relative[64];
		int rc;

		if (!g->ipv6 && strncmp(settings[i].path, "ipv6", 4) == 0)
			continue;
		(void)snprintf(
			relative, sizeof(relative), settings[i].path, iface); // NOLINT: own table
		(void)snprintf(path, sizeof(path), "/proc/sys/net/%s", relative);
		rc = set_value(g, path, settings[i].value);
		if (rc != 0)
			add_fault(g, path, rc);
	}
}

/*
 * Of an AF_XDP port: frames have to arrive with the VLAN tags. 0, or -errno, which refuses the
 * port: while the offload is on, a tagged frame would be forwarded without the tag, outside of the
 * VLAN.
 */
static int
set_vlan_offload(struct port_guard *g, const struct netlink_port *p, const char *iface)
{
	char path[NET_FEATURE_PATH];
	int rc;

	for (unsigned i = 0; vlan_offload_rx(iface, i, path); i++) {
		rc = set_value(g, path, "off");
		if (rc == 0 || rc == -ENOENT)
			continue;
		log_event(LOG_ERROR,
			"port-failed port=%s error=\"%s\" text=\"%s removes VLAN tags from frames; "
			"switch %s off\"",
			p->name, strerrordesc_np(-rc), iface, strrchr(path, '/') + 1);
		return rc;
	}
	for (unsigned i = 0; (rc = vlan_offload_peer(g->socket, p->ifindex, i, path)) == 0; i++) {
		rc = set_value(g, path, "off");
		if (rc != 0 && rc != -ENOENT)
			add_fault(g, path, rc);
	}
	if (rc == -EXDEV || rc == -EPERM)
		log_event(LOG_WARNING,
			"vlan-tags port=%s interface=%s text=\"the far end of the veth is in a "
			"network namespace %s: switch tx-vlan-hw-insert off at the far end, or "
			"tagged frames arrive without the tag\"",
			p->name, iface,
			rc == -EXDEV ? "without a name" : "that keeld may not enter");
	else if (rc != -ENOENT)
		add_fault(g, "other end of the veth", rc);
	return 0;
}

/* The kernel uses the greater value of the port and `all`, and `all` belongs to the operator. */
static void
check_rp_filter(struct port_guard *g)
{
	char value[VALUE_MAX];

	if (read_value("/proc/sys/net/ipv4/conf/all/rp_filter", value) == 0 &&
		strcmp(value, "1") == 0)
		add_fault(g,
			"net.ipv4.conf.all.rp_filter is 1 and drops packets of remote networks: "
			"set 0 or 2",
			-EINVAL);
}

/* ---- the rule ---- */

static int
rule_request(struct port_guard *g, uint16_t type, uint8_t family, const char *iface)
{
	char buffer[256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
	struct fib_rule_hdr *r;
	int rc;

	h->nlmsg_type = type;
	h->nlmsg_flags = type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0;
	r = mnl_nlmsg_put_extra_header(h, sizeof(*r));
	r->family = family;
	r->action = FR_ACT_BLACKHOLE;
	mnl_attr_put_u32(h, FRA_PRIORITY, RULE_PRIORITY);
	mnl_attr_put_strz(h, FRA_IIFNAME, iface);
	rc = netlink_request(g->socket, h);
	return rc == -EPERM && g->config->change != NULL
		       ? g->config->change(g->config->ctx, false, h, h->nlmsg_len)
		       : rc;
}

static int
add_rule(struct port_guard *g, uint8_t family, const char *iface)
{
	struct rule *r = g->rules;
	int rc;

	while (r != NULL && (r->family != family || strcmp(r->iface, iface) != 0))
		r = r->next;
	if (r != NULL) { /* the rule outlives an interface that was deleted and made again */
		r->remains = false;
		return 0;
	}
	r = arena_calloc(g->arena, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	rc = rule_request(g, RTM_NEWRULE, family, iface);
	/* -EEXIST: left by a killed process, and removed at the end of this process */
	g->killed |= rc == -EEXIST;
	if (rc != 0 && rc != -EEXIST) {
		arena_free(g->arena, r);
		return rc;
	}
	r->family = family;
	(void)snprintf(r->iface, sizeof(r->iface), "%s", iface);
	r->next = g->rules;
	g->rules = r;
	return 0;
}

static void
add_rules(struct port_guard *g, const char *iface)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (unsigned i = 0; i < (g->ipv6 ? 2u : 1u); i++) {
		char what[96];
		int rc = add_rule(g, families[i], iface);

		(void)snprintf(what, sizeof(what), "rule iif %s blackhole (%s)", iface,
			i == 0 ? "IPv4" : "IPv6");
		if (rc != 0)
			add_fault(g, what, rc);
	}
}

void
port_guard_tun(struct port_guard *g, const char *iface)
{
	/* before keel0 has addresses and routes */
	set_values(g, tun_settings, TUN_SETTINGS, iface);
	add_rules(g, iface);
}

/* ---- life ---- */

/* With the first port. */
static void
guard_all(struct port_guard *g)
{
	static const char path[] = "/proc/sys/net/ipv4/conf/all/accept_redirects";
	int rc = set_value(g, path, "0");

	if (rc != 0)
		add_fault(g, path, rc);
	check_rp_filter(g);
	g->all = true;
}

int
port_guard_add(struct port_guard *g, const struct netlink_port *p)
{
	/* The name of a port may differ from the name of the interface (`iface` of net_af_xdp). */
	char iface[IF_NAMESIZE];

	if (if_indextoname(p->ifindex, iface) == NULL) {
		add_fault(g, p->name, -ENODEV);
		return 0;
	}
	add_rules(g, iface);
	set_values(g, port_settings, PORT_SETTINGS, iface);
	if (!g->all)
		guard_all(g);
	return p->xdp ? set_vlan_offload(g, p, iface) : 0;
}

/* True if a component of the path, before the last, is the name. */
static bool
path_names(const char *path, const char *iface)
{
	char part[IF_NAMESIZE + 2];

	(void)snprintf(part, sizeof(part), "/%s/", iface);
	return strstr(path, part) != NULL;
}

void
port_guard_remove(struct port_guard *g, const char *iface)
{
	for (struct saved **at = &g->saved; *at != NULL;) {
		if (!path_names((*at)->path, iface)) {
			at = &(*at)->next;
			continue;
		}
		(void)value_set(g, (*at)->path, (*at)->value);
		saved_pop(g, at);
	}
	for (struct rule **at = &g->rules, *r; (r = *at) != NULL;) {
		int rc;

		if (!r->remains && strcmp(r->iface, iface) != 0) {
			at = &r->next;
			continue;
		}
		rc = rule_request(g, RTM_DELRULE, r->family, r->iface);
		/* keelfwd has ended, or does not answer */
		r->remains = rc == -ENOTCONN || rc == -EBUSY;
		if (r->remains) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		arena_free(g->arena, r);
	}
	saved_write(g);
}

int
port_guard_create(struct arena *a, struct mnl_socket *s, const struct netlink_config *c,
	struct port_guard **out)
{
	struct port_guard *g = arena_calloc(a, sizeof(*g));
	unsigned count = c->port_count;
	int rc;

	if (g == NULL)
		return -ENOMEM;
	g->arena = a;
	g->socket = s;
	g->config = c;
	g->ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
	note_name(g, c->forwards ? c->state_dir : NULL);
	saved_read(g);
	*out = g;
	for (unsigned i = 0; i < count; i++) {
		rc = port_guard_add(g, &c->ports[i]);
		if (rc != 0)
			return rc;
	}
	return 0;
}

void
port_guard_destroy(struct port_guard *g, bool restore)
{
	struct rule *r;

	/* fails for a removed interface, which has no values to restore */
	while (g->saved != NULL) {
		if (restore)
			(void)value_set(g, g->saved->path, g->saved->value);
		saved_pop(g, &g->saved);
	}
	while (g->left != NULL)
		saved_pop(g, &g->left);
	if (restore && g->state[0] != '\0')
		(void)unlink(g->state);
	while ((r = g->rules) != NULL) {
		(void)rule_request(g, RTM_DELRULE, r->family, r->iface);
		g->rules = r->next;
		arena_free(g->arena, r);
	}
	arena_free(g->arena, g);
}

void
port_guard_keep(struct port_guard *g)
{
	struct rule *r;

	while (g->saved != NULL)
		saved_pop(g, &g->saved);
	while (g->left != NULL)
		saved_pop(g, &g->left);
	while ((r = g->rules) != NULL) {
		g->rules = r->next;
		arena_free(g->arena, r);
	}
	arena_free(g->arena, g);
}

bool
port_guard_killed(const struct port_guard *g)
{
	return g->killed;
}

unsigned
port_guard_faults(const struct port_guard *g, struct netlink_fault *out, unsigned max)
{
	for (unsigned i = 0; i < g->fault_count && i < max; i++)
		out[i] = g->fault[i];
	return g->fault_count;
}
