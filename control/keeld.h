/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon as seen by main: the command line, the layers with their threads, and the objects of
 * the rooms above. Only for the files at the top of control/ (main, wiring); rooms do not include
 * this header. Main only, unless a member says otherwise.
 */
#pragma once

#include <sys/stat.h>

#include "control/base/layers.h"

struct apply;
struct audits;
struct bmp;
struct mrt;
struct config_host;
struct forwarder;
struct forwarding;
struct host_routes;
struct jobs;
struct memory_guard;
struct rpc;
struct rpki;
struct watchdog;
struct wiring;

#define KEELD_PERMITS_MAX 64

struct keeld {
	/* command line */
	const char *config_file, *state_dir, *socket_option;
	const char *forwarder_socket; /* of keelfwd; NULL until start(): the default */
	const char *user; /* started as root; NULL: keel, if there is such a user */
	const char *forwarder_user; /* of keelfwd, the same; NULL: keel-forwarder */
	const char *permits[KEELD_PERMITS_MAX]; /* for keelfwd: dataplane/process/permit.h */
	unsigned permit_count;
	bool file_trusted; /* FILE permits eal_args and devices: control/rights.h */
	struct stat file_seen; /* of FILE, before FILE was read */
	bool may_enter; /* not root, and with CAP_SYS_ADMIN at the start */
	bool no_dataplane, check_only;
	bool failed; /* the exit status is 1 */
	bool leaves; /* SIGINT: no keeld continues */
	bool stays; /* keelfwd and its ports continue after the end of keeld */

	struct config_host *host; /* for config_parse() */
	char *socket; /* where RPC listens */
	char *forwarder_default; /* of forwarder_socket; or NULL */
	struct layers layers;
	struct forwarder *forwarder; /* NULL: no data plane */
	struct forwarding *forwarding; /* control/forwarding.h; NULL without keelfwd */
	struct wiring *wiring; /* state of the messages between threads */
	struct jobs *jobs;
	struct host_routes *host_routes;
	struct rpki *rpki;
	struct bmp *bmp;
	struct mrt *mrt;
	struct apply *apply;
	struct audits *audits;
	struct memory_guard *guard;
	struct rpc *rpc;
	struct watchdog *watchdog; /* NULL: not started */
	struct watch signals;
	struct timer decay; /* of the arenas */
	uint64_t started_ns;
};
