# SPDX-License-Identifier: BSD-3-Clause
"""The clauses that need no large table."""
import struct

import wire
from labtest import NOTIFICATION, ROUTE_REFRESH, UPDATE, V4, V6, wait_for
from kit import MAY, MUST, SHOULD, TABLE, clause
from adapters import REJECTED, STALE_S
from tester import BORR, EORR, REQUEST, Fail, listed

LOWER, UPPER = ["10.200.%d.0/24" % i for i in range(5)], ["10.200.%d.0/24" % (128 + i) for i in range(5)]
assert REJECTED == "10.200.128.0/17"


# ---- capabilities ----

@clause("RFC 2918 3", SHOULD, "A speaker with route refresh announces capability 2 in OPEN, without a value")
def capability_2(kit):
    seen = kit.watch.remote_capabilities()
    if seen.get(2) != [b""]:
        raise Fail("its OPEN has capabilities %s" % sorted(seen))


@clause("RFC 7313 4", SHOULD, "A speaker with BoRR and EoRR announces capability 70 in OPEN, without a value")
def capability_70(kit):
    kit.needs(70)
    if kit.watch.remote_capabilities()[70] != [b""]:
        raise Fail("its capability 70 has a value: %s" % kit.watch.remote_capabilities()[70])


# ---- requests to the daemon ----

@clause("RFC 2918 4", MUST, "A request is answered with the whole Adj-RIB-Out of the family")
def answer_whole(kit):
    t = kit.listener()
    before, mark = dict(t.rib), t.mark()
    t.ask()
    kit.answered(t, mark, TABLE)
    if {p: t.rib[p] for p in TABLE} != {p: before[p] for p in TABLE}:
        raise Fail("what came again differs from what came first")


@clause("RFC 2918 4", MUST, "A peer with neither RFC 7313 nor RFC 4724 gets the whole Adj-RIB-Out too")
def answer_plain(kit):
    t = kit.listener(capabilities=(2,), restart=None)
    mark = t.mark()
    t.ask()
    kit.answered(t, mark, TABLE)


def framed(kit, t, prefixes, family=V4):
    mark = t.mark()
    t.ask(family=family)
    kit.answered(t, mark, prefixes, family=family)
    if not t.subtypes(mark, family):
        raise Fail("all routes came, and neither BoRR nor EoRR")
    t.wait("EoRR", lambda: EORR in t.subtypes(mark, family))
    messages = t.since(mark)
    kinds = [m.body[2] if m.kind == ROUTE_REFRESH else "routes" for m in messages
             if m.kind == ROUTE_REFRESH or (m.kind == UPDATE and set(prefixes) & set(m.come))]
    if kinds[0] != BORR or kinds[-1] != EORR or t.subtypes(mark, family) != [BORR, EORR]:
        raise Fail("the order was %s" % " ".join(str({BORR: "BoRR", EORR: "EoRR"}.get(k, k)) for k in dict.fromkeys(kinds)))


@clause("RFC 7313 4", MUST, "A peer with capability 70 gets BoRR before the first route, EoRR after the last route")
def answer_framed(kit):
    kit.needs(70)
    framed(kit, kit.listener(), TABLE)


@clause("RFC 7313 4", MUST, "A peer with capability 70 and without graceful restart (no capability 64) gets BoRR and EoRR too")
def framed_without_restart(kit):
    kit.needs(70)
    framed(kit, kit.listener(restart=None), TABLE)


@clause("RFC 7313 4", MUST, "A peer without capability 70 is sent no BoRR and no EoRR")
def plain_peer_no_frame(kit):
    t = kit.listener(capabilities=(2,))
    mark = t.mark()
    t.ask()
    kit.answered(t, mark, TABLE)
    kit.fence(kit.source, t)
    if t.since(mark, ROUTE_REFRESH):
        raise Fail("ROUTE-REFRESH of subtypes %s came" % t.subtypes(mark))


