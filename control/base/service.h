/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The service manager's side of keeld: the protocol of sd_notify(3), one datagram a message on the socket $NOTIFY_SOCKET. Without that
 * variable every call does nothing.
 *
 * service_open() runs on main before the other threads start and before they read the environment. Any thread may notify afterwards.
 */
#pragma once

#include <stdint.h>

/* Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and removes them from the environment. 0, -errno. */
int service_open(void);

/* Sends one message, such as "READY=1" or "STATUS=..." (lines joined by newlines). Never blocks; a full socket drops the message. */
void service_notify(const char *message);

/* The service manager waits for READY=1 behind this message, which carries the time that the protocol asks for. */
void service_reloading(void);

/* keeld has to send WATCHDOG=1 at least this often; 0: the service manager expects none. */
uint64_t service_watchdog_ns(void);
