#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""Soft reset of exports, and automatic effects of a commit: keel-policy(7) rules 6 and 7, against BIRD and FRR with and without route refresh, on
both families, with traffic."""
import time

from softreset import A, B, COUNT, FENCE, HALF_OF, PREFER_B, SESSIONS, SPARE, V4, V6, at, deny, main, node, permit, wait_for, wait_job, without_node

DELAY = "/bgp/policy_change_delay_s", "/bgp/policy_change_max_delay_s"
ADVERTISED = "readvertised", None
NOT_THERE, IDLE = ("f", V6, "export"), ("none", "not-negotiated")


def delays(w, delay, longest, op="replace"):
    w.commit(*[{"op": op, "path": p, "value": v} for p, v in zip(DELAY, (delay, longest))])


def sent_to(w, host, family):
    """The prefixes currently advertised to a host."""
    return sorted(r["prefix"] for r in w.rpc.call("rib.routes", family=family, view="adj-out", peer=SESSIONS[w.session_of(host, family)])["routes"])


def number_06_export_advertises_the_whole_again(w):
    """Routes are sent between BoRR and EoRR if negotiated. A peer without route refresh receives the routes, too, and the result reports the missing capability."""
    c = w.c
    framed = {"a": True, "b": False, "f": True, "g": False, "i": True}
    cases = (("peer", V4, "rpc", {"peer": at("a")}, "a"), ("peer", V6, "keelctl", {"peer": at("b")}, "b"), ("peer", V4, "keelctl", {"peer": at("g")}, "g"),
             ("group", V6, "keelctl", {"group": "transit"}, "ab"), ("internal", V4, "rpc", {}, "i"), ("external", V4, "keelctl", {}, "abfg"),
             ("all", V6, "rpc", {}, "abfi"))
    for scope, family, by, who, hosts in cases:
        with w.quiet():
            told, wire, writes = {h: w.told(h, family) for h in hosts}, w.capture(), w.writes()
            r = w.refresh("export", scope, family, by, **who)
            c.equal("refresh %s %s export by %s: all that have the family up" % (scope, family, by),
                    sorted(n for n, (action, _) in r.items() if action == "readvertised"), sorted(w.session_of(h, family) for h in hosts))
            c.equal("... and says who has no route refresh", sorted(n for n, (action, reason) in r.items() if action == "readvertised" and reason),
                    sorted(h for h in hosts if h in "bg"))
            w.fence(*hosts)
            wire.stop()
            for h in framed:
                requests, (come, gone) = wire.requests(h), wire.told(h)
                come, gone = w.but(come, FENCE), w.but(gone, FENCE)
                if h not in hosts:
                    c.equal("nothing to " + h, (requests, come, gone), ([], [], []))
                    continue
                c.equal("%s: everything, once, and no withdrawal" % h, (sorted(come), gone), (sent_to(w, h, family), []))
                c.true("... and it is something", come, come)
                c.equal("... in a frame where both have it", requests, [(family, 1), (family, 2)] if framed[h] else [])
            c.equal("they have what they had", {h: sorted(w.told(h, family)) for h in hosts}, {h: sorted(told[h]) for h in hosts})
            c.equal("no FIB write", w.writes(), writes)


def number_07_committed_policies_refresh_by_themselves(w):
    """A refresh runs once per peer and family, in the affected direction, after the delay. A later change restarts the delay, up to the maximum. A
    command does not wait. An edit without a commit has no effect."""
    c = w.c
    with w.quiet():
        wire = w.capture()
        jobs = w.rpc.call("jobs.list")
        w.rpc.call("config.edit", patch=[PREFER_B, node("to-f", permit(5, HALF_OF, med=7))])
        w.fib_fence()
        c.equal("a candidate is edited: no job", w.rpc.call("jobs.list"), jobs)
        w.rpc.call("config.discard")
        wire.stop().asked()
        c.equal("... not even to f", w.but(wire.told("f")[0], FENCE, SPARE), [])

        wire = w.capture()
        effects = w.commit(node("to-f", permit(5, {"prefix_list": "marked"}, med=7)), {"op": "add", "path": "/prefix_lists/-", "value": {
            "name": "marked", "entries": [{"action": "permit", "prefix": p} for p in ("10.5.0.0/24", "2001:db8:500::/48")]}})
        c.equal("an export policy: both of f's sessions", effects, {("f", V4, "export"): ADVERTISED, ("f6", V6, "export"): ADVERTISED, NOT_THERE: IDLE})
        for f, p in ((V4, "10.5.0.0/24"), (V6, "2001:db8:500::/48")):
            c.comes_to("f has the new MED, %s" % f, lambda: w.told("f", f)[p].get("med"), 7)
        effects = w.commit({"op": "replace", "path": "/prefix_lists/3/entries/0/prefix", "value": "10.5.1.0/24"})
        c.equal("a list that it refers to", set(effects.values()), {ADVERTISED, IDLE})
        c.comes_to("the other one has it now", lambda: [w.told("f", V4)[p].get("med", 0) for p in ("10.5.0.0/24", "10.5.1.0/24")], [0, 7])
        w.fence("f", "a", "b", "g", "i")
        wire.stop().asked()
        come, gone = wire.told("f")
        c.equal("only differences were sent", (sorted(w.but(come, FENCE)), w.but(gone, FENCE)),
                (["10.5.0.0/24", "10.5.0.0/24", "10.5.1.0/24", "2001:db8:500::/48"], []))
        for h in "abgi":
            c.equal("nothing to " + h, [w.but(x, FENCE) for x in wire.told(h)], [[], []])
        w.commit(without_node("to-f"), {"op": "remove", "path": "/prefix_lists/3"})

        wire = w.capture()
        w.masks(A | B, A)
        effects = w.commit(PREFER_B, node("from-a", permit(5, HALF_OF, local_pref=40)))
        c.equal("import policies: a is asked, b cannot be", effects,
                {("a", f, "import"): ("route-refresh-sent", None) for f in (V4, V6)} | {("b", f, "import"): ("not-applied", "no-route-refresh") for f in (V4, V6)})
        for f in (V4, V6):
            w.moved_to("b", f)  # a's are worse now
        w.masks(B, A)
        w.masks(A | B, A)
        w.commit(without_node("from-a"), without_node("from-b"))
        for f in (V4, V6):
            w.moved_to("a", f)
        w.masks(A, A)
        wire.stop().asked(a=[(V4, 0), (V6, 0)] * 2)

    delays(w, 2, 3, "add")
    with w.quiet():
        for times in range(5):
            wire, begin, jobs = w.capture(), time.monotonic(), set()
            for n in range(3):  # commits at 0, 1.2 and 2.4 s; each restarts the delay of 2 s (until 4.4 s), but the limit is 3 s
                wait_for("its time", lambda: time.monotonic() >= begin + 1.2 * n, 3, poll=0.01)
                w.commit(node("to-i", permit(n + 1, {"prefix_list": "nothing"}, med=n)), node("to-f", permit(5 - n, HALF_OF, med=n)),
                         node("from-f", permit(5 - n, {"prefix_list": "nothing"})), wait=False)
                jobs |= set(w.jobs)
            states = {w.rpc.call("jobs.get", id=j)["state"] for j in jobs}
            asked = time.monotonic() - begin
            for j in jobs:
                wait_job(w.rpc, j)
            took = time.monotonic() - begin
            wire.stop()
            if (asked < 2.9 and took < 4.2) or times == 4:
                break
            print("note: the machine was late (asked after %.2f s, done after %.2f s): once more" % (asked, took), flush=True)
            w.commit(*[without_node(p) for p in ("to-i", "to-f", "from-f") for _ in range(3)])
        c.equal("a change restarts the delay: a job a session, family and direction", len(jobs), 6)
        c.equal("... which waits", states, {"running"})
        # too slow a machine in all runs: the end says nothing about the limit
        c.true("... but not longer than the longest", 2.9 < took and (took < 4.2 or times == 4), "%.2f s" % took)
        c.equal("one request a session and family for all three", sorted(r for r in wire.requests("f") if r[1] == 0), [(V4, 0), (V6, 0)])
        c.equal("... and to nobody else", [r for h in "abgi" for r in wire.requests(h) if r[1] == 0], [])
        w.commit(*[without_node(p) for p in ("to-i", "to-f", "from-f") for _ in range(3)])
        delays(w, 300, 300)
        w.commit(node("to-f", deny(1, {"prefix_list": "marked4"})), {"op": "add", "path": "/prefix_lists/-", "value": {
            "name": "marked4", "entries": [{"action": "permit", "prefix": "10.5.2.0/24"}]}}, wait=False)
        c.equal("a command", w.refresh("export", "peer", V4, peer=at("f")), {"f": ADVERTISED})
        c.comes_to("... does not wait", lambda: "10.5.2.0/24" in w.told("f", V4), False)
        delays(w, 0, 30)
        w.commit(without_node("to-f"), {"op": "remove", "path": "/prefix_lists/3"})
    c.comes_to("all as before", lambda: "10.5.2.0/24" in w.told("f", V4), True)


def sizes(w):
    return [(t["vrf"], t["family"], t["prefixes"], t["paths"]) for t in w.rpc.call("rib.summary")["tables"]]


def acceptance_05_nothing_moves_that_need_not(w):
    """A commit of policies without an effect on any route: keeld sends no UPDATE and writes nothing to the FIB, with route refresh and with kept routes."""
    c = w.c
    other = {"prefix_list": "nothing"}
    of_fence = w.fib_fence()
    for keep in (False, True):
        if keep:
            w.commit(*[{"op": "add", "path": "/bgp/groups/0/families/%s/keep_all_routes" % f, "value": True} for f in (V4, V6)])
            w.wait_up()
            for f in (V4, V6):
                wait_for("b's routes", lambda: w.family("b", f)["received"] == COUNT, 20)
            w.fib_fence()
        what = "kept routes" if keep else "route refresh"
        for attempt in range(3):  # one write of another cause came once in three runs of the suite; a write by the commit comes each time
            with w.quiet():
                wire, writes = w.capture(), w.writes()
                before = sizes(w)
                effects = w.commit(node("from-a", permit(5, HALF_OF, local_pref=100)), node("from-b", deny(5, other)), node("from-f", deny(5, other)),
                                   node("to-f", permit(5, HALF_OF)), node("to-transit", deny(5, other)), node("to-i", deny(5, other)),
                                   node("to-g", permit(5, HALF_OF)))
                c.equal("%s: the effects on import" % what, {e for (n, f, d), e in effects.items() if d == "import" and n == "a"},
                        {("replayed" if keep else "route-refresh-sent", None)})
                c.equal("... and on export, of all sessions", sorted({n for (n, f, d), e in effects.items() if d == "export" and e == ADVERTISED}),
                        sorted(n for n in SESSIONS))
                again = w.fib_fence()  # said to i, g, a and b, too
                w.fence("a", "b", "f", "g", "i")
                wire.stop()
                for h in "abfgi":
                    come, gone = (w.but(x, FENCE, SPARE) for x in wire.told(h))
                    c.equal("%s: no UPDATE to %s" % (what, h), (come, gone), ([], []))
                wrote = w.writes() - writes, again
                if attempt == 2 or wrote == (of_fence, of_fence):
                    c.equal("%s: no FIB write" % what, wrote, (of_fence, of_fence))
                c.equal("the RIB is what it was", sizes(w), before)
                w.commit(*[without_node(p) for p in ("from-a", "from-b", "from-f", "to-f", "to-transit", "to-i", "to-g")])
            if wrote == (of_fence, of_fence):
                break


if __name__ == "__main__":
    main("soft_reset_export", (number_06_export_advertises_the_whole_again, number_07_committed_policies_refresh_by_themselves,
                               acceptance_05_nothing_moves_that_need_not))
