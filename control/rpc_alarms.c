/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong now and stays wrong until somebody does something about it: system.info, event `alarm`. */
#include "control/rpc_impl.h"

#include "control/log.h"
#include "lpm/fib.h"
#include "rib/fib_feed.h"
#include "rib/policy.h"

#include <stdio.h>

enum { ALARM_RIB, ALARM_NOT_INSTALLED, ALARM_FIB_FEED, ALARM_POLICY, ALARM_COUNT };

/* `text` with the number that makes it one. */
static const struct {
	const char *kind, *text;
} alarms[ALARM_COUNT] = {
	{"rib", "%llu changes were lost for want of memory or were malformed"},
	{"not-installed", "%llu prefixes did not fit the forwarding table"},
	{"fib-feed", "%llu routes could not be handed to the forwarding table"},
	{"policy", "%llu times a regular expression hit its match limit, and the route was rejected"},
};

static double since_s[ALARM_COUNT]; /* main's; 0: is not one */

/* `more`: appended to the text, helps the operator to find the place. */
static void
alarm_look_at(json_t *list, unsigned a, uint64_t n, const char *more)
{
	char text[480];
	size_t len;

	if (n == 0) {
		since_s[a] = 0;
		return;
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	len = (size_t)snprintf(text, sizeof(text), alarms[a].text, (unsigned long long)n);
#pragma GCC diagnostic pop
	snprintf(text + len, sizeof(text) - len, "%s", more);
	if (since_s[a] == 0) {
		since_s[a] = rpc_wall_s();
		log_event(LOG_WARNING, "alarm kind=%s text=\"%s\"", alarms[a].kind, text);
	}
	json_array_append_new(list, json_pack("{s:f, s:s, s:s}", "time", since_s[a], "kind",
					    alarms[a].kind, "text", text));
}

static void
alarm_look(json_t *list, unsigned a, uint64_t n)
{
	alarm_look_at(list, a, n, "");
}

static void
policy_look(json_t *list)
{
	struct policy_match_error last;
	uint64_t n = policy_match_errors(&last);
	char more[240], peer[ADDR_TEXT_MAX] = "none";

	if (last.peer.afi != AFI_NONE)
		addr_format(&last.peer, peer);
	snprintf(more, sizeof(more), "; the last time in policy %s, AS-path list %s, peer %s",
		last.policy, last.list, peer);
	alarm_look_at(list, ALARM_POLICY, n, more);
}

json_t *
rpc_alarms(struct keeld *k)
{
	json_t *list = json_array();
	struct fib_stats s = {0};
	uint64_t failures = 0;

	for (unsigned i = 0; i < k->shards.count; i++)
		failures += shard_failures(k->shards.at[i]);
	if (k->fib != NULL)
		fib_stats_get(k->fib, &s);
	alarm_look(list, ALARM_RIB, failures);
	alarm_look(list, ALARM_NOT_INSTALLED, s.not_installed);
	alarm_look(list, ALARM_FIB_FEED, k->fib != NULL ? fib_feed_failed(k->feed) : 0);
	policy_look(list);
	return list;
}
