"""Everything that a cluster would refuse: the same words from ``stockade check -f`` and from the lab's API server.

Rows V1-V22 are the validation rules of reference semantics 1.3; the rest are the bad inputs of reference analysis 2. For each, ``check``
must give file:line:column, the field, what is wrong, and what to write instead, and end with status 2; the API server must refuse
the same object with the same field and text.
"""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from stockade.cli.main import cli

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
PLAIN = "metadata: {name: p}\n"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
RESOURCE = "networkpolicies.networking.k8s.io"
WORDS = {  # long texts, and values of 64 characters
    "SUBDOMAIN": "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    "LABEL": "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    "VALUE": "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    "NAME": "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    "BLOCK": "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    "CHARSET": "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    "K64": "k" * 64,
    "V64": "v" * 64,
}

# What is written behind HEAD; for each error its place, field, text and hint.
REFUSED = {
    "V1": ("metadata: {name: A_b}\n", [("3:18", "metadata.name", 'Invalid value: "A_b": SUBDOMAIN', "write a-b")]),
    "V2": ("metadata: {}\n", [("3:1", "metadata.name", "Required value: name or generateName is required", "add metadata.name")]),
    "V2 no metadata": ("", [("1:1", "metadata.name", "Required value: name or generateName is required", "add metadata.name")]),
    "V3": (PLAIN + "spec:\n  egress:\n  - ports:\n    - port: 70000\n", [("7:13", "spec.egress[0].ports[0].port", "Invalid value: 70000: must be between 1 and 65535, inclusive", "a port is 1..65535")]),
    "V3 zero": (PLAIN + "spec:\n  egress:\n  - ports:\n    - port: 0\n", [("7:13", "spec.egress[0].ports[0].port", "Invalid value: 0: must be between 1 and 65535, inclusive", "a port is 1..65535")]),
    "V4": (PLAIN + "spec: {egress: [{ports: [{port: http_}]}]}\n", [("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "http_": CHARSET', "write http")]),
    "V4 long": (PLAIN + "spec: {egress: [{ports: [{port: averyveryverylongname}]}]}\n", [("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "averyveryverylongname": must be no more than 15 bytes', "port names are short: at most 15 letters, digits and hyphens")]),
    "V4 digits": (PLAIN + "spec: {egress: [{ports: [{port: '80'}]}]}\n", [("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "80": must contain at least one letter (a-z)', "a port number is written without quotes; a name has a letter")]),
    "V4 hyphens": (PLAIN + "spec: {egress: [{ports: [{port: a--b}]}]}\n", [("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "a--b": must not contain consecutive hyphens', "write a-b")]),
    "V4 begins": (PLAIN + "spec: {egress: [{ports: [{port: -a}]}]}\n", [("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "-a": must not begin or end with a hyphen', "write a")]),
    "V4 empty": (PLAIN + "spec: {egress: [{ports: [{port: ''}]}]}\n", [("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "": CHARSET', ""), ("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "": must contain at least one letter (a-z)', "a port number is written without quotes; a name has a letter")]),
    "V4 capitals": (PLAIN + "spec: {egress: [{ports: [{port: HTTP}]}]}\n", [("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "HTTP": CHARSET', "write http"), ("4:33", "spec.egress[0].ports[0].port", 'Invalid value: "HTTP": must contain at least one letter (a-z)', "a port number is written without quotes; a name has a letter")]),
    "V5 case": (PLAIN + "spec: {egress: [{ports: [{protocol: tcp}]}]}\n", [("4:37", "spec.egress[0].ports[0].protocol", 'Unsupported value: "tcp": supported values: "TCP", "UDP", "SCTP"', "write TCP")]),
    "V5 ICMP": (PLAIN + "spec: {egress: [{ports: [{protocol: ICMP}]}]}\n", [("4:37", "spec.egress[0].ports[0].protocol", 'Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"', "NetworkPolicy knows no other protocol; leave ports out to mean all traffic")]),
    "V6": (PLAIN + "spec: {egress: [{ports: [{port: 80, endPort: 79}]}]}\n", [("4:46", "spec.egress[0].ports[0].endPort", "Invalid value: 80: must be greater than or equal to `port`", "80 or more")]),
    "V6 range": (PLAIN + "spec: {egress: [{ports: [{port: 80, endPort: 70000}]}]}\n", [("4:46", "spec.egress[0].ports[0].endPort", "Invalid value: 70000: must be between 1 and 65535, inclusive", "a port is 1..65535")]),
    "V7": (PLAIN + "spec: {egress: [{ports: [{port: http, endPort: 90}]}]}\n", [("4:48", "spec.egress[0].ports[0].endPort", "Invalid value: 90: may not be specified when `port` is non-numeric", "write port as a number, or leave endPort out")]),
    "V8": (PLAIN + "spec: {egress: [{ports: [{endPort: 90}]}]}\n", [("4:36", "spec.egress[0].ports[0].endPort", "Invalid value: 90: may not be specified when `port` is not specified", "add port, the first port of the range")]),
    "V9": (PLAIN + "spec: {ingress: [{from: [{}]}]}\n", [("4:26", "spec.ingress[0].from[0]", "Required value: must specify a peer", "give a podSelector, namespaceSelector or ipBlock, or leave the list out to mean everyone")]),
    "V10": (PLAIN + "spec: {ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}\n", [("4:26", "spec.ingress[0].from[0]", "Forbidden: may not specify both ipBlock and another peer", "give ipBlock a list item of its own")]),
    "V11": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {}}]}]}\n", [("4:27", "spec.ingress[0].from[0].ipBlock.cidr", "Required value", "add cidr, for example 10.0.0.0/8")]),
    "V12": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0}}]}]}\n", [("4:43", "spec.ingress[0].from[0].ipBlock.cidr", 'Invalid value: "10.0.0.0": BLOCK', "write 10.0.0.0/32 for this one address")]),
    "V12 short": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0/8}}]}]}\n", [("4:43", "spec.ingress[0].from[0].ipBlock.cidr", 'Invalid value: "10.0.0/8": BLOCK', "ADDRESS/LENGTH, for example 10.0.0.0/8")]),
    "V12 length": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}\n", [("4:43", "spec.ingress[0].from[0].ipBlock.cidr", 'Invalid value: "10.0.0.0/33": BLOCK', "the length behind / is 0..32")]),
    "V12 mask": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/255.0.0.0}}]}]}\n", [("4:43", "spec.ingress[0].from[0].ipBlock.cidr", 'Invalid value: "10.0.0.0/255.0.0.0": BLOCK', "the length behind / is 0..32")]),
    "V12 name": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: example.com}}]}]}\n", [("4:43", "spec.ingress[0].from[0].ipBlock.cidr", 'Invalid value: "example.com": BLOCK', "a NetworkPolicy names addresses, not hosts")]),
    "V14": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]}\n", [("4:64", "spec.ingress[0].from[0].ipBlock.except[0]", 'Invalid value: "11.0.0.0/8": must be a strict subset of `cidr`', "a block inside 10.0.0.0/8")]),
    "V14 equal": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}\n", [("4:64", "spec.ingress[0].from[0].ipBlock.except[0]", 'Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`', "a block inside 10.0.0.0/8")]),
    "V14 family": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['2001:db8::/64']}}]}]}\n", [("4:64", "spec.ingress[0].from[0].ipBlock.except[0]", 'Invalid value: "2001:db8::/64": must be a strict subset of `cidr`', "a block inside 10.0.0.0/8")]),
    "V14 no block": (PLAIN + "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [x]}}]}]}\n", [("4:64", "spec.ingress[0].from[0].ipBlock.except[0]", 'Invalid value: "x": BLOCK', "a NetworkPolicy names addresses, not hosts")]),
    "V15": (PLAIN + "spec: {policyTypes: [Ingress, Egress, Ingress]}\n", [("4:21", "spec.policyTypes", 'Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes', "list Ingress and Egress once each")]),
    "V16": (PLAIN + "spec: {policyTypes: [egress]}\n", [("4:22", "spec.policyTypes[0]", 'Unsupported value: "egress": supported values: "Ingress", "Egress"', "write Egress")]),
    "V17": (PLAIN + "spec: {podSelector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}}\n", [("4:60", "spec.podSelector.matchExpressions[0].operator", 'Invalid value: "Equals": not a valid selector operator', "one of In, NotIn, Exists, DoesNotExist")]),
    "V18": (PLAIN + "spec: {podSelector: {matchExpressions: [{key: a, operator: In}]}}\n", [("4:41", "spec.podSelector.matchExpressions[0].values", "Required value: must be specified when `operator` is 'In' or 'NotIn'", "list the values, or use Exists or DoesNotExist")]),
    "V19": (PLAIN + "spec: {podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}\n", [("4:76", "spec.podSelector.matchExpressions[0].values", "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'", "leave values out, or use In or NotIn")]),
    "V20": (PLAIN + "spec: {podSelector: {matchLabels: {-bad: a}}}\n", [("4:36", "spec.podSelector.matchLabels", 'Invalid value: "-bad": name part NAME', "write bad")]),
    "V21": (PLAIN + "spec: {podSelector: {matchLabels: {a: a b}}}\n", [("4:39", "spec.podSelector.matchLabels", 'Invalid value: "a b": VALUE', "write a-b")]),
    "V21 expression": (PLAIN + "spec: {podSelector: {matchExpressions: [{key: a, operator: In, values: [a b]}]}}\n", [("4:73", "spec.podSelector.matchExpressions[0].values[0]", 'Invalid value: "a b": VALUE', "write a-b")]),
    "V22 key": (PLAIN + "spec: {podSelector: {matchLabels: {K64: a}}}\n", [("4:36", "spec.podSelector.matchLabels", 'Invalid value: "K64": name part must be no more than 63 bytes', "at most 63 characters")]),
    "V22 value": (PLAIN + "spec: {podSelector: {matchLabels: {a: V64}}}\n", [("4:39", "spec.podSelector.matchLabels", 'Invalid value: "V64": must be no more than 63 bytes', "at most 63 characters")]),
    "V22 slashes": (PLAIN + "spec: {podSelector: {matchLabels: {a/b/c: x}}}\n", [("4:36", "spec.podSelector.matchLabels", "Invalid value: \"a/b/c\": a valid label key NAME with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')", "one / at most: prefix/name")]),
    "V22 prefix": (PLAIN + "spec: {podSelector: {matchLabels: {Ex_ample.com/c: x}}}\n", [("4:36", "spec.podSelector.matchLabels", 'Invalid value: "Ex_ample.com/c": prefix part SUBDOMAIN', "write ex-ample.com/c")]),
    "bad CIDR": (PLAIN + "spec: {egress: [{to: [{ipBlock: {cidr: 300.0.0.0/8}}]}]}\n", [("4:40", "spec.egress[0].to[0].ipBlock.cidr", 'Invalid value: "300.0.0.0/8": BLOCK', "ADDRESS/LENGTH, for example 10.0.0.0/8")]),
    "bad namespace": ("metadata: {name: p, namespace: A}\n", [("3:32", "metadata.namespace", 'Invalid value: "A": LABEL', "write a")]),
}  # fmt: skip


