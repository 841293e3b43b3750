#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: host
"""A lab leaves no traces: after its end, an exception, Ctrl-C and SIGTERM; and after SIGKILL, once the next lab has begun. Checked
from outside: namespaces, processes, mounts, hugepages, policy rules, routes, links, XDP and BPF on the host, files in /run, /dev/shm, /tmp.

With `--lab HOW` the program runs the lab under test: keeld with its data plane, BIRD, feed, a process outside every namespace, hugepages.
"""
import os
import re
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import FEED, KEELD, V4, Lab, need, out_folder, peer, run, wait_for
from lab import PREFIX, Hugepages, alive, cpus_of_lab, read, remove_leftovers, start_time

NAME = "cleanup"
HUGEPAGES = 6
BIRD = """
router id 198.18.1.2;
protocol device { }
protocol static fixed { ipv4; route 10.1.0.0/24 blackhole; }
protocol bgp keel { local 198.18.1.2 as 64601; neighbor 198.18.1.1 as 64512; connect retry time 1; connect delay time 1;
  ipv4 { import all; export all; }; }
"""


# ---- the lab ----

def lab(how, out):
    worker, others = cpus_of_lab()
    # in addition to the host's hugepages: otherwise the test could not see their release
    with Hugepages(int(read(Hugepages.PATH)) + HUGEPAGES), Lab(out) as lab:
        for h in ("rt", "b1", "fa"):
            lab.host(h)
        lab.link("b1", "up", "198.18.1.2/24", "rt", "upa", None)
        lab.link("fa", "up", "198.18.2.2/24", "rt", "upb", None)
        lab.bird("b1", BIRD)
        policies = {"families": {V4: {"import_policy": "accept-all", "export_policy": "accept-all"}}}
        _, rpc = lab.keeld("rt", {
            "router": {"asn": 64512, "router_id": "198.18.0.1"},
            "dataplane": {"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512},
            "ports": [{"name": n, "device": "net_af_xdp_%s,iface=%s" % (n, n), "addresses": [a]}
                      for n, a in (("upa", "198.18.1.1/24"), ("upb", "198.18.2.1/24"))],
            "bgp": {"peers": [dict(policies, address="198.18.1.2", asn=64601), dict(policies, address="198.18.2.2", asn=64602, enforce_first_as=False)]}}, KEELD)
        lab.spawn("feed", "fa", [FEED, "--count", "2000", "--connect", "198.18.2.1", "--source", "198.18.2.2", "--asn", "64602", "--peer-asn", "64512"],
                  lines=True)
        lab.spawn("outside", None, ["sleep", "1000"])
        wait_for("routes", lambda: [peer(rpc, a)["families"][V4]["accepted"] for a in ("198.18.1.2", "198.18.2.2")] == [1, 2000], 60)
        print("ready " + lab.tag, flush=True)
        if how == "exception":
            raise RuntimeError("as a failing test does")
        if how != "end":
            threading.Event().wait(300)  # until the test ends the process
    return 0


# ---- the world outside ----

def lines(*command):
    return {line.strip() for line in run(*command, check=False).splitlines() if line.strip()}


def foreign(text):
    """True for another running lab (with a live maker), which this test ignores."""
    return any(start_time(int(pid)) == int(start) for pid, start in re.findall(PREFIX + r"-(\d+)-(\d+)", text))


def eal_folders():
    return {"/run/dpdk/" + n for n in (os.listdir("/run/dpdk") if os.path.isdir("/run/dpdk") else [])
            if not alive(int((re.findall(r"\d+", n) or ["1"])[0]))}


def world():
    """State of the machine that a lab must leave as it was."""
    out = {
        "namespaces": {n for n in lines("ip", "netns", "list") if not foreign(n)},
        "mounts": {m.split()[1] for m in read("/proc/self/mounts").splitlines() if not foreign(m)},
        "policy rules": lines("ip", "rule") | lines("ip", "-6", "rule"),
        "routes": {re.sub(r"expires \d+sec", "", line) for line in lines("ip", "route", "show", "table", "all")},
        "links": {n for n in os.listdir("/sys/class/net") if not re.fullmatch(r"kl(\d+)[ab]", n) or not alive(int(n[2:-1]))},
        "XDP on the host": {line for line in lines("ip", "-details", "link") if "xdp" in line},
        "files in /run": {n for n in os.listdir("/run") if not foreign(n)} | eal_folders(),
        "files in /dev/shm": set(os.listdir("/dev/shm")),
        "pinned BPF": set(os.listdir("/sys/fs/bpf")) if os.path.isdir("/sys/fs/bpf") else set(),
        "files in /var/lib/keel": set(os.listdir("/var/lib/keel")) if os.path.isdir("/var/lib/keel") else set(),
        "hugepages": read(Hugepages.PATH).strip(),
    }
    return out


def processes_of(tag):
    """Processes with the lab's name in their arguments, or inside its namespaces."""
    names = {n for n in os.listdir("/run/netns") if n.startswith(tag)} if os.path.isdir("/run/netns") else set()
    found = set()
    for n in names:
        found |= {int(p) for p in run("ip", "netns", "pids", n, check=False).split() if p.isdigit()}
    for p in filter(str.isdigit, os.listdir("/proc")):
        if tag in read("/proc/%s/cmdline" % p):
            found.add(int(p))
    return found


def grown(before):
    after, out = world(), {}
    for k, v in before.items():
        if isinstance(v, set) and after[k] - v:
            out[k] = sorted(after[k] - v)
        elif not isinstance(v, set) and after[k] != v:
            out[k] = (v, after[k])
    return out


class Child:
    """A running lab in a separate process."""

    def __init__(self, how, out):
        self.log = os.path.join(out, how + ".log")
        with open(self.log, "wb") as f:
            self.popen = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--lab", how, os.path.join(out, how)], stdout=subprocess.PIPE, stderr=f,
                                          start_new_session=True)
        line = self.popen.stdout.readline().decode().split()
        if not line or line[0] != "ready":
            self.popen.wait()
            raise RuntimeError("the lab `%s` did not come up: %s" % (how, read(self.log)))
        self.tag = line[1]
        self.started = [line.split() for line in read(os.path.join("/run", self.tag, "processes")).splitlines()]

    def processes(self):
        """Processes started by the lab anywhere, and processes with its name or inside its namespaces."""
        return sorted(processes_of(self.tag) | {int(p) for p, start in self.started if start_time(int(p)) == int(start)})

    def end(self, sig=None):
        if sig:
            os.kill(self.popen.pid, sig)
        status = self.popen.wait(120)
        self.popen.stdout.close()
        return status


