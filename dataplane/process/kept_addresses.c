/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/process/kept_addresses.h"

#include <errno.h>
#include <stdlib.h>

struct kept {
	struct ip_addr addr;
	struct vrf_id vrf;
	enum kept_kind kind;
	bool old; /* of an earlier keeld */
};

/* Some thousand entries, changed at commits: an array without order. */
struct kept_addresses {
	struct kept *at;
	unsigned count, room;
};

struct kept_addresses *
kept_addresses_create(void)
{
	return calloc(1, sizeof(struct kept_addresses));
}

void
kept_addresses_destroy(struct kept_addresses *k)
{
	if (k == NULL)
		return;
	free(k->at);
	free(k);
}

static struct kept *
find(struct kept_addresses *k, enum kept_kind kind, struct vrf_id vrf, const struct ip_addr *addr)
{
	for (unsigned i = 0; i < k->count; i++)
		if (k->at[i].kind == kind && k->at[i].vrf.v == vrf.v &&
			addr_equal(&k->at[i].addr, addr))
			return &k->at[i];
	return NULL;
}

static int
reserve(struct kept_addresses *k)
{
	unsigned room = k->room == 0 ? 64 : 2 * k->room;
	struct kept *at;

	if (k->count < k->room)
		return 0;
	if (k->count >= KEPT_MAX)
		return -ENOSPC;
	at = realloc(k->at, room * sizeof(*at));
	if (at == NULL)
		return -ENOMEM;
	k->at = at;
	k->room = room;
	return 0;
}

int
kept_addresses_set(struct kept_addresses *k, enum kept_kind kind, struct vrf_id vrf,
	const struct ip_addr *addr, bool present)
{
	struct kept *e = find(k, kind, vrf, addr);

	if (!present) {
		if (e != NULL)
			*e = k->at[--k->count];
		return 0;
	}
	if (e == NULL) {
		if (reserve(k) != 0)
			return -ENOMEM;
		e = &k->at[k->count++];
	}
	*e = (struct kept){.addr = *addr, .vrf = vrf, .kind = kind};
	return 0;
}

bool
kept_addresses_had(struct kept_addresses *k, enum kept_kind kind, struct vrf_id vrf,
	const struct ip_addr *addr)
{
	const struct kept *e = find(k, kind, vrf, addr);

	return e != NULL && e->old;
}

void
kept_addresses_age(struct kept_addresses *k)
{
	for (unsigned i = 0; i < k->count; i++)
		k->at[i].old = true;
}

void
kept_addresses_sweep(struct kept_addresses *k,
	void (*remove)(enum kept_kind kind, struct vrf_id vrf, const struct ip_addr *addr))
{
	for (unsigned i = 0; i < k->count;) {
		struct kept e = k->at[i];

		if (!e.old) {
			i++;
			continue;
		}
		k->at[i] = k->at[--k->count];
		remove(e.kind, e.vrf, &e.addr);
	}
}
