/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/fib_feed.h"
