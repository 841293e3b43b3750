#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Commits against a real keeld, with a speaker here that writes down what it is told and when: policy changes refresh by
themselves, once per family and direction, after their delay; what did not change says nothing. Needs root (a network
namespace); else the exit status is 77.

usage: test_apply.py KEELD
"""
import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

KEELD = sys.argv[1]
US, THEM = "192.0.2.1", "192.0.2.2"
V4, V6 = "ipv4-unicast", "ipv6-unicast"
AFI = {V4: 1, V6: 2}
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = 1, 2, 3, 4, 5
WAIT_S = 20


def in_namespace(name, work):
    """work() on a thread of its own in namespace `name`: sockets made there stay there."""
    result = []

    def run():
        with open("/run/netns/" + name) as ns:
            if libc().setns(ns.fileno(), 0x40000000) != 0:
                raise OSError("setns")
        result.append(work())
    t = threading.Thread(target=run)
    t.start()
    t.join()
    return result[0]


def libc():
    import ctypes
    return ctypes.CDLL(None, use_errno=True)


def attributes(b):
    while b:
        flags, kind = b[0], b[1]
        length, at = (struct.unpack(">H", b[2:4])[0], 4) if flags & 0x10 else (b[2], 3)
        yield kind, b[at:at + length]
        b = b[at + length:]


def prefixes(b, version=4):
    found = set()
    while b:
        n = (b[0] + 7) // 8
        packed = b[1:1 + n].ljust(4 if version == 4 else 16, b"\0")
        found.add("%s/%d" % (ipaddress.ip_address(packed), b[0]))
        b = b[1 + n:]
    return found


class Speaker:
    """AS 64513 with both families, route refresh and enhanced route refresh. Answers each ROUTE-REFRESH with BoRR and EoRR."""

    def __init__(self, namespace):
        self.messages = []  # (time, kind, body), without keepalives
        self.lock = threading.Lock()
        self.up = threading.Event()
        self.sock = in_namespace(namespace, self.connect)
        capabilities = b"".join(bytes([1, 4, 0, a, 0, 1]) for a in (1, 2)) + bytes([2, 0, 70, 0]) + \
            struct.pack(">BBI", 65, 4, 64513)
        body = struct.pack(">BHH4sBBBB", 4, 64513, 90, socket.inet_aton(THEM), len(capabilities) + 2, 2, len(capabilities), 0)
        self.send(OPEN, body[:-1] + capabilities)
        threading.Thread(target=self.read, daemon=True).start()
        assert self.up.wait(WAIT_S), "no session"

    def connect(self):
        s = socket.socket()
        s.bind((THEM, 0))
        end = time.monotonic() + WAIT_S
        while s.connect_ex((US, 179)) != 0:
            assert time.monotonic() < end, "nobody listens"
            time.sleep(0.05)
            s.close()
            s = socket.socket()
            s.bind((THEM, 0))
        return s

    def send(self, kind, body=b""):
        with self.lock:
            self.sock.sendall(b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def read(self):
        try:
            while True:
                length, kind = struct.unpack(">HB", self.exactly(19)[16:])
                body = self.exactly(length - 19)
                if kind == KEEPALIVE:
                    self.send(KEEPALIVE)
                    self.up.set()
                    continue
                self.messages.append((time.monotonic(), kind, body))
                if kind == REFRESH and body[2] == 0:
                    for subtype in (1, 2):
                        self.send(REFRESH, body[:2] + bytes([subtype]) + body[3:])
        except OSError:
            self.messages.append((time.monotonic(), NOTIFICATION, b"closed"))

    def announce(self, *networks, asns=(64513,)):
        path = bytes([0x40, 1, 1, 0, 0x40, 2, 2 + 4 * len(asns), 2, len(asns)]) + struct.pack(">%dI" % len(asns), *asns) + \
            b"\x40\x03\x04" + socket.inet_aton(THEM)
        nlri = b"".join(bytes([24]) + socket.inet_aton(p)[:3] for p in networks)
        self.send(UPDATE, struct.pack(">HH", 0, len(path)) + path + nlri)

    def requests(self, since, family=None):
        """Times of the ROUTE-REFRESH messages."""
        return [t for t, kind, b in self.messages if t >= since and kind == REFRESH and b[2] == 0 and
                (family is None or b[1] == AFI[family])]

    def updates(self, since):
        """[(time, withdrawn, announced)], sets of prefixes; without End-of-RIB."""
        found = []
        for t, kind, b in self.messages:
            if kind != UPDATE or t < since:
                continue
            n = struct.unpack(">H", b[:2])[0]
            end = 4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]
            withdrawn, announced = prefixes(b[2:2 + n]), prefixes(b[end:])
            for kind, value in attributes(b[4 + n:end]):
                if kind == 14:
                    announced |= prefixes(value[5 + value[3]:], 6)
                elif kind == 15:
                    withdrawn |= prefixes(value[3:], 6)
            if withdrawn or announced:
                found.append((t, withdrawn, announced))
        return found

    def table(self, since=0):
        """What is left of the updates."""
        routes = set()
        for _, withdrawn, announced in self.updates(since):
            routes = routes - withdrawn | announced
        return routes

    def told(self, since):
        """All that was announced, and all that was withdrawn."""
        updates = self.updates(since)
        return set().union(*(u[2] for u in updates)), set().union(*(u[1] for u in updates))


class Keel:
    def __init__(self, namespace, folder, document):
        self.file, self.path = os.path.join(folder, "keel.json"), os.path.join(folder, "keel.sock")
        with open(self.file, "w") as f:
            json.dump(document, f)
        self.log = open(os.path.join(folder, "log"), "w+")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, KEELD, "-c", self.file, "--no-dataplane", "--socket", self.path, "--state-dir",
             os.path.join(folder, "state")], stdout=self.log, stderr=subprocess.STDOUT)
        end = time.monotonic() + WAIT_S
        while not os.path.exists(self.path):
            assert time.monotonic() < end and self.process.poll() is None, self.logged()
            time.sleep(0.05)

    def logged(self):
        with open(self.log.name) as f:
            return f.read()[-3000:]

    def stop(self):
        self.process.terminate()
        status = self.process.wait(20)
        self.log.close()
        assert status == 0, self.logged()

    def answer(self, method, params=None):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(WAIT_S)
            s.connect(self.path)
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode() + b"\n")
            return json.loads(s.makefile().readline())

    def call(self, method, params=None):
        a = self.answer(method, params)
        assert "result" in a, (method, params, a, self.logged())
        return a["result"]

    def commit(self, merge):
        self.call("config.edit", {"merge": merge})
        return self.call("config.commit")["effects"]

    def job(self, number):
        return self.call("jobs.get", {"id": number})["state"]

    def peer(self):
        return self.call("bgp.peers")["peers"][0]


def pair(i):
    """A network of each family."""
    return ["10.0.%d.0/24" % i, "2001:db8:a%d::/48" % i]


def lists(*numbers, other=()):
    """The prefix lists: what is exported, and one that no policy in use refers to."""
    return [{"name": "l", "entries": [{"action": "permit", "prefix": p} for i in numbers for p in pair(i)]},
            {"name": "other", "entries": [{"action": "permit", "prefix": p} for p in other]}]


def document(**bgp):
    families = {f: {"import_policy": "in", "export_policy": "out"} for f in (V4, V6)}
    return {
        "router": {"asn": 64512, "router_id": US},
        "prefix_lists": lists(0),
        "route_policies": [
            {"name": "in", "nodes": [{"seq": 10, "action": "permit", "set": {"local_pref": 110}}]},
            {"name": "out", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "l"}, "set": {"next_hop": US}},
                                      {"seq": 5, "action": "permit", "match": {"prefix_list": "l", "family": V6},
                                       "set": {"next_hop": "2001:db8::1"}}]},
            {"name": "unused", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "other"}}]}],
        "bgp": dict({"networks": [{"prefix": p} for i in range(1, 5) for p in pair(i)] + [{"prefix": p} for p in pair(0)],
                     "peers": [{"address": THEM, "asn": 64513, "passive": True, "families": families}]}, **bgp),
    }


def policies(local_pref):
    """The whole array: RFC 7396 replaces arrays."""
    p = document()["route_policies"]
    p[0]["nodes"][0]["set"]["local_pref"] = local_pref
    return p


class Commit(unittest.TestCase):
    def begin(self, **bgp):
        self.folder = tempfile.mkdtemp(prefix="keel-apply-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.namespace = "config-apply%d" % os.getpid()
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.namespace], check=True)
        for words in ("link set lo up", "addr add %s/24 dev lo" % US, "addr add %s/24 dev lo" % THEM, "addr add 2001:db8::1/64 dev lo"):
            subprocess.run(["ip", "-n", self.namespace] + words.split(), check=True)
        self.keel = Keel(self.namespace, self.folder, document(**bgp))
        self.addCleanup(self.keel.stop)
        end = time.monotonic() + WAIT_S
        while self.keel.peer()["state"] != "active":
            self.assertLess(time.monotonic(), end, self.keel.logged())
            time.sleep(0.02)
        self.speaker = Speaker(self.namespace)
        self.addCleanup(self.speaker.sock.close)
        self.wait("the first table", lambda: self.speaker.table() == set(pair(0)))
        self.established = self.keel.peer()["established_count"]
        self.addCleanup(self.still_up)

    def still_up(self):
        p = self.keel.peer()
        self.assertEqual((p["state"], p["established_count"]), ("established", self.established), self.keel.logged())

    def wait(self, what, good):
        end = time.monotonic() + WAIT_S
        while not good():
            self.assertLess(time.monotonic(), end, "no %s\n%s\n%s" % (what, self.keel.logged(), self.speaker.messages))
            time.sleep(0.02)

    def quiet(self, since, seconds):
        time.sleep(max(0, since + seconds - time.monotonic()))
        self.assertEqual([m for m in self.speaker.messages if m[0] >= since], [])

    def effects(self, effects):
        return sorted((e["family"], e["direction"], e["effect"]) for e in effects)

    def both(self):
        """The families that this speaker and keeld have in common."""
        return [f for f in (V4, V6) if self.keel.peer()["families"][f]["negotiated"]]

    def test_import_change_asks_each_family_once(self):
        self.begin()
        families = self.both()
        self.assertEqual(families, [V4, V6])
        since = time.monotonic()
        effects = self.keel.commit({"route_policies": policies(120)})
        self.assertEqual(self.effects(effects), [(f, "import", "route-refresh-sent") for f in families])
        for e in effects:
            self.wait("end of the job", lambda: self.keel.job(e["job"]) == "done")
        time.sleep(0.3)
        for f in families:
            self.assertEqual(len(self.speaker.requests(since, f)), 1, f)
        self.assertEqual(self.speaker.updates(since), [])

    def test_delay_restarts_up_to_its_maximum(self):
        self.begin(policy_change_delay_s=2, policy_change_max_delay_s=3)
        since = time.monotonic()
        jobs = set()
        for i in range(3):  # at 0, 1.2 and 2.4 s: due at 4.4, but at most at 3
            time.sleep(max(0, since + 1.2 * i - time.monotonic()))
            jobs |= {e["job"] for e in self.keel.commit({"route_policies": policies(120 + i)})}
        self.assertEqual(len(jobs), 2)
        self.assertEqual(self.speaker.requests(since), [])
        for f in (V4, V6):
            self.wait("request", lambda: self.speaker.requests(since, f))
            self.assertAlmostEqual(self.speaker.requests(since, f)[0] - since, 3, delta=0.4)
        time.sleep(1.5)
        self.assertEqual(len(self.speaker.requests(since)), 2)
        self.assertEqual({self.keel.job(j) for j in jobs}, {"done"})

    def test_a_later_change_restarts_the_delay(self):
        self.begin(policy_change_delay_s=2)
        since = time.monotonic()
        self.keel.commit({"route_policies": policies(120)})
        time.sleep(1.2)
        again = time.monotonic()
        self.keel.commit({"route_policies": policies(121)})
        self.wait("request", lambda: len(self.speaker.requests(since)) == 2)
        self.assertGreater(min(self.speaker.requests(since)), again + 1.9)

    def test_import_command_applies_what_waits(self):
        self.begin(policy_change_delay_s=60, policy_change_max_delay_s=60)
        since = time.monotonic()
        effects = self.keel.commit({"route_policies": policies(120)})
        self.keel.call("bgp.refresh", {"family": V4, "scope": "all", "direction": "import"})
        job = [e["job"] for e in effects if e["family"] == V4][0]
        self.wait("end of the waiting job", lambda: self.keel.job(job) == "done")
        self.assertEqual([len(self.speaker.requests(since, f)) for f in (V4, V6)], [1, 0])

    def test_export_change_sends_differences(self):
        self.begin()
        since = time.monotonic()
        effects = self.keel.commit({"prefix_lists": lists(0, 2)})
        self.assertEqual(self.effects(effects), [(f, "export", "readvertised") for f in self.both()])
        self.wait("the new routes", lambda: self.speaker.table() == set(pair(0) + pair(2)))
        time.sleep(0.3)
        self.assertEqual(self.speaker.told(since), (set(pair(2)), set()))
        self.assertEqual(self.speaker.requests(since), [])

    def test_export_change_waits(self):
        self.begin(policy_change_delay_s=2)
        since = time.monotonic()
        first = self.keel.commit({"prefix_lists": lists(2)})
        self.assertEqual(self.effects(first), [(f, "export", "readvertised") for f in self.both()])
        time.sleep(1)
        again = time.monotonic()
        second = self.keel.commit({"prefix_lists": lists(3)})
        self.assertEqual([e["job"] for e in first], [e["job"] for e in second])
        self.keel.commit({"bgp": {"max_paths": 2}})  # does not hurry it, and keeps what is still run
        self.assertEqual(self.keel.job(first[0]["job"]), "running")
        self.wait("the new routes", lambda: self.speaker.table() == set(pair(3)))
        self.assertGreater(self.speaker.updates(since)[0][0], again + 1.9)
        time.sleep(0.3)
        self.assertEqual(self.speaker.told(since), (set(pair(3)), set(pair(0))))
        self.assertEqual({self.keel.job(e["job"]) for e in first}, {"done"})

    def test_change_and_back_within_the_delay(self):
        self.begin(policy_change_delay_s=1)
        since = time.monotonic()
        self.keel.commit({"prefix_lists": lists(1, 2)})
        last = self.keel.commit({"prefix_lists": lists(0)})
        self.wait("end of the job", lambda: {self.keel.job(e["job"]) for e in last} == {"done"})
        time.sleep(0.5)
        self.assertEqual(self.speaker.updates(since), [])

    def test_export_command_applies_what_waits(self):
        self.begin(policy_change_delay_s=60, policy_change_max_delay_s=60)
        effects = self.keel.commit({"prefix_lists": lists(3)})
        self.keel.call("bgp.refresh", {"family": V4, "scope": "all", "direction": "export"})
        self.wait("the new route", lambda: self.speaker.table() == {pair(3)[0], pair(0)[1]})
        states = {e["family"]: self.keel.job(e["job"]) for e in effects}
        self.assertEqual(states, {V4: "done", V6: "running"})

    def test_delay_taken_away(self):
        self.begin(policy_change_delay_s=60, policy_change_max_delay_s=60)
        self.keel.commit({"prefix_lists": lists(3)})
        self.keel.commit({"bgp": {"policy_change_delay_s": 0}, "prefix_lists": lists(4)})
        self.wait("the new routes", lambda: self.speaker.table() == set(pair(4)))

    def families(self, **keys):
        """A merge for the peer, all of whose families get these keys."""
        peer = json.loads(json.dumps(document()["bgp"]["peers"][0]))
        for f in peer["families"].values():
            f.update(keys)
        return {"bgp": {"peers": [peer]}}

    def test_allow_as_in_asks_again(self):
        self.begin()
        self.speaker.announce("20.0.0.0", asns=(64513, 64512, 7))
        self.speaker.announce("20.0.1.0")
        self.wait("the good route", lambda: self.keel.peer()["families"][V4]["accepted"] == 1)
        since = time.monotonic()
        effects = self.keel.commit(self.families(allow_as_in=1))
        self.assertEqual(self.effects(effects), [(f, "import", "route-refresh-sent") for f in self.both()])
        self.wait("request", lambda: self.speaker.requests(since, V4))
        self.speaker.announce("20.0.0.0", asns=(64513, 64512, 7))
        self.wait("the looped route", lambda: [r["prefix"] for r in self.keel.call(
            "rib.routes", {"family": V4, "view": "loc", "prefix": "20.0.0.0/24"})["routes"]] == ["20.0.0.0/24"])

    def test_export_rules_leave_the_session_up(self):
        self.begin()
        for keys in ({"next_hop_self": True}, {"next_hop_self": True, "remove_private_as": True}, {"default_originate": True}, {}):
            effects = self.keel.commit(self.families(**keys))
            self.assertEqual(self.effects(effects), [(f, "export", "readvertised") for f in self.both()], keys)
            if "default_originate" in keys:
                self.wait("default routes", lambda: self.speaker.table() == set(pair(0) + ["0.0.0.0/0", "::/0"]))
        self.assertEqual(self.keel.commit(self.families(max_prefixes={"limit": 1000})), [])
        self.wait("no default route", lambda: self.speaker.table() == set(pair(0)))

    def test_what_did_not_change_says_nothing(self):
        self.begin()
        self.speaker.announce("20.0.0.0", "20.0.1.0")
        self.wait("their routes", lambda: self.keel.peer()["families"][V4]["accepted"] == 2)
        time.sleep(0.3)
        since = time.monotonic()
        for merge in ({"prefix_lists": lists(0, other=["9.0.0.0/8"])},  # of an unused policy
                      {"bgp": {"max_paths": 4, "tombstones_max": 70000, "cluster_id": "9.9.9.9"}},
                      {"large_community_lists": [{"name": "x", "entries": []}]},
                      {"description": "words"}):
            self.assertEqual(self.keel.commit(merge), [], merge)
        self.quiet(since, 0.7)

    def test_only_at_start(self):
        self.begin()
        self.keel.call("config.edit", {"merge": {"bgp": {"next_hop_tracking": False}, "router": {"asn": 5}}})
        a = self.keel.answer("config.commit")
        self.assertEqual(sorted(e["path"] for e in a["error"]["data"]["errors"]), ["/bgp/next_hop_tracking", "/router"])
        self.keel.call("config.discard")


def possible():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = "config-try%d" % os.getpid()
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


if __name__ == "__main__":
    if not possible():
        print("namespaces need root and iproute2")
        sys.exit(77)
    result = unittest.main(argv=sys.argv[:1] + sys.argv[2:], exit=False, verbosity=2).result
    sys.exit(0 if result.wasSuccessful() else 1)
