/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port.h"
#include "dataplane/forwarder.h"
#include "dataplane/host_peers.h"
#include "dataplane/icmp.h"
#include "dataplane/port_impl.h"
#include "dataplane/port_pull.h"
#include "dataplane/port_struct.h"
#include "dataplane/tap.h"
#include "dataplane/worker.h"
#include "dataplane/xdp.h"
#include "dataplane/xdp_buffers.h"
#include "lpm/arena.h"

#include <dirent.h>
#include <limits.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <pthread.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_version.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif

#define EAL_ARGS_MAX 64
#define EAL_ARG_LEN 256
#define EAL_MB_MIN 64
#define EAL_MB_MAX 512
#define EAL_MB_OTHER 16 /* memory of EAL and drivers besides packet buffers */
/*
 * Room for a 1,500-byte frame after the mbuf's headroom and the 256 bytes that XDP reserves.
 * Header and mbuf together stay well below a page, the limit of an AF_XDP buffer.
 */
#define XDP_HEADROOM 256
#define MBUF_DATA_ROOM (RTE_PKTMBUF_HEADROOM + XDP_HEADROOM + 2048)
/* Buffers of ports with a larger MTU, for whole frames with a VLAN tag: no driver has to chain them. */
#define LARGE_DATA_ROOM (RTE_PKTMBUF_HEADROOM + PORT_MTU_MAX + 64)
#define MBUF_CACHE 512
#define OWN_MBUFS 1023
#define MBUFS_MAX 131071
static_assert(MBUF_DATA_ROOM - RTE_PKTMBUF_HEADROOM >= WORKER_INJECT_MAX + 14, "fits a buffer");
#define RING_SIZE 2048 /* a power of two, as AF_XDP requires */
/*
 * An AF_XDP queue keeps three rings filled with buffers. Without enough buffers the queue loses
 * packets.
 */
#define QUEUE_MBUFS_XDP (3u * RING_SIZE)

/* Command line for EAL, which keeps pointers to the arguments. */
struct eal_args {
	char text[EAL_ARGS_MAX][EAL_ARG_LEN];
	char *argv[EAL_ARGS_MAX + 1];
	int argc;
	bool overflow;
};

/* Created by dataplane_init(), destroyed by dataplane_fini(). Main writes; other threads read. */
struct dataplane {
	struct arena *shared; /* of this struct; NULL: malloc() */
	unsigned eal_mb;
	unsigned worker_count;
	unsigned worker_cpu[RTE_MAX_LCORE];
	char object_path[256]; /* path of the XDP object, for the driver */
	bool object_written;
	/* soft_pool: for vdevs; hard_pool: for devices that access memory by DMA, by NUMA socket. */
	struct rte_mempool *soft_pool, *hard_pool[RTE_MAX_NUMA_NODES];
	struct rte_mempool *soft_large, *hard_large[RTE_MAX_NUMA_NODES];
	bool large; /* half of the memory is for large buffers */
	struct rte_mempool *own_pool; /* not for ports: see port_own_pool() */
	struct xdp *xdp;
	struct icmp_sources icmp_sources;
	struct host_limits host_limits;
	struct host_peers host_peers;
	struct port port[PORTS_MAX];
	_Atomic unsigned port_count; /* the highest number in use so far, plus 1 */
	/* Other threads may read the port. Writer: see port_show(). */
	_Atomic bool shown[PORTS_MAX];
	bool open[PORTS_MAX], served[PORTS_MAX]; /* main: has a device; workers use it */
	struct eal_args eal;
};

/* At file scope, because a process has one EAL with one set of ethdev ports. NULL: no data plane. */
static struct dataplane *dp;

int
dataplane_fail(struct dataplane_error *err, int rc, const char *format, ...)
{
	va_list ap;

	if (err == NULL)
		return rc;
	va_start(ap, format);
	(void)vsnprintf(err->text, sizeof(err->text), format, ap);
	va_end(ap);
	return rc;
}

/* ---- EAL ---- */

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

unsigned
dataplane_eal_mb(unsigned memory_mb)
{
	unsigned mb = memory_mb / 4;

	return mb < EAL_MB_MIN ? EAL_MB_MIN : mb > EAL_MB_MAX ? EAL_MB_MAX : mb;
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
	d->large = c->large_buffers;
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

const struct dataplane *
dataplane_address(void)
{
	return dp;
}

void
dataplane_adopt(const struct dataplane *d)
{
	/* only read: forwarder_is_used() stands before each change */
	dp = (struct dataplane *)(uintptr_t)d;
}

size_t
port_layout(void)
{
	return sizeof(struct dataplane) * 4096 + sizeof(struct port) * 64 +
	       offsetof(struct dataplane, port_count) % 64;
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
	(void)port_pulls_watch(); /* without memory a pulled device waits for the end of the process */
	return 0;
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

/* ---- packet buffers ---- */

static unsigned
pool_size(uint16_t room)
{
	size_t object = sizeof(struct rte_mbuf) + room + 4 * RTE_CACHE_LINE_SIZE;
	size_t bytes = (size_t)(dp->eal_mb - EAL_MB_OTHER) << 20, n;

	if (dp->large) { /* the own pool has large buffers, too */
		bytes -= (size_t)OWN_MBUFS * (LARGE_DATA_ROOM - MBUF_DATA_ROOM);
		bytes /= 2;
	}
	n = bytes / object;
	return n > MBUFS_MAX ? MBUFS_MAX : (unsigned)n;
}

/*
 * AF_XDP's driver maps only the first memory chunk of a pool, so the pool must have a single chunk.
 * A pool has a single chunk if its objects need not be IOVA-contiguous; software ports do not need
 * contiguous objects.
 */
static struct rte_mempool *
soft_pool_create(const char *name, uint16_t room)
{
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = room};
	struct rte_mempool *pool =
		rte_mempool_create_empty(name, pool_size(room), sizeof(struct rte_mbuf) + room,
			MBUF_CACHE, sizeof(private), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);

	if (pool == NULL)
		return NULL;
	if (rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL) != 0)
		goto fail;
	rte_pktmbuf_pool_init(pool, &private);
	if (rte_mempool_populate_default(pool) < 0)
		goto fail;
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
fail:
	rte_mempool_free(pool);
	return NULL;
}

/* The NUMA socket of a device; a device without a socket has socket 0. */
static unsigned
socket_of(const struct port *p)
{
	int socket = rte_eth_dev_socket_id(p->ethdev);

	return socket > 0 && socket < RTE_MAX_NUMA_NODES ? (unsigned)socket : 0;
}

