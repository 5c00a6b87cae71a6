"""Shows docstrings on the site as they stand in the code, where columns are aligned by spaces."""

from __future__ import annotations

from typing import Any

import griffe


class Verbatim(griffe.Extension):
    """Puts each docstring into a block of plain text."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Wrap the docstring of a module, class, function or attribute."""
        if obj.docstring is not None and not obj.docstring.value.startswith("```"):
            obj.docstring.value = f"```text\n{obj.docstring.value}\n```"
