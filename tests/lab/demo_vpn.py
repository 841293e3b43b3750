#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""VPN instances, end to end: two provider edges (keeld), FRR as the route reflector between them, four instances that use the same addresses, a host at each
edge and instance. Each host sends numbered requests to the addresses of the far site, and the answer names the answering host. Meanwhile all instances and
both VPN families are refreshed. Called by scripts/demo vpn; writes build/demo-vpn/report.json.

    red-1, blue-1, green-1, gold-1 --- pe1 (keeld) ---+--- pe2 (keeld) --- red-2, blue-2, green-2, gold-2
                                                      |
                                                  rr (FRR)

red and blue reach their own far site. green-1 imports no target of green-2, so green has no way. gold has two targets, one for each direction.
"""
import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", d) for d in ("lab", "interop", "bench")]
from daemons import Frr, Session, Setup  # noqa: E402
from lab import Lab, cpus_of_lab, wait_for  # noqa: E402
from labtest import Capture, in_netns  # noqa: E402

ASN = 64512
VPN = ("vpnv4-unicast", "vpnv6-unicast")
UNICAST = ("ipv4-unicast", "ipv6-unicast")
# instance: (targets that pe1 imports, exports; that pe2 imports, exports)
INSTANCES = {"red": (["64512:1"], ["64512:1"], ["64512:1"], ["64512:1"]),
             "blue": (["64512:2"], ["64512:2"], ["64512:2"], ["64512:2"]),
             "green": ([], ["64512:3"], [], ["64512:4"]),
             "gold": (["64512:6"], ["64512:5"], ["64512:5"], ["64512:6"])}
REACHABLE = ("red", "blue", "gold")
CORE = {"pe1": "198.18.0.1", "pe2": "198.18.0.2", "rr": "198.18.0.9"}
PORT = 7007
PACE_S = 0.01


def site(pe, v6):
    n = int(pe[-1])
    return "2001:db8:%d::" % n if v6 else "10.0.%d." % n


def gateway(pe, v6):
    return site(pe, v6) + "1"


def host_address(pe, v6):
    return site(pe, v6) + "10"


def network(pe, v6):
    return site(pe, v6) + ("/64" if v6 else "0/24")


def edge(pe, worker, control):
    """Configuration of a provider edge."""
    n = int(pe[-1])
    vrfs = [{"name": name, "rd": "%s:%d" % (CORE[pe], i), "import_targets": t[2 * n - 2], "export_targets": t[2 * n - 1]}
            for i, (name, t) in enumerate(INSTANCES.items(), 1)]
    ports = [{"name": "core", "device": "net_af_xdp_core,iface=core", "addresses": [CORE[pe] + "/24"], "mpls": True}]
    ports += [{"name": name, "device": "net_af_xdp_%s,iface=%s" % (name, name), "vrf": name,
               "addresses": [gateway(pe, False) + "/24", gateway(pe, True) + "/64"]} for name in INSTANCES]
    return {"router": {"asn": ASN, "router_id": CORE[pe]},
            "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 640, "eal_args": ["--no-huge"]},
            "vrfs": vrfs, "ports": ports,
            "bgp": {"networks": [{"prefix": network(pe, v6), "vrf": name} for name in INSTANCES for v6 in (False, True)],
                    "peers": [{"address": CORE["rr"], "asn": ASN, "families": {f: {} for f in VPN}}]}}


class Reflector(Frr):
    def config(self):
        out = ["log stdout", "router bgp %d" % ASN, " bgp router-id " + CORE["rr"], " no bgp default ipv4-unicast"]
        for pe in ("pe1", "pe2"):
            out += [" neighbor %s remote-as %d" % (CORE[pe], ASN), " neighbor %s timers connect 1" % CORE[pe]]
        for family in ("ipv4 vpn", "ipv6 vpn"):
            out.append(" address-family " + family)
            out += ["  neighbor %s %s" % (CORE[pe], what) for pe in ("pe1", "pe2") for what in ("activate", "route-reflector-client")]
            out.append(" exit-address-family")
        return "\n".join(out) + "\n"


class Answerer:
    """Answers each datagram of a host with the host's name."""

    def __init__(self, lab, host, address):
        def opened():
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((address, PORT))
            s.settimeout(0.1)
            return s
        self.sock, self.name, self.over = in_netns(lab.netns(host), opened), host.encode(), False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            try:
                data, source = self.sock.recvfrom(2048)
            except TimeoutError:
                continue
            self.sock.sendto(data[:8] + self.name, source)

    def close(self):
        self.over = True
        self.thread.join()
        self.sock.close()


