"""What is said of hosts that somebody else made: one real host, changed in one respect at a time, asked, and changed back.

Each refusal is one paragraph with the host's own words and a fix, and leaves the host as it was.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from components.config import discovery
from components.hosts.existing.component import use_of
from components.steps.scripts import scripts_of
from tests.lab.bare import Bare, published
from tests.lab.lab import wait_for

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="nspawn hosts are made by root"),
]

LOGINS = ("op", "first.last", "user@corp.example")
SUDOERS = "/etc/sudoers.d/op"
USERS = "".join(
    f"""
useradd --badname -m -d /home/{login} -s /bin/bash -p '*' {login}
install -d -m 700 -o {login} -g {login} /home/{login}/.ssh
install -m 600 -o {login} -g {login} /root/.ssh/authorized_keys /home/{login}/.ssh/authorized_keys
echo '{login.replace("@", chr(92) + "@")} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{login.translate(str.maketrans(".@", "--"))}
"""
    for login in LOGINS
)
# How sshd is set up in the wild; hosts of the lab's own do without.
PAM = "sed -i 's/^UsePAM no/UsePAM yes/' /etc/ssh/sshd_config; systemctl reload ssh"
NO_PAM = "sed -i 's/^UsePAM yes/UsePAM no/' /etc/ssh/sshd_config; systemctl reload ssh"


def shell(text: str, login: str = "op") -> tuple[str, str]:
    """Another login shell, and the one before."""
    change = f"mkdir -p /usr/local/bin; cat >/usr/local/bin/theirs <<'SHELL'\n{text}\nSHELL\nchmod 755 /usr/local/bin/theirs; usermod -s /usr/local/bin/theirs {login}"
    return change, f"usermod -s /bin/bash {login}; rm /usr/local/bin/theirs"


def sshd(*lines: str) -> tuple[str, str]:
    """More lines for sshd, and the file as before."""
    added = "".join(f"{line}\n" for line in lines)
    change = f"cp /etc/ssh/sshd_config /run/sshd_config; cat >>/etc/ssh/sshd_config <<'LINES'\n{added}LINES\nsystemctl reload ssh"
    return change, "cat /run/sshd_config >/etc/ssh/sshd_config; systemctl reload ssh"


def put(path: str, text: str = "theirs\n") -> tuple[str, str]:
    """A file more, whose folder may be there already."""
    folder = Path(path).parent
    return (
        f"mkdir -p {folder}; printf %s '{text}' >{path}",
        f"rm {path}; rmdir -p --ignore-fail-on-non-empty {folder}",
    )


def over(path: str, options: str) -> tuple[str, str]:
    """The same folder, mounted otherwise."""
    return f"mkdir -p {path}; mount --bind {path} {path}; mount -o remount,bind,{options} {path}", f"umount {path}"


def without(program: str) -> tuple[str, str]:
    return (
        f"p=$(type -P {program}); mv $p $p.gone",
        f"p=$(find /usr/bin /usr/sbin -name {program}.gone); mv $p ${{p%.gone}}",
    )


def fake(program: str, text: str) -> tuple[str, str]:
    """Another program of that name, found before the host's own."""
    return (
        f"mkdir -p /usr/local/bin; printf '#!/bin/sh\\n%s\\n' '{text}' >/usr/local/bin/{program}; chmod 755 /usr/local/bin/{program}",
        f"rm /usr/local/bin/{program}",
    )


def name(text: str) -> tuple[str, str]:
    return f"echo {text} >/proc/sys/kernel/hostname", "echo host-1 >/proc/sys/kernel/hostname"


def resolvers(*lines: str) -> tuple[str, str]:
    text = "".join(f"{line}\\n" for line in lines)
    return (
        f"cp /etc/resolv.conf /run/resolv.before; printf '{text}' >/etc/resolv.conf",
        "cat /run/resolv.before >/etc/resolv.conf; rm -rf /run/resolv.before /run/systemd/resolve",
    )


@dataclass
class Case:
    """One respect in which a host is somebody else's.

    Attributes:
        change: the script that makes it so, and the one that ends it.
        says: words of the refusal; none for a host that is taken.
        distribution: what it is to be used for.
        login: who logs in.
        more: further variables of ``facts.py``.
    """

    change: tuple[str, str]
    says: tuple[str, ...] = ()
    distribution: str = "k3s"
    login: str = "op"
    more: Mapping[str, str] = field(default_factory=dict)


