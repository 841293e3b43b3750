#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""History against a cold start: a running keeld after random operations (operations.py) equals a fresh keeld with the final document and the peers'
final announcements: what each peer holds, attribute by attribute, the RIB, the sessions, the alarms, the tables of a BMP collector, which
gets no withdrawal of a route that it had not heard of.

A seed is OPS (25) operations. A keeld lives for CHAIN (10) seeds, and is compared after each of them. SEEDS (environment): how many, from FIRST (0),
in JOBS (2) processes; SEED=N: this one, after the seeds of its chain before it; RIB_THREADS: shards; DATAPLANE=1: with a data plane. A failing seed prints itself and the shortest sequence of
operations that still fails. KNOWN=1 draws operations whose faults are known, too. `--replay FILE` repeats a sequence. Needs root (network namespaces); else the exit status is 77.

usage: test_cold_start.py KEELD [--replay FILE]
"""
import glob
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import keel_rig
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "lab"))
import operations  # noqa: E402
from bmp_collector import Collector  # noqa: E402
from keel_rig import KEELD, WAIT_S, Keel, libc  # noqa: E402
from operations import FAMILIES, US, announcement, withdrawal  # noqa: E402
from rtr_cache import ERROR, SERIAL_QUERY, Cache  # noqa: E402
from wire import AFI, KEEPALIVE, NOTIFICATION, OF_CODES, OPEN, ROUTE_REFRESH, SAFI, UPDATE, V4, V6, VPN, end_of_rib, packed  # noqa: E402

OPS, CHAIN = int(os.environ.get("OPS", 25)), int(os.environ.get("CHAIN", 10))
SHARDS = int(os.environ.get("RIB_THREADS", 1))
FIRST = int(os.environ.get("FIRST", 0))
DATAPLANE = os.environ.get("DATAPLANE") == "1"
STORM = 20000  # messages after which routers do not come to rest any more
TOUCHED = 4  # routes of each comparison that go and return, where a collector is there
SILENCE_S = float(os.environ.get("SILENCE_S", 4))  # both sides are at rest, and differ, when nothing changes for so long
CACHE_PORT, COLLECTOR_PORT = 3323, 11019  # as in operations.KEYS
OF_THE_PAST = ("thread-late", "forwarder", "routes-refused", "faulty-updates", "max-prefixes", "max-prefixes-out")  # alarms about what was, not about what is
HEADER = b"\xff" * 16


def ip(batch):
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)


def unkind(cache, sock, version, kind, session, body):
    """As StayRTR: a query of a session before this one gets an Error Report, and the connection ends."""
    if kind == SERIAL_QUERY and session != cache.session:
        sock.sendall(struct.pack(">BBHIII", version, ERROR, 0, 16, 0, 0))
        sock.shutdown(socket.SHUT_RDWR)
    else:
        Cache.answer(cache, sock, version, kind, session, body)


class Place:
    """A namespace for keeld and one for the routers, joined by two links; and a folder."""

    def __init__(self, name):
        self.names = ["cold%d-%s%s" % (os.getpid(), name, end) for end in "kr"]
        keel, routers = self.names
        ip("".join("netns add %s\n" % n for n in self.names))
        self.fds = [os.open("/run/netns/" + n, os.O_RDONLY) for n in self.names]
        for n, fd in zip(self.names, self.fds):
            self.enter(fd)
            with open("/proc/sys/net/ipv6/conf/default/accept_dad", "w") as f:
                f.write("0")  # link-local addresses are there from the begin
            self.enter(HOME)
            subprocess.run(["ip", "-n", n, "-batch", "-"], input="link set lo up\n", text=True, check=True)
        subprocess.run(["ip", "-n", keel, "-batch", "-"], text=True, check=True, input="".join(
            "link add k%d address 02:00:00:00:00:%02d type veth peer name r%d address 02:00:00:00:01:%02d netns %s\naddr add %s dev k%d\naddr add 2001:db8:%d::1/64 dev k%d nodad\nlink set k%d up\n" %
            (i, i, i, i, routers, ("192.0.2.1/24", "198.51.100.1/24")[i], i, i, i, i) for i in (0, 1)) + (
            "link add k2 address 02:00:00:00:00:02 type veth peer name r2 address 02:00:00:00:01:02 netns %s\nlink set k2 up\n" % routers if DATAPLANE else ""))
        subprocess.run(["ip", "-n", routers, "-batch", "-"], text=True, check=True, input="".join(
            "link set r%d up\n" % i for i in (0, 1)) + "".join(
            "addr add %s/24 dev r%d\naddr add %s/64 dev r%d nodad\n" % (r.address, r.six.startswith("2001:db8:1"), r.six, r.six.startswith("2001:db8:1"))
            for r in operations.Model().routers.values()) + (
            "link set r2 up\naddr add 10.20.0.2/24 dev r2\naddr add 2001:db8:20::2/64 dev r2 nodad\n" if DATAPLANE else ""))
        self.mounts = self.own_mounts() if DATAPLANE else None
        self.cache = Cache(keel, CACHE_PORT)
        self.cache.fault = unkind
        self.collector = Collector(keel, COLLECTOR_PORT, by_rd=True)
        memory = "/dev/shm"
        self.folder = tempfile.mkdtemp(prefix="keel-cold-", dir=memory if os.path.isdir(memory) else None)

    @staticmethod
    def own_mounts():
        """A mount namespace with own names of network namespaces: two keelds have instances of the same name."""
        holder = subprocess.Popen(["unshare", "-m", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs keel-cold /run/netns && echo && read end"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.readline()
        holder.fd = os.open("/proc/%d/ns/mnt" % holder.pid, os.O_RDONLY)
        return holder

    def enter_all(self):
        self.enter(self.fds[0])
        if self.mounts is not None and libc().setns(self.mounts.fd, 0x20000) != 0:
            raise OSError("setns")

    def enter(self, which):
        if libc().setns(which, 0x40000000) != 0:
            raise OSError("setns")

    def forget(self):
        """A port keeps its addresses when keeld ends: the next one has another document."""
        if DATAPLANE:
            self.host("addr flush dev k2 scope global")

    def host(self, line):
        """A command of ip(8) in the namespace of keeld."""
        subprocess.run(["ip", "-n", self.names[0], *line.split()], check=True)

    def remove(self):
        self.cache.close()
        self.collector.close()
        if self.mounts is not None:
            os.close(self.mounts.fd)
            self.mounts.communicate(b"\n")
        for fd in self.fds:
            os.close(fd)
        ip("".join("netns del %s\n" % n for n in self.names))
        shutil.rmtree(self.folder)


HOME = os.open("/proc/self/ns/net", os.O_RDONLY)


def write(folder, files):
    for name, content in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(content)


class ColdKeel(Keel):
    """keeld in the namespace of a place, with one connection for all requests."""

    def __init__(self, place, document, files):
        self.place, self.rpc = place, None
        for name in os.listdir(place.folder):
            at = os.path.join(place.folder, name)
            shutil.rmtree(at) if os.path.isdir(at) else os.unlink(at)
        write(place.folder, files)
        super().__init__(place.names[0], place.folder, document)

    def start(self):
        """After a kill the kernel takes queues of AF_XDP back in its own time; a start fails meanwhile."""
        end = time.monotonic() + WAIT_S
        while True:
            self.process = subprocess.Popen([KEELD, "-c", self.file, *([] if DATAPLANE else ["--no-dataplane"]), "--socket", self.path, "--state-dir", self.state],
                                            stdout=self.log, stderr=subprocess.STDOUT, preexec_fn=self.place.enter_all)
            try:
                return self.await_start()
            except (AssertionError, OSError):
                assert DATAPLANE and time.monotonic() < end, self.logged()
                status = self.process.wait(WAIT_S)
                assert status == 1 and "in use by another program" in self.logged(), "a start ended with %d\n%s" % (status, self.logged())

    def answers(self):
        self.rpc = socket.socket(socket.AF_UNIX)
        if self.rpc.connect_ex(self.path) != 0:
            self.rpc.close()
            return False
        self.rpc.settimeout(WAIT_S)
        self.lines = self.rpc.makefile()
        return True

    def policy_files(self):
        return {name: open(os.path.join(self.place.folder, name), encoding="ascii").read() for name in os.listdir(self.place.folder) if name.endswith(".policy")}

    def answer(self, method, params=None):
        return self.answers_of([(method, params or {})])[0]

    def answers_of(self, calls):
        """The answers to [(method, params)], in their order."""
        self.rpc.sendall(b"".join(json.dumps({"jsonrpc": "2.0", "id": i, "method": m, "params": p}).encode() + b"\n" for i, (m, p) in enumerate(calls)))
        found = {}
        for _ in calls:
            line = self.lines.readline()
            if not line:
                raise ConnectionError("keeld has gone\n" + self.logged())
            a = json.loads(line)
            found[a["id"]] = a
        return [found[i] for i in range(len(calls))]

    def end(self):
        """With a data plane in order: keelfwd outlives a keeld that is killed."""
        self.rpc.close()
        if DATAPLANE and self.process.poll() is None:
            self.stop()
        else:
            self.kill()
        self.log.close()


class Session:
    """One TCP connection of a router."""

    def __init__(self, side, router, sock):
        self.side, self.router, self.sock = side, router, sock
        self.buffer, self.up, self.families, self.enhanced, self.ends = b"", False, [], False, set()
        self.held, self.marked = {f: {} for f in FAMILIES}, {}
        self.port = side.model.attached() if router.vrf else None
        families = router.families
        capabilities = b"".join(struct.pack(">BBHH", 1, 4, AFI[f], SAFI[f]) for f in families) + bytes([2, 0, 70, 0, 6, 0]) + struct.pack(">BBI", 65, 4, router.asn) + \
            struct.pack(">BBHHH", 5, 6, 1, 1, 2)
        if router.restart:
            capabilities += struct.pack(">BBH", 64, 2 + 4 * len(families), router.restart) + b"".join(struct.pack(">HBB", AFI[f], SAFI[f], 0x80) for f in families)
        body = struct.pack(">BHH4sBBBB", 4, router.asn if router.asn < 65536 else 23456, 0, packed(router.address), len(capabilities) + 2, 2,
                           len(capabilities), 0)[:-1] + capabilities
        self.offered = families
        self.send(OPEN, body)

    def send(self, kind, body=b""):
        self.send_all([(kind, body)])

    def send_all(self, messages):
        try:
            self.sock.sendall(b"".join(HEADER + struct.pack(">HB", 19 + len(b), k) + b for k, b in messages))
        except OSError:
            pass  # the end is read

    def read(self):
        """False: closed."""
        try:
            data = self.sock.recv(262144)
        except OSError:
            return False
        self.buffer += data
        while len(self.buffer) >= 19:
            n, kind = struct.unpack(">HB", self.buffer[16:19])
            if len(self.buffer) < n:
                break
            body, self.buffer = self.buffer[19:n], self.buffer[n:]
            self.message(kind, body)
        return bool(data)

    def message(self, kind, body):
        self.side.messages += 1
        if kind == OPEN:
            self.opened(body)
        elif kind == KEEPALIVE and not self.up:
            self.up = True
            self.send_all(self.table(self.families) + [(UPDATE, end_of_rib(f)) for f in self.families])
        elif kind == UPDATE:
            self.update(body)
        elif kind == ROUTE_REFRESH:
            self.refresh(OF_CODES[body[1], body[3]], body[2])
        elif kind == NOTIFICATION:
            self.side.last[self.router.address] = body

    def opened(self, body):
        """Multiprotocol and enhanced refresh of keeld's OPEN."""
        b, found = body[10:], set()
        while b:
            part, b = b[2:2 + b[1]], b[2 + b[1]:]
            while part:
                kind, value, part = part[0], part[2:2 + part[1]], part[2 + part[1]:]
                self.enhanced = self.enhanced or kind == 70
                if kind == 1:
                    found.add(OF_CODES.get((value[1], value[3])))
        self.families = [f for f in self.offered if f in (found or {V4})]
        self.send(KEEPALIVE)

    def table(self, families):
        return [(UPDATE, announcement(f, [p], *what)) for (f, p), what in self.router.announced.items() if f in families]

    def refresh(self, family, kind):
        """RFC 7313: a request is answered between marks; routes not announced between the marks of keeld go."""
        code = struct.pack(">H", AFI[family])
        if kind == 0:
            marks = [[(ROUTE_REFRESH, code + bytes([k, SAFI[family]]))] if self.enhanced else [] for k in (1, 2)]
            self.send_all(marks[0] + self.table([family]) + marks[1])
        elif kind == 1:
            self.marked[family] = set()
        elif kind == 2:
            again = self.marked.pop(family, set())
            self.held[family] = {p: a for p, a in self.held[family].items() if p in again}

    def update(self, b):
        n = struct.unpack(">H", b[:2])[0]
        end = 4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]
        common, reach = [], []
        gone = [(V4, b[2:2 + n])]
        if len(b) == 4:
            self.ends.add(V4)
        for kind, value in keel_rig.attributes(b[4 + n:end]):
            if kind == 14:
                reach.append((OF_CODES[value[1], value[2]], value[4:4 + value[3]], value[5 + value[3]:]))
            elif kind == 15:
                gone.append((OF_CODES[value[1], value[2]], value[3:]))
                if len(value) == 3:
                    self.ends.add(OF_CODES[value[1], value[2]])
            else:
                common.append((kind, value))
        for family, octets in gone:
            for p, _ in nlri(octets, family):
                self.held[family].pop(p, None)
        for family, hop, octets in [(V4, b"", b[end:])] + reach:
            for p, label in nlri(octets, family):
                self.held[family][p] = (common, hop + label, b)
                self.marked.get(family, set()).add(p)


