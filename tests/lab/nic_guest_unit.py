#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The packaged units on a machine with real drivers, in a guest of scripts/nic-guest --systemd: what `meson install` has put into NIC_GUEST_OUT/root is installed,
the units have AF_XDP ports on the kernel's drivers, the NICs leave these drivers by `keel-nic bind --persist`, the machine restarts, and `systemctl start keel` opens all of them, with MTU 9000 and 512 MB.

    nic0, nic1, ...: a namespace with BIRD each --- keel.service, keel-forwarder.service
"""
import json
import os
import re
import shutil
import sys

import labtest
from labtest import NICS, Lab, Rpc, need, out_folder, peer, run, wait_for

NAME = "nic_guest_unit"
RESTART = 100  # scripts/nic-guest --systemd restarts the machine
DONE = "/var/lib/nic_guest_unit"  # the checks before the restart
DOCUMENT, SOCKET = "/etc/keel/keel.json", "/run/keel/keel.sock"
MTU, MEMORY_MB, HUGEPAGES = 9000, 512, 192
KERNEL_DRIVERS = {"e1000e": "e1000e", "vmxnet3": "vmxnet3", "virtio-net-pci": "virtio-pci"}


def address(n, end):
    return "10.0.%d.%d" % (n + 1, end), "2001:db8:%d::%d" % (n + 1, end)


def interfaces():
    """The interface of each NIC while a kernel driver has it."""
    found = dict(re.findall(r"(?m)^(\S+) +\S+ +\S+ +(\S+)", run("keel-nic", "list")))
    return [found[nic[0]] for nic in NICS]


def document(xdp=()):
    """`xdp`: interfaces for ports of AF_XDP, in the place of PCI devices."""
    devices = [{"device": "net_af_xdp%d,iface=%s" % (n, iface)} for n, iface in enumerate(xdp)] or [{"device": nic[0], "mtu": MTU} for nic in NICS]
    return {"router": {"asn": 64512, "router_id": "10.0.0.1"},
            "dataplane": {"worker_cpus": [1], "control_cpus": [0], "memory_mb": MEMORY_MB, "idle": "adaptive"},
            "ports": [{"name": "port%d" % n, **device, "addresses": ["%s/24" % address(n, 1)[0], "%s/64" % address(n, 1)[1]]}
                      for n, device in enumerate(devices)],
            "bgp": {"peers": [{"address": a, "asn": 64600 + n, "families": {f: {"import_policy": "accept-all", "export_policy": "accept-all"}}}
                              for n in range(len(NICS)) for a, f in zip(address(n, 2), ("ipv4-unicast", "ipv6-unicast"))]}}


def bird(n):
    sessions = "".join("protocol bgp session%d { local %s as %d; neighbor %s as 64512; connect delay time 1; connect retry time 2; error wait time 1, 2;"
                       " ipv%d { import all; export where source = RTS_STATIC; }; }\n" % (v, a, 64600 + n, b, v)
                       for v, a, b in zip((4, 6), address(n, 2), address(n, 1)))
    return "router id 10.0.%d.2;\nprotocol device {}\nprotocol static { ipv4; route 203.0.%d.0/24 blackhole; }\n%s" % (n + 1, n, sessions)


def driver(nic):
    return os.path.basename(os.path.realpath("/sys/bus/pci/devices/%s/driver" % nic[0]))


def install(c):
    """As the package: files, users, and the owner of the configuration."""
    run("sh", "-c", 'tar -C "$NIC_GUEST_OUT/root" -c . | tar -C / -x --keep-directory-symlink --no-overwrite-dir')
    run("systemd-sysusers")
    run("systemctl", "daemon-reload")
    run("udevadm", "control", "--reload")
    os.makedirs(os.path.dirname(DOCUMENT), 0o750)
    shutil.chown(os.path.dirname(DOCUMENT), "keel", "keel")
    models = os.environ["NIC_GUEST"].split(",")
    c.equal("the kernel's drivers have the NICs", [driver(nic) for nic in NICS], [KERNEL_DRIVERS[models[n % len(models)]] for n in range(len(NICS))])


def configure(d):
    with open(DOCUMENT, "w") as f:
        json.dump(d, f)
    shutil.chown(DOCUMENT, "keel", "keel")


def persist(c):
    configure(document())
    for nic, iface in zip(NICS, interfaces()):
        run("ip", "link", "set", iface, "up")
        run("ip", "address", "add", "192.0.2.1/24", "dev", iface)
        got = run("keel-nic", "bind", iface, check=False)
        c.true("%s: %s with an address is refused" % (driver(nic), iface), driver(nic) != "vfio-pci", got)
        run("ip", "address", "flush", "dev", iface)
        c.true("keel-nic bind --persist %s" % iface, "bound to vfio-pci" in run("keel-nic", "bind", "--persist", iface), driver(nic))
    run("keel-nic", "hugepages", "--persist", str(HUGEPAGES))
    with open("/etc/keel-nic.conf") as f:
        c.equal("what the next start repeats", sorted(f.read().splitlines()), sorted(["bind " + nic[0] for nic in NICS] + ["hugepages %d" % HUGEPAGES]))


class Test:
    def __init__(self, checks, lab):
        self.c, self.lab = checks, lab

    def restarted(self):
        c = self.c
        if not c.equal("after the restart: keel-nic.service", run("systemctl", "is-active", "keel-nic", check=False).strip(), "active"):
            raise RuntimeError(run("journalctl", "--no-pager", "-b", "-u", "keel-nic"))
        c.equal("... drivers of the NICs", {driver(nic) for nic in NICS}, {"vfio-pci"})
        with open("/proc/sys/vm/nr_hugepages") as f:
            c.equal("... hugepages", int(f.read()), HUGEPAGES)
        groups = [os.path.basename(os.path.realpath("/sys/bus/pci/devices/%s/iommu_group" % nic[0])) for nic in NICS]
        c.equal("... owners of the devices of vfio", {run("stat", "-c", "%G %a", "/dev/vfio/" + g).strip() for g in groups}, {"keel-forwarder 660"})

    def started(self):
        c = self.c
        got = run("systemctl", "start", "keel", check=False)
        units = [run("systemctl", "is-active", u, check=False).strip() for u in ("keel", "keel-forwarder")]
        c.equal("systemctl start keel", units, ["active", "active"])
        if units != ["active", "active"]:
            raise RuntimeError(got + run("journalctl", "--no-pager", "-o", "cat", "-u", "keel", "-u", "keel-forwarder"))
        pid = run("systemctl", "show", "-P", "MainPID", "keel-forwarder").strip()
        with open("/proc/%s/status" % pid) as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        c.equal("keelfwd: user", set(status["Uid"].split()), {run("id", "-u", "keel-forwarder").strip()})
        c.equal("keelfwd: capabilities", int(status["CapEff"], 16), sum(1 << n for n in (12, 13, 14, 39)))
        self.rpc = Rpc(SOCKET)
        for n in range(len(NICS)):
            c.comes_to("state of port%d" % n, lambda: self.rpc.call("dataplane.stats")["ports"][n]["state"], "up")

    def mtu_and_memory(self):
        c = self.c
        for n in range(len(NICS)):
            with open("/sys/class/net/port%d/mtu" % n) as f:
                c.equal("MTU of the TAP of port%d" % n, int(f.read()), MTU)
        with open("/proc/meminfo") as f:
            free = int(re.search(r"HugePages_Free: +(\d+)", f.read()).group(1))
        c.true("packet buffers are in hugepages", free < HUGEPAGES, free)

    def sessions(self, mtu=MTU):
        c, lab = self.c, self.lab
        for n, nic in enumerate(NICS):
            host = "nic%d" % n
            lab.host(host, ipv6=True)
            lab.move(nic[2], host, "up")
            lab.sh(host, "ip link set dev up mtu %d up; " % mtu + "".join("ip address add %s dev up %s; " % (a, x) for a, x in zip(("%s/24" % address(n, 2)[0], "%s/64" % address(n, 2)[1]), ("", "nodad"))) +
                   "ip route add default via %s; ip -6 route add default via %s" % address(n, 1))
            lab.bird(host, bird(n))
        for n in range(len(NICS)):
            for a in address(n, 2):
                c.comes_to("%s: session of %s" % (NICS[n][0], a), lambda: (peer(self.rpc, a) or {}).get("state"), "established", 90)
        for n in range(len(NICS)):
            far = (n + 1) % len(NICS)
            for a, flags in ((address(n, 1)[0], "-M do -s %d" % (mtu - 28)), (address(far, 2)[0], "-M do -s %d" % (mtu - 28)), (address(far, 2)[1], "-M do -s %d" % (mtu - 48))):
                got = lab.sh("nic%d" % n, "ping -c 3 -i 0.3 -W 5 %s %s" % (flags, a), check=False)
                c.true("nic%d: 3 pings of %d octets to %s" % (n, mtu, a), " 0% packet loss" in got, got)

    def doctor(self):
        got = run("keelctl", "--socket", SOCKET, "doctor", check=False)
        self.c.equal("doctor's faults of NICs", re.findall(r"(?m)^(?:device|iommu|hugepages): .*", got), [])

    def stop(self):
        self.rpc.close()
        run("systemctl", "stop", "keel", "keel-forwarder")

    def xdp(self):
        """AF_XDP ports on the drivers of the kernel."""
        ifaces = interfaces()
        configure(document(ifaces))
        self.started()
        for iface, nic in zip(ifaces, NICS):
            self.c.true("%s has a program of XDP" % driver(nic), "prog/xdp" in run("ip", "-d", "link", "show", "dev", iface))
        self.sessions(1500)
        self.stop()

    def run(self):
        self.restarted()
        self.started()
        self.mtu_and_memory()
        self.sessions()
        self.doctor()
        self.stop()
        with open("/dev/ttyS0", "a") as f:
            f.write(run("journalctl", "--no-pager", "-o", "cat", "-u", "keel-forwarder"))


def test(checks):
    if not os.path.exists(DONE):
        install(checks)
        with Lab(OUT) as lab:
            Test(checks, lab).xdp()
        persist(checks)
        with open(DONE, "w") as f:
            f.write("%d" % checks.bad)
        return
    with Lab(OUT) as lab:
        Test(checks, lab).run()


if __name__ == "__main__":
    need("bird")
    OUT = out_folder(NAME)
    first = not os.path.exists(DONE)
    status = labtest.main(test)
    sys.exit(RESTART if first and status == 0 else status)
