# SPDX-License-Identifier: BSD-3-Clause
"""The features tested with every daemon and both families. FEATURES has the order of docs/interop.md."""
from bench import (BEHIND, BEHIND_ID, D, D_DOWN, IT, IT_ID, LOCAL_D, LOCAL_RT, NETWORK, NETWORK_MED, OWN, ROUTER_ID, RT, RT_UP, S_DOWN, S_UP, SPARE, UP,
                   UP_ID, US, No, cases, comparable, table)
import os
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from daemons import Session, Setup
from labtest import ROUTE_REFRESH, UPDATE, V4, V6, commit, peer, wait_for
from wire import announce, withdraw

FEATURES = [
    ("session", "Session; common capabilities"),
    ("attributes from it", "Routes with all attributes, from the daemon (eBGP)"),
    ("attributes to it", "Routes with all attributes, to the daemon (eBGP)"),
    ("iBGP from it", "Local pref, MED and all other attributes, from the daemon (iBGP)"),
    ("iBGP to it", "Local pref, MED and all other attributes, to the daemon (iBGP)"),
    ("withdraw", "Withdraw, both ways"),
    ("refresh asked by us", "Refresh requested by Keel, answered by the daemon (RFC 2918)"),
    ("enhanced refresh asked by us", "... between BoRR and EoRR of the daemon (RFC 7313)"),
    ("refresh without graceful restart", "... with `graceful_restart` off at Keel (no capability 64)"),
    ("refresh asked by it", "Refresh requested by the daemon, answered by Keel (RFC 2918)"),
    ("enhanced refresh asked by it", "... between BoRR and EoRR of Keel (RFC 7313)"),
    ("it stops", "The daemon stops in order and starts again"),
    ("it dies", "The daemon is killed and starts again"),
    ("we stop", "Keel stops in order and starts again"),
    ("we die", "Keel is killed and starts again"),
    ("link-local", "Session between link-local addresses"),
    ("RFC 8950", "IPv4 with IPv6 next hops (RFC 8950)"),
    ("reflected by us", "The daemon is a route reflector client of Keel (RFC 4456)"),
    ("reflected by it", "Keel is a route reflector client of the daemon (RFC 4456)"),
    ("helper", "The daemon restarts gracefully, Keel keeps the routes (RFC 4724)"),
    ("helper, too late", "... and drops the routes at the restart time"),
    ("nothing kept of us", "Keel restarts, the daemon keeps no routes (no family in the capability of Keel)"),
]

EXTERNAL = {"import_policy": "accept-all", "export_policy": "out"}
CAPABILITIES = (("route_refresh", "refresh"), ("enhanced_route_refresh", "enhanced refresh"), ("four_octet_as", "4-octet AS"),
                ("extended_message", "extended messages"), ("graceful_restart", "graceful restart"))
WAIT_NO = 3  # seconds of silence that prove the absence of an answer


def peer_of(address, asn, families, **keys):
    return dict({"address": address, "asn": asn, "timers": {"connect_retry_s": 1, "idle_hold_s": 1},
                 "families": {f: dict(EXTERNAL) for f in families}}, **keys)


def own(families):
    return {p: m for f in families for p, m in OWN[f].items()}


def announced(families):
    return [p for p in own(families) if p not in SPARE.values()]


def expected_own(b, family, asn, hop, **more):
    """Expected routes at keeld from the daemon's own networks."""
    out = {}
    for prefix, med in OWN[family].items():
        med = b.daemon.default_med if med is None else med
        if prefix != SPARE[family]:
            out[prefix] = dict({"origin": "igp", "as_path": asn, "next_hop": hop}, **more)
            if med is not None:
                out[prefix]["med"] = med
    return out


def without_origin(routes):
    """The routes without their ORIGIN, because some daemons originate routes as incomplete, which is permitted."""
    return {p: {k: v for k, v in r.items() if k != "origin"} for p, r in routes.items()}


# ---- external sessions ----

