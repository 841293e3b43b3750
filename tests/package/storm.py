#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""tests/lab/test_forwarder_storm.py with the units of the package in the namespace of the router: kill -9, `systemctl restart keel`, and the installation of another version, in turn.
Runs where the packages are installed.

usage: storm.py DEB...     the versions that are installed, in turn
"""
import itertools
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import test_forwarder_storm as storm  # noqa: E402
from lab import Rpc, remove_namespace  # noqa: E402
from labtest import Lab, main, out_folder, run, wait_for  # noqa: E402

UNITS = ("keel", "keel-forwarder")
DROP_IN = "/etc/systemd/system/%s.service.d"
SOCKET = "/run/keel/keel.sock"


def show(unit, name):
    return run("systemctl", "show", "-P", name, unit).strip()


class Units(storm.Test):
    socket = "/run/keel-forwarder/keelfwd.sock"

    def begin(self):
        for unit in UNITS:
            os.makedirs(DROP_IN % unit, exist_ok=True)
            shutil.copy("/usr/share/keel/instances.conf", DROP_IN % unit)
            with open(os.path.join(DROP_IN % unit, "lab.conf"), "w") as f:
                f.write("[Service]\nNetworkNamespacePath=/run/netns/%s\n" % self.lab.netns("rt"))
        with open("/etc/keel/keel.json", "w") as f:
            json.dump(storm.config(), f)
        shutil.chown("/etc/keel/keel.json", "keel", "keel")
        run("systemctl", "daemon-reload")
        run("systemctl", "start", "keel-instance@" + storm.BLUE, "keel")
        self.rpc, self.debs = Rpc(SOCKET), itertools.cycle(sys.argv[1:])
        self.feed()

    def pids(self):
        return tuple(int(show(unit, "MainPID")) for unit in UNITS)

    def changes(self, number):
        def change(what, *command):
            def do(begins):
                before = self.pids()[0]
                begins()
                self.said = run(*(str(before) if word == "PID" else word for word in command))
                wait_for("keeld", lambda: self.pids()[0] not in (0, before) and show("keel", "ActiveState") == "active", 60)
                self.rpc = Rpc(SOCKET)
            return what, do

        return (change("kill -9", "kill", "-KILL", "PID"), change("systemctl restart", "systemctl", "restart", "keel"),
                change("another version", "dpkg", "-i", next(self.debs)))

    def floor(self, sampler):
        # the sampler begins in the storm, which withdraws some of every second route
        v4, v6 = (int(t.size * 0.45) for t in self.tables.values())
        return {storm.V4: v4, storm.V6: v6, "frr": v4}

    def finish(self):
        run("systemctl", "kill", "--kill-whom=main", "--signal=INT", "keel")
        wait_for("the end of keel", lambda: show("keel", "ActiveState") == "inactive", 60)
        run("systemctl", "stop", "keel-forwarder", "keel-instance@" + storm.BLUE)


def test(checks):
    with Lab(out_folder("units_storm")) as lab:
        try:
            Units(checks, lab).run()
        finally:
            for unit in UNITS:
                run("systemctl", "stop", unit, check=False)
                shutil.rmtree(DROP_IN % unit, ignore_errors=True)
            run("systemctl", "daemon-reload")
            if os.path.exists("/run/netns/keel-" + storm.BLUE):
                remove_namespace("keel-" + storm.BLUE)


if __name__ == "__main__":
    sys.exit(main(test))
