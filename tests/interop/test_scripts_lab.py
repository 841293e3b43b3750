#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/lab: faults of a file by line, a lab in the background with five kinds of daemons, commands in its hosts, traffic through the router, a
lab in the foreground, a lab that fails to start. No namespaces, folders or processes remain afterwards."""
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import BUILD, ROOT, KEELD, need, out_folder, run
from lab import PREFIX, alive, remove_leftovers

NAME = "scripts_lab"
SCRIPT = os.path.join(ROOT, "scripts", "lab")
NOT_A_PREFIX = "link a 192.0.2.1/24 b 192.0.2.2/24\nkeeld a 64512 192.0.2.1/24\n"
# (file, words of the message)
FAULTS = (
    ("", "no link"),
    ("link a 192.0.2.1/24\n", ":1: expected: link"),
    ("# a comment\n\nlink a 192.0.2.1/24 b 192.0.2.2\n", ":3: "),
    ("route a b\n", ":1: unknown statement 'route'"),
    (NOT_A_PREFIX, ":2: 192.0.2.1/24 has host bits set"),
    ("link a 192.0.2.1/24 b 192.0.2.2/24\nbird a 1\nfrr a 2\n", ":3: a already runs bird"),
    ("keeld A 64512\n", ":1: 'A' is not a host"),
    ("feed a 64512\n", ":1: expected: feed"),
    ("keeld a\n", ":1: expected: keeld"),
    ("bird a 64512 config=missing\n", "missing"),
)
NOTHING = ([], [])
HOSTS = ("rtq", "upq", "pcq", "rsq", "frq", "fullq", "aq", "bq")  # names used by no other lab
PLAY = """# a router, a speaker without data plane, three kinds of peers
link   rtq 192.0.2.1/24 2001:db8:1::1/64      upq 192.0.2.2/24 2001:db8:1::2/64
link   rtq 198.51.100.1/24 2001:db8:2::1/64   pcq 198.51.100.2/24 2001:db8:2::2/64
link   rtq 203.0.113.1/28                     rsq 203.0.113.2/28
link   rtq 203.0.113.17/28                    frq 203.0.113.18/28
link   rtq 203.0.113.33/28                    fullq 203.0.113.34/28
keeld  rtq 64512 198.51.100.0/24 2001:db8:2::/48
keeld  rsq 64512 no-dataplane
bird   upq 64513 10.1.0.0/16 2001:db8:1001::/48
frr    frq 64514 10.2.0.0/16
feed   fullq 64601 1000
sh     pcq 'ip address add 10.9.9.9/32 dev lo'
"""
BROKEN = """link  rtq 192.0.2.1/24  upq 192.0.2.2/24
keeld rtq 64512 no-dataplane
bird  upq 64513 config=broken.conf
"""


def left():
    """Namespaces and folders with our hosts' names; other labs may run on this machine at the same time."""
    ours = tuple("-" + h for h in HOSTS)
    return ([line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.startswith(PREFIX) and line.split()[0].endswith(ours)],
            [x for x in os.listdir("/run") if x.startswith(PREFIX) and any(e.split(".")[0] in HOSTS for e in entries(os.path.join("/run", x)))])


