# SPDX-License-Identifier: BSD-3-Clause
"""import bird: a configuration of BIRD 2: static routes, tables of ROAs, the top of the file."""
import sys

from . import texts
from .bird_bgp import finish_peers, read_bgp
from .bird_filter import STEPS_MAX, read_filter
from .bird_read import NO_ROUTE, Definition, Reader, Statements
from .document import PATHS_MAX
from .texts import V4, V6

STATIC_POLICY = "bird-origin"  # static and connected routes have ORIGIN IGP in BIRD
IDLE = frozenset(("log", "debug", "mrtdump", "timeformat", "watchdog", "hostname", "threads", "define"))
ONE_ROA_TABLE = "not carried: keeld has one table of ROAs, the file has more"


# ---- other protocols ----


def _originate(b, source, families):
    """Originates the routes of a source, with the ORIGIN of BIRD. `families`: {FAMILY: {policy}} of the routes; None: all families."""
    b.im.section("route_policies").setdefault(STATIC_POLICY, {
        "name": STATIC_POLICY, "nodes": [{"seq": 10, "action": "permit", "set": {"origin": "igp"}}]})
    o = b.im.of_bgp("redistribute").setdefault(source, {"source": source, "policy": STATIC_POLICY})
    if families is not None:
        o.setdefault("_families", {}).update(families)


def _static_route(b, routes):
    """After `route`. Adds (route, line) to `routes`."""
    line, prefix, made = b.peek().line, b.take_prefix(), []
    if prefix is None:
        return False
    if b.sees("blackhole", "unreachable", "prohibit", "reject"):
        if b.next().text != "blackhole":
            b.note(line, "changed: packets are dropped without an answer")
        made.append(({"prefix": prefix, "blackhole": True}, line))
    while b.take("via"):
        address = b.take_address()
        if address is None:
            return False
        made.append(({"prefix": prefix, "next_hop": b.take_link(address)}, line))
    if not made or not b.sees(";"):
        return False
    routes += made
    return True


def _plain_channel(b, families):
    """A channel without a policy: ipv4; ipv4 { import all; }. Adds its family, with the policy of the source."""
    families[V4 if b.next().text == "ipv4" else V6] = {"policy": STATIC_POLICY}
    if not b.take("{"):
        return b.sees(";")
    plain = Statements(*((words, lambda b: True) for words in ("import all", "export none", "table master4", "table master6")))
    while not b.take("}"):
        if not plain.read(b) or not b.take(";"):
            return False
    return True


def _add_routes(b, routes):
    for o, line in routes:
        why = b.im.static_route(o)
        if why is not None:
            b.note(line, why)


def _static_protocol(b, line):
    routes, off, filtered = [], False, False
    no_route = Statements(*NO_ROUTE)
    b.take("{")
    while not b.take("}") and not b.ended:
        at, channel = b.at, b.sees("ipv4", "ipv6")
        if b.take(";"):
            continue
        if b.take("disabled"):
            off, good = b.take_switch(), True
        elif b.take("route"):
            good = _static_route(b, routes)
        elif channel:
            good = _plain_channel(b, {})
        else:
            good = no_route.read(b) or (b.take("description") and b.next().kind == "text")
        good = good and (b.take(";") or b.tokens[b.at - 1].text == "}")
        filtered = filtered or (channel and not good)
        if not good:
            b.unknown(at)
    if filtered:
        b.note(line, "not carried: the channel has a filter or another table; the routes are left out")
    elif off:
        b.note(line, "changed: left out; the protocol is disabled")
    elif routes:
        _add_routes(b, routes)
        _originate(b, "static", None)


def _direct_protocol(b, line):
    families, every, off = {}, True, False
    b.take("{")
    while not b.take("}") and not b.ended:
        at = b.at
        if b.sees("ipv4", "ipv6") and _plain_channel(b, families):
            b.take(";")
        elif b.take("disabled"):
            off = b.take_switch()
            b.take(";")
        elif not b.take(";"):
            every = False
            b.whole(at, "not carried: connected routes of named interfaces")
    off = off or not families
    if every and not off:
        _originate(b, "connected", families)
    b.has_direct = b.has_direct or not off


