"""IAM tokens for Aurora DSQL, minted without ever blocking the event loop.

A token is a presigned URL: minting is a local computation, unless the credential chain needs the
network, which aiobotocore does asynchronously. One client is kept; a token serves every connection
made within 80 % of its life, and concurrent callers wait for one minting, not for many.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from aiobotocore.client import AioBaseClient
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader

from worker.errors import Unavailable
from worker.ports import Monotonic

TOKEN_LIFE_S: Final = 900
"""How long a token may be used to connect; a connection outlives it."""
REUSED_SHARE: Final = 0.8
MINT_TIMEOUT_S: Final = 10.0


class DsqlTokens:
    """Tokens to connect to one cluster as one role. ``admin`` only migrates."""

    def __init__(
        self,
        host: str,
        region: str,
        *,
        admin: bool,
        clock: Monotonic,
        session: AioSession | None = None,
    ) -> None:
        self._host, self._region, self._admin = host, region, admin
        self._clock = clock
        self._session = session or get_session()  # type: ignore[no-untyped-call]
        self._lock = asyncio.Lock()
        self._open = AsyncExitStack()
        self._client: AioBaseClient | None = None
        self._token = ""
        self._reused_until_s = 0.0

    async def token(self) -> str:
        """Return a token that is good for at least a fifth of its life. Raises Unavailable."""
        async with self._lock:
            if not self._token or self._clock() >= self._reused_until_s:
                minted_at_s = self._clock()
                self._token = await self._mint()
                self._reused_until_s = minted_at_s + REUSED_SHARE * TOKEN_LIFE_S
            return self._token

    async def close(self) -> None:
        """Let go of the client."""
        self._client, self._token = None, ""
        await self._open.aclose()

    async def _make_client(self) -> AioBaseClient:
        """Make the client; its service model, 200 ms of reading and parsing, in a thread first."""
        await asyncio.to_thread(_load_models, self._session.get_component("data_loader"))
        made = self._session.create_client("dsql", region_name=self._region)
        client: AioBaseClient = await self._open.enter_async_context(made)
        return client

    async def _mint(self) -> str:
        try:
            async with asyncio.timeout(MINT_TIMEOUT_S):
                if self._client is None:
                    self._client = await self._make_client()
                mint = (
                    self._client.generate_db_connect_admin_auth_token
                    if self._admin
                    else self._client.generate_db_connect_auth_token
                )
                token: str = await mint(self._host, self._region, TOKEN_LIFE_S)
        except (BotoCoreError, ClientError, TimeoutError, OSError) as error:
            # Of the error only its class: its text may quote a credential.
            raise Unavailable(f"no IAM token for {self._host}: {type(error).__name__}") from None
        return token


def _load_models(loader: Loader) -> None:
    """Read into the loader's cache what making a client needs."""
    loader.load_service_model("dsql", "service-2")
    loader.load_service_model("dsql", "endpoint-rule-set-1")
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)  # type: ignore[no-untyped-call]
