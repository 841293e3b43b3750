/* SPDX-License-Identifier: BSD-3-Clause */
/* The collectors of BMP. */
#include "control/config/config_impl.h"

static void
take_collector_address(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)config_value_host(c, at, value, out);
}

static const char *const view_words[] = {
	"adj-in-pre", "adj-in", "loc", "adj-out-pre", "adj-out", NULL};

static void
take_view(struct check *c, const struct at *at, const json_t *value, void *out)
{
	int i = config_value_word(c, at, value, view_words);

	if (i >= 0)
		*(uint8_t *)out |= (uint8_t)(1u << i);
}

static void
take_views(CONFIG_TAKE_ARGS)
{
	(void)key;
	*(uint8_t *)out = 0;
	(void)config_take_each(c, at, value, take_view, out);
	if (json_is_array(value) && json_array_size(value) == 0)
		config_fault(c, at, "must name at least one view");
}

/* A collector, to which keeld connects by TCP. */
static const struct config_key bmp_keys[] = {
	/* Address of the collector. */
	{"address", take_collector_address, offsetof(struct config_bmp, addr), 0, 0, true,
		EFFECT(COMMIT)},
	/* TCP port of the collector. */
	{"port", config_take_u16, offsetof(struct config_bmp, port), 1, 65535, .def = 1790,
		EFFECT(COMMIT)},
	/*
	 * The tables to send, as in `rib.routes`: `adj-in-pre` (received routes of families with
	 * `keep_all_routes`), `adj-in` (after import policy), `loc` (RFC 9069), `adj-out` (as
	 * advertised, RFC 8671), `adj-out-pre` (the best route, for each peer but its source).
	 * Default: `["adj-in", "loc"]`.
	 */
	{"views", take_views, offsetof(struct config_bmp, views), EFFECT(COMMIT)},
	/* Interval of Statistics Reports. 0: none. Unit: seconds. */
	{"statistics_s", config_take_u32, offsetof(struct config_bmp, statistics_s), 0, 86400,
		.def = 60, EFFECT(COMMIT)},
	/*
	 * A collector that accepts no octets for this time is disconnected; the next connection
	 * begins with all tables. Unit: seconds.
	 */
	{"stall_s", config_take_u32, offsetof(struct config_bmp, stall_s), 1, 3600, .def = 30,
		EFFECT(COMMIT)},
};

static void
take_collector(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_bmp *k;

	if (config->bmp_count == CONFIG_BMP_MAX) {
		config_fault(c, at, "more than %u collectors", CONFIG_BMP_MAX);
		return;
	}
	k = &config->bmp[config->bmp_count++];
	k->views = BMP_ADJ_IN | BMP_LOC;
	CONFIG_DEFAULTS(bmp_keys, k);
	CONFIG_TAKE(c, at, value, bmp_keys, k);
	for (unsigned i = 0; k->addr.afi != AFI_NONE && i + 1u < config->bmp_count; i++) {
		const struct config_bmp *o = &config->bmp[i];
		struct at address_at = AT_KEY(at, "address");

		if (addr_equal(&o->addr, &k->addr) && o->port == k->port)
			config_fault(c, &address_at, "equals address and port of collector %u", i);
	}
}

void
config_take_bmp(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)config_take_each(c, at, value, take_collector, out);
}
