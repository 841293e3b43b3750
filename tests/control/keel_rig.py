# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the tests of commits: a separate keeld in a network namespace, and a BGP speaker that records all messages with their times."""
import contextlib
import fcntl
import functools
import ipaddress
import json
import mmap
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

KEELD = sys.argv[1]
US, THEM, US_V6 = "192.0.2.1", "192.0.2.2", "2001:db8::1"
V4, V6, VPNV4, VPNV6 = "ipv4-unicast", "ipv6-unicast", "vpnv4-unicast", "vpnv6-unicast"
AFI_SAFI = {V4: (1, 1), V6: (2, 1), VPNV4: (1, 128), VPNV6: (2, 128)}
FAMILY = os.environ.get("FAMILY", V4)  # of the routes in the tests of soft reset
VPN = FAMILY in (VPNV4, VPNV6)
VRF = "t%d" % os.getpid() if "VRF" in os.environ else None  # the VPN instance of all peers and networks
LABELS = {"next_hop_unchanged": True} if VPN else {}  # of a family between external peers: a label stays with its next hop
RD = struct.pack(">HHI", 0, 64512, 7)  # 64512:7
TARGET = struct.pack(">BBHI", 0, 2, 64512, 7)  # rt:64512:7
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = 1, 2, 3, 4, 5
WAIT_S = 300  # ends a test that hangs
TRY_AGAIN = -32013  # an error


def in_namespace(name, work):
    """Runs work() on a separate thread in namespace `name`; sockets made there belong to the namespace."""
    result = []

    def run():
        with open("/run/netns/" + name) as ns:
            if libc().setns(ns.fileno(), 0x40000000) != 0:
                raise OSError("setns")
        result.append(work())
    t = threading.Thread(target=run)
    t.start()
    t.join()
    return result[0]


def libc():
    import ctypes
    return ctypes.CDLL(None, use_errno=True)


def attributes(b):
    while b:
        flags, kind = b[0], b[1]
        length, at = (struct.unpack(">H", b[2:4])[0], 4) if flags & 0x10 else (b[2], 3)
        yield kind, b[at:at + length]
        b = b[at + length:]


def nlri_of(b, afi=1, safi=1):
    """[(prefix, route distinguisher, octets of the label)]; of unicast families (prefix, b"", b"")."""
    found, skip = [], 11 if safi == 128 else 0
    if safi == 132:  # memberships are no routes
        return found
    while b:
        n, bits = (b[0] + 7) // 8, b[0] - 8 * skip
        packed = b[1 + skip:1 + n].ljust(4 if afi == 1 else 16, b"\0")
        found.append(("%s/%d" % (ipaddress.ip_address(packed), bits), b[4:12] if skip else b"", b[1:4] if skip else b""))
        b = b[1 + n:]
    return found


def prefixes(b, afi=1, safi=1):
    return {prefix for prefix, _, _ in nlri_of(b, afi, safi)}