def external(b):
    fs, d = b.families, b.daemon
    sessions = [Session("keel" + f[3], D[f], RT[f], US, [f]) for f in fs]
    speakers = {"up" + f: (b.speaker("up", f, UP), cases(f, 2, UP)) for f in fs}
    if d.transit:
        sessions += [Session("behind" + f[3], D_DOWN[f], S_DOWN[f], BEHIND, [f], passive=True) for f in fs]
        speakers.update({"behind" + f: (b.speaker("behind", f, BEHIND), cases(f, 1, BEHIND, many=100)) for f in fs})
    setup = Setup(IT, IT_ID, sessions, own(fs), announced(fs))
    peers = [peer_of(D[f], IT, [f]) for f in fs] + [peer_of(S_UP[f], UP, [f], passive=True) for f in fs]
    b.arrange(setup, peers, speakers)
    say_behind(b)
    for f in fs:
        with b.feature("session", f) as t:
            capabilities(b, t, f)
        with b.feature("attributes from it", f) as t:
            t.same("all its routes, attribute by attribute", lambda: from_it(b, f), expected_from_it(b, f))
        with b.feature("attributes to it", f) as t:
            t.same("keeld's adj-out", lambda: table(b.view("adj-out", D[f], f), ("next_hop",)), without_next_hop(expected_at_it(f)))
            t.same("... and what it has, attribute by attribute", lambda: at_it(b, f), expected_at_it(f))
    for f in fs:
        refresh_by_us(b, f)
    for f in fs:
        refresh_by_it(b, f)
    for f in fs:
        with b.feature("withdraw", f) as t:
            withdrawals(b, t, f)
    restarts(b)


def say_behind(b):
    """ExaBGP does not propagate routes. So ExaBGP itself announces the routes that other daemons receive from the speaker behind them."""
    if not b.daemon.transit:
        for f in b.families:
            for prefix, route in cases(f, 1, BEHIND, many=100).items():
                b.daemon.say(prefix, dict(route, as_path="%d %s" % (IT, route["as_path"])))


def capabilities(b, t, f):
    p = peer(b.rpc, D[f])
    t.true("established", p["state"] == "established", p["state"])
    t.true("the family is negotiated", p["families"][f]["negotiated"], p["families"][f])
    t.comes_to("End-of-RIB came", lambda: peer(b.rpc, D[f])["families"][f]["end_of_rib_received"], b.daemon.name != "GoBGP")
    t.comes_to("it says so, too", lambda: b.daemon.state("keel" + f[3]), "established")
    t.note(", ".join(text for key, text in CAPABILITIES if p["capabilities"][key]["negotiated"]))


def from_it(b, f):
    return without_origin_of_own(table(b.view("adj-in", D[f], f), ("local_pref",)), f)


def without_origin_of_own(routes, f):
    return {p: {k: v for k, v in r.items() if k != "origin" or p not in OWN[f]} for p, r in routes.items()}


def expected_from_it(b, f):
    out = {p: dict(r, as_path="%d %s" % (IT, r["as_path"]), next_hop=D[f]) for p, r in cases(f, 1, BEHIND, many=100).items()}
    out.update(expected_own(b, f, str(IT), D[f]))
    return without_origin_of_own(table(out), f)


def at_it(b, f):
    return table(b.daemon.routes("keel" + f[3], f), ("local_pref",))


def expected_at_it(f):
    out = {p: dict(r, as_path="%d %s" % (US, r["as_path"]), next_hop=RT[f]) for p, r in cases(f, 2, UP).items()}
    out[NETWORK[f]] = {"origin": "igp", "as_path": str(US), "next_hop": RT[f], "med": NETWORK_MED}
    return table(out)


def without_next_hop(routes):
    return {p: {k: v for k, v in r.items() if k != "next_hop"} for p, r in routes.items()}


# ---- refresh ----

def on_the_wire(messages, source):
    """(requests, BoRR, EoRR) from an address."""
    return tuple(sum(1 for s, k, t, _, _ in messages if s == source and k == ROUTE_REFRESH and t == subtype) for subtype in (0, 1, 2))


def framed(messages, source):
    """The prefixes announced between BoRR and EoRR."""
    out, inside = set(), False
    for s, kind, subtype, announced_now, _ in messages:
        if s == source and kind == ROUTE_REFRESH and subtype:
            inside = subtype == 1
        if s == source and kind == UPDATE and inside:
            out.update(announced_now)
    return out


def changes(before, after):
    return {k: v - before[k] for k, v in after.items() if v != before[k]}


