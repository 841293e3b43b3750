/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two workers on ports with two queues and with one: both forward, every frame leaves by its port,
 * intact and in the order of its source, while the table changes. FRAMES: frames of each source.
 */
#include "tests/dataplane/lab.h"
#include "dataplane/forward/burst.h"
#include "dataplane/port/port_inner.h"
#include "tests/dataplane/lab_port.h"

#include <sys/resource.h>

#define PORTS 3 /* two queues, default map; two queues of worker 1; one queue for both workers */
#define SOURCES 5
#define FLOWS 4096
#define CHANGES 20

static const unsigned both_to_1[] = {1, 1};
static struct lab_fib fib;
static struct lab_shared *ports;
/* for each port two next hops */
static struct next_hop_id hop[PORTS][2];
static const unsigned source[SOURCES] = {0, 1, 2, LAB_PORTS, LAB_PORTS + 1}; /* side[] */
static uint64_t frames;

static uint64_t
sum(size_t at)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LAB_QUEUES * LAB_PORTS; i++)
		n += lab_count((const _Atomic uint64_t *)((const char *)&ports->side[i] + at));
	return n;
}
#define SUM(name) sum(offsetof(struct lab_side, name))

static uint64_t
drops(unsigned worker)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < DROP_COUNT; i++)
		n += lab_count(&worker_stats(worker)->drops[i]);
	return n;
}

/* 10.0.0.0/8 and 2001:db8:PORT::/48, a quarter for each port; the fourth goes to port 0. */
static unsigned
class_of(unsigned i)
{
	return i % 4 < PORTS ? i % 4 : 0;
}

static void
make_flows(void)
{
	struct lab_flow_v4 *v4 = (struct lab_flow_v4 *)(uintptr_t)lab_flows_v4(ports);
	struct lab_flow_v6 *v6 = (struct lab_flow_v6 *)(uintptr_t)lab_flows_v6(ports);

	for (unsigned i = 0; i < FLOWS; i++) {
		uint8_t class = (uint8_t)class_of(i);

		v4[i].class = v6[i].class = class;
		lab_set32((uint8_t *)&v4[i].dst, IP(10, class, i >> 8, i & 255));
		memcpy(v6[i].dst, "\x20\x01\x0d\xb8\0", 5);
		v6[i].dst[5] = class;
		v6[i].dst[15] = (uint8_t)i;
		v6[i].label = 0x60;
	}
}

static void
set_routes(unsigned turn)
{
	for (unsigned port = 0; port < PORTS; port++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "10.%u.0.0/16", port);
		lab_route_text(&fib, text, PATH_LIST_FORWARD, PORT_NONE, &hop[port][turn % 2], 1);
		(void)snprintf(text, sizeof(text), "2001:db8:%u::/48", port);
		lab_route_text(&fib, text, PATH_LIST_FORWARD, PORT_NONE, &hop[port][turn % 2], 1);
	}
	lab_commit(&fib);
}

static void
add_port(const char *name, const char *device, unsigned queues, const unsigned *workers)
{
	struct dataplane_error err = {""};
	uint16_t port;
	int rc = port_add(&(struct port_config){.name = name,
				  .device = device,
				  .mtu = 1500,
				  .queues = queues,
				  .queue_workers = workers,
				  .queue_worker_count = workers != NULL ? 2 : 0},
		&port, &err);

	if (rc != 0)
		fail_msg("port_add %s: %d %s", name, rc, err.text);
}

static void
queues_and_map(void **state)
{
	struct tx_lock *one, *other;

	assert_int_equal(port_rx_queues(0), 2); /* by default one for each worker */
	assert_int_equal(port_tx_queues(0), 2);
	assert_int_equal(port_queue_worker(0, 0), 0);
	assert_int_equal(port_queue_worker(0, 1), 1);
	assert_int_equal(port_queue_worker(1, 0), 1);
	assert_int_equal(port_queue_worker(1, 1), 1);
	assert_int_equal(port_rx_queues(2), 1);
	assert_int_equal(port_queue_worker(2, 0), 0);
	assert_int_equal(port_tx_queue(0, 0, &one).queue, 0);
	assert_int_equal(port_tx_queue(0, 1, &other).queue, 1);
	assert_null(one);
	assert_null(other);
	assert_int_equal(port_tx_queue(2, 0, &one).queue, 0);
	assert_int_equal(port_tx_queue(2, 1, &other).queue, 0);
	assert_non_null(one);
	assert_ptr_equal(one, other);
}

static bool
all_sent(void *ctx)
{
	return SUM(sent) == SOURCES * frames;
}

static bool
all_seen(void *ctx)
{
	return SUM(seen) + drops(0) + drops(1) == SOURCES * frames;
}

