# SPDX-License-Identifier: BSD-3-Clause
"""The programs: keeld(8), keelctl(1), keelbench(1), keel-rpc(7) and the completions for shells, of the tables in control/ and dataplane/."""
import argparse
import collections
import functools
import os
import re
import shutil
import subprocess
import sys
import types

import mdoc
import c_tables
from c_tables import source_of, string_of, tokens
from tree import Fault, Tree

FOLDER = "scripts/reference.d/"
PAGES = {"docs/man/" + name: FOLDER + name + ".in" for name in ("keeld.8", "keelctl.1", "keelbench.1", "keel-rpc.7")}
RPC = ["control/rpc/" + name for name in ("rpc_config.c", "rpc_bgp.c", "rpc_preview.c", "rpc_rib.c", "rpc_fate.c", "rpc_history.c", "rpc_trace.c", "rpc_mrt.c", "rpc_vrf.c", "rpc_fib.c", "rpc_rpki.c", "rpc_control.c", "rpc_events.c")]
RPC_FIELDS, RPC_ERRORS, RPC_EVENTS = "control/rpc/rpc_fields.c", "control/rpc/rpc.c", "control/rpc/rpc_events.c"
METRICS, ALARMS, GRAMMAR = "control/http/http_metrics.c", "control/rpc/rpc_alarms.c", "control/cli/keelctl_grammar.c"
SETTINGS, METRICS_TABLE = "control/cli/keelctl_settings.def", "control/http/http_metrics.def"
KEELD, KEELCTL, KEELBENCH = "control/main.c", "control/cli/keelctl_help.c", "tests/bench/keelbench/cli.py"
LOG_EVENTS, DROPS = "control/base/log_events.def", "dataplane/forward/drops.def"
# Objects that several methods share: described once, under OBJECTS.
OBJECTS = {"rpc_histogram_fields": "histogram", "rpc_route_fields": "route", "rpc_job_fields": "job", "rpc_effect_fields": "effect",
           "rpc_alarm_fields": "alarm"}

Field = collections.namedtuple("Field", "name type text members shared optional metric")
Metric = collections.namedtuple("Metric", "name kind source key help")
Source = collections.namedtuple("Source", "method begin labels")  # begin: the names that lead to the row
Method = collections.namedtuple("Method", "name params result summary text reads errors fn path")
Option = collections.namedtuple("Option", "name value help")
Line = collections.namedtuple("Line", "views text undo help")


# ---- reading the tables ----

@functools.lru_cache(maxsize=None)
def tables_in(path, text, struct):
    """The self-test reads the same files many times."""
    return c_tables.tables(Tree("/", {path: text}), path, struct)


def tables(tree, path, struct):
    return tables_in(path, tree.text(path), struct)


KINDS = ("GAUGE", "COUNTER", "SUMMARY")


def metric_of(entry):
    """(kind, name, help or None) of a row that is a metric; None."""
    for v in entry.values:
        if v and v[0].text in KINDS:
            words = [string_of(x) for x in c_tables.arguments(v[2:-1])]
            return (v[0].text, *words, *[None] * (2 - len(words)))
    return None


def written_out(entry):
    """Without its metric; a row {SOME_NUMBER(member) "Text."} or {SOME_FLAG("name", member) "Text."} as a row with name, type and text."""
    entry = entry._replace(values=[v for v in entry.values if not v or v[0].text not in KINDS])
    first = entry.values[0]
    if len(first) < 4 or first[1].text != "(":
        return entry
    name = first[2] if first[2].kind == "string" else first[2]._replace(kind="string", text='"%s"' % first[2].text)
    kind = name._replace(text='"boolean"' if "FLAG" in first[0].text else '"integer"')
    return entry._replace(values=[[name], [kind], [t for t in first[3:] if t.kind == "string"]])


def defines(text):
    """{name: tokens} of the macros whose value begins with a string or a name."""
    found = {}
    for m in re.finditer(r"^#define[ \t]+(\w+)[ \t]+((?:.*\\\n)*.*)$", text, re.M):
        found[m.group(1)] = [t for t in tokens(m.group(2).replace("\\\n", " ")) if t.kind != "comment"]
    return found


def string(value, macros, where):
    """The characters of string literals and string macros; None for NULL."""
    flat, todo, steps = [], list(value), 0
    while todo:
        t = todo.pop(0)
        steps += 1
        if t.kind == "word" and t.text in macros and steps < 200:
            todo = macros[t.text] + todo
        else:
            flat.append(t)
    if source_of(flat) == "NULL":
        return None
    text = string_of(flat)
    if text is None:
        raise Fault("%s: %s is no string" % (where, source_of(value)))
    return text


def grammar_text(tree):
    """The grammar with the rows of SETTINGS in their places."""
    def rows(m):
        calls = re.findall(r"^%s\((.*)\)$" % m.group(1), tree.text(SETTINGS), re.M)
        if m.group(1) == "WORD":
            return "".join("{%s}, " % call for call in calls)
        return "".join('{%s, edit_command, PEER %s %s, true, %s}, ' % tuple(c_tables.source_of(x) for i, x in enumerate(c_tables.arguments(list(tokens(call)))) if i in (0, 1, 2, 8))
                       for call in calls)
    return re.sub(r'#define (SETTING|WORD)\(.*?\).*?\n#include "%s"\n' % SETTINGS, rows, tree.text(GRAMMAR), flags=re.S)


def with_settings(tree):
    """{struct: its only table in the grammar}"""
    text = grammar_text(tree)
    return {struct: next(iter(tables_in(GRAMMAR, text, struct).values())) for struct in ("command_rule", "command_word")}