/* A pool on the socket of the device, or where memory is left. */
static struct rte_mempool *
hard_pool(unsigned socket, bool large)
{
	struct rte_mempool **pool = large ? &dp->hard_large[socket] : &dp->hard_pool[socket];
	uint16_t room = large ? LARGE_DATA_ROOM : MBUF_DATA_ROOM;
	unsigned sockets = rte_socket_count(), size = pool_size(room) / (sockets > 0 ? sockets : 1);
	char name[RTE_MEMPOOL_NAMESIZE];

	if (*pool != NULL)
		return *pool;
	(void)snprintf(name, sizeof(name), "keel_%s%u", large ? "large" : "hard", socket);
	*pool = rte_pktmbuf_pool_create(name, size, MBUF_CACHE, 0, room, (int)socket);
	if (*pool == NULL)
		*pool = rte_pktmbuf_pool_create(name, size, MBUF_CACHE, 0, room, SOCKET_ID_ANY);
	return *pool;
}

static struct rte_mempool *
pool_for(const struct port *p, bool soft)
{
	if (!soft)
		return hard_pool(socket_of(p), p->large);
	if (p->large) {
		if (dp->soft_large == NULL)
			dp->soft_large = soft_pool_create("keel_soft_large", LARGE_DATA_ROOM);
		return dp->soft_large;
	}
	if (dp->soft_pool == NULL)
		dp->soft_pool = soft_pool_create("keel_soft", MBUF_DATA_ROOM);
	return dp->soft_pool;
}

/* Devices that access memory by DMA cannot send buffers of the soft pools. */
struct rte_mempool *
port_copy_pool(void)
{
	for (unsigned i = 0; i < RTE_MAX_NUMA_NODES; i++)
		if (dp->hard_large[i] != NULL)
			return dp->hard_large[i];
	for (unsigned i = 0; i < RTE_MAX_NUMA_NODES; i++)
		if (dp->hard_pool[i] != NULL)
			return dp->hard_pool[i];
	return dp->soft_large != NULL ? dp->soft_large : dp->soft_pool;
}

struct rte_mempool *
port_own_pool(void)
{
	if (dp->own_pool == NULL)
		dp->own_pool = rte_pktmbuf_pool_create("keel_own", OWN_MBUFS, 0, 0,
			dp->large ? LARGE_DATA_ROOM : MBUF_DATA_ROOM, SOCKET_ID_ANY);
	return dp->own_pool;
}

/* ---- ports ---- */

