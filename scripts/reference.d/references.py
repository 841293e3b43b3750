# SPDX-License-Identifier: BSD-3-Clause
"""References in comments and documents: each names something that is in the repository."""
import functools
import os
import re

FOLDERS = ("control", "rib", "lpm", "dataplane", "tests", "docs", "scripts")
NAMES = re.compile(r"\.(c|h|py|md|sh|build|in|txt)$")
OUTSIDE = [(re.compile(r"\bcontract(?:'s)? section|\bsections? [0-9, ]+(?:and [0-9]+ )?of the contract|\bby the contract\b", re.I), "the contract"),
           (re.compile(r"\.\./shared/[\w-]+\.md"), "a document outside of the repository"),
           (re.compile(r"\b(?:of|see) issue [0-9]+", re.I), "an issue")]
RULE = re.compile(r"keel-policy\(7\) rules? ([0-9]+)(?:(?: to |, | and )([0-9]+))*")
PAGE = re.compile(r"\b(keel[a-z.-]*)\(([1-8])\)")
POLICY = "docs/man/keel-policy.7"


def generate(tree):
    return {}


def files(tree):
    for folder in FOLDERS:
        for directory, _, names in os.walk(os.path.join(tree.root, folder)):
            for name in names:
                path = os.path.relpath(os.path.join(directory, name), tree.root)
                if NAMES.search(name) and not path.startswith(("docs/rfc.md", "scripts/reference.d/references.py", "scripts/reference.d/names.py")):
                    yield path
    yield "README.md"
    yield "CHANGELOG.md"


def rules(tree):
    """The number of rules in keel-policy(7), soft reset."""
    text = tree.text(POLICY)
    section = text[text.index(".Sh SOFT RESET"):]
    return section[:section.index(".El")].count("\n.It")


@functools.lru_cache(maxsize=None)  # of the files of the tree, the self-test changes one at a time
def faults_of(path, text, last, pages):
    faults = []

    def note(m, what):
        number = text.count("\n", 0, m.start()) + 1
        faults.append("%s:%d: %s: %s" % (path, number, what, text.split("\n")[number - 1].strip()))
    for pattern, what in OUTSIDE:
        for m in pattern.finditer(text):
            note(m, "refers to " + what)
    for m in RULE.finditer(text):
        if any(not 1 <= int(n) <= last for n in re.findall(r"[0-9]+", m.group()[len("keel-policy(7)"):])):
            note(m, "keel-policy(7) has %d rules" % last)
    for m in PAGE.finditer(text):
        if "%s.%s" % m.groups() not in pages:
            note(m, "there is no manual page %s(%s)" % m.groups())
    return faults


def check(tree):
    last, pages = rules(tree), frozenset(os.path.basename(p) for p in tree.files("docs/man", "*.[1-8]"))
    return [f for path in files(tree) for f in faults_of(path, tree.text(path), last, pages)]


def plants(tree):
    path = "rib/shard/refused.h"
    text = tree.text(path)
    return [("a reference to the contract", path, text + "/* contract section 5.13 */\n"),
            ("a reference to a document outside", path, text + "/* ../shared/architecture.md */\n"),
            ("a reference to an issue", path, text + "/* acceptance 3 of issue 2 */\n"),
            ("a rule that does not exist", path, text + "/* keel-policy(7) rule 16 */\n"),
            ("a page that does not exist", path, text + "/* keel-mgr(8) */\n")]
