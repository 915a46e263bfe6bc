"""A lab of a user without any privileges: real kubectl, the recipe, enforcement, nodes, a crash; and the refusals where a host forbids it."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import site
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lab.recipes.test_images import docker_save

from stockade.lab import user_namespace
from stockade.lab.demo.recipes.deny_egress import ALLOW_DNS, DENY_ALL
from stockade.lab.node import seccomp, syscalls
from stockade.lab.preflight import missing_requirement
from stockade.lab.processes import agents, of_lab

from .conftest import NEW_KUBECTL, ROOT, Lab
from .test_lifecycle import host_state, stockade_processes
from .test_nodes import POLICY, eventually, fetches, pod
from .test_recipe import open_shell
from .test_restore import crash

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
NOBODY = 65534
OUTSIDE = "http://172.30.0.1:30080/"


@functools.cache
def interpreter() -> tuple[str, dict[str, str]]:
    """A Python that nobody may run, with this tree's modules; this one may lie in root's own directory."""
    path = os.pathsep.join([str(ROOT / "src"), *site.getsitepackages()])
    for program in (sys.executable, "/usr/bin/python3"):
        env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        check = "import sys, aiohttp, cryptography, dns, msgspec, stockade.cli.main; assert sys.version_info >= (3, 11)"
        done = run_as_nobody([program, "-c", check], {**env, "PATH": os.environ["PATH"]})
        if done is not None and done.returncode == 0:
            return program, env
    pytest.skip("no Python that an unprivileged user may run has the lab's libraries")


def run_as_nobody(
    command: list[str], env: dict[str, str], before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str] | None:
    who = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 and before is None else {}
    )
    try:
        return subprocess.run(
            command,
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            preexec_fn=before,
            **who,
        )
    except PermissionError:
        return None


class RootlessLab(Lab):
    before: Callable[[], None] | None = None

    def stockade(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program, env = interpreter()
        done = run_as_nobody([program, "-m", "stockade.cli.main", *arguments], self.env | env, self.before)
        assert done is not None
        return done


@contextlib.contextmanager
def nobodys_directory() -> Iterator[Path]:
    """pytest's own directories are closed to others."""
    directory = Path(tempfile.mkdtemp(prefix="rootless-"))
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with nobodys_directory() as directory:
        yield directory


@pytest.fixture
def own_home() -> Iterator[Path]:
    with nobodys_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def rootless(home: Path) -> Iterator[RootlessLab]:
    if reason := missing_requirement():
        pytest.skip(reason)
    lab = RootlessLab(f"test-{uuid.uuid4().hex[:8]}", home, NEW_KUBECTL)
    before = host_state()
    done = lab.stockade("up", "--name", lab.name, "--nodes", "2")
    if "user.max_user_namespaces" in done.stderr or "forbids" in done.stderr:
        pytest.skip(done.stderr)
    try:
        assert done.returncode == 0, done.stderr
        assert host_state() == before
        yield lab
    finally:
        down = lab.stockade("down", "--name", lab.name)
    assert down.returncode == 0, down.stderr
    assert not lab.paths.directory.exists()
    assert stockade_processes(lab) == []
    assert host_state() == before


def test_what_up_says(rootless) -> None:
    said = rootless.stockade("up", "--name", rootless.name).stderr
    assert said.startswith(f"lab '{rootless.name}' is already running")
    processes = of_lab(rootless.paths)
    assert len(agents(rootless.paths)) == 2
    owners = {Path(f"/proc/{process.pid}").stat().st_uid for process in processes}
    assert 0 not in owners or os.geteuid() != 0
    status = rootless.stockade("status", "--name", rootless.name)
    assert status.returncode == 0
    assert "enforcing:" in status.stdout
    assert "limits:" in status.stdout


def test_recipe(rootless) -> None:
    """Its turning points; ``test_recipe.py`` has the whole pages."""
    lab = rootless
    lab.kubectl("run", "web", "--image=nginx", "--port=80", "--expose", "--labels=app=web")
    lab.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=20s")
    with open_shell(lab) as shell:
        assert "Welcome to nginx!" in shell.ask("wget -qO- --timeout 1 http://web:80/")
        lab.apply(DENY_ALL)
        assert shell.ask("wget -qO- --timeout 1 http://web:80/") == "wget: bad address 'web:80'"
        lab.apply(ALLOW_DNS)
        ip = lab.get("service", "web")["spec"]["clusterIP"]
        expected = f"Connecting to web ({ip}:80)\nwget: download timed out"
        assert shell.ask("wget --timeout 1 -O- http://web") == expected
        shell.type("exit 0")
        assert shell.finish()[1] == 0
    lab.kubectl("delete", "networkpolicy", "foo-deny-egress")