class Reader:
    def __init__(self, tree):
        self.tree = tree
        self.errors = self.read_errors()
        self.fields = {}  # (path, name) or name: Table
        for path in RPC + [RPC_FIELDS]:
            for name, table in tables(tree, path, "rpc_field").items():
                self.fields[path, name] = table
                if path == RPC_FIELDS:
                    self.fields[name] = table
        self.shown = set()  # tables that a method or an event uses
        self.methods = [m for path in RPC for m in self.read_methods(path)]
        self.topics = self.read_topics()
        self.objects = {word: self.members(RPC_FIELDS, name) for name, word in OBJECTS.items()}
        self.alarms = self.rows(ALARMS, "alarm_kind", ["control/base/watchdog.h"])
        self.metrics, self.sources = self.read_metrics()
        self.lines, self.words = self.read_grammar()
        self.options = {p: [Option(*r) for r in self.rows(path, "program_option", columns=(0, 1, 3))] for p, path in
                        (("keeld", KEELD), ("keelctl", KEELCTL))}
        self.statuses = {p: self.read_statuses(path) for p, path in (("keeld", KEELD), ("keelctl", KEELCTL))}
        self.bench = Bench(tree)
        self.statuses["keelbench"] = sorted(self.bench.module.EXIT_STATUS.items())
        self.log = self.read_log()
        self.drops = self.read_drops()
        for key, table in self.fields.items():
            if isinstance(key, tuple) and key not in self.shown:
                raise Fault("%s:%d: no method and no event uses the table %s" % (table.path, table.line, table.name))

    def macros(self, *paths):
        found = {}
        for path in paths:
            found.update(defines(self.tree.text(path)))
        return found

    def entries(self, path, struct, name=None):
        found = tables(self.tree, path, struct)
        if name is None and len(found) != 1:
            raise Fault("%s: %d tables of struct %s" % (path, len(found), struct))
        if name is not None and name not in found:
            raise Fault("%s: there is no table %s" % (path, name))
        table = found[name] if name else next(iter(found.values()))
        return [e for e in table.entries if e.fields or source_of(e.values[0]) != "0" or len(e.values) > 1]

    def rows(self, path, struct, more=(), columns=None):
        """The strings of each entry."""
        macros = self.macros(path, *more)
        return [tuple(string(v, macros, "%s:%d" % (path, e.line)) for i, v in enumerate(e.values) if columns is None or i in columns)
                for e in self.entries(path, struct)]

    def read_errors(self):
        codes = dict(re.findall(r"\b(RPC_[A-Z_]+) = (-\d+)", self.tree.text("control/rpc/rpc.h")))
        out = {}
        for e in self.entries(RPC_ERRORS, "rpc_error_text"):
            name = source_of(e.values[0])
            if name not in codes:
                raise Fault("%s:%d: %s is no error" % (RPC_ERRORS, e.line, name))
            out[name] = (int(codes[name]), string_of(e.values[1]), string_of(e.values[2]))
        for name in codes:
            if name not in out:
                raise Fault("control/rpc/rpc.h: the error %s is not described in %s" % (name, RPC_ERRORS))
        return out

    def members(self, path, name):
        key = (path, name) if (path, name) in self.fields else (RPC_FIELDS, name)
        if key not in self.fields:
            raise Fault("%s: there is no table %s" % (path, name))
        self.shown.add(key)
        out = []
        for row in self.fields[key].entries:
            e = written_out(row)
            if len(e.values) == 1:
                continue
            where = "%s:%d" % (key[0], e.line)
            if len(e.values) < 3 or not string_of(e.values[2]):
                raise Fault("%s: %s has no description" % (where, string_of(e.values[0])))
            child = source_of(e.values[3]) if len(e.values) > 3 else None
            shared = OBJECTS.get(child)
            nested = self.members(key[0], child) if child and not shared else []
            if shared:
                self.shown.add((RPC_FIELDS, child))
            field = string_of(e.values[0])
            out.append(Field(field.rstrip("?"), string_of(e.values[1]), string_of(e.values[2]), nested, shared, field.endswith("?"), metric_of(row)))
        return out

    def read_methods(self, path):
        out = []
        for e in self.entries(path, "rpc_method"):
            where = "%s:%d" % (path, e.line)
            name, fn, params, result, summary, text, reads, errors = e.values
            if not string_of(summary):
                raise Fault("%s: %s has no summary" % (where, string_of(name)))
            table = [None if source_of(v) == "NULL" else source_of(v) for v in (params, result)]
            shared = OBJECTS.get(table[1])
            out.append(Method(string_of(name), self.members(path, table[0]) if table[0] else [],
                              self.members(path, table[1]) if table[1] and not shared else shared or [], string_of(summary), string_of(text),
                              source_of(reads), [t.text for t in errors if t.text in self.errors], source_of(fn), path))
            if shared:
                self.shown.add((RPC_FIELDS, table[1]))
        return out

    def read_topics(self):
        return [(string_of(e.values[0]), string_of(e.values[1]), self.members(RPC_EVENTS, source_of(e.values[2])) if source_of(e.values[2]) != "NULL" else [])
                for e in self.entries(RPC_EVENTS, "rpc_topic")]

    def read_metrics(self):
        """([Metric], {source: Source}): those of rows of results, then those of the table in METRICS."""
        sources = {}
        names = re.search(r"enum source \{(.*?)\}", self.tree.text(METRICS), re.S).group(1)
        for name, e in zip(re.findall(r"\bOF_\w+", names), self.entries(METRICS, "metric_source")):
            method, rows, inside, _, _, inner = ([string_of(v) for v in e.values] + [None])[:6]
            begin = ([rows] if rows else []) + ([inside, "*"] if inside else []) + ([inner, "*"] if inner else [])
            sources[name] = Source(method, begin, [t.text[1:-1] for t in e.values[3] if t.kind == "string"])
        found = [self.metric(m.name, path, f, sources) for m in self.methods if not isinstance(m.result, str) for path, f in paths(m.result) if f.metric]
        found.sort(key=lambda x: list(sources).index(x.source))
        text = re.sub(r"#define METRIC\(.*?\n#include [^\n]*\n", "", self.tree.text(METRICS))
        table = next(iter(tables_in(METRICS, text, "metric").values()))
        self.of_rows = len(found)
        return found + [Metric(string_of(e.values[0]), source_of(e.values[1]), source_of(e.values[2]), string_of(e.values[3]), string_of(e.values[4]))
                        for e in table.entries], sources

    @staticmethod
    def metric(method, path, f, sources):
        fits = [n for n, s in sources.items() if s.method == method and path[:len(s.begin)] == s.begin]
        if not fits:
            raise Fault("%s: no source of %s has the metric %s" % (METRICS, method, f.metric[1]))
        source = max(fits, key=lambda n: (len(sources[n].begin), -len(sources[n].labels)))
        kind, name, text = f.metric
        return Metric(name, kind, source, "/".join(path[len(sources[source].begin):]) or None, (text or f.text).replace("`", ""))

    def read_grammar(self):
        macros, expanded = self.macros(GRAMMAR), with_settings(self.tree)
        lines = []
        for e in expanded["command_rule"].entries:
            views = set()
            for t in e.values[0]:
                views |= {x.text for x in macros.get(t.text, [t]) if x.text.startswith("VIEW_")}
            lines.append(Line(views, string(e.values[2], macros, GRAMMAR), source_of(e.values[3]) == "true", string_of(e.values[4])))
        words = [(string_of(e.values[0]), string(e.values[1], {}, GRAMMAR), string_of(e.values[2])) for e in expanded["command_word"].entries]
        return lines, words

    def read_statuses(self, path):
        macros = self.macros(path, "control/cli/keelctl.h")
        return [(int(macros[source_of(e.values[0])][0].text), string_of(e.values[1])) for e in self.entries(path, "program_status")]

    def read_drops(self):
        text = re.sub(r"/\*.*?\*/", "", self.tree.text(DROPS), flags=re.S)
        drops = re.findall(r'^DROP\(\w+,\s*"([\w-]+)",\s*"([^"]*)",\s*"([^"]+)"\)$', text, re.M)
        if not drops or text.count("DROP(") != len(drops):
            raise Fault("%s: an entry is not DROP(name, \"name\", \"RFCs\", \"text\")" % DROPS)
        return drops

    def read_log(self):
        text = re.sub(r"/\*.*?\*/", "", self.tree.text(LOG_EVENTS), flags=re.S)
        events = re.findall(r'LOG_EVENT\("([^"]+)",\s*"([^"]*)",\s*"([^"]+)"\)', text)
        if text.count("LOG_EVENT(") != len(events):
            raise Fault("%s: an entry is not LOG_EVENT(\"name\", \"keys\", \"text\")" % LOG_EVENTS)
        return [(name, keys.split(), what) for name, keys, what in events]


