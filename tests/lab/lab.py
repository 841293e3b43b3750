# SPDX-License-Identifier: BSD-3-Clause
"""A lab in network namespaces: hosts, veth links, daemons, and JSON-RPC to keeld.

All objects of a Lab carry its name and are removed by close(), also after an exception or a signal. Leftovers of a killed lab are removed by the next
lab (the name holds the process id of its maker).
"""
import collections
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

# Not keel-: a starting keeld enters each namespace keel-*, in search of its own, and remove_namespace() of another lab would find and kill it there.
PREFIX = "lab-keel"
EAL_FOLDERS = "/run/dpdk"


def run(*command, check=True, **kw):
    """Runs a command, returns its output; an error contains the output."""
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if check and p.returncode != 0:
        raise RuntimeError("%s: exit %d: %s" % (" ".join(command), p.returncode, p.stdout.strip()))
    return p.stdout


PEERS = os.environ.get("KEEL_PEERS", "").split()  # tests/README.md


def program(path, folders=PEERS):
    """A program of a foreign daemon: below the first of the folders that has this path, else of this machine."""
    return next((f + path for f in folders if os.path.exists(f + path)), path)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def start_time(pid):
    """Start time of the process in clock ticks since boot. Pid and start time together identify a process."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return int(f.read().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def forwarder_pid(path):
    """The process that listens at the socket of keelfwd; None: no process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        try:
            s.connect(path)
        except OSError:
            return None
        return struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]


def process_gone(pid):
    """True if the process has ended, also when its parent has not waited for the end."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def memory_kb(pid, key="VmRSS"):
    """Resident memory, or another line of proc(5)'s status, in kB. 0 for a process that has ended, until its parent has waited for the end."""
    with open("/proc/%d/status" % pid) as f:
        return next((int(line.split()[1]) for line in f if line.startswith(key + ":")), 0)


def forwarder_of(rpc):
    """The process id of keeld's keelfwd."""
    return rpc.call("system.info")["forwarder"]["pid"]


def remove_namespace(name):
    for pid in run("ip", "netns", "pids", name, check=False).split():
        if pid.isdigit():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
    run("ip", "netns", "delete", name, check=False)


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def process_dead(pid, start):
    """True if the process is gone (its id may be reused)."""
    return start_time(int(pid)) != int(start)


def remove_lab_folder(path):
    """Removes the folder of a dead lab, after its recorded processes outside all namespaces."""
    for line in read(os.path.join(path, "processes")).splitlines():
        pid, start = line.split()
        if not process_dead(pid, start):
            os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


def remove_host_leftovers():
    """Leftovers of dead makers: veth ends not yet moved into their namespaces, folders of EAL, hugepages."""
    for dev in os.listdir("/sys/class/net"):
        m = re.fullmatch(r"kl(\d+)[ab]", dev)
        if m and not alive(int(m.group(1))):
            run("ip", "link", "delete", dev, check=False)
    for entry in os.listdir(EAL_FOLDERS) if os.path.isdir(EAL_FOLDERS) else []:
        m = re.fullmatch(r"keel(?:-test|fwd)-(\d+)", entry)
        if m and not alive(int(m.group(1))):
            shutil.rmtree(os.path.join(EAL_FOLDERS, entry), ignore_errors=True)
    words = read(Hugepages.RECORD).split()
    if len(words) == 3 and process_dead(*words[:2]):
        Hugepages.give_back(int(words[2]))


def remove_unit(unit):
    """Ends a unit of a lab and removes its file."""
    run("systemctl", "kill", "--signal=KILL", unit, check=False)
    run("systemctl", "stop", unit, check=False)
    os.unlink(os.path.join(UNIT_FOLDER, unit))
    run("systemctl", "reset-failed", unit, check=False)
    run("systemctl", "daemon-reload", check=False)


