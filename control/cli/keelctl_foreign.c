/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of FRR, BIRD and VRP that are not in the grammar, each with the keelctl line for the same
 * task. Searched after a syntax error; the first entry that fits decides.
 */
#include "control/cli/keelctl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/*
 * % matches any word, # a number, ! permit or deny, {a | b} an alternative, [a | b] an alternative or nothing,
 * ... at the end any words. A letter behind is the name of the words for `use`: $a. An alternative `words=text` has
 * another text there; without `=` an alternative of {} has its words, of [] nothing. [...] in `use` is left
 * out where a name in it is empty.
 */
#define SHOW "{show | display} "
#define BGP "show [ip] bgp [{ipv4 | ipv6}f [unicast]] "
#define CLEAR                                                                                      \
	"clear [ip] bgp [ipv4 unicast | ipv6 unicast=ipv6 | ipv6=ipv6]f [peer-group=group]g "      \
	"{*=all | external | %p}t "
#define LISTS                                                                                      \
	"ip address prefix-list=ip-prefix | ipv6 address prefix-list | ip next-hop "               \
	"prefix-list=ip next-hop ip-prefix | ipv6 next-hop prefix-list | "                         \
	"as-path=as-path-filter | community=community-filter | "                                   \
	"large-community=large-community-filter | extcommunity=extcommunity-filter"
