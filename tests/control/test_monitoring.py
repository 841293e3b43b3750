#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What monitoring sees: labels, causes and the process in GET /metrics, /healthz and /readyz, alert rules and dashboards. Faults are made at a keeld in
a namespace, its page becomes the series of `promtool test rules`, and exactly the alert of the fault fires. Needs root and promtool (package
prometheus): else the exit status is 77.

usage: test_monitoring.py KEELD MONITORING-FOLDER
"""
import glob
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

MONITORING = os.path.abspath(sys.argv.pop(2))

import keel_rig  # noqa: E402
from keel_rig import UPDATE, V4, THEM, KeelTest, in_namespace, update_of  # noqa: E402

RULES = os.path.join(MONITORING, "keel.rules.yml")
MINUTES = 30
DOCUMENT = {
    "router": {"asn": 64512, "router_id": "192.0.2.1"}, "management": {"http": "127.0.0.1:9179"},
    "bgp": {"groups": [{"name": "transit", "asn": 64513}],
            "peers": [{"address": THEM, "group": "transit", "description": 'a "fine" \\ peer', "passive": True,
                       "families": {V4: {"import_policy": "accept-all", "export_policy": "accept-all", "max_prefixes": {"limit": 100, "action": "warning"}}}}]}}
# Faults that a namespace cannot make: {alert: {series that differ from those of the healthy router}}
PLANTED = {
    "KeelPeerSlow": {"keel_peer_slow": "1x%d" % MINUTES},
    "KeelTableFull": {'keel_fib_not_installed{instance="r1",vrf="default",family="ipv4-unicast"}': "7x%d" % MINUTES},
    "KeelPortDown": {'keel_port_up{instance="r1",port="east"}': "0x%d" % MINUTES, 'keel_alarms{kind="port"}': "1x%d" % MINUTES},
    "KeelPacketsMissed": {'keel_port_rx_missed_total{instance="r1",port="east"}': "0+7x%d" % MINUTES},
    "KeelThreadStuck": {"keel_thread_late_turns_total": "0x15 1x%d" % MINUTES},
    "KeelKeepalivesLate": {'keel_keepalive_late_seconds{quantile="0.99"': "2x%d" % MINUTES},
    "KeelRpcRefused": {'keel_rpc_calls_total{result="refused"': "0+600x%d" % MINUTES},
    "KeelLogLost": {"keel_log_lines_lost_total": "0+1x%d" % MINUTES},
}
# 0 unless planted: a busy machine changes the series
BUSY = ("keel_thread_late_turns_total", "keel_keepalive_late_seconds")


def names(page):
    return {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}


class Monitoring(KeelTest):
    def setUp(self):
        super().setUp()
        self.start(DOCUMENT)

    def ask(self, path, **headers):
        """(status, text); the status is None where nothing listens."""
        def work():
            try:
                with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:9179" + path, headers=headers), timeout=keel_rig.WAIT_S) as r:
                    return r.status, r.read().decode()
            except urllib.error.HTTPError as e:
                return e.code, e.read().decode()
            except urllib.error.URLError:
                return None, ""
        return in_namespace(self.namespace, work)

    def page(self):
        status, text = self.ask("/metrics", Accept="text/plain;version=0.0.4")
        self.assertEqual(status, 200)
        return text

    def late(self):
        return [a["kind"] for a in self.keel.call("system.info")["alarms"]].count("thread-late")

    def values(self):
        """Without the alarms about late threads: the machine may be busy."""
        found = {}

        def unchanged():
            late = self.late()
            found.update((k, float(v)) for k, v in (line.rsplit(" ", 1) for line in self.page().splitlines() if not line.startswith("#")))
            found['keel_alarms{kind="thread-late"}'] -= late
            return self.late() == late
        self.wait("a page beside which no thread-late alarm changes", unchanged)
        return found

    def value(self, name, *parts):
        found = [v for k, v in self.values().items() if k.startswith(name + "{") and all(p in k for p in parts)]
        return sum(found) if found else None

    def firing(self, before, after, planted=None):
        """The alerts that fire when the page `before` lasts 10 minutes and the page `after` the other 20; `planted`: {start of a series: values}."""
        series = {'up{job="keel",instance="r1"}': "1x%d" % MINUTES}
        for key in sorted(set(before) | set(after)):
            name, labels = key.split("{", 1)
            first, last = ("_" if key not in p else "0" if name in BUSY else "%.9f" % p[key] for p in (before, after))
            series['%s{instance="r1"%s' % (name, labels if labels == "}" else "," + labels)] = "%sx9 %sx%d" % (first, last, MINUTES - 10)
        for start, values in (planted or {}).items():
            found = [k for k in series if k.split("{")[0] == start or all(p in k for p in re.split(r"[{]", start, maxsplit=1))]
            for key in found or [start]:
                series[key] = values
        test = {"rule_files": [RULES], "evaluation_interval": "1m", "tests": [{
            "interval": "1m", "input_series": [{"series": k, "values": v} for k, v in series.items()],
            "promql_expr_test": [{"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "%dm" % m, "exp_samples": []}
                                 for m in range(MINUTES)]}]}
        path = os.path.join(self.folder, "rules.test.yml")
        with open(path, "w") as f:
            json.dump(test, f)
        r = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, timeout=300)
        out = r.stdout + r.stderr
        fired = set(re.findall(r'alertname="(\w+)"', out))
        self.assertEqual(r.returncode == 0, not fired, out)
        return fired

    def test_rules_and_dashboards_name_what_exists(self):
        r = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, timeout=300)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        known = names(self.page())
        known |= {n + s for n in known for s in ("_count", "_info")}
        boards = sorted(glob.glob(os.path.join(MONITORING, "dashboards", "*.json")))
        self.assertEqual([os.path.basename(b) for b in boards], ["fleet.json", "peer.json", "router.json"])
        table = set()
        for name in "http_metrics.c", "http_metrics.def":
            with open(os.path.join(MONITORING, "..", "..", "control", "http", name)) as f:
                table |= set(re.findall(r'[{(]"(keel_\w+)", (?:GAUGE|COUNTER|SUMMARY|INFO)', f.read()))
        for path in boards + [RULES]:
            with open(path) as f:
                used = set(re.findall(r"\bkeel_[a-z0-9_]+", f.read()))
            self.assertGreater(len(used), 8)
            self.assertEqual({u for u in used if u not in known and re.sub("_(total|info)$", "", u) not in table}, set(), path)
        uids = set()
        for path in boards:
            with open(path) as f:
                board = json.load(f)
            uids.add(board["uid"])
            self.assertEqual(len({p["id"] for p in board["panels"]}), len(board["panels"]))
            for p in board["panels"]:
                for t in p["targets"]:
                    expr = t["expr"].replace("$__rate_interval", "5m").replace("$instance", "a").replace("$peer", "b")
                    checked = os.path.join(self.folder, "expr.yml")
                    with open(checked, "w") as f:
                        json.dump({"groups": [{"name": "x", "rules": [{"record": "x", "expr": expr}]}]}, f)
                    r = subprocess.run(["promtool", "check", "rules", checked], capture_output=True, text=True, timeout=300)
                    self.assertEqual(r.returncode, 0, expr + r.stderr)
        self.assertEqual(len(uids), 3)

    def test_labels_causes_process(self):
        s = self.speak()
        labels = 'peer="%s",vrf="default",asn="64513",group="transit",description="a \\"fine\\" \\\\ peer"' % THEM
        self.assertEqual(self.values()["keel_peer_established{%s}" % labels], 1)
        self.assertEqual(self.values()['keel_peer_routes_received{%s,family="%s"}' % (labels, V4)], 0)
        s.send(UPDATE, update_of(V4, "192.0.2.99", (64513, 64512), bytes([24, 20, 0, 0])))
        self.wait("the refused route", lambda: self.value("keel_peer_refused_total", 'family="%s",cause="as-loop"' % V4, labels) == 1)
        self.assertEqual(self.value("keel_peer_prefix_limit", labels), 100)
        self.assertIsNone(self.value("keel_peer_session_ends_total"))
        for count in (1, 2):
            s.close()
            self.wait("the end", lambda: self.value("keel_peer_established") == 0)
            self.assertEqual(self.value("keel_peer_session_ends_total", 'cause="lost connection-closed"'), count)
            s = self.speak()
        self.keel.call("bgp.reset", {"family": V4, "scope": "all", "force": True})
        self.assertEqual(self.value("keel_peer_session_ends_total", 'cause="sent cease/administrative-reset"', labels), 1)
        s = self.speak()
        s.send(keel_rig.NOTIFICATION, b"\x06\x02")
        self.wait("the end", lambda: self.value("keel_peer_session_ends_total", 'cause="received cease/administrative-shutdown"') == 1)
        pid = self.keel.call("system.info")["pid"]
        v = self.values()
        self.assertAlmostEqual(v["keel_process_open_fds{}"], len(os.listdir("/proc/%d/fd" % pid)), delta=2)
        self.assertGreater(v["keel_process_resident_memory_bytes{}"], 1 << 20)
        self.assertGreater(v["keel_process_cpu_seconds_total{}"], 0)
        self.keel.commit({"bgp": {"max_paths": 2}})
        self.assertEqual(self.values()["keel_commits_total{}"], v["keel_commits_total{}"] + 1)
        self.keel.answer("no.such.method")
        after = self.values()
        self.assertEqual(after['keel_rpc_calls_total{result="refused"}'], v['keel_rpc_calls_total{result="refused"}'] + 1)
        self.assertGreater(after['keel_rpc_calls_total{result="answered"}'], v['keel_rpc_calls_total{result="answered"}'])

    def test_health(self):
        self.assertEqual([self.ask(p) for p in ("/healthz", "/readyz")], [(200, "ok\n")] * 2)
        self.assertEqual(self.ask("/healthy")[0], 404)

    def test_alerts_fire_for_their_faults(self):
        s = self.speak()
        good = self.values()
        self.assertEqual(self.firing(good, good), set())
        for alert, planted in PLANTED.items():
            self.assertEqual(self.firing(good, good, planted), {alert})
        s.send(UPDATE, update_of(V4, "192.0.2.99", (64513, 64512), bytes([24, 20, 0, 0])))
        self.wait("the loop", lambda: self.value("keel_peer_refused_total", 'cause="as-loop"') == 1)
        self.assertEqual(self.firing(good, self.values()), set())
        s.send(UPDATE, update_of(V4, "192.0.2.99", (64600, 64513), bytes([24, 20, 0, 0])))
        self.wait("the refused route", lambda: self.value("keel_peer_refused_total", 'cause="first-as"') == 1)
        self.assertEqual(self.firing(good, self.values()), {"KeelRoutesRefused", "KeelAlarm"})
        self.assertEqual(self.firing(self.values(), self.values()) - {"KeelAlarm"}, set())  # routes that were refused before
        s.close()
        self.wait("the end", lambda: self.value("keel_peer_established") == 0)
        down = self.values()
        self.assertEqual(self.firing(down, dict(down, **{"keel_alarms{}": 0})) - {"KeelAlarm"}, {"KeelSessionDown"})

    def test_every_alert_has_a_test(self):
        """keel.rules.test.yml, which is installed beside the rules: before its fault each alert is silent, and after its fault no other fires."""
        tests = RULES.replace(".rules.yml", ".rules.test.yml")
        r = subprocess.run(["promtool", "test", "rules", tests], capture_output=True, text=True, timeout=300)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        with open(RULES) as f, open(tests) as g:
            alerts, tested = re.findall(r"- alert: (\w+)", f.read()), re.findall(r"- name: '(\w+):", g.read())
        self.assertEqual(sorted(alerts), sorted(tested))

    def test_alerts_of_sessions_and_routes(self):
        s = self.speak()
        good = self.values()
        for _ in range(3):
            s.close()
            self.wait("the end", lambda: self.value("keel_peer_established") == 0)
            s = self.speak()
        self.assertEqual(self.firing(good, self.values()), {"KeelSessionFlaps"})
        nlri = [bytes([24, 20, 0, i]) for i in range(50)]
        s.send(UPDATE, update_of(V4, "192.0.2.99", (64513,), b"".join(nlri)))
        self.wait("the routes and their next hop", lambda: self.value("keel_peer_routes_accepted") == 50 and not self.value("keel_peer_routes_unusable", 'cause="next-hop"'))
        before = self.values()
        s.send(UPDATE, keel_rig.withdrawal_of(V4, b"".join(nlri[:20])))
        self.wait("the withdrawal", lambda: self.value("keel_peer_routes_accepted") == 30)
        self.assertEqual(self.firing(before, self.values()), set())  # a session that is young loads its table
        self.assertEqual(self.firing(before, self.values(), {"keel_peer_uptime_seconds": "3600+60x%d" % MINUTES}), {"KeelRoutesVanish"})

    def test_alert_of_the_next_hop(self):
        """Routes that wait for their next hop are a state: fewer of them are no refusal."""
        s, nlri = self.speak(), [bytes([24, 20, 0, i]) for i in range(50)]
        good = self.values()
        for announced in (50, 30):
            before = self.values()
            s.send(UPDATE, update_of(V4, "203.0.113.9", (64513,), b"".join(nlri)) if announced == 50 else keel_rig.withdrawal_of(V4, b"".join(nlri[:20])))
            self.wait("the routes", lambda n=announced: self.value("keel_peer_routes_unusable", 'cause="next-hop"') == n)
            self.wait("the alarm", lambda: self.value("keel_alarms") == 1)
            self.assertEqual(self.firing(before, self.values()), {"KeelRoutesUnusable", "KeelAlarm"})
        self.assertEqual(self.firing(self.values(), good) - {"KeelRoutesUnusable", "KeelAlarm"}, set())

    def test_alerts_of_the_process(self):
        self.speak()
        good, pid = self.values(), self.keel.call("system.info")["pid"]
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (int(good["keel_process_open_fds{}"]) + 4, limits[1]))
        short = self.values()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual(self.firing(good, short), {"KeelDescriptorsShort"})
        self.keel.commit({"rpki": {"caches": [{"address": "127.0.0.1", "port": 8282}]}})
        self.wait("the alarm", lambda: self.value("keel_alarms") == 1)
        self.assertEqual(self.firing(good, self.values()), {"KeelRpkiCacheDown", "KeelAlarm"})
        self.keel.stop()
        self.assertEqual(self.ask("/metrics")[0], None)
        self.assertEqual(self.firing(good, {}, {'up{job="keel",instance="r1"}': "1x9 0x%d" % (MINUTES - 10)}), {"KeelDown"})
        self.keel.start()

    def test_alert_of_the_limit(self):
        s = self.speak()
        s.send(UPDATE, update_of(V4, "192.0.2.99", (64513,), b"".join(bytes([24, 20, 0, i]) for i in range(99))))
        self.wait("the routes", lambda: self.value("keel_peer_routes_received") == 99)
        self.wait("the alarm", lambda: self.value("keel_alarms") == 1)
        self.assertEqual(self.firing(self.values(), self.values()), {"KeelPrefixLimit", "KeelAlarm"})


if __name__ == "__main__":
    if shutil.which("promtool") is None:
        print("promtool is missing")
        sys.exit(77)
    keel_rig.main()