@clause("RFC 2918 4", MUST, "A request for a family without negotiation is ignored: no message, the session stays")
def family_not_negotiated(kit):
    t = kit.listener()
    mark = t.mark()
    t.ask(family=V6)
    t.send(ROUTE_REFRESH, struct.pack(">HBB", 99, REQUEST, 99))
    unanswered(kit, t, mark)


def unanswered(kit, t, mark):
    """The messages of `t` had no effect on the daemon."""
    kit.fence(t, kit.watch)
    kit.fence(kit.source, t)
    t.must_be_up("after it")
    if t.since(mark, ROUTE_REFRESH) or t.said(mark) & set(TABLE):
        raise Fail("answered: %d ROUTE-REFRESH, %d routes" % (len(t.since(mark, ROUTE_REFRESH)), len(t.said(mark) & set(TABLE))))


@clause("RFC 7313 5", MUST, "ROUTE-REFRESH of an unknown subtype (3, 255) is ignored: no message, the session stays")
def unknown_subtype(kit):
    kit.needs(70)
    t = kit.listener()
    mark = t.mark()
    t.ask(3)
    t.ask(255)
    unanswered(kit, t, mark)


def malformed(kit, subtype, more):
    kit.needs(70)
    t = kit.listener()
    mark = t.mark()
    t.ask(subtype, more=more)
    try:
        t.wait("NOTIFICATION", lambda: t.since(mark, NOTIFICATION))
    except Fail as e:
        raise Fail("no NOTIFICATION; %s" % ("the connection was closed" if t.closed else "the session stays up")) from e
    sent = t.since(mark, ROUTE_REFRESH, out=True)[-1].body
    return t.since(mark, NOTIFICATION)[0].body, b"\xff" * 16 + struct.pack(">HB", 19 + len(sent), ROUTE_REFRESH) + sent


@clause("RFC 7313 5", MUST, "BoRR or EoRR of a length other than 4 is answered with NOTIFICATION 7/1")
def wrong_length(kit):
    for subtype, word in ((BORR, "BoRR"), (EORR, "EoRR")):
        said, _ = malformed(kit, subtype, b"\0")
        if said[:2] != b"\7\1":
            raise Fail("to a %s of 5 octets it says NOTIFICATION %d/%d" % (word, said[0], said[1]))


@clause("RFC 7313 5", MUST, "... with the whole faulty message as data")
def wrong_length_data(kit):
    said, message = malformed(kit, BORR, b"\0\0\0")
    if said[:2] != b"\7\1" or said[2:] != message:
        raise Fail("NOTIFICATION %d/%d has %s instead of %s" % (said[0], said[1], said[2:].hex() or "no data", message.hex()))


@clause("RFC 4271 9.2", SHOULD, "A request of a peer, or unchanged routes between BoRR and EoRR, cause no UPDATE to third parties")
def third_parties_silent(kit):
    kit.needs(2)
    block = kit.block()
    a, mark = kit.speaker(block), kit.watch.mark()
    t = kit.listener()
    asked = t.mark()
    t.ask()
    a.ask(BORR)
    a.announce(block)
    a.ask(EORR)
    kit.fence(a, kit.watch)
    kit.fence(kit.source, kit.watch, t)
    about = kit.watch.said(mark) & set(block + TABLE)
    if about:
        raise Fail("UPDATEs about %s" % listed(about))
    try:
        kit.answered(t, asked, TABLE, 1)
    except Fail:
        return "no answer was seen"


# ---- requests of the daemon ----

@clause("RFC 2918 4", MUST, "A request of the daemon names a negotiated family, once, with subtype 0")
def request_sent(kit):
    t = kit.listener()
    mark = t.mark()
    kit.dut.ask_refresh(t.peer.name, V4)
    t.wait("its request", lambda: t.since(mark, ROUTE_REFRESH))
    kit.fence(kit.source, t)
    said = [m.body for m in t.since(mark, ROUTE_REFRESH)]
    if said != [b"\0\1\0\1"]:
        raise Fail("it sent %s" % " ".join(b.hex() for b in said))


