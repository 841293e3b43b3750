#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keeld under the conformance kit for route refresh, with the smaller table and the shorter storm: every clause."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from labtest import ROOT

KIT = os.path.join(ROOT, "tests", "conformance", "refresh", "refresh.py")

if __name__ == "__main__":
    os.environ.setdefault("KEEL_PATIENCE_S", "40")  # a long limit for slow machines; only a daemon that fails a clause uses it up
    os.execv("/usr/bin/python3", ["/usr/bin/python3", KIT, "--dut", "keel", "--quick", *sys.argv[1:]])
