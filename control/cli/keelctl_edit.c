/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Applies lines of the BGP and family views to the candidate: reads the document, applies the line
 * to a copy, and sends the differences in /bgp to config.edit as an RFC 6902 patch. The patch
 * carries the revision of the document, so that concurrent edits are not lost.
 */
#include "control/cli/keelctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 64 /* limit of retries after concurrent edits */
#define NOT_FOUND (-32004)

int
edit_refuse(struct edit *e, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return ctl_fail(e->ctl, EXIT_REFUSED, "%s", text_safe(text));
}

/* ---- the document ---- */

static json_t *
find_group(const struct edit *e, const char *name, size_t *at)
{
	json_t *group;
	size_t i;

	json_array_foreach(json_object_get(e->bgp, "groups"), i, group)
	{
		if (strcmp(string_of(group, "name"), name) == 0) {
			*at = i;
			return group;
		}
	}
	return NULL;
}

static const char *
vrf_of(const json_t *peer)
{
	const char *vrf = string_of(peer, "vrf");

	return *vrf != '\0' ? vrf : "default";
}

static const char *
view_vrf(const struct edit *e)
{
	return e->ctl->view == VIEW_VRF ? e->ctl->vrf : "default";
}

static json_t *
find_peer(const struct edit *e, const char *address, size_t *at)
{
	json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(e->bgp, "peers"), i, peer)
	{
		if (text_same_address(string_of(peer, "address"), address) &&
			strcmp(vrf_of(peer), view_vrf(e)) == 0) {
			*at = i;
			return peer;
		}
	}
	return NULL;
}

static bool
is_group(const struct edit *e)
{
	return arg(e->c, "group") != NULL;
}

static const char *
name_of(const struct edit *e)
{
	return is_group(e) ? arg(e->c, "group") : arg(e->c, "peer");
}

/* Finds the peer or group of the line. 0; -1 with a message if not found. */
static int
find_object(struct edit *e, size_t *at)
{
	e->object = is_group(e) ? find_group(e, arg(e->c, "group"), at)
				: find_peer(e, arg(e->c, "peer"), at);
	if (e->object != NULL)
		return 0;
	if (is_group(e))
		return edit_refuse(
			e, "there is no group \"%.64s\"%s", arg(e->c, "group"), NOT_THERE(e->ctl));
	if (strcmp(view_vrf(e), "default") != 0)
		return edit_refuse(e, "there is no peer %.64s in VRF %.64s%s", arg(e->c, "peer"),
			view_vrf(e), NOT_THERE(e->ctl));
	return edit_refuse(e, "there is no peer %.64s%s", arg(e->c, "peer"), NOT_THERE(e->ctl));
}

/* The member `key` of the object or, for a peer, of its group; *inherited: of the group. */
static json_t *
effective_member(const struct edit *e, const json_t *object, const char *key, bool *inherited)
{
	json_t *v = json_object_get(object, key);
	size_t at;

	*inherited = false;
	if (v == NULL && json_object_get(object, "group") != NULL) {
		v = json_object_get(find_group(e, string_of(object, "group"), &at), key);
		*inherited = v != NULL;
	}
	return v;
}

/* ---- families ---- */

/* Without `families` in the peer and its group, the peer has the unicast family of its address. */
static const char *
implicit_family(const struct edit *e, const json_t *peer)
{
	bool inherited;

	if (effective_member(e, peer, "families", &inherited) != NULL)
		return NULL;
	return strchr(string_of(peer, "address"), ':') != NULL ? "ipv6-unicast" : "ipv4-unicast";
}

/*
 * Gives a group its first family: each member keeps its implicit family as an explicit one. With
 * `enable` false the new family stays disabled for these members.
 */
static void
keep_member_families(struct edit *e, bool enable)
{
	json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(e->bgp, "peers"), i, peer)
	{
		const char *theirs;

		if (strcmp(string_of(peer, "group"), arg(e->c, "group")) != 0)
			continue;
		theirs = implicit_family(e, peer);
		if (theirs == NULL || strcmp(theirs, e->family) == 0)
			continue;
		json_object_set_new(peer, "families", json_pack("{s:{}}", theirs));
		if (!enable)
			json_object_set_new(json_object_get(peer, "families"), e->family,
				json_pack("{s:b}", "enabled", 0));
	}
}

