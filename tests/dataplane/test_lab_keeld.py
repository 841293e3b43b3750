#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keeld forwards between lab ports: test_lab_keeld.py BUILD. Both families, two ports: no numbered frame is lost, and frames on a wrong port are
detected. Exit status 77 without permission to create namespaces."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import lab_ports  # noqa: E402
from frames import ipv4, ipv4_frame  # noqa: E402

BUILD = os.path.abspath(sys.argv[1])
FRAMES = 200000
# class 0 leaves by east, 1 by west
ROUTES = [("10.%d.0.0/16" % i, i % 2) for i in range(64)] + [("2001:db8:%x::/48" % i, i % 2) for i in range(64)]
NEXT_HOPS = {0: ("192.0.2.9", "2001:db8:aa::9"), 1: ("198.51.100.9", "2001:db8:bb::9")}


class LabPortsOfKeeld(unittest.TestCase):
    def host(self, net):
        net.host("r", ipv6=True)
        net.host("far", ipv6=True)
        for name, v4, v6 in (("east", "192.0.2", "2001:db8:aa"), ("west", "198.51.100", "2001:db8:bb")):
            net.link("r", name, None, "far", name, None)
            for address in (v4 + ".9", v6 + "::9"):
                net.sh("r", "ip neigh add %s lladdr 02:00:00:00:00:09 dev %s nud permanent" % (address, name))

    def config(self, ports):
        worker, others = lab.cpus_of_lab()
        return {
            "router": {"asn": 64512, "router_id": "192.0.2.1"},
            "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512, "eal_args": ports.eal_args()},
            "ports": [{"name": "east", "device": ports.device(0), "addresses": ["192.0.2.1/24", "2001:db8:aa::1/64"]},
                      {"name": "west", "device": ports.device(1), "addresses": ["198.51.100.1/24", "2001:db8:bb::1/64"]}],
            "static_routes": [{"prefix": "203.0.113.0/24", "blackhole": True}] + [{"prefix": p, "next_hop": NEXT_HOPS[c][":" in p]} for p, c in ROUTES],
        }

    def test_all(self):
        with lab.Lab(os.path.join(BUILD, "test")) as net:
            self.host(net)
            ports = lab_ports.LabPorts(BUILD, net.dir, ROUTES, v4=4096, v6=4096)
            with ports.environment():
                process, rpc = net.keeld("r", self.config(ports), os.path.join(BUILD, "control/keeld"))
            lab.wait_for("routes", lambda: rpc.call("fib.lookup", address="10.63.0.1")["paths"] and
                         rpc.call("fib.lookup", address="2001:db8:3f::1")["paths"], 20)
            lab.wait_for("neighbours", lambda: all(rpc.call("fib.lookup", address=a)["paths"][0]["state"] == "up"
                                                  for a in ("10.0.0.1", "10.1.0.1", "2001:db8::1", "2001:db8:1::1")), 20)
            ports.open()
            try:
                self.traffic(net, ports)
                self.flood(ports, rpc)
            finally:
                ports.close()
            process.must_run()
            rpc.close()

    def traffic(self, net, ports):
        for i, name in enumerate(("east", "west")):
            ports.mac(i, net.sh("r", "cat /sys/class/net/%s/address" % name).strip())
        ports.limit(1, 0)
        ports.pattern(0x5555555555555555)
        ports.allow(0, 0b01)
        ports.allow(1, 0b10)
        s = self.send(ports, FRAMES)
        self.assertEqual([s[k] for k in ("sent", "seen", "misdirected", "reordered", "damaged", "foreign")], [FRAMES, FRAMES, 0, 0, 0, 0])
        self.assertGreaterEqual(s["checked"], FRAMES // 64 - 1)
        self.assertTrue(all(p["seen"] > FRAMES // 3 for p in s["ports"]))
        ports.allow(1, 0b01)  # the routes lead to a different port
        s = self.send(ports, 2 * FRAMES)
        self.assertEqual(s["seen"], 2 * FRAMES)
        self.assertEqual(s["misdirected"], s["ports"][1]["misdirected"])
        self.assertGreater(s["misdirected"], FRAMES // 3)

    def flood(self, ports, rpc):
        """Every second frame goes to a black hole, and the others are forwarded."""
        before = ports.stats()
        ports.flood(0xaaaaaaaaaaaaaaaa, ipv4_frame(bytes(6), ipv4("192.0.2.77", "203.0.113.1", 17, bytes(8))))
        ports.limit(0, 3 * FRAMES)
        ports.run(True)
        lab.wait_for("frames", lambda: ports.stats()["sent"] >= 3 * FRAMES, 30)
        lab.wait_for("the black hole", lambda: lab.worker_drops(rpc, "blackhole") == FRAMES // 2, 30)
        after = ports.stats()
        self.assertEqual([after[k] - before[k] for k in ("seen", "reordered", "damaged", "foreign")], [FRAMES // 2, 0, 0, 0])

    def send(self, ports, until):
        ports.limit(0, until)
        ports.run(True)
        lab.wait_for("frames", lambda: ports.stats()["seen"] >= until, 30)
        ports.run(False)
        return ports.stats()


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("namespaces need root")
        sys.exit(77)
    sys.argv[1:] = []
    unittest.main()
