/* SPDX-License-Identifier: BSD-3-Clause */
/* The RPKI caches. */
#include "control/config/config_impl.h"

#include <stdlib.h>
#include <string.h>

static void
take_cache_address(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)config_value_host(c, at, value, out);
}

/* An RPKI cache, reached by the RPKI-to-Router protocol (RFC 8210, RFC 6810) over TCP. */
static const struct config_key rpki_cache_keys[] = {
	/* Address of the cache. */
	{"address", take_cache_address, offsetof(struct config_rpki_cache, addr), 0, 0, true,
		EFFECT(COMMIT)},
	/* TCP port of the cache. */
	{"port", config_take_u16, offsetof(struct config_rpki_cache, port), 1, 65535, .def = 323,
		EFFECT(COMMIT)},
	/*
	 * The data of the caches with the lowest value is in use; caches with equal values add up. A
	 * cache with a higher value is used while no cache with a lower value is synchronized.
	 */
	{"preference", config_take_u8, offsetof(struct config_rpki_cache, preference), 0, 255,
		.def = 100, EFFECT(COMMIT)},
	/* Password of TCP MD5 (RFC 2385), at most 80 octets. Default: none. */
	{"password", config_take_text, offsetof(struct config_rpki_cache, password), 1, 80,
		EFFECT(COMMIT)},
};

static void
take_cache(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_rpki_cache *k;

	if (config->rpki_cache_count == CONFIG_RPKI_CACHES_MAX) {
		config_fault(c, at, "more than %u caches", CONFIG_RPKI_CACHES_MAX);
		return;
	}
	k = &config->rpki_caches[config->rpki_cache_count++];
	CONFIG_DEFAULTS(rpki_cache_keys, k);
	CONFIG_TAKE(c, at, value, rpki_cache_keys, k);
	for (unsigned i = 0; k->addr.afi != AFI_NONE && i + 1u < config->rpki_cache_count; i++) {
		const struct config_rpki_cache *o = &config->rpki_caches[i];
		struct at address_at = AT_KEY(at, "address");

		if (addr_equal(&o->addr, &k->addr) && o->port == k->port)
			config_fault(c, &address_at, "equals address and port of cache %u", i);
	}
}

static void
take_caches(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)config_take_each(c, at, value, take_cache, out);
}

/* Origin validation of routes (RFC 6811); policies match on `validation`. */
static const struct config_key rpki_keys[] = {
	/*
	 * The caches, at most 16. Data of a removed cache stays in use until the caches that replace
	 * the cache have answered, or until the data expires; without caches no data is in use.
	 * Default: none.
	 */
	{"caches", take_caches},
};

void
config_take_rpki(CONFIG_TAKE_ARGS)
{
	(void)key;
	CONFIG_TAKE(c, at, value, rpki_keys, out);
}
