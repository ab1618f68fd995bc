"""Quizzes: questions with one right option and a word on each, before the end of a page.

A quiz is one file, quizzes/NAME.yml. It becomes plain HTML: radio buttons, whose feedback a style
sheet shows. So it needs no kernel, works with the keyboard, and without scripts. A notebook knows
nothing of its quiz.
"""

import re
from html import escape
from pathlib import Path
from zlib import crc32

import yaml

FOLDER = Path("quizzes")  # below the folder of the sources
LEAST, MOST = 5, 8  # questions of a page
PLACE = '<section id="what-survives">'


class Fault(ValueError):
    """A quiz that is not as it must be."""


def faults(questions: object) -> list[str]:
    """What is wrong with the questions of a page."""
    if not isinstance(questions, list) or not LEAST <= len(questions) <= MOST:
        count = len(questions) if isinstance(questions, list) else "no"
        return [f"{count} questions; valid: {LEAST} to {MOST}"]
    found = []
    for number, question in enumerate(questions, start=1):
        here = f"question {number}"
        if not isinstance(question, dict) or set(question) != {"ask", "options"}:
            found.append(f"{here} must have `ask` and `options`")
            continue
        options = question["options"]
        for option in options:
            if (not isinstance(option, list) or len(option) != 3 or type(option[0]) is not bool
                    or not all(isinstance(text, str) and text.strip() for text in option[1:])):
                found.append(f"{here}: {option} is not [true or false, option, feedback]")
                break
        else:
            right = sum(option[0] for option in options)
            texts = [option[1] for option in options]
            found += [f"{here} has {right} right options; valid: exactly 1"] if right != 1 else []
            found += [f"{here} has {len(options)} options; valid: 3 to 5"] if not (
                3 <= len(options) <= 5) else []
            found += [f"{here} has an option twice"] if len(set(texts)) < len(texts) else []
            said = [option[2] for option in options]
            found += [f"{here} says the same of two options"] if len(set(said)) < len(said) else []
    asked = [question["ask"] for question in questions if isinstance(question, dict)
             and "ask" in question]
    found += ["a question stands twice"] if len(set(asked)) < len(asked) else []
    return found


def read(path: Path) -> list[dict]:
    """The questions of a file."""
    try:
        questions = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Fault(f"{path} is no YAML: {error}") from None
    found = faults(questions)
    if found:
        raise Fault("\n".join(f"{path}: {fault}" for fault in found))
    return questions


def inline(text: str) -> str:
    """Text with formulas and code as HTML."""
    parts = re.split(r"(\$[^$]+\$|`[^`]+`)", text)
    for place, part in enumerate(parts):
        if part.startswith("$"):
            parts[place] = (r'<span class="math notranslate nohighlight">\('
                            + escape(part[1:-1]) + r"\)</span>")
        elif part.startswith("`"):
            parts[place] = f"<code>{escape(part[1:-1])}</code>"
        else:
            parts[place] = escape(part)
    return "".join(parts)


def named(text: str) -> str:
    """A name in words for an option that is a formula alone: its label holds a drawing."""
    if not re.fullmatch(r"\s*\$[^$]+\$\.?\s*", text):
        return ""
    return f'aria-label="{escape(text.strip(" $."), quote=True)}" '


def shuffled(options: list, ask: str) -> list:
    """The options in an order that says nothing of the right one, the same in every build."""
    return sorted(options, key=lambda option: crc32((ask + option[1]).encode()))


def html(questions: list[dict]) -> str:
    """The quiz of a page as a section of HTML."""
    lines = ['<section id="quiz" class="quiz">', "<h2>Quiz</h2>",
             "<p>One option of each question is right. Choose, and read what is said of it.</p>"]
    for number, question in enumerate(questions, start=1):
        lines += ["<fieldset>", f"<legend>{number}. {inline(question['ask'])}</legend>"]
        for place, (right, text, said) in enumerate(shuffled(question["options"], question["ask"])):
            mark = f"quiz-{number}-{place}"
            kind = "right" if right else "wrong"
            lines += [
                '<div class="quiz-option">',
                f'<input type="radio" name="quiz-{number}" id="{mark}" data-quiz="{kind}" '
                + named(text) + f'aria-describedby="{mark}-said">',
                f'<label for="{mark}">{inline(text)}</label>',
                f'<p class="quiz-{kind}" id="{mark}-said"><strong>{kind.capitalize()}.</strong> '
                f"{inline(said)}</p>", "</div>"]
        lines.append("</fieldset>")
    return "\n".join([*lines, '<p><output class="quiz-count" aria-live="polite"></output></p>',
                      "</section>"]) + "\n"


def insert(body: str, quiz: str) -> str:
    """A page with its quiz before the last section, or at the end if that has another name."""
    before, place, after = body.rpartition(PLACE)
    return before + quiz + place + after if place else body + quiz


def add(app, pagename, templatename, context, doctree) -> None:
    path = Path(app.srcdir) / "book" / FOLDER / f"{Path(pagename).name}.yml"
    if not path.is_file():
        path = Path(app.srcdir) / FOLDER / path.name
    if "chapters/" in pagename and path.is_file() and context.get("body"):
        context["body"] = insert(context["body"], html(read(path)))


def setup(app) -> dict:
    app.connect("html-page-context", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
