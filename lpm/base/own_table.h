/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The routing table of the kernel for packets that the router itself sends from an address of a
 * port or of a loopback: rules `from ADDRESS lookup OWN_TABLE`. keeld asks for rules and routes
 * (control/host/own_routes.c); with keelfwd, keelfwd checks and sets both.
 */
#pragma once

#define OWN_TABLE 179
#define OWN_PROTOCOL 179 /* of rules and routes: those of others in the table stay */
/* Behind the local table (0) and the blackhole of the ports, before the main table (32766). */
#define OWN_RULE_PRIORITY 101
