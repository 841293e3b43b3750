/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commits on disk, in a folder of their own: one document each (`commit-ID.json`, mode 0600: with passwords) and `index.json` with id, time, comment.
 * Each is written as config_save() does, so that what is there after a power loss is whole, old or new. The last HISTORY_MAX are kept; ids go on over
 * restarts. A commit that waits for config.confirm is known here before FILE has it: a restart finds it and goes back.
 *
 * Writer: main.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_MAX 100

struct history;

/*
 * Creates the folder when it is missing, and locks it. 0; -ENOMEM; another -errno when the folder is of no use (-EWOULDBLOCK: another keeld has
 * it): *out is there all the same, in memory, and what should write returns that error.
 */
int history_open(const char *folder, struct history **out);
void history_close(struct history *h);

/* The id that the next one will have; 0 for the first of all. */
uint32_t history_next(const struct history *h);
/* Writes the document of the next one; with `back_to` not negative, also that it waits for a confirmation, else goes back there. 0, -errno. */
int history_prepare(struct history *h, const json_t *document, int64_t back_to);
/* The prepared one has happened; without `waits` nothing waits any more, with it what waited goes on. 0, -errno; it has its id in any case. */
int history_add(struct history *h, const char *comment, bool waits);
/* Nothing waits any more. 0, -errno. */
int history_confirmed(struct history *h);
/* Was `document` committed and is waiting? *back_to: where to go back to. Of a restart: what waits then has lost its time. */
bool history_waits(const struct history *h, const json_t *document, uint32_t *back_to);
/* A new reference; NULL: not kept. */
json_t *history_document(const struct history *h, uint32_t id);
/* [{id, time, comment}], the oldest first; a new reference. */
json_t *history_list(const struct history *h);
/* The last one's id. False: there is none. */
bool history_last(const struct history *h, uint32_t *id);
