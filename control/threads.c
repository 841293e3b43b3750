/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/threads.h"
