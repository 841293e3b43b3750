/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host/host_check.h"

#include "control/config/config.h"
#include "control/config/vrf_names.h"
#include "control/base/log.h"
#include "lpm/fib.h"
#include "lpm/table_v4.h"
#include "lpm/table_v6.h"
#include "dataplane/port/port.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLE_GROUP_BYTES 1024
/*
 * An internet table needs 2,000 groups; a table with longer prefixes under every /24 would need
 * more.
 */
#define TBL8_GROUPS_USEFUL 65536
#define MEMORY_MB_MAX 1048576u
/* Listeners, RPC, netlink, threads. */
#define DESCRIPTORS_OTHER 128u

struct host {
	struct config_host face; /* first: a pointer to `face` is a pointer to the struct */
	cpu_set_t cpus; /* allowed for threads */
	rlim_t descriptors;
};

/* ---- memory ---- */

size_t
host_table_memory(unsigned memory_mb)
{
	unsigned eal = 0;

	eal = dataplane_eal_mb(memory_mb);
	return memory_mb > eal ? (size_t)(memory_mb - eal) << 20 : 0;
}

/*
 * The first levels of both families, in two copies, come first. IPv4 gets half of the remaining
 * memory for longer prefixes, up to the limit of a table, and IPv6 gets the rest.
 */
uint32_t
host_table_groups(size_t memory)
{
	size_t first = 2 * (table_v4_bytes(0) + table_v6_bytes(0));
	size_t groups = memory > first ? (memory - first) / 4 / TABLE_GROUP_BYTES : 0;

	return groups == 0		     ? 1
	       : groups < TBL8_GROUPS_USEFUL ? (uint32_t)groups
					     : TBL8_GROUPS_USEFUL;
}

static bool
memory_suffices(unsigned memory_mb)
{
	size_t memory = host_table_memory(memory_mb);

	return fib_memory_check(memory, host_table_groups(memory)) == 0;
}

static void
check_memory(const struct config *c, struct faults *f)
{
	unsigned least = c->dataplane.memory_mb;

	if (memory_suffices(least))
		return;
	while (least < MEMORY_MB_MAX && !memory_suffices(least))
		least++;
	faults_add(f, "/dataplane/memory_mb",
		"%u is too little for EAL and the forwarding tables, which need %u",
		c->dataplane.memory_mb, least);
}

/* ---- processors ---- */

static bool
cpu_usable(const struct host *h, unsigned cpu)
{
	return cpu < CPU_SETSIZE && CPU_ISSET(cpu, &h->cpus);
}

static void
check_cpus(const struct host *h, const char *key, const unsigned *cpus, unsigned count,
	struct faults *f)
{
	char path[64];

	for (unsigned i = 0; i < count; i++) {
		if (cpu_usable(h, cpus[i]))
			continue;
		snprintf(path, sizeof(path), "/dataplane/%s/%u", key, i);
		faults_add(f, path, "CPU %u does not exist on this host, or keeld may not use it",
			cpus[i]);
	}
}

/*
 * Finds all allowed CPUs: a process with an affinity to few CPUs may still move threads to further
 * CPUs.
 */
static void
find_cpus(struct host *h)
{
	cpu_set_t was;

	if (sched_getaffinity(0, sizeof(was), &was) != 0)
		return;
	h->cpus = was;
	for (unsigned i = 0; i < CPU_SETSIZE; i++) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(i, &one);
		if (!CPU_ISSET(i, &was) && sched_setaffinity(0, sizeof(one), &one) == 0)
			CPU_SET(i, &h->cpus);
	}
	sched_setaffinity(0, sizeof(was), &was);
}

/* ---- descriptors ---- */

static void
raise_descriptors(struct host *h)
{
	struct rlimit limit;

	h->descriptors = RLIM_INFINITY;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	h->descriptors = limit.rlim_max;
	if (limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_event(LOG_WARNING, "descriptor-limit-not-raised hard=%llu error=\"%s\"",
			(unsigned long long)limit.rlim_max, strerror(errno));
}

static void
check_descriptors(const struct host *h, const struct config *c, struct faults *f)
{
	if (h->descriptors == RLIM_INFINITY || c->peer_count + DESCRIPTORS_OTHER <= h->descriptors)
		return;
	faults_add(f, "/bgp/peers",
		"%u peers need %u file descriptors; the hard limit of keeld is %llu "
		"(RLIMIT_NOFILE)",
		c->peer_count, c->peer_count + DESCRIPTORS_OTHER,
		(unsigned long long)h->descriptors);
}

/* ---- ports ---- */

static void
check_ports(const struct config *c, struct faults *f)
{
	for (unsigned i = 0; i < c->port_count; i++) {
		struct dataplane_error err;
		char path[32];

		if (port_host_check(c->ports[i].name, c->ports[i].device, &err) != 0) {
			snprintf(path, sizeof(path), "/ports/%u/name", i);
			faults_add(f, path, "%s", err.text);
		}
		if (port_mtu_check(c->ports[i].device, c->ports[i].mtu, &err) != 0) {
			snprintf(path, sizeof(path), "/ports/%u/mtu", i);
			faults_add(f, path, "%s", err.text);
		}
	}
}

/* ---- devices ---- */

void
host_check_devices(const struct config_host *host, const struct config *c,
	void (*warn)(void *ctx, const struct fault *f), void *ctx)
{
	struct dataplane_error err;
	struct faults f = {0};
	char path[32];

	for (unsigned i = 0; !host->no_dataplane && i < c->port_count; i++) {
		snprintf(path, sizeof(path), "/ports/%u/device", i);
		if (c->ports[i].vrf.v == VRF_DEFAULT.v &&
			port_device_check(c->ports[i].device, &err) != 0)
			faults_add(&f, path, "warning: %s", err.text);
	}
	for (unsigned i = 0; i < f.count; i++)
		warn(ctx, &f.fault[i]);
	faults_fini(&f);
}

/* ---- files ---- */

/* keeld may write the output directory, which a start makes. */
static void
check_output(const struct config *c, struct faults *f)
{
	const char *folder = c->output_dir;
	struct stat st;

	if (c->mrt_count == 0 || folder == NULL || (stat(folder, &st) != 0 && errno == ENOENT))
		return;
	if (stat(folder, &st) == 0 && !S_ISDIR(st.st_mode))
		faults_add(f, "/mrt", "%s is not a folder", folder);
	else if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0)
		faults_add(f, "/mrt", "keeld may not write the folder %s: %s", folder,
			strerrordesc_np(errno));
}

/* ---- interface ---- */

static void
check(const struct config_host *host, const struct config *c, struct faults *f)
{
	const struct host *h = (const struct host *)(const void *)host;

	check_cpus(h, "control_cpus", c->dataplane.control_cpus, c->dataplane.control_count, f);
	check_descriptors(h, c, f);
	check_output(c, f);
	if (host->no_dataplane)
		return;
	check_cpus(h, "worker_cpus", c->dataplane.worker_cpus, c->dataplane.worker_count, f);
	check_memory(c, f);
	check_ports(c, f);
}

struct config_host *
host_check_create(bool no_dataplane)
{
	struct host *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->face = (struct config_host){
		.vrf_names = vrf_names_create(), .no_dataplane = no_dataplane, .check = check};
	if (h->face.vrf_names == NULL) {
		free(h);
		return NULL;
	}
	find_cpus(h);
	raise_descriptors(h);
	return &h->face;
}

void
host_check_destroy(struct config_host *host)
{
	if (host == NULL)
		return;
	vrf_names_destroy(host->vrf_names);
	free(host);
}
