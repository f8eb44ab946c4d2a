"""Settings from ``ambis.toml`` and ``AMBIS_*`` environment variables; the environment wins.

The file is ``ambis.toml`` in the working folder, or the one that ``AMBIS_CONFIG`` names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from matcher.errors import InvalidInput


def _processors() -> int:
    """Processors that this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


class Settings(BaseSettings):
    """Everything that an operator may set; names in the file are these, in the environment ``AMBIS_`` + upper case."""

    model_config = SettingsConfigDict(env_prefix="AMBIS_", extra="forbid", env_ignore_empty=True)

    # Server
    data: Path = Field(Path("data"), description="data folder of the server")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(50051, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    tls_certificate: Path | None = Field(None, description="PEM certificate of the server")
    tls_key: Path | None = Field(None, description="PEM key of the server")
    tls_client_ca: Path | None = Field(None, description="PEM authority of client certificates; then they are required")
    insecure: bool = Field(False, description="allow plain text on an address other than loopback")
    keep_samples: bool = Field(True, description="keep images beside their templates")
    threads: int = Field(
        default_factory=_processors,
        ge=1,
        le=1024,
        description="threads that compute, for searches and extraction together",
    )
    shards: int = Field(1, ge=1, le=64, description="galleries that people are divided among")
    search_with: Literal["fastest", "faiss"] = Field(
        "fastest",
        description="what scans the references: 'fastest', or 'faiss' for FAISS everywhere, to check by: slower, and "
        "it misses some irises",
    )
    extraction_workers: int = Field(
        default_factory=_processors, ge=1, le=256, description="images at the same time at most, within threads"
    )
    calibrations: Path | None = Field(None, description="folder of the deployment's own calibration artefacts (*.json)")
    finger_extractor: Literal["leader", "mindtct"] = Field(
        "leader",
        description="'leader', or 'mindtct' for less computing and several times the errors; not comparable",
    )
    iris_network: Path | None = Field(
        None, description="ONNX network that finds pupil, iris and lids instead of the search; calibrate with it anew"
    )
    face_pack: str = Field(
        "compact", description="'compact', 'none', or a folder with a pack.toml or an InsightFace pack"
    )
    face_pack_next: str = Field("", description="the face pack to change to; see 'ambis models migrate'")
    migration_workers: int = Field(
        1, ge=1, le=256, description="stored images that a change of face pack extracts at the same time"
    )
    face_licences_acknowledged: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="ids of face models whose licence forbids commercial use and is acknowledged"
    )
    target_fpir: float = Field(0.01, ge=1e-6, le=0.5, description="false positive identification rate of a HIT")
    review_fpir: float = Field(0.1, ge=1e-6, le=0.5, description="the same of a REVIEW")
    prior: float = Field(0.5, ge=1e-6, le=1 - 1e-6, description="share of the people searched who are on record")
    hit_confidence: float = Field(
        0.99,
        ge=0.5,
        le=1 - 1e-6,
        description="least share of HITs that are right; with prior it limits target_fpir",
    )
    target_fmr: float = Field(1e-3, ge=1e-9, le=0.5, description="false match rate of a HIT in verification")
    review_fmr: float = Field(1e-2, ge=1e-9, le=0.5, description="the same of a REVIEW")

    # Client
    server: str = Field("127.0.0.1:50051", description="host:port of the server that client commands talk to")
    tls_ca: Path | None = Field(None, description="PEM authority of the server's certificate; then TLS is used")
    tls_client_certificate: Path | None = Field(None, description="PEM certificate of this client")
    tls_client_key: Path | None = Field(None, description="PEM key of this client")
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds that one call may take")

    @field_validator("face_licences_acknowledged", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        """In the environment: ids with commas between."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())


def config_file() -> Path:
    """The settings file; it need not exist unless AMBIS_CONFIG names it."""
    return Path(os.environ.get("AMBIS_CONFIG") or "ambis.toml")


def load_settings(**overrides: object) -> Settings:
    """Reads the settings; overrides that are None are left out.

    Raises:
        InvalidInput (SETTINGS_INVALID): which setting is wrong and why.
    """
    named = os.environ.get("AMBIS_CONFIG")
    if named and not Path(named).is_file():
        raise InvalidInput(f"AMBIS_CONFIG names {named}, which is no file", reason="SETTINGS_INVALID")
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidInput(
            f"settings are wrong ({lines}); see {config_file()} and AMBIS_* in the environment",
            reason="SETTINGS_INVALID",
        ) from None
    except ValueError as error:
        raise InvalidInput(f"{config_file()} cannot be read: {error}", reason="SETTINGS_INVALID") from None
