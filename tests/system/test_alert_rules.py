"""Each alert fires when it should, and not when it should not: asked of the distribution's promtool."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring import ALERTS, alerts, board_expressions, rules
from tests.patience import patient
from tests.test_layering import ROOT

pytestmark = pytest.mark.system

Series = Mapping[str, str]
#: pairs of minutes, a little more than six hours
LONG = 190
#: hours; Prometheus takes long to go through them minute by minute
EIGHT_DAYS = 8 * 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`series`: a value for each minute: n+mx9 begins with n, grows by m, and has nine more; _ is none.

    `at`: how many after the first one; `fires`: the labels of each alert that fires then, besides its severity;
    `every`: what stands for a minute.
    """

    alert: str
    when: str
    series: Series
    at: int
    fires: tuple[Mapping[str, str], ...] = ()
    every: str = "1m"


def promtool(*arguments: object) -> None:
    program = shutil.which("promtool", path=f"{os.environ.get('PATH', '')}:{ROOT / '.venv-tools' / 'bin'}")
    if program is None:
        pytest.fail("promtool is not installed: `make test-system` says how")
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=patient(60)
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"


def callbacks(*, a_minute: float, slow: float) -> Series:
    """Callbacks of more than six hours, a value for two minutes, of which this share is slow."""
    name = "darkroom_callback_acknowledgement_seconds"
    return {
        f"{name}_count": f"0+{2 * a_minute}x{LONG}",
        f'{name}_bucket{{le="0.25"}}': f"0+{2 * a_minute * (1 - slow):.4f}x{LONG}",
    }


def archived(provider: str, *, a_minute: float, late: float) -> Series:
    """Likewise results, of which this share is stored in the second half of its link's life."""
    name = "darkroom_archive_link_life_left_ratio"
    return {
        f'{name}_count{{provider="{provider}"}}': f"0+{2 * a_minute}x{LONG}",
        f'{name}_bucket{{provider="{provider}",le="0.5"}}': f"0+{2 * a_minute * late:.4f}x{LONG}",
    }


def budget(used: str, cap: str = "100") -> Series:
    return {
        'darkroom_spend_budget_used{budget="day"}': f"{used}x60",
        'darkroom_spend_cap{budget="day"}': f"{cap}x60",
    }


def beat(process: str, kind: str, age: str) -> Series:
    return {f'darkroom_heartbeat_age_seconds{{process="{process}",kind="{kind}"}}': age}


def due(step: str, *, rows: str, oldest: str | None = None) -> Series:
    """Of some steps it is known how long the oldest row waits."""
    ages = {f'darkroom_work_due_oldest_age_seconds{{step="{step}"}}': oldest} if oldest else {}
    return {f'darkroom_work_due{{step="{step}"}}': rows, **ages}


def queued(*, others: str, dispatch: str = "1x60") -> Series:
    """`others`: generations that have left the queue; `dispatch`: batches with generations that may."""
    return {
        'darkroom_work_due{step="dispatch"}': dispatch,
        'darkroom_generations{state="queued",provider="kie"}': "50x60",
        'darkroom_generations{state="submitted",provider="kie"}': others,
    }


HOUR, SIX_HOURS = {"window": "1h"}, {"window": "6h"}
PAUSED = 'darkroom_account_paused{provider="kie",account="default",reason="key"}'
SIZE = "darkroom_ledger_bytes"
QUEUE = 'darkroom_broker_queue_length{queue="generations"}'

