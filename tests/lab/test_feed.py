#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""tests/bench/feed as a peer: the feed answers ROUTE-REFRESH with its announced routes, so that policy changes take effect on a fed router."""
import sys

import labtest
from labtest import FEED, KEELD, V4, Lab, commit, need, out_folder, peer, routes, wait_established

NAME = "feed"
PREFIXES = 3000


def preferences(rpc):
    """{local-pref: routes}"""
    out = {}
    for r in routes(rpc, view="loc"):
        out[r["local_pref"]] = out.get(r["local_pref"], 0) + 1
    return out


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        for h in ("rt", "f"):
            lab.host(h)
        lab.link("f", "up", "198.18.1.2/24", "rt", "f", "198.18.1.1/24")
        _, rpc = lab.keeld("rt", {
            "router": {"asn": 64512, "router_id": "198.18.1.1"},
            "route_policies": [{"name": "in", "nodes": [{"seq": 10, "action": "permit", "match": {}, "set": {"local_pref": 100}}]}],
            "bgp": {"peers": [{"address": "198.18.1.2", "asn": 64601, "enforce_first_as": False, "families": {V4: {"import_policy": "in", "export_policy": "deny-all"}}}]},
        }, KEELD, args=["--no-dataplane"])
        feed = lab.spawn("feed", "f", [FEED, "--count", str(PREFIXES), "--connect", "198.18.1.1", "--source", "198.18.1.2", "--asn", "64601",
                                       "--peer-asn", "64512"], lines=True)
        wait_established(rpc, "198.18.1.2")
        checks.comes_to("the table", lambda: preferences(rpc), {100: PREFIXES})
        commit(rpc, [{"op": "replace", "path": "/route_policies/0/nodes/0/set/local_pref", "value": 200}])
        checks.comes_to("the table by the new policy", lambda: preferences(rpc), {200: PREFIXES})
        feed.say("withdraw 10 3")
        left = PREFIXES - PREFIXES // 10
        checks.comes_to("without a tenth", lambda: preferences(rpc), {200: left})
        # Requests during an answer are joined into the next answer: the last policy holds.
        for value in range(300, 310):
            commit(rpc, [{"op": "replace", "path": "/route_policies/0/nodes/0/set/local_pref", "value": value}])
        checks.comes_to("the last of ten policies, and nothing withdrawn came back", lambda: preferences(rpc), {309: left})
        feed.say("announce 10 3")
        checks.comes_to("all again", lambda: preferences(rpc), {309: PREFIXES})
        checks.equal("the session never dropped", peer(rpc, "198.18.1.2")["established_count"], 1)


if __name__ == "__main__":
    need("ip", files=(KEELD, FEED))
    sys.exit(labtest.main(test))