def _roa_channel(b, cache):
    """After roa4 or roa6: a channel without a filter. keeld has one table of ROAs."""
    kind = b.tokens[b.at - 1]
    if b.roa_tables[kind.text] > 1:
        b.note(kind.line, ONE_ROA_TABLE)
    if not b.take("{"):
        return True
    while not b.take("}"):
        if b.take("table"):
            b.at += 1
        elif not b.take_words(("import", "all")) and not b.take_words(("export", "none")):
            return False
        if not b.take(";"):
            return False
    return True


def _port(b, cache):
    n = b.take_number(1, 65535)
    if n is not None:
        cache["port"] = n
    return n is not None


def _remote(b, cache):
    address = b.take_address()
    if address is None and b.peek().kind == "text" and texts.is_address(b.peek().text):
        address = b.next().text
    if address is None:
        return False
    cache["address"] = address
    return not b.take("port") or _port(b, cache)


def _cache_times(b, cache):
    b.note(b.tokens[b.at - 1].line, "changed: the times of the cache are in use")
    b.skip_to(";")
    return True


RPKI = Statements(("roa4", _roa_channel), ("roa6", _roa_channel), ("remote", _remote), ("port", _port), ("transport tcp", lambda b, cache: True),
                  ("min version", lambda b, cache: b.take_number(0, 1) is not None), ("max version", lambda b, cache: b.take_number(1, 2) is not None),
                  ("refresh", _cache_times), ("retry", _cache_times), ("expire", _cache_times))


def _rpki_protocol(b, line):
    cache = {}
    b.take("{")
    while not b.take("}") and not b.ended:
        at = b.at
        if not b.take(";") and not (RPKI.read(b, cache) and b.take(";")):
            b.unknown(at)
    b.im.verdict = ""
    if not b.im.add_cache(cache):
        b.note(line, b.im.verdict)


def _merge_paths(b):
    """After `merge paths`: bgp.max_paths."""
    if not b.take_switch():
        return
    n = 16  # without `limit`
    if b.take("limit"):
        limit = b.take_number()
        n = n if limit is None else limit
    if n > PATHS_MAX:
        b.note(b.peek().line, "changed: max_paths is 64, the largest value")
    if n > 0:
        b.im.bgp["max_paths"] = min(n, PATHS_MAX)


def _kernel_protocol(b, at):
    """keeld writes no kernel routes."""
    b.at = at
    b.skip()
    end, b.at = b.at, at
    while b.at < end:
        if b.sees("learn"):
            b.note(b.peek().line, "not carried: routes of the kernel are not learned")
        if b.take_words(("merge", "paths")):
            _merge_paths(b)
        b.at += 1
    # last: a verdict of one line is more than the verdict of the block
    b.whole(at, "changed: workers forward, and the table of the kernel stays as it is")


PROTOCOLS = {"static": _static_protocol, "direct": _direct_protocol, "rpki": _rpki_protocol}


def _protocol(b, at):
    kind, line = b.next().text, b.tokens[at].line
    if kind == "bgp":
        read_bgp(b, False, line)
    elif kind == "kernel":
        _kernel_protocol(b, at)
    elif kind == "device":
        b.at = at
        b.skip()
    else:
        if kind in PROTOCOLS and not b.sees("{"):
            b.at += 1
        if kind in PROTOCOLS and b.sees("{"):
            PROTOCOLS[kind](b, line)
        else:
            b.whole(at, "not carried: keeld has no protocol of this kind")


# ---- the top of the file ----


def _find_cache(b):
    """A protocol whose cache has an address, and the tables that the cache fills. Takes the protocol."""
    start, address = b.at, False
    b.skip()
    words = [token.text for token in b.tokens[start:b.at]]
    for word, text in zip(words, words[1:]):
        if word == "remote":
            found = b.find(text, "constant")
            address = texts.is_address(text) or (found is not None and texts.is_address(b.tokens[found.value[0]].text))
    for kind in b.roa_cached:
        b.roa_cached[kind] = b.roa_cached[kind] or (address and kind in words)