CASES = [
    Case(
        alert="DarkroomCallbacksSlow",
        when="every fifth callback is slow",
        series=callbacks(a_minute=60, slow=0.2),
        at=LONG,
        every="2m",
        fires=(HOUR, SIX_HOURS),
    ),
    Case(
        alert="DarkroomCallbacksSlow",
        when="every tenth is slow for long",
        series=callbacks(a_minute=60, slow=0.1),
        at=LONG,
        every="2m",
        fires=(SIX_HOURS,),
    ),
    Case(
        alert="DarkroomCallbacksSlow",
        when="all are quick, and every fifth is refused because the ledger is away",
        series=callbacks(a_minute=60, slow=0)
        | {'darkroom_callback_answers_total{status="503"}': f"0+30x{LONG}"}
        | {'darkroom_callback_answers_total{status="200"}': f"0+120x{LONG}"},
        at=LONG,
        every="2m",
        fires=(HOUR, SIX_HOURS),
    ),
    Case(
        alert="DarkroomCallbacksSlow",
        when="strangers without a token are refused",
        series=callbacks(a_minute=60, slow=0) | {'darkroom_callback_answers_total{status="404"}': f"0+500x{LONG}"},
        at=LONG,
        every="2m",
    ),
    Case(
        alert="DarkroomCallbacksSlow",
        when="one in a hundred is slow",
        series=callbacks(a_minute=60, slow=0.01),
        at=LONG,
        every="2m",
    ),
    Case(
        alert="DarkroomCallbacksSlow",
        when="all are slow, but fewer than 4 a minute arrive",
        series=callbacks(a_minute=3, slow=1),
        at=LONG,
        every="2m",
    ),
    Case(
        alert="DarkroomCallbacksSlow",
        when="all are slow for six minutes of a good day",
        series={
            "darkroom_callback_acknowledgement_seconds_count": f"0+120x{LONG + 3}",
            'darkroom_callback_acknowledgement_seconds_bucket{le="0.25"}': f"0+120x{LONG} {120 * LONG}x2",
        },
        at=LONG + 3,
        every="2m",
    ),
    Case(
        alert="DarkroomCallbacksSlow",
        when="they were slow for an hour, and are quick again",
        series={
            "darkroom_callback_acknowledgement_seconds_count": "0+60x60 3660+60x40",
            'darkroom_callback_acknowledgement_seconds_bucket{le="0.25"}': "0+30x60 1860+60x40",
        },
        at=95,
    ),
    Case(
        alert="DarkroomArchivingLate",
        when="every fifth result of one provider is late",
        series=archived("kie", a_minute=60, late=0.2) | archived("acedata", a_minute=60, late=0.001),
        at=LONG,
        every="2m",
        fires=(HOUR | {"provider": "kie"}, SIX_HOURS | {"provider": "kie"}),
    ),
    Case(
        alert="DarkroomArchivingLate",
        when="every tenth is late for long",
        series=archived("kie", a_minute=60, late=0.1),
        at=LONG,
        every="2m",
        fires=(SIX_HOURS | {"provider": "kie"},),
    ),
    Case(
        alert="DarkroomArchivingLate",
        when="one in a hundred is late",
        series=archived("kie", a_minute=60, late=0.01),
        at=LONG,
        every="2m",
    ),
    Case(
        alert="DarkroomArchivingLate",
        when="all are late, but fewer than 4 a minute are stored",
        series=archived("kie", a_minute=3, late=1),
        at=LONG,
        every="2m",
    ),
    Case(
        alert="DarkroomArchivingLate",
        when="all are late for six minutes of a good day",
        series={
            'darkroom_archive_link_life_left_ratio_count{provider="kie"}': f"0+120x{LONG + 3}",
            'darkroom_archive_link_life_left_ratio_bucket{provider="kie",le="0.5"}': f"0x{LONG} 120+120x2",
        },
        at=LONG + 3,
        every="2m",
    ),
    Case(
        alert="DarkroomArchivingLate",
        when="they were late for an hour, and are in time again",
        series={
            'darkroom_archive_link_life_left_ratio_count{provider="kie"}': "0+60x60 3660+60x40",
            'darkroom_archive_link_life_left_ratio_bucket{provider="kie",le="0.5"}': "0+30x60 1800x40",
        },
        at=95,
    ),
    Case(
        alert="DarkroomUnconfirmedOld",
        when="a submission is older than the horizon",
        series={'darkroom_unconfirmed{older_than_horizon="true"}': "1x20"},
        at=10,
        fires=({},),
    ),
    Case(
        alert="DarkroomUnconfirmedOld",
        when="Darkroom still searches for all of them",
        series={
            'darkroom_unconfirmed{older_than_horizon="true"}': "0x20",
            'darkroom_unconfirmed{older_than_horizon="false"}': "9x20",
        },
        at=10,
    ),
    Case(
        alert="DarkroomBudgetNearlyUsed",
        when="four fifths are used",
        series=budget("80"),
        at=20,
        fires=({"budget": "day"},),
    ),
    Case(alert="DarkroomBudgetNearlyUsed", when="less is used", series=budget("79"), at=20),
    Case(alert="DarkroomBudgetNearlyUsed", when="all of it is used", series=budget("100"), at=20),
    Case(
        alert="DarkroomBudgetUsed",
        when="what is left is less than a submission costs",
        series=budget("99.97"),
        at=20,
        fires=({"budget": "day"},),
    ),
    Case(alert="DarkroomBudgetUsed", when="something is left", series=budget("98"), at=20),
    Case(alert="DarkroomBudgetUsed", when="the cap is 0 on purpose", series=budget("0", "0"), at=20),
    Case(
        alert="DarkroomScrapeDown",
        when="the process does not answer",
        series={'up{job="darkroom",instance="a"}': "0x20"},
        at=10,
        fires=({"job": "darkroom", "instance": "a"},),
    ),
    Case(
        alert="DarkroomScrapeDown",
        when="Prometheus knows no such job",
        series={'up{job="node"}': "1x20"},
        at=10,
        fires=({"job": "darkroom"},),
    ),
    Case(
        alert="DarkroomScrapeDown",
        when="it is restarted",
        series={'up{job="darkroom",instance="a"}': "1x5 0x3 1x20"},
        at=9,
    ),
    Case(
        alert="DarkroomPartDown",
        when="the broker is away",
        series={'darkroom_part_up{part="broker"}': "0x20", 'darkroom_part_up{part="ledger"}': "1x20"},
        at=10,
        fires=({"part": "broker"},),
    ),
    Case(alert="DarkroomPartDown", when="all parts answer", series={'darkroom_part_up{part="broker"}': "1x20"}, at=10),
    Case(
        alert="DarkroomNoProcess",
        when="both workers are silent",
        series=beat("worker.1@a", "worker", "100+60x20")
        | beat("worker.2@b", "worker", "200+60x20")
        | beat("clock.1@a", "clock", "5x20"),
        at=10,
        fires=({"kind": "worker"},),
    ),
    Case(
        alert="DarkroomNoProcess",
        when="one of two is silent",
        series=beat("worker.1@a", "worker", "100+60x20") | beat("worker.2@b", "worker", "5x20"),
        at=10,
    ),
    Case(
        alert="DarkroomProcessSilent",
        when="one of two is silent",
        series=beat("worker.1@a", "worker", "100+60x20") | beat("worker.2@b", "worker", "5x20"),
        at=10,
        fires=({"kind": "worker", "process": "worker.1@a"},),
    ),
    Case(
        alert="DarkroomProcessSilent",
        when="a container was replaced two hours ago",
        series=beat("worker.1@a", "worker", "7200+60x20") | beat("worker.1@b", "worker", "5x20"),
        at=10,
    ),
    Case(
        alert="DarkroomWorkNotShrinking",
        when="callbacks are due and become more",
        series=due("ingest", rows="100+10x60", oldest="60+60x60"),
        at=50,
        fires=({"step": "ingest"},),
    ),
    Case(
        alert="DarkroomWorkNotShrinking",
        when="they become fewer",
        series=due("ingest", rows="1000-10x60", oldest="600+60x60"),
        at=50,
    ),
    Case(
        alert="DarkroomWorkNotShrinking",
        when="there are always some, and none waits for long",
        series=due("archive", rows="100x60", oldest="20x60"),
        at=50,
    ),
    Case(
        alert="DarkroomWorkNotShrinking",
        when="events are due and become more",
        series=due("notify", rows="10+1x90"),
        at=80,
        fires=({"step": "notify"},),
    ),
    Case(alert="DarkroomWorkNotShrinking", when="events become fewer", series=due("notify", rows="900-5x90"), at=80),
    Case(
        alert="DarkroomWorkNotShrinking",
        when="all events were delivered now and then",
        series=due("notify", rows="0+1x20 0+1x20 0+1x40"),
        at=80,
    ),
    Case(
        alert="DarkroomWorkNotShrinking",
        when="a batch waits for its turn, and thumbnails for everything",
        series=due("dispatch", rows="1x90") | due("thumbnail", rows="9x90", oldest="600+60x90"),
        at=80,
    ),
    Case(
        alert="DarkroomNothingSubmitted",
        when="none has left the queue for half an hour",
        series=queued(others="7x60"),
        at=50,
        fires=({"step": "dispatch"},),
    ),
    Case(
        alert="DarkroomNothingSubmitted",
        when="some leave it",
        series=queued(others="7+1x60"),
        at=50,
    ),
    Case(
        alert="DarkroomNothingSubmitted",
        when="the batch is paused, so nothing is due",
        series=queued(others="7x60", dispatch="0x60"),
        at=50,
    ),
    Case(
        alert="DarkroomNothingSubmitted",
        when="it was idle and gets its first work",
        series=queued(others="7x60", dispatch="0x45 1x15"),
        at=50,
    ),
    Case(
        alert="DarkroomAssetsAtRisk",
        when="a result expires soon",
        series={"darkroom_assets_at_risk": "1x30"},
        at=20,
        fires=({},),
    ),
    Case(
        alert="DarkroomAssetsAtRisk",
        when="it may be stored within minutes",
        series={"darkroom_assets_at_risk": "0x5 1x5 0x20"},
        at=11,
    ),
    Case(
        alert="DarkroomAccountPaused",
        when="its key or its balance is refused",
        series={PAUSED: "1x30"},
        at=20,
        fires=({"provider": "kie", "account": "default", "reason": "key"},),
    ),
    Case(alert="DarkroomAccountPaused", when="it only takes a break", series={PAUSED: "0x5 1x5 0x20"}, at=11),
    Case(
        alert="DarkroomAccountPaused",
        when="somebody paused it",
        series={PAUSED.replace('"key"', '"person"'): "1x30"},
        at=20,
    ),
    Case(
        alert="DarkroomQueueNotRead",
        when="requests of others pile up",
        series={QUEUE: "100+10x60"},
        at=40,
        fires=({"queue": "generations"},),
    ),
    Case(alert="DarkroomQueueNotRead", when="a burst is being worked off", series={QUEUE: "5000-50x60"}, at=40),
    Case(alert="DarkroomQueueNotRead", when="a wake-up of each step waits", series={QUEUE: "4x60"}, at=40),
    Case(
        alert="DarkroomPruneNotRun",
        when="its last run was four hours ago",
        series={"darkroom_prune_last_run_timestamp_seconds": "0x300"},
        at=240,
        fires=({},),
    ),
    Case(
        alert="DarkroomPruneNotRun",
        when="it runs every hour",
        series={"darkroom_prune_last_run_timestamp_seconds": "0x59 3600x59 7200x59 10800x59 14400x59"},
        at=240,
    ),
    Case(
        alert="DarkroomLedgerGrows",
        when="it doubles within a week",
        series={SIZE: f"1000000000+12000000x{EIGHT_DAYS}"},
        at=EIGHT_DAYS,
        every="1h",
        fires=({},),
    ),
    Case(
        alert="DarkroomLedgerGrows",
        when="it grows by a tenth",
        series={SIZE: f"10000000000+6000000x{EIGHT_DAYS}"},
        at=EIGHT_DAYS,
        every="1h",
    ),
    Case(
        alert="DarkroomLedgerGrows",
        when="it is small",
        series={SIZE: f"1000+1000x{EIGHT_DAYS}"},
        at=EIGHT_DAYS,
        every="1h",
    ),
]


