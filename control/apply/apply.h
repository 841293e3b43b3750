/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From documents to threads: start of the configured peers, commit with its effects, refresh, and the jobs that these make.
 * Main only. The faces for RPC are in control/keeld.h.
 */
#pragma once

#include "control/keeld.h"
#include "control/session/session.h"

/* First configuration: peers, policies, networks; listens. 0, -errno (logged). */
int keeld_apply_first(struct keeld *k);
/* A session thread's event, on main. */
void keeld_session_event(struct keeld *k, const struct session_event *e);
/* SIGHUP: FILE as a candidate, committed. Refused while the candidate holds edits. Logs what comes of it. */
void keeld_reload(struct keeld *k);
void keeld_apply_fini(struct keeld *k);
