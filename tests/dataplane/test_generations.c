/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A burst never mixes generations of IPv4 and IPv6. Numbered packets of both families in turn pass
 * the worker while each commit moves the routes of both families to the next hop with the number
 * of the commit. Generations change between bursts, so the numbers never decrease in the order of
 * arrival; a burst with two generations would go up and down.
 */
#include "lab.h"
#include "pcap.h"

#include <sys/resource.h>
#include <sys/wait.h>

#define PACKETS 300000
#define COMMITS 6000
#define FEW 2 /* exit status */
#define TRIES 10

static char directory[] = "/tmp/keel-test-generations-XXXXXX";
static const uint8_t in_mac[6] = {0x02, 'p', 'c', 'a', 'p', 1};
static struct lab_fib lab;
static struct next_hop_id hop[COMMITS];
static bool few; /* few commits were seen: the machine kept the test off the CPU */

static void
write_input(const char *path)
{
	struct ip_addr from = lab_addr("2001:db8:9::1"), to = lab_addr("2001:db8:1::1");
	struct lab_frame v4, v6;
	uint64_t seed = 1;
	FILE *f = pcap_create(path);

	assert_non_null(f);
	lab_udp(&v4, in_mac, IP(198, 51, 100, 1), IP(10, 1, 2, 3), 64, 0, 4, &seed);
	lab_udp6(&v6, in_mac, from.b, to.b, 64, 4, &seed);
	for (uint32_t i = 0; i < PACKETS; i++) {
		lab_set32(v4.b + 42, i);
		lab_set32(v6.b + 62, i);
		if (i & 1)
			pcap_put(f, v6.b, v6.len);
		else
			pcap_put(f, v4.b, v4.len);
	}
	assert_int_equal(fclose(f), 0);
}

static void
make_hops(void)
{
	for (unsigned i = 0; i < COMMITS; i++) {
		uint8_t mac[6] = {0x02, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i};

		hop[i] = lab_next_hop(&lab, IP(100, 64, i >> 8, i & 255), 0, mac, 1500);
	}
}

static void
move_both(unsigned number)
{
	lab_route_text(&lab, "10.0.0.0/8", PATH_LIST_FORWARD, PORT_NONE, &hop[number], 1);
	lab_route_text(&lab, "2001:db8:1::/48", PATH_LIST_FORWARD, PORT_NONE, &hop[number], 1);
	lab_commit(&lab);
}

/* number[i]: commit used by packet i. */
static void
read_output(const char *path, uint16_t *number)
{
	uint8_t got[256];
	unsigned count = 0;
	FILE *f = pcap_open(path);
	int len;

	assert_non_null(f);
	while ((len = pcap_next(f, got, sizeof(got))) > 0) {
		const uint8_t *at = got + (got[12] == 0x08 ? 42 : 62);
		uint32_t i = (uint32_t)(at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]);

		assert_true(i < PACKETS);
		number[i] = (uint16_t)(got[4] << 8 | got[5]);
		count++;
	}
	fclose(f);
	assert_int_equal(count, PACKETS);
}

static void
test_no_burst_mixes(void **state)
{
	uint16_t *number = calloc(PACKETS, sizeof(*number));
	char in[64], out[64], device[128];
	unsigned commits = 1, seen = 1;

	(void)state;
	assert_non_null(number);
	snprintf(in, sizeof(in), "%s/in.pcap", directory);
	snprintf(out, sizeof(out), "%s/out.pcap", directory);
	write_input(in);
	lab_eal_up(directory, 64);
	snprintf(device, sizeof(device), "net_pcap0,tx_pcap=%s", out);
	lab_port("out", device);
	snprintf(device, sizeof(device), "net_pcap1,rx_pcap=%s", in);
	lab_port("in", device);
	lab_fib_up(&lab);
	make_hops();
	move_both(0);
	lab_workers_up(&lab);
	/* before a worker that never sleeps: else packets go by few commits on a busy machine */
	(void)setpriority(PRIO_PROCESS, 0, -20);
	while (lab_seen() < PACKETS && commits < COMMITS)
		move_both(commits++);
	while (lab_seen() < PACKETS)
		sched_yield();
	assert_int_equal(worker_stats(0)->forwarded, PACKETS);
	workers_stop();
	dataplane_fini();
	lab_fib_down(&lab);
	read_output(out, number);
	for (unsigned i = 1; i < PACKETS; i++) {
		if (number[i] < number[i - 1])
			fail_msg("packet %u went by commit %u, the one before it by %u", i,
				number[i], number[i - 1]);
		seen += number[i] != number[i - 1];
	}
	print_message("%u commits, packets went by %u of them\n", commits, seen);
	unlink(in);
	unlink(out);
	free(number);
	few = seen <= 10;
}

static int
run(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_burst_mixes)};
	int failed = mkdtemp(directory) == NULL || cmocka_run_group_tests(tests, NULL, NULL) != 0;

	rmdir(directory);
	return failed ? 1 : few ? FEW : 0;
}

/* Each try runs in a process of its own, because EAL starts once per process. */
int
main(void)
{
	for (unsigned n = 0; n < TRIES; n++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			role_enter_main();
			exit(run());
		}
		if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
			return 1;
		if (WEXITSTATUS(status) != FEW)
			return WEXITSTATUS(status);
	}
	fprintf(stderr, "in none of %u tries packets went by more than a few commits\n", TRIES);
	return 1;
}