def remove_leftovers():
    """Removes leftovers of labs with a dead maker: namespaces with their processes, folders, and so on."""
    names = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line]
    for name in names:
        m = re.match(PREFIX + r"-(\d+)-(\d+)-", name)
        if m and start_time(int(m.group(1))) != int(m.group(2)):
            remove_namespace(name)
    for entry in os.listdir(UNIT_FOLDER) if os.path.isdir(UNIT_FOLDER) else []:
        m = re.fullmatch(PREFIX + r"-(\d+)-(\d+)-[a-z-]+\.service", entry)
        if m and process_dead(*m.groups()):
            remove_unit(entry)
    for entry in os.listdir("/run"):
        m = re.fullmatch(PREFIX + r"-(\d+)-(\d+)", entry)
        if m and start_time(int(m.group(1))) != int(m.group(2)):
            remove_lab_folder(os.path.join("/run", entry))
    remove_host_leftovers()


# Arguments of tests/bench/probe.c for traffic that waits for the router. Packets of 8 ms leave together, so that the worker sleeps in between. The smallest queue on the way,
# the ring of a veth, has 256 places: half for the window, half for 6 s in which nothing arrives.
SELF_CLOCKED = ["--together", "8000", "--window", "128"]
PATIENCE_S = 300  # for slow machines: a limit that only ends a hanging test is never shorter


def wait_for(what, condition, timeout, poll=0.05, patience=PATIENCE_S):
    """Waits until condition() is true and returns its value; an error names the missing event. `patience=0`: a timeout after exactly `timeout` is
    a valid result."""
    timeout = max(timeout, patience)
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError("%s did not come within %d s" % (what, timeout))
        time.sleep(poll)


def at_rest(read, timeout=20, poll=0.05):
    """Polls read() until the result is unchanged for half a second, and returns the result. Small FIB changes wait for 20 ms, and a turn more for the
    second copy; on a loaded machine, threads of keeld may get no CPU during several polls."""
    last, since = read(), time.monotonic()

    def same():
        nonlocal last, since
        now = read()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since >= 0.5

    wait_for("rest of the tables", same, timeout, poll)
    return last


def clock(step_s, total_s):
    """0, 1, 2, ...: a number each `step_s` for `total_s`, the first at once. For a fixed pace or duration; a late turn does not delay later turns.
    To wait for an event use wait_for."""
    begin = time.monotonic()
    for n in range(max(1, round(total_s / step_s))):
        time.sleep(max(0, begin + n * step_s - time.monotonic()))
        yield n
    time.sleep(max(0, begin + total_s - time.monotonic()))


class Rpc:
    """A JSON-RPC connection."""

    def __init__(self, path, timeout=600):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.file = self.sock.makefile("rwb")
        self.next_id = 0

    def call(self, method, **params):
        self.next_id += 1
        request = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}
        self.file.write(json.dumps(request).encode() + b"\n")
        self.file.flush()
        answer = json.loads(self.file.readline())
        if "error" in answer:
            raise RuntimeError("%s: %s" % (method, json.dumps(answer["error"])))
        return answer["result"]

    def event(self):
        """The next event of a subscription."""
        return json.loads(self.file.readline())["params"]

    def close(self):
        self.file.close()
        self.sock.close()


class Process:
    """A process of the lab. Its output lines can be awaited."""

    def __init__(self, name, popen, log):
        self.name, self.popen, self.log = name, popen, log

    def line(self, timeout):
        """The next line of a process started with lines=True; None at the end of its output."""
        ready, _, _ = select.select([self.popen.stdout], [], [], timeout)
        if not ready:
            raise TimeoutError("%s printed nothing for %d s (log: %s)" % (self.name, timeout, self.log))
        line = self.popen.stdout.readline()
        return line.decode() if line else None

    def say(self, text):
        self.popen.stdin.write(text.encode() + b"\n")
        self.popen.stdin.flush()

    def running(self):
        return self.popen.poll() is None

    def must_run(self):
        if not self.running():
            by_kernel = [line for line in run("dmesg", check=False).splitlines()[-400:] if re.search(r"\b%d\b" % self.popen.pid, line) or "oom" in line.lower()]
            raise RuntimeError("%s (%d) ended with %d: %s" % (self.name, self.popen.pid, self.popen.returncode, "\n".join(by_kernel + [self.logged()[-2000:].strip()])))

    def logged(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def stop(self, timeout=PATIENCE_S, sig=signal.SIGTERM):
        """Ends the process, by a kill if necessary; returns its exit status."""
        if self.running():
            self.popen.send_signal(sig)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


def unit_state(unit, name):
    return run("systemctl", "show", "-P", name, unit).strip()


class UnitPopen:
    """The main process of a systemd unit, with those parts of subprocess.Popen that a Lab uses."""
    stdin = stdout = None

    def __init__(self, unit):
        self.unit, self.pid, self.returncode = unit, int(unit_state(unit, "MainPID")), None

    def poll(self):
        if self.returncode is None and unit_state(self.unit, "ActiveState") in ("inactive", "failed"):
            self.returncode = int(unit_state(self.unit, "ExecMainStatus"))
        return self.returncode

    def send_signal(self, sig):
        run("systemctl", "kill", "--kill-whom=main", "--signal=%d" % sig, self.unit)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout=None):
        end = time.monotonic() + (PATIENCE_S if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.unit, timeout)
            time.sleep(0.05)
        return self.returncode


