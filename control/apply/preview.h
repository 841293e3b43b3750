/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bgp.refresh.preview: the changes that a refresh, or a commit of the candidate, would make: routes
 * by peer, family and direction, and the forwarding tables. A preview publishes and sends nothing.
 *
 * Import lines count the changes of the stored routes of a peer. Export lines count the changes of
 * the routes advertised to a peer, with the best paths after the imports of the same candidate. A
 * peer without a change of its own configuration has a line only where a count is not 0. An import
 * line is `exact` if all routes are kept as received; an export line, if all import lines of the
 * family are exact.
 *
 * Previews run one at a time, in the order of the requests. A turn takes a few ms of main's loop:
 * imports in read sections of 64 destinations, exports in slices of the session thread. A preview
 * has a configuration of its own; a commit ends the preview. Writer: main.
 */
#pragma once

#include "control/apply/selector.h"

struct preview_request {
	struct config *then; /* the configuration with the policies; taken over */
	bool candidate; /* all changes of `then`; otherwise `selector` and `import` */
	struct apply_selector selector;
	bool import;
	json_t *effects; /* added to the answer; taken over; may be NULL */
};

/*
 * The end of a preview, once. err 0: `answer` is taken over by the callback; -EAGAIN: a commit came
 * between; -ENOMEM; -ECANCELED: the daemon stops.
 */
typedef void preview_done(void *ctx, int err, json_t *answer);

/*
 * Queues a preview; done() is called later. 0; -ENOMEM, -ENOENT (no peer matches), -EBUSY (too many
 * previews wait): nothing was taken over.
 */
int preview_begin(struct apply *apply, const struct preview_request *r, preview_done *done,
	void *ctx) RUNS_ON(role_main);
/* Ends all previews: the daemon stops. */
void preview_end_all(struct apply *apply) RUNS_ON(role_main);
