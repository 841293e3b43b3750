#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/nic on a tree of /sys that the test makes: test_nic.py SCRIPT. The files by which the kernel takes orders are FIFOs, and a thread of the test
acts as the kernel. Interfaces, addresses and routes are real, in a network namespace of each run (needs root, otherwise these tests are skipped).
"""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

NIC = os.path.abspath(sys.argv[1])
ROOT = os.geteuid() == 0 and subprocess.run(["unshare", "-n", "ip", "link", "add", "nic-try", "type", "veth", "peer", "name", "nic-peer"],
                                            capture_output=True).returncode == 0
FIRST, SECOND, SATA = "0000:01:00.0", "0000:01:00.1", "0000:00:1f.2"


class Machine(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="keel-nic-")
        self.addCleanup(shutil.rmtree, self.root)
        self.pci = self.root + "/sys/bus/pci"
        os.mkdir(self.root + "/etc")
        self.changed = threading.Condition()
        self.takes = {"vfio-pci", "igb"}  # drivers that accept a device
        for driver in ("vfio-pci", "igb", "mlx5_core"):
            os.makedirs("%s/drivers/%s" % (self.pci, driver))
            self.order("drivers/%s/unbind" % driver, self.unbind)
        self.order("drivers_probe", self.probe)
        self.device(FIRST, "0x020000", "igb", "eth7", group=12, socket=1)
        self.device(SECOND, "0x020000", "igb", "eth8", group=12, socket=1)
        self.device(SATA, "0x010601", "", None, group=3)

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text + "\n")

    def device(self, address, kind, driver, iface, group=None, socket=-1, below=""):
        d = "%s/devices/%s" % (self.pci, address)
        for name, text in {"class": kind, "vendor": "0x8086", "device": "0x1521", "numa_node": str(socket), "driver_override": ""}.items():
            self.write(d + "/" + name, text)
        if driver:
            os.symlink("../../drivers/" + driver, d + "/driver")
        if iface:
            os.makedirs(d + below + "/net/" + iface)
            os.makedirs(self.root + "/sys/class/net/" + iface)
            os.symlink(os.path.relpath(d + below, self.root + "/sys/class/net/" + iface), "%s/sys/class/net/%s/device" % (self.root, iface))
        if group is not None:
            g = "%s/sys/kernel/iommu_groups/%d" % (self.root, group)
            os.makedirs(g + "/devices", exist_ok=True)
            os.symlink(os.path.relpath(g, d), d + "/iommu_group")
            os.symlink(os.path.relpath(d, g + "/devices"), g + "/devices/" + address)

    # ---- the kernel ----

    def order(self, path, act):
        path = self.pci + "/" + path
        os.mkfifo(path)
        stop = threading.Event()

        def serve():
            while True:
                with open(path) as f:
                    addresses = f.read().split()
                if stop.is_set():
                    return
                for address in addresses:
                    act(address)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def end():
            stop.set()
            with open(path, "w"):
                pass
            thread.join(10)

        self.addCleanup(end)

    def unbind(self, address):
        with self.changed:
            os.unlink("%s/devices/%s/driver" % (self.pci, address))
            self.changed.notify_all()

    def probe(self, address):
        d = "%s/devices/%s" % (self.pci, address)
        with open(d + "/driver_override") as f:
            driver = f.read().strip() or "igb"
        with self.changed:  # an order to unbind came first, by another thread
            if self.changed.wait_for(lambda: not os.path.lexists(d + "/driver"), 10) and driver in self.takes:
                os.symlink("../../drivers/" + driver, d + "/driver")

    def driver(self, address):
        d = "%s/devices/%s/driver" % (self.pci, address)
        return os.path.basename(os.readlink(d)) if os.path.lexists(d) else None

    # ---- runs ----

    def nic(self, *words, network=""):
        """(exit status, stdout, stderr); `network`: commands in the namespace of the run."""
        command = [NIC, *words]
        if ROOT:
            command = ["unshare", "-n", "sh", "-ec", network + '\nexec "$@"', "sh", *command]
        p = subprocess.run(command, env=dict(os.environ, KEEL_ROOT=self.root), capture_output=True, text=True, timeout=60, check=False)
        return p.returncode, p.stdout, p.stderr

    def refused(self, text, *words, network="", status=1):
        got, out, err = self.nic(*words, network=network)
        self.assertEqual((got, out), (status, ""), err)
        self.assertIn(text, err)

    def done(self, text, *words, network=""):
        got, out, err = self.nic(*words, network=network)
        self.assertEqual(got, 0, err)
        self.assertIn(text, out)
        return err


class Nic(Machine):
    def test_list(self):
        status, out, err = self.nic("list")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"(?m)^0000:01:00\.0 +8086:1521 +igb +eth7 +1 +12$")
        self.assertNotIn(SATA, out)
        shutil.rmtree(self.pci + "/devices")
        self.done("no network device on the PCI bus", "list")

    def test_usage(self):
        for words in ([], ["frob"], ["list", "x"], ["bind"], ["bind", "a", "b"], ["unbind", "--force", "x"], ["hugepages"], ["hugepages", "-1"],
                      ["hugepages", "8", "x"]):
            self.refused("usage:", *words, status=2)
        self.done("bind [--force] [--persist] DEVICE", "--help")

    def test_names(self):
        self.refused("0000:09:00.0: no such PCI device", "bind", "09:00.0")
        self.refused("no network device (class 0x010601)", "bind", SATA)
        self.refused("nonsense9: neither a PCI address", "bind", "nonsense9")
        self.refused("../eth7: neither a PCI address", "bind", "../eth7")
        os.makedirs(self.root + "/sys/class/net/veth0")
        self.refused("veth0: no PCI device", "bind", "veth0")

    def test_bind_and_unbind(self):
        err = self.done("0000:01:00.0: bound to vfio-pci, before igb", "bind", "eth7")
        self.assertIn("0000:01:00.1 (driver igb) is in the same IOMMU group", err)
        self.assertEqual(self.driver(FIRST), "vfio-pci")
        self.assertEqual(self.driver(SECOND), "igb")
        self.done("bound to vfio-pci already", "bind", FIRST)
        self.done("returned to igb", "unbind", "01:00.0")
        self.assertEqual(self.driver(FIRST), "igb")
        self.refused("bound to igb, not to vfio-pci", "unbind", FIRST)

    def noted(self):
        try:
            with open(self.root + "/etc/keel-nic.conf") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return None

    def test_persist_and_restore(self):
        self.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0")
        self.write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "0")
        self.refused("there is nothing to restore", "restore")
        self.done("bound to vfio-pci", "bind", FIRST)
        self.assertIsNone(self.noted())
        self.done("bound to vfio-pci already", "bind", "--persist", FIRST)
        self.done("bound to vfio-pci", "bind", "--force", "--persist", "eth8")
        for words in (["8"], ["16", "1"], ["32"]):
            self.done("hugepages of 2 MB", "hugepages", "--persist", *words)
        self.assertEqual(self.noted(), ["bind " + FIRST, "bind " + SECOND, "hugepages 16 1", "hugepages 32"])
        # a restart of the machine
        for address in (FIRST, SECOND):
            os.unlink("%s/devices/%s/driver" % (self.pci, address))
            os.symlink("../../drivers/igb", "%s/devices/%s/driver" % (self.pci, address))
            self.write("%s/devices/%s/driver_override" % (self.pci, address), "")
        self.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0")
        out = self.nic("restore")
        self.assertEqual((out[0], self.driver(FIRST), self.driver(SECOND)), (0, "vfio-pci", "vfio-pci"), out)
        self.assertIn("32 hugepages", out[1])
        self.done("returned to igb", "unbind", FIRST)
        self.assertEqual(self.noted(), ["bind " + SECOND, "hugepages 16 1", "hugepages 32"])
        with open(self.root + "/etc/keel-nic.conf", "a") as f:
            f.write("frob\nbind 0000:09:00.0\n")
        status, _, err = self.nic("restore")
        self.assertEqual(status, 1)
        self.assertIn('"frob" is no order', err)
        self.assertIn("0000:09:00.0: no such PCI device", err)

    def test_no_iommu(self):
        os.unlink("%s/devices/%s/iommu_group" % (self.pci, FIRST))
        for words in ([], ["--force"]):
            self.refused("0000:01:00.0: no IOMMU: enable VT-d", "bind", *words, FIRST)
        self.assertEqual(self.driver(FIRST), "igb")
        self.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")
        self.assertIn("can write to all memory", self.done("bound to vfio-pci", "bind", FIRST))

    def test_shared_driver(self):
        self.device("0000:02:00.0", "0x020000", "mlx5_core", "eth9", group=5)
        self.refused("mlx5_core shares the NIC with DPDK", "bind", "--force", "02:00.0")

    @unittest.skipUnless(ROOT, "needs root")
    def test_virtio(self):
        """The interface belongs to a device of the virtio bus, below the device of the PCI bus."""
        self.device("0000:03:00.0", "0x020000", "igb", "ens3", group=6, below="/virtio4")
        self.assertRegex(self.nic("list")[1], r"(?m)^0000:03:00\.0 +\S+ +igb +ens3 ")
        link = "ip link add ens3 type veth peer name far; ip link set ens3 up; "
        self.refused("0000:03:00.0: ens3 has the address 192.0.2.1/32", "bind", "0000:03:00.0", network=link + "ip address add 192.0.2.1/32 dev ens3")
        self.done("0000:03:00.0: bound to vfio-pci, before igb", "bind", "ens3")

    def test_a_device_that_vfio_refuses_returns(self):
        self.takes.discard("vfio-pci")
        self.refused("vfio-pci does not take the device; see dmesg; the device is returned to igb", "bind", FIRST)
        self.assertEqual(self.driver(FIRST), "igb")

    @unittest.skipUnless(ROOT, "needs root")
    def test_devices_in_use(self):
        link = "ip link add eth7 type veth peer name far; ip link set eth7 up; ip link set far up; "
        for network, text in (("ip address add 192.0.2.1/32 dev eth7", "eth7 has the address 192.0.2.1/32"),
                              ("ip address add 2001:db8::1/64 dev eth7 nodad", "eth7 has the address 2001:db8::1/64"),
                              ("ip address add 192.0.2.1/24 dev eth7; ip route add default via 192.0.2.2", "eth7 carries the default route"),
                              ("ip -6 route add default dev eth7", "eth7 carries the default route"),
                              ("ip route add 203.0.113.0/24 dev eth7", "eth7 carries a route to 203.0.113.0/24")):
            self.refused("0000:01:00.0: " + text, "bind", FIRST, network=link + network)
            self.assertEqual(self.driver(FIRST), "igb")
        os.makedirs(self.root + "/sys/class/net/eth7/upper_br0")
        self.refused("eth7 belongs to br0", "bind", FIRST, network=link)
        self.done("bound to vfio-pci", "bind", "--force", FIRST, network=link + "ip address add 192.0.2.1/32 dev eth7")

    def test_hugepages(self):
        self.refused("this machine: the kernel has no hugepages of 2 MB", "hugepages", "8")
        self.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0")
        self.write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "0")
        self.done("this machine: 8 hugepages of 2 MB", "hugepages", "8")
        self.done("socket 1: 16 hugepages of 2 MB", "hugepages", "16", "1")
        self.refused("socket 3: this machine has no such socket", "hugepages", "8", "3")

    def test_too_few_hugepages(self):
        folder = self.root + "/sys/kernel/mm/hugepages/hugepages-2048kB"
        os.makedirs(folder)
        os.symlink("/dev/null", folder + "/nr_hugepages")  # takes the order, and has no pages
        self.refused("only 0 of 8 hugepages", "hugepages", "8")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
