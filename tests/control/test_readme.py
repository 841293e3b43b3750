#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs every shell block of README.md and docs/guides/*.md as it stands.

The blocks of one document run in order, in one shell at the root of the repository. A command that fails ends the document. A `text` block
directly behind a shell block shows output: each of its lines must be among the lines that the shell block printed, numbers and blanks aside; a
line `...` stands for lines left out. A `json` block must be JSON. Output of keelctl must fit 100 columns.

Each document has namespaces of its own for the network, mounts and processes, with empty /run, /var/lib and /tmp. Documents without a worker run two at a time. Needs root: else the exit status
is 77.

usage: test_readme.py KEELD KEELCTL [DOCUMENT...]
       test_readme.py --script DOCUMENT        prints the shell blocks of a document as one script
       test_readme.py --links FOLDER           checks the links of the documents that are installed in FOLDER
"""
import collections
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSIDE = "KEEL_README_NAMESPACE"
DOCUMENT_S = 300  # of a block; ends a document that hangs
OWN = ("mount --make-rprivate /", "mount -t tmpfs tmpfs /run", "mount -t tmpfs tmpfs /var/lib", "ip link set lo up")
UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
KINDS = {"sh", "text", "json", "yaml", "figure"}
failed = []


def check(what, good, more=""):
    print("%-5s %s" % ("ok" if good else "FAIL", what), flush=True)
    if not good:
        print(more)
        failed.append(what)
    return good


class Block:
    def __init__(self, kind, text, line):
        self.kind, self.text, self.line = kind, text, line


def blocks(path):
    """Fenced blocks of a Markdown file. Each block needs a known kind, and indented blocks are faults: otherwise a block would escape the test."""
    with open(path) as f:
        lines = f.read().split("\n")
    out, opened = [], None
    for n, line in enumerate(lines, 1):
        if opened is None and line.startswith("```"):
            opened = Block(line[3:].strip(), "", n)
        elif opened is not None and line == "```":
            out.append(opened)
            opened = None
        elif opened is not None:
            opened.text += line + "\n"
        elif line.startswith("    ") and not lines[n - 2].strip():
            out.append(Block("indented", line, n))
    return out


def plain(line):
    """A line of output without the parts that vary between runs."""
    return " ".join(re.sub(r"\d+", "N", line).split())


class Shell:
    """A bash for each document; each block ends with a mark, which delimits the output."""

    def __init__(self):
        self.p = subprocess.Popen(["bash", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
                                  start_new_session=True)

    def run(self, text):
        """(output, whether all commands succeeded)"""
        mark = "block-ends-here"
        late = threading.Timer(DOCUMENT_S, lambda: os.killpg(self.p.pid, signal.SIGKILL))
        late.start()
        out = []
        try:
            self.p.stdin.write(text + "\necho %s\n" % mark)
            self.p.stdin.flush()
            for line in self.p.stdout:
                if line.rstrip("\n") == mark:
                    return out, True
                out.append(line.rstrip("\n"))
        except BrokenPipeError:
            pass
        finally:
            late.cancel()
        return out, False

    def close(self):
        self.p.stdin.close()
        try:
            self.p.wait(DOCUMENT_S)
        except subprocess.TimeoutExpired:
            pass
        self.p.stdout.close()
        try:
            os.killpg(self.p.pid, signal.SIGKILL)  # kills processes left by a document
        except ProcessLookupError:
            pass


def slugs(path):
    """The anchors of a page's headings, in GitHub's form."""
    with open(path) as f:
        return {re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-") for line in f if line.startswith("#")}


def pages(root):
    return [os.path.join(root, p) for p in ("README.md", "CHANGELOG.md")] + sorted(glob.glob(os.path.join(root, "docs", "**", "*.md"), recursive=True))


def links(root):
    """Each link of README.md, CHANGELOG.md and docs/ leads to a file below `root`, each anchor to a heading."""
    broken = []
    for page in pages(root):
        with open(page) as f:
            text = re.sub(r"^```.*?^```", "", f.read(), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(page), name)) if name else page
            if not os.path.exists(path) or path != root and not path.startswith(root + "/") or anchor and anchor not in slugs(path):
                broken.append("%s: %s" % (os.path.relpath(page, root), target))
    check("all links of the documents lead somewhere", not broken, "\n".join(broken))


def repository():
    """The documents against the repository: links, sizes, and names of source files."""
    links(ROOT)
    size = os.path.getsize(os.path.join(ROOT, "README.md"))
    check("README has at most 6 KB", size <= 6144, "%d octets" % size)
    missing = []
    for page in (p for p in pages(ROOT) if "/decisions/" not in p and not p.endswith("CHANGELOG.md")):  # decisions and the changelog name files of the past
        with open(page) as f:
            named = re.findall(r"`((?:control|rib|lpm|dataplane|scripts|tests|docs)/[\w./*-]+)`", f.read())
        missing += ["%s: %s" % (os.path.relpath(page, ROOT), name) for name in sorted(set(named)) if not glob.glob(os.path.join(ROOT, name))]
    check("all files that the documents name exist", not missing, "\n".join(missing))


def document(path):
    name = os.path.relpath(path, ROOT)
    shell, output, begin = Shell(), None, time.monotonic()
    try:
        for b in blocks(path):
            where = "%s:%d" % (name, b.line)
            if not check("%s: a %s block" % (where, b.kind or "plain"), b.kind in KINDS, "the kinds are " + ", ".join(sorted(KINDS))):
                return
            if b.kind == "text" and output is not None:
                seen = {plain(line) for line in output}
                missing = [line for line in b.text.splitlines() if line.strip() not in ("", "...") and plain(line) not in seen]
                check("%s: the output shown is that of the commands" % where, not missing, "\n".join(["not printed:"] + missing + ["printed:"] + output))
            if b.kind == "json":
                json.loads(b.text)
            output = None
            if b.kind == "sh":
                output, good = shell.run(b.text)
                if not check("%s: runs" % where, good, "\n".join(output)):
                    return
                if "keelctl show" in b.text and "--json" not in b.text:
                    wide = [line for line in output if len(line) > 100 and not line.startswith(("{", "[", "keel_"))]
                    check("%s: fits 100 columns" % where, not wide, "\n".join(wide))
        print("      %s: %.1f s" % (name, time.monotonic() - begin), flush=True)
    finally:
        shell.close()
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        check("%s: leaves no namespace" % name, not left.strip(), left)


def own_tmp(*folders):
    """An empty /tmp. The folders stay where they are: a clone in /tmp, too, has documents that write the same files there at the same time."""
    os.mkdir("/run/tmp")
    subprocess.run(["mount", "--rbind", "/tmp", "/run/tmp"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/tmp"], check=True)
    for folder in folders:
        if folder.startswith("/tmp/"):
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["mount", "--bind", "/run" + folder, folder], check=True)
    os.chdir(ROOT)


def inside(keeld, keelctl, path):
    keeld, keelctl, path = (os.path.abspath(x) for x in (keeld, keelctl, path))  # of the directory where the test began
    for line in OWN:
        subprocess.run(line.split(), check=True)
    own_tmp(ROOT, os.path.dirname(os.path.dirname(keeld)))
    folder = tempfile.mkdtemp(dir="/run")
    for program in (keeld, keelctl):
        os.symlink(program, os.path.join(folder, os.path.basename(program)))
    os.environ["PATH"] = folder + ":" + os.environ["PATH"]
    os.environ["KEEL_BUILD"] = os.path.dirname(os.path.dirname(keeld))
    os.environ.pop("KEEL_SOCKET", None)
    document(path)
    sys.exit(1 if failed else 0)


def has_worker(path):
    """True if the document starts a worker, which takes a CPU: such documents run in sequence."""
    with open(path) as f:
        text = f.read()
    return any("keeld" in line and "no-dataplane" not in line for line in re.findall(r"^(?:keeld +.*|ip netns exec .*keeld -c.*&)$", text, re.M))


def lane(documents, results):
    while documents:
        path = documents.popleft()
        p = subprocess.run(UNSHARE + [sys.executable, os.path.abspath(__file__)] + sys.argv[1:3] + [path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True)
        print(p.stdout, end="", flush=True)
        results[path] = p.returncode


def main():
    if sys.argv[1:2] == ["--script"]:
        print("set -e\n" + "".join(b.text for b in blocks(sys.argv[2]) if b.kind == "sh"), end="")
        return
    if sys.argv[1:2] == ["--links"]:
        links(os.path.abspath(sys.argv[2]))
        sys.exit(1 if failed else 0)
    keeld, keelctl = sys.argv[1:3]
    if INSIDE in os.environ:
        inside(keeld, keelctl, sys.argv[3])
    if os.geteuid() != 0 or subprocess.run(UNSHARE + ["true"], capture_output=True).returncode != 0:
        print("namespaces need root")
        sys.exit(77)
    os.environ[INSIDE] = "yes"
    begin, results = time.monotonic(), {}
    repository()
    documents = sys.argv[3:] or [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs", "guides", "*.md")))]
    workers = collections.deque(path for path in documents if has_worker(path))
    others = collections.deque(path for path in documents if path not in workers)
    lanes = [threading.Thread(target=lane, args=(x, results)) for x in (workers, others, others)]
    for t in lanes:
        t.start()
    for t in lanes:
        t.join()
    bad = sorted(os.path.relpath(path, ROOT) for path in documents if results.get(path) != 0)
    print("%d documents in %.0f s; failed: %s" % (len(documents), time.monotonic() - begin, ", ".join(bad) or "none"))
    sys.exit(1 if bad or failed else 0)


if __name__ == "__main__":
    main()
