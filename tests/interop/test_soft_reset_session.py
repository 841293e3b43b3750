#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""Soft reset and sessions: keel-policy(7) rules 8 to 12, against BIRD and FRR with and without route refresh, on both families."""
import json
import os
import signal

from softreset import (A, ASN, B, FEED, HALF_OF, NOTIFICATION, PREFER_B, ROUTE_REFRESH, SESSIONS, SHARED, UPDATE, V4, V6, at, error_of, main, node, ours, permit, wait_for,
                       wait_job, without_node)

NOT_FOUND = -32004


def number_08_route_refresh_is_said_in_open(w):
    """Changing capabilities.route_refresh re-establishes this session only; without the capability, import is unsupported, and no request is sent."""
    c = w.c
    for name, family in (("i", V4), ("f6", V6)):
        line = "peer %s capability-advertise route-refresh" % SESSIONS[name]
        for on in (False, True):
            before, others = w.peer(name)["established_count"], {n: v for n, v in w.sessions()[0].items() if n != name}
            effects = w.edit("bgp 64512", line if on else "undo " + line)
            c.equal("%s: route refresh %s: the session is reset" % (name, on), {e for (n, _, _), e in effects.items() if n == name},
                    {("session-reset", "configuration-change")})
            c.comes_to("... once", lambda: (w.peer(name)["state"], w.peer(name)["established_count"]), ("established", before + 1), 30)
            c.equal("... as both say it now", [w.peer(name)["capabilities"]["route_refresh"][k] for k in ("local", "remote", "negotiated")], [on, True, on])
            c.comes_to("its routes are there", lambda: w.family(name, family)["accepted"], 4, 20)
            action = w.refresh("import", "peer", family, peer=SESSIONS[name])[name]
            c.equal("... import", action, ("route-refresh-sent", None) if on else ("unsupported", "no-route-refresh"))
            c.equal("nobody else's session changed", {n: v for n, v in w.sessions()[0].items() if n != name}, others)


