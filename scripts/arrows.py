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
# System headers and the folders that may use them.
SYSTEM = [
    (re.compile(r"rte_(rcu_qsbr|ring|ring_elem|lpm)\.h|rte_lpm\w*\.h"), {"lpm", "dataplane"}),
    (re.compile(r"rte_(version|config|common|memory|branch_prediction)\.h"), {"lpm", "dataplane"}),
    (re.compile(r"rte_.*\.h|ethdev_.*\.h"), {"dataplane"}),
    (re.compile(r"bpf/.*|xdp/.*|linux/bpf\.h|linux/if_xdp\.h"), {"dataplane"}),
    (re.compile(r"jansson\.h|libmnl/.*"), {"control"}),
    (re.compile(r"pcre2\.h"), {"rib", "control"}),
    (re.compile(r"jemalloc/.*"), {"lpm"}),
]
# Files that may use what their folder may not, with the reason.
EXCEPT = {("rib", "lpm/fib_read.h"): "the hot header is for workers and lpm/fib.c"}


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
            elif name.endswith("_impl.h") and target != folder:
                yield path, number, line, "_impl.h stays in its folder"
            continue
        for pattern, folders in SYSTEM:
            if pattern.fullmatch(name):
                if folder not in folders:
                    yield path, number, line, "<%s> is for %s" % (name, ", ".join(sorted(folders)))
                break
    for number, line in enumerate(text.splitlines(), 1):
        if "RTE_VERSION" in line and os.path.basename(path) not in ("table_v4.c", "fib_read.h", "port.c"):
            yield path, number, line, "RTE_VERSION only in table_v4.c, fib_read.h, port.c"
        if "pthread_create(" in line and path != "control/threads.c":
            yield path, number, line, "control/threads.c has the only pthread_create"
        if re.search(r"\blog_(event|write)\(", line) and folder != "control":
            yield path, number, line, "only control/ logs"


def check():
    found = []
    for folder in LAYERS:
        for name in sorted(os.listdir(os.path.join(ROOT, folder))):
            if name.endswith((".c", ".h")) and not name.endswith(".bpf.c"):
                with open(os.path.join(ROOT, folder, name)) as f:
                    found += faults_of(folder, folder + "/" + name, f.read())
    return found


def self_test():
    bad = [("lpm", '#include "rib/dest.h"'), ("rib", '#include "control/log.h"'), ("rib", '#include "lpm/fib_read.h"'),
           ("rib", "#include <rte_lpm.h>"), ("dataplane", '#include "rib/dest.h"'), ("rib", "#include <jansson.h>"),
           ("lpm", "#include <rte_ethdev.h>"), ("rib", '#include "lpm/fib_impl.h"'), ("rib", "pthread_create(&t"),
           ("lpm", 'log_event(LOG_INFO, "x")')]
    for folder, line in bad:
        if not list(faults_of(folder, folder + "/x.c", line)):
            sys.exit("arrows: self-test: nothing wrong seen in %s: %s" % (folder, line))


def main():
    self_test()
    found = check()
    for path, number, line, why in found:
        print("%s:%d: %s: %s" % (path, number, why, line.strip()))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
