#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every line of README's configuration and keelctl sections runs as it stands: by the default paths, against a keeld of README's document, with a peer.
What asks the data plane is answered that there is none (keeld runs with --no-dataplane here). In namespaces of its own for the network and for mounts,
so that /run and /var/lib are the test's own (needs root: else the exit status is 77).

usage: test_readme.py KEELD KEELCTL
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSIDE = "KEEL_README_NAMESPACE"
PROCEDURE = "# a procedure\nsystem-view\nbgp 64512\npeer 192.0.2.2 capability-advertise route-refresh\nreturn\nshow diff\ndiscard\n"
NEEDS_DATAPLANE = re.compile(r"keelctl (show fib|show dataplane|rpc fib\.)")
WAIT_S = 60
failed = []


def check(what, good, more=""):
    print("%-5s %s" % ("ok" if good else "FAIL", what), flush=True)
    if not good:
        print(more)
        failed.append(what)


def section(title):
    with open(os.path.join(ROOT, "README.md")) as f:
        text = f.read()
    return re.search(r"^## %s\n(.*?)^## " % re.escape(title), text, re.M | re.S).group(1)


def lines_of(title):
    text = re.sub(r"```.*?```", "", section(title), flags=re.S)
    return [line[4:] for line in text.splitlines() if line.startswith("    ")]


def run(line):
    """As somebody types it in a shell whose PATH has the programs."""
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=WAIT_S, stdin=subprocess.DEVNULL)


def wait(what, good, keeld):
    end = time.monotonic() + WAIT_S
    while not good():
        assert time.monotonic() < end and keeld.poll() is None, "no " + what
        time.sleep(0.02)


def start(line):
    return subprocess.Popen(["bash", "-c", "exec " + line], stdin=subprocess.DEVNULL)


def stop(keeld):
    keeld.terminate()
    check("keeld stops in order", keeld.wait(WAIT_S) == 0)


def ready():
    return run("keelctl show version").returncode == 0


def configuration(speaker_class):
    """The document is good; keeld starts with it; the peer's session comes up and its route is accepted."""
    document = re.search(r"```json\n(.*?)```", section("Configuration"), re.S).group(1)
    with open("keel.json", "w") as f:
        f.write(document)
    with open("procedure.txt", "w") as f:
        f.write(PROCEDURE)
    lines = lines_of("Configuration")
    check("three lines about keeld", len(lines) == 3 and all(line.startswith("keeld -c keel.json") for line in lines), lines)
    p = run(lines[0])
    check(lines[0], (p.returncode, p.stdout, p.stderr) == (0, "", ""), (p.returncode, p.stdout, p.stderr))
    keeld = start(lines[2])
    wait("answer", ready, keeld)
    check(lines[2], True)
    os.kill(keeld.pid, signal.SIGHUP)  # "SIGHUP reads FILE again and commits it"
    speaker = speaker_class("peer")
    check("the session", speaker.established())
    speaker.announce("203.0.113.0")
    wait("route", lambda: "203.0.113.0/24, 1 path" in run("keelctl show route 203.0.113.9").stdout, keeld)
    return keeld, speaker


def keelctl_lines():
    lines = lines_of("keelctl")
    check("the section has its lines", len(lines) > 20, lines)
    for line in lines:
        p = run(line)
        expected, error = (1, "no-dataplane") if NEEDS_DATAPLANE.search(line) else (0, "")
        good = p.returncode == expected and (error in p.stderr if error else p.stderr == "")
        check(line, good, "exit status %d\n%s%s" % (p.returncode, p.stdout, p.stderr))
        widest = max(map(len, p.stdout.splitlines()), default=0)
        if " rpc " not in line:
            check("... in 80 columns", widest <= 80, p.stdout)
    check("the document that the last commit made runs",
          json.loads(run("keelctl rpc config.get").stdout)["document"]["route_policies"][0]["nodes"][0]["set"]["local_pref"] == 80)


def inside():
    for line in ("mount --make-rprivate /", "mount -t tmpfs tmpfs /run", "mount -t tmpfs tmpfs /var/lib", "ip link set lo up", "ip netns add peer",
                 "ip link add east type veth peer name east netns peer", "ip address add 192.0.2.1/24 dev east", "ip link set east up",
                 "ip -n peer address add 192.0.2.2/24 dev east", "ip -n peer link set east up"):
        subprocess.run(line.split(), check=True)
    import keel_rig
    folder = tempfile.mkdtemp(dir="/run")
    for program in sys.argv[1:3]:
        os.symlink(os.path.abspath(program), os.path.join(folder, os.path.basename(program)))
    os.environ["PATH"] = folder + ":" + os.environ["PATH"]
    os.environ.pop("KEEL_SOCKET", None)
    os.chdir(folder)
    keeld, speaker = configuration(keel_rig.Speaker)
    try:
        keelctl_lines()
        speaker.close()
    finally:
        stop(keeld)
    print("%d failed" % len(failed))
    sys.exit(1 if failed else 0)


def main():
    if INSIDE in os.environ:
        inside()
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0 or subprocess.run(unshare + ["true"], capture_output=True).returncode != 0:
        print("namespaces need root")
        sys.exit(77)
    os.environ[INSIDE] = "yes"
    sys.exit(subprocess.run(unshare + [sys.executable, os.path.abspath(__file__)] + sys.argv[1:]).returncode)


if __name__ == "__main__":
    main()
