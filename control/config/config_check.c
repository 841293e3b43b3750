/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/config/config_impl.h"

#include "control/config/near.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

/* ---- faults ---- */

static void
faults_append(struct faults *f, char *path, char *reason)
{
	if (f->count == f->size) {
		unsigned size = f->size ? f->size * 2 : 8;
		struct fault *grown = realloc(f->fault, size * sizeof(*grown));
		if (!grown)
			goto drop;
		f->fault = grown;
		f->size = size;
	}
	if (path && reason) {
		f->fault[f->count++] = (struct fault){path, reason};
		return;
	}
drop:
	/* Out of memory: the counter keeps the document invalid. */
	free(path);
	free(reason);
	f->lost++;
}

void
faults_add(struct faults *f, const char *path, const char *fmt, ...)
{
	va_list ap;
	char *reason = NULL;

	va_start(ap, fmt);
	if (vasprintf(&reason, fmt, ap) < 0)
		reason = NULL;
	va_end(ap);
	faults_append(f, strdup(path), reason);
}

void
faults_fini(struct faults *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		free(f->fault[i].path);
		free(f->fault[i].reason);
	}
	free(f->fault);
	*f = (struct faults){0};
}

/* ---- pointers ---- */

/* RFC 6901 3: `~` is `~0`, `/` is `~1`. */
static size_t
escaped_len(const char *key)
{
	size_t len = 0;

	for (; *key; key++)
		len += *key == '~' || *key == '/' ? 2 : 1;
	return len;
}

static char *
write_escaped_before(char *end, const char *key)
{
	for (const char *p = key + strlen(key); p > key;) {
		p--;
		if (*p == '~' || *p == '/') {
			*--end = *p == '~' ? '0' : '1';
			*--end = '~';
		} else {
			*--end = *p;
		}
	}
	return end;
}

/* The JSON Pointer of `at` (RFC 6901), allocated; NULL: no memory. */
static char *
config_at_text(const struct at *at)
{
	size_t len = 0;
	char number[24];

	for (const struct at *a = at; a->up; a = a->up)
		len += 1 + (a->key ? escaped_len(a->key)
				   : (size_t)snprintf(number, sizeof(number), "%zu", a->index));
	char *text = malloc(len + 1);
	if (!text)
		return NULL;
	char *p = text + len;
	*p = '\0';
	for (const struct at *a = at; a->up; a = a->up) {
		snprintf(number, sizeof(number), "%zu", a->index);
		p = write_escaped_before(p, a->key ? a->key : number);
		*--p = '/';
	}
	return text;
}

const json_t *
config_named(json_t **index, const json_t *array, const char *name)
{
	size_t i;
	json_t *element;

	if (*index == NULL) {
		*index = json_object();
		json_array_foreach(array, i, element)
		{
			const char *other = json_string_value(json_object_get(element, "name"));

			if (other != NULL && json_object_get(*index, other) == NULL)
				json_object_set(*index, other, element);
		}
	}
	return json_object_get(*index, name);
}

void
config_fault(struct check *c, const struct at *at, const char *fmt, ...)
{
	va_list ap;
	char *reason = NULL;

	if (c->muted)
		return;
	va_start(ap, fmt);
	if (vasprintf(&reason, fmt, ap) < 0)
		reason = NULL;
	va_end(ap);
	faults_append(c->f, config_at_text(at), reason);
}

/* Cuts at a character, not inside one. */
static void
shorten(char *text, size_t len, size_t max)
{
	if (len <= max)
		return;
	size_t cut = max - 3;
	while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80)
		cut--;
	memcpy(text + cut, "...", 4);
}

const char *
config_quote(const json_t *value, char buf[static CONFIG_QUOTE_MAX])
{
	if (json_is_object(value))
		return "an object";
	if (json_is_array(value))
		return "an array";
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	if (!text)
		return "the value";
	size_t len = strlen(text);
	size_t copied = len < CONFIG_QUOTE_MAX - 1 ? len : CONFIG_QUOTE_MAX - 1;
	memcpy(buf, text, copied);
	buf[copied] = '\0';
	shorten(buf, len, CONFIG_QUOTE_MAX - 1);
	free(text);
	return buf;
}

