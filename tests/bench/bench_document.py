#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A document of long lists: the time of a start, of edits, commits and reloads, the longest wait of another client meanwhile, and the memory. Keel without the data
plane, in a network namespace; needs root.

usage: bench_document.py KEELD [LISTS ENTRIES PEERS]   (200 lists of 2,222 entries and 200 peers when absent; and one list of 50,000 entries)
"""
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from keel_rig import Keel  # noqa: E402

LISTS, ENTRIES, PEERS = (int(n) for n in sys.argv[2:5] or (200, 2222, 200))
LONG = 50000


def entry(n):
    return {"action": "permit", "prefix": "%d.%d.%d.0/24" % (1 + (n >> 16) % 220, n >> 8 & 255, n & 255)}


def document():
    lists = [{"name": "l%d" % i, "entries": [entry(i * ENTRIES + k) for k in range(ENTRIES)]} for i in range(LISTS)]
    policies = [{"name": "in%d" % i, "nodes": [{"seq": 10, "action": "permit", "match": {"prefix_list": "l%d" % (i % LISTS)}}]} for i in range(PEERS)]
    peers = [{"address": "10.99.%d.%d" % (i >> 8, i & 255), "asn": 65000 + i % 500, "multihop": 10, "passive": True,
              "families": {"ipv4-unicast": {"enabled": True, "import_policy": "in%d" % i}}} for i in range(PEERS)]
    return {"router": {"asn": 64512, "router_id": "192.0.2.1"}, "route_policies": policies, "bgp": {"peers": peers},
            "prefix_lists": lists + [{"name": "long", "entries": [entry(n) for n in range(LONG)]}]}


class Waits(multiprocessing.Process):
    """Another client, which calls without pauses: a process of its own, because a thread would wait for the interpreter that reads a large answer."""

    def __init__(self, keel):
        super().__init__(daemon=True)
        self.keel, self.longest, self.over = keel, multiprocessing.Value("d", 0), multiprocessing.Event()

    def run(self):
        while not self.over.is_set():
            begin = time.monotonic()
            self.keel.call("system.info")
            self.longest.value = max(self.longest.value, time.monotonic() - begin)
            time.sleep(0.001)


def resident_mb(keel):
    with open("/proc/%d/status" % keel.process.pid) as f:
        return next(int(line.split()[1]) // 1024 for line in f if line.startswith("VmRSS"))


def step(keel, waits, what, work):
    waits.longest.value, begin = 0, time.monotonic()
    work()
    took = time.monotonic() - begin
    print("%-36s %7.1f ms, another client waits %6.1f ms; %4d MB" % (what, took * 1e3, waits.longest.value * 1e3, resident_mb(keel)), flush=True)


def measure(keel):
    waits = Waits(keel)
    waits.start()

    def commit(path, value):
        keel.call("config.edit", {"patch": [{"op": "add", "path": path, "value": value}]})
        keel.call("config.commit")

    for n in range(7):
        step(keel, waits, "a description", lambda: commit("/bgp/peers/1/description", "x%d" % n))
    for n in range(3):
        step(keel, waits, "an entry of a list", lambda: commit("/prefix_lists/1/entries/%d" % (ENTRIES // 2), entry(1 << 23 | n)))
    for n in range(3):
        step(keel, waits, "an entry of a list of 50,000", lambda: commit("/prefix_lists/%d/entries/25000" % LISTS, entry(1 << 23 | n)))
    step(keel, waits, "all of it, without passwords", lambda: keel.call("config.get"))
    edited = keel.on_disk()
    step(keel, waits, "an edit of all lists", lambda: keel.call("config.edit", {"merge": {"prefix_lists": edited["prefix_lists"]}}))
    edited["prefix_lists"][1]["entries"].append(entry(1 << 23 | 7))
    with open(keel.file, "w") as f:
        json.dump(edited, f)
    step(keel, waits, "reload of a file with a new entry", lambda: keel.call("config.reload"))
    waits.over.set()
    waits.join()


def main():
    folder, namespace = tempfile.mkdtemp(prefix="keel-document-"), "document%d" % os.getpid()
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    with open(os.path.join(folder, "keel.json"), "w") as f:
        json.dump(document(), f)
    try:
        for begin in ("start", "start again"):
            since = time.monotonic()
            keel = Keel(namespace, folder)
            print("%s %.2f s, %d MB" % (begin, time.monotonic() - since, resident_mb(keel)), flush=True)
            if begin == "start":
                measure(keel)
            keel.stop()
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)
        shutil.rmtree(folder)


main()