/* True if the family is enabled on the object, directly or through its group. */
static bool
family_enabled(const struct edit *e)
{
	const char *implicit = is_group(e) ? NULL : implicit_family(e, e->object);
	const json_t *own = json_object_get(json_object_get(e->object, "families"), e->family),
		     *inherited = NULL;
	size_t at;

	if (!is_group(e))
		inherited = json_object_get(
			json_object_get(
				find_group(e, string_of(e->object, "group"), &at), "families"),
			e->family);
	if (implicit != NULL)
		return strcmp(implicit, e->family) == 0;
	if (json_object_get(own, "enabled") != NULL)
		return json_is_true(json_object_get(own, "enabled"));
	return (own != NULL && inherited == NULL) ||
	       (inherited != NULL && !json_is_false(json_object_get(inherited, "enabled")));
}

/*
 * The object's own entry for the family; created if missing. An entry enables its family by
 * default, so a new entry for a disabled family gets `enabled` false.
 */
static json_t *
family_entry(struct edit *e, bool enable)
{
	bool enabled = family_enabled(e);
	const char *implicit = is_group(e) ? NULL : implicit_family(e, e->object);
	json_t *families, *entry;

	if (is_group(e) && json_object_get(e->object, "families") == NULL) {
		keep_member_families(e, enable);
		enabled = true; /* for the members that have the family implicitly */
	}
	families = member_made(e->object, "families", json_object());
	if (implicit != NULL)
		member_made(families, implicit, json_object());
	entry = member_made(families, e->family, json_object());
	if (enable && json_is_false(json_object_get(entry, "enabled")))
		json_object_del(entry, "enabled");
	if (enable && !family_enabled(e)) /* disabled by the group */
		json_object_set_new(entry, "enabled", json_true());
	if (!enable && !enabled) {
		json_object_set_new(entry, "enabled", json_false());
		snprintf(e->note, sizeof(e->note),
			"%s is not enabled for %.64s; enable it by `peer %.64s enable` in this "
			"view",
			e->family, name_of(e), name_of(e));
	}
	return entry;
}

/* The object's own entry, or NULL. */
static json_t *
family_own(const struct edit *e)
{
	return json_object_get(json_object_get(e->object, "families"), e->family);
}

/* The entry of the group, or NULL. */
static const json_t *
family_inherited(const struct edit *e)
{
	size_t at;

	if (is_group(e) || json_object_get(e->object, "group") == NULL)
		return NULL;
	return json_object_get(
		json_object_get(find_group(e, string_of(e->object, "group"), &at), "families"),
		e->family);
}

/* ---- lines ---- */

static int
add_peer(struct edit *e)
{
	json_t *peer = json_pack(
		"{s:s, s:I}", "address", arg(e->c, "peer"), "asn", (json_int_t)command_asn(e->c));

	if (strcmp(view_vrf(e), "default") != 0)
		json_object_set_new(peer, "vrf", json_string(view_vrf(e)));
	if (e->ctl->view == VIEW_VRF)
		json_object_set_new(peer, "families", json_pack("{s:{}}", e->family));
	json_array_append_new(member_made(e->bgp, "peers", json_array()), peer);
	return 0;
}

int
set_asn(struct edit *e)
{
	bool inherited;
	size_t at;

	if (!e->c->undo && !is_group(e) && find_peer(e, arg(e->c, "peer"), &at) == NULL)
		return add_peer(e);
	if (find_object(e, &at) != 0)
		return -1;
	if (!e->c->undo)
		return json_object_set_new(e->object, "asn", json_integer(command_asn(e->c)));
	if (json_integer_value(effective_member(e, e->object, "asn", &inherited)) !=
		(json_int_t)command_asn(e->c))
		return edit_refuse(e, "the AS number of %.64s is %lld, not %u", name_of(e),
			(long long)json_integer_value(
				effective_member(e, e->object, "asn", &inherited)),
			command_asn(e->c));
	if (is_group(e))
		return json_object_del(e->object, "asn");
	/* as-number created the peer */
	return json_array_remove(json_object_get(e->bgp, "peers"), at);
}