void
config_fault_type(struct check *c, const struct at *at, const json_t *value, const char *what)
{
	char buf[CONFIG_QUOTE_MAX];

	if (json_is_null(value))
		config_fault(c, at, "null is not allowed in a document; leave the key out");
	else
		config_fault(c, at, "%s is not %s", config_quote(value, buf), what);
}

void
config_fault_unsupported(struct check *c, const struct at *at)
{
	config_fault(c, at, "not supported in this version");
}

/* ---- objects and arrays ---- */

/* Key number `i` of a table, the keys of includes in their place; NULL: there are fewer keys. */
static const struct config_key *
key_at(const struct config_key *keys, size_t count, size_t i)
{
	for (size_t k = 0; k < count; k++) {
		size_t here = keys[k].name ? 1 : keys[k].include_count;

		if (i < here)
			return keys[k].name ? &keys[k] : &keys[k].include[i];
		i -= here;
	}
	return NULL;
}

static const struct config_key *
find_key(const struct config_key *keys, size_t count, const char *name)
{
	const struct config_key *key;

	for (size_t i = 0; (key = key_at(keys, count, i)) != NULL; i++)
		if (!strcmp(key->name, name))
			return key;
	return NULL;
}

static void
unknown_key(struct check *c, const struct at *at, const char *name, const struct config_key *keys,
	size_t count)
{
	struct near near = near_begin(name);
	const struct config_key *key;

	for (size_t i = 0; (key = key_at(keys, count, i)) != NULL; i++)
		near_consider(&near, key->name);
	if (near.found[0] != '\0')
		config_fault(
			c, at, "unknown key \"%.64s\"; did you mean \"%s\"?", name, near.found);
	else
		config_fault(c, at, "unknown key; see keel.json(5)");
}

bool
config_take_keys(struct check *c, const struct at *at, const json_t *object,
	const struct config_key *keys, size_t count, void *out)
{
	static const struct config_key description = {"description", NULL, 0, 0, 4096, false};
	const char *name;
	json_t *value;

	if (!json_is_object(object)) {
		config_fault_type(c, at, object, "an object");
		return false;
	}
	/* json_object_foreach wants a non-const object; nothing is written. */
	json_t *o = (json_t *)(uintptr_t)object;
	json_object_foreach(o, name, value)
	{
		const struct config_key *key = find_key(keys, count, name);
		struct at here = AT_KEY(at, name);
		if (key) {
			key->take(c, &here, value, key, out ? (char *)out + key->offset : NULL);
		} else if (!strcmp(name, "description")) {
			const char *ignored;
			config_take_text(c, &here, value, &description, &ignored);
		} else {
			unknown_key(c, &here, name, keys, count);
		}
	}
	const struct config_key *key;
	for (size_t i = 0; (key = key_at(keys, count, i)) != NULL; i++) {
		struct at here = AT_KEY(at, key->name);
		if (key->required && !json_object_get(object, key->name))
			config_fault(c, &here, "is missing");
	}
	return true;
}

void
config_set_defaults(const struct config_key *keys, size_t count, void *out)
{
	const struct config_key *key;

	for (size_t i = 0; (key = key_at(keys, count, i)) != NULL; i++) {
		void *at = (char *)out + key->offset;

		if (key->take == config_take_bool)
			*(bool *)at = key->def != 0;
		else if (key->take == config_take_u8)
			*(uint8_t *)at = (uint8_t)key->def;
		else if (key->take == config_take_u16)
			*(uint16_t *)at = (uint16_t)key->def;
		else if (key->take == config_take_u32)
			*(uint32_t *)at = key->def;
	}
}

bool
config_take_each(struct check *c, const struct at *at, const json_t *value,
	void (*take)(struct check *c, const struct at *at, const json_t *value, void *out),
	void *out)
{
	size_t i;
	json_t *element;

	if (!json_is_array(value)) {
		config_fault_type(c, at, value, "an array");
		return false;
	}
	json_array_foreach(value, i, element)
	{
		struct at here = AT_INDEX(at, i);
		take(c, &here, element, out);
	}
	return true;
}

