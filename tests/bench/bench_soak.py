#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A long run: scripts/bench soak --hours H. keeld without a data plane, with a feed that churns all the time, two receivers, an RPKI cache, a collector of
events, a log that is rotated, and a Prometheus that scrapes.

  every second          resident memory of keeld
  every 5 s             GET /metrics in both formats, with all sessions established
  every 10 minutes      (a twelfth of the run, if that is less) FILE gets another import policy and SIGHUP, the RPKI records change, and the log is rotated

At the end the churn stops, and all records are taken back. Exit status 1, with a line for each fault, unless: no session ended; each reload made a commit;
each scrape had all samples; no log line and no event was lost; keeld(8) lists the event of each log line; the receivers hold the whole table with the same
attributes; no alarm but thread-late is raised; and the mean of the resident memory of the last third is within 2 % of that of the second third (in runs of 10 minutes and longer).
Writes build/bench/soak-hours.json; the log and its older parts stay in build/bench/logs/soak/."""
import argparse
import json
import os
import re
import select
import signal
import socket
import statistics
import struct
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import ACCEPT, BUILD, KEELD, ROOT, V4, Events, Lab, cpu_seconds, peer, resident_bytes, wait_for  # noqa: E402
from keelbench.strain import Collector  # noqa: E402
from labtest import in_netns  # noqa: E402

ROUTES, RATE = 200000, 500
SCRAPE_S, RELOAD_S, RELOADS_MIN, LOGS_KEPT = 5, 600, 12, 5
GROWTH_MAX, GROWTH_S = 1.02, 600  # as of keelbench's soak: before that, histories and pools of the allocator fill
SETTLE_S = 120
FEED, FEED_ASN, RECEIVERS, RECEIVER_ASN, SINK_PORT, CACHE_PORT, HTTP = "127.0.0.2", 64601, "127.1.0.1", 65001, 8283, 8282, "http://127.0.0.1:9179"
LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:debug|info|notice|warning|error) ([a-z0-9-]+)(?: |$)")
FOREIGN_ASN = 64999
RESET_QUERY = 2


def positive(text):
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("%s is not above 0" % text)
    return value


def documented():
    """Log events that keeld(8) lists."""
    with open(os.path.join(ROOT, "docs", "man", "keeld.8")) as f:
        section = f.read().split("\n.Sh LOG\n", 1)[1].split("\n.Sh ", 1)[0]
    return set(re.findall(r"^\.It Ic (\S+)$", section, re.M))


class Cache:
    """An RPKI cache (RFC 8210): step() takes all records back, or announces them again."""

    def __init__(self, netns, records):
        self.records, self.serial, self.connection, self.lock = records, 0, None, threading.Lock()
        self.listener = in_netns(netns, self.listen)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @staticmethod
    def listen():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", CACHE_PORT))
        s.listen()
        return s

    def pdus(self, announce):
        return b"".join(struct.pack(">BBHIBBBB4sI", 1, 4, 0, 20, announce, 24, 24, 0, net, asn) for net, asn in self.records)

    def serve(self):
        try:
            while True:
                connection, _ = self.listener.accept()
                with self.lock:
                    self.connection = connection
                with connection.makefile("rb") as f:
                    while self.answer(f, connection):
                        pass
        except OSError:
            pass

    def answer(self, f, connection):
        header = f.read(8)
        if len(header) < 8:
            return False
        kind, length = header[1], struct.unpack(">I", header[4:])[0]
        body = f.read(length - 8)
        with self.lock:  # an even serial has the records
            has, knows = self.serial % 2 == 0, kind != RESET_QUERY and struct.unpack(">I", body)[0] % 2 == 0
            change = b"" if has == knows else self.pdus(1 if has else 0)
            end = struct.pack(">BBHIIIII", 1, 7, 7, 24, self.serial, 3600, 600, 7200)
        connection.sendall(struct.pack(">BBHI", 1, 3, 7, 8) + change + end)
        return True

    def step(self):
        with self.lock:
            self.serial += 1
            if self.connection is not None:
                self.connection.sendall(struct.pack(">BBHII", 1, 0, 7, 12, self.serial))

    def close(self):
        for s in (self.listener, self.connection):
            if s is not None:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()
        self.thread.join()


class Log:
    """The reader of keeld's standard error: a file that is rotated, and the names of all events."""

    def __init__(self, folder):
        self.path, self.count, self.events, self.odd, self.turn = os.path.join(folder, "soak.log"), 0, {}, [], threading.Lock()
        self.read_end, self.write_end = os.pipe()
        self.file = open(self.path, "wb")
        self.rotated = 0
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        with os.fdopen(self.read_end, "rb") as f:
            for line in f:
                with self.turn:
                    self.file.write(line)
                    self.file.flush()
                self.count += 1
                found = LOG_LINE.match(line.decode(errors="replace"))
                if found:
                    self.events[found.group(1)] = self.events.get(found.group(1), 0) + 1
                else:
                    self.odd.append(line.decode(errors="replace").rstrip())

    def rotate(self):
        with self.turn:
            self.file.close()
            for n in range(LOGS_KEPT, 0, -1):
                older = self.path + (".%d" % (n - 1) if n > 1 else "")
                if os.path.exists(older):
                    os.replace(older, self.path + ".%d" % n)
            self.file = open(self.path, "wb")
        self.rotated += 1

    def close(self):
        os.close(self.write_end)
        self.thread.join(60)
        self.file.close()

    def faults(self):
        unknown = sorted(set(self.events) - documented())
        return ["log event %s is not in keeld(8)" % e for e in unknown] + ["log line without an event: %s" % line for line in self.odd[:5]]


