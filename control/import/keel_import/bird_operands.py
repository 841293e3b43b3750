# SPDX-License-Identifier: BSD-3-Clause
"""Operands of BIRD's filters: numbers, communities, prefixes, sets, masks, attributes, names."""
import collections
import itertools

from . import texts
from .bird_filter import DEPTH_MAX, STEPS_MAX, Condition, Scope
from .bird_read import NO_NUMBER
from .texts import MOST_U32, V4, V6

EXPANDED_MAX = 4096  # communities of one element of a set
# A value is read where its name stands, and a function may reject or change the route.
VALUE_CALLS = "a value that a function computes"
ONE_ROA_TABLE = "keeld has one table of ROAs, the file has more"
NO_PART = "policies have no such part of the path"

# kind, and `value`:
#   bad; condition (a Condition); number (int); text, word (a text: a constant of BIRD); address (a text)
#   prefix (entries of a prefix list, as an address has them in `entries`); community (texts; `key`: of a list)
#   set (elements of the kind `key`, of communities `entries` is the key of a list): numbers as (low, high), entries, texts
#   mask (a regular expression; `entries`: it sees members of AS sets as BIRD does)
#   net, net.len, net.type, path, path.len, path.first, path.last, communities (`key`: of a list), local_pref, origin, next_hop, source, proto,
#   roa (`value`: the family of the table)
# `name`: of the constant.
Operand = collections.namedtuple("Operand", "kind value key entries name", defaults=(None, None, None, None))
BAD = Operand("bad")
ATTRIBUTES = {
    "bgp_community": Operand("communities", key="community"), "bgp_large_community": Operand("communities", key="large_community"),
    "bgp_ext_community": Operand("communities", key="ext_community"), "bgp_local_pref": Operand("local_pref"), "bgp_origin": Operand("origin"),
    "bgp_next_hop": Operand("next_hop"), "source": Operand("source"), "proto": Operand("proto")}


def bad(p, why):
    p.bad(why)
    return BAD


def take_number(p):
    """A number, or None, with the reason."""
    o = operand(p)
    if o.kind == "number":
        return o.value
    return p.bad("not a number")


# ---- communities ----


def _take_range(p):
    """N, N..M, or * (all numbers: (0, -1)); None: no range."""
    if p.b.take("*"):
        return 0, -1
    low = take_number(p)
    high = low if low is None or not p.b.take("..") else take_number(p)
    return None if high is None else (low, high)


def _pattern(low, high):
    return "*" if high < low else "%d-%d" % (low, high) if high > low else str(low)


def _numbers(p):
    """The parts of a community up to ")", or None."""
    parts = []
    while True:
        part = _take_range(p) if len(parts) < 3 else None
        if part is None:
            return None
        parts.append(part)
        if not p.b.take(","):
            return parts if p.b.take(")") and len(parts) > 1 else None


def _most(parts, at, kind):
    """The largest number of a part; a small number is before one of 32 bits."""
    wide = len(parts) == 3 or (kind and (at == 0 or parts[0][1] <= 65535))
    return MOST_U32 if wide else 65535


def community(p):
    """After "(": the numbers of a community, or (rt, A, B)."""
    kind = {"rt": "rt:", "ro": "soo:"}.get(p.b.peek().text) if p.b.peek(1).text == "," else None
    if kind:
        p.b.at += 2
    parts = _numbers(p)
    if parts is None or (kind and len(parts) != 2) or not all(
            high == -1 or low <= high <= _most(parts, at, kind) for at, (low, high) in enumerate(parts)):
        return bad(p, "an unknown community")
    total = 1
    for low, high in parts:
        total = EXPANDED_MAX + 1 if high < low else total if total > EXPANDED_MAX else total * (high - low + 1)
    kind = kind or ""
    if total > EXPANDED_MAX:
        values = [kind + ":".join(_pattern(*part) for part in parts)]
    else:
        values = [kind + ":".join(map(str, numbers)) for numbers in itertools.product(*(range(low, high + 1) for low, high in parts))]
    return Operand("community", values, "ext_community" if kind else "large_community" if len(parts) == 3 else "community")


# ---- prefixes ----


def _lengths(p, length, most, pattern):
    """After /LENGTH: +, -, or {LOW,HIGH}: (low, high), or None."""
    if pattern and p.b.take("+"):
        return length, most
    if pattern and p.b.take("-"):
        return 0, length
    if not pattern or not p.b.take("{"):
        return length, length
    low = take_number(p)
    high = take_number(p) if low is not None and p.b.take(",") else None
    return (low, high) if high is not None and p.b.take("}") and low <= high <= most else None


