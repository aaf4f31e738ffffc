"""Reaches Kafka and says in one sentence why it cannot: no broker, a refused login, a missing grant.

What a role needs is asked of the broker before anything is read or written, so that a missing grant is found
at the start and not in the middle of a batch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from ..access import Grant, Kind, Role, grants_of
from ..core.errors import AccessDenied, ConfigError, PipelineError, Retryable
from ..settings import Settings
from ..topics import Topics

CONNECT_S: Final = 5.0
"""How long a broker may take to answer at all; a port that nobody listens on is told much sooner."""
LOOK_S: Final = 0.5
REQUEST_S: Final = 10.0
NAMED_MAX: Final = 3

LOGIN: Final = frozenset((
    KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
))  # fmt: skip
GRANTS: Final = frozenset((
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
))  # fmt: skip
_BROKER_STATE: Final = re.compile(r" \(after \d+ms in state .*\)")


def who(settings: Settings) -> str:
    """Who we are to Kafka, in a sentence."""
    if settings.kafka_sasl_username:
        return f"the user {settings.kafka_sasl_username}"
    return "the owner of this certificate" if settings.kafka_ssl_certificate_location else "this client"


def denial_of(settings: Settings, error: KafkaError) -> AccessDenied | None:
    """What a refusal of Kafka means to whoever configures Elo; None when it is no such refusal."""
    code, said = error.code(), _BROKER_STATE.sub("", error.str())
    if code in LOGIN:
        reason = said.rpartition("error: ")[2].rpartition(": ")[2]
        return AccessDenied(
            f"Kafka at {settings.bootstrap} refuses the login of {who(settings)} ({reason}), "
            "check kafka_sasl_username, kafka_sasl_password and kafka_sasl_mechanism"
        )
    if code == KafkaError._SSL:
        reason = said.partition("failed: ")[2] or said
        return AccessDenied(
            f"no TLS connection with Kafka at {settings.bootstrap} ({_tls_reason(reason)}), "
            "check kafka_ssl_ca_location, the certificates, and the name of the broker in its own"
        )
    if code in GRANTS:
        return AccessDenied(
            f"Kafka does not let {who(settings)} do this ({said.removeprefix('Broker: ')}), "
            "grant what `elo topics acls` prints for its role"
        )
    return None


def _tls_reason(said: str) -> str:
    """Without OpenSSL's codes and places: `error:0A000086:SSL routines::certificate verify failed:…`."""
    parts = [part.strip() for part in re.split(r"error:[0-9A-Fa-f]+:|::|: ", said) if part.strip()]
    plain = [part for part in parts if not part.startswith(("SSL routines", "../", "SSL handshake"))]
    return plain[0] if plain else said


def connect(settings: Settings) -> AdminClient:
    """Return an admin client of a broker that answers.

    Raises: AccessDenied when it refuses us, Retryable with what to do when none answers.
    """
    failures: list[KafkaError] = []
    config: dict[str, Any] = settings.quiet_kafka_config(socket_keepalive_enable=True)
    admin = _make_admin({**config, "error_cb": failures.append})
    deadline = time.monotonic() + CONNECT_S
    while time.monotonic() < deadline:
        try:
            admin.list_topics(timeout=LOOK_S)
            return admin
        except KafkaException as error:
            admin.poll(0)
            if not failures:
                failures.append(error.args[0])
            for failure in failures:
                if (denial := denial_of(settings, failure)) is not None:
                    raise denial from None
            if any(failure.code() == KafkaError._ALL_BROKERS_DOWN for failure in failures):
                break
    raise Retryable(_no_answer(settings, failures))


def _make_admin(config: dict[str, Any]) -> AdminClient:
    """Raises ConfigError for what librdkafka refuses to take: a key that is none, an unknown setting."""
    try:
        return AdminClient(config)
    except KafkaException as error:
        raise ConfigError(f"Kafka's client refuses its settings, {error.args[0].str()}") from None


