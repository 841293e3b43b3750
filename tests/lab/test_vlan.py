#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""Ports on VLANs of an AF_XDP port and of a port in memory: BIRD behind tags of one wire, the frames of each VLAN, and commits under traffic. The far end is the kernel's own: eBPF pushes
and pops the tags (bpf_skb_vlan_push), because a kernel may lack VLAN devices. In a guest of scripts/nic-guest both ports have a driver of DPDK, and the far end has VLAN devices. KEEL_ROUNDS (3): how often a VLAN is added, moved and removed.

    src --- west, rt (keeld), trunk --- up, far: v10 (tag 10), v20 (tag 20), v7 (tags 200, 7), v30 (tag 30: no port of rt)
"""
import json
import os
import socket
import subprocess
import sys

import frames
import labtest
from labtest import KEELD, NICS, PROBE, Capture, Lab, Probe, in_netns, need, out_folder, peer, wait_established, wait_for
from lab import cpus_of_lab

NAME = "vlan"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "3"))
PPS = int(os.environ.get("KEEL_PPS", "5000"))
ROUTES = 40
# interface of the far end: outer tag, inner tag, third octet of the subnet
FAR = {"v10": (10, 0, 10), "v20": (20, 0, 20), "v7": (200, 7, 7), "v30": (30, 0, 30)}
BRIDGE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define TAG(n) ((n) << 8 & 0xff00 | (n) >> 8)
/* From the wire to the interface of the VLAN: the kernel has moved the outer tag beside the frame. */
SEC("tc/in") int in(struct __sk_buff *s)
{
	unsigned outer = s->vlan_tci & 0xfff;

	if (!s->vlan_present)
		return 0;
	bpf_skb_vlan_pop(s);
	if (outer == 10)
		return bpf_redirect(V10, 0);
	if (outer == 20)
		return bpf_redirect(V20, 0);
	if (outer == 30)
		return bpf_redirect(V30, 0);
	if (outer == 200 && s->vlan_present && (s->vlan_tci & 0xfff) == 7) {
		bpf_skb_vlan_pop(s);
		return bpf_redirect(V7, 0);
	}
	return 2; /* TC_ACT_SHOT */
}
#define OUT(name, inner, outer) SEC("tc/" #name) int name(struct __sk_buff *s) { if (inner) bpf_skb_vlan_push(s, 0x0081, inner); \\
	bpf_skb_vlan_push(s, inner ? 0xa888 : 0x0081, outer); return bpf_redirect(UP, 0); }
OUT(v10, 0, 10) OUT(v20, 0, 20) OUT(v7, 7, 200) OUT(v30, 0, 30)
char _license[] SEC("license") = "GPL";
"""
BIRD = """
router id 198.18.10.2;
protocol device { }
ipv4 table t20;
protocol static { ipv4; %s }
protocol static { ipv4 { table t20; }; %s }
template bgp keel { local as 64601; connect delay time 1; connect retry time 2; error wait time 1, 2; }
protocol bgp k10 from keel { neighbor 198.18.10.1 as 64512; ipv4 { import all; export all; }; }
protocol bgp k2 from keel { neighbor 198.18.2.1 as 64512; ipv4 { import none; export none; }; }
protocol bgp k20 from keel { neighbor 198.18.20.1 as 64512; ipv4 { table t20; import all; export all; }; }
""" % tuple(" ".join("route 10.%d.%d.0/24 blackhole;" % (n, i) for i in range(ROUTES)) for n in (10, 20))


def vlan(name, tags, third, **more):
    return {"name": name, "parent": "trunk", "vlan": tags, "addresses": ["198.18.%d.1/24" % third], **more}


T10, T20, T7 = vlan("t10", 10, 10), vlan("trunk.20", 20, 20), vlan("q7", [200, 7], 7)


def config(trunk, west="net_af_xdp0,iface=west"):
    worker, control = cpus_of_lab()
    accept = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}
    return {"router": {"asn": 64512, "router_id": "198.18.0.1"},
            "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": 512},
            # a port on a VLAN may stand before its parent
            "ports": [T10, {"name": "west", "device": west, "addresses": ["198.18.1.1/24"]},
                      {"name": "trunk", "device": trunk, "addresses": ["198.18.2.1/24"]}, T20, T7],
            "bgp": {"peers": [{"address": "198.18.%d.2" % n, "asn": 64601, "families": accept} for n in (2, 10, 20)]}}


