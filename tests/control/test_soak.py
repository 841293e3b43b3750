#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Random operations against a real keeld for SOAK_S seconds (environment, 60; an hour with KEEL_TEST_FULL): peers, groups, ranges, instances, collectors, caches,
dumps, candidates and traces come and go; peers flap, refresh, and send faulty messages of every kind; commits are confirmed, time out, and are rolled back;
keeld stops, is reloaded and killed. keeld lives, answers, and frees nothing that is in use. For builds with AddressSanitizer. SEED repeats the operations,
not their times. Needs root (a network namespace); else the exit status is 77.

usage: test_soak.py KEELD
"""
import os
import random
import re
import signal
import socket
import struct
import time

import keel_rig
from bmp_collector import Collector
from keel_rig import KEEPALIVE, NOTIFICATION, OPEN, REFRESH, UPDATE, US, V4, V6, VPNV4, HostKeel, KeelTest, Speaker, in_namespace, nlri, update_of
from rtr_cache import Cache

SECONDS = float(os.environ.get("SOAK_S", "3600" if "KEEL_TEST_FULL" in os.environ else "60"))
SEED = int(os.environ.get("SEED", time.time_ns() % 1000000))
STATIC = ["192.0.2.%d" % i for i in (2, 3, 50)]
DYNAMIC = ["192.0.2.%d" % i for i in (51, 52, 53)]
ASN = 64513
NETWORKS = ["20.%d.%d.0" % (i // 8, i % 8) for i in range(64)]
VRFS = ["s%d-%d" % (os.getpid(), i) for i in range(2)]
COLLECTORS, CACHES = (5001, 5002), (8282, 8283)
SPEAKERS_MAX, HALF_MAX = 8, 12
ORIGIN, PATH, HOP = b"\x40\1\1\0", b"\x40\2\6\2\1" + struct.pack(">I", ASN), b"\x40\3\4\xc0\0\2\2"


def header(length, kind, marker=b"\xff" * 16):
    return marker + struct.pack(">HB", length & 0xffff, kind)


class Soak(KeelTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        self.speakers, self.half, self.collectors, self.caches, self.traces = [], [], {}, {}, []
        self.counts, self.files, self.parts = {}, 0, {}
        self.addCleanup(self.close_all)

    def start(self, document):
        self.keel = HostKeel(self.namespace, self.folder, document)
        self.addCleanup(self.keel.log.close)
        for name in VRFS:
            self.addCleanup(keel_rig.ip, "netns", "del", "keel-" + name, check=False)

    def close_all(self):
        for one in self.speakers + self.half + list(self.collectors.values()) + list(self.caches.values()):
            one.close()
        if self.keel.process.poll() is None:
            self.keel.kill()

    def some(self, of, chance=0.5):
        return [x for x in of if self.random.random() < chance]

    def maybe(self, chance, **keys):
        return keys if self.random.random() < chance else {}

    # ---- documents ----

    def family(self, unicast=True):
        r = self.random
        limits = ({"limit": 30}, {"limit": r.randrange(1, 40), "action": "shutdown", "restart_s": 1}, {"limit": r.randrange(1, 40), "action": r.choice(("warning", "discard", "shutdown"))})
        return dict({"import_policy": r.choice(("in", "in", "accept-all", "deny-all")), "export_policy": r.choice(("out", "accept-all", "accept-all", "deny-all"))},
                    **self.maybe(0.3, keep_all_routes=True), **self.maybe(0.2 if unicast else 0, default_originate=True), **self.maybe(0.2, remove_private_as=True),
                    **self.maybe(0.2, max_prefixes=r.choice(limits)),
                    **self.maybe(0.1, max_prefixes_out={"limit": r.randrange(2, 40)}))

    def session(self):
        r = self.random
        families = {V4: self.family(), V6: self.family(), **({VPNV4: self.family(unicast=False), "rt-constraint": {}} if r.random() < 0.3 else {})}
        timers = dict({"idle_hold_s": 1, "connect_retry_s": r.choice((1, 5))}, **self.maybe(0.2, hold_s=3, keepalive_s=1), **self.maybe(0.3, min_advertisement_s=r.randrange(3)),
                      **self.maybe(0.3, stale_refresh_s=1), **self.maybe(0.2, long_lived_stale_time=r.choice((1, 60))))
        return dict({"families": families, "timers": timers, "passive": r.random() < 0.7},
                    **self.maybe(0.3, capabilities={k: r.random() < 0.7 for k in ("route_refresh", "enhanced_route_refresh", "graceful_restart", "extended_message")}),
                    **self.maybe(0.1, shutdown=True), **self.maybe(0.1, slow_peer={"absolute_s": 1}))

    def part(self, name, make):
        """A part of the document: mostly as before."""
        if name not in self.parts or self.random.random() < 0.25:
            self.parts[name] = make()
        return self.parts[name]

    def instance(self, name):
        targets = ["64512:%d" % i for i in (1, 2, 7)]
        return dict({"name": name, "rd": "64512:%d" % VRFS.index(name), "import_targets": self.some(targets), "export_targets": self.some(targets)},
                    **self.maybe(0.2, max_routes={"limit": 10}))

    def peer(self, address):
        if self.random.random() < 0.2:
            return None
        return dict({"address": address, "asn": ASN}, **(self.maybe(0.5, group=self.random.choice(("g0", "g1"))) or self.session()))

    def document(self):
        r, part = self.random, self.part
        groups = [part(n, lambda n=n: dict({"name": n, "asn": ASN}, **self.session())) for n in ("g0", "g1")]
        peers = [part(a, lambda a=a: self.peer(a)) for a in STATIC]
        vrfs = [part(v, lambda v=v: self.instance(v)) for v in part("vrfs", lambda: self.some(VRFS, 0.6))]
        there = [None] + [v["name"] for v in vrfs]

        def routes(name, few, prefix, **keys):
            found = part(name, lambda: [dict({"prefix": prefix % i, "vrf": r.choice([None] + VRFS)}, **keys) for i in range(r.randrange(few))])
            return [{k: v for k, v in x.items() if v is not None} for x in found if x["vrf"] in there]

        nodes = part("nodes", lambda: [{"seq": 10, "action": r.choice(("deny", "permit")), "match": {"prefix_list": "some"}},
                                       {"seq": 20, "action": "permit", "set": {"local_pref": r.randrange(90, 110)}}])
        return {"router": {"asn": 64512, "router_id": US}, "vrfs": vrfs,
                "prefix_lists": part("lists", lambda: [{"name": "some", "entries": [{"action": "permit", "prefix": "20.%d.0.0/16" % i, "le": 24} for i in range(r.randrange(1, 6))]}]),
                "route_policies": [{"name": n, "nodes": nodes} for n in ("in", "out")],
                "bmp": part("bmp", lambda: [{"address": "127.0.0.1", "port": p, "views": r.choice((["adj-in-pre", "adj-in", "loc"], ["loc"], ["adj-in", "adj-out"]))}
                                            for p in self.some(COLLECTORS)]),
                "rpki": part("rpki", lambda: {"caches": [{"address": "127.0.0.1", "port": p} for p in self.some(CACHES)]}),
                "mrt": part("mrt", lambda: [{"file": "%s.%%s" % k, "kind": k, "interval_s": r.choice((1, 3600))} for k in self.some(("table", "updates"), 0.4)]),
                "static_routes": routes("statics", 4, "10.%d.0.0/16", blackhole=True),
                "bgp": {"policy_change_delay_s": 0, "next_hop_tracking": False, "max_paths": part("paths", lambda: r.choice((1, 4))), "groups": groups,
                        "peers": [p for p in peers if p is not None], "networks": routes("networks", 8, "30.0.%d.0/24"),
                        "listen_ranges": part("ranges", lambda: [dict({"prefix": "192.0.2.48/29", "group": r.choice(("g0", "g1"))}, **self.maybe(0.6, asn=ASN))] * (r.random() < 0.8)),
                        "redistribute": part("sources", lambda: [{"source": "static"}] * (r.random() < 0.5))}}

    # ---- requests ----

    def ask(self, method, **params):
        """An error is an answer, too, unless keeld is at fault. A commit that times out may end the request of another."""
        answer = self.keel.answer(method, params)
        self.assertNotEqual(answer.get("error", {}).get("code"), -32603, (method, params, answer))
        return answer.get("result")

    def op_commit(self):
        if self.ask("config.edit", merge=self.document()) is None:
            self.ask("config.discard")
            return False
        r = self.random.random()
        if r < 0.1:
            self.ask("config.discard")
        elif r < 0.3:
            self.ask("bgp.refresh.preview", candidate=True)
        done = self.ask("config.commit", force=True, **self.maybe(0.3, confirm_s=self.random.choice((1, 1, 60))))
        if done is not None and self.random.random() < 0.2:
            self.ask("config.confirm")
        return done is not None

    def op_rollback(self):
        commits = self.ask("config.history")["commits"]
        return bool(commits) and self.ask("config.rollback", to=self.random.choice(commits[-5:])["id"], force=True) is not None

    def op_confirm(self):
        return self.ask("config.confirm") is not None

    def op_refresh(self):
        r = self.random
        where = r.choice(({"scope": "all"}, {"scope": "peer", "peer": r.choice(STATIC + DYNAMIC)}, {"scope": "group", "group": "g0"}))
        return self.ask(r.choice(("bgp.refresh", "bgp.refresh", "bgp.refresh.preview")), family=r.choice((V4, V6, VPNV4)), direction=r.choice(("import", "export")), **where) is not None

    def op_reset(self):
        return self.ask("bgp.reset", family=V4, scope="peer", peer=self.random.choice(STATIC + DYNAMIC), force=True) is not None

    def op_look(self):
        r = self.random
        peer, self.files = r.choice(STATIC), self.files + 1
        method, params = r.choice((("rib.routes", {"family": V4, "view": "loc", "limit": 20}), ("rib.routes", {"family": V4, "view": r.choice(("adj-in", "adj-out")), "peer": peer}), ("bgp.peers", {}), ("rib.summary", {}), ("bmp.summary", {}),
                                   ("rib.lookup", {"family": V4, "address": "20.0.0.1"}), ("system.info", {}), ("vrf.list", {}), ("rpki.summary", {}), ("mrt.summary", {}),
                                   ("rib.history", {"family": V4, "prefix": "20.0.0.0/24"}), ("rib.fate", {"family": V4, "prefix": "20.0.0.0/24"}), ("audit.list", {}), ("dataplane.stats", {}),
                                   ("mrt.dump", {"file": "dump%d" % self.files})))
        return self.ask(method, **params) is not None

    def op_trace(self):
        if self.traces and self.random.random() < 0.5:
            return self.ask("trace.stop", trace=self.traces.pop()) is not None
        self.files += 1
        done = self.ask("trace.start", seconds=self.random.choice((1, 60)), **self.random.choice(
            ({"prefix": "20.0.0.0/24"}, {"peer": self.random.choice(STATIC)}, {"policy": "in"}, {"prefix": "20.0.1.0/24", "file": "%d.pcapng" % self.files})))
        if done is not None:
            self.traces.append(done["trace"])
        return done is not None

    # ---- peers ----

    def connect(self, address):
        def work():
            s = socket.socket()
            s.settimeout(5)
            s.bind((address, 0))
            try:
                s.connect((US, 179))
            except OSError:
                s.close()
                return None
            return s
        return in_namespace(self.namespace, work)

    def op_come(self):
        if len(self.speakers) >= SPEAKERS_MAX:
            return self.op_go()
        r = self.random
        try:
            s = Speaker(self.namespace, address=r.choice(STATIC + DYNAMIC), asn=r.choice((ASN,) * 5 + (65099,)), refresh=r.random() < 0.8,
                        families=r.choice(((V4,), (V4, V6), (V4, V6, VPNV4))), restart=r.choice((0, 0, 1, 60)))
        except OSError:
            return False
        s.helpful = r.random() < 0.8
        self.speakers.append(s)
        return True

    def op_go(self):
        if self.speakers:
            s = self.speakers.pop(self.random.randrange(len(self.speakers)))
            if self.random.random() < 0.3:
                self.send(s, NOTIFICATION, bytes([6, self.random.choice((2, 4, 9))]))
            s.close()
        return True

    def send(self, s, kind, body):
        try:
            s.send(kind, body)
            return True
        except OSError:
            return False  # keeld has closed the connection

    def speaker(self):
        """One whose session is up, if there is one: a new one is given some time."""
        for s in [s for s in self.speakers if s.closed()]:
            self.speakers.remove(s)
            s.close()
        if not self.speakers or self.random.random() < 0.3:
            self.op_come()
        up = [s for s in self.speakers if not s.closed()]
        if not up:
            return None
        s = self.random.choice(up)
        with s.changed:
            s.changed.wait_for(lambda: s.up or s.closed(), 1)
        return None if s.closed() else s

    def op_routes(self):
        s, r = self.speaker(), self.random
        if s is None:
            return False
        for _ in range(r.randrange(1, 30)):
            n = r.choice(NETWORKS)
            if r.random() < 0.3:
                routes = nlri(V4, n)
                body = struct.pack(">H", len(routes)) + routes + b"\0\0"
            else:
                family, more = r.choice(((V4, b""), (V4, b"\xc0\x08\4" + struct.pack(">HH", 64512, r.randrange(4))), (VPNV4, b"")))
                body = update_of(family, s.address, (s.asn,) + tuple(r.choice((64600, 65551)) for _ in range(r.randrange(3))), nlri(family, n), more)
            if not self.send(s, UPDATE, body):
                return False
        if r.random() < 0.3:
            self.send(s, UPDATE, bytes(4))  # End-of-RIB
        return True

    def op_ask_again(self):
        s, r = self.speaker(), self.random
        return s is not None and self.send(s, REFRESH, struct.pack(">HBB", 1, r.choice((0, 0, 1, 2)), r.choice((1, 1, 128))))

    def attribute(self):
        """An attribute that is mostly faulty."""
        r = self.random
        value = bytes(r.randrange(256) for _ in range(r.choice((0, 1, 3, 4, 8, 20))))
        return bytes([r.choice((0x40, 0x80, 0xc0, 0xe0)), r.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 32, 35, 99)), (len(value) + r.choice((0, 0, 0, 1, 200))) & 255]) + value

    def faulty(self):
        """An UPDATE with faults after which the session mostly lives."""
        r = self.random
        attributes = [ORIGIN, PATH, HOP] + [self.attribute() for _ in range(r.randrange(3))]
        r.shuffle(attributes)
        if r.random() < 0.4:
            attributes.pop()
        a = b"".join(attributes)
        body = struct.pack(">HH", r.choice((0,) * 15 + (7,)), (len(a) + r.choice((0,) * 15 + (1, 300))) & 0xffff) + a + nlri(V4, r.choice(NETWORKS), length=r.choice((24,) * 15 + (33,)))
        return body

    def op_faulty_update(self):
        s, r = self.speaker(), self.random
        if s is None:
            return False
        for _ in range(r.choice((1, 1, 4, 20))):
            body = self.faulty()
            if r.random() < 0.2:  # a sound one with octets changed
                body = bytearray(update_of(r.choice((V4, V6, VPNV4)), s.address, (s.asn,), nlri(V4, r.choice(NETWORKS))))
                for _ in range(r.randrange(1, 4)):
                    body[r.randrange(len(body))] = r.randrange(256)
            if not self.send(s, UPDATE, bytes(body)):
                return False
        return True

    def op_faulty_message(self):
        s, r = self.speaker(), self.random
        if s is None:
            return False
        message = r.choice((header(19, 9), header(18, KEEPALIVE), header(20, KEEPALIVE) + b"\0", header(0xffff, UPDATE), header(19, KEEPALIVE, bytes(16)), header(22, UPDATE) + bytes(3),
                            header(21, REFRESH) + bytes(2), header(23, REFRESH) + bytes([0, 1, 9, 1]), header(19, OPEN), header(21, NOTIFICATION) + b"\6\2",
                            header(20, NOTIFICATION) + b"\6", header(200, UPDATE) + bytes(20), header(27, REFRESH) + bytes([0, 1, 0, 1, 1, 0, 0, 9])))
        try:
            s.sock.sendall(message)
        except OSError:
            return False
        return True

    def opening(self, address):
        """An OPEN that is mostly faulty."""
        r = self.random
        asn = r.choice((ASN, 65099, 64512, 0))
        capabilities = b"".join(r.sample((struct.pack(">BBHH", 1, 4, 1, 1), bytes([2, 0]), struct.pack(">BBI", 65, 4, asn), bytes([64, 2, 0, 1]), bytes([9, 1, 2]), bytes([1, 3, 0, 1, 0]),
                                          bytes([65, 200])), r.randrange(5)))
        body = struct.pack(">BHH4sBBB", r.choice((4, 4, 4, 3)), asn & 0xffff, r.choice((90, 90, 0, 1)), r.choice((socket.inet_aton(address), bytes(4))),
                           (len(capabilities) + 2 + r.choice((0, 0, 0, 1))) & 255, r.choice((2, 2, 2, 1)), len(capabilities)) + capabilities
        return header(19 + len(body), OPEN) + body

    def op_half(self):
        """A connection that goes as far as a part of an OPEN, an OPEN, or what follows."""
        r = self.random
        if len(self.half) >= HALF_MAX:
            self.half.pop(r.randrange(len(self.half))).close()
        address = r.choice(STATIC + DYNAMIC)
        s = self.connect(address)
        if s is None:
            return False
        message = self.opening(address)
        try:
            s.sendall(message[:r.choice((0, 5, 19, 25, len(message), len(message), len(message), len(message)))])
            if r.random() < 0.3:
                s.sendall(header(19, KEEPALIVE) + header(23 + len(ORIGIN), UPDATE) + bytes(4))
        except OSError:
            pass
        if r.random() < 0.7:
            self.half.append(s)
        else:
            s.close()
        return True

    # ---- collectors and caches ----

    def op_collector(self):
        port = self.random.choice(COLLECTORS)
        c = self.collectors.pop(port, None)
        if c is not None:
            if self.random.random() < 0.5:
                c.close()
                return True
            self.collectors[port] = c
            try:
                c.drop()
            except (OSError, AttributeError):
                return False  # no connection
            return True
        self.collectors[port] = Collector(self.namespace, port, reads=self.random.random() < 0.8)
        return True

    def op_cache(self):
        r = self.random
        port = r.choice(CACHES)
        c = self.caches.get(port)
        roas = [("20.%d.0.0/16" % i, 24, r.choice((ASN, 1))) for i in self.some(range(8))]
        if c is None:
            self.caches[port] = Cache(self.namespace, port, *roas, intervals=(1, 1, 600))
        elif r.random() < 0.2:
            self.caches.pop(port).close()
        elif r.random() < 0.3:
            c.restart(*roas)
        elif r.random() < 0.3:
            c.fault = r.choice((None, lambda c, s, *_: s.sendall(bytes(8)), lambda c, s, *_: s.shutdown(socket.SHUT_RDWR), lambda c, s, *_: s.sendall(b"\1\3\0\7\0\0\0\x08\1\4")))
        else:
            c.set(*roas)
        return True

    # ---- keeld ----

    def op_reload(self):
        self.keel.process.send_signal(signal.SIGHUP)
        return True

    def op_restart(self):
        self.traces = []
        if self.random.random() < 0.7:
            self.keel.stop()
        else:
            self.keel.kill()
        self.keel.start()
        return True

    WEIGHTS = {"commit": 8, "rollback": 2, "confirm": 2, "refresh": 4, "reset": 2, "look": 6, "trace": 2, "come": 14, "go": 6, "routes": 14, "ask_again": 6, "faulty_update": 14,
               "faulty_message": 4, "half": 8, "collector": 2, "cache": 3, "reload": 1, "restart": 1}

    def test_soak(self):
        print("SEED=%d SOAK_S=%g" % (SEED, SECONDS), flush=True)
        self.start({"router": {"asn": 64512, "router_id": US}, "bgp": {"next_hop_tracking": False}})
        kinds, weights = list(self.WEIGHTS), list(self.WEIGHTS.values())
        end, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            kind = self.random.choices(kinds, weights)[0]
            number += 1
            try:
                done = getattr(self, "op_" + kind)()
            except (OSError, ValueError) as e:
                self.fail("operation %d, %s: %r\n%s" % (number, kind, e, self.keel.logged()))
            assert self.keel.process.poll() is None, "operation %d, %s\n%s" % (number, kind, self.keel.logged())
            good, all_of = self.counts.get(kind, (0, 0))
            self.counts[kind] = good + bool(done), all_of + 1
        self.keel.stop()
        print(", ".join("%s %d/%d" % (k, *n) for k, n in sorted(self.counts.items())), flush=True)
        self.assertEqual(re.findall(r"(?m)^.*(?:runtime error: |Sanitizer: |^in use: ).*$", self.keel.log_text())[:5], [], self.keel.logged())
        if SECONDS >= 60:  # a run in which operations are refused proves nothing
            self.assertEqual([k for k in kinds if k != "confirm" and self.counts.get(k, (0, 0))[0] == 0], [])


if __name__ == "__main__":
    keel_rig.main()
