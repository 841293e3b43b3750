/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/decision.h"
