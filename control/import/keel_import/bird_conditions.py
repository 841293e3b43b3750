# SPDX-License-Identifier: BSD-3-Clause
"""Conditions of BIRD's filters: comparisons of operands, and the lists that the comparisons need."""
import json

from . import texts
from .bird_filter import COMMUNITIES, DEPTH_MAX, EXT, LARGE, LOCAL_PREF, NEXT_HOP, ORIGIN, PATH, Condition
from .bird_operands import Operand, operand
from .texts import MOST_U32, V4, V6

OPERATORS = ("=", "!=", "<", ">", "<=", ">=", "~", "!~")
# {(operand, constant of BIRD): (key of `match`, value)}
WORDS = {("origin", "ORIGIN_IGP"): ("origin", "igp"), ("origin", "ORIGIN_EGP"): ("origin", "egp"),
         ("origin", "ORIGIN_INCOMPLETE"): ("origin", "incomplete"), ("source", "RTS_BGP"): ("source", ["external", "internal"]),
         ("source", "RTS_STATIC"): ("source", "static"), ("source", "RTS_DEVICE"): ("source", "connected"), ("net.type", "NET_IP4"): ("family", V4),
         ("net.type", "NET_IP6"): ("family", V6), ("roa", "ROA_VALID"): ("validation", "valid"), ("roa", "ROA_INVALID"): ("validation", "invalid"),
         ("roa", "ROA_UNKNOWN"): ("validation", "not-found")}
READS = {"community": COMMUNITIES, "large_community": LARGE, "ext_community": EXT}


def _leaf(key, value, reads=0):
    """A condition of one member of `match`."""
    return Condition("leaf", match={key: value}, reads=reads)


def _any_of(conditions):
    found = None
    for c in conditions:
        found = c if found is None else Condition("or", found, c)
    return found


# ---- lists ----


def _list(p, section, constant, kind, entries):
    """The name of the list with the entries (a function that makes them): the list of the constant, a list with the same entries, or a new one. A list
    without a name of its own is shared."""
    im, shared = p.b.im, p.b.shared
    lists = im.section(section)
    if constant is not None:
        suffix = "-" + kind if kind else ""
        # other names can have the same beginning
        name = im.unique("list %s %s" % (constant, kind), texts.name_text(constant)[:44] + suffix)
        if name in lists:
            return name
        made = entries()
        key = section, json.dumps(made)
    else:
        made = entries()
        key = section, json.dumps(made)
        if key in shared:
            return shared[key]
        name = None
        while name is None or name in lists:
            p.lists += 1
            name = "%s-%d" % (p.name[:40], p.lists)
    lists[name] = {"name": name, "entries": made}
    shared[key] = name
    return name


def _permits(key, values):
    return [{"action": "permit", key: value} for value in values]


def _on_prefixes(p, key, constant, entries, reads=0):
    """A condition on the prefix (or the next hop) with entries of a prefix list."""
    return _leaf(key, _list(p, "prefix_lists", constant, "", lambda: [{**entry, "action": "permit"} for entry in entries]), reads)


def _on_lengths(p, low, high):
    """Lengths of both families."""
    if low > high or low > 128:
        return Condition("false")
    entries = [{"prefix": "0.0.0.0/0", "ge": low, "le": min(high, 32)}] if low <= 32 else []
    return _on_prefixes(p, "prefix_list", None, entries + [{"prefix": "::/0", "ge": low, "le": min(high, 128)}])


