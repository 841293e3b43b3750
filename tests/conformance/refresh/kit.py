# SPDX-License-Identifier: BSD-3-Clause
"""A daemon under test, the peers around the daemon, and the list of clauses.

Every clause uses new peers, so that no state of a clause affects the next and no idle hold causes a wait. Two sessions exist from start to end:
`source` announces a table, `watch` is the third party that sees the daemon's advertisements. The absence of a message is proven by a fence: a route
announced afterwards, seen at the other end, and withdrawn again.
"""
import collections
import traceback

import adapters
import tester
from daemons import Session, Setup
from labtest import KEEPALIVE, V4, V6
from wire import family_of
from tester import Fail, Tester, Ticks, describe

DUT_ASN, DUT_ID, DUT = 64512, "10.99.0.1", {V4: "10.99.0.1", V6: "fd99::1"}
PEERS = {"plain": 96, "kept": 2, "short": 2, "six": 6}
TABLE = ["10.1.%d.0/24" % i for i in range(200)]
MANY = 100000
FENCES = "10.254."
MUST, SHOULD, MAY = "MUST", "SHOULD", "MAY"

Clause = collections.namedtuple("Clause", "name function rfc level demand heavy")
# `good`: True, False, or None (not applicable); `text`: the reason; `capture`: lines.
Result = collections.namedtuple("Result", "good text capture")
CLAUSES = []


def clause(rfc, level, demand, heavy=False):
    """The function's name is the name of the clause. `heavy`: with the large table, for one daemon at a time."""
    def register(function):
        CLAUSES.append(Clause(function.__name__, function, rfc, level, demand, heavy))
        return function
    return register


class NotApplicable(Exception):
    """Why a daemon can't be asked for a clause."""


def sessions_of_setup():
    out, number = [], 10
    for pool, count in PEERS.items():
        family = V6 if pool == "six" else V4
        for i in range(count):
            remote = "fd99::%x" % number if family == V6 else "10.99.0.%d" % number
            out.append(Session("%s%d" % (pool, i), DUT[family], remote, 65000 + number, [family], passive=True))
            number += 1
    return out


class KitSetup(Setup):
    def __init__(self):
        super().__init__(DUT_ASN, DUT_ID, sessions_of_setup())
        self.kept = {x.name for x in self.sessions if x.name.startswith("kept")}
        self.short_stale = {x.name for x in self.sessions if x.name.startswith("short")}