def test_two_nodes_two_families_and_policies(rootless) -> None:
    lab = rootless
    near = pod(lab, "near", 1)
    far = pod(lab, "far", 2, image="nginx")
    closed = pod(lab, "closed", 2, image="nginx")
    lab.apply(POLICY.format(name="closed", pod="closed", direction="Ingress"))
    assert all(eventually(lambda ip=ip: fetches(lab, "near", ip)) for ip in far)
    assert eventually(lambda: not any(fetches(lab, "near", ip) for ip in closed))
    assert len(near) == 2
    lab.kubectl("expose", "pod", "far", "--type=NodePort", "--port=80")
    body = '{"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}'
    lab.kubectl("patch", "service", "far", "-p", body)
    assert eventually(lambda: "nginx" in lab.stockade("outside", "--name", lab.name, OUTSIDE).stdout)


def test_a_pod_has_the_rights_of_any_lab(rootless) -> None:
    lab = rootless
    pod(lab, "rights", 1)
    inside = lab.kubectl(
        "exec", "rights", "--", "sh", "-c", "id -u; grep -E 'CapEff|Seccomp:' /proc/self/status"
    )
    assert inside.split() == ["0", "CapEff:", "00000000a00425fb", "Seccomp:", "2"]
    refused = lab.try_kubectl("exec", "rights", "--", "unshare", "-U", "true")
    assert refused.returncode != 0
    assert lab.kubectl("exec", "rights", "--", "sh", "-c", "rm -r /etc && mkdir /etc && ls /etc") == ""


def test_limits_that_do_not_hold_are_said(rootless) -> None:
    lab = rootless
    limits = '{"spec": {"containers": [{"name": "asks", "image": "alpine", "command": ["sleep", "60"], "resources": {"limits": {"memory": "32Mi"}}}]}}'
    lab.kubectl("run", "asks", "--image=alpine", f"--overrides={limits}")
    lab.kubectl("wait", "--for=condition=Ready", "pod/asks", "--timeout=20s")
    said = lab.kubectl("get", "events")
    held = "limits:     resources.limits hold\n" in lab.stockade("status", "--name", lab.name).stdout
    assert held or "limits of memory are not applied: no cgroup may be written here" in said
    lab.kubectl("delete", "pod", "asks", "--now")


def waiting(lab: RootlessLab, name: str) -> dict:
    held = lab.get("pod", name)["status"].get("containerStatuses") or [{}]
    return held[0].get("state", {}).get("waiting", {})


def test_a_user_that_does_not_exist(rootless) -> None:
    """Without ranges for this user the machine's kernel knows no other one in here."""
    lab = rootless
    if user_namespace.ranges("/etc/subuid", NOBODY):
        pytest.skip("this machine gives nobody more users")
    patch = '{"spec": {"securityContext": {"runAsUser": 101}}}'
    lab.kubectl("run", "other", "--image=alpine", f"--overrides={patch}", "--", "sleep", "60")
    missing = "user 101 does not exist in this lab, which runs without root"
    assert eventually(lambda: waiting(lab, "other").get("reason") == "CreateContainerConfigError")
    assert waiting(lab, "other")["message"].startswith(missing)
    lab.kubectl("delete", "pod", "other", "--now")


def test_crash_and_restore(rootless) -> None:
    lab = rootless
    pod(lab, "kept", 2, image="nginx")
    crash(lab)
    done = lab.stockade("up", "--name", lab.name)
    assert done.returncode == 0, done.stderr
    assert " is restored in " in done.stderr
    lab.kubectl("wait", "--for=condition=Ready", "pod/kept", "--timeout=20s")
    assert lab.get("pod", "kept")["status"]["containerStatuses"][0]["restartCount"] == 1


def owner_of_loaded(lab: RootlessLab, home: Path) -> tuple[int, int]:
    """Whose, for the machine, a directory of user 5 and group 6 in an image is once that is loaded."""
    path = home / "root.tar"
    with tarfile.open(path, "w") as archive:
        data = tarfile.TarInfo("only-here")
        data.type, data.mode, data.uid, data.gid = tarfile.DIRTYPE, 0o750, 5, 6
        archive.addfile(data)
    path.chmod(0o644)
    done = lab.stockade("image", "load", "mine", str(path))
    assert done.returncode == 0, done.stderr
    (found,) = (lab.paths.root / "images").glob("layers/*/only-here")
    status = found.stat()
    assert lab.stockade("image", "rm", "mine").returncode == 0
    return status.st_uid, status.st_gid


