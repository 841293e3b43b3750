#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ports enter and leave VPN instances at run time: by commits, rollbacks and confirmed commits, from `default`, to another instance and back, with a session and
routed answers in the instance after each move. No packet of another port is lost. A refused commit, and a kill of keeld, change nothing. The first instance is
added by a commit, also with the rights of the units and their drop-in; without the drop-in the port waits.

    c1 (192.0.2.2) --- port red (192.0.2.1) of keeld --- core --- f
"""
import json
import os
import sys

import labtest
from labtest import KEELD, Lab, need, out_folder, run
from lab import cpus_of_lab, forwarder_of, remove_namespace
import test_instance_ports
from test_instance_ports import BLUE, CE, CORE, FEED_AT, DROP_IN, RED, SITES, US, US6, V4_POLICY, config, namespaces

NAME = "instance_moves"
PORT = {"name": "red", "device": "net_af_xdp_red,iface=red", "addresses": [US + "/24", US6 + "/64"]}
BROKEN = {"name": "broken", "device": "net_af_xdp3,iface=nowhere"}


class Test(test_instance_ports.Test):
    def document(self, vrfs, *ports):
        worker, control = cpus_of_lab()
        d = config(worker, control, vrfs)
        d["ports"] = [p for p in d["ports"] if "vrf" not in p] + list(ports)
        return d

    def start(self, *vrfs, prefix=(), args=(), document=None):
        self.process, self.rpc = self.lab.keeld("pe", document or self.document(vrfs), KEELD, name="pe", own_mounts=False, prefix=prefix, args=args)

    def ports(self):
        return {p["name"]: p["state"] for p in self.rpc.call("dataplane.stats")["ports"]}

    def commit(self, *ports, merge=None, **how):
        core = [p for p in self.rpc.call("config.get")["document"]["ports"] if p["name"] == "core"]
        self.rpc.call("config.edit", merge=dict(merge or {}, ports=core + list(ports)))
        return self.rpc.call("config.commit", **how)["commit"]

    def is_in(self, vrf, what):
        """The port is in the instance, or in `default`: state, interface, session, forwarding."""
        c = self.c
        c.comes_to(what + ": the ports", self.ports, {"core": "up", "red": "up"})
        c.equal("... and the interface", (self.home(), [v for v in (RED, BLUE) if "keel-" + v in namespaces() and "red" in self.links("keel-" + v)]),
                ({"red"}, []) if vrf is None else (set(), [vrf]))
        if vrf:
            self.reach((vrf, "c1", "red"))
        else:
            c.comes_to("... the port answers in `default`", lambda: self.pings("c1", US), True)
        red = [r for v in (RED, BLUE) if v != vrf and v in self.vrfs() for r in self.rpc.call("rib.routes", family="ipv4-unicast", vrf=v, view="loc")["routes"] if r["prefix"] == "192.0.2.0/24"]
        c.equal("... and no other instance has its subnet", red, [])

    def vrfs(self):
        return [v["name"] for v in self.rpc.call("vrf.list")["vrfs"]]

    def moves(self):
        c = self.c
        self.start(RED, BLUE)
        keelfwd = forwarder_of(self.rpc)
        core = labtest.ping(self.lab, "ping-core", "f", CORE)
        self.commit(dict(PORT, vrf=RED))
        self.is_in(RED, "a commit adds a port of red")
        self.commit(dict(PORT, vrf=BLUE))
        self.is_in(BLUE, "a commit moves the port to blue")
        before = self.rpc.call("config.history")["commits"][-2]["id"]
        self.rpc.call("config.rollback", to=before)
        self.is_in(RED, "a rollback moves it back")
        self.commit(PORT, confirm_s=600)
        self.is_in(None, "a commit with a confirmation moves it to `default`")
        self.rpc.call("config.rollback", to=before)
        self.is_in(RED, "and its rollback back")
        self.rpc.call("config.edit", merge={"ports": [dict(PORT, vrf=BLUE)]})
        c.equal("a preview of a move has no effect", [e["effect"] for e in self.rpc.call("bgp.refresh.preview", candidate=True).get("effects", [])], [])
        self.rpc.call("config.discard")
        self.is_in(RED, "after the preview")
        try:
            self.commit(dict(PORT, vrf=BLUE), BROKEN)
            c.true("a commit with a port that does not open is refused", False)
        except RuntimeError as e:
            c.true("a commit with a port that does not open is refused", "/ports/2/device" in str(e), str(e))
        self.rpc.call("config.discard")
        self.is_in(RED, "and the former port is back")
        run("ip", "-n", "keel-" + RED, "link", "delete", "red")
        c.comes_to("an operator deletes the interface", self.ports, {"core": "up", "red": "missing"})
        try:
            self.commit(dict(PORT, vrf=RED, mtu=1400), BROKEN)
            c.true("the same commit is refused again", False)
        except RuntimeError as e:
            c.true("the same commit is refused again", "/ports/2/device" in str(e), str(e))
        self.rpc.call("config.discard")
        c.comes_to("... and the former port has no interface", self.ports, {"core": "up", "red": "missing"})
        self.site_link_again("c1", "red")
        self.is_in(RED, "the interface is made again, and moves into the namespace")
        answers, lost = labtest.ping_end(core)
        c.true("the other port has %d answers, and loses no packet" % answers, answers > 0 and not lost, lost)
        c.equal("keelfwd is the same", forwarder_of(self.rpc), keelfwd)
        document = self.rpc.call("config.get")["document"]
        self.end(kill=True)
        self.start(document=document)
        c.equal("after a kill keelfwd is adopted", (forwarder_of(self.rpc), self.rpc.call("system.info")["forwarder"]["adopted"]), (keelfwd, True))
        self.is_in(RED, "with the port")
        self.commit()
        c.comes_to("without the port", self.ports, {"core": "up"})
        c.equal("... its interface is home", self.home(), {"red"})
        self.lab.sh("pe", "ip link set core down")
        c.comes_to("an operator sets another port down", self.ports, {"core": "down"})
        self.commit(dict(PORT, vrf=RED))
        c.equal("... which stays down after a commit", "UP" in self.links(self.lab.netns("pe"))["core"]["flags"], False)
        self.lab.sh("pe", "ip link set core up")
        self.is_in(RED, "and again")
        self.lab.sh("pe", "ip link add other type veth peer name other1; ip link set other1 up")
        self.commit(dict(PORT, vrf=RED, device="net_af_xdp_other,iface=other"))
        c.comes_to("the port gets another device", self.ports, {"core": "up", "red": "up"})
        c.equal("... and the former interface is home", {x for x in ("red", "other") if x in self.links(self.lab.netns("pe"))}, {"red"})
        self.rpc.call("config.rollback", to=self.rpc.call("config.history")["commits"][-2]["id"])
        self.is_in(RED, "a rollback takes it again")
        c.true("... and the other one is home", "other" in self.links(self.lab.netns("pe")))
        self.end()
        c.equal("a stop leaves no namespace", {"keel-" + v for v in (RED, BLUE)} & namespaces(), set())

    def first(self, *drop_in):
        """A keeld without instances, with the rights of the units: a commit adds the first one, with a port."""
        c, may = self.c, len(drop_in) > 0
        keelfwd, args = self.lab.keelfwd("pe", KEELD, prefix=self.as_unit("keel-forwarder.service.in", *drop_in), own_mounts=False)
        self.start(prefix=self.as_unit("keel.service.in", *drop_in), args=args)
        red = config(0, [], (RED,))
        bgp = self.rpc.call("config.get")["document"]["bgp"]
        peers = bgp["peers"] + [{"address": CE, "asn": 64513, "vrf": RED, "passive": True, "families": V4_POLICY}]
        self.commit(dict(PORT, vrf=RED), merge={"vrfs": red["vrfs"], "bgp": {"peers": peers}})
        alarms = {a["kind"]: a["text"] for a in self.rpc.call("system.info")["alarms"]}
        if may:
            c.equal("no alarm", alarms.get("namespace"), None)
            self.is_in(RED, "the first instance of a commit")
        else:
            c.true("an alarm names the instance", RED in alarms.get("namespace", ""), alarms)
            c.equal("the port waits", self.ports().get("red") in ("missing", "failed"), True)
        self.end()
        c.equal("keelfwd stops in order", keelfwd.stop(), 0)


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        t = Test(checks, lab)
        try:
            t.build()
            lab.sh("pe", "ip link delete blue")
            t.moves()
            run("ip", "netns", "add", "keel-" + RED)
            t.unit_namespace()
            t.first(DROP_IN)
            t.first()
        finally:
            for vrf, _, _ in SITES:
                if "keel-" + vrf in namespaces():
                    remove_namespace("keel-" + vrf)


if __name__ == "__main__":
    need("ip", "ethtool", "ping", "nsenter", "setpriv", files=[KEELD])
    raise SystemExit(labtest.main(test))
