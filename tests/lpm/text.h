/* SPDX-License-Identifier: BSD-3-Clause */
/* Converts text to addresses and prefixes in tests. */
#pragma once

#include "lpm/base/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static inline struct ip_addr
addr(const char *text)
{
	struct ip_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static inline struct prefix
pfx(const char *text)
{
	struct prefix p;

	assert_int_equal(prefix_parse(text, &p), 0);
	return p;
}