def not_asked(kit, t):
    mark = t.mark()
    try:
        kit.dut.ask_refresh(t.peer.name, V4)
    except RuntimeError:  # the daemon reports the lack
        pass
    kit.fence(t, kit.watch)
    kit.fence(kit.source, t)
    t.must_be_up("by the command")
    if t.since(mark, ROUTE_REFRESH):
        raise Fail("it sent %s" % t.since(mark, ROUTE_REFRESH)[0].body.hex())


@clause("RFC 2918 4", MUST, "A peer without capability 2 gets no request, and the session stays")
def request_needs_capability(kit):
    not_asked(kit, kit.listener(capabilities=()))


@clause("RFC 5492 3", MUST, "The OPEN of the present session counts: capability 70, then 2, is gone when the peer returns without the capability")
def capability_change(kit):
    t = kit.listener()
    t.leave()
    kit.back(t, (2,))
    t.wait_has("the table", TABLE)
    mark = t.mark()
    t.ask()
    kit.answered(t, mark, TABLE)
    kit.fence(kit.source, t)
    if t.since(mark, ROUTE_REFRESH):
        raise Fail("without capability 70 it sends subtypes %s" % t.subtypes(mark))
    t.leave()
    kit.back(t, ())
    t.wait_has("the table", TABLE)
    if "request_needs_capability" not in kit.dut.lacks:
        not_asked(kit, t)


# ---- answers to the daemon: BoRR, routes, EoRR ----

def gone_and_kept(kit, mark, gone, kept, sender=None):
    """Checks at the third party; a kept route is not even withdrawn for a moment. `sender`: the last sender; None after a fence of the sender."""
    kit.watch.wait_lacks("the withdrawal of routes not repeated", gone)
    if sender:  # a wrong withdrawal may follow the right withdrawals
        kit.fence(sender, kit.watch)
    withdrawn = {p for m in kit.watch.since(mark, UPDATE) for p in m.gone} & set(kept)
    if withdrawn:
        raise Fail("what was repeated was withdrawn: %s" % listed(withdrawn))
    missing = [p for p in kept if p not in kit.watch.rib]
    if missing:
        raise Fail("what was repeated is missing: %s" % listed(missing))


def sweep(kit, restart, pool="plain", prefixes=None):
    kit.needs(70)
    block = prefixes or kit.block()
    family = V6 if ":" in block[0] else V4
    a, mark = kit.speaker(block, restart=restart, pool=pool), kit.watch.mark()
    a.ask(BORR, family)
    a.announce(block[:5])
    kit.fence(a, kit.watch)
    a.must_be_up("by BoRR")
    early = kit.watch.said(mark) & set(block)
    if early:
        raise Fail("before EoRR: UPDATEs about %s" % listed(early))
    a.ask(EORR, family)
    gone_and_kept(kit, mark, block[5:], block[:5], a)
    a.must_be_up("by EoRR")


@clause("RFC 7313 4", MUST, "At EoRR routes not repeated since BoRR are removed at once, the rest stays (peer without graceful restart)")
def sweep_without_restart(kit):
    sweep(kit, None)


@clause("RFC 7313 4", MUST, "The sweep also works for a peer with graceful restart, after End-of-RIB")
def sweep_with_restart(kit):
    sweep(kit, 30)


