/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI devices that leave and come back at run time. The kernel asks each user of a device to leave,
 * and waits: main closes the port (dataplane/process/port_set.h). A device is opened again after
 * a return with a driver for DPDK.
 */
#pragma once

#include "lpm/base/base.h"

/* Requests for a device reach port_watch_pull() from here on. 0 or -errno. */
int port_pulls_watch(void);
void port_pulls_unwatch(void);
/* True if `device` (device arguments) begins with a PCI address, with or without a domain. */
bool device_is_pci(const char *device);
/* True if the PCI device exists and belongs to vfio, uio, or a driver that shares the device. */
bool device_is_ready(const char *device);
/* The vendor of a PCI device; 0: the device does not exist. */
unsigned device_vendor(const char *device);
/* True if the device is an E810 (ice), and this host has no DDP package for it. */
bool device_lacks_ddp(const char *device);
/* The NUMA socket of a PCI device, or -1. */
int device_socket(const char *device);