static const struct foreign {
	const char *line, *use;
} foreign[] = {
	{"show [ip] bgp vrf %v summary", "show bgp vpn-instance $v summary"},
	{BGP "summary ...", "show bgp $f summary"},
	{BGP "neighbors %p {advertised-routes=advertised | received-routes=received | "
	     "filtered-routes=received | routes=}d ...",
		"show route $f peer $p $d"},
	{BGP "neighbors %p ...", "show bgp $f peer $p"},
	{BGP "regexp %r", "show route $f as-path $r"},
	{BGP "{community | large-community} %c ...", "show route $f community $c"},
	{BGP "statistics", "show route $f count"},
	{BGP "%p {longer-prefixes=longer | bestpath=}l ...", "show route $p $l"},
	{"show [ip] bgp peer-group ...", "show configuration"},
	{"show ip bgp route-map %n", "show policy $n"},
	{"show [ip] bgp memory", "show rib"},
	{"show bgp {ipv4 | ipv6}f [unicast]", "show route $f"},
	{"show [ip] bgp {ipv4 vpn=vpnv4 | ipv6 vpn=vpnv6}f ...", "show route $f"},
	{"show ip bgp ipv4 unicast ...", "show route ipv4"},
	{"show bgp vrfs ...", "show vrf"},
	{"show bgp vrf %v {ipv4=ipv4-family | ipv6=ipv6-family}f unicast",
		"show route vpn-instance $v $f"},
	{"show bgp vrf %v neighbors %p ...", "show bgp vpn-instance $v peer $p"},
	{"show [ip] bgp vrf %v ...", "show route vpn-instance $v"},
	{"show {ip bgp | bgp {ipv4 | ipv6} unicast | bgp ipv6} %p ...", "show route $p"},
	{"show [ip] bgp", "show route"},
	{"show {ip | ipv6} route summary ...", "show rib"},
	{"show {ip= | ipv6=ipv6-family}f route vrf %v ...", "show route vpn-instance $v $f"},
	{"show {ip= | ipv6}f route [bgp]", "show route $f best"},
	{"show ip route static", "show configuration"},
	{"show ip route json", "--json show route best"},
	{"show {ip | ipv6} route %p [longer-prefixes=longer]l ...", "show route $p $l"},
	{"show {ip | ipv6 | bgp} {prefix-list | as-path-access-list | community-list | "
	 "large-community-list} ...",
		"show configuration"},
	{SHOW "{route-map | route-policy} [%n]", "show policy $n"},
	{"show {running-config | configuration running json} ...", "show configuration running"},
	{"{show startup-config | display saved-configuration}", "show configuration startup"},
	{SHOW "[ip | ipv6] {interface | interfaces} ...", "show dataplane"},
	{SHOW "{[ip] arp | [ipv6] neighbors | ip nexthop} ...", "show dataplane neighbors"},
	{SHOW "{memory | memory-usage} ...", "show rib"},
	{SHOW "{thread | processes | cpu | cpu-usage} ...", "show threads"},
	{SHOW "{logging | logbuffer | trapbuffer} ...", "monitor events"},
	{SHOW "users ...", "show candidates"},
	{"{configure terminal | conf t | enable}", "system-view"},
	{"write [memory | file]", "commit"},
	{"write terminal", "show configuration running"},
	{"end", "return"},
	{"{exit | exit-address-family}", "quit"},
	{CLEAR "{soft in=import | soft out=export | soft=import | in=import | out=export}d",
		"refresh bgp $f $g $t $p $d"},
	{CLEAR, "reset bgp $f $g $t $p"},
	{"clear [ip] bgp external ...", "reset bgp external"},
	{"clear [ip] bgp peer-group %g ...", "reset bgp group $g"},
	{"debug bgp {updates | neighbor-events | keepalives} %p ...", "trace peer $p"},
	{"debug bgp {bestpath | zebra prefix} %p", "trace prefix $p"},
	{"{debug | debugging} bgp ...", "monitor events"},
	{"terminal {monitor | debugging}", "monitor events"},
	{"router bgp %a ...", "bgp $a"},
	{"neighbor %p remote-as %a", "peer $p as-number $a"},
	{"neighbor %p peer-group", "group $p"},
	{"neighbor %p peer-group %g", "peer $p group $g"},
	{"[no=undo]u neighbor %p activate", "$u peer $p enable"},
#define FOREIGN(line, use) {line, use},
#include "control/cli/keelctl_settings.def"
	{"[no=undo]u neighbor %p route-map %n {in=import | out=export}d",
		"$u peer $p route-policy $n $d"},
	{"address-family {ipv4 unicast=ipv4-family unicast | ipv6 unicast=ipv6-family unicast | "
	 "ipv4 vpn=ipv4-family vpnv4 | ipv6 vpn=ipv6-family vpnv6}f",
		"$f"},
	{"show protocols [all]", "show bgp summary"},
	{"show protocols [all] %p", "show bgp peer $p"},
	{"show status", "show version"},
	{"show route for %p ...", "show route $p"},
	{"show route in %p ...", "show route $p longer"},
	{"show route {protocol= | export=advertised}x %p [count=count | all=detail]d ...",
		"show route peer $p $x $d"},
	{"show route import table % ...", "show route peer ADDRESS received"},
	{"show route {primary all | all primary}", "show route best detail"},
	{"show route primary ...", "show route best"},
	{"show route table {master4=ipv4 | master6=ipv6}f ...", "show route $f"},
	{"show route table %v ...", "show route vpn-instance $v"},
	{"show route count ...", "show route count"},
	{"show route all", "show route detail"},
	{"show route %p {all=detail | primary=best}d", "show route $p $d"},
	{"show route %p for ...", "show route $p"},
	{"show static ...", "show configuration"},
	{"configure check ...", "preview"},
	{"configure timeout %s ...", "commit confirm $s"},
	{"configure confirm", "confirm"},
	{"configure ...", "reload"},
	{"reload {in=import | out=export}d %p", "refresh bgp $p $d"},
	{"reload %p", "refresh bgp $p import"},
	{"restart %p", "reset bgp $p"},
	{"display fib %a ...", "show fib $a"},
	{"display [ipv6] fib ...", "show fib"},
	{"display alarm ...", "show version"},
	{"display configuration [candidate] changes ...", "show diff"},
	{"display configuration commit changes at %i", "show history $i"},
	{"display [configuration] commit {list | changes} ...", "show history"},
	{"display ip {ip-prefix | ipv6-prefix | as-path-filter | community-filter | "
	 "extcommunity-filter} ...",
		"show configuration"},
	{"display ip vpn-instance ...", "show vrf"},
	{"display bgp [ipv6] peer %p log-info", "trace peer $p"},
	{"display bgp peer log-info", "monitor events"},
	{"display bgp routing-table as-path-filter ...", "show route as-path REGEX"},
	{"display bgp routing-table community-filter ...", "show route community COMMUNITY"},
	{"display bgp routing-table label", "show route vpnv4"},
	{"display bgp {group | network} ...", "show configuration"},
	{"display bgp {paths | resource} ...", "show rib"},
	{"display {bgp slow-peer | tcp status ...}", "show bgp summary"},
	{"display bgp {vpnv4 | vpnv6}f all routing-table ...", "show route $f"},
	{"display bgp {vpnv4 | vpnv6}f all peer", "show bgp $f summary"},
	{"display bgp vpnv4 vpn-instance %v routing-table ...", "show route vpn-instance $v"},
	{"display bgp vpnv4 vpn-instance %v peer", "show bgp vpn-instance $v summary"},
	{"save ...", "commit"},
	{"clear configuration candidate", "discard"},
	{"rollback configuration to commit-id %i", "rollback $i"},
	{"reset bgp ipv4 all", "reset bgp all"},
	{"reset bgp %p graceful", "reset bgp $p"},
	{"route-map %n !a #s", "route-policy $n $a node $s"},
	{"no route-map %n [! #s]", "undo route-policy $n [node $s]"},
	{"ip prefix-list %n [seq #s] !a any",
		"ip ip-prefix $n [index $s] $a 0.0.0.0/0 less-equal 32"},
	{"ipv6 prefix-list %n [seq #s] !a any",
		"ip ipv6-prefix $n [index $s] $a ::/0 less-equal 128"},
	{"{ip=ip-prefix | ipv6=ipv6-prefix}w prefix-list %n [seq #s] !a %p [ge #g] [le #l] [ge "
	 "#g]",
		"ip $w $n [index $s] $a $p [greater-equal $g] [less-equal $l]"},
	{"no {ip=ip-prefix | ipv6=ipv6-prefix}w prefix-list %n [seq #s ...]",
		"undo ip $w $n [index $s]"},
	{"bgp as-path access-list %n [seq #s] !a %r", "ip as-path-filter $n [index $s] $a $r"},
	{"bgp {community-list=community-filter | large-community-list=large-community-filter}w "
	 "standard %n [seq #s] !a %c",
		"ip $w $n [index $s] $a $c"},
	{"bgp extcommunity-list standard %n [seq #s] !a rt %c",
		"ip extcommunity-filter $n [index $s] $a rt:$c"},
	{"{ip as-path-filter # | bgp as-path access-list} ...",
		"ip as-path-filter NAME permit REGEX"},
	{"{ip {community-filter | extcommunity-filter}w # | bgp "
	 "{community-list=community-filter | large-community-list=large-community-filter | "
	 "extcommunity-list=extcommunity-filter}w} ...",
		"ip $w NAME permit COMMUNITY"},
	{"match {" LISTS " | origin}w %v", "if-match $w $v"},
	{"match {metric=cost | local-preference | tag}w #v", "if-match $w $v"},
	{"match rpki {notfound=not-found | %s}v", "if-match rpki origin-as-validation $v $s"},
	{"match source-protocol {connected=direct | static}v", "if-match protocol $v"},
	{"no match {" LISTS " | metric=cost | local-preference | tag | origin | rpki=rpki "
	 "origin-as-validation | source-protocol=protocol}w ...",
		"undo if-match $w"},
	{"set {local-preference | metric=cost | tag}w #v", "apply $w $v"},
	{"set origin %v", "apply origin $v"},
	{"set {community | large-community}w %a [%b] [additive=additive]m", "apply $w $a $b $m"},
	{"set extcommunity rt %c", "apply extcommunity rt:$c additive"},
	{"set {comm-list=community | large-comm-list=large-community}w % delete",
		"apply $w COMMUNITY delete"},
	{"set as-path prepend #a [#b] [#c] [#d] [#e] [#f]", "apply as-path $a $b $c $d $e $f"},
	{"set {ip next-hop=ip-address next-hop | ipv6 next-hop global=ipv6 next-hop}w %a",
		"apply $w $a"},
	{"no set {local-preference | metric=cost | tag | origin | community | large-community | "
	 "as-path prepend=as-path | ip next-hop=ip-address next-hop | ipv6 next-hop}w ...",
		"undo apply $w"},
	{"[bgp] router-id %i", "set /router/router_id $i"},
};

