"""AWS's linter for DSQL, which knows some of the refused SQL. No complaint proves nothing."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

LINTER: Final = Path(sys.executable).parent / "dsql-lint"


def complaints(texts: Iterable[str]) -> Mapping[str, object]:
    """Return the linter's complaints by text, without the accepted texts."""
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, text in enumerate(sorted(texts)):
            path = Path(folder, f"{number}.sql")
            path.write_text(f"{text.rstrip().rstrip(';')};\n", encoding="utf-8")
            files[path.name] = text
        paths = [str(Path(folder, name)) for name in files]
        command = [str(LINTER), "--format", "json", *paths]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        found = json.loads(run.stdout)["files"]
    assert len(found) == len(files)
    return {
        files[Path(each["file"]).name]: each["diagnostics"] or each["error"]
        for each in found
        if each["diagnostics"] or each["error"]
    }
