/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/path_list.h"
