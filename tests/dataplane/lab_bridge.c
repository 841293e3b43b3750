/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwards all frames between two DPDK devices: the far end of a port in memory (net_memif), whose
 * other side is then a kernel interface in the network namespace of this process.
 *
 *   lab_bridge CPU net_memif0,role=client,socket=PATH net_tap0,iface=up
 *   lab_bridge CPU net_memif0,role=client,socket=PATH net_pcap0,iface=up
 *
 * net_tap sends frames of at most 1,522 octets; net_af_packet reassembles fragments.
 *
 * Prints "up" when both devices have started. Ends at SIGTERM. Sleeps while there are no frames.
 */
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BURST 32
#define MBUFS 2047
#define DATA_ROOM (RTE_PKTMBUF_HEADROOM + 9600) /* jumbo frames */
#define IDLE_US 100

static volatile sig_atomic_t ended;

static void
on_signal(int number)
{
	(void)number;
	ended = 1;
}

/* Returns the port, or ends the process. */
static uint16_t
start(const char *device, struct rte_mempool *pool)
{
	struct rte_eth_conf conf = {0};
	char name[64];
	uint16_t port;

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
	if (rte_dev_probe(device) != 0 || rte_eth_dev_get_port_by_name(name, &port) != 0 ||
		rte_eth_dev_configure(port, 1, 1, &conf) != 0 ||
		rte_eth_rx_queue_setup(port, 0, 1024, SOCKET_ID_ANY, NULL, pool) != 0 ||
		rte_eth_tx_queue_setup(port, 0, 1024, SOCKET_ID_ANY, NULL) != 0 ||
		rte_eth_dev_start(port) != 0) {
		fprintf(stderr, "lab_bridge: %s does not start\n", device);
		exit(1);
	}
	(void)rte_eth_promiscuous_enable(port);
	return port;
}

static unsigned
forward(uint16_t from, uint16_t to)
{
	struct rte_mbuf *m[BURST];
	uint16_t n = rte_eth_rx_burst(from, 0, m, BURST), sent = 0;

	for (unsigned tries = 0; sent < n && tries < 100; tries++)
		sent = (uint16_t)(sent + rte_eth_tx_burst(to, 0, m + sent, (uint16_t)(n - sent)));
	rte_pktmbuf_free_bulk(m + sent, (unsigned)(n - sent));
	return n;
}

int
main(int argc, char **argv)
{
	char lcores[32], prefix[32];
	char *eal[] = {argv[0], "--no-huge", "--no-shconf", "--no-telemetry", "--no-pci", "-m",
		"64", lcores, prefix, NULL};
	struct rte_mempool *pool;
	uint16_t port[2];

	if (argc != 4) {
		fprintf(stderr, "usage: lab_bridge CPU DEVICE DEVICE\n");
		return 2;
	}
	(void)snprintf(lcores, sizeof(lcores), "--lcores=0@%s", argv[1]);
	(void)snprintf(prefix, sizeof(prefix), "--file-prefix=bridge-%d", (int)getpid());
	if (rte_eal_init(9, eal) < 0)
		return 1;
	signal(SIGTERM, on_signal);
	pool = rte_pktmbuf_pool_create("bridge", MBUFS, 0, 0, DATA_ROOM, SOCKET_ID_ANY);
	if (pool == NULL)
		return 1;
	for (unsigned i = 0; i < 2; i++)
		port[i] = start(argv[2 + i], pool);
	printf("up\n");
	fflush(stdout);
	while (!ended) {
		if (forward(port[0], port[1]) + forward(port[1], port[0]) == 0)
			usleep(IDLE_US);
	}
	for (unsigned i = 0; i < 2; i++) {
		(void)rte_eth_dev_stop(port[i]);
		(void)rte_eth_dev_close(port[i]);
	}
	(void)rte_eal_cleanup();
	(void)rmdir(rte_eal_get_runtime_dir());
	return 0;
}
