"""Local sources of AWS credentials: a container's endpoint, and STS.

The server answers from its own thread, so that a test can detect a client that blocks its event
loop, and a test can hold an answer back. Signatures are not checked here. Only an AWS account can
show that AWS answers in this way.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

import pytest
from typing_extensions import override

SECRET: Final = "canary-secret-key"  # noqa: S105
SESSION: Final = "canary-session-token"
HELD_S_MAX: Final = 20.0
_STS: Final = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAWEB{n}</AccessKeyId>
<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{session}</SessionToken>
<Expiration>{expiration}</Expiration></Credentials><AssumedRoleUser>
<Arn>arn:aws:sts::123456789012:assumed-role/parity/worker</Arn><AssumedRoleId>A:w</AssumedRoleId>
</AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


class CredentialServer:
    """Issues credentials that live ``life_s``. The key id of the n-th answer ends in n."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.life_s = 3600.0
        self.secret = SECRET
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.identities: list[str] = []
        """The web identities of the requests."""
        self.answers = 0

    def expiration(self) -> str:
        return (datetime.now(UTC) + timedelta(seconds=self.life_s)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def wait(self) -> bool:
        """Record a request, and wait until it may be answered. Return False if that never comes."""
        self.asked.set()
        allowed = self.may_answer.wait(HELD_S_MAX)
        self.answers += 1
        return allowed

    def for_container(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{self.url}/credentials")

    def for_web_identity(self, environment: pytest.MonkeyPatch, token_file: Path) -> None:
        token_file.write_text("web-identity", encoding="utf-8")
        environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token_file))
        environment.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/parity")
        environment.setenv("AWS_ENDPOINT_URL_STS", self.url)
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")


class _Handler(BaseHTTPRequestHandler):
    credentials: CredentialServer

    def do_GET(self) -> None:
        """Answer like the agent of a container."""
        server = self.credentials
        allowed = server.wait()
        found = {
            "AccessKeyId": f"ASIACONTAINER{server.answers}",
            "SecretAccessKey": server.secret,
            "Token": SESSION,
            "Expiration": server.expiration(),
        }
        self._answer(allowed, "application/json", json.dumps(found))

    def do_POST(self) -> None:
        """Answer like STS."""
        server = self.credentials
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        server.identities += form["WebIdentityToken"]
        allowed = server.wait()
        text = _STS.format(
            n=server.answers, secret=server.secret, session=SESSION, expiration=server.expiration()
        )
        self._answer(allowed, "text/xml", text)

    def _answer(self, allowed: bool, kind: str, text: str) -> None:
        body = text.encode() if allowed else b""
        self.send_response(200 if allowed else 400)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def credential_server() -> Iterator[CredentialServer]:
    class Handler(_Handler):
        """The handler of this server."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.credentials = made = CredentialServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()


def without_credentials(environment: pytest.MonkeyPatch) -> None:
    """Hide all AWS credentials of this machine."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    ):
        environment.delenv(name, raising=False)
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    environment.setenv("AWS_CONFIG_FILE", "/nonexistent")