def nlri(b, family):
    """(NLRI, label); a label of ours is "own": which number it has depends on the past."""
    at, n = 0, 0
    while at < len(b):
        n = 1 + (b[at] + 7) // 8
        label = b[at + 1:at + 4] if family == VPN else b""
        yield b[at:at + 1] + b[at + 1 + len(label):at + n], b"own" if label and label[:2] > b"\x10\0" else label
        at += n


class Side:
    """A keeld and its routers: the running one, or the cold one."""

    def __init__(self, place, model, document):
        self.place, self.model = place, model
        place.forget()
        self.keel = ColdKeel(place, document, model.files)
        self.poll, self.sessions, self.by_fd = select.epoll(), {}, {}
        self.messages, self.retry, self.last = 0, {}, {}

    def connect(self):
        """Connects each router that is to have a session and has none."""
        now = time.monotonic()
        missing = [a for a in self.model.routers if a not in self.sessions and self.retry.get(a, 0) <= now and self.model.up(a)]
        if not missing:
            return
        self.place.enter(self.place.fds[1])
        try:
            for a in missing:
                s = socket.socket()
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.bind((a, 0))
                if s.connect_ex((a.rpartition(".")[0] + ".1", 179)) != 0:
                    s.close()
                    self.retry[a] = now + 0.02
                    continue
                self.sessions[a] = self.by_fd[s.fileno()] = Session(self, self.model.routers[a], s)
                self.poll.register(s, select.EPOLLIN)
        finally:
            self.place.enter(HOME)

    def pump(self, wait=0.0):
        """Reads what has come; the number of messages."""
        before = self.messages
        ce = self.sessions.get(operations.CE)
        if ce is not None and ce.port != self.model.attached():  # no end of the connection reaches the router
            self.drop(ce)
        self.connect()
        for fd, _ in self.poll.poll(wait):
            session = self.by_fd[fd]
            if not session.read():
                self.drop(session)
        return self.messages - before

    def drop(self, session):
        self.poll.unregister(session.sock)
        del self.by_fd[session.sock.fileno()], self.sessions[session.router.address]
        session.sock.close()
        if not session.up:
            self.retry[session.router.address] = time.monotonic() + 0.02

    def say(self, address, family, bodies):
        s = self.sessions.get(address)
        if s is not None and s.up and family in s.families:
            s.send_all([(UPDATE, b) for b in bodies])

    def ask(self, address, family):
        s = self.sessions.get(address)
        if s is not None and s.up and family in s.families:
            s.send(ROUTE_REFRESH, struct.pack(">HBB", AFI[family], 0, SAFI[family]))

    def lose(self, address, how, idle):
        """The connection ends; a reset ends the second in which keeld then stays idle, too, and the wait for a router that restarts."""
        if address in self.sessions:
            if how == "cease":
                self.sessions[address].send(NOTIFICATION, bytes([6, 4]))
            self.drop(self.sessions[address])
            if not idle:
                self.reset(address)

    def reset(self, address):
        families = self.model.up(address)
        if families:
            a = self.keel.answer("bgp.reset", {"family": families[0], "scope": "peer", "force": True, **self.named(address)})
            assert "result" in a or a["error"]["code"] == -32004, a  # a dynamic peer that has just gone

    def named(self, address):
        """The peer, in parameters of the RPC."""
        vrf = next((p["vrf"] for p in self.model.document["bgp"]["peers"] if p["address"] == address and "vrf" in p), None)
        return {"peer": address, **({"vrf": vrf} if vrf else {})}

    def complete(self):
        """True if each router that is to have a session has one, with what keeld begins with."""
        return all((a in self.sessions) == bool(self.model.up(a)) for a in self.model.routers) and \
            all(s.up and s.ends == set(s.families) and not s.marked for s in self.sessions.values())

    def renew(self):
        """
        Routers announce routes anew, in the order of a new session, where a limit drops further prefixes: the order decides which. False: no such router.
        """
        renewed = False
        for a, s in self.sessions.items():
            for f in set(self.model.discards(a)) & set(s.families):
                old = [p for g, p in s.router.announced if g == f]
                self.say(a, f, [withdrawal(f, [p]) for p in old] + [body for _, body in s.table([f])])
                renewed |= bool(old)
        return renewed

    def quiet(self, wait_s):
        """Waits until the routers and the collector have heard nothing for this time."""
        c, most = self.place.collector, self.messages + STORM
        while self.pump(wait_s) or time.monotonic() < c.last_s + wait_s:
            assert self.messages < most, "no rest"

    def touch(self, r):
        """
        Routers withdraw a route and announce the route again. Returns the withdrawals in vain: the collector had not heard of the route. Each change comes
        at rest, because keeld reads a route after its change: of a route that comes and goes in between, the collector may get the withdrawal alone. A slow
        machine gets longer rests.
        """
        c, up = self.place.collector, [(s, f, p) for _, s in sorted(self.sessions.items()) for f, p in s.router.announced if f in s.families]
        touched = r.sample(up, min(TOUCHED, len(up)))
        for wait_s in (0.03, 0.3, 1):
            self.quiet(wait_s)
            c.vain = []
            for s, f, p in touched:
                for body in (withdrawal(f, [p]), announcement(f, [p], *s.router.announced[f, p])):
                    self.say(s.router.address, f, [body])
                    self.quiet(wait_s)
            if not c.vain:
                break
        return {"in vain %s %s %s" % v: True for v in c.vain}

    def plan(self):
        return self.keel.call("system.info")["commit_plan"]

    def held(self):
        return {"held %s %s %s" % (a, f, text(p, f)): (route[0], route[1]) for a, s in self.sessions.items() for f, routes in s.held.items()
                for p, route in routes.items()}

    def views(self):
        """What the RPC says, as {name: value}; the times left out."""
        calls = [("rib.routes", {"family": f, "view": "loc", "limit": 10000}) for f in FAMILIES]
        calls += [("rib.routes", {"family": f, "view": "loc", "vrf": v["name"]}) for f in (V4, V6) for v in self.model.document.get("vrfs", [])]
        calls += [("rib.routes", {"family": f, "view": v, **self.named(a)}) for a in self.sessions for f in self.sessions[a].families for v in ("adj-in", "adj-out")]
        out, lookups = {}, []
        if DATAPLANE:
            lookups = [("fib.lookup", {"address": p.split("/")[0]}) for f in (V4, V6) for p in operations.PREFIXES[f] + operations.INSTANCE_PORT + operations.VLAN_PORT]
            lookups += [("fib.lookup", {"address": p.split("/")[0], "vrf": v["name"]}) for v in self.model.document.get("vrfs", [])
                        for p in operations.INSIDE[v["name"]] + operations.INSTANCE_PORT + operations.VLAN_PORT]
        info, peers, *routes = self.keel.answers_of([("system.info", {}), ("bgp.peers", {})] + calls + lookups)
        for (_, how), a in zip(lookups, routes[len(calls):]):
            a["result"].pop("generation")
            a["result"]["paths"].sort(key=lambda p: (p.get("backup", False), str(p)))  # equal paths have no order
            out["lookup %s %s" % (how.get("vrf", "default"), how["address"])] = a["result"]
        for a in info["result"]["alarms"]:
            if a["kind"] not in OF_THE_PAST:
                out["alarm %s %s" % (a["kind"], a.get("peer", ""))] = True
        for p in peers["result"]["peers"]:
            for f, x in p["families"].items():
                out["peer %s %s" % (p["address"], f)] = {k: x[k] for k in ("received", "accepted", "advertised", "negotiated", "retained") if k in x}
        for (_, how), a in zip(calls, routes):
            for r in a["result"]["routes"]:
                r.pop("age_s")
                if r.get("validation") == "not-found":  # shown after the last cache has gone, too, until a start
                    r.pop("validation")
                if "labels" in r:
                    r["labels"] = [x if x < 4096 else "own" for x in r["labels"]]
                out["%s %s %s from %s %s" % (how["view"], how.get("peer", how.get("vrf", how["family"])), r.get("rd", ""), r["prefix"], r["peer"] or r.get("source"))] = r
        return out

    def collected(self):
        """The tables of the collector."""
        c = self.place.collector
        with c.changed:
            if "bmp" not in self.model.document:
                return {}
            return {"collected %s %s %s" % (*map(str, k), p): dict(a) for k, t in c.tables.items() for p, a in t.items()}

    def end(self):
        for s in list(self.sessions.values()):
            self.drop(s)
        self.poll.close()
        self.keel.end()


