"""Values of the official chart to ours: what is said, what is written, and what is kept back.

That this chart renders with the result, and does what the official one did, is tested in tests/chart.
"""

import re

import pytest
import yaml

from airflow_platform import cli
from airflow_platform.official_chart import convert, table
from airflow_platform.official_chart.components import COMPONENTS
from airflow_platform.official_chart.conversion import Kind
from airflow_platform.official_chart.defaults import is_known, paths
from airflow_platform.official_chart.given import ValuesError, read
from airflow_platform.official_chart.written import written

#: All that a release needs, by names alone.
COMPLETE = """
executor: KubernetesExecutor
data: {metadataSecretName: mydatabase}
fernetKeySecretName: my-fernet-key
dags: {gitSync: {enabled: true, repo: https://git.example.com/dags.git, branch: main, subPath: dags}}
config: {logging: {remote_logging: True, remote_base_log_folder: s3://logs/airflow}}
apiServer: &identity {serviceAccount: {annotations: {role: logs}}}
scheduler: *identity
triggerer: *identity
workers: *identity
networkPolicies: {enabled: true}
"""
CHOSEN = {"task_namespaces": ["tasks"], "image": "registry.example.com/airflow:3.3.2"}


@pytest.fixture
def converted(tmp_path):
    """Converts texts, each a file: ours as it would be read, and the conversion."""

    def converted(*texts, **options):
        names = []
        for number, text in enumerate(texts):
            file = tmp_path / f"{number}.yaml"
            file.write_text(text)
            names.append(str(file))
        conversion = convert(names, **options)
        return yaml.safe_load(written(conversion, names)), conversion

    return converted


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """Runs the command for a text: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "500")

    def command(text, *words):
        (tmp_path / "values.yaml").write_text(text)
        code = cli.main(["convert-values", str(tmp_path / "values.yaml"), *words])
        return code, *capsys.readouterr()

    return command


def kinds(conversion, official):
    return {one.kind for one in conversion.said if one.official == official}


def test_every_value_of_the_official_chart_has_a_row():
    rows = table.by_path()
    without = [path for path in paths() if not any(path[:length] in rows for length in range(1, len(path) + 1))]
    assert not without


def test_every_row_is_of_values_of_the_official_chart():
    for row in table.ROWS:
        found = [path for path, _ in table.expanded(row) if is_known(tuple(path.split(".")))]
        assert found, row.official
        assert all("<" not in path for path in found)


def test_values_that_are_complete_leave_nothing_to_do(command):
    code, out, err = command(COMPLETE, "--task-namespace", "tasks", "--image", "registry.example.com/airflow:3.3.2")
    assert code == 0, err
    assert "by hand" not in out
    assert yaml.safe_load(out)["image"] == {"repository": "registry.example.com/airflow", "tag": "3.3.2"}


def test_what_is_left_to_do_ends_with_3_and_is_in_file_and_report(command):
    code, out, err = command(COMPLETE + "podTemplate: 'kind: Pod'\n", "--task-namespace", "tasks", "--image", "a/b:1")
    assert code == 3
    assert "# - podTemplate: workers has what" in out
    assert re.search(r"podTemplate.*values\.yaml:12", err)


@pytest.mark.parametrize(
    ("text", "line", "path", "near"),
    [
        ("executor: x\nscheduler:\n  replica: 2\n", 3, "scheduler.replica", "scheduler.replicas"),
        ("shceduler: {replicas: 2}\n", 1, "shceduler", "scheduler"),
        ("dags:\n  gitSync:\n    brnach: main\n", 3, "dags.gitSync.brnach", "dags.gitSync.branch"),
        ("workers:\n  celery:\n    sshKeySecret: x\n", 3, "workers.celery.sshKeySecret", "dags.gitSync.sshKeySecret"),
    ],
)
def test_an_unknown_key_is_an_error_that_says_where_and_what_is_like_it(command, text, line, path, near):
    code, out, err = command(text)
    assert code == 1
    assert not out
    assert f"values.yaml:{line}: {path} is no value of the official chart (1.19.0, 1.22.0): did you mean {near}?" in err


def test_values_of_postgresqls_own_chart_are_known_and_of_no_use(converted):
    _, conversion = converted("postgresql: {primary: {persistence: {size: 8Gi}}}\n")
    assert kinds(conversion, "postgresql") == {Kind.GONE}


def test_a_budget_may_have_whatever_kubernetes_takes(converted):
    ours, _ = converted(
        "scheduler: {replicas: 3, podDisruptionBudget: {enabled: true, config: {maxUnavailable: 2, "
        "unhealthyPodEvictionPolicy: AlwaysAllow}}}\n"
    )
    assert ours["scheduler"]["podDisruptionBudget"] == {"enabled": True, "maxUnavailable": 2}


@pytest.mark.parametrize(("replicas", "least", "stays"), [(1, "50%", False), (2, "50%", True), (3, "100%", False)])
def test_a_budget_by_which_no_node_could_be_drained_is_left_out(converted, replicas, least, stays):
    budget = f'{{enabled: true, config: {{minAvailable: "{least}"}}}}'
    ours, _ = converted(f"scheduler: {{replicas: {replicas}, podDisruptionBudget: {budget}}}\n")
    assert ("podDisruptionBudget" in ours.get("scheduler", {})) == stays


def test_what_the_charts_own_objects_are_named_is_left_to_a_person(converted):
    ours, conversion = converted(
        "scheduler:\n"
        "  labels: {app.kubernetes.io/component: mine, team: data}\n"
        "  extraVolumes: [{name: backup, emptyDir: {}}, {name: mine, emptyDir: {}}]\n"
        "  extraContainers: [{name: dump, image: 'a:1'}, {name: mine, image: 'a:1'}]\n"
    )
    assert ours["scheduler"]["podLabels"] == {"team": "data"}
    assert [one["name"] for one in ours["scheduler"]["extraVolumes"]] == ["mine"]
    assert [one["name"] for one in ours["scheduler"]["extraContainers"]] == ["mine"]
    for path in ("scheduler.labels", "scheduler.extraVolumes", "scheduler.extraContainers"):
        assert Kind.HAND in kinds(conversion, path)


def test_values_for_a_dependency_are_to_be_a_file_of_their_own(command):
    code, _, err = command("airflow: {executor: KubernetesExecutor}\n")
    assert code == 1
    assert "values.yaml:1: airflow is a dependency of a chart of yours" in err


def test_a_proxy_that_is_named_is_not_asked_for(converted):
    text = "ingress: {apiServer: {enabled: true, hosts: [{name: a.example.com, tls: {enabled: true}}]}}\n"
    named = "apiServer: {env: [{name: FORWARDED_ALLOW_IPS, value: 10.0.0.0/8}]}\n"
    assert kinds(converted(text)[1], "ingress.apiServer") > kinds(converted(text + named)[1], "ingress.apiServer")


def test_all_unknown_keys_are_said_at_once(command):
    _, _, err = command("scheduler: {replica: 1}\ntriggerer: {replica: 1}\n")
    assert "scheduler.replica " in err
    assert "triggerer.replica " in err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "values.yaml:1: is no YAML"),
        ("- a\n", "values.yaml:1: values are a map"),
        ("scheduler: 3\n", "values.yaml:1: scheduler is a map of keys"),
        ("scheduler: {resources: much}\n", "scheduler.resources is not what"),
    ],
)
def test_a_file_that_is_no_map_of_values_is_an_error(command, text, says):
    code, out, err = command(text)
    assert code == 1
    assert says in err
    assert not out


def test_a_missing_file_is_an_error(capsys):
    assert cli.main(["convert-values", "/nowhere.yaml"]) == 1
    assert "/nowhere.yaml: No such file" in capsys.readouterr().err


def test_anchors_at_the_top_and_merge_keys_are_yaml(converted):
    ours, _ = converted("x-node: &node {nodeSelector: {a: b}}\nscheduler:\n  <<: *node\n  replicas: 2\n")
    assert ours["scheduler"] == {"replicas": 2, "nodeSelector": {"a": "b"}}


def test_texts_stay_texts_for_helm(converted, tmp_path):
    _, conversion = converted("labels: {a: 'y', b: '1e3', c: '0x1f', d: plain}\nscheduler: {safeToEvict: n}\n")
    text = written(conversion, [])
    assert "a: 'y'" in text
    assert "b: '1e3'" in text
    assert "c: '0x1f'" in text
    assert "d: plain" in text
    assert "safe-to-evict: 'false'" in text


def test_later_files_win_key_by_key(converted):
    ours, conversion = converted(
        "scheduler: {replicas: 2, nodeSelector: {a: b}}\n", "scheduler: {replicas: 3, nodeSelector: {c: d}}\n"
    )
    assert ours["scheduler"] == {"replicas": 3, "nodeSelector": {"a": "b", "c": "d"}}
    (said,) = (one for one in conversion.said if one.official == "scheduler.replicas")
    assert said.place.endswith("1.yaml:1")


def test_what_a_file_leaves_at_the_charts_default_is_not_carried_over(converted):
    ours, conversion = converted(
        "workers: {keda: {enabled: false, pollingInterval: 5}, replicas: 1}\nredis: {enabled: true}\n"
        "webserver: {enabled: true}\nairflowVersion: 3.2.2\nconfig: {core: {load_examples: 'False'}}\n"
    )
    assert "keda" not in str(ours)
    assert "config" not in ours
    assert not {"workers.keda", "redis", "airflowVersion"} & {one.official for one in conversion.said}


SECRETS = """
data:
  metadataConnection: {user: u, pass: canary-1, host: db.example.com, db: airflow}
  brokerUrl: redis://:canary-2@redis:6379/0
