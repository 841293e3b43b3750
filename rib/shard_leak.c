/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands for VPN instances. Routes do not leak yet. */
#include "rib/leak.h"
#include "rib/shard_impl.h"

#include <errno.h>

int
shard_instance_set(struct shard *s, const struct shard_instance *i)
{
	(void)s;
	return i->vrf.v == VRF_DEFAULT.v || i->vrf.v >= SHARD_INSTANCES_MAX ? -EINVAL : 0;
}

int
shard_instance_remove(struct shard *s, struct vrf_id vrf)
{
	(void)s;
	(void)vrf;
	return 0;
}

bool
shard_instance_idle(const struct shard *s, struct vrf_id vrf)
{
	(void)s;
	(void)vrf;
	return true;
}

void
shard_instance_counts(const struct shard *s, struct vrf_id vrf, struct shard_instance_counts *out)
{
	(void)s;
	(void)vrf;
	*out = (struct shard_instance_counts){0};
}

bool
shard_path_origin(const struct shard *s, const struct rib_path *p, struct leak_origin *out)
{
	(void)s;
	(void)p;
	(void)out;
	return false;
}
