/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file for `keelctl import`; the first octet selects the dialect. Invariants: each line of the report has a
 * verdict; the same text gives the same document; keeld accepts the document and its policies. A line of the
 * report asks the operator for router.asn and router.router_id where the file has none, so these are added.
 */
#include "tests/fuzz/targets.h"

#include "control/cli/keelctl_import.h"
#include "control/config/config.h"

#include <ctype.h>

/* No file: an include names nothing, relative to this folder. */
#define PATH "/nonexistent/keel-fuzz/file.conf"
#define CALLS_MAX 16 /* words of an input */

static const char *const dialects[] = {"bird", "frr", "vrp"};
static const struct config_host host = {.no_dataplane = true};

/* keelctl_text.c: of tables, which an import does not print. */
unsigned
output_width(const struct ctl *ctl)
{
	(void)ctl;
	return 80;
}

/* An include with the absolute name of a file reads that file. */
static bool
reads_files(const uint8_t *data, size_t len)
{
	return memmem(data, len, "include", 7) != NULL && memmem(data, len, "\"/", 2) != NULL;
}

/*
 * Calls multiply the nodes of a policy, up to the 20,000 of the import. keeld compares nodes in pairs, which takes
 * a minute in a sanitizer build.
 */
static bool
calls_much(const uint8_t *data, size_t len)
{
	const uint8_t *end = data + len;
	unsigned calls = 0;

	while (data < end && (data = memmem(data, (size_t)(end - data), "call", 4)) != NULL) {
		data += 4;
		if (++calls > CALLS_MAX)
			return true;
	}
	return false;
}

/* Each line has a verdict, and no control characters. */
static void
check_report(const char *report, unsigned not_carried)
{
	for (const char *line = report, *end; *line != '\0'; line = end + 1) {
		bool verdict = false;

		end = strchr(line, '\n');
		HARNESS_CHECK(end != NULL && end > line);
		for (const char *p = line; p < end; p++) {
			HARNESS_CHECK(!iscntrl((unsigned char)*p));
			verdict = verdict || strncmp(p, ": done\n", 7) == 0 ||
				  strncmp(p, ": changed: ", 11) == 0 ||
				  strncmp(p, ": not carried: ", 15) == 0;
		}
		HARNESS_CHECK(verdict);
	}
	HARNESS_CHECK(not_carried == 0 || strstr(report, ": not carried: ") != NULL);
}

static json_t *
imported(const char *dialect, const uint8_t *text, size_t len, char **report, unsigned *count)
{
	size_t size = 0;
	FILE *in = fmemopen((void *)(uintptr_t)text, len, "r"),
	     *out = open_memstream(report, &size);
	json_t *document;

	HARNESS_CHECK(in && out);
	document = import_document(dialect, PATH, in, out, count);
	fclose(in);
	fclose(out);
	HARNESS_CHECK(document);
	return document;
}

/* Adds what the report asks for. */
static void
complete(json_t *document)
{
	json_t *router = json_object_get(document, "router");

	HARNESS_CHECK(json_is_object(router));
	if (json_object_get(router, "asn") == NULL)
		json_object_set_new(router, "asn", json_integer(64999));
	if (json_object_get(router, "router_id") == NULL)
		json_object_set_new(router, "router_id", json_string("192.0.2.255"));
}

static void
accepted(json_t *document)
{
	struct faults f = {0};
	struct config *c = config_parse(&host, document, &f);

	/* a process has names of at most ZONE_MAX interfaces, and keeps them */
	if (f.count > 0 && zone_intern("keel-fuzz") == 0) {
		faults_fini(&f);
		return;
	}
	for (unsigned i = 0; i < f.count; i++)
		fprintf(stderr, "%s: %s\n", f.fault[i].path, f.fault[i].reason);
	if (f.count > 0)
		json_dumpf(document, stderr, JSON_INDENT(1));
	HARNESS_CHECK(c != NULL && f.count == 0);
	config_free(c);
	faults_fini(&f);
}

void
target_import(const uint8_t *data, size_t len)
{
	char *report = NULL, *report_again = NULL;
	unsigned count = 0, count_again = 0;
	json_t *document, *again;
	const char *dialect;

	if (data == NULL || len < 2 || reads_files(data, len) || calls_much(data, len))
		return;
	dialect = dialects[data[0] % (sizeof(dialects) / sizeof(dialects[0]))];
	document = imported(dialect, data + 1, len - 1, &report, &count);
	again = imported(dialect, data + 1, len - 1, &report_again, &count_again);
	HARNESS_CHECK(json_equal(document, again) && count == count_again);
	HARNESS_CHECK(strcmp(report, report_again) == 0);
	check_report(report, count);
	complete(document);
	accepted(document);
	json_decref(document);
	json_decref(again);
	free(report);
	free(report_again);
}