fernetKey: canary-3
apiSecretKey: canary-4
jwtSecret: canary-5
createUserJob: {defaultUser: {password: canary-6, username: me}}
registry: {connection: {user: me, pass: canary-7, host: registry.example.com}}
dags: {gitSync: {enabled: true, repo: "https://me:canary-8@git.example.com/dags.git", branch: main, sshKey: canary-9}}
env:
  - {name: AIRFLOW_CONN_MINE, value: "postgres://a:canary-10@b/c"}
  - {name: SOMETHING, value: "https://me:canary-11@example.com"}
extraEnv: |
  - name: API_TOKEN
    value: canary-12
config:
  smtp: {smtp_password: canary-13, smtp_user: me}
  celery: {broker_url: "redis://:canary-14@x"}
  secrets: {backend: a.b.C, backend_kwargs: '{"token": "canary-15"}'}
  mine: {db_pass: canary-40}
  database: {sql_alchemy_conn: "postgresql://a:canary-16@b/c"}
extraSecrets: {mine: {stringData: {key: canary-17}}}
scheduler:
  env: [{name: DB_PASSWORD, value: canary-18}]
  extraContainers: [{name: a, image: "b:1", env: [{name: A_SECRET, value: canary-19}]}]
triggerer:
  extraInitContainers: [{name: a, image: "b:1", args: ["--url=https://me:canary-20@example.com"]}]
