#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelbench without a keeld: messages for impossible arguments; interfaces that return to their namespace; the place of a gap between packets; a
router on a wire, played by BIRD."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import BUILD, ROOT, need, out_folder
from test_keelbench import PROGRAM, SMALL, keelbench, metrics

NAME = "keelbench-wire"


def usage(c):
    for words, expected in ((["storm", "--dut", "198.18.0.300"], "is not an IPv4 address"), (["storm", "--dut", "198.18.0.1"], "--interface"),
                            (["plan", "--dut", "255.255.255.255"], "no address behind"), (["plan", "--dut", "192.0.2.1,192.0.2.9,198.18.0.1"], "in one /24"),
                            (["plan", "--peers", "200"], "is not in 198.18.0.0/24"), (["storm", "--peers", "-1"], "0 or more"), (["storm", "--hold", "2"], "3 to 65535"),
                            (["refresh", "--peers", "0"], "1 or more"), (["refresh", "--slow", "30"], "there are 20 asking peers"), (["storm", "--seconds", "nan"], "not above 0"),
                            (["load", "--routes", "-5"], "-5 is not 1 to"), (["load", "--json", "/nowhere/x.json"], "/nowhere/x.json"), (["load", "--json", "/"], "can be written at /"),
                            (["storm", "--lab-ports", "--routes6", "0"], "not with --routes6 0"),
                            (["storm", "--mrt", "/nowhere"], "/nowhere is not there"), (["storm", "--flip", "x"], "are of a router on a wire")):
        status, said = keelbench(*words)
        c.true("%s: exit 2 and why" % " ".join(words), status == 2 and expected in said, (status, said))
    status, said = keelbench("plan")
    c.true("plan: what a router on a wire is to be", status == 0 and "AS 64601" in said and "from-b" in said, (status, said))


def gaps(c, out):
    """Attribution of gaps between arrivals: a stopped sender causes a gap of 0.3 s, and so does a link that drops all packets for 0.3 s; only the
    second gap is the router's. The disturbance may take longer to begin and to end; in between it lasts for certain."""
    import signal
    from lab import Lab, clock
    pause_s, least_ms = 0.3, 250  # a busy receiver reads the last packet before the pause late

    def probed(lab, name, disturb):
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        p = lab.spawn(name, None, [os.path.join(BUILD, "tests", "bench", "probe"), "--from", lab.netns("src"), "--to", lab.netns("dst") + ":eth0", "--destinations",
                                   lab.write("to.txt", "198.18.0.2 0\n"), "--pps", "5000", "--out", folder], lines=True)
        p.say("mark begin")
        p.line(30)
        for begin in (True, False):
            list(clock(pause_s, pause_s))
            disturb(p, begin)
        list(clock(pause_s, pause_s))
        p.say("stop")
        p.popen.wait(60)
        with open(os.path.join(folder, "probe.json")) as f:
            return {k: v / 1e3 for k, v in json.load(f).items() if k.startswith("longest_") and k.endswith("_us")}
    with Lab(os.path.join(out, "logs")) as lab:
        for h in ("src", "dst"):
            lab.host(h)
        lab.link("src", "eth0", ["198.18.0.1/24"], "dst", "eth0", ["198.18.0.2/24"])
        lab.sh("src", "ip neigh add 198.18.0.2 lladdr $(ip netns exec %s cat /sys/class/net/eth0/address) dev eth0" % lab.netns("dst"))
        ms = probed(lab, "sender", lambda p, begin: os.kill(p.popen.pid, signal.SIGSTOP if begin else signal.SIGCONT))
        c.true("a sender that pauses makes a gap, and it is its own", ms["longest_gap_us"] > least_ms and ms["longest_send_gap_us"] > least_ms, ms)
        c.true("... which is not the router's", ms["longest_gap_beyond_sender_us"] < 100, ms)
        ms = probed(lab, "way", lambda p, begin: lab.sh("src", "tc qdisc replace dev eth0 root pfifo limit %d" % (0 if begin else 1000)))
        c.true("a way that drops for as long makes one, and it is the router's", ms["longest_gap_us"] > least_ms and ms["longest_gap_beyond_sender_us"] > 100, ms)