void
config_note_unique(struct check *c, const struct at *array_at, size_t index, const char *key,
	const json_t *value, const char *text, json_t *seen)
{
	const json_t *first = json_object_get(seen, text);
	struct at element_at = AT_INDEX(array_at, index), here = AT_KEY(&element_at, key);
	char quoted[CONFIG_QUOTE_MAX];

	if (!first) {
		json_object_set_new(seen, text, json_integer((json_int_t)index));
		return;
	}
	struct at first_at = AT_INDEX(array_at, (size_t)json_integer_value(first));
	char *first_text = config_at_text(&first_at);
	config_fault(c, &here, "%s is already used at %s", config_quote(value, quoted),
		first_text ? first_text : "another place");
	free(first_text);
}

void
config_check_unique(struct check *c, const struct at *at, const json_t *array, const char *key)
{
	json_t *seen = json_object(), *element;
	size_t i;

	json_array_foreach(array, i, element)
	{
		const json_t *value = json_object_get(element, key);
		if (json_is_string(value))
			config_note_unique(c, at, i, key, value, json_string_value(value), seen);
	}
	json_decref(seen);
}

#define VRF_TEXT_MAX 66 /* a name has 63 octets (config_take_name) */

/* The text of a key in the instance of `element`. */
static void
in_vrf(const json_t *element, const char *key, char *text, size_t size)
{
	const char *vrf = json_string_value(json_object_get(element, "vrf"));

	snprintf(text, size, "%.63s %s", vrf != NULL ? vrf : "default", key);
}

void
config_check_unique_prefixes(struct check *c, const struct at *at, const json_t *array)
{
	json_t *seen = json_object(), *element;
	char prefix[PREFIX_TEXT_MAX], text[PREFIX_TEXT_MAX + VRF_TEXT_MAX];
	size_t i;

	json_array_foreach(array, i, element)
	{
		const json_t *value = json_object_get(element, "prefix");
		struct prefix p;

		if (!json_is_string(value) || prefix_parse(json_string_value(value), &p))
			continue;
		in_vrf(element, prefix_format(&p, prefix), text, sizeof(text));
		config_note_unique(c, at, i, "prefix", value, text, seen);
	}
	json_decref(seen);
}

void
config_check_unique_in_vrf(
	struct check *c, const struct at *at, const json_t *array, const char *key)
{
	json_t *seen = json_object(), *element;
	char text[CONFIG_QUOTE_MAX + VRF_TEXT_MAX];
	size_t i;

	json_array_foreach(array, i, element)
	{
		const json_t *value = json_object_get(element, key);

		if (!json_is_string(value) || json_string_length(value) >= CONFIG_QUOTE_MAX)
			continue;
		in_vrf(element, json_string_value(value), text, sizeof(text));
		config_note_unique(c, at, i, key, value, text, seen);
	}
	json_decref(seen);
}

/* ---- values ---- */

void
config_take_bool(CONFIG_TAKE_ARGS)
{
	if (json_is_boolean(value))
		*(bool *)out = json_is_true(value);
	else
		config_fault_type(c, at, value, "true or false");
}

bool
config_value_u32(struct check *c, const struct at *at, const json_t *value, uint32_t min,
	uint32_t max, uint32_t *out)
{
	if (!json_is_integer(value)) {
		config_fault_type(c, at, value, "an integer");
		return false;
	}
	json_int_t n = json_integer_value(value);
	if (n < (json_int_t)min || n > (json_int_t)max) {
		config_fault(c, at, "%lld is not an integer from %u to %u", (long long)n, min, max);
		return false;
	}
	*out = (uint32_t)n;
	return true;
}

void
config_take_u32(CONFIG_TAKE_ARGS)
{
	config_value_u32(c, at, value, key->min, key->max, out);
}

void
config_take_u16(CONFIG_TAKE_ARGS)
{
	uint32_t n;

	if (config_value_u32(c, at, value, key->min, key->max, &n))
		*(uint16_t *)out = (uint16_t)n;
}

