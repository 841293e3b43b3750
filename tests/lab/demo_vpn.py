#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""VPN instances, end to end: two provider edges (keeld), FRR as the route reflector between them, four instances that use the same addresses, and at each
edge and instance a customer edge (BIRD, external BGP over the port of the instance) with a host behind. Each host sends numbered requests to the addresses of
the far site, and the answer names the answering host. Meanwhile all instances and both VPN families are refreshed: first over labels on the link, then over
MPLS in UDP (RFC 7510). Called by scripts/demo vpn; writes build/demo-vpn/report.json.

    red-1 --- ce-red-1 (BIRD) --- pe1 (keeld) ---+--- pe2 (keeld) --- ce-red-2 (BIRD) --- red-2
                                                 |
                                             rr (FRR)

and the same for blue, green and gold. red and blue reach their own far site. green-1 imports no target of green-2, so green has no way. gold has two targets,
one for each direction.
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
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", d) for d in ("lab", "interop", "bench")]
from daemons import Frr, Session, Setup  # noqa: E402
from lab import Lab, cpus_of_lab, wait_for  # noqa: E402
from labtest import Capture, in_netns  # noqa: E402

ASN = 64512
CE_ASN = {"pe1": 65001, "pe2": 65002}
LINK = {False: ("192.0.2.1", "192.0.2.2", 30), True: ("2001:db8:ff::1", "2001:db8:ff::2", 64)}  # addresses of edge and customer edge, length: everywhere the same
VPN = ("vpnv4-unicast", "vpnv6-unicast")
UNICAST = ("ipv4-unicast", "ipv6-unicast")
# instance: (targets that pe1 imports, exports; that pe2 imports, exports)
INSTANCES = {"red": (["64512:1"], ["64512:1"], ["64512:1"], ["64512:1"]),
             "blue": (["64512:2"], ["64512:2"], ["64512:2"], ["64512:2"]),
             "green": ([], ["64512:3"], [], ["64512:4"]),
             "gold": (["64512:6"], ["64512:5"], ["64512:5"], ["64512:6"])}
REACHABLE = ("red", "blue", "gold")
QUICK = ("red", "blue", "green")
TUNNEL_PORT = 6635
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


def edge(pe, names, worker, control):
    """Configuration of a provider edge."""
    n = int(pe[-1])
    targets = {name: INSTANCES[name] for name in names}
    vrfs = [{"name": name, "rd": "%s:%d" % (CORE[pe], i), "import_targets": t[2 * n - 2], "export_targets": t[2 * n - 1]}
            for i, (name, t) in enumerate(targets.items(), 1)]
    ports = [{"name": "core", "device": "net_af_xdp_core,iface=core", "addresses": [CORE[pe] + "/24"], "mpls": True}]
    ports += [{"name": name, "device": "net_af_xdp_%s,iface=%s" % (name, name), "vrf": name,
               "addresses": ["%s/%d" % (own, length) for own, _, length in LINK.values()]} for name in names]
    policies = {"import_policy": "accept-all", "export_policy": "accept-all"}
    return {"router": {"asn": ASN, "router_id": CORE[pe]},
            "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 640, "eal_args": ["--no-huge"]},
            "vrfs": vrfs, "ports": ports,
            "bgp": {"groups": [{"name": "ce", "asn": CE_ASN[pe], "timers": {"connect_retry_s": 1, "idle_hold_s": 1}}],
                    "peers": [{"address": CORE["rr"], "asn": ASN, "families": {f: {} for f in VPN}}] +
                             [{"address": LINK[v6][1], "group": "ce", "vrf": name, "families": {UNICAST[v6]: policies}}
                              for name in names for v6 in (False, True)]}}


