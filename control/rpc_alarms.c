/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong now and stays wrong until somebody does something about it: system.info, event `alarm`. */
#include "control/rpc_impl.h"

#include "control/log.h"
#include "lpm/fib.h"
#include "rib/fib_feed.h"

#include <stdio.h>

enum { ALARM_RIB, ALARM_NOT_INSTALLED, ALARM_FIB_FEED, ALARM_POLICY, ALARM_COUNT };

/* `text` with the number that makes it one. */
static const struct {
	const char *kind, *text;
} alarms[ALARM_COUNT] = {
	{"rib", "%llu changes were lost for want of memory or were malformed"},
	{"not-installed", "%llu prefixes did not fit the forwarding table"},
	{"fib-feed", "%llu routes could not be handed to the forwarding table"},
	{"policy", "%llu times a regular expression hit its match limit and counted as no match"},
};

static double since_s[ALARM_COUNT]; /* main's; 0: is not one */

static void
alarm_look(json_t *list, unsigned a, uint64_t n)
{
	char text[160];

	if (n == 0) {
		since_s[a] = 0;
		return;
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), alarms[a].text, (unsigned long long)n);
#pragma GCC diagnostic pop
	if (since_s[a] == 0) {
		since_s[a] = rpc_wall_s();
		log_event(LOG_WARNING, "alarm kind=%s text=\"%s\"", alarms[a].kind, text);
	}
	json_array_append_new(list, json_pack("{s:f, s:s, s:s}", "time", since_s[a], "kind",
					    alarms[a].kind, "text", text));
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
	alarm_look(list, ALARM_POLICY, policy_limit_hits());
	return list;
}