def _no_answer(settings: Settings, failures: Iterable[KafkaError]) -> str:
    reasons = [failure.str() for failure in failures if failure.code() != KafkaError._ALL_BROKERS_DOWN]
    if failures and not reasons:  # There is somebody, and librdkafka has nothing to say about it.
        return (
            f"what answers at {settings.bootstrap} ends the connection at once: is it Kafka, and does it ask "
            f"for TLS? kafka_security_protocol is {settings.kafka_security_protocol}"
        )
    # librdkafka: "host:port/bootstrap: Connect to … failed: Connection refused (after 0ms in state CONNECT)"
    detail = f" ({_BROKER_STATE.sub('', reasons[0]).rpartition(': ')[2]})" if reasons else ""
    return (
        f"no Kafka broker answers at {settings.bootstrap}{detail}, "
        "start one with `elo broker start` or name another with --bootstrap"
    )


def missing_topic(admin: AdminClient, name: str) -> PipelineError:
    """Why a topic is not among those that Kafka lists."""
    found = admin.list_topics(name, timeout=CONNECT_S).topics[name]
    if found.error is not None and found.error.code() in GRANTS:
        return AccessDenied(
            f"Kafka does not show us topic {name}: it does not exist, or a grant is missing, "
            "see `elo topics acls`"
        )
    return ConfigError(f"topic {name} does not exist, run `elo topics create` first")


def check_access(
    settings: Settings, admin: AdminClient, role: Role, topics: Topics, groups: Collection[str] = ()
) -> None:
    """Raise AccessDenied unless Kafka lets us do what `role` needs to do.

    Args:
        groups: the names of consumer groups that are used where the role is given a prefix.
    """
    missing = missing_grants(admin, grants_of(role, topics), groups)
    if not missing:
        return
    named = [f"{', '.join(grant.operations)} on {grant.kind} {grant.name}" for grant in missing[:NAMED_MAX]]
    more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
    raise AccessDenied(
        f"Kafka does not let {who(settings)} do what {role} needs: {'; '.join(named)}{more}; "
        f"grant what `elo topics acls {role}` prints"
    )


def missing_grants(admin: AdminClient, grants: Iterable[Grant], groups: Collection[str] = ()) -> list[Grant]:
    """What of these grants on topics and groups is not there.

    A broker without an authorizer allows everything. Nobody can ask about transactional ids: what is missing
    there is found when the first transaction begins.
    """
    wanted = list(grants)
    topics = {grant.name: grant for grant in wanted if grant.kind is Kind.TOPIC}
    found: list[Grant] = []
    if topics:
        answers = admin.describe_topics(
            TopicCollection(list(topics)), include_authorized_operations=True, request_timeout=REQUEST_S
        )
        for name, future in answers.items():
            found.extend(_missing(topics[name], future))
    readers = [grant for grant in wanted if grant.kind is Kind.GROUP]
    asked: dict[str, Grant] = {}
    for grant in readers:
        names = [one for one in groups if one.startswith(grant.name)] if grant.prefixed else [grant.name]
        asked.update((name, Grant(Kind.GROUP, name, grant.operations)) for name in names)
    if asked:
        answers = admin.describe_consumer_groups(
            list(asked), include_authorized_operations=True, request_timeout=REQUEST_S
        )
        for name, future in answers.items():
            found.extend(_missing(asked[name], future))
    return found


def _missing(grant: Grant, future: Any) -> Iterable[Grant]:
    """The operations of a grant that the broker does not list as ours."""
    try:
        allowed = future.result(REQUEST_S).authorized_operations
    except KafkaException as error:
        if error.args[0].code() in GRANTS:
            yield grant
        return  # It does not exist, or is not to be told: whoever uses it will say so.
    if not allowed:
        return  # A broker that does not tell.
    names = {one.name for one in allowed}
    left = tuple(one for one in grant.operations if one.value not in names)
    if left:
        yield Grant(grant.kind, grant.name, left)
