"""The fraud rules: what each says, in words that can be written as well as read, and keeping them."""

import re

from api.schemas.payments import FraudRuleCreate, FraudRuleUpdate
from api.web.admin.desk import ADMIN, BadFormError, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Field, Link, Page, Row, Table, Text, Value, check, options, words
from api.web.admin.views import Act, Group, Move, View
from models.fraud import FraudAction, FraudConditionRead, FraudField, FraudOperator, FraudRuleRead
from services.payments.rules import FraudRuleService
from services.users.permissions import Permission

_PATH = f"{ADMIN}/rules"
_TONES = {FraudAction.ALLOW: "good", FraudAction.REVIEW: "wait", FraudAction.BLOCK: "bad"}


def _any_of(kind: type[FraudField] | type[FraudOperator]) -> str:
    """The longer first: `is not` begins with `is`."""
    return "|".join(sorted((words(one.value) for one in kind), key=len, reverse=True))


_CONDITION = re.compile(
    rf"({_any_of(FraudField)}) ({_any_of(FraudOperator)}) (.+?)(?: within (\d{{1,6}}) minutes?)?", re.IGNORECASE
)


def written(condition: FraudConditionRead) -> str:
    """`declines of customer at least 3 within 60 minutes`."""
    text = f"{words(condition.field)} {words(condition.operator)} {', '.join(condition.values)}"
    return f"{text} within {condition.window_minutes} minutes" if condition.window_minutes else text


def read(line: str) -> dict[str, object]:
    """A condition as `written` writes it, for the API's schema, which judges it. Raises BadFormError for what is none."""
    found = _CONDITION.fullmatch(" ".join(line.split()))
    if found is None:
        raise BadFormError(f'"{line.strip()[:100]}" is no condition. Write it as: amount above 500')
    field, operator, values, minutes = found.groups()
    return {
        "field": field.lower().replace(" ", "_"),
        "operator": operator.lower().replace(" ", "_"),
        "values": [value.strip() for value in values.split(",")],
        "window_minutes": int(minutes or 0),
    }


async def _list(desk: Desk) -> Page:
    rules = await FraudRuleService.list_rules(viewer=desk.viewer)
    columns = ["Asked", "Rule", "When", "Then", "State"]
    name = Field("name", "Name", max_length=100, is_required=True)
    return Page(
        title="Fraud rules",
        actions=[Action(f"{_PATH}/create", "New rule", [name, *_fields(None)])],
        tables=[Table("In the order in which they are asked", columns, [_row(one) for one in rules])],
        note="The first rule that fits decides. A rule counts from the next payment on.",
    )


def _row(rule: FraudRuleRead) -> Row:
    cells: list[Value] = [rule.priority, Link(f"{_PATH}/{rule.id}", rule.name), _conditions(rule), _outcome(rule), _state(rule)]
    return Row(cells, [_toggle(rule)])


def _conditions(rule: FraudRuleRead) -> Text:
    return Text("\n".join(written(one) for one in rule.conditions))


def _outcome(rule: FraudRuleRead) -> Badge:
    return Badge(rule.action, _TONES[rule.action])


def _state(rule: FraudRuleRead) -> Badge:
    return Badge("on", "good") if rule.enabled else Badge("off")


def _toggle(rule: FraudRuleRead) -> Action:
    move, label = ("off", "Switch off") if rule.enabled else ("on", "Switch on")
    return Action(f"{_PATH}/{rule.id}/{move}", label, about=f"the rule {rule.name}")


_HINT = (
    "One a line; all must hold. As: amount above 500; country is DE, AT; declines of customer at least 3 within 60 minutes. "
    f"What there is: {', '.join(words(one.value) for one in FraudField)}. "
    f"How it compares: {', '.join(words(one.value) for one in FraudOperator)}."
)


def _fields(rule: FraudRuleRead | None) -> list[Field]:
    """What makes a rule; of a new one, where there is none yet."""
    conditions = _conditions(rule).text if rule else ""
    action = rule.action if rule else FraudAction.REVIEW
    priority = rule.priority if rule else 100
    return [
        Field("conditions", "When", "lines", conditions, hint=_HINT, max_length=5000, is_required=True),
        Field("action", "Then", "select", action.value, options(FraudAction)),
        Field("priority", "Place", "number", str(priority), hint="The lowest is asked first", max_length=5, is_required=True),
        Field("description", "What it is for", value=rule.description if rule else ""),
        check("enabled", "On", is_checked=rule is None or rule.enabled),
    ]


def _said(form: Form) -> dict[str, object]:
    return {
        "conditions": [read(line) for line in form.get("conditions").splitlines() if line.strip()],
        "action": form.get("action"),
        "priority": form.number("priority"),
        "description": form.get("description"),
        "enabled": form.flag("enabled"),
    }


async def _detail(desk: Desk) -> Page:
    rule = await FraudRuleService.get_rule(desk.id(), viewer=desk.viewer)
    here = f"{_PATH}/{rule.id}"
    return Page(
        title=rule.name,
        back=Link(_PATH, "Fraud rules"),
        facts=[
            ("State", _state(rule)),
            ("Place", rule.priority),
            ("Then", _outcome(rule)),
            ("When", _conditions(rule)),
            ("What it is for", Text(rule.description) if rule.description else None),
        ],
        actions=[
            Action(f"{here}/change", "Change", _fields(rule), hidden={"revision": str(rule.revision)}),
            _toggle(rule),
            Action(f"{here}/remove", "Remove", is_grave=True),
        ],
    )


async def _create(desk: Desk, form: Form) -> str:
    rule = filled(FraudRuleCreate, {"name": form.get("name"), **_said(form)})
    return f"{_PATH}/{(await FraudRuleService.create_rule(rule, viewer=desk.viewer)).id}"


async def _change(desk: Desk, form: Form) -> None:
    changes = filled(FraudRuleUpdate, _said(form))
    await FraudRuleService.update_rule(desk.id(), changes, viewer=desk.viewer, revision=form.number("revision"))


def _switch(*, enabled: bool) -> Act:
    async def act(desk: Desk, form: Form) -> None:
        await FraudRuleService.update_rule(desk.id(), filled(FraudRuleUpdate, {"enabled": enabled}), viewer=desk.viewer)

    return act


async def _remove(desk: Desk, form: Form) -> str:
    await FraudRuleService.delete_rule(desk.id(), viewer=desk.viewer)
    return _PATH


RULES = View(
    "rules",
    "Fraud rules",
    "which payments are held back or blocked",
    Group.SALES,
    Permission.MANAGE_PAYMENTS,
    pages={"": _list, "/{id}": _detail},
    moves={
        "/create": Move(_create, _list, "The rule counts from the next payment on."),
        "/{id}/change": Move(_change, _detail, "The rule was changed."),
        "/{id}/off": Move(_switch(enabled=False), _detail, "The rule is off: it is not asked."),
        "/{id}/on": Move(_switch(enabled=True), _detail, "The rule is on."),
        "/{id}/remove": Move(_remove, _detail, "The rule was removed."),
    },
)