def _prefix(p, address, pattern):
    """After an address: /LENGTH and the range of lengths. Prefixes that are longer are a range of an entry; prefixes that are shorter are entries of their
    own."""
    octets, length = texts.packed(address), None
    most = 8 * len(octets)
    if p.b.take("/"):
        length = take_number(p)
        if length is None or length > most:
            return bad(p, "an unknown prefix")
    lengths = _lengths(p, most if length is None else length, most, pattern)
    if lengths is None:
        return bad(p, "an unknown range of lengths")
    low, high = lengths
    at = most if length is None else length
    entries = [{"prefix": texts.covering(octets, shorter)} for shorter in range(low, min(at, high + 1))]
    if high >= at:
        entries.append({"prefix": texts.covering(octets, at)})
        if low > at or high > at:
            entries[-1].update(ge=max(low, at), le=high)
    return Operand("prefix", entries) if length is not None else Operand("address", address, entries=entries)


# ---- sets, masks ----


def _element(p):
    """An element of a set: (operand, its values), or (BAD, None)."""
    token = p.b.peek()
    if token.kind == "address":
        p.b.at += 1
        e = _prefix(p, token.text, True)
    else:
        e = operand(p)
    if e.kind == "number":
        high = take_number(p) if p.b.take("..") else e.value
        return (e, [(e.value, high)]) if high is not None else (bad(p, "an unknown range"), None)
    if e.kind in ("prefix", "community", "address"):
        return e, e.entries if e.kind == "address" else e.value
    return (e, [e.value]) if e.kind == "word" else (bad(p, "an unknown element of a set"), None)


def _set(p):
    """After "[": the elements of a set, which are of one kind."""
    values, kind, key = [], None, None
    while not p.b.take("]"):
        e, more = _element(p)
        if more is None:
            return BAD
        if kind not in (None, e.kind) or (kind == "community" and key != e.key):
            return bad(p, "a set of several kinds")
        kind, key = e.kind, e.key
        values += more
        if not p.b.take(",") and not p.b.sees("]"):
            return bad(p, "an unknown set")
    return Operand("set", values, kind, key)


def _mask(p):
    """After "[=": a mask of AS paths, as a regular expression."""
    text, begin, any_before = "", True, False  # any_before: after `*`
    numbers = others = 0
    is_open = False  # `*` is before the first element
    while not p.b.take("=]"):
        if len(text) > 920:
            return bad(p, "the mask is too long")
        if p.b.take("*"):
            any_before = True
            continue
        if p.b.take("?"):
            others += 1
            element = "[^ ]+"
        else:
            o = operand(p)
            if o.kind != "number" or p.b.sees(".."):
                return bad(p, "the mask has an element that is no number, * or ?")
            numbers += 1
            element = str(o.value)
        is_open = any_before if begin else is_open
        text += (("_" if any_before else "^") if begin else "_(.*_)?" if any_before else "_") + element
        begin = any_before = False
    if begin:
        text = ".*" if any_before else "^$"
    else:
        text += "_" if any_before else "$"
    return Operand("mask", text, entries=numbers == 0 or (numbers == 1 and others == 0 and is_open and any_before))


# ---- names ----


def calls(p, first, end):
    """True if a function of the file is called between the tokens."""
    tokens = p.b.tokens
    return any(tokens[at].kind == "symbol" and tokens[at + 1].text == "(" and p.b.find(tokens[at].text, "function") for at in range(first, end - 1))


def bound(p, function):
    """After "(": the arguments of a call, bound to the parameters of a function: (True, scope). (False, None): a different count, or calls in them."""
    b, scope = p.b, None
    at, end = function.parameters
    while not b.take(")"):
        first = b.at
        while not b.sees(",", ")"):
            if b.ended:
                return False, None
            if b.sees("(", "[", "{"):
                b.skip_brackets()
            else:
                b.at += 1
        value = first, b.at
        if calls(p, *value):
            p.bad(VALUE_CALLS)
            return False, None
        b.take(",")
        # the parameter: the last symbol before the separator
        name = None
        while at < end and b.tokens[at].text not in (";", ","):
            name = b.tokens[at].text if b.tokens[at].kind == "symbol" else name
            at += 1
        at += 1
        if name is None:
            return False, None
        scope = Scope(name, value, p.scope, scope)
    return at >= end, scope


