#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ports of VPN instances in the network namespaces of the instances: two instances with equal addresses answer pings and have a BGP session with their customer;
answers to routed addresses leave by the forwarding tables of the instance. REFRESHES (40) refreshes in one instance send no message to the other one, write no
entry of the tables and lose no packet there, also while the other one learns routes and over a route leaked from the first one (keel-policy(7) rule 12); the
same for VPNv4 of one peer, with routes that the first instance imports. REFRESHES=1000 also compares the time of a probe route. The namespaces are adopted after a kill, with the ports; a stop, and a start
without the instance, return the interfaces with their addresses; a foreign namespace stops the ports of one instance only. With the capabilities of the
unit and its drop-in keeld uses a namespace that keel-instance@.service has made.

    c1 (192.0.2.2) --- red, blue (192.0.2.1) of keeld --- c2 (192.0.2.2)
                                    |
                               f (feed of VPNv4)
"""
import json
import os
import re
import shlex
import signal
import sys
import threading
import time

import labtest
from labtest import FEED, KEELD, Lab, Rpc, Speaker, as_path, need, next_hop, origin, out_folder, run, update, wait_established
from lab import cpus_of_lab, remove_namespace
sys.path.insert(0, os.path.join(labtest.ROOT, "tests", "bench"))
from bench_lab import Events  # noqa: E402

NAME = "instance_ports"
US, CE, US6, CE6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
FAR, EXTRA = "20.0.0.1", "198.51.100.1/32"  # behind each CE; an address that an operator gave to the interface
RED, BLUE = ("%s%d" % (c, os.getpid()) for c in "rb")
SITES = ((RED, "c1", "red"), (BLUE, "c2", "blue"))  # instance, host, interface
REFRESHES = int(os.environ.get("REFRESHES", 40))
LEARNED = 10  # routes that the other instance learns meanwhile
PROBES = 200 if REFRESHES >= 1000 else 20
LEAKED = {RED: "30.0.0.0/24", BLUE: "31.0.0.0/24"}  # each is a route of the other instance, too
CORE, FEED_AT, VPNV4, VPN_ROUTES = "198.18.1.1", "198.18.1.2", "vpnv4-unicast", 50
DROP_IN = "instances.conf"
V4_POLICY = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}


def host_of(prefix):
    return prefix.replace("0/24", "1")


def namespaces():
    return {line.split()[0] for line in run("ip", "netns", "list").splitlines() if line}


def policies(local_pref, action="permit", name="red-in"):
    """All policies; the policy `name` changes all its routes, but not the leaked route of red."""
    leaked = {"seq": 5, "action": "permit", "match": {"prefix_list": "leaked"}}
    every = {"seq": 10, "action": "permit", "match": {}}
    moved = {"seq": 10, "action": action, "set": {"local_pref": local_pref}}
    return [{"name": n, "nodes": [leaked] + [moved if n == name else every]} for n in ("red-in", "vpn-in")] + [{"name": "leak", "nodes": [leaked]}]


def families(vrf):
    return {"ipv4-unicast": {"import_policy": "red-in", "export_policy": "accept-all", "keep_all_routes": True}} if vrf == RED else V4_POLICY


def instance(vrf):
    """red imports the routes of the feed; each imports the leaked route of the other instance."""
    own, other, feed = ("64512:11", "64512:12", ["64512:1"]) if vrf == RED else ("64512:12", "64512:11", [])
    return {"name": vrf, "rd": own, "import_targets": [other] + feed, "export_targets": [own], "export_policy": "leak"}


def config(worker, control, vrfs):
    return {"route_policies": policies(100), "prefix_lists": [{"name": "leaked", "entries": [{"action": "permit", "prefix": p} for p in LEAKED.values()]}],
            "router": {"asn": 64512, "router_id": US},
            "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
            "vrfs": [instance(vrf) for vrf, _, _ in SITES if vrf in vrfs],
            "ports": [{"name": port, "device": "net_af_xdp_%s,iface=%s" % (port, port), "vrf": vrf, "addresses": [US + "/24", US6 + "/64"]}
                      for vrf, _, port in SITES if vrf in vrfs] +
                     [{"name": "core", "device": "net_af_xdp_core,iface=core", "addresses": [CORE + "/24"], "mpls": True}],
            "bgp": {"peers": [{"address": FEED_AT, "asn": 64512, "passive": True, "families": {VPNV4: {"import_policy": "vpn-in", "export_policy": "deny-all", "keep_all_routes": True}}}] +
                             [{"address": CE, "asn": 64513, "vrf": vrf, "passive": True, "families": families(vrf)} for vrf in vrfs]}}


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        for h in ("pe", "c1", "c2", "f"):
            lab.host(h, ipv6=True)
        lab.link("f", "up", FEED_AT + "/24", "pe", "core", None)
        for vrf, host, port in SITES:
            self.site_link(host, port)
            for address in (FAR, host_of(LEAKED[vrf])):
                lab.sh(host, "ip address add %s/32 dev lo" % address)

    def site_link(self, host, port):
        self.lab.link(host, "up", [CE + "/24", CE6 + "/64"], "pe", port, EXTRA)
        self.lab.sh(host, "ip route add default via %s" % US)

    def site_link_again(self, host, port):
        """The name comes last: keeld takes the interface of a port at once."""
        self.site_link(host, "again")
        self.lab.sh("pe", "ip link set again down; ip link set again name %s" % port)

    def start(self, *vrfs, prefix=(), args=()):
        worker, control = cpus_of_lab()
        self.process, self.rpc = self.lab.keeld("pe", config(worker, control, vrfs), KEELD, name="pe", own_mounts=False, prefix=prefix, args=args)

    def end(self, kill=False):
        self.rpc.close()
        if kill:
            self.process.popen.kill()
        self.c.equal("exit status", self.process.stop(), -9 if kill else 0)

    def links(self, netns):
        return {link["ifname"]: link for link in json.loads(run("ip", "-n", netns, "-j", "address", "show")) if link["ifname"] != "lo"}

    def home(self):
        """Interfaces of the ports in the host of keeld."""
        return set(self.links(self.lab.netns("pe"))) & {port for _, _, port in SITES}

    def pings(self, host, *words):
        return "1 received" in self.lab.sh(host, "ping -n -c 1 -W 1 %s || true" % " ".join(words))

    def reach(self, *sites):
        """Pings and a session in each instance, with a route that another instance does not have."""
        c = self.c
        self.speakers = []
        for n, (vrf, host, port) in enumerate(sites):
            for address in (US, US6):
                c.comes_to("%s: the instance answers at %s" % (port, address), lambda: self.pings(host, address), True)
            # a default route of the namespace is not the way of packets from the port's addresses
            run("ip", "-n", "keel-" + vrf, "link", "add", "mgmt", "type", "veth", "peer", "name", "mgmt1", check=False)
            run("ip", "-n", "keel-" + vrf, "link", "set", "mgmt", "up")
            run("ip", "-n", "keel-" + vrf, "route", "replace", "default", "dev", "mgmt")
            s = Speaker(self.lab.netns(host), CE, US, 64513, identifier="192.0.2.%d" % (10 + n)).up()
            self.speakers.append(s)
            s.send(*self.route("20.0.0.0/24"))
            s.send(*self.route("21.%d.0.0/24" % n))
            c.comes_to("%s: the routes of the CE" % port, lambda: self.routes(vrf), {"20.0.0.0/24", "21.%d.0.0/24" % n})
            c.comes_to("%s: a routed address gets an answer" % port, lambda: self.pings(host, "-I", FAR, US), True)
            run("ip", "-n", "keel-" + vrf, "link", "delete", "mgmt")
        for s in self.speakers:
            s.close()
        a = self.rpc.call("fib.audit")
        c.equal("the audit", (a["mismatch_count"], a["not_installed"], a["checked"] > 0), (0, 0, True))

    def writes(self, vrf):
        return sum(t["writes"] for t in self.rpc.call("fib.stats", vrf=vrf)["tables"])

    def learned(self, speaker, net):
        """The peer of blue announces and withdraws routes; returns the written entries."""
        before, own = self.writes(BLUE), self.routes(BLUE)
        new = ["%d.0.%d.0/24" % (net, i) for i in range(LEARNED)]
        for p in new:
            speaker.send(*self.route(p))
        self.c.comes_to("blue learns routes", lambda: self.rpc.call("fib.lookup", vrf=BLUE, address=host_of(new[-1]))["prefix"], new[-1])
        speaker.send(labtest.UPDATE, update(b"", [], new))
        self.c.comes_to("... and loses the routes", lambda: self.routes(BLUE), own)
        self.c.comes_to("... in the tables", lambda: self.rpc.call("fib.lookup", vrf=BLUE, address=host_of(new[-1]))["prefix"], None)
        return self.writes(BLUE) - before

    def probes(self, speaker):
        """Seconds until a new route of blue is in the tables, sorted."""
        times = []
        for i in range(PROBES):
            prefix, begin = "24.%d.0.0/24" % (i % 2), time.monotonic()
            speaker.send(*self.route(prefix))
            while self.rpc.call("fib.lookup", vrf=BLUE, address=host_of(prefix))["prefix"] != prefix:
                assert time.monotonic() < begin + 60, "the probe route does not come"
            times.append(time.monotonic() - begin)
            speaker.send(labtest.UPDATE, update(b"", [], [prefix]))
        self.c.comes_to("... and the probe routes go", lambda: [self.rpc.call("fib.lookup", vrf=BLUE, address="24.%d.0.1" % i)["prefix"] for i in range(2)], [None] * 2)
        return sorted(times)

    def refreshed(self, rpc, name, scope, number):
        """One refresh; every fifth is a commit that moves all routes that the policy `name` sees."""
        if number % 5 == 4:
            moves = policies(100 + number, "deny" if number % 10 == 4 else "permit", name)
            jobs = {e["job"] for e in labtest.commit(rpc, [{"op": "replace", "path": "/route_policies", "value": moves}])["effects"] if "job" in e}
        else:
            jobs = {rpc.call("bgp.refresh", direction="export" if number % 2 and name == "red-in" else "import", **scope)["job"]}
        for job in jobs - {None}:
            labtest.wait_job(rpc, job)

    def refresher(self, name, scope, ends):
        """Refreshes until the event `ends`, on a connection of its own; a multiple of ten, so that the policy permits at the end."""
        rpc, number = Rpc(self.lab.path("pe.sock")), 0
        while not ends.is_set() or number % 10:
            self.refreshed(rpc, name, scope, number)
            number += 1
        rpc.close()

    def undisturbed(self, what, name, scope, red, blue, net):
        """Refreshes of `scope`, while blue forwards; then also while blue learns."""
        c = self.c
        alone, times = self.learned(blue, net), self.probes(blue)
        messages = len([1 for kind, _ in blue.received if kind != labtest.KEEPALIVE])
        before = {vrf: self.writes(vrf) for vrf in (RED, BLUE)}
        # by a route of the instance, and by the leaked route
        pings = [labtest.ping(self.lab, "ping-%s-%d" % (name, i), "c2", "-I", *words)
                 for i, words in enumerate(((FAR, US), (host_of(LEAKED[BLUE]), host_of(LEAKED[RED]))))]
        for i in range(REFRESHES):
            self.refreshed(self.rpc, name, scope, i)
        c.equal("%s: no entry of blue is written" % what, self.writes(BLUE) - before[BLUE], 0)
        c.true("... and entries of red are", self.writes(RED) - before[RED] >= 50, self.writes(RED) - before[RED])
        c.equal("no message to the peer of blue", len([1 for kind, _ in blue.received if kind != labtest.KEEPALIVE]) - messages, 0)
        ends = threading.Event()
        thread = threading.Thread(target=self.refresher, args=(name, scope, ends))
        thread.start()
        try:
            c.equal("blue learns with the same writes as without refreshes", self.learned(blue, net), alone)
            beside = self.probes(blue)
        finally:
            ends.set()
            thread.join()
        p99 = [1000 * t[len(t) * 99 // 100] for t in (times, beside)]
        print("%s: probe route p99 %.1f ms without and %.1f ms beside refreshes" % (what, *p99), flush=True)
        if REFRESHES >= 1000:
            c.true("... within 1.5 times", p99[1] <= 1.5 * p99[0], p99)
        for p in pings:
            answers, lost = labtest.ping_end(p)
            c.true("blue has %d answers, and loses no packet" % answers, answers > 0 and not lost, lost)
        c.equal("both sessions stay", (red.closed, blue.closed), (False, False))

    def isolated(self):
        """keel-policy(7) rule 12, with traffic and a leaked route: refreshes in red, then of VPNv4 of one peer."""
        c = self.c
        # red replays kept routes; blue has route refresh, so that any refresh there sends a message
        red, blue = (Speaker(self.lab.netns(host), CE, US, 64513, identifier="192.0.2.%d" % (30 + n), capabilities=able).up()
                     for n, ((_, host, _), able) in enumerate(zip(SITES, ((), (2, 70)))))
        for s, vrf in ((red, RED), (blue, BLUE)):
            s.send(*self.route("20.0.0.0/24"))
            s.send(*self.route(LEAKED[vrf]))
        for i in range(50):
            red.send(*self.route("22.0.%d.0/24" % i))
        feed = Events(self.lab.spawn("feed", "f", [FEED, "--connect", CORE, "--source", FEED_AT, "--next-hop", FEED_AT, "--asn", "64512", "--peer-asn", "64512", "--vpn",
                                                   "--count", str(VPN_ROUTES)], lines=True))
        wait_established(self.rpc, FEED_AT)
        c.comes_to("the routes of red", lambda: len(self.routes(RED)), 53 + VPN_ROUTES)
        c.comes_to("the routes of blue", lambda: self.routes(BLUE), {"20.0.0.0/24", *LEAKED.values()})
        c.comes_to("the route of blue", lambda: self.pings("c2", "-I", FAR, US), True)
        c.comes_to("the leaked route", lambda: self.pings("c2", "-I", host_of(LEAKED[BLUE]), host_of(LEAKED[RED])), True)
        c.comes_to("the tables of red", lambda: self.rpc.call("fib.lookup", vrf=RED, address="22.0.49.1")["prefix"], "22.0.49.0/24")
        self.undisturbed("refreshes in red", "red-in", {"family": "ipv4-unicast", "vrf": RED, "scope": "all"}, red, blue, 23)
        self.undisturbed("refreshes of VPNv4 of a peer", "vpn-in", {"family": VPNV4, "scope": "peer", "peer": FEED_AT}, red, blue, 23)
        red.close()
        blue.close()
        feed.process.stop()

    @staticmethod
    def route(prefix):
        return labtest.UPDATE, update(origin() + as_path([64513]) + next_hop(CE), [prefix])

    def routes(self, vrf):
        return {r["prefix"] for r in self.rpc.call("rib.routes", family="ipv4-unicast", vrf=vrf, view="loc")["routes"] if r["valid"] and r["best"]}

    def inside(self):
        return [set(self.links("keel-" + vrf)) for vrf, _, _ in SITES]

    def adopted(self):
        """The namespaces outlive a kill, with their ports."""
        c = self.c
        before = [os.stat("/run/netns/keel-" + vrf).st_ino for vrf, _, _ in SITES]
        self.end(kill=True)
        c.equal("the kernel still has the namespaces", {"keel-" + vrf for vrf, _, _ in SITES} - namespaces(), set())
        self.start(RED, BLUE)
        c.equal("... which the next start adopts", [os.stat("/run/netns/keel-" + vrf).st_ino for vrf, _, _ in SITES], before)
        c.equal("... with the ports", self.inside(), [{port, "keel0"} for _, _, port in SITES])
        self.reach(SITES[0])

    def given_back(self):
        """A start without the instance gives back what a killed keeld had; a stop gives back the rest."""
        c = self.c
        self.end(kill=True)
        self.start(BLUE)
        c.equal("the interface of red comes back", (self.home(), "keel-" + RED in namespaces()), ({"red"}, False))
        self.end()
        c.equal("a stop returns the interfaces", self.home(), {"red", "blue"})
        c.equal("... and leaves no namespace", {"keel-" + vrf for vrf, _, _ in SITES} & namespaces(), set())
        for _, _, port in SITES:
            link = self.links(self.lab.netns("pe"))[port]
            c.true("%s has the operator's address, and is up" % port,
                   EXTRA in ["%s/%d" % (a["local"], a["prefixlen"]) for a in link["addr_info"]] and "UP" in link["flags"], link)
        c.true("blue has no XDP program", "xdp" not in self.links(self.lab.netns("pe"))["blue"])

    def lost(self):
        """The interface of one instance is missing: the other instance works."""
        self.lab.sh("pe", "ip link delete red")
        self.start(RED, BLUE)
        states = {p["name"]: p["state"] for p in self.rpc.call("dataplane.stats")["ports"]}
        self.c.equal("a port without its interface is missing", states, {"red": "missing", "blue": "up", "core": "up"})
        self.reach(*SITES[1:])
        self.site_link_again("c1", "red")
        self.reach(*SITES[:1])
        self.end()

    def foreign(self):
        c = self.c
        run("ip", "netns", "add", "keel-" + RED)
        self.start(RED, BLUE)
        alarms = {a["kind"]: a["text"] for a in self.rpc.call("system.info")["alarms"]}
        c.true("an alarm names the foreign namespace", "keel-%s was not created by this keeld" % RED in alarms.get("namespace", ""), alarms)
        c.equal("the port of red stays", self.home(), {"red"})
        self.reach(*SITES[1:])
        c.equal("the ports have their numbers", [p["name"] for p in self.rpc.call("dataplane.stats")["ports"]], ["red", "blue", "core"])
        self.end()
        c.equal("the foreign namespace stays", "keel-" + RED in namespaces(), True)

    @staticmethod
    def as_unit(*units):
        """A command prefix: the user nobody with the capabilities of the unit and the drop-in."""
        caps = ",".join(["-all"] + ["+" + cap.lower()[4:] for name in units for line in open(os.path.join(labtest.ROOT, "packaging", name))
                                    if line.startswith("AmbientCapabilities=") for cap in line.strip().split("=")[1].split()])
        return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=" + caps, "--ambient-caps=" + caps, "--bounding-set=" + caps)

    def deaf(self, keelfwd, args):
        """A keeld that keelfwd does not answer ends, and leaves the port to keelfwd."""
        os.kill(keelfwd.popen.pid, signal.SIGSTOP)
        try:
            self.start(RED, prefix=self.as_unit("keel.service.in", DROP_IN), args=args)
            self.c.true("keelfwd does not answer: a start is refused", False)
        except RuntimeError as e:
            self.c.true("keelfwd does not answer: a start is refused", "keelfwd" in str(e), str(e)[-300:])
        self.c.equal("... and the port stays in its namespace", set(self.links("keel-" + RED)), {"red", "keel0"})
        os.kill(keelfwd.popen.pid, signal.SIGCONT)
        self.start(RED, prefix=self.as_unit("keel.service.in", DROP_IN), args=args)
        self.c.true("... which the next start adopts", self.rpc.call("system.info")["forwarder"]["adopted"])
        self.end()

    def unit_namespace(self):
        """What keel-instance@.service does; files for the user of the unit."""
        for line in open(os.path.join(labtest.ROOT, "packaging", "keel-instance@.service.in")):
            if line.startswith("ExecStart=ip -n"):
                command = shlex.split(line.split("=", 1)[1].replace("%i", RED).replace("/var/lib/keel", os.path.join(self.lab.dir, "pe.state")))
        run(*command)
        for folder, _, files in os.walk(self.lab.dir):
            for path in [folder] + [os.path.join(folder, name) for name in files]:
                os.chown(path, 65534, 65534)

    def unprivileged(self):
        """As in the packaged unit: a user without root's rights but those of unit and drop-in. The foreign namespace gets the owner."""
        c = self.c
        self.unit_namespace()
        keelfwd, args = self.lab.keelfwd("pe", KEELD, prefix=self.as_unit("keel-forwarder.service.in", DROP_IN), own_mounts=False)
        self.start(RED, prefix=self.as_unit("keel.service.in", DROP_IN), args=args)
        c.equal("no alarm", [a for a in self.rpc.call("system.info")["alarms"] if a["kind"] == "namespace"], [])
        self.reach(SITES[0])
        self.end()
        self.deaf(keelfwd, args)
        c.equal("the port and its namespace stay with keelfwd", (self.home(), set(self.links("keel-" + RED))), ({"blue"}, {"red", "keel0"}))
        c.equal("keelfwd stops in order", keelfwd.stop(), 0)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        try:
            t.build()
            t.start(RED, BLUE)
            checks.equal("the ports are in the namespaces", t.inside(), [{port, "keel0"} for _, _, port in SITES])
            t.reach(*SITES)
            t.isolated()
            t.adopted()
            t.given_back()
            t.lost()
            t.foreign()
            t.unprivileged()
        finally:
            for vrf, _, _ in SITES:
                if "keel-" + vrf in namespaces():
                    remove_namespace("keel-" + vrf)


if __name__ == "__main__":
    need("ip", "ethtool", "ping", "nsenter", "setpriv", files=[KEELD])
    raise SystemExit(labtest.main(test))
