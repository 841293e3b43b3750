# SPDX-License-Identifier: BSD-3-Clause
"""Texts of a configuration as values of keel.json: numbers, addresses, prefixes, communities, names, regular expressions. Pure functions; a function
returns None or False for a text that keeld refuses."""
import codecs
import functools
import re
import socket

AS_TRANS = 23456  # reserved
MOST_U32 = 4294967295
V4, V6 = "ipv4-unicast", "ipv6-unicast"
FAMILIES = (V4, V6)
CONTROLS = re.compile("[\0-\x1f\x7f-\x9f]")
WORD = re.compile("[^ \t\r\n]+")


# ---- lines ----


def _letter(error):
    """An octet that is not UTF-8 becomes the letter of ISO 8859-1, so that different names stay different."""
    return chr(error.object[error.start]), error.start + 1


codecs.register_error("keel-import", _letter)


def read_lines(data):
    """The lines of a file (bytes), each with its line break. NUL would hide the rest of a name and becomes U+0080."""
    text = data.decode("utf-8", "keel-import").replace("\0", "\x80")
    lines = text.split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def safe(text):
    """`text` with `?` in the place of control characters."""
    return text if text.isprintable() else CONTROLS.sub("?", text)


# ---- numbers ----


def number(text):
    """0 to 2^32 - 1 in decimal digits."""
    if not text or not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    n = int(digits) if len(digits) <= 10 else MOST_U32 + 1
    return n if n <= MOST_U32 else None


def asn(text):
    """The number of an AS, also as HIGH.LOW; 0 and 23456 are reserved."""
    high, dot, low = (text or "").partition(".")
    if not dot:
        n = number(text)
    else:
        parts = number(high) if len(high) <= 5 else None, number(low)
        n = None if None in parts or max(parts) > 65535 else parts[0] << 16 | parts[1]
    return n if n and n != AS_TRANS else None


# ---- addresses ----


@functools.lru_cache(maxsize=65536)
def packed(text):
    """The 4 or 16 octets of an address without a zone."""
    if not text.isascii() or "\0" in text:
        return None
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return None


def unpacked(octets):
    return socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, octets)


def address_key(text):
    """A value that is equal for the texts of one address; None: no address. An IPv6 address may have a zone."""
    plain, percent, zone = text.partition("%")
    octets = packed(plain)
    if octets is None or (percent and (len(octets) == 4 or not zone)):
        return None
    return octets, zone


def is_address(text):
    return address_key(text) is not None


def same_address(a, b):
    key = address_key(a)
    return key is not None and key == address_key(b)


def is_six(text):
    return ":" in text


def most_bits(text):
    return 128 if ":" in text else 32


def covering(octets, length):
    """ADDRESS/LENGTH without bits behind the length."""
    bits = 8 * len(octets)
    value = int.from_bytes(octets, "big") >> (bits - length) << (bits - length)
    return "%s/%d" % (unpacked(value.to_bytes(len(octets), "big")), length)


@functools.lru_cache(maxsize=65536)
def prefix(text):
    """ADDRESS/LENGTH without host bits."""
    address, slash, length = text.partition("/")
    octets, n = packed(address), number(length)
    if not slash or octets is None or n is None or n > 8 * len(octets):
        return None
    return covering(octets, n)


def _is_zone(text):
    """True if the text can name an interface."""
    return 0 < len(text.encode()) <= 15 and not re.search("[\0-\x20/:%\x7f]", text) and text not in (".", "..")


def is_host(text):
    """True if the text is the address of a host as keeld accepts it: link-local only with %INTERFACE."""
    plain, percent, zone = (text or "").partition("%")
    octets = packed(plain)
    if octets is None:
        return False
    if len(octets) == 4:
        return not percent and 0 < octets[0] < 224
    if bool(percent) != (octets[0] == 0xfe and octets[1] & 0xc0 == 0x80):
        return False
    return any(octets) and octets[0] != 0xff and octets[:12] != bytes(10) + b"\xff\xff" and (not percent or _is_zone(zone))


def is_id(text):
    """True for an IPv4 address other than 0.0.0.0."""
    octets = packed(text or "")
    return octets is not None and len(octets) == 4 and any(octets)


# ---- communities ----

COMMUNITIES = {word: word for word in ("no-export", "no-advertise", "no-export-subconfed", "no-peer", "graceful-shutdown", "blackhole", "accept-own",
                                       "llgr-stale", "no-llgr")}
COMMUNITIES.update({"local-AS": "no-export-subconfed", "internet": "0:0"})


