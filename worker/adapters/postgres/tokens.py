"""IAM tokens for Aurora DSQL, the passwords of its connections.

One client is kept, and a token serves every connection that opens within 80 % of its life.
"""

from contextlib import AsyncExitStack
from typing import Final

from aiobotocore.client import AioBaseClient

from worker.adapters.iam import TOKEN_LIFE_S, NoToken, TokenCache, prepared_session
from worker.errors import Unavailable
from worker.ports import Monotonic

_MODELS: Final = {"dsql": ("service-2", "endpoint-rule-set-1")}


class DsqlTokens:
    """Tokens to connect to one cluster as one role. The role ``admin`` needs its own kind."""

    def __init__(self, host: str, region: str, *, admin: bool, clock: Monotonic) -> None:
        self._host, self._region, self._admin = host, region, admin
        self._cache = TokenCache(host, self._mint, clock)
        self._open = AsyncExitStack()
        self._client: AioBaseClient | None = None

    async def token(self) -> str:
        """Return a token that is valid for some minutes. Raises Unavailable."""
        try:
            return await self._cache.token()
        except NoToken as error:
            raise Unavailable(str(error)) from error

    def forget(self) -> None:
        """Drop the token, which was refused. The next call creates another."""
        self._cache.forget()

    async def close(self) -> None:
        """Close the client."""
        self._client = None
        self._cache.forget()
        await self._open.aclose()

    async def _mint(self) -> str:
        client = self._client = self._client or await self._make_client()
        mint = (
            client.generate_db_connect_admin_auth_token
            if self._admin
            else client.generate_db_connect_auth_token
        )
        token: str = await mint(self._host, self._region, TOKEN_LIFE_S)
        return token

    async def _make_client(self) -> AioBaseClient:
        session = await prepared_session(_MODELS)
        made = session.create_client("dsql", region_name=self._region)  # type: ignore[no-untyped-call]
        client: AioBaseClient = await self._open.enter_async_context(made)
        return client