@clause("RFC 7313 4", MUST, "Live changes between BoRR and EoRR hold: a withdrawal, a new route, another set of attributes")
def live_in_refresh(kit):
    kit.needs(70)
    block = kit.block()
    a, mark = kit.speaker(block[:8]), kit.watch.mark()
    a.ask(BORR)
    a.announce(block[1:3])
    a.withdraw(block[:2])
    a.announce(block[3:5], community="64999:5")
    a.announce(block[8:])
    a.ask(EORR)
    kit.watch.wait_has("the new routes", block[8:])
    gone_and_kept(kit, mark, [block[0], block[1], *block[5:8]], block[2:5] + block[8:], a)
    kit.watch.wait("the new attributes", lambda: all(kit.watch.rib.get(p, {}).get("communities") == ["64999:5"] for p in block[3:5]))


@clause("RFC 7313 4", MAY, "EoRR without BoRR is ignored: no route is stale, no route is removed")
def eorr_alone(kit):
    kit.needs(70)
    block = kit.block()
    a, mark = kit.speaker(block), kit.watch.mark()
    a.ask(EORR)
    kit.fence(a, kit.watch)
    kit.fence(kit.source, kit.watch)
    a.must_be_up("by EoRR")
    gone_and_kept(kit, mark, [], block)


@clause("RFC 7313 4", MUST, "BoRR within a refresh begins anew: routes repeated only before the second BoRR are stale too")
def borr_in_borr(kit):
    kit.needs(70)
    block = kit.block(9)
    a, mark = kit.speaker(block), kit.watch.mark()
    a.ask(BORR)
    a.announce(block[:6])
    a.ask(BORR)
    a.announce(block[3:6])
    kit.fence(a, kit.watch)
    if kit.watch.said(mark) & set(block):
        raise Fail("before EoRR: UPDATEs about %s" % listed(kit.watch.said(mark) & set(block)))
    a.ask(EORR)
    gone_and_kept(kit, mark, block[:3] + block[6:], block[3:6], a)
    a.must_be_up("by it")


@clause("RFC 7313 4", MUST, "BoRR of a peer with graceful restart is ignored before End-of-RIB, so EoRR removes no route")
def borr_before_end_of_rib(kit):
    kit.needs(70)
    kit.needs(64)
    block = kit.block()
    a = kit.tester(restart=30)
    a.announce(block)
    kit.watch.wait_has("what the tester announced, at the third party,", block)
    mark = kit.watch.mark()
    a.ask(BORR)
    a.announce(block[:2])
    a.ask(EORR)
    kit.fence(a, kit.watch)
    a.end_of_rib()
    kit.fence(a, kit.watch)
    kit.fence(kit.source, kit.watch)
    gone_and_kept(kit, mark, [], block)


def repeated_malformed(kit, attributes):
    """`attributes` of one of the repeated routes."""
    kit.needs(70)
    block = kit.block(6)
    a, mark = kit.speaker(block), kit.watch.mark()
    a.ask(BORR)
    a.announce(block[:2])
    a.send(UPDATE, wire.update(attributes(a), [block[2]]))
    try:
        kit.watch.wait_lacks("the withdrawal of the malformed route", [block[2]])
    finally:
        a.must_be_up("by a malformed attribute")
    a.announce(block[3:5])
    a.ask(EORR)
    gone_and_kept(kit, mark, [block[2], block[5]], block[:2] + block[3:5], a)
    a.must_be_up("by a malformed attribute")


@clause("RFC 7606 7.1", MUST, "A route repeated with an undefined ORIGIN is treated as withdrawn; the refresh goes on and the session stays")
def malformed_origin(kit):
    repeated_malformed(kit, lambda a: wire.origin(9) + wire.as_path([a.asn]) + wire.next_hop(a.source))


@clause("RFC 7606 7.8", MUST, "A route repeated with COMMUNITIES of 3 octets is treated as withdrawn")
def malformed_communities(kit):
    repeated_malformed(kit, lambda a: wire.origin() + wire.as_path([a.asn]) + wire.next_hop(a.source) + wire.attribute(0xc0, 8, b"\0\1\2"))


