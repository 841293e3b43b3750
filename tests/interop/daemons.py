# SPDX-License-Identifier: BSD-3-Clause
"""Foreign daemons behind a common interface: start with sessions and their own routes, received routes as attributes in the form of wire.py,
announce and withdraw, stop in order or by kill, request a refresh.
"""
import collections
import glob
import json
import os
import re
import signal
import socket
import threading
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from lab import PEERS, program
from labtest import PATIENCE_S, V4, V6, run, wait_for
from wire import ext_community_text

# A session to keeld or to the speaker behind. `client`: the peer is the daemon's route reflector client; `next_hop6`: IPv4 with IPv6 next hops
# (RFC 8950); `passive`: the daemon waits for the connection.
Session = collections.namedtuple("Session", "name local remote asn families interface client passive next_hop6 restart",
                                 defaults=(None, False, False, False, None))


class Setup:
    """Configuration of an instance. `own`: {prefix: MED or None} that the daemon can originate, `announced`: originated at the start."""

    def __init__(self, asn, router_id, sessions, own=(), announced=None):
        self.asn, self.router_id, self.sessions, self.own = asn, router_id, sessions, dict(own)
        self.announced = set(self.own if announced is None else announced)

    def session(self, name):
        return next(s for s in self.sessions if s.name == name)


def short(family):
    return family.split("-")[0]


def family_of(prefix):
    return V6 if ":" in prefix else V4


class Daemon:
    name = None
    programs = ()
    version_of = "--version"
    folders, tag = PEERS, ""  # where the programs are; tells instances of one daemon apart
    transit = True  # passes routes between sessions
    restarts = True  # supports RFC 4724 as the restarting side
    reflects = True
    default_med = None  # MED of originated routes without a configured MED

    def __init__(self, lab, host):
        self.lab, self.host = lab, host
        self.folder = os.path.join(lab.dir, host)
        os.makedirs(self.folder, exist_ok=True)
        self.process = None
        self.setup = None

    @classmethod
    def program(cls, name):
        return program(next(p for p in cls.programs if os.path.basename(p) == name), cls.folders)

    @classmethod
    def version(cls):
        return re.search(r"\d+(\.\d+)+", run(program(cls.programs[0], cls.folders), cls.version_of, check=False)).group()

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def spawn(self, command, suffix=""):
        return self.lab.spawn(self.host + suffix, self.host, command)

    def start(self, setup, recover=False):
        """`recover`: restarts after a kill, as the restarting side of RFC 4724."""
        self.setup = setup
        self.run(recover)
        return self

    def stop(self):
        """Stops the daemon in order (SIGTERM)."""
        self.process.stop(30)
        self.after()

    def kill(self):
        """Kills the daemon: peers receive only the kernel's FIN or reset."""
        os.killpg(self.process.popen.pid, signal.SIGKILL)
        self.process.popen.wait()
        self.after()

    def after(self):
        pass

    def requests_counted(self, session):
        """Count of received ROUTE-REFRESH requests as reported by the daemon, for a note."""
        return "counts no requests"

    def wake(self):
        """Ends delays before the next connection attempt."""

    def own_after_start(self):
        for prefix in sorted(self.setup.announced):
            self.announce(prefix)

    def name_of(self, session):
        return self.setup.session(session).remote


