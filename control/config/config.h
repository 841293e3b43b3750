/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration: document, faults with their JSON Pointers, patches, and the C view for the rest of control. keel.json(5) describes the document.
 *
 * Owner: main. A struct config is immutable after config_parse(). Strings and arrays in a struct config live until config_free().
 */
#pragma once

#include "dataplane/port/host_class.h"
#include "lpm/base/base.h"
#include "lpm/path_list.h"
#include "lpm/base/prefix.h"
#include "rib/policy/policy.h"
#include "rib/table/role.h"
#include "rib/table/vpn.h"

#include <jansson.h>

/* Every fault of a document, not only the first. */
struct fault {
	char *path; /* JSON Pointer (RFC 6901) */
	char *reason; /* `"192.0.2.300" is not an IP address` */
	bool of_file; /* `path` is FILE:LINE:COLUMN of a policy file */
};
struct faults {
	struct fault *fault;
	unsigned count, size;
	unsigned lost; /* faults that memory did not suffice to keep */
};
void faults_add(struct faults *f, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void faults_fini(struct faults *f);

struct vrf_names;

struct config_address {
	struct ip_addr addr;
	uint8_t len;
};

struct config_targets {
	struct ext_community *at;
	unsigned count;
};

/* What happens to route number limit + 1 of an instance. */
enum max_routes_action {
	MAX_ROUTES_DISCARD, /* refused, and accepted when there is room */
	MAX_ROUTES_WARNING, /* accepted */
};

/* A VPN instance other than `default`. */
struct config_vrf {
	const char *name;
	struct vrf_id id; /* control/config/vrf_names.h */
	struct vpn_rd rd; /* .v == 0: none */
	struct config_targets import_targets, export_targets;
	const char *import_policy, *export_policy; /* NULL: all routes */
	uint32_t max_routes; /* 0: no limit */
	uint8_t max_routes_action; /* enum max_routes_action */
};

#define CONFIG_QUEUES_MAX 64 /* of a port */

#define CONFIG_VLAN_DEVICE_MAX 48

struct config_port {
	const char *name, *device; /* with a parent: as port_vlan_parse() reads, in vlan_device */
	const char *parent; /* of a port on a VLAN; NULL: the port has a device */
	uint16_t vlan[2]; /* outer tag; inner tag, or 0 */
	char vlan_device[CONFIG_VLAN_DEVICE_MAX];
	struct vrf_id vrf;
	bool mpls;
	uint16_t mtu; /* 0: the interface's own counts */
	uint16_t queues; /* 0: one for each worker, as far as the device has them */
	unsigned *queue_workers; /* the worker of each queue, repeated from the start */
	unsigned queue_worker_count; /* 0: by port and queue */
	struct config_address *addresses;
	unsigned address_count;
};

struct config_timers {
	uint32_t hold_s, keepalive_s /* 0: hold/3 */, connect_retry_s, idle_hold_s,
		open_sent_hold_s, send_hold_s /* 0: max(480, 2*hold) */, min_advertisement_s,
		stale_refresh_s, long_lived_stale_time /* seconds; 0: off */;
};

/* When a peer is slow (session/slow_peer.h). */
struct config_slow_peer {
	uint32_t absolute_s, relative_s /* 0: off */, switch_back_s;
};

/* RFC 4486 4: what happens to prefix number limit + 1. */
enum max_prefixes_action {
	MAX_PREFIXES_WARNING, /* stored */
	MAX_PREFIXES_SHUTDOWN, /* not stored, and the session ends */
	MAX_PREFIXES_DISCARD, /* not stored */
};

/* RFC 7999: routes with BLACKHOLE are accepted inside of the prefix list. */
struct config_blackhole {
	const char *prefix_list; /* NULL: no key */
	uint8_t min_length; /* 0: a host */
	uint32_t community; /* added */
};

struct config_family {
	bool enabled;
	const char *import_policy, *export_policy; /* NULL: none */
	bool keep_all_routes, next_hop_self, next_hop_unchanged, send_communities;
	bool remove_private_as, as_override, default_originate;
	struct ext_community site_of_origin; /* 0: none */
	uint8_t allow_as_in; /* how often our own AS may be in the path */
	uint32_t max_prefixes; /* 0: no limit */
	uint8_t max_prefixes_action; /* enum max_prefixes_action */
	uint8_t max_prefixes_threshold; /* percent of the limit: an alarm */
	/* after a shutdown; 0: the peer stays down until an operator resets the peer */
	uint32_t max_prefixes_restart_s;
	/* of advertised prefixes, with the actions warning and shutdown */
	uint32_t max_prefixes_out; /* 0: no limit */
	uint8_t max_prefixes_out_action, max_prefixes_out_threshold;
	struct config_blackhole blackhole;
	/* as of the peer; the latter also for the whole router */
	bool route_server_client, graceful_shutdown;
};

/* Ends with the link of the own address. By default: external peers on a connected subnet. */
enum link_sensitive { LINK_SENSITIVE_DEFAULT, LINK_SENSITIVE_YES, LINK_SENSITIVE_NO };

struct config_peer {
	struct ip_addr addr; /* a link-local one with its zone */
	char addr_text[ADDR_TEXT_MAX];
	uint16_t tcp_port; /* of the peer; 179 */
	struct vrf_id vrf;
	const char *vrf_name;
	uint32_t asn, local_as;
	bool external; /* asn != router.asn */
	const char *group, *description;
	uint64_t group_key; /* policy_group_key() of `group`, for the session */
	bool passive, shutdown, dynamic /* made from a listen range when a peer connected */;
	bool gtsm; /* RFC 5082: sends with TTL 255 and accepts only TTL 255; not with `multihop` */
	const char *password; /* TCP-MD5, RFC 2385: 1 to 80 octets; NULL: none */
	struct ip_addr source; /* AFI_NONE: the kernel chooses */
	uint8_t multihop; /* TTL; 0: single hop */
	uint16_t tcp_mss; /* 0: by the link */
	struct {
		bool route_refresh, enhanced_route_refresh, four_octet_as, extended_message,
			graceful_restart;
		bool extended_next_hop; /* RFC 8950 */
	} capabilities;
	uint8_t link_sensitive; /* enum link_sensitive */
	bool route_reflector_client; /* internal peers, RFC 4456 */
	bool enforce_first_as; /* external peers, RFC 4271 6.3 */
	bool allow_as_sets; /* otherwise refused (RFC 9774 3) */
	bool route_server_client; /* external peers, RFC 7947 */
	struct {
		bool honour, send; /* RFC 8326 */
	} graceful_shutdown;
	uint8_t role; /* enum session_role, of this router */
	bool role_strict; /* the peer must announce a role */
	uint32_t max_as_path_length; /* the router's */
	struct config_timers timers;
	struct config_slow_peer slow_peer;
	struct config_family families[FAMILY_COUNT];
	bool rt_constraint; /* RFC 4684 */
};

/* `next_hop` may be link-local with its zone; a blackhole has AFI_NONE. Entries with equal prefixes share the load. */
struct config_static {
	struct prefix prefix;
	struct vrf_id vrf;
	struct ip_addr next_hop;
	uint32_t tag;
};

/* A static label-switched path (MPLS). */
struct config_lsp {
	const char *name;
	uint32_t in_label; /* 0: the path begins here, for next hops in `destination` */
	struct prefix destination;
	struct ip_addr next_hop; /* AFI_NONE: packets belong to `vrf` */
	struct vrf_id vrf;
	unsigned label_count;
	uint32_t labels[PUSH_LABELS_MAX]; /* outermost first */
};

/* A tunnel of MPLS over UDP (RFC 7510) to a remote edge router. Both addresses are IPv4. */
struct config_tunnel {
	const char *name;
	struct ip_addr destination, source; /* of the other router, of this router */
};

/* An RPKI cache (RFC 8210). */
#define CONFIG_RPKI_CACHES_MAX 16u
struct config_rpki_cache {
	struct ip_addr addr;
	uint16_t port;
	uint8_t preference; /* the lowest value is in use */
	const char *password; /* NULL: no TCP MD5 */
};

/* A BMP collector (RFC 7854). */
#define CONFIG_BMP_MAX 8u
enum bmp_view {
	BMP_ADJ_IN_PRE = 1u << 0,
	BMP_ADJ_IN = 1u << 1,
	BMP_LOC = 1u << 2,
	BMP_ADJ_OUT_PRE = 1u << 3,
	BMP_ADJ_OUT = 1u << 4,
};
struct config_bmp {
	struct ip_addr addr;
	uint16_t port;
	uint8_t views; /* enum bmp_view */
	uint32_t statistics_s; /* 0: no statistics */
	uint32_t stall_s;
};

/* A file in the format MRT (RFC 6396). */
#define CONFIG_MRT_MAX 8u
enum mrt_kind { MRT_TABLE, MRT_UPDATES };
struct config_mrt {
	char *file; /* path in the output directory: a pattern of strftime() */
	uint8_t kind; /* enum mrt_kind */
	uint32_t interval_s;
};

/* Own routes that go into BGP (RFC 4271 9.4): `source` is connected, static or kernel. */
struct config_redistribute {
	enum route_source source;
	struct vrf_id vrf;
	const char *policy; /* NULL: all */
};

/* Dynamic peers: a passive session for each address of `prefix` that connects, with the keys of the group. */
struct config_range {
	struct prefix prefix;
	struct vrf_id vrf;
	const char *group;
	uint32_t asn; /* its own; 0: the group's */
	/* template of a dynamic peer, without address, addr_text and zone */
	struct config_peer peer;
};

struct config_network {
	struct prefix prefix;
	struct vrf_id vrf;
};

struct config {
	json_t *document; /* as given, complete */
	uint32_t asn;
	uint32_t router_id; /* host order */
	struct {
		unsigned *worker_cpus, worker_count, *control_cpus, control_count, rib_threads,
			memory_mb;
		const char **eal_args;
		unsigned eal_arg_count;
		unsigned ecmp_key; /* 0: random */
		bool mpls_pipe; /* RFC 3443 */
		bool idle_adaptive; /* workers without packets sleep */
		bool forward_source_routes; /* RFC 7126 4.3, 4.4 */
		struct host_limits policing;
		bool present; /* the document has the section: a data plane is wanted */
	} dataplane;
	const char *socket; /* NULL: the command line's */
	struct ip_addr http_addr; /* AFI_NONE: no HTTP */
	uint16_t http_port;
	const char *http_token_file; /* NULL: none */
	const char *output_dir; /* of this document, or of the host; NULL: any directory */
	const char *hostname; /* NULL: that of the host */
	struct config_vrf *vrfs; /* in the order of the document; without `default` */
	unsigned vrf_count;
	struct vrf_names *vrf_names; /* of the references of `vrfs`; NULL: no references */
	struct config_port *ports;
	unsigned port_count;
	struct config_peer *peers; /* after inheritance */
	unsigned peer_count;
	struct config_range *ranges; /* `listen_ranges`; the longest prefix decides */
	unsigned range_count;
	uint32_t listen_limit; /* dynamic peers at most */
	struct config_network *networks;
	unsigned network_count;
	bool next_hop_tracking, resolve_via_default;
	unsigned max_paths; /* 1 to PATHS_MAX */
	bool graceful_shutdown; /* of all sessions */
	uint32_t max_as_path_length;
	uint32_t tombstones_max; /* 0: the shard's default */
	uint32_t cluster_id; /* host order; 0: the router id */
	struct config_static *statics;
	unsigned static_count;
	struct config_lsp *lsps;
	unsigned lsp_count;
	struct config_tunnel *tunnels;
	unsigned tunnel_count;
	struct config_rpki_cache rpki_caches[CONFIG_RPKI_CACHES_MAX];
	unsigned rpki_cache_count;
	struct config_bmp bmp[CONFIG_BMP_MAX];
	unsigned bmp_count;
	struct config_mrt mrt[CONFIG_MRT_MAX];
	unsigned mrt_count;
	struct config_redistribute *redistribute;
	unsigned redistribute_count;
	struct config_address *loopbacks; /* of `default`, held by the host's interface keel0 */
	unsigned loopback_count;
	uint8_t preference[SOURCE_COUNT]; /* the lowest value wins */
	uint32_t policy_change_delay_s, policy_change_max_delay_s;
	/* how long a path that a commit rejects may stay in use as the last path */
	uint32_t commit_hold_s;
	json_t *policy_files; /* {path: text}, also of included files */
	struct policy_set *policies; /* control/config/policy_compile.h */
	/* open addressing by VRF and address: index in peers + 1; 0: free. NULL: no peers */
	uint32_t *peer_index;
	uint32_t peer_index_mask;
	json_t *merged; /* peers after inheritance, as documents, in the order of `peers`; owner of the strings above */
};

/* The host that a document is for. Lent for each config_parse(). */
struct config_host {
	/*
	 * The ids of the VPN instances; NULL: an id is the place in the document. Outlives every struct
	 * config.
	 */
	struct vrf_names *vrf_names;
	/* Without a data plane the zone of a link-local address may be any interface; with a data plane it is a port of the document. */
	bool no_dataplane;
	const char
		*folder; /* of FILE: relative `policy_files` are there; NULL: the current folder */
	const char *output_dir; /* default of management.output_dir; NULL: any directory */
	/* Adds a fault for each thing that a start on this host would refuse; sees only documents without other faults. NULL: the host has no limits. */
	void (*check)(const struct config_host *host, const struct config *c, struct faults *f);
};

/*
 * Checks `document` in full and makes the C view. NULL with faults (one at least) when something is wrong. Takes a reference on
 * the document. A key of a later version is a fault "not supported in this version".
 */
struct config *config_parse(const struct config_host *host, json_t *document, struct faults *f);
/*
 * As config_parse(). `policy_files`: {path: text} as in struct config; these files are not read from
 * disk. NULL: all policy files are read. `like`: an earlier configuration with compiled lists, for equal
 * lists of the document; NULL: all lists are compiled.
 */
struct config *config_parse_with(const struct config_host *host, json_t *document,
	const json_t *policy_files, const struct config *like, struct faults *f);
void config_free(struct config *c);
/*
 * The path of an output file: `name` is a name in the output directory, or the path of a file there.
 * Allocated. NULL: *reason has the fault (static).
 */
char *config_output_path(const struct config *c, const char *name, const char **reason);

/* ---- policy_files.c: the texts of policy files, {path: text}, and the files on disk ---- */

/* The text of a file on disk, a new reference. NULL: the file cannot be read. */
json_t *policy_file_text(const char *path);
/*
 * True if the file is below `folder` (NULL: no limit), after links. The text of a different file is not shown: a user who may edit the
 * document could name any file that keeld may read. A missing file is where its folder is.
 */
bool policy_file_is_inside(const char *folder, const char *path);
/* True if a file on disk has another text, or cannot be read. */
bool policy_files_changed(const json_t *texts);
/*
 * [{path, changed, on_disk}] of the files of `is` whose text `was` lacks (`changed`), or the disk
 * (not `on_disk`); a new reference. *left: {path: hash of the text on disk} of the latter, "" for a
 * file that cannot be read; a new reference. NULL: out of memory, and *left is NULL.
 */
json_t *policy_files_compare(const json_t *was, const json_t *is, json_t **left);
/* Writes each text to disk whose file still has the text of `since`. Failures are logged. */
void policy_files_return(const json_t *texts, const json_t *since);
/* {path: hash of the text}, a new reference; NULL: out of memory. */
json_t *policy_files_hashes(const json_t *texts);
/* The range with the longest prefix that covers `addr`; NULL: none. */
const struct config_range *config_range_find(
	const struct config *c, struct vrf_id vrf, const struct ip_addr *addr);
/* A peer of the range. The strings belong to the struct config of `r`. */
void config_range_peer(
	const struct config_range *r, const struct ip_addr *addr, struct config_peer *out);
/*
 * True if the change from `a` to `b` resets the session: a key with EFFECT_RESET differs. `families`: bits of the families in use; of other
 * families only `enabled` counts.
 */
bool config_peer_resets(
	const struct config_peer *a, const struct config_peer *b, unsigned families);
const struct config_peer *config_peer_find(
	const struct config *c, struct vrf_id vrf, const struct ip_addr *addr);
/* NULL: no such instance, or `default`. */
const struct config_vrf *config_vrf_find(const struct config *c, struct vrf_id id);
const struct config_vrf *config_vrf_named(const struct config *c, const char *name);

/*
 * Reads FILE: syntax errors as `FILE:LINE:COLUMN: text`, duplicate keys by their pointer. The document, or NULL with
 * *message (allocated) for a syntax error, or with faults.
 */
json_t *config_load(const char *file, char **message, struct faults *f);
/*
 * As config_load(), for a check: FILE may also be a pipe. config_load() refuses a FILE that
 * config_save() could not replace, and never waits for a writer.
 */
json_t *config_load_any(const char *file, char **message, struct faults *f);
/*
 * Keeps the texts of long lists of the last document, 50 octets for an entry, for the next document. One
 * thread at a time. The last document keeps a reference until the end of the next config_print(), or until
 * config_printer_forget(). After a fault the printer has no texts.
 */
struct config_printer;
struct config_printer *config_printer_create(void); /* NULL: out of memory */
void config_printer_forget(struct config_printer *p);
void config_printer_destroy(struct config_printer *p);
/*
 * Writes the text of a document, and a line feed: two blanks a level, an entry of a list on one line. On any
 * thread, while the document has a reference. `printer`: NULL: none. 0, -errno.
 */
int config_print(int fd, const json_t *document, struct config_printer *printer);
/*
 * Temporary file in the same folder, fsync, rename, fsync of the folder; mode 0600. `printer`: as in
 * config_print(). 0, -errno.
 */
int config_save(const char *file, const json_t *document, struct config_printer *printer);
/*
 * The same for a file of the state directory, where a symbolic link is replaced: the user of keeld
 * owns the directory, and keeld may still have the rights of root.
 */
int config_state_save(const char *file, const json_t *document);
int config_state_save_text(const char *file, const char *text, size_t len);
/*
 * As config_save(), with a text. A present file keeps its owner and its mode; -EPERM: it can't. A new
 * file has mode 0600.
 */
int config_save_text(const char *file, const char *text, size_t len);
/* Removes the temporary file that an interrupted config_save() left beside FILE. */
void config_save_tidy(const char *file);

/* RFC 6901 lookup; NULL when there is nothing. Lent. */
json_t *config_pointer_get(json_t *document, const char *pointer);
/* The pointer to a value of the document, by identity. A new string; NULL: not found, or out of memory. */
json_t *config_pointer_to(const json_t *document, const json_t *value);
/*
 * Documents share equal values, so a value with two references must not change. Gives the value at a key
 * or index of `parent` for a change: a shared object or array is replaced by a shallow copy first. The
 * caller is the only owner of `parent`. Lent; NULL: no value, or out of memory.
 */
json_t *config_own(json_t *parent, const char *token);
/*
 * Replaces values of a document by equal values of `known`, for less memory and quick comparisons. Takes the
 * document, which has one reference, and returns the document or `known`.
 */
json_t *config_share(json_t *document, const json_t *known);
/* New documents; NULL with one fault when an operation fails. RFC 6902 (all six operations) and RFC 7396. */
json_t *config_patch(const json_t *document, const json_t *operations, struct faults *f);
json_t *config_merge(const json_t *document, const json_t *merge);
/*
 * Passwords are shown as CONFIG_SECRET_HIDDEN. An edited document with CONFIG_SECRET_HIDDEN keeps the password: config_secrets_keep() puts the
 * password of the equal peer (by address and vrf) or group (by name) in `known` back into `document`. The caller is the only owner of `document`. Where `known` has no password,
 * config_parse() adds a fault.
 */
#define CONFIG_SECRET_HIDDEN "***"
void config_secrets_hide(json_t *document); /* a deep copy */
/* The value at `pointer` without passwords, a new reference; NULL: no value, or out of memory. */
json_t *config_secrets_hidden(json_t *document, const char *pointer);
void config_secrets_hide_diff(json_t *operations); /* of config_diff() */
void config_secrets_hide_old(const json_t *operations, json_t *old); /* of config_diff_old() */
/*
 * For the parameters of a call, which may be wrong: hides every value under a key or a path that looks
 * like a password.
 */
void config_secrets_hide_misplaced(json_t *params);
void config_secrets_keep(json_t *document, const json_t *known);
/* RFC 6902 operations that turn `from` into `to`. */
json_t *config_diff(const json_t *from, const json_t *to);
/*
 * As config_diff(). *old is an array with the value that each operation replaces or removes, null for an addition. *elements has for each
 * operation an array with the identifying keys of each element of an array in its path. All are NULL when out of memory.
 */
json_t *config_diff_old(const json_t *from, const json_t *to, json_t **old, json_t **elements);
/* For a pointer into `document`: as one of `elements` of config_diff_old(). */
json_t *config_elements(json_t *document, const char *path);
/*
 * Applies the edits between `from` and `edited` to `onto`. Elements of arrays are matched by their identifying keys, not by position. Where `onto` has
 * another change of the same value, the edit wins. An edit of an element missing in `onto` is dropped. NULL: out of memory.
 */
json_t *config_rebase(const json_t *from, const json_t *edited, const json_t *onto);
/*
 * Merges two changes of *base: the edits `mine`, and the document `theirs` that runs now. An object that one side has changed is as
 * this side has it. An object is the smallest part with a name of its own: an element of a top-level array or of an array of `bgp` (a
 * peer, a group, a list), a node of a route policy, the rest of a route policy, a key of another object (`bgp`, `router`). An array
 * whose elements have no names is one object.
 * An object that both sides changed in different ways is a conflict. CONFLICTS_KEEP: the result has `mine`, and the new base has the old base, so
 * that a later call finds the conflict again. CONFLICTS_THEIRS: the result has `theirs`. CONFLICTS_MINE: the result has the edited keys of
 * `mine`, and else `theirs`; a list is as in `mine`.
 * *base is replaced by the new base. *conflicts (unless NULL): [{object, path, base, running, candidate}]: `path` points into `mine`, or into
 * `theirs` where `mine` lacks the object; only the first conflicts have a path. Values are null where the object is absent.
 * Returns the merged document; NULL without memory: nothing is changed.
 */
enum config_conflicts { CONFLICTS_KEEP, CONFLICTS_MINE, CONFLICTS_THEIRS };
json_t *config_reconcile(json_t **base, const json_t *mine, const json_t *theirs,
	enum config_conflicts conflicting, json_t **conflicts);
