/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/swap_range.h"

#include "control/base/log.h"
#include "control/config/config.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "swap-labels.json"
#define FIRST 262144u
#define PARTS 16u
#define PARTS_USED 8u
#define PART 16384u

/* The number of the last start; -1: there was none. False: the file is broken. */
static bool
start_read(const char *path, json_int_t *out)
{
	json_t *document, *start;
	bool sound;

	*out = -1;
	errno = 0;
	document = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (document == NULL)
		return errno == ENOENT;
	start = json_object_get(document, "start");
	sound = json_is_integer(start) && json_integer_value(start) >= 0 &&
		json_integer_value(start) < PARTS;
	if (sound)
		*out = json_integer_value(start);
	json_decref(document);
	return sound;
}

static bool
start_write(const char *path, unsigned start)
{
	json_t *document = json_pack("{s:i}", "start", (int)start);
	int err = document != NULL ? config_state_save(path, document) : -ENOMEM;

	json_decref(document);
	if (err != 0)
		log_event(LOG_ERROR, "labels-not-written file=%s error=\"%s\"", path,
			strerrordesc_np(-err));
	return err == 0;
}

bool
swap_range_take(const char *folder, uint64_t now_ns, struct swaps_config *out)
{
	char path[4200];
	json_int_t last;
	unsigned start, oldest;
	bool sound;

	snprintf(path, sizeof(path), "%s/" FILE_NAME, folder);
	config_save_tidy(path);
	sound = start_read(path, &last);
	if (!sound)
		log_event(LOG_ERROR, "labels-broken file=%s action=rest", path);
	start = (unsigned)(last + 1) % PARTS;
	oldest = (start + PARTS - (PARTS_USED - 1)) % PARTS;
	sound &= start_write(path, start);
	*out = (struct swaps_config){.first = FIRST,
		.last = FIRST + PARTS * PART - 1,
		.fresh = {FIRST + start * PART, sound ? PART : 0},
		.all = {FIRST + oldest * PART, PARTS_USED * PART},
		.all_ns = now_ns + SWAP_START_REST_NS};
	return sound;
}
