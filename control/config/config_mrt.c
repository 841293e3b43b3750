/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of table dumps and of received messages (MRT). */
#include "control/config/config_impl.h"

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

static void
take_mrt_file(CONFIG_TAKE_ARGS)
{
	const char *file = json_string_value(value);

	config_take_text(c, at, value, key, out);
	if (file == NULL || *(const char **)out == NULL)
		return;
	if (file[0] != '/') {
		config_fault(c, at, "is not an absolute path");
	} else if (file[strlen(file) - 1] == '/') {
		config_fault(c, at, "names a folder; a file name must follow");
	} else {
		(void)conversions_good(c, at, file);
	}
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

/* A file in the format MRT (RFC 6396), replaced or rotated at times. Effect: commit. */
static const struct config_key mrt_keys[] = {
	/*
	 * Absolute path. The name after the last `/` may have conversions of strftime(3) for the begin of the
	 * interval in UTC: `%Y %m %d %H %M %S %s %j %y %F %T %R %%`. The folder must exist. A dump replaces an earlier file of
	 * the same name; messages are appended to such a file.
	 */
	{"file", take_mrt_file, offsetof(struct config_mrt, file), 2, 1024, true},
	/*
	 * `table`: each interval a dump of the unicast tables of the default VRF (TABLE_DUMP_V2). keeld writes
	 * the file with the suffix `.tmp` and renames the complete file. `updates`: each message from the peers of the default
	 * VRF, and changes of their states (BGP4MP), in a new file each interval.
	 */
	{"kind", take_kind, offsetof(struct config_mrt, kind), 0, 0, true},
	/* Intervals begin at multiples of this time since 1970. Unit: seconds. */
	{"interval_s", config_take_u32, offsetof(struct config_mrt, interval_s), 1, 604800, true},
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
