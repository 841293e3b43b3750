/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A configuration file, a NUL, and a patch (RFC 6902) or merge (RFC 7396) for the document.
 * Invariants: the result is a document or its faults; the difference between two documents
 * transforms one into the other.
 */
#include "tests/fuzz/targets.h"

#include "control/config/config.h"

#include <sys/mman.h>
#include <unistd.h>

/* Loads the text as a file, by the descriptor's name in /proc. */
static const struct config_host host = {.no_dataplane = true};

static json_t *
load(const uint8_t *text, size_t len)
{
	struct faults f = {0};
	char *message = NULL, path[32];
	json_t *document;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	HARNESS_CHECK(fd >= 0);
	HARNESS_CHECK(write(fd, text, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	document = config_load(path, &message, &f);
	HARNESS_CHECK((document != NULL) == (message == NULL && f.count == 0));
	for (unsigned i = 0; i < f.count; i++)
		HARNESS_CHECK(f.fault[i].path && f.fault[i].reason);
	free(message);
	faults_fini(&f);
	close(fd);
	return document;
}

static void
parse(json_t *document)
{
	struct faults f = {0};
	json_t *copy = json_deep_copy(document);
	struct config *c = config_parse(&host, document, &f);

	HARNESS_CHECK((c != NULL) == (f.count == 0));
	for (unsigned i = 0; i < f.count; i++) {
		HARNESS_CHECK(f.fault[i].path && f.fault[i].reason);
		HARNESS_CHECK(f.fault[i].path[0] == '\0' || f.fault[i].path[0] == '/');
	}
	/* config_parse() leaves the document unchanged */
	HARNESS_CHECK(json_equal(copy, document));
	if (c)
		HARNESS_CHECK(c->asn != 0 && c->router_id != 0);
	config_free(c);
	faults_fini(&f);
	json_decref(copy);
}

static void
difference(const json_t *from, const json_t *to)
{
	struct faults f = {0};
	json_t *operations = config_diff(from, to), *got;

	HARNESS_CHECK(operations);
	got = config_patch(from, operations, &f);
	HARNESS_CHECK(got && json_equal(got, to));
	config_secrets_hide_diff(operations);
	json_decref(got);
	json_decref(operations);
	faults_fini(&f);
}

static void
change(json_t *document, const char *text, size_t len)
{
	json_error_t error;
	json_t *how = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error), *to;
	struct faults f = {0};

	if (!how)
		return;
	if (json_is_array(how)) {
		to = config_patch(document, how, &f);
		HARNESS_CHECK((to != NULL) == (f.count == 0));
	} else {
		to = config_merge(document, how);
		HARNESS_CHECK(to);
	}
	if (to) {
		difference(document, to);
		difference(to, document);
		config_secrets_keep(to, document);
		if (json_is_object(to))
			parse(to);
		config_secrets_hide(to);
	}
	json_decref(to);
	json_decref(how);
	faults_fini(&f);
}

void
target_config(const uint8_t *data, size_t len)
{
	const uint8_t *nul = len > 0 ? memchr(data, 0, len) : NULL;
	size_t first = nul ? (size_t)(nul - data) : len;
	json_t *document;

	document = load(data, first);
	if (!document)
		return;
	parse(document);
	difference(document, document);
	if (nul)
		change(document, (const char *)nul + 1, len - first - 1);
	json_decref(document);
}
