#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Real NIC drivers: the labs of ports in a guest of scripts/nic-guest, over e1000e, vmxnet3 and virtio-net under vfio-pci. The labs are the same as over
net_tap and AF_XDP; only the device differs. nic_guest_life.py makes what only such a device has: links that go down, and devices that are pulled.
nic_guest_queues.py has two queues and two workers.

NIC_GUEST_MODELS: other models, with commas. KEEL_ROUNDS (1): of nic_guest_life.py."""
import os
import re
import shutil
import subprocess
import sys

import labtest
from labtest import BUILD, KEELD, ROOT, need, out_folder

MODELS = os.environ.get("NIC_GUEST_MODELS", "e1000e,vmxnet3,virtio-net-pci").split(",")
LIMIT_S = 400  # of a guest
LIFE = {"KEEL_PPS": "200", "KEEL_ROUNDS": os.environ.get("KEEL_ROUNDS", "1")}
# (lab, pairs of NICs, queues of each, the lab's environment, models)
RUNS = [("tests/interop/test_host_path.py", 2, 1, {}, MODELS), ("tests/lab/test_wire_conformance.py", 2, 1, {}, [m for m in MODELS if m != "virtio-net-pci"]),
        ("tests/lab/nic_guest_queues.py", 2, 2, {}, [m for m in MODELS if m == "virtio-net-pci"]),
        ("tests/lab/nic_guest_life.py", 3, 1, LIFE, MODELS[-1:]),
        ("tests/lab/nic_guest_life.py", 3, 1, dict(LIFE, KEEL_FORWARDER="1"), MODELS[:1])]


def run_in_guest(c, model, lab, pairs, queues, env):
    """Runs a lab; its checks are counted as checks of this test."""
    name = "%s-%s%s" % (os.path.basename(lab)[:-3], model, "-forwarder" if "KEEL_FORWARDER" in env else "")
    out = os.path.join(out_folder(os.path.join("nic_guest", name)))
    guest = subprocess.Popen([os.path.join(ROOT, "scripts", "nic-guest"), "--nic", model, "--pairs", str(pairs), "--queues", str(queues), "--out", out, "--limit", str(LIMIT_S),
                              "/usr/bin/python3", os.path.join(ROOT, lab)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env=dict(os.environ, KEEL_BUILD=BUILD, **env))
    try:
        lines = [line.rstrip() for line in guest.stdout]
    finally:
        guest.terminate()
        status = guest.wait()
    with open(os.path.join(out, "console.log"), "w") as f:
        f.write("\n".join(lines) + "\n")
    for line in lines:
        m = re.match(r"(ok  |FAIL) +\S+  (.*)", line)
        if m and m.group(1) == "ok  ":
            c.good += 1
        elif m:
            c.true("%s: %s" % (name, m.group(2)), False)
    c.true(name + " runs to its end", status == 0 and any(re.match(r"\d+ checks, 0 failed", x) for x in lines), (status, lines[-12:]))


def test(c):
    for lab, pairs, queues, env, models in RUNS:
        for model in models:
            run_in_guest(c, model, lab, pairs, queues, env)


if __name__ == "__main__":
    need("qemu-system-x86_64", "bird", files=(KEELD,))
    if shutil.which("cpio") is None:
        labtest.skip("cpio is not installed")
    sys.exit(labtest.main(test))