def ask_it(b, t, f, name):
    """Requests a refresh from the daemon; returns (BoRR, EoRR, set of prefixes) of the answer, and whether the session stayed."""
    had, updates = b.view("adj-in", D[f], f), peer(b.rpc, D[f])["updates_received"]
    before, count = b.counters(D[f], f), peer(b.rpc, D[f])["established_count"]
    cap = b.capture(name)
    try:
        r = b.rpc.call("bgp.refresh", family=f, scope="peer", peer=D[f], direction="import")
        t.equal("bgp.refresh", [p["action"] for p in r["peers"]], ["route-refresh-sent"])

        def answered():
            p = peer(b.rpc, D[f])
            c = p["families"][f]["refresh"]
            return p["established_count"] != count or p["state"] != "established" or c["eorr_received"] > before["eorr_received"] or (
                not p["capabilities"]["enhanced_route_refresh"]["negotiated"] and p["updates_received"] > updates)
        try:
            wait_for("an answer", answered, WAIT_NO, patience=0)
        except TimeoutError:
            pass
        p = peer(b.rpc, D[f])
        stayed = (p["state"], p["established_count"]) == ("established", count)
        if stayed:  # a route announced after the answer: the answer is complete
            fence(b, f)
    finally:
        messages = cap.stop().messages()
    asked = on_the_wire(messages, RT[f])
    t.equal("one request from us on the wire", asked, (1, 0, 0))
    _, borr, eorr = on_the_wire(messages, D[f])
    again = {p for s, k, _, a, _ in messages if s == D[f] and k == UPDATE for p in a} - {SPARE[f]}
    if stayed and again:
        t.true("every route came again", again >= set(had), sorted(set(had) - again))  # FRR says ours back to us
        if borr:
            t.true("... between BoRR and EoRR", framed(messages, D[f]) >= set(had), sorted(set(had) - framed(messages, D[f])))
        after = b.view("adj-in", D[f], f)
        t.true("the table is as before", table(after) == table(had), sorted(set(had) ^ set(after)))
        t.true("none is stale", not [p for p, r in after.items() if r["stale"]], after)
        seen = changes(before, b.counters(D[f], f))
        if not eorr:
            seen.pop("borr_ignored", None)  # of a peer that announces 64, and to which Keel does not
        t.equal("counters", seen, {"requests_sent": 1, **({"borr_received": borr} if borr else {}), **({"eorr_received": eorr} if eorr else {})})
    return borr, eorr, again, stayed


def fence(b, f):
    """Waits until all earlier messages of the daemon have arrived: the daemon announces a route and withdraws it again."""
    b.daemon.announce(SPARE[f])
    wait_for("the fence", lambda: SPARE[f] in b.view("adj-in", D[f], f), 10)
    b.daemon.withdraw(SPARE[f])
    wait_for("the fence's end", lambda: SPARE[f] not in b.view("adj-in", D[f], f), 10)


def set_capabilities(b, f, **ours):
    """Changes our capabilities: the session restarts, and the daemon announces all its routes again."""
    had, count = len(b.view("adj-in", D[f], f)), peer(b.rpc, D[f])["established_count"]
    index = next(i for i, p in enumerate(b.rpc.call("config.get", source="running")["document"]["bgp"]["peers"]) if p["address"] == D[f])
    commit(b.rpc, [{"op": "add", "path": "/bgp/peers/%d/capabilities" % index, "value": ours}])
    b.daemon.wake()
    wait_for("the session anew", lambda: peer(b.rpc, D[f])["established_count"] > count and peer(b.rpc, D[f])["state"] == "established", 60)
    wait_for("its routes", lambda: len(b.view("adj-in", D[f], f)) >= had, 20)


def refresh_by_us(b, f):
    negotiated = peer(b.rpc, D[f])["capabilities"]
    result = {}
    with b.feature("enhanced refresh asked by us", f) as t:
        borr, eorr, again, stayed = result["first"] = ask_it(b, t, f, "refresh-by-us-" + f)
        if not stayed:
            b.daemon.wake()
            wait_for("the session again", lambda: b.state(D[f]) == "established", 60)
            wait_for("all its routes", lambda: set(from_it(b, f)) == set(expected_from_it(b, f)), 20)
            raise No("closes the session at a request")
        if not negotiated["enhanced_route_refresh"]["remote"]:
            t.equal("neither BoRR nor EoRR", (borr, eorr), (0, 0))
            raise No("has no capability 70")
        if not borr and not again:
            raise No("has capability 70, and sends no answer")
        t.equal("one BoRR and one EoRR from it on the wire", (borr, eorr), (1, 1))
    with b.feature("refresh asked by us", f) as t:
        _, _, again, stayed = result["first"]
        if not (stayed and again) and negotiated["enhanced_route_refresh"]["negotiated"]:
            set_capabilities(b, f, enhanced_route_refresh=False)
            _, _, again, stayed = ask_it(b, t, f, "plain-refresh-by-us-" + f)
            if stayed and again:
                t.note("only while Keel does not announce capability 70")
            set_capabilities(b, f)
        if not stayed:
            raise No("closes the session at a request")
        if not again:
            raise No("announces capability 2, %s, and sent no UPDATE, with and without capability 70" % b.daemon.requests_counted("keel" + f[3]))
    with b.feature("refresh without graceful restart", f) as t:
        _, _, again, stayed = result["first"]
        if not (stayed and again):
            raise No("as with capability 64")
        set_capabilities(b, f, graceful_restart=False)
        borr, eorr, again, stayed = ask_it(b, t, f, "refresh-without-64-by-us-" + f)
        set_capabilities(b, f)
        if stayed and not again:
            t.equal("neither BoRR nor EoRR", (borr, eorr), (0, 0))
            raise No("sends no answer to a peer with capability 70 and without 64")
        t.true("the session stayed", stayed)
        if borr and not eorr:
            t.note("BoRR without EoRR")


