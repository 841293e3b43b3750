# SPDX-License-Identifier: BSD-3-Clause
"""The kit's peer: labtest.Speaker with a log of all messages in both directions, each with its time, and waits that end on a message."""
import collections
import os
import struct
import sys
import threading
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("interop", "lab")]
import wire  # noqa: E402
from labtest import AFI, KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, V4, Speaker  # noqa: E402

REQUEST, BORR, EORR = 0, 1, 2
NAMES = {OPEN: "OPEN", UPDATE: "UPDATE", NOTIFICATION: "NOTIFICATION", KEEPALIVE: "KEEPALIVE", ROUTE_REFRESH: "ROUTE-REFRESH"}
WAIT = int(os.environ.get("KEEL_PATIENCE_S", "8"))  # limit for a required action; a failing daemon costs the whole limit

# `come`, `gone`: prefixes of an UPDATE; `end`: the family of an End-of-RIB.
Message = collections.namedtuple("Message", "time out kind body come gone route end")


class Fail(Exception):
    """The clause does not hold; describes the observation."""


def listed(prefixes, many=4):
    prefixes = sorted(prefixes)
    return " ".join(prefixes[:many]) + (" and %d more" % (len(prefixes) - many) if len(prefixes) > many else "")


def capabilities_of(body):
    """{code: [value]} of an OPEN."""
    out, rest = {}, body[10:]
    while rest:
        kind, size = rest[:2]
        value, rest = rest[2:2 + size], rest[2 + size:]
        while kind == 2 and value:
            out.setdefault(value[0], []).append(value[2:2 + value[1]])
            value = value[2 + value[1]:]
    return out


def describe(message, zero):
    """A line of a capture."""
    text = NAMES.get(message.kind, "type %d" % message.kind)
    if message.kind == ROUTE_REFRESH and len(message.body) >= 4:
        afi, subtype, safi = struct.unpack(">HBB", message.body[:4])
        text += " %s AFI %d SAFI %d%s" % ({REQUEST: "request", BORR: "BoRR", EORR: "EoRR"}.get(subtype, "subtype %d" % subtype), afi, safi,
                                          ", %d octets" % len(message.body) if len(message.body) != 4 else "")
    elif message.kind == NOTIFICATION:
        text += " %d/%d %s" % (message.body[0], message.body[1], message.body[2:].hex())
    elif message.kind == UPDATE:
        parts = ["%s %s" % (word, listed(p)) for word, p in (("announces", message.come), ("withdraws", message.gone)) if p]
        text += " " + (", ".join(parts) or ("End-of-RIB " + message.end if message.end else "%d octets" % len(message.body)))
    elif message.kind == OPEN:
        text += " " + message.body.hex()
    return "%9.3f %s %s" % (message.time - zero, "->" if message.out else "<-", text)


class Ticks:
    """Calls act() at a pace, on a thread, until stopped."""

    def __init__(self, every, act):
        self.every, self.act, self.over, self.count, self.error = every, act, threading.Event(), 0, None
        self.thread = threading.Thread(target=self.go, daemon=True)
        self.thread.start()

    def go(self):
        due = time.monotonic()
        try:
            while not self.over.is_set():
                self.act()
                self.count += 1
                due = max(due + self.every, time.monotonic() - 1)
                self.over.wait(max(0, due - time.monotonic()))
        except OSError as e:  # the session was lost
            self.error = e

    def stop(self):
        self.over.set()
        self.thread.join()


