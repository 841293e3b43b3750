/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/policy.h"
