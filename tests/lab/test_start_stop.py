#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: host
"""Starts and stops with ports of all types leave nothing behind: no interface, address, rule, socket, process, file of EAL, hugepage file, BPF program, BPF map
or XDP attachment.
KEEL_ROUNDS (4): starts.

    rt (keeld): null, tap (net_tap), ring, memif; xdp, packet, capture --- far, each a veth pair
"""
import ctypes
import errno
import glob
import os
import re
import sys

import labtest
from labtest import KEELD, Lab, need, out_folder, wait_for
from lab import EAL_FOLDERS, Hugepages, cpus_of_lab, forwarder_of, process_gone, read

NAME = "start_stop"
ROUNDS = int(os.environ.get("KEEL_ROUNDS", "4"))
MEMORY_MB = 512
WIRES = ("xdp", "packet", "capture")
SYS_BPF, PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID = 321, 13, 14
STATES = {"null": "up", "tap": "up", "ring": "up", "memif": "down", "xdp": "up", "packet": "up", "capture": "up"}


def bpf_exists(command, number):
    """True if the kernel has a program or a map of this id."""
    attr = ctypes.create_string_buffer(number.to_bytes(4, sys.byteorder), 120)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_BPF, command, attr, len(attr))
    if fd < 0 and ctypes.get_errno() == errno.ENOENT:
        return False
    if fd < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    os.close(fd)
    return True


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab
        self.pids = []

    def config(self):
        worker, control = cpus_of_lab()
        devices = {"null": "net_null0,no-rx=1", "tap": "net_tap0,iface=tapdev", "ring": "net_ring0",
                   "memif": "net_memif0,role=server,socket=%s,socket-abstract=no" % self.lab.path("memif.sock"),
                   "xdp": "net_af_xdp0,iface=xdp", "packet": "net_af_packet0,iface=packet", "capture": "net_pcap0,iface=capture"}
        return {
            "router": {"asn": 64512, "router_id": "198.18.0.1"},
            "dataplane": {"worker_cpus": [worker], "control_cpus": control, "memory_mb": MEMORY_MB},
            "ports": [{"name": n, "device": d, "addresses": ["198.18.%d.1/24" % (i + 1)]} for i, (n, d) in enumerate(devices.items())],
        }

    def left(self):
        """What a start could leave behind, in the namespace and in folders."""
        found = {
            "links": self.lab.sh("rt", "ip -o link 2>/dev/null | sed 's/<[^>]*>//; s/state [A-Z]*//'"),
            "addresses": self.lab.sh("rt", "ip -o address 2>/dev/null"),
            "rules": self.lab.sh("rt", "{ ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; } 2>/dev/null"),
            "neighbours": self.lab.sh("rt", "ip neighbour"),
            "AF_XDP": self.lab.sh("rt", "ss -H -a --xdp"),
            "processes": self.lab.sh("rt", "ip netns pids " + self.lab.netns("rt") + " | wc -l"),
            "namespaces": [n for n in os.listdir("/run/netns") if n.startswith(self.lab.tag)],
            "folder": sorted(f for f in os.listdir(self.lab.dir)),
            "state": sorted(f for f in os.listdir(self.lab.path("keeld.state"))) if os.path.isdir(self.lab.path("keeld.state")) else [],
        }
        for kind in ("unix", "packet", "netlink", "tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            found["sockets of " + kind] = self.lab.sh("rt", "wc -l < /proc/net/%s" % kind)
        folders = [EAL_FOLDERS] + [line.split()[1] for line in read("/proc/mounts").splitlines() if line.split()[2] == "hugetlbfs"]
        found["files of EAL"] = [e for d in folders for e in glob.glob(d + "/*") if set(re.findall(r"\d+", os.path.basename(e))) & set(map(str, self.pids))]
        return found

    def bpf_of(self, pids):
        """Ids of programs and maps that the processes hold, or that are attached: {(command of bpf(), id)}."""
        found = {(PROG_GET_FD_BY_ID, int(n)) for n in re.findall(r"prog/xdp id (\d+)", self.lab.sh("rt", "ip -d link"))}
        for pid in pids:
            for path in glob.glob("/proc/%d/fdinfo/*" % pid):
                text = read(path)
                found |= {(PROG_GET_FD_BY_ID, int(n)) for n in re.findall(r"^prog_id:\s+(\d+)", text, re.M)}
                found |= {(MAP_GET_FD_BY_ID, int(n)) for n in re.findall(r"^map_id:\s+(\d+)", text, re.M)}
        return found

    def round(self):
        keeld, rpc = self.lab.keeld("rt", self.config(), KEELD)
        states = {}

        def settled():
            states.update((p["name"], p["state"]) for p in rpc.call("dataplane.stats")["ports"])
            return states == STATES

        wait_for("the ports", settled, 30)
        pids = [rpc.call("system.info")["pid"], forwarder_of(rpc)]
        self.pids += pids
        bpf = self.bpf_of(pids)
        rpc.close()
        status = keeld.stop()
        wait_for("the end of keelfwd", lambda: process_gone(pids[1]), 30)
        self.lab.processes.remove(keeld)
        return status, bpf

    def run(self):
        c, lab = self.c, self.lab
        for h in ("rt", "far"):
            lab.host(h)
        for wire in WIRES:
            lab.link("far", wire, None, "rt", wire, None)
        for _ in range(2):  # the first ones make the folders of state
            self.round()
        self.pids = []
        before = self.left()
        for n in range(ROUNDS):
            status, bpf = self.round()
            c.true("start %d: BPF objects in use" % n, {k for k, _ in bpf} == {PROG_GET_FD_BY_ID, MAP_GET_FD_BY_ID}, bpf)
            c.equal("start %d: exit status" % n, status, 0)
            # the kernel frees some objects later
            c.comes_to("start %d: BPF objects left behind" % n, lambda: sorted(b for b in bpf if bpf_exists(*b)), [])
            c.comes_to("start %d: left behind" % n, lambda: {k: (v, before[k]) for k, v in self.left().items() if v != before[k]}, {})


def test(checks):
    with Lab(OUT) as lab, Hugepages(int(read(Hugepages.PATH)) + MEMORY_MB // 2):
        Test(checks, lab).run()


if __name__ == "__main__":
    need("ip", "ethtool", "ss", files=(KEELD,))
    OUT = out_folder(NAME)
    sys.exit(labtest.main(test))
