/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keelfwd, the forwarder: the process with EAL, ports, workers, the XDP program and keel0. keeld
 * starts keelfwd and provides configuration and tables. After the end of keeld, workers forward with
 * the last published tables until SIGTERM or FORWARDER_STOP.
 *
 * keelfwd has one thread, besides the workers and the threads of DPDK. All memory for keeld is in a
 * single region (FORWARDER_STATE_PLACE). Each keeld gets a new region for tables; the region of the previous keeld
 * is unmapped after the last reader has left.
 */
#include "dataplane/process/forwarder_wire.h"
#include "dataplane/process/host_netlink.h"
#include "dataplane/process/host_path.h"
#include "dataplane/process/host_setting.h"
#include "dataplane/process/keelfwd_calls.h"
#include "dataplane/process/kept_addresses.h"
#include "dataplane/process/link_repair.h"
#include "dataplane/process/permit.h"
#include "dataplane/port/port.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/process/port_set.h"
#include "dataplane/process/tun.h"
#include "dataplane/forward/worker.h"
#include "dataplane/forward/worker_struct.h"
#include "lpm/base/arena.h"
#include "lpm/fib.h"
#include "lpm/fib_read.h"
#include "lpm/base/monotonic.h"
#include "lpm/base/note_file.h"
#include "lpm/base/qsbr.h"
#include "lpm/base/region.h"
#include "lpm/base/rights.h"
#include "lpm/shared_tables.h"
#include "lpm/tunnel_set.h"

#include <errno.h>
#include <getopt.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BODY (sizeof(struct forwarder_message) - sizeof(struct forwarder_header))
#define CLIENTS_MAX 8
#define CONTROL_NICE (-10)
#define OWN_FDS 4 /* in loop(): listener, signals, links, events of drivers */
#define VRFS_MAX (1 + PORTS_MAX) /* `default`, and an instance for each port */
#define GLEAN_POLL_MS 10
#define TAP_POLL_MS 1
#define STATE_BYTES ((size_t)256 << 20)
/* Besides the tables: path lists, labels, tables of instances while they are replaced. */
#define TABLE_BYTES_MORE ((size_t)4 << 30)
#define TUN_NAME "keel0"
#define NO_PLACE UINT32_MAX
#define POPULATE_NS 100000000 /* for the pages of new tables */
#define AGAIN_US 100000 /* before the start after a kill: RestartSec= of keel-forwarder.service */
#define ALONE_MS 10000 /* keelfwd, started again, awaits keeld */
#define REMIND_NS UINT64_C(10000000000) /* then after twice the time */

struct client {
	int fd; /* -1: free */
	enum forwarder_role role; /* FORWARDER_ROLES: before HELLO */
};

/* A region of tables. */
struct tables {
	unsigned place; /* NO_PLACE: none */
	int fd;
	size_t bytes;
	/* What workers read first, copied and checked: keeld may change the region at any time. */
	struct fib_reader *fib;
	struct path_lists *path_lists;
};

/* A VRF with ports: its namespace, for netns_enter(), and its keel0. */
struct vrf {
	struct vrf_id id; /* `default`, but for the first: a free entry */
	struct netns netns; /* of `default`: fd -1 */
	struct tun *tun; /* NULL: not created (logged) */
};

struct keelfwd {
	const char *socket;
	uid_t keeld; /* the user of keeld: may connect, as root may */
	struct rights_user user; /* of keelfwd after the start as root; no name: none */
	unsigned strangers; /* connections of other users, refused */
	struct permitted permitted; /* by the command line */
	char state_dir[160]; /* XDP programs of a killed keelfwd; the drawn key */
	uint32_t ecmp_key; /* drawn; used without `ecmp_key` of keeld */
	int netlink; /* for host_netlink() */
	int listener, signals,
		spare; /* spare: closed for a connection when no descriptor is free */
	unsigned crowded; /* connections without a free descriptor */
	bool end;
	bool own; /* started by a keeld (--ready-fd) */
	bool again; /* by supervise(), after a kill */
	bool failed; /* START: keelfwd ends */
	bool instances; /* may enter network namespaces (struct forwarder_start) */
	uint64_t started_ns, gone_ns; /* gone_ns: the last keeld; 0: none */
	uint64_t remind_ns; /* after gone_ns: the next log line about the lack of a keeld */
	struct client client[CLIENTS_MAX];

	bool running;
	char *config; /* as received */
	size_t config_bytes;
	bool huge;
	struct region *state;
	int state_fd;
	struct arena *arena; /* in `state` */
	struct vrf vrf[VRFS_MAX]; /* the first is `default` */
	struct tables current; /* read by the workers */
	struct tables pending; /* of a keeld before the publication */
	size_t table_bytes;
	unsigned publications;
	bool published; /* by the keeld that is connected */
	struct kept_addresses *kept;
	struct link_repair *links;
	/* no room for frames of this TAP: the next poll does not watch the TAP */
	bool tap_waits[PORTS_MAX];
};

static void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)fputs("keelfwd: ", stderr);
	(void)vfprintf(stderr, format, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
}

/* Type=notify of systemd: READY=1, the socket listens; STATUS= for people. */
static void
notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t n = path != NULL ? strlen(path) : 0;
	int fd;

	if (n == 0 || n >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, n);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	if (fd >= 0)
		(void)close(fd);
}

/* ---- configuration ---- */

struct parsed {
	struct dataplane_config dataplane;
	unsigned worker_cpu[128], control_cpu[1024];
	const char *eal_arg[64];
	struct port_config port[PORTS_MAX];
	unsigned netns[PORTS_MAX]; /* 1 + the place of the descriptor; 0: none */
	unsigned queue_worker[PORTS_MAX][PORT_QUEUES_MAX];
	unsigned port_count, limit_count;
	unsigned long home; /* forwarder_home() of keeld */
};

/* One `key=value`. The strings stay in the buffer. */
static int
parse_one(struct parsed *p, const char *key, const char *value)
{
	struct dataplane_config *d = &p->dataplane;
	struct port_config *port = p->port_count > 0 ? &p->port[p->port_count - 1] : NULL;
	unsigned number = (unsigned)strtoul(value, NULL, 10);

	if (strcmp(key, "home") == 0)
		p->home = strtoul(value, NULL, 10);
	else if (strcmp(key, "memory_mb") == 0)
		d->memory_mb = number;
	else if (strcmp(key, "limit") == 0 && p->limit_count < HOST_CLASSES)
		d->host_limits.pps[p->limit_count++] = number;
	else if (strcmp(key, "worker_cpu") == 0 && d->worker_count < RTE_DIM(p->worker_cpu))
		p->worker_cpu[d->worker_count++] = number;
	else if (strcmp(key, "control_cpu") == 0 && d->control_count < RTE_DIM(p->control_cpu))
		p->control_cpu[d->control_count++] = number;
	else if (strcmp(key, "eal_arg") == 0 && d->eal_arg_count < RTE_DIM(p->eal_arg))
		p->eal_arg[d->eal_arg_count++] = value;
	else if (strcmp(key, "port") == 0 && p->port_count < PORTS_MAX)
		p->port[p->port_count++] = (struct port_config){.name = value, .host_path = true};
	else if (strcmp(key, "device") == 0 && port != NULL)
		port->device = value;
	else if (strcmp(key, "vrf") == 0 && port != NULL)
		port->vrf.v = number < FIB_VRF_MAX ? (uint16_t)number : FIB_VRF_MAX;
	else if (strcmp(key, "netns") == 0 && port != NULL && number < FORWARDER_FDS_MAX)
		p->netns[p->port_count - 1] = 1 + number;
	else if (strcmp(key, "mpls") == 0 && port != NULL)
		port->mpls = number != 0;
	else if (strcmp(key, "mtu") == 0 && port != NULL)
		port->mtu = (uint16_t)number;
	else if (strcmp(key, "queues") == 0 && port != NULL && number <= PORT_QUEUES_MAX)
		port->queues = number;
	else if (strcmp(key, "change") == 0 && port != NULL) {
		port->leaves = number & 1;
		port->returns = (number & 2) != 0;
		port->optional = (number & 4) != 0;
		port->restored = (number & 8) != 0;
	} else if (strcmp(key, "queue_worker") == 0 && port != NULL &&
		   port->queue_worker_count < PORT_QUEUES_MAX)
		p->queue_worker[p->port_count - 1][port->queue_worker_count++] = number;
	else
		return -EINVAL;
	return 0;
}