def refresh_by_it(b, f):
    session, enhanced = "keel" + f[3], peer(b.rpc, D[f])["capabilities"]["enhanced_route_refresh"]["negotiated"]
    before, count, had = b.counters(D[f], f), peer(b.rpc, D[f])["established_count"], at_it(b, f)
    seen = {}
    with b.feature("refresh asked by it", f) as t:
        cap = b.capture("refresh-by-it-" + f)
        try:
            b.daemon.ask_refresh(session, f)
            try:
                wait_for("its request", lambda: b.counters(D[f], f)["served"] > before["served"], WAIT_NO, patience=0)
            except TimeoutError:
                fence(b, f)
            t.same("it has all routes", lambda: at_it(b, f), had)
        finally:
            messages = cap.stop().messages()
        seen["it"], seen["us"] = on_the_wire(messages, D[f]), on_the_wire(messages, RT[f])
        seen["order"] = [(k, s) for a, k, s, _, _ in messages if a == RT[f] and k in (UPDATE, ROUTE_REFRESH)]
        if seen["it"] == (0, 0, 0):
            raise No("has no command for a request: no request was on the wire")
        t.equal("one request from it on the wire", seen["it"], (1, 0, 0))
        t.equal("counters", changes(before, b.counters(D[f], f)), dict({"requests_received": 1, "served": 1},
                                                                     **({"borr_sent": 1, "eorr_sent": 1} if enhanced else {})))
        again = sorted(p for a, k, _, ps, _ in messages if a == RT[f] and k == UPDATE for p in ps)
        t.equal("every route once", again, sorted(had))
        t.equal("the session stayed", peer(b.rpc, D[f])["established_count"], count)
    with b.feature("enhanced refresh asked by it", f) as t:
        if seen.get("it") == (0, 0, 0):
            raise No("has no command for a request: no request was on the wire")
        if not enhanced:
            t.equal("neither BoRR nor EoRR from us", seen["us"], (0, 0, 0))
            raise No("has no capability 70")
        t.equal("one BoRR and one EoRR from us on the wire", seen["us"], (0, 1, 1))
        t.true("... and the routes between them", seen["order"][0] == (ROUTE_REFRESH, 1) and seen["order"][-1] == (ROUTE_REFRESH, 2), seen["order"])


# ---- changes ----

def withdrawals(b, t, f):
    gone = list(OWN[f])[1]
    b.daemon.withdraw(gone)
    t.same("it withdraws one", lambda: from_it(b, f), {p: r for p, r in expected_from_it(b, f).items() if p != gone})
    b.daemon.announce(gone)
    t.same("... and announces it again", lambda: from_it(b, f), expected_from_it(b, f))
    speaker, routes = b.speakers["up" + f]
    lost = sorted(routes)[:3]
    for p in lost:
        speaker.send(UPDATE, withdraw(p))
    t.same("three of ours withdrawn", lambda: at_it(b, f), {p: r for p, r in expected_at_it(f).items() if p not in lost})
    for p in lost:
        speaker.send(UPDATE, announce(routes[p], p, speaker.source))
    t.same("... and announced again", lambda: at_it(b, f), expected_at_it(f))


def tables_equal(b, t, f, timeout=30):
    t.same("afterwards: its routes at keeld", lambda: from_it(b, f), expected_from_it(b, f), timeout)
    t.same("... and ours at it", lambda: at_it(b, f), expected_at_it(f), timeout)
    t.comes_to("... and the speaker behind us has its routes", lambda: at_speaker(b, f) == set(expected_from_it(b, f)), True)


