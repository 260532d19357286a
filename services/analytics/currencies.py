"""Which currencies there are figures in."""

from models.analytics.rollups import Dimension, GenerationState, MonthRollup, RollupGeneration


async def list_currencies() -> list[str]:
    """Those in which anything was sold or given back, by their codes. Two commands; reads a row per currency and month."""
    ready = {"state": GenerationState.READY.value}
    newest = await RollupGeneration.find_rows(ready, {"number": 1}, sort=[("number", -1)], limit=1)
    if not newest:
        return []
    place = {"generation": newest[0]["number"], "dimension": Dimension.TOTAL.value, "key": ""}
    found = await MonthRollup.aggregate_rows([{"$match": place}, {"$group": {"_id": "$currency"}}])
    return sorted(row["_id"] for row in found)
