/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/update_group.h"