def orderly(c, out):
    for how, sig, expected in (("end", None, 0), ("exception", None, 1), ("interrupt", signal.SIGINT, 130), ("terminate", signal.SIGTERM, 130)):
        before = world()
        child = Child(how, out)
        if sig:
            c.true("lab `%s`: it is there (%d processes)" % (how, len(child.processes())), len(child.processes()) >= 4, child.processes())
        c.equal("lab `%s`: exit status" % how, child.end(sig), expected)
        c.comes_to("... no process is left", child.processes, [], 10)
        c.equal("... nothing is left", grown(before), {})
        keeld = read(os.path.join(out, how, "keeld.log"))
        c.true("... keeld stopped in order", "keeld-stopping" in keeld, keeld[-500:])


def killed(c, out):
    before = world()
    child = Child("killed", out)
    c.equal("SIGKILL", child.end(signal.SIGKILL), -signal.SIGKILL)
    left = grown(before)
    c.true("a killed lab leaves things (else this test says nothing)", {"namespaces", "files in /run", "hugepages"} <= set(left) and
           len(child.processes()) >= 3, (left, child.processes()))
    with Lab(os.path.join(out, "next")) as lab:
        lab.host("one")
        c.true("the next lab has its own namespace", os.path.exists("/run/netns/" + lab.netns("one")))
        c.comes_to("... the killed one's processes are gone", child.processes, [], 10)
        remove_leftovers()
        c.true("... and what clears up leaves a living lab alone", os.path.exists("/run/netns/" + lab.netns("one")) and os.path.isdir(lab.dir))
    c.equal("after it nothing is left of both", grown(before), {})


def half_made(c, out):
    """Killed in the middle of making a link: the ends are still on the host."""
    before = world()
    p = subprocess.Popen([sys.executable, "-c", "import os, time; os.system('ip link add kl%da type veth peer name kl%db' % ((os.getpid(),) * 2)); "
                                                "print('x', flush=True); time.sleep(300)"], stdout=subprocess.PIPE)
    p.stdout.readline()
    p.kill()
    p.wait()
    p.stdout.close()
    c.true("a link half made", "links" in grown(before), world()["links"])
    remove_leftovers()
    c.equal("... is removed", grown(before), {})


def speaker_leaves(c):
    """Threads that enter a namespace do not keep the namespace alive."""
    before = world()
    with Lab(os.path.join(labtest.ROOT, "build", "test", NAME, "speaker")) as lab:
        lab.host("one")
        s = labtest.in_netns(lab.netns("one"), lambda: __import__("socket").socket())
        s.close()
    c.equal("after a socket in a namespace nothing is left", grown(before), {})


def test(checks):
    out = out_folder(NAME)
    remove_leftovers()
    orderly(checks, out)
    killed(checks, out)
    half_made(checks, out)
    speaker_leaves(checks)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--lab"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores SIGINT, and its children would, too
        try:
            sys.exit(lab(sys.argv[2], sys.argv[3]))
        except KeyboardInterrupt:
            sys.exit(130)
    need("ip", "bird", "birdc", "ethtool", files=[KEELD, FEED])
    raise SystemExit(labtest.main(test))