FISH = r"""#!/bin/bash
# As fish, csh and others: what only POSIX shells know is an error.
[ "$1" = -c ] || { echo 'theirs: no terminal' >&2; exit 1; }
case ${2%%\'*} in *'$('*|*'&&'*|*'||'*|*[A-Z]=*|*'if '*|*'{ '*) echo "theirs: Expected a string, but found a redirection: $2" >&2; exit 127 ;; esac
exec /bin/bash -c "$2"
"""
BASTION = {"JUMP_ADDRESS": "{address}:22", "JUMP_LOGIN": "first.last", "JUMP_KEY": "{key}"}
NOT_FORWARDING = ("Match User first.last", "AllowTcpForwarding no")

REFUSED = {
    "sudo-wants-a-terminal": Case(
        ("echo 'Defaults:op requiretty' >>" + SUDOERS, f"sed -i /requiretty/d {SUDOERS}"),
        ("must have a tty to run sudo", "!requiretty"),
    ),
    "not-in-sudoers": Case(
        (f"mv {SUDOERS} /run/op.sudo", f"mv /run/op.sudo {SUDOERS}"),
        ("sudo said: sudo: a password is required", "op ALL=(ALL) NOPASSWD: ALL"),
    ),
    "sudo-for-one-command-alone": Case(
        (f"echo 'op ALL=(ALL) NOPASSWD: /usr/bin/true' >{SUDOERS}", f"echo 'op ALL=(ALL) NOPASSWD: ALL' >{SUDOERS}"),
        ("sudo said: sudo: a password is required", "op ALL=(ALL) NOPASSWD: ALL"),
    ),
    "sudo-absent": Case(without("sudo"), ("there is no sudo", "not found")),
    "sudo-not-setuid": Case(
        ("chmod u-s /usr/bin/sudo", "chmod u+s /usr/bin/sudo"), ("not setuid root", "must be owned by uid 0 and have the setuid bit set")
    ),
    "sudoers-open-to-all": Case(
        ("chmod 666 /etc/sudoers", "chmod 440 /etc/sudoers"), ("visudo -c", "world writable")
    ),
    "account-expired": Case(
        (f"{PAM}; chage -E 0 op", f"chage -E -1 op; {NO_PAM}"), ("Your account has expired", "chage -E -1")
    ),
    "account-expired-for-sudo": Case(
        ("chage -E 0 op", "chage -E -1 op"), ("op", "expired", "chage -E -1")
    ),
    "password-must-be-changed": Case(
        (f"{PAM}; chage -d 0 op", f"chage -d 20000 op; {NO_PAM}"), ("change your password", "chage -d")
    ),
    "account-locked": Case(
        ("usermod -p '!x' op", "usermod -p '*' op"), ("refuses the user op", "usermod -U op"),
    ),
    "no-shell": Case(
        ("usermod -s /usr/sbin/nologin op", "usermod -s /bin/bash op"), ("This account is currently not available", "usermod -s /bin/bash op")
    ),
    "shell-that-fails": Case(("usermod -s /bin/false op", "usermod -s /bin/bash op"), ("usermod -s /bin/bash op",)),
    "shell-that-is-gone": Case(("usermod -s /usr/bin/gone op", "usermod -s /bin/bash op"), ("op",)),
    "forced-command": Case(sshd("Match User op", "ForceCommand echo take a ticket first"), ("take a ticket first", "ForceCommand")),
    "forced-sftp": Case(sshd("Match User op", "ForceCommand internal-sftp"), ("This service allows sftp connections only", "ForceCommand")),
    "a-login-that-goes-elsewhere": Case(
        ("echo 'echo choose: 1 2; exit 0' >/home/op/.bashrc.new; cp /home/op/.bashrc /home/op/.bashrc.old; mv /home/op/.bashrc.new /home/op/.bashrc",
         "mv /home/op/.bashrc.old /home/op/.bashrc"),
        ("it ran nothing, and its login printed: choose: 1 2",),
    ),
    "bastion-that-forwards-nothing": Case(
        sshd(*NOT_FORWARDING), ("the bastion", "AllowTcpForwarding"), more=BASTION
    ),
    "bastion-that-forwards-elsewhere": Case(
        sshd("Match User first.last", "PermitOpen 192.0.2.1:22"), ("the bastion", "PermitOpen"), more=BASTION
    ),
    "bastion-with-a-locked-account": Case(
        ("usermod -p '!x' first.last", "usermod -p '*' first.last"), ("the bastion", "refuses the user first.last"), more=BASTION
    ),
    "read-only-usr-local": Case(over("/usr/local", "ro"), ("/usr/local/bin can't be written there",)),
    "read-only-etc-systemd": Case(over("/etc/systemd/system", "ro"), ("/etc/systemd/system can't be written there",)),
    "files-that-nobody-changes": Case(
        ("mkdir -p /usr/local/bin; chattr +i /usr/local/bin 2>/dev/null || mount --bind -o ro /usr/local/bin /usr/local/bin", "chattr -i /usr/local/bin 2>/dev/null || umount /usr/local/bin"),
        ("/usr/local/bin can't be written there",),
    ),
    "noexec-opt": Case(over("/opt", "noexec"), ("/opt is mounted noexec",)),
    "noexec-var-lib": Case(over("/var/lib", "noexec"), ("/var/lib is mounted noexec",)),
    "noexec-var-lib-rancher": Case(over("/var/lib/rancher", "noexec"), ("/var/lib/rancher is mounted noexec",)),
    "small-opt": Case(
        ("mount -t tmpfs -o size=8m none /opt", "umount /opt"), ("MiB are free below /opt",)
    ),
    "small-usr-local-bin": Case(
        ("mkdir -p /usr/local/bin; mount -t tmpfs -o size=8m none /usr/local/bin", "umount /usr/local/bin"), ("MiB are free below /usr/local/bin",)
    ),
    "older-glibc": Case(fake("getconf", "echo glibc 2.28"), ("its C library is glibc 2.28", "that need glibc 2."), "upstream"),
    "musl": Case(fake("getconf", "exit 1"), ("its C library is not glibc",), "upstream"),
    "stub-resolver": Case(resolvers("nameserver 127.0.0.53"), ("names 127.0.0.53, a resolver on its own loopback",)),
    "stub-behind-a-stub": Case(
        (resolvers("nameserver 127.0.0.53")[0] + "; mkdir -p /run/systemd/resolve; echo nameserver 127.0.0.1 >/run/systemd/resolve/resolv.conf", resolvers()[1]),
        ("names 127.0.0.53, a resolver on its own loopback",),
    ),
    "no-tar": Case(without("tar"), ("it lacks tar",)),
    "no-gzip": Case(without("gzip"), ("it lacks gzip",)),
    "no-iptables": Case(without("iptables"), ("it lacks iptables",)),
    "no-base64": Case(without("base64"), ("base64: command not found",)),
    "no-timeout": Case(without("timeout"), ("it lacks timeout",)),
    "clock-a-day-off": Case(
        fake("date", 'case $1 in +%s%N) exec /bin/date -d "now + 1 day" "$@" ;; esac; exec /bin/date "$@"'), ("ahead of this machine's", "timedatectl set-ntp true")
    ),
    "name-with-capitals": Case(name("DB-7"), ("its name is DB-7", "hostnamectl set-hostname"), "microk8s"),
    "name-with-underscore": Case(name("node_a"), ("its name is node_a",), "microk8s"),
    "unit-of-another-k3s": Case(
        put("/etc/systemd/system/k3s.service", "[Service]\nExecStart=/usr/bin/k3s server\n"), ("k3s",),
    ),
    "unit-of-k0s": Case(put("/etc/systemd/system/k0sworker.service", "[Service]\nExecStart=/usr/bin/k0s worker\n"), ("k0sworker",)),
    "unit-of-rke2": Case(put("/usr/lib/systemd/system/rke2-server.service", "[Service]\nExecStart=/usr/bin/rke2 server\n"), ("rke2-server",)),
    **{
        f"configuration-{path.strip('/').replace('/', '-')}": Case(put(path), (f"it carries files in {found}", "mv "))
        for path, found in {
            "/etc/rancher/k3s/config.yaml": "/etc/rancher",
            "/etc/rancher/k3s/config.yaml.d/10-theirs.yaml": "/etc/rancher",
            "/etc/rancher/node/password": "/etc/rancher",
            "/etc/rancher/rke2/config.yaml": "/etc/rancher",
            "/etc/k0s/k0s.yaml": "/etc/k0s",
            "/etc/microshift/config.yaml": "/etc/microshift",
            "/etc/microshift/config.d/10-theirs.yaml": "/etc/microshift",
            "/etc/microshift/manifests/kustomization.yaml": "/etc/microshift",
            "/etc/containerd/config.toml": "/etc/containerd",
            "/etc/cni/net.d/05-theirs.conflist": "/etc/cni",
            "/etc/crio/crio.conf.d/10-theirs.conf": "/etc/crio",
            "/etc/kubernetes/kubelet.yaml": "/etc/kubernetes",


            "/etc/systemd/system/kubelet.service.d/10-theirs.conf": "/etc/systemd/system/kubelet.service.d",

        }.items()
    },
    **{
        f"file-{path.strip('/').replace('/', '-')}": Case(put(path), (f"it carries the file {path}", "mv "))
        for path in (
            "/etc/microk8s.yaml", "/root/snap/microk8s/common/.microk8s.yaml", "/usr/local/bin/kubectl",
            "/etc/systemd/system/k3s.service.env", "/etc/default/kubelet",
        )
    },
    "snap-data": Case(("mkdir -p /var/snap/microk8s/common; echo x >/var/snap/microk8s/common/x", "rm -r /var/snap"), ("it carries MicroK8s", "snap remove --purge microk8s")),
}  # fmt: skip

