# SPDX-License-Identifier: BSD-3-Clause
"""import bird: lines and tokens of a file and of the files that it includes, and the reader of statements. Statements run over lines, so the file is split
into tokens, and each line gets the strongest verdict of its tokens."""
import collections
import glob
import os
import re
import stat

from . import texts

INCLUDES_MAX = 8  # files that include each other
NO_NUMBER = -1  # of more than 32 bits: BIRD refuses the file
SPACES = " \t\r\n\v\f"
PAIRS = ("[=", "=]", "..", "&&", "||", "!=", "!~", "<=", ">=", "->")  # [=[ is no mask; =] ends one
INCLUDE = re.compile(r'\s*include\s*"([^"]{1,511})"\s*;\s*(?:#.*)?$', re.ASCII | re.DOTALL)
SPAN6, SPAN4 = re.compile("[0-9a-fA-F:.]*"), re.compile("[0-9.]*")
HEX, DIGITS, SYMBOL = re.compile("0[xX][0-9a-fA-F]*"), re.compile("[0-9]+"), re.compile("[A-Za-z_][A-Za-z0-9_]*")

# kind: "symbol", "number", "address", "text" (in quotes), "mark"; "end" behind the last token. `line`: the index of its Line, from 1; `number` may be
# NO_NUMBER.
Token = collections.namedtuple("Token", "kind text line number")
END = Token("end", "", 0, 0)


class Line:
    """`place`: FILE:NUMBER of an included file; else None. `included`: an include whose files were read."""

    __slots__ = ("text", "place", "number", "included", "has_tokens", "verdict")

    def __init__(self, text, place, number):
        self.text, self.place, self.number = text, place, number
        self.included = self.has_tokens = False
        self.verdict = ""


class Definition:
    """kind: "constant", "function", "filter", "roa4", "roa6", "static". Ranges of tokens are (first, end): `value` is the body with braces, `header` the
    declarations before it."""

    __slots__ = ("name", "kind", "value", "parameters", "header", "used", "exports")

    def __init__(self, name, kind, value=(0, 0), parameters=(0, 0), header=(0, 0)):
        self.name, self.kind, self.value, self.parameters, self.header = name, kind, value, parameters, header
        self.used = False
        self.exports = False  # a channel has the filter for exports


def _address_end(text, at):
    """The end of the address at `at`, or `at`."""
    span = SPAN6.match(text, at)[0]
    if ":" in span and len(span) <= 46 and texts.packed(span) is not None:
        return at + len(span)
    span = SPAN4.match(text, at)[0]
    return at + len(span) if len(span) >= 7 and texts.packed(span) is not None else at


def _number_of(text):
    if text[1:2] in ("x", "X"):
        n = int(text[2:] or "0", 16)
    else:
        n = texts.number(text)
    return NO_NUMBER if n is None or n > texts.MOST_U32 else n


def _token_at(text, at, line):
    """(token, its end)"""
    end = _address_end(text, at)
    if end > at:
        return Token("address", text[at:end], line, 0), end
    c = text[at]
    if c in "0123456789":
        m = HEX.match(text, at) or DIGITS.match(text, at)
        return Token("number", m[0], line, _number_of(m[0])), m.end()
    m = SYMBOL.match(text, at)
    if m:
        return Token("symbol", m[0], line, 0), m.end()
    if c in "\"'":
        end = text.find(c, at + 1)
        token = Token("text" if c == '"' else "symbol", text[at + 1:end if end >= 0 else None], line, 0)
        return token, end + 1 if end >= 0 else len(text)
    end = at + 2 if text.startswith(PAIRS, at) else at + 1
    return Token("mark", text[at:end], line, 0), end


def _comment_after(text, comment):
    """True if a comment goes on behind the end of the line; `comment`: a comment goes on at its begin."""
    at = 0
    while at < len(text):
        if comment or text.startswith("/*", at):
            end = text.find("*/", at if comment else at + 2)
            if end < 0:
                return True
            at, comment = end + 2, False
        elif text[at] == "#":
            break
        elif text[at] in "\"'":
            end = text.find(text[at], at + 1)
            at = end + 1 if end >= 0 else len(text)
        else:
            at += 1
    return comment


