#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelctl doctor on trees of /sys and /proc that the test makes, and with the ports and workers of a real daemon (only where KEELD is given, as root).

usage: test_keelctl_doctor.py KEELCTL [KEELD]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

KEELCTL = sys.argv[1]
KEELD = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None
NODE, CPU = "sys/devices/system/node/node%d/", "sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor"


class Machine(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="keel-doctor-")
        self.addCleanup(shutil.rmtree, self.root)

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write("%s\n" % text)

    def sockets(self, lists):
        for socket, cpus in enumerate(lists):
            self.write(NODE % socket + "cpulist", cpus)
            self.write(NODE % socket + "hugepages/hugepages-2048kB/nr_hugepages", 128)

    def doctor(self, sock="/nonexistent/keel.sock"):
        """(exit status, [line])"""
        env = dict(os.environ, KEEL_ROOT=self.root)
        p = subprocess.run([KEELCTL, "--socket", sock, "doctor"], capture_output=True, text=True, env=env, timeout=300, check=False)
        q = subprocess.run([KEELCTL, "--socket", sock, "--json", "doctor"], capture_output=True, text=True, env=env, timeout=300, check=False)
        lines = p.stdout.splitlines()
        findings = json.loads(q.stdout)["findings"]
        self.assertEqual(["%s: %s; mend: %s" % (f["check"], f["text"], f["command"]) for f in findings] or ["no fault found"], lines)
        self.assertEqual((p.returncode, q.returncode), (1 if findings else 0,) * 2)
        self.assertEqual("not examined" in p.stderr, sock.startswith("/nonexistent"), p.stderr)
        return p.returncode, lines


class WithoutDaemon(Machine):
    def test_a_good_machine(self):
        self.sockets(["0-3", "4-7"])
        self.write("sys/bus/pci/devices/0000:01:00.0/class", "0x020000")
        os.makedirs(self.root + "/sys/kernel/iommu_groups/0")
        self.write(CPU % 0, "performance")
        self.write("proc/sys/kernel/numa_balancing", 0)
        self.assertEqual(self.doctor(), (0, ["no fault found"]))

    def test_forwarder_alone(self):
        self.sockets(["0-3"])
        self.write("proc/77/comm", "keelfwd")
        self.assertEqual(self.doctor()[1], ["forwarder: keelfwd (pid 77) runs without a keeld: it forwards with the last tables, if it had any; mend: systemctl restart keel"])
        self.write("proc/78/comm", "keeld")
        self.assertEqual(self.doctor()[0], 0)

    def test_iommu(self):
        self.sockets(["0-3"])
        self.write("sys/bus/pci/devices/0000:00:1f.2/class", "0x010601")
        self.assertEqual(self.doctor()[0], 0)
        self.write("sys/bus/pci/devices/0000:01:00.0/class", "0x020000")
        line, = self.doctor()[1]
        self.assertRegex(line, r"^iommu: .*; mend: sed .*intel_iommu=on iommu=pt.*update-grub && reboot$")

    def test_hugepages(self):
        self.sockets(["0-3", "4-7"])
        self.write(NODE % 1 + "hugepages/hugepages-2048kB/nr_hugepages", 100)
        self.assertEqual(self.doctor()[1], ["hugepages: socket 1 has 200 MB of hugepages, packet buffers take up to 256 MB; mend: keel-nic hugepages 128 1"])
        self.write(NODE % 1 + "hugepages/hugepages-1048576kB/nr_hugepages", 1)
        self.assertEqual(self.doctor()[0], 0)

    def test_hugepages_without_sockets(self):
        self.assertEqual(self.doctor()[1], ["hugepages: the machine has 0 MB of hugepages, packet buffers take up to 256 MB; mend: keel-nic hugepages 128"])

    def test_governor(self):
        self.sockets(["0-3"])
        for cpu, governor in enumerate(("powersave", "powersave", "performance", "schedutil")):
            self.write(CPU % cpu, governor)
        line, = self.doctor()[1]
        self.assertRegex(line, r"^governor: .*: 0-1,3; mend: echo performance \| tee ")

    def test_balancing(self):
        self.write("proc/sys/kernel/numa_balancing", 1)
        self.sockets(["0-3"])
        self.assertEqual(self.doctor()[0], 0)
        self.sockets(["0-3", "4-7"])
        line, = self.doctor()[1]
        self.assertTrue(line.endswith("mend: sysctl -w kernel.numa_balancing=0"), line)