def nlri(family, network, length=24, label=100, rd=RD):
    """The NLRI of an IPv4 or IPv6 network; `label` None: withdrawn."""
    packed = ipaddress.ip_address(network).packed[:(length + 7) // 8]
    if AFI_SAFI[family][1] == 1:
        return bytes([length]) + packed
    return bytes([length + 88]) + (b"\x80\0\0" if label is None else struct.pack(">I", label << 4 | 1)[1:]) + rd + packed


def update_of(family, address, asns, routes, more=b""):
    """The body of an UPDATE that announces NLRI; of a VPN family with a route target."""
    path = b"\x40\1\1\0\x40\2" + bytes([2 + 4 * len(asns), 2, len(asns)]) + struct.pack(">%dI" % len(asns), *asns)
    hop, (afi, safi) = ipaddress.ip_address(address).packed, AFI_SAFI[family]
    if family == V4:
        path += b"\x40\3\4" + hop + more
        return struct.pack(">HH", 0, len(path)) + path + routes
    hop = bytes(8) + (bytes(10) + b"\xff\xff" if afi == 2 and len(hop) == 4 else b"") + hop if safi == 128 else hop
    value = struct.pack(">HBB", afi, safi, len(hop)) + hop + b"\0" + routes
    path = struct.pack(">BBH", 0x90, 14, len(value)) + value + path + more + (b"\xc0\x10\x08" + TARGET if safi == 128 else b"")
    return struct.pack(">HH", 0, len(path)) + path


def withdrawal_of(family, routes):
    if family == V4:
        return struct.pack(">H", len(routes)) + routes + b"\0\0"
    value = struct.pack(">HB", *AFI_SAFI[family]) + routes
    return struct.pack(">HHBBH", 0, 4 + len(value), 0x90, 15, len(value)) + value


def end_of_rib(family):
    return bytes(4) if family == V4 else withdrawal_of(family, b"")


def inside(document):
    """The document, or a part of it, with all peers and networks in the instance VRF."""
    if VRF is None or "bgp" not in document:
        return document
    bgp = {key: [dict(x, vrf=VRF) for x in value] if key in ("peers", "networks") else value for key, value in document["bgp"].items()}
    return dict(document, bgp=bgp)


@functools.lru_cache(65536)  # a wait looks at all messages of a peer each time
def routes_of(body):
    """(withdrawn, announced) of an UPDATE, sets of prefixes."""
    n = struct.unpack(">H", body[:2])[0]
    end = 4 + n + struct.unpack(">H", body[2 + n:4 + n])[0]
    withdrawn, announced = prefixes(body[2:2 + n]), prefixes(body[end:])
    for kind, value in attributes(body[4 + n:end]):
        if kind == 14:
            announced |= prefixes(value[5 + value[3]:], value[1], value[2])
        elif kind == 15:
            withdrawn |= prefixes(value[3:], value[1], value[2])
    return frozenset(withdrawn), frozenset(announced)


class Pauses:
    """Of a loop that asks keeld: short at first; later a tenth of a second, for each question costs processor time."""

    def __init__(self):
        self.now = 0.005

    def next(self):
        self.now = min(1.5 * self.now, 0.1)
        return self.now


class Speaker:
    """A peer that records received messages. Answers a ROUTE-REFRESH for FAMILY with all announced routes, between BoRR and EoRR."""
    family = FAMILY  # of announce()

    def __init__(self, namespace, address=THEM, asn=64513, refresh=True, families=(V4, V6) if FAMILY == V4 else (V4, V6, FAMILY), restart=0, more=b""):
        """`restart`: restart time in seconds (RFC 4724), for all families; 0: without the capability. `more`: further capabilities."""
        self.address, self.asn = address, asn
        self.messages = []  # (time, kind, body), without keepalives
        self.announced = {}  # network -> AS numbers
        self.lock = threading.Lock()
        self.changed = threading.Condition()
        self.up = False
        self.helpful = True  # answers a ROUTE-REFRESH
        self.sock = in_namespace(namespace, self.connect)
        capabilities = b"".join(struct.pack(">BBHH", 1, 4, *AFI_SAFI[f]) for f in families) + (bytes([2, 0, 70, 0]) if refresh else b"") + \
            struct.pack(">BBI", 65, 4, asn) + more
        if restart:
            capabilities += struct.pack(">BBH", 64, 2 + 4 * len(families), restart) + b"".join(struct.pack(">HBB", *AFI_SAFI[f], 0x80) for f in families)
        body = struct.pack(">BHH4sBBBB", 4, asn, 90, ipaddress.ip_address(address).packed[-4:], len(capabilities) + 2, 2, len(capabilities), 0)
        self.send(OPEN, body[:-1] + capabilities)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def established(self):
        """False: refused, for example before keeld has configured its peers, or in idle hold."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.up or self.closed(), WAIT_S), "no session"
        return self.up

    def connect(self):
        """Refused until keeld listens and is not in idle hold."""
        end = time.monotonic() + WAIT_S
        while True:
            s = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET)
            s.bind((self.address, 0))
            if s.connect_ex((US_V6 if ":" in self.address else US, 179)) == 0:
                return s
            s.close()
            assert time.monotonic() < end, "nobody listens at %s" % self.address
            threading.Event().wait(0.02)

    def close(self):
        """Ends the connection even while another thread reads."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # already closed
        self.thread.join()
        self.sock.close()

    def send(self, kind, body=b""):
        with self.lock:
            self.sock.sendall(b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def note(self, kind, body):
        with self.changed:
            self.messages.append((time.monotonic(), kind, body))
            self.changed.notify_all()

    def read(self):
        try:
            while True:
                length, kind = struct.unpack(">HB", self.exactly(19)[16:])
                body = self.exactly(length - 19)
                if kind == KEEPALIVE:
                    self.send(KEEPALIVE)
                    with self.changed:
                        self.up = True
                        self.changed.notify_all()
                    continue
                self.note(kind, body)
                if kind == REFRESH and body[2] == 0 and self.helpful:
                    self.again(body[:2], body[3:])
        except OSError:
            self.note(NOTIFICATION, b"closed")

    def again(self, afi, safi):
        self.send(REFRESH, afi + b"\1" + safi)
        if afi + safi == struct.pack(">HB", *AFI_SAFI[self.family]):
            for network, asns in list(self.announced.items()):
                self.say(network, asns)
        self.send(REFRESH, afi + b"\2" + safi)

    def say(self, network, asns):
        self.send(UPDATE, update_of(self.family, self.address, asns, nlri(self.family, network)))

    def announce(self, *networks, asns=None):
        """Announces /24 networks, given as 20.0.0.0."""
        for n in networks:
            self.announced[n] = asns or (self.asn,)
            self.say(n, self.announced[n])

    def withdraw(self, *networks):
        for n in networks:
            self.announced.pop(n)
            self.send(UPDATE, withdrawal_of(self.family, nlri(self.family, n, label=None)))

    def closed(self):
        return any(kind == NOTIFICATION for _, kind, _ in self.messages)

    def requests(self, since, family=None):
        """Times of the ROUTE-REFRESH messages."""
        return [t for t, kind, b in self.messages if t >= since and kind == REFRESH and b[2] == 0 and
                (family is None or (b[1], b[3]) == AFI_SAFI[family])]

    def updates(self, since):
        """[(time, withdrawn, announced)], sets of prefixes; without End-of-RIB."""
        found = [(t, *routes_of(b)) for t, kind, b in self.messages if kind == UPDATE and t >= since]
        return [u for u in found if u[1] or u[2]]

    def ends(self):
        """Number of received End-of-RIB markers."""
        return sum(kind == UPDATE and (body == bytes(4) or (len(body) == 10 and body[:7] == b"\0\0\0\6\x80\x0f\3"))
                   for _, kind, body in self.messages)

    def table(self, since=0):
        """The routes that remain after all updates."""
        routes = set()
        for _, withdrawn, announced in self.updates(since):
            routes = routes - withdrawn | announced
        return routes

    def told(self, since):
        """All announced prefixes, and all withdrawn prefixes."""
        updates = self.updates(since)
        return set().union(*(u[2] for u in updates)), set().union(*(u[1] for u in updates))


class Keel:
    def __init__(self, namespace, folder, document=None):
        """`document` None: the file exists."""
        self.namespace = namespace
        self.file, self.path, self.state = (os.path.join(folder, name) for name in ("keel.json", "keel.sock", "state"))
        if document is not None:
            with open(self.file, "w") as f:
                json.dump(document, f)
        self.log = open(os.path.join(folder, "log"), "a+")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, KEELD, "-c", self.file, "--no-dataplane", "--socket", self.path, "--state-dir",
             self.state], stdout=self.log, stderr=subprocess.STDOUT)
        self.await_start()

    def await_start(self):
        """keeld refuses earlier BGP connections, and BIRD connects once."""
        end, pauses = time.monotonic() + WAIT_S, Pauses()
        while not self.answers():
            assert time.monotonic() < end and self.process.poll() is None, self.logged()
            threading.Event().wait(pauses.next())
        self.call("system.info")  # answered after the start

    def answers(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.path) == 0

    def log_text(self):
        with open(self.log.name) as f:
            return f.read()

    def logged(self):
        """For messages of failures: the first report of a sanitizer, without lines of keeld; else the end of the log."""
        log = self.log_text()
        report = log.find("Sanitizer: ")
        if report < 0:
            return log[-3000:]
        return "\n".join(line for line in log[report:report + 50000].splitlines() if not re.match(r"20\d\d-", line))[:9000]

    def stop(self):
        self.process.terminate()
        status = self.process.wait(60)
        assert status == 0, self.logged()

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def on_disk(self):
        with open(self.file) as f:
            return json.load(f)

    def answer(self, method, params=None):
        params = dict(params or {})
        if VRF and "merge" in params:
            params["merge"] = inside(params["merge"])
        elif VRF and method in ("bgp.refresh", "bgp.reset", "rib.routes"):
            params["vrf"] = VRF
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(WAIT_S)
            s.connect(self.path)
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            return json.loads(s.makefile().readline())

    def call(self, method, params=None):
        """The result. A change that an earlier one on its way to the disk refuses is tried again, as the answer says."""
        a, end = self.answer(method, params), time.monotonic() + WAIT_S
        while a.get("error", {}).get("code") == TRY_AGAIN and method.startswith("config.") and time.monotonic() < end:
            a = self.answer(method, params)
        assert "result" in a, (method, params, a, self.logged())
        return a["result"]

    def commit(self, merge):
        self.call("config.edit", {"merge": merge})
        return self.call("config.commit")["effects"]

    def job(self, number):
        return self.call("jobs.get", {"id": number})["state"]

    def peer(self):
        return self.call("bgp.peers")["peers"][0]



    def notifications(self, *topics):
        """Reads events: a generator that raises AssertionError after WAIT_S without an event."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(WAIT_S)
        s.connect(self.path)
        s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"topics": topics}}).encode() + b"\n")
        lines = s.makefile()
        assert "result" in json.loads(lines.readline())

        def events():
            with s:
                for line in lines:
                    yield json.loads(line)["params"]
        return events()


class Call:
    """A request of a connection of its own, whose answer may come later."""

    def __init__(self, keel, method, **params):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(keel.path)
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")

    def waits(self):
        return not select.select([self.sock], [], [], 0)[0]

    def answer(self):
        with self.sock, self.sock.makefile() as lines:
            line = lines.readline()
            return json.loads(line) if line else None


class Unanswered:
    """A file on storage that does not answer: whoever opens the file waits until answer(), since this process has a lease on the file."""

    def __init__(self, path):
        self.before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # an open() is announced by SIGIO
        self.fd = os.open(path, os.O_RDWR)
        fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def answer(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            signal.signal(signal.SIGIO, self.before)


class HungDisk:
    """A disk that does not answer while hang(True), for a keeld that starts in environment(): files with one of the words `written` (colons between
    them) in their path are not written, those with one of `read` are not read."""

    def __init__(self, test, shim, written="", read=""):
        f = tempfile.NamedTemporaryFile()
        test.addCleanup(f.close)
        f.write(b"\0")
        f.flush()
        self.word = mmap.mmap(f.fileno(), 1)
        self.variables = {"LD_PRELOAD": shim, "KEEL_TEST_DISK": f.name, "KEEL_TEST_FILES": written, "KEEL_TEST_READS": read}
        test.addCleanup(self.hang, False)

    @contextlib.contextmanager
    def environment(self):
        os.environ.update(self.variables)
        try:
            yield
        finally:
            for name in self.variables:
                del os.environ[name]

    def hang(self, yes):
        self.word[:] = b"\1" if yes else b"\0"


class Late(Exception):
    """The machine was too slow for the test's timing; keeld is not at fault."""


