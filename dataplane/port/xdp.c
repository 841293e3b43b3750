/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/port/xdp.h"
#include "dataplane/port/port_inner.h"
#include "lpm/base/note_file.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PROGRAM_NAME "keel_xdp"
#define MAPS_MAX 16

static const unsigned char object[] = {
#include "keel_xdp_object.inc"
};

/* The maps of the program; of local addresses and of peers one for each family. */
enum { LOCAL_V4, LOCAL_V6, PEERS_V4, PEERS_V6, HOST_BUCKETS, SOCKETS, VLANS, MAPS };
static const char *const map_name[MAPS] = {
	"local_v4", "local_v6", "peers_v4", "peers_v6", "host_buckets", "xsks_map", "vlans"};

/* As in keel_xdp.bpf.c. */
struct host_bucket {
	struct bpf_spin_lock lock;
	uint32_t unused;
	uint64_t period, most, tokens, last, passed, policed;
};

/* Descriptors of programs, maps and types (BTF) in this process. */
struct bpf_fds {
	struct bpf_fd {
		int fd;
		uint32_t id;
	} * at;
	unsigned count;
};

/* A reserved interface. Main writes. */
struct attached {
	unsigned ifindex; /* 0: free */
	ino_t netns; /* the namespace in which ifindex is valid */
	int lock; /* proves to each further keeld that the owner is running */
	int map[MAPS]; /* -1: not found yet */
	struct vrf_id vrf;
	bool tunnels; /* UDP tunnels are opened: port_config.mpls, a port of `default` */
	/*
	 * Programs and maps that the driver has opened and does not close. `before`: descriptors of
	 * the other ports, until the port has started.
	 */
	struct bpf_fds before, driver;
};

struct xdp {
	/* of attached[]: main adds and removes ports at run time, and the host thread writes maps */
	pthread_mutex_t mutex;
	struct attached attached[PORTS_MAX];
	/* of the host thread: addresses of UDP tunnels */
	uint32_t *tunnel;
	unsigned tunnel_count;
	char note_folder[256]; /* "": no notes */
};

static FILE *messages; /* at file scope, because libbpf passes no context to message_print() */

static int __attribute__((format(printf, 2, 0)))
message_print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(messages, fmt, ap);
}

void
xdp_messages(FILE *f)
{
	messages = f;
	(void)libbpf_set_print(message_print);
}

int
xdp_write_object(const char *path)
{
	/* Create a new file: an existing path may be a symbolic link of another user. */
	int fd, rc = 0;

	if (unlink(path) != 0 && errno != ENOENT)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < sizeof(object);) {
		ssize_t n = write(fd, object + done, sizeof(object) - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = -errno;
			break;
		}
		done += (size_t)n;
	}
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (rc != 0)
		(void)unlink(path);
	return rc;
}

int
xdp_load_check(void)
{
	struct bpf_object *o = bpf_object__open_mem(object, sizeof(object), NULL);
	int rc = o != NULL ? bpf_object__load(o) : -errno;

	bpf_object__close(o);
	return rc;
}

int
xdp_create(struct xdp **out)
{
	*out = calloc(1, sizeof(**out));
	if (*out == NULL)
		return -ENOMEM;
	(void)pthread_mutex_init(&(*out)->mutex, NULL);
	return 0;
}

/* The network namespace of the calling thread; 0: unknown. */
static ino_t
netns_here(void)
{
	struct stat st;

	return stat("/proc/thread-self/ns/net", &st) == 0 ? st.st_ino : 0;
}

static struct attached *
find(struct xdp *x, unsigned ifindex)
{
	ino_t here = netns_here();

	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (x->attached[i].ifindex == ifindex && x->attached[i].netns == here)
			return &x->attached[i];
	return NULL;
}

static struct attached *
find_free(struct xdp *x)
{
	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (x->attached[i].ifindex == 0)
			return &x->attached[i];
	return NULL;
}

/* ---- objects by id ---- */

#define PROGRAM_LINK "anon_inode:bpf-prog"
#define MAP_LINK "anon_inode:bpf-map"
#define BTF_LINK "anon_inode:btf"

