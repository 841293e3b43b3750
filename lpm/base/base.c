/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/base.h"
#include "lpm/base/note_work.h"

struct role role_main, role_host, role_session, role_rib, role_fib, role_worker, role_rpki,
	role_bmp;

_Thread_local _Atomic(const char *) noted_work;
