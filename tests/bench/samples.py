# SPDX-License-Identifier: BSD-3-Clause
"""The results of a benchmark so far: build/bench/NAME.samples, appended line by line, so that a stopped run can be continued.

  @ {"commit", "machine", "quick", ...}   conditions of the following measurements; with "fresh", earlier measurements under equal conditions are void
  METRIC DUT UNIT RUN VALUE               a later value of the same run replaces an earlier value
  # done STEP DUT RUN SECONDS             scenario.py
  # once STEP DUT WORDS
  # unable STEP DUT WORDS
  # wall SECONDS                          of one start of the program
  # end RUNS                              the program completed RUNS runs (0: its own default)
"""
import collections
import json
import os
import re

SAMPLE = re.compile(r"\S+ \S+ \S+ \d+ [-+0-9.einfa]+$")


class Samples:
    KEY = ("commit", "machine", "quick", "dut")

    def __init__(self, path, head, fresh=False):
        """Reads the existing samples of `head`; new samples are appended."""
        self.path, self.lines, self.heads = path, [], []
        mine = False
        for line in open(path, encoding="utf-8") if os.path.exists(path) else ():
            line = line.rstrip("\n")
            if line.startswith("@ "):
                seen = json.loads(line[2:])
                mine = all(seen.get(k) == head.get(k) for k in self.KEY)
                if mine and seen.get("fresh"):
                    self.lines, self.heads = [], []
                if mine:
                    self.heads.append(seen)
            elif mine:
                self.lines.append(line)
        if fresh:
            self.lines, self.heads = [], []
        self.head = dict(head, fresh=fresh)
        self.opened = False

    def append(self, line):
        """Stores a line immediately. False: the line is neither a sample nor a mark."""
        if not SAMPLE.match(line) and not line.startswith("# "):
            return False
        with open(self.path, "a", encoding="utf-8") as f:
            if not self.opened:
                f.write("@ %s\n" % json.dumps(self.head))
                self.heads.append(self.head)
                self.opened = True
            f.write(line + "\n")
        self.lines.append(line)
        return True

    def marks(self, *words):
        """The words after each mark of these kinds."""
        return [line.split()[1:] for line in self.lines if line.startswith("# ") and line.split()[1] in words]

    def whole(self, runs):
        """True if all measurements are complete: for `runs` runs, or (None) for the program's own number."""
        return any(int(w[1]) >= runs if runs else int(w[1]) == 0 for w in self.marks("end"))

    def wall_s(self):
        return sum(float(w[1]) for w in self.marks("wall"))

    def notes(self):
        """Devices without a result for a step, or with a single run."""
        out = []
        for kind, step, dut, *words in self.marks("once", "unable"):
            note = {"dut": dut, "step": step, "kind": kind, "text": " ".join(words)}
            if note not in out:
                out.append(note)
        return out

    def collect(self):
        """{(metric, dut): {run: value}}, {metric: unit}"""
        samples, units = collections.defaultdict(dict), {}
        for line in self.lines:
            if not line.startswith("# "):
                metric, dut, unit, index, value = line.split()
                samples[metric, dut][int(index)] = float(value)
                units[metric] = unit
        return samples, units