static void
both_forward(void **state)
{
	for (unsigned i = 0; i < SOURCES; i++)
		atomic_store_explicit(&ports->side[source[i]].limit, frames, memory_order_relaxed);
	atomic_store_explicit(&ports->run, 1, memory_order_release);
	for (unsigned turn = 1; turn <= CHANGES; turn++)
		set_routes(turn);
	assert_true(lab_wait(all_sent, NULL, 300));
	assert_true(lab_wait(all_seen, NULL, 300));
	assert_int_equal(drops(0) + drops(1), 0);
	/* sources of worker 0: a queue of port 0, and port 2 */
	assert_int_equal(lab_count(&worker_stats(0)->forwarded), 2 * frames);
	assert_int_equal(lab_count(&worker_stats(1)->forwarded), 3 * frames);
	assert_int_equal(SUM(seen), SOURCES * frames);
	assert_int_equal(SUM(reordered), 0);
	assert_int_equal(SUM(misdirected), 0);
	assert_int_equal(SUM(damaged), 0);
	assert_int_equal(SUM(foreign), 0);
	assert_true(SUM(checked) > 0);
	/* both workers used their own queue of port 0, and the only queue of port 2 */
	assert_true(lab_count(&ports->side[0].seen) > 0);
	assert_true(lab_count(&ports->side[LAB_PORTS].seen) > 0);
	assert_true(lab_count(&ports->side[2].seen) > 0);
	assert_int_equal(lab_count(&ports->side[LAB_PORTS + 2].seen), 0);
}

/* The rings of the host are worker 0's; a packet of the host leaves by every port. */
static void
host_packets_leave(void **state)
{
	uint8_t packet[46] = {0x45, [3] = 46, [8] = 64, [9] = 17, [12] = 192, 0, 2, 1, 10, 2, 0, 9};
	uint64_t before = SUM(foreign);
	uint64_t deadline = tick_deadline(300);
	uint16_t check = lab_checksum(packet, 20);

	packet[10] = (uint8_t)(check >> 8);
	packet[11] = (uint8_t)check;
	for (uint8_t port = 0; port < PORTS; port++) {
		packet[17] = port;
		check = lab_checksum(packet, 20);
		packet[10] = (uint8_t)(check >> 8);
		packet[11] = (uint8_t)check;
		assert_int_equal(worker_inject(VRF_DEFAULT, packet, sizeof(packet)), 0);
	}
	while (SUM(foreign) < before + PORTS)
		assert_true(tick(deadline));
}

static void
prepare(void)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0xbb};

	lab_fib_up(&fib);
	add_port("lab0", "net_null_lab0,no-rx=1", 0, NULL);
	add_port("lab1", "net_null_lab1,no-rx=1", 2, both_to_1);
	add_port("lab2", "net_null_lab2,no-rx=1", 1, NULL);
	for (unsigned i = 0; i < PORTS; i++) {
		atomic_store_explicit(&ports->allowed[i], 1u << i, memory_order_relaxed);
		for (unsigned k = 0; k < 2; k++)
			hop[i][k] = lab_next_hop(
				&fib, IP(192, 0, 2, 10 + 2 * i + k), (uint16_t)i, mac, 1500);
	}
	set_routes(0);
	lab_workers_up_count(&fib, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queues_and_map),
		cmocka_unit_test(both_forward),
		cmocka_unit_test(host_packets_leave),
	};
	static char directory[] = "/tmp/keel-test-queues-XXXXXX";
	const char *size = getenv("FRAMES");
	cpu_set_t cpus;
	int failed;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0 || CPU_COUNT(&cpus) < 2) {
		fprintf(stderr, "skipped: two workers need two CPUs\n");
		return 77;
	}
	/* As the busy workers: this thread gets a hundredth of two CPUs otherwise. */
	(void)setpriority(PRIO_PROCESS, 0, -20);
	frames = size != NULL ? strtoull(size, NULL, 10) : 400000;
	role_enter_main();
	role_enter_host();
	if (mkdtemp(directory) == NULL)
		return 1;
	ports = lab_shared_create(NULL, FLOWS, FLOWS);
	assert_non_null(ports);
	make_flows();
	ports->v6_pattern = UINT64_C(0xf0f0f0f0f0f0f0f0);
	for (unsigned i = 0; i < LAB_QUEUES * LAB_PORTS; i++)
		atomic_store_explicit(&ports->side[i].limit, 0, memory_order_relaxed);
	lab_eal_up_workers(directory, 512, 2);
	assert_int_equal(lab_port_enable(ports), 0);
	prepare();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	workers_stop();
	lab_fib_down(&fib);
	dataplane_fini();
	lab_shared_close(ports);
	rmdir(directory);
	return failed;
}
