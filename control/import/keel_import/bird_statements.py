# SPDX-License-Identifier: BSD-3-Clause
"""Statements of BIRD's filters: if, case, changes of attributes, variables, calls."""
from . import texts
from .bird_conditions import compared, expression
from .bird_filter import COMMUNITIES, DEPTH_MAX, EXT, FIRST_AS, LARGE, LOCAL_PREF, MED, NEXT_HOP, ORIGIN, PATH, STEPS_MAX, Condition, Scope
from .bird_operands import VALUE_CALLS, Operand, attribute, bound, calls, operand, take_number
from .document import PREPEND_MAX

TYPES = frozenset(("int", "bool", "ip", "prefix", "pair", "quad", "ec", "lc", "rd", "string", "bgpmask", "bgppath", "clist", "eclist", "lclist"))
# {key of a list: (key of `set`, what changes)}
KINDS = {"community": ("communities", COMMUNITIES), "large_community": ("large_communities", LARGE), "ext_community": ("ext_communities", EXT)}
NUMBERS = {"bgp_local_pref": ("local_pref", LOCAL_PREF), "bgp_med": ("med", MED)}
ORIGINS = {"ORIGIN_IGP": "igp", "ORIGIN_EGP": "egp"}


# ---- what is not carried ----


def _skip_simple(b, *marks):
    """Takes tokens up to one of the marks; brackets are taken whole."""
    while not b.ended and not b.sees(*marks):
        if b.sees("(", "[", "{"):
            b.skip_brackets()
        else:
            b.at += 1


def _skip_statement(b):
    """Takes one statement without a look at its meaning. An `else` belongs to the last `if` before it."""
    ifs = 0
    while True:
        while b.sees("if", "for"):
            end = "then" if b.peek().text == "if" else "do"
            ifs += end == "then"
            _skip_simple(b, end)
            b.take(end)
        if b.sees("{"):
            b.skip_brackets()
        else:
            _skip_simple(b, ";", *(("{",) if b.sees("case") else ()))
            if b.sees("{"):
                b.skip_brackets()
            else:
                b.take(";")
        if ifs == 0 or not b.take("else"):
            return
        ifs -= 1


def _not_carried(p, at):
    """The statement from `at` on is not carried: the filter rejects here."""
    b = p.b
    first, b.at = b.tokens[at].line, at
    _skip_statement(b)
    if b.at == at:
        b.at = min(at + 1, max(at, b.end))
    last = b.tokens[max(b.at - 1, at)].line
    b.note(first, "not carried: %s; the policy rejects here" % (p.why or "policies have no such statement"))
    for line in range(first + 1, last + 1):
        b.note(line, "not carried: part of line %d" % b.lines[first].number)
    p.why = None
    p.leave("deny")


def _usable(p):
    """A condition whose attributes the filter has not changed before; None: not carried."""
    c = expression(p)
    if c is not None and p.sees_change(c):
        return p.bad("the condition sees an attribute that the filter has changed before; conditions see the route as received")
    return c


# ---- blocks, if, case ----


def _scope_end(p, outer):
    """The end of a block or branch. A variable of the outer scope that the block has set has no value any more: the value depends on the way."""
    s = p.scope
    while s is not outer and s is not None:
        o = outer
        while o is not None:
            if o.name == s.name:
                o.value = None
            o = o.next
        s = s.next
    p.scope = outer


def _block(p):
    outer = p.scope
    while not p.b.sees("}") and not p.b.ended:
        statement(p)
    p.b.take("}")
    _scope_end(p, outer)


def _collapse(p, match, start, first_label):
    """The branch is one node without a condition: the condition of the `if` goes into that node. `first_label`: of the `if`."""
    if match is None or len(p.nodes) != start + 3 or "match" in p.nodes[start + 2]:
        return False
    p.nodes[start + 2]["match"] = match
    del p.nodes[start:start + 2]
    for label in p.labels[first_label:]:
        if label.place is not None and label.place >= start + 2:
            label.place -= 2
    return True


def _if(p, at):
    c, was, scope = _usable(p), p.reachable, p.scope
    if c is None or not p.b.take("then"):
        _not_carried(p, at)
        return
    first_label = len(p.labels)
    yes, no, end = p.label(), p.label(), p.label()
    p.flush()
    match = c.match if was else None
    start = len(p.nodes)
    if match is not None:
        p.append("permit", match, None, yes)
        p.leave("permit", no)
    else:
        p.branch(c, yes, no, yes)
        p.reachable = False
    p.place(yes)
    statement(p)
    _scope_end(p, scope)
    p.flush()
    one, goes_on = _collapse(p, match, start, first_label), p.reachable
    if p.b.take("else"):
        if goes_on and one:
            p.nodes[start]["label"] = end
            p.jump(end)
        elif goes_on:
            p.leave("permit", end)
        p.reachable = False
        p.place(no)
        statement(p)
        _scope_end(p, scope)
        p.flush()
    else:
        p.place(no)
    p.place(end)


