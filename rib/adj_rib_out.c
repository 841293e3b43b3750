/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/adj_rib_out.h"
