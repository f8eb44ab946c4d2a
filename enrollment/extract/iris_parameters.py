"""Every constant of iris extraction, with its source.

Where no paper is named, the value was found on CASIA-Iris-V1 and MMU2 (near-infrared, 320 x 240 to 320 x 280).
Lengths called coarse are pixels of the coarse picture (longer side at most 320).
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class LogGabor:
    """A log-Gabor filter along the angle (Field 1987; Masek 2003), smoothed across it.

    Attributes:
        wavelength: of its centre, in columns of the rubber sheet.
        sigma_ratio: ratio of the spread to the centre frequency; 0.35 is about two and a half octaves, and narrower
            bands did worse.
        row_sigma: Gaussian along the radius, in rows of the rubber sheet.
    """

    wavelength: float
    sigma_ratio: float = 0.35
    row_sigma: float = 3.0


@dataclasses.dataclass(frozen=True)
class IrisExtractionParameters:
    """Constants of segmentation, normalisation, encoding and acceptance.

    Attributes:
        fine_side, coarse_side: longer sides, in pixels, of the pictures that boundaries are drawn in and searched in;
            larger ones are reduced, so that time does not grow with the image.
        specular_rise, specular_level: a glint rises that much above the opened picture and has at least this grey.
            Lower values take bright iris texture for glints, the costliest mistake there is: EER 1 % became 22 %.
        glint_deviations: robust standard deviations of the iris' own grey by which a faint glint in it stands out.
        pupil_radius, iris_radius: least and greatest radii searched (coarse).
        pupil_thresholds: grey levels above the darkest 0.3 % at which dark blobs are looked for.
        focus_radius: an iris of a smaller radius, in a picture that was reduced, is cut out and looked at again.
        pupil_top_weight: how much the top fifth of a pupil's rim counts; lashes shade it and lids hang there. MMU2,
            first half, FNMR at FMR 1e-3: 2.6 % with 0.4, 2.1 % with 0.2, 1.5 % with 0.05.
        contour_top_weight: the same when the rim is followed: there it tells ovals from circles.
        symmetry_peaks: centres taken from the vote of the gradients, of each of three ranges of radii.
        pupil_candidates: how many pupils are followed to their limbus before one is chosen.
        gradient_clip: grey levels a pixel beyond which an edge counts no more (an integro-differential operator after
            Daugman 1993, made robust: one glint or lash must not outweigh a whole boundary).
        ratio_low, ratio_high: iris over pupil radius that is plausible in either direction without penalty.
        small_iris: radius (coarse) below which a hypothesis counts for less: eyes fill their pictures.
        limbus_hypotheses, limbus_share: circles kept for a pupil, and their least value over that of the greatest.
        centre_down, centre_across: spread of the distance of the two centres, over the iris' radius. Looser ones let
            lashes pull the limbus aside.
        outward: exponent with which larger limbus hypotheses of one pupil are preferred. With darkened inner zones
            and washed out limbi drawn into CASIA-Iris-V1, first half (161 pictures), the limbus was over 10 % of its
            radius off in 5.6 % with 0.7, 4.3 % with 1.4, 3.1 % with 2.0; on the pictures as they are nothing changed.
        step_least, step_enough: grey levels by which the eyeball is brighter than the iris, that count a tenth and
            fully for a hypothesis.
        step_weight, step_limit: what a grey level of it counts for in the joint score, and the most that count.
        collarette_contrast: rise of the iris outwards, over the contrast of iris and pupil, that a collarette explains.
        lateral_up, lateral_down: degrees above and below the horizontal between which the limbus is looked for: lids
            hide it elsewhere.
        fourier_order: harmonics of the boundaries (active contours after Daugman 2007).
        rows, columns: size of the rubber sheet (Daugman 1993), radii by angles.
        inner, outer: share of the way from pupil to limbus at which the rubber sheet begins and ends.
        search_filters, verification_filters: of the two codes. Low frequencies forgive a boundary that is a little
            off, high ones tell more.
        mean_sigma, contrast_sigma: Gaussians, in pixels of the rubber sheet, of local mean and local contrast.
        noise_deviation: robust standard deviations from the row's median beyond which a pixel is a lash or a glare.
        lash_deviation: the same for dark pixels in the upper half, where lashes hang.
        lash_spread, lash_density: Gaussian, in columns, over lashes and lids, and the density above which what shows
            between them is hidden too.
        valid_share: share of the filter's support that must be visible for a bit to be comparable.
        fragile_share: share of the bits, those nearest to a change of sign, that are masked (Hollingsworth, Bowyer &
            Flynn, "The Best Bits in an Iris Code", PAMI 31(6), 2009).
    """

    fine_side: int = 640
    coarse_side: int = 320
    focus_radius: float = 64.0
    specular_rise: int = 60
    specular_level: int = 225
    glint_deviations: float = 8.0
    pupil_radius: tuple[float, float] = (6.0, 75.0)
    iris_radius: tuple[float, float] = (18.0, 150.0)
    pupil_thresholds: tuple[int, ...] = (6, 10, 14, 19, 25, 31, 38, 45, 53, 61, 70, 80)
    pupil_candidates: int = 5
    pupil_top_weight: float = 0.05
    contour_top_weight: float = 0.4
    symmetry_peaks: int = 2
    gradient_clip: float = 9.0
    ratio_low: float = 1.75
    ratio_high: float = 3.8
    small_iris: float = 32.0
    limbus_hypotheses: int = 4
    limbus_share: float = 0.35
    centre_down: float = 0.08
    centre_across: float = 0.10
    step_weight: float = 0.1
    step_limit: float = 30.0
    step_least: float = -5.0
    step_enough: float = 10.0
    collarette_contrast: float = 0.35
    outward: float = 2.5
    lateral_up: float = 20.0
    lateral_down: float = 52.0
    fourier_order: int = 3
    rows: int = 64
    columns: int = 512
    inner: float = 0.05
    outer: float = 0.9
    search_filters: tuple[LogGabor, ...] = (LogGabor(60.0, row_sigma=4.0),)
    verification_filters: tuple[LogGabor, ...] = (LogGabor(22.0, row_sigma=2.5), LogGabor(64.0))
    mean_sigma: float = 12.0
    contrast_sigma: float = 16.0
    noise_deviation: float = 3.0
    lash_deviation: float = 2.4
    lash_spread: float = 8.0
    lash_density: float = 0.4
    valid_share: float = 0.55
    fragile_share: float = 0.15


PARAMETERS = IrisExtractionParameters()
