"""The public face: what `mlcpc` shows, types, examples that run, and what the README says."""

import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

import mlcpc
from mlcpc.__main__ import main

PUBLIC = [
    "CPCLoss", "Conditional", "Estimate", "MLCPCLoss", "__version__", "bounds", "conditional",
    "estimate", "exact", "pairwise", "relevance",
]  # fmt: skip
EXAMPLES = ["bounds", "exact", "losses", "estimation", "questions", "statistics"]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_face_is_the_public_names():
    assert sorted(dir(mlcpc)) == PUBLIC
    assert sorted([*mlcpc.__all__, "__version__"]) == PUBLIC
    said = python("import mlcpc; help(mlcpc)")
    assert "MLCPCLoss" in said and "_HOME" not in said and "importlib" not in said
    assert python("from mlcpc import MLCPCLoss, CPCLoss, estimate, Estimate, bounds, exact; "
                  "import mlcpc; print(mlcpc.allpairs.__name__)") == "mlcpc.allpairs\n"  # fmt: skip
    with pytest.raises(AttributeError, match="module 'mlcpc' has no attribute 'missing'"):
        _ = mlcpc.missing


def test_importing_the_package_loads_none_of_its_modules():
    """So it costs little more than torch, which its first use of a module loads."""
    code = "import sys, mlcpc; print([m for m in sys.modules if m.startswith('mlcpc.')])"
    assert python(code) == "[]\n"
    assert "torch" not in python(
        "import sys, mlcpc; print('torch' if 'torch' in sys.modules else '')"
    )


def test_types_are_checked():
    assert (ROOT / "mlcpc/py.typed").exists()
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_wrong_type_would_be_found(tmp_path):
    (tmp_path / "use.py").write_text("from mlcpc import bounds\nx: str = bounds.alpha_min(2, 2)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"),
         str(tmp_path / "use.py")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "Incompatible types" in done.stdout, done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name):
    module = importlib.import_module(f"mlcpc.{name}")
    failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0 and tried > 0


def public_members() -> list:
    found = [
        (name, getattr(mlcpc, name)) for name in mlcpc.__all__ if name not in ("bounds", "exact")
    ]
    for module in (mlcpc.bounds, mlcpc.exact):
        found += [(f"{module.__name__}.{name}", each) for name, each in vars(module).items()
                  if not name.startswith("_") and inspect.isfunction(each)
                  and each.__module__ == module.__name__]  # fmt: skip
    return found


@pytest.mark.parametrize(
    "name, member", public_members(), ids=[name for name, _ in public_members()]
)
def test_every_public_function_has_a_sentence_and_an_example(name, member):
    said = inspect.getdoc(member) or ""
    assert re.match(r"[A-Z].*\.$", said.split("\n\n")[0].replace("\n", " ")), said[:80]
    assert ">>> " in said, f"{name} has no runnable example"


# ---------------------------------------------------------------------------------------------
# README and command
# ---------------------------------------------------------------------------------------------


def snippets() -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("place", range(len(snippets())))
def test_snippets_of_the_readme_run(place):
    class Linear(torch.nn.Linear):
        def forward(self, x):
            return torch.nn.functional.normalize(super().forward(x))

    encoders = Linear(6, 4), Linear(5, 4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    names = {
        "loader": [(torch.randn(8, 6), torch.randn(8, 5))] * 2,
        "encode_image": encoders[0], "encode_text": encoders[1],
        "images": torch.randn(8, 6), "texts": torch.randn(8, 5),
         "optimiser": torch.optim.SGD([*encoders[0].parameters(), *encoders[1].parameters()], 0.1),
        "x": x, "y": x + torch.randn(200, 2, generator=generator), "torch": torch,
    }  # fmt: skip
    exec(snippets()[place], names)


def test_commands_of_the_readme_are_commands(results, capsys):
    """Every `mlcpc …` line of the README is read by its parser; --help stands for the run."""
    text = (ROOT / "README.md").read_text()
    lines = re.findall(r"^    (?:.*-m )?mlcpc (.*?)(?:\s+#.*)?$", text, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        try:
            code = main([*line.split(), "--help"])
        except SystemExit as ended:
            code = ended.code
        assert code == 0, line


def test_version_and_help_fit_a_screen(capsys):
    for words, limit in ((["--version"], 1), (["--help"], 30)):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert len(said.splitlines()) <= limit and max(map(len, said.splitlines())) <= 100
    assert main(["run"]) == 0
    said = capsys.readouterr().out
    assert all(each in said for each in ("pretrain", "distill", "staircase", "MLCPC_RESULTS"))


@pytest.mark.parametrize("words", [["nonsense"], ["run", "nonsense"], ["probe", "/nowhere"],
                                   ["sweep", "/nowhere.yaml", "x"], [],
                                   ["run", "/nowhere.py"]])  # fmt: skip
def test_a_wrong_command_ends_with_a_message(words, results, capsys):
    try:
        code = main(words)
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and "error" in capsys.readouterr().err


def test_records_without_a_clone(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MLCPC_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["records"]) == 0 and "no records in" in capsys.readouterr().out
    assert main(["run", str(ROOT / "tests/toy_experiment.py")]) == 0
    assert (tmp_path / "results/coin.json").is_file()


def test_the_console_script_is_the_module(tmp_path):
    script = next(each for each in (os.path.join(os.path.dirname(sys.executable), "mlcpc"),))
    if not os.path.exists(script):
        pytest.skip("the package is not installed here")
    one = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    two = subprocess.run([sys.executable, "-m", "mlcpc", "--version"], cwd=ROOT,
                         capture_output=True, text=True, check=True)  # fmt: skip
    assert one.stdout == two.stdout == f"mlcpc {mlcpc.__version__}\n"