/* A group with an AS number creates the peer. */
static bool
joins_as_new(const struct edit *e)
{
	size_t at;

	return !e->c->undo && !is_group(e) && find_peer(e, arg(e->c, "peer"), &at) == NULL &&
	       json_object_get(find_group(e, arg(e->c, "name"), &at), "asn") != NULL;
}

int
set_group(struct edit *e)
{
	size_t at, group_at;

	if (joins_as_new(e)) {
		json_t *peer = json_pack("{s:s}", "address", arg(e->c, "peer"));

		if (strcmp(view_vrf(e), "default") != 0)
			json_object_set_new(peer, "vrf", json_string(view_vrf(e)));
		json_array_append_new(member_made(e->bgp, "peers", json_array()), peer);
	}
	if (find_object(e, &at) != 0)
		return -1;
	if (is_group(e))
		return edit_refuse(e, "\"%.64s\" is a group, and a group cannot join a group",
			arg(e->c, "group"));
	if (e->c->undo) {
		if (strcmp(string_of(e->object, "group"), arg(e->c, "name")) != 0)
			return edit_refuse(e, "%.64s is not in group \"%.64s\"", arg(e->c, "peer"),
				arg(e->c, "name"));
		return json_object_del(e->object, "group");
	}
	if (find_group(e, arg(e->c, "name"), &group_at) == NULL)
		return edit_refuse(
			e, "there is no group \"%.64s\"%s", arg(e->c, "name"), NOT_THERE(e->ctl));
	return json_object_set_new(e->object, "group", json_string(arg(e->c, "name")));
}

int
set_enable(struct edit *e)
{
	size_t at;

	if (find_object(e, &at) != 0)
		return -1;
	if (e->c->undo && family_enabled(e))
		json_object_set_new(family_entry(e, false), "enabled", json_false());
	else if (!e->c->undo && !(family_enabled(e) && !is_group(e)))
		family_entry(e, true);
	return 0;
}

int
set_policy(struct edit *e)
{
	const char *key = strcmp(keyword(e->c, "import|export"), "import") == 0 ? "import_policy"
										: "export_policy",
		   *is;
	const json_t *inherited;
	size_t at;

	if (find_object(e, &at) != 0)
		return -1;
	if (!e->c->undo)
		return json_object_set_new(
			family_entry(e, false), key, json_string(arg(e->c, "name")));
	is = string_of(family_own(e), key);
	inherited = family_inherited(e);
	if (strcmp(is, arg(e->c, "name")) == 0)
		return json_object_del(family_own(e), key);
	if (*is == '\0' && strcmp(string_of(inherited, key), arg(e->c, "name")) == 0)
		return edit_refuse(e, "%.64s has policy \"%.64s\" from its group \"%.64s\"",
			name_of(e), arg(e->c, "name"), string_of(e->object, "group"));
	return edit_refuse(e, "the %s policy of %.64s for %s is %s%.64s%s, not \"%.64s\"",
		keyword(e->c, "import|export"), name_of(e), e->family, *is ? "\"" : "",
		*is ? is : "none", *is ? "\"" : "", arg(e->c, "name"));
}

/* ---- settings of a peer or group ---- */

const struct setting settings[] = {
#define SETTING(views, words, value, kind, key, home, on, number, help)                            \
	{words, kind, key, home, on, number},
#include "control/cli/keelctl_settings.def"
	{"password simple", SETS_TEXT, "password"},
	{"password cipher", SETS_TEXT, "password"},
	{"timer keepalive hold", SETS_NUMBER, "hold_s", "timers"},
	{"route-policy import", SETS_POLICY, "import_policy", ""},
	{"route-policy export", SETS_POLICY, "export_policy", ""},
	{"route-limit", SETS_LIMIT, "max_prefixes", ""},
	{0},
};

static const struct setting *
setting_of(const struct command *c)
{
	const char *words = c->phrase + strlen("peer ");
	const struct setting *s = settings;

	while (strncmp(s->words, words, strlen(s->words)) != 0 ||
		(s->kind != SETS_LIMIT && words[strlen(s->words)] != '\0'))
		s++;
	return s;
}

static json_t *
setting_value(const struct edit *e, const struct setting *s)
{
	if (s->kind == SETS_TRUE)
		return json_true();
	if (s->kind == SETS_TEXT)
		return json_string(arg(e->c, "value"));
	if (s->kind == SETS_ASN)
		return json_integer(command_asn(e->c));
	return json_integer(
		arg(e->c, "value") != NULL ? (json_int_t)arg_number(e->c, "value") : s->number);
}

