"""``stockade render`` on files: whose rules, which part of them, and how it says no. The text itself is in ``tests/golden``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from stockade.cli.main import cli
from stockade.store.state import ClusterState
from stockade.testing.cluster import objects

PLAIN = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: c, image: busybox}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: client}}}]
    ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: monitoring, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 9100}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody, namespace: shop}
spec:
  podSelector: {matchLabels: {app: nobody}}
"""


def placed(name: str, node: str, address: str, more: str = "") -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}
spec: {{nodeName: {node}, {more} containers: [{{name: c, image: busybox}}]}}
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}
"""


TWO_NODES = PLAIN.replace("app: client}}\nspec: {", "app: client}}\nspec: {nodeName: node-1, ") + (
    placed("far", "node-2", "10.244.1.5") + placed("host", "node-2", "172.30.0.2", "hostNetwork: true,")
)


def render(text: str, *arguments: str):
    return CliRunner().invoke(cli, ["render", "-f", "-", "-n", "shop", *arguments], input=text)


def test_manifests_without_nodes_and_addresses_get_both_and_stderr_says_so():
    done = render(PLAIN)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "note: 2 pods have no spec.nodeName: taken to run on node-1",
        "note: 2 pods have no status: given stand-in addresses of 198.18.0.0/15",
    ]
    assert "# pod shop/web-deploy 198.18.0.2, identity " in done.stdout
    assert "add element inet stockade id4 { 198.18.0.1 : " in done.stdout


def test_stand_ins_are_of_the_families_of_the_pod_blocks():
    done = render(PLAIN, "--pod-cidr", "10.244.0.0/24", "--pod-cidr", "fd00:244::/64")
    assert "# Fenced until programmed: 10.244.0.0/24, fd00:244::/64.\n" in done.stdout
    assert "# pod shop/client 198.18.0.1 2001:2::1, identity " in done.stdout


def test_with_several_nodes_it_asks_which():
    done = render(TWO_NODES)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "stockade: whose rules? Choose with --node: node-1, node-2\n"
    assert render(TWO_NODES, "--node", "node-2").stdout.startswith("# nftables rules of node node-2, ")


def test_a_pod_says_which_node_is_meant():
    done = render(TWO_NODES, "pod/far")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("# Of the rules of node node-2, what concerns pod/far; to be read")


def test_a_pod_with_its_chains_and_sets_and_nothing_else():
    text = render(PLAIN, "deploy/web").stdout
    assert "  ingress: i_" in text
    assert "isolated by shop/monitoring, shop/web" in text
    assert "set p4_" in text
    chains = [line.split()[1] for line in text.splitlines() if line.startswith("chain ")]
    profile = chains[0].removeprefix("i_")
    assert chains == [f"{code}_{profile}" for code in ("i", "ri", "deny_i", "deny_ri")]
    assert "map id4 { 198.18.0.2 : " in text
    assert "198.18.0.2 . 198.18.0.2" in text
    assert "198.18.0.1 . 198.18.0.1" not in text


def test_a_pod_that_is_not_isolated_has_an_identity_and_is_somebodys_peer():
    text = render(PLAIN, "client").stdout
    assert "#   egress: not isolated\n#   ingress: not isolated\n" in text
    assert ": pods app=client in namespace shop\n" in text
    assert "chain " not in text


def test_one_policy():
    text = render(PLAIN, "--policy", "monitoring").stdout
    rules = [line for line in text.splitlines() if "shop/" in line.partition("  # ")[2]]
    assert len(rules) == 2
    assert all("shop/monitoring ingress[0]: any peer, port 9100/TCP" in rule for rule in rules)
    assert text == render(PLAIN, "--policy", "shop/monitoring").stdout.replace("shop/shop", "shop")


def test_one_policy_for_one_pod():
    text = render(PLAIN, "deploy/web", "--policy", "web").stdout
    assert text.startswith("# Of the rules of node node-1, what concerns policy shop/web for deploy/web; ")
    assert "shop/web ingress[0]" in text
    assert "shop/monitoring ingress[0]" not in text.partition("chain ")[2]
    assert "shop/web isolates none of these pods" in render(PLAIN, "client", "--policy", "web").stdout


def test_a_policy_that_isolates_nobody_here():
    done = render(PLAIN, "--policy", "nobody")
    assert done.exit_code == 0
    assert "# shop/nobody isolates none of these pods\n" in done.stdout


def test_without_comments_there_is_only_what_is_loaded():
    text = render(PLAIN, "--no-comments").stdout
    assert "#" not in text
    assert text.startswith("add table inet stockade\n")


def test_options_change_the_rules():
    text = render(
        PLAIN, "--denied", "reject", "--mark-mask", "0xff000000", "--log-rate", "5", "--hook-priority", "7"
    ).stdout
    assert "reject with tcp reset" in text
    assert "elements = { 0x01000000 : accept }" in text
    assert "limit rate 5/second burst 10 packets log" in text
    assert "priority filter + 7;" in text
    assert 'iifname "veth*"' in render(PLAIN, "--pod-interface", "veth*").stdout
    assert "counter" not in render(PLAIN, "--no-counters", "--no-comments").stdout
    assert "{ 0x002a0000 : accept }" in render(PLAIN, "--generation", "42").stdout


def test_json():
    data = json.loads(render(PLAIN, "-o", "json").stdout)
    assert (data["node"], data["generation"], data["fenced"]) == ("node-1", 1, [])
    web = next(pod for pod in data["pods"] if pod["name"] == "web-deploy")
    assert web["egress"] is None
    assert web["ingress"]["isolatedBy"] == ["shop/monitoring", "shop/web"]
    ids = next(each for each in data["maps"] if each["name"] == "id4")
    assert ids["elements"]["198.18.0.2"] == web["identity"]
    chains = {each["name"]: each for each in data["chains"]}
    assert chains["fwd_hook"]["hook"] == "forward"
    rules = chains[f"i_{web['ingress']['profile']}"]["rules"]
    assert [rule["from"] for rule in rules] == [
        [{"policy": "shop/monitoring", "rule": "ingress[0]"}],
        [{"policy": "shop/web", "rule": "ingress[0]"}],
        [],
    ]
    assert rules[0]["text"].startswith("tcp dport 9100 ")
    assert "goto pass" in rules[0]["text"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pod/nosuch",), "pod shop/nosuch does not exist or has finished"),
        (("deploy/nosuch",), "Deployment shop/nosuch does not exist here, or none of its pods is running"),
        (("pod/host",), "pod shop/host is on the host network: no policy applies to it, and it has no rules"),
        (("node/node-2",), "node/node-2 is no pod; for all rules of a node write --node node-2"),
        (("203.0.113.7",), "203.0.113.7: no pod has this address"),
        (("svc/web",), "'svc/web' is not something that connects"),
        (("pod/far", "--node", "node-1"), "not on node node-1: shop/far"),
        (("--node", "node-3"), "node node-3 is not known here (known: node-1, node-2)"),
        (("--node", "node-1", "--policy", "nosuch"), "NetworkPolicy shop/nosuch does not exist here"),
        (("--node", "node-1", "--policy", "a/b/c"), "NetworkPolicy a/b/c does not exist here"),
        (
            ("--node", "node-1", "--generation", "65536"),
            "--generation 65536: the mark mask has room for 1 to",
        ),
    ],
)
def test_bad_use_ends_with_one_line(arguments, message):
    done = render(TWO_NODES, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("stockade: ")]
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mark-mask", "lots"), "'lots' is not a mark mask such as 0xffff0000"),
        (("--mark-mask", "0x5"), "mark mask 0x00000005: want contiguous bits"),
        (("--pod-interface", '"; drop'), "want a name of up to 15 characters, such as eth1 or veth*"),
        (("--log-rate", "0"), "0 is not in the range 1<=x<=100000"),
    ],
)
def test_options_of_the_rules_are_those_of_the_agent(arguments, message):
    done = render(TWO_NODES, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_pod_without_an_address_has_no_rules_yet():
    pending = placed("late", "node-1", "10.244.0.9").replace("phase: Running", "phase: Pending")
    pending = pending.replace(", podIP: 10.244.0.9, podIPs: [{ip: 10.244.0.9}]", "")
    done = render(PLAIN + pending, "pod/late")
    assert done.exit_code == 2
    assert done.stderr.endswith("stockade: pod/late has no address yet: there are no rules for it\n")


def test_the_page_for_operators_names_options_that_exist():
    page = (Path(__file__).parents[2] / "docs" / "dataplane.md").read_text()
    table = page.partition("## Options")[2].partition("\n## ")[0]
    named = set(re.findall(r"(?<=`)--[a-z-]+", table))
    assert len(named) >= 7
    known = {
        option for parameter in cli.get_command(None, "render").params for option in parameter.secondary_opts
    }
    known |= {option for parameter in cli.get_command(None, "render").params for option in parameter.opts}
    assert named <= known


CLUSTER = """
kind: Pod
metadata: {name: pending, namespace: shop}
status: {phase: Pending}
---
kind: Pod
metadata: {name: running, namespace: shop}
spec: {nodeName: node-1}
status: {phase: Running, podIP: 10.244.0.5}
"""


@pytest.fixture
def cluster(monkeypatch):
    """What the current context holds."""

    def holds(text: str) -> None:
        found = ClusterState.of(objects(text)), "shop"
        monkeypatch.setattr("stockade.cli.render.read_state", lambda *_, **__: found)

    return holds


def test_of_a_cluster_nothing_is_assumed(cluster):
    cluster(CLUSTER)
    done = CliRunner().invoke(cli, ["render"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith("# pod ")] == [
        "# pod shop/running 10.244.0.5, identity cbe5:cfdf"
    ]
    done = CliRunner().invoke(cli, ["render", "pending"])
    assert done.stderr == "stockade: pending has no address yet: there are no rules for it\n"
    done = CliRunner().invoke(cli, ["render", "--node", "node-2"])
    assert done.stderr == "stockade: node node-2 is not known here (known: node-1)\n"


def test_a_cluster_without_nodes(cluster):
    cluster(CLUSTER.split("---", maxsplit=1)[0])
    done = CliRunner().invoke(cli, ["render"])
    assert (done.exit_code, done.stderr) == (2, "stockade: the cluster has no nodes: nothing to render\n")


@pytest.mark.kernel
def test_a_part_is_refused_by_nft_and_the_whole_is_taken():
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare"):
        pytest.skip("needs root, nft and unshare")

    def load(text: str) -> int:
        command = ["unshare", "-n", "nft", "-f", "-"]
        return subprocess.run(command, input=text.encode(), capture_output=True, check=False).returncode

    assert load(render(PLAIN).stdout) == 0
    assert load(render(PLAIN, "--no-comments").stdout) == 0
    assert load(render(PLAIN, "deploy/web").stdout) == 1
    assert load(render(PLAIN, "--policy", "web", "--no-comments").stdout) == 1
