/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In place of the compiler's, in builds for tests (scripts/test, scripts/check): without AVX, Keel and DPDK use SSE4.2
 * and the clock alone, and the rest takes 0.2 s for each object that sees DPDK.
 */
#ifdef __AVX__
#include_next <immintrin.h>
#else
#include <nmmintrin.h>
#include <x86gprintrin.h>
#endif
