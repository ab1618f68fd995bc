"""What is built again, and what is not: on a small book, by Snakemake itself."""

import fcntl
import re

import pytest

FIRST, SECOND = "01_first", "02_second"


def planned(project, *config: str) -> set[str]:
    """Jobs that a build would run now."""
    done = project.run("-m", "snakemake", "--dry-run", "--nolock", "--cores", "2",
                       "--config", "profile=quick", "sweeps=none", *config)
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    jobs = set(re.findall(r"wildcards: name=(\w+)", text))
    rules = "ledger|registry|paper|site"
    return jobs | set(re.findall(rf"^(?:local)?rule ({rules}):", text, re.MULTILINE))


def test_first_build_shows_progress_path_and_minutes(project):
    lines = (project / "first_build.txt").read_text().splitlines()
    assert re.fullmatch(r"\[1/2\] 0\d_\w+ \d+ s", lines[0])
    assert re.fullmatch(r"\[2/2\] 0\d_\w+ \d+ s", lines[1])
    assert re.search(r"book/_build/html/index.html  \(built in \d+\.\d minutes\)", lines[-1])


def test_no_change_runs_nothing(project):
    before = {path: path.stat().st_mtime_ns for path in (project / "book/chapters").iterdir()}
    done = project.build()
    assert done.returncode == 0 and "up to date, nothing to do" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}


CHANGES = {
    "notebook": ("notebooks/02_second.md", "value", "number",
                 {SECOND, "ledger", "registry", "site"}),
    "module": ("mlcpc/other.py", "3", "4", {SECOND, "ledger", "registry", "paper", "site"}),
    "module of a module": ("mlcpc/base.py", "1", "2",
                           {FIRST, "ledger", "registry", "paper", "site"}),
    "record": ("results/used.json", "40", "41",
               {FIRST, "ledger", "registry", "paper", "site"}),
    "record no page reads": ("results/unused.json", "50", "51", {"registry", "paper", "site"}),
    "published numbers": ("results/paper.csv", "", "# none\n", {"paper", "site"}),
    "prose page": ("book/intro.md", "Small", "Tiny", {"site"}),
    "lock file": ("requirements.lock", "", "x==1\n",
                  {FIRST, SECOND, "ledger", "registry", "paper", "site"}),
    "ledger tool": ("book/_tools/ledger.py", "# Ledger", "# The ledger", {"ledger", "site"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_rebuilds_exactly_what_depends_on_it(project, change):
    path, old, new, expected = CHANGES[change]
    if old:
        project.edit(path, old, new)
    else:
        (project / path).write_text(new)
    assert planned(project) == expected


def test_new_import_is_a_new_dependency(project):
    project.edit("notebooks/02_second.md", "import other", "import base, other")
    assert project.build().returncode == 0
    project.edit("mlcpc/base.py", "1", "2")
    assert planned(project) == {FIRST, SECOND, "ledger", "registry", "paper", "site"}


def test_a_real_rebuild_leaves_the_other_page_alone(project):
    other = (project / f"book/chapters/{SECOND}.ipynb").read_bytes()
    project.edit("mlcpc/base.py", "1", "2")
    done = project.build()
    assert done.returncode == 0 and "[1/1] 01_first" in done.stdout
    assert "value 44" in (project / f"book/chapters/{FIRST}.ipynb").read_text()
    assert (project / f"book/chapters/{SECOND}.ipynb").read_bytes() == other
    assert planned(project) == set()


def test_profile_reruns_all_or_only_the_notebook_asked_for(project):
    assert planned(project, "profile=full") == {FIRST, SECOND, "ledger", "site"}
    assert planned(project, "profile=full", f"notebook={SECOND}") == {SECOND, "ledger", "site"}


@pytest.mark.parametrize("asked", [SECOND, f"{SECOND}.md", f"notebooks/{SECOND}.md"])
def test_notebook_asked_for_is_found(project, asked):
    import build

    assert build.chosen(asked) == SECOND


def test_notebook_asked_for_runs_again(project):
    done = project.build("--notebook", SECOND)
    assert done.returncode == 0 and "[1/1] 02_second" in done.stdout


@pytest.mark.parametrize("options, message", [
    (("--notebook", "03_third"), "unknown notebook '03_third'; notebooks: 01_first, 02_second"),
    (("--profile", "huge"), "unknown profile 'huge'; valid profiles: quick, full"),
])
def test_unknown_request_is_refused_before_any_work(project, options, message):
    log = (project / "book/_build/build.log").read_text()
    done = project.build(*options)
    assert done.returncode == 1 and done.stdout == f"error: {message}\n"
    assert (project / "book/_build/build.log").read_text() == log


def test_lock_of_a_killed_build_does_not_block(project):
    locks = project / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    for kind in ("input", "output"):
        (locks / f"0.{kind}.lock").write_text(f"book/chapters/{FIRST}.ipynb\n")
    project.edit("mlcpc/base.py", "1", "2")
    assert project.build().returncode == 0


def test_a_build_that_runs_is_not_disturbed(project):
    with open(project / "book/_build/build.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = project.build()
    assert done.returncode == 1 and "another build is running" in done.stdout


def test_output_folder_that_can_not_be_written(project):
    import shutil

    shutil.rmtree(project / "book/_build")
    (project / "book/_build").write_text("a file in place of the folder")
    done = project.build()
    assert done.returncode == 1
    assert done.stdout.startswith("error: book/_build can not be read or written")


def test_warning_of_the_site_is_an_error(project):
    project.edit("book/intro.md", "Small book", "Small book\n\n[](#no-such-place)")
    done = project.build()
    assert done.returncode == 1 and "no-such-place" in done.stdout
    assert not (project / "book/_build/html").exists()


def test_crashing_cell_shows_itself_and_leaves_no_page(project):
    project.edit("notebooks/02_second.md", 'print("value", other.THREE)', "other.THREE / 0")
    done = project.build()
    assert done.returncode == 1
    assert "02_second: a cell raised ZeroDivisionError" in done.stdout
    assert "other.THREE / 0" in done.stdout
    left = [path.name for path in (project / "book/chapters").iterdir()]
    assert left == [f"{FIRST}.ipynb"]


def test_statement_without_check_stops_the_build(project):
    project.edit("notebooks/01_first.md", 'checks.checked("thm-first")', "pass")
    done = project.build()
    assert done.returncode == 1 and "thm-first has no check that holds" in done.stdout


def test_missing_record_is_named_before_any_work(project):
    (project / "results/used.json").unlink()
    done = project.build()
    assert done.returncode == 1 and done.stdout.startswith(
        "error: notebooks/01_first.md reads the record results/used.json, which does not exist\n")
