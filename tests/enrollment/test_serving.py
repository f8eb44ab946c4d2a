"""Starting a server from settings: TLS, plain text off the loopback, licences, missing folders."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from enrollment.client import AmbisClient, CallFailed, ClientOptions, read_options
from enrollment.serving import decision_parameters, load_extractors, start_server
from enrollment.settings import Settings, load_settings
from matcher.calibration import Calibrations
from matcher.decision import DecisionParameters
from matcher.errors import AmbisError
from matcher.finger.parameters import FINGER_ALGORITHM, MINDTCT_ALGORITHM
from matcher.positions import Modality
from tests.enrollment.extract.face_samples import needs_compact_pack
from tests.enrollment.extract.pack_folders import model_id, write_pack


def settings(tmp_path: Path, **fields: object) -> Settings:
    return load_settings(data=tmp_path / "data", port=0, face_pack="none", **fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"host": "0.0.0.0"}, "TLS_REQUIRED"),
        ({"host": "example.org"}, "TLS_REQUIRED"),
        ({"tls_certificate": Path("x")}, "SETTINGS_INVALID"),
        ({"tls_client_ca": Path("x")}, "SETTINGS_INVALID"),
        ({"tls_certificate": Path("x"), "tls_key": Path("y")}, "SETTINGS_INVALID"),
        ({"calibrations": Path("nowhere")}, "SETTINGS_INVALID"),
    ],
)
def test_refused(tmp_path: Path, fields: dict[str, object], reason: str) -> None:
    with pytest.raises(AmbisError) as refused:
        start_server(settings(tmp_path, **fields))
    assert refused.value.reason == reason


@needs_compact_pack
def test_a_pack_needs_its_licence(tmp_path: Path) -> None:
    folder = str(write_pack(tmp_path, "face-acme-1", {"commercial_use": False}))
    with pytest.raises(AmbisError) as refused:
        start_server(load_settings(data=tmp_path / "data", port=0, face_pack=folder))
    assert refused.value.reason == "LICENCE_NOT_ACKNOWLEDGED"
    acknowledged = load_settings(face_pack=folder, face_licences_acknowledged=(model_id(Path(folder)),))
    status = {s.modality: s for s in load_extractors(acknowledged).status()}
    assert status[Modality.FACE].algorithm == model_id(Path(folder))


def test_no_pack_is_a_reason() -> None:
    status = {s.modality: s for s in load_extractors(load_settings(face_pack="none")).status()}
    assert not status[Modality.FACE].algorithm
    assert "switched off" in status[Modality.FACE].detail
    assert status[Modality.FINGER].algorithm
    missing = load_extractors(load_settings(face_pack="/some/pack")).status()
    assert "/some/pack" in {s.modality: s for s in missing}[Modality.FACE].detail


def test_mindtct_needs_a_calibration_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(AmbisError, match="ambis calibrate") as refused:
        start_server(settings(tmp_path, finger_extractor="mindtct"))
    assert refused.value.reason == "NOT_CALIBRATED"
    assert "finger_extractor" in refused.value.message
    own = dataclasses.replace(Calibrations.load()[FINGER_ALGORITHM], algorithm=MINDTCT_ALGORITHM)
    folder = tmp_path / "calibrations"
    folder.mkdir()
    (folder / f"{MINDTCT_ALGORITHM}.json").write_text(own.to_json())
    server = start_server(settings(tmp_path, finger_extractor="mindtct", calibrations=folder))
    server.stop(1.0)


def test_an_extractor_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AmbisError, match="finger_extractor") as refused:
        load_settings(finger_extractor="sourceafis")
    assert refused.value.reason == "SETTINGS_INVALID"


def test_rates_of_a_verdict_come_from_the_settings(caplog: pytest.LogCaptureFixture) -> None:
    rates = {
        "target_fpir": 0.002,
        "review_fpir": 0.2,
        "target_fmr": 1e-4,
        "review_fmr": 0.02,
        "prior": 0.4,
        "hit_confidence": 0.9,
    }
    assert dataclasses.asdict(decision_parameters(load_settings(**rates))) == rates
    assert decision_parameters(load_settings()) == DecisionParameters()
    assert caplog.text == ""


def test_a_target_that_the_prior_does_not_allow_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    decision_parameters(load_settings(prior=0.01))
    assert (
        "target_fpir is 0.01, but with prior 0.01 and hit_confidence 0.99 a HIT is decided at 0.000102" in caplog.text
    )


def certificate(
    folder: Path, name: str, authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (authority[0].subject, authority[1]) if authority else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


def test_mutual_tls(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "authority", None)
    certificate(tmp_path, "server", authority)
    certificate(tmp_path, "client", authority)
    certificate(tmp_path, "impostor", None)
    running = start_server(
        settings(
            tmp_path,
            tls_certificate=tmp_path / "server.pem",
            tls_key=tmp_path / "server.key",
            tls_client_ca=tmp_path / "authority.pem",
        )
    )
    try:
        target, ca = f"127.0.0.1:{running.port}", tmp_path / "authority.pem"
        with AmbisClient(target, read_options(20, ca, tmp_path / "client.pem", tmp_path / "client.key")) as client:
            assert client.status().subjects == 0
        for options in (
            read_options(3, ca),
            read_options(3, ca, tmp_path / "impostor.pem", tmp_path / "impostor.key"),
            ClientOptions(timeout=3),
        ):
            with AmbisClient(target, options) as stranger, pytest.raises(CallFailed):
                stranger.status()
    finally:
        running.stop(1.0)
