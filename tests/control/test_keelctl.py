#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""keelctl against two real daemons that peer with each other, each in a separate network namespace (needs root: otherwise only the tests without a
daemon run, and the exit status is 77).

usage: test_keelctl.py KEELCTL KEELD
"""
import json
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from keelctl_lab import KEELCTL, Pair, Shell, keelctl, on_terminal, run_tests

NETWORKS = 2500  # more than two pages of `show route`
NETWORKS_V6 = ["2001:db8:%x::/48" % i for i in range(1, 4)]


class Usage(unittest.TestCase):
    def fails(self, status, text, *words, **options):
        got, out, err = keelctl(*words, **options)
        self.assertEqual((got, out), (status, ""), err)
        self.assertIn(text, err)

    def test_help_and_version(self):
        status, out, err = keelctl("--help")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("refresh bgp", out)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)
        status, out, err = keelctl("--version")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"^keelctl \d+\.\d+\.\d+\n$")

    def test_bad_usage(self):
        self.fails(2, "keelctl --help", "--nonsense")
        self.fails(2, 'word 3 "extenal"', "refresh", "bgp", "extenal", "import")
        self.fails(2, "ambiguous: route, rib, refresh or rpki", "show", "r")
        self.fails(2, 'command 2: word 1 "bpg"', "system-view; bpg 64512")
        self.fails(2, 'command 1: word 1 "frob"', "frob;show rib")
        self.fails(2, "command 1: word 3: a quote or a bracket is not closed", 'commit comment "x')
        self.fails(2, "line 1, column", "rpc", "jobs.get", "{nonsense")
        self.fails(2, "line 1, column", "rpc", "jobs.get", "-", stdin="{\"id\":")

    def test_standard_input(self):
        self.assertEqual(keelctl(stdin=""), (0, "", ""))
        self.assertEqual(keelctl(stdin="# nothing\n\n  ; ;\nsystem-view; return; quit\nfrob\n"), (0, "", ""))
        status, out, err = keelctl(stdin="# a\nsystem-view\n\nquit; frob\nshow rib\n")
        self.assertEqual((status, out), (2, ""))
        self.assertRegex(err, r'^frob\n\^\nline 4: word 1 "frob": expected rpc, [^\n]+\n$')

    def test_the_place_of_a_wrong_word(self):
        """The line again, and `^` below the first octet of the wrong word, in columns of a terminal."""
        for line, shown, at in (("refresh bgp extenal import", None, 12), ("show\tbgp  peer x", None, "    \t" + 10 * " "),
                                ('commit comment "b\u00fcro" frob', None, 22), ("commit comment \u6f22\u5b57 frob", None, 20), ("commit comment a\u0301 frob", None, 17),
                                ("show fib  x # why", "show fib  x", 10), ("rollback # which", "rollback", 9), ("show history 1 2 | count 1", None, 15), ("rollback | count 1", None, 9), ("rollback  ", "rollback", 9),
                                ("commit comment 'x", None, 15), ("show route peer 192.0.2.2 rec adv", None, 26), ("watch show frob now", "show frob now", 5), ("display bgp routing-table 10.0.0.1 24", None, 26)):
            pad = at if isinstance(at, str) else at * " "
            for words, text in (([], line), ([line], None)):
                status, out, err = keelctl(*words, stdin=text)
                self.assertEqual((status, out, err.split("\n")[:2]), (2, "", [shown or line, pad + "^"]), line)
                self.assertRegex(err.split("\n")[2], "^(line|command) 1: ", line)
        status, out, err = keelctl("refresh", "bgp", "all", "im", "out")
        self.assertEqual((status, out, err), (2, "", "refresh bgp all im out\n                   ^\nkeelctl: word 5 \"out\": expected wait\n"))
        self.assertEqual(keelctl("rollback")[2].split("\n")[:2], ["rollback", "         ^"])
        self.assertLess(max(map(len, keelctl("commit comment %s frob %s" % (900 * "x", 900 * "y"))[2].split("\n"))), 500)

    def test_no_message_has_a_password(self):
        """Octets of the same number stand for it, so that `^` keeps its column; text that is not plain words is not repeated."""
        for line, shown in (("peer 192.0.2.2 password simple S3cret x", "peer 192.0.2.2 password ****** ****** *\n^\n"),
                            ("peer 192.0.2.2 password simple 'S3cret", "peer 192.0.2.2 password ****** *******\n                               ^\n"),
                            ("neighbor 192.0.2.2 PASSWORD S3cret x", "neighbor 192.0.2.2 PASSWORD ****** *\n^\n"), ("set /bgp/peers/0/password S3cret x", ""),
                            ('rpc config.edit {"value":"S3cret","path":"/bgp/peers/0/password"} x', ""), ('rpc config.edit {"value":"S3cret","path":"/bgp/peers/0/password"', ""),
                            ('frob {"password":"S3cret"}', ""), ('{"password":"S3cret"}', "")):
            for words, text in (((), line), ((line,), None), (line.split(), None)):
                status, out, err = keelctl(*words, stdin=text)
                self.assertNotIn("cret", out + err, line)
                if len(words) < 2:
                    self.assertRegex(err, "^%s(line 1|command 1|keelctl): " % re.escape(shown))

    def test_no_message_quotes_json(self):
        for text in ('{"password" "S3cret"}', '{"password": S3cret}', '{"password": "S3cret" 1}', '{"password": "S3cret", "password": "S3cret"}'):
            for words, stdin in ((("rpc", "config.edit", text), None), (("rpc", "config.edit", "-"), text), ((), "rpc config.edit " + text)):
                status, out, err = keelctl(*words, stdin=stdin)
                self.assertEqual((status, out), (2, ""))
                self.assertNotIn("cret", err)

    def interrupted_list(self, words, end):
        """The run of keelctl with a daemon that answers one page of a list, then calls end(keelctl)."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(folder + "/k")
            listener.listen(1)
            p = subprocess.Popen([KEELCTL, "--socket", folder + "/k"] + words.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

            def serve():
                c, _ = listener.accept()
                with c, c.makefile("rw") as f:
                    rows = [["192.0.2.0/24", None, "192.0.2.2", None, 100, None, "", "igp", True, True] + 4 * [None]]
                    f.write(json.dumps({"id": json.loads(f.readline())["id"], "result": {"rows": rows, "routes": [], "next": "more", "count": 7}}) + "\n")
                    f.flush()
                    f.readline()
                    end(p)

            t = threading.Thread(target=serve)
            t.start()
            out, err = p.communicate(timeout=60)
            t.join()
            return p.returncode, out, err

    def test_an_interrupted_list_is_dropped(self):
        def interrupt(p):
            p.send_signal(signal.SIGINT)
            p.wait(60)

        for words, count in (("show route", "1 path"), ("show route terse", "1 path"), ("show route count", "7 paths")):
            lost = self.interrupted_list(words, lambda p: None)
            self.assertEqual((lost[:2], lost[2].split("\n")[1]), ((3, ""), "keelctl: interrupted after " + count), lost)
            status, out, err = self.interrupted_list("watch " + words, interrupt)
            self.assertEqual((status, out, err.split("\n")[1]), (1, "", "keelctl: interrupted after " + count), err)

    def test_the_best_routes_of_a_table(self):
        """`display ip routing-table` and `display ipv6 routing-table` ask for the best routes, `display bgp routing-table` for all."""
        for line, best in (("display ip routing-table", True), ("display ipv6 routing-table", True), ("display bgp ipv6 routing-table", None), ("show route best", True)):
            with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
                listener.bind(folder + "/k")
                listener.listen(1)
                p = subprocess.Popen([KEELCTL, "--socket", folder + "/k"] + line.split(), stdout=subprocess.PIPE, text=True)
                c, _ = listener.accept()
                with c, c.makefile("rw") as f:
                    request = json.loads(f.readline())
                    f.write(json.dumps({"id": request["id"], "result": {"rows": [], "routes": []}}) + "\n")
                    f.flush()
                    self.assertEqual((p.communicate(timeout=60)[0], request["params"].get("best")), ("no route\n", best), line)

    def test_no_daemon(self):
        self.fails(3, "no daemon at /nonexistent/keel.sock", "show", "version")
        self.fails(3, "no daemon at /elsewhere/k", "show", "version", sock=None, env={"KEEL_SOCKET": "/elsewhere/k"})
        self.fails(3, "no daemon at", "show", "version", sock="/" + "x" * 200)

    def test_a_terminal_obeys_no_word_of_ours(self):
        self.assertNotIn("\033", keelctl("\033[31mred")[2])


def document(me, peer, asn, peer_asn, networks):
    return {
        "router": {"asn": asn, "router_id": me},
        "prefix_lists": [{"name": "some", "entries": [{"action": "permit", "prefix": "100.3.0.0/16", "le": 32}]}],
        "route_policies": [{"name": "mark", "nodes": [
            {"seq": 10, "action": "permit", "match": {"prefix_list": "some"}, "set": {"communities": {"add": ["64513:3"]}}},
            {"seq": 20, "action": "permit"}]}],
        "bgp": {"networks": [{"prefix": n} for n in networks],
                "peers": [{"address": peer, "asn": peer_asn, "description": "b\u00fcro",
                           "families": {f: {"import_policy": "accept-all", "export_policy": "mark"}
                                        for f in ("ipv4-unicast", "ipv6-unicast")}},
                          {"address": "192.0.2.99", "asn": 64999, "passive": True}]},
    }


def network(i):
    return "100.%d.%d.0/24" % (i // 256, i % 256)


class Daemons(Pair):
    @classmethod
    def documents(cls):
        networks = [network(i) for i in range(NETWORKS)] + NETWORKS_V6
        return [document(cls.ADDRESSES[i], cls.ADDRESSES[1 - i], 64512 + i, 64513 - i, networks if i == 1 else []) for i in range(2)]

    @classmethod
    def received(cls, family="ipv4-unicast"):
        status, out, _ = cls.ctl("--json show bgp summary")
        return status == 0 and json.loads(out)["peers"][0]["families"][family]["received"]

    @classmethod
    def complete(cls):
        # received routes are best once the fib thread has answered for the next hop
        return cls.received() == NETWORKS and cls.received("ipv6-unicast") == len(NETWORKS_V6) and \
            [cls.ctl("show route %sbest count" % f)[1] for f in ("", "ipv6 ")] == ["%d paths\n" % n for n in (NETWORKS, len(NETWORKS_V6))]

    def test_summary(self):
        out = self.narrow("show bgp summary")
        self.assertRegex(out, r"(?m)^192\.0\.2\.2 +64513 +established +\d\d:\d\d:\d\d +2500 +2500 +0 +ipv4-unicast$")
        self.assertIn("2 peers, 1 established", out)
        self.assertIn("192.0.2.99 ipv4-unicast: no import policy", out)
        self.assertEqual(out.split("\n")[1:2], self.good("dis b sum").split("\n")[1:2])

    def test_peer(self):
        out = self.narrow("show bgp peer 192.0.2.2")
        self.assertIn("AS 64513, external", out)
        self.assertIn("b\u00fcro", out)
        self.assertRegex(out, r"route_refresh +yes +yes +yes")
        self.assertIn("2500 received, 2500 accepted, 0 rejected", out)
        peers = json.loads(self.good("--json show bgp peer 192.0.2.2"))["peers"]
        self.assertEqual([p["address"] for p in peers], ["192.0.2.2"])
        status, out, err = self.ctl("show bgp peer 192.0.2.55")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("no peer 192.0.2.55", err)

    def test_routes_follow_the_pages(self):
        routes = json.loads(self.good("show route --json"))["routes"]
        self.assertEqual(sorted(r["prefix"] for r in routes), sorted(map(network, range(NETWORKS))))
        lines = self.narrow("show route").splitlines()
        self.assertEqual(sum(line.startswith("*> 100.") for line in lines), NETWORKS)
        self.assertEqual([line.split()[1] for line in lines if line.startswith("*> 100.")], list(map(network, range(NETWORKS))))
        for words in ("terse", "detail", "100.0.0.0/8 longer terse", "peer 192.0.2.2 terse"):
            found = re.findall(r"(?m)^(100\.\S+)", self.good("show route " + words))
            self.assertEqual(found, list(map(network, range(NETWORKS))), words)
        self.assertRegex(lines[2], r"^\*> 100\.\S+ +192\.0\.2\.2 +192\.0\.2\.2 +- +\S+  64513 [ie?]$")
        self.assertEqual(len(json.loads(self.good("show route 100.1.0.0/16 longer --json"))["routes"]), 256)

    def test_selectors_of_the_daemon(self):
        """Each selects the same routes as the same condition on all routes."""
        every = json.loads(self.good("--json show route"))["routes"]
        for words, condition in (("community 64513:3", lambda r: "64513:3" in r.get("communities", [])), ("as-path ^64513$", lambda r: r["as_path"] == "64513"),
                                 ("as-path _64999_", lambda r: False), ("best", lambda r: r["best"]), ("community 64513:9", lambda r: False)):
            wanted = sorted(r["prefix"] for r in every if condition(r))
            self.assertEqual(len(wanted), {"community 64513:3": 256, "as-path ^64513$": NETWORKS, "best": NETWORKS}.get(words, 0))
            got = json.loads(self.good("--json show route " + words))["routes"]
            self.assertEqual(sorted(r["prefix"] for r in got), wanted, words)
            self.assertEqual(self.good("show route %s count" % words), "%d path%s\n" % (len(wanted), "s" if len(wanted) != 1 else ""))
            self.assertEqual(json.loads(self.good("--json show route %s count" % words)), {"routes": [], "count": len(wanted)})
        self.assertEqual(self.good("display bgp routing-table statistics"), "%d paths\n" % NETWORKS)
        self.assertEqual(self.good("show route peer 192.0.2.1 advertised count", side=1), "%d paths\n" % NETWORKS)
        self.assertEqual(self.good("display bgp routing-table peer 192.0.2.1 advertised-routes", side=1).count("\n*> 100."), NETWORKS)
        status, out, err = self.ctl("show route as-path [")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("is not a regular expression", err)
        # The octets of the path in thirty parts: a local user cannot stall keeld.
        status, out, err = self.ctl("show route as-path ^%s[({]$" % (30 * "([0-9]*)"))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("takes too many steps", err)
        self.assertNotIn("policy", self.good("show version").lower())
        self.assertIn("is not a community", self.ctl("show route community 1:2:3:4")[2])

    def test_terse_and_detail(self):
        lines = self.good("show route terse").splitlines()
        self.assertEqual(sorted(line.split()[0] for line in lines), sorted(map(network, range(NETWORKS))))
        self.assertEqual(self.good("show route detail").count("AS path"), NETWORKS)
        self.assertIn("100.1.2.0/24, 1 path\n", self.good("display bgp routing-table 100.1.2.0 255.255.255.0"))
        status, out, err = self.ctl("display bgp routing-table peer 192.0.2.2 received-routes")
        self.assertEqual((status, out.count("\n*> 100.")), (0, NETWORKS), err)
        self.assertEqual(err, "routes after the import policy: 192.0.2.2 has no keep-all-routes\n")

    def test_filters_of_the_output(self):
        every = self.good("show route").splitlines()
        for words, wanted in (("include ' 100\\.1\\.'", [line for line in every if " 100.1." in line]), ("exclude 100", [line for line in every if "100" not in line]),
                              ("begin 100\\.9\\.100", every[next(i for i, line in enumerate(every) if "100.9.100" in line):]), ("count 100", [str(NETWORKS)]),
                              ("include nothing at all", [])):
            status, out, err = self.ctl(["show route | " + words])
            self.assertEqual((status, err), (0, ""), words)
            self.assertEqual(out.splitlines(), wanted, words)
        self.assertEqual(self.ctl(["show", "rib", "|", "count", "ipv4-unicast"])[1], "1\n")
        # One after the other; `count` without a text counts all lines; each command that prints has them.
        self.assertEqual(self.good(["show route | include ' 100\\.1\\.' | exclude '\\.7\\.0/24' | count"]), "255\n")
        self.assertEqual(self.good(["show route | begin 100\\.9\\.100 | count 100\\.9"]),
                         "%d\n" % sum("100.9" in line for line in every[next(i for i, line in enumerate(every) if "100.9.100" in line):]))
        for words in ("show rib", "show version", "show configuration", "display current-configuration", "show policy", "show bgp peer 192.0.2.2", "show threads",
                      "show history", "show route 100.1.2.0/24", "show route 100.1.2.0/24 fate", "preview", "help", "rpc system.info", "show refresh"):
            said = self.good([words])
            self.assertEqual(self.good([words + " | count"]), "%d\n" % said.count("\n"), words)
        shell = Shell(self.sockets[0], self.dir)
        self.addCleanup(shell.end)
        shell.keys("watch show rib | count unicast\n", r"\n4\n$")
        shell.keys("\x03", r"<keel> $")
        for words in ("| include", "| frob x", "| include (", "|", "| count |", "| count | count | count | count | count"):
            self.assertEqual(self.ctl(["show rib " + words])[:2], (2, ""), words)
        self.assertEqual(self.ctl(["show frob | include x"])[0], 2)
        for words, said in (("| frob x", 'word 1 "frob": expected include, exclude, begin or count'), ("| include", 'expected TEXT after "include"')):
            self.assertEqual(self.ctl(["show rib " + words])[2], "command 1: after \"|\": " + said + "\n")
        status, out, _ = keelctl(sock=self.sockets[0], stdin="show rib | count unicast\nshow version | include keeld\n")
        self.assertEqual((status, len(out.splitlines())), (0, 2))

    def test_a_pager_in_the_shell(self):
        """The output stops after a screen of 50 lines; q ends it, and the shell continues."""
        shell = Shell(self.sockets[0], self.dir)
        self.addCleanup(shell.end)
        said = shell.keys("show route\n", r"-- more: space, Enter, q --$")
        self.assertEqual(said.count("\n*> 100."), 47)
        self.assertEqual(shell.keys("\n", r"-- more: space, Enter, q --$").count("*> 100."), 1)
        self.assertEqual(shell.keys(" ", r"-- more: space, Enter, q --$").count("*> 100."), 49)
        shell.keys("q", r"<keel> $")
        for _ in range(50):  # a key may come before the terminal is asked for keys
            shell.keys("show route\n", r"-- more: space, Enter, q --$")
            shell.keys("\x03", r"<keel> $")
        for _ in range(10):  # while the first screen is printed
            shell.keys("show route\n", r"\*> 100\.")
            shell.keys("\x03", r"<keel> $")
        self.assertEqual(shell.line("show route count")[0], "2500 paths")
        self.assertEqual(shell.line("show route | count 100")[0], "2500")

    def test_a_refused_header_leaves_the_node(self):
        """Lines behind a refused `route-policy` must not edit the node before."""
        shell = Shell(self.sockets[0], self.dir)
        self.addCleanup(shell.end)
        shell.line("system-view")
        self.assertEqual(shell.line("route-policy a permit node 10")[1], "[*keel-route-policy-a-10]")
        said, prompt = shell.line("route-policy 1b deny node 10")
        self.assertIn('word 2 "1b": expected NAME', said)
        self.assertEqual(prompt, "[*keel]")
        for line in ("#", "route-policy a permit node 0", "route-pol 1b deny node 10", "route-map x permit 20"):
            shell.line("route-policy a permit node 10")
            self.assertEqual(shell.line(line)[1], "[*keel]", line)
        shell.line("route-policy a permit node 10")
        self.assertEqual(shell.line("# a comment")[1], "[*keel-route-policy-a-10]")
        shell.line("route-policy a permit node 10")
        self.assertEqual(shell.line("undo route-policy a")[1], "[~keel]")

    def test_long_show_on_a_terminal(self):
        """A progress line, erased before the next page; absent in a pipe."""
        status, shown = on_terminal("show", "route", sock=self.sockets[0])
        self.assertEqual(status, 0)
        self.assertIn("\r\033[K1000 paths, more follow\r\033[K", shown)
        self.assertTrue(shown.endswith("2500 paths\r\n"))
        self.assertNotIn("follow", self.good("show route"))

    def test_one_route(self):
        for words in ("100.1.2.0/24", "100.1.2.3", "100.1.2.0/24 peer 192.0.2.2"):
            out = self.narrow("show route " + words)
            self.assertIn("100.1.2.0/24, 1 path\n", out)
            self.assertRegex(out, r"AS path +64513 ")
        self.assertEqual(self.good("show route 101.0.0.0/8"), "no route\n")
        self.assertEqual(self.good("show route 101.0.0.1"), "no route\n")
        sent = json.loads(self.good("--json show route peer 192.0.2.1 advertised", side=1))["routes"]
        self.assertEqual(len(sent), NETWORKS)
        self.assertIn("  to 192.0.2.1\n", self.good("show route 100.1.2.0/24 peer 192.0.2.1 advertised", side=1))
        status, out, err = self.ctl("show route peer 192.0.2.55")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "keelctl: there is no peer 192.0.2.55\n")
        status, out, err = self.ctl("--json show route peer 192.0.2.55")
        self.assertEqual((status, err), (1, "keelctl: rib.routes: Not found: /peer: there is no peer 192.0.2.55 (-32004)\n"))

    def test_reader_that_goes_away(self):
        p = subprocess.Popen([KEELCTL, "--socket", self.sockets[0], "show", "route"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        p.stdout.read(100)
        p.stdout.close()
        self.assertEqual((p.wait(60), p.stderr.read()), (0, b""))
        p.stderr.close()

    def test_no_message_has_a_password(self):
        for line in ("pas sim S3cret x", "pasword simple S3cret", "pssword S3cret", "password S3cret", "password simple S3cret x", "password simple a S3cret"):
            status, out, err = keelctl(sock=self.sockets[0], stdin="system-view; bgp 64512; peer 192.0.2.2 " + line)
            self.assertEqual((status, out), (2, ""), err)
            self.assertNotIn("cret", err)
            self.assertRegex(err, r"^peer 192.0.2.2 \S+ [* ]+\n +\^\nline 1: word ")

    def test_full_disk(self):
        for words in ("", "| include .", "| count"):
            with open("/dev/full", "w") as full:
                p = subprocess.run([KEELCTL, "--socket", self.sockets[0], "show", "route"] + words.split(), stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual((p.returncode, p.stderr), (1, "keelctl: standard output: No space left on device\n"), words)

    def test_a_reader_that_ends_is_no_error(self):
        p = subprocess.run("'%s' --socket '%s' show route '|' include . 2>&1 | head -1; echo ${PIPESTATUS[0]}" % (KEELCTL, self.sockets[0]), shell=True,
                           executable="/bin/bash", capture_output=True, text=True)
        self.assertEqual(p.stdout, "*> best, * valid, S stale\n0\n")

    def test_no_room_for_a_list(self):
        """No temporary file, and one that ends after an octet: the error, and no part of the list."""
        for limit, value, text in ((resource.RLIMIT_NOFILE, 4, "Too many open files"), (resource.RLIMIT_FSIZE, 1, "File too large")):
            p = subprocess.run([KEELCTL, "--socket", self.sockets[0], "show", "route"], capture_output=True, text=True, timeout=60, restore_signals=False,
                               preexec_fn=lambda: resource.setrlimit(limit, (value, value)))
            self.assertEqual((p.returncode, p.stdout, p.stderr), (1, "", "keelctl: cannot keep the list in memory and /tmp: %s\n" % text))

    def test_refresh(self):
        result = json.loads(self.good("--json refresh bgp 192.0.2.2 import"))
        self.assertEqual([p["action"] for p in result["peers"]], ["route-refresh-sent"])
        self.wait("end of the job", lambda: json.loads(self.good(
            ["rpc", "jobs.get", json.dumps({"id": result["job"]})]))["state"] == "done")
        out = self.narrow("refresh bgp all import")
        self.assertRegex(out, r"(?m)^192\.0\.2\.2 +default +route-refresh-sent")
        self.assertRegex(out, r"(?m)^192\.0\.2\.99 +default +not-established")
        self.assertRegex(self.good("show jobs"), r"(?m)^ *\d+ +refresh-import +done")
        self.assertEqual(self.received(), NETWORKS)

    def test_refresh_ipv6(self):
        result = json.loads(self.good("--json refresh bgp ipv6 all import"))
        self.assertEqual([(p["address"], p["action"]) for p in result["peers"]], [("192.0.2.2", "route-refresh-sent")])
        self.wait("end of the job", lambda: json.loads(self.good(
            ["rpc", "jobs.get", json.dumps({"id": result["job"]})]))["state"] == "done")
        self.assertRegex(self.good("refresh bgp ipv6 192.0.2.2 export"), r"(?m)^192\.0\.2\.2 +default +readvertised")
        status, _, err = self.ctl("refresh bgp ipv6 192.0.2.99 import")
        self.assertEqual(status, 1)
        self.assertIn("no peer of this scope has ipv6-unicast", err)

    def test_routes_ipv6(self):
        routes = json.loads(self.good("--json show route ipv6"))["routes"]
        self.assertEqual(sorted(r["prefix"] for r in routes), NETWORKS_V6)
        self.assertEqual({(r["next_hop"], r["peer"]) for r in routes}, {("2001:db8::2", "192.0.2.2")})
        out = self.narrow("show route ipv6")
        self.assertRegex(out, r"(?m)^\*> 2001:db8:1::/48 +2001:db8::2 +192\.0\.2\.2 ")
        for words in ("2001:db8:1::/48", "2001:db8:1::9", "ipv6 2001:db8:1::/48 peer 192.0.2.2"):
            self.assertIn("2001:db8:1::/48, 1 path\n", self.narrow("show route " + words))
        self.assertEqual(self.good("show route 2001:db8:4::/48"), "no route\n")
        sent = json.loads(self.good("--json show route ipv6 peer 192.0.2.1 advertised", side=1))["routes"]
        self.assertEqual(sorted(r["prefix"] for r in sent), NETWORKS_V6)
        own = json.loads(self.good("--json show route ipv6", side=1))["routes"]
        self.assertEqual({(r["peer"], r["source"]) for r in own}, {(None, "network")})

    def test_reset(self):
        self.addCleanup(self.wait, "the routes after the reset", self.complete)
        before = json.loads(self.good("--json show bgp peer 192.0.2.2"))["peers"][0]["established_count"]
        asked = json.loads(self.good(["rpc", "bgp.reset", '{"family": "ipv6-unicast", "scope": "external"}']))
        self.assertEqual([(p["address"], p["action"], p["families_dropped"]) for p in asked["peers"]],
                         [("192.0.2.2", "would-reset", ["ipv4-unicast", "ipv6-unicast"])])
        out = self.narrow("reset bgp ipv6 64513")
        self.assertRegex(out, r"(?m)^192\.0\.2\.2 +default +reset +ipv4-unicast ipv6-unicast$")
        self.wait("a new session", lambda: json.loads(
            self.good("--json show bgp peer 192.0.2.2"))["peers"][0]["established_count"] == before + 1)
        status, out, _ = self.ctl("--json reset bgp 192.0.2.99")
        self.assertEqual((status, [p["action"] for p in json.loads(out)["peers"]]), (1, ["not-established"]))
        for line in ("reset bgp 7", "reset bgp internal", "reset bgp ipv6 slow-peer", "reset bgp ipv4 192.0.2.2 slow-peer",
                     "reset bgp fe80::1%nowhere"):
            status, out, err = self.ctl(line)
            self.assertEqual((status, out), (1, ""), line)
            self.assertRegex(err, "^keelctl: (there is )?no (peer|group) [^/]+\n$")
        status, _, err = self.ctl(["rpc", "bgp.reset", json.dumps({"family": "ipv4-unicast", "scope": "asn"})])
        self.assertIn("/asn: is missing", err)

    def test_refresh_refused(self):
        status, out, err = self.ctl("refresh bgp 192.0.2.99 import")
        self.assertEqual((status, err), (1, ""))
        self.assertIn("not-established", out)
        status, out, err = self.ctl("--json refresh bgp 192.0.2.99 import")
        self.assertEqual((status, json.loads(out)["job"]), (1, None))
        for line in ("refresh bgp internal import", "refresh bgp group nobody import", "refresh bgp 192.0.2.55 import"):
            status, out, err = self.ctl(line)
            self.assertEqual((status, out), (1, ""), line)
            self.assertRegex(err, "^keelctl: (there is )?no (peer|group) [^/]+\n$")

    def test_refresh_on_a_terminal(self):
        status, shown = on_terminal("refresh", "bgp", "external", "import", sock=self.sockets[0])
        self.assertEqual(status, 0, shown)
        self.assertRegex(shown, r"\njob \d+ runs; `show jobs` shows its end\r\n$")
        status, shown = on_terminal("refresh", "bgp", "external", "import", "wait", sock=self.sockets[0])
        self.assertEqual(status, 0, shown)
        self.assertRegex(shown, r"job \d+: 2 of 2 sessions, done after ")
        self.assertRegex(self.good("refresh bgp external import"), r"\njob \d+ runs; `show jobs` shows its end\n$")
        job = json.loads(self.good("--json refresh bgp external import wait"))["job"]
        self.assertEqual(json.loads(self.good(["rpc", "jobs.get", json.dumps({"id": job})]))["state"], "done")
        self.assertRegex(self.good("refresh bgp external export wait"), r"\njob \d+: 2 of 2 sessions, done after [^\n]+\n$")

    def test_colour(self):
        self.assertIn("\033[32mestablished\033[0m", on_terminal("show", "bgp", "summary", sock=self.sockets[0])[1])
        for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertNotIn("\033", on_terminal("show", "bgp", "summary", sock=self.sockets[0], env=env)[1])
        self.assertNotIn("\033", self.good("show bgp summary"))

    def test_rpc(self):
        one_line = self.good("rpc system.info")
        self.assertEqual(one_line.count("\n"), 1)
        self.assertFalse(json.loads(one_line)["dataplane"])
        self.assertGreater(on_terminal("rpc", "system.info", sock=self.sockets[0])[1].count("\n"), 5)
        self.assertEqual(on_terminal("--json", "rpc", "system.info", sock=self.sockets[0])[1].count("\n"), 1)
        self.assertIn('"jobs"', self.ctl("rpc jobs.list -", stdin="{}")[1])
        for words, text in ((["rpc", "no.such"], "Method not found"), (["rpc", "jobs.get"], "/id: is missing"),
                            (["rpc", "jobs.get", "[1]"], "must be an object")):
            status, out, err = self.ctl(words)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(text, err)

    def test_every_fault_of_a_document(self):
        merge = json.dumps({"merge": {"router": {"asn": -1, "nonsense": 1}}})
        self.good(["rpc", "config.edit", merge])
        status, _, err = self.ctl("rpc config.commit")
        self.assertEqual(status, 1)
        self.assertIn("/router/asn", err)
        self.assertIn("/router/nonsense", err)
        status, out, said = self.ctl("commit")
        self.assertEqual((status, out), (1, ""))
        self.good("rpc config.discard")
        self.assertEqual(said, "keelctl: router: as-number: -1 is not an integer from 1 to 4294967295\n"
                         "keelctl: router: nonsense: unknown key; see keel.json(5)\n")

    def test_people_read_the_words_of_lines(self):
        """No JSON Pointer and no code, but the words of the person's own line."""
        bgp, v4 = "system-view; bgp 64512; ", "system-view; bgp 64512; ipv4-family unicast; "
        self.addCleanup(self.good, "discard")
        for line, said in (
                (bgp + "peer 192.0.2.9 as-number 5; peer 192.0.2.9 timer hold 2", "peer 192.0.2.9: timer hold: 2 is neither 0 nor at least 3"),
                (v4 + "peer 192.0.2.2 route-policy nope import", 'peer 192.0.2.2: ipv4-unicast: route-policy import: there is no route policy "nope"'),
                (bgp + "quit; set /bgp/peers/1/b\u00fcro 5", "peer 192.0.2.99: b\u00fcro: unknown key; see keel.json(5)"),
                ("system-view; ip ip-prefix some index 5 permit 1.0.0.0/8 less-equal 4", "ip-prefix some: index 5: less-equal: 4 is not an integer from 8 to 32"),
                ("system-view; set /route_policies/0/nodes/0/match/med '\"x\"'", 'route-policy mark: node 10: if-match cost: "x" is not an integer'),
                ("system-view; ip ipv6-prefix six index 5 permit 2001:db8::/32 less-equal 4", "ipv6-prefix six: index 5: less-equal: 4 is not an integer from 32 to 128"),
                ("system-view; set /bgp/redistribute '[{\"source\":\"x\"}]'", "import-route x: source: "),
                ("system-view; set /udp_tunnels '[{\"name\":\"t\",\"destination\":\"192.0.2.7\",\"source\":\"x\"}]'", "udp_tunnels t: source: "),
                ("system-view; set /rpki '{\"caches\":[{\"address\":\"192.0.2.7\",\"password\":5}]}'", "rpki: caches 192.0.2.7: password: "),
                (bgp + "peer 192.0.2.9 as-number 5; quit; set /bgp/peers/2/source x", "peer 192.0.2.9: connect-interface: "),
                ("system-view; set /bgp/max_paths 0", "bgp: max_paths: 0 is not an integer from 1 to ")):
            self.good([line])
            faulty = self.good("show candidate")
            for command in ("commit", "commit force", "preview"):
                status, out, err = self.ctl(command)
                self.assertEqual((status, out, err.startswith("keelctl: " + said)), (1, "", True), err)
            self.good("discard")
            if "***" in faulty:
                continue  # a password is not shown
            with open(self.dir + "/a.json") as f:
                good = f.read()
            with open(self.dir + "/a.json", "w") as f:
                f.write(faulty)
            again = self.ctl("reload")
            with open(self.dir + "/a.json", "w") as f:
                f.write(good)
            self.assertEqual(again, (1, "", err))
        for line, said in (("show route as-path [", 'as-path: "[" is not a regular expression: '), ("rollback 77", "there is no commit 77; "),
                           ("confirm", "no commit waits for a confirmation\n"), ("show vrf red", 'there is no VRF "red"\n')):
            status, out, err = self.ctl(line)
            self.assertEqual((status, out, err.startswith("keelctl: " + said)), (1, "", True), err)

    def test_a_difference_of_an_ipv6_list(self):
        self.addCleanup(self.good, "discard")
        self.good(["system-view; ip ipv6-prefix six index 5 permit 2001:db8::/32"])
        self.assertTrue(self.good("show diff").startswith("+ ipv6-prefix six {"))

    def test_other_shows(self):
        self.assertRegex(self.narrow("show version"), r"keeld \S+, pid \d+, up [^\n]+\nno data plane\n")
        self.assertRegex(self.narrow("show rib"), r"(?m)^default +ipv4-unicast +2500 +2500 ")
        self.assertRegex(self.good("show rib"), r"(?m)^default +ipv6-unicast +3 +3 ")
        self.assertRegex(self.narrow("show threads"), r"(?m)^keel-session +[\d.]+ [mun]?s +slice +\d+ ")
        running = json.loads(self.good("show configuration"))
        self.assertEqual(running["router"], {"asn": 64512, "router_id": "192.0.2.1"})
        self.assertEqual(json.loads(self.good("--json show conf start"))["document"], running)
        for line in ("show fib", "show fib 192.0.2.1", "show fib 2001:db8::1", "show dataplane", "show dataplane neighbors"):
            status, out, err = self.ctl(line)
            self.assertEqual((status, out), (1, ""))
            self.assertEqual(err, "keelctl: There is no data plane\n")


if __name__ == "__main__":
    run_tests()
