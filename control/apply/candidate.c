/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/apply/candidate.h"

#include "control/apply/apply_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
	char *key, *name;
	json_t *document, *base;
	uint32_t revision;
	double since_s; /* of the first edit */
	/* object -> {user, commit, running}: the commit that has caused the conflict */
	json_t *causes;
};

struct candidates {
	struct candidate *of[CANDIDATES_MAX]; /* `count` candidates with edits */
	unsigned count;
	uint32_t revision; /* the last one given */
	uint32_t shared_revision; /* of users without edits */
};

int
apply_candidates_create(struct apply *apply)
{
	apply->candidates = calloc(1, sizeof(*apply->candidates));
	if (apply->candidates == NULL)
		return -ENOMEM;
	apply->candidates->revision = apply->candidates->shared_revision = 1;
	return 0;
}

static void
candidate_free(struct candidate *c)
{
	json_decref(c->document);
	json_decref(c->base);
	json_decref(c->causes);
	free(c->key);
	free(c->name);
	free(c);
}

void
apply_candidates_destroy(struct apply *apply)
{
	struct candidates *all = apply->candidates;

	for (unsigned i = 0; all != NULL && i < all->count; i++)
		candidate_free(all->of[i]);
	free(all);
	apply->candidates = NULL;
}

static struct candidate *
find(const struct apply *apply, const struct apply_user *user)
{
	const struct candidates *all = apply->candidates;

	for (unsigned i = 0; user != NULL && i < all->count; i++) {
		if (strcmp(all->of[i]->key, user->key) == 0)
			return all->of[i];
	}
	return NULL;
}

/* Adds a candidate equal to the running document. */
static int
add(struct apply *apply, const struct apply_user *user, struct candidate **out)
{
	struct candidates *all = apply->candidates;
	struct candidate *c;

	if (all->count == CANDIDATES_MAX)
		return -ENOSPC;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	*c = (struct candidate){.key = strdup(user->key),
		.name = strdup(user->name),
		.document = json_incref(apply->running->document),
		.base = json_incref(apply->running->document),
		.since_s = wall_s(),
		.causes = json_object()};
	if (c->key == NULL || c->name == NULL || c->causes == NULL) {
		candidate_free(c);
		return -ENOMEM;
	}
	*out = all->of[all->count++] = c;
	return 0;
}

static void
drop(struct apply *apply, struct candidate *c)
{
	struct candidates *all = apply->candidates;
	unsigned i = 0;

	while (all->of[i] != c)
		i++;
	all->of[i] = all->of[--all->count];
	candidate_free(c);
}

/* A candidate that equals the running document is dropped: its user has no edits. */
static void
drop_if_running(struct apply *apply, struct candidate *c)
{
	if (!json_equal(c->document, apply->running->document))
		return;
	apply->candidates->shared_revision = c->revision;
	drop(apply, c);
}

json_t *
apply_candidate(const struct apply *apply, const struct apply_user *user)
{
	const struct candidate *c = find(apply, user);

	return c != NULL ? c->document : apply->running->document;
}

uint32_t
apply_candidate_revision(const struct apply *apply, const struct apply_user *user)
{
	const struct candidate *c = find(apply, user);

	return c != NULL ? c->revision : apply->candidates->shared_revision;
}

bool
apply_candidate_edited(const struct apply *apply, const struct apply_user *user)
{
	return find(apply, user) != NULL;
}

static void
set_document(json_t **at, json_t *next)
{
	json_t *old = *at;

	*at = next;
	json_decref(old);
}

/* Notes `user` and the commit under way as the cause of the conflicts that are new. */
static void
note_causes(struct apply *apply, struct candidate *c, const struct apply_user *user,
	const json_t *conflicts) RUNS_ON(role_main)
{
	json_t *causes = json_object(), *one;
	size_t i;

	json_array_foreach(conflicts, i, one)
	{
		const char *object = json_string_value(json_object_get(one, "object"));
		json_t *running = json_object_get(one, "running");
		json_t *before = json_object_get(c->causes, object);

		if (json_equal(json_object_get(before, "running"), running))
			json_object_set(causes, object, before);
		else
			json_object_set_new(causes, object,
				json_pack("{s:s, s:I, s:O}", "user", user->name, "commit",
					(json_int_t)apply_history_next(apply), "running", running));
	}
	set_document(&c->causes, causes);
}

/*
 * Moves the edits to the running document, which `user` has committed. Without memory the candidate
 * stays, and shows the commit as a removal: its user sees it in the difference.
 */
static void
reconcile(struct apply *apply, struct candidate *c, const struct apply_user *user)
	RUNS_ON(role_main)
{
	json_t *conflicts = NULL;
	json_t *next = config_reconcile(
		&c->base, c->document, apply->running->document, CONFLICTS_KEEP, &conflicts);

	if (next == NULL)
		return;
	set_document(&c->document, next);
	note_causes(apply, c, user, conflicts);
	json_decref(conflicts);
}