class Drain:
    """Reads what the collector of events gets, and all octets of BMP sessions."""

    def __init__(self, netns, path):
        self.collector, self.end, self.octets, self.error, self.bmp = Collector(path), False, 0, None, None
        self.listener = in_netns(netns, self.listen)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    @staticmethod
    def listen():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", SINK_PORT))
        s.listen()
        return s

    def work(self):
        try:
            while not self.end:
                wanted = [self.collector.sock, self.listener] + ([self.bmp] if self.bmp else [])
                for s in select.select(wanted, [], [], 0.2)[0]:
                    if s is self.listener:
                        self.bmp, _ = s.accept()
                    elif s is self.bmp:
                        part = s.recv(1 << 20)
                        self.octets += len(part)
                        if not part:
                            self.bmp = None
                    else:
                        self.collector.read()
        except (OSError, RuntimeError, ValueError) as e:
            if not self.end:
                self.error = str(e)

    def close(self):
        self.end = True
        self.thread.join()
        for s in (self.collector.sock, self.listener, self.bmp):
            if s is not None:
                s.close()


def knows(key):
    """True if this version has the key at the top of the document."""
    with open(os.path.join(ROOT, "docs", "keel.schema.json")) as f:
        return key in json.load(f)["properties"]


def document(step):
    """FILE of a reload: the LOCAL_PREF of all routes alternates."""
    nodes = [{"seq": 10, "action": "deny", "match": {"validation": "invalid"}},
             {"seq": 20, "action": "permit", "match": {}, "set": {"local_pref": 100 + step % 2, "communities": {"add": ["64512:%d" % (step % 7)]}}}]
    peers = [peer(FEED, FEED_ASN, {"import_policy": "in", "export_policy": "deny-all"})]
    peers += [peer("127.1.0.%d" % (i + 1), RECEIVER_ASN + i, {"import_policy": "deny-all", "export_policy": "accept-all"}) for i in range(2)]
    more = {"bmp": [{"address": "127.0.0.1", "port": SINK_PORT}]} if knows("bmp") else {}
    return dict(more, router={"asn": 64512, "router_id": "127.0.0.1"}, management={"http": HTTP.split("//")[1]}, route_policies=[{"name": "in", "nodes": nodes}],
                rpki={"caches": [{"address": "127.0.0.1", "port": CACHE_PORT}]}, bgp={"next_hop_tracking": False, "peers": peers})