def _is_branch(b):
    """True at the values of a branch of `case`, before `:`."""
    token = b.peek()
    return token.kind == "number" or token.text == "(" or (token.kind == "symbol" and b.peek(1).text in (":", ",", ".."))


def _branch_ends(b):
    return _is_branch(b) or b.sees("else", "}") or b.ended


def _is_last_branch(b):
    """True if the branch from here on is the last of its `case`."""
    at = b.at
    b.take(":")
    while not _branch_ends(b):
        _skip_statement(b)
    last, b.at = b.sees("}"), at
    return last


def _branch_value(p, left):
    """One value of a branch: its condition, or None."""
    right = operand(p)
    if right.kind == "number" and p.b.take(".."):
        high = take_number(p)
        right = Operand("set", [(right.value, high or 0)], "number")
    p.in_case = True
    c = compared(p, left, "~" if right.kind == "set" else "=", right)
    p.in_case = False
    return c


def _branch_condition(p, left):
    """The values of a branch, or `else`: the condition, or None."""
    if p.b.take("else"):
        return Condition("true") if _is_last_branch(p.b) else p.bad("a branch behind else")
    c = _branch_value(p, left)
    while c is not None and p.b.take(","):
        one = _branch_value(p, left)
        c = None if one is None else Condition("or", c, one)
    return c


def _case(p, at):
    b, left, end, scope = p.b, operand(p), p.label(), p.scope
    if left.kind == "bad" or not b.take("{"):
        _not_carried(p, at)
        return
    while not b.take("}") and not b.ended:
        c = _branch_condition(p, left)
        if c is None or not b.take(":") or p.sees_change(c):
            _not_carried(p, at)
            p.place(end)
            return
        yes, no = p.label(), p.label()
        p.branch(c, yes, no, yes)
        p.reachable = False
        p.place(yes)
        while not _branch_ends(b):
            statement(p)
        _scope_end(p, scope)
        p.leave("permit", end)
        p.place(no)
    p.place(end)


# ---- changes of attributes ----


def _change_communities(p, key, verb, o=None):
    """add, delete, empty of communities. False: not carried."""
    name, bit = KINDS[key]
    if verb != "empty" and o.key != key:
        return p.bad("a community of another kind")
    if verb == "add" and (len(o.value) != 1 or "*" in o.value[0] or "-" in o.value[0]):
        return p.bad("one community is added at a time")
    if verb == "delete" and "add" in p.pending.get(name, ()):
        p.flush()
    if verb == "empty":
        p.changed |= bit
        p.pending[name] = {"replace": []}
        return True
    p.pending.setdefault(name, {}).setdefault("add" if verb == "add" else "remove", []).extend(o.value)
    p.touched.update(o.value)
    return True


def _prepend_once(p, o):
    """Puts an AS number, or the first one of the path, before the path once more. False: not carried."""
    before = p.pending.get("as_path_prepend")
    if o.kind == "path.first":
        if p.changed & FIRST_AS:
            return p.bad("the first AS number may be one that the filter put there")
        asn = "first"
        p.changed |= PATH
    else:
        if o.kind != "number" or o.value in (0, texts.AS_TRANS):
            return p.bad("not a fixed AS number")
        asn = o.value
        p.changed |= PATH | FIRST_AS
    if before is not None and (before["count"] >= PREPEND_MAX or before["asn"] != asn):
        p.flush()
        before = None
    p.pending["as_path_prepend"] = {"asn": asn, "count": 1 if before is None else before["count"] + 1}
    return True


def _changed_by(p, left, verb):
    """VALUE); behind a verb: the change of the attribute. False: not carried."""
    o = operand(p)
    if o.kind == "bad" or not p.b.take(")") or not p.b.take(";"):
        return False
    if left.kind == "path" and verb == "prepend":
        return _prepend_once(p, o)
    if o.kind == "set" and o.key == "community":
        o = Operand("community", o.value, o.entries)
    return left.kind == "communities" and o.kind == "community" and verb in ("add", "delete") and _change_communities(p, left.key, verb, o)


def _method(p, name):
    """NAME.VERB(VALUE); NAME.empty;"""
    left = attribute(p, name) if name != "bgp_path" else Operand("path")
    verb = p.b.next().text
    if p.b.take(";"):
        return left.kind == "communities" and verb == "empty" and _change_communities(p, left.key, verb)
    return p.b.take("(") and _changed_by(p, left, verb)


