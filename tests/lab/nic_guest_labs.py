#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Labs one after another in one guest of scripts/nic-guest, whose start takes as long as a short lab.

  nic_guest_labs.py JSON

JSON: [[path of the lab, count of NIC pairs, {variable: value}], ...]. Before each lab a line "lab PATH", after it "lab ends STATUS". Exit status: 0; 100 at
once if a lab ends with 100: scripts/nic-guest --systemd restarts the guest."""
import json
import os
import subprocess
import sys

RESTART = 100


def main():
    nics = os.environ["NIC_GUEST_NICS"].split()
    for lab, pairs, env in json.loads(sys.argv[1]):
        print("lab " + lab, flush=True)
        status = subprocess.run(["/usr/bin/python3", lab], env=dict(os.environ, NIC_GUEST_NICS=" ".join(nics[:pairs]), **env)).returncode
        if status == RESTART:
            return RESTART
        print("lab ends %d" % status, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
