#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The packages of build/package/RELEASE/ in a clean root of that release of Debian that systemd boots: they install, both units start and have the privileges that they
name and no others, each capability is needed, the guide "first router" and the demo pass, a refused reload says so, an upgrade keeps the configuration,
and a purge leaves nothing.
`scripts/package --test` runs it. Needs root; else the exit status is 77.

usage: test_package.py [TEST ...]
"""
import glob
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import unittest

from container import Container, base, run, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = os.environ.get("KEEL_PACKAGES") or os.path.join(ROOT, "build", "package", platform.freedesktop_os_release()["VERSION_CODENAME"])
PROGRAMS = ["/usr/sbin/keeld", "/usr/sbin/keelfwd", "/usr/sbin/keel-http", "/usr/bin/keelctl"] + ["/usr/lib/keelbench/build/tests/bench/" + e for e in
                                                       ("bare", "crowd", "fan", "feed", "lab_ports", "probe", "sink")]
CAPABILITIES = {"cap_net_bind_service": 10, "cap_net_admin": 12, "cap_net_raw": 13, "cap_ipc_lock": 14, "cap_bpf": 39}
EXPOSURE = {"keel": 3.0, "keel-bgp": 2.0, "keel-forwarder": 3.0}
README_TEST = os.path.join(ROOT, "tests", "control", "test_readme.py")
FIRST_ROUTER_S = 60  # from the begin of the installation
DEMO_S = 600
STORM_S = 3600
PEER = {"address": "192.0.2.2", "asn": 64513, "passive": True}
PORTS = [{"name": "east", "device": "net_af_xdp_east,iface=east", "addresses": ["192.0.2.1/24"]}]
# Of a purged root, what differs without being keel's: caches, logs and dpkg's own records.
NOT_OURS = re.compile(r"^/(proc|sys|run|dev|tmp|packages|keel)(/|$)|^/var/(log|cache|lib/dpkg|lib/apt|tmp|lib/systemd)(/|$)|"
                      r"^/etc/(passwd-|shadow-|group-|gshadow-|subuid-|subgid-|ld\.so\.cache|\.pwd\.lock|\.updated)$|/__pycache__(/|$)")


def debs():
    found = {os.path.basename(p).split("_")[0]: p for p in glob.glob(os.path.join(PACKAGES, "*.deb"))}
    if sorted(found) != ["keel", "keelbench"]:
        sys.exit("test_package: no packages in %s: scripts/package makes them" % PACKAGES)
    return found


def dependencies():
    """Names of the packages that Keel's packages depend on, the first of each choice; without Keel's own."""
    names = set()
    for path in debs().values():
        for field in run("dpkg-deb", "-f", path, "Depends").split(","):
            name = re.split(r"[ (|]", field.strip())[0]
            if name not in ("", "keel"):
                names.add(name)
    return names


class Host(unittest.TestCase):
    """Tests that need no container."""

    def test_lintian(self):
        p = subprocess.run(["lintian", "--fail-on", "error", *debs().values()], stdout=subprocess.PIPE, text=True)
        self.assertEqual(p.returncode, 0, p.stdout)

    def test_links(self):
        """Checks the links of the installed documents."""
        with tempfile.TemporaryDirectory() as folder:
            for path in debs().values():
                run("dpkg-deb", "-x", path, folder)
            docs = os.path.join(folder, "usr/share/doc/keel")
            print(run(sys.executable, README_TEST, "--links", docs), end="")
            os.rename(os.path.join(docs, "docs/limits.md"), os.path.join(docs, "docs/borders.md"))
            self.assertEqual(subprocess.run([sys.executable, README_TEST, "--links", docs], stdout=subprocess.PIPE).returncode, 1)  # the check can fail

    def test_hardening(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in debs().values():
                run("dpkg-deb", "-x", path, folder)
            files = [folder + p for p in PROGRAMS]
            # Debian 12's crt1.o has no CET note, so no program has one: the functions' own landing pads are counted below
            p = subprocess.run(["hardening-check", "--nocfprotection", *files], stdout=subprocess.PIPE, text=True)
            self.assertEqual(p.returncode, 0, p.stdout)
            for f in files:
                code = run("sh", "-c", "objdump -d %s | grep -c endbr64" % f)
                self.assertGreater(int(code), 3, f)  # _init, _fini and two of crt1.o have one always

    def test_hardening_check_can_fail(self):
        with tempfile.TemporaryDirectory() as folder:
            soft = os.path.join(folder, "soft")
            with open(soft + ".c", "w") as f:
                f.write("int main(void) { return 0; }\n")
            run("cc", "-no-pie", "-o", soft, soft + ".c")
            self.assertNotEqual(subprocess.run(["hardening-check", "--nocfprotection", soft], stdout=subprocess.PIPE).returncode, 0)


class Installed(unittest.TestCase):
    """One container; the tests run in the order of their names."""

    @classmethod
    def setUpClass(cls):
        os.makedirs(os.path.join(PACKAGES, "container"), exist_ok=True)
        packages = dependencies() | {"systemd-sysv", "dbus", "libpam-systemd", "iproute2", "ethtool", "procps", "python3-minimal",
                                      "iputils-ping", "bird2", "frr", "gobgpd", "gnuplot-nox", "needrestart"}
        cls.c = Container(base(PACKAGES, packages), bind=[PACKAGES + ":/packages", os.path.join(ROOT, "tests") + ":/keel/tests"], mask=["bird", "frr", "gobgpd"])
        cls.addClassCleanup(cls.c.close)
        cls.before = cls.files()

    @classmethod
    def files(cls):
        return {line for line in cls.c.sh("find / -xdev -printf '%p\n'").splitlines() if not NOT_OURS.search(line)}

    def sh(self, script, check=True):
        return self.c.sh(script, check)

    def show(self, unit, name):
        return self.sh("systemctl show -P %s %s" % (name, unit)).strip()

    def journal(self, unit):
        return self.sh("journalctl --no-pager -o short-precise -n 40 -u %s" % unit, check=False)

    def start(self, unit):
        status, out = self.c.status("systemctl reset-failed %s; systemctl start %s" % (unit, unit))
        self.assertEqual(status, 0, out + self.journal(unit))

    def configure(self, document):
        self.c.write("/etc/keel/keel.json", json.dumps(document), 0o600)
        self.sh("chown keel:keel /etc/keel/keel.json")

    @staticmethod
    def document(**more):
        return {"router": {"asn": 64512, "router_id": "192.0.2.1"}, "bgp": {"peers": [PEER]}, "management": {"http": "127.0.0.1:9179"}, **more}

    def dataplane(self):
        worker = max(os.sched_getaffinity(0))
        return self.document(dataplane={"worker_cpus": [worker], "memory_mb": 512}, ports=PORTS)

    def process(self, unit):
        """/proc/PID/status of the unit's main process."""
        pid = self.show(unit, "MainPID")
        self.assertNotEqual(pid, "0")
        return dict(line.split(":\t", 1) for line in self.sh("cat /proc/%s/status" % pid).splitlines() if ":\t" in line)

    def capabilities(self, unit):
        """The capabilities in the text of the unit, as a mask."""
        m = re.search(r"^CapabilityBoundingSet=(.*)$", self.sh("cat /lib/systemd/system/%s.service" % unit), re.M)
        return sum(1 << CAPABILITIES[c] for c in m.group(1).lower().split())

    def has_the_units_privileges(self, unit):
        s, mask = self.process(unit), self.capabilities(unit)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(s[name], 16), mask, name)
        keel = self.sh("id -u keel").strip(), self.sh("id -g keel").strip()
        self.assertEqual((set(s["Uid"].split()), set(s["Gid"].split())), ({keel[0]}, {keel[1]}))
        self.assertEqual((s["NoNewPrivs"], s["Seccomp"]), ("1", "2"))

    def http_is_served(self):
        """By keel-http, which has no capability; its second process has a filter of its own."""
        self.assertIn("keel_peer_established", self.sh("python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:9179/metrics\").read().decode())'"))
        states = [self.sh("cat /proc/%s/status" % pid) for pid in self.sh("pgrep -x keel-http").split()]
        self.assertEqual([re.search("CapEff:\t(.*)", s)[1].strip("0") for s in states], ["", ""])
        self.assertEqual(len({re.search("Seccomp_filters:\t(.*)", s)[1] for s in states}), 2, states)

    def test_01_install(self):
        begin = time.monotonic()
        self.sh("dpkg -i /packages/keel_*.deb /packages/keelbench_*.deb")
        type(self).installation_s = time.monotonic() - begin
        self.assertEqual(self.sh("systemctl is-active keel keel-bgp", check=False).split(), ["inactive", "inactive"])
        self.assertEqual(self.sh("stat -c '%U:%G %a' /etc/keel /etc/keel/keel.json").split("\n")[:2], ["keel:keel 750", "keel:keel 600"])
        self.assertEqual(self.sh("keeld --check -c /etc/keel/keel.json"), "")
        self.sh("keelbench --help")
        for example in ("route-reflector.json", "router.json"):
            self.sh("keeld --no-dataplane --check -c /usr/share/doc/keel/examples/" + example)

    def test_02_first_router(self):
        """The installed guide, as a script, forwards a minute after the begin of the installation."""
        guide = run(sys.executable, README_TEST, "--script", os.path.join(self.c.root, "usr/share/doc/keel/docs/guides/first-router.md"))
        self.c.write("/opt/guide", guide)
        begin = time.monotonic()
        status, out = self.c.status("timeout -k 1 %d bash /opt/guide; status=$?; rm /opt/guide; exit $status" % FIRST_ROUTER_S)
        took = time.monotonic() - begin
        self.assertEqual(status, 0, out)
        self.assertIn("3 packets transmitted, 3 received", out)
        self.assertEqual(self.sh("ip netns list"), "")
        print("      installed in %.1f s, the whole guide in %.1f s" % (self.installation_s, took), flush=True)
        self.assertLess(self.installation_s + took, FIRST_ROUTER_S)

    def test_03_units(self):
        for unit, most in EXPOSURE.items():
            path = "/lib/systemd/system/%s.service" % unit
            # the root has no man, by which verify would look pages up
            found = [line for line in self.sh("systemd-analyze verify " + path, check=False).splitlines() if "man " not in line]
            self.assertEqual(found, [])
            level = self.sh("systemd-analyze security --offline=true --no-pager " + path)
            self.assertLessEqual(float(re.search(r"Overall exposure level for \S+: ([\d.]+)", level).group(1)), most)
            # with the drop-in for VPN instances with peers or ports
            merged = "/run/%s-instances.service" % unit
            self.sh("sed '/^.Install.$/,$d' %s > %s; grep -v '^.Service.$' /usr/share/keel/instances.conf >> %s" % (path, merged, merged))
            level = self.sh("systemd-analyze security --offline=true --no-pager " + merged)
            self.assertLessEqual(float(re.search(r"Overall exposure level for \S+: ([\d.]+)", level).group(1)), most + 0.4)

    def test_04_bgp_alone(self):
        self.configure(self.document())
        self.start("keel-bgp")
        self.assertEqual(self.capabilities("keel-bgp"), 1 << CAPABILITIES["cap_net_bind_service"])
        self.has_the_units_privileges("keel-bgp")
        self.assertIn("LISTEN", self.sh("ss -ltnH 'sport = :179'"))
        self.http_is_served()

    def test_05_users(self):
        """Members of the group may use the socket; other users may use the read-only socket."""
        self.sh("useradd -G keel member; useradd stranger")
        self.assertIn("0.2", self.sh("runuser -u member -- keelctl show version"))
        self.assertIn("192.0.2.2", self.sh("runuser -u member -- keelctl show bgp summary"))
        self.assertIn("0.2", self.sh("runuser -u stranger -- keelctl show version"))  # of the read-only socket
        self.assertEqual(self.c.status("runuser -u member -- keelctl discard")[0], 0)
        status, out = self.c.status("runuser -u stranger -- keelctl discard")
        self.assertNotEqual(status, 0, out)
        self.assertEqual(self.sh("stat -c '%a %U:%G' /run/keel/keel.sock /run/keel/keel.sock.ro"), "660 keel:keel\n666 keel:keel\n")
        self.sh("userdel member; userdel stranger")

    def test_06_reload(self):
        self.configure({**self.document(), "colour": 1})
        status, out = self.c.status("systemctl reload keel-bgp")
        self.assertNotEqual(status, 0, out)
        self.assertIn("colour: unknown key", self.journal("keel-bgp"))
        self.assertEqual(self.show("keel-bgp", "ActiveState"), "active")
        self.configure(self.document(bgp={"peers": [PEER, {**PEER, "address": "192.0.2.3"}]}))
        self.sh("systemctl reload keel-bgp")
        self.assertIn("192.0.2.3", self.sh("keelctl show bgp summary"))

    def test_07_commit(self):
        """A commit writes FILE; the unit may write nothing else in /etc."""
        self.sh("""keelctl rpc config.edit '{"merge": {"bgp": {"cluster_id": "192.0.2.77"}}}' && keelctl commit""")
        self.assertIn("192.0.2.77", self.sh("cat /etc/keel/keel.json"))
        self.assertEqual(self.sh("stat -c '%U %a' /etc/keel/keel.json"), "keel 600\n")

    def test_08_journal(self):
        lines = self.sh("journalctl --no-pager -o json -u keel-bgp EVENT=keeld-up").splitlines()
        self.assertEqual(len(lines), 1)
        up = json.loads(lines[0])
        self.assertEqual((up["PRIORITY"], up["SYSLOG_IDENTIFIER"], up["ASN"], up["DATAPLANE"]), ("6", "keeld", "64512", "no"))

    def test_09_watchdog(self):
        """The watchdog of systemd ends a stopped keeld, and starts it again."""
        self.c.write("/run/systemd/system/keel-bgp.service.d/watchdog.conf", "")
        self.sh("mkdir -p /run/systemd/system/keel-bgp.service.d; printf '[Service]\\nWatchdogSec=3\\n' > /run/systemd/system/keel-bgp.service.d/w.conf; "
                "systemctl daemon-reload; systemctl restart keel-bgp")
        pid = self.show("keel-bgp", "MainPID")
        self.sh("kill -STOP " + pid)
        wait_for("restart", lambda: self.show("keel-bgp", "NRestarts") == "1" and self.show("keel-bgp", "ActiveState") == "active")
        self.assertNotEqual(self.show("keel-bgp", "MainPID"), pid)
        self.sh("rm -r /run/systemd/system/keel-bgp.service.d; systemctl daemon-reload; systemctl stop keel-bgp")

    def loses_nothing(self, what, change):
        """Forwards between two namespaces during the change."""
        self.c.write("/opt/ping", "ip netns exec west ping -n -i 0.01 -w 60 198.51.100.2 > /opt/pinged 2>&1")
        self.sh("systemd-run --unit=pinging --collect sh /opt/ping")
        wait_for("traffic", lambda: self.sh("systemctl is-active pinging", check=False).strip() == "active")
        begin = time.monotonic()
        change()
        while time.monotonic() < begin + 5:
            time.sleep(0.1)  # the duration of the check
        self.sh("systemctl kill --signal=INT pinging; while systemctl -q is-active pinging; do sleep 0.1; done")
        out = self.sh("cat /opt/pinged; rm /opt/ping /opt/pinged")
        answered = set(map(int, re.findall(r"icmp_seq=(\d+) ttl", out)))
        sent, got = max(answered), len(answered)  # the signal ends ping while packets are on the way
        self.assertLess(int(re.search(r"(\d+) packets transmitted", out).group(1)) - sent, 50)
        print("      %s: %d of %d packets lost" % (what, sent - got, sent), flush=True)
        self.assertEqual((sent - got, sent > 200), (0, True))

    def test_10_dataplane(self):
        """keel.service with keel-forwarder.service, on AF_XDP, also without hugepages: keeld has CAP_NET_BIND_SERVICE alone. A kill, a restart and an upgrade of
        keeld lose no packet, both come back after the end of the forwarder, and nothing is left after the stop of both."""
        self.sh("""ip link add east type veth peer name far && ip link set east up && ip link set far up && ip address add 192.0.2.2/24 dev far
ip netns add west && ip netns add next && ip link add wport type veth peer name eth0 netns west && ip link add nport type veth peer name eth0 netns next
for n in west next; do ethtool -K ${n%${n#?}}port tx off; ip netns exec $n ethtool -K eth0 tx off; ip -n $n link set eth0 up; done
ip link set wport up && ip link set nport up
ip -n west address add 203.0.113.2/24 dev eth0 && ip -n west route add default via 203.0.113.1
ip -n next address add 198.51.100.2/24 dev eth0 && ip -n next route add default via 198.51.100.1""")
        self.addCleanup(self.sh, "systemctl stop keel keel-forwarder; ip netns delete west; ip netns delete next")
        document = self.dataplane()
        document["ports"] = PORTS + [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": [a]} for n, a in
                                     (("wport", "203.0.113.1/24"), ("nport", "198.51.100.1/24"))]
        self.configure(document)
        self.start("keel")
        s, mask = self.process("keel"), 1 << CAPABILITIES["cap_net_bind_service"]
        self.assertEqual([int(s[n], 16) for n in ("CapInh", "CapPrm", "CapEff", "CapAmb")], [0, mask, mask, 0])
        self.assertEqual((s["Uid"].split()[0], s["NoNewPrivs"], s["Seccomp"]), (self.sh("id -u keel").strip(), "1", "2"))
        s, mask = self.process("keel-forwarder"), self.capabilities("keel-forwarder")
        self.assertEqual([int(s[n], 16) for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")], [0, mask, mask, mask, 0])
        self.assertEqual((s["Uid"].split()[0], s["NoNewPrivs"], s["Seccomp"]), (self.sh("id -u keel-forwarder").strip(), "1", "2"))
        self.assertIn('"mismatches": []', json.dumps(json.loads(self.sh("keelctl --json rpc fib.audit"))))
        # hugepages are the host's: "no" unless another test has reserved some meanwhile
        self.assertRegex(self.journal("keel"), r"dataplane-up .*hugepages=(no|yes) ports=3")
        self.assertNotRegex(self.journal("keel") + self.journal("keel-forwarder"), r"host-not-set|address-not-set|port-failed|listen-failed|rights-")
        # the far ends of these are in namespaces, which keeld may not enter
        self.assertEqual(set(re.findall(r"vlan-tags port=(\S+)", self.journal("keel"))), {"wport", "nport"})
        self.assertRegex(self.sh("ps -Lo ni,comm %s" % self.show("keel-forwarder", "MainPID")), r"-20 keel-worker-0")
        self.http_is_served()
        self.assertEqual(self.sh("systemctl is-active keel-bgp", check=False).strip(), "inactive")
        wait_for("the path", lambda: self.c.status("ip netns exec west ping -n -c 1 -W 1 198.51.100.2")[0] == 0)
        pid = self.show("keel-forwarder", "MainPID")

        def adopted(change):
            old = self.show("keel", "MainPID")
            self.sh(change)
            wait_for("restart", lambda: self.show("keel", "MainPID") not in ("0", old) and self.show("keel", "ActiveState") == "active")
            self.assertIn("adopted=yes", self.journal("keel"))
            self.assertEqual(self.show("keel-forwarder", "MainPID"), pid)

        self.loses_nothing("kill -9", lambda: adopted("kill -KILL $(systemctl show -P MainPID keel)"))
        self.loses_nothing("systemctl restart", lambda: adopted("systemctl restart keel"))
        self.loses_nothing("the package again", lambda: adopted("dpkg -i /packages/keel_*.deb"))
        self.sh("kill -KILL " + pid)
        begin = time.monotonic()
        wait_for("restart of both", lambda: self.show("keel-forwarder", "MainPID") not in ("0", pid) and self.show("keel", "ActiveState") == "active" and
                 self.c.status("ip netns exec west ping -n -c 1 -W 1 198.51.100.2")[0] == 0)
        print("      packets flow %.1f s after the end of keelfwd" % (time.monotonic() - begin), flush=True)
        self.sh("systemctl kill --signal=INT keel")
        wait_for("the end of keel", lambda: self.show("keel", "ActiveState") == "inactive")
        self.sh("systemctl stop keel-forwarder")
        self.assertNotIn("xdp", self.sh("ip link show east").split("link/ether")[0])

    def without(self, unit, capability):
        """Without one of its capabilities, the unit logs which one is missing."""
        names = [c for c in sorted(CAPABILITIES, key=CAPABILITIES.get) if self.capabilities(unit) >> CAPABILITIES[c] & 1 and c != capability]
        text = "[Service]\nRestart=no\nCapabilityBoundingSet=\nAmbientCapabilities=\n"
        text += "".join("%s=%s\n" % (k, " ".join(names).upper()) for k in ("CapabilityBoundingSet", "AmbientCapabilities") if names)
        self.sh("mkdir -p /run/systemd/system/%s.service.d; cat > /run/systemd/system/%s.service.d/c.conf <<'X'\n%sX\nsystemctl daemon-reload" % (unit, unit, text))
        try:
            cursor = self.sh("journalctl -n 0 --show-cursor").split("cursor: ")[-1].strip()
            main = "keel" if unit == "keel-forwarder" else unit
            self.c.status("systemctl stop keel keel-forwarder; systemctl reset-failed %s; systemctl restart %s" % (main, main))
            return self.sh("journalctl --no-pager -o cat -u keel -u keel-bgp -u keel-forwarder --after-cursor='%s'" % cursor)
        finally:
            self.sh("systemctl stop %s keel keel-forwarder; rm -r /run/systemd/system/%s.service.d; systemctl daemon-reload" % (unit, unit))

    def test_11_each_capability_is_needed(self):
        fault = r"listen-failed|port-(?:failed|state) .*(?:the driver refused the queues|the kernel refuses the XDP program)|forwarder-failed|host-not-set|address-not-set|rights-"
        self.configure(self.dataplane())
        self.assertNotRegex(self.without("keel", None), fault + "|port-failed")
        for unit, capability in [("keel", c) for c in CAPABILITIES if self.capabilities("keel") >> CAPABILITIES[c] & 1] + [
                ("keel-forwarder", c) for c in CAPABILITIES if self.capabilities("keel-forwarder") >> CAPABILITIES[c] & 1]:
            log = self.without(unit, capability)
            print("      without %s: %s" % (capability, next((line for line in log.splitlines() if re.search(fault, line)), "no fault")), flush=True)
            self.assertRegex(log, fault, capability)
        self.configure(self.document())
        self.assertNotRegex(self.without("keel-bgp", None), fault)
        self.assertRegex(self.without("keel-bgp", "cap_net_bind_service"), "listen-failed")

    def test_12_demo(self):
        """The demo passes with keeld started as the unit starts keeld, and each thread has the unit's privileges and no others."""
        self.configure(self.dataplane())
        self.start("keel")
        filters = self.process("keel")["Seccomp_filters"]
        self.sh("systemctl stop keel keel-forwarder")
        for path, program in {"control/keeld": "/usr/sbin/keeld", "control/keelctl": "/usr/bin/keelctl",
                              **{"tests/bench/" + e: "/usr/lib/keelbench/build/tests/bench/" + e for e in ("feed", "probe")}}.items():
            self.sh("mkdir -p /tmp/demo/%s && ln -s %s /tmp/demo/%s" % (os.path.dirname(path), program, path))
        demo = "python3 -B /usr/lib/keelbench/tests/lab/demo.py --quick --no-huge --as-unit keel --build /tmp/demo"
        status, out = self.c.status(demo + " 2> /tmp/demo/progress", DEMO_S)
        print(out, flush=True)
        self.assertEqual(status, 0, self.sh("tail -n 5 /tmp/demo/progress /tmp/demo/demo/logs/*", check=False))
        mask, none, keel = "%016x" % (1 << CAPABILITIES["cap_net_bind_service"]), "%016x" % 0, [self.sh("id -%s keel" % k).strip() for k in "ug"]
        self.assertEqual(json.loads(self.sh("cat /tmp/demo/demo/report.json"))["privileges"], [{
            "Uid": " ".join([keel[0]] * 4), "Gid": " ".join([keel[1]] * 4), "Groups": " ".join(sorted((keel[1], self.sh("id -g keel-forwarder").strip()), key=int)),
            "CapInh": none, "CapPrm": mask, "CapEff": mask, "CapBnd": "%016x" % self.capabilities("keel"), "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": filters}])
        self.assertEqual(self.sh("ip netns list; ls /run/systemd/system | grep keel-lab", check=False), "")
        self.configure(self.document())

    def newer(self):
        """Makes /opt/keel.deb and /opt/keelbench.deb: the packages with a higher version, and another file keelfwd."""
        with tempfile.TemporaryDirectory() as folder:
            for name, path in debs().items():
                tree = os.path.join(folder, name)
                run("dpkg-deb", "-R", path, tree)
                control = os.path.join(tree, "DEBIAN", "control")
                with open(control) as f:
                    newer = re.sub(r"(?m)^Version: (.*)$", r"Version: \1+1", f.read())
                newer = re.sub(r"keel \(= ([^)]*)\)", r"keel (= \1+1)", newer)
                with open(control, "w") as f:
                    f.write(newer)
                if name == "keel":
                    with open(os.path.join(tree, "usr/sbin/keelfwd"), "ab") as f:
                        f.write(b"newer")
                run("dpkg-deb", "-b", "-Znone", "--root-owner-group", tree, os.path.join(self.c.root, "opt", name + ".deb"))

    def test_12_storm(self):
        """kill -9, a restart and an upgrade of keel.service while routes change, also of a VPN instance with ports: no packet is lost, BIRD and FRR keep the routes, and keelfwd goes on.
        KEEL_ROUNDS and KEEL_ROUTES: how often, and how many IPv4 routes."""
        self.newer()
        self.addCleanup(self.configure, self.document())
        self.addCleanup(self.sh, "dpkg -i /packages/keel_*.deb; rm /opt/*.deb")
        status, out = self.c.status("KEEL_BUILD=/usr/lib/keelbench/build NIC_GUEST_OUT=/tmp/storm KEEL_ROUNDS=%s KEEL_ROUTES=%s python3 -B /keel/tests/package/storm.py /opt/keel.deb /packages/keel_*.deb" % (
            os.environ.get("KEEL_ROUNDS", "2"), os.environ.get("KEEL_ROUTES", "5000")), STORM_S)
        print(out, flush=True)
        self.assertEqual(status, 0, self.journal("keel -u keel-forwarder"))

    def test_13_upgrade(self):
        """An upgrade keeps the configuration. keelfwd goes on, and the operator is told how to change to the new one; needrestart does not restart keelfwd."""
        self.sh("systemctl start keel-bgp")
        pid, text = self.show("keel-bgp", "MainPID"), self.sh("sha256sum /etc/keel/keel.json; stat -c '%U %a' /etc/keel/keel.json")
        self.newer()
        self.assertNotIn("former keelfwd", self.sh("dpkg -i /opt/keel.deb /opt/keelbench.deb"))
        self.assertEqual(self.sh("sha256sum /etc/keel/keel.json; stat -c '%U %a' /etc/keel/keel.json"), text)
        wait_for("restart", lambda: self.show("keel-bgp", "ActiveState") == "active" and self.show("keel-bgp", "MainPID") not in (pid, "0"))
        self.assertIn("192.0.2.2", self.sh("keelctl show bgp summary"))
        self.sh("systemctl start keel")
        pid = self.show("keel-forwarder", "MainPID")
        self.assertNotIn("former keelfwd", self.sh("dpkg -i /opt/keel.deb"))
        self.assertIn("former keelfwd", self.sh("dpkg -i /packages/keel_*.deb; rm /opt/*.deb"))
        self.assertEqual((self.show("keel", "ActiveState"), self.show("keel-forwarder", "MainPID")), ("active", pid))
        self.assertIn("keel-forwarder.service", self.sh("needrestart -b -r l"))
        self.sh("needrestart -q -r a")
        self.assertEqual(self.show("keel-forwarder", "MainPID"), pid)
        keeld = self.show("keel", "MainPID")
        self.sh("systemctl restart keel-forwarder")
        wait_for("the tables in the new keelfwd", lambda: re.search("keelfwd pid (?!%s,).*this keeld" % pid, self.sh("keelctl show forwarder", check=False), re.S))
        self.assertEqual(self.show("keel", "MainPID"), keeld, self.journal("keel -u keel-forwarder"))
        self.sh("systemctl stop keel keel-forwarder")

    def test_14_purge(self):
        """Also of what the guides tell an operator to do, and of an upgrade with the drop-in of a version whose keeld had the ports."""
        drop_in = "/etc/systemd/system/%s.service.d/instances.conf"
        self.sh("mkdir -p %s; cp /usr/share/keel/instances.conf %s; dpkg -i /packages/keel_*.deb" % (os.path.dirname(drop_in % "keel"), drop_in % "keel"))
        self.assertEqual(self.sh("cat " + drop_in % "keel-forwarder"), self.sh("cat " + drop_in % "keel"))
        self.sh("echo hugepages 0 > /etc/keel-nic.conf; systemctl enable keel-nic keel-bgp; systemctl enable --now keel-instance@red")
        self.sh("systemctl start keel; dpkg --purge keelbench keel; systemctl daemon-reload")
        self.assertEqual(self.sh("pgrep -x keeld; pgrep -x keelfwd; ip netns list", check=False), "")
        self.assertEqual(self.sh("getent passwd keel keel-forwarder; getent group keel keel-forwarder", check=False), "")
        self.assertEqual(self.files() - self.before, set())
        self.assertEqual(self.sh("ls -d /run/keel /run/keel-forwarder /var/lib/keel /var/lib/keel-forwarder /etc/keel 2>/dev/null", check=False), "")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("systemd-nspawn needs root")
        sys.exit(77)
    unittest.main(verbosity=2, failfast=False)
