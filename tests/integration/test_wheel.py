"""The distribution as it is installed, used by a project with module names of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
WITHIN_S = 200
PROGRAM = """
import json
import worker
import producers
from producers import *
from producers import load
from producers.encode import encode
from producers.language import partition_of

order = PlaceOrder(
    market_id="rain", account_id="ann", order_id="1", side=Side.BUY, price=55, quantity=10,
    time_in_force=TimeInForce.GTC,
)
OrderPublisher("127.0.0.1:1")
print(json.dumps([worker.MINE, producers.__file__, json.loads(encode(order))["market_id"]]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory into which the wheel is installed. Libraries come from this Python."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--quiet"]
    wheel = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels)]
    subprocess.run([*wheel, str(REPOSITORY)], check=True, timeout=WITHIN_S)
    (built,) = wheels.glob("*.whl")
    install = [*pip, "install", *offline, "--target", str(target), str(built)]
    subprocess.run(install, check=True, timeout=WITHIN_S)
    return target


@pytest.mark.parametrize("own", ["worker.py", "worker/__init__.py"])
def test_client_works_next_to_another_worker(installed: Path, tmp_path: Path, own: str) -> None:
    """Before, the import ended with ModuleNotFoundError."""
    module = tmp_path / own
    module.parent.mkdir(exist_ok=True)
    module.write_text("MINE = True\n", encoding="utf-8")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.strip() == f'[true, "{installed}/producers/__init__.py", "rain"]'
