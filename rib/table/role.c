/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/role.h"

const char *
role_text(enum session_role role)
{
	static const char *const texts[ROLE_COUNT] = {
		[ROLE_NONE] = "none",
		[ROLE_PROVIDER] = "provider",
		[ROLE_RS] = "rs-server",
		[ROLE_RS_CLIENT] = "rs-client",
		[ROLE_CUSTOMER] = "customer",
		[ROLE_PEER] = "peer",
	};

	return texts[role < ROLE_COUNT ? role : ROLE_NONE];
}

bool
role_pair_valid(enum session_role ours, enum session_role theirs)
{
	static const uint8_t other[ROLE_COUNT] = {
		[ROLE_PROVIDER] = ROLE_CUSTOMER,
		[ROLE_CUSTOMER] = ROLE_PROVIDER,
		[ROLE_RS] = ROLE_RS_CLIENT,
		[ROLE_RS_CLIENT] = ROLE_RS,
		[ROLE_PEER] = ROLE_PEER,
	};

	return ours != ROLE_NONE && ours < ROLE_COUNT && other[ours] == theirs;
}

bool
role_receive(enum session_role ours, uint32_t peer_as, struct attr_set *a)
{
	bool has = a->has & ATTR_HAS_OTC;

	switch (ours) {
	case ROLE_PROVIDER:
	case ROLE_RS:
		return !has;
	case ROLE_PEER:
		if (has)
			return a->otc == peer_as;
		break;
	case ROLE_CUSTOMER:
	case ROLE_RS_CLIENT:
		if (has)
			return true;
		break;
	case ROLE_COUNT:
	case ROLE_NONE:
		return true;
	}
	a->has |= ATTR_HAS_OTC;
	a->otc = peer_as;
	return true;
}

bool
role_forbids_otc(enum session_role ours)
{
	return ours == ROLE_CUSTOMER || ours == ROLE_RS_CLIENT || ours == ROLE_PEER;
}

bool
role_adds_otc(enum session_role ours)
{
	return ours == ROLE_PROVIDER || ours == ROLE_RS || ours == ROLE_PEER;
}