def text(p, family):
    if family == VPN:
        return p[1:9].hex() + " " + text(bytes([p[0] - 88]) + p[9:], V4)
    return "%s/%d" % (socket.inet_ntop(socket.AF_INET if family == V4 else socket.AF_INET6, p[1:].ljust(4 if family == V4 else 16, b"\0")), p[0])


class Differs(Exception):
    """What differs: {name: (running, cold)}."""


class Run:
    """A running keeld, and the operations on it."""

    def __init__(self, places, shards):
        self.places, self.model = places, operations.Model(shards, DATAPLANE)
        self.away = None  # the keelfwd that was killed, until the next one is awaited
        places[0].cache.restart()
        self.side = Side(places[0], self.model, self.model.document)
        for c in self.side.keel.call("config.history")["commits"]:
            self.note(c["id"])
        self.settle()

    def note(self, number):
        """A commit has the document in force, and the texts of the policy files."""
        self.model.commits.append((number, self.model.document, dict(self.model.files)))

    def host(self, line):
        """The same around the running keeld and the cold one."""
        for p in self.places:
            p.host(line)

    def roas(self, roas, restart):
        self.model.roas = roas
        (self.places[0].cache.restart if restart else self.places[0].cache.set)(*map(tuple, roas))

    def write(self, name, content):
        write(self.places[0].folder, {name: content})

    def file(self, name, content):
        """A policy file gets another text, which a reload takes."""
        self.model.files[name] = content
        self.write(name, content)
        if not self.reload():  # for a fault of the draft
            self.reload()

    def links_down(self, place):
        """Once more: a start sets the interfaces of ports up."""
        for name in self.model.down if DATAPLANE else ():
            place.host("link set %s down" % name)

    def kill(self):
        """kill -9 and a start."""
        keel = self.side.keel
        keel.rpc.close()
        keel.kill()
        if self.away is not None:
            os.kill(self.above, signal.SIGCONT)
            self.away = None
        while self.side.sessions:
            self.side.pump(0.01)
        keel.start()
        self.links_down(self.places[0])
        self.model.draft = json.loads(json.dumps(self.model.document))
        number = keel.call("config.history")["commits"][-1]["id"]
        if number != self.model.commits[-1][0]:
            self.note(number)

    def end_forwarder(self, waits):
        """kill -9 of keelfwd, which starts itself again, and gets ports and tables of this keeld; the next operations come before, unless this one waits."""
        if not DATAPLANE:
            return
        self.forwarder_back()
        self.away = self.side.keel.call("system.info")["forwarder"]["pid"]
        with open("/proc/%d/stat" % self.away) as f:
            self.above = int(f.read().rsplit(")", 1)[1].split()[1])
        os.kill(self.above, signal.SIGCONT if waits else signal.SIGSTOP)
        os.kill(self.away, signal.SIGKILL)
        if waits:
            self.forwarder_back()

    def forwarder_back(self):
        end = time.monotonic() + WAIT_S
        if self.away is not None:
            os.kill(self.above, signal.SIGCONT)
        while self.away is not None:
            self.side.pump(0.01)
            f = self.side.keel.call("system.info")["forwarder"]
            if f["published"] and f["pid"] != self.away:
                self.away = None
                self.links_down(self.places[0])
            assert time.monotonic() < end, f

    def do(self, operation):
        operations.do(self, operation)
        self.side.pump()

    # ---- what operations call ----
    def settle(self):
        self.forwarder_back()
        end = time.monotonic() + WAIT_S
        while not self.side.complete():
            self.side.pump(0.01)
            assert time.monotonic() < end, "no session: %s\n%s" % (self.side.last, self.side.keel.logged())
        most = self.side.messages + STORM
        while self.side.pump(0.005) or ("rpki" in self.model.document and time.monotonic() < end and not self.synchronized()):
            assert self.side.messages < most, "no rest: %d messages" % STORM

    def synchronized(self):
        newest = ("synced", self.places[0].cache.session, self.places[0].cache.serial)
        return all((c["state"], c.get("session"), c.get("serial")) == newest for c in self.side.keel.call("rpki.summary")["caches"])

    def commit(self, confirm=None):
        """Commits the draft; `confirm`: with a confirmation, which "confirm" or the next "commit" gives, or none ("rollback")."""
        m, keel = self.model, self.side.keel
        before, after = m.document, json.loads(json.dumps(m.draft))
        patch = [{"op": "add", "path": "/" + k, "value": v} for k, v in after.items() if v != before.get(k)] + \
            [{"op": "remove", "path": "/" + k} for k in before if k not in after]
        if not patch:
            return
        a = [x for x in keel.answers_of([("config.edit", {"patch": patch}), ("config.commit", {"confirm_s": 600} if confirm else {})])]
        if "error" in a[0] or "error" in a[1]:
            faults = next(x["error"] for x in a if "error" in x)
            assert faults["code"] == -32005, faults
            self.refused(faults)
            return
        number = a[1]["result"]["commit"]
        if number is None:
            return
        m.document = after
        self.note(number)
        self.side.pump()
        if confirm == "confirm":
            keel.call("config.confirm")
        elif confirm == "commit":
            keel.call("config.commit")
        elif confirm == "rollback":
            self.rollback(m.commits[-2])

    def refused(self, fault):
        REFUSED[json.dumps(fault.get("data", fault))[:150]] = REFUSED.get(json.dumps(fault.get("data", fault))[:150], 0) + 1
        self.side.keel.call("config.discard")
        self.model.draft = json.loads(json.dumps(self.model.document))

    def discard(self):
        self.side.keel.call("config.discard")
        self.model.draft = json.loads(json.dumps(self.model.document))

    def rollback(self, to):
        self.discard()
        a = self.side.keel.answer("config.rollback", {"to": to[0]})
        if "error" in a:  # other ports, and no keelfwd
            assert self.away is not None and a["error"]["code"] == -32005, a
            self.forwarder_back()
            a = self.side.keel.answer("config.rollback", {"to": to[0]})
        a = a["result"]
        if a["commit"] is not None:
            self.model.document, self.model.files = to[1], dict(to[2])
            self.note(a["commit"])
        self.model.draft = json.loads(json.dumps(self.model.document))

    def reload(self):
        """The file gets the draft. False: refused, and the draft is dropped."""
        m, keel = self.model, self.side.keel
        after = m.draft
        self.discard()
        with open(keel.file, "w") as f:
            json.dump(after, f)
        a = keel.answer("config.reload")
        if "error" in a:
            self.refused(a["error"])
            with open(keel.file, "w") as f:
                json.dump(m.document, f)
        elif a["result"]["commit"] is not None:
            m.document = after
            self.note(a["result"]["commit"])
        m.draft = json.loads(json.dumps(m.document))
        return "error" not in a

    # ---- the comparison ----
    def check(self, r):
        """Raises Differs if the running keeld differs from a cold one when both are at rest."""
        self.forwarder_back()
        self.places[1].cache.restart(*map(tuple, self.model.roas))
        cold = Side(self.places[1], self.model, self.model.document)
        self.links_down(self.places[1])
        try:
            begin = last = time.monotonic()
            most, seen, renewals, touched = self.side.messages + STORM, None, [0.1, 1.2, 1.2], "bmp" not in self.model.document
            while True:
                moved = self.side.pump() + cold.pump(0.002)
                at_rest = not moved and self.side.complete() and cold.complete() and not self.side.plan()["running"]
                difference = at_rest and (differences(self.side.held(), cold.held()) or differences(self.side.views(), cold.views()) or
                                          differences(self.side.collected(), cold.collected()) or
                                          differences(self.side.keel.policy_files(), cold.keel.policy_files()))
                if at_rest and not difference and touched:
                    return
                if at_rest and not difference:
                    difference, touched = self.side.touch(r), True
                    if difference:
                        raise Differs(differences(difference, {}))
                    continue
                now = self.side.messages, cold.messages, repr(difference)
                if now != seen:
                    last, seen = time.monotonic(), now
                elif difference and renewals and time.monotonic() > last + renewals[0]:
                    renewals = renewals[1:] if self.side.renew() else []  # again for policies that come late
                elif difference and time.monotonic() > last + SILENCE_S:
                    raise Differs(difference)
                assert time.monotonic() < begin + 5 * WAIT_S and self.side.messages < most, "no rest: %d messages" % self.side.messages
                assert time.monotonic() < last + 5 * SILENCE_S, "no session, or a commit does not end: %s %s %s\n%s" % (
                    self.side.last, cold.last, self.side.plan(), self.side.keel.logged())
                if not moved:
                    cold.pump(0.005)
        finally:
            cold.end()

    def end(self):
        if self.away is not None:
            os.kill(self.above, signal.SIGCONT)
        self.side.end()
        for p in sorted(self.model.kernel):
            operations.kernel(self, p, False)
        operations.link(self, True)
        operations.address(self, False)


