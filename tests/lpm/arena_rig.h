/* SPDX-License-Identifier: BSD-3-Clause */
/* Fixture: an arena for each test, as `*state`. */
#pragma once

#include "lpm/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static inline int
setup(void **state)
{
	struct arena *a;

	assert_int_equal(arena_create("test", &a), 0);
	*state = a;
	return 0;
}

static inline int
teardown(void **state)
{
	assert_int_equal(arena_bytes(*state), 0);
	arena_destroy(*state);
	return 0;
}
