"""What is shipped to deploy Elo with: Compose file, chart and image say what the code says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from pipeline import __version__
from pipeline.access import Role
from pipeline.settings import SECRETS, Settings, load_settings
from tests.support.doc_tables import CHART, chart_acls, chart_topics

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
HELM_CHART: Final = DEPLOY / "helm" / "elo"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
VALUES: Final[dict[str, Any]] = yaml.safe_load((HELM_CHART / "values.yaml").read_text("utf-8"))
SCHEMA: Final[dict[str, Any]] = json.loads((HELM_CHART / "values.schema.json").read_text("utf-8"))
KUBERNETES: Final = "1.34"
KUBE_VERSION: Final = ("--kube-version", f"{KUBERNETES}.0")
NEEDED: Final = {"profileKey": {"secret": "elo-profile-key"}}
CASES: Final[dict[str, dict[str, Any]]] = {
    "shipped": {},
    "everything": {
        "kafka": {"topicPrefix": "eu."},
        "deliver": {"enabled": True},
        "worker": {"autoscaling": {"enabled": True}, "tolerations": [{"operator": "Exists"}]},
        "identity": "version: 1\nidentifiers: {email: {limit: 5}}\n",
        "settings": {"commit_interval_ms": "20ms", "log_level": "warning",
                     "ses_topics": ["arn:aws:sns:eu-west-1:1:events"]},
        "secretSettings": {"mailgun_key": {"secret": "elo-webhooks", "key": "mailgun"}},
        "topics": {"config": {"elo.touches": {"retention.ms": "7776000000"}}},
        "networkPolicy": {"monitoring": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
                          "producers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        "podMonitor": {"enabled": True},
        "otel": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "no strimzi": {"strimzi": {"enabled": False}, "topicsJob": {"enabled": True}},
    "no login": {"kafka": {"securityProtocol": "PLAINTEXT", "caSecret": {"name": "", "key": "ca.crt"}}},
    "least": {"collect": {"enabled": False}, "reconcile": {"enabled": False},
              "networkPolicy": {"enabled": False}, "worker": {"replicas": 1}},
}  # fmt: skip
WRONG: Final[list[tuple[dict[str, Any], str]]] = [
    ({"profileKey": {"secret": ""}}, "profileKey.secret"),
    ({"worker": {"replicas": 17}}, "17 workers for 16 partitions"),
    ({"worker": {"autoscaling": {"enabled": True, "maxReplicas": 40}}}, "40 workers for 16 partitions"),
    ({"workers": {"replicas": 3}}, "workers"),
    ({"kafka": {"securityProtocol": "TLS"}}, "securityProtocol"),
    ({"worker": {"replicas": "two"}}, "replicas"),
    ({"reconcile": {"since": "an hour"}}, "since"),
    ({"secretSettings": {"mailgun_key": "k3y"}}, "mailgun_key"),
    ({"otel": {"ELO_BOOTSTRAP": "kafka:9092"}}, "otel"),
]
STRIMZI: Final = {
    "KafkaTopic": {
        "topicName": {"type": "string", "pattern": r"^[A-Za-z0-9._-]{1,249}$"},
        "partitions": {"type": "integer", "minimum": 1},
        "replicas": {"type": "integer", "minimum": 1},
        "config": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "KafkaUser": {
        "authentication": {"const": {"type": "scram-sha-512"}},
        "authorization": {
            "type": "object", "additionalProperties": False, "required": ["type", "acls"],
            "properties": {"type": {"const": "simple"}, "acls": {"type": "array", "minItems": 1, "items": {
                "type": "object", "additionalProperties": False, "required": ["resource", "operations"],
                "properties": {
                    "resource": {
                        "type": "object", "additionalProperties": False,
                        "required": ["type", "name", "patternType"],
                        "properties": {
                            "type": {"enum": ["topic", "group", "transactionalId", "cluster"]},
                            "name": {"type": "string"}, "patternType": {"enum": ["literal", "prefix"]},
                        },
                    },
                    "operations": {"type": "array", "minItems": 1, "items": {"enum": [
                        "Read", "Write", "Create", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"]}},
                },
            }}},
        },
    },
    "PodMonitor": {
        "selector": {"type": "object"},
        "podMetricsEndpoints": {"type": "array", "minItems": 1, "items": {"required": ["port"]}},
    },
}  # fmt: skip
"""The fields of these resources that the chart uses, by the documentation of their operators."""


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As Helm merges values."""
    found = dict(base)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = merged(found[name], value) if both else value
    return found


# -- Compose -------------------------------------------------------------------------------------------------