static int
parse(struct parsed *p, char *text, size_t bytes)
{
	if (bytes == 0 || text[bytes - 1] != '\0')
		return -EINVAL;
	for (char *at = text; at < text + bytes; at += strlen(at) + 1) {
		char *value = strchr(at, '=');
		int rc;

		if (value == NULL)
			return -EINVAL;
		*value = '\0';
		rc = parse_one(p, at, value + 1);
		*value = '=';
		if (rc != 0)
			return rc;
		at = value;
	}
	for (unsigned i = 0; i < p->port_count; i++) {
		if (p->port[i].device == NULL || p->port[i].vrf.v >= FIB_VRF_MAX ||
			(p->netns[i] != 0 && p->port[i].vrf.v == VRF_DEFAULT.v))
			return -EINVAL;
		p->port[i].queue_workers = p->queue_worker[i];
	}
	p->dataplane.worker_cpus = p->worker_cpu;
	p->dataplane.control_cpus = p->control_cpu;
	p->dataplane.eal_args = p->eal_arg;
	return 0;
}

static int
check_permits(const struct parsed *p, const struct permitted *own, struct dataplane_error *err)
{
	unsigned refused = permit_eal_args(p->eal_arg, p->dataplane.eal_arg_count, own);

	if (refused < p->dataplane.eal_arg_count)
		return dataplane_fail(err, -EPERM,
			"eal_args: keelfwd refuses `%s`; start keelfwd, or keeld with "
			"--forwarder, with --permit for each argument",
			p->eal_arg[refused]);
	for (unsigned i = 0; i < p->port_count; i++)
		if (!permit_device(p->port[i].device, own))
			return dataplane_fail(err, -EPERM,
				"port %s: keelfwd refuses the device; start keelfwd, or keeld with "
				"--forwarder, with --permit '%s'",
				p->port[i].name, p->port[i].device);
	return 0;
}

/* ---- start ---- */

static uint16_t
least_mtu(struct vrf_id vrf)
{
	uint16_t mtu = UINT16_MAX;

	for (uint16_t p = 0; p < port_count(); p++)
		if (port_vrf(p).v == vrf.v && port_runs(p) && port_mtu(p) < mtu)
			mtu = port_mtu(p);
	return mtu;
}

/* ---- VPN instances ---- */

/* NULL: the namespace of keelfwd. */
static const struct netns *
netns_of(const struct vrf *v)
{
	return v->netns.fd >= 0 ? &v->netns : NULL;
}

/* The entry of a VRF; of `default` for an instance: a free entry. */
static struct vrf *
vrf_find(struct keelfwd *k, struct vrf_id id)
{
	struct vrf *free_one = NULL;

	for (unsigned i = 0; i < VRFS_MAX; i++) {
		if (k->vrf[i].id.v == id.v)
			return &k->vrf[i];
		if (i > 0 && free_one == NULL && k->vrf[i].id.v == VRF_DEFAULT.v)
			free_one = &k->vrf[i];
	}
	return free_one;
}

/* 0; -EINVAL: no network namespace of keeld; -EXDEV: the instance has ports in another one; -errno. */
static int
vrf_take(struct vrf *v, struct vrf_id id, int *fd)
{
	struct stat is, was;
	int rc;

	if (ioctl(*fd, NS_GET_NSTYPE) != CLONE_NEWNET || fstat(*fd, &is) != 0)
		return -EINVAL;
	if (v->id.v == id.v)
		return fstat(v->netns.fd, &was) == 0 && is.st_ino == was.st_ino ? 0 : -EXDEV;
	v->netns = (struct netns){*fd, open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), -1};
	if (v->netns.home < 0) {
		v->netns.fd = -1;
		return -errno;
	}
	rc = netns_enter(&v->netns);
	if (rc == 0) {
		rc = host_netlink_of_keeld() ? 0 : -EINVAL;
		netns_leave(&v->netns);
	}
	if (rc == 0)
		v->id = id;
	else
		(void)close(v->netns.home);
	if (rc == 0)
		*fd = -1;
	else
		v->netns = (struct netns){-1, -1, -1};
	return rc;
}

/* Gives the ports of instances their namespaces. Takes descriptors of `fds`, and leaves -1. 0, -errno. */
static int
vrfs_take(struct keelfwd *k, struct parsed *p, int *fds, unsigned fd_count)
{
	for (unsigned i = 0; i < p->port_count; i++) {
		struct vrf *v = vrf_find(k, p->port[i].vrf);
		int rc;

		if (p->netns[i] == 0)
			continue;
		/* a further port of the instance names a descriptor that was taken */
		if (v == NULL || p->netns[i] > fd_count ||
			(fds[p->netns[i] - 1] < 0 && v->id.v != p->port[i].vrf.v))
			return -EINVAL;
		rc = fds[p->netns[i] - 1] < 0 ? 0
					      : vrf_take(v, p->port[i].vrf, &fds[p->netns[i] - 1]);
		if (rc == -EPERM) /* no CAP_SYS_ADMIN: the port waits, as without a namespace */
			continue;
		if (rc != 0)
			return rc;
		p->port[i].netns = &v->netns;
	}
	return 0;
}

/* Creates keel0 in the namespace, or sets its MTU. */
static int
vrf_tun(struct vrf *v)
{
	int rc = netns_enter(netns_of(v));

	if (rc != 0)
		return rc;
	if (v->tun == NULL)
		rc = tun_create(TUN_NAME, v->id, least_mtu(v->id), &v->tun);
	else
		tun_mtu_set(v->tun, least_mtu(v->id));
	netns_leave(netns_of(v));
	if (v->tun != NULL)
		tun_show(v->tun);
	port_tun_set(v->id, v->tun != NULL ? tun_ifindex(v->tun) : 0);
	return rc;
}

static void
vrf_end(struct vrf *v)
{
	if (v->tun != NULL) {
		tun_hide(v->tun);
		tun_destroy(v->tun);
	}
	if (v->netns.fd >= 0) {
		(void)close(v->netns.fd);
		(void)close(v->netns.home);
	}
	*v = (struct vrf){.netns = {-1, -1, -1}};
}

/* After a change of ports: instances without ports end, and each VRF has its keel0. */
static void
vrfs_settle(struct keelfwd *k)
{
	for (unsigned i = 0; i < VRFS_MAX; i++) {
		struct vrf *v = &k->vrf[i];
		bool used = i == 0;
		int rc;

		for (uint16_t p = 0; p < port_count() && !used; p++)
			used = port_exists(p) && port_vrf(p).v == v->id.v;
		if (i > 0 && v->id.v == VRF_DEFAULT.v)
			continue;
		if (!used) {
			port_tun_set(v->id, 0);
			vrf_end(v);
			continue;
		}
		rc = vrf_tun(v);
		if (rc != 0)
			note("host-not-set setting=\"%s\" vrf=%u error=\"%s\"", TUN_NAME, v->id.v,
				strerror(-rc));
	}
}