def test_layers_of_an_image_lie_over_each_other(rootless, home: Path) -> None:
    """The image's own user is not there: refused; as 0 it runs, with what its upper layer hides hidden."""
    lab = rootless
    docker_save(home / "own.tar")
    (home / "own.tar").chmod(0o644)
    done = lab.stockade("image", "load", str(home / "own.tar"))
    assert done.returncode == 0, done.stderr
    if not user_namespace.ranges("/etc/subuid", NOBODY):
        lab.kubectl("run", "refused", "--image=team/own:1")
        assert eventually(lambda: "user 1000 does not exist" in waiting(lab, "refused").get("message", ""))
        lab.kubectl("delete", "pod", "refused", "--now")
    pod(lab, "own", 1, image="team/own:1", securityContext={"runAsUser": 0})
    assert lab.kubectl("logs", "own").startswith("started as 0:0 in /work with blue")
    look = 'echo /hidden*; : > /start; while read -r x y z; do [ "$y" != / ] || echo $z; done < /proc/mounts'
    assert lab.kubectl("exec", "own", "--", "sh", "-c", look).split()[:2] == ["/hidden*", "overlay"]
    lab.kubectl("delete", "pod", "own", "--now")
    assert lab.stockade("image", "rm", "team/own:1").returncode == 0


