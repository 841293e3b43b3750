/* SPDX-License-Identifier: BSD-3-Clause */
/* Fixture for tests of a table, both families: the shadow to be painted. */
#pragma once

#include "lpm/base/arena.h"
#include "lpm/shadow.h"
#include "tests/lpm/size.h"
#include "tests/lpm/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#ifdef KEEL_SANITIZED
#define SCALE 10
#else
#define SCALE test_size(5, 1)
#endif

static struct arena *arena;
static struct shadow *shadow;

static inline int
rig_begin(enum afi afi)
{
	if (arena_create("test", &arena) != 0)
		return -1;
	return shadow_create(arena, afi, &shadow);
}

/* Destroys the shadow and arena, after the table. */
static inline int
rig_end(void)
{
	shadow_destroy(shadow);
	assert_int_equal(arena_bytes(arena), 0);
	arena_destroy(arena);
	return 0;
}

static inline void
set(const char *text, uint32_t list, bool waiting)
{
	struct prefix p = pfx(text);

	assert_int_equal(shadow_set(shadow, &p, (struct path_list_id){list}, waiting), 0);
}

static inline void
unset(const char *text)
{
	struct prefix p = pfx(text);

	assert_int_equal(shadow_remove(shadow, &p), 0);
}
