#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Requests whose keys collide under seed 1, which earlier versions of keeld gave to jansson: a real keeld must read them as fast as other
requests. Needs root (a network namespace); else the exit status is 77.

usage: test_json_flood.py KEELD JSON_FLOOD
"""
import json
import socket
import subprocess
import sys

import keel_rig
from keel_rig import US, WAIT_S, KeelTest

FLOOD = sys.argv.pop()
KEYS, BITS, OLD_SEED = 15000, 14, 1  # an object of 15,000 members has 2^14 buckets
INVALID, PARAMS, PARSE = -32600, -32602, -32700


def request(keys):
    return b'{"jsonrpc":"2.0","id":1,"method":"system.info","params":{' + b",".join(b'"%s":1' % k for k in keys) + b"}}\n"


def keys(count, seed):
    out = subprocess.run([FLOOD, str(count), str(BITS), str(seed)], check=True, capture_output=True).stdout.split()
    assert len(set(out)) == count
    return out


class JsonFlood(KeelTest):
    def setUp(self):
        super().setUp()
        self.start({"router": {"asn": 64512, "router_id": US}})

    def cpu_ns(self):
        """CPU time of keeld's main thread."""
        pid = self.keel.process.pid
        with open("/proc/%d/task/%d/schedstat" % (pid, pid)) as f:
            return int(f.read().split()[0])

    def ask(self, data, suffix=""):
        """The error's code, and whether keeld then closed the connection."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(WAIT_S)
            s.connect(self.keel.path + suffix)
            s.sendall(data)
            lines = s.makefile("rb")
            code = json.loads(lines.readline())["error"]["code"]
            s.shutdown(socket.SHUT_WR)
            return code, lines.readline()

    def cost(self, data):
        before = self.cpu_ns()
        self.assertEqual(self.ask(data), (PARAMS, b""))
        return self.cpu_ns() - before

    def test_colliding_keys_cost_what_others_cost(self):
        attack, other = request(keys(KEYS, OLD_SEED)), request(keys(KEYS, 0))
        self.assertEqual(len(attack), len(other))
        costs = [(self.cost(attack), self.cost(other)) for _ in range(5)]
        best = [min(c[i] for c in costs) / 1e6 for i in (0, 1)]
        print("main's CPU time: attack %.1f ms, other keys %.1f ms" % tuple(best), flush=True)
        self.assertLess(best[0], 3 * best[1])

    def test_an_object_of_many_members_is_refused_where_anybody_may_ask(self):
        """With at most 256 members in an object, collisions under any seed cost little."""
        few, many = request(keys(256, 0)), request(keys(257, 0))
        self.assertEqual(self.ask(few, ".ro")[0], PARAMS)
        self.assertEqual(self.ask(many, ".ro")[0], INVALID)
        self.assertEqual(self.ask(many)[0], PARAMS)
        nested = b'{"jsonrpc":"2.0","id":1,"method":"system.info","params":{"a":[{},{"b":{%s}}]}}\n'
        for count, code in ((256, PARAMS), (257, INVALID)):
            self.assertEqual(self.ask(nested % b",".join(b'"%s":{}' % k for k in keys(count, 0)), ".ro")[0], code)
        # colons in strings do not count as members, and each object has its own count
        self.assertEqual(self.ask(request([b"a:\\\":%d" % i for i in range(200)]), ".ro")[0], PARAMS)
        batch = b"[" + b",".join(few.strip() for _ in range(20)) + b"]\n"
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(WAIT_S)
            s.connect(self.keel.path + ".ro")
            s.sendall(batch)
            self.assertEqual([a["error"]["code"] for a in json.loads(s.makefile("rb").readline())], [PARAMS] * 20)

    def test_a_long_line_is_refused_where_anybody_may_ask(self):
        for length, code in ((256 << 10, PARSE), ((256 << 10) + 1, INVALID)):
            self.assertEqual(self.ask(b"x" * length + b"\n", ".ro")[0], code)


if __name__ == "__main__":
    keel_rig.main()
