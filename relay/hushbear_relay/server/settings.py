"""What can be set: by HUSHBEAR_RELAY_… in the environment, or in a TOML file; none is needed."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .errors import RelayError, UnsafeFile

PREFIX = "HUSHBEAR_RELAY_"
FILE = "HUSHBEAR_RELAY_CONFIG"  # names the TOML file

BODY_MAX = 512 * 1024  # the longest sealed recording has 499,248 bytes


def _data() -> Path:
    """Return where data is kept: what systemd says, or where this system keeps such."""
    if directory := os.environ.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0])
    return Path(platformdirs.user_data_dir("hushbear-relay", appauthor=False))


class Address(str):
    """HOST:PORT; the host of an IPv6 address is in brackets."""

    @property
    def host(self) -> str:
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])


class Settings(BaseSettings):
    """All settings. What a limit says is told to who runs into it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    # Where
    data: Path = Field(default_factory=_data, description="directory of the SQLite database")
    database: SecretStr = Field(
        SecretStr(""), description="postgresql://…; without it SQLite in the data directory"
    )
    listen: str = Field("127.0.0.1:8421", description="address of the API")
    metrics: str = Field(
        "127.0.0.1:8422", description="address of health and metrics; '' for none"
    )
    reuse_port: bool = Field(False, description="let several processes share the API's port")
    hosts: tuple[str, ...] = Field(
        (), description="host names that clients may use, with the port unless it is 443 or 80"
    )
    proxies: str = Field(
        "127.0.0.1,::1", description="addresses whose X-Forwarded-For and -Proto are believed"
    )
    tls_certificate: Path | None = Field(None, description="PEM file, where no proxy does TLS")
    tls_key: Path | None = Field(None, description="PEM file, readable by nobody else")

    # Bodies
    bodies: Literal["database", "s3"] = Field("database", description="where bodies are kept")
    s3_bucket: str = Field("", description="bucket, which exists")
    s3_prefix: str = Field("", description="what the objects' names begin with")
    s3_endpoint: str | None = Field(None, description="URL of an S3-compatible store")
    s3_region: str | None = Field(None, description="its region")

    # Limits
    body_max: int = Field(BODY_MAX, ge=1024, le=1 << 24, description="bytes of one message")
    mailbox_messages: int = Field(2000, ge=1, description="messages in one mailbox")
    mailbox_bytes: int = Field(200_000_000, ge=1024, description="bytes in one mailbox")
    member_messages: int = Field(500, ge=1, description="messages of one member in one mailbox")
    member_bytes: int = Field(
        50_000_000, ge=1024, description="bytes of one member in one mailbox"
    )
    members_max: int = Field(64, ge=1, le=1000, description="members of one mailbox")
    days: float = Field(30, gt=0, le=3650, description="days that a message is kept")
    mailbox_days: int = Field(
        400, ge=1, description="days after which a mailbox whose owner never came is dropped"
    )
    skew: int = Field(300, ge=1, le=3600, description="seconds that a client's clock may be off")
    wait_max: float = Field(60, ge=0, le=600, description="seconds that a long poll may ask for")
    mailboxes_per_minute: int = Field(20, ge=1, description="new mailboxes per source and minute")
    rendezvous_per_minute: int = Field(
        20, ge=1, description="rendezvous begun or joined per source and minute"
    )
    rendezvous_seconds: int = Field(600, ge=1, le=3600, description="how long a rendezvous lasts")
    uploads: int = Field(64, ge=1, description="bodies that are taken in at the same time")
    body_seconds: float = Field(30, gt=0, description="seconds within which a body has to come…")
    body_rate: int = Field(4000, ge=1, description="…and one more for each so many bytes")
    header_seconds: float = Field(
        10, gt=0, description="seconds within which headers have to come"
    )
    stop_seconds: float = Field(
        20, ge=0, description="seconds that running requests have at a stop"
    )

    # Whom to tell of a hole: /.well-known/security.txt (RFC 9116)
    security_contact: tuple[str, ...] = Field((), description="URIs: mailto:, https:, tel:")
    security_expires: datetime.datetime | None = Field(
        None, description="until when this holds; else a year from each start"
    )
    security_policy: str | None = Field(None, description="URI of the policy")
    security_languages: str | None = Field(None, description="such as: en, de")

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    threads: int = Field(16, ge=1, le=256, description="database transactions at the same time")

    @field_validator("listen", "metrics")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            host, colon, port = value.rpartition(":")
            if not (colon and host and port.isdigit() and int(port) < 65536):
                raise ValueError("is HOST:PORT")
        return value

    @field_validator("security_contact")
    @classmethod
    def _contact(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not uri.startswith(("mailto:", "https:", "tel:")) for uri in value):
            raise ValueError("is a list of URIs: mailto:, https: or tel:")
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key belong together")
        if self.bodies == "s3" and not self.s3_bucket:
            raise ValueError("bodies in s3 need s3_bucket")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = [init_settings, env_settings]
        if file := os.environ.get(FILE):
            sources.append(TomlConfigSettingsSource(settings_cls, Path(file)))
        return tuple(sources)

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.database.get_secret_value() or f"sqlite:///{self.data / 'relay.sqlite'}"

    @property
    def keep(self) -> int:
        """Seconds that a message is kept."""
        return round(self.days * 86400)


def load(**given: Any) -> Settings:
    """Return the settings of this environment, or raise RelayError with one line that says what
    is wrong with which."""
    if file := os.environ.get(FILE):
        check_private(Path(file))
        _check_readable(Path(file))
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise RelayError(f"{name}: {first['msg']}.", "See `hushbear-relay settings`.") from None
    except ValueError as error:
        raise RelayError(f"The settings cannot be read: {error}.") from None


def _check_readable(path: Path) -> None:
    """Raise RelayError if a file that is named cannot be read: a relay without what it says would
    run on another database."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise RelayError(
            f"{path} cannot be read: {error.strerror}.", f"{FILE} names it; see who owns it."
        ) from None


def check_private(path: Path) -> None:
    """Raise UnsafeFile if anybody but this user may read or change a file. One that is not there
    is for whoever opens it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise RelayError(f"{path} cannot be read: {error.strerror}.") from None
    if os.name != "posix":
        return
    if status.st_mode & 0o077:
        raise UnsafeFile(
            f"{path} can be read or changed by others (mode {status.st_mode & 0o777:04o}).",
            f"If nobody has: `chmod 600 {path}`; else replace what is in it first.",
        )
    if status.st_uid not in (os.getuid(), 0):
        raise UnsafeFile(
            f"{path} belongs to another user.", f"Run as that user, or chown it to {os.getuid()}."
        )
