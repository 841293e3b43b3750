#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Origin validation at full size: an RPKI cache (RFC 8210) with a record for half of the prefixes of a full table, whose routes are valid.

  sync, sync_memory                    500,000 records: from the daemon's query until the records are in use; resident above the daemon without them
  changed                              100,000 of these records get another AS in one answer, so that their routes are invalid: from the notification
                                       until two receivers have the last withdrawal
  probe_p50, probe_p99, probe_max      a route changed by another peer every 5 ms, at a peer that receives only this route, during that change
The receivers must hold the routes that RFC 6811 2 does not call invalid, as counted here; no session may end."""
import ipaddress
import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
from duts import US, policy  # noqa: E402
from labtest import in_netns  # noqa: E402
from scenario import (EVERYTHING, FEED, FEED_ASN, FEEDS, PROBE_MS, PROBES, RECEIVERS, RT, Peer, Plan, Wrong, addresses, feeds, idle, load, ours,  # noqa: E402
                      receivers, sample, settled, wait_for)

RECORDS, CHANGED, PORT, FOREIGN = 500000, 100000, 8282, 64998
PROBE_ASN = 65301
PROBE_ONLY = policy("probe-only", [{"seq": 10, "action": "permit", "match": {"prefix_list": "probe"}}],
                    prefix_lists=[{"name": "probe", "entries": [{"action": "permit", "prefix": "198.51.100.1/32"}]}])
ORIGIN = policy("origin", [{"seq": 10, "action": "deny", "match": {"validation": "invalid"}}, {"seq": 20, "action": "permit", "match": {}}])
RESET_QUERY, SERIAL_QUERY = 2, 1


def permitted(table, records):
    """The number of routes of the table that are not invalid: valid, or covered by no record. No record permits prefixes longer than its own."""
    by_prefix, count = {}, 0
    for prefix, asn in records:
        by_prefix.setdefault(prefix, set()).add(asn)
    lengths = sorted({length for _, length in by_prefix})
    for (net, length), origin in table:
        covering = [n for n in lengths if n <= length and (net >> 32 - n << 32 - n, n) in by_prefix]
        count += not covering or (covering[-1] == length and origin in by_prefix[net, length])
    return count


def pdu(announce, prefix, asn):
    net, length = prefix
    return struct.pack(">BBHIBBBBII", 1, 4, 0, 20, announce, length, length, 0, net, asn)


class Cache:
    """All answers are made before the daemon asks."""

    def __init__(self, namespace, records, changed):
        begin, end = struct.pack(">BBHI", 1, 3, 7, 8), [struct.pack(">BBHIIIII", 1, 7, 7, 24, serial, 3600, 600, 7200) for serial in (0, 1)]
        self.whole = begin + b"".join(pdu(1, p, asn) for p, asn in records) + end[0]
        self.change = begin + b"".join(pdu(0, *old) + pdu(1, *new) for old, new in zip(records, changed) if old != new) + end[1]
        self.asked = self.connection = None
        self.listener = in_netns(namespace, self.listen)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @staticmethod
    def listen():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", PORT))
        s.listen()
        return s

    def serve(self):
        try:
            self.connection, _ = self.listener.accept()
            with self.connection.makefile("rb") as f:
                while True:
                    header = f.read(8)
                    if len(header) < 8:
                        return
                    kind, length = header[1], struct.unpack(">I", header[4:])[0]
                    f.read(length - 8)
                    if kind == RESET_QUERY:
                        self.asked = time.monotonic()
                    self.connection.sendall(self.whole if kind == RESET_QUERY else self.change)
        except OSError:
            pass

    def notify(self):
        self.connection.sendall(struct.pack(">BBHII", 1, 0, 7, 12, 1))

    def close(self):
        for s in (self.listener, self.connection):
            if s is not None:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()
        self.thread.join()


def main():
    plan = Plan(__doc__, 5, beside=())
    listed = os.path.join(os.environ.get("TMPDIR", "/tmp"), "keel-bench-rpki-%d" % os.getpid())
    try:
        subprocess.run([FEED, "--count", str(plan.routes), "--list", listed], check=True, stdout=subprocess.DEVNULL)
        with open(listed) as f:
            table = [line.split() for line in f]
    finally:
        if os.path.exists(listed):
            os.unlink(listed)
    wanted = min(RECORDS, plan.routes // 2)
    table = [((int(n.network_address), n.prefixlen), int(o)) for n, o in ((ipaddress.ip_network(p), o) for p, o in table)]
    records = [route for route in table if route[1] != 0][::2][:wanted]
    changed = [(p, FOREIGN) if i % (RECORDS // CHANGED) == 0 else (p, asn) for i, (p, asn) in enumerate(records)]
    expected = permitted(table, records), permitted(table, changed)
    announcer, listener = addresses(PROBES, 2)
    peers = feeds(1, imports=ORIGIN, keep=True) + receivers(2) + [Peer(announcer, PROBE_ASN, imports=EVERYTHING), Peer(listener, PROBE_ASN + 1, exports=PROBE_ONLY)]

    def must_hold(fan, routes):
        held = fan.ask("tables", "tables")["held"]
        if set(held) != {routes}:
            raise Wrong("the receivers hold %s routes, not %d" % (held, routes))

    with plan.arena() as arena:
        def one(cls, run):
            with arena.dut(cls, peers) as dut:
                fan, prober = arena.fan(2, RECEIVERS, 65001, "--count", 2, "--tables", "--no-hosts"), arena.crowd(2, PROBES, PROBE_ASN)
                source = addresses(FEEDS, 1)[0]
                said = arena.spawn("feed", [FEED, "--connect", RT, "--source", source, "--next-hop", source, "--asn", FEED_ASN, "--peer-asn", US,
                                            "--count", plan.routes, "--wait"])
                load(dut, fan, [said], plan.routes)
                idle(dut)
                before, cache = dut.resident_bytes(), Cache(arena.lab.netns(arena.host), records, changed)
                try:
                    dut.rpc.call("config.edit", merge={"rpki": {"caches": [{"address": "127.0.0.1", "port": PORT}]}})
                    dut.apply()
                    wait_for("the records", lambda: dut.rpc.call("rpki.summary")["vrps"]["ipv4"] == len(records), 60, poll=0.002)
                    sample("sync", "s", run, time.monotonic() - cache.asked, dut=cls.name)
                    settled(dut, fan, 0)
                    sample("sync_memory", "MB", run, (dut.resident_bytes() - before) / 1e6, dut=cls.name)
                    must_hold(fan, expected[0])
                    prober.say("probe 0 1 65536 %d" % PROBE_MS)
                    wait_for("the first probes", lambda: prober.ask("report", "report")["updates"] > 0, 30)
                    fan.ask("mark", "done")
                    begin = time.monotonic()
                    cache.notify()
                    stat = settled(dut, fan, 0, probing=True, quiet_s=2.0)
                    end = max(stat["last_ns"] / 1e9, begin)
                    prober.say("probe-stop %d %d" % (begin * 1e9, end * 1e9))
                    probe = prober.wait("done", "probe", timeout=60)
                    must_hold(fan, expected[1])
                    sample("changed", "s", run, end - begin, dut=cls.name)
                    for k in ("p50", "p99", "max"):
                        sample("probe_" + k, "ms", run, probe[k + "_us"] / 1000, dut=cls.name)
                finally:
                    cache.close()
        plan.alternate("rpki", [c for c in plan.classes if ours(c)], one)


if __name__ == "__main__":
    main()
