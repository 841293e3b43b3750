/* SPDX-License-Identifier: BSD-3-Clause */
/* What bench_forward holds the worker against: loops of bench_forward_others.c, run on the worker's lcore. Main's. */
#pragma once

#include "lpm/path_list.h"
#include "lpm/base/prefix.h"

#include <stddef.h>

struct rte_lpm;

enum forward_kind { FORWARD_IO, FORWARD_KEEL, FORWARD_LPM, FORWARD_FIB, FORWARD_FIB_AVX512 };

/* Tables with the same routes as ours, whose answers are path lists' ids. */
void forward_tables_make(const struct prefix *route, const uint8_t *hop,
	const struct path_list_id *list, size_t count, bool v6);
/* The loop with rte_lpm looks up in Keel's table, which is an rte_lpm. */
void forward_lpm_set(struct rte_lpm *lpm);
/* Where answers lead to: port and Ethernet addresses. */
void forward_hop_set(uint32_t list, uint16_t port, const uint8_t ether[12]);
void forward_port_set(uint16_t port, uint16_t ethdev);
bool forward_has(enum forward_kind kind);
/* `burst`: packets at most, up to 256. */
void forward_start(enum forward_kind kind, bool v6, unsigned burst);
void forward_stop(void);
