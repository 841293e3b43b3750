# SPDX-License-Identifier: BSD-3-Clause
"""keeld with lab ports (tests/dataplane/lab_port.h): traffic from and to memory in the worker's own loop.

    ports = LabPorts(build, lab.dir, routes)     # routes: [(prefix, class)]; draws the destinations
    lab.link(host, "east", None, ...)            # interfaces of the ports' names, before keeld: addresses, neighbours, sessions
    with ports.environment():
        lab.keeld(host, {..., "dataplane": {..., "eal_args": ports.eal_args()},
                         "ports": [{"name": "east", "device": ports.device(0), ...}]}, keeld)
    ports.open(); ports.mac(0, address); ports.allow(1, 0b10); ports.run(True); ports.stats()
"""
import contextlib
import json
import os
import shutil
import subprocess

PLUGIN = "tests/bench/librte_net_keellab.so"
PROGRAM = "tests/bench/lab_ports"


class LabPorts:
    def __init__(self, build, folder, routes, v4=1 << 20, v6=1 << 20, seed=42):
        self.build, self.file = os.path.abspath(build), os.path.join(folder, "lab_ports")
        listing = self.file + ".routes"
        with open(listing, "w") as f:
            f.writelines("%s %d\n" % route for route in routes)
        self.made = json.loads(subprocess.run(
            [os.path.join(self.build, PROGRAM), "--create", self.file, "--routes", listing, "--v4", str(v4), "--v6", str(v6), "--seed", str(seed)],
            check=True, stdout=subprocess.PIPE).stdout)
        # EAL refuses plugins below a world-writable folder, such as a clone's parent; a lab's folder is below /run
        self.plugin = shutil.copy(os.path.join(self.build, PLUGIN), folder)
        self.control = None

    def eal_args(self):
        return ["-d", self.plugin]

    @staticmethod
    def device(index):
        return "net_null_lab%d,no-rx=1" % index

    @contextlib.contextmanager
    def environment(self):
        """For starting keeld: the plugin reads the name of its file from the environment."""
        os.environ["KEELLAB"] = self.file
        try:
            yield
        finally:
            del os.environ["KEELLAB"]

    def open(self):
        self.control = subprocess.Popen([os.path.join(self.build, PROGRAM), "--control", self.file],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def say(self, *words):
        self.control.stdin.write(" ".join(map(str, words)) + "\n")
        answer = json.loads(self.control.stdout.readline())
        if answer.get("ok") is False:
            raise ValueError("lab_ports: " + " ".join(map(str, words)))
        return answer

    def mac(self, port, address):
        """MAC address of the port: dataplane/port/port_host.c copies the address of the kernel's interface with the port's name."""
        self.say("mac", port, address)

    def allow(self, which, mask):
        """Lab ports (bits) allowed for frames of a class ("all": of every class); both generations while routes change."""
        self.say("allow", which, mask)

    def limit(self, port, frames):
        self.say("limit", port, frames)

    def pattern(self, bits):
        """Bit n: each 64th frame from the n-th on is IPv6."""
        self.say("pattern", "%x" % bits)

    def flood(self, bits, frame):
        """Bit n: each 64th frame from the n-th on is `frame`, padded; while no source runs."""
        self.say("flood", "%x" % bits, frame.ljust(64, b"\0").hex())

    def run(self, on):
        self.say("run", int(on))

    def stats(self):
        return self.say("stats")

    def close(self):
        if self.control:
            self.control.stdin.close()
            self.control.wait(timeout=10)
            self.control.stdout.close()
            self.control = None
