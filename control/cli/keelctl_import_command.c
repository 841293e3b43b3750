/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * import {bird | frr | vrp} FILE: the document on standard output, the verdicts of the lines on standard
 * error.
 */
#include "control/cli/keelctl_import.h"

#include <errno.h>
#include <sys/stat.h>

void
import_command(struct ctl *ctl, const struct command *c)
{
	FILE *in = fopen(c->file, "re");
	unsigned not_carried;
	json_t *document;
	struct stat st;

	if (in == NULL) {
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s", text_safe(c->file), strerror(errno));
		return;
	}
	if (fstat(fileno(in), &st) == 0 && S_ISDIR(st.st_mode)) {
		ctl_fail(ctl, EXIT_REFUSED, "%s: %s", text_safe(c->file), strerror(EISDIR));
		fclose(in);
		return;
	}
	document = import_document(c->dialect, c->file, in, stderr, &not_carried);
	fclose(in);
	ctl_print_json(document, true);
	if (not_carried > 0)
		ctl_fail(ctl, EXIT_REFUSED, "%u line%s not carried", not_carried,
			not_carried == 1 ? "" : "s");
	json_decref(document);
}