def compose_schema() -> dict[str, Any]:
    """The Compose specification, as check-jsonschema carries it."""
    (file,) = (one for one in metadata.files("check-jsonschema") or () if one.name == "compose-spec.json")
    return json.loads(Path(str(file.locate())).read_text("utf-8"))


def test_the_compose_file_is_one() -> None:
    jsonschema.validate(COMPOSE, compose_schema())
    wrong = merged(COMPOSE, {"services": {"worker-1": {"depend_on": ["kafka"]}}})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, compose_schema())


def ours() -> Iterator[dict[str, Any]]:
    """The services that run the image."""
    yield from (one for one in COMPOSE["services"].values() if "build" in one)


def test_services_of_compose_have_settings_that_elo_knows_and_nothing_that_they_could_write() -> None:
    for service in ours():
        for name in service["environment"]:
            setting = name.removeprefix("ELO_").lower()
            assert setting in Settings.model_fields or setting.removesuffix("_file") in SECRETS, name
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["user"] == "10001:10001"
        assert service["image"] == f"elo:{__version__}"


def test_what_compose_mounts_is_there_and_prometheus_scrapes_every_service() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]
    scrape = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text("utf-8"))
    targets = {
        target.partition(":")[0]
        for job in scrape["scrape_configs"] for one in job["static_configs"] for target in one["targets"]
    }  # fmt: skip
    assert targets == {
        name for name, one in COMPOSE["services"].items() if one.get("build") and name != "topics"
    }


# -- image ---------------------------------------------------------------------------------------------------


def test_the_image_copies_what_the_context_holds_and_exposes_the_ports_of_the_settings() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    }
    allowed = (ROOT / ".dockerignore").read_text("utf-8")
    kept = {line[1:] for line in allowed.splitlines() if line.startswith("!")}
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)
    settings = Settings()
    assert f"EXPOSE {settings.web_port} {settings.collect_port}\n" in text
    assert "\nUSER 10001:10001\n" in text
    variables = re.findall(r"\b(ELO_[A-Z_]+)=", text)
    assert all(name.removeprefix("ELO_").lower() in Settings.model_fields for name in variables)


# -- chart ---------------------------------------------------------------------------------------------------


def test_topics_and_grants_of_the_chart_are_those_of_the_code() -> None:
    assert (CHART / "acls.json").read_text("utf-8") == chart_acls(), "run make docs"
    assert (CHART / "topics.json").read_text("utf-8") == chart_topics(), "run make docs"


