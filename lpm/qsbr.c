/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/qsbr.h"