@clause("RFC 7313 4", MAY, "Without EoRR stale routes are removed after a configured time")
def stale_timer(kit):
    kit.needs(70)
    block = kit.block()
    a, mark = kit.speaker(block, pool="short"), kit.watch.mark()
    a.ask(BORR)
    a.announce(block[:5])
    kit.fence(a, kit.watch)
    gone_and_kept(kit, mark, [], block)
    kit.watch.wait_lacks("their end by the timer (%d s)" % STALE_S, block[5:], 3 * STALE_S)
    gone_and_kept(kit, mark, block[5:], block[:5], a)
    a.must_be_up("by the timer")


# ---- a peer is lost ----

def down(kit, t):
    t.drop()
    wait_for("its end of the session", lambda: kit.dut.state(t.peer.name) != "established", 10)


@clause("RFC 4271 6.7", MUST, "A peer without graceful restart lost between BoRR and EoRR: all routes are removed, repeated or stale; only routes of the next session stay")
def lost_in_refresh(kit):
    kit.needs(70)
    block = kit.block()
    a = kit.speaker(block, restart=None)
    a.ask(BORR)
    a.announce(block[:3])
    kit.fence(a, kit.watch)
    a.drop()
    kit.watch.wait_lacks("the withdrawal of what the lost peer had announced", block)
    mark = kit.watch.mark()
    kit.back(a)
    a.announce(block[2:4])
    a.end_of_rib()
    kit.watch.wait_has("its routes of the new session", block[2:4])
    a.ask(EORR)  # EoRR of the refresh that ended with its session
    kit.fence(a, kit.watch)
    gone_and_kept(kit, mark, block[:2] + block[4:], block[2:4])


@clause("RFC 4724 4.2", MUST, "A peer with graceful restart lost between BoRR and EoRR: what it had repeated is kept until its next End-of-RIB, which "
        "sweeps what did not come again")
def lost_in_refresh_graceful(kit):
    kit.needs(70)
    kit.needs(64)
    block = kit.block()
    a = kit.speaker(block, restart=30)
    a.ask(BORR)
    a.announce(block[:6])
    kit.fence(a, kit.watch)
    mark = kit.watch.mark()
    down(kit, a)
    kit.fence(kit.source, kit.watch)
    gone_and_kept(kit, mark, [], block[:6])
    kit.back(a)
    a.announce(block[:4])
    kit.fence(a, kit.watch)
    gone_and_kept(kit, mark, [], block[:6])
    a.end_of_rib()
    gone_and_kept(kit, mark, block[4:], block[:4], a)


# ---- policies ----

def served(t, prefixes):
    """Answers each request with `prefixes`, framed if negotiated."""
    def answer(_):
        if 70 in t.capabilities:
            t.ask(BORR)
        t.announce(prefixes)
        if 70 in t.capabilities:
            t.ask(EORR)
    t.on_refresh = answer


@clause("RFC 2918 1", MUST, "An import policy changed for a peer without route refresh and without kept routes: the session stays")
def policy_without_refresh(kit):
    kit.watch.wait_lacks("the end of the last clause", LOWER + UPPER)
    a = kit.speaker(LOWER + UPPER, capabilities=())
    kit.dut.policy(a.peer.name, "import", "half")
    kit.fence(kit.source, kit.watch)
    a.must_be_up("by a changed policy")
    kit.fence(a, kit.watch)
    a.must_be_up("by a changed policy")
    if any(p not in kit.watch.rib for p in LOWER):
        raise Fail("routes that the policy accepts are gone: %s" % listed(p for p in LOWER if p not in kit.watch.rib))


def import_policy_refreshed(kit, capabilities):
    kit.watch.wait_lacks("the end of the last clause", LOWER + UPPER)
    a = kit.speaker(LOWER + UPPER, capabilities=capabilities)
    mark = kit.watch.mark()
    served(a, LOWER + UPPER)
    kit.dut.policy(a.peer.name, "import", "half")
    gone_and_kept(kit, mark, UPPER, LOWER, a)
    kit.dut.policy(a.peer.name, "import", "all")
    kit.watch.wait_has("what the policy accepts again", UPPER)
    gone_and_kept(kit, mark, [], LOWER, a)
    a.must_be_up("by a changed policy")