int
apply_candidate_replace(struct apply *apply, const struct apply_user *user, json_t *next)
{
	struct candidate *c = find(apply, user);
	int err = 0;

	if (json_equal(next, apply_candidate(apply, user))) {
		json_decref(next);
		return 0;
	}
	if (c == NULL)
		err = add(apply, user, &c);
	if (err != 0) {
		json_decref(next);
		return err;
	}
	set_document(&c->document, next);
	/* An object that is as in the base again has no edits: it becomes as it runs. */
	if (json_object_size(c->causes) > 0)
		reconcile(apply, c, user);
	c->revision = ++apply->candidates->revision;
	drop_if_running(apply, c);
	return 1;
}

void
apply_candidate_discard(struct apply *apply, const struct apply_user *user)
{
	struct candidate *c;

	apply_commit_finish(apply);
	c = find(apply, user);
	if (c != NULL)
		drop(apply, c);
	apply->candidates->shared_revision = ++apply->candidates->revision;
}

bool
apply_candidate_discard_of(struct apply *apply, const char *name)
{
	const struct candidates *all = apply->candidates;

	apply_commit_finish(apply);
	for (unsigned i = 0; i < all->count; i++) {
		if (strcmp(all->of[i]->name, name) == 0) {
			drop(apply, all->of[i]);
			apply->candidates->shared_revision = ++apply->candidates->revision;
			return true;
		}
	}
	return false;
}

/* ---- conflicts ---- */

json_t *
apply_candidate_conflicts(const struct apply *apply, const struct apply_user *user)
{
	const struct candidate *c = find(apply, user);
	json_t *base, *merged, *conflicts = NULL, *one;
	size_t i;

	if (c == NULL)
		return json_array();
	base = json_incref(c->base);
	merged = config_reconcile(
		&base, c->document, apply->running->document, CONFLICTS_KEEP, &conflicts);
	json_decref(base);
	json_decref(merged);
	json_array_foreach(conflicts, i, one)
	{
		json_t *cause = json_object_get(
			c->causes, json_string_value(json_object_get(one, "object")));

		json_object_set(one, "user", json_object_get(cause, "user"));
		json_object_set(one, "commit", json_object_get(cause, "commit"));
	}
	return conflicts;
}

bool
apply_candidate_resolve(struct apply *apply, const struct apply_user *user, bool mine)
{
	struct candidate *c = find(apply, user);
	json_t *next;

	if (c == NULL)
		return true;
	next = config_reconcile(&c->base, c->document, apply->running->document,
		mine ? CONFLICTS_MINE : CONFLICTS_THEIRS, NULL);
	if (next == NULL)
		return false;
	set_document(&c->document, next);
	json_object_clear(c->causes);
	c->revision = ++apply->candidates->revision;
	drop_if_running(apply, c);
	return true;
}

/* ---- commits ---- */

/* The candidate of the author. */
static void
own_follows(struct apply *apply, struct candidate *c, const struct apply_user *user,
	uint32_t candidate_revision, const json_t *old) RUNS_ON(role_main)
{
	json_t *next;

	if (candidate_revision == c->revision) {
		drop(apply, c);
		return;
	}
	if (candidate_revision == 0 && json_object_size(c->causes) > 0) {
		reconcile(apply, c, user); /* the conflicts with other authors stay */
		return;
	}
	if (candidate_revision == 0) {
		next = config_rebase(old, c->document, apply->running->document);
		if (next == NULL)
			return;
		set_document(&c->document, next);
	}
	set_document(&c->base, json_incref(apply->running->document));
	json_object_clear(c->causes);
}

void
apply_candidates_follow(struct apply *apply, const struct apply_user *user,
	uint32_t candidate_revision, const json_t *old)
{
	static const struct apply_user nobody = {"", APPLY_NOBODY};
	struct candidates *all = apply->candidates;
	struct candidate *own = find(apply, user);

	if (own != NULL)
		own_follows(apply, own, user, candidate_revision, old);
	own = find(apply, user);
	for (unsigned i = all->count; i-- > 0;) {
		struct candidate *c = all->of[i];

		if (c != own)
			reconcile(apply, c, user != NULL ? user : &nobody);
		c->revision = ++all->revision;
		drop_if_running(apply, c); /* moves the last candidate to `i`: it has followed */
	}
	all->shared_revision = ++all->revision;
}

/* ---- lists ---- */

json_t *
apply_candidates_json(const struct apply *apply)
{
	const struct candidates *all = apply->candidates;
	json_t *list = json_array();

	for (unsigned i = 0; i < all->count; i++) {
		const struct candidate *c = all->of[i];
		const struct apply_user user = {c->key, c->name};
		json_t *diff = config_diff(apply->running->document, c->document);
		json_t *conflicts = apply_candidate_conflicts(apply, &user);

		json_array_append_new(
			list, json_pack("{s:s, s:f, s:I, s:I}", "user", c->name, "since",
				      c->since_s, "edits", (json_int_t)json_array_size(diff),
				      "conflicts", (json_int_t)json_array_size(conflicts)));
		json_decref(diff);
		json_decref(conflicts);
	}
	return list;
}

bool
apply_candidates_text(const struct apply *apply, char text[static CANDIDATES_TEXT_MAX])
{
	const struct candidates *all = apply->candidates;
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < all->count && at < CANDIDATES_TEXT_MAX; i++)
		at += (size_t)snprintf(text + at, CANDIDATES_TEXT_MAX - at, "%s%s",
			i > 0 ? ", " : "", all->of[i]->name);
	return all->count > 0;
}
