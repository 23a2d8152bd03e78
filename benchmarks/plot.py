"""The figures as a picture: one panel for each that has a bound."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Figure

_GOOD, _BAD, _LINE = "#2a9d8f", "#d1495b", "#333333"


def draw(figures: list[Figure], caption: str, file: Path) -> None:
    """Each turn as a dot, the median as a bar, the bound as a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [figure for figure in figures if figure.bound is not None]
    sheet, panels = pyplot.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.6))
    for panel, figure in zip(panels, shown, strict=True):
        assert figure.bound is not None
        panel.bar([0], [figure.value], width=0.5, color=_GOOD if figure.kept else _BAD)
        panel.plot([0] * len(figure.turns), figure.turns, "o", color=_LINE, ms=3, alpha=0.6)
        panel.axhline(figure.bound, color=_LINE, ls="--", lw=1)
        sign = "at least" if figure.at_least else "at most"
        panel.set_title(f"{figure.name}\n{sign} {figure.bound:.3g} {figure.unit}", fontsize=8)
        panel.set_xlim(-0.6, 0.6)
        panel.set_ylim(0, max(*figure.turns, figure.bound) * 1.15)
        panel.set_xticks([])
        panel.tick_params(labelsize=7)
        panel.text(0, figure.value / 2, f"{figure.value:.3g}", ha="center", color="white")
    sheet.text(0.5, 0.01, caption, ha="center", fontsize=6)
    sheet.tight_layout(rect=(0, 0.04, 1, 1))
    sheet.savefig(file, dpi=150)
    pyplot.close(sheet)
