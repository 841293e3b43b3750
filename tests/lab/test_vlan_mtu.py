#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Frames of a VLAN on an AF_XDP port, and the MTU of its interface. The sender's veth keeps the VLAN tag beside the frame, as a driver with VLAN offload
does: an XDP program sees such a frame as untagged, and keeld forwarded it out of its VLAN. keeld switches the offload off, restores it when it stops, and
after a kill at the next stop. Without `mtu` in the configuration the interface keeps its MTU.

    a --- rt (keeld) --- b
"""
import os
import signal
import socket
import subprocess
import sys

import labtest
from labtest import KEELD, Capture, Lab, in_netns, need, out_folder
from lab import cpus_of_lab

NAME = "vlan_mtu"
MARK = 10  # for packets with a VLAN tag
TAGGED, PLAIN = 4001, 4002
COUNT = 20
TAGGER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int push(struct __sk_buff *s)
{
	if (s->mark == %d)
		bpf_skb_vlan_push(s, 0x0081, 10); /* 802.1Q, in network order */
	return 0;
}
char _license[] SEC("license") = "GPL";
""" % MARK


def config(**mtu):
    worker, others = cpus_of_lab()
    return {"router": {"asn": 64512, "router_id": "10.1.0.1"},
            "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512},
            "ports": [dict({"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": ["10.%d.0.1/24" % i]},
                           **({"mtu": mtu[n]} if n in mtu else {})) for n, i in (("pa", 1), ("pb", 2))]}


def topology(lab):
    for h in ("a", "rt", "b"):
        lab.host(h)
    lab.link("a", "up", "10.1.0.2/24", "rt", "pa", None)
    lab.link("b", "up", "10.2.0.2/24", "rt", "pb", None)
    for h in "ab":
        lab.sh(h, "ip route add default via 10.%d.0.1" % (1 + "ab".index(h)))
    source, program = lab.write("tagger.c", TAGGER), os.path.join(lab.dir, "tagger.o")
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-I/usr/include/%s-linux-gnu" % os.uname().machine, "-c", source, "-o", program], check=True)
    lab.sh("a", "tc qdisc add dev up clsact && tc filter add dev up egress bpf da obj %s sec tc" % program)


def offload(lab, host, interface):
    """{feature: on or off} of VLAN tags."""
    lines = lab.sh(host, "ethtool -k %s" % interface).splitlines()
    return {k.strip(): v.split()[0] for k, _, v in (line.partition(":") for line in lines)
            if k.strip() in ("rx-vlan-offload", "tx-vlan-offload", "rx-vlan-stag-hw-parse", "tx-vlan-stag-hw-insert")}


def mtu(lab, interface):
    return int(lab.sh("rt", "cat /sys/class/net/%s/mtu" % interface))


def mtu_fault(rpc, value):
    rpc.call("config.edit", patch=[{"op": "add", "path": "/ports/0/mtu", "value": value}])
    faults = [[e["path"], e["reason"].split(",")[0]] for e in rpc.call("config.validate")["errors"]]
    rpc.call("config.discard")
    return faults


def send(lab, port, mark):
    def packets():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        for i in range(COUNT):
            s.sendto(b"%d" % i, ("10.2.0.2", port))
        s.close()
    in_netns(lab.netns("a"), packets)


def arrived(capture, port):
    """Number of frames to the UDP port."""
    return sum(1 for _, f in capture.frames if f[12:14] == b"\x08\x00" and f[23] == 17 and f[36:38] == port.to_bytes(2, "big"))


def forwards(checks, lab, what):
    """Untagged packets pass, tagged packets do not."""
    def warm():
        send(lab, PLAIN, 0)
        return arrived(capture, PLAIN) >= COUNT, arrived(capture, PLAIN)

    capture = Capture(lab.netns("b"), "up", os.path.join(out_folder(NAME), "b.pcap"))
    checks.eventually(what + ": untagged packets arrive", warm, 30)
    before = arrived(capture, PLAIN)
    send(lab, TAGGED, MARK)
    send(lab, PLAIN, 0)  # sent after the tagged packets: when these arrive, the tagged packets would have arrived, too
    checks.eventually(what + ": untagged packets behind those of the VLAN arrive", lambda: (arrived(capture, PLAIN) >= before + COUNT, before), 20)
    capture.stop()
    checks.equal(what + ": packets of the VLAN that left untagged", arrived(capture, TAGGED), 0)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        topology(lab)
        lab.sh("rt", "ip link set pa mtu 9000")
        # the operator's own setting, which must stay
        lab.sh("rt", "ethtool -K pb rx-vlan-stag-hw-parse off")
        places = [("rt", "pa"), ("rt", "pb"), ("a", "up"), ("b", "up")]
        before = {p: offload(lab, *p) for p in places}
        checks.equal("the veth of the sender has the offload", before["a", "up"]["tx-vlan-offload"], "on")

        daemon, rpc = lab.keeld("rt", config(), KEELD)
        checks.equal("without `mtu` the interface keeps 9000", mtu(lab, "pa"), 9000)
        alarms = [a["text"] for a in rpc.call("system.info")["alarms"] if a["kind"] == "port-mtu"]
        checks.equal("an alarm names the port and both values", alarms, ["port pa has MTU 2034, and its interface 9000"])
        checks.equal("an `mtu` above the limit is a fault of the document", mtu_fault(rpc, 2035),
                     [["/ports/0/mtu", "MTU 2035 is above 2034"]])
        lab.sh("rt", "ip link set pa mtu 2034")
        checks.comes_to("no alarm once both are equal", lambda: [a for a in rpc.call("system.info")["alarms"] if a["kind"] == "port-mtu"], [])
        lab.sh("rt", "ip link set pa mtu 9000")
        for host, interface in places:
            directions = ("rx",) if host == "rt" else ("tx",)
            checks.equal("VLAN offload of %s in %s is off" % (interface, host),
                         {v for k, v in offload(lab, host, interface).items() if k[:2] in directions}, {"off"})
        forwards(checks, lab, "started")
        rpc.close()
        checks.equal("stops in order", daemon.stop(), 0)
        # keeld has no right for the far ends in other namespaces any more (docs/limits.md)
        own = {p: o for p, o in before.items() if p[0] == "rt"}
        checks.equal("all offloads of the ports are as before", {p: offload(lab, *p) for p in own}, own)
        checks.equal("the MTU is as before", mtu(lab, "pa"), 9000)

        daemon, rpc = lab.keeld("rt", config(pb=1400), KEELD)
        checks.equal("with `mtu` 1400 the interface has it", mtu(lab, "pb"), 1400)
        daemon.stop(sig=signal.SIGKILL)
        rpc.close()
        checks.true("a killed one restores nothing", offload(lab, "rt", "pa") != before["rt", "pa"])
        daemon, rpc = lab.keeld("rt", config(), KEELD)
        checks.equal("an `mtu` that is gone from the configuration leaves the interface alone", mtu(lab, "pb"), 1400)
        forwards(checks, lab, "after the kill")
        rpc.close()
        checks.equal("stops in order after the kill", daemon.stop(), 0)
        checks.equal("all offloads of the ports are as before the kill", {p: offload(lab, *p) for p in own}, own)


if __name__ == "__main__":
    need("ip", "ethtool", "tc", "clang", files=(KEELD,))
    sys.exit(labtest.main(test))
