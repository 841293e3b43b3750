/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TAP interface of a port without its own kernel interface: the kernel sees the port
 * under its name, with the NIC's MAC address, MTU and carrier. The kernel removes the interface
 * when the process ends, also after a kill. A persistent TAP of the name is adopted.
 */
#pragma once

#include "lpm/base/base.h"

/*
 * Creates the interface without carrier. Returns a non-blocking descriptor, or -errno. -EBUSY:
 * another process has the interface; -EEXIST: another kind of interface has the name.
 */
int tap_open(const char *name, const uint8_t mac[6], uint16_t mtu, unsigned *ifindex);
/* 0, -errno (-ENOTTY before Linux 5.0). */
int tap_carrier_set(int fd, bool up);