/* The object that holds the key; created unless `on` is false. NULL: the object is absent. */
static json_t *
setting_home(struct edit *e, const struct setting *s, bool on)
{
	if (s->home == NULL)
		return e->object;
	if (*s->home == '\0')
		return on ? family_entry(e, false) : family_own(e);
	return on ? member_made(e->object, s->home, json_object())
		  : json_object_get(e->object, s->home);
}

static int
set_limit(struct edit *e)
{
	const char *action = keyword(e->c, "alert-only") ? "warning" : keyword(e->c, "discard");
	json_t *limit;

	if (e->c->undo)
		return json_object_del(family_own(e), "max_prefixes"), 0;
	limit = member_made(family_entry(e, false), "max_prefixes", json_object());
	json_object_set_new(limit, "limit", json_integer((json_int_t)arg_number(e->c, "value")));
	if (action != NULL)
		return json_object_set_new(limit, "action", json_string(action));
	return json_object_del(limit, "action"), 0;
}

int
set_setting(struct edit *e)
{
	const struct setting *s = setting_of(e->c);
	bool off = e->c->undo, of_family;
	json_t *home;
	size_t at;

	if (find_object(e, &at) != 0)
		return -1;
	if (s->kind == SETS_LIMIT)
		return set_limit(e);
	/* without the key the value would be true: the default, or that of the group */
	of_family = s->home != NULL && *s->home == '\0';
	off = off &&
	      (s->on || (of_family && json_is_true(json_object_get(family_inherited(e), s->key))));
	home = setting_home(e, s, !e->c->undo || off);
	if (off)
		return json_object_set_new(home, s->key, json_false());
	if (!e->c->undo) {
		if (arg(e->c, "keepalive") != NULL)
			json_object_set_new(home, "keepalive_s",
				json_integer((json_int_t)arg_number(e->c, "keepalive")));
		return json_object_set_new(home, s->key, setting_value(e, s));
	}
	if (arg(e->c, "keepalive") != NULL)
		json_object_del(home, "keepalive_s");
	json_object_del(home, s->key);
	if (s->home != NULL && !of_family && json_object_size(home) == 0)
		json_object_del(e->object, s->home);
	return 0;
}

int
remove_peer(struct edit *e)
{
	size_t at;

	if (is_group(e))
		return edit_refuse(e, "\"%.64s\" is a group; `undo group %.64s` removes a group",
			arg(e->c, "group"), arg(e->c, "group"));
	if (find_object(e, &at) != 0)
		return -1;
	return json_array_remove(json_object_get(e->bgp, "peers"), at);
}

/* ---- networks, other sources, static routes ---- */

/* Adds `entry` to the array, or removes the equal element. Takes `entry`. */
static int
edit_entry(struct edit *e, json_t *home, const char *key, json_t *entry)
{
	json_t *array = e->c->undo ? json_object_get(home, key)
				   : member_made(home, key, json_array()),
	       *other;
	int err = 0;
	size_t i;

	json_array_foreach(array, i, other)
	{
		if (json_equal(other, entry))
			break;
	}
	if (!e->c->undo && i == json_array_size(array))
		err = json_array_append(array, entry);
	else if (e->c->undo && i < json_array_size(array))
		err = json_array_remove(array, i);
	else if (e->c->undo)
		err = edit_refuse(e, "there is no such line to undo");
	json_decref(entry);
	return err;
}

static void
add_vrf(json_t *entry, const char *vrf)
{
	if (vrf != NULL && strcmp(vrf, "default") != 0)
		json_object_set_new(entry, "vrf", json_string(vrf));
}

int
edit_network(struct edit *e)
{
	json_t *entry;

	if ((strchr(arg(e->c, "prefix"), ':') != NULL) !=
			(strcmp(e->family, "ipv6-unicast") == 0) ||
		strncmp(e->family, "vpn", 3) == 0)
		return edit_refuse(e, "%s is not of %s, the address family of this view",
			arg(e->c, "prefix"), e->family);
	entry = json_pack("{s:s}", "prefix", arg(e->c, "prefix"));
	add_vrf(entry, view_vrf(e));
	return edit_entry(e, e->bgp, "networks", entry);
}

