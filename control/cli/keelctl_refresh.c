/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands refresh, reset and preview: keelctl(1), keel-policy(7). */
#include "control/cli/keelctl.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define JOB_POLL_MS 100

/* ---- refresh ---- */

/* True if the daemon accepted the command but no session could carry it out. */
static bool
no_session_acted(const json_t *peers)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		const char *action = text_of(peer, "action");

		if (strcmp(action, "unsupported") != 0 && strcmp(action, "not-established") != 0)
			return false;
	}
	return true;
}

/* Calls a method on the peers of a family; see command.or_ipv6. Takes `params`. */
static json_t *
call_of_family(struct ctl *ctl, const struct command *c, const char *method, json_t *params)
{
	json_t *result = c->or_ipv6 ? ctl_try(ctl, method, json_incref(params)) : NULL;

	if (result != NULL) {
		json_decref(params);
		return result;
	}
	if (c->or_ipv6)
		json_object_set_new(params, "family", json_string("ipv6-unicast"));
	return ctl_call(ctl, method, params);
}

#define REASON_PEERS 3 /* peers listed in a reason */

/*
 * Stops a script with a reason: the first peers with their actions. Outside of scripts the table
 * shows the actions.
 */
static void
stop_script(struct ctl *ctl, const char *done, const json_t *peers)
{
	char text[512] = "";
	const json_t *peer;
	size_t i, at = 0;

	ctl->status = EXIT_REFUSED;
	if (!ctl->script)
		return;
	json_array_foreach(peers, i, peer)
	{
		bool reason = json_is_string(json_object_get(peer, "reason"));

		if (i == REASON_PEERS || at >= sizeof(text))
			break;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s is %s%s%s%s",
			i > 0 ? ", " : "", text_of(peer, "address"), text_of(peer, "action"),
			reason ? " (" : "", reason ? text_of(peer, "reason") : "",
			reason ? ")" : "");
	}
	if (i < json_array_size(peers))
		ctl_fail(ctl, EXIT_REFUSED, "no session was %s: %s and %zu more", done, text,
			json_array_size(peers) - i);
	else
		ctl_fail(ctl, EXIT_REFUSED, "no session was %s: %s", done, text);
}

/* Prints the state of a job; false if the job has ended. */
static bool
job_line(struct ctl *ctl, long long id, const json_t *job)
{
	const char *state = text_of(job, "state");
	char spent[SHORT_TEXT];

	if (strcmp(state, "running") == 0) {
		if (!ctl->json)
			ctl_progress(ctl, "job %lld: %lld of %lld sessions, running", id,
				number_of(job, "done"), number_of(job, "total"));
		return true;
	}
	ctl_progress_end(ctl);
	if (!ctl->json)
		printf("job %lld: %lld of %lld sessions, %s after %s\n", id, number_of(job, "done"),
			number_of(job, "total"), state,
			ns_text((real_of(job, "finished_s") - real_of(job, "started_s")) * 1e9,
				spent));
	if (strcmp(state, "failed") == 0)
		ctl_fail(ctl, EXIT_REFUSED, "job %lld failed: %s", id,
			text_of(json_object_get(job, "result"), "reason"));
	return false;
}

/* Follows the job until the end. Ctrl-C leaves the job running. */
static void
job_follow(struct ctl *ctl, long long id)
{
	bool running = true;

	ctl_interrupt_catch();
	while (running) {
		json_t *job = ctl_call(ctl, "jobs.get", json_pack("{s:I}", "id", (json_int_t)id));

		if (job == NULL)
			return;
		running = job_line(ctl, id, job);
		json_decref(job);
		if (running)
			poll(NULL, 0, JOB_POLL_MS);
		if (running && ctl_interrupted()) {
			ctl_progress_end(ctl);
			ctl_fail(ctl, EXIT_REFUSED, "job %lld continues; `show jobs` shows its end",
				id);
			return;
		}
	}
}

json_t *
peers_params(const struct command *c)
{
	json_t *params = command_params(c);
	const char *scope = keyword(c, "slow-peer|all|external|internal|group");

	if (scope == NULL)
		scope = arg(c, "peer") != NULL ? "peer" : "asn";
	json_object_set_new(params, "scope", json_string(scope));
	if (keyword(c, "import|export") != NULL)
		json_object_set_new(params, "direction", json_string(keyword(c, "import|export")));
	return params;
}

