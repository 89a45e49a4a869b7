"""An OpenSearch behind TLS with users of different rights (security plugin), and what a client needs to enter."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.distribution import SECURITY, Unobtainable, with_plugin
from harness.java import java_home
from harness.opensearch import Node, StartFailed, all_ready, launch

#: May do everything.
ADMIN = "admin"
#: May search the indexes that begin with ``OPEN`` and nothing else: not even read their mappings.
READER = "reader"
OPEN = "open"
#: The longest that hashing a password may take: it starts a JVM.
_HASH_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Secure:
    """A running node with users."""

    node: Node
    #: PEM file of the authority that signed the node's certificate.
    authority: Path
    #: The same of one that did not.
    stranger: Path
    #: Of every user.
    password: str


@contextlib.contextmanager
def secure_node() -> Iterator[Secure]:
    """A node that answers over TLS to users only, stopped at the end.

    :raises Unobtainable: this machine cannot run it, and why.
    :raises StartFailed: it did not come up.
    """
    home, java = with_plugin(SECURITY), java_home()
    if java is None:
        raise Unobtainable("no Java was found")
    with tempfile.TemporaryDirectory(prefix="rerank-pki-") as scratch:
        pki = Path(scratch)
        password, store_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
        _certificates(pki, java, store_password)
        hashed = _hash(home, java, password)
        authority = pki / "authority.pem"

        def configure(config: Path) -> None:
            for name in ("node.p12", "trusted.p12"):
                (config / name).write_bytes((pki / name).read_bytes())
            folder = config / "opensearch-security"
            for name, content in _users(hashed).items():
                (folder / name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML

        def ask(url: str) -> dict[str, object]:
            return _get_json(url, authority, password)

        node = launch(
            _settings(store_password), home=lambda: home, configure=configure, scheme="https", ask=ask, heap="640m"
        )
        try:
            yield Secure(all_ready([node])[0], authority, pki / "stranger.pem", password)
        finally:
            node.stop()


def _settings(password: str) -> dict[str, object]:
    settings: dict[str, object] = {
        "discovery.type": "single-node",
        "plugins.security.ssl.http.enabled": True,
        "plugins.security.ssl.transport.enforce_hostname_verification": False,
        "plugins.security.allow_default_init_securityindex": True,
        "plugins.security.authcz.admin_dn": ["CN=superuser,O=test"],
        "plugins.security.nodes_dn": ["CN=node,O=test"],
    }
    for layer in ("transport", "http"):
        for kind, file in (("keystore", "node.p12"), ("truststore", "trusted.p12")):
            prefix = f"plugins.security.ssl.{layer}.{kind}"
            settings.update({f"{prefix}_type": "PKCS12", f"{prefix}_filepath": file, f"{prefix}_password": password})
    return settings


def _users(hashed: str) -> dict[str, object]:
    """The plugin's own files: who there is, what roles allow, who has which."""

    def meta(kind: str) -> dict[str, object]:
        return {"_meta": {"type": kind, "config_version": 2}}

    reading = ["indices:data/read/search", "indices:data/read/msearch", "indices:data/read/get"]
    role = {
        "cluster_permissions": ["indices:data/read/msearch", "cluster:monitor/main"],
        "index_permissions": [{"index_patterns": [f"{OPEN}*"], "allowed_actions": reading}],
    }
    return {
        "internal_users.yml": {**meta("internalusers"), **{name: {"hash": hashed} for name in (ADMIN, READER)}},
        "roles.yml": {**meta("roles"), "searching": role},
        "roles_mapping.yml": {
            **meta("rolesmapping"),
            "all_access": {"users": [ADMIN]},
            "searching": {"users": [READER]},
        },
    }


def _certificates(folder: Path, java: Path, password: str) -> None:
    """An authority and a node that it signed for, and a stranger; by the JDK's own keytool."""

    def keytool(*arguments: str) -> None:
        command = [java / "bin" / "keytool", *arguments, "-storetype", "PKCS12", "-storepass", password, "-noprompt"]
        told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if told.returncode != 0:
            raise StartFailed(f"keytool {arguments[0]} failed: {(told.stdout + told.stderr).strip()}")

    key = ("-keyalg", "RSA", "-keysize", "2048", "-validity", "30")
    for name in ("authority", "stranger"):
        store = ("-keystore", f"{name}.p12", "-alias", name)
        keytool("-genkeypair", *store, *key, "-dname", f"CN={name},O=test", "-ext", "bc:c=ca:true")
        keytool("-exportcert", *store, "-rfc", "-file", f"{name}.pem")
    node = ("-keystore", "node.p12", "-alias", "node")
    keytool("-genkeypair", *node, *key, "-dname", "CN=node,O=test")
    keytool("-certreq", *node, "-file", "node.csr")
    names = ("-ext", "san=dns:localhost,ip:127.0.0.1", "-ext", "eku=serverAuth,clientAuth")
    signing = ("-keystore", "authority.p12", "-alias", "authority", "-infile", "node.csr", "-outfile", "node.pem")
    keytool("-gencert", *signing, *names, "-validity", "30", "-rfc")
    for store in ("node.p12", "trusted.p12"):
        keytool("-importcert", "-keystore", store, "-alias", "authority", "-file", "authority.pem")
    keytool("-importcert", *node, "-file", "node.pem")


def _hash(home: Path, java: Path, password: str) -> str:
    """The password as the plugin keeps it (bcrypt), by the plugin's own tool."""
    jars = f"{home}/plugins/opensearch-security/*:{home}/lib/*"
    command = [java / "bin" / "java", "-cp", jars, "org.opensearch.security.tools.Hasher", "-env", "WORD"]
    told = subprocess.run(
        command, env={"WORD": password}, capture_output=True, text=True, check=False, timeout=_HASH_SECONDS
    )
    found = [line for line in told.stdout.split() if line.startswith("$2")]
    if told.returncode != 0 or not found:
        raise StartFailed(f"the password could not be hashed: {(told.stdout + told.stderr).strip()[-500:]}")
    return found[-1]


def _get_json(url: str, authority: Path, password: str) -> dict[str, object]:
    context = ssl.create_default_context(cafile=str(authority))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    token = base64.b64encode(f"{ADMIN}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})
    with opener.open(request, timeout=10) as response:
        answer: dict[str, object] = json.load(response)
    return answer
