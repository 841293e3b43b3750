# SPDX-License-Identifier: BSD-3-Clause
"""What a benchmark said so far: build/bench/NAME.samples, appended line by line, so that a run that was stopped goes on where it was.

  @ {"commit", "machine", "quick", ...}   what follows was measured of this; with "fresh" what stands before of the same is void
  METRIC DUT UNIT RUN VALUE               a later one of the same run replaces an earlier one
  # done STEP DUT RUN SECONDS             scenario.py
  # once STEP DUT WORDS
  # unable STEP DUT WORDS
  # wall SECONDS                          of one start of the program
  # end RUNS                              it came to its end, asked for so many (0: its own default)
"""
import collections
import json
import os
import re

SAMPLE = re.compile(r"\S+ \S+ \S+ \d+ [-+0-9.einfa]+$")


class Samples:
    KEY = ("commit", "machine", "quick", "dut")

    def __init__(self, path, head, fresh=False):
        """Those of `head` that are there, and room for more."""
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
        """Kept as soon as it is said. False: it is nothing that is kept."""
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
        """The words behind each mark of these kinds."""
        return [line.split()[1:] for line in self.lines if line.startswith("# ") and line.split()[1] in words]

    def whole(self, runs):
        """Whether there is nothing left to measure: of so many runs, or (None) of the program's own number."""
        return any(int(w[1]) >= runs if runs else int(w[1]) == 0 for w in self.marks("end"))

    def wall_s(self):
        return sum(float(w[1]) for w in self.marks("wall"))

    def notes(self):
        """Who did not do what, or only once."""
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
