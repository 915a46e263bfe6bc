"""What pods ask of their node, asked by real pods in one lab: volumes, environment, hooks, sidecars, ephemeral containers, accounts."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"
LOOP = "while :; do sleep 0.05; done"


def until(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def pod(name: str, *containers: dict, **spec: object) -> dict:
    whole = {"terminationGracePeriodSeconds": 0, "containers": list(containers), **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": whole,
    }


def box(script: str = "sleep 1000000", name: str = "c", **fields: object) -> dict:
    return {"name": name, "image": "alpine", "command": ["sh", "-c", script], **fields}


def mount(volume: str, path: str, **fields: object) -> dict:
    return {"name": volume, "mountPath": path, **fields}


def apply(lab, *objects: dict) -> None:
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def ready(lab, *names: str) -> None:
    lab.kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "--timeout=20s")


def sh(lab, name: str, script: str, container: str = "c") -> str:
    return lab.kubectl("exec", name, "-c", container, "--", "sh", "-c", f"exec 2>&1; {script}")


def waiting(lab, name: str) -> dict:
    listed = lab.get("pod", name)["status"].get("containerStatuses") or [{"state": {}}]
    return listed[0]["state"].get("waiting", {})


def events(lab, name: str) -> dict[str, str]:
    listed = lab.get("events", f"--field-selector=involvedObject.name={name}")["items"]
    return {item["reason"]: item["message"] for item in listed}


def config_map(name: str, **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_volumes(shared_lab) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}}
    volumes = [
        {"name": "empty", "emptyDir": {}},
        {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "config", "configMap": {"name": "cm"}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {
            "name": "labels",
            "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]},
        },
    ]
    one = box(
        name="one",
        env=[{"name": "V", "value": "sub"}],
        volumeMounts=[
            mount("empty", "/empty"),
            mount("empty", "/part", subPathExpr="deep/$(V)"),
            mount("small", "/small"),
            mount("config", "/config"),
            mount("config", "/etc/passwd", subPath="a"),
            mount("secret", "/secret"),
            mount("labels", "/labels"),
        ],
    )
    user = {"runAsUser": 1000, "readOnlyRootFilesystem": True}
    two = box(name="two", securityContext=user, volumeMounts=[mount("empty", "/data", readOnly=True)])
    group = {"fsGroup": 2000}
    apply(
        shared_lab,
        config_map("cm", a="first"),
        secret,
        pod("volumes", one, two, volumes=volumes, securityContext=group),
    )
    ready(shared_lab, "volumes")
    script = """echo shared > /empty/f; ls -d /empty/deep/sub; stat -c '%a %g' /empty /secret/..data/k; cat /secret/k /etc/passwd /labels/l