class Test:
    def __init__(self, checks, lab, trunk, *devices):
        self.c, self.lab, self.trunk, self.devices = checks, lab, trunk, devices

    # ---- the far end ----

    def ifindex(self, interface):
        return int(self.lab.sh("far", "cat /sys/class/net/%s/ifindex" % interface))

    def far_end(self):
        """Interfaces of `far`, each of them untagged, that share the wire `up`."""
        lab = self.lab
        if self.trunk == "nic":
            self.vlan_devices()
        else:
            self.bridge()
        for n in (10, 20):  # what BIRD announces is behind the VLAN alone
            lab.sh("far", "ip rule add iif v%d lookup %d && ip route add local 10.%d.0.0/16 dev lo table %d" % (n, n, n, n))
        for n in (10, 20):
            lab.sh("far", "ip route add 198.18.1.0/24 via 198.18.%d.1 dev v%d metric %d" % (n, n, n))

    def vlan_devices(self):
        for v, (outer, inner, third) in FAR.items():
            link, proto = "up", "802.1Q"
            if inner:
                self.lab.sh("far", "ip link add link up name o%d type vlan proto 802.1ad id %d && ip link set o%d up" % (outer, outer, outer))
                link, outer = "o%d" % outer, inner
            self.lab.sh("far", "ip link add link %s name %s type vlan proto %s id %d && ip link set %s up && ip address add 198.18.%d.2/24 dev %s" %
                        (link, v, proto, outer, v, third, v))

    def bridge(self):
        lab = self.lab
        for v, (_, _, third) in FAR.items():
            lab.sh("far", "ip link add %s type veth peer name p%s && ip link set p%s up && ip link set %s up && ip address add 198.18.%d.2/24 dev %s && "
                          "ethtool -K %s tx off >/dev/null" % (v, v, v, v, third, v, v))
        source, program = lab.write("bridge.c", BRIDGE), lab.path("bridge.o")
        subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-I/usr/include/%s-linux-gnu" % os.uname().machine, "-DUP=%d" % self.ifindex("up")] +
                       ["-D%s=%d" % (v.upper(), self.ifindex("p" + v)) for v in FAR] + ["-c", source, "-o", program], check=True)
        for interface, section in [("up", "in")] + [("p" + v, v) for v in FAR]:
            lab.sh("far", "tc qdisc add dev %s clsact && tc filter add dev %s ingress bpf da obj %s sec tc/%s" % (interface, interface, program, section))

    def build(self):
        lab = self.lab
        for h in ("src", "rt", "far"):
            lab.host(h)
        if self.trunk == "nic":
            for h, interface, nic in (("src", "eth0", NICS[0]), ("far", "up", NICS[1])):
                lab.move(nic[2], h, interface)
                lab.sh(h, "ip address add 198.18.%d.2/24 dev %s; ip link set dev %s up" % (1 + (h == "far"), interface, interface))
        else:
            lab.link("src", "eth0", "198.18.1.2/24", "rt", "west", None)
        self.wire()
        lab.sh("src", "ip route add default via 198.18.1.1")
        self.keeld, self.rpc = lab.keeld("rt", config(*self.devices), KEELD)
        self.started()
        self.far_end()
        lab.bird("far", BIRD)
        wait_established(self.rpc, "198.18.2.2")
        for n in (10, 20):
            wait_established(self.rpc, "198.18.%d.2" % n)
            wait_for("routes", lambda: peer(self.rpc, "198.18.%d.2" % n)["families"]["ipv4-unicast"]["accepted"] == ROUTES, 60)
        self.sessions = self.counts()

    def wire(self):
        if self.trunk == "xdp":
            self.lab.link("far", "up", "198.18.2.2/24", "rt", "trunk", None)

    def started(self):
        if self.trunk == "tap":
            self.lab.sh("rt", "ip link set wire netns %s name up" % self.lab.netns("far"))
            self.lab.sh("far", "ip address add 198.18.2.2/24 dev up && ip link set dev up up")

    # ---- what is seen ----

    def counts(self):
        return [peer(self.rpc, "198.18.%d.2" % n)["established_count"] for n in (2, 10, 20)]

    def ports(self):
        return {p["name"]: p for p in self.rpc.call("dataplane.stats")["ports"]}

    def ping(self, host, *words):
        return " 0% packet loss" in self.lab.sh(host, "ping -n -c 1 -W 1 %s || true" % " ".join(words))

    def seen(self):
        c = self.c
        for port in ("t10", "trunk.20", "q7", "trunk"):
            c.comes_to("%s is up" % port, lambda: self.ports()[port]["state"], "up")
        for v, third in (("v10", 10), ("v20", 20), ("v7", 7), ("up", 2)):
            c.comes_to("ping from %s" % v, lambda: self.ping("far", "-I", v, "198.18.%d.1" % third), True)
            c.comes_to("ping to %s" % v, lambda: self.ping("rt", "198.18.%d.2" % third), True)
        for third, size in ((10, 1472), (20, 1472), (7, 1468)):  # a veth with MTU 1500 takes frames with one tag
            c.comes_to("ping through, as long as the MTU", lambda: self.ping("src", "-s %d -M do 198.18.%d.2" % (size, third)), True)
        p = self.ports()
        c.true("each VLAN has counters of its own", all(p[n]["rx_packets"] > 0 and p[n]["tx_packets"] > 0 and p[n]["tx_bytes"] > 64 for n in ("t10", "trunk.20", "q7")), p)
        c.equal("... and the speed of the parent", p["t10"]["speed_mbps"], p["trunk"]["speed_mbps"])

    # ---- frames that must not arrive ----

    def tagged(self, tags, to, mark):
        """A frame of `up` to the router with a packet to a destination behind v10."""
        packet = frames.ipv4("198.18.10.2", to, 17, b"\0\7\0\7" + (8 + len(mark)).to_bytes(2, "big") + b"\0\0" + mark)
        head = b"".join(t.to_bytes(2, "big") + v.to_bytes(2, "big") for t, v in tags)
        return self.mac + frames.STRANGER + head + b"\x08\0" + packet

    def strays(self):
        """Each stray frame, then one of the VLAN behind: when that arrives, the stray would have arrived, too."""
        c = self.c
        self.mac = bytes.fromhex(self.lab.sh("rt", "cat /sys/class/net/t10/address").strip().replace(":", ""))
        strays = {"of VLAN 30": [(0x8100, 30)], "of tags 30 and 10": [(0x88a8, 30), (0x8100, 10)], "of tags 10 and 30": [(0x8100, 10), (0x8100, 30)],
                  "of tags 200 and 8": [(0x88a8, 200), (0x8100, 8)], "of tag 200 alone": [(0x88a8, 200)], "of tag 7 alone": [(0x8100, 7)]}
        right = {"of VLAN 10": [(0x8100, 10)], "with a priority": [(0x8100, 0xe00a)], "with EtherType 88a8": [(0x88a8, 10)], "of tags 200 and 7": [(0x88a8, 200), (0x8100, 7)],
                 "of two tags 8100": [(0x8100, 200), (0x8100, 7)], "without a tag": [], "of VLAN 0": [(0x8100, 0)], "of VLAN 10 and a priority": [(0x8100, 10), (0x8100, 0x6000)]}
        to = "198.18.1.2"
        capture = Capture(self.lab.netns("src"), "eth0", os.path.join(OUT, "strays.pcap"))

        def send():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            s.bind(("up", 0))
            for what, tags in [*strays.items(), *right.items()]:
                s.send(self.tagged(tags, to, what.encode()))
            s.close()

        def arrived():
            return [w for w in [*strays, *right] if any(f.rstrip(b"\0").endswith(w.encode()) for _, f in capture.frames)]

        in_netns(self.lab.netns("far"), send)
        c.comes_to("frames of a VLAN arrive, strays do not", arrived, list(right))
        capture.stop()
        # from an interface that keeps the tag beside the frame, as a driver with VLAN offload does
        c.equal("ping from a VLAN without a port", self.ping("far", "-I", "v30", "198.18.30.1"), False)

    # ---- changes under traffic ----

    def commit(self, ports):
        self.rpc.call("config.edit", patch=[{"op": "replace", "path": "/ports", "value": ports}])
        self.rpc.call("config.commit")

    def changes(self):
        """A VLAN comes, moves to another tag, gets another MTU and goes, beside the VLAN with traffic."""
        c = self.c
        all_ports = config(*self.devices)["ports"]
        before = {n: p for n, p in self.ports().items()}
        for i in range(ROUNDS):
            self.commit([*all_ports, vlan("t30", 30, 30)])
            c.comes_to("%d: a VLAN that a commit adds" % i, lambda: self.ping("far", "-I", "v30", "198.18.30.1"), True)
            self.commit([*all_ports, vlan("t30", [30, 5], 30, mtu=1400)])
            c.true("%d: moved to other tags" % i, not self.ping("far", "-I", "v30", "198.18.30.1"))
            self.rpc.call("config.rollback", to=self.rpc.call("config.history")["commits"][1]["id"])
            c.comes_to("%d: rolled back" % i, lambda: self.ping("far", "-I", "v30", "198.18.30.1"), True)
            self.commit(all_ports)
            c.true("%d: gone" % i, "t30" not in self.ports() and not self.ping("far", "-I", "v30", "198.18.30.1"))
        c.equal("ports are as before", set(self.ports()), set(before))
        c.equal("sessions stayed", self.counts(), self.sessions)

    def refused(self):
        """Faults of a document, each with its place; nothing changes."""
        c = self.c
        all_ports = config(*self.devices)["ports"]
        for what, port, path, reason in (
                ("an unknown parent", {"name": "x", "parent": "nobody", "vlan": 9}, "/ports/5/parent", 'there is no port "nobody"'),
                ("a parent on a VLAN", {"name": "x", "parent": "t10", "vlan": 9}, "/ports/5/parent", '"t10" is on a VLAN itself'),
                ("a VLAN twice", {"name": "x", "parent": "trunk", "vlan": 10}, "/ports/5/vlan", ""),
                ("VLAN 4095", {"name": "x", "parent": "trunk", "vlan": 4095}, "/ports/5/vlan", ""),
                ("three tags", {"name": "x", "parent": "trunk", "vlan": [1, 2, 3]}, "/ports/5/vlan", "has 3 tags"),
                ("a VLAN twice, as an array", {"name": "x", "parent": "trunk", "vlan": [10]}, "/ports/5/vlan", '"10"'),
                ("no number", {"name": "x", "parent": "trunk", "vlan": "10"}, "/ports/5/vlan", ""),
                ("no VLAN", {"name": "x", "parent": "trunk"}, "/ports/5/vlan", "is missing"),
                ("a VLAN without a parent", {"name": "x", "device": "net_tap7", "vlan": 9}, "/ports/5/vlan", "only valid with"),
                ("queues", {"name": "x", "parent": "trunk", "vlan": 9, "queues": 2}, "/ports/5/queues", "only valid without"),
                ("no device", {"name": "x"}, "/ports/5/device", "is missing")):
            self.rpc.call("config.edit", patch=[{"op": "replace", "path": "/ports", "value": [*all_ports, port]}])
            faults = [(e["path"], e["reason"]) for e in self.rpc.call("config.validate")["errors"]]
            c.true("%s is a fault" % what, len(faults) == 1 and faults[0][0] == path and reason in faults[0][1], faults)
            self.rpc.call("config.discard")

    def parent(self):
        """A VLAN follows the link, the MTU and the configuration of its parent."""
        c, lab = self.c, self.lab
        if self.trunk == "tap":  # its driver does not tell the link, and its interface is in the other namespace
            return
        if self.trunk == "xdp":
            lab.sh("far", "ip link set dev up down")
            c.comes_to("down with the link of the parent", lambda: (self.ports()["t10"]["state"], self.ports()["t10"]["reason"]), ("down", "its parent is not up"))
            lab.sh("far", "ip link set dev up up && ip route replace 198.18.1.0/24 via 198.18.10.1 dev v10")
            c.comes_to("up with it", lambda: self.ports()["t10"]["state"], "up")
        def link():
            return json.loads(lab.sh("rt", "ip -j link show t10"))[0]
        for mtu in (1400, 1600, 1500):
            lab.sh("rt", "ip link set trunk mtu %d" % mtu)
            c.comes_to("the MTU of the parent: %d" % mtu, lambda: link()["mtu"], mtu)
        mac = link()["address"]
        for address in ("02:00:00:00:00:99", mac):
            lab.sh("rt", "ip link set trunk address " + address)
            c.comes_to("the MAC address of the parent", lambda: link()["address"], address)
            lab.sh("far", "ip neigh flush all")
            c.comes_to("... ping", lambda: self.ping("far", "-I", "v10", "198.18.10.1"), True)
        self.forwarder_ends()
        ports = config(*self.devices)["ports"]
        ports[2] = {**ports[2], "mtu": 1480}
        self.commit(ports)
        c.comes_to("a parent that opened again: ping", lambda: self.ping("far", "-I", "v10", "198.18.10.1") and self.ping("far", "-I", "v7", "198.18.7.1"), True)
        self.commit(config(*self.devices)["ports"])
        for n in (10, 20):
            wait_established(self.rpc, "198.18.%d.2" % n)
        c.comes_to("... and as before", lambda: self.ping("far", "-I", "v20", "198.18.20.1"), True)

    def forwarder_ends(self):
        """kill -9 of keelfwd: the interface of an AF_XDP parent outlives it, and TAPs come again."""
        for n in (2, 10, 20):  # again after the loss of the link
            wait_established(self.rpc, "198.18.%d.2" % n)
        c, before, pid = self.c, self.counts(), self.rpc.call("system.info")["forwarder"]["pid"]
        os.kill(pid, 9)
        c.comes_to("another keelfwd", lambda: self.rpc.call("system.info")["forwarder"]["pid"] not in (None, pid) and self.ports()["t10"]["state"], "up")
        for v, third in (("v10", 10), ("v20", 20), ("v7", 7), ("up", 2)):
            c.comes_to("ping from %s after kill -9 of keelfwd" % v, lambda: self.ping("far", "-I", v, "198.18.%d.1" % third), True)
        for n in (2, 10, 20):
            wait_established(self.rpc, "198.18.%d.2" % n)
        if self.trunk == "xdp":
            c.equal("the session of the parent stayed", self.counts()[0], before[0])

    def large(self):
        """A VLAN of a large AF_XDP port has the MTU that fits into a buffer with its tags."""
        c, lab = self.c, self.lab
        for host, interface in (("rt", "trunk"), ("far", "up"), *(("far", x) for v in ("v10", "v7") for x in (v, "p" + v))):
            lab.sh(host, "ip link set dev %s mtu 3000" % interface)
        for v, third, most in (("v10", 10, 2030), ("v7", 7, 2026)):
            c.comes_to("the longest packet of %s" % v, lambda: self.ping("far", "-I", v, "-s %d -M do 198.18.%d.1" % (most - 28, third)), True)
            c.comes_to("... from us", lambda: self.ping("rt", "-s %d -M do 198.18.%d.2" % (most - 28, third)), True)
        worker = self.rpc.call("dataplane.stats")["workers"][0]
        c.equal("no frame was too long for a buffer", worker["drops"].get("invariant", 0), 0)

    def run(self):
        self.build()
        self.seen()
        self.strays()
        self.refused()
        probe = Probe(self.lab, ["10.10.%d.1 0" % i for i in range(ROUTES)] + ["10.20.%d.1 1" % i for i in range(ROUTES)], ["far:v10", "far:v20"], PPS)
        probe.say("mask 1 2")
        self.changes()
        got = probe.end()
        self.c.equal("of %d packets lost, misdirected, reordered" % got["sent"], (got["lost"], got["misdirected"], got["reordered"]), (0, 0, 0))
        self.parent()
        if self.trunk == "xdp":
            self.large()
        self.rpc.close()
        self.c.equal("keeld's exit status", self.keeld.stop(), 0)
        if self.trunk == "xdp":
            self.c.true("no port is promiscuous any more", not int(self.lab.sh("rt", "cat /sys/class/net/trunk/flags"), 16) & 0x100)


def test(checks):
    if NICS:
        trunks = (("nic", NICS[1][0], NICS[0][0]),)
    else:
        trunks = (("xdp", "net_af_xdp1,iface=trunk"), ("tap", "net_tap0,iface=wire"))
    for trunk in trunks:
        print("-- " + trunk[1])
        with Lab(OUT) as lab:
            Test(checks, lab, *trunk).run()


if __name__ == "__main__":
    need("ip", "ethtool", "tc", "clang", "bird", files=(KEELD, PROBE))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
