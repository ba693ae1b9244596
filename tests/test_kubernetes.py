"""`deploy/kubernetes`, without a cluster: the schemas of Kubernetes, and our own rules."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import kubernetes_validate
import psycopg
import pytest
import yaml

from tests.clock import FakeClock
from tests.deployed import NAMES, is_of_procfile, reads_secrets_from_files, unknown_settings
from tests.factories import PROVIDER, delivery, queued, submitted, succeeded
from tests.webhook.receiving import new_attempt
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.runtime.shutdown import LAST_SECONDS

FOLDER = Path(__file__).parents[1] / "deploy" / "kubernetes"
#: of other programs, whose schemas are not among those of Kubernetes
FOREIGN = {"kustomization.yaml", "scaler.yaml"}
VERSION = "1.37"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


ALL = [one for path in sorted(FOLDER.glob("*.yaml")) if path.name not in FOREIGN for one in documents(path)]
WORKLOADS = {one["metadata"]["name"]: one for one in ALL if one["kind"] in {"Deployment", "Job"}}
each = pytest.mark.parametrize("name", WORKLOADS)
each_that_stays = pytest.mark.parametrize("name", [name for name in WORKLOADS if name != "migrate"])


def of(kind: str) -> list[dict[str, Any]]:
    return [one for one in ALL if one["kind"] == kind]


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = WORKLOADS[name]["spec"]["template"]["spec"]
    return found


def container(name: str) -> dict[str, Any]:
    (found,) = pod(name)["containers"]
    return dict(found)


def labels(name: str) -> dict[str, str]:
    return dict(WORKLOADS[name]["spec"]["template"]["metadata"]["labels"])


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_it_is_a_manifest_of_kubernetes(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, VERSION, strict=True)


def test_every_file_is_applied_but_the_form_for_secrets_and_what_needs_more() -> None:
    (kustomization,) = documents(FOLDER / "kustomization.yaml")
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert set(kustomization["resources"]) == files - {"kustomization.yaml", "scaler.yaml", "secret.example.yaml"}
    assert set(WORKLOADS) == set(NAMES)


def given(command: str) -> str:
    """What a container gets: Kubernetes takes two for one $."""
    return command.replace("$$", "$")


@each
def test_command_lines_are_the_procfiles(name: str) -> None:
    shell, option, command = container(name)["command"]
    assert (shell, option) == ("/bin/sh", "-c")
    assert is_of_procfile(name, given(command)), command


@each
def test_settings_exist_and_secrets_are_files_that_it_has(name: str) -> None:
    env = {one["name"]: one["value"] for one in container(name)["env"]}
    (config,) = of("ConfigMap")
    assert container(name)["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert unknown_settings(env) == unknown_settings(config["data"]) == set()
    assert reads_secrets_from_files(env)
    assert reads_secrets_from_files(config["data"])
    (mounted,) = (one["secret"] for one in pod(name)["volumes"] if "secret" in one)
    (secret,) = of("Secret")
    assert mounted["secretName"] == secret["metadata"]["name"]
    assert {one["key"] for one in mounted["items"]} <= set(secret["stringData"])
    where = next(one["mountPath"] for one in container(name)["volumeMounts"] if one["name"] == "secrets")
    files = {value for variable, value in env.items() if variable.endswith("_FILE")}
    assert files == {f"{where}/{one['path']}" for one in mounted["items"]}


def test_the_form_for_secrets_holds_none() -> None:
    (secret,) = of("Secret")
    assert set(secret["stringData"].values()) == {""}


def test_the_receiver_has_neither_the_keys_of_providers_nor_of_the_bucket() -> None:
    names = {one["name"] for one in container("receiver")["env"]}
    assert names == {"DATABASE_URL_FILE", "REDIS_URL_FILE", "DARKROOM_SIGNING_KEYS_FILE", "PORT"}


@each_that_stays
def test_it_is_probed_at_its_start_and_for_as_long_as_it_lives(name: str) -> None:
    here = container(name)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "httpGet" in here[probe]:
            path = "/readyz" if probe == "readinessProbe" else "/livez"
            assert here[probe]["httpGet"] == {"path": path, "port": "http"}
            assert any(port["name"] == "http" for port in here["ports"])
        else:
            assert here[probe]["exec"]["command"] == ["darkroom", "healthcheck", NAMES[name]]


def test_a_broker_or_ledger_that_is_away_for_a_while_restarts_no_worker() -> None:
    for name in ("worker", "clock"):
        probe = container(name)["livenessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 600


@each_that_stays
def test_selectors_find_the_pods_of_one_workload_and_no_others(name: str) -> None:
    assert WORKLOADS[name]["spec"]["selector"]["matchLabels"] == labels(name)
    for kind in ("Service", "PodDisruptionBudget"):
        for one in of(kind):
            selector = one["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            if one["metadata"]["name"] == name:
                assert wanted == labels(name)
            else:
                assert wanted != labels(name)
    (spread,) = pod(name)["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels(name)


def test_each_workload_survives_a_node_that_is_drained() -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in of("PodDisruptionBudget")}
    assert budgets.keys() == WORKLOADS.keys() - {"migrate"}
    for name, budget in budgets.items():
        # A budget that allows no disruption would stop every drain.
        assert WORKLOADS[name]["spec"]["replicas"] > budget.get("minAvailable", 0)


def test_services_reach_a_port_of_their_pods_and_only_inside() -> None:
    for service in of("Service"):
        assert service["spec"]["type"] == "ClusterIP"
        ports = {one["name"] for one in container(service["metadata"]["name"])["ports"]}
        assert {one["targetPort"] for one in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("policy", of("NetworkPolicy"), ids=lambda policy: policy["metadata"]["name"])
def test_a_network_policy_names_pods_that_are_there(policy: dict[str, Any]) -> None:
    wanted = policy["spec"]["podSelector"]["matchLabels"].items()
    assert any(wanted <= labels(name).items() for name in WORKLOADS)


@each
def test_it_may_do_little(name: str) -> None:
    security = pod(name)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(name)["automountServiceAccountToken"] is False
    assert pod(name)["enableServiceLinks"] is False
    resources = container(name)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert "memory" in resources["limits"]
    assert "/tmp" in {one["mountPath"] for one in container(name)["volumeMounts"]}


@each_that_stays
def test_there_is_time_to_stop(name: str) -> None:
    waits = container(name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod(name)["terminationGracePeriodSeconds"] > waits + LAST_SECONDS


def scaler() -> str:
    (query,) = (
        trigger["metadata"]["query"]
        for one in documents(FOLDER / "scaler.yaml")
        for trigger in one["spec"].get("triggers", [])
    )
    return str(query)


def test_the_query_of_the_scaler_has_five_lines() -> None:
    text = (FOLDER / "scaler.yaml").read_text(encoding="utf-8")
    lines = re.search(r"query: >-\n((?: {10}.*\n)+)", text)
    assert lines is not None
    assert len(lines[1].splitlines()) == 5


def due(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(scaler()).fetchone()
    assert row is not None
    return int(row[0])


def test_of_submissions_the_scaler_counts_only_what_a_provider_takes(postgresql_url: str) -> None:
    with closing(Ledger(postgresql_url)) as ledger:
        queued(ledger, 500)
        # However many wait, they are no reason for a second worker.
        assert due(postgresql_url) == 0
        assert ledger.dispatch.run(PROVIDER, Limits(rate=7, in_flight=100)) == 7
        assert due(postgresql_url) == 7
        assert ledger.dispatch.run(PROVIDER, Limits(rate=1000, in_flight=7)) == 0
        assert due(postgresql_url) == 7


def test_the_scaler_counts_callbacks_downloads_and_polls_that_are_due(postgresql_url: str, clock: FakeClock) -> None:
    with closing(Ledger(postgresql_url, clock)) as ledger:
        assert due(postgresql_url) == 0
        ledger.callbacks.store([delivery(new_attempt()) for _ in range(40)])
        assert due(postgresql_url) == 40
        succeeded(ledger, 3, links=4)
        assert due(postgresql_url) == 40 + 12
        # By the database's clock, which is far ahead of this ledger's.
        submitted(ledger, 2)
        assert due(postgresql_url) == 40 + 12 + 2
