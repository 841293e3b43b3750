# SPDX-License-Identifier: BSD-3-Clause
"""The kit's interface to each daemon. To test another daemon, write a class with these methods and add the class to ALL:

  start(setup), stop()               the peers of `setup.sessions`, all passive, IPv4 or IPv6 unicast, hold time 90 s, all routes accepted and sent;
                                     peers of `kept` keep received routes (if supported), peers of `short_stale` give up a refresh that
                                     has no end after STALE_S
  policy(session, direction, name)   "all", or "half" which rejects REJECTED, for one peer and one direction, without a restart; includes
                                     any further command that an operator of the daemon would use
  ask_refresh(session, family)       the operator's command that asks the peer for its routes again
  state(session)                     "established" or another word
  wake()                             ends idle holds
  lacks                              {clause: reason why the clause is not applicable}
"""
import json
import os
import subprocess
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("interop", "lab")]
import daemons  # noqa: E402
from labtest import KEELD, commit, peer  # noqa: E402

REJECTED = "10.200.128.0/17"  # and more specific prefixes
STALE_S = 6
NO_TIMER = "has no stale timer (the RFC says MAY)"


class Keel(daemons.Daemon):
    name = "Keel"
    programs = []
    note = "`keep_all_routes` for the peers that keep routes; `stale_refresh_s` %d for the peers of `stale_timer`" % STALE_S
    lacks = {}

    def keys(self, x):
        family = {"import_policy": "accept-all", "export_policy": "accept-all"}
        if x.name in self.setup.kept:
            family["keep_all_routes"] = True
        timers = {"stale_refresh_s": STALE_S} if x.name in self.setup.short_stale else {}
        return {"address": x.remote, "asn": x.asn, "passive": True, "timers": dict(timers, idle_hold_s=1), "families": {f: family for f in x.families}}

    def config(self):
        s = self.setup
        entry = {"action": "permit", "prefix": REJECTED, "le": 32}
        return {"router": {"asn": s.asn, "router_id": s.router_id}, "prefix_lists": [{"name": "upper", "entries": [entry]}],
                "route_policies": [{"name": "half", "nodes": [{"seq": 10, "action": "deny", "match": {"prefix_list": "upper"}},
                                                              {"seq": 20, "action": "permit"}]}],
                "bgp": {"peers": [self.keys(x) for x in s.sessions]}}

    def run(self, recover):
        checked = subprocess.run([KEELD, "--check", "-c", self.file("check.json", json.dumps(self.config()))], stderr=subprocess.PIPE, text=True)
        if "keep_all_routes: not supported" in checked.stderr:  # a version without the key
            self.setup.kept = set()
            self.lacks = {"policy_with_kept_routes": "this version has no keep_all_routes"}
        self.process, self.rpc = self.lab.keeld(self.host, self.config(), KEELD, name=self.host, args=("--no-dataplane",))

    def after(self):
        self.rpc.close()

    @classmethod
    def version(cls):
        text = subprocess.run([KEELD, "--version"], stdout=subprocess.PIPE, text=True).stdout.split()
        return text[1] if len(text) > 1 else text[0]

    def policy(self, session, direction, name):
        x = self.setup.session(session)
        at = [p["address"] for p in self.rpc.call("config.get", source="running")["document"]["bgp"]["peers"]].index(x.remote)
        path = "/bgp/peers/%d/families/%s/%s_policy" % (at, x.families[0], direction)
        return commit(self.rpc, [{"op": "replace", "path": path, "value": {"all": "accept-all"}.get(name, name)}])

    def ask_refresh(self, session, family):
        return self.rpc.call("bgp.refresh", family=family, scope="peer", peer=self.name_of(session), direction="import")

    def state(self, session):
        return peer(self.rpc, self.name_of(session))["state"]


class Bird(daemons.Bird):
    lacks = {"stale_timer": NO_TIMER}
    note = ("`import table on` for the peers that keep routes; policies are changed by `configure` (`configure soft` leaves the session of "
            "`policy_without_refresh` and the refused routes)")

    def start(self, setup, recover=False):
        self.chosen = {}
        return super().start(setup, recover)

    def config(self):
        return "filter whole { accept; }\nfilter half { if net ~ [ %s+ ] then reject; accept; }\n" % REJECTED + super().config()

    def channel(self, session):
        pick = [self.chosen.get((session.name, d), "all").replace("all", "whole") for d in ("import", "export")]
        kept = "import table on;" if session.name in self.setup.kept else ""
        return "import filter %s; export filter %s; %s" % (*pick, kept)

    def policy(self, session, direction, name):
        self.chosen[session, direction] = name
        self.file("bird.conf", self.config())
        return self.birdc("configure")


