/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running configuration: apply_start() starts the peers, commits (control/apply/commit.h)
 * replace the configuration, and refreshes (control/apply/selector.h) apply policies to routes. An
 * apply owns the running configuration, the candidate, the peers and the history of commits, sends
 * requests to the threads of struct layers, and reports events by a callback.
 *
 * Main only. Lifetime: created before the layers, started when the threads run, destroyed after the
 * layers, because shards and sessions use the policies of the running configuration.
 */
#pragma once

#include "control/config/config.h"
#include "rib/table/dest.h"

#include <jansson.h>

struct apply;
struct host_routes;
struct jobs;
struct layers;
struct netns;
struct peers;
struct bmp;
struct mrt;
struct rpki;
struct session_event;
struct session_view;
struct trail;

struct apply_config {
	/* Lent for the life of the apply. */
	const struct config_host *host; /* for config_parse() */
	const struct layers *layers;
	struct jobs *jobs;
	struct host_routes *host_routes;
	const char *config_file, *state_dir;
	/* The first configuration; taken over. */
	struct config *running;
	/*
	 * Reports an event of a topic (commit, session, refresh); `members` are the members of its
	 * JSON object, taken over by the callback.
	 */
	void (*report)(void *ctx, const char *topic, json_t *members);
	void *report_ctx;
	/*
	 * Starts to report addresses and routes of an instance's namespace to the layers (`netns` is
	 * lent until unwatch()), and ends with the loss of all. 0, -errno. NULL: no namespaces.
	 */
	int (*watch)(void *ctx, struct vrf_id vrf, const struct netns *netns);
	void (*unwatch)(void *ctx, struct vrf_id vrf);
	/* A peer of this address starts or ends. May be NULL. */
	void (*peer)(void *ctx, struct vrf_id vrf, const struct ip_addr *addr, bool present);
	/* Sets the own addresses of the UDP tunnels of `c`. NULL: no data plane. */
	void (*tunnels)(void *ctx, const struct config *c);
	/*
	 * Opens and closes ports for `next`, while apply_running() is the present configuration.
	 * `restores`: `next` ran before, so a missing device is no fault. 0; -errno with a fault: the
	 * ports are as before. NULL: no data plane, and ports do not change.
	 */
	int (*ports)(void *ctx, const struct config *next, bool restores, struct faults *f);
	struct rpki *rpki; /* lent; gets the caches of the running configuration. NULL: none */
	struct bmp *bmp; /* lent; gets the collectors of the running configuration. NULL: none */
	struct mrt *mrt; /* lent; gets the files of the running configuration. NULL: none */
	void *watch_ctx;
};

/* 0; -ENOMEM: nothing was taken over. */
int apply_create(const struct apply_config *c, struct apply **out) RUNS_ON(role_main);
/*
 * Opens the history, and returns to the document before a commit that the previous run did not
 * confirm. Then listens on the BGP port, applies settings, ranges and host routes of the running
 * configuration, and starts its peers. 0, -errno.
 */
int apply_start(struct apply *apply) RUNS_ON(role_main);
/*
 * Before the ports start: removes the network namespaces that a killed keeld has left and the
 * running configuration does not need. `has_ports`: with a data plane, so an instance with ports
 * needs a namespace.
 */
void apply_netns_begin(struct apply *apply, bool has_ports) RUNS_ON(role_main);
/*
 * Moves the kernel interface of a port of `c`, if there is one, into the namespace of the instance. *out:
 * the namespace, open while the instance has ports or peers; NULL: of keeld, for `default`. 0, -errno; after an
 * error with *out NULL the port can't run, and an alarm names the instance.
 */
int apply_netns_of_port(struct apply *apply, const struct config *c, struct vrf_id vrf,
	const char *iface, const struct netns **out) RUNS_ON(role_main);
/* Moves the interface of a closed port out of the namespace of its instance. 0, also without an interface; -errno. */
int apply_netns_leave(struct apply *apply, struct vrf_id vrf, const char *iface) RUNS_ON(role_main);
/* The namespace of an instance; NULL: none. */
const struct netns *apply_netns(const struct apply *apply, struct vrf_id vrf) RUNS_ON(role_main);
/* keep: the network namespaces with ports stay, because keelfwd continues. */
void apply_destroy(struct apply *apply, bool keep) RUNS_ON(role_main);

