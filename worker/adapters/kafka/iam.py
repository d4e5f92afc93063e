"""IAM for Amazon MSK. Its OAUTHBEARER token is a presigned ``kafka-cluster:Connect`` in base64.

The broker ends a session when its token expires, and aiokafka cannot renew one (A28). It connects
again with a new token. To the worker that is a broken connection like any other.

A broker may also refuse a token, because the token is too old, the clocks differ, or too many
clients connect at once. It sends a challenge, and the error only in reply to one more byte
(RFC 7628, 3.2.3). aiokafka does not read the challenge and continues as if it were authenticated
(A37). Its requests then fail, and the first metadata lists no brokers, so it has no broker to ask
again and hangs. `Dialogue` sends that byte, so that a refusal is a failed connection.
"""

import re
from base64 import urlsafe_b64encode
from typing import Final

from aiobotocore.session import AioSession
from aiokafka import conn
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from typing_extensions import override

from worker.adapters.iam import TOKEN_LIFE_S, NoToken, TokenCache, prepared_session
from worker.adapters.system import system
from worker.errors import ConfigError
from worker.ports import Monotonic

_BROKER: Final = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com")
_SERVICE: Final = "kafka-cluster"
_AGENT: Final = "parity"
_GO_ON: Final = b"\x01"
PAUSE_S: Final = 1.0
"""Average pause between two tries. MSK limits how often a client may connect."""
_SYSTEM: Final = system()


def region_of(bootstrap_servers: str) -> str:
    """Return the region in the names of MSK's brokers. Raises ConfigError if there is none."""
    found = _BROKER.search(bootstrap_servers)
    if found is None:
        raise ConfigError(
            f"PARITY_BOOTSTRAP_SERVERS={bootstrap_servers!r} has no MSK broker, whose name would"
            " have the region: set PARITY_KAFKA_REGION"
        )
    return found[1]


class BearerTokens(AbstractTokenProvider):
    """Tokens for aiokafka's connections, which share one until it is renewed."""

    def __init__(self, cache: TokenCache) -> None:
        self._cache = cache
        conn.OAuthAuthenticator = Dialogue  # type: ignore[misc]

    @override
    async def token(self) -> str:
        """Return a token. Raises KafkaConnectionError, after which aiokafka tries again."""
        try:
            return await self._cache.token()
        except NoToken as error:
            await _pause()
            raise KafkaConnectionError(str(error)) from error

    async def refused(self) -> None:
        """Drop the token, which the broker refused."""
        self._cache.forget()
        await _pause()


class Dialogue(OAuthAuthenticator):
    """An authenticator that notices a refusal. `BearerTokens` puts it in place of aiokafka's."""

    def __init__(self, *, sasl_oauth_token_provider: AbstractTokenProvider) -> None:
        super().__init__(sasl_oauth_token_provider=sasl_oauth_token_provider)  # type: ignore[no-untyped-call]
        self._provider = sasl_oauth_token_provider
        self._refusal = b""

    @override
    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        """Return the next bytes to send, or None at the end of the dialogue.

        Raises SaslAuthenticationFailed if the broker accepts the byte after its refusal.
        """
        if self._refusal:
            raise SaslAuthenticationFailed(self._refusal.decode(errors="replace"))
        if not payload:
            first: tuple[bytes, bool] | None = await super().step(payload)  # type: ignore[no-untyped-call]
            return first
        self._refusal = payload
        if isinstance(self._provider, BearerTokens):
            await self._provider.refused()
        return _GO_ON, True


def msk_tokens(region: str, clock: Monotonic) -> BearerTokens:
    """Return tokens for the MSK clusters of a region, from botocore's credential chain."""
    return BearerTokens(TokenCache(f"MSK in {region}", _Minting(region).mint, clock))


async def _pause() -> None:
    """Pause with jitter before aiokafka connects again, which takes it only 100 ms."""
    await _SYSTEM.sleep(PAUSE_S * _SYSTEM.random.uniform(0.5, 1.5))


class _Minting:
    """Presigned tokens. The session keeps the credentials and renews them in time."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._session: AioSession | None = None

    async def mint(self) -> str:
        session = self._session = self._session or await prepared_session({})
        credentials = await session.get_credentials()  # type: ignore[no-untyped-call]
        if credentials is None:
            raise NoCredentialsError
        frozen = await credentials.get_frozen_credentials()
        action = f"https://kafka.{self._region}.amazonaws.com/?Action=kafka-cluster%3AConnect"
        request = AWSRequest("GET", action)  # type: ignore[no-untyped-call]
        signer = SigV4QueryAuth(frozen, _SERVICE, self._region, TOKEN_LIFE_S)  # type: ignore[no-untyped-call]
        signer.add_auth(request)  # type: ignore[no-untyped-call]
        # Not signed, since the broker only logs it.
        url = f"{request.url}&User-Agent={_AGENT}"
        return urlsafe_b64encode(url.encode()).rstrip(b"=").decode()