redis: {password: canary-21}
elasticsearch: {enabled: true, connection: {user: u, pass: canary-22}}
kerberos: {enabled: true, keytabBase64Content: canary-23}
pgbouncer: {enabled: true, ssl: {key: canary-24}}
postgresql: {auth: {postgresPassword: canary-25}}
flower: {enabled: true, password: canary-26}
apiServer:
  env:
    - {name: DB_PASS, value: canary-27}
    - {name: SMTP_PWD, value: canary-28}
    - {name: GPG_PASSPHRASE, value: canary-29}
    - {name: ALERTS_WEBHOOK, value: canary-30}
    - {name: ALERTS, value: "https://hooks.slack.com/services/canary-31"}
    - {name: PIP_INDEX_URL, value: "https://glpat-canary-32@gitlab.example.com/simple"}
    - {name: PIP_EXTRA_INDEX_URL, value: "https://canary-33@pypi.example.com/simple"}
    - {name: OPTIONS, value: "-Dssl.keyPassword=canary-34"}
  extraInitContainers:
    - {name: a, image: "b:1", env: [{name: REDIS_PASS, value: canary-35}]}
  extraContainers:
    - {name: c, image: "b:1", args: ["--password=canary-36"]}
dagProcessor:
  extraContainers: [{name: a, image: "b:1", command: [run, --api-token, canary-37]}]
  extraInitContainers: [{name: a, image: "b:1", command: [sh, -c, "PGPASSWORD='canary-38' psql"]}]
  dagBundleConfigList:
    - {name: a, classpath: b.C, kwargs: {repo_url: "https://glpat-canary-39@gitlab.example.com/dags.git"}}
