"""What Python code calls: load, run, tune, replay."""

from __future__ import annotations

from pathlib import Path

from simlab.guardrails.own_rules import check_portable
from simlab.plan import Plan, load
from simlab.replays import ReplayResult, load_replay, run_replay
from simlab.results import Result
from simlab.runner import Options, run_plan
from simlab.tuned import TuneOptions, TuneResult
from simlab.tuning import tune_plan

__all__ = ["load", "replay", "run", "tune"]


def run(study: str | Path | Plan, *, workers: int = 1) -> Result:
    """Run a study to its verdict; nothing is written.

    Parameters
    ----------
    study : str, Path or Plan
        A study file, or what `load` made of one.
    workers : int
        Processes.

    Raises
    ------
    FileErrors
        With every mistake of the files.
    RuleError
        If a rule fails.
    OwnRuleError
        If a rule of one's own cannot be given to another process.
    """
    plan = study if isinstance(study, Plan) else load(study)
    if workers > 1:
        guardrails = (each for setting in plan.settings for policy in setting.policies for each in policy.guardrails)
        check_portable(guardrail.rule for guardrail in guardrails)
    return run_plan(plan, Options(workers=workers))


def tune(study: str | Path | Plan, options: TuneOptions | None = None) -> TuneResult:
    """Find the laxest thresholds that keep a study's false-alarm budget; nothing is written.

    Parameters
    ----------
    study : str, Path or Plan
        A study file, or what `load` made of one.
    options : TuneOptions, optional
        Budget, confidence, lanes, settings to choose from, workers.

    Raises
    ------
    FileErrors
        With every mistake of the files.
    SimlabError
        If there is no budget, or a setting to try is not in the study.
    RuleError
        If a rule fails.
    """
    return tune_plan(study if isinstance(study, Plan) else load(study), options or TuneOptions())


def replay(recording: str | Path, policies: str | Path, *, data: str | Path | None = None) -> ReplayResult:
    """Step policies through a recording; nothing is written.

    Parameters
    ----------
    recording : str or Path
        The small file that describes it.
    policies : str or Path
        A study, or a file that holds policies.
    data : str or Path, optional
        Folder of the recorded data.

    Raises
    ------
    FileErrors, RecordingError
        If a file or the data cannot be used.
    """
    return run_replay(load_replay(recording, policies=policies, data=None if data is None else Path(data)))