REFUSED = {}  # fault -> how many commits


def differences(a, b):
    return {k: (a.get(k), b.get(k)) for k in sorted({*a, *b}) if a.get(k) != b.get(k)} if a != b else {}


def chain(places, shards, first, count):
    """The operations of `count` seeds on one keeld, compared after each. Returns None, or (seed, operations so far, difference)."""
    run, done = Run(places, shards), []
    try:
        for seed in range(first, first + count):
            r = random.Random(seed)
            for _ in range(OPS):
                done.append(operations.draw(r, run.model, "KNOWN" in os.environ))
                run.do(done[-1])
            run.check(r)
    except (Differs, AssertionError, OSError) as e:
        return seed, done, e
    finally:
        run.end()
    return None


def fails(places, shards, sequence):
    run = Run(places, shards)
    try:
        for o in sequence:
            run.do(o)
        run.check(random.Random(len(sequence)))
    except (Differs, AssertionError, OSError) as e:
        return e
    finally:
        run.end()
    return None


def shrink(places, shards, sequence):
    """(the shortest sequence found that fails, its difference): leaves out parts, from halves down to single operations."""
    fault, size = fails(places, shards, sequence), len(sequence) // 2
    if fault is None:
        return sequence, None
    while size >= 1:
        at, smaller = 0, False
        while at < len(sequence):
            e = fails(places, shards, sequence[:at] + sequence[at + size:])
            if e is not None:
                sequence, fault, smaller = sequence[:at] + sequence[at + size:], e, True
            else:
                at += size
        size = size if smaller and size == 1 else size // 2
    return sequence, fault


