"""Measures reading: how long ``-f`` takes on very large and on hostile input, and how much memory. Each case runs in a process of its own.

    .venv/bin/python bench/manifests.py [--megabytes 50] [-o text|json]

Files of the given size, of pods as ``kubectl get -o yaml`` prints them:
  documents.yaml   one document a pod
  list.yaml        one List
  list.json        one List, indented as kubectl does
  wrong.yaml       one List in which every pod has an unknown field and a bad port: positions for 10 000 diagnostics
  wrong.json       the same as JSON
Hostile ones: billion laughs, deep nesting, one line of that size, a quote that never closes.
Aims for 50 MB, in CPU time (one process; the machine may be busy): YAML 60 s, JSON 6 s, both twice that when every pod is wrong;
1.5 GB; hostile input 5 s and one diagnostic.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml

AIMS = {".yaml": 60.0, ".json": 6.0}
HOSTILE_AIM, MEMORY_AIM = 5.0, 1536


def pod(number: int, *, wrong: bool = False) -> dict:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}
    container = {
        "name": "c", "image": "nginx:1.25", "resources": {}, "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 99999 if wrong else 80, "name": "http", "protocol": "TCP"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "some longer value"}],
        "volumeMounts": [{"name": "v", "mountPath": "/var/run/secrets", "readOnly": True}],
    }  # fmt: skip
    spec = {
        "containers": [container],
        "nodeName": f"n{number % 30}",
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
    labels = {"app": f"a{number % 200}", "tier": "x", "pod-template-hash": f"{number:x}abc"}
    meta = {"name": f"web-{number}", "namespace": f"ns{number % 50}", "labels": labels, "uid": f"0-{number}"}
    extra = {"hostnetwork": True} if wrong else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {**spec, **extra}, "status": status}


def dumped(value: object) -> str:
    return yaml.dump(value, Dumper=yaml.CSafeDumper)


def documents(size: int) -> str:
    count = size // len(dumped(pod(1)))
    return "---\n".join(dumped(pod(number)) for number in range(count))


def yaml_list(size: int, *, wrong: bool = False) -> str:
    count = size // int(len(dumped(pod(1))) * 1.1)
    items = (dumped(pod(number, wrong=wrong)).rstrip("\n").replace("\n", "\n  ") for number in range(count))
    return "apiVersion: v1\nkind: List\nitems:\n" + "".join(f"- {item}\n" for item in items)


def json_list(size: int, *, wrong: bool = False) -> str:
    head = {"apiVersion": "v1", "kind": "List"}
    count = size // len(json.dumps({**head, "items": [pod(1)]}, indent=4))
    return json.dumps({**head, "items": [pod(number, wrong=wrong) for number in range(count)]}, indent=4)


def laughs(size: int) -> str:  # noqa: ARG001
    lines = ["a0: &a0 [" + ", ".join(["x"] * 10) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    return "\n".join(lines)


CASES: dict[str, Callable[[int], str]] = {
    "documents.yaml": documents,
    "list.yaml": yaml_list,
    "list.json": json_list,
    "wrong.yaml": lambda size: yaml_list(size, wrong=True),
    "wrong.json": lambda size: json_list(size, wrong=True),
}
HOSTILE: dict[str, Callable[[int], str]] = {
    "laughs.yaml": laughs,
    "deep-flow.yaml": lambda size: "[" * size,
    "deep-block.yaml": lambda size: "- " * (size // 2),
    "deep.json": lambda size: '{"a":' * (size // 5),
    "quote.yaml": lambda size: 'a: "' + "x\n" * (size // 2),
    "line.yaml": lambda size: "a: " + "x" * size,
}


def read(path: str) -> None:
    """In the process of the case: loads, and prints what it took."""
    from stockade.manifests.load import load  # noqa: PLC0415 - its import is not measured

    started, worked = time.perf_counter(), time.process_time()
    loaded = load([path])
    took, work = time.perf_counter() - started, time.process_time() - worked
    # ru_maxrss would count the parent's memory at the fork
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10
    print(
        json.dumps(
            {
                "s": round(took, 2),
                "cpu s": round(work, 2),
                "MB": peak,
                "objects": len(loaded.objects),
                "diagnostics": len(loaded.diagnostics),
            }
        )
    )


def measured(folder: Path, name: str, text: str) -> dict:
    path = folder / name
    path.write_text(text)
    done = subprocess.run([sys.executable, __file__, "--read", str(path)], capture_output=True, check=True)
    aim = HOSTILE_AIM if name in HOSTILE else AIMS[path.suffix] * (2 if name.startswith("wrong") else 1)
    found = {
        "file": name,
        "size MB": round(path.stat().st_size / 1e6, 1),
        **json.loads(done.stdout),
        "aim s": aim,
    }
    path.unlink()
    found["ok"] = (
        found["cpu s"] <= aim
        and found["MB"] <= MEMORY_AIM
        and (name not in HOSTILE or found["diagnostics"] == 1)
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    asked = parser.parse_args()
    if asked.read:
        read(asked.read)
        return
    size = asked.megabytes * 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(Path(folder), name, make(size)) for name, make in {**CASES, **HOSTILE}.items()]
    if asked.output == "json":
        print(
            json.dumps(
                {"python": platform.python_version(), "machine": platform.machine(), "rows": rows}, indent=2
            )
        )
        return
    print(f"Python {platform.python_version()} on {platform.machine()}")
    for row in rows:
        print("  ".join(f"{key}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
