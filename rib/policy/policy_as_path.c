/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AS-path lists. The first matching entry decides.
 *
 * Most expressions are about whole AS numbers: `_64513_`, `^64513_64514_`, `_(1|2|3)$`,
 * `_6451[2-9]_`, `^64513(_[0-9]+)*_(1|2|3)$`, `^$`, `.*`. The list turns them into intervals,
 * sequences, and pairs of first and last AS number. A single pass over the path then finds the
 * first matching entry of all these expressions. PCRE2 runs only the remaining expressions in front
 * of this entry.
 */
#include "rib/policy/policy_impl.h"

#include "rib/policy/inspect.h"
#include "lpm/base/arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/*
 * Steps of a match. A path of 250 hops against the expressions of ../shared needs under 2,000;
 * 200,000 take about 2 ms.
 */
#define REGEX_STEPS_MAX 200000
#define REGEX_STACK_MAX (512 * 1024)
#define REGEX_LEN_MAX 4096

#define NO_ENTRY UINT32_MAX
#define DIGITS_MAX 10 /* of an AS number */
#define ITEMS_MAX 32 /* digits and classes of a number */
#define REPEATS_MAX 1024 /* combinations of their quantifiers */
#define RANGES_MAX 2048 /* intervals of an expression; with more, PCRE2 runs the expression */
#define TRIED_MAX (4 * RANGES_MAX) /* with the intervals above the largest AS number */
#define SEQUENCE_MAX 8 /* AS numbers */
#define PRODUCT_MAX 256 /* sequences of an expression */

/* Where in the text of the path the numbers must stand; bits. */
enum place { PLACE_ANY = 0, PLACE_FIRST = 1, PLACE_LAST = 2, PLACE_WHOLE = 3, PLACES };

struct range {
	uint32_t low, high, entry;
	enum place place;
};

/* AS numbers with a single delimiter between neighbours. */
struct sequence {
	uint32_t at; /* in `pool` */
	unsigned len;
	uint32_t entry[PLACES];
};

/* The first and the last of two or more AS numbers with single delimiters between neighbours. */
struct pair {
	uint32_t first, last, entry;
};

/* An interval: its first entry for each place. */
struct cell {
	uint32_t entry[PLACES];
};

struct expression {
	pcre2_code *code;
	uint32_t entry;
	bool jit;
};

struct policy_as_path_list {
	uint32_t refs;
	char *name;
	uint32_t count, size;
	bool *permit; /* by entry */
	/* first entry for every path, for the empty path, for every path that is not empty */
	uint32_t all, empty, some;
	unsigned expression_count, expression_size;
	struct expression *expressions;
	unsigned range_count, range_size;
	struct range *ranges; /* until sealed */
	unsigned cell_count;
	uint32_t *low; /* where each cell begins; the first at 0 */
	struct cell *cells;
	unsigned sequence_count, sequence_size, pool_count, pool_size;
	struct sequence *sequences; /* sorted by length, then by numbers */
	uint32_t *pool;
	unsigned pair_count, pair_size;
	struct pair *pairs; /* sorted by numbers */
};

int
policy_as_path_list_create(struct policy_as_path_list **out)
{
	struct policy_as_path_list *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->refs = 1;
	l->all = l->empty = l->some = NO_ENTRY;
	*out = l;
	return 0;
}

int
policy_as_path_list_name(struct policy_as_path_list *l, const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	free(l->name);
	l->name = copy;
	return 0;
}

const char *
policy_as_path_list_named(const struct policy_as_path_list *l)
{
	return l->name ? l->name : "";
}

struct policy_as_path_list *
policy_as_path_list_ref(struct policy_as_path_list *l)
{
	l->refs++;
	return l;
}

void
policy_as_path_list_unref(struct policy_as_path_list *l)
{
	if (!l || --l->refs)
		return;
	for (unsigned i = 0; i < l->expression_count; i++)
		pcre2_code_free(l->expressions[i].code);
	free(l->name);
	free(l->permit);
	free(l->expressions);
	free(l->ranges);
	free(l->low);
	free(l->cells);
	free(l->sequences);
	free(l->pool);
	free(l->pairs);
	free(l);
}

unsigned
policy_as_path_list_expressions(const struct policy_as_path_list *l)
{
	return l->expression_count;
}

/* ---- expressions about whole AS numbers ---- */

/* An interval of an element's numbers. */
struct numbers {
	uint32_t low, high;
};