def shown(fault):
    if not isinstance(fault, Differs):
        return str(fault)
    return "\n".join("  %s\n    running %s\n    cold    %s" % (k, a, b) for k, (a, b) in list(fault.args[0].items())[:6])


def main():
    if not keel_rig.possible():
        print("namespaces need root and iproute2")
        sys.exit(77)
    if "--replay" in sys.argv:
        sys.exit(in_places(lambda places: replay(places, sys.argv[-1])))
    count, first = int(os.environ.get("SEEDS", 100000 if os.environ.get("KEEL_TEST_FULL") else 100)), FIRST
    if "SEED" in os.environ:
        first = int(os.environ["SEED"]) // CHAIN * CHAIN
        count = int(os.environ["SEED"]) - first + 1
    chains = [(n, min(CHAIN, first + count - n)) for n in range(first, first + count, CHAIN)]
    jobs = min(len(chains), int(os.environ.get("JOBS", 2)))
    begin, children = time.monotonic(), []
    for j in range(jobs):
        children.append(os.fork())
        if children[-1] == 0:
            os._exit(in_places(lambda places: work(places, chains[j::jobs])))
    failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
    print("%d seeds of %d operations, %d shards: %s; %.1f s, CPU %.1f s" % (
        count, OPS, SHARDS, "not equal" if failed else "equal", time.monotonic() - begin, sum(os.times()[:4])))
    sys.exit(len(failed) > 0)