/* The id of a program, a map or types; 0: a descriptor without a program, or, with `link`, without a link. */
static uint32_t
bpf_fd_id(int fd, const char *link)
{
	union {
		struct bpf_prog_info program;
		struct bpf_map_info map;
		struct bpf_btf_info types;
	} info = {0};
	char path[32], text[32] = {0};
	bool is_program, is_map;
	uint32_t len;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, text, sizeof(text) - 1) <= 0 ||
		(link != NULL && strcmp(text, link) != 0))
		return 0;
	is_program = strcmp(text, PROGRAM_LINK) == 0;
	is_map = strcmp(text, MAP_LINK) == 0;
	if (!is_program && !is_map && strcmp(text, BTF_LINK) != 0)
		return 0;
	len = is_program ? sizeof(info.program) : is_map ? sizeof(info.map) : sizeof(info.types);
	if (bpf_obj_get_info_by_fd(fd, &info, &len) != 0)
		return 0;
	return is_program ? info.program.id : is_map ? info.map.id : info.types.id;
}

/*
 * The driver keeps descriptors of its program and maps open in this process. Returns a new
 * descriptor of the program with this id. -ENOENT: there is none; -errno.
 */
static int
own_descriptor(const char *link, uint32_t id)
{
	DIR *d = opendir("/proc/self/fd");
	int found = -ENOENT;
	struct dirent *e;

	if (d == NULL)
		return -errno;
	while (found == -ENOENT && (e = readdir(d)) != NULL) {
		int fd = atoi(e->d_name);

		if (id != 0 && bpf_fd_id(fd, link) == id)
			found = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	}
	closedir(d);
	return found == -1 ? -errno : found;
}

static bool
bpf_fds_have(const struct bpf_fds *f, int fd)
{
	for (unsigned i = 0; i < f->count; i++)
		if (f->at[i].fd == fd)
			return true;
	return false;
}

/* All descriptors that are not in `except`. Without memory the list is shorter. */
static void
bpf_fds_list(struct bpf_fds *f, const struct bpf_fds *except)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	*f = (struct bpf_fds){0};
	while (d != NULL && (e = readdir(d)) != NULL) {
		int fd = atoi(e->d_name);
		uint32_t id = bpf_fd_id(fd, NULL);
		struct bpf_fd *more;

		if (id == 0 || (except != NULL && bpf_fds_have(except, fd)))
			continue;
		more = realloc(f->at, (f->count + 1) * sizeof(*f->at));
		if (more == NULL)
			break;
		f->at = more;
		f->at[f->count++] = (struct bpf_fd){.fd = fd, .id = id};
	}
	if (d != NULL)
		closedir(d);
}

static void
bpf_fds_free(struct bpf_fds *f)
{
	free(f->at);
	*f = (struct bpf_fds){0};
}

/* Closes each descriptor, unless the number belongs to a different object by now. */
static void
bpf_fds_close(struct bpf_fds *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		if (bpf_fd_id(f->at[i].fd, NULL) == f->at[i].id)
			(void)close(f->at[i].fd);
	}
	bpf_fds_free(f);
}

/* The kernel opens an object by id for CAP_SYS_ADMIN only, and keeld has no further need of this capability. */
static int
program_open(uint32_t id)
{
	int fd = own_descriptor(PROGRAM_LINK, id);

	if (fd == -ENOENT)
		fd = bpf_prog_get_fd_by_id(id);
	return fd == -1 ? -errno : fd;
}

static int
map_open(uint32_t id)
{
	int fd = own_descriptor(MAP_LINK, id);

	if (fd == -ENOENT)
		fd = bpf_map_get_fd_by_id(id);
	return fd == -1 ? -errno : fd;
}

/* ---- notes ---- */

/*
 * The program that is attached to an interface, as a file: without CAP_SYS_ADMIN the next keeld
 * can't ask the kernel for the name of the program that a crash has left. The kernel does not use
 * an id twice before it has used all others, so boot and id name a program.
 */
#define NOTE_PATH 304

void
xdp_notes(struct xdp *x, const char *folder)
{
	(void)snprintf(x->note_folder, sizeof(x->note_folder), "%s", folder);
}

/* False: no notes. */
static bool
note_path(const struct xdp *x, unsigned ifindex, char path[NOTE_PATH])
{
	(void)snprintf(path, NOTE_PATH, "%s/xdp-%lu-%u", x->note_folder,
		(unsigned long)netns_here(), ifindex);
	return x->note_folder[0] != '\0';
}

