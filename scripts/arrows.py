#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Referee over the include lines: who may include whom (docs/architecture.md, "Folders and arrows"). Prints each line that breaks
an arrow and exits 1; with --self-test shows that it can fail.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYERS = {
    "lpm": {"lpm"},
    "rib": {"rib", "lpm"},
    "dataplane": {"dataplane", "lpm"},
    "control": {"control", "dataplane", "rib", "lpm"},
}
# The rooms of control/ and the rooms that each may include; every room may include control/base. The files at the top of control/ (main,
# wiring) are a room as well: they may include every room, and no room includes them.
ROOMS = {
    "base": set(),
    "bgp": set(),
    "config": set(),
    "host": {"config"},
    "export": {"bgp", "config"},
    "session": {"export", "bgp", "config"},
    "rpki": {"config"},
    "bmp": {"session", "bgp", "config"},
    "mrt": {"session", "config"},
    "apply": {"session", "config", "host", "rpki", "bmp", "mrt"},
    "rpc": {"apply", "session", "config", "host", "rpki", "bmp", "mrt"},
    "cli": set(),
}
ROOMS_MAX = 16
FLOORS_MAX = 8
# System headers and the folders that may use them.
SYSTEM = [
    (re.compile(r"rte_(rcu_qsbr|ring|ring_elem|lpm)\.h|rte_lpm\w*\.h"), {"lpm", "dataplane"}),
    (re.compile(r"rte_(version|config|common|memory|branch_prediction)\.h"), {"lpm", "dataplane"}),
    (re.compile(r"rte_.*\.h|ethdev_.*\.h"), {"dataplane"}),
    (re.compile(r"bpf/.*|xdp/.*|linux/bpf\.h|linux/if_xdp\.h"), {"dataplane"}),
    (re.compile(r"jansson\.h|libmnl/.*"), {"control"}),
    (re.compile(r"seccomp\.h"), {"control", "dataplane"}),
    (re.compile(r"pcre2\.h"), {"rib", "control"}),
    (re.compile(r"jemalloc/.*"), {"lpm"}),
]
# Files that may use what their folder may not, with the reason.
EXCEPT = {("rib", "lpm/fib_read.h"): "the hot header is for workers and lpm/fib.c"}


def room_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "control" and len(parts) == 3 else ""


def room_fault(path, name):
    """Why a file of control/ may not include the header `name` of control/, or None."""
    mine, other = room_of(path), room_of(name)
    if mine == "":
        return None
    if mine == "cli" and other != "cli":
        return "control/cli/ is a program of its own"
    if other != mine and other != "base" and other not in ROOMS[mine]:
        return "control/%s/ may not include control/%s" % (mine, other or name.split("/")[1])
    return None


def floors(rooms):
    """The floor of each room: 1 where a room includes no other, else one above the highest room that it includes. A room on a circle has none."""
    above = {room: (others | {"base"}) - {room} if room not in ("base", "cli") else others for room, others in rooms.items()}
    floor = {}
    while True:
        ready = [room for room in above if room not in floor and all(other in floor for other in above[room])]
        if not ready:
            return floor
        for room in ready:
            floor[room] = 1 + max((floor[other] for other in above[room]), default=0)


def rooms_fault(rooms):
    """Why the rooms are no good order, or None. The top of control/ is one room more, on one floor more."""
    floor = floors(rooms)
    circle = sorted(set(rooms) - set(floor))
    if circle:
        return "rooms include each other in a circle: %s" % ", ".join(circle)
    if len(rooms) + 1 > ROOMS_MAX:
        return "%d rooms, more than %d" % (len(rooms) + 1, ROOMS_MAX)
    if max(floor.values()) + 1 > FLOORS_MAX:
        return "%d floors, more than %d" % (max(floor.values()) + 1, FLOORS_MAX)
    return None


def faults_of(folder, path, text):
    for number, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not m:
            continue
        quote, name = m.groups()
        if quote == '"':
            target = name.split("/")[0]
            if "/" not in name and not name.endswith(".inc"):
                yield path, number, line, "of ours, headers are included as FOLDER/FILE.h"
            elif target in LAYERS and target not in LAYERS[folder]:
                yield path, number, line, "%s/ may not include %s/" % (folder, target)
            elif (folder, name) in EXCEPT:
                yield path, number, line, EXCEPT[folder, name]
            elif name.endswith("_impl.h") and os.path.dirname(name) != os.path.dirname(path):
                yield path, number, line, "_impl.h stays in its folder"
            elif target == "control" and room_fault(path, name):
                yield path, number, line, room_fault(path, name)
            continue
        for pattern, folders in SYSTEM:
            if pattern.fullmatch(name):
                if folder not in folders:
                    yield path, number, line, "<%s> is for %s" % (name, ", ".join(sorted(folders)))
                break
    for number, line in enumerate(text.splitlines(), 1):
        if "RTE_VERSION" in line:
            yield path, number, line, "meson.build states the releases of DPDK; code has a form that suits all"
        if "pthread_create(" in line and path != "control/base/threads.c":
            yield path, number, line, "control/base/threads.c has the only pthread_create"
        if re.search(r"\blog_(event|write)\(", line) and folder != "control":
            yield path, number, line, "only control/ logs"


def check():
    found = []
    for folder in LAYERS:
        for directory, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith((".c", ".h")) and not name.endswith(".bpf.c"):
                    with open(os.path.join(directory, name)) as f:
                        found += faults_of(folder, os.path.relpath(os.path.join(directory, name), ROOT), f.read())
    return found


def self_test():
    bad = [("lpm", '#include "rib/dest.h"'), ("rib", '#include "control/base/log.h"'), ("rib", '#include "lpm/fib_read.h"'),
           ("rib", "#include <rte_lpm.h>"), ("dataplane", '#include "rib/dest.h"'), ("rib", "#include <jansson.h>"),
           ("lpm", "#include <rte_ethdev.h>"), ("rib", '#include "lpm/fib_impl.h"'), ("rib", "pthread_create(&t"),
           ("lpm", 'log_event(LOG_INFO, "x")')]
    for folder, line in bad:
        if not list(faults_of(folder, folder + "/x.c", line)):
            sys.exit("arrows: self-test: nothing wrong seen in %s: %s" % (folder, line))
    for path, line in [("control/rpc/x.h", '#include "control/wiring_impl.h"'), ("control/apply/x.c", '#include "control/rpc/rpc.h"'), ("control/bgp/x.c", '#include "control/session/session.h"'), ("control/rpc/x.c", '#include "control/session/session_impl.h"'),
                       ("control/host/x.c", '#include "control/keeld.h"'), ("control/cli/x.c", '#include "control/base/log.h"')]:
        if not list(faults_of("control", path, line)):
            sys.exit("arrows: self-test: nothing wrong seen in %s: %s" % (path, line))


    chain = {"r%d" % i: {"r%d" % (i - 1)} if i > 0 else set() for i in range(FLOORS_MAX)}
    for what, rooms in [("a circle", dict(ROOMS, config={"rpc"})), ("too many rooms", dict(ROOMS, **{"r%d" % i: set() for i in range(ROOMS_MAX)})),
                        ("too many floors", dict(chain, base=set()))]:
        if rooms_fault(rooms) is None:
            sys.exit("arrows: self-test: nothing wrong seen in %s" % what)


def main():
    self_test()
    fault = rooms_fault(ROOMS)
    if fault:
        sys.exit("arrows: " + fault)
    found = check()
    for path, number, line, why in found:
        print("%s:%d: %s: %s" % (path, number, why, line.strip()))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
