#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Management of keeld beyond configuration and tables: rpc.discover, the read-only socket, events, POST /rpc and GET /metrics, policy.test; and
bgp.refresh.preview compared with the effects of a commit, with sessions up.

    rt (keeld, AS 64512) --- kept (feed, AS 64601, keep_all_routes), plain (feed, AS 64602), all (a speaker, AS 64603)
"""
import http.client
import json
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
import time

import labtest
from lab import at_rest
from labtest import FEED, KEELD, V4, Lab, Rpc, Speaker, commit, error_of, in_netns, memory_kb, need, out_folder, peer, routes, wait_established, wait_for, wait_job

NAME = "management"
KEPT, PLAIN, ALL = "198.18.1.2", "198.18.2.2", "198.18.3.2"
PREFIXES = 4000
HTTP = ("127.0.0.1", 9179)
INVALID, PARAMS, NOT_FOUND, NOT_KEPT, READ_ONLY, TRY_AGAIN = -32600, -32602, -32004, -32010, -32011, -32013
CHANGING = {"audit.list", "config.edit", "config.discard", "config.resolve", "config.commit", "config.reload", "config.confirm", "config.rollback", "bgp.refresh",
            "trace.start", "trace.stop", "mrt.dump", "dataplane.stats.reset", "control.stats.reset"}
METHODS = """system.info config.get config.edit config.validate config.diff config.discard config.commit config.confirm config.rollback
config.history bgp.peers bgp.refresh bgp.refresh.preview bgp.reset jobs.list jobs.get rib.routes rib.lookup rib.summary fib.lookup fib.stats
fib.audit dataplane.stats dataplane.stats.reset dataplane.neighbors policy.test events.subscribe rpc.discover""".split()


def policy(name, *nodes):
    return {"name": name, "nodes": [dict(n, seq=10 * (i + 1)) for i, n in enumerate(nodes)]}


def low(permit=True):
    """A node that matches about the lower half of the IPv4 addresses."""
    return {"action": "permit" if permit else "deny", "match": {"prefix_list": "low"}}


def config(token):
    def neighbour(address, asn, import_policy, export_policy, **family):
        return {"address": address, "asn": asn, "enforce_first_as": False, "families": {V4: dict(family, import_policy=import_policy, export_policy=export_policy)}}
    return {
        "router": {"asn": 64512, "router_id": "198.18.0.1"},
        "management": {"http": "%s:%d" % HTTP, "http_token_file": token},
        "prefix_lists": [{"name": "low", "entries": [{"action": "permit", "prefix": "0.0.0.0/1", "le": 32}]},
                         {"name": "middle", "entries": [{"action": "permit", "prefix": "128.0.0.0/2", "le": 32}]}],
        "route_policies": [policy("in-kept", low(False), {"action": "permit", "match": {}, "set": {"local_pref": 200}}),
                           policy("in-plain", {"action": "permit", "match": {}}),
                           policy("out", {"action": "permit", "match": {}})],
        "bgp": {"peers": [neighbour(KEPT, 64601, "in-kept", "deny-all", keep_all_routes=True), neighbour(PLAIN, 64602, "in-plain", "deny-all"),
                          neighbour(ALL, 64603, "deny-all", "out")]},
    }


def ask(request, token=None, origin=None, method="POST", path="/rpc", extra=()):
    """(status, headers, body) of a request by HTTP in rt."""
    c = http.client.HTTPConnection(*HTTP, timeout=60)
    headers = dict(extra)
    if token is not None:
        headers["Authorization"] = "Bearer " + token
    if origin is not None:
        headers["Origin"] = origin
    body = request if request is None or isinstance(request, (bytes, str)) else json.dumps(request)
    c.request(method, path, body, headers)
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, dict(r.getheaders()), data


class Events:
    """A subscriber."""

    def __init__(self, path, *topics):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.data, self.seen = b"", []
        self.call("events.subscribe", topics=list(topics))

    def call(self, method, **params):
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        while True:
            m = self.line(60)
            if "id" in m:
                return m
            self.seen.append(m)

    def line(self, timeout):
        """The next line; None after `timeout`."""
        end = time.monotonic() + timeout
        while b"\n" not in self.data:
            if not select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
                return None
            more = self.sock.recv(1 << 20)
            if not more:
                raise RuntimeError("the subscriber's connection ended")
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        return json.loads(line)

    def wait(self, topic, condition=lambda e: True, timeout=60):
        """Params of the first matching event among those not yet examined."""
        end = time.monotonic() + timeout
        while True:
            m = self.seen.pop(0) if self.seen else self.line(max(0, end - time.monotonic()))
            if m is None:
                raise TimeoutError("no event %s" % topic)
            assert m["jsonrpc"] == "2.0" and m["method"] == "event" and "id" not in m, m
            if m["params"]["topic"] == topic and condition(m["params"]):
                return m["params"]

    def close(self):
        self.sock.close()


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab
        self.token = os.path.join(lab.dir, "token")
        with open(self.token, "w") as f:
            f.write("a secret of the lab\n")

    def build(self):
        lab = self.lab
        for h in ("rt", "kept", "plain", "all"):
            lab.host(h)
        for i, h in enumerate(("kept", "plain", "all"), 1):
            lab.link(h, "up", "198.18.%d.2/24" % i, "rt", "to-" + h, "198.18.%d.1/24" % i)
        self.keeld, self.rpc = lab.keeld("rt", config(self.token), KEELD, args=["--no-dataplane"])
        self.socket = os.path.join(lab.dir, "keeld.sock")
        self.events = Events(self.socket, "session", "commit", "refresh")
        for name, address, asn, seed in (("kept", KEPT, 64601, 1), ("plain", PLAIN, 64602, 2)):
            lab.spawn("feed-" + name, name, [FEED, "--count", str(PREFIXES), "--seed", str(seed), "--connect", address[:-1] + "1", "--source", address,
                                             "--asn", str(asn), "--peer-asn", "64512"], lines=True)
        self.speaker = Speaker(lab.netns("all"), ALL, ALL[:-1] + "1", 64603).up()
        wait_established(self.rpc, KEPT, PLAIN, ALL)
        wait_for("the tables", lambda: all(self.family(a)["end_of_rib_received"] or self.family(a)["received"] >= PREFIXES for a in (KEPT, PLAIN)), 60)
        wait_for("all of it", lambda: (self.family(KEPT)["received"], self.family(PLAIN)["received"]) == (PREFIXES, PREFIXES), 60)

    def family(self, address):
        return peer(self.rpc, address)["families"][V4]

    def sessions(self):
        return [(p["address"], p["state"], p["established_count"]) for p in self.rpc.call("bgp.peers")["peers"]]

    # ---- discover ----

    def discover(self):
        c, rpc = self.c, self.rpc
        document = rpc.call("rpc.discover")
        methods = {m["name"]: m for m in document["methods"]}
        c.true("rpc.discover: an OpenRPC document", document["openrpc"].startswith("1.") and document["info"]["version"], document["info"])
        c.equal("... has all methods that clients rely on", sorted(set(METHODS) - set(methods)), [])
        c.true("... each with a summary, parameters by name and a result", all(m["summary"] and m["paramStructure"] == "by-name" and
               isinstance(m["params"], list) and m["result"]["schema"] for m in methods.values()), document)
        wrong = []
        for name, m in sorted(methods.items()):
            if error_of(rpc, name, no_such_parameter=1)["code"] != PARAMS:
                wrong.append((name, "an unknown parameter"))
            needed = [p["name"] for p in m["params"] if p["required"]]
            if needed and error_of(rpc, name)["data"]["path"] != "/" + needed[0]:
                wrong.append((name, "the first parameter that it needs"))
        c.equal("... it dispatches as it says: required parameters, and no other ones", wrong, [])
        for name, params in (("system.info", {}), ("config.get", {}), ("config.validate", {}), ("config.diff", {}), ("config.history", {}), ("bgp.peers", {}), ("control.stats", {}),
                             ("jobs.list", {}), ("rib.routes", {"family": V4, "view": "loc", "limit": 1}), ("rib.summary", {}),
                             ("rib.lookup", {"family": V4, "address": "1.1.1.1"}), ("policy.test", {"policy": "out", "route": {"prefix": "10.0.0.0/8"}}),
                             ("bgp.refresh.preview", {"family": V4, "scope": "all", "direction": "import"}), ("events.subscribe", {"topics": []})):
            schema, result = methods[name]["result"]["schema"], rpc.call(name, **params)
            c.true("... %s answers with the keys that it says" % name, set(schema.get("required", [])) <= set(result) <= set(schema["properties"]),
                   (sorted(result), sorted(schema["properties"])))
        return methods

    # ---- the read-only socket ----

    def read_only(self, methods):
        c, path = self.c, self.socket + ".ro"
        c.equal("the read-only socket has mode 0666", oct(stat.S_IMODE(os.stat(path).st_mode)), "0o666")
        rpc, before = Rpc(path), self.rpc.call("config.get", source="candidate")
        refused = {name for name in methods if (error_of(rpc, name, **({"force": True} if name == "bgp.reset" else {})) or {}).get("code") == READ_ONLY}
        c.equal("it refuses what changes something, and nothing else", refused, CHANGING | {"bgp.reset"})
        e = error_of(rpc, "config.commit")
        c.equal("... by -32011 read-only", (e["code"], e["data"]["reason"]), (READ_ONLY, "read-only"))
        r = rpc.call("bgp.reset", family=V4, scope="all")
        c.equal("... bgp.reset without force tells what it would do", {p["action"] for p in r["peers"]}, {"would-reset"})
        c.equal("... notifications are refused, too", self.notified(path), before)
        c.equal("... tables are read", len(routes(rpc, view="loc")), len(routes(self.rpc, view="loc")))
        c.true("... as nobody", in_netns(self.lab.netns("rt"), lambda: self.as_nobody(path)), "no answer")
        rpc.close()
        self.bounded(path)

    def bounded(self, path):
        """The socket is open to all users: at most 64 connections, lines of 256 KiB, and privileged users still get in."""
        c, crowd = self.c, []
        for _ in range(100):
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            crowd.append(s)
        crowd[-1].settimeout(60)
        c.equal("... a crowd of 100: the last one is closed", crowd[-1].recv(10), b"")
        c.true("... the other socket serves", Rpc(self.socket).call("system.info")["pid"], "")
        crowd[0].settimeout(60)
        crowd[0].sendall(b"x" * (256 << 10) + b"\n")
        c.equal("... a line of 256 KiB is read", json.loads(crowd[0].makefile().readline())["error"]["code"], -32700)
        crowd[0].sendall(b"x" * ((256 << 10) + 1) + b"\n")
        c.equal("... a longer one is not", json.loads(crowd[0].makefile().readline())["error"]["code"], INVALID)
        for s in crowd:
            s.close()

    def notified(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(b'{"jsonrpc": "2.0", "method": "config.edit", "params": {"merge": {"bgp": null}}}\n{"jsonrpc": "2.0", "id": 1, "method": "system.info"}\n')
        s.makefile().readline()
        s.close()
        return self.rpc.call("config.get", source="candidate")

    def as_nobody(self, path):
        """True if a process without rights is answered on this socket, and refused on the other."""
        read, write = os.pipe()
        os.chmod(self.lab.dir, 0o755)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                good = Rpc(path).call("system.info")["pid"] > 0
                try:
                    Rpc(self.socket)
                except PermissionError:
                    status = 0 if good else 1
            finally:
                os._exit(status)
        os.close(read)
        os.close(write)
        return os.waitpid(pid, 0)[1] == 0

    # ---- events ----

    def event_topics(self):
        c, rpc = self.c, self.rpc
        e = self.events.call("events.subscribe", topics=["weather"])["error"]
        c.equal("an unknown topic", (e["code"], e["data"]["path"]), (PARAMS, "/topics/0"))
        up = {}
        while set(up) != {KEPT, PLAIN, ALL}:
            m = self.events.wait("session", lambda m: m.get("state") == "established" or m.get("event") == "up")
            up[m["address"]] = m
        c.true("session: each that came up, with its time", all(abs(m["time"] - time.time()) < 120 and m["vrf"] == "default" for m in up.values()), up)
        r = commit(rpc, [{"op": "add", "path": "/bgp/networks", "value": [{"prefix": "203.0.113.0/24"}]}])
        m = self.events.wait("commit")
        c.equal("commit: with its id and revision", (m.get("commit", m.get("id")), m["revision"]), (r["commit"], r["revision"]))
        other = Events(self.socket, "refresh")
        job = rpc.call("bgp.refresh", family=V4, scope="peer", peer=PLAIN, direction="import")["job"]
        wait_job(rpc, job)
        begun = other.wait("refresh", lambda m: m.get("job") == job)
        c.true("refresh: it begins", begun["address"] == PLAIN if "address" in begun else True, begun)
        ended = other.wait("refresh", lambda m: m.get("job") == job and m != begun)
        c.true("... and ends", ended != begun, ended)
        c.true("... nothing of topics that it did not ask for", not any(m["params"]["topic"] != "refresh" for m in other.seen), other.seen)
        other.call("events.unsubscribe")
        wait_job(rpc, rpc.call("bgp.refresh", family=V4, scope="peer", peer=PLAIN, direction="import")["job"])
        other.seen = []
        other.call("system.info")
        c.equal("... nothing after unsubscribing", other.seen, [])
        other.close()

    def lazy_subscriber(self):
        """Reads no event during thousands of commits: lost events are counted and reported to the subscriber; other subscribers lose no event."""
        c, rpc = self.c, self.rpc
        lazy, eager = Events(self.socket, "commit"), Events(self.socket, "commit")
        lazy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before, comment = self.resident(), "x" * 4000
        count, seen = 400, 0
        for i in range(count):
            rpc.call("config.edit", merge={"description": str(i)})
            rpc.call("config.commit", comment="%d %s" % (i, comment))
            seen += eager.wait("commit")["topic"] == "commit"
        c.equal("a subscriber that reads gets all %d events" % count, seen, count)
        c.true("... one that does not costs no memory (1.6 MB were told, and are in the history)", self.resident() - before < 8, "%d MiB" % (self.resident() - before))
        got, lost = 0, 0
        while got + lost < count:
            m = lazy.seen.pop(0) if lazy.seen else lazy.line(60)
            if m is None:
                break
            got += m["params"]["topic"] == "commit"
            lost += m["params"].get("lost", 0)
        c.equal("... and when it reads it is told how many were lost (%d)" % lost, got + lost, count)
        c.true("... not all", 0 < lost < count, lost)
        rpc.call("config.edit", merge={"description": None})
        rpc.call("config.commit", comment="after")
        c.true("... what comes then arrives", lazy.wait("commit"), "")
        lazy.close()
        eager.close()

    def resident(self):
        return memory_kb(self.keeld.popen.pid) >> 10

    # ---- HTTP ----

    def http(self):
        c = self.c
        info = {"jsonrpc": "2.0", "id": 1, "method": "system.info"}
        discard = {"jsonrpc": "2.0", "id": 2, "method": "config.discard"}

        def rpc(*args, **kw):
            return in_netns(self.lab.netns("rt"), lambda: ask(*args, **kw))

        def code(answer):
            v = json.loads(answer[2])
            return answer[0], v["error"]["code"] if "error" in v else "result"

        status, headers, body = rpc(info)
        c.equal("POST /rpc: an answer", (status, headers["Content-Type"], json.loads(body)["result"]["pid"]), (200, "application/json", self.keeld.popen.pid))
        c.equal("... a notification has none", rpc({"jsonrpc": "2.0", "method": "system.info"})[::2], (204, b""))
        c.equal("... a batch", [a["id"] for a in json.loads(rpc([info, dict(info, id="x"), {"jsonrpc": "2.0", "method": "system.info"}])[2])], [1, "x"])
        c.equal("... a parse error", code(rpc("{")), (200, -32700))
        c.equal("... an empty body", rpc("")[0], 400)
        c.equal("... what changes something is refused without the token", code(rpc(discard)), (200, READ_ONLY))
        c.equal("... and done with it", code(rpc(discard, token="a secret of the lab")), (200, "result"))
        for wrong in ("a secret of the la", "a secret of the lab2", "", "x"):
            c.equal("... a wrong token `%s`" % wrong, rpc(info, token=wrong)[0], 401)
        for origin, status in (("http://127.0.0.1:9179", 200), ("http://localhost:9179", 200), ("http://evil.example", 403), ("null", 403),
                               ("http://127.0.0.1:9180", 403), ("https://127.0.0.1:9179", 403)):
            c.equal("... Origin %s" % origin, rpc(info, origin=origin)[0], status)
        c.equal("... a foreign Origin gets no further with the token", rpc(discard, token="a secret of the lab", origin="http://evil.example")[0], 403)
        c.equal("... GET", rpc(None, method="GET")[0], 405)
        c.equal("... elsewhere", rpc(info, path="/other")[0], 404)
        c.equal("... events need a connection that stays", code(rpc({"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"topics": []}})),
                (200, INVALID))
        c.equal("... an answer that comes later", code(rpc({"jsonrpc": "2.0", "id": 1, "method": "bgp.refresh.preview", "params": {"candidate": True}})),
                (200, "result"))
        c.equal("... more than 16 MiB", rpc(b" " * (17 << 20), token="a secret of the lab")[0], 413)
        c.equal("... more than 256 KiB without the token", rpc(b" " * (257 << 10))[0], 413)
        page = json.loads(rpc({"jsonrpc": "2.0", "id": 1, "method": "rib.routes", "params": {"family": V4, "view": "loc", "limit": 5000}})[2])["result"]
        c.true("... a page of 5,000 routes", len(page["routes"]) == 5000, len(page["routes"]))
        self.metrics(*rpc(None, method="GET", path="/metrics"))
        self.control_stats()

    def metrics(self, status, headers, body):
        """Parsed as OpenMetrics 1.0: families contiguous, types before samples, counters end in _total, # EOF at the end."""
        c, values, families, at, text = self.c, {}, [], None, body.decode()
        c.equal("GET /metrics: OpenMetrics", (status, headers["Content-Type"]), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
        wrong = [] if text.endswith("\n# EOF\n") else ["the end"]
        for line in text.splitlines()[:-1]:
            words = re.fullmatch(r"# (TYPE|HELP) ([a-z_:0-9]+) (.+)", line)
            if words:
                if words.group(1) == "TYPE":
                    if words.group(2) in families:
                        wrong.append(line)
                    at = (words.group(2), words.group(3))
                    families.append(at[0])
                continue
            sample = re.fullmatch(r'([a-z_0-9]+)\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\} (-?[0-9.]+)', line)
            suffixes = {"counter": ["_total"], "gauge": [""], "info": ["_info"], "summary": ["", "_count"]}[at[1]] if at else []
            if not sample or sample.group(1) not in [at[0] + s for s in suffixes] or \
                    (at[1] == "summary") != ("quantile=" in sample.group(2) or sample.group(1).endswith("_count")):
                wrong.append(line)
            else:
                values[sample.group(1), sample.group(2)] = float(sample.group(3))
        c.equal("... well formed", wrong, [])
        threads = self.rpc.call("control.stats")["threads"]
        c.equal("... a summary of each thread's slices", sorted(k[1] for k in values if k[0] == "keel_thread_slice_seconds_count"),
                sorted('thread="%s"' % t["name"] for t in threads))
        labels = next(k[1] for k in values if k[0] == "keel_peer_established" and k[1].startswith('peer="%s",vrf="default",asn="' % KEPT))
        c.equal("... the values of bgp.peers", [values.get(k) for k in (("keel_peer_established", labels), ("keel_peer_sessions_total", labels),
                ("keel_peer_routes_received", labels + ',family="ipv4-unicast"'), ("keel_peer_routes_accepted", labels + ',family="ipv4-unicast"'))],
                [1, 1, PREFIXES, self.family(KEPT)["accepted"]])

    def control_stats(self):
        """Figures of the threads, and their reset."""
        c, rpc = self.c, self.rpc
        before = {t["name"]: t for t in rpc.call("control.stats")["threads"]}
        c.equal("control.stats: the threads of control", [n for n in ("keeld", "keel-session", "keel-rib", "keel-fib", "keel-host") if n not in before], [])
        c.true("... whoever has slices has turns with them", all(t["turn_ns"]["max"] > 0 for t in before.values() if t["slice_ns"]["count"]), before)
        c.true("... decoding and deciding took slices and processor time", all(before[n]["slice_ns"]["count"] > 0 and before[n]["cpu_s"] > 0
               for n in ("keel-session", "keel-rib")), before)
        keepalives = rpc.call("control.stats")["keepalive_late_ns"]["count"]
        rpc.call("control.stats.reset")
        after = rpc.call("control.stats")
        c.true("control.stats.reset: histograms start anew, processor time does not", after["keepalive_late_ns"]["count"] <= keepalives and
               all(t["slice_ns"]["count"] < before[t["name"]]["slice_ns"]["count"] and t["cpu_s"] >= before[t["name"]]["cpu_s"]
                   for t in after["threads"] if t["name"] in ("keel-session", "keel-rib")), (before, after))

    # ---- policies ----

    def policy_test(self):
        c, rpc = self.c, self.rpc
        route = {"prefix": "200.0.0.0/8", "as_path": "64601 {7,8} 9", "origin": "egp", "next_hop": KEPT, "med": 5, "communities": ["64512:7", "no-export"],
                 "large_communities": ["1:2:3"], "ext_communities": ["rt:64512:1"], "peer": KEPT}
        r = rpc.call("policy.test", policy="in-kept", route=route)
        c.equal("policy.test: the node that permits", (r["result"], r["node"]), ("permit", 20))
        c.equal("... what became of the route", r["route"], dict(route, local_pref=200, source="external"))
        r = rpc.call("policy.test", policy="in-kept", route=dict(route, prefix="10.0.0.0/8"))
        c.equal("... the node that denies, the route as it was", (r["result"], r["node"], r["route"]),
                ("deny", 10, dict(route, prefix="10.0.0.0/8", source="external")))
        r = rpc.call("policy.test", policy="deny-all", route={"prefix": "2001:db8::/32"})
        c.equal("... no node", (r["result"], r["node"]), ("deny", None))
        for params, code, path in (({"policy": "nobody", "route": route}, NOT_FOUND, "/policy"), ({"policy": "out", "route": 1}, PARAMS, "/route"),
                                   ({"policy": "out", "route": {}}, PARAMS, "/route/prefix"), ({"policy": "out", "route": {"prefix": "10.0.0.1/8"}}, PARAMS, "/route/prefix"),
                                   ({"policy": "out", "route": dict(route, colour=1)}, PARAMS, "/route/colour"),
                                   ({"policy": "out", "route": dict(route, as_path="1 x")}, PARAMS, "/route/as_path"),
                                   ({"policy": "out", "route": dict(route, med=-1)}, PARAMS, "/route/med"),
                                   ({"policy": "out", "route": dict(route, communities=["64512"])}, PARAMS, "/route/communities"),
                                   ({"policy": "out", "route": dict(route, family="ipv6-unicast")}, PARAMS, "/route/prefix")):
            e = error_of(rpc, "policy.test", **params)
            c.equal("... %s of %s" % (path, json.dumps(params["route"])[:60]), (e["code"], e["data"]["path"]), (code, path))

    # ---- previews ----

    def table(self, view, address):
        """{prefix: attributes changed by policies}"""
        return {r["prefix"]: (r["as_path"], r.get("local_pref"), r.get("med"), tuple(r.get("communities", ())))
                for r in routes(self.rpc, view=view, peer=address, limit=10000)}

    def quiet(self):
        """Counters that would change with any publication."""
        p = {a: peer(self.rpc, a) for a in (KEPT, PLAIN, ALL)}
        return [(v["updates_sent"], v["updates_received"], v["families"][V4]["refresh"]["requests_sent"], v["families"][V4]["accepted"]) for v in p.values()]

    def preview(self, *patch):
        """The candidate's preview after these edits."""
        before = at_rest(self.quiet)
        self.rpc.call("config.edit", patch=list(patch))
        r = self.rpc.call("bgp.refresh.preview", candidate=True)
        self.c.equal("     nothing was sent, asked or published for it", self.quiet(), before)
        return {(p["address"], p["direction"]): p for p in r["peers"]}, r

    def settled(self, r):
        for e in r["effects"]:
            if e.get("job"):
                wait_job(self.rpc, e["job"])

    @staticmethod
    def difference(was, now):
        both = set(was) & set(now)
        return {"added": len(set(now) - set(was)), "removed": len(set(was) - set(now)), "changed": sum(was[p] != now[p] for p in both)}

    def previews(self):
        c, rpc = self.c, self.rpc
        all_of_kept = self.table("adj-in-pre", KEPT)
        accepted = self.table("adj-in", KEPT)
        c.equal("adj-in-pre of a peer whose routes are kept: all of them", len(all_of_kept), PREFIXES)
        pre = routes(rpc, view="adj-in-pre", peer=KEPT, limit=10000)
        refused = {r["prefix"] for r in pre if r.get("reason") == "rejected-by-policy"}
        c.true("... those that policy refused say so, and are not in adj-in or loc", refused and refused == set(all_of_kept) - set(accepted) and
               not refused & {r["prefix"] for r in routes(rpc, view="loc", limit=10000) if r["peer"] == KEPT}, len(refused))
        c.true("... they are not valid, not best", not any(r["valid"] or r["best"] for r in pre if r["prefix"] in refused), "")
        c.equal("bgp.peers: received, accepted and kept", [self.family(KEPT)[k] for k in ("received", "accepted", "kept")], [PREFIXES, len(accepted), PREFIXES])
        e = error_of(rpc, "rib.routes", family=V4, view="adj-in-pre", peer=PLAIN)
        c.equal("adj-in-pre of one that is not kept", (e["code"], e["data"]["reason"]), (NOT_KEPT, "not-kept"))

        c.equal("a preview of an unchanged candidate", self.preview()[0], {})
        # Import, kept: refused routes are accepted, existing routes are removed or changed.
        lines, whole = self.preview({"op": "replace", "path": "/route_policies/0", "value": policy(
            "in-kept", {"action": "permit", "match": {"prefix_list": "low"}, "set": {"local_pref": 90}}, {"action": "deny", "match": {"origin": "igp", "prefix_list": "middle"}},
            {"action": "permit", "match": {"prefix_list": "middle"}, "set": {"local_pref": 200, "med": 3}},
            {"action": "permit", "match": {}, "set": {"local_pref": 200}})})
        line = lines[KEPT, "import"]
        c.true("preview of another import policy, routes kept: exact, with what others are then told",
               all(x["exact"] is True for x in lines.values()) and (KEPT, "import") in lines and {d for a, d in lines if a != KEPT} <= {"export"}, whole)
        c.true("... with the candidate's effects", [e["effect"] for e in whole["effects"]] == ["replayed"] or whole["effects"], whole["effects"])
        c.true("... and no fib without a data plane", "fib" not in whole, whole)
        was = self.table("adj-in", KEPT)
        self.settled(rpc.call("config.commit"))
        c.comes_to("... what then happens is what it said: %s" % json.dumps({k: line[k] for k in ("added", "removed", "changed")}),
                   lambda: self.difference(was, self.table("adj-in", KEPT)), {k: line[k] for k in ("added", "removed", "changed")})
        # Import, not kept.
        lines, whole = self.preview({"op": "replace", "path": "/route_policies/1", "value": policy("in-plain", low(False), {"action": "permit", "match": {}, "set": {"med": 7}})})
        line = lines[PLAIN, "import"]
        c.true("preview without kept routes: not exact, and no word of what would be added", line["exact"] is False and "added" not in line, whole)
        was = self.table("adj-in", PLAIN)
        self.settled(rpc.call("config.commit"))
        c.comes_to("... removed and changed are what happens", lambda: {k: v for k, v in self.difference(was, self.table("adj-in", PLAIN)).items() if k != "added"},
                   {k: line[k] for k in ("removed", "changed")})
        # Export.
        wait_for("the receiver has it", lambda: len(self.speaker.rib) == self.family(ALL)["advertised"], 30)
        lines, whole = self.preview({"op": "replace", "path": "/route_policies/2", "value": policy("out", low(False), {"action": "permit", "match": {},
                                                                                                        "set": {"med": 11, "as_path_prepend": {"asn": 64512, "count": 1}}})})
        line = lines[ALL, "export"]
        was = dict(self.speaker.rib)
        c.true("preview of another export policy: exact", line["exact"] is True and set(lines) == {(ALL, "export")}, whole)
        self.settled(rpc.call("config.commit"))
        c.comes_to("... what the receiver is told then: %s" % json.dumps({k: line[k] for k in ("added", "removed", "changed")}),
                   lambda: self.difference(was, dict(self.speaker.rib)), {k: line[k] for k in ("added", "removed", "changed")}, 30)
        self.export_to_all()
        self.scoped()

    def export_to_all(self):
        """Three peers of one update group, two of which receive all routes except their own."""
        c, rpc = self.c, self.rpc
        lines, whole = self.preview(*({"op": "replace", "path": "/bgp/peers/%d/families/ipv4-unicast/export_policy" % i, "value": "out"} for i in (0, 1)))
        told = {a: lines[a, "export"] for a in (KEPT, PLAIN)}
        c.equal("preview of two more peers that are told: these two", set(lines), {(KEPT, "export"), (PLAIN, "export")})
        self.settled(rpc.call("config.commit"))
        for a in (KEPT, PLAIN):
            c.comes_to("... what %s is told then: %d routes" % (a, told[a]["added"]), lambda a=a: len(self.table("adj-out", a)), told[a]["added"])
        lines, whole = self.preview({"op": "replace", "path": "/route_policies/2", "value": policy("out", {"action": "permit", "match": {"prefix_list": "middle"}},
                                                                                                  {"action": "permit", "match": {"prefix_list": "low"}, "set": {"med": 3}})})
        was = {a: self.table("adj-out", a) for a in (KEPT, PLAIN, ALL)}
        c.equal("preview of a policy that all three have", set(lines), {(a, "export") for a in was})
        self.settled(rpc.call("config.commit"))
        for a in was:
            expected = {k: lines[a, "export"][k] for k in ("added", "removed", "changed")}
            c.comes_to("... what %s is told then: %s" % (a, json.dumps(expected)), lambda a=a: self.difference(was[a], self.table("adj-out", a)), expected)
        self.settled(commit(rpc, [{"op": "replace", "path": "/bgp/peers/%d/families/ipv4-unicast/export_policy" % i, "value": "deny-all"} for i in (0, 1)]))

    def scoped(self):
        """Previews without the candidate count the changes of a refresh now: none without a pending change."""
        c, rpc = self.c, self.rpc
        for direction in ("import", "export"):
            r = rpc.call("bgp.refresh.preview", family=V4, scope="external", direction=direction)
            c.equal("preview of a refresh %s: every peer of the scope" % direction, sorted(p["address"] for p in r["peers"]), [KEPT, PLAIN, ALL])
            c.true("... nothing would change", all(p.get("added", 0) + p["removed"] + p["changed"] == 0 for p in r["peers"]), r)
        for params, code, path in (({"scope": "internal"}, NOT_FOUND, "/scope"), ({"scope": "peer", "peer": "192.0.2.77"}, NOT_FOUND, "/peer"),
                                   ({"candidate": True}, PARAMS, None), ({"direction": "up"}, PARAMS, "/direction")):
            e = error_of(rpc, "bgp.refresh.preview", **dict({"family": V4, "scope": "all", "direction": "import"}, **params))
            c.true("preview with %s" % json.dumps(params), e["code"] == code and path in (None, e["data"]["path"]), e)
        e = error_of(rpc, "bgp.refresh.preview")
        c.equal("preview of nothing", (e["code"], e["data"]["path"]), (PARAMS, "/family"))
        lines, whole = self.preview({"op": "replace", "path": "/route_policies/0", "value": policy("in-kept", {"action": "deny", "match": {}})},
                                    {"op": "replace", "path": "/route_policies/2", "value": policy("out", {"action": "permit", "match": {}, "set": {"med": 5}})})
        c.equal("preview of both directions: export is judged on what the import makes of kept routes, exactly", [lines[KEPT, "import"]["exact"], lines[ALL, "export"]["exact"]],
                [True, True])
        rpc.call("config.discard")
        rpc.call("config.edit", merge={"bgp": {"peers": 1}})
        e = error_of(rpc, "bgp.refresh.preview", candidate=True)
        c.true("preview of a faulty candidate: its faults", e and e["data"]["path"] == "/bgp/peers", e)
        rpc.call("config.discard")
        lines, whole = self.preview({"op": "remove", "path": "/bgp/peers/1"})
        c.equal("preview of a peer that goes: all its routes", lines[PLAIN, "import"]["removed"], self.family(PLAIN)["accepted"])
        rpc.call("config.discard")

    def pending(self):
        """A committed policy is pending: the preview predicts the effects of the refresh."""
        c, rpc = self.c, self.rpc
        delays = ["/bgp/policy_change_" + key for key in ("delay_s", "max_delay_s")]
        commit(rpc, [{"op": "add", "path": path, "value": 300} for path in delays])
        was, told = self.table("adj-in", KEPT), dict(self.speaker.rib)
        effects = commit(rpc, [{"op": "replace", "path": "/route_policies/0", "value": policy("in-kept", {"action": "permit", "match": {"prefix_list": "low"},
                                                                                                        "set": {"med": 77}})},
                               {"op": "replace", "path": "/route_policies/2", "value": policy("out", {"action": "permit", "match": {}, "set": {"med": 78}})}])
        lines = {}
        for direction, address in (("import", KEPT), ("export", ALL)):
            r = rpc.call("bgp.refresh.preview", family=V4, scope="peer", peer=address, direction=direction)
            lines[direction] = {k: r["peers"][0][k] for k in ("added", "removed", "changed")}
        c.true("preview of a refresh while a committed policy waits: what it will do", lines["import"]["removed"] > 100 and lines["export"]["changed"] > 100, lines)
        for direction, address in (("import", KEPT), ("export", ALL)):  # a command applies waiting changes at once
            rpc.call("bgp.refresh", family=V4, scope="peer", peer=address, direction=direction)
        self.settled(effects)
        c.comes_to("... and then does, import", lambda: self.difference(was, self.table("adj-in", KEPT)), lines["import"])
        gone = len(set(told) - set(self.speaker.rib))
        c.true("... export (the import took %d of it)" % gone, gone <= lines["import"]["removed"] and lines["export"]["removed"] == 0, lines)
        commit(rpc, [{"op": "remove", "path": path} for path in delays])

    def overtaken(self):
        """A commit during a preview: the preview ends with an error, not with wrong numbers. Then leaves previews running, so that the stop has to end them."""
        raw = Events(self.socket)
        preview = {"jsonrpc": "2.0", "id": 1, "method": "bgp.refresh.preview", "params": {"family": V4, "scope": "all", "direction": "export"}}
        edit = {"jsonrpc": "2.0", "id": 4, "method": "config.edit", "params": {"merge": {"description": "overtaken"}}}
        raw.sock.sendall(json.dumps([preview, edit, {"jsonrpc": "2.0", "id": 2, "method": "config.commit"}, dict(preview, id=3)]).encode() + b"\n")
        answers = {a["id"]: a for a in raw.line(60)}
        first = answers[1]
        self.c.true("a commit overtakes a preview, or comes behind it", first["error"]["code"] == -32013 if "error" in first else
                    first["result"] == answers[3].get("result"), answers)
        self.c.equal("... and is done, as is the next preview", ["result" in answers[n] for n in (2, 3)], [True, True])
        raw.sock.sendall((json.dumps(preview) + "\n").encode() * 3 + json.dumps(preview).encode())
        raw.close()

    def run(self):
        self.build()
        before = self.sessions()
        methods = self.discover()
        self.read_only(methods)
        self.event_topics()
        self.lazy_subscriber()
        self.http()
        self.policy_test()
        self.previews()
        self.pending()
        self.c.equal("no session went down for any of this", self.sessions(), before)
        self.overtaken()
        self.c.equal("SIGTERM: exit status 0", self.keeld.stop(), 0)
        self.c.true("both sockets are gone", not any(os.path.exists(self.socket + s) for s in ("", ".ro")), os.listdir(self.lab.dir))


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", files=(KEELD, FEED))
    sys.exit(labtest.main(test))