static void
note_text(uint32_t id, char text[64])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	char boot[40] = "";

	if (f != NULL) {
		(void)!fscanf(f, "%39s", boot);
		fclose(f);
	}
	(void)snprintf(text, 64, "%s %u\n", boot, id);
}

/* Best effort: without the note an operator has to detach what a crash leaves. */
static void
note_program(const struct xdp *x, unsigned ifindex, uint32_t id)
{
	char path[NOTE_PATH], text[64];

	note_text(id, text);
	if (note_path(x, ifindex, path))
		(void)note_write(path, text, strlen(text));
}

static bool
note_names(const struct xdp *x, unsigned ifindex, uint32_t id)
{
	char path[NOTE_PATH], text[64], there[64] = "";
	FILE *f;

	note_text(id, text);
	f = note_path(x, ifindex, path) ? note_open(path) : NULL;
	if (f == NULL)
		return false;
	(void)!fgets(there, sizeof(there), f);
	fclose(f);
	return strcmp(text, there) == 0;
}

static void
note_remove(const struct xdp *x, unsigned ifindex)
{
	char path[NOTE_PATH];

	if (note_path(x, ifindex, path))
		(void)unlink(path);
}

/* ---- interfaces ---- */

/*
 * Finds the attached program in any mode. Returns a descriptor and its info, or -errno; -ENOENT:
 * no program. With -EPERM the id and the mode are set.
 */
static int
attached_program(unsigned ifindex, struct bpf_prog_info *info, uint32_t *mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);
	uint32_t len = sizeof(*info), id;
	int fd, rc;

	rc = bpf_xdp_query((int)ifindex, 0, &q);
	if (rc != 0)
		return rc;
	id = q.drv_prog_id != 0 ? q.drv_prog_id : q.skb_prog_id != 0 ? q.skb_prog_id : q.prog_id;
	if (id == 0)
		return -ENOENT;
	*mode = q.drv_prog_id != 0   ? XDP_FLAGS_DRV_MODE
		: q.skb_prog_id != 0 ? XDP_FLAGS_SKB_MODE
				     : 0;
	info->id = id;
	fd = program_open(id);
	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, info, &len) != 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/*
 * Binds an abstract socket, whose name is unique in the network namespace and vanishes with the
 * process. A second keeld can then distinguish the program of a running keeld from a leftover of a
 * crash.
 */
static int
lock_interface(unsigned ifindex)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "keel-port-%u", ifindex);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&a,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) != 0) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/*
 * Detaches a program left by a crash. A foreign program stays; its owner has to release the
 * interface.
 */
static int
detach_ours(const struct xdp *x, unsigned ifindex, struct dataplane_error *err)
{
	struct bpf_prog_info info = {0};
	char iface[IF_NAMESIZE] = "?";
	uint32_t mode = 0;
	int rc, fd = attached_program(ifindex, &info, &mode);

	(void)if_indextoname(ifindex, iface);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0 && !(fd == -EPERM && note_names(x, ifindex, info.id)))
		return dataplane_fail(err, fd, "%s: the attached XDP program cannot be read: %s",
			iface, strerror(-fd));
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && strcmp(info.name, PROGRAM_NAME) != 0)
		return dataplane_fail(err, -EBUSY,
			"%s has the foreign XDP program \"%s\" (id %u): detach the program with "
			"`ip link set dev %s xdp off`",
			iface, info.name, info.id, iface);
	rc = bpf_xdp_detach((int)ifindex, mode, NULL);
	if (rc != 0)
		return dataplane_fail(err, rc,
			"%s: the XDP program of an earlier keeld cannot be detached: %s", iface,
			strerror(-rc));
	return 0;
}

