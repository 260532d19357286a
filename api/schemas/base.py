"""What all inputs share."""

from pydantic import BaseModel, ConfigDict


class Input(BaseModel):
    """A request body. Unknown fields are refused, so that nothing is accepted and quietly dropped."""

    model_config = ConfigDict(extra="forbid")
