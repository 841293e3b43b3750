# SPDX-License-Identifier: BSD-3-Clause
"""A small daemon that meets the clauses, except for one `fault` at a time: the kit's own test is to detect each fault."""
import ipaddress
import socket
import struct
import threading
import time

import adapters
import daemons
import kit
import wire
from labtest import KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, V4, V6, Speaker, in_netns
from tester import BORR, EORR, REQUEST, capabilities_of

# {fault: the clause that must detect the fault}
FAULTS = {
    "no capability 2": "capability_2", "capability 70 with a value": "capability_70", "answers with half": "answer_whole",
    "answers only who has 70": "answer_plain", "no EoRR": "answer_framed", "frames need capability 64": "framed_without_restart",
    "frames for all": "plain_peer_no_frame", "any family is its own": "family_not_negotiated", "any subtype is a request": "unknown_subtype",
    "no length is wrong": "wrong_length", "data without header": "wrong_length_data", "tells what is unchanged": "third_parties_silent",
    "asks twice": "request_sent", "asks anybody": "request_needs_capability", "capabilities stay": "capability_change",
    "sweep needs capability 64": "sweep_without_restart", "never sweeps": "sweep_with_restart", "new routes are stale": "live_in_refresh",
    "EoRR is enough": "eorr_alone", "one BoRR counts": "borr_in_borr", "BoRR counts before End-of-RIB": "borr_before_end_of_rib",
    "ORIGIN resets": "malformed_origin", "COMMUNITIES are not looked at": "malformed_communities", "no timer": "stale_timer",
    "keeps the lost": "lost_in_refresh", "keeps nothing": "lost_in_refresh_graceful", "a policy resets": "policy_without_refresh",
    "a policy is for what comes": "policy_with_refresh", "only EoRR makes a policy hold": "policy_with_plain_refresh", "what is kept is not used": "policy_with_kept_routes",
    "what was sent stays": "policy_export", "IPv6 is not answered": "ipv6_answer", "IPv6 is not swept": "ipv6_sweep",
    "BoRR before End-of-RIB": "no_borr_before_end_of_rib", "half a table": "request_before_end_of_rib", "one request a session": "second_request",
    "a walk begins again": "starvation", "an old route after its withdrawal": "order", "no word in a storm": "storm", "loses the others": "uptime"}


class Session(Speaker):
    """A connection accepted by the daemon."""

    def __init__(self, dut, peer, sock):
        super().__init__(None, peer.x.local, peer.x.remote, dut.setup.asn, families=tuple(peer.x.families), identifier=dut.setup.router_id)
        self.dut, self.peer, self.sock, self.closed, self.told, self.caps, self.answered = dut, peer, sock, False, {}, {}, False
        self.established, self.polite = threading.Event(), False
        self.thread = threading.Thread(target=self.read, daemon=True)

    def open_capabilities(self):
        caps = b"".join(struct.pack(">BBHBB", 1, 4, wire.AFI[f], 0, 1) for f in self.families) + struct.pack(">BBI", 65, 4, self.asn)
        caps += b"" if self.dut.fault == "no capability 2" else b"\2\0"
        return caps + (b"\x46\1\0" if self.dut.fault == "capability 70 with a value" else b"\x46\0") + b"\x40\2\0\0"

    def say_open(self):
        caps = self.open_capabilities()
        self.send(OPEN, struct.pack(">BHH4sBBB", 4, self.asn, 90, socket.inet_aton(self.identifier), len(caps) + 2, 2, len(caps)) + caps)

    def read(self):
        super().read()
        with self.dut.lock:
            self.dut.lost(self)
        self.sock.close()

    def message(self, kind, body):
        with self.dut.lock:
            if self.peer.session is self:
                self.dut.message(self, kind, body)

    def end(self, code, sub, data=b""):
        self.send(NOTIFICATION, bytes([code, sub]) + data)
        self.polite = True
        self.sock.shutdown(socket.SHUT_RDWR)


class Peer:
    def __init__(self, x, kept, short):
        self.x, self.keeps, self.short, self.session, self.policies = x, kept, short, None, {"import": "all", "export": "all"}
        self.rib, self.kept, self.stale, self.refreshing, self.ended, self.begun, self.caps = {}, {}, set(), False, False, 0, {}