class Bird(Daemon):
    name = "BIRD"
    programs = ["/usr/sbin/bird", "/usr/sbin/birdc"]

    def config(self):
        s = self.setup
        out = ["log stderr all;", "router id %s;" % s.router_id, "protocol device { }", "protocol direct { ipv4; ipv6; }", "graceful restart wait 10;"]
        for i, (prefix, _) in enumerate(s.own.items()):
            out.append("protocol static own%d { %s %s; route %s blackhole; }" % (
                i, "" if prefix in s.announced else "disabled;", short(family_of(prefix)), prefix))
        meds = "".join("  if net = %s then bgp_med = %d;\n" % (p, m) for p, m in s.own.items() if m is not None)
        out.append("filter announced {\n  if source = RTS_DEVICE then reject;\n  if source = RTS_STATIC then {\n%s  }\n  accept;\n}" % meds)
        for x in s.sessions:
            channels = " ".join("%s { %s %s };" % (
                short(f), self.channel(x), "extended next hop on;" if x.next_hop6 and f == V4 else "") for f in x.families)
            out.append("protocol bgp %s { local %s as %d; neighbor %s%s as %d; hold time 90; connect retry time 1; connect delay time 1; "
                       "error wait time 1, 2; allow as sets; %s %s %s %s }" % (
                           x.name, x.local, s.asn, x.remote, "%" + x.interface if x.interface else "", x.asn, "passive;" if x.passive else "",
                           "rr client;" if x.client else "",
                           "graceful restart on; graceful restart time %d;" % x.restart if x.restart else "graceful restart aware;", channels))
        return "\n".join(out) + "\n"

    def channel(self, session):
        return "import all; export filter announced;"

    def run(self, recover):
        path, self.control = self.file("bird.conf", self.config()), os.path.join(self.folder, "bird.ctl")
        self.process = self.spawn([self.program("bird"), "-f", "-c", path, "-s", self.control] + (["-R"] if recover else []))

        def up():
            self.process.must_run()
            return os.path.exists(self.control) and "Daemon is up" in run(self.program("birdc"), "-s", self.control, "show", "status", check=False)
        wait_for("control socket of " + self.host, up, 30)

    def birdc(self, *words):
        return run(self.program("birdc"), "-s", self.control, *words)

    def protocol(self, prefix):
        return "own%d" % list(self.setup.own).index(prefix)

    def announce(self, prefix):
        self.birdc("enable", self.protocol(prefix))

    def withdraw(self, prefix):
        self.birdc("disable", self.protocol(prefix))

    def ask_refresh(self, session, family):
        return self.birdc("reload", *([] if self.version() < "3" else ["bgp"]), "in", session)

    def state(self, session):
        return "established" if "Established" in self.birdc("show", "protocols", session) else "other"

    @staticmethod
    def community(text):
        """Parses the text in the brackets of BIRD's extended communities."""
        words = text.split(", ")
        if words[0] == "generic":
            return "0x%08x%08x" % (int(words[1], 16), int(words[2], 16))
        return "%s:%s:%s" % ({"rt": "rt", "ro": "soo"}[words[0]], words[1], words[2])

    def attribute(self, key, value, out):
        if key == "origin":
            out["origin"] = value.lower()
        elif key in ("as_path", "path"):
            out["as_path"] = re.sub(r"\{([^}]*)\}", lambda m: "{%s}" % ",".join(m.group(1).split()), value)
        elif key == "next_hop":
            hops = value.split()
            out["next_hop"] = hops[0]
            if len(hops) > 1:
                out["next_hop_link_local"] = hops[1]
        elif key in ("med", "local_pref"):
            out[key] = int(value)
        elif key == "community":
            out["communities"] = ["%s:%s" % c for c in re.findall(r"\((\d+),(\d+)\)", value)]
        elif key == "large_community":
            out["large_communities"] = ["%s:%s:%s" % c for c in re.findall(r"\((\d+), (\d+), (\d+)\)", value)]
        elif key == "ext_community":
            out["ext_communities"] = [self.community(c) for c in re.findall(r"\(([^)]*)\)", value)]
        elif key == "aggregator":
            at, asn = value.split()
            out["aggregator"] = {"asn": int(asn[2:]), "address": at}
        elif key == "atomic_aggr":
            out["atomic_aggregate"] = True
        elif key == "originator_id":
            out["originator_id"] = value
        elif key == "cluster_list":
            out["cluster_list"] = value.split()

    def routes(self, session, family):
        out, at = {}, None
        for line in self.birdc("show", "route", "table", "master4" if family == V4 else "master6", "all", "protocol", session).splitlines():
            m = re.match(r"([0-9a-f.:]+/\d+)\s", line)
            if m:
                at = out.setdefault(m.group(1), {})
            m = re.match(r"\s+(?:BGP\.|bgp_)([^:]+): ?(.*)", line)  # BIRD 2, 3
            if m and at is not None:
                self.attribute(m.group(1), m.group(2).strip(), at)
        return out


