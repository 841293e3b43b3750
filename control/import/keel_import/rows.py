# SPDX-License-Identifier: BSD-3-Clause
"""Rows of a grammar: a pattern and the function for the lines of this shape. Words of a pattern: `*` takes a word; `(a|b)` takes one of these words;
`a|b` is one of these words; `[...]` at the end takes the words that are left, maybe none; any other word is itself."""


class Rows:
    """rows: (pattern, function). The first row of a line's shape reads the line: function(*arguments, *taken words) is true if the line has its verdict."""

    def __init__(self, *rows):
        self._rows = {}
        for pattern, function in rows:
            words = pattern.split()
            rest = words[-1] == "[...]"
            pieces = [self._piece(word) for word in (words[:-1] if rest else words)]
            for first in pieces[0][0]:
                self._rows.setdefault(first, []).append((pieces, rest, function))

    @staticmethod
    def _piece(word):
        """(words, or None for any; True if the word is taken)."""
        if word == "*":
            return None, True
        taken = word.startswith("(")
        return frozenset(word.strip("()").split("|")), taken

    def read(self, words, *arguments):
        """What the function of the row says: true if the line has its verdict. None: no row has the shape of the line."""
        for pieces, rest, function in self._rows.get(words[0], ()) if words else ():
            if len(words) < len(pieces) or (len(words) > len(pieces) and not rest):
                continue
            taken = []
            for word, (known, take) in zip(words, pieces):
                if known is not None and word not in known:
                    break
                if take:
                    taken.append(word)
            else:
                return bool(function(*arguments, *taken, *([words[len(pieces):]] if rest else [])))
        return None


def _home(o, inside):
    return o if inside is None else o.setdefault(inside, {})


def put(key, value=True, inside=None):
    """A function of a row that sets a key of an object. `inside`: the key of the object in the object."""
    def function(im, o):
        _home(o, inside)[key] = value
        return True
    return function


def put_word(key):
    """A function of a row that sets a key to the taken word."""
    def function(im, o, word):
        o[key] = word
        return True
    return function


def put_number(key, inside=None):
    """A function of a row that sets a key to the taken number. `inside`: as in put()."""
    return lambda im, o, text: im.set_number(_home(o, inside), key, text)


def put_text(key):
    """A function of a row that sets a key to the rest of the line."""
    def function(im, o, text, _):
        o[key] = text
        return True
    return function


def of_keys(table, no=False):
    """The rows for a table of keys.py. `no`: also those that begin with `no`, of keys that are true or false."""
    for line, key, inside in table:
        words, _, value = line.rpartition(" ")
        if value == "NUMBER":
            yield words + " *", put_number(key, inside)
        elif value.startswith("[NUMBER="):
            yield words, put(key, int(value[8:-1]), inside)
            yield words + " *", put_number(key, inside)
        elif value == "TEXT":
            yield words + " * [...]", put_text(key)
        else:
            yield line, put(key, True, inside)
            if no:
                yield "no " + line, put(key, False, inside)