def _assignment(p, name):
    """NAME = VALUE;"""
    b = p.b
    if b.sees("add", "delete", "prepend") and [b.peek(ahead).text for ahead in (1, 2, 3)] == ["(", name, ","]:
        verb, left = b.peek().text, attribute(p, name)  # bgp_community = add(bgp_community, VALUE)
        b.at += 4
        return _changed_by(p, left, verb)
    if b.sees("-"):
        left = attribute(p, name)
        return b.take_words(("-", "empty", "-", ";")) and left.kind == "communities" and _change_communities(p, left.key, "empty")
    o = operand(p)
    if not b.take(";"):
        return False
    if name in NUMBERS and o.kind == "number":
        (key, bit), value = NUMBERS[name], o.value
    elif name == "bgp_origin" and o.kind == "word" and o.value.startswith("ORIGIN_"):
        key, bit, value = "origin", ORIGIN, ORIGINS.get(o.value, "incomplete")
    elif name == "bgp_next_hop" and o.kind == "address" and texts.is_host(o.value):
        key, bit, value = "next_hop", NEXT_HOP, o.value
    else:
        return False
    p.changed |= bit
    p.pending[key] = value
    return True


# ---- variables ----


def _declaration(p):
    """TYPE NAME [= VALUE]; binds the name to the value."""
    b = p.b
    b.take("set")
    name = b.next().text
    if b.take(";"):
        p.scope = Scope(name, None, None, p.scope)
        return True
    if not b.take("="):
        return False
    return _bind(p, name)


def _bind(p, name):
    """VALUE; of a variable: the value is read where the name stands."""
    first = p.b.at
    p.b.skip_to(";")
    value = first, p.b.at
    if calls(p, *value):
        return p.bad(VALUE_CALLS)
    p.scope = Scope(name, value, p.scope, p.scope)
    return p.b.take(";")


def declarations(p, header):
    """Variables of a function or filter, declared before the body."""
    b = p.b
    old = b.at, b.end
    b.at, b.end = header
    while not b.ended:
        if b.next().text in TYPES:
            _declaration(p)
    b.at, b.end = old


def _find_variable(p, name):
    scope = p.scope
    while scope is not None and scope.name != name:
        scope = scope.next
    return scope


def _variable(p, name):
    """NAME = VALUE; of a variable."""
    first = p.b.at
    p.b.skip_to(";")
    # a value that depends on the old value
    if not calls(p, first, p.b.at) and any(token.text == name for token in p.b.tokens[first:p.b.at]):
        return False
    p.b.at = first
    return _bind(p, name)


# ---- ends, calls ----


def _return(p):
    if p.return_true is None:
        return False
    if p.b.take(";"):
        p.leave("permit", p.return_true)
        return p.return_true is p.return_false
    c = _usable(p)
    if c is None or not p.b.take(";"):
        return False
    p.branch(c, p.return_true, p.return_false, None)
    p.reachable = False
    return True


def _message(p):
    """Takes a message up to `;`. False: a function in it may reject the route."""
    first = p.b.at
    p.b.skip_to(";", "}")
    if calls(p, first, p.b.at):
        return p.bad(VALUE_CALLS)
    return p.b.take(";")


def _verdict(p, token):
    if not p.b.sees(";"):
        p.b.note(token.line, "changed: no message")
    if not _message(p):
        return False
    p.leave("permit" if token.text == "accept" else "deny")
    return True


def _print(p, token):
    p.b.note(token.line, "changed: nothing is printed")
    return _message(p)


def _call(p, name):
    """A call whose value is not used."""
    found = p.b.find(name, "function")
    if found is None or not p.b.take("("):
        return False
    fits, scope = bound(p, found)
    if not fits or not p.b.take(";"):
        return False
    end = p.label()
    p.call(Condition("call", function=found, scope=scope), end, end)
    p.place(end)
    return True


def _simple(p, token):
    """Any other statement. False: not carried."""
    word = token.text
    if word in ("accept", "reject"):
        return _verdict(p, token)
    if word == "return":
        return _return(p)
    if word in ("print", "printn"):
        return _print(p, token)
    if word in TYPES:
        return _declaration(p)
    if p.b.take("."):
        return _method(p, word)
    if p.b.take("="):
        return _variable(p, word) if _find_variable(p, word) else _assignment(p, word)
    return _call(p, word)


def statement(p):
    """Takes the tokens of a statement."""
    b, at = p.b, p.b.at
    if b.ended:
        return
    p.steps += 1
    if p.steps > STEPS_MAX or p.depth >= DEPTH_MAX:
        p.bad("the filter is too large")
        _not_carried(p, at)
        return
    if b.take(";"):
        return
    p.depth += 1
    token = b.next()
    if token.text == "{" and token.kind == "mark":
        _block(p)
    elif token.text == "if":
        _if(p, at)
    elif token.text == "case":
        _case(p, at)
    elif not _simple(p, token):
        _not_carried(p, at)
    p.depth -= 1
