/* SPDX-License-Identifier: BSD-3-Clause */
/* Interned sets as tests read them: unpacked into a buffer of the thread, which the fourth call after reuses. */
#pragma once

#include "rib/table/attr.h"

static inline const struct attr_set *
attr_unpacked(const struct attr_packed *p)
{
	static _Thread_local union {
		struct attr_set set;
		uint8_t bytes[ATTR_SET_MAX];
	} room[4];
	static _Thread_local unsigned next;

	return p != NULL ? attr_unpack(p, &room[next++ % 4].set) : NULL;
}

static inline const struct attr_set *
attr_of(const struct attr_table *t, struct attr_id id)
{
	return attr_unpacked(attr_get(t, id));
}