def community(word, large):
    """A community as keeld writes it: A:B, a word, or A:B:C of a large one."""
    if not large:
        if word in COMMUNITIES:
            return COMMUNITIES[word]
        n = number(word)
        if n is not None:
            return "%d:%d" % (n >> 16, n & 65535)
    if len(word) > 63:
        return None
    parts = [number(part) for part in word.split(":")]
    if len(parts) != (3 if large else 2) or None in parts or (not large and max(parts) > 65535):
        return None
    return ":".join(map(str, parts))


def route_target(word):
    """NUMBER:NUMBER or ADDRESS:NUMBER as rt:A:B; a small number before a number of 32 bits."""
    before, colon, after = word.partition(":")
    address = "." in before and packed(before) is not None
    high, low = 0 if address else number(before), number(after)
    if not colon or None in (high, low) or (high > 65535 and low > 65535) or (address and low > 65535):
        return None
    return "rt:%s:%d" % (before if address else high, low)


# ---- names ----

# Words of commands; accept-all and deny-all are policies of keeld.
NO_NAMES = frozenset(("all", "external", "internal", "group", "import", "export", "slow-peer", "accept-all", "deny-all"))


def name_text(name):
    """The text as a name of keel.json: begins with a letter, has letters, digits, `_`, `.` and `-`, and is no word of a command."""
    good = re.match("[A-Za-z]", name) and name not in NO_NAMES and not is_address(name)
    octets = (("" if good else "n-") + name).encode()[:63]
    return re.sub(rb"[^A-Za-z0-9_.-]", b"_", octets).decode()


# ---- regular expressions ----

GROUP_DEPTH_MAX = 16  # groups within groups
COPIED_MAX = 1000  # characters in the copies of repeated groups: keeld needs up to 50 octets for one (`_`), and reads 64 KiB
BOUNDS = re.compile(r"\{(\d{1,9})(?:(,)(\d{0,9}))?\}", re.ASCII)


def _bounds(text, at):
    """The end of {N}, {N,} or {N,M} of at most 255, and the copies that keeld makes of what is repeated; (None, 0): refused."""
    m = BOUNDS.match(text, at)
    if m is None:
        return None, 0
    low = int(m[1])
    high = low if not m[2] else int(m[3]) if m[3] else 255
    copies = low + 1 if m[2] and not m[3] else high
    return (m.end(), copies) if low <= high <= 255 else (None, 0)


def _class_end(text, at):
    """The end of a bracket expression of characters, ranges, [:digit:] and [:space:]; None: refused. bgpd replaces `_` in brackets, too, and the
    expression has a different meaning."""
    at += 2 if text[at + 1:at + 2] == "^" else 1
    first = True
    while at < len(text) and (text[at] != "]" or first):
        first = False
        if text.startswith(("[:digit:]", "[:space:]"), at):
            at += 9
            continue
        if text[at] in "[\\]_":
            return None
        if text[at + 1:at + 2] == "-" and text[at + 2:at + 3] != "]":
            end = text[at + 2:at + 3]
            if end < text[at] or end in "\\[":
                return None
            at += 2
        at += 1
    return at + 1 if at < len(text) else None


class _Groups:
    """The groups of an expression so far, and the copies that keeld makes of them."""

    def __init__(self):
        self.open, self.copied = [], 0

    def repeated(self, text, start, at, copies):
        """The text from `start` to `at` is repeated. False: too much for keeld."""
        if "{" in text[start:at]:
            return False
        self.copied += (at - start) * copies
        return self.copied <= COPIED_MAX


def _atom_end(text, at):
    """The end of the atom at `at`; None: refused."""
    c = text[at]
    if c == "\\":
        # an escaped letter, digit, < > ' or ` has a meaning of its own; bgpd replaces _
        after = text[at + 1:at + 2]
        return None if not after or after.isalnum() or not after.isascii() or after in "<>'`_" else at + 2
    return _class_end(text, at) if c == "[" else at + 1


def is_regex(text):
    """True if keeld reads the regular expression, with the meaning of POSIX. False for escaped letters, lazy repetitions and large repetitions."""
    groups, group, atom, at = _Groups(), None, False, 0  # `group`: begins what ends before `at`; `atom`: this may be repeated
    while at < len(text):
        c = text[at]
        if c in "*+?{":
            end, copies = _bounds(text, at) if c == "{" else (at + 1, 0)
            if not atom or end is None or (c == "{" and group is not None and not groups.repeated(text, group, at, copies)):
                return False
            at, atom = end, False  # behind a repetition, ? and + have other meanings
            continue
        atom = c not in "^$(|"
        group = at if c == "_" else None
        if c == "(":
            if text[at + 1:at + 2] in ("?", "*") or len(groups.open) == GROUP_DEPTH_MAX:
                return False
            groups.open.append(at)
        elif c == ")":
            if not groups.open:
                return False
            group = groups.open.pop()
        at = _atom_end(text, at)
        if at is None:
            return False
    return bool(text) and not groups.open