struct shape {
	struct policy_as_path_list *l;
	uint32_t entry;
	const char *p, *end;
	unsigned element_count, range_count, tried;
	unsigned first[SEQUENCE_MAX + 1]; /* of each element, in `range` */
	struct numbers range[RANGES_MAX];
};

/* A digit or a class of digits, repeated `min` to `max` times. */
struct item {
	unsigned digits; /* bits */
	unsigned min, max;
};

#define ALL_DIGITS 0x3ffu

static bool
eat(struct shape *x, const char *token)
{
	size_t len = strlen(token);

	if ((size_t)(x->end - x->p) < len || memcmp(x->p, token, len) != 0)
		return false;
	x->p += len;
	return true;
}

static bool
eat_any(struct shape *x, const char *const *tokens)
{
	for (; *tokens; tokens++)
		if (eat(x, *tokens))
			return true;
	return false;
}

static bool
at_digit(const struct shape *x)
{
	return x->p < x->end && *x->p >= '0' && *x->p <= '9';
}

static unsigned
digit_bits(unsigned low, unsigned high)
{
	return ALL_DIGITS >> (9 - high) & ALL_DIGITS << low;
}

/* `[13-5]`, behind the bracket. */
static bool
parse_class(struct shape *x, unsigned *digits)
{
	*digits = 0;
	while (at_digit(x)) {
		unsigned low = (unsigned)(*x->p++ - '0'), high = low;

		if (eat(x, "-")) {
			if (!at_digit(x))
				return false;
			high = (unsigned)(*x->p++ - '0');
		}
		if (high < low)
			return false;
		*digits |= digit_bits(low, high);
	}
	return *digits != 0 && eat(x, "]");
}

static bool
parse_count(struct shape *x, unsigned *out)
{
	if (!at_digit(x))
		return false;
	for (*out = 0; at_digit(x) && *out < 100; x->p++)
		*out = *out * 10 + (unsigned)(*x->p - '0');
	return *out < 100;
}

/* A number has at most DIGITS_MAX digits, so more repetitions match nothing. */
static bool
parse_quantifier(struct shape *x, struct item *i)
{
	i->min = i->max = 1;
	if (eat(x, "{")) {
		if (!parse_count(x, &i->min))
			return false;
		i->max = i->min;
		if (eat(x, ",")) {
			i->max = DIGITS_MAX > i->min ? DIGITS_MAX : i->min;
			if (at_digit(x) && (!parse_count(x, &i->max) || i->max < i->min))
				return false;
		}
		if (!eat(x, "}"))
			return false;
	} else if (eat(x, "+")) {
		i->max = DIGITS_MAX;
	} else if (eat(x, "*")) {
		i->min = 0;
		i->max = DIGITS_MAX;
	} else if (eat(x, "?")) {
		i->min = 0;
	}
	/* a second quantifier would change the meaning of the first */
	return x->p == x->end || strchr("+*?{", *x->p) == NULL;
}

/* False at the end of the number. *bad: the expression is for PCRE2. */
static bool
parse_item(struct shape *x, struct item *i, bool *bad)
{
	if (at_digit(x)) {
		i->digits = 1u << (*x->p++ - '0');
	} else if (eat(x, "\\d") || eat(x, "[[:digit:]]")) {
		i->digits = ALL_DIGITS;
	} else if (eat(x, "[")) {
		*bad = !parse_class(x, &i->digits);
	} else {
		return false;
	}
	*bad = *bad || !parse_quantifier(x, i);
	return !*bad;
}

static bool
range_add(struct shape *x, uint64_t low, uint64_t high)
{
	if (x->range_count == RANGES_MAX || ++x->tried > TRIED_MAX)
		return false;
	if (low > UINT32_MAX)
		return true; /* no AS number */
	x->range[x->range_count++] =
		(struct numbers){(uint32_t)low, (uint32_t)(high < UINT32_MAX ? high : UINT32_MAX)};
	return true;
}

/* Numbers made of `base`, a digit of `digits`, and log10(free) arbitrary digits. */
static bool
range_add_runs(struct shape *x, uint64_t base, unsigned digits, uint64_t free)
{
	for (unsigned d = 0; d < 10; d++) {
		unsigned to = d;

		if (!(digits >> d & 1))
			continue;
		while (to < 9 && digits >> (to + 1) & 1)
			to++;
		if (!range_add(x, (base * 10 + d) * free, (base * 10 + to + 1) * free - 1))
			return false;
		d = to;
	}
	return true;
}

