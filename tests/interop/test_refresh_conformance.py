#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keeld under the conformance kit for route refresh, with the smaller table and the shorter storm: every clause."""
import os
import sys

from interop import ROOT

KIT = os.path.join(ROOT, "tests", "conformance", "refresh", "refresh.py")

if __name__ == "__main__":
    os.environ.setdefault("KEEL_PATIENCE_S", "40")  # ours does what it must: a machine may be slow
    os.execv("/usr/bin/python3", ["/usr/bin/python3", KIT, "--dut", "keel", "--quick", *sys.argv[1:]])
