/* SPDX-License-Identifier: BSD-3-Clause */
/* bgp.refresh.preview and policy.test: what policies would do, nothing published. */
#include "control/rpc_impl.h"

const struct rpc_method rpc_preview_methods[] = {
	{0},
};