void
config_take_u8(CONFIG_TAKE_ARGS)
{
	uint32_t n;

	if (config_value_u32(c, at, value, key->min, key->max, &n))
		*(uint8_t *)out = (uint8_t)n;
}

void
config_take_asn(CONFIG_TAKE_ARGS)
{
	uint32_t n;

	if (!config_value_u32(c, at, value, 1, UINT32_MAX, &n))
		return;
	if (n == 23456) /* RFC 6793 9: AS_TRANS */
		config_fault(c, at, "23456 (AS_TRANS) is reserved");
	else
		*(uint32_t *)out = n;
}

void
config_take_text(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];

	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
		return;
	}
	size_t len = json_string_length(value);
	if (len < key->min && key->max == 0)
		config_fault(c, at, "is empty");
	else if (len < key->min || (key->max && len > key->max))
		config_fault(c, at, "%s is %zu octets long, not %u to %u", config_quote(value, buf),
			len, key->min, key->max);
	else
		*(const char **)out = json_string_value(value);
}

static bool
name_is_reserved(const char *name)
{
	static const char *const words[] = {
		"all", "external", "internal", "group", "import", "export", "slow-peer"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(name, words[i]))
			return true;
	return false;
}

static bool
name_is_well_formed(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char rest[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	return *name && strchr(letters, *name) && strlen(name) <= 63 &&
	       strspn(name, rest) == strlen(name);
}

/* keel.json(5), "Rules for all keys". */
void
config_take_name(CONFIG_TAKE_ARGS)
{
	char buf[CONFIG_QUOTE_MAX];
	struct ip_addr addr;

	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a string");
		return;
	}
	const char *name = json_string_value(value);
	if (!addr_parse(name, &addr))
		config_fault(c, at, "%s is an IP address, which can't be a name",
			config_quote(value, buf));
	else if (!name_is_well_formed(name))
		config_fault(c, at,
			"%s is not a name: a letter, then at most 62 letters, digits, `_`, `.` or "
			"`-`",
			config_quote(value, buf));
	else if (name_is_reserved(name))
		config_fault(c, at, "%s is a word of commands, which can't be a name",
			config_quote(value, buf));
	else
		*(const char **)out = name;
}

void
config_take_unsupported(CONFIG_TAKE_ARGS)
{
	(void)key;
	(void)out;
	if (json_is_null(value))
		config_fault_type(c, at, value, "");
	else if (!json_is_false(value) && !(json_is_array(value) && json_array_size(value) == 0) &&
		 !(json_is_object(value) && json_object_size(value) == 0))
		config_fault_unsupported(c, at);
}

void
config_take_elsewhere(CONFIG_TAKE_ARGS)
{
	(void)c;
	(void)at;
	(void)value;
	(void)key;
	(void)out;
}

