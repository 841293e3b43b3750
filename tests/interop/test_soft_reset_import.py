#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""Soft reset of imports: keel-policy(7) rules 1 to 5, against BIRD and FRR with and without route refresh, on both families, with traffic."""
from softreset import A, B, COUNT, HALF, HALF_OF, PREFER_B, REFUSE_B, SHARED, V4, V6, at, deny, main, node, permit, wait_for, wait_job, without_node

SENT, UNSUPPORTED = ("route-refresh-sent", None), ("unsupported", "no-route-refresh")


def number_01_import_asks_a_peer_with_route_refresh(w):
    """keeld sends ROUTE-REFRESH for exactly the named families that are negotiated."""
    c = w.c
    cases = (("peer", V4, "rpc", {"peer": at("a")}, {"a": SENT}, {"a": [(V4, 0)]}),
             ("group", V6, "keelctl", {"group": "transit"}, {"a": SENT, "b": UNSUPPORTED}, {"a": [(V6, 0)]}),
             ("internal", V6, "keelctl", {}, {"i6": SENT}, {"i": [(V6, 0)]}),
             ("external", V4, "keelctl", {}, {"a": SENT, "b": UNSUPPORTED, "f": SENT, "g": UNSUPPORTED}, {"a": [(V4, 0)], "f": [(V4, 0)]}),
             ("all", V6, "rpc", {}, {"a": SENT, "b": UNSUPPORTED, "f": ("unsupported", "not-negotiated"), "f6": SENT, "i6": SENT},
              {"a": [(V6, 0)], "f": [(V6, 0)], "i": [(V6, 0)]}))
    for scope, family, by, who, actions, requests in cases:
        with w.quiet():
            writes, wire = w.writes(), w.capture()
            c.equal("refresh %s %s import by %s" % (scope, family, by), w.refresh("import", scope, family, by, **who), actions)
            wire.stop().asked(**requests)
            c.equal("the same routes came again: no FIB write", w.writes(), writes)


def number_02_import_without_route_refresh_is_unsupported(w):
    """No message is sent, the session stays up, and keelctl returns 1 if no peer supports the request."""
    with w.quiet():
        wire = w.capture()
        w.c.equal("refresh peer b import", w.refresh("import", "peer", peer=at("b")), {"b": UNSUPPORTED})
        status, r = w.ctl("refresh", "bgp", "ipv6", at("b"), "import")
        w.c.equal("by keelctl, IPv6: exit status 1", (status, r["job"], [p["action"] for p in r["peers"]]), (1, None, ["unsupported"]))
        status, r = w.ctl("refresh", "bgp", at("g"), "import")
        w.c.equal("FRR without capabilities: the same", (status, [(p["action"], p["reason"]) for p in r["peers"]]), (1, [UNSUPPORTED]))
        status, r = w.ctl("refresh", "bgp", "external", "import")
        w.c.equal("where somebody could: exit status 0", status, 0)
        wait_job(w.rpc, r["job"])
        wire.stop().asked(a=[(V4, 0)], f=[(V4, 0)])


def number_05_keep_all_routes_for_the_first_time(w):
    """Re-established exactly once without route refresh, never with route refresh: there one request for each family fills the kept routes. In a
    group, each peer by its own case."""
    c = w.c
    before, others = {n: w.peer(n)["established_count"] for n in "ab"}, {n: w.peer(n)["established_count"] for n in ("f", "f6", "g", "i", "i6")}
    wire = w.capture()
    # b's session is down for a moment, without traffic: all traffic goes by a
    effects = w.edit("bgp 64512", *(line for f in ("ipv4-family", "ipv6-family") for line in (f + " unicast", "peer transit keep-all-routes", "quit")))
    c.equal("by keelctl, as the documents have it; effects: a request a family to a, b's session is reset", effects,
            {("a", V4, "import"): SENT, ("a", V6, "import"): SENT,
             ("b", V4, "import"): ("session-reset", "keep-all-routes"), ("b", V6, "import"): ("session-reset", "keep-all-routes")})
    wait_for("b again", lambda: w.peer("b")["established_count"] == before["b"] + 1 and w.peer("b")["state"] == "established", 30)
    for f in (V4, V6):
        wait_for("its routes", lambda: w.family("b", f)["received"] == COUNT, 20)
        c.equal("%s: kept of both" % f, [w.family(n, f)["keep_all_routes"] for n in "ab"], [True, True])
    wire.stop()
    c.equal("on the wire: one request a family to a", sorted(wire.requests("a")), [(V4, 0), (V6, 0)])
    c.equal("... and none to b", wire.requests("b"), [])
    c.equal("a's session stands", w.peer("a")["established_count"], before["a"])
    c.equal("and so do the others", {n: w.peer(n)["established_count"] for n in others}, others)
    with w.quiet():
        c.equal("said again, it is nothing", w.edit("bgp 64512", "ipv4-family unicast", "peer transit keep-all-routes", "return"), {})
        effects = w.commit(node("from-a", deny(1, {"prefix_list": "nothing"})), node("from-b", deny(1, {"prefix_list": "nothing"})))
        c.equal("a policy later: nobody is reset or asked", set(effects.values()), {("replayed", None)})
        w.commit(without_node("from-a"), without_node("from-b"))


