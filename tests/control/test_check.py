#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Faults found at start on this host, against a real keeld: --check, config.validate and config.commit refuse the same. Needs root (a network
namespace); else the exit status is 77.

usage: test_check.py KEELD
"""
import json
import os
import resource
import subprocess
import tempfile

import keel_rig
from keel_rig import KEELD, US, WAIT_S, KeelTest


class Check(KeelTest):
    """--check, a start, config.validate and config.commit refuse the same documents, with equal messages."""

    def test_the_soft_limit_of_descriptors_is_raised(self):
        """A start with a soft limit of 256, as some hosts have 1,024: keeld has the hard limit, as /proc says."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            self.start(self.document())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        pid = self.keel.process.pid
        with open("/proc/%d/limits" % pid) as f:
            line = [line for line in f if line.startswith("Max open files")][0].split()
        self.assertEqual(line[3], line[4])

    def document(self, **parts):
        return dict({"router": {"asn": 64512, "router_id": US}, "bgp": {}}, **parts)

    def checked(self, document):
        path = os.path.join(self.folder, "checked.json")
        with open(path, "w") as f:
            json.dump(document, f)
        return path

    def run_keeld(self, document, *options, hard=None):
        path = self.checked(document)
        command = ["ip", "netns", "exec", self.namespace, KEELD, "-c", path, "--socket", path + ".sock", "--state-dir", path + ".state", *options]
        if hard is not None:
            command = ["prlimit", "--nofile=%d:%d" % (hard, hard)] + command
        p = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=WAIT_S)
        return p.returncode, [line.split(": ", 1)[1] for line in p.stderr.splitlines() if line.startswith(path)]

    def test_a_policy_file_elsewhere_is_not_quoted(self):
        """Who may edit the document could name a file that keeld alone may read, such as a token: also by a link, and by `include`."""
        secret = tempfile.NamedTemporaryFile("w", prefix="keel-secret-")
        self.addCleanup(secret.close)
        secret.write("hunter2 token\n")
        secret.flush()
        os.symlink(secret.name, os.path.join(self.folder, "link.policy"))
        for name, text in (("own.policy", "hunter2 token\n"), ("include.policy", 'include "%s";\n' % secret.name)):
            with open(os.path.join(self.folder, name), "w") as f:
                f.write(text)
        for name, quoted in ((secret.name, False), ("link.policy", False), ("include.policy", False), ("own.policy", True)):
            p = subprocess.run([KEELD, "-c", self.checked(self.document(policy_files=[name])), "--no-dataplane", "--check"], stderr=subprocess.PIPE, text=True,
                               timeout=WAIT_S)
            self.assertEqual((p.returncode, "hunter2" in p.stderr), (2, quoted), (name, p.stderr))
            self.assertRegex(p.stderr, r":1:\d+: ", name)

    def test_without_a_data_plane(self):
        peers = [{"address": "10.%d.%d.%d" % (i >> 16, i >> 8 & 255, i & 255), "asn": 64600} for i in range(1, 20001)]
        peer = {"address": "192.0.2.2", "asn": 64513}
        worker = {"worker_cpus": [1], "control_cpus": [0, 1]}
        faulty = {
            "/bgp/peers": {"bgp": {"peers": peers}},
            "/bgp/peers/0/gtsm": {"bgp": {"peers": [dict(peer, gtsm=True, multihop=2)]}},
            "/bgp/peers/0/address": {"bgp": {"peers": [dict(peer, source="192.0.2.2")]}},
            "/bgp/peers/1/address": {"ports": [{"name": "east", "device": "net_null0", "addresses": ["192.0.2.9/24"]}],
                                     "bgp": {"peers": [peer, dict(peer, address="192.0.2.9")]}},
            "/dataplane/control_cpus/0": {"dataplane": {"control_cpus": [777]}},
            "/dataplane/control_cpus/1": {"dataplane": worker},
        }
        self.start(self.document())
        for path, parts in faulty.items():
            document = self.document(**parts)
            for options in (["--check"], []):
                status, faults = self.run_keeld(document, "--no-dataplane", *options)
                self.assertEqual((status, [f.split(":")[0] for f in faults]), (2, [path]), options)
            self.keel.call("config.edit", {"merge": parts})
            answer = self.keel.call("config.validate")
            self.assertFalse(answer["valid"])
            said = ["%s: %s" % (e["path"], e["reason"]) for e in answer["errors"]]
            self.assertEqual([s for s in said if s.split(":")[0] == path], faults)
            refused = self.keel.answer("config.commit")["error"]["data"]["errors"]
            self.assertIn(faults[0], ["%s: %s" % (e["path"], e["reason"]) for e in refused])
            self.keel.call("config.discard")
        status, faults = self.run_keeld(self.document(bgp={"peers": peers[:4095]}), "--no-dataplane", "--check")
        self.assertEqual((status, faults), (0, []))

    def test_descriptors(self):
        peers = [{"address": "10.0.%d.%d" % (i >> 8, i & 255), "asn": 64600} for i in range(1, 1001)]
        for count, hard, good in ((1000, 1000, False), (1000, 2000, True), (100, 1000, True)):
            status, faults = self.run_keeld(self.document(bgp={"peers": peers[:count]}), "--no-dataplane", "--check", hard=hard)
            self.assertEqual((status, [f.split(":")[0] for f in faults]), (0, []) if good else (2, ["/bgp/peers"]), (count, hard))

    def test_devices_that_this_host_lacks(self):
        """Warnings of --check, and the exit status 0: a start waits for devices, and the document may be for another host."""
        ports = [{"name": "a", "device": "0000:7f:1f.7"}, {"name": "b", "device": "net_af_xdp0,iface=nowhere"}, {"name": "c", "device": "net_null0"},
                 {"name": "d", "device": "net_af_packet0,iface=lo"}]
        document = self.document(ports=ports, dataplane={"worker_cpus": [0]})
        status, faults = self.run_keeld(document, "--check")
        self.assertEqual((status, faults), (0, ["/ports/0/device: warning: this host has no PCI device 0000:7f:1f.7",
                                                "/ports/1/device: warning: this host has no interface nowhere"]))
        self.assertEqual(self.run_keeld(document, "--check", "--no-dataplane"), (0, []))

    def test_with_a_data_plane(self):
        """Faults of the data plane are found before EAL starts, so the test needs no port."""
        status, faults = self.run_keeld(self.document(dataplane={"memory_mb": 1024}), "--check")
        if status == 0 or not any("CPU 1 does" in f for f in faults):
            self.assertEqual((status, faults), (0, []))
        cases = {
            "/dataplane/worker_cpus/0": {"worker_cpus": [777]},
            "/dataplane/memory_mb": {"worker_cpus": [0], "memory_mb": 64},
            "/dataplane/control_cpus/0": {"worker_cpus": [0], "control_cpus": [0]},
        }
        for path, section in cases.items():
            for options in (["--check"], []):
                status, faults = self.run_keeld(self.document(dataplane=section), *options)
                self.assertEqual((status, [f.split(":")[0] for f in faults]), (2, [path]), options)
        least = int(self.run_keeld(self.document(dataplane=cases["/dataplane/memory_mb"]), "--check")[1][0].rsplit(" ", 1)[1])
        print("memory_mb: at least %d" % least, flush=True)
        for memory, status in ((least - 1, 2), (least, 0)):
            self.assertEqual(self.run_keeld(self.document(dataplane={"worker_cpus": [0], "memory_mb": memory}), "--check")[0], status, memory)


if __name__ == "__main__":
    keel_rig.main()