class Kit:
    def __init__(self, lab, key, storm):
        self.lab, self.key, self.storm = lab, key, storm
        self.dut_host, self.test_host = "dut-" + key, "test-" + key
        self.setup = KitSetup()
        self.pools = {p: [x for x in self.setup.sessions if x.name.startswith(p)] for p in PEERS}
        self.blocks, self.fences, self.testers = iter(range(10, 200)), 0, []
        for h in (self.dut_host, self.test_host):
            lab.host(h, ipv6=True)
        mine = [x.remote + ("/64" if ":" in x.remote else "/24") for x in self.setup.sessions]
        lab.link(self.dut_host, "east", [DUT[V4] + "/24", DUT[V6] + "/64"], self.test_host, "west", mine)
        self.dut = adapters.ALL[key](lab, self.dut_host)
        self.source = self.watch = self.loader = self.keepalives = None
        self.many, self.mute, self.unsettled = [], False, None  # or the prefixes announced by the peers of a heavy clause

    def start(self):
        self.dut.start(self.setup)
        self.source, self.watch = self.tester(lasting=True), self.tester(lasting=True)
        self.source.announce(TABLE)
        self.source.end_of_rib()
        self.watch.wait_has("the table", TABLE, 30)
        self.keepalives = Ticks(15, self.keep_alive)

    def keep_alive(self):
        """KEEPALIVEs of our own: a daemon that sends UPDATEs may send no KEEPALIVE to answer."""
        for t, _ in self.lasting():
            if not t.closed:
                try:
                    t.send(KEEPALIVE)
                except OSError:
                    pass

    def lasting(self):
        return [(t, who) for t, who in ((self.source, "the source"), (self.watch, "the third party"), (self.loader, "the loader")) if t]

    def patience(self, seconds):
        """Patience for an answer to a request: less if the daemon has left requests unanswered."""
        return min(seconds, 3) if self.mute else seconds

    def anew(self):
        """Restarts the daemon and the lasting sessions, with new peers."""
        self.stop()
        self.loader, self.many = None, []
        self.start()

    def stop(self):
        if self.keepalives:
            self.keepalives.stop()
        for t in self.testers + [self.source, self.watch, self.loader]:
            if t:
                t.leave()
        if self.dut.process and self.dut.process.running():
            self.dut.stop()

    # ---- peers ----

    def tester(self, pool="plain", lasting=False, up=True, **keys):
        x = self.pools[pool].pop(0)
        t = Tester(self.lab.netns(self.test_host), x, "198.19.%d.%d" % divmod(x.asn - 65000, 256), **keys)
        if up:
            t.come()
        if not lasting:
            self.testers.append(t)
        return t

    def back(self, t, capabilities=None):
        self.dut.wake()
        t.again(capabilities)

    def speaker(self, prefixes, **keys):
        """A peer that announced `prefixes`, which `watch` has received."""
        t = self.tester(**keys)
        t.announce(prefixes)
        if t.restart is not None:  # RFC 7313 4: before End-of-RIB, BoRR is ignored
            t.end_of_rib(family_of(prefixes[0]))
        self.watch.wait_has("what the tester announced, at the third party,", prefixes)
        return t

    def listener(self, **keys):
        """A peer that has received the table."""
        t = self.tester(**keys)
        t.wait_has("the table", self.table(), 40 if self.many else None)
        return t

    def table(self):
        return TABLE + self.many

    def block(self, count=10):
        """New prefixes, used by no earlier clause."""
        b = next(self.blocks)
        return ["10.%d.%d.0/24" % (b, i) for i in range(count)]

    def block6(self, count=10):
        b = next(self.blocks)
        return ["2001:db8:%x%02x::/48" % (b, i) for i in range(count)]

    def fence(self, sender, *seers, timeout=None):
        """Waits until the daemon has processed all earlier messages of `sender` and advertised the changes to the other peers."""
        prefix = [FENCES + "%d.0/24" % (self.fences % 256)] if V4 in sender.families else ["2001:db8:fe%02x::/48" % (self.fences % 256)]
        self.fences += 1
        sender.announce(prefix)
        for t in seers:
            t.wait_has("a route announced afterwards", prefix, timeout)
        sender.withdraw(prefix)
        for t in seers:
            t.wait_lacks("its withdrawal", prefix, timeout)

    def needs(self, code):
        if code not in self.watch.remote_capabilities():
            raise NotApplicable({70: "has no enhanced route refresh (no capability 70)",
                                 64: "it has no graceful restart (no capability 64)"}.get(code, "it has no capability %d" % code))

    def answered(self, t, mark, prefixes, timeout=None, family=V4):
        """Waits for the answer to an earlier request: all of `prefixes` are announced, and a frame, if begun, has ended."""
        wanted = set(prefixes)

        def whole():
            return wanted <= t.announced(mark)
        timeout = self.patience(tester.WAIT if timeout is None else timeout)
        try:
            t.wait("the answer", whole, timeout)
        except Fail as e:
            self.mute |= t.capabilities == (2,) and not wanted & t.announced(mark)
            t.must_be_up("after a request")
            raise Fail("%d of %d routes came again within %d s%s" % (len(wanted & t.announced(mark)), len(wanted), timeout,
                                                                   ", BoRR and EoRR: %s" % t.subtypes(mark, family)
                                                                   if t.subtypes(mark, family) else "")) from e

    # ---- clauses ----

    def run(self, one):
        """Runs a clause; returns its Result; its peers leave."""
        if one.name in self.dut.lacks:
            return Result(None, self.dut.lacks[one.name], [])
        if self.unsettled is not None and one.name != "uptime":
            self.settle()
        try:
            note = one.function(self)
            for t, who in self.lasting():
                if t.lost():
                    raise Fail("it cost the session of %s: %s" % (who, t.why_lost()))
            return Result(True, note or "", [])
        except NotApplicable as e:
            return Result(None, str(e), [])
        except Fail as e:
            return Result(False, str(e), self.capture())
        except (RuntimeError, OSError, KeyError, ValueError, TimeoutError) as e:  # a refused command, a closed socket
            return Result(False, "%s: %s" % (type(e).__name__, " ".join(str(e).split())[:300]), self.capture() + traceback.format_exc().splitlines())
        finally:
            self.unsettled = {p for t in self.testers for m in t.log if m.out for p in m.come} if one.heavy else None
            for t in self.testers:
                t.leave()
            self.testers = []
            self.revive()

    def settle(self):
        """Remaining work of the daemon after a heavy clause is not blamed on this clause."""
        try:
            self.watch.wait_lacks("the withdrawal of what its peers had announced", self.unsettled, 8 * tester.WAIT)
            self.fence(self.source, self.watch, timeout=8 * tester.WAIT)
        except Fail as e:
            print("%s: %s, after a heavy clause" % (self.key, e), flush=True)

    def revive(self):
        """A clause that cost a lasting session is marked as failed; later clauses get a new session."""
        if self.source.closed:
            self.back(self.source)
            self.source.announce(TABLE)
            self.source.end_of_rib()
        if self.watch.closed:
            self.back(self.watch)
        self.watch.wait_has("the table, after a lost session,", TABLE, 30)

    def capture(self, lines=30):
        out = []
        for t in self.testers[:3] + [self.watch]:
            log = list(t.log)
            zero = log[0].time if log else 0
            who = "third party" if t is self.watch else "tester"
            out.append("%s %s (AS %d), %s" % (who, t.source, t.asn, "lost: " + t.why_lost() if t.lost() else "up"))
            out += ["  " + describe(m, zero) for m in (log if len(log) <= lines else log[-lines:])]
        return out
