/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of table dumps and of received messages (MRT). */
#include "control/config/config_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONVERSIONS "YmdHMSsjyFTR%"

/* The characters after `%` in CONVERSIONS; in the name, not in the folder. */
static bool
conversions_good(struct check *c, const struct at *at, const char *file)
{
	const char *slash = strrchr(file, '/');

	for (const char *p = strchr(file, '%'); p != NULL; p = strchr(p + 2, '%')) {
		if (p < slash) {
			config_fault(c, at,
				"has a conversion (%%) in the folder; only the name after the last "
				"/ "
				"may have conversions");
			return false;
		}
		if (p[1] == '\0' || strchr(CONVERSIONS, p[1]) == NULL) {
			config_fault(c, at,
				"has an unknown conversion %%%.1s; known are %%Y %%m %%d %%H %%M "
				"%%S "
				"%%s %%j %%y %%F %%T %%R %%%%",
				p + 1);
			return false;
		}
	}
	return true;
}

char *
config_output_path(const struct config *c, const char *name, const char **reason)
{
	const char *folder = c->output_dir, *slash = strrchr(name, '/');
	const char *last = slash != NULL ? slash + 1 : name;
	char *path = NULL;

	*reason = "out of memory; try again";
	if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		*reason = "names a folder; a file name must follow";
	else if (slash == NULL && folder == NULL)
		*reason = "is not an absolute path";
	else if (slash == NULL)
		(void)!asprintf(&path, "%s/%s", folder, name);
	else if (folder == NULL || (strncmp(name, folder, (size_t)(slash - name)) == 0 &&
					   folder[slash - name] == '\0'))
		path = strdup(name);
	else
		*reason = "is not in the output directory (management.output_dir): give a name "
			  "without a folder";
	return path;
}

static void
take_mrt_file(CONFIG_TAKE_ARGS)
{
	const char *text = NULL, *reason;
	struct config_mrt *k = out;

	config_take_text(c, at, value, key, &text);
	if (text == NULL || !conversions_good(c, at, text))
		return;
	k->file = config_output_path(c->config, text, &reason);
	if (k->file == NULL)
		config_fault(c, at, "%s", reason);
}

static const char *const mrt_words[] = {"table", "updates", NULL};

static void
take_kind(CONFIG_TAKE_ARGS)
{
	int i = config_value_word(c, at, value, mrt_words);

	(void)key;
	if (i >= 0)
		*(uint8_t *)out = (uint8_t)i;
}

/* A file in the format MRT (RFC 6396), replaced or rotated at times. */
static const struct config_key mrt_keys[] = {
	/*
	 * A name in `management.output_dir`, with or without this folder before it. The name may have conversions of
	 * strftime(3) for the begin of the interval in UTC: `%Y %m %d %H %M %S %s %j %y %F %T %R %%`. A dump replaces an
	 * earlier file of the same name; messages are appended to such a file.
	 */
	{"file", take_mrt_file, 0, 1, 1024, true, EFFECT(COMMIT)},
	/*
	 * `table`: each interval a dump of the unicast tables of the default VRF (TABLE_DUMP_V2). keeld writes
	 * the file with the suffix `.tmp` and renames the complete file. `updates`: each message from the peers of the default
	 * VRF, and changes of their states (BGP4MP), in a new file each interval.
	 */
	{"kind", take_kind, offsetof(struct config_mrt, kind), 0, 0, true, EFFECT(COMMIT)},
	/* Intervals begin at multiples of this time since 1970. Unit: seconds. */
	{"interval_s", config_take_u32, offsetof(struct config_mrt, interval_s), 1, 604800, true,
		EFFECT(COMMIT)},
};

static void
take_entry(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_mrt *k;

	if (config->mrt_count == CONFIG_MRT_MAX) {
		config_fault(c, at, "more than %u files", CONFIG_MRT_MAX);
		return;
	}
	k = &config->mrt[config->mrt_count++];
	CONFIG_TAKE(c, at, value, mrt_keys, k);
	for (unsigned i = 0; k->file != NULL && i + 1u < config->mrt_count; i++) {
		struct at file_at = AT_KEY(at, "file");

		if (config->mrt[i].file != NULL && strcmp(config->mrt[i].file, k->file) == 0)
			config_fault(c, &file_at, "equals the file of entry %u", i);
	}
}

void
config_take_mrt(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)config_take_each(c, at, value, take_entry, out);
}