def restarts(b):
    fs, d = b.families, b.daemon

    def back(key, also=lambda t, f: None):
        b.speakers_up()
        b.wait_up()
        say_behind_again(b, key)
        for f in fs:
            with b.feature(key, f) as t:
                also(t, f)
                tables_equal(b, t, f)

    for key, end in (("it stops", d.stop), ("it dies", d.kill)):
        counts = {f: peer(b.rpc, D[f])["established_count"] for f in fs}
        end()
        lost = {f: wait_lost(b, f) for f in fs}
        d.start(d.setup)
        back(key, lambda t, f: (t.true("keeld dropped its routes and withdrew them", lost[f], "some stayed"),
                                t.true("a new session", peer(b.rpc, D[f])["established_count"] > counts[f], counts)))
    for key, end in (("we stop", lambda: b.checks.equal("%s: SIGTERM: exit status" % d.name, b.keeld.stop(), 0)), ("we die", b.kill_keeld)):
        end()
        lost = {f: wait_empty(b, f) for f in fs}
        b.start_keeld()
        back(key, lambda t, f: t.true("it dropped our routes", lost[f], "some stayed"))


def say_behind_again(b, key):
    if key.startswith("it"):
        say_behind(b)


def at_speaker(b, f):
    """The daemon's routes that the speaker behind Keel has received."""
    return set(b.speakers["up" + f][0].rib) & set(expected_from_it(b, f))


def wait_lost(b, f):
    try:
        return bool(wait_for("flush", lambda: not b.view("adj-in", D[f], f) and not at_speaker(b, f), 10))
    except TimeoutError:
        return False


def wait_empty(b, f):
    try:
        return bool(wait_for("flush", lambda: not b.daemon.routes("keel" + f[3], f), 10))
    except TimeoutError:
        return False


# ---- reflection ----

INTERNAL = {"next_hop_tracking": False}


def internal_peer(address, families, **keys):
    return dict({"address": address, "asn": US, "timers": {"connect_retry_s": 1, "idle_hold_s": 1},
                 "families": {f: {"export_policy": "out"} for f in families}}, **keys)


def reflected(routes, originator, hop):
    """Routes as passed on by a reflector of that cluster (RFC 4456 8, 10)."""
    return table({p: dict(r, next_hop=hop, originator_id=originator[0], cluster_list=[originator[1]]) for p, r in routes.items()})


def reflected_by_us(b):
    """Keel is a route reflector; the daemon and a scripted speaker are its clients."""
    fs, d = b.families, b.daemon
    setup = Setup(US, IT_ID, [Session("keel" + f[3], D[f], RT[f], US, [f]) for f in fs], own(fs), announced(fs))
    speakers = {"up" + f: (b.speaker("up", f, US), cases(f, 2, UP, internal=True)) for f in fs}
    peers = [internal_peer(D[f], [f], route_reflector_client=True) for f in fs]
    peers += [internal_peer(S_UP[f], [f], route_reflector_client=True, passive=True) for f in fs]
    b.arrange(setup, peers, speakers, **INTERNAL)
    if not d.transit:
        for f in fs:
            for prefix, route in cases(f, 1, BEHIND, internal=True).items():
                d.say(prefix, route)
    for f in fs:
        from_speaker = reflected(cases(f, 2, UP, internal=True), (UP_ID, ROUTER_ID), S_UP[f])
        network = {NETWORK[f]: {"origin": "igp", "as_path": "", "next_hop": RT[f], "med": NETWORK_MED, "local_pref": 100}}
        with b.feature("iBGP to it", f) as t:
            t.same("all routes, attribute by attribute", lambda: table(d.routes("keel" + f[3], f), ("originator_id", "cluster_list")),
                   table(dict(from_speaker, **network), ("originator_id", "cluster_list")))
        with b.feature("reflected by us", f) as t:
            t.same("to it: what the other client said, with originator and cluster", lambda: table(d.routes("keel" + f[3], f)),
                   dict(from_speaker, **network))
            said = expected_own(b, f, "", D[f], local_pref=100)
            if not d.transit:
                said.update({p: dict(r, next_hop=D[f]) for p, r in cases(f, 1, BEHIND, internal=True).items()})
                said = {p: dict(r, local_pref=r.get("local_pref", 100)) for p, r in said.items()}
            it = table({p: dict(r, originator_id=IT_ID, cluster_list=[ROUTER_ID]) for p, r in said.items()})
            up = b.speakers["up" + f][0]
            t.same("to the other client: what it said", lambda: without_origin_of_own(table(up.rib), f),
                   without_origin_of_own(dict(it, **table({NETWORK[f]: dict(network[NETWORK[f]], next_hop=RT_UP[f])})), f))
            t.true("nobody got its own back", not set(up.rib) & set(cases(f, 2, UP)), sorted(up.rib))
        if not d.transit:
            with b.feature("iBGP from it", f) as t:
                t.same("all routes, attribute by attribute", lambda: without_origin_of_own(table(b.view("adj-in", D[f], f)), f),
                       without_origin_of_own(table(said), f))