TAKEN = {
    "login-with-a-point": Case((":", ":"), login="first.last"),
    "login-of-a-directory": Case((":", ":"), login="user@corp.example"),
    "root": Case((":", ":"), login="root"),
    "umask-077": Case(
        (
            f"{PAM}; sed -i '1i umask 077' /home/op/.bashrc /root/.bashrc",
            f"sed -i '/^umask 077/d' /home/op/.bashrc /root/.bashrc; {NO_PAM}",
        )
    ),
    "sudo-without-sbin": Case(("echo 'Defaults secure_path=/usr/bin:/bin' >/etc/sudoers.d/zz", "rm /etc/sudoers.d/zz")),
    "sudo-with-a-pty": Case(("echo 'Defaults use_pty' >/etc/sudoers.d/zz", "rm /etc/sudoers.d/zz")),
    "sudo-that-lectures": Case(("echo 'Defaults lecture=always' >/etc/sudoers.d/zz", "rm /etc/sudoers.d/zz")),
    "name-that-sudo-cannot-resolve": Case(name("db-7.example.org")),
    "name-of-its-own": Case(name("db-7.example.org"), distribution="upstream"),
    "short-name": Case(name("x1"), distribution="k0s"),
    "name-with-capitals-elsewhere": Case(name("DB_7")),
    "fish-like-shell": Case(shell(FISH)),
    "fish-like-shell-of-root": Case(shell(FISH, "root"), login="root"),
    "noise": Case(
        ("sed -i '1i echo clockNs=1; echo lab=theirs' /home/op/.bashrc", "sed -i '/^echo clockNs/d' /home/op/.bashrc")
    ),
    "noise-of-every-bash": Case(
        (
            f"{PAM}; printf 'BASH_ENV=/etc/theirs.sh\\n' >>/etc/environment; echo 'echo lab=theirs; echo Welcome' >/etc/theirs.sh",
            f"rm /etc/theirs.sh; sed -i /BASH_ENV/d /etc/environment; {NO_PAM}",
        ),
        login="root",
    ),
    "german": Case((f"{PAM}; echo LANG=de_DE.UTF-8 >>/etc/environment", f"sed -i /de_DE/d /etc/environment; {NO_PAM}")),
    "noexec-tmp": Case(("mount -t tmpfs -o noexec none /tmp", "umount /tmp")),
    "noexec-run": Case(("mount -o remount,noexec /run", "mount -o remount,exec /run")),
    "no-terminal-granted": Case(sshd("PermitTTY no", "X11Forwarding no", "MaxSessions 1")),
    "bastion-with-one-session": Case(sshd("MaxSessions 1", "PermitTTY no"), more=BASTION),
    "no-home-of-root": Case(("mv /root /root.gone", "mv /root.gone /root")),
    "disks-of-their-own": Case(
        (
            "for d in etcd kubelet containerd rancher; do mkdir -p /var/lib/$d; mount -t tmpfs -o size=8m none /var/lib/$d; mkdir /var/lib/$d/lost+found; done",
            "for d in etcd kubelet containerd rancher; do umount /var/lib/$d; done; rmdir /var/lib/etcd",
        ),
    ),
    "stub-with-real-resolvers": Case(
        (
            resolvers("nameserver 127.0.0.53")[0]
            + "; mkdir -p /run/systemd/resolve; echo nameserver 192.0.2.53 >/run/systemd/resolve/resolv.conf",
            resolvers()[1],
        )
    ),
    "stub-where-pods-ask-nobody": Case(resolvers("nameserver 127.0.0.53"), distribution="upstream"),
    "two-networks": Case(
        (
            "ip link add other0 type bridge; ip addr add 192.168.77.1/24 dev other0; ip link set other0 up",
            "ip link del other0",
        )
    ),
    "empty-folders": Case(
        (
            "mkdir -p /etc/rancher/k3s /etc/cni/net.d /var/lib/kubelet /opt/cni/bin",
            "rmdir -p --ignore-fail-on-non-empty /etc/rancher/k3s /etc/cni/net.d /opt/cni/bin",
        )
    ),
}


