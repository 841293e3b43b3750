# SPDX-License-Identifier: BSD-3-Clause
"""A clean Debian root that systemd boots in, by systemd-nspawn, with no network but its own loopback.

The base root comes from scripts/debian-root and is kept as build/package/RELEASE/root-HASH.tar. Everything else goes at close().
"""
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

WAIT_S = 120
DEBIAN_ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "scripts", "debian-root")


def run(*command, check=True, **kw):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL, **kw)
    if check and p.returncode != 0:
        raise RuntimeError("%s: exit %d: %s" % (" ".join(command), p.returncode, p.stdout.strip()[-3000:]))
    return p.stdout


def wait_for(what, good, timeout=WAIT_S):
    end = time.monotonic() + timeout
    while True:
        value = good()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError("no " + what)
        time.sleep(0.1)


def base(folder, packages):
    """The base root with these packages as a tar file; made at the first call, which takes one to three minutes. `folder` has the name of the release."""
    tag = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    path = os.path.join(folder, "root-%s.tar" % tag)
    if not os.path.exists(path):
        run(DEBIAN_ROOT, "new", os.path.basename(folder), path, *sorted(packages))
    return path


class Container:
    def __init__(self, tar, bind=(), mask=()):
        self.folder = tempfile.mkdtemp(prefix="keel-package-")
        self.root = os.path.join(self.folder, "root")
        self.leader = self.nspawn = None
        try:
            os.mkdir(self.root)
            run("tar", "-C", self.root, "-xf", tar)
            os.makedirs(os.path.join(self.root, "var/log/journal"), exist_ok=True)
            for unit in mask:  # daemons that a lab starts itself
                os.symlink("/dev/null", os.path.join(self.root, "etc/systemd/system", unit + ".service"))
            self.boot(bind)
        except BaseException:
            self.close()
            raise

    def boot(self, bind):
        self.log = open(os.path.join(self.folder, "nspawn.log"), "wb")
        # nspawn's own system-call filter would hide what the units' filters do; /proc/sys is to be writable, as on a host
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "-D", self.root, "--private-network", "--capability=all", "--bind=/dev/net/tun",
             *["--bind-ro=" + b for b in bind], "--console=pipe", "/lib/systemd/systemd", "--show-status=no"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, env=dict(os.environ, SYSTEMD_SECCOMP="0", SYSTEMD_NSPAWN_API_VFS_WRITABLE="yes"))
        self.leader = wait_for("leader", self.find_leader)
        wait_for("systemd", lambda: self.sh("systemctl is-system-running", check=False).strip() in ("running", "degraded"))
        # nspawn shows a part of /sys; EAL looks for the modules of the kernel
        self.sh("mount -o remount,rw /sys && mkdir -p /sys/module && mount -t sysfs sysfs /mnt && mount --bind /mnt/module /sys/module && umount /mnt")

    def find_leader(self):
        if self.nspawn.poll() is not None:
            with open(self.log.name) as f:
                raise RuntimeError("systemd-nspawn ended: " + f.read())
        for task in os.listdir("/proc/%d/task" % self.nspawn.pid):
            with open("/proc/%d/task/%s/children" % (self.nspawn.pid, task)) as f:
                for pid in f.read().split():
                    with open("/proc/%s/comm" % pid) as c:
                        if c.read().strip() == "systemd":
                            return int(pid)
        return None

    def enter(self, *command, **kw):
        return subprocess.run(["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", *command],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}, **kw)

    def status(self, script, timeout=WAIT_S * 2):
        """(exit status, output)"""
        p = self.enter("sh", "-c", script, timeout=timeout)
        return p.returncode, p.stdout

    def sh(self, script, check=True):
        status, out = self.status(script)
        if check and status != 0:
            raise RuntimeError("%s: exit %d: %s" % (script, status, out.strip()[-3000:]))
        return out

    def write(self, path, text, mode=0o644):
        full = os.path.join(self.root, path.lstrip("/"))
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as f:
            f.write(text)
        os.chmod(full, mode)

    def close(self):
        if self.leader is not None and self.nspawn.poll() is None:
            try:
                os.kill(self.leader, signal.SIGKILL)  # the first process of its namespace: all others end with it
            except ProcessLookupError:
                pass
        if self.nspawn is not None:
            try:
                self.nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
            self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
