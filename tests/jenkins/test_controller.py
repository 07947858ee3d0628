"""The controller's image, its configuration and its place in Compose. Jenkins itself is not run here."""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
JENKINS = PROJECT / "jenkins"

# Every attribute that casc.yaml uses: its type, the plugin that brings it (`core`: Jenkins 2.516), where it was looked
# up. An attribute that Jenkins does not know keeps it from starting.
ATTRIBUTES: dict[str, tuple[type, str, str]] = {
    "jenkins.systemMessage": (str, "core", "Jenkins.setSystemMessage"),
    "jenkins.numExecutors": (int, "core", "Jenkins.setNumExecutors"),
    "jenkins.mode": (str, "core", "Jenkins.setMode"),
    "jenkins.slaveAgentPort": (int, "core", "Jenkins.setSlaveAgentPort: -1 is none"),
    "jenkins.noUsageStatistics": (bool, "core", "Jenkins.setNoUsageStatistics"),
    "jenkins.crumbIssuer": (str, "core", "DefaultCrumbIssuer @Symbol(standard), whose attribute newer versions lack"),
    "jenkins.markupFormatter": (str, "core", "EscapedMarkupFormatter @Symbol(plainText)"),
    "jenkins.securityRealm.local.allowsSignup": (bool, "core", "HudsonPrivateSecurityRealm, constructor"),
    "jenkins.securityRealm.local.users.id": (str, "configuration-as-code", "HudsonPrivateSecurityRealmConfigurator"),
    "jenkins.securityRealm.local.users.password": (str, "configuration-as-code", "the same: UserWithPassword"),
    "jenkins.authorizationStrategy.globalMatrix.entries.user.name": (str, "matrix-auth", "release notes of 3.2"),
    "jenkins.authorizationStrategy.globalMatrix.entries.user.permissions": (str, "matrix-auth", "the same"),
    "jenkins.nodes.permanent.name": (str, "core", "DumbSlave @Symbol(permanent), constructor"),
    "jenkins.nodes.permanent.nodeDescription": (str, "core", "Slave.setNodeDescription"),
    "jenkins.nodes.permanent.labelString": (str, "core", "Slave.setLabelString"),
    "jenkins.nodes.permanent.mode": (str, "core", "Slave.setMode"),
    "jenkins.nodes.permanent.numExecutors": (int, "core", "Slave.setNumExecutors"),
    "jenkins.nodes.permanent.remoteFS": (str, "core", "DumbSlave, constructor"),
    "jenkins.nodes.permanent.launcher.inbound.webSocket": (bool, "core", "JNLPLauncher @Symbol(inbound).setWebSocket"),
    "jenkins.globalNodeProperties.envVars.env.key": (str, "configuration-as-code", "GlobalNodePropertiesConfigurator"),
    "jenkins.globalNodeProperties.envVars.env.value": (str, "configuration-as-code", "the same"),
    "credentials.system.domainCredentials.credentials.usernamePassword.id": (str, "credentials", "its documentation"),
    "credentials.system.domainCredentials.credentials.usernamePassword.scope": (str, "credentials", "the same"),
    "credentials.system.domainCredentials.credentials.usernamePassword.description": (str, "credentials", "the same"),
    "credentials.system.domainCredentials.credentials.usernamePassword.username": (str, "credentials", "the same"),
    "credentials.system.domainCredentials.credentials.usernamePassword.password": (str, "credentials", "the same"),
    "unclassified.location.url": (str, "core", "JenkinsLocationConfiguration.setUrl"),
    "unclassified.location.adminAddress": (str, "core", "JenkinsLocationConfiguration.setAdminAddress"),
    "unclassified.email-ext.mailAccount.smtpHost": (str, "email-ext", "MailAccount.setSmtpHost"),
    "unclassified.email-ext.mailAccount.smtpPort": (str, "email-ext", "MailAccount.setSmtpPort"),
    "unclassified.email-ext.mailAccount.useTls": (str, "email-ext", "MailAccount.setUseTls"),
    "unclassified.email-ext.mailAccount.useSsl": (str, "email-ext", "MailAccount.setUseSsl"),
    "unclassified.email-ext.mailAccount.credentialsId": (str, "email-ext", "MailAccount.setCredentialsId"),
    "unclassified.lockableResourcesManager.declaredResources.name": (str, "lockable-resources", "its test of this"),
    "unclassified.lockableResourcesManager.declaredResources.description": (str, "lockable-resources", "the same"),
    "jobs.file": (str, "job-dsl", "FromFileScriptSource @Symbol(file)"),
}
PERMISSIONS = {
    "admin": {"Overall/Administer"},
    "operator": {"Overall/Read", "View/Read", "Job/Read", "Job/Build", "Job/Cancel", "Lockable Resources/View"},
    "viewer": {"Overall/Read", "View/Read", "Job/Read", "Lockable Resources/View"},
}


