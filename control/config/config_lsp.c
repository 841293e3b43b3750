/* SPDX-License-Identifier: BSD-3-Clause */
/* Static label-switched paths, and tunnels of MPLS over UDP. */
#include "control/config/config_impl.h"
#include "lpm/tunnel_set.h"

#include <stdlib.h>

#define LABEL_IMPLICIT_NULL 3u /* RFC 3032 2.1 */
#define LABEL_MAX 1048575u /* labels below 524288 are allocated by keeld (labels.h, swap_range.h) */

static void
take_destination(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)config_value_prefix(c, at, value, out);
}

static void
take_next_hop(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)config_value_host(c, at, value, out);
}

/* Explicit nulls stand at the bottom, and implicit null alone; further reserved labels have other uses. */
static void
take_out_label(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config_lsp *l = out;
	uint32_t label;

	if (!config_value_u32(c, at, value, 0, LABEL_MAX, &label))
		return;
	if (label < 16 && label != 0 && label != 2 && label != LABEL_IMPLICIT_NULL)
		config_fault(c, at,
			"label %u is reserved (RFC 3032); expected 16 to %u, or 0, 2, 3 for a null "
			"label",
			label, LABEL_MAX);
	else if (l->label_count == PUSH_LABELS_MAX)
		config_fault(c, at, "more than %u labels", PUSH_LABELS_MAX);
	else
		l->labels[l->label_count++] = label;
}

static void
take_out_labels(CONFIG_TAKE_ARGS)
{
	struct config_lsp *l = out;

	(void)key;
	if (!config_take_each(c, at, value, take_out_label, l))
		return;
	for (unsigned i = 0; i < l->label_count; i++) {
		struct at label_at = AT_INDEX(at, i);

		if (l->labels[i] == LABEL_IMPLICIT_NULL && l->label_count > 1)
			config_fault(c, &label_at, "implicit null (3) stands alone");
		else if (l->labels[i] < 16 && i + 1u < l->label_count)
			config_fault(c, &label_at, "a null label is the last label");
	}
}

/*
 * A static label-switched path (MPLS). A path with `in_label` forwards labelled packets, which ports
 * with `mpls` receive. A path with `destination` begins at this router.
 */
static const struct config_key lsp_keys[] = {
	/* Name of the path. */
	{"name", config_take_name, offsetof(struct config_lsp, name), 0, 0, true, EFFECT(COMMIT)},
	/*
	 * Label of the packets, from 524288 to 1048575; keeld allocates lower labels.
	 * Default: none; `destination` is required.
	 */
	{"in_label", config_take_u32, offsetof(struct config_lsp, in_label), 524288, 1048575,
		EFFECT(COMMIT)},
	/*
	 * Packets of VPN routes whose BGP next hop is in this prefix take the path. The longest
	 * prefix decides. Default: none; `in_label` is required.
	 */
	{"destination", take_destination, offsetof(struct config_lsp, destination), EFFECT(COMMIT)},
	/*
	 * Next router of the path: an address on a connected subnet, or an address resolved by a
	 * route. Default: none; `vrf` is required.
	 */
	{"next_hop", take_next_hop, offsetof(struct config_lsp, next_hop), EFFECT(COMMIT)},
	/*
	 * Labels that the packets get, outermost first, at most 6. They replace `in_label`. 3
	 * (implicit null) alone means the same as no label. Default: none.
	 */
	{"out_labels", take_out_labels, EFFECT(COMMIT)},
	/*
	 * VPN instance in which packets are looked up after `in_label` is removed. Default: none;
	 * `next_hop` is required.
	 */
	{"vrf", config_take_vrf, offsetof(struct config_lsp, vrf), EFFECT(COMMIT)},
};

static void
check_lsp(struct check *c, const struct at *at, const json_t *value, const struct config_lsp *l)
{
	struct at destination_at = AT_KEY(at, "destination"), in_at = AT_KEY(at, "in_label"),
		  hop_at = AT_KEY(at, "next_hop"), vrf_at = AT_KEY(at, "vrf"),
		  out_at = AT_KEY(at, "out_labels");
	bool in = json_object_get(value, "in_label"), vrf = json_object_get(value, "vrf");
	bool destination = l->destination.afi != AFI_NONE, hop = l->next_hop.afi != AFI_NONE;

	if (in && destination)
		config_fault(c, &destination_at, "only valid without `in_label`");
	else if (!in && !destination)
		config_fault(c, &in_at, "is missing; a path needs `in_label` or `destination`");
	else if (hop && vrf)
		config_fault(c, &vrf_at, "only valid without `next_hop`");
	else if (destination && !hop)
		config_fault(c, &hop_at, "is missing; a path with `destination` needs `next_hop`");
	else if (!hop && !vrf)
		config_fault(c, &hop_at, "is missing; a path needs `next_hop` or `vrf`");
	else if (vrf && l->label_count > 0)
		config_fault(c, &out_at, "only valid with `next_hop`");
}

