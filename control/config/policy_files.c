/* SPDX-License-Identifier: BSD-3-Clause */
/* The texts of policy files in force, and the files on disk. */
#include "control/config/config.h"
#include "control/config/policy_lex.h"
#include "control/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
same_text(const json_t *a, const json_t *b)
{
	size_t size = json_string_length(a);

	return a != NULL && b != NULL && size == json_string_length(b) &&
	       memcmp(json_string_value(a), json_string_value(b), size) == 0;
}

static json_t *
hash_json(const char *text, size_t size)
{
	return json_sprintf("%016llx", (unsigned long long)policy_text_hash(text, size));
}

json_t *
policy_file_text(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	json_t *value = NULL;

	if (policy_file_read(path, &text, &size) == 0)
		value = json_stringn_nocheck(text, size);
	free(text);
	return value;
}

/* As realpath(); of a missing file the real path of its folder, and a slash. */
static char *
real_place(const char *path)
{
	char *real = realpath(path, NULL), *folder, *end, *parent = NULL;

	if (real != NULL || errno != ENOENT)
		return real;
	folder = strdup(path);
	end = folder != NULL ? strrchr(folder, '/') : NULL;
	if (end != NULL)
		end[end == folder] = '\0';
	if (folder != NULL)
		parent = realpath(end != NULL ? folder : ".", NULL);
	free(folder);
	if (parent == NULL || asprintf(&real, "%s/", parent) < 0)
		real = NULL;
	free(parent);
	return real;
}

bool
policy_file_is_inside(const char *folder, const char *path)
{
	char *top = folder != NULL ? realpath(folder, NULL) : NULL;
	char *place = top != NULL ? real_place(path) : NULL;
	size_t n = top != NULL ? strlen(top) : 0;
	bool inside = folder == NULL ||
		      (place != NULL && strncmp(place, top, n) == 0 && (place[n] == '/' || n == 1));

	free(top);
	free(place);
	return inside;
}

bool
policy_files_changed(const json_t *texts)
{
	const char *path;
	json_t *text;

	json_object_foreach((json_t *)(uintptr_t)texts, path, text)
	{
		json_t *disk = policy_file_text(path);
		bool same = same_text(text, disk);

		json_decref(disk);
		if (!same)
			return true;
	}
	return false;
}

json_t *
policy_files_compare(const json_t *was, const json_t *is, json_t **left)
{
	json_t *list = json_array(), *text;
	const char *path;
	bool full = list == NULL;

	*left = json_object();
	json_object_foreach((json_t *)(uintptr_t)is, path, text)
	{
		bool changed = !same_text(json_object_get(was, path), text), same;
		json_t *disk = policy_file_text(path);

		same = same_text(text, disk);
		if (!same)
			full |= json_object_set_new_nocheck(*left, path,
					disk != NULL ? hash_json(json_string_value(disk),
							       json_string_length(disk))
						     : json_string("")) != 0;
		if (changed || !same)
			full |= json_array_append_new(
					list, json_pack("{s:s, s:b, s:b}", "path", path, "changed",
						      changed, "on_disk", same)) != 0;
		json_decref(disk);
	}
	if (!full)
		return list;
	json_decref(list);
	json_decref(*left);
	*left = NULL;
	return NULL;
}

void
policy_files_return(const json_t *texts, const json_t *since)
{
	const char *path;
	json_t *text;
	int err;

	json_object_foreach((json_t *)(uintptr_t)texts, path, text)
	{
		const json_t *before = json_object_get(since, path);
		json_t *disk = policy_file_text(path);
		bool due = !same_text(text, disk) && same_text(before, disk);

		json_decref(disk);
		if (!due)
			continue;
		err = config_save_text(path, json_string_value(text), json_string_length(text));
		if (err != 0)
			log_event(LOG_ERROR, "policy-file-not-written file=%s error=\"%s\"", path,
				strerror(-err));
	}
}

json_t *
policy_files_hashes(const json_t *texts)
{
	json_t *hashes = json_object(), *text;
	const char *path;

	json_object_foreach((json_t *)(uintptr_t)texts, path, text)
	{
		if (json_object_set_new_nocheck(hashes, path,
			    hash_json(json_string_value(text), json_string_length(text))) == 0)
			continue;
		json_decref(hashes);
		return NULL;
	}
	return hashes;
}
