# SPDX-License-Identifier: BSD-3-Clause
"""Route policies as policy text (docs/policy.md). Jumps become if and else. A policy whose nodes have no such form stays in the document: a key, a name or
a community that the text cannot express, jumps that cross each other too often, too many levels."""
import re

from .policies import LIST_KEYS, callees_first
from .texts import most_bits, safe

# keeld takes 64 levels of statements and conditions, and 256 comparisons of a condition.
STATEMENTS_MAX, CONDITIONS_MAX, COMPARISONS_MAX = 30, 25, 200
NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_]|[.-](?=[A-Za-z0-9]))*")
RESERVED = frozenset((
    "include define function policy accept reject return if then else call add delete prepend or and not true false first peer self discard igp egp "
    "incomplete rt soo net next_hop path communities large_communities ext_communities origin source family validation med local_pref tag origin_as first_as "
    "no-export no-advertise no-export-subconfed no-peer graceful-shutdown blackhole accept-own llgr-stale no-llgr").split())
# Values that are compared with words, and those that are compared with numbers.
WORDS = {"origin": "origin", "source": "source", "family": "family", "validation": "validation", "peer": "peer.address"}
NUMBERS = {"local_pref": "local_pref", "med": "med", "tag": "tag", "as_path_length": "path.len"}
SETS = {"prefix_list": "net", "next_hop_prefix_list": "next_hop", "community_list": "communities", "large_community_list": "large_communities",
        "ext_community_list": "ext_communities"}


class Unfit(Exception):
    """The policy has no form as text."""


def _name(text):
    if not NAME.fullmatch(text) or text in RESERVED:
        raise Unfit(text)
    return text


def _each(value):
    return value if isinstance(value, list) else [value]


# ---- conditions ----

# A condition is a text, ("not", [condition]), ("and", conditions) or ("or", conditions).


def _joined(parts, word):
    flat = []
    for part in parts:
        flat += part[1] if part[0] == word else [part]
    if len(flat) > 2 * COMPARISONS_MAX:
        raise Unfit(word)
    parts = [part for at, part in enumerate(flat) if part not in flat[:at]]
    return parts[0] if len(parts) == 1 else (word, parts)


def _negated(condition):
    word, parts = condition if isinstance(condition, tuple) else (None, ())
    if word == "not":
        return parts[0]
    if word and all(part[0] == "not" for part in parts):
        return {"and": "or", "or": "and"}[word], [part[1][0] for part in parts]
    return "not", [condition]


def _shown(condition, level=0):
    """The text of a condition; `level`: of the conditions around it."""
    if level > CONDITIONS_MAX:
        raise Unfit("levels")
    if isinstance(condition, str):
        return condition
    word, parts = condition
    if word == "not":
        return "not " + _shown(parts[0], level + 1)
    text = (" %s " % word).join(_shown(part, level + 1) for part in parts)
    return "(%s)" % text if level else text


def _comparisons(condition):
    return 1 if isinstance(condition, str) else sum(map(_comparisons, condition[1]))


def _number(name, value):
    if isinstance(value, int):
        return "%s = %d" % (name, value)
    low, high = value.get("ge", 0), value.get("le", 0xffffffff)
    if low == high:
        return "%s = %d" % (name, low)
    parts = (["%s >= %d" % (name, low)] if low > 0 else []) + (["%s <= %d" % (name, high)] if high < 0xffffffff else [])
    return _joined(parts or ["true"], "and")


def _first_match(entries, test):
    """The condition of a list whose first matching entry decides. test(entry): the condition of an entry."""
    condition = []
    if len(entries) > COMPARISONS_MAX:
        raise Unfit("entries")
    for entry in reversed(entries):
        if entry["action"] == "permit":
            condition = [test(entry), *condition]
        elif condition:
            condition = [("and", [_negated(test(entry)), _joined(condition, "or")])]
    return _joined(condition or ["false"], "or")


def _matches_path(entry):
    if '"' in entry["regex"] or not entry["regex"].isprintable():
        raise Unfit(entry["regex"])
    return 'path ~ "%s"' % entry["regex"]


def _element(entry):
    """An entry as an element of a set."""
    if "prefix" not in entry:
        return _community(next(value for key, value in entry.items() if key.endswith("community")))
    prefix = entry["prefix"]
    length, most = int(prefix.partition("/")[2]), most_bits(prefix)
    low, high = entry.get("ge", length), entry.get("le", most if "ge" in entry else length)
    return prefix + ("" if low == high == length else "+" if (low, high) == (length, most) else "{%d,%d}" % (low, high))