def unhurried(test):
    """Repeats the test with a new keeld when the machine was late; skips the test when the machine is too slow."""
    @functools.wraps(test)
    def run(self):
        for _ in range(5):
            try:
                return test(self)
            except Late as e:
                print("late by %s: once more" % e, flush=True)
                self.doCleanups()
                self.setUp()
        return self.skipTest("the machine was late in every attempt")
    return run


class KeelTest(unittest.TestCase):
    """A namespace with our address and the peers' addresses, and a keeld inside."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="keel-apply-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.namespace = "commit-apply%d" % os.getpid()
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.namespace], check=True)
        self.give_addresses()

    def small_disk(self, size):
        """A folder with so much room. To be called before start(): keeld may have mounts of its own."""
        disk = os.path.join(self.folder, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "keel-test", disk], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=True)
        return disk

    def cpu_ns(self):
        """CPU time of all threads of keeld."""
        folder = "/proc/%d/task" % self.keel.process.pid
        total = 0
        for task in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, task, "schedstat")) as f:
                total += int(f.read().split()[0])
        return total

    def give_addresses(self):
        words = ["link set lo up", "addr add 2001:db8::1/64 dev lo"]
        for line in words + ["addr add 192.0.2.%d/24 dev lo" % i for i in (1, 2, 3, 50, 51, 52, 53)]:
            subprocess.run(["ip", "-n", self.namespace] + line.split(), check=True)

    def start(self, document):
        if "RIB_THREADS" in os.environ:
            document = dict(document, dataplane={"rib_threads": int(os.environ["RIB_THREADS"])})
        if VRF:
            self.addCleanup(ip, "netns", "del", "keel-" + VRF, check=False)
            document = dict(inside(document), vrfs=document.get("vrfs", [{"name": VRF}]))
        self.keel = (HostKeel if VRF else Keel)(self.namespace, self.folder, document)
        self.addCleanup(self.end)
        if VRF:  # the speakers and their addresses are in the namespace of the instance
            self.assertLessEqual({p["vrf"] for p in self.keel.call("bgp.peers")["peers"]}, {VRF})
            self.namespace = "keel-" + VRF
            self.give_addresses()

    def end(self):
        self.keel.stop()
        self.keel.log.close()

    def speak(self, begun=True, **how):
        """A speaker with an established session; a commit may end sessions meanwhile. `begun`: waits for End-of-RIB of each family, too."""
        end = time.monotonic() + WAIT_S
        while True:
            s = Speaker(self.namespace, **how)
            self.addCleanup(s.close)
            if s.established():
                if begun:
                    self.wait("the end of what it begins with", lambda: s.closed() or self.begun(s), s.changed)
                if not s.closed():
                    return s
            s.close()  # a fast machine would run out of descriptors
            assert time.monotonic() < end, self.keel.logged()

    def begun(self, speaker):
        """True if the session is established and End-of-RIB of each negotiated family has arrived."""
        p = [p for p in self.keel.call("bgp.peers")["peers"] if p["address"] == speaker.address]
        return p and p[0]["state"] == "established" and speaker.ends() == sum(f["negotiated"] for f in p[0]["families"].values())

    def wait(self, what, good, changed=None):
        """Waits until good(), which may call keeld; a message to a speaker of this test ends a wait early."""
        end, pauses = time.monotonic() + WAIT_S, Pauses()
        changed = changed or threading.Condition()
        while not good():
            assert time.monotonic() < end, "no %s\n%s" % (what, self.keel.logged())
            with changed:
                changed.wait(pauses.next())

    def await_logged(self, pattern):
        """Waits for a line of the log. The thread keel-log writes lines, so a line may follow the answer or the event of the same change."""
        self.wait("line of the log: " + pattern, lambda: re.search(pattern, self.keel.log_text()))

    @staticmethod
    def in_time(end):
        """Raises Late unless all steps so far were done before `end`."""
        late = time.monotonic() - end
        if late > 0:
            raise Late("%.2f s" % late)

    def silent_until(self, speaker, since, end):
        """Checks that no message arrives between the times `since` and `end`."""
        with speaker.changed:
            speaker.changed.wait_for(lambda: any(m[0] >= since for m in speaker.messages), max(0, end - time.monotonic()))
        self.assertEqual([m for m in speaker.messages if since <= m[0] < end], [])

    def wait_jobs(self, effects):
        for e in effects:
            if "job" in e:
                self.wait("end of job %d" % e["job"], lambda: self.keel.job(e["job"]) == "done")


def ip(*words, check=True):
    return subprocess.run(["ip"] + list(words), check=check, capture_output=True, text=True).stdout


class HostKeel(Keel):
    """Shares the mount namespace of the test, as a service on a host does: `ip netns exec` would hide the namespaces that keeld creates."""

    def start(self):
        self.process = subprocess.Popen(
            ["nsenter", "--net=/run/netns/" + self.namespace, KEELD, "-c", self.file, "--no-dataplane", "--socket", self.path, "--state-dir",
             self.state], stdout=self.log, stderr=subprocess.STDOUT)
        self.await_start()


class InstanceTest(KeelTest):
    """VPN instances `names` beside keeld, each with a namespace ce-NAME of its customer."""
    names = ()

    def setUp(self):
        super().setUp()
        for name in self.names:
            self.addCleanup(self.forget, "keel-" + name)
            self.addCleanup(self.forget, "ce-" + name)
            ip("netns", "add", "ce-" + name)
            ip("-n", "ce-" + name, "link", "set", "lo", "up")

    @staticmethod
    def forget(name):
        ip("netns", "del", name, check=False)

    def start(self, document):
        self.keel = HostKeel(self.namespace, self.folder, document)
        self.addCleanup(self.end)

    def join(self, name):
        """A link between the CE and the namespace of the instance, as an operator makes it."""
        ip("link", "add", "c" + name, "netns", "ce-" + name, "type", "veth", "peer", "name", "e" + name, "netns", "keel-" + name)
        for ns, dev, host in (("ce-", "c", 2), ("keel-", "e", 1)):
            for address in ("192.0.2.%d/24" % host, "2001:db8::%d/64" % host):
                ip("-n", ns + name, "addr", "add", address, "dev", dev + name, *(["nodad"] if ":" in address else []))
            ip("-n", ns + name, "link", "set", dev + name, "up")


def possible():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = "commit-try%d" % os.getpid()
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


def main():
    if not possible():
        print("namespaces need root and iproute2")
        sys.exit(77)
    result = unittest.main(module="__main__", argv=sys.argv[:1] + sys.argv[2:], exit=False, verbosity=2).result
    sys.exit(0 if result.wasSuccessful() else 1)
