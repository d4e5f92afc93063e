"""IAM tokens, created without blocking the event loop and cached for most of their life.

A token is a presigned URL. Creating one is a local computation, unless the credential chain needs
the network, which aiobotocore uses asynchronously.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader

from worker.ports import Monotonic

TOKEN_LIFE_S: Final = 900
"""Validity of a token. A connection outlives the token that opened it."""
CREDENTIALS_LEFT_S: Final = 600
"""Remaining life at which botocore renews credentials. A token expires with its credentials."""
REUSED_S: Final = 0.8 * min(TOKEN_LIFE_S, CREDENTIALS_LEFT_S)
MINT_TIMEOUT_S: Final = 10.0

_COMMON_MODELS: Final = ("endpoints", "partitions", "sdk-default-configuration", "_retry")


class NoToken(Exception):
    """The credential chain gave no token, or none in time. The text contains no secret."""


class TokenCache:
    """A cache of one token. Concurrent callers wait for the same new token."""

    def __init__(self, what: str, mint: Callable[[], Awaitable[str]], clock: Monotonic) -> None:
        self._what, self._mint, self._clock = what, mint, clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._reused_until_s = 0.0

    async def token(self) -> str:
        """Return a token that is valid for some minutes. Raises NoToken."""
        async with self._lock:
            if not self._token or self._clock() >= self._reused_until_s:
                minted_at_s = self._clock()
                self._token = await self._minted()
                self._reused_until_s = minted_at_s + REUSED_S
            return self._token

    def forget(self) -> None:
        """Drop the token, which was refused. The next call creates another."""
        self._token = ""

    async def _minted(self) -> str:
        try:
            async with asyncio.timeout(MINT_TIMEOUT_S):
                return await self._mint()
        except (BotoCoreError, ClientError, TimeoutError, OSError) as error:
            # Only the error's class, because its text may quote a credential.
            raise NoToken(f"no IAM token for {self._what}: {type(error).__name__}") from None


async def prepared_session(models: Mapping[str, Sequence[str]]) -> AioSession:
    """Return a session that has loaded ``models`` and the models that finding credentials needs.

    botocore would load them on first use, in the event loop, for 200 ms. A thread loads them here.
    """
    session: AioSession = get_session()  # type: ignore[no-untyped-call]
    needed = {"sts": ("service-2", "endpoint-rule-set-1"), **models}
    loader = session.get_component("data_loader")  # type: ignore[no-untyped-call]
    await asyncio.to_thread(_load, loader, needed)
    return session


def _load(loader: Loader, models: Mapping[str, Sequence[str]]) -> None:
    for service, kinds in models.items():
        for kind in kinds:
            loader.load_service_model(service, kind)
    for name in _COMMON_MODELS:
        loader.load_data(name)  # type: ignore[no-untyped-call]