static int
state_create(struct keelfwd *k)
{
	int rc = region_memfd("keelfwd", STATE_BYTES);

	if (rc < 0)
		return rc;
	k->state_fd = rc;
	rc = region_create(k->state_fd, FORWARDER_STATE_PLACE, STATE_BYTES, &k->state);
	if (rc == 0)
		rc = region_seal(k->state_fd); /* keeld gets the descriptor */
	return rc == 0 ? arena_create_in("keelfwd", k->state, &k->arena) : rc;
}

/* ---- rights ---- */

static bool
has_iommu(void)
{
	DIR *d = opendir("/sys/kernel/iommu_groups");
	const struct dirent *e;
	bool found = false;

	while (d != NULL && !found && (e = readdir(d)) != NULL)
		found = e->d_name[0] != '.';
	if (d != NULL)
		(void)closedir(d);
	return found;
}

/*
 * Priority of the workers, while keelfwd has the right to set a priority: the threads of EAL inherit the
 * priority of this thread.
 */
static void
take_priority(void)
{
	(void)workers_autogroup_nice(-20);
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
}

/*
 * Gives up all rights but those for ports: interfaces and addresses (NET_ADMIN), raw sockets (NET_RAW),
 * the XDP program (BPF), and pinned buffers (IPC_LOCK). A PCI device without an IOMMU also needs
 * physical addresses (SYS_ADMIN) and direct access (SYS_RAWIO). SYS_ADMIN enters the namespaces of VPN
 * instances, too.
 */
static int
limit_rights(const struct keelfwd *k, const struct parsed *p)
{
	uint64_t keep =
		RIGHT(CAP_NET_ADMIN) | RIGHT(CAP_NET_RAW) | RIGHT(CAP_BPF) | RIGHT(CAP_IPC_LOCK);

	if (k->instances)
		keep |= RIGHT(CAP_SYS_ADMIN);
	for (unsigned i = 0; i < p->port_count; i++)
		if (strncmp(p->port[i].device, "net_", 4) != 0 && !has_iommu())
			keep |= RIGHT(CAP_SYS_ADMIN) | RIGHT(CAP_SYS_RAWIO);
	return rights_limit(keep);
}

/*
 * The user of keeld may own the folder above: the name is not followed as a link, and a folder of another
 * user is not given away.
 */
static int
state_dir_give(const struct keelfwd *k)
{
	int fd = open(k->state_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc;
	struct stat st;

	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) == 0 ? 0 : -errno;
	if (rc == 0 && st.st_uid != 0 && st.st_uid != k->user.uid)
		rc = -EPERM;
	if (rc == 0 && (fchown(fd, k->user.uid, k->user.gid) != 0 || fchmod(fd, 0700) != 0))
		rc = -errno;
	(void)close(fd);
	return rc;
}

/*
 * Started as root: keelfwd becomes its own user and keeps the capabilities. A PCI device keeps keelfwd root,
 * because files of root (/dev/vfio, /sys) give the device.
 */
static int
become_user(const struct keelfwd *k, const struct parsed *p)
{
	int rc;

	if (geteuid() != 0 || k->user.name[0] == '\0')
		return 0;
	for (unsigned i = 0; i < p->port_count; i++) {
		if (strncmp(p->port[i].device, "net_", 4) == 0)
			continue;
		note("rights-user user=root text=\"port %s is a device of root: keelfwd stays "
		     "root\"",
			p->port[i].name);
		return 0;
	}
	rc = state_dir_give(k);
	if (rc == 0)
		rc = rights_user_set(&k->user);
	if (rc == 0)
		note("rights-user user=%s", k->user.name);
	return rc;
}

/* Since the end of the last keeld. link_changed() has no context. */
static unsigned repairs;

static void
link_changed(uint16_t port, bool up, unsigned next_hops)
{
	repairs += next_hops > 0;
	if (next_hops > 0)
		note("link-%s port=%s next_hops=%u", up ? "up" : "lost", port_name(port),
			next_hops);
}

#define ECMP_KEY_NOTE "ecmp-key"

static void
ecmp_key_path(const struct keelfwd *k, char path[PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s/" ECMP_KEY_NOTE, k->state_dir);
}

/* Draws a key once: flows keep the next hops when keelfwd starts again, also after a kill. */
static void
ecmp_key_take(struct keelfwd *k)
{
	char path[PATH_MAX], text[16];
	FILE *f;
	int rc;

	ecmp_key_path(k, path);
	f = note_open(path);
	if (f != NULL) {
		if (fscanf(f, "%" SCNu32, &k->ecmp_key) != 1)
			k->ecmp_key = 0;
		(void)fclose(f);
	}
	if (k->ecmp_key != 0)
		return;
	if (getrandom(&k->ecmp_key, sizeof(k->ecmp_key), 0) != (ssize_t)sizeof(k->ecmp_key))
		k->ecmp_key = (uint32_t)monotonic_ns();
	k->ecmp_key += k->ecmp_key == 0;
	(void)snprintf(text, sizeof(text), "%" PRIu32 "\n", k->ecmp_key);
	rc = note_write(path, text, strlen(text));
	if (rc != 0)
		note("note-failed file=%s error=\"%s\" text=\"equal paths are chosen by another "
		     "key "
		     "after the next start\"",
			path, strerror(-rc));
}

static const struct client *
client_of(const struct keelfwd *k, enum forwarder_role role)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (k->client[i].fd >= 0 && k->client[i].role == role)
			return &k->client[i];
	return NULL;
}

static unsigned
alone_s(const struct keelfwd *k)
{
	return (unsigned)((monotonic_ns() - k->gone_ns) / 1000000000u);
}

/* The log of an operator who looks for the cause of old routes. */
static void
remind(struct keelfwd *k)
{
	if (k->gone_ns == 0 || client_of(k, FORWARDER_MAIN) != NULL ||
		monotonic_ns() - k->gone_ns < k->remind_ns)
		return;
	note("keeld-gone workers=%u seconds=%u repairs=%u", workers_count(), alone_s(k), repairs);
	k->remind_ns *= 2;
}

