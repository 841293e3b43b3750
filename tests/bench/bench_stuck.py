#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""A peer that never reads while another peer announces and withdraws 5,000,000 unique /32s: memory compared with the limit from `tombstones_max`,
the dropped peers, and the effect on other peers: a reading receiver counts announced and withdrawn routes, which must add up to the table (for
other peers keeld reports only its own state, not the sent routes)."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_lab import BUILD, ROOT, Bench, Events, Lab, addresses, arguments, peer, resident_bytes, sample, say, wait_for  # noqa: E402

TOMBSTONES_MAX = 200000
FLAPS = 5000000  # fewer may fit into the sockets' buffers, so that no peer is stuck
OPEN = 100000  # announced and not withdrawn yet: FLAP_OPEN of crowd.c
# docs/decisions/0009: destination 24 (DEST_BYTES_IPV4), at most 10.7 of the index, Adj-RIB-Out 4 (one update group); the journal is always allocated.
# An announced prefix takes no more: a single path is in the destination's word.
BYTES_A_DESTINATION = 24 + 10.7 + 4
ALLOWED = (TOMBSTONES_MAX + OPEN) * BYTES_A_DESTINATION
READER, READER_ASN = "127.2.0.1", 65101


WARM_UP = 300000  # flaps before the measurement, to touch all buffers once


def settled_bytes(b, seconds=40):
    """Resident memory after the last decrease: free memory returns to the kernel within some ten seconds."""
    seen = [resident_bytes(b.keeld)]

    def still():
        seen.append(resident_bytes(b.keeld))
        return len(seen) > 12 and abs(seen[-1] - seen[-12]) < 500000
    wait_for("memory that is at rest", still, seconds, poll=0.25)
    return seen[-1]


def wait_read(reader, count):
    """Waits until announced minus withdrawn routes equal the table."""
    def read():
        stat = reader.ask("stat", "stat")
        if stat["lost"]:
            raise RuntimeError("the reader lost its session: %s" % stat)
        return stat["routes"] - stat["withdrawn"] == count
    try:
        wait_for("%d routes at the reader" % count, read, 60)
    except TimeoutError as e:
        raise RuntimeError("the reader lacks routes, or has too many: %s" % reader.ask("stat", "stat")) from e


def main():
    args = arguments(__doc__, 1)
    everyone = addresses("127.1.0.1", 4)
    stuck, flapping = everyone[0], everyone[1]
    peers = [peer("127.0.0.2", 64601)] + [peer(a, 65001 + i) for i, a in enumerate(everyone)] + [peer(READER, READER_ASN)]
    with Lab(os.path.join(ROOT, "build", "bench", "logs")) as lab:
        b = Bench(lab, peers, {"bgp": {"tombstones_max": TOMBSTONES_MAX}})
        crowd = b.crowd("127.1.0.1", 65001, len(everyone))
        reader = Events(lab.spawn("reader", "rt", [os.path.join(BUILD, "tests", "bench", "fan"), "--connect", "127.0.0.1", "--source", READER, "--peers", "1",
                                                   "--asn", str(READER_ASN)], lines=True))
        b.wait_established(everyone + [READER])
        say("loading %d routes" % args.routes)
        feed = b.feed("127.0.0.2", 64601, args.routes)
        b.wait_advertised(everyone, args.routes)
        def prefixes(count):
            return lambda: b.rpc.call("rib.summary")["tables"][0]["prefixes"] == count

        crowd.say("flap 1 %d" % WARM_UP)
        crowd.wait("done", "flap")
        wait_for("the end of the first flaps", prefixes(args.routes), 120)
        wait_read(reader, args.routes)
        for run in range(args.runs):
            loaded = settled_bytes(b)
            say("peer %s reads no more, %s flaps %d routes" % (stuck, flapping, FLAPS))
            crowd.ask("stall 0", "stalled")
            begin = time.monotonic()
            crowd.say("flap 1 %d" % FLAPS)
            peak, rib = loaded, b.rpc.call("rib.summary")["tables"][0]["memory_bytes"]
            rib_peak = rib

            def look():
                nonlocal peak, rib_peak
                table = b.rpc.call("rib.summary")["tables"][0]
                peak, rib_peak = max(peak, resident_bytes(b.keeld)), max(rib_peak, table["memory_bytes"])
                return table

            def dropped():
                look()
                return b.peers()[stuck]["state"] != "established"
            wait_for("the stuck peer's end", dropped, 600, poll=0.05)
            sample("stuck_dropped_after", "s", run, time.monotonic() - begin)
            why = b.peers()[stuck]["last_error"]
            say("dropped: " + why)
            crowd.wait("done", "flap")

            wait_for("the end of the flaps", lambda: look()["prefixes"] == args.routes, 600, poll=0.05)
            sample("loaded_resident", "MB", run, loaded / 1e6)
            sample("peak_above_loaded", "MB", run, (peak - loaded) / 1e6)
            sample("peak_rib_memory_above_loaded", "MB", run, (rib_peak - rib) / 1e6)
            sample("allowed_above_loaded", "MB", run, ALLOWED / 1e6)
            others = {a: p for a, p in b.peers().items() if a != stuck}
            lost = sum(p["state"] != "established" or p["established_count"] != 1 for p in others.values())
            sample("other_sessions_lost", "sessions", run, lost)
            wait_read(reader, args.routes)
        say("withdrawing all, and loading again")
        for run in range(3):
            before = settled_bytes(b)
            feed.say("withdraw 1 0")
            feed.wait("done", "withdraw")
            wait_for("an empty table", prefixes(0), 120)
            wait_read(reader, 0)
            sample("empty_resident", "MB", run, settled_bytes(b) / 1e6)
            # index and segments of the peak's 1,000,000 destinations plus OPEN, never freed
            sample("empty_rib_memory", "MB", run, b.rpc.call("rib.summary")["tables"][0]["memory_bytes"] / 1e6)
            feed.say("announce 1 0")
            feed.wait("done", "announce")
            wait_for("a full table", prefixes(args.routes), 120)
            wait_read(reader, args.routes)
            sample("loaded_again_growth", "MB", run, (settled_bytes(b) - before) / 1e6)


if __name__ == "__main__":
    main()
