/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables in memory that two processes map, for keelfwd, which is not their writer: the sizes of
 * objects, to check addresses, and the state of next hops after the end of the writer.
 */
#pragma once

#include "lpm/base/bounds.h"
#include "lpm/path_list.h"

/* Bytes of a struct path_lists without arrays. */
size_t path_lists_bytes(void);
/*
 * For next_hop_peek() in keelfwd: a copy of `shared` in memory of path_lists_bytes() bytes. False: an
 * array is not inside.
 */
bool path_lists_bound(
	const struct path_lists *shared, const struct bounds *bounds, struct path_lists *out);

/*
 * While the writer of these arrays does not exist. next_hops_lose() sets each next hop that is up on
 * `port` to DOWN, by a store each, and keeps its adjacency in lost[] (NEXT_HOP_MAX entries, zeros at
 * first); next_hops_restore() sets the next hops in lost[] up again. Both return the number of next
 * hops.
 */
unsigned next_hops_lose(_Atomic uint64_t *words, const struct adjacency *adjacencies, uint16_t port,
	uint32_t *lost);
unsigned next_hops_restore(_Atomic uint64_t *words, const struct adjacency *adjacencies,
	uint16_t port, uint32_t *lost);