class Bench:
    """keelbench's options, from the parser that reads them."""

    def __init__(self, tree):
        folder = os.path.join(tree.root, "tests", "bench")
        sys.dont_write_bytecode = True
        for path in (folder, os.path.join(tree.root, "tests", "lab"), os.path.join(tree.root, "tests", "interop")):
            if path not in sys.path:
                sys.path.insert(0, path)
        self.module = types.ModuleType("keelbench.cli")
        self.module.__package__ = "keelbench"
        self.module.__file__ = os.path.join(tree.root, KEELBENCH)
        exec(compile(tree.text(KEELBENCH), KEELBENCH, "exec"), self.module.__dict__)
        top = self.module.parser()
        self.commands = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction)).choices
        self.help = self.module.COMMANDS_HELP
        if set(self.help) != set(self.commands):
            raise Fault("%s: COMMANDS_HELP and the commands differ" % KEELBENCH)

    def options(self, command):
        """[(group, [Option])] of a command, without --help."""
        out = []
        for group in self.commands[command]._action_groups:
            options = []
            for a in group._group_actions:
                if not a.option_strings or "--help" in a.option_strings:
                    continue
                if not a.help:
                    raise Fault("%s: %s %s has no description" % (KEELBENCH, command, a.option_strings[0]))
                text = a.help % {"default": a.default}
                value = None if a.nargs == 0 else a.metavar or ("|".join(map(str, a.choices)) if a.choices else a.dest.upper())
                options.append(Option(a.option_strings[0].lstrip("-"), value, text[0].upper() + text[1:].rstrip(".") + "."))
            if options:
                out.append((group.title, options))
        return out


# ---- manual pages ----

def item(*words):
    return ".It " + " ".join(words)


def type_text(f):
    text = f.type
    null = text.endswith("|null")
    text = text[:-5] if null else text
    array = text.endswith("[]")
    text = text[:-2] if array else text
    if f.shared:
        text = f.shared
    elif "|" in text:
        text = "one of " + ", ".join("`%s`" % w for w in text.split("|"))
    elif text.startswith("integer="):
        text = "integer, %s to %s" % tuple(text[8:].split(".."))
    if array:
        text = "array of " + {"family": "families", "address": "addresses", "prefix": "prefixes", "any": "values"}.get(text, text + "s")
    return ("any value" if text == "any" else text) + (" or null" if null else "") + ("; optional" if f.optional else "")


def flat(fields, before=""):
    """[(path, Field)]: peers, peers[].address, peers[].families.*.received."""
    out = []
    for f in fields:
        name = before + (("." if before else "") + f.name if f.name else "")
        name += "[]" if f.type.split("|null")[0].endswith("[]") and (f.members or not f.name) else ""
        if f.name:
            out.append((before + ("." if before else "") + f.name, f))
        out += flat(f.members, name)
    return out


def paths(fields, before=()):
    """[([name, ...], Field)]"""
    for f in fields:
        yield [*before, f.name], f
        yield from paths(f.members, [*before, f.name])


def field_list(fields):
    if not fields:
        return []
    out = [".Bl -tag -width Ds"]
    for path, f in flat(fields):
        out.append(item("Ic", mdoc.argument(path)))
        out += mdoc.running("*%s*. %s" % (type_text(f).replace("`", ""), f.text) if "`" not in type_text(f) else
                            type_text(f)[0].upper() + type_text(f)[1:] + ". " + f.text)
    return out + [".El"]


def method_page(reader, m):
    out = [".Ss " + m.name] + mdoc.running(m.summary.rstrip(".") + ".")
    if m.text:
        out += mdoc.paragraphs(m.text)
    if m.reads == "RPC_CHANGES":
        out += mdoc.running("Changes something, so the read-only socket refuses it.")
    out += [".Pp"] + (["Parameters:"] if m.params else ["No parameters."]) + field_list(m.params)
    if isinstance(m.result, str):
        out += [".Pp"] + mdoc.running("Result: one *%s*; see OBJECTS." % m.result)
    elif m.result and not m.result[0].name:
        out += [".Pp", "Result, an array whose elements have:"] + field_list(m.result[0].members)
    else:
        out += [".Pp"] + (["Result:"] if m.result else ["Result: an empty object."]) + field_list(m.result)
    if m.errors:
        out += [".Pp"] + mdoc.running("Errors: " + ", ".join("%d (%s)" % reader.errors[e][:2] for e in m.errors) + ".")
    return out