def casc() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((JENKINS / "casc.yaml").read_text())
    return loaded


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path, in which lists leave no trace."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, path)
    else:
        yield path, node


def plugins() -> list[tuple[str, str]]:
    lines = (JENKINS / "plugins.txt").read_text().splitlines()
    pairs = [line.partition(":") for line in lines if not line.startswith("#")]
    return [(name, version) for name, _, version in pairs]


def test_jenkins_knows_every_attribute_of_its_configuration_and_has_the_plugin_for_it() -> None:
    used = list(leaves(casc()))
    assert {path for path, _ in used} == set(ATTRIBUTES)
    assert not [(path, value) for path, value in used if type(value) is not ATTRIBUTES[path][0]]
    assert {plugin for _, plugin, _ in ATTRIBUTES.values()} <= {name for name, _ in plugins()} | {"core"}


def test_every_plugin_is_pinned_and_listed_once() -> None:
    names = [name for name, _ in plugins()]
    assert len(names) == len(set(names)) > 10
    wrong = [pair for pair in plugins() if not re.fullmatch(r"[a-z0-9-]+ \d[\w.-]*", " ".join(pair))]
    assert not wrong and {"workflow-aggregator", "timestamper"} <= set(names)
    assert "--latest=false" in (JENKINS / "Dockerfile").read_text()  # else pins are only the least


def test_who_may_do_what() -> None:
    jenkins = casc()["jenkins"]
    users = {user["id"]: user["password"] for user in jenkins["securityRealm"]["local"]["users"]}
    assert users == {name: f"${{jenkins_{name}_password}}" for name in PERMISSIONS}
    entries = jenkins["authorizationStrategy"]["globalMatrix"]["entries"]
    assert {entry["user"]["name"]: set(entry["user"]["permissions"]) for entry in entries} == PERMISSIONS
    assert jenkins["securityRealm"]["local"]["allowsSignup"] is False and jenkins["numExecutors"] == 0


def test_everything_that_the_image_is_made_of_is_there() -> None:
    dockerfile = (JENKINS / "Dockerfile").read_text()
    assert re.search(r"^FROM jenkins/jenkins:2\.516\.3-lts-jdk17$", dockerfile, re.MULTILINE)
    assert re.findall(r"^USER (\w+)$", dockerfile, re.MULTILINE)[-1] == "jenkins"
    copied = [name for line in re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE) for name in line.split()[:-1]]
    assert copied and not [name for name in copied if not (JENKINS / name).exists()]
    assert all(os.access(JENKINS / name, os.X_OK) for name in ("start.sh", "trust.sh", "agent.sh"))


# --- start.sh