"""

#: What is none, though it has something of one.
HARMLESS = """
env:
  - {name: BYPASS, value: "1"}
  - {name: CONTACTS, value: "https://example.com/a/@me,me@example.com"}
  - {name: BUNDLES, value: '["https://git.example.com","me@example.com"]'}
  - {name: REPOSITORY, value: "ssh://git@git.example.com/dags.git"}
scheduler:
  extraContainers:
    - name: a
      image: b:1
      command: [run, --token-file, /run/token, --secret-name=mine, --password-stdin, --token, --verbose]
      args: ["--password=$(DB_PASSWORD)", --pass-access-token=true, --bypass=all, --compass, north, "https://$(A)@b/c"]
"""


def test_no_secret_is_copied_to_the_file_or_the_report(command):
    code, out, err = command(SECRETS)
    assert code == 3
    assert "canary" not in out
    assert "canary" not in err


def test_each_secret_names_the_secret_that_has_to_hold_it(converted):
    ours, conversion = converted(SECRETS, release="flows", namespace="data")
    assert conversion.secrets == {
        "airflow-database": {"url": "postgresql://u:<password>@db.example.com:5432/airflow"},
        "airflow-broker": {"url": "redis://:<password>@<host>:6379/0"},
        "airflow-keys": {key: f"<{key}>" for key in ("fernet-key", "api-secret-key", "jwt-secret")},
        "airflow-secrets-backend": {"kwargs": "<kwargs>"},
        "airflow-admin": {"admin-password": "<admin-password>"},
        "git-credentials": {"username": "<username>", "password": "<password>", "ssh": "<ssh>"},
        "airflow-environment": {
            name: f"<{name}>"
            for name in (
                "DB_PASSWORD", "A_SECRET", "AIRFLOW__SMTP__SMTP_PASSWORD", "AIRFLOW__CELERY__BROKER_URL",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_MINE",
                "SOMETHING", "API_TOKEN", "DB_PASS", "SMTP_PWD", "GPG_PASSPHRASE", "ALERTS_WEBHOOK", "ALERTS",
                "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "OPTIONS", "REDIS_PASS", "AIRFLOW__MINE__DB_PASS",
            )
        },
    }  # fmt: skip
    variables = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in ours["extraEnv"]}
    assert variables["API_TOKEN"] == {"name": "airflow-environment", "key": "API_TOKEN"}
    assert ours["scheduler"]["extraEnv"][0]["valueFrom"]["secretKeyRef"]["key"] == "DB_PASSWORD"
    assert ours["config"] == {"smtp": {"smtp_user": "me"}}
    assert ours["secretsBackend"] == {"class": "a.b.C", "existingSecret": "airflow-secrets-backend"}
    assert ours["dags"]["gitSync"]["repo"] == "https://git.example.com/dags.git"
    assert "extraInitContainers" not in ours.get("triggerer", {})
    for option in ("extraContainers", "extraInitContainers"):
        assert option not in ours.get("dagProcessor", {})
    assert "extraContainers" not in ours["apiServer"]


def test_what_is_no_secret_is_copied(converted):
    theirs = yaml.safe_load(HARMLESS)
    ours, conversion = converted(HARMLESS)
    assert conversion.secrets.keys() == {"airflow-database", "airflow-broker"}  # of every release
    assert ours["extraEnv"] == theirs["env"]
    assert ours["scheduler"]["extraContainers"] == theirs["scheduler"]["extraContainers"]


def test_the_report_has_the_commands_with_placeholders(command):
    _, _, err = command(SECRETS, "--namespace", "data")
    assert "kubectl --namespace data create secret generic airflow-keys" in err
    assert "--from-file=jwt-secret=<(printf %s '<jwt-secret>')" in err
    assert "kubectl --namespace data create secret generic mine --from-file=key=<file>" in err


def test_variables_that_name_a_secret_of_the_charts_become_its_value(converted):
    ours, _ = converted(
        """