/* The texts of the names a to z; "" at first. */
struct taken {
	struct {
		const char *text;
		size_t len;
	} name['z' - 'a' + 1];
};

struct answer {
	const char *use;
	char *out;
	size_t size;
};

/* Appends `use` up to its end or a bracket. False: a name is empty. */
static bool
use_part(const char **use, const struct taken *t, char *out, size_t size)
{
	bool full = true;
	size_t at = strlen(out);

	for (; **use != '\0' && **use != ']' && at + 1 < size; ++*use) {
		if (**use == '[') {
			++*use;
			if (!use_part(use, t, out, size))
				out[at] = '\0';
			at = strlen(out);
		} else if (**use == '$') {
			size_t i = (size_t)(*++*use - 'a'), len = t->name[i].len;

			full &= len > 0;
			len = len < size - at - 1 ? len : size - at - 1;
			memcpy(out + at, t->name[i].len > 0 ? t->name[i].text : "", len);
			at += len;
		} else if (**use != ' ' || (at > 0 && out[at - 1] != ' ')) {
			out[at++] = **use;
		}
		out[at] = '\0';
	}
	return full;
}

/* The bracket that ends the group at `p`; with `bar` the first bar before. */
static const char *
group_end(const char *p, bool bar)
{
	unsigned depth = 1;

	while (depth > 0 && !(bar && depth == 1 && *p == '|')) {
		depth += (*p == '{' || *p == '[');
		depth -= (*p == '}' || *p == ']');
		p += depth > 0;
	}
	return p;
}