dd if=/dev/zero of=/small/x bs=1M count=2 2>&1 | grep -o 'No space.*'; echo x > /config/a; echo x > /part/y; ls /empty/deep/sub"""
    said = sh(shared_lab, "volumes", script, "one").splitlines()
    assert said[:3] == ["/empty/deep/sub", "2777 2000", "440 2000"]
    assert said[3] == 'hiddenfirstapp="volumes"No space left on device'
    assert "Read-only file system" in said[4]
    assert said[5:] == ["y"]
    said = sh(
        shared_lab, "volumes", "cat /data/f; id -G; touch /x; touch /data/x; stat -c %u:%g /data/f", "two"
    )
    assert said.splitlines() == [
        "shared",
        "0 2000",
        "touch: /x: Read-only file system",
        "touch: /data/x: Read-only file system",
        "0:2000",
    ]
    shared_lab.kubectl("label", "pod", "volumes", "more=label")
    apply(shared_lab, config_map("cm", a="second", b="new"))
    until(
        lambda: (
            sh(shared_lab, "volumes", "cat /config/a /config/b /labels/l", "one")
            == 'secondnewapp="volumes"\nmore="label"'
        ),
        "no live update",
    )
    assert sh(shared_lab, "volumes", "cat /etc/passwd", "one") == "first", "a subPath stays as it was"


def test_what_is_missing_is_waited_for_and_what_leads_out_refused(shared_lab) -> None:
    late = [{"name": "v", "configMap": {"name": "late"}}]
    host = [{"name": "v", "hostPath": {"path": "/etc"}}]
    reference = {"secretKeyRef": {"name": "late", "key": "k"}}
    apply(
        shared_lab,
        pod("late-volume", box(volumeMounts=[mount("v", "/v")]), volumes=late),
        pod("late-env", box(env=[{"name": "A", "valueFrom": reference}])),
        pod("host", box(volumeMounts=[mount("v", "/v")]), volumes=host),
        pod("root", box(securityContext={"runAsNonRoot": True})),
    )
    until(lambda: bool(waiting(shared_lab, "root").get("message")), "no word")
    until(lambda: "FailedMount" in events(shared_lab, "host"), "no event")
    text = 'MountVolume.SetUp failed for volume "v" : '
    assert waiting(shared_lab, "late-volume") == {
        "reason": "ContainerCreating",
        "message": f'{text}configmap "late" not found',
    }
    assert waiting(shared_lab, "late-env") == {
        "reason": "CreateContainerConfigError",
        "message": 'secret "late" not found',
    }
    assert events(shared_lab, "host")["FailedMount"].startswith(
        f"{text}hostPath volumes are not supported: a pod"
    )
    assert "podIP" not in shared_lab.get("pod", "host")["status"]
    assert waiting(shared_lab, "root")["message"].startswith(
        "container has runAsNonRoot and image will run as root"
    )
    apply(shared_lab, config_map("late", k="v"))
    shared_lab.kubectl("create", "secret", "generic", "late", "--from-literal=k=v")
    ready(shared_lab, "late-volume", "late-env")
    assert waiting(shared_lab, "host")["reason"] == "ContainerCreating"


def test_no_volume_leads_out(shared_lab) -> None:
    """Links that a pod leaves in its volume, where the node or another container uses it (CVE-2017-1002101)."""
    volumes = [{"name": "v", "emptyDir": {}}]
    links = "ln -s / /v/root; ln -s /etc /v/etc; ln -s ../../../../../.. /v/up; ln -s /proc/1/root /v/proc; ln -s inner /v/ok"
    first = box(
        f"{links}; mkdir /v/inner /v/mounts; ln -s /tmp /v/mounts/tmp",
        name="links",
        volumeMounts=[mount("v", "/v")],
    )
    paths = ("root", "etc", "up", "proc", "etc/new", "up/tmp/new")
    bad = [
        box(name=f"bad-{at}", volumeMounts=[mount("v", "/x", subPath=path)]) for at, path in enumerate(paths)
    ]
    good = box(
        name="good",
        volumeMounts=[mount("v", "/x", subPath="ok"), mount("v", "/v"), mount("v", "/v/mounts/tmp/in")],
    )
    apply(shared_lab, pod("links", *bad, good, volumes=volumes, initContainers=[first]))

    def states() -> list[dict]:
        return [entry["state"] for entry in shared_lab.get("pod", "links")["status"]["containerStatuses"]]

    until(
        lambda: (
            all("waiting" in state or "running" in state for state in states()) and "running" in states()[-1]
        ),
        "stuck",
    )
    until(
        lambda: all(state["waiting"]["reason"] == "CreateContainerConfigError" for state in states()[:-1]),
        "started",
    )
    assert all("failed to prepare subPath" in state["waiting"]["message"] for state in states()[:-1])
    # A mount point below a link of the volume is made where the container sees it: in its own /tmp.
    said = sh(
        shared_lab,
        "links",
        "echo here > /x/f; cat /v/inner/f; ls -d /tmp/in; ls -d /v/etc/new || true",
        "good",
    )
    assert said.splitlines() == ["here", "/tmp/in", "ls: /v/etc/new: No such file or directory"]


def test_environment_and_names(shared_lab) -> None:
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "ALL", "value": "$(P_a) $(IP) $(KUBERNETES_SERVICE_PORT)"},
    ]
    container = box(
        'echo "$0 $ALL $CPU $PWD"; sleep 1000000',
        args=["$(P_a)"],
        env=env,
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "env"}}],
        resources={"limits": {"cpu": "250m"}},
        workingDir="/new/directory",
    )
    apply(
        shared_lab,
        config_map("env", a="1"),
        pod("env", container, hostname="h", subdomain="s", setHostnameAsFQDN=True),
    )
    ready(shared_lab, "env")
    address = shared_lab.get("pod", "env")["status"]["podIP"]
    assert shared_lab.kubectl("logs", "env") == f"1 1 {address} 443 250 /new/directory\n"
    said = sh(shared_lab, "env", f"hostname; grep {address} /etc/hosts")
    assert said == f"h.s.default.svc.cluster.local\n{address}\th.s.default.svc.cluster.local\th\n"


def test_service_accounts(shared_lab) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "worker"}}
    apply(shared_lab, account)
    apply(
        shared_lab,
        pod("account", box(), serviceAccountName="worker"),
        pod("no-token", box(), automountServiceAccountToken=False),
    )
    ready(shared_lab, "account", "no-token")
    sh(shared_lab, "no-token", f"test ! -e {TOKENS}/token")
    token = sh(shared_lab, "account", f"cat {TOKENS}/token")
    assert sh(shared_lab, "account", f"cat {TOKENS}/namespace") == "default"
    assert sh(shared_lab, "account", f"cat {TOKENS}/ca.crt") in shared_lab.kubectl(
        "get", "cm", "kube-root-ca.crt", "-o", "jsonpath={.data}"
    ).replace("\\n", "\n")
    assert "kube-api-access-" in shared_lab.kubectl("describe", "pod", "account")

    def whoami(token: str) -> str:
        config = json.loads(shared_lab.kubectl("config", "view", "--raw", "-o", "json"))
        cluster = config["clusters"][0]["cluster"]
        server = ["--kubeconfig=/dev/null", f"--server={cluster['server']}", "--insecure-skip-tls-verify"]
        done = shared_lab.try_kubectl(
            *server, f"--token={token}", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"
        )
        return done.stdout or done.stderr

    name = "system:serviceaccount:default:worker"
    assert whoami(token) == name
    assert whoami(shared_lab.kubectl("create", "token", "worker").strip()) == name
    assert shared_lab.try_kubectl("auth", "can-i", "get", "pods", f"--as={name}").stdout.startswith(
        "no - User"
    )
    shared_lab.kubectl("delete", "pod", "account", "--now")
    assert "Unauthorized" in whoami(token) or "logged in" in whoami(token)
    refused = shared_lab.try_kubectl(
        "run", "x", "--image=alpine", '--overrides={"spec":{"serviceAccountName":"nosuch"}}'
    )
    assert (
        'error looking up service account default/nosuch: serviceaccount "nosuch" not found' in refused.stderr
    )


def test_order_of_start_and_end(shared_lab) -> None:
    """Init containers, sidecars and hooks write into one file; a second pod cannot, so the order of the end is in the sidecar's log."""
    volumes, here = [{"name": "v", "emptyDir": {}}], [mount("v", "/v")]
    side = "echo side >> /v/log; trap 'sleep 0.2; echo side-end >> /v/log; cat /v/log; exit 0' TERM; "
    inits = [
        box("echo init-1 >> /v/log", name="init-1", volumeMounts=here),
        box(side + LOOP, name="side", restartPolicy="Always", volumeMounts=here,
            startupProbe={"exec": {"command": ["test", "-e", "/v/log"]}, "periodSeconds": 1}),
        box("echo init-2 >> /v/log", name="init-2", volumeMounts=here),
    ]  # fmt: skip
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo post >> /v/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo pre >> /v/log"]}},
    }
    main = box("trap 'echo term >> /v/log; exit 0' TERM; " + LOOP, lifecycle=hooks, volumeMounts=here)
    apply(
        shared_lab,
        pod("order", main, volumes=volumes, initContainers=inits, terminationGracePeriodSeconds=20),
        pod("done", box("true"), volumes=volumes, initContainers=[inits[1]], restartPolicy="Never"),
    )
    ready(shared_lab, "order")
    assert " 2/2 " in shared_lab.kubectl("get", "pod", "order")
    command = [str(shared_lab.kubectl_path), "logs", "-f", "order", "-c", "side"]
    with subprocess.Popen(command, env=shared_lab.env, stdout=subprocess.PIPE, text=True) as following:
        time.sleep(0.5)
        shared_lab.kubectl("delete", "pod", "order")
        said = following.communicate(timeout=20)[0].split()
    assert said == ["init-1", "side", "init-2", "post", "pre", "term", "side-end"]
    until(lambda: shared_lab.get("pod", "done")["status"]["phase"] == "Succeeded", "the sidecar kept the pod")


