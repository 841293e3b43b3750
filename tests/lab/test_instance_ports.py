#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ports of VPN instances in the network namespaces of the instances: two instances with equal addresses answer pings and have a BGP session with their customer;
answers to routed addresses leave by the forwarding tables of the instance. REFRESHES (40) refreshes in one instance send no message to the other one, write no
entry of the tables and lose no packet there, also while the other one learns routes (keel-policy(7) rule 12). The namespaces are adopted after a kill, with the ports; a stop, and a start
without the instance, return the interfaces with their addresses; a foreign namespace stops the ports of one instance only. With the capabilities of the
unit and its drop-in keeld uses a namespace that keel-instance@.service has made.

    c1 (192.0.2.2) --- red, blue (192.0.2.1) of keeld --- c2 (192.0.2.2)
"""
import json
import os
import re
import shlex
import signal

import labtest
from labtest import KEELD, Lab, Speaker, as_path, need, next_hop, origin, out_folder, run, update
from lab import cpus_of_lab, remove_namespace

NAME = "instance_ports"
US, CE, US6, CE6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
FAR, EXTRA = "20.0.0.1", "198.51.100.1/32"  # behind each CE; an address that an operator gave to the interface
RED, BLUE = ("%s%d" % (c, os.getpid()) for c in "rb")
SITES = ((RED, "c1", "red"), (BLUE, "c2", "blue"))  # instance, host, interface
REFRESHES = int(os.environ.get("REFRESHES", 40))
LEARNED = 10  # routes that the other instance learns meanwhile
V4_POLICY = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}


def namespaces():
    return {line.split()[0] for line in run("ip", "netns", "list").splitlines() if line}


def red_policy(local_pref, action="permit"):
    return [{"name": "red-in", "nodes": [{"seq": 10, "action": action, "set": {"local_pref": local_pref}}]}]


def families(vrf):
    return {"ipv4-unicast": {"import_policy": "red-in", "export_policy": "accept-all", "keep_all_routes": True}} if vrf == RED else V4_POLICY


def config(worker, control, vrfs):
    return {"route_policies": red_policy(100),"router": {"asn": 64512, "router_id": US},
            "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
            "vrfs": [{"name": vrf} for vrf, _, _ in SITES if vrf in vrfs],
            "ports": [{"name": port, "device": "net_af_xdp_%s,iface=%s" % (port, port), "vrf": vrf, "addresses": [US + "/24", US6 + "/64"]}
                      for vrf, _, port in SITES if vrf in vrfs],
            "bgp": {"peers": [{"address": CE, "asn": 64513, "vrf": vrf, "passive": True, "families": families(vrf)} for vrf in vrfs]}}


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def build(self):
        lab = self.lab
        for h in ("pe", "c1", "c2"):
            lab.host(h, ipv6=True)
        for _, host, port in SITES:
            lab.link(host, "up", [CE + "/24", CE6 + "/64"], "pe", port, EXTRA)
            lab.sh(host, "ip address add %s/32 dev lo; ip route add default via %s" % (FAR, US))

    def start(self, *vrfs, prefix=()):
        worker, control = cpus_of_lab()
        self.process, self.rpc = self.lab.keeld("pe", config(worker, control, vrfs), KEELD, name="pe", own_mounts=False, prefix=prefix)

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
            s = Speaker(self.lab.netns(host), CE, US, 64513, identifier="192.0.2.%d" % (10 + n)).up()
            self.speakers.append(s)
            s.send(*self.route("20.0.0.0/24"))
            s.send(*self.route("21.%d.0.0/24" % n))
            c.comes_to("%s: the routes of the CE" % port, lambda: self.routes(vrf), {"20.0.0.0/24", "21.%d.0.0/24" % n})
            c.comes_to("%s: a routed address gets an answer" % port, lambda: self.pings(host, "-I", FAR, US), True)
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
        self.c.comes_to("blue learns routes", lambda: self.rpc.call("fib.lookup", vrf=BLUE, address=new[-1].replace("0/24", "1"))["prefix"], new[-1])
        speaker.send(labtest.UPDATE, update(b"", [], new))
        self.c.comes_to("... and loses the routes", lambda: self.routes(BLUE), own)
        self.c.comes_to("... in the tables", lambda: self.rpc.call("fib.lookup", vrf=BLUE, address=new[-1].replace("0/24", "1"))["prefix"], None)
        return self.writes(BLUE) - before

    def refreshed(self, number):
        """One refresh in red; every fifth is a commit that moves all routes of red."""
        if number % 5 == 4:
            moves = red_policy(100, "deny" if number % 10 == 4 else "permit")
            jobs = {e["job"] for e in labtest.commit(self.rpc, [{"op": "replace", "path": "/route_policies", "value": moves}])["effects"] if "job" in e}
        else:
            jobs = {self.rpc.call("bgp.refresh", family="ipv4-unicast", vrf=RED, scope="all", direction=("import", "export")[number % 2])["job"]}
        for job in jobs - {None}:
            labtest.wait_job(self.rpc, job)

    def isolated(self):
        """keel-policy(7) rule 12: refreshes in red, while blue forwards; then also while blue learns."""
        c = self.c
        # red replays kept routes; blue has route refresh, so that any refresh there sends a message
        red, blue = (Speaker(self.lab.netns(host), CE, US, 64513, identifier="192.0.2.%d" % (30 + n), capabilities=able).up()
                     for n, ((_, host, _), able) in enumerate(zip(SITES, ((), (2, 70)))))
        for s in (red, blue):
            s.send(*self.route("20.0.0.0/24"))
        for i in range(50):
            red.send(*self.route("22.0.%d.0/24" % i))
        c.comes_to("the routes of red", lambda: len(self.routes(RED)), 51)
        c.comes_to("the route of blue", lambda: self.pings("c2", "-I", FAR, US), True)
        c.comes_to("the tables of red", lambda: self.rpc.call("fib.lookup", vrf=RED, address="22.0.49.1")["prefix"], "22.0.49.0/24")
        alone = self.learned(blue, 23)
        messages = len([1 for kind, _ in blue.received if kind != labtest.KEEPALIVE])
        before = {vrf: self.writes(vrf) for vrf in (RED, BLUE)}
        ping = self.lab.spawn("ping", "c2", ["ping", "-n", "-q", "-i", "0.02", "-I", FAR, US])
        for i in range(REFRESHES):
            self.refreshed(i)
        c.equal("no entry of blue is written", self.writes(BLUE) - before[BLUE], 0)
        c.true("... and entries of red are", self.writes(RED) - before[RED] >= 50, self.writes(RED) - before[RED])
        c.equal("no message to the peer of blue", len([1 for kind, _ in blue.received if kind != labtest.KEEPALIVE]) - messages, 0)
        for i in range(4):
            self.refreshed(i)
        c.equal("blue learns with the same writes as without refreshes", self.learned(blue, 23), alone)
        ping.stop(sig=signal.SIGINT)  # prints the counts
        sent, received = (int(n) for n in re.search(r"(\d+) packets transmitted, (\d+) received", ping.logged()).groups())
        c.true("blue loses no packet of %d" % sent, sent > 0 and received == sent, received)
        c.equal("both sessions stay", (red.closed, blue.closed), (False, False))
        red.close()
        blue.close()

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

    def foreign(self):
        c = self.c
        run("ip", "netns", "add", "keel-" + RED)
        self.start(RED, BLUE)
        alarms = {a["kind"]: a["text"] for a in self.rpc.call("system.info")["alarms"]}
        c.true("an alarm names the foreign namespace", "keel-%s was not created by this keeld" % RED in alarms.get("namespace", ""), alarms)
        c.equal("the port of red stays", self.home(), {"red"})
        self.reach(*SITES[1:])
        c.equal("the ports have their numbers", [p["name"] for p in self.rpc.call("dataplane.stats")["ports"]], ["red", "blue"])
        self.end()
        c.equal("the foreign namespace stays", "keel-" + RED in namespaces(), True)

    def unprivileged(self):
        """As in the packaged unit: a user without root's rights but those of unit and drop-in. The foreign namespace gets the owner."""
        c = self.c
        for line in open(os.path.join(labtest.ROOT, "packaging", "keel-instance@.service.in")):
            if line.startswith("ExecStart=ip -n"):
                command = shlex.split(line.split("=", 1)[1].replace("%i", RED).replace("/var/lib/keel", os.path.join(self.lab.dir, "pe.state")))
        run(*command)
        given = ["+" + cap.lower()[4:] for name in ("keel.service.in", "instances.conf") for line in open(os.path.join(labtest.ROOT, "packaging", name))
                 if line.startswith("AmbientCapabilities=") for cap in line.strip().split("=")[1].split()]
        for folder, _, files in os.walk(self.lab.dir):
            for path in [folder] + [os.path.join(folder, name) for name in files]:
                os.chown(path, 65534, 65534)
        caps = ",".join(["-all"] + given)
        self.start(RED, prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=" + caps, "--ambient-caps=" + caps,
                                "--bounding-set=" + caps))
        c.equal("no alarm", [a for a in self.rpc.call("system.info")["alarms"] if a["kind"] == "namespace"], [])
        self.reach(SITES[0])
        self.end()
        c.equal("the interface comes back, and the namespace stays", (self.home(), "keel-" + RED in namespaces()), ({"red", "blue"}, True))


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
            t.foreign()
            t.unprivileged()
        finally:
            for vrf, _, _ in SITES:
                if "keel-" + vrf in namespaces():
                    remove_namespace("keel-" + vrf)


if __name__ == "__main__":
    need("ip", "ethtool", "ping", "nsenter", "setpriv", files=[KEELD])
    raise SystemExit(labtest.main(test))
