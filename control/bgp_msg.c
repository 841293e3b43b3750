/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/bgp_msg.h"