/* EAL cannot start twice in a process: keelfwd ends after a failure. */
static int
start(struct keelfwd *k, struct parsed *p, struct dataplane_error *err) RUNS_ON(role_host)
{
	char name[32];
	unsigned failed;
	int rc = state_create(k);

	if (rc != 0)
		return dataplane_fail(err, rc, "no memory to share: %s", strerror(-rc));
	take_priority();
	rc = become_user(k, p);
	if (rc == 0)
		rc = limit_rights(k, p);
	if (rc != 0)
		return dataplane_fail(err, rc, "the rights cannot be limited: %s", strerror(-rc));
	ecmp_key_take(k);
	k->netlink = host_netlink_open();
	snprintf(name, sizeof(name), "keelfwd-%d", (int)getpid());
	p->dataplane.run_dir = k->state_dir;
	p->dataplane.name = name;
	p->dataplane.messages = stderr;
	p->dataplane.shared = k->arena;
	p->dataplane.port = p->port;
	p->dataplane.port_count = p->port_count;
	rc = dataplane_init(&p->dataplane, &k->huge, err);
	/* Before a busy keeld on the same CPU: this thread repairs links and serves the TAPs. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), CONTROL_NICE);
	for (unsigned i = 0; i < p->port_count; i++)
		p->port[i].optional = true;
	if (rc == 0)
		rc = port_set_change(p->port, p->port_count, &failed, err);
	if (rc != 0)
		return rc;
	vrfs_settle(k);
	rc = link_repair_create(&k->links);
	if (rc != 0)
		return dataplane_fail(err, rc, "links cannot be watched: %s", strerror(-rc));
	link_repair_turn(k->links, true, link_changed);
	rc = keelfwd_calls_limit(k->instances);
	if (rc == -ENOTSUP)
		note("rights-filter text=\"no filter of system calls: keelfwd was built without "
		     "libseccomp, or the kernel has none\"");
	else if (rc != 0)
		return dataplane_fail(err, rc, "no filter of system calls: %s", strerror(-rc));
	k->table_bytes = ((size_t)p->dataplane.memory_mb << 20) + TABLE_BYTES_MORE;
	k->running = true;
	return 0;
}

/* ---- regions of tables ---- */

static void
tables_close(struct tables *t)
{
	if (t->place == NO_PLACE)
		return;
	region_unmap(t->place);
	(void)close(t->fd);
	free(t->fib);
	free(t->path_lists);
	*t = (struct tables){.place = NO_PLACE};
}

/* Maps the tables of a keeld whose keelfwd has ended; takes the descriptor. 0, -errno. */
static int
tables_take(struct tables *t, unsigned place, size_t bytes, int *fd)
{
	int rc;

	if (place <= FORWARDER_STATE_PLACE || !region_is_memfd(*fd, bytes))
		return -EINVAL;
	rc = region_map(*fd, place, bytes, true);
	if (rc != 0)
		return rc;
	*t = (struct tables){.fd = *fd, .bytes = bytes, .place = place};
	*fd = -1;
	return 0;
}

static int
tables_open(struct tables *t, size_t bytes)
{
	int fd = region_memfd("keel-tables", bytes), place;

	if (fd < 0)
		return fd;
	place = region_map_free(fd, FORWARDER_STATE_PLACE + 1, bytes);
	if (place < 0) {
		(void)close(fd);
		return place;
	}
	*t = (struct tables){.fd = fd, .bytes = bytes, .place = (unsigned)place};
	return 0;
}

/* ---- links ---- */

/* keeld has ended: keelfwd repairs lost links in its tables. */
static void
repair_links(struct keelfwd *k)
{
	const struct fib_reader *f = k->current.fib;

	if (k->current.place != NO_PLACE)
		link_repair_begin(
			k->links, (_Atomic uint64_t *)(uintptr_t)f->next_hops, f->adjacencies);
}

/* ---- requests ---- */

static int
answer(const struct client *c, struct forwarder_message *m, uint32_t type, const int *fds,
	unsigned fd_count)
{
	/* A keeld of another version may have room for the fixed answers only. */
	size_t body = type == FORWARDER_HELLO  ? sizeof(m->hello_answer)
		      : type == FORWARDER_STOP ? 0
					       : BODY;

	m->head = (struct forwarder_header){.magic = FORWARDER_MAGIC, .type = type};
	return forwarder_send(c->fd, m, body, NULL, 0, fds, fd_count);
}

static int
on_hello(struct keelfwd *k, struct client *c, const struct forwarder_message *m)
{
	struct forwarder_message out = {0};
	struct forwarder_hello_answer *a = &out.hello_answer;
	enum forwarder_role role = m->hello.role < FORWARDER_ROLES ? m->hello.role : FORWARDER_ASK;

	/* client_close() cleans up by the role */
	if (c->role < FORWARDER_ASK)
		return -EPROTO;
	a->attached = client_of(k, FORWARDER_MAIN) != NULL;
	a->result = role != FORWARDER_ASK && client_of(k, role) != NULL ? -EBUSY : 0;
	a->pid = (uint32_t)getpid();
	a->abi = forwarder_abi();
	a->started_ns = k->started_ns;
	a->running = k->running;
	a->own = k->own;
	a->publications = k->publications;
	snprintf(a->version, sizeof(a->version), "%s", KEEL_VERSION);
	if (a->result == 0)
		c->role = role;
	return answer(c, &out, FORWARDER_HELLO, NULL, 0);
}

static int
on_start(struct keelfwd *k, const struct client *c, const struct forwarder_start *how, char *text,
	size_t bytes, int *given, unsigned given_count) RUNS_ON(role_host)
{
	static struct parsed parsed; /* 100 KiB */
	struct forwarder_message out = {0};
	struct forwarder_start_answer *a = &out.start_answer;
	struct dataplane_error err = {""};
	bool adopted = k->running;
	unsigned tables = how->table_place != 0 && given_count > 0 ? 1 : 0;
	int fds[2];

	a->adopted = adopted;
	given_count -= tables;
	parsed = (struct parsed){0};
	if (parse(&parsed, text, bytes) == 0 && parsed.home != forwarder_home()) {
		a->result = -EINVAL;
		snprintf(a->text, sizeof(a->text),
			"keelfwd is in another network namespace than keeld");
		return answer(c, &out, FORWARDER_START, NULL, 0);
	}
	if (adopted && (bytes != k->config_bytes || memcmp(text, k->config, bytes) != 0 ||
			       vrfs_take(k, &parsed, given, given_count) != 0)) {
		a->result = -EXDEV;
		snprintf(a->text, sizeof(a->text), "keelfwd has another configuration");
		return answer(c, &out, FORWARDER_START, NULL, 0);
	}
	if (!adopted) {
		k->instances = how->instances != 0;
		parsed = (struct parsed){0};
		k->config = malloc(bytes + 1);
		a->result = k->config != NULL ? 0 : -ENOMEM;
		if (a->result == 0) {
			memcpy(k->config, text, bytes);
			k->config_bytes = bytes;
			a->result = parse(&parsed, k->config, bytes);
		}
		if (a->result != 0)
			snprintf(err.text, sizeof(err.text), "%s",
				a->result == -ENOMEM ? "no memory for the configuration"
						     : "a wrong configuration");
		else
			a->result = check_permits(&parsed, &k->permitted, &err);
		if (a->result == 0 && (a->result = vrfs_take(k, &parsed, given, given_count)) != 0)
			snprintf(err.text, sizeof(err.text), "a wrong network namespace");
		if (a->result == 0)
			a->result = start(k, &parsed, &err);
		k->end = k->failed = a->result != 0;
	}
	tables_close(&k->pending);
	kept_addresses_age(k->kept);
	if (a->result == 0) {
		a->result = tables > 0 ? tables_take(&k->pending, how->table_place,
						 how->table_bytes, &given[given_count])
				       : tables_open(&k->pending, k->table_bytes);
		if (a->result != 0)
			snprintf(err.text, sizeof(err.text), "no memory for tables: %s",
				strerror(-a->result));
	}
	snprintf(a->text, sizeof(a->text), "%s", err.text);
	if (a->result != 0)
		return answer(c, &out, FORWARDER_START, NULL, 0);
	a->gone_ns = k->gone_ns;
	a->repairs = repairs;
	a->published = k->publications > 0;
	a->huge = k->huge;
	snprintf(a->dpdk, sizeof(a->dpdk), "%s", dataplane_dpdk_version());
	a->state_bytes = STATE_BYTES;
	a->table_bytes = k->pending.bytes;
	a->table_place = k->pending.place;
	a->dataplane = (uintptr_t)dataplane_address();
	a->workers = (uintptr_t)workers_get();
	fds[0] = k->state_fd;
	fds[1] = k->pending.fd;
	if (k->gone_ns != 0)
		note("keeld-attached adopted=%s alone_s=%u repairs=%u", adopted ? "yes" : "no",
			alone_s(k), repairs);
	else
		note("keeld-attached adopted=%s", adopted ? "yes" : "no");
	notify("STATUS=");
	return answer(c, &out, FORWARDER_START, fds, 2 - tables);
}

/* Copies a configuration without the keys `change=` of this request. Returns the size. */
static size_t
config_copy(char *to, const char *text, size_t bytes)
{
	size_t used = 0;

	for (const char *at = text; at < text + bytes; at += strlen(at) + 1) {
		size_t size = strlen(at) + 1;

		if (strncmp(at, FORWARDER_CHANGE, strlen(FORWARDER_CHANGE)) == 0)
			continue;
		memcpy(to + used, at, size);
		used += size;
	}
	return used;
}

static void
on_ports(struct keelfwd *k, struct parsed *p, char *text, size_t bytes, int *given,
	unsigned given_count, struct forwarder_ports_answer *a) RUNS_ON(role_host)
{
	char *config = malloc(bytes + 1);
	struct dataplane_error err = {"no memory for the configuration"};

	a->failed = UINT32_MAX;
	a->result = config != NULL ? parse(p, text, bytes) : -ENOMEM;
	if (a->result != 0 && a->result != -ENOMEM)
		snprintf(err.text, sizeof(err.text), "a wrong configuration");
	if (a->result == 0)
		a->result = check_permits(p, &k->permitted, &err);
	if (a->result == 0 && (a->result = vrfs_take(k, p, given, given_count)) != 0)
		snprintf(err.text, sizeof(err.text), "a wrong network namespace");
	if (a->result == 0)
		a->result = port_set_change(p->port, p->port_count, &a->failed, &err);
	vrfs_settle(k);
	snprintf(a->text, sizeof(a->text), "%s", err.text);
	if (a->result != 0) {
		free(config);
		return;
	}
	free(k->config);
	k->config = config;
	k->config_bytes = config_copy(config, text, bytes);
	note("ports-changed ports=%u", p->port_count);
}

static int
answer_ports(struct keelfwd *k, const struct client *c, char *text, size_t bytes, int *given,
	unsigned given_count) RUNS_ON(role_host)
{
	static struct parsed parsed; /* 100 KiB */
	struct forwarder_message out = {0};

	parsed = (struct parsed){0};
	on_ports(k, &parsed, text, bytes, given, given_count, &out.ports_answer);
	return answer(c, &out, FORWARDER_PORTS, NULL, 0);
}

static void
remove_address(enum kept_kind kind, struct vrf_id vrf, const struct ip_addr *addr)
	RUNS_ON(role_host) RUNS_ON(role_main)
{
	if (kind == KEPT_PEER)
		host_path_peer_set(vrf, addr, false);
	else if (kind == KEPT_LOCAL)
		(void)port_local_address_set(vrf, addr, false);
	else if (kind == KEPT_ANYCAST)
		(void)port_anycast_set(addr->zone, addr, false);
}

/* Copies what workers read first from the pending region. 0, -ENOMEM; -EINVAL: not in the region. */
static int
tables_bind(struct tables *t, const struct forwarder_publish *p)
{
	struct bounds bounds;

	if (t->place == NO_PLACE || !forwarder_publish_inside(p, region_place(t->place), t->bytes))
		return -EINVAL;
	bounds = bounds_of(region_place(t->place), t->bytes);
	if (t->fib == NULL)
		t->fib = malloc(sizeof(*t->fib));
	if (t->path_lists == NULL)
		t->path_lists = malloc(path_lists_bytes());
	if (t->fib == NULL || t->path_lists == NULL)
		return -ENOMEM;
	return fib_reader_bound((const struct fib_reader *)(uintptr_t)p->fib, &bounds, t->fib) &&
			       path_lists_bound((const struct path_lists *)(uintptr_t)p->path_lists,
				       &bounds, t->path_lists)
		       ? 0
		       : -EINVAL;
}

/* *old: the tables that no worker uses any more. */
static int
publish(struct keelfwd *k, const struct forwarder_publish *p, struct tables *old,
	struct dataplane_error *err)
{
	int rc = tables_bind(&k->pending, p);
	struct workers_config w = {
		.arena = k->arena,
		.fib = k->pending.fib,
		.path_lists = k->pending.path_lists,
		.qsbr = (struct qsbr *)(uintptr_t)p->qsbr,
		.count = p->worker_count,
		.readers = p->reader,
		.ecmp_key = p->ecmp_key != 0 ? p->ecmp_key : k->ecmp_key,
		.mpls_pipe = p->mpls_pipe != 0,
		.idle_adaptive = p->idle_adaptive != 0,
		.forward_source_routes = p->forward_source_routes != 0,
	};

	if (rc != 0)
		return dataplane_fail(err, rc, "%s",
			rc == -ENOMEM ? "no memory for the tables"
				      : "the tables are not in the shared memory");
	/* the other pages become page faults of the workers */
	(void)region_populate(k->pending.fd, k->pending.place, POPULATE_NS);
	rc = workers_count() > 0 ? workers_switch(&w) : workers_start(&w, err);
	if (rc != 0)
		return rc;
	link_repair_end(k->links);
	*old = k->current;
	k->current = k->pending;
	k->published = true;
	k->pending = (struct tables){.place = NO_PLACE};
	k->publications++;
	kept_addresses_sweep(k->kept, remove_address);
	return 0;
}

static int
on_publish(struct keelfwd *k, const struct client *c, const struct forwarder_message *m)
{
	struct forwarder_message out = {0};
	struct forwarder_publish_answer *a = &out.publish_answer;
	struct dataplane_error err = {""};
	struct tables old = {.place = NO_PLACE};
	int rc;

	a->result = publish(k, &m->publish, &old, &err);
	a->workers = (uintptr_t)workers_get();
	snprintf(a->text, sizeof(a->text), "%s", err.text);
	rc = answer(c, &out, FORWARDER_PUBLISH, NULL, 0);
	/* the kernel frees gigabytes of a former keeld */
	tables_close(&old);
	return rc;
}

static bool
is_address(const struct forwarder_port *p)
{
	return p->vrf.v < FIB_VRF_MAX && (p->addr.afi == AFI_IPV4 || p->addr.afi == AFI_IPV6);
}

/* Sets an address of a peer or of this host in all ports of a VRF. 0, -errno. */
static int
set_address(struct keelfwd *k, enum kept_kind kind, const struct forwarder_port *p)
	RUNS_ON(role_host) RUNS_ON(role_main)
{
	bool present = p->present != 0;
	int rc = is_address(p) ? kept_addresses_set(k->kept, kind, p->vrf, &p->addr, present)
			       : -EINVAL;

	if (rc == 0 && kind == KEPT_PEER)
		host_path_peer_set(p->vrf, &p->addr, present);
	else if (rc == 0 && kind == KEPT_LOCAL)
		rc = port_local_address_set(p->vrf, &p->addr, present);
	else if (rc == 0 && kind == KEPT_ANYCAST)
		rc = port_anycast_set(p->addr.zone, &p->addr, present);
	return rc;
}

static int
set_session(struct keelfwd *k, const struct forwarder_port *p) RUNS_ON(role_host) RUNS_ON(role_main)
{
	struct forwarder_port before = *p;

	before.present = 0;
	(void)set_address(k, p->on_link ? KEPT_SESSION : KEPT_SESSION_ON_LINK, &before);
	return set_address(k, p->on_link ? KEPT_SESSION_ON_LINK : KEPT_SESSION, p);
}

static uint32_t
had_session(const struct keelfwd *k, const struct forwarder_port *p)
{
	return (kept_addresses_had(k->kept, KEPT_SESSION, p->vrf, &p->addr) ? 1u : 0u) |
	       (kept_addresses_had(k->kept, KEPT_SESSION_ON_LINK, p->vrf, &p->addr) ? 2u : 0u);
}

static int
on_drivers(const struct client *c, const struct forwarder_port *p) RUNS_ON(role_main)
{
	struct forwarder_message out = {0};

	if (p->port < PORTS_MAX)
		out.drivers.count = port_driver_counters(
			(uint16_t)p->port, p->first, out.drivers.counter, FORWARDER_DRIVERS_MAX);
	return answer(c, &out, FORWARDER_DRIVER_COUNTERS, NULL, 0);
}

static int
on_port(struct keelfwd *k, const struct client *c, const struct forwarder_message *m)
	RUNS_ON(role_host) RUNS_ON(role_main)
{
	struct forwarder_message out = {0};
	struct forwarder_port_answer *a = &out.port_answer;
	const struct forwarder_port *p = &m->port;
	uint16_t port = p->port < PORTS_MAX ? (uint16_t)p->port : PORTS_MAX;
	bool changed = false;

	if (m->head.type == FORWARDER_COUNTERS) {
		a->result = port_counters_get(port, &a->counters);
	} else if (m->head.type == FORWARDER_HOST_COUNTERS) {
		a->changed = port < port_count() && host_path_counters(port, a->host);
	} else if (m->head.type == FORWARDER_PEER) {
		a->result = set_address(k, KEPT_PEER, p);
	} else if (m->head.type == FORWARDER_SESSION) {
		a->result = set_session(k, p);
	} else if (m->head.type == FORWARDER_HAD_SESSION) {
		a->changed = is_address(p) ? had_session(k, p) : 0;
	} else if (m->head.type == FORWARDER_REPEAT && p->present == 0) {
		kept_addresses_age(k->kept);
	} else if (m->head.type == FORWARDER_REPEAT) {
		if (k->published) /* otherwise the publication does it */
			kept_addresses_sweep(k->kept, remove_address);
	} else if (m->head.type == FORWARDER_REFRESH) {
		a->result = port_refresh(port, &changed);
		a->changed = changed;
		if (changed)
			vrfs_settle(k);
	} else if (m->head.type == FORWARDER_LOCAL_ADDRESS) {
		a->result = set_address(k, KEPT_LOCAL, p);
	} else if (m->head.type == FORWARDER_ANYCAST) {
		a->result = set_address(k, KEPT_ANYCAST, p);
	} else if (port < port_count() && (p->afi == AFI_IPV4 || p->afi == AFI_IPV6)) {
		port_icmp_source_set(port, (enum afi)p->afi, &p->addr);
	}
	return answer(c, &out, m->head.type, NULL, 0);
}

static bool
is_own_interface(void *ctx, unsigned ifindex)
{
	(void)ctx;
	/* the numbers of interfaces in the namespaces of instances say nothing here */
	for (uint16_t p = 0; ifindex != 0 && p < port_count(); p++)
		if (port_vrf(p).v == VRF_DEFAULT.v && port_ifindex(p) == ifindex)
			return true;
	return ifindex != 0 && port_tun(VRF_DEFAULT) == ifindex;
}

/* Requests about the host, with a tail. */
static int
on_host(struct keelfwd *k, const struct client *c, uint32_t type, char *tail, size_t bytes)
	RUNS_ON(role_host)
{
	struct forwarder_message out = {0};
	size_t path = bytes > 0 && tail[bytes - 1] == '\0' ? strlen(tail) + 1 : bytes;
	uint32_t own[TUNNELS_MAX];
	int rc = -EPERM;

	if (type == FORWARDER_TUNNELS) {
		bytes = bytes < sizeof(own) ? bytes : sizeof(own);
		memcpy(own, tail, bytes);
		rc = port_tunnels_set(own, (unsigned)(bytes / sizeof(own[0])));
	} else if (type == FORWARDER_NETLINK) {
		if (host_netlink_permits(tail, bytes, is_own_interface, k))
			rc = host_netlink(k->netlink, tail, bytes);
	} else if (path < bytes) {
		rc = host_setting(tail, tail + path, is_own_interface, k);
	}
	out.port_answer.result = rc;
	return answer(c, &out, type, NULL, 0);
}

/* The descriptors of the request have no room. */
static int
refuse(struct keelfwd *k, const struct client *c, const struct forwarder_message *m)
{
	static const char text[] =
		"keelfwd needs more descriptors: LimitNOFILE= of its unit, `ulimit -n`";
	struct forwarder_message out = {0};

	note("request-failed error=\"%s\" text=\"%s\"", strerror(EMFILE), text);
	if (c->role != FORWARDER_MAIN ||
		(m->head.type != FORWARDER_START && m->head.type != FORWARDER_PORTS))
		return -EMFILE;
	if (m->head.type == FORWARDER_START) {
		k->end = k->failed = !k->running;
		out.start_answer.adopted = k->running;
		out.start_answer.result = -EMFILE;
		snprintf(out.start_answer.text, sizeof(out.start_answer.text), "%s", text);
	} else {
		out.ports_answer.failed = UINT32_MAX;
		out.ports_answer.result = -EMFILE;
		snprintf(out.ports_answer.text, sizeof(out.ports_answer.text), "%s", text);
	}
	return answer(c, &out, m->head.type, NULL, 0);
}

#define MAIN (1u << FORWARDER_MAIN)
#define HOST (1u << FORWARDER_HOST)

/* The connections that may send a request; but HELLO, START and STOP after START. */
static const uint8_t permitted_roles[] = {
	[FORWARDER_HELLO] = UINT8_MAX,
	[FORWARDER_STOP] = MAIN,
	[FORWARDER_START] = MAIN,
	[FORWARDER_PUBLISH] = MAIN,
	[FORWARDER_PORTS] = MAIN,
	[FORWARDER_SETTING] = MAIN,
	[FORWARDER_NETLINK] = MAIN | HOST,
	[FORWARDER_TUNNELS] = HOST,
	[FORWARDER_DRIVER_COUNTERS] = MAIN,
	[FORWARDER_COUNTERS] = MAIN,
	[FORWARDER_HOST_COUNTERS] = MAIN,
	[FORWARDER_PEER] = MAIN,
	[FORWARDER_SESSION] = MAIN,
	[FORWARDER_HAD_SESSION] = MAIN,
	[FORWARDER_REPEAT] = MAIN,
	[FORWARDER_REFRESH] = HOST,
	[FORWARDER_LOCAL_ADDRESS] = HOST,
	[FORWARDER_ANYCAST] = HOST,
	[FORWARDER_ICMP_SOURCE] = HOST,
};

static int
on_message(struct keelfwd *k, struct client *c, const struct forwarder_message *m, char *tail,
	size_t tail_bytes, int *fds, unsigned fd_count) RUNS_ON(role_host) RUNS_ON(role_main)
{
	struct forwarder_message out = {0};
	uint32_t type = m->head.type;

	if (type >= RTE_DIM(permitted_roles) || !(permitted_roles[type] >> c->role & 1))
		return -EPROTO;
	switch (type) {
	case FORWARDER_HELLO:
		return on_hello(k, c, m);
	case FORWARDER_STOP:
		k->end = true;
		return answer(c, &out, FORWARDER_STOP, NULL, 0);
	case FORWARDER_START:
		return on_start(k, c, &m->start, tail, tail_bytes, fds, fd_count);
	default:
		break;
	}
	if (!k->running)
		return -EPROTO;
	switch (type) {
	case FORWARDER_PUBLISH:
		return on_publish(k, c, m);
	case FORWARDER_PORTS:
		return answer_ports(k, c, tail, tail_bytes, fds, fd_count);
	case FORWARDER_SETTING:
	case FORWARDER_NETLINK:
	case FORWARDER_TUNNELS:
		return on_host(k, c, type, tail, tail_bytes);
	case FORWARDER_DRIVER_COUNTERS:
		return on_drivers(c, &m->port);
	default:
		return on_port(k, c, m);
	}
}

/* ---- loop ---- */

static void
client_close(struct keelfwd *k, struct client *c)
{
	(void)close(c->fd);
	c->fd = -1;
	if (c->role == FORWARDER_MAIN) {
		tables_close(&k->pending);
		note("keeld-gone workers=%u", workers_count());
		notify(workers_count() > 0
				? "STATUS=No keeld runs: keelfwd forwards with the last tables"
				: "STATUS=No keeld runs, and none has given tables");
		k->gone_ns = monotonic_ns();
		k->remind_ns = REMIND_NS;
		repairs = 0;
		/* Without a publication by this keeld, the repair has not stopped. */
		if (k->published)
			repair_links(k);
		k->published = false;
	}
	c->role = FORWARDER_ROLES;
}

static void
client_ready(struct keelfwd *k, struct client *c) RUNS_ON(role_host) RUNS_ON(role_main)
{
	static char tail[FORWARDER_CONFIG_MAX];
	struct forwarder_message m = {0};
	int fds[FORWARDER_FDS_MAX];
	unsigned fd_count = 0;
	size_t body, tail_bytes;
	int rc;

	rc = forwarder_receive(c->fd, &m, &body, tail, sizeof(tail), &tail_bytes, fds,
		FORWARDER_FDS_MAX, &fd_count);
	if (rc == -EMFILE)
		rc = refuse(k, c, &m);
	else if (rc == 0)
		rc = on_message(k, c, &m, tail, tail_bytes, fds, fd_count);
	if (rc != 0)
		client_close(k, c);
	for (unsigned i = 0; i < fd_count; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
}

/* A connection gives the memory that workers read: it is for root and the user of keeld alone. */
static bool
may_connect(struct keelfwd *k, int fd)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t bytes = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
		(peer.uid == 0 || peer.uid == k->keeld))
		return true;
	/* the 1st, 2nd, 4th, 8th ...: a stranger does not fill the log */
	if (__builtin_popcount(++k->strangers) == 1)
		note("connection-refused uid=%u pid=%d count=%u text=\"only root and the user of "
		     "keeld (uid %u) may connect\"",
			peer.uid, peer.pid, k->strangers, k->keeld);
	return false;
}