static void
take_lsp(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_lsp *l = &config->lsps[config->lsp_count++];
	unsigned faults = c->f->count;

	if (CONFIG_TAKE(c, at, value, lsp_keys, l) && c->f->count == faults)
		check_lsp(c, at, value, l);
}

/* Names, labels and destinations are unique. */
static void
check_lsps(struct check *c, const struct at *at, const json_t *value, const struct config *config)
{
	json_t *labels = json_object(), *destinations = json_object();
	char text[PREFIX_TEXT_MAX];

	config_check_unique(c, at, value, "name");
	for (unsigned i = 0; i < config->lsp_count; i++) {
		const struct config_lsp *l = &config->lsps[i];
		const json_t *element = json_array_get(value, i);

		if (l->destination.afi != AFI_NONE) {
			config_note_unique(c, at, i, "destination",
				json_object_get(element, "destination"),
				prefix_format(&l->destination, text), destinations);
			continue;
		}
		snprintf(text, sizeof(text), "%u", l->in_label);
		config_note_unique(
			c, at, i, "in_label", json_object_get(element, "in_label"), text, labels);
	}
	json_decref(labels);
	json_decref(destinations);
}

void
config_take_lsps(CONFIG_TAKE_ARGS)
{
	struct config *config = out;
	unsigned faults = c->f->count;

	(void)key;
	config->lsps = calloc(json_array_size(value) + 1, sizeof(*config->lsps));
	if (!config->lsps)
		config_fault(c, at, "out of memory");
	else if (config_take_each(c, at, value, take_lsp, config) && c->f->count == faults)
		check_lsps(c, at, value, config);
}

/* ---- tunnels ---- */

static void
take_tunnel_address(CONFIG_TAKE_ARGS)
{
	struct ip_addr *address = out;

	(void)key;
	if (config_value_host(c, at, value, address) && address->afi != AFI_IPV4)
		config_fault(
			c, at, "IPv6 is not supported in this version; expected an IPv4 address");
}

/*
 * A tunnel to a remote edge router: labelled packets travel in UDP (RFC 7510, port 6635) instead of on
 * label-switched paths.
 */
static const struct config_key tunnel_keys[] = {
	/* Name of the tunnel. */
	{"name", config_take_name, offsetof(struct config_tunnel, name), 0, 0, true,
		EFFECT(COMMIT)},
	/*
	 * The remote edge router: an IPv4 address, resolved by a route of `default`. Packets of VPN
	 * routes with this BGP next hop take the tunnel. Labelled packets in UDP are accepted from
	 * this address, on ports of `default` with `mpls` alone.
	 */
	{"destination", take_tunnel_address, offsetof(struct config_tunnel, destination), 0, 0,
		true, EFFECT(COMMIT)},
	/* An IPv4 address of this router in `default`: the source of the packets. */
	{"source", take_tunnel_address, offsetof(struct config_tunnel, source), 0, 0, true,
		EFFECT(COMMIT)},
};

static void
take_tunnel(struct check *c, const struct at *at, const json_t *value, void *out)
{
	struct config *config = out;
	struct config_tunnel *t = &config->tunnels[config->tunnel_count++];
	struct at source_at = AT_KEY(at, "source");
	unsigned faults = c->f->count;

	if (CONFIG_TAKE(c, at, value, tunnel_keys, t) && c->f->count == faults &&
		addr_equal(&t->source, &t->destination))
		config_fault(c, &source_at, "equals `destination`");
}

void
config_take_tunnels(CONFIG_TAKE_ARGS)
{
	struct config *config = out;
	unsigned faults = c->f->count;

	(void)key;
	config->tunnels = calloc(json_array_size(value) + 1, sizeof(*config->tunnels));
	if (!config->tunnels) {
		config_fault(c, at, "out of memory");
	} else if (json_array_size(value) > TUNNELS_MAX) {
		config_fault(c, at, "more than %u tunnels", TUNNELS_MAX);
	} else if (config_take_each(c, at, value, take_tunnel, config) && c->f->count == faults) {
		config_check_unique(c, at, value, "name");
		config_check_unique(c, at, value, "destination");
	}
}