class Frr(daemons.Frr):
    lacks = {}
    note = "`soft-reconfiguration inbound` for the peers that keep routes; `bgp graceful-restart stalepath-time %d`, `coalesce-time 10`" % STALE_S

    def config(self):
        out = super().config()
        first = "router bgp %d\n" % self.setup.asn
        for x in self.setup.sessions:
            if x.name in self.setup.kept:
                mark = "  neighbor %s activate\n" % x.remote
                out = out.replace(mark, mark + "  neighbor %s soft-reconfiguration inbound\n" % x.remote)
        lists = ["ip prefix-list upper permit %s le 32" % REJECTED, "route-map half deny 10", " match ip address prefix-list upper", "exit",
                 "route-map half permit 20", "exit"]
        return out.replace(first, "\n".join(lists) + "\n" + first + " coalesce-time 10\n bgp graceful-restart stalepath-time %d\n" % STALE_S)

    def policy(self, session, direction, name):
        x = self.setup.session(session)
        word = {"import": "in", "export": "out"}[direction]
        self.configure(x.families[0], "%sneighbor %s route-map half %s" % ("no " if name == "all" else "", x.remote, word))


class GoBgp(daemons.GoBgp):
    asks_never = "has no command for ROUTE-REFRESH"
    lacks = {"request_sent": asks_never, "request_needs_capability": asks_never, "stale_timer": NO_TIMER}
    note = "treat-as-withdraw on; received routes are always kept"

    def config(self):
        out = super().config().replace("[neighbors.timers.config]",
                                       "[neighbors.error-handling.config]\ntreat-as-withdraw = true\n[neighbors.graceful-restart.config]\n"
                                       "enabled = true\nhelper-only = true\n[neighbors.timers.config]")
        sets, policies = ["[[defined-sets.prefix-sets]]", 'prefix-set-name = "upper"', "[[defined-sets.prefix-sets.prefix-list]]",
                          'ip-prefix = "%s"' % REJECTED, 'masklength-range = "17..32"'], []
        for d in ("import", "export"):
            sets += ["[[defined-sets.neighbor-sets]]", 'neighbor-set-name = "half-%s"' % d, 'neighbor-info-list = ["192.0.2.99/32"]']
            policies += ["[[policy-definitions]]", 'name = "half-%s"' % d, "[[policy-definitions.statements]]", 'name = "upper-%s"' % d,
                         "[policy-definitions.statements.conditions.match-prefix-set]", 'prefix-set = "upper"',
                         "[policy-definitions.statements.conditions.match-neighbor-set]", 'neighbor-set = "half-%s"' % d,
                         "[policy-definitions.statements.actions]", 'route-disposition = "reject-route"']
        lists = 'import-policy-list = ["half-import"]\nexport-policy-list = ["half-export"]\ndefault-import-policy'
        return "\n".join([out.replace("default-import-policy", lists), *sets, *policies]) + "\n"

    def policy(self, session, direction, name):
        remote = self.name_of(session)
        self.gobgp("policy", "neighbor", {"half": "add", "all": "del"}[name], "half-" + direction, remote)
        self.gobgp("neighbor", remote, {"import": "softresetin", "export": "softresetout"}[direction])


class OpenBgpd(daemons.OpenBgpd):
    lacks = {"stale_timer": NO_TIMER}
    note = ("received routes are always kept; the log says `route refresh: AID IPv4 unicast not negotiated` for requests, BoRR and EoRR of a "
            "negotiated family")

    def start(self, setup, recover=False):
        self.halves = {}
        return super().start(setup, recover)

    def config(self):
        rules = ["deny %s %s prefix %s prefixlen 17 - 32" % ({"import": "from", "export": "to"}[d], self.name_of(s), REJECTED)
                 for (s, d), name in self.halves.items() if name == "half"]
        return super().config() + "\n".join(rules) + "\n"

    def policy(self, session, direction, name):
        self.halves[session, direction] = name
        os.chmod(self.file("bgpd.conf", self.config()), 0o600)
        return self.bgpctl("reload")


ALL = {"keel": Keel, "bird": Bird, "frr": Frr, "gobgp": GoBgp, "openbgpd": OpenBgpd}
