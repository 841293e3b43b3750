/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Start and end of the data plane: the arguments of EAL, CPUs and memory, and the state that the files of
 * ports share (dataplane_struct.h).
 */
#include "dataplane/port/port.h"
#include "dataplane/port/dataplane_struct.h"
#include "dataplane/port/port_pull.h"
#include "dataplane/forward/worker.h"
#include "dataplane/port/xdp.h"
#include "lpm/base/arena.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_mempool.h>
#include <rte_version.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void __attribute__((format(printf, 2, 3)))
eal_arg(struct eal_args *eal, const char *format, ...)
{
	va_list ap;
	int n;

	if (eal->argc == EAL_ARGS_MAX) {
		eal->overflow = true;
		return;
	}
	va_start(ap, format);
	n = vsnprintf(eal->text[eal->argc], EAL_ARG_LEN, format, ap);
	va_end(ap);
	eal->overflow |= n < 0 || n >= EAL_ARG_LEN;
	eal->argv[eal->argc] = eal->text[eal->argc];
	eal->argc++;
}

static unsigned long
read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long n = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%lu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

/* A number of pages of one size. */
static unsigned long
pages_of(const char *size, const char *which)
{
	char path[NAME_MAX + 64];

	(void)snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/%s/%s_hugepages", size, which);
	return read_number(path);
}

/* Free memory in hugepages of all sizes, without the pages that other processes have reserved. */
static unsigned
free_huge_mb(void)
{
	DIR *d = opendir("/sys/kernel/mm/hugepages");
	unsigned long kb = 0;
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		unsigned long page_kb, available, reserved;

		if (sscanf(e->d_name, "hugepages-%lukB", &page_kb) != 1)
			continue;
		available = pages_of(e->d_name, "free");
		reserved = pages_of(e->d_name, "resv");
		kb += available > reserved ? (available - reserved) * page_kb : 0;
	}
	if (d != NULL)
		closedir(d);
	return (unsigned)(kb / 1024);
}

/* Maps lcore ids to CPUs: "0@MAIN,1@W0,2@W1". Worker i is lcore i + 1 on any CPU. */
static void
add_lcores(struct eal_args *eal, const struct dataplane_config *c)
{
	char text[EAL_ARG_LEN];
	size_t used = (size_t)snprintf(text, sizeof(text), "0@%u", c->control_cpus[0]);

	for (unsigned i = 0; i < c->worker_count && used < sizeof(text); i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, ",%u@%u", i + 1, c->worker_cpus[i]);
	eal->overflow |= used >= sizeof(text);
	eal_arg(eal, "--lcores=%s", text);
}

static bool
has_eal_arg(const struct dataplane_config *c, const char *arg)
{
	for (unsigned i = 0; i < c->eal_arg_count; i++)
		if (strcmp(c->eal_args[i], arg) == 0)
			return true;
	return false;
}

static void
build_eal_args(struct eal_args *eal, const struct dataplane_config *c, unsigned mb, bool huge)
{
	eal_arg(eal, "keeld");
	add_lcores(eal, c);
	eal_arg(eal, "--file-prefix=%s", c->name);
	/* Allows several processes, and leaves no files on disk. --in-memory excludes --no-huge. */
	if (huge) {
		eal_arg(eal, "--in-memory");
	} else {
		eal_arg(eal, "--no-huge");
		eal_arg(eal, "--no-shconf");
	}
	eal_arg(eal, "-m");
	eal_arg(eal, "%u", mb);
	eal_arg(eal, "--no-telemetry");
	/*
	 * An allow list without a real device: EAL must not probe other devices. port_add() probes
	 * each port.
	 */
	eal_arg(eal, "-a");
	eal_arg(eal, "0000:00:00.0");
	for (unsigned i = 0; i < c->eal_arg_count; i++)
		eal_arg(eal, "%s", c->eal_args[i]);
}

/*
 * Before rte_eal_init(), because EAL's own threads get the CPUs of the caller without the CPUs of the
 * lcores; if no CPU is left, the CPU of the main lcore. After rte_eal_init(), because EAL bound the
 * caller to the CPU of the main lcore.
 */
