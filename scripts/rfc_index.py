#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/rfc.md from the comments: each `RFC NNNN section` of the layers with the file and function it stands at, and the tests that
name the same section.

  scripts/rfc_index.py           writes docs/rfc.md
  scripts/rfc_index.py --check   exits 1 and shows the difference when docs/rfc.md is not what would be written
"""
import collections
import difflib
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "docs", "rfc.md")
LAYERS = ("lpm", "rib", "dataplane", "control")
TESTS = tuple("tests/" + f for f in LAYERS + ("oracle", "fuzz", "interop", "lab"))

# After "RFC N": a section, then more sections or further RFCs: `RFC 7606 5.3, 7.11`, `RFC 4271 4 and 6, 5492, 2918`.
SECTION = r"[0-9]{1,2}(?:\.[0-9]+)*(?:\.[a-z]\b)?(?![\w-])"
FIRST = re.compile(r"RFC ([0-9]{3,5})\b(?: (" + SECTION + r"))?")
MORE = re.compile(r"(?:, | and |, and )(?:([0-9]{3,5})\b(?!\.\d)(?: (" + SECTION + r"))?|(" + SECTION + r")(?! octet| bit| byte| sec| ms))")
NOT_DONE = re.compile(r"(?: [a-z](?=\W))?,? not done\b")

# A comment outside a body belongs to what comes next; functions have their name at the line's start.
NAMES = [re.compile(p) for p in (
    r"^(?:static |struct \w+ \**|const |\w+ )*?\**(\w+)\(",
    r"^#define (\w+)",
    r"^(?:static |typedef |const )*(?:struct|enum|union) (?:ROLE_TYPE )?(\w+) \{",
    r"^(?:static |const |extern )*[\w ]+?[ *](\w+)(?:\[[^=]*\])* =(?: |$)",
)]


def references(text):
    """[(rfc, section or "", not done)] in a comment."""
    text = re.sub(r"\s+", " ", re.sub(r"\n\s*\*(?!/)", " ", text))
    found, begin = [], 0
    while True:
        m = FIRST.search(text, begin)
        if not m:
            return found
        rfc, group = m.group(1), [(m.group(1), m.group(2) or "")]
        at = m.end()
        while True:
            m = MORE.match(text, at)
            if not m:
                break
            if m.group(1):
                rfc = m.group(1)
            group.append((rfc, m.group(2) or m.group(3) or ""))
            at = m.end()
        done = NOT_DONE.match(text, at)
        found += [(r, s, bool(done)) for r, s in group]
        begin = at


def comments_c(text):
    """(place, comment) of a C file; place is the function, struct, macro or table that it stands in or before."""
    names, body, place = [], False, ""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if not body:
            for pattern in NAMES:
                m = pattern.match(line)
                if m and m.group(1) not in ("if", "while", "static_assert", "__attribute__", "RUNS_ON"):
                    place = m.group(1)
                    names.append((number, place))
                    break
        if line == "{" or (re.match(r"\S.*\{$", line) and not line.startswith(("/*", " *", "#"))):
            body = True
        elif line.startswith("}"):
            body = False
            names.append((number + 1, None))
    for m in re.finditer(r"/\*.*?\*/|//[^\n]*", text, re.S):
        number = text.count("\n", 0, m.start())
        last = number + m.group().count("\n")
        inside = [n for at, n in names if at <= number][-1:]
        after = [n for at, n in names if at >= last and n is not None][:1]
        head = "\n#pragma once" in text[m.end():] or "#include" in text[m.end():m.end() + 40]
        if inside and inside[0] is not None and not line_starts(lines[number]):
            yield inside[0], m.group()
        elif head:
            yield "", m.group()
        else:
            yield (after or [""])[0], m.group()


def line_starts(line):
    return line.startswith(("/*", "//"))


def comments(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        text = f.read()
    if path.endswith(".def"):
        return [(m.group(1), m.group(2)) for m in re.finditer(r'^DROP\((\w+), "[^"]*", "([^"]*)"', text, re.M)]
    if path.endswith(".py"):
        return [("", line) for line in text.split("\n") if "RFC " in line]
    return comments_c(text)


def files(folders):
    for folder in folders:
        for directory, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".def", ".py")):
                    yield os.path.relpath(os.path.join(directory, name), ROOT)


def index(folders):
    """{(rfc, section): [place, ...]}"""
    found = collections.defaultdict(list)
    for path in files(folders):
        for place, comment in comments(path):
            for rfc, section, not_done in references(comment):
                text = "`%s%s`%s" % (path, ":" + place if place else "", " (not done)" if not_done else "")
                if text not in found[rfc, section]:
                    found[rfc, section].append(text)
    return found


def order(key):
    return int(key[0]), [(int(p), "") if p.isdigit() else (99, p) for p in key[1].split(".") if p]


def page():
    code, tests = index(LAYERS), index(TESTS)
    out = ["# RFCs: where the sources name them, and the tests that name the same section", "",
           "Generated by `scripts/rfc_index.py` from the comments in the sources; `scripts/rfc_index.py --check` fails when it is out of date.",
           "A section that is named is not thereby done: a comment may also say what is left out. A test stands in the last column when a "
           "comment of it names the same section; what is tested without naming an RFC is not seen here. `-` in the first column: the "
           "RFC as a whole.", ""]
    for rfc in sorted({k[0] for k in code}, key=int):
        out += ["## [RFC %s](https://www.rfc-editor.org/rfc/rfc%s)" % (rfc, rfc), "", "| section | where | tests |", "|---|---|---|"]
        for key in sorted((k for k in code if k[0] == rfc), key=order):
            out.append("| %s | %s | %s |" % (key[1] or "-", "<br>".join(code[key]), "<br>".join(tests.get(key, []))))
        out.append("")
    return "\n".join(out)


def self_test():
    for text, want in (
            ("/* RFC 7606 7.1 */", [("7606", "7.1", False)]),
            ("/* RFC 7606 5.3, 7.11 */", [("7606", "5.3", False), ("7606", "7.11", False)]),
            ("/* RFC 4271 6.3, not done: x */", [("4271", "6.3", True)]),
            ("/* RFC 4271 4 and 6, 5492, 7313 4. */", [("4271", "4", False), ("4271", "6", False), ("5492", "", False), ("7313", "4", False)]),
            ("/* RFC 4271's own; RFC 4456\n * 8 */", [("4271", "", False), ("4456", "8", False)])):
        if references(text) != want:
            sys.exit("rfc_index: self-test: %s gives %s" % (text, references(text)))
    text = "/* a */\n#include <x.h>\n\n/* RFC 1 1 */\nstatic int\nf(int a)\n{\n\treturn 0; /* b */\n}\n\nint g(int a); /* c */\n"
    if list(comments_c(text)) != [("", "/* a */"), ("f", "/* RFC 1 1 */"), ("f", "/* b */"), ("g", "/* c */")]:
        sys.exit("rfc_index: self-test: %s" % list(comments_c(text)))


def main():
    self_test()
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    new = page()
    if not sys.argv[1:]:
        with open(OUT, "w", encoding="utf-8") as f:
            f.write(new)
        return
    try:
        with open(OUT, encoding="utf-8") as f:
            old = f.read()
    except FileNotFoundError:
        old = ""
    if old != new:
        for line in list(difflib.unified_diff(old.split("\n"), new.split("\n"), "docs/rfc.md", "as the sources say", lineterm="", n=0))[:20]:
            print(line)
        sys.exit("docs/rfc.md is out of date: run scripts/rfc_index.py")


if __name__ == "__main__":
    main()
