/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/vrf_names.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct vrf_names {
	struct {
		char name[VRF_NAME_MAX + 1];
		unsigned references; /* 0: the id is free */
	} id[VRF_IDS_MAX];
	json_t *by_name; /* name -> id */
};

struct vrf_names *
vrf_names_create(void)
{
	struct vrf_names *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->by_name = json_object();
	if (n->by_name == NULL) {
		free(n);
		return NULL;
	}
	strcpy(n->id[VRF_DEFAULT.v].name, "default");
	n->id[VRF_DEFAULT.v].references = 1;
	return n;
}

void
vrf_names_destroy(struct vrf_names *n)
{
	if (n == NULL)
		return;
	json_decref(n->by_name);
	free(n);
}

bool
vrf_names_find(const struct vrf_names *n, const char *name, struct vrf_id *out)
{
	const json_t *id = json_object_get(n->by_name, name);

	*out = VRF_DEFAULT;
	if (strcmp(name, "default") == 0)
		return true;
	if (id == NULL)
		return false;
	out->v = (uint16_t)json_integer_value(id);
	return true;
}

/* FNV-1a. The search for a free id begins here, so that the next keeld gives an instance the same id. */
static uint16_t
first_id(const char *name)
{
	uint32_t h = 0x811c9dc5;

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 0x01000193;
	return (uint16_t)(1 + h % (VRF_IDS_MAX - 1));
}

int
vrf_names_take(struct vrf_names *n, const char *name, struct vrf_id *out)
{
	uint16_t free_id = VRF_DEFAULT.v, id = first_id(name);

	assert(strlen(name) <= VRF_NAME_MAX && strcmp(name, "default") != 0);
	if (vrf_names_find(n, name, out)) {
		n->id[out->v].references++;
		return 0;
	}
	for (unsigned i = 1; i < VRF_IDS_MAX && free_id == VRF_DEFAULT.v; i++) {
		if (n->id[id].references == 0)
			free_id = id;
		id = (uint16_t)(id + 1 < VRF_IDS_MAX ? id + 1 : 1);
	}
	if (free_id == VRF_DEFAULT.v)
		return -ENOSPC;
	if (json_object_set_new(n->by_name, name, json_integer(free_id)) != 0)
		return -ENOMEM;
	strcpy(n->id[free_id].name, name);
	n->id[free_id].references = 1;
	out->v = free_id;
	return 0;
}

void
vrf_names_drop(struct vrf_names *n, struct vrf_id id)
{
	assert(id.v != VRF_DEFAULT.v && id.v < VRF_IDS_MAX && n->id[id.v].references > 0);
	if (--n->id[id.v].references > 0)
		return;
	json_object_del(n->by_name, n->id[id.v].name);
}

const char *
vrf_names_text(const struct vrf_names *n, struct vrf_id id)
{
	return id.v < VRF_IDS_MAX && n->id[id.v].references > 0 ? n->id[id.v].name : NULL;
}
