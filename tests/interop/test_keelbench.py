#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# suite: worker
"""keelbench against Keel: a small storm without losses; a policy that moves too many prefixes, reported as misdirected packets; a policy that
refuses prefixes, reported as losses with their place. test_keelbench_wire.py has the rest of keelbench.

    src (probe, asking peers, receiver) --- rt (keeld) --- pa (feed A), pb (feed B)
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
import labtest
from labtest import BUILD, KEELD, PATIENCE_S, ROOT, need, out_folder

NAME = "keelbench"
SMALL = ["--routes", "5000", "--routes6", "1000", "--peers", "3", "--seconds", "3", "--pps", "1000", "--window", "128", "--churn", "500", "--flip-s", "1.5", "--runs", "1",
         "--destinations", "1000", "--no-bare", "--no-limits"]
PROGRAM = os.path.join(ROOT, "scripts", "keelbench")


def keelbench(*words):
    """(exit status, output)"""
    p = subprocess.run([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3 * PATIENCE_S)
    return p.returncode, p.stdout


def metrics(path):
    with open(path) as f:
        document = json.load(f)
    return document, {r["dut"]: {k: m["median"] for k, m in r["metrics"].items()} for r in document["results"]}


def storm(c, out):
    status, said = keelbench("storm", *SMALL, "--out", out)
    c.true("a small storm: exit 0", status == 0, said[-3000:])
    document, m = metrics(os.path.join(out, "storm.json"))
    m = m["keel"]
    c.true("... packets flowed, at rest and in the storm", m["rest_sent"] > 500 and m["storm_sent"] > 500, m)
    c.equal("... lost, misdirected, sessions, audit", [m[k] for k in ("rest_lost", "storm_lost", "storm_misdirected", "sessions_lost", "audit_mismatches")], [0] * 5)
    flips = [t for g in document["segments"] for t in g["turns"]]
    c.true("... the policy flipped, and packets went over to the other port", flips and any(t["right"] for t in flips), flips)
    c.true("... churn and a probe route beside it", m["storm_churn"] > 0 and m["storm_probe_route_p99"] > 0, m)
    page = open(os.path.join(out, "storm.html")).read()
    c.true("... HTML with plots", page.count("<svg") >= 4, page[:300])


def strained(c, out):
    """A storm of IPv4 alone on a strained host; and a storm with a keeld that falsely reports a commit as persisted on a full disk."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
    from keelbench import adapters, cli

    words = ["storm", *SMALL, "--routes6", "0", "--strain", "--out", out]
    status, said = keelbench(*words, "--seconds", "9")
    c.true("a storm with strains: exit 0", status == 0, [line for line in said.splitlines() if line.startswith("FAILED")] or said[-3000:])
    m = metrics(os.path.join(out, "storm.json"))[1]["keel"]
    c.equal("... lost, misdirected, sessions, audit", [m[k] for k in ("storm_lost", "storm_misdirected", "sessions_lost", "audit_mismatches")], [0] * 4)
    c.true("... packets flowed", m["storm_sent"] > 500, m)
    c.true("... each strain came", all(m["strain_" + k] > 0 for k in ("disk", "log", "events")) and m["commits_not_kept"] > 0, m)

    class Liar(adapters.Keel):
        def apply(self):
            super().apply()
            self.persisted = True

    honest, adapters.ADAPTERS["keel"] = adapters.ADAPTERS["keel"], Liar
    cpus = os.sched_getaffinity(0)
    try:
        c.equal("a commit that claims to be on a full disk: exit 1", cli.main([*words, "--seconds", "8"]), 1)
    finally:
        adapters.ADAPTERS["keel"] = honest
        os.sched_setaffinity(0, cpus)
    failures = metrics(os.path.join(out, "storm.json"))[0]["failures"]
    c.true("... and says so", any("persisted: True" in f for f in failures), failures)


def faults(c, out):
    """In this process, with a router configured differently from keelbench's plan."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
    import duts
    from keelbench import adapters, cli
    from keelbench.plan import THIRD
    from softreset_policies import node

    class Faulty(adapters.Keel):
        @staticmethod
        def policy(name, state):
            """The third is refused from both, and B's other routes are all preferred."""
            nodes = [node(10, "deny", {"as_path_list": "third"})] * state + [node(20, "permit", local_pref=200 if name == "b" and state else 100)]
            return duts.policy("from-" + name, nodes, as_path_lists=[{"name": "third", "entries": [{"action": "permit", "regex": THIRD}]}])

        def settled(self):
            """Falsely reports completion: none of these addresses will ever lead to B."""
            self.left = []
            return super().settled()

    def stormed(what, *words):
        cpus = os.sched_getaffinity(0)
        c.equal(what + ": exit 1", cli.main(["storm", *SMALL, *words, "--flip-s", "10", "--out", out]), 1)
        os.sched_setaffinity(0, cpus)
        document, m = metrics(os.path.join(out, "storm.json"))
        where = document["segments"][-1]["lost_where"]
        c.true("... and names where they were lost", any(k.startswith("router drops: ") for k in where), where)
        return document, m["keel"]

    adapters.ADAPTERS["keel"] = Faulty
    _, m = stormed("a router that misdirects some and has no way for others")
    c.true("... the report counts them", m["storm_misdirected"] > 0 and m["storm_lost"] > 0, m)
    document, m = stormed("the same with lab ports", "--lab-ports")
    c.true("... the report counts them", m.get("misdirected", 0) > 0 and m.get("lost", 0) > 0, m)
    c.true("... and says so at its end", any(f.endswith(" packets lost") for f in document["failures"]), document["failures"])


def rated(c, out):
    """The worker's packet rate by turns: in the storm, and beside a loop that only reads memory."""
    status, said = keelbench("storm", *SMALL, "--lab-ports", "--out", out)
    c.true("a storm with lab ports: exit 0", status == 0, said[-3000:])
    document, m = metrics(os.path.join(out, "storm.json"))
    c.true("... both rates", m["keel"]["worker_rate"] > 0 and m["beside-memory"]["worker_rate"] > 0, m)
    g = document["segments"][0]
    share = g["storm_s"] / (g["storm_s"] + g["memory_s"])
    c.true("... four fifths of what counts are the storm's, and the loop ran", 0.75 < share < 0.85 and g["accesses_per_s"] > 0, g)
    c.true("... nothing went astray", g["seen"] > 0 and g["misdirected"] + g["damaged"] + g["foreign"] == 0, g)
    c.equal("... nothing was lost, and that is in the report", (g["lost"], m["keel"]["lost"]), (0, 0))


def test(checks):
    out = out_folder(NAME)
    storm(checks, out)
    strained(checks, os.path.join(out, "strained"))
    rated(checks, os.path.join(out, "rated"))
    faults(checks, os.path.join(out, "faulty"))


if __name__ == "__main__":
    need("ip", "gnuplot", files=(KEELD, os.path.join(BUILD, "tests", "bench", "bare")))
    sys.exit(labtest.main(test))