/* An event of the session thread, on main. */
void apply_session_event(struct apply *apply, const struct session_event *e) RUNS_ON(role_main);
/* SIGHUP: apply_reload(). Logs the result, then calls done(), unless keeld ends. */
void apply_reload_signal(struct apply *apply, void (*done)(void)) RUNS_ON(role_main);

/*
 * The running configuration, lent until the next commit, and the revision of the running document.
 */
const struct config *apply_running(const struct apply *apply) RUNS_ON(role_main);
uint32_t apply_revision(const struct apply *apply) RUNS_ON(role_main);
/* Commits, rollbacks and reloads since the start. */
uint64_t apply_commits(const struct apply *apply) RUNS_ON(role_main);
/* The audit trail; NULL before apply_start(). */
struct trail *apply_trail(const struct apply *apply) RUNS_ON(role_main);
/* For rpki.summary; NULL: no origin validation. */
struct rpki *apply_rpki(const struct apply *apply) RUNS_ON(role_main);
/* For bmp.summary; NULL: no BMP. */
struct bmp *apply_bmp(const struct apply *apply) RUNS_ON(role_main);
/* For mrt.dump and mrt.summary; NULL: no files. */
struct mrt *apply_mrt(const struct apply *apply) RUNS_ON(role_main);
/* The VRPs in use, lent until the next turn of main; NULL: none. */
struct vrps;
struct vrps *apply_vrps(const struct apply *apply) RUNS_ON(role_main);
/* The peers; lent for the life of the apply. */
const struct peers *apply_peers(const struct apply *apply) RUNS_ON(role_main);
/* The session of a peer; all 0: none. */
void apply_peek(const struct apply *apply, struct peer_id id, struct session_view *out)
	RUNS_ON(role_main);

/*
 * The name of an instance, `default` included, until the tables of the instance are removed; "?" for
 * a free id. Lent until the next commit.
 */
const char *apply_vrf_name(const struct apply *apply, struct vrf_id id) RUNS_ON(role_main);
/* The MPLS label of an instance; 0: none. */
uint32_t apply_instance_label(const struct apply *apply, struct vrf_id id) RUNS_ON(role_main);
/* The alarm about labels of instances. False: no alarm. */
#define APPLY_ALARM_MAX 320
bool apply_instances_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
	RUNS_ON(role_main);

/*
 * The labels for VPN routes with our next hop: those of this start (control/apply/swap_range.h), and
 * their alarm. Called once, before apply_start().
 */
struct swaps_config;
void apply_swap_range(struct apply *apply, struct swaps_config *out) RUNS_ON(role_main);
bool apply_swaps_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
	RUNS_ON(role_main);

/*
 * Before apply_create(): the policy files of the last commit, {path: text}, a new reference, for a start whose files on disk are
 * faulty. NULL: none are kept.
 */
json_t *apply_last_texts(const char *state_dir) RUNS_ON(role_main);
/* The alarm about policy files whose text on disk is not in force. False: no alarm. */
bool apply_policy_files_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
	RUNS_ON(role_main);

/* The alarm about files of main that are not written. False: no alarm. */
bool apply_disk_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
	RUNS_ON(role_main);

/* The alarm about network namespaces of instances. False: no alarm. */
bool apply_netns_alarm(const struct apply *apply, char text[static APPLY_ALARM_MAX])
	RUNS_ON(role_main);

/*
 * False: the group of the peer changes between `was` and `is`, of `next`, and the policy reads
 * `peer_group`. `policy` may be NULL.
 */
bool apply_group_same(const struct config *next, const struct config_peer *was,
	const struct config_peer *is, const char *policy);
/* The import or export policy of a peer under `next`, a parsed document. NULL: none. */
const struct policy *apply_policy_of(
	const struct config *next, const struct config_peer *p, enum family f, bool import);
/* The import policy that the shards run for a peer. NULL: none. Lent until the next turn of main. */
const struct policy *apply_import_policy(
	const struct apply *apply, struct peer_id id, enum family f) RUNS_ON(role_main);
/*
 * Why a committed import policy has not reached the routes of a peer: only a reset would apply it.
 * The reason stays until the session is established anew. NULL: the policy is applied. `v`: the
 * session now.
 */
const char *apply_not_applied(const struct apply *apply, struct peer_id id, enum family f,
	const struct session_view *v) RUNS_ON(role_main);