def interpolated(value: str) -> str:
    """As Compose does it where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in compose_file()["services"]["jenkins"]["secrets"]:
        (folder / name).write_text("" if name.startswith("smtp") else f"the {name}\n")
    return folder


def start(tmp_path: Path, secrets: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """The controller's entry with what Compose gives it; in the place of Jenkins, a list of the variables it sees."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    for name, script in {"tini": 'echo "CALLED=$*"; env', "keytool": 'echo "KEYTOOL=$*"; cat "${@: -1}"'}.items():
        (tools / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (tools / name).chmod(0o755)
    store = tmp_path / "lib" / "security" / "cacerts"
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text("trusted anyway")
    by_compose = compose_file()["services"]["jenkins"]["environment"]
    given = {name: interpolated(value) for name, value in by_compose.items()} | settings
    path = {"PATH": f"{tools}:{os.environ['PATH']}", "SECRETS": str(secrets), "JAVA_HOME": str(tmp_path)}
    return subprocess.run([JENKINS / "start.sh"], env=path | given, capture_output=True, text=True)


def variables(said: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert said.returncode == 0, said
    return dict(line.partition("=")[::2] for line in said.stdout.splitlines() if "=" in line)


def test_every_variable_of_the_configuration_is_a_secret_or_set_by_compose_or_start_sh(
    tmp_path: Path, secrets: Path
) -> None:
    seen = variables(start(tmp_path, secrets))
    text = (JENKINS / "casc.yaml").read_text()
    named = set(re.findall(r"\$\{(\w+)\}", text))
    assert len(named) > 10 and text.count("${") == len(re.findall(r"\$\{\w+\}", text)) + 1  # the comment's
    assert not named - set(seen) - {file.name for file in secrets.iterdir()}
    assert seen["CALLED"] == "-- jenkins.sh"


@pytest.mark.parametrize(
    ("mode", "tls", "ssl"), [("", "true", "false"), ("starttls", "true", "false"), ("tls", "false", "true")]
)
def test_mail_is_sent_as_the_warehouse_sends_it(tmp_path: Path, secrets: Path, mode: str, tls: str, ssl: str) -> None:
    settings = {"SMTP_HOST": "mail.example", "SMTP_USER": "anna", "JENKINS_MAIL_TO": "anna@shop.example"}
    seen = variables(start(tmp_path, secrets, SMTP_TLS=mode, **settings))
    assert (seen["SMTP_USE_TLS"], seen["SMTP_USE_SSL"]) == (tls, ssl)
    assert (seen["SMTP_PORT"], seen["SMTP_CREDENTIALS"]) == ("587", "smtp")
    assert (seen["JENKINS_MAIL_TO"], seen["ALERT_FROM"]) == ("anna@shop.example", "warehouse@localhost")


def test_without_a_mail_server_or_a_login_there_is_none(tmp_path: Path, secrets: Path) -> None:
    said = start(tmp_path, secrets, SMTP_TLS="none", SMTP_PORT="25", JENKINS_MAIL_TO="anna@shop.example")
    seen = variables(said)
    assert said.stdout.startswith("jenkins: nobody is told by mail: SMTP_HOST is not set\n")
    assert {seen[name] for name in ("JENKINS_MAIL_TO", "SMTP_CREDENTIALS")} == {""}
    assert (seen["SMTP_USE_TLS"], seen["SMTP_USE_SSL"], seen["SMTP_PORT"]) == ("false", "false", "25")


def test_pages_are_found_and_told_in_the_warehouse_s_time_zone(tmp_path: Path, secrets: Path) -> None:
    seen = variables(start(tmp_path, secrets, JENKINS_PORT="8099", WAREHOUSE_TIMEZONE="Asia/Tokyo"))
    assert seen["JENKINS_URL"] == "http://127.0.0.1:8099/"
    assert "-Duser.timezone=Asia/Tokyo" in seen["JAVA_OPTS"].split()
    behind_a_proxy = variables(start(tmp_path, secrets, JENKINS_URL="https://jenkins.shop.example/"))
    assert behind_a_proxy["JENKINS_URL"] == "https://jenkins.shop.example/"


def test_the_mail_server_s_authority_is_trusted_all_its_certificates(tmp_path: Path, secrets: Path) -> None:
    without = variables(start(tmp_path, secrets))
    assert "trustStore" not in without["JAVA_OPTS"] and "KEYTOOL" not in without
    certificates = [f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in ("one", "two")]
    (secrets / "smtp_ca").write_text("a remark\n" + "".join(certificates))
    said = start(tmp_path, secrets)
    store = re.search(r"-Djavax\.net\.ssl\.trustStore=(\S+)", variables(said)["JAVA_OPTS"])
    assert store and Path(store[1]).read_text() == "trusted anyway"
    calls = re.findall(r"^KEYTOOL=.*-keystore (\S+) .*-alias (\S+) .*\n([^=]*)$", said.stdout, re.MULTILINE)
    assert [(call[0], call[2].strip()) for call in calls] == [(store[1], text.strip()) for text in certificates]
    assert len({alias for _, alias, _ in calls}) == 2
    Path(store[1]).unlink()


def test_it_refuses_to_start_without_passwords_or_with_a_wrong_mode(tmp_path: Path, secrets: Path) -> None:
    wrong = start(tmp_path, secrets, SMTP_TLS="ssl")
    assert wrong.returncode == 2 and "'ssl' is neither starttls, tls nor none" in wrong.stderr
    (secrets / "jenkins_viewer_password").write_text("")
    empty = start(tmp_path, secrets)
    assert (empty.returncode, empty.stderr) == (
        2,
        "jenkins: secrets/jenkins_viewer_password is missing or empty: make env\n",
    )


# --- Compose


def compose_file() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
    return loaded


@cache
def services(profile: str) -> dict[str, Any]:
    """What Compose makes of the file with this profile, or without any; without Compose, what stands in the file."""
    said = subprocess.run(
        [PROJECT / "scripts" / "compose.sh", "config"],
        env=os.environ | {"COMPOSE_PROFILES": profile},
        capture_output=True,
        text=True,
    )
    if "neither 'docker compose' nor docker-compose is here" in said.stderr:
        found = compose_file()
    else:
        assert said.returncode == 0, said
        found = yaml.safe_load(said.stdout)
    # docker-compose 1.29 prints them all, whatever the profile
    return {name: it for name, it in found["services"].items() if set(it.get("profiles", [profile])) <= {profile}}


def sources(service: dict[str, Any]) -> set[str]:
    """A service's volumes and secrets, by name."""
    volumes = {it["source"] if isinstance(it, dict) else it.split(":")[0] for it in service.get("volumes", [])}
    return volumes | {it["source"] if isinstance(it, dict) else it for it in service.get("secrets", [])}


def test_jenkins_and_its_agent_are_what_the_profile_adds() -> None:
    without, scheduled = services(""), services("scheduler")
    assert set(scheduled) - set(without) == {"jenkins", "jenkins-agent"}
    assert without == {name: scheduled[name] for name in without} and {"gold", "spark-client"} <= set(without)
    assert not [name for name, service in without.items() if "jenkins" in str(sources(service))]


def test_no_service_is_root_listens_to_the_world_or_has_docker() -> None:
    for name, service in services("scheduler").items():
        assert service["user"] not in ("root", "0"), name
        assert "docker.sock" not in str(service) and not service.get("privileged"), name
        assert service["mem_limit"] and service["restart"] == "unless-stopped", name
        for port in service.get("ports", []):
            assert (port["host_ip"] if isinstance(port, dict) else port.split(":")[0]) == "127.0.0.1", name


def test_jenkins_reaches_neither_the_cluster_nor_its_passwords() -> None:
    scheduled = services("scheduler")
    jenkins, agent = scheduled["jenkins"], scheduled["jenkins-agent"]
    assert set(jenkins["networks"]) == {"people"}
    passwords = {f"jenkins_{name}_password" for name in PERMISSIONS}
    assert sources(jenkins) == {"jenkins_home", "jenkins_agent", "smtp_password", "smtp_ca"} | passwords
    assert {name for name, it in scheduled.items() if "jenkins_agent" in sources(it)} == {"jenkins", "jenkins-agent"}
    assert [name for name, it in scheduled.items() if passwords & sources(it)] == ["jenkins"]
    assert not jenkins.get("depends_on") and "jenkins" not in agent["depends_on"]


def test_the_agent_is_the_client_but_for_its_name_and_the_secret_that_it_shares_with_jenkins() -> None:
    agent, client = services("scheduler")["jenkins-agent"], services("scheduler")["spark-client"]
    for part in ("image", "user", "networks", "depends_on", "init"):
        assert agent[part] == client[part], part
    assert agent["environment"] == client["environment"] | {"SPARK_LOCAL_HOSTNAME": agent["hostname"]}
    assert sources(agent) == sources(client) | {"jenkins_agent"}


@pytest.mark.parametrize(
    ("variable", "env_file", "given"),
    [
        (None, None, "scheduler"),
        (None, "GOLD_PORT=5432\n#COMPOSE_PROFILES=\n", "scheduler"),
        (None, "COMPOSE_PROFILES=\n", "not set"),
        (None, "COMPOSE_PROFILES=scheduler\n", "not set"),
        ("", "COMPOSE_PROFILES=scheduler\n", ""),
        ("", None, ""),
    ],
)
def test_the_scheduler_is_on_unless_the_environment_or_env_says_otherwise(
    tmp_path: Path, variable: str | None, env_file: str | None, given: str
) -> None:
    for name, script in {"docker": "exit 1", "docker-compose": 'echo "${COMPOSE_PROFILES-not set}"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(PROJECT / "scripts" / "compose.sh", tmp_path / "scripts")
    if env_file is not None:
        (tmp_path / ".env").write_text(env_file)
    environment = {name: value for name, value in os.environ.items() if name != "COMPOSE_PROFILES"}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | (
        {} if variable is None else {"COMPOSE_PROFILES": variable}
    )
    said = subprocess.run([script, "ps"], env=environment, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, f"{given}\n"), said


def test_passwords_are_made_once_for_all_that_need_one(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(PROJECT / "scripts" / "make_env.sh", tmp_path / "scripts")
    shutil.copy(PROJECT / ".env.example", tmp_path)
    subprocess.run([script], check=True, capture_output=True)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(compose_file()["secrets"])
    passwords = [text for name, text in made.items() if not name.startswith("smtp")]
    assert len(set(passwords)) == len(passwords) and all(re.fullmatch(r"[\w-]{32}", text) for text in passwords)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "secrets").iterdir()} == {0o444}
    subprocess.run([script], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == made
