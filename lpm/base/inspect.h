/* SPDX-License-Identifier: BSD-3-Clause */
/* As lpm/inspect.h: functions that only tests and benchmarks call, of lpm/base/. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct arena;
struct hist;
struct retire_list;
struct ring;

const char *arena_name(const struct arena *a);
/* Producer or consumer; the value may be outdated on return. */
unsigned ring_count(const struct ring *r);
unsigned ring_free_count(const struct ring *r);
uint64_t retire_waits(const struct retire_list *r);
/* The SipHash-1-3 part of hash_bytes(). */
uint64_t hash_sip(const void *bytes, size_t size);
/* Empties the histogram. Writer only, or while the writer adds nothing. */
void hist_reset(struct hist *h);
