"""Counts the tests of each method in a junit file."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rho_variants import RHO_VARIANTS

FIRST_WORD = re.compile(r"[a-z_]+")


@dataclass
class TestCounts:
    """The test results of one method."""

    oracle: int = 0
    properties: int = 0
    failed: list[str] = field(default_factory=list)
    rankme: float | None = None
    floor: float | None = None


def read_tests(file: Path, methods: Sequence[str]) -> dict[str, TestCounts]:
    """Return the results of each method in a junit file, by the names of files and cases.

    The oracle of a rho variant is that of its task.
    """
    found = {method: TestCounts() for method in methods}
    for case in ET.parse(file).getroot().iter("testcase"):
        module, name = case.get("classname", ""), case.get("name", "")
        of_file = module.rpartition("test_")[2] if ".oracles." in f".{module}." else ""
        of_case = FIRST_WORD.match(name.partition("[")[2])
        method = of_file or (of_case.group() if of_case else "")
        if method not in found or case.find("skipped") is not None:
            continue
        tests = found[method]
        if case.find("failure") is not None or case.find("error") is not None:
            tests.failed.append(name)
        elif of_file:
            tests.oracle += 1
        else:
            tests.properties += 1
        for item in case.iter("property"):
            if item.get("name") in ("rankme", "floor"):
                setattr(tests, str(item.get("name")), float(str(item.get("value"))))
    for method in found.keys() & RHO_VARIANTS.keys():
        found[method].oracle += found[RHO_VARIANTS[method]["task"]].oracle
    return found


def date_of(file: Path) -> str:
    """Return the date of a junit file."""
    suite = next(ET.parse(file).getroot().iter("testsuite"))
    return suite.get("timestamp", "").partition("T")[0]
