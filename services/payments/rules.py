"""Keeping the fraud rules: staff add, change, switch off and remove them, and every change is audited."""

import contextlib
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints, model_validator

from models.database import DuplicateKeyError, Session, after_commit, run_transaction
from models.fraud import FraudAction, FraudCondition, FraudField, FraudOperator, FraudRule, FraudRuleRead
from services.audit import AuditService
from services.errors import ConflictError, NotFoundError, PreconditionError, RuleViolatedError
from services.inputs import InputPart
from services.payments.fraud import MAX_RULES, NUMERIC_FIELDS, ORDERING_OPERATORS, WINDOWED_FIELDS, default_rules, forget_rules
from services.users.permissions import Permission, Viewer

MAX_WINDOW_MINUTES = 10_080

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Value = Annotated[str, StringConstraints(strip_whitespace=True, max_length=40)]


class FraudRuleNotFoundError(NotFoundError):
    """There is no such fraud rule."""

    code = "fraud_rule_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("fraud rule", key)


class FraudRuleNameTakenError(ConflictError):
    """Another rule has this name."""

    code = "fraud_rule_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__("Another rule has this name.")
        self.name = name


class TooManyFraudRulesError(RuleViolatedError):
    """There are as many rules as are ever asked."""

    code = "too_many_fraud_rules"

    def __init__(self) -> None:
        super().__init__(f"There are {MAX_RULES} rules already: remove one first.")


class FraudConditionDraft(InputPart):
    """One comparison of a rule."""

    field: FraudField
    operator: FraudOperator
    values: list[Value] = Field(
        min_length=1, max_length=50, description="Decimal numbers or texts, as the field asks", examples=[["5000.00"]]
    )
    window_minutes: int = Field(
        default=0, ge=0, le=MAX_WINDOW_MINUTES, description="For declines and payments, which are counted; 0 for the others"
    )

    @model_validator(mode="after")
    def make_sense(self) -> Self:
        if self.field in NUMERIC_FIELDS:
            for value in self.values:
                _require_number(value)
        elif self.operator in ORDERING_OPERATORS:
            raise ValueError(f"{self.field} is a text: use is or is_not")
        if self.operator in ORDERING_OPERATORS and len(self.values) != 1:
            raise ValueError(f"{self.operator} compares with one value")
        if (self.field in WINDOWED_FIELDS) != (self.window_minutes > 0):
            raise ValueError("window_minutes belongs to what is counted, and only to that")
        return self


class FraudRuleDraft(BaseModel):
    """A new rule."""

    name: Name = Field(examples=["amount above 10000"])
    description: str = Field(default="", max_length=500)
    conditions: list[FraudConditionDraft] = Field(min_length=1, max_length=10, description="All of them must hold")
    action: FraudAction
    enabled: bool = True
    priority: int = Field(default=100, ge=0, le=10_000, description="The lowest is asked first; the first that fits decides")


class FraudRuleChanges(BaseModel):
    """Changes to a rule: what is left out stays."""

    description: str = Field(default="", max_length=500)
    conditions: list[FraudConditionDraft] = Field(default_factory=list, min_length=1, max_length=10)
    action: FraudAction = FraudAction.REVIEW
    enabled: bool = True
    priority: int = Field(default=100, ge=0, le=10_000)


