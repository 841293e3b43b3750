/* SPDX-License-Identifier: BSD-3-Clause */
/* Previews of exports (control/export/export_preview.h) of the peers of a speaker. */
#pragma once

#include "control/export/export_preview.h"

struct speaker;

/* Creates a preview of all peers of `s` in one family. 0, -ENOMEM. */
int speaker_export_preview(struct speaker *s, enum family family, struct export_preview **out)
	RUNS_ON(role_session);
