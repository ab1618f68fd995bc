"""Parameters, failures and finished pages of the tool that executes a notebook."""

import resource
from pathlib import Path

import execute
import pytest
from project import PROFILES, Refusal, read_notebook

from mlcpc import records

SOURCE, TARGET = "notebooks/01_first.md", "book/chapters/01_first.ipynb"


def attempt(project, setting, target=TARGET, **options):
    return project.run("book/_tools/execute.py", SOURCE, target, "--set", setting, **options)


@pytest.mark.parametrize("setting, message", [
    ("profil=quick", "unknown parameter 'profil'; valid parameters: profile, steps"),
    ("profile", "unknown parameter 'profile' without a value"),
    ("profile=huge", "unknown profile 'huge'; valid profiles: quick, full"),
    ("steps=many", "parameter 'steps' is 'many'; it must be of type int"),
    ("steps=2.5", "parameter 'steps' is '2.5'; it must be of type int"),
])
def test_bad_parameter_is_refused(project, setting, message):
    defaults = execute.declared(read_notebook(Path(SOURCE)), SOURCE)
    with pytest.raises(Refusal) as refusal:
        execute.validated([setting], defaults, SOURCE)
    assert message in str(refusal.value)


def test_good_parameters_get_their_types(project):
    defaults = execute.declared(read_notebook(Path(SOURCE)), SOURCE)
    assert execute.validated(["profile=full", "steps=5"], defaults, SOURCE) == {
        "profile": "full", "steps": 5,
    }


def test_misspelt_parameter_stops_the_command_and_leaves_the_page(project):
    before = (project / TARGET).read_bytes()
    done = attempt(project, "profil=quick")
    assert done.returncode == 1 and "unknown parameter 'profil'" in done.stdout
    assert (project / TARGET).read_bytes() == before


@pytest.mark.parametrize("cell, message", [
    ("profile = input()", "must be a literal"),
    ("import os", "assignments only"),
])
def test_parameters_cell_holds_literals_only(project, cell, message):
    project.edit(SOURCE, "steps = 3", cell)
    with pytest.raises(Refusal, match=message):
        execute.declared(read_notebook(Path(SOURCE)), SOURCE)


def test_profiles_are_those_of_the_records():
    assert PROFILES == records.PROFILES


def test_full_disk_leaves_the_old_page_and_no_scraps(project):
    before = (project / TARGET).read_bytes()

    def disk_of_three_kilobytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    done = attempt(project, "profile=quick", preexec_fn=disk_of_three_kilobytes)
    assert done.returncode == 1
    assert "can not be read or written: File too large" in done.stdout
    assert (project / TARGET).read_bytes() == before
    assert sorted(path.name for path in (project / "book/chapters").iterdir()) == [
        "01_first.ipynb", "02_second.ipynb",
    ]


def test_output_that_can_not_be_written(project):
    (project / "blocked").write_text("a file in place of the folder")
    done = attempt(project, "profile=quick", target="blocked/01_first.ipynb")
    assert done.returncode == 1 and "blocked can not be read or written" in done.stdout


def test_finished_page_has_cost_box_passport_and_no_injected_cell(project):
    page = read_notebook(project / TARGET)
    assert page.cells[0].source.startswith("# First page\n\n:::{admonition} Cost of this page")
    assert "at profile `quick`" in page.cells[0].source and "a test machine" in page.cells[0].source
    assert "As a lecture: about" in page.cells[0].source
    assert "{div} provenance" in page.cells[-1].source and "`used.json`" in page.cells[-1].source
    injected = [cell for cell in page.cells
                if "injected-parameters" in cell.metadata.get("tags", [])]
    assert [cell.metadata["tags"][-1] for cell in injected] == ["remove-cell"]
    site_page = (project / "book/_build/html/chapters/01_first.html").read_text()
    assert site_page.count('<span class="s2">"quick"</span>') == 1
    assert "arrays behind" not in site_page


def test_the_code_of_a_check_is_folded_and_its_line_is_shown(project):
    page = read_notebook(project / TARGET)
    (check,) = [cell for cell in page.cells if "check" in cell.metadata.get("tags", [])]
    assert check.metadata["tags"] == ["check", "hide-input"]
    site_page = (project / "book/_build/html/chapters/01_first.html").read_text()
    fold = site_page.index("tag_check")
    assert "<details" in site_page[fold : site_page.index("checked: numeric")]


def test_unreadable_dependency_is_refused(project):
    import dependencies

    project.edit(SOURCE, 'records.read("used")', "records.read(name)")
    with pytest.raises(Refusal, match="literal text"):
        dependencies.of("01_first")


def test_published_numbers_are_a_dependency(project):
    import dependencies

    project.edit(SOURCE, 'records.read("used")', 'records.read("used"), published.numbers()')
    (project / "results/paper.csv").unlink()
    with pytest.raises(Refusal, match="results/paper.csv, which does not exist"):
        dependencies.of("01_first")
    (project / "results/paper.csv").write_text("name\n")
    assert Path("results/paper.csv") in dependencies.of("01_first")[1]


def test_missing_record_is_named(project):
    import dependencies

    project.edit(SOURCE, 'records.read("used")', 'records.read("lost")')
    with pytest.raises(Refusal, match="results/lost.json, which does not exist"):
        dependencies.of("01_first")


def test_records_of_a_pattern_are_a_dependency(project):
    """As many as there are; a new one is seen, and none is no fault."""
    import dependencies

    project.edit(SOURCE, 'records.read("used")', 'records.read_all("grid-*")')
    assert dependencies.of("01_first")[1] == []
    for name in ("grid-b", "grid-a", "other"):
        (project / f"results/{name}.json").write_text("{}")
    assert dependencies.of("01_first")[1] == [
        Path("results/grid-a.json"), Path("results/grid-b.json")
    ]
    project.edit(SOURCE, '"grid-*"', "pattern")
    with pytest.raises(Refusal, match="records.read_all needs the record's name as a literal text"):
        dependencies.of("01_first")


def test_a_page_edited_while_it_runs_is_refused(project):
    source = project / "notebooks/02_second.md"
    edit = f"import pathlib; pathlib.Path(r'{source}').open('a').write('\\nMore.\\n')\n"
    source.write_text(source.read_text().replace("print(", edit + "print(", 1))
    before = (project / "book/chapters/02_second.ipynb").read_bytes()
    done = project.run(
        "book/_tools/execute.py", "notebooks/02_second.md", "book/chapters/02_second.ipynb"
    )
    assert done.returncode == 1
    assert "02_second.md was edited while it ran; run make book again" in done.stdout + done.stderr
    assert (project / "book/chapters/02_second.ipynb").read_bytes() == before


def test_printed_text_is_one_piece_a_stream():
    """Wherever the kernel cut it; other outputs keep their places between."""
    import nbformat

    def printed(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    shown = nbformat.v4.new_output("display_data", {"text/plain": "x"})
    pieces = [printed("a"), printed("\nb\n"), printed("!", "stderr"), printed("c"), shown,
              printed("d")]
    found = execute.joined(pieces)
    assert [each.get("text", "shown") for each in found] == ["a\nb\n", "!", "c", "shown", "d"]
    assert execute.joined([]) == []
