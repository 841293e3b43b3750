#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel loads the XDP program for a process with the capabilities of keel.service alone: CAP_BPF and CAP_NET_ADMIN.

Root has CAP_PERFMON, with which the verifier takes more programs; the labs run as root and do not see the difference.

  test_xdp_rights.py OBJECT    the compiled program (dataplane/keel_xdp.bpf.o)
"""
import subprocess
import sys
import unittest

LOAD = """
import ctypes, sys
libbpf = ctypes.CDLL("libbpf.so.1")
libbpf.bpf_object__open_file.restype = ctypes.c_void_p
program = libbpf.bpf_object__open_file(sys.argv[1].encode(), None)
sys.exit("cannot open " + sys.argv[1] if not program else libbpf.bpf_object__load(ctypes.c_void_p(program)) != 0)
"""
OBJECT = sys.argv.pop(1)


class XdpRights(unittest.TestCase):
    def load(self, capabilities):
        return subprocess.run(["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all" + "".join(",+" + c for c in capabilities),
                               sys.executable, "-c", LOAD, OBJECT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)

    def test_capabilities_of_the_unit(self):
        p = self.load(["bpf", "net_admin", "dac_override"])
        self.assertEqual(p.returncode, 0, p.stdout[-2000:])

    def test_capabilities_are_what_counts(self):
        self.assertNotEqual(self.load(["dac_override"]).returncode, 0)


if __name__ == "__main__":
    unittest.main()
