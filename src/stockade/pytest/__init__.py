"""The pytest plugin: policies tested with real pods and real packets, each test in a namespace of its own.

    plugin ── fixtures and options; all that a pytest run without them imports
      └─► cluster ── a lab for the whole run (or for one test), or the cluster of a kubeconfig
            └─► space ── one namespace: apply, run, probe, assert_allowed, assert_denied, kubectl
                  └─► trial ── one question: decided by the engine, tried from inside the pod, the two compared

Out: the fixtures ``stockade`` and ``stockade_fresh``, and for annotations the names below (imported at their first use).
docs/pytest.md is the manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stockade.pytest.space import Pod as Pod
    from stockade.pytest.space import Stockade as Stockade
    from stockade.pytest.trial import Result as Result

__all__ = ["Pod", "Result", "Stockade"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stockade.pytest import space, trial  # noqa: PLC0415 - a run that uses no fixture imports neither

    return getattr(trial if name == "Result" else space, name)
