"""Valid requests for every operation, a module per domain.

Each module has `VALUES` (path parameters by name), `BODIES` and `QUERIES` (by operation id). A path belongs to the module that
its first segment below the API's prefix names here.
"""

from types import ModuleType

from tests.api.samples import accounts, analytics, imports, inventory, payments, publication, shop, system

BY_SEGMENT: dict[str, ModuleType] = {
    **dict.fromkeys(("feed.atom", "feed.rss", "livez", "readyz", "sitemap.xml"), publication),
    "analytics": analytics,
    "audit": accounts,
    "auth": accounts,
    "users": accounts,
    "blog": publication,
    "payments": payments,
    "profiles": accounts,
    "imports": imports,
    "inventory": inventory,
    **dict.fromkeys(("orders", "returns", "shop"), shop),
    **dict.fromkeys(("events", "jobs", "system", "webhooks"), system),
}