class Asker:
    """Sends numbered requests from a host to an address, at a fixed pace, and compares the answers with the name of the expected host."""

    def __init__(self, lab, host, own, address, expected):
        def opened():
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((own, 0))
            s.settimeout(0.05)
            return s
        self.sock = in_netns(lab.netns(host), opened)
        self.what = "%s to %s" % (host, address)
        self.to, self.expected = (address, PORT), expected.encode()
        self.sent, self.answered, self.misdirected, self.over = 0, set(), 0, False
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.send, self.receive)]

    def once(self):
        """True if one request is answered by the expected host."""
        number = 1 << 40 | self.sent
        try:
            self.sock.sendto(struct.pack("!Q", number), self.to)
            data = self.sock.recv(2048)
        except OSError:
            return False
        return data == struct.pack("!Q", number) + self.expected

    def start(self):
        for t in self.threads:
            t.start()

    def send(self):
        begin = time.monotonic()
        while not self.over:
            try:
                self.sock.sendto(struct.pack("!Q", self.sent), self.to)
            except OSError:  # no way, said by ICMP: counts as lost
                pass
            self.sent += 1
            time.sleep(max(0, begin + self.sent * PACE_S - time.monotonic()))

    def receive(self):
        quiet = 0
        while quiet < 20:  # a second of silence after the last request
            try:
                data = self.sock.recv(2048)
            except OSError:
                quiet += self.over
                continue
            number = struct.unpack("!Q", data[:8])[0]
            if number >> 40:
                continue
            if data[8:] == self.expected:
                self.answered.add(number)
            else:
                self.misdirected += 1

    def stop(self):
        self.over = True
        for t in self.threads:
            t.join()
        self.sock.close()
        return {"sent": self.sent, "received": len(self.answered), "lost": self.sent - len(self.answered) - self.misdirected, "misdirected": self.misdirected}