def reflected_by_it(b):
    """The daemon is a route reflector; Keel and a scripted speaker are its clients."""
    fs, d = b.families, b.daemon
    if not d.reflects:
        for f in fs:
            with b.feature("reflected by it", f):
                raise No("is no router: passes no route between sessions")
        return
    sessions = [Session("keel" + f[3], D[f], RT[f], US, [f], client=True) for f in fs]
    sessions += [Session("behind" + f[3], D_DOWN[f], S_DOWN[f], US, [f], client=True, passive=True) for f in fs]
    speakers = {"behind" + f: (b.speaker("behind", f, US), cases(f, 1, BEHIND, internal=True)) for f in fs}
    speakers.update({"up" + f: (b.speaker("up", f, UP), cases(f, 2, UP)) for f in fs})
    b.arrange(Setup(US, IT_ID, sessions, own(fs), announced(fs)), [internal_peer(D[f], [f]) for f in fs] +
              [peer_of(S_UP[f], UP, [f], passive=True) for f in fs], speakers, **INTERNAL)
    for f in fs:
        from_behind = reflected(cases(f, 1, BEHIND, internal=True), (BEHIND_ID, IT_ID), S_DOWN[f])
        with b.feature("iBGP from it", f) as t:
            without = ("originator_id", "cluster_list")
            t.same("all routes, attribute by attribute", lambda: without_origin_of_own(table(b.view("adj-in", D[f], f), without), f),
                   without_origin_of_own(table(dict(from_behind, **expected_own(b, f, "", D[f], local_pref=100)), without), f))
        with b.feature("reflected by it", f) as t:
            t.same("to us: what its other client said, with originator and cluster",
                   lambda: {p: r for p, r in table(b.view("adj-in", D[f], f)).items() if p not in OWN[f]}, from_behind)
            t.same("and we pass it on to another AS, without local pref, originator and cluster",
                   lambda: {p: r for p, r in table(b.speakers["up" + f][0].rib).items() if p in from_behind},
                   table({p: dict(r, as_path=("%d %s" % (US, r["as_path"])).strip(), next_hop=RT_UP[f]) for p, r in from_behind.items()},
                         ("local_pref", "originator_id", "cluster_list", "med")))
            without = () if d.default_med is None else ("med",)  # FRR adds MED 0 until 8.4, not in 10.7
            ours = {p: dict(r, local_pref=100, next_hop=S_UP[f], originator_id=ROUTER_ID, cluster_list=[IT_ID]) for p, r in cases(f, 2, UP).items()}
            t.same("to its other client: what we said",
                   lambda: {p: r for p, r in table(b.speakers["behind" + f][0].rib, without).items() if p in ours}, table(ours, without))


# ---- other transports and next hops ----

def link_local(b):
    """A session between fe80:: addresses, named by the link."""
    d, address = b.daemon, LOCAL_D + "%east"
    if V6 not in b.families:
        return
    setup = Setup(IT, IT_ID, [Session("keel6", LOCAL_D, LOCAL_RT, US, [V6], interface="east")], own([V6]), announced([V6]))
    with b.feature("link-local", V6) as t:
        cap = b.capture("link-local")
        try:
            b.arrange(setup, [peer_of(address, IT, [V6])], {}, wait=15, patience=0)
        except TimeoutError:
            cap.stop()
            t.true("ours refused by it", "refused" in peer(b.rpc, address)["last_error"], peer(b.rpc, address))
            t.equal("its connections", cap.connections(LOCAL_D), 0)
            raise No("has no zones: sends no SYN, and listens at no link-local address") from None
        cap.stop()
        seen = {}

        def own_routes():
            view = b.view("adj-in", address, V6)  # a snapshot, so that the output equals the compared value
            seen.update(view)
            return without_origin({p: comparable(r, ("local_pref", "next_hop")) for p, r in view.items()})
        def refused():
            return peer(b.rpc, address)["families"][V6].get("refused", {}).get("malformed-mp-reach-nlri", 0)
        wait_for("its routes, or their refusal", lambda: own_routes() or refused(), 20)
        if refused():
            t.true("the next hop is no address", "next hop :: is" in b.keeld.logged(), b.keeld.logged())
            raise No("its routes have the next hop ::")
        t.same("its routes", own_routes, without_origin(table(expected_own(b, V6, str(IT), None), ("next_hop",))))
        t.comes_to("their next hops are usable: global and link-local, or one of them", lambda: all(r["valid"] for r in b.view("adj-in", address, V6).values()), True)
        t.note("next hop " + " and ".join(sorted({"fe80::" if h.startswith("fe80:") else "::" if h == "::" else "global" for r in seen.values()
                                                      for k, h in r.items() if k.startswith("next_hop")})))
        ours = {NETWORK[V6]: {"origin": "igp", "as_path": str(US), "med": NETWORK_MED}}
        t.same("ours at it", lambda: table(d.routes("keel6", V6), ("local_pref", "next_hop")), ours)
        gone = list(OWN[V6])[1]
        d.withdraw(gone)
        t.comes_to("it withdraws one", lambda: gone in b.view("adj-in", address, V6), False)
        commit(b.rpc, [{"op": "remove", "path": "/bgp/networks/%d" % b.families.index(V6)}])
        t.comes_to("we withdraw ours", lambda: d.routes("keel6", V6), {})