class Tester(Speaker):
    """`restart`: None: no capability 64; a number: the restart time, with the families and forwarding kept (some daemons support all of RFC 7313
    only for such a peer). `ask_at_once`: a request follows its first KEEPALIVE. `counting`: counts messages without a log, for a crowd."""

    def __init__(self, netns, peer, identifier, capabilities=(2, 70), restart=30, hold=90, ask_at_once=False, counting=False):
        super().__init__(netns, peer.remote, peer.local, peer.asn, hold, capabilities, families=tuple(peer.families), identifier=identifier)
        self.peer, self.restart, self.ask_at_once, self.counting, self.restarted = peer, restart, ask_at_once, counting, False
        self.news, self.log, self.leaving, self.closed, self.thread = threading.Condition(), [], False, True, None
        self.seen, self.refreshes, self.comings = {}, [], 0
        self.counts, self.last_word, self.longest_gap = collections.Counter(), 0, 0
        self.told = threading.Event()  # for counting peers: End-of-RIB received

    def open_capabilities(self):
        caps = super().open_capabilities()
        if self.restart is None:
            return caps
        families = b"".join(struct.pack(">HBB", AFI[f], 1, 0x80) for f in self.families)
        return caps + bytes([64, 2 + len(families)]) + struct.pack(">H", self.restart | (0x8000 if self.restarted else 0)) + families

    def come(self, timeout=20):
        self.leaving = False
        self.comings += 1
        try:
            return self.up(timeout)
        except TimeoutError as e:
            raise Fail(str(e))

    def again(self, capabilities=None, timeout=30):
        """The same peer in a new session."""
        self.capabilities = self.capabilities if capabilities is None else capabilities
        self.restarted = self.restart is not None
        return self.come(timeout)

    def connect(self):
        self.log, self.seen, self.refreshes, self.counts = [], {}, [], collections.Counter()
        self.last_word, self.longest_gap = time.monotonic(), 0
        self.told.clear()
        return super().connect()

    # ---- output ----

    def send(self, kind, body=b""):
        super().send(kind, body)
        if not self.counting:
            self.log.append(self.entry(True, kind, body))

    def announce(self, prefixes, community=None, **keys):
        """Uses the same attributes each time, unless `community` or other attributes are given."""
        route = dict({"as_path": "%d 64999" % self.asn}, **keys)
        if community:
            route["communities"] = [community]
        for p in prefixes:
            self.send(UPDATE, wire.announce(route, p, self.source))

    def withdraw(self, prefixes):
        for p in prefixes:
            self.send(UPDATE, wire.withdraw(p))

    def end_of_rib(self, family=V4):
        self.send(UPDATE, wire.end_of_rib(family))

    def ask(self, subtype=REQUEST, family=V4, more=b""):
        self.send(ROUTE_REFRESH, struct.pack(">HBB", AFI[family], subtype, 1) + more)

    def leave(self):
        """Sends a NOTIFICATION before the close, so that the daemon retains no route of this peer."""
        if self.thread is None:  # never had a connection
            return
        if not self.closed:
            try:
                self.send(NOTIFICATION, b"\6\2")
            except OSError:
                pass
        self.drop()

    def drop(self):
        """Closes the connection without a NOTIFICATION."""
        self.leaving = True
        self.close()

    # ---- input ----

    def entry(self, out, kind, body):
        come, gone, route, end = (), (), {}, None
        if kind == UPDATE and (not out or len(body) < 200):
            try:
                come, gone, route, end = wire.decode(body)
            except (IndexError, KeyError, ValueError, struct.error):  # malformed on purpose, or by the daemon: octets in the log
                pass
        return Message(time.monotonic(), out, kind, body, come, gone, route, end)

    def read(self):
        super().read()
        with self.news:
            self.news.notify_all()

    def message(self, kind, body):
        if self.counting:
            self.count(kind, body)
        else:
            first = kind == KEEPALIVE and not self.established.is_set()
            if first and self.ask_at_once:
                self.ask()
            m = self.entry(False, kind, body)
            if kind == ROUTE_REFRESH and len(body) >= 4:
                self.refreshes.append((len(self.log), int.from_bytes(body[:2], "big"), body[2]))
            self.log.append(m)
            if kind == UPDATE:
                self.learn(m.come, m.gone, m.route, m.end)
            else:
                super().message(kind, body)
        with self.news:
            self.news.notify_all()

    def count(self, kind, body):
        now = time.monotonic()
        if kind in (KEEPALIVE, UPDATE):  # RFC 4271 6.5: messages that restart the hold timer
            self.longest_gap, self.last_word = max(self.longest_gap, now - self.last_word), now
        self.counts[kind] += 1
        if kind == ROUTE_REFRESH:
            self.counts["subtype", body[2]] += 1
        if kind == UPDATE:
            self.counts["octets"] += len(body)
            if body == wire.end_of_rib(V4):
                self.told.set()
        if kind == NOTIFICATION:
            self.counts["notification", body[0], body[1]] += 1
        if kind in (OPEN, KEEPALIVE):
            self.send(KEEPALIVE)
        if kind == KEEPALIVE:
            self.established.set()

    def mark(self):
        return len(self.log)

    def since(self, mark, kind=None, out=False):
        return [m for m in self.log[mark:] if m.out == out and (kind is None or m.kind == kind)]

    def announced(self, mark):
        """The prefixes announced since `mark`. Continues from the previous call, because waits call this function for every message."""
        seen = self.seen.setdefault(mark, [mark, set()])
        end = len(self.log)
        for m in self.log[seen[0]:end]:
            if not m.out:
                seen[1].update(m.come)
        seen[0] = end
        return seen[1]

    def said(self, mark):
        """All prefixes named in UPDATEs."""
        return {p for m in self.since(mark, UPDATE) for p in (*m.come, *m.gone)}

    def subtypes(self, mark, family=V4):
        return [subtype for at, afi, subtype in self.refreshes if at >= mark and afi == AFI[family]]

    def remote_capabilities(self):
        return capabilities_of(next(m.body for m in self.log if m.kind == OPEN and not m.out))

    def lost(self):
        """True if the daemon, not this peer, has closed the connection."""
        return self.closed and not self.leaving

    def why_lost(self):
        if self.counting:
            kinds = [k for k in self.counts if isinstance(k, tuple) and k[0] == "notification"]
            return "NOTIFICATION %d/%d" % kinds[0][1:] if kinds else "the connection was closed"
        last = [m for m in self.log if m.kind == NOTIFICATION and not m.out]
        return "NOTIFICATION %d/%d" % tuple(last[-1].body[:2]) if last else "the connection was closed"

    def must_be_up(self, when):
        if self.lost():
            raise Fail("the session was lost %s: %s" % (when, self.why_lost()))

    def wait(self, what, condition, timeout=None):
        timeout = WAIT if timeout is None else timeout
        with self.news:
            self.news.wait_for(lambda: condition() or self.closed, timeout)
        if condition():
            return
        if self.lost():
            raise Fail("the session was lost, waiting for %s: %s" % (what, self.why_lost()))
        raise Fail("%s did not come within %d s" % (what, timeout))

    def wait_has(self, what, prefixes, timeout=None):
        left = list(prefixes)

        def here():
            while left and left[-1] in self.rib:
                left.pop()
            return not left and all(p in self.rib for p in prefixes)
        self.wait(what, here, timeout)

    def wait_lacks(self, what, prefixes, timeout=None):
        self.wait(what, lambda: not any(p in self.rib for p in prefixes), timeout)
