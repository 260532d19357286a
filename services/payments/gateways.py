"""Which gateways there are, by name, and which of them a way of paying goes to."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from services.errors import RuleViolatedError
from services.payments.offline import IMPORTED, OFFLINE, ImportedGateway, OfflineGateway
from services.payments.port import Gateway
from services.payments.sandbox import SandboxGateway
from services.payments.stripe_gateway import StripeGateway
from services.settings import Settings

# The strategy of each way of paying: those of the first kind are charged at a gateway, the others by a person's word.
GATEWAY_METHODS = frozenset({"card", "wallet", "bank_transfer"})
OFFLINE_METHODS = frozenset({"invoice", "cash_on_delivery"})


class UnknownGatewayError(RuleViolatedError):
    """There is no gateway of that name here."""

    code = "unknown_gateway"

    def __init__(self, name: str) -> None:
        super().__init__("There is no payment gateway of that name." if name else "No payment gateway is set up.")
        self.name = name


class UnknownMethodError(RuleViolatedError):
    """A way of paying that no gateway and no person takes."""

    code = "unknown_payment_method"

    def __init__(self, method: str) -> None:
        super().__init__("There is no such way of paying.")
        self.method = method


class Gateways:
    """The gateways of this process. Their connections are opened by the first call and closed with `close`."""

    def __init__(self, gateways: Iterable[Gateway], *, default: str | None = None) -> None:
        self._by_name: dict[str, Gateway] = {}
        for gateway in [OfflineGateway(), ImportedGateway(), *gateways]:
            self.add(gateway)
        self._default = default

    def add(self, gateway: Gateway) -> None:
        """Take a gateway in under its name; one of the same name is replaced."""
        self._by_name[gateway.name] = gateway

    @property
    def names(self) -> list[str]:
        """Of all gateways, without those that are none."""
        return [name for name in self._by_name if name not in (OFFLINE, IMPORTED)]

    def has(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Gateway:
        """Raises UnknownGatewayError."""
        if name not in self._by_name:
            raise UnknownGatewayError(name)
        return self._by_name[name]

    def choose(self, method: str, wanted: str | None = None) -> str:
        """The name of the gateway that `method` goes to: `wanted`, or the default one (the first of `AGORA_PAYMENT_GATEWAY`,
        sandbox, stripe that is set up); `offline` for what is paid later, whatever is wanted.

        Raises UnknownGatewayError and UnknownMethodError.
        """
        if method in OFFLINE_METHODS:
            return OFFLINE
        if method not in GATEWAY_METHODS:
            raise UnknownMethodError(method)
        name = wanted or self._default or next(iter(self.names), "")
        if name not in self.names:
            raise UnknownGatewayError(name)
        return name

    async def close(self) -> None:
        for gateway in self._by_name.values():
            await gateway.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def make_gateways(settings: Settings) -> Gateways:
    """The gateways the settings name. Opens no connection."""
    gateways: list[Gateway] = []
    if settings.sandbox_gateway_url is not None and settings.sandbox_gateway_secret is not None:
        secret = settings.sandbox_gateway_secret.get_secret_value()
        gateways.append(SandboxGateway(settings.sandbox_gateway_url, secret, timeout=settings.gateway_timeout_seconds))
    if settings.stripe_secret_key is not None and settings.stripe_webhook_secret is not None:
        gateways.append(
            StripeGateway(
                settings.stripe_secret_key.get_secret_value(),
                settings.stripe_webhook_secret.get_secret_value(),
                timeout=settings.gateway_timeout_seconds,
                api_url=settings.stripe_api_url,
            )
        )
    return Gateways(gateways, default=settings.payment_gateway)
