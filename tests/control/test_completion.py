#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The completions that scripts/reference makes, in bash, and in zsh and fish where they are installed; keelctl --complete, which they call.

usage: test_completion.py KEELCTL
"""
import os
import shutil
import subprocess
import sys
import unittest

KEELCTL = os.path.abspath(sys.argv[1])
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "docs", "completion")
NO_DAEMON = "/nonexistent/keel.sock"


def complete(*words):
    r = subprocess.run([KEELCTL, "--complete", "--socket", NO_DAEMON] + list(words), capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and r.stderr == "", r
    return [tuple(line.split("\t")) for line in r.stdout.splitlines()]


def bash(program, *words):
    """What bash offers for the last word."""
    script = """. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _%s; printf '%%s\\n' "${COMPREPLY[@]}" """ % program
    command = KEELCTL if program == "keelctl" else program
    r = subprocess.run(["bash", "-uec", script, "bash", os.path.join(FOLDER, program + ".bash"), command] + list(words),
                       capture_output=True, text=True, timeout=60, env=dict(os.environ, KEEL_SOCKET=NO_DAEMON))
    assert r.returncode == 0 and r.stderr == "", r
    return r.stdout.split()


class Completion(unittest.TestCase):
    def test_keelctl_lists_words_with_help(self):
        self.assertEqual(complete("refresh", "bgp", "e"), [("external", "external sessions (EBGP)")])
        self.assertEqual([w for w, _ in complete("ref", "bgp", "all", "")], ["import", "export"])
        self.assertEqual([w for w, _ in complete("--s")], ["--socket"])
        self.assertIn("show", [w for w, _ in complete("")])
        self.assertEqual(complete("refresh", "nonsense", ""), [])
        self.assertEqual(complete("rpc", ""), [])  # names of methods come from the daemon, and there is none
        self.assertEqual(complete(), [])

    def test_bash(self):
        self.assertEqual(bash("keelctl", "refresh", "bgp", "ex"), ["external"])
        self.assertEqual(bash("keelctl", "--json", "show", "bgp", ""), ["summary", "peer"])
        self.assertEqual(bash("keeld", "--st"), ["--state-dir"])
        self.assertEqual(bash("keeld", "--log-level", "d"), ["debug"])
        self.assertEqual(bash("keelbench", "st"), ["storm"])
        self.assertEqual(bash("keelbench", "load", "--fr"), ["--from"])
        self.assertEqual(bash("keelbench", "storm", "--fr"), [])

    def test_syntax(self):
        """In the shells that are here."""
        for shell, pattern in (("bash", "%s.bash"), ("zsh", "_%s"), ("fish", "%s.fish")):
            if shutil.which(shell):
                for program in ("keeld", "keelctl", "keelbench"):
                    r = subprocess.run([shell, "-n", os.path.join(FOLDER, pattern % program)], capture_output=True, text=True, timeout=60)
                    self.assertEqual((r.returncode, r.stderr), (0, ""), (shell, program))

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh(self):
        """The function, with the two functions of zsh's that it calls in place of the editor."""
        script = """compdef() { :; }; _files() { print files; }; _describe() { print -l "${(@)found}"; }
words=(%s refresh bgp ex); CURRENT=4; . %s/_keelctl""" % (KEELCTL, FOLDER)
        r = subprocess.run(["zsh", "-fc", script], capture_output=True, text=True, timeout=60, env=dict(os.environ, KEEL_SOCKET=NO_DAEMON))
        self.assertEqual((r.stdout, r.stderr), ("external:external sessions (EBGP)\n", ""))

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish(self):
        script = "set -x PATH %s $PATH; . %s/keelctl.fish; complete -C 'keelctl refresh bgp ex'" % (os.path.dirname(KEELCTL), FOLDER)
        r = subprocess.run(["fish", "-N", "-c", script], capture_output=True, text=True, timeout=60, env=dict(os.environ, KEEL_SOCKET=NO_DAEMON))
        self.assertEqual((r.stdout, r.stderr), ("external\texternal sessions (EBGP)\n", ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
