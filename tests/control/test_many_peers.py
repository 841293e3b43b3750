#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""4,000 configured peers of which most are idle, against a real keeld: what one live peer costs, and bgp.peers beside other requests. Needs
root (a network namespace); else the exit status is 77.

usage: test_many_peers.py KEELD
"""
import os
import shutil
import time

import keel_rig
from keel_rig import THEM, US, WAIT_S, KeelTest

OTHER = "192.0.2.3"
IDLE = 4000
UPDATES = 500


def idle(count):
    """Passive peers that never connect."""
    return [{"address": "10.%d.%d.1" % (i >> 8, i & 255), "asn": 64600, "passive": True, "group": "idle"} for i in range(count)]


class ManyPeers(KeelTest):
    def begin(self, count):
        both = {"ipv4-unicast": {"import_policy": "accept-all", "export_policy": "accept-all"}}
        live = [{"address": a, "asn": n, "passive": True, "families": both} for a, n in ((THEM, 64513), (OTHER, 64514))]
        self.start({"router": {"asn": 64512, "router_id": US},
                    "bgp": {"next_hop_tracking": False, "groups": [{"name": "idle", "families": both}], "peers": idle(count) + live}})

    def session_cpu_s(self):
        return [t["cpu_s"] for t in self.keel.call("control.stats")["threads"] if t["name"] == "keel-session"][0]

    def cost(self, count):
        """Processor seconds of the session thread for UPDATEs of one peer, each of them awaited at another peer before the next is sent."""
        self.begin(count)
        them, other = self.speak(), self.speak(address=OTHER, asn=64514)
        before = self.session_cpu_s()
        for i in range(UPDATES):
            network = "20.%d.%d.0" % (i >> 8, i & 255)
            since = time.monotonic()
            them.announce(network)
            with other.changed:
                self.assertTrue(other.changed.wait_for(lambda: network + "/24" in other.told(since)[0], WAIT_S))
        spent = self.session_cpu_s() - before
        them.close()
        other.close()
        self.keel.stop()
        self.keel.log.close()
        return spent

    def test_an_update_costs_the_same_beside_idle_peers(self):
        """Each UPDATE wakes the session thread. No wake-up may go over all configured peers."""
        few = self.cost(10)
        shutil.rmtree(os.path.join(self.folder, "state"))
        many = self.cost(IDLE)
        print("session thread, %d UPDATEs: %.4f s beside 10 idle peers, %.4f s beside %d" % (UPDATES, few, many, IDLE), flush=True)
        self.assertLess(many, 10 * few)

    def end(self):
        if self.keel.process.poll() is None:
            self.keel.stop()
        self.keel.log.close()


if __name__ == "__main__":
    keel_rig.main()