def wire(c, out):
    """--dut ADDRESS,ADDRESS,ADDRESS: a BIRD configured from `keelbench plan`, not started by keelbench, behind interfaces that keelbench takes and
    returns."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
    from keelbench.adapters import Bird
    from keelbench.plan import Plan
    from lab import Lab, run
    nets, ends = ["198.18.%d" % n for n in (50, 51, 52)], ["kw%d-%d" % (os.getpid(), i) for i in range(3)]
    with Lab(os.path.join(out, "logs")) as lab:
        plan = Plan(router=[n + ".1" for n in nets], ours=[n + ".2" for n in nets], ipv6=False, asking=3)
        lab.host("rt", forward=True)
        box = Bird(lab, plan)
        try:
            for dev, link in zip(ends, plan.links):
                run("ip", "link", "add", dev, "type", "veth", "peer", "name", link.name, "netns", lab.netns("rt"))
                lab.sh("rt", "ip link set %s up; ethtool -K %s tx off gso off tso off" % (link.name, link.name))
            box.begin()
            for state in (0, 1):
                box.state, box.peers = state, box.peers_now()
                lab.write("bird%d.conf" % state, box.config())
            flip = lab.write("flip.sh", "birdc -s %s configure '\"%s/bird'$1'.conf\"'\n" % (box.d.control, lab.dir))
            dut = ["--dut", ",".join(n + ".1" for n in nets), "--interface", ",".join(ends)]
            status, said = keelbench("storm", *SMALL, *dut, "--flip", "sh " + flip, "--out", out)
            c.true("a router on a wire: exit 0", status == 0, said[-3000:])
            m = metrics(os.path.join(out, "storm.json"))[1]["wire"]
            c.true("... packets flowed, and went over with its flips", m["storm_sent"] > 1500 and m["flips"] >= 2 and "flip_until_last_packet" in m, m)
            c.equal("... what nobody can know is not there", [k for k in m if k.startswith(("audit", "resident", "storm_router_cpu"))], [])
            c.true("... its interfaces are back", all(os.path.exists("/sys/class/net/" + dev) for dev in ends), ends)
        finally:
            box.stop()
            for dev in ends:
                run("ip", "link", "delete", dev, check=False)


def given_back(c, out):
    """Interfaces of a machine that is itself a namespace: at any end of keelbench, the interfaces return to their namespace."""
    from lab import Lab
    program = "KEEL_BUILD=%s %s load --dut 198.18.50.1 --interface kw0 --routes 10 --timeout 1 --no-limits --out %s" % (BUILD, PROGRAM, os.path.join(out, "given"))
    with Lab(os.path.join(out, "logs")) as lab:
        lab.host("machine")
        lab.sh("machine", "ip link add kw0 type veth peer name kw1; ip link add kw2 type veth peer name kw3")
        three = program.replace("50.1", "50.1,198.18.51.1,198.18.52.1")
        for what, command, expected in (
                ("a router that is not there", program, "3"),
                ("a storm's router that is not there", three.replace(PROGRAM + " load", "timeout 50 " + PROGRAM + " storm --flip-s 0").replace("kw0", "kw0,kw1,kw2"), "3"),
                ("an interface that is not there", three.replace("load", "storm --flip true").replace("kw0", "kw0,kw1,nowhere"), "2")):
            c.equal(what, lab.sh("machine", command + " >/dev/null 2>&1; echo $?").strip(), expected)
            c.equal("... the interfaces are where they were", sorted(lab.sh("machine", "ls /sys/class/net").split()), ["kw0", "kw1", "kw2", "kw3", "lo"])


def test(checks):
    out = out_folder(NAME)
    usage(checks)
    given_back(checks, out)
    gaps(checks, os.path.join(out, "gaps"))
    wire(checks, os.path.join(out, "wire"))


if __name__ == "__main__":
    need("ip", "gnuplot", "bird", files=(os.path.join(BUILD, "tests", "bench", "probe"),))
    sys.exit(labtest.main(test))