def methods_page(reader):
    return [line for m in reader.methods for line in method_page(reader, m)]


def objects_page(reader):
    out = []
    for word, fields in reader.objects.items():
        out += [".Ss " + word] + field_list(fields)
    return out


def events_page(reader):
    out = []
    for topic, text, fields in reader.topics:
        out += [".Ss " + topic] + mdoc.running(text) + field_list(fields)
    return out


def tagged(rows):
    """A list of (tag, text)."""
    out = [".Bl -tag -width Ds"]
    for tag, text in rows:
        out += [item("Ic", mdoc.argument(tag))] + mdoc.running(text)
    return out + [".El"]


def errors_page(reader):
    return tagged([("%d %s" % (code, message), text) for code, message, text in reader.errors.values()])


def alarms_page(reader):
    return tagged([(kind, text) for kind, _, text in reader.alarms])


def metrics_page(reader):
    out = [".Bl -tag -width Ds"]
    for name, kind, source, _, text in reader.metrics:
        labels = reader.sources[source].labels
        end = {"COUNTER": "_total", "INFO": "_info"}.get(kind, "")
        out += [item("Ic", name + end)] + mdoc.running("%s%s. %s" % (kind.capitalize(), ", by " + ", ".join("`%s`" % w for w in labels) if labels else "", text))
    return out + [".El"]


def drops_page(reader):
    return tagged([(name, text[0].upper() + text[1:] + (" (%s)" % rfc if rfc else "") + ".") for name, rfc, text in reader.drops])


def log_page(reader):
    return tagged([(name, text + (" Keys: " + ", ".join("`%s`" % k for k in keys) + "." if keys else "")) for name, keys, text in reader.log])


def option_list(options):
    out = [".Bl -tag -width Ds"]
    for o in options:
        flag = o.name if len(o.name) == 1 else "-" + o.name
        out += [item("Fl", flag, *(["Ar"] + [mdoc.argument(w) for w in o.value.split(" ")] if o.value else []))] + mdoc.running(o.help)
    return out + [".El"]


def shown_line(line):
    """Without the mark of a word that is never abbreviated, and the names of VALUES."""
    return re.sub(r"(?<=[A-Z]):[a-z_]+", "", line.text.replace("!", ""))


def commands_page(reader):
    out = []
    for title, view in (("Every view", "VIEW_ANY"), ("User view", "VIEW_USER"), ("Configuration views", "VIEW_CONFIG"), ("System view", "VIEW_SYSTEM"),
                        ("BGP view", "VIEW_BGP"), ("Views of an address family", "VIEW_FAMILY"), ("View of a node of a route policy", "VIEW_POLICY"), ("Filters", "VIEW_FILTER")):
        rows = [(shown_line(line), line.help + (" Also in the view of a node of a route policy." if view == "VIEW_SYSTEM" and "VIEW_POLICY" in line.views else "") +
                 (" Also with `undo` in front." if line.undo else ""))
                for line in reader.lines if view in line.views and (view != "VIEW_POLICY" or "VIEW_SYSTEM" not in line.views)]
        out += [".Ss " + title] + tagged(rows)
    return out


def bench_page(reader):
    common = {o.name for _, options in reader.bench.options("limits") for o in options}
    out = [".Ss Options of every command"]
    for i, (title, options) in enumerate(reader.bench.options("limits")):
        out += ([".Pp"] if i else []) + [title[0].upper() + title[1:] + ":"] + option_list(options)
    for command in reader.bench.commands:
        out += [".Ss keelbench " + command] + mdoc.running(reader.bench.help[command])
        own = [o for _, options in reader.bench.options(command) for o in options if o.name not in common]
        out += option_list(own) if own else []
    return out


PARTS = {"methods": methods_page, "objects": objects_page, "events": events_page, "errors": errors_page, "alarms": alarms_page,
         "metrics": metrics_page, "drops": drops_page, "log": log_page, "commands": commands_page, "bench": bench_page}


def page(tree, reader, template):
    out, used = [], set()
    for line in tree.text(template).rstrip("\n").split("\n"):
        m = re.match(r'\.\\" @(\w+)(?: (\w+))?$', line)
        if not m:
            out.append(line)
            continue
        used.add(" ".join(w for w in m.groups() if w))
        if m.group(1) == "options":
            out += option_list([Option(o.name, o.value, o.help.replace("\n", " ")) for o in reader.options[m.group(2)]])
        elif m.group(1) == "exit":
            out += tagged([(str(status), text) for status, text in reader.statuses[m.group(2)]])
        elif m.group(1) in PARTS:
            out += PARTS[m.group(1)](reader)
        else:
            raise Fault("%s: there is no part %s" % (template, m.group(1)))
    head = mdoc.HEAD % ("the tables in control/ and of\n.\\\" " + template)
    return head + "\n".join(mdoc.wrapped(out)) + "\n", used


# ---- completions ----

NOTE = "# SPDX-License-Identifier: BSD-3-Clause\n# Made by scripts/reference. Edit the tables of options, not this file.\n"
FILES = {"FILE", "PATH", "DIR", "OUT"}
WORDS = {"LEVEL": ["error", "warning", "info", "debug"]}


def values_of(option):
    if option.value in WORDS:
        return WORDS[option.value]
    return option.value.split("|") if option.value and "|" in option.value and re.fullmatch(r"[a-z0-9|]+", option.value) else []


def flag_of(o):
    return "-" + o.name if len(o.name) == 1 else "--" + o.name


def quoted(text):
    """In single quotes, for sh and fish, with no character that _arguments reads."""
    return re.sub(r"['\[\]:`\\]", "", text.replace("\n", " "))