def _operand_at(p, value, scope):
    """The value of tokens elsewhere."""
    from .bird_conditions import expression
    b = p.b
    old = b.at, b.end, p.scope
    (b.at, b.end), p.scope = value, scope
    o = operand(p)
    if o.kind == "bad" or b.at != b.end:
        b.at, p.why = value[0], None
        c = expression(p)
        o = Operand("condition", c) if c is not None and b.at == b.end else bad(p, "an expression that policies cannot compute")
    b.at, b.end, p.scope = old
    return o


def _roa_check(p):
    """roa_check(TABLE [, net, bgp_path.last])"""
    b = p.b
    if not b.sees("("):
        return bad(p, "an unknown call")
    found = b.find(b.peek(1).text, "roa4", "roa6")
    words = [b.peek(ahead).text for ahead in range(2, 9)]
    if words[0] == "," and words not in ([",", "net", ",", "bgp_path", ".", last, ")"] for last in ("last", "last_nonaggregated")):
        return bad(p, "validation is of the prefix and the last AS number")
    b.skip_brackets()
    if found is None:
        return bad(p, "an unknown ROA table")
    if b.roa_tables[found.kind] > 1:
        return bad(p, ONE_ROA_TABLE)
    if not b.roa_cached[found.kind]:
        return bad(p, "no cache of the table is carried")
    return Operand("roa", V4 if found.kind == "roa4" else V6)


def _part_of(p, name, parts, missing):
    """An attribute with parts behind a dot; None: `missing`."""
    after = p.b.peek(1).text
    if p.b.peek().text != ".":
        return Operand(name)
    if after in parts:
        p.b.at += 2
        return Operand("%s.%s" % (name, after))
    return bad(p, missing) if missing else Operand(name)


def attribute(p, name):
    """An attribute of the route, a constant of BIRD, true or false."""
    if name in ATTRIBUTES:
        return ATTRIBUTES[name]
    if name == "bgp_path":
        return _part_of(p, "path", ("len", "first", "last"), NO_PART)
    if name == "net":
        return _part_of(p, "net", ("len", "type"), None)
    if name in ("true", "false"):
        return Operand("condition", Condition(name))
    if name.startswith(("ROA_", "RTS_", "NET_", "ORIGIN_")):
        return Operand("word", name)
    return bad(p, "policies have no such value")


def _symbol(p, name):
    if name == "roa_check":
        return _roa_check(p)
    scope = p.scope
    while scope is not None and scope.name != name:
        scope = scope.next
    if scope is not None:
        return _operand_at(p, scope.value, scope.scope) if scope.value else bad(p, "a variable without a value here")
    found = p.b.find(name, "constant", "function")
    if found is not None and found.kind == "constant":
        found.used = True
        return _operand_at(p, found.value, None)._replace(name=name)
    if found is not None and p.b.take("("):
        fits, scope = bound(p, found)
        return Operand("condition", Condition("call", function=found, scope=scope)) if fits else bad(p, "a call with other parameters")
    return attribute(p, name)


def _brackets(p):
    """After "(": a community, or an expression."""
    from .bird_conditions import expression
    at = p.b.at
    o = community(p)
    if o.kind == "bad" and "communities" not in (p.why or ""):
        p.b.at, p.why = at, None
        c = expression(p)
        o = Operand("condition", c) if c is not None and p.b.take(")") else bad(p, "an expression that policies cannot compute")
    return o


def _not(p):
    o = operand(p)
    return Operand("condition", Condition("not", o.value)) if o.kind == "condition" else bad(p, "not a condition after !")


def _operand_of(p, token):
    if token.kind == "number":
        return Operand("number", token.number) if token.number != NO_NUMBER else bad(p, "a number of more than 32 bits")
    if token.kind == "address":
        return _prefix(p, token.text, False)
    if token.kind == "text":
        return Operand("text", token.text)
    if token.kind == "symbol":
        return _symbol(p, token.text)
    marks = {"[": _set, "[=": _mask, "!": _not, "(": _brackets}
    return marks[token.text](p) if token.text in marks else bad(p, "an unknown expression")


def operand(p):
    """Takes the tokens of an operand."""
    p.steps += 1
    if p.steps > STEPS_MAX or p.depth >= DEPTH_MAX:
        return bad(p, "the filter is too large")
    if p.b.ended:
        return bad(p, "an incomplete expression")
    p.depth += 1
    o = _operand_of(p, p.b.next())
    p.depth -= 1
    return o
