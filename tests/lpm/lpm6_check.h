/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares IPv6 answers with the oracle. */
#pragma once

#include "tests/lpm/lpm6_test.h"
#include "tests/oracle/lpm6_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* list | length << 24 found by the code under test; 0: a miss */
typedef uint32_t lpm6_answer(const uint8_t *b);

static inline void
check_addr(const struct lpm6_oracle *o, const uint8_t *b, lpm6_answer *answer)
{
	uint32_t expected = lpm6_oracle_lookup(o, b), found = answer(b);
	struct ip_addr a = v6_addr(b);
	char text[ADDR_TEXT_MAX];

	if (found != expected)
		fail_msg("%s: list %u of /%u, expected %u of /%u", addr_format(&a, text),
			found & 0xffffff, found >> 24, expected & 0xffffff, expected >> 24);
}

/* Checks the first and last address of a prefix and both neighbours. */
static inline void
check_edges(const struct lpm6_oracle *o, const struct prefix *p, lpm6_answer *answer)
{
	uint8_t first[16], last[16];

	v6_first_last(p, first, last);
	check_addr(o, first, answer);
	check_addr(o, last, answer);
	v6_step(first, -1);
	check_addr(o, first, answer);
	v6_step(last, 1);
	check_addr(o, last, answer);
}