def _in_list(im, key, name):
    """The name of a list stands for it, but not where a policy has the name."""
    entries = im.found(LIST_KEYS[key], name)["entries"]
    if key == "as_path_list":
        return _first_match(entries, _matches_path)
    if entries and NAME.fullmatch(name) and im.found("route_policies", name) is None:
        return "%s ~ %s" % (SETS[key], name)
    if entries and all(entry["action"] == "permit" for entry in entries):
        return "%s ~ [%s]" % (SETS[key], ", ".join(map(_element, entries)))
    return _first_match(entries, lambda entry: "%s ~ [%s]" % (SETS[key], _element(entry)))


def _leaf(im, key, value):
    if key == "not":
        if len(value) != 1:
            raise Unfit(key)
        return _negated(_leaf(im, *next(iter(value.items()))))
    if key in LIST_KEYS:
        parts = [_in_list(im, key, name) for name in _each(value)]
    elif key in WORDS:
        parts = ["%s = %s" % (WORDS[key], word) for word in _each(value)]
    elif key in NUMBERS:
        parts = [_number(NUMBERS[key], number) for number in _each(value)]
    else:
        raise Unfit(key)
    return _joined(parts, "or")


def _condition(im, match):
    """The condition of a node; None: every route."""
    return _joined([_leaf(im, *item) for item in match.items()], "and") if match else None


# ---- changes ----


def _community(text):
    parts = text.replace("-", "..").split(":")
    if len(parts) == 1:
        return text
    if not all(re.fullmatch(r"\d+(\.\.\d+)?|\*|rt|soo", part) for part in parts):
        raise Unfit(text)
    return "(%s)" % ", ".join(parts)


def _communities(key, change):
    lines = ["delete %s;" % key] if "replace" in change else []
    for verb, values in (("add", change.get("replace")), ("delete", change.get("remove")), ("add", change.get("add"))):  # the order of a node
        if values:
            values = [_community(value) for value in values]
            lines.append("%s %s;" % (verb, values[0] if len(values) == 1 else "[%s]" % ", ".join(values)))
    return lines


def _changes(node):
    lines = ["call %s;" % _name(node["call"])] if "call" in node else []
    for key, value in node.get("set", {}).items():
        if key in ("communities", "large_communities", "ext_communities"):
            lines += _communities(key, value)
        elif key == "as_path_prepend":
            lines.append("prepend(%s, %d);" % (value["asn"], value["count"]))
        elif isinstance(value, dict):
            lines += ["%s %s %d;" % (key, {"add": "+=", "subtract": "-="}[how], n) for how, n in value.items()]
        else:
            lines.append("%s = %s;" % (key, value))
    return lines


# ---- structure ----


class _Node:
    """`condition`: None for every route. `to`: the node that it jumps to, or None: `end` decides. `at`: its index.
    `join`: where the walks behind the node come together; None: it ends all walks."""

    __slots__ = ("condition", "body", "to", "end", "note", "at", "join")

    def __init__(self, im, node):
        self.condition, self.body = _condition(im, node.get("match")), _changes(node)
        self.to, self.end = None, "accept;" if node["action"] == "permit" else "reject;"
        self.note = node.get("description")
        self.at = self.join = None


def _nodes(im, policy):
    """The nodes with their jumps."""
    nodes = [_Node(im, node) for node in policy["nodes"]]
    numbers = {node["seq"]: at for at, node in enumerate(policy["nodes"])}
    for made, node in zip(nodes, policy["nodes"]):
        if "goto" in node:
            if node["goto"] not in numbers:
                raise Unfit("goto")
            made.to = nodes[numbers[node["goto"]]]
    # a route that has jumped, and that no further node matches, is permitted
    if any(node.to for node in nodes) and (nodes[-1].condition is not None or nodes[-1].to is not None):
        raise Unfit("end")
    return nodes


def _is_plain(node):
    """True for a jump with a condition, and nothing else."""
    return node.condition is not None and node.to is not None and not node.body


def _merged(nodes, targets):
    """Two conditions with one target become one."""
    out = nodes[:1]
    for node in nodes[1:]:
        before = out[-1]
        if id(node) not in targets and _is_plain(before) and _is_plain(node) and before.to is node.to:
            before.condition = _joined([before.condition, node.condition], "or")
        else:
            out.append(node)
    return out


def _without_detours(nodes, targets):
    """`if a goto next; goto l; next:` becomes `if not a goto l`."""
    out, at = [], 0
    while at < len(nodes):
        node, detour = nodes[at], nodes[at + 1] if at + 2 < len(nodes) else None
        if detour is not None and _is_plain(node) and node.to is nodes[at + 2] and detour.condition is None and detour.to is not None and \
           not detour.body and id(detour) not in targets:
            node.condition, node.to, at = _negated(node.condition), detour.to, at + 1
        out.append(node)
        at += 1
    return out