class Soak:
    def __init__(self, lab, args, folder):
        self.lab, self.args, self.faults, self.memory, self.scrapes, self.reloads = lab, args, [], [], 0, 0
        self.seconds = args.hours * 3600
        self.log = Log(folder)
        lab.host("rt")
        self.keeld, self.rpc = lab.keeld("rt", document(0), KEELD, args=["--no-dataplane"], stderr=self.log.write_end)
        self.file = lab.path("keeld.json")

    def fault(self, text):
        if len(self.faults) < 50:
            self.faults.append("%.0f s: %s" % (time.monotonic() - self.begin if self.begin else 0, text))
            print("  FAULT " + self.faults[-1], flush=True)

    begin = None

    def spawn(self, name, *words):
        return Events(self.lab.spawn(name, "rt", [os.path.join(BUILD, "tests", "bench", name), "--connect", "127.0.0.1", *map(str, words)], lines=True))

    def peers(self):
        return self.rpc.call("bgp.peers")["peers"]

    def load(self):
        self.fan = self.spawn("fan", "--source", RECEIVERS, "--peers", 2, "--asn", RECEIVER_ASN, "--count", 2, "--tables")
        self.fan.wait("established")
        self.feed = self.spawn("feed", "--source", FEED, "--asn", FEED_ASN, "--next-hop", "192.0.2.2", "--peer-asn", 64512, "--count", self.args.routes)
        self.feed.wait("done", "table")
        self.at_rest("the table")

    def held(self):
        return self.fan.ask("tables", "tables")

    def at_rest(self, what):
        """Both receivers hold the whole table."""
        def whole():
            return set(self.held()["held"]) == {self.args.routes}
        try:
            wait_for(what, whole, SETTLE_S + self.args.routes / 5000, poll=1)
        except TimeoutError:
            self.fault("%s: the receivers hold %s routes of %d" % (what, self.held()["held"], self.args.routes))

    def scrape(self):
        def get(accept):
            def work():
                return urllib.request.urlopen(urllib.request.Request(HTTP + "/metrics", headers={"Accept": accept}), timeout=60).read().decode()
            return in_netns(self.lab.netns("rt"), work)
        pages = [get("application/openmetrics-text"), get("text/plain")]
        if not pages[0].endswith("# EOF\n"):
            self.fault("a scrape has no end")
        for page in pages:
            up = re.findall(r"^keel_peer_established\{.*\} (\d)$", page, re.M)
            if up != ["1"] * 3:
                self.fault("keel_peer_established: %s" % up)
            lost = re.findall(r"^keel_log_lines_lost_total\{\} (\d+)$", page, re.M)
            if lost != ["0"]:
                self.fault("keel_log_lines_lost_total: %s" % lost)
        self.scrapes += 1

    def reload(self, cache):
        before = self.rpc.call("config.history")["commits"][-1]["id"]
        self.reloads += 1
        text = json.dumps(document(self.reloads), indent=2)
        with open(self.file + ".new", "w") as f:
            f.write(text)
        os.replace(self.file + ".new", self.file)
        self.keeld.popen.send_signal(signal.SIGHUP)
        try:
            wait_for("the commit of a reload", lambda: self.rpc.call("config.history")["commits"][-1]["id"] > before, 30)
        except TimeoutError as e:
            self.fault(str(e))
        cache.step()
        self.log.rotate()

    def run(self, cache):
        period = min(RELOAD_S, self.seconds / RELOADS_MIN)
        self.feed.say("rate %d 2 0" % self.args.rate)
        self.begin = time.monotonic()
        due = {"memory": 1, "scrape": 0, "reload": period / 2}
        while True:
            now = time.monotonic() - self.begin
            if now >= self.seconds:
                return
            for what in [w for w, at in due.items() if at <= now]:
                due[what] += {"memory": 1, "scrape": SCRAPE_S, "reload": period}[what]
                if what == "memory":
                    self.memory.append((now, resident_bytes(self.keeld)))
                elif what == "scrape":
                    self.scrape()
                else:
                    self.reload(cache)
            time.sleep(max(0, min(due.values()) - (time.monotonic() - self.begin)))

    def finish(self, cache, drain):
        """Stops the churn, and compares what is there with what must be there."""
        self.feed.say("rate 0 2 0")
        self.paced = self.feed.wait("paced")
        if cache.serial % 2 == 0:
            cache.step()
        self.at_rest("the end")
        for p in self.peers():
            if p["state"] != "established" or p["established_count"] != 1:
                self.fault("session %s: %s, established %d times: %s" % (p["address"], p["state"], p["established_count"], p["last_error"]))
        stat = self.rpc.call("control.stats")["log"]
        if stat["lost"]:
            self.fault("%d log lines lost" % stat["lost"])
        alarms = self.rpc.call("system.info")["alarms"]
        self.late = len([a for a in alarms if a["kind"] == "thread-late"])  # a busy machine
        if len(alarms) > self.late:
            self.fault("alarms: %s" % alarms)
        if drain.error or drain.collector.lost or drain.collector.down:
            self.fault("events: %s, %d lost, sessions down %s" % (drain.error, drain.collector.lost, drain.collector.down))
        if drain.collector.count["commit"] != self.reloads:
            self.fault("%d commit events for %d reloads" % (drain.collector.count["commit"], self.reloads))
        if self.keeld.stop() != 0:
            self.fault("keeld did not stop in order")

    def third(self, n):
        return statistics.mean(b for at, b in self.memory if n * self.seconds / 3 <= at < (n + 1) * self.seconds / 3)

    def tenth(self, n):
        return round(statistics.mean([b for at, b in self.memory if n * self.seconds / 10 <= at < (n + 1) * self.seconds / 10] or [0]) / 1e6, 2)

    def figures(self, drain, cpu):
        first, second, last = (self.third(n) for n in range(3))
        ratio = last / second
        if not 2 - GROWTH_MAX <= ratio <= GROWTH_MAX:
            text = "memory: the last third has %.4f times that of the second" % ratio
            if self.seconds >= GROWTH_S:
                self.fault(text)
            else:
                print("  " + text, flush=True)
        self.faults += self.log.faults()
        return {"hours": self.args.hours, "routes": self.args.routes, "updates_s": self.args.rate, "churned": self.paced, "reloads": self.reloads, "scrapes": self.scrapes,
                "log_lines": self.log.count, "log_events": self.log.events, "logs_rotated": self.log.rotated, "events": drain.collector.count, "bmp_octets": drain.octets,
                "late_turns": self.late, "cpu_s": round(cpu, 1), "resident_mb": [round(x / 1e6, 2) for x in (first, second, last)], "resident_mb_tenths": [self.tenth(n) for n in range(10)],
                "last_to_second": round(ratio, 4), "faults": self.faults}


