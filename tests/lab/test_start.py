#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: host
"""Starts that must fail: keeld reports the reason, ends with 1, and leaves interface and rules unchanged, and no keelfwd; a running keeld is not affected."""
import contextlib
import json
import mmap
import os
import subprocess
import sys

import labtest
from labtest import KEELD, Lab, need, out_folder
from lab import Hugepages, cpus_of_lab, forwarder_of, forwarder_pid, process_gone, read, wait_for

NAME = "start"
RESERVED_MB, MAP_HUGETLB = 640, 0x40000


def config(**dataplane):
    worker, others = cpus_of_lab()
    return {"router": {"asn": 64512, "router_id": "198.18.1.1"},
            "dataplane": dict({"worker_cpus": [worker], "control_cpus": others, "memory_mb": 512}, **dataplane),
            "ports": [{"name": "p", "device": "net_af_xdp_p,iface=p", "addresses": ["198.18.1.1/24"]}]}


def attempt(lab, name, document, args=()):
    """(exit status, output) of a keeld that ends by itself; None after a minute."""
    path = lab.write(name + ".json", json.dumps(document))
    command = ["ip", "netns", "exec", lab.netns("rt"), KEELD, "-c", path, "--socket", path + ".sock", "--state-dir", path + ".state", *args]
    try:
        p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None, ""
    return p.returncode, p.stdout


def host(lab):
    """What keeld changes. ip prints a warning about the peer of a veth while another lab removes namespaces, so standard error is left out."""
    return lab.sh("rt", "{ ip rule; ip -6 rule; ip -o link show p | grep -o xdp; sysctl -a | grep 'conf.p.'; } 2>/dev/null", check=False)


@contextlib.contextmanager
def reserved(pages):
    """Reserves all free hugepages but 32, without touching them. False: there are fewer than a keeld needs."""
    free = int(read("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")) - int(read("/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages"))
    if free * 2 < RESERVED_MB:
        yield False
        return
    with mmap.mmap(-1, (free - 32) << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB):
        yield True


def test(checks):
    with Lab(out_folder(NAME)) as lab:
        for h in ("rt", "f"):
            lab.host(h)
        lab.link("f", "up", "198.18.1.2/24", "rt", "p", None)
        before = host(lab)

        def refused(what, document, *words, exit_status=1, args=()):
            status, text = attempt(lab, "refused", document, args)
            checks.equal(what + ": exit status", status, exit_status)
            checks.true(what + ": says why", all(w in text for w in words), text[-500:])

        refused("too little memory", config(memory_mb=64), "memory_mb", "64", exit_status=2)
        checks.equal("the host is as before", host(lab), before)

        keelfwd, args = lab.keelfwd("f", KEELD)
        refused("a keelfwd in another namespace", config(), "another network namespace", args=args)
        checks.equal("... which goes on, and stops in order", keelfwd.stop(), 0)
        checks.equal("the host is as before", host(lab), before)

        # keelfwd runs, and keeld fails before it has given the ports
        refused("a configuration that is too long for keelfwd", config(eal_args=["--log-level=%s" % ("x" * 900)] * 80), "Argument list too long")
        left = forwarder_pid(lab.path("refused.json.sock.fwd"))
        checks.equal("no keelfwd is left", left, None)
        if left:
            os.kill(left, 9)
            wait_for("the end of keelfwd", lambda: process_gone(left), 30)

        mine = os.open("/dev/null", os.O_RDONLY)
        os.set_inheritable(mine, True)
        daemon, rpc = lab.keeld("rt", config(), KEELD)
        os.close(mine)
        of = "/proc/%d/" % forwarder_of(rpc)
        files = {int(fd): os.readlink(of + "fd/" + fd) for fd in os.listdir(of + "fd")}
        checks.true("keelfwd works in the root folder", os.path.samefile(of + "cwd", "/"), os.readlink(of + "cwd"))
        checks.equal("... with the log of keeld, and nothing else of the files of keeld", [*(os.path.samefile(of + "fd/%d" % n, "/dev/null") for n in (0, 1)), files[2], len([f for f in files.values() if f == files[2]])],
                     [True, True, os.readlink("/proc/%d/fd/2" % daemon.popen.pid), 1])
        running = host(lab)
        refused("a port that another keeld has", config(), "another keeld")
        checks.equal("the first one's rules and program stay", host(lab), running)
        rpc.call("system.info")
        checks.equal("it stops in order", daemon.stop(), 0)
        checks.equal("all is put back", host(lab), before)

        # pages that another process has reserved and not touched are free, and cannot be used
        with Hugepages(int(read(Hugepages.PATH)) + RESERVED_MB // 2) as pages, reserved(pages) as there_are:
            checks.true("another process reserves hugepages", there_are, pages)
            daemon, rpc = lab.keeld("rt", config(), KEELD, name="reserved")
            checks.true("it runs without hugepages", "hugepages=no" in daemon.logged(), daemon.logged()[-500:])
            checks.equal("... and stops in order", daemon.stop(), 0)


if __name__ == "__main__":
    need("ip", "sysctl", files=(KEELD,))
    sys.exit(labtest.main(test))