void
refresh_command(struct ctl *ctl, const struct command *c)
{
	json_t *result = call_of_family(ctl, c, "bgp.refresh", peers_params(c));
	const json_t *job, *peers;

	if (result == NULL)
		return;
	peers = json_object_get(result, "peers");
	job = json_object_get(result, "job");
	if (ctl->json)
		ctl_print_json(result, false);
	else
		list_print(
			ctl, peers, "Peer=address|VRF=vrf|Action=action:state|Reason=reason", NULL);
	if (no_session_acted(peers))
		stop_script(ctl, "refreshed", peers);
	else if (json_is_integer(job) && keyword(c, "wait") != NULL)
		job_follow(ctl, (long long)json_integer_value(job));
	else if (json_is_integer(job) && !ctl->json)
		printf("job %lld runs; `show jobs` shows its end\n",
			(long long)json_integer_value(job));
	json_decref(result);
}

/* ---- reset ---- */

static size_t
count_action(const json_t *peers, const char *action)
{
	const json_t *peer;
	size_t i, n = 0;

	json_array_foreach(peers, i, peer) n += strcmp(text_of(peer, "action"), action) == 0;
	return n;
}

static void
reset_print(struct ctl *ctl, const json_t *peers)
{
	list_print(ctl, peers,
		"Peer=address|VRF=vrf|Action=action:state|Families dropped=families_dropped", NULL);
}

static json_t *
reset_call(struct ctl *ctl, const struct command *c, bool force)
{
	json_t *params = peers_params(c);

	json_object_set_new(params, "force", json_boolean(force));
	return call_of_family(ctl, c, "bgp.reset", params);
}

/* In the shell: shows the affected sessions and asks for confirmation. */
static bool
reset_agreed(struct ctl *ctl, const struct command *c)
{
	json_t *result = reset_call(ctl, c, false);
	const json_t *peers = json_object_get(result, "peers");
	size_t n = count_action(peers, "would-reset");
	char question[96];

	if (result == NULL)
		return false;
	reset_print(ctl, peers);
	json_decref(result);
	if (n == 0) {
		ctl->status = EXIT_REFUSED;
		return false;
	}
	snprintf(question, sizeof(question), "Reset %zu session%s? [y/n] ", n, n == 1 ? "" : "s");
	if (ctl->ask(ctl, question))
		return true;
	puts("nothing was reset");
	return false;
}

void
reset_command(struct ctl *ctl, const struct command *c)
{
	json_t *result;

	if (ctl->ask != NULL && !reset_agreed(ctl, c))
		return;
	result = reset_call(ctl, c, true);
	if (result == NULL)
		return;
	if (ctl->json)
		ctl_print_json(result, false);
	else
		reset_print(ctl, json_object_get(result, "peers"));
	if (count_action(json_object_get(result, "peers"), "reset") == 0)
		stop_script(ctl, "reset", json_object_get(result, "peers"));
	json_decref(result);
}

/* ---- preview ---- */

/* Counts are marked as inexact where rejected routes are not kept. */
static void
preview_print(struct ctl *ctl, const json_t *result)
{
	json_t *rows = json_copy(json_object_get(result, "peers")),
	       *fib = json_copy(json_object_get(result, "fib"));

	if (json_is_object(fib)) {
		json_object_set_new(fib, "address", json_string("forwarding"));
		json_array_append(rows, fib);
	}
	list_print(ctl, rows,
		"Peer=address|VRF=vrf|Family=family|Direction=direction|>Added=added:warn|"
		">Removed=removed:warn|>Changed=changed:warn|Exact=exact",
		"no route would change");
	if (json_object_get(result, "effects") != NULL)
		effects_print(ctl, json_object_get(result, "effects"));
	json_decref(rows);
	json_decref(fib);
}

void
preview_command(struct ctl *ctl, const struct command *c)
{
	json_t *params = keyword(c, "refresh") != NULL ? peers_params(c)
						       : json_pack("{s:b}", "candidate", 1);

	if (keyword(c, "policy-files") != NULL)
		json_object_set_new(params, "policy_files", json_true());
	ctl_result(ctl, call_of_family(ctl, c, "bgp.refresh.preview", params), preview_print);
}