class FraudRuleService:
    """Every method raises PermissionDeniedError for who may not manage payments."""

    @staticmethod
    async def list_rules(*, viewer: Viewer) -> list[FraudRuleRead]:
        """All rules in the order in which they are asked; at first the default ones, which are made now if there are none."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        rows = await _rows() or await _rows_made_now()
        return [_read(FraudRule.from_row(row)) for row in rows]

    @staticmethod
    async def get_rule(rule_id: PydanticObjectId, *, viewer: Viewer) -> FraudRuleRead:
        """Raises FraudRuleNotFoundError."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        row = await FraudRule.find_row({"_id": rule_id})
        if row is None:
            raise FraudRuleNotFoundError(rule_id)
        return _read(FraudRule.from_row(row))

    @staticmethod
    async def create_rule(draft: FraudRuleDraft, *, viewer: Viewer) -> FraudRuleRead:
        """Add a rule beside those there are. Raises FraudRuleNameTakenError and TooManyFraudRulesError."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        # The first rule of one's own must not be the end of the default ones.
        if len(await _rows() or await _rows_made_now()) >= MAX_RULES:
            raise TooManyFraudRulesError
        rule = FraudRule(**{**draft.model_dump(), "conditions": _conditions(draft.conditions)})

        async def create(session: Session) -> None:
            await rule.store(session=session)
            await _audit(session, "created", rule, viewer)

        try:
            await run_transaction(create)
        except DuplicateKeyError as error:
            raise FraudRuleNameTakenError(draft.name) from error
        return _read(rule)

    @staticmethod
    async def update_rule(
        rule_id: PydanticObjectId, changes: FraudRuleChanges, *, viewer: Viewer, revision: int | None = None
    ) -> FraudRuleRead:
        """Change what is named. Raises FraudRuleNotFoundError, and PreconditionError unless `revision` is the present one."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        fields: dict[str, Any] = changes.model_dump(exclude_unset=True, exclude={"conditions"})
        if "conditions" in changes.model_fields_set:
            fields["conditions"] = [condition.model_dump() for condition in changes.conditions]

        async def update(session: Session) -> FraudRule:
            as_read = {"_id": rule_id} if revision is None else {"_id": rule_id, "revision": revision}
            changed = await FraudRule.change(as_read, {"$set": fields, "$inc": {"revision": 1}}, session=session)
            if changed is None and await FraudRule.find_row({"_id": rule_id}, {"_id": 1}, session=session) is not None:
                raise PreconditionError
            if changed is None:
                raise FraudRuleNotFoundError(rule_id)
            await _audit(session, "changed", changed, viewer)
            return changed

        return _read(await run_transaction(update, hot=[rule_id]))

    @staticmethod
    async def delete_rule(rule_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Remove a rule. When the last one goes, the default ones hold again. Raises FraudRuleNotFoundError."""
        viewer.require(Permission.MANAGE_PAYMENTS)

        async def delete(session: Session) -> None:
            row = await FraudRule.collection().find_one_and_delete({"_id": rule_id}, session=session)
            if row is None:
                raise FraudRuleNotFoundError(rule_id)
            await _audit(session, "removed", FraudRule.from_row(row), viewer)

        await run_transaction(delete, hot=[rule_id])


async def _rows() -> list[dict[str, Any]]:
    return await FraudRule.find_rows({}, sort=[("priority", 1), ("_id", 1)], limit=MAX_RULES)


async def _rows_made_now() -> list[dict[str, Any]]:
    """The default rules, kept from now on so that they can be changed; all of them or none, and by several callers once."""

    async def keep(session: Session) -> None:
        for rule in default_rules():
            await rule.store(session=session)

    with contextlib.suppress(DuplicateKeyError):
        await run_transaction(keep, hot=["fraud_rules"])
    return await _rows()


async def _audit(session: Session, act: str, rule: FraudRule, viewer: Viewer) -> None:
    details = {"name": rule.name, "action": rule.action, "enabled": rule.enabled, "priority": rule.priority}
    subject = f"fraud_rule:{rule.id}"
    await AuditService.record(session, f"fraud_rule.{act}", subject=subject, actor_id=viewer.user_id, details=details)
    after_commit(forget_rules)


def _conditions(drafts: list[FraudConditionDraft]) -> list[FraudCondition]:
    return [FraudCondition(**draft.model_dump()) for draft in drafts]


def _require_number(text: str) -> None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not number.is_finite() or not -20 <= number.adjusted() <= 20 or number < 0:
        raise ValueError("not a number of zero or more")


def _read(rule: FraudRule) -> FraudRuleRead:
    return FraudRuleRead.model_validate({**rule.model_dump(), "id": rule.id})
