"""A client outside the cluster: what does not exist is not mistaken for what is denied."""

from __future__ import annotations

import json

import pytest

from stockade.lab.outside import NoAnswerError, fetch

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def test_what_a_load_balancer_does_not_serve_is_unreachable_at_once(stages) -> None:
    stage = stages[0]
    stage.run("run", "web", "--image=nginx", "--port=80", "--labels=app=web")
    stage.run("expose", "pod/web", "--type=LoadBalancer")
    stage.run("wait", "--for=condition=Ready", "pod/web", "--timeout=20s")
    stage.run("wait", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}", "service/web", "--timeout=20s")
    service = json.loads(stage.run("get", "service", "web", "-o", "json"))
    address = service["status"]["loadBalancer"]["ingress"][0]["ip"]
    assert "Welcome to nginx!" in fetch(stage.lab, f"http://{address}/", 10).page
    for url in (f"http://{address}:81/", "http://203.0.113.250/"):
        with pytest.raises(NoAnswerError, match="No route to host"):
            fetch(stage.lab, url, 10)
    assert "Example Domain" in fetch(stage.lab, "http://www.example.com/", 10).page
    stage.run("delete", "pod,service", "web")
