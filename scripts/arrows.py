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
# The rooms of each layer, and the rooms of the layer that each may include. "": the files at the top of the layer, a room as well.
# Every room of control/ but cli may include control/base; no room includes the top of control/ (main, wiring), which may include every room.
ROOMS = {
    "lpm": {"base": set(), "": {"base"}},
    "rib": {"table": set(), "policy": {"table"}, "shard": {"table", "policy"}, "feed": {"table", "shard"}},
    "dataplane": {"port": set(), "forward": {"port"}, "process": {"forward", "port"}},
    "control": {
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
        "http": set(),
        "rpc": {"apply", "session", "config", "host", "rpki", "bmp", "mrt", "http"},
        "cli": set(),
    },
}
CONTROL = ROOMS["control"]
for room in CONTROL:
    CONTROL[room] |= {"base"} - {room} if room != "cli" else set()
CONTROL[""] = set(CONTROL)
ROOMS_MAX = 16
FLOORS_MAX = 8
# System headers and the folders that may use them.
SYSTEM = [
    (re.compile(r"rte_(rcu_qsbr|ring|ring_elem|lpm)\.h|rte_lpm\w*\.h"), {"lpm", "dataplane"}),
    (re.compile(r"rte_(version|config|common|memory|branch_prediction)\.h"), {"lpm", "dataplane"}),
    (re.compile(r"rte_.*\.h|ethdev_.*\.h"), {"dataplane"}),
    (re.compile(r"bpf/.*|xdp/.*|linux/bpf\.h|linux/if_xdp\.h"), {"dataplane"}),
    (re.compile(r"jansson\.h|libmnl/.*|microhttpd\.h"), {"control"}),
    (re.compile(r"seccomp\.h"), {"control", "dataplane", "lpm"}),
    (re.compile(r"pcre2\.h"), {"rib", "control"}),
    (re.compile(r"jemalloc/.*"), {"lpm"}),
]
# Files that may use what their folder may not, with the reason.
EXCEPT = {("rib", "lpm/fib_read.h"): "the hot header is for workers and lpm/fib.c"}


def room_of(path):
    parts = path.split("/")
    return parts[1] if len(parts) == 3 else ""


def room_fault(path, name):
    """Why a file of a layer may not include the header `name` of the same layer, or None."""
    layer, mine, other = path.split("/")[0], room_of(path), room_of(name)
    if mine not in ROOMS[layer]:
        return "%s is no room of %s/" % (mine or "the top", layer)
    if other != mine and other not in ROOMS[layer][mine]:
        return "%s may not include %s" % (os.path.dirname(path), os.path.dirname(name) if other else name)
    return None


def floors(rooms):
    """The floor of each room: 1 where a room includes no other, else one above the highest room that it includes. A room on a circle has none."""
    floor = {}
    while True:
        ready = [room for room in rooms if room not in floor and all(other in floor for other in rooms[room])]
        if not ready:
            return floor
        for room in ready:
            floor[room] = 1 + max((floor[other] for other in rooms[room]), default=0)


def rooms_fault(rooms):
    """Why the rooms of a layer are no good order, or None."""
    floor = floors(rooms)
    circle = sorted(set(rooms) - set(floor))
    if circle:
        return "rooms include each other in a circle: %s" % ", ".join(circle)
    if len(rooms) > ROOMS_MAX:
        return "%d rooms, more than %d" % (len(rooms), ROOMS_MAX)
    if max(floor.values()) > FLOORS_MAX:
        return "%d floors, more than %d" % (max(floor.values()), FLOORS_MAX)
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
            elif target == folder and room_fault(path, name):
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
    bad = [("lpm", '#include "rib/table/dest.h"'), ("rib", '#include "control/base/log.h"'), ("rib", '#include "lpm/fib_read.h"'),
           ("rib", "#include <rte_lpm.h>"), ("dataplane", '#include "rib/table/dest.h"'), ("rib", "#include <jansson.h>"),
           ("lpm", "#include <rte_ethdev.h>"), ("rib", '#include "lpm/fib_impl.h"'), ("rib", "pthread_create(&t"),
           ("lpm", 'log_event(LOG_INFO, "x")')]
    for folder, line in bad:
        if not list(faults_of(folder, folder + ("/x.c" if "" in ROOMS[folder] else "/%s/x.c" % min(ROOMS[folder])), line)):
            sys.exit("arrows: self-test: nothing wrong seen in %s: %s" % (folder, line))
    for path, line in [("control/rpc/x.h", '#include "control/wiring_impl.h"'), ("control/apply/x.c", '#include "control/rpc/rpc.h"'), ("control/bgp/x.c", '#include "control/session/session.h"'), ("control/rpc/x.c", '#include "control/session/session_impl.h"'),
                       ("lpm/base/x.c", '#include "lpm/fib.h"'), ("rib/table/x.c", '#include "rib/shard/shard.h"'), ("dataplane/port/x.c", '#include "dataplane/forward/burst.h"'),
                       ("control/host/x.c", '#include "control/keeld.h"'), ("control/cli/x.c", '#include "control/base/log.h"')]:
        if not list(faults_of(path.split("/")[0], path, line)):
            sys.exit("arrows: self-test: nothing wrong seen in %s: %s" % (path, line))


    chain = {"r%d" % i: {"r%d" % (i - 1)} if i > 0 else set() for i in range(FLOORS_MAX)}
    for what, rooms in [("a circle", dict(CONTROL, config={"rpc"})), ("too many rooms", dict(CONTROL, **{"r%d" % i: set() for i in range(ROOMS_MAX)})),
                        ("too many floors", dict(chain, top={"r%d" % (FLOORS_MAX - 1)}))]:
        if rooms_fault(rooms) is None:
            sys.exit("arrows: self-test: nothing wrong seen in %s" % what)


def main():
    self_test()
    for layer, rooms in ROOMS.items():
        fault = rooms_fault(rooms)
        if fault:
            sys.exit("arrows: %s/: %s" % (layer, fault))
    found = check()
    for path, number, line, why in found:
        print("%s:%d: %s: %s" % (path, number, why, line.strip()))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
