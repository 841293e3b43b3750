# SPDX-License-Identifier: BSD-3-Clause
"""Strains on Keel's host during a soak: a full disk, an unread log, and a collector of events that does not read. Each strain has its own period,
so that all combinations occur. Strains.failures() lists every commit, log line and event missing at the end.

The disk: keeld's file and state directory are on a tmpfs in the mount namespace of keeld, where a ballast file takes all free space. The log: keeld's
stderr is a pipe of 4,096 octets. The events: two collectors subscribe to all topics. One reads all the time; the other pauses. While the log or the
events are not read, ten commits per second of a description, each with a comment of 1,000 octets, fill the queues."""
import fcntl
import json
import os
import re
import select
import socket
import threading

from lab import PATIENCE_S, wait_for

DISK_KB = 8192  # 100 commits of some 20 kB
PIPE_OCTETS = 4096
# of a cycle: (period, for how long, from when on)
CYCLE_S = 80
DISK, LOG, EVENTS = (1.0, 0.45, 0.1), (1.13, 0.5, 0.2), (1.27, 0.5, 0.3)
TOPICS = ["commit", "session", "refresh", "slow-peer", "fib", "alarm"]


class Collector:
    """A subscriber of all topics. Counts the received events by topic, and the events reported as lost by keeld."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(path)
        self.text, self.count, self.lost = b"", dict.fromkeys(TOPICS, 0), 0
        self.down = []
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"topics": TOPICS}}).encode() + b"\n")
        while b"\n" not in self.text:
            self.text += self.sock.recv(1 << 16)
        answer, self.text = self.text.split(b"\n", 1)
        if "result" not in json.loads(answer):
            raise RuntimeError("events.subscribe: %s" % answer)

    def read(self):
        """Reads available octets; called only when readable."""
        part = self.sock.recv(1 << 20)
        if not part:
            raise RuntimeError("keeld closed the connection of a collector of events")
        *lines, self.text = (self.text + part).split(b"\n")
        for line in lines:
            e = json.loads(line)["params"]
            if e["topic"] == "lost":
                self.lost += e["lost"]
                continue
            self.count[e["topic"]] += 1
            if e["topic"] == "session" and e.get("event") == "down":
                self.down.append(e)

    def seen(self):
        return sum(self.count.values()) + self.lost


class Strains:
    """Order of calls: begin() before the peers, step() in the storm, release() at its end, then failures() and close()."""

    def __init__(self, lab, seconds):
        self.lab, self.cycle_s = lab, min(CYCLE_S, seconds / 3)
        self.log_end, self.stderr = os.pipe()
        fcntl.fcntl(self.stderr, fcntl.F_SETPIPE_SZ, PIPE_OCTETS)
        self.folder = os.path.join(lab.dir, "disk")
        os.makedirs(self.folder)
        self.full = self.log_stalled = self.events_stalled = False
        self.commits, self.not_kept, self.wrong = 0, 0, []
        self.times = {"disk": 0, "log": 0, "events": 0}
        self.pipe_was_full = False
        self.gaps = self.lines = 0
        self.end, self.error, self.thread = False, None, None

    # ---- strained parts ----

    def options(self):
        """Arguments for Lab.keeld()."""
        return {"disk": (self.folder, DISK_KB), "stderr": self.stderr}

    def begin(self, dut):
        """Called when keeld runs, before the peers start."""
        self.dut, socket_path = dut, os.path.join(self.lab.dir, "keeld.sock")
        self.reader, self.stalling = Collector(socket_path), Collector(socket_path)
        self.thread = threading.Thread(target=self.drain, daemon=True)
        self.thread.start()

    def path(self, name):
        """The path of a file on keeld's disk, from outside of its namespace."""
        return "/proc/%d/root%s" % (self.dut.process.popen.pid, os.path.join(self.folder, name))

    def drain(self):
        """The body of a thread that reads the log and the events, except while stalled."""
        try:
            with open(os.path.join(self.lab.logs, "keeld-strained.log"), "wb") as log:
                self.drain_until_end(log)
        except Exception as e:  # reported by failures()
            self.error = "%s: %s" % (type(e).__name__, e)

    def drain_until_end(self, log):
        text = b""
        while not self.end:
            self.pipe_was_full |= self.waiting() > PIPE_OCTETS - 300
            wanted = [self.reader.sock] + ([] if self.log_stalled else [self.log_end]) + ([] if self.events_stalled else [self.stalling.sock])
            for ready in select.select(wanted, [], [], 0.1)[0]:
                if ready is self.log_end:
                    part = os.read(self.log_end, 1 << 16)
                    log.write(part)
                    *lines, text = (text + part).split(b"\n")
                    self.count_lines(lines)
                else:
                    (self.reader if ready is self.reader.sock else self.stalling).read()

    def waiting(self):
        """Octets in the pipe."""
        n = bytearray(4)
        fcntl.ioctl(self.log_end, 0x541b, n)  # FIONREAD
        return int.from_bytes(n, "little")

    def count_lines(self, lines):
        for line in lines:
            entry = re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:error|warning|info) ([a-z-]+)(?: lines=(\d+)$)?", line)
            if entry and entry.group(1) == b"log-lost":
                self.gaps += int(entry.group(2))
            else:
                self.lines += entry is not None  # other lines come from DPDK

    # ---- in the storm ----

    def on(self, what, now):
        period, span, first = what
        at = now / self.cycle_s - first
        return at >= 0 and at % period < span

    def step(self, now):
        """`now`: seconds since the storm began."""
        if self.error:
            raise RuntimeError("strains: " + self.error)
        disk, log, events = (self.on(what, now) for what in (DISK, LOG, EVENTS))
        disk |= self.full and not self.not_kept  # on a slow machine the first lasts until it has had an effect
        log |= self.log_stalled and not self.pipe_was_full
        for name, now_on, was_on in (("disk", disk, self.full), ("log", log, self.log_stalled), ("events", events, self.events_stalled)):
            self.times[name] += now_on and not was_on
        if disk:
            self.fill()
        elif self.full:
            self.free()
        self.log_stalled, self.events_stalled = log, events
        if log or events:
            self.note()  # a line and an event at least

    def fill(self):
        """Fills the disk to the last free octet, and fills again what keeld has freed meanwhile: it replaces files beside commits, too."""
        with open(self.path("ballast"), "ab", buffering=0) as f:
            for size in (1 << 16, 4096):
                try:
                    while True:
                        f.write(bytes(size))
                except OSError:
                    pass
        self.full = True

    def free(self):
        os.unlink(self.path("ballast"))
        self.full = False

    def note(self):
        """Commits a new description, without an effect on routes."""
        if self.full:
            self.fill()
        self.commits += 1
        self.dut.rpc.call("config.edit", patch=[{"op": "add", "path": "/bgp/peers/0/description", "value": "commit %d" % self.commits}])
        self.kept(self.dut.rpc.call("config.commit", comment="soak " * 200)["persisted"])

    def kept(self, persisted):
        """Checks a commit: persisted unless the disk is full, and keeld must report the result. keeld may free a replaced file after the disk was filled, so the
        file decides."""
        self.not_kept += not persisted
        if persisted and self.full and self.on_disk("keeld.json") == self.dut.rpc.call("config.get")["document"]:
            return
        if persisted == self.full:
            self.wrong.append("a commit answers persisted: %s, and the disk %s" % (persisted, "is full" if self.full else "has room"))

    def release(self):
        """Ends all strains."""
        if self.full:
            self.free()
        self.log_stalled = self.events_stalled = False
        self.note()  # writes the commits made while the disk was full

    def settle(self):
        """Waits for all delayed lines and events."""
        def agree():
            if self.error:
                raise RuntimeError("strains: " + self.error)
            self.stats = self.dut.rpc.call("control.stats")["log"]
            return self.stats["waiting"] == 0 and self.log_agrees() and self.reader.seen() == self.stalling.seen()
        try:
            wait_for("agreement of the log, the events and their counters", agree, 30, poll=0.2)
        except TimeoutError as e:
            self.wrong.append(str(e))

    def log_agrees(self):
        return self.lines == self.stats["written"] and self.gaps == self.stats["lost"]

    def close(self):
        self.end = True
        if self.thread:
            self.thread.join()
        for end in (self.log_end, self.stderr):
            os.close(end)

    # ---- results ----

    def on_disk(self, name):
        with open(self.path(name)) as f:
            return json.load(f)

    def failures(self, flips):
        """`flips`: commits of the storm. Waits for delayed lines and events."""
        commits = self.commits + flips
        self.settle()
        rpc, out = self.dut.rpc, list(self.wrong)
        running = rpc.call("config.get")["document"]
        if self.on_disk("keeld.json") != running:
            out.append("the configuration file is not what runs")
        kept = [c["id"] for c in rpc.call("config.history")["commits"]]
        have = commits + 1  # and the start
        if len(kept) != min(have, 100) or kept != list(range(kept[0], kept[0] + len(kept))):
            out.append("the history has %d commits of %d: %s" % (len(kept), have, kept))
        elif self.on_disk("keeld.state/commits/commit-%d.json" % kept[-1]) != running:
            out.append("the last commit of the history is not what runs")
        if not self.log_agrees():
            out.append("log: %d lines and gaps of %d lines read, %s" % (self.lines, self.gaps, self.stats))
        for c, name in ((self.reader, "that reads"), (self.stalling, "that stalls")):
            if c.seen() != self.reader.seen():
                out.append("events: the collector %s accounts for %d of %d" % (name, c.seen(), self.reader.seen()))
        if self.reader.lost:
            out.append("events: the collector that reads lost %d" % self.reader.lost)
        if self.reader.count["commit"] != commits:
            out.append("events: %d of %d commits" % (self.reader.count["commit"], commits))
        if self.reader.down:
            out.append("events: %d sessions went down: %s" % (len(self.reader.down), self.reader.down[:3]))
        return out + self.idle()

    def figures(self):
        """{name: (unit, value)}"""
        return {**{"strain_%s" % k: ("times", n) for k, n in self.times.items()}, "commits": ("commits", self.reader.count["commit"]), "commits_not_kept": ("commits", self.not_kept),
                "log_lines": ("lines", self.lines), "log_lines_lost": ("lines", self.gaps),
                "events": ("events", self.reader.seen()), "events_lost_stalled_collector": ("events", self.stalling.lost)}

    def idle(self):
        """Strains that never took effect: the run then proves nothing. Queues need time to fill."""
        out = []
        if not self.not_kept:
            out.append("no commit met a full disk")
        if not self.pipe_was_full:
            out.append("the log's pipe was never full")
        if self.cycle_s >= CYCLE_S:
            out += ["no log line was lost"] if not self.gaps else []
            out += ["no event was lost"] if not self.stalling.lost else []
        return ["strain: " + what for what in out]
