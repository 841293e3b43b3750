/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arguments of EAL and the devices that keelfwd takes from keeld. keelfwd has more rights than
 * keeld, so it refuses what makes DPDK load, run or write a file, unless the same text is on the
 * command line of keelfwd (`--permit`).
 *
 * Owner: the thread of keelfwd.
 */
#pragma once

#include <stdbool.h>

/* The texts of `--permit`. */
struct permitted {
	const char *const *text;
	unsigned count;
};

/*
 * Checks the arguments of EAL. Returns `count`, or the index of the first refused argument.
 * Permitted without `--permit`: the options that set memory, IOVA mode, telemetry and the log
 * level, and `-a` and `-b` with a permitted device.
 */
unsigned permit_eal_args(const char *const *args, unsigned count, const struct permitted *own);
/*
 * True for a PCI or VMBus address with any arguments, and for net_af_xdp (without xdp_prog),
 * net_af_packet, net_memif, net_null, net_tap and net_virtio_user with a number behind.
 */
bool permit_device(const char *device, const struct permitted *own);