def number_09_reset(w):
    """Cease / Administrative Reset, with its text; each scope; the answer names every dropped family. Without `force` no session is reset."""
    c, names = w.c, {a: n for n, a in SESSIONS.items()}

    def reset(family=V4, **params):
        r = w.rpc.call("bgp.reset", family=family, **params)
        return {names[p["address"]]: (p["action"], p["families_dropped"]) for p in r["peers"]}

    both, drops = [V4, V6], {"a": [V4, V6], "b": [V4, V6], "f": [V4], "f6": [V6], "g": [V4], "i": [V4], "i6": [V6]}
    scopes = (("all", V6, {}, "a b f f6 i6"), ("peer", V4, {"peer": at("g")}, "g"), ("group", V4, {"group": "transit"}, "a b"),
              ("internal", V6, {}, "i6"), ("external", V4, {}, "a b f g"), ("asn", V6, {"asn": ASN["f"]}, "f f6"))
    with w.quiet():
        wire = w.capture()
        for scope, family, who, hit in scopes:
            c.equal("reset %s %s without force" % (scope, family), reset(family, scope=scope, **who), {n: ("would-reset", drops[n]) for n in hit.split()})
        for params in ({"scope": "peer", "peer": "192.0.2.77"}, {"scope": "group", "group": "nobody"}, {"scope": "asn", "asn": 65000},
                       {"scope": "slow-peer"}):
            e = error_of(w.rpc, "bgp.reset", family=V4, force=True, **params)
            c.equal("reset %s that matches nobody: an error that says so" % params, (e["code"], bool(e["data"]["reason"])), (NOT_FOUND, True))
        status, text = w.ctl("reset", "bgp", "ipv4", "slow-peer")
        c.true("keelctl: exit status 1", status == 1 and "slow" in text, (status, text))
        w.fence("g")
        wire.stop()
        c.equal("nothing was said on the wire", [n for h in ASN for n in wire.of(h, NOTIFICATION)], [])

    w.masks(A | B, A | B)
    w.commit(PREFER_B, node("from-b", permit(4, {}, local_pref=250)))  # all by b, until b itself is reset
    for family in both:
        w.moved_to("b", family, SHARED[family])
    w.masks(B, B)
    text = "maintenance \u00fcber Nacht"
    for host, go in (("a", lambda: reset(V6, scope="peer", peer=at("a"), force=True, text=text)), ("g", lambda: w.ctl("reset", "bgp", str(ASN["g"]))),
                     ("i", lambda: reset(V4, scope="internal", force=True, text=text))):
        before = w.sessions()[0]
        wire = w.capture()
        r = go()
        if host == "g":
            c.equal("by keelctl, by AS: exit status 0", (r[0], [(p["action"], p["families_dropped"]) for p in r[1]["peers"]]), (0, [("reset", [V4])]))
        else:
            c.equal("reset by peer, internal: " + host, r, {host: ("reset", drops[host])})
        c.comes_to("%s is back" % host, lambda: w.sessions()[0][host], ("established", before[host][1] + 1), 40)
        said = [json.dumps(m, ensure_ascii=False) for m in wire.stop().of(host, NOTIFICATION)]
        c.true("NOTIFICATION Cease / Administrative Reset", any('"bgp.notify.major_error": "6"' in m and '"bgp.notify.minor_error_cease": "4"' in m for m in said), said)
        if host != "g":
            c.true("... with its text", any(text in m for m in said), said)
        c.equal("nobody else's session changed", {n: v for n, v in w.sessions()[0].items() if n != host}, {n: v for n, v in before.items() if n != host})
    w.masks(A | B, A | B)
    w.say("phase link")  # a and b go down together: lost routes have no replacement
    for words, hit in (("external", ("a", "b", "f", "g")), ("all", ("a", "b", "f", "g", "i")), ("group transit", ("a", "b"))):
        before = w.sessions()[0]
        status, r = w.ctl("reset", "bgp", *words.split())
        c.equal("keelctl reset bgp " + words, (status, {names[p["address"]]: p["action"] for p in r["peers"]}), (0, dict.fromkeys(hit, "reset")))
        c.comes_to("all are back, and nobody else went", w.established, {n: v + (n in hit) for n, (_, v) in before.items()}, 60)
    w.wait_whole("b")
    w.say("phase rest")
    w.commit(without_node("from-b"), without_node("from-b"))
    w.wait_whole()
    w.masks(A, A)


def number_10_no_soft_reset_drops_a_session(w):
    """All soft resets, in both directions, repeatedly, during policy changes: no session is lost or restarted; hold times are 9 s."""
    c = w.c
    c.equal("the hold time", {w.peer(n)["hold_time_s"] for n in SESSIONS}, {9})
    with w.quiet():
        w.masks(A | B, A)
        for turn in range(3):
            jobs = []
            for family in (V4, V6):
                for scope in ("all", "external", "internal"):
                    for direction in ("import", "export"):
                        r = w.rpc.call("bgp.refresh", family=family, scope=scope, direction=direction)
                        jobs.append(r["job"])
            w.commit(PREFER_B if turn % 2 == 0 else without_node("from-b"), wait=False)
            w.commit(node("to-f", permit(5, HALF_OF, med=turn)) if turn % 2 == 0 else without_node("to-f"), wait=False)
            c.equal("round %d: all jobs end well" % turn, {wait_job(w.rpc, j)["state"] for j in jobs}, {"done"})
        w.commit(without_node("from-b"), without_node("to-f"))
        for family in (V4, V6):
            w.moved_to("a", family)  # a job's end is the RIB's: the FIB takes few changes up to 20 ms later
        w.masks(A, A)


