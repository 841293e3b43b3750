/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/session/preview_export.h"

#include "control/session/session_impl.h"

static const struct update_member *
member_of(void *ctx, struct peer_id id, enum family family)
{
	const struct speaker *s = ctx;
	const struct peer *p = s->by_id[id.v];

	return p != NULL ? p->family[family].group : NULL;
}

int
speaker_export_preview(struct speaker *s, enum family family, struct export_preview **out)
{
	struct export_preview_config c = {.arena = s->config.arena,
		.shards = &s->shards,
		.records = s->records,
		.swaps = s->labels.swaps,
		.family = family,
		.member = member_of,
		.ctx = s};

	return export_preview_create(&c, out);
}
