/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keelctl doctor: faults of this machine for ports and workers, from /sys and /proc, and from the
 * ports and workers of a running daemon. Changes nothing.
 */
#include "control/cli/keelctl.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH 512
#define TEXT 1024
#define LIST 256
#define SOCKETS_MAX 64
#define CPUS_MAX 1024
#define REBOOT "update-grub && reboot"
#define SED_GRUB(words) "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&" words " /' /etc/default/grub"
#define GRUB(words) SED_GRUB(words) " && " REBOOT

/* The memory of EAL that keeld takes of dataplane.memory_mb: a quarter, within these bounds. */
#define MEMORY_MB 1024
#define EAL_MB_MIN 64
#define EAL_MB_MAX 512

struct doctor {
	const char *root; /* of sys and proc */
	json_t *findings;
	json_t *stats, *document; /* of the daemon; NULL: none runs */
};

/* ---- files ---- */

static void path_of(const struct doctor *d, char path[PATH], const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
static bool read_text(const struct doctor *d, char text[TEXT], const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static long long read_number(const struct doctor *d, long long absent, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static unsigned entries(const struct doctor *d, const char *begin, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void finding(struct doctor *d, const char *check, const char *command, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void
path_of(const struct doctor *d, char path[PATH], const char *fmt, va_list ap)
{
	int n = snprintf(path, PATH, "%s/", d->root);

	if (n < 0 || n >= PATH || vsnprintf(path + n, PATH - (size_t)n, fmt, ap) >= PATH - n)
		path[0] = '\0'; /* opens nothing */
}

/* The first line of a file, without the newline; false: there is no such file. */
static bool
read_text(const struct doctor *d, char text[TEXT], const char *fmt, ...)
{
	char path[PATH];
	va_list ap;
	FILE *f;
	bool found;

	va_start(ap, fmt);
	path_of(d, path, fmt, ap);
	va_end(ap);
	f = fopen(path, "re");
	text[0] = '\0';
	if (f == NULL)
		return false;
	found = fgets(text, TEXT, f) != NULL;
	fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return found;
}

static long long
read_number(const struct doctor *d, long long absent, const char *fmt, ...)
{
	char path[PATH];
	long long n = absent;
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	path_of(d, path, fmt, ap);
	va_end(ap);
	f = fopen(path, "re");
	if (f == NULL)
		return absent;
	if (fscanf(f, "%lld", &n) != 1)
		n = absent;
	fclose(f);
	return n;
}

/* Entries of a folder that begin with `begin`. */
static unsigned
entries(const struct doctor *d, const char *begin, const char *fmt, ...)
{
	const struct dirent *e;
	char path[PATH];
	unsigned n = 0;
	va_list ap;
	DIR *dir;

	va_start(ap, fmt);
	path_of(d, path, fmt, ap);
	va_end(ap);
	dir = opendir(path);
	while (dir != NULL && (e = readdir(dir)) != NULL)
		n += e->d_name[0] != '.' && strncmp(e->d_name, begin, strlen(begin)) == 0;
	if (dir != NULL)
		closedir(dir);
	return n;
}

/* True if `cpu` is in a list of the kernel, such as 0-3,8. */
static bool
in_list(const char *list, long long cpu)
{
	while (*list != '\0') {
		char *end;
		long long from = strtoll(list, &end, 10), to = from;

		if (end == list)
			return false;
		if (*end == '-')
			to = strtoll(end + 1, &end, 10);
		if (cpu >= from && cpu <= to)
			return true;
		list = *end == ',' ? end + 1 : end;
	}
	return false;
}

/* ---- findings ---- */

static void
finding(struct doctor *d, const char *check, const char *command, const char *fmt, ...)
{
	char text[TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(d->findings, json_pack("{s:s, s:s, s:s}", "check", check, "text",
						   text_safe(text), "command", command));
}

static bool
is_pci(const char *device)
{
	return strncmp(device, "net_", 4) != 0;
}

/* The kernel interface of an AF_XDP port; false: another port. */
static bool
xdp_interface(const char *device, char iface[32])
{
	const char *at = strstr(device, ",iface=");

	return strncmp(device, "net_af_xdp", 10) == 0 && at != NULL &&
	       sscanf(at, ",iface=%31[A-Za-z0-9._-]", iface) == 1 && iface[0] != '.';
}

static const json_t *
ports_of(const struct doctor *d)
{
	return json_object_get(d->document, "ports");
}

static const json_t *
workers_of(const struct doctor *d)
{
	return json_object_get(d->stats, "workers");
}

/* The NUMA socket of a CPU; -1: unknown. */
static int
socket_of_cpu(const struct doctor *d, long long cpu)
{
	char list[TEXT];

	for (int s = 0; s < SOCKETS_MAX; s++) {
		if (read_text(d, list, "sys/devices/system/node/node%d/cpulist", s) &&
			in_list(list, cpu))
			return s;
	}
	return -1;
}

/* The NUMA socket of the device of a port; -1: unknown, or no hardware. */
static int
socket_of_port(const struct doctor *d, const char *device)
{
	char iface[32];
	long long s = -1;

	if (xdp_interface(device, iface))
		s = read_number(d, -1, "sys/class/net/%s/device/numa_node", iface);
	else if (is_pci(device))
		s = read_number(d, -1, "sys/bus/pci/devices/%.*s/numa_node",
			(int)strcspn(device, ",/"), device);
	return s >= 0 && s < SOCKETS_MAX ? (int)s : -1;
}

/* ---- the checks ---- */

static unsigned
pci_network_devices(const struct doctor *d)
{
	const struct dirent *e;
	char path[PATH], class[TEXT];
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices", d->root);
	dir = opendir(path);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		n += e->d_name[0] != '.' &&
		     read_text(d, class, "sys/bus/pci/devices/%s/class", e->d_name) &&
		     strncmp(class, "0x02", 4) == 0;
	}
	if (dir != NULL)
		closedir(dir);
	return n;
}

static void
check_iommu(struct doctor *d)
{
	const json_t *port;
	unsigned devices = 0;
	size_t i;

	json_array_foreach(ports_of(d), i, port) devices += is_pci(string_of(port, "device"));
	if (d->stats == NULL)
		devices = pci_network_devices(d);
	if (devices > 0 && entries(d, "", "sys/kernel/iommu_groups") == 0)
		finding(d, "iommu", GRUB("intel_iommu=on iommu=pt"),
			"the kernel uses no IOMMU, so vfio-pci takes no NIC (enable VT-d or AMD-Vi "
			"in the firmware, too)");
}

/* Memory in hugepages of a socket; -1: of the machine. *small: the number of pages of 2 MB. */
static long long
huge_mb(const struct doctor *d, int socket, long long *small)
{
	static const unsigned sizes_kb[] = {2048, 1048576};
	long long kb = 0;

	*small = 0;
	for (unsigned i = 0; i < 2; i++) {
		long long n =
			socket < 0 ? read_number(d, 0,
					     "sys/kernel/mm/hugepages/hugepages-%ukB/nr_hugepages",
					     sizes_kb[i])
				   : read_number(d, 0,
					     "sys/devices/system/node/node%d/hugepages/"
					     "hugepages-%ukB/nr_hugepages",
					     socket, sizes_kb[i]);

		kb += n * sizes_kb[i];
		*small += i == 0 ? n : 0;
	}
	return kb / 1024;
}

static void
check_hugepages_of(struct doctor *d, int socket, long long need_mb)
{
	long long small, have_mb = huge_mb(d, socket, &small);
	char where[32] = "the machine", command[64];

	if (have_mb >= need_mb)
		return;
	snprintf(command, sizeof(command), "keel-nic hugepages %lld",
		small + (need_mb - have_mb + 1) / 2);
	if (socket >= 0) {
		size_t n = strlen(command);

		snprintf(where, sizeof(where), "socket %d", socket);
		snprintf(command + n, sizeof(command) - n, " %d", socket);
	}
	finding(d, "hugepages", command,
		"%s has %lld MB of hugepages, packet buffers take up to %lld MB", where, have_mb,
		need_mb);
}

/* Each socket with a worker or with the NIC of a port needs pages; without a daemon each socket. */
static void
check_hugepages(struct doctor *d)
{
	const json_t *configured =
		json_object_get(json_object_get(d->document, "dataplane"), "memory_mb");
	long long mb = configured != NULL ? json_integer_value(configured) : MEMORY_MB,
		  need = mb / 4;
	bool used[SOCKETS_MAX] = {false}, any = false;
	const json_t *o;
	size_t i;
	int s;

	need = need < EAL_MB_MIN ? EAL_MB_MIN : need > EAL_MB_MAX ? EAL_MB_MAX : need;
	json_array_foreach(workers_of(d), i, o)
	{
		s = socket_of_cpu(d, number_of(o, "cpu"));
		if (s >= 0)
			used[s] = true;
	}
	json_array_foreach(ports_of(d), i, o)
	{
		s = socket_of_port(d, string_of(o, "device"));
		if (s >= 0)
			used[s] = true;
	}
	for (s = 0; s < SOCKETS_MAX; s++) {
		if (d->stats == NULL)
			used[s] = entries(d, "hugepages-",
					  "sys/devices/system/node/node%d/hugepages", s) > 0;
		any |= used[s];
		if (used[s])
			check_hugepages_of(d, s, need);
	}
	if (!any)
		check_hugepages_of(d, -1, need);
}

struct cpus {
	bool has[CPUS_MAX];
};

static void
cpus_add(struct cpus *c, long long cpu)
{
	if (cpu >= 0 && cpu < CPUS_MAX)
		c->has[cpu] = true;
}

/* Fills `list` as the kernel writes lists, such as 0-3,8. False: there is no CPU. */
static bool
cpus_text(const struct cpus *c, char list[LIST])
{
	size_t n = 0;

	list[0] = '\0';
	for (unsigned i = 0, to; i < CPUS_MAX && n + 16 < LIST; i = to + 1) {
		to = i;
		if (!c->has[i])
			continue;
		while (to + 1 < CPUS_MAX && c->has[to + 1])
			to++;
		n += (size_t)snprintf(list + n, LIST - n, "%s%u", n > 0 ? "," : "", i);
		if (to > i)
			n += (size_t)snprintf(list + n, LIST - n, "-%u", to);
	}
	return n > 0;
}

static void
check_isolated(struct doctor *d)
{
	char isolated[TEXT], missing[LIST], command[2 * TEXT];
	struct cpus worker = {{false}};
	const json_t *w;
	size_t i;

	(void)read_text(d, isolated, "sys/devices/system/cpu/isolated");
	json_array_foreach(workers_of(d), i, w)
	{
		if (!in_list(isolated, number_of(w, "cpu")))
			cpus_add(&worker, number_of(w, "cpu"));
	}
	if (!cpus_text(&worker, missing))
		return;
	snprintf(command, sizeof(command), GRUB("isolcpus=%s nohz_full=%s rcu_nocbs=%s"), missing,
		missing, missing);
	finding(d, "isolated", command, "CPUs of workers are not isolated: %s", missing);
}

/* Of the workers' CPUs; without a daemon of all CPUs. A CPU without cpufreq has a fixed clock. */
static void
check_governor(struct doctor *d)
{
	char governor[TEXT], list[LIST];
	struct cpus slow = {{false}};
	const json_t *workers = workers_of(d);
	size_t n = workers != NULL ? json_array_size(workers) : CPUS_MAX;

	for (size_t i = 0; i < n; i++) {
		long long cpu = workers != NULL ? number_of(json_array_get(workers, i), "cpu")
						: (long long)i;

		if (read_text(d, governor,
			    "sys/devices/system/cpu/cpu%lld/cpufreq/scaling_governor", cpu) &&
			strcmp(governor, "performance") != 0)
			cpus_add(&slow, cpu);
	}
	if (cpus_text(&slow, list))
		finding(d, "governor",
			"echo performance | tee "
			"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
			"the governor of CPUs is not performance: %s", list);
}

/* Automatic balancing makes pages of a worker inaccessible for a moment, to see which CPU uses them. */
static void
check_balancing(struct doctor *d)
{
	if (entries(d, "node", "sys/devices/system/node") > 1 &&
		read_number(d, 0, "proc/sys/kernel/numa_balancing") > 0)
		finding(d, "balancing", "sysctl -w kernel.numa_balancing=0",
			"automatic NUMA balancing stops workers for page faults");
}

#define SUBNET_HOSTS_MAX 4096 /* expected in a larger subnet */
#define SUBNET_HOSTS_IPV6 256

/* Hosts in the subnets of the ports; of an IPv6 subnet SUBNET_HOSTS_IPV6. */
static long long
hosts_of_ports(const struct doctor *d, bool ipv6)
{
	const json_t *port, *address;
	long long hosts = 0;
	size_t i, k;

	json_array_foreach(ports_of(d), i, port)
	{
		json_array_foreach(json_object_get(port, "addresses"), k, address)
		{
			const char *text = json_string_value(address), *slash = strchr(text, '/');
			unsigned len = slash != NULL ? (unsigned)strtoul(slash + 1, NULL, 10) : 0;

			if (ipv6 != (strchr(text, ':') != NULL))
				continue;
			if (ipv6)
				hosts += len < 120 ? SUBNET_HOSTS_IPV6 : 1LL << (128 - len);
			else
				hosts += len < 20 ? SUBNET_HOSTS_MAX : 1LL << (32 - len);
		}
	}
	return hosts;
}

/* RFC 6583 7.1: the kernel's table of neighbours, which all interfaces and namespaces share. */
static void
check_neighbors(struct doctor *d)
{
	static const char *const family[] = {"ipv4", "ipv6"};
	char command[PATH];

	for (unsigned i = 0; i < 2; i++) {
		long long hosts = hosts_of_ports(d, i == 1), limit[3], need[3];
		bool small = false;

		for (unsigned k = 0; k < 3; k++) {
			need[k] = hosts << k;
			limit[k] = read_number(d, need[k],
				"proc/sys/net/%s/neigh/default/gc_thresh%u", family[i], k + 1);
			small |= k > 0 && limit[k] < hosts * k;
		}
		if (!small)
			continue;
		snprintf(command, sizeof(command),
			"sysctl -w net.%s.neigh.default.gc_thresh3=%lld "
			"net.%s.neigh.default.gc_thresh2=%lld "
			"net.%s.neigh.default.gc_thresh1=%lld; systemctl restart keel",
			family[i], need[2] > limit[2] ? need[2] : limit[2], family[i],
			need[1] > limit[1] ? need[1] : limit[1], family[i],
			need[0] > limit[0] ? need[0] : limit[0]);
		finding(d, "neighbors", command,
			"the kernel has room for %lld %s neighbours, the subnets of the ports have "
			"up to %lld hosts, and keeld keeps half of the room resolved",
			limit[2], i == 0 ? "IPv4" : "IPv6", hosts);
	}
}

static const json_t *
port_stats(const struct doctor *d, const char *name)
{
	const json_t *port;
	size_t i;

	json_array_foreach(json_object_get(d->stats, "ports"), i, port)
	{
		if (strcmp(string_of(port, "name"), name) == 0)
			return port;
	}
	return NULL;
}

static void
check_socket(struct doctor *d, const char *name, const char *device, const json_t *queues)
{
	int of_port = socket_of_port(d, device);
	char command[2 * TEXT], list[TEXT];
	const json_t *q;
	size_t i;

	json_array_foreach(queues, i, q)
	{
		size_t w = (size_t)number_of(q, "worker");
		long long cpu = number_of(json_array_get(workers_of(d), w), "cpu");
		int of_cpu = socket_of_cpu(d, cpu);

		if (of_port < 0 || of_cpu < 0 || of_port == of_cpu)
			continue;
		(void)read_text(d, list, "sys/devices/system/node/node%d/cpulist", of_port);
		snprintf(command, sizeof(command),
			"set dataplane.worker_cpus to CPUs of %s in the configuration file, keeld "
			"--check FILE, systemctl restart keel",
			list);
		finding(d, "socket", command,
			"port %s is on socket %d, CPU %lld of socket %d polls its queue %zu", name,
			of_port, cpu, of_cpu, i);
	}
}

/* AF_XDP: queues that no worker reads, and interrupts between the polls. */
static void
check_interface(struct doctor *d, const char *name, const char *iface, size_t queues)
{
	unsigned present = entries(d, "rx-", "sys/class/net/%s/queues", iface);
	char command[PATH];

	if (present > queues) {
		snprintf(command, sizeof(command), "ethtool -L %s combined %zu", iface, queues);
		finding(d, "queues", command,
			"port %s: interface %s has %u receive queues, workers read %zu; packets on "
			"the others are not forwarded",
			name, iface, present, queues);
	}
	if (entries(d, "", "sys/class/net/%s/device", iface) == 0)
		return; /* no hardware, no interrupts */
	if (read_number(d, 1, "sys/class/net/%s/napi_defer_hard_irqs", iface) == 0 ||
		read_number(d, 1, "sys/class/net/%s/gro_flush_timeout", iface) == 0) {
		snprintf(command, sizeof(command),
			"echo 2 > /sys/class/net/%s/napi_defer_hard_irqs; echo 200000 > "
			"/sys/class/net/%s/gro_flush_timeout",
			iface, iface);
		finding(d, "busy-polling", command,
			"port %s: interrupts of %s are not deferred while a worker polls", name,
			iface);
	}
}

static void
check_ports(struct doctor *d)
{
	const json_t *port;
	size_t i;

	json_array_foreach(ports_of(d), i, port)
	{
		const char *name = string_of(port, "name"), *device = string_of(port, "device");
		const json_t *queues = json_object_get(port_stats(d, name), "queues");
		char iface[32];

		if (queues == NULL)
			continue;
		check_socket(d, name, device, queues);
		if (xdp_interface(device, iface))
			check_interface(d, name, iface, json_array_size(queues));
	}
}

/* ---- processes ---- */

/* A process with the name; 0: none. */
static long
process_named(const struct doctor *d, const char *name)
{
	char path[PATH], comm[TEXT];
	const struct dirent *e;
	long pid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/proc", d->root);
	dir = opendir(path);
	while (dir != NULL && pid == 0 && (e = readdir(dir)) != NULL)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
			read_text(d, comm, "proc/%s/comm", e->d_name) && strcmp(comm, name) == 0)
			pid = strtol(e->d_name, NULL, 10);
	if (dir != NULL)
		closedir(dir);
	return pid;
}

static void
check_forwarder(struct doctor *d)
{
	long pid = process_named(d, "keelfwd");

	if (pid != 0 && process_named(d, "keeld") == 0)
		finding(d, "forwarder", "systemctl restart keel",
			"keelfwd (pid %ld) runs without a keeld: it forwards with the last tables, "
			"if it had any",
			pid);
}

/* ---- the command ---- */

static void
findings_print(const json_t *findings)
{
	const json_t *f;
	size_t i;

	json_array_foreach(findings, i, f)
	{
		printf("%s: %s; mend: %s\n", string_of(f, "check"), string_of(f, "text"),
			string_of(f, "command"));
	}
	if (json_array_size(findings) == 0)
		puts("no fault found");
}

void
doctor_command(struct ctl *ctl, const struct command *c)
{
	const char *root = getenv("KEEL_ROOT");
	json_t *stats = ctl_try(ctl, "dataplane.stats", NULL);
	json_t *running = ctl_try(ctl, "config.get", json_pack("{s:s}", "source", "running"));
	struct doctor d = {.root = root != NULL ? root : "",
		.findings = json_array(),
		.stats = stats,
		.document = stats != NULL ? json_object_get(running, "document") : NULL};

	if (stats == NULL)
		fprintf(stderr,
			"keelctl: no daemon with a data plane at %s: ports and workers are not "
			"examined\n",
			ctl->socket);
	check_iommu(&d);
	check_hugepages(&d);
	check_isolated(&d);
	check_governor(&d);
	check_balancing(&d);
	check_ports(&d);
	check_neighbors(&d);
	check_forwarder(&d);
	if (ctl->json) {
		json_t *result = json_pack("{s:O}", "findings", d.findings);

		ctl_print_json(result, false);
		json_decref(result);
	} else {
		findings_print(d.findings);
	}
	if (json_array_size(d.findings) > 0)
		ctl->status = EXIT_REFUSED;
	json_decref(d.findings);
	json_decref(running);
	json_decref(stats);
}
