/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of the set of ports at run time. A port whose configuration changes is closed and opened
 * again, perhaps with another number. Other ports forward meanwhile, without a lost packet.
 *
 * Main of the process that has the ports: of keelfwd, or of a keeld without a forwarder.
 */
#pragma once

#include "dataplane/port/port.h"

struct port_set_hooks {
	/*
	 * Calls port_show() or port_hide() on the thread of the host path. That thread has no
	 * packets of a hidden port.
	 */
	void (*show)(void *ctx, uint16_t port, bool shown);
	void *ctx;
};

/*
 * Closes the ports missing in `want`, and opens the new ports of `want`. A port that ran before, and
 * whose device is missing, is left without a device (PORT_MISSING). After a failure the former
 * ports are open again (PORT_FAILED: a port did not open again), and
 * *failed is the index in `want`; `count`: no port in particular. Returns 0, or -errno with `err`.
 */
int port_set_change(const struct port_config *want, unsigned count,
	const struct port_set_hooks *hooks, unsigned *failed, struct dataplane_error *err);