def number_03_import_with_kept_routes_replays(w):
    """A peer without route refresh: announced routes are evaluated again, without a message to the peer; refused routes are removed."""
    c = w.c
    delay = [{"op": "add", "path": "/bgp/policy_change_delay_s", "value": 300}, {"op": "add", "path": "/bgp/policy_change_max_delay_s", "value": 300}]
    w.commit(*delay)
    gone = SHARED[V4][3], SHARED[V6][3]
    for p in gone:
        w.daemons["b"].withdraw(p)
    for f in (V4, V6):
        wait_for("withdrawal", lambda: w.family("b", f)["received"] == COUNT - 1, 20)
    with w.quiet():
        wire = w.capture()
        c.equal("a committed policy waits", set(w.commit(PREFER_B, wait=False).values()), {("replayed", None)})
        jobs = w.jobs
        c.equal("... for its delay", {w.rpc.call("jobs.get", id=j)["state"] for j in jobs}, {"running"})
        w.masks(A | B, A)
        for family, by in ((V4, "rpc"), (V6, "keelctl")):
            c.equal("refresh group import by %s, %s" % (by, family), w.refresh("import", "group", family, by, group="transit"),
                    {"a": ("no-op", "keep-all-routes"), "b": ("replayed", None)})
            w.moved_to("b", family)
        w.masks(B, A)
        for j in jobs:
            c.equal("it applied what waited", wait_job(w.rpc, j)["state"], "done")
        c.equal("what was withdrawn does not come back", [w.rpc.call("rib.routes", family=f, view="adj-in", peer=at("b"), prefix=p)["routes"]
                                                         for f, p in zip((V4, V6), gone)], [[], []])
        w.masks(A | B, A)
        w.commit(without_node("from-b"), REFUSE_B, wait=False)
        for family in (V4, V6):
            c.equal("refused: refresh peer import, %s" % family, w.refresh("import", "peer", family, peer=at("b")), {"b": ("replayed", None)})
            w.moved_to("a", family)
            v = w.family("b", family)
            left = len(HALF[family])
            c.equal("%s: what is refused is kept and not used" % family, (v["received"], v["accepted"]), (COUNT - 1, COUNT - 1 - left))
        w.masks(A, A)
        w.commit(without_node("from-b"), wait=False)
        w.refresh("import", "all", V4)
        w.refresh("import", "all", V6)
        for family in (V4, V6):
            wait_for("accepted again", lambda: w.family("b", family)["accepted"] == COUNT - 1, 20)
        w.fence("b")
        wire.stop().silent("all that", "b")
    for p in gone:
        w.daemons["b"].announce(p)
    w.commit(*[{"op": "replace", "path": p["path"], "value": v} for p, v in zip(delay, (0, 30))])


def number_04_import_with_kept_routes_and_route_refresh_is_a_no_op(w):
    """The command sends no message, changes nothing, and returns the reason. A committed policy replays kept routes."""
    c = w.c
    with w.quiet():
        wire, writes = w.capture(), w.writes()
        c.equal("refresh peer import", w.refresh("import", "peer", peer=at("a")), {"a": ("no-op", "keep-all-routes")})
        status, r = w.ctl("refresh", "bgp", "ipv6", at("a"), "import")
        c.equal("by keelctl, IPv6: exit status 0, no job", (status, r["job"], [(p["action"], p["reason"]) for p in r["peers"]]),
                (0, None, [("no-op", "keep-all-routes")]))
        c.equal("no FIB write", w.writes(), writes)
        w.masks(A | B, A)
        effects = w.commit(node("from-a", permit(5, HALF_OF, local_pref=50)))
        c.equal("a committed policy replays", effects, {("a", V4, "import"): ("replayed", None), ("a", V6, "import"): ("replayed", None)})
        for f in (V4, V6):
            w.moved_to("b", f)
        w.masks(B, A)
        w.masks(A | B, A)
        w.commit(without_node("from-a"))
        for f in (V4, V6):
            w.moved_to("a", f)
        w.masks(A, A)
        w.fence("a")
        wire.stop().silent("command and commit", "a")


if __name__ == "__main__":
    main("soft_reset_import", (number_01_import_asks_a_peer_with_route_refresh, number_02_import_without_route_refresh_is_unsupported,
                               number_05_keep_all_routes_for_the_first_time, number_03_import_with_kept_routes_replays,
                               number_04_import_with_kept_routes_and_route_refresh_is_a_no_op))
