/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends log lines to the journal of systemd by the native protocol, with a field for the event and
 * for each key: EVENT=peer-down PEER=192.0.2.2. `journalctl EVENT=peer-down PEER=192.0.2.2` finds
 * such lines.
 *
 * Caller: the log writer (control/base/log.h), or main before log_start().
 */
#pragma once

#include <stdbool.h>

/*
 * True if stderr is the stream that systemd opened for the unit ($JOURNAL_STREAM). Call once,
 * before journal_send().
 */
bool journal_is_stderr(void);

/*
 * Sends a line of log.c: "TIME LEVEL EVENT KEY=VALUE ...\n". Waits while the queue of the journal
 * is full. False: no journal; the caller writes the line to stderr.
 */
bool journal_send(const char *line, unsigned len);