def test_chart_and_image_have_the_version_of_the_product() -> None:
    chart = yaml.safe_load((HELM_CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_schema_of_the_values_describes_each_and_refuses_what_is_misspelt() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    for case in CASES.values():
        jsonschema.validate(merged(merged(VALUES, NEEDED), case), SCHEMA)
    assert set(VALUES) <= set(SCHEMA["properties"])
    for name in ("workers", "worker.replica", "kafka.boostrap"):
        path = name.split(".")
        wrong = {path[0]: {path[1]: 1}} if len(path) == 2 else {name: {}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(merged(VALUES, wrong), SCHEMA)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm, from the PATH or as `make chart` has built it."""
    built = ROOT / "build" / "tools" / "helm"
    command = str(built) if built.exists() else shutil.which("helm")
    if command is None:
        pytest.skip("there is no helm: `make chart` builds it where Go is there")
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=120, check=False)


def template(directory: Path, case: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    file = directory / "values.yaml"
    file.write_text(yaml.safe_dump(merged(NEEDED, case)))
    return helm("template", "elo", str(HELM_CHART), *KUBE_VERSION, "--values", str(file))


def rendered(directory: Path, case: dict[str, Any]) -> list[dict[str, Any]]:
    done = template(directory, case)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def test_the_chart_is_one(tmp_path: Path) -> None:
    done = helm(
        "lint", "--strict", str(HELM_CHART), *KUBE_VERSION, "--set", "profileKey.secret=elo-profile-key"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_each_object_of_the_chart_is_what_kubernetes_takes(name: str, tmp_path: Path) -> None:
    import kubernetes_validate

    objects = rendered(tmp_path, CASES[name])
    places = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(places) == len(set(places))
    for one in objects:
        if one["kind"] in STRIMZI:
            fields = STRIMZI[one["kind"]]
            assert one["metadata"]["labels"]
            jsonschema.validate(
                one["spec"],
                {
                    "type": "object",
                    "properties": fields,
                    "required": list(fields),
                    "additionalProperties": False,
                },
            )
        else:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    (config,) = (one for one in objects if one["kind"] == "ConfigMap")
    file = tmp_path / "elo.yaml"
    # The paths are those inside a pod.
    text = config["data"]["elo.yaml"].replace("/etc/elo/config/", f"{tmp_path}/")
    kept = [line for line in text.splitlines() if not line.startswith(("kafka_security", "kafka_s"))]
    file.write_text("\n".join(kept))
    (tmp_path / "identity.yaml").write_text(config["data"].get("identity.yaml", ""))
    assert load_settings(config=file).partitions == 16


@pytest.mark.parametrize("name", CASES)
def test_every_pod_of_the_chart_is_harmless_and_finds_what_it_mounts(name: str, tmp_path: Path) -> None:
    objects = rendered(tmp_path, CASES[name])
    for one in objects:
        spec = one.get("spec", {}).get("template", {}).get("spec")
        if spec is None:
            continue
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        volumes = {volume["name"] for volume in spec["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            mounts = tuple(mount["mountPath"] for mount in container["volumeMounts"])
            for variable in container["env"]:
                setting = variable["name"].removeprefix("ELO_").lower()
                if "valueFrom" in variable:
                    of_secret = CASES[name].get("secretSettings", {}).get(setting)
                    assert variable["valueFrom"] == (
                        {"secretKeyRef": {"name": of_secret["secret"], "key": of_secret["key"]}}
                        if of_secret
                        else {"fieldRef": {"fieldPath": "metadata.name"}}
                    )
                    assert setting in Settings.model_fields
                    continue
                if variable["name"] in CASES[name].get("otel", ()):
                    assert variable["value"] == CASES[name]["otel"][variable["name"]]
                    continue
                known = setting in Settings.model_fields or setting.removesuffix("_file") in SECRETS
                assert known or setting == "config", variable
                assert not variable["value"].startswith("/") or variable["value"].startswith(mounts), variable


def test_users_of_the_chart_have_the_grants_of_their_roles_with_the_prefix(tmp_path: Path) -> None:
    objects = rendered(tmp_path, CASES["everything"])
    users = {one["metadata"]["name"]: one for one in objects if one["kind"] == "KafkaUser"}
    assert set(users) == {f"elo-{role}" for role in Role}
    wanted = json.loads(chart_acls())
    for role in Role:
        acls = users[f"elo-{role}"]["spec"]["authorization"]["acls"]
        told = [{**one["resource"], "operations": one["operations"]} for one in acls]
        assert told == [{**one, "name": f"eu.{one['name']}"} for one in wanted[role]]
    topics = {one["spec"]["topicName"]: one["spec"] for one in objects if one["kind"] == "KafkaTopic"}
    assert topics["eu.elo.touches"]["config"]["retention.ms"] == "7776000000"
    assert topics["eu.elo.touches"]["config"]["message.timestamp.type"] == "LogAppendTime"
    assert topics["eu.segments.definitions"]["partitions"] == 1


def test_every_part_has_the_login_of_its_role_and_is_scraped_and_fenced(tmp_path: Path) -> None:
    objects = rendered(tmp_path, CASES["everything"])
    roles = {"worker": "worker", "collect": "collect", "deliver": "deliver", "reconcile": "view"}
    pods = [one["spec"]["template"] for one in objects if one["kind"] in ("StatefulSet", "Deployment")]
    part = "app.kubernetes.io/component"
    assert {pod["metadata"]["labels"][part] for pod in pods} == set(roles)
    for pod in pods:
        login = f"elo-{roles[pod['metadata']['labels'][part]]}"
        (container,), volumes = pod["spec"]["containers"], pod["spec"]["volumes"]
        assert {"name": "ELO_KAFKA_SASL_USERNAME", "value": login} in container["env"]
        assert [one["secret"]["secretName"] for one in volumes if one["name"] == "login"] == [login]
    for kind, selector in (("NetworkPolicy", "podSelector"), ("PodMonitor", "selector")):
        found = [one["spec"][selector]["matchLabels"] for one in objects if one["kind"] == kind]
        assert {one[part] for one in found} == set(roles)
    for pod in pods:
        given = [
            one["valueFrom"]
            for one in pod["spec"]["containers"][0]["env"]
            if one["name"] == "ELO_MAILGUN_KEY"
        ]
        assert given == [{"secretKeyRef": {"name": "elo-webhooks", "key": "mailgun"}}]
    for one in objects:
        if one["kind"] == "NetworkPolicy":
            asks_sns = [{"port": 443, "protocol": "TCP"}] in [rule["ports"] for rule in one["spec"]["egress"]]
            assert asks_sns == one["metadata"]["name"].endswith(("-collect", "-deliver"))
            assert [{"port": 4318, "protocol": "TCP"}] in [rule["ports"] for rule in one["spec"]["egress"]]


@pytest.mark.parametrize(("values", "named"), WRONG)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str, tmp_path: Path) -> None:
    done = template(tmp_path, values)
    assert done.returncode != 0
    assert named in done.stderr
