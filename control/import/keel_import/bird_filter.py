# SPDX-License-Identifier: BSD-3-Clause
"""Filters and functions of BIRD as route policies. A policy is a list of nodes with conditions, changes and forward jumps (`goto`), so if, else, case, &&
and || become jumps, and functions are inlined. The conditions of a policy see the route as it was before the policy: a condition on an attribute that the
filter may have changed before is not carried. Where a statement is not carried the policy rejects.

This file has the program of one filter: its nodes, labels and conditions. bird_operands, bird_conditions and bird_statements read the tokens."""
DEPTH_MAX = 64  # of statements, expressions and calls together
STEPS_MAX = 200000  # statements and operands of one filter, functions inlined
# What conditions read and statements change; FIRST_AS: the first AS number of the path.
PATH, COMMUNITIES, LARGE, EXT, LOCAL_PREF, MED, ORIGIN, NEXT_HOP, FIRST_AS = (1 << bit for bit in range(9))


class Condition:
    """kind: "true", "false", "leaf", "not" (a), "and", "or" (a, b), "call" (function), "defined": rejects routes that are not of BGP, then `a`.
    `match`: the condition as members of one `match`, or None. `values`: of a leaf on communities, which ones. `scope`: of a call, its parameters."""

    __slots__ = ("kind", "a", "b", "match", "reads", "values", "function", "scope")

    def __init__(self, kind, a=None, b=None, match=None, reads=0, function=None, scope=None):
        self.kind, self.a, self.b, self.match = kind, a, b, match
        self.reads = reads | (a.reads if a else 0) | (b.reads if b else 0)
        self.values = ()
        self.function, self.scope = function, scope
        if kind in ("and", "or") and a.match is not None and b.match is not None:
            self.match = _both(a.match, b.match) if kind == "and" else _either(a.match, b.match)


def _both(a, b):
    return None if a.keys() & b.keys() else {**a, **b}


def _either(a, b):
    if len(a) != 1 or a.keys() != b.keys():
        return None
    (key, mine), (theirs,) = next(iter(a.items())), b.values()
    values = list(mine) if isinstance(mine, list) else [mine]
    for value in theirs if isinstance(theirs, list) else [theirs]:
        if value not in values:
            values.append(value)
    return {key: values if len(values) > 1 else values[0]}


class Label:
    """`place`: the index of a node; None: not placed. `changed`, `touched`: what the filter may have changed on some way to the label."""

    __slots__ = ("place", "used", "changed", "touched")

    def __init__(self):
        self.place, self.used, self.changed, self.touched = None, False, 0, set()


class Scope:
    """A name with a value, a range of tokens that is read in `scope`; None: a variable without a value."""

    __slots__ = ("name", "value", "scope", "next")

    def __init__(self, name, value, scope, following):
        self.name, self.value, self.scope, self.next = name, value, scope, following


