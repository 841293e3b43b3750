#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A policy file: a changed file is applied by a commit without edits and by a reload, faults refuse both, policy.test names the line."""
import os
import subprocess
import sys

import labtest
from labtest import FEED, KEELCTL, KEELD, V4, Lab, error_of, need, out_folder, peer, routes, wait_established

NAME = "policy_text"
PREFIXES = 2000
TEXT = """define low = [0.0.0.0/0{0,32}];
function prefer(n) { local_pref = n; }
policy in {
  prefer(%d);
  if net ~ low and peer.asn = 64601 and peer.group = "feeds" then accept;
}
"""


def preferences(rpc):
    """{local-pref: routes}"""
    out = {}
    for r in routes(rpc, view="loc"):
        out[r["local_pref"]] = out.get(r["local_pref"], 0) + 1
    return out


def test(checks):
    folder = out_folder(NAME)
    path = os.path.join(folder, "in.policy")

    def write(text):
        with open(path, "w") as f:
            f.write(text)

    write(TEXT % 110)
    with Lab(folder) as lab:
        def ctl(*words):
            return subprocess.run([KEELCTL, "--socket", lab.path("keeld.sock"), *words], capture_output=True, text=True, timeout=60, check=True).stdout

        for h in ("rt", "f"):
            lab.host(h)
        lab.link("f", "up", "198.18.1.2/24", "rt", "f", "198.18.1.1/24")
        _, rpc = lab.keeld("rt", {
            "router": {"asn": 64512, "router_id": "198.18.1.1"},
            "policy_files": [path],
            "route_policies": [{"name": "at", "nodes": [{"seq": 10, "action": "permit", "call": "in"}]}],
            "bgp": {"groups": [{"name": "feeds", "families": {V4: {"import_policy": "in", "export_policy": "deny-all"}}}],
                    "peers": [{"address": "198.18.1.2", "asn": 64601, "group": "feeds", "enforce_first_as": False}]},
        }, KEELD, args=["--no-dataplane"])
        lab.spawn("feed", "f", [FEED, "--count", str(PREFIXES), "--connect", "198.18.1.1", "--source", "198.18.1.2", "--asn", "64601",
                                "--peer-asn", "64512"], lines=True)
        wait_established(rpc, "198.18.1.2")
        checks.comes_to("the table", lambda: preferences(rpc), {110: PREFIXES})
        checks.equal("a commit of nothing", rpc.call("config.commit")["commit"], None)
        write(TEXT % 120)
        checks.true("a commit of a changed file", rpc.call("config.commit")["commit"] is not None)
        checks.comes_to("the table by the changed file", lambda: preferences(rpc), {120: PREFIXES})
        write("# a comment\n" + TEXT % 130)
        checks.true("a reload of a changed file", rpc.call("config.reload")["commit"] is not None)
        checks.comes_to("the table after the reload", lambda: preferences(rpc), {130: PREFIXES})
        tested = rpc.call("policy.test", policy="in", route={"prefix": "192.0.2.0/24", "peer": "198.18.1.2"})
        checks.equal("the verdict and its line", [tested["result"], tested.get("line")], ["permit", path + ":6:3"])
        tested = rpc.call("policy.test", policy="in", route={"prefix": "192.0.2.0/24", "peer": "198.18.1.9"})
        checks.equal("the end of the policy", [tested["result"], tested.get("line")], ["deny", path + ":7:1"])
        shown = ctl("show", "policy", "in")
        checks.true("show policy: %s" % shown, shown.startswith("in  %s:4:1\n  policy in {\n    prefer(130);\n" % path) and
                    "  used by group feeds, %s import\n" % V4 in shown)
        every = ctl("show", "policy")
        checks.true("show policy of all: %s" % every, "at\n     10  permit, as policy in accepts  everything\n" in every and shown in every)
        checks.equal("policy.list", [(p["name"], p.get("line")) for p in rpc.call("policy.list")["policies"]],
                     [("accept-all", None), ("deny-all", None), ("in", path + ":4:1"), ("at", None)])
        for address, result in (("198.18.1.2", ["permit", 10, None]), ("198.18.1.9", ["deny", 10, path + ":7:1"])):
            tested = rpc.call("policy.test", policy="at", route={"prefix": "192.0.2.0/24", "peer": address})
            checks.equal("a policy of the document that calls", [tested["result"], tested["node"], tested.get("line")], result)
        write("policy in {\n  if net ~ lo then accept;\n}\n")
        faults = error_of(rpc, "config.commit")
        checks.true("a fault with its place: %s" % faults, path + ":2:12" in str(faults))
        checks.equal("the table stays", preferences(rpc), {130: PREFIXES})
        history = rpc.call("config.history")
        checks.true("hashes in the history: %s" % history, path in str(history))
        with open(path) as f:
            checks.true("the file stays as it was written", f.read().startswith("policy in {"))
        checks.equal("the session never dropped", peer(rpc, "198.18.1.2")["established_count"], 1)


if __name__ == "__main__":
    need("ip", files=(KEELD, KEELCTL, FEED))
    sys.exit(labtest.main(test))