int
config_parse_addr_len(const char *text, struct ip_addr *addr, uint8_t *len)
{
	const char *slash = strchr(text, '/');
	char part[ADDR_TEXT_MAX];
	char *end;

	if (!slash || (size_t)(slash - text) >= sizeof(part) || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	memcpy(part, text, (size_t)(slash - text));
	part[slash - text] = '\0';
	if (addr_parse(part, addr) || addr->zone != 0)
		return -EINVAL;
	unsigned long n = strtoul(slash + 1, &end, 10);
	if (*end || end - slash > 4 || n > prefix_max_len(addr->afi))
		return -EINVAL;
	*len = (uint8_t)n;
	return 0;
}

bool
config_value_prefix(struct check *c, const struct at *at, const json_t *value, struct prefix *out)
{
	char buf[CONFIG_QUOTE_MAX], fixed[PREFIX_TEXT_MAX];
	struct ip_addr addr;
	uint8_t len;

	if (!json_is_string(value)) {
		config_fault_type(c, at, value, "a prefix");
		return false;
	}
	const char *text = json_string_value(value);
	int err = prefix_parse(text, out);
	if (err == -EDOM && !config_parse_addr_len(text, &addr, &len)) {
		struct prefix network = prefix_from_addr(&addr, len);
		config_fault(c, at,
			"%s has bits set beyond its length (host bits); the network is %s",
			config_quote(value, buf), prefix_format(&network, fixed));
	} else if (err) {
		config_fault(c, at, "%s is not a prefix", config_quote(value, buf));
	}
	return !err;
}

bool
config_value_addr(struct check *c, const struct at *at, const json_t *value, struct ip_addr *out)
{
	char buf[CONFIG_QUOTE_MAX];

	if (json_is_string(value) && !addr_parse(json_string_value(value), out))
		return true;
	if (json_is_null(value))
		config_fault_type(c, at, value, "");
	else
		config_fault(c, at, "%s is not an IP address", config_quote(value, buf));
	return false;
}

static bool
is_port(const json_t *document, const char *name)
{
	size_t i;
	json_t *port;

	json_array_foreach(json_object_get(document, "ports"), i, port)
	{
		const char *other = json_string_value(json_object_get(port, "name"));
		if (other && !strcmp(other, name))
			return true;
	}
	return false;
}

/* RFC 4007 11.2: the zone after the `%`. 0 with a fault. */
static uint16_t
zone_of(struct check *c, const struct at *at, const json_t *value, const char *name)
{
	char buf[CONFIG_QUOTE_MAX];
	uint16_t zone = 0;

	if ((c->host == NULL || !c->host->no_dataplane) && !is_port(c->document, name))
		config_fault(c, at, "%s names the port \"%s\", which does not exist",
			config_quote(value, buf), name);
	else if ((zone = zone_intern(name)) == 0)
		config_fault(c, at,
			"%s names \"%s\", which can't be the name of a network interface",
			config_quote(value, buf), name);
	return zone;
}

bool
config_addr_is_host(const struct ip_addr *a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (a->afi == AFI_IPV4)
		return a->b[0] != 0 && a->b[0] < 224;
	/* RFC 4291 2.5.2, 2.5.5.2, 2.7 */
	return !addr_is_unspecified(a) && a->b[0] != 0xff &&
	       memcmp(a->b, mapped, sizeof(mapped)) != 0;
}

bool
config_value_host(struct check *c, const struct at *at, const json_t *value, struct ip_addr *out)
{
	char buf[CONFIG_QUOTE_MAX], text[ADDR_TEXT_MAX];
	const char *given = json_is_string(value) ? json_string_value(value) : "";
	size_t len = strcspn(given, "%");
	bool zoned = given[len] == '%';
	struct ip_addr addr;

	if (!zoned) {
		if (!config_value_addr(c, at, value, &addr))
			return false;
	} else {
		snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : 0), given);
		if (addr_parse(text, &addr)) {
			config_fault(c, at, "%s is not an IP address", config_quote(value, buf));
			return false;
		}
	}
	if (addr_is_link_local(&addr) != zoned) {
		config_fault(c, at,
			zoned ? "%s is not link-local; only a link-local address has a port after "
				"`%%`"
			      : "%s is link-local and needs the port on which it is reached, as "
				"fe80::2%%east",
			config_quote(value, buf));
		return false;
	}
	if (!config_addr_is_host(&addr)) {
		config_fault(c, at, "%s is not the address of a host", config_quote(value, buf));
		return false;
	}
	if (zoned && (addr.zone = zone_of(c, at, value, given + len + 1)) == 0)
		return false;
	*out = addr;
	return true;
}

int
config_value_word(
	struct check *c, const struct at *at, const json_t *value, const char *const *words)
{
	char buf[CONFIG_QUOTE_MAX], list[200];
	size_t used = 0;

	if (json_is_string(value))
		for (int i = 0; words[i]; i++)
			if (!strcmp(words[i], json_string_value(value)))
				return i;
	if (json_is_null(value)) {
		config_fault_type(c, at, value, "");
		return -1;
	}
	list[0] = '\0';
	for (int i = 0; words[i] && used < sizeof(list) - 1; i++) {
		int n = snprintf(
			list + used, sizeof(list) - used, i == 0 ? "%s" : ", %s", words[i]);
		used += n > 0 ? (size_t)n : 0;
	}
	config_fault(c, at, "%s is not one of %s", config_quote(value, buf), list);
	return -1;
}
