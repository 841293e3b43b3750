#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""IDLE (4,000) configured peers, mostly idle, against a real keeld: the cost of a live peer, and bgp.peers beside other requests. Needs root (a network
namespace); else the exit status is 77.

usage: test_many_peers.py KEELD
"""
import json
import os
import select
import shutil
import socket
import time

import keel_rig
from keel_rig import THEM, US, WAIT_S, KeelTest, in_namespace

OTHER = "192.0.2.3"
IDLE = int(os.environ.get("IDLE", 4000))
UPDATES = 500


def idle(count):
    """Passive peers that never connect."""
    return [{"address": "10.%d.%d.1" % (i >> 8, i & 255), "asn": 64600, "passive": True, "group": "idle"} for i in range(count)]


class ManyPeers(KeelTest):
    def begin(self, count):
        both = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}
        live = [{"address": a, "asn": n, "passive": True, "families": both} for a, n in ((THEM, 64513), (OTHER, 64514))]
        self.start({"router": {"asn": 64512, "router_id": US}, "management": {"http": "127.0.0.1:9179"},
                    "bgp": {"next_hop_tracking": False, "groups": [{"name": "idle", "families": both}], "peers": idle(count) + live}})

    def session_cpu_s(self):
        return [t["cpu_s"] for t in self.keel.call("control.stats")["threads"] if t["name"] == "keel-session"][0]

    def cost(self, count):
        """Processor seconds of the session thread for UPDATEs of a peer, each awaited at another peer before the next."""
        self.begin(count)
        them, other = self.speak(), self.speak(address=OTHER, asn=64514)
        before = self.session_cpu_s()
        for i in range(UPDATES):
            network = "20.%d.%d.0" % (i >> 8, i & 255)
            since = time.monotonic()
            them.announce(network)
            with other.changed:
                self.assertTrue(other.changed.wait_for(lambda: network + "/24" in other.told(since)[0], WAIT_S))
        spent = self.session_cpu_s() - before
        them.close()
        other.close()
        self.keel.stop()
        self.keel.log.close()
        return spent

    def test_an_update_costs_the_same_beside_idle_peers(self):
        """Each UPDATE wakes the session thread. No wake-up may go over all configured peers."""
        few = self.cost(10)
        shutil.rmtree(os.path.join(self.folder, "state"))
        many = self.cost(IDLE)
        print("session thread, %d UPDATEs: %.4f s beside 10 idle peers, %.4f s beside %d" % (UPDATES, few, many, IDLE), flush=True)
        self.assertLess(many, 20 * few)

    def ask(self, s, number, method, **params):
        s.sendall(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")

    def connection(self):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(WAIT_S)
        s.connect(self.keel.path)
        return s

    def test_bgp_peers_of_all_lets_others_through(self):
        """During a long answer with all peers, other clients are answered: several times before the long answer."""
        self.begin(IDLE)

        def attempt():
            all_peers = self.connection()
            self.ask(all_peers, 1, "bgp.peers")
            answered = self.answered_before(all_peers)
            peers = json.loads(all_peers.makefile("rb").readline())["result"]["peers"]
            print("%d requests answered during bgp.peers of %d" % (answered, len(peers)), flush=True)
            self.assertEqual([p["address"] for p in peers], [p["address"] for p in idle(IDLE)] + [THEM, OTHER])
            return answered
        self.lets_others_through(attempt)

    def lets_others_through(self, attempt):
        """The best of five attempts: a busy machine may give the test no CPU during a long answer."""
        self.assertTrue(any(attempt() > 10 for _ in range(5)), "never more than 10 requests answered during the long answer")

    def answered_before(self, long):
        """Number of another client's requests answered before any octet arrives on the socket `long`."""
        other, answered = self.connection(), 0
        lines = other.makefile("rb")
        while not select.select([long], [], [], 0)[0]:
            self.ask(other, answered, "system.info")
            self.assertEqual(json.loads(lines.readline())["id"], answered)
            answered += 1
        return answered

    def test_metrics_of_all_let_others_through(self):
        """Other clients are answered during GET /metrics, too, which is open to any client that reaches the port."""
        self.begin(IDLE)

        def connect():
            s = socket.socket()
            self.addCleanup(s.close)
            s.settimeout(WAIT_S)
            s.connect(("127.0.0.1", 9179))
            return s

        def attempt():
            s = in_namespace(self.namespace, connect)
            s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            answered = self.answered_before(s)
            lines = s.makefile("rb").read().split(b"\n")
            print("%d requests answered during GET /metrics of %d lines" % (answered, len(lines)), flush=True)
            self.assertEqual(lines[-2:], [b"# EOF", b""])
            self.assertEqual(sum(line.startswith(b"keel_peer_established{") for line in lines), IDLE + 2)
            return answered
        self.lets_others_through(attempt)
        batch = json.dumps([{"jsonrpc": "2.0", "id": i, "method": "bgp.peers"} for i in range(3)]).encode()
        s = in_namespace(self.namespace, connect)
        s.sendall(b"POST /rpc HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(batch) + batch)
        body = s.makefile("rb").read().split(b"\r\n\r\n", 1)[1]
        self.assertEqual([(a["id"], len(a["result"]["peers"])) for a in json.loads(body)], [(i, IDLE + 2) for i in range(3)])
        # the daemon ends, and a client leaves, while a page is made
        for _ in range(3):
            in_namespace(self.namespace, connect).sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        self.keel.call("system.info")

    def test_bgp_peers_pages(self):
        self.begin(300)
        every = self.keel.call("bgp.peers")["peers"]
        self.assertEqual(len(every), 302)
        for limit in (1, 64, 65, 301, 302, 10000):
            pages, params = [], {"limit": limit}
            for _ in range(303):
                answer = self.keel.call("bgp.peers", params)
                self.assertLessEqual(len(answer["peers"]), limit)
                pages += answer["peers"]
                if "next" not in answer:
                    break
                params["cursor"] = answer["next"]
            self.assertEqual([p["address"] for p in pages], [p["address"] for p in every], limit)
        self.assertEqual([p["address"] for p in self.keel.call("bgp.peers", {"peer": OTHER})["peers"]], [OTHER])
        for params, path in (({"peer": "192.0.2.99"}, "/peer"), ({"limit": 0}, "/limit"), ({"cursor": "x"}, "/cursor"), ({"cursor": 1}, "/cursor")):
            self.assertEqual(self.keel.answer("bgp.peers", params)["error"]["data"]["path"], path, params)

    def test_bgp_peers_of_one_does_not_ask_all(self):
        """Time for one peer and for all peers, in the same run: thousands of peers take hundreds of times as long."""
        self.begin(IDLE)

        def least(**params):
            times = []
            for _ in range(7):
                begin = time.monotonic()
                self.assertTrue(self.keel.call("bgp.peers", params)["peers"])
                times.append(time.monotonic() - begin)
            return min(times)
        one, every = least(peer=OTHER), least()
        print("bgp.peers of one: %.2f ms, of all: %.0f ms" % (one * 1e3, every * 1e3), flush=True)
        self.assertLess(20 * one, every)

    def test_requests_of_one_client_keep_their_order(self):
        """A long answer delays the next requests of its client, in lines and in batches, and a client that leaves causes no fault."""
        self.begin(200)
        s = self.connection()
        lines = s.makefile("rb")
        for i in range(40):
            self.ask(s, i, "bgp.peers" if i % 4 else "system.info")
        self.assertEqual([json.loads(lines.readline())["id"] for _ in range(40)], list(range(40)))
        batch = [{"jsonrpc": "2.0", "id": i, "method": "bgp.peers"} for i in range(5)] + [{"jsonrpc": "2.0", "id": 5, "method": "system.info"}]
        s.sendall(json.dumps(batch).encode() + b"\n" + json.dumps({"jsonrpc": "2.0", "method": "bgp.peers"}).encode() + b"\n")
        self.ask(s, 6, "system.info")
        self.assertEqual([(a["id"], len(a["result"].get("peers", []))) for a in json.loads(lines.readline())], [(i, 202) for i in range(5)] + [(5, 0)])
        self.assertEqual(json.loads(lines.readline())["id"], 6)
        # a batch over several turns, with late answers: each request is answered once
        preview = {"family": "ipv4-unicast", "scope": "all", "direction": "import"}
        mixed = [("bgp.refresh.preview", preview) if i % 20 == 0 else ("bgp.peers", {}) if i % 50 == 7 else ("rpc.discover", {}) for i in range(400)]
        s.sendall(json.dumps([{"jsonrpc": "2.0", "id": i, "method": m, "params": p} for i, (m, p) in enumerate(mixed)]).encode() + b"\n")
        self.assertEqual(sorted(a["id"] for a in json.loads(lines.readline())), list(range(400)))
        for text in (batch, batch[0]):
            left = self.connection()
            left.sendall(json.dumps(text).encode() + b"\n")
            left.close()
        self.ask(s, 7, "bgp.peers")
        self.assertEqual(json.loads(lines.readline())["id"], 7)
        self.ask(self.connection(), 8, "bgp.peers")  # keeld stops meanwhile

    def end(self):
        if self.keel.process.poll() is None:
            self.keel.stop()
        self.keel.log.close()


if __name__ == "__main__":
    keel_rig.main()
