/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/refused.h"

static const char *const texts[REFUSED_CAUSES] = {
	[REFUSED_NOT] = "",
	[REFUSED_AS_LOOP] = "as-loop",
	[REFUSED_ORIGINATOR_LOOP] = "originator-loop",
	[REFUSED_CLUSTER_LOOP] = "cluster-loop",
	[REFUSED_FIRST_AS] = "first-as",
	[REFUSED_AS_PATH_LENGTH] = "as-path-length",
	[REFUSED_NEXT_HOP] = "next-hop",
	[REFUSED_NO_POLICY] = "no-policy",
	[REFUSED_POLICY] = "policy",
	[REFUSED_PREFIX_LIMIT] = "prefix-limit",
	[REFUSED_UNUSABLE_PREFIX] = "unusable-prefix",
	[REFUSED_NOT_INSTALLED] = "not-installed",
	[REFUSED_MALFORMED_OTHER] = "malformed-attribute",
	[REFUSED_MALFORMED_ORIGIN] = "malformed-origin",
	[REFUSED_MALFORMED_AS_PATH] = "malformed-as-path",
	[REFUSED_MALFORMED_NEXT_HOP] = "malformed-next-hop",
	[REFUSED_MALFORMED_MED] = "malformed-med",
	[REFUSED_MALFORMED_LOCAL_PREF] = "malformed-local-pref",
	[REFUSED_MALFORMED_ATOMIC_AGGREGATE] = "malformed-atomic-aggregate",
	[REFUSED_MALFORMED_AGGREGATOR] = "malformed-aggregator",
	[REFUSED_MALFORMED_COMMUNITIES] = "malformed-communities",
	[REFUSED_MALFORMED_ORIGINATOR_ID] = "malformed-originator-id",
	[REFUSED_MALFORMED_CLUSTER_LIST] = "malformed-cluster-list",
	[REFUSED_MALFORMED_MP_REACH] = "malformed-mp-reach-nlri",
	[REFUSED_MALFORMED_MP_UNREACH] = "malformed-mp-unreach-nlri",
	[REFUSED_MALFORMED_EXT_COMMUNITIES] = "malformed-ext-communities",
	[REFUSED_MALFORMED_IPV6_EXT_COMMUNITIES] = "malformed-ipv6-ext-communities",
	[REFUSED_MALFORMED_LARGE_COMMUNITIES] = "malformed-large-communities",
	[REFUSED_MALFORMED_OTC] = "malformed-only-to-customer",
};

/* By type code (IANA, BGP Path Attributes). An attribute that RFC 7606 discards (AS4_PATH, AS4_AGGREGATOR) refuses no route. */
static const uint8_t malformed[] = {
	[1] = REFUSED_MALFORMED_ORIGIN,
	[2] = REFUSED_MALFORMED_AS_PATH,
	[3] = REFUSED_MALFORMED_NEXT_HOP,
	[4] = REFUSED_MALFORMED_MED,
	[5] = REFUSED_MALFORMED_LOCAL_PREF,
	[6] = REFUSED_MALFORMED_ATOMIC_AGGREGATE,
	[7] = REFUSED_MALFORMED_AGGREGATOR,
	[8] = REFUSED_MALFORMED_COMMUNITIES,
	[9] = REFUSED_MALFORMED_ORIGINATOR_ID,
	[10] = REFUSED_MALFORMED_CLUSTER_LIST,
	[14] = REFUSED_MALFORMED_MP_REACH,
	[15] = REFUSED_MALFORMED_MP_UNREACH,
	[16] = REFUSED_MALFORMED_EXT_COMMUNITIES,
	[25] = REFUSED_MALFORMED_IPV6_EXT_COMMUNITIES,
	[32] = REFUSED_MALFORMED_LARGE_COMMUNITIES,
	[35] = REFUSED_MALFORMED_OTC,
};

enum refused_cause
refused_malformed(uint8_t type)
{
	if (type >= sizeof(malformed) || malformed[type] == REFUSED_NOT)
		return REFUSED_MALFORMED_OTHER;
	return (enum refused_cause)malformed[type];
}

const char *
refused_text(enum refused_cause cause)
{
	return cause < REFUSED_CAUSES ? texts[cause] : "";
}

bool
refused_by_policy(enum refused_cause cause)
{
	return cause == REFUSED_POLICY || cause == REFUSED_NO_POLICY;
}
