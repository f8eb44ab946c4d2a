"""The report of ``ambis evaluate fuse``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enrollment.evaluation import charts
from enrollment.evaluation.html_parts import facts, table, text

SETTING_NAMES = {
    "all": "All",
    "fingers": "Fingers",
    "faces": "Faces",
    "all_30pct_missing": "All, 30 % missing",
}


def fuse_counts(result: Mapping[str, Any]) -> str:
    """What was fitted and tested, in one sentence."""
    r = result
    return (
        f"{r['splits']:,} random halves of {r['subjects']:,} people, fitted on one, tested on the other "
        f"({r['impostors_per_half']:,} impostor comparisons); matchers: {', '.join(r['matchers'])}"
    )


def fuse_body(result: Mapping[str, Any], command: str) -> str:
    """Everything below ``<body>``."""
    r = result
    settings = list(r["gar_at_far_1e-4"])
    known = r["confidence"]
    rows = [[text(method_name(name)), *(_cell(found[s]) for s in settings)] for name, found in r["methods"].items()]
    names = list(r["methods"])
    parts = [
        "<h1>Fusion of scores</h1>",
        facts(
            [
                ("Data", text(r["manifest"])),
                ("Counts", text(fuse_counts(r))),
                ("Date", text(r["date"])),
                ("Command", f"<code>{text(command)}</code>"),
                (
                    "Intervals",
                    f"{100 * known['level']:g} %, bootstrap over subjects, {known['resamples']:,} resamples, the "
                    "halves and their thresholds given. They stand below mean and standard deviation over the halves.",
                ),
            ]
        ),
        "<h2>Genuine accept rate at a false accept rate of 0.01 %</h2>",
        table(["Method", *(SETTING_NAMES[s] for s in settings)], rows, names.index(r["method"])),
        "<p class=note>'Cohort': scores first normalised with those of the people fitted on, which the other methods "
        "do not use. '30 % missing': every score of the test half is left out with that probability; a comparison that "
        "loses all of them is not accepted. Where a curve below runs along the lower edge, nobody was missed.</p>",
        *_calibration(r),
        "<h2>Error rates at other thresholds</h2><div class=charts>",
        *(
            charts.method_curves(
                r["curves"]["far"],
                {method_name(name): found[s] for name, found in r["curves"]["methods"].items()},
                method_name(r["method"]),
                SETTING_NAMES[s],
            )
            for s in settings
        ),
        charts.histogram(
            r["histogram"],
            f"fused score, {method_name(r['method'])}, all matchers, first half",
            ("genuine", "impostor"),
        ),
        "</div>",
        f"<p class=note>This run took {r['seconds']['halves']:.0f} s.</p>",
    ]
    return "".join(parts)


def _calibration(r: Mapping[str, Any]) -> list[str]:
    """Whether the fused score means what it says; nothing where it was not looked at."""
    found = r.get("calibration")
    if found is None:
        return []
    settings = found["observed_over_asked"]
    rows = [
        [f"{score:g}", f"{fmr:.1e}", *(_ratio(settings[s][k]) for s in settings)]
        for k, (score, fmr) in enumerate(zip(found["score"], found["fmr_asked"], strict=True))
    ]
    return [
        "<h2>Does the fused score mean what it says?</h2>",
        table(["Score", "FMR asked", *(SETTING_NAMES[s] for s in settings)], rows),
        "<p class=note>How many strangers of the people tested reach the score, over how many should: mean and "
        "standard deviation over the halves. Below 1 is cautious. &ndash;: fewer comparisons than the rule of three "
        "asks for.</p>",
    ]


def _ratio(found: Mapping[str, float] | None) -> str:
    return "&ndash;" if found is None else f"{found['mean']:.2f} &plusmn; {found['sd']:.2f}"


def method_name(name: str) -> str:
    """A method as people read it."""
    base, cohort, _ = name.partition("_cohort")
    words = base.replace("_", " ").replace("llr", "LLR").replace("fmr", "FMR")
    return words[0].upper() + words[1:] + (", cohort" if cohort else "")


def _cell(found: Mapping[str, Any]) -> str:
    low, high = found["mean_ci95"]
    return (
        f"<span>{100 * found['mean']:.2f} &plusmn; {100 * found['sd']:.2f} %"
        f"<br><span class=note>{100 * low:.1f} - {100 * high:.1f} %</span></span>"
    )