@dataclass
class Asking:
    """A lab that would like to have the host."""

    run: Path
    host: Bare

    def facts(self, case: Case) -> subprocess.CompletedProcess[str]:
        record = self.host.record
        words = {"address": record["Address"], "key": str(self.host.run / "id_ed25519")}
        known = f"{record['Address']} {record['HostKey']}"
        env = {
            **self.host.env,
            "ADDRESS": f"{record['Address']}:22",
            "LOGIN": case.login,
            "KEY": words["key"],
            "CPUS": "1",
            "MEMORY_MIB": "1024",
            "USE": json.dumps(use_of(case.distribution, internet=False)),
            **{key: value.format(**words) for key, value in case.more.items()},
        }
        stdin = f"{known}\n---\n{known}\n" if case.more else f"{known}\n"
        return subprocess.run(
            [self.run / "existing-0" / "facts.py", "create", "host-1"],
            env=env, input=stdin, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip

    def forget(self) -> None:
        subprocess.run([self.run / "existing-0" / "facts.py", "delete", "host-1"], env=dict(self.host.env), check=True)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    made = Bare(tmp_path_factory.mktemp("theirs") / ".lab" / "run" / "theirs")
    try:
        made.create()
        made.by_root(USERS)
        yield made
    finally:
        made.clear()


@pytest.fixture
def asking(host: Bare, tmp_path: Path) -> Asking:
    run = tmp_path / ".lab" / "run" / "asking"
    published(run, "ssh", "existing")
    return Asking(run, host)


def inventory(host: Bare) -> set[str]:
    return set(host.by_root((scripts_of("existing") / "inventory.sh").read_text() + "\ninventory\n").splitlines())


def changed(host: Bare, case: Case) -> None:
    host.by_root(case.change[0])
    if "reload ssh" in case.change[0]:
        wait_for_sshd(host)


def wait_for_sshd(host: Bare) -> None:
    wait_for(
        "sshd", 20, lambda: host.by_root("ss -Htln 'sport = :22'; systemctl is-active ssh || true").count("\n") >= 2
    )


def restored(host: Bare, case: Case) -> None:
    host.by_root(case.change[1])
    if "reload ssh" in case.change[1]:
        wait_for_sshd(host)


@pytest.mark.parametrize("what", REFUSED)
def test_a_host_that_will_not_do_is_refused_with_the_reason_and_stays_as_it_is(
    asking: Asking, host: Bare, what: str
) -> None:
    case = REFUSED[what]
    try:
        changed(host, case)
        before = inventory(host)
        shown = asking.facts(case)
        after = inventory(host)
    finally:
        restored(host, case)
    print(shown.stderr)
    assert shown.returncode == 1, shown.stdout
    assert shown.stderr.startswith(f"error: host-1 ({host.record['Address']}:22): ")
    assert shown.stderr.count("\n") == 1
    assert shown.stderr.endswith(" Nothing was changed on it.\n")
    for words in case.says:
        assert words in shown.stderr
    assert after == before
    assert not list(asking.run.glob("ssh/host-*"))


@pytest.mark.parametrize("what", TAKEN)
def test_a_host_that_will_do_is_taken_and_told_as_it_is(asking: Asking, host: Bare, what: str) -> None:
    case = TAKEN[what]
    try:
        changed(host, case)
        shown = asking.facts(case)
    finally:
        restored(host, case)
    assert shown.returncode == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert facts["address"] == host.record["Address"]
    assert (facts["cpus"], facts["memoryMib"]) == (1, 1024)
    asking.forget()


def test_every_distribution_is_asked_for() -> None:
    assert {case.distribution for case in (*REFUSED.values(), *TAKEN.values())} <= set(discovery.distributions())
