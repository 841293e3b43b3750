# SPDX-License-Identifier: BSD-3-Clause
"""A BMP collector for tests (RFC 7854, RFC 9069), in a network namespace: decodes every message and keeps the tables that the messages describe."""
import ipaddress
import socket
import struct
import threading
import time

from keel_rig import UPDATE, attributes, in_namespace, nlri_of

ROUTE, STATISTICS, DOWN, UP, INITIATION, TERMINATION = range(6)
GLOBAL, INSTANCE, LOCAL, LOC = range(4)
IPV6, POST, AS2, OUT = 0x80, 0x40, 0x20, 0x10


def tlvs(b):
    found = []
    while b:
        kind, length = struct.unpack(">HH", b[:4])
        found.append((kind, b[4:4 + length]))
        b = b[4 + length:]
    return found


def as_path(value, octets=4):
    numbers = []
    while value:
        numbers += struct.unpack(">%d%s" % (value[1], {2: "H", 4: "I"}[octets]), value[2:2 + octets * value[1]])
        value = value[2 + octets * value[1]:]
    return " ".join(map(str, numbers))


class Collector:
    """One connection at a time. `reads`: False stalls. `by_rd`: tables name a VPN route by its distinguisher, too."""

    def __init__(self, namespace, port, reads=True, address="127.0.0.1", by_rd=False):
        self.port, self.address, self.by_rd = port, address, by_rd
        self.changed = threading.Condition()
        self.connections = 0
        self.last_s = 0  # time of the last message
        self.reads = threading.Event()
        if reads:
            self.reads.set()
        self.sock = self.fault = None
        self.forget()
        self.listener = in_namespace(namespace, self.listen)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def forget(self):
        self.messages = []  # (type, peer, body)
        # peer: the address, or LOC; of an instance (peer type, distinguisher, address or LOC)
        self.tables = {}  # (peer, flags of the view) -> {prefix: attributes}
        self.peers = {}  # peer -> the body of Peer Up
        self.ends = []  # (peer, flags, (AFI, SAFI))
        self.vain = []  # (peer, flags, prefix): withdrawals of what was not announced

    def listen(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        s.bind((self.address, self.port))
        s.listen()
        return s

    def accept(self):
        while True:
            try:
                self.sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.forget()
                self.connections += 1
                self.changed.notify_all()
            try:
                with self.sock.makefile("rb") as f:
                    while True:
                        self.reads.wait()
                        header = f.read(6)
                        if len(header) < 6:
                            break
                        version, length, kind = struct.unpack(">BIB", header)
                        body = f.read(length - 6)
                        if len(body) < length - 6:
                            break
                        assert version == 3, version
                        with self.changed:
                            self.take(kind, body)
                            self.last_s = time.monotonic()
                            self.changed.notify_all()
            except OSError:
                pass
            except Exception as e:
                self.fault = e  # close() raises it
                return
            finally:
                self.sock.close()

    def take(self, kind, body):
        peer = None
        if kind < INITIATION:
            of, flags, rd, address, asn, identifier, sec, usec = struct.unpack(">BBQ16sIIII", body[:42])
            assert of in (GLOBAL, INSTANCE, LOCAL, LOC) and (rd == 0) == (of == GLOBAL or (of == LOC and rd == 0)) and usec < 1000000, body[:42]
            assert abs(sec - time.time()) < 3600, sec
            text = str(ipaddress.ip_address(address if flags & IPV6 and of != LOC else address[12:])) if of != LOC else LOC
            peer, body = text if rd == 0 else (of, rd, text), body[42:]
        self.messages.append((kind, peer, body))
        if kind == UP:
            assert peer not in self.peers, "%s is up already" % peer
            self.peers[peer] = body
        elif kind == DOWN:
            assert peer in self.peers, "%s is not up" % peer
            del self.peers[peer]
            self.tables = {k: v for k, v in self.tables.items() if k[0] != peer}
        elif kind == ROUTE:
            assert peer in self.peers, "routes of %s before Peer Up" % peer
            self.update(peer, flags & ~IPV6, body)

    def names(self, b, afi=1, safi=1):
        return {rd.hex() + p if self.by_rd else p for p, rd, _ in nlri_of(b, afi, safi)}

    def update(self, peer, flags, pdu):
        assert pdu[:16] == b"\xff" * 16 and struct.unpack(">HB", pdu[16:19]) == (len(pdu), UPDATE), pdu[:19]
        b = pdu[19:]
        table = self.tables.setdefault((peer, flags), {})
        n = struct.unpack(">H", b[:2])[0]
        end = 4 + n + struct.unpack(">H", b[2 + n:4 + n])[0]
        withdrawn, announced, a = self.names(b[2:2 + n]), self.names(b[end:]), dict(attributes(b[4 + n:end]))
        if b == bytes(4):
            self.ends.append((peer, flags, (1, 1)))
        if 14 in a:
            v = a[14]
            announced |= self.names(v[5 + v[3]:], v[1], v[2])
            hop = v[4:4 + v[3]][8 if v[2] == 128 else 0:]
            a["next_hop"] = str(ipaddress.ip_address(hop[:4 if len(hop) == 4 else 16]))
        if 15 in a:
            withdrawn |= self.names(a[15][3:], a[15][1], a[15][2])
            if len(a[15]) == 3:
                self.ends.append((peer, flags, (a[15][1], a[15][2])))
        if 3 in a:
            a["next_hop"] = str(ipaddress.ip_address(a[3]))
        self.vain += [(peer, flags, p) for p in withdrawn if p not in table]
        for p in withdrawn:
            table.pop(p, None)
        for p in announced:
            table[p] = {"as_path": as_path(a[2], 2 if flags & AS2 else 4), "origin": ("igp", "egp", "incomplete")[a[1][0]], "next_hop": a["next_hop"],
                        "local_pref": struct.unpack(">I", a[5])[0] if 5 in a else None, "med": struct.unpack(">I", a[4])[0] if 4 in a else None}

    def rest(self, quiet_s=0.2, patience_s=20):
        """Waits until no message came for some time, or not longer than `patience_s`."""
        end = time.monotonic() + patience_s
        while (now := time.monotonic()) < min(end, self.last_s + quiet_s):
            time.sleep(min(end, self.last_s + quiet_s) - now)

    def table(self, peer, flags=0):
        return self.tables.get((peer, flags), {})

    def drop(self):
        self.sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.reads.set()
        while self.thread.is_alive():  # a connection may have come meanwhile
            if self.sock is not None:
                try:
                    self.drop()
                except OSError:
                    pass
            self.thread.join(0.1)
        if self.fault:
            raise self.fault