TWINS = {found[1]: one for one in alerts() if (found := re.match(r"absent\((darkroom_[^)]*)\)", one["expr"]))}
#: a value for five minutes; the twin that waits longest does so for three hours
THERE, VANISHES, AT_LAST = "1x60", "1x6 _x54", 58


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.when}")
def test_it_fires_when_it_should_and_only_then(case: Case, tmp_path: Path):
    check(tmp_path, case.alert, case.series, case.at, case.fires, case.every)


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    others = {one["alert"] for one in alerts()} - {"DarkroomMetricMissing"}
    assert {case.alert for case in CASES if case.fires} == others
    assert {case.alert for case in CASES if not case.fires} == others


def test_whatever_has_no_long_window_of_its_own_has_to_last_for_some_minutes():
    assert {one["alert"] for one in alerts() if "for" not in one} == {
        one["alert"] for one in alerts() if "ratio_rate" in one["expr"]
    }


def test_every_ratio_is_ignored_where_little_happens():
    ratios = {one["alert"] for one in alerts() if "ratio_rate" in one["expr"]}
    assert {case.alert for case in CASES if "fewer than 4 a minute" in case.when and not case.fires} == ratios


@pytest.mark.parametrize("twin", TWINS)
def test_a_metric_that_vanishes_is_reported(twin: str, tmp_path: Path):
    series = dict.fromkeys(TWINS, THERE) | {twin: VANISHES}
    selected = dict(re.findall(r'(\w+)="([^"]*)"', twin))
    check(
        tmp_path,
        "DarkroomMetricMissing",
        series,
        AT_LAST,
        [{"metric": TWINS[twin]["labels"]["metric"], **selected}],
        "5m",
    )