bool
device_argument(const char *device, const char *key, char *out, size_t size)
{
	size_t key_len = strlen(key), len;
	const char *p = device;

	while ((p = strchr(p, ',')) != NULL) {
		p++;
		if (strncmp(p, key, key_len) != 0 || p[key_len] != '=')
			continue;
		p += key_len + 1;
		len = strcspn(p, ",");
		if (len >= size)
			return false;
		memcpy(out, p, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

/* Adds default arguments for AF_XDP: the XDP program and a single queue. */
static int
complete_device(
	struct port *p, const char *device, char *out, size_t size, struct dataplane_error *err)
{
	char value[256];
	int n;

	if (!p->xdp) {
		n = snprintf(out, size, "%s", device);
	} else {
		bool queue = device_argument(device, "start_queue", value, sizeof(value));
		bool count = device_argument(device, "queue_count", value, sizeof(value));

		p->own_program = !device_argument(device, "xdp_prog", value, sizeof(value));
		n = snprintf(out, size, "%s%s%s%s%s", device, queue ? "" : ",start_queue=0",
			count ? "" : ",queue_count=1", p->own_program ? ",xdp_prog=" : "",
			p->own_program ? dp->object_path : "");
	}
	if (n < 0 || (size_t)n >= size)
		return dataplane_fail(err, -EINVAL,
			"port %s: the device arguments are too long: at most %zu bytes with "
			"defaults",
			p->name, size - 1);
	return 0;
}

bool
device_is(const char *device, const char *driver)
{
	return strncmp(device, driver, strlen(driver)) == 0;
}

static bool
is_af_xdp(const char *device)
{
	return device_is(device, "net_af_xdp");
}

void
port_interface(const struct port_config *c, char out[PORT_NAME_MAX])
{
	if (port_kernel_of(c->device) != PORT_KERNEL_OWN ||
		!device_argument(c->device, "iface", out, PORT_NAME_MAX))
		(void)snprintf(out, PORT_NAME_MAX, "%s", c->name);
}

const struct netns *
port_netns(const struct port *p)
{
	return p->netns.fd >= 0 ? &p->netns : NULL;
}

/* The receive queues of a kernel interface. */
static unsigned
interface_queues(const char *iface)
{
	struct ethtool_channels c = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq r = {.ifr_data = (void *)&c};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned n = 0;

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", iface);
	if (fd >= 0 && ioctl(fd, SIOCETHTOOL, &r) == 0)
		n = c.combined_count + c.rx_count;
	if (fd >= 0)
		close(fd);
	return n > 0 ? n : 1;
}

/*
 * A packet in a receive queue without socket would be lost, so a port needs all queues, unless the
 * device names its queues.
 */
static int
choose_xdp_queues(struct port *p, const char *device, unsigned queues, struct dataplane_error *err)
{
	char value[256];
	unsigned buffers;

	p->own_queues = 1;
	if (device_argument(device, "xdp_prog", value, sizeof(value)) ||
		device_argument(device, "start_queue", value, sizeof(value)) ||
		device_argument(device, "queue_count", value, sizeof(value)))
		return 0;
	p->own_queues = interface_queues(p->iface);
	buffers = dp->soft_pool != NULL ? rte_mempool_avail_count(dp->soft_pool)
					: pool_size(MBUF_DATA_ROOM);
	if (p->own_queues > PORT_QUEUES_MAX || (queues > 0 && queues < p->own_queues))
		return dataplane_fail(err, -EINVAL,
			"port %s: %s has %u receive queues, and the port would use %u: set the "
			"number with `ethtool -L %s`",
			p->name, p->iface, p->own_queues, queues > 0 ? queues : PORT_QUEUES_MAX,
			p->iface);
	if (p->own_queues > 1 && p->own_queues * QUEUE_MBUFS_XDP > buffers)
		return dataplane_fail(err, -ENOMEM,
			"port %s: %s has %u receive queues, and there are packet buffers for %u: "
			"set the number with `ethtool -L %s`%s",
			p->name, p->iface, p->own_queues, buffers / QUEUE_MBUFS_XDP, p->iface,
			pool_size(MBUF_DATA_ROOM) < MBUFS_MAX ? ", or raise /dataplane/memory_mb"
							      : "");
	return 0;
}

static int
reserve_interface(struct port *p, const char *device, unsigned queues, struct dataplane_error *err)
{
	char count[16];
	int rc;

	if (!device_argument(device, "iface", p->iface, sizeof(p->iface)))
		return dataplane_fail(
			err, -EINVAL, "port %s: net_af_xdp needs iface=NAME", p->name);
	if (device_argument(device, "queue_count", count, sizeof(count)) && strcmp(count, "1") != 0)
		return dataplane_fail(err, -ENOTSUP,
			"port %s: queue_count other than 1 is not supported in this version (see "
			"ethtool -L)",
			p->name);
	p->ifindex = if_nametoindex(p->iface);
	if (p->ifindex == 0)
		return dataplane_fail(
			err, -ENODEV, "port %s: interface %s does not exist", p->name, p->iface);
	rc = choose_xdp_queues(p, device, queues, err);
	if (rc != 0)
		return rc;
	if (!dp->object_written) {
		rc = xdp_write_object(dp->object_path);
		if (rc != 0)
			return dataplane_fail(err, rc, "port %s: %s: %s", p->name, dp->object_path,
				strerror(-rc));
		dp->object_written = true;
	}
	rc = xdp_reserve(dp->xdp, p->ifindex, err);
	p->reserved = rc == 0;
	return rc == 0 ? port_queues_check(p, device, err) : rc;
}

/*
 * Removes the socket file of a net_memif server that was killed, as long as no process listens there.
 * The driver refuses a file that exists.
 */
static void
clear_socket(const char *device)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char text[16];
	int fd;

	if (strncmp(device, "net_memif", strlen("net_memif")) != 0 ||
		!device_argument(device, "role", text, sizeof(text)) ||
		strcmp(text, "server") != 0 ||
		!device_argument(device, "socket-abstract", text, sizeof(text)) ||
		strcmp(text, "no") != 0 ||
		!device_argument(device, "socket", a.sun_path, sizeof(a.sun_path)))
		return;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0 && errno == ECONNREFUSED)
		(void)unlink(a.sun_path);
	if (fd >= 0)
		close(fd);
}

static int
probe(struct port *p, const char *device, const char *full, bool *soft, struct dataplane_error *err)
{
	struct rte_devargs da = {0};
	int rc;

	if (rte_devargs_parse(&da, full) != 0)
		return dataplane_fail(err, -EINVAL, "port %s: DPDK does not know the device \"%s\"",
			p->name, device);
	*soft = strcmp(rte_bus_name(da.bus), "vdev") == 0;
	clear_socket(full);
	rc = rte_dev_probe(full);
	if (rc == 0)
		rc = rte_eth_dev_get_port_by_name(da.name, &p->ethdev);
	free(da.data);
	if (rc != 0)
		return dataplane_fail(err, rc == -1 ? -ENODEV : rc,
			"port %s: DPDK could not open \"%s\" (its messages give the reason)",
			p->name, device);
	return 0;
}

/* The largest MTU that ethdev accepts for the device. */
static uint16_t
ethdev_mtu_max(const struct rte_eth_dev_info *info)
{
	bool pair = info->max_mtu != UINT16_MAX && info->max_rx_pktlen > info->max_mtu;
	uint32_t overhead =
		pair ? info->max_rx_pktlen - info->max_mtu : RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	uint32_t most = info->max_rx_pktlen > overhead ? info->max_rx_pktlen - overhead : 0;

	return (uint16_t)(most < info->max_mtu ? most : info->max_mtu);
}

static int
configure(struct port *p, const struct rte_eth_dev_info *info, unsigned queues,
	struct dataplane_error *err)
{
	struct rte_eth_conf conf = {0};
	int rc;

	if (queues == 0)
		queues = dp->worker_count < PORT_QUEUES_MAX ? dp->worker_count : PORT_QUEUES_MAX;
	p->rx_queues = queues < info->max_rx_queues ? queues : info->max_rx_queues;
	p->tx_queues = queues < info->max_tx_queues ? queues : info->max_tx_queues;
	if (p->xdp) /* the driver requires pairs of queues */
		p->rx_queues = p->tx_queues =
			p->rx_queues < p->tx_queues ? p->rx_queues : p->tx_queues;
	if (p->rx_queues == 0 || p->tx_queues == 0)
		return dataplane_fail(err, -ENODEV, "port %s: the device has no queues", p->name);
	if (p->mtu > p->mtu_max || p->mtu < info->min_mtu)
		return dataplane_fail(err, -EINVAL,
			"port %s: MTU %u is outside the device's range of %u to %u", p->name,
			p->mtu, info->min_mtu, p->mtu_max);
	/* Header checksums, if the device can check them; workers evaluate the result. */
	conf.rxmode.offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	conf.rxmode.mtu = p->mtu < p->mtu_driver ? p->mtu : p->mtu_driver;
	/* Without RSS the device, or the far end of its wire, chooses the queue. */
	if (p->rx_queues > 1 && info->flow_type_rss_offloads != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			info->flow_type_rss_offloads &
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	}
	/*
	 * Without interrupts of the link: with them a poll returns the state of the last interrupt,
	 * and net_e1000_em gets none where vfio uses MSI-X.
	 */
	conf.intr_conf.rmv = (*info->dev_flags & RTE_ETH_DEV_INTR_RMV) != 0;
	rc = rte_eth_dev_configure(
		p->ethdev, (uint16_t)p->rx_queues, (uint16_t)p->tx_queues, &conf);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: the driver refused the configuration: %s",
			p->name, strerror(-rc));
	return 0;
}

static int
setup_queues(struct port *p, struct rte_mempool *pool, struct dataplane_error *err)
{
	uint16_t rx = RING_SIZE, tx = RING_SIZE;
	int rc, socket = rte_eth_dev_socket_id(p->ethdev);

	rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->ethdev, &rx, &tx);
	for (unsigned q = 0; rc == 0 && q < p->rx_queues; q++)
		rc = rte_eth_rx_queue_setup(
			p->ethdev, (uint16_t)q, rx, (unsigned)socket, NULL, pool);
	for (unsigned q = 0; rc == 0 && q < p->tx_queues; q++)
		rc = rte_eth_tx_queue_setup(p->ethdev, (uint16_t)q, tx, (unsigned)socket, NULL);
	if (rc != 0) /* of AF_XDP: -EINVAL without a reason, mostly that a queue is in use */
		return dataplane_fail(err, p->xdp ? -EBUSY : rc,
			"port %s: the driver refused the queues: %s (its messages give the reason)",
			p->name, strerror(-rc));
	return 0;
}

