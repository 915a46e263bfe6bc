"""The questions a pod's resolver sends: search list of three, ndots 5."""

from __future__ import annotations

import pytest

from stockade.analysis.naming import questions, resolve
from stockade.testing.worlds import recipe

SEARCH = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")


@pytest.mark.parametrize("name", ["web", "web.default", "www.example.com", "a.b.c.d.e"])
def test_fewer_than_five_dots_go_through_the_search_list_first(name):
    assert questions(name, "default") == (*(f"{name}.{suffix}" for suffix in SEARCH), name)


def test_five_dots_are_asked_as_they_are_first():
    assert questions("a.b.c.d.e.f", "default")[0] == "a.b.c.d.e.f"


def test_a_trailing_dot_means_as_it_is():
    assert questions("www.example.com.", "default") == ("www.example.com",)
    assert resolve(recipe(), "web.", "default").service is None


def test_the_first_question_a_service_answers_ends_the_search():
    assert resolve(recipe(), "web", "default").questions == ("web.default.svc.cluster.local",)
    assert resolve(recipe(), "kube-dns.kube-system", "default").service.ref.name == "kube-dns"
    assert resolve(recipe(), "web", "kube-system").service is None


def test_a_dotted_name_without_a_service_is_somebody_outside_and_a_single_label_is_nobody():
    assert resolve(recipe(), "www.example.com", "default").exists
    assert not resolve(recipe(), "nosuch", "default").exists
    assert not resolve(recipe(), "nosuch.default.svc.cluster.local", "default").exists