def bash_static(program, commands):
    out = [NOTE + "_%s() {" % program, "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=", "\tcase $before in"]
    options = {o.name: o for options in commands.values() for o in options}.values()
    files = [flag_of(o) for o in options if o.value in FILES]
    if files:
        out += ["\t%s)" % " | ".join(files), "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$word\")", "\t\treturn", "\t\t;;"]
    for o in options:
        if values_of(o):
            out += ["\t%s)" % flag_of(o), "\t\tmapfile -t COMPREPLY < <(compgen -W '%s' -- \"$word\")" % " ".join(values_of(o)), "\t\treturn", "\t\t;;"]
    out += ["\tesac"]
    if list(commands) == [""]:
        out += ["\twords='%s'" % " ".join(map(flag_of, commands[""]))]
    else:
        out += ["\tcase ${COMP_CWORD},${COMP_WORDS[1]} in", "\t1,*) words='%s --help' ;;" % " ".join(commands)]
        out += ["\t*,%s) words='%s --help' ;;" % (c, " ".join(map(flag_of, options))) for c, options in commands.items()]
        out += ["\tesac"]
    return "\n".join(out + ["\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")", "}", "complete -F _%s %s" % (program, program)]) + "\n"


def zsh_arguments(options):
    out = []
    for o in options:
        action = ""
        if o.value:
            action = ":%s:%s" % (quoted(o.value), "_files" if o.value in FILES else "(%s)" % " ".join(values_of(o)) if values_of(o) else " ")
        out.append("'%s[%s]%s'" % (flag_of(o), quoted(o.help), action))
    return out


def zsh_static(program, commands, helps):
    out = ["#compdef %s\n%s_%s() {" % (program, NOTE, program)]
    if list(commands) == [""]:
        out += ["\t_arguments \\"] + ["\t\t%s%s" % (a, " \\" if i + 1 < len(commands[""]) else "") for i, a in enumerate(zsh_arguments(commands[""]))]
    else:
        out += ["\tlocal -a commands=("] + ["\t\t'%s:%s'" % (c, quoted(helps[c])) for c in commands] + ["\t)"]
        out += ["\tif ((CURRENT == 2)); then", "\t\t_describe command commands", "\t\treturn", "\tfi", "\tlocal command=${words[2]}",
                "\tshift words", "\t((CURRENT--))", "\tcase $command in"]
        for c, options in commands.items():
            arguments = zsh_arguments(options)
            out += ["\t%s)" % c, "\t\t_arguments \\"] + ["\t\t\t%s%s" % (a, " \\" if i + 1 < len(arguments) else "") for i, a in enumerate(arguments)] + ["\t\t;;"]
        out += ["\tesac"]
    return "\n".join(out + ["}", "_%s \"$@\"" % program]) + "\n"


def fish_static(program, commands, helps):
    out = [NOTE + "complete -c %s -f" % program]
    for c, options in commands.items():
        when = " -n '__fish_seen_subcommand_from %s'" % c if c else ""
        if c:
            out.append("complete -c %s -n __fish_use_subcommand -a %s -d '%s'" % (program, c, quoted(helps[c])))
        for o in options:
            value = "" if not o.value else " -r -F" if o.value in FILES else " -x -a '%s'" % " ".join(values_of(o)) if values_of(o) else " -x"
            out.append("complete -c %s%s %s %s -d '%s'%s" % (program, when, "-s" if len(o.name) == 1 else "-l", o.name, quoted(o.help), value))
    return "\n".join(out) + "\n"


BASH_KEELCTL = NOTE + """_keelctl() {
	local word=${COMP_WORDS[COMP_CWORD]} cword=$COMP_CWORD found
	local words=("${COMP_WORDS[@]}")
	COMPREPLY=()
	# Addresses have colons, at which bash breaks words; bash-completion joins them again.
	declare -F _get_comp_words_by_ref >/dev/null && _get_comp_words_by_ref -n : -w words -i cword -c word
	if [[ ${words[cword - 1]} == --socket ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
	fi
	while IFS=$'\\t' read -r found _; do
		COMPREPLY+=("$found")
	done < <("${words[0]}" --complete "${words[@]:1:cword}" 2>/dev/null)
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$word"
	fi
}
complete -F _keelctl keelctl
"""
ZSH_KEELCTL = "#compdef keelctl\n" + NOTE + """_keelctl() {
	local -a found
	local word help
	if [[ ${words[CURRENT - 1]} == --socket ]]; then
		_files
		return
	fi
	while IFS=$'\\t' read -r word help; do
		found+=("${word//:/\\\\:}:$help")
	done < <("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)
	_describe keelctl found
}
_keelctl "$@"
"""
FISH_KEELCTL = NOTE + """function __keelctl_complete
	set -l words (commandline -opc)
	$words[1] --complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c keelctl -f -a '(__keelctl_complete)'
complete -c keelctl -l socket -r -F
"""


def completions(reader):
    bench = {c: [o for _, options in reader.bench.options(c) for o in options] for c in reader.bench.commands}
    out = {"docs/completion/keelctl.bash": BASH_KEELCTL, "docs/completion/_keelctl": ZSH_KEELCTL, "docs/completion/keelctl.fish": FISH_KEELCTL}
    for program, commands in (("keeld", {"": reader.options["keeld"]}), ("keelbench", bench)):
        out["docs/completion/%s.bash" % program] = bash_static(program, commands)
        out["docs/completion/_%s" % program] = zsh_static(program, commands, reader.bench.help)
        out["docs/completion/%s.fish" % program] = fish_static(program, commands, reader.bench.help)
    return out


# ---- the table of keel-http ----

def metrics_table(reader):
    out = ["/* SPDX-License-Identifier: BSD-3-Clause */", "/* Made by scripts/reference of the rows of results in control/rpc/ with GAUGE(), COUNTER() or SUMMARY(): of OF_PEER and OF_FAMILY in rpc_bgp.c. */"]
    quoted_or_null = lambda text: "NULL" if text is None else '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')  # noqa: E731
    out += ["METRIC(%s, %s, %s, %s, %s)" % (quoted_or_null(m.name), m.kind, m.source, quoted_or_null(m.key), quoted_or_null(m.help))
            for m in reader.metrics[:reader.of_rows]]
    return "\n".join(out) + "\n"


# ---- the subject ----

def generate(tree):
    reader = Reader(tree)
    files, used = completions(reader), set()
    files[METRICS_TABLE] = metrics_table(reader)
    for path, template in PAGES.items():
        files[path], parts = page(tree, reader, template)
        used |= parts
    for part in list(PARTS) + ["options keeld", "options keelctl", "exit keeld", "exit keelctl", "exit keelbench"]:
        if part not in used:
            raise Fault("no page shows the part %s" % part)
    return files


