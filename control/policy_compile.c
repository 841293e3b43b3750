/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/policy_compile.h"
