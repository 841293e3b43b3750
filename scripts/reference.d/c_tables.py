# SPDX-License-Identifier: BSD-3-Clause
"""Reads tables (arrays of structs with initializers) and the comments before their entries out of C sources.

Comments describe an entry; they stand directly before it:

    static const struct config_key timer_keys[] = {
        /* How long ...
         * Unit: seconds. */
        {"hold_s", config_take_u32, offsetof(struct config_timers, hold_s), 0, 65535, .def = 90},
"""
import collections
import functools
import re

from tree import Fault

TOKEN = re.compile(r"""
    (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<char>'(?:[^'\\\n]|\\.)*')
  | (?P<word>[A-Za-z_]\w*)
  | (?P<number>0[xX][0-9A-Fa-f]+[uUlL]*|[0-9]+[uUlL]*)
  | (?P<space>\s+)
  | (?P<punct>.)
""", re.S | re.X)
Token = collections.namedtuple("Token", "kind text line")
# values: positional initializers; fields: designated ones; both as lists of tokens. comment: text without stars.
Entry = collections.namedtuple("Entry", "values fields comment line")
# comment: the one directly before the declaration.
Table = collections.namedtuple("Table", "path name entries line comment")

ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "0": "\0"}


@functools.lru_cache(maxsize=None)
def tokens(text):
    """All tokens but space; the text of a line that ends in a backslash goes on in the next."""
    line, out = 1, []
    for m in TOKEN.finditer(text.replace("\\\n", " \n")):
        if m.lastgroup != "space":
            out.append(Token(m.lastgroup, m.group(), line))
        line += m.group().count("\n")
    return out


def comment_text(comment):
    """The words of a comment. Lines of one paragraph are joined; an empty line begins a new paragraph."""
    body = comment[2:-2] if comment.startswith("/*") else comment[2:]
    lines = [re.sub(r"^\s*\*? ?", "", line).rstrip() for line in body.split("\n")]
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    return "\n\n".join(" ".join(p.split()) for p in paragraphs if p.strip())


def string_of(value):
    """The characters of a value that consists of string literals; None when it is something else."""
    if not value or any(t.kind != "string" for t in value):
        return None
    return "".join(re.sub(r"\\(.)", lambda m: ESCAPES.get(m.group(1), m.group(1)), t.text[1:-1]) for t in value)


def source_of(value):
    """The value as one line of C."""
    return " ".join(t.text for t in value or [])


def _close(toks, i):
    """Index of the bracket that closes toks[i]."""
    depth, pairs = 0, {"{": "}", "(": ")", "[": "]"}
    for j in range(i, len(toks)):
        if toks[j].kind == "punct" and toks[j].text in pairs:
            depth += 1
        elif toks[j].kind == "punct" and toks[j].text in pairs.values():
            depth -= 1
            if depth == 0:
                return j
    raise Fault("line %d: bracket without an end" % toks[i].line)


def _elements(toks):
    """The comma-separated parts of an initializer's inside: [(comment, tokens)]."""
    out, part, comment, i = [], [], "", 0
    while i < len(toks):
        t = toks[i]
        if t.kind == "comment":
            if not part:
                comment = (comment + "\n\n" + comment_text(t.text)).strip()
        elif t.text == ",":
            out.append((comment, part))
            part, comment = [], ""
        elif t.kind == "punct" and t.text in "{([":
            j = _close(toks, i)
            part += toks[i:j + 1]
            i = j
        else:
            part.append(t)
        i += 1
    return out + ([(comment, part)] if part else [])


def arguments(toks):
    """The arguments of a call, from the tokens between its brackets."""
    return [part for _, part in _elements(toks)]


def _entry(path, comment, toks):
    if toks[0].text != "{":
        raise Fault("%s:%d: an entry of a table begins with {" % (path, toks[0].line))
    values, fields = [], {}
    for _, part in _elements(toks[1:-1]):
        if part and part[0].text == "." and len(part) > 2 and part[2].text == "=":
            fields[part[1].text] = part[3:]
        else:
            values.append([t for t in part if t.kind != "comment"])
    return Entry(values, fields, comment, toks[0].line)


def tables(tree, path, struct):
    """{name: Table} of the arrays `struct STRUCT name[] = {...}` in a file; the struct may be defined there. Designators like [KIND] = {...} are skipped over."""
    toks, found, i = tokens(tree.text(path)), {}, 0
    while i + 4 < len(toks):
        if toks[i].text != "struct" or toks[i + 1].text != struct:
            i += 1
            continue
        at = _close(toks, i + 2) + 1 if toks[i + 2].text == "{" else i + 2
        if not (toks[at].kind == "word" and toks[at + 1].text == "["):
            i += 1
            continue
        name, j = toks[at], _close(toks, at + 1) + 1
        while toks[j].text == "[":
            j = _close(toks, j) + 1
        if toks[j].text != "=" or toks[j + 1].text != "{":
            i = j
            continue
        end = _close(toks, j + 1)
        entries = []
        for comment, part in _elements(toks[j + 2:end]):
            if part[0].text == "[":
                part = part[next(k for k, t in enumerate(part) if t.text == "=") + 1:]
            entries.append(_entry(path, comment, part))
        first = i
        while first > 0 and toks[first - 1].text in ("static", "const"):
            first -= 1
        comment = comment_text(toks[first - 1].text) if first > 0 and toks[first - 1].kind == "comment" else ""
        found[name.text] = Table(path, name.text, entries, name.line, comment)
        i = end
    return found


def functions(tree, path):
    """{name: tokens of its body} of the functions that a file defines (name at the beginning of a line, as clang-format puts it)."""
    text, out = tree.text(path), {}
    for m in re.finditer(r"^(\w+)\([^;{}]*\)\n\{\n(.*?)^\}", text, re.S | re.M):
        out[m.group(1)] = [t for t in tokens(m.group(2)) if t.kind != "comment"]
    return out