# ---- the check: the sources, read a second way, against the pages ----

def section(text, title):
    m = re.search(r"^\.Sh %s\n(.*?)(?=^\.Sh |\Z)" % title, text, re.S | re.M)
    return m.group(1) if m else ""


def items(text):
    """The tags of all lists."""
    return [mdoc_plain(w) for w in re.findall(r"^\.It Ic (.*)$", text, re.M)]


def mdoc_plain(word):
    return word.strip('"').replace("\\&", "").replace("\\(dq", '"').replace("\\e", "\\")


def differ(what, sources, page_has, page_name):
    sources, page_has = set(sources), set(page_has)
    return ["%s: lacks the %s %s" % (page_name, what, n) for n in sorted(sources - page_has)] + \
        ["%s: describes the %s %s, which does not exist" % (page_name, what, n) for n in sorted(page_has - sources)]


@functools.lru_cache(maxsize=None)
def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def sources_of(tree, *folders):
    return {path: without_comments(tree.text(path)) for folder in folders for path in tree.files(folder, "*.[ch]")}


CONTROL = ["control"] + ["control/" + room for room in ("apply", "base", "bgp", "bmp", "config", "export", "host", "http", "mrt", "rpc", "rpki", "session")]


def check_methods(tree, reader, page_text):
    texts = sources_of(tree, "control/rpc")
    names = {n for t in texts.values() for n in re.findall(r'\{"([a-z]+(?:\.[a-z]+)+)",\s*\w+,', t)}
    faults = differ("method", names, re.findall(r"^\.Ss (\S+)$", section(page_text, "METHODS"), re.M), "keel-rpc(7)")
    known = {f.name for m in reader.methods for _, f in flat(m.params)}
    for path in RPC + ["control/rpc/rpc_peers.c", "control/rpc/rpc_params.c"]:
        for name in re.findall(r'(?:rpc_(?:string|integer|boolean)|json_object_get)\(\s*params,\s*"(\w+)"', texts[path]):
            if name not in known:
                faults.append("%s: reads the parameter %s, which no table describes" % (path, name))
    return faults


def check_errors(tree, reader):
    """The errors that a method can reach by calls within control/rpc, against those in its table."""
    bodies = {}
    for path, text in sources_of(tree, "control/rpc").items():
        if path in ("control/rpc/rpc.c", "control/rpc/rpc_check.c", "control/rpc/rpc_socket.c"):
            continue
        for m in re.finditer(r"^(\w+)\([^;{}]*\)(?: RUNS_ON\(\w+\))?\n\{\n(.*?)^\}", text, re.S | re.M):
            # two files may have a static function of the same name
            bodies[path, m.group(1)] = set(re.findall(r"\w+", m.group(2)))
    names = {}
    for path, name in bodies:
        names.setdefault(name, []).append(path)
    own = {n for n, (code, _, _) in reader.errors.items() if -32100 < code <= -32000} - {"RPC_READ_ONLY"}
    faults = []
    for m in reader.methods:
        todo, seen, reached = [m.fn], set(), set()
        path = m.path
        todo = [(path, m.fn) if (path, m.fn) in bodies else (names[m.fn][0], m.fn)] if m.fn in names else []
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            reached |= bodies[at] & own
            for word in bodies[at]:
                if word in names:
                    todo.append((at[0], word) if at[0] in names[word] else (names[word][0], word))
        if reached != set(m.errors):
            faults.append("%s: %s: the table says %s, the functions can answer %s" % (
                m.path, m.name, ", ".join(sorted(m.errors)) or "no error", ", ".join(sorted(reached)) or "none"))
    return faults


def check_events(tree, reader, page_text):
    sent = {t for text in sources_of(tree, *CONTROL).values() for t in re.findall(r'\b(?:(?:rpc_event|apply_report|rpki_report)\([^"();]+|event_text\()"([\w-]+)"', text)}
    return differ("topic", sent, re.findall(r"^\.Ss (\S+)$", section(page_text, "EVENTS"), re.M), "keel-rpc(7)")


def check_lines(tree, reader, page_text):
    count = len(re.findall(r"\{\s*VIEW_\w+(?: \| VIEW_\w+)*,\s*\w+,", without_comments(grammar_text(tree))))
    faults = [] if count == len(reader.lines) else ["%s: %d lines, of which %d are described" % (GRAMMAR, count, len(reader.lines))]
    faults += differ("line", {shown_line(x) for x in reader.lines}, items(section(page_text, "COMMANDS")), "keelctl(1)")
    used = {w for x in reader.lines for w in re.findall(r"[A-Za-z][\w-]*|(?<= )[+-](?= )|(?<=\[)[+-](?= )|(?<= )[+-](?=\])", shown_line(x))} | {"undo", "|"}
    return faults + differ("word", used, {w for w, _, _ in reader.words}, GRAMMAR) + \
        ["%s: the line %s has no help" % (GRAMMAR, x.text) for x in reader.lines if not x.help]


def check_metrics(tree, page_text):
    names = {n for t in sources_of(tree, "control/http", "control/rpc").values() for n in re.findall(r'(?:\{|GAUGE\(|COUNTER\(|SUMMARY\()\s*"(keel_\w+)"', t)}
    described = {re.sub("_(total|info)$", "", n) for n in items(section(page_text, "METRICS"))}
    return differ("metric", names, described, "keel-rpc(7)")


def check_alarms(tree, page_text):
    text = without_comments(tree.text(ALARMS))
    late = re.search(r'#define WATCHDOG_KIND "([\w-]+)"', tree.text("control/base/watchdog.h")).group(1)
    kinds = [late if k == "WATCHDOG_KIND" else k.strip('"') for k in re.findall(r'\[ALARM_\w+\] =\s*\{("[\w-]+"|WATCHDOG_KIND)', text)]
    enum = re.search(r"enum \{(.*?)ALARM_KINDS", text, re.S).group(1)
    declared = {n for n in re.findall(r"\bALARM_\w+", enum)} - {"ALARM_COUNTERS"}
    faults = [] if len(declared) == len(kinds) else ["%s: %d kinds of alarms, of which %d are described" % (ALARMS, len(declared), len(kinds))]
    return faults + differ("alarm", kinds, items(section(page_text, "ALARMS")), "keel-rpc(7)")