class Frr(Daemon):
    """bgpd, with zebra for interfaces. In a separate namespace zebra's routes are harmless; bgpd passes none (-n)."""
    name = "FRR"
    programs = ["/usr/lib/frr/bgpd", "/usr/lib/frr/zebra"]
    default_med = 0
    zebra = None

    def config(self):
        s = self.setup
        out = ["log stdout", "bgp route-map delay-timer 0"]  # otherwise bgpd requests a refresh automatically, 5 s after reading its configuration
        for med in sorted({m for m in s.own.values() if m is not None}):
            out += ["route-map med%d permit 10" % med, " set metric %d" % med, "exit"]
        out += ["route-map all permit 10", " set ipv6 next-hop prefer-global", "exit"]
        out += ["router bgp %d" % s.asn, " bgp router-id %s" % s.router_id, " no bgp ebgp-requires-policy", " no bgp network import-check",
                " no bgp default ipv4-unicast", " no bgp hard-administrative-reset",
                " no bgp reject-as-sets"]  # RFC 9774; rejected by default since FRR 10.5, BIRD 2.18
        restart = next((x.restart for x in s.sessions if x.restart), None)
        if restart:
            out += [" bgp graceful-restart", " bgp graceful-restart restart-time %d" % restart, " bgp graceful-restart preserve-fw-state"]
        for x in s.sessions:
            n = " neighbor %s " % x.remote
            out += [n + "remote-as %d" % x.asn, n + "timers 30 90", n + "timers connect 1"]
            if x.interface:
                out.append(n + "interface " + x.interface)
            elif x.asn == s.asn:
                out.append(n + "update-source " + x.local)
            if x.passive:
                out.append(n + "passive")
            if x.next_hop6:
                out.append(n + "capability extended-nexthop")
        for f in sorted({f for x in s.sessions for f in x.families}):
            out.append(" address-family %s unicast" % short(f))
            for x in s.sessions:
                if f in x.families:
                    n = "  neighbor %s " % x.remote
                    out += [n + "activate"] + ([n + "route-reflector-client"] if x.client else [])
                    out += [n + "route-map all in"] if f == V6 else []
            out += ["  " + self.network(p) for p in sorted(s.announced) if family_of(p) == f]
            out.append(" exit-address-family")
        return "\n".join(out) + "\n"

    def network(self, prefix):
        med = self.setup.own[prefix]
        return "network %s%s" % (prefix, " route-map med%d" % med if med is not None else "")

    def run(self, recover):
        os.chmod(self.folder, 0o777)  # bgpd drops its privileges to a user of its own machine
        os.chmod(os.path.dirname(self.folder), 0o755)
        zserv, config = os.path.join(self.folder, "zserv"), self.file("bgpd.conf", self.config())
        for stale in glob.glob(os.path.join(self.folder, "*.vty")):
            os.unlink(stale)
        common = ["--vty_socket", self.folder, "-z", zserv]
        if self.zebra is None:
            self.zebra = self.spawn([self.program("zebra"), "-u", "frr", "-g", "frr", "-f", self.file("zebra.conf", "log stdout\n"), "-i",
                                     os.path.join(self.folder, "zebra.pid"), *common], "-zebra")

        def listening():
            self.zebra.must_run()
            return os.path.exists(zserv)
        wait_for("zebra of " + self.host, listening, 30)
        self.process = self.spawn([self.program("bgpd"), "-n", "-S", "-f", config, "-i", os.path.join(self.folder, "bgpd.pid"), *common])

        def up():
            self.process.must_run()
            return "running" in self.vty("show daemons", ok=False) or "BGP" in self.vty("show bgp summary", ok=False)
        wait_for("bgpd of " + self.host, up, 30)

    def vty(self, *commands, ok=True):
        """FRR's own protocol of vtysh: a command and a NUL; the answer, three NULs and a status."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE_S)
        try:
            s.connect(os.path.join(self.folder, "bgpd.vty"))
            out = ""
            for c in ("enable",) + commands:
                s.sendall(c.encode() + b"\0")
                data = b""
                while not (len(data) >= 4 and data[-4:-1] == b"\0\0\0"):
                    more = s.recv(1 << 20)
                    if not more:
                        raise OSError("bgpd closed its vty")
                    data += more
                out = data[:-4].decode()
                if ok and data[-1] not in (0, 1):
                    raise RuntimeError("%s: %s: %s" % (self.host, c, out.strip()))
            return out
        except OSError:
            if ok:
                raise
            return ""
        finally:
            s.close()

    def configure(self, family, *lines):
        self.vty("configure terminal", "router bgp %d" % self.setup.asn, "address-family %s unicast" % short(family), *lines, "end")

    def announce(self, prefix):
        self.configure(family_of(prefix), self.network(prefix))

    def withdraw(self, prefix):
        self.configure(family_of(prefix), "no network " + prefix)

    def ask_refresh(self, session, family):
        return self.vty("clear bgp %s unicast %s soft in" % (short(family), self.name_of(session)))

    def state(self, session):
        o = json.loads(self.vty("show bgp neighbors %s json" % self.name_of(session)))
        return o[self.name_of(session)]["bgpState"].lower()

    @staticmethod
    def attributes(p):
        out = {"origin": p["origin"].lower(), "as_path": p["aspath"]["string"]}
        if out["as_path"] == "Local":
            out["as_path"] = ""
        for hop in p["nexthops"]:
            out["next_hop_link_local" if hop.get("scope") == "link-local" and len(p["nexthops"]) > 1 else "next_hop"] = hop["ip"]
        if "metric" in p:
            out["med"] = p["metric"]
        if "locPrf" in p:
            out["local_pref"] = p["locPrf"]
        if "community" in p:
            out["communities"] = p["community"]["string"].split()
        if "largeCommunity" in p:
            out["large_communities"] = p["largeCommunity"]["string"].split()
        if "extendedCommunity" in p:
            out["ext_communities"] = [c.lower() for c in p["extendedCommunity"]["string"].replace("SoO", "soo").split()]
        if "aggregatorAs" in p:
            out["aggregator"] = {"asn": p["aggregatorAs"], "address": p["aggregatorId"]}
        if p.get("atomicAggregate"):
            out["atomic_aggregate"] = True
        if "originatorId" in p:
            out["originator_id"] = p["originatorId"]
        if "clusterList" in p:
            out["cluster_list"] = p["clusterList"]["list"]
        return out

    def routes(self, session, family):
        remote = self.name_of(session)
        view = "show bgp %s unicast " % short(family)
        out = {}
        for prefix in json.loads(self.vty(view + "neighbors %s routes json" % remote) or "{}").get("routes", {}):
            for p in json.loads(self.vty(view + prefix + " json")).get("paths", []):
                if p["peer"].get("peerId") == remote:
                    out[prefix] = self.attributes(p)
        return out


class GoBgp(Daemon):
    name = "GoBGP"
    programs = ["/usr/bin/gobgpd", "/usr/bin/gobgp"]

    def config(self):
        s = self.setup
        out = ["[global.config]", "as = %d" % s.asn, 'router-id = "%s"' % s.router_id, "[global.apply-policy.config]",
               'default-import-policy = "accept-route"', 'default-export-policy = "accept-route"']
        for x in s.sessions:
            out += ["[[neighbors]]", "[neighbors.config]", 'neighbor-address = "%s%s"' % (x.remote, "%" + x.interface if x.interface else ""),
                    "peer-as = %d" % x.asn,
                    "[neighbors.timers.config]", "hold-time = 90", "connect-retry = 1", "idle-hold-time-after-reset = 1",
                    "[neighbors.transport.config]", "passive-mode = %s" % str(x.passive).lower()]
            if not x.interface:
                out.append('local-address = "%s"' % x.local)
            if x.client:
                out += ["[neighbors.route-reflector.config]", "route-reflector-client = true", 'route-reflector-cluster-id = "%s"' % s.router_id]
            if x.restart:
                out += ["[neighbors.graceful-restart.config]", "enabled = true", "restart-time = %d" % x.restart]
            for f in x.families:
                out += ["[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]", 'afi-safi-name = "%s"' % f]
                if x.restart:
                    out += ["[neighbors.afi-safis.mp-graceful-restart.config]", "enabled = true"]
        return "\n".join(out) + "\n"

    def run(self, recover):
        self.socket = "unix://" + os.path.join(self.folder, "gobgp.sock")
        if os.path.exists(self.socket[7:]):
            os.unlink(self.socket[7:])
        # gobgpd has no routes until own_after_start(). A recovered session that came up before would get an End-of-RIB without them.
        if recover:
            self.reachable(False)
        self.process = self.spawn([self.program("gobgpd"), "-f", self.file("gobgp.toml", self.config()), "-t", "toml", "-p", "--api-hosts", self.socket,
                                   "--pprof-disable"] + (["-r"] if recover else []))

        def up():
            self.process.must_run()
            return os.path.exists(self.socket[7:]) and "Router-ID" in run(self.program("gobgp"), "--target", self.socket, "global", check=False)
        wait_for("API of " + self.host, up, 30)
        self.own_after_start()
        if recover:
            self.reachable(True)

    def reachable(self, yes):
        """Lets packets out of the daemon's host, or refuses them."""
        for family in "-4", "-6":
            self.lab.sh(self.host, "ip %s rule %s pref 1 prohibit" % (family, "del" if yes else "add"))

    def gobgp(self, *words):
        for _ in range(20):
            try:
                return run(self.program("gobgp"), "--target", self.socket, *words)
            except RuntimeError as e:
                if "deadline exceeded" not in str(e):  # the client gives up after some seconds; each order may be given twice
                    raise
        raise TimeoutError("gobgp: " + " ".join(words))

    def announce(self, prefix):
        med = self.setup.own[prefix]
        self.gobgp("global", "rib", "add", prefix, "-a", short(family_of(prefix)), *(["med", str(med)] if med is not None else []))

    def withdraw(self, prefix):
        self.gobgp("global", "rib", "del", prefix, "-a", short(family_of(prefix)))

    def name_of(self, session):
        s = self.setup.session(session)
        return s.remote + ("%" + s.interface if s.interface else "")

    def ask_refresh(self, session, family):
        return self.gobgp("neighbor", self.name_of(session), "softresetin", "-a", short(family))

    def state(self, session):
        o = json.loads(self.gobgp("-j", "neighbor", self.name_of(session)))
        return {6: "established"}.get(o["state"].get("session_state"), "other")

    @staticmethod
    def ext_community(c):
        """An extended community in GoBGP's JSON form."""
        if isinstance(c.get("value"), str) and ":" in c["value"]:
            asn, value = c["value"].split(":")
            if "." in asn:  # asdot (RFC 5396)
                high, low = asn.split(".")
                asn = int(high) << 16 | int(low)
            return "%s:%s:%s" % ({2: "rt", 3: "soo"}[c["subtype"]], asn, value)
        raise ValueError(c)

    @classmethod
    def attributes(cls, attrs):
        out = {}
        for a in attrs:
            kind, value = a["type"], a.get("value")
            if kind == 1:
                out["origin"] = ("igp", "egp", "incomplete")[value]
            elif kind == 2:
                out["as_path"] = " ".join(("{%s}" if p["segment_type"] == 1 else "%s").replace("%s", (
                    "," if p["segment_type"] == 1 else " ").join(map(str, p["asns"]))) for p in a["as_paths"])
            elif kind == 3:
                out["next_hop"] = a["nexthop"]
            elif kind == 4:
                out["med"] = a["metric"]
            elif kind == 5:
                out["local_pref"] = value
            elif kind == 6:
                out["atomic_aggregate"] = True
            elif kind == 7:
                out["aggregator"] = {"asn": a["as"], "address": a["address"]}
            elif kind == 8:
                out["communities"] = ["%d:%d" % (c >> 16, c & 0xffff) for c in a["communities"]]
            elif kind == 9:
                out["originator_id"] = value
            elif kind == 10:
                out["cluster_list"] = value
            elif kind == 14:
                out["next_hop"] = a["nexthop"]
                if "linklocal_nexthop" in a:
                    out["next_hop_link_local"] = a["linklocal_nexthop"]
            elif kind == 16:
                out["ext_communities"] = [cls.ext_community(c) for c in value]
            elif kind == 32:
                out["large_communities"] = ["%d:%d:%d" % (c["ASN"], c["LocalData1"], c["LocalData2"]) for c in value]
        return out

    def routes(self, session, family):
        try:
            text = self.gobgp("-j", "neighbor", self.name_of(session), "adj-in", "-a", short(family))
        except RuntimeError as e:
            if "not established" not in str(e):
                raise
            return {}
        table = json.loads(text) if text.strip().startswith("{") else {}
        return {prefix: self.attributes(paths[0]["attrs"]) for prefix, paths in table.items()}