secret:
  - {envName: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN, secretName: rds, secretKey: uri}
  - {envName: AIRFLOW__CORE__FERNET_KEY, secretName: keys, secretKey: fernet}
"""
    )
    assert ours["database"] == {"existingSecret": "rds", "secretKey": "uri"}
    assert ours["fernetKey"] == {"existingSecret": "keys", "secretKey": "fernet"}
    assert "extraEnv" not in ours


def test_names_of_the_release_are_put_into_templates_and_others_are_left_to_a_person(converted):
    ours, conversion = converted(
        """
extraEnv: |
  - name: A
    value: "{{ .Release.Name }}.{{ .Release.Namespace }}"
scheduler: {podAnnotations: {a: '{{ .Values.mine }}'}}
""",
        release="flows",
        namespace="data",
    )
    assert ours["extraEnv"] == [{"name": "A", "value": "flows.data"}]
    assert "scheduler" not in ours
    assert kinds(conversion, "scheduler.podAnnotations") == {Kind.HAND}


@pytest.mark.parametrize(
    ("executor", "kind", "resources", "by_hand"),
    [
        ("CeleryExecutor", "celery", "launcher.celery.resources", True),
        ("CeleryExecutor,KubernetesExecutor", "celery", "launcher.celery.resources workers.resources", False),
        ("KubernetesExecutor", "local", "workers.resources", False),
        ("LocalExecutor", "local", "workers.resources", False),
    ],
)
def test_the_executor_says_which_launcher_and_where_the_workers_values_go(
    converted, executor, kind, resources, by_hand
):
    ours, conversion = converted(
        f"executor: {executor}\nworkers: {{resources: {{limits: {{memory: 1Gi}}}}, nodeSelector: {{a: b}}}}\n"
    )
    assert ours["launcher"]["kind"] == kind
    said = [one for one in conversion.said if one.official == "workers.resources"]
    assert [" ".join(one.ours) for one in said if one.kind is Kind.CARRIED] == [resources]
    # What the worker pods of Celery's Python tasks have, is nobody's to guess.
    assert any("workers.resources says" in one.note for one in said if one.kind is Kind.HAND) is by_hand
    # Where tasks run: a Python task has a pod here that a Celery worker's process was.
    assert ours["workers"]["nodeSelector"] == {"a": "b"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("", Kind.HAND),
        ("networkPolicies: {enabled: false}\n", Kind.HAND),
        ("networkPolicies: {enabled: true}\n", Kind.FORM),
    ],
)
def test_that_network_policies_are_on_here_and_of_egress_is_said(converted, given, kind):
    ours, conversion = converted(f"executor: KubernetesExecutor\n{given}")
    (said,) = (one for one in conversion.said if one.official == "networkPolicies")
    assert said.kind is kind
    assert "networkPolicies.tasks, .extra and .egress" in said.note
    assert ours.get("networkPolicies") == ({"enabled": True} if kind is Kind.FORM else None)


@pytest.mark.parametrize(("port", "opened"), [("5433", [5433]), ("5432", None), ("6432", None)])
def test_another_port_of_the_database_is_opened(converted, port, opened):
    ours, _ = converted(f"data: {{metadataConnection: {{host: db.example.com, port: {port}}}}}\n")
    assert ours.get("networkPolicies") == (opened and {"egress": {"database": {"ports": opened}}})


def test_that_a_url_with_sslmode_is_refused_is_said_where_the_secret_is_named(converted):
    _, conversion = converted("data: {metadataSecretName: mine}\n")
    assert "# from data.metadataSecretName: a URL with ?sslmode=… is refused" in written(conversion, [])


VAULT = "airflow.providers.hashicorp.secrets.vault.VaultBackend"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (f"config: {{secrets: {{backend: {VAULT}, backend_kwargs: '{{\"url\": \"v\", \"config_path\": null}}'}}}}",
         {"class": VAULT, "kwargs": {"url": "v", "config_path": None}}),
        (f"env: [{{name: AIRFLOW__SECRETS__BACKEND, value: {VAULT}}}]", {"class": VAULT}),
        (f"config: {{secrets: {{backend: {VAULT}}}}}\n"
         "secret: [{envName: AIRFLOW__SECRETS__BACKEND_KWARGS, secretName: mine, secretKey: vault}]",
         {"class": VAULT, "existingSecret": "mine", "secretKey": "vault"}),
        (f"config: {{secrets: {{backend: {VAULT}, backend_kwargs: '{{\"a\": 1}}'}}}}\n"
         "secret: [{envName: AIRFLOW__SECRETS__BACKEND_KWARGS, secretName: mine, secretKey: vault}]",
         {"class": VAULT, "existingSecret": "mine", "secretKey": "vault"}),
        ("config: {secrets: {backend: ''}}", None),
    ],
)  # fmt: skip
def test_a_secrets_backend_is_a_value_of_its_own_which_opens_its_port(converted, given, found):
    ours, conversion = converted(f"executor: KubernetesExecutor\n{given}\n")
    assert ours.get("secretsBackend") == found
    assert "config" not in ours
    assert "extraEnv" not in ours
    assert "airflow-secrets-backend" not in conversion.secrets


@pytest.mark.parametrize(
    "arguments",
    [
        '{"url": "https://v", "token": "canary"}', '{"aws": {"aws_secret_access_key": "canary"}}',
        '{"gcp_keyfile_dict": {"a": "canary"}}', '{"url": "https://me:canary@v"}', '{"names": ["glpat-canary", "://a:canary@b"]}',
        "no JSON, canary", '["canary"]',
    ],
)  # fmt: skip
def test_arguments_of_a_secrets_backend_with_a_secret_stay_out_of_the_values(converted, arguments):
    text = yaml.safe_dump({"config": {"secrets": {"backend": VAULT, "backend_kwargs": arguments}}})
    ours, conversion = converted(text)
    assert ours["secretsBackend"] == {"class": VAULT, "existingSecret": "airflow-secrets-backend"}
    assert any("make the Secret airflow-secrets-backend with the key kwargs" in one.note for one in conversion.by_hand)
    assert "canary" not in written(conversion, [])


def test_arguments_of_a_secrets_backend_without_a_class_are_a_persons_to_place(converted):
    ours, conversion = converted("config: {secrets: {backend_kwargs: '{\"a\": 1}'}}\n")
    assert "secretsBackend" not in ours
    assert kinds(conversion, "config.secrets.backend") == {Kind.HAND}


def test_a_broker_without_celery_is_not_asked_for(converted):
    ours, conversion = converted("executor: KubernetesExecutor\ndata: {brokerUrl: 'redis://:pass@redis:6379/0'}\n")
    assert kinds(conversion, "data.brokerUrl") == {Kind.GONE}
    assert "airflow-broker" not in conversion.secrets
    assert ours["launcher"] == {"kind": "local"}


def test_an_executor_of_ones_own_is_a_persons_to_add(converted):
    _, conversion = converted("executor: mine.Executor\n")
    assert Kind.HAND in kinds(conversion, "executor")


def test_resources_are_as_given_and_nothing_of_our_default(converted):
    ours, _ = converted("scheduler: {resources: {requests: {cpu: 1}}}\n")
    assert ours["scheduler"]["resources"] == {"requests": {"memory": None, "cpu": 1}, "limits": {"memory": None}}


@pytest.mark.parametrize(
    ("given", "ref"),
    [
        ("branch: main", "main"),
        ("ref: v1", "v1"),
        ("branch: main, ref: v1", "main"),
        ("branch: main, rev: 0a1b2c", "0a1b2c"),
    ],
)
def test_the_ref_is_what_git_sync_goes_by(converted, given, ref):
    ours, _ = converted(f"dags: {{gitSync: {{enabled: true, repo: https://git.example.com/a.git, {given}}}}}\n")
    assert ours["dags"]["gitSync"]["ref"] == ref


def test_a_component_that_airflow_2_called_webserver_yields_to_the_api_server(converted):
    ours, conversion = converted("webserver: {replicas: 3, priorityClassName: high}\napiServer: {replicas: 2}\n")
    assert ours["apiServer"]["replicas"] == 2
    assert ours["apiServer"]["priorityClassName"] == "high"
    assert kinds(conversion, "webserver.priorityClassName") == {Kind.FORM}
    assert kinds(conversion, "webserver.replicas") == {Kind.GONE}


def test_a_list_for_all_pods_is_of_each_that_has_none(converted):
    ours, _ = converted(
        "nodeSelector: {pool: all}\nscheduler: {nodeSelector: {pool: mine}}\nexecutor: KubernetesExecutor\n"
    )
    found = {name: ours[name]["nodeSelector"]["pool"] for name in ours if "nodeSelector" in (ours[name] or {})}
    assert found.pop("scheduler") == "mine"
    assert set(found) == {"apiServer", "dagProcessor", "triggerer", "workers", "migrations"}
    assert set(found.values()) == {"all"}


def test_a_volume_of_the_official_charts_own_cannot_be_mounted(converted):
    ours, conversion = converted("scheduler: {extraVolumeMounts: [{name: dags, mountPath: /else}]}\n")
    assert not ours["scheduler"]["extraVolumeMounts"]
    assert any("the volume dags" in one.note for one in conversion.by_hand)


def test_airflow_2_has_to_become_3_first(converted):
    _, conversion = converted("airflowVersion: 2.11.0\n")
    assert kinds(conversion, "airflowVersion") == {Kind.HAND}


def test_another_store_of_logs_than_s3_stays_an_option(converted):
    ours, conversion = converted(
        "config: {logging: {remote_logging: 'True', remote_base_log_folder: 'gs://a/b', remote_log_conn_id: gcp}}\n"
    )
    assert ours["config"]["logging"]["remote_base_log_folder"] == "gs://a/b"
    assert "logs" not in ours
    assert any("gs is no store" in one.note for one in conversion.by_hand)


def test_the_namespace_of_tasks_is_not_the_releases(command):
    code, _, err = command(COMPLETE, "--namespace", "data", "--task-namespace", "data")
    assert code == 1
    assert "--task-namespace data is the release's own" in err


def test_components_are_named_from_the_special_to_the_general():
    for number, name in enumerate(COMPONENTS):
        assert not any(other.startswith(f"{name}.") for other in COMPONENTS[number + 1 :])


def test_the_values_of_a_file_are_not_lost_in_reading(tmp_path):
    (tmp_path / "a.yaml").write_text("config: {core: {parallelism: 3}}\nscheduler: {}\n")
    assert read([str(tmp_path / "a.yaml")]).values == {"config": {"core": {"parallelism": 3}}}
    with pytest.raises(ValuesError):
        read([str(tmp_path / "b.yaml")])