def call_arguments(text, start):
    """Text of a call's arguments, from the character behind its opening bracket."""
    depth, i = 1, start
    literal = re.compile(r'"(?:[^"\\]|\\.)*"')
    while depth:
        if text[i] == '"':
            i = literal.match(text, i).end()
            continue
        depth += (text[i] == "(") - (text[i] == ")")
        i += 1
    return text[start:i - 1]


def logged(tree):
    """{event: keys} of each call that logs."""
    found = {"log-lost": {"lines"}}
    for path, text in sources_of(tree, *CONTROL, "dataplane").items():
        if path.startswith("control/base/log."):
            continue
        text = re.sub(r'\bTUN_NAME\b', '""', text)
        for m in re.finditer(r"\blog_(event|write|stream)\(", text):
            arguments = call_arguments(text, m.end())
            line = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', re.sub(r'\?\s*"[^"]*"\s*:\s*"[^"]*"', "", arguments)))
            words = re.sub(r'\\"(?:[^\\]|\\(?!"))*\\"', "", line)  # without quoted text
            keys = set(re.findall(r"(?:^|\s|%s)([a-z][a-z0-9_]*)=", words))
            event = line.split()[0] if line else ""
            if m.group(1) == "stream":
                found.setdefault(event, set()).add("text")
            elif event == "%s":  # the event is an argument of the function
                before = text[:m.start()]
                function = re.findall(r"^(\w+)\([^;{}]*\)(?: RUNS_ON\(\w+\))?\n\{", before, re.M)[-1]
                for name in re.findall(r'\b%s\([^"();]*"([\w-]+)"' % function, text):
                    found.setdefault(name, set()).update(keys)
            elif event:
                found.setdefault(event, set()).update(keys)
    return found


def check_log(tree, reader, page_text):
    found, listed = logged(tree), {name: set(keys) for name, keys, _ in reader.log}
    faults = differ("log event", found, items(section(page_text, "LOG")), "keeld(8)")
    for name in sorted(set(found) & set(listed)):
        # a key that is an argument ("%s=", or a text that stands for several keys) is not seen here
        for key in sorted(found[name] - listed[name]):
            faults.append("%s: %s has the key %s, which is not listed" % (LOG_EVENTS, name, key))
        for key in sorted(listed[name] - found[name]):
            if not re.search(r'"[^"]*\b%s\b' % key, "".join(sources_of(tree, *CONTROL).values())):
                faults.append("%s: %s has no key %s" % (LOG_EVENTS, name, key))
    for path, text in sources_of(tree, *CONTROL).items():
        for m in re.finditer(r"\blog_event\(", text):
            if re.search(r'\berror=(?!\\"%s\\")', call_arguments(text, m.end())):
                faults.append('%s: a log line has error= in another form than error="TEXT"' % path)
    return faults


def check_exit(tree, reader):
    faults = []
    for program, defined, used, manual in (("keeld", KEELD, [KEELD], "docs/man/keeld.8"),
                                           ("keelctl", "control/cli/keelctl.h", tree.files("control/cli", "*.c"), "docs/man/keelctl.1")):
        values = {n: int(v) for n, v in re.findall(r"^#define (EXIT_\w+) (\d+)$", tree.text(defined), re.M)}
        text = "".join(without_comments(tree.text(p)) for p in used)
        codes = {v for n, v in values.items() if re.search(r"(?<!#define )(?<!\{)\b%s\b" % n, text)}
        faults += differ("exit status", map(str, codes), items(section(tree.text(manual), "EXIT STATUS")), program)
    main = tree.text(KEELBENCH)
    main = main[main.index("\ndef main("):]
    codes = {int(n) for n in re.findall(r"\breturn (\d+)\b", main)} | ({0} if "else 0" in main else set())
    return faults + differ("exit status", map(str, codes), items(section(tree.text("docs/man/keelbench.1"), "EXIT STATUS")), "keelbench(1)")


def check_options(tree, reader):
    faults = []
    for program, path, table in (("keeld", KEELD, KEELD), ("keelctl", "control/cli/keelctl.c", KEELCTL)):
        letters = set(re.findall(r"^\t\tcase '(\w)':", tree.text(path), re.M))
        described = set(re.findall(r'^\t\{"[\w-]+", (?:NULL|"[^"]*"), \'(\w)\'', tree.text(table), re.M))
        faults += differ("option letter", letters, described, program)
    return faults


@functools.lru_cache(maxsize=None)
def lint(text):
    """What mandoc says, where it is installed."""
    if not shutil.which("mandoc"):
        return []
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=text, capture_output=True, text=True)
    return [line.split(": ", 1)[-1] for line in r.stdout.splitlines()]


def check_guides(tree, reader):
    """Metrics that guides name exist; the text files that a page does not generate are looked at, too."""
    names = {n for name, kind, *_ in reader.metrics for n in (name, name + {"COUNTER": "_total", "INFO": "_info"}.get(kind, ""))}
    names |= {name + "_count" for name, kind, *_ in reader.metrics if kind == "SUMMARY"}
    faults = []
    for path in tree.files("docs/guides", "*.md") + ["README.md"]:
        for name in sorted(set(re.findall(r"\bkeel_[a-z0-9_]+\b", tree.text(path))) - names - {"keel_xdp"}):
            faults.append("%s: names the metric %s, which does not exist" % (path, name))
    return faults


def check_synopsis(tree, reader):
    """Each option stands in the synopsis; those of people only."""
    faults = []
    for program, manual in (("keeld", "docs/man/keeld.8"), ("keelctl", "docs/man/keelctl.1")):
        words = set(re.findall(r"[\w-]+", section(tree.text(manual), "SYNOPSIS")))
        faults += ["%s: the synopsis lacks --%s" % (manual, o.name) for o in reader.options[program]
                   if o.name not in ("complete",) and ("-" + o.name if len(o.name) > 1 else o.name) not in words]
    return faults


