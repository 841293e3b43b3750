/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rate limit of ICMP errors (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)). A worker has a bound, and each destination prefix of errors (/24 of IPv4,
 * /48 of IPv6) has a smaller bound, so a single scanner does not use up the errors of all hosts.
 *
 * Errors for path MTU discovery have separate buckets: a scanner with forged sources, which exhausts the worker's bound with expired TTLs,
 * does not stop fragmentation-needed and packet-too-big.
 *
 * Prefixes share ICMP_LIMIT_BUCKETS buckets by a hash. The key of the hash is secret and random for each worker, so an attacker cannot aim at
 * the bucket of a chosen prefix. The time is part of the hash: two prefixes with the same bucket separate after a minute at most.
 *
 * Writer: the worker. Data-path safe: two cache lines for each error, no memory, lock, log or system call.
 */
#pragma once

#include "lpm/base/base.h"
#include "lpm/base/prefix.h"

#include <string.h>

#define ICMP_PER_S 1000 /* for each class */
#define ICMP_PREFIX_PER_S 100
#define ICMP_BURST_PART 10 /* a bucket holds the errors of a tenth of a second */
#define ICMP_LIMIT_BUCKETS 256 /* for each class; a power of two */
#define ICMP_LIMIT_EPOCH_SHIFT 37 /* TSC cycles per epoch: 46 s at 3 GHz */

enum icmp_class {
	ICMP_CLASS_TOO_BIG,
	ICMP_CLASS_OTHER,
	ICMP_CLASSES,
};

struct icmp_limit {
	uint64_t key[2];
	uint64_t hz;
	uint64_t period, prefix_period; /* TSC cycles per error */
	/* When each bucket is full again, in TSC cycles. A bucket of the past is full. */
	uint64_t full_at[ICMP_CLASSES];
	uint64_t prefix_full_at[ICMP_CLASSES][ICMP_LIMIT_BUCKETS];
};

/* `key` is random. Not on the data path. */
static inline void
icmp_limit_init(struct icmp_limit *l, uint64_t hz, const uint64_t key[2])
{
	*l = (struct icmp_limit){.key = {key[0], key[1]},
		.hz = hz,
		.period = hz / ICMP_PER_S,
		.prefix_period = hz / ICMP_PREFIX_PER_S};
}

/* Takes one error out of the bucket; false: the bucket is empty. */
static inline bool
icmp_limit_bucket_take(uint64_t *full_at, uint64_t now, uint64_t period, uint64_t most)
{
	uint64_t at = *full_at;

	/* more than `most` ahead of now: the kernel moved the worker to a CPU whose TSC is behind */
	if (at < now || at - now > most)
		at = now;
	if (at + period - now > most)
		return false;
	*full_at = at + period;
	return true;
}

/* The /24 or /48 of the source of the IP packet `ip`, as one word. */
static inline uint64_t
icmp_limit_prefix(const uint8_t *ip, enum afi afi)
{
	uint64_t word = 0;

	if (afi == AFI_IPV4)
		memcpy(&word, ip + 12, 3);
	else
		memcpy(&word, ip + 8, 6);
	return word | (uint64_t)afi << 48;
}

/* May the error about `ip` be sent now? `ip` was received in `vrf`. */
static inline bool
icmp_limit_take(struct icmp_limit *l, const uint8_t *ip, enum afi afi, struct vrf_id vrf,
	enum icmp_class class, uint64_t now)
{
	uint64_t most = l->hz / ICMP_BURST_PART;
	uint64_t word = icmp_limit_prefix(ip, afi) ^ hash_mix(l->key[0] ^ vrf.v);
	uint64_t hash = hash_mix(hash_mix(word) ^ l->key[1] ^ now >> ICMP_LIMIT_EPOCH_SHIFT);
	uint64_t *bucket = &l->prefix_full_at[class][hash % ICMP_LIMIT_BUCKETS];

	/* The prefix first: an error that the prefix may not have takes no token of the worker. */
	return icmp_limit_bucket_take(bucket, now, l->prefix_period, most) &&
	       icmp_limit_bucket_take(&l->full_at[class], now, l->period, most);
}
