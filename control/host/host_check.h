/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this host can give: processors, memory for the forwarding tables, file descriptors. A configuration that asks for more is refused
 * by config_parse() (config_set_host_check()): at start, by --check, by config.validate and by a commit alike.
 */
#pragma once

#include "lpm/base.h"

#include <stddef.h>

/*
 * Raises the soft limit of file descriptors to the hard limit, looks at the host, and registers the check. Once, before the first
 * config_parse() and the first thread.
 */
void host_check_start(bool no_dataplane);

/* Octets of `memory_mb` that EAL leaves to the forwarding tables. */
size_t host_table_memory(unsigned memory_mb);
/* Groups of each copy of the IPv4 table. */
uint32_t host_table_groups(size_t memory);