def number_regexes(low, high, before, after):
    """Regular expressions for the numbers from `low` to `high`: blocks of a power of ten, with the digits before the block as a class."""
    while low <= high:
        block, zeros = 1, 0
        while low > 0 and low % (block * 10) == 0 and low + block * 10 - 1 <= high:
            block, zeros = block * 10, zeros + 1
        first = last = low // block
        while last % 10 < 9 and (last + 2) * block - 1 <= high:
            last += 1
        digit = str(first % 10) if first == last else "[%d-%d]" % (first % 10, last % 10)
        yield "%s%s%s%s%s" % (before, first // 10 or "", digit, ("", "[0-9]", "[0-9]{%d}" % zeros)[min(zeros, 2)], after)
        low = (last + 1) * block


def _on_numbers(p, numbers, constant, kind, before, after):
    """A condition on an AS number of the path, at the place that the text around the number says. `numbers`: [(low, high)]"""
    def entries():
        regexes = []
        # the first and the last number of an empty path are 0, as they are of a path that begins or ends with an AS set
        if kind != "any" and any(low == 0 for low, _ in numbers):
            regexes += ["^$", "^\\{" if kind == "first" else "\\}$"]
        for low, high in numbers:
            regexes += number_regexes(low, high, before, after)
        return _permits("regex", regexes)
    return _leaf("as_path_list", _list(p, "as_path_lists", constant, kind, entries), PATH)


def _on_communities(p, key, o):
    """`key`: of an entry of the list; `o`: a set, or a community."""
    kind = o.entries if o.kind == "set" else o.key
    if kind is not None and kind != key:
        return p.bad("a community of another kind")
    name = _list(p, key + "_lists", o.name, "", lambda: _permits(key, o.value))
    c = _leaf(key + "_list", name, READS[key])
    # a change of one of these values matters, not of all
    c.reads, c.values = READS[key], o.value
    return c


# ---- comparisons ----


def _range_of(op, n):
    """The range of numbers of a comparison; None: no range."""
    return {"=": (n, n), "<": (0, n - 1), ">": (n + 1, MOST_U32), "<=": (0, n), ">=": (n, MOST_U32)}.get(op)


def _on_range(p, left, op, right):
    """LOCAL_PREF, the lengths of prefix and path: compared with a number, or in a set of numbers."""
    if right.kind == "set" and right.key == "number" and op == "~":
        found = _any_of(Condition("and", _on_range(p, left, ">=", Operand("number", low)), _on_range(p, left, "<=", Operand("number", high)))
                        for low, high in right.value)
        return found or Condition("false")
    numbers = _range_of(op, right.value) if right.kind == "number" else None
    if numbers is None:
        return p.bad("not a comparison with a number")
    low, high = numbers
    if low > high:
        return Condition("false")
    if left.kind == "net.len":
        return _on_lengths(p, low, high)
    key, reads = ("as_path_length", PATH) if left.kind == "path.len" else ("local_pref", LOCAL_PREF)
    return _leaf(key, {"ge": low, "le": high}, reads)


def _on_word(p, left, word):
    found = WORDS.get((left.kind, word))
    if found is None:
        unknown_source = left.kind == "source" and word.startswith("RTS_")
        return p.bad("routes of this source are not in keeld" if unknown_source else "an unknown comparison")
    c = _leaf(*found, ORIGIN if left.kind == "origin" else 0)
    if left.kind != "roa":
        return c
    # a table has the prefixes of one family; prefixes of the other family are unknown
    family = _leaf("family", left.value)
    return Condition("or", Condition("not", family), c) if word == "ROA_UNKNOWN" else Condition("and", family, c)


def _on_net(p, left, op, right):
    if op == "~" and right.kind == "prefix" and len(right.value) == 1:
        text = right.value[0]["prefix"]
        return _on_prefixes(p, "prefix_list", None, [{"prefix": text, "le": texts.most_bits(text)}])
    if (op == "=" and right.kind == "prefix") or (op == "~" and right.kind == "set" and right.key in ("prefix", None)):
        return _on_prefixes(p, "prefix_list", right.name, right.value)
    return p.bad("an unknown comparison")


def _on_next_hop(p, left, op, right):
    if op == "=" and right.kind == "address":
        return _on_prefixes(p, "next_hop_prefix_list", right.name, right.entries, NEXT_HOP)
    if op == "~" and right.kind == "set" and right.key == "address":
        return _on_prefixes(p, "next_hop_prefix_list", right.name, right.value, NEXT_HOP)
    return p.bad("an unknown comparison")


def _on_path(p, left, op, right):
    if right.kind == "mask":
        if not right.entries:
            p.b.note(p.b.tokens[p.b.at - 1].line, "changed: members of an AS set (RFC 9774) do not match the numbers of the mask")
        return _leaf("as_path_list", _list(p, "as_path_lists", None, "", lambda: _permits("regex", [right.value])), PATH)
    if op == "~" and right.kind == "set" and right.key in ("number", None):
        return _on_numbers(p, right.value, right.name, "any", "_", "_")
    return p.bad("an unknown comparison")


def _on_path_end(p, left, op, right):
    """The first or the last AS number of the path."""
    if op == "=" and right.kind == "number":
        numbers = [(right.value, right.value)]
    elif op == "~" and right.kind == "set" and right.key == "number":
        numbers = right.value
    else:
        return p.bad("an unknown comparison")
    around = ("first", "^", "_") if left.kind == "path.first" else ("last", "(^|[ ])", "$")
    return _on_numbers(p, numbers, right.name, *around)


def _on_proto(p, left, op, right):
    if op != "=" or right.kind != "text":
        return p.bad("an unknown comparison")
    if p.b.find(right.value, "static") is None or p.b.static_count != 1:
        return p.bad("policies do not know protocols by their names")
    return _leaf("source", "static")


def _on_words(p, left, op, right):
    if op == "=" and right.kind == "word":
        return _on_word(p, left, right.value)
    if op != "~" or right.kind != "set" or right.key != "word":
        return p.bad("an unknown comparison")
    conditions = [_on_word(p, left, word) for word in right.value]
    return None if None in conditions else _any_of(conditions)


def _on_set(p, left, op, right):
    if op == "~" and right.kind == "set" and right.key in ("community", None):
        return _on_communities(p, left.key, right)
    return p.bad("an unknown comparison")


BY_KIND = {"net": _on_net, "next_hop": _on_next_hop, "path": _on_path, "path.first": _on_path_end, "path.last": _on_path_end, "communities": _on_set,
           "proto": _on_proto, "origin": _on_words, "source": _on_words, "net.type": _on_words, "roa": _on_words, "net.len": _on_range,
           "path.len": _on_range, "local_pref": _on_range}


def _of_constants(left, op, right):
    """A comparison whose result is known, or of a condition with true or false; None: another."""
    numbers = _range_of(op, right.value) if left.kind == right.kind == "number" else None
    if numbers is not None:
        return Condition("true" if numbers[0] <= left.value <= numbers[1] else "false")
    if left.kind == right.kind == "condition" and op == "=" and right.value.kind in ("true", "false"):
        return left.value if right.value.kind == "true" else Condition("not", left.value)
    return None


def _undefined(p, left, op, c):
    """A static or connected route has no BGP attributes in an export filter of BIRD: the attribute is less than all values, `~` ends the filter with an
    error, which rejects the route, and `case` goes to `else`."""
    if c is None or not p.undefined or left.kind not in ("local_pref", "origin", "next_hop"):
        return c
    if op == "~" and not p.in_case:
        return Condition("defined", c)
    received = _leaf("source", ["external", "internal"])
    return Condition("or", Condition("not", received), c) if op in ("<", "<=") else Condition("and", received, c)


def compared(p, left, op, right):
    """The condition of a comparison. None: not carried."""
    if left.kind == "bad" or right.kind == "bad":
        return None
    negative = op in ("!=", "!~")
    op = op[1:] if negative else op
    if op == "~" and right.kind == "communities" and left.kind == "community":
        c = _on_communities(p, right.key, left)
    elif op == "~" and right.kind == "path" and left.kind == "number":
        c = _on_numbers(p, [(left.value, left.value)], left.name, "any", "_", "_")
    else:
        c = _of_constants(left, op, right)
        if c is None:
            c = BY_KIND[left.kind](p, left, op, right) if left.kind in BY_KIND else p.bad("an unknown comparison")
    c = _undefined(p, left, op, c)
    return Condition("not", c) if c is not None and negative else c


def _comparison(p):
    left = operand(p)
    if left.kind != "bad" and p.b.sees(*OPERATORS):
        return compared(p, left, p.b.next().text, operand(p))
    return left.value if left.kind == "condition" else p.bad("an expression that is not a condition")


def expression(p):
    """Takes the tokens of a condition. None: the reason is in p.why. `&&` and `||` have one precedence in BIRD, from left to right."""
    p.depth += 1
    c = _comparison(p) if p.depth <= DEPTH_MAX else p.bad("the expression is too deep")
    while c is not None and p.b.sees("&&", "||"):
        kind = "and" if p.b.next().text == "&&" else "or"
        other = _comparison(p)
        c = None if other is None else Condition(kind, c, other)
    p.depth -= 1
    return c
