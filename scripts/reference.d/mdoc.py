# SPDX-License-Identifier: BSD-3-Clause
"""Writes mdoc(7): `code`, *emphasis* and references like keel-policy(7) in running text become macros."""
import functools
import re
import textwrap

HEAD = '.\\" SPDX-License-Identifier: BSD-3-Clause\n.\\" Made by scripts/reference of %s. Edit these, not this file.\n'
MARK = re.compile(r"`(?P<code>[^`]+)`|(?<![\w*])\*(?P<emphasis>[^*\s][^*]*)\*(?![\w*])|\b(?P<page>[a-z][a-z.-]*[a-z])\((?P<section>[1-8])\)")
OPEN, CLOSE = "([", ".,:;)]?!"


def escape(text):
    """Text that roff shows as it stands."""
    return text.replace("\\", "\\e")


def argument(text):
    """One argument of a macro; neither punctuation nor the name of a macro."""
    quoted = escape(text).replace('"', "\\(dq")
    if re.fullmatch(r"[%s|]" % re.escape(OPEN + CLOSE), text) or re.fullmatch(r"[A-Z][a-z]|%[A-Z]", text):
        return "\\&" + quoted
    return '"%s"' % quoted if " " in text or text == "" else quoted


def _parts(sentence):
    """The words of a sentence; each is a list of (macro or "", text)."""
    words, at, glued = [], 0, False

    def add(kind, text, glue):
        if glue and words:
            words[-1].append((kind, text))
        else:
            words.append([(kind, text)])

    def plain(text):
        nonlocal glued
        for piece in re.findall(r"\s+|\S+", text):
            if piece.isspace():
                glued = False
            else:
                add("", piece, glued)
                glued = True

    for m in MARK.finditer(sentence):
        plain(sentence[at:m.start()])
        if m.group("code") is not None:
            add("Ic", m.group("code"), glued)
        elif m.group("emphasis") is not None:
            add("Em", m.group("emphasis"), glued)
        else:
            add("Xr", m.group("page") + " " + m.group("section"), glued)
        glued, at = True, m.end()
    plain(sentence[at:])
    return words


def _macro_line(word):
    """`.Ic ( a Ns / Ns Ic b ) .` for a word that has a macro in it."""
    out, opened = [], []
    for i, (kind, text) in enumerate(word):
        if kind == "":
            if i == 0 and all(c in OPEN for c in text):
                opened = list(text)
                continue
            if i == len(word) - 1 and all(c in CLOSE for c in text):
                out += list(text)
                continue
            tail = re.search(r"[%s]*$" % re.escape(CLOSE), text).group() if i == len(word) - 1 else ""
            body = text[:len(text) - len(tail)]
            out += (["Ns"] if out else ["No"]) + [argument(body)] + list(tail)
            continue
        if out:
            out.append("Ns")
        arguments = text.split(" ") if kind == "Xr" else [argument(text)]
        out += [kind] + opened + arguments
        opened = []
    return "." + " ".join(out)


@functools.lru_cache(maxsize=None)  # the self-test makes each page many times
def running(text):
    """Lines of mdoc for a paragraph: each sentence begins a line, each word with a macro has a line of its own."""
    out = []
    for sentence in sentences(text):
        line = []
        for word in _parts(sentence) + [None]:
            if word is not None and all(kind == "" for kind, _ in word):
                line.append("".join(t for _, t in word))
                continue
            if line:
                wrapped = textwrap.wrap(" ".join(line), 78, break_long_words=False, break_on_hyphens=False)
                out += [("\\&" if w[0] in ".'" else "") + escape(w) for w in wrapped]
                line = []
            if word is not None:
                out.append(_macro_line(word))
    return out


def sentences(text):
    """The sentences of a paragraph: mdoc wants each to begin on a line of its own."""
    return [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9`\"(*]|keeld )", " ".join(text.split())) if s]


def paragraphs(text):
    """Lines of mdoc for text whose paragraphs are set off by empty lines."""
    out = []
    for i, paragraph in enumerate(p for p in text.split("\n\n") if p.strip()):
        out += ([".Pp"] if i else []) + running(paragraph)
    return out


def literal(text):
    """An example as it stands, indented."""
    return [".Bd -literal -offset indent"] + [("\\&" if line[:1] in ".'" and line else "") + escape(line) for line in text.split("\n")] + [".Ed"]


def wrapped(lines):
    """Lines of mdoc whose text lines are at most 78 octets long; literal blocks stay as they are."""
    out, literal_block = [], False
    for line in lines:
        if re.match(r"\.Bd .*-literal", line):
            literal_block = True
        elif line == ".Ed":
            literal_block = False
        if literal_block or line.startswith((".", "'")) or len(line) <= 78:
            out.append(line)
        else:
            pieces = textwrap.wrap(line, 78, break_long_words=False, break_on_hyphens=False)
            out += [("\\&" if piece[0] in ".'" else "") + piece for piece in pieces]
    return out
