"""An explanation as a file: a picture, a table, or data with everything that was asked and answered."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from PySide6.QtGui import QPixmap

from inference.events import to_json
from views.models.explaining import ExplanationModel
from views.models.explanation_scores import ExplanationScores


def write_explanation(model: ExplanationModel, kind: str, path: Path, picture: Callable[[], QPixmap]) -> None:
    """Write the result that is shown to ``path``; ``kind`` is "png", "csv" or "json".

    Raises:
        OSError: The file cannot be written.
    """
    result = model.result
    if result is None:
        raise OSError("nothing was explained")
    if kind == "png":
        if not picture().save(str(path), "PNG"):
            raise OSError(f"{path} cannot be written")
    elif kind == "csv":
        path.write_text(to_csv(result), encoding="utf-8", newline="")
    else:
        path.write_text(to_json_text(model), encoding="utf-8")


def to_csv(result: ExplanationScores) -> str:
    """One line a segment: where it is, its text, and a score for each row; empty where not computed."""
    out = io.StringIO()
    writer = csv.writer(out)
    names = [target.text for target in result.targets]
    writer.writerow(["start", "end", "label", "text", "whole", *names])
    for index, segment in enumerate(result.segments):
        scores = [result.value(index), *(row[index] for row in result.rows)]
        cells = ["" if score is None else repr(score) for score in scores]
        writer.writerow([segment.start, segment.end, segment.label, segment.text, *cells])
    return out.getvalue()


def to_json_text(model: ExplanationModel) -> str:
    """The results of all methods on this target, and how they compare."""
    whole = {
        "format": "model-loupe-explanation",
        "version": 1,
        "results": [_result(result) for result in model.results.values()],
        "comparison": to_json(model.compared) if model.compared is not None else None,
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _result(result: ExplanationScores) -> dict[str, object]:
    return {
        "method": to_json(result.spec),
        "target": result.target_text,
        "contrast": result.contrast or None,
        "granularity": result.granularity,
        "context": result.context,
        "segments": to_json(result.segments),
        "targets": to_json(result.targets),
        "scores": result.rows,
        "complete": result.complete,
        "forward_passes": result.final.forward_passes if result.final is not None else None,
        "seconds": result.final.seconds if result.final is not None else None,
    }