int
edit_import_route(struct edit *e)
{
	const char *source = keyword(e->c, "connected|static|kernel");
	json_t *entry = json_pack("{s:s, s:s*}", "source", source != NULL ? source : "connected",
		"policy", arg(e->c, "name"));

	add_vrf(entry, view_vrf(e));
	return edit_entry(e, e->bgp, "redistribute", entry);
}

int
edit_static(struct edit *e)
{
	json_t *entry = json_pack("{s:s, s:s*, s:s*}", "prefix", arg(e->c, "prefix"), "next_hop",
		arg(e->c, "address"), "description", arg(e->c, "text"));

	if (arg(e->c, "address") == NULL)
		json_object_set_new(entry, "blackhole", json_true());
	if (arg(e->c, "value") != NULL)
		json_object_set_new(
			entry, "tag", json_integer((json_int_t)arg_number(e->c, "value")));
	add_vrf(entry, arg(e->c, "vrf"));
	return edit_entry(e, e->document, "static_routes", entry);
}

int
edit_group(struct edit *e)
{
	size_t at;
	bool there = find_group(e, arg(e->c, "name"), &at) != NULL;

	if (!e->c->undo && !there)
		return json_array_append_new(member_made(e->bgp, "groups", json_array()),
			json_pack("{s:s}", "name", arg(e->c, "name")));
	if (e->c->undo && !there)
		return edit_refuse(
			e, "there is no group \"%.64s\"%s", arg(e->c, "name"), NOT_THERE(e->ctl));
	return e->c->undo ? json_array_remove(json_object_get(e->bgp, "groups"), at) : 0;
}

static bool
asn_agrees(struct edit *e, unsigned asn)
{
	json_int_t ours =
		json_integer_value(json_object_get(json_object_get(e->document, "router"), "asn"));

	if (ours == (json_int_t)asn)
		return true;
	edit_refuse(e, "the AS number of this router is %lld, not %u", (long long)ours, asn);
	return false;
}

int
remove_bgp(struct edit *e)
{
	if (!asn_agrees(e, command_asn(e->c)))
		return -1;
	json_object_del(e->document, "bgp");
	return 0;
}

/* The index of an entry and the number of a node are at least 1 (`seq`); a text of JSON is UTF-8. */
static bool
values_good(struct edit *e)
{
	bool utf8 = true;

	for (unsigned i = 0; arg_at(e->c, i) != NULL; i++) {
		json_t *text = json_string(arg_at(e->c, i));

		utf8 &= text != NULL;
		json_decref(text);
	}
	if (!utf8)
		ctl_fail(e->ctl, EXIT_USAGE, "a word of the line is not UTF-8");
	else if (arg(e->c, "node") != NULL && arg_number(e->c, "node") == 0 &&
		 keyword(e->c, "goto") == NULL)
		ctl_fail(e->ctl, EXIT_USAGE, "the number of a node is at least 1");
	else if (arg(e->c, "index") != NULL && arg_number(e->c, "index") == 0)
		ctl_fail(e->ctl, EXIT_USAGE, "the index is at least 1");
	else
		return true;
	return false;
}

static int
apply_line(struct edit *e)
{
	return e->c->rule->edit != NULL && values_good(e) ? e->c->rule->edit(e) : -1;
}

/* The section of the line. */
static const char *
section_of(const struct command *c)
{
	const char *section = c->rule->section;

	return section == NULL ? "bgp" : *section == '\0' ? list_section(c) : section;
}

/* ---- from document to patch ---- */

static void
patch_add(json_t *patch, const char *op, const char *path, json_t *value)
{
	json_array_append_new(
		patch, json_pack("{s:s, s:s, s:O*}", "op", op, "path", path, "value", value));
}

static void object_patch(json_t *patch, const char *path, json_t *was, json_t *is);
static void array_patch(json_t *patch, const char *path, json_t *was, json_t *is);

