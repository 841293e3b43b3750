#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A commit of a new local-pref with 1,000 and 4,000 idle peers, with 1 and 16 shards: time until the answer, and the longest wait of another
client meanwhile (system.info every 1 ms); bgp.peers of one peer and of all peers, likewise."""
import json
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import ROOT, Bench, Lab, arguments, sample, say  # noqa: E402

PEERS, SHARDS = (1000, 4000), (1, 16)
POLL_S = 0.001


def poll(path):
    """A separate process that calls without pauses; each line on standard input is answered with the longest wait since the previous line, in ms."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    answers = s.makefile("rb")
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "system.info"}).encode() + b"\n"
    longest = 0
    os.set_blocking(0, False)
    while True:
        begin = time.monotonic()
        s.sendall(request)
        answers.readline()
        longest = max(longest, time.monotonic() - begin)
        try:
            line = os.read(0, 100)
        except BlockingIOError:
            time.sleep(POLL_S)
            continue
        if not line:
            return
        print(longest * 1e3, flush=True)
        longest = 0


class Poller:
    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--poll", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def longest(self):
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def __enter__(self):
        self.longest()
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.wait()


def seconds(work):
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def idle(count):
    """Peers that never connect."""
    families = {"ipv4-unicast": {"import_policy": "in", "export_policy": "accept-all"}}
    return [{"address": "10.%d.%d.1" % (i >> 8, i & 255), "asn": 64600 + i % 100, "passive": True, "families": families} for i in range(count)]


def measure(bench, poller, count, dut, runs):
    def note(what, run, spent):
        sample("%s_%d" % (what, count), "ms", run, spent * 1e3, dut)
        sample("%s_rpc_%d" % (what, count), "ms", run, poller.longest(), dut)

    last = bench.rpc.call("bgp.peers", limit=10000)["peers"][-1]["address"]
    for run in range(runs):
        poller.longest()
        time.sleep(0.5)  # the wait of a client without a commit: the machine's share of the figures
        sample("rest_rpc_%d" % count, "ms", run, poller.longest(), dut)
        bench.rpc.call("config.edit", patch=[{"op": "replace", "path": "/route_policies/0/nodes/0/set/local_pref", "value": 200 + run}])
        poller.longest()
        note("commit", run, seconds(lambda: bench.rpc.call("config.commit")))
        note("peers_one", run, min(seconds(lambda: bench.rpc.call("bgp.peers", peer=last)) for _ in range(5)))
        note("peers_all", run, seconds(lambda: bench.rpc.call("bgp.peers")))


def main():
    args = arguments(__doc__, 5)
    policy = [{"name": "in", "nodes": [{"seq": 10, "action": "permit", "match": {}, "set": {"local_pref": 100}}]}]
    for shards in SHARDS:
        for count in PEERS:
            say("%d idle peers, %d shards" % (count, shards))
            with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
                b = Bench(lab, idle(count), {"route_policies": policy, "dataplane": {"rib_threads": shards}})
                with Poller(os.path.join(lab.dir, "keeld.sock")) as poller:
                    measure(b, poller, count, "1-shard" if shards == 1 else "%d-shards" % shards, args.runs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--poll"]:
        poll(sys.argv[2])
    else:
        main()