def records(args):
    """Records that make a hundredth of the table's /24s invalid."""
    listed = os.path.join(os.environ.get("TMPDIR", "/tmp"), "keel-soak-%d" % os.getpid())
    try:
        os.spawnv(os.P_WAIT, os.path.join(BUILD, "tests", "bench", "feed"), ["feed", "--count", str(args.routes), "--list", listed])
        with open(listed) as f:
            nets = [line.split()[0] for line in f if "/24 " in line]
    finally:
        if os.path.exists(listed):
            os.unlink(listed)
    return [(socket.inet_aton(n.split("/")[0]), FOREIGN_ASN) for n in nets[::100]]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--hours", type=positive, default=2, help="2; also a fraction")
    ap.add_argument("--routes", type=int, default=ROUTES, help="%d" % ROUTES)
    ap.add_argument("--rate", type=int, default=RATE, help="churned prefixes a second, %d" % RATE)
    ap.add_argument("--json", default=os.path.join(BUILD, "bench", "soak-hours.json"))
    args = ap.parse_args()
    folder = os.path.join(BUILD, "bench", "logs", "soak")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if name.startswith("soak.log"):
            os.unlink(os.path.join(folder, name))
    with Lab(folder) as lab:
        soak = Soak(lab, args, folder)
        drain, cache = Drain(lab.netns("rt"), os.path.join(lab.dir, "keeld.sock")), Cache(lab.netns("rt"), records(args))
        cache.step()  # keeld retries the connection; the records come with the first reload
        try:
            soak.load()
            print("  %d routes loaded; %.3g hours of churn" % (args.routes, args.hours), flush=True)
            soak.run(cache)
            cpu = cpu_seconds(soak.keeld)
            soak.finish(cache, drain)
        finally:
            drain.close()
            cache.close()
        soak.log.close()
        doc = soak.figures(drain, cpu)
    with open(args.json, "w") as f:
        json.dump(doc, f, indent=1)
        f.write("\n")
    print(json.dumps({k: v for k, v in doc.items() if k not in ("log_events", "faults")}))
    for text in doc["faults"]:
        print("FAULT " + text)
    return 1 if doc["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