int
xdp_reserve(struct xdp *x, unsigned ifindex, struct dataplane_error *err)
{
	struct attached *a = find_free(x);
	char iface[IF_NAMESIZE] = "?";
	int lock, rc;

	(void)if_indextoname(ifindex, iface);
	if (find(x, ifindex) != NULL)
		return dataplane_fail(err, -EBUSY, "%s is already a port", iface);
	if (a == NULL)
		return dataplane_fail(
			err, -ENOSPC, "%s: too many ports: at most %u", iface, PORTS_MAX);
	lock = lock_interface(ifindex);
	if (lock == -EADDRINUSE)
		return dataplane_fail(err, -EBUSY, "%s is in use by another keeld", iface);
	if (lock < 0)
		return dataplane_fail(err, lock, "%s: %s", iface, strerror(-lock));
	rc = detach_ours(x, ifindex, err);
	if (rc != 0) {
		close(lock);
		return rc;
	}
	(void)pthread_mutex_lock(&x->mutex);
	*a = (struct attached){.ifindex = ifindex,
		.netns = netns_here(),
		.lock = lock,
		.map = {-1, -1, -1, -1, -1, -1, -1}};
	(void)pthread_mutex_unlock(&x->mutex);
	bpf_fds_list(&a->before, NULL);
	return 0;
}

int
xdp_detach(struct xdp *x, unsigned ifindex, struct dataplane_error *err)
{
	return detach_ours(x, ifindex, err);
}

int
xdp_sockets_set(struct xdp *x, unsigned ifindex, const int *fd, unsigned count)
{
	const struct attached *a = find(x, ifindex);

	for (uint32_t queue = 0; queue < count; queue++)
		if (a == NULL ||
			bpf_map_update_elem(a->map[SOCKETS], &queue, &fd[queue], BPF_ANY) != 0)
			return a != NULL ? -errno : -ENOENT;
	return 0;
}

/* Opens the program's map of this name. Returns a descriptor or -errno. */
static int
program_map(int program, const char *name)
{
	struct bpf_prog_info info = {0};
	uint32_t ids[MAPS_MAX], len = sizeof(info);

	info.nr_map_ids = MAPS_MAX;
	info.map_ids = (uint64_t)(uintptr_t)ids;
	if (bpf_obj_get_info_by_fd(program, &info, &len) != 0)
		return -errno;
	for (unsigned i = 0; i < info.nr_map_ids && i < MAPS_MAX; i++) {
		struct bpf_map_info map = {0};
		uint32_t map_len = sizeof(map);
		int fd = map_open(ids[i]);

		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &map, &map_len) == 0 && strcmp(map.name, name) == 0)
			return fd;
		close(fd);
	}
	return -ENOENT;
}

static int
find_maps(int map[MAPS], int program, const char *iface, struct dataplane_error *err)
{
	for (unsigned i = 0; i < MAPS; i++) {
		map[i] = program_map(program, map_name[i]);
		if (map[i] >= 0)
			continue;
		dataplane_fail(err, map[i], "%s: the XDP program of keeld has no map %s", iface,
			map_name[i]);
		for (unsigned k = 0; k < i; k++)
			close(map[k]);
		return map[i];
	}
	return 0;
}

/* As bucket_init() in ns. */
static int
limits_set(int map, const struct host_limits *limits)
{
	for (uint32_t class = 0; class < HOST_CLASSES; class ++) {
		struct host_bucket b = {.most = 100000000};

		if (limits->pps[class] > 0)
			b.period = 1000000000 / limits->pps[class];
		if (b.most < b.period)
			b.most = b.period;
		b.tokens = b.most;
		if (bpf_map_update_elem(map, &class, &b, BPF_ANY) != 0)
			return -errno;
	}
	return 0;
}

int
xdp_attach_check(struct xdp *x, struct vrf_id vrf, bool mpls, unsigned ifindex,
	const struct host_limits *limits, struct dataplane_error *err)
{
	struct bpf_prog_info info = {0};
	struct attached *a = find(x, ifindex);
	char iface[IF_NAMESIZE] = "?";
	uint32_t mode;
	int map[MAPS], rc, fd = attached_program(ifindex, &info, &mode);

	(void)if_indextoname(ifindex, iface);
	if (fd < 0)
		return dataplane_fail(
			err, fd, "%s has no XDP program after start: %s", iface, strerror(-fd));
	if (a == NULL || strcmp(info.name, PROGRAM_NAME) != 0) {
		close(fd);
		return dataplane_fail(err, -EBUSY,
			"%s has the XDP program \"%s\" instead of keel_xdp", iface, info.name);
	}
	close(fd);
	bpf_fds_list(&a->driver, &a->before);
	bpf_fds_free(&a->before);
	fd = program_open(info.id);
	rc = fd >= 0 ? find_maps(map, fd, iface, err)
		     : dataplane_fail(err, fd, "%s: the XDP program cannot be read: %s", iface,
			       strerror(-fd));
	if (fd >= 0)
		close(fd);
	if (rc != 0)
		return rc;
	(void)pthread_mutex_lock(&x->mutex);
	memcpy(a->map, map, sizeof(a->map));
	a->vrf = vrf;
	a->tunnels = mpls && vrf.v == VRF_DEFAULT.v;
	(void)pthread_mutex_unlock(&x->mutex);
	rc = limits_set(map[HOST_BUCKETS], limits);
	if (rc != 0)
		return dataplane_fail(
			err, rc, "%s: the limits of the XDP program: %s", iface, strerror(-rc));
	note_program(x, ifindex, info.id);
	return 0;
}