def next_hop6(b):
    """IPv4 routes over a session between IPv6 addresses, with IPv6 next hops."""
    d = b.daemon
    if V6 not in b.families or V4 not in b.families:
        return
    setup = Setup(IT, IT_ID, [Session("keel6", D[V6], RT[V6], US, [V4, V6], next_hop6=True)], own([V4, V6]), announced([V4, V6]))
    with b.feature("RFC 8950", V4) as t:
        speakers = {"up" + V4: (b.speaker("up", V4, UP), cases(V4, 2, UP))}
        b.arrange(setup, [peer_of(D[V6], IT, [V4, V6], capabilities={"extended_next_hop": True}),
                          peer_of(S_UP[V4], UP, [V4], passive=True)], speakers)
        p = peer(b.rpc, D[V6])
        if not p["capabilities"].get("extended_next_hop", {}).get("negotiated"):
            t.equal("it did not announce capability 5", p["capabilities"].get("extended_next_hop", {}).get("remote"), False)
            raise No("has no capability 5")
        t.same("its routes have its IPv6 address as next hop",
               lambda: without_origin(table(b.view("adj-in", D[V6], V4), ("local_pref",))), without_origin(table(expected_own(b, V4, str(IT), D[V6]))))
        t.comes_to("... and are usable", lambda: all(r["valid"] for r in b.view("adj-in", D[V6], V4).values()), True)
        ours = {p: dict(r, as_path="%d %s" % (US, r["as_path"]), next_hop=RT[V6]) for p, r in cases(V4, 2, UP).items()}
        ours[NETWORK[V4]] = {"origin": "igp", "as_path": str(US), "next_hop": RT[V6], "med": NETWORK_MED}
        t.same("ours at it have our IPv6 address", lambda: table(d.routes("keel6", V4), ("local_pref",)), table(ours))


# ---- graceful restart ----

RESTARTS = 20  # of a daemon, until both sessions say that it has kept its routes


