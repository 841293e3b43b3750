/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The resources of this host: processors, memory for the forwarding tables, file descriptors; and
 * the ids of the VPN instances (control/config/vrf_names.h). config_parse() refuses a document that asks for more: at start, with --check, in config.validate
 * and in a commit alike.
 */
#pragma once

#include "lpm/base/base.h"

#include <stddef.h>

struct config;
struct config_host;
struct fault;

/*
 * Calls warn() for each port of `default` whose device or interface this host lacks: a start would wait for
 * it. The fault is lent for the call.
 */
void host_check_devices(const struct config_host *host, const struct config *c,
	void (*warn)(void *ctx, const struct fault *f), void *ctx);
/*
 * Raises the soft limit of file descriptors to the hard limit and measures the host. Once, before
 * the first thread. The result is for config_parse(). NULL: out of memory.
 */
struct config_host *host_check_create(bool no_dataplane);
void host_check_destroy(struct config_host *host);

/* Octets of `memory_mb` that EAL leaves to the forwarding tables. */
size_t host_table_memory(unsigned memory_mb);
/* Groups of each copy of the IPv4 table. */
uint32_t host_table_groups(size_t memory);