def customer_edge(pe):
    """Configuration of BIRD: a session for each family, with the subnet of the host."""
    n = int(pe[-1])
    out = ["log stderr all;", "router id 10.0.%d.1;" % n, "protocol device { }", "protocol direct { ipv4; ipv6; interface \"lan\"; }",
           "protocol kernel { ipv4 { export all; }; }", "protocol kernel { ipv6 { export all; }; }"]
    for v6, (far, own, _) in LINK.items():
        out.append("protocol bgp pe%d { local %s as %d; neighbor %s as %d; connect retry time 1; connect delay time 1; error wait time 1, 2; %s { import all; export all; "
                   "}; }" % (6 if v6 else 4, own, CE_ASN[pe], far, ASN, "ipv6" if v6 else "ipv4"))
    return "\n".join(out) + "\n"


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
        while quiet < 10:  # half a second of silence after the last request
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
        self.names = QUICK if args.quick else tuple(INSTANCES)
        self.reachable = [name for name in self.names if name in REACHABLE]

    def say(self, text):
        print("%6.1f s  %s" % (time.monotonic() - self.begin, text), flush=True)

    def hosts(self):
        return [("%s-%s" % (name, pe[-1]), name, pe) for pe in ("pe1", "pe2") for name in self.names]

    def build(self):
        lab = self.lab
        for h in ("pe1", "pe2", "rr", "lan"):
            lab.host(h, ipv6=h != "lan")
        lab.sh("lan", "ip link add br0 type bridge; ip link set br0 up")
        for h in ("pe1", "pe2", "rr"):
            lab.link(h, "core" if h != "rr" else "eth0", None if h != "rr" else CORE["rr"] + "/24", "lan", h, None)
            lab.sh("lan", "ip link set %s master br0" % h)
        for host, name, pe in self.hosts():
            ce = "ce-" + host
            lab.host(host, ipv6=True)
            lab.host(ce, ipv6=True, forward=True)
            lab.link(host, "eth0", [host_address(pe, False) + "/24", host_address(pe, True) + "/64"], ce, "lan", [gateway(pe, False) + "/24", gateway(pe, True) + "/64"])
            lab.sh(host, "ip route add default via %s; ip -6 route add default via %s" % (gateway(pe, False), gateway(pe, True)))
            lab.link(ce, "wan", ["%s/%d" % (own, length) for _, own, length in LINK.values()], pe, name, None)

    def start(self, worker, control):
        lab = self.lab
        self.rr = Reflector(lab, "rr").start(Setup(ASN, CORE["rr"], [Session("pe1", CORE["rr"], CORE["pe1"], ASN, VPN)]))
        keeld = os.path.join(self.args.build, "control", "keeld")
        with ThreadPoolExecutor() as pool:
            started = dict(zip(("pe1", "pe2"), pool.map(lambda pe: lab.keeld(pe, edge(pe, self.names, worker, control), keeld, name=pe), ("pe1", "pe2"))))
        self.daemons = {pe: process for pe, (process, _) in started.items()}
        self.rpc = {pe: rpc for pe, (_, rpc) in started.items()}
        for host, _, pe in self.hosts():
            lab.bird("ce-" + host, customer_edge(pe))

    def sessions(self, pe):
        """{(instance, address): seconds since the session is up, or None}"""
        return {(p["vrf"], p["address"]): p["uptime_s"] if p["state"] == "established" else None for p in self.rpc[pe].call("bgp.peers")["peers"]}

    def dropped(self):
        """Sessions that are down, or younger than at the last settle()."""
        return sum(up is None or up < self.since[pe][key] for pe in self.rpc for key, up in self.sessions(pe).items())

    def settle(self):
        for pe in self.rpc:
            wait_for("sessions of %s" % pe, lambda p=pe: None not in self.sessions(p).values(), 60)
        self.since = {pe: self.sessions(pe) for pe in self.rpc}
        for pe, other in (("pe1", "pe2"), ("pe2", "pe1")):
            for name in self.reachable:
                for f, v6 in zip(UNICAST, (False, True)):
                    wait_for("%s %s in %s of %s" % (f, network(other, v6), name, pe), lambda: any(
                        r["best"] and r["valid"] for r in self.rpc[pe].call("rib.routes", family=f, vrf=name, view="loc", prefix=network(other, v6))["routes"]), 60)

    def traffic(self):
        self.answerers = [Answerer(self.lab, host, host_address(pe, v6)) for host, _, pe in self.hosts() for v6 in (False, True)]
        self.askers, self.cut = [], []
        for name in self.names:
            for own, far in (("pe1", "pe2"), ("pe2", "pe1")):
                for v6 in (False, True):
                    a = Asker(self.lab, "%s-%s" % (name, own[-1]), host_address(own, v6), host_address(far, v6), "%s-%s" % (name, far[-1]))
                    (self.askers if name in self.reachable else self.cut).append(a)
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
                for vrf, family in [("default", f) for f in VPN] + [(name, f) for name in self.names for f in UNICAST]:
                    for direction in ("import", "export"):
                        answer = rpc.call("bgp.refresh", family=family, vrf=vrf, scope="all", direction=direction)
                        jobs += [(rpc, answer["job"])] if answer["job"] else []
                        count["in" if direction == "import" else "out"] += 1
            for rpc, job in jobs:
                wait_for("end of job %d" % job, lambda: rpc.call("jobs.get", id=job)["state"] != "running", 60)
        return count

    def audit(self):
        """Differences between the RIB and the workers' tables, of `default` and of each instance; an audit of no address is a difference."""
        parts = [rpc.call("fib.audit", vrf=vrf) for rpc in self.rpc.values() for vrf in ("default", *self.names)]
        return sum(a["mismatch_count"] + a["not_installed"] + (a["checked"] == 0) for a in parts)

    def labels(self, capture, udp):
        """Packets of instances on the core, by tshark: with a label in the transport asked for, and others."""
        capture.stop()
        p = subprocess.run(["tshark", "-r", capture.path, "-Y", "udp.port==%d" % PORT, "-T", "fields", "-e", "mpls.label", "-e", "udp.dstport", "-e", "ip.dst",
                            "-e", "udp.srcport"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if p.returncode != 0:
            raise RuntimeError("tshark: " + p.stderr)
        good, bad, labels, sources = 0, 0, set(), set()
        for line in p.stdout.split("\n")[:-1]:
            label, ports, to, source = (x.split(",") for x in line.split("\t"))
            if label != [""] and (ports[0] == str(TUNNEL_PORT) and to[0] in CORE.values()) == udp:
                good += 1
                labels.add(int(label[-1], 0))
                sources.add(source[0])
            else:
                bad += 1
        return {"labelled": good, "otherwise": bad, "labels": sorted(labels), **({"source_ports": len(sources)} if udp else {})}

    def tunnels(self):
        """Moves the labelled packets into UDP, at run time."""
        for pe, other in (("pe1", "pe2"), ("pe2", "pe1")):
            self.rpc[pe].call("config.edit", merge={"udp_tunnels": [{"name": other, "destination": CORE[other], "source": CORE[pe]}]})
            self.rpc[pe].call("config.commit")

    def phase(self, transport):
        """Traffic while everything is refreshed."""
        self.traffic()
        self.say("hosts answer over %s; refreshing for %d s" % (transport, self.args.seconds))
        capture = Capture(self.lab.netns("lan"), "pe1", os.path.join(self.out, transport + ".pcap"))
        refreshes = self.refresh()
        packets = {"sent": 0, "received": 0, "lost": 0, "misdirected": 0}
        where = {}
        for a in self.askers + self.cut:  # all at once: each waits for silence
            a.over = True
        for a in self.askers:
            result = a.stop()
            if result["lost"] or result["misdirected"]:
                where[a.what] = result
            packets = {k: packets[k] + result[k] for k in packets}
        cut = [a.stop() for a in self.cut]
        for a in self.answerers:
            a.over = True
        for a in self.answerers:
            a.close()
        return {"packets": packets, "where": where, "refreshes": refreshes, "answers_without_a_target": sum(r["received"] + r["misdirected"] for r in cut),
                "asked_without_a_target": sum(r["sent"] for r in cut), "core": self.labels(capture, transport == "udp"), "audit_mismatches": self.audit(),
                "sessions_dropped": self.dropped()}

    def main(self):
        worker, control = cpus_of_lab()
        self.say("two edges, a reflector, %d customer edges and hosts" % len(self.hosts()))
        self.build()
        self.start(worker, control)
        self.settle()
        self.say("the instances have the routes of the far sites")
        report = {"mpls": self.phase("mpls")}
        self.tunnels()
        report["udp"] = self.phase("udp")
        for rpc in self.rpc.values():
            rpc.close()
        with ThreadPoolExecutor() as pool:
            report["exit_status"] = dict(zip(self.daemons, pool.map(lambda p: p.stop(), self.daemons.values())))
        report["wall_s"] = round(time.monotonic() - self.begin, 1)
        return report


def failures(report):
    bad = []
    for transport in ("mpls", "udp"):
        r = report[transport]
        bad += ["%s: %s" % (transport, k) for k, v in (
            ("packets lost", r["packets"]["lost"]), ("packets misdirected", r["packets"]["misdirected"]), ("sessions dropped", r["sessions_dropped"]),
            ("audit mismatches", r["audit_mismatches"]), ("answers in an instance without targets", r["answers_without_a_target"]),
            ("packets of instances in another transport", r["core"]["otherwise"]), ("no packet was sent", r["packets"]["sent"] == 0),
            ("no label was seen", r["core"]["labelled"] == 0)) if v]
    return bad + ["exit status of %s: %s" % x for x in report["exit_status"].items() if x[1] != 0]


def main():
    ap = argparse.ArgumentParser(prog="scripts/demo vpn")
    ap.add_argument("--seconds", type=int, help="how long everything is refreshed over each transport (default 20; with --quick 1)")
    ap.add_argument("--quick", action="store_true", help="three instances instead of four")
    ap.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = ap.parse_args()
    args.seconds = args.seconds or (1 if args.quick else 20)
    out = os.path.join(args.build, "demo-vpn")
    os.makedirs(out, exist_ok=True)
    with Lab(os.path.join(out, "logs")) as lab:
        r = Demo(args, lab, out).main()
    with open(os.path.join(out, "report.json"), "w") as f:
        json.dump(r, f, indent=1)
    for k, v in [(t + " " + k, v) for t in ("mpls", "udp") for k, v in r[t].items()] + [(k, r[k]) for k in ("exit_status", "wall_s")]:
        print("  %-32s %s" % (k, json.dumps(v)))
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