static bool
is_xdp_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_XDP;
}

static bool
has_socket(const struct port *p, int fd)
{
	bool has = p->xdp_socket == fd;

	for (unsigned i = 0; i < p->more_count; i++)
		has |= p->more[i].socket == fd;
	return has;
}

/*
 * Returns the AF_XDP socket of the newest port, or -1. The driver opens the sockets and gives no
 * access to them, so this function searches the descriptors of the process for the only AF_XDP
 * socket that no earlier port has.
 */
static int
find_xdp_socket(void)
{
	DIR *d = opendir("/proc/self/fd");
	int found = -1;
	struct dirent *e;

	while (d != NULL && found < 0 && (e = readdir(d)) != NULL) {
		char *end;
		long fd = strtol(e->d_name, &end, 10);
		int domain = 0;
		socklen_t len = sizeof(domain);
		bool known = false;

		if (*end != '\0' || end == e->d_name)
			continue;
		if (getsockopt((int)fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 ||
			domain != AF_XDP)
			continue;
		for (unsigned i = 0; i < PORTS_MAX; i++)
			known |= dp->open[i] && has_socket(&dp->port[i], (int)fd);
		if (!known)
			found = (int)fd;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

/*
 * Without busy polling the driver silently uses poll() with up to a second; the worker would
 * forward nothing meanwhile, and delay every grace period.
 */
static int
check_busy_poll(struct port *p, struct dataplane_error *err)
{
	int on = 0;
	socklen_t len = sizeof(on);

	p->xdp_socket = find_xdp_socket();
	if (p->xdp_socket < 0)
		return dataplane_fail(
			err, -EIO, "port %s: the driver has no AF_XDP socket", p->name);
	if (getsockopt(p->xdp_socket, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, &len) != 0 || on != 1)
		return dataplane_fail(err, -EOPNOTSUPP,
			"port %s: no busy polling on %s (SO_PREFER_BUSY_POLL), so the driver would "
			"sleep: needs Linux 5.11, CAP_NET_ADMIN and busy_budget above 0",
			p->name, p->iface);
	return 0;
}

/* Workers would forward frames with a stripped tag out of their VLAN. */
static int
check_vlan_strip(const struct port *p, struct dataplane_error *err)
{
	int strip = RTE_ETH_VLAN_STRIP_OFFLOAD | RTE_ETH_QINQ_STRIP_OFFLOAD;
	int on = rte_eth_dev_get_vlan_offload(p->ethdev);

	if (on > 0 && (on & strip) != 0 &&
		rte_eth_dev_set_vlan_offload(p->ethdev, on & ~strip) == 0)
		on = rte_eth_dev_get_vlan_offload(p->ethdev);
	if (on > 0 && (on & strip) != 0)
		return dataplane_fail(err, -ENOTSUP,
			"port %s: the driver removes VLAN tags from frames, which cannot be "
			"switched off",
			p->name);
	return 0;
}

/* relaxed: a single value without dependent data */
static void
mac_store(struct port *p, const uint8_t mac[6])
{
	uint64_t word = 0;

	memcpy(&word, mac, 6);
	atomic_store_explicit(&p->mac, word, memory_order_relaxed);
}

static int
start(struct port *p, struct dataplane_error *err)
{
	struct rte_ether_addr mac;
	/* Some drivers ignore the MTU of the configuration, others refuse this call. */
	int rc = p->mtu_given && p->mtu <= p->mtu_driver ? rte_eth_dev_set_mtu(p->ethdev, p->mtu)
							 : 0;

	if (rc != 0 && rc != -ENOTSUP)
		return dataplane_fail(err, rc, "port %s: the driver refused MTU %u: %s", p->name,
			p->mtu, strerror(-rc));
	rc = rte_eth_dev_start(p->ethdev);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: the driver did not start the device: %s",
			p->name, strerror(-rc));
	rc = rte_eth_macaddr_get(p->ethdev, &mac);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: the driver has no MAC address: %s",
			p->name, strerror(-rc));
	if (rte_is_zero_ether_addr(&mac)) /* net_ring has no address */
		rte_eth_random_addr(mac.addr_bytes);
	mac_store(p, mac.addr_bytes);
	return 0;
}

/* Reads the link from the kernel, by index: the interface may have been renamed. */
static int
kernel_link(unsigned ifindex, uint8_t mac[6], uint16_t *mtu)
{
	struct ifreq r = {.ifr_flags = 0};
	int rc = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (if_indextoname(ifindex, r.ifr_name) == NULL || ioctl(fd, SIOCGIFHWADDR, &r) != 0) {
		rc = -errno;
		goto out;
	}
	memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFMTU, &r) != 0)
		rc = -errno;
	else
		*mtu = (uint16_t)(r.ifr_mtu < UINT16_MAX ? r.ifr_mtu : UINT16_MAX);
out:
	close(fd);
	return rc;
}

/* The longest IP packet that fits into a packet buffer. */
#define ROOM_PLAIN (MBUF_DATA_ROOM - RTE_PKTMBUF_HEADROOM - ETHER_LEN)
#define ROOM_XDP (ROOM_PLAIN - XDP_HEADROOM)

/* The same for the buffers of the port. */
static uint16_t
packet_room(const struct port *p)
{
	return p->large ? PORT_MTU_MAX : p->xdp ? ROOM_XDP : ROOM_PLAIN;
}

int
port_mtu_check(const char *device, uint16_t mtu, struct dataplane_error *err)
{
	if (!is_af_xdp(device) || mtu <= ROOM_XDP)
		return 0;
	return dataplane_fail(err, -EINVAL,
		"MTU %u is above %u, the limit of net_af_xdp, whose frames have one buffer each; "
		"devices that are bound to DPDK (keel-nic) have a limit of %u",
		mtu, ROOM_XDP, PORT_MTU_MAX);
}

bool
port_is_large(const struct port_config *c)
{
	char iface[IFNAMSIZ];
	uint16_t mtu = c->mtu;
	uint8_t mac[6];

	if (mtu == 0 && port_kernel_of(c->device) == PORT_KERNEL_OWN &&
		device_argument(c->device, "iface", iface, sizeof(iface)))
		(void)kernel_link(if_nametoindex(iface), mac, &mtu);
	return !is_af_xdp(c->device) && mtu > ROOM_PLAIN;
}

/*
 * Without a configured MTU, uses the interface's MTU, limited by the device and the size of packet
 * buffers.
 */
