/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/forward/stats.h"
#include "dataplane/port/port_inner.h"
#include "dataplane/forward/worker.h"
#include "dataplane/forward/worker_struct.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

/* Losses of the AF_XDP socket: counted by the kernel since the socket was created. */
static void
xdp_counters_add(int fd, struct port_counters *out)
{
	struct xdp_statistics s = {0};
	socklen_t len = sizeof(s);

	if (fd < 0 || getsockopt(fd, SOL_XDP, XDP_STATISTICS, &s, &len) != 0)
		return;
	out->xdp_rx_dropped += s.rx_dropped;
	out->xdp_rx_ring_full += s.rx_ring_full;
	out->xdp_fill_empty += s.rx_fill_ring_empty_descs;
	out->xdp_invalid += s.rx_invalid_descs + s.tx_invalid_descs;
}

static int
device_counters_add(uint16_t ethdev, struct port_counters *out)
{
	struct rte_eth_stats s;
	int rc = rte_eth_stats_get(ethdev, &s);

	if (rc != 0)
		return rc;
	out->rx_packets += s.ipackets;
	out->tx_packets += s.opackets;
	out->rx_bytes += s.ibytes;
	out->tx_bytes += s.obytes;
	out->rx_missed += s.imissed;
	out->rx_errors += s.ierrors;
	out->rx_no_buffer += s.rx_nombuf;
	return 0;
}

/* Of a port on a VLAN: the device counts for all VLANs together. */
static void
vlan_counters_add(uint16_t port, struct port_counters *out)
{
	const struct worker *w;

	/* relaxed: counters */
	for (unsigned i = 0; (w = worker_at(i)) != NULL; i++) {
		const struct vlan_counters *c = &w->vlan_counters[port];

		out->rx_packets += atomic_load_explicit(&c->rx_packets, memory_order_relaxed);
		out->rx_bytes += atomic_load_explicit(&c->rx_bytes, memory_order_relaxed);
		out->tx_packets += atomic_load_explicit(&c->tx_packets, memory_order_relaxed);
		out->tx_bytes += atomic_load_explicit(&c->tx_bytes, memory_order_relaxed);
	}
}

int
port_counters_get(uint16_t port, struct port_counters *out)
{
	uint16_t parent;

	memset(out, 0, sizeof(*out));
	if (port >= port_count())
		return -ENOENT;
	if (!port_runs(port))
		return -ENODEV;
	/* Not oerrors of ethdev: AF_XDP counts these packets there, too. */
	out->tx_dropped = workers_tx_dropped(port);
	if (port_vlan_get(port, &parent).outer != 0) {
		vlan_counters_add(port, out);
		return 0;
	}
	for (unsigned q = 0; q == 0 || port_xdp_socket(port, q) >= 0; q++) {
		struct port_queue queue = port_rx_queue(port, q);
		int rc = 0;

		port_asks_begin(port);
		if (queue.queue == 0) /* once for each device */
			rc = device_counters_add(queue.ethdev, out);
		port_asks_end(port);
		if (rc != 0)
			return rc;
		xdp_counters_add(port_xdp_socket(port, q), out);
	}
	return 0;
}

/* Counters first.. of a device with `count` counters. Returns their number. */
static unsigned
device_driver_counters(uint16_t ethdev, unsigned queue, unsigned count, unsigned first,
	struct driver_counter *out, unsigned max)
{
	struct rte_eth_xstat_name *name = calloc(count, sizeof(*name));
	struct rte_eth_xstat *value = calloc(count, sizeof(*value));
	unsigned n = 0;

	if (name != NULL && value != NULL &&
		rte_eth_xstats_get_names(ethdev, name, count) == (int)count &&
		rte_eth_xstats_get(ethdev, value, count) == (int)count) {
		for (; n < max && first + n < count; n++) {
			const struct rte_eth_xstat *v = &value[first + n];

			if (v->id >= count)
				break;
			if (queue > 0)
				(void)snprintf(out[n].name, sizeof(out[n].name), "queue%u_%s",
					queue, name[v->id].name);
			else
				(void)snprintf(
					out[n].name, sizeof(out[n].name), "%s", name[v->id].name);
			out[n].value = v->value;
		}
	}
	free(name);
	free(value);
	return n;
}

unsigned
port_driver_counters(uint16_t port, unsigned first, struct driver_counter *out, unsigned max)
{
	uint16_t parent;

	if (port >= port_count() || !port_runs(port) || port_vlan_get(port, &parent).outer != 0)
		return 0;
	for (unsigned q = 0; q == 0 || port_xdp_socket(port, q) >= 0; q++) {
		uint16_t ethdev = port_rx_queue(port, q).ethdev;
		unsigned n = 0;
		int count;

		if (port_rx_queue(port, q).queue != 0)
			continue;
		port_asks_begin(port);
		count = rte_eth_xstats_get(ethdev, NULL, 0);
		if (count > 0 && first < (unsigned)count)
			n = device_driver_counters(ethdev, q, (unsigned)count, first, out, max);
		port_asks_end(port);
		if (count <= 0)
			continue;
		if (first < (unsigned)count)
			return n;
		first -= (unsigned)count;
	}
	return 0;
}
