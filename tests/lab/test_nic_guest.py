#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker full
"""Real NIC drivers: the labs of ports in guests of scripts/nic-guest, over e1000e, vmxnet3 and virtio-net under vfio-pci. The labs are the same as over
net_tap and AF_XDP; only the device differs. nic_guest_life.py makes what only such a device has: links that go down, and devices that are pulled.
nic_guest_queues.py has two queues and two workers. nic_guest_unit.py has the packaged units, after a restart of the guest, with a NIC of each model.

NIC_GUEST_MODELS: only these guests, with spaces. KEEL_ROUNDS (1): of nic_guest_life.py."""
import json
import os
import re
import shutil
import subprocess
import sys

import labtest
from labtest import BUILD, KEELD, ROOT, need, out_folder, run

MODELS = os.environ.get("NIC_GUEST_MODELS", "e1000e vmxnet3 virtio-net-pci e1000e,vmxnet3,virtio-net-pci").split()
LIMIT_S = 1800  # of a guest
HOST_PATH, WIRE = ("tests/interop/test_host_path.py", 2, {}), ("tests/lab/test_wire_conformance.py", 2, {})
ROUNDS = {"KEEL_PPS": "200", "KEEL_ROUNDS": os.environ.get("KEEL_ROUNDS", "1")}
VLAN = ("tests/lab/test_vlan.py", 2, {"KEEL_PPS": "200", "KEEL_ROUNDS": "2"})
QUEUES, LIFE, UNIT = ("tests/lab/nic_guest_queues.py", 2, {}), ("tests/lab/nic_guest_life.py", 3, ROUNDS), ("tests/lab/nic_guest_unit.py", 3, {})
# A guest a line: models, queues of a NIC, and the labs as (path, pairs of NICs, environment); with systemd where there are several models
GUESTS = [("e1000e", 1, [HOST_PATH, WIRE, VLAN, LIFE]), ("vmxnet3", 1, [HOST_PATH, WIRE, VLAN]), ("virtio-net-pci", 1, [HOST_PATH, VLAN, LIFE]), ("virtio-net-pci", 2, [QUEUES]),
          ("e1000e,vmxnet3,virtio-net-pci", 1, [UNIT])]


class Guest:
    """Runs labs in a guest; the checks of the labs count as checks of this test."""

    def __init__(self, c, model, queues, labs):
        self.c, self.model, self.queues, self.labs, self.lines = c, model, queues, labs, []

    def run(self):
        out = out_folder(os.path.join("nic_guest", "%s-%d" % (self.model.replace(",", "-"), self.queues)))
        systemd = ["--systemd"] if "," in self.model else []
        if systemd:
            run("meson", "install", "-C", BUILD, "--no-rebuild", "--strip", "--quiet", "--destdir", os.path.join(out, "root"))
        pairs = max(pairs for _, pairs, _ in self.labs)
        guest = subprocess.Popen([os.path.join(ROOT, "scripts", "nic-guest"), "--nic", self.model, "--pairs", str(pairs), "--queues", str(self.queues), "--out", out, *systemd,
                                  "--limit", str(LIMIT_S), "/usr/bin/python3", os.path.join(ROOT, "tests", "lab", "nic_guest_labs.py"),
                                  json.dumps([(os.path.join(ROOT, lab), pairs, env) for lab, pairs, env in self.labs])],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, KEEL_BUILD=BUILD))
        try:
            with open(os.path.join(out, "console.log"), "w") as f:
                for line in guest.stdout:
                    f.write(line)
                    f.flush()
                    self.lines.append(line.rstrip())
        finally:
            guest.terminate()
            status = guest.wait()
        for lab, _, _ in self.labs:
            self.count(lab)
        self.c.true("the guest with %s ends" % self.model, status == 0, (status, self.lines[-12:]))

    def count(self, lab):
        """The checks of one lab, which lie between its first and its last line."""
        name = "%s-%s" % (os.path.basename(lab)[:-3], self.model)
        first = "lab " + os.path.join(ROOT, lab)
        lines = self.lines[self.lines.index(first) + 1:] if first in self.lines else []
        end = next((i for i, x in enumerate(lines) if x.startswith("lab ends ")), None)
        for line in lines[:end]:
            m = re.match(r"(ok  |FAIL) +\S+  (.*)", line)
            if m and m.group(1) == "ok  ":
                self.c.good += 1
            elif m:
                self.c.true("%s: %s" % (name, m.group(2)), False)
        whole = end is not None and lines[end] == "lab ends 0" and any(re.match(r"\d+ checks, 0 failed", x) for x in lines[:end])
        self.c.true(name + " runs to its end", whole, lines[:end][-12:])


def test(c):
    unknown = set(MODELS) - {model for model, _, _ in GUESTS}
    if unknown:
        raise ValueError("NIC_GUEST_MODELS: no guest has %s" % ", ".join(sorted(unknown)))
    for model, queues, labs in GUESTS:
        if model in MODELS:
            Guest(c, model, queues, labs).run()


if __name__ == "__main__":
    need("qemu-system-x86_64", "bird", files=(KEELD,))
    if shutil.which("cpio") is None:
        labtest.skip("cpio is not installed")
    sys.exit(labtest.main(test))
