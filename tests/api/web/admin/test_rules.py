"""Fraud rules: written in the words in which they are read."""

import pytest

from api.web.admin.desk import BadFormError
from api.web.admin.rules import read, written
from models.audit import AuditEntry
from models.fraud import FraudAction, FraudCondition, FraudConditionRead, FraudField, FraudOperator, FraudRule
from services.payments.fraud import default_rules
from tests.api.web.admin.conftest import Clerk

LIST = "/admin/rules"
RULE = {"action": "block", "priority": "5", "description": "From experience", "enabled": "on"}


async def rule_named(name: str) -> FraudRule | None:
    row = await FraudRule.find_row({"name": name})
    return FraudRule.from_row(row) if row else None


class TestWords:
    def test_every_default_rule_is_read_as_it_is_written(self) -> None:
        for rule in default_rules():
            for condition in rule.conditions:
                line = written(FraudConditionRead(**condition.model_dump()))
                assert FraudCondition.model_validate(read(line)) == condition, line

    @pytest.mark.parametrize(
        ("line", "meant"),
        [
            ("amount above 500", (FraudField.AMOUNT, FraudOperator.ABOVE, ["500"], 0)),
            ("  Country IS NOT de, AT ", (FraudField.COUNTRY, FraudOperator.IS_NOT, ["de", "AT"], 0)),
            (
                "declines of customer at least 3 within 60 minutes",
                (FraudField.DECLINES_OF_CUSTOMER, FraudOperator.AT_LEAST, ["3"], 60),
            ),
        ],
    )
    def test_a_line_says(self, line: str, meant: tuple[FraudField, FraudOperator, list[str], int]) -> None:
        condition = FraudCondition.model_validate(read(line))

        assert (condition.field, condition.operator, condition.values, condition.window_minutes) == meant

    @pytest.mark.parametrize("line", ["", "amount", "amount over 500", "age above 3", "x" * 5000])
    def test_what_is_no_condition_is_refused(self, line: str) -> None:
        with pytest.raises(BadFormError):
            read(line)


class TestKeeping:
    async def test_is_made_changed_switched_off_and_removed_and_each_is_noted(self, manager: Clerk) -> None:
        conditions = "amount above 500\r\ncountry is not DE, AT"
        made = await manager.send(f"{LIST}/create", name="Far and dear", conditions=conditions, **RULE)

        rule = await rule_named("Far and dear")
        assert rule is not None
        here = f"{LIST}/{rule.id}"
        assert (made.status_code, made.headers["location"]) == (303, f"{here}?done=create")
        assert [condition.values for condition in rule.conditions] == [["500"], ["DE", "AT"]]
        assert (rule.action, rule.priority, rule.enabled) == (FraudAction.BLOCK, 5, True)
        page = await manager.page(f"{here}?done=create")
        assert "amount above 500\ncountry is not DE, AT" in page
        assert "The rule counts from the next payment on." in page

        new = {**RULE, "action": "review", "revision": "1"}
        await manager.send(f"{here}/change", conditions="amount above 900", **new)
        await manager.send(f"{here}/off")
        stale = await manager.send(f"{here}/change", conditions="amount above 700", **new)
        assert (stale.status_code, "amount above 700" in stale.text) == (412, True)
        assert "By now it is: amount above 900" in stale.text
        assert "By now it is: no" in stale.text  # it is off
        changed = await rule_named("Far and dear")
        assert changed is not None
        assert (changed.conditions[0].values, changed.action, changed.enabled) == (["900"], FraudAction.REVIEW, False)

        removed = await manager.send(f"{here}/remove")
        assert removed.headers["location"] == f"{LIST}?done=remove"
        assert await rule_named("Far and dear") is None
        rows = await AuditEntry.find_rows({"subject": f"fraud_rule:{rule.id}"}, sort=[("_id", 1)])
        assert [row["action"] for row in rows] == [f"fraud_rule.{act}" for act in ("created", "changed", "changed", "removed")]
        assert {row["actor_id"] for row in rows} == {manager.user.id}

    async def test_a_rule_that_says_nothing_is_refused_and_what_was_written_stays(self, manager: Clerk) -> None:
        for fields, told in [
            ({"conditions": "amount over 5"}, '"amount over 5" is no condition.'),
            ({"conditions": "country above 3"}, "country is a text: use is or is_not"),
            ({"conditions": "amount above 5", "priority": "soon"}, "The priority is a whole number."),
        ]:
            answer = await manager.send(f"{LIST}/create", **{"name": "A rule", **RULE, **fields})
            assert answer.status_code == 422
            page = answer.text.replace("&#34;", '"')
            assert told in page
            assert fields["conditions"] in page
            assert '<option value="block" selected>' in page
        assert await rule_named("A rule") is None

    async def test_a_name_that_is_taken_is_a_conflict(self, manager: Clerk) -> None:
        await manager.send(f"{LIST}/create", name="One", conditions="amount above 5", **RULE)

        answer = await manager.send(f"{LIST}/create", name="One", conditions="amount above 6", **RULE)

        assert answer.status_code == 409
        assert "Another rule has this name." in answer.text
