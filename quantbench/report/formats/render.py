"""A table as Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

from quantbench.console import clean
from quantbench.report.formats.csv import as_csv, plain
from quantbench.report.tables.table import CONFIDENCES, MISSING, Item, Table, numeric_columns
from quantbench.results.files import write_text

WIDE = 40  # characters of a text that LaTeX has to break
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedblright{}",
        "'": r"\textquotesingle{}",
        "`": r"\textasciigrave{}",
        "±": r"$\pm$",
        "∞": r"$\infty$",
        MISSING: "--",
        "↓": r"$\downarrow$",
        "‡": r"$\ddagger$",
    }
)


def write(table: Table, folder: Path) -> list[Path]:
    """Write a table in all its formats as `<name>.md`, `.tex`, `.csv` and `.html`; returns the files.

    Raises:
        Unwritable: the folder cannot be written.
    """
    paths = [folder / f"{table.name}.{kind}" for kind in table.formats]
    for kind, path in zip(table.formats, paths, strict=True):
        write_text(path, RENDERERS[kind](table))
    return paths


def markdown(table: Table) -> str:
    """GitHub's Markdown with title, caption and notes."""
    head = f"### {markdown_text(table.title)}\n\n{markdown_text(table.caption)}\n\n"
    notes = "".join(f"- {markdown_text(note)}\n" for note in table.notes)
    return f"{head}{markdown_rows(table)}\n{chr(10) if notes else ''}{notes}"


def markdown_rows(table: Table) -> str:
    """The rows alone, in padded columns, to be read as they are too."""
    numeric = numeric_columns(table)
    grid = [[_markdown_cell(column) for column in table.columns]]
    grid += [[_markdown_item(item) for item in row] for row in table.rows]
    widths = [max(3, *(len(line[place]) for line in grid)) for place in range(len(table.columns))]
    lines = [
        "| " + " | ".join(_padded(*cell) for cell in zip(line, widths, numeric, strict=True)) + " |" for line in grid
    ]
    rule = [f"{'-' * (width - 1)}{':' if right else '-'}" for width, right in zip(widths, numeric, strict=True)]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def latex(table: Table) -> str:
    r"""A `table` environment, at most as wide as the line; needs \usepackage{booktabs,graphicx,textcomp}."""
    numeric, wide = numeric_columns(table), [_widest(table, place) > WIDE for place in range(len(table.columns))]
    share = 0.9 / max(1, sum(wide))
    kinds = [
        f"p{{{share:.2f}\\linewidth}}" if broken else "r" if right else "l"
        for broken, right in zip(wide, numeric, strict=True)
    ]
    rows = [" & ".join(_latex_item(item) for item in row) for row in table.rows]
    notes = " \\\\\n".join(_latex_text(note) for note in table.notes)
    lines = [
        r"% needs \usepackage{booktabs,graphicx,textcomp}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{_latex_text(_sentence(table.title))} {_latex_text(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\footnotesize",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{''.join(kinds)}}}",
        r"\toprule",
        f"{' & '.join(_latex_text(column) for column in table.columns)} \\\\",
        r"\midrule",
        *(f"{row} \\\\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *([f"\\par\\smallskip\n\\parbox{{\\linewidth}}{{\\scriptsize\\raggedright\n{notes}}}"] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def html_table(table: Table) -> str:
    """A fragment of a page: the table, sortable by the `data-value` of its cells, and its notes."""
    numeric = numeric_columns(table)
    columns = "".join(
        f'<th scope="col"{_class("number" if right else "")}>{_escaped(column)}</th>'
        for column, right in zip(table.columns, numeric, strict=True)
    )
    rows = [
        f"<tr{_class('paper' if row and row[0].paper else '')}>"
        + "".join(_html_item(item, right) for item, right in zip(row, numeric, strict=True))
        + "</tr>"
        for row in table.rows
    ]
    notes = "".join(f"<li>{_escaped(note)}</li>\n" for note in table.notes)
    return (
        f'<table class="sortable" id="{_escaped(table.name)}">\n'
        f"<caption><strong>{_escaped(_sentence(table.title))}</strong> {_escaped(table.caption)}</caption>\n"
        f"<thead>\n<tr>{columns}</tr>\n</thead>\n<tbody>\n{chr(10).join(rows)}\n</tbody>\n</table>\n"
        + (f'<ul class="notes">\n{notes}</ul>\n' if notes else "")
    )


RENDERERS: dict[str, Callable[[Table], str]] = {"md": markdown, "tex": latex, "csv": as_csv, "html": html_table}


def _sentence(title: str) -> str:
    return title if title.endswith((".", "?", "!")) else f"{title}."


def _widest(table: Table, place: int) -> int:
    return max((len(row[place].text) for row in table.rows), default=0)


def _letter(item: Item) -> str:
    return CONFIDENCES.get(item.confidence, item.confidence)


def _marks(item: Item) -> str:
    return f"{' ↓' if item.large_drop else ''}{' ‡' if item.flagged else ''}"


def _padded(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def markdown_text(text: str) -> str:
    """A text that comes out of Markdown as it went in, on one line."""
    # Underscores inside words are no emphasis; escaping them would spoil every name.
    escaped = re.sub(r"([\\*`<])|(?<![^\W_])(_)|(_)(?![^\W_])", r"\\\g<0>", clean(text))
    return escaped.replace("](", "]\\(")


def _markdown_cell(text: str) -> str:
    return markdown_text(text).replace("|", "\\|")


def _markdown_item(item: Item) -> str:
    text = _markdown_cell(item.text)
    letter = f" ({_letter(item)})" if item.confidence else ""
    return f"{f'**{text}**' if item.best else text}{_marks(item)}{letter}"


def _latex_text(text: str) -> str:
    return clean(text).translate(LATEX)


def _latex_item(item: Item) -> str:
    text = _latex_text(item.text)
    if item.value is not None and text.startswith("-"):
        text = f"$-${text[1:]}"  # a minus, not a hyphen
    letter = rf"\textsuperscript{{{_latex_text(_letter(item))}}}" if item.confidence else ""
    # A cell that begins with [ would be taken for the argument of the line break before it.
    guard = "{}" if text.startswith(("[", "*")) else ""
    shown = rf"\textbf{{{text}}}" if item.best else text
    return f"{guard}{shown}{_marks(item).translate(LATEX)}{letter}"


def _escaped(text: str) -> str:
    return html.escape(clean(text))


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _html_item(item: Item, numeric: bool) -> str:
    flags = {"number": numeric, "best": item.best, "drop": item.large_drop, "off": item.flagged, "paper": item.paper}
    value = "" if item.value is None else f' data-value="{plain(item.value)}"'
    title = f' title="{_escaped(item.note)}"' if item.note else ""
    text = f"<strong>{_escaped(item.text)}</strong>" if item.best else _escaped(item.text)
    letter = f"<sup>{_escaped(_letter(item))}</sup>" if item.confidence else ""
    classes = _class(" ".join(name for name, is_so in flags.items() if is_so))
    return f"<td{classes}{value}{title}>{text}{_marks(item)}{letter}</td>"
