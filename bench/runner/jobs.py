"""What a command means: methods x tracks x targets x seeds, resolved into jobs, all checked before any work starts."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from bench.errors import UsageError, unknown_name
from bench.records.hardware import device_class
from bench.runner.inputs import InputsOf, TrackInputs, inputs_here, with_inputs
from bench.runner.needs import unmet_need
from bench.specs.budget import BudgetOverride, Unit
from bench.specs.claim import Claim, load_claim
from bench.specs.run import RunSpec
from bench.specs.target import Target
from bench.specs.toml_file import describe
from bench.specs.track import Track, load_track
from bench.training.hooks import Observer
from bench.trial.method import Config, Method
from bench.trial.methods import method_class, method_classes

__all__ = ["Job", "Plan", "RunRequest", "Unfit", "make_plan", "plan", "settings_of", "shard"]


@dataclass(frozen=True)
class RunRequest:
    """A `bench run` command, as it was typed.

    Attributes:
        methods: names; `all` for every method that is installed.
        tracks: names of tracks, or TOML files.
        targets: such as `macs=0.5`; empty for the track's own.
        seeds: of the runs.
        settings: `KEY=VALUE` for every method that has it, `METHOD.KEY=VALUE` for one.
        budget: `30ep`, `600s`, `dense_epochs`, `device_seconds`, or None for the track's own.
        device: `cpu` or `cuda`.
        claims: names of claims, or TOML files, instead of tracks; each brings its targets, settings and budget.

    Without methods and seeds, a claim's own are run (with the `dense` control), else `hbfp` and seed 0.
    """

    methods: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: tuple[str, ...] = ()
    budget: str | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unfit:
    """A method that a plan leaves out of a track, since it does not fit there.

    Attributes:
        method, track: by name.
        reason: why, with what would make it fit.
    """

    method: str
    track: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a command comes to: its runs, and the methods that do not fit."""

    jobs: tuple["Job", ...]
    left_out: tuple[Unfit, ...] = ()


@dataclass(frozen=True)
class Job:
    """One run to be done.

    Attributes:
        spec: the run.
        command: makes this one row again.
        observers: those of the whole plan, so that a dense network is trained once for all methods.
    """

    spec: RunSpec
    command: str
    observers: tuple[type[Observer], ...] = ()

    @property
    def label(self) -> str:
        """For people: method, track, target and seed."""
        target = "" if self.spec.target.measure == "none" else f" {self.spec.target}"
        return f"{self.spec.method} {self.spec.track.name}{target} seed {self.spec.seed}"


def make_plan(request: RunRequest, inputs_of: InputsOf = inputs_here) -> list[Job]:
    """The jobs of a command; see `plan`."""
    return list(plan(request, inputs_of).jobs)


def plan(request: RunRequest, inputs_of: InputsOf = inputs_here) -> Plan:
    """The jobs of a command, each once, and what was left out.

    Breadth first: every method at a track's first target with the first seed, then the next target, and the next seed
    when all is done, so that a part of a plan is a whole smaller table.

    Of several methods, those that do not fit a track or its targets are left out; where none fits, the first reason is
    the error.

    Args:
        request: the command.
        inputs_of: what a track's network and images are, which a run's id goes by; by default the images are looked for
            in the default data folder.

    Raises:
        UsageError: a name, a setting, a target, a budget or a track file is wrong, or nothing is left to run.
        DataError: a track's images are missing or damaged.
    """
    if request.claims:
        claims = {name: load_claim(name) for name in request.claims}
        each = (job for name, claim in claims.items() for job in _claimed(claim, name, request, inputs_of))
        return Plan(_breadth_first({job.spec.run_id: job for job in each}.values()))
    wanted = request.methods or ("hbfp",)
    names = tuple(method_classes()) if "all" in wanted else tuple(dict.fromkeys(wanted))
    methods = {name: method_class(name) for name in names}
    configs = settings_of(methods, request.settings)
    observers = _observers(methods.values())
    jobs: dict[str, Job] = {}
    left_out: list[Unfit] = []
    for track_name in dict.fromkeys(request.tracks or ("digits-lenet5",)):
        track, unit = _budgeted(load_track(track_name), request.budget)
        inputs: TrackInputs | None = None
        for name, method in methods.items():
            targets = _targets(method, track, request)
            reason = unmet_need(method, track) or (None if targets else _no_target(method, track, request))
            if reason:
                left_out.append(Unfit(name, track.name, reason))
                continue
            for target in targets:
                for seed in request.seeds or (0,):
                    inputs = inputs or inputs_of(track, request.device)
                    spec = _spec(method, configs[name], track, unit, target, seed, request, inputs)
                    jobs[spec.run_id] = Job(spec, _command(spec, method, track_name, request), observers)
    if not jobs:
        raise UsageError(left_out[0].reason if left_out else "nothing to run. Give --method, --track and --target.")
    return Plan(_breadth_first(jobs.values()), tuple(left_out))


