/* SPDX-License-Identifier: BSD-3-Clause */
#define ALLOW_EXPERIMENTAL_API /* rte_dev_event_callback_register() */
#include "dataplane/port/port_pull.h"

#include "dataplane/port/port_inner.h"

#include <errno.h>
#include <limits.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_pci.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PCI_DEVICES "/sys/bus/pci/devices/"

/* On EAL's interrupt thread. */
static void
on_device_event(const char *name, enum rte_dev_event_type event, void *arg)
{
	(void)arg;
	for (uint16_t port = 0; event == RTE_DEV_EVENT_REMOVE && port < port_count(); port++) {
		struct port_watch *w = port_watch(port);
		struct rte_eth_dev_info info = {0};

		if (w != NULL && w->ethdev < RTE_MAX_ETHPORTS &&
			rte_eth_dev_info_get(w->ethdev, &info) == 0 && info.device != NULL &&
			strcmp(rte_dev_name(info.device), name) == 0)
			port_watch_pull(w);
	}
}

int
port_pulls_watch(void)
{
	return rte_dev_event_callback_register(NULL, on_device_event, NULL);
}

void
port_pulls_unwatch(void)
{
	while (rte_dev_event_callback_unregister(NULL, on_device_event, NULL) == -EAGAIN)
		(void)sched_yield(); /* the callback runs */
}
