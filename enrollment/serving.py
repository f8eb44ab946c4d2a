"""Starts a server from settings: reads files, loads extractors, wires them into ``matcher``."""

from __future__ import annotations

import ipaddress
import logging

import cv2

from enrollment.extract.extraction import ModalityExtractor
from enrollment.extract.extractors import Extractors
from enrollment.extract.face import load_face_extractor
from enrollment.extract.finger import FingerExtractor
from enrollment.extract.finger_mindtct import mindtct_extractor
from enrollment.extract.iris import IrisExtractor
from enrollment.extract.iris_network import IrisNetwork
from enrollment.settings import Settings
from matcher.calibration import Calibrations
from matcher.comparators import Scan
from matcher.decision import DecisionParameters
from matcher.errors import InvalidInput, ModalityUnavailable, NotCalibrated, PreconditionFailed
from matcher.fusion_model import FusionModel
from matcher.positions import Modality
from matcher.service.server import AmbisServer, ServerOptions, Tls
from matcher.threads import use_threads

log = logging.getLogger(__name__)


def start_server(settings: Settings) -> AmbisServer:
    """Starts the server that the settings describe.

    Raises:
        InvalidInput: settings that contradict each other.
        NotCalibrated: the fingerprint extractor that was chosen has no calibration artefact.
        PreconditionFailed: a face pack's licence is not acknowledged; and as AmbisServer.
        ModalityUnavailable: the face pack to change to cannot be used.
        StorageFailure: see AmbisServer.
    """
    if settings.calibrations is not None and not settings.calibrations.is_dir():
        raise InvalidInput(f"calibrations names {settings.calibrations}, which is no folder", reason="SETTINGS_INVALID")
    use_threads(settings.threads)
    extractors, calibrations = load_extractors(settings), Calibrations.load(settings.calibrations)
    successor = load_successor(settings, extractors)
    fusion = FusionModel.load(settings.calibrations)
    _check_calibrated(extractors, calibrations)
    _say_what_scores_rest_on(extractors, calibrations, fusion)
    return AmbisServer(
        settings.data,
        extractors,
        calibrations,
        decision_parameters(settings),
        ServerOptions(
            host=settings.host,
            port=settings.port,
            tls=_tls(settings),
            extraction_workers=settings.extraction_workers,
            shards=settings.shards,
            keep_samples=settings.keep_samples,
            migration_workers=settings.migration_workers,
            scan=Scan(settings.search_with),
        ),
        fusion,
        successor,
    )


def _say_what_scores_rest_on(extractors: Extractors, calibrations: Calibrations, fusion: FusionModel) -> None:
    """Into the log: a mistyped name or a folder that was forgotten shows here."""
    used = {s.algorithm for s in extractors.status()}
    for artefact in calibrations:
        about = artefact.about
        log.info(
            "calibration of %s: %s (fitted %s), vouches for %.1f",
            artefact.algorithm,
            about.get("data", "not described"),
            about.get("fitted", about.get("date", "not told")),
            artefact.trusted_to,
        )
        if artefact.algorithm not in used:
            log.warning("no extractor here makes %r templates; is its artefact's name right?", artefact.algorithm)
        goodness = about.get("goodness")
        if isinstance(goodness, dict) and goodness.get("holds") is False:
            log.warning("the calibration of %s did not hold on people left out; do not rely on it", artefact.algorithm)
    log.info("fusion model: %s", fusion.about.get("data", "not described"))


def load_extractors(settings: Settings) -> Extractors:
    """The extractors of all modalities that can run here, and reasons for those that cannot."""
    cv2.setNumThreads(1)  # images are extracted side by side already
    finger = mindtct_extractor() if settings.finger_extractor == "mindtct" else FingerExtractor()
    network = IrisNetwork(settings.iris_network) if settings.iris_network is not None else None
    if network is not None:
        log.warning("irises are segmented by %s: scores hold only if calibrated with it", settings.iris_network)
    extractors: list[ModalityExtractor] = [finger, IrisExtractor(network=network)]
    missing: dict[Modality, str] = {}
    if settings.face_pack == "none":
        missing[Modality.FACE] = "faces are switched off by the setting face_pack = 'none'"
    else:
        try:
            extractors.append(load_face_extractor(settings.face_pack, settings.face_licences_acknowledged))
        except ModalityUnavailable as unavailable:
            log.warning("no faces: %s", unavailable.message)
            missing[Modality.FACE] = unavailable.message
    return Extractors(extractors, missing)


def load_successor(settings: Settings, extractors: Extractors) -> Extractors | None:
    """The same extractors with the face pack to change to; None where the settings name none.

    Raises:
        ModalityUnavailable: it cannot be used.
        PreconditionFailed: its licence is not acknowledged.
        InvalidInput (SETTINGS_INVALID): it is the model that is in use.
    """
    if not settings.face_pack_next:
        return None
    face = load_face_extractor(settings.face_pack_next, settings.face_licences_acknowledged)
    if any(status.algorithm == face.algorithm for status in extractors.status()):
        raise InvalidInput(
            f"face_pack_next is the model {face.algorithm}, which face_pack is already; remove it",
            reason="SETTINGS_INVALID",
        )
    return extractors.with_extractor(face)


def _check_calibrated(extractors: Extractors, calibrations: Calibrations) -> None:
    """Refuses before the first print is, which would be refused with less to say."""
    algorithm = next(s.algorithm for s in extractors.status() if s.modality is Modality.FINGER)
    if algorithm and calibrations.get(algorithm) is None:
        raise NotCalibrated(
            f"fingerprints of {algorithm!r} have no calibration artefact, so their scores would mean nothing. Make one "
            "from prints of your own, under the same setting finger_extractor: ambis calibrate MANIFEST --modality "
            "finger --output calibrations --description TEXT; then set calibrations to that folder"
        )


def decision_parameters(settings: Settings) -> DecisionParameters:
    """The rates that the settings ask for; logs a warning where the prior limits them."""
    decision = DecisionParameters(
        target_fpir=settings.target_fpir,
        review_fpir=settings.review_fpir,
        target_fmr=settings.target_fmr,
        review_fmr=settings.review_fmr,
        prior=settings.prior,
        hit_confidence=settings.hit_confidence,
    )
    if decision.target_fpir > decision.fpir_limit:
        log.warning(
            "target_fpir is %g, but with prior %g and hit_confidence %g a HIT is decided at %.3g",
            decision.target_fpir,
            decision.prior,
            decision.hit_confidence,
            decision.fpir_limit,
        )
    return decision


def _tls(settings: Settings) -> Tls | None:
    if settings.tls_certificate is None and settings.tls_key is None:
        if settings.tls_client_ca is not None:
            raise InvalidInput("tls_client_ca needs tls_certificate and tls_key", reason="SETTINGS_INVALID")
        if not settings.insecure and not _is_loopback(settings.host):
            raise PreconditionFailed(
                f"host is {settings.host}: templates and images would cross the network in plain text, and anybody "
                "could delete subjects. Set tls_certificate, tls_key and tls_client_ca, or insecure = true where "
                "something else protects the connection",
                reason="TLS_REQUIRED",
            )
        return None
    if settings.tls_certificate is None or settings.tls_key is None:
        raise InvalidInput("tls_certificate and tls_key go together", reason="SETTINGS_INVALID")
    try:
        return Tls(
            settings.tls_certificate.read_bytes(),
            settings.tls_key.read_bytes(),
            settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None,
        )
    except OSError as error:
        raise InvalidInput(f"a TLS file cannot be read: {error}", reason="SETTINGS_INVALID") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
