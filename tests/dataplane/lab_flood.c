/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends one frame again and again, as fast as the machine can: a flood for tests/interop/test_host_path.py.
 *
 *   lab_flood INTERFACE SECONDS FRAME-IN-HEX
 *
 * Prints the number of frames that the interface was given.
 */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define FRAME_MAX 1514

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t
parse(const char *hex, uint8_t frame[FRAME_MAX])
{
	size_t n = 0;
	unsigned octet;

	while (n < FRAME_MAX && sscanf(hex + 2 * n, "%2x", &octet) == 1)
		frame[n++] = (uint8_t)octet;
	return n;
}

int
main(int argc, char **argv)
{
	static uint8_t frame[FRAME_MAX];
	struct mmsghdr m[BATCH];
	struct iovec v;
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	uint64_t sent = 0;
	int one = 1, fd;
	double end;

	if (argc != 4)
		return 2;
	v = (struct iovec){frame, parse(argv[3], frame)};
	for (unsigned i = 0; i < BATCH; i++)
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	/* without a queue, whose drops the counters of the interface do not have */
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) != 0 ||
		bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
		perror("lab_flood");
		return 1;
	}
	end = now_s() + strtod(argv[2], NULL);
	while (now_s() < end) {
		int n = sendmmsg(fd, m, BATCH, 0);

		sent += n > 0 ? (uint64_t)n : 0;
	}
	printf("%llu\n", (unsigned long long)sent);
	return 0;
}