def entries(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def lab(*words, check=0):
    p = subprocess.run([SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200, stdin=subprocess.DEVNULL)
    if p.returncode != check:
        raise RuntimeError("scripts/lab %s: exit %d instead of %d: %s" % (" ".join(words), p.returncode, check, p.stdout))
    return p.stdout


def processes(folder):
    with open(os.path.join(folder, "processes")) as f:
        return [int(line.split()[0]) for line in f]


def background(checks, path):
    lab("--background", path)
    try:
        checks.true("--list names lab and hosts", "play: rtq (keeld), upq (bird), pcq (host), rsq (keeld)" in lab("--list"), lab("--list"))
        summary = lab("--in", "rtq", "keelctl", "show", "bgp", "summary")
        checks.true("all sessions are established", "5 peers, 5 established" in summary, summary)
        for name, address in (("BIRD", "10.1.0.1"), ("FRR", "10.2.0.1"), ("BIRD", "2001:db8:1001::1")):
            out = lab("--in", "pcq", "ping", "-c", "20", "-i", "0.05", "-w", "20", address)
            received = int(re.search(r"(\d+) received", out).group(1))
            checks.true("pings through the router to %s, %s" % (name, address), received >= 19, out)
        routes = lab("--in", "rsq", "keelctl", "show", "bgp", "summary")
        checks.true("the speaker without data plane has the routes of the others", re.search(r"192|203\.0\.113\.1 .* 100\d ", routes), routes)
        birdc = lab("--in", "play/upq", "birdc", "show", "route", "198.51.100.0/24")
        checks.true("birdc reaches the BIRD of its host, which has the router's prefix", "198.51.100.0/24" in birdc, birdc)
        checks.true("vtysh reaches the FRR of its host", "203.0.113.17" in lab("--in", "frq", "vtysh", "-c", "show bgp summary"))
        marked = lab("--in", "pcq", "ip", "address", "show", "lo")
        checks.true("sh ran its command", "10.9.9.9" in marked, marked)
        checks.true("a second lab of that name is refused", "is running" in lab("--background", path, check=2))
        checks.true("an unknown host is refused", "no running lab has a host nowhere" in lab("--in", "nowhere", "true", check=2))
        checks.true("an unknown lab is refused", "no running lab has the name other" in lab("--down", "other", check=2))
        namespaces, (folder,) = left()
        checks.equal("a namespace for each host", len(namespaces), 6)
        started = processes(os.path.join("/run", folder))
    finally:
        lab("--down", "play")
    checks.equal("after --down nothing is left", left(), NOTHING)
    checks.equal("all processes ended", [pid for pid in started if alive(pid)], [])
    checks.equal("--list is empty", "play" in lab("--list"), False)


def foreground(checks, path):
    p = subprocess.Popen([SCRIPT, path], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for line in p.stdout:
            if line.startswith("Ctrl-C"):
                break
        checks.true("a lab in the foreground says how it ends", p.poll() is None)
        started, end = len(left()[0]), time.monotonic() + 60
        p.send_signal(signal.SIGINT)
        while len(left()[0]) == started and time.monotonic() < end:
            time.sleep(0.001)
        p.send_signal(signal.SIGINT)  # while the lab removes its namespaces
        checks.equal("Ctrl-C, and again during the removal, ends the lab", p.wait(60), 0)
    finally:
        p.kill()
        p.wait()
        p.stdout.close()
    checks.equal("after Ctrl-C nothing is left", left(), NOTHING)


def test(checks):
    folder = out_folder(NAME)
    remove_leftovers()  # of an earlier, killed run

    def file(name, text):
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    for n, (text, words) in enumerate(FAULTS):
        path = file("fault%d.lab" % n, text)
        out = lab("--background", path, check=1 if "missing" in words else 2)
        checks.true("fault: " + words, words in out and "Traceback" not in out, out)
    checks.equal("faults start nothing", left(), NOTHING)

    file("broken.conf", "this is no configuration\n")
    out = lab("--background", file("broken.lab", BROKEN), check=1)
    checks.true("a daemon that ends at its start is named", "bird" in out.lower() and "Traceback" not in out, out)
    checks.equal("a lab that fails to start leaves nothing", left(), NOTHING)

    background(checks, file("play.lab", PLAY))
    foreground(checks, file("front.lab", "link aq 192.0.2.1/24 bq 192.0.2.2/24\nkeeld aq 64512 no-dataplane\nkeeld bq 64513 no-dataplane\n"))


if __name__ == "__main__":
    os.environ["KEEL_BUILD"] = BUILD
    need("ip", "ethtool", "bird", "birdc", files=[KEELD, "/usr/lib/frr/bgpd"])
    sys.exit(labtest.main(test))
