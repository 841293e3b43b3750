/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notifies the service manager with the protocol of sd_notify(3): one datagram per message to the
 * socket $NOTIFY_SOCKET. If the variable is not set, all calls do nothing.
 *
 * Main calls service_open() before other threads start or read the environment. Afterwards all
 * threads may notify.
 */
#pragma once

#include <stdint.h>

/*
 * Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and removes all three from the
 * environment. 0, -errno.
 */
int service_open(void);

/*
 * Sends a message such as "READY=1" or "STATUS=..." (lines joined by newlines). Never blocks; drops
 * the message if the socket is full.
 */
void service_notify(const char *message);

/* Reports the begin of a reload, with the time stamp of the protocol. READY=1 reports the end. */
void service_reloading(void);

/* Maximum interval between WATCHDOG=1 messages; 0: the service manager expects no messages. */
uint64_t service_watchdog_ns(void);
