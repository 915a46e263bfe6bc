"""The results as JUnit XML, the form that CI systems show. In: Results. Out: the document. Called by ``__main__``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

from stockade.testing.conformance.run import Result


def junit(results: Sequence[Result]) -> str:
    root = ET.Element("testsuites", name="stockade conformance")
    for suite, members in groupby(results, key=lambda result: result.case.suite):
        listed = list(members)
        outcomes = [result.outcome for result in listed]
        element = ET.SubElement(root, "testsuite", name=suite, tests=str(len(listed)), errors="0")
        element.set("failures", str(outcomes.count("FAIL")))
        element.set("skipped", str(outcomes.count("skip")))
        for result in listed:
            case = ET.SubElement(
                element, "testcase", classname=suite, name=result.case.name, time=f"{result.seconds:.3f}"
            )
            if result.complaint:
                ET.SubElement(
                    case, "failure", type="disagreement", message=result.complaint.splitlines()[0]
                ).text = result.complaint
            elif result.outcome == "skip":
                ET.SubElement(case, "skipped", message="the kernel has no SCTP")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")