def _define_body(b, word, name):
    """A function or a filter: parameters, declarations, the body."""
    parameters = (0, 0)
    b.at += 2
    if word == "function" and b.sees("("):
        first = b.at + 1
        b.skip_brackets()
        parameters = first, b.at - 1
    header = b.at
    b.skip_to("{")
    value = b.at
    b.skip_brackets()
    b.define(Definition(name, word, (value, b.at), parameters, (header, value)))


def _definition(b):
    """Takes a statement of the top, and notes what it defines."""
    word, name, third, at = b.peek().text, b.peek(1).text, b.peek(2).text, b.at
    if word in ("function", "filter"):
        return _define_body(b, word, name)
    if word == "protocol" and name == "rpki":
        return _find_cache(b)
    if word == "define" and third == "=":
        b.skip_to(";")
        b.define(Definition(name, "constant", (at + 3, b.at)))
    elif word in ("roa4", "roa6") and name == "table":
        b.define(Definition(third, word))
        b.roa_tables[word] += 1
    elif word == "protocol" and name in ("static", "direct"):
        b.originates = True
        if name == "static":
            b.static_count += 1
            b.define(Definition(third, "static"))
    b.skip()
    return None


def _definitions(b):
    """Finds constants, functions, filters, tables of ROAs and static protocols."""
    while not b.ended:
        at = b.at
        _definition(b)
        b.at = max(b.at, at + 1)
    b.at = 0
    words = [token.text for token in b.tokens]
    for at in range(2, len(words)):
        if words[at - 2:at] == ["export", "filter"] and b.find(words[at]):
            b.find(words[at]).exports = True


def _filter(b, at):
    """After filter or function. False: a name that was defined before."""
    found = b.find(b.peek().text)
    if found is None or found.kind != b.tokens[at].text or found.value[0] < b.at:
        return False
    if found.kind == "filter":
        read_filter(b, b.name(found.name, b.tokens[at].line), found.header, found.value, found.exports)
    b.at = found.value[1]  # functions are translated where filters call them
    return True


def _top_statement(b, at):
    word = b.peek().text
    if word in IDLE:
        b.skip()
        return True
    if b.take_words(("router", "id")):
        address = b.take_address()
        b.im.verdict = ""
        return address is not None and b.take(";") and b.im.set_id(b.im.router, "router_id", address) and not b.im.verdict
    b.at += 1
    if word == "protocol":
        _protocol(b, at)
        return True
    if word == "template" and b.take("bgp"):
        read_bgp(b, True, b.tokens[at].line)
        return True
    if word in ("filter", "function"):
        return _filter(b, at)
    if word in ("roa4", "roa6") and b.take("table"):
        b.at += 1
        return b.take(";")
    return word in ("ipv4", "ipv6") and b.take("table") and (b.take("master4") or b.take("master6")) and (b.take("sorted") or True) and b.take(";")


def _unused(b):
    for found in b.definitions:
        first, end = found.value
        if found.kind == "function" and not found.used and end > first:
            for line in range(b.tokens[first].line, b.tokens[end - 1].line + 1):
                b.note(line, "changed: left out; no filter calls the function")


def read(im, data):
    """Translates the file (bytes), and the files that it includes."""
    sys.setrecursionlimit(4 * STEPS_MAX)  # of long conditions; such calls take no stack of C
    b = Reader(im, data)
    _definitions(b)
    while not b.ended:
        at = b.at
        if not b.take(";") and (not _top_statement(b, at) or b.at == at):
            b.unknown(at)
    _unused(b)
    finish_peers(b)
    for line in b.lines[1:]:
        if line.place is None:
            im.line = line.number
        if line.has_tokens:
            im.report_line(line.place or line.number, line.text, line.verdict)
