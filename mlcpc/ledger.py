"""The ledger: every numbered statement of the book is checked, and its false twin is broken.

A check cell calls :func:`holds` with the label of a statement, and :func:`breaks` with the same
label and a statement that is slightly too strong. Both take an *excess*: how far the claim is from
being true, so that a claim "J ≤ I" passes J − I and an equality passes |left − right|. The line
they print is what the reader sees; its metadata is what the ledger page is made from.
"""

import numpy as np

ROUNDING = 1e-9
KINDS = ("exact enumeration", "symbolic", "numeric", "search")


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
    line = f"{label} holds: {kind}, {_count(instances)}, largest excess {_rounded(worst)}"
    _show(line, label=label, claim="true", kind=kind, excess=worst, limit=allowed)


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
    line = f"{label} false twin ({twin}) broken: {kind}, {_count(instances)}, by {_rounded(worst)}"
    _show(line, label=label, claim="false twin", twin=twin, kind=kind, excess=worst, limit=at_least)


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


def _count(instances: int) -> str:
    return "1 instance" if instances == 1 else f"{instances:,} instances"


def _rounded(value: float) -> str:
    """Two digits, or 0 below what float64 sums can tell apart: stable from machine to machine."""
    return "0" if abs(value) < ROUNDING else f"{value:.1e}"


def _show(line: str, **check: object) -> None:
    from IPython.display import publish_display_data

    publish_display_data({"text/plain": line}, {"mlcpc_check": check})
