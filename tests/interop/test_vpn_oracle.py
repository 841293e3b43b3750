#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Route targets against an oracle, in the lab of vpn_families: ORACLE_STEPS (50) random steps, each an instance of keeld added, changed or removed, a route of GoBGP or FRR
added, changed or withdrawn, or a session configured away and back. After each ten steps FRR, GoBGP and OpenBGPD hold the VPNv4 and VPNv6 routes that
the oracle says (OpenBGPD also earlier ones), own routes of the instances and reflected routes, with distinguishers, labels, targets and next hops; each instance of keeld has the
imported routes that the oracle says. SEED (1) repeats a run."""
import ipaddress
import os
import random

import test_vpn_families as vpn  # adds the folder of labtest
import labtest
from labtest import KEELD, V4, V6, Lab, need, out_folder
from test_vpn_families import DAEMONS, FAMILIES, FRR_ROUTES, GOBGP_ROUTES, HOSTS, VPNV4, VPNV6, World, at, ours, prefix, targets

NAME = "vpn_oracle"
STEPS, SEED = int(os.environ.get("ORACLE_STEPS", 50)), int(os.environ.get("SEED", 1))
EACH = 10  # steps between two comparisons
SLOTS = ("red", "blue", "green", "gold")
TARGETS = ["64512:%d" % n for n in (7, 8, 9)]  # 7 and 8 are those of FRR's route maps
RDS = ["64512:%d" % n for n in range(20, 26)]  # of instances, so that a route has one source
UNICAST = {VPNV4: V4, VPNV6: V6}


def plain(route):
    """A route with its next hop; an IPv6 next hop that stands for an IPv4 address is in the form of that address."""
    address = ipaddress.ip_address(route[2])
    return (*route[:2], str(getattr(address, "ipv4_mapped", None) or address))


class Instance:
    def __init__(self, rng, used):
        self.rd = rng.choice([rd for rd in RDS if rd not in used])
        self.imports, self.exports = rng.sample(TARGETS, rng.randrange(4)), rng.sample(TARGETS, rng.randrange(3))
        # prefixes that other instances and the daemons also have
        self.networks = {f: [prefix(f, group, n) for group in (1, 2) for n in range(2) if rng.random() < 0.4] for f in FAMILIES}

    def document(self, name):
        return {"name": name, "rd": self.rd, "import_targets": self.imports, "export_targets": self.exports}


class Oracle(World):
    def __init__(self, c, lab, rpc, daemons, out):
        super().__init__(c, lab, rpc, daemons, out)
        self.rng, self.instances, self.up, self.steps = random.Random(SEED), {}, set(HOSTS), 0
        self.sent_to_o = {f: set() for f in FAMILIES}  # all that was advertised to OpenBGPD in this session
        self.remember()

    # ---- steps ----

    def step(self):
        self.steps += 1
        self.rng.choices((self.instance, self.gobgp, self.frr, self.session), (4, 3, 2, 1))[0]()
        self.remember()

    def remember(self):
        labels = self.labels()
        for f, known in self.sent_to_o.items():
            if "o" not in self.up:
                known.clear()
            known.update(self.want("o", f, labels).items())

    def commit(self):
        document = vpn.document()["bgp"]
        peers = [p for p in document["peers"] if p["address"] in {at(h) for h in self.up}]
        networks = document["networks"] + [{"prefix": p, "vrf": name} for name, i in self.instances.items() for f in FAMILIES for p in i.networks[f]]
        self.rpc.call("config.edit", merge={"vrfs": [i.document(name) for name, i in self.instances.items()] or None, "bgp": {"peers": peers, "networks": networks}})
        self.rpc.call("config.commit", force=True)

    def instance(self):
        name = self.rng.choice(SLOTS)
        old = self.instances.pop(name, None)
        if old is None or self.rng.random() < 0.7:
            new = self.instances[name] = Instance(self.rng, {i.rd for i in self.instances.values()})
            if old and new.exports and "o" in self.up:
                # a commit applies the instance before its networks, so the networks before the commit are advertised for a moment
                for f, known in self.sent_to_o.items():
                    known.update(((new.rd, p), (None, targets(new.exports), ours("o"))) for p in old.networks[f])
        self.commit()

    def session(self):
        """One session goes, or the lost one comes back. GoBGP needs 12 s for that and OpenBGPD 30 s, so a short run ends that of FRR alone."""
        down = set(HOSTS) - self.up
        self.up ^= down or {self.rng.choice(sorted(HOSTS) if STEPS > 200 else "f")}
        self.commit()

    def gobgp(self):
        f, daemon = self.rng.choice(FAMILIES), self.daemons["g"]
        key = ("64512:%d" % self.rng.randrange(1, 4), prefix(f, self.rng.choice((1, 2)), 1 + self.rng.randrange(6)))
        if key in FRR_ROUTES[f]:
            return
        if key in GOBGP_ROUTES[f] and self.rng.random() < 0.5:
            daemon.add(f, *key, *GOBGP_ROUTES[f].pop(key), word="del")
        else:
            route = GOBGP_ROUTES[f][key] = (1000 + self.rng.randrange(1000), targets(self.rng.sample(TARGETS, 1 + self.rng.randrange(2))))
            daemon.add(f, *key, *route)

    def frr(self):
        f = self.rng.choice(FAMILIES)
        routes = FRR_ROUTES[f]
        if len(routes) > 1 and self.rng.random() < 0.5:
            key = self.rng.choice(sorted(routes))
            self.daemons["f"].remove(f, *key, routes.pop(key)[0])
        else:
            n = self.rng.randrange(6)
            key = ("64512:4", prefix(f, 1, n))
            if key in routes:
                return
            i = self.rng.choice((7, 8))
            # FRR 8.4.4 sends nothing when a route comes back at once with another label
            routes[key] = (300 + n, "64512:%d" % i)
            self.daemons["f"].vpn(f, "network %s rd %s label %d route-map rt%d" % (key[1], key[0], routes[key][0], i))

    # ---- the oracle ----

    def reflected(self, family, to=None):
        return {k: v for h in self.up - {to} for k, v in self.sent(h, family).items()}

    def own(self, family, to, labels):
        return {(i.rd, p): (labels[name], targets(i.exports), ours(to)) for name, i in self.instances.items() if i.exports for p in i.networks[family]}

    def imported(self, name, family):
        """(rd, prefix) of VPN routes, and of networks of other instances, with a target of the instance."""
        mine = set(self.instances[name].imports)
        remote = {k for k, (_, rt, _) in self.reflected(family).items() if mine & set(rt.split())}
        return remote | {(i.rd, p) for other, i in self.instances.items() if other != name and mine & set(i.exports) for p in i.networks[family]}

    def labels(self):
        return {v["name"]: v.get("label") for v in self.rpc.call("vrf.list")["vrfs"]}

    def want(self, host, family, labels):
        routes = self.reflected(family, host) | self.own(family, host, labels)
        return {k: (None, rt, hop) for k, (_, rt, hop) in routes.items()} if host == "o" else routes

    def wrong(self, host, family, want):
        """{route: (held, wanted)} where a daemon differs from the oracle. OpenBGPD may hold what was advertised to it before."""
        if host == "o":
            held = {(k, plain(v)) for k, v in self.daemons[host].entries(family)}
            missing, more = want.items() - held, held - self.sent_to_o[family]
            return dict({k: (None, v) for k, v in missing}, **{str(k): (v, None) for k, v in more})
        held = {k: plain(v) for k, v in self.daemons[host].routes_of(family).items()}
        return {k: (held.get(k), want.get(k)) for k in held.keys() | want.keys() if held.get(k) != want.get(k)}

    def seen(self, name, family):
        # the instance's own networks have no distinguisher
        return {(r["rd"], r["prefix"]) for r in self.rpc.call("rib.routes", family=UNICAST[family], vrf=name, view="loc", limit=1000)["routes"] if "rd" in r}

    def compare(self):
        c, when = self.c, "after %d steps" % self.steps
        labtest.wait_established(self.rpc, *(at(h) for h in self.up))
        labels = self.labels()
        c.equal("%s: a label for each instance" % when, len({labels[n] for n in self.instances} - {None}), len(self.instances))
        total = 0
        for f in FAMILIES:
            for h in sorted(self.up):
                want = self.want(h, f, labels)
                total += len(want)
                c.comes_to("%s: %s of %s" % (when, f, self.daemons[h].name), lambda: self.wrong(h, f, want), {})
            for name in self.instances:
                want = self.imported(name, f)
                total += len(want)
                c.comes_to("%s: %s of %s" % (when, UNICAST[f], name), lambda: self.seen(name, f) ^ want, set())
        return total


def test(c):
    out = out_folder(NAME)
    with Lab(out) as lab:
        oracle, compared = Oracle(c, lab, *vpn.build(lab), out), 0
        for n in range(STEPS):
            oracle.step()
            if oracle.steps % EACH == 0 or n == STEPS - 1:
                compared += oracle.compare()
        print("%d steps, %d routes compared" % (oracle.steps, compared), flush=True)


if __name__ == "__main__":
    need("ip", "ethtool", *[p for d in DAEMONS.values() for p in d.programs], files=[KEELD])
    raise SystemExit(labtest.main(test))
