"""The paper's numbers beside ours: every line of results/paper.csv with the verdict of one rule.

The rule is `published.verdict`. Here stands only which record answers which number, and how far
apart the two may be.
"""

import re
from collections import Counter
from dataclasses import dataclass

from project import PAPER, RESULTS, Refusal, main, replacing
from registry import code, number, table

from mlcpc import records, statistics
from mlcpc.book import published
from mlcpc.experiments import base


@dataclass(frozen=True)
class Group:
    """Published numbers that one record answers.

    Args:
        title: heading.
        pattern: names of the numbers; its group `metric` is the name of our metric.
        record: name of our record; empty if there will be none.
        tolerance: how far apart the two may be.
        why: where the tolerance comes from, or why the numbers were not attempted.
    """

    title: str
    pattern: str
    record: str
    tolerance: published.Tolerance
    why: str


DIFFERENT = ("Their curve is one run and was read off a figure, and details of their training are "
             "not known.")
VARIANCE = published.Tolerance(factor=2.0, digit=0.0005)
SHORTER = ("Their curve is one run of 4,000 steps a level, of which the last 2,000 count, with 256 "
           "units a layer; a quick record of ours is shorter and narrower.")
OTHER_IMAGES = "Their images are digits, ours are clothes."
GROUPS = (
    Group("Bias, separable critic", r"(?P<metric>bias .*), separable",
          "staircase-gaussian-separable", published.Tolerance(0.5), DIFFERENT),
    Group("Variance, separable critic", r"(?P<metric>variance .*), separable",
          "staircase-gaussian-separable", VARIANCE, f"{DIFFERENT} A drawn line is thinned, too."),
    Group("Bias, joint critic", r"(?P<metric>bias .*), joint",
          "staircase-gaussian-joint", published.Tolerance(0.25), DIFFERENT),
    Group("Variance, joint critic", r"(?P<metric>variance .*), joint",
          "staircase-gaussian-joint", VARIANCE, f"{DIFFERENT} A drawn line is thinned, too."),
    Group("The demonstration of SMILE", r"smile demo: (?P<metric>bias .*), separable",
          "rivals-gaussian-separable", published.Tolerance(0.25),
          "Their batches are half of ours, which moves the ceiling of CPC by log 2, and a quick "
          "record of ours is trained a tenth as long."),
    Group("Known bits, sentences: values", r"known sentences: (?P<metric>value .*)",
          "known-information-sentences", published.Tolerance(0.25), SHORTER),
    Group("Known bits, sentences: variances", r"known sentences: (?P<metric>variance .*)",
          "known-information-sentences", published.Tolerance(factor=2.0, digit=0.0005), SHORTER),
    Group("Known bits, images: values", r"known images: (?P<metric>value .*)",
          "known-information-images", published.Tolerance(0.25), f"{SHORTER} {OTHER_IMAGES}"),
    Group("Known bits, images: variances", r"known images: (?P<metric>variance .*)",
          "known-information-images", published.Tolerance(factor=2.0, digit=0.0005),
          f"{SHORTER} {OTHER_IMAGES}"),
    Group("Distillation", r"pairs of 13 on which ML-CPC beats CRD", "", published.Tolerance(),
          "Their networks were trained on CIFAR-100, which the book does not have."),
    Group("Distillation, accuracies", r"cifar-100: .*", "", published.Tolerance(),
          "The book does not have CIFAR-100. Its pages on distillation have other images."),
)


def judged(name: str, theirs, group: Group) -> tuple[list[str], str]:
    """A row of the table, and the verdict that it holds."""
    answer, found = None, re.fullmatch(group.pattern, name).groupdict().get("metric")
    if group.record and (RESULTS / f"{group.record}.json").is_file():
        answer = records.read(group.record).metrics.get(found)
    verdict, by = published.verdict(theirs, answer, group.tolerance)
    shown = "none"
    if answer is not None and answer.numbers:
        ours = statistics.summary(answer)
        shown = number(ours.mean)
        if ours.interval:
            shown += f" [{', '.join(map(number, ours.interval))}]"
    said = f"{verdict} {by}".strip()
    return [code(name), f"{theirs.value:g} {theirs.unit}, {theirs.kind}", shown, said,
            theirs.note or " "], verdict


def reason(group: Group) -> str:
    """Why numbers of this group have no number of ours."""
    if not group.record:
        return group.why
    if not (RESULTS / f"{group.record}.json").is_file():
        return f"The record `{group.record}` has not been made."
    return "The record has no such number: the curve diverged or was left out."


def ours(name: str) -> str:
    """Our record, with its profile and state, since neither shows in its numbers."""
    if not (RESULTS / f"{name}.json").is_file():
        return code(name)
    record = records.read(name)
    return f"[{name}](records/{name}.md), profile {code(record.profile)}, {base.state(record)}"


def section(group: Group, numbers: dict) -> tuple[str, Counter]:
    rows, verdicts = zip(*(judged(name, each, group) for name, each in numbers.items()),
                         strict=True)
    counts = Counter(verdicts)
    lines = [f"## {group.title}", ""]
    if group.record:
        lines += [f"Source: {'; '.join(sorted({each.source for each in numbers.values()}))}. "
                  f"Ours: {ours(group.record)}. Tolerated: {group.tolerance}. {group.why}", ""]
    if counts["not attempted"]:
        lines += [f"Not attempted: {reason(group)}", ""]
    head = ["Number", "Published", "Ours, mean and interval", "Verdict", "Note"]
    return "\n".join([*lines, table(head, rows, "paper"), ""]), counts


def page(numbers: dict) -> str:
    """The page; every published number is in one group.

    Raises:
        Refusal: a number that no group, or more than one, is for.
    """
    members = {group: {} for group in GROUPS}
    for name, each in numbers.items():
        fitting = [group for group in GROUPS if re.fullmatch(group.pattern, name)]
        if len(fitting) != 1:
            raise Refusal(f"results/paper.csv: {name!r} belongs to {len(fitting)} groups of "
                          "book/_tools/paper.py; exactly one is needed")
        members[fitting[0]][name] = each
    sections, total = [], Counter()
    for group, its in members.items():
        if its:
            text, counts = section(group, its)
            sections.append(text)
            total += counts
    return "\n".join([
        "# Paper and ours", "",
        "Every published number that the book compares with, beside ours. One rule judges all. "
        "A number is *inside our interval*, or else *within tolerance*, or else it *differs*. "
        "It is *not comparable* if it is known to be wrong by an unknown amount, and "
        "*not attempted* if we have none. This page is made at every build.", "",
        table(["Verdict", "Numbers"], [[each, str(total[each])] for each in published.VERDICTS],
              "paper"), "", *sections,
    ])


def write() -> None:
    try:
        text = page(published.numbers())
    except ValueError as error:
        raise Refusal(str(error)) from None
    with replacing(PAPER) as scratch:
        scratch.write_text(text)


if __name__ == "__main__":
    main(write)