static int
choose_mtu(struct port *p, const char *device, struct dataplane_error *err)
{
	struct dataplane_error reason;
	uint16_t own = 0, wanted, room;
	uint8_t mac[6];
	int rc;

	rc = p->ifindex != 0 ? kernel_link(p->ifindex, mac, &own)
			     : rte_eth_dev_get_mtu(p->ethdev, &own);
	if (rc != 0 && !p->mtu_given)
		return dataplane_fail(
			err, rc, "port %s: the MTU cannot be read: %s", p->name, strerror(-rc));
	wanted = p->mtu_given ? atomic_load_explicit(&p->mtu, memory_order_relaxed) : own;
	p->large = dp->large && !p->xdp && wanted > ROOM_PLAIN;
	room = packet_room(p);
	rc = p->mtu_given ? port_mtu_check(device, wanted, &reason) : 0;
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: %s", p->name, reason.text);
	if (p->mtu_given && wanted > room)
		return dataplane_fail(err, -ENOMEM,
			"port %s: MTU %u is above %u, the limit of the packet buffers; keeld makes "
			"larger buffers at its start: restart keeld",
			p->name, wanted, room);
	if (p->mtu_max > room)
		p->mtu_max = room;
	if (!p->mtu_given) {
		p->mtu_own = own;
		p->mtu = own < p->mtu_max ? own : p->mtu_max;
	}
	return 0;
}

static int
port_start(
	struct port *p, const char *device, bool soft, unsigned queues, struct dataplane_error *err)
{
	struct rte_eth_dev_info info;
	struct rte_mempool *pool;
	int rc = rte_eth_dev_info_get(p->ethdev, &info);

	if (rc != 0)
		return dataplane_fail(err, rc,
			"port %s: the driver does not report its capabilities: %s", p->name,
			strerror(-rc));
	p->mtu_driver = ethdev_mtu_max(&info);
	/* net_memif transfers frames of any length, and has no MTU; ethdev accepts 1,500. */
	p->mtu_max = device_is(device, "net_memif") ? PORT_MTU_MAX : p->mtu_driver;
	p->chains = device_is(device, "net_memif") || device_is(device, "net_pcap");
	if (port_kernel_of(device) == PORT_KERNEL_OWN && !p->xdp)
		p->ifindex = info.if_index;
	if (device_is(device, "net_tap"))
		p->tap_ifindex = info.if_index;
	rc = choose_mtu(p, device, err);
	if (rc != 0)
		return rc;
	pool = pool_for(p, soft);
	if (pool == NULL)
		return dataplane_fail(err, -ENOMEM,
			"port %s: no memory for packet buffers in %u MB: raise "
			"/dataplane/memory_mb",
			p->name, dp->eal_mb);
	if (p->xdp && rte_mempool_avail_count(pool) < QUEUE_MBUFS_XDP)
		return dataplane_fail(err, -ENOMEM,
			"port %s: %u packet buffers left, %u needed: raise /dataplane/memory_mb",
			p->name, rte_mempool_avail_count(pool), QUEUE_MBUFS_XDP);
	rc = configure(p, &info, queues, err);
	if (rc == 0)
		rc = setup_queues(p, pool, err);
	if (rc == 0)
		rc = start(p, err);
	if (rc == 0)
		rc = check_vlan_strip(p, err);
	if (rc == 0 && p->xdp)
		rc = check_busy_poll(p, err);
	return rc;
}

/*
 * Some devices use less of a buffer than there is, and put a large frame into several: net_e1000_em
 * takes 8,192 octets of 9,216. A driver that does not tell may do so, too.
 */
static bool
scatters(const struct port *p)
{
	struct rte_eth_rxq_info q = {0};

	return p->large &&
	       (rte_eth_rx_queue_info_get(p->ethdev, 0, &q) != 0 || q.scattered_rx != 0);
}

static void
device_stop(uint16_t ethdev, int socket)
{
	struct rte_eth_dev_info info = {0};

	(void)rte_eth_dev_info_get(ethdev, &info);
	(void)rte_eth_dev_stop(ethdev);
	(void)rte_eth_dev_close(ethdev);
	/* the bus would refuse a further device of this name */
	if (info.device != NULL)
		(void)rte_dev_remove(info.device);
	/*
	 * Seen with 22.11 and libxdp 1.3: the driver does not close the socket, and the queue
	 * stays in use.
	 */
	if (socket >= 0 && is_xdp_socket(socket))
		(void)close(socket);
}

static void
port_stop(struct port *p)
{
	port_watch_stop(&p->watch);
	if (p->host.fd >= 0)
		(void)close(p->host.fd);
	p->host.fd = -1;
	device_stop(p->ethdev, p->xdp_socket);
	p->xdp_socket = -1;
	for (; p->more_count > 0; p->more_count--)
		device_stop(p->more[p->more_count - 1].ethdev, p->more[p->more_count - 1].socket);
}

/* Stops and closes the port in the namespace of its interface, where the program is detached. */
static void
port_end(struct port *p)
{
	if (p->skipped || netns_enter(port_netns(p)) != 0)
		return;
	port_stop(p);
	if (p->reserved)
		xdp_release(dp->xdp, p->ifindex);
	netns_leave(port_netns(p));
}