/* The numbers of `len` digits, with digit i out of digits[i]. False: too many intervals. */
static bool
expand_digits(struct shape *x, unsigned *digits, unsigned len)
{
	unsigned fixed = len, at[DIGITS_MAX] = {0};
	uint64_t free = 1;

	if (len > 1)
		digits[0] &= ~1u; /* the text has no leading zeros */
	for (; fixed > 1 && digits[fixed - 1] == ALL_DIGITS; fixed--)
		free *= 10;
	for (;;) {
		uint64_t base = 0;
		unsigned i = 0;

		/* the next allowed combination of all fixed digits but the last */
		for (; i + 1 < fixed; i++) {
			while (at[i] < 10 && !(digits[i] >> at[i] & 1))
				at[i]++;
			if (at[i] == 10)
				break;
			base = base * 10 + at[i];
		}
		if (i + 1 < fixed) {
			if (i == 0)
				return true;
			memset(&at[i], 0, (DIGITS_MAX - i) * sizeof(at[0]));
			at[i - 1]++;
			continue;
		}
		if (!range_add_runs(x, base, digits[fixed - 1], free))
			return false;
		if (fixed == 1)
			return true;
		at[fixed - 2]++;
	}
}

/* A single combination of repetitions. */
static bool
expand_once(struct shape *x, const struct item *items, const unsigned *times, unsigned count)
{
	unsigned digits[DIGITS_MAX], len = 0;

	for (unsigned i = 0; i < count; i++)
		for (unsigned n = 0; n < times[i]; n++) {
			if (len == DIGITS_MAX)
				return true; /* longer than any AS number */
			digits[len++] = items[i].digits;
		}
	return len > 0 && expand_digits(x, digits, len);
}

static bool
expand(struct shape *x, const struct item *items, unsigned count)
{
	unsigned times[ITEMS_MAX];

	for (unsigned i = 0; i < count; i++)
		times[i] = items[i].min;
	for (unsigned n = 0; n < REPEATS_MAX; n++) {
		unsigned i = 0;

		if (!expand_once(x, items, times, count))
			return false;
		while (i < count && times[i] == items[i].max) {
			times[i] = items[i].min;
			i++;
		}
		if (i == count)
			return true;
		times[i]++;
	}
	return false;
}

static bool
parse_number(struct shape *x)
{
	struct item items[ITEMS_MAX];
	unsigned count = 0;
	bool bad = false;

	while (count < ITEMS_MAX && parse_item(x, &items[count], &bad))
		count++;
	return !bad && count > 0 && count < ITEMS_MAX && expand(x, items, count);
}

/* A number, or alternative numbers in parentheses. */
static bool
parse_element(struct shape *x)
{
	bool group = eat(x, "(?:") || eat(x, "(");

	if (x->element_count == SEQUENCE_MAX)
		return false;
	x->first[x->element_count] = x->range_count;
	do {
		if (!parse_number(x))
			return false;
	} while (group && eat(x, "|"));
	x->first[++x->element_count] = x->range_count;
	return !group || eat(x, ")");
}

static const char *const border_tokens[] = {
	"^.*_", ".*_", "(^|_)", "(_|^)", "(?:^|_)", "(?:_|^)", "_", NULL};
static const char *const border_end_tokens[] = {
	"_.*$", "_.*", "(_|$)", "($|_)", "(?:_|$)", "(?:$|_)", "(_.*)?$", "(?:_.*)?$", "_", NULL};

/* The border before the first number. False: unknown. */
static bool
parse_begin(struct shape *x, unsigned *place)
{
	if (eat_any(x, border_tokens))
		return true;
	*place |= PLACE_FIRST;
	return eat(x, "^");
}

/* The expression ends here. */
static bool
parse_end(struct shape *x, unsigned *place)
{
	const char *at = x->p;

	if (eat_any(x, border_end_tokens) && x->p == x->end)
		return true;
	x->p = at;
	if (!eat(x, "$") || x->p != x->end) {
		x->p = at;
		return false;
	}
	*place |= PLACE_LAST;
	return true;
}

