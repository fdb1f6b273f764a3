"""`otel-llm outcome` and `otel-llm forget`, as people run them, beside applications that say the same."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.cli.conftest import BIN, Command


def interaction(command: Command, feature: str) -> dict[str, Any]:
    (row,) = command.json("interactions", "--feature", feature)
    return row


def run(command: Command, code: str) -> None:
    """Another application, hours later."""
    later = [BIN / "opentelemetry-instrument", BIN / "python", "-c", code]
    subprocess.run(later, env=command.environment, check=True, timeout=120)


def test_an_outcome_from_anywhere_joins_its_interaction(own: Command) -> None:
    digest = interaction(own, "digest")["InteractionId"]
    run(own, f"import otel_llm; otel_llm.outcome('sent', success=True, interaction_id={digest!r})")
    assert (interaction(own, "digest")["Outcome"], interaction(own, "digest")["Success"]) == ("sent", True)
    assert own("outcome", digest[:12], "bounced", "--failure") == f"{digest}: bounced.\n"
    assert (interaction(own, "digest")["Outcome"], interaction(own, "digest")["Success"]) == ("bounced", False)
    (row,) = own.json("sql", "SELECT Outcome, Success, Reports, Calls FROM outcomes WHERE Feature = 'digest'")
    assert row == {"Outcome": "bounced", "Success": False, "Reports": 2, "Calls": 1}
    rows = {row["outcome"]: row["Interactions"] for row in own.json("report", "--by", "outcome")}
    assert rows == {"answered": 1, "bounced": 1, "": 1}


def test_an_outcome_of_an_interaction_that_is_not_there_yet(own: Command) -> None:
    assert own("outcome", "job-4711", "done") == "job-4711: done. The store has no call of it yet.\n"
    (row,) = own.json("sql", "SELECT InteractionId, Success, Calls, Cost FROM outcomes WHERE Outcome = 'done'")
    assert row == {"InteractionId": "job-4711", "Success": None, "Calls": 0, "Cost": None}


def test_a_person_is_forgotten_and_the_bill_stays(own: Command) -> None:
    before = {row["user"]: (row["Cost"], row["Calls"]) for row in own.json("report", "--by", "user")}
    assert set(before) == {"ada", "grace"}
    assert "llm_calls.UserId: 2 rows" in own("forget", "--user", "ada", "--dry-run")
    assert {row["user"] for row in own.json("report", "--by", "user")} == {"ada", "grace"}
    # What waits in the spool is about the person, too.
    run(own, "import otel_llm\nwith otel_llm.interaction('late', user_id='ada') as it: it.outcome('ok')")
    said = own("forget", "--user", "ada", "--yes")
    assert "ada is found nowhere in the store; the costs stay with forgotten-" in said
    after = {row["user"]: (row["Cost"], row["Calls"]) for row in own.json("report", "--by", "user")}
    (pseudonym,) = set(after) - {"grace"}
    assert after == {pseudonym: before["ada"], "grace": before["grace"]}
    assert b"ada" not in b"".join(path.read_bytes() for path in (own.home / "spool").glob("*.zst"))
    assert "The store knows nobody called ada." in own("forget", "--user", "ada")


def test_a_file_that_was_put_aside_is_named_and_deleted_only_on_request(own: Command) -> None:
    aside = own.home / "spool" / "rejected" / "1-1-00000000-1-deadbeef.native.zst"
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_bytes(b"... user.id ada ...")
    assert str(aside) in own("forget", "--user", "ada", "--yes")
    assert aside.exists()
    own("forget", "--user", "ada", "--yes", "--rejected")
    assert not aside.exists()


def test_nobody_is_forgotten_without_a_yes(own: Command) -> None:
    running = own.start("forget", "--user", "ada")
    _, error = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "Forget ada? This cannot be taken back" in error
    assert "ada" in {row["user"] for row in own.json("report", "--by", "user")}
    assert "say whose id" in own("forget", "--user", "", code=2)