def test_last_words_deadline_gates_and_restarts(shared_lab) -> None:
    apply(
        shared_lab,
        pod("words", box("echo from the log; exit 4", name="a", terminationMessagePolicy="FallbackToLogsOnError"),
            box("echo from the file > /dev/termination-log; exit 5", name="b"), restartPolicy="Never"),
        pod("deadline", box(), activeDeadlineSeconds=1),
        pod("gate", box(), readinessGates=[{"conditionType": "example.com/ok"}]),
        pod("hook", box(lifecycle={"postStart": {"exec": {"command": ["false"]}}}), restartPolicy="Never"),
        pod("crash", box("exit 1")),
    )  # fmt: skip
    for name in ("words", "deadline", "hook"):
        until(lambda name=name: shared_lab.get("pod", name)["status"]["phase"] == "Failed", name)
    ended = shared_lab.get("pod", "words")["status"]["containerStatuses"]
    assert [entry["state"]["terminated"]["message"] for entry in ended] == [
        "from the log\n",
        "from the file\n",
    ]
    assert shared_lab.get("pod", "deadline")["status"]["reason"] == "DeadlineExceeded"
    assert "FailedPostStartHook" in events(shared_lab, "hook")

    def condition(name: str) -> dict:
        return next(c for c in shared_lab.get("pod", "gate")["status"]["conditions"] if c["type"] == name)

    until(lambda: condition("ContainersReady")["status"] == "True", "containers not ready")
    assert (condition("Ready")["status"], condition("Ready")["reason"]) == ("False", "ReadinessGatesNotReady")
    patch = {"status": {"conditions": [{"type": "example.com/ok", "status": "True"}]}}
    shared_lab.kubectl("patch", "pod", "gate", "--subresource=status", "-p", json.dumps(patch))
    until(lambda: condition("Ready")["status"] == "True", "the gate stays closed")
    until(lambda: waiting(shared_lab, "crash").get("reason") == "CrashLoopBackOff", "no back-off")
    assert "back-off 10s restarting failed container=c" in waiting(shared_lab, "crash")["message"]


