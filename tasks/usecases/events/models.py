"""Every event as a model: the only definition of what subscribers receive.

`deploy/events.schema.json`, the examples in `deploy/EVENTS.md`, the OpenAPI section `webhooks` and the fixtures of
`darkroom events trigger` are made from these models; tests compare each recorded event with them. New fields are
optional; published names never change.
"""

import inspect
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tasks.usecases.events import data as of

Name = TypeVar("Name", bound=str)
Data = TypeVar("Data", bound=of.Part)


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    of.as_published(schema)
    schema["description"] = inspect.cleandoc(str(model.model_fields["data"].annotation.__doc__))


class Event(BaseModel, Generic[Name, Data]):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, json_schema_extra=_describe)

    id: Annotated[
        str,
        Field(
            pattern=r"^evt_\w+$",
            description="The same in every channel and for each try.",
            examples=["evt_57_19aa64df800"],
        ),
    ]
    type: Name
    timestamp: Annotated[
        datetime, Field(description="When it happened, in UTC.", examples=["2026-11-21T12:00:00.000000Z"])
    ]
    data: Data
    test: Annotated[
        Literal[True] | None, Field(description="Only in an example sent by `darkroom events trigger`.")
    ] = None


class GenerationSubmittedEvent(Event[Literal["generation.submitted"], of.GenerationSubmitted]): ...


class GenerationProgressEvent(Event[Literal["generation.progress"], of.GenerationProgress]): ...


class GenerationSucceededEvent(Event[Literal["generation.succeeded"], of.GenerationSucceeded]): ...


class GenerationArchivedEvent(Event[Literal["generation.archived"], of.GenerationArchived]): ...


class GenerationFailedEvent(Event[Literal["generation.failed"], of.GenerationFailed]): ...


class GenerationUnconfirmedEvent(Event[Literal["generation.unconfirmed"], of.GenerationUnconfirmed]): ...


class GenerationExpiredEvent(Event[Literal["generation.expired"], of.GenerationExpired]): ...


class GenerationNeedsApprovalEvent(Event[Literal["generation.needs_approval"], of.GenerationNeedsApproval]): ...


class GenerationDeletedEvent(Event[Literal["generation.deleted"], of.GenerationDeleted]): ...


class GenerationResolvedEvent(Event[Literal["generation.resolved"], of.GenerationResolved]): ...


class GenerationPaidTwiceEvent(Event[Literal["generation.paid_twice"], of.GenerationPaidTwice]): ...


class GenerationImportedEvent(Event[Literal["generation.imported"], of.GenerationImported]): ...


class AssetArchivedEvent(Event[Literal["asset.archived"], of.AssetArchived]): ...


class AssetAtRiskEvent(Event[Literal["asset.at_risk"], of.AssetAtRisk]): ...


class AssetExpiredEvent(Event[Literal["asset.expired"], of.AssetExpired]): ...


class AssetAcceptedEvent(Event[Literal["asset.accepted"], of.AssetAccepted]): ...


class AssetRepairedEvent(Event[Literal["asset.repaired"], of.AssetRepaired]): ...


class FollowUpRefusedEvent(Event[Literal["follow_up.refused"], of.FollowUpRefused]): ...


class FollowUpDismissedEvent(Event[Literal["follow_up.dismissed"], of.FollowUpDismissed]): ...


class BatchCompletedEvent(Event[Literal["batch.completed"], of.BatchCompleted]): ...


class BudgetExceededEvent(Event[Literal["budget.exceeded"], of.BudgetExceeded]): ...


class BudgetLateChargeEvent(Event[Literal["budget.late_charge"], of.BudgetLateCharge]): ...


class ProviderPausedEvent(Event[Literal["provider.paused"], of.ProviderPaused]): ...


class ProviderResumedEvent(Event[Literal["provider.resumed"], of.ProviderResumed]): ...


class ProviderCircuitOpenedEvent(Event[Literal["provider.circuit_opened"], of.ProviderCircuitOpened]): ...


class SubscriberDisabledEvent(Event[Literal["subscriber.disabled"], of.SubscriberDisabled]): ...


class SubmissionsPausedEvent(Event[Literal["submissions.paused"], of.SubmissionsPaused]): ...


class SubmissionsResumedEvent(Event[Literal["submissions.resumed"], of.SubmissionsResumed]): ...


AnyEvent = Annotated[
    GenerationSubmittedEvent
    | GenerationProgressEvent
    | GenerationSucceededEvent
    | GenerationArchivedEvent
    | GenerationFailedEvent
    | GenerationUnconfirmedEvent
    | GenerationExpiredEvent
    | GenerationNeedsApprovalEvent
    | GenerationDeletedEvent
    | GenerationResolvedEvent
    | GenerationPaidTwiceEvent
    | GenerationImportedEvent
    | AssetArchivedEvent
    | AssetAtRiskEvent
    | AssetExpiredEvent
    | AssetAcceptedEvent
    | AssetRepairedEvent
    | FollowUpRefusedEvent
    | FollowUpDismissedEvent
    | BatchCompletedEvent
    | BudgetExceededEvent
    | BudgetLateChargeEvent
    | ProviderPausedEvent
    | ProviderResumedEvent
    | ProviderCircuitOpenedEvent
    | SubscriberDisabledEvent
    | SubmissionsPausedEvent
    | SubmissionsResumedEvent,
    Field(discriminator="type"),
]
