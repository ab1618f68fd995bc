"""Shape annotations are true: jaxtyping and beartype check them while chosen tests run again.

Not for every test: those of bad input pass on purpose what the annotations forbid.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOOK = "--jaxtyping-packages=mlcpc,beartype.beartype"
CHOSEN = (
    "equals_the_formula or equal_their_formulas or leading_dimensions or split or at_its_ends or "
    "equals_brute_force or batches_and or grouped_counts or mean_log_ratio or normal or round_trip "
    "or queue_form or both_views or known_ones or each_member or bilinear_and or broadcasts_to "
    "or transcription or changes_nothing or by_itself or any_size or gathering "
    "or renormalised or drawn_alike or all_samples_of or counts_all_places or leave_the_network "
    "or less_the_mean or equals_a_loop or counts_equal or is_the_share or on_the_sphere "
    "or minimum or harm or formulas or shifted or ceiling_minus or views_differ"
)

CHECKED = (
    *("allpairs", "bounds", "bounds_rivals", "critics", "distillation", "exact", "images"),
    *("memory", "networks", "pretrain", "probes", "problems"),
)


def test_annotations_hold_wherever_valid_input_goes():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HOOK, "-k", CHOSEN]
        + [f"tests/test_{name}.py" for name in CHECKED],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_shape_that_does_not_fit_is_caught():
    program = (
        "from jaxtyping import install_import_hook\n"
        "install_import_hook('mlcpc', 'beartype.beartype')\n"
        "import torch\n"
        "from mlcpc import bounds\n"
        "bounds.cpc(torch.zeros(3), torch.zeros(4, 2))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "TypeCheckError" in done.stderr