/* Keys of the grammar contain no character that JSON Pointer escapes. */
static void
value_patch(json_t *patch, const char *path, const char *key, json_t *was, json_t *is)
{
	char below[512];

	snprintf(below, sizeof(below), "%s/%s", path, key);
	if (was == NULL)
		patch_add(patch, "add", below, is);
	else if (is == NULL)
		patch_add(patch, "remove", below, NULL);
	else if (json_is_object(was) && json_is_object(is))
		object_patch(patch, below, was, is);
	else if (json_is_object(json_array_get(was, 0)) && json_is_array(is))
		array_patch(patch, below, was, is);
	else if (!json_equal(was, is))
		patch_add(patch, "replace", below, is);
}

static void
object_patch(
	json_t *patch, const char *path, json_t *was, json_t *is) /* NOLINT(misc-no-recursion) */
{
	const char *key;
	json_t *v;

	json_object_foreach(was, key, v)
	{
		if (!json_equal(v, json_object_get(is, key)))
			value_patch(patch, path, key, v, json_object_get(is, key));
	}
	json_object_foreach(is, key, v)
	{
		if (json_object_get(was, key) == NULL)
			value_patch(patch, path, key, NULL, v);
	}
}

/* True if `longer` is `shorter` with one more element at `at`. */
static bool
is_one_longer(const json_t *longer, const json_t *shorter, size_t at)
{
	size_t i = at;

	if (json_array_size(longer) != json_array_size(shorter) + 1)
		return false;
	while (i < json_array_size(shorter) &&
		json_equal(json_array_get(shorter, i), json_array_get(longer, i + 1)))
		i++;
	return i == json_array_size(shorter);
}

/*
 * A line adds or removes one element, or modifies elements in place. Only lines of lists remove several:
 * the patch replaces the array, which has no hidden members.
 */
static void
array_patch(json_t *patch, const char *path, json_t *was, json_t *is)
{
	size_t n = json_array_size(was), i = 0;
	char below[600];

	while (i < n && i < json_array_size(is) &&
		json_equal(json_array_get(was, i), json_array_get(is, i)))
		i++;
	snprintf(below, sizeof(below), "%s/%zu", path, i);
	if (json_array_size(is) < n) {
		if (is_one_longer(was, is, i))
			patch_add(patch, "remove", below, NULL);
		else
			patch_add(patch, "replace", path, is);
		return;
	}
	if (i < n && is_one_longer(is, was, i)) {
		patch_add(patch, "add", below, json_array_get(is, i));
		return;
	}
	for (i = 0; i < n; i++) {
		snprintf(below, sizeof(below), "%s/%zu", path, i);
		object_patch(patch, below, json_array_get(was, i), json_array_get(is, i));
	}
	snprintf(below, sizeof(below), "%s/-", path);
	for (; i < json_array_size(is); i++)
		patch_add(patch, "add", below, json_array_get(is, i));
}

/*
 * Creates the patch from the differences. Objects in arrays are compared by member, so that hidden
 * members (passwords) are not overwritten.
 */
static json_t *
make_patch(json_t *was, json_t *is)
{
	json_t *patch = json_array();

	object_patch(patch, "", was, is);
	return patch;
}

/* ---- edit ---- */

/* Fetches a part of the candidate; NULL after a message. */
static json_t *
fetch_part(struct ctl *ctl, const char *path, json_int_t *revision)
{
	json_t *result = ctl_call(ctl, "config.get",
		       json_pack("{s:s, s:s}", "source", "candidate", "path", path)),
	       *part;

	if (result == NULL)
		return NULL;
	*revision = json_integer_value(json_object_get(result, "revision"));
	part = json_incref(json_object_get(result, "document"));
	json_decref(result);
	return part;
}

/*
 * Fetches `router` and the section that the line edits, with the revision of the first: policies and lists
 * may be large. Leaves out a section that does not exist. NULL after a message.
 */
static json_t *
fetch_candidate(struct ctl *ctl, const struct command *c, json_int_t *revision)
{
	json_t *router = fetch_part(ctl, "/router", revision), *part, *document, *error = NULL;
	const char *section = section_of(c);
	char path[64];

	if (router == NULL)
		return NULL;
	document = json_pack("{s:o}", "router", router);
	snprintf(path, sizeof(path), "/%s", section);
	part = ctl_ask(ctl, "config.get",
		json_pack("{s:s, s:s}", "source", "candidate", "path", path), &error);
	if (part == NULL && number_of(error, "code") != NOT_FOUND) {
		if (error != NULL)
			ctl_refused(ctl, "config.get", error);
		json_decref(document);
		document = NULL;
	} else if (part != NULL) {
		json_object_set(document, section, json_object_get(part, "document"));
	}
	json_decref(error);
	json_decref(part);
	return document;
}