def in_places(work_):
    places = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # removes the namespaces, too
    try:
        places += [Place("run"), Place("cold")]
        return int(work_(places))
    finally:
        for p in places:
            p.remove()
        sys.stdout.flush()


def replay(places, name):
    with open(name) as f:
        fault = fails(places, SHARDS, [json.loads(line) for line in f])
    print("%s: %s" % (os.path.basename(name), "equal" if fault is None else shown(fault)))
    return fault is not None


def work(places, chains):
    """True if a seed of these chains failed, or a sequence that once failed."""
    if chains[0][0] == FIRST and any([replay(places, name) for name in sorted(glob.glob(os.path.join(HERE, "histories", "*.jsonl")))]):
        return True
    for first, count in chains:
        found = chain(places, SHARDS, first, count)
        if found is not None:
            seed, sequence, fault = found
            print("SEED=%d RIB_THREADS=%d OPS=%d CHAIN=%d fails:\n%s" % (seed, SHARDS, OPS, CHAIN, shown(fault)), flush=True)
            alone = fails(places, SHARDS, sequence[-OPS:])
            sequence, fault = shrink(places, SHARDS, sequence[-OPS:] if alone is not None else sequence)
            print("the shortest sequence that fails:\n%s\n%s" % ("\n".join(map(json.dumps, sequence)), shown(fault) if fault else "(not repeated)"))
            return True
    if "-v" in sys.argv:
        print("refused commits:" + "".join("\n%5d %s" % (n, t) for t, n in sorted(REFUSED.items(), key=lambda x: -x[1])[:40]))
    return False


if __name__ == "__main__":
    main()