/* Closes a new connection: the client waits for no answer, and poll(2) does not report the connection again. */
static void
crowd(struct keelfwd *k)
{
	const char *error = strerror(errno);

	(void)close(k->spare);
	k->spare = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC);
	(void)close(k->spare);
	k->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (__builtin_popcount(++k->crowded) == 1)
		note("connection-refused count=%u error=\"%s\" text=\"keelfwd needs more "
		     "descriptors: "
		     "LimitNOFILE= of its unit, `ulimit -n`\"",
			k->crowded, error);
}

static void
client_new(struct keelfwd *k)
{
	/* SOCK_NONBLOCK: a client that reads no answers is closed, and keelfwd does not wait */
	int fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		crowd(k);
		return;
	}
	if (fd >= 0 && !may_connect(k, fd)) {
		(void)close(fd);
		return;
	}
	for (unsigned i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
		if (k->client[i].fd >= 0)
			continue;
		k->client[i] = (struct client){.fd = fd, .role = FORWARDER_ROLES};
		return;
	}
	if (fd >= 0)
		(void)close(fd);
}

/* Without room in the socket the requests are dropped: later packets ask again. */
static void
send_gleans(const struct keelfwd *k) RUNS_ON(role_host)
{
	const struct client *c = client_of(k, FORWARDER_EVENTS);
	struct forwarder_message m = {.head = {.magic = FORWARDER_MAGIC, .type = FORWARDER_GLEANS}};

	m.gleans.count = worker_gleans(m.gleans.glean, FORWARDER_GLEANS_MAX);
	if (m.gleans.count > 0 && c != NULL)
		(void)send(c->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/*
 * The descriptors of ports with a TAP, by port; -1: not polled. False: no port has a TAP, or there are
 * no workers.
 */
static bool
watch_taps(struct keelfwd *k, struct pollfd *p)
{
	bool any = false;

	for (uint16_t port = 0; port < PORTS_MAX; port++) {
		p[port] = (struct pollfd){
			.fd = workers_count() > 0 && port < port_count() ? host_path_fd(port) : -1,
			.events = POLLIN};
		any |= p[port].fd >= 0;
		if (k->tap_waits[port])
			p[port].fd = -1;
		k->tap_waits[port] = false;
	}
	return any;
}

static void
serve_taps(struct keelfwd *k, const struct pollfd *p) RUNS_ON(role_host)
{
	(void)host_path_turn();
	for (uint16_t port = 0; port < port_count(); port++)
		if (p[port].revents != 0)
			k->tap_waits[port] = !host_path_drain(port);
}

static void
watch_tuns(const struct keelfwd *k, struct pollfd *p)
{
	for (unsigned i = 0; i < VRFS_MAX; i++)
		p[i] = (struct pollfd){.fd = workers_count() > 0 && k->vrf[i].tun != NULL
						     ? tun_fd(k->vrf[i].tun)
						     : -1,
			.events = POLLIN};
}

static void
serve_tuns(struct keelfwd *k, const struct pollfd *p) RUNS_ON(role_host)
{
	for (unsigned i = 0; i < VRFS_MAX; i++) {
		struct tun *t = k->vrf[i].tun;

		if (p[i].revents == 0)
			continue;
		(void)tun_drain(t);
		if (tun_fd(t) < 0)
			note("tun-lost interface=%s vrf=%u", TUN_NAME, k->vrf[i].id.v);
	}
}

#define FDS_MAX (OWN_FDS + CLIENTS_MAX + PORTS_MAX + VRFS_MAX)

/* poll(2) of the entries with a descriptor: with more entries than RLIMIT_NOFILE, also without one, poll() fails at once. */
static int
poll_open(struct pollfd p[static FDS_MAX], int ms)
{
	struct pollfd open[FDS_MAX];
	unsigned count = 0, at = 0;
	int events;

	for (unsigned i = 0; i < FDS_MAX; i++)
		if (p[i].fd >= 0)
			open[count++] = p[i];
	events = poll(open, count, ms);
	for (unsigned i = 0; i < FDS_MAX; i++)
		if (p[i].fd >= 0)
			p[i].revents = open[at++].revents;
	return events;
}

static void
loop(struct keelfwd *k) RUNS_ON(role_host) RUNS_ON(role_main)
{
	uint64_t states_ns = 0; /* of the last port_states_read() */
	bool taps;
	int events;

	while (!k->end) {
		struct pollfd p[FDS_MAX] = {{.fd = k->listener, .events = POLLIN},
			{.fd = k->signals, .events = POLLIN},
			{.fd = k->links != NULL ? link_repair_fd(k->links) : -1, .events = POLLIN},
			{.fd = port_events_fd(), .events = POLLIN}};

		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			p[OWN_FDS + i] = (struct pollfd){.fd = k->client[i].fd, .events = POLLIN};
		taps = watch_taps(k, &p[OWN_FDS + CLIENTS_MAX]);
		watch_tuns(k, &p[OWN_FDS + CLIENTS_MAX + PORTS_MAX]);
		events = poll_open(p, workers_count() == 0 ? k->again ? ALONE_MS : -1
				      : taps		   ? TAP_POLL_MS
							   : GLEAN_POLL_MS);
		/* keeld has ended before keelfwd */
		k->end =
			events == 0 && workers_count() == 0 && client_of(k, FORWARDER_MAIN) == NULL;
		if (p[1].revents != 0)
			k->end = true;
		serve_tuns(k, &p[OWN_FDS + CLIENTS_MAX + PORTS_MAX]);
		if (k->links != NULL)
			link_repair_turn(k->links, p[2].revents != 0, link_changed);
		for (unsigned i = 0; i < CLIENTS_MAX && !k->end; i++)
			if (p[OWN_FDS + i].revents != 0)
				client_ready(k, &k->client[i]);
		if (p[0].revents != 0)
			client_new(k);
		if (workers_count() > 0) {
			send_gleans(k);
			/* also without a TAP: a port that lost its TAP leaves packets in the rings */
			serve_taps(k, &p[OWN_FDS + CLIENTS_MAX]);
		}
		if (p[3].revents != 0 || monotonic_ns() - states_ns >= PORT_STATES_NS) {
			port_states_read();
			remind(k);
			states_ns = monotonic_ns();
		}
	}
}

/* ---- main ---- */

/*
 * The supervisor of a keelfwd that keeld has started: after a kill or a crash of the child, keelfwd, the
 * supervisor starts keelfwd again, with the rights of the first start. Otherwise the supervisor ends with keelfwd.
 */
static void
supervise(struct keelfwd *k, int *ready)
{
	int status = 0, sig;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	for (;; k->again = true) {
		pid_t pid = fork();

		if (pid <= 0) /* without memory keelfwd runs without a supervisor */
			return;
		if (*ready >= 0)
			(void)close(*ready);
		*ready = -1;
		while (waitpid(pid, &status, WNOHANG) == 0)
			if (sigwait(&set, &sig) == 0 && sig != SIGCHLD)
				(void)kill(pid, sig);
		if (!WIFSIGNALED(status) && !(k->again && WEXITSTATUS(status) != 0))
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
		note("keelfwd-%s pid=%d signal=%d text=\"keelfwd starts again\"",
			WIFSIGNALED(status) ? "killed" : "failed", (int)pid,
			WIFSIGNALED(status) ? WTERMSIG(status) : 0);
		(void)usleep(AGAIN_US);
	}
}

/*
 * The first of two doors: who may write the socket may connect; then see may_connect(). Started as root, keelfwd
 * makes a socket of the user of keeld: keeld connects to the next keelfwd without the rights of root.
 */
static int
bind_for(int fd, const struct sockaddr_un *at, uid_t keeld)
{
	int rc = -EACCES;

	(void)umask(0117);
	if (geteuid() == 0) {
		(void)setfsuid(keeld);
		rc = bind(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 ? 0 : -errno;
		(void)setfsuid(0);
	}
	if (rc == -EACCES) /* the folder is not of the user */
		rc = bind(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 ? 0 : -errno;
	(void)umask(0077);
	return rc;
}

static int
listen_at(const char *path, uid_t keeld)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0) {
		(void)close(fd);
		return -EADDRINUSE;
	}
	(void)unlink(path);
	rc = bind_for(fd, &at, keeld);
	if (rc == 0 && listen(fd, 8) != 0)
		rc = -errno;
	if (rc == 0)
		return fd;
	(void)close(fd);
	return rc;
}

/* The folder of the notes about XDP programs, for a start after a kill. 0, -errno. */
static int
make_state_dir(struct keelfwd *k, const char *option)
{
	int n = snprintf(k->state_dir, sizeof(k->state_dir), option != NULL ? "%s" : "%s.d",
		option != NULL ? option : k->socket);

	if (n >= (int)sizeof(k->state_dir))
		return -ENAMETOOLONG;
	return mkdir(k->state_dir, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

static void
finish(struct keelfwd *k)
{
	char path[PATH_MAX];

	/* keeld compares the ports with those of the next keelfwd */
	if (k->state != NULL)
		(void)region_detach(k->state);
	dataplane_fini();
	for (unsigned i = 0; i < VRFS_MAX; i++)
		vrf_end(&k->vrf[i]);
	link_repair_destroy(k->links);
	(void)unlink(k->socket);
	if (k->own) {
		ecmp_key_path(k, path);
		(void)unlink(path);
		(void)rmdir(k->state_dir); /* made here, and empty but for what others put there */
	}
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (k->client[i].fd >= 0)
			(void)close(k->client[i].fd);
	tables_close(&k->pending);
	tables_close(&k->current);
	if (k->arena != NULL)
		arena_destroy(k->arena);
	region_destroy(k->state);
	kept_addresses_destroy(k->kept);
	free(k->config);
}

static int
usage(FILE *out)
{
	fputs("usage: keelfwd --socket PATH [--keeld USER] [--user USER] [--state-dir DIR]\n"
	      "               [--ready-fd N] [--permit TEXT]...\n"
	      "  --socket PATH  listens at PATH for keeld\n"
	      "  --keeld USER   the user of keeld, name or number: only this user and root may\n"
	      "                 connect; default: the user of keelfwd\n"
	      "  --user USER    started as root: becomes USER once the ports are known\n"
	      "  --state-dir DIR  keeps notes for the start after a crash; default: PATH.d\n"
	      "  --ready-fd N   writes a byte to descriptor N when keeld may connect\n"
	      "  --permit TEXT  permits keeld an argument of EAL, or a device; may be repeated\n"
	      "  --version      prints the version\n",
		out);
	return out == stdout ? 0 : 2;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"socket", required_argument, NULL, 's'},
		{"state-dir", required_argument, NULL, 'd'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"permit", required_argument, NULL, 'p'}, {"keeld", required_argument, NULL, 'k'},
		{"user", required_argument, NULL, 'u'}, {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'}, {0}};
	struct keelfwd k = {.keeld = geteuid(),
		.netlink = -1,
		.state_fd = -1,
		.current = {.place = NO_PLACE},
		.pending = {.place = NO_PLACE}};
	sigset_t set;
	const char *state_dir = NULL, **permit = calloc((size_t)argc, sizeof(*permit));
	int c, rc, ready = -1;

	if (permit == NULL)
		return 1;
	k.permitted.text = permit;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 's') {
			k.socket = optarg;
		} else if (c == 'd') {
			state_dir = optarg;
		} else if (c == 'r') {
			ready = (int)strtol(optarg, NULL, 10);
			k.own = true;
		} else if (c == 'k' || c == 'u') {
			struct rights_user found = {.name = ""};
			char *end;

			/* a number needs no entry in the table of users: keeld may have none */
			found.uid = (uid_t)strtoul(optarg, &end, 10);
			if ((c == 'u' || *optarg == '\0' || *end != '\0') &&
				rights_user_find(optarg, &found) != 0) {
				fprintf(stderr, "keelfwd: --%s: there is no user \"%s\"\n",
					c == 'k' ? "keeld" : "user", optarg);
				return 2;
			}
			if (c == 'k')
				k.keeld = found.uid;
			else
				k.user = found;
		} else if (c == 'p') {
			permit[k.permitted.count++] = optarg;
		} else if (c == 'V') {
			printf("keelfwd %s\n", KEEL_VERSION);
			return 0;
		} else {
			return usage(c == 'h' ? stdout : stderr);
		}
	}
	if (k.socket == NULL || optind < argc)
		return usage(stderr);
	if (k.own)
		supervise(&k, &ready);
	role_enter_main();
	role_enter_host(); /* the requests of keeld's host thread */
	(void)pthread_setname_np(pthread_self(), "keelfwd");
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	for (unsigned i = 0; i < VRFS_MAX; i++)
		k.vrf[i].netns = (struct netns){-1, -1, -1};
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		k.client[i] = (struct client){.fd = -1, .role = FORWARDER_ROLES};
	k.started_ns = monotonic_ns();
	k.kept = kept_addresses_create();
	host_setting_begin();
	k.spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	k.signals = signalfd(-1, &set, SFD_CLOEXEC);
	k.listener = listen_at(k.socket, k.keeld);
	if (k.signals < 0 || k.listener < 0 || k.kept == NULL) {
		note("start-failed socket=%s error=\"%s\"", k.socket,
			strerror(k.listener < 0 ? -k.listener : errno));
		/* the next keeld has started a keelfwd of its own: no further start */
		return k.listener == -EADDRINUSE && k.again ? 0 : 1;
	}
	rc = make_state_dir(&k, state_dir);
	if (rc != 0) {
		note("start-failed folder=%s error=\"%s\"", k.state_dir, strerror(-rc));
		return 1;
	}
	notify("READY=1");
	if (ready >= 0) {
		(void)!write(ready, "", 1);
		(void)close(ready);
	}
	loop(&k);
	finish(&k);
	free(permit);
	return k.failed && k.again ? EXIT_FAILURE : 0;
}