/* True if the candidate has changed since revision `revision`. */
static bool
candidate_changed(struct ctl *ctl, json_int_t revision)
{
	json_t *result = ctl_try(ctl, "config.get",
		json_pack("{s:s, s:s}", "source", "candidate", "path", "/router"));
	bool moved = result != NULL &&
		     json_integer_value(json_object_get(result, "revision")) != revision;

	json_decref(result);
	return moved;
}

/* Takes `patch`. True: nothing was changed, because of a concurrent edit. */
static bool
send_patch(struct edit *e, json_t *patch, json_int_t revision, bool last)
{
	json_t *params = json_pack("{s:o, s:I}", "patch", patch, "if_revision", revision);
	json_t *result = ctl_try(e->ctl, "config.edit", json_incref(params));

	if (result == NULL && !last && candidate_changed(e->ctl, revision)) {
		json_decref(params);
		return true;
	}
	if (result == NULL)
		/* call again to print the error */
		result = ctl_call(e->ctl, "config.edit", json_incref(params));
	if (result != NULL && e->ctl->json)
		ctl_print_json(result, false);
	else if (result != NULL && *e->note != '\0')
		fprintf(stderr, "%s\n", text_safe(e->note));
	json_decref(params);
	json_decref(result);
	return false;
}

/* True: retry after a concurrent edit. */
static bool
edit_once(struct ctl *ctl, const struct command *c, bool last)
{
	struct edit e = {.ctl = ctl,
		.c = c,
		.family = ctl->view == VIEW_BGP || ctl->family == NULL ? "ipv4-unicast"
								       : ctl->family};
	json_int_t revision = 0;
	json_t *was = fetch_candidate(ctl, c, &revision), *patch;
	bool again = false;

	if (was == NULL)
		return false;
	e.document = json_deep_copy(was);
	e.bgp = json_object_get(e.document, "bgp");
	if (e.bgp == NULL && c->rule->section == NULL && c->rule->edit != remove_bgp)
		e.bgp = member_made(e.document, "bgp", json_object());
	if (apply_line(&e) == 0) {
		patch = make_patch(was, e.document);
		if (json_array_size(patch) > 0)
			again = send_patch(&e, patch, revision, last);
		else
			json_decref(patch);
	}
	json_decref(was);
	json_decref(e.document);
	return again;
}

/* The VALUE of set: JSON, or a text without quotes. */
static json_t *
set_value(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

	return value != NULL ? value : json_string(text);
}

/* set, undo set: one operation, without a look at the document. */
void
edit_path(struct ctl *ctl, const struct command *c)
{
	json_t *op =
		json_pack("{s:s, s:s}", "op", c->undo ? "remove" : "add", "path", arg(c, "path"));

	if (!c->undo)
		json_object_set_new(op, "value", set_value(arg(c, "value")));
	ctl_result(ctl, ctl_call(ctl, "config.edit", json_pack("{s:[o]}", "patch", op)), NULL);
}

bool
edit_locally(struct ctl *ctl, const struct command *c, json_t *document)
{
	struct edit e = {.ctl = ctl,
		.c = c,
		.document = document,
		.family = ctl->family != NULL ? ctl->family : "ipv4-unicast"};

	e.bgp = c->rule->section != NULL ? NULL : member_made(document, "bgp", json_object());
	return apply_line(&e) == 0;
}

json_t *
edit_differences(json_t *was, json_t *is)
{
	return make_patch(was, is);
}

void
edit_command(struct ctl *ctl, const struct command *c)
{
	for (unsigned i = 0; i < TRIES; i++) {
		if (!edit_once(ctl, c, i + 1 == TRIES))
			return;
	}
}

bool
edit_asn_agrees(struct ctl *ctl, unsigned asn)
{
	struct edit e = {.ctl = ctl};
	json_int_t revision;
	json_t *router = fetch_part(ctl, "/router", &revision);
	bool agrees;

	if (router == NULL)
		return false;
	e.document = json_pack("{s:o}", "router", router);
	agrees = asn_agrees(&e, asn);
	json_decref(e.document);
	return agrees;
}