static int
add_ranges(const struct shape *x, enum place place)
{
	struct policy_as_path_list *l = x->l;

	for (unsigned i = 0; i < x->range_count; i++) {
		struct range *grown = policy_vector_reserve(
			l->ranges, l->range_count, &l->range_size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->ranges = grown;
		grown[l->range_count++] =
			(struct range){x->range[i].low, x->range[i].high, x->entry, place};
	}
	return 0;
}

static int
add_sequence(const struct shape *x, enum place place, const unsigned *choice)
{
	struct policy_as_path_list *l = x->l;
	struct sequence *grown = policy_vector_reserve(
		l->sequences, l->sequence_count, &l->sequence_size, sizeof(*grown));
	struct sequence *s;

	if (!grown)
		return -ENOMEM;
	l->sequences = grown;
	s = &grown[l->sequence_count];
	*s = (struct sequence){.at = l->pool_count, .len = x->element_count};
	for (unsigned i = 0; i < PLACES; i++)
		s->entry[i] = i == place ? x->entry : NO_ENTRY;
	for (unsigned i = 0; i < x->element_count; i++) {
		uint32_t *pool =
			policy_vector_reserve(l->pool, l->pool_count, &l->pool_size, sizeof(*pool));

		if (!pool)
			return -ENOMEM;
		l->pool = pool;
		pool[l->pool_count++] = x->range[choice[i]].low;
	}
	l->sequence_count++;
	return 0;
}

/* All sequences with a number of each element. 0, -ENOMEM; -ENOTSUP: too many. */
static int
add_sequences(const struct shape *x, enum place place)
{
	unsigned choice[SEQUENCE_MAX], product = 1;

	for (unsigned i = 0; i < x->element_count; i++) {
		product *= x->first[i + 1] - x->first[i];
		choice[i] = x->first[i];
		if (product > PRODUCT_MAX)
			return -ENOTSUP;
	}
	for (unsigned i = 0; i < x->range_count; i++)
		if (x->range[i].low != x->range[i].high)
			return -ENOTSUP;
	for (; product > 0; product--) {
		int err = add_sequence(x, place, choice);

		if (err)
			return err;
		for (unsigned i = 0; i < x->element_count; i++) {
			if (++choice[i] < x->first[i + 1])
				break;
			choice[i] = x->first[i];
		}
	}
	return 0;
}

/* The pairs of two elements with any numbers between them. 0, -ENOMEM; -ENOTSUP: too many. */
static int
add_pairs(const struct shape *x)
{
	struct policy_as_path_list *l = x->l;
	unsigned firsts = x->first[1];

	if (firsts * (x->range_count - firsts) > PRODUCT_MAX)
		return -ENOTSUP;
	for (unsigned i = 0; i < x->range_count; i++)
		if (x->range[i].low != x->range[i].high)
			return -ENOTSUP;
	for (unsigned i = 0; i < firsts; i++)
		for (unsigned k = firsts; k < x->range_count; k++) {
			struct pair *grown = policy_vector_reserve(
				l->pairs, l->pair_count, &l->pair_size, sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			l->pairs = grown;
			grown[l->pair_count++] =
				(struct pair){x->range[i].low, x->range[k].low, x->entry};
		}
	return 0;
}

static bool
is_one_of(const struct shape *x, const char *const *texts)
{
	for (; *texts; texts++)
		if ((size_t)(x->end - x->p) == strlen(*texts) &&
			!memcmp(x->p, *texts, strlen(*texts)))
			return true;
	return false;
}

static void
first_entry(uint32_t *at, uint32_t entry)
{
	if (*at > entry)
		*at = entry;
}

/* A single alternative of the expression. 0, -ENOMEM; -ENOTSUP: not about whole numbers. */
static int
add_alternative(struct shape *x)
{
	static const char *const all[] = {"", ".*", "^.*", ".*$", "^.*$", "^", "$", "_", NULL};
	static const char *const some[] = {".", ".+", "^.+", ".+$", "^.+$", NULL};
	static const char *const empty[] = {"^$", NULL};
	static const char *const at_end[] = {"$", NULL};
	static const char *const any_numbers[] = {
		"(_[0-9]+)*_", "(?:_[0-9]+)*_", "(_\\d+)*_", "(?:_\\d+)*_", NULL};
	unsigned place = PLACE_ANY;

	x->element_count = x->range_count = x->tried = 0;
	if (is_one_of(x, all))
		first_entry(&x->l->all, x->entry);
	else if (is_one_of(x, some))
		first_entry(&x->l->some, x->entry);
	else if (is_one_of(x, empty))
		first_entry(&x->l->empty, x->entry);
	else
		goto numbers;
	return 0;

numbers:
	if (!parse_begin(x, &place) || !parse_element(x))
		return -ENOTSUP;
	if (place == PLACE_FIRST && eat_any(x, any_numbers))
		return parse_element(x) && is_one_of(x, at_end) ? add_pairs(x) : -ENOTSUP;
	while (!parse_end(x, &place))
		if (!eat(x, "_") || !parse_element(x))
			return -ENOTSUP;
	return x->element_count == 1 ? add_ranges(x, (enum place)place)
				     : add_sequences(x, (enum place)place);
}

/* The end of the alternative that begins at `p`. */
static const char *
alternative_end(const char *p)
{
	unsigned depth = 0;

	for (; *p && (*p != '|' || depth > 0); p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '(' || *p == '[')
			depth++;
		else if ((*p == ')' || *p == ']') && depth > 0)
			depth--;
	}
	return p;
}

/* 0, -ENOMEM; -ENOTSUP: PCRE2 has to run the expression; the list is unchanged. */
static int
add_numbers(struct policy_as_path_list *l, const char *regex)
{
	struct policy_as_path_list before = *l;
	struct shape x = {.l = l, .entry = l->count};
	const char *p = regex;
	int err;

	do {
		x.p = p;
		x.end = alternative_end(p);
		p = x.end + 1;
		err = add_alternative(&x);
	} while (!err && *x.end);
	if (err) {
		l->all = before.all;
		l->empty = before.empty;
		l->some = before.some;
		l->range_count = before.range_count;
		l->sequence_count = before.sequence_count;
		l->pool_count = before.pool_count;
		l->pair_count = before.pair_count;
	}
	return err;
}

/* ---- other expressions ---- */

/* The length of a class name such as `[:digit:]` at `p`, else 0. */
static size_t
class_name_len(const char *p)
{
	size_t len;

	if (p[0] != '[' || p[1] != ':')
		return 0;
	len = p[2] == '^' ? 3 : 2;
	while (p[len] >= 'a' && p[len] <= 'z')
		len++;
	return p[len] == ':' && p[len + 1] == ']' ? len + 2 : 0;
}

/*
 * Replaces `_` by the delimiter expression, except behind a backslash and inside a bracket
 * expression. Returns the length. `out` has room for 24 bytes per byte of `regex`.
 */
static size_t
translate(const char *regex, char *out)
{
	static const char delimiter[] = "(?:^|$|[ ,{}()\\[\\]])";
	const char *class_begin = NULL;
	char *o = out;

	for (const char *p = regex; *p; p++) {
		if (*p == '\\' && p[1]) {
			*o++ = *p++;
			*o++ = *p;
		} else if (class_begin) {
			size_t name = class_name_len(p);

			if (name > 0) {
				memcpy(o, p, name);
				o += name;
				p += name - 1;
				continue;
			}
			/* `]` is an element at the begin of the class, also behind `^` */
			if (*p == ']' && p > class_begin)
				class_begin = NULL;
			*o++ = *p;
		} else if (*p == '_') {
			memcpy(o, delimiter, sizeof(delimiter) - 1);
			o += sizeof(delimiter) - 1;
		} else {
			if (*p == '[')
				class_begin = p[1] == '^' ? p + 2 : p + 1;
			*o++ = *p;
		}
	}
	*o = '\0';
	return (size_t)(o - out);
}

static pcre2_code *
regex_compile(const char *regex, char *error, size_t error_size)
{
	int number;
	PCRE2_SIZE offset;
	char *pattern = malloc(strlen(regex) * 24 + 1);

	if (!pattern)
		return NULL;
	size_t len = translate(regex, pattern);
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, len,
		PCRE2_NO_AUTO_CAPTURE | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C |
			PCRE2_NEVER_UTF,
		&number, &offset, NULL);
	if (!code)
		pcre2_get_error_message(number, (PCRE2_UCHAR *)error, error_size);
	free(pattern);
	return code;
}

