#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""trace.start beside tshark: in a storm of UPDATEs, the capture of a trace has exactly the messages with the prefix that tshark sees on the wire (needs
root and tshark: else the exit status is 77).

usage: test_trace.py KEELD KEELCTL
"""
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

KEELCTL = sys.argv.pop(2)

from keel_rig import KeelTest, THEM, UPDATE, US, V4, WAIT_S, main, nlri_of, unhurried, update_of, withdrawal_of  # noqa: E402

STORM = int(os.environ.get("STORM", 10000))
RECEIVER, TRACED = "192.0.2.3", "20.0.7.0/24"
# the AS path of the storm's last UPDATE, as the receiver gets it: no other route has the last number
LAST = 4200000001
LAST_PATH = struct.pack(">III", 64512, 64513, LAST)
STREAMS = 4  # more than the connections of a test
DOCUMENT = {
    "router": {"asn": 64512, "router_id": "192.0.2.1"},
    "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "deny", "match": {"as_path_length": {"ge": 4}}},
                                                {"seq": 20, "action": "permit"}]}],
    "bgp": {"peers": [
        {"address": THEM, "asn": 64513, "passive": True, "families": {V4: {"import_policy": "in", "export_policy": "accept-all"}}},
        {"address": RECEIVER, "asn": 64514, "passive": True, "families": {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}}]}}


def octets(i):
    return bytes([24, 20, i >> 8, i & 255])


def with_prefix(body):
    """True for the body of an UPDATE with the traced prefix."""
    n = struct.unpack(">H", body[:2])[0]
    end = 4 + n + struct.unpack(">H", body[2 + n:4 + n])[0]
    return TRACED in [p for p, _, _ in nlri_of(body[2:2 + n]) + nlri_of(body[end:])]


def tshark(*words):
    return subprocess.run(["tshark", "-n"] + list(words), capture_output=True, text=True, check=True, timeout=WAIT_S).stdout


def streams(path):
    """{(from, to): octets} of the TCP streams of a capture, put together by tshark."""
    found, nodes = {}, [None, None]
    for line in tshark("-r", path, "-q", *(w for n in range(STREAMS) for w in ("-z", "follow,tcp,raw,%d" % n))).splitlines():
        node = re.fullmatch(r"Node (\d): (\S+):\d+", line)
        if node:
            nodes[int(node.group(1))] = node.group(2)
        elif re.fullmatch(r"\t?[0-9a-f]+", line):
            way = (nodes[1], nodes[0]) if line.startswith("\t") else (nodes[0], nodes[1])
            found[way] = found.get(way, b"") + bytes.fromhex(line.strip())
    return found


def messages(stream):
    """The UPDATEs with the traced prefix, in order."""
    found = []
    while stream:
        length, kind = struct.unpack(">HB", stream[16:19])
        if kind == UPDATE and length > 23 and with_prefix(stream[19:length]):
            found.append(stream[:length])
        stream = stream[length:]
    return found


class Trace(KeelTest):
    def setUp(self):
        super().setUp()
        self.start(dict(DOCUMENT, management={"output_dir": self.folder}))
        self.sender = self.speak()
        self.receiver = self.speak(address=RECEIVER, asn=64514, families=(V4,))
        self.wire, self.ours = (os.path.join(self.folder, n) for n in ("wire.pcapng", "ours.pcapng"))

    def announce(self, network, asns=(64513,)):
        """192.0.2.2 is an address of keeld's host, so no next hop."""
        packed = bytes(int(n) for n in network.split("."))
        self.sender.send(UPDATE, update_of(V4, "192.0.2.99", asns, b"\x18" + packed[:3]))

    def listen(self):
        os.chmod(self.folder, 0o777)
        dump = subprocess.Popen(["ip", "netns", "exec", self.namespace, "dumpcap", "-q", "-i", "lo", "-B", "64", "-f", "tcp port 179", "-w", self.wire],
                                stderr=subprocess.PIPE, text=True)
        self.addCleanup(dump.stderr.close)
        self.addCleanup(dump.wait)
        self.addCleanup(dump.kill)
        for line in dump.stderr:
            if line.startswith("File:"):
                return dump
        raise AssertionError("dumpcap does not start")

    def storm(self):
        """Its last UPDATE is for the traced prefix: other prefixes may be of another shard, whose changes overtake."""
        rng = random.Random(1)
        for _ in range(STORM):
            some = rng.sample(range(2000), rng.randrange(1, 4)) + ([7] if rng.random() < 0.01 else [])
            if rng.random() < 0.3:
                self.sender.send(UPDATE, withdrawal_of(V4, b"".join(map(octets, some))))
            else:
                path = (64513,) + tuple(range(65000, 65000 + rng.randrange(4)))
                self.sender.send(UPDATE, update_of(V4, "192.0.2.99", path, b"".join(map(octets, some))))
        self.announce(TRACED.partition("/")[0], (64513, LAST))
        self.wait("the last route", lambda: any(LAST_PATH in body for _, _, body in self.receiver.messages), self.receiver.changed)

    def written(self):
        """True if the file has the last UPDATE to the receiver, which follows all that keeld received."""
        with open(self.wire, "rb") as f:
            return LAST_PATH in f.read()

    def until_end(self, events, trace):
        found = []
        for e in events:
            self.assertEqual(e["topic"], "trace", e)
            self.assertEqual(e["trace"], trace)
            found.append(e)
            if e["event"] == "end":
                return found
        raise AssertionError("no end")

    def test_a_prefix_in_a_storm(self):
        dump = self.listen()
        events = self.keel.notifications("trace")
        trace = self.keel.call("trace.start", {"prefix": TRACED, "seconds": 600, "file": self.ours})["trace"]
        begin = time.monotonic()
        self.storm()
        print("%d UPDATEs in %.2f s" % (STORM, time.monotonic() - begin), flush=True)
        stopped = self.keel.call("trace.stop", {"trace": trace})
        found = self.until_end(events, trace)
        self.wait("the last route in the file of dumpcap", self.written)
        dump.send_signal(signal.SIGINT)
        self.assertEqual(dump.wait(WAIT_S), 0)
        wire, ours = streams(self.wire), streams(self.ours)
        told = {way: messages(s) for way, s in ours.items()}
        seen = {way: m for way, m in ((way, messages(s)) for way, s in wire.items()) if m}
        self.assertEqual(set(told), {(THEM, US), (US, RECEIVER)})
        self.assertEqual(told, seen)
        self.assertGreater(len(told[THEM, US]), STORM // 200)
        # every octet of ours is such a message, and tshark reads them as BGP with this prefix
        self.assertEqual({way: b"".join(m) for way, m in told.items()}, ours)
        lines = tshark("-r", self.ours, "-Y", "bgp.type == 2", "-T", "fields", "-e", "bgp.nlri_prefix", "-e", "bgp.withdrawn_prefix").splitlines()
        self.assertTrue(lines and all("20.0.7.0" in line for line in lines), lines[:3])
        self.assertEqual(tshark("-r", self.ours, "-Y", "_ws.malformed || tcp.analysis.flags"), "")
        counts = {}
        for e in found:
            counts[e["event"]] = counts.get(e["event"], 0) + 1
        print(counts, flush=True)
        self.assertEqual((found[-1]["reason"], found[-1]["lost"], stopped["lost"]), ("stopped", 0, 0))
        self.assertEqual((counts["received"], counts["sent"]), (len(told[THEM, US]), len(told[US, RECEIVER])))
        self.assertEqual(found[-1]["messages"], counts["received"] + counts["sent"])
        self.assertEqual(found[-1]["events"], len(found) - 1)
        self.stages(found, told[THEM, US])
        with open(self.ours, "rb") as f:
            self.assertIn(b'MESSAGE={"event":"verdict"', f.read())

    def stages(self, found, received):
        """Each announcement has a verdict with its node; times rise; the group's last word is the last state."""
        announced = [m for m in received if struct.unpack(">H", m[19:21])[0] == 0]
        verdicts = [e for e in found if e["event"] == "verdict"]
        self.assertEqual(len(verdicts), len(announced))
        for m, v in zip(announced, verdicts):
            at = m.index(b"\x40\x02") + 3
            want = ("deny", "policy", 10) if m[at + 1] >= 4 else ("permit", None, 20)
            self.assertEqual((v["result"], v.get("cause"), v["node"], v["policy"], v["peer"], v["prefix"]), want + ("in", THEM, TRACED))
        self.assertEqual([e["at"] for e in found[:-1]], sorted(e["at"] for e in found[:-1]))
        last = [e for e in found if e["event"] == "decision"][-1]
        self.assertEqual(last["usable"], TRACED in self.receiver.table())
        self.assertEqual([e for e in found if e["event"] == "export"][-1]["advertised"], last["usable"])

    @unhurried
    def test_ends_by_itself(self):
        events = self.keel.notifications("trace")
        end = time.monotonic() + 0.9
        trace = self.keel.call("trace.start", {"peer": THEM, "seconds": 1})["trace"]
        self.announce("20.0.0.0")
        self.wait("the route", lambda: "20.0.0.0/24" in self.receiver.table(), self.receiver.changed)
        self.in_time(end)
        found = self.until_end(events, trace)
        self.assertEqual(found[-1]["reason"], "time")
        self.assertIn(("received", "update"), [(e["event"], e.get("type")) for e in found])
        self.assertIn(("decision", "20.0.0.0/24"), [(e["event"], e.get("prefix")) for e in found])
        self.assertEqual(self.keel.answer("trace.stop", {"trace": trace})["error"]["code"], -32004)

    def test_ends_with_its_reader(self):
        """Nine traces whose clients were killed: each ends, so the ninth begins."""
        events = self.keel.notifications("trace")
        for n in range(9):
            ctl = subprocess.Popen([KEELCTL, "--socket", self.keel.path, "trace", "prefix", TRACED, "for", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.addCleanup(ctl.stderr.close)
            self.await_logged("trace-begin trace=%d " % (n + 1))
            ctl.kill()
            ctl.wait()
            end = next(events)
            self.assertEqual((end["trace"], end["event"], end["reason"]), (n + 1, "end", "unread"))

    def test_two_traces(self):
        """A policy and a peer at once; one ends while the other goes on."""
        events = self.keel.notifications("trace")
        policy = self.keel.call("trace.start", {"policy": "in", "seconds": 60})["trace"]
        peer = self.keel.call("trace.start", {"peer": RECEIVER, "seconds": 60})["trace"]
        self.announce("20.0.0.0", asns=(64513, 1, 2, 3))
        self.announce("20.0.1.0")
        self.wait("the route", lambda: "20.0.1.0/24" in self.receiver.table(), self.receiver.changed)
        self.keel.call("trace.stop", {"trace": policy})
        self.sender.send(UPDATE, withdrawal_of(V4, octets(1)))
        self.wait("no route", lambda: "20.0.1.0/24" not in self.receiver.table(), self.receiver.changed)
        self.keel.call("trace.stop", {"trace": peer})
        found, ends = [], 0
        while ends < 2:
            found.append(next(events))
            ends += found[-1]["event"] == "end"
        verdicts = [(e["prefix"], e["result"], e["node"]) for e in found if e["trace"] == policy and e["event"] == "verdict"]
        self.assertEqual(verdicts, [("20.0.0.0/24", "deny", 10), ("20.0.1.0/24", "permit", 20)])
        sent = [e["type"] for e in found if e["trace"] == peer and e["event"] == "sent"]
        self.assertEqual([t for t in sent if t != "keepalive"], ["update", "update"])
        self.assertEqual({e["event"] for e in found if e["trace"] == policy}, {"verdict", "end"})

    def test_refused(self):
        def error(params):
            return self.keel.answer("trace.start", dict({"seconds": 1}, **params))["error"]

        with open(self.ours, "w") as f:
            f.write("mine")
        self.assertEqual(error({})["code"], -32602)
        self.assertEqual(error({"peer": THEM, "prefix": TRACED})["code"], -32602)
        self.assertEqual(error({"peer": "192.0.2.77"})["code"], -32004)
        self.assertEqual(error({"policy": "none"})["code"], -32004)
        self.assertEqual(error({"prefix": TRACED, "file": self.keel.state + "/audit.log"})["data"]["path"], "/file")
        self.assertEqual(error({"prefix": TRACED, "file": "state/audit.log"})["data"]["path"], "/file")
        self.assertEqual(error({"prefix": TRACED, "file": self.ours})["data"]["reason"], "File exists")
        with open(self.ours) as f:
            self.assertEqual(f.read(), "mine")
        started = [self.keel.call("trace.start", {"prefix": TRACED, "seconds": 60})["trace"] for _ in range(8)]
        self.assertEqual(error({"prefix": TRACED})["code"], -32013)
        for t in started:
            self.keel.call("trace.stop", {"trace": t})

    @unhurried
    def test_in_the_shell(self):
        """keelctl trace prints the events and ends with the trace; an open trace ends with keeld."""
        end = time.monotonic() + 0.9
        ctl = subprocess.Popen([KEELCTL, "--socket", self.keel.path, "trace", "prefix", TRACED, "for", "1", "file", self.ours], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        self.addCleanup(ctl.stdout.close)
        self.addCleanup(ctl.wait)
        self.addCleanup(ctl.kill)
        self.await_logged("trace-begin")
        self.announce("20.0.7.0")
        self.wait("the route", lambda: TRACED in self.receiver.table(), self.receiver.changed)
        self.in_time(end)
        out, _ = ctl.communicate(timeout=WAIT_S)
        self.assertEqual(ctl.returncode, 0, out)
        self.assertRegex(out, r"(?m)^\d\d:\d\d:\d\d\.\d{6} received   vrf=default peer=192\.0\.2\.2 type=update length=\d+$")
        self.assertRegex(out, r"(?m)^\S+ verdict    vrf=default peer=192\.0\.2\.2 family=ipv4-unicast prefix=20\.0\.7\.0/24 result=permit policy=in node=20$")
        self.assertRegex(out, r"\S+ end        reason=time events=\d+ messages=2 lost=0\n$")
        self.assertTrue(os.path.exists(self.ours))
        self.assertTrue(json.loads(subprocess.run([KEELCTL, "--socket", self.keel.path, "rpc", "trace.start", json.dumps(
            {"prefix": TRACED, "seconds": 3600, "file": self.wire})], capture_output=True, text=True, check=True).stdout))

    def test_watch(self):
        """watch repeats a show command until Ctrl-C, with or without quotes; it repeats nothing else."""
        for words in (["show", "bgp", "summary"], ["show bgp summary"]):
            ctl = subprocess.Popen([KEELCTL, "--socket", self.keel.path, "watch"] + words, stdout=subprocess.PIPE, text=True)
            self.addCleanup(ctl.stdout.close)
            seen = 0
            for line in ctl.stdout:
                seen += "established" in line and line.startswith("2 peers")
                if seen == 2:
                    break
            ctl.send_signal(signal.SIGINT)
            self.assertEqual((seen, ctl.wait(WAIT_S)), (2, 0))
        for words in (["reset", "bgp", "all"], ["trace", "peer", THEM], ["preview"]):
            out = subprocess.run([KEELCTL, "--socket", self.keel.path, "watch"] + words, capture_output=True, text=True, timeout=WAIT_S)
            self.assertEqual((out.returncode, out.stdout), (2, ""), words)
            self.assertIn("only valid with a show command", out.stderr)
        self.assertEqual({p["established_count"] for p in self.keel.call("bgp.peers")["peers"]}, {1})


if __name__ == "__main__":
    if shutil.which("tshark") is None or shutil.which("dumpcap") is None:
        print("tshark and dumpcap are not installed")
        sys.exit(77)
    main()