def test_metrics_that_are_there_are_not_reported(tmp_path: Path):
    check(tmp_path, "DarkroomMetricMissing", dict.fromkeys(TWINS, THERE), AT_LAST, [], "5m")


def test_without_prices_and_callbacks_nothing_is_missing(tmp_path: Path):
    series = {twin: THERE for twin in TWINS if "spend" not in twin and "answers" not in twin}
    series |= {twin: "0x60" for twin in TWINS if "acknowledgement" in twin}
    check(tmp_path, "DarkroomMetricMissing", series, AT_LAST, [], "5m")


def test_every_expression_of_the_board_parses(tmp_path: Path):
    recorded = [{"record": f"board:{number}", "expr": one} for number, one in enumerate(board_expressions())]
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": recorded}]}))
    promtool("check", "rules", file)


def test_promtool_has_nothing_against_the_rules():
    promtool("check", "rules", "--lint-fatal", ALERTS)


def check(
    folder: Path, alert: str, series: Series, at: int, fires: Sequence[Mapping[str, str]], every: str = "1m"
) -> None:
    """As `Case` has it."""
    file = folder / "case.yml"
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    told = [{"labels": as_series(alert, labels), "value": 1} for labels in fires]
    asked = {
        "interval": every,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{at * int(every[:-1])}{every[-1]}", "exp_samples": told}],
    }
    # To evaluate all the others as well takes four times as long.
    alone = folder / "rules.yml"
    needed = [rule for rule in rules() if rule.get("alert", alert) == alert]
    alone.write_text(yaml.safe_dump({"groups": [{"name": alert, "rules": needed}]}))
    file.write_text(yaml.safe_dump({"rule_files": [str(alone)], "evaluation_interval": every, "tests": [asked]}))
    promtool("test", "rules", file)


def as_series(alert: str, labels: Mapping[str, str]) -> str:
    """As ALERTS has it: with the labels of the rule."""
    (rule,) = (one for one in alerts() if one["alert"] == alert and is_of(labels, one))
    every = {"alertname": alert, "alertstate": "firing", **rule["labels"], **labels}
    return f"ALERTS{{{','.join(f'{name}={json.dumps(value)}' for name, value in every.items())}}}"


def is_of(labels: Mapping[str, str], rule: Mapping[str, Any]) -> bool:
    return all(labels.get(name) == value for name, value in rule["labels"].items() if name != "severity")
