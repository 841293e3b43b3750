/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last faulty messages of a peer, and the log line of each. The shard counts the refused prefixes (rib/shard/refused.h).
 *
 * The record of a peer is allocated with the first faulty message and lives as long as the peer, so that it can be read when the session
 * is down. A peer has at most SESSION_FAULTS entries; all peers together keep at most FAULT_OCTETS_ALL octets of messages.
 */
#include "control/session/session_impl.h"

#include "control/bgp/bgp_attr.h"
#include "control/base/log.h"
#include "lpm/base/arena.h"

#include <stdio.h>
#include <string.h>

/* Beyond this total, an entry keeps FAULT_OCTETS_LEAST octets of its message. */
#define FAULT_OCTETS_ALL (16u << 20)
#define FAULT_OCTETS_LEAST 64u

/* At most LINES log lines of a peer within WINDOW_NS; the end of the window logs how many were suppressed. */
#define FAULT_LINES 5u
#define FAULT_WINDOW_NS (10 * NS_PER_S)

struct fault_entry {
	double time_s;
	uint8_t severity; /* enum bgp_severity */
	uint8_t family; /* enum family; FAMILY_COUNT: none */
	uint32_t prefixes;
	uint16_t len, kept;
	uint8_t *octets; /* `kept` of them */
	char text[SESSION_FAULT_TEXT];
};

struct peer_faults {
	struct peer *peer;
	/* since the peer exists; the entry of fault N is entry[N % SESSION_FAULTS] */
	uint64_t count;
	struct fault_entry entry[SESSION_FAULTS];
	struct timer window; /* armed: a window is open */
	unsigned lines; /* logged in this window */
	uint64_t suppressed; /* not logged in this window */
};

static const char *
severity_text(enum bgp_severity severity)
{
	return severity == SESSION_RESET       ? "session-reset"
	       : severity == TREAT_AS_WITHDRAW ? "treat-as-withdraw"
					       : "attribute-discard";
}

const char *
session_fault_severity(const struct session_fault *f)
{
	return severity_text(f->severity);
}

static void
window_end(struct peer_faults *f)
{
	const struct peer *p = f->peer;

	if (f->suppressed > 0)
		log_event(LOG_WARNING, "update-errors-suppressed peer=%s vrf=%s count=%llu",
			p->config.addr_text, p->vrf_name, (unsigned long long)f->suppressed);
	f->lines = 0;
	f->suppressed = 0;
}

static void
window_fire(struct timer *t) RUNS_ON(role_session)
{
	window_end(container_of(t, struct peer_faults, window));
}

/* NULL: out of memory. */
static struct peer_faults *
faults_of(struct peer *p) RUNS_ON(role_session)
{
	if (p->faults != NULL)
		return p->faults;
	p->faults = arena_calloc(p->speaker->config.arena, sizeof(*p->faults));
	if (p->faults == NULL)
		return NULL;
	p->faults->peer = p;
	p->faults->window.fire = window_fire;
	return p->faults;
}

static bool
line_allowed(struct peer_faults *f) RUNS_ON(role_session)
{
	if (f == NULL)
		return true; /* bounded by the call site */
	if (f->window.deadline_ns == 0)
		timer_arm(f->peer->speaker->thread, &f->window, FAULT_WINDOW_NS);
	if (f->lines == FAULT_LINES) {
		f->suppressed++;
		return false;
	}
	f->lines++;
	return true;
}

static void
fault_log(const struct peer *p, const struct fault_entry *e, const struct nlri *first)
{
	char prefix[PREFIX_TEXT_MAX] = "", rd[VPN_TEXT_MAX] = "", quoted[2 * SESSION_FAULT_TEXT];
	bool update = e->family != FAMILY_COUNT;
	bool vpn = update && family_safi((enum family)e->family) == SAFI_VPN && first != NULL;

	if (first != NULL)
		prefix_format(&first->prefix, prefix);
	if (vpn)
		vpn_rd_format(first->rd, rd);
	log_event(LOG_WARNING,
		"update-error peer=%s vrf=%s%s%s%s%s%s%s prefixes=%u treatment=%s reason=%s",
		p->config.addr_text, p->vrf_name, update ? " family=" : "",
		update ? family_text((enum family)e->family) : "", vpn ? " rd=" : "", rd,
		first != NULL ? " prefix=" : "", prefix, e->prefixes, severity_text(e->severity),
		log_escape(e->text, strlen(e->text), quoted, sizeof(quoted)));
}

static void
octets_drop(struct speaker *s, struct fault_entry *e)
{
	arena_free(s->config.arena, e->octets);
	s->fault_octets -= e->kept;
	e->octets = NULL;
	e->kept = 0;
}

