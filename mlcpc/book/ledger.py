"""The ledger: every numbered statement of the book is checked, and its false twin is broken.

A check cell calls :func:`holds` with the label of a statement, and :func:`breaks` with the same
label and a statement that is slightly too strong. Both take an *excess*: how far the claim is from
being true, so that a claim "J ≤ I" passes J − I and an equality passes |left − right|.

When the cell has run, one short line for each statement says what all its calls have shown, such
as "checked: exact, margin 1e-3, twin broken by 0.12 (thm-cpc)". The metadata of that line is what
the ledger page is made from.
"""

from collections.abc import Sequence

import numpy as np

ROUNDING = 1e-9
KINDS = ("exact enumeration", "symbolic", "numeric", "search")
KEY = "mlcpc_checks"  # of the metadata: a list of checks, each a dictionary

_waiting: list[dict] = []  # checks of the cell that is running, not yet shown


def holds(label: str, excess: object, kind: str, allowed: float = ROUNDING) -> None:
    """Record that a statement held: its largest excess is at most ``allowed``.

    Args:
        label: label of the theorem, lemma, proposition or corollary.
        excess: number, array or tensor; how far each instance is from true (≤ 0 is true).
        kind: one of ``KINDS``.
        allowed: largest excess that still counts as true, in the unit of the excess.

    Raises:
        AssertionError: an instance exceeds ``allowed``, or is NaN.
        ValueError: unknown kind, empty excess, negative ``allowed``.
    """
    if not allowed >= 0:
        raise ValueError(f"allowed is {allowed}; valid: at least 0")
    worst, instances = _worst(excess, kind)
    if not worst <= allowed:
        raise AssertionError(f"{label} fails: excess {worst:.3g}, allowed {allowed:g}")
    _record(label=label, claim="true", kind=kind, excess=worst, limit=allowed, instances=instances)


def breaks(label: str, twin: str, excess: object, kind: str, at_least: float) -> None:
    """Record that a false twin of a statement was broken: its excess reaches ``at_least``.

    Args:
        label: label of the true statement.
        twin: what the false twin says instead, in a few words.
        excess: number, array or tensor; how far each instance is from true.
        kind: one of ``KINDS``.
        at_least: excess that some instance must reach, above zero.

    Raises:
        AssertionError: no instance reaches ``at_least``: the check could not fail.
        ValueError: unknown kind, empty excess, ``at_least`` not above zero.
    """
    if not at_least > 0:
        raise ValueError(f"at_least is {at_least}; valid: above 0")
    worst, instances = _worst(excess, kind)
    if not worst >= at_least:
        raise AssertionError(
            f"the false twin of {label} ({twin}) was not broken: "
            f"largest excess {worst:.3g}, needed {at_least:g}"
        )
    _record(label=label, claim="false twin", twin=twin, kind=kind, excess=worst, limit=at_least,
            instances=instances)


def line(checks: Sequence[dict]) -> str:
    """What the reader sees of the checks of one statement in one cell.

    The *margin* is how far the closest instance stays from making the statement false; below
    ``ROUNDING`` the instance is one of equality. An *error* is an excess above rounding that the
    check allows, and says so.

    Args:
        checks: what one cell recorded of one label, as dictionaries with "label", "claim", "kind",
            "excess" and "limit".
    """
    true = [check for check in checks if check["claim"] == "true"]
    twins = [check["excess"] for check in checks if check["claim"] != "true"]
    kinds = dict.fromkeys(check["kind"].removesuffix(" enumeration") for check in true or checks)
    parts = [" and ".join(kinds)]
    if true:
        worst = max(check["excess"] for check in true)
        if worst > ROUNDING:
            limit = max(check["limit"] for check in true)
            parts.append(f"error {worst:.1g} of {limit:.1g} allowed")
        else:
            parts.append("margin below 1e-9" if worst > -ROUNDING else f"margin {-worst:.2g}")
    if twins:
        word = "twin" if len(twins) == 1 else "twins"
        parts.append(f"{word} broken by " + ", ".join(f"{excess:.2g}" for excess in twins))
    return f"checked: {', '.join(parts)} ({checks[0]['label']})"


def _show() -> None:
    """Publish a line for each statement that was checked since the last call."""
    from IPython.display import publish_display_data

    checks, _waiting[:] = list(_waiting), []
    for label in dict.fromkeys(check["label"] for check in checks):
        of_label = [check for check in checks if check["label"] == label]
        publish_display_data({"text/plain": line(of_label)}, {KEY: of_label})


def _worst(excess: object, kind: str) -> tuple[float, int]:
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; valid: {', '.join(KINDS)}")
    # A list may hold tensors of different shapes, so each entry is flattened by itself.
    entries = excess if isinstance(excess, (list, tuple)) else [excess]
    values = [np.asarray(entry, dtype=float).ravel() for entry in entries]
    values = np.concatenate(values) if values else np.empty(0)
    if values.size == 0:
        raise ValueError("excess is empty; valid: at least one instance")
    return float(values.max()), values.size


def _record(**check: object) -> None:
    """Keep a check until its cell has run; without a notebook it is shown at once."""
    from IPython import get_ipython

    _waiting.append(check)
    shell = get_ipython()
    if shell is None:
        _show()
    else:
        shell.events.register("post_run_cell", _after_cell)  # once, however often it is asked


def _after_cell(result: object) -> None:
    _show()