def _simplified(nodes):
    count = 0
    while count != len(nodes):
        count = len(nodes)
        for simpler in (_merged, _without_detours):
            nodes = simpler(nodes, {id(node.to) for node in nodes if node.to})
    return nodes


def _meet(a, b):
    """Where the walks behind both nodes come together; the one whose walks end later, where they do not."""
    mine, theirs = a, b
    while mine is not theirs:
        if mine.at < theirs.at:
            mine = mine.join
        else:
            theirs = theirs.join
        if mine is None or theirs is None:
            return b if mine is None else a
    return mine


def _is_short(lines):
    """True for one statement that needs no braces. An `else` behind an `if` would belong to that."""
    return len(lines) == 1 and not lines[0].lstrip().startswith(("#", "if "))


class _Writer:
    """Writes the statements of a policy. Each walk through the nodes is a walk through the statements, wherever the joins are; they only keep the text
    short, which `left` bounds."""

    def __init__(self, nodes):
        self.nodes, self.left = nodes, 3 * len(nodes) + 30
        for at, node in reversed(list(enumerate(nodes))):
            node.at = at
            following = self._following(node) if node.condition is not None else None
            node.join = _meet(node.to, following) if node.to and following else node.to or following

    def _following(self, node):
        return self.nodes[node.at + 1] if node.at + 1 < len(self.nodes) else None

    def statements(self, node, stop, indent, lines):
        """Writes the walk from a node up to `stop`. True: each walk has ended before."""
        while node is not stop:
            self.left -= 1
            if self.left < 0 or len(indent) > 4 * STATEMENTS_MAX:
                raise Unfit("size")
            if node is None:  # behind the last node
                lines.append(indent + "reject;")
                return True
            if node.note:
                lines.append("%s# %s" % (indent, safe(node.note)))
            if node.condition is None:
                lines += [indent + line for line in node.body]
                if node.to is None:
                    lines.append(indent + node.end)
                    return True
                node = node.to
            elif node.to is None:
                self._if(node.condition, [indent + "    " + line for line in [*node.body, node.end]], indent, lines)
                node = self._following(node)
            else:
                node = self._jump(node, indent, lines)
        return False

    def _jump(self, node, indent, lines):
        """A condition and a jump. Returns the node where the walks go on."""
        following, inner = self._following(node), indent + "    "
        inside, outside = [inner + line for line in node.body], []
        if self.statements(node.to, node.join, inner, inside):
            self._if(node.condition, inside, indent, lines)
            return following
        if self.statements(following, node.join, inner, outside):
            self._if(_negated(node.condition), outside, indent, lines)
            lines += [indent + line for line in node.body]
            return node.to
        condition = node.condition
        if not inside or (outside and condition[0] == "not"):
            condition, inside, outside = _negated(condition), outside, inside
        if inside:
            self._if(condition, inside, indent, lines)
        if outside:
            self._else(outside, indent, lines)
        return node.join

    @staticmethod
    def _else(inside, indent, lines):
        """`else` of the statement before. A statement `if` alone goes on in its line."""
        inner, begin = indent + "    ", indent + "else {"
        if lines[-1] == indent + "}":
            begin = lines.pop() + " else {"
        outer = [line for line in inside if line[len(inner)] not in " }"]
        if len(outer) <= 2 and all(line.startswith(inner + word) for line, word in zip(outer, ("if ", "else"))):
            inside = [line[4:] for line in inside]
            lines += [begin[:-1] + inside[0].lstrip(), *inside[1:]]
        elif _is_short(inside):
            lines.append(begin[:-1] + inside[0].lstrip())
        else:
            lines += [begin, *inside, indent + "}"]

    @staticmethod
    def _if(condition, inside, indent, lines):
        text = _shown(condition)
        if _comparisons(condition) > COMPARISONS_MAX:
            raise Unfit("comparisons")
        begin = "%sif %s then " % (indent, text)
        lines += [begin + inside[0].lstrip()] if _is_short(inside) else [begin + "{", *inside, indent + "}"]


def policy_text(im):
    """The text of the policies that have one; they leave the document."""
    policies, texts, left = im.document.get("route_policies", {}), [], []
    for name in callees_first(im):
        try:
            lines, nodes = ["policy %s {" % _name(name)], _simplified(_nodes(im, policies[name]))
            if nodes:
                _Writer(nodes).statements(nodes[0], None, "    ", lines)
        except Unfit:
            continue
        texts.append("\n".join([*lines, "}\n"]))
        left.append(name)
    for name in left:
        del policies[name]
    return "\n".join(texts)