class Reader:
    """The tokens of a file, and the place of the reader in them."""

    def __init__(self, im, data):
        self.im = im
        self.lines = [None]  # from 1
        self.tokens = []
        self.at = 0  # the next token
        self.definitions, self._named = [], {}
        self.static_count = 0
        self.has_direct = False
        self.originates = False  # static or connected routes, which have no BGP attributes
        self.roa_tables = {"roa4": 0, "roa6": 0}
        self.roa_cached = {"roa4": False, "roa6": False}  # a cache of such a table is carried
        self.unnamed = 0  # protocols without a name
        self.shared = {}  # {(section, entries of a list as a text): name of the list}
        self._read_lines(data, im.path, 0)
        self._split()
        self.end = len(self.tokens)
        self.tokens.append(END)  # the place of a statement that is missing at the end of the file

    # ---- lines ----

    def _include(self, line, text, path, depth):
        """The lines of the files that an include names: a pattern, relative to the folder of its file. False: the line is no include of a file that
        exists."""
        m = INCLUDE.match(text)
        if m is None or depth >= INCLUDES_MAX:
            return False
        found = sorted(glob.glob(os.path.join(os.path.dirname(path), m[1])), key=os.fsencode)
        for name in found:
            try:
                if not stat.S_ISREG(os.stat(name).st_mode):
                    raise OSError(0, "is not a regular file")
                with open(name, "rb") as f:
                    data = f.read()
            except OSError as e:
                self.lines[line].has_tokens = True
                self.note(line, "not carried: %s: %s" % (name, os.strerror(e.errno) if e.errno else e.strerror))
                continue
            self._read_lines(data, name, depth + 1)
        return bool(found)

    def _read_lines(self, data, path, depth):
        """Adds the lines of a file, and of the files that it includes. `depth`: files around it."""
        comment = False
        for number, text in enumerate(texts.read_lines(data.removeprefix(b"\xef\xbb\xbf")), 1):
            text = re.split("[\r\n]", text, 1)[0]
            self.lines.append(Line(text, "%s:%d" % (path, number) if depth else None, number))
            line = len(self.lines) - 1
            if not comment and self._include(line, text, path, depth):
                self.lines[line].included = True
            comment = _comment_after(text, comment)

    def _split(self):
        comment = False
        for line, of_line in enumerate(self.lines):
            text, at = "" if of_line is None or of_line.included else of_line.text, 0
            while at < len(text):
                if comment or text.startswith("/*", at):
                    end = text.find("*/", at if comment else at + 2)
                    comment = end < 0
                    at = end + 2 if end >= 0 else len(text)
                elif text[at] == "#":
                    break
                elif text[at] in SPACES:
                    at += 1
                else:
                    token, at = _token_at(text, at, line)
                    self.tokens.append(token)
                    of_line.has_tokens = of_line.has_tokens or not (token.kind == "mark" and token.text[0] in "};")
                    if token.number == NO_NUMBER:
                        self.note(line, "not carried: %.40s is more than 4294967295" % token.text)

    def note(self, line, verdict):
        """Sets the verdict of a line, unless the line has a stronger one."""
        if 0 < line < len(self.lines):
            old = self.lines[line].verdict
            if not old or (old[0] == "c" and verdict[0] == "n"):
                self.lines[line].verdict = verdict

    # ---- tokens ----

    def peek(self, ahead=0):
        """A token; END beyond the end."""
        at = self.at + ahead
        return self.tokens[at] if at < self.end else END

    @property
    def ended(self):
        return self.at >= self.end

    def sees(self, *marks):
        """True if the next token is one of these symbols or marks."""
        token = self.peek()
        return token.text in marks and token.kind in ("symbol", "mark")

    def take(self, text):
        """Takes the token if it is `text`."""
        token = self.peek()
        if token.text == text and token.kind in ("symbol", "mark"):
            self.at += 1
            return True
        return False

    def next(self):
        """Takes a token of any kind."""
        token = self.peek()
        self.at += 1
        return token

    def take_words(self, words):
        """Takes these words, in a tuple, or nothing."""
        start = self.at
        for word in words:
            if not self.take(word):
                self.at = start
                return False
        return True

    def skip_brackets(self):
        """Takes tokens up to the matching closing bracket; the next token is the opening one."""
        depth = 0
        while not self.ended:
            token = self.next()
            if token.kind != "mark":
                continue
            if token.text in ("(", "[", "[=", "{"):
                depth += 1
            elif token.text in (")", "]", "=]", "}"):
                depth -= depth > 0
            if depth == 0:
                return

    def skip_to(self, *marks):
        """Takes tokens up to one of the marks, or the end."""
        while not self.ended and not self.sees(*marks):
            self.at += 1

    def skip(self):
        """Takes tokens up to the end of the statement: `;`, or a block."""
        while not self.ended and not self.sees("}"):
            if self.take(";"):
                return
            if self.sees("{"):
                self.skip_brackets()
                self.take(";")
                return
            if self.sees("(", "[", "[="):
                self.skip_brackets()
            else:
                self.at += 1

    def whole(self, at, verdict):
        """The statement from the token `at` is not carried, or changed. Takes the statement."""
        self.at = at
        self.skip()
        if self.at == at:  # a stray bracket
            self.at = at + 1
        for line in range(self.tokens[at].line, self.tokens[self.at - 1].line + 1):
            self.note(line, verdict)

    def unknown(self, at):
        self.whole(at, "not carried: keel.json has no key of this meaning")

    # ---- names ----

    def define(self, definition):
        self.definitions.append(definition)
        self._named.setdefault(definition.name, definition)

    def find(self, name, *kinds):
        """The definition of this name, of one of these kinds (none: of any), or None."""
        found = self._named.get(name)
        return found if found is not None and (not kinds or found.kind in kinds) else None

    def name(self, name, line):
        """The name of keel.json for a policy, a group or a neighbour; notes a changed name."""
        self.im.verdict = ""
        got = self.im.name(name)
        if self.im.verdict:
            self.note(line, self.im.verdict)
        return got

    # ---- values ----

    def take_switch(self):
        """Takes on, off, or nothing, which is on."""
        if self.take("off") or self.take("no"):
            return False
        return self.take("on") or self.take("yes") or True

    def _value(self):
        """The next token; for the name of a constant of one token, that token."""
        token = self.peek()
        found = self.find(token.text, "constant") if token.kind == "symbol" else None
        if found is not None and found.value[1] == found.value[0] + 1:
            found.used = True
            return self.tokens[found.value[0]]
        return token

    def take_number(self, low=0, high=texts.MOST_U32):
        """Takes a number, also by the name of a constant. None: no number of keeld."""
        token = self._value()
        if token.kind != "number" or token.number == NO_NUMBER:
            return None
        self.at += 1
        return token.number if low <= token.number <= high else None

    def take_asn(self):
        token = self._value()
        return self.take_number() if token.kind == "number" and texts.asn(token.text) is not None else None

    def take_address(self):
        token = self._value()
        if token.kind != "address":
            return None
        self.at += 1
        return token.text

    def take_prefix(self):
        """Takes a prefix without bits behind its length: BIRD refuses others."""
        address = self.take_address()
        length = self.take_number() if address is not None and self.take("/") else None
        prefix = None if length is None else texts.prefix("%s/%d" % (address, length))
        return prefix if prefix is not None and texts.same_address(prefix.partition("/")[0], address) else None

    def take_link(self, address):
        """Takes %INTERFACE behind an address."""
        return "%s%%%s" % (address, self.next().text) if self.take("%") else address


class Statements:
    """Rows (words, function): the first words of a statement select the row, and function(reader, *arguments) reads the rest."""

    def __init__(self, *rows):
        self._rows = {}
        for words, function in rows:
            words = tuple(words.split())
            self._rows.setdefault(words[0], []).append((words, function))

    def read(self, b, *arguments):
        """What the function says: true if the statement is carried. False: no row has these words."""
        for words, function in self._rows.get(b.peek().text, ()):
            if b.take_words(words):
                return bool(function(b, *arguments))
        return False


def no_route(b, *_):
    """A statement without an effect on routes."""
    b.note(b.tokens[b.at - 1].line, "changed: left out; no effect on routes")
    b.skip_to(";")
    return True


def debug(b, *_):
    b.skip_to(";")
    return True


NO_ROUTE = [(words, no_route) for words in (
    "connect delay time", "error wait time", "error forget time", "check link", "strict bind", "free bind", "graceful restart time", "advertise hostname",
    "keepalive scale time", "dynamic name", "dynamic name digits", "min hold time", "min keepalive time", "enforce stale", "setkey")] + [("debug", debug)]
