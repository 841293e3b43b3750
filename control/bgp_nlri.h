/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NLRI by family: RFC 4271 4.3, 4760 5, path identifiers RFC 7911 3. Labels and route distinguishers come with VPNv4.
 * Works on its arguments only.
 */
#pragma once

#include "control/bgp_error.h"
#include "control/wire.h"
#include "lpm/prefix.h"

#include <stdbool.h>
#include <stdint.h>

struct nlri {
	struct prefix prefix; /* host bits cleared */
	uint32_t path_id;
	uint32_t label;
};

/* Reads the next one. False at the end of `r`, or with r->bad set when the field is syntactically incorrect (RFC 7606 5.3). */
bool nlri_read(struct rd *r, enum family f, bool add_path, struct nlri *out);
/* Checks the whole field. */
bool nlri_check(struct rd r, enum family f, bool add_path);
/* Octets that it takes on the wire. */
size_t nlri_wire_len(const struct prefix *p, bool add_path);
void nlri_write(struct wr *w, const struct prefix *p, bool add_path, uint32_t path_id);
