"""The outcomes of assertions as JUnit XML, the form that CI systems show.

In: Rows. Out: the document as text. Called by ``stockade test -o junit``. One testsuite for each file of assertions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from xml.etree import ElementTree as ET

from stockade.report.outcomes import Row

# Characters that XML 1.0 has no way to write.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(rows: Iterable[Row]) -> str:
    root = ET.Element("testsuites", name="stockade")
    for file, members in groupby(rows, key=lambda row: row.position.file):
        suite = ET.SubElement(root, "testsuite", name=_clean(file))
        listed = list(members)
        suite.set("tests", str(len(listed)))
        suite.set("failures", str(sum(not row.ok for row in listed)))
        suite.set("errors", "0")
        for row in listed:
            _case(suite, row)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False)


def _case(suite: ET.Element, row: Row) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        name=_clean(row.title),
        classname=_clean(row.position.file),
        file=_clean(row.position.file),
        line=str(row.position.line),
    )
    if not row.ok:
        failure = ET.SubElement(case, "failure", message=_clean(row.complaint), type="assertion")
        failure.text = _clean(f"{row.complaint}\nat {row.position}")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