def graceful(b):
    """The daemon is killed and returns; a speaker with its routes from us must receive no message."""
    fs, d = b.families, b.daemon
    setup = Setup(IT, IT_ID, [Session("keel" + f[3], D[f], RT[f], US, [f], restart=60) for f in fs], own(fs), announced(fs))
    b.arrange(setup, [peer_of(D[f], IT, [f]) for f in fs] + [peer_of(S_UP[f], UP, [f], passive=True) for f in fs],
              {"up" + f: (b.speaker("up", f, UP), {}) for f in fs})
    capable = {f: restart_of(b, f) for f in fs}
    for f in fs:
        wait_for("its routes at the speaker", lambda: set(expected_own(b, f, "", "")) <= set(b.speakers["up" + f][0].rib), 20)
    keep = {f: table(expected_own(b, f, str(IT), D[f])) for f in fs}
    lost = {f: list(OWN[f])[2] for f in fs}
    for _ in range(RESTARTS if any(capable.values()) else 0):
        d.kill()
        stale = {f: stays_stale(b, f, keep[f]) for f in fs}
        cap = b.capture("graceful")
        d.start(Setup(IT, IT_ID, setup.sessions, setup.own, set(setup.announced) - set(lost.values())), recover=True)
        b.wait_up()
        for f in fs:
            wait_for("its routes after the restart", lambda: set(b.view("adj-in", D[f], f)) == set(keep[f]) - {lost[f]} or not capable[f], 20)
        messages = cap.stop().messages()
        if all(peer(b.rpc, D[f])["families"][f]["forwarding_kept"] for f in fs if capable[f]):
            break
        # GoBGP ends its restart with the first session in sync: a later OPEN has no F bit
        d.stop()
        at = {f: b.speakers["up" + f][0] for f in fs}
        wait_for("no route of it at the speakers", lambda: not any(set(keep[f]) & set(at[f].rib) for f in fs), 20)
        d.start(setup)
        b.wait_up()
        wait_for("its routes at the speakers", lambda: all(set(keep[f]) <= set(at[f].rib) for f in fs), 20)
        for f in fs:
            at[f].withdrawn.clear()
    for f in fs:
        with b.feature("helper", f) as t:
            helper(b, t, f, capable[f], capable[f] and stale[f], keep[f], lost[f], messages if capable[f] else [])
    if any(capable.values()):
        short_setup = Setup(IT, IT_ID, [s._replace(restart=2) for s in setup.sessions], setup.own, setup.announced)
        d.stop()
        d.start(short_setup)
        b.wait_up()
        for f in fs:
            wait_for("its routes", lambda: set(b.view("adj-in", D[f], f)) == set(keep[f]), 20)
        d.kill()
        stale = {f: stays_stale(b, f, keep[f]) for f in fs}
    for f in fs:
        with b.feature("helper, too late", f) as t:
            if not capable[f]:
                raise No("capability 64 names no family" if capable[f] is False else "it has no capability 64")
            t.true("stale at first", not stale[f], stale[f])
            t.comes_to("dropped after the restart time of 2 s", lambda: b.view("adj-in", D[f], f), {})
            t.comes_to("... and withdrawn from others", lambda: set(b.speakers["up" + f][0].rib) & set(keep[f]), set())
    if any(capable.values()):
        d.start(setup)
        b.wait_up()
    for f in fs:
        wait_for("our network at it", lambda: NETWORK[f] in d.routes("keel" + f[3], f), 20)
    b.kill_keeld()
    for f in fs:
        with b.feature("nothing kept of us", f) as t:
            t.comes_to("killed: it has dropped our routes", lambda: d.routes("keel" + f[3], f), {})
    b.start_keeld()


def restart_of(b, f):
    """True if the daemon's capability 64 names the family; None without the capability."""
    c = peer(b.rpc, D[f])
    if not c["capabilities"]["graceful_restart"]["remote"]:
        return None
    return bool(c["families"][f].get("graceful_restart"))


def stays_stale(b, f, expected):
    """Differences during the daemon's absence: none if all its routes stay and are stale."""
    last = [None]

    def good():
        routes = b.view("adj-in", D[f], f)
        last[0] = {p: r.get("stale") for p, r in routes.items()}
        return b.state(D[f]) != "established" and set(routes) == set(expected) and all(last[0].values())
    try:
        wait_for("stale routes", good, 5, patience=0)
    except TimeoutError:
        return last[0] or {"all": "gone"}
    return {}


def ended_early(messages, f):
    """True if the daemon sent routes of its own after its End-of-RIB."""
    updates = [set(announced_now) | set(gone) for s, kind, _, announced_now, gone in messages if s == D[f] and kind == UPDATE]
    return any(update & set(OWN[f]) for update in updates[updates.index(set()):]) if set() in updates else False


def helper(b, t, f, capable, stale, keep, lost, messages):
    if capable is None:
        raise No("it has no capability 64")
    if not capable:
        raise No("capability 64 names no family")
    up = b.speakers["up" + f][0]
    t.true("killed: all its routes stay, stale", not stale, stale)
    if not peer(b.rpc, D[f])["families"][f]["forwarding_kept"]:
        t.comes_to("back: the speaker heard that all went", lambda: set(up.withdrawn), set(keep))
        raise No("killed: its routes stay, stale; back: its capability 64 has no F bit, so they go at once (RFC 4724 4.2)")
    left = {p: r for p, r in keep.items() if p != lost}
    t.same("back, after its End-of-RIB: what it did not repeat is gone", lambda: without_origin(table(b.view("adj-in", D[f], f))), without_origin(left))
    t.comes_to("none is stale", lambda: [p for p, r in b.view("adj-in", D[f], f).items() if r["stale"]], [])
    # FRR 10.7 sometimes sends its End-of-RIB first: the routes go, and come again.
    t.comes_to("the speaker heard of that one only", lambda: sorted(up.withdrawn), sorted(keep) if ended_early(messages, f) else [lost])
