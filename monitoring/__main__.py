"""`python -m monitoring` writes the dashboards' files anew."""

from __future__ import annotations

from monitoring import panels
from monitoring.dashboards import FOLDER

for page in panels.PAGES:
    (FOLDER / f"{page.name}.json").write_text(panels.text(page))
