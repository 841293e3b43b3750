#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Referee over the English of comments and documents: how many words point at something without a name, and how many are our idioms; and over the
length of pages and of their lines (LINES_MAX, WIDTH_MAX).

  scripts/prose.py             each folder and document above the bar, each page that is too long; exit 1 when there is one
  scripts/prose.py --all       the figures of every folder and document
  scripts/prose.py --worst N   the N sentences with the most of both, in what is above the bar

Bar: at most 4.5 pointing words (it, that, one, which, what, ...) per 100 words and 1 idiom per 1,000. OpenBGPD, BIRD, grout and
libgpiod have 2.4 to 3.7 and 0 to 0.3. Text in quotes of code, tables' headings and generated files do not count.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRONOUNS_MAX, IDIOMS_MAX = 4.5, 1.0
LINES_MAX = {"docs/architecture.md": 350, "docs/benchmarks.md": 400}
WIDTH_MAX = {"docs/limits.md": 215}  # one limit a line
GENERATED = {"docs/rfc.md"}
HISTORY = "docs/decisions/"  # a decision is superseded, not edited
POINTING = set("""what whatever who whoever whom whose that it its one ones this these those they them their which else other others another
nobody nothing none such same""".split())
IDIOMS = [r"who (is|are|was|has|had|asks|reads|takes|comes|stands|goes|does|says|waits|wants|needs|knows|sends|gets|makes|uses|holds|can|cannot)",
          r"what (is|are|was|were|has|had|comes|came|stands|goes|does|did|says|said|waits|wants|needs|leaves|left|happens|they|it|we|may|can|lies|made|makes"
          r"|follows|changed|policy)",
          r"those (who|that|behind|in|of)", r"nobody|somebody|anybody", r"be it", r"by (itself|themselves)", r"so (many|much)", r"as many", r"goe?s? on",
          r"stands? (for|behind|beside|there|in)", r"told|tells", r"behind it", r"too late", r"for ever"]
IDIOM = re.compile(r"\b(?:%s)\b" % "|".join(IDIOMS), re.I)


def score(text):
    """(words, pointing words, idioms)"""
    words = re.findall(r"[A-Za-z']+", text)
    return len(words), sum(w.lower() in POINTING for w in words), len(IDIOM.findall(text))


def comments(text):
    """(line, text) of the comments of a C file, without the licence."""
    for m in re.finditer(r"/\*(.*?)\*/|//([^\n]*)", text, re.S):
        words = " ".join(re.sub(r"\n\s*\*", " ", m.group(1) or m.group(2) or "").split())
        if len(words) > 11 and "SPDX" not in words:
            yield text.count("\n", 0, m.start()) + 1, words


def paragraphs(text):
    """(line, text) of the paragraphs and table lines of a Markdown file, without code and headings."""
    code, lines, first = False, [], 0
    for number, line in enumerate(text.splitlines() + [""], 1):
        line = line.strip()
        if line.startswith(("```", "~~~")):
            code = not code
            continue
        if code:
            continue
        if line == "" or line[0] in "|#":
            if lines:
                yield first, " ".join(lines)
            lines = []
            if line.startswith("|"):
                yield number, re.sub(r"[|`*-]+", " ", line)
            continue
        first = first if lines else number
        lines.append(re.sub(r"`[^`]*`", "X", line))


def places():
    """{folder or document: [(path, line, text)]}"""
    names = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.md"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    out = {}
    for name in names:
        path = os.path.join(ROOT, name)
        if name in GENERATED or name.startswith(HISTORY) or not os.path.exists(path):
            continue
        with open(path, errors="replace") as f:
            text = f.read()
        found = paragraphs(text) if name.endswith(".md") else comments(text)
        key = name if name.endswith(".md") else os.path.dirname(name)
        out.setdefault(key, []).extend((name, line, words) for line, words in found)
    return out


def figures(chunks):
    """(words, pointing words per 100, idioms per 1,000)"""
    words, pointing, idioms = (sum(x) for x in zip(*(score(t) for _, _, t in chunks)))
    return words, 100 * pointing / max(words, 1), 1000 * idioms / max(words, 1)


def above(f):
    return round(f[1], 1) > PRONOUNS_MAX or round(f[2], 1) > IDIOMS_MAX


def too_long():
    """What is wrong with the size of a page."""
    for name, most in (LINES_MAX | WIDTH_MAX).items():
        with open(os.path.join(ROOT, name)) as f:
            lines = f.read().splitlines()
        if name in LINES_MAX and len(lines) > most:
            yield "%s has %d lines, at most %d" % (name, len(lines), most)
        for number, line in enumerate(lines, 1) if name in WIDTH_MAX else ():
            if len(line) > most:
                yield "%s:%d has %d characters, at most %d" % (name, number, len(line), most)


def self_test():
    bad = "What it was told stands behind it, and nobody knows that which one of those it is."
    good = "The group advertises the route after the batch is committed; each peer receives an UPDATE."
    if not above(figures([("x", 1, bad)])) or above(figures([("x", 1, good)])):
        sys.exit("prose: self-test: a bad sentence passes, or a good one does not")
    if [t for _, t in comments("/* SPDX-License-Identifier: x */\n/* a group and\n * its peers */")] != ["a group and its peers"]:
        sys.exit("prose: self-test: the comment of a C file was not found")


def main():
    self_test()
    found = places()
    wrong = 0
    for text in too_long():
        wrong += 1
        print(text)
    for key in sorted(found):
        if not found[key]:
            continue
        f = figures(found[key])
        wrong += above(f)
        if above(f) or "--all" in sys.argv:
            print("%-40s %6d words  %5.1f pointing words per 100  %5.1f idioms per 1,000%s" % (key, *f, "  above the bar" if above(f) else ""))
    if "--worst" in sys.argv:
        ranked = []
        for key, chunks in found.items():
            for path, line, text in chunks if chunks and above(figures(chunks)) else []:
                for s in re.split(r"(?<=[.;!?])\s+", text):
                    w, p, i = score(s)
                    if w >= 8:
                        ranked.append(((p + 2 * i) / w * min(w, 40), path, line, s))
        for _, path, line, s in sorted(ranked, reverse=True)[:int(sys.argv[sys.argv.index("--worst") + 1])]:
            print("%s:%d: %s" % (path, line, s))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
