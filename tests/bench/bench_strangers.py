#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Work that strangers choose, at 1, 10 and 100 times an honest size, beside a route that an honest peer changes every 5 ms:

  quiet            nothing else happens, for 3 s
  targets_N        8 clients of a reflector announce N memberships of route targets each, and withdraw the half (RFC 4684)
  rds_N            a peer announces one VPN prefix with N route distinguishers, imported by 8 instances, and withdraws all
  vrps_N           an RPKI cache sends N records of one prefix; a peer announces 2,000 more specific prefixes
  openings_N       N connections of a listen range, each with an OPEN of a wrong AS
  document_N       a document with lists of N entries: a commit that changes one description, and one that changes an entry

of each: STEP_cpu (CPU of the daemon, s), STEP_p50, STEP_p99, STEP_max (ms until an honest peer has the change). The work counts until the daemon is
idle but for the changes. No honest session may end. The strangers share the processors with the daemon and the honest peers, at a lower priority: compare with `quiet`."""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "control"))
from bench_rpki import PROBE_ASN, PROBE_ONLY, Cache  # noqa: E402
from duts import RT, US  # noqa: E402
from labtest import in_netns  # noqa: E402
import labtest  # noqa: E402
from scenario import EVERYTHING, PROBE_MS, PROBES, Peer, Plan, addresses, idle, ours, sample, wait_for  # noqa: E402
from wire import UPDATE, V4, VPN, as_path, attribute, ext_community, mp_reach, mp_unreach, next_hop, origin, packed, update  # noqa: E402

CONSTRAINT = "rt-constraint"
CLIENTS, VPN_PEER, SPECIFIC, RANGE = "198.18.1.1", "198.18.2.1", "198.18.2.9", "198.18.32.1"
ACCEPT = {"import_policy": "accept-all", "export_policy": "accept-all"}
INSTANCES = 8
TARGET = "%d:7" % US
QUIET_S, MOST_S, SENDERS_NICE = 3, 120, 10


class Stranger(labtest.Speaker):
    """Sends, and reads without keeping."""
    codes = ((1, 1),)

    def open_capabilities(self):
        return b"".join(struct.pack(">BBHBB", 1, 4, afi, 0, safi) for afi, safi in self.codes) + bytes([65, 4]) + struct.pack(">I", self.asn)

    def message(self, kind, body):
        if kind != UPDATE:
            super().message(kind, body)

    def say(self, bodies):
        with self.lock:
            self.sock.sendall(b"".join(b"\xff" * 16 + struct.pack(">HB", 19 + len(b), UPDATE) + b for b in bodies))


class VpnStranger(Stranger):
    codes = ((1, 1), (1, 128), (1, 132))


def pieces(items, most):
    return [items[i:i + most] for i in range(0, len(items), most)]


def attributes_of(path, hop=None):
    return origin() + (as_path(path) if path else as_path()) + (next_hop(hop) if hop else b"")


def memberships(kind, client, numbers):
    """UPDATEs with memberships (RFC 4684 4) of the targets rt:(64000 + client):N; kind 14 announces, 15 withdraws."""
    out = []
    for some in pieces(list(numbers), 250):
        nlri = b"".join(bytes([96]) + struct.pack(">I", US) + ext_community("rt:%d:%d" % (64000 + client, n)) for n in some)
        if kind == 14:
            hop = packed(addresses(CLIENTS, client + 1)[client])
            value = struct.pack(">HBB", 1, 132, 4) + hop + b"\0" + nlri
            out.append(update(attributes_of(()) + attribute(0x40, 5, struct.pack(">I", 100)) + attribute(0x80, 14, value)))
        else:
            out.append(update(attribute(0x80, 15, struct.pack(">HB", 1, 132) + nlri)))
    return out


def distinguished(numbers):
    names = ["%d:%d 20.0.0.0/24" % (65000, n) for n in numbers]
    base = attributes_of([65201]) + attribute(0xc0, 16, ext_community("rt:" + TARGET))
    return ([update(base + mp_reach(VPN, [VPN_PEER], some)) for some in pieces(names, 200)], [update(mp_unreach(VPN, some)) for some in pieces(names, 200)])


def lists(entries):
    """Lists of the size in all, 2,000 entries each, as exchanges have them."""
    return [{"name": "set-%d" % i, "entries": [{"action": "permit", "prefix": "%d.%d.%d.0/24" % (1 + n // 65536 % 200, n // 256 % 256, n % 256)} for n in some]}
            for i, some in enumerate(pieces(range(entries), 2000))]


def document(entries=0):
    """The keys beside those of the honest peers, and the foreign peers."""
    clients = [{"address": a, "asn": US, "passive": True, "route_reflector_client": True, "families": {V4: ACCEPT, VPN: ACCEPT, CONSTRAINT: {}}}
               for a in addresses(CLIENTS, 8)]
    more = [{"address": VPN_PEER, "asn": 65201, "passive": True, "families": {V4: ACCEPT, VPN: ACCEPT}},
            {"address": SPECIFIC, "asn": 65202, "passive": True, "families": {V4: {"import_policy": "validated", "export_policy": "deny-all"}}}]
    return {
        "bgp": {"listen_ranges": [{"prefix": "198.18.32.0/19", "group": "strangers"}],
                "groups": [{"name": "strangers", "asn": 65300, "families": {V4: ACCEPT}}]},
        "vrfs": [{"name": "i%d" % i, "rd": "%d:%d" % (US, 100 + i), "import_targets": [TARGET], "export_targets": []} for i in range(INSTANCES)],
        "prefix_lists": lists(entries),
        "route_policies": [{"name": "validated", "nodes": [{"seq": 10, "action": "deny", "match": {"validation": "invalid"}}, {"seq": 20, "action": "permit", "match": {}}]}],
    }, clients + more


def main():
    plan = Plan(__doc__, 3, beside=())
    sizes = (10, 100) if plan.quick else (1, 10, 100)
    announcer, listener = addresses(PROBES, 2)
    peers = [Peer(announcer, PROBE_ASN, imports=EVERYTHING), Peer(listener, PROBE_ASN + 1, exports=PROBE_ONLY)]

    class Beside:
        """One daemon with its honest and foreign peers."""

        def __init__(self, arena, cls, run, entries=0):
            more, self.strangers = document(entries)
            self.arena, self.cls, self.run, self.more = arena, cls, run, more

        def __enter__(self):
            outer = self

            class Dut(self.cls):
                def sections(self, peers):
                    out = super().sections(peers)
                    out["bgp"]["peers"] += outer.strangers
                    for key in ("prefix_lists", "route_policies"):
                        out[key] = out.get(key, []) + outer.more[key]
                    return out
            self.context = self.arena.dut(Dut, peers, document={k: v for k, v in self.more.items() if k in ("bgp", "vrfs")})
            self.dut = self.context.__enter__()
            self.prober = self.arena.crowd(2, PROBES, PROBE_ASN)
            labtest.wait_established(self.dut.rpc, *(p.address for p in peers))
            os.setpriority(os.PRIO_PROCESS, 0, SENDERS_NICE)  # this thread, and those that it starts: the strangers
            return self

        def __exit__(self, *error):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
            return self.context.__exit__(*error)

        def speaker(self, cls, address, asn):
            return cls(self.arena.lab.netns(self.arena.host), address, RT, asn).up()

        def step(self, name, work):
            """Runs work() beside the changes; waits until they take no longer than before for QUIET_S."""
            idle(self.dut)
            self.prober.say("probe 0 1 65536 %d" % PROBE_MS)
            wait_for("the first changes", lambda: self.prober.ask("report", "report")["updates"] > 0, 30)
            cpu, begin = self.dut.cpu_seconds(), time.monotonic()
            work()
            last, busy = begin, True
            while busy and time.monotonic() < begin + MOST_S:  # the changes alone take a twentieth of a processor
                was, at = self.dut.cpu_seconds(), time.monotonic()
                time.sleep(0.25)  # an interval of the measurement
                busy = (self.dut.cpu_seconds() - was) / (time.monotonic() - at) > 0.15
                last = time.monotonic()
            used = self.dut.cpu_seconds() - cpu
            end = max(last, begin + QUIET_S)
            time.sleep(max(0, end - time.monotonic()))
            self.prober.say("probe-stop %d %d" % (begin * 1e9, end * 1e9))
            found = self.prober.wait("done", "probe", timeout=120)
            sample(name + "_cpu", "s", self.run, used, dut=self.cls.name)
            for k in ("p50", "p99", "max"):
                sample("%s_%s" % (name, k), "ms", self.run, found[k + "_us"] / 1000, dut=self.cls.name)
            self.dut.must_run()

    def quiet(d, n):
        return lambda: None

    def targets(d, n):
        speakers = [d.speaker(VpnStranger, a, US) for a in addresses(CLIENTS, 8)]
        numbers = range(160 * n)
        said = [memberships(14, i, numbers) for i in range(8)], [memberships(15, i, numbers[::2]) for i in range(8)]

        def work():
            for bodies in said:
                for s, b in zip(speakers, bodies):
                    s.say(b)
        return work

    def rds(d, n):
        speaker = d.speaker(VpnStranger, VPN_PEER, 65201)
        come, gone = distinguished(range(80 * n))
        return lambda: (speaker.say(come), speaker.say(gone))

    def vrps(d, n):
        speaker = d.speaker(Stranger, SPECIFIC, 65202)
        prefix = (20 << 24, 8)
        cache = Cache(d.arena.lab.netns(d.arena.host), [(prefix, 1000 + i) for i in range(1000 * n)], [])
        base = attributes_of([65202], SPECIFIC)
        routes = [update(base, ["20.%d.%d.0/24" % (i // 256, i % 256) for i in some]) for some in pieces(range(2000), 500)]

        def work():
            d.dut.rpc.call("config.edit", merge={"rpki": {"caches": [{"address": "127.0.0.1", "port": 8282}]}})
            d.dut.rpc.call("config.commit")
            wait_for("the records", lambda: d.dut.rpc.call("rpki.summary")["vrps"]["ipv4"] == 1000 * n, 60, poll=0.01)
            speaker.say(routes)
        d.after = cache.close
        return work

    def openings(d, n):
        namespace = d.arena.lab.netns(d.arena.host)

        def work():
            for a in addresses(RANGE, 40 * n):
                s = Stranger(namespace, a, RT, 64000)
                if in_netns(namespace, s.connect) is not None:
                    s.close()
        return work

    def documents(d, n):
        def work():
            d.dut.rpc.call("config.edit", patch=[{"op": "add", "path": "/bgp/peers/0/description", "value": "changed"}])
            d.dut.rpc.call("config.commit")
            # list 0 is that of the honest peers
            d.dut.rpc.call("config.edit", patch=[{"op": "replace", "path": "/prefix_lists/1/entries/0/prefix", "value": "223.0.0.0/24"}])
            d.dut.rpc.call("config.commit")
        return work

    steps = [("quiet", quiet, (1,)), ("targets", targets, sizes), ("rds", rds, sizes), ("vrps", vrps, sizes), ("openings", openings, sizes), ("document", documents, sizes)]
    with plan.arena() as arena:
        for name, make, factors in steps:
            for n in factors:
                def one(cls, run):
                    with Beside(arena, cls, run, 4000 * n if name == "document" else 0) as d:
                        d.after = lambda: None
                        work = make(d, n)
                        d.step(name if name == "quiet" else "%s_%d" % (name, n), work)
                        d.after()
                plan.alternate("%s_%d" % (name, n), [c for c in plan.classes if ours(c)], one)


if __name__ == "__main__":
    main()
