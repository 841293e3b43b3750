/* SPDX-License-Identifier: BSD-3-Clause */
/* See immintrin.h. */
#ifdef __AVX__
#include_next <x86intrin.h>
#else
#include "immintrin.h"
#ifdef __clang__
#define __X86INTRIN_H
#include <ia32intrin.h>
#endif
#endif
