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


def put(key, value=True):
    """A function of a row that sets a key of an object."""
    def function(im, o):
        o[key] = value
        return True
    return function


def put_word(key):
    """A function of a row that sets a key to the taken word."""
    def function(im, o, word):
        o[key] = word
        return True
    return function


def put_number(key, inside=None):
    """A function of a row that sets a key to the taken number. `inside`: the key of the object in the object."""
    return lambda im, o, text: im.set_number(o if inside is None else o.setdefault(inside, {}), key, text)
