# SPDX-License-Identifier: BSD-3-Clause
"""Shared by all labs: counted checks, binaries under test, a capture of an interface in a namespace, a small BGP speaker for messages that BIRD
does not send, and parsers of birdc output."""
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
from lab import PATIENCE_S, SELF_CLOCKED, Lab, Machine, Rpc, memory_kb, run, wait_for  # noqa: E402,F401
from wire import (KEEPALIVE, NOTIFICATION, OPEN, ROUTE_REFRESH, UPDATE, V4, V6, AFI, as_path, attribute, decode, next_hop, nlri, origin,  # noqa: E402,F401
                  update)

BUILD = os.path.abspath(os.environ.get("KEEL_BUILD", os.path.join(ROOT, "build")))
KEELD, KEELCTL = (os.path.join(BUILD, "control", n) for n in ("keeld", "keelctl"))
FEED, PROBE = (os.path.join(BUILD, "tests", "bench", n) for n in ("feed", "probe"))
SHARED = os.environ.get("KEEL_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))


# Emulated NICs of a guest of scripts/nic-guest, [PCI address, MAC address, interface of the far end, id for QEMU]; empty elsewhere.
NICS = [n.split(",") for n in os.environ.get("NIC_GUEST_NICS", "").split()]


def out_folder(name):
    """Folder for logs and captures of a test; emptied at the start."""
    path = os.path.join(os.environ.get("NIC_GUEST_OUT", os.path.join(ROOT, "build", "test")), name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def skip(reason):
    print("skipped: " + reason, flush=True)
    sys.exit(77)


def need(*programs, files=()):
    """Skips without root, a program, or a file."""
    if os.geteuid() != 0:
        skip("network namespaces need root")
    for p in programs:
        if shutil.which(p) is None:
            skip("%s is not installed" % p)
    for f in files:
        if not os.path.exists(f):
            sys.exit("%s is not there: build first, or set KEEL_BUILD" % f)


class Checks:
    """Prints and counts a line for each check. After a failed check the test continues; an exception is a failure that ends the test."""

    def __init__(self):
        self.good = self.bad = 0
        self.start = time.monotonic()

    def true(self, what, good, seen=""):
        if good:
            self.good += 1
            print("ok   %5.1f  %s" % (time.monotonic() - self.start, what), flush=True)
        else:
            self.bad += 1
            print("FAIL %5.1f  %s: %s" % (time.monotonic() - self.start, what, seen), flush=True)
        return bool(good)

    def equal(self, what, seen, expected):
        return self.true(what, seen == expected, "saw %r instead of %r" % (seen, expected))

    def eventually(self, what, condition, timeout=20):
        """Waits until condition() returns (True, seen); a failure shows `seen`."""
        last = [None]

        def good():
            ok, last[0] = condition()
            return ok

        try:
            wait_for(what, good, timeout)
        except TimeoutError:
            return self.true(what, False, "after %d s: %r" % (max(timeout, PATIENCE_S), last[0]))
        return self.true(what, True)

    def comes_to(self, what, read, expected, timeout=20):
        def condition():
            value = read()
            return value == expected, "saw %r instead of %r" % (value, expected)
        return self.eventually(what, condition, timeout)


def main(test):
    """Runs test(checks); the process's exit status."""
    checks = Checks()
    try:
        test(checks)
    except KeyboardInterrupt:
        return 130
    except Exception as e:  # an exception of a lab fails the test
        traceback.print_exc()
        checks.true("the test runs to its end", False, e)
    if checks.good + checks.bad == 0:
        checks.true("the test checks something", False)
    print("%d checks, %d failed, %.0f s" % (checks.good + checks.bad, checks.bad, time.monotonic() - checks.start), flush=True)
    return 1 if checks.bad else 0


def in_netns(name, function):
    """Runs function() on a separate thread inside a namespace; its sockets belong to the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = []

    def body():
        try:
            fd = os.open("/run/netns/" + name, os.O_RDONLY)
            if libc.setns(fd, 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns " + name)
            os.close(fd)
            result.append((function(), None))
        except BaseException as e:
            result.append((None, e))

    t = threading.Thread(target=body)
    t.start()
    t.join()
    value, error = result[0]
    if error is not None:
        raise error
    return value


# ---- captures ----

class Capture:
    """Frames of an interface (None: of all interfaces in the namespace). The kernel queues passing frames, so all frames before stop() are in the
    file."""

    def __init__(self, netns, interface, path):
        def open_socket():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0 if interface else socket.htons(3))
            s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            self.prepare(s)
            if interface:
                s.bind((interface, 3))
            return s

        self.path, self.frames, self.over = path, [], False
        self.sock = in_netns(netns, open_socket)
        self.sock.settimeout(0.05)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def prepare(self, sock):
        """Called before the capture begins."""

    def read(self):
        while True:
            last = self.over
            try:
                while True:
                    self.frames.append((time.time(), self.sock.recv(65536)))
            except OSError:  # no frame for a while; or the interface is gone with its lab
                if last:
                    return

    def stop(self):
        self.over = True
        self.thread.join()
        self.sock.close()
        with open(self.path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65536, 1))
            for t, frame in self.frames:
                f.write(struct.pack("<IIII", int(t), int(t % 1 * 1e6), len(frame), len(frame)) + frame)
        return self

    def connections(self, source):
        """SYNs without ACK from an IPv6 address."""
        address = socket.inet_pton(socket.AF_INET6, source)
        return sum(1 for _, f in self.frames if f[12:14] == b"\x86\xdd" and f[20] == 6 and f[22:38] == address and f[67] & 0x12 == 2)

    def bgp(self):
        """(source address, message in tshark's form), in order."""
        p = subprocess.run(["tshark", "-r", self.path, "-d", "tcp.port==179,bgp", "-Y", "bgp", "-T", "json", "--no-duplicate-keys"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if p.returncode != 0:
            raise RuntimeError("tshark: " + p.stderr)
        for packet in json.loads(p.stdout):
            layers = packet["_source"]["layers"]
            bgp = layers["bgp"]
            for m in bgp if isinstance(bgp, list) else [bgp]:
                yield layers["ip"]["ip.src"] if "ip" in layers else layers["ipv6"]["ipv6.src"], m

    def messages(self):
        """[(source address, type, ROUTE-REFRESH subtype or None, [prefixes], [withdrawn])], in order."""
        out = []
        for source, m in self.bgp():
            subtype = re.search(r'"bgp\.route_refresh\.subtype": "(\d+)"', json.dumps(m))
            out.append((source, int(m["bgp.type"]), int(subtype.group(1)) if subtype else None, prefixes_of(m, "bgp.update.nlri") + mp_prefixes_of(m, "reach"),
                        prefixes_of(m, "bgp.update.withdrawn_routes") + mp_prefixes_of(m, "unreach")))
        return out

    def count(self, source, kind, subtype=None):
        return sum(1 for s, k, t, _, _ in self.messages() if s == source and k == kind and (subtype is None or t == subtype))


def prefixes_of(message, key):
    found = []

    def walk(v):
        if isinstance(v, dict):
            for k, x in v.items():
                if re.fullmatch(r"\d+\.\d+\.\d+\.\d+/\d+", k):
                    found.append(k)
                walk(x)
        elif isinstance(v, list):
            for x in v:
                walk(x)

    walk(message.get(key))
    return found


def mp_prefixes_of(message, kind):
    """Prefixes of MP_REACH_NLRI or MP_UNREACH_NLRI."""
    found = []

    def walk(v):
        if isinstance(v, dict):
            for k, x in v.items():
                if re.fullmatch(r"[0-9a-f:.]+/\d+", k) and isinstance(x, dict) and any(y.startswith("bgp.mp_%s_nlri_ip" % kind) for y in x):
                    found.append(k)
                walk(x)
        elif isinstance(v, list):
            for x in v:
                walk(x)

    walk(message.get("bgp.update.path_attributes"))
    return found


# ---- traffic ----

class Probe:
    """Numbered packets (tests/bench/probe.c) from the host src to destinations behind the hosts `to`, expected at the hosts of the bits `mask`: the
    first host is bit 1. A destination may be "ADDRESS CLASS", and a host "HOST:INTERFACE". `patience`: seconds for an answer of the probe. `pps` is the highest rate."""

    def __init__(self, lab, destinations, to, pps, mask=1, patience=30):
        path = lab.path("destinations")
        with open(path, "w") as f:
            f.writelines((d if " " in str(d) else "%s 0" % d) + "\n" for d in destinations)
        hosts = sum((["--to", "%s:%s" % (lab.netns(h), interface or "eth0")] for h, _, interface in (x.partition(":") for x in to)), [])
        self.out, self.patience = lab.logs, patience
        self.process = lab.spawn("probe", None, [PROBE, "--from", lab.netns("src"), *hosts, "--destinations", path, "--pps", str(pps), *SELF_CLOCKED, "--out", self.out], lines=True)
        self.machine = Machine(lab, self.process.popen.pid)
        self.say("mask 0 %d" % mask)

    def say(self, *lines):
        for text in lines:
            self.process.say(text)
            answer = self.process.line(self.patience)
            if answer is None or not answer.startswith("ok"):
                raise RuntimeError("probe: %s: %s" % (text, answer))

    def report(self):
        """What was sent, received, lost, misdirected and reordered until now."""
        self.say("report")
        return self.reported()

    def reported(self):
        with open(os.path.join(self.out, "probe.json")) as f:
            return json.load(f)

    def end(self, bound_s=Machine.GAP_S):
        """Stops; returns the last report. A gap that the router made and that is longer than `bound_s` (None: of any length) fails the test."""
        self.process.say("stop")
        self.process.popen.wait(PATIENCE_S)
        got = self.reported()
        stalls = self.machine.stop().stalls(got, float("inf") if bound_s is None else bound_s)
        if stalls:
            raise RuntimeError("the router forwarded nothing for %.2f s: %r" % stalls[0])
        return got


# ---- a speaker ----

class Speaker:
    """A scripted BGP speaker: 4-octet AS, route refresh, enhanced route refresh. Unless `silent` it answers keepalives, and other messages once in a
    tenth of the hold time: a peer that sends UPDATEs sends no keepalives (RFC 4271 4.4). on_refresh(speaker) runs for each ROUTE-REFRESH request. `rib` has the received routes: {prefix: attributes}."""

    def __init__(self, netns, source, to, asn, hold=90, capabilities=(2, 70), on_refresh=None, families=(V4,), identifier=None):
        self.netns, self.source, self.to, self.asn, self.hold, self.families = netns, source, to, asn, hold, families
        self.capabilities, self.on_refresh, self.silent = capabilities, on_refresh, False
        self.identifier = identifier or source
        self.lock = threading.Lock()

    def connect(self):
        """A connection with our OPEN sent; None if the other side refuses (idle hold)."""
        s = socket.socket(socket.AF_INET6 if ":" in self.source else socket.AF_INET)
        try:
            s.bind((self.source, 0))
            s.connect((self.to, 179))
        except OSError:
            s.close()
            return None
        self.sock, self.received, self.closed, self.established = s, [], False, threading.Event()
        self.rib, self.ended, self.withdrawn, self.alive = {}, set(), [], time.monotonic()
        caps = self.open_capabilities()
        try:
            self.send(OPEN, struct.pack(">BHH4sBBB", 4, min(self.asn, 23456) if self.asn > 65535 else self.asn, self.hold,
                                        socket.inet_aton(self.identifier), len(caps) + 2, 2, len(caps)) + caps)
        except OSError:
            s.close()
            return None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        return s

    def open_capabilities(self):
        caps = b"".join(struct.pack(">BBHBB", 1, 4, AFI[f], 0, 1) for f in self.families) + bytes([65, 4]) + struct.pack(">I", self.asn)
        return caps + b"".join(bytes([c, 0]) for c in self.capabilities)

    def up(self, timeout=60):
        """Tries until the session is established."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if in_netns(self.netns, self.connect) is not None:
                wait_for("an answer to OPEN", lambda: self.established.is_set() or self.closed, timeout)
                if self.established.is_set():
                    return self
            time.sleep(0.1)  # between attempts: the end of the peer's refusal is not signalled
        raise TimeoutError("the session of %s did not come up" % self.source)

    def send(self, kind, body=b""):
        with self.lock:
            self.sock.sendall(b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body)

    def refresh(self, subtype=0):
        self.send(ROUTE_REFRESH, struct.pack(">HBB", 1, subtype, 1))

    def read(self):
        data = b""
        try:
            while True:
                more = self.sock.recv(1 << 18)
                if not more:
                    break
                data, at = data + more, 0
                while len(data) - at >= 19:
                    end = at + int.from_bytes(data[at + 16:at + 18], "big")
                    if len(data) < end:
                        break
                    self.message(data[at + 18], data[at + 19:end])
                    at = end
                data = data[at:]
        except OSError:
            pass
        self.closed = True

    def message(self, kind, body):
        self.received.append((kind, body))
        late = self.established.is_set() and time.monotonic() > self.alive + self.hold / 10
        if kind == OPEN or ((kind == KEEPALIVE or late) and not self.silent):
            self.send(KEEPALIVE)
            self.alive = time.monotonic()
        if kind == KEEPALIVE:
            self.established.set()
        if kind == ROUTE_REFRESH and body[2] == 0 and self.on_refresh:
            self.on_refresh(self)
        if kind == UPDATE:
            self.learn(*decode(body))

    def learn(self, come, gone, route, end):
        for p in gone:
            self.rib.pop(p, None)
            self.withdrawn.append(p)
        for p in come:
            self.rib[p] = route
        if end:
            self.ended.add(end)

    def updates(self):
        """Received non-empty UPDATEs: End-of-RIB is empty."""
        return [body for kind, body in list(self.received) if kind == UPDATE and body != b"\0\0\0\0"]

    def close(self):
        """Closes the connection with a FIN, also while the reader waits in recv()."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join()
        self.sock.close()


# ---- pings ----

def ping(lab, name, host, *words):
    """A ping that runs until ping_end(), 50 requests a second."""
    return lab.spawn(name, host, ["ping", "-n", "-i", "0.02", *words])


def ping_end(process):
    """Ends a ping(): (answers, numbers of the lost requests). The last request may still be under way, so requests after the last answer count neither way."""
    process.stop(sig=signal.SIGINT)
    answered = {int(n) for n in re.findall(r" bytes from .*icmp_seq=(\d+)", process.logged())}
    return len(answered), sorted(set(range(1, max(answered, default=0) + 1)) - answered)


# ---- keeld ----

def peer(rpc, address):
    return next((p for p in rpc.call("bgp.peers")["peers"] if p["address"] == address), None)


def refresh_counters(rpc, address):
    return dict(peer(rpc, address)["families"][V4]["refresh"])


def routes(rpc, **params):
    """The routes of rib.routes, from all pages."""
    out, page = [], {}
    while True:
        r = rpc.call("rib.routes", family=V4, **params, **page)
        out += r["routes"]
        if "next" not in r:
            return out
        page = {"cursor": r["next"]}


def wait_established(rpc, *addresses, timeout=60, patience=PATIENCE_S):
    def up():
        now = {p["address"]: p["state"] for p in rpc.call("bgp.peers")["peers"]}
        return all(now.get(a) == "established" for a in addresses)
    wait_for("sessions with " + ", ".join(addresses), up, timeout, patience=patience)


def wait_job(rpc, job, timeout=60):
    def ended():
        j = rpc.call("jobs.get", id=job)
        return j if j["state"] != "running" else None
    return wait_for("end of job %s" % job, ended, timeout)


def commit(rpc, patch):
    rpc.call("config.edit", patch=patch)
    return rpc.call("config.commit")


def error_of(rpc, method, **params):
    """The error of a call that must fail; None after success."""
    try:
        rpc.call(method, **params)
    except RuntimeError as e:
        return json.loads(str(e).split(": ", 1)[1])
    return None


# ---- BIRD ----

def bird_routes(birdc, *words):
    """{prefix: {attribute in BIRD's form: value, "from": protocol}} of `show route all`."""
    out, at = {}, None
    for line in birdc("show", "route", "all", *words).splitlines():
        m = re.match(r"(\d+\.\d+\.\d+\.\d+/\d+)\s+(\w+)?\s*\[(\S+)", line)
        if m:
            at = out.setdefault(m.group(1), {})
            at["from"] = m.group(3)
        m = re.match(r"\s+(BGP\.[^:]+|Type|via): ?(.*)", line)
        if m and at is not None:
            at[m.group(1)] = m.group(2).strip()
    return out


def bird_state(birdc, protocol):
    """(state, since, information) of a protocol."""
    for line in birdc("show", "protocols", protocol).splitlines():
        words = line.split(None, 5)
        if words and words[0] == protocol:
            return words[3], words[4], (words[5] if len(words) > 5 else "")
    return None
