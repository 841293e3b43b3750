# SPDX-License-Identifier: BSD-3-Clause
"""The clauses that need a large table and load; run for one daemon at a time."""
import random
import threading
import time

import tester
import wire
from labtest import ROUTE_REFRESH, UPDATE, V4
from kit import MUST, clause
from tester import BORR, EORR, Fail, Ticks

ASKED_EVERY = 0.004  # faster than any transmission of the table
STARVED_AFTER = 6
TABLE_S = 40  # limit for the initial table of all waiting peers
CHURN_S, CHURN_BURST, CHURN_ASKED_EVERY = 5, 20, 0.05
STORM_PEERS, STORM_RATE, STORM_HOLD = 20, 50, 9
SEED = 20261120


def large_table(kit, count):
    """Announced by a separate session: 100 routes for each attribute set."""
    kit.loader = kit.tester(lasting=True)
    prefixes = ["%d.%d.%d.0/24" % (20 + (i >> 16), i >> 8 & 255, i & 255) for i in range(count)]
    for i in range(0, count, 100):
        route = {"as_path": "%d %d %d" % (kit.loader.asn, 64990 + i % 7, 100000 + i), "communities": ["64990:%d" % (i // 100 % 1000)]}
        kit.loader.send(UPDATE, wire.update(wire.encode(route) + wire.next_hop(kit.loader.source), prefixes[i:i + 100]))
    kit.loader.end_of_rib()
    kit.watch.wait("the large table, at the third party,", lambda: prefixes[-1] in kit.watch.rib and len(kit.watch.rib) >= count, 60)
    kit.many = prefixes


def asked_at_once(kit):
    """A peer whose request follows its first KEEPALIVE, at rest: (the peer, index of BoRR or None). A daemon that has not begun to send the table
    may answer by the initial table alone."""
    t = kit.tester(up=False, ask_at_once=True)
    t.come()
    t.wait("the table", lambda: len(t.rib) >= len(kit.table()), 30)
    kit.fence(t, kit.watch)  # the request has been read
    kit.fence(kit.source, t)
    begun = next((i for i, m in enumerate(t.log) if not m.out and m.kind == ROUTE_REFRESH and m.body[2] == BORR), None)
    if begun is not None:
        t.wait("EoRR", lambda: EORR in t.subtypes(0), 2 * tester.WAIT)
    return t, begun


@clause("RFC 7313 4", MUST, "No BoRR is sent before End-of-RIB of the initial table, even with an early request", heavy=True)
def no_borr_before_end_of_rib(kit):
    kit.needs(70)
    t, begun = asked_at_once(kit)
    end = next((i for i, m in enumerate(t.log) if m.end == V4 and not m.out), None)
    if begun is not None and (end is None or begun < end):
        raise Fail("BoRR came and no End-of-RIB" if end is None else "BoRR came %.3f s before End-of-RIB" % (t.log[end].time - t.log[begun].time))
    return None if begun is not None else "the initial table answered"


@clause("RFC 2918 4", MUST, "A request before End-of-RIB is not lost: the whole Adj-RIB-Out follows", heavy=True)
def request_before_end_of_rib(kit):
    t, begun = asked_at_once(kit)
    came, wanted = t.announced(begun or 0), set(kit.table())
    if not wanted <= came:
        raise Fail("of the table came %d of %d routes%s" % (len(wanted & came), len(wanted), " between BoRR and EoRR" if begun is not None else ""))
    if begun is None:
        return "the initial table answered"


@clause("RFC 2918 4", MUST, "A request in the middle of an earlier answer is answered too: routes sent before are sent again", heavy=True)
def second_request(kit):
    t = kit.listener()
    mark = t.mark()
    t.ask()
    t.wait("the beginning of the answer", lambda: t.since(mark, UPDATE), kit.patience(2 * tester.WAIT))
    first = set(t.since(mark, UPDATE)[0].come) & set(kit.table())
    second = t.mark()
    t.ask()
    t.wait("the answer to the second request", lambda: first <= t.announced(second), 2 * tester.WAIT)
    if t.subtypes(mark):
        t.wait("the EoRR of the second answer", lambda: t.subtypes(second)[-1:] == [EORR] and BORR in t.subtypes(second), 2 * tester.WAIT)
    else:
        t.wait("the rest of it", lambda: len(t.announced(second)) >= len(kit.table()), 2 * tester.WAIT)


@clause("RFC 7313 4", MUST, "Requests faster than the transmission of the table do not starve the table: a walk ends between requests", heavy=True)
def starvation(kit):
    t = kit.listener()
    mark, begin = t.mark(), time.monotonic()
    wanted = len(kit.table())
    ticks = Ticks(ASKED_EVERY, t.ask)

    def whole():
        walk = t.subtypes(mark)
        return EORR in walk if walk else len(t.announced(mark)) >= wanted
    try:
        t.wait("the end of a walk", whole, STARVED_AFTER)
    except Fail as e:
        t.must_be_up("by requests every %d ms" % (ASKED_EVERY * 1000))
        raise Fail("%s: %d requests, %d of %d routes, %d BoRR, %d EoRR" % (e, ticks.count, len(t.announced(mark)), wanted, t.subtypes(mark).count(BORR),
                                                                       t.subtypes(mark).count(EORR))) from e
    finally:
        ticks.stop()
    return "a walk ended after %.1f s and %d requests" % (time.monotonic() - begin, ticks.count)


def versions(messages, block):
    """{prefix: [version or None]} in the order of the messages."""
    out = {p: [] for p in block}
    for m in messages:
        for p in m.gone:
            if p in out:
                out[p].append(None)
        for p in m.come:
            if p in out:
                out[p].append(int(m.route["communities"][0].split(":")[1]))
    return out


def stale_words(told):
    """Prefixes with an older version after a newer version, or announced again after the withdrawal."""
    out = []
    for p, words in told.items():
        last, gone = 0, False
        for v in words:
            if v is None:
                gone = True
            elif v < last or (v == last and gone):
                out.append("%s: version %d after %s%d" % (p, v, "the withdrawal of " if gone else "", last))
                break
            else:
                last, gone = v, False
    return out


@clause("RFC 4271 9.2", MUST, "Live changes and walks keep the order: no older state follows a newer state, withdrawn routes stay withdrawn, the final table is right",
        heavy=True)
def order(kit):
    block, rng = kit.block(250), random.Random(SEED)
    a, t = kit.tester(), kit.listener()
    truth, version = {}, 0
    mark = t.mark()
    asking = Ticks(CHURN_ASKED_EVERY, t.ask)
    end = time.monotonic() + CHURN_S
    try:
        while time.monotonic() < end:
            p = rng.choice(block)
            version += 1
            if p in truth and rng.random() < 0.5:
                del truth[p]
                a.withdraw([p])
            else:
                truth[p] = version
                a.announce([p], community="64999:%d" % version)
            if version % CHURN_BURST == 0:
                asking.over.wait(0.01)  # some 2,000 changes a second
            if version == 65000:
                break
    finally:
        asking.stop()
    kit.fence(a, kit.watch, timeout=4 * tester.WAIT)
    t.must_be_up("by churn and requests")

    def told():
        return {p: int(t.rib[p]["communities"][0].split(":")[1]) for p in block if p in t.rib}
    try:
        t.wait("the truth", lambda: told() == truth, 3 * tester.WAIT)
    except Fail as e:
        seen = told()
        wrong = sorted(p for p in block if seen.get(p) != truth.get(p))
        raise Fail("%d of %d routes are wrong at the end, as %s: version %s instead of %s (seed %d)" % (
            len(wrong), len(block), wrong[0], seen.get(wrong[0]), truth.get(wrong[0]), SEED)) from e
    kit.fence(kit.source, t, timeout=4 * tester.WAIT)
    if told() != truth:
        raise Fail("what was right at the end changed afterwards (seed %d)" % SEED)
    bad = stale_words(versions(t.since(mark, UPDATE), block)) + stale_words(versions(kit.watch.since(0, UPDATE), block))
    if bad:
        raise Fail("%d routes of %d, as %s (seed %d)" % (len(bad), len(block), bad[0], SEED))
    return "%d changes, %d requests" % (version, asking.count)


@clause("RFC 4271 6.5", MUST, "A storm, 50 requests a second of each of 20 peers with a hold time of 9 s, costs no session and no keepalive", heavy=True)
def storm(kit):
    kit.fence(kit.source, kit.watch, timeout=4 * tester.WAIT)  # pending changes would be mistaken for an answer
    crowd = [kit.tester(up=False, hold=STORM_HOLD, counting=True) for _ in range(STORM_PEERS)]
    comings = [threading.Thread(target=t.come) for t in crowd]
    for c in comings:
        c.start()
    for c in comings:
        c.join()
    deadline = time.monotonic() + TABLE_S
    for t in crowd:  # nor the table
        t.told.wait(max(0, deadline - time.monotonic()))
    turn = [0]

    def act():
        for t in crowd:
            if not t.closed:
                try:
                    t.send(4) if turn[0] % (2 * STORM_RATE) == 0 else t.ask()
                except OSError:
                    pass
        turn[0] += 1
    for t in crowd:
        t.counts.clear()
        t.longest_gap = 0
    ticks = Ticks(1 / STORM_RATE, act)
    try:
        ended = threading.Event()
        ended.wait(kit.storm)
    finally:
        ticks.stop()
    rate = ticks.count / kit.storm
    lost = [t for t in crowd if t.lost()]
    silent = [t for t in crowd if not t.lost() and max(t.longest_gap, time.monotonic() - t.last_word) > STORM_HOLD]
    if lost or silent:
        raise Fail("of %d sessions %d were lost%s, %d more heard nothing for over %d s (%d requests a second of each)" % (
            STORM_PEERS, len(lost), " (%s)" % lost[0].why_lost() if lost else "", len(silent), STORM_HOLD, rate))
    kit.fence(kit.source, kit.watch, timeout=4 * tester.WAIT)
    total = sum(t.counts["octets"] for t in crowd)
    return "%d requests a second of each for %d s, longest silence %.1f s, %d MB sent" % (
        rate, kit.storm, max(t.longest_gap for t in crowd), total / 1e6)


@clause("RFC 2918 1", MUST, "Sessions of uninvolved peers stay established during all clauses", heavy=True)
def uptime(kit):
    for t, who in kit.lasting():
        if t.comings > 1:
            raise Fail("%s lost its session %d times" % (who, t.comings - 1))
        if kit.dut.state(t.peer.name) != "established":
            raise Fail("it calls the session of %s %s" % (who, kit.dut.state(t.peer.name)))