static void
use_control_cpus(const struct dataplane_config *c)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned i = 0; i < c->control_count; i++)
		CPU_SET(c->control_cpus[i], &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static int
check_config(const struct dataplane_config *c, struct dataplane_error *err)
{
	if (dp != NULL)
		return dataplane_fail(err, -EALREADY, "the data plane is already running");
	if (c->worker_count == 0 || c->worker_count >= RTE_MAX_LCORE)
		return dataplane_fail(
			err, -EINVAL, "worker_cpus: must name 1 to %u CPUs", RTE_MAX_LCORE - 1);
	if (c->control_count == 0)
		return dataplane_fail(err, -EINVAL, "control_cpus: must name at least one CPU");
	return 0;
}

static void
memory_free(struct dataplane *d)
{
	if (d != NULL && d->shared != NULL)
		arena_free(d->shared, d);
	else
		free(d);
}

static int
create(const struct dataplane_config *c, struct dataplane **out)
{
	struct dataplane *d =
		c->shared != NULL ? arena_calloc(c->shared, sizeof(*d)) : calloc(1, sizeof(*d));

	if (d != NULL)
		d->shared = c->shared;
	if (d == NULL || port_watches_create() != 0 || xdp_create(&d->xdp) != 0) {
		port_watches_destroy();
		memory_free(d);
		return -ENOMEM;
	}
	d->eal_mb = dataplane_eal_mb(c->memory_mb);
	d->worker_count = c->worker_count;
	for (unsigned i = 0; i < c->worker_count; i++)
		d->worker_cpu[i] = c->worker_cpus[i];
	d->host_limits = c->host_limits;
	(void)snprintf(d->object_path, sizeof(d->object_path), "%s/keel_xdp.bpf.o", c->run_dir);
	xdp_notes(d->xdp, c->run_dir);
	*out = d;
	return 0;
}

static void
destroy(struct dataplane *d)
{
	port_watches_destroy();
	xdp_destroy(d->xdp);
	memory_free(d);
}

int
dataplane_init(const struct dataplane_config *c, bool *huge, struct dataplane_error *err)
{
	int rc = check_config(c, err);
	struct dataplane *d;

	if (rc != 0)
		return rc;
	if (create(c, &d) != 0)
		return dataplane_fail(err, -ENOMEM, "no memory for the data plane");
	*huge = free_huge_mb() >= d->eal_mb && !has_eal_arg(c, "--no-huge");
	build_eal_args(&d->eal, c, d->eal_mb, *huge);
	if (d->eal.overflow) {
		destroy(d);
		return dataplane_fail(err, -E2BIG,
			"eal_args: too many or too long: at most %u arguments of %u bytes in all",
			EAL_ARGS_MAX, EAL_ARG_LEN - 1);
	}
	(void)rte_openlog_stream(c->messages != NULL ? c->messages : stderr);
	xdp_messages(c->messages != NULL ? c->messages : stderr);
	rte_log_set_global_level(RTE_LOG_WARNING);
	use_control_cpus(c);
	if (rte_eal_init(d->eal.argc, d->eal.argv) < 0) {
		rc = rte_errno > 0 ? -rte_errno : -EIO;
		use_control_cpus(c);
		dataplane_fail(err, rc,
			"DPDK's EAL did not start: %s (%s, %u MB; its messages give the reason)",
			rte_strerror(-rc), *huge ? "hugepages" : "no hugepages", d->eal_mb);
		destroy(d);
		return rc;
	}
	use_control_cpus(c);
	dp = d;
	port_pools_plan(c);
	(void)port_pulls_watch(); /* without memory a pulled device waits for the end of the process */
	return 0;
}

void
dataplane_fini(void)
{
	if (dp == NULL)
		return;
	port_pulls_unwatch();
	workers_stop();
	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (dp->open[i] && dp->port[i].vlan.outer != 0) {
			port_hide((uint16_t)i);
			port_vlan_tell(&dp->port[i], false);
			port_end(&dp->port[i]);
		}
	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (dp->open[i] && dp->port[i].vlan.outer == 0)
			port_end(&dp->port[i]);
	xdp_destroy(dp->xdp);
	dp->xdp = NULL;
	for (unsigned i = 0; i < POOLS; i++)
		rte_mempool_free(dp->pool[i]);
	rte_mempool_free(dp->own_pool);
	if (dp->object_written)
		(void)unlink(dp->object_path);
	(void)rte_eal_cleanup();
	/*
	 * EAL creates a directory per process and does not remove it; it is empty because no files
	 * are on disk.
	 */
	(void)rmdir(rte_eal_get_runtime_dir());
	destroy(dp);
	dp = NULL;
}

const char *
dataplane_dpdk_version(void)
{
	return rte_version();
}

unsigned
dataplane_worker_count(void)
{
	return dp->worker_count;
}

unsigned
dataplane_worker_cpu(unsigned worker)
{
	return dp->worker_cpu[worker];
}
