"""A table as LaTeX."""

from __future__ import annotations

from quantbench.console import clean
from quantbench.report.tables.table import MISSING, Item, Table, letter, marks, numeric_columns, sentence

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


def as_latex(table: Table) -> str:
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
        rf"\caption{{{_latex_text(sentence(table.title))} {_latex_text(table.caption)}}}",
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


def _widest(table: Table, place: int) -> int:
    return max((len(row[place].text) for row in table.rows), default=0)


def _latex_text(text: str) -> str:
    return clean(text).translate(LATEX)


def _latex_item(item: Item) -> str:
    text = _latex_text(item.text)
    if item.value is not None and text.startswith("-"):
        text = f"$-${text[1:]}"  # a minus, not a hyphen
    confidence = rf"\textsuperscript{{{_latex_text(letter(item))}}}" if item.confidence else ""
    # A cell that begins with [ would be taken for the argument of the line break before it.
    guard = "{}" if text.startswith(("[", "*")) else ""
    shown = rf"\textbf{{{text}}}" if item.best else text
    return f"{guard}{shown}{marks(item).translate(LATEX)}{confidence}"