class OpenBgpd(Daemon):
    name, version_of = "OpenBGPD", "-V"
    programs = ["/usr/sbin/bgpd", "/usr/sbin/bgpctl"]

    def config(self):
        s = self.setup
        out = ["AS %d" % s.asn, "router-id %s" % s.router_id, 'socket "%s"' % self.socket, "fib-update no", "nexthop qualify via default",
               "reject as-set no", "connect-retry 1"]
        out += ["listen on %s" % a for a in sorted({x.local + ("%" + x.interface if x.interface else "") for x in s.sessions})]
        for x in s.sessions:
            out += ["neighbor %s%s {" % (x.remote, "%" + x.interface if x.interface else ""), "\tremote-as %d" % x.asn, "\tholdtime 90",
                    "\tannounce enhanced refresh yes", "\treject as-set no"]
            out += ["\tannounce %s unicast" % {V4: "IPv4", V6: "IPv6"}[f] for f in x.families]
            out += ["\tannounce %s none" % {V4: "IPv4", V6: "IPv6"}[f] for f in (V4, V6) if f not in x.families]
            if not x.interface:
                out.append("\tlocal-address %s" % x.local)
            if x.passive:
                out.append("\tpassive")
            if x.client:
                out.append("\troute-reflector")
            out.append("}")
        return "\n".join(out + ["allow from any", "allow to any"]) + "\n"

    def with_home(self, command):
        """The command line with a separate home: OpenBGPD's children run chrooted in the home of the user _openbgpd, on the host a folder managed
        by systemd and shared by all daemons. `ip netns exec` has a mount namespace."""
        home = os.path.join(self.folder, "home")
        os.makedirs(home, exist_ok=True)
        daemon = program(command[0], self.folders)
        etc = os.path.join(os.path.dirname(daemon[:-len(command[0])]) or "/", "etc/passwd")  # of the root that scripts/debian-root made
        with open(etc) as f:
            users = [line.split(":") for line in f]
        passwd = self.file("passwd", "".join(":".join(u[:5] + [home] + u[6:] if u[0] == "_openbgpd" else u) for u in users))
        return ["sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', passwd, etc, daemon, *command[1:]]

    def run(self, recover):
        self.socket = os.path.join(self.folder, "bgpd.sock")
        path = self.file("bgpd.conf", self.config())
        os.chmod(path, 0o600)
        self.process = self.spawn(self.with_home(["/usr/sbin/bgpd", "-d", "-v", "-f", path]))

        def up():
            self.process.must_run()
            return "Neighbor" in run(self.program("bgpctl"), "-s", self.socket, "show", "summary", check=False)
        wait_for("control socket of " + self.host, up, 30)
        self.own_after_start()

    def bgpctl(self, *words):
        """Runs in the daemon's namespace, because link-local addresses contain its interface names."""
        return run("ip", "netns", "exec", self.lab.netns(self.host), self.program("bgpctl"), "-s", self.socket, *words)

    def requests_counted(self, session):
        o = json.loads(self.bgpctl("-j", "show", "neighbor", self.name_of(session)))["neighbors"][0]["stats"]["route-refresh"]["received"]["request"]
        return "counts the request" if o else "counts no request"

    def wake(self):
        """OpenBGPD's idle hold time starts at 30 s and doubles."""
        for x in self.setup.sessions:
            if self.state(x.name) == "idle":
                self.bgpctl("neighbor", self.name_of(x.name), "up")

    def announce(self, prefix):
        med = self.setup.own[prefix]
        self.bgpctl("network", "add", prefix, *(["metric", str(med)] if med is not None else []))

    def withdraw(self, prefix):
        self.bgpctl("network", "delete", prefix)

    def name_of(self, session):
        s = self.setup.session(session)
        return s.remote + ("%" + s.interface if s.interface else "")

    def ask_refresh(self, session, family):
        return self.bgpctl("neighbor", self.name_of(session), "refresh")

    def state(self, session):
        o = json.loads(self.bgpctl("-j", "show", "neighbor", self.name_of(session)))
        return o["neighbors"][0]["state"].lower()

    @staticmethod
    def attributes(r):
        out = {"origin": r["origin"].lower(), "next_hop": r["exit_nexthop"], "local_pref": r["localpref"]}
        out["as_path"] = re.sub(r"\{ ?([^}]*?) ?\}", lambda m: "{%s}" % ",".join(m.group(1).replace(",", " ").split()), r["aspath"])
        if r.get("metric"):
            out["med"] = r["metric"]
        if "communities" in r:
            out["communities"] = r["communities"]
        if "large_communities" in r:
            out["large_communities"] = r["large_communities"]
        if "extended_communities" in r:
            out["ext_communities"] = [c.replace(" ", ":", 1) for c in r["extended_communities"]]
        for a in r.get("attributes", []):
            if a["type"] == "Aggregator":
                out["aggregator"] = {"asn": int(a["AS"]), "address": a["router_id"]}
            elif a["type"] == "Atomic Aggregate":
                out["atomic_aggregate"] = True
            elif a["type"] == "Originator Id":
                out["originator_id"] = a["originator"]
            elif a["type"] == "Cluster Id List":
                out["cluster_list"] = a["cluster_list"]
        return out

    def routes(self, session, family):
        text = self.bgpctl("-j", "show", "rib", {V4: "inet", V6: "inet6"}[family], "in", "detail", "neighbor", self.name_of(session))
        return {r["prefix"]: self.attributes(r) for r in json.loads(text).get("rib", [])}


class ExaBgp(Daemon):
    """ExaBGP is not a router: it prints received routes as JSON, and announces routes by commands. exabgp_process.py connects the tests to both."""
    name = "ExaBGP"
    programs = ["/usr/sbin/exabgp"]
    transit = reflects = restarts = False

    def config(self):
        s = self.setup
        out = ["process lab {", "  run /usr/bin/python3 %s %s;" % (os.path.join(os.path.dirname(os.path.abspath(__file__)), "exabgp_process.py"), self.pipe),
               "  encoder json;", "}"]
        for x in s.sessions:
            if x.name.startswith("behind"):
                continue
            out += ["neighbor %s {" % x.remote, "  router-id %s;" % s.router_id, "  local-address %s;" % x.local, "  local-as %d;" % s.asn,
                    "  peer-as %d;" % x.asn, "  hold-time 90;",
                    "  capability { asn4 enable; route-refresh enable; extended-message enable; %s %s }" % (
                        "graceful-restart %d;" % x.restart if x.restart else "", "nexthop enable;" if x.next_hop6 else ""),
                    "  family { %s }" % " ".join("%s unicast;" % short(f) for f in x.families),
                    "  nexthop { ipv4 unicast ipv6; }" if x.next_hop6 else "",
                    "  api { processes [ lab ]; neighbor-changes; receive { parsed; update; } }", "  static {"]
            # Configured routes are sent before the End-of-RIB, routes by command after the End-of-RIB.
            out += ["    route %s next-hop %s %s;" % (p, self.hop(x, p), self.words(self.own_route(p))) for p in sorted(s.announced) if family_of(p) in x.families]
            out += ["  }", "}"]
        return "\n".join(out) + "\n"

    def run(self, recover):
        self.pipe = os.path.join(self.folder, "exabgp.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(self.pipe):
            os.unlink(self.pipe)
        self.listener.bind(self.pipe)
        self.listener.listen(1)
        self.listener.settimeout(PATIENCE_S)
        self.lock, self.ribs, self.states = threading.Lock(), {}, {}
        settings = {"daemon.user": "root", "daemon.drop": "false", "log.destination": "stdout", "api.cli": "false", "api.ack": "false", "tcp.bind": "",
                    "tcp.attempts": "0"}
        self.process = self.spawn(["env", *("exabgp.%s=%s" % kv for kv in settings.items()), "/usr/sbin/exabgp",
                                   self.file("exabgp.conf", self.config())])
        self.connection, _ = self.listener.accept()
        self.listener.close()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def after(self):
        """ExaBGP closed the other end of the socket when it ended."""
        self.reader.join(60)
        self.connection.close()

    def read(self):
        with self.connection.makefile("r") as lines:
            try:
                for line in lines:
                    if line.startswith("{"):
                        self.event(json.loads(line))
            except OSError:
                pass

    def event(self, o):
        if "neighbor" not in o:
            return
        peer = o["neighbor"]["address"]["peer"]
        with self.lock:
            if o["type"] == "state":
                self.states[peer] = o["neighbor"]["state"]
                self.ribs[peer] = {}
            elif o["type"] == "update" and "update" in o["neighbor"].get("message", {}):
                self.update(self.ribs.setdefault(peer, {}), o["neighbor"]["message"]["update"])

    def update(self, rib, u):
        for routes in u.get("withdraw", {}).values():
            for r in routes:
                rib.pop(r["nlri"], None)
        said = set()
        for hops in u.get("announce", {}).values():
            for hop, routes in hops.items():
                for r in routes:
                    if "nlri" not in r:  # End-of-RIB
                        continue
                    if hop.startswith("fe80:") and r["nlri"] in said:  # the second address of a pair (RFC 2545 3)
                        rib[r["nlri"]]["next_hop_link_local"] = hop
                    else:
                        rib[r["nlri"]] = dict(self.attributes(u.get("attribute", {})), next_hop=hop)
                        said.add(r["nlri"])

    @staticmethod
    def attributes(a):
        path = list(map(str, a.get("as-path", []))) + (["{%s}" % ",".join(map(str, a["as-set"]))] if a.get("as-set") else [])
        out = {"origin": a["origin"], "as_path": " ".join(path)}
        for theirs, ours in (("med", "med"), ("local-preference", "local_pref"), ("originator-id", "originator_id"), ("cluster-list", "cluster_list")):
            if theirs in a:
                out[ours] = a[theirs]
        if a.get("atomic-aggregate"):
            out["atomic_aggregate"] = True
        if "aggregator" in a:
            asn, at = a["aggregator"].split(":")
            out["aggregator"] = {"asn": int(asn), "address": at}
        if "community" in a:
            out["communities"] = ["%d:%d" % tuple(c) for c in a["community"]]
        if "large-community" in a:
            out["large_communities"] = ["%d:%d:%d" % tuple(c) for c in a["large-community"]]
        if "extended-community" in a:
            out["ext_communities"] = [ext_community_text(c["value"].to_bytes(8, "big")) for c in a["extended-community"]]
        return out

    def command(self, text):
        self.connection.sendall(text.encode() + b"\n")

    @staticmethod
    def words(route):
        """A route's attributes in ExaBGP's words."""
        out = ["origin " + route.get("origin", "igp"), "as-path [ %s ]" % route.get("as_path", "").replace("{", "( ").replace("}", " )").replace(",", " ")]
        for ours, theirs in (("med", "med"), ("local_pref", "local-preference")):
            if ours in route:
                out.append("%s %d" % (theirs, route[ours]))
        if route.get("atomic_aggregate"):
            out.append("atomic-aggregate")
        if "aggregator" in route:
            out.append("aggregator ( %d:%s )" % (route["aggregator"]["asn"], route["aggregator"]["address"]))
        if "communities" in route:
            out.append("community [ %s ]" % " ".join(route["communities"]))
        if "large_communities" in route:
            out.append("large-community [ %s ]" % " ".join(route["large_communities"]))
        if "ext_communities" in route:
            out.append("extended-community [ %s ]" % " ".join(c.replace("rt:", "target:").replace("soo:", "origin:") for c in route["ext_communities"]))
        for kind, value in route.get("unknown", {}).items():
            out.append("attribute [ 0x%02x 0xc0 0x%s ]" % (kind, value.hex()))
        return " ".join(out)

    @staticmethod
    def hop(session, prefix):
        """`self` is of the session's own family only."""
        return "self" if (":" in prefix) == (":" in session.local) else session.local

    def say(self, prefix, route):
        """A route with attributes to all neighbours."""
        for x in self.setup.sessions:
            if not x.name.startswith("behind") and family_of(prefix) in x.families:
                self.command("neighbor %s announce route %s next-hop %s %s" % (x.remote, prefix, self.hop(x, prefix), self.words(route)))

    def own_route(self, prefix):
        med = self.setup.own[prefix]
        internal = all(x.asn == self.setup.asn for x in self.setup.sessions if not x.name.startswith("behind"))
        return dict({"as_path": "" if internal else str(self.setup.asn)}, **({"med": med} if med is not None else {}))

    def announce(self, prefix):
        self.say(prefix, self.own_route(prefix))

    def withdraw(self, prefix):
        for x in self.setup.sessions:
            if not x.name.startswith("behind") and family_of(prefix) in x.families:
                self.command("neighbor %s withdraw route %s next-hop %s" % (x.remote, prefix, self.hop(x, prefix)))

    def ask_refresh(self, session, family):
        self.command("neighbor %s announce route-refresh %s unicast" % (self.name_of(session), short(family)))

    def state(self, session):
        with self.lock:
            return {"up": "established"}.get(self.states.get(self.name_of(session)), "other")

    def routes(self, session, family):
        with self.lock:
            return {p: dict(a) for p, a in self.ribs.get(self.name_of(session), {}).items() if family_of(p) == family}


ALL = [Bird, Frr, GoBgp, ExaBgp, OpenBgpd]
if PEERS:  # each daemon of each folder
    ALL = [type(d.__name__, (d,), {"folders": [folder], "tag": str(i + 1) if i else ""}) for d in ALL for i, folder in enumerate(PEERS)
           if os.path.exists(folder + d.programs[0])]