static int
add_expression(struct policy_as_path_list *l, const char *regex, char *error, size_t error_size)
{
	struct expression *grown = policy_vector_reserve(
		l->expressions, l->expression_count, &l->expression_size, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	l->expressions = grown;
	pcre2_code *code = regex_compile(regex, error, error_size);
	if (!code)
		return error[0] ? -EINVAL : -ENOMEM;
	/* Without JIT (CPU, hardened kernel) the interpreter gives equal answers. */
	bool jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
	l->expressions[l->expression_count++] = (struct expression){code, l->count, jit};
	return 0;
}

int
policy_as_path_list_add(struct policy_as_path_list *l, bool permit, const char *regex, char *error,
	size_t error_size)
{
	error[0] = '\0';
	if (strlen(regex) > REGEX_LEN_MAX) {
		snprintf(error, error_size, "it is longer than %d octets", REGEX_LEN_MAX);
		return -EINVAL;
	}
	bool *grown = policy_vector_reserve(l->permit, l->count, &l->size, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->permit = grown;
	int err = add_numbers(l, regex);
	if (err == -ENOTSUP)
		err = add_expression(l, regex, error, error_size);
	if (!err)
		l->permit[l->count++] = permit;
	return err;
}

/* ---- sealing ---- */

static int
number_compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static unsigned
cell_find(const struct policy_as_path_list *l, uint32_t asn)
{
	unsigned at = 0;

	/* the last cell with low <= asn */
	for (unsigned left = l->cell_count; left > 1;) {
		unsigned half = left / 2;

		at = l->low[at + half] <= asn ? at + half : at;
		left -= half;
	}
	return at;
}

/* The begins and ends of all intervals, without duplicates. */
static int
cells_cut(struct policy_as_path_list *l)
{
	unsigned count = 1, kept = 0;

	l->low = malloc((2 * (size_t)l->range_count + 1) * sizeof(*l->low));
	if (!l->low)
		return -ENOMEM;
	l->low[0] = 0;
	for (unsigned i = 0; i < l->range_count; i++) {
		l->low[count++] = l->ranges[i].low;
		if (l->ranges[i].high < UINT32_MAX)
			l->low[count++] = l->ranges[i].high + 1;
	}
	qsort(l->low, count, sizeof(*l->low), number_compare);
	for (unsigned i = 0; i < count; i++)
		if (!kept || l->low[kept - 1] != l->low[i])
			l->low[kept++] = l->low[i];
	l->cell_count = kept;
	l->cells = malloc(kept * sizeof(*l->cells));
	if (!l->cells)
		return -ENOMEM;
	memset(l->cells, 0xff, kept * sizeof(*l->cells));
	static_assert(NO_ENTRY == UINT32_MAX, "all bits are set");
	return 0;
}

/*
 * The first unpainted cell from `at` on. next[] skips painted cells; the search shortens the skips.
 */
static unsigned
unpainted(unsigned *next, unsigned at)
{
	unsigned end = at;

	while (next[end] != end)
		end = next[end];
	while (next[at] != at) {
		unsigned then = next[at];

		next[at] = end;
		at = then;
	}
	return end;
}

/* Ranges are in the order of their entries, so the first range to paint a cell decides. */
static void
cells_paint(struct policy_as_path_list *l, enum place place, unsigned *next)
{
	for (unsigned i = 0; i <= l->cell_count; i++)
		next[i] = i;
	for (unsigned i = 0; i < l->range_count; i++) {
		const struct range *r = &l->ranges[i];
		unsigned at, end;

		if (r->place != place)
			continue;
		at = cell_find(l, r->low);
		end = cell_find(l, r->high) + 1;
		while ((at = unpainted(next, at)) < end) {
			l->cells[at].entry[place] = r->entry;
			next[at] = at + 1;
		}
	}
}

static int
sequence_compare(const void *a, const void *b, void *pool)
{
	const struct sequence *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp((const uint32_t *)pool + x->at, (const uint32_t *)pool + y->at,
		x->len * sizeof(uint32_t));
}

static void
sequences_sort(struct policy_as_path_list *l)
{
	unsigned kept = 0;

	if (l->sequence_count == 0)
		return;
	qsort_r(l->sequences, l->sequence_count, sizeof(*l->sequences), sequence_compare, l->pool);
	for (unsigned i = 0; i < l->sequence_count; i++) {
		struct sequence *s = &l->sequences[i];

		if (kept && !sequence_compare(&l->sequences[kept - 1], s, l->pool))
			for (unsigned k = 0; k < PLACES; k++)
				first_entry(&l->sequences[kept - 1].entry[k], s->entry[k]);
		else
			l->sequences[kept++] = *s;
	}
	l->sequence_count = kept;
}

static int
pair_compare(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->last != y->last)
		return x->last < y->last ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* Keeps the first entry of each pair. */
static void
pairs_sort(struct policy_as_path_list *l)
{
	unsigned kept = 0;

	if (l->pair_count)
		qsort(l->pairs, l->pair_count, sizeof(*l->pairs), pair_compare);
	for (unsigned i = 0; i < l->pair_count; i++) {
		const struct pair *p = &l->pairs[i];

		if (!kept || l->pairs[kept - 1].first != p->first ||
			l->pairs[kept - 1].last != p->last)
			l->pairs[kept++] = *p;
	}
	l->pair_count = kept;
}

int
policy_as_path_list_seal(struct policy_as_path_list *l)
{
	unsigned *next;
	int err;

	sequences_sort(l);
	pairs_sort(l);
	if (l->range_count == 0)
		return 0;
	err = cells_cut(l);
	if (err)
		return err;
	next = malloc(((size_t)l->cell_count + 1) * sizeof(*next));
	if (!next)
		return -ENOMEM;
	for (unsigned place = 0; place < PLACES; place++)
		cells_paint(l, (enum place)place, next);
	free(next);
	free(l->ranges);
	l->ranges = NULL;
	l->range_count = l->range_size = 0;
	return 0;
}

/* ---- matching ---- */

struct policy_path {
	struct arena *arena;
	const struct attr_set *attrs;
	struct as_path_number *numbers;
	unsigned count, size;
	bool counted; /* `numbers` are the path of `attrs` */
	bool formatted; /* `text` is the path of `attrs` */
	char *text;
	size_t text_size, text_len;
	pcre2_match_context *context;
	pcre2_match_data *match;
	pcre2_jit_stack *jit_stack;
};

int
policy_path_create(struct arena *a, struct policy_path **out)
{
	struct policy_path *p = arena_calloc(a, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->arena = a;
	p->text_size = 512;
	p->size = 64;
	p->text = arena_alloc(a, p->text_size);
	p->numbers = arena_alloc(a, p->size * sizeof(*p->numbers));
	p->context = pcre2_match_context_create(NULL);
	p->match = pcre2_match_data_create(1, NULL);
	p->jit_stack = pcre2_jit_stack_create(32 * 1024, REGEX_STACK_MAX, NULL);
	if (!p->text || !p->numbers || !p->context || !p->match) {
		policy_path_destroy(p);
		return -ENOMEM;
	}
	pcre2_set_match_limit(p->context, REGEX_STEPS_MAX);
	/* without a stack (no JIT) PCRE2 uses the thread's stack */
	if (p->jit_stack)
		pcre2_jit_stack_assign(p->context, NULL, p->jit_stack);
	*out = p;
	return 0;
}

void
policy_path_destroy(struct policy_path *p)
{
	if (!p)
		return;
	if (p->jit_stack)
		pcre2_jit_stack_free(p->jit_stack);
	pcre2_match_data_free(p->match);
	pcre2_match_context_free(p->context);
	arena_free(p->arena, p->text);
	arena_free(p->arena, p->numbers);
	arena_free(p->arena, p);
}

void
policy_path_begin(struct policy_path *p, const struct attr_set *attrs)
{
	p->attrs = attrs;
	p->counted = p->formatted = false;
}

static int
count_numbers(struct policy_path *p)
{
	p->count = attr_as_path_numbers(p->attrs, p->numbers, p->size);
	if (p->count > p->size) {
		struct as_path_number *grown =
			arena_realloc(p->arena, p->numbers, p->count * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->numbers = grown;
		p->size = p->count;
		(void)attr_as_path_numbers(p->attrs, p->numbers, p->size);
	}
	p->counted = true;
	return 0;
}

static int
format_path(struct policy_path *p)
{
	size_t len = attr_as_path_format(p->attrs, p->text, p->text_size);

	if (len >= p->text_size) {
		char *grown = arena_realloc(p->arena, p->text, len + 1);
		if (!grown)
			return -ENOMEM;
		p->text = grown;
		p->text_size = len + 1;
		attr_as_path_format(p->attrs, p->text, p->text_size);
	}
	p->text_len = len;
	p->formatted = true;
	return 0;
}

/* The first entry for numbers at `place`, which has every bit that holds. */
static uint32_t
entry_at(const uint32_t entry[PLACES], unsigned place)
{
	uint32_t best = entry[PLACE_ANY];

	for (unsigned i = 1; i < PLACES; i++)
		if ((place & i) == i)
			first_entry(&best, entry[i]);
	return best;
}

static int
sequence_order(const struct policy_as_path_list *l, const struct sequence *s,
	const struct as_path_number *n, unsigned len)
{
	uint32_t of[SEQUENCE_MAX];

	if (s->len != len)
		return s->len < len ? -1 : 1;
	for (unsigned i = 0; i < len; i++)
		of[i] = n[i].asn;
	return memcmp(l->pool + s->at, of, len * sizeof(of[0]));
}

static const struct sequence *
sequence_find(const struct policy_as_path_list *l, const struct as_path_number *n, unsigned len)
{
	unsigned low = 0, high = l->sequence_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		int c = sequence_order(l, &l->sequences[middle], n, len);

		if (c == 0)
			return &l->sequences[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The first entry of the sequences from number `at` on. */
static uint32_t
sequences_at(const struct policy_as_path_list *l, const struct policy_path *p, unsigned at)
{
	unsigned longest = l->sequences[l->sequence_count - 1].len;
	uint32_t best = NO_ENTRY;

	for (unsigned len = 2; len <= longest && at + len <= p->count; len++) {
		const struct as_path_number *last = &p->numbers[at + len - 1];
		const struct sequence *s;

		if (!last->follows)
			break;
		s = sequence_find(l, &p->numbers[at], len);
		if (s)
			first_entry(&best,
				entry_at(s->entry, (p->numbers[at].first ? PLACE_FIRST : 0u) |
							   (last->last ? PLACE_LAST : 0u)));
	}
	return best;
}

static uint32_t
pairs_at(const struct policy_as_path_list *l, const struct policy_path *p)
{
	unsigned low = 0, high = l->pair_count;
	uint32_t first, last;

	if (p->count < 2 || !p->numbers[0].first || !p->numbers[p->count - 1].last)
		return NO_ENTRY;
	for (unsigned i = 1; i < p->count; i++)
		if (!p->numbers[i].follows)
			return NO_ENTRY;
	first = p->numbers[0].asn;
	last = p->numbers[p->count - 1].asn;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct pair *at = &l->pairs[middle];

		if (at->first == first && at->last == last)
			return at->entry;
		if (at->first < first || (at->first == first && at->last < last))
			low = middle + 1;
		else
			high = middle;
	}
	return NO_ENTRY;
}

/* The first matching entry, without PCRE2's. */
static uint32_t
match_numbers(const struct policy_as_path_list *l, const struct policy_path *p)
{
	uint32_t best = l->all;

	first_entry(&best, p->count == 0 ? l->empty : l->some);
	if (l->pair_count > 0)
		first_entry(&best, pairs_at(l, p));
	for (unsigned i = 0; i < p->count && best > 0; i++) {
		const struct as_path_number *n = &p->numbers[i];

		if (l->cell_count > 0)
			first_entry(&best, entry_at(l->cells[cell_find(l, n->asn)].entry,
						   (n->first ? PLACE_FIRST : 0u) |
							   (n->last ? PLACE_LAST : 0u)));
		if (l->sequence_count > 0)
			first_entry(&best, sequences_at(l, p, i));
	}
	return best;
}

/* 1, 0; -EIO: match limit or any error of PCRE2. */
static int
match_expression(const struct policy_path *p, const struct expression *e)
{
	PCRE2_SPTR text = (PCRE2_SPTR)p->text;
	int n;

	if (e->jit)
		n = pcre2_jit_match(e->code, text, p->text_len, 0, 0, p->match, p->context);
	else
		n = pcre2_match(e->code, text, p->text_len, 0, 0, p->match, p->context);
	return n >= 0 ? 1 : n == PCRE2_ERROR_NOMATCH ? 0 : -EIO;
}

int
policy_path_match(struct policy_path *p, const struct policy_as_path_list *l)
{
	uint32_t best;

	if (!p->counted && count_numbers(p))
		return -ENOMEM;
	best = match_numbers(l, p);
	for (unsigned i = 0; i < l->expression_count && l->expressions[i].entry < best; i++) {
		int matches;

		if (!p->formatted && format_path(p))
			return -ENOMEM;
		matches = match_expression(p, &l->expressions[i]);
		if (matches < 0)
			return matches;
		if (matches)
			best = l->expressions[i].entry;
	}
	return best != NO_ENTRY && l->permit[best];
}