class Neighbours(Machine):
    """The tables of the kernel against the subnets of the ports of a document."""

    def test_small_table(self):
        """Without a daemon no port is known."""
        self.sockets(["0-3"])
        for family in ("ipv4", "ipv6"):
            for n in (1, 2, 3):
                self.write("proc/sys/net/%s/neigh/default/gc_thresh%d" % (family, n), 1)
        self.assertEqual(self.doctor()[0], 0)


def lab():
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
    import lab as module
    return module


@unittest.skipUnless(KEELD and os.geteuid() == 0, "needs keeld and root")
class WithDaemon(Machine):
    def test_ports_and_workers(self):
        module = lab()
        worker, others = module.cpus_of_lab()
        config = {"router": {"asn": 64512, "router_id": "192.0.2.1"},
                  "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512},
                  "ports": [{"name": "east", "device": "net_af_xdp0,iface=east", "addresses": ["192.0.2.1/24"]}]}
        with module.Lab(os.path.dirname(os.path.dirname(KEELD)) + "/test") as net:
            net.host("r")
            net.host("far")
            net.link("r", "east", None, "far", "east", None)
            process, rpc = net.keeld("r", config, KEELD)
            self.findings(os.path.join(net.dir, "keeld.sock"), worker)
            process.must_run()
            rpc.close()

    def findings(self, sock, worker):
        cpu = "%d" % worker
        self.sockets(["100-103", cpu])
        self.write("sys/devices/system/cpu/isolated", cpu)
        self.write("sys/class/net/east/device/numa_node", 1)
        os.makedirs(self.root + "/sys/class/net/east/queues/rx-0")
        self.write("sys/class/net/east/napi_defer_hard_irqs", 2)
        self.write("sys/class/net/east/gro_flush_timeout", 200000)
        self.write(NODE % 0 + "hugepages/hugepages-2048kB/nr_hugepages", 0)  # no port, no worker
        self.assertEqual(self.doctor(sock), (0, ["no fault found"]))
        for path, text, good, expected in (
                ("sys/devices/system/cpu/isolated", "90", cpu, "isolated: .* %s; mend: sed .*isolcpus=%s nohz_full=%s" % (cpu, cpu, cpu)),
                ("sys/class/net/east/device/numa_node", 0, 1, "socket: port east is on socket 0, CPU %s of socket 1 .*; mend: .*100-103" % cpu),
                ("sys/class/net/east/gro_flush_timeout", 0, 200000, "busy-polling: port east: .*; mend: .*/sys/class/net/east/gro_flush_timeout"),
                (NODE % 1 + "hugepages/hugepages-2048kB/nr_hugepages", 10, 64, "hugepages: socket 1 has 20 MB .* 128 MB; mend: keel-nic hugepages 64 1"),
                (CPU % worker, "powersave", "performance", "governor: .*: %s; mend: " % cpu)):
            self.write(path, text)
            lines = self.doctor(sock)[1]
            self.assertRegex("\n".join(lines), "(?m)^" + expected)
            self.write(path, good)
        for n, limit in ((1, 128), (2, 256), (3, 512)):  # for a /24
            self.write("proc/sys/net/ipv4/neigh/default/gc_thresh%d" % n, limit)
        self.assertEqual(self.doctor(sock)[0], 0)
        self.write("proc/sys/net/ipv4/neigh/default/gc_thresh3", 511)
        line, = self.doctor(sock)[1]
        self.assertRegex(line, "^neighbors: .* room for 511 IPv4 neighbours, .* 256 hosts, .*mend: sysctl -w net.ipv4.neigh.default.gc_thresh3=1024 "
                         "net.ipv4.neigh.default.gc_thresh2=512 net.ipv4.neigh.default.gc_thresh1=256; systemctl restart keel$")
        self.write("proc/sys/net/ipv4/neigh/default/gc_thresh3", 1024)
        os.makedirs(self.root + "/sys/class/net/east/queues/rx-1")
        line, = self.doctor(sock)[1]
        self.assertRegex(line, "^queues: port east: .* has 2 receive queues, workers read 1;.*mend: ethtool -L east combined 1$")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
