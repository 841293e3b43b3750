/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In builds for tests (scripts/test, scripts/check), tests/headers/immintrin.h replaces immintrin.h of the compiler.
 * Without AVX, Keel and DPDK use SSE4.2 and the clock alone. Intrinsics of AVX take 0.2 s of each object with headers
 * of DPDK.
 */
#ifdef __AVX__
#include_next <immintrin.h>
#else
#include <nmmintrin.h>
#include <x86gprintrin.h>
#endif
