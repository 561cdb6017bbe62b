"""deploy/helm/connectors: what it renders to, and what it refuses."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it publishes no types

from connectors._server.ending import CLOSE_WITHIN
from connectors._server.process import DELAY_IN_A_POD
from connectors._settings import Settings
from tests.deploy.helm import CHART, KUBERNETES, RELEASE, faults_in, helm, rendered, versions_with_schemas

VALUES = {path.stem: path for path in sorted((Path(__file__).parent / "values").glob("*.yaml"))}
CASES: dict[str, Path | None] = {"defaults": None, **VALUES}
ONE_SERVER = ("memory://", "sqlite:///data/connectors.sqlite")
SHARED = ("redis://redis:6379/0", "rediss://redis:6379/0", "postgresql://connectors@postgresql/connectors")
WRITABLE = {"/data", "/tmp"}  # noqa: S108 - folders of the container's


def named(objects: list[dict[str, Any]], kind: str, name: str = "connectors") -> dict[str, Any]:
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def kinds(objects: list[dict[str, Any]]) -> set[str]:
    return {each["kind"] for each in objects}


def pod_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [deployment] = [each for each in objects if each["kind"] == "Deployment"]
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def container_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [container] = pod_of(objects)["containers"]
    found: dict[str, Any] = container
    return found


def refusal(*arguments: str) -> str:
    done = helm("template", *RELEASE, *arguments)
    assert done.returncode != 0, done.stdout
    return done.stderr


# --- every set of values


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_no_fault_in_the_chart(case: str) -> None:
    values = CASES[case]
    done = helm("lint", "--strict", str(CHART), *(("--values", str(values)) if values else ()))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(version: str, tmp_path: Path) -> None:
    objects = {
        f"{case}-{number}": each
        for case, values in CASES.items()
        for number, each in enumerate(rendered("--kube-version", version, values=values))
        if each["kind"] != "ServiceMonitor"  # the Prometheus operator's
    }
    assert faults_in(objects, tmp_path, version) == ""


@pytest.mark.parametrize("version", [KUBERNETES[0], KUBERNETES[-1]])
def test_what_kubernetes_does_not_know_is_found(version: str, tmp_path: Path) -> None:
    deployment = named(rendered(), "Deployment")
    field, kind = copy.deepcopy(deployment), {**deployment, "apiVersion": "apps/v1beta2"}
    pod_of([field])["terminationGracePeriod"] = 5
    faults = faults_in({"right": deployment, "field": field, "kind": kind}, tmp_path, version).splitlines()
    assert [fault.split()[:2] for fault in faults] == [["ERROR", "field.json"], ["WARN", "kind.json"]]
    assert "terminationGracePeriod" in faults[0]


def test_the_oldest_kubernetes_that_the_chart_admits_and_every_later_one_are_checked() -> None:
    oldest = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["kubeVersion"]
    known = versions_with_schemas()
    assert oldest == f">={KUBERNETES[0]}.0-0"
    assert known[known.index(KUBERNETES[0]) :] == KUBERNETES


def test_an_older_kubernetes_is_refused() -> None:
    known = versions_with_schemas()
    older = known[known.index(KUBERNETES[0]) - 1]
    assert "incompatible with Kubernetes" in refusal("--kube-version", older)


@pytest.mark.parametrize("case", CASES)
def test_the_server_can_use_the_settings(case: str, tmp_path: Path) -> None:
    objects = rendered(values=CASES[case])
    [text] = [each["data"]["connectors.toml"] for each in objects if "connectors.toml" in each.get("data", ())]
    (tmp_path / "connectors.toml").write_text(text, "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTORS_")}
    command = [str(Path(sys.executable).with_name("connectors")), "check", "--store=memory://"]
    variables = {**kept, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert "FAULT settings" not in done.stdout + done.stderr
    assert "ok    settings" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_a_pod_has_time_to_end(case: str) -> None:
    objects = rendered(values=CASES[case])
    [text] = [each["data"]["connectors.toml"] for each in objects if "connectors.toml" in each.get("data", ())]
    settings = tomllib.loads(text)
    hook = container_of(objects).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ("sleep", "0"))
    ends_within = float(hook[1]) + settings.get("drain_delay", DELAY_IN_A_POD)
    ends_within += settings.get("grace", Settings().grace) + CLOSE_WITHIN
    assert pod_of(objects)["terminationGracePeriodSeconds"] >= ends_within + 1


@pytest.mark.parametrize("case", CASES)
def test_a_container_can_change_nothing_but_two_folders(case: str) -> None:
    objects = rendered(values=CASES[case])
    container = container_of(objects)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod_of(objects)["securityContext"]["runAsNonRoot"] is True
    assert {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")} == WRITABLE
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod_of(objects)["volumes"]}


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pods(case: str) -> None:
    objects = rendered(values=CASES[case])
    [labels] = [each["spec"]["template"]["metadata"]["labels"] for each in objects if each["kind"] == "Deployment"]
    for each in objects:
        selector = {
            "Service": lambda spec: spec["selector"],
            "Deployment": lambda spec: spec["selector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        }.get(each["kind"])
        if selector is not None:
            assert selector(each["spec"]).items() <= labels.items()


# --- what one server alone can have


@pytest.mark.parametrize("url", ONE_SERVER)
@pytest.mark.parametrize("more", ["replicas=2", "autoscaling.enabled=true"])
def test_more_than_one_server_over_a_store_for_one_is_refused(url: str, more: str) -> None:
    assert "which one server alone can use" in refusal("--set", f"store.url={url}", "--set", more)


@pytest.mark.parametrize("url", SHARED)
@pytest.mark.parametrize("more", ["replicas=2", "autoscaling.enabled=true"])
def test_more_than_one_server_over_a_shared_store_is_made(url: str, more: str) -> None:
    objects = rendered("--set", f"store.url={url}", "--set", more)
    assert "PodDisruptionBudget" in kinds(objects)
    assert named(objects, "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"


@pytest.mark.parametrize("url", ONE_SERVER)
def test_over_a_store_for_one_there_are_never_two_pods(url: str) -> None:
    deployment = named(rendered("--set", f"store.url={url}"), "Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_the_autoscaler_alone_says_how_many_servers_there_are() -> None:
    objects = rendered("--set", f"store.url={SHARED[0]}", "--set", "autoscaling.enabled=true")
    assert "replicas" not in named(objects, "Deployment")["spec"]
    scaler = named(objects, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "connectors"}
    assert "cpu" in container_of(objects)["resources"]["requests"]  # the share is of what is requested


# --- what is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("store.url=mysql://here", "store/url"),
        ("replica=2", "replica"),
        ("settings.store=memory://", "settings.store is given by the chart"),
        ("settings.port=8001", "settings.port is given by the chart"),
        ("settings.tls_key=/key", "settings.tls_key is given by the chart"),
        ("terminationGracePeriodSeconds=30", "the server needs 37"),
        ("tls.clientCa=true", "tls.clientCa needs tls.secretName"),
        ("preStopSeconds=-1", "preStopSeconds"),
        ("settings.drain-delay=9", "drain-delay"),  # it would not be counted in the time that a pod has to end
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_name(given: str, said: str) -> None:
    assert said in refusal("--set", given)


def test_an_autoscaler_with_less_at_most_than_at_least_is_refused() -> None:
    enabled = ("--set", f"store.url={SHARED[0]}", "--set", "autoscaling.enabled=true")
    assert "maxReplicas is less" in refusal(*enabled, "--set", "autoscaling.maxReplicas=1")


# --- ports, probes, TLS


def test_the_grpc_service_is_headless_and_at_the_server_s_port() -> None:
    objects = rendered()
    service = named(objects, "Service")["spec"]
    assert service["clusterIP"] == "None"
    ports = {port["name"]: port["containerPort"] for port in container_of(objects)["ports"]}
    assert ports == {"grpc": Settings().port, "metrics": Settings().metrics_port}
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(Settings().port, "grpc")]


def test_prometheus_is_shown_the_pods_that_are_not_ready() -> None:
    service = named(rendered(), "Service", "connectors-metrics")["spec"]
    assert service["publishNotReadyAddresses"] is True


def test_the_kubelet_asks_grpc_health_whether_a_pod_is_ready_and_http_whether_it_lives() -> None:
    container = container_of(rendered())
    assert container["readinessProbe"]["grpc"] == container["startupProbe"]["grpc"] == {"port": Settings().port}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_with_tls_the_kubelet_asks_over_http() -> None:
    objects = rendered("--set", "tls.secretName=certificate")
    container = container_of(objects)
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/readyz", "port": "metrics"}
        assert "grpc" not in container[probe]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    [mount] = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "tls"]
    assert variables["CONNECTORS_TLS_CERTIFICATE"] == f"{mount}/tls.crt"
    assert variables["CONNECTORS_TLS_KEY"] == f"{mount}/tls.key"
    assert "CONNECTORS_TLS_CLIENT_CA" not in variables
    assert "appProtocol" not in named(objects, "Service")["spec"]["ports"][0]


def test_what_the_image_sets_is_left_as_it_is_or_set_as_a_variable() -> None:
    # a variable wins over the file: what the image sets could not be changed by connectors.toml
    dockerfile = (CHART.parents[2] / "service" / "Dockerfile").read_text("utf-8")
    names = {word.partition("=")[0] for word in dockerfile.split() if word.startswith("CONNECTORS_")}
    assert names == {"CONNECTORS_HOST", "CONNECTORS_PORT", "CONNECTORS_METRICS_PORT", "CONNECTORS_STORE"}
    for name in names:
        setting = name.removeprefix("CONNECTORS_").lower()
        assert f"settings.{setting} is given by the chart" in refusal("--set", f"settings.{setting}=1")


# --- secrets, and who may call


def test_the_token_is_mounted_only_where_secrets_are_read_from_kubernetes() -> None:
    assert pod_of(rendered())["automountServiceAccountToken"] is False
    assert pod_of(rendered(values=VALUES["redis"]))["automountServiceAccountToken"] is True


def test_the_server_may_get_the_named_secrets_and_do_nothing_else() -> None:
    objects = rendered(values=VALUES["redis"])
    roles = {each["metadata"]["namespace"]: each["rules"] for each in objects if each["kind"] == "Role"}
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    named_ones = {**rule, "resourceNames": ["bigquery-research-production"]}
    assert roles == {"research-production": [named_ones], "sales-production": [rule]}
    bindings = [each for each in objects if each["kind"] == "RoleBinding"]
    account = {"kind": "ServiceAccount", "name": pod_of(objects)["serviceAccountName"], "namespace": "flyte"}
    assert {each["metadata"]["namespace"] for each in bindings} == roles.keys()
    assert all(each["subjects"] == [account] for each in bindings)
    assert "ClusterRole" not in kinds(objects)


def test_secrets_are_files_where_the_server_looks_for_them() -> None:
    objects = rendered(values=VALUES["everything"])
    [mount] = [each for each in container_of(objects)["volumeMounts"] if each["name"] == "secrets"]
    assert (mount["mountPath"],) == Settings().secret_folders
    assert mount["readOnly"] is True


def test_the_store_s_url_and_password_come_from_secrets() -> None:
    variables = {each["name"]: each for each in container_of(rendered(values=VALUES["everything"]))["env"]}
    assert variables["CONNECTORS_STORE"]["valueFrom"] == {"secretKeyRef": {"name": "connectors-store", "key": "url"}}
    assert variables["PGPASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "connectors-store", "key": "password"}}


def test_where_nobody_is_named_nobody_may_call() -> None:
    policy = named(rendered(values=VALUES["closed"]), "NetworkPolicy")["spec"]
    assert (policy["policyTypes"], policy["ingress"]) == (["Ingress"], [])


def test_each_rule_of_the_network_policy_names_somebody_and_a_port() -> None:
    for rule in named(rendered(), "NetworkPolicy")["spec"]["ingress"]:
        assert rule["from"]
        assert len(rule["ports"]) == 1


# --- what a change restarts


def test_a_change_of_the_settings_rolls_the_pods_and_one_of_what_is_paused_does_not() -> None:
    def template(*arguments: str) -> Any:
        return named(rendered(*arguments), "Deployment")["spec"]["template"]

    assert template() == template("--set", "paused={snowflake}")
    assert template() != template("--set", "settings.key_namespace=production")


def test_what_is_paused_is_a_file_of_lines_that_the_server_reads() -> None:
    objects = rendered(values=VALUES["redis"])
    assert named(objects, "ConfigMap", "connectors-paused")["data"] == {"paused": "snowflake\nhttp"}
    variables = {each["name"]: each.get("value") for each in container_of(objects)["env"]}
    [mount] = [each["mountPath"] for each in container_of(objects)["volumeMounts"] if each["name"] == "paused"]
    assert variables["CONNECTORS_PAUSED_FILE"] == f"{mount}/paused"


def test_the_service_monitor_finds_the_metrics_service() -> None:
    objects = rendered("--set", "serviceMonitor.enabled=true")
    monitor = named(objects, "ServiceMonitor")["spec"]
    labels = named(objects, "Service", "connectors-metrics")["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert not monitor["selector"]["matchLabels"].items() <= named(objects, "Service")["metadata"]["labels"].items()


@pytest.mark.parametrize("name", ["connectors", "flyte-agents"])
def test_the_job_is_the_one_that_the_alerts_ask_for_whatever_the_release_is_called(name: str) -> None:
    objects = rendered("--set", f"serviceMonitor.enabled=true,nameOverride={name},fullnameOverride={name}")
    [endpoint] = named(objects, "ServiceMonitor", name)["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "connectors"}]
