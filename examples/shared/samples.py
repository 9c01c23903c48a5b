"""The sample pictures, by name."""

from pathlib import Path

__all__ = ["SAMPLES"]

_FOLDER = Path(__file__).parents[1] / "pictures"
SAMPLES = {path.name: path for path in sorted(_FOLDER.iterdir()) if path.suffix in {".jpg", ".png"}}