static void
octets_keep(struct speaker *s, struct fault_entry *e, const uint8_t *msg, size_t len)
{
	size_t kept = len < SESSION_FAULT_OCTETS ? len : SESSION_FAULT_OCTETS;

	if (s->fault_octets + kept > FAULT_OCTETS_ALL && kept > FAULT_OCTETS_LEAST)
		kept = FAULT_OCTETS_LEAST;
	e->len = (uint16_t)len;
	e->octets = arena_alloc(s->config.arena, kept);
	if (e->octets == NULL)
		return;
	memcpy(e->octets, msg, kept);
	e->kept = (uint16_t)kept;
	s->fault_octets += kept;
}

static void
fault_add(struct peer *p, struct fault_entry *e, const struct nlri *first, const uint8_t *msg,
	size_t len) RUNS_ON(role_session)
{
	struct peer_faults *f = faults_of(p);

	if (line_allowed(f))
		fault_log(p, e, first);
	if (f != NULL) {
		struct fault_entry *to = &f->entry[f->count++ % SESSION_FAULTS];

		octets_drop(p->speaker, to);
		*to = *e;
		octets_keep(p->speaker, to, msg, len);
	}
}

void
peer_fault_update(struct peer *p, const struct bgp_update *u, const uint8_t *msg, size_t len)
{
	struct fault_entry e = {
		.time_s = wall_s(), .severity = u->error.severity, .family = FAMILY_COUNT};
	struct nlri first;
	bool has_first = false;

	for (unsigned i = 0; i < u->announced_count; i++) {
		const struct bgp_nlri_field *field = &u->announced[i];
		struct rd r = field->nlri;

		if (field->family == FAMILY_COUNT)
			continue;
		e.prefixes += nlri_count(r);
		if (!has_first) {
			has_first = nlri_read_form(&r, field->form, &first);
			e.family = (uint8_t)field->family;
		}
	}
	bgp_error_text(&u->error, e.text, sizeof(e.text));
	fault_add(p, &e, has_first ? &first : NULL, msg, len);
}

void
peer_fault_labels(
	struct peer *p, const struct nlri *first, unsigned count, const uint8_t *msg, size_t len)
{
	struct fault_entry e = {.time_s = wall_s(),
		.severity = TREAT_AS_WITHDRAW,
		.family = (uint8_t)family_from_afi_safi(first->prefix.afi, SAFI_VPN),
		.prefixes = count};

	snprintf(e.text, sizeof(e.text), "label %u is not usable, expected 0 to 3 or 16 to %u",
		first->label, RIB_LABEL_NONE - 1);
	fault_add(p, &e, first, msg, len);
}

void
peer_fault_message(struct peer *p, const struct bgp_error *error, const uint8_t *msg, size_t len)
{
	struct fault_entry e = {
		.time_s = wall_s(), .severity = error->severity, .family = FAMILY_COUNT};

	bgp_error_text(error, e.text, sizeof(e.text));
	fault_add(p, &e, NULL, msg, len);
}

void
peer_faults_stop(struct peer *p)
{
	if (p->faults == NULL || p->faults->window.deadline_ns == 0)
		return;
	timer_cancel(p->speaker->thread, &p->faults->window);
	window_end(p->faults);
}

void
peer_faults_free(struct peer *p)
{
	struct peer_faults *f = p->faults;

	if (f == NULL)
		return;
	peer_faults_stop(p);
	for (unsigned i = 0; i < SESSION_FAULTS; i++)
		octets_drop(p->speaker, &f->entry[i]);
	arena_free(p->speaker->config.arena, f);
	p->faults = NULL;
}

unsigned
session_faults(struct speaker *s, struct peer_id id, struct session_fault out[SESSION_FAULTS])
{
	const struct peer *p = peer_find(s, id);
	const struct peer_faults *f = p != NULL ? p->faults : NULL;
	uint64_t at = f != NULL && f->count > SESSION_FAULTS ? f->count - SESSION_FAULTS : 0;
	unsigned n = 0;

	for (; f != NULL && at < f->count; at++, n++) {
		const struct fault_entry *e = &f->entry[at % SESSION_FAULTS];

		out[n] = (struct session_fault){.time_s = e->time_s,
			.severity = e->severity,
			.family = e->family,
			.prefixes = e->prefixes,
			.len = e->len,
			.kept = e->kept};
		memcpy(out[n].text, e->text, sizeof(out[n].text));
		if (e->kept > 0)
			memcpy(out[n].octets, e->octets, e->kept);
	}
	return n;
}
