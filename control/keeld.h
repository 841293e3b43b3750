/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon as seen by main: the command line, the layers with their threads, and the objects of
 * the rooms above. Only for the files at the top of control/ (main, wiring); rooms do not include
 * this header. Main only, unless a member says otherwise.
 */
#pragma once

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

struct keeld {
	/* command line */
	const char *config_file, *state_dir, *socket_option;
	const char *forwarder_socket; /* of keelfwd; NULL: ports and workers are in this process */
	const char *user; /* with keelfwd, started as root; NULL: keel, if there is such a user */
	bool no_dataplane, check_only;
	bool huge; /* tables try huge pages */
	bool failed; /* the exit status is 1 */

	struct config_host *host; /* for config_parse() */
	char *socket; /* where RPC listens */
	struct layers layers;
	struct forwarder *forwarder; /* NULL: ports and workers are in this process, or none */
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