def _breadth_first(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Seed by seed, then track by track, then target by target, each in the order given."""
    jobs = list(jobs)
    seeds, tracks, targets = (
        {value: place for place, value in enumerate(dict.fromkeys(values))}
        for values in (
            (job.spec.seed for job in jobs),
            (job.spec.track.name for job in jobs),
            (str(job.spec.target) for job in jobs),
        )
    )
    return tuple(
        sorted(jobs, key=lambda job: (seeds[job.spec.seed], tracks[job.spec.track.name], targets[str(job.spec.target)]))
    )


def shard(plan: Plan, text: str) -> Plan:
    """The part `K/N` of a plan: N commands with K from 1 to N do all of it, each job once, as evenly as it goes.

    Jobs that share a dense network stay together as far as that is even: it is trained in one place.

    Raises:
        UsageError: it is no K/N with 1 <= K <= N.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(
            f"--shard {text!r}: give K/N with K from 1 to N, such as 3/8 (in a Slurm array: $SLURM_ARRAY_TASK_ID/8)."
        )
    number, count = int(found[1]), int(found[2])
    jobs = plan.jobs
    together = sorted(jobs, key=lambda job: (job.spec.track.name, job.spec.seed))  # stable: else as in the plan
    begin, end = (len(jobs) * (number - 1) // count, len(jobs) * number // count)
    chosen = {job.spec.run_id for job in together[begin:end]}
    return replace(plan, jobs=tuple(job for job in jobs if job.spec.run_id in chosen))


def _claimed(claim: Claim, given: str, request: RunRequest, inputs_of: InputsOf) -> list[Job]:
    """The jobs of a claim: its method and rivals at the targets of its numbers, and the `dense` control."""
    for option, value in (
        ("--track", request.tracks),
        ("--budget", request.budget),
        ("--set", request.settings),
    ):
        if value:
            raise UsageError(f"{option} does not go with --claim: a claim brings its own. Leave one of them out.")
    sides = claim.sides()
    every = tuple(dict.fromkeys(name for name, _, _ in sides))
    if wrong := [name for name in request.methods if name not in every]:
        raise unknown_name(f"method of claim {claim.name}", wrong[0], every)
    targets = [str(Target.parse(text)) for text in request.targets]
    if wrong := [text for text in targets if text not in claim.targets]:
        raise unknown_name(f"target of claim {claim.name}", wrong[0], claim.targets)
    sides = tuple(side for side in sides if side[0] in (request.methods or every))
    methods = {name: method_class(name) for name, _, _ in sides}
    observers, inputs = _observers(methods.values()), inputs_of(claim.track, request.device)
    jobs: dict[str, Job] = {}
    for name, settings, named in sides:
        method = methods[name]
        if missing := unmet_need(method, claim.track):
            raise UsageError(missing)
        config = settings_of({name: method}, settings)[name]
        for text in named:
            if targets and text not in targets and name != "dense":
                continue
            for seed in request.seeds or claim.seeds:
                target = Target.parse(text)
                spec = _spec(method, config, claim.track, "dense_epochs", target, seed, request, inputs)
                words = ["bench", "run", "--claim", given, "--method", name, "--seed", str(seed)]
                words += ["--target", text] if name != "dense" else []
                words += ["--device", request.device] if request.device != "cpu" else []
                command = shlex.join(words) if claim.own_runs else _command(spec, method, claim.base, request)
                jobs[spec.run_id] = Job(spec, command, observers)
    return list(jobs.values())


def _spec(
    method: type[Method],
    config: dict[str, Any],
    track: Track,
    unit: Unit,
    target: Target,
    seed: int,
    request: RunRequest,
    inputs: TrackInputs,
) -> RunSpec:
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed {seed} is out of range. Use 0 to 2**63 - 1.")
    spec = RunSpec(
        method=method.name,
        config=config,
        method_sha256="",
        track=track,
        unit=unit,
        target=target,
        seed=seed,
        device=request.device,
        device_class=device_class(request.device),
    )
    return with_inputs(spec, method, inputs)


def _observers(methods: Iterable[type[Method]]) -> tuple[type[Observer], ...]:
    return tuple(dict.fromkeys(each for method in methods for each in method.observers))


def _targets(method: type[Method], track: Track, request: RunRequest) -> list[Target]:
    """The targets that a method is run at: those of the command, else the track's own for its kind."""
    if method.targets == "none":
        return [Target("none")]
    if method.targets == "auto" and not request.targets:
        return [Target("auto")]
    wanted = [Target.parse(text) for text in request.targets] if request.targets else list(track.parsed_targets)
    if any(target.measure == "none" for target in wanted):
        raise UsageError(f"target none is for the dense control; {method.name} needs macs=R, params=R or auto.")
    unstructured = method.kind == "unstructured"
    measures = {"params"} if unstructured else {"macs", "params"} if request.targets else {"macs"}
    if method.targets == "auto":
        measures = {"auto"}
    elif method.targets == "any" and (unstructured or request.targets):
        measures.add("auto")
    return [target for target in wanted if target.measure in measures]


def _no_target(method: type[Method], track: Track, request: RunRequest) -> str:
    """Why a method cannot be run at any of the targets."""
    wanted = ", ".join(request.targets or track.targets)
    good = "auto" if method.targets == "auto" else "params=0.1" if method.kind == "unstructured" else "macs=0.5"
    return f"{method.name} is {method.kind} and cannot be run at {wanted}. Give --target {good}."


def _budgeted(track: Track, text: str | None) -> tuple[Track, Unit]:
    if text is None:
        return track, "dense_epochs"
    override = BudgetOverride.parse(text)
    if override.amount is not None:
        return track.scaled(override.amount, override.unit), override.unit
    if override.unit == "device_seconds" and track.budget.device_seconds is None:
        raise UsageError(f"track {track.name!r} has no budget in device_seconds. Give one: --budget 600s.")
    return track, override.unit


def settings_of(methods: dict[str, type[Method]], settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Each method's settings, all of them, as JSON values.

    Args:
        methods: by name.
        settings: `KEY=VALUE` for every method that has it, `METHOD.KEY=VALUE` for one.

    Raises:
        UsageError: a setting is unknown, or its value is wrong.
    """
    given: dict[str, dict[str, str]] = {name: {} for name in methods}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r}: write KEY=VALUE, or METHOD.KEY=VALUE for one method.")
        owner, dot, field = key.rpartition(".")
        owners = [owner] if dot else [name for name, method in methods.items() if key in method.Config.model_fields]
        if dot and owner not in methods:
            raise UsageError(f"--set {setting!r}: {owner!r} is not among the methods: {', '.join(methods)}.")
        known = {name for method in methods.values() for name in method.Config.model_fields}
        for name in owners:
            if field not in methods[name].Config.model_fields:
                raise unknown_name(f"setting of {name}", field, methods[name].Config.model_fields)
            given[name][field] = value
        if not owners:
            raise unknown_name(f"setting of {', '.join(methods)}", key, known)
    configs = {}
    for name, method in methods.items():
        try:
            configs[name] = _validated(method.Config, given[name]).model_dump(mode="json")
        except ValidationError as error:
            raise UsageError(f"settings of {name}: {describe(error)}") from None
    return configs


def _validated(config: type[Config], texts: dict[str, str]) -> Config:
    """The settings from text: read by pydantic, and as JSON what it does not take so (a number in a `Literal`)."""
    try:
        return config.model_validate(texts)
    except ValidationError as error:
        wrong = {each["loc"][0] for each in error.errors() if each["loc"]}
        return config.model_validate({name: _json(text) if name in wrong else text for name, text in texts.items()})


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _command(spec: RunSpec, method: type[Method], track: str, request: RunRequest) -> str:
    """The exact command that makes one row again."""
    words = ["bench", "run", "--method", spec.method, "--track", track, "--seed", str(spec.seed)]
    if spec.target.measure != "none":
        words += ["--target", str(spec.target)]
    if request.budget is not None:
        words += ["--budget", request.budget]
    if request.device != "cpu":
        words += ["--device", request.device]
    for name, field in method.Config.model_fields.items():
        if spec.config[name] != field.default:
            words += ["--set", f"{name}={spec.config[name]}"]
    return shlex.join(words)


def resolve_device(text: str) -> Literal["cpu", "cuda"]:
    """`auto`, `cpu` or `cuda` as a device that is there.

    Raises:
        UsageError: another word, or `cuda` where there is none.
    """
    import torch

    if text not in ("auto", "cpu", "cuda"):
        raise unknown_name("device", text, ["auto", "cpu", "cuda"])
    if text == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda': PyTorch sees no GPU here. Use --device cpu, or install its CUDA build.")
    return "cuda" if text != "cpu" and torch.cuda.is_available() else "cpu"