def check_environment(tree):
    faults = []
    for program, folders, manual in (("keeld(8)", CONTROL, "docs/man/keeld.8"), ("keelctl(1)", ["control/cli"], "docs/man/keelctl.1")):
        names = {n for t in sources_of(tree, *folders).values() for n in re.findall(r'\bgetenv\("(\w+)"\)', t)}
        described = {n for line in re.findall(r"^\.It Ev (.*)$", section(tree.text(manual), "ENVIRONMENT"), re.M) for n in line.split(" , ")}
        faults += differ("variable", names, described, program)
    return faults


def check_pages(tree):
    return ["%s: %s" % (path, line) for path in PAGES for line in lint(tree.text(path))]


def check(tree):
    reader, rpc = Reader(tree), tree.text("docs/man/keel-rpc.7")
    return check_methods(tree, reader, rpc) + check_errors(tree, reader) + check_events(tree, reader, rpc) + \
        check_lines(tree, reader, tree.text("docs/man/keelctl.1")) + check_metrics(tree, rpc) + check_alarms(tree, rpc) + \
        check_log(tree, reader, tree.text("docs/man/keeld.8")) + check_exit(tree, reader) + check_options(tree, reader) + check_environment(tree) + \
        check_guides(tree, reader) + check_synopsis(tree, reader) + \
        check_pages(tree)


def plants(tree):
    """A fault of each kind."""
    rpc, ctl, keeld = "docs/man/keel-rpc.7", "docs/man/keelctl.1", "docs/man/keeld.8"
    out = []

    def plant(name, path, old, new):
        text, pattern = tree.text(path), r"\s+".join(map(re.escape, old.split(" ")))  # clang-format may break a line
        if not re.search(pattern, text):
            raise Fault("self-test: %s: %s has no %r" % (name, path, old))
        out.append((name, path, re.sub(pattern, lambda m: new, text, count=1)))

    plant("a method without a summary", "control/rpc/rpc_rib.c", '"Sizes of the tables"', '""')
    plant("a method that is not in the manual", "control/rpc/rpc_rib.c", '"rib.summary", rib_summary', '"rib.planted", rib_summary')
    plant("a method that the manual alone has", rpc, ".Ss rib.summary", ".Ss rib.planted")
    plant("a parameter without a description", "control/rpc/rpc_bgp.c", '{"limit?", "integer=1..10000", "At most so many peers; all when absent."}',
          '{"limit?", "integer=1..10000", ""}')
    plant("a parameter that no table has", "control/rpc/rpc_bgp.c", 'rpc_boolean(params, "force"', 'rpc_boolean(params, "forced"')
    plant("a member of a result that is not in the manual", "control/rpc/rpc_config.c", '{"pid", "integer"', '{"process", "integer"')
    plant("an error that the table lacks", "control/rpc/rpc_config.c", "RPC_ERROR(RPC_NOT_FOUND) | RPC_ERROR(RPC_CONFIGURATION)", "RPC_ERROR(RPC_NOT_FOUND)")
    plant("an error that the method never answers", "control/rpc/rpc_rib.c", "RPC_READS, 0", "RPC_READS, RPC_ERROR(RPC_NOT_KEPT)")
    plant("an error without a description", "control/rpc/rpc.h", "RPC_TRY_AGAIN = -32013", "RPC_PLANTED = -32014, RPC_TRY_AGAIN = -32013")
    plant("an event that is not in the manual", "control/apply/apply_refresh.c", '"session",', '"planted",')
    plant("an event that is never sent", RPC_EVENTS, '{"lost",', '{"planted", "A planted one.", NULL}, {"lost",')
    plant("a line without help", GRAMMAR, '"Counters of refreshes, and their jobs."', '""')
    plant("a line that is not in the manual", GRAMMAR, '"rollback ID [force]"', '"rollback NAME"')
    plant("a line that the manual alone has", ctl, '.It Ic "rollback ID [force]"', '.It Ic "planted ID"')
    plant("a word without help", GRAMMAR, '{"rollback", NULL,', '{"rolled", NULL,')
    plant("a metric that is not in the manual", "control/rpc/rpc_config.c", '"keel_alarms"', '"keel_planted"')
    plant("a metric that the manual alone has", rpc, ".It Ic keel_alarms", ".It Ic keel_planted")
    plant("an alarm that is not in the manual", ALARMS, '{"fib-feed"', '{"planted"')
    plant("an alarm without a description", ALARMS, "	ALARM_LATE,", "	ALARM_LATE, ALARM_PLANTED,")
    plant("a log event that is not listed", "control/session/session_peer.c", '"session-down peer', '"session-planted peer')
    plant("a log event that is never logged", LOG_EVENTS, 'LOG_EVENT("link"', 'LOG_EVENT("planted", "", "Never.")\nLOG_EVENT("link"')
    plant("a log event with an unknown key", "control/session/session_peer.c", '"session-down peer=%s', '"session-down planted=%s')
    plant("another form of error=", "control/rpc/rpc_http.c", 'error=\\"%s\\"', "error=%s")
    plant("an exit status that is not listed", KEELD, "	{EXIT_RUN_TIME,", "	{EXIT_USAGE,")
    plant("an exit status of keelbench that is not listed", KEELBENCH, "return 130", "return 131")
    plant("an exit status that the manual alone has", keeld, ".It Ic 1\n", ".It Ic 7\n")
    plant("an option that is not listed", KEELD, "		case 'n':", "		case 'N':")
    plant("a metric of a guide that does not exist", "docs/guides/metrics.md", "keel_alarms", "keel_planted")
    plant("a synopsis without an option", FOLDER + "keeld.8.in", ".Op Fl -state-dir Ar DIR\n", "")
    plant("a variable that is not in the manual", "control/cli/keelctl.c", 'getenv("TERM")', 'getenv("TERMINAL")')
    plant("a drop reason that is not in the manual", DROPS, '"no-route"', '"planted"')
    plant("a completion edited by hand", "docs/completion/keeld.bash", "--check", "--planted")
    plant("a page with a fault of mdoc", FOLDER + "keeld.8.in", ".Sh SIGNALS", ".Pp\n.Sh SIGNALS")
    plant("a page without a part", FOLDER + "keel-rpc.7.in", '.\\" @alarms\n', "")
    return out
