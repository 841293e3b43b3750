#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Bad moments: actions of a commit, a peer or a host at the worst time for a running keeld. Each case describes a past failure. Most useful with
KEEL_BUILD at a build with ASan.

    rt (keeld without data plane, AS 64512) --- p (speakers of the test)
"""
import json
import os
import random
import re
import resource
import socket
import threading
import time

import labtest
from labtest import KEELD, UPDATE, V4, Lab, Rpc, Speaker, as_path, commit, memory_kb, need, next_hop, origin, out_folder, peer, wait_for
from lab import clock

NAME = "hostile"
RT, P = "198.18.1.1", "198.18.1.2"
SLOW_LISTS = 10


def slow_policy():
    """Costs the shard some 100 us for each AS path, so that UPDATEs queue up."""
    lists = [{"name": "slow%d" % i, "entries": [{"action": "permit", "regex": "(%d_)+.*_(%d_)*%d$" % (a, a, a)} for a in range(900000, 900030)]}
             for i in range(SLOW_LISTS)]
    nodes = [{"seq": i + 1, "action": "deny", "match": {"as_path_list": "slow%d" % i}} for i in range(SLOW_LISTS)]
    return lists, [{"name": "slow", "nodes": nodes + [{"seq": 100, "action": "permit", "match": {}}]}]


def config(*peers, **keys):
    return {"router": {"asn": 64512, "router_id": RT}, "bgp": {"peers": list(peers)}, **keys}


def neighbour(address, asn, import_policy="accept-all", export_policy="accept-all", **keys):
    return {"address": address, "asn": asn, "passive": True, "families": {V4: {"import_policy": import_policy, "export_policy": export_policy}}, **keys}


class Case:
    """A separate keeld beside a host `p`; its exit is a check."""

    def __init__(self, checks, name, document, addresses=(P,)):
        self.c, self.name, self.document, self.addresses = checks, name, document, addresses

    def __enter__(self):
        self.lab = Lab(out_folder(os.path.join(NAME, self.name)))
        self.lab.host("rt")
        self.lab.host("p")
        self.lab.link("rt", "p0", RT + "/24", "p", "rt0", self.addresses[0] + "/24")
        for a in self.addresses[1:]:
            self.lab.sh("p", "ip address add %s/24 dev rt0" % a)
        self.keeld, self.rpc = self.lab.keeld("rt", self.document, KEELD, args=["--no-dataplane"])
        return self

    def speaker(self, asn, address=P, **keys):
        return Speaker(self.lab.netns("p"), address, RT, asn, **keys).up()

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.c.equal(self.name + ": keeld lives, and stops in order", self.keeld.stop(), 0)
        finally:
            self.lab.close()


def until_closed(speaker, messages):
    try:
        for m in messages:
            speaker.send(UPDATE, m)
    except OSError:
        pass


def removed_while_loading(checks):
    """Past failure: the policies of a removed peer were freed while still used in the shard."""
    lists, policies = slow_policy()
    rng = random.Random(1)
    messages = [labtest.update(origin() + as_path([65001] + [rng.randrange(1, 1 << 31) for _ in range(20)]) + next_hop(P),
                               ["%d.%d.%d.0/24" % (20 + (i >> 16), i >> 8 & 255, i & 255)]) for i in range(20000)]
    neighbours = neighbour(P, 65001, "slow")
    with Case(checks, "removed-while-loading", config(neighbours, as_path_lists=lists, route_policies=policies)) as t:
        for _ in range(2):
            s = t.speaker(65001)
            sender = threading.Thread(target=until_closed, args=(s, messages))
            sender.start()
            wait_for("some routes", lambda: peer(t.rpc, P)["families"][V4]["accepted"] > 100, 20)
            commit(t.rpc, [{"op": "remove", "path": "/bgp/peers/0"}])
            commit(t.rpc, [{"op": "add", "path": "/bgp/peers/0", "value": neighbours}])
            sender.join()
            wait_for("the end of the session", lambda: s.closed, 20)
            checks.true("removed while loading: Cease", labtest.NOTIFICATION in [k for k, _ in s.received], s.received[-3:])
            s.close()
            checks.comes_to("nothing of the removed peer stays", lambda: t.rpc.call("rib.summary")["tables"][0]["prefixes"], 0)


def match_limit(checks):
    """Past failure: a padded path made the expression of a deny list reach the match limit, and the route was accepted."""
    lists = [{"name": "leaks", "entries": [{"action": "permit", "regex": "^(([0-9]+)* *)*[({]$"}]}]
    policies = [{"name": "no-leaks", "nodes": [{"seq": 10, "action": "deny", "match": {"as_path_list": "leaks"}}, {"seq": 20, "action": "permit", "match": {}}]}]
    with Case(checks, "match-limit", config(neighbour(P, 65001, "no-leaks"), as_path_lists=lists, route_policies=policies)) as t:
        s = t.speaker(65001)
        for prefix, hops in (("20.0.0.0/24", 1), ("20.0.1.0/24", 120), ("20.0.2.0/24", 1)):
            s.send(UPDATE, labtest.update(origin() + as_path([65001] * hops) + next_hop(P), [prefix]))
        checks.comes_to("match limit: the padded route alone is rejected",
                        lambda: [r["prefix"] for r in t.rpc.call("rib.routes", family=V4, view="loc")["routes"]], ["20.0.0.0/24", "20.0.2.0/24"])
        alarms = [a["text"] for a in t.rpc.call("system.info")["alarms"] if a["kind"] == "policy"]
        checks.true("... an alarm names policy, list and peer", len(alarms) == 1 and all(w in alarms[0] for w in ("no-leaks", "list leaks", P)), alarms)
        s.close()


def resident_mib(process):
    return memory_kb(process.popen.pid) >> 10


def large_batch(checks):
    """Past failure: a batch with gigabytes of answers took many times as much memory, and other clients were not served until its end."""
    with Case(checks, "large-batch", config(neighbour(P, 65001))) as t:
        s = t.speaker(65001)
        for i in range(0, 10000, 500):
            s.send(UPDATE, labtest.update(origin() + as_path([65001]) + next_hop(P), ["20.%d.%d.0/24" % (n >> 8, n & 255) for n in range(i, i + 500)]))
        wait_for("10,000 routes", lambda: peer(t.rpc, P)["families"][V4]["accepted"] == 10000, 20)
        greedy = socket.socket(socket.AF_UNIX)
        greedy.connect(t.rpc.sock.getpeername())
        one = {"jsonrpc": "2.0", "method": "rib.routes", "params": {"family": V4, "view": "loc", "limit": 10000}}
        greedy.sendall(json.dumps([dict(one, id=i) for i in range(1000)]).encode() + b"\n")
        ended = threading.Event()
        threading.Thread(target=lambda: (greedy.recv(1), ended.set()), daemon=True).start()
        longest = most = 0
        other = Rpc(t.rpc.sock.getpeername())
        end = time.monotonic() + 240
        while not ended.is_set() and time.monotonic() < end:
            before = time.monotonic()
            other.call("system.info")
            longest, most = max(longest, time.monotonic() - before), max(most, resident_mib(t.keeld))
            ended.wait(0.05)
        other.close()
        greedy.close()
        checks.true("a batch of gigabytes is cut off", ended.is_set())
        checks.true("others are served meanwhile", longest < 10, "%.1f s" % longest)
        checks.true("memory is bounded", most < 1500, "%d MiB" % most)
        s.close()


def long_paths(checks):
    """Past failure with 1,000 routes with AS paths of 60,000 octets: a page took 160 MB, a page of 10,000 routes gigabytes, and other clients were not served."""
    attributes = origin() + as_path([65001] + [4200000000 + i for i in range(254)], *[[4200000000 + i for i in range(255)] for _ in range(58)]) + next_hop(P)
    prefixes = ["20.%d.%d.0/24" % (i >> 8, i & 255) for i in range(3000)]
    document = config(neighbour(P, 65001))
    document["bgp"]["max_as_path_length"] = 65535
    with Case(checks, "long-paths", document) as t:
        s = t.speaker(65001, capabilities=(2, 70, 6))
        for i in range(0, len(prefixes), 500):
            s.send(UPDATE, labtest.update(attributes, prefixes[i:i + 500]))
        wait_for("all routes", lambda: peer(t.rpc, P)["families"][V4]["accepted"] == len(prefixes), 20)
        page = t.rpc.call("rib.routes", family=V4, view="loc", limit=10000)
        checks.true("a page with long paths ends early", 0 < len(page["routes"]) < 200 and "next" in page, len(page["routes"]))
        checks.equal("all pages hold all routes", sorted(r["prefix"] for r in labtest.routes(t.rpc, view="loc")), sorted(prefixes))
        s.close()


def cpu_s(process):
    with open("/proc/%d/stat" % process.popen.pid) as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def no_descriptors(checks):
    """Past failure: connections that could not be accepted kept both listeners ready, and their threads spinning."""
    with Case(checks, "no-descriptors", config(neighbour(P, 65001))) as t:
        pid = t.keeld.popen.pid
        few = len(os.listdir("/proc/%d/fd" % pid)) + 2
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
        clients = [socket.socket(socket.AF_UNIX) for _ in range(10)]
        for c in clients:
            c.connect(t.rpc.sock.getpeername())
        # Only then the BGP connections: of three the session closes two, which would leave a descriptor free until an RPC client takes it.
        wait_for("rpc-accept-failed", lambda: "rpc-accept-failed" in t.keeld.logged(), 10)

        def bgp():
            s = socket.socket()
            s.connect((RT, 179))
            return s

        clients += [labtest.in_netns(t.lab.netns("p"), bgp) for _ in range(3)]
        wait_for("accept-failed of the BGP listener", lambda: re.search(r"[^-]accept-failed", t.keeld.logged()), 10)
        before = cpu_s(t.keeld)
        for _ in clock(1, 2):  # the absence of an event is observed for a fixed time
            pass
        used = cpu_s(t.keeld) - before
        checks.true("without descriptors it does not spin", used < 0.5, "%.2f of 2 s" % used)
        for c in clients:
            c.close()
        checks.eventually("and serves when there are some again", lambda: (Rpc(t.rpc.sock.getpeername(), 60).call("system.info")["pid"] == pid, ""))


def begins_without_end(checks):
    """Past failure: after 32,768 BoRR the routes of a lost session looked fresh, and stayed."""
    with Case(checks, "begins-without-end", config(neighbour(P, 65001))) as t:
        s = t.speaker(65001)
        s.send(UPDATE, labtest.update(origin() + as_path([65001]) + next_hop(P), ["20.0.0.0/24", "20.0.1.0/24"]))
        for _ in range(40000):
            s.refresh(1)
        checks.comes_to("40,000 BoRR are read", lambda: labtest.refresh_counters(t.rpc, P)["borr_received"], 40000)
        s.close()
        checks.comes_to("the lost session's routes go", lambda: t.rpc.call("rib.summary")["tables"][0]["prefixes"], 0)


def many_commits(checks):
    """Past failure: each commit leaked its document: 9 MB for a prefix list of 20,000."""
    big = {"name": "big", "entries": [{"action": "permit", "prefix": "20.%d.%d.0/24" % (i >> 8, i & 255)} for i in range(20000)]}
    policy = {"name": "p", "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "big"}}]}
    with Case(checks, "many-commits", config(neighbour(P, 65001, "p"), prefix_lists=[big], route_policies=[policy])) as t:
        before = 0
        for i in range(90):
            commit(t.rpc, [{"op": "replace", "path": "/route_policies/0/nodes/0/seq", "value": 10 + i % 2}])
            if i == 30:
                before = resident_mib(t.keeld)
        grown = resident_mib(t.keeld) - before
        checks.true("60 commits more take no more memory", grown < 120, "%d MiB" % grown)


def test(checks):
    need("ip", files=[KEELD])
    removed_while_loading(checks)
    match_limit(checks)
    large_batch(checks)
    long_paths(checks)
    no_descriptors(checks)
    begins_without_end(checks)
    many_commits(checks)


if __name__ == "__main__":
    raise SystemExit(labtest.main(test))