class Scripted(daemons.Daemon):
    name = "Scripted"
    fault, lacks, note = None, {}, ""

    @classmethod
    def version(cls):
        return "0"

    def run(self, recover):
        self.lock, self.over = threading.RLock(), threading.Event()
        self.peers = {x.remote: Peer(x, x.name in self.setup.kept, x.name in self.setup.short_stale) for x in self.setup.sessions}
        self.listeners = [in_netns(self.lab.netns(self.host), lambda k=k, a=a: self.listen(k, a)) for k, a in (
            (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))]
        for s in self.listeners:
            threading.Thread(target=self.accept, args=(s,), daemon=True).start()
        threading.Thread(target=self.time_passes, daemon=True).start()

    @staticmethod
    def listen(kind, address):
        s = socket.socket(kind)
        if kind == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, 179))
        s.listen(64)
        return s

    def accept(self, listener):
        while True:
            try:
                sock, source = listener.accept()
            except OSError:
                return
            peer = self.peers[source[0]]
            with self.lock:
                if peer.session:
                    sock.close()
                    continue
                peer.session = Session(self, peer, sock)
                peer.session.say_open()
                peer.session.thread.start()

    def close(self):
        self.over.set()
        for s in self.listeners:
            s.shutdown(socket.SHUT_RDWR)
            s.close()

    def time_passes(self):
        while not self.over.wait(0.2):
            with self.lock:
                for p in self.peers.values():
                    if p.short and p.refreshing and time.monotonic() > p.begun + adapters.STALE_S and self.fault != "no timer":
                        self.sweep(p)

    # ---- input ----

    def message(self, s, kind, body):
        p = s.peer
        if kind == OPEN:
            s.caps = p.caps if self.fault == "capabilities stay" and p.caps else capabilities_of(body)
            p.caps = s.caps
            s.send(KEEPALIVE)
        elif kind == KEEPALIVE and not s.established.is_set():
            s.established.set()
            p.ended, p.refreshing = False, False
            if self.fault == "BoRR before End-of-RIB":
                self.mark(s, BORR)
            self.walk(s)
            s.send(UPDATE, wire.end_of_rib(s.families[0]))
        elif kind == UPDATE:
            self.update(s, body)
        elif kind == ROUTE_REFRESH:
            self.refresh(s, body)
        elif kind == NOTIFICATION:
            s.polite = True

    def update(self, s, body):
        p = s.peer
        try:
            come, gone, route, end = wire.decode(body)
        except (IndexError, struct.error) as e:  # RFC 7606 2: the named prefixes are withdrawn
            if self.fault == "ORIGIN resets" and isinstance(e, IndexError):
                return s.end(3, 6)
            if self.fault == "COMMUNITIES are not looked at" and isinstance(e, struct.error):
                return None
            size = struct.unpack(">H", body[2:4])[0]
            come, gone, route, end = [], wire.prefixes(body[4 + size:], V4), {}, None
        if end:
            p.ended = True
            if not p.refreshing:
                self.drop(p, p.stale)
        for x in gone:
            p.kept.pop(x, None)
            self.change(p, x, None)
        for x in come:
            p.kept[x] = route
            self.change(p, x, route)
        return None

    def change(self, p, prefix, route):
        old = p.rib.get(prefix)
        p.stale.discard(prefix)
        if p.refreshing and old is None and self.fault == "new routes are stale":
            p.stale.add(prefix)
        if old and route and not p.refreshing and self.fault == "only EoRR makes a policy hold":
            return
        if route is None or not self.accepts(p, "import", prefix):
            p.rib.pop(prefix, None)
        else:
            p.rib[prefix] = route
        if old != p.rib.get(prefix) or self.fault == "tells what is unchanged":
            self.tell_all(prefix, old)

    def tell_all(self, prefix, old=None):
        for q in self.peers.values():
            if q.session and q.session.established.is_set():
                self.tell(q.session, prefix, self.fault == "tells what is unchanged")
                if self.fault == "an old route after its withdrawal" and old and prefix not in q.session.told and (
                        q.x.families == [V4] and not prefix.startswith(kit.FENCES)):
                    self.say(q.session, wire.announce(self.exported(old), prefix, q.x.local))
                    self.say(q.session, wire.withdraw(prefix))

    def drop(self, p, prefixes):
        for x in list(prefixes):
            p.kept.pop(x, None)
            self.change(p, x, None)

    def sweep(self, p):
        p.refreshing = False
        if self.fault != "never sweeps" and not (self.fault == "IPv6 is not swept" and p.x.families == [V6]):
            self.drop(p, p.stale)
        p.stale = set()

    def refresh(self, s, body):
        p, fault = s.peer, self.fault
        afi, subtype, safi = struct.unpack(">HBB", body[:4])
        if len(body) != 4 and fault != "no length is wrong":
            header = b"\xff" * 16 + struct.pack(">HB", 19 + len(body), ROUTE_REFRESH)
            return s.end(7, 1, body if fault == "data without header" else header + body)
        if (afi != wire.AFI[s.families[0]] or safi != 1) and fault != "any family is its own":
            return None
        if subtype == REQUEST or (subtype > EORR and fault == "any subtype is a request"):
            return self.answer(s)
        graceful = bool(s.caps.get(64))
        if fault == "sweep needs capability 64" and not graceful:
            return None
        if subtype == BORR and (p.ended or not graceful or fault == "BoRR counts before End-of-RIB"):
            if not (p.refreshing and fault == "one BoRR counts"):
                p.stale, p.begun = set(p.rib), time.monotonic()
            p.refreshing = True
        elif subtype == EORR and (p.refreshing or fault == "EoRR is enough"):
            if not p.refreshing:
                p.stale = set(p.rib)
            self.sweep(p)
        return None

    def answer(self, s):
        fault, framed = self.fault, 70 in s.caps or self.fault == "frames for all"
        if (fault == "answers only who has 70" and not framed) or (fault == "one request a session" and s.answered) or (
                fault == "frames need capability 64" and not s.caps.get(64)) or (fault == "IPv6 is not answered" and s.families == (V6,)) or (
                fault == "no word in a storm"):
            return
        if framed:
            self.mark(s, BORR)
        self.walk(s, True)
        s.answered = True
        if framed and fault not in ("no EoRR", "a walk begins again"):
            self.mark(s, EORR)

    @staticmethod
    def mark(s, subtype):
        s.send(ROUTE_REFRESH, struct.pack(">HBB", wire.AFI[s.families[0]], subtype, 1))

    def lost(self, s):
        p = s.peer
        if p.session is not s:
            return
        p.session = None
        restart = s.caps.get(64, [b""])[0]
        self.drop(p, p.stale)
        if (len(restart) > 2 and not s.polite and self.fault != "keeps nothing") or self.fault == "keeps the lost":
            p.stale = set(p.rib)
        else:
            self.drop(p, p.rib)
        p.refreshing = False

    # ---- output ----

    def accepts(self, p, direction, prefix):
        upper = ":" not in prefix and ipaddress.ip_network(prefix).subnet_of(ipaddress.ip_network(adapters.REJECTED))
        return p.policies[direction] == "all" or not upper

    def exported(self, route):
        return dict(route, as_path="%d %s" % (self.setup.asn, route["as_path"]))

    def tell(self, s, prefix, force=False):
        if wire.family_of(prefix) not in s.families:
            return
        route = next((p.rib[prefix] for p in self.peers.values() if prefix in p.rib and p is not s.peer), None)
        if route is not None and not self.accepts(s.peer, "export", prefix) and not (self.fault == "what was sent stays" and prefix in s.told):
            route = None
        if route == s.told.get(prefix) and not (force and route is not None):
            return
        if route is None:
            del s.told[prefix]
            self.say(s, wire.withdraw(prefix))
        else:
            s.told[prefix] = route
            self.say(s, wire.announce(self.exported(route), prefix, s.peer.x.local))

    @staticmethod
    def say(s, update):
        try:
            s.send(UPDATE, update)
        except OSError:  # the reader will see the end
            pass

    def walk(self, s, again=False):
        everything = sorted({x for p in self.peers.values() for x in p.rib})
        half = {"answers with half": again, "a walk begins again": again, "half a table": again and len(everything) > 500}.get(self.fault)
        for x in everything[:len(everything) // 2] if half else everything:
            self.tell(s, x, True)

    # ---- calls from the kit ----

    def policy(self, session, direction, name):
        with self.lock:
            p = self.peers[self.setup.session(session).remote]
            p.policies[direction] = name
            if self.fault == "loses the others":
                for q in list(self.peers.values())[:1]:
                    q.session.end(6, 6)
            if direction == "export":
                for x in {x for q in self.peers.values() for x in q.rib}:
                    self.tell(p.session, x)
            elif p.keeps and self.fault != "what is kept is not used":
                for x, route in list(p.kept.items()):
                    self.change(p, x, route)
            elif 2 in p.session.caps and self.fault != "a policy is for what comes":
                self.mark(p.session, REQUEST)
            elif self.fault == "a policy resets":
                p.session.end(6, 6)

    def ask_refresh(self, session, family):
        with self.lock:
            s = self.peers[self.setup.session(session).remote].session
            for _ in range(2 if self.fault == "asks twice" else 1):
                if 2 in s.caps or self.fault == "asks anybody":
                    self.mark(s, REQUEST)

    def state(self, session):
        s = self.peers[self.setup.session(session).remote].session
        return "established" if s and s.established.is_set() else "idle"
