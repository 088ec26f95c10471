"""What a page shows of an attestation that is not affirmed, and how a run tells it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from console import attest_page
from console.attest_page import Attested
from console.telling import lines_of
from evidence.attesting import in_one_line
from ipc_schemas import links
from tests.support.attested import Bench, digest, published

RELEASE = published()
BENCH = Bench()
EVIL = digest("evil")
FOUND = BENCH.appraised(BENCH.boot(RELEASE, {"monitor": EVIL}), RELEASE, BENCH.verifier(RELEASE))


def shown(found: Attested) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=140, color_system=None).print(attest_page.page(found))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_the_first_layer_that_differs_is_named_and_what_it_measured_is_not_believed() -> None:
    lines = shown(Attested(FOUND, None, "", "", None))
    expected, found = RELEASE.digests["monitor"].hex()[:16], EVIL.hex()[:16]
    assert f"bootloader monitor (image) {expected} {found} differs: the first" in lines
    assert sum(line.endswith("differs: the first") for line in lines) == 1
    assert any(line.startswith("monitor therapy (image)") and line.endswith("not believed") for line in lines)
    assert any(line.startswith("measurements fails image monitor, measured by bootloader") for line in lines)
    assert any(line.startswith("CONTRAINDICATED image monitor, measured by bootloader") for line in lines)


def test_a_device_that_did_not_answer_has_no_verdict() -> None:
    lines = shown(Attested(None, None, "", "", None, refusals=("rom refuses release: it says why",)))
    assert lines[-1] == "NO ANSWER rom refuses release: it says why"
    assert not any("AFFIRMING" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("attested: AFFIRMING, nonce fresh, release 1.0", "device"),
        (in_one_line(FOUND), "bad"),
        ("attested, without asking nonce: AFFIRMING, release 1.0", "bad"),
        ("not attested: warm start, this monitor has no secret of its own", "bad"),
    ],
)
def test_a_run_shows_any_other_verdict_plainly(text: str, kind: str) -> None:
    assert lines_of(links.Note(0, "attestation", "", text, {})) == [(0, kind, text, "")]


@pytest.mark.parametrize(("facts", "kind"), [({"failed": True}, "bad"), ({"of": ["therapy"]}, "device")])
def test_settings_that_were_not_sealed_are_shown_as_bad_news(facts: dict[str, object], kind: str) -> None:
    (line,) = lines_of(links.Note(0, "settings", "", "so", facts))  # type: ignore[arg-type]
    assert line.kind == kind