# Lines of a unit that name files, or other units. A lab has files of its own, and does not stop a keeld that the machine runs.
UNIT_FILES = re.compile(r"^(ExecStart|ExecStop|ExecReload|Conflicts|Wants|After|Before|Restart\w*|\w+Directory|\w+DirectoryMode|ReadWritePaths)=")
UNIT_FOLDER = "/run/systemd/system"


def unit_text(unit):
    """The installed unit's file."""
    with open(unit_state(unit, "FragmentPath")) as f:
        return f.read()


class Lab:
    def __init__(self, logs):
        remove_leftovers()
        self.tag = "%s-%d-%d" % (PREFIX, os.getpid(), start_time(os.getpid()))
        self.dir = os.path.join("/run", self.tag)
        os.makedirs(self.dir, exist_ok=True)
        os.makedirs(logs, exist_ok=True)
        self.logs = logs
        self.hosts, self.processes, self.moved = [], [], []
        self.links = 0
        self.units = []
        for s in (signal.SIGTERM, signal.SIGHUP):
            if threading.current_thread() is threading.main_thread():
                signal.signal(s, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        main = threading.current_thread() is threading.main_thread()
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if main else ()  # a second Ctrl-C must not end the removal half way
        before = [signal.signal(s, signal.SIG_IGN) for s in ignored]
        self.close()
        for s, handler in zip(ignored, before):
            signal.signal(s, handler)

    def netns(self, host):
        return self.tag + "-" + host

    def host(self, name, forward=False, ipv6=False):
        """A namespace with loopback up. Forwarding and IPv6 only on request: otherwise every capture contains link-local traffic."""
        ns = self.netns(name)
        run("ip", "netns", "add", ns)
        self.hosts.append(name)
        self.sh(name, "ip link set lo up")
        if ipv6:
            self.sh(name, "sysctl -qw net.ipv6.conf.all.forwarding=%d net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0" % forward)
        else:
            self.sh(name, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
        self.sh(name, "sysctl -qw net.ipv4.ip_forward=%d net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0" % forward)
        return ns

    def link(self, a, a_if, a_addr, b, b_if, b_addr):
        """A veth pair; addresses with length: one, a list, or None. TCP and UDP are sent with complete checksums (a veth leaves them incomplete by
        default)."""
        self.links += 1
        tmp = ["kl%d%c" % (os.getpid(), c) for c in "ab"]
        run("ip", "link", "add", tmp[0], "type", "veth", "peer", "name", tmp[1])
        for dev, host, name, addr in ((tmp[0], a, a_if, a_addr), (tmp[1], b, b_if, b_addr)):
            run("ip", "link", "set", dev, "netns", self.netns(host), "name", name)
            for one in [addr] if isinstance(addr, str) else addr or []:
                self.sh(host, "ip address add %s dev %s%s" % (one, name, " nodad" if ":" in one else ""))
            self.sh(host, "ip link set dev %s up" % name)
            self.sh(host, "ethtool -K %s tx off gso off tso off" % name)

    def move(self, interface, host, name):
        """Moves an interface of ours to a host; close() brings it back. The kernel would do so when the namespace ends, which is after the last TCP connection
        without an owner."""
        run("ip", "link", "set", "dev", interface, "netns", self.netns(host), "name", name)
        self.moved.append((interface, host, name))

    def sh(self, host, command, check=True):
        return run("ip", "netns", "exec", self.netns(host), "sh", "-c", command, check=check)

    def spawn(self, name, host, command, cpus=None, lines=False, stderr=None, own_mounts=True):
        """Starts a daemon in a host; its output goes to a log (with lines=True its standard output to us; its standard error to the descriptor
        `stderr`). own_mounts=False: with our mount namespace, as a service has; `ip netns exec` hides namespaces that the daemon creates."""
        full = [] if not host else ["ip", "netns", "exec", self.netns(host)] if own_mounts else ["nsenter", "--net=/run/netns/" + self.netns(host)]
        if cpus is not None:
            full = ["taskset", "-c", ",".join(map(str, cpus))] + full
        log = os.path.join(self.logs, name + ".log")
        with open(log, "ab") as f:
            popen = subprocess.Popen(full + list(command), stdin=subprocess.PIPE if lines else subprocess.DEVNULL,
                                     stdout=subprocess.PIPE if lines else f, stderr=f if stderr is None else stderr, bufsize=0, start_new_session=True)
        p = Process(name, popen, log)
        self.processes.append(p)
        with open(os.path.join(self.dir, "processes"), "a") as f:
            f.write("%d %d\n" % (popen.pid, start_time(popen.pid)))
        return p

    def start_unit(self, like, host, command, folder, cpus):
        """Starts a command as systemd starts the service `like`: a unit of the lab has all lines of that unit but those that name files. `folder` belongs to
        the unit's user."""
        unit = "%s-%s.service" % (self.tag, like)
        lines = [line for line in unit_text(like).splitlines() if not UNIT_FILES.match(line)]
        user, group = (next(line.split("=")[1] for line in lines if line.startswith(key + "=")) for key in ("User", "Group"))
        for path in [folder, *(os.path.join(folder, name) for name in os.listdir(folder))]:
            shutil.chown(path, user, group)
        log = os.path.join(self.logs, like + ".log")
        own = {"ExecStart": " ".join(command), "NetworkNamespacePath": "/run/netns/" + self.netns(host), "CPUAffinity": " ".join(map(str, cpus)),
               "ReadWritePaths": folder, "StandardOutput": "append:" + log, "StandardError": "append:" + log}
        at = lines.index("[Service]") + 1
        lines[at:at] = ["%s=%s" % line for line in own.items()]
        os.makedirs(UNIT_FOLDER, exist_ok=True)
        with open(os.path.join(UNIT_FOLDER, unit), "w") as f:
            f.write("\n".join(lines) + "\n")
        self.units.append(unit)
        run("systemctl", "daemon-reload")
        run("systemctl", "start", unit)
        p = Process(like, UnitPopen(unit), log)
        self.processes.append(p)
        return p

    def keeld_unit(self, like, host, config, cpus):
        """As keeld(), but runs the programs of an installed unit, and of the unit of the forwarder, with the privileges of these units."""
        folder, beside = os.path.join(self.dir, "unit"), os.path.join(self.dir, "forwarder")
        for f in (folder, beside):
            os.mkdir(f, 0o750)
        path = self.write("unit/keeld.json", json.dumps(config, indent=2))
        sock, fwd = os.path.join(folder, "keeld.sock"), os.path.join(beside, "keelfwd.sock")
        program, keelfwd = (re.search(r"^ExecStart=(\S+)", unit_text(unit), re.M).group(1) for unit in (like, "keel-forwarder"))
        self.start_unit("keel-forwarder", host, [keelfwd, "--socket", fwd, "--keeld", "keel", "--state-dir", os.path.join(beside, "state")], beside, cpus)
        p = self.start_unit(like, host, [program, "-c", path, "--socket", sock, "--state-dir", os.path.join(folder, "state"), "--forwarder", fwd], folder, cpus)
        return p, Rpc(sock), sock

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def keelfwd(self, host, keeld, *args, prefix=(), own_mounts=True):
        """Starts keelfwd as a supervisor does: keelfwd continues after an orderly end of keeld. Returns (process, options for keeld)."""
        sock = self.path("keelfwd.sock")
        p = self.spawn("keelfwd", host, [*prefix, os.path.join(os.path.dirname(keeld), "../dataplane/keelfwd"), "--socket", sock, *args], own_mounts=own_mounts)
        wait_for("socket of keelfwd", lambda: p.must_run() or forwarder_pid(sock), 60)
        return p, ("--forwarder", sock)

    def keeld(self, host, config, binary, name="keeld", cpus=None, args=(), disk=None, stderr=None, own_mounts=True, prefix=(), idle="adaptive"):
        """Starts keeld (behind the command `prefix`) with a document and waits until its socket answers. Returns (process, rpc). `disk`: (folder, kB), a tmpfs in the mount
        namespace of keeld (of `ip netns exec`), with the document and the state. own_mounts: see spawn(). `idle`: `dataplane.idle` of a document without the key."""
        if "worker_cpus" in config.get("dataplane", {}):
            config = {**config, "dataplane": {"idle": idle, **config["dataplane"]}}
        path = self.write(name + ".json", json.dumps(config, indent=2))
        sock, state, before = os.path.join(self.dir, name + ".sock"), os.path.join(self.dir, name + ".state"), []
        if "--user" not in args:  # on a machine with the package, root would become the user keel, who cannot write the folder of the lab
            args = (*args, "--user", "root", "--forwarder-user", "root")
        if disk:
            before = ["sh", "-ec", 'mount -t tmpfs -o size=%dk tmpfs "$1"; cp "$2" "$1"; shift 2; exec "$@"' % disk[1], "sh", disk[0], path]
            path, state = (os.path.join(disk[0], os.path.basename(x)) for x in (path, state))
        p = self.spawn(name, host, [*before, *prefix, binary, "-c", path, "--socket", sock, "--state-dir", state, *args], cpus=cpus, stderr=stderr, own_mounts=own_mounts)

        def answers():
            p.must_run()
            try:
                return Rpc(sock)
            except OSError:
                return None

        rpc = wait_for("socket of " + name, answers, 60)
        wait_for("answer of " + name, lambda: rpc.call("system.info"), 60)
        return p, rpc

    def bird(self, host, config, name=None, cpus=None):
        """Starts BIRD 2; returns (process, birdc)."""
        name = name or "bird-" + host
        path, ctl = self.write(name + ".conf", config), os.path.join(self.dir, name + ".ctl")
        p = self.spawn(name, host, [program("/usr/sbin/bird"), "-f", "-c", path, "-s", ctl], cpus=cpus)

        def birdc(*words):
            return run(program("/usr/sbin/birdc"), "-s", ctl, *words)

        def up():
            p.must_run()
            return os.path.exists(ctl) and "Daemon is up" in run(program("/usr/sbin/birdc"), "-s", ctl, "show", "status", check=False)

        wait_for("control socket of " + name, up, 30)
        return p, birdc

    def close(self):
        for p in reversed(self.processes):
            try:
                p.stop()
            except OSError:
                pass
            for f in (p.popen.stdin, p.popen.stdout):
                if f:
                    try:
                        f.close()
                    except OSError:
                        pass
        self.processes = []
        for unit in reversed(self.units):
            remove_unit(unit)
        for interface, host, name in self.moved:
            run("ip", "-n", self.netns(host), "link", "set", "dev", name, "netns", str(os.getpid()), "name", interface, check=False)
        for h in self.hosts:
            remove_namespace(self.netns(h))
        self.hosts, self.moved = [], []
        shutil.rmtree(self.dir, ignore_errors=True)


def worker_drops(rpc, reason):
    """Packets that all workers dropped for the reason."""
    return sum(w["drops"].get(reason, 0) for w in rpc.call("dataplane.stats")["workers"])


class Machine:
    """
    What the machine takes from a lab with a probe: by time, how long threads were ready to run and it ran something else, or stopped them (quota of a control
    group). The kernel counts for each thread; read each 0.2 s until stop().
    """
    GAP_S = 1 if "NIC_GUEST_NICS" not in os.environ else 5  # a lab fails if the router makes a longer one; a guest does not see what its host takes

    def __init__(self, lab, probe):
        self.probe, self.hosts = str(probe), {os.stat("/run/netns/" + lab.netns(h)).st_ino for h in lab.hosts}
        self.last, self.total, self.samples, self.over = {}, collections.Counter(), [], threading.Event()
        self.sample()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.wait(0.2):
            self.sample()

    def threads(self):
        """Of the probe, and of each keeld and keelfwd in a host of the lab."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # a process has ended
                if pid == self.probe or (read("/proc/%s/comm" % pid).strip() in ("keeld", "keelfwd") and os.stat("/proc/%s/ns/net" % pid).st_ino in self.hosts):
                    yield from ("/proc/%s/task/%s/" % (pid, task) for task in os.listdir("/proc/%s/task" % pid))

    def sample(self):
        begin = time.time()
        for thread in self.threads():
            name, ran = read(thread + "comm"), read(thread + "schedstat").split()
            kind = "worker" if name.startswith("keel-worker") else "sender" if name.startswith("probe-sender") else "control"
            waited = int(ran[1]) / 1e9 if ran else 0
            self.total[kind] += max(0, waited - self.last.get(thread, 0 if self.samples else waited))
            self.last[thread] = waited
        self.samples.append((begin, time.time(), self.total.copy()))

    def stop(self):
        self.over.set()
        self.thread.join()
        self.sample()
        return self

    def waited(self, begin, end):
        before = [total for _, ended, total in self.samples if ended <= begin] or [self.samples[0][2]]
        after = [total for begun, _, total in self.samples if begun >= end] or [self.samples[-1][2]]
        return {k: after[0][k] - before[-1][k] for k in ("worker", "sender", "control")}

    def gaps(self, report):
        """[(the router's part in seconds, a gap of the probe)]: without the pause of the sender, and the time in which the machine did not run a worker, or (in the
        phase `link`, where other threads make the change) any thread of the router."""
        out = []
        for g in report["gaps"]:
            g["waited_s"] = w = {k: round(v, 3) for k, v in self.waited(g["begin"], g["end"]).items()}
            own = max(g["sender_s"], w["sender"]) + w["worker"] + (w["control"] if g["phase"] == "link" else 0)
            out.append((max(0, round(g["end"] - g["begin"] - own, 3)), g))
        return out

    def stalls(self, report, bound_s=GAP_S):
        """The gaps that are too long; all are printed."""
        gaps = self.gaps(report)
        for s, g in gaps:
            print("      %.2f s of a gap are the router's: %r" % (s, g), flush=True)
        return [(s, g) for s, g in gaps if s > bound_s]


def print_losses(rpc, probe):
    """Prints the longest gap that the probe saw, and each counter of a place where a packet may have been lost: the worker, the ports, the probe's sockets."""
    stats = rpc.call("dataplane.stats")
    found = {"worker: " + k: v for w in stats["workers"] for k, v in w["drops"].items()}
    found.update(("%s: %s" % (p["name"], k), p[k]) for p in stats["ports"] for k in ("rx_missed", "tx_dropped", "xdp_rx_dropped", "xdp_rx_ring_full"))
    found.update((p["to"] + ": receiver_overflow", p["receiver_overflow"]) for p in probe["ports"])
    print("      longest gap %d us at %.1f s; dropped: %r" % (probe["longest_gap_us"], probe["longest_gap_at_s"], {k: v for k, v in found.items() if v}), flush=True)


def cpus_of_lab():
    """(the worker's CPU, CPUs of all other processes): the last usable CPU, and the rest."""
    cpus = sorted(os.sched_getaffinity(0))
    return (cpus[-1], cpus[:-1]) if len(cpus) > 1 else (cpus[0], cpus)


class Hugepages:
    """Reserves 2 MiB pages during a `with`, and restores the previous number."""

    PATH = "/proc/sys/vm/nr_hugepages"
    RECORD = os.path.join("/run", PREFIX + ".hugepages")  # maker and previous number, to restore the number after a killed lab

    def __init__(self, count):
        self.count = count

    def __enter__(self):
        remove_host_leftovers()
        self.before = int(read(self.PATH))
        if self.before >= self.count:
            return self.before
        try:
            with open(self.RECORD, "w") as f:
                f.write("%d %d %d" % (os.getpid(), start_time(os.getpid()), self.before))
            with open(self.PATH, "w") as f:
                f.write(str(self.count))
        except OSError:
            pass
        return int(read(self.PATH))

    def __exit__(self, *exc):
        if self.before < self.count:
            self.give_back(self.before)

    @classmethod
    def give_back(cls, before):
        try:
            with open(cls.PATH, "w") as f:
                f.write(str(before))
            os.unlink(cls.RECORD)
        except OSError:
            pass
