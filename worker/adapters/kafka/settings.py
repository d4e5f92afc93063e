"""Settings of the Kafka clients: identity and encryption, deadlines, logging."""

import logging
import ssl
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from aiokafka.abc import AbstractTokenProvider

from worker.adapters.kafka.iam import msk_tokens, region_of
from worker.errors import ConfigError
from worker.ports import Monotonic

METADATA_AGE_MAX_MS: Final = 30_000
"""Most time until a client notices new partitions and moved leaders."""
RETRY_BACKOFF_MS: Final = 100

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Encryption and authentication. The default is for brokers of this machine only."""

    protocol: Protocol = "PLAINTEXT"
    ssl_context: ssl.SSLContext | None = None
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token_provider: AbstractTokenProvider | None = None

    def arguments(self) -> dict[str, Any]:
        """Return keyword arguments for any aiokafka client."""
        return {
            "security_protocol": self.protocol,
            "ssl_context": self.ssl_context,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
            "sasl_oauth_token_provider": self.token_provider,
        }


def encrypted(ca_file: str) -> Security:
    """Return TLS that verifies certificate and name by ``ca_file`` or the system's authorities.

    Raises ConfigError if the file has no certificates.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        rule = f"PARITY_KAFKA_CA_FILE={ca_file!r}: {error}: name a PEM file of certificates"
        raise ConfigError(rule) from error
    return Security(protocol="SSL", ssl_context=context)


def msk_iam(bootstrap_servers: str, *, region: str, ca_file: str, clock: Monotonic) -> Security:
    """Return TLS and IAM for Amazon MSK. Raises ConfigError if no region is known."""
    tokens = msk_tokens(region or region_of(bootstrap_servers), clock)
    return replace(
        encrypted(ca_file), protocol="SASL_SSL", mechanism="OAUTHBEARER", token_provider=tokens
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Deadlines in seconds. ``session_s`` is how long a silent member keeps its partitions."""

    session_s: float = 10.0
    rebalance_s: float = 20.0
    start_s: float = 40.0
    call_s: float = 5.0
    send_s: float = 10.0
    callback_s: float = 6.0
    close_s: float = 5.0
    refused_s: float = 300.0
    """How long the brokers may refuse to return a partition's records before its lane halts."""


def silence_secrets() -> None:
    """Keep aiokafka's loggers at INFO or above, as they print passwords at DEBUG (A30)."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("aiokafka.")]
    for name in ["aiokafka", *names]:
        logger = logging.getLogger(name)
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)