class Demo:
    def __init__(self, args, lab, out):
        self.args, self.lab, self.out, self.begin = args, lab, out, time.monotonic()

    def say(self, text):
        print("%6.1f s  %s" % (time.monotonic() - self.begin, text), flush=True)

    def hosts(self):
        return [("%s-%s" % (name, pe[-1]), name, pe) for pe in ("pe1", "pe2") for name in INSTANCES]

    def build(self):
        lab = self.lab
        for h in ("pe1", "pe2", "rr", "lan"):
            lab.host(h, ipv6=h != "lan")
        lab.sh("lan", "ip link add br0 type bridge; ip link set br0 up")
        for h in ("pe1", "pe2", "rr"):
            lab.link(h, "core" if h != "rr" else "eth0", None if h != "rr" else CORE["rr"] + "/24", "lan", h, None)
            lab.sh("lan", "ip link set %s master br0" % h)
        for host, name, pe in self.hosts():
            lab.host(host, ipv6=True)
            lab.link(host, "eth0", [host_address(pe, False) + "/24", host_address(pe, True) + "/64"], pe, name, None)
            lab.sh(host, "ip route add default via %s; ip -6 route add default via %s" % (gateway(pe, False), gateway(pe, True)))

    def start(self, worker, control):
        lab = self.lab
        self.rr = Reflector(lab, "rr").start(Setup(ASN, CORE["rr"], [Session("pe1", CORE["rr"], CORE["pe1"], ASN, VPN)]))
        keeld = os.path.join(self.args.build, "control", "keeld")
        self.daemons, self.rpc = {}, {}
        for pe in ("pe1", "pe2"):
            self.daemons[pe], self.rpc[pe] = lab.keeld(pe, edge(pe, worker, control), keeld, name=pe)

    def session(self, pe):
        return self.rpc[pe].call("bgp.peers")["peers"][0]

    def settle(self):
        for pe in self.rpc:
            wait_for("session of %s with the reflector" % pe, lambda p=pe: self.session(p)["state"] == "established", 60)
        self.since = {pe: self.session(pe).get("uptime_s") for pe in self.rpc}
        for pe, other in (("pe1", "pe2"), ("pe2", "pe1")):
            for name in REACHABLE:
                for f, v6 in zip(UNICAST, (False, True)):
                    wait_for("%s %s in %s of %s" % (f, network(other, v6), name, pe), lambda: any(
                        r["best"] and r["valid"] for r in self.rpc[pe].call("rib.routes", family=f, vrf=name, view="loc", prefix=network(other, v6))["routes"]), 60)

    def traffic(self):
        self.answerers = [Answerer(self.lab, host, host_address(pe, v6)) for host, _, pe in self.hosts() for v6 in (False, True)]
        self.askers, self.cut = [], []
        for name in INSTANCES:
            for own, far in (("pe1", "pe2"), ("pe2", "pe1")):
                for v6 in (False, True):
                    a = Asker(self.lab, "%s-%s" % (name, own[-1]), host_address(own, v6), host_address(far, v6), "%s-%s" % (name, far[-1]))
                    (self.askers if name in REACHABLE else self.cut).append(a)
        for a in self.askers:
            wait_for("an answer from " + a.what, a.once, 60)
        for a in self.askers + self.cut:
            a.start()

    def refresh(self):
        """Refreshes both VPN families and all instances, both ways, until the time is over; returns the number of refreshes by direction."""
        count = {"in": 0, "out": 0}
        end = time.monotonic() + self.args.seconds
        while time.monotonic() < end:
            jobs = []
            for pe, rpc in self.rpc.items():
                for family in VPN:
                    for direction in ("import", "export"):
                        answer = rpc.call("bgp.refresh", family=family, scope="all", direction=direction)
                        jobs += [(rpc, answer["job"])] if answer["job"] else []
                        count["in" if direction == "import" else "out"] += 1
            for rpc, job in jobs:
                wait_for("end of job %d" % job, lambda: rpc.call("jobs.get", id=job)["state"] != "running", 60)
        return count

    def audit(self):
        """Differences between the RIB and the workers' tables, of `default` and of each instance; an audit of no address is a difference."""
        parts = [rpc.call("fib.audit", vrf=vrf) for rpc in self.rpc.values() for vrf in ("default", *INSTANCES)]
        return sum(a["mismatch_count"] + a["not_installed"] + (a["checked"] == 0) for a in parts)

    def labels(self, capture):
        """Frames on the core with a label, and instances' packets without one."""
        capture.stop()
        p = subprocess.run(["tshark", "-r", capture.path, "-Y", "udp.port==%d" % PORT, "-T", "fields", "-e", "mpls.label"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if p.returncode != 0:
            raise RuntimeError("tshark: " + p.stderr)
        lines = p.stdout.split("\n")[:-1]
        return {"labelled": sum(1 for x in lines if x), "unlabelled": sum(1 for x in lines if not x), "labels": sorted({int(x.split(",")[-1], 0) for x in lines if x})}

    def main(self):
        worker, control = cpus_of_lab()
        self.say("two edges, a reflector, eight hosts")
        self.build()
        self.start(worker, control)
        self.settle()
        self.say("the instances have the routes of the far sites")
        self.traffic()
        self.say("hosts answer; refreshing for %d s" % self.args.seconds)
        capture = Capture(self.lab.netns("lan"), "pe1", os.path.join(self.out, "core.pcap"))
        refreshes = self.refresh()
        packets = {"sent": 0, "received": 0, "lost": 0, "misdirected": 0}
        where = {}
        for a in self.askers:
            result = a.stop()
            if result["lost"] or result["misdirected"]:
                where[a.what] = result
            packets = {k: packets[k] + result[k] for k in packets}
        cut = [a.stop() for a in self.cut]
        for a in self.answerers:
            a.close()
        report = {"packets": packets, "where": where, "refreshes": refreshes, "answers_without_a_target": sum(r["received"] + r["misdirected"] for r in cut),
                  "asked_without_a_target": sum(r["sent"] for r in cut), "mpls": self.labels(capture), "audit_mismatches": self.audit(),
                  "sessions_dropped": sum(self.session(pe)["state"] != "established" or self.session(pe)["uptime_s"] < self.since[pe] for pe in self.rpc),
                  "exit_status": {}, "wall_s": 0}
        for pe, p in self.daemons.items():
            self.rpc[pe].close()
            report["exit_status"][pe] = p.stop()
        report["wall_s"] = round(time.monotonic() - self.begin, 1)
        return report


def failures(r):
    bad = [k for k, v in (("packets lost", r["packets"]["lost"]), ("packets misdirected", r["packets"]["misdirected"]), ("sessions dropped", r["sessions_dropped"]),
                          ("audit mismatches", r["audit_mismatches"]), ("answers in an instance without targets", r["answers_without_a_target"]),
                          ("packets of instances without a label", r["mpls"]["unlabelled"])) if v != 0]
    bad += ["no packet was sent"] * (r["packets"]["sent"] == 0) + ["no label was seen"] * (r["mpls"]["labelled"] == 0)
    return bad + ["exit status of %s: %s" % x for x in r["exit_status"].items() if x[1] != 0]


def main():
    ap = argparse.ArgumentParser(prog="scripts/demo vpn")
    ap.add_argument("--seconds", type=int, default=20, help="how long everything is refreshed (default 20)")
    ap.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = ap.parse_args()
    out = os.path.join(args.build, "demo-vpn")
    os.makedirs(out, exist_ok=True)
    with Lab(os.path.join(out, "logs")) as lab:
        r = Demo(args, lab, out).main()
    with open(os.path.join(out, "report.json"), "w") as f:
        json.dump(r, f, indent=1)
    for k, v in r.items():
        print("  %-28s %s" % (k, json.dumps(v)))
    bad = failures(r)
    print("FAILED: " + ", ".join(bad) if bad else "all zeros: no packet lost or misdirected, no session dropped, no audit mismatch")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, TimeoutError, OSError) as e:
        sys.stderr.write("\ndemo vpn: %s\n" % e)
        sys.exit(1)
