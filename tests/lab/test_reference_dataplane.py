#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The reference with a data plane: the answers of fib.*, dataplane.* and system.info fit the OpenRPC document of rpc.discover, and /metrics has
every metric of keel-rpc(7). Without a data plane: tests/control/test_reference.py.

    rt (keeld, port p) --- f
"""
import http.client
import os
import re
import subprocess
import sys

import labtest
from labtest import KEELD, ROOT, Lab, in_netns, need, out_folder
from test_management import Events
from test_start import config

sys.path.insert(0, os.path.join(ROOT, "tests", "control"))
try:
    from openrpc import OpenRpc
except ImportError:
    OpenRpc = None

NAME = "reference-dataplane"
HTTP = ("127.0.0.1", 9179)


def page(lab, accept):
    def get():
        c = http.client.HTTPConnection(*HTTP, timeout=60)
        c.request("GET", "/metrics", headers={"Accept": accept})
        return c.getresponse().read().decode()
    return in_netns(lab.netns("rt"), get)


def described():
    """Names of all metrics in the manual."""
    with open(os.path.join(ROOT, "docs", "man", "keel-rpc.7")) as f:
        return set(re.findall(r"^\.It Ic (keel_\w+)$", f.read(), re.M))


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        for h in ("rt", "f"):
            lab.host(h)
        lab.link("f", "up", "198.18.1.2/24", "rt", "p", None)
        document = dict(config(), management={"http": "%s:%d" % HTTP}, static_routes=[{"prefix": "203.0.113.0/24", "next_hop": "198.18.1.2"}],
                        bgp={"peers": [{"address": "198.18.1.2", "asn": 64513, "passive": True}]})
        daemon, rpc = lab.keeld("rt", document, KEELD)
        lab.sh("f", "ping -c 3 -i 0.2 198.18.1.1")
        reference = OpenRpc(rpc.call("rpc.discover"))
        for method, params in (("system.info", {}), ("fib.lookup", {"address": "203.0.113.1"}), ("fib.lookup", {"address": "198.18.1.2"}),
                               ("fib.lookup", {"address": "198.18.1.1"}), ("fib.lookup", {"address": "192.0.2.1"}), ("fib.stats", {}),
                               ("fib.audit", {}), ("fib.audit", {"wait": False}), ("jobs.list", {}), ("dataplane.neighbors", {}),
                               ("dataplane.stats", {}), ("dataplane.stats.reset", {})):
            checks.equal("%s %s fits the document" % (method, params), reference.result(method, rpc.call(method, **params)), [])
        events = Events(os.path.join(lab.dir, "keeld.sock"), "fib")
        rpc.call("config.edit", patch=[{"op": "remove", "path": "/static_routes/0"}])
        rpc.call("config.commit")
        checks.equal("an event of the topic fib fits the document", reference.event(events.line(20)["params"]), [])
        wrong = dict(rpc.call("fib.stats"), planted=1)
        checks.equal("(the check can fail)", len(reference.result("fib.stats", wrong)), 1)
        text = page(lab, "text/plain")
        r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        checks.equal("promtool check metrics", (r.returncode, r.stdout + r.stderr), (0, ""))
        checks.equal("/metrics and the manual name the same metrics", set(re.findall(r"^# TYPE (\S+)", text, re.M)) ^ described(), set())
        rpc.close()
        checks.equal("it stops in order", daemon.stop(), 0)


if __name__ == "__main__":
    if OpenRpc is None:
        print("python3-jsonschema is missing: run scripts/setup")
        raise SystemExit(77)
    need("ip", "ethtool", "ping", "promtool", files=[KEELD])
    raise SystemExit(labtest.main(test))
