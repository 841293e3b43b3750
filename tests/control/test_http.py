#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Attacks on `management.http` of a real keeld by strangers: closed connections, unfinished requests, clients that do not read. Needs root (a
network namespace); else the exit status is 77.

usage: test_http.py KEELD
"""
import base64
import errno
import hashlib
import json
import os
import re
import select
import signal
import socket
import time

import keel_rig
from keel_rig import US, WAIT_S, KeelTest, in_namespace, unhurried

PORT = 9179
LIMIT = 64  # connections in total; a single address may have a quarter
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: keel\r\nAuthorization: Bearer secret\r\n\r\n"


class Http(KeelTest):
    def setUp(self):
        super().setUp()
        token = os.path.join(self.folder, "token")
        with open(token, "w") as f:
            f.write("secret\n")
        self.start({"router": {"asn": 64512, "router_id": US}, "management": {"http": "0.0.0.0:%d" % PORT, "http_token_file": token}, "bgp": {}})
        self.ask()  # the listener is ready

    def connect(self, source="127.0.0.1", target="127.0.0.1", buffer=None):
        def work():
            s = socket.socket()
            self.addCleanup(s.close)
            s.settimeout(WAIT_S)
            if buffer is not None:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            s.bind((source, 0))
            end = time.monotonic() + WAIT_S
            while s.connect_ex((target, PORT)) != 0:
                assert time.monotonic() < end, "nobody listens"
                time.sleep(0.02)
            return s
        return in_namespace(self.namespace, work)

    def ask(self, timeout=WAIT_S, **where):
        """The status line for a request on a new connection; an error without an answer within `timeout`."""
        s = self.connect(**where)
        s.settimeout(timeout)
        s.sendall(REQUEST)
        line = s.makefile("rb").readline()
        s.close()
        self.assertEqual(line, b"HTTP/1.1 200 OK\r\n")

    def status(self, request, **where):
        s = self.connect(**where)
        s.sendall(request)
        line = s.makefile("rb").readline()
        s.close()
        return int(line.split()[1])

    def test_reading_from_elsewhere_needs_the_token(self):
        """Without a token, or with a wrong one, only a client on the loopback reads."""
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "system.info"}'
        for head in (b"GET /metrics HTTP/1.1\r\nHost: localhost:9179\r\n%s\r\n",
                     b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1:9179\r\nContent-Length: " + str(len(body)).encode() + b"\r\n%s\r\n" + body):
            for authorization, here, elsewhere in ((b"", 200, 401), (b"Authorization: Bearer wrong\r\n", 401, 401), (b"Authorization: Bearer secret\r\n", 200, 200)):
                request = head.replace(b"%s", authorization)
                self.assertEqual(self.status(request), here, request)
                self.assertEqual(self.status(request, source=US, target=US), elsewhere, request)

    def answer(self, request, **where):
        """(status, headers, body)"""
        s = self.connect(**where)
        s.sendall(request)
        head, body = s.makefile("rb").read().split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        return int(lines[0].split()[1]), {k.lower(): v for k, v in (line.split(b": ", 1) for line in lines[1:])}, body

    def test_the_page(self):
        """The page comes without a token, also to other hosts, and its policy names exactly its script and its style."""
        request = b"GET / HTTP/1.1\r\nHost: keel\r\nConnection: close\r\n\r\n"
        status, headers, body = self.answer(request)
        self.assertEqual((status, headers[b"content-type"], headers[b"x-content-type-options"]), (200, b"text/html; charset=utf-8", b"nosniff"))
        self.assertEqual(self.answer(request, source=US, target=US)[2], body)
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "control", "http", "page.html"), "rb") as f:
            self.assertEqual(body, f.read())
        policy = {words[0]: words[1:] for words in (part.split() for part in headers[b"content-security-policy"].decode().split(";"))}
        for element in "script", "style":
            texts = re.findall(b"<%s>(.*?)</%s>" % (element.encode(), element.encode()), body, re.S)
            self.assertEqual(policy[element + "-src"], ["'sha256-%s'" % base64.b64encode(hashlib.sha256(t).digest()).decode() for t in texts])
        self.assertEqual((policy["default-src"], policy["connect-src"], policy["frame-ancestors"]), (["'none'"], ["'self'"], ["'none'"]))
        self.assertEqual(self.status(b"POST / HTTP/1.1\r\nHost: keel\r\nContent-Length: 0\r\n\r\n"), 405)

    def test_head(self):
        """HEAD has the status and the headers of GET, without the content (RFC 9110 9.3.2)."""
        for path in b"/", b"/healthz", b"/readyz", b"/metrics":
            request = b"%%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
            status, headers, body = self.answer(request % b"GET")
            head_status, head_headers, nothing = self.answer(request % b"HEAD")
            self.assertEqual((head_status, head_headers[b"content-type"], nothing), (status, headers[b"content-type"], b""), path)
            self.assertEqual(set(head_headers), set(headers))
        self.assertEqual(self.status(b"HEAD /rpc HTTP/1.1\r\nHost: localhost\r\n\r\n"), 405)
        self.assertEqual(self.status(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", source=US, target=US), 401)

    def test_the_origin_of_a_listener_on_all_addresses(self):
        """A page of this router may call, from each address of the router; a page of another server, or of a name, may not."""
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "system.info"}'
        head = b"POST /rpc HTTP/1.1\r\nHost: keel\r\nAuthorization: Bearer secret\r\nOrigin: %s\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        for target, origin, status in (("127.0.0.1", b"http://127.0.0.1:9179", 200), (US, b"http://%s:9179" % US.encode(), 200), (US, b"http://127.0.0.1:9179", 403),
                                       ("127.0.0.1", b"http://keel:9179", 403), (US, b"http://%s:9180" % US.encode(), 403), (US, b"null", 403)):
            self.assertEqual(self.status(head % origin, source=target, target=target), status, (target, origin))

    def test_a_host_of_another_name(self):
        """A name of a stranger that leads to a loopback address (DNS rebinding) reads nothing without the token."""
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "config.get"}'
        head = b"POST /rpc HTTP/1.1\r\nHost: %s\r\n%s" + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        machine = socket.gethostname().encode()
        for host, status in ((b"evil.example:9179", 403), (b"evil.example", 403), (b"127.0.0.1.evil.example:9179", 403), (b"localhost.evil.example", 403), (b"", 403),
                             (b"127.0.0.1:9179", 200), (b"127.0.0.1", 200), (b"localhost:9179", 200), (machine + b":9179", 200)):
            self.assertEqual(self.status(head % (host, b"")), status, host)
        self.assertEqual(self.status(head % (b"evil.example:9179", b"Authorization: Bearer secret\r\n")), 200)
        self.assertEqual(self.status(b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403)

    def test_a_fifo_instead_of_the_token(self):
        token = os.path.join(self.folder, "token")
        os.unlink(token)
        os.mkfifo(token)
        self.assertEqual(self.status(REQUEST), 401)
        self.keel.call("system.info")  # main does not wait for a writer
        self.wait("the reason in the log", lambda: "http-token-unreadable" in self.keel.log_text())

    def crowd(self, count):
        """Connections from as many addresses (192.0.2.0/24 is local in the namespace)."""
        return [self.connect(source="192.0.2.%d" % (100 + i), target=US) for i in range(count)]

    @staticmethod
    def begin_request(connections):
        for s in connections:
            try:
                s.sendall(REQUEST[:-2])
            except OSError:
                pass  # beyond the bounds: closed by keeld

    @staticmethod
    def children(pid):
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(word) for word in f.read().split()]

    def servers(self):
        """The two processes of keel-http: the one that starts the other, and the one that serves."""
        pids = []

        def found():
            pids[:] = self.children(self.keel.call("system.info")["pid"])
            pids.extend(pids and self.children(pids[0]))
            return len(pids) == 2
        self.wait("both processes of keel-http", found)
        return pids

    @staticmethod
    def mapped(pid):
        with open("/proc/%d/maps" % pid) as f:
            return {os.path.basename(line.split()[-1]).split(".so")[0] for line in f if ".so" in line}

    def test_only_used_libraries_are_loaded(self):
        """keeld loads no library of DPDK without a data plane, and never one of HTTP; without an HTTP server there is no keel-http."""
        keeld = self.keel.call("system.info")["pid"]
        self.assertEqual([m for m in self.mapped(keeld) if m.startswith(("librte_", "libbpf", "libmicrohttpd", "libgnutls"))], [])
        self.assertIn("libmicrohttpd", self.mapped(self.servers()[1]))
        self.end()
        self.start({"router": {"asn": 64512, "router_id": US}})
        self.assertEqual(self.children(self.keel.call("system.info")["pid"]), [])

    def test_keel_http_has_no_rights(self):
        """Another user than root, no capability, no gain by exec(), a filter of system calls; beside the socket to keeld and the listener no file or socket with a name."""
        status = {}
        pid = self.servers()[1]
        with open("/proc/%d/status" % pid) as f:
            status.update(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.assertNotIn("0", status["Uid"].split() + status["Gid"].split() + status["Groups"].split())
        self.assertEqual({int(status[k], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, {0})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        names = {os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)}
        self.assertEqual({n for n in names if n.startswith("/")}, {self.keel.log.name, os.readlink("/proc/self/fd/0")})

    def test_the_end_of_each_process(self):
        """kill -9: the serving process comes back, and goes on without the other one; without both clients are refused, and keeld goes on; after keeld nothing is left, and the next keeld serves."""
        first, second = self.servers()
        kept = self.connect()
        os.kill(second, signal.SIGKILL)
        self.assertEqual(kept.recv(1), b"")
        self.ask()
        self.assertIn("http-crashed", self.keel.log_text())
        again = self.servers()
        self.assertEqual((again[0], again[1] != second), (first, True))
        for pid in again:  # a unit sends it to all processes: keeld decides
            for each in (signal.SIGHUP, signal.SIGTERM):
                os.kill(pid, each)
        self.ask()
        kept = self.connect()
        os.kill(first, signal.SIGKILL)
        self.wait("the log line of the first process", lambda: 'http-crashed error="the process that starts keel-http again"' in self.keel.log_text())
        self.ask()
        kept.setblocking(False)
        with self.assertRaises(BlockingIOError):  # no connection was closed
            kept.recv(1)
        self.assertNotIn("http-ended", self.keel.log_text())
        os.kill(again[1], signal.SIGKILL)
        self.wait("the log line", lambda: "http-ended" in self.keel.log_text())
        with in_namespace(self.namespace, socket.socket) as s:
            self.assertEqual(s.connect_ex(("127.0.0.1", PORT)), errno.ECONNREFUSED)
        self.keel.call("system.info")
        self.keel.stop()
        self.keel.start()
        self.ask()
        pids = self.servers()
        os.kill(pids[0], signal.SIGKILL)
        self.keel.kill()
        for pid in pids:
            self.wait("the end of keel-http", lambda: not os.path.exists("/proc/%d" % pid))
        self.keel.start()
        self.ask()

    def test_a_port_in_use(self):
        """keeld starts, tries again, and serves when the port is free."""
        self.keel.stop()
        with in_namespace(self.namespace, socket.socket) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("0.0.0.0", PORT))
            other.listen()
            ups = self.keel.log_text().count("http-up")
            self.keel.start()
            self.wait("the log line", lambda: "http-failed" in self.keel.log_text())
        self.wait("the listener", lambda: self.keel.log_text().count("http-up") > ups)
        self.ask()

    def test_long_bodies(self):
        """256 KiB without a token, 16 MiB with one; a wrong token is refused, however long the body is."""
        call = b'{"jsonrpc": "2.0",\n"id": 1, "method": "system.info"}\n'
        for length, token, status in ((1 << 18, None, 200), ((1 << 18) + 1, None, 413), (16 << 20, b"secret", 200), ((16 << 20) + 1, b"secret", 413),
                                      (16 << 20, b"wrong", 401), (100, b"x" * 5000, 401)):
            head = b"" if token is None else b"Authorization: Bearer %s\r\n" % token
            self.assertEqual(self.status(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n" % (head, length) + call.ljust(length)), status, (length, token))

    def test_answers_without_content(self):
        """A notification has no answer, also within a batch; an empty body is no request."""
        for body, status in ((b'{"jsonrpc": "2.0", "method": "system.info"}', 204), (b'[{"jsonrpc": "2.0", "method": "system.info"}]', 204), (b"", 400), (b"{", 200),
                             (b'{"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"topics": ["alarm"]}}', 200)):
            code, _, text = self.answer(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.assertEqual((code, text[:17]), (status, b'{"jsonrpc":"2.0",' if status == 200 else b""), body)
            self.assertNotIn(b'"result"', text)

    def test_a_page_of_metrics_is_no_call(self):
        """Scrapes and probes do not count as calls of an operator."""
        before = self.keel.call("control.stats")["rpc"]
        for path in "/metrics", "/healthz", "/readyz":
            self.assertEqual(self.status(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()), 200)
        after = self.keel.call("control.stats")["rpc"]
        self.assertEqual((after["answered"] - before["answered"], after["refused"]), (1, before["refused"]))

    def test_connections_that_closed_leave_the_listener(self):
        """The attack: the maximum number of connections, closed at once; the next request is answered."""
        for count in (LIMIT, LIMIT + 8):
            for s in self.crowd(count):
                s.close()
            self.ask()
            self.ask(source=US, target=US)

    @unhurried
    def test_slow_headers_keep_nobody_out(self):
        """The attack: unfinished requests, from one address and from many. Another client, even with the attacker's address, is answered long
        before these connections time out."""
        begin = time.monotonic()
        one = [self.connect(source="127.0.0.%d" % (i + 1)) for i in range(LIMIT + 8)]
        self.begin_request(one)
        self.ask(source=US, target=US)
        self.ask()
        self.wait("the end of those beyond the share of an address", lambda: sum(map(self.alive, one)) < LIMIT // 4)
        left = sum(map(self.alive, one))
        self.in_time(begin + 9)  # later the time limit of requests may end connections
        self.assertGreater(left, 0)
        many = self.crowd(LIMIT + 8)
        self.begin_request(many)
        self.ask(source=US, target=US)
        self.ask()
        self.in_time(begin + 9)

    @staticmethod
    def alive(s):
        try:
            return not select.select([s], [], [], 0)[0] or s.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return False

    def test_the_end_during_a_batch(self):
        """keeld ends with status 0: a sanitizer finds no memory of the batches that were not finished."""
        batch = json.dumps([{"jsonrpc": "2.0", "id": i, "method": "rpc.discover"} for i in range(300)]).encode()
        clients = [self.connect() for _ in range(5)]
        for s in clients:
            s.sendall(b"POST /rpc HTTP/1.1\r\nHost: keel\r\nContent-Length: %d\r\n\r\n" % len(batch) + batch)
        self.ask()  # behind the first requests of the batches
        self.keel.stop()
        self.keel.start()

    def test_a_request_has_a_time_in_total(self):
        """The attacks: headers at an octet per second, a body likewise, and an answer read in single octets. No connection is idle; all are
        closed."""
        head, body, reader = self.connect(), self.connect(source=US, target=US), self.connect(buffer=4096)
        head.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        body.sendall(b"POST /rpc HTTP/1.1\r\nHost: keel\r\nContent-Length: 10000\r\n\r\n")
        batch = json.dumps([{"jsonrpc": "2.0", "id": i, "method": "rpc.discover"} for i in range(300)]).encode()
        reader.sendall(b"POST /rpc HTTP/1.1\r\nHost: keel\r\nContent-Length: %d\r\n\r\n" % len(batch) + batch)
        self.assertEqual(reader.recv(8), b"HTTP/1.1")
        begin, left, ended = time.monotonic(), {"head": head, "body": body, "reader": reader}, {}
        while left and time.monotonic() - begin < 60:
            for name, s in list(left.items()):
                if self.goes_on(s, name == "reader"):
                    continue
                ended[name] = time.monotonic() - begin
                del left[name]
            time.sleep(0.5)
        self.assertEqual(sorted(left), [], "still open; ended after %s s" % ended)

    @staticmethod
    def goes_on(s, reads):
        """Reads or sends one more octet. False: keeld has closed the connection (octets still buffered in the kernel do not count)."""
        poll = select.poll()
        poll.register(s, select.POLLIN)
        for _, events in poll.poll(0):
            if events & (select.POLLERR | select.POLLHUP):
                return False
        try:
            if reads:
                return s.recv(1) != b""
            s.sendall(b"x")
            return True
        except OSError:
            return False

    def test_a_kept_connection_is_answered_again(self):
        s = self.connect()
        for _ in range(3):
            s.sendall(REQUEST)
            f = s.makefile("rb")
            self.assertEqual(f.readline(), b"HTTP/1.1 200 OK\r\n")
            length = 0
            for line in iter(f.readline, b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            f.read(length)


if __name__ == "__main__":
    keel_rig.main()
