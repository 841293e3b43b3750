#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The model of docs/scaling.md: fitted at 1,000,000 routes and fewer, compared with the real code at 10,000,000 routes, 16 shards and 16 workers,
and at 1,000,000 routes with 1,000 members, run in sequence on one core (bench_scale, bench_export). Processor time, not wall-clock time;
prediction, measurement, and error. Finally the prediction for a whole router of that size. The interference between shards is not included: see
bench_shards.py.

    bench_scale.py [--quick]      a tenth of all sizes"""
import math
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import BUILD, ROOT, Bench, Lab, addresses, arguments, peer, sample, say, wait_for  # noqa: E402

SCALE, EXPORT = (os.path.join(BUILD, "tests", "bench", n) for n in ("bench_scale", "bench_export"))
SHARDS, READERS, MEMBERS, GROUPS = 16, 16, 1000, 10
RECEIVERS, FEW, MORE = 20, 1, 200


def run(*command):
    say(" ".join(os.path.basename(w) for w in command))
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def fields(line):
    words = line.split()
    return {k: int(v) for k, v in zip(words, words[1:]) if v.isdigit() and not k.isdigit()}


def shards(routes, count):
    lines = [fields(x) for x in run(SCALE, "shards", str(routes), str(count)).splitlines()]
    return {"routes": sum(x["routes"] for x in lines), "sets": sum(x["sets"] for x in lines), "sum_s": sum(x["cpu_ns"] for x in lines) / 1e9,
            "slowest_s": max(x["cpu_ns"] for x in lines) / 1e9, "fullest": max(x["routes"] for x in lines) * count / routes,
            "dest_bytes": sum(x["dest_bytes"] for x in lines), "attr_bytes": sum(x["attr_bytes"] for x in lines)}


def fib(routes, readers):
    load, change = (fields(x) for x in run(SCALE, "fib", str(routes), str(readers)).splitlines())
    return {"load_s": (load["set_ns"] + load["commit_ns"]) / 1e9, "change_s": (change["set_ns"] + change["commit_ns"]) / 1e9, "bytes": load["bytes"]}


def export(routes, members):
    """Seconds of the session thread for a dump to all but one of `members` in the same group, and the octets of the dump."""
    m = re.search(r"join late +shard +[\d.]+ ms +session +([\d.]+) ms +([\d.]+) MB", run(EXPORT, "--routes", str(routes), "--members", str(members), "--repeat", "0"))
    return float(m.group(1)) / 1e3, float(m.group(2))


def daemon(lab, routes):
    """Seconds of keeld's threads for a full table from one peer, and for its advertisement to RECEIVERS: with sockets and the kernel's share."""
    crowd = addresses("127.1.0.1", RECEIVERS)
    b = Bench(lab, [peer("127.0.0.2", 64601)] + [peer(a, 65001 + i) for i, a in enumerate(crowd)])

    def cpu():
        return {t["name"]: t["cpu_s"] for t in b.rpc.call("control.stats")["threads"]}
    before = cpu()
    b.feed("127.0.0.2", 64601, routes)
    wait_for("the table", lambda: b.peers()["127.0.0.2"]["families"]["ipv4-unicast"]["accepted"] == routes, 300)
    loaded = cpu()
    b.crowd("127.1.0.1", 65001, RECEIVERS)
    b.wait_established(crowd)
    b.wait_advertised(crowd, routes)
    told = cpu()
    return loaded["keel-session"] - before["keel-session"], loaded["keel-rib"] - before["keel-rib"], told["keel-session"] - loaded["keel-session"]


def compare(name, unit, model, measured):
    sample(name + "_measured", unit, 0, measured)
    sample(name + "_model", unit, 0, model)
    sample(name + "_error", "%", 0, 100 * (model / measured - 1))


def main():
    args = arguments(__doc__, 1)
    fit, full = args.routes, 10 * args.routes
    one, split = shards(fit, 1), shards(fit, SHARDS)
    tenth, small, few, more = fib(fit // 10, 1), fib(fit, 1), export(fit, FEW + 1), export(fit, MORE + 1)
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        decode, rib, tell = daemon(lab, fit)

    # fitted: seconds and octets a route
    copy = (more[0] - few[0]) / (MORE - FEW) / fit
    pack = few[0] / fit - FEW * copy
    c = {"decode": decode / fit, "shard": one["sum_s"] / fit, "shard_small": split["sum_s"] / fit, "pack": pack, "copy": copy,
         "write": max(0.0, (tell / fit - pack) / RECEIVERS - copy), "fib_load": small["load_s"] / fit, "fib_change": small["change_s"] / fit,
         "fib_load_tenth": tenth["load_s"] / (fit // 10), "fib_change_tenth": tenth["change_s"] / (fit // 10)}
    for k, v in c.items():
        sample("fit_" + k, "ns/route", 0, v * 1e9)
    sample("fit_rib_thread_of_keeld", "ns/route", 0, rib / fit * 1e9)
    sample("fit_prefix", "B", 0, one["dest_bytes"] / fit)
    sample("fit_set", "B", 0, one["attr_bytes"] / one["sets"])
    sample("fit_sets_of_16_shards", "times", 0, split["sets"] / one["sets"])

    def grown(routes, here, smaller, times):
        """Seconds per route by size, from the values at `fit` and at fit / times: random accesses miss one cache level after another, so the time
        grows with the logarithm."""
        return here + (here - smaller) * math.log2(routes / fit) / math.log2(times)

    def shard_cost(routes):
        return grown(routes, c["shard"], c["shard_small"], SHARDS)

    def fib_cost(what):
        return grown(full, c["fib_" + what], c["fib_%s_tenth" % what], 10)

    # the model at the full size
    each = full / SHARDS
    slowest = shard_cost(each) * each * split["fullest"]
    sets = split["sets"] * full / fit
    rib_mb = (split["dest_bytes"] + split["attr_bytes"]) * full / fit / 1e6
    load = fib_cost("load") * full

    big = shards(full, SHARDS)
    sample("fullest_shard", "of the mean", 0, big["fullest"])
    compare("shards_slowest", "s", slowest, big["slowest_s"])
    compare("shards_sum", "s", shard_cost(each) * full, big["sum_s"])
    compare("shards_sets", "sets", sets, big["sets"])
    compare("shards_memory", "MB", rib_mb, (big["dest_bytes"] + big["attr_bytes"]) / 1e6)
    tables = fib(full, READERS)
    compare("fib_load", "s", load, tables["load_s"])
    compare("fib_change", "s", fib_cost("change") * full, tables["change_s"])
    compare("export_1000_members", "s", (c["pack"] + c["copy"] * (MEMBERS - 1)) * fit, export(fit, MEMBERS)[0])

    # a whole router
    sample("router_decode", "s", 0, c["decode"] * full)
    sample("router_shards", "s", 0, slowest)
    sample("router_fib", "s", 0, load)
    sample("router_pack", "s", 0, c["pack"] * full * GROUPS)
    sample("router_copy_and_write", "s", 0, (c["copy"] + c["write"]) * full * MEMBERS)
    sample("router_rib_memory", "MB", 0, rib_mb)
    sample("router_fib_memory", "MB", 0, tables["bytes"] / 1e6)
    # rib/table/adj_rib_out.h: 6 octets a destination, a bit for each group, 36 octets an advertised accepted set
    sample("router_adj_out_memory", "MB", 0, ((6 + GROUPS / 8) * full + 36 * sets) / 1e6)


if __name__ == "__main__":
    main()
