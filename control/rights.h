/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rights of keeld with keelfwd (--forwarder). keeld parses octets of strangers, so keeld gives up
 * all rights that it needs for the start alone: keeld runs as a user, with CAP_NET_BIND_SERVICE
 * only, and a filter kills keeld at a system call that keeld does not need. keelfwd executes the
 * remaining changes of the kernel's tables (dataplane/process/host_netlink.h).
 *
 * With VPN instances in the document at the start, or where a user other than root was given
 * CAP_SYS_ADMIN (the drop-in of the unit), keeld also keeps CAP_SYS_ADMIN and CAP_NET_ADMIN, and
 * the calls for network namespaces: sockets of an instance are opened in its namespace.
 *
 * Main only, in this order.
 */
#pragma once

#include "control/keeld.h"

/*
 * Started as root: becomes k->user and keeps the capabilities. Sets k->file_trusted first:
 * root alone can write FILE, or keeld has no capability. 0, -errno (logged).
 */
int keeld_user_set(struct keeld *k) RUNS_ON(role_main);
/* True if keeld and a new keelfwd keep the right to enter network namespaces. */
bool keeld_uses_namespaces(const struct keeld *k) RUNS_ON(role_main);
/* Checks that the user may write the state directory and the folder of the socket; warns if FILE cannot be replaced. 0, -errno (logged). */
int keeld_rights_check(struct keeld *k) RUNS_ON(role_main);
/* Gives up capabilities. Before any thread besides main exists. 0, -errno (logged). */
int keeld_rights_limit(struct keeld *k) RUNS_ON(role_main);
/* Installs the filter in all threads. The last step of the start. 0, -errno (logged). */
int keeld_calls_limit(struct keeld *k) RUNS_ON(role_main);
