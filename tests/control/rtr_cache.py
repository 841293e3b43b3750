# SPDX-License-Identifier: BSD-3-Clause
"""An RPKI cache for tests (RFC 8210, RFC 6810), in a network namespace: any records, any serial, and faults on request."""
import ipaddress
import socket
import struct
import threading

from keel_rig import in_namespace

NOTIFY, SERIAL_QUERY, RESET_QUERY, RESPONSE, IPV4, IPV6, END, RESET, ERROR = 0, 1, 2, 3, 4, 6, 7, 8, 10


def record(version, roa, announce):
    prefix, longest, asn = roa
    net = ipaddress.ip_network(prefix)
    body = struct.pack(">BBBB", announce, net.prefixlen, longest, 0) + net.network_address.packed + struct.pack(">I", asn)
    return struct.pack(">BBHI", version, IPV4 if net.version == 4 else IPV6, 0, 8 + len(body)) + body


class Cache:
    """`roas`: a set of (prefix, maximum length, AS number). `answer`: how a query is answered, for faults."""

    def __init__(self, namespace, port, *roas, version=1, session=7, intervals=(3600, 600, 7200)):
        self.port, self.version, self.session, self.intervals = port, version, session, intervals
        self.history = {0: frozenset(roas)}  # serial -> records
        self.serial = 0
        self.lock = threading.RLock()
        self.connections, self.queries, self.errors, self.threads = [], [], [], []
        self.fault = None  # a function of (cache, connection, query type): instead of the answer
        self.changed = threading.Condition(self.lock)
        self.listener = in_namespace(namespace, self.listen)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def listen(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", self.port))
        s.listen()
        return s

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.append(s)
            self.threads.append(threading.Thread(target=self.serve, args=(s,), daemon=True))
            self.threads[-1].start()

    def serve(self, s):
        f = s.makefile("rb")
        try:
            while True:
                header = f.read(8)
                if len(header) < 8:
                    return
                version, kind, code, length = struct.unpack(">BBHI", header)
                body = f.read(length - 8)
                with self.changed:
                    if kind == ERROR:
                        self.errors.append(code)
                    else:
                        self.queries.append((version, kind, code, struct.unpack(">I", body)[0] if body else None))
                    self.changed.notify_all()
                if kind != ERROR:
                    (self.fault or Cache.answer)(self, s, version, kind, code, body)
        except OSError:
            pass  # keeld has closed the connection
        finally:
            f.close()
            s.close()

    def answer(self, s, version, kind, session, body):
        if version > self.version:
            version = self.version
        with self.lock:
            now, was = self.history[self.serial], frozenset()
            if kind == SERIAL_QUERY:
                serial = struct.unpack(">I", body)[0]
                if session != self.session or serial not in self.history:
                    s.sendall(struct.pack(">BBHI", version, RESET, 0, 8))
                    return
                was = self.history[serial]
            out = struct.pack(">BBHI", version, RESPONSE, self.session, 8)
            out += b"".join(record(version, r, 0) for r in was - now) + b"".join(record(version, r, 1) for r in now - was)
            out += self.end(version)
            s.sendall(out)  # a Serial Notify comes before the answer with its records, or after the answer without

    def end(self, version):
        if version == 0:
            return struct.pack(">BBHII", 0, END, self.session, 12, self.serial)
        return struct.pack(">BBHIIIII", version, END, self.session, 24, self.serial, *self.intervals)

    def set(self, *roas, notify=True):
        with self.lock:
            self.serial += 1
            self.history[self.serial] = frozenset(roas)
            out = struct.pack(">BBHII", self.version, NOTIFY, self.session, 12, self.serial)
            for s in self.connections if notify else ():
                try:
                    s.sendall(out)
                except OSError:
                    pass

    def restart(self, *roas):
        """A new session without history; ends all connections."""
        with self.lock:
            self.session, self.serial, self.history = self.session + 1, 40, {40: frozenset(roas)}
        self.hang_up()

    def hang_up(self):
        with self.lock:
            for s in self.connections:
                try:
                    s.shutdown(socket.SHUT_RDWR)  # its thread closes the socket
                except OSError:
                    pass  # already closed
            self.connections = []

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.thread.join()
        self.hang_up()
        for t in self.threads:
            t.join()