def test_ephemeral_containers_and_shared_processes(shared_lab) -> None:
    apply(
        shared_lab,
        pod("app", box("exec sleep 1234567", name="c"), box(name="other")),
        pod("shared", box("exec sleep 1234567"), box(name="d"), shareProcessNamespace=True),
    )
    ready(shared_lab, "app", "shared")
    script = "ps | grep -c '[1]234567'; hostname; cat /proc/1/root/etc/hostname; exit 3"
    shared_lab.kubectl("debug", "app", "--image=busybox", "--target=c", "-c", "dbg", "--", "sh", "-c", script)

    def state() -> dict:
        listed = shared_lab.get("pod", "app")["status"].get("ephemeralContainerStatuses") or [{"state": {}}]
        return listed[0]["state"]

    until(lambda: "terminated" in state(), "it did not run")
    assert state()["terminated"]["exitCode"] == 3
    assert shared_lab.kubectl("logs", "app", "-c", "dbg") == "1\napp\napp\n"
    assert shared_lab.get("pod", "app")["status"]["phase"] == "Running"
    assert sh(shared_lab, "shared", "ps | grep -c '[1]234567'; cat /proc/1/comm", "d") == "1\npause\n"
    assert "cannot" in sh(shared_lab, "shared", "ls -l /proc/1/root || ls -l /proc/1/cwd || true", "d")


def test_copying_files_both_ways(shared_lab, tmp_path) -> None:
    apply(shared_lab, pod("copy", box(), box(name="d")))
    ready(shared_lab, "copy")
    place = tmp_path / "in"
    place.mkdir()
    (place / "a").write_text("content\n")
    shared_lab.kubectl("cp", str(place), "copy:/tmp/there", "-c", "d")
    assert sh(shared_lab, "copy", "cat /tmp/there/a", "d") == "content\n"
    shared_lab.kubectl("cp", "copy:/tmp/there", str(tmp_path / "out"), "-c", "d")
    assert (tmp_path / "out/a").read_text() == "content\n"
