/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/stats.h"