def spelt(text: str) -> str:
    for word, meaning in WORDS.items():
        text = text.replace(word, meaning)
    return text


def check(tmp_path, text: str | bytes):
    """Status, and the lines on stderr without the folder."""
    file = tmp_path / "f.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = CliRunner().invoke(cli, ["check", "pod/a", "pod/b:80", "-f", str(file)])
    return done.exit_code, done.stderr.replace(f"{tmp_path}/", "").splitlines()


@pytest.mark.parametrize("case", REFUSED)
def test_check_says_where_what_and_what_instead(case, tmp_path) -> None:
    text, errors = REFUSED[case]
    status, lines = check(tmp_path, HEAD + spelt(text))
    subject = "NetworkPolicy" + {"V1": " A_b", "V2": "", "V2 no metadata": ""}.get(case, " p")
    expected = [
        spelt(f"f.yaml:{place}: error: {subject}: {field}: {what}" + (f" ({hint})" if hint else ""))
        for place, field, what, hint in errors
    ]
    assert (status, lines[:-1]) == (2, expected)
    assert lines[-1] == "stockade: nothing was decided: the manifests have errors"
    assert any(hint for *_, hint in errors), "what to write instead"


@pytest.mark.parametrize("case", REFUSED)
async def test_the_api_server_says_the_same(case, client, store) -> None:
    text, errors = REFUSED[case]
    policy = yaml.safe_load(HEAD + spelt(text))
    if case == "bad namespace":
        pytest.skip("the URL has the namespace")
    async with client.post(POLICIES, json=policy) as response:
        answer = await response.json()
    causes = [(cause["field"], cause["message"]) for cause in answer["details"]["causes"]]
    assert (answer["code"], answer["reason"]) == (422, "Invalid")
    assert causes == [(field, spelt(what)) for _, field, what, _ in errors]
    assert store.list(RESOURCE) == []


