#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Faulty configurations and broken JSON-RPC. Every fault with its path and exit status 2; every error as in keel-rpc(7), without an effect on a
session with BIRD; the file, the socket and the signals of a daemon.
"""
import json
import os
import random
import re
import select
import signal
import socket
import stat
import subprocess
import threading
import time
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import KEELD, KEEPALIVE, V4, Capture, Lab, Rpc, bird_routes, bird_state, commit, error_of, memory_kb, need, out_folder, peer, wait_established, wait_for

NAME = "rpc"
B1 = "198.18.1.2"
PARSE, INVALID, UNKNOWN, PARAMS, NOT_FOUND, NOT_KEPT, NO_DATAPLANE = -32700, -32600, -32601, -32602, -32004, -32010, -32012
MIB64 = 64 << 20

FAULTY = {
    "router": {"asn": 0},
    "dataplane": {"worker_cpus": [1, 1], "memory_mb": 1},
    "management": {"socket": ""},
    "ports": [{"name": "this-name-is-too-long", "device": "net_af_xdp0,iface=e0"},
              {"name": "e1", "device": "eth1", "mtu": 20, "addresses": ["192.0.2.1", "192.0.2.300/24"]},
              {"name": "e1", "device": "net_af_xdp1,iface=e1"}],
    "prefix_lists": [{"name": "bogons", "entries": [{"action": "permit", "prefix": "10.0.0.1/8"}, {"action": "maybe", "prefix": "10.0.0.0/8"},
                                                    {"action": "permit", "prefix": "10.0.0.0/8", "ge": 4}]},
                     {"name": "bogons", "entries": []}, {"name": "10.0.0.1", "entries": []}],
    "as_path_lists": [{"name": "short", "entries": [{"action": "permit", "regex": "^(64513"}]}],
    "community_lists": [{"name": "cust", "entries": [{"action": "permit", "community": "70000:1"}]}],
    "route_policies": [{"name": "accept-all", "nodes": []},
                       {"name": "p", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "nowhere"}}, {"seq": 10, "action": "deny"},
                                               {"seq": 20, "action": "permit", "set": {"local_pref": -1}}, {"seq": 30, "action": "permit", "goto": 5},
                                               {"seq": 40, "action": "deny", "goto": 50}, {"seq": 50, "action": "deny"}]}],
    "bgp": {
        "networks": [{"prefix": "198.51.100.1/24"}, {"prefix": "198.51.100.0/33"}],
        "policy_change_delay_s": "soon",
        "groups": [{"name": "192.0.2.9"}, {"name": "external"}],
        "colour~of/it": "blue",
        "peers": [{"address": "192.0.2.300", "asn": 64513}, {"address": "192.0.2.2"}, {"address": "192.0.2.3", "asn": 64513, "group": "nobody"},
                  {"address": "192.0.2.4", "asn": 64513, "families": {V4: {"import_policy": "missing"}}},
                  {"address": "192.0.2.5", "asn": 64513, "families": {"ipv7-unicast": {}}},
                  {"address": "192.0.2.6", "asn": 64513, "timers": {"hold_s": 2}}, {"address": "192.0.2.6", "asn": 64513},
                  {"address": "192.0.2.7", "asn": 64513, "passive": None}, {"address": "192.0.2.9", "asn": "64513", "multihop": 300}],
    },
}
POINTERS = """/router/asn /router/router_id /dataplane/worker_cpus/1 /dataplane/memory_mb /management/socket /ports/0/name /ports/1/device
/ports/1/mtu /ports/1/addresses/0 /ports/1/addresses/1 /ports/2/name /prefix_lists/0/entries/0/prefix /prefix_lists/0/entries/1/action
/prefix_lists/0/entries/2/ge /prefix_lists/1/name /prefix_lists/2/name /as_path_lists/0/entries/0/regex /community_lists/0/entries/0/community
/route_policies/0/name /route_policies/1/nodes/0/match/prefix_list /route_policies/1/nodes/1/seq /route_policies/1/nodes/2/set/local_pref
/route_policies/1/nodes/3/goto /route_policies/1/nodes/4/goto /bgp/networks/0/prefix /bgp/networks/1/prefix /bgp/policy_change_delay_s
/bgp/groups/0/name /bgp/groups/1/name /bgp/colour~0of~1it /bgp/peers/0/address /bgp/peers/1/asn /bgp/peers/2/group
/bgp/peers/3/families/ipv4-unicast/import_policy /bgp/peers/4/families/ipv7-unicast /bgp/peers/5/timers/hold_s /bgp/peers/6/address
/bgp/peers/7/passive /bgp/peers/8/asn /bgp/peers/8/multihop""".split()

CONFIG = {
    "router": {"asn": 64512, "router_id": "198.18.0.1"},
    "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "permit", "set": {"local_pref": 150}}]}],
    "bgp": {"networks": [{"prefix": "203.0.113.0/24"}],
            "peers": [{"address": B1, "asn": 64601, "description": "a neighbour", "timers": {"hold_s": 9},
                       "families": {V4: {"import_policy": "in", "export_policy": "accept-all"}}}]},
}
BIRD = """
log stderr all;
router id 198.18.1.2;
protocol device { }
protocol static fixed { ipv4; route 10.1.0.0/24 blackhole; route 10.1.1.0/24 blackhole; }
protocol bgp keel { local 198.18.1.2 as 64601; neighbor 198.18.1.1 as 64512; hold time 9; connect retry time 1; connect delay time 1;
  error wait time 1, 2; ipv4 { import all; export where source = RTS_STATIC; }; }