def number_11_repeated_requests_cost_one_more_walk(w):
    """Requests during a walk share one more walk, and so do requests while an answer is pending; no request is lost."""
    c = w.c
    asked = 20
    with w.quiet():
        f, i = w.daemons["f"].process.popen.pid, w.daemons["i"].process.popen.pid
        before = w.family("i")["refresh"]
        wire = w.capture()
        os.kill(i, signal.SIGSTOP)  # the peer does not answer
        try:
            jobs = {w.rpc.call("bgp.refresh", family=V4, scope="internal", direction="import")["job"] for _ in range(asked)}
        finally:
            os.kill(i, signal.SIGCONT)
        c.equal("import: every request has its job, and each ends", {wait_job(w.rpc, j)["state"] for j in jobs}, {"done"})
        wire.stop()
        c.true("... by at most two messages", 1 <= len(wire.requests("i")) <= 2, wire.requests("i"))
        c.equal("... as it counts itself", w.family("i")["refresh"]["requests_sent"] - before["requests_sent"], len(wire.requests("i")))

        many_routes(w)
        w.fence("f")  # an empty output: a walk begins at once
        wire = w.capture()
        os.kill(f, signal.SIGSTOP)  # the peer does not read: the walk cannot end
        try:
            jobs = [w.rpc.call("bgp.refresh", family=V4, scope="peer", peer=at("f"), direction="export")["job"] for _ in range(asked)]
            c.equal("export: the walk runs", {w.rpc.call("jobs.get", id=j)["state"] for j in jobs}, {"running"})
        finally:
            os.kill(f, signal.SIGCONT)
        c.equal("export: every request has its job, and each ends", {wait_job(w.rpc, j)["state"] for j in jobs}, {"done"})
        w.fence("f")
        kinds = wire.kinds("f")
        c.equal("... by two walks", [t for k, t in kinds if k == ROUTE_REFRESH], [1, 2, 1, 2])
        c.true("... each of everything", sum(1 for k, _ in kinds if k == UPDATE) > 2 * MANY / 50, len(kinds))


MANY = 40000  # some 600 kB of messages: keeld holds 128 of them, the sockets fewer


def many_routes(w):
    """More routes than all buffers hold on the way to a peer that does not read."""
    w.lab.sh("i", "ip address add 198.18.5.3/24 dev e0")
    w.commit({"op": "add", "path": "/bgp/peers/-", "value": {"address": "198.18.5.3", "asn": 64605, "enforce_first_as": False, "families": {
        V4: {"import_policy": "accept-all", "export_policy": "deny-all"}}}})
    w.lab.spawn("feed", "i", [FEED, "--connect", ours("i"), "--source", "198.18.5.3", "--asn", "64605", "--peer-asn", "64512", "--count", str(MANY)], lines=True)
    wait_for("all at f", lambda: w.family("f")["advertised"] > MANY, 60)


def number_12_another_vrf(w):
    """VRFs cannot be configured yet: a refresh in an unknown VRF is an error without effects."""
    c = w.c
    with w.quiet():
        wire, writes = w.capture(), w.writes()
        for family in (V4, V6):
            for direction in ("import", "export"):
                e = error_of(w.rpc, "bgp.refresh", family=family, vrf="red", scope="all", direction=direction)
                c.equal("vrf red, %s %s: nobody" % (family, direction), (e["code"], e["data"]["path"]), (NOT_FOUND, "/vrf"))
                status, text = w.ctl("refresh", "bgp", "vpn-instance", "red", family.split("-")[0] + "-family", "all", direction)
                c.true("keelctl: exit status 1, and why", status == 1 and "red" in text, (status, text))
        e = error_of(w.rpc, "bgp.reset", family=V4, vrf="red", scope="all", force=True)
        c.equal("nor a reset", e["code"], NOT_FOUND)
        w.fence("a", "b", "f", "g", "i")
        wire.stop()
        for h in ASN:
            wire.silent("another VRF", h)
        c.equal("no FIB write", w.writes(), writes)


if __name__ == "__main__":
    main("soft_reset_session", (number_12_another_vrf, number_10_no_soft_reset_drops_a_session, number_09_reset, number_08_route_refresh_is_said_in_open,
                                number_11_repeated_requests_cost_one_more_walk), keep=True, hold_s=9)
