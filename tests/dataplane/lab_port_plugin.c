/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lab port as a plugin of EAL (-d), for programs without lab support. Uses the file named by
 * the environment variable KEELLAB. EAL loads plugins before memory is available, but ethdev's
 * events need memory; the plugin therefore acts at the second scan of the bus, in port_add().
 */
#include "tests/dataplane/lab_port.h"

#include <errno.h>
#include <rte_bus_vdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
bus_scan(void *arg)
{
	static unsigned scans;
	const char *file = getenv("KEELLAB");
	struct lab_shared *s;
	int rc;

	if (++scans != 2)
		return;
	s = file != NULL ? lab_shared_open(file) : NULL;
	rc = s != NULL ? lab_port_enable(s) : -errno;
	if (rc != 0)
		fprintf(stderr, "keellab: KEELLAB=%s: %s\n", file != NULL ? file : "",
			strerror(-rc));
}

__attribute__((constructor)) static void
loaded(void)
{
	if (rte_vdev_add_custom_scan(bus_scan, NULL) != 0)
		fprintf(stderr, "keellab: no memory\n");
}