UNREAD = {
    "YAML syntax": (
        f"{HEAD}{PLAIN}spec:\n  egress:\n  - ports: [80\n  policyTypes: [Egress]\n",
        "f.yaml:7:14: error: YAML: did not find expected ',' or ']' (close the bracket, and put text with special characters in quotes)",
    ),
    "tab": (f"{HEAD}{PLAIN}spec:\n\tegress: []\n", "f.yaml:5:1: error: YAML: found character that cannot start any token (indent with blanks, not with tabs; put text that begins with @ or ` in quotes)"),
    "template": (f"{HEAD}metadata:\n  name: {{{{ .Values.x }}}}\n", "f.yaml:4:10: error: YAML: a key must be a scalar (this is a template: render it first (helm template) and give the result)"),
    "unknown field": (f"{HEAD}{PLAIN}spec:\n  egres: []\n", 'f.yaml:5:3: error: NetworkPolicy p: spec.egres: unknown field "egres" (write egress)'),
    "wrong type": (f"{HEAD}{PLAIN}spec:\n  policyTypes: Egress\n", 'f.yaml:5:16: error: NetworkPolicy p: spec.policyTypes: must be a list, not the string "Egress" (write [Egress])'),
    "a retired version": (
        f"apiVersion: extensions/v1beta1\nkind: NetworkPolicy\n{PLAIN}",
        'f.yaml:1:13: error: apiVersion: no kind "NetworkPolicy" in version "extensions/v1beta1" (write apiVersion: networking.k8s.io/v1)',
    ),
    "a misspelt kind": (f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\n{PLAIN}", 'f.yaml:2:7: error: kind: no kind "NetworkPolcy" in version "networking.k8s.io/v1" (write NetworkPolicy)'),
    "no object": ("a: 1\n", "f.yaml:1:1: error: apiVersion: apiVersion is missing: not a Kubernetes object (for example apiVersion: networking.k8s.io/v1)"),
    "a value behind ---": (f"--- {{}}\n{HEAD}{PLAIN}", 'f.yaml:1:4: error: YAML: invalid document separator: "{}" stands behind --- (write --- on a line of its own)'),
    "a number too large": ('{"apiVersion": "v1",\n "kind": "Pod", "x": 1e999}', "f.yaml:2:22: error: YAML: json: cannot unmarshal number 1e999 into Go value of type float64"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREAD)
def test_what_cannot_be_an_object(case, tmp_path) -> None:
    text, line = UNREAD[case]
    assert check(tmp_path, text) == (2, [line, "stockade: nothing was decided: the manifests have errors"])


@pytest.mark.parametrize("case", ["unknown field", "wrong type"])
async def test_the_api_server_refuses_these_by_decoding(case, client) -> None:
    policy = yaml.safe_load(UNREAD[case][0])
    async with client.post(POLICIES, json=policy, params={"fieldValidation": "Strict"}) as response:
        answer = await response.json()
    assert (answer["code"], answer["reason"]) == (400, "BadRequest")
    assert (
        answer["message"]
        == 'NetworkPolicy in version "v1" cannot be handled as a NetworkPolicy: '
        + {
            "unknown field": 'strict decoding error: unknown field "spec.egres"',
            "wrong type": "json: cannot unmarshal string into Go struct field NetworkPolicySpec.spec.policyTypes of type []v1.PolicyType",
        }[case]
    )


def test_a_missing_path(tmp_path) -> None:
    done = CliRunner().invoke(cli, ["check", "pod/a", "pod/b:80", "-f", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert done.stderr.splitlines()[0] == f"error: {tmp_path}/nowhere: No such file or directory"


POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: c, image: i}]}\nstatus: {podIP: 10.0.0.NUMBER}\n"
PODS = POD.replace("NAME", "a").replace("NUMBER", "1") + POD.replace("NAME", "b").replace("NUMBER", "2")
BLOCK = "spec: {ingress: [{from: [{ipBlock: {cidr: 'CIDR'}}]}]}\n"
ACCEPTED = {
    "rules of an unlisted direction": (
        "spec: {policyTypes: [Ingress], egress: [{}]}\n",
        ["f.yaml:4:32: warning: NetworkPolicy p: spec.egress: these rules have no effect: policyTypes does not list Egress (add Egress to policyTypes, or remove the rules)"],
        [],
    ),
    "the same name twice": (
        f"---\n{HEAD}{PLAIN}",
        ["f.yaml:5:1: warning: NetworkPolicy p: given before, at f.yaml:1:1; the last one counts (keep one of them, or rename it)"],
        [],
    ),
    "a key twice": (
        "spec: {egress: [],\n  egress: []}\n",
        ["f.yaml:5:3: warning: spec.egress: this key stands twice; the cluster reads the last one (keep one of them)"],
        [],
    ),
    "what follows a document": (
        "...\nkind: Nothing\n",
        ["f.yaml:5:1: warning: kubectl does not read what follows here: of each part between --- lines it reads the first document (put a line --- before it)"],
        [],
    ),
    "selects nothing": ("spec: {podSelector: {matchLabels: {app: none}}}\n", [], []),
    "a type twice": ("spec: {policyTypes: [Ingress, Ingress]}\n", [], []),
    "V13 host bits": (
        BLOCK.replace("CIDR", "10.1.2.3/8"),
        ['f.yaml:4:43: warning: NetworkPolicy p: spec.ingress[0].from[0].ipBlock.cidr: CIDR value "10.1.2.3/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.2.3/32"?)'],
        ['spec.ingress[0].from[0].ipBlock.cidr: CIDR value "10.1.2.3/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.2.3/32"?)'],
    ),
    "V13 not canonical": (
        BLOCK.replace("CIDR", "2001:DB8::0/32"),
        ['f.yaml:4:43: warning: NetworkPolicy p: spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value "2001:DB8::0/32" should be in RFC 5952 canonical format ("2001:db8::/32")'],
        ['spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value "2001:DB8::0/32" should be in RFC 5952 canonical format ("2001:db8::/32")'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_server_accepts_is_decided_with_a_warning(case, tmp_path) -> None:
    text, lines, _ = ACCEPTED[case]
    status, found = check(tmp_path, f"{HEAD}{PLAIN}{text}{PODS}")
    assert status in (0, 1)
    assert [line for line in found if "warning" in line] == lines


@pytest.mark.parametrize("case", ACCEPTED)
async def test_the_server_does_accept_it(case, client) -> None:
    text, _, warnings = ACCEPTED[case]
    policy = next(yaml.safe_load_all(f"{HEAD}{PLAIN}{text.partition('...')[0]}"))
    async with client.post(POLICIES, json=policy, params={"fieldValidation": "Strict"}) as response:
        assert response.status == 201, await response.text()
        found = [value.replace('\\"', '"') for value in response.headers.getall("Warning", [])]
    assert found == [f'299 - "{text}"' for text in warnings]
