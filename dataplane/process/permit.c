/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/permit.h"
#include "dataplane/port/port.h"

#include <stddef.h>
#include <string.h>

#define ADDRESS "0123456789abcdefABCDEF:.-"
#define DIGITS "0123456789"
/* DPDK finds a driver by the begin of the name: after these names `_` begins no other driver's. */
#define NAME "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

enum value { VALUE_NONE, VALUE_PLAIN, VALUE_DEVICE };

/* Options of EAL, `-m 512` and `--socket-mem=512`. All others need `--permit`. */
static const struct option_rule {
	const char *name;
	enum value value;
} rules[] = {
	{"-a", VALUE_DEVICE},
	{"-b", VALUE_DEVICE},
	{"-m", VALUE_PLAIN},
	{"-n", VALUE_PLAIN},
	{"-r", VALUE_PLAIN},
	{"--allow", VALUE_DEVICE},
	{"--block", VALUE_DEVICE},
	{"--base-virtaddr", VALUE_PLAIN},
	{"--force-max-simd-bitwidth", VALUE_PLAIN},
	{"--in-memory", VALUE_NONE},
	{"--iova-mode", VALUE_PLAIN},
	{"--legacy-mem", VALUE_NONE},
	{"--log-level", VALUE_PLAIN},
	{"--match-allocations", VALUE_NONE},
	{"--no-hpet", VALUE_NONE},
	{"--no-huge", VALUE_NONE},
	{"--no-pci", VALUE_NONE},
	{"--no-telemetry", VALUE_NONE},
	{"--single-file-segments", VALUE_NONE},
	{"--socket-limit", VALUE_PLAIN},
	{"--socket-mem", VALUE_PLAIN},
	{"--telemetry", VALUE_NONE},
};

static const char *const drivers[] = {
	"net_af_packet", "net_af_xdp", "net_memif", "net_null", "net_tap", "net_virtio_user"};

static bool
is_own(const char *text, const struct permitted *own)
{
	for (unsigned i = 0; i < own->count; i++)
		if (strcmp(text, own->text[i]) == 0)
			return true;
	return false;
}

/* The rule of the option in `arg`, and its value: behind "=" or, for a short option, its letter; NULL: none. */
static const struct option_rule *
rule_of(const char *arg, const char **value)
{
	bool is_short = arg[0] == '-' && arg[1] != '-';
	size_t n = is_short ? strnlen(arg, 2) : strcspn(arg, "=");

	*value = arg[n] == '\0' ? NULL : arg + n + !is_short;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (strlen(rules[i].name) == n && memcmp(rules[i].name, arg, n) == 0)
			return &rules[i];
	return NULL;
}

static bool
value_permitted(const struct option_rule *rule, const char *value, const struct permitted *own)
{
	return rule->value == VALUE_PLAIN ? value[0] != '-' : permit_device(value, own);
}

unsigned
permit_eal_args(const char *const *args, unsigned count, const struct permitted *own)
{
	for (unsigned i = 0; i < count; i++) {
		const char *value;
		const struct option_rule *rule = rule_of(args[i], &value);

		if (is_own(args[i], own))
			continue;
		if (rule == NULL || (rule->value == VALUE_NONE && value != NULL))
			return i;
		if (rule->value == VALUE_NONE)
			continue;
		if (value == NULL && ++i == count)
			return count - 1;
		if (!value_permitted(rule, value != NULL ? value : args[i], own))
			return i;
	}
	return count;
}

bool
permit_device(const char *device, const struct permitted *own)
{
	size_t name = strcspn(device, ",");
	char parent[PORT_NAME_MAX];
	struct port_vlan vlan;

	if (is_own(device, own))
		return true;
	if (name > 0 && strspn(device, ADDRESS) == name)
		return true;
	if (port_vlan_parse(device, parent, &vlan)) /* no device of DPDK */
		return true;
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		size_t n = strlen(drivers[i]);

		if (strncmp(device, drivers[i], n) != 0)
			continue;
		if (n + strspn(device + n, device[n] == '_' ? NAME : DIGITS) == name)
			return strstr(device + name, "xdp_prog") == NULL;
	}
	return false;
}
