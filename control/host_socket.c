/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/host_socket.h"