/* Bits of a local address, as in keel_xdp.bpf.c. */
#define LOCAL_ADDRESS 1
#define LOCAL_TUNNEL 2
#define LOCAL_ANYCAST 4

static bool
is_tunnel(const struct xdp *x, uint32_t address)
{
	unsigned i = 0;

	while (i < x->tunnel_count && x->tunnel[i] != address)
		i++;
	return i < x->tunnel_count;
}

static int
address_map_set(int map, const void *address, bool present, uint8_t bits)
{
	if (present)
		return bpf_map_update_elem(map, address, &bits, BPF_ANY) == 0 ? 0 : -errno;
	if (bpf_map_delete_elem(map, address) != 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int
xdp_local_set(struct xdp *x, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	unsigned family = addr->afi == AFI_IPV4 ? LOCAL_V4 : LOCAL_V6;
	uint32_t v4 = 0;
	bool tunnel;
	int rc = 0;

	/*
	 * The program passes all link-local destinations: an address may be local on the first
	 * link and foreign on the second.
	 */
	if (addr->afi == AFI_NONE || addr_is_link_local(addr))
		return 0;
	memcpy(&v4, addr->b, sizeof(v4));
	tunnel = family == LOCAL_V4 && is_tunnel(x, v4);
	(void)pthread_mutex_lock(&x->mutex);
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		const struct attached *a = &x->attached[i];
		int one;

		if (a->ifindex == 0 || a->map[family] < 0 || a->vrf.v != vrf.v)
			continue;
		one = address_map_set(a->map[family], addr->b, present,
			LOCAL_ADDRESS | (tunnel && a->tunnels ? LOCAL_TUNNEL : 0));
		if (rc == 0)
			rc = one;
	}
	(void)pthread_mutex_unlock(&x->mutex);
	return rc;
}

int
xdp_anycast_set(struct xdp *x, struct vrf_id vrf, unsigned ifindex, const struct ip_addr *addr,
	bool present)
{
	int rc = 0;

	(void)pthread_mutex_lock(&x->mutex);
	for (unsigned i = 0; i < PORTS_MAX && rc == 0; i++) {
		const struct attached *a = &x->attached[i];
		uint8_t bits;

		if (a->ifindex != ifindex || a->map[LOCAL_V6] < 0 || a->vrf.v != vrf.v)
			continue;
		/* an address of this host is more than its anycast address */
		if (bpf_map_lookup_elem(a->map[LOCAL_V6], addr->b, &bits) != 0 ||
			bits == LOCAL_ANYCAST)
			rc = address_map_set(a->map[LOCAL_V6], addr->b, present, LOCAL_ANYCAST);
	}
	(void)pthread_mutex_unlock(&x->mutex);
	return rc;
}

void
xdp_vlan_set(struct xdp *x, struct vrf_id vrf, unsigned ifindex, uint16_t vlan, bool present)
{
	uint32_t id = vlan;

	for (unsigned i = 0; i < PORTS_MAX; i++) {
		const struct attached *a = &x->attached[i];

		if (a->ifindex == ifindex && a->map[VLANS] >= 0 && a->vrf.v == vrf.v)
			(void)address_map_set(a->map[VLANS], &id, present, LOCAL_ADDRESS);
	}
}

void
xdp_peer_set(struct xdp *x, struct vrf_id vrf, const struct ip_addr *addr, bool present)
{
	unsigned family = addr->afi == AFI_IPV4 ? PEERS_V4 : PEERS_V6;

	for (unsigned i = 0; i < PORTS_MAX; i++) {
		const struct attached *a = &x->attached[i];

		if (a->ifindex != 0 && a->map[family] >= 0 && a->vrf.v == vrf.v)
			(void)address_map_set(a->map[family], addr->b, present, LOCAL_ADDRESS);
	}
}

bool
xdp_host_counters(const struct xdp *x, struct vrf_id vrf, unsigned ifindex,
	struct host_counters out[HOST_CLASSES])
{
	const struct attached *a = NULL;

	for (unsigned i = 0; i < PORTS_MAX && ifindex != 0; i++) {
		if (x->attached[i].ifindex == ifindex && x->attached[i].vrf.v == vrf.v)
			a = &x->attached[i];
	}
	if (a == NULL || a->map[HOST_BUCKETS] < 0)
		return false;
	for (uint32_t class = 0; class < HOST_CLASSES; class ++) {
		struct host_bucket b = {0};

		if (bpf_map_lookup_elem(a->map[HOST_BUCKETS], &class, &b) != 0)
			return false;
		out[class] = (struct host_counters){.passed = b.passed, .policed = b.policed};
	}
	return true;
}

/* Writes an address again, if the map has the address: with or without the bit of tunnels. */
static int
tunnel_write(const struct xdp *x, uint32_t address)
{
	int rc = 0;

	for (unsigned i = 0; i < PORTS_MAX; i++) {
		const struct attached *a = &x->attached[i];
		uint8_t bits = LOCAL_ADDRESS | (is_tunnel(x, address) ? LOCAL_TUNNEL : 0);

		if (a->ifindex == 0 || a->map[LOCAL_V4] < 0 || !a->tunnels)
			continue;
		if (bpf_map_update_elem(a->map[LOCAL_V4], &address, &bits, BPF_EXIST) != 0 &&
			errno != ENOENT)
			rc = -errno;
	}
	return rc;
}

int
xdp_tunnels_set(struct xdp *x, const uint32_t *own, unsigned count)
{
	uint32_t *was = x->tunnel;
	unsigned was_count = x->tunnel_count;
	int rc = 0, one;

	x->tunnel = calloc(count + 1, sizeof(*own));
	if (x->tunnel == NULL) {
		x->tunnel = was;
		return -ENOMEM;
	}
	if (count > 0)
		memcpy(x->tunnel, own, count * sizeof(*own));
	x->tunnel_count = count;
	(void)pthread_mutex_lock(&x->mutex);
	for (unsigned i = 0; i < was_count + count; i++) {
		one = tunnel_write(x, i < was_count ? was[i] : own[i - was_count]);
		rc = one != 0 ? one : rc;
	}
	(void)pthread_mutex_unlock(&x->mutex);
	free(was);
	return rc;
}

static void
release(struct xdp *x, struct attached *entry)
{
	struct attached copy = *entry, *a = &copy;

	(void)pthread_mutex_lock(&x->mutex);
	*entry = (struct attached){0};
	(void)pthread_mutex_unlock(&x->mutex);
	/*
	 * The driver has detached its program on closing the port. A remaining program was left by
	 * keeld.
	 */
	(void)detach_ours(x, a->ifindex, NULL);
	note_remove(x, a->ifindex);
	for (unsigned i = 0; i < MAPS; i++)
		if (a->map[i] >= 0)
			close(a->map[i]);
	close(a->lock);
	if (a->before.at != NULL) /* the port did not start */
		bpf_fds_list(&a->driver, &a->before);
	bpf_fds_free(&a->before);
	bpf_fds_close(&a->driver);
}

void
xdp_release(struct xdp *x, unsigned ifindex)
{
	struct attached *a = ifindex != 0 ? find(x, ifindex) : NULL;

	if (a != NULL)
		release(x, a);
}

void
xdp_destroy(struct xdp *x)
{
	for (unsigned i = 0; x != NULL && i < PORTS_MAX; i++)
		if (x->attached[i].ifindex != 0)
			release(x, &x->attached[i]);
	if (x != NULL) {
		free(x->tunnel);
		(void)pthread_mutex_destroy(&x->mutex);
	}
	free(x);
}
