/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of the set of ports at run time. A port whose configuration changes is closed and opened
 * again, perhaps with another number. Other ports forward meanwhile, without a lost packet.
 *
 * The thread of keelfwd.
 */
#pragma once

#include "dataplane/port/port.h"

/*
 * Closes the ports missing in `want`, and opens the new ports of `want`. A port that ran before, and
 * whose device is missing, is left without a device (PORT_MISSING). After a failure the former
 * ports are open again (PORT_FAILED: a port did not open again), and
 * *failed is the index in `want`; `count`: no port in particular. Returns 0, or -errno with `err`.
 */
int port_set_change(const struct port_config *want, unsigned count, unsigned *failed,
	struct dataplane_error *err) RUNS_ON(role_host);
