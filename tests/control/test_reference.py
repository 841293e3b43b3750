#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The reference against a running keeld without a data plane: every answer, error and event fits the OpenRPC document of rpc.discover, and
/metrics is well-formed in both formats. Needs root (a network namespace), python3-jsonschema, python3-prometheus-client and
promtool; else the exit status is 77.

usage: test_reference.py KEELD
"""
import http.client
import os
import re
import shutil
import subprocess
import time

import keel_rig
from keel_rig import THEM, US, V4, V6, WAIT_S, KeelTest, in_namespace

try:
    from openrpc import OpenRpc
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    OpenRpc = None
PORT = 9179
ROUTE = {"prefix": "20.0.0.0/24", "as_path": "64513", "next_hop": THEM, "communities": ["64512:7"], "peer": THEM, "tag": 3}
SCOPE = {"family": V4, "scope": "peer", "peer": THEM}


def document(policy):
    return {
        "router": {"asn": 64512, "router_id": US}, "management": {"http": "127.0.0.1:%d" % PORT},
        "route_policies": [{"name": "in", "nodes": [
            {"seq": 10, "action": "permit", "match": {}, "set": {"local_pref": policy, "communities": {"add": ["64512:7"]},
                                                                 "large_communities": {"add": ["1:2:3"]}, "med": 5}}]}],
        "bgp": {"networks": [{"prefix": "198.51.100.0/24"}], "groups": [{"name": "g"}],
                "peers": [{"address": THEM, "asn": 64513, "group": "g", "description": "a test", "families": {
                    f: {"import_policy": "in", "export_policy": "accept-all", "keep_all_routes": f == V4,
                        "max_prefixes": {"limit": 100, "action": "shutdown", "restart_s": 60}} for f in (V4, V6)}}]}}


class Reference(KeelTest):
    def setUp(self):
        super().setUp()
        self.start(document(100))
        self.rpc = OpenRpc(self.keel.call("rpc.discover"))

    def valid(self, method, params=None, good=True):
        a = self.keel.answer(method, params)
        self.assertEqual(self.rpc.answer(method, a), [], a)
        self.assertEqual("result" in a, good, (method, params, a))
        return a.get("result")

    def test_the_document_describes_everything(self):
        self.assertEqual(self.rpc.faults(), [])
        peers = self.rpc.methods["bgp.peers"]["result"]["schema"]["properties"]["peers"]["items"]["properties"]
        del peers["asn"]["description"]
        self.assertEqual(self.rpc.faults(), ["bgp.peers/peers/*/asn"])  # the check can fail

    def test_answers_and_events(self):
        events = self.keel.notifications("commit", "session", "refresh", "alarm", "trace")
        speaker = self.speak()
        speaker.announce("20.0.0.0", "21.0.0.0")
        self.wait_routes(2)
        for method, params in (
                ("system.info", {}), ("system.health", {}), ("system.health", {"ready": True}), ("config.get", {}), ("config.get", {"source": "startup", "path": "/bgp"}), ("config.validate", {}),
                ("config.history", {}), ("config.diff", {}), ("control.stats", {}), ("bgp.peers", {}), ("bgp.peers", {"limit": 1}),
                ("bgp.faults", {"peer": THEM}), ("rib.routes", {"family": V4, "view": "loc"}),
                ("rib.routes", {"family": V4, "view": "adj-in-pre", "peer": THEM}), ("rib.routes", {"family": V4, "view": "adj-out", "peer": THEM}),
                ("rib.routes", {"family": V4, "view": "loc", "prefix": "20.0.0.0/24"}), ("rib.routes", {"family": V4, "view": "loc", "limit": 1}),
                ("rib.lookup", {"family": V4, "address": "20.0.0.1"}), ("rib.lookup", {"family": V4, "address": "1.1.1.1"}),
                ("rib.fate", {"family": V4, "prefix": "20.0.0.0/24"}), ("rib.history", {"family": V4, "prefix": "20.0.0.0/24"}), ("trace.start", {"peer": THEM, "seconds": 60}), ("trace.stop", {"trace": 1}), ("rpki.summary", {}), ("bmp.summary", {}), ("mrt.summary", {}), ("mrt.dump", {"file": "table.mrt"}),
                ("rib.summary", {}), ("policy.test", {"policy": "in", "route": ROUTE}), ("policy.test", {"policy": "deny-all", "route": ROUTE}),
                ("policy.list", {}), ("policy.list", {"policy": "in"}),
                ("bgp.refresh.preview", dict(SCOPE, direction="import")), ("bgp.refresh.preview", dict(SCOPE, direction="export")),
                ("jobs.list", {}), ("events.subscribe", {"topics": []}), ("events.unsubscribe", {}), ("rpc.discover", {}),
                ("control.stats.reset", {}), ("config.edit", {"merge": {
                    "route_policies": document(200)["route_policies"], "vrfs": [{"name": "red", "rd": "64512:1", "import_targets": ["64512:1"]}]}}),
                ("config.diff", {}), ("config.candidates", {}), ("config.resolve", {"keep": "mine"}),
                ("bgp.refresh.preview", {"candidate": True}), ("config.commit", {"comment": "a", "confirm_s": 60}),
                ("vrf.list", {}), ("audit.list", {"limit": 5}), ("config.history", {}), ("config.history", {"id": 1}), ("config.confirm", {}), ("config.commit", {}), ("config.edit", {"patch": []}), ("config.discard", {}),
                ("config.reload", {})):
            self.valid(method, params)
        job = self.valid("bgp.refresh", dict(SCOPE, direction="export"))["job"]
        self.valid("jobs.get", {"id": job})
        self.valid("bgp.refresh", dict(SCOPE, direction="import"))
        self.valid("config.rollback", {"to": self.keel.call("config.history")["commits"][0]["id"]})
        self.valid("bgp.reset", dict(SCOPE, text="a test"))
        self.valid("bgp.reset", dict(SCOPE, force=True))
        self.errors()
        self.assertEqual(set(self.rpc.methods) - self.rpc.seen, {m for m in self.rpc.methods if m.startswith(("fib.", "dataplane."))},
                         "methods that no case of this test calls")
        while {"commit", "session", "refresh", "trace"} - self.rpc.topics:
            self.assertEqual(self.rpc.event(next(events)), [])
        self.assertEqual(len(self.rpc.result("jobs.list", {"jobs": [], "more": 1})), 1)  # the check can fail

    def test_columns(self):
        """Rows have the values of the routes, in the order of the columns; null where a route has no such key."""
        speaker = self.speak()
        speaker.announce("20.0.0.0", "21.0.0.0")
        self.wait_routes(2)
        keys = [k for k in self.rpc.methods["rib.routes"]["result"]["schema"]["properties"]["routes"]["items"]["properties"] if k != "age_s"]
        for view in ({"view": "loc"}, {"view": "adj-in", "peer": THEM}, {"view": "adj-in-pre", "peer": THEM}, {"view": "adj-out", "peer": THEM}):
            params = dict(view, family=V4)
            routes = self.valid("rib.routes", params)["routes"]
            answer = self.valid("rib.routes", dict(params, columns=keys[::-1]))
            self.assertEqual((len(routes) > 0, answer["routes"]), (True, []))
            self.assertEqual(answer["rows"], [[r.get(k) for k in keys[::-1]] for r in routes])
        self.assertEqual([len(r) for r in self.valid("rib.routes", {"family": V4, "view": "loc", "columns": ["age_s"]})["rows"]], [1, 1, 1])
        for columns, where in (([], "/columns"), (["prefix"] * 33, "/columns"), ("prefix", "/columns"), (["prefix", "colour"], "/columns/1"), ([1], "/columns/0")):
            error = self.keel.answer("rib.routes", {"family": V4, "view": "loc", "columns": columns})["error"]
            self.assertEqual((error["code"], where in str(error)), (-32602, True), error)

    def errors(self):
        for method, m in self.rpc.methods.items():
            self.valid(method, {"no_such_parameter": 1}, good=False)
            if method.startswith(("fib.", "dataplane.")):
                self.valid(method, {"address": "1.1.1.1"} if method == "fib.lookup" else {}, good=False)
        other = dict(SCOPE, peer="192.0.2.99")
        for method, params in (("bgp.refresh", dict(other, direction="import")), ("bgp.reset", other), ("bgp.faults", {"peer": "192.0.2.99"}),
                               ("bgp.peers", {"group": "none"}), ("jobs.get", {"id": 999}), ("config.rollback", {"to": 999}),
                               ("config.confirm", {}), ("config.get", {"path": "/nothing"}), ("policy.test", {"policy": "none", "route": ROUTE}), ("policy.list", {"policy": "none"}),
                               ("rib.routes", {"family": V6, "view": "adj-in-pre", "peer": THEM}),
                               ("rib.lookup", {"family": V4, "address": "1.1.1.1", "vrf": "none"}),
                               ("vrf.list", {"vrf": "none"}), ("bgp.refresh.preview", dict(other, direction="import"))):
            self.valid(method, params, good=False)
        self.valid("config.edit", {"merge": {"bgp": {"peers": 1}}})
        self.valid("config.commit", {}, good=False)
        self.valid("bgp.refresh.preview", {"candidate": True}, good=False)
        self.valid("config.reload", {}, good=False)
        self.valid("config.discard")

    def test_alarms(self):
        """The event of an alarm, and the alarm in system.info."""
        events = self.keel.notifications("alarm")
        self.keel.commit({"bgp": {"peers": [dict(document(100)["bgp"]["peers"][0], families={
            V4: {"import_policy": "in", "export_policy": "accept-all", "max_prefixes": {"limit": 1, "action": "discard"}}})]}})
        speaker = self.speak()
        speaker.announce("20.0.0.0", "21.0.0.0")
        kinds = set()
        while not {"max-prefixes", "routes-refused"} <= kinds:
            event = next(events)
            self.assertEqual(self.rpc.event(event), [], event)
            kinds.add(event["kind"])
        self.assertEqual({a["kind"] for a in self.valid("system.info")["alarms"]}, {"max-prefixes", "routes-refused"})

    def page(self, accept=None):
        """(Content-Type, text) of GET /metrics."""
        def work():
            h = http.client.HTTPConnection("127.0.0.1", PORT, timeout=WAIT_S)
            h.request("GET", "/metrics", headers={"Accept": accept} if accept is not None else {})
            r = h.getresponse()
            self.assertEqual(r.status, 200)
            return r.getheader("Content-Type"), r.read().decode()
        return in_namespace(self.namespace, work)

    def test_metrics_answer_by_accept(self):
        """RFC 9110 12.5.1"""
        openmetrics, text = "application/openmetrics-text; version=1.0.0; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"
        for accept, kind in ((None, openmetrics), ("*/*", openmetrics), ("text/plain", text), ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", text),
                             ("application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
                              "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", openmetrics),
                             ("Text/Plain ; q=1.0, application/openmetrics-text; q=0.2", text), ("text/html", openmetrics), (";;,, ;q=,q", openmetrics),
                             ("application/openmetrics-text;q=0, */*", text), ("text/plain;q=0", openmetrics),
                             ("text/plain;q=-1, application/openmetrics-text;q=0.001", openmetrics),
                             ("application/openmetrics-text;q=1e30, text/plain;q=0.1", openmetrics),
                             ("text/plain;q=0.5, text/plain;q=0", text), ("text/plain;q=nan", openmetrics), ("text/plain;q=1.", text)):
            got, page = self.page(accept)
            self.assertEqual(got, kind, accept)
            self.assertEqual(page.endswith("\n# EOF\n"), kind == openmetrics, accept)

    def test_metrics_are_well_formed(self):
        speaker = self.speak()
        speaker.announce("20.0.0.0")
        self.wait_routes(1)
        page = self.page("text/plain")[1]
        self.assertEqual(self.promtool(page), (0, ""))
        self.assertIn('keel_peer_routes_received{peer="192.0.2.2",vrf="default",asn="64513",group="g",description="a test",family="ipv4-unicast"} 1\n', page)
        self.assertIn("# TYPE keel_build_info gauge\n", page)
        self.assertIn("no help text", self.promtool(page.replace("# HELP keel_uptime_seconds", "# HELP other"))[1])  # the check can fail
        families = list(text_string_to_metric_families(self.page()[1]))
        self.assertEqual([f.name for f in families if not f.documentation or not f.name.startswith("keel_")], [])
        self.assertEqual({f.name + {"counter": "_total", "info": "_info"}.get(f.type, "") for f in families}, set(re.findall(r"# TYPE (\S+)", page)))

    @staticmethod
    def promtool(page):
        r = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=300)
        return r.returncode, r.stdout + r.stderr

    def wait_routes(self, count):
        end = time.monotonic() + WAIT_S
        while len(self.keel.call("rib.routes", {"family": V4, "view": "adj-in", "peer": THEM})["routes"]) != count:
            assert time.monotonic() < end, "the routes do not come"
            time.sleep(0.02)


if __name__ == "__main__":
    if OpenRpc is None or shutil.which("promtool") is None:
        print("python3-jsonschema, python3-prometheus-client or promtool is missing: run scripts/setup")
        raise SystemExit(77)
    keel_rig.main()