static bool
is_taken(char pattern, const char *word)
{
	if (pattern == '#')
		return *word != '\0' && word[strspn(word, "0123456789")] == '\0';
	return pattern == '%' || strcmp(word, "permit") == 0 || strcmp(word, "deny") == 0;
}

static bool fits(const char *p, char *const *words, unsigned count, struct taken t,
	const struct answer *answer);

/* Tries the alternatives of the group at `p`, each with the rest of the pattern. */
static bool
group_fits(const char *p, char *const *words, unsigned count,
	struct taken t, /* NOLINT(misc-no-recursion) */
	const struct answer *answer)
{
	const char *end = group_end(p + 1, false), *from = p, *to,
		   *rest = end + 1 + (islower((unsigned char)end[1]) != 0);
	char pattern[512];

	do {
		const char *is;

		from++;
		from += strspn(from, " ");
		to = group_end(from, true);
		is = memchr(from, '=', (size_t)(to - from));
		if (is != NULL && strcspn(from, "{[") < (size_t)(is - from))
			is = NULL;
		snprintf(pattern, sizeof(pattern), "%.*s %s", (int)((is != NULL ? is : to) - from),
			from, rest);
		if (islower((unsigned char)end[1])) {
			size_t i = (size_t)(end[1] - 'a');

			t.name[i].text = is != NULL ? is + 1 : from;
			t.name[i].len = (size_t)(to - t.name[i].text);
			while (t.name[i].len > 0 && t.name[i].text[t.name[i].len - 1] == ' ')
				t.name[i].len--;
			if (is == NULL && (*p == '[' || strchr("%#!", *from) != NULL))
				t.name[i].len = 0;
		}
		if (fits(pattern, words, count, t, answer))
			return true;
		from = to;
	} while (*from == '|');
	if (*p != '[')
		return false;
	if (islower((unsigned char)end[1]))
		t.name[end[1] - 'a'].len = 0;
	return fits(rest, words, count, t, answer);
}

/* True if the words fit the pattern; then writes the answer. */
static bool
fits(const char *p, char *const *words, unsigned count,
	struct taken t, /* NOLINT(misc-no-recursion) */
	const struct answer *answer)
{
	for (size_t len;; p += len) {
		p += strspn(p, " ");
		len = strcspn(p, " ");
		if (strncmp(p, "...", 3) == 0 || (*p == '\0' && count == 0)) {
			const char *use = answer->use;

			*answer->out = '\0';
			(void)use_part(&use, &t, answer->out, answer->size);
			len = strlen(answer->out);
			if (len > 0 && answer->out[len - 1] == ' ')
				answer->out[len - 1] = '\0';
			return true;
		}
		if (*p == '{' || *p == '[')
			return group_fits(p, words, count, t, answer);
		if (*p == '\0' || count == 0)
			return false;
		if (strchr("%#!", *p) != NULL) {
			if (!is_taken(*p, *words))
				return false;
			if (len > 1) {
				t.name[p[1] - 'a'].text = *words;
				t.name[p[1] - 'a'].len = strlen(*words);
			}
		} else if (strlen(*words) != len || strncmp(p, *words, len) != 0) {
			return false;
		}
		words++;
		count--;
	}
}

bool
foreign_line(char *const *words, unsigned count, char *use, size_t size)
{
	for (unsigned i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		if (fits(foreign[i].line, words, count, (struct taken){0},
			    &(struct answer){foreign[i].use, use, size}))
			return true;
	}
	return false;
}