class Program:
    """The policy of one filter, while it is made."""

    def __init__(self, b, name, undefined):
        self.b, self.name = b, name
        self.nodes = []  # with the key "label" in place of "goto"
        self.pending = {}  # changes that are not in a node yet
        self.labels = []
        self.changed = 0  # what the filter may have changed so far
        self.touched = set()  # communities that the filter may have added or removed so far
        self.reachable = True
        self.undefined = undefined  # routes without BGP attributes pass the filter
        self.in_case = False  # the values of a branch
        self.depth = self.steps = self.lists = 0  # lists: made for this policy
        self.return_true = self.return_false = None  # in a function
        self.scope = None
        self.why = None  # why the present statement is not carried

    def bad(self, why):
        """None, with the reason."""
        self.why = self.why or why

    # ---- nodes ----

    def label(self):
        """A new label, which has no place and no jumps yet."""
        self.labels.append(Label())
        return self.labels[-1]

    def jump(self, label):
        """The label is reached from here, with the changes so far."""
        label.used = True
        label.changed |= self.changed
        label.touched |= self.touched

    def append(self, action, match=None, changes=None, to=None):
        """Appends a node. `to`: the label that the node jumps to."""
        node = {"action": action}
        if match:
            node["match"] = match
        if changes and action == "permit":
            node["set"] = changes
        if to is not None:
            node["label"] = to
            self.jump(to)
        self.nodes.append(node)

    def flush(self):
        """Writes the pending changes to a node that continues at the next node."""
        if self.pending and self.reachable:
            following = self.label()
            self.append("permit", None, self.pending, following)
            following.place = len(self.nodes)
        self.pending = {}

    def leave(self, action, to=None):
        """An unconditional end of this path: permit, deny, or a jump."""
        if self.reachable:
            self.append(action, None, self.pending, to)
        self.pending = {}
        self.reachable = False

    def place(self, label):
        """Places a label at the next node, if a jump uses the label."""
        if not label.used:
            return
        self.flush()
        label.place = len(self.nodes)
        if self.reachable:
            self.jump(label)
        self.changed, self.touched = label.changed, set(label.touched)
        self.reachable = True

    # ---- conditions ----

    def sees_change(self, c):
        """True if the condition sees something that the filter may have changed before."""
        return bool(c.reads & self.changed) or (bool(self.touched) and self._sees_touched(c))

    def _sees_touched(self, c):
        left = [c]
        while left:
            c = left.pop()
            if any(_is_touched(self.touched, text) for text in c.values):
                return True
            left += [part for part in (c.a, c.b) if part is not None]
        return False

    def call(self, c, yes, no):
        """Inlines the function of a call; `return` jumps to `yes` or `no`."""
        from .bird_statements import declarations, statement
        b, f = self.b, c.function
        old = b.at, b.end, self.return_true, self.return_false, self.scope
        f.used = True
        self.return_true, self.return_false, self.scope = yes, no, c.scope
        declarations(self, f.header)
        b.at, b.end = f.value
        statement(self)
        b.at, b.end, self.return_true, self.return_false, self.scope = old

    def branch(self, c, yes, no, following):
        """Jumps to `yes` or `no`; one of them may be `following`, the label that is placed next."""
        self.flush()
        # a function of the condition can have changed what the rest of the condition sees
        if self.reachable and self.sees_change(c):
            self.b.note(self.b.tokens[max(self.b.at - 1, 0)].line,
                        "not carried: a function of the condition changes what the condition sees; the policy rejects here")
            self.leave("deny")
        elif c.match is not None:
            if self.reachable:
                self.append("permit", c.match, None, yes)
            self._go(no, following)
        elif c.kind in ("true", "false"):
            self._go(yes if c.kind == "true" else no, following)
        elif c.kind == "not":
            self.branch(c.a, no, yes, following)
        elif c.kind in ("and", "or"):
            middle = self.label()
            self.branch(c.a, middle if c.kind == "and" else yes, no if c.kind == "and" else middle, middle)
            self.reachable = False
            self.place(middle)
            self.branch(c.b, yes, no, following)
        elif c.kind == "call":
            self.call(c, yes, no)
            # BIRD rejects where a function that must have a value has none
            self.leave("deny")
        else:  # "defined"
            if self.reachable:
                self.append("deny", {"source": ["static", "connected"]})
            self.branch(c.a, yes, no, following)

    def _go(self, to, following):
        """Goes on at a label, which may be the next."""
        if to is not following:
            self.leave("permit", to)
        elif self.reachable:
            self.jump(to)

    # ---- the whole ----

    def policy_nodes(self):
        """The nodes with numbers, and the numbers in the jumps."""
        jumps, nodes = False, []
        for at, node in enumerate(self.nodes):
            to = node.pop("label", None)
            node["seq"] = (at + 1) * 10
            if to is not None:
                node["goto"] = (to.place + 1) * 10
                jumps = True
            nodes.append(node)
        # the end of a policy rejects, but for routes that have come by a jump
        if not jumps and len(nodes) > 1 and nodes[-1].keys() == {"action", "seq"} and nodes[-1]["action"] == "deny":
            nodes.pop()
        return nodes


# ---- communities ----


def _kind(text):
    """Communities of one kind have one count of colons, and an extended one begins with a letter."""
    return 10 if text[:1] >= "a" else text.count(":")


def _part(text):
    """The least and the largest number of a part: a number, a range, or all numbers. Words are 0."""
    if text == "*":
        return 0, 0xffffffff
    low, _, high = text.partition("-")
    return (int(low), int(high or low)) if low.isdigit() else (0, 0)


def _overlaps(a, b):
    """True if some community is one of both texts."""
    if _kind(a) != _kind(b) or (_kind(a) == 10 and a[0] != b[0]):  # rt, soo
        return False
    for mine, theirs in zip(map(_part, a.split(":")), map(_part, b.split(":"))):
        if mine[0] > theirs[1] or theirs[0] > mine[1]:
            return False
    return True


def _is_pattern(text):
    return "*" in text or "-" in text


def _is_touched(touched, text):
    """True if the filter may have added or removed a community that the text stands for."""
    return text in touched or any((_is_pattern(text) or _is_pattern(other)) and _overlaps(text, other) for other in touched)


def read_filter(b, name, header, body, exports, where=False):
    """Translates the statements of a filter to the route policy `name`. `header`: declarations before the body; `body`: with braces. `where`: an expression
    instead. `exports`: for routes to a neighbour."""
    from .bird_conditions import expression
    from .bird_statements import declarations, statement
    p = Program(b, name, exports and b.originates)
    old = b.at, b.end
    declarations(p, header)
    b.at, b.end = body
    if where:
        c, yes, no = expression(p), p.label(), p.label()
        if c is None or b.at != b.end:
            b.note(b.tokens[body[0]].line, "not carried: %s; the policy rejects" % (p.why or "an unknown expression"))
            p.leave("deny")
        elif c.match is not None:
            p.append("permit", c.match)
        else:
            p.branch(c, yes, no, yes)
            p.reachable = False
            p.place(yes)
            p.leave("permit")
            p.place(no)
    else:
        statement(p)
    p.leave("deny")
    b.at, b.end = old
    b.im.element("route_policies", name)["nodes"] = p.policy_nodes()