static int
kernel_mtu_set(unsigned ifindex, uint16_t mtu)
{
	struct ifreq r = {.ifr_flags = 0};
	int rc = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	r.ifr_mtu = mtu;
	if (if_indextoname(ifindex, r.ifr_name) == NULL || ioctl(fd, SIOCSIFMTU, &r) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

/*
 * Associates the port with a kernel interface: that of the device (net_af_packet), or for lab ports
 * the interface of the port's name. The port uses its addresses, neighbours and link state, and the
 * kernel receives packets for local addresses there.
 */
static int
use_kernel_interface(struct port *p, struct dataplane_error *err)
{
	uint8_t mac[6];
	uint16_t mtu;
	int rc;

	if (p->ifindex == 0)
		p->ifindex = if_nametoindex(p->name);
	if (p->ifindex == 0)
		return 0;
	if (kernel_link(p->ifindex, mac, &mtu) != 0) {
		p->ifindex = 0;
		return 0;
	}
	mac_store(p, mac);
	if (p->mtu_given && mtu != p->mtu) {
		rc = kernel_mtu_set(p->ifindex, p->mtu);
		return rc == 0 ? 0
			       : dataplane_fail(err, rc,
					 "port %s: the kernel interface refused MTU %u: %s",
					 p->name, p->mtu, strerror(-rc));
	}
	if (!p->mtu_given) {
		p->mtu_own = mtu;
		p->mtu = mtu < p->mtu_max ? mtu : p->mtu_max;
	}
	return 0;
}

/* ---- the host path ---- */

enum port_kernel
port_kernel_of(const char *device)
{
	char iface[IFNAMSIZ];

	if (device_is(device, "net_af_xdp") || device_is(device, "net_af_packet"))
		return PORT_KERNEL_OWN;
	if (device_is(device, "net_pcap") && device_argument(device, "iface", iface, sizeof(iface)))
		return PORT_KERNEL_OWN;
	return device_is(device, "net_null") ? PORT_KERNEL_ANY : PORT_KERNEL_TAP;
}

static bool
is_tap(const char *name)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq r = {.ifr_data = (void *)&info};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes;

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	yes = fd >= 0 && ioctl(fd, SIOCETHTOOL, &r) == 0 && strcmp(info.driver, "tun") == 0;
	if (fd >= 0)
		close(fd);
	return yes;
}

int
port_host_check(const char *name, const char *device, struct dataplane_error *err)
{
	enum port_kernel kernel = port_kernel_of(device);
	bool there = if_nametoindex(name) != 0;
	char iface[IFNAMSIZ];

	if (kernel == PORT_KERNEL_OWN || (kernel == PORT_KERNEL_ANY && there))
		return 0;
	if (device_argument(device, "iface", iface, sizeof(iface)) && strcmp(iface, name) == 0)
		return dataplane_fail(err, -EEXIST,
			"the interface %s belongs to the device, and a port of this device needs a "
			"kernel interface of its own: give the port another name",
			name);
	if (there && !is_tap(name))
		return dataplane_fail(err, -EEXIST,
			"an interface %s exists, and keeld has to create the port's interface: "
			"rename the interface or the port",
			name);
	if (access("/dev/net/tun", F_OK) != 0)
		return dataplane_fail(err, -errno,
			"no /dev/net/tun, which the port's interface needs: load the module tun");
	return 0;
}

/*
 * ND needs multicast. Devices in memory receive all frames; of other devices all multicast is
 * requested, or else all frames.
 */
static int
receive_multicast(struct port *p, bool soft, struct dataplane_error *err)
{
	int rc = rte_eth_allmulticast_enable(p->ethdev);

	if (rc == -ENOTSUP)
		rc = rte_eth_promiscuous_enable(p->ethdev);
	if (rc != 0 && !(rc == -ENOTSUP && soft))
		return dataplane_fail(err, rc,
			"port %s: the driver receives no multicast, which neighbour discovery "
			"needs: %s",
			p->name, strerror(-rc));
	return 0;
}

static int
host_path_open(struct port *p, const char *device, bool soft, struct dataplane_error *err)
{
	uint64_t word = atomic_load_explicit(&p->mac, memory_order_relaxed);
	uint8_t mac[6];
	int rc = receive_multicast(p, soft, err);

	if (rc != 0)
		return rc;
	memcpy(mac, &word, sizeof(mac));
	rc = tap_open(p->name, mac, p->mtu, &p->ifindex);
	if (rc < 0)
		return dataplane_fail(err, rc,
			"port %s: no TAP for packets of this router: %s (needs /dev/net/tun and "
			"CAP_NET_ADMIN)",
			p->name, strerror(-rc));
	p->host.fd = rc;
	p->way = HOST_WAY_TAP;
	return 0;
}

/* Chooses the kernel interface of a port that has started. */
static int
choose_interface(struct port *p, const char *device, bool soft, struct dataplane_error *err)
{
	struct dataplane_error reason;
	enum port_kernel kernel = port_kernel_of(device);
	int rc;

	if (p->xdp)
		return 0;
	if (!p->host_path || kernel != PORT_KERNEL_TAP) {
		rc = use_kernel_interface(p, err);
		if (rc != 0 || p->ifindex != 0 || !p->host_path) {
			p->way = kernel == PORT_KERNEL_OWN && p->ifindex != 0 ? HOST_WAY_COPY
									      : HOST_WAY_NONE;
			return rc;
		}
	}
	rc = port_host_check(p->name, device, &reason);
	if (rc != 0)
		return dataplane_fail(err, rc, "port %s: %s", p->name, reason.text);
	return host_path_open(p, device, soft, err);
}

void
port_init(struct port *p, const struct port_config *c)
{
	/* other threads do not read the port: see port_show() */
	*p = (struct port){.vrf = c->vrf,
		.netns = c->netns != NULL ? *c->netns : (struct netns){-1, -1, -1},
		.mpls = c->mpls,
		.mtu = c->mtu,
		.mtu_given = c->mtu != 0,
		.mtu_wanted = c->mtu,
		.queues_wanted = c->queues,
		.host_path = c->host_path,
		.xdp_socket = -1,
		.host = {.fd = -1},
		.watch = {.kernel = -1, .tap = -1, .ethdev = RTE_MAX_ETHPORTS}};
	for (; p->queue_worker_count < c->queue_worker_count &&
		p->queue_worker_count < PORT_QUEUES_MAX;
		p->queue_worker_count++)
		p->queue_worker[p->queue_worker_count] =
			(uint16_t)c->queue_workers[p->queue_worker_count];
	(void)snprintf(p->name, sizeof(p->name), "%s", c->name);
	(void)snprintf(p->device, sizeof(p->device), "%s", c->device);
}

/*
 * Opens a device for a further queue of an AF_XDP port. Its driver attaches a copy of the program;
 * the program of the last queue stays, and gets the sockets of all queues.
 */
static int
open_queue(struct port *p, unsigned queue, struct dataplane_error *err)
{
	struct port one = *p; /* for the functions of a port with one device */
	char full[1024];
	bool soft;
	int rc = xdp_detach(dp->xdp, p->ifindex, err);

	(void)snprintf(full, sizeof(full),
		"net_af_xdp_%u_%u,iface=%s,start_queue=%u,queue_count=1,xdp_prog=%s", p->ifindex,
		queue, p->iface, queue, dp->object_path);
	if (rc == 0)
		rc = probe(&one, full, full, &soft, err);
	if (rc != 0)
		return rc;
	one.xdp_socket = -1;
	one.more_count = 0;
	rc = port_start(&one, full, true, 1, err);
	if (rc != 0) {
		device_stop(one.ethdev, one.xdp_socket);
		return rc;
	}
	p->more[p->more_count].ethdev = one.ethdev;
	p->more[p->more_count++].socket = one.xdp_socket;
	return 0;
}

static int
open_more_queues(struct port *p, struct dataplane_error *err)
{
	int rc = 0;

	for (unsigned q = 1; rc == 0 && q < p->own_queues; q++)
		rc = open_queue(p, q, err);
	if (p->more_count > 0)
		p->rx_queues = p->tx_queues = 1 + p->more_count;
	return rc;
}

/* The program exists once the last queue is open. */
static int
attach_sockets(struct port *p, struct dataplane_error *err)
{
	int fd[PORT_QUEUES_MAX], rc;

	rc = xdp_attach_check(dp->xdp, p->vrf, p->ifindex, &dp->host_limits, err);
	if (rc != 0 || p->more_count == 0)
		return rc;
	fd[0] = p->xdp_socket;
	for (unsigned i = 0; i < p->more_count; i++)
		fd[1 + i] = p->more[i].socket;
	rc = xdp_sockets_set(dp->xdp, p->ifindex, fd, 1 + p->more_count);
	return rc == 0 ? 0
		       : dataplane_fail(err, rc,
				 "port %s: the XDP program has no room for %u queues: %s", p->name,
				 1 + p->more_count, strerror(-rc));
}

/* Opens and starts the device, in the namespace of its interface. */
static int
device_open(struct port *p, const char *device, unsigned queues, struct dataplane_error *err)
{
	char full[DEVICE_MAX];
	bool soft = false;
	int rc = 0;

	p->xdp = is_af_xdp(device);
	if (p->xdp)
		rc = reserve_interface(p, device, queues, err);
	if (rc == 0)
		rc = complete_device(p, device, full, sizeof(full), err);
	if (rc == 0)
		rc = probe(p, device, full, &soft, err);
	if (rc != 0)
		goto fail;
	rc = port_start(p, device, soft, queues, err);
	p->chains |= rc == 0 && !soft && scatters(p);
	if (rc == 0)
		rc = open_more_queues(p, err);
	if (rc == 0 && p->own_program)
		rc = attach_sockets(p, err);
	if (rc == 0)
		rc = choose_interface(p, device, soft, err);
	if (rc == 0) {
		bool tap = device_is(device, "net_tap");

		/* net_tap asks an interface that may lie in another network namespace */
		p->watch.link_unknown = tap;
		port_watch_start(
			&p->watch, p->ethdev, tap, p->way == HOST_WAY_TAP ? 0 : p->ifindex);
		return 0;
	}
	port_stop(p);
fail:
	if (p->reserved)
		xdp_release(dp->xdp, p->ifindex);
	return rc;
}

unsigned
port_number_free(void)
{
	unsigned n = dp->port_count;

	for (unsigned i = 0; n == PORTS_MAX && i < PORTS_MAX; i++)
		if (!dp->open[i])
			n = i;
	return n;
}

void
port_number_take(unsigned n)
{
	dp->open[n] = dp->served[n] = true;
	/* release: pairs with the load in port_count() */
	if (n >= dp->port_count)
		atomic_store_explicit(&dp->port_count, n + 1, memory_order_release);
}

/* Closes AF_XDP sockets of no port: the driver leaves one open, with its buffers, after a failure. */
static void
sockets_close(void)
{
	int fd;

	while ((fd = find_xdp_socket()) >= 0) {
		if (dp->soft_pool != NULL)
			xdp_fill_ring_free(fd, dp->soft_pool);
		(void)close(fd);
	}
}

static int
port_try(unsigned n, const struct port_config *c, struct dataplane_error *err)
{
	struct port *p = &dp->port[n];
	int rc;

	port_init(p, c);
	rc = netns_enter(port_netns(p));
	if (rc != 0)
		return dataplane_fail(err, rc,
			"port %s: the network namespace of the VPN instance cannot be entered: %s",
			p->name, strerror(-rc));
	dp->open[n] = true; /* its sockets are known */
	rc = device_open(p, c->device, c->queues, err);
	dp->open[n] = false;
	netns_leave(port_netns(p));
	if (rc != 0 && p->xdp)
		sockets_close();
	return rc;
}

/*
 * The kernel releases the queue of a closed AF_XDP socket later, from a work queue, and reports no
 * event: a port may be busy after its end for some milliseconds.
 */
#define RELEASE_POLLS 40
#define RELEASE_POLL_NS 5000000

int
port_open(const struct port_config *c, uint16_t *port, struct dataplane_error *err)
{
	unsigned n = port_number_free();
	int rc;

	if (n == PORTS_MAX)
		return dataplane_fail(
			err, -ENOSPC, "port %s: too many ports: at most %u", c->name, PORTS_MAX);
	rc = port_try(n, c, err);
	for (unsigned i = 0; rc == -EBUSY && dp->port[n].xdp && i < RELEASE_POLLS; i++) {
		const struct timespec pause = {.tv_nsec = RELEASE_POLL_NS};

		(void)nanosleep(&pause, NULL);
		rc = port_try(n, c, err);
	}
	if (rc != 0)
		return rc;
	port_number_take(n);
	*port = (uint16_t)n;
	return 0;
}

void
port_show(uint16_t port)
{
	/* release: pairs with the load in port_find */
	atomic_store_explicit(&dp->shown[port], true, memory_order_release);
}

void
port_hide(uint16_t port)
{
	atomic_store_explicit(&dp->shown[port], false, memory_order_release);
}

int
port_add(const struct port_config *c, uint16_t *port, struct dataplane_error *err)
{
	int rc = port_open(c, port, err);

	if (rc == 0)
		port_show(*port);
	return rc;
}

void
port_unserve(uint16_t port)
{
	dp->served[port] = false;
}

bool
port_is_served(uint16_t port)
{
	return dp->served[port] && !dp->port[port].skipped;
}

/* Before the driver forgets them. The program goes first, so that no packet takes a buffer. */
static void
buffers_free(struct port *p)
{
	if (!p->own_program || p->skipped || netns_enter(port_netns(p)) != 0)
		return;
	(void)xdp_detach(dp->xdp, p->ifindex, NULL);
	xdp_buffers_free(p->ethdev, p->xdp_socket, dp->soft_pool);
	for (unsigned i = 0; i < p->more_count; i++)
		xdp_buffers_free(p->more[i].ethdev, p->more[i].socket, dp->soft_pool);
	netns_leave(port_netns(p));
}

void
port_close(uint16_t port)
{
	struct port *p = &dp->port[port];
	bool copies = p->xdp && !p->skipped && xdp_is_copying(p->xdp_socket);
	unsigned queues = 1 + p->more_count;

	if (p->xdp)
		buffers_free(p);
	port_end(p);
	if (copies)
		port_queues_await(p, queues);
	if (p->host.frame != NULL)
		rte_pktmbuf_free(p->host.frame);
	p->host.frame = NULL;
	p->netns.fd = -1;
	dp->open[port] = false;
}

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

void
dataplane_fini(void)
{
	if (dp == NULL)
		return;
	port_pulls_unwatch();
	workers_stop();
	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (dp->open[i])
			port_end(&dp->port[i]);
	xdp_destroy(dp->xdp);
	dp->xdp = NULL;
	rte_mempool_free(dp->soft_pool);
	rte_mempool_free(dp->soft_large);
	for (unsigned i = 0; i < RTE_MAX_NUMA_NODES; i++) {
		rte_mempool_free(dp->hard_pool[i]);
		rte_mempool_free(dp->hard_large[i]);
	}
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

struct port_watch *
port_watch(uint16_t port)
{
	struct port *p = port_find(port);

	return p != NULL ? &p->watch : NULL;
}

struct port_host *
port_host(uint16_t port)
{
	struct port *p = port_find(port);

	return p != NULL ? &p->host : NULL;
}

enum host_way
port_host_way(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL ? p->way : HOST_WAY_NONE;
}

const struct host_limits *
port_host_limits(void)
{
	return &dp->host_limits;
}

struct host_peers *
port_host_peers(void)
{
	return dp != NULL ? &dp->host_peers : NULL;
}

bool
port_xdp_host_counters(uint16_t port, struct host_counters out[HOST_CLASSES])
{
	const struct port *p = port_find(port);

	return p != NULL && xdp_host_counters(dp->xdp, p->vrf, p->ifindex, out);
}

void
port_xdp_peer_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	xdp_peer_set(dp->xdp, vrf, addr, present);
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

bool
port_chains(uint16_t port)
{
	const struct port *p = port_find(port);

	return p != NULL && p->chains;
}

void
port_mac(uint16_t port, uint8_t mac[6])
{
	const struct port *p = port_find(port);
	uint64_t word = p != NULL ? atomic_load_explicit(&p->mac, memory_order_relaxed) : 0;

	memcpy(mac, &word, 6);
}

int
port_local_address_set(struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	if (forwarder_is_used())
		return forwarder_local_address(vrf, addr, present);
	return dp != NULL ? xdp_local_set(dp->xdp, vrf, addr, present) : 0;
}

int
port_tunnels_set(const uint32_t *own, unsigned count)
{
	if (forwarder_is_used())
		return forwarder_tunnels(own, count);
	return dp != NULL ? xdp_tunnels_set(dp->xdp, own, count) : 0;
}

void
port_icmp_source_set(uint16_t port, enum afi afi, const struct ip_addr *addr)
{
	if (forwarder_is_used())
		forwarder_icmp_source(port, afi, addr);
	else if (dp != NULL)
		icmp_source_set(&dp->icmp_sources, port, afi, addr);
}

const struct icmp_sources *
port_icmp_sources(void)
{
	return &dp->icmp_sources;
}

const _Atomic uint64_t *
port_mac_place(uint16_t port)
{
	return &dp->port[port].mac;
}

static int
driver_link(uint16_t ethdev, uint8_t mac[6], uint16_t *mtu)
{
	struct rte_ether_addr a;
	int rc = rte_eth_macaddr_get(ethdev, &a);

	if (rc == 0)
		rc = rte_eth_dev_get_mtu(ethdev, mtu);
	if (rc == 0)
		memcpy(mac, a.addr_bytes, 6);
	return rc;
}

/*
 * The operator changed the TAP of a port: the device gets the new address, and larger packets if
 * the driver can change its MTU now; otherwise *mtu becomes the present MTU.
 */
static void
device_follow(struct port *p, const uint8_t old[6], const uint8_t mac[6], uint16_t *mtu)
{
	uint16_t now = atomic_load_explicit(&p->mtu, memory_order_relaxed);
	struct rte_ether_addr a;

	if (*mtu > now && (*mtu > packet_room(p) || rte_eth_dev_set_mtu(p->ethdev, *mtu) != 0))
		*mtu = now;
	if (memcmp(old, mac, 6) == 0)
		return;
	memcpy(a.addr_bytes, mac, 6);
	/* A device that keeps its filter still receives the frames of all addresses then. */
	if (rte_eth_dev_default_mac_addr_set(p->ethdev, &a) != 0)
		(void)rte_eth_promiscuous_enable(p->ethdev);
}

int
port_refresh(uint16_t port, bool *changed)
{
	uint8_t mac[6], old[6];
	uint16_t mtu = 0;
	struct port *p = port_find(port);
	int rc;

	*changed = false;
	if (p == NULL)
		return -ENOENT;
	if (forwarder_is_used())
		return forwarder_refresh(port, changed);
	rc = netns_enter(port_netns(p));
	if (rc != 0)
		return rc;
	rc = p->ifindex != 0 ? kernel_link(p->ifindex, mac, &mtu)
			     : driver_link(p->ethdev, mac, &mtu);
	netns_leave(port_netns(p));
	if (rc != 0)
		return rc;
	atomic_store_explicit(&p->mtu_own, p->ifindex != 0 ? mtu : 0, memory_order_relaxed);
	if (mtu > p->mtu_max)
		mtu = p->mtu_max;
	port_mac(port, old);
	if (p->host.fd >= 0)
		device_follow(p, old, mac, &mtu);
	*changed = memcmp(mac, old, 6) != 0 || mtu != port_mtu(port);
	mac_store(p, mac);
	atomic_store_explicit(&p->mtu, mtu, memory_order_relaxed);
	return 0;
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

uint16_t
port_ethdev(uint16_t port)
{
	return dp->port[port].ethdev;
}

int
port_xdp_socket(uint16_t port, unsigned queue)
{
	const struct port *p = port_find(port);

	if (p == NULL || (queue > 0 && queue > p->more_count))
		return -1;
	return queue == 0 ? p->xdp_socket : p->more[queue - 1].socket;
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

static struct port_queue
queue_of(const struct port *p, unsigned queue)
{
	if (queue > 0 && queue <= p->more_count)
		return (struct port_queue){.ethdev = p->more[queue - 1].ethdev};
	return (struct port_queue){.ethdev = p->ethdev, .queue = (uint16_t)queue};
}

struct port_queue
port_rx_queue(uint16_t port, unsigned queue)
{
	return queue_of(&dp->port[port], queue);
}

struct port_queue
port_tx_queue(uint16_t port, unsigned worker, struct tx_lock **lock)
{
	struct port *p = &dp->port[port];
	unsigned queue = worker % p->tx_queues;

	*lock = p->tx_queues < dp->worker_count ? &p->tx_lock[queue % TX_LOCKS] : NULL;
	return queue_of(p, queue);
}
