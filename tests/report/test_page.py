"""The whole page: no network, every section present, text from files escaped."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from evossl.errors import UserError
from evossl.report import write_report
from evossl.search.table import TrialRow, write_table
from tests.helpers.fabricated_runs import (
    TERMS,
    begin_run,
    finished_run,
    run_info,
    trial_rows,
    write_clusters,
    write_manifest,
    write_training,
    write_winner,
)
from tests.helpers.parsed_pages import Page, WrittenReport, parse, report_page

SECTIONS = (
    "headline",
    "evaluation",
    "trials",
    "weights",
    "evolution",
    "clusters",
    "sheets",
    "losses",
    "conflicts",
    "indicators",
    "failures",
    "repeat",
)
CHARTS = {"trials": "fitness", "weights": "weights", "evolution": "map", "clusters": "clusters"}
CHARTS |= {"conflicts": "conflicts"}


def test_the_page_fetches_nothing(written: WrittenReport) -> None:
    for node in written.page.walk():
        assert node.name not in {"link", "iframe", "object", "embed", "base"}
        assert not any(name.startswith("on") for name in node.attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            assert node.attributes.get(name, "#").startswith(("#", "data:image/"))
    words = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", written.html)
    assert not re.search(r"@import|url\(|https?:|//[a-z]", words.lower())


def test_the_page_forbids_network_and_foreign_scripts(
    written: WrittenReport,
) -> None:
    (policy,) = [
        node.attributes["content"]
        for node in written.page.all("meta")
        if node.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    script = written.page.one("script").text
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_every_section_exists_and_has_a_link(written: WrittenReport) -> None:
    for name in SECTIONS:
        written.page.by_id(name)
    targets = [node.attributes["href"][1:] for node in written.page.one("nav").all("a")]
    assert set(targets) == set(SECTIONS) - {"headline"}
    assert not written.page.all("p", "none")


def test_every_chart_has_a_description_in_words(written: WrittenReport) -> None:
    drawings = written.page.all("svg")
    described = [node for node in drawings if node.attributes.get("role") == "img"]
    hidden = [node for node in drawings if node.attributes.get("aria-hidden") == "true"]
    assert len(described) + len(hidden) == len(drawings)
    assert all(len(node.attributes["aria-label"]) > 20 for node in described)
    for name in CHARTS.values():
        assert len(written.page.all("svg", name)) == 2  # wide and narrow


def test_no_text_extends_beyond_its_drawing(written: WrittenReport) -> None:
    for node in written.page.all("svg"):
        if node.attributes.get("role") != "img":
            continue
        *_, width, height = map(float, node.attributes["viewbox"].split())
        for words in node.all("text"):
            room = 5.5 * len(words.text)  # px: the mean letter at 11 px
            share = {"start": 0.0, "middle": 0.5, "end": 1.0}[words.attributes["text-anchor"]]
            begin_x = float(words.attributes["x"]) - share * room
            assert begin_x >= -4, words.text
            assert begin_x + room <= width + 4, words.text
            assert 8 <= float(words.attributes["y"]) <= height, words.text


HOSTILE = "<script>alert('1')</script>\"'&<img src=http://a onerror=x>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("hostile") / "run"
    base = run_info(folder)
    place = f"rgb{HOSTILE}"
    space = base.space | {"about": HOSTILE}
    info = begin_run(
        folder,
        space=space,
        data=HOSTILE,
        command=HOSTILE,
        git=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )
    terms = (*TERMS, f"simclr.{place}")
    table = [
        replace(row, name=HOSTILE) if row.trial == -7 else row
        for row in trial_rows(20, terms=terms)
    ]
    table = [replace(r, reason=HOSTILE) if r.status == "failed" else r for r in table]
    table = [replace(r, indicators={HOSTILE: 1.0, **r.indicators}) for r in table]
    write_table(folder / "trials.parquet", table)
    write_manifest(folder, [f"/a/{HOSTILE}.mp4"], {f"/b/{HOSTILE}": HOSTILE})
    write_winner(folder, info, table)
    write_clusters(folder / "winner", [f"/a/{HOSTILE}.mp4"])
    scores = {"knn": {HOSTILE: 0.5}}
    evaluation = {"encoder": scores, "random_init": scores, "n_videos": 1, "classes": [HOSTILE]}
    (folder / "winner" / "evaluation.json").write_text(json.dumps(evaluation))
    return report_page(folder)


def test_text_from_files_never_becomes_markup(hostile: Page) -> None:
    assert len(hostile.all("script")) == 1
    assert all(node.attributes["src"].startswith("data:") for node in hostile.all("img"))
    assert not any("onerror" in node.attributes for node in hostile.walk())


@pytest.mark.parametrize("section", sorted({*SECTIONS} - {"clusters", "evolution"}))
def test_text_from_files_is_shown_unchanged(hostile: Page, section: str) -> None:
    shown = hostile.by_id(section)
    labels = [value for node in shown.walk() for value in node.attributes.values()]
    assert HOSTILE in shown.text or any(HOSTILE in label for label in labels)


@pytest.mark.parametrize("stage", ["begun", "controls", "running", "searched"])
def test_a_running_search_names_what_is_missing(stage: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begin_run(folder)
    table = [row for row in trial_rows(12) if row.is_control]
    missing = {"evaluation", "trials", "weights", "evolution", "clusters", "sheets", "losses"}
    missing |= {"indicators", "conflicts"}
    if stage != "begun":
        missing -= {"trials", "indicators"}
    if stage == "running":
        weights = dict.fromkeys(TERMS, 0.5)
        table.append(TrialRow(0, "equal weights", "running", weights=weights))
        write_training(folder / "trials" / "0", list(TERMS), 50)
        (folder / "trials" / "0" / "clusters.json").unlink()
        missing -= {"losses", "conflicts"}
    if stage == "searched":
        table = trial_rows(12)
        best = min((r for r in table if not r.is_control and r.fitness), key=lambda r: r.fitness)
        write_training(folder / "trials" / str(best.trial), list(TERMS), 50)
        missing = {"evaluation"}
    if stage != "begun":
        write_table(folder / "trials.parquet", table)
    page = report_page(folder)
    found = {name for name in SECTIONS if page.by_id(name).all("p", "none")}
    assert found == missing
    assert not page.all("div", "banner")


def test_one_failed_trial_is_enough_for_a_page(tmp_path: Path) -> None:
    begin_run(tmp_path)
    weights = dict.fromkeys(TERMS, 0.5)
    table = [TrialRow(0, "equal weights", "failed", None, "out of memory", 3.0, {}, weights)]
    write_table(tmp_path / "trials.parquet", table)
    page = report_page(tmp_path)
    assert "out of memory" in page.by_id("failures").text
    assert "fitness yet" in page.by_id("trials").one("p", "none").text


DAMAGED_FILES = [
    "trials.parquet",
    "manifest.parquet",
    "winner/winner.json",
    "winner/evaluation.json",
    "winner/clusters.json",
    "winner/history.jsonl",
]


@pytest.mark.parametrize("name", DAMAGED_FILES)
@pytest.mark.parametrize("content", ["{broken\n", '{"shares": 1}\n', "[]\n"])
def test_a_damaged_file_is_named_and_the_rest_is_shown(
    name: str, content: str, tmp_path: Path
) -> None:
    table = write_run_without_cache(tmp_path)
    (tmp_path / name).write_text(content)
    page = report_page(tmp_path)
    faults = [node.text for node in page.by_id("headline").all("p", "none")]
    assert len(faults) == 1
    assert Path(name).name in faults[0]
    assert not re.search("pydantic|https?:|Expecting", faults[0])
    if name != "trials.parquet":
        assert len(page.by_id("indicators").one("tbody").all("tr")) == len(table)


def write_run_without_cache(folder: Path) -> list[TrialRow]:
    """Write a finished run with an empty cache."""
    info = begin_run(folder)
    table = trial_rows(12)
    write_table(folder / "trials.parquet", table)
    write_winner(folder, info, table)
    return table


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.yaml"):
        write_report(tmp_path)


def test_a_single_training_has_a_page(tmp_path: Path) -> None:
    begin_run(tmp_path, command="evossl train --data /archive --space tiny --out run")
    write_training(tmp_path, list(TERMS), 100)
    page = report_page(tmp_path)
    assert len(page.by_id("losses").all("svg", "small")) == 1 + len(TERMS)
    assert page.by_id("clusters").all("svg", "clusters")


def test_writing_the_page_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    finished_run(tmp_path, count=10)
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_a_page_of_2000_trials_stays_small(tmp_path: Path) -> None:
    info = begin_run(tmp_path)
    terms = tuple(f"task{i // 4}.place{i % 4}" for i in range(40))
    table = trial_rows(2000, terms=terms)
    write_table(tmp_path / "trials.parquet", table)
    write_winner(tmp_path, info, table)
    path = write_report(tmp_path)
    page = parse(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 5e6
    chart = page.by_id("trials").drawing("fitness")
    assert len(chart.walk()) < 2.5 * 2000
    assert len(page.by_id("evolution").drawing("map").walk()) < 200
    assert len(page.by_id("losses").walk()) < 41 * 40
