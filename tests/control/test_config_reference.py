#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The reference of the configuration against a real keeld: the examples of the manual pages are accepted (also by the schema), an example with a
planted fault is refused, and a change of each key has the documented effect. Needs root (a network namespace); else the exit status is 77.

usage: test_config_reference.py KEELD
"""
import json
import os
import re
import shutil
import subprocess
import sys

import keel_rig
from keel_rig import KEELD, US, WAIT_S, KeelTest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["docs/man/keel.json.5", "docs/man/keel-policy.7"]
sys.path.insert(0, os.path.join(ROOT, "scripts", "reference.d"))
import config  # noqa: E402
from tree import Tree  # noqa: E402

EXTERNAL, INTERNAL = "192.0.2.2", "192.0.2.3"
FAMILY = "families/ipv4-unicast/"
# A new value for each key of a session that needs a special one: table -> key -> (place below the peer, value, peer).
PEER = {
    "shared_peer_keys": {
        "asn": 64514, "description": "text", "source": US, "link_sensitive": False, "password": "secret", "local_as": 64600,
        "route_reflector_client": (True, INTERNAL), "role": "peer"},
    "graceful_shutdown_keys": {},
    "peer_keys": {"address": "192.0.2.50", "port": 180, "group": "g", "vrf": "default"},
    "capability_keys": {},
    "timer_keys": {"hold_s": 60, "keepalive_s": 5, "connect_retry_s": 20, "idle_hold_s": 2, "open_sent_hold_s": 60, "send_hold_s": 100,
                   "min_advertisement_s": 1, "stale_refresh_s": 60, "long_lived_stale_time": 3600},
    "family_keys": {
        "enabled": False, "import_policy": "deny-all", "export_policy": "deny-all", "next_hop_self": (True, INTERNAL), "next_hop_unchanged": True,
        "send_communities": False, "keep_all_routes": True, "remove_private_as": True, "allow_as_in": 2, "as_override": True,
        "default_originate": True, "site_of_origin": "soo:64512:1"},
    "max_prefixes_out_keys": {"limit": 99, "action": "shutdown", "threshold_percent": 50},
    "blackhole_keys": {"prefix_list": "other", "min_length": 30, "community": "no-advertise"},
    "max_prefixes_keys": {"limit": 99, "action": "warning", "threshold_percent": 50, "restart_s": 5},
}
PLACES = {"capability_keys": "capabilities/", "timer_keys": "timers/", "family_keys": FAMILY, "max_prefixes_keys": FAMILY + "max_prefixes/",
          "max_prefixes_out_keys": FAMILY + "max_prefixes_out/", "blackhole_keys": FAMILY + "blackhole/", "graceful_shutdown_keys": "graceful_shutdown/"}
# A new value for each key of the router: table -> (place, {key: value}).
ROUTER = {
    "router_keys": ("/router/", {"asn": 64599, "router_id": "192.0.2.99"}),
    "management_keys": ("/management/", {"socket": "/tmp/other.sock", "http": "127.0.0.1:9180", "http_token_file": "/tmp/token", "output_dir": "/tmp/keel-output", "hostname": "edge-1"}),
    "dataplane_keys": ("/dataplane/", {"worker_cpus": [7], "control_cpus": [0], "rib_threads": 2, "memory_mb": 2048, "eal_args": ["--x"], "ecmp_key": 4294967295,
                                        "mpls_pipe": True, "idle": "adaptive", "forward_source_routes": True, "policing": {"icmp": 5}}),
    "policing_keys": ("/dataplane/policing", {k: {k: 7} for k in ("bgp_peers", "neighbors", "bgp_others", "icmp", "others")}),
    "vrf_keys": ("/vrfs", {
        "name": [{"name": "red"}], "rd": [{"name": "red", "rd": "64512:1"}], "import_targets": [{"name": "red", "import_targets": ["64512:1"]}],
        "export_targets": [{"name": "red", "rd": "64512:1", "export_targets": ["64512:1"]}],
        "import_policy": [{"name": "red", "import_policy": "accept-all"}], "export_policy": [{"name": "red", "export_policy": "accept-all"}],
        "label_mode": [{"name": "red", "label_mode": "per-vrf"}]}),
    "max_routes_keys": ("/vrfs", {"limit": [{"name": "red", "max_routes": {"limit": 5}}],
                                  "action": [{"name": "red", "max_routes": {"limit": 5, "action": "warning"}}]}),
    "port_keys": ("/ports/0/", {"name": "other", "device": "net_null7", "vrf": None, "mtu": 1400, "addresses": ["198.51.100.1/24"], "mpls": True, "queues": 1, "queue_workers": [0],
                                 "parent": ("/ports/2/", "far"), "vlan": ("/ports/2/", 6)}),
    "bgp_keys": ("/bgp/", {"policy_change_delay_s": 5, "policy_change_max_delay_s": 60, "commit_hold_s": 5, "next_hop_tracking": False,
                           "resolve_via_default": True, "max_paths": 2, "graceful_shutdown": True, "max_as_path_length": 100, "tombstones_max": 5000,
                           "cluster_id": "192.0.2.99", "listen_limit": 5}),
}


def other_value(key):
    """Of a boolean or an integer that the tables above do not have: another value than the default."""
    return not key.default if key.schema == {"type": "boolean"} else key.schema.get("minimum", 0) + 1


def unescaped(line):
    return re.sub(r"^\\&", "", line).replace("\\e", "\\")


def examples():
    """[(page, document)] of the blocks after an @example line."""
    found = []
    for page in PAGES:
        text = Tree(ROOT).text(page)
        for block in re.findall(r'^\.\\" @example\n\.Bd -literal[^\n]*\n(.*?)^\.Ed$', text, re.S | re.M):
            found.append((page, json.loads("\n".join(unescaped(line) for line in block.split("\n")))))
    return found


class ConfigReference(KeelTest):
    def check(self, document):
        path = os.path.join(self.folder, "example.json")
        with open(path, "w") as f:
            json.dump(document, f)
        p = subprocess.run([KEELD, "-c", path, "--check", "--no-dataplane"], capture_output=True, text=True, timeout=WAIT_S)
        return p.returncode, p.stderr

    def test_examples(self):
        found = examples()
        self.assertEqual([sum(page == p for p, _ in found) for page in PAGES], [4, 3])
        for page, document in found:
            with self.subTest(page=page, document=document):
                self.assertEqual(self.check(document), (0, ""))
                status, said = self.check(dict(document, planted=1))
                self.assertEqual(status, 2)
                self.assertIn("/planted: ", said)

    def test_schema(self):
        """The schema accepts the examples, and refuses each with a planted fault."""
        try:
            import jsonschema
        except ImportError:
            self.skipTest("python3-jsonschema is not installed")
        schema = json.loads(Tree(ROOT).text(config.SCHEMA))
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        for page, document in examples():
            with self.subTest(page=page, document=document):
                self.assertEqual([e.message for e in validator.iter_errors(document)], [])
                for planted in ({"planted": 1}, {"router": {"asn": 0, "router_id": US}}, {"bgp": {"max_paths": 65}}):
                    self.assertFalse(validator.is_valid(dict(document, **planted)), planted)

    def test_pages(self):
        """No warnings; references to pages of this repository may be missing."""
        if shutil.which("mandoc") is None:
            self.skipTest("mandoc is not installed")

        def lint(text):
            p = subprocess.run(["mandoc", "-T", "lint", "-W", "all"], input=text, capture_output=True, text=True, timeout=WAIT_S)
            return [line for line in p.stdout.splitlines() if "referenced manual not found" not in line]
        for page in PAGES:
            text = Tree(ROOT).text(page)
            self.assertEqual(lint(text), [], page)
            self.assertNotEqual(lint(text.replace(".El", ".Ed", 1)), [], page)

    def effects(self, operations):
        """The effects of a commit of the operations; None: refused, or saved for the next start, because the key is read only at start."""
        self.keel.call("config.discard")
        self.keel.call("config.edit", {"patch": operations})
        answer, valid = self.keel.answer("bgp.refresh.preview", {"candidate": True}), self.keel.call("config.validate")
        self.keel.call("config.discard")
        if "error" in answer:
            self.assertIn("restart", json.dumps(answer["error"]), (operations, answer))
            return None
        return None if valid["restart_required"] else answer["result"]["effects"]

    def assert_effect(self, key, operations, address):
        effects = self.effects(operations)
        name = "%s of %s: %s, %s" % (key.name, key.table, key.effect, effects)
        self.assertEqual(effects is None, key.effect == "restart", name)
        mine = [e for e in effects or [] if address is None or e["address"] == address]
        kinds = {(e["direction"], e["effect"]) for e in mine if e["effect"] != "none" and e["direction"]}
        resets = {k for k in kinds if k[1] == "session-reset"}
        self.assertEqual(bool(resets), key.effect == "reset", name)
        routes = {direction for direction, _ in kinds - resets}
        if key.effect in ("import", "export"):
            self.assertIn(key.effect, routes, name)
        else:
            self.assertEqual(routes, set(), name)

    def test_effects(self):
        family = {"import_policy": "accept-all", "export_policy": "accept-all", "max_prefixes": {"limit": 1000},
                  "max_prefixes_out": {"limit": 1000}}
        both = {"ipv4-unicast": family, "ipv6-unicast": dict(family)}
        external = dict(both, **{"ipv4-unicast": dict(family, blackhole={"prefix_list": "one"})})
        self.start({
            "router": {"asn": 64512, "router_id": US}, "management": {"socket": os.path.join(self.folder, "keel.sock")}, "dataplane": {},
            "ports": [{"name": "east", "device": "net_null0"}, {"name": "west", "device": "net_null1"}, {"name": "tagged", "parent": "west", "vlan": 5},
                      {"name": "far", "device": "net_null2"}],
            "prefix_lists": [{"name": "one", "entries": []}, {"name": "other", "entries": []}],
            "bgp": {"groups": [{"name": "g"}],
                    "peers": [{"address": EXTERNAL, "asn": 64513, "capabilities": {}, "timers": {}, "graceful_shutdown": {}, "families": external},
                              {"address": INTERNAL, "asn": 64512, "capabilities": {}, "timers": {}, "families": json.loads(json.dumps(both))}]}})
        self.speak()
        self.speak(address=INTERNAL, asn=64512)
        reader = config.Reader(Tree(ROOT))
        tried = set()
        for (path, table), section in reader.sections.items():
            if table not in PEER and table not in ROUTER:
                continue
            for key in section.keys:
                if key.effect is None:
                    continue
                with self.subTest(table=table, key=key.name):
                    if table in PEER:
                        value, address = PEER[table].get(key.name, other_value(key)), EXTERNAL
                        if isinstance(value, tuple):
                            value, address = value
                        place = "/bgp/peers/%d/%s%s" % (address == INTERNAL, PLACES.get(table, ""), key.name)
                    else:
                        begin, values = ROUTER[table]
                        value, address = values[key.name], None
                        if isinstance(value, tuple):
                            begin, value = value
                        place = begin + key.name if begin.endswith("/") else begin
                    tried.add((table, key.name))
                    if value is None or key.name == "vrf":
                        continue  # this version has a single VPN instance
                    operations = [{"op": "add", "path": place, "value": value}]
                    self.assert_effect(key, operations, address)
                    wrong = "commit" if key.effect in ("restart", "reset", "import", "export") else "reset"
                    with self.assertRaises(AssertionError):
                        self.assert_effect(key._replace(effect=wrong), operations, address)
        self.assertGreater(len(tried), 55)


if __name__ == "__main__":
    keel_rig.main()
