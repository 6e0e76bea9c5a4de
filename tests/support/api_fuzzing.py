"""Requests that Schemathesis makes from the OpenAPI document, judged by the document: no server error, nothing undocumented."""

import copy
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    CheckFunction,
    allow_header_conformance,
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation.stateful.state_machine import APIStateMachine

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
HEALTH_CHECKS = [HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.too_slow]
SETTINGS = hypothesis.settings(
    phases=[Phase.generate], deadline=None, database=None, suppress_health_check=HEALTH_CHECKS
)
STEPS = 6  # requests of one stateful scenario
SCENARIOS_AT_ONCE = 10


@dataclass(frozen=True, kw_only=True)
class Caller:
    name: str
    key: str = ""  # "" without one
    hidden_words: Sequence[str] = ()  # of other organisations

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}


@dataclass
class Report:
    """What was sent and answered. `problems`: where the answer isn't what the document says."""

    statuses: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    scenario_count: int = 0

    @property
    def case_count(self) -> int:
        return self.statuses.total()

    def count_status(self, status: int) -> int:
        return sum(count for name, count in self.statuses.items() if name.endswith(f" {status}"))

    def judge(self, caller: Caller, case: Case, response: Any) -> None:
        label = case.operation.label
        self.statuses[f"{label} {response.status_code}"] += 1
        for word in caller.hidden_words:
            if word in response.text:
                self.problems[f"{label} by {caller.name}: tells {word}"] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as problem:
            for failure in problem.exceptions:
                text = re.sub(r"\s+", " ", f"{type(failure).__name__}: {failure}")
                self.problems[f"{label} by {caller.name}: {response.status_code} {text[:400]}"] += 1


@dataclass(frozen=True, kw_only=True)
class Fuzzer:
    """Runs in a thread of its own: the app runs in the event loop."""

    document: dict[str, Any]
    address: str
    ids: Mapping[str, Sequence[str]]  # by path parameter: own, foreign and unknown ones
    report: Report = field(default_factory=Report)

    def run(self, callers: Sequence[Caller], *, callers_per_operation: int, cases: int) -> None:
        """`cases`: for each operation, caller and mode, which is accepted by the document or not."""
        results = schemathesis.openapi.from_dict(self.document).get_all_operations()
        operations = [result.ok() for result in results if isinstance(result, Ok)]
        for number, operation in enumerate(operations):
            for caller in [*callers, *callers][number % len(callers) :][:callers_per_operation]:
                for mode in MODES:
                    self._send(operation, caller, mode, cases)

    def _send(self, operation: Any, caller: Caller, mode: GenerationMode, count: int) -> None:
        """`operation`: of the library, which declares no type for it here."""

        @hypothesis.settings(SETTINGS, max_examples=count)
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def send(case: Case, data: st.DataObject) -> None:
            if mode is GenerationMode.POSITIVE:
                self._name_rows(case, data)
            response = case.call(base_url=self.address, headers=caller.headers)
            self.report.judge(caller, case, response)

        send()

    def _name_rows(self, case: Case, data: st.DataObject) -> None:
        """Ids that exist, the version that most rows have, and the example of the body: else most answers would refuse."""
        for name in case.path_parameters:
            if (row_ids := self.ids.get(name)) and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(row_ids))
        if "If-Match" in case.headers and data.draw(st.booleans()):
            case.headers["If-Match"] = '"1"'
        if isinstance(case.body, dict) and data.draw(st.booleans()):
            operation = self.document["paths"][case.path][case.method.lower()]
            case.body = copy.deepcopy(operation["requestBody"]["content"]["application/json"]["example"])

    def run_scenarios(self, caller: Caller, *, count: int) -> None:
        """Scenarios of several requests, in which later ones use what earlier ones were answered."""
        fuzzer = self

        class Machine(schemathesis.openapi.from_dict(self.document).as_state_machine()):  # type: ignore[misc]  # a class made at run time
            def get_call_kwargs(self, case: Case) -> dict[str, Any]:
                return {"base_url": fuzzer.address, "headers": caller.headers}

            def validate_response(self, response: Any, case: Case, *_: Any, **__: Any) -> None:
                fuzzer.report.judge(caller, case, response)

            def setup(self) -> None:
                super().setup()
                fuzzer.report.scenario_count += 1

        machine: type[APIStateMachine] = Machine
        settings = hypothesis.settings(SETTINGS, max_examples=SCENARIOS_AT_ONCE, stateful_step_count=STEPS)
        while self.report.scenario_count < count:
            with suppress(Flaky):  # it compares scenarios, and each finds what the one before has left
                machine.run(settings=settings)