@clause("RFC 2918 1", MUST, "An import policy changed for a peer with route refresh: refused routes are removed, the rest is not withdrawn, the session stays")
def policy_with_refresh(kit):
    import_policy_refreshed(kit, (2, 70))


@clause("RFC 2918 1", MUST, "A policy change works for a peer without enhanced route refresh, with an answer without BoRR and EoRR")
def policy_with_plain_refresh(kit):
    import_policy_refreshed(kit, (2,))


@clause("RFC 2918 1", MAY, "An import policy changed for a peer without route refresh and with kept routes: applied to the kept routes, no message to the peer")
def policy_with_kept_routes(kit):
    kit.watch.wait_lacks("the end of the last clause", LOWER + UPPER)
    a = kit.speaker(LOWER + UPPER, pool="kept", capabilities=())
    mark, asked = kit.watch.mark(), a.mark()
    kit.dut.policy(a.peer.name, "import", "half")
    gone_and_kept(kit, mark, UPPER, LOWER, a)
    kit.dut.policy(a.peer.name, "import", "all")
    kit.watch.wait_has("what the policy accepts again", UPPER)
    gone_and_kept(kit, mark, [], LOWER, a)
    a.must_be_up("by a changed policy")
    if a.since(asked, ROUTE_REFRESH):
        raise Fail("it sent ROUTE-REFRESH to a peer without capability 2")


@clause("RFC 4271 9.2", MUST, "An export policy changed: refused routes are withdrawn from the peer, and announced again when accepted; no message to third parties")
def policy_export(kit):
    kit.watch.wait_lacks("the end of the last clause", LOWER + UPPER)
    kit.source.announce(LOWER + UPPER)
    kit.watch.wait_has("the routes", LOWER + UPPER)
    try:
        t = kit.tester()
        t.wait_has("the routes", TABLE + LOWER + UPPER)
        mark, theirs = t.mark(), kit.watch.mark()
        kit.dut.policy(t.peer.name, "export", "half")
        t.wait_lacks("the withdrawal of refused routes", UPPER)
        kit.dut.policy(t.peer.name, "export", "all")
        t.wait_has("what the policy accepts again", UPPER)
        kit.fence(kit.source, t, kit.watch)
        t.must_be_up("by a changed policy")
        withdrawn = {p for m in t.since(mark, UPDATE) for p in m.gone} & set(TABLE + LOWER)
        if withdrawn:
            raise Fail("withdrawn although accepted: %s" % listed(withdrawn))
        if kit.watch.said(theirs) & set(TABLE + LOWER + UPPER):
            raise Fail("others were told of %s" % listed(kit.watch.said(theirs) & set(TABLE + LOWER + UPPER)))
    finally:
        kit.source.withdraw(LOWER + UPPER)


# ---- IPv6 ----

@clause("RFC 7313 4", MUST, "IPv6: a request is answered with the whole Adj-RIB-Out, between BoRR and EoRR if negotiated")
def ipv6_answer(kit):
    block = kit.block6()
    a = kit.tester(pool="six")
    a.announce(block)
    t = kit.tester(pool="six")
    t.wait_has("the routes", block)
    if 70 in t.remote_capabilities():
        framed(kit, t, block, V6)
    else:
        mark = t.mark()
        t.ask(family=V6)
        kit.answered(t, mark, block, family=V6)


@clause("RFC 7313 4", MUST, "IPv6: at EoRR routes not repeated since BoRR are removed, the rest stays")
def ipv6_sweep(kit):
    watch, kit.watch = kit.watch, kit.tester(pool="six")
    try:
        kit.needs(70)
        sweep(kit, 30, "six", kit.block6())
    finally:
        kit.watch = watch
