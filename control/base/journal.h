/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines for systemd's journal by its native protocol, with a field of its own for the event and for each key: EVENT=peer-down
 * PEER=192.0.2.2. `journalctl EVENT=peer-down PEER=192.0.2.2` finds them.
 *
 * Writer of all: the log writer (control/base/log.h), or main before log_start().
 */
#pragma once

#include <stdbool.h>

/* True when stderr is the stream that systemd opened for the unit ($JOURNAL_STREAM). To be called once, before journal_send(). */
bool journal_is_stderr(void);

/*
 * One line of log.c: "TIME LEVEL EVENT KEY=VALUE ...\n". Waits while the journal's queue is full. False: there is no journal, and the line
 * belongs on stderr.
 */
bool journal_send(const char *line, unsigned len);
