"""The two pages of the recipe "DENY egress traffic from an application", typed as printed, with the oldest and the newest kubectl.

Every expectation here is a line of the page (or what today's kubectl prints in its place).
"""

from __future__ import annotations

import re
import shlex

import pytest

from stockade.lab.demo.recipes.deny_egress import ALLOW_DNS, DENY_ALL, FIELD_DROPPED

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]
SHELL = "--rm --restart=Never --image=alpine -i -t -l app=foo test -- ash"


def is_old(lab) -> bool:
    return "kubernetes-client" in str(lab.kubectl_path)


def generator(lab) -> list[str]:
    """The English page's flag, which kubectl knew until 1.20."""
    return ["--generator=run-pod/v1"] if is_old(lab) else []


def open_shell(lab, *flags: str):
    terminal = lab.terminal("run", *flags, *shlex.split(SHELL))
    terminal.settle()
    return terminal


def test_english_page(each_kubectl) -> None:
    lab = each_kubectl
    out = lab.kubectl(
        "run", *generator(lab), "web", "--image=nginx", "--port", "80", "--expose", "--labels", "app=web"
    )
    assert "pod/web created" in out
    assert "service/web created" in out
    lab.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=20s")
    with open_shell(lab, *generator(lab)) as shell:
        page = shell.ask("wget -qO- --timeout 1 http://web:80/")
        assert "Welcome to nginx!" in page

        assert lab.apply(DENY_ALL) == "networkpolicy.networking.k8s.io/foo-deny-egress created\n"
        assert shell.ask("wget -qO- --timeout 1 http://web:80/") == "wget: bad address 'web:80'"
        denied = shell.ask("wget -qO- --timeout 1 http://www.example.com/")
        assert denied == "wget: bad address 'www.example.com'"

        lab.apply(FIELD_DROPPED)
        assert shell.ask("wget -qO- --timeout 1 http://web:80/") == "wget: bad address 'web:80'"

        assert lab.apply(ALLOW_DNS) == "networkpolicy.networking.k8s.io/foo-deny-egress configured\n"
        ip = lab.get("service", "web")["spec"]["clusterIP"]
        expected = f"Connecting to web ({ip}:80)\nwget: download timed out"
        assert shell.ask("wget --timeout 1 -O- http://web") == expected
        expected = "Connecting to www.example.com (93.184.216.34:80)\nwget: download timed out"
        assert shell.ask("wget --timeout 1 -O- http://www.example.com") == expected

        shell.type("ping google.com")
        shell.wait_for("PING google.com (74.125.129.101): 56 data bytes\n")
        shell.interrupt()
        assert "100% packet loss" in shell.wait_for("/ # ")

        answer = shell.ask("nslookup www.example.com 74.125.129.101")
        assert "93.184.216.34" in answer

        shell.type("exit")
        rest, status = shell.finish()
        assert re.search(r'pod "test" deleted', rest)
        assert status == 0
    gone = lab.try_kubectl("get", "pod", "test")
    assert gone.stderr == 'Error from server (NotFound): pods "test" not found\n'

    suffix = "" if is_old(lab) else " from default namespace"
    assert lab.kubectl("delete", "pod,service", "web") == (
        f'pod "web" deleted{suffix}\nservice "web" deleted{suffix}\n'
    )
    deleted = lab.kubectl("delete", "networkpolicy", "foo-deny-egress")
    assert deleted == f'networkpolicy.networking.k8s.io "foo-deny-egress" deleted{suffix}\n'


def test_chinese_page(each_kubectl) -> None:
    lab = each_kubectl
    lab.kubectl("run", "web", "--image=nginx", "--port", "80", "--expose", "--labels", "app=web")
    assert lab.apply(DENY_ALL) == "networkpolicy.networking.k8s.io/foo-deny-egress created\n"
    with open_shell(lab) as shell:
        assert shell.ask("wget -qO- --timeout 1 http://web:80/") == "wget: bad address 'web:80'"
        lab.apply(ALLOW_DNS)
        assert shell.ask("wget --timeout 1 -O- http://web").endswith("wget: download timed out")
        shell.type("exit")
        shell.finish()
    # the page's clean-up names a deployment and a Service that were never made
    gone = lab.try_kubectl("delete", "deployment,service", "cache")
    assert gone.returncode == 1
    assert gone.stderr == (
        'Error from server (NotFound): deployments.apps "cache" not found\n'
        'Error from server (NotFound): services "cache" not found\n'
    )
    gone = lab.try_kubectl("delete", "deployment,service", "web")
    assert gone.returncode == 1
    assert 'service "web" deleted' in gone.stdout
    assert gone.stderr == 'Error from server (NotFound): deployments.apps "web" not found\n'
    assert 'networkpolicy.networking.k8s.io "foo-deny-egress" deleted' in lab.kubectl(
        "delete", "networkpolicy", "foo-deny-egress"
    )


def test_a_deployment_is_deleted_with_its_pods(lab) -> None:
    """The kind that the Chinese page deletes is served, and works."""
    lab.kubectl("create", "deployment", "web", "--image=nginx")
    lab.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    pods = lab.get("pods", "-l", "app=web")["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"]
    assert "deleted" in lab.kubectl("delete", "deployment", "web")
    lab.kubectl("wait", "--for=delete", f"pod/{pods[0]['metadata']['name']}", "--timeout=20s")
    assert lab.get("pods", "-l", "app=web")["items"] == []


def test_second_use_case_a_denied_pod_still_answers(lab) -> None:
    """Replies flow (rule 6): the policy is about connections that the pod opens."""
    address = lab.run_pod("db", "-l", "app=foo", "--port=80", image="nginx")
    lab.run_pod("client", "-l", "app=client", command=("sleep", "3600"))
    lab.apply(DENY_ALL)
    wget = ("wget", "-qO-", "--timeout", "1", f"http://{address}/")
    assert "Welcome to nginx!" in lab.kubectl("exec", "client", "--", *wget)
    other = lab.get("pod", "client")["status"]["podIP"]
    opening = lab.try_kubectl("exec", "db", "--", "wget", "-qO-", "--timeout", "1", f"http://{other}/")
    assert opening.returncode == 1
    assert "wget: download timed out" in opening.stderr


def test_a_command_that_is_over_at_once_prints_once(each_kubectl) -> None:
    lab = each_kubectl
    for number in range(3):
        out = lab.kubectl(
            "run", f"short-{number}", "--rm", "-i", "--restart=Never", "--image=busybox", "--", "echo", "hi"
        )
        assert out.splitlines().count("hi") == 1, out