VOLUMES = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: words}}
data: {{word: hello}}
---
apiVersion: v1
kind: Pod
metadata: {{name: volumes}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  volumes:
  - {{name: words, configMap: {{name: words}}}}
  - {{name: scratch, emptyDir: {{sizeLimit: 1Mi}}}}
  containers:
  - name: c
    image: alpine
    command: [sleep, "60"]
    securityContext: {{readOnlyRootFilesystem: true}}
    volumeMounts:
    - {{name: words, mountPath: /words}}
    - {{name: words, mountPath: /etc/word, subPath: word}}
    - {{name: scratch, mountPath: /scratch}}
    - {{name: scratch, mountPath: /part, subPath: a/b}}
"""
USE_VOLUMES = """
cat /words/word; echo; cat /etc/word; echo
echo x > /part/x; cat /scratch/a/b/x
head -c 2000000 /dev/zero > /scratch/large || echo full
echo x > /words/word || echo read-only
cut -d. -f1 /var/run/secrets/kubernetes.io/serviceaccount/token | head -c 2
"""


def test_volumes_and_accounts(rootless) -> None:
    lab = rootless
    lab.apply(VOLUMES.format(node=f"{lab.name}-node-1"))
    lab.kubectl("wait", "--for=condition=Ready", "pod/volumes", "--timeout=20s")
    said = lab.kubectl("exec", "volumes", "--", "sh", "-c", f"exec 2>/dev/null; {USE_VOLUMES}")
    assert said == "hello\nhello\nx\nfull\nread-only\ney"
    lab.kubectl("debug", "volumes", "--image=busybox", "--target=c", "-c", "look", "--", "ps")
    assert eventually(lambda: "sleep 60" in lab.try_kubectl("logs", "volumes", "-c", "look").stdout)
    lab.kubectl("delete", "pod", "volumes", "--now")


def test_a_group_that_does_not_exist(rootless) -> None:
    lab = rootless
    if user_namespace.ranges("/etc/subuid", NOBODY):
        pytest.skip("this machine gives nobody more users")
    patch = '{"spec": {"securityContext": {"fsGroup": 7}}}'
    lab.kubectl("run", "grouped", "--image=alpine", f"--overrides={patch}", "--", "sleep", "60")
    assert eventually(
        lambda: "group 7 does not exist in this lab, which runs without root" in lab.kubectl("get", "events")
    )
    lab.kubectl("delete", "pod", "grouped", "--now")


def test_dns_scales(rootless) -> None:
    lab = rootless
    lab.kubectl("scale", "deployment", "coredns", "-n", "kube-system", "--replicas=3")
    lab.kubectl("rollout", "status", "deployment", "coredns", "-n", "kube-system", "--timeout=20s")
    lab.kubectl("scale", "deployment", "coredns", "-n", "kube-system", "--replicas=2")


def test_an_image_of_several_users_where_there_is_one(rootless, home: Path) -> None:
    if user_namespace.ranges("/etc/subuid", NOBODY):
        pytest.skip("this machine gives nobody more users")
    assert owner_of_loaded(rootless, home) == (NOBODY, NOBODY)


def with_ranges() -> None:
    """As on a machine whose /etc/subuid and /etc/subgid give nobody more users."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.make_private()
    for name in ("/etc/subuid", "/etc/subgid"):
        syscalls.mount("tmpfs", "/mnt", "tmpfs")
        Path("/mnt/ranges").write_text(f"{NOBODY}:300000:65536\n")
        Path("/mnt/ranges").chmod(0o644)
        syscalls.mount("/mnt/ranges", name, flags=syscalls.MS_BIND)
    become_nobody()


def test_ranges_of_users(own_home: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("newuidmap") or not Path("/etc/subuid").exists():
        pytest.skip("needs root, and newuidmap")
    lab = RootlessLab(f"test-{uuid.uuid4().hex[:8]}", own_home, NEW_KUBECTL)
    lab.before = with_ranges
    done = lab.stockade("up", "--name", lab.name)
    try:
        assert done.returncode == 0, done.stderr
        assert done.stderr.endswith("; it runs without root\n")
        patch = '{"spec": {"securityContext": {"runAsUser": 101, "runAsGroup": 5, "fsGroup": 7}}}'
        lab.kubectl("run", "other", "--image=alpine", f"--overrides={patch}", "--", "sleep", "60")
        lab.kubectl("wait", "--for=condition=Ready", "pod/other", "--timeout=20s")
        assert "uid=101(nginx) gid=5(tty) groups=7" in lab.kubectl("exec", "other", "--", "id")
    finally:
        assert lab.stockade("down", "--name", lab.name).returncode == 0
    assert owner_of_loaded(lab, own_home) == (300004, 300005)
    assert not list((lab.paths.root / "images/layers").iterdir()), "removed with its users' files"


def no_more_namespaces() -> None:
    """In an outer user namespace, whose limit is its own."""
    read, write = os.pipe()
    parent, mapper = os.getpid(), os.fork()
    if mapper == 0:
        os.read(read, 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{parent}/{name}").write_text(f"0 0 1\n{NOBODY} {NOBODY} 1\n")
        os._exit(0)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.write(write, b"x")
    os.waitpid(mapper, 0)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    become_nobody()


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def filtered() -> None:
    """As in a container with the default filter of its runtime."""
    become_nobody()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install()


def covered_proc() -> None:
    """As in a container: /proc shows parts of what there is."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.make_private()
    syscalls.mount("/dev/null", "/proc/interrupts", flags=syscalls.MS_BIND)
    become_nobody()


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (
            no_more_namespaces,
            "there may be only 0 (user.max_user_namespaces); run: sudo sysctl user.max_user",
        ),
        (filtered, "a system call filter forbids them"),
        (covered_proc, "the container that this runs in hides parts of /proc"),
    ],
)
def test_refusals(home: Path, before: Callable[[], None], said: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a host that forbids it")
    if before is filtered and os.uname().machine not in seccomp._AUDIT_ARCHITECTURE:
        pytest.skip("no filter for this machine")
    lab = RootlessLab(f"test-{uuid.uuid4().hex[:8]}", home, NEW_KUBECTL)
    lab.before = before
    done = lab.stockade("up", "--name", lab.name)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("stockade: ")
    assert done.stderr.count("\n") == 1
    assert not lab.paths.directory.exists()
    assert stockade_processes(lab) == []


def test_root_without_capabilities(tmp_path: Path) -> None:
    """Root of a container that may map all its users, and has no right to make other namespaces."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

    def weaken() -> None:
        for number in (12, 21):  # NET_ADMIN, SYS_ADMIN
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)

    lab = RootlessLab(f"test-{uuid.uuid4().hex[:8]}", tmp_path, NEW_KUBECTL)
    lab.before = weaken
    done = lab.stockade("up", "--name", lab.name)
    try:
        assert done.returncode == 0, done.stderr
        assert done.stderr.endswith("; it runs without root\n")
        patch = '{"spec": {"securityContext": {"runAsUser": 101, "fsGroup": 7}}}'
        lab.kubectl("run", "other", "--image=alpine", f"--overrides={patch}", "--", "sleep", "60")
        lab.kubectl("wait", "--for=condition=Ready", "pod/other", "--timeout=20s")
        assert "uid=101(nginx) gid=0(root) groups=7" in lab.kubectl("exec", "other", "--", "id")
    finally:
        assert lab.stockade("down", "--name", lab.name).returncode == 0
