/* SPDX-License-Identifier: BSD-3-Clause */
#define ALLOW_EXPERIMENTAL_API /* rte_dev_event_callback_register() */
#include "dataplane/port_pull.h"

#include "dataplane/port_impl.h"

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

/* The folder of the device. False: no PCI address. */
static bool
pci_folder(const char *device, char *out, size_t size)
{
	const char *at = strncmp(device, "pci:", 4) == 0 ? device + 4 : device;
	char text[32], name[PCI_PRI_STR_SIZE];
	struct rte_pci_addr addr;
	size_t n = strcspn(at, ",");

	if (n >= sizeof(text))
		return false;
	memcpy(text, at, n);
	text[n] = '\0';
	if (rte_pci_addr_parse(text, &addr) != 0)
		return false;
	rte_pci_device_name(&addr, name, sizeof(name));
	(void)snprintf(out, size, PCI_DEVICES "%s", name);
	return true;
}

bool
device_is_pci(const char *device)
{
	char folder[64];

	return pci_folder(device, folder, sizeof(folder));
}

bool
device_is_ready(const char *device)
{
	static const char *const drivers[] = {
		"vfio-pci", "uio_pci_generic", "igb_uio", "mlx4_core", "mlx5_core"};
	char folder[64], link[80], target[PATH_MAX];
	const char *driver;
	ssize_t n;

	if (!pci_folder(device, folder, sizeof(folder)))
		return false;
	(void)snprintf(link, sizeof(link), "%s/driver", folder);
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	driver = strrchr(target, '/');
	for (unsigned i = 0; driver != NULL && i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strcmp(driver + 1, drivers[i]) == 0)
			return true;
	return false;
}
