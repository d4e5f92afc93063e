"""Apache Kafka with TLS and bearer tokens, like Amazon MSK with IAM.

The broker accepts unsecured JSON Web Tokens, whereas MSK accepts presigned URLs. The tests show how
tokens reach the broker and what happens when they expire, not their content.
"""

import json
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from tests.support.tls_terminator import CA_FILE, TLS
from worker.adapters.iam import TokenCache
from worker.adapters.kafka.iam import BearerTokens
from worker.adapters.kafka.settings import Security, encrypted
from worker.embedded import EmbeddedKafka
from worker.embedded import kafka as embedded
from worker.embedded.process import free_port

_LOGIN = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"

ISSUED_BEFORE_S = 600


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """Addresses of one cluster: with TLS and token, with TLS only, and plain."""

    bootstrap: str
    encrypted: str
    plain: str


@contextmanager
def secure_kafka(**settings: str) -> Iterator[SecureKafka]:
    """Start a broker. ``settings`` are those of its listener with tokens."""
    port, controller_port, secure_port, tls_port = (free_port() for _ in range(4))
    plain = f"PLAINTEXT://127.0.0.1:{port}"
    secure = f"TOKEN://localhost:{secure_port},ENCRYPTED://localhost:{tls_port}"
    own, tls = "listener.name.token", "listener.name.encrypted"
    config = {
        "listeners": f"{plain},CONTROLLER://127.0.0.1:{controller_port},{secure}",
        "advertised.listeners": f"{plain},{secure}",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TOKEN:SASL_SSL,ENCRYPTED:SSL"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        **{f"{listener}.ssl.keystore.type": "PEM" for listener in (own, tls)},
        **{f"{listener}.ssl.keystore.location": str(TLS / "right.pem") for listener in (own, tls)},
        f"{own}.sasl.enabled.mechanisms": "OAUTHBEARER",
        **{f"{own}.{name.replace('_', '.')}": value for name, value in settings.items()},
        f"{own}.oauthbearer.sasl.jaas.config": f'{_LOGIN} unsecuredLoginStringClaim_sub="broker";',
    }
    ports = iter((port, controller_port))
    with pytest.MonkeyPatch.context() as patch:
        # The listeners' configuration needs the ports, which are otherwise chosen later.
        patch.setattr(embedded, "free_port", lambda: next(ports))
        server = EmbeddedKafka.start(config=config)
    with server:
        yield SecureKafka(f"localhost:{secure_port}", f"localhost:{tls_port}", f"127.0.0.1:{port}")


class Issuer:
    """Issues tokens that live ``life_s``. If ``reused``, each serves many connections.

    The broker refuses the tokens with numbers in ``refused``, counted from 0, as expired.
    """

    def __init__(self, *, life_s: float, reused: bool, refused: Container[int] = ()) -> None:
        self._life_s = life_s
        self._refused = refused
        self.minted: list[str] = []
        self.failing = False
        self.asked_in_vain = 0
        # A clock that jumps makes every token too old for a second use.
        leaps = count(step=1_000_000)
        clock = time.monotonic if reused else lambda: float(next(leaps))
        self.tokens = BearerTokens(TokenCache("a test", self._mint, clock))

    def security(self) -> Security:
        """Return TLS with the tests' authority and these tokens."""
        context: ssl.SSLContext | None = encrypted(str(CA_FILE)).ssl_context
        return Security(
            protocol="SASL_SSL",
            ssl_context=context,
            mechanism="OAUTHBEARER",
            token_provider=self.tokens,
        )

    async def _mint(self) -> str:
        if self.failing:
            self.asked_in_vain += 1
            raise ConnectionRefusedError("no credentials")
        now_s = time.time()
        life_s = -1.0 if len(self.minted) in self._refused else self._life_s
        # The broker may consider a token of the same millisecond as issued in the future.
        claims = {"sub": "parity", "iat": now_s - ISSUED_BEFORE_S, "exp": now_s + life_s}
        parts = ({"alg": "none"}, claims)
        token = "".join(f"{_encoded(part)}." for part in parts)
        self.minted.append(token)
        return token


def _encoded(part: object) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