"""


def request(method, rpc_id=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": rpc_id, "method": method, "params": params}).encode()


class Raw:
    """A connection for arbitrary octets."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)  # blocking: waits while the daemon's queue is full
        self.sock.settimeout(60)
        self.data = b""

    def send(self, data):
        """True if all data was sent; False after a close by the daemon."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def line(self, timeout=60):
        """The next answer; None at the end of the connection."""
        self.sock.settimeout(timeout)
        while b"\n" not in self.data:
            try:
                more = self.sock.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        return json.loads(line)

    def ask(self, data):
        """The answer to a line; "silence" if a later request is answered first."""
        self.send(data + b"\n" + request("system.info", "fence") + b"\n")
        answer = self.line()
        if isinstance(answer, dict) and answer.get("id") == "fence":
            return "silence"
        fence = self.line()
        return answer if isinstance(fence, dict) and fence.get("id") == "fence" else ("no fence behind", answer, fence)

    def closed(self):
        return self.line() is None

    def close(self):
        self.sock.close()


def describe(answer):
    """The compared part: (id, code) of an error, with the path if data is present; (id, "result")."""
    if isinstance(answer, list):
        return [describe(a) for a in answer]
    if not isinstance(answer, dict):
        return answer
    fault = wellformed(answer)
    if fault:
        return "%s: %s" % (fault, json.dumps(answer))
    if "result" in answer:
        return answer["id"], "result"
    e = answer["error"]
    return (answer["id"], e["code"], e["data"]["path"]) if "data" in e else (answer["id"], e["code"])


def wellformed(a):
    """The fault in the form of an answer (JSON-RPC 2.0 section 5, keel-rpc(7)); None without a fault."""
    if a.get("jsonrpc") != "2.0" or "id" not in a or ("result" in a) == ("error" in a) or set(a) - {"jsonrpc", "id", "result", "error"}:
        return "members"
    if "error" not in a:
        return None
    e = a["error"]
    if not isinstance(e.get("code"), int) or not isinstance(e.get("message"), str):
        return "code and message"
    if e["code"] in (PARSE, UNKNOWN):
        return "data with parse error or unknown method" if "data" in e else None
    d = e.get("data")
    if not isinstance(d, dict) or set(d) != {"path", "reason", "errors"} or not d["errors"]:
        return "data"
    if any(set(x) != {"path", "reason"} or not x["reason"] for x in d["errors"]) or d["errors"][0] != {"path": d["path"], "reason": d["reason"]}:
        return "errors"
    return None


# ---- command line and file, without a daemon ----

def keeld(*args):
    p = subprocess.run([KEELD, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    return p.returncode, p.stdout, p.stderr


def check_files(c, folder):
    def write(name, text):
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            f.write(text if isinstance(text, str) else json.dumps(text, indent=1))
        return path

    path = write("faulty.json", FAULTY)
    for words in (("--check",), ("--no-dataplane", "--socket", os.path.join(folder, "x.sock"), "--state-dir", folder)):
        status, out, err = keeld("-c", path, *words)
        lines = [re.fullmatch(re.escape(path) + r": (/\S*): (.+)", line) for line in err.splitlines()]
        c.equal("%s of a faulty file: exit status 2, nothing on stdout" % words[0], (status, out), (2, ""))
        c.true("... a line a fault: FILE: POINTER: reason", all(lines) and len(lines) > 20, err)
        c.equal("... every fault with its pointer (%d)" % len(POINTERS), sorted(m.group(1) for m in lines if m), sorted(POINTERS))
    c.true("the reason quotes the value", '/bgp/peers/0/address: "192.0.2.300" is not an IP address' in err, err)
    c.equal("a good file: --check exits 0 without a word", keeld("-c", write("good.json", CONFIG), "--check"), (0, "", ""))
    for name, text, place in (("comma", '{"router": {"asn": 1},}', "1:23"), ("quote", '{\n  "router: 1\n}', "2:3"), ("cut", '{\n "router": {', "2:13"),
                              ("behind", '{}\n\n  x', "3:3"), ("word", '{"a":\n\ttru}', "2:2"), ("empty", "", "1:1"), ("utf8", '{"ä": "ö" "x"}', "1:13")):
        path = write(name + ".json", text)
        status, out, err = keeld("-c", path, "--check")
        c.true("syntax error `%s`: %s, exit status 2" % (name, place), status == 2 and err.startswith("%s:%s: " % (path, place)) and
               len(err.splitlines()) == 1, (status, err))
    path = write("duplicate.json", '{"router": {"asn": 64512, "router_id": "1.1.1.1"}, "bgp": {"peers": [{"address": "192.0.2.1", "asn": 1, "asn": 2}]},'
                                   ' "router": {}}')
    status, out, err = keeld("-c", path, "--check")
    c.equal("duplicate keys by pointer, exit status 2", (status, sorted(line.split(": ")[1] for line in err.splitlines())), (2, ["/bgp/peers/0/asn", "/router"]))
    path = write("key.json", dict(CONFIG, **{"new\nline\x1b[31m": 1}))
    c.equal("a line a fault whatever the key", keeld("-c", path, "--check"), (2, "", path + ": /new\\u000Aline\\u001B[31m: unknown key; see keel.json(5)\n"))
    status, out, err = keeld("-c", os.path.join(folder, "nowhere.json"), "--check")
    c.true("a missing file: exit status 2 and its name", status == 2 and "nowhere.json" in err and "No such file" in err, (status, err))
    for text in ("[]", "17", "null"):
        status, out, err = keeld("-c", write("other.json", text), "--check")
        c.true("a document that is %s: exit status 2" % text, status == 2 and len(err.splitlines()) == 1, (status, err))
    for words in ((), ("--nonsense",), ("-c",), ("-c", "x", "--log-level", "loud"), ("-c", "x", "more")):
        status, out, err = keeld(*words)
        c.true("command line %s: exit status 2" % (words,), status == 2 and err, (status, out, err))
    for word in ("--help", "--version"):
        status, out, err = keeld(word)
        c.true("%s: exit status 0, on stdout" % word, status == 0 and "keeld" in out and not err, (status, out, err))


# ---- a daemon ----

class Daemon:
    def __init__(self, checks, lab, out):
        self.c, self.lab, self.out = checks, lab, out
        self.bird_since = None
        self.folder = os.path.join(lab.dir, "etc")
        os.mkdir(self.folder)
        self.file, self.socket = os.path.join(self.folder, "keeld.json"), os.path.join(lab.dir, "keeld.sock")
        lab.host("rt")
        lab.host("b1")
        lab.link("rt", "up1", "198.18.1.1/24", "b1", "up", "198.18.1.2/24")
        _, self.birdc = lab.bird("b1", BIRD)
        self.save(CONFIG)
        self.start()

    def save(self, document):
        with open(self.file, "w") as f:
            f.write(document if isinstance(document, str) else json.dumps(document))

    def command(self, socket_path=None):
        return [KEELD, "-c", self.file, "--socket", socket_path or self.socket, "--state-dir", os.path.join(self.lab.dir, "state"), "--no-dataplane"]

    def start(self):
        self.process = self.lab.spawn("keeld", "rt", self.command())
        self.pid = self.process.popen.pid

        def answers():
            self.process.must_run()
            try:
                return Rpc(self.socket)
            except OSError:
                return None

        self.rpc = wait_for("socket of keeld", answers, 30)
        wait_established(self.rpc, B1)
        wait_for("routes of b1", lambda: peer(self.rpc, B1)["families"][V4]["accepted"] == 2 and
                 peer(self.rpc, B1)["families"][V4]["end_of_rib_received"], 20)
        wait_for("the table, sent to b1", lambda: peer(self.rpc, B1)["families"][V4]["end_of_rib_sent"], 20)

    def log(self):
        with open(self.process.log, errors="replace") as f:
            return f.read()

    def resident(self):
        return memory_kb(self.pid) >> 10

    def bird_up(self):
        """BIRD's view of its side. BIRD computes the start time from two clocks, so the same time sometimes differs by a millisecond."""
        state, since, information = bird_state(self.birdc, "keel")
        hours, minutes, seconds = since.split(":")
        at = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        if self.bird_since is None or abs(at - self.bird_since) > 0.1:
            self.bird_since = at
        return state, self.bird_since, information

    def noticed(self):
        """State that shows any effect on the session, from both sides."""
        p = peer(self.rpc, B1)
        return {"state": p["state"], "established_count": p["established_count"], "last_error": p["last_error"], "updates_received": p["updates_received"],
                "updates_sent": p["updates_sent"], "accepted": p["families"][V4]["accepted"], "refresh": p["families"][V4]["refresh"],
                "bird": self.bird_up()}

    # ---- broken requests ----

    def answers(self):
        c, raw = self.c, Raw(self.socket)

        def case(what, data, expected):
            c.equal(what, describe(raw.ask(data)), expected)

        ok = request("system.info", 7)
        case("a request", ok, (7, "result"))
        for id in ("abc", -5, 1.5, 2**53, "", None):
            case("id %r comes back" % (id,), json.dumps({"jsonrpc": "2.0", "id": id, "method": "system.info"}).encode(), (id, "result"))
        for text in (b"{", b"nonsense", b'{"jsonrpc": "2.0", "method": "system.info", "id": 1', b'{"a": 01}', b'{"a" 1}', b"\x80\x81\xfe\xff", b'{"\xff": 1}',
                     b"{'a': 1}", b"[1,", b'{"jsonrpc": "2.0", "id": 1, "method": "system.info\\u0000x"}', b"\x00", b"{} {}"):
            case("parse error: %r" % text, text, (None, PARSE))
        case("an empty line is nothing", b"", "silence")
        case("blanks around a request", b"  \t" + ok + b" \r", (7, "result"))
        for text in ("1", "true", "null", '"x"', "{}", '{"jsonrpc": "2.0"}', '{"method": "system.info"}', '{"jsonrpc": "2.0", "method": 1}',
                     '{"jsonrpc": 2.0, "method": "system.info"}', '{"jsonrpc": "2.0", "method": "system.info", "params": "x"}',
                     '{"jsonrpc": "2.0", "method": "system.info", "params": null}', '{"jsonrpc": "2.0", "method": "system.info", "id": {}}',
                     '{"jsonrpc": "2.0", "method": "system.info", "id": [1]}', '{"jsonrpc": "2.0", "method": "system.info", "id": true}'):
            case("invalid request: %s" % text, text.encode(), (None, INVALID, ""))
        case("invalid request that has an id", b'{"jsonrpc": "1.0", "method": "system.info", "id": 9}', (9, INVALID, ""))
        case("unknown method", request("no.such"), (1, UNKNOWN))
        case("method with a long name", request("x" * 100000), (1, UNKNOWN))
        case("parameters by position", b'{"jsonrpc": "2.0", "id": 1, "method": "system.info", "params": [1]}', (1, PARAMS, ""))
        case("empty parameters by name", b'{"jsonrpc": "2.0", "id": 1, "method": "system.info", "params": {}}', (1, "result"))
        case("notifications get no answer", b'{"jsonrpc": "2.0", "method": "system.info"}', "silence")
        case("... nor when the method is unknown", b'{"jsonrpc": "2.0", "method": "no.such"}', "silence")
        case("... nor when parameters are wrong", b'{"jsonrpc": "2.0", "method": "jobs.get", "params": {"id": "x"}}', "silence")
        # Batches: JSON-RPC 2.0 section 6.
        case("an empty batch", b"[]", (None, INVALID, ""))
        case("a batch of one non-request", b"[1]", [(None, INVALID, "")])
        case("a batch of three", b"[1, 2, {}]", [(None, INVALID, "")] * 3)
        case("a nested batch", b"[[" + ok + b"]]", [(None, INVALID, "")])
        case("an empty one in a batch", b"[[], " + ok + b"]", [(None, INVALID, ""), (7, "result")])
        case("a batch of notifications", b'[{"jsonrpc": "2.0", "method": "system.info"}, {"jsonrpc": "2.0", "method": "no.such"}]', "silence")
        case("a mixed batch", b"[" + ok + b', {"jsonrpc": "2.0", "method": "system.info"}, {"foo": "boo"}, ' + request("no.such", "5") + b", " +
             request("jobs.get", 9) + b"]", [(7, "result"), (None, INVALID, ""), ("5", UNKNOWN), (9, PARAMS, "/id")])
        case("a batch of 1,000", b"[" + b",".join(request("system.info", i) for i in range(1000)) + b"]", [(i, "result") for i in range(1000)])
        raw.close()

    def parameters(self):
        c, raw = self.c, Raw(self.socket)
        loc = {"family": V4, "view": "loc"}
        refresh = {"family": V4, "scope": "all", "direction": "import"}
        for method, params, code, path in (
                ("system.info", {"x": 1}, PARAMS, "/x"), ("system.info", {"a/b~c": 1}, PARAMS, "/a~1b~0c"), ("rib.routes", {}, PARAMS, "/family"),
                ("rib.routes", {"family": V4}, PARAMS, "/view"), ("rib.routes", dict(loc, bogus=1), PARAMS, "/bogus"),
                ("rib.routes", dict(loc, family=5), PARAMS, "/family"), ("rib.routes", dict(loc, family="ipv9"), PARAMS, "/family"),
                ("rib.routes", dict(loc, family=None), PARAMS, "/family"), ("rib.routes", dict(loc, vrf=7), PARAMS, "/vrf"),
                ("rib.routes", dict(loc, vrf="red"), NOT_FOUND, "/vrf"), ("rib.routes", dict(loc, view="sideways"), PARAMS, "/view"),
                ("rib.routes", dict(loc, view=[]), PARAMS, "/view"), ("rib.routes", dict(loc, limit="x"), PARAMS, "/limit"),
                ("rib.routes", dict(loc, limit=0), PARAMS, "/limit"), ("rib.routes", dict(loc, limit=10001), PARAMS, "/limit"),
                ("rib.routes", dict(loc, limit=1.5), PARAMS, "/limit"), ("rib.routes", dict(loc, limit=2**62), PARAMS, "/limit"),
                ("rib.routes", dict(loc, longer="yes"), PARAMS, "/longer"), ("rib.routes", dict(loc, longer=1), PARAMS, "/longer"),
                ("rib.routes", dict(loc, cursor="abc"), PARAMS, "/cursor"), ("rib.routes", dict(loc, cursor=1), PARAMS, "/cursor"),
                ("rib.routes", dict(loc, cursor="-1"), PARAMS, "/cursor"), ("rib.routes", dict(loc, cursor=""), PARAMS, "/cursor"),
                ("rib.routes", dict(loc, prefix="10.0.0.1/8"), PARAMS, "/prefix"), ("rib.routes", dict(loc, prefix="x"), PARAMS, "/prefix"),
                ("rib.routes", dict(loc, prefix=8), PARAMS, "/prefix"), ("rib.routes", dict(loc, prefix="2001:db8::/32"), PARAMS, "/prefix"),
                ("rib.routes", dict(loc, peer="x"), PARAMS, "/peer"), ("rib.routes", dict(loc, peer=1), PARAMS, "/peer"),
                ("rib.routes", dict(loc, peer="192.0.2.99"), NOT_FOUND, "/peer"), ("rib.routes", dict(loc, view="adj-in"), PARAMS, "/peer"),
                ("rib.routes", dict(loc, view="adj-in-pre", peer=B1), NOT_KEPT, "/view"), ("rib.lookup", {"family": V4}, PARAMS, "/address"),
                ("rib.lookup", {"family": V4, "address": "300.1.1.1"}, PARAMS, "/address"), ("rib.lookup", {"family": V4, "address": "::1"}, PARAMS, "/address"),
                ("bgp.peers", {"vrf": "red"}, NOT_FOUND, "/vrf"), ("bgp.peers", {"group": 1}, PARAMS, "/group"), ("bgp.peers", {"group": "nobody"}, NOT_FOUND, "/group"),
                ("bgp.refresh", {}, PARAMS, "/family"), ("bgp.refresh", dict(refresh, direction="up"), PARAMS, "/direction"),
                ("bgp.refresh", dict(refresh, scope="some"), PARAMS, "/scope"), ("bgp.refresh", dict(refresh, scope="peer"), PARAMS, "/peer"),
                ("bgp.refresh", dict(refresh, scope="group"), PARAMS, "/group"), ("bgp.refresh", dict(refresh, peer=B1), PARAMS, "/peer"),
                ("bgp.refresh", dict(refresh, scope="group", group="nobody"), NOT_FOUND, "/group"), ("bgp.refresh", dict(refresh, scope="internal"), NOT_FOUND, "/scope"),
                ("bgp.refresh", dict(refresh, scope="peer", peer="192.0.2.99"), NOT_FOUND, "/peer"), ("jobs.get", {}, PARAMS, "/id"),
                ("jobs.get", {"id": "x"}, PARAMS, "/id"), ("jobs.get", {"id": -1}, PARAMS, "/id"), ("jobs.get", {"id": 99999}, NOT_FOUND, "/id"),
                ("config.get", {"source": "moon"}, PARAMS, "/source"), ("config.get", {"path": "/bgp/nothing"}, NOT_FOUND, "/path"),
                ("config.get", {"path": 1}, PARAMS, "/path"), ("config.commit", {"comment": 1}, PARAMS, "/comment"),
                ("fib.lookup", {"address": "10.0.0.1"}, NO_DATAPLANE, ""), ("fib.stats", {}, NO_DATAPLANE, ""), ("fib.audit", {}, NO_DATAPLANE, ""),
                ("dataplane.stats", {}, NO_DATAPLANE, ""), ("dataplane.stats.reset", {}, NO_DATAPLANE, "")):
            c.equal("%s %s: %d %s" % (method, json.dumps(params), code, path), describe(raw.ask(request(method, **params))), (1, code, path))
        answer = raw.ask(request("fib.stats"))
        c.equal("reason of -32012", answer["error"]["data"]["reason"], "no-dataplane")
        answer = raw.ask(request("rib.routes", **dict(loc, view="adj-in-pre", peer=B1)))
        c.equal("reason of -32010", answer["error"]["data"]["reason"], "not-kept")
        raw.close()

    def limits(self):
        c = self.c

        def refused(what, data):
            raw = Raw(self.socket)
            raw.send(data)
            answer = raw.line()
            c.equal("%s: -32600 and the connection closes" % what, (describe(answer), raw.closed()), ((None, INVALID, ""), True))
            raw.close()

        def nested(levels, inner=b"1"):
            """A request object with this total number of levels."""
            return b'{"jsonrpc": "2.0", "id": 1, "method": "system.info", "params": ' + b'{"a":' * (levels - 1) + inner + b"}" * (levels - 1) + b"}"

        raw = Raw(self.socket)
        c.equal("64 levels are read", describe(raw.ask(nested(64))), (1, PARAMS, "/a"))
        c.equal("64 levels within a batch, too", describe(raw.ask(b"[" + nested(64) + b"]")), [(1, PARAMS, "/a")])
        c.equal("brackets in a string are no levels", describe(raw.ask(request("system.info", "[" * 1000 + "{\"\\" * 1000))), ("[" * 1000 + "{\"\\" * 1000, "result"))
        raw.close()
        refused("65 levels", nested(65) + b"\n")
        refused("65 levels within a batch", b"[" + nested(65) + b"]\n")
        refused("a million brackets", b"[" * 1000000 + b"\n")
        refused("a million objects", b'{"a":' * 1000000 + b"\n")
        refused("an array of 65 levels as a parameter", nested(2, b"[" * 63 + b"]" * 63) + b"\n")
        raw = Raw(self.socket)
        ok = request("system.info", 3)
        raw.send(ok + b" " * (MIB64 - len(ok)) + b"\n")
        c.equal("a request of 64 MiB is read", describe(raw.line(60)), (3, "result"))
        raw.send(request("system.info", 4, x="y" * (MIB64 - len(request("system.info", 4, x="")))) + b"\n")
        c.equal("... also when it is one value", describe(raw.line(60)), (4, PARAMS, "/x"))
        raw.close()
        refused("a line of 64 MiB and one octet", ok + b" " * (MIB64 - len(ok) + 1) + b"\n")
        refused("64 MiB and more without an end", b"x" * (MIB64 + (1 << 20)))
        wait_for("memory of large requests given back", lambda: self.resident() < 300, 20)
        c.true("a large request's memory is given back", self.resident() < 300, "%d MiB resident" % self.resident())

    def connections(self):
        c = self.c
        raw = Raw(self.socket)
        raw.send(request("system.info")[:30])
        raw.close()
        raw = Raw(self.socket)
        raw.send(request("system.info")[:30])
        raw.sock.shutdown(socket.SHUT_WR)
        c.equal("half a request, then the end: a parse error and the end", (describe(raw.line()), raw.closed()), ((None, PARSE), True))
        raw.close()
        raw = Raw(self.socket)
        raw.send(request("system.info"))
        raw.sock.shutdown(socket.SHUT_WR)
        c.equal("a whole one without newline, then the end: an answer and the end", (describe(raw.line()), raw.closed()), ((1, "result"), True))
        raw.close()
        raw = Raw(self.socket)
        for octet in request("system.info") + b"\n":
            raw.send(bytes([octet]))
        c.equal("octet by octet", describe(raw.line()), (1, "result"))
        raw.close()
        for _ in range(500):
            Raw(self.socket).close()
        rng = random.Random(7)
        raw = Raw(self.socket)
        for _ in range(200):
            garbage = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300))).replace(b"\n", b"").replace(b"[", b"").replace(b"{", b"").strip()
            answer = describe(raw.ask(garbage))
            if answer != (None, PARSE) and not (garbage == b"" and answer == "silence"):
                c.true("binary garbage %r" % garbage, False, answer)
                break
        else:
            c.true("200 lines of binary garbage: as many parse errors", True)
        raw.close()
        many = []
        for _ in range(300):
            try:
                many.append(Raw(self.socket))
            except OSError:
                break
        c.equal("300 connections: the first ones are served", [describe(r.ask(request("system.info"))) for r in many[:200]], [(1, "result")] * 200)
        c.true("... one above the limit is closed", many[-1].closed(), "the last one of %d is open" % len(many))
        for r in many:
            r.close()
        wait_for("a new connection after that", lambda: describe(Raw(self.socket).ask(request("system.info"))) == (1, "result"), 20)

    def in_time(self, what, times):
        """Checks that nine of ten answers came within a second, or within 50 times of an answer without other clients where the machine is slow."""
        limit = max(1, 50 * self.alone)
        times.sort()
        self.c.true(what + " within %.1f s" % limit, times[len(times) * 9 // 10] < limit and times[-1] < 10 * limit, times[-10:])

    def never_reads(self):
        """Clients that request much and never read: memory stays bounded, other clients are served, and a late reader gets all answers."""
        c, before = self.c, self.resident()
        big = request("config.edit", 1, merge={"route_policies": [{"name": "p%d" % i, "nodes": [], "description": "d" * 4000} for i in range(250)]})
        raw = Raw(self.socket)
        c.equal("a candidate of 1 MB", describe(raw.ask(big)), (1, "result"))
        ask = request("config.get", 2, source="candidate") + b"\n"
        lazy = [Raw(self.socket) for _ in range(4)]
        for r in lazy:
            r.sock.settimeout(0.2)
            try:
                for _ in range(400):
                    r.sock.sendall(ask)
            except OSError:
                pass
        times = []
        for _ in range(50):
            begin = time.monotonic()
            raw.ask(request("system.info"))
            times.append(time.monotonic() - begin)
        self.in_time("beside clients that never read: answers", times)
        grown = self.resident() - before
        c.true("... and memory stays (each asked for 400 MB)", grown < 100, "%d MiB more" % grown)
        sizes = [len(json.dumps(lazy[0].line()["result"]["document"]["route_policies"])) for _ in range(20)]
        c.true("one that reads late gets whole answers", min(sizes) > 1000000, sizes)
        for r in lazy:
            r.close()
        self.long_batch(raw, before)
        c.equal("discard", describe(raw.ask(request("config.discard"))), (1, "result"))
        # Many small requests at once: more than the daemon answers before the client reads.
        raw.sock.settimeout(60)
        sender = threading.Thread(target=raw.send, args=((request("bgp.peers", 5) + b"\n") * 20000,))
        sender.start()
        select.select([], [], [], 0.3)  # let the buffers fill up
        got = sum(1 for _ in range(20000) if describe(raw.line()) == (5, "result"))
        sender.join()
        c.equal("20,000 requests in one go, read late: as many answers", got, 20000)
        raw.close()

    def long_batch(self, raw, before):
        """A batch with 600 MB of answers: a limit ends the connection, other clients are served meanwhile, and memory is freed."""
        c, batch, over, times, most = self.c, Raw(self.socket), threading.Event(), [], 0
        batch.sock.settimeout(60)
        batch.send(b"[" + b",".join([request("config.get", 2, source="candidate")] * 600) + b"]\n")

        def drain():
            try:
                while batch.sock.recv(1 << 20):
                    if len(batch.data) < 100:
                        batch.data += b"x"
            except OSError:
                pass
            over.set()

        threading.Thread(target=drain, daemon=True).start()
        while not over.is_set() and most < 4000:
            begin = time.monotonic()
            raw.ask(request("system.info"))
            times.append(time.monotonic() - begin)
            most = max(most, self.resident())
            over.wait(0.02)
        c.true("a batch with 600 MB of answers ends", over.is_set(), "%d MiB resident" % most)
        self.in_time("... others get answers meanwhile", times)
        c.true("... no more than 600 MiB are held for it", most - before < 600, "%d MiB" % (most - before))
        batch.close()
        wait_for("memory of the batch given back", lambda: self.resident() - before < 100, 20)
        c.equal("a batch with 50 MB of answers is whole", len(raw.ask(b"[" + b",".join([request("config.get", 2, source="candidate")] * 50) + b"]")), 50)

    def broken(self):
        c, before, uptime = self.c, self.noticed(), peer(self.rpc, B1)["uptime_s"]
        cap = Capture(self.lab.netns("rt"), "up1", os.path.join(self.out, "session.pcap"))
        raw, alone = Raw(self.socket), []
        for _ in range(21):
            begin = time.monotonic()
            raw.ask(request("system.info"))
            alone.append(time.monotonic() - begin)
        self.alone = sorted(alone)[10]
        begin = time.monotonic()
        for part in (self.answers, self.parameters, self.limits, self.connections, self.never_reads):
            part()
            c.equal("after `%s` the session has noticed nothing" % part.__name__, self.noticed(), before)
        c.true("its uptime goes on", peer(self.rpc, B1)["uptime_s"] - uptime > 0.9 * (time.monotonic() - begin), peer(self.rpc, B1)["uptime_s"])
        # At least one keepalive interval, so that the capture is meaningful.
        wait_for("keepalives", lambda: time.monotonic() - begin > 7, 20)
        cap.stop()
        messages = cap.messages()
        c.true("on the wire: keepalives of both sides and nothing else", {(s, k) for s, k, _, _, _ in messages} == {("198.18.1.1", KEEPALIVE), (B1, KEEPALIVE)},
               messages)

    # ---- configuration ----

    def edit(self):
        c, rpc = self.c, self.rpc
        running = rpc.call("config.get")
        c.equal("config.get is the file", running["document"], CONFIG)
        c.equal("config.get with path", rpc.call("config.get", path="/bgp/peers/0/asn")["document"], 64601)
        with open(self.file) as f:
            text = f.read()
        before = self.noticed()
        r = rpc.call("config.edit", merge={"bgp": {"peers": None, "policy_change_delay_s": 1}, "prefix_lists": [{"name": "l", "entries": []}]})
        document = rpc.call("config.get", source="candidate")["document"]
        c.true("merge (RFC 7396): null deletes, objects merge", r["changed"] and "peers" not in document["bgp"] and
               document["bgp"]["policy_change_delay_s"] == 1 and document["bgp"]["networks"] == CONFIG["bgp"]["networks"], document)
        c.equal("the same merge again changes nothing", rpc.call("config.edit", merge={"bgp": {"peers": None}})["changed"], False)
        c.equal("editing leaves running alone", rpc.call("config.get"), running)
        diff = rpc.call("config.diff")["diff"]
        c.equal("config.diff is a patch from running to candidate", sorted((o["op"], o["path"]) for o in diff),
                sorted([("remove", "/bgp/peers"), ("add", "/bgp/policy_change_delay_s"), ("add", "/prefix_lists")]))
        rpc.call("config.discard")
        c.equal("config.discard: candidate is running", rpc.call("config.get", source="candidate")["document"], CONFIG)

        revision = rpc.call("config.get", source="candidate")["revision"]
        r = rpc.call("config.edit", if_revision=revision, merge={"bgp": {"policy_change_delay_s": 2}})
        c.true("if_revision that holds", r["changed"] and r["revision"] > revision, r)
        e = error_of(rpc, "config.edit", if_revision=revision, merge={"bgp": {"policy_change_delay_s": 3}})
        c.equal("if_revision of before: refused", (e and e["code"], e and e["data"]["path"]), (PARAMS, "/if_revision"))
        c.equal("... and nothing edited", rpc.call("config.get", source="candidate", path="/bgp/policy_change_delay_s")["document"], 2)
        rpc.call("config.discard")
        for what, params, path in (
                ("neither patch nor merge", {}, ""), ("both", {"patch": [], "merge": {}}, ""), ("a patch that is no array", {"patch": {}}, "/patch"),
                ("a merge that is no object", {"merge": [1]}, "/merge"), ("an operation that is no object", {"patch": [1]}, "/patch/0"),
                ("an unknown operation", {"patch": [{"op": "frob", "path": "/bgp"}]}, "/patch/0/op"),
                ("an operation without path", {"patch": [{"op": "remove"}]}, "/patch/0/path"),
                ("an add without value", {"patch": [{"op": "add", "path": "/bgp/x"}]}, "/patch/0/value"),
                ("nothing at the path", {"patch": [{"op": "test", "path": "/router/asn", "value": 64512}, {"op": "remove", "path": "/nowhere"}]}, "/patch/1/path"),
                ("nothing at from", {"patch": [{"op": "copy", "from": "/nowhere", "path": "/bgp"}]}, "/patch/0/from"),
                ("an index too far", {"patch": [{"op": "add", "path": "/bgp/peers/7", "value": {}}]}, "/patch/0/path"),
                ("a path that is no pointer", {"patch": [{"op": "add", "path": "bgp", "value": {}}]}, "/patch/0/path"),
                ("a test that fails, after one that edits", {"patch": [{"op": "remove", "path": "/bgp"}, {"op": "test", "path": "/router/asn", "value": 1}]},
                 "/patch/1/value")):
            e = error_of(rpc, "config.edit", **params)
            c.equal("config.edit with %s: -32602 %s" % (what, path), (e and e["code"], e and e["data"]["path"]), (PARAMS, path))
        c.equal("a failed edit edits nothing", rpc.call("config.get", source="candidate")["document"], CONFIG)

        rpc.call("config.edit", patch=[{"op": "add", "path": "/bgp/peers/-", "value": {"address": "192.0.2.300", "asn": 1}},
                                       {"op": "replace", "path": "/bgp/peers/0/families/ipv4-unicast/import_policy", "value": "missing"},
                                       {"op": "add", "path": "/bgp/networks/-", "value": {"prefix": "10.0.0.1/8"}},
                                       {"op": "add", "path": "/unknown", "value": 1}])
        faults = ["/bgp/networks/1/prefix", "/bgp/peers/0/families/ipv4-unicast/import_policy", "/bgp/peers/1/address", "/unknown"]
        v = rpc.call("config.validate")
        c.equal("config.validate names all faults", (v["valid"], sorted(e["path"] for e in v["errors"])), (False, faults))
        e = error_of(rpc, "config.commit")
        c.equal("commit of a faulty candidate: all faults", sorted(x["path"] for x in e["data"]["errors"]) if e else None, faults)
        c.true("... an error of ours", e and -32099 <= e["code"] <= -32000, e)
        c.equal("... nothing changed: running, revision", rpc.call("config.get"), running)
        with open(self.file) as f:
            c.equal("... nor the file", f.read(), text)
        c.equal("... and the candidate is kept", rpc.call("config.get", source="candidate", path="/unknown")["document"], 1)
        rpc.call("config.discard")
        rpc.call("config.edit", patch=[{"op": "replace", "path": "/router/asn", "value": 64513}])
        asn = running["document"]["router"]["asn"]
        c.equal("what needs a restart is saved, and said", rpc.call("config.commit")["restart_required"], ["/router/asn"])
        r = commit(rpc, [{"op": "replace", "path": "/router/asn", "value": asn}])
        c.equal("... until the value of the start returns", r["restart_required"], [])
        c.equal("all that without the session noticing", self.noticed(), before)

    def committed(self):
        c, rpc = self.c, self.rpc
        running = rpc.call("config.get")
        os.chmod(self.file, 0o644)
        add = [{"op": "add", "path": "/bgp/networks/-", "value": {"prefix": "198.51.100.0/24"}}]
        r = commit(rpc, add)
        c.equal("a good commit: persisted, the next revision", (r["persisted"], r["revision"]), (True, running["revision"] + 1))
        c.equal("the file has mode 0600", oct(stat.S_IMODE(os.stat(self.file).st_mode)), "0o600")
        with open(self.file) as f:
            c.equal("... and the running document", json.load(f), rpc.call("config.get")["document"])
        c.equal("startup is the file", rpc.call("config.get", source="startup")["document"], rpc.call("config.get")["document"])
        c.equal("no temporary file is left", os.listdir(self.folder), ["keeld.json"])
        c.comes_to("BIRD has the new network", lambda: "198.51.100.0/24" in bird_routes(self.birdc), True)
        r2 = rpc.call("config.commit")
        c.equal("a commit of nothing is none", r2, {"commit": None, "revision": r["revision"], "effects": [], "restart_required": [], "persisted": True, "policy_files": []})
        os.rename(self.folder, self.folder + ".away")
        r = commit(rpc, [{"op": "remove", "path": "/bgp/networks/1"}])
        c.equal("a file that cannot be written: the commit holds, persisted false", (r["persisted"], rpc.call("config.get")["document"]), (False, CONFIG))
        c.comes_to("... and is logged", lambda: "commit-not-persisted" in self.log(), True)
        os.rename(self.folder + ".away", self.folder)
        c.comes_to("BIRD lost the network", lambda: "198.51.100.0/24" in bird_routes(self.birdc), False)

    def signals(self):
        c, rpc, before = self.c, self.rpc, self.noticed()

        def hangup(awaited):
            size = len(self.log())
            os.kill(self.pid, signal.SIGHUP)
            wait_for("`%s` in the log" % awaited, lambda: awaited in self.log()[size:], 20)
            return self.log()[size:]

        document = json.loads(json.dumps(CONFIG))
        document["bgp"]["networks"].append({"prefix": "198.51.100.0/25"})
        self.save(document)
        hangup("commit id=")
        c.equal("SIGHUP: running is the file", rpc.call("config.get")["document"], document)
        c.equal("... and the candidate", rpc.call("config.get", source="candidate")["document"], document)
        c.comes_to("... BIRD has the new network", lambda: "198.51.100.0/25" in bird_routes(self.birdc), True)
        running = rpc.call("config.get")
        self.save(FAULTY)
        log = hangup("reload-refused")
        wait_for("all faults in the log", lambda: self.log().count("reload-refused path=") >= len(POINTERS), 20)
        c.equal("SIGHUP with a faulty file: every fault logged", sorted(re.findall(r'reload-refused path="(\S*)"', self.log())), sorted(POINTERS))
        c.equal("... nothing changed", rpc.call("config.get"), running)
        self.save('{"router": ')
        log = hangup("reload-refused")
        c.true("SIGHUP with a syntax error: logged with its place", re.search(r"keeld\.json:1:\d+", log), log)
        self.save(CONFIG)
        rpc.call("config.edit", merge={"bgp": {"policy_change_delay_s": 2}})
        log = hangup("reload-refused")
        c.true("SIGHUP while the candidate holds edits: refused", "candidate" in log, log)
        c.equal("... both documents as before", (rpc.call("config.get"), rpc.call("config.get", source="candidate", path="/bgp/policy_change_delay_s")["document"]),
                (running, 2))
        rpc.call("config.discard")
        hangup("commit id=")
        c.equal("after discard it is taken", rpc.call("config.get")["document"], CONFIG)
        c.comes_to("... and BIRD lost the network", lambda: "198.51.100.0/25" in bird_routes(self.birdc), False)
        after = self.noticed()
        c.equal("the session lives on", {k: after[k] for k in ("state", "established_count", "bird")}, {k: before[k] for k in ("state", "established_count", "bird")})

    def sockets(self):
        c, before = self.c, self.noticed()
        c.equal("the socket has mode 0660", oct(stat.S_IMODE(os.stat(self.socket).st_mode)), "0o660")

        def second(what, path, words):
            size = os.path.getsize(os.path.join(self.out, "second.log")) if os.path.exists(os.path.join(self.out, "second.log")) else 0
            p = self.lab.spawn("second", "rt", self.command(path))
            status = p.popen.wait(30)
            with open(p.log) as f:
                f.seek(size)
                log = f.read()
            c.true("%s: exit status 1, and why" % what, status == 1 and re.search(words, log), (status, log))

        second("a second keeld on the same socket", self.socket, "already in use")
        second("... on another socket, with the port taken", os.path.join(self.lab.dir, "second.sock"), "already in use")
        c.true("... leaves no socket", not os.path.exists(os.path.join(self.lab.dir, "second.sock")), os.listdir(self.lab.dir))
        plain = self.lab.write("plain", "mine")
        second("a socket's path that is a file", plain, "File exists|not a socket")
        with open(plain) as f:
            c.equal("... leaves the file alone", f.read(), "mine")
        c.true("the first one's socket is still there", describe(Raw(self.socket).ask(request("system.info"))) == (1, "result"))
        c.equal("... and its session noticed nothing", self.noticed(), before)

        os.kill(self.pid, signal.SIGKILL)
        self.process.popen.wait()
        c.true("a killed keeld leaves its socket", os.path.exists(self.socket))
        self.start()
        c.equal("the next one takes its place", (self.rpc.call("system.info")["pid"], peer(self.rpc, B1)["state"]), (self.pid, "established"))
        busy = [Raw(self.socket) for _ in range(5)]
        busy[0].send(b"half a")
        c.equal("SIGTERM with clients connected: exit status 0", self.process.stop(), 0)
        c.true("... no socket is left", not os.path.exists(self.socket))
        c.true("... clients see the end", all(r.closed() for r in busy))
        self.start()
        c.equal("SIGINT: exit status 0", self.process.stop(sig=signal.SIGINT), 0)
        c.true("nothing bad in the log", not re.search(r"AddressSanitizer|runtime error|ThreadSanitizer|LeakSanitizer", self.log()), self.log()[-3000:])


def test(checks):
    out = out_folder(NAME)
    with Lab(out) as lab:
        folder = os.path.join(lab.dir, "files")
        os.mkdir(folder)
        check_files(checks, folder)
        d = Daemon(checks, lab, out)
        for part in (d.broken, d.edit, d.committed, d.signals, d.sockets):
            part()


if __name__ == "__main__":
    need("bird", "birdc", "tshark", "ip", files=[KEELD])
    raise SystemExit(labtest.main(test))
