/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bgp.refresh.preview: what a refresh, or a commit of the candidate, would change: routes by peer, family and direction, and the forwarding
 * tables. Nothing is published and nothing sent.
 *
 * Import lines count what becomes of the routes stored of a peer. Export lines count how the routes that are advertised to a peer change, with the
 * best paths as the imports of the same candidate leave them; a peer whose own configuration stays has a line where a count is not 0. `exact` is
 * false for an import line where not all routes are kept as received, for an export line where an import line of the family is not exact.
 *
 * One at a time, in the order of asking; a turn is a few ms of main's loop, import in reader's sections of 64 destinations, export in slices
 * of the session thread. It runs on a configuration of its own, so a commit does not pull policies away under it: it ends the preview.
 * Writer: main.
 */
#pragma once

#include "control/apply/selector.h"

struct preview_request {
	struct config *then; /* what policies are taken from; taken over */
	bool candidate; /* all that `then` changes; else `selector` and `import` */
	struct apply_selector selector;
	bool import;
	json_t *effects; /* goes with the answer; taken over; may be NULL */
};

/*
 * The end of a preview, once. err 0: `answer` is taken over by the callback; -EAGAIN: a commit came between; -ENOMEM; -ECANCELED: the
 * daemon stops.
 */
typedef void preview_done(void *ctx, int err, json_t *answer);

/* Queues a preview; done() is called later. 0; -ENOMEM, -ENOENT (no peer matches), -EBUSY (too many previews wait): nothing was taken over. */
int preview_begin(
	struct apply *apply, const struct preview_request *r, preview_done *done, void *ctx);
/* Ends all previews: the daemon stops. */
void preview_end_all(struct apply *apply);
