"""For whoever runs a relay: the command, what it refuses, health and metrics, files to deploy."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from host_tests.relay.people import Person
from host_tests.relay.postgres import Postgres
from host_tests.relay.running import Process, free_port, served, settings
from host_tests.targets import ROOT
from hushbear_relay.client.errors import NotFound, Refused
from hushbear_relay.client.http import Relay
from hushbear_relay.problems import Problem
from hushbear_relay.server import bodies, schema, upkeep
from hushbear_relay.server.app import security_txt
from hushbear_relay.server.database import Database
from hushbear_relay.server.errors import NoDatabase, OpenDatabase, RelayError, UnsafeFile
from hushbear_relay.server.settings import Settings, load

DEPLOY = ROOT / "relay/deploy"


def command(
    *arguments: str, data: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run hushbear-relay."""
    given = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | environment
    if data:
        given["HUSHBEAR_RELAY_DATA"] = str(data)
    return subprocess.run(
        [sys.executable, "-m", "hushbear_relay", *arguments],
        env=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def test_a_message_survives_the_commands_of_a_day(tmp_path: Path) -> None:
    """serve, stats, check, purge, backup; a graceful stop; and the backup serves as well."""
    data, port, metrics = tmp_path / "relay", free_port(), free_port()
    arguments = ["--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics}"]
    environment = {"PATH": os.environ["PATH"], "HUSHBEAR_RELAY_DATA": str(data)}
    process = subprocess.Popen(
        [sys.executable, "-m", "hushbear_relay", "serve", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        message = os.urandom(16)
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/v1").close()
                    break
                await asyncio.sleep(0.05)
        async with Relay(url) as relay:
            owner, member = Person(relay), Person(relay)
            await owner.mailbox.put([member.member_at(owner)])
            await member.at(owner).put(message, b"kept")
            said = json.loads(command("stats", "--json", data=data).stdout)
            assert (said["mailboxes"], said["members"], said["messages"]) == (1, 1, 1)
            assert command("check", data=data).stdout == "All is well.\n"
            at = f"127.0.0.1:{metrics}"
            assert command("check", "--running", HUSHBEAR_RELAY_METRICS=at).stdout == "ready\n"
            assert json.loads(command("purge", "--json", data=data).stdout)["messages"] == 0
            done = command("backup", str(tmp_path / "copy"), data=data)
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
            assert command("backup", str(tmp_path / "copy"), data=data).returncode == 1
            poll = asyncio.create_task(owner.mailbox.list(after=2**60, wait=60))
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert (await asyncio.wait_for(poll, 30)).messages == []
        assert await asyncio.to_thread(process.wait, 30) == 0
        lines = [json.loads(line) for line in process.stderr or ()]
        assert lines[-1]["event"] == "stopped"
    finally:
        process.kill()
        process.communicate()
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    (tmp_path / "copy").rename(restored / "relay.sqlite")
    async with served(settings(restored)) as (again, _), Relay(again) as relay:
        owner.mailbox._relay = relay
        assert await owner.mailbox.get(message) == b"kept"


def test_without_configuration_it_listens_on_loopback_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = load()
    assert {found.listen.rpartition(":")[0], found.metrics.rpartition(":")[0]} == {"127.0.0.1"}
    assert found.url == f"sqlite:///{tmp_path}/hushbear-relay/relay.sqlite"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LISTEN", "nowhere", "is HOST:PORT"),
        ("BODY_MAX", "many", "valid integer"),
        ("BODIES", "s3", "need s3_bucket"),
        ("TLS_KEY", "/some/key", "belong together"),
        ("SECURITY_CONTACT", '["me"]', "list of URIs"),
        ("DATABASE", "oracle://x", "no database that the relay knows"),
        ("DATABASE", "not a URL", "URL is none"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(
    name: str, value: str, said: str, tmp_path: Path
) -> None:
    done = command("check", data=tmp_path, **{f"HUSHBEAR_RELAY_{name}": value})
    assert done.returncode == 1
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_settings_come_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('database = "postgresql://relay:hunter2@/relay"\ndays = 7\n')
    file.chmod(0o644)
    done = command("settings", HUSHBEAR_RELAY_CONFIG=str(file))
    assert done.returncode == 3 and "can be read or changed by others" in done.stderr
    file.chmod(0o600)
    done = command("settings", HUSHBEAR_RELAY_CONFIG=str(file))
    assert "HUSHBEAR_RELAY_DAYS=7.0" in done.stdout and "hunter2" not in done.stdout
    assert all(f"HUSHBEAR_RELAY_{name.upper()}=" in done.stdout for name in Settings.model_fields)


def test_a_settings_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    for file, said in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        done = command("settings", HUSHBEAR_RELAY_CONFIG=str(file))
        assert done.returncode == 1 and not done.stdout
        assert f"{file} cannot be read: {said}" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_database_file_that_others_can_read_is_refused(
    tmp_path: Path, mode: int, suffix: str
) -> None:
    given = settings(tmp_path / "relay")
    with contextlib.closing(Database(given.url)) as made:
        made.prepare()
        assert (given.data / "relay.sqlite").stat().st_mode & 0o777 == 0o600
        file = given.data / f"relay.sqlite{suffix}"
        file.touch()
        file.chmod(mode)
        with pytest.raises(UnsafeFile, match=f"chmod 600 {file}"):
            made.check_closed()


def test_no_command_uses_a_database_file_that_others_can_read(tmp_path: Path) -> None:
    given = settings(tmp_path / "relay")
    (given.data / "relay.sqlite").touch(0o644)
    for what in ("serve", "check"):
        done = command(what, data=given.data)
        assert done.returncode == 3 and "chmod 600" in done.stderr


def test_a_tls_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.touch(0o644)
    named = {"HUSHBEAR_RELAY_TLS_KEY": str(key), "HUSHBEAR_RELAY_TLS_CERTIFICATE": str(key)}
    done = command("serve", data=tmp_path / "relay", **named)
    assert done.returncode == 3 and "key.pem" in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://relay:x@db.example/relay",
        "postgresql://relay:x@192.0.2.7/relay?sslmode=require",
        "postgresql://relay:x@db.example/relay?sslmode=verify-ca",
        "postgresql://relay:x@/relay?host=db.example",
    ],
)
def test_a_database_over_a_network_that_others_can_listen_on_is_refused(
    url: str, tmp_path: Path
) -> None:
    done = command("serve", data=tmp_path, HUSHBEAR_RELAY_DATABASE=url)
    assert done.returncode == 4 and "sslmode=verify-full" in done.stderr
    assert ":x@" not in done.stderr


def test_a_database_that_lets_anybody_in_is_refused(
    postgres: str, postgres_server: Postgres
) -> None:
    with contextlib.closing(Database(postgres)) as opened:
        opened.prepare()
        postgres_server.allow_anybody()
        try:
            assert lets_in(opened), "it was taken for closed"
        finally:
            postgres_server.ask_for_passwords()


def lets_in(database: Database) -> bool:
    """Return whether the relay finds, within 30 s, that a database is open."""
    until = time.monotonic() + 30
    while time.monotonic() < until:  # the server takes a moment to read its rules again
        try:
            database.check_closed()
        except OpenDatabase as refusal:
            return "scram-sha-256" in refusal.hint
        time.sleep(0.1)
    return False


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = command("stats", data=tmp_path)
    assert done.returncode == 5 and "There is no" in done.stderr
    url = f"postgresql://relay:x@127.0.0.1:{free_port()}/relay"
    done = command("check", data=tmp_path, HUSHBEAR_RELAY_DATABASE=url)
    assert done.returncode == 5 and len(done.stderr.splitlines()) == 1


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = command("serve", "--listen", address, "--metrics", "", data=tmp_path)
    assert done.returncode == 1 and "cannot be listened on" in done.stderr


def test_migrations_make_what_the_schema_says(database: str, tmp_path: Path) -> None:
    made = Database(settings(tmp_path / "relay", database).url)
    made.prepare()
    made.prepare()
    with made.reading() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        assert alembic.autogenerate.compare_metadata(context, schema.metadata) == []
    made.close()


def test_a_database_of_a_newer_version_is_left_alone(database: str, tmp_path: Path) -> None:
    made = Database(settings(tmp_path / "relay", database).url)
    made.prepare()
    with made.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NoDatabase, match="newer version"):
        made.prepare()
    made.close()


def test_several_processes_may_make_the_database_at_once(database: str, tmp_path: Path) -> None:
    given = settings(tmp_path / "relay", database)
    processes = [Process(given) for _ in range(3)]
    try:
        for process in processes:
            process._process = None
        import threading

        threads = [threading.Thread(target=process.start) for process in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert all(process.alive for process in processes)
    finally:
        for process in processes:
            process.kill()


async def test_check_finds_counters_that_do_not_count(database: str, tmp_path: Path) -> None:
    given = settings(tmp_path / "relay", database)
    async with served(given) as (url, service), Relay(url) as relay:
        owner, member = Person(relay), Person(relay)
        await owner.mailbox.put([member.member_at(owner)])
        await member.at(owner).put(os.urandom(16), b"x")
        assert upkeep.check(service.database, None) == []
        with service.database.writing() as connection:
            connection.execute(schema.mailboxes.update().values(messages=7))
        assert upkeep.check(service.database, None) == ["1 mailboxes do not count what is in them"]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_health_and_metrics_are_on_an_address_of_their_own(tmp_path: Path) -> None:
    given = settings(tmp_path / "relay")
    process = Process(given)
    await asyncio.to_thread(process.start)
    try:
        async with Relay(process.url) as relay:
            owner, member = Person(relay), Person(relay)
            await owner.mailbox.put([member.member_at(owner)])
            await member.at(owner).put(os.urandom(16), bytes(1000))
            with contextlib.suppress(NotFound):
                await member.mailbox.list()
        assert get(f"{process.metrics}/health/live") == (200, "live\n")
        assert get(f"{process.metrics}/health/ready") == (200, "ready\n")
        _, text = get(f"{process.metrics}/metrics")
        assert 'hushbear_relay_messages_total{what="stored"} 1.0' in text
        assert 'hushbear_relay_message_bytes_total{what="stored"} 1000.0' in text
        assert 'hushbear_relay_problems_total{code="not-found"} 1.0' in text
        assert 'route="/v1/mailboxes/{mailbox}/messages/{message}"' in text
        assert "process_resident_memory_bytes" in text
        assert not re.search(r"[0-9a-f]{32}", text)
        for path in ("/metrics", "/health/ready"):
            assert get(process.url + path)[0] == 404
        (given.data / "relay.sqlite").rename(given.data / "elsewhere")
        assert get(f"{process.metrics}/health/ready") == (503, "the database cannot be used\n")
    finally:
        process.kill()


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Return files with a certificate for loopback and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].touch(0o600)
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


async def test_it_does_tls_itself_if_it_has_a_key(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    given = settings(tmp_path / "relay", tls_certificate=certificate, tls_key=key)
    async with served(given) as (url, _):
        address = url.replace("http://127.0.0.1", "https://localhost")
        trusting = ssl.create_default_context(cafile=str(certificate))
        connector = aiohttp.TCPConnector(ssl=trusting, family=socket.AF_INET)
        async with Relay(address) as relay:
            relay._session = aiohttp.ClientSession(connector=connector)
            owner, member = Person(relay), Person(relay)
            await owner.mailbox.put([member.member_at(owner)])
            assert await member.at(owner).put(os.urandom(16), bytes(100_000))


def test_security_txt_is_as_rfc_9116_has_it(tmp_path: Path) -> None:
    now = datetime.datetime(2027, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    given = settings(
        tmp_path,
        security_contact=("mailto:security@relay.example", "https://relay.example/report"),
        security_policy="https://relay.example/policy",
        security_languages="en, de",
    )
    assert security_txt(given, now).splitlines() == [
        "Contact: mailto:security@relay.example",
        "Contact: https://relay.example/report",
        "Expires: 2028-01-01T03:04:05Z",
        "Policy: https://relay.example/policy",
        "Preferred-Languages: en, de",
    ]


async def test_security_txt_is_served_if_there_is_a_contact(tmp_path: Path) -> None:
    given = settings(tmp_path / "one", security_contact=("mailto:a@relay.example",))
    async with served(given) as (url, _):
        status, text = await asyncio.to_thread(get, f"{url}/.well-known/security.txt")
    assert status == 200 and text.startswith("Contact: mailto:a@relay.example\nExpires: ")
    async with served(settings(tmp_path / "two")) as (url, _):
        assert (await asyncio.to_thread(get, f"{url}/.well-known/security.txt"))[0] == 404


def test_load_says_which_setting_is_wrong() -> None:
    with pytest.raises(RelayError, match="days"):
        load(days=-1)


# What is deployed


def test_the_compose_file_opens_nothing_but_the_proxy() -> None:
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = composed["services"]
    assert set(services) == {"relay", "database", "proxy"}
    assert [name for name in services if "ports" in services[name]] == ["proxy"]
    (alone,) = services["database"]["networks"]
    assert composed["networks"][alone] == {"internal": True}
    assert [name for name in services if alone in services[name]["networks"]] == ["database"]
    assert services["database"]["command"][1:] == ["-c", "listen_addresses=127.0.0.1"]
    for service in services.values():
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True and service["restart"] == "unless-stopped"
    assert "metrics" not in (DEPLOY / "Caddyfile").read_text()


def variables(text: str) -> set[str]:
    return {name for name in re.findall(r"HUSHBEAR_RELAY_(\w+)", text) if name != "CONFIG"}


@pytest.mark.parametrize("name", ["compose.yaml", "Containerfile", "hushbear-relay.service"])
def test_what_the_files_set_can_be_set(name: str) -> None:
    known = {field.upper() for field in Settings.model_fields}
    assert variables((DEPLOY / name).read_text()) <= known


def test_what_the_document_sets_can_be_set() -> None:
    known = {field.upper() for field in Settings.model_fields}
    for document in ("docs/relay.md", "relay/README.md"):
        assert variables((ROOT / document).read_text()) <= known


def test_the_tests_that_the_document_names_are_there() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "host_tests/relay").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/relay.md").read_text()))
    assert len(named) > 15
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []


def test_the_document_has_every_problem_and_every_route() -> None:
    text = (ROOT / "docs/relay.md").read_text()
    absent = {p.code for p in Problem if f"`{p.code}`" not in text}
    assert absent == {"method", "failed"}, "what speaks for itself"


def test_the_client_needs_no_server() -> None:
    """What a phone imports brings nothing that only `hushbear-relay[server]` installs."""
    code = (
        "import sys, hushbear_relay.client.correspondence, hushbear_relay.client.rendezvous;"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"fastapi", "starlette", "sqlalchemy", "alembic", "uvicorn", "boto3"} & set(loaded)


def test_the_unit_is_confined() -> None:
    unit = (DEPLOY / "hushbear-relay.service").read_text()
    for line in ("DynamicUser=yes", "StateDirectory=hushbear-relay", "StateDirectoryMode=0700",
                 "ProtectSystem=strict", "NoNewPrivileges=yes", "UMask=0077"):  # fmt: skip
        assert line in unit.splitlines()
    assert "ExecStart=/usr/local/bin/hushbear-relay serve" in unit


# Bodies in an S3-compatible store


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def in_s3(
    s3: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, Any]]:
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    bucket = f"bucket-{os.urandom(4).hex()}"
    boto3.client("s3", endpoint_url=s3, region_name="us-east-1").create_bucket(Bucket=bucket)
    given = settings(
        tmp_path / "relay", database, bodies="s3", s3_bucket=bucket, s3_endpoint=s3,
        s3_region="us-east-1", s3_prefix="relay/",
    )  # fmt: skip
    async with served(given) as (url, service):
        yield url, service


def objects(service: Any) -> list[str]:
    found = service.store._client.list_objects_v2(Bucket=service.store._bucket)
    return [each["Key"] for each in found.get("Contents", ())]


async def test_bodies_are_kept_in_s3(in_s3: tuple[str, Any]) -> None:
    url, service = in_s3
    async with Relay(url) as relay:
        owner, member = Person(relay), Person(relay)
        await owner.mailbox.put([member.member_at(owner)])
        message, body = os.urandom(16), os.urandom(300_000)
        assert await member.at(owner).put(message, body)
        assert not await member.at(owner).put(message, body)
        assert len(objects(service)) == 1 and objects(service)[0].startswith("relay/")
        assert await owner.mailbox.get(message) == body
        assert upkeep.purge(service.database, service.store, service.settings).objects == 0
        await owner.mailbox.remove(message)
        assert upkeep.purge(service.database, service.store, service.settings).objects == 1
        assert objects(service) == []


async def test_an_upload_that_was_cut_short_leaves_no_object_for_ever(
    in_s3: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hushbear_relay.server import mailboxes

    url, service = in_s3
    async with Relay(url) as relay:
        owner, member = Person(relay), Person(relay)
        await owner.mailbox.put([member.member_at(owner)])

        def fail(*_: Any) -> bool:
            raise sa.exc.OperationalError("", {}, Exception("gone"))

        with monkeypatch.context() as patch:
            patch.setattr(mailboxes, "put", fail)
            with pytest.raises(Refused) as refusal:
                await member.at(owner).put(os.urandom(16), b"x")
            assert refusal.value.problem is Problem.STORAGE
        assert len(objects(service)) == 1
        upkeep.purge(service.database, service.store, service.settings)
        assert len(objects(service)) == 1, "it may be on its way"
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + bodies.UPLOAD_SECONDS + 1)
        upkeep.purge(service.database, service.store, service.settings)
        assert objects(service) == []


async def test_a_store_that_fails_is_told_and_nothing_is_lost(
    in_s3: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:

    url, service = in_s3
    async with Relay(url) as relay:
        owner, member = Person(relay), Person(relay)
        await owner.mailbox.put([member.member_at(owner)])
        message = os.urandom(16)
        bucket = service.store._bucket
        service.store._bucket = "no-such-bucket"
        with pytest.raises(Refused) as refusal:
            await member.at(owner).put(message, b"x")
        assert refusal.value.problem is Problem.STORAGE
        service.store._bucket = bucket
        assert await member.at(owner).put(message, b"x")
        service.store._client.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in objects(service)]}
        )
        with pytest.raises(NotFound):  # a backup knows it, the store no longer
            await owner.mailbox.get(message)


def test_a_bucket_that_is_not_there_is_told(s3: str, tmp_path: Path) -> None:
    done = command(
        "serve", data=tmp_path, HUSHBEAR_RELAY_BODIES="s3", HUSHBEAR_RELAY_S3_BUCKET="nowhere",
        HUSHBEAR_RELAY_S3_ENDPOINT=s3, HUSHBEAR_RELAY_S3_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test",
    )  # fmt: skip
    assert done.returncode == 1 and "nowhere cannot be used" in done.stderr
